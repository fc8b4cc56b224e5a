use super::ChipSet::{I440fx, Isa, Q35};
use super::*;
use crate::builder::build;
use crate::error::Role;
use crate::machine::Machine;
use crate::testing::{Disk, IdleAccel, host};
use std::process::Command;
use vm::power::PowerRequest;
use vm::vcpu::Wiring;
use vm::{BusError, ResetKind, input::KeyCode};

/// Compares `text` with the file `name` beside this one; `cargo xtask bless` rewrites it.
#[track_caller]
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pc").join(name);
    if std::env::var_os("MIMIC_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expect, "{name} differs; run `cargo xtask bless` and review the change");
}

fn config(chip_set: ChipSet) -> Config {
    let mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
    let disk = IdeDrive::Disk { drive: "hd0".into(), serial: "QM00001".into() };
    let mut config = Config {
        chip_set,
        cpu: "max".into(),
        physical_bits: 40,
        long_mode: true,
        cpus: 1,
        ram: 64 << 20,
        serials: vec![Some("serial0".into()), None],
        parallel: Some(None),
        vga: true,
        ide: [Some(disk), None, Some(IdeDrive::Cdrom { drive: None, serial: "QM00003".into() }), None, None, None],
        floppies: [Some(None), Some(Some("hd1".into()))],
        ports: vec![PortDevice { port: 0x402, kind: PortKind::Debugcon { chardev: "serial0".into() } }],
        synchronous: true,
        ..Config::default()
    };
    if chip_set.has_pci() {
        config.devices = vec![
            PciDevice::VirtioBlk { drive: "hd1".into(), serial: String::new() },
            PciDevice::VirtioRng,
            PciDevice::E1000 { netdev: None, mac },
        ];
    }
    config
}

fn file(role: Role, bytes: Vec<u8>) -> Option<File> {
    Some(File { role, name: "f".into(), bytes })
}

/// Firmware whose bytes are the number of their 64-KiB block, from 1 on.
fn files() -> Files {
    let firmware = (0..0x4_0000).map(|at| (at >> 16) as u8 + 1).collect();
    Files { firmware: file(Role::Firmware, firmware), ..Files::default() }
}

fn built(chip_set: ChipSet) -> (Machine, Wiring) {
    let accel = IdleAccel::default();
    let (board, boot) = machine(&config(chip_set), files()).unwrap();
    let machine = build(board, boot, &host(), &accel).unwrap();
    (machine, accel.0.into_inner().unwrap().remove(0))
}

fn load(machine: &Machine, at: u64) -> Result<u64, BusError> {
    machine.bus.view().load(Gpa(at), 1)
}

fn outb(machine: &Machine, port: u64, value: u64) {
    machine.ports.view().store(Gpa(port), 1, value).unwrap();
}

fn inb(machine: &Machine, port: u64) -> u64 {
    machine.ports.view().load(Gpa(port), 1).unwrap()
}

/// Reads or writes a configuration register by the ports.
fn select(machine: &Machine, device: u64, function: u64, register: u64) {
    let address = 1 << 31 | device << 11 | function << 8 | register & 0xfc;
    machine.ports.view().store(Gpa(0xcf8), 4, address).unwrap();
}

fn config_read(machine: &Machine, device: u64, function: u64, register: u64, width: u8) -> u64 {
    select(machine, device, function, register);
    machine.ports.view().load(Gpa(0xcfc + (register & 3)), width).unwrap()
}

fn config_write(machine: &Machine, device: u64, function: u64, register: u64, width: u8, value: u64) {
    select(machine, device, function, register);
    machine.ports.view().store(Gpa(0xcfc + (register & 3)), width, value).unwrap();
}

#[test]
fn boards_print() {
    for (chip_set, name) in [(I440fx, "pc.board"), (Q35, "q35.board"), (Isa, "isapc.board")] {
        golden(name, &machine(&config(chip_set), files()).unwrap().0.to_string());
    }
}

