//! What drives say of themselves: IDENTIFY DEVICE and IDENTIFY PACKET DEVICE, by words.

use super::{Drive, Settings};

/// Sectors of a block of READ and WRITE MULTIPLE at most.
pub(super) const MULTIPLE_MAX: u8 = 16;

struct Words([u16; 256]);

impl Words {
    /// "ATA string convention": the first character in the high byte, padded with spaces.
    fn string(&mut self, at: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().filter(|byte| (0x20..0x7f).contains(byte)).chain(std::iter::repeat(b' '));
        for word in self.0.iter_mut().skip(at).take(words) {
            let mut next = || bytes.next().unwrap_or(b' ');
            *word = u16::from_be_bytes([next(), next()]);
        }
    }

    fn set(&mut self, words: &[(usize, u16)]) {
        for (at, value) in words {
            if let Some(word) = self.0.get_mut(*at) {
                *word = *value;
            }
        }
    }

    /// What disks and packet devices have alike.
    fn common(&mut self, drive: &Drive, settings: &Settings) {
        self.string(10, 10, &drive.serial);
        self.string(23, 4, "1.0");
        self.string(27, 20, &drive.model);
        let selected = |kind: u8| if settings.mode & 0xf8 == kind { 0x100 << (settings.mode & 7) } else { 0 };
        self.set(&[
            (49, 0x0f00), // LBA, DMA, IORDY
            (53, 0x0006), // words 64 to 70 and 88 are valid
            (63, 0x0007 | selected(0x20)),
            (64, 0x0003), // PIO modes 3 and 4
            (65, 120),
            (66, 120),
            (67, 120),
            (68, 120),    // cycle times in ns
            (80, 0x0070), // ATA/ATAPI-4 to 6
            (88, 0x003f | selected(0x40)),
            (93, 0x600b), // reset result: an 80-conductor cable
        ]);
        if drive.sata {
            // ATA/ATAPI-4 to 8; 1.5 Gb/s and 3 Gb/s; no cable.
            self.set(&[(76, 0x0006), (80, 0x01f0), (93, 0)]);
        }
    }

    fn bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

pub(super) fn disk(drive: &Drive, settings: &Settings) -> Vec<u8> {
    let mut words = Words([0; 256]);
    words.common(drive, settings);
    let total = drive.sectors();
    let halves = |value: u64| (value as u16, (value >> 16) as u16);
    let (lba_low, lba_high) = halves(total.min(0x0fff_ffff));
    let cylinders = (total / (16 * 63)).min(16383) as u16;
    let (heads, sectors) = (u16::from(settings.heads), u16::from(settings.sectors));
    let per_cylinder = u64::from(heads) * u64::from(sectors);
    let current = total.checked_div(per_cylinder).unwrap_or(0).min(0xffff);
    let (now_low, now_high) = halves(current * per_cylinder);
    let flag = |on: bool, bit: u32| u16::from(on) << bit;
    words.set(&[
        (0, 0x0040), // a fixed disk
        (1, cylinders),
        (3, 16),
        (6, 63),
        (47, 0x8000 | u16::from(MULTIPLE_MAX)),
        (50, 0x4000),
        (53, 0x0007),
        (54, current as u16),
        (55, heads),
        (56, sectors),
        (57, now_low),
        (58, now_high),
        (59, if settings.multiple == 0 { 0 } else { 0x100 | u16::from(settings.multiple) }),
        (60, lba_low),
        (61, lba_high),
        // Supported: SMART, power management, write cache, look-ahead; 48-bit addresses, FLUSH CACHE and EXT.
        (82, 0x0069),
        (83, 0x7400),
        (84, 0x4040), // FUA
        (85, 0x0008 | flag(settings.smart, 0) | flag(settings.write_cache, 5) | flag(settings.look_ahead, 6)),
        (86, 0x3400),
        (87, 0x4040),
        (100, total as u16),
        (101, (total >> 16) as u16),
        (102, (total >> 32) as u16),
        (103, (total >> 48) as u16),
    ]);
    if drive.sata {
        // A queue of 32 commands.
        words.set(&[(75, 31), (76, 0x0106)]);
    }
    words.bytes()
}

pub(super) fn cdrom(drive: &Drive, settings: &Settings) -> Vec<u8> {
    let mut words = Words([0; 256]);
    words.common(drive, settings);
    words.set(&[
        // A removable CD-ROM device with packets of 12 bytes, DRQ within 50 us.
        (0, 0x85c0),
        (82, 0x0210), // PACKET, DEVICE RESET
        (83, 0x4000),
        (84, 0x4000),
        (85, 0x0210),
        (87, 0x4000),
    ]);
    words.bytes()
}
