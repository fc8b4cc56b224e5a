//! What instructions do when they are executed, where IR would be too long or the state has no slot.

use crate::control_regs::{self, CR0_PE, CR0_TS, CR4_FSGSBASE, CR4_OSXSAVE, CR4_PCE, CR4_PCIDE, CR4_TSD, CR4_UMIP};
use crate::exception::{self, Exception, dr6};
use crate::flags;
use crate::frontend::{Env, X86};
use crate::insn::string;
use crate::interrupt::{self, Event};
use crate::memory;
use crate::mmu;
use crate::model::Feature;
use crate::msr::{self, EFER_SCE};
use crate::segment::{Attributes, CS, Descriptor, GS, SS, Segment, Table, kind};
use crate::stack::Stack;
use crate::state::{Cpu, RAX, RBP, RBX, RCX, RDX, RSP, Shadow};
use crate::task;
use crate::transfer::{self, Far};
use crate::wires;
use tcg::ir::HelperId;
use tcg::{Func, Helper};
use vm::Gva;

macro_rules! helpers {
    ($($id:ident = $number:literal, $kind:ident $arity:ident $function:path;)*) => {
        $(#[doc = concat!("`", stringify!($function), "`")] pub const $id: HelperId = HelperId($number);)*
        /// All of them, in order of their numbers.
        pub static HELPERS: &[Helper<X86>] =
            &[$(Helper::$kind(stringify!($function), Func::$arity($function))),*];
    };
}
helpers! {
    RAISE = 0, raising F1 raise;
    NOTHING = 1, plain F0 nothing;
    RETRY = 2, raising F1 retry;
    BEFORE_INSN = 3, full F0 before_insn;
    CHECK_FETCH = 4, full F2 check_fetch;
    END_SHADOW = 5, full F0 end_shadow;
    STEP_DONE = 6, full F0 step_done;
    CHECK_CPL0 = 7, raising F0 check_cpl0;
    CHECK_SEGMENT = 8, full F2 check_segment;
    CMPXCHG_PAIR = 9, full F2 cmpxchg_pair;
    DIVIDE = 10, full F2 divide;
    DECIMAL = 11, full F2 decimal;
    SAHF = 12, full F1 sahf;
    ROTATE_THROUGH_CARRY = 13, plain F4 rotate_through_carry;
    FLAGS_OF_ROTATE = 14, full F3 flags_of_rotate;
    SET_ZF_ONLY = 15, full F1 set_zf_only;
    SET_ZF = 16, full F1 set_zf;
    BEXTR = 17, plain F2 bextr;
    DEPOSIT = 18, plain F3 deposit;
    CRC32 = 19, plain F3 crc32;
    PUSHA = 20, full F1 pusha;
    POPA = 21, full F1 popa;
    FLAGS_FOR_PUSH = 22, full F1 flags_for_push;
    POPF = 23, full F2 popf;
    ENTER = 24, full F3 enter;
    LOAD_SEGMENT = 25, full F2 load_segment;
    FAR_JUMP = 26, full F4 far_jump;
    FAR_CALL = 27, full F4 far_call;
    FAR_RETURN = 28, full F2 far_return;
    IRET = 29, full F2 iret;
    SOFTWARE_INTERRUPT = 30, full F2 software_interrupt;
    INTO = 31, full F2 into;
    SYSCALL = 32, full F2 syscall;
    SYSRET = 33, full F2 sysret;
    SYSENTER = 34, full F2 sysenter;
    SYSEXIT = 35, full F2 sysexit;
    STRING = 36, full F1 string::execute;
    WRITE_CONTROL = 37, full F2 write_control;
    READ_CONTROL = 38, full F1 read_control;
    WRITE_DEBUG = 39, full F2 write_debug;
    READ_DEBUG = 40, full F1 read_debug;
    LOAD_TABLE = 41, full F3 load_table;
    READ_TABLE = 42, plain F2 read_table;
    CHECK_UMIP = 43, raising F0 check_umip;
    READ_SYSTEM = 44, plain F1 read_system;
    WRITE_SYSTEM = 45, full F2 write_system;
    VERIFY = 46, full F2 verify;
    SEGMENT_PROPERTY = 47, full F3 segment_property;
    SET_INTERRUPTS = 48, full F1 set_interrupts;
    SET_ACCESS = 49, full F1 set_access;
    READ_MSR = 50, full F1 read_msr;
    WRITE_MSR = 51, full F2 write_msr;
    READ_TSC = 52, raising F0 read_tsc;
    READ_TSC_AUX = 53, plain F0 read_tsc_aux;
    CHECK_RDPMC = 54, raising F0 check_rdpmc;
    CPUID = 55, full F0 cpuid;
    RANDOM = 56, plain F0 random;
    IN = 57, full F2 input;
    OUT = 58, full F3 output;
    HALT = 59, full F0 halt;
    INVALIDATE_PAGE = 60, full F1 invalidate_page;
    INVALIDATE_PCID = 61, full F3 invalidate_pcid;
    SWAPGS = 62, full F0 swapgs;
    CHECK_FSGSBASE = 63, raising F0 check_fsgsbase;
    CHECK_CANONICAL = 64, raising F1 check_canonical;
    READ_XCR = 65, raising F1 read_xcr;
    WRITE_XCR = 66, full F2 write_xcr;
    CLEAR_TS = 67, full F0 clear_ts;
    MWAIT = 68, full F0 halt;
    RSM = 69, full F0 rsm;
    WATCH = 70, plain F2 watch;
    GIVE_WAY = 71, plain F0 give_way;
}

/// What [`decimal`] does.
pub const DAA: u64 = 0;
pub const DAS: u64 = 1;
pub const AAA: u64 = 2;
pub const AAS: u64 = 3;
pub const AAM: u64 = 4;
pub const AAD: u64 = 5;

/// Raises what went wrong; for helpers whose body returns a result.
fn done<T: Default>(env: &mut Env, result: Result<T, Exception>) -> T {
    result.unwrap_or_else(|exception| {
        env.raise(exception);
        T::default()
    })
}

fn unit(env: &mut Env, result: Result<(), Exception>) -> u64 {
    done(env, result);
    0
}

fn unpack(packed: u64) -> Exception {
    let error = (packed >> 8 & 1 != 0).then_some((packed >> 32) as u32);
    Exception::Fault { vector: packed as u8, error, address: None }
}

extern "C" fn raise(env: &mut Env, packed: u64) -> u64 {
    env.raise(unpack(packed));
    0
}

/// Starts the instruction anew.
extern "C" fn retry(env: &mut Env, _: u64) -> u64 {
    env.raise(Exception::Resume);
    0
}

/// Takes a debug exception that is due, or that of an instruction breakpoint.
extern "C" fn before_insn(env: &mut Env) -> u64 {
    // 6.8.3: not between a load of SS and the next instruction.
    if env.cpu.shadow == Shadow::MovSs {
        return 0;
    }
    let pending = std::mem::take(&mut env.cpu.pending_debug);
    if pending != 0 {
        let exception = exception::debug(env, pending);
        env.raise(exception);
        return 0;
    }
    let cpu = &mut env.cpu;
    if cpu.flag(flags::RF) {
        cpu.eflags &= !flags::RF;
        return 0;
    }
    let hit = (0..4).filter(|n| {
        let enabled = cpu.dr[7] >> (2 * n) & 3 != 0;
        enabled && cpu.dr[7] >> (16 + 4 * n) & 3 == 0 && cpu.dr[*n as usize] == cpu.pc
    });
    let hit = hit.fold(0, |all, n| all | 1 << n);
    if hit != 0 {
        let exception = exception::debug(env, hit);
        env.raise(exception);
    }
    0
}

/// #GP(0) if the instruction of `len` bytes, `distance` from the start of the block, does not lie within the limit of CS.
extern "C" fn check_fetch(env: &mut Env, len: u64, distance: u64) -> u64 {
    let cpu = &env.cpu;
    let rip = cpu.rip_of(cpu.pc.wrapping_add(distance));
    if rip.wrapping_add(len - 1) > cpu.limits[CS] {
        env.raise(Exception::gp(0));
    }
    0
}

/// Compares an access of as many bytes as the low 8 bits of `access` say, a write if bit 8 is set, with the breakpoints.
extern "C" fn watch(env: &mut Env, va: u64, access: u64) -> u64 {
    exception::watch_data(&mut env.cpu, va, access & 0xff, access >> 8 & 1 != 0);
    0
}

extern "C" fn end_shadow(env: &mut Env) -> u64 {
    env.cpu.shadow = Shadow::None;
    env.cpu.update_mode();
    0
}

extern "C" fn step_done(env: &mut Env) -> u64 {
    exception::step_done(env);
    0
}

fn refuse_unless(env: &mut Env, allowed: bool) -> u64 {
    if !allowed {
        env.raise(Exception::gp(0));
    }
    0
}

extern "C" fn check_cpl0(env: &mut Env) -> u64 {
    let allowed = env.cpu.cpl == 0;
    refuse_unless(env, allowed)
}

/// The linear address of an access: segment in bits 2:0, whether it writes in bit 8, bytes from bit 16 on.
extern "C" fn check_segment(env: &mut Env, offset: u64, packed: u64) -> u64 {
    let found = string::linear(env, (packed & 7) as usize, offset, packed >> 16, packed >> 8 & 1 != 0);
    done(env, found)
}

/// CMPXCHG8B, or CMPXCHG16B if `wide`. Memory is written in any case.
extern "C" fn cmpxchg_pair(env: &mut Env, va: u64, wide: u64) -> u64 {
    let bytes = if wide != 0 { 16 } else { 8 };
    if wide != 0 && !va.is_multiple_of(16) {
        env.raise(Exception::Misaligned);
        return 0;
    }
    let pair = |low: u64, high: u64| match wide {
        0 => u128::from(low & 0xffff_ffff | high << 32),
        _ => u128::from(low) | u128::from(high) << 64,
    };
    let cpu = &env.cpu;
    let expected = pair(cpu.gpr[RAX], cpu.gpr[RDX]);
    let new = pair(cpu.gpr[RBX], cpu.gpr[RCX]);
    let order = tcg::ir::Order::AcqRel;
    let mem = tcg::ir::Mem { order, modify: true, ..tcg::ir::Mem::plain(mmu::data_regime(cpu)) };
    let Some(found) = env.cmpxchg_slow(va, bytes, expected, new, mem) else { return 0 };
    let cpu = &mut env.cpu;
    let equal = found == expected;
    if !equal {
        (cpu.gpr[RAX], cpu.gpr[RDX]) = match wide {
            0 => (found as u64 & 0xffff_ffff, (found >> 32) as u64),
            _ => (found as u64, (found >> 64) as u64),
        };
    }
    cpu.set_zf(equal);
    0
}

/// DIV and IDIV of 64 bits: the quotient; the remainder goes to RDX.
extern "C" fn divide(env: &mut Env, divisor: u64, signed: u64) -> u64 {
    let cpu = &mut env.cpu;
    let dividend = u128::from(cpu.gpr[RDX]) << 64 | u128::from(cpu.gpr[RAX]);
    let result = if signed != 0 {
        let (a, b) = (dividend as i128, i128::from(divisor as i64));
        a.checked_div(b).and_then(|q| i64::try_from(q).ok()).map(|q| (q as u64, (a % b) as u64))
    } else {
        let b = u128::from(divisor);
        dividend.checked_div(b).and_then(|q| u64::try_from(q).ok()).map(|q| (q, (dividend % b) as u64))
    };
    let Some((quotient, remainder)) = result else {
        env.raise(Exception::plain(exception::DE));
        return 0;
    };
    cpu.gpr[RDX] = remainder;
    quotient
}

/// DAA, DAS, AAA, AAS, AAM and AAD (SDM vol. 2A, their "Operation" sections).
extern "C" fn decimal(env: &mut Env, which: u64, immediate: u64) -> u64 {
    let cpu = &mut env.cpu;
    let ax = cpu.gpr[RAX] as u16;
    let (al, ah) = (ax as u8, (ax >> 8) as u8);
    let old = cpu.status_flags();
    let (cf, af) = (old & flags::CF != 0, old & flags::AF != 0);
    let low_digit = al & 15 > 9 || af;
    let logic = |v: u8| {
        let parity = if v.count_ones().is_multiple_of(2) { flags::PF } else { 0 };
        parity | if v == 0 { flags::ZF } else { 0 } | u64::from(v) & flags::SF
    };
    let carries = |c: bool, a: bool| if c { flags::CF } else { 0 } | if a { flags::AF } else { 0 };
    let (new_ax, new_flags) = match which {
        DAA | DAS => {
            let minus = which == DAS;
            let high_digit = al > 0x99 || cf;
            let step = |v: u8, by: u8| if minus { v.wrapping_sub(by) } else { v.wrapping_add(by) };
            let mut v = al;
            let mut borrow = false;
            if low_digit {
                borrow = minus && al < 6;
                v = step(v, 6);
            }
            if high_digit {
                v = step(v, 0x60);
            }
            (u16::from(ah) << 8 | u16::from(v), logic(v) | carries(high_digit || borrow, low_digit))
        }
        AAA | AAS => {
            let minus = which == AAS;
            let ax = match (low_digit, minus) {
                (true, false) => ax.wrapping_add(0x106),
                (true, true) => ax.wrapping_sub(0x106),
                _ => ax,
            };
            // All but CF and AF are undefined: as of the low byte.
            (ax & 0xff0f, logic(ax as u8 & 15) | carries(low_digit, low_digit))
        }
        AAM => {
            let Some(quotient) = al.checked_div(immediate as u8) else {
                env.raise(Exception::plain(exception::DE));
                return 0;
            };
            let rest = al % immediate as u8;
            (u16::from(quotient) << 8 | u16::from(rest), logic(rest))
        }
        _ => {
            let v = al.wrapping_add(ah.wrapping_mul(immediate as u8));
            (v.into(), logic(v))
        }
    };
    cpu.set_status_flags(new_flags);
    cpu.gpr[RAX] = cpu.gpr[RAX] & !0xffff | u64::from(new_ax);
    0
}

extern "C" fn sahf(env: &mut Env, ah: u64) -> u64 {
    let cpu = &mut env.cpu;
    let of = cpu.status_flags() & flags::OF;
    cpu.set_status_flags(ah & 0xff | of);
    0
}

/// The value that RCL or RCR gives: `kind` is twice the width, plus 1 for RCL.
fn rotated(value: u64, count: u64, kind: u64, carry: u64) -> (u64, u64) {
    let (bits, left) = (kind >> 1, kind & 1 != 0);
    let count = count % (bits + 1);
    // The carry stands above the value.
    let ring = u128::from(value) | u128::from(carry & 1) << bits;
    let turn = if left { count } else { (bits + 1 - count) % (bits + 1) };
    let mask = (1u128 << (bits + 1)) - 1;
    let ring = if turn == 0 { ring } else { (ring << turn | ring >> (bits + 1 - turn)) & mask };
    (ring as u64 & (mask >> 1) as u64, (ring >> bits) as u64)
}

extern "C" fn rotate_through_carry(_: &mut Env, value: u64, count: u64, kind: u64, carry: u64) -> u64 {
    rotated(value, count, kind, carry).0
}

extern "C" fn flags_of_rotate(env: &mut Env, value: u64, count: u64, kind: u64) -> u64 {
    let cpu = &mut env.cpu;
    // A count that the width turns into zero moves nothing; one that was zero leaves OF, too.
    if count == 0 {
        return 0;
    }
    let (bits, left) = (kind >> 1, kind & 1 != 0);
    let (result, carry) = rotated(value, count, kind, cpu.cf);
    let msb = result >> (bits - 1) & 1;
    cpu.cf = carry;
    cpu.of = msb ^ if left { carry } else { result >> (bits - 2) & 1 };
    0
}

/// Clears all status flags but ZF, which becomes `zf`; CF and OF stay.
extern "C" fn set_zf_only(env: &mut Env, zf: u64) -> u64 {
    let cpu = &mut env.cpu;
    let kept = cpu.status_flags() & (flags::CF | flags::OF);
    cpu.set_status_flags(kept | if zf != 0 { flags::ZF } else { 0 });
    0
}

extern "C" fn set_zf(env: &mut Env, zf: u64) -> u64 {
    env.cpu.set_zf(zf != 0);
    0
}

extern "C" fn bextr(_: &mut Env, value: u64, control: u64) -> u64 {
    let (start, len) = ((control & 0xff) as u32, (control >> 8 & 0xff) as u32);
    let shifted = value.checked_shr(start).unwrap_or(0);
    1u64.checked_shl(len).map_or(shifted, |bit| shifted & (bit - 1))
}

/// PDEP, or PEXT if `extract`.
extern "C" fn deposit(_: &mut Env, value: u64, mask: u64, extract: u64) -> u64 {
    let (mut rest, mut result, mut n) = (mask, 0, 0);
    while rest != 0 {
        let place = rest.trailing_zeros();
        if extract != 0 {
            result |= (value >> place & 1) << n;
        } else {
            result |= (value >> n & 1) << place;
        }
        rest &= rest - 1;
        n += 1;
    }
    result
}

/// CRC-32C of `bytes` bytes, bit-reflected.
extern "C" fn crc32(_: &mut Env, crc: u64, data: u64, bytes: u64) -> u64 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = crc as u32;
    for n in 0..bytes.min(8) {
        crc ^= (data >> (8 * n)) as u8 as u32;
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { POLYNOMIAL } else { 0 };
        }
    }
    crc.into()
}