#[test]
fn what_cannot_be() {
    let check = |change: fn(&mut Config, &mut Files), expect: &str| {
        let (mut config, mut files) = (config(I440fx), files());
        change(&mut config, &mut files);
        assert_eq!(machine(&config, files).err().unwrap().to_string(), expect);
    };
    check(|c, _| c.ram = 4097, "machine `pc` cannot have 4097 bytes of RAM; use a multiple of 1 MiB with -m");
    check(|c, _| c.cpus = 33, "machine `pc` cannot have 33 CPUs in all; use -smp 32 or less");
    check(
        |c, _| c.ram = 1 << 41,
        "machine `pc` cannot have 2097152 MiB of RAM: CPU model `max` has 40-bit physical addresses; use -m 1047552 or \
         less",
    );
    check(
        |c, _| c.devices = vec![PciDevice::VirtioRng; 30],
        "machine `pc` has 29 free PCI slots and 30 devices want one; remove some -device or -drive",
    );
    check(|_, f| f.firmware = None, "no firmware; install SeaBIOS, or name its image with -bios FILE");
    check(
        |_, f| f.firmware = file(Role::Firmware, vec![0; 100]),
        "firmware `f` has 100 bytes, and ROMs a multiple of 64 KiB up to 16 MiB; use an image such as SeaBIOS",
    );
    check(
        |_, f| f.kernel = file(Role::Kernel, vec![0; 4096]),
        "kernel `f` is filled with zeros where code should be; this machine boots bzImage, ELF with an entry for PVH, and multiboot kernels",
    );
}

#[test]
fn functions_are_where_firmware_looks() {
    let found = |chip_set| -> Vec<_> {
        let (m, _) = built(chip_set);
        let id = |devfn: u64| (devfn, config_read(&m, devfn >> 3, devfn & 7, 0, 4));
        (0..256).map(id).filter(|(_, id)| *id != 0xffff_ffff).collect()
    };
    let expect = [
        (0x00, 0x29c0_8086),
        (0x08, 0x1111_1234),
        (0x10, 0x1001_1af4),
        (0x18, 0x1005_1af4),
        (0x20, 0x100e_8086),
        (0xf8, 0x2918_8086),
        (0xfa, 0x2922_8086),
        (0xfb, 0x2930_8086),
    ];
    assert_eq!(found(Q35), expect);
    let expect = [
        (0x00, 0x1237_8086),
        (0x08, 0x7000_8086),
        (0x09, 0x7010_8086),
        (0x0b, 0x7113_8086),
        (0x10, 0x1111_1234),
        (0x18, 0x1001_1af4),
        (0x20, 0x1005_1af4),
        (0x28, 0x100e_8086),
    ];
    assert_eq!(found(I440fx), expect);
}

/// A Q35 has less RAM below its configuration registers, and the rest above 4 GiB.
#[test]
fn ram_of_a_q35() {
    let ram = |mib: u64| {
        let c = Config { ram: mib << 20, ..config(Q35) };
        (c.low_ram() >> 20, c.high_ram() >> 20, c.described().pci_memory)
    };
    assert_eq!(ram(512), (512, 0, 0x8000_0000));
    assert_eq!(ram(2500), (2500, 0, 2500 << 20));
    assert_eq!(ram(2816), (2816, 0, 0xb000_0000));
    assert_eq!(ram(2817), (2048, 769, 0x8000_0000));
    let c = Config { physical_bits: 32, ram: 3 << 30, ..config(Q35) };
    assert!(machine(&c, files()).is_err());
}

