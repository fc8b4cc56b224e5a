//! The header of qcow2 images (QEMU's docs/interop/qcow2.txt, "Header", "Feature name table", "Snapshots"): read and
//! checked before anything relies on it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Length of the header of version 2.
const V2_LEN: usize = 72;
/// Length of the header of version 3 without optional fields.
const V3_LEN: usize = 104;
/// Largest L1 table and refcount table, in bytes: what QEMU accepts.
const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
/// Longest name of a backing file.
const MAX_NAME: u64 = 1023;
/// Most internal snapshots, and the longest of their tables.
const MAX_SNAPSHOTS: u32 = 65536;
const MAX_SNAPSHOT_EXTRA: u32 = 1024;

/// Refcounts may be wrong: the last writer did not end in order.
pub const DIRTY: u64 = 1 << 0;
/// A writer has seen that the metadata contradicts itself.
pub const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
/// L2 entries have 128 bits.
const EXTENDED_L2: u64 = 1 << 4;
/// Refcounts are written late.
pub const LAZY_REFCOUNTS: u64 = 1 << 0;

/// Why an image cannot be used: a reason and a next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; {advice}")]
pub struct Fault {
    /// Why, in lower case.
    pub reason: String,
    /// What to do next.
    pub advice: String,
}

/// An image whose bytes contradict the format.
fn malformed(reason: impl Into<String>) -> Fault {
    Fault { reason: reason.into(), advice: "take another copy, or a backup, of the image".into() }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => malformed("the file ends within its metadata"),
            _ => Fault { reason: crate::error::reason(&error), advice: "check the file".into() },
        }
    }
}

/// What a qcow2 image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Name of the backing file as it is written in the image.
    pub backing_file: Option<String>,
    /// Format of the backing file.
    pub backing_format: Option<String>,
    /// Binary logarithm of the cluster size, 9 to 21.
    pub cluster_bits: u32,
    /// Size of the disk in bytes.
    pub size: u64,
    /// Entries of the L1 table, and where it begins.
    pub l1_entries: u32,
    /// Offset of the L1 table in bytes.
    pub l1_offset: u64,
    /// Offset of the refcount table in bytes.
    pub refcount_table_offset: u64,
    /// Its length in clusters.
    pub refcount_table_clusters: u32,
    /// Internal snapshots.
    pub snapshots: u32,
    /// Offset of their table in bytes.
    pub snapshots_offset: u64,
    /// Bits that a reader must know.
    pub incompatible: u64,
    /// Bits that it need not.
    pub compatible: u64,
    /// Binary logarithm of the refcounts' width in bits, 0 to 6.
    pub refcount_order: u32,
    /// 0 for zlib, 1 for zstd.
    pub compression: u8,
    /// The image has dirty bitmaps.
    pub bitmaps: bool,
    /// Encryption method; 0 is none.
    pub crypt_method: u32,
    /// Length of the file in bytes.
    pub file_len: u64,
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn name(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes).map_err(|_| malformed("a name in its header is not valid UTF-8"))
}

impl Header {
    /// Reads and checks the header of `file`, which is `file_len` bytes long. What the format allows and this program
    /// does not know is no fault yet: see [`unsupported`](Self::unsupported).
    pub fn read(file: &File, file_len: u64) -> Result<Self, Fault> {
        if file_len < V2_LEN as u64 {
            return Err(malformed(format!("its qcow2 header is truncated: the file has {file_len} bytes")));
        }
        let mut bytes = [0; V3_LEN + 8];
        let len = (file_len as usize).min(bytes.len());
        file.read_exact_at(&mut bytes[..len], 0)?;
        if &bytes[..4] != b"QFI\xfb" {
            let advice = "leave format= out to have the format found, or name the right one";
            return Err(Fault { reason: "it is no qcow2 image".into(), advice: advice.into() });
        }
        let version = be32(&bytes, 4);
        if !(2..=3).contains(&version) {
            return Err(malformed(format!("its version of the format is {version}; 2 and 3 are known")));
        }
        if version == 3 && file_len < V3_LEN as u64 {
            return Err(malformed(format!("its qcow2 header is truncated: the file has {file_len} bytes")));
        }
        let v3 = |value: u64| if version == 3 { value } else { 0 };
        let mut header = Header {
            version,
            backing_file: None,
            backing_format: None,
            cluster_bits: be32(&bytes, 20),
            size: be64(&bytes, 24),
            l1_entries: be32(&bytes, 36),
            l1_offset: be64(&bytes, 40),
            refcount_table_offset: be64(&bytes, 48),
            refcount_table_clusters: be32(&bytes, 56),
            snapshots: be32(&bytes, 60),
            snapshots_offset: be64(&bytes, 64),
            incompatible: v3(be64(&bytes, 72)),
            compatible: v3(be64(&bytes, 80)),
            refcount_order: if version == 3 { be32(&bytes, 96) } else { 4 },
            compression: 0,
            bitmaps: false,
            crypt_method: be32(&bytes, 32),
            file_len,
        };
        header.check_tables()?;
        let header_len = if version == 3 { u64::from(be32(&bytes, 100)) } else { V2_LEN as u64 };
        let minimum = if version == 3 { V3_LEN as u64 } else { V2_LEN as u64 };
        if header_len < minimum || header_len > header.cluster_size() || header_len % 8 != 0 {
            return Err(malformed(format!("its header cannot be {header_len} bytes long")));
        }
        if header_len > V3_LEN as u64 {
            header.compression = bytes[V3_LEN];
        }
        header.read_extensions(file, header_len)?;
        header.read_backing_name(file, be64(&bytes, 8), be32(&bytes, 16).into())?;
        Ok(header)
    }

