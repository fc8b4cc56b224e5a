//! Helpers of instructions that access some elements of memory only: gathers, VMASKMOV, MASKMOVDQU.
//!
//! What is not accessed does not fault. An element that faults leaves a gather with those before it done: their mask is
//! clear, so that the instruction, executed again, goes on with the rest (SDM vol. 2, "VGATHERDPS").

use super::helpers::signs;
use crate::exception::Exception;
use crate::frontend::Env;
use crate::insn::string;
use crate::memory::{self, Who};

/// What a masked move is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Number of the register that is loaded or stored.
    pub data: u8,
    /// Number of the register of masks.
    pub mask: u8,
    /// Bytes of an element: 1, 4 or 8.
    pub element: u8,
    /// Bytes of the registers: 8 (MMX), 16 or 32.
    pub bytes: u8,
}

impl Move {
    /// As a helper's operand.
    pub const fn encode(self) -> u64 {
        u32::from_le_bytes([self.data, self.mask, self.element, self.bytes]) as u64
    }
    fn decode(packed: u64) -> Move {
        let [data, mask, element, bytes] = (packed as u32).to_le_bytes();
        Move { data: data & 15, mask: mask & 15, element: element.clamp(1, 8), bytes }
    }
    /// Elements in 16 bytes.
    fn half(self) -> u32 {
        u32::from(16 / self.element)
    }
    fn count(self) -> u32 {
        u32::from(self.bytes / self.element)
    }
}

/// A register of up to 32 bytes, as two halves.
fn register(env: &Env, n: u8, mmx: bool) -> [u128; 2] {
    let (cpu, n) = (&env.cpu, usize::from(n));
    if mmx { [cpu.x87[n & 7].mantissa.into(), 0] } else { [cpu.xmm[n], cpu.ymm_high[n]] }
}

/// The masks of a register, one bit an element.
fn masks(env: &Env, what: Move) -> u32 {
    let [low, high] = register(env, what.mask, what.bytes == 8).map(|half| signs(half, what.element));
    let all = if what.element == 1 { low } else { low | high << what.half() };
    all & (u64::MAX >> (64 - what.count().clamp(1, 63))) as u32
}

/// The address of element `i`.
fn at(env: &Env, va: u64, i: u32, what: Move) -> u64 {
    let va = va.wrapping_add(u64::from(i) * u64::from(what.element));
    if env.cpu.is_64bit() { va } else { va & 0xffff_ffff }
}

/// Element `i` of a register.
fn element(halves: [u128; 2], i: u32, what: Move) -> u128 {
    let half = halves[usize::from(i >= what.half())];
    half >> (i % what.half() * 8 * u32::from(what.element)) & (u128::MAX >> (128 - 8 * u32::from(what.element)))
}

/// VMASKMOVPS and its kin from memory at a linear address: other elements become zero.
pub(super) extern "C" fn load(env: &mut Env, va: u64, packed: u64) -> u64 {
    let what = Move::decode(packed);
    let mask = masks(env, what);
    let mut result = [0; 2];
    for i in (0..what.count()).filter(|i| mask >> i & 1 != 0) {
        let va = at(env, va, i, what);
        match memory::load(env, va, what.element, Who::Program) {
            Ok(v) => {
                result[usize::from(i >= what.half())] |= v << (i % what.half() * 8 * u32::from(what.element));
            }
            Err(exception) => {
                env.raise(exception);
                return 0;
            }
        }
    }
    let n = usize::from(what.data);
    (env.cpu.xmm[n], env.cpu.ymm_high[n]) = (result[0], result[1]);
    0
}

/// VMASKMOVPS and its kin to memory; MASKMOVDQU and MASKMOVQ.
pub(super) extern "C" fn store(env: &mut Env, va: u64, packed: u64) -> u64 {
    let what = Move::decode(packed);
    let mask = masks(env, what);
    let data = register(env, what.data, what.bytes == 8);
    let chosen: Vec<u32> = (0..what.count()).filter(|i| mask >> i & 1 != 0).collect();
    // All of them can be stored before the first one is.
    for i in &chosen {
        let va = at(env, va, *i, what);
        if let Err(exception) = memory::probe_store(env, va, what.element) {
            env.raise(exception);
            return 0;
        }
    }
    for i in chosen {
        let va = at(env, va, i, what);
        if let Err(exception) = memory::store(env, va, what.element, element(data, i, what), Who::Program) {
            env.raise(exception);
            return 0;
        }
    }
    0
}

