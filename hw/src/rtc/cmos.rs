//! What a PC's firmware finds in the battery-backed bytes of its clock chip. The meaning of each byte is that of the IBM
//! Personal System/2 and Personal Computer BIOS Interface Technical Reference, "CMOS RAM", and Ralf Brown's CMOS list
//! (names in quotes are the list's); those above 0x30 are as SeaBIOS reads them (its documentation, "Memory model" and
//! "Runtime config").

/// Contents of all bytes; those of time and date and the status registers (0x00 to 0x0d, 0x32) are not used.
pub type Cmos = [u8; 128];

/// A floppy drive, as the halves of byte 0x10 name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FloppyDrive {
    /// No drive.
    #[default]
    None = 0,
    /// 5.25 inch, 1.2 MB.
    M1_2 = 2,
    /// 3.5 inch, 720 KB.
    K720 = 3,
    /// 3.5 inch, 1.44 MB.
    M1_44 = 4,
    /// 3.5 inch, 2.88 MB.
    M2_88 = 5,
}

/// Where the firmware looks for a system, as SeaBIOS numbers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum BootDevice {
    /// Nothing more.
    #[default]
    None = 0,
    /// The first floppy.
    Floppy = 1,
    /// The first hard disk.
    Disk = 2,
    /// The first CD-ROM.
    Cdrom = 3,
    /// The network.
    Network = 4,
}

/// What the bytes depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PcSetup {
    /// RAM below 4 GiB in bytes.
    pub below_4g: u64,
    /// RAM above 4 GiB in bytes.
    pub above_4g: u64,
    /// The floppy drives.
    pub floppies: [FloppyDrive; 2],
    /// The order of boot devices.
    pub boot: [BootDevice; 3],
    /// Bytes of the IDE disks, by channel and drive; firmware translates the geometry of those that are too large for its
    /// oldest interface.
    pub disks: [Option<u64>; 4],
    /// Try to boot a floppy even if its sector lacks the signature 0xaa55.
    pub boot_unsigned_floppy: bool,
    /// Number of processors, at least 1.
    pub cpus: u32,
}

/// The bytes for a machine.
pub fn pc_cmos(setup: &PcSetup) -> Cmos {
    let mut cmos = [0; 128];
    let mut put = |at: usize, bytes: &[u8]| cmos[at..at + bytes.len()].copy_from_slice(bytes);
    let clamp16 = |value: u64| (value.min(0xffff) as u16).to_le_bytes();
    let [first, second] = setup.floppies.map(|drive| drive as u8);
    // "Floppy drive type": first drive in the high half.
    put(0x10, &[first << 4 | second]);
    // "Equipment": floppies less one in 7:6, mouse port, coprocessor, floppies present. Display 00: has its own BIOS.
    let drives = u8::from(first != 0) + u8::from(second != 0);
    put(0x14, &[drives.saturating_sub(1) << 6 | 1 << 2 | 1 << 1 | u8::from(drives != 0)]);
    // "Base memory in K".
    put(0x15, &clamp16((setup.below_4g >> 10).min(640)));
    // "Extended memory in K", from 1 MiB on: as the set-up program wrote it (0x17), as the power-on test found it (0x30).
    let extended = clamp16((setup.below_4g >> 10).saturating_sub(1024));
    put(0x17, &extended);
    put(0x30, &extended);
    // Memory from 16 MiB to 4 GiB, and above 4 GiB (24 bits), in units of 64 KiB.
    put(0x34, &clamp16(setup.below_4g.saturating_sub(16 << 20) >> 16));
    put(0x5b, &(((setup.above_4g >> 16).min(0xff_ffff)) as u32).to_le_bytes()[..3]);
    // Boot order: third device and the signature check, then second and first.
    let [one, two, three] = setup.boot.map(|device| device as u8);
    put(0x38, &[three << 4 | u8::from(setup.boot_unsigned_floppy)]);
    put(0x3d, &[two << 4 | one]);
    // Translation of disks' geometry, two bits each: none, or by LBA for more than 1024 cylinders of 16 heads, 63 sectors.
    let translations = setup.disks.iter().zip([0, 2, 4, 6]);
    let large = |len: &Option<u64>| u8::from(len.is_some_and(|len| len / 512 > 1024 * 16 * 63));
    put(0x39, &[translations.fold(0, |byte, (len, shift)| byte | large(len) << shift)]);
    // Processors beside the first.
    put(0x5f, &[setup.cpus.saturating_sub(1).min(0xff) as u8]);
    cmos
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(cmos: &Cmos, at: [usize; N]) -> [u8; N] {
        at.map(|at| cmos[at])
    }

    #[test]
    fn memory_sizes() {
        let cmos = |below_4g, above_4g| pc_cmos(&PcSetup { below_4g, above_4g, cpus: 1, ..PcSetup::default() });
        let memory = [0x15, 0x16, 0x17, 0x18, 0x30, 0x31, 0x34, 0x35, 0x5b, 0x5c, 0x5d];
        assert_eq!(bytes(&cmos(512 << 10, 0), memory), [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes(&cmos(8 << 20, 0), memory), [0x80, 2, 0, 0x1c, 0, 0x1c, 0, 0, 0, 0, 0]);
        assert_eq!(
            bytes(&cmos(3 << 30, 5 << 30), memory),
            [0x80, 2, 0xff, 0xff, 0xff, 0xff, 0x00, 0xbf, 0x00, 0x40, 0x01]
        );
        assert_eq!(bytes(&cmos(0, u64::MAX), [0x15, 0x5b, 0x5c, 0x5d]), [0, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn drives_boot_order_and_processors() {
        let at = [0x10, 0x14, 0x38, 0x3d, 0x5f];
        let disk = |sectors: u64| Some(sectors * 512);
        let disks = [disk(1024 * 16 * 63), disk(1024 * 16 * 63 + 1), None, disk(u64::MAX >> 9)];
        assert_eq!(pc_cmos(&PcSetup { disks, ..PcSetup::default() })[0x39], 1 << 2 | 1 << 6);
        let setup = PcSetup { cpus: 1, ..PcSetup::default() };
        assert_eq!(bytes(&pc_cmos(&setup), at), [0, 0x06, 0, 0, 0]);
        let setup = PcSetup {
            floppies: [FloppyDrive::M1_44, FloppyDrive::M2_88],
            boot: [BootDevice::Cdrom, BootDevice::Disk, BootDevice::Floppy],
            boot_unsigned_floppy: true,
            cpus: 4,
            ..setup
        };
        assert_eq!(bytes(&pc_cmos(&setup), at), [0x45, 0x47, 0x11, 0x23, 3]);
    }
}