extern "C" fn pusha(env: &mut Env, width: u64) -> u64 {
    let mut stack = Stack::current(env);
    let result = (0..8).try_for_each(|n| stack.push(env, width as u8, env.cpu.gpr[n]));
    if result.is_ok() {
        stack.commit(env);
    }
    unit(env, result)
}

extern "C" fn popa(env: &mut Env, width: u64) -> u64 {
    let mut stack = Stack::current(env);
    let mut values = [0; 8];
    let result = (0..8).rev().try_for_each(|n| stack.pop(env, width as u8).map(|v| values[n] = v));
    if result.is_ok() {
        stack.commit(env);
        for (n, v) in values.into_iter().enumerate().filter(|(n, _)| *n != RSP) {
            env.cpu.set_part(n, width as u8, v);
        }
    }
    unit(env, result)
}

/// The flags that PUSHF stores: without RF and VM. Not at all in virtual-8086 mode with IOPL below 3.
extern "C" fn flags_for_push(env: &mut Env, _width: u64) -> u64 {
    let cpu = &env.cpu;
    if cpu.is_v86() && cpu.iopl() < 3 {
        env.raise(Exception::gp(0));
        return 0;
    }
    cpu.rflags() & !(flags::RF | flags::VM)
}

extern "C" fn popf(env: &mut Env, value: u64, width: u64) -> u64 {
    let cpu = &mut env.cpu;
    if cpu.is_v86() && cpu.iopl() < 3 {
        env.raise(Exception::gp(0));
        return 0;
    }
    let mut mask = flags::STATUS | flags::TF | flags::DF | flags::NT;
    if width > 2 {
        mask |= flags::AC | flags::ID | flags::RF;
    }
    if !cpu.is_protected() || cpu.cpl == 0 && !cpu.is_v86() {
        mask |= flags::IOPL;
    }
    if !cpu.is_protected() || cpu.cpl <= cpu.iopl() {
        mask |= flags::IF;
    }
    cpu.set_rflags(value & !flags::RF, mask);
    0
}

