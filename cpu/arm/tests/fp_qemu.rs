//! The functions of `arm::fp` against `qemu-aarch64`: results and FPSR, for every FPCR setting that matters.
//!
//! A static AArch64 program (`fp_oracle.c`) executes the instructions of a table; each row names the function that is
//! the instruction's meaning. Needs `aarch64-linux-gnu-gcc` and `qemu-aarch64`, and is skipped where one is missing.

#[path = "../../../tcg/softfloat/tests/generator/mod.rs"]
mod generator;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use arm::fp::*;
use generator::{Random, cases};

type Meaning = Box<dyn Fn([u64; 3], &mut Env) -> u64 + Sync>;

/// What an operand of a row looks like.
#[derive(Clone, Copy, PartialEq)]
enum Operand {
    Half,
    Single,
    Double,
    Integer,
}

struct Row {
    /// Operands in v0, v1, v2, the first also in x9; leaves its result in x9.
    text: String,
    operands: [Operand; 3],
    meaning: Meaning,
    /// Changes operands so that most of the result's bits cancel.
    cancel: Option<fn(&mut [u64; 3], &mut Random)>,
}

impl Operand {
    fn random(self, random: &mut Random) -> u64 {
        match self {
            Self::Half => random.operand::<F16>().into(),
            Self::Single => random.operand::<F32>().into(),
            Self::Double => random.operand::<F64>(),
            Self::Integer => (random.bits() as i64 >> random.below(64)) as u64 ^ random.below(2),
        }
    }
}

/// A format's register letter and kind of operand.
trait Register: Float {
    const LETTER: char;
    const OPERAND: Operand;
}
impl Register for F16 {
    const LETTER: char = 'h';
    const OPERAND: Operand = Operand::Half;
}
impl Register for F32 {
    const LETTER: char = 's';
    const OPERAND: Operand = Operand::Single;
}
impl Register for F64 {
    const LETTER: char = 'd';
    const OPERAND: Operand = Operand::Double;
}

struct Table(Vec<Row>);

impl Table {
    fn row(
        &mut self,
        text: &str,
        operands: [Operand; 3],
        meaning: impl Fn([u64; 3], &mut Env) -> u64 + Sync + 'static,
    ) {
        self.0.push(Row { text: text.into(), operands, meaning: Box::new(meaning), cancel: None });
    }

    /// Registers in `text` are written R0, R1, R2; the result is in R0.
    fn fp<F: Register>(
        &mut self,
        text: &str,
        meaning: impl Fn(F::Bits, F::Bits, F::Bits, &mut Env) -> F::Bits + Sync + 'static,
    ) {
        // Only the register's own bits: QEMU 7.2 leaves copies of a half-precision FCVTZS's sign above them, where the
        // manual has zeros (C7.2, "FCVTZS (vector, fixed-point)": the scalar form writes V[d], zero-extended).
        let result = if F::HALF { "fmov w9, h0" } else { "fmov x9, d0" };
        self.read_x9::<F>(&format!("{text}\n {result}"), move |a, b, c, env| meaning(a, b, c, env).to_u64());
    }

    /// As `fp`, with operands that cancel among the others.
    fn cancelling<F: Register>(
        &mut self,
        text: &str,
        cancel: fn(&mut [u64; 3], &mut Random),
        meaning: impl Fn(F::Bits, F::Bits, F::Bits, &mut Env) -> F::Bits + Sync + 'static,
    ) {
        self.fp::<F>(text, meaning);
        self.0.last_mut().expect("a row was just added").cancel = Some(cancel);
    }

    /// As `fp`, but the result is in x9.
    fn read_x9<F: Register>(
        &mut self,
        text: &str,
        meaning: impl Fn(F::Bits, F::Bits, F::Bits, &mut Env) -> u64 + Sync + 'static,
    ) {
        let text = text.replace('R', &F::LETTER.to_string());
        let typed = F::Bits::from_u64;
        self.row(&text, [F::OPERAND; 3], move |[a, b, c], env| meaning(typed(a), typed(b), typed(c), env));
    }

    /// From the integer in x9 (or its bits in v0) to R0.
    fn of_x9<F: Register>(&mut self, text: &str, meaning: impl Fn(u64, &mut Env) -> F::Bits + Sync + 'static) {
        let text = format!("{text}\n fmov x9, d0").replace('R', &F::LETTER.to_string());
        self.row(&text, [Operand::Integer; 3], move |[a, ..], env| meaning(a, env).to_u64());
    }
}

