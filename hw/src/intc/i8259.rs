//! Programmable interrupt controller 8259A: the two of a PC, the slave on input 2 of the master. Intel 8259A data sheet
//! (231468-003); section titles are its. The registers that choose edge or level per input (ELCR) are those of the 82371
//! (PIIX) data sheet, "Edge/level control registers".

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::{Access, BusError, Device, DeviceCell, IrqLine, IrqSink, Mmio, Regs, ResetKind, Window};

const MASTER: usize = 0;
const SLAVE: usize = 1;
/// Input of the master that the slave drives.
const CASCADE: u8 = 2;
/// The input that an acknowledge without a request reports ("Interrupt sequence").
const SPURIOUS: u8 = 7;

// ICW1 and OCW2/OCW3 share a port; these bits tell them apart.
const ICW1: u8 = 1 << 4;
const OCW3: u8 = 1 << 3;
// ICW1.
const ICW1_IC4: u8 = 1 << 0;
const ICW1_SNGL: u8 = 1 << 1;
const ICW1_LTIM: u8 = 1 << 3;
// ICW4.
const ICW4_AEOI: u8 = 1 << 1;
const ICW4_SFNM: u8 = 1 << 4;
// OCW3.
const OCW3_RIS: u8 = 1 << 0;
const OCW3_RR: u8 = 1 << 1;
const OCW3_POLL: u8 = 1 << 2;
const OCW3_SMM: u8 = 1 << 5;
const OCW3_ESMM: u8 = 1 << 6;

/// Inputs that may be level-triggered: not the timer, the keyboard and the cascade, not the clock and the coprocessor.
const ELCR_MASK: [u8; 2] = [0xf8, 0xde];

/// The initialization command word that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Expects {
    #[default]
    Nothing,
    Icw2,
    Icw3,
    Icw4,
}

/// One of the two chips.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Chip {
    /// Levels of the inputs.
    pins: u8,
    /// Inputs that rose and were not acknowledged since, for those that are edge-triggered.
    latch: u8,
    isr: u8,
    imr: u8,
    elcr: u8,
    icw1: u8,
    /// ICW2: the vector of input 0.
    base: u8,
    icw3: u8,
    icw4: u8,
    expects: Expects,
    /// The input that has the highest priority; those after it, around the circle, have less.
    highest: u8,
    read_isr: bool,
    poll: bool,
    special_mask: bool,
    rotate_in_aeoi: bool,
}

impl Chip {
    fn level_triggered(&self) -> u8 {
        if self.icw1 & ICW1_LTIM != 0 { 0xff } else { self.elcr }
    }

    fn irr(&self) -> u8 {
        let level = self.level_triggered();
        self.latch & !level | self.pins & level
    }

    fn set_pin(&mut self, pin: u8, high: bool) {
        let bit = 1 << (pin & 7);
        // Deviation: an edge stays latched when the input falls before it is acknowledged; the chip would forget the
        // request and report input 7. Timers here are less punctual than quartz, and no tick may be lost by that.
        if high && self.pins & bit == 0 {
            self.latch |= bit;
        }
        self.pins = if high { self.pins | bit } else { self.pins & !bit };
    }

    /// The bit of highest priority among `bits`.
    fn first(&self, bits: u8) -> Option<u8> {
        let rotated = bits.rotate_right(self.highest.into());
        (bits != 0).then(|| (rotated.trailing_zeros() as u8 + self.highest) & 7)
    }

    /// How far down the order of priorities `input` stands.
    fn rank(&self, input: u8) -> u8 {
        input.wrapping_sub(self.highest) & 7
    }

    /// The request that the chip signals by INT.
    fn request(&self, is_master: bool) -> Option<u8> {
        let input = self.first(self.irr() & !self.imr)?;
        // "Special mask mode": an input in service that is masked inhibits nothing.
        let inhibiting = if self.special_mask { self.isr & !self.imr } else { self.isr };
        let Some(served) = self.first(inhibiting) else { return Some(input) };
        // "The special fully nested mode": a slave in service may ask again.
        let nested = is_master && self.icw4 & ICW4_SFNM != 0 && input == CASCADE && served == CASCADE;
        (nested || self.rank(input) < self.rank(served)).then_some(input)
    }

