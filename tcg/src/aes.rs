//! Steps of AES on the host's unit, for front ends whose guests have such instructions. Each function gives the address
//! of one in the convention of C, which takes and gives vectors in registers, or nothing on a host without the unit.
//! Compiled code calls it instead of a helper ([`Helper::function`](crate::frontend::Helper::function)), which executes the same in software ([`steps`]).
// UNSAFETY: the functions use instructions that the host was asked for first.

#![allow(unsafe_code)]

pub mod steps;

macro_rules! step {
    ($(#[$doc:meta])* $name:ident = |$a:ident, $b:ident| $body:expr) => {
        $(#[$doc])*
        pub fn $name() -> Option<usize> {
            #[cfg(target_arch = "x86_64")]
            {
                #[allow(unused_imports)]
                use std::arch::x86_64::*;
                // The calling convention passes this type in XMM0 and XMM1.
                #[allow(improper_ctypes_definitions)]
                #[target_feature(enable = "aes")]
                // SAFETY: it is only given away where the host has the instructions.
                unsafe extern "C" fn step($a: __m128i, $b: __m128i) -> __m128i {
                    $body
                }
                std::arch::is_x86_feature_detected!("aes").then_some(step as *const () as usize)
            }
            #[cfg(not(target_arch = "x86_64"))]
            None
        }
    };
}

step! {
    /// ShiftRows and SubBytes of `a ^ b`.
    encrypt = |a, b| _mm_aesenclast_si128(_mm_xor_si128(a, b), _mm_setzero_si128())
}
step! {
    /// InvShiftRows and InvSubBytes of `a ^ b`.
    decrypt = |a, b| _mm_aesdeclast_si128(_mm_xor_si128(a, b), _mm_setzero_si128())
}
step! {
    /// MixColumns of `b`: a round of encryption of what the last round of decryption undoes.
    mix_columns = |_a, b| {
        let undone = _mm_aesdeclast_si128(b, _mm_setzero_si128());
        _mm_aesenc_si128(undone, _mm_setzero_si128())
    }
}
step! {
    /// InvMixColumns of `b`.
    inverse_mix_columns = |_a, b| _mm_aesimc_si128(b)
}
