//! Many accesses one behind the other, in a page of RAM that the TLB knows: at the host's speed. What is not such a page is
//! left to single accesses.
// UNSAFETY: guest RAM is accessed by host pointers; each range lies within the page that the TLB gave the pointer for.

#![allow(unsafe_code)]
// The integer type may be that of 64 bits already.
#![allow(clippy::unnecessary_cast)]

use crate::env::Env;
use crate::frontend::Frontend;
use crate::ir::Mem;
use vm::ram::PAGE_SIZE;
use vm::vcpu::Intent;

/// Whether `count` units of `bytes` bytes from `va` on are all in one page.
fn in_page(va: u64, bytes: u8, count: u64) -> bool {
    let room = PAGE_SIZE - va % PAGE_SIZE;
    count != 0 && count <= room / u64::from(bytes)
}

/// Runs `$body` with `$t` as the integer type of `$bytes` bytes.
macro_rules! by_width {
    ($bytes:expr, $t:ident => $body:expr) => {
        match $bytes {
            1 => {
                type $t = u8;
                $body
            }
            2 => {
                type $t = u16;
                $body
            }
            4 => {
                type $t = u32;
                $body
            }
            _ => {
                type $t = u64;
                $body
            }
        }
    };
}

impl<F: Frontend> Env<F> {
    /// Stores `count` units of `bytes` (1, 2, 4 or 8) bytes with the same value from `va` on. Gives `false`, and does
    /// nothing, where they are not all in a page of RAM that stores may reach without a look.
    pub fn fill_span(&mut self, va: u64, bytes: u8, value: u64, count: u64, mem: Mem) -> bool {
        if !in_page(va, bytes, count) {
            return false;
        }
        let Some(host) = self.host_of_span(va, mem, Intent::Write) else { return false };
        let all = value & (u64::MAX >> (64 - 8 * u32::from(bytes)));
        let first = all & 0xff;
        let same = (1..u32::from(bytes)).all(|n| all >> (8 * n) & 0xff == first);
        // SAFETY: the units lie in the page at `host`, which is RAM.
        unsafe {
            if same {
                host.write_bytes(first as u8, (count * u64::from(bytes)) as usize);
            } else {
                by_width!(bytes, T => {
                    let host = host.cast::<T>();
                    (0..count as usize).for_each(|n| host.add(n).write_unaligned(all as T));
                });
            }
        }
        true
    }

    /// Copies `count` units of `bytes` bytes from `from` on to `to` on, in order: where the ranges overlap, what was stored
    /// is read again. Gives `false`, and does nothing, as [`fill_span`](Self::fill_span).
    pub fn copy_span(&mut self, to: u64, from: u64, bytes: u8, count: u64, mem: Mem) -> bool {
        if !in_page(to, bytes, count) || !in_page(from, bytes, count) {
            return false;
        }
        let Some(source) = self.host_of_span(from, mem, Intent::Read) else { return false };
        let Some(target) = self.host_of_span(to, mem, Intent::Write) else { return false };
        let len = (count * u64::from(bytes)) as usize;
        let distance = (target as usize).wrapping_sub(source as usize);
        // SAFETY: both ranges lie in pages of RAM.
        unsafe {
            if distance < len {
                by_width!(bytes, T => {
                    let (source, target) = (source.cast::<T>(), target.cast::<T>());
                    (0..count as usize).for_each(|n| target.add(n).write_unaligned(source.add(n).read_unaligned()));
                });
            } else {
                source.copy_to(target, len);
            }
        }
        true
    }

    /// Looks at up to `count` units from `va` on until one `stops`, given the number of the unit and its value. Gives how many
    /// were looked at; `None` where they are not all in a page of RAM that loads may reach.
    #[allow(clippy::useless_conversion, reason = "one of the widths is u64")]
    pub fn scan_span(
        &mut self,
        va: u64,
        bytes: u8,
        count: u64,
        mem: Mem,
        mut stops: impl FnMut(u64) -> bool,
    ) -> Option<u64> {
        if !in_page(va, bytes, count) {
            return None;
        }
        let host = self.host_of_span(va, mem, Intent::Read)?;
        // SAFETY: the units lie in the page at `host`.
        let unit = |n: u64| unsafe { by_width!(bytes, T => host.cast::<T>().add(n as usize).read_unaligned() as u64) };
        let last = (0..count).find(|n| stops(unit(*n)));
        Some(last.map_or(count, |n| n + 1))
    }

    /// Compares `count` units from `a` on with those from `b` on until two are `equal` or not, as asked. Gives how many pairs
    /// were compared, and the last; `None` as [`scan_span`](Self::scan_span).
    #[allow(clippy::useless_conversion, reason = "one of the widths is u64")]
    pub fn compare_spans(
        &mut self,
        [a, b]: [u64; 2],
        bytes: u8,
        count: u64,
        mem: Mem,
        equal: bool,
    ) -> Option<(u64, [u64; 2])> {
        if !in_page(a, bytes, count) || !in_page(b, bytes, count) {
            return None;
        }
        let [x, y] = [self.host_of_span(a, mem, Intent::Read)?, self.host_of_span(b, mem, Intent::Read)?];
        by_width!(bytes, T => {
            let (x, y) = (x.cast::<T>(), y.cast::<T>());
            // SAFETY: the units lie in the pages at `x` and `y`.
            let pair = |n: u64| unsafe { (x.add(n as usize).read_unaligned(), y.add(n as usize).read_unaligned()) };
            let found = (0..count).find(|n| {
                let (x, y) = pair(*n);
                (x == y) == equal
            });
            let done = found.map_or(count, |n| n + 1);
            let (x, y) = pair(done - 1);
            Some((done, [x as u64, y as u64]))
        })
    }
}