    /// Bytes of a cluster.
    pub fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of an L2 table.
    pub fn l2_entries(&self) -> u64 {
        self.cluster_size() / 8
    }

    /// Bits of a refcount.
    pub fn refcount_bits(&self) -> u32 {
        1 << self.refcount_order
    }

    fn check_tables(&self) -> Result<(), Fault> {
        if !(9..=21).contains(&self.cluster_bits) {
            return Err(malformed(format!("its clusters cannot have 2^{} bytes", self.cluster_bits)));
        }
        if self.refcount_order > 6 {
            return Err(malformed(format!("its refcounts cannot have 2^{} bits", self.refcount_order)));
        }
        let l1_bytes = u64::from(self.l1_entries) * 8;
        if l1_bytes > MAX_L1_BYTES {
            return Err(malformed(format!("its L1 table cannot have {} entries", self.l1_entries)));
        }
        let covered = u128::from(self.l1_entries) * u128::from(self.l2_entries()) * u128::from(self.cluster_size());
        if self.size > i64::MAX as u64 || u128::from(self.size) > covered {
            return Err(malformed(format!("its L1 table is too small for a disk of {} bytes", self.size)));
        }
        self.check_place("L1 table", self.l1_offset, l1_bytes)?;
        let table_bytes = u64::from(self.refcount_table_clusters) << self.cluster_bits;
        if table_bytes > MAX_REFCOUNT_TABLE_BYTES {
            let clusters = self.refcount_table_clusters;
            return Err(malformed(format!("its refcount table cannot have {clusters} clusters")));
        }
        if table_bytes == 0 {
            return Err(malformed("it has no refcount table"));
        }
        self.check_place("refcount table", self.refcount_table_offset, table_bytes)?;
        if self.snapshots > MAX_SNAPSHOTS {
            return Err(malformed(format!("it cannot have {} snapshots", self.snapshots)));
        }
        // An entry has 40 bytes at least.
        self.check_place("snapshot table", self.snapshots_offset, u64::from(self.snapshots) * 40)
    }

    /// A table must begin at a cluster behind the header and lie within the file, whose last cluster may be incomplete.
    fn check_place(&self, what: &str, offset: u64, bytes: u64) -> Result<(), Fault> {
        if bytes == 0 {
            return Ok(());
        }
        if !offset.is_multiple_of(self.cluster_size()) || offset == 0 {
            return Err(malformed(format!("its {what} is not at a cluster's beginning ({offset:#x})")));
        }
        let end = self.file_len.checked_next_multiple_of(self.cluster_size()).unwrap_or(u64::MAX);
        if offset.checked_add(bytes).is_none_or(|last| last > end) {
            return Err(malformed(format!("its {what} at {offset:#x} is outside the file of {} bytes", self.file_len)));
        }
        Ok(())
    }

    /// "Header extensions": type, length, data padded to eight bytes.
    fn read_extensions(&mut self, file: &File, header_len: u64) -> Result<(), Fault> {
        let end = self.cluster_size().min(self.file_len);
        let mut at = header_len;
        while at + 8 <= end {
            let mut head = [0; 8];
            file.read_exact_at(&mut head, at)?;
            let (kind, len) = (be32(&head, 0), u64::from(be32(&head, 4)));
            at += 8;
            if at + len > end && kind != 0 {
                return Err(malformed("an extension of its header is larger than the first cluster"));
            }
            match kind {
                0 => return Ok(()),
                0xe279_2aca => {
                    let mut text = vec![0; len as usize];
                    file.read_exact_at(&mut text, at)?;
                    self.backing_format = Some(name(text)?);
                }
                0x2385_2875 => self.bitmaps = true,
                _ => {}
            }
            at += len.next_multiple_of(8);
        }
        Ok(())
    }