/// ENTER (SDM vol. 2A, "ENTER").
extern "C" fn enter(env: &mut Env, size: u64, level: u64, width: u64) -> u64 {
    let bytes = width as u8;
    let result = (|| {
        let mut stack = Stack::current(env);
        stack.push(env, bytes, env.cpu.gpr[RBP])?;
        let frame = stack.sp;
        let level = level & 31;
        let mut display = stack.at(env.cpu.gpr[RBP]);
        for _ in 1..level {
            display.skip(width.wrapping_neg());
            let v = display.peek(env, 0, bytes)?;
            stack.push(env, bytes, v)?;
        }
        if level != 0 {
            stack.push(env, bytes, frame)?;
        }
        stack.skip(size.wrapping_neg());
        // The new top of the stack must be there to be written.
        stack.probe(env)?;
        stack.commit(env);
        env.cpu.set_part(RBP, if bytes == 2 { 2 } else { stack.pointer_bytes() }, frame);
        Ok(())
    })();
    unit(env, result)
}

extern "C" fn load_segment(env: &mut Env, n: u64, selector: u64) -> u64 {
    let n = (n % 6) as usize;
    let result = transfer::load_segment(env, n, selector as u16);
    if result.is_ok() && n == SS {
        env.cpu.shadow = Shadow::MovSs;
        env.cpu.update_mode();
    }
    unit(env, result)
}

