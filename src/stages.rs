//! The stages of a guest's start, for the person who waits for it: firmware, boot loader, kernel, userspace.
//!
//! What runs on a processor tells the last two: code of a kernel lies in the upper half of the addresses, where no firmware
//! runs, and programs have no privilege. The boot loader is what firmware or itself names on the serial port.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vm::vcpu::Vcpu;

/// How often processors are looked at.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// A stage. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Firmware,
    BootLoader,
    Kernel,
    Userspace,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Stage::Firmware => "firmware",
            Stage::BootLoader => "boot loader",
            Stage::Kernel => "kernel",
            Stage::Userspace => "userspace",
        }
    }
}

/// What firmware prints when it starts something, and boot loaders about themselves.
const LOADERS: &[&str] =
    &["Booting from ", "BdsDxe: starting Boot", "GRUB", "systemd-boot", "ISOLINUX", "SYSLINUX", "U-Boot", "LILO"];
/// As long as the longest of them.
const TAIL: usize = 32;

/// What was reached, and what the serial port said last.
pub struct Stages {
    start: Instant,
    state: Mutex<(Option<Stage>, VecDeque<u8>)>,
}

impl Stages {
    /// Before the start of a machine, which begins with firmware or with a kernel.
    pub fn new(first: Stage) -> Arc<Self> {
        let stages = Self { start: Instant::now(), state: Mutex::default() };
        stages.reach(first);
        Arc::new(stages)
    }

    /// Says that a stage is reached, once.
    pub fn reach(&self, stage: Stage) {
        let mut state = self.state.lock().unwrap();
        if state.0 < Some(stage) {
            state.0 = Some(stage);
            // The terminal may be raw.
            eprint!("\rmimic: {:6.1} s  {}\r\n", self.start.elapsed().as_secs_f64(), stage.name());
        }
    }

    /// Whether there is nothing more to wait for.
    pub fn is_complete(&self) -> bool {
        self.state.lock().unwrap().0 == Some(Stage::Userspace)
    }

    /// Hears what the guest sends to its first serial port.
    pub fn hear(&self, bytes: &[u8]) {
        let found = {
            let (reached, tail) = &mut *self.state.lock().unwrap();
            if *reached >= Some(Stage::BootLoader) {
                return;
            }
            let mut text: Vec<u8> = tail.drain(..).collect();
            text.extend(bytes);
            tail.extend(&text[text.len().saturating_sub(TAIL)..]);
            LOADERS.iter().any(|name| text.windows(name.len()).any(|part| part == name.as_bytes()))
        };
        if found {
            self.reach(Stage::BootLoader);
        }
    }
}

/// The stage that the code on a vCPU belongs to, if it tells.
pub fn of(vcpu: &dyn Vcpu) -> Option<Stage> {
    let names = vcpu.regs();
    let value = |name: &str| names.iter().position(|(known, _)| *known == name).map(|n| vcpu.reg(n) as u64);
    let (user, pc) = match (value("cpsr"), value("rip")) {
        // Arm ARM, C5.2.19: M[4] is 0 in AArch64, M[3:2] is the exception level.
        (Some(cpsr), _) => (cpsr & 0x1c == 0, value("pc")?),
        // SDM vol. 3A, 5.5: CS holds the privilege level, in protected mode (CR0.PE) outside of virtual-8086 mode (EFLAGS.VM).
        (_, Some(rip)) => {
            let protected = value("cr0")? & 1 != 0 && value("rflags")? & 1 << 17 == 0;
            (protected && value("cs")? & 3 == 3, rip)
        }
        _ => return None,
    };
    match (user, pc >> 63) {
        (true, _) => Some(Stage::Userspace),
        (false, 1) => Some(Stage::Kernel),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_loaders_are_heard_across_pieces_and_once() {
        let stages = Stages::new(Stage::Firmware);
        let reached = || stages.state.lock().unwrap().0;
        stages.hear(b"SeaBIOS (version 1.16)\r\nBooting fr");
        assert_eq!(reached(), Some(Stage::Firmware));
        stages.hear(b"om Hard Disk...\r\n");
        assert_eq!(reached(), Some(Stage::BootLoader));
        stages.reach(Stage::Kernel);
        stages.hear(b"GRUB");
        stages.reach(Stage::Firmware);
        assert_eq!(reached(), Some(Stage::Kernel));
        assert!(!stages.is_complete());
    }
}
