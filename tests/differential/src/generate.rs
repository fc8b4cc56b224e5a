//! Makes cases: an encoding of a row of the tables, and register states for it.

use crate::random::Random;
use crate::wire::*;
use arm::a64::decode::{ROWS, row_of};
use decodetree::runtime::Row;

/// What is not sent to the runner, by row name, and why.
pub const LEFT_OUT: &[(&str, &str)] =
    &[("svc", "would be a system call of the runner"), ("wfi", "qemu-aarch64 gives up")];

/// System registers of EL0 that are the same everywhere, and the bits of them that have a meaning.
const REGISTERS: &[(u32, u64)] = &[
    (register(3, 3, 4, 2, 0), 0xf000_0000), // NZCV
    (register(3, 3, 4, 4, 0), FPCR_BITS),   // FPCR
    (register(3, 3, 4, 4, 1), FPSR_BITS),   // FPSR
];
/// AHP, DN, FZ, RMode, FZ16.
const FPCR_BITS: u64 = 0x07c8_0000;
/// QC, IDC, IXC, UFC, OFC, DZC, IOC.
const FPSR_BITS: u64 = 0x0800_009f;

/// Bits 20 to 5 of MRS: op0 to op2.
const fn register(op0: u32, op1: u32, crn: u32, crm: u32, op2: u32) -> u32 {
    op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5
}

/// The rows that are sent, one for each name and format.
pub fn rows(only: Option<&str>) -> Vec<&'static Row> {
    let left_out = |row: &Row| LEFT_OUT.iter().any(|(name, _)| *name == row.name);
    ROWS.iter().filter(|row| !left_out(row) && only.is_none_or(|only| only == row.name)).collect()
}

/// An encoding: one or two instructions, and how to run them.
#[derive(Clone, Copy)]
pub struct Encoding {
    /// The row under test.
    pub row: &'static Row,
    /// Instructions as in [`Case`].
    pub insn: u32,
    pub insn2: u32,
    isolated: bool,
}

/// Where a row's instructions read and write memory.
fn accesses_memory(row: &Row) -> bool {
    row.source.contains("load_store") && !row.name.contains("literal")
}

/// Whether QEMU's result is known to be another one now and then, which a second instruction would spread.
fn deviates(row: &Row) -> bool {
    matches!(row.name, "fcvtzs_fixed_s" | "fjcvtzs")
}

fn isolated(row: &Row) -> bool {
    matches!(row.format, "BranchCond" | "BranchImm" | "CompareBranch" | "TestBranch" | "BranchReg" | "Exception")
        || matches!(row.format, "PcRel" | "LoadLiteral" | "PrefetchLiteral")
}

/// Why an encoding of a row must not be sent.
fn unfit(row: &Row, word: u32) -> Option<&'static str> {
    let field = |name| row.field(name, word);
    let same = |a, b| field(a).is_some() && field(a) == field(b);
    let base_is = |a| same("rn", a) && field("rn") != Some(31);
    let sysreg = |op0: u32, op1: u32, crn: u32| {
        (field("o0"), field("op1"), field("crn")) == (Some(op0 - 2), Some(op1), Some(crn))
    };
    let name = row.name;
    let writes_back = name.contains("_post") || name.contains("_pre");
    let simd =
        name.ends_with("_v") || name.contains("multiple") || name.contains("single") || name.contains("replicate");
    let unpredictable = match row.format {
        "LoadStoreImm9" => writes_back && !simd && base_is("rt"),
        "LoadStorePair" => {
            writes_back && !simd && (base_is("rt") || base_is("rt2")) || name.starts_with("ld") && same("rt", "rt2")
        }
        "LoadExclusivePair" => same("rt", "rt2"),
        "StoreExclusive" | "StoreExclusivePair" => same("rs", "rt") || same("rs", "rt2") || base_is("rs"),
        _ => false,
    };
    // Twice the same register: the address could be anywhere, in the runner's own memory too.
    if matches!(row.format, "LoadStoreReg")
        && same("rn", "rm")
        && (field("s") != Some(0) || field("option").is_some_and(|o| o & 1 == 0))
    {
        return Some("an address that cannot be aimed");
    }
    if unpredictable {
        return Some("CONSTRAINED UNPREDICTABLE");
    }
    match row.format {
        "BranchCond" | "CompareBranch" if field("imm19") == Some(0) => Some("a branch to itself"),
        "BranchImm" if field("imm26") == Some(0) => Some("a branch to itself"),
        "TestBranch" if field("imm14") == Some(0) => Some("a branch to itself"),
        "Exception" if name == "hlt" && field("imm16") == Some(0xf000) => Some("semihosting"),
        "Hint" if (field("crm"), field("op2")) == (Some(0), Some(3)) => Some("WFI"),
        "SysReg" if REGISTERS.iter().any(|(id, _)| word & 0x1f_ffe0 == *id | 1 << 20) => None,
        "SysReg" if sysreg(3, 0, 0) => Some("identification registers: the kernel emulates reads"),
        "SysReg" if field("op1") == Some(3) => Some("other registers of EL0: models and kernels differ"),
        "MsrImm" if field("op1") == Some(3) && field("op2").is_some_and(|op2| op2 <= 4) => {
            Some("PSTATE fields that stay set, or belong to extensions that are not implemented")
        }
        "Sys" if field("op1") == Some(3) && field("crn") == Some(7) && !cache_maintenance(word) => {
            Some("extensions that are not implemented")
        }
        _ => None,
    }
}

