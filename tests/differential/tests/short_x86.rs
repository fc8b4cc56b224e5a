//! A short, deterministic run of x86-64 instructions against the host's processor, and every case that once diverged.

use differential::machine::Tier;
use differential::x86::encode::{self, Set};
use differential::x86::run::{Bench, Options};
use differential::x86::{compare, oracle};

const TIERS: [Tier; 3] = [Tier::Interpreter, Tier::Template, Tier::Compiled];

/// Starts both sides; `None`, said aloud, where this host lacks the other side.
fn bench(tiers: &[Tier]) -> Option<Bench> {
    match oracle::build() {
        Ok(runner) => Some(Bench::new(&runner, tiers, "max").expect("both sides start")),
        Err(missing) => {
            eprintln!("skipped: no differential test of x86 on this host: {}", missing.0);
            None
        }
    }
}

#[test]
fn every_instruction_does_what_the_processor_does() {
    let Some(mut bench) = bench(&TIERS) else { return };
    let options = Options { cases: 200_000, bits: 64, sets: &[Set::Integer], row: None, seed: 1, verbose: false };
    let report = bench.run(&options).expect("the runner runs to the end");
    assert!(report.text.is_empty(), "{}", report.text.join("\n"));
    assert!(bench.compiled_everything(), "some instructions were not compiled");
    let mut lacking = Vec::new();
    for code in encode::codes(&[Set::Integer], 64) {
        let name = encode::name(code);
        if encode::is_left_out(code) {
            continue;
        }
        let (all, completed) = report.rows.get(&name).copied().unwrap_or_default();
        let faults = code.op_code().is_privileged() || code.op_code().is_input_output();
        let undefined = ["Ud0", "Ud1", "Ud2", "Int_imm8", "Int3", "Enter"].iter().any(|start| name.starts_with(start));
        if !undefined && (all == 0 || completed == 0 && !faults) {
            lacking.push(format!("{name}: {all} cases, {completed} of them without a fault"));
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

#[test]
fn so_does_32_bit_code() {
    let Some(mut bench) = bench(&TIERS) else { return };
    let options = Options { cases: 100_000, bits: 32, sets: &[Set::Integer], row: None, seed: 2, verbose: false };
    let report = bench.run(&options).expect("the runner runs to the end");
    assert!(report.text.is_empty(), "{}", report.text.join("\n"));
    let completed = |name: &str| report.rows.get(name).copied().unwrap_or_default().1;
    assert!(completed("Daa") > 0 && completed("Pushad") > 0, "what only 32-bit code has was executed");
}

#[test]
fn stress_changes_nothing() {
    let tiers = [Tier::Stress(1), Tier::Stress(2)];
    let Some(mut bench) = bench(&tiers) else { return };
    let options = Options { cases: 60_000, bits: 64, sets: &[Set::Integer], row: None, seed: 4, verbose: false };
    let report = bench.run(&options).expect("the runner runs to the end");
    assert!(report.text.is_empty(), "{}", report.text.join("\n"));
    assert!(bench.compiled_everything(), "too little was compiled");
}

#[test]
fn what_diverged_once_is_equal() {
    let Some(mut bench) = bench(&TIERS) else { return };
    let lines = include_str!("../regressions-x86.txt").lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let case = compare::parse(line).expect("a line of the file");
        assert_eq!(compare::line(&case), line, "a case is printed as it is read");
        for (tier, lines) in bench.once(&case).expect("the runner runs") {
            assert!(lines.is_empty(), "{tier:?} diverges again: {line}\n{}", lines.join("\n"));
        }
    }
}
