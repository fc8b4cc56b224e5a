//! The options of `system-aarch64` and its siblings, one row each.

use super::builder::Builder;
use super::config::*;
use super::device::{self, Parsed};
use super::fields::Fields;
use super::{CliError, chardev, fsdev, suggest, value};
use vm::log::ITEMS;

/// One option.
pub struct Opt {
    /// Its name and the names that mean it too, without dashes.
    pub names: &'static [&'static str],
    /// What its value is called in the help; `None` if it takes none.
    pub value: Option<&'static str>,
    pub help: &'static str,
    pub apply: fn(&mut Builder, &str) -> Result<(), CliError>,
}

macro_rules! options {
    ($([$($name:literal)+] $value:expr, $help:literal, $apply:expr;)+) => {
        /// Every option, in the order of the help.
        pub const OPTIONS: &[Opt] = &[$(Opt { names: &[$($name),+], value: $value, help: $help, apply: $apply },)+];
    };
}

options! {
    ["machine" "M"] Some("NAME[,gic-version=2|3|max][,acpi=off]"), "the board: `help` lists them", machine;
    ["cpu"] Some("MODEL[,FEATURE=on|off]"), "the CPU: `help` lists them", cpu;
    ["smp"] Some("N"), "number of CPUs; default 1", smp;
    ["m"] Some("SIZE"), "guest RAM: a number of MiB, or with suffix K, M, G or T; default 128M", memory;
    ["accel"] Some("tcg[,thread=single|multi][,tier=0|1|2|auto][,tb-size=MIB][,stress=SEED]"), "how guest code is run; stress is for tests of Mimic and slow", accel;
    ["kernel"] Some("FILE"), "kernel to start: for ARM Image, compressed Image, EFI zboot or ELF, for a PC bzImage", |b, v| path(&mut b.kernel, "kernel", v);
    ["initrd"] Some("FILE"), "initial RAM disk for the kernel", |b, v| path(&mut b.initrd, "initrd", v);
    ["append"] Some("TEXT"), "the kernel's command line", |b, v| set(&mut b.append, v.to_string());
    ["bios"] Some("FILE"), "firmware, or its name in one of the directories; default on a PC SeaBIOS", |b, v| path(&mut b.bios, "bios", v);
    ["L"] Some("DIR"), "look for firmware in DIR first", firmware_dir;
    ["boot"] Some("[order=]LETTERS[,menu=on][,splash-time=MS][,reboot-timeout=MS]"), "where firmware looks for a system: a floppy, c disk, d CD-ROM, n network; default cad", boot;
    ["dtb"] Some("FILE"), "device tree in place of the generated one", |b, v| path(&mut b.dtb, "dtb", v);
    ["drive"] Some("file=FILE[,if=virtio|ide|floppy|none|pflash][,media=disk|cdrom][,format=raw|qcow2|vmdk][,readonly=on][,snapshot=on][,cache=none|writeback|writethrough|directsync|unsafe][,discard=unmap][,detect-zeroes=on|unmap][,id=ID]"), "a disk", |b, v| add_drive(b, "drive", v.to_string());
    ["hda"] Some("FILE"), "short for -drive file=FILE,index=0", |b, v| short_drive(b, "hda", v, "index=0");
    ["hdb"] Some("FILE"), "short for -drive file=FILE,index=1", |b, v| short_drive(b, "hdb", v, "index=1");
    ["hdc"] Some("FILE"), "short for -drive file=FILE,index=2", |b, v| short_drive(b, "hdc", v, "index=2");
    ["hdd"] Some("FILE"), "short for -drive file=FILE,index=3", |b, v| short_drive(b, "hdd", v, "index=3");
    ["cdrom"] Some("FILE"), "short for -drive file=FILE,index=2,media=cdrom", |b, v| short_drive(b, "cdrom", v, "index=2,media=cdrom");
    ["fda"] Some("FILE"), "short for -drive file=FILE,if=floppy,index=0", |b, v| short_drive(b, "fda", v, "if=floppy,index=0");
    ["fdb"] Some("FILE"), "short for -drive file=FILE,if=floppy,index=1", |b, v| short_drive(b, "fdb", v, "if=floppy,index=1");
    ["pflash"] Some("FILE"), "short for -drive file=FILE,if=pflash,format=raw", |b, v| short_drive(b, "pflash", v, "if=pflash,format=raw");
    ["snapshot"] None, "keep every drive's writes in a temporary file", |b, _| set_flag(&mut b.snapshot);
    ["device"] Some("DRIVER[,PROPERTY=VALUE]"), "a device: `help` lists them, `DRIVER,help` its properties", add_device;
    ["fsdev"] Some("local,PROPERTIES"), "folder of the host: id=, path=, security_model=none|passthrough, readonly=", fsdev::fsdev;
    ["virtfs"] Some("local,PROPERTIES"), "-fsdev and -device virtio-9p in one: mount_tag= too", fsdev::virtfs;
    ["object"] Some("rng-random,id=ID[,filename=FILE]"), "a source of randomness for virtio-rng-device", object;
    ["chardev"] Some("BACKEND,id=ID[,PROPERTY=VALUE][,mux=on]"), "a character host end: `help` lists them", add_chardev;
    ["serial"] Some("stdio|mon:stdio|null|none|file:FILE|pty|unix:FILE|tcp:HOST:PORT|pipe:NAME|chardev:ID"), "the next serial port", |b, v| push(&mut b.serial_options, v);
    ["monitor"] Some("none|stdio|unix:FILE|…"), "where the monitor is, as for -serial", |b, v| push(&mut b.monitor_options, v);
    ["mon"] Some("chardev=ID"), "a monitor on a -chardev", mon;
    ["nographic"] None, "serial port and monitor share the terminal; Ctrl-A h shows the keys", |b, _| set_flag(&mut b.nographic);
    ["display"] Some("none"), "no window", display;
    ["vga"] Some("std|none"), "the graphics card; default std on a PC", vga;
    ["debugcon"] Some("stdio|file:FILE|…"), "where messages of firmware to the ports 0x402 and 0xe9 go", |b, v| set(&mut b.debugcon_option, v.to_string());
    ["echr"] Some("N"), "key that introduces the keys of a shared terminal; default 1 for Ctrl-A", echr;
    ["netdev"] Some("user,id=ID[,hostfwd=tcp::HOSTPORT-:GUESTPORT][,PROPERTY=VALUE]"), "a network for -device virtio-net-pci,netdev=ID", netdev;
    ["nic"] Some("user[,model=e1000|virtio][,mac=ADDR][,PROPERTY=VALUE]|none"), "a network and a card on it", |b, v| b.networks.nic(v);
    ["net"] Some("nic[,model=e1000|virtio][,macaddr=ADDR]|user[,PROPERTY=VALUE]|none"), "a card, or the network that it is on", |b, v| b.networks.net(v);
    ["parallel"] Some("none|null|file:FILE|…"), "the parallel port", |b, v| set(&mut b.parallel_option, v.to_string());
    ["no-reboot"] None, "end when the guest resets", |b, _| set_flag(&mut b.no_reboot);
    ["no-shutdown"] None, "stay, stopped, when the guest powers off", |b, _| set_flag(&mut b.no_shutdown);
    ["S"] None, "do not start the CPU; `cont` in the monitor does", |b, _| set_flag(&mut b.start_paused);
    ["rtc"] Some("base=utc|DATE"), "what real-time clocks show: utc or YYYY-MM-DDTHH:MM:SS", rtc;
    ["d"] Some("ITEM[,ITEM]"), "log these items: `help` lists them", log_items;
    ["D"] Some("FILE"), "write the log to FILE", |b, v| path(&mut b.log_file, "D", v);
    ["perfmap"] None, "write the names of translated code to /tmp/perf-PID.map, for perf", |b, _| set_flag(&mut b.perf_map);
    ["name"] Some("NAME"), "name of the guest", name;
    ["pidfile"] Some("FILE"), "write the process id to FILE", |b, v| path(&mut b.pidfile, "pidfile", v);
    ["nodefaults"] None, "only the devices that are asked for", |b, _| set_flag(&mut b.nodefaults);
    ["no-user-config"] None, "accepted: there are no configuration files", |_, _| Ok(());
    ["version"] None, "show the version", |b, _| set(&mut b.answer, Command::Version);
    ["help" "h"] None, "show this help", |b, _| set(&mut b.answer, Command::HelpSystem);
}

