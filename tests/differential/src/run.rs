//! A run: cases in batches, always some of them under way at the runner while Mimic executes others.

use crate::compare::{differences, known, line};
use crate::generate::{self, Encoding};
use crate::machine::{Machine, Tier};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::shrink::shrink;
use crate::wire::{Case, Outcome, SIGILL};
use arm::a64::decode::row_of;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Instant;

/// States for one encoding, executed one after another.
const STATES: u64 = 32;
/// Encodings in a batch.
const BATCH: usize = 32;
/// Batches under way.
const AHEAD: usize = 4;
/// Divergences of one row that are shrunk and printed; others are counted.
const PRINTED: u64 = 3;

/// What to do.
pub struct Options<'a> {
    /// Executions by QEMU at least; each tier does as many.
    pub cases: u64,
    /// Only this row.
    pub row: Option<&'a str>,
    /// Start of the random sequence.
    pub seed: u64,
    /// Tiers to compare.
    pub tiers: &'a [Tier],
    /// Print progress.
    pub verbose: bool,
}

/// What came out.
#[derive(Default)]
pub struct Report {
    /// Executions.
    pub cases: u64,
    /// Divergences by row.
    pub diverging: BTreeMap<&'static str, u64>,
    /// Divergences that are known, by reason.
    pub known: BTreeMap<&'static str, u64>,
    /// Signals by row, for judging the generator: executions, and those without a signal.
    pub rows: BTreeMap<&'static str, (u64, u64)>,
    /// Descriptions of divergences.
    pub text: Vec<String>,
}

/// Both sides.
pub struct Bench {
    oracle: Oracle,
    /// For shrinking, so that the batches under way are not disturbed.
    second: Oracle,
    machines: Vec<(Tier, Machine)>,
    /// Bits of FPCR that the processor has.
    fpcr: u64,
}

impl Bench {
    /// Starts the runner and makes a machine for each tier, all with CPU model `cpu`.
    ///
    /// # Errors
    /// What went wrong, as text.
    pub fn new(runner: &Path, tiers: &[Tier], cpu: &str) -> Result<Bench, String> {
        let start = || Oracle::start(runner, cpu).map_err(|e| format!("cannot start the runner: {e}"));
        // FPCR.FZ16 comes with half-precision arithmetic.
        let half = arm::Arm::new(cpu).map_err(|e| e.to_string())?.features.has(arm::Feature::FP16);
        let fpcr = if half { u64::MAX } else { !(1 << 19) };
        let machines =
            tiers.iter().map(|tier| Ok((*tier, Machine::new(*tier, cpu)?))).collect::<Result<_, String>>()?;
        Ok(Bench { oracle: start()?, second: start()?, machines, fpcr })
    }

    /// Whether every sequence of instructions was compiled where it should be.
    pub fn compiled_everything(&self) -> bool {
        self.machines.iter().all(|(_, machine)| machine.compiled_everything())
    }

    /// Executes one case everywhere; gives the differences of each tier.
    ///
    /// # Errors
    /// When the runner ends.
    pub fn once(&mut self, case: &Case) -> Result<Vec<(Tier, Vec<String>)>, String> {
        self.second.send(std::slice::from_ref(case));
        let theirs = self.second.receive(1).map_err(|e| format!("the runner ended: {e}"))?;
        let theirs = &theirs[0];
        let of = |(tier, machine): &mut (Tier, Machine)| {
            let ours = machine.run(case);
            let expected = known(case, theirs, &ours).is_some();
            (*tier, if expected { Vec::new() } else { differences(case, theirs, &ours) })
        };
        Ok(self.machines.iter_mut().map(of).collect())
    }

    /// Runs random cases.
    ///
    /// # Errors
    /// When the runner ends.
    pub fn run(&mut self, options: &Options) -> Result<Report, String> {
        let all = generate::rows(None);
        let rows = generate::rows(options.row);
        let mut random = Random::new(options.seed);
        let mut report = Report::default();
        let mut under_way = VecDeque::new();
        let (begin, mut next_row, mut sent) = (Instant::now(), 0, 0);
        if rows.is_empty() {
            return Err("no such row".into());
        }
        let mut shown = Instant::now();
        loop {
            while under_way.len() < AHEAD && sent < options.cases {
                let mut batch: Vec<(Encoding, Case)> = Vec::new();
                while batch.len() < BATCH * STATES as usize {
                    let row = rows[next_row % rows.len()];
                    next_row += 1;
                    if let Some(encoding) = Encoding::random(row, &all, &mut random) {
                        let cases = (0..STATES).map(|_| encoding.case(&mut random));
                        batch.extend(cases.map(|mut case| {
                            case.state.fpcr &= self.fpcr;
                            (encoding, case)
                        }));
                    } else if rows.len() == 1 {
                        return Err(format!("nothing of row `{}` can be sent", row.name));
                    }
                }
                sent += batch.len() as u64;
                let cases: Vec<Case> = batch.iter().map(|(_, case)| case.clone()).collect();
                self.oracle.send(&cases);
                under_way.push_back(batch);
            }
            let Some(batch) = under_way.pop_front() else { break };
            let results = self.oracle.receive(batch.len()).map_err(|e| {
                let words: Vec<String> = batch.iter().map(|(_, c)| format!("{:08x}", c.insn)).collect();
                format!("the runner ended: {e}; in or before {}", words.join(" "))
            })?;
            for ((encoding, case), theirs) in batch.iter().zip(&results) {
                self.check(encoding, case, theirs, &mut report)?;
            }
            if options.verbose && shown.elapsed().as_secs() >= 10 {
                shown = Instant::now();
                let (done, found): (u64, u64) = (report.cases, report.diverging.values().sum());
                let rate = done as f64 / begin.elapsed().as_secs_f64();
                eprintln!("{done} executions, {rate:.0}/s, {found} divergences in {} rows", report.diverging.len());
            }
        }
        Ok(report)
    }

