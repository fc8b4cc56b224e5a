//! Delivery of interrupts and exceptions through the interrupt table, and IRET (SDM vol. 3A, 6.10 to 6.14, 20.1.3 "Interrupt
//! and Exception Handling" in real mode, 20.3 in virtual-8086 mode).

use crate::exception::{self, Exception};
use crate::flags;
use crate::frontend::Env;
use crate::memory::{self, Who};
use crate::mmu;
use crate::segment::{Attributes, CS, DS, Descriptor, ES, FS, GS, SS, Segment, kind};
use crate::stack::Stack;
use crate::state::{RSP, Shadow};
use crate::task;
use crate::transfer;

/// What is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub vector: u8,
    /// INT n, INT3 or INTO, which need the gate's permission.
    pub software: bool,
    /// The exception's error code.
    pub error: Option<u32>,
    /// RIP that the handler returns to.
    pub return_rip: u64,
    /// RF is set in the flags that are stored: the instruction is a fault's.
    pub resume: bool,
}

impl Event {
    pub fn exception(vector: u8, error: Option<u32>, return_rip: u64) -> Event {
        // Traps and aborts leave RF as it is.
        let trap = matches!(vector, exception::DB | exception::BP | exception::OF | exception::DF | exception::MC);
        Event { vector, software: false, error, return_rip, resume: !trap }
    }
    pub fn external(vector: u8, return_rip: u64) -> Event {
        Event { vector, software: false, error: None, return_rip, resume: false }
    }
    pub fn software(vector: u8, return_rip: u64) -> Event {
        Event { vector, software: true, error: None, return_rip, resume: false }
    }

    /// Bit 0 of the error codes of faults during delivery: the cause lies outside of the program.
    fn ext(&self) -> u32 {
        (!self.software).into()
    }

    /// An error code that names the gate.
    fn gate_error(&self) -> u32 {
        u32::from(self.vector) << 3 | 2 | self.ext()
    }

    fn stored_flags(&self, env: &Env) -> u64 {
        env.cpu.rflags() | if self.resume { flags::RF } else { 0 }
    }
}

/// Enters the handler of an event.
///
/// # Errors
/// What goes wrong; no register has changed then.
pub fn deliver(env: &mut Env, event: Event) -> Result<(), Exception> {
    if !env.cpu.is_protected() {
        real(env, event)?;
    } else if env.cpu.is_long() {
        long(env, event)?;
    } else {
        protected(env, event)?;
    }
    env.cpu.shadow = Shadow::None;
    env.cpu.update_mode();
    Ok(())
}

fn real(env: &mut Env, event: Event) -> Result<(), Exception> {
    let at = u64::from(event.vector) * 4;
    if at + 3 > env.cpu.idtr.limit.into() {
        return Err(Exception::gp(event.gate_error()));
    }
    let target = memory::load_system(env, env.cpu.idtr.base + at, 4)?;
    let mut stack = Stack::current(env);
    stack.push(env, 2, env.cpu.rflags())?;
    stack.push(env, 2, env.cpu.selectors[CS])?;
    stack.push(env, 2, event.return_rip)?;
    stack.commit(env);
    let cpu = &mut env.cpu;
    cpu.eflags &= !(flags::IF | flags::TF | flags::AC | flags::RF);
    cpu.load_real_segment(CS, (target >> 16) as u16);
    cpu.set_rip(target & 0xffff);
    Ok(())
}

/// Where an interrupt gate leads.
struct Target {
    code: Segment,
    rip: u64,
    /// The level of the handler.
    cpl: u8,
    /// An interrupt gate rather than a trap gate.
    masks: bool,
    /// Bytes of what is pushed.
    width: u8,
    ist: u8,
}