/// Options of QEMU that are known but not implemented, with what they are about.
const NOT_YET: &[(&str, &str)] = &[
    ("fw_cfg", "firmware configuration"),
    ("smbios", "SMBIOS tables"),
    ("acpitable", "ACPI tables"),
    ("enable-kvm", "KVM"),
    ("gdb", "the gdb server"),
    ("s", "the gdb server"),
    ("qmp", "QMP"),
    ("qmp-pretty", "QMP"),
    ("blockdev", "the block graph (use -drive)"),
    ("sd", "SD cards"),
    ("mtdblock", "flash disks"),
    ("vnc", "VNC"),
    ("spice", "SPICE"),
    ("usb", "USB"),
    ("usbdevice", "USB"),
    ("audio", "sound"),
    ("audiodev", "sound"),
    ("tpmdev", "a TPM"),
    ("numa", "NUMA"),
    ("global", "global properties"),
    ("daemonize", "running in the background (start it with `&`)"),
    ("readconfig", "configuration files"),
    ("incoming", "migration"),
    ("loadvm", "snapshots of the whole machine"),
    ("icount", "instruction counting"),
    ("semihosting", "semihosting"),
    ("semihosting-config", "semihosting"),
    ("plugin", "plugins"),
    ("trace", "trace events"),
    ("sandbox", "the sandbox"),
    ("runas", "changing the user"),
    ("watchdog-action", "watchdogs"),
    ("action", "actions on events"),
    ("uuid", "a machine UUID"),
    ("k", "keyboard layouts"),
    ("full-screen", "windows"),
    ("mem-path", "RAM from files"),
    ("mem-prealloc", "RAM from files"),
    ("add-fd", "passed descriptors"),
    ("dfilter", "log filters"),
];

