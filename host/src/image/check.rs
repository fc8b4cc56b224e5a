//! Whether a qcow2 image's refcounts agree with its references (QEMU's docs/interop/qcow2.txt, "Host cluster management",
//! "Cluster mapping"), and their repair: `mimic img check`.
//!
//! Every cluster that header, tables and data refer to is counted; the counts are compared with the refcounts in the file.
//! A refcount that is too large is a leak: space is lost and nothing else. One that is too small is a corruption: the
//! cluster would be given away a second time.

use super::format::{self, Format};
use super::lock::Use;
use super::open_file;
use super::qcow2::{self, CORRUPT, DIRTY, Fault, Header};
use crate::error::{HostError, reason};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bits of a table's entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The cluster has one reference and may be written in place.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Most clusters of a file that is checked: the counts take four bytes for each.
const MAX_CLUSTERS: u64 = 1 << 29;
/// Problems that are told one by one.
const MAX_TOLD: usize = 100;

/// What a check repairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// Nothing.
    #[default]
    None,
    /// Leaks.
    Leaks,
    /// Also refcounts that are too small, and marks that do not agree with them.
    All,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The first problems, a line each.
    pub problems: Vec<String>,
    /// Clusters whose refcount is too large.
    pub leaks: u64,
    /// Everything else that is wrong.
    pub corruptions: u64,
    /// What was repaired of both; the rest is counted above.
    pub leaks_fixed: u64,
    /// The same for corruptions.
    pub corruptions_fixed: u64,
    /// Clusters of the disk.
    pub total_clusters: u64,
    /// Those that the image holds.
    pub allocated_clusters: u64,
    /// Those that do not lie behind their predecessor.
    pub fragmented_clusters: u64,
    /// Those that are compressed.
    pub compressed_clusters: u64,
    /// Where the last cluster in use ends.
    pub image_end: u64,
}

/// Checks the image at `path`, whose format is found out if `format` is `None`. `Ok(None)`: its format has nothing to check.
///
/// # Errors
/// One line for an image that cannot be opened, read or repaired.
pub fn check(
    path: &Path,
    format: Option<Format>,
    repair: Repair,
    force_share: bool,
) -> Result<Option<Report>, HostError> {
    let name = path.display().to_string();
    let usage = match repair {
        Repair::None if force_share => Use::Peek,
        Repair::None => Use::Read,
        _ => Use::Write,
    };
    let file = open_file("open", "image", path, usage)?;
    let failed = |reason: String, advice: &str| HostError::new("check", "image", &name, reason, advice);
    let io_failed = |error: io::Error| failed(reason(&error), "check the disk that it is on");
    let found = match format {
        Some(format) => Some(format),
        None => format::probe(&file).map_err(io_failed)?.and_then(|(_, format)| format),
    };
    if found != Some(Format::Qcow2) {
        return Ok(None);
    }
    let fault = |fault: Fault| failed(fault.reason, &fault.advice);
    let len = super::end_of(&file).map_err(io_failed)?;
    let header = Header::read(&file, len).map_err(fault)?;
    // What the check itself can do without.
    let known = Header { incompatible: header.incompatible & !(DIRTY | CORRUPT), compression: 0, ..header.clone() };
    let known = Header { incompatible: known.incompatible & !(1 << 3), ..known };
    known.unsupported().map_err(fault)?;
    if header.bitmaps {
        let advice = "use `qemu-img check`";
        return Err(failed("it has dirty bitmaps, which are not implemented".into(), advice));
    }
    if len.div_ceil(header.cluster_size()) >= MAX_CLUSTERS {
        return Err(failed("its file has too many clusters".into(), "use `qemu-img check`"));
    }
    let look = |told: bool| Check::run(&file, &header, told);
    let mut check = look(true).map_err(fault)?;
    if repair == Repair::None {
        return Ok(Some(check.report));
    }
    let before = check.report.clone();
    if before.leaks > 0 || before.corruptions > 0 || header.incompatible & (DIRTY | CORRUPT) != 0 {
        check.repair(repair).map_err(io_failed)?;
        let len = super::end_of(&file).map_err(io_failed)?;
        let header = Header { file_len: len, ..header.clone() };
        let mut after = Check::run(&file, &header, false).map_err(fault)?;
        if repair == Repair::All && after.report.corruptions == 0 {
            after.clear_marks().map_err(io_failed)?;
        }
        let mut report = after.report;
        report.leaks_fixed = before.leaks.saturating_sub(report.leaks);
        report.corruptions_fixed = before.corruptions.saturating_sub(report.corruptions);
        report.problems = before.problems;
        return Ok(Some(report));
    }
    Ok(Some(check.report))
}

