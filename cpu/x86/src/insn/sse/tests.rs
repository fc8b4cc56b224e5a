//! `results.txt` has what a processor makes of each instruction; what else must hold stands here.

use crate::control_regs::{CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXMMEXCPT, CR4_OSXSAVE};
use crate::exception::{GP, MF, NM, PF, UD, XM};
use crate::flags::STATUS;
use crate::mode::Mode;
use crate::state::{Cpu, RAX, RBX, RCX, RDI, RDX, RSI};
use crate::testing::Machine;
use std::collections::HashMap;

/// Where the memory operand is.
const DATA: u64 = 0x2_0000;
/// Bytes that each row's code has for itself.
const ROOM: u64 = 16;
/// Handlers of exceptions are here, `ROOM` bytes for each vector.
const HANDLERS: u64 = 0x3_0000;
const GDT: u64 = 0x3_8000;
const IDT: u64 = 0x3_9000;
/// The first address that nothing is mapped at; the sixteen bytes before it are ones.
const UNMAPPED: u64 = 2 << 20;
const DEFAULT_MXCSR: u32 = 0x1f80;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn number(text: &str) -> u128 {
    u128::from_str_radix(text, 16).unwrap()
}

/// A machine that executes vector instructions and has handlers of exceptions.
fn machine() -> Machine {
    let mut m = Machine::flat("max", 64);
    m.write(UNMAPPED - 16, &[0xff; 16]);
    m.write(GDT + 8, &0x00af_9b00_0000_ffffu64.to_le_bytes());
    m.write(GDT + 16, &0x00cf_9300_0000_ffffu64.to_le_bytes());
    for vector in 0..32u64 {
        let handler = HANDLERS + vector * ROOM;
        let gate = handler & 0xffff | 8 << 16 | 0x8e << 40 | (handler >> 16 & 0xffff) << 48;
        m.write(IDT + vector * 16, &gate.to_le_bytes());
    }
    let cpu = m.cpu();
    (cpu.gdtr.base, cpu.gdtr.limit) = (GDT, 23);
    (cpu.idtr.base, cpu.idtr.limit) = (IDT, 32 * 16 - 1);
    cpu.cr4 |= CR4_OSFXSR | CR4_OSXSAVE | CR4_OSXMMEXCPT;
    cpu.xcr0 = 7;
    cpu.update_mode();
    m
}

/// The registers that rows are about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Registers {
    xmm: [u128; 4],
    high: [u128; 4],
    mm: [u64; 2],
    gpr: [u64; 3],
    flags: u64,
    mxcsr: u32,
    memory: Vec<u8>,
}

impl Registers {
    fn put(&self, m: &mut Machine) {
        m.write(DATA, &self.memory);
        let cpu = m.cpu();
        cpu.xmm[..4].copy_from_slice(&self.xmm);
        cpu.ymm_high[..4].copy_from_slice(&self.high);
        (cpu.x87[0].mantissa, cpu.x87[1].mantissa) = (self.mm[0], self.mm[1]);
        [cpu.gpr[RAX], cpu.gpr[RCX], cpu.gpr[RDX]] = self.gpr;
        (cpu.gpr[RSI], cpu.gpr[RDI], cpu.gpr[RBX]) = (DATA, DATA, DATA);
        cpu.set_status_flags(self.flags);
        cpu.mxcsr = self.mxcsr;
    }

    fn of(m: &mut Machine) -> Registers {
        let memory = (0..4).flat_map(|n| m.read(DATA + 8 * n).to_le_bytes()).collect();
        let cpu = m.cpu();
        Registers {
            xmm: std::array::from_fn(|n| cpu.xmm[n]),
            high: std::array::from_fn(|n| cpu.ymm_high[n]),
            mm: [cpu.x87[0].mantissa, cpu.x87[1].mantissa],
            gpr: [cpu.gpr[RAX], cpu.gpr[RCX], cpu.gpr[RDX]],
            flags: cpu.status_flags(),
            mxcsr: cpu.mxcsr,
            memory,
        }
    }

