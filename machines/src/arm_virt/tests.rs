use super::*;
use crate::builder::{Host, build};
use crate::machine::Machine;
use crate::testing::{IdleAccel, host};
use hw::intc::gicv3::icc;
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
    let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let blk = |drive: &str| VirtioKind::Blk { drive: drive.into(), serial: String::new() };
    Config {
        cpu: "cortex-a57".into(),
        pa_bits: 44,
        ram: 512 << 20,
        gic,
        serial: Some("serial0".into()),
        virtio: vec![blk("hd0"), VirtioKind::Rng],
        pci: vec![
            PciDevice::VirtioBlk { drive: "hd1".into(), serial: String::new() },
            PciDevice::VirtioNet { netdev: None, mac },
            PciDevice::E1000 { netdev: None, mac },
        ],
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
        // 4.2.2: device IDs, from the top.
        assert_eq!([0, 1, 30, 31].map(|slot| load(VIRTIO + VIRTIO_LEN * slot + 8).unwrap()), [0, 0, 4, 2]);
        // Functions: the host bridge, then the others in order.
        let ids = [0, 1, 2, 3, 4].map(|device| load(HIGH_ECAM + (device << 15)).unwrap());
        assert_eq!(ids, [0x0008_1b36, 0x1001_1af4, 0x1000_1af4, 0x100e_8086, 0xffff_ffff]);
        assert_eq!(load(pcie::PORTS.0), Ok(0xffff_ffff));
        // Firmware puts the first function's ports at 0; the first is the disk's features.
        machine.bus.view().store(Gpa(HIGH_ECAM + (1 << 15) + 4), 2, 1).unwrap();
        assert_eq!(machine.bus.view().load(Gpa(pcie::PORTS.0 + 0x14), 4), Ok(1), "sectors");
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
    fails(
        Config { virtio: vec![VirtioKind::Rng; 33], ..base() },
        files(),
        "machine `virt` has 32 virtio slots and 33 devices want one; remove some -device or -drive",
    );
    fails(
        Config { pci: vec![PciDevice::VirtioRng; 32], ..base() },
        files(),
        "machine `virt` has 31 free PCI slots and 32 devices want one; remove some -device or -drive",
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
        "`virtio-blk-1` needs the drive `hd1`, which does not exist; known: hd0",
    );
    fails(&|board, _| board.ram[0].1 = Gpa(UART + 0x10), "`ram` at 0x9000010 overlaps `uart0`; move one of them");
    fails(&|board, _| board.parts[5].path = "gic".into(), "the board has two parts called `gic`; rename one");
    fails(
        &|board, _| board.parts[4].irqs[0].number = 999,
        "`uart0` drives `gic.spi999`, which does not exist; `gic` has spi0 to spi255, ppi0_0 to ppi0_15",
    );
    fails(
        &|board, _| board.power_button = Some(Pin::new("button", "pin", 0)),
        "`power-button` drives `button.pin0`, which does not exist; there is no `button`",
    );
    fails(&|board, _| board.parts[4].at.clear(), "`uart0` places 0 windows of its 1; give each an address");
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
    let config = Config { virtio: kinds.to_vec(), ..config(GicVersion::V2) };
    let (board, boot) = machine(&config, files()).unwrap();
    let m = build(board, boot, &host(), &IdleAccel::default()).unwrap();
    let ids = [31, 30, 29].map(|slot| m.bus.view().load(Gpa(VIRTIO + VIRTIO_LEN * slot + 8), 4));
    assert_eq!(ids, [Ok(8), Ok(9), Ok(5)]);
    assert_eq!(
        (m.media.keys().map(String::as_str).collect::<Vec<_>>(), m.balloon.is_some()),
        (vec!["scsi1f-cd1.0"], true)
    );
}

const HIGH_ECAM: u64 = 0x40_1000_0000;

#[test]
fn windows_of_pci_are_above_ram_if_the_cpu_reaches_them() {
    let gib = 1_u64 << 30;
    let low = (0x3f00_0000, 0x0100_0000);
    let high = (HIGH_ECAM, 256 << 20);
    for (pa_bits, ram, on, ecam, mmio) in [
        (44, gib, true, high, Some(512 * gib)),
        (40, gib, true, high, Some(512 * gib)),
        (39, gib, true, high, None),
        (36, gib, true, low, None),
        (44, gib, false, low, None),
        (44, 300 * gib, true, (301 * gib + (256 << 20), 256 << 20), Some(512 * gib)),
        (44, 600 * gib, true, (601 * gib + (256 << 20), 256 << 20), Some(1024 * gib)),
    ] {
        let config = Config { pa_bits, ram, highmem_ecam: on, highmem_mmio: on, ..config(GicVersion::V3) };
        let windows = pcie::Windows::new(&config);
        assert_eq!((windows.ecam, windows.high_mmio.map(|window| window.0)), (ecam, mmio), "{pa_bits} {ram}");
    }
}