/// The row of an option, by any of its names.
pub fn find(name: &str) -> Result<&'static Opt, CliError> {
    if let Some(option) = OPTIONS.iter().find(|option| option.names.contains(&name)) {
        return Ok(option);
    }
    let object = format!("-{name}");
    if let Some((_, what)) = NOT_YET.iter().find(|(known, _)| *known == name) {
        return Err(CliError::new(&object, format!("not implemented yet: {what}"), "leave it out"));
    }
    let names = OPTIONS.iter().flat_map(|option| option.names).copied();
    let advice = suggest::or(name, names, "-", "`mimic system-aarch64 -help` lists the options");
    Err(CliError::new(&object, "unknown option", advice))
}

fn set<T>(field: &mut Option<T>, value: T) -> Result<(), CliError> {
    *field = Some(value);
    Ok(())
}

fn set_flag(field: &mut bool) -> Result<(), CliError> {
    *field = true;
    Ok(())
}

fn push(field: &mut Vec<String>, value: &str) -> Result<(), CliError> {
    field.push(value.to_string());
    Ok(())
}

fn path(field: &mut Option<std::path::PathBuf>, option: &str, value: &str) -> Result<(), CliError> {
    if value.is_empty() {
        return Err(CliError::new(
            &format!("-{option}"),
            "the name of the file is empty",
            format!("write -{option} FILE"),
        ));
    }
    set(field, value.into())
}

fn is_help(value: &str) -> bool {
    value == "help" || value == "?"
}

fn machine(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let typed = b.typed.clone();
    let mut fields = Fields::new(&typed, text, "type");
    if let Some(name) = fields.take("type") {
        if is_help(&name) {
            return set(&mut b.list, List::Machines { system: b.system });
        }
        b.machine = Some(name);
    }
    let gic = [("2", Gic::V2), ("3", Gic::V3), ("max", Gic::Max)];
    b.gic = fields.choice("gic-version", &gic)?.or(b.gic);
    if let Some(names) = fields.take("accel") {
        accel_names(b, &format!("-{typed} {text}"), &names)?;
    }
    b.dump_dtb = fields.take("dumpdtb").map(Into::into).or(b.dump_dtb.take());
    for (key, what) in
        [("virtualization", "EL2"), ("secure", "EL3"), ("mte", "memory tagging"), ("usb", "USB"), ("ras", "RAS events")]
    {
        if fields.switch(key)? == Some(true) {
            return Err(fields.error(format!("{what} is not implemented yet"), format!("use {key}=off")));
        }
    }
    fields.choice("iommu", &[("none", ())])?;
    let virt = &mut b.virt;
    if let Some(on) = fields.switch("highmem")? {
        (virt.highmem_ecam, virt.highmem_mmio) = (on, on);
    }
    for (key, switch) in [
        ("its", &mut virt.its),
        ("acpi", &mut virt.acpi),
        ("highmem-ecam", &mut virt.highmem_ecam),
        ("highmem-mmio", &mut virt.highmem_mmio),
    ] {
        *switch = fields.switch(key)?.unwrap_or(*switch);
    }
    // What they choose does not exist here, so both answers are right.
    for key in ["highmem-redists", "compact-highmem"] {
        fields.switch(key)?;
    }
    for key in ["dump-guest-core", "mem-merge", "graphics", "default-bus-bypass-iommu"] {
        fields.switch(key)?;
    }
    fields.finish()
}

