//! What firmware is told through fw_cfg: the kernel to start, ACPI tables, SMBIOS structures. The device tree, which it
//! needs itself, lies at the start of RAM.

use super::pcie::{self, Windows};
use super::{
    Config, FLASH_LEN, FW_CFG, Files, GIC_DIST, GICV2_CPU, GICV3_REDIST, GICV3_REDIST_LEN, GPIO, GicVersion, INTIDS,
    NAME, POWER_KEY_PIN, RAM, SPI_GPIO, SPI_PCIE, SPI_UART, SPI_VIRTIO, UART, VIRTIO, VIRTIO_LEN, VIRTIO_SLOTS,
    affinity,
};
use crate::acpi::Acpi;
use crate::acpi::arm::{Arm, Interrupts, Pci};
use crate::boot::File;
use crate::smbios::{EntryPoint, Smbios};
use arm::wiring;

/// "Processor Family 2" of SMBIOS.
const ARMV8: u16 = 0x101;
/// Bytes of the registers of fw_cfg.
const FW_CFG_LEN: u64 = 0x18;

/// It all.
#[derive(Clone, Debug, Default)]
pub struct Told {
    pub kernel: Vec<u8>,
    pub initrd: Vec<u8>,
    pub cmdline: String,
    /// Named files.
    pub files: Vec<(&'static str, Vec<u8>)>,
}

impl Told {
    /// What firmware is told of a machine that starts `files`.
    pub fn new(config: &Config, files: &Files) -> Self {
        let bytes = |file: &Option<File>| file.as_ref().map(|file| file.bytes.clone()).unwrap_or_default();
        let mut named = Vec::new();
        if config.acpi {
            named.extend(Acpi::arm(&described(config)).files());
        }
        named.extend(smbios(config).files(EntryPoint::V3));
        Self {
            kernel: bytes(&files.kernel),
            initrd: bytes(&files.initrd),
            cmdline: files.cmdline.clone(),
            files: named,
        }
    }
}

fn smbios(config: &Config) -> Smbios {
    Smbios {
        machine: NAME.into(),
        cpu: config.cpu.split(',').next().unwrap_or_default().into(),
        cpus: config.cpus,
        cpu_family: ARMV8,
        ram: vec![(RAM, config.ram)],
    }
}

/// What ACPI tables say.
pub fn described(config: &Config) -> Arm {
    let ppi = |output: usize| INTIDS[output] - 16;
    let timers =
        [wiring::OUT_SECURE_TIMER, wiring::OUT_PHYSICAL_TIMER, wiring::OUT_VIRTUAL_TIMER, wiring::OUT_HYP_TIMER];
    let windows = Windows::new(config);
    Arm {
        affinities: (0..config.cpus).map(affinity).collect(),
        pmu: config.pmu.then(|| ppi(wiring::OUT_PMU)),
        timers: timers.map(ppi),
        distributor: GIC_DIST,
        interrupts: match config.gic {
            GicVersion::V2 => {
                Interrupts::V2 { cpu: GICV2_CPU, frame: pcie::V2M, spis: (pcie::V2M_SPI, pcie::V2M_SPIS) }
            }
            GicVersion::V3 => Interrupts::V3 {
                redistributors: (GICV3_REDIST, GICV3_REDIST_LEN),
                its: config.its.then_some(pcie::ITS),
            },
        },
        uart: (UART, SPI_UART),
        fw_cfg: (FW_CFG, FW_CFG_LEN),
        flash: [(0, FLASH_LEN), (FLASH_LEN, FLASH_LEN)],
        gpio: (GPIO, SPI_GPIO),
        power_pin: POWER_KEY_PIN as u16,
        virtio: (VIRTIO, VIRTIO_LEN, VIRTIO_SLOTS, SPI_VIRTIO),
        pci: Pci {
            ecam: windows.ecam,
            buses: windows.buses(),
            mmio: pcie::MMIO,
            high_mmio: windows.high_mmio,
            ports: pcie::PORTS,
            spi: SPI_PCIE,
        },
    }
}