/// Looks the gate and its code segment up; `None` for a task gate.
fn target(env: &mut Env, event: Event, long: bool) -> Result<Result<Target, u16>, Exception> {
    let size = if long { 16 } else { 8 };
    let at = u64::from(event.vector) * size;
    let gate_gp = Exception::gp(event.gate_error());
    let idtr = env.cpu.idtr;
    if at + size - 1 > idtr.limit.into() {
        return Err(gate_gp);
    }
    let low = memory::load_system(env, idtr.base.wrapping_add(at), 8)?;
    let high = if long { memory::load_system(env, idtr.base.wrapping_add(at + 8), 8)? } else { 0 };
    let gate = Descriptor { low, high: high & 0xffff_ffff };
    let attributes = gate.attributes();
    let known: &[u8] = if long {
        &[kind::INTERRUPT32, kind::TRAP32]
    } else {
        &[kind::TASK_GATE, kind::INTERRUPT16, kind::TRAP16, kind::INTERRUPT32, kind::TRAP32]
    };
    if !known.contains(&attributes.kind()) || event.software && attributes.dpl() < env.cpu.cpl {
        return Err(gate_gp);
    }
    if !attributes.present() {
        return Err(Exception::with_error(exception::NP, event.gate_error()));
    }
    let selector = gate.gate_selector();
    if attributes.kind() == kind::TASK_GATE {
        return Ok(Err(selector));
    }
    let ext = event.ext();
    let bad = |vector: u8| Exception::with_error(vector, u32::from(selector & !3) | ext);
    if selector & !3 == 0 {
        return Err(Exception::gp(ext));
    }
    let (descriptor, _) = transfer::descriptor(env, selector)?.ok_or(bad(exception::GP))?;
    let code = descriptor.attributes();
    let cpl = env.cpu.cpl;
    if !code.is_code() || code.dpl() > cpl || long && (!code.long() || code.big()) {
        return Err(bad(exception::GP));
    }
    if !code.present() {
        return Err(bad(exception::NP));
    }
    let level = if code.conforming() { cpl } else { code.dpl() };
    // 20.3.1.1: out of virtual-8086 mode, only to level 0.
    if env.cpu.is_v86() && level != 0 {
        return Err(bad(exception::GP));
    }
    transfer::mark_accessed(env, selector, descriptor)?;
    let wide = matches!(attributes.kind(), kind::INTERRUPT32 | kind::TRAP32);
    let segment = Segment {
        selector: selector & !3 | u16::from(level),
        attributes: Attributes(code.0 | Attributes::ACCESSED),
        ..descriptor.segment(selector)
    };
    Ok(Ok(Target {
        code: segment,
        rip: match (long, wide) {
            (true, _) => gate.long_gate_offset(),
            (false, true) => gate.gate_offset(),
            (false, false) => gate.gate_offset() & 0xffff,
        },
        cpl: level,
        masks: matches!(attributes.kind(), kind::INTERRUPT16 | kind::INTERRUPT32),
        width: match (long, wide) {
            (true, _) => 8,
            (false, true) => 4,
            (false, false) => 2,
        },
        ist: if long { gate.gate_ist() } else { 0 },
    }))
}

fn protected(env: &mut Env, event: Event) -> Result<(), Exception> {
    let target = match target(env, event, false)? {
        Ok(target) => target,
        Err(task) => {
            let error = event.error;
            return task::interrupt(env, task, event.return_rip, event.ext(), error);
        }
    };
    let width = target.width;
    let (old, v86) = (env.cpu.cpl, env.cpu.is_v86());
    let change = target.cpl < old;
    let mut new_ss = env.cpu.segment(SS);
    let mut stack = Stack::current(env);
    if change {
        let (segment, sp) = task::inner_stack(env, target.cpl, event.ext())?;
        new_ss = segment;
        let error = u32::from(segment.selector & !3) | event.ext();
        stack = Stack::new(segment, sp, false, Who::Processor).with_error(error);
        if v86 {
            for n in [GS, FS, DS, ES] {
                stack.push(env, width, env.cpu.selectors[n])?;
            }
        }
        stack.push(env, width, env.cpu.selectors[SS])?;
        stack.push(env, width, env.cpu.gpr[RSP])?;
    } else {
        stack = stack.with_error(event.ext());
    }
    stack.push(env, width, event.stored_flags(env))?;
    stack.push(env, width, env.cpu.selectors[CS])?;
    stack.push(env, width, event.return_rip)?;
    if let Some(error) = event.error {
        stack.push(env, width, error.into())?;
    }
    let cpu = &mut env.cpu;
    cpu.eflags &= !(flags::TF | flags::NT | flags::RF | flags::VM);
    if target.masks {
        cpu.eflags &= !flags::IF;
    }
    if change {
        if v86 {
            for n in [ES, FS, GS, DS] {
                cpu.set_segment(n, Segment::default());
            }
        }
        cpu.set_segment(SS, new_ss);
    }
    cpu.cpl = target.cpl;
    cpu.set_segment(CS, target.code);
    cpu.gpr[RSP] = stack.sp;
    cpu.set_rip(target.rip);
    Ok(())
}