/// The neighbourhood of a value, of either sign.
fn nearby<F: Register>(value: F::Bits, random: &mut Random) -> u64 {
    let sign = random.below(2) << (F::WIDTH - 1);
    F::Bits::from_u64(value.to_u64().wrapping_add(random.below(5)).wrapping_sub(2) ^ sign).to_u64()
}

/// The addend is nearly the product.
fn cancel_product<F: Register>(operands: &mut [u64; 3], random: &mut Random) {
    let [a, b, c] = operands;
    *c = nearby::<F>(F::mul(F::Bits::from_u64(*a), F::Bits::from_u64(*b), &mut Env::ARM.clone()), random);
}

/// The product is nearly two or three.
fn cancel_step<F: Register>(operands: &mut [u64; 3], random: &mut Random) {
    let [a, b, _] = operands;
    let mut env = Env::ARM;
    let constant = F::from_int(2 + random.below(2), Int::U32, 0, &mut env);
    *b = nearby::<F>(F::div(constant, F::Bits::from_u64(*a), &mut env), random);
}

fn of_format<F: Register>(t: &mut Table) {
    t.fp::<F>("fadd R0, R0, R1", |a, b, _, env| fp_add::<F>(a, b, env));
    t.fp::<F>("fsub R0, R0, R1", |a, b, _, env| fp_sub::<F>(a, b, env));
    t.fp::<F>("fabd R0, R0, R1", |a, b, _, env| fp_abd::<F>(a, b, env));
    t.fp::<F>("fmul R0, R0, R1", |a, b, _, env| fp_mul::<F>(a, b, env));
    t.fp::<F>("fnmul R0, R0, R1", |a, b, _, env| fp_nmul::<F>(a, b, env));
    t.fp::<F>("fmulx R0, R0, R1", |a, b, _, env| fp_mul_x::<F>(a, b, env));
    t.fp::<F>("fdiv R0, R0, R1", |a, b, _, env| fp_div::<F>(a, b, env));
    t.fp::<F>("fsqrt R0, R0", |a, _, _, env| fp_sqrt::<F>(a, env));
    t.fp::<F>("fneg R0, R0", |a, _, _, _| fp_neg::<F>(a));
    t.fp::<F>("fabs R0, R0", |a, _, _, _| fp_abs::<F>(a));
    t.cancelling::<F>("fmadd R0, R0, R1, R2", cancel_product::<F>, |a, b, c, env| fp_mul_add::<F>(c, a, b, env));
    t.cancelling::<F>("fmsub R0, R0, R1, R2", cancel_product::<F>, |a, b, c, env| fp_mul_sub::<F>(c, a, b, env));
    t.cancelling::<F>("fnmadd R0, R0, R1, R2", cancel_product::<F>, |a, b, c, env| fp_nmul_add::<F>(c, a, b, env));
    t.cancelling::<F>("fnmsub R0, R0, R1, R2", cancel_product::<F>, |a, b, c, env| fp_nmul_sub::<F>(c, a, b, env));
    t.fp::<F>("fmax R0, R0, R1", |a, b, _, env| fp_max::<F>(a, b, env));
    t.fp::<F>("fmin R0, R0, R1", |a, b, _, env| fp_min::<F>(a, b, env));
    t.fp::<F>("fmaxnm R0, R0, R1", |a, b, _, env| fp_max_num::<F>(a, b, env));
    t.fp::<F>("fminnm R0, R0, R1", |a, b, _, env| fp_min_num::<F>(a, b, env));
    t.cancelling::<F>("frecps R0, R0, R1", cancel_step::<F>, |a, b, _, env| fp_recip_step_fused::<F>(a, b, env));
    t.cancelling::<F>("frsqrts R0, R0, R1", cancel_step::<F>, |a, b, _, env| fp_rsqrt_step_fused::<F>(a, b, env));
    t.fp::<F>("frecpe R0, R0", |a, _, _, env| fp_recip_estimate::<F>(a, env));
    t.fp::<F>("frsqrte R0, R0", |a, _, _, env| fp_rsqrt_estimate::<F>(a, env));
    t.fp::<F>("frecpx R0, R0", |a, _, _, env| fp_recp_x::<F>(a, env));

    t.read_x9::<F>("fcmp R0, R1\n mrs x9, nzcv\n lsr x9, x9, 28", |a, b, _, env| {
        fp_compare::<F>(a, b, false, env).into()
    });
    t.read_x9::<F>("fcmpe R0, R1\n mrs x9, nzcv\n lsr x9, x9, 28", |a, b, _, env| {
        fp_compare::<F>(a, b, true, env).into()
    });
    let mask = |holds: bool| F::Bits::from_u64(if holds { u64::MAX } else { 0 });
    t.fp::<F>("fcmeq R0, R0, R1", move |a, b, _, env| mask(fp_compare_eq::<F>(a, b, env)));
    t.fp::<F>("fcmge R0, R0, R1", move |a, b, _, env| mask(fp_compare_ge::<F>(a, b, env)));
    t.fp::<F>("fcmgt R0, R0, R1", move |a, b, _, env| mask(fp_compare_gt::<F>(a, b, env)));

    t.fp::<F>("frinti R0, R0", |a, _, _, env| fp_round_int::<F>(a, env.rounding, false, env));
    t.fp::<F>("frintx R0, R0", |a, _, _, env| fp_round_int::<F>(a, env.rounding, true, env));
    for (letter, rounding) in [
        ('n', Rounding::NearestEven),
        ('a', Rounding::NearestAway),
        ('p', Rounding::TowardPositive),
        ('m', Rounding::TowardNegative),
        ('z', Rounding::TowardZero),
    ] {
        t.fp::<F>(&format!("frint{letter} R0, R0"), move |a, _, _, env| fp_round_int::<F>(a, rounding, false, env));
        for (sign, ints) in [('s', [Int::I32, Int::I64]), ('u', [Int::U32, Int::U64])] {
            for (register, int) in ['w', 'x'].into_iter().zip(ints) {
                let text = format!("fcvt{letter}{sign} {register}9, R0");
                t.read_x9::<F>(&text, move |a, _, _, env| fp_to_fixed::<F>(a, 0, int, rounding, env));
            }
            // To an integer as wide as the format.
            let int = Int { bits: F::WIDTH, signed: sign == 's' };
            t.fp::<F>(&format!("fcvt{letter}{sign} R0, R0"), move |a, _, _, env| {
                F::Bits::from_u64(fp_to_fixed::<F>(a, 0, int, rounding, env))
            });
        }
    }
    for (sign, signed) in [('s', true), ('u', false)] {
        for (register, bits) in [('w', 32), ('x', 64)] {
            let int = Int { bits, signed };
            t.of_x9::<F>(&format!("{sign}cvtf R0, {register}9"), move |a, env| fixed_to_fp::<F>(a, 0, int, env));
            for fbits in [1, 7, bits / 2, bits] {
                t.read_x9::<F>(&format!("fcvtz{sign} {register}9, R0, {fbits}"), move |a, _, _, env| {
                    fp_to_fixed::<F>(a, fbits, int, Rounding::TowardZero, env)
                });
                t.of_x9::<F>(&format!("{sign}cvtf R0, {register}9, {fbits}"), move |a, env| {
                    fixed_to_fp::<F>(a, fbits, int, env)
                });
            }
        }
        let int = Int { bits: F::WIDTH, signed };
        t.of_x9::<F>(&format!("{sign}cvtf R0, R0"), move |a, env| fixed_to_fp::<F>(a, 0, int, env));
        for fbits in [1, F::WIDTH - 1, F::WIDTH] {
            t.fp::<F>(&format!("fcvtz{sign} R0, R0, {fbits}"), move |a, _, _, env| {
                F::Bits::from_u64(fp_to_fixed::<F>(a, fbits, int, Rounding::TowardZero, env))
            });
            t.of_x9::<F>(&format!("{sign}cvtf R0, R0, {fbits}"), move |a, env| fixed_to_fp::<F>(a, fbits, int, env));
        }
    }
}

