//! What a command line asks for.

use crate::cli::config::*;
use crate::cli::parse;
use host::chardev::{Address, Role, Spec};
use host::disk::{Cache, DiskOptions};
use host::image::format::Format;
use vm::log::Item;

fn command(words: &[&str]) -> Command {
    parse(words.iter().map(Into::into)).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn system(line: &str) -> Config {
    let words: Vec<&str> = ["qemu-system-aarch64"].into_iter().chain(line.split_whitespace()).collect();
    match command(&words) {
        Command::System(config) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

/// The chardev of each serial port, and whether a monitor shares it; then the monitors of their own.
fn ends(config: &Config) -> String {
    let chardev = |id: &str| config.chardevs.iter().find(|chardev| chardev.id == id).unwrap();
    let show = |id: &str| {
        let Chardev { spec, mux, signal, .. } = chardev(id);
        let name = format!("{spec:?}").to_lowercase();
        format!("{name}{}{}", if *mux { "+mux" } else { "" }, if *signal { "" } else { "-signal" })
    };
    let mut shown = Vec::new();
    for serial in &config.serials {
        let Some(id) = serial else {
            shown.push("none".to_string());
            continue;
        };
        let monitor = if config.monitors.contains(id) { "+monitor" } else { "" };
        shown.push(show(id) + monitor);
    }
    for id in config.monitors.iter().filter(|id| !config.serials.contains(&Some(id.to_string()))) {
        shown.push(format!("monitor:{}", show(id)));
    }
    shown.join(" ")
}

#[test]
fn commands_and_names() {
    assert_eq!(command(&["mimic"]), Command::Help);
    assert_eq!(command(&["mimic", "--help"]), Command::Help);
    assert_eq!(command(&["mimic", "help", "system-aarch64"]), Command::HelpSystem);
    assert_eq!(command(&["mimic", "--version"]), Command::Version);
    assert_eq!(command(&["/usr/bin/qemu-system-aarch64", "--version"]), Command::Version);
    assert_eq!(command(&["./mimic-system-aarch64", "-h"]), Command::HelpSystem);
    assert_eq!(
        command(&["mimic", "system-aarch64", "-M", "help"]),
        Command::List(List::Machines { system: System::Aarch64 })
    );
    for (name, system) in [("aarch64", System::Aarch64), ("x86_64", System::X86_64), ("i386", System::I386)] {
        let words = [&format!("qemu-system-{name}"), "-cpu", "help", "-M", "virt-10.0"];
        assert_eq!(command(&words), Command::List(List::Cpus { system }));
    }
    assert_eq!(
        command(&["mimic", "explain", "a64", "91000420", "0xd503201f_d65f03c0"]),
        Command::ExplainA64(vec![0x9100_0420, 0xd503_201f, 0xd65f_03c0])
    );
}

#[test]
fn defaults() {
    let config = system("");
    let want = Config {
        system: System::Aarch64,
        machine: Machine { name: "virt".into(), gic: None, virt: Virt::default(), dump_dtb: None },
        cpu: Cpu { model: "max".into(), features: vec![] },
        ram_bytes: 128 << 20,
        cpus: 1,
        accel: Accel::default(),
        kernel: None,
        initrd: None,
        append: None,
        dtb: None,
        bios: None,
        firmware_dirs: vec![],
        boot: Boot::default(),
        vga: false,
        nographic: true,
        parallel: None,
        drives: vec![],
        devices: vec![],
        chardevs: vec![Chardev { id: "serial0".into(), spec: Spec::Stdio, mux: true, signal: false, log: None }],
        serials: vec![Some("serial0".into())],
        monitors: vec!["serial0".into()],
        netdevs: Vec::new(),
        fsdevs: vec![],
        rngs: vec![],
        rtc: RtcBase::Utc,
        perf_map: false,
        no_reboot: false,
        no_shutdown: false,
        start_paused: false,
        log: Log::default(),
        escape: 1,
        name: None,
        pidfile: None,
        nodefaults: false,
        warnings: vec![],
    };
    assert_eq!(config, want);
    assert_eq!(system("-nographic"), want);
}

#[test]
fn one_dash_or_two_and_every_simple_option() {
    let config = system(
        "--machine type=virt,gic-version=3,secure=off,accel=tcg --cpu cortex-a57,+crc32,-sve,pmu=off -m size=1.5G \
         -smp cpus=1,sockets=1 -accel tcg,tier=1,tb-size=64,thread=single,stress=0x10 -kernel Image -initrd initrd.img --append quiet \
         -dtb board.dtb -no-reboot -no-shutdown -S -d in_asm,op_opt,guest_errors,int,int -D log.txt -name guest=me,process=p \
         -rtc base=2000-03-01 -echr 0x14 -pidfile pid -nodefaults -no-user-config -vga none -nic none -net none",
    );
    let machine = Machine { name: "virt".into(), gic: Some(Gic::V3), virt: Virt::default(), dump_dtb: None };
    assert_eq!(config.machine, machine);
    let virt = system("-M virt,highmem=off,highmem-mmio=on,its=off,acpi=off").machine.virt;
    assert_eq!(virt, Virt { its: false, acpi: false, highmem_ecam: false, highmem_mmio: true });
    let features = [("crc32", true), ("sve", false), ("pmu", false)].map(|(name, on)| (name.to_string(), on));
    assert_eq!(config.cpu, Cpu { model: "cortex-a57".into(), features: features.to_vec() });
    assert_eq!((config.ram_bytes, config.cpus), (3 << 29, 1));
    assert_eq!(config.accel, Accel { tier: Some(1), code_bytes: Some(64 << 20), stress: Some(16), one_thread: true });
    assert_eq!(config.kernel, Some("Image".into()));
    assert_eq!(config.initrd, Some("initrd.img".into()));
    assert_eq!(config.append.as_deref(), Some("quiet"));
    assert_eq!(config.dtb, Some("board.dtb".into()));
    assert!(config.no_reboot && config.no_shutdown && config.start_paused && config.nodefaults);
    assert_eq!(config.log.items, [Item::InAsm, Item::IrOpt, Item::GuestError, Item::Int]);
    assert_eq!(config.log.file, Some("log.txt".into()));
    assert_eq!(config.name.as_deref(), Some("me"));
    assert_eq!(config.rtc, RtcBase::At(951_868_800));
    assert_eq!((config.escape, config.pidfile), (0x14, Some("pid".into())));
    assert_eq!((config.serials, config.monitors, config.chardevs), (vec![], vec![], vec![]));
}

#[test]
fn what_cannot_be_had_is_said_once() {
    assert_eq!(system("-machine virt,accel=kvm:tcg").warnings, ["kvm is not implemented yet: using tcg"]);
    assert_eq!(system("-d cpu,int").warnings, ["-d cpu: there is no such item yet; it is ignored"]);
    assert_eq!(system("-m 512").warnings, [""; 0]);
}

#[test]
fn where_serial_ports_and_monitor_are() {
    let rows = [
        ("", "stdio+mux-signal+monitor"),
        ("-nographic", "stdio+mux-signal+monitor"),
        ("-display none", "null"),
        ("-serial stdio", "stdio"),
        ("-serial stdio -display none", "stdio"),
        ("-serial mon:stdio", "stdio+mux-signal+monitor"),
        ("-nographic -serial mon:stdio", "stdio+mux-signal+monitor"),
        ("-nographic -serial stdio", "stdio+mux-signal+monitor"),
        ("-nographic -monitor none", "stdio"),
        ("-nographic -serial null", "null monitor:stdio"),
        ("-nographic -serial none", "none monitor:stdio"),
        ("-monitor stdio", "null monitor:stdio"),
        ("-serial null -serial none -serial pty", "null none pty"),
        ("-nographic -nodefaults", ""),
        ("-nodefaults -serial stdio", "stdio"),
        ("-nographic -monitor null", "stdio monitor:null"),
        ("-chardev stdio,id=c,mux=on -serial chardev:c -mon chardev=c", "stdio+mux-signal+monitor"),
        ("-chardev stdio,id=c,signal=off -serial chardev:c -monitor none", "stdio-signal"),
        ("-chardev stdio,id=c -device virtio-serial -device virtconsole,chardev=c", "null"),
    ];
    for (line, want) in rows {
        assert_eq!(ends(&system(line)), want, "{line}");
    }
}

#[test]
fn chardevs() {
    let unix = |path: &str, role| Spec::Socket { address: Address::Unix(path.into()), role };
    let tcp = |host: &str, port, role| Spec::Socket { address: Address::Tcp { host: host.into(), port }, role };
    let client = Role::Client { reconnect: None };
    let rows = [
        ("-serial unix:/s,server,nowait", unix("/s", Role::Server { wait: false })),
        ("-serial unix:/s,server=on", unix("/s", Role::Server { wait: true })),
        ("-serial mon:unix:/s,server=on,wait=off", unix("/s", Role::Server { wait: false })),
        ("-serial unix:/s", unix("/s", client)),
        ("-serial unix:/a=b,,c", unix("/a=b,c", client)),
        ("-serial tcp::4444,server=on,wait=off", tcp("", 4444, Role::Server { wait: false })),
        ("-serial tcp:[::1]:4444", tcp("::1", 4444, client)),
        ("-serial mon:tcp:h:1", tcp("h", 1, client)),
        ("-serial file:a,b", Spec::File { path: "a,b".into(), append: false }),
        ("-serial pipe:p", Spec::Pipe { path: "p".into() }),
        ("-chardev file,id=c,path=a,,b,append=on", Spec::File { path: "a,b".into(), append: true }),
        ("-chardev socket,id=c,path=/s,server=on,wait=off", unix("/s", Role::Server { wait: false })),
        (
            "-chardev socket,id=c,host=h,port=5,reconnect=2",
            tcp("h", 5, Role::Client { reconnect: Some(std::time::Duration::from_secs(2)) }),
        ),
        ("-chardev pty,id=c", Spec::Pty),
    ];
    for (line, want) in rows {
        assert_eq!(system(line).chardevs[0].spec, want, "{line}");
    }
    let logged = system("-chardev pty,id=c,logfile=a.log,logappend=on").chardevs.remove(0);
    assert_eq!(logged.log, Some(LogFile { path: "a.log".into(), append: true }));
}

#[test]
fn drives() {
    let disk = |path: &str| DiskOptions { path: path.into(), ..DiskOptions::default() };
    let drive =
        |id: &str, interface, index, disk| Drive { id: id.into(), interface, index, cdrom: false, serial: None, disk };
    let config = system(
        "-drive file=a,,b.img,format=raw,if=none,id=hd0,readonly=on,cache=none -hda c.img -drive file=d.img,cache=unsafe \
         -drive if=pflash,file=code.fd,format=raw,unit=0,read-only=on -pflash vars.fd -drive file=e,snapshot=on,discard=unmap",
    );
    let want = [
        drive("hd0", Interface::None, 0, DiskOptions { read_only: true, format: Some(Format::Raw), ..disk("a,b.img") }),
        drive("virtio0", Interface::Virtio, 0, disk("c.img")),
        drive("virtio1", Interface::Virtio, 1, DiskOptions { cache: Cache::Unsafe, ..disk("d.img") }),
        drive(
            "pflash0",
            Interface::Pflash,
            0,
            DiskOptions { read_only: true, format: Some(Format::Raw), ..disk("code.fd") },
        ),
        drive("pflash1", Interface::Pflash, 1, DiskOptions { format: Some(Format::Raw), ..disk("vars.fd") }),
        drive("virtio2", Interface::Virtio, 2, DiskOptions { snapshot: true, discard: true, ..disk("e") }),
    ];
    assert_eq!(config.drives, want);
    assert!(system("-snapshot -hda a -hdb b").drives.iter().all(|drive| drive.disk.snapshot));
}

fn pc(line: &str) -> Config {
    let words: Vec<&str> = ["qemu-system-x86_64"].into_iter().chain(line.split_whitespace()).collect();
    match command(&words) {
        Command::System(config) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn drives_of_a_pc() {
    let places = |line: &str| -> Vec<(String, Interface, u32, bool)> {
        let drives = pc(line).drives.into_iter();
        drives.map(|drive| (drive.id, drive.interface, drive.index, drive.disk.read_only)).collect()
    };
    let place = |id: &str, interface, index, read_only| (id.to_string(), interface, index, read_only);
    let (ide, floppy) = (Interface::Ide, Interface::Floppy);
    assert_eq!(
        places("-hda a -hdb b -hdd d -cdrom c -fda f -fdb g"),
        [
            place("ide0-hd0", ide, 0, false),
            place("ide0-hd1", ide, 1, false),
            place("ide1-hd1", ide, 3, false),
            place("ide1-cd0", ide, 2, true),
            place("floppy0", floppy, 0, false),
            place("floppy1", floppy, 1, false),
        ]
    );
    assert_eq!(
        places("-drive file=a -drive file=b,bus=1,unit=1,media=cdrom -drive file=c,if=virtio -drive file=d,if=floppy"),
        [
            place("ide0-hd0", ide, 0, false),
            place("ide1-cd1", ide, 3, true),
            place("virtio0", Interface::Virtio, 0, false),
            place("floppy0", floppy, 0, false),
        ]
    );
    // Ports instead of channels.
    assert_eq!(
        places("-M pc-q35-9.0 -hdb a -cdrom c -drive if=sata,bus=5,file=s"),
        [place("ide1-hd0", ide, 1, false), place("ide2-cd0", ide, 2, true), place("ide5-hd0", ide, 5, false)]
    );
    // The machine decides, wherever it stands.
    assert_eq!(places("-hda a -M microvm"), [place("virtio0", Interface::Virtio, 0, false)]);
}

#[test]
fn a_pc() {
    let config = pc("");
    assert_eq!((config.machine.name.as_str(), config.vga, config.nographic), ("pc", true, true));
    assert_eq!((config.parallel, config.bios, config.boot), (Some(None), None, Boot::default()));
    let config = pc("-nodefaults -display none");
    assert_eq!((config.vga, config.nographic, config.parallel), (false, false, None));
    let config =
        pc("-bios b.bin -L dir -boot order=dc,menu=on,splash-time=5000,reboot-timeout=-1 -parallel file:out -vga none");
    assert_eq!((config.bios, config.firmware_dirs), (Some("b.bin".into()), vec!["dir".into()]));
    let boot = Boot { order: Some("dc".into()), menu: true, splash_ms: Some(5000), retry_ms: Some(-1) };
    assert_eq!((config.boot, config.vga, config.parallel), (boot, false, Some(Some("parallel0".into()))));
    assert_eq!(pc("-boot d").boot.order.as_deref(), Some("d"));
    let config = pc("-debugcon stdio -device isa-debug-exit,iobase=0xf4,iosize=4 -device pvpanic -device e1000 \
         -device virtio-net-pci,mac=52:54:00:00:00:01 -device virtio-rng-pci");
    let kinds: Vec<DeviceKind> = config.devices.into_iter().map(|device| device.kind).collect();
    let debugcon = |iobase| DeviceKind::Debugcon { chardev: "debugcon0".into(), iobase };
    let want = [
        DeviceKind::DebugExit { iobase: 0xf4, iosize: 4 },
        DeviceKind::Pvpanic { ioport: 0x505 },
        DeviceKind::E1000 { mac: None, netdev: None },
        DeviceKind::VirtioNet { mac: Some([0x52, 0x54, 0, 0, 0, 1]), netdev: None },
        DeviceKind::VirtioRng { rng: None },
        debugcon(0xe9),
        debugcon(0x402),
    ];
    assert_eq!(kinds, want);
    let Command::System(config) = command(&["mimic", "system-i386"]) else { panic!("no machine") };
    assert_eq!((config.machine.name.as_str(), config.cpu.model.as_str()), ("pc", "pentium3"));
}

#[test]
fn devices() {
    let config = system(
        r#"-drive if=none,id=hd0,file=a -device {"driver":"virtio-blk-device","drive":"hd0","id":"disk","serial":"S1"}
           -object rng-random,id=r0,filename=/dev/urandom -device virtio-rng-device,rng=r0 -device virtio-rng
           -chardev pty,id=c -device virtio-serial-device,id=bus0 -device virtconsole,chardev=c,bus=bus0.0"#,
    );
    let kinds: Vec<DeviceKind> = config.devices.iter().map(|device| device.kind.clone()).collect();
    let want = [
        DeviceKind::VirtioBlk { drive: "hd0".into(), serial: Some("S1".into()) },
        DeviceKind::VirtioRng { rng: Some("r0".into()) },
        DeviceKind::VirtioRng { rng: None },
        DeviceKind::VirtioSerial,
        DeviceKind::Virtconsole { chardev: "c".into(), bus: Some("bus0".into()) },
    ];
    assert_eq!(kinds, want);
    assert_eq!(config.devices[0].id.as_deref(), Some("disk"));
    assert_eq!(config.rngs, [Rng { id: "r0".into(), filename: Some("/dev/urandom".into()) }]);
}

#[test]
fn storage_and_folders() {
    let words = "-drive if=none,id=a,file=a -drive if=none,id=b,file=b -drive if=none,id=c,file=c -device nvme,drive=a,serial=S1 \
                 -device virtio-scsi-pci,id=s0 -device virtio-scsi-pci,id=s1 -device scsi-hd,drive=b,bus=s0.0,lun=3 \
                 -device scsi-cd,drive=c -device scsi-cd,scsi-id=0,lun=1 -device scsi-cd \
                 -fsdev local,id=f,path=/x,security_model=passthrough,readonly=on -device virtio-9p-pci,fsdev=f,mount_tag=t \
                 -virtfs local,path=/y,security_model=none,mount_tag=u -device virtio-balloon-pci";
    let line: Vec<&str> = ["mimic", "system-x86_64"].into_iter().chain(words.split_whitespace()).collect();
    let Command::System(config) = command(&line) else { panic!("no machine") };
    let units = |n: usize| match &config.devices[n].kind {
        DeviceKind::VirtioScsi { units } => {
            units.iter().map(|unit| (unit.cdrom, unit.drive.as_deref(), unit.target, unit.lun)).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(config.devices[0].kind, DeviceKind::Nvme { drive: "a".into(), serial: Some("S1".into()) });
    assert_eq!(units(1), [(false, Some("b"), 0, 3)]);
    assert_eq!(units(2), [(true, Some("c"), 0, 0), (true, None, 0, 1), (true, None, 1, 0)]);
    assert_eq!(config.drives.iter().map(|drive| drive.disk.read_only).collect::<Vec<_>>(), [false, false, true]);
    let folders: Vec<_> = config.fsdevs.iter().map(|fsdev| (fsdev.id.as_str(), fsdev.folder.read_only)).collect();
    assert_eq!(folders, [("f", true), ("u", false)]);
    let last: Vec<_> = config.devices.iter().skip(7).map(|device| device.kind.clone()).collect();
    let ninep = |fsdev: &str, tag: &str| DeviceKind::Virtio9p { fsdev: fsdev.into(), tag: tag.into() };
    assert_eq!(last, [ninep("f", "t"), ninep("u", "u"), DeviceKind::VirtioBalloon]);
}

#[test]
fn no_words_make_the_parser_panic() {
    let pieces: Vec<String> = include_str!("errors.in")
        .lines()
        .flat_map(|line| line.split_whitespace().skip(2))
        .flat_map(|word| {
            [word.to_string()].into_iter().chain(word.split_inclusive([',', '=', ':']).map(str::to_string))
        })
        .chain(["", "-", "--", ",", "=", "\u{e9}", "0x", "{}", "mon:", "help", "1.5", "on"].map(str::to_string))
        .collect();
    let mut seed = 7u64;
    let mut pick = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let (mut good, mut bad) = (0, 0);
    for _ in 0..20_000 {
        let mut words = vec!["qemu-system-aarch64".to_string()];
        for _ in 0..1 + pick(5) {
            let word: String = (0..1 + pick(3)).map(|_| pieces[pick(pieces.len())].as_str()).collect();
            words.push(word);
        }
        match parse(words.iter().map(Into::into)) {
            Ok(_) => good += 1,
            Err(error) => {
                bad += 1;
                let error = error.to_string();
                assert!(!error.chars().any(char::is_control) && error.contains("; "), "{words:?}: {error}");
            }
        }
    }
    assert!(good > 10 && bad > 100, "{good} good, {bad} bad");
}