/// DC ZVA, CVAC, CVAU, CIVAC; IC IVAU. (CVAP is undefined in qemu-aarch64 7.2.)
fn cache_maintenance(word: u32) -> bool {
    let op = |crm, op2| register(1, 3, 7, crm, op2);
    let ops = [op(4, 1), op(10, 1), op(11, 1), op(14, 1), op(5, 1)];
    ops.contains(&(word & 0x1f_ffe0))
}

/// A word of the row, registers and fields often at edges.
fn word_of(row: &'static Row, random: &mut Random) -> Option<u32> {
    for _ in 0..2000 {
        let mut word = random.bits() as u32;
        let mut registers = Vec::new();
        for field in row.fields.iter().filter(|f| f.constant.is_none()) {
            let ones = u32::MAX >> (32 - field.width);
            let is_register = field.width == 5 && matches!(field.name, "rd" | "rn" | "rm" | "ra" | "rt" | "rt2" | "rs");
            let value = if is_register {
                let register = match random.below(10) {
                    0 => 31,
                    1 => random.one_of(&[0, 30, 1]),
                    2 | 3 if !registers.is_empty() => random.one_of(&registers),
                    _ => random.below(32) as u32,
                };
                registers.push(register);
                register
            } else {
                match random.below(8) {
                    0 => 0,
                    1 => ones,
                    2 => 1 << random.below(field.width.into()),
                    _ => random.bits() as u32 & ones,
                }
            };
            word = word & !(ones << field.pos) | value << field.pos;
        }
        word = word & !row.mask | row.value;
        match row.format {
            "SysReg" if random.percent(70) => {
                let id = random.one_of(REGISTERS).0;
                word = word & !0x1f_ffe0 | id | 1 << 20;
            }
            "Sys" if random.percent(50) => {
                let (crm, op2) = random.one_of(&[(4, 1), (10, 1), (11, 1), (14, 1), (5, 1)]);
                word = word & !0x1f_ffe0 | register(1, 3, 7, crm, op2);
            }
            _ => {}
        }
        let word = word & !row.mask | row.value;
        if row.matches(word) && row_of(word).is_some_and(|r| r.name == row.name) && unfit(row, word).is_none() {
            return Some(word);
        }
    }
    None
}

