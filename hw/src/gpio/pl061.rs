//! Arm PrimeCell General Purpose Input/Output, PL061. Arm DDI 0190B; section numbers are its.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Weak};
use vm::{Access, BusError, Device, DeviceCell, IrqLine, IrqSink, Mmio, Regs, Window};

// Register offsets (3.2, Summary of PrimeCell GPIO registers). GPIODATA takes 0x000..=0x3fc.
const DATA_LAST: u64 = 0x3fc;
const DIR: u64 = 0x400;
const IS: u64 = 0x404;
const IBE: u64 = 0x408;
const IEV: u64 = 0x40c;
const IE: u64 = 0x410;
const RIS: u64 = 0x414;
const MIS: u64 = 0x418;
const IC: u64 = 0x41c;
const AFSEL: u64 = 0x420;

/// GPIOPeriphID0-3 (3.3.11).
const PERIPHERAL_ID: [u8; 4] = [0x61, 0x10, 0x04, 0x00];

/// The chip.
pub struct Pl061 {
    regs: Pl061Regs,
    irq: IrqLine,
    outputs: Vec<IrqLine>,
}

/// Its registers; one bit per pin.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Pl061Regs {
    /// What the guest wrote for output pins.
    data: u8,
    dir: u8,
    is: u8,
    ibe: u8,
    iev: u8,
    ie: u8,
    afsel: u8,
    /// Edges seen and not cleared. Level interrupts are derived.
    edges: u8,
    /// Levels driven from outside.
    inputs: u8,
    /// Pin levels when they were last looked at, to detect edges.
    seen: u8,
}

impl Regs for Pl061Regs {}

impl Pl061Regs {
    /// The levels on the pins: what is driven from outside, or by the chip where a pin is an output.
    fn pins(&self) -> u8 {
        self.data & self.dir | self.inputs & !self.dir
    }

    /// GPIORIS (3.3.7): latched edges, or the level itself where GPIOIS asks for levels.
    fn raw(&self) -> u8 {
        let active = self.pins() ^ !self.iev;
        self.edges & !self.is | active & self.is
    }

    /// Latches the edges since the last look (3.3.3 to 3.3.5: both edges, or the one that GPIOIEV names).
    fn detect_edges(&mut self) {
        let pins = self.pins();
        let changed = pins ^ self.seen;
        self.seen = pins;
        self.edges |= changed & !self.is & (self.ibe | !(pins ^ self.iev));
    }
}

impl Pl061 {
    /// A chip whose combined interrupt GPIOINTR drives `irq` and whose output pins 0, 1, ... drive `outputs` (at most 8,
    /// often none).
    pub fn new(irq: IrqLine, outputs: Vec<IrqLine>) -> Self {
        Self { regs: Default::default(), irq, outputs }
    }

    /// Something outside drives pin `pin` (0 to 7).
    pub fn set_input(&mut self, pin: u32, high: bool) {
        let bit = 1u8.checked_shl(pin).unwrap_or(0);
        self.regs.inputs = if high { self.regs.inputs | bit } else { self.regs.inputs & !bit };
        self.regs.detect_edges();
    }

    /// The input pins of the chip in `cell`, to wire lines to.
    pub fn inputs(cell: &Arc<DeviceCell<Self>>) -> Arc<dyn IrqSink> {
        Arc::new(Pl061Inputs(Arc::downgrade(cell)))
    }
}

/// The input pins as a sink. Wiring an output of the chip to its own input has no effect: re-entry is refused.
struct Pl061Inputs(Weak<DeviceCell<Pl061>>);

impl IrqSink for Pl061Inputs {
    fn set_pin(&self, pin: u32, high: bool) {
        if let Some(cell) = self.0.upgrade() {
            let _ = cell.with(|chip| chip.set_input(pin, high));
        }
    }
}

impl Device for Pl061 {
    type Regs = Pl061Regs;
    const MODEL: &'static str = "pl061";

    fn regs(&self) -> &Pl061Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Pl061Regs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: vm::ResetKind) {
        // What is driven from outside does not change because this chip is reset.
        let inputs = self.regs.inputs;
        self.regs = Pl061Regs { inputs, seen: inputs, ..Default::default() };
    }

    fn update(&mut self) {
        self.irq.set(self.regs.raw() & self.regs.ie != 0);
        let driven = self.regs.data & self.regs.dir;
        for (pin, line) in self.outputs.iter().enumerate().take(8) {
            line.set(driven >> pin & 1 != 0);
        }
    }
}

