//! Lane-wise operations on 128-bit values, as plain functions: what the IR's vector operations mean.

use crate::ir::{Lane, VBinary, VShift, VUnary};
use crate::lanes::{l8, l16, l32, l64};

/// A function of two vectors.
pub type Vector2 = fn(u128, u128) -> u128;
/// A function of one vector.
pub type Vector1 = fn(u128) -> u128;
/// A function of a vector and a shift count.
pub type VectorShift = fn(u128, u32) -> u128;

macro_rules! map2 {
    ($lane:expr, |$a:ident, $b:ident, $s:ident, $u:ident| $body:expr) => {
        match $lane {
            Lane::B => map2!(@ l8, i8, u8, $a, $b, $s, $u, $body),
            Lane::H => map2!(@ l16, i16, u16, $a, $b, $s, $u, $body),
            Lane::S => map2!(@ l32, i32, u32, $a, $b, $s, $u, $body),
            Lane::D => map2!(@ l64, i64, u64, $a, $b, $s, $u, $body),
        }
    };
    (@ $m:ident, $st:ty, $ut:ty, $a:ident, $b:ident, $s:ident, $u:ident, $body:expr) => {
        |x: u128, y: u128| {
            #[allow(dead_code)]
            type $s = $st;
            type $u = $ut;
            let (x, y) = ($m::split(x), $m::split(y));
            $m::join(std::array::from_fn(|i| {
                let ($a, $b): ($u, $u) = (x[i], y[i]);
                $body
            }))
        }
    };
}

/// The meaning of a [`VBinary`].
pub fn vbinary(op: VBinary, lane: Lane) -> Vector2 {
    match op {
        VBinary::Add => map2!(lane, |a, b, S, U| a.wrapping_add(b)),
        VBinary::Sub => map2!(lane, |a, b, S, U| a.wrapping_sub(b)),
        VBinary::Mul => map2!(lane, |a, b, S, U| a.wrapping_mul(b)),
        VBinary::And => |a, b| a & b,
        VBinary::Or => |a, b| a | b,
        VBinary::Xor => |a, b| a ^ b,
        VBinary::AndNot => |a, b| a & !b,
        VBinary::CmpEq => map2!(lane, |a, b, S, U| if a == b { U::MAX } else { 0 }),
        VBinary::CmpGtS => map2!(lane, |a, b, S, U| if a as S > b as S { U::MAX } else { 0 }),
        VBinary::CmpGtU => map2!(lane, |a, b, S, U| if a > b { U::MAX } else { 0 }),
        VBinary::CmpGeS => map2!(lane, |a, b, S, U| if a as S >= b as S { U::MAX } else { 0 }),
        VBinary::CmpGeU => map2!(lane, |a, b, S, U| if a >= b { U::MAX } else { 0 }),
        VBinary::MinS => map2!(lane, |a, b, S, U| (a as S).min(b as S) as U),
        VBinary::MinU => map2!(lane, |a, b, S, U| a.min(b)),
        VBinary::MaxS => map2!(lane, |a, b, S, U| (a as S).max(b as S) as U),
        VBinary::MaxU => map2!(lane, |a, b, S, U| a.max(b)),
        VBinary::Lookup => |a, b| {
            let table = a.to_le_bytes();
            u128::from_le_bytes(b.to_le_bytes().map(|i| table.get(usize::from(i)).copied().unwrap_or(0)))
        },
        VBinary::AddPairs => match lane {
            Lane::B => |a, b| add_pairs(l8::split(a), l8::split(b), u8::wrapping_add, l8::join),
            Lane::H => |a, b| add_pairs(l16::split(a), l16::split(b), u16::wrapping_add, l16::join),
            Lane::S => |a, b| add_pairs(l32::split(a), l32::split(b), u32::wrapping_add, l32::join),
            Lane::D => |a, b| add_pairs(l64::split(a), l64::split(b), u64::wrapping_add, l64::join),
        },
    }
}

fn add_pairs<T: Copy, const N: usize>(a: [T; N], b: [T; N], add: fn(T, T) -> T, join: fn([T; N]) -> u128) -> u128 {
    let at = |i: usize| if i < N { a[i] } else { b[i - N] };
    join(std::array::from_fn(|i| add(at(2 * i), at(2 * i + 1))))
}

