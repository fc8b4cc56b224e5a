//! "Command set/descriptions".

use super::*;

// Flags of the first byte.
const MULTI_TRACK: u8 = 1 << 7;

/// What a data command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    /// Reads without giving the data.
    Verify,
    Format,
}

/// The kind of command `code`, if it moves data.
fn kind(code: u8) -> Option<Kind> {
    Some(match code & 0x1f {
        0x02 | 0x06 | 0x0c => Kind::Read,
        0x05 | 0x09 => Kind::Write,
        0x16 => Kind::Verify,
        0x0d => Kind::Format,
        _ => return None,
    })
}

/// Bytes of a command that starts with `code`.
pub(super) fn len(code: u8) -> usize {
    match code & 0x1f {
        0x02 | 0x05 | 0x06 | 0x09 | 0x0c | 0x16 => 9,
        0x03 => 3,
        0x04 | 0x07 | 0x0a | 0x12 => 2,
        0x0d => 6,
        0x0f => 3,
        0x13 => 4,
        _ => 1,
    }
}

/// Why a data command ended early: bits of status registers 1 and 2.
type Failure = (u8, u8);

impl Fdc {
    fn byte(&self, n: usize) -> u8 {
        self.regs.bytes.get(n).copied().unwrap_or(0)
    }

    /// The drive that the command names.
    fn drive(&self) -> usize {
        usize::from(self.byte(1) & 3)
    }

    /// The command is complete.
    pub(super) fn execute(&mut self) {
        let code = self.byte(0);
        match code & 0x1f {
            0x02 | 0x05 | 0x06 | 0x09 | 0x0c | 0x0d | 0x16 => self.start_data(),
            // SPECIFY.
            0x03 => {
                self.regs.specify = [self.byte(1), self.byte(2)];
                self.finish(&[], false);
            }
            // SENSE DRIVE STATUS: write protection, track 0, two sides.
            0x04 => {
                let n = self.drive();
                let protected = self.disks.get(n).and_then(Option::as_ref).is_some_and(|disk| disk.read_only());
                let at_0 = self.regs.drives.get(n).is_some_and(|drive| drive.track == 0);
                let st3 = 0x28 | u8::from(protected) << 6 | u8::from(at_0) << 4 | self.byte(1) & 7;
                self.finish(&[st3], false);
            }
            // RECALIBRATE.
            0x07 => self.seek(0, false),
            // SENSE INTERRUPT STATUS.
            0x08 => {
                self.regs.interrupt = false;
                let waiting = self.regs.sense.iter().position(Option::is_some);
                match waiting.and_then(|n| Some((n, self.regs.sense[n].take()?))) {
                    Some((n, st0)) => {
                        let track = self.regs.drives.get(n).map_or(0, |drive| drive.track);
                        self.finish(&[st0, track], false);
                    }
                    None => self.finish(&[ST0_INVALID], false),
                }
            }
            0x0a => self.read_id(),
            // DUMPREG.
            0x0e => {
                let r = &self.regs;
                let tracks = r.drives.each_ref().map(|drive| drive.track);
                let lock = u8::from(r.lock) << 7 | r.perpendicular & 0x7f;
                let result =
                    [tracks[0], tracks[1], 0, 0, r.specify[0], r.specify[1], 0, lock, r.configure[0], r.configure[1]];
                self.finish(&result, false);
            }
            0x0f => {
                let track = self.byte(2);
                // RELATIVE SEEK has the direction in bit 6.
                let now = self.regs.drives.get(self.drive()).map_or(0, |drive| drive.track);
                let to = match code & 0xc0 {
                    0x80 => now.saturating_sub(track),
                    0xc0 => now.saturating_add(track),
                    _ => track,
                };
                self.seek(to, true);
            }
            // VERSION: an enhanced controller.
            0x10 => self.finish(&[0x90], false),
            // PERPENDICULAR MODE. The drives' bits are written only if the highest bit says so.
            0x12 => {
                let value = self.byte(1);
                let old = self.regs.perpendicular;
                self.regs.perpendicular = if value & 0x80 != 0 { value & 0x3f } else { old & 0x3c | value & 3 };
                self.finish(&[], false);
            }
            // CONFIGURE.
            0x13 => {
                self.regs.configure = [self.byte(2), self.byte(3)];
                self.finish(&[], false);
            }
            // LOCK.
            0x14 => {
                self.regs.lock = code & 0x80 != 0;
                self.finish(&[u8::from(self.regs.lock) << 4], false);
            }
            _ => self.finish(&[ST0_INVALID], false),
        }
    }