/// Firmware in flash, and variables below it; the tables say where firmware has put what they describe.
#[test]
fn flash_and_what_firmware_decides() {
    for chip_set in [I440fx, Q35] {
        let flash = [Some("hd0".into()), Some("hd1".into())];
        let config = Config { flash, ide: Default::default(), floppies: [None, None], ..config(chip_set) };
        let (board, boot) = machine(&Config { devices: Vec::new(), ..config.clone() }, Files::default()).unwrap();
        let (first, second) = (0x7000, 0x2000);
        let mut host = host();
        let what = build(board, boot, &host, &IdleAccel::default()).err().unwrap().to_string();
        assert!(what.contains("its image has 512 bytes"), "{what}");
        host.drives = [("hd0".into(), Arc::new(Disk(first)) as _), ("hd1".into(), Arc::new(Disk(second)) as _)].into();
        let (board, boot) = machine(&Config { devices: Vec::new(), ..config.clone() }, Files::default()).unwrap();
        let m = build(board, boot, &host, &IdleAccel::default()).unwrap();
        let end = 1_u64 << 32;
        // The status of the chip that is spoken to.
        for at in [end - 1, end - first, end - first - 1, end - first - second] {
            m.bus.view().store(Gpa(at), 1, 0x70).unwrap();
            assert_eq!(load(&m, at), Ok(0x80), "{at:#x}");
            m.bus.view().store(Gpa(at), 1, 0xff).unwrap();
        }
        assert_eq!(load(&m, end - first - second - 1), Err(BusError::NoDevice));
        // ACPI tables: PM1a_EVT_BLK of the FADT, and a 64-bit window of a device.
        let (lpc, register) = if chip_set == Q35 { ((31, 0), 0x40) } else { ((1, 3), 0x40) };
        config_write(&m, lpc.0, lpc.1, register, 4, 0xb001);
        if chip_set == Q35 {
            config_write(&m, 0, 0, 0x60, 4, 0xc000_0005);
        }
        let port = |port, width, value| m.ports.view().store(Gpa(port), width, value).unwrap();
        port(0x510, 2, 0x19);
        let bytes = |n| (0..n).map(|_| inb(&m, 0x511) as u8).collect::<Vec<u8>>();
        let count = bytes(4)[3];
        let files: Vec<_> = (0..count).map(|_| bytes(64)).collect();
        let file = |name: &str| {
            let file = files.iter().find(|file| file[8..].starts_with(name.as_bytes())).unwrap();
            port(0x510, 2, u16::from_be_bytes([file[4], file[5]]).into());
            bytes(u32::from_be_bytes([file[0], file[1], file[2], file[3]]) as usize)
        };
        let tables = file("etc/acpi/tables");
        assert_eq!(file("etc/table-loader"), config.acpi().files()[2].1, "as many tables as before");
        let find = |name: &[u8]| tables.windows(4).position(|at| at == name);
        let fadt = find(b"FACP").unwrap();
        assert_eq!(tables[fadt + 56..fadt + 60], 0xb000_u32.to_le_bytes());
        let mcfg = find(b"MCFG").map(|at| (tables[at + 47], tables[at + 55]));
        assert_eq!(mcfg, (chip_set == Q35).then_some((0xc0, 63)));
    }
}

/// ROM at the top, its end below 1 MiB, nothing or the VGA in between; then RAM, as the host bridge is told.
#[test]
fn rom_and_shadow_ram() {
    let (mut m, _) = built(I440fx);
    let at = [0xfffc_0000, 0xffff_ffff, 0xe_0000, 0xf_ffff, 0xc_0000, 0xd_ffff];
    let seen = |m: &Machine| at.map(|at| load(m, at).unwrap());
    let reset = [1, 4, 3, 4, 0xff, 0xff];
    assert_eq!(seen(&m), reset);
    // RAM for reads and writes everywhere from 0xc0000 on.
    config_write(&m, 0, 0, 0x58, 4, 0x3333_3010);
    config_write(&m, 0, 0, 0x5c, 4, 0x3333_3333);
    assert_eq!(seen(&m), [1, 4, 0, 0, 0, 0]);
    m.bus.write(Gpa(0xf_ffff), &[0x55]).unwrap();
    assert_eq!(load(&m, 0xf_ffff), Ok(0x55));
    m.reset(ResetKind::Warm).unwrap();
    assert_eq!(seen(&m), reset);
}