    fn read_backing_name(&mut self, file: &File, offset: u64, len: u64) -> Result<(), Fault> {
        if offset == 0 || len == 0 {
            return Ok(());
        }
        if len > MAX_NAME || offset.checked_add(len).is_none_or(|end| end > self.cluster_size()) {
            return Err(malformed("the name of its backing file is too long or outside the first cluster"));
        }
        let mut text = vec![0; len as usize];
        file.read_exact_at(&mut text, offset)?;
        self.backing_file = Some(name(text)?);
        Ok(())
    }

    /// What the image needs that is not implemented, or has to be repaired first.
    pub fn unsupported(&self) -> Result<(), Fault> {
        let convert = "convert it with `qemu-img convert -O qcow2 FILE NEW`";
        let rows = [
            (self.crypt_method != 0, "it is encrypted, which is not implemented", convert),
            (
                self.incompatible & DATA_FILE != 0,
                "its data is in another file (data_file), which is not implemented",
                convert,
            ),
            (self.incompatible & EXTENDED_L2 != 0, "it has extended L2 entries, which are not implemented", convert),
            (
                self.incompatible & COMPRESSION != 0 || self.compression != 0,
                "it is compressed with zstd, which is not implemented",
                convert,
            ),
            (
                self.incompatible & DIRTY != 0,
                "its last writer did not end in order",
                "repair it with `mimic img check -r all FILE`",
            ),
            (
                self.incompatible & CORRUPT != 0,
                "it is marked as corrupt",
                "repair it with `mimic img check -r all FILE`",
            ),
            (self.incompatible >> 5 != 0, "it uses features that are not known", convert),
        ];
        match rows.iter().find(|(applies, ..)| *applies) {
            Some((_, reason, advice)) => Err(Fault { reason: (*reason).into(), advice: (*advice).into() }),
            None => Ok(()),
        }
    }
}

/// An internal snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its number as text.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Bytes of the machine's state that it holds.
    pub vm_state_bytes: u64,
    /// When it was taken, in seconds since 1970 and nanoseconds.
    pub date: (u32, u32),
    /// For how many nanoseconds the machine had run.
    pub clock_ns: u64,
    /// Offset of its L1 table in bytes.
    pub l1_offset: u64,
    /// Entries of its L1 table.
    pub l1_entries: u32,
}

