#![allow(dead_code, reason = "each test uses a part")]
//! What the comparisons of the A64 decode table with disassemblers share: words to try, and the mnemonic of a row.

use arm::a64::decode::{ROWS, row_of};
use decodetree::runtime::Row;
use std::collections::BTreeMap;

/// A fixed sequence of pseudo-random numbers (xorshift64*).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// A word that has the row's fixed bits; ignored bits and fields vary, and are all zeros or ones now and then.
    pub fn fill(&mut self, row: &Row) -> u32 {
        let mut word = self.next();
        for field in row.fields.iter().filter(|f| f.constant.is_none()) {
            let bits = (u32::MAX >> (32 - field.width)) << field.pos;
            match self.next() % 8 {
                0 => word |= bits,
                1 => word &= !bits,
                _ => {}
            }
        }
        word & !row.mask | row.value
    }

    /// `per_row` words of every row and as many with one bit of them wrong, and `wild` words that nothing constrains.
    pub fn words(&mut self, per_row: usize, wild: usize) -> Vec<u32> {
        let mut words: Vec<u32> = (0..wild).map(|_| self.next()).collect();
        for row in ROWS {
            for _ in 0..per_row {
                words.push(self.fill(row));
                words.push(self.fill(row) ^ 1 << (self.next() % 32));
            }
        }
        words
    }
}

/// Disagreements, gathered by row and mnemonic.
#[derive(Default)]
pub struct Differences(BTreeMap<String, (usize, String)>);

impl Differences {
    /// Notes a word and what the other disassembler makes of it.
    pub fn add(&mut self, word: u32, line: Option<&str>) {
        let (row, line) = (row_of(word).map_or("-", |row| row.name), line.unwrap_or("-"));
        let key = format!("{row} / {}", line.split_whitespace().next().unwrap_or_default());
        self.0.entry(key).or_insert((0, format!("{word:08x} {line}"))).0 += 1;
    }

    /// Fails if there is any, with one example of each kind.
    pub fn check(self) {
        let list: Vec<String> =
            self.0.iter().map(|(key, (count, example))| format!("{count:7} {key}: {example}")).collect();
        assert!(
            list.is_empty(),
            "{} kinds of differences (count, row / mnemonic: example)\n{}",
            list.len(),
            list.join("\n")
        );
    }
}

