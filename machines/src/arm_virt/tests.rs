use super::*;
use crate::builder::{Host, build};
use crate::machine::Machine;
use crate::testing::{IdleAccel, host};
use std::io::Write;
use std::process::{Command, Stdio};
use vm::vcpu::Wiring;
use vm::{Gva, ResetKind};

/// Compares `text` with the file `name` beside this one; `cargo xtask bless` rewrites it.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/arm_virt").join(name);
    if std::env::var_os("MIMIC_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expect, "{name} differs; run `cargo xtask bless` and review the change");
}

fn config(gic: GicVersion) -> Config {
    let virtio = |kind, pci| Virtio { kind, pci };
    let blk = |drive: &str| VirtioKind::Blk { drive: drive.into(), serial: String::new() };
    Config {
        cpu: "cortex-a57".into(),
        pa_bits: 44,
        ram: 512 << 20,
        gic,
        serial: Some("serial0".into()),
        virtio: vec![virtio(blk("hd0"), false), virtio(VirtioKind::Rng, false), virtio(blk("hd1"), true)],
        synchronous: true,
        ..Config::default()
    }
}

fn image() -> Vec<u8> {
    let mut bytes = vec![0x55; 4096];
    bytes[8..24].copy_from_slice(&[0; 16]);
    bytes[16..24].copy_from_slice(&0x1_0000u64.to_le_bytes());
    bytes[24..32].copy_from_slice(&0b1010u64.to_le_bytes());
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes
}

fn file(role: Role, bytes: impl Into<Vec<u8>>) -> Option<File> {
    Some(File { role, name: "f".into(), bytes: bytes.into() })
}

fn files() -> Files {
    Files {
        kernel: file(Role::Kernel, image()),
        initrd: file(Role::Initrd, *b"initrd"),
        cmdline: "quiet".into(),
        ..Files::default()
    }
}

fn built(gic: GicVersion) -> (Machine, Wiring) {
    let accel = IdleAccel::default();
    let (board, boot) = machine(&config(gic), files()).unwrap();
    let machine = build(board, boot, &host(), &accel).unwrap();
    (machine, accel.0.into_inner().unwrap().remove(0))
}

#[test]
fn boards_print() {
    for (gic, name) in [(GicVersion::V2, "gicv2.board"), (GicVersion::V3, "gicv3.board")] {
        golden(name, &machine(&config(gic), files()).unwrap().0.to_string());
    }
}

#[test]
fn device_trees() {
    for (gic, name) in [(GicVersion::V2, "gicv2.dts"), (GicVersion::V3, "gicv3.dts")] {
        let (_, boot) = machine(&config(gic), files()).unwrap();
        golden(name, &boot.fdt.unwrap().1.to_string());
    }
}

