//! Prints the time of each operation, on the fast path and on the exact one:
//! `cargo run --release -p softfloat --example speed`.

use std::hint::black_box;
use std::time::Instant;

use softfloat::x87::{Context, Extended, F80};
use softfloat::{Env, F32, F64, Flags, Float, Int, Rounding};

const COUNT: usize = 1 << 12;
const ROUNDS: usize = 500;

/// Nanoseconds per operation, the best of some runs.
fn time(operands: &[u64], flags: Flags, op: impl Fn(u64, u64, &mut Env) -> u64) -> f64 {
    let run = || {
        let start = Instant::now();
        for _ in 0..ROUNDS / 10 {
            let mut env = black_box(Env { flags, ..Env::ARM });
            let mut sum = 0;
            for pair in operands.windows(2) {
                // The exact path is taken as long as inexact is not set.
                env.flags = flags;
                sum ^= op(pair[0], pair[1], &mut env);
            }
            black_box((sum, env));
        }
        start.elapsed().as_nanos() as f64 / (ROUNDS / 10 * COUNT) as f64
    };
    (0..10).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn main() {
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1u64 << 53) as f64 * 1000.0
    };
    let doubles: Vec<_> = (0..=COUNT).map(|_| random().to_bits()).collect();
    let singles: Vec<_> = (0..=COUNT).map(|_| u64::from((random() as f32).to_bits())).collect();
    type Op = fn(u64, u64, &mut Env) -> u64;
    let double: [(&str, Op); 9] = [
        ("f64 add", |a, b, env| F64::add(a, b, env)),
        ("f64 sub", |a, b, env| F64::sub(a, b, env)),
        ("f64 mul", |a, b, env| F64::mul(a, b, env)),
        ("f64 div", |a, b, env| F64::div(a, b, env)),
        ("f64 sqrt", |a, _, env| F64::sqrt(a, env)),
        ("f64 mul_add", |a, b, env| F64::mul_add(a, b, a, env)),
        ("f64 compare", |a, b, env| F64::compare(a, b, false, env) as u64),
        ("f64 to i64", |a, _, env| F64::to_int(a, Int::I64, 0, Rounding::TowardZero, env)),
        ("f64 to f32", |a, _, env| F64::convert::<F32>(a, env).into()),
    ];
    let single: [(&str, Op); 7] = [
        ("f32 add", |a, b, env| F32::add(a as u32, b as u32, env).into()),
        ("f32 mul", |a, b, env| F32::mul(a as u32, b as u32, env).into()),
        ("f32 div", |a, b, env| F32::div(a as u32, b as u32, env).into()),
        ("f32 sqrt", |a, _, env| F32::sqrt(a as u32, env).into()),
        ("f32 mul_add", |a, b, env| F32::mul_add(a as u32, b as u32, a as u32, env).into()),
        ("f32 to f64", |a, _, env| F32::convert::<F64>(a as u32, env)),
        ("f32 max", |a, b, env| F32::max(a as u32, b as u32, env).into()),
    ];
    println!("{:14}{:>10}{:>10}  ns", "", "fast", "exact");
    for (operands, (name, op)) in double.map(|op| (&doubles, op)).into_iter().chain(single.map(|op| (&singles, op))) {
        let (fast, exact) = (time(operands, Flags::INEXACT, op), time(operands, Flags::NONE, op));
        println!("{name:14}{fast:10.1}{exact:10.1}");
    }
    type Unit = fn(&mut Context, Extended, Extended) -> F80;
    let unit: [(&str, Unit); 10] = [
        ("f80 add", Context::add),
        ("f80 mul", Context::mul),
        ("f80 div", Context::div),
        ("f80 sqrt", |c, a, _| c.sqrt(a)),
        ("f80 compare", |c, a, b| F80::from_int(c.compare(a, b, false) as i64)),
        ("f80 to f64", |c, a, _| F80 { significand: c.to_f64(a), sign_exponent: 0 }),
        ("f80 sin", |c, a, _| c.sin(a).unwrap_or_default()),
        ("f80 tan", |c, a, _| c.tan(a).unwrap_or_default()),
        ("f80 y log2 x", Context::y_log2_x),
        ("f80 atan", Context::arc_tangent),
    ];
    for (name, op) in unit {
        let exact = time(&doubles, Flags::NONE, |a, b, _| {
            let mut context = black_box(Context { precision: 53, ..Context::DEFAULT });
            op(&mut context, Extended::from_f64(a), Extended::from_f64(b)).significand
        });
        println!("{name:14}{:>10}{exact:10.1}", "");
    }
}