    /// Executes `count` words that no row of the tables has; gives those that are not undefined everywhere. To be used
    /// with a processor of which everything is implemented: others have instructions that the tables leave out.
    ///
    /// # Errors
    /// When the runner ends: then QEMU took a word for an instruction that made it.
    pub fn unallocated(&mut self, count: u64, seed: u64) -> Result<Vec<String>, String> {
        let mut random = Random::new(seed);
        let mut found = Vec::new();
        let mut done = 0;
        while done < count {
            let mut cases = Vec::new();
            while cases.len() < 256 {
                let case = generate::unallocated(&mut random);
                cases.extend(case);
            }
            done += cases.len() as u64;
            self.oracle.send(&cases);
            let results = self.oracle.receive(cases.len()).map_err(|e| {
                let words: Vec<String> = cases.iter().map(|c| format!("{:08x}", c.insn)).collect();
                format!("the runner ended: {e}; at one of {}", words.join(" "))
            })?;
            for (case, theirs) in cases.iter().zip(&results) {
                for (tier, machine) in &mut self.machines {
                    let ours = machine.run(case);
                    if !differences(case, theirs, &ours).is_empty() || ours.signal != SIGILL {
                        let (word, theirs, ours) = (case.insn, theirs.signal, ours.signal);
                        let text = crate::disassemble(word);
                        found.push(format!("{word:08x} {text}: signal of QEMU {theirs}, of Mimic ({tier:?}) {ours}"));
                    }
                }
            }
        }
        Ok(found)
    }

    fn check(&mut self, encoding: &Encoding, case: &Case, theirs: &Outcome, report: &mut Report) -> Result<(), String> {
        let name = encoding.row.name;
        report.cases += 1;
        let seen = report.rows.entry(name).or_default();
        seen.0 += 1;
        seen.1 += u64::from(theirs.signal == 0 || case.isolated());
        for at in 0..self.machines.len() {
            let (tier, machine) = &mut self.machines[at];
            let (tier, ours) = (*tier, machine.run(case));
            let lines = differences(case, theirs, &ours);
            if lines.is_empty() {
                continue;
            }
            if let Some(why) = known(case, theirs, &ours) {
                *report.known.entry(why).or_default() += 1;
                continue;
            }
            let count = report.diverging.entry(name).or_default();
            *count += 1;
            if *count > PRINTED {
                continue;
            }
            let small = self.shrink(case, tier)?;
            let text = self.describe(name, &small, tier, &lines)?;
            eprintln!("{text}");
            report.text.push(text);
        }
        Ok(())
    }

    fn shrink(&mut self, case: &Case, tier: Tier) -> Result<Case, String> {
        let mut failed = None;
        // Half of a pair that signs and authenticates depends on the keys.
        let keyed = row_of(case.insn).is_some_and(|row| row.feats.contains(&"PAuth"));
        let small = shrink(case.clone(), |simpler| match self.once(simpler) {
            _ if keyed && simpler.insn2 != case.insn2 => false,
            Ok(all) => all.iter().any(|(t, lines)| *t == tier && !lines.is_empty()),
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        failed.map_or(Ok(small), Err)
    }

    fn describe(&mut self, row: &str, case: &Case, tier: Tier, first: &[String]) -> Result<String, String> {
        let again = self.once(case)?;
        let lines = again.into_iter().find(|(t, lines)| *t == tier && !lines.is_empty());
        let (lines, note) = match &lines {
            Some((_, lines)) => (lines.as_slice(), ""),
            None => (first, " (not when repeated alone)"),
        };
        let assembly = crate::disassemble_case(case);
        Ok(format!("{row}, {tier:?}{note}: {assembly}\n    {}\n    {}", lines.join("\n    "), line(case)))
    }
}