/// One walk through an image.
struct Check<'a> {
    file: &'a File,
    header: &'a Header,
    /// References to each cluster of the file.
    counts: Vec<u32>,
    /// The refcount table.
    blocks: Vec<u64>,
    /// Entries with a wrong mark: their place and what they should be.
    marks: Vec<(u64, u64)>,
    told: bool,
    report: Report,
}

impl<'a> Check<'a> {
    fn run(file: &'a File, header: &'a Header, told: bool) -> Result<Self, Fault> {
        // One more: a last cluster that was assigned and not written yet lies behind the end.
        let clusters = header.file_len.div_ceil(header.cluster_size()) + 1;
        let mut check = Self {
            file,
            header,
            counts: vec![0; clusters as usize],
            blocks: Vec::new(),
            marks: Vec::new(),
            told,
            report: Report { total_clusters: header.size.div_ceil(header.cluster_size()), ..Report::default() },
        };
        check.count("header", 0, 1);
        let table_bytes = u64::from(header.refcount_table_clusters) << header.cluster_bits;
        check.count("refcount table", header.refcount_table_offset, table_bytes);
        check.blocks = check.table(header.refcount_table_offset, table_bytes / 8)?;
        check.count_blocks();
        let (snapshots, table_len) = qcow2::snapshots(file, header)?;
        check.count("snapshot table", header.snapshots_offset, table_len);
        check.walk(header.l1_offset, header.l1_entries, true)?;
        for snapshot in &snapshots {
            if snapshot.l1_entries > header.l1_entries.max(4 << 20) {
                check.corrupt(format!("the L1 table of snapshot {} is too large", snapshot.id));
                continue;
            }
            check.walk(snapshot.l1_offset, snapshot.l1_entries, false)?;
        }
        check.compare()?;
        check.check_marks(header.l1_offset, header.l1_entries)?;
        let last = check.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last as u64 + 1);
        check.report.image_end = last << header.cluster_bits;
        Ok(check)
    }

    fn tell(&mut self, line: String) {
        if self.told && self.report.problems.len() < MAX_TOLD {
            self.report.problems.push(line);
        }
    }

    fn corrupt(&mut self, line: String) {
        self.report.corruptions += 1;
        self.tell(format!("error: {line}"));
    }

    /// Entries of a table; what lies behind the end of the file is zero.
    fn table(&self, offset: u64, entries: u64) -> io::Result<Vec<u64>> {
        let mut bytes = vec![0; entries as usize * 8];
        read_or_zero(self.file, offset, &mut bytes)?;
        Ok(bytes.chunks_exact(8).map(|entry| u64::from_be_bytes(entry.try_into().unwrap())).collect())
    }

    /// Counts a reference to every cluster of a range. Whether it lies in the file.
    fn count(&mut self, what: &str, offset: u64, bytes: u64) -> bool {
        if bytes == 0 {
            return true;
        }
        let first = offset >> self.header.cluster_bits;
        let last = offset.saturating_add(bytes - 1) >> self.header.cluster_bits;
        if last >= self.counts.len() as u64 {
            self.corrupt(format!("{what} at {offset:#x} is outside the file"));
            return false;
        }
        for count in &mut self.counts[first as usize..=last as usize] {
            *count = count.saturating_add(1);
        }
        true
    }

    fn count_blocks(&mut self) {
        let mut seen = HashSet::new();
        for at in 0..self.blocks.len() {
            let entry = self.blocks[at];
            let offset = entry & !0x1ff;
            if offset == 0 {
                continue;
            }
            if !offset.is_multiple_of(self.header.cluster_size()) {
                self.corrupt(format!("refcount block {at} at {offset:#x} is not at a cluster's beginning"));
                self.blocks[at] = 0;
            } else if !self.count(&format!("refcount block {at}"), offset, 1) || !seen.insert(offset) {
                self.corrupt(format!("refcount block {at} at {offset:#x} cannot be used"));
                self.blocks[at] = 0;
            }
        }
    }

    /// Counts what an L1 table refers to.
    fn walk(&mut self, offset: u64, entries: u32, active: bool) -> Result<(), Fault> {
        if !self.count("L1 table", offset, u64::from(entries) * 8) {
            return Ok(());
        }
        let mut seen = HashSet::new();
        let mut expected = 0;
        for (at, entry) in self.table(offset, entries.into())?.into_iter().enumerate() {
            let table = entry & OFFSET;
            if table == 0 {
                continue;
            }
            if !table.is_multiple_of(self.header.cluster_size()) {
                self.corrupt(format!("L2 table {at} at {table:#x} is not at a cluster's beginning"));
                continue;
            }
            // Twice in one L1 table is an error that the comparison finds.
            if self.count(&format!("L2 table {at}"), table, 1) && seen.insert(table) {
                self.walk_l2(table, active, &mut expected)?;
            }
        }
        Ok(())
    }

    fn walk_l2(&mut self, table: u64, active: bool, expected: &mut u64) -> Result<(), Fault> {
        let bits = self.header.cluster_bits;
        for entry in self.table(table, self.header.l2_entries())? {
            if entry & COMPRESSED != 0 {
                // "Compressed Clusters Descriptor": the offset's width depends on the cluster size, sectors follow.
                let split = 62 - (bits - 8);
                let offset = entry & ((1 << split) - 1);
                let sectors = ((entry & !COPIED & !COMPRESSED) >> split) + 1;
                let start = offset & !0x1ff;
                self.count("compressed cluster", start, sectors * 512);
                if entry & COPIED != 0 {
                    self.corrupt(format!("compressed cluster at {offset:#x} is marked as copied"));
                }
                if active {
                    self.report.compressed_clusters += 1;
                    self.report.fragmented_clusters += 1;
                    self.report.allocated_clusters += 1;
                }
                continue;
            }
            let offset = entry & OFFSET;
            if offset == 0 {
                continue;
            }
            if !offset.is_multiple_of(self.header.cluster_size()) {
                self.corrupt(format!("data cluster at {offset:#x} is not at a cluster's beginning"));
                continue;
            }
            self.count("data cluster", offset, 1);
            if active {
                self.report.allocated_clusters += 1;
                self.report.fragmented_clusters += u64::from(*expected != 0 && *expected != offset);
                *expected = offset + self.header.cluster_size();
            }
        }
        Ok(())
    }

    /// Refcounts of one block.
    fn entries_of_block(&self) -> u64 {
        self.header.cluster_size() * 8 / u64::from(self.header.refcount_bits())
    }

    fn block(&self, at: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.header.cluster_size() as usize];
        match self.blocks[at] & !0x1ff {
            0 => {}
            offset => read_or_zero(self.file, offset, &mut bytes)?,
        }
        Ok(bytes)
    }

    /// Compares every refcount in the file with the references that were counted.
    fn compare(&mut self) -> Result<(), Fault> {
        let per_block = self.entries_of_block();
        let blocks = (self.blocks.len() as u64).max((self.counts.len() as u64).div_ceil(per_block));
        for at in 0..blocks as usize {
            let missing = self.blocks.get(at).is_none_or(|block| *block == 0);
            let first = at as u64 * per_block;
            if missing {
                let last = (first + per_block).min(self.counts.len() as u64);
                for cluster in first.min(last)..last {
                    self.compare_one(cluster, 0);
                }
                continue;
            }
            let bytes = self.block(at)?;
            for index in 0..per_block {
                self.compare_one(first + index, refcount(&bytes, index, self.header.refcount_order));
            }
        }
        Ok(())
    }

    fn compare_one(&mut self, cluster: u64, refcount: u64) {
        let count = self.counts.get(cluster as usize).copied().unwrap_or(0).into();
        if refcount == count {
            return;
        }
        let line = format!("cluster {cluster} has the refcount {refcount}, and {count} references");
        if refcount > count {
            self.report.leaks += 1;
            self.tell(format!("leak: {line}"));
        } else {
            self.corrupt(line);
        }
    }

    fn refcount_of(&self, offset: u64, last: &mut (usize, Vec<u8>)) -> io::Result<u64> {
        let cluster = offset >> self.header.cluster_bits;
        let at = (cluster / self.entries_of_block()) as usize;
        if self.blocks.get(at).is_none_or(|block| *block == 0) {
            return Ok(0);
        }
        if last.0 != at || last.1.is_empty() {
            *last = (at, self.block(at)?);
        }
        Ok(refcount(&last.1, cluster % self.entries_of_block(), self.header.refcount_order))
    }

    /// The bit that a cluster has one reference must agree with its refcount, in the active tables.
    fn check_marks(&mut self, l1_offset: u64, l1_entries: u32) -> Result<(), Fault> {
        let mut last = (0, Vec::new());
        let mut seen = HashSet::new();
        for (at, entry) in self.table(l1_offset, l1_entries.into())?.into_iter().enumerate() {
            let table = entry & OFFSET;
            if table == 0 || !self.is_cluster(table) {
                continue;
            }
            self.check_mark("L2 table", l1_offset + at as u64 * 8, entry, &mut last)?;
            if !seen.insert(table) {
                continue;
            }
            for (index, entry) in self.table(table, self.header.l2_entries())?.into_iter().enumerate() {
                if entry & COMPRESSED == 0 && entry & OFFSET != 0 && self.is_cluster(entry & OFFSET) {
                    self.check_mark("data cluster", table + index as u64 * 8, entry, &mut last)?;
                }
            }
        }
        Ok(())
    }

    fn is_cluster(&self, offset: u64) -> bool {
        offset.is_multiple_of(self.header.cluster_size())
            && offset >> self.header.cluster_bits < self.counts.len() as u64
    }

    fn check_mark(&mut self, what: &str, place: u64, entry: u64, last: &mut (usize, Vec<u8>)) -> Result<(), Fault> {
        let offset = entry & OFFSET;
        let refcount = self.refcount_of(offset, last)?;
        if (entry & COPIED != 0) != (refcount == 1) {
            self.corrupt(format!("{what} at {offset:#x} has the refcount {refcount} and the wrong mark"));
        }
        // What the mark should be once refcounts are right.
        let count = self.counts[(offset >> self.header.cluster_bits) as usize];
        let right = if count == 1 { entry | COPIED } else { entry & !COPIED };
        if right != entry {
            self.marks.push((place, right));
        }
        Ok(())
    }

    /// Writes refcounts as they were counted: first those that are too small, then marks, then those that are too large,
    /// each durable before the next, so that an end in the middle leaves nothing worse than it was.
    fn repair(&mut self, repair: Repair) -> io::Result<()> {
        if repair == Repair::All {
            self.add_blocks()?;
            self.write_refcounts(|refcount, count| refcount < count)?;
            self.file.sync_data()?;
            for (place, entry) in std::mem::take(&mut self.marks) {
                self.file.write_all_at(&entry.to_be_bytes(), place)?;
            }
            self.file.sync_data()?;
        }
        self.write_refcounts(|refcount, count| refcount > count)?;
        self.file.sync_data()
    }

    /// Adds refcount blocks at the end of the file for clusters in use that none covers, as far as the table goes.
    fn add_blocks(&mut self) -> io::Result<()> {
        let per_block = self.entries_of_block();
        let mut at = 0;
        while at < self.blocks.len().min((self.counts.len() as u64).div_ceil(per_block) as usize) {
            let (first, last) = (at as u64 * per_block, ((at as u64 + 1) * per_block).min(self.counts.len() as u64));
            let used = self.counts[first as usize..last as usize].iter().any(|count| *count > 0);
            if self.blocks[at] == 0 && used {
                let end = self.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
                let offset = (end as u64) << self.header.cluster_bits;
                self.file.write_all_at(&vec![0; self.header.cluster_size() as usize], offset)?;
                self.file.write_all_at(&offset.to_be_bytes(), self.header.refcount_table_offset + at as u64 * 8)?;
                self.blocks[at] = offset;
                self.counts.resize(self.counts.len().max(end + 2), 0);
                self.counts[end] = 1;
                // The new cluster may be covered by a block before this one.
                at = 0;
                continue;
            }
            at += 1;
        }
        Ok(())
    }

    fn write_refcounts(&mut self, wrong: impl Fn(u64, u64) -> bool) -> io::Result<()> {
        let per_block = self.entries_of_block();
        let largest = match self.header.refcount_order {
            6 => u64::MAX,
            order => (1 << (1 << order)) - 1,
        };
        for at in 0..self.blocks.len() {
            if self.blocks[at] == 0 {
                continue;
            }
            let mut bytes = self.block(at)?;
            let mut changed = false;
            for index in 0..per_block {
                let cluster = at as u64 * per_block + index;
                let count = u64::from(self.counts.get(cluster as usize).copied().unwrap_or(0));
                if count <= largest && wrong(refcount(&bytes, index, self.header.refcount_order), count) {
                    set_refcount(&mut bytes, index, self.header.refcount_order, count);
                    changed = true;
                }
            }
            if changed {
                self.file.write_all_at(&bytes, self.blocks[at] & !0x1ff)?;
            }
        }
        Ok(())
    }

    /// The image is in order: it says so.
    fn clear_marks(&mut self) -> io::Result<()> {
        if self.header.version < 3 || self.header.incompatible & (DIRTY | CORRUPT) == 0 {
            return Ok(());
        }
        self.file.write_all_at(&(self.header.incompatible & !(DIRTY | CORRUPT)).to_be_bytes(), 72)?;
        self.file.sync_data()
    }
}

