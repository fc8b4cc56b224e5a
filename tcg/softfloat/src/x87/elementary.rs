//! Logarithms, exponentials and trigonometric functions (SDM vol. 1, 8.3.5 to 8.3.10), and the constants.
//!
//! They are computed with more than 110 bits and rounded once: the error is hardly above half a unit in the last place.
//! Arguments of the trigonometric functions are reduced by the value of pi that the unit has, of 66 bits (8.3.8
//! "Approximation of Pi").

use super::wide::{Wide, factorials, reciprocals};
use super::{Context, Extended, F80, INTEGER, Kind};
use crate::env::Flags;

const PI: u128 = 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1;
const QUARTER_PI: Wide = Wide::new(-1, PI);
const HALF_PI: Wide = Wide::new(0, PI);
const WHOLE_PI: Wide = Wide::new(1, PI);
const THREE_QUARTERS_PI: Wide = Wide::new(1, 0x96cb_e3f9_990e_91a7_9394_c9e8_a0a5_159d);
const LN_2: Wide = Wide::new(-1, 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af);
const LOG2_E: Wide = Wide::new(0, 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e89);
const LOG2_10: Wide = Wide::new(1, 0xd49a_784b_cd1b_8afe_492b_f6ff_4daf_db4d);
const LOG10_2: Wide = Wide::new(-2, 0x9a20_9a84_fbcf_f798_8f89_59ac_0b7c_9178);
/// The square root of 2 in 128 bits.
const SQRT_2: u128 = 0xb504_f333_f9de_6484_597d_89b3_754a_be9f;
/// Half of pi as the unit has it, in units of 2^-65.
const REDUCTION: u128 = 0x3_243f_6a88_85a3_08d3;
/// Arc tangents of 1/8 to 1.
const ARC_TANGENTS: [Wide; 8] = [
    Wide::new(-4, 0xfead_d4d5_617b_6e32_c897_989f_3e88_8ef8),
    Wide::new(-3, 0xfadb_afc9_6406_eb15_6dc7_9ef5_f7a2_17e6),
    Wide::new(-2, 0xb7b0_ca0f_26f7_8473_8aa3_2122_dcfe_4483),
    Wide::new(-2, 0xed63_382b_0dda_7b45_6fe4_45ec_bc3a_8d03),
    Wide::new(-1, 0x8f00_5d5e_f7f5_9f9b_5c83_5e16_65c4_3748),
    Wide::new(-1, 0xa4bc_7d19_34f7_0924_19a8_7f2a_457d_ac9f),
    Wide::new(-1, 0xb805_3e2b_c231_9e73_cb2d_a552_10a4_443d),
    QUARTER_PI,
];

/// Of sin x / x and cos x, in powers of x², for |x| up to pi / 4.
const SINE: [u128; 16] = factorials(1, 2);
const COSINE: [u128; 16] = factorials(0, 2);
/// Of (e^x - 1) / x, for |x| up to ln 2.
const EXPONENTIAL: [u128; 30] = factorials(1, 1);
/// Of atan x / x and, without the signs, atanh x / x, in powers of x², for |x| up to 0.172.
const ARC_TANGENT: [u128; 26] = reciprocals(1, 2);

/// What the instructions FLD1 to FLDZ load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constant {
    One,
    /// log2 10
    Log2Of10,
    /// log2 e
    Log2OfE,
    Pi,
    /// log10 2
    Log10Of2,
    /// ln 2
    LnOf2,
    Zero,
}

/// An argument of a trigonometric function after reduction: between -pi/4 and pi/4, and how often pi/2 was taken away.
struct Reduced {
    quadrant: u32,
    sign: bool,
    /// `None` for zero.
    rest: Option<Wide>,
}

impl From<Extended> for Wide {
    /// A finite number's magnitude.
    fn from(a: Extended) -> Self {
        Wide::new(a.exp, u128::from(a.sig) << 64)
    }
}

impl Context {
    /// Packs a result that is never exact.
    fn pack_wide(&mut self, sign: bool, value: Wide) -> F80 {
        self.pack(sign, value.exp, value.sig | 1, 64)
    }

