//! Requests that decide about the whole machine: power-off and reset, from a vCPU (PSCI), a device or a person.

use std::sync::{Arc, Mutex, OnceLock};

/// What is to become of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerRequest {
    /// Switch off.
    Shutdown,
    /// Start again from the reset state.
    Reset,
    /// End the program with this exit status, as test devices ask for.
    Exit(u8),
}

/// The handle through which a part asks. The first request stands until the run loop takes it.
#[derive(Clone, Default)]
pub struct Power(Arc<Inner>);

#[derive(Default)]
struct Inner {
    request: Mutex<Option<PowerRequest>>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Power {
    /// Asks; the machine goes on until the run loop acts on it.
    pub fn request(&self, what: PowerRequest) {
        self.0.request.lock().unwrap().get_or_insert(what);
        if let Some(wake) = self.0.wake.get() {
            wake();
        }
    }

    /// Takes the standing request. For the run loop.
    pub fn take(&self) -> Option<PowerRequest> {
        self.0.request.lock().unwrap().take()
    }

    /// Calls `wake` at each request. For the run loop, once.
    pub fn on_request(&self, wake: Box<dyn Fn() + Send + Sync>) {
        let _ = self.0.wake.set(wake);
    }
}