/// The meaning of a [`VUnary`].
pub fn vunary(op: VUnary, lane: Lane) -> Vector1 {
    macro_rules! map1 {
        (|$a:ident, $s:ident| $body:expr) => {
            match lane {
                Lane::B => map1!(@ l8, i8, $a, $s, $body),
                Lane::H => map1!(@ l16, i16, $a, $s, $body),
                Lane::S => map1!(@ l32, i32, $a, $s, $body),
                Lane::D => map1!(@ l64, i64, $a, $s, $body),
            }
        };
        (@ $m:ident, $st:ty, $a:ident, $s:ident, $body:expr) => {
            |x: u128| {
                #[allow(dead_code)]
                type $s = $st;
                $m::join($m::split(x).map(|$a| $body))
            }
        };
    }
    /// Lanes of one half, each made twice as wide.
    macro_rules! widen {
        ($half:expr, $signed:expr) => {
            match lane {
                Lane::B => |x| {
                    let lanes = l8::split(x);
                    l16::join(std::array::from_fn(|i| {
                        let lane = lanes[i + $half * 8];
                        if $signed { lane as i8 as i16 as u16 } else { lane.into() }
                    }))
                },
                Lane::H => |x| {
                    let lanes = l16::split(x);
                    l32::join(std::array::from_fn(|i| {
                        let lane = lanes[i + $half * 4];
                        if $signed { lane as i16 as i32 as u32 } else { lane.into() }
                    }))
                },
                Lane::S => |x| {
                    let lanes = l32::split(x);
                    l64::join(std::array::from_fn(|i| {
                        let lane = lanes[i + $half * 2];
                        if $signed { lane as i32 as i64 as u64 } else { lane.into() }
                    }))
                },
                Lane::D => |x| {
                    let lane = l64::split(x)[$half];
                    if $signed { lane as i64 as i128 as u128 } else { lane.into() }
                },
            }
        };
    }
    match op {
        VUnary::Not => |a| !a,
        VUnary::Neg => map1!(|a, S| a.wrapping_neg()),
        VUnary::Abs => map1!(|a, S| (a as S).unsigned_abs()),
        VUnary::Popcount => match lane {
            Lane::B => |x| l8::join(l8::split(x).map(|a| a.count_ones() as u8)),
            Lane::H => |x| l16::join(l16::split(x).map(|a| a.count_ones() as u16)),
            Lane::S => |x| l32::join(l32::split(x).map(u32::count_ones)),
            Lane::D => |x| l64::join(l64::split(x).map(|a| a.count_ones().into())),
        },
        VUnary::Low64 => |a| a & u128::from(u64::MAX),
        VUnary::WidenLowS => widen!(0, true),
        VUnary::WidenLowU => widen!(0, false),
        VUnary::WidenHighS => widen!(1, true),
        VUnary::WidenHighU => widen!(1, false),
        VUnary::Narrow => match lane {
            Lane::B => unreachable!("the verifier refuses to narrow bytes"),
            Lane::H => |x| {
                let lanes = l16::split(x);
                l8::join(std::array::from_fn(|i| lanes.get(i).map_or(0, |l| *l as u8)))
            },
            Lane::S => |x| {
                let lanes = l32::split(x);
                l16::join(std::array::from_fn(|i| lanes.get(i).map_or(0, |l| *l as u16)))
            },
            Lane::D => |x| {
                let lanes = l64::split(x);
                l32::join(std::array::from_fn(|i| lanes.get(i).map_or(0, |l| *l as u32)))
            },
        },
    }
}

/// The meaning of a [`VShift`]; counts up to the lane's width.
pub fn vshift(op: VShift, lane: Lane) -> VectorShift {
    macro_rules! shift {
        (|$a:ident, $by:ident, $s:ident, $u:ident| $body:expr) => {
            match lane {
                Lane::B => shift!(@ l8, i8, u8, $a, $by, $s, $u, $body),
                Lane::H => shift!(@ l16, i16, u16, $a, $by, $s, $u, $body),
                Lane::S => shift!(@ l32, i32, u32, $a, $by, $s, $u, $body),
                Lane::D => shift!(@ l64, i64, u64, $a, $by, $s, $u, $body),
            }
        };
        (@ $m:ident, $st:ty, $ut:ty, $a:ident, $by:ident, $s:ident, $u:ident, $body:expr) => {
            |x: u128, $by: u32| {
                #[allow(dead_code)]
                type $s = $st;
                #[allow(dead_code)]
                type $u = $ut;
                $m::join($m::split(x).map(|$a| $body))
            }
        };
    }
    match op {
        VShift::Shl => shift!(|a, by, S, U| a.checked_shl(by).unwrap_or(0)),
        VShift::Shr => shift!(|a, by, S, U| a.checked_shr(by).unwrap_or(0)),
        VShift::Sar => shift!(|a, by, S, U| ((a as S) >> by.min(U::BITS - 1)) as U),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_work_alone() {
        let a = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0fff;
        let one = 0x0101_0101_0101_0101_0101_0101_0101_0101;
        assert_eq!(vbinary(VBinary::Add, Lane::B)(a, one), 0x0203_0405_0607_0809_0a0b_0c0d_0e0f_1000);
        assert_eq!(vbinary(VBinary::CmpGtS, Lane::B)(a, one) & 0xff, 0);
        assert_eq!(vbinary(VBinary::CmpGtU, Lane::B)(a, one) & 0xff, 0xff);
        assert_eq!(vbinary(VBinary::AddPairs, Lane::D)(3 << 64 | 4, 5 << 64 | 6), 11 << 64 | 7);
        assert_eq!(vunary(VUnary::WidenHighS, Lane::S)(0x8000_0000 << 96 | 1 << 64), 0xffff_ffff_8000_0000 << 64 | 1);
        assert_eq!(vunary(VUnary::Narrow, Lane::H)(0x1234_5678), 0x3478);
        assert_eq!(vshift(VShift::Sar, Lane::H)(0x8000, 16), 0xffff);
        assert_eq!(vshift(VShift::Shr, Lane::S)(0x8000_0000, 32), 0);
    }
}
