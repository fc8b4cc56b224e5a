//! The long differential run; see the library.

use differential::machine::Tier;
use differential::run::{Bench, Options};
use differential::sequences::Sequences;
use differential::x86::{self, encode::Set};
use differential::{compare, oracle};
use std::process::ExitCode;

const USAGE: &str = "usage: differential [--cases N] [--row NAME] [--seed N] [--cpu NAME] [--tier interp|template|compiled|stress|all] [--replay LINE] [--rows] [--sequences N] [--unallocated N]
       differential x86 [--bits 32|64] [--cases N] [--set integer|x87|sse|avx|all] [--row NAME] [--seed N] [--cpu NAME] [--tier interp|template|compiled|stress|all] [--replay LINE] [--rows]";

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("differential: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<bool, String> {
    let (mut cases, mut seed, mut tiers) = (1_000_000, 1, vec![Tier::Interpreter, Tier::Template, Tier::Compiled]);
    let mut unallocated = None;
    let (mut row, mut replay, mut list, mut sequences) = (None, None, false, None);
    let mut cpu = String::from("max");
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("x86").is_some() {
        return x86(arguments);
    }
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value\n{USAGE}"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("`{text}`: {e}"));
        match option.as_str() {
            "--cases" => cases = number(value()?)?,
            "--seed" => seed = number(value()?)?,
            "--row" => row = Some(value()?),
            "--cpu" => cpu = value()?,
            "--replay" => replay = Some(value()?),
            "--sequences" => sequences = Some(number(value()?)?),
            "--unallocated" => unallocated = Some(number(value()?)?),
            "--rows" => list = true,
            "--tier" => tiers = tiers_of(&value()?)?,
            _ => return Err(format!("unknown option `{option}`\n{USAGE}")),
        }
    }
    if let [Tier::Stress(stress)] = &mut tiers[..] {
        *stress = seed;
    }
    if let Some(count) = sequences {
        let mut machines = Sequences::new()?;
        let report = machines.run(count, seed, true);
        if !machines.compiled_everything() {
            return Err("some sequences were not compiled".into());
        }
        let (runs, instructions, faults) = (report.runs, report.instructions, report.faults);
        println!("{runs} runs of {count} sequences, {instructions} instructions, {faults} ended by a fault");
        println!("{} divergences", report.divergences.len());
        return Ok(report.divergences.is_empty());
    }
    let runner = oracle::build().map_err(|e| e.0)?;
    let mut bench = Bench::new(&runner, &tiers, &cpu)?;
    if let Some(count) = unallocated {
        let found = bench.unallocated(count, seed)?;
        found.iter().for_each(|line| println!("{line}"));
        println!("{count} unallocated words, {} divergences", found.len());
        return Ok(found.is_empty());
    }
    if let Some(line) = replay {
        let case = compare::parse(&line)?;
        println!("{}", differential::disassemble_case(&case));
        let mut equal = true;
        for (tier, lines) in bench.once(&case)? {
            equal &= lines.is_empty();
            println!("{tier:?}: {}", if lines.is_empty() { "equal".into() } else { lines.join("\n    ") });
        }
        return Ok(equal);
    }
    let report = bench.run(&Options { cases, row: row.as_deref(), seed, tiers: &tiers, verbose: true })?;
    if list {
        for (name, (all, whole)) in &report.rows {
            println!("{name}: {all} executions, {whole} without a fault");
        }
    }
    for (why, count) in &report.known {
        println!("known: {count} of {why}");
    }
    for (name, count) in &report.diverging {
        println!("{name}: {count} divergences");
    }
    if !bench.compiled_everything() {
        return Err("some instructions were not compiled".into());
    }
    let found: u64 = report.diverging.values().sum();
    println!(
        "{} executions of {} rows, {found} divergences in {} rows",
        report.cases,
        report.rows.len(),
        report.diverging.len()
    );
    Ok(found == 0)
}

/// The tiers that an option names.
fn tiers_of(name: &str) -> Result<Vec<Tier>, String> {
    Ok(match name {
        "interp" => vec![Tier::Interpreter],
        "template" => vec![Tier::Template],
        "compiled" => vec![Tier::Compiled],
        "stress" => vec![Tier::Stress(0)],
        "all" | "both" => vec![Tier::Interpreter, Tier::Template, Tier::Compiled],
        other => return Err(format!("no tier `{other}`\n{USAGE}")),
    })
}

/// x86-64 instructions against the host's processor.
fn x86(mut arguments: impl Iterator<Item = String>) -> Result<bool, String> {
    let (mut cases, mut seed, mut tiers) = (1_000_000, 1, vec![Tier::Interpreter, Tier::Template, Tier::Compiled]);
    let mut sets: Vec<Set> = Set::ALL.iter().map(|(_, set)| *set).collect();
    let (mut row, mut replay, mut list, mut cpu, mut bits) = (None, None, false, String::from("max"), 64);
    while let Some(option) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{option} needs a value\n{USAGE}"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("`{text}`: {e}"));
        match option.as_str() {
            "--cases" => cases = number(value()?)?,
            "--seed" => seed = number(value()?)?,
            "--row" => row = Some(value()?),
            "--cpu" => cpu = value()?,
            "--replay" => replay = Some(value()?),
            "--rows" => list = true,
            "--bits" => match number(value()?)? {
                n @ (32 | 64) => bits = n as u32,
                _ => return Err(format!("--bits is 32 or 64\n{USAGE}")),
            },
            "--set" => match value()?.as_str() {
                "all" => {}
                names => {
                    let named = |name| Set::named(name).ok_or_else(|| format!("no set `{name}`\n{USAGE}"));
                    sets = names.split(',').map(named).collect::<Result<_, _>>()?;
                }
            },
            "--tier" => tiers = tiers_of(&value()?)?,
            _ => return Err(format!("unknown option `{option}`\n{USAGE}")),
        }
    }
    if let [Tier::Stress(stress)] = &mut tiers[..] {
        *stress = seed;
    }
    let runner = x86::oracle::build().map_err(|e| e.0)?;
    let mut bench = x86::run::Bench::new(&runner, &tiers, &cpu)?;
    if let Some(line) = replay {
        let case = x86::compare::parse(&line)?;
        println!("{}", x86::disassemble(&case));
        let mut equal = true;
        for (tier, lines) in bench.once(&case)? {
            equal &= lines.is_empty();
            println!("{tier:?}: {}", if lines.is_empty() { "equal".into() } else { lines.join("\n    ") });
        }
        return Ok(equal);
    }
    let options = x86::run::Options { cases, bits, sets: &sets, row: row.as_deref(), seed, verbose: true };
    let begin = std::time::Instant::now();
    let report = bench.run(&options)?;
    if list {
        for (name, (all, whole)) in &report.rows {
            println!("{name}: {all} executions, {whole} without a fault");
        }
    }
    for (why, count) in &report.known {
        println!("known: {count} of {why}");
    }
    for (name, count) in &report.diverging {
        println!("{name}: {count} divergences");
    }
    if !bench.compiled_everything() {
        return Err("some instructions were not compiled".into());
    }
    let found: u64 = report.diverging.values().sum();
    let (rows, kinds, seconds) = (report.rows.len(), report.diverging.len(), begin.elapsed().as_secs_f64());
    println!(
        "{} executions of {rows} instructions in {seconds:.0} s, {found} divergences of {kinds} instructions",
        report.cases
    );
    Ok(found == 0)
}