    fn seek(&mut self, track: u8, with_head: bool) {
        let n = self.drive();
        let head = if with_head { self.byte(1) & 4 } else { 0 };
        let present = self.disks.get(n).is_some_and(Option::is_some);
        let mut st0 = ST0_SEEK_END | head | n as u8;
        match self.regs.drives.get_mut(n) {
            Some(drive) => {
                // "Disk change line": the first step with a disk in the drive takes it back. Deviation: a seek to where the
                // head is does so too.
                drive.changed &= !present;
                drive.track = track;
            }
            // "Equipment check": track 0 is never found.
            None => st0 |= ST0_ABNORMAL | ST0_EQUIPMENT,
        }
        self.finish(&[], true);
        self.regs.sense[n] = Some(st0);
    }

    fn read_id(&mut self) {
        let (n, head) = (self.drive(), self.byte(1) >> 2 & 1);
        let track = self.regs.drives.get(n).map_or(0, |drive| drive.track);
        let found = self.disk(n).filter(|(_, format)| {
            format.rates >> self.regs.rate & 1 != 0 && track < format.tracks && head < format.heads
        });
        let st0 = self.byte(1) & 7;
        match found {
            Some(_) => self.finish(&[st0, 0, 0, track, head, 1, 2], true),
            None => self.finish(&[st0 | ST0_ABNORMAL, ST1_NO_ADDRESS, 0, track, head, 1, 2], true),
        }
    }

    /// Data goes by DMA unless SPECIFY says otherwise.
    fn by_dma(&self) -> bool {
        self.regs.specify[1] & 1 == 0
    }

    fn start_data(&mut self) {
        let Some(kind) = kind(self.byte(0)) else { return };
        let n = self.drive();
        let track = self.byte(2);
        // "Implied seeks".
        if self.regs.configure[0] & 0x40 != 0
            && kind != Kind::Format
            && let Some(drive) = self.regs.drives.get_mut(n)
        {
            drive.track = track;
        }
        if let Err(failure) = self.check(kind) {
            return self.end_data(failure);
        }
        let result = match (self.by_dma(), kind) {
            (_, Kind::Verify) => self.by_sectors(kind),
            (true, Kind::Format) => self.format_by_dma(),
            (true, _) => self.by_sectors(kind),
            (false, _) => self.start_block(kind),
        };
        match result {
            Ok(true) => self.end_data((0, 0)),
            Ok(false) => {}
            Err(failure) => self.end_data(failure),
        }
    }

    /// Whether there is a disk that the command can be done with.
    fn check(&self, kind: Kind) -> Result<(), Failure> {
        let n = self.drive();
        let (disk, format) = self.disk(n).ok_or((ST1_NO_ADDRESS, 0))?;
        if format.rates >> self.regs.rate & 1 == 0 {
            return Err((ST1_NO_ADDRESS, 0));
        }
        if matches!(kind, Kind::Write | Kind::Format) && disk.read_only() {
            return Err((ST1_PROTECTED, 0));
        }
        let track = self.regs.drives.get(n).map_or(0, |drive| drive.track);
        // N, the size: 2 is 512 bytes. "Wrong cylinder".
        let size = if kind == Kind::Format { self.byte(2) } else { self.byte(5) };
        if size != 2 {
            return Err((ST1_NO_DATA, 0));
        }
        if kind != Kind::Format && self.byte(2) != track {
            return Err((ST1_NO_DATA, 0x10));
        }
        Ok(())
    }

    /// Where the sector that the command's bytes name is on the disk, in bytes.
    fn position(&self) -> Result<(Arc<dyn BlockDev>, u64), Failure> {
        let (disk, format) = self.disk(self.drive()).ok_or((ST1_NO_ADDRESS, 0))?;
        let sector = format.sector(self.byte(2), self.byte(3), self.byte(4)).ok_or((ST1_NO_DATA, 0))?;
        Ok((disk.clone(), sector * SECTOR as u64))
    }

    fn read_sector(&self, data: &mut [u8]) -> Result<(), Failure> {
        let (disk, at) = self.position()?;
        disk.read_at(at, data).map_err(|error| {
            vm::log!(GuestError, "fdc: {error}");
            (ST1_DATA_ERROR, 0x20)
        })
    }

    fn write_sector(&self, data: &[u8]) -> Result<(), Failure> {
        let (disk, at) = self.position()?;
        disk.write_at(at, data).map_err(|error| {
            vm::log!(GuestError, "fdc: {error}");
            (ST1_DATA_ERROR, 0x20)
        })
    }

    /// Goes on to the next sector. `false` after the last one of the track (or of the cylinder with MT).
    fn next_sector(&mut self) -> bool {
        let (multi, last) = (self.byte(0) & MULTI_TRACK != 0, self.byte(6));
        let Some([track, head, sector]) = self.regs.bytes.get_mut(2..5) else { return false };
        if *sector < last {
            *sector += 1;
            return true;
        }
        // "Result phase": where the next sector would be.
        *sector = 1;
        if multi && *head == 0 {
            *head = 1;
            return true;
        }
        *track = track.wrapping_add(1);
        if multi {
            *head = 0;
        }
        false
    }

