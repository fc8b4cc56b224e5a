//! Tests of the card through its registers.

use super::*;
use crate::pci::testing::Machine;
use crate::testing::{Poke, check_reset, check_save_load, hammer};
use std::collections::VecDeque;
use std::sync::{Mutex, OnceLock};
use vm::{Part, Ram};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const RX_RING: u64 = 0x1000;
const TX_RING: u64 = 0x2000;
const BUFFERS: u64 = 0x1_0000;

type Wake = Box<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Cable {
    sent: Mutex<Vec<Vec<u8>>>,
    waiting: Mutex<VecDeque<Vec<u8>>>,
    wake: OnceLock<Wake>,
}

impl NetDev for Cable {
    fn send(&self, frame: &[u8]) {
        self.sent.lock().unwrap().push(frame.into());
    }
    fn receive(&self, frame: &mut Vec<u8>) -> bool {
        frame.clear();
        let next = self.waiting.lock().unwrap().pop_front();
        next.map(|next| frame.extend(next)).is_some()
    }
    fn on_receive(&self, wake: Wake) {
        let _ = self.wake.set(wake);
    }
}

struct Bench {
    machine: Machine,
    ram: Arc<Ram>,
    cell: Arc<DeviceCell<E1000>>,
    cable: Arc<Cable>,
}

fn bench() -> Bench {
    let (machine, ram) = Machine::with_ram(0x10_0000);
    let cable = Arc::new(Cable::default());
    let cell = E1000::cell(machine.bus.slot(3, 0), cable.clone(), MAC);
    assert!(machine.bus.plug(&cell));
    machine.bus.write_config(24, 4, 2, 7);
    Bench { machine, ram, cell, cable }
}

impl Bench {
    fn r(&self, register: u32) -> u32 {
        self.cell.r(register.into()) as u32
    }
    fn w(&self, register: u32, value: u32) {
        self.cell.w(register.into(), value.into());
    }
    fn irq(&self) -> bool {
        self.machine.pirqs.get(2)
    }
    fn push(&self, frame: &[u8]) {
        self.cable.waiting.lock().unwrap().push_back(frame.into());
        self.cable.wake.get().unwrap()();
    }
    fn sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.cable.sent.lock().unwrap())
    }
    /// Eight descriptors to receive to, with buffers of 2048 bytes.
    fn start_receiving(&self, control: u32) {
        for n in 0..8 {
            self.ram.store(RX_RING + n * 16, 8, BUFFERS + n * 2048).unwrap();
            self.ram.store(RX_RING + n * 16 + 8, 8, 0).unwrap();
        }
        for (register, value) in
            [(RDBAL, RX_RING as u32), (RDBAH, 0), (RDLEN, 128), (RDH, 0), (RDT, 7), (RCTL, control)]
        {
            self.w(register, value);
        }
    }
    /// Puts descriptors at the tail and tells the card.
    fn transmit(&self, descriptors: &[[u32; 4]]) {
        for (register, value) in [(TDBAL, TX_RING as u32), (TDBAH, 0), (TDLEN, 256), (TCTL, 2)] {
            self.w(register, value);
        }
        let mut tail = self.r(TDT);
        for words in descriptors {
            for (n, word) in (0..).zip(words) {
                self.ram.store(TX_RING + u64::from(tail) * 16 + n * 4, 4, (*word).into()).unwrap();
            }
            tail = (tail + 1) % 16;
        }
        self.w(TDT, tail);
    }
    fn frame(&self, bytes: &[u8]) {
        self.ram.write(BUFFERS, bytes).unwrap();
    }
}

fn to(address: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|n| n as u8).collect();
    frame[..6].copy_from_slice(&address);
    frame
}

#[test]
fn registers() {
    let b = bench();
    assert_eq!(b.machine.bus.read_config(24, 0, 4), 0x100e_8086);
    for (register, value) in
        [(STATUS, 0x283), (ICR, 0), (IMS, 0), (RAL0, 0x1200_5452), (RAH0, 0x8000_5634), (0x8000, 0)]
    {
        assert_eq!(b.r(register), value, "{register:#x}");
    }
    b.w(IMS, 0x85);
    b.w(ICS, 4);
    assert!(b.irq());
    assert_eq!((b.r(ICR), b.irq(), b.r(ICR)), (4, false, 0));
    b.w(IMC, 4);
    b.w(ICS, 4);
    assert_eq!((b.r(IMS), b.irq()), (0x81, false));
    b.w(ICR, 4);
    b.w(IMS, 4);
    assert!(!b.irq());
    // The ports.
    let at = |offset| Access { window: PORTS, offset, width: 4 };
    vm::MmioPort::write(&*b.cell, at(0), RAL0.into()).unwrap();
    assert_eq!(vm::MmioPort::read(&*b.cell, at(4)), Ok(0x1200_5452));
    b.w(CTRL, CTRL_RST);
    assert_eq!((b.r(IMS), b.machine.bus.read_config(24, 4, 2)), (0, 7));
}

