//! Interrupt lines: a level that a device drives and a controller sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What has numbered interrupt inputs: an interrupt controller, or the pins of a vCPU.
pub trait IrqSink: Send + Sync {
    /// The level of input `pin` changed. Controllers detect edges against their own saved pin state.
    fn set_pin(&self, pin: u32, high: bool);
}

/// The output of a device, wired to one input of a sink. Only changes of level travel.
pub struct IrqLine {
    high: AtomicBool,
    to: Option<(Arc<dyn IrqSink>, u32)>,
}

impl Clone for IrqLine {
    /// Another line to the same input, low whatever this one's level. Only one of them should be driven.
    fn clone(&self) -> Self {
        Self { high: AtomicBool::new(false), to: self.to.clone() }
    }
}

impl IrqLine {
    /// A line, low, wired to input `pin` of `sink`.
    pub fn to(sink: Arc<dyn IrqSink>, pin: u32) -> Self {
        Self { high: AtomicBool::new(false), to: Some((sink, pin)) }
    }

    /// A line that leads nowhere.
    pub fn unconnected() -> Self {
        Self { high: AtomicBool::new(false), to: None }
    }

    /// Drives the level.
    pub fn set(&self, high: bool) {
        if self.high.swap(high, Ordering::AcqRel) != high
            && let Some((sink, pin)) = &self.to
        {
            sink.set_pin(*pin, high);
        }
    }

    /// The level that was driven last.
    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::Acquire)
    }
}
