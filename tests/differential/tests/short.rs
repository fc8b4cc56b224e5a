//! A short, deterministic run of both comparisons, and every case that once diverged.

use differential::machine::Tier;
use differential::run::{Bench, Options};
use differential::sequences::Sequences;
use differential::{compare, generate, oracle};

const TIERS: [Tier; 3] = [Tier::Interpreter, Tier::Template, Tier::Compiled];

/// Starts both sides; `None`, said aloud, where this host lacks the other side.
fn bench(cpu: &str) -> Option<Bench> {
    bench_of(cpu, &TIERS)
}

fn bench_of(cpu: &str, tiers: &[Tier]) -> Option<Bench> {
    match oracle::build() {
        Ok(runner) => Some(Bench::new(&runner, tiers, cpu).expect("both sides start")),
        Err(missing) => {
            eprintln!("skipped: no differential test on this host: {}", missing.0);
            None
        }
    }
}

#[test]
fn every_row_does_what_qemu_does() {
    let Some(mut bench) = bench("max") else { return };
    let options = Options { cases: 200_000, row: None, seed: 1, tiers: &TIERS, verbose: false };
    let report = bench.run(&options).expect("the runner runs to the end");
    assert!(report.text.is_empty(), "{}", report.text.join("\n"));
    assert!(bench.compiled_everything(), "some instructions were not compiled");
    for row in generate::rows(None) {
        let (all, completed) = report.rows.get(row.name).copied().unwrap_or_default();
        assert!(all > 0, "no case of {}", row.name);
        // Rows of which every word of EL0 is undefined there.
        let undefined =
            ["hvc", "smc", "hlt", "brk", "dcps1", "dcps2", "dcps3", "eret", "drps", "ereta", "sysl", "msr_imm"];
        assert!(completed > 0 || undefined.contains(&row.name), "all {all} cases of {} ended with a fault", row.name);
    }
}

#[test]
fn stress_changes_nothing() {
    let tiers = [Tier::Stress(1), Tier::Stress(2)];
    let Some(mut bench) = bench_of("max", &tiers) else { return };
    let options = Options { cases: 60_000, row: None, seed: 4, tiers: &tiers, verbose: false };
    let report = bench.run(&options).expect("the runner runs to the end");
    assert!(report.text.is_empty(), "{}", report.text.join("\n"));
    assert!(bench.compiled_everything(), "too little was compiled");
}

#[test]
fn what_diverged_once_is_equal() {
    let Some(mut bench) = bench("max") else { return };
    for line in include_str!("../regressions.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let case = compare::parse(line).expect("a line of the file");
        assert_eq!(compare::line(&case), line, "a case is printed as it is read");
        for (tier, lines) in bench.once(&case).expect("the runner runs") {
            assert!(lines.is_empty(), "{tier:?} diverges again: {line}\n{}", lines.join("\n"));
        }
    }
}

#[test]
fn a_block_does_what_its_instructions_do() {
    let mut machines = Sequences::new().expect("machines");
    let report = machines.run(1500, 1, false);
    assert!(report.divergences.is_empty(), "{}", report.divergences.join("\n"));
    assert!(machines.compiled_everything(), "some sequences were not compiled");
    assert!(report.instructions > 8 * report.runs, "sequences end too early to say anything: {}", report.instructions);
    assert!(report.faults > report.runs / 20, "too few faults inside of blocks");
}

#[test]
fn what_a_processor_lacks_is_undefined() {
    let Some(mut bench) = bench("cortex-a57") else { return };
    let options = Options { cases: 50_000, row: None, seed: 2, tiers: &TIERS, verbose: false };
    let report = bench.run(&options).expect("the runner runs to the end");
    assert!(report.text.is_empty(), "{}", report.text.join("\n"));
    let executed = |name| report.rows.get(name).copied().unwrap_or_default().1;
    assert!(executed("ldadd") == 0 && executed("madd") > 0, "LSE is not part of this model");
    let found = bench.unallocated(20_000, 3).expect("the runner runs to the end");
    assert!(found.is_empty(), "{}", found.join("\n"));
}
