//! Commands of a disk ("Command descriptions"), and those that a CD-ROM drive shares with it.

use super::{
    ABRT, CHUNK, Channel, ChannelRegs, Drive, DriveKind, DriveRegs, IDNF, Kind, LBA, Phase, SECTOR, Transfer, identify,
};

/// Values of the registers that let a SMART command through.
const SMART_KEY: [u8; 2] = [0x4f, 0xc2];

/// What a command that moves sectors is like.
struct Sectors {
    kind: Kind,
    /// 48-bit address and 16-bit count.
    wide: bool,
    /// Sectors of a block through the data register; 0 for DMA.
    block: u8,
    durable: bool,
}

const fn sectors(kind: Kind, wide: bool, block: u8) -> Sectors {
    Sectors { kind, wide, block, durable: false }
}

impl Channel {
    /// The guest writes the command register.
    pub(super) fn command(&mut self, regs: &mut ChannelRegs, command: u8) {
        let n = usize::from(regs.selected);
        let Some(Some(kind)) = self.drives.get(n).map(|drive| drive.as_ref().map(|drive| drive.kind)) else { return };
        let busy = regs.drives.iter().any(|drive| drive.phase != Phase::Idle);
        // DEVICE RESET is for packet devices, and for them at any time.
        if command == 0x08 && kind == DriveKind::CdRom {
            if busy {
                self.abandon();
            }
            if let Some(r) = regs.drives.get_mut(n) {
                r.reset(kind);
            }
            return;
        }
        if busy {
            return;
        }
        // EXECUTE DEVICE DIAGNOSTIC is for both.
        if command == 0x90 {
            self.reset_drives(regs);
            regs.selected = false;
            regs.drives[0].interrupt = true;
            return;
        }
        let (Some(Some(drive)), Some(r)) = (self.drives.get(n), regs.drives.get_mut(n)) else { return };
        r.interrupt = false;
        r.failed = false;
        r.error = 0;
        r.ready = true;
        r.stop();
        match kind {
            DriveKind::Disk => r.disk_command(drive, command),
            DriveKind::CdRom => r.cdrom_command(drive, command),
        }
    }
}

impl DriveRegs {
    pub(super) fn abort(&mut self) {
        self.stop();
        self.failed = true;
        self.error = ABRT;
        self.interrupt = true;
    }

    /// Gives the guest the 512 bytes `data`.
    fn reply(&mut self, data: Vec<u8>) {
        self.transfer.drq = SECTOR as usize;
        self.buffer = data;
        self.at = 0;
        self.start_data_in();
    }

    fn disk_command(&mut self, drive: &Drive, command: u8) {
        let multiple = self.settings.multiple;
        match command {
            // RECALIBRATE, SEEK.
            0x10..=0x1f | 0x70..=0x7f => self.complete(),
            0x20 | 0x21 => self.transfer(drive, sectors(Kind::Read, false, 1)),
            0x24 => self.transfer(drive, sectors(Kind::Read, true, 1)),
            0x25 => self.transfer(drive, sectors(Kind::Read, true, 0)),
            0x30 | 0x31 => self.transfer(drive, sectors(Kind::Write, false, 1)),
            0x34 => self.transfer(drive, sectors(Kind::Write, true, 1)),
            0x35 => self.transfer(drive, sectors(Kind::Write, true, 0)),
            0x3d => self.transfer(drive, Sectors { durable: true, ..sectors(Kind::Write, true, 0) }),
            0x40 | 0x41 => self.transfer(drive, sectors(Kind::Verify, false, 0)),
            0x42 => self.transfer(drive, sectors(Kind::Verify, true, 0)),
            0x29 | 0x39 | 0xc4 | 0xc5 | 0xce if multiple == 0 => self.abort(),
            0x29 => self.transfer(drive, sectors(Kind::Read, true, multiple)),
            0x39 => self.transfer(drive, sectors(Kind::Write, true, multiple)),
            0xc4 => self.transfer(drive, sectors(Kind::Read, false, multiple)),
            0xc5 => self.transfer(drive, sectors(Kind::Write, false, multiple)),
            0xce => self.transfer(drive, Sectors { durable: true, ..sectors(Kind::Write, true, multiple) }),
            0xc8 | 0xc9 => self.transfer(drive, sectors(Kind::Read, false, 0)),
            0xca | 0xcb => self.transfer(drive, sectors(Kind::Write, false, 0)),
            // READ NATIVE MAX ADDRESS.
            0x27 => self.native_max(drive, true),
            0xf8 => self.native_max(drive, false),
            // INITIALIZE DEVICE PARAMETERS.
            0x91 if self.count != 0 => {
                self.settings.sectors = self.count;
                self.settings.heads = (self.device & 0xf) + 1;
                self.complete();
            }
            // SET MULTIPLE MODE.
            0xc6 if self.count == 0 || self.count.is_power_of_two() && self.count <= identify::MULTIPLE_MAX => {
                self.settings.multiple = self.count;
                self.complete();
            }
            0xb0 => self.smart(),
            // FLUSH CACHE.
            0xe7 | 0xea => {
                self.transfer.kind = Kind::Flush;
                self.phase = Phase::Host;
            }
            0xec => self.reply(identify::disk(drive, &self.settings)),
            0xa1 => self.abort(),
            _ => self.common_command(command),
        }
    }

