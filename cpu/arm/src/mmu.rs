//! Stage 1 address translation of the EL1&0 regime (Arm ARM DDI 0487, D8 "The AArch64 Virtual Memory System
//! Architecture", in the VMSAv8-64 format).

use crate::features::Feature;
use crate::mode::Mode;
use crate::state::Cpu;
use tcg::frontend::Translation;
use vm::vcpu::Intent;
use vm::{FlatView, Gpa};

/// Rights of EL0 ([`Mem::mmu`](tcg::Mem)).
pub const EL0: u8 = 0;
/// Rights of EL1.
pub const EL1: u8 = 1;
/// Rights of EL1 while PSTATE.PAN is set.
pub const EL1_PAN: u8 = 2;

/// SCTLR_EL1 bits.
pub const SCTLR_M: u64 = 1;
const SCTLR_WXN: u64 = 1 << 19;
const SCTLR_EE: u64 = 1 << 25;

/// Why a translation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    AddressSize,
    Translation,
    AccessFlag,
    Permission,
    /// The bus did not answer the walk's read of a descriptor.
    Walk,
}

/// A failed translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Level of the lookup, 0 to 3.
    pub level: u32,
}

impl Fault {
    /// The fault status code (DFSC, IFSC, PAR_EL1.FST).
    pub fn status(self) -> u64 {
        let class = match self.kind {
            FaultKind::AddressSize => 0x00,
            FaultKind::Translation => 0x04,
            FaultKind::AccessFlag => 0x08,
            FaultKind::Permission => 0x0c,
            FaultKind::Walk => 0x14,
        };
        class | u64::from(self.level & 3)
    }
}

/// A translation and the attributes of the memory behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    pub page: Translation,
    /// The MAIR_EL1 byte.
    pub attributes: u8,
    /// SH of the descriptor.
    pub shareability: u64,
}

/// What the registers say of one half of the address space.
struct Half {
    ttbr: u64,
    /// log2 of the granule.
    granule: u32,
    /// Bits of a virtual address.
    va_bits: u32,
    /// Walks are off (EPD), or off for EL0 (E0PD).
    disabled: bool,
    /// Lowest ignored bit of an address: 56 or 64.
    top: u32,
    /// Hierarchical permissions are off.
    hpd: bool,
}

fn half_of(cpu: &Cpu, va: u64, intent: Intent, regime: u8) -> Half {
    let (tcr, features) = (cpu.sys.tcr_el1, cpu.model.features);
    let high = va >> 55 & 1;
    let bit = |n: u64| tcr >> n & 1 != 0;
    // TG0 and TG1 are encoded differently; a reserved or missing size is taken for 4 KiB.
    let granule = match (high, if high == 0 { tcr >> 14 & 3 } else { tcr >> 30 & 3 }) {
        (0, 1) | (1, 3) => 16,
        (0, 2) | (1, 1) if cpu.model.granule_16k => 14,
        _ => 12,
    };
    let size = tcr >> (16 * high) & 0x3f;
    let tbi = bit(37 + high) && !(intent == Intent::Fetch && bit(51 + high));
    Half {
        ttbr: if high == 0 { cpu.sys.ttbr0_el1 } else { cpu.sys.ttbr1_el1 },
        granule,
        va_bits: 64 - size.clamp(16, 39) as u32,
        disabled: bit(7 + 16 * high) || regime == EL0 && features.has(Feature::E0PD) && bit(55 + high),
        top: if tbi { 56 } else { 64 },
        hpd: features.has(Feature::HPDS) && bit(41 + high),
    }
}

/// Bits `high - 1` to `low`.
fn field(value: u64, low: u32, high: u32) -> u64 {
    let below = |n: u32| if n >= 64 { u64::MAX } else { (1 << n) - 1 };
    value & below(high) & !below(low)
}

impl Cpu {
    /// The current ASID.
    pub fn asid(&self) -> u32 {
        let ttbr = if self.sys.tcr_el1 >> 22 & 1 != 0 { self.sys.ttbr1_el1 } else { self.sys.ttbr0_el1 };
        self.asid_bits(ttbr >> 48)
    }

    /// The bits of an ASID that count (TCR_EL1.AS).
    pub fn asid_bits(&self, asid: u64) -> u32 {
        let wide = self.sys.tcr_el1 >> 36 & 1 != 0 && self.model.features.has(Feature::ASID16);
        asid as u32 & if wide { 0xffff } else { 0xff }
    }

    /// Physical address bits in use: TCR_EL1.IPS, at most what the processor has.
    fn output_bits(&self) -> u32 {
        let ips = match self.sys.tcr_el1 >> 32 & 7 {
            0 => 32,
            1 => 36,
            2 => 40,
            3 => 42,
            4 => 44,
            _ => 48,
        };
        self.model.pa_bits.min(ips)
    }
}