/// An instruction of pointer authentication, with another before or after it so that the result does not depend on the
/// keys, which qemu-aarch64 draws at random: a pointer is signed and then authenticated, or its signature stripped.
fn keyed(row: &'static Row, random: &mut Random) -> Option<Encoding> {
    let word = word_of(row, random)?;
    let field = |name| row.field(name, word).unwrap_or(31);
    let of = |insn, insn2, isolated| Some(Encoding { row, insn, insn2, isolated });
    let (rd, rn, m) = (field("rd"), field("rn"), field("m"));
    let sign = |key: u32, modifier: u32, pointer: u32| 0xdac1_0000 | key << 10 | modifier << 5 | pointer;
    const ZERO_MODIFIER: u32 = 1 << 13 | 31 << 5;
    match row.format {
        "Pacga" if rd == 31 => None,
        // AND of the upper half's complement: the lower half is zero.
        "Pacga" => of(word, 0x9240_7c00 | rd << 5 | rd, false),
        "PAuthReg" if rd == 31 || rd == rn => None,
        "PAuthReg" if row.name.starts_with("aut") => of(word & !(1 << 12), word, false),
        "PAuthReg" if random.percent(50) => of(word, word | 1 << 12, false),
        "PAuthReg" => of(word, (if row.name.starts_with("paci") { 0xdac1_43e0 } else { 0xdac1_47e0 }) | rd, false),
        "NoOperands" if row.name.starts_with("aut") => of(word & !0x80, word, false),
        "NoOperands" if row.name.ends_with("1716") || random.percent(50) => of(word, word | 0x80, false),
        "NoOperands" => of(word, 0xd503_20ff, false),
        "BranchAuth" if rn == 31 || rn == field("rm") => None,
        "BranchAuth" => of(sign(m, field("rm"), rn), word, true),
        "BranchAuthZero" if rn == 31 => None,
        "BranchAuthZero" => of(sign(m, 0, rn) | ZERO_MODIFIER, word, true),
        "ReturnAuth" => of(0xd503_233f | m << 6, word, true),
        "LoadAuth" if rn == 31 || rn == field("rt") => None,
        "LoadAuth" => of(sign(2 + m, 0, rn) | ZERO_MODIFIER, word, false),
        _ => None,
    }
}

/// The register that holds the pointer which instruction `word` of a PAuth row authenticates or signs.
pub fn signed_register(row: &Row, word: u32) -> usize {
    let name = row.name;
    match row.format {
        "PAuthReg" => row.field("rd", word).unwrap_or(31) as usize,
        "NoOperands" if name.ends_with("1716") => 17,
        "NoOperands" | "ReturnAuth" => 30,
        _ => row.field("rn", word).unwrap_or(31) as usize,
    }
}

