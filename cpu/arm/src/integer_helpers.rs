//! What integer instructions call: checksums and exclusive stores.

use crate::crypto::crc32;
use crate::frontend::{Arm, Env};
use crate::state::NOT_EXCLUSIVE;
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

/// Helpers in order of their numbers.
pub static HELPERS: &[Helper<Arm>] = &[
    Helper::plain("crc32", Func::F3(crc32_any)),
    Helper::plain("crc32c", Func::F3(crc32c_any)),
    Helper::full("store_exclusive", Func::F4(store_exclusive)),
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