extern "C" fn far_jump(env: &mut Env, selector: u64, offset: u64, width: u64, next: u64) -> u64 {
    let result = transfer::far_jump(env, Far { selector: selector as u16, offset, width: width as u8 }, next);
    unit(env, result)
}

extern "C" fn far_call(env: &mut Env, selector: u64, offset: u64, width: u64, next: u64) -> u64 {
    let result = transfer::far_call(env, Far { selector: selector as u16, offset, width: width as u8 }, next);
    unit(env, result)
}

extern "C" fn far_return(env: &mut Env, width: u64, release: u64) -> u64 {
    let result = transfer::far_return(env, width as u8, release);
    unit(env, result)
}

extern "C" fn iret(env: &mut Env, width: u64, next: u64) -> u64 {
    let result = interrupt::iret(env, width as u8, next);
    unit(env, result)
}

/// INT n, INT3 and INT1: the vector; bit 8 if the gate's level does not count, bit 9 if virtual-8086 mode may trap it.
extern "C" fn software_interrupt(env: &mut Env, vector: u64, next: u64) -> u64 {
    let cpu = &env.cpu;
    if vector >> 9 & 1 != 0 && cpu.is_v86() && cpu.iopl() < 3 {
        env.raise(Exception::gp(0));
        return 0;
    }
    let event = if vector >> 8 & 1 != 0 {
        Event { software: false, ..Event::software(vector as u8, next) }
    } else {
        Event::software(vector as u8, next)
    };
    let result = interrupt::deliver(env, event);
    unit(env, result)
}

