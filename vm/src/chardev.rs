//! Characters between a serial device and the host end behind it.
//!
//! Input is pulled: the host end queues it in the [`CharPort`] and wakes the device, and the device takes as much as it
//! has room for each time it settles. So nothing is lost and no device blocks.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, OnceLock};

/// Events the port queues before the host end has to wait.
const QUEUE_LEN: usize = 4096;

/// Something that arrives from the host end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CharEvent {
    /// One byte.
    Data(u8),
    /// A break condition.
    Break,
    /// The terminal now has this many columns and rows.
    Resize { columns: u16, rows: u16 },
}

/// Takes the guest's output to the host.
pub trait CharSink: Send {
    /// Writes bytes in order; must not block for long. Errors are the host end's to report.
    fn write(&mut self, bytes: &[u8]);
}

impl<F: FnMut(&[u8]) + Send> CharSink for F {
    fn write(&mut self, bytes: &[u8]) {
        self(bytes)
    }
}

/// Hears what the guest sends.
pub type Listener = Box<dyn Fn(&[u8]) + Send + Sync>;

/// One serial connection: the device holds one end, a host end the other.
pub struct CharPort {
    sink: Mutex<Box<dyn CharSink>>,
    listener: OnceLock<Listener>,
    queue: Mutex<VecDeque<CharEvent>>,
    drained: Condvar,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl CharPort {
    /// A port whose output goes to `sink`.
    pub fn new(sink: impl CharSink + 'static) -> Self {
        Self {
            sink: Mutex::new(Box::new(sink)),
            listener: OnceLock::new(),
            queue: Mutex::default(),
            drained: Condvar::new(),
            wake: OnceLock::new(),
        }
    }

    /// A port whose output vanishes and which gives no input.
    pub fn null() -> Self {
        Self::new(|_: &[u8]| ())
    }

    /// Sends guest output.
    pub fn send(&self, bytes: &[u8]) {
        if let Some(listener) = self.listener.get() {
            listener(bytes);
        }
        self.sink.lock().unwrap().write(bytes);
    }

    /// Calls `listener` with all later output before it is sent. The first caller is served.
    pub fn listen(&self, listener: Listener) {
        let _ = self.listener.set(listener);
    }

    /// The next event for the device, if there is one.
    pub fn take(&self) -> Option<CharEvent> {
        let mut queue = self.queue.lock().unwrap();
        let event = queue.pop_front();
        if queue.len() < QUEUE_LEN / 2 {
            self.drained.notify_all();
        }
        event
    }

    /// Looks at the next event without taking it.
    pub fn peek(&self) -> Option<CharEvent> {
        self.queue.lock().unwrap().front().copied()
    }

    /// Queues one event for the device and wakes it. Waits for room while the queue is full. For the host end.
    pub fn push(&self, event: CharEvent) {
        let mut queue = self.queue.lock().unwrap();
        while queue.len() >= QUEUE_LEN {
            queue = self.drained.wait(queue).unwrap();
        }
        queue.push_back(event);
        drop(queue);
        if let Some(wake) = self.wake.get() {
            wake();
        }
    }

    /// Calls `wake` when events were queued. Set once, by whoever wires the device (it pokes the device's cell).
    pub fn on_input(&self, wake: Box<dyn Fn() + Send + Sync>) {
        let _ = self.wake.set(wake);
    }
}
