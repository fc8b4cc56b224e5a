//! Power State Coordination Interface 1.1 (Arm DEN 0022) and the SMC Calling Convention 1.1 (DEN 0028), over HVC: the
//! firmware of a machine whose processor has no EL3.

use crate::cluster::{Start, State};
use crate::frontend::Env;
use vm::log;
use vm::power::PowerRequest;

const PSCI_VERSION: u32 = 0x8400_0000;
const CPU_SUSPEND: u32 = 0x8400_0001;
const CPU_OFF: u32 = 0x8400_0002;
const CPU_ON: u32 = 0x8400_0003;
const AFFINITY_INFO: u32 = 0x8400_0004;
const MIGRATE_INFO_TYPE: u32 = 0x8400_0006;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;
const PSCI_FEATURES: u32 = 0x8400_000a;
const SYSTEM_RESET2: u32 = 0x8400_0012;
const SMCCC_VERSION: u32 = 0x8000_0000;
const SMCCC_ARCH_FEATURES: u32 = 0x8000_0001;
/// Functions that take addresses have a 64-bit form too.
const BIT_64: u32 = 1 << 30;

const SUCCESS: i64 = 0;
const NOT_SUPPORTED: i64 = -1;
const INVALID_PARAMETERS: i64 = -2;
const ALREADY_ON: i64 = -4;
const ON_PENDING: i64 = -5;
const INVALID_ADDRESS: i64 = -9;

/// Every function with whether it has a 64-bit form.
const FUNCTIONS: &[(u32, bool)] = &[
    (PSCI_VERSION, false),
    (CPU_SUSPEND, true),
    (CPU_OFF, false),
    (CPU_ON, true),
    (AFFINITY_INFO, true),
    (MIGRATE_INFO_TYPE, false),
    (SYSTEM_OFF, false),
    (SYSTEM_RESET, false),
    (PSCI_FEATURES, false),
    (SYSTEM_RESET2, true),
    (SMCCC_VERSION, false),
    (SMCCC_ARCH_FEATURES, false),
];

/// The 32-bit number of a function that exists.
fn function(number: u32) -> Option<u32> {
    FUNCTIONS.iter().find(|(f, wide)| *f == number || *wide && f | BIT_64 == number).map(|(f, _)| *f)
}

/// The number of the element whose MPIDR_EL1 has these affinity fields, see its row in `sysreg`.
fn element(affinity: u64) -> Option<u32> {
    let (aff0, aff1) = (affinity & 0xff, affinity >> 8 & 0xff);
    (affinity >> 16 == 0 && aff0 < 8).then_some((aff1 * 8 + aff0) as u32)
}

/// Starts the element if it is off and was told to.
pub fn start(env: &mut Env) {
    let (id, cluster) = (env.cpu.wires.id, env.cpu.wires.cluster.clone());
    if let Some(Start { entry, context }) = cluster.take_start(id) {
        env.cpu.reset();
        (env.cpu.pc, env.cpu.x[0]) = (entry, context);
        env.flush_tlb();
        env.wake();
    }
}

/// Does what the function in X0 says; its result goes to X0.
pub fn call(env: &mut Env) {
    let number = env.cpu.x[0] as u32;
    let wide = number & BIT_64 != 0;
    let argument = |n: usize| if wide { env.cpu.x[n] } else { env.cpu.x[n] & 0xffff_ffff };
    let (first, second, third) = (argument(1), argument(2), argument(3));
    let cluster = env.cpu.wires.cluster.clone();
    let result = match function(number) {
        Some(PSCI_VERSION) => 1 << 16 | 1,
        Some(SMCCC_VERSION) => 1 << 16 | 1,
        // Standby: the state is kept whatever was asked for. Returns at an interrupt.
        Some(CPU_SUSPEND) => {
            env.halt();
            SUCCESS
        }
        Some(CPU_OFF) => {
            env.cpu.off = true;
            env.halt();
            cluster.set_state(env.cpu.wires.id, State::Off);
            SUCCESS
        }
        Some(CPU_ON) if second & 3 != 0 => INVALID_ADDRESS,
        Some(CPU_ON) => match element(first).map(|id| cluster.start(id, Start { entry: second, context: third })) {
            Some(Ok(())) => SUCCESS,
            Some(Err(Some(State::Pending(_)))) => ON_PENDING,
            Some(Err(Some(_))) => ALREADY_ON,
            Some(Err(None)) | None => INVALID_PARAMETERS,
        },
        Some(AFFINITY_INFO) => match element(first).filter(|_| second == 0).and_then(|id| cluster.state(id)) {
            Some(State::On) => 0,
            Some(State::Off) => 1,
            Some(State::Pending(_)) => 2,
            None => INVALID_PARAMETERS,
        },
        // No trusted OS that would need to migrate.
        Some(MIGRATE_INFO_TYPE) => 2,
        Some(PSCI_FEATURES) if function(first as u32).is_some() => SUCCESS,
        Some(SMCCC_ARCH_FEATURES) if [SMCCC_VERSION, SMCCC_ARCH_FEATURES].contains(&(first as u32)) => SUCCESS,
        Some(SYSTEM_OFF) => return power(env, PowerRequest::Shutdown),
        Some(SYSTEM_RESET) => return power(env, PowerRequest::Reset),
        // Reset type 0 is the architectural warm reset; no vendor has defined others.
        Some(SYSTEM_RESET2) if first & 0xffff_ffff == 0 => return power(env, PowerRequest::Reset),
        Some(SYSTEM_RESET2) => INVALID_PARAMETERS,
        _ => {
            log!(Unimp, "psci: function {number:#x}");
            NOT_SUPPORTED
        }
    };
    env.cpu.x[0] = result as u64;
}