/// The mnemonic of a word of the row, without aliases: what `objdump -M no-aliases` prints before the first blank.
pub fn mnemonic(row: &Row, word: u32) -> String {
    let field = |name: &str| row.field(name, word).unwrap_or(0);
    let flag = |name: &str| field(name) != 0;
    let name = row.name;
    let base = name.strip_suffix("_v").or(name.strip_suffix("_s")).unwrap_or(name);
    let base = ["_imm", "_shift", "_ext", "_reg", "_post", "_pre", "_elem", "_literal", "_int", "_fixed", "_general"]
        .iter()
        .fold(base, |base, suffix| base.strip_suffix(suffix).unwrap_or(base));
    let width = ["b", "h", "", ""][field("size") as usize & 3];
    let order = |acquire: &'static str, release: &'static str| {
        format!("{}{}", if flag(acquire) { "a" } else { "" }, if flag(release) { "l" } else { "" })
    };
    let two = if flag("q") { "2" } else { "" };
    match row.format {
        "LoadLiteral" => if field("opc") == 2 && !name.ends_with("_v") { "ldrsw" } else { "ldr" }.to_owned(),
        "LoadStoreImm" | "LoadStoreImm9" | "LoadStoreReg" if name.ends_with("_v") => base.to_owned(),
        "LoadStoreImm" | "LoadStoreImm9" | "LoadStoreReg" => {
            let width = if field("opc") >= 2 { ["sb", "sh", "sw", ""][field("size") as usize & 3] } else { width };
            format!("{base}{width}")
        }
        "LoadStorePair" if field("opc") == 1 && !name.ends_with("_v") => "ldpsw".to_owned(),
        "StoreExclusive" | "StoreExclusivePair" => {
            let release = if flag("o0") { "l" } else { "" };
            let width = if base == "stxp" { "" } else { width };
            format!("st{release}{}{width}", &base[2..])
        }
        "LoadExclusive" | "LoadExclusivePair" => {
            let acquire = if flag("o0") { "a" } else { "" };
            let width = if base == "ldxp" { "" } else { width };
            format!("ld{acquire}{}{width}", &base[2..])
        }
        "LoadStoreOrdered" => format!("{base}{width}"),
        "CompareSwap" => format!("cas{}{width}", order("l", "o0")),
        "CompareSwapPair" => format!("casp{}", order("l", "o0")),
        "AtomicMemory" => format!("{base}{}{width}", order("a", "r")),
        "LoadAuth" => if flag("m") { "ldrab" } else { "ldraa" }.to_owned(),
        "SimdMultiple" | "SimdMultiplePost" => {
            let elements = [4, 0, 1, 0, 3, 0, 1, 1, 2, 0, 1][field("opcode") as usize % 11];
            format!("{}{elements}", &name[..2])
        }
        "SimdSingle" | "SimdSinglePost" => {
            format!("{}{}", &name[..2], 1 + 2 * (field("opcode") & 1) + field("r"))
        }
        "SimdReplicate" | "SimdReplicatePost" => format!("ld{}r", 1 + 2 * field("o") + field("r")),
        "Crc32" => format!("{base}{}", ["b", "h", "w", "x"][field("sz") as usize & 3]),
        "PAuthReg" if flag("z") => format!("{}z{}", &base[..4], &base[4..]),
        "BranchAuth" | "ReturnAuth" => format!("{base}{}", if flag("m") { "b" } else { "a" }),
        "BranchAuthZero" => {
            format!("{}{}z", &base[..base.len() - 1], if flag("m") { "b" } else { "a" })
        }
        "BranchCond" => {
            let conditions =
                ["eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le", "al", "nv"];
            format!("b.{}", conditions[field("cond") as usize & 15])
        }
        "FpCompare" | "FpCondCompare" if flag("e") => format!("{base}e"),
        "FpInt" | "FpIntFixedSize" if base.starts_with("fmov") => "fmov".to_owned(),
        "DataProc1" if base == "rev32" && !flag("sf") || base == "rev64" => "rev".to_owned(),
        "MsrImm" | "SysReg" => base[..3].to_owned(),
        "Simd3Different" | "SimdPrecision" => format!("{base}{two}"),
        "Simd2Reg" if ["xtn", "sqxtn", "sqxtun", "uqxtn", "shll"].contains(&base) => format!("{base}{two}"),
        "SimdShiftImm" if base.ends_with("shrn") || base.ends_with("shrun") || base.ends_with("shll") => {
            format!("{base}{two}")
        }
        "SimdElement"
            if base.ends_with("lal") && !base.starts_with('f')
                || base.ends_with("lsl") && !base.starts_with('f')
                || base.ends_with("ull") =>
        {
            format!("{base}{two}")
        }
        "SimdCopy" | "SimdCopy1" | "SimdInsElement" => base.trim_end_matches("_elem").to_owned(),
        "Simd2Reg" | "Simd2RegFp" | "Scalar2Reg" | "Scalar2RegFp" if base.contains("cm") => {
            base.trim_end_matches('0').to_owned()
        }
        _ => base.trim_end_matches("_op").to_owned(),
    }
}

/// Instructions that the disassemblers know and the table leaves out.
pub fn foreign(word: u32, mnemonic: &str) -> bool {
    let group = word >> 25 & 15;
    // SVE; SME and UDF.
    if group == 0b0010 || group == 0b0000 {
        return true;
    }
    // Memory copy and set, FEAT_MOPS.
    if word & 0x3b20_0c00 == 0x1900_0400 && (mnemonic.starts_with("cpy") || mnemonic.starts_with("set")) {
        return true;
    }
    match mnemonic {
        // op0 is 0: they print unallocated system instructions as accesses to S0_<...>.
        "msr" | "mrs" => word >> 19 & 3 == 0,
        // FMLAL and FMLSL (vector), C7.2: sz is 1, UNDEFINED.
        "fmlal" | "fmlal2" | "fmlsl" | "fmlsl2" => word & 1 << 22 != 0,
        // DSB nXS, FEAT_XS
        "dsb" => true,
        // FEAT_MTE
        "addg" | "subg" | "irg" | "gmi" | "subp" | "subps" | "stg" | "stzg" | "st2g" | "stz2g" | "stgp" | "ldg"
        | "stgm" | "stzgm" | "ldgm" => true,
        // FEAT_BF16, FEAT_I8MM
        "bfcvt" | "bfcvtn" | "bfcvtn2" | "bfdot" | "bfmlalb" | "bfmlalt" | "bfmmla" | "smmla" | "ummla" | "usmmla"
        | "usdot" | "sudot" => true,
        // FEAT_CSSC
        "abs" | "cnt" | "ctz" | "smax" | "smin" | "umax" | "umin" => word & 0x1f00_0000 != 0x0e00_0000,
        // FEAT_LS64, FEAT_TME
        "ld64b" | "st64b" | "st64bv" | "st64bv0" | "tstart" | "ttest" | "tcommit" | "tcancel" => true,
        // FEAT_HBC
        _ => mnemonic.starts_with("bc."),
    }
}
