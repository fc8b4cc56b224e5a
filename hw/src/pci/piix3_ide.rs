//! IDE controller of the 82371SB (PIIX3), function 1: two channels at the ports of an AT, and their bus masters. Intel
//! 82371FB/82371SB data sheet (290550); section titles are its. Deviation: the channels answer whatever the timing registers
//! say of their decoding.

use super::config::{BAR0, Bar, COMMAND, Layout, PciRegs, STATUS, Space, Window as BarWindow};
use super::function::{Function, PciFunction, PciSlot};
use crate::block::ide::{Channel, ChannelRegs, Drive};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use vm::blockdev::BlockDev;
use vm::{Access, BadState, BusError, Device, DeviceCell, IrqLine, Mmio, Regs, ResetKind, Window};

/// Window of the bus masters' registers, 8 bytes of each channel.
const BUS_MASTER: u8 = 4;
const BUS_MASTER_LEN: u64 = 16;

/// The controller.
pub struct Piix3Ide {
    regs: Piix3IdeRegs,
    function: Function,
    channels: [Channel; 2],
}

/// Its registers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piix3IdeRegs {
    pci: PciRegs,
    channels: [ChannelRegs; 2],
}

impl Regs for Piix3IdeRegs {
    fn validate(&self) -> Result<(), BadState> {
        self.channels.iter().try_for_each(Regs::validate)
    }
}

impl Piix3Ide {
    /// The cell of a controller in `slot` with up to two drives on each channel, whose interrupts are `irqs` (ISA
    /// interrupts 14 and 15). Drives wait for the host on threads unless `synchronous`.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn cell(
        slot: PciSlot,
        drives: [[Option<Drive>; 2]; 2],
        irqs: [IrqLine; 2],
        synchronous: bool,
    ) -> std::io::Result<Arc<DeviceCell<Self>>> {
        let layout = Layout::new(0x8086, 0x7010, 0x01_01_80, 0)
            .register(STATUS, 2, 0x0280, 0)
            .register(0x3c, 2, 0, 0)
            .register(0x40, 4, 0x8000_8000, 0xffff_ffff)
            .register(0x44, 1, 0, 0xff)
            .bar(Bar {
                register: BAR0 + 16,
                space: Space::Io,
                prefetchable: false,
                len: BUS_MASTER_LEN,
                window: BarWindow::Mmio(BUS_MASTER),
            })
            .register(COMMAND, 2, 0, 0x0005);
        let memory = slot.memory.clone();
        let function = Function::new(slot, layout);
        let ([first, second], [irq14, irq15]) = (drives, irqs);
        let channels = [
            Channel::new(first, memory.clone(), irq14, synchronous)?,
            Channel::new(second, memory, irq15, synchronous)?,
        ];
        let regs =
            Piix3IdeRegs { pci: function.power_on(), channels: channels.each_ref().map(|channel| channel.power_on()) };
        let cell = Arc::new(DeviceCell::new(Self { regs, function, channels }));
        for n in 0..2 {
            let weak = Arc::downgrade(&cell);
            let wake = Box::new(move || {
                if let Some(cell) = weak.upgrade() {
                    let _ = cell.with(|_| ());
                }
            });
            let _ = cell.with(|controller| controller.channels[n].connect(wake));
        }
        Ok(cell)
    }

    /// Puts another disc into a CD-ROM drive, or takes it out. `false` if there is no such drive.
    pub fn set_disc(&mut self, channel: usize, drive: usize, disc: Option<Arc<dyn BlockDev>>) -> bool {
        match (self.channels.get_mut(channel), self.regs.channels.get_mut(channel)) {
            (Some(channel), Some(regs)) => channel.set_disc(regs, drive, disc),
            _ => false,
        }
    }

    /// Waits until nothing is under way at the host, so that a snapshot can be taken. The vCPUs must be stopped.
    pub fn drain(&mut self) {
        for (channel, regs) in self.channels.iter_mut().zip(&mut self.regs.channels) {
            channel.drain(regs);
        }
    }

    /// Channel and registers that window `window` belongs to.
    fn channel(&mut self, window: u8) -> (&mut Channel, &mut ChannelRegs) {
        let n = usize::from(window >= 2);
        (&mut self.channels[n], &mut self.regs.channels[n])
    }

    fn read_byte(&mut self, window: u8, offset: u64) -> u8 {
        let offset = offset as u8;
        if window == BUS_MASTER {
            return self.regs.channels[usize::from(offset >> 3 & 1)].bus_master.read(offset & 7);
        }
        let (channel, regs) = self.channel(window);
        if window & 1 == 0 { channel.read(regs, offset) } else { channel.alternate_status(regs) }
    }

    fn write_byte(&mut self, window: u8, offset: u64, value: u8) {
        let offset = offset as u8;
        if window == BUS_MASTER {
            return self.regs.channels[usize::from(offset >> 3 & 1)].bus_master.write(offset & 7, value);
        }
        let (channel, regs) = self.channel(window);
        if window & 1 == 0 { channel.write(regs, offset, value) } else { channel.write_control(regs, value) }
    }
}

impl Device for Piix3Ide {
    type Regs = Piix3IdeRegs;
    const MODEL: &'static str = "piix3-ide";

    fn regs(&self) -> &Piix3IdeRegs {
        &self.regs
    }
    fn regs_mut(&mut self) -> &mut Piix3IdeRegs {
        &mut self.regs
    }
    fn reset(&mut self, _kind: ResetKind) {
        self.regs.pci = self.function.power_on();
        for (channel, regs) in self.channels.iter_mut().zip(&mut self.regs.channels) {
            channel.reset(regs);
        }
    }
    fn update(&mut self) {
        for (channel, regs) in self.channels.iter_mut().zip(&mut self.regs.channels) {
            channel.update(regs);
        }
        self.function.update(&self.regs.pci);
    }
}

impl PciFunction for Piix3Ide {
    fn pci(&mut self) -> (&mut Function, &mut PciRegs) {
        (&mut self.function, &mut self.regs.pci)
    }
}

impl Mmio for Piix3Ide {
    /// Command and control block of the primary channel (ports 0x1f0 and 0x3f6), those of the secondary one (0x170 and
    /// 0x376), and the bus masters, which appear where the guest puts them.
    const WINDOWS: &'static [Window] = &[
        Window { len: 8, widths: 1..=4 },
        Window { len: 1, widths: 1..=1 },
        Window { len: 8, widths: 1..=4 },
        Window { len: 1, widths: 1..=1 },
        Window { len: BUS_MASTER_LEN, widths: 1..=4 },
    ];

    fn read(&mut self, at: Access) -> Result<u64, BusError> {
        if matches!((at.window, at.offset, at.width), (0 | 2, 0, 2 | 4)) {
            let (channel, regs) = self.channel(at.window);
            return Ok(channel.read_data(regs, at.width).into());
        }
        Ok((0..u64::from(at.width))
            .fold(0, |value, n| value | u64::from(self.read_byte(at.window, at.offset + n)) << (8 * n)))
    }

    fn write(&mut self, at: Access, value: u64) -> Result<(), BusError> {
        if matches!((at.window, at.offset, at.width), (0 | 2, 0, 2 | 4)) {
            let (channel, regs) = self.channel(at.window);
            channel.write_data(regs, at.width, value as u32);
            return Ok(());
        }
        for n in 0..u64::from(at.width) {
            self.write_byte(at.window, at.offset + n, (value >> (8 * n)) as u8);
        }
        Ok(())
    }
}
