//! Segment loads and control transfers between segments (SDM vol. 3A, 5.6 to 5.8).

use crate::exception::{self, Exception};
use crate::frontend::Env;
use crate::memory::{self, Who};
use crate::mmu;
use crate::segment::{Attributes, CS, DS, Descriptor, ES, FS, GS, SS, Segment, TABLE_LDT, kind};
use crate::stack::Stack;
use crate::state::{Cpu, RSP};
use crate::task;

/// Address of the descriptor that a selector names, if it lies within its table.
fn address(cpu: &Cpu, selector: u16, bytes: u64) -> Option<u64> {
    let (base, limit) = if selector & TABLE_LDT != 0 {
        // A null LDT has no descriptors.
        if cpu.ldtr.selector & !3 == 0 && !cpu.ldtr.attributes.present() {
            return None;
        }
        (cpu.ldtr.base, u64::from(cpu.ldtr.limit))
    } else {
        (cpu.gdtr.base, u64::from(cpu.gdtr.limit))
    };
    let at = u64::from(selector & !7);
    (at + bytes - 1 <= limit).then(|| base.wrapping_add(at))
}

/// The descriptor that a selector names, and its address; `None` if it lies outside of its table.
///
/// # Errors
/// The fault of reading it.
pub fn descriptor(env: &mut Env, selector: u16) -> Result<Option<(Descriptor, u64)>, Exception> {
    let Some(at) = address(&env.cpu, selector, 8) else { return Ok(None) };
    let low = memory::load_system(env, at, 8)?;
    Ok(Some((Descriptor { low, high: 0 }, at)))
}

/// The same for a system descriptor, which has 16 bytes in long mode.
///
/// # Errors
/// The fault of reading it.
pub fn system_descriptor(env: &mut Env, selector: u16) -> Result<Option<(Descriptor, u64)>, Exception> {
    if !env.cpu.is_long() {
        return descriptor(env, selector);
    }
    let Some(at) = address(&env.cpu, selector, 16) else { return Ok(None) };
    let low = memory::load_system(env, at, 8)?;
    let high = memory::load_system(env, at.wrapping_add(8), 8)?;
    Ok(Some((Descriptor { low, high }, at)))
}

/// Sets the accessed bit of a code or data descriptor.
///
/// # Errors
/// The fault of the store.
pub fn mark_accessed(env: &mut Env, selector: u16, descriptor: Descriptor) -> Result<(), Exception> {
    let a = descriptor.attributes();
    if a.0 & Attributes::ACCESSED == 0
        && let Some(at) = address(&env.cpu, selector, 8)
    {
        memory::store_system(env, at.wrapping_add(5), 1, u64::from(a.0 as u8) | 1)?;
    }
    Ok(())
}

/// The segment of a descriptor that is loaded with RPL `rpl`, marked as accessed.
fn loaded(descriptor: Descriptor, selector: u16) -> Segment {
    let segment = descriptor.segment(selector);
    Segment { attributes: Attributes(segment.attributes.0 | Attributes::ACCESSED), ..segment }
}

/// Loads a data segment register or SS (MOV, POP, LDS and so on; SDM vol. 2B, "MOV", "Operation").
///
/// # Errors
/// The fault; the register is unchanged then.
pub fn load_segment(env: &mut Env, n: usize, selector: u16) -> Result<(), Exception> {
    if !env.cpu.has_descriptors() {
        env.cpu.load_real_segment(n, selector);
        return Ok(());
    }
    let (cpl, rpl) = (env.cpu.cpl, (selector & 3) as u8);
    if selector & !3 == 0 {
        if n == SS && (!env.cpu.is_64bit() || cpl == 3 || rpl != cpl) {
            return Err(Exception::gp(0));
        }
        let attributes = if n == SS { Attributes(0).with_dpl(cpl) } else { Attributes(0) };
        // The bases of FS and GS become zero, too, as on processors of one of the two makers.
        env.cpu.set_segment(n, Segment { selector, attributes, ..Segment::default() });
        return Ok(());
    }
    let bad = |vector| Exception::selector(vector, selector);
    let (descriptor, _) = descriptor(env, selector)?.ok_or(bad(exception::GP))?;
    let a = descriptor.attributes();
    let refused = if n == SS {
        rpl != cpl || !a.writable() || a.dpl() != cpl
    } else {
        !a.readable() || !a.conforming() && (rpl > a.dpl() || cpl > a.dpl())
    };
    if refused {
        return Err(bad(exception::GP));
    }
    if !a.present() {
        return Err(bad(if n == SS { exception::SS } else { exception::NP }));
    }
    mark_accessed(env, selector, descriptor)?;
    env.cpu.set_segment(n, loaded(descriptor, selector));
    Ok(())
}