    /// What INTA does to the input it is for.
    fn acknowledge(&mut self, input: u8) {
        let bit = 1 << (input & 7);
        self.latch &= !bit;
        if self.icw4 & ICW4_AEOI == 0 {
            self.isr |= bit;
        } else if self.rotate_in_aeoi {
            self.make_lowest(input);
        }
    }

    fn make_lowest(&mut self, input: u8) {
        self.highest = input.wrapping_add(1) & 7;
    }

    fn vector(&self, input: u8) -> u8 {
        self.base & 0xf8 | input & 7
    }

    /// ICW1 ("Initialization command words 1 and 2").
    fn initialize(&mut self, icw1: u8) {
        self.icw1 = icw1;
        // The edge sense circuit is reset: an input must rise again.
        self.latch = 0;
        self.isr = 0;
        self.imr = 0;
        self.highest = 0;
        self.special_mask = false;
        self.read_isr = false;
        self.poll = false;
        self.rotate_in_aeoi = false;
        if icw1 & ICW1_IC4 == 0 {
            self.icw4 = 0;
        }
        self.expects = Expects::Icw2;
    }

    /// OCW2: end of interrupt, rotation, set priority ("Operation command word 2").
    fn ocw2(&mut self, value: u8) {
        let level = value & 7;
        match value >> 5 {
            // Non-specific EOI; does not see masked inputs in special mask mode ("Special mask mode").
            command @ (1 | 5) => {
                let served = if self.special_mask { self.isr & !self.imr } else { self.isr };
                if let Some(input) = self.first(served) {
                    self.isr &= !(1 << input);
                    if command == 5 {
                        self.make_lowest(input);
                    }
                }
            }
            command @ (3 | 7) => {
                self.isr &= !(1 << level);
                if command == 7 {
                    self.make_lowest(level);
                }
            }
            6 => self.make_lowest(level),
            0 => self.rotate_in_aeoi = false,
            4 => self.rotate_in_aeoi = true,
            _ => {} // no operation
        }
    }

    fn ocw3(&mut self, value: u8) {
        if value & OCW3_ESMM != 0 {
            self.special_mask = value & OCW3_SMM != 0;
        }
        self.poll = value & OCW3_POLL != 0;
        if value & OCW3_RR != 0 {
            self.read_isr = value & OCW3_RIS != 0;
        }
    }

    fn write(&mut self, a0: bool, value: u8) {
        match (a0, self.expects) {
            (false, _) if value & ICW1 != 0 => self.initialize(value),
            (false, _) if value & OCW3 != 0 => self.ocw3(value),
            (false, _) => self.ocw2(value),
            (true, Expects::Nothing) => self.imr = value,
            (true, Expects::Icw2) => {
                self.base = value;
                self.expects = if self.icw1 & ICW1_SNGL == 0 { Expects::Icw3 } else { self.after_icw3() };
            }
            (true, Expects::Icw3) => {
                self.icw3 = value;
                self.expects = self.after_icw3();
            }
            (true, Expects::Icw4) => {
                self.icw4 = value;
                self.expects = Expects::Nothing;
            }
        }
    }

    fn after_icw3(&self) -> Expects {
        if self.icw1 & ICW1_IC4 != 0 { Expects::Icw4 } else { Expects::Nothing }
    }

    fn read(&mut self, a0: bool, is_master: bool) -> u8 {
        if std::mem::take(&mut self.poll) {
            // "Poll command": the read takes the place of the acknowledge.
            let Some(input) = self.request(is_master) else { return 0 };
            self.acknowledge(input);
            return 0x80 | input;
        }
        match (a0, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr(),
        }
    }
}

/// The two chips.
pub struct I8259 {
    regs: I8259Regs,
    int: IrqLine,
}

/// Their registers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8259Regs {
    chips: [Chip; 2],
}

impl Regs for I8259Regs {
    fn validate(&self) -> Result<(), vm::BadState> {
        match self.chips.iter().zip(ELCR_MASK).find(|(chip, mask)| chip.highest > 7 || chip.elcr & !mask != 0) {
            Some((chip, _)) => {
                Err(vm::BadState(format!("impossible highest {} or elcr {:#x}", chip.highest, chip.elcr)))
            }
            None => Ok(()),
        }
    }
}