fn between<S: Register, D: Register>(t: &mut Table) {
    let text = format!("fcvt {}0, R0\n fmov x9, d0", D::LETTER);
    t.read_x9::<S>(&text, |a, _, _, env| fp_convert::<S, D>(a, env).to_u64());
}

/// FRINTTS, which half precision does not have.
fn frintts<F: Register>(t: &mut Table) {
    for int_bits in [32, 64] {
        t.fp::<F>(&format!("frint{int_bits}x R0, R0"), move |a, _, _, env| {
            fp_round_int_n::<F>(a, env.rounding, int_bits, env)
        });
        t.fp::<F>(&format!("frint{int_bits}z R0, R0"), move |a, _, _, env| {
            fp_round_int_n::<F>(a, Rounding::TowardZero, int_bits, env)
        });
    }
}

fn table() -> Vec<Row> {
    let mut t = Table(Vec::new());
    of_format::<F16>(&mut t);
    of_format::<F32>(&mut t);
    of_format::<F64>(&mut t);
    between::<F16, F32>(&mut t);
    between::<F16, F64>(&mut t);
    between::<F32, F16>(&mut t);
    between::<F32, F64>(&mut t);
    between::<F64, F16>(&mut t);
    between::<F64, F32>(&mut t);
    frintts::<F32>(&mut t);
    frintts::<F64>(&mut t);
    t.read_x9::<F64>("fcvtxn s0, d0\n fmov x9, d0", |a, _, _, env| fp_convert_round_odd::<F64, F32>(a, env).into());
    t.read_x9::<F64>("fjcvtzs w9, d0\n cset x0, eq\n orr x9, x9, x0, lsl 32", |a, _, _, env| {
        let (value, z) = fp_to_fixed_js(a, env);
        u64::from(value) | u64::from(z) << 32
    });
    let halves = [Operand::Single, Operand::Half, Operand::Half];
    t.row("fmlal v0.2s, v1.2h, v2.2h\n fmov w9, s0", halves, |[a, b, c], env| {
        fp_mul_add_h(a as u32, b as u16, c as u16, env).into()
    });
    t.row("fmlsl v0.2s, v1.2h, v2.2h\n fmov w9, s0", halves, |[a, b, c], env| {
        fp_mul_add_h(a as u32, fp_neg::<F16>(b as u16), c as u16, env).into()
    });
    let pair = |f: fn(u32) -> u32| {
        move |[a, ..]: [u64; 3], _: &mut Env| u64::from(f(a as u32)) | u64::from(f((a >> 32) as u32)) << 32
    };
    t.row("urecpe v0.2s, v0.2s\n fmov x9, d0", [Operand::Integer; 3], pair(unsigned_recip_estimate));
    t.row("ursqrte v0.2s, v0.2s\n fmov x9, d0", [Operand::Integer; 3], pair(unsigned_rsqrt_estimate));
    t.0
}

