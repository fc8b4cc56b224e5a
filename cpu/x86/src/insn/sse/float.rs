//! Floating-point arithmetic and comparison.

use super::Halves;
use super::helpers::{ADD, ADD_SUB, CMP, DIV, DOT, FUSED, FloatHelper, MAX, MIN, MUL, RCP, ROUND, RSQRT, SQRT, SUB};
use crate::insn::translator::{Next, Translator};
use crate::vector::float::{NEGATE_EVEN, NEGATE_ODD, NEGATE_PRODUCT};
use tcg::ir::{Lane, VBinary as B, VUnary, Val};

/// Whether all elements take part or the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub lane: Lane,
    pub scalar: bool,
}

pub(super) const PS: Shape = Shape { lane: Lane::S, scalar: false };
pub(super) const PD: Shape = Shape { lane: Lane::D, scalar: false };
pub(super) const SS: Shape = Shape { lane: Lane::S, scalar: true };
pub(super) const SD: Shape = Shape { lane: Lane::D, scalar: true };

impl Shape {
    /// Elements that take part.
    fn count(self) -> u32 {
        if self.scalar { 1 } else { self.lane.count().into() }
    }
}

/// Arithmetic on two vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
}

impl Translator<'_> {
    /// A helper's operation on two vectors; of a scalar operation the other elements are zero.
    fn float2(&mut self, helper: FloatHelper, shape: Shape, n: u32, a: Val, b: Val) -> Val {
        self.float_call(helper, shape.lane, shape.count(), n, [a, b, b])
    }

    /// The result of a scalar operation in the first source, or of a vector operation as it is.
    fn merged(&mut self, shape: Shape, a: Val, result: Val) -> Val {
        if shape.scalar { self.with_lowest(shape.lane, a, result) } else { result }
    }

    /// ADDPS and its kin.
    pub(super) fn float_arithmetic(&mut self, what: Arithmetic, shape: Shape) -> Next {
        self.map_vectors(|t, a, b| {
            let result = match what {
                Arithmetic::Add => t.float2(ADD, shape, 0, a, b),
                Arithmetic::Sub => t.float2(SUB, shape, 0, a, b),
                Arithmetic::Mul => t.float2(MUL, shape, 0, a, b),
                Arithmetic::Div => t.float2(DIV, shape, 0, a, b),
                Arithmetic::Min => t.float_extreme(false, shape, a, b),
                Arithmetic::Max => t.float_extreme(true, shape, a, b),
            };
            t.merged(shape, a, result)
        })
    }

    /// MINPS and MAXPS: the first operand where it is less (greater), else the second. The comparison is the host's.
    fn float_extreme(&mut self, max: bool, shape: Shape, a: Val, b: Val) -> Val {
        if self.mode.host_float() == 0 {
            return self.float2(if max { MAX } else { MIN }, shape, 0, a, b);
        }
        const GREATER: u32 = 14;
        let (x, y) = if max { (a, b) } else { (b, a) };
        let first = self.float2(CMP, shape, GREATER, x, y);
        self.choose(first, b, a)
    }

    /// SQRTPS and its kin.
    pub(super) fn float_sqrt(&mut self, shape: Shape) -> Next {
        self.float_unary(shape, |t, v| t.float2(SQRT, shape, 0, v, v))
    }

    /// An operation on one vector. The other elements of scalar results are those of the destination, with VEX of the first
    /// source.
    fn float_unary(&mut self, shape: Shape, f: impl Fn(&mut Self, Val) -> Val) -> Next {
        if !shape.scalar {
            return self.map_vector(f);
        }
        self.map_vectors(|t, a, b| {
            let result = f(t, b);
            t.with_lowest(shape.lane, a, result)
        })
    }

    /// ROUNDPS and its kin.
    pub(super) fn float_round(&mut self, shape: Shape) -> Next {
        let how = self.imm8() & 15;
        self.float_unary(shape, |t, v| t.float2(ROUND, shape, how, v, v))
    }

    /// RCPPS and RCPSS.
    pub(super) fn reciprocal(&mut self, shape: Shape) -> Next {
        self.float_unary(shape, |t, v| t.float2(RCP, shape, 0, v, v))
    }

    /// RSQRTPS and RSQRTSS.
    pub(super) fn reciprocal_square_root(&mut self, shape: Shape) -> Next {
        self.float_unary(shape, |t, v| t.float2(RSQRT, shape, 0, v, v))
    }

    /// CMPPS and its kin.
    pub(super) fn float_compare(&mut self, shape: Shape) -> Next {
        let predicate = self.imm8() & if self.is_vex() { 31 } else { 7 };
        self.map_vectors(|t, a, b| {
            let mask = t.float_mask(shape, predicate, a, b);
            t.merged(shape, a, mask)
        })
    }

    /// The mask of a predicate, by those comparisons that the host has where it can be: equal (0), unordered (3), greater
    /// or equal (13) and greater (14).
    fn float_mask(&mut self, shape: Shape, predicate: u32, a: Val, b: Val) -> Val {
        if self.mode.host_float() == 0 {
            return self.float2(CMP, shape, predicate, a, b);
        }
        let (base, swapped, not) = match predicate {
            0 => (0, false, false),
            1 => (14, true, false),
            2 => (13, true, false),
            4 => (0, false, true),
            5 => (14, true, true),
            6 => (13, true, true),
            9 => (13, false, true),
            10 => (14, false, true),
            13 => (13, false, false),
            14 => (14, false, false),
            3 => (3, false, false),
            7 => (3, false, true),
            _ => return self.float2(CMP, shape, predicate, a, b),
        };
        let (x, y) = if swapped { (b, a) } else { (a, b) };
        let mask = self.float2(CMP, shape, base, x, y);
        if not { self.ir.vun(VUnary::Not, shape.lane, mask) } else { mask }
    }

    /// HADDPS and HADDPD, or HSUBPS and HSUBPD.
    pub(super) fn float_pairs(&mut self, shape: Shape, subtract: bool) -> Next {
        self.map_vectors(|t, a, b| {
            let (even, odd) = t.evens_and_odds(shape.lane, a, b);
            t.float2(if subtract { SUB } else { ADD }, shape, 0, even, odd)
        })
    }

    /// ADDSUBPS and ADDSUBPD.
    pub(super) fn add_sub(&mut self, shape: Shape) -> Next {
        self.map_vectors(|t, a, b| {
            if t.mode.host_float() == 0 {
                return t.float2(ADD_SUB, shape, 0, a, b);
            }
            // Sums and differences apart, of zeros where the other one counts: these are zero and raise nothing.
            let even = t.evens(shape.lane);
            let split = |t: &mut Self, v: Val| {
                (t.ir.vbin(B::And, shape.lane, v, even), t.ir.vbin(B::AndNot, shape.lane, v, even))
            };
            let ((even_a, odd_a), (even_b, odd_b)) = (split(t, a), split(t, b));
            let differences = t.float2(SUB, shape, 0, even_a, even_b);
            let sums = t.float2(ADD, shape, 0, odd_a, odd_b);
            t.ir.vbin(B::Or, shape.lane, differences, sums)
        })
    }

    /// All ones in the elements of even numbers.
    fn evens(&mut self, lane: Lane) -> Val {
        let ones = u128::from(lane.ty().mask());
        let v = if lane == Lane::S { ones | ones << 64 } else { ones };
        self.ir.imm_v(v)
    }

    /// DPPS and DPPD.
    pub(super) fn dot_product(&mut self, shape: Shape) -> Next {
        let imm = self.imm8();
        self.map_vectors(|t, a, b| t.float2(DOT, shape, imm, a, b))
    }

    /// VFMADD213PS and its kin. `order` says which operands are the factors: 132, 213 or 231; `signs` what is negated.
    pub(super) fn fused(&mut self, order: u32, signs: Signs, shape: Shape) -> Next {
        let third = self.vector(2);
        let (first, second) = (self.vector(0), self.vector(1));
        let (x, y, addend): (Halves, Halves, Halves) = match order {
            132 => (first, third, second),
            213 => (second, first, third),
            _ => (second, third, first),
        };
        let result = self.each(|t, h| {
            let args = [addend[h], x[h], y[h]];
            let result = t.float_call(FUSED, shape.lane, shape.count(), signs.0, args);
            t.merged(shape, first[h], result)
        });
        self.set_vector(0, result);
        Next::Continue
    }
}

/// What a fused operation negates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signs(u32);

/// `x * y + z`
pub(super) const MADD: Signs = Signs(0);
/// `x * y - z`
pub(super) const MSUB: Signs = Signs(NEGATE_EVEN | NEGATE_ODD);
/// `-(x * y) + z`
pub(super) const NMADD: Signs = Signs(NEGATE_PRODUCT);
/// `-(x * y) - z`
pub(super) const NMSUB: Signs = Signs(NEGATE_PRODUCT | NEGATE_EVEN | NEGATE_ODD);
/// The addend is subtracted in elements of even numbers and added in the others.
pub(super) const MADDSUB: Signs = Signs(NEGATE_EVEN);
/// The other way round.
pub(super) const MSUBADD: Signs = Signs(NEGATE_ODD);