#[test]
fn eeprom_and_phy() {
    let b = bench();
    b.w(EERD, 0x101);
    assert_eq!(b.r(EERD), 0x1200_0110);
    // Bit by bit: all words, whose sum is known.
    let clock = |bit: u32| {
        b.w(EECD, 0x42 | bit << 2);
        b.w(EECD, 0x43 | bit << 2);
    };
    let mut sum = 0_u16;
    for at in 0..64_u32 {
        b.w(EECD, 0x40);
        assert_eq!(b.r(EECD) & 0x180, 0x180);
        (0..9).rev().for_each(|n| clock((0b110 << 6 | at) >> n & 1));
        assert_eq!(b.r(EECD) & 8, 0, "a zero comes first");
        let word = (0..16).fold(0_u16, |word, _| {
            clock(0);
            word << 1 | (b.r(EECD) >> 3 & 1) as u16
        });
        if at == 2 {
            assert_eq!(word, 0x5634);
        }
        sum = sum.wrapping_add(word);
    }
    assert_eq!(sum, 0xbaba);
    for (value, expect) in [
        (0x0822_0000, 0x1822_0141),
        (0x0821_0000, 0x1821_796d),
        (0x0420_9140, 0x1420_9140),
        (0x0820_0000, 0x1820_1140),
        (0x0842_0000, 0x5842_0000),
    ] {
        b.w(MDIC, value);
        assert_eq!(b.r(MDIC), expect, "{value:#x}");
    }
    assert_eq!(b.r(ICR), MDAC);
}

#[test]
fn frames_from_the_cable() {
    let b = bench();
    b.w(IMS, RXT0);
    b.start_receiving(1 << 1 | 1 << 15);
    b.push(&to(MAC, 100));
    assert!(b.irq());
    assert_eq!((b.r(ICR), b.r(RDH)), (RXT0, 1));
    assert_eq!(b.ram.load(RX_RING + 8, 8), Some(7 << 32 | 104), "with the CRC");
    let mut bytes = vec![0; 100];
    b.ram.read(BUFFERS, &mut bytes).unwrap();
    assert_eq!(bytes, to(MAC, 100));
    // Which are taken.
    let multicast = [1, 0, 0x5e, 0, 0, 1];
    for (control, address, taken) in [
        (1 << 15, [0xff; 6], true),
        (0, [0xff; 6], false),
        (0, [2; 6], false),
        (1 << 3, [2; 6], true),
        (0, multicast, false),
        (1 << 4, multicast, true),
    ] {
        b.start_receiving(1 << 1 | control);
        b.push(&to(address, 60));
        assert_eq!(b.r(RDH), u32::from(taken), "{control:#x} {address:x?}");
    }
    // Its hash: bits 47:36, here 0x010.
    b.w(MTA, 1 << 16);
    b.start_receiving(1 << 1);
    b.push(&to(multicast, 60));
    assert_eq!(b.r(RDH), 1);
    // Buffers of 256 bytes; without the CRC; short frames grow.
    b.start_receiving(1 << 1 | 3 << 16 | 1 << 26);
    b.push(&to(MAC, 600));
    b.push(&to(MAC, 20));
    let lens = [0, 1, 2, 3].map(|n| b.ram.load(RX_RING + n * 16 + 8, 8).unwrap());
    assert_eq!((lens, b.r(RDH)), ([5 << 32 | 256, 5 << 32 | 256, 7 << 32 | 88, 7 << 32 | 60], 4));
    // Frames wait while there is no descriptor; too long ones are dropped.
    b.start_receiving(1 << 1);
    b.push(&to(MAC, 1600));
    (0..9).for_each(|_| b.push(&to(MAC, 60)));
    assert_eq!((b.r(RDH), b.cable.waiting.lock().unwrap().len()), (7, 2));
    b.w(RDT, 1);
    assert_eq!((b.r(RDH), b.cable.waiting.lock().unwrap().len()), (1, 0));
    assert!(b.r(0x4074) >= 9);
    assert_eq!(b.r(0x4074), 0, "statistics are cleared");
}