#[test]
fn a_machine_without_pci_has_its_firmware_in_ram() {
    let (mut m, _) = built(Isa);
    assert_eq!([0xffff_0000, 0xe_0000, 0xf_0000, 0xc_0000].map(|at| load(&m, at)), [4, 3, 4, 0].map(Ok));
    m.bus.write(Gpa(0xf_0000), &[0x55]).unwrap();
    assert_eq!(load(&m, 0xf_0000), Ok(0x55));
    m.reset(ResetKind::Warm).unwrap();
    assert_eq!(load(&m, 0xf_0000), Ok(4));
    assert_eq!(m.ports.view().load(Gpa(0xcf8), 4), Err(BusError::NoDevice));
}

/// Address line 20 is let through if the keyboard controller or port 0x92 says so.
#[test]
fn a20() {
    let (m, cpu) = built(I440fx);
    let forced_low = || cpu.pins.levels() >> ::x86::wiring::PIN_A20M & 1 != 0;
    assert!(!forced_low());
    outb(&m, 0x64, 0xdd);
    assert!(forced_low());
    outb(&m, 0x92, 2);
    assert!(!forced_low());
    outb(&m, 0x64, 0xdf);
    outb(&m, 0x92, 0);
    assert!(!forced_low());
}

#[test]
fn resets() {
    for writes in [&[(0x64, 0xfe)][..], &[(0x92, 1)], &[(0xcf9, 2), (0xcf9, 6)], &[(0xcf9, 4)]] {
        let (m, _) = built(I440fx);
        for (port, value) in writes {
            assert_eq!(m.power.take(), None);
            outb(&m, *port, *value);
        }
        assert_eq!(m.power.take(), Some(PowerRequest::Reset), "{writes:x?}");
    }
}