/// "Refcounts": entries of less than a byte begin at its least significant bit.
fn refcount(block: &[u8], index: u64, order: u32) -> u64 {
    if order < 3 {
        let per_byte = 8 >> order;
        let byte = block[(index / per_byte) as usize];
        return u64::from(byte) >> ((index % per_byte) << order) & ((1 << (1 << order)) - 1);
    }
    let width = 1 << (order - 3);
    block[index as usize * width..][..width].iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn set_refcount(block: &mut [u8], index: u64, order: u32, value: u64) {
    if order < 3 {
        let per_byte = 8 >> order;
        let (byte, shift) = (&mut block[(index / per_byte) as usize], (index % per_byte) << order);
        let mask = ((1_u64 << (1 << order)) - 1) << shift;
        *byte = (u64::from(*byte) & !mask | value << shift) as u8;
        return;
    }
    let width = 1 << (order - 3);
    block[index as usize * width..][..width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}

fn read_or_zero(file: &File, offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
    let mut at = offset;
    while !buf.is_empty() {
        match file.read_at(buf, at) {
            Ok(0) => {
                buf.fill(0);
                return Ok(());
            }
            Ok(len) => {
                buf = &mut buf[len..];
                at += len as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn refcounts_of_every_width() {
        for order in 0..=6 {
            let mut block = vec![0; 64];
            let largest = if order == 6 { u64::MAX } else { (1 << (1 << order)) - 1 };
            let entries = (64 * 8) >> order;
            for index in 0..entries {
                set_refcount(&mut block, index, order, if index % 3 == 0 { largest } else { 0 });
            }
            for index in 0..entries {
                assert_eq!(refcount(&block, index, order), if index % 3 == 0 { largest } else { 0 }, "{order} {index}");
            }
        }
        assert_eq!(refcount(&[0b0000_0010], 1, 0), 1);
        assert_eq!(refcount(&[0, 0, 1, 2], 1, 4), 0x102);
    }
}