/// A function's interrupt, by its pin and by messages, reaches the vCPU.
#[test]
fn interrupts_of_functions_lead_to_the_vcpu() {
    for gic in [GicVersion::V2, GicVersion::V3] {
        let (machine, wiring) = built(gic);
        let view = machine.bus.view();
        let function = HIGH_ECAM + (3 << 15); // the 82540EM
        view.store(Gpa(function + 0x10), 4, pcie::MMIO.0).unwrap();
        view.store(Gpa(function + 4), 2, 6).unwrap();
        let view = machine.bus.view();
        // INTC of a machine whose first device is on INTB: SPI 6.
        let spi = u64::from(32 + SPI_PCIE + 3);
        let store = |gpa: u64, value: u32| view.store(Gpa(gpa), 4, value.into()).unwrap();
        store(GIC_DIST, 3);
        match gic {
            GicVersion::V2 => {
                store(GICV2_CPU, 1);
                store(GICV2_CPU + 4, 0xf0);
            }
            GicVersion::V3 => store(GIC_DIST + 0x84, !0),
        }
        store(GIC_DIST + 0x104, 1 << (spi - 32));
        let pending = || view.load(Gpa(GIC_DIST + 0x204), 4).unwrap() >> (spi - 32) & 1;
        assert_eq!(pending(), 0);
        // Interrupt mask set, interrupt cause set.
        store(pcie::MMIO.0 + 0xd0, 1);
        store(pcie::MMIO.0 + 0xc8, 1);
        assert_eq!(pending(), 1, "{gic:?}");
        assert_eq!(wiring.pins.levels() & 1, u32::from(gic == GicVersion::V2));
    }
}