/// What a kernel without firmware finds: ACPI tables in ROM, power management where they say, S5, the power button.
#[test]
fn without_firmware() {
    let mut kernel = vec![0; 0x1000];
    kernel[0x1f1] = 1;
    kernel[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    kernel[0x200..0x206].copy_from_slice(b"\xeb\x66HdrS");
    kernel[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
    for (chip_set, enable) in [(I440fx, 0xf1), (I440fx, 0xf1), (Q35, 2), (Q35, 2)] {
        let accel = IdleAccel::default();
        let files = Files { kernel: file(Role::Kernel, kernel.clone()), ..Files::default() };
        let (board, boot) = machine(&config(chip_set), files).unwrap();
        let mut m = build(board, boot, &host(), &accel).unwrap();
        if chip_set == Q35 {
            assert_eq!(m.bus.view().load(Gpa(0xb00f_8000), 4), Ok(0x2918_8086), "ISA bridge in memory");
        }
        let mut signature = [0; 8];
        m.bus.read(Gpa(0xe_0000), &mut signature).unwrap();
        assert_eq!(&signature, b"RSD PTR ");
        // PM1_EN: the power button; PM1_CNT: SCI_EN.
        m.ports.view().store(Gpa(0x602), 2, 1 << 8).unwrap();
        outb(&m, 0xb2, enable);
        assert_eq!(inb(&m, 0x604) & 1, 1);
        assert!(m.press_power_button());
        m.settle();
        assert_eq!(inb(&m, 0x601), 1, "PWRBTN_STS");
        m.ports.view().store(Gpa(0x604), 2, 1 << 13).unwrap();
        assert_eq!(m.power.take(), Some(PowerRequest::Shutdown));
        m.reset(ResetKind::Warm).unwrap();
        assert_eq!(inb(&m, 0x601), 0);
    }
}

#[test]
fn keyboard_and_screen_are_found() {
    let (m, _) = built(I440fx);
    m.input.as_ref().unwrap().key(KeyCode(0x04), true);
    assert_eq!((inb(&m, 0x64) & 1, inb(&m, 0x60)), (1, 0x1e));
    let frame = m.display.as_ref().unwrap().frame();
    assert_eq!(frame.rgb.len() as u32, frame.width * frame.height * 3);
}

/// `iasl` takes the byte code apart and finds nothing unknown; skipped where it is not installed.
#[test]
fn iasl_reads_the_tables() {
    let dir = std::env::temp_dir().join(format!("mimic-acpi-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for chip_set in [I440fx, Q35] {
        iasl_reads(&dir, &config(chip_set));
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn iasl_reads(dir: &std::path::Path, config: &Config) {
    let code = crate::acpi::dsdt::dsdt(&acpi::Pc { pci_memory_64: Some(8 << 30..9 << 30), ..config.described() });
    assert!(config.acpi().files()[0].1.windows(4).any(|name| name == b"DSDT"));
    std::fs::write(dir.join("dsdt.aml"), code.as_slice()).unwrap();
    let Ok(output) = Command::new("iasl").args(["-d", "dsdt.aml"]).current_dir(dir).output() else {
        eprintln!("iasl is not installed: skipped");
        return;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !text.contains("Error") && !text.contains("External"), "{text}");
    let source = std::fs::read_to_string(dir.join("dsdt.dsl")).unwrap();
    for part in ["Device (PCI0)", "Device (LNKD)", "Name (\\_S5", "Device (COM2)", "Device (FDC0)", "_PRT"] {
        assert!(source.contains(part), "{part}: {source}");
    }
    let output = Command::new("iasl").args(["-p", "again", "dsdt.dsl"]).current_dir(dir).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains(" 0 Errors"), "{text}{source}");
}

/// Random accesses to every port and device window, in every state that they lead to: no panic, no deadlock.
#[test]
fn no_accesses_break_the_board() {
    for (chip_set, seed) in [(I440fx, 1_u64), (I440fx, 2), (Isa, 3), (Q35, 4), (Q35, 5)] {
        let (mut m, _) = built(chip_set);
        let pci = chip_set == I440fx;
        let mut state = seed;
        let mut random = || {
            // Knuth's MMIX generator; its high bits are good.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 24
        };
        // Where devices are, and where the random bits are let in.
        let ports = [(0, 0xff), (0x100, 0x3ff), (0x500, 0x1f), (0x600, 0x3f), (0xcf8, 7), (0xc000, 0xff)];
        let memory = [
            (0xa_0000, 0x1_ffff),
            (0xc_0000, 0x3_ffff),
            (0xfd00_0000, 0xff_ffff),
            (0xfeb0_0000, 0xf_ffff),
            (0xfec0_0000, 0xff),
            (0xfed0_0000, 0x3ff),
            (0xfee0_0000, 0xfff),
            (0xffff_0000, 0xffff),
            (0xb000_0000, 0xf_ffff),
            (0xfebf_0000, 0x3ff),
            (0xfed1_c000, 0x3fff),
        ];
        for n in 0..60_000 {
            if n % 5_000 == 0 {
                m.reset(ResetKind::Warm).unwrap();
                // Windows of functions, where the accesses go.
                for (function, register, base) in
                    [(0x09, 0x20, 0xc001), (0x0b, 0x40, 0x601), (0x10, 0x10, 0xfd00_0000), (0x10, 0x18, 0xfeb0_0000)]
                        .into_iter()
                        .filter(|_| pci)
                        .chain([(0x18, 0x10, 0xc041), (0x18, 0x14, 0xfeb1_0000), (0x28, 0x10, 0xfeb2_0000)])
                        .filter(|_| pci)
                {
                    config_write(&m, function >> 3, function & 7, register, 4, base);
                    config_write(&m, function >> 3, function & 7, 4, 2, 7);
                }
                for (function, register, base) in [
                    (0, 0x60, 0xb000_0001),
                    (0xf8, 0x40, 0x601),
                    (0xf8, 0x44, 0x80),
                    (0xf8, 0xf0, 0xfed1_c001),
                    (0xfa, 0x24, 0xfebf_0000),
                    (0xfa, 0x20, 0xc061),
                    (0xfb, 0x20, 0xc081),
                    (0x08, 0x10, 0xfd00_0000),
                    (0x10, 0x14, 0xfeb1_0000),
                ]
                .into_iter()
                .filter(|_| chip_set == Q35)
                {
                    config_write(&m, function >> 3, function & 7, register, 4, base);
                    config_write(&m, function >> 3, function & 7, 4, 2, 7);
                }
            }
            let width = 1 << (random() % 3) as u8;
            let value = if random() % 4 == 0 { random() & 0xf } else { random() };
            let (space, places) = if random() % 2 == 0 { (&m.ports, &ports[..]) } else { (&m.bus, &memory[..]) };
            let (base, mask) = places[random() as usize % places.len()];
            let at = Gpa(base + (random() & mask));
            // What nobody answers, or not in this width, is an error and nothing more.
            if random() % 2 == 0 {
                let _ = space.view().store(at, width, value & (u64::MAX >> (64 - 8 * u32::from(width))));
            } else {
                let _ = space.view().load(at, width);
            }
            if n % 100 == 0 {
                m.timers.clock().advance_to(vm::VmTime(n * 1_000_000));
                m.timers.expire();
            }
            let _ = m.power.take();
        }
        m.display.as_ref().unwrap().frame();
        let saved = m.save();
        m.load(&saved).unwrap();
    }
}

/// A SCSI host with a disk and an empty CD-ROM drive.
pub fn scsi_units() -> Vec<ScsiUnit> {
    use crate::devices::ScsiKind;
    let unit = |target, kind| ScsiUnit { target, lun: 0, kind, serial: String::new() };
    vec![unit(0, ScsiKind::Disk { drive: "hd0".into() }), unit(2, ScsiKind::Cdrom { drive: None })]
}

#[test]
fn storage_folders_and_a_balloon() {
    let mut config = Config { ide: [const { None }; 6], ..config(ChipSet::I440fx) };
    config.devices = vec![
        PciDevice::Nvme { drive: "hd1".into(), serial: "S1".into() },
        PciDevice::VirtioScsi { units: scsi_units() },
        PciDevice::Virtio9p { folder: "f".into(), tag: "t".into() },
        PciDevice::VirtioBalloon,
    ];
    let (board, boot) = machine(&config, files()).unwrap();
    let m = build(board, boot, &host(), &IdleAccel::default()).unwrap();
    let ids = [3, 4, 5, 6].map(|device| config_read(&m, device, 0, 0, 4));
    assert_eq!(ids, [0x0010_1b36, 0x1004_1af4, 0x1009_1af4, 0x1002_1af4]);
    let drives: Vec<&str> = m.media.keys().map(String::as_str).collect();
    assert_eq!(drives, ["floppy0", "floppy1", "scsi4-cd2.0"]);
    m.media["scsi4-cd2.0"](Some(std::sync::Arc::new(crate::testing::Disk(1 << 20))));
    assert_eq!(m.balloon.as_ref().map(|balloon| (balloon(Some(7)), balloon(None))), Some((0, 0)));
    let saved = m.save();
    let mut m = m;
    m.load(&saved).unwrap();
    // What does not exist.
    config.devices = vec![PciDevice::Virtio9p { folder: "g".into(), tag: "t".into() }];
    let (board, boot) = machine(&config, files()).unwrap();
    let error = build(board, boot, &host(), &IdleAccel::default()).err().unwrap();
    assert_eq!(error.to_string(), "`virtio-9p-3` needs the folder `g`, which does not exist; known: f");
}