fn cpu(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("cpu", text, "model");
    let model = fields.take("model").unwrap_or_default();
    if is_help(&model) {
        return set(&mut b.list, List::Cpus { system: b.system });
    }
    if model == "host" {
        return Err(fields.error("it needs KVM, which is not implemented yet", "use -cpu max"));
    }
    let mut features = Vec::new();
    for (key, text) in fields.rest() {
        let feature = match (key.strip_prefix('+'), key.strip_prefix('-'), &text) {
            (Some(name), _, None) => (name.to_string(), true),
            (_, Some(name), None) => (name.to_string(), false),
            (None, None, Some(text)) => match value::switch(text) {
                Some(on) => (key, on),
                None => {
                    return Err(
                        fields.error(format!("{key}={text} is no switch"), format!("write {key}=on or {key}=off"))
                    );
                }
            },
            _ => return Err(fields.error(format!("`{key}` is no feature"), format!("write {key}=on or {key}=off"))),
        };
        features.push(feature);
    }
    set(&mut b.cpu, Cpu { model, features })
}

fn smp(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("smp", text, "cpus");
    let cpus = fields.number("cpus", 1 << 16)?;
    let mut topology = 1u64;
    for key in ["sockets", "dies", "clusters", "cores", "threads"] {
        topology = topology.saturating_mul(fields.number(key, 1 << 16)?.unwrap_or(1));
    }
    let maximum = fields.number("maxcpus", 1 << 16)?;
    let cpus = cpus.or(maximum).unwrap_or(topology);
    if cpus == 0 || topology == 0 {
        return Err(fields.error("a machine has at least one CPU", "use -smp 1"));
    }
    let room = maximum.unwrap_or(cpus.max(topology));
    if cpus > room {
        return Err(fields.error(format!("{cpus} CPUs are more than maxcpus={room}"), format!("use maxcpus={cpus}")));
    }
    if room > cpus {
        return Err(fields.error("CPUs that are added later are not implemented", format!("use -smp {room}")));
    }
    fields.finish()?;
    set(&mut b.cpus, cpus as u32)
}

fn memory(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("m", text, "size");
    let advice = "write a number of MiB, or a suffix as in 64M or 4G";
    if let Some(size) = fields.take("size") {
        let bytes = value::size(&size, 1 << 20).map_err(|reason| fields.error(reason, advice))?;
        if bytes < 1 << 20 {
            return Err(fields.error("no guest runs in less than 1 MiB", advice));
        }
        // As QEMU: whole units of 8 KiB.
        let bytes = bytes.checked_next_multiple_of(8 << 10).ok_or_else(|| fields.error("it is too large", advice))?;
        b.ram_bytes = Some(bytes);
    }
    if fields.take("slots").is_some_and(|slots| slots != "0") | fields.take("maxmem").is_some() {
        b.warnings.push("memory cannot be added at run time: slots= and maxmem= are ignored".to_string());
    }
    fields.finish()
}

/// `kvm:tcg` and the like: the first that is there.
fn accel_names(b: &mut Builder, object: &str, names: &str) -> Result<(), CliError> {
    let mut left_out = Vec::new();
    for name in names.split(':') {
        match name {
            "tcg" => {
                b.accel.get_or_insert_default();
                if !left_out.is_empty() {
                    b.warnings.push(format!("{} is not implemented yet: using tcg", left_out.join(", ")));
                }
                return Ok(());
            }
            "kvm" | "hvf" | "whpx" | "xen" | "nvmm" | "qtest" | "mshv" => left_out.push(name),
            _ => {
                let advice = suggest::or(name, ["tcg"], "", "use tcg");
                return Err(CliError::new(object, format!("unknown accelerator `{name}`"), advice));
            }
        }
    }
    Err(CliError::new(object, format!("{} is not implemented yet", left_out.join(", ")), "use tcg"))
}

