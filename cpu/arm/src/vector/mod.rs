//! Advanced SIMD on 128-bit values, as pure functions: what the IR's vector operations do not state.
//!
//! A vector register is a `u128`, element 0 in the least significant bits. `size` is log2 of the bytes of an element (of
//! the narrow elements where there are two kinds); no function panics for any size, but a size that the instruction does
//! not have gives an unspecified result. `qc` is set when a result saturates (FPSR.QC). Functions are named after the
//! instructions (Arm ARM DDI 0487, C7.2 "Alphabetical list of A64 Advanced SIMD and floating-point instructions").

pub(crate) use tcg::lanes::{l8, l16, l32, l64};

/// Each element of the result from the elements of the vectors: `each!(size, [a, b], |a, b; S, U, W| ..)`. The elements
/// are of the unsigned type `U`; `S` is the signed type, `W` the signed one of twice the width.
macro_rules! each {
    ($size:expr, [$($v:expr),*], |$($x:ident),*; $s:ident, $u:ident, $w:ident| $body:expr) => {
        match $size {
            0 => each!(@ l8, i8, u8, i16, [$($v),*], $($x),*; $s, $u, $w, $body),
            1 => each!(@ l16, i16, u16, i32, [$($v),*], $($x),*; $s, $u, $w, $body),
            2 => each!(@ l32, i32, u32, i64, [$($v),*], $($x),*; $s, $u, $w, $body),
            _ => each!(@ l64, i64, u64, i128, [$($v),*], $($x),*; $s, $u, $w, $body),
        }
    };
    (@ $m:ident, $st:ty, $ut:ty, $wt:ty, [$($v:expr),*], $($x:ident),*; $s:ident, $u:ident, $w:ident, $body:expr) => {{
        #[allow(dead_code)]
        type $s = $st;
        #[allow(dead_code)]
        type $u = $ut;
        #[allow(dead_code)]
        type $w = $wt;
        $(let $x = $crate::vector::$m::split($v);)*
        $crate::vector::$m::join(std::array::from_fn(|i| {
            $(let $x = $x[i];)*
            $body
        }))
    }};
}

/// As `each`, but the elements of the first vector and of the result have twice the width; the others' come from the low
/// half. `S`, `U` are the narrow types, `WS`, `WU` the wide ones.
macro_rules! each_long {
    ($size:expr, $acc:expr, [$($v:expr),*], |$c:ident, $($x:ident),*; $s:ident, $u:ident, $ws:ident, $wu:ident| $body:expr) => {
        match $size {
            0 => each_long!(@ l8, i8, u8, l16, i16, u16, $acc, [$($v),*], $c, $($x),*; $s, $u, $ws, $wu, $body),
            1 => each_long!(@ l16, i16, u16, l32, i32, u32, $acc, [$($v),*], $c, $($x),*; $s, $u, $ws, $wu, $body),
            _ => each_long!(@ l32, i32, u32, l64, i64, u64, $acc, [$($v),*], $c, $($x),*; $s, $u, $ws, $wu, $body),
        }
    };
    (@ $m:ident, $st:ty, $ut:ty, $wm:ident, $wst:ty, $wut:ty, $acc:expr, [$($v:expr),*],
     $c:ident, $($x:ident),*; $s:ident, $u:ident, $ws:ident, $wu:ident, $body:expr) => {{
        #[allow(dead_code)]
        type $s = $st;
        #[allow(dead_code)]
        type $u = $ut;
        type $ws = $wst;
        #[allow(dead_code)]
        type $wu = $wut;
        let $c = $crate::vector::$wm::split($acc);
        $(let $x = $crate::vector::$m::split($v);)*
        $crate::vector::$wm::join(std::array::from_fn(|i| {
            let $c = $c[i];
            $(let $x = $x[i];)*
            $body
        }))
    }};
}

/// Each narrow element of the result's low half from an element of twice the width.
macro_rules! each_narrow {
    ($size:expr, $v:expr, |$x:ident; $s:ident, $u:ident, $ws:ident| $body:expr) => {
        match $size {
            0 => each_narrow!(@ l16, i16, l8, i8, u8, $v, $x; $s, $u, $ws, $body),
            1 => each_narrow!(@ l32, i32, l16, i16, u16, $v, $x; $s, $u, $ws, $body),
            _ => each_narrow!(@ l64, i64, l32, i32, u32, $v, $x; $s, $u, $ws, $body),
        }
    };
    (@ $wm:ident, $wst:ty, $m:ident, $st:ty, $ut:ty, $v:expr, $x:ident; $s:ident, $u:ident, $ws:ident, $body:expr) => {{
        #[allow(dead_code)]
        type $s = $st;
        #[allow(dead_code)]
        type $u = $ut;
        #[allow(dead_code)]
        type $ws = $wst;
        let wide = $crate::vector::$wm::split($v);
        $crate::vector::$m::join(std::array::from_fn(|i| match wide.get(i) {
            Some(&$x) => $body,
            None => 0,
        }))
    }};
}

/// The value within the range of the type, noting whether it was outside.
macro_rules! saturate {
    ($t:ty, $w:ty, $value:expr, $qc:expr) => {{
        let value: $w = $value;
        let result = value.clamp(<$t>::MIN as $w, <$t>::MAX as $w);
        *$qc |= result != value;
        result as $t
    }};
}

/// Twice the product of two elements in the type of twice the width, saturated.
macro_rules! doubled_product {
    ($a:expr, $b:expr, $w:ty, $qc:expr) => {{
        let product = <$w>::from($a).wrapping_mul(<$w>::from($b));
        *$qc |= product.checked_mul(2).is_none();
        product.saturating_mul(2)
    }};
}

pub mod float;
pub mod integer;
pub mod multiply;
pub mod shift;
