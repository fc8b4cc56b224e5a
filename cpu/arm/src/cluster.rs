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

#[cfg(test)]
mod tests {
    use crate::testing::{CODE, Machine};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};
    use vm::vcpu::{Stop, Vcpu};

    const HVC: u32 = 0xd400_0002; // hvc #0
    const CPU_OFF: u64 = 0x8400_0002;
    const CPU_ON: u64 = 0xc400_0003;
    const AFFINITY_INFO: u64 = 0xc400_0004;

    fn call(m: &mut Machine, function: u64, arguments: [u64; 3]) -> i64 {
        m.cpu().x[0] = function;
        m.cpu().x[1..4].copy_from_slice(&arguments);
        m.run_words(&[HVC]);
        m.cpu().x[0] as i64
    }

    #[test]
    fn an_element_is_switched_on_and_off() {
        let mut m = Machine::new("max");
        let mut other = m.other(1);
        assert_eq!(other.run(Some(10)).unwrap(), Stop::Idle);
        assert_eq!(call(&mut m, AFFINITY_INFO, [1, 0, 0]), 1);
        assert_eq!(call(&mut m, CPU_ON, [1, CODE + 0x102, 0]), -9, "no address of an instruction");
        assert_eq!(call(&mut m, CPU_ON, [2, CODE, 0]), -2, "no such element");
        m.write_words(CODE + 0x100, &[0x9100_0401, HVC]); // add x1, x0, #1
        assert_eq!(call(&mut m, CPU_ON, [1, CODE + 0x100, 7]), 0);
        assert_eq!(call(&mut m, AFFINITY_INFO, [1, 0, 0]), 2, "it has not started yet");
        assert_eq!(call(&mut m, CPU_ON, [1, CODE + 0x100, 7]), -5);
        other.run(Some(1)).unwrap();
        assert_eq!(other.env.cpu.x[..2], [7, 8]);
        assert_eq!((call(&mut m, AFFINITY_INFO, [1, 0, 0]), call(&mut m, CPU_ON, [1, CODE, 0])), (0, -4));
        other.env.cpu.x[0] = CPU_OFF;
        assert_eq!(other.run(Some(10)).unwrap(), Stop::Idle);
        assert_eq!(call(&mut m, AFFINITY_INFO, [1, 0, 0]), 1);
    }

    /// The other element runs until it is kicked, while `f` does something; gives it back.
    fn beside(
        mut other: tcg::exec::TcgVcpu<crate::frontend::Arm>,
        f: impl FnOnce(),
    ) -> tcg::exec::TcgVcpu<crate::frontend::Arm> {
        let (kick, done) = (other.kicker(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    other.run(None).unwrap();
                }
            });
            std::thread::sleep(Duration::from_millis(20));
            f();
            std::thread::sleep(Duration::from_millis(20));
            done.store(true, Ordering::Release);
            kick.kick();
            thread.join().unwrap();
        });
        other
    }

    #[test]
    fn code_that_one_changes_is_new_for_the_others_at_once() {
        const OTHERS: u64 = CODE + 0x2000;
        const FLAG: u64 = CODE + 0x4000;
        for round in 0..20 {
            let mut m = Machine::new("max");
            let mut other = m.other(1);
            assert_eq!(call(&mut m, CPU_ON, [1, OTHERS, 0]), 0);
            // loop: bl f; ldr x3, [x4]; cbz x3, loop; bl f; b .; f: mov x2, #1; ret
            let program = [0x9400_0005, 0xf940_0083, 0xb4ff_ffc3, 0x9400_0002, 0x1400_0000, 0xd280_0022, 0xd65f_03c0];
            m.write_words(OTHERS, &program);
            m.write_u64(FLAG, 0);
            other.run(Some(1)).unwrap();
            other.env.cpu.x[4] = FLAG;
            let other = beside(other, || {
                m.cpu().x[4..8].copy_from_slice(&[FLAG, 0xd280_0042, OTHERS + 0x14, 1]); // mov x2, #2
                m.run_words(&[0xb900_00c5, 0xf900_0087]); // str w5, [x6]; str x7, [x4]
            });
            assert_eq!((other.env.cpu.pc, other.env.cpu.x[2]), (OTHERS + 0x10, 2), "round {round}");
        }
    }

    #[test]
    fn broadcast_maintenance_waits_for_the_others_and_ends() {
        let mut m = Machine::new("max");
        let mut other = m.other(1);
        let _idle = m.other(2);
        assert_eq!(call(&mut m, CPU_ON, [1, CODE + 0x100, 0]), 0);
        m.write_words(CODE + 0x100, &[0x1400_0000]); // b .
        other.run(Some(1)).unwrap();
        let start = Instant::now();
        beside(other, || {
            for _ in 0..100 {
                m.run_words(&[0xd508_831f]); // tlbi vmalle1is
            }
        });
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