/// The code segment that a return goes to, checked against the level in its selector and `rip` against its limit.
///
/// # Errors
/// The fault.
pub fn return_code_segment(env: &mut Env, selector: u16, rip: u64) -> Result<Segment, Exception> {
    if selector & !3 == 0 {
        return Err(Exception::gp(0));
    }
    let bad = |vector| Exception::selector(vector, selector);
    let (descriptor, _) = descriptor(env, selector)?.ok_or(bad(exception::GP))?;
    let (a, rpl) = (descriptor.attributes(), (selector & 3) as u8);
    let level = if a.conforming() { a.dpl() <= rpl } else { a.dpl() == rpl };
    if !a.is_code() || rpl < env.cpu.cpl || !level || env.cpu.is_long() && a.long() && a.big() {
        return Err(bad(exception::GP));
    }
    if !a.present() {
        return Err(bad(exception::NP));
    }
    check_target(&env.cpu, &descriptor.segment(selector), rip)?;
    mark_accessed(env, selector, descriptor)?;
    Ok(loaded(descriptor, selector))
}

/// Whether code may go on at `rip` in a segment.
fn check_target(cpu: &Cpu, code: &Segment, rip: u64) -> Result<(), Exception> {
    let inside =
        if cpu.is_long() && code.attributes.long() { mmu::is_canonical(cpu, rip) } else { rip <= code.limit.into() };
    if inside { Ok(()) } else { Err(Exception::gp(0)) }
}

/// The stack segment that a return to `level` goes to; `long` if to 64-bit code.
///
/// # Errors
/// The fault.
pub fn return_stack_segment(env: &mut Env, selector: u16, level: u8, long: bool) -> Result<Segment, Exception> {
    let rpl = (selector & 3) as u8;
    if selector & !3 == 0 {
        if !long || level == 3 || rpl != level {
            return Err(Exception::gp(0));
        }
        return Ok(Segment { selector, attributes: Attributes(0).with_dpl(level), ..Segment::default() });
    }
    let bad = |vector| Exception::selector(vector, selector);
    let (descriptor, _) = descriptor(env, selector)?.ok_or(bad(exception::GP))?;
    let a = descriptor.attributes();
    if rpl != level || !a.writable() || a.dpl() != level {
        return Err(bad(exception::GP));
    }
    if !a.present() {
        return Err(bad(exception::SS));
    }
    mark_accessed(env, selector, descriptor)?;
    Ok(loaded(descriptor, selector))
}

/// After a return to an outer level: data segments of inner levels become null.
pub fn drop_inner_segments(cpu: &mut Cpu, level: u8) {
    for n in [ES, FS, GS, DS] {
        let a = cpu.attributes[n];
        if !a.conforming() && a.dpl() < level && (a.present() || cpu.selectors[n] & !3 != 0) {
            let base = cpu.bases[n];
            // In 64-bit code the bases of FS and GS still count.
            let base = if cpu.is_long() && n >= FS { base } else { 0 };
            cpu.set_segment(n, Segment { base, ..Segment::default() });
        }
    }
}

/// Where a far CALL or JMP goes with operands of `width` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Far {
    pub selector: u16,
    pub offset: u64,
    pub width: u8,
}

/// Far JMP (SDM vol. 2A, "JMP").
///
/// # Errors
/// The fault; nothing has changed then.
pub fn far_jump(env: &mut Env, to: Far, next_rip: u64) -> Result<(), Exception> {
    if !env.cpu.has_descriptors() {
        if to.offset > env.cpu.limits[CS] {
            return Err(Exception::gp(0));
        }
        env.cpu.load_real_segment(CS, to.selector);
        env.cpu.set_rip(to.offset);
        return Ok(());
    }
    match destination(env, to)? {
        Destination::Code(code, rip) => {
            env.cpu.set_segment(CS, code);
            env.cpu.set_rip(rip);
            Ok(())
        }
        Destination::Gate(gate) => {
            // A jump does not change the level: the target's is that or it conforms.
            let inner = !gate.code.attributes.conforming() && gate.code.attributes.dpl() != env.cpu.cpl;
            if inner {
                return Err(Exception::selector(exception::GP, gate.code.selector));
            }
            let code = at_level(gate.code, env.cpu.cpl);
            env.cpu.set_segment(CS, code);
            env.cpu.set_rip(gate.rip);
            Ok(())
        }
        Destination::Task(selector) => task::jump(env, selector, next_rip),
    }
}

