//! Stage 1 address translation of the EL1&0 regime (Arm ARM DDI 0487, D8 "The AArch64 Virtual Memory System
//! Architecture", in the VMSAv8-64 format).

use crate::features::Feature;
use crate::mode::Mode;
use crate::state::Cpu;
use tcg::frontend::Translation;
use vm::address_space::Span;
use vm::vcpu::Intent;
use vm::{Backing, FlatView, Gpa};

/// Rights of EL0 ([`Mem::mmu`](tcg::Mem)).
pub const EL0: u8 = 0;
/// Rights of EL1.
pub const EL1: u8 = 1;
/// Rights of EL1 while PSTATE.PAN is set.
pub const EL1_PAN: u8 = 2;
/// Rights of EL0, for instructions of EL1 (LDTR, STTR): apart, for EL1 may use another address space than EL0 does.
pub const EL0_FOR_EL1: u8 = 3;
/// Rights of EL1 and of EL0 for EL1 while EL1 is visiting an address space ([`Cpu::is_visiting`]): apart, so that the
/// tables of the one where it stays are not emptied.
pub const VISITING_EL1: u8 = 4;
pub const VISITING_EL0_FOR_EL1: u8 = 5;

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

    /// Whether EL1 executes in an address space that it only passes through, as operating systems do that unmap themselves
    /// from EL0: they have a pair of ASIDs for each process, the odd one for EL0 and the way in and out. It is a guess that
    /// decides where translations are kept, never what they are.
    pub fn is_visiting(&self) -> bool {
        self.local_kernel_code && self.pstate.el != 0 && self.asid() & 1 != 0
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
    let regime = match regime {
        EL0_FOR_EL1 | VISITING_EL0_FOR_EL1 => EL0,
        VISITING_EL1 => EL1,
        regime => regime,
    };
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
    let mut span = None;
    loop {
        let shift = half.granule + stride * (3 - level);
        let index = va >> shift & ((1 << width) - 1);
        let at = Gpa(table | index << 3);
        let mut descriptor = load_descriptor(view, &mut span, at).ok_or(fault(FaultKind::Walk, level))?;
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
            EL0 => (el0, el0 && writable, !(uxn || bit(54) || wxn && el0 && writable)),
            _ => {
                // What EL0 can write, EL1 never executes.
                let execute = !(pxn || bit(53) || el0 && writable || wxn && writable);
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

/// Reads a descriptor; tables of all levels are likely to lie in one span.
fn load_descriptor<'a>(view: &'a FlatView, span: &mut Option<&'a Span>, at: Gpa) -> Option<u64> {
    if span.is_none_or(|span| at < span.start || at > span.last) {
        *span = view.find(at);
    }
    match (*span)? {
        Span { start, last, backing: Backing::Ram { ram, offset }, .. } if last.0 - at.0 >= 7 => {
            ram.load(offset + (at.0 - start.0), 8)
        }
        _ => view.load(at, 8).ok(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Machine, RAM};

    const VALID: u64 = 1;
    const TABLE: u64 = 3;
    const AF: u64 = 1 << 10;
    const NG: u64 = 1 << 11;
    const AP_EL0: u64 = 1 << 6;
    const AP_RO: u64 = 1 << 7;
    const PXN: u64 = 1 << 53;
    const UXN: u64 = 1 << 54;
    /// Where tables are built, with 64 KiB for each level.
    const TABLES: u64 = RAM + 0x8_0000;
    /// Attribute 0 is Device-nGnRnE, attribute 1 Normal.
    const NORMAL: u64 = 1 << 2;

    /// A machine whose MMU is on with one granule and address size for both halves, and one mapping.
    struct Tables {
        m: Machine,
        granule: u32,
        va_bits: u32,
    }

    impl Tables {
        fn new(granule: u32, va_bits: u32) -> Tables {
            let mut m = Machine::new("max");
            let (tg0, tg1) = match granule {
                12 => (0, 2),
                14 => (2, 1),
                _ => (1, 3),
            };
            let size = u64::from(64 - va_bits);
            let sys = &mut m.cpu().sys;
            sys.tcr_el1 = size | size << 16 | tg0 << 14 | tg1 << 30 | 5 << 32;
            sys.ttbr0_el1 = TABLES;
            sys.ttbr1_el1 = TABLES;
            sys.mair_el1 = 0xff00;
            sys.sctlr_el1 |= SCTLR_M;
            Tables { m, granule, va_bits }
        }

        fn start(&self) -> u32 {
            4 - (self.va_bits - self.granule).div_ceil(self.granule - 3)
        }

        /// Puts `descriptor` at `level` of the walk of `va`, under tables with `table_bits`.
        fn map(&mut self, va: u64, level: u32, descriptor: u64, table_bits: u64) {
            let stride = self.granule - 3;
            let start = self.start();
            for at in start..=level {
                let shift = self.granule + stride * (3 - at);
                let width = if at == start { self.va_bits - shift } else { stride };
                let index = va >> shift & ((1 << width) - 1);
                let table = TABLES + 0x1_0000 * u64::from(at - start);
                let value = if at == level { descriptor } else { (table + 0x1_0000) | TABLE | table_bits };
                self.m.write_u64(table + 8 * index, value);
            }
        }

        fn walk(&mut self, va: u64, intent: Intent, regime: u8) -> Result<Walked, Fault> {
            let view = self.m.bus.view();
            walk(self.m.cpu(), &view, va, intent, regime)
        }

        fn read(&mut self, va: u64) -> Result<Walked, Fault> {
            self.walk(va, Intent::Read, EL1)
        }

        /// What each regime may do, as `r`, `w`, `x` for EL0, EL1, EL1 with PAN.
        fn rights(&mut self, va: u64) -> String {
            let mut text = String::new();
            for regime in [EL0, EL1, EL1_PAN] {
                for (intent, letter) in [(Intent::Read, 'r'), (Intent::Write, 'w'), (Intent::Fetch, 'x')] {
                    let result = self.walk(va, intent, regime);
                    if let Err(fault) = result {
                        assert_eq!(fault.kind, FaultKind::Permission);
                    }
                    text.push(if result.is_ok() { letter } else { '-' });
                }
                text.push(' ');
            }
            text.trim_end().into()
        }
    }

    fn fault(kind: FaultKind, level: u32) -> Result<Walked, Fault> {
        Err(Fault { kind, level })
    }

    #[test]
    fn pages_and_blocks_of_every_granule() {
        // Granule, address bits, level of the last descriptor, log2 of what it maps.
        let rows = [
            (12, 48, 3, 12),
            (12, 48, 2, 21),
            (12, 48, 1, 30),
            (12, 39, 3, 12),
            (12, 39, 1, 30),
            (12, 36, 2, 21),
            (12, 30, 3, 12),
            (12, 25, 3, 12),
            (14, 48, 3, 14),
            (14, 48, 2, 25),
            (14, 47, 3, 14),
            (14, 36, 2, 25),
            (16, 48, 3, 16),
            (16, 48, 2, 29),
            (16, 42, 3, 16),
            (16, 42, 2, 29),
        ];
        for (granule, bits, level, log2) in rows {
            for high in [false, true] {
                let mut t = Tables::new(granule, bits);
                let low_bits = 0x0012_3456_789a_bcde & ((1 << bits) - 1);
                let va = if high { !((1 << bits) - 1) | low_bits } else { low_bits };
                let output = 0x0000_4000_0000_0000u64 | 1 << log2;
                let kind = if level == 3 { TABLE } else { VALID };
                t.map(va, level, output | kind | AF | NORMAL | NG, 0);
                let walked = t.read(va).unwrap_or_else(|f| panic!("{granule} {bits} {level} {high}: {f:?}"));
                assert_eq!(walked.page.gpa.0, output | va & ((1 << log2) - 1), "{granule} {bits} {level}");
                assert_eq!(u32::from(walked.page.page_log2), log2);
                assert!(!walked.page.strict && !walked.page.global && walked.attributes == 0xff);
            }
        }
    }

    #[test]
    fn each_fault_has_its_kind_and_level() {
        use FaultKind::*;
        let va = 0x1_2345_6000;
        for granule in [12, 14, 16] {
            let start = Tables::new(granule, 48).start();
            for level in start..=3 {
                let mut t = Tables::new(granule, 48);
                assert_eq!(t.read(va), fault(Translation, start), "nothing is mapped");
                t.map(va, level, 0, 0);
                assert_eq!(t.read(va), fault(Translation, level));
                // Bit 0 clear is invalid whatever bit 1 says.
                t.map(va, level, 2, 0);
                assert_eq!(t.read(va), fault(Translation, level));
                let kind = if level == 3 { TABLE } else { VALID };
                t.map(va, level, kind | AF, 0);
                let block = level == 3 || level == 2 || level == 1 && granule == 12;
                assert_eq!(t.read(va).is_ok(), block, "{granule} {level}");
                if block {
                    t.map(va, level, kind, 0);
                    assert_eq!(t.read(va), fault(AccessFlag, level));
                    t.map(va, level, kind | AF | AP_RO, 0);
                    assert_eq!(t.walk(va, Intent::Write, EL1), fault(Permission, level));
                    // More than TCR_EL1.IPS allows; the fault comes before that of the access flag.
                    t.m.cpu().sys.tcr_el1 &= !(7 << 32);
                    t.map(va, level, kind | 1 << 40, 0);
                    // The tables themselves lie within 32 bits.
                    assert_eq!(t.read(va), fault(AddressSize, level));
                } else {
                    assert_eq!(t.read(va), fault(Translation, level));
                }
                if level < 3 {
                    // A table where nothing answers.
                    let mut t = Tables::new(granule, 48);
                    t.map(va, level, 0x7000_0000 | TABLE, 0);
                    assert_eq!(t.read(va), fault(Walk, level + 1));
                }
            }
            // Level 3 descriptors with bit 1 clear are reserved.
            let mut t = Tables::new(granule, 48);
            t.map(va, 3, VALID | AF, 0);
            assert_eq!(t.read(va), fault(Translation, 3));
        }
        let mut t = Tables::new(12, 48);
        t.m.cpu().sys.ttbr0_el1 = 0x7000_0000;
        assert_eq!(t.read(va), fault(Walk, 0));
        t.m.cpu().sys.tcr_el1 &= !(7 << 32);
        t.m.cpu().sys.ttbr0_el1 = 1 << 40;
        assert_eq!(t.read(va), fault(AddressSize, 0));
    }

    #[test]
    fn status_codes() {
        use FaultKind::*;
        let rows = [
            (AddressSize, 0, 0x00),
            (AddressSize, 3, 0x03),
            (Translation, 0, 0x04),
            (Translation, 1, 0x05),
            (AccessFlag, 1, 0x09),
            (Permission, 3, 0x0f),
            (Walk, 0, 0x14),
            (Walk, 3, 0x17),
        ];
        for (kind, level, status) in rows {
            assert_eq!(Fault { kind, level }.status(), status);
        }
    }

    #[test]
    fn permissions_by_regime() {
        const RO: u64 = AP_RO;
        const EL0_RO: u64 = AP_RO | AP_EL0;
        // Descriptor bits, WXN; rights of EL0, EL1, EL1 with PAN. Fetches never use the last, its `x` is EL1's.
        let rows = [
            (0, false, "--x rwx rwx"),
            (AP_EL0, false, "rwx rw- ---"),
            (RO, false, "--x r-x r-x"),
            (EL0_RO, false, "r-x r-x --x"),
            (UXN, false, "--- rwx rwx"),
            (PXN, false, "--x rw- rw-"),
            (EL0_RO | PXN, false, "r-x r-- ---"),
            (EL0_RO | UXN, false, "r-- r-x --x"),
            (AP_EL0 | UXN | PXN, false, "rw- rw- ---"),
            (0, true, "--x rw- rw-"),
            (AP_EL0, true, "rw- rw- ---"),
            (EL0_RO, true, "r-x r-x --x"),
        ];
        for (bits, wxn, rights) in rows {
            let mut t = Tables::new(12, 39);
            t.map(0x5000, 3, RAM | TABLE | AF | NORMAL | bits, 0);
            if wxn {
                t.m.cpu().sys.sctlr_el1 |= SCTLR_WXN;
            }
            assert_eq!(t.rights(0x5000), rights, "{bits:#x} {wxn}");
        }
    }

    #[test]
    fn tables_restrict_what_is_below_them() {
        const PXN_TABLE: u64 = 1 << 59;
        const UXN_TABLE: u64 = 1 << 60;
        const NO_EL0: u64 = 1 << 61;
        const READ_ONLY: u64 = 1 << 62;
        let rows = [
            (PXN_TABLE, AP_EL0 | AP_RO, "r-x r-- ---"),
            (UXN_TABLE, AP_EL0 | AP_RO, "r-- r-x --x"),
            (NO_EL0, AP_EL0, "--x rwx rwx"),
            (READ_ONLY, AP_EL0, "r-x r-x --x"),
            (NO_EL0 | READ_ONLY, AP_EL0, "--x r-x r-x"),
        ];
        for (table, page, rights) in rows {
            let mut t = Tables::new(12, 39);
            t.map(0x5000, 3, RAM | TABLE | AF | NORMAL | page, table);
            assert_eq!(t.rights(0x5000), rights, "{table:#x}");
            let mut plain = Tables::new(12, 39);
            plain.map(0x5000, 3, RAM | TABLE | AF | NORMAL | page, 0);
            t.m.cpu().sys.tcr_el1 |= 1 << 41;
            assert_eq!(t.rights(0x5000), plain.rights(0x5000), "HPD0");
        }
    }

    #[test]
    fn halves_tags_and_switches() {
        let page = RAM | TABLE | AF | NORMAL;
        let tagged = 0xaa00_0000_0000_5123;
        let mut t = Tables::new(12, 39);
        t.map(0x5000, 3, page, 0);
        assert_eq!(t.read(tagged), fault(FaultKind::Translation, 0));
        assert_eq!(t.read(1 << 39), fault(FaultKind::Translation, 0), "beyond T0SZ");
        t.m.cpu().sys.tcr_el1 |= 1 << 37;
        assert_eq!(t.read(tagged).unwrap().page.gpa.0, RAM + 0x123);
        assert_eq!(t.walk(tagged, Intent::Fetch, EL1).unwrap().page.gpa.0, RAM + 0x123);
        t.m.cpu().sys.tcr_el1 |= 1 << 51;
        assert!(t.read(tagged).is_ok());
        assert_eq!(t.walk(tagged, Intent::Fetch, EL1), fault(FaultKind::Translation, 0), "TBID0");
        // E0PD0 keeps EL0 out; EPD0 everybody.
        t.m.cpu().sys.tcr_el1 |= 1 << 55;
        assert_eq!(t.walk(0x5000, Intent::Fetch, EL0), fault(FaultKind::Translation, 0));
        assert!(t.read(0x5000).is_ok());
        t.m.cpu().sys.tcr_el1 |= 1 << 7;
        assert_eq!(t.read(0x5000), fault(FaultKind::Translation, 0));
        // The upper half has its own switches.
        let upper = 0xffff_ff80_0000_5000;
        assert_eq!(t.read(upper).unwrap().page.gpa.0, RAM);
        assert_eq!(t.read(upper & !(1 << 60)), fault(FaultKind::Translation, 0));
        t.m.cpu().sys.tcr_el1 |= 1 << 23;
        assert_eq!(t.read(upper), fault(FaultKind::Translation, 0));
    }

    #[test]
    fn attributes_address_spaces_and_guarded_pages() {
        let mut t = Tables::new(12, 39);
        t.map(0x5000, 3, RAM | TABLE | AF | 1 << 50, 0);
        let page = t.read(0x5000).unwrap().page;
        assert!(page.strict && page.global && page.code_mode == Mode::default().with_guarded(1).0);
        t.m.cpu().sys.ttbr0_el1 |= 0x1234 << 48;
        t.m.cpu().sys.ttbr1_el1 |= 0x5678 << 48;
        for (tcr, space) in [(0, 0x34), (1 << 36, 0x1234), (1 << 36 | 1 << 22, 0x5678), (1 << 22, 0x78)] {
            t.m.cpu().sys.tcr_el1 &= !(1 << 36 | 1 << 22);
            t.m.cpu().sys.tcr_el1 |= tcr;
            assert_eq!(t.read(0x5000).unwrap().page.space, space);
        }
    }

    #[test]
    fn big_endian_tables() {
        let mut t = Tables::new(16, 42);
        t.m.cpu().sys.sctlr_el1 |= SCTLR_EE;
        let (index, shift) = (1, 29);
        t.m.write_u64(TABLES + 8 * index, (0x2_0000_0000u64 | VALID | AF).swap_bytes());
        assert_eq!(t.read(index << shift | 5).unwrap().page.gpa.0, 0x2_0000_0005);
    }

    #[test]
    fn without_the_mmu_addresses_are_physical() {
        let mut m = Machine::new("cortex-a53");
        let view = m.bus.view();
        let at = |m: &mut Machine, va| walk(m.cpu(), &view, va, Intent::Read, EL1);
        assert_eq!(at(&mut m, 0xff_ffff_ffff).unwrap().page.gpa.0, 0xff_ffff_ffff);
        assert_eq!(at(&mut m, 1 << 40), fault(FaultKind::AddressSize, 0));
        assert_eq!(at(&mut m, 1 << 60 | 5), fault(FaultKind::AddressSize, 0));
        m.cpu().sys.tcr_el1 |= 1 << 37;
        assert_eq!(at(&mut m, 1 << 60 | 5).unwrap().page.gpa.0, 5);
    }
}