impl Encoding {
    /// An encoding of `row`, now and then followed by a second instruction; `None` if no word of it may be sent.
    pub fn random(row: &'static Row, all: &[&'static Row], random: &mut Random) -> Option<Encoding> {
        if row.feats.contains(&"PAuth") && !matches!(row.name, "xpaci" | "xpacd" | "xpaclri" | "ereta") {
            return (0..100).find_map(|_| keyed(row, random));
        }
        let word = word_of(row, random)?;
        let alone = Encoding { row, insn: word, insn2: 0, isolated: isolated(row) };
        let field = |name| row.field(name, word).unwrap_or(0);
        if matches!(row.format, "StoreExclusive" | "StoreExclusivePair") && random.percent(70) {
            // The load that makes the store succeed, into registers that the store does not use.
            let free = |not: &[u32]| (0..30).find(|n| !not.contains(n) && *n != field("rn")).unwrap_or(30);
            let first = free(&[field("rt"), field("rt2"), field("rs")]);
            let second = free(&[field("rt"), field("rt2"), field("rs"), first]);
            let pair = if row.format == "StoreExclusivePair" { 1 << 21 | second << 10 } else { 0x1f << 10 };
            let load = field("size") << 30 | 0x085f_0000 | pair | field("rn") << 5 | first;
            return Some(Encoding { insn: load, insn2: word, ..alone });
        }
        if matches!(row.format, "BranchCond" | "CompareBranch" | "TestBranch") && random.percent(50) {
            // A result and flags to branch on. A branch back to that instruction would never end.
            let back =
                [("imm19", 0x7_ffff), ("imm14", 0x3fff)].iter().any(|(name, one)| row.field(name, word) == Some(*one));
            let usable =
                |row: &&&'static Row| row.source.contains("dp_") && !isolated(row) && !row.feats.contains(&"PAuth");
            let sources: Vec<_> = all.iter().filter(usable).collect();
            if back || sources.is_empty() {
                return Some(alone);
            }
            let source = random.one_of(&sources);
            return Some(Encoding { insn: word_of(source, random)?, insn2: word, ..alone });
        }
        if alone.isolated
            || accesses_memory(row)
            || deviates(row)
            || matches!(row.format, "Sys" | "SysReg" | "MsrImm")
            || random.percent(75)
        {
            return Some(alone);
        }
        // What comes next depends on the result and the flags: most bugs between instructions are about those.
        let consumer = |row: &&&'static Row| {
            matches!(
                row.format,
                "CondSelect" | "CondCompareReg" | "CondCompareImm" | "AddSubCarry" | "FpCondSelect" | "FpCondCompare"
            )
        };
        let simple = |row: &&&'static Row| {
            !isolated(row)
                && !accesses_memory(row)
                && !deviates(row)
                && !row.feats.contains(&"PAuth")
                && !matches!(row.format, "Sys" | "SysReg" | "MsrImm" | "Exception")
        };
        let candidates: Vec<_> = if random.percent(50) {
            all.iter().filter(consumer).collect()
        } else {
            all.iter().filter(simple).collect()
        };
        if candidates.is_empty() {
            return Some(alone);
        }
        let next = random.one_of(&candidates);
        let mut second = word_of(next, random)?;
        if let (Some(rd), Some(rn)) = (row.field("rd", word), next.fields.iter().find(|f| f.name == "rn"))
            && rn.constant.is_none()
            && random.percent(50)
        {
            let changed = second & !(31 << rn.pos) | rd << rn.pos;
            second = if next.matches(changed) { changed } else { second };
        }
        Some(Encoding { insn2: second, ..alone })
    }

    /// A state to run it on.
    pub fn case(&self, random: &mut Random) -> Case {
        let mut state = State::default();
        for x in &mut state.x {
            *x = random.integer(64);
        }
        if random.percent(30) {
            let x = random.one_of(&state.x);
            let at = random.below(31) as usize;
            state.x[at] = x;
        }
        state.sp = random.integer(64);
        let kind = random.elements();
        for v in &mut state.v {
            let kind = if random.percent(80) { kind } else { random.elements() };
            *v = random.vector(kind);
        }
        if random.percent(30) {
            // Equal and nearly equal operands, and their negatives: sums cancel.
            for _ in 0..8 {
                let (v, at) = (random.one_of(&state.v), random.below(32) as usize);
                let signs = random.one_of(&[
                    0,
                    1 << 127 | 1 << 63,
                    0x8000_0000 << 96 | 0x8000_0000 << 64 | 0x8000_0000 << 32 | 0x8000_0000,
                ]);
                state.v[at] = (v ^ signs).wrapping_add(u128::from(random.below(2)));
            }
        }
        state.nzcv = random.below(16) << 28;
        // Half of the cases with the default mode, where results differ most between operands.
        if random.percent(50) {
            state.fpcr = random.bits() & FPCR_BITS;
        }
        if random.percent(50) {
            state.fpsr = random.bits() & FPSR_BITS;
        }
        let mut window = [0; WINDOW];
        for word in window.chunks_exact_mut(8) {
            let value = if random.percent(50) { random.bits() } else { random.integer(64) };
            word.copy_from_slice(&value.to_le_bytes());
        }
        let flags = if self.isolated { FLAG_ISOLATED } else { 0 };
        let mut case = Case { insn: self.insn, insn2: self.insn2, flags, window_offset: 0, state, window };
        self.aim(&mut case, random);
        case
    }

    /// Sets the registers that addresses come from.
    fn aim(&self, case: &mut Case, random: &mut Random) {
        let row = self.row;
        // The row's instruction may be the second.
        let word = if row.matches(self.insn) { self.insn } else { self.insn2 };
        let field = |name| row.field(name, word);
        match row.format {
            "PAuthReg" | "NoOperands" | "BranchAuth" | "BranchAuthZero" | "ReturnAuth"
                if self.insn2 != 0 && row.feats.contains(&"PAuth") =>
            {
                // A canonical pointer: bits 54 to 48 are like bit 55; the tag may be anything in the lower half.
                let target = match random.below(3) {
                    _ if self.isolated => (ISOLATED_PC + 8 + 4 * random.below(0x8000)) | (random.bits() << 56),
                    0 => random.bits() | 0xffff << 48,
                    _ => random.bits() & !(0xff << 48),
                };
                if let Some(x) = case.state.x.get_mut(signed_register(row, word)) {
                    *x = target;
                }
            }
            "BranchReg" => {
                let rn = field("rn").unwrap_or(31) as usize;
                let target = loop {
                    let target = match random.below(10) {
                        0 => random.below(0x1000),
                        1 => 0x50000,
                        2 => MEMORY + 8 * random.below(64),
                        3 => ISOLATED_PC + random.below(64),
                        4 => random.bits() << 56 | (ISOLATED_PC + 4 * random.below(512)),
                        5 => random.bits() & !0xffff | 1 << 50,
                        6 => ISOLATED + ISOLATED_SIZE,
                        _ => ISOLATED_PC + 4 * random.below(0x8000),
                    };
                    // Neither itself nor the runner's own code.
                    let plain = target & ((1 << 56) - 1);
                    if plain != ISOLATED_PC && plain & !7 != ISOLATED {
                        break target;
                    }
                };
                if let Some(x) = case.state.x.get_mut(rn) {
                    *x = target;
                }
            }
            "SysReg" => {
                let (rt, id) = (field("rt").unwrap_or(31) as usize, word & 0x1f_ffe0);
                let legal = REGISTERS.iter().find(|(register, _)| id == *register | 1 << 20);
                if let (Some(x), Some((_, bits))) = (case.state.x.get_mut(rt), legal) {
                    *x &= bits;
                }
            }
            "Sys" => {
                case.window_offset = 64 * random.below(0x1f00 / 64) as u32;
                let target = MEMORY + u64::from(case.window_offset) + random.below(WINDOW as u64);
                self.point(case, field("rt").unwrap_or(31), target, 64, random);
            }
            _ if accesses_memory(row) => {
                case.window_offset = match random.below(4) {
                    0 => 0,
                    // Across the pages, and to the end.
                    1 => 0xf80,
                    2 => 0x1f00,
                    _ => random.below(0x1f01) as u32,
                };
                if let Some(rm) = field("rm") {
                    let small = random.below(129).wrapping_sub(64);
                    let x = match field("option") {
                        Some(2 | 6) => random.bits() << 32 | small & 0xffff_ffff,
                        _ if row.format.ends_with("Post") => random.integer(64),
                        _ => small,
                    };
                    if rm < 31 && random.percent(90) {
                        case.state.x[rm as usize] = x;
                    }
                }
                let align = random.one_of(&[1, 4, 8, 16, 16, 16]);
                let target = MEMORY + u64::from(case.window_offset) + random.below(WINDOW as u64 - 64 + 1);
                let rn = field("rn").unwrap_or(31);
                let target = target.next_multiple_of(align);
                self.point(case, rn, target, 64, random);
                let post = row.format.ends_with("Post");
                let base = if rn == 31 { &mut case.state.sp } else { &mut case.state.x[rn as usize] };
                if field("rm") == Some(rn) && rn != 31 && !post && row.format != "PrefetchReg" {
                    // Base and offset are the same: half of the address each, its tag and odd byte lost.
                    *base = (target & !(255 << 56)) / 2;
                } else {
                    let pointer = *base;
                    let offset = self.offset(&case.state, word);
                    let base = if rn == 31 { &mut case.state.sp } else { &mut case.state.x[rn as usize] };
                    *base = pointer.wrapping_sub(offset);
                    if row.format == "LoadAuth" && *base >> 48 != 0xffff {
                        // A pointer that is not canonical is signed as invalid, which the keys may make valid.
                        *base &= !(0xff << 48);
                    }
                }
            }
            _ => {}
        }
    }

    /// Sets X`register` (SP for 31) to `target`, or now and then to the edge of the memory or to something else; an
    /// access of `bytes` from there.
    fn point(&self, case: &mut Case, register: u32, target: u64, bytes: u64, random: &mut Random) {
        let (end, window) = (MEMORY + MEMORY_SIZE, MEMORY + u64::from(case.window_offset));
        let target = match random.below(40) {
            0 => end - random.below(bytes),
            1 => end - (random.below(bytes) & !7),
            2 => MEMORY.wrapping_sub(random.below(bytes)),
            3 => random.bits() << 56 | target,
            4 => random.one_of(&[
                0,
                8,
                u64::MAX,
                1 << 47,
                1 << 48,
                1 << 55,
                (1 << 55) | target,
                end,
                0xffff_0000_0000_0000,
            ]),
            _ => target,
        };
        let plain = target & ((1 << 56) - 1);
        if plain < window || plain + bytes > window + WINDOW as u64 {
            case.flags |= FLAG_CLEAN;
        }
        match case.state.x.get_mut(register as usize) {
            Some(x) => *x = target,
            None => case.state.sp = target,
        }
    }

    /// What the instruction adds to its base register for the address.
    fn offset(&self, state: &State, word: u32) -> u64 {
        let row = self.row;
        let field = |name| row.field(name, word).unwrap_or(0);
        let signed = |value: u32, width: u32| ((u64::from(value) << (64 - width)) as i64 >> (64 - width)) as u64;
        let vector = row.name.ends_with("_v");
        let scale = if vector { field("size") | (field("opc") & 2) << 1 } else { field("size") };
        match row.format {
            "LoadStoreImm" => u64::from(field("imm12")) << scale,
            "LoadAuth" => signed(field("s") << 9 | field("imm9"), 10) << 3,
            "PrefetchImm" => u64::from(field("imm12")) << 3,
            "LoadStoreImm9" | "PrefetchUnscaled" if !row.name.contains("_post") => signed(field("imm9"), 9),
            "LoadStorePair" if !row.name.contains("_post") => {
                let scale = if vector {
                    2 + field("opc")
                } else if field("opc") == 2 {
                    3
                } else {
                    2
                };
                signed(field("imm7"), 7) << scale
            }
            "LoadStoreReg" | "PrefetchReg" => {
                let x = state.x.get(field("rm") as usize).copied().unwrap_or(0);
                let x = match field("option") {
                    2 => x & 0xffff_ffff,
                    6 => x as i32 as u64,
                    _ => x,
                };
                let scale = if row.format == "PrefetchReg" { 3 } else { scale };
                x << if field("s") == 1 { scale } else { 0 }
            }
            _ => 0,
        }
    }
}

