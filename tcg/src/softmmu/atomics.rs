//! Atomic read-modify-writes: by the host's own where it has one that fits, else while no other vCPU executes guest code.
// UNSAFETY: the host's atomic operations are made on guest RAM by raw pointers, which come from translations as in softmmu.rs.

#![allow(unsafe_code)]

use super::{PAGE_MASK, REGIMES, Want, index, intent_of_load, read_host, swap};
use crate::env::Env;
use crate::frontend::Frontend;
use crate::ir::{AtomicOp, Mem};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use vm::ram::PAGE_SIZE;
use vm::vcpu::Intent;
use vm::{Gpa, Gva};

/// Bytes of a line of the host's caches. An x86 host locks what lies in one line at no more than the usual price, while an
/// access to two may be trapped by its kernel.
const LINE: u64 = 64;

/// Whether the host has an atomic operation for so many bytes at an address.
fn is_at_once(address: u64, bytes: u8) -> bool {
    let (aligned, one_line) = (address & (u64::from(bytes) - 1) == 0, address % LINE + u64::from(bytes) <= LINE);
    match bytes {
        16 => aligned && has_16(),
        _ => aligned || one_line && cfg!(target_arch = "x86_64"),
    }
}

/// Whether the host exchanges 16 bytes.
fn has_16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("cmpxchg16b");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl<F: Frontend> Env<F> {
    /// The host address of a read-modify-write that the first table allows: RAM without code, and the host can do it.
    fn first_rmw(&self, va: u64, bytes: u8, mem: Mem) -> Option<*mut u8> {
        let entry = &self.tlb.entries[usize::from(mem.mmu) % REGIMES][index(va)];
        let hits = |tag: u64| va ^ tag <= PAGE_SIZE - u64::from(bytes);
        let fits = va & ((1u64 << mem.align_log2) - 1) == 0
            && is_at_once(va, bytes)
            && (F::SPLIT_LOCKS || va & (u64::from(bytes) - 1) == 0);
        (fits && hits(entry.read) && hits(entry.write)).then(|| va.wrapping_add(entry.addend) as *mut u8)
    }

    /// Makes memory readable and writable for a read-modify-write that begins at `gva`. Gives its address on the host, or
    /// `None` where the host cannot do it at once: two lines, a device.
    fn place_rmw(&mut self, gva: Gva, bytes: u8, mem: Mem) -> Result<Option<(Gpa, *mut u8)>, F::Exception> {
        let read = Want { intent: intent_of_load(mem), mmu: mem.mmu };
        let align_log2 = if F::SPLIT_LOCKS { mem.align_log2 } else { bytes.trailing_zeros() as u8 };
        self.check_alignment(gva, read, align_log2)?;
        if !mem.modify {
            self.resolve(gva, read)?;
        }
        let found = self.resolve(gva, Want { intent: Intent::Write, mmu: mem.mmu })?;
        match found.host.filter(|host| is_at_once(*host as u64, bytes)) {
            Some(host) => {
                self.before_store(found.page.gpa, bytes)?;
                Ok(Some((found.page.gpa, host)))
            }
            None => Ok(None),
        }
    }

    /// A read-modify-write as a load and a store, which nobody must come between. `new` says what to store, if anything.
    fn rmw_in_two(
        &mut self,
        gva: Gva,
        bytes: u8,
        mem: Mem,
        new: impl FnOnce(u128) -> Option<u128>,
    ) -> Result<u128, F::Exception> {
        // Nothing may be refused once a part is stored.
        let first = u64::from(bytes).min(PAGE_SIZE - gva.0 % PAGE_SIZE) as u8;
        let next = Gva((gva.0 & PAGE_MASK).wrapping_add(PAGE_SIZE));
        for (part, len) in [(gva, first), (next, bytes - first)].into_iter().filter(|(_, len)| *len != 0) {
            let found = self.resolve(part, Want { intent: Intent::Write, mmu: mem.mmu })?;
            if found.host.is_some() {
                self.before_store(found.page.gpa, len)?;
            }
        }
        let plain = Mem { swap: false, ..mem };
        let old = self.load(gva.0, bytes, plain)?;
        if let Some(new) = new(old) {
            self.store(gva.0, bytes, new, plain)?;
        }
        Ok(old)
    }

    /// An atomic read-modify-write of 1, 2, 4 or 8 bytes; `None` when an exception was raised.
    pub fn atomic_slow(&mut self, op: AtomicOp, va: u64, bytes: u8, value: u64, mem: Mem) -> Option<u64> {
        let order = |v: u64| if mem.swap { swap(v.into(), bytes) as u64 } else { v };
        let apply = |old: u64| order(op.eval(bytes, order(old), value));
        let alone = self.is_alone_for_stress();
        if let Some(host) = self.first_rmw(va, bytes, mem).filter(|_| !alone) {
            // SAFETY: the table says that the page is RAM there, and the location lies in the page.
            return Some(order(unsafe { update_host(host, bytes, apply) }));
        }
        let old = self.place_rmw(Gva(va), bytes, mem).and_then(|place| match place.filter(|_| !alone) {
            Some((gpa, host)) => {
                // SAFETY: resolved as writable RAM, of which the location does not leave a line.
                let old = unsafe { update_host(host, bytes, apply) };
                self.wrote(gpa, bytes);
                Ok(old)
            }
            None => {
                let new = |old: u128| Some(apply(old as u64).into());
                self.exclusively(|env| env.rmw_in_two(Gva(va), bytes, mem, new)).map(|old| old as u64)
            }
        });
        old.map(order).map_err(|exception| self.raise(exception)).ok()
    }

    /// A compare-and-exchange of at most 16 bytes, giving the old contents; `None` when an exception was raised.
    pub fn cmpxchg_slow(&mut self, va: u64, bytes: u8, expected: u128, new: u128, mem: Mem) -> Option<u128> {
        let order = |v: u128| if mem.swap { swap(v, bytes) } else { v };
        let (expected, new) = (order(expected), order(new));
        let alone = self.is_alone_for_stress();
        if let Some(host) = self.first_rmw(va, bytes, mem).filter(|_| !alone) {
            // SAFETY: as in `atomic_slow`.
            return Some(order(unsafe { exchange_host(host, bytes, expected, new) }));
        }
        let old = self.place_rmw(Gva(va), bytes, mem).and_then(|place| match place.filter(|_| !alone) {
            Some((gpa, host)) => {
                // SAFETY: as in `atomic_slow`.
                let old = unsafe { exchange_host(host, bytes, expected, new) };
                if old == expected {
                    self.wrote(gpa, bytes);
                }
                Ok(old)
            }
            None => {
                let new = |old: u128| (old == expected).then_some(new);
                self.exclusively(|env| env.rmw_in_two(Gva(va), bytes, mem, new))
            }
        });
        old.map(order).map_err(|exception| self.raise(exception)).ok()
    }
}

