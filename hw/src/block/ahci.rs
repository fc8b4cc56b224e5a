//! A port of an AHCI controller with at most one drive. Serial ATA AHCI 1.3.1 Specification; section titles are its. Frames
//! ("FIS") are those of Serial ATA revision 3.0, 10.3.
//!
//! The drive is an IDE channel's ([`super::ide::sata`]). Deviation: it does one command after the other, queued ones too, in
//! the order in which the port takes them; frames that announce data of queued commands are left out.

use super::ide::sata::{Regions, TaskFile};
use super::ide::{Channel, ChannelRegs, Drive, DriveKind};
use crate::virtio::Wake;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use vm::blockdev::BlockDev;
use vm::{AddressSpace, BadState, Regs};
use vm_memory::{Bytes, GuestAddress};

/// Bytes of a port's registers.
pub const LEN: u64 = 0x80;
/// Commands that a port's list has.
pub const SLOTS: u8 = 32;

// "Port Registers (one set per port)".
const CLB: u64 = 0x00;
const CLBU: u64 = 0x04;
const FB: u64 = 0x08;
const FBU: u64 = 0x0c;
const IS: u64 = 0x10;
const IE: u64 = 0x14;
const CMD: u64 = 0x18;
const TFD: u64 = 0x20;
const SIG: u64 = 0x24;
const SSTS: u64 = 0x28;
const SCTL: u64 = 0x2c;
const SERR: u64 = 0x30;
const SACT: u64 = 0x34;
const CI: u64 = 0x38;

// PxIS and PxIE.
const DHRS: u32 = 1 << 0;
const PSS: u32 = 1 << 1;
const SDBS: u32 = 1 << 3;
const IFS: u32 = 1 << 27;
const HBFS: u32 = 1 << 29;
const TFES: u32 = 1 << 30;
const INTERRUPTS: u32 = 0xfdc0_00ff;

// PxCMD.
const ST: u32 = 1 << 0;
const SUD: u32 = 1 << 1;
const POD: u32 = 1 << 2;
const CLO: u32 = 1 << 3;
const FRE: u32 = 1 << 4;
const FR: u32 = 1 << 14;
const CR: u32 = 1 << 15;
const ATAPI: u32 = 1 << 24;
const CMD_WRITABLE: u32 = ST | FRE | ATAPI | 1 << 25 | 1 << 26 | 1 << 27;

// PxTFD: the drive's status register.
const BSY: u8 = 1 << 7;
const DRDY: u8 = 1 << 6;
const DRQ: u8 = 1 << 3;
const ERR: u8 = 1 << 0;

/// PxSCTL.DET: resets the drive while it is set; takes it off the interface.
const DET_RESET: u32 = 1;
const DET_OFFLINE: u32 = 4;
/// PxSSTS: a drive is there, 1.5 Gb/s, active.
const PRESENT: u32 = 0x113;

// "Command List Structure": bytes of a header; words of the first of them.
const HEADER_LEN: u64 = 32;
/// "Command Table": where the packet is, and the descriptors.
const PACKET: usize = 0x40;
const PRDT: u64 = 0x80;

// "Received FIS Structure".
const RX_PIO: u64 = 0x20;
const RX_REGISTERS: u64 = 0x40;
const RX_BITS: u64 = 0x58;
// Types of frames.
const TO_DEVICE: u8 = 0x27;
const TO_HOST: u8 = 0x34;
const PIO_SETUP: u8 = 0x5f;
const DEVICE_BITS: u8 = 0xa1;
/// A frame from the drive that interrupts; of data that travel to the host.
const INTERRUPT: u8 = 1 << 6;
const DIRECTION: u8 = 1 << 5;
/// A frame to the drive that carries a command, not device control.
const COMMAND: u8 = 1 << 7;
/// In device control.
const SRST: u8 = 1 << 2;

/// A command that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Running {
    slot: u8,
    /// Its number, if it is queued.
    tag: Option<u8>,
}

/// The registers of a port.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRegs {
    clb: u64,
    fb: u64,
    is: u32,
    ie: u32,
    cmd: u32,
    sctl: u32,
    serr: u32,
    sact: u32,
    ci: u32,
    status: u8,
    error: u8,
    running: Option<Running>,
    /// Where to look for the next command.
    next: u8,
    /// A command has failed, and the port waits to be stopped.
    halted: bool,
    /// Device control was written with its reset bit.
    srst: bool,
    /// The drive's first frame after a reset waits until frames can be received.
    signature: bool,
    channel: ChannelRegs,
}