    /// A constant as rounding control wants it. It raises nothing.
    pub fn constant(&mut self, constant: Constant) -> F80 {
        let value = match constant {
            Constant::Zero => return F80::zero(false),
            Constant::One => return F80::ONE,
            Constant::Log2Of10 => LOG2_10,
            Constant::Log2OfE => LOG2_E,
            Constant::Pi => WHOLE_PI,
            Constant::Log10Of2 => LOG10_2,
            Constant::LnOf2 => LN_2,
        };
        Context { rounding: self.rounding, ..Context::DEFAULT }.pack_wide(false, value)
    }

    /// `2^a - 1` for `a` from -1 to 1 (F2XM1). What is outside comes back as it is, as far as that is a number.
    pub fn exp2_minus_1(&mut self, a: Extended) -> F80 {
        match a.kind {
            _ if a.is_nan() => return self.propagate(&[a]),
            Kind::Zero => return F80::zero(a.sign),
            Kind::Infinity if a.sign => return F80::ONE.neg(),
            Kind::Infinity => return F80::infinity(false),
            _ if self.denormal(a.denormal) => return F80::INDEFINITE,
            _ => {}
        }
        match (a.exp, a.sig, a.sign) {
            (0, INTEGER, false) => return F80::ONE,
            (0, INTEGER, true) => return F80::normal(true, -1, INTEGER),
            (0.., ..) => return F80::normal(a.sign, a.exp, a.sig),
            _ => {}
        }
        let x = Wide::from(a).mul(LN_2);
        let value = x.series(&EXPONENTIAL, x.fraction(), a.sign);
        self.pack_wide(a.sign, value)
    }

    /// `y * log2 x` (FYL2X).
    pub fn y_log2_x(&mut self, y: Extended, x: Extended) -> F80 {
        if x.is_nan() || y.is_nan() {
            return self.propagate(&[x, y]);
        }
        if x.sign && !x.is(Kind::Zero) {
            return self.invalid();
        }
        let one = x.is(Kind::Finite) && x.exp == 0 && x.sig == INTEGER;
        match (x.kind, y.kind) {
            (Kind::Zero, Kind::Zero) | (Kind::Infinity, Kind::Zero) => return self.invalid(),
            (Kind::Finite, Kind::Infinity) if one => return self.invalid(),
            (Kind::Zero, Kind::Finite) => {
                self.flags |= Flags::DIV_BY_ZERO;
                return F80::infinity(!y.sign);
            }
            _ if self.denormal(x.denormal || y.denormal) => return F80::INDEFINITE,
            (Kind::Zero, _) => return F80::infinity(!y.sign),
            (Kind::Infinity, _) => return F80::infinity(y.sign),
            (_, Kind::Infinity) => return F80::infinity(y.sign ^ (x.exp < 0)),
            (_, Kind::Zero) => return F80::zero(y.sign ^ (x.exp < 0)),
            _ if one => return F80::zero(y.sign),
            _ => {}
        }
        if x.sig == INTEGER {
            // A power of two: the product may be exact, but the unit reports it like all others.
            let product = u128::from(y.sig) * u128::from(x.exp.unsigned_abs());
            let result = self.normalise_and_pack(y.sign ^ (x.exp < 0), y.exp + 64, product, 64);
            let tiny = result.sign_exponent & 0x7fff == 0;
            self.flags |= if tiny { Flags::INEXACT | Flags::UNDERFLOW } else { Flags::INEXACT };
            return result;
        }
        self.times_log2(y, x.into())
    }

    fn times_log2(&mut self, y: Extended, x: Wide) -> F80 {
        match log2(x) {
            None => F80::zero(y.sign),
            Some((sign, log)) => self.pack_wide(y.sign ^ sign, log.mul(y.into())),
        }
    }

    /// `y * log2(x + 1)` (FYL2XP1), also where `x` is further from zero than the instruction is made for.
    pub fn y_log2_x_plus_1(&mut self, y: Extended, x: Extended) -> F80 {
        if x.is_nan() || y.is_nan() {
            return self.propagate(&[x, y]);
        }
        let sign = x.sign ^ y.sign;
        match (x.kind, y.kind) {
            (Kind::Infinity, _) if x.sign => return self.invalid(),
            (Kind::Zero, Kind::Infinity) | (Kind::Infinity, Kind::Zero) => return self.invalid(),
            _ if x.sign && x.is(Kind::Finite) && x.exp >= 0 => return self.invalid(),
            _ if self.denormal(x.denormal || y.denormal) => return F80::INDEFINITE,
            (Kind::Infinity, _) | (_, Kind::Infinity) => return F80::infinity(sign),
            (Kind::Zero, _) | (_, Kind::Zero) => return F80::zero(sign),
            _ => {}
        }
        let magnitude = Wide::from(x);
        if x.exp >= -2 {
            let sum = if x.sign { Wide::ONE.sub(magnitude).map(|(_, v)| v) } else { Some(Wide::ONE.add(magnitude)) };
            return match sum {
                Some(sum) => self.times_log2(y, sum),
                None => self.invalid(),
            };
        }
        let two = Wide::new(1, 1 << 127);
        let below = if x.sign { two.sub(magnitude).map_or(two, |(_, v)| v) } else { two.add(magnitude) };
        let log = log2_of_ratio(magnitude.div(below));
        self.pack_wide(sign, log.mul(y.into()))
    }