/// # Safety
/// `host` must be valid for `bytes` (1, 2, 4, 8) bytes of guest RAM, for which [`is_at_once`].
unsafe fn update_host(host: *mut u8, bytes: u8, apply: impl Fn(u64) -> u64) -> u64 {
    // SAFETY: by the caller.
    let mut old = unsafe { read_host(host, bytes) };
    loop {
        // SAFETY: by the caller.
        let found = unsafe { exchange_host(host, bytes, old, apply(old as u64).into()) };
        if found == old {
            return old as u64;
        }
        old = found;
    }
}

/// # Safety
/// `host` must be valid for `bytes` (1, 2, 4, 8, 16) bytes of guest RAM, for which [`is_at_once`].
unsafe fn exchange_host(host: *mut u8, bytes: u8, expected: u128, new: u128) -> u128 {
    macro_rules! exchange {
        ($atomic:ty, $int:ty) => {{
            // SAFETY: valid by the caller, aligned by the match below.
            let cell = unsafe { <$atomic>::from_ptr(host.cast()) };
            let done = cell.compare_exchange(expected as $int, new as $int, Ordering::SeqCst, Ordering::SeqCst);
            done.unwrap_or_else(|old| old).into()
        }};
    }
    match bytes {
        1 => exchange!(AtomicU8, u8),
        2 if host.addr() & 1 == 0 => exchange!(AtomicU16, u16),
        4 if host.addr() & 3 == 0 => exchange!(AtomicU32, u32),
        8 if host.addr() & 7 == 0 => exchange!(AtomicU64, u64),
        // SAFETY: valid by the caller; what is not aligned is at once only where the host does it so.
        _ => unsafe { exchange_by_instruction(host, bytes, expected, new) },
    }
}

