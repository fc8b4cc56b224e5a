//! What integer instructions call: checksums and exclusive stores.

use crate::crypto::crc32;
use crate::frontend::{Arm, Env};
use crate::pauth::{self, Key, KeyNumber};
use crate::state::{Cpu, NOT_EXCLUSIVE};
use tcg::ir::{HelperId, Mem, Order};
use tcg::{Func, Helper};

/// Number of the first helper here.
pub const FIRST: u16 = 512;

/// CRC32(sum, data, log2 of the bytes).
pub const CRC32: HelperId = HelperId(FIRST);
/// The same with the Castagnoli polynomial.
pub const CRC32C: HelperId = HelperId(FIRST + 1);
/// Store exclusive(address, low, high, [`pack_exclusive`]); gives 0 when it stored, 1 when not.
pub const STORE_EXCLUSIVE: HelperId = HelperId(FIRST + 2);

/// Pointer authentication(pointer, modifier, [`pack`](crate::a64::pauth::pack)).
pub const POINTER_AUTH: HelperId = HelperId(FIRST + 3);
/// PACGA(value, modifier).
pub const PAC_GENERIC: HelperId = HelperId(FIRST + 4);

/// Helpers in order of their numbers.
pub static HELPERS: &[Helper<Arm>] = &[
    Helper::plain("crc32", Func::F3(crc32_any)),
    Helper::plain("crc32c", Func::F3(crc32c_any)),
    Helper::full("store_exclusive", Func::F4(store_exclusive)),
    Helper::plain("pointer_auth", Func::F3(pointer_auth)),
    Helper::plain("pac_generic", Func::F2(pac_generic)),
];

extern "C" fn crc32_any(_: &mut Env, sum: u64, data: u64, log2: u64) -> u64 {
    let sum = sum as u32;
    u64::from(match log2 {
        0 => crc32::crc32b(sum, data as u8),
        1 => crc32::crc32h(sum, data as u16),
        2 => crc32::crc32w(sum, data as u32),
        _ => crc32::crc32x(sum, data),
    })
}

extern "C" fn crc32c_any(_: &mut Env, sum: u64, data: u64, log2: u64) -> u64 {
    let sum = sum as u32;
    u64::from(match log2 {
        0 => crc32::crc32cb(sum, data as u8),
        1 => crc32::crc32ch(sum, data as u16),
        2 => crc32::crc32cw(sum, data as u32),
        _ => crc32::crc32cx(sum, data),
    })
}

/// Access size and kind for [`STORE_EXCLUSIVE`].
pub fn pack_exclusive(bytes: u8, mem: Mem) -> u64 {
    u64::from(bytes) | u64::from(mem.mmu) << 8 | u64::from(mem.swap) << 16
}

/// The monitor holds the address and the bytes that were loaded; the store happens if both are still the same
/// (B2.9 "Synchronization and semaphores"). That another value was there in between is not noticed.
extern "C" fn store_exclusive(env: &mut Env, va: u64, low: u64, high: u64, kind: u64) -> u64 {
    let bytes = kind as u8;
    let mem = Mem {
        mmu: (kind >> 8) as u8,
        align_log2: bytes.trailing_zeros() as u8,
        order: Order::AcqRel,
        swap: kind >> 16 & 1 != 0,
        modify: false,
    };
    let held = env.cpu.exclusive_addr == va;
    let aligned = va.is_multiple_of(bytes.max(1).into());
    if !held && aligned {
        env.cpu.exclusive_addr = NOT_EXCLUSIVE;
        return 1;
    }
    let pair = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
    let expected = pair(env.cpu.exclusive_low, env.cpu.exclusive_high);
    // A misaligned address raises its exception in there.
    let Some(old) = env.cmpxchg_slow(va, bytes, expected, pair(low, high), mem) else { return 1 };
    env.cpu.exclusive_addr = NOT_EXCLUSIVE;
    u64::from(old != expected)
}

/// The key at position `n` of the state.
fn key(cpu: &Cpu, n: usize) -> Key {
    let [lo, hi] = cpu.sys.pac_keys[n];
    Key { hi, lo }
}

/// EffectiveTBI() of the shared pseudocode for the half of the address space that `upper` names.
fn ignores_top_byte(cpu: &Cpu, upper: bool, data: bool) -> bool {
    let tcr = cpu.sys.tcr_el1;
    let bit = |low: u32| tcr >> (low + u32::from(upper)) & 1 != 0;
    // TBI0 is bit 37, TBID0 bit 51; those of the upper half follow.
    bit(37) && (data || !bit(51))
}

fn bottom_bit(cpu: &Cpu, upper: bool) -> u32 {
    let tcr = cpu.sys.tcr_el1;
    // T0SZ, T1SZ.
    let tsz = if upper { tcr >> 16 & 0x3f } else { tcr & 0x3f };
    pauth::bottom_pac_bit(tsz as u32, 16, 39)
}

/// Results of [`POINTER_AUTH`] that were computed last. Return addresses are signed and authenticated over and over with
/// the same modifiers, and the cipher takes a hundred times longer than a look here.
#[derive(Clone)]
pub struct PacCache(Box<[PacEntry; PAC_ENTRIES]>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct PacEntry {
    pointer: u64,
    modifier: u64,
    /// Operation, key, control bits and the key itself: 0 in an empty entry, whose other fields are 0 too.
    context: [u64; 4],
    result: u64,
}

const PAC_ENTRIES: usize = 1024;

impl Default for PacCache {
    fn default() -> Self {
        Self(Box::new([PacEntry::default(); PAC_ENTRIES]))
    }
}

extern "C" fn pointer_auth(env: &mut Env, pointer: u64, modifier: u64, kind: u64) -> u64 {
    let [low, high] = env.cpu.sys.pac_keys[kind as usize & 3];
    // The lowest bit keeps the context of a real entry from being that of an empty one.
    let context = [kind << 1 | 1, env.cpu.sys.tcr_el1, low, high];
    let mixed = (pointer ^ modifier.rotate_left(20) ^ kind << 7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let at = (mixed >> 54) as usize % PAC_ENTRIES;
    let entry = env.cpu.pac_cache.0[at];
    if entry.pointer == pointer && entry.modifier == modifier && entry.context == context {
        return entry.result;
    }
    let result = compute_pointer_auth(&env.cpu, pointer, modifier, kind);
    env.cpu.pac_cache.0[at] = PacEntry { pointer, modifier, context, result };
    result
}

fn compute_pointer_auth(cpu: &Cpu, pointer: u64, modifier: u64, kind: u64) -> u64 {
    let (number, data) = (kind as usize & 3, kind & 2 != 0);
    let upper = pointer >> 55 & 1 != 0;
    let tbi = ignores_top_byte(cpu, upper, data);
    match kind >> 2 {
        0 => {
            let either = ignores_top_byte(cpu, false, data) || ignores_top_byte(cpu, true, data);
            let select = pointer >> if either { 55 } else { 63 } & 1 != 0;
            pauth::add_pac(pointer, modifier, key(cpu, number), select, bottom_bit(cpu, select), tbi)
        }
        1 => {
            let letter = if number & 1 == 0 { KeyNumber::A } else { KeyNumber::B };
            pauth::auth(pointer, modifier, key(cpu, number), letter, bottom_bit(cpu, upper), tbi)
        }
        _ => pauth::strip(pointer, bottom_bit(cpu, upper), tbi),
    }
}

extern "C" fn pac_generic(env: &mut Env, value: u64, modifier: u64) -> u64 {
    pauth::add_pac_ga(value, modifier, key(&env.cpu, 4))
}
