//! The A64 decode table against capstone.

mod decode_oracle;

use arm::a64::decode::row_of;
use capstone::prelude::*;
use decode_oracle::{Differences, Random, foreign, mnemonic};
use decodetree::runtime::Row;

#[test]
fn capstone_agrees() {
    let capstone = Capstone::new().arm64().mode(arch::arm64::ArchMode::Arm).build().unwrap();
    let mut differences = Differences::default();
    for word in Random(2).words(100, 100_000) {
        let decoded = capstone.disasm_count(&word.to_le_bytes(), 0, 1).unwrap();
        let line = decoded
            .iter()
            .next()
            .map(|i| format!("{} {}", i.mnemonic().unwrap_or_default(), i.op_str().unwrap_or_default()));
        let theirs = line.as_deref().map(|line| line.split_whitespace().next().unwrap_or_default());
        let agrees = match (row_of(word), theirs) {
            (None, None) => true,
            (Some(row), Some(theirs)) => {
                let ours = mnemonic(row, word);
                ours == theirs || aliases(&ours).contains(&theirs) || store_alias(&ours, theirs)
            }
            (Some(row), None) => unpredictable(row, word),
            (None, Some(theirs)) => foreign(word, theirs),
        };
        if !agrees {
            differences.add(word, line.as_deref());
        }
    }
    differences.check();
}

/// LDADD and its kind are STADD where Rt is 31.
fn store_alias(ours: &str, theirs: &str) -> bool {
    ours.strip_prefix("ld").is_some_and(|operation| theirs.strip_prefix("st") == Some(operation))
}

/// The names that the manual prefers for some operands of an instruction.
fn aliases(mnemonic: &str) -> &'static [&'static str] {
    match mnemonic {
        "add" => &["mov"],
        "adds" => &["cmn"],
        "sub" => &["neg"],
        "subs" => &["cmp", "negs"],
        "sbc" => &["ngc"],
        "sbcs" => &["ngcs"],
        "ands" => &["tst"],
        "orr" => &["mov"],
        "orn" => &["mvn"],
        "not" => &["mvn"],
        "movz" | "movn" => &["mov"],
        "sbfm" => &["asr", "sbfiz", "sbfx", "sxtb", "sxth", "sxtw"],
        "ubfm" => &["lsl", "lsr", "ubfiz", "ubfx", "uxtb", "uxth"],
        "bfm" => &["bfc", "bfi", "bfxil"],
        "extr" => &["ror"],
        "lslv" => &["lsl"],
        "lsrv" => &["lsr"],
        "asrv" => &["asr"],
        "rorv" => &["ror"],
        "csinc" => &["cset", "cinc"],
        "csinv" => &["csetm", "cinv"],
        "csneg" => &["cneg"],
        "madd" => &["mul"],
        "msub" => &["mneg"],
        "smaddl" => &["smull"],
        "smsubl" => &["smnegl"],
        "umaddl" => &["umull"],
        "umsubl" => &["umnegl"],
        "b.cs" => &["b.hs"],
        "b.cc" => &["b.lo"],
        // PSTATE.SM and ZA: the translator refuses the fields of PSTATE that it does not know.
        "msr" => &["smstart", "smstop"],
        "dsb" => &["dfb", "pssbb", "ssbb"],
        "hint" => &["clearbhb", "dgh", "nop", "psb", "tsb"],
        "dup" | "ins" | "umov" => &["mov"],
        "sshll" => &["sxtl"],
        "sshll2" => &["sxtl2"],
        "ushll" => &["uxtl"],
        "ushll2" => &["uxtl2"],
        "sys" => &["at", "dc", "ic", "tlbi", "cfp", "cpp", "dvp"],
        _ => &[],
    }
}

/// What the table accepts and capstone, by its rules against CONSTRAINED UNPREDICTABLE operands, does not.
fn unpredictable(row: &Row, word: u32) -> bool {
    let field = |name| row.field(name, word);
    let (rt, rt2, base) = (field("rt"), field("rt2"), field("rn"));
    let overlaps_base = base == rt || base == rt2;
    match row.name {
        // Should-be-one bits that are zero.
        "ldar" | "ldlar" | "stlr" | "stllr" => word & 0x001f_7c00 & !(1 << 15) != 0x001f_7c00 & !(1 << 15),
        "ldxr" => word & 0x001f_7c00 != 0x001f_7c00,
        // A pair of loads to one register.
        "ldp" | "ldp_v" | "ldnp" | "ldnp_v" | "ldp_post_v" | "ldp_pre_v" => rt == rt2,
        "ldxp" => rt == rt2 || word & 0x001f_0000 != 0x001f_0000,
        // Write-back to the register that is loaded or stored. (LDTR does not write back: capstone confuses the forms.)
        "ldp_post" | "ldp_pre" => rt == rt2 || overlaps_base,
        "stp_post" | "stp_pre" => overlaps_base,
        "ldr_post" | "ldr_pre" | "str_post" | "str_pre" | "ldra" | "ldtr" => base == rt,
        // The places of CFINV, XAFLAG and AXFLAG with CRm other than 0: the translator refuses them.
        "msr_imm" => field("op1") == Some(0) && field("op2") <= Some(2),
        _ => false,
    }
}