impl Mmio for Pl061 {
    const WINDOWS: &'static [Window] = &[Window { len: 0x1000, widths: 1..=4 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let r = &self.regs;
        Ok(u64::from(match at.offset {
            // 3.3.1: address bits [9:2] say which pins take part.
            offset @ 0..=DATA_LAST if offset.is_multiple_of(4) => r.pins() & (offset >> 2) as u8,
            DIR => r.dir,
            IS => r.is,
            IBE => r.ibe,
            IEV => r.iev,
            IE => r.ie,
            RIS => r.raw(),
            MIS => r.raw() & r.ie,
            AFSEL => r.afsel,
            offset => return crate::primecell_id(PERIPHERAL_ID, offset).ok_or(BusError::BadOffset),
        }))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let value = value as u8;
        let r = &mut self.regs;
        match at.offset {
            offset @ 0..=DATA_LAST if offset.is_multiple_of(4) => {
                let mask = (offset >> 2) as u8;
                // Bits of input pins are remembered until the pin becomes an output.
                r.data = r.data & !mask | value & mask;
            }
            DIR => r.dir = value,
            IS => r.is = value,
            IBE => r.ibe = value,
            IEV => r.iev = value,
            IE => r.ie = value,
            // 3.3.9: clears edges; a level interrupt stays as long as the level.
            IC => r.edges &= !value,
            // Software keeps control of the pins: there is no hardware behind the other mode here.
            AFSEL => r.afsel = value,
            RIS | MIS => {}
            _ => return Err(BusError::BadOffset),
        }
        r.detect_edges();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Levels, Poke, check_reset, check_save_load, hammer};
    use vm::Part;

    struct Bench {
        gpio: Arc<DeviceCell<Pl061>>,
        pins: Arc<dyn IrqSink>,
        out: Arc<Levels>,
    }

    fn bench() -> Bench {
        let out = Levels::new();
        let line = |pin| IrqLine::to(out.clone(), pin);
        let gpio = Arc::new(DeviceCell::new(Pl061::new(line(8), (0..8).map(line).collect())));
        Bench { pins: Pl061::inputs(&gpio), gpio, out }
    }

    #[test]
    fn reset_values_and_ids() {
        let b = bench();
        for offset in [DATA_LAST, DIR, IS, IBE, IEV, IE, RIS, MIS, AFSEL] {
            assert_eq!(b.gpio.r(offset), 0, "{offset:#x}");
        }
        let id: Vec<u64> = (0xfe0..0x1000).step_by(4).map(|offset| b.gpio.r(offset)).collect();
        assert_eq!(id, [0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1]);
        for offset in [2, IC, 0x424, 0xffe] {
            assert_eq!(b.gpio.read_n(offset, 1), Err(BusError::BadOffset), "{offset:#x}");
        }
    }

    #[test]
    fn data_is_masked_by_the_address() {
        let b = bench();
        b.gpio.w(DIR, 0x0f);
        b.gpio.w(DATA_LAST, 0xff);
        assert_eq!(b.gpio.r(DATA_LAST), 0x0f);
        b.gpio.w(0b0011 << 2, 0);
        assert_eq!((b.gpio.r(DATA_LAST), b.gpio.r(0b0100 << 2)), (0b1100, 0b0100));
        assert_eq!((0..9).filter(|pin| b.out.get(*pin)).collect::<Vec<_>>(), [2, 3]);
        b.pins.set_pin(7, true);
        b.pins.set_pin(0, true); // an output: not heard
        b.pins.set_pin(99, true); // not a pin
        assert_eq!(b.gpio.r(DATA_LAST), 0b1000_1100);
    }

    #[test]
    fn edges_and_levels() {
        // (is, ibe, iev, level before, level after) => (raw after the change, raw after IC)
        let rows = [
            ((0, 0, 1, false, true), (1, 0)),
            ((0, 0, 1, true, false), (0, 0)),
            ((0, 0, 0, true, false), (1, 0)),
            ((0, 0, 0, false, true), (0, 0)),
            ((0, 1, 0, false, true), (1, 0)),
            ((0, 1, 1, true, false), (1, 0)),
            ((1, 0, 1, false, true), (1, 1)),
            ((1, 0, 1, true, false), (0, 0)),
            ((1, 1, 0, true, false), (1, 1)),
            ((1, 0, 0, false, true), (0, 0)),
        ];
        for ((is, ibe, iev, before, after), (raised, left)) in rows {
            let b = bench();
            let row = format!("is {is} ibe {ibe} iev {iev} {before} to {after}");
            b.pins.set_pin(3, before);
            b.gpio.w(IEV, iev << 3 | 0xf7);
            b.gpio.w(IS, is << 3);
            b.gpio.w(IBE, ibe << 3);
            b.gpio.w(IC, 0xff);
            b.pins.set_pin(3, after);
            assert_eq!(b.gpio.r(RIS) & 8, raised << 3, "{row}");
            assert_eq!((b.gpio.r(MIS), b.out.get(8)), (0, false), "{row}: masked");
            b.gpio.w(IE, 8);
            assert_eq!((b.gpio.r(MIS), b.out.get(8)), (raised << 3, raised != 0), "{row}: unmasked");
            b.gpio.w(IC, 8);
            assert_eq!((b.gpio.r(MIS), b.out.get(8)), (left << 3, left != 0), "{row}: cleared");
        }
    }

    #[test]
    fn a_power_key_press_is_two_edges() {
        let b = bench();
        b.gpio.w(IBE, 8);
        b.gpio.w(IE, 8);
        for level in [true, false] {
            b.pins.set_pin(3, level);
            assert!(b.out.get(8));
            assert_eq!(b.gpio.r(8 << 2), u64::from(level) << 3);
            b.gpio.w(IC, 8);
            assert!(!b.out.get(8));
        }
    }

    #[test]
    fn saved_loaded_and_reset() {
        let b = bench();
        b.gpio.w(DIR, 1);
        b.gpio.w(IE, 8);
        b.gpio.w(IEV, 8);
        b.pins.set_pin(3, true);
        check_save_load(&b.gpio, || {
            b.gpio.w(IC, 8);
            assert!(!b.out.get(8));
        });
        let b = bench();
        check_reset(&b.gpio, || b.gpio.w(DIR, 1));
    }

    #[test]
    fn any_access_is_answered() {
        let b = bench();
        hammer(&b.gpio, 50_000, |random| b.pins.set_pin(random.below(10) as u32, random.below(2) != 0));
    }

    #[test]
    fn reset_keeps_the_outside_levels() {
        let b = bench();
        b.pins.set_pin(3, true);
        b.gpio.w(DIR, 0xf0);
        b.gpio.reset(vm::ResetKind::Warm);
        b.gpio.settle();
        assert_eq!((b.gpio.r(DATA_LAST), b.gpio.r(DIR), b.gpio.r(RIS)), (8, 0, 0));
    }
}