/// Asks the run loop, and lets no instruction follow.
fn power(env: &mut Env, request: PowerRequest) {
    env.cpu.off = true;
    env.halt();
    env.cpu.wires.power.request(request);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Machine;
    use vm::IrqSink;
    use vm::vcpu::Vcpu;

    #[test]
    fn functions() {
        let not_supported = NOT_SUPPORTED as u64;
        let invalid = INVALID_PARAMETERS as u64;
        // X0, X1, X2; result.
        let rows = [
            (0x8400_0000, 0, 0, 0x1_0001),
            (0xc400_0000, 0, 0, not_supported),
            (0x8000_0000, 0, 0, 0x1_0001),
            (0x8000_0001, 0x8000_0001, 0, 0),
            (0x8000_0001, 0x8000_8000, 0, not_supported),
            (0xc400_0003, 0, 0x4000_0000, ALREADY_ON as u64),
            (0xc400_0003, 1, 0x4000_0000, invalid),
            (0x8400_0003, 0xffff_ffff_0000_0000, 0, ALREADY_ON as u64),
            (0xc400_0004, 0, 0, 0),
            (0xc400_0004, 0, 1, invalid),
            (0x8400_0005, 0, 0, not_supported),
            (0x8400_0006, 0, 0, 2),
            (0x8400_000a, 0x8400_0002, 0, 0),
            (0x8400_000a, 0xc400_0001, 0, 0),
            (0x8400_000a, 0xc400_0002, 0, not_supported),
            (0xc400_0012, 0x8000_0000, 0, invalid),
            (0x1234, 0, 0, not_supported),
        ];
        for (function, first, second, result) in rows {
            let mut m = Machine::new("max");
            m.cpu().x[..3].copy_from_slice(&[0xffff_ffff_0000_0000 | function, first, second]);
            m.run_words(&[0xd400_0002]); // hvc #0
            assert_eq!(m.cpu().x[0], result, "{function:#x} {first:#x} {second:#x}");
            assert_eq!(m.cpu().pc, crate::testing::CODE + 4);
        }
    }

    #[test]
    fn switching_off_and_resetting_let_no_instruction_follow() {
        for (function, request) in [
            (0x8400_0008, Some(PowerRequest::Shutdown)),
            (0x8400_0009, Some(PowerRequest::Reset)),
            (0xc400_0012, Some(PowerRequest::Reset)),
            (0x8400_0002, None),
        ] {
            let mut m = Machine::new("max");
            m.cpu().x[0] = function;
            m.write_words(crate::testing::CODE, &[0xd400_0002, 0x9100_0421]); // hvc #0; add x1, x1, #1
            m.pins.set_pin(0, true);
            assert_eq!(m.vcpu.run(Some(10)).unwrap(), vm::vcpu::Stop::Idle, "{function:#x}");
            assert_eq!((m.cpu().x[1], m.power.take()), (0, request));
        }
    }

    #[test]
    fn suspend_returns_success_after_an_interrupt() {
        let mut m = Machine::new("max");
        m.cpu().x[0] = 0xc400_0001;
        m.write_words(crate::testing::CODE, &[0xd400_0002, 0x9100_0421]);
        assert_eq!(m.vcpu.run(Some(10)).unwrap(), vm::vcpu::Stop::Idle);
        m.pins.set_pin(0, true);
        m.vcpu.run(Some(1)).unwrap();
        assert_eq!((m.cpu().x[0], m.cpu().x[1]), (0, 1));
    }

    #[test]
    fn hvc_of_el0_and_smc_are_undefined() {
        for (el, word) in [(0, 0xd400_0002), (1, 0xd400_0003)] {
            let mut m = Machine::new("max");
            m.cpu().set_level(el, el != 0);
            m.cpu().update_mode();
            m.run_words(&[word]);
            assert_eq!(m.cpu().sys.esr_el1, 1 << 25, "{word:#x}");
        }
    }
}
