//! Machine `microvm`: a PC without PCI and firmware, for kernels that are started directly. The map is that of QEMU's
//! machine of that name (QEMU documentation, "'microvm' virtual platform").
//!
//! | address       | what                                       | interrupt    |
//! |---------------|--------------------------------------------|--------------|
//! | `0x0000_0000` | RAM, at most 3 GiB; the rest from 4 GiB on |              |
//! | `0xfec0_0000` | I/O APIC                                   |              |
//! | `0xfee0_0000` | local APIC                                 |              |
//! | port `0x20`   | 8259A pair                                 |              |
//! | port `0x40`   | 8254                                       | 0            |
//! | port `0x60`   | 8042                                       | 1, 12        |
//! | port `0x70`   | MC146818                                   | 8            |
//! | port `0x3f8`  | 16550A                                     | 4            |

use crate::board::{Board, CpuDesc};
use crate::boot::Blob;
use crate::boot::File;
use crate::boot::x86::{self, Kind, MemoryMap, Module};
use crate::builder::{Boot, Made};
use crate::error::Error;
use crate::mp_table;
use crate::pc::interrupts::{self, CPU_LINES, gsi};
use hw::char::ns16550a::Ns16550a;
use hw::input::i8042::{I8042, Lines};
use hw::misc::gates::ResetPin;
use hw::rtc::cmos::{PcSetup, pc_cmos};
use hw::rtc::mc146818::Mc146818;
use hw::timer::i8254::I8254;
use std::sync::Arc;
use vm::chardev::CharPort;
use vm::{DeviceCell, Gpa, IrqLine};

const NAME: &str = "microvm";
/// RAM below the devices, in bytes.
const LOW_RAM: u64 = 3 << 30;
const HIGH_RAM: u64 = 4 << 30;
/// Processors that the MP tables have room for.
const MAX_CPUS: u32 = 32;

/// The machine as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// CPU model with its feature flags.
    pub cpu: String,
    /// Physical address bits of that model.
    pub physical_bits: u32,
    /// That model has 64-bit mode.
    pub long_mode: bool,
    /// Number of CPUs.
    pub cpus: u32,
    /// Bytes of RAM.
    pub ram: u64,
    /// Serial line of the UART; `None` leads nowhere.
    pub serial: Option<String>,
}

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `-kernel`.
    pub kernel: Option<File>,
    /// `-initrd`.
    pub modules: Vec<Module>,
    /// `-append`.
    pub cmdline: String,
}

/// The board for `config`, and what is in memory at the start.
///
/// # Errors
/// What cannot be: too much RAM or too many CPUs, or a file that does not boot.
pub fn machine(config: &Config, files: Files) -> Result<(Board, Boot), Error> {
    check(config)?;
    let board = board(config);
    let kernel = files.kernel.ok_or(Error::NothingToBoot)?;
    let machine = x86::Machine {
        low_ram: config.ram.min(LOW_RAM),
        map: memory_map(config.ram),
        rsdp: 0,
        cpu: &config.cpu,
        long_mode: config.long_mode,
    };
    let (mut blobs, regs) = x86::load(&machine, kernel, files.modules, &files.cmdline)?;
    let tables = mp_table::tables(config.cpus);
    blobs.push(Blob { name: "MP tables".into(), gpa: Gpa(mp_table::PLACE), bytes: tables.into(), zeros: 0 });
    Ok((board, Boot { blobs, fdt: None, regs: Some(regs), ports: Vec::new() }))
}

fn check(config: &Config) -> Result<(), Error> {
    let ram = config.ram;
    if ram == 0 || !ram.is_multiple_of(vm::ram::PAGE_SIZE) {
        return Err(Error::OddRam { machine: NAME, asked: ram });
    }
    let max = (1 << config.physical_bits.min(52)) - (HIGH_RAM - LOW_RAM);
    if ram > max {
        let (cpu, pa_bits) = (config.cpu.clone(), config.physical_bits);
        return Err(Error::TooMuchRam { machine: NAME, asked_mib: ram >> 20, cpu, pa_bits, max_mib: max >> 20 });
    }
    let max = MAX_CPUS;
    if config.cpus == 0 || config.cpus > max {
        return Err(Error::TooManyCpus { machine: NAME, asked: config.cpus, max, why: "on this machine" });
    }
    Ok(())
}

/// RAM as the kernel is told of it. The last KiB below 640 KiB and what follows are a PC's.
fn memory_map(ram: u64) -> MemoryMap {
    let mut map = vec![(0..0x9_fc00, Kind::Ram), (0x9_fc00..0x10_0000, Kind::Reserved)];
    map.push((0x10_0000..ram.min(LOW_RAM), Kind::Ram));
    if ram > LOW_RAM {
        map.push((HIGH_RAM..HIGH_RAM + (ram - LOW_RAM), Kind::Ram));
    }
    map
}

fn board(config: &Config) -> Board {
    let cpus = config.cpus;
    let mut b = Board::new(NAME);
    b.ram("ram", 0, config.ram.min(LOW_RAM));
    if config.ram > LOW_RAM {
        b.ram("ram-high", HIGH_RAM, config.ram - LOW_RAM);
    }
    for n in 0..cpus {
        let inputs = vec![("pin".into(), CPU_LINES + 1)];
        b.cpus.push(CpuDesc { path: format!("cpu{n}"), model: config.cpu.clone(), inputs, outputs: Vec::new() });
    }
    interrupts::add(&mut b, cpus, &Arc::default());
    b.add::<I8254>("pit", |w| Ok(Made::cell(I8254::cell(w.irq(0), w.timers()))))
        .at_port(0x40)
        .at_port(0x61)
        .irq(gsi(0));
    b.add::<I8042>("i8042", |w| {
        let reset = IrqLine::to(Arc::new(ResetPin(w.power().clone())), 0);
        let lines = Lines { keyboard: w.irq(0), aux: w.irq(1), a20: IrqLine::unconnected(), reset };
        Ok(Made::cell(Arc::new(DeviceCell::new(I8042::new(lines)))))
    })
    .at_port(0x60)
    .at_port(0x64)
    .irqs([gsi(1), gsi(12)]);
    let (low, high) = (config.ram.min(LOW_RAM), config.ram.saturating_sub(LOW_RAM));
    b.add::<Mc146818>("rtc", move |w| {
        let cmos = pc_cmos(&PcSetup { below_4g: low, above_4g: high, cpus, ..PcSetup::default() });
        Ok(Made::cell(Mc146818::cell(w.irq(0), w.timers(), cmos)))
    })
    .at_port(0x70)
    .irq(gsi(8));
    let serial = b.add::<Ns16550a>("serial0", |w| {
        let port = if w.has_chardev() { w.chardev()? } else { Arc::new(CharPort::null()) };
        Ok(Made::cell(Ns16550a::cell(w.irq(0), port, w.timers())))
    });
    serial.at_port(0x3f8).irq(gsi(4));
    if let Some(id) = &config.serial {
        serial.chardev(id);
    }
    b
}
