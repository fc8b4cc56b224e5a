//! The chip sets of PCs: where in them is what others must know.

use hw::pci::bus::{Route, devfn, pirq};
use hw::pci::{ich9_lpc, piix4_pm};

/// Which chips are on the mainboard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChipSet {
    /// Those of an AT, without PCI: machine `isapc`.
    #[default]
    Isa,
    /// 440FX and PIIX3: machine `pc`.
    I440fx,
    /// Q35 and ICH9: machine `q35`.
    Q35,
}

/// How power management is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerManagement {
    /// The function that has it.
    pub function: u8,
    /// Its register with the first I/O port, and the bits of that.
    pub base: (u8, u32),
    /// Offset and bytes of the general-purpose events' registers.
    pub events: (u8, u8),
    /// Values of the APM control port that switch ACPI on and off.
    pub acpi: (u8, u8),
}

impl ChipSet {
    /// The name of the machine.
    pub fn machine(self) -> &'static str {
        match self {
            ChipSet::Isa => "isapc",
            ChipSet::I440fx => "pc",
            ChipSet::Q35 => "q35",
        }
    }

    /// There is a PCI bus.
    pub fn has_pci(self) -> bool {
        self != ChipSet::Isa
    }

    /// How interrupt pins are wired to the lines of the ISA bridge.
    pub fn route(self) -> Route {
        if self == ChipSet::Q35 { ich9_lpc::pirq } else { pirq }
    }

    /// Those lines.
    pub fn lines(self) -> usize {
        if self == ChipSet::Q35 { 8 } else { 4 }
    }

    /// Device number of the ISA bridge, function 0.
    pub fn isa_bridge(self) -> u8 {
        if self == ChipSet::Q35 { 31 } else { 1 }
    }

    /// Device number of the VGA, as under QEMU; those after it are for what is plugged in.
    pub fn vga(self) -> u8 {
        if self == ChipSet::Q35 { 1 } else { 2 }
    }

    /// Device numbers for what is plugged in.
    pub fn slots(self) -> std::ops::Range<u8> {
        match self {
            ChipSet::Isa => 0..0,
            ChipSet::I440fx => 3..32,
            ChipSet::Q35 => 2..31,
        }
    }

    /// Path of the host bridge on the board.
    pub fn host_bridge(self) -> &'static str {
        if self == ChipSet::Q35 { "mch" } else { "i440fx" }
    }

    /// Power management.
    pub fn pm(self) -> PowerManagement {
        match self {
            ChipSet::Q35 => PowerManagement {
                function: devfn(31, 0),
                base: (ich9_lpc::PMBASE, 0xff80),
                events: (ich9_lpc::GPE0, ich9_lpc::GPE0_LEN),
                acpi: (ich9_lpc::ACPI_ENABLE, ich9_lpc::ACPI_DISABLE),
            },
            ChipSet::Isa | ChipSet::I440fx => PowerManagement {
                function: devfn(1, 3),
                base: (0x40, 0xffc0),
                events: (0x0c, 4),
                acpi: (piix4_pm::ACPI_ENABLE, piix4_pm::ACPI_DISABLE),
            },
        }
    }
}