    /// Changes what a row names.
    fn change(&mut self, what: &str) {
        let (name, value) = what.split_once('=').unwrap();
        let index = || usize::from(name.as_bytes()[name.len() - 1] - b'0');
        match name {
            "rax" => self.gpr[0] = number(value) as u64,
            "rcx" => self.gpr[1] = number(value) as u64,
            "rdx" => self.gpr[2] = number(value) as u64,
            "flags" => self.flags = number(value) as u64,
            "mxcsr" => self.mxcsr = number(value) as u32,
            "mem" => self.memory = hex(value),
            _ if name.starts_with("xmm") => self.xmm[index()] = number(value),
            _ if name.starts_with("yh") => self.high[index()] = number(value),
            _ => self.mm[index()] = number(value) as u64,
        }
    }
}

/// Runs every row, as the code of the default MXCSR or the one of any, and says which differ.
fn run_rows(host_float: bool) -> Vec<String> {
    let mut operands: HashMap<&str, Vec<&str>> = HashMap::new();
    let (mut wrong, mut rows) = (Vec::new(), 0);
    let mut m = machine();
    for line in include_str!("results.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_once(' ').unwrap();
        if matches!(name, "operands" | "mmx" | "gpr" | "memory") {
            let (name, rest) = if name == "operands" { rest.split_once(' ').unwrap() } else { (name, rest) };
            operands.insert(name, rest.split(' ').collect());
            continue;
        }
        let numbers = |name: &str| operands[name].iter().map(|text| number(text) as u64).collect::<Vec<u64>>();
        let half = |n: usize, from: usize| number(&operands[name][n][from..from + 32]);
        let before = Registers {
            xmm: std::array::from_fn(|n| half(n, 32)),
            high: std::array::from_fn(|n| half(n, 0)),
            mm: numbers("mmx").try_into().unwrap(),
            gpr: numbers("gpr").try_into().unwrap(),
            flags: STATUS,
            mxcsr: DEFAULT_MXCSR,
            memory: hex(operands["memory"][0]),
        };
        let (code, changes) = rest.split_once("=>").unwrap();
        let code = hex(code.split(' ').next().unwrap());
        let mut want = before.clone();
        changes.split_whitespace().for_each(|change| want.change(change));
        before.put(&mut m);
        let at = 0x10_8000 + rows * ROOM;
        m.write(at, &code);
        let cpu = m.cpu();
        cpu.set_rip(at);
        cpu.mode = Mode(cpu.mode).with_host_float(host_float.into()).0;
        m.step(1);
        let got = Registers::of(&mut m);
        let end = at + code.len() as u64;
        if got != want || m.cpu().rip() != end {
            wrong.push(format!("{line}\n  want {want:x?}\n  got  {got:x?} rip {:#x}", m.cpu().rip()));
            m = machine();
        }
        rows += 1;
    }
    assert!(rows > 1000, "{rows} rows");
    wrong
}