#[test]
fn frames_to_the_cable() {
    let b = bench();
    b.frame(&to([2; 6], 200));
    let at = BUFFERS as u32;
    // Two descriptors of one frame, the second reported.
    b.transmit(&[[at, 0, 50, 0], [at + 50, 0, 0x0900_0000 | 50, 0]]);
    assert_eq!(b.sent(), [to([2; 6], 100)]);
    assert_eq!((b.r(TDH), b.r(ICR)), (2, TXDW | TXQE));
    assert_eq!((b.ram.load(TX_RING + 12, 1), b.ram.load(TX_RING + 28, 1)), (Some(0), Some(1)));
    // A checksum by the old descriptor: from byte 20, at byte 30.
    let mut frame = to([2; 6], 60);
    frame[30..32].fill(0);
    b.frame(&frame);
    b.transmit(&[[at, 0, 0x0500_0000 | 30 << 16 | 60, 20 << 8]]);
    let sent = b.sent();
    let total: u32 = sent[0][20..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    assert_eq!((total & 0xffff) + (total >> 16), 0xffff);
    // Not a bus master: nothing.
    b.machine.bus.write_config(24, 4, 2, 3);
    b.transmit(&[[at, 0, 0x0100_0000 | 60, 0]]);
    assert!(b.sent().is_empty());
    b.machine.bus.write_config(24, 4, 2, 7);
    assert_eq!(b.sent().len(), 1);
}

#[test]
fn segments() {
    let b = bench();
    // IPv4 at 14, TCP at 34, 54 bytes of header, 250 of data.
    let mut frame = to([2; 6], 304);
    frame[14..54].fill(0);
    frame[14] = 0x45;
    frame[18..20].copy_from_slice(&7_u16.to_be_bytes());
    frame[23] = 6;
    frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    frame[38..42].copy_from_slice(&[0xff, 0xff, 0xff, 0xf0]);
    (frame[46], frame[47]) = (0x50, 0x18);
    // The pseudo-header without the length.
    frame[50..52].copy_from_slice(&(0x0a00_u16 + 1 + 0x0a00 + 2 + 6).to_be_bytes());
    b.frame(&frame);
    let context = [14 | 24 << 8 | 33 << 16, 34 | 50 << 8, 0x2700_0000 | 250, 54 << 8 | 100 << 16];
    let at = BUFFERS as u32;
    b.transmit(&[context, [at, 0, 0x2d10_0000 | 304, 0x300]]);
    let sent = b.sent();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [154, 154, 104]);
    let fold = |bytes: &[u8], more: u32| {
        let total: u32 = bytes.chunks(2).map(|p| u32::from(p[0]) << 8 | p.get(1).map_or(0, |b| u32::from(*b))).sum();
        let total = total + more;
        (total & 0xffff) + (total >> 16)
    };
    for (n, segment) in (0..).zip(&sent) {
        assert_eq!(segment[54..], frame[54 + n * 100..304.min(154 + n * 100)]);
        assert_eq!(u16::from_be_bytes([segment[16], segment[17]]) as usize, segment.len() - 14);
        assert_eq!(segment[19], 7 + n as u8);
        let sequence = u32::from_be_bytes(segment[38..42].try_into().unwrap());
        assert_eq!(sequence, 0xffff_fff0_u32.wrapping_add(n as u32 * 100));
        assert_eq!(segment[47], if n == 2 { 0x18 } else { 0x10 });
        assert_eq!(fold(&segment[14..34], 0), 0xffff, "IP checksum");
        let pseudo = 0x0a00 + 1 + 0x0a00 + 2 + 6 + (segment.len() - 34) as u32;
        assert_eq!(fold(&segment[34..], pseudo), 0xffff, "TCP checksum");
    }
    // Impossible segments are dropped.
    b.transmit(&[[0, 0, 0x2700_0000, 0], [at, 0, 0x2d10_0000 | 304, 0x300]]);
    b.transmit(&[[0, 0, 0x2700_0000, 0xff << 8 | 1 << 16], [at, 0, 0x2d10_0000 | 100, 0x300]]);
    assert!(b.sent().is_empty());
}

#[test]
fn saved_reset_and_any_access() {
    let b = bench();
    check_save_load(&b.cell, || b.w(IMS, 1));
    b.cell.reset(ResetKind::Cold);
    check_reset(&b.cell, || b.w(IMS, 1));
    b.machine.bus.write_config(24, 4, 2, 7);
    hammer(&b.cell, 40_000, |random| {
        let registers = [RDBAL, RDLEN, RDH, RDT, RCTL, TDBAL, TDLEN, TDH, TDT, TCTL, EECD, MDIC, CTRL, ICR];
        let register = registers[random.below(14) as usize];
        b.w(register, if random.below(2) == 0 { random.next() as u32 } else { random.below(256) as u32 });
        if random.below(8) == 0 {
            b.push(&to(MAC, 60 + random.below(1500) as usize));
            b.cable.waiting.lock().unwrap().truncate(4);
        }
        let _ = b.sent();
    });
}
