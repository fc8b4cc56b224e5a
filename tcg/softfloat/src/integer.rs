//! Integers: conversion from and to them, and rounding to integral values (IEEE 754-2019, sections 5.4.1, 5.8, 5.9).

use crate::env::{Env, Flags, Rounding};
use crate::format::{Class, Format, Unpacked, operand};
use crate::nan::propagate;
use crate::round::{pack, round_up};

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int {
    /// Width: 1..=64.
    pub bits: u32,
    /// Two's complement.
    pub signed: bool,
}

impl Int {
    /// 16-bit signed.
    pub const I16: Self = Self { bits: 16, signed: true };
    /// 16-bit unsigned.
    pub const U16: Self = Self { bits: 16, signed: false };
    /// 32-bit signed.
    pub const I32: Self = Self { bits: 32, signed: true };
    /// 32-bit unsigned.
    pub const U32: Self = Self { bits: 32, signed: false };
    /// 64-bit signed.
    pub const I64: Self = Self { bits: 64, signed: true };
    /// 64-bit unsigned.
    pub const U64: Self = Self { bits: 64, signed: false };

    const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// The largest value.
    pub const fn max(self) -> u64 {
        self.mask() >> self.signed as u32
    }

    /// The smallest value, in the low bits.
    pub const fn min(self) -> u64 {
        if self.signed { 1 << (self.bits - 1) } else { 0 }
    }
}

/// Why a value has no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfRange {
    /// It is a NaN.
    Nan,
    /// It is greater than the largest integer.
    Above,
    /// It is less than the smallest integer.
    Below,
}

/// A magnitude rounded to an integer.
struct Integral {
    magnitude: u64,
    inexact: bool,
}

/// Rounds the magnitude of a finite number times `2^scale` to an integer, if that is less than 2^64.
fn integral(value: &Unpacked, scale: i32, mode: Rounding) -> Option<Integral> {
    let exp = value.exp + scale;
    let (kept, rest) = match exp {
        64.. => return None,
        63 => (value.sig, 0),
        0..=62 => (value.sig >> (63 - exp), value.sig << (exp + 1)),
        -1 => (0, value.sig),
        // Below a quarter: any small value rounds alike.
        _ => (0, 1),
    };
    let up = round_up(mode, value.sign, kept & 1 != 0, rest);
    Some(Integral { magnitude: kept + u64::from(up), inexact: rest != 0 })
}

pub(crate) fn round_to_integral<F: Format>(a: F::Bits, mode: Rounding, exact: bool, env: &mut Env) -> F::Bits {
    let value = operand::<F>(a, env);
    match value.class {
        Class::QuietNan | Class::SignallingNan => return propagate::<F>(&[value], env),
        Class::Infinity => return F::infinity(value.sign),
        Class::Zero => return F::zero(value.sign),
        Class::Finite => {}
    }
    if value.exp >= F::FRAC_BITS as i32 {
        return a;
    }
    let Some(rounded) = integral(&value, 0, mode) else { return a };
    if rounded.inexact && exact {
        env.raise(Flags::INEXACT);
    }
    match rounded.magnitude {
        0 => F::zero(value.sign),
        magnitude => pack_magnitude::<F>(value.sign, magnitude, 0, env),
    }
}

/// Packs `±magnitude * 2^exp`; `magnitude` is not zero.
fn pack_magnitude<F: Format>(sign: bool, magnitude: u64, exp: i32, env: &mut Env) -> F::Bits {
    let shift = magnitude.leading_zeros();
    pack::<F>(sign, exp + 63 - shift as i32, u128::from(magnitude << shift) << 64, env)
}

pub(crate) fn to_int<F: Format>(
    a: F::Bits,
    int: Int,
    frac_bits: u32,
    mode: Rounding,
    env: &mut Env,
) -> Result<u64, OutOfRange> {
    let value = operand::<F>(a, env);
    let result =
        match value.class {
            Class::Zero => return Ok(0),
            Class::QuietNan | Class::SignallingNan => Err(OutOfRange::Nan),
            Class::Infinity => Err(if value.sign { OutOfRange::Below } else { OutOfRange::Above }),
            Class::Finite => {
                let limit = if value.sign { int.min() } else { int.max() };
                integral(&value, frac_bits as i32, mode)
                    .filter(|rounded| rounded.magnitude <= limit)
                    .ok_or(if value.sign { OutOfRange::Below } else { OutOfRange::Above })
            }
        };
    match result {
        Ok(Integral { magnitude, inexact }) => {
            if inexact {
                env.raise(Flags::INEXACT);
            }
            Ok(if value.sign { magnitude.wrapping_neg() & int.mask() } else { magnitude })
        }
        Err(error) => {
            env.raise(Flags::INVALID);
            Err(error)
        }
    }
}

pub(crate) fn from_int<F: Format>(value: u64, int: Int, frac_bits: u32, env: &mut Env) -> F::Bits {
    let value = value & int.mask();
    let sign = int.signed && value & int.min() != 0;
    match if sign { value.wrapping_neg() & int.mask() } else { value } {
        0 => F::zero(false),
        magnitude => pack_magnitude::<F>(sign, magnitude, -(frac_bits as i32), env),
    }
}