fn long(env: &mut Env, event: Event) -> Result<(), Exception> {
    // There are no task gates in long mode; `target` has refused them.
    let Ok(target) = target(env, event, true)? else { return Err(Exception::gp(event.gate_error())) };
    let change = target.cpl < env.cpu.cpl;
    let sp = match (target.ist, change) {
        (0, false) => env.cpu.gpr[RSP],
        (0, true) => task::long_stack(env, 4 + 8 * u64::from(target.cpl), event.ext())?,
        (ist, _) => task::long_stack(env, 28 + 8 * u64::from(ist), event.ext())?,
    };
    if !mmu::is_canonical(&env.cpu, sp) {
        return Err(Exception::with_error(exception::SS, event.ext()));
    }
    let who = if target.cpl == 3 { Who::Program } else { Who::Processor };
    let mut stack = Stack::new(Segment::default(), sp & !15, true, who);
    stack.push(env, 8, env.cpu.selectors[SS])?;
    stack.push(env, 8, env.cpu.gpr[RSP])?;
    stack.push(env, 8, event.stored_flags(env))?;
    stack.push(env, 8, env.cpu.selectors[CS])?;
    stack.push(env, 8, event.return_rip)?;
    if let Some(error) = event.error {
        stack.push(env, 8, error.into())?;
    }
    if !mmu::is_canonical(&env.cpu, target.rip) {
        return Err(Exception::gp(event.ext()));
    }
    let cpu = &mut env.cpu;
    cpu.eflags &= !(flags::TF | flags::NT | flags::RF);
    if target.masks {
        cpu.eflags &= !flags::IF;
    }
    cpu.cpl = target.cpl;
    if change {
        // 6.14.3: a null selector, whose RPL is the new level.
        let attributes = Attributes(0).with_dpl(target.cpl);
        cpu.set_segment(SS, Segment { selector: target.cpl.into(), attributes, ..Segment::default() });
    }
    cpu.set_segment(CS, target.code);
    cpu.gpr[RSP] = stack.sp;
    cpu.set_rip(target.rip);
    Ok(())
}

/// IRET with operands of `width` bytes (SDM vol. 2A, "IRET/IRETD/IRETQ").
///
/// # Errors
/// The fault; no register has changed then.
pub fn iret(env: &mut Env, width: u8, next_rip: u64) -> Result<(), Exception> {
    let cpu = &env.cpu;
    if cpu.has_descriptors() {
        if cpu.flag(flags::NT) {
            if cpu.is_long() {
                return Err(Exception::gp(0));
            }
            return task::iret(env, next_rip);
        }
        iret_protected(env, width)?;
    } else {
        iret_real(env, width)?;
    }
    env.cpu.nmi_blocked = false;
    env.cpu.update_mode();
    Ok(())
}

/// Flags that a return with operands of `width` bytes changes, whatever the levels.
fn flags_of_width(width: u8) -> u64 {
    let low = flags::STATUS | flags::TF | flags::DF | flags::NT;
    // RF only serves instruction breakpoints, which keep it: see `Mode::careful`.
    if width == 2 { low } else { low | flags::AC | flags::ID | flags::RF }
}