#[test]
fn results_are_those_of_a_processor() {
    let wrong = run_rows(true);
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn results_are_the_same_where_the_host_would_not_do() {
    let wrong = run_rows(false);
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

/// Executes one instruction after `prepare`; gives the vector of the exception that it raises.
fn fault(m: &mut Machine, code: &str, prepare: impl FnOnce(&mut Cpu)) -> Option<u8> {
    prepare(m.cpu());
    m.cpu().update_mode();
    m.run(&hex(code), 1);
    let rip = m.cpu().rip();
    (rip >= HANDLERS).then(|| ((rip - HANDLERS) / ROOM) as u8)
}

/// Code, what is done to the processor before, and the exception.
type Availability = (&'static str, fn(&mut Cpu), Option<u8>);

#[test]
fn systems_decide_what_is_available() {
    #[rustfmt::skip]
    let rows: &[Availability] = &[
        // paddb mm0, mm1; addps xmm0, xmm1; vaddps xmm0, xmm1, xmm2; cvtpi2ps xmm0, mm1
        ("0f fc c1", |cpu| cpu.cr0 |= CR0_TS, Some(NM)),
        ("0f fc c1", |cpu| cpu.cr0 |= CR0_EM, Some(UD)),
        ("0f fc c1", |cpu| cpu.cr4 &= !CR4_OSFXSR, None),
        ("0f fc c1", |cpu| { cpu.fpu.status = 0x80; cpu.cr0 |= crate::control_regs::CR0_NE }, Some(MF)),
        ("0f 77", |cpu| cpu.cr0 |= CR0_EM, Some(UD)),
        ("0f 58 c1", |cpu| cpu.cr0 |= CR0_TS, Some(NM)),
        ("0f 58 c1", |cpu| cpu.cr0 |= CR0_EM, Some(UD)),
        ("0f 58 c1", |cpu| cpu.cr4 &= !CR4_OSFXSR, Some(UD)),
        ("0f 2a c1", |cpu| cpu.cr4 &= !CR4_OSFXSR, Some(UD)),
        ("0f 2a c1", |cpu| { cpu.fpu.status = 0x80; cpu.cr0 |= crate::control_regs::CR0_NE }, Some(MF)),
        ("c5 f0 58 c2", |cpu| cpu.cr0 |= CR0_TS, Some(NM)),
        ("c5 f0 58 c2", |cpu| cpu.cr0 |= CR0_EM, None),
        ("c5 f0 58 c2", |cpu| cpu.cr4 &= !CR4_OSXSAVE, Some(UD)),
        ("c5 f0 58 c2", |cpu| cpu.xcr0 = 3, Some(UD)),
        // movnti [rsi], eax needs none of these.
        ("0f c3 06", |cpu| { cpu.cr4 &= !CR4_OSFXSR; cpu.gpr[RSI] = DATA }, None),
    ];
    for (code, prepare, want) in rows {
        assert_eq!(fault(&mut machine(), code, prepare), *want, "{code}");
    }
}

#[test]
fn sixteen_bytes_are_aligned() {
    // paddb, movups, movaps from memory, movaps to memory, vpaddb, vmovaps xmm and ymm, pcmpistri; at an odd address and at
    // one that is aligned to 16 bytes.
    let rows = [
        ("66 0f fc 06", 1, Some(GP)),
        ("0f 10 06", 1, None),
        ("0f 28 06", 8, Some(GP)),
        ("0f 29 06", 8, Some(GP)),
        ("0f 29 06", 16, None),
        ("c5 f1 fc 06", 1, None),
        ("c5 f8 28 06", 1, Some(GP)),
        ("c5 fc 28 06", 16, Some(GP)),
        ("c5 fc 29 06", 16, Some(GP)),
        ("c5 fc 29 06", 32, None),
        ("c5 fc 10 06", 1, None),
        ("66 0f 3a 63 06 00", 1, None),
        ("f3 0f 58 06", 1, None),
    ];
    for (code, offset, want) in rows {
        assert_eq!(fault(&mut machine(), code, |cpu| cpu.gpr[RSI] = DATA + offset), want, "{code} at {offset}");
    }
}

#[test]
fn unmasked_exceptions_are_raised() {
    const DIVIDE: &str = "0f 5e c1";
    let mut m = machine();
    let prepare = |cpu: &mut Cpu| {
        // 1/0, and 1/3 in the next element.
        cpu.xmm[0] = 0x3f80_0000 << 32 | 0x3f80_0000;
        cpu.xmm[1] = 0x4040_0000 << 32;
        cpu.mxcsr = DEFAULT_MXCSR & !(1 << 9);
    };
    assert_eq!(fault(&mut m, DIVIDE, prepare), Some(XM));
    // The destination stays; of flags those found before the operation are set: invalid (0/0 above) and division by zero.
    assert_eq!((m.cpu().xmm[0] >> 32, m.cpu().mxcsr & 0x3f), (0x3f80_0000, 5));
    let unknown = |cpu: &mut Cpu| {
        prepare(cpu);
        cpu.cr4 &= !CR4_OSXMMEXCPT;
    };
    assert_eq!(fault(&mut machine(), DIVIDE, unknown), Some(UD));
    // Inexact, unmasked: flags of the result.
    let mut m = machine();
    let inexact = |cpu: &mut Cpu| {
        prepare(cpu);
        cpu.mxcsr = DEFAULT_MXCSR & !(1 << 12);
    };
    assert_eq!(fault(&mut m, DIVIDE, inexact), Some(XM));
    assert_eq!(m.cpu().mxcsr & 0x3f, 0x25);
}

#[test]
fn mxcsr_decides_on_rounding_and_denormals() {
    // mulss of a denormal by 2, divss of 1 by 3, mulss of the smallest normal number by 1/2.
    let (denormal, two, one, three, smallest, half) =
        (3, 0x4000_0000, 0x3f80_0000, 0x4040_0000, 0x80_0000, 0x3f00_0000);
    let (daz, ftz, up, zero) = (1 << 6, 1 << 15, 2 << 13, 3 << 13);
    let rows = [
        ("f3 0f 59 c1", denormal, two, 0, 6, 2),
        ("f3 0f 59 c1", denormal, two, daz, 0, 0),
        ("f3 0f 59 c1", smallest, half, ftz, 0, 0x30),
        ("f3 0f 59 c1", smallest, half, 0, 0x40_0000, 0),
        ("f3 0f 5e c1", one, three, 0, 0x3eaa_aaab, 0x20),
        ("f3 0f 5e c1", one, three, zero, 0x3eaa_aaaa, 0x20),
        ("f3 0f 5e c1", one, three, up, 0x3eaa_aaab, 0x20),
    ];
    for (code, a, b, control, want, flags) in rows {
        let mut m = machine();
        let prepare = |cpu: &mut Cpu| {
            (cpu.xmm[0], cpu.xmm[1]) = (a, b);
            cpu.mxcsr = DEFAULT_MXCSR | control;
        };
        assert_eq!(fault(&mut m, code, prepare), None);
        assert_eq!((m.cpu().xmm[0], m.cpu().mxcsr & 0x3f), (want, flags), "{code} {a:x} {b:x} {control:x}");
    }
}

#[test]
fn mmx_takes_the_x87_registers() {
    let mut m = machine();
    m.cpu().fpu.top = 5;
    m.cpu().fpu.empty = 0x77;
    // movq mm2, rax; emms
    m.cpu().gpr[RAX] = 0x1234;
    assert_eq!(fault(&mut m, "48 0f 6e d0 0f 77", |_| {}), None);
    let cpu = m.cpu();
    assert_eq!((cpu.x87[2].mantissa, cpu.x87[2].exponent, cpu.fpu.top, cpu.fpu.empty), (0x1234, 0xffff, 0, 0));
    m.step(1);
    assert_eq!(m.cpu().fpu.empty, 0xff);
}

#[test]
fn gathers_go_on_where_they_faulted() {
    let mut m = machine();
    // vpgatherdd xmm0, [rsi + xmm1], xmm3: the third element is not mapped, the second is not wanted.
    let prepare = |cpu: &mut Cpu| {
        cpu.gpr[RSI] = UNMAPPED;
        cpu.xmm[0] = 0x1111_1111_2222_2222_3333_3333_4444_4444;
        cpu.xmm[1] = 0x0000_0000_0000_0000_0000_0000_ffff_fff8;
        cpu.xmm[3] = 0x8000_0000_8000_0000_0000_0000_8000_0000;
    };
    assert_eq!(fault(&mut m, "c4 e2 61 90 04 0e", prepare), Some(PF));
    let cpu = m.cpu();
    assert_eq!(cpu.cr2, UNMAPPED);
    assert_eq!(cpu.xmm[3], 0x8000_0000_8000_0000_0000_0000_0000_0000);
    assert_eq!(cpu.xmm[0], 0x1111_1111_2222_2222_3333_3333_ffff_ffff);
}

#[test]
fn masked_moves_access_what_is_chosen() {
    // vmaskmovps xmm0, xmm1, [rsi], and to memory: only elements 0 and 1 are mapped.
    let at = UNMAPPED - 8;
    let prepare = |mask: u128| {
        move |cpu: &mut Cpu| {
            cpu.gpr[RSI] = at;
            cpu.xmm[1] = mask;
        }
    };
    let (two, three) = (0x8000_0000_8000_0000, 1 << 95 | 0x8000_0000);
    let mut m = machine();
    assert_eq!(fault(&mut m, "c4 e2 71 2c 06", prepare(two)), None);
    assert_eq!(m.cpu().xmm[0], u128::from(u64::MAX));
    assert_eq!(fault(&mut machine(), "c4 e2 71 2c 06", prepare(three)), Some(PF));
    assert_eq!(fault(&mut machine(), "c4 e2 71 2e 06", prepare(two)), None);
    assert_eq!(fault(&mut machine(), "c4 e2 71 2e 06", prepare(three)), Some(PF));
}

#[test]
fn loads_precede_changes() {
    // vmovups ymm0, [rsi] of which the upper half is not mapped.
    let mut m = machine();
    m.cpu().xmm[0] = 5;
    assert_eq!(fault(&mut m, "c5 fc 10 06", |cpu| cpu.gpr[RSI] = UNMAPPED - 16), Some(PF));
    assert_eq!((m.cpu().xmm[0], m.cpu().cr2), (5, UNMAPPED));
}