extern "C" fn into(env: &mut Env, of: u64, next: u64) -> u64 {
    if of != 0 {
        return software_interrupt(env, exception::OF.into(), next);
    }
    env.cpu.set_rip(next);
    0
}

/// A flat segment as SYSCALL and its like load it.
fn flat(selector: u16, code: bool, level: u8, long: bool) -> Segment {
    let kind = if code { 0x9b } else { 0x93 };
    let size = match (code, long) {
        (true, true) => Attributes::LONG,
        _ => Attributes::BIG,
    };
    let attributes = Attributes(kind | Attributes::GRANULAR | size).with_dpl(level);
    Segment { selector, attributes, base: 0, limit: u32::MAX }
}

fn enter_level(env: &mut Env, cs: Segment, ss: Segment, level: u8) {
    let cpu = &mut env.cpu;
    cpu.cpl = level;
    cpu.set_segment(CS, cs);
    cpu.set_segment(SS, ss);
}

/// SYSCALL (SDM vol. 2B, "SYSCALL"; APM vol. 3 for legacy mode).
extern "C" fn syscall(env: &mut Env, next: u64, _wide: u64) -> u64 {
    let cpu = &mut env.cpu;
    if cpu.msr.efer & EFER_SCE == 0 || !cpu.is_protected() {
        env.raise(Exception::ud());
        return 0;
    }
    let selector = (cpu.msr.star >> 32) as u16 & 0xfffc;
    let long = cpu.is_long();
    cpu.gpr[RCX] = next;
    let target = if long {
        cpu.gpr[11] = cpu.rflags() & !flags::RF;
        let target = if cpu.is_64bit() { cpu.msr.lstar } else { cpu.msr.cstar };
        let mask = cpu.msr.fmask;
        cpu.set_rflags(0, mask);
        target
    } else {
        cpu.eflags &= !(flags::IF | flags::VM | flags::RF);
        cpu.msr.star & 0xffff_ffff
    };
    enter_level(env, flat(selector, true, 0, long), flat(selector + 8, false, 0, false), 0);
    env.cpu.set_rip(target);
    exception::step_if_on(env);
    0
}

/// SYSRET; `wide` returns to 64-bit code.
extern "C" fn sysret(env: &mut Env, _next: u64, wide: u64) -> u64 {
    let cpu = &mut env.cpu;
    if cpu.msr.efer & EFER_SCE == 0 || !cpu.is_protected() {
        env.raise(Exception::ud());
        return 0;
    }
    let target = if wide != 0 { cpu.gpr[RCX] } else { cpu.gpr[RCX] & 0xffff_ffff };
    if cpu.cpl != 0 || !mmu::is_canonical(cpu, target) {
        env.raise(Exception::gp(0));
        return 0;
    }
    let long = cpu.is_long();
    let base = (cpu.msr.star >> 48) as u16;
    let code = (if wide != 0 { base.wrapping_add(16) } else { base }) | 3;
    if long {
        let keep = flags::VM | flags::RF;
        let value = cpu.gpr[11];
        cpu.set_rflags(value, (flags::STATUS | flags::SYSTEM) & !keep);
    } else {
        cpu.eflags |= flags::IF;
    }
    enter_level(env, flat(code, true, 3, wide != 0), flat(base.wrapping_add(8) | 3, false, 3, false), 3);
    env.cpu.set_rip(target);
    exception::step_if_on(env);
    0
}

extern "C" fn sysenter(env: &mut Env, _next: u64, _wide: u64) -> u64 {
    let cpu = &mut env.cpu;
    let selector = cpu.msr.sysenter_cs as u16 & 0xfffc;
    if !cpu.is_protected() || selector == 0 {
        env.raise(Exception::gp(0));
        return 0;
    }
    let long = cpu.is_long();
    let cut = |v: u64| if long { v } else { v & 0xffff_ffff };
    let (sp, ip) = (cut(cpu.msr.sysenter_esp), cut(cpu.msr.sysenter_eip));
    cpu.eflags &= !(flags::IF | flags::VM | flags::RF);
    cpu.gpr[RSP] = sp;
    enter_level(env, flat(selector, true, 0, long), flat(selector + 8, false, 0, false), 0);
    env.cpu.set_rip(ip);
    0
}