    /// The angle of the point (`x`, `y`) (FPATAN).
    pub fn arc_tangent(&mut self, y: Extended, x: Extended) -> F80 {
        if x.is_nan() || y.is_nan() {
            return self.propagate(&[x, y]);
        }
        if self.denormal(x.denormal || y.denormal) {
            return F80::INDEFINITE;
        }
        let angle = match (y.kind, x.kind) {
            (Kind::Zero, _) | (Kind::Finite, Kind::Infinity) if !x.sign => return F80::zero(y.sign),
            (Kind::Zero, _) | (Kind::Finite, Kind::Infinity) => WHOLE_PI,
            (Kind::Infinity, Kind::Infinity) => {
                if x.sign {
                    THREE_QUARTERS_PI
                } else {
                    QUARTER_PI
                }
            }
            (Kind::Infinity, _) | (_, Kind::Zero) => HALF_PI,
            _ => angle_of(y.into(), x.into(), x.sign),
        };
        self.pack_wide(y.sign, angle)
    }

    /// Reduces the argument of a trigonometric function; `Err` has the result where there is nothing to reduce, `None` if
    /// the argument is too large.
    fn reduce(&mut self, a: Extended) -> Result<Reduced, Option<F80>> {
        match a.kind {
            _ if a.is_nan() => return Err(Some(self.propagate(&[a]))),
            Kind::Infinity => return Err(Some(self.invalid())),
            Kind::Zero => return Ok(Reduced { quadrant: 0, sign: a.sign, rest: None }),
            _ if a.exp >= 63 => return Err(None),
            _ if self.denormal(a.denormal) => return Err(Some(F80::INDEFINITE)),
            _ if a.exp < -2 => return Ok(Reduced { quadrant: 0, sign: a.sign, rest: Some(a.into()) }),
            _ => {}
        }
        let units = u128::from(a.sig) << (a.exp + 2);
        let (mut quotient, mut rest) = (units / REDUCTION, units % REDUCTION);
        let mut sign = a.sign;
        if 2 * rest > REDUCTION {
            rest = REDUCTION - rest;
            quotient += 1;
            sign = !sign;
        }
        // Going round the other way.
        let quadrant = if a.sign { quotient.wrapping_neg() } else { quotient } & 3;
        Ok(Reduced { quadrant: quadrant as u32, sign, rest: Wide::from_int(rest, -65) })
    }

    /// FSIN; `None` if the argument is 2^63 or more.
    pub fn sin(&mut self, a: Extended) -> Option<F80> {
        match self.reduce(a) {
            Ok(reduced) => Some(self.circular(&reduced, 0)),
            Err(result) => result,
        }
    }

    /// FCOS; `None` if the argument is 2^63 or more.
    pub fn cos(&mut self, a: Extended) -> Option<F80> {
        match self.reduce(a) {
            Ok(reduced) => Some(self.circular(&reduced, 1)),
            Err(result) => result,
        }
    }

    /// Sine and cosine (FSINCOS); `None` if the argument is 2^63 or more.
    pub fn sin_cos(&mut self, a: Extended) -> Option<(F80, F80)> {
        match self.reduce(a) {
            Ok(reduced) => Some((self.circular(&reduced, 0), self.circular(&reduced, 1))),
            Err(result) => result.map(|v| (v, v)),
        }
    }

    /// The sine of an angle that is a number of quadrants further.
    fn circular(&mut self, a: &Reduced, further: u32) -> F80 {
        let quadrant = a.quadrant + further;
        let negative = quadrant & 2 != 0;
        match (quadrant & 1 != 0, a.rest) {
            (true, None) => F80 { sign_exponent: F80::ONE.sign_exponent | u16::from(negative) << 15, ..F80::ONE },
            (true, Some(rest)) => self.pack_wide(negative, cosine(rest)),
            (false, None) => F80::zero(a.sign ^ negative),
            (false, Some(rest)) => self.pack_wide(a.sign ^ negative, sine(rest)),
        }
    }