/// Builds the program that executes the table; `None` (with the reason printed) where the tools are missing.
fn build(rows: &[Row], directory: &Path) -> Option<PathBuf> {
    for tool in ["aarch64-linux-gnu-gcc", "qemu-aarch64"] {
        if Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_err() {
            eprintln!("skipped: `{tool}` is not installed (Debian packages gcc-aarch64-linux-gnu and qemu-user)");
            return None;
        }
    }
    std::fs::create_dir_all(directory).expect("the test's directory can be made");
    let runs: Vec<_> =
        rows.iter().enumerate().map(|(i, row)| format!("RUN({i}, \"{}\")\n", row.text.replace('\n', "\\n"))).collect();
    std::fs::write(directory.join("ops.inc"), runs.concat()).expect("ops.inc can be written");
    let program = directory.join("fp_oracle");
    let status = Command::new("aarch64-linux-gnu-gcc")
        .args(["-O1", "-static", "-march=armv8.5-a+fp16+fp16fml", "-I"])
        .arg(directory)
        .arg("-o")
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fp_oracle.c"))
        .status()
        .expect("the compiler starts");
    assert!(status.success(), "fp_oracle.c does not compile");
    Some(program)
}

struct Case {
    row: usize,
    fpcr: u32,
    operands: [u64; 3],
}

/// Results and FPSRs that the oracle gives.
fn oracle(program: &Path, cases: &[Case]) -> Vec<(u64, u32)> {
    let mut child = Command::new("qemu-aarch64")
        .args(["-cpu", "max"])
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-aarch64 starts");
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let mut stdout = child.stdout.take().expect("stdout is a pipe");
    let mut output = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let words = |case: &Case| [&[case.row as u64, case.fpcr.into()][..], &case.operands].concat();
            let bytes: Vec<u8> = cases.iter().flat_map(words).flat_map(u64::to_le_bytes).collect();
            stdin.write_all(&bytes).expect("the oracle reads all records");
        });
        stdout.read_to_end(&mut output).expect("the oracle's output can be read");
    });
    assert!(child.wait().expect("the oracle ends").success(), "the oracle failed");
    let words: Vec<_> = output.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap())).collect();
    words.chunks_exact(2).map(|pair| (pair[0], pair[1] as u32)).collect()
}