extern "C" fn sysexit(env: &mut Env, _next: u64, wide: u64) -> u64 {
    let cpu = &mut env.cpu;
    let base = cpu.msr.sysenter_cs as u16 & 0xfffc;
    let (ip, sp) = (cpu.gpr[RDX], cpu.gpr[RCX]);
    let canonical = wide == 0 || mmu::is_canonical(cpu, ip) && mmu::is_canonical(cpu, sp);
    if base == 0 || !cpu.is_protected() || cpu.cpl != 0 || !canonical {
        env.raise(Exception::gp(0));
        return 0;
    }
    let cut = |v: u64| if wide != 0 { v } else { v & 0xffff_ffff };
    let code = base.wrapping_add(if wide != 0 { 32 } else { 16 }) | 3;
    cpu.gpr[RSP] = cut(sp);
    enter_level(env, flat(code, true, 3, wide != 0), flat(code.wrapping_add(8), false, 3, false), 3);
    env.cpu.set_rip(cut(ip));
    0
}

extern "C" fn write_control(env: &mut Env, n: u64, value: u64) -> u64 {
    let value = if env.cpu.is_64bit() { value } else { value & 0xffff_ffff };
    let result = control_regs::write(env, n as u32, value);
    unit(env, result)
}

extern "C" fn read_control(env: &mut Env, n: u64) -> u64 {
    control_regs::read(env, n as u32)
}

/// The number of a debug register: 4 and 5 are 6 and 7 unless CR4.DE says that they do not exist. DR7.GD traps all.
fn debug_register(env: &mut Env, n: u64) -> Option<usize> {
    let alias = matches!(n, 4 | 5);
    let n = if alias { n + 2 } else { n & 7 };
    if env.cpu.cr4 & control_regs::CR4_DE != 0 && alias {
        env.raise(Exception::ud());
        return None;
    }
    if env.cpu.dr[7] & 1 << 13 != 0 {
        let exception = exception::debug(env, dr6::BD);
        env.raise(exception);
        return None;
    }
    Some(n as usize)
}

extern "C" fn write_debug(env: &mut Env, n: u64, value: u64) -> u64 {
    let Some(n) = debug_register(env, n) else { return 0 };
    if n >= 6 && value >> 32 != 0 && env.cpu.is_64bit() {
        env.raise(Exception::gp(0));
        return 0;
    }
    env.cpu.dr[n] = match n {
        6 => value & 0xe00f | 0xffff_0ff0,
        7 => value & 0xffff_2bff | 0x400,
        _ => value,
    };
    env.cpu.update_mode();
    0
}

extern "C" fn read_debug(env: &mut Env, n: u64) -> u64 {
    debug_register(env, n).map_or(0, |n| env.cpu.dr[n])
}

/// LGDT, or LIDT if `interrupts`.
extern "C" fn load_table(env: &mut Env, interrupts: u64, base: u64, limit: u64) -> u64 {
    if env.cpu.is_64bit() && !mmu::is_canonical(&env.cpu, base) {
        env.raise(Exception::gp(0));
        return 0;
    }
    let table = Table { base, limit: limit as u16 };
    if interrupts != 0 {
        env.cpu.idtr = table;
    } else {
        env.cpu.gdtr = table;
    }
    0
}

/// Base or limit of GDTR or IDTR.
extern "C" fn read_table(env: &mut Env, interrupts: u64, limit: u64) -> u64 {
    let table = if interrupts != 0 { env.cpu.idtr } else { env.cpu.gdtr };
    if limit != 0 { table.limit.into() } else { table.base }
}

extern "C" fn check_umip(env: &mut Env) -> u64 {
    let allowed = env.cpu.cr4 & CR4_UMIP == 0;
    refuse_unless(env, allowed)
}

/// LDTR, TR (selectors) or CR0.
extern "C" fn read_system(env: &mut Env, which: u64) -> u64 {
    match which {
        0 => env.cpu.ldtr.selector.into(),
        1 => env.cpu.tr.selector.into(),
        _ => env.cpu.cr0,
    }
}

/// LLDT, LTR or LMSW.
extern "C" fn write_system(env: &mut Env, which: u64, value: u64) -> u64 {
    let selector = value as u16;
    let result = match which {
        0 | 1 => load_system_segment(env, selector, which == 1),
        _ => {
            // PE can be set but not cleared.
            let new = env.cpu.cr0 & !0xe | value & 0xf | env.cpu.cr0 & CR0_PE;
            control_regs::write_cr0(env, new)
        }
    };
    unit(env, result)
}