fn accel(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("accel", text, "accel");
    let names = fields.take("accel").unwrap_or_default();
    if is_help(&names) {
        return set(&mut b.list, List::Accelerators);
    }
    // Several -accel are a list of choices.
    if b.accel.is_some() && names != "tcg" {
        return Ok(());
    }
    accel_names(b, &format!("-accel {text}"), &names)?;
    let tier = fields.choice("tier", &[("0", Some(0)), ("1", Some(1)), ("2", Some(2)), ("auto", None)])?;
    let one_thread = fields.choice("thread", &[("single", true), ("multi", false)])?.unwrap_or(false);
    let code_mib = fields.number("tb-size", 1 << 20)?.filter(|mib| *mib != 0);
    let stress = fields.number("stress", u64::MAX)?;
    fields.finish()?;
    set(&mut b.accel, Accel { tier: tier.flatten(), code_bytes: code_mib.map(|mib| mib << 20), stress, one_thread })
}

fn short_drive(b: &mut Builder, option: &str, file: &str, rest: &str) -> Result<(), CliError> {
    add_drive(b, option, format!("file={},{rest}", file.replace(',', ",,")))
}

/// Drives wait until the machine is known: it says how they are attached.
fn add_drive(b: &mut Builder, option: &str, text: String) -> Result<(), CliError> {
    b.drive_options.push((option.to_string(), text));
    Ok(())
}

fn firmware_dir(b: &mut Builder, text: &str) -> Result<(), CliError> {
    b.firmware_dirs.push(text.into());
    Ok(())
}

fn boot(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("boot", text, "order");
    let (order, once) = (fields.take("order"), fields.take("once"));
    if once.is_some() {
        b.warnings.push("-boot once=: a reset boots from there again".to_string());
    }
    for order in [&order, &once].into_iter().flatten() {
        if let Some(letter) = order.chars().find(|letter| !('a'..='p').contains(letter)) {
            return Err(fields.error(format!("`{letter}` is no drive"), "use letters from a to p, such as order=dc"));
        }
    }
    b.boot.order = once.or(order).or(b.boot.order.take());
    b.boot.menu = fields.switch("menu")?.unwrap_or(b.boot.menu);
    b.boot.splash_ms = fields.number("splash-time", 0xffff)?.map(|ms| ms as u16).or(b.boot.splash_ms);
    if let Some(text) = fields.take("reboot-timeout") {
        let ms = text.parse::<i32>().ok().filter(|ms| (-1..=0xffff).contains(ms));
        let advice = "write milliseconds up to 65535, or -1 for never";
        b.boot.retry_ms = Some(ms.ok_or_else(|| fields.error(format!("reboot-timeout={text} is no time"), advice))?);
    }
    fields.switch("strict")?;
    fields.finish()
}

fn add_device(b: &mut Builder, text: &str) -> Result<(), CliError> {
    match device::parse(text)? {
        Parsed::Help(list) => set(&mut b.list, list),
        Parsed::Device(device) => {
            b.devices.push((format!("-device {text}"), device));
            Ok(())
        }
    }
}

fn object(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("object", text, "qom-type");
    let kind = fields.take("qom-type").unwrap_or_default();
    if is_help(&kind) {
        return set(&mut b.list, List::Objects);
    }
    let known = ["rng-random", "rng-builtin"];
    if !known.contains(&kind.as_str()) {
        let later = ["memory-backend-", "iothread", "secret", "tls-", "throttle-group", "filter-", "can-"];
        if later.iter().any(|prefix| kind.starts_with(prefix)) {
            return Err(fields.error(format!("objects of type {kind} are not implemented yet"), "leave it out"));
        }
        let advice = suggest::or(&kind, known, "", "`-object help` lists the types");
        return Err(fields.error(format!("unknown type `{kind}`"), advice));
    }
    let id = fields.need("id", "give it a name for virtio-rng-device,rng=NAME, such as id=rng0")?;
    let filename = if kind == "rng-random" { fields.take("filename").map(Into::into) } else { None };
    if b.rngs.iter().any(|rng| rng.id == id) {
        return Err(fields.error(format!("another object has the id `{id}`"), "choose another id="));
    }
    fields.finish()?;
    b.rngs.push(Rng { id, filename });
    Ok(())
}

fn add_chardev(b: &mut Builder, text: &str) -> Result<(), CliError> {
    if is_help(text) {
        return set(&mut b.list, List::Chardevs);
    }
    let chardev = chardev::parse(text)?;
    if b.chardevs.iter().any(|other| other.id == chardev.id) {
        let reason = format!("another chardev has the id `{}`", chardev.id);
        return Err(CliError::new(&format!("-chardev {text}"), reason, "choose another id="));
    }
    b.chardevs.push(chardev);
    Ok(())
}

