//! The A64 decode table against GNU objdump, where `aarch64-linux-gnu-objdump` is installed.

mod decode_oracle;

use arm::a64::decode::row_of;
use decode_oracle::{Differences, Random, foreign, mnemonic};
use decodetree::runtime::Row;
use std::{fs, process::Command};

const OBJDUMP: &str = "aarch64-linux-gnu-objdump";

/// Disassembles words; `None` for each that objdump does not know.
fn objdump(words: &[u32]) -> Option<Vec<Option<String>>> {
    let path = std::env::temp_dir().join(format!("decode_objdump_{}.bin", std::process::id()));
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    fs::write(&path, bytes).unwrap();
    let output = Command::new(OBJDUMP)
        .args(["-D", "-z", "-b", "binary", "-m", "aarch64", "-M", "no-aliases"])
        .arg(&path)
        .output();
    fs::remove_file(&path).unwrap();
    let output = output.ok()?;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Option<String>> = text
        .lines()
        .filter_map(|line| line.split_once(":\t"))
        .map(|(_, line)| {
            let instruction = line.split_once('\t').map_or("", |(_, text)| text);
            let unknown = instruction.starts_with(".inst") || instruction.contains("undefined");
            (!unknown).then(|| instruction.to_owned())
        })
        .collect();
    assert_eq!(lines.len(), words.len());
    Some(lines)
}

#[test]
fn objdump_agrees() {
    let words = Random(1).words(400, 400_000);
    let Some(lines) = objdump(&words) else {
        eprintln!("skipped: {OBJDUMP} is not installed");
        return;
    };
    let mut differences = Differences::default();
    for (&word, line) in words.iter().zip(&lines) {
        let theirs = line.as_deref().map(|line| line.split_whitespace().next().unwrap_or_default());
        let agrees = match (row_of(word), theirs) {
            (None, None) => true,
            (Some(row), Some(theirs)) => {
                let hint = word & 0xffff_f01f == 0xd503_201f && theirs == "hint";
                hint || mnemonic(row, word) == theirs || same_encoding(row, theirs)
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

/// Names that objdump prefers for some operands of a row.
fn same_encoding(row: &Row, theirs: &str) -> bool {
    // MSR (immediate) to SVCR, FEAT_SME: the translator refuses the fields of PSTATE that it does not know.
    row.name == "msr_imm" && matches!(theirs, "smstart" | "smstop")
}

/// What the table accepts and objdump does not.
fn unpredictable(row: &Row, word: u32) -> bool {
    let field = |name| row.field(name, word);
    match row.name {
        // Should-be-one bits of Rs and Rt2 that are zero are CONSTRAINED UNPREDICTABLE; objdump asks for the ones only here.
        "ldar" => word & 0x001f_7c00 != 0x001f_7c00,
        // LDPSW to one register twice, and write-back to a loaded register, are CONSTRAINED UNPREDICTABLE, not undefined.
        "ldp" | "ldp_post" | "ldp_pre" => {
            let base = field("rn");
            field("opc") == Some(1) && (field("rt") == field("rt2") || base == field("rt") || base == field("rt2"))
        }
        _ => false,
    }
}