fn load_system_segment(env: &mut Env, selector: u16, task: bool) -> Result<(), Exception> {
    if selector & !3 == 0 {
        if task {
            return Err(Exception::gp(0));
        }
        env.cpu.ldtr = Segment { selector, ..Segment::default() };
        return Ok(());
    }
    let bad = |vector| Exception::selector(vector, selector);
    if selector & crate::segment::TABLE_LDT != 0 {
        return Err(bad(exception::GP));
    }
    let (found, at) = transfer::system_descriptor(env, selector)?.ok_or(bad(exception::GP))?;
    let a = found.attributes();
    let long = env.cpu.is_long();
    let expected = match (task, long) {
        (false, _) => a.kind() == kind::LDT,
        (true, false) => matches!(a.kind(), kind::TSS16 | kind::TSS32),
        (true, true) => a.kind() == kind::TSS32,
    };
    if !expected {
        return Err(bad(exception::GP));
    }
    if !a.present() {
        return Err(bad(exception::NP));
    }
    let base = if long { found.long_base() } else { found.base() };
    // "LTR", exceptions of 64-bit mode: a type in the upper half of a task's descriptor.
    let typed = task && long && found.high >> 40 & 0x1f != 0;
    if typed || long && !mmu::is_canonical(&env.cpu, base) {
        return Err(bad(exception::GP));
    }
    let mut segment = Segment { base, ..found.segment(selector) };
    if task {
        memory::store_system(env, at.wrapping_add(5), 1, u64::from(a.0 as u8) | 2)?;
        segment.attributes = Attributes(a.0 | 2);
        env.cpu.tr = segment;
    } else {
        env.cpu.ldtr = segment;
    }
    Ok(())
}

/// The descriptor of a selector if the program may see it, for VERR, VERW, LAR and LSL.
fn visible(env: &mut Env, selector: u16) -> Result<Option<Descriptor>, Exception> {
    if selector & !3 == 0 {
        return Ok(None);
    }
    let Some((found, _)) = transfer::descriptor(env, selector)? else { return Ok(None) };
    let a = found.attributes();
    let level = env.cpu.cpl.max((selector & 3) as u8);
    Ok((a.conforming() || level <= a.dpl()).then_some(found))
}

extern "C" fn verify(env: &mut Env, selector: u64, write: u64) -> u64 {
    let found = visible(env, selector as u16);
    let found = done(env, found);
    let allowed = found.is_some_and(|d| {
        let a = d.attributes();
        if write != 0 { a.writable() } else { a.readable() }
    });
    env.cpu.set_zf(allowed);
    0
}

/// LAR, or LSL if `limit`; `old` if ZF is clear.
extern "C" fn segment_property(env: &mut Env, selector: u64, limit: u64, old: u64) -> u64 {
    let found = visible(env, selector as u16);
    let found = done(env, found);
    let long = env.cpu.is_long();
    let found = found.filter(|d| {
        let a = d.attributes();
        let system = match a.kind() {
            kind::LDT | kind::TSS32 | kind::TSS32_BUSY => true,
            kind::TSS16 | kind::TSS16_BUSY => !long,
            kind::CALL32 => limit == 0,
            kind::CALL16 | kind::TASK_GATE => limit == 0 && !long,
            _ => false,
        };
        a.is_code() || a.is_data() || system
    });
    env.cpu.set_zf(found.is_some());
    match found {
        Some(d) if limit != 0 => d.limit().into(),
        Some(d) => d.low >> 32 & 0x00ff_ff00,
        None => old,
    }
}

/// CLI and STI (SDM vol. 2, table "Decision Table for CLI Results").
extern "C" fn set_interrupts(env: &mut Env, on: u64) -> u64 {
    let cpu = &mut env.cpu;
    let allowed = !cpu.is_protected() || cpu.iopl() >= cpu.cpl || cpu.is_v86() && cpu.iopl() == 3;
    if !allowed {
        env.raise(Exception::gp(0));
        return 0;
    }
    if on == 0 {
        cpu.eflags &= !flags::IF;
    } else if !cpu.flag(flags::IF) {
        cpu.eflags |= flags::IF;
        cpu.shadow = Shadow::Sti;
        cpu.update_mode();
    }
    0
}

extern "C" fn set_access(env: &mut Env, on: u64) -> u64 {
    let cpu = &mut env.cpu;
    if cpu.cpl != 0 {
        env.raise(Exception::ud());
        return 0;
    }
    cpu.eflags = cpu.eflags & !flags::AC | if on != 0 { flags::AC } else { 0 };
    cpu.update_mode();
    0
}

extern "C" fn read_msr(env: &mut Env, number: u64) -> u64 {
    let value = msr::read(env, number as u32);
    done(env, value)
}

extern "C" fn write_msr(env: &mut Env, number: u64, value: u64) -> u64 {
    let result = msr::write(env, number as u32, value);
    unit(env, result)
}

extern "C" fn read_tsc(env: &mut Env) -> u64 {
    if env.cpu.cr4 & CR4_TSD != 0 && env.cpu.cpl != 0 {
        env.raise(Exception::gp(0));
        return 0;
    }
    env.cpu.tsc()
}

extern "C" fn read_tsc_aux(env: &mut Env) -> u64 {
    env.cpu.msr.tsc_aux
}

extern "C" fn check_rdpmc(env: &mut Env) -> u64 {
    let allowed = env.cpu.cr4 & CR4_PCE != 0 || env.cpu.cpl == 0;
    refuse_unless(env, allowed)
}

extern "C" fn cpuid(env: &mut Env) -> u64 {
    let cpu = &mut env.cpu;
    let leaf = cpu.cpuid(cpu.gpr[RAX] as u32, cpu.gpr[RCX] as u32);
    for (n, value) in [RAX, RBX, RCX, RDX].into_iter().zip(leaf) {
        cpu.gpr[n] = value.into();
    }
    0
}