/// The internal snapshots of an image, and the length of their table in bytes.
pub fn snapshots(file: &File, header: &Header) -> Result<(Vec<Snapshot>, u64), Fault> {
    let mut found = Vec::new();
    let mut at = header.snapshots_offset;
    for _ in 0..header.snapshots {
        let mut fixed = [0; 40];
        file.read_exact_at(&mut fixed, at)?;
        let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let (id_len, name_len, extra_len) = (usize::from(half(12)), usize::from(half(14)), be32(&fixed, 36));
        if extra_len > MAX_SNAPSHOT_EXTRA {
            return Err(malformed("an entry of its snapshot table is too long"));
        }
        let mut extra = vec![0; extra_len as usize];
        file.read_exact_at(&mut extra, at + 40)?;
        let mut names = vec![0; id_len + name_len];
        file.read_exact_at(&mut names, at + 40 + u64::from(extra_len))?;
        let title = names.split_off(id_len);
        let small = u64::from(be32(&fixed, 32));
        found.push(Snapshot {
            id: String::from_utf8_lossy(&names).into_owned(),
            name: String::from_utf8_lossy(&title).into_owned(),
            vm_state_bytes: if extra_len >= 8 { be64(&extra, 0) } else { small },
            date: (be32(&fixed, 16), be32(&fixed, 20)),
            clock_ns: be64(&fixed, 24),
            l1_offset: be64(&fixed, 0),
            l1_entries: be32(&fixed, 8),
        });
        let len = 40 + u64::from(extra_len) + (id_len + name_len) as u64;
        at += len.next_multiple_of(8);
    }
    Ok((found, at - header.snapshots_offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Temp;

    /// A version 3 header of an empty disk with 64 KiB clusters, in a file of five of them.
    pub fn sample() -> Vec<u8> {
        let mut bytes = vec![0; 5 << 16];
        bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        bytes[20..24].copy_from_slice(&16_u32.to_be_bytes());
        bytes[24..32].copy_from_slice(&(1_u64 << 20).to_be_bytes());
        bytes[36..40].copy_from_slice(&1_u32.to_be_bytes());
        bytes[40..48].copy_from_slice(&(3_u64 << 16).to_be_bytes());
        bytes[48..56].copy_from_slice(&(1_u64 << 16).to_be_bytes());
        bytes[56..60].copy_from_slice(&1_u32.to_be_bytes());
        bytes[96..100].copy_from_slice(&4_u32.to_be_bytes());
        bytes[100..104].copy_from_slice(&104_u32.to_be_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Header, Fault> {
        let temp = Temp::new("header", bytes);
        Header::read(&File::open(temp.path()).unwrap(), bytes.len() as u64)
    }

    #[test]
    fn a_header_says_what_the_specification_means() {
        let header = read(&sample()).unwrap();
        assert_eq!((header.version, header.cluster_size(), header.size), (3, 65536, 1 << 20));
        assert_eq!((header.refcount_bits(), header.l2_entries(), header.backing_file.clone()), (16, 8192, None));
        assert_eq!(header.unsupported(), Ok(()));
        let mut named = sample();
        named[104..112].copy_from_slice(&[0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 3]);
        named[112..115].copy_from_slice(b"raw");
        named[8..16].copy_from_slice(&200_u64.to_be_bytes());
        named[16..20].copy_from_slice(&4_u32.to_be_bytes());
        named[200..204].copy_from_slice(b"base");
        let header = read(&named).unwrap();
        assert_eq!((header.backing_file.as_deref(), header.backing_format.as_deref()), (Some("base"), Some("raw")));
    }

    #[test]
    fn what_contradicts_the_format_is_named() {
        let rows: &[(usize, &[u8], &str)] = &[
            (0, b"QFJ", "it is no qcow2 image"),
            (7, &[4], "its version of the format is 4"),
            (20, &[0, 0, 0, 8], "clusters cannot have 2^8 bytes"),
            (20, &[0, 0, 0, 22], "clusters cannot have 2^22 bytes"),
            (20, &[0xff; 4], "clusters cannot have 2^4294967295 bytes"),
            (96, &[0, 0, 0, 7], "refcounts cannot have 2^7 bits"),
            (36, &[0xff; 4], "L1 table cannot have 4294967295 entries"),
            (24, &[0x7f; 8], "too small for a disk"),
            (24, &[0xff; 8], "too small for a disk"),
            (36, &[0; 4], "too small for a disk"),
            (40, &[0, 0, 0, 0, 0, 3, 2, 0], "L1 table is not at a cluster's beginning (0x30200)"),
            (40, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0], "L1 table at 0xffffffffffff0000 is outside the file"),
            (48, &[0, 0, 0, 0, 0, 0x10, 0, 0], "refcount table at 0x100000 is outside the file"),
            (48, &[0; 8], "refcount table is not at a cluster's beginning"),
            (56, &[0; 4], "no refcount table"),
            (56, &[0xff; 4], "refcount table cannot have"),
            (60, &[0xff; 4], "cannot have 4294967295 snapshots"),
            (60, &[0, 0, 0, 1], "snapshot table is not at a cluster's beginning"),
            (100, &[0, 0, 0, 105], "header cannot be 105 bytes long"),
            (100, &[0xff; 4], "header cannot be 4294967295 bytes long"),
            (104, &[1; 8], "extension of its header"),
            (8, &[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 10], "name of its backing file"),
            (8, &[0xff; 12], "name of its backing file"),
            (8, &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 7], "not valid UTF-8"),
        ];
        for (at, patch, want) in rows {
            let mut bytes = sample();
            bytes[*at..at + patch.len()].copy_from_slice(patch);
            let fault = read(&bytes).unwrap_err();
            assert!(fault.reason.contains(want), "{at}: {fault}");
        }
        for len in [0, 4, 71, 72, 103, 200, 3 << 16] {
            read(&sample()[..len]).unwrap_err();
        }
    }

    #[test]
    fn what_is_not_implemented_has_a_way_out() {
        let rows: &[(usize, u8, &str)] = &[
            (35, 1, "encrypted"),
            (79, 1, "check -r all"),
            (79, 2, "check -r all"),
            (79, 4, "data_file"),
            (79, 8, "zstd"),
            (79, 16, "extended L2"),
            (78, 1, "not known"),
        ];
        for (at, value, want) in rows {
            let mut bytes = sample();
            bytes[*at] = *value;
            let fault = read(&bytes).unwrap().unsupported().unwrap_err();
            assert!(fault.to_string().contains(want), "{at}: {fault}");
        }
    }
}