/// The base register of the loads and stores in a [`sequence`].
const BASE: u32 = 28;

/// A sequence of up to 31 instructions without branches, and states for it. Most loads and stores go to the window.
pub fn sequence(all: &[&'static Row], random: &mut Random, states: usize) -> (Vec<u32>, Vec<Case>) {
    let len = 2 + random.below(30) as usize;
    let mut words = Vec::new();
    let usable = |row: &Row| {
        !isolated(row)
            && !row.feats.contains(&"PAuth")
            && !matches!(row.format, "Sys" | "MsrImm" | "Exception" | "LoadStoreReg" | "PrefetchReg")
    };
    let rows: Vec<_> = all.iter().filter(|row| usable(row)).collect();
    let integer: Vec<_> = rows.iter().filter(|row| row.source.contains("dp_")).copied().collect();
    let memory: Vec<_> = rows.iter().filter(|row| accesses_memory(row)).copied().collect();
    while words.len() < len {
        let kind = match random.below(4) {
            0 | 1 if !integer.is_empty() => &integer,
            2 if !memory.is_empty() => &memory,
            _ => &rows,
        };
        let row = random.one_of(kind);
        let Some(mut word) = word_of(row, random) else { continue };
        if accesses_memory(row) && random.percent(97) {
            word = word & !(31 << 5) | BASE << 5;
            let encoding = Encoding { row, insn: word, insn2: 0, isolated: false };
            let offset = encoding.offset(&State::default(), word) as i64;
            if !row.matches(word)
                || unfit(row, word).is_some()
                || !(-100..100).contains(&offset)
                || row.format.ends_with("Post")
            {
                continue;
            }
        }
        let writes_base = ["rd", "rt", "rt2", "rs"].iter().any(|name| row.field(name, word) == Some(BASE));
        if !writes_base || random.percent(5) {
            words.push(word);
        }
    }
    let encoding = Encoding { row: rows[0], insn: words[0], insn2: 0, isolated: false };
    let mut cases: Vec<Case> = (0..states).map(|_| encoding.case(random)).collect();
    for case in &mut cases {
        case.flags |= FLAG_CLEAN;
        case.window_offset = random.one_of(&[0, 0xf80, 0x1f00]);
        case.state.x[BASE as usize] = MEMORY + u64::from(case.window_offset) + 112 + (random.below(64) & !15);
        if random.percent(20) {
            case.state.x[BASE as usize] += random.below(160);
        }
    }
    (words, cases)
}

/// A word that no row has: random bits, or an instruction with one or two bits wrong.
pub fn unallocated(random: &mut Random) -> Option<Case> {
    let mut word = random.bits() as u32;
    if random.percent(80) {
        let row = &ROWS[random.below(ROWS.len() as u64) as usize];
        word = (word & !row.mask | row.value) ^ 1 << random.below(32);
        if random.percent(30) {
            word ^= 1 << random.below(32);
        }
    }
    if row_of(word).is_some() {
        return None;
    }
    // Should it be an instruction after all, let it do little harm.
    let state = State { x: [MEMORY + 0x800; 31], sp: MEMORY + 0x800, ..State::default() };
    Some(Case {
        insn: word,
        insn2: 0,
        flags: FLAG_ISOLATED | FLAG_CLEAN,
        window_offset: 0x800,
        state,
        window: [0; WINDOW],
    })
}