    fn cdrom_command(&mut self, drive: &Drive, command: u8) {
        match command {
            0xa0 => self.start_packet(),
            0xa1 => self.reply(identify::cdrom(drive, &self.settings)),
            // IDENTIFY DEVICE, READ SECTORS: they end with the signature, by which the drive is known.
            0xec | 0x20 | 0x90 => {
                self.signature(DriveKind::CdRom);
                self.abort();
            }
            _ => self.common_command(command),
        }
    }

    fn common_command(&mut self, command: u8) {
        match command {
            // STANDBY, IDLE, SLEEP in their older and newer codes.
            0x94..=0x97 | 0x99 | 0xe0..=0xe3 | 0xe6 => {}
            // CHECK POWER MODE: active.
            0x98 | 0xe5 => self.count = 0xff,
            0xef => {
                if self.set_features().is_none() {
                    return self.abort();
                }
            }
            _ => return self.abort(),
        }
        self.complete();
    }

    fn set_features(&mut self) -> Option<()> {
        match self.features {
            0x02 => self.settings.write_cache = true,
            0x82 => self.settings.write_cache = false,
            0xaa => self.settings.look_ahead = true,
            0x55 => self.settings.look_ahead = false,
            // "Set transfer mode": PIO default and 0 to 4, multiword DMA 0 to 2, Ultra DMA 0 to 5.
            0x03 => match self.count {
                0x00 | 0x01 | 0x08..=0x0c | 0x20..=0x22 | 0x40..=0x45 => self.settings.mode = self.count,
                _ => return None,
            },
            // Power management, acoustics, what resets revert: nothing here depends on them.
            0x05 | 0x85 | 0x42 | 0xc2 | 0x66 | 0xcc => {}
            _ => return None,
        }
        Some(())
    }

    fn smart(&mut self) {
        let enabled = self.settings.smart;
        if [self.lba[1], self.lba[2]] != SMART_KEY {
            return self.abort();
        }
        match self.features {
            0xd8 => self.settings.smart = true,
            _ if !enabled => return self.abort(),
            0xd9 => self.settings.smart = false,
            // READ DATA and thresholds: no attributes, revision 1, a checksum over all.
            0xd0 | 0xd1 => {
                let mut data = vec![0; SECTOR as usize];
                data[0] = 1;
                data[511] = 0xff;
                return self.reply(data);
            }
            // Autosave, off-line tests (done at once). RETURN STATUS: the key is left as it is if all is well.
            0xd2 | 0xd4 | 0xda => {}
            _ => return self.abort(),
        }
        self.complete();
    }

    /// The address in the registers.
    fn address(&self, wide: bool) -> Option<u64> {
        let [low, mid, high] = self.lba.map(u64::from);
        let lba24 = low | mid << 8 | high << 16;
        if wide {
            let [low, mid, high] = self.previous.lba.map(u64::from);
            return Some(lba24 | low << 24 | mid << 32 | high << 40);
        }
        let head = u64::from(self.device & 0xf);
        if self.device & LBA != 0 {
            return Some(lba24 | head << 24);
        }
        let (heads, sectors) = (u64::from(self.settings.heads), u64::from(self.settings.sectors));
        if low == 0 || low > sectors || head >= heads {
            return None;
        }
        Some(((mid | high << 8) * heads + head) * sectors + low - 1)
    }

    fn native_max(&mut self, drive: &Drive, wide: bool) {
        let limit = if wide { 1 << 48 } else { 1 << 28 };
        let last = drive.sectors().min(limit).saturating_sub(1).to_le_bytes();
        self.lba = [last[0], last[1], last[2]];
        if wide {
            self.previous.lba = [last[3], last[4], last[5]];
        } else {
            self.device = self.device & 0xf0 | last[3] & 0xf;
        }
        self.complete();
    }

    /// Starts a command that moves sectors.
    fn transfer(&mut self, drive: &Drive, what: Sectors) {
        let count = match (what.wide, self.count, self.previous.count) {
            (false, 0, _) => 0x100,
            (true, 0, 0) => 0x1_0000,
            (false, low, _) => low.into(),
            (true, low, high) => u64::from(high) << 8 | u64::from(low),
        };
        let start = self.address(what.wide);
        let end = start.and_then(|start| start.checked_add(count)).filter(|end| *end <= drive.sectors());
        let (Some(start), Some(_)) = (start, end) else {
            self.transfer.offset = start.unwrap_or(0).saturating_mul(SECTOR);
            return self.fail(IDNF);
        };
        let is_write = what.kind == Kind::Write;
        if is_write && drive.medium.as_ref().is_some_and(|dev| dev.read_only()) {
            return self.abort();
        }
        let dma = what.block == 0 && what.kind != Kind::Verify;
        let drq = u64::from(what.block.max(1)) * SECTOR;
        self.transfer = Transfer {
            kind: what.kind,
            offset: start * SECTOR,
            left: count * SECTOR,
            block: if is_write && !dma { drq } else { CHUNK },
            drq: drq as usize,
            dma,
            packet: false,
            durable: is_write && (what.durable || !self.settings.write_cache),
        };
        if !is_write {
            self.phase = Phase::Host;
        } else if dma {
            self.phase = Phase::Dma;
        } else {
            self.start_data_out(false);
        }
    }
}