fn iret_real(env: &mut Env, width: u8) -> Result<(), Exception> {
    let v86 = env.cpu.is_v86();
    if v86 && env.cpu.iopl() != 3 {
        return Err(Exception::gp(0));
    }
    let mut stack = Stack::current(env);
    let rip = stack.pop(env, width)?;
    let cs = stack.pop(env, width)? as u16;
    let new_flags = stack.pop(env, width)?;
    if rip > 0xffff && v86 || rip > env.cpu.limits[CS] {
        return Err(Exception::gp(0));
    }
    stack.commit(env);
    let mut mask = flags_of_width(width) | flags::IF;
    if !v86 {
        mask |= flags::IOPL;
    }
    env.cpu.load_real_segment(CS, cs);
    env.cpu.set_rip(rip);
    env.cpu.set_rflags(new_flags, mask);
    Ok(())
}

fn iret_protected(env: &mut Env, width: u8) -> Result<(), Exception> {
    let old = env.cpu.cpl;
    let wide = env.cpu.is_64bit();
    let mut stack = Stack::current(env);
    let rip = stack.pop(env, width)?;
    let cs = stack.pop(env, width)? as u16;
    let new_flags = stack.pop(env, width)?;
    if width == 4 && new_flags & flags::VM != 0 && old == 0 && !env.cpu.is_long() {
        return iret_to_v86(env, stack, rip, cs, new_flags);
    }
    let code = transfer::return_code_segment(env, cs, rip)?;
    let level = (cs & 3) as u8;
    let mut mask = flags_of_width(width);
    if old <= env.cpu.iopl() {
        mask |= flags::IF;
    }
    if old == 0 {
        mask |= flags::IOPL | if width == 2 { 0 } else { flags::VIF | flags::VIP };
    }
    // In 64-bit code SS and RSP are popped in any case.
    if level == old && !wide {
        env.cpu.set_segment(CS, code);
        stack.commit(env);
    } else {
        let sp = stack.pop(env, width)?;
        let ss = stack.pop(env, width)? as u16;
        let new_ss = transfer::return_stack_segment(env, ss, level, code.attributes.long())?;
        let cpu = &mut env.cpu;
        cpu.cpl = level;
        cpu.set_segment(CS, code);
        cpu.set_segment(SS, new_ss);
        let mask = match (wide || code.attributes.long(), new_ss.attributes.big()) {
            (true, _) => u64::MAX,
            (false, true) => 0xffff_ffff,
            // Deviation of all processors from their manuals, kept: the upper half of ESP comes from the old stack.
            (false, false) => 0xffff,
        };
        cpu.gpr[RSP] = cpu.gpr[RSP] & !mask & 0xffff_ffff | sp & mask;
        if level > old {
            transfer::drop_inner_segments(cpu, level);
        }
    }
    env.cpu.cpl = level;
    env.cpu.set_rip(rip);
    env.cpu.set_rflags(new_flags, mask);
    Ok(())
}

fn iret_to_v86(env: &mut Env, mut stack: Stack, rip: u64, cs: u16, new_flags: u64) -> Result<(), Exception> {
    let sp = stack.pop(env, 4)?;
    let mut selectors = [0u16; 5];
    for selector in &mut selectors {
        *selector = stack.pop(env, 4)? as u16;
    }
    if rip > 0xffff {
        return Err(Exception::gp(0));
    }
    let cpu = &mut env.cpu;
    cpu.cpl = 3;
    cpu.set_rflags(new_flags, flags::STATUS | flags::SYSTEM);
    for (n, selector) in [SS, ES, DS, FS, GS].into_iter().zip(selectors) {
        cpu.load_real_segment(n, selector);
    }
    cpu.load_real_segment(CS, cs);
    cpu.gpr[RSP] = sp & 0xffff_ffff;
    cpu.set_rip(rip & 0xffff);
    Ok(())
}
