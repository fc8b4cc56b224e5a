//! What the processing elements of a machine know of one another: who is on, and who is to start where.

use std::sync::{Arc, Mutex};

/// Where an element starts (PSCI, "CPU_ON").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// Address of the first instruction.
    pub entry: u64,
    /// What X0 holds.
    pub context: u64,
}

/// Whether an element executes (PSCI, "AFFINITY_INFO").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    On,
    Off,
    /// Told to start; it has not yet.
    Pending(Start),
}

/// One element.
struct Element {
    state: State,
    /// Lets it look at its state.
    poll: Arc<dyn Fn() + Send + Sync>,
}

/// All elements, by their numbers among the machine's vCPUs.
#[derive(Default)]
pub struct Cluster {
    elements: Mutex<Vec<Option<Element>>>,
}

impl Cluster {
    /// Adds an element, which is off.
    pub fn add(&self, id: u32, poll: Arc<dyn Fn() + Send + Sync>) {
        let mut elements = self.elements.lock().unwrap();
        let id = id as usize;
        if elements.len() <= id {
            elements.resize_with(id + 1, || None);
        }
        elements[id] = Some(Element { state: State::Off, poll });
    }

    /// The state of an element, if there is one of that number.
    pub fn state(&self, id: u32) -> Option<State> {
        self.elements.lock().unwrap().get(id as usize)?.as_ref().map(|element| element.state)
    }

    /// An element tells its own state.
    pub fn set_state(&self, id: u32, state: State) {
        if let Some(Some(element)) = self.elements.lock().unwrap().get_mut(id as usize) {
            element.state = state;
        }
    }

    /// Tells an element that is off to start.
    ///
    /// # Errors
    /// Its state if it is not off, `None` if there is none of that number.
    pub fn start(&self, id: u32, start: Start) -> Result<(), Option<State>> {
        let mut elements = self.elements.lock().unwrap();
        let Some(Some(element)) = elements.get_mut(id as usize) else { return Err(None) };
        if element.state != State::Off {
            return Err(Some(element.state));
        }
        element.state = State::Pending(start);
        let poll = element.poll.clone();
        drop(elements);
        poll();
        Ok(())
    }

    /// What an element is told to start with. It is on from now.
    pub fn take_start(&self, id: u32) -> Option<Start> {
        let mut elements = self.elements.lock().unwrap();
        let element = elements.get_mut(id as usize)?.as_mut()?;
        let State::Pending(start) = element.state else { return None };
        element.state = State::On;
        Some(start)
    }
}