/// Translates `va` for an access with the rights of `regime`.
///
/// # Errors
/// The fault that the access takes.
pub fn walk(cpu: &Cpu, view: &FlatView, va: u64, intent: Intent, regime: u8) -> Result<Walked, Fault> {
    if cpu.sys.sctlr_el1 & SCTLR_M == 0 {
        return flat(cpu, va, intent);
    }
    let half = half_of(cpu, va, intent, regime);
    let high = va >> 55 & 1 != 0;
    let fault = |kind, level| Fault { kind, level };
    // All bits from the top of the range up to the tag must repeat bit 55.
    let sign = field(if high { u64::MAX } else { 0 }, half.va_bits, half.top);
    if half.disabled || field(va, half.va_bits, half.top) != sign {
        return Err(fault(FaultKind::Translation, 0));
    }
    let stride = half.granule - 3;
    let levels = (half.va_bits - half.granule).div_ceil(stride);
    let mut level = 4 - levels;
    // The first table may resolve fewer bits than the others.
    let mut width = half.va_bits - half.granule - stride * (levels - 1);
    let output_bits = cpu.output_bits();
    let too_big = |pa: u64| field(pa, output_bits, 64) != 0;
    let mut table = field(half.ttbr, width + 3, 48);
    if too_big(table) {
        return Err(fault(FaultKind::AddressSize, 0));
    }
    let (mut no_el0, mut read_only, mut uxn, mut pxn) = (false, false, false, false);
    loop {
        let shift = half.granule + stride * (3 - level);
        let index = va >> shift & ((1 << width) - 1);
        let at = Gpa(table | index << 3);
        let mut descriptor = view.load(at, 8).map_err(|_| fault(FaultKind::Walk, level))?;
        if cpu.sys.sctlr_el1 & SCTLR_EE != 0 {
            descriptor = descriptor.swap_bytes();
        }
        let bit = |n: u32| descriptor >> n & 1 != 0;
        // Blocks: at levels 1 and 2 of the 4 KiB granule, 2 of the others. At level 3 only pages.
        let block = match level {
            3 => bit(1),
            2 => !bit(1),
            1 => !bit(1) && half.granule == 12,
            _ => false,
        };
        if !bit(0) || !block && !bit(1) || level == 3 && !block {
            return Err(fault(FaultKind::Translation, level));
        }
        let output = field(descriptor, if block { shift } else { half.granule }, 48);
        if too_big(output) {
            return Err(fault(FaultKind::AddressSize, level));
        }
        if !block {
            if !half.hpd {
                pxn |= bit(59);
                uxn |= bit(60);
                no_el0 |= bit(61);
                read_only |= bit(62);
            }
            table = output;
            width = stride;
            level += 1;
            continue;
        }
        if !bit(10) {
            return Err(fault(FaultKind::AccessFlag, level));
        }
        let el0 = bit(6) && !no_el0;
        let writable = !bit(7) && !read_only;
        let wxn = cpu.sys.sctlr_el1 & SCTLR_WXN != 0;
        let (read, write, execute) = match regime {
            EL0 => (el0, el0 && writable, !(uxn || bit(54)) && !(wxn && el0 && writable)),
            _ => {
                // What EL0 can write, EL1 never executes.
                let execute = !(pxn || bit(53)) && !(el0 && writable) && !(wxn && writable);
                let denied = regime == EL1_PAN && el0;
                (!denied, writable && !denied, execute)
            }
        };
        let allowed = match intent {
            Intent::Read => read,
            Intent::Write => write,
            Intent::Fetch => execute,
        };
        if !allowed {
            return Err(fault(FaultKind::Permission, level));
        }
        let attributes = (cpu.sys.mair_el1 >> (8 * (descriptor >> 2 & 7))) as u8;
        let guarded = bit(50) && cpu.model.features.has(Feature::BTI);
        return Ok(Walked {
            page: Translation {
                gpa: Gpa(output | field(va, 0, shift)),
                page_log2: shift as u8,
                read,
                write,
                execute,
                global: !bit(11),
                space: cpu.asid(),
                strict: attributes & 0xf0 == 0,
                code_mode: Mode::default().with_guarded(guarded.into()).0,
            },
            attributes,
            shareability: descriptor >> 8 & 3,
        });
    }
}

/// Translation while the MMU is off (D8.2.10 "The effects of disabling an address translation stage"): the address is
/// physical, data is Device-nGnRnE; that its accesses must be aligned is said by the mode.
fn flat(cpu: &Cpu, va: u64, intent: Intent) -> Result<Walked, Fault> {
    let high = va >> 55 & 1;
    let tbi = cpu.sys.tcr_el1 >> (37 + high) & 1 != 0
        && !(intent == Intent::Fetch && cpu.sys.tcr_el1 >> (51 + high) & 1 != 0);
    let address = if tbi { field(va, 0, 56) } else { va };
    if field(address, cpu.model.pa_bits, 64) != 0 {
        return Err(Fault { kind: FaultKind::AddressSize, level: 0 });
    }
    let page = Translation {
        gpa: Gpa(address),
        page_log2: 30,
        read: true,
        write: true,
        execute: true,
        global: true,
        space: 0,
        strict: false,
        code_mode: 0,
    };
    Ok(Walked { page, attributes: 0, shareability: 2 })
}
