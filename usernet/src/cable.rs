//! Frames between the network card's threads and the network's own.

use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

/// Frames that wait in one direction at most; more from the guest are dropped, more for it are not made.
pub const QUEUE_MAX: usize = 1024;
/// Bytes of the greatest frame that is taken: any packet of IPv4 in Ethernet.
pub const FRAME_MAX: usize = 14 + 0xffff;
/// Bytes from the guest that wait at most.
const BYTES_MAX: usize = 4 << 20;

/// Both directions, and how each end calls the other.
pub struct Cable {
    from_guest: Mutex<Incoming>,
    to_guest: Mutex<Outgoing>,
    /// The network's thread waits: writing to `call` ends that.
    asleep: AtomicBool,
    /// The network's thread has more for the guest than the queue holds.
    starved: AtomicBool,
    closed: AtomicBool,
    call: OwnedFd,
    called: OwnedFd,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Incoming {
    frames: Vec<Vec<u8>>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Outgoing {
    frames: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

impl Cable {
    /// An empty cable.
    pub fn new() -> rustix::io::Result<Self> {
        let (called, call) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self {
            from_guest: Mutex::default(),
            to_guest: Mutex::default(),
            asleep: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            call,
            called,
            wake: OnceLock::new(),
        })
    }

    // The network card's end.

    /// Takes a frame from the guest, or drops it if too many wait.
    pub fn send(&self, frame: &[u8]) {
        if frame.len() > FRAME_MAX {
            return;
        }
        {
            let mut queue = self.from_guest.lock().unwrap();
            if queue.frames.len() >= QUEUE_MAX || queue.bytes + frame.len() > BYTES_MAX {
                return;
            }
            let mut copy = queue.spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(frame);
            queue.bytes += frame.len();
            queue.frames.push(copy);
        }
        self.rouse();
    }

    /// Moves the next frame for the guest into `frame`.
    pub fn receive(&self, frame: &mut Vec<u8>) -> bool {
        let left = {
            let mut queue = self.to_guest.lock().unwrap();
            match queue.frames.pop_front() {
                Some(mut next) => {
                    std::mem::swap(frame, &mut next);
                    if queue.spare.len() < QUEUE_MAX && next.capacity() <= 4096 {
                        queue.spare.push(next);
                    }
                    queue.frames.len()
                }
                None => {
                    frame.clear();
                    return false;
                }
            }
        };
        if left <= QUEUE_MAX / 2 && self.starved.swap(false, Ordering::SeqCst) {
            self.rouse();
        }
        true
    }

    /// Sets what is called when there are frames for the guest.
    pub fn on_receive(&self, wake: Box<dyn Fn() + Send + Sync>) {
        // A card sets it once.
        let _ = self.wake.set(wake);
    }

    /// Ends the network's thread.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.rouse();
    }

    fn rouse(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A full pipe wakes as well.
            let _ = rustix::io::write(&self.call, &[1]);
        }
    }

    // The network's end.

    /// Moves what the guest has sent into `frames`, whose old contents are kept for reuse.
    pub fn take(&self, frames: &mut Vec<Vec<u8>>) {
        let mut queue = self.from_guest.lock().unwrap();
        let room = QUEUE_MAX.saturating_sub(queue.spare.len());
        queue.spare.extend(frames.drain(..).filter(|frame| frame.capacity() <= 4096).take(room));
        std::mem::swap(frames, &mut queue.frames);
        queue.bytes = 0;
    }

    /// Says that the thread is about to wait; `false` if there is something to do.
    pub fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.from_guest.lock().unwrap().frames.is_empty() && !self.is_closed()
    }

    /// The opposite.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        let mut bytes = [0; 64];
        while rustix::io::read(&self.called, &mut bytes).is_ok_and(|len| len == bytes.len()) {}
    }

    /// Readable when the thread is called.
    pub fn called(&self) -> &OwnedFd {
        &self.called
    }

    /// Whether the thread shall end.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Number of frames that the queue for the guest has room for; moves buffers to reuse into `spare`.
    pub fn room(&self, spare: &mut Vec<Vec<u8>>) -> usize {
        let mut queue = self.to_guest.lock().unwrap();
        if spare.is_empty() {
            std::mem::swap(spare, &mut queue.spare);
        }
        QUEUE_MAX.saturating_sub(queue.frames.len())
    }

    /// The thread is to be called when there is room.
    pub fn starve(&self) {
        self.starved.store(true, Ordering::SeqCst);
    }

    /// Hands frames to the guest and calls its card. `more` waits for room.
    pub fn deliver(&self, frames: &mut Vec<Vec<u8>>, more: bool) {
        if more {
            self.starve();
        }
        if frames.is_empty() {
            return;
        }
        self.to_guest.lock().unwrap().frames.extend(frames.drain(..));
        // No lock is held: the card calls back.
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }
}