    /// The tangent (FPTAN); `None` if the argument is 2^63 or more.
    pub fn tan(&mut self, a: Extended) -> Option<F80> {
        let reduced = match self.reduce(a) {
            Ok(reduced) => reduced,
            Err(result) => return result,
        };
        let odd = reduced.quadrant & 1 != 0;
        Some(match reduced.rest {
            None if odd => F80::infinity(!reduced.sign),
            None => F80::zero(reduced.sign),
            Some(rest) => {
                let (sine, cosine) = (sine(rest), cosine(rest));
                let value = if odd { cosine.div(sine) } else { sine.div(cosine) };
                self.pack_wide(reduced.sign ^ odd, value)
            }
        })
    }
}

fn sine(x: Wide) -> Wide {
    x.series(&SINE, x.mul(x).fraction(), true)
}

fn cosine(x: Wide) -> Wide {
    Wide::ONE.series(&COSINE, x.mul(x).fraction(), true)
}

/// The angle of a point with these distances from the axes, left of the vertical one if `left`.
fn angle_of(y: Wide, x: Wide, left: bool) -> Wide {
    let minus = |a: Wide, b: Wide| a.sub(b).map_or(a, |(_, v)| v);
    if (y.exp, y.sig) <= (x.exp, x.sig) {
        let angle = arc_tangent(y.div(x));
        return if left { minus(WHOLE_PI, angle) } else { angle };
    }
    let angle = arc_tangent(x.div(y));
    if left { HALF_PI.add(angle) } else { minus(HALF_PI, angle) }
}

/// The arc tangent of a number up to one (or by a rounding error more).
fn arc_tangent(x: Wide) -> Wide {
    let series = |t: Wide| t.series(&ARC_TANGENT, t.mul(t).fraction(), true);
    // The nearest multiple of 1/8.
    let eighths = match x.exp {
        0.. => 8,
        -4..=-1 => ((x.sig >> (123 - x.exp)) + 1) as u32 >> 1,
        _ => 0,
    };
    let Some(known) = (eighths as usize).checked_sub(1).and_then(|n| ARC_TANGENTS.get(n)) else { return series(x) };
    // atan x = atan c + atan((x - c) / (1 + c x)), with numerator and denominator times 8.
    let times_8 = |v: Wide| Wide::new(v.exp + 3, v.sig);
    let Some(eighth) = Wide::from_int(eighths.into(), 0) else { return series(x) };
    let Some((negative, difference)) = times_8(x).sub(eighth) else { return *known };
    let rest = series(difference.div(times_8(Wide::ONE).add(eighth.mul(x))));
    if negative { known.sub(rest).map_or(*known, |(_, v)| v) } else { known.add(rest) }
}

/// The logarithm: its sign and magnitude; `None` for zero.
fn log2(x: Wide) -> Option<(bool, Wide)> {
    let down = x.sig > SQRT_2;
    let exponent = x.exp + i32::from(down);
    let whole = Wide::from_int(exponent.unsigned_abs().into(), 0);
    // The significand, between the square roots of 1/2 and 2, minus and plus one.
    let significand = Wide::new(-i32::from(down), x.sig);
    let fraction = significand.sub(Wide::ONE).map(|(negative, difference)| {
        let ratio = difference.div(significand.add(Wide::ONE));
        (negative, log2_of_ratio(ratio))
    });
    match (whole, fraction) {
        (None, fraction) => fraction,
        (Some(whole), None) => Some((exponent < 0, whole)),
        (Some(whole), Some((negative, fraction))) if negative == (exponent < 0) => {
            Some((negative, whole.add(fraction)))
        }
        (Some(whole), Some((_, fraction))) => {
            whole.sub(fraction).map(|(swapped, difference)| (swapped ^ (exponent < 0), difference))
        }
    }
}

/// `log2((1 + t) / (1 - t))`, twice the area hyperbolic tangent over ln 2.
fn log2_of_ratio(t: Wide) -> Wide {
    let value = t.series(&ARC_TANGENT, t.mul(t).fraction(), false).mul(LOG2_E);
    Wide::new(value.exp + 1, value.sig)
}