    /// All sectors by DMA, until the channel's terminal count. `Ok(true)`: the command has ended.
    fn by_sectors(&mut self, kind: Kind) -> Result<bool, Failure> {
        let mut data = [0; SECTOR];
        if kind == Kind::Verify {
            loop {
                self.read_sector(&mut data)?;
                if !self.next_sector() {
                    return Ok(true);
                }
            }
        }
        let Some(dma) = self.dma.clone() else { return Err((ST1_OVERRUN, 0)) };
        loop {
            let moved = if kind == Kind::Read {
                self.read_sector(&mut data)?;
                dma.to_memory(&data)
            } else {
                self.position()?;
                data.fill(0);
                let moved = dma.from_memory(&mut data);
                if moved.bytes != 0 {
                    self.write_sector(&data)?;
                }
                moved
            };
            if moved.bytes == 0 {
                return Err((ST1_OVERRUN, 0));
            }
            let more = self.next_sector();
            if moved.terminal_count {
                return Ok(true);
            }
            if !more {
                return Err((ST1_END, 0));
            }
        }
    }

    /// "FORMAT TRACK": four bytes name each sector, which is filled.
    fn format_by_dma(&mut self) -> Result<bool, Failure> {
        let Some(dma) = self.dma.clone() else { return Err((ST1_OVERRUN, 0)) };
        for _ in 0..self.byte(3) {
            let mut id = [0; 4];
            let moved = dma.from_memory(&mut id);
            if moved.bytes < id.len() {
                return Err((ST1_OVERRUN, 0));
            }
            self.format_sector(id)?;
            if moved.terminal_count {
                break;
            }
        }
        Ok(true)
    }

    fn format_sector(&self, [track, head, sector, _]: [u8; 4]) -> Result<(), Failure> {
        let (disk, format) = self.disk(self.drive()).ok_or((ST1_NO_ADDRESS, 0))?;
        // Deviation: a disk keeps its format; sectors that it does not have are lost.
        if let Some(n) = format.sector(track, head, sector) {
            disk.write_at(n * SECTOR as u64, &[self.byte(5); SECTOR]).map_err(|_| (ST1_DATA_ERROR, 0))?;
        }
        Ok(())
    }

    /// Without DMA: the guest is to move the next block.
    fn start_block(&mut self, kind: Kind) -> Result<bool, Failure> {
        let mut data = vec![0; if kind == Kind::Format { 4 } else { SECTOR }];
        match kind {
            Kind::Read => self.read_sector(&mut data)?,
            Kind::Format if self.byte(3) == 0 => return Ok(true),
            Kind::Format | Kind::Verify => {}
            Kind::Write => _ = self.position()?,
        }
        let r = &mut self.regs;
        (r.data, r.at) = (data, 0);
        r.phase = if kind == Kind::Read { Phase::Read } else { Phase::Write };
        r.interrupt = true;
        Ok(false)
    }

    /// Without DMA: the guest has moved a block. Deviation: the end of the track is the end of the command, as if the
    /// terminal count had come with it.
    pub(super) fn end_block(&mut self) {
        let Some(kind) = kind(self.byte(0)) else { return self.finish(&[ST0_INVALID], false) };
        let data = std::mem::take(&mut self.regs.data);
        self.regs.interrupt = false;
        let done = match kind {
            Kind::Format => {
                let id = data.first_chunk().copied().unwrap_or_default();
                let done = self.format_sector(id);
                if let Some(left) = self.regs.bytes.get_mut(3) {
                    *left = left.saturating_sub(1);
                }
                done
            }
            Kind::Write => self.write_sector(&data),
            Kind::Read | Kind::Verify => Ok(()),
        };
        let next = done.and_then(|()| {
            let more = kind == Kind::Format || self.next_sector();
            if more { self.start_block(kind) } else { Ok(true) }
        });
        match next {
            Ok(true) => self.end_data((0, 0)),
            Ok(false) => {}
            Err(failure) => self.end_data(failure),
        }
    }

    /// The result of a data command.
    fn end_data(&mut self, (st1, st2): Failure) {
        let abnormal = if (st1, st2) == (0, 0) { 0 } else { ST0_ABNORMAL };
        let head = if kind(self.byte(0)) == Some(Kind::Format) { self.byte(1) & 4 } else { (self.byte(3) & 1) << 2 };
        let st0 = abnormal | self.byte(1) & 3 | head;
        let result = [st0, st1, st2, self.byte(2), self.byte(3), self.byte(4), self.byte(5)];
        self.finish(&result, true);
    }
}