/// `iasl` takes the tables apart and finds nothing wrong; skipped where it is not installed.
#[test]
fn iasl_reads_the_tables() {
    let dir = std::env::temp_dir().join(format!("mimic-arm-acpi-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for gic in [GicVersion::V2, GicVersion::V3] {
        let acpi = crate::acpi::Acpi::arm(&firmware::described(&Config { cpus: 2, ..config(gic) }));
        // With the pointer that systems look for before them.
        let placed = acpi.placed(RAM);
        let tables = &placed[64..];
        let mut names = Vec::new();
        let mut at = 0;
        while let Some(len) = tables.get(at + 4..at + 8).map(|len| u32::from_le_bytes(len.try_into().unwrap())) {
            if len == 0 {
                break;
            }
            let table = &tables[at..at + len as usize];
            let name = String::from_utf8(table[..4].to_vec()).unwrap();
            std::fs::write(dir.join(format!("{name}.aml")), table).unwrap();
            names.push(name);
            at = (at + len as usize).next_multiple_of(16);
        }
        let mut expect = vec!["DSDT", "FACP", "APIC", "GTDT", "MCFG", "SPCR", "DBG2"];
        expect.extend((gic == GicVersion::V3).then_some("IORT"));
        expect.extend(["RSDT", "XSDT"]);
        assert_eq!(names, expect);
        for name in names {
            let Ok(output) = Command::new("iasl").args(["-d", &format!("{name}.aml")]).current_dir(&dir).output()
            else {
                eprintln!("iasl is not installed: skipped");
                return;
            };
            let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            let source = std::fs::read_to_string(dir.join(format!("{name}.dsl"))).unwrap();
            let bad = ["Error", "External", "Invalid", "**** "].iter().find(|bad| text.contains(**bad));
            assert!(output.status.success() && bad.is_none(), "{name} {bad:?}: {text}{source}");
            let bad = ["Invalid", "Unknown", "**** "].iter().find(|bad| source.contains(**bad));
            assert!(bad.is_none(), "{name} {bad:?}: {source}");
            if name == "DSDT" {
                for part in
                    ["Device (PCI0)", "Device (VR31)", "GpioInt (Edge, ActiveHigh", "_PRT", "Notify (PWRB, 0x80)"]
                {
                    assert!(source.contains(part), "{part}: {source}");
                }
                let output = Command::new("iasl").args(["-p", "again", "DSDT.dsl"]).current_dir(&dir).output().unwrap();
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success() && text.contains(" 0 Errors"), "{text}{source}");
            }
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn firmware_is_told_of_the_machine() {
    let files = Files { cmdline: "quiet".into(), ..files() };
    let named =
        |config: &Config| -> Vec<&str> { Told::new(config, &files).files.iter().map(|(name, _)| *name).collect() };
    let smbios = ["etc/smbios/smbios-tables", "etc/smbios/smbios-anchor"];
    let acpi = ["etc/acpi/tables", "etc/acpi/rsdp", "etc/table-loader"];
    assert_eq!(named(&config(GicVersion::V3)), [&acpi[..], &smbios[..]].concat());
    assert_eq!(named(&Config { acpi: false, ..config(GicVersion::V3) }), smbios);
    assert_eq!(Told::new(&config(GicVersion::V2), &files).kernel, image());
}

/// Random accesses to every device window and function, in every state that they lead to: no panic, no deadlock.
#[test]
fn no_accesses_break_the_board() {
    for (gic, mut state) in [(GicVersion::V2, 1_u64), (GicVersion::V3, 2)] {
        let (mut m, _) = built(gic);
        let mut random = || {
            // Knuth's MMIX generator; its high bits are good.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 24
        };
        // Where devices are, and where the random bits are let in.
        let places = [
            (GIC_DIST, 0x1_ffff),
            (pcie::V2M, 0xfff),
            (pcie::ITS, 0x1fff),
            (GICV3_REDIST, 0xfff),
            (UART, 0x3_ffff),
            (VIRTIO + 30 * VIRTIO_LEN, 0x3ff),
            (HIGH_ECAM, 0x2_7fff),
            (pcie::MMIO.0, 0x7_ffff),
            (pcie::PORTS.0 + 0x1000, 0xfff),
            (RAM, 0xffff),
        ];
        for n in 0..60_000 {
            if n % 5_000 == 0 {
                m.reset(ResetKind::Warm).unwrap();
                // Windows of functions, where the accesses go; tables of the ITS and its queue, in RAM.
                for (at, value) in [
                    (HIGH_ECAM + (1 << 15) + 0x10, 0x1001),
                    (HIGH_ECAM + (1 << 15) + 0x14, pcie::MMIO.0),
                    (HIGH_ECAM + (1 << 15) + 0x20, pcie::MMIO.0 + 0x1_0000),
                    (HIGH_ECAM + (1 << 15) + 4, 7),
                    (HIGH_ECAM + (3 << 15) + 0x10, pcie::MMIO.0 + 0x2_0000),
                    (HIGH_ECAM + (3 << 15) + 4, 7),
                    (pcie::ITS + 0x80, RAM),
                    (pcie::ITS + 0x84, 1 << 31),
                    (pcie::ITS + 0x100, RAM + 0x4000),
                    (pcie::ITS + 0x104, 1 << 31),
                    (pcie::ITS + 0x108, RAM + 0x8000),
                    (pcie::ITS + 0x10c, 1 << 31),
                    (pcie::ITS, 1),
                    (GICV3_REDIST + 0x70, RAM + 0xf),
                    (GICV3_REDIST + 0x78, RAM),
                    (GICV3_REDIST, 1),
                ] {
                    let _ = m.bus.view().store(Gpa(at), 4, value & 0xffff_ffff);
                }
            }
            let width = 1 << (random() % 4) as u8;
            let value = if random() % 4 == 0 { random() & 0xf } else { random() };
            let (base, mask) = places[random() as usize % places.len()];
            let at = Gpa(base + (random() & mask & !(u64::from(width) - 1)));
            // What nobody answers, or not in this width, is an error and nothing more.
            if random() % 2 == 0 {
                let _ = m.bus.view().store(at, width, value & (u64::MAX >> (64 - 8 * u32::from(width))));
            } else {
                let _ = m.bus.view().load(at, width);
            }
            if n % 100 == 0 {
                m.timers.clock().advance_to(vm::VmTime(n * 1_000_000));
                m.timers.expire();
            }
            let _ = m.power.take();
        }
        let saved = m.save();
        m.load(&saved).unwrap();
    }
}