/// Far CALL (SDM vol. 2A, "CALL").
///
/// # Errors
/// The fault; no register has changed then.
pub fn far_call(env: &mut Env, to: Far, next_rip: u64) -> Result<(), Exception> {
    let mut stack = Stack::current(env);
    if !env.cpu.has_descriptors() {
        stack.push(env, to.width, env.cpu.selectors[CS])?;
        stack.push(env, to.width, next_rip)?;
        if to.offset > env.cpu.limits[CS] {
            return Err(Exception::gp(0));
        }
        stack.commit(env);
        env.cpu.load_real_segment(CS, to.selector);
        env.cpu.set_rip(to.offset);
        return Ok(());
    }
    match destination(env, to)? {
        Destination::Code(code, rip) => {
            stack.push(env, to.width, env.cpu.selectors[CS])?;
            stack.push(env, to.width, next_rip)?;
            stack.commit(env);
            env.cpu.set_segment(CS, code);
            env.cpu.set_rip(rip);
            Ok(())
        }
        Destination::Gate(gate) => call_gate(env, gate, next_rip),
        Destination::Task(selector) => task::call(env, selector, next_rip),
    }
}

fn call_gate(env: &mut Env, gate: Gate, next_rip: u64) -> Result<(), Exception> {
    let a = gate.code.attributes;
    let cpl = env.cpu.cpl;
    let inner = !a.conforming() && a.dpl() < cpl;
    let mut stack = Stack::current(env);
    let old = stack;
    if inner && env.cpu.is_long() {
        let sp = task::long_stack(env, 4 + 8 * u64::from(a.dpl()), 0)?;
        stack = Stack::new(Segment::default(), sp, true, Who::Processor);
        stack.push(env, 8, env.cpu.selectors[SS])?;
        stack.push(env, 8, env.cpu.gpr[RSP])?;
    } else if inner {
        let (segment, sp) = task::inner_stack(env, a.dpl(), 0)?;
        stack = Stack::new(segment, sp, false, Who::Processor).with_error((segment.selector & !3).into());
        stack.push(env, gate.width, env.cpu.selectors[SS])?;
        stack.push(env, gate.width, env.cpu.gpr[RSP])?;
        for n in (0..gate.count).rev() {
            let parameter = old.peek(env, u64::from(n) * u64::from(gate.width), gate.width)?;
            stack.push(env, gate.width, parameter)?;
        }
    }
    stack.push(env, gate.width, env.cpu.selectors[CS])?;
    stack.push(env, gate.width, next_rip)?;
    let level = if inner { a.dpl() } else { cpl };
    let cpu = &mut env.cpu;
    cpu.cpl = level;
    if inner {
        let ss = if cpu.is_long() {
            Segment { selector: level.into(), attributes: Attributes(0).with_dpl(level), ..Segment::default() }
        } else {
            stack.segment
        };
        cpu.set_segment(SS, ss);
    }
    cpu.set_segment(CS, at_level(gate.code, level));
    cpu.gpr[RSP] = stack.sp;
    cpu.set_rip(gate.rip);
    Ok(())
}

fn at_level(code: Segment, level: u8) -> Segment {
    Segment { selector: code.selector & !3 | u16::from(level), ..code }
}

struct Gate {
    code: Segment,
    rip: u64,
    count: u32,
    width: u8,
}

enum Destination {
    /// A code segment of this level, and the instruction there.
    Code(Segment, u64),
    Gate(Gate),
    /// The selector of a task state segment.
    Task(u16),
}

