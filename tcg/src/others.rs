//! What vCPUs ask of one another: to forget translations, or to stop storing to a page that holds code now.
//!
//! A vCPU answers between slices, where no access is under way, before it executes anything more. Who asks waits for those
//! that are busy with guest code; one that is not answers before it is busy again. Who waits is not busy, so that two
//! that ask each other do not wait for ever, and must not hold a lock that a busy vCPU may want.

use crate::env::{Env, Kicker};
use crate::frontend::Frontend;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use vm::Gva;

/// What a vCPU is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// [`Env::flush_tlb`].
    FlushTlb,
    /// [`Env::flush_tlb_page`].
    FlushPage(Gva, u64),
    /// [`Env::flush_tlb_space`].
    FlushSpace(u32),
    /// [`Env::flush_code_space`].
    FlushCodeSpace(u32),
    /// Code lies in the page at this host address from now on: stores to it take the slow path.
    Protect(usize),
    /// To meet no block that was thrown away.
    ForgetDead,
}

/// More open questions of one vCPU become one that includes them all.
const MANY: usize = 64;
/// How often who waits looks before it sleeps, and how long it sleeps at most if nobody wakes it.
const LOOKS: u32 = 200;
const NAP: Duration = Duration::from_millis(1);

/// The questions to one vCPU.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Those that are open, and how many there ever were.
    open: Mutex<(Vec<Ask>, u64)>,
    any: AtomicBool,
    answered: AtomicU64,
    /// Whether the vCPU may be accessing memory by translations that it knows.
    busy: AtomicBool,
}

impl Inbox {
    /// Adds some; gives the number of the last.
    fn ask(&self, asks: &[Ask]) -> u64 {
        let mut open = self.open.lock().unwrap();
        if open.0.len() >= MANY {
            // Whoever looks at everything anew stores to no page by an old translation, either.
            open.0.clear();
            open.0.extend([Ask::FlushTlb, Ask::ForgetDead]);
        }
        open.0.extend(asks);
        open.1 += asks.len() as u64;
        self.any.store(true, Ordering::SeqCst);
        open.1
    }

    /// Whether the vCPU may be executing guest code.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// Says whether it may be; gives what was said before.
    pub(crate) fn set_busy(&self, busy: bool) -> bool {
        self.busy.swap(busy, Ordering::SeqCst)
    }

    /// Whether the question of that number is answered, or will be before the vCPU does anything.
    fn is_settled(&self, number: u64) -> bool {
        self.answered.load(Ordering::SeqCst) >= number || !self.is_busy()
    }
}

/// Where those wait who have asked.
#[derive(Default)]
pub(crate) struct Lobby {
    waiting: AtomicU32,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Lobby {
    pub(crate) fn wait_until(&self, settled: impl Fn() -> bool) {
        for _ in 0..LOOKS {
            if settled() {
                return;
            }
            std::hint::spin_loop();
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut guard = self.lock.lock().unwrap();
        while !settled() {
            guard = self.wake.wait_timeout(guard, NAP).unwrap().0;
        }
        drop(guard);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn tell(&self) {
        if self.waiting.load(Ordering::SeqCst) != 0 {
            let _guard = self.lock.lock().unwrap();
            self.wake.notify_all();
        }
    }
}

impl<F: Frontend> Env<F> {
    /// Lets all other vCPUs of the machine do these before they execute anything more, and waits until they have or
    /// certainly will. Meanwhile this one answers what it is asked itself: its own translations may be gone afterwards.
    pub fn ask_others(&mut self, asks: &[Ask]) {
        let shared = self.shared.clone();
        if !shared.has_several() {
            return;
        }
        let not_me = |kicker: &&Arc<Kicker>| !Arc::ptr_eq(kicker, &self.kicker);
        let others: Vec<Arc<Kicker>> = shared.kickers().iter().filter(not_me).cloned().collect();
        let asked: Vec<(Arc<Kicker>, u64)> = others
            .into_iter()
            .map(|kicker| {
                let number = kicker.inbox.ask(asks);
                kicker.interrupt();
                (kicker, number)
            })
            .collect();
        let was_busy = self.kicker.inbox.set_busy(false);
        shared.lobby.tell();
        shared.lobby.wait_until(|| asked.iter().all(|(kicker, number)| kicker.inbox.is_settled(*number)));
        if was_busy {
            self.be_busy();
        }
    }

    /// It executes no guest code until it says otherwise.
    pub(crate) fn be_idle(&mut self) {
        self.kicker.inbox.set_busy(false);
        self.shared.lobby.tell();
    }

    /// Does what others have asked for. No access may be under way.
    pub(crate) fn answer(&mut self) {
        let kicker = self.kicker.clone();
        if !kicker.inbox.any.load(Ordering::SeqCst) {
            return;
        }
        let (asks, number) = {
            let mut open = kicker.inbox.open.lock().unwrap();
            kicker.inbox.any.store(false, Ordering::SeqCst);
            (std::mem::take(&mut open.0), open.1)
        };
        for ask in asks {
            self.carry_out(ask);
        }
        kicker.inbox.answered.store(number, Ordering::SeqCst);
        self.shared.lobby.tell();
    }

    /// Does itself what others can be asked for.
    pub fn carry_out(&mut self, ask: Ask) {
        match ask {
            Ask::FlushTlb => self.flush_tlb(),
            Ask::FlushPage(gva, mask) => self.flush_tlb_page(gva, mask),
            Ask::FlushSpace(space) => self.flush_tlb_space(space),
            Ask::FlushCodeSpace(space) => self.flush_code_space(space),
            Ask::Protect(host_page) => self.protect_code(host_page as *mut u8),
            Ask::ForgetDead if self.behind_cache() => self.sync_with_cache(),
            Ask::ForgetDead => {}
        }
    }
}