fn mon(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("mon", text, "chardev");
    let id = fields.need("chardev", "name a -chardev: chardev=ID")?;
    if fields.choice("mode", &[("readline", false), ("control", true)])? == Some(true) {
        return Err(fields.error("QMP is not implemented yet", "leave it out or use mode=readline"));
    }
    fields.switch("pretty")?;
    fields.finish()?;
    push(&mut b.monitor_chardevs, &id)
}

fn display(b: &mut Builder, text: &str) -> Result<(), CliError> {
    if text == "none" {
        return set_flag(&mut b.display_none);
    }
    Err(CliError::new(
        &format!("-display {text}"),
        "windows are not implemented yet",
        "use -display none or -nographic",
    ))
}

fn vga(b: &mut Builder, text: &str) -> Result<(), CliError> {
    match text {
        "none" => set(&mut b.vga, false),
        "std" => set(&mut b.vga, true),
        "cirrus" | "vmware" | "qxl" | "virtio" | "tcx" | "cg3" => {
            Err(CliError::new(&format!("-vga {text}"), "this card is not implemented yet", "use -vga std or -vga none"))
        }
        _ => Err(CliError::new(&format!("-vga {text}"), "unknown card", "use -vga std or -vga none")),
    }
}

fn echr(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let key = value::number(text).filter(|key| (1..=0x7e).contains(key));
    let advice = "use a number from 1 to 126, such as 0x14 for Ctrl-T";
    let key = key.ok_or_else(|| CliError::new(&format!("-echr {text}"), "it is no key's code", advice))?;
    set(&mut b.escape, key as u8)
}

fn netdev(b: &mut Builder, text: &str) -> Result<(), CliError> {
    if is_help(text) { set(&mut b.list, List::Netdevs) } else { b.networks.netdev(text) }
}

fn rtc(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("rtc", text, "");
    if let Some(base) = fields.take("base") {
        b.rtc = match base.as_str() {
            "utc" => RtcBase::Utc,
            "localtime" => {
                let advice = "use base=utc, or a date such as base=2026-01-31T12:00:00";
                return Err(fields.error("local time is not implemented yet", advice));
            }
            date => RtcBase::At(value::date(date).ok_or_else(|| {
                fields.error(format!("`{date}` is no date"), "use base=utc or base=2026-01-31T12:00:00, from 1970 on")
            })?),
        };
    }
    if fields.choice("clock", &[("host", false), ("vm", false), ("rt", true)])? == Some(true) {
        return Err(fields.error("clock=rt is not implemented yet", "use clock=host or leave it out"));
    }
    fields.choice("driftfix", &[("none", ()), ("slew", ())])?;
    fields.finish()
}

/// Log items of QEMU under the names that Mimic has for them.
const ALIASES: &[(&str, &str)] = &[("op", "ir"), ("op_opt", "ir_opt"), ("guest_errors", "guest_error")];
/// Log items of QEMU that have no counterpart.
const NO_ITEMS: &[&str] = &[
    "op_ind",
    "op_plugin",
    "cpu",
    "fpu",
    "cpu_reset",
    "pcall",
    "page",
    "nochain",
    "plugin",
    "strace",
    "tid",
    "invalid_mem",
    "vpu",
];

fn log_items(b: &mut Builder, text: &str) -> Result<(), CliError> {
    for word in text.split(',') {
        if is_help(word) {
            return set(&mut b.list, List::LogItems);
        }
        if word == "all" {
            b.log_items = ITEMS.iter().map(|(item, ..)| *item).collect();
            continue;
        }
        let name = ALIASES.iter().find(|(alias, _)| *alias == word).map_or(word, |(_, name)| name);
        match ITEMS.iter().find(|(_, known, _)| *known == name) {
            Some((item, ..)) if b.log_items.contains(item) => {}
            Some((item, ..)) => b.log_items.push(*item),
            None if NO_ITEMS.contains(&word) || word.starts_with("trace:") => {
                b.warnings.push(format!("-d {word}: there is no such item yet; it is ignored"));
            }
            None => {
                let names = ITEMS.iter().map(|(_, name, _)| *name);
                let advice = suggest::or(word, names, "", "`-d help` lists the items");
                return Err(CliError::new(&format!("-d {text}"), format!("unknown item `{word}`"), advice));
            }
        }
    }
    Ok(())
}

fn name(b: &mut Builder, text: &str) -> Result<(), CliError> {
    let mut fields = Fields::new("name", text, "guest");
    b.name = fields.take("guest").or(b.name.take());
    // How the host's tools show the process: not implemented, and nothing depends on it.
    fields.take("process");
    fields.switch("debug-threads")?;
    fields.finish()
}