/// What the selector of a far transfer leads to.
fn destination(env: &mut Env, to: Far) -> Result<Destination, Exception> {
    let Far { selector, offset, .. } = to;
    if selector & !3 == 0 {
        return Err(Exception::gp(0));
    }
    let bad = |vector| Exception::selector(vector, selector);
    let (found, _) = descriptor(env, selector)?.ok_or(bad(exception::GP))?;
    let a = found.attributes();
    let (cpl, rpl) = (env.cpu.cpl, (selector & 3) as u8);
    if a.is_code() {
        let level = if a.conforming() { a.dpl() <= cpl } else { rpl <= cpl && a.dpl() == cpl };
        if !level || env.cpu.is_long() && a.long() && a.big() {
            return Err(bad(exception::GP));
        }
        if !a.present() {
            return Err(bad(exception::NP));
        }
        let code = at_level(loaded(found, selector), cpl);
        check_target(&env.cpu, &code, offset)?;
        mark_accessed(env, selector, found)?;
        return Ok(Destination::Code(code, offset));
    }
    let (kind, long) = (a.kind(), env.cpu.is_long());
    let known: &[u8] =
        if long { &[kind::CALL32] } else { &[kind::CALL16, kind::CALL32, kind::TASK_GATE, kind::TSS16, kind::TSS32] };
    if !known.contains(&kind) || a.dpl() < cpl || a.dpl() < rpl {
        return Err(bad(exception::GP));
    }
    if !a.present() {
        return Err(bad(exception::NP));
    }
    match kind {
        kind::TSS16 | kind::TSS32 => Ok(Destination::Task(selector)),
        kind::TASK_GATE => Ok(Destination::Task(found.gate_selector())),
        _ => gate(env, selector, kind == kind::CALL32).map(Destination::Gate),
    }
}

fn gate(env: &mut Env, selector: u16, wide: bool) -> Result<Gate, Exception> {
    let long = env.cpu.is_long();
    let outside = Exception::selector(exception::GP, selector);
    let (found, _) = system_descriptor(env, selector)?.ok_or(outside)?;
    // Bits 12:8 of the upper half must be zero.
    if long && found.high >> 40 & 0x1f != 0 {
        return Err(outside);
    }
    let target = found.gate_selector();
    if target & !3 == 0 {
        return Err(Exception::gp(0));
    }
    let bad = |vector| Exception::selector(vector, target);
    let (code, _) = descriptor(env, target)?.ok_or(bad(exception::GP))?;
    let a = code.attributes();
    if !a.is_code() || a.dpl() > env.cpu.cpl || long && (!a.long() || a.big()) {
        return Err(bad(exception::GP));
    }
    if !a.present() {
        return Err(bad(exception::NP));
    }
    let rip = match (long, wide) {
        (true, _) => found.gate_offset() | found.high << 32,
        (false, true) => found.gate_offset(),
        (false, false) => found.gate_offset() & 0xffff,
    };
    let code_segment = loaded(code, target);
    check_target(&env.cpu, &code_segment, rip)?;
    mark_accessed(env, target, code)?;
    let width = if long {
        8
    } else if wide {
        4
    } else {
        2
    };
    Ok(Gate { code: code_segment, rip, count: found.gate_count(), width })
}

/// Far RET, which gives up `release` bytes of parameters (SDM vol. 2B, "RET").
///
/// # Errors
/// The fault; no register has changed then.
pub fn far_return(env: &mut Env, width: u8, release: u64) -> Result<(), Exception> {
    let mut stack = Stack::current(env);
    let rip = stack.pop(env, width)?;
    let cs = stack.pop(env, width)? as u16;
    if !env.cpu.has_descriptors() {
        if rip > env.cpu.limits[CS] {
            return Err(Exception::gp(0));
        }
        stack.skip(release);
        stack.commit(env);
        env.cpu.load_real_segment(CS, cs);
        env.cpu.set_rip(rip);
        return Ok(());
    }
    let code = return_code_segment(env, cs, rip)?;
    let (level, old) = ((cs & 3) as u8, env.cpu.cpl);
    stack.skip(release);
    if level == old {
        env.cpu.set_segment(CS, code);
        stack.commit(env);
    } else {
        let sp = stack.pop(env, width)?;
        let ss = stack.pop(env, width)? as u16;
        let long = env.cpu.is_long() && code.attributes.long();
        let new_ss = return_stack_segment(env, ss, level, long)?;
        let cpu = &mut env.cpu;
        cpu.cpl = level;
        cpu.set_segment(CS, code);
        cpu.set_segment(SS, new_ss);
        let mut outer = Stack::new(new_ss, sp, long, Who::Program);
        outer.skip(release);
        cpu.gpr[RSP] = outer.sp;
        drop_inner_segments(cpu, level);
    }
    env.cpu.set_rip(rip);
    Ok(())
}
