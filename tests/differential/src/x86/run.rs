//! A run: cases in batches, always some of them under way at the runner while Mimic executes others.

use super::compare::{self, differences, equal, known, line};
use super::encode::{self, Set};
use super::generate::{Encoding, Rows};
use super::machine::Machine;
use super::oracle::Oracle;
use super::wire::*;
use crate::machine::Tier;
use crate::random::Random;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Instant;

/// States for one encoding, executed one after another.
const STATES: u64 = 32;
/// Encodings in a batch.
const BATCH: usize = 32;
/// Batches under way.
const AHEAD: usize = 4;
/// Divergences of one instruction that are shrunk and printed; others are counted.
const PRINTED: u64 = 2;

/// Encodings of a hundred that are no instruction.
const UNDEFINED_PERCENT: u64 = 2;

/// Where code is placed, in turn.
#[derive(Default)]
struct Places(u64);

impl Places {
    fn next(&mut self) -> u64 {
        let slot = self.0 % (CODE_SIZE / SLOT);
        self.0 += 1;
        CODE + slot * SLOT
    }
}

/// What to do.
pub struct Options<'a> {
    /// Executions by the host at least; each tier does as many.
    pub cases: u64,
    /// Bits of code, 32 or 64.
    pub bits: u32,
    /// Instructions of these sets.
    pub sets: &'a [Set],
    /// Only those whose name starts so.
    pub row: Option<&'a str>,
    /// Start of the random sequence.
    pub seed: u64,
    /// Print progress and divergences as they are found.
    pub verbose: bool,
}

/// What came out.
#[derive(Default)]
pub struct Report {
    /// Executions.
    pub cases: u64,
    /// Divergences by instruction.
    pub diverging: BTreeMap<String, u64>,
    /// Divergences that are known, by reason.
    pub known: BTreeMap<&'static str, u64>,
    /// By instruction: executions, and those without a fault.
    pub rows: BTreeMap<String, (u64, u64)>,
    /// Descriptions of divergences.
    pub text: Vec<String>,
}

/// Both sides.
pub struct Bench {
    oracle: Oracle,
    /// For shrinking, so that the batches under way are not disturbed.
    second: Oracle,
    machines: Vec<(Tier, Machine)>,
}

impl Bench {
    /// Starts the runner and makes a machine for each tier, all with CPU model `cpu`.
    ///
    /// # Errors
    /// What went wrong, as text.
    pub fn new(runner: &Path, tiers: &[Tier], cpu: &str) -> Result<Bench, String> {
        let start = || Oracle::start(runner).map_err(|e| format!("cannot start the runner: {e}"));
        let machines =
            tiers.iter().map(|tier| Ok((*tier, Machine::new(*tier, cpu)?))).collect::<Result<_, String>>()?;
        Ok(Bench { oracle: start()?, second: start()?, machines })
    }

    /// Whether every piece of code was compiled where it should be.
    pub fn compiled_everything(&self) -> bool {
        self.machines.iter().all(|(_, machine)| machine.compiled_everything())
    }

    /// Executes one case everywhere; gives the differences of each tier.
    ///
    /// # Errors
    /// When the runner ends.
    pub fn once(&mut self, case: &Case) -> Result<Vec<(Tier, Vec<String>)>, String> {
        let of = |(tier, theirs, ours): (Tier, Outcome, Outcome)| {
            let expected = known(case, &theirs, &ours).is_some();
            (tier, if expected { Vec::new() } else { differences(case, &theirs, &ours) })
        };
        Ok(self.both(case)?.into_iter().map(of).collect())
    }

    /// What the host does, and what each machine does.
    fn both(&mut self, case: &Case) -> Result<Vec<(Tier, Outcome, Outcome)>, String> {
        self.second.send([case].into_iter());
        let theirs = self.second.receive(1).map_err(|e| format!("the runner ended: {e}"))?;
        let of = |(tier, machine): &mut (Tier, Machine)| (*tier, theirs[0].clone(), machine.run(case));
        Ok(self.machines.iter_mut().map(of).collect())
    }

