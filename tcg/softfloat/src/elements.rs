//! Numbers as elements of a 128-bit vector, element 0 in the least significant bits. `n` elements from the lowest take
//! part; the others of the result are zero.

use crate::{Bits, Env, Float};

/// Element `i`.
#[inline(always)]
pub fn element<F: Float>(v: u128, i: u32) -> F::Bits {
    F::Bits::from_u64((v >> (i * F::WIDTH)) as u64)
}

/// A vector that is zero but for element `i`.
#[inline(always)]
pub fn place<F: Float>(bits: F::Bits, i: u32) -> u128 {
    u128::from(bits.to_u64()) << (i * F::WIDTH)
}

/// `f` of each element.
#[inline(always)]
pub fn map1<F: Float>(n: u32, a: u128, env: &mut Env, f: impl Fn(F::Bits, &mut Env) -> F::Bits) -> u128 {
    (0..n).fold(0, |v, i| v | place::<F>(f(element::<F>(a, i), env), i))
}

/// `f` of each pair of elements.
#[inline(always)]
pub fn map2<F: Float>(
    n: u32,
    a: u128,
    b: u128,
    env: &mut Env,
    f: impl Fn(F::Bits, F::Bits, &mut Env) -> F::Bits,
) -> u128 {
    (0..n).fold(0, |v, i| v | place::<F>(f(element::<F>(a, i), element::<F>(b, i), env), i))
}

/// `f` of each three elements.
#[inline(always)]
pub fn map3<F: Float>(
    n: u32,
    [a, b, c]: [u128; 3],
    env: &mut Env,
    f: impl Fn(F::Bits, F::Bits, F::Bits, &mut Env) -> F::Bits,
) -> u128 {
    (0..n).fold(0, |v, i| v | place::<F>(f(element::<F>(a, i), element::<F>(b, i), element::<F>(c, i), env), i))
}