impl I8259 {
    /// The pair; INT of the master drives `int`. Devices are wired to [`pins`].
    pub fn new(int: IrqLine) -> Self {
        Self { regs: I8259Regs::default(), int }
    }

    /// The level of IRQ `irq` changed. Input 2 is the slave's; numbers above 15 do not exist.
    pub fn set_irq(&mut self, irq: u32, high: bool) {
        if irq != u32::from(CASCADE)
            && let Some(chip) = self.regs.chips.get_mut((irq / 8) as usize)
        {
            chip.set_pin((irq % 8) as u8, high);
            self.cascade();
        }
    }

    /// The processor's two INTA cycles: takes the request of highest priority and gives its vector; without a request that
    /// of input 7 ("Interrupt sequence", 6), with nothing in service.
    pub fn acknowledge(&mut self) -> u8 {
        let [master, slave] = &mut self.regs.chips;
        let Some(input) = master.request(true) else { return master.vector(SPURIOUS) };
        master.acknowledge(input);
        if input != CASCADE {
            return master.vector(input);
        }
        // INT of the slave falls during the cycle and rises again for the next request.
        master.set_pin(CASCADE, false);
        let vector = match slave.request(false) {
            Some(input) => {
                slave.acknowledge(input);
                slave.vector(input)
            }
            None => slave.vector(SPURIOUS),
        };
        self.cascade();
        vector
    }

    /// INT of the slave reaches the master.
    fn cascade(&mut self) {
        let high = self.regs.chips[SLAVE].request(false).is_some();
        self.regs.chips[MASTER].set_pin(CASCADE, high);
    }
}

struct Pins(Arc<DeviceCell<I8259>>);

impl IrqSink for Pins {
    fn set_pin(&self, pin: u32, high: bool) {
        // The chip drives a processor or its APIC, neither of which calls back while it does.
        let _ = self.0.with(|pic| pic.set_irq(pin, high));
    }
}

/// The interrupt inputs: pin `n` is IRQ `n`, 0 to 15; 2 is not there.
pub fn pins(pic: &Arc<DeviceCell<I8259>>) -> Arc<dyn IrqSink> {
    Arc::new(Pins(pic.clone()))
}

/// How a processor, or an APIC for it, acknowledges: each call is [`I8259::acknowledge`].
pub fn acknowledge(pic: &Arc<DeviceCell<I8259>>) -> Arc<dyn Fn() -> u8 + Send + Sync> {
    let pic = pic.clone();
    Arc::new(move || pic.with(I8259::acknowledge).unwrap_or(SPURIOUS))
}

impl Device for I8259 {
    type Regs = I8259Regs;
    const MODEL: &'static str = "i8259";

    fn regs(&self) -> &I8259Regs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut I8259Regs {
        &mut self.regs
    }

    fn reset(&mut self, _kind: ResetKind) {
        // The levels of the pins belong to the devices that drive them.
        for chip in &mut self.regs.chips {
            *chip = Chip { pins: chip.pins, ..Chip::default() };
        }
        self.regs.chips[MASTER].pins &= !(1 << CASCADE);
    }

    fn update(&mut self) {
        self.int.set(self.regs.chips[MASTER].request(true).is_some());
    }
}

impl Mmio for I8259 {
    /// Ports of the master (0x20 of a PC), of the slave (0xa0), ELCR1 and ELCR2 (0x4d0).
    const WINDOWS: &'static [Window] =
        &[Window { len: 2, widths: 1..=1 }, Window { len: 2, widths: 1..=1 }, Window { len: 2, widths: 1..=1 }];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        let offset = at.offset as usize;
        let value = match at.window {
            0 => self.regs.chips[MASTER].read(offset == 1, true),
            1 => self.regs.chips[SLAVE].read(offset == 1, false),
            _ => self.regs.chips.get(offset).ok_or(BusError::BadOffset)?.elcr,
        };
        self.cascade();
        Ok(value.into())
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        let (offset, value) = (at.offset as usize, value as u8);
        match at.window {
            0 => self.regs.chips[MASTER].write(offset == 1, value),
            1 => self.regs.chips[SLAVE].write(offset == 1, value),
            _ => self.regs.chips.get_mut(offset).ok_or(BusError::BadOffset)?.elcr = value & ELCR_MASK[offset & 1],
        }
        self.cascade();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