extern "C" fn random(env: &mut Env) -> u64 {
    let mut bytes = [0; 8];
    env.cpu.wires.entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

extern "C" fn input(env: &mut Env, port: u64, bytes: u64) -> u64 {
    let allowed = task::check_ports(env, port as u16, bytes as u8);
    if let Err(exception) = allowed {
        env.raise(exception);
        return 0;
    }
    exception::watch_port(&mut env.cpu, port as u16, bytes);
    wires::read_port(env, port as u16, bytes as u8)
}

extern "C" fn output(env: &mut Env, port: u64, bytes: u64, value: u64) -> u64 {
    let allowed = task::check_ports(env, port as u16, bytes as u8);
    if let Err(exception) = allowed {
        env.raise(exception);
        return 0;
    }
    exception::watch_port(&mut env.cpu, port as u16, bytes);
    wires::write_port(env, port as u16, bytes as u8, value);
    0
}

extern "C" fn give_way(env: &mut Env) -> u64 {
    env.give_way();
    0
}

extern "C" fn halt(env: &mut Env) -> u64 {
    // The trap of a single step comes at once.
    if !env.cpu.flag(flags::TF) {
        env.halt();
    }
    0
}

extern "C" fn invalidate_page(env: &mut Env, va: u64) -> u64 {
    env.flush_tlb_page(Gva(va), u64::MAX);
    0
}

/// INVPCID (SDM vol. 2A): more may be given up than is asked for.
extern "C" fn invalidate_pcid(env: &mut Env, kind: u64, pcid: u64, address: u64) -> u64 {
    let cpu = &env.cpu;
    let bad = pcid >> 12 != 0
        || kind < 2 && cpu.cr4 & CR4_PCIDE == 0 && pcid != 0
        || kind == 0 && !mmu::is_canonical(cpu, address)
        || kind > 3;
    if bad {
        env.raise(Exception::gp(0));
        return 0;
    }
    match kind {
        0 => env.flush_tlb_page(Gva(address), u64::MAX),
        1 => env.flush_tlb_space(control_regs::space_of(pcid)),
        _ => env.flush_tlb(),
    }
    0
}

extern "C" fn swapgs(env: &mut Env) -> u64 {
    let cpu = &mut env.cpu;
    std::mem::swap(&mut cpu.bases[GS], &mut cpu.msr.kernel_gs_base);
    0
}

extern "C" fn check_fsgsbase(env: &mut Env) -> u64 {
    if env.cpu.cr4 & CR4_FSGSBASE == 0 {
        env.raise(Exception::ud());
    }
    0
}

extern "C" fn check_canonical(env: &mut Env, value: u64) -> u64 {
    let allowed = mmu::is_canonical(&env.cpu, value);
    refuse_unless(env, allowed)
}

extern "C" fn read_xcr(env: &mut Env, number: u64) -> u64 {
    let cpu = &env.cpu;
    if cpu.cr4 & CR4_OSXSAVE == 0 {
        env.raise(Exception::ud());
        return 0;
    }
    match number {
        0 => cpu.xcr0,
        // Components in use; all that are enabled may be.
        1 if cpu.has(Feature::XGETBV1) => cpu.xcr0,
        _ => {
            env.raise(Exception::gp(0));
            0
        }
    }
}

extern "C" fn write_xcr(env: &mut Env, number: u64, value: u64) -> u64 {
    let cpu = &mut env.cpu;
    if cpu.cr4 & CR4_OSXSAVE == 0 {
        env.raise(Exception::ud());
        return 0;
    }
    // x87 always; AVX needs SSE.
    let valid = number == 0 && value & !cpu.model.xcr0_mask() == 0 && value & 1 != 0 && value & 6 != 4;
    if !valid {
        env.raise(Exception::gp(0));
        return 0;
    }
    cpu.xcr0 = value;
    cpu.update_mode();
    0
}

extern "C" fn clear_ts(env: &mut Env) -> u64 {
    env.cpu.cr0 &= !CR0_TS;
    env.cpu.update_mode();
    0
}

extern "C" fn nothing(_: &mut Env) -> u64 {
    0
}

/// RSM outside of system-management mode is no instruction.
extern "C" fn rsm(env: &mut Env) -> u64 {
    if !env.cpu.smm {
        env.raise(Exception::ud());
        return 0;
    }
    let result = crate::smm::resume(env);
    unit(env, result)
}

impl Cpu {
    /// Sets the low `bytes` bytes of a general-purpose register, as instructions do: four clear the upper half.
    pub fn set_part(&mut self, n: usize, bytes: u8, value: u64) {
        let register = &mut self.gpr[n];
        *register = match bytes {
            1 => *register & !0xff | value & 0xff,
            2 => *register & !0xffff | value & 0xffff,
            4 => value & 0xffff_ffff,
            _ => value,
        };
    }

    /// Sets ZF alone.
    pub fn set_zf(&mut self, on: bool) {
        let others = self.status_flags() & !flags::ZF;
        self.set_status_flags(others | if on { flags::ZF } else { 0 });
    }

    /// Sets the status flags of `a - b` in `bytes` bytes.
    pub fn set_flags_of_sub(&mut self, bytes: u8, a: u64, b: u64) {
        let unused = 64 - 8 * u32::from(bytes);
        let (a, b) = (a << unused, b << unused);
        let (difference, borrow) = a.overflowing_sub(b);
        self.cf = borrow.into();
        self.of = (a as i64).overflowing_sub(b as i64).1.into();
        self.result = (difference as i64 >> unused) as u64;
        self.adjust = (a ^ b) >> unused & 0xff;
    }
}