/// `dtc` finds nothing to complain about; skipped where it is not installed.
#[test]
fn dtc_accepts_the_device_tree() {
    for (gic, cpus) in [(GicVersion::V2, 8), (GicVersion::V3, 20)] {
        let (_, boot) = machine(&Config { cpus, ..config(gic) }, files()).unwrap();
        let child = Command::new("dtc")
            .args(["-I", "dtb", "-O", "dts"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: no dtc");
            return;
        };
        child.stdin.take().unwrap().write_all(&boot.fdt.unwrap().1.write().unwrap()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(String::from_utf8_lossy(&output.stdout).contains("linux,initrd-end = <0x00 0x48000006>;"));
    }
}

#[test]
fn memory_and_registers_at_the_start_and_after_a_reset() {
    let (mut machine, wiring) = built(GicVersion::V2);
    let (kernel, initrd, fdt) = (Gpa(RAM + (2 << 20)), Gpa(RAM + (128 << 20)), Gpa(RAM + (130 << 20)));
    assert_eq!(wiring.boot.as_ref().unwrap().pc, Gva(kernel.0));
    let check = |machine: &Machine| {
        let mut bytes = vec![0; 4096];
        machine.bus.read(kernel, &mut bytes).unwrap();
        assert_eq!(bytes, image());
        machine.bus.read(initrd, &mut bytes[..6]).unwrap();
        assert_eq!(&bytes[..6], b"initrd");
        let mut blob = vec![0; 1 << 16];
        machine.bus.read(fdt, &mut blob).unwrap();
        assert_eq!((machine.vcpus[0].reg(0), machine.vcpus[0].reg(1)), (fdt.0.into(), kernel.0.into()));
        Fdt::parse(&blob).unwrap().root.find("chosen").unwrap().clone()
    };
    let chosen = check(&machine);
    assert_eq!(chosen.prop("bootargs"), Some(&b"quiet\0"[..]));
    assert_eq!(chosen.number("linux,initrd-start"), Some(initrd.0));
    for at in [kernel, initrd, fdt] {
        machine.bus.write(at, &[0; 4096]).unwrap();
    }
    machine.vcpus[0].set_reg(1, 0);
    machine.bus.write(Gpa(UART + 0x24), &[7]).unwrap();
    assert_ne!(machine.bus.view().load(Gpa(UART + 0x24), 4).unwrap(), 0);
    machine.reset(ResetKind::Warm).unwrap();
    let again = check(&machine);
    assert_eq!(machine.bus.view().load(Gpa(UART + 0x24), 4).unwrap(), 0);
    assert_ne!(chosen.prop("rng-seed"), again.prop("rng-seed"));
    assert_ne!(again.prop("kaslr-seed"), Some(&[0; 8][..]));
}

#[test]
fn everything_answers_where_the_map_says() {
    for gic in [GicVersion::V2, GicVersion::V3] {
        let (machine, wiring) = built(gic);
        let load = |gpa: u64| machine.bus.view().load(Gpa(gpa), 4);
        assert_eq!(load(UART + 0xfe0), Ok(0x11));
        assert_eq!(load(RTC + 0xfe0), Ok(0x31));
        assert_eq!(load(GPIO + 0xfe0), Ok(0x61));
        assert_eq!(load(FLASH_LEN), Ok(0));
        assert_eq!(load(VIRTIO), Ok(0x7472_6976));
        // 4.2.2: device IDs; the disk given as PCI first, the others from the top.
        assert_eq!([0, 1, 30, 31].map(|slot| load(VIRTIO + VIRTIO_LEN * slot + 8).unwrap()), [2, 0, 4, 2]);
        let sre = wiring.sysregs.find(icc::ICC_SRE_EL1).is_some();
        assert_eq!(
            (load(GICV2_CPU).is_ok(), load(GICV3_REDIST).is_ok(), sre),
            match gic {
                GicVersion::V2 => (true, false, false),
                GicVersion::V3 => (false, true, true),
            }
        );
        assert_eq!(machine.bus.view().load(Gpa(RAM + (512 << 20)), 4), Err(vm::BusError::NoDevice));
    }
}

/// Enables the timer's and the power key's interrupts in a GICv2 and follows them to the vCPU's pin.
#[test]
fn lines_lead_to_the_vcpu() {
    let (machine, wiring) = built(GicVersion::V2);
    let store = |gpa: u64, value: u32| machine.bus.view().store(Gpa(gpa), 4, value.into()).unwrap();
    store(GIC_DIST, 1);
    store(GICV2_CPU, 1);
    store(GICV2_CPU + 4, 0xf0);
    store(GIC_DIST + 0x100, 1 << 27);
    assert_eq!(wiring.pins.levels(), 0);
    wiring.outputs[wiring::OUT_VIRTUAL_TIMER].set(true);
    assert_eq!(wiring.pins.levels(), 1 << wiring::PIN_IRQ);
    assert_eq!(machine.bus.view().load(Gpa(GICV2_CPU + 0xc), 4), Ok(27));
    wiring.outputs[wiring::OUT_VIRTUAL_TIMER].set(false);
    store(GICV2_CPU + 0x10, 27);
    assert_eq!(wiring.pins.levels(), 0);
    // PL061: both edges of pin 3.
    store(GPIO + 0x408, 1 << POWER_KEY_PIN);
    store(GPIO + 0x410, 1 << POWER_KEY_PIN);
    store(GIC_DIST + 0x104, 1 << SPI_GPIO);
    store(GIC_DIST + 0x800 + u64::from(32 + SPI_GPIO) / 4 * 4, 0x0101_0101);
    assert!(machine.press_power_button());
    assert_eq!(wiring.pins.levels(), 1 << wiring::PIN_IRQ);
    assert_eq!(machine.bus.view().load(Gpa(GICV2_CPU + 0xc), 4), Ok(u64::from(32 + SPI_GPIO)));
    // It stays down for a moment: drivers debounce.
    let data = |machine: &Machine| machine.bus.view().load(Gpa(GPIO + 0x3fc), 4).unwrap();
    assert_eq!(data(&machine), 1 << POWER_KEY_PIN);
    for (now_ns, level) in [(99_000_000, 1 << POWER_KEY_PIN), (100_000_000, 0)] {
        machine.timers.clock().advance_to(vm::VmTime(now_ns));
        machine.timers.expire();
        assert_eq!(data(&machine), level);
    }
}

#[test]
fn snapshots() {
    let (mut machine, _) = built(GicVersion::V3);
    let load = |machine: &Machine| machine.bus.view().load(Gpa(UART + 0x24), 4).unwrap();
    machine.bus.view().store(Gpa(UART + 0x24), 4, 7).unwrap();
    machine.vcpus[0].set_reg(0, 99);
    let saved = machine.save();
    machine.reset(ResetKind::Cold).unwrap();
    assert_eq!(load(&machine), 0);
    machine.load(&saved).unwrap();
    assert_eq!((load(&machine), machine.vcpus[0].reg(0)), (7, 99));
    assert_eq!(machine.save().parts, saved.parts);

    // A snapshot that does not fit changes nothing.
    machine.bus.view().store(Gpa(UART + 0x24), 4, 9).unwrap();
    let mut damaged = saved.clone();
    damaged.vcpus[0].model = "other".into();
    assert!(machine.load(&damaged).unwrap_err().to_string().contains("was saved by a `other`"));
    assert_eq!(load(&machine), 9);
    let mut damaged = saved.clone();
    damaged.parts.remove("virtio5");
    let missing = "the snapshot has no section `virtio5`; start the machine with the options it was saved with";
    assert_eq!(machine.load(&damaged).unwrap_err().to_string(), missing);
    assert_eq!(load(&machine), 9);
    let mut other = saved;
    other.machine = "pc".into();
    let text = "the snapshot is of machine `pc`, this is `virt`; start the machine with the options it was saved with";
    assert_eq!(machine.load(&other).unwrap_err().to_string(), text);
}

#[track_caller]
fn fails(config: Config, files: Files, expect: &str) {
    assert_eq!(machine(&config, files).err().unwrap().to_string(), expect);
}

#[test]
fn what_cannot_be() {
    let base = || config(GicVersion::V2);
    fails(
        Config { ram: 1 << 50, pa_bits: 40, ..base() },
        files(),
        "machine `virt` cannot have 1073741824 MiB of RAM: CPU model `cortex-a57` has 40-bit physical addresses; use \
         -m 1047552 or less",
    );
    fails(
        Config { ram: 100, ..base() },
        files(),
        "machine `virt` cannot have 100 bytes of RAM; use a multiple of 1 MiB with -m",
    );
    fails(Config { cpus: 9, ..base() }, files(), "machine `virt` cannot have 9 CPUs with GICv2; use -smp 8 or less");
    fails(
        Config { cpus: 124, gic: GicVersion::V3, ..base() },
        files(),
        "machine `virt` cannot have 124 CPUs with GICv3; use -smp 123 or less",
    );
    let rng = Virtio { kind: VirtioKind::Rng, pci: false };
    fails(
        Config { virtio: vec![rng; 33], ..base() },
        files(),
        "machine `virt` has 32 virtio slots and 33 devices want one; remove some -device or -drive",
    );
    let none = Files::default;
    fails(base(), none(), "nothing to boot; give a kernel with -kernel FILE");
    let initrd = file(Role::Initrd, *b"i");
    fails(base(), Files { initrd, ..none() }, "-initrd needs a kernel; add -kernel FILE");
    fails(base(), Files { cmdline: "x".into(), ..none() }, "-append needs a kernel; add -kernel FILE");
    let firmware = file(Role::Firmware, vec![0; (64 << 20) + 1]);
    fails(
        base(),
        Files { firmware, ..none() },
        "firmware `f` has 67108865 bytes, more than the flash chip's 67108864; use the image built for this machine",
    );
    let dtb = file(Role::Dtb, *b"/dts-v1/;");
    fails(
        base(),
        Files { dtb, ..files() },
        "device tree `f` cannot be used: it does not begin with the magic number d00dfeed; compile it with `dtc -O dtb`",
    );
}

#[test]
fn what_cannot_be_built() {
    let fails = |change: &dyn Fn(&mut Board, &mut Host), expect: &str| {
        let (mut board, boot) = machine(&config(GicVersion::V2), files()).unwrap();
        let mut host = host();
        change(&mut board, &mut host);
        assert_eq!(build(board, boot, &host, &IdleAccel::default()).err().unwrap().to_string(), expect);
    };
    fails(
        &|_, host| host.chardevs.clear(),
        "`uart0` needs the character device `serial0`, which does not exist; known: none",
    );
    fails(
        &|_, host| drop(host.drives.remove("hd1")),
        "`virtio0` needs the drive `hd1`, which does not exist; known: hd0",
    );
    fails(&|board, _| board.ram[0].1 = Gpa(UART + 0x10), "`ram` at 0x9000010 overlaps `uart0`; move one of them");
    fails(&|board, _| board.parts[4].path = "gic".into(), "the board has two parts called `gic`; rename one");
    fails(
        &|board, _| board.parts[3].irqs[0].number = 999,
        "`uart0` drives `gic.spi999`, which does not exist; `gic` has spi0 to spi255, ppi0_0 to ppi0_15",
    );
    fails(
        &|board, _| board.power_button = Some(Pin::new("button", "pin", 0)),
        "`power-button` drives `button.pin0`, which does not exist; there is no `button`",
    );
    fails(&|board, _| board.parts[3].at.clear(), "`uart0` places 0 windows of its 1; give each an address");
    fails(
        &|board, _| board.parts[2].irqs[0] = Pin::new("gpio", "pin", 0),
        "`gic` drives an input of a part that waits for it; break the circle",
    );
    fails(
        &|board, _| {
            let more = (1..33).map(|n| CpuDesc { path: format!("cpu{n}"), ..board.cpus[0].clone() });
            let more: Vec<CpuDesc> = more.collect();
            board.cpus.extend(more);
        },
        "machine `virt` cannot have 33 CPUs in all; use -smp 32 or less",
    );
}

#[test]
fn a_device_tree_from_the_user_gets_this_machines_memory_and_kernel() {
    let root = Node::new("")
        .cells("#address-cells", &[2])
        .cells("#size-cells", &[2])
        .child(Node::new("memory@80000000").string("device_type", "memory").reg("reg", &[(0x8000_0000, 1)]))
        .child(Node::new("chosen").string("bootargs", "old").string("stdout-path", "/x"));
    let dtb = file(Role::Dtb, Fdt { root, ..Fdt::default() }.write().unwrap());
    let (_, boot) = machine(&config(GicVersion::V2), Files { dtb, ..files() }).unwrap();
    assert_eq!(
        boot.fdt.unwrap().1.to_string(),
        "/dts-v1/;\n\n/ {\n\t#address-cells = <0x2>;\n\t#size-cells = <0x2>;\n\tchosen {\n\t\tbootargs = \"quiet\";\n\
         \t\tstdout-path = \"/x\";\n\t\tlinux,initrd-start = <0x0 0x48000000>;\n\
         \t\tlinux,initrd-end = <0x0 0x48000006>;\n\t};\n\tmemory@40000000 {\n\t\tdevice_type = \"memory\";\n\
         \t\treg = <0x0 0x40000000 0x0 0x20000000>;\n\t};\n};\n"
    );
}

#[test]
fn firmware_starts_at_the_reset_vector_with_the_device_tree_in_ram() {
    let firmware = file(Role::Firmware, *b"firmware");
    let (board, boot) = machine(&config(GicVersion::V2), Files { firmware, ..files() }).unwrap();
    let accel = IdleAccel::default();
    let mut machine = build(board, boot, &host(), &accel).unwrap();
    assert_eq!(accel.0.lock().unwrap()[0].boot, None);
    let mut bytes = [0; 8];
    machine.bus.read(Gpa(0), &mut bytes).unwrap();
    assert_eq!(&bytes, b"firmware");
    machine.bus.read(Gpa(RAM), &mut bytes).unwrap();
    assert!(Fdt::is_fdt(&bytes));
    machine.reset(ResetKind::Warm).unwrap();
}

#[test]
fn scsi_folders_and_a_balloon() {
    use crate::devices::ScsiKind;
    let unit = |target, kind| ScsiUnit { target, lun: 0, kind, serial: String::new() };
    let units =
        vec![unit(0, ScsiKind::Disk { drive: "hd0".into() }), unit(1, ScsiKind::Cdrom { drive: Some("hd1".into()) })];
    let kinds =
        [VirtioKind::Scsi { units }, VirtioKind::Ninep { folder: "f".into(), tag: "t".into() }, VirtioKind::Balloon];
    let virtio = kinds.map(|kind| Virtio { kind, pci: true }).to_vec();
    let config = Config { virtio, ..config(GicVersion::V2) };
    let (board, boot) = machine(&config, files()).unwrap();
    let m = build(board, boot, &host(), &IdleAccel::default()).unwrap();
    let ids = [0, 1, 2].map(|slot| m.bus.view().load(Gpa(VIRTIO + VIRTIO_LEN * slot + 8), 4));
    assert_eq!(ids, [Ok(8), Ok(9), Ok(5)]);
    assert_eq!(
        (m.media.keys().map(String::as_str).collect::<Vec<_>>(), m.balloon.is_some()),
        (vec!["scsi0-cd1.0"], true)
    );
}
