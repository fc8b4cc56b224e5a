//! The A64 decode table against capstone.

mod decode_oracle;

use arm::a64::decode::row_of;
use capstone::prelude::*;
use decode_oracle::{Differences, Random, mnemonic};

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
                ours == theirs || aliases(&ours).contains(&theirs)
            }
            (Some(_), None) => false,
            (None, Some(theirs)) => foreign(word, theirs),
        };
        if !agrees {
            differences.add(word, line.as_deref());
        }
    }
    differences.check();
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
        "dup" | "ins" | "umov" => &["mov"],
        "sshll" => &["sxtl"],
        "sshll2" => &["sxtl2"],
        "ushll" => &["uxtl"],
        "ushll2" => &["uxtl2"],
        "sys" => &["at", "dc", "ic", "tlbi", "cfp", "cpp", "dvp"],
        _ => &[],
    }
}

/// Instructions that capstone knows and the table leaves out.
fn foreign(word: u32, _mnemonic: &str) -> bool {
    let group = word >> 25 & 15;
    // SVE; SME and UDF.
    group == 0b0010 || group == 0b0000
}