/// What a gather is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// Numbers of registers.
    pub data: u8,
    pub index: u8,
    pub mask: u8,
    /// Segment register.
    pub segment: u8,
    /// log2 of the factor of indices.
    pub scale: u8,
    /// Indices have 64 bits, else 32.
    pub wide_index: bool,
    /// Elements have 64 bits, else 32.
    pub wide_data: bool,
    /// Elements: 2, 4 or 8.
    pub count: u8,
    /// Addresses have 32 bits.
    pub short_address: bool,
}

impl Gather {
    /// As a helper's operand.
    pub const fn encode(self) -> u64 {
        let bits = self.wide_index as u8 | (self.wide_data as u8) << 1 | (self.short_address as u8) << 2;
        u64::from_le_bytes([self.data, self.index, self.mask, self.segment, self.scale, bits, self.count, 0])
    }
    fn decode(packed: u64) -> Gather {
        let [data, index, mask, segment, scale, bits, count, _] = packed.to_le_bytes();
        Gather {
            data: data & 15,
            index: index & 15,
            mask: mask & 15,
            segment: segment % 6,
            scale: scale & 3,
            wide_index: bits & 1 != 0,
            wide_data: bits & 2 != 0,
            count: count.min(8),
            short_address: bits & 4 != 0,
        }
    }
}

/// 32-bit or 64-bit number `i` of a register, zero-extended.
fn number(halves: [u128; 2], i: u32, wide: bool) -> u64 {
    let (half, shift) = if wide { (i / 2, i % 2 * 64) } else { (i / 4, i % 4 * 32) };
    let v = (halves[half as usize & 1] >> shift) as u64;
    if wide { v } else { v & 0xffff_ffff }
}

/// The register with number `i` replaced.
fn replace(halves: &mut [u128; 2], i: u32, wide: bool, v: u64) {
    let (half, shift) = if wide { (i / 2, i % 2 * 64) } else { (i / 4, i % 4 * 32) };
    let ones = if wide { u64::MAX } else { 0xffff_ffff };
    let half = &mut halves[half as usize & 1];
    *half = *half & !(u128::from(ones) << shift) | u128::from(v & ones) << shift;
}

/// VGATHERDPS and its kin, VPGATHERDD and its kin: `base` is the offset without the index.
pub(super) extern "C" fn gather(env: &mut Env, base: u64, packed: u64) -> u64 {
    let g = Gather::decode(packed);
    let indices = register(env, g.index, false);
    let mut data = register(env, g.data, false);
    let mut mask = register(env, g.mask, false);
    let bytes = if g.wide_data { 8 } else { 4 };
    let mut result = Ok(());
    for i in 0..u32::from(g.count) {
        if number(mask, i, g.wide_data) >> (u32::from(bytes) * 8 - 1) != 0 {
            let index = number(indices, i, g.wide_index);
            let index = if g.wide_index { index } else { i64::from(index as i32) as u64 };
            let offset = base.wrapping_add(index << g.scale);
            match one(env, g, offset, bytes) {
                Ok(v) => replace(&mut data, i, g.wide_data, v),
                Err(exception) => {
                    result = Err(exception);
                    break;
                }
            }
        }
        replace(&mut mask, i, g.wide_data, 0);
    }
    if result.is_ok() {
        mask = [0; 2];
        let used = u32::from(g.count) * u32::from(bytes) * 8;
        match used {
            64 => data = [data[0] & u128::from(u64::MAX), 0],
            128 => data[1] = 0,
            _ => {}
        }
    }
    let cpu = &mut env.cpu;
    [(g.data, data), (g.mask, mask)].into_iter().for_each(|(n, [low, high])| {
        (cpu.xmm[usize::from(n)], cpu.ymm_high[usize::from(n)]) = (low, high);
    });
    if let Err(exception) = result {
        env.raise(exception);
    }
    0
}

fn one(env: &mut Env, g: Gather, offset: u64, bytes: u8) -> Result<u64, Exception> {
    let offset = if g.short_address { offset & 0xffff_ffff } else { offset };
    let va = string::linear(env, g.segment.into(), offset, bytes.into(), false)?;
    Ok(memory::load(env, va, bytes, Who::Program)? as u64)
}