/// # Safety
/// As for [`exchange_host`]; `bytes` is 2 or more.
#[cfg(target_arch = "x86_64")]
unsafe fn exchange_by_instruction(host: *mut u8, bytes: u8, expected: u128, new: u128) -> u128 {
    use std::arch::asm;
    // SAFETY: `host` is valid for the bytes that the instruction accesses, by the caller.
    unsafe {
        match bytes {
            2 => {
                let old: u16;
                asm!("lock cmpxchg word ptr [{host}], {new:x}", host = in(reg) host, new = in(reg) new as u16,
                    inout("ax") expected as u16 => old, options(nostack));
                old.into()
            }
            4 => {
                let old: u32;
                asm!("lock cmpxchg dword ptr [{host}], {new:e}", host = in(reg) host, new = in(reg) new as u32,
                    inout("eax") expected as u32 => old, options(nostack));
                old.into()
            }
            8 => {
                let old: u64;
                asm!("lock cmpxchg qword ptr [{host}], {new}", host = in(reg) host, new = in(reg) new as u64,
                    inout("rax") expected as u64 => old, options(nostack));
                old.into()
            }
            _ => {
                let (low, high): (u64, u64);
                // RBX, which the compiler keeps for itself, is exchanged back.
                asm!(
                    "xchg {new_low}, rbx",
                    "lock cmpxchg16b xmmword ptr [{host}]",
                    "mov rbx, {new_low}",
                    new_low = inout(reg) new as u64 => _,
                    host = in(reg) host,
                    in("rcx") (new >> 64) as u64,
                    inout("rax") expected as u64 => low,
                    inout("rdx") (expected >> 64) as u64 => high,
                    options(nostack),
                );
                u128::from(low) | u128::from(high) << 64
            }
        }
    }
}

/// # Safety
/// None: it is never called.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn exchange_by_instruction(_: *mut u8, _: u8, _: u128, _: u128) -> u128 {
    unreachable!("only what is aligned, and of 8 bytes at most, is at once on this host")
}

impl AtomicOp {
    /// The new contents for `bytes`-wide operands.
    pub fn eval(self, bytes: u8, old: u64, value: u64) -> u64 {
        let unused = 64 - 8 * u32::from(bytes);
        let mask = u64::MAX >> unused;
        let signed = |v: u64| ((v << unused) as i64) >> unused;
        let (old, value) = (old & mask, value & mask);
        let new = match self {
            AtomicOp::Swap => value,
            AtomicOp::Add => old.wrapping_add(value),
            AtomicOp::AndNot => old & !value,
            AtomicOp::Or => old | value,
            AtomicOp::Xor => old ^ value,
            AtomicOp::MinS => signed(old).min(signed(value)) as u64,
            AtomicOp::MaxS => signed(old).max(signed(value)) as u64,
            AtomicOp::MinU => old.min(value),
            AtomicOp::MaxU => old.max(value),
        };
        new & mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_exchanges_within_a_line_whatever_the_alignment() {
        #[repr(align(64))]
        struct Line([u8; 64]);
        for bytes in [1u8, 2, 4, 8, 16] {
            for at in (0..64usize).filter(|at| is_at_once(*at as u64, bytes)) {
                let mut line = Line(std::array::from_fn(|n| n as u8));
                let before = line.0;
                let mut wide = [0; 16];
                wide[..bytes.into()].copy_from_slice(&before[at..at + usize::from(bytes)]);
                let old = u128::from_le_bytes(wide);
                let host = line.0[at..].as_mut_ptr();
                let new = !old & u128::MAX >> (128 - 8 * u32::from(bytes));
                // SAFETY: the location lies in the line.
                unsafe {
                    assert_eq!(exchange_host(host, bytes, old ^ 1, 0), old);
                    assert_eq!(line.0, before);
                    assert_eq!(exchange_host(host, bytes, old, new), old);
                }
                for (n, byte) in line.0.iter().enumerate() {
                    let inside = (at..at + usize::from(bytes)).contains(&n);
                    assert_eq!(*byte, if inside { !before[n] } else { before[n] }, "{bytes} at {at}, byte {n}");
                }
                if bytes < 16 {
                    // SAFETY: as above.
                    assert_eq!(unsafe { update_host(host, bytes, |v| v.wrapping_add(1)) }, new as u64);
                }
            }
        }
        assert!(!is_at_once(62, 4) && is_at_once(60, 4) && is_at_once(4096, 8) && !is_at_once(4092, 8));
    }
}
