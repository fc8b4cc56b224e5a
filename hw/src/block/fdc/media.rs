//! Kinds of disks, by the size of their contents.

use crate::rtc::cmos::FloppyDrive;

/// How a disk is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Tracks of a side.
    pub tracks: u8,
    /// Sides.
    pub heads: u8,
    /// Sectors of a track.
    pub sectors: u8,
    /// Data rates at which it can be read, as the controller numbers them, one bit each.
    pub rates: u8,
    /// The drive that it is for.
    pub drive: FloppyDrive,
}

const fn format(tracks: u8, heads: u8, sectors: u8, rates: u8, drive: FloppyDrive) -> Format {
    Format { tracks, heads, sectors, rates, drive }
}

const FORMATS: [Format; 10] = [
    format(80, 2, 18, 1 << 0, FloppyDrive::M1_44),
    format(80, 2, 36, 1 << 3, FloppyDrive::M2_88),
    format(80, 2, 9, 1 << 2 | 1 << 1, FloppyDrive::K720),
    format(80, 2, 15, 1 << 0, FloppyDrive::M1_2),
    format(80, 2, 21, 1 << 0, FloppyDrive::M1_44),
    format(80, 2, 20, 1 << 0, FloppyDrive::M1_44),
    format(40, 2, 9, 1 << 1 | 1 << 2, FloppyDrive::M1_2),
    format(40, 2, 8, 1 << 1 | 1 << 2, FloppyDrive::M1_2),
    format(40, 1, 9, 1 << 1 | 1 << 2, FloppyDrive::M1_2),
    format(40, 1, 8, 1 << 1 | 1 << 2, FloppyDrive::M1_2),
];

impl Format {
    /// Bytes of such a disk.
    pub fn len_bytes(&self) -> u64 {
        u64::from(self.tracks) * u64::from(self.heads) * u64::from(self.sectors) * 512
    }

    /// The format of a disk of `len` bytes. Other sizes are read like one of 1.44 MB, as far as they go.
    pub fn of(len: u64) -> Option<Self> {
        let known = FORMATS.iter().find(|format| format.len_bytes() == len);
        known.or(FORMATS.first()).copied().filter(|_| len != 0)
    }

    /// Number of a sector from the start of the disk.
    pub(super) fn sector(&self, track: u8, head: u8, sector: u8) -> Option<u64> {
        let exists = track < self.tracks && head < self.heads && (1..=self.sectors).contains(&sector);
        let row = u64::from(track) * u64::from(self.heads) + u64::from(head);
        exists.then(|| row * u64::from(self.sectors) + u64::from(sector) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_size() {
        for (len, drive, last) in [
            (1_474_560, FloppyDrive::M1_44, (79, 1, 18)),
            (2_949_120, FloppyDrive::M2_88, (79, 1, 36)),
            (737_280, FloppyDrive::K720, (79, 1, 9)),
            (1_228_800, FloppyDrive::M1_2, (79, 1, 15)),
            (368_640, FloppyDrive::M1_2, (39, 1, 9)),
        ] {
            let format = Format::of(len).unwrap();
            let (track, head, sector) = last;
            assert_eq!((format.drive, format.sector(track, head, sector)), (drive, Some(len / 512 - 1)));
            assert_eq!(format.sector(track, head, sector + 1), None);
            assert_eq!(format.sector(track + 1, head, sector), None);
            assert_eq!((format.sector(track, 2, 1), format.sector(0, 0, 0)), (None, None));
        }
        assert_eq!(Format::of(0), None);
        assert_eq!(Format::of(5 << 20).map(|format| format.sectors), Some(18));
    }
}