fn random_fpcr(random: &mut Random) -> u32 {
    let bits = [FPCR_AHP, FPCR_DN, FPCR_FZ, FPCR_FZ16];
    let mut fpcr = (random.below(4) as u32) << FPCR_RMODE_SHIFT;
    for bit in bits {
        fpcr |= if random.below(3) == 0 { bit } else { 0 };
    }
    fpcr
}

/// Where the manual and QEMU 7.2 differ, and the manual is followed.
fn qemu_deviates(row: &Row, case: &Case) -> bool {
    // FPToFixedJS: a denormal that is flushed to zero was not converted exactly, so Z is clear; QEMU sets it.
    let denormal = case.operands[0] != 0 && case.operands[0] < 1 << F64::FRAC_BITS;
    row.text.starts_with("fjcvtzs") && case.fpcr & FPCR_FZ != 0 && denormal
}

fn random_case(rows: &[Row], row: usize, random: &mut Random) -> Case {
    let mut operands = rows[row].operands.map(|operand| operand.random(random));
    // Equal magnitudes meet too seldom otherwise.
    let [_, second, third] = rows[row].operands;
    if random.below(16) == 0 && second == rows[row].operands[0] {
        operands[1] = operands[0];
    }
    if random.below(16) == 0 && third == second {
        operands[2] = operands[1];
    }
    if let Some(cancel) = rows[row].cancel
        && random.below(4) == 0
    {
        cancel(&mut operands, random);
    }
    Case { row, fpcr: random_fpcr(random), operands }
}

/// Runs cases on both sides and counts differences by row; tells of the first ones.
fn compare(rows: &[Row], program: &Path, cases: &[Case], wrong: &mut [u32]) {
    let expected = oracle(program, cases);
    assert_eq!(expected.len(), cases.len(), "the oracle answers every record");
    for (case, expected) in cases.iter().zip(expected) {
        let row = &rows[case.row];
        let run = |fpsr| {
            let mut env = env(case.fpcr, fpsr);
            ((row.meaning)(case.operands, &mut env), fpsr_flags(env.flags))
        };
        // With inexact set before, the fast paths are taken.
        let fast = (expected.0, expected.1 | FPSR_IXC);
        for (got, expected) in [(run(0), expected), (run(FPSR_IXC), fast)] {
            if got == expected || qemu_deviates(row, case) {
                continue;
            }
            wrong[case.row] += 1;
            if wrong[case.row] <= 3 {
                eprintln!(
                    "{:?} {:x?} FPCR {:#x}: got {:x} FPSR {:#x}, QEMU {:x} FPSR {:#x}",
                    row.text, case.operands, case.fpcr, got.0, got.1, expected.0, expected.1
                );
            }
        }
    }
}

const BATCH: u64 = 400_000;

#[test]
fn agrees_with_qemu() {
    let rows = table();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fp_oracle");
    let Some(program) = build(&rows, &directory) else { return };
    let mut random = Random(0x6d69_6d69_6300_0001);
    let mut wrong = vec![0; rows.len()];
    let mut left = 4 * cases();
    while left > 0 {
        let batch: Vec<_> =
            (0..left.min(BATCH)).map(|i| random_case(&rows, i as usize % rows.len(), &mut random)).collect();
        left -= batch.len() as u64;
        compare(&rows, &program, &batch, &mut wrong);
    }
    // Every half, where that is the only operand; in unoptimised builds only some of them.
    let step = if cfg!(debug_assertions) { 61 } else { 1 };
    for (row, Row { text, operands, .. }) in rows.iter().enumerate() {
        if operands[0] != Operand::Half || text.contains("h1") {
            continue;
        }
        let every = (0..=u16::MAX).step_by(step);
        let batch: Vec<_> =
            every.map(|half| Case { row, fpcr: random_fpcr(&mut random), operands: [half.into(), 0, 0] }).collect();
        compare(&rows, &program, &batch, &mut wrong);
    }
    let wrong: Vec<_> =
        rows.iter().zip(wrong).filter(|(_, n)| *n > 0).map(|(row, n)| format!("{:?}: {n}", row.text)).collect();
    assert!(wrong.is_empty(), "differences from QEMU by instruction: {wrong:#?}");
}