impl Regs for PortRegs {
    fn validate(&self) -> Result<(), BadState> {
        match self.running {
            Some(Running { slot, tag }) if slot >= SLOTS || tag.is_some_and(|tag| tag >= SLOTS) => {
                Err(BadState(format!("slot {slot} of a command list")))
            }
            _ => self.channel.validate(),
        }
    }
}

/// A port, without registers.
pub struct Port {
    channel: Channel,
    memory: Arc<AddressSpace>,
}

impl Port {
    /// A port that reaches the RAM of `memory`. Its drive waits for the host on a thread unless `synchronous`.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn new(drive: Option<Drive>, memory: Arc<AddressSpace>, synchronous: bool) -> io::Result<Self> {
        Ok(Self { channel: Channel::sata(drive, memory.clone(), synchronous)?, memory })
    }

    /// How to wake the controller's cell when the host's disk has answered.
    pub fn connect(&self, wake: Wake) {
        self.channel.connect(wake);
    }

    /// The registers at power-on.
    pub fn power_on(&self) -> PortRegs {
        let mut regs = PortRegs { channel: self.channel.power_on(), cmd: SUD | POD, ..Default::default() };
        self.show_signature(&mut regs);
        regs
    }

    /// Resets everything; `keep` leaves the addresses of the lists, as a reset of the controller does.
    pub fn reset(&mut self, r: &mut PortRegs, keep: bool) {
        self.channel.reset(&mut r.channel);
        let channel = std::mem::take(&mut r.channel);
        let (clb, fb) = if keep { (r.clb, r.fb) } else { (0, 0) };
        *r = PortRegs { channel, clb, fb, ..self.power_on() };
    }

    /// Puts another disc into its CD-ROM drive, or takes it out. `false` if there is no such drive.
    pub fn set_disc(&mut self, r: &mut PortRegs, disc: Option<Arc<dyn BlockDev>>) -> bool {
        self.channel.set_disc(&mut r.channel, 0, disc)
    }

    /// Waits until nothing is under way at the host, so that a snapshot can be taken.
    pub fn drain(&mut self, r: &mut PortRegs) {
        self.channel.drain(&mut r.channel);
    }

    /// Some cause of an interrupt is enabled.
    pub fn interrupts(&self, r: &PortRegs) -> bool {
        r.is & r.ie != 0
    }

    /// The drive is reset: what the registers show, until its first frame is received and after that.
    fn show_signature(&self, r: &mut PortRegs) {
        let result = self.channel.result(&r.channel);
        (r.status, r.error) = match self.channel.kind() {
            Some(_) => (result.command, result.features as u8),
            None => (0x7f, 0),
        };
        (r.running, r.halted, r.srst) = (None, false, false);
        r.signature = self.channel.kind().is_some();
    }

    fn com_reset(&mut self, r: &mut PortRegs) {
        self.channel.reset(&mut r.channel);
        (r.ci, r.sact) = (0, 0);
        self.show_signature(r);
    }

    /// The drive can be talked to.
    fn is_online(&self, r: &PortRegs) -> bool {
        self.channel.kind().is_some() && r.sctl & 0xf == 0
    }

    /// Reads the register at `offset`.
    pub fn read(&self, r: &PortRegs, offset: u64) -> u32 {
        match offset {
            CLB => r.clb as u32,
            CLBU => (r.clb >> 32) as u32,
            FB => r.fb as u32,
            FBU => (r.fb >> 32) as u32,
            IS => r.is,
            IE => r.ie,
            CMD => {
                let slot = r.running.map_or(0, |running| running.slot);
                let mirrors = if r.cmd & ST != 0 { CR } else { 0 } | if r.cmd & FRE != 0 { FR } else { 0 };
                r.cmd | mirrors | u32::from(slot) << 8
            }
            TFD => u32::from(r.error) << 8 | u32::from(r.status),
            SIG => match self.channel.kind().filter(|_| !r.signature) {
                Some(DriveKind::Disk) => 0x0000_0101,
                Some(DriveKind::CdRom) => 0xeb14_0101,
                None => 0xffff_ffff,
            },
            SSTS => match r.sctl & 0xf {
                0 if self.channel.kind().is_some() => PRESENT,
                DET_OFFLINE => DET_OFFLINE,
                _ => 0,
            },
            SCTL => r.sctl,
            SERR => r.serr,
            SACT => r.sact,
            CI => r.ci,
            _ => 0,
        }
    }

    /// Writes the register at `offset`.
    pub fn write(&mut self, r: &mut PortRegs, offset: u64, value: u32) {
        let low = |old: u64, mask: u32| old & !0xffff_ffff | u64::from(value & mask);
        let high = |old: u64| old & 0xffff_ffff | u64::from(value) << 32;
        match offset {
            CLB => r.clb = low(r.clb, !0x3ff),
            CLBU => r.clb = high(r.clb),
            FB => r.fb = low(r.fb, !0xff),
            FBU => r.fb = high(r.fb),
            IS => r.is &= !value,
            IE => r.ie = value & INTERRUPTS,
            CMD => self.write_cmd(r, value),
            SCTL => {
                let old = r.sctl & 0xf;
                r.sctl = value & 0xfff;
                if r.sctl & 0xf == DET_RESET || old == DET_OFFLINE && r.sctl & 0xf == 0 {
                    self.com_reset(r);
                }
            }
            SERR => r.serr &= !value,
            // "PxSACT", "PxCI": bits are set by software, and only while the port runs.
            SACT if r.cmd & ST != 0 => r.sact |= value,
            CI if r.cmd & ST != 0 => r.ci |= value,
            _ => {}
        }
    }

    fn write_cmd(&mut self, r: &mut PortRegs, value: u32) {
        let stops = r.cmd & ST != 0 && value & ST == 0;
        r.cmd = r.cmd & !CMD_WRITABLE | value & CMD_WRITABLE;
        if stops {
            if r.running.take().is_some() {
                self.channel.give_up(&mut r.channel);
            }
            (r.ci, r.sact, r.next, r.halted) = (0, 0, 0, false);
            r.status &= !(BSY | DRQ);
        }
        if value & CLO != 0 && r.cmd & ST == 0 {
            r.status &= !(BSY | DRQ);
        }
    }

    /// Takes the host's answers, and does the commands that wait. For the controller's `update`.
    pub fn update(&mut self, r: &mut PortRegs) {
        if r.signature && r.cmd & FRE != 0 && self.is_online(r) {
            r.signature = false;
            self.receive_registers(r);
        }
        // Each waiting command once: no guest adds any meanwhile.
        for _ in 0..=SLOTS {
            self.channel.update(&mut r.channel);
            if let Some(running) = r.running {
                if self.channel.is_busy(&r.channel) {
                    return;
                }
                r.running = None;
                self.complete(r, running);
            }
            let Some(slot) = self.next_slot(r) else { return };
            r.next = (slot + 1) % SLOTS;
            self.start(r, slot);
        }
    }

    /// The next waiting command, in turn.
    fn next_slot(&self, r: &PortRegs) -> Option<u8> {
        let ready = r.cmd & ST != 0 && !r.halted && !r.signature && self.is_online(r);
        let waiting = (0..SLOTS).map(|n| (r.next + n) % SLOTS).find(|slot| r.ci >> slot & 1 != 0);
        waiting.filter(|_| ready && r.status & (BSY | DRQ) == 0)
    }

    fn header(r: &PortRegs, slot: u8) -> u64 {
        r.clb.wrapping_add(u64::from(slot) * HEADER_LEN)
    }

    /// Fetches the command in `slot` and gives it to the drive.
    fn start(&mut self, r: &mut PortRegs, slot: u8) {
        let memory = self.memory.dma();
        let (mut header, mut table) = ([0; 16], [0; PACKET + 16]);
        let read = memory.read_slice(&mut header, GuestAddress(Self::header(r, slot)));
        let [_, _, p0, p1, _, _, _, _, t0, t1, t2, t3, t4, t5, t6, t7] = header;
        let at = u64::from_le_bytes([t0 & 0x80, t1, t2, t3, t4, t5, t6, t7]);
        let read = read.and_then(|()| memory.read_slice(&mut table, GuestAddress(at)));
        if read.is_err() {
            vm::log!(GuestError, "ahci: the command in slot {slot} is not in RAM");
            r.is |= HBFS;
            r.halted = true;
            return;
        }
        let [kind, flags, command, features, l0, l1, l2, device, l3, l4, l5, features_exp, c0, c1, _, control, ..] =
            table;
        let task = TaskFile {
            command,
            features: u16::from_le_bytes([features, features_exp]),
            lba: [l0, l1, l2, l3, l4, l5],
            device,
            count: u16::from_le_bytes([c0, c1]),
        };
        // Nobody but the drive itself is behind the port: no port multiplier.
        if kind != TO_DEVICE || flags & 0xf != 0 {
            r.is |= IFS;
            r.halted = true;
            return;
        }
        if flags & COMMAND == 0 {
            r.ci &= !(1 << slot);
            return self.device_control(r, control);
        }
        let disk = self.channel.kind() == Some(DriveKind::Disk);
        let tag = task.tag().filter(|_| disk);
        match tag {
            // "Native Queued Commands": the slot is free for the drive once the command is accepted.
            Some(_) => r.ci &= !(1 << slot),
            None => r.status = BSY | DRDY,
        }
        r.running = Some(Running { slot, tag });
        let mut packet = [0; 16];
        packet.copy_from_slice(&table[PACKET..]);
        let regions = Regions { list: at.wrapping_add(PRDT), entries: u16::from_le_bytes([p0, p1]) };
        self.channel.issue(&mut r.channel, task, &packet, regions);
    }

    /// "Software Reset": a frame with the bit, and one without it, after which the drive shows what it is.
    fn device_control(&mut self, r: &mut PortRegs, control: u8) {
        let reset = control & SRST != 0;
        if std::mem::replace(&mut r.srst, reset) && !reset {
            self.channel.software_reset(&mut r.channel);
            r.sact = 0;
            self.show_signature(r);
            // Sent by the next update, which is under way if frames are received.
            if r.cmd & FRE != 0 {
                r.signature = false;
                self.receive_registers(r);
            }
        }
    }

    /// The drive has ended a command.
    fn complete(&mut self, r: &mut PortRegs, Running { slot, tag }: Running) {
        let result = self.channel.result(&r.channel);
        let failed = result.command & ERR != 0;
        (r.status, r.error) = (result.command, result.features as u8);
        let moved = self.channel.moved(&r.channel);
        let count = Self::header(r, slot).wrapping_add(4);
        if tag.is_none() && self.memory.dma().write_slice(&moved.to_le_bytes(), GuestAddress(count)).is_err() {
            r.is |= HBFS;
        }
        match tag {
            Some(tag) => {
                let done = if failed { 0 } else { 1_u32 << (tag % SLOTS) };
                r.sact &= !done;
                let [b0, b1, b2, b3] = done.to_le_bytes();
                let status = r.status & 0x77;
                self.receive(r, RX_BITS, &[DEVICE_BITS, INTERRUPT, status, r.error, b0, b1, b2, b3]);
                r.is |= SDBS;
            }
            None if self.channel.sent(&r.channel) && !failed => {
                let mut frame = frame(PIO_SETUP, INTERRUPT | DIRECTION, &result);
                frame[15] = r.status;
                [frame[16], frame[17], ..] = moved.to_le_bytes();
                self.receive(r, RX_PIO, &frame);
                r.is |= PSS;
            }
            None => self.receive_registers(r),
        }
        if failed {
            // "Error Recovery": the command stays where it is until software stops the port.
            r.is |= TFES;
            r.halted = true;
        } else if tag.is_none() {
            r.ci &= !(1 << slot);
        }
    }

    /// A frame with the drive's registers arrives.
    fn receive_registers(&mut self, r: &mut PortRegs) {
        let result = self.channel.result(&r.channel);
        self.receive(r, RX_REGISTERS, &frame(TO_HOST, INTERRUPT, &result));
        r.is |= DHRS;
    }

    /// Writes a frame to where software has its place.
    fn receive(&self, r: &mut PortRegs, offset: u64, frame: &[u8]) {
        let at = GuestAddress(r.fb.wrapping_add(offset));
        if r.cmd & FRE != 0 && self.memory.dma().write_slice(frame, at).is_err() {
            r.is |= HBFS;
        }
    }
}

/// A frame with the drive's registers.
fn frame(kind: u8, flags: u8, r: &TaskFile) -> [u8; 20] {
    let [l0, l1, l2, l3, l4, l5] = r.lba;
    let [c0, c1] = r.count.to_le_bytes();
    let error = r.features as u8;
    [kind, flags, r.command, error, l0, l1, l2, r.device, l3, l4, l5, 0, c0, c1, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests;
