//! What the processing elements of a machine know of one another: who is on, and who is to start where.

use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// Where an element starts (PSCI, "CPU_ON").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Takes the state of an element from a snapshot.
    pub fn restore(&self, id: u32, state: State) {
        let poll = {
            let mut elements = self.elements.lock().unwrap();
            let Some(Some(element)) = elements.get_mut(id as usize) else { return };
            element.state = state;
            element.poll.clone()
        };
        poll();
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

    /// The other element runs while `f` does something and then until `enough`; gives it back.
    fn beside(
        mut other: tcg::exec::TcgVcpu<crate::frontend::Arm>,
        f: impl FnOnce(),
        enough: impl Fn() -> bool,
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
            let start = Instant::now();
            while !enough() && start.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(1));
            }
            done.store(true, Ordering::Release);
            kick.kick();
            thread.join().unwrap();
        });
        other
    }

    #[test]
    fn a_snapshot_says_who_is_on() {
        let mut m = Machine::new("max");
        let (mut on, off, mut pending) = (m.other(1), m.other(2), m.other(3));
        m.write_words(CODE + 0x100, &[0x1400_0000]); // b .
        assert_eq!(call(&mut m, CPU_ON, [1, CODE + 0x100, 7]), 0);
        on.run(Some(1)).unwrap();
        assert_eq!(call(&mut m, CPU_ON, [3, CODE + 0x100, 8]), 0);
        let saved = [&m.vcpu, &on, &off, &pending].map(|vcpu| vcpu.save());
        // Into a machine whose others wait, and into one where all of them are on.
        for all_on in [false, true] {
            let mut n = Machine::new("max");
            let mut others: Vec<_> = (1..4).map(|id| n.other(id)).collect();
            n.write_words(CODE + 0x100, &[0x1400_0000]);
            for other in others.iter_mut().filter(|_| all_on) {
                let id = other.env.cpu.wires.id;
                assert_eq!(call(&mut n, CPU_ON, [id.into(), CODE + 0x100, 0]), 0);
                other.run(Some(1)).unwrap();
            }
            n.vcpu.load(&saved[0]).unwrap();
            for (other, saved) in others.iter_mut().zip(&saved[1..]) {
                other.load(saved).unwrap();
            }
            let states = [1, 2, 3].map(|id| call(&mut n, AFFINITY_INFO, [id, 0, 0]));
            assert_eq!(states, [0, 1, 2], "all on before: {all_on}");
            assert_eq!((others[0].run(Some(5)).unwrap(), others[0].env.cpu.x[0]), (Stop::Budget, 7));
            assert_eq!(others[1].run(Some(5)).unwrap(), Stop::Idle);
            assert_eq!((others[2].run(Some(5)).unwrap(), others[2].env.cpu.x[0]), (Stop::Budget, 8));
            assert_eq!(call(&mut n, CPU_ON, [2, CODE + 0x100, 9]), 0);
            assert_eq!((others[1].run(Some(5)).unwrap(), others[1].env.cpu.x[0]), (Stop::Budget, 9));
        }
        // The snapshot has changed nothing.
        assert_eq!((pending.run(Some(5)).unwrap(), pending.env.cpu.x[0]), (Stop::Budget, 8));
    }

    #[test]
    fn an_element_that_went_off_comes_back_as_after_a_reset() {
        let mut m = Machine::new("max");
        let mut other = m.other(1);
        m.write_words(CODE + 0x100, &[HVC]); // with CPU_OFF in x0
        for round in 1..4 {
            assert_eq!(call(&mut m, CPU_ON, [1, CODE + 0x100, CPU_OFF]), 0, "round {round}");
            assert_eq!(other.run(Some(100)).unwrap(), Stop::Idle);
            assert_eq!(call(&mut m, AFFINITY_INFO, [1, 0, 0]), 1);
            // A reset of the machine leaves it off.
            other.reset();
            assert_eq!((other.run(Some(100)).unwrap(), call(&mut m, AFFINITY_INFO, [1, 0, 0])), (Stop::Idle, 1));
        }
        // One that runs when the machine is reset is off afterwards.
        m.write_words(CODE + 0x100, &[0x1400_0000]);
        assert_eq!(call(&mut m, CPU_ON, [1, CODE + 0x100, 0]), 0);
        assert_eq!(other.run(Some(100)).unwrap(), Stop::Budget);
        other.reset();
        assert_eq!((other.run(Some(100)).unwrap(), call(&mut m, AFFINITY_INFO, [1, 0, 0])), (Stop::Idle, 1));
        // And one that was only told to start.
        assert_eq!(call(&mut m, CPU_ON, [1, CODE + 0x100, 0]), 0);
        other.reset();
        assert_eq!((other.run(Some(100)).unwrap(), call(&mut m, AFFINITY_INFO, [1, 0, 0])), (Stop::Idle, 1));
    }

    #[test]
    fn code_that_one_changes_is_new_for_the_others_at_once() {
        const OTHERS: u64 = CODE + 0x2000;
        const FLAG: u64 = CODE + 0x4000;
        for round in 0..20 {
            let mut m = Machine::new("max");
            let mut other = m.other(1);
            assert_eq!(call(&mut m, CPU_ON, [1, OTHERS, 0]), 0);
            // loop: bl f; ldr x3, [x4]; cbz x3, loop; bl f; str x2, [x4, #8]; b .; f: mov x2, #1; ret
            let program = [
                0x9400_0006,
                0xf940_0083,
                0xb4ff_ffc3,
                0x9400_0003,
                0xf900_0482,
                0x1400_0000,
                0xd280_0022,
                0xd65f_03c0,
            ];
            m.write_words(OTHERS, &program);
            m.write_u64(FLAG, 0);
            m.write_u64(FLAG + 8, 0);
            other.run(Some(1)).unwrap();
            other.env.cpu.x[4] = FLAG;
            let bus = m.bus.clone();
            let change = || {
                m.cpu().x[4..8].copy_from_slice(&[FLAG, 0xd280_0042, OTHERS + 0x18, 1]); // mov x2, #2
                m.run_words(&[0xb900_00c5, 0xf900_0087]); // str w5, [x6]; str x7, [x4]
            };
            beside(other, change, || bus.view().load(vm::Gpa(FLAG + 8), 8) != Ok(0));
            assert_eq!(bus.view().load(vm::Gpa(FLAG + 8), 8), Ok(2), "round {round}");
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
        let maintain = || {
            for _ in 0..100 {
                m.run_words(&[0xd508_831f]); // tlbi vmalle1is
            }
        };
        beside(other, maintain, || true);
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
