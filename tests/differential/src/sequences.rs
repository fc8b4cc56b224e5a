//! Sequences of instructions on every tier of Mimic, without QEMU: what a block does must be what its instructions do
//! one at a time, also when one in the middle faults.

use crate::compare::{differences, line};
use crate::generate;
use crate::machine::{Machine, Tier};
use crate::random::Random;
use crate::wire::{Case, Outcome};
use std::time::Instant;

/// States for one sequence.
const STATES: usize = 8;

/// A machine for each tier.
pub struct Sequences {
    stepped: Machine,
    others: Vec<(Tier, Machine)>,
}

/// What came out.
#[derive(Default)]
pub struct Report {
    /// Sequences executed, counting each state.
    pub runs: u64,
    /// Instructions in them.
    pub instructions: u64,
    /// Runs that a fault ended early.
    pub faults: u64,
    /// Descriptions of divergences.
    pub divergences: Vec<String>,
}

impl Sequences {
    /// Makes the machines.
    ///
    /// # Errors
    /// What their parts say, as text.
    pub fn new() -> Result<Self, String> {
        let others = [Tier::Interpreter, Tier::Template, Tier::Compiled, Tier::Stress(1)]
            .map(|tier| Machine::new(tier, "max").map(|m| (tier, m)));
        let others = others.into_iter().collect::<Result<_, _>>()?;
        Ok(Sequences { stepped: Machine::new(Tier::Stepped, "max")?, others })
    }

    /// Whether every sequence was compiled where it should be.
    pub fn compiled_everything(&self) -> bool {
        self.others.iter().all(|(_, machine)| machine.compiled_everything())
    }

    /// Runs `count` random sequences.
    pub fn run(&mut self, count: u64, seed: u64, verbose: bool) -> Report {
        let all = generate::rows(None);
        let mut random = Random::new(seed);
        let mut report = Report::default();
        let mut shown = Instant::now();
        for done in 0..count {
            let (words, cases) = generate::sequence(&all, &mut random, STATES);
            let found = self.diverges(&words, &cases, Some(&mut report));
            if let Some((at, tier)) = found {
                let text = self.describe(words, &cases[..=at], tier);
                eprintln!("{text}");
                report.divergences.push(text);
            }
            if verbose && shown.elapsed().as_secs() >= 10 {
                shown = Instant::now();
                eprintln!("{done} sequences, {} divergences", report.divergences.len());
            }
        }
        report
    }

    /// The first state whose outcome differs, and the tier.
    fn diverges(&mut self, words: &[u32], cases: &[Case], mut report: Option<&mut Report>) -> Option<(usize, Tier)> {
        let expected = outcomes(&mut self.stepped, words, cases);
        if let Some(report) = &mut report {
            report.runs += expected.len() as u64;
            report.faults += expected.iter().filter(|o| o.signal != 0).count() as u64;
            report.instructions += expected.iter().map(|o| o.pc_delta / 4).sum::<u64>();
        }
        for (tier, machine) in &mut self.others {
            let found = outcomes(machine, words, cases);
            let at = expected.iter().zip(&found).position(|(expected, found)| expected != found);
            if let Some(at) = at {
                return Some((at, *tier));
            }
        }
        None
    }

    fn describe(&mut self, mut words: Vec<u32>, cases: &[Case], tier: Tier) -> String {
        let last = cases.len() - 1;
        let mut at = 0;
        while at < words.len() {
            let mut fewer = words.clone();
            fewer.remove(at);
            if !fewer.is_empty() && self.diverges(&fewer, cases, None).is_some_and(|(_, t)| t == tier) {
                words = fewer;
            } else {
                at += 1;
            }
        }
        let at = self.diverges(&words, cases, None).map_or(last, |(at, _)| at);
        let expected = outcomes(&mut self.stepped, &words, cases);
        let machine = self.others.iter_mut().find(|(t, _)| *t == tier);
        let found = machine.map(|(_, machine)| outcomes(machine, &words, cases)).unwrap_or_default();
        let mut lines = found.get(at).map(|found| differences(&cases[at], &expected[at], found)).unwrap_or_default();
        lines.iter_mut().for_each(|line| *line = line.replace("QEMU", "stepped").replace("Mimic", "in a block"));
        let code: Vec<String> = words.iter().map(|w| format!("{w:08x} {}", crate::disassemble(*w))).collect();
        format!(
            "{tier:?}, state {at}:\n    {}\n    {}\n    {}",
            code.join("\n    "),
            lines.join("\n    "),
            line(&cases[at])
        )
    }
}

fn outcomes(machine: &mut Machine, words: &[u32], cases: &[Case]) -> Vec<Outcome> {
    let pc = machine.place_sequence(words, &cases[0]);
    cases.iter().map(|case| machine.run_sequence(case, pc, words.len())).collect()
}