    /// Runs random cases.
    ///
    /// # Errors
    /// When the runner ends.
    pub fn run(&mut self, options: &Options) -> Result<Report, String> {
        let rows = Rows::new(options.bits, options.sets, options.row);
        let mut random = Random::new(options.seed);
        let mut report = Report::default();
        let mut under_way = VecDeque::new();
        let (begin, mut next_row, mut sent, mut places) = (Instant::now(), 0, 0, Places::default());
        if rows.codes.is_empty() {
            return Err("no such instruction".into());
        }
        let mut shown = Instant::now();
        loop {
            while under_way.len() < AHEAD && sent < options.cases {
                let mut batch: Vec<Case> = Vec::new();
                while batch.len() < BATCH * STATES as usize {
                    let code = rows.codes[next_row % rows.codes.len()];
                    next_row += 1;
                    let place = places.next();
                    if options.row.is_none() && random.percent(UNDEFINED_PERCENT) {
                        let encoding = Encoding::undefined(&rows, place, &mut random);
                        batch.extend((0..STATES).map(|_| encoding.case(&mut random)));
                    } else if let Some(encoding) = Encoding::random(&rows, code, place, &mut random) {
                        batch.extend((0..STATES).map(|_| encoding.case(&mut random)));
                    } else if rows.codes.len() == 1 {
                        return Err(format!("`{}` cannot be encoded", encode::name(code)));
                    }
                }
                sent += batch.len() as u64;
                self.oracle.send(batch.iter());
                under_way.push_back(batch);
            }
            let Some(batch) = under_way.pop_front() else { break };
            let results = self.oracle.receive(batch.len()).map_err(|e| {
                let texts: Vec<String> = batch.iter().step_by(STATES as usize).map(line).collect();
                format!("the runner ended: {e}; in or before\n{}", texts.join("\n"))
            })?;
            for (cases, results) in batch.chunks(STATES as usize).zip(results.chunks(STATES as usize)) {
                let name = encode::name(encode::first(&cases[0]).code());
                for (case, theirs) in cases.iter().zip(results) {
                    self.check(&name, case, theirs, options, &mut report)?;
                }
            }
            if options.verbose && shown.elapsed().as_secs() >= 10 {
                shown = Instant::now();
                let (done, found): (u64, u64) = (report.cases, report.diverging.values().sum());
                let rate = done as f64 / begin.elapsed().as_secs_f64();
                let kinds = report.diverging.len();
                eprintln!("{done} executions, {rate:.0}/s, {found} divergences of {kinds} instructions");
            }
        }
        Ok(report)
    }

    fn check(
        &mut self,
        name: &str,
        case: &Case,
        theirs: &Outcome,
        options: &Options,
        report: &mut Report,
    ) -> Result<(), String> {
        report.cases += 1;
        let completed = u64::from(!compare::faulted(case, theirs));
        match report.rows.get_mut(name) {
            Some(seen) => *seen = (seen.0 + 1, seen.1 + completed),
            None => drop(report.rows.insert(name.into(), (1, completed))),
        }
        for at in 0..self.machines.len() {
            let (tier, machine) = &mut self.machines[at];
            let (tier, ours) = (*tier, machine.run(case));
            if equal(theirs, &ours) {
                continue;
            }
            let lines = differences(case, theirs, &ours);
            if lines.is_empty() {
                continue;
            }
            if let Some(why) = known(case, theirs, &ours) {
                *report.known.entry(why).or_default() += 1;
                continue;
            }
            // What is known of one instruction can be seen in a sequence as soon as that is small.
            let small = if case.instructions > 1 { Some(self.shrink(case, tier)?) } else { None };
            if let Some(small) = &small
                && let Some((_, theirs, ours)) = self.both(small)?.into_iter().find(|(t, ..)| *t == tier)
                && let Some(why) = known(small, &theirs, &ours)
            {
                *report.known.entry(why).or_default() += 1;
                continue;
            }
            let count = report.diverging.entry(name.into()).or_default();
            *count += 1;
            if *count > PRINTED {
                continue;
            }
            let small = match small {
                Some(small) => small,
                None => self.shrink(case, tier)?,
            };
            let text = self.describe(name, &small, tier, &lines)?;
            if options.verbose {
                eprintln!("{text}");
            }
            report.text.push(text);
        }
        Ok(())
    }

    fn shrink(&mut self, case: &Case, tier: Tier) -> Result<Case, String> {
        let mut failed = None;
        // Of sequences any difference counts, for known ones are to be found as well.
        let known = |case: &Case, theirs: &Outcome, ours: &Outcome| {
            case.instructions == 1 && known(case, theirs, ours).is_some()
        };
        let small = compare::shrink(case.clone(), |simpler| match self.both(simpler) {
            Ok(all) => all.iter().any(|(t, theirs, ours)| {
                let differs = *t == tier && !differences(simpler, theirs, ours).is_empty();
                differs && !known(simpler, theirs, ours)
            }),
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        failed.map_or(Ok(small), Err)
    }

    fn describe(&mut self, name: &str, case: &Case, tier: Tier, first: &[String]) -> Result<String, String> {
        let again = self.once(case)?;
        let lines = again.into_iter().find(|(t, lines)| *t == tier && !lines.is_empty());
        let (lines, note) = match &lines {
            Some((_, lines)) => (lines.as_slice(), ""),
            None => (first, " (not when repeated alone)"),
        };
        let assembly = super::disassemble(case);
        Ok(format!("{name}, {tier:?}{note}: {assembly}\n    {}\n    {}", lines.join("\n    "), line(case)))
    }
}
