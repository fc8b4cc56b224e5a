//! Task state segments: stacks of inner levels, and the hardware task switch (SDM vol. 3A, chapter 8 "Task Management").

use crate::control_regs;
use crate::exception::{self, Exception, dr6};
use crate::flags;
use crate::frontend::Env;
use crate::memory;
use crate::mmu;
use crate::segment::{Attributes, CS, DS, Descriptor, ES, FS, GS, SS, Segment, TABLE_LDT, kind};
use crate::stack::Stack;
use crate::transfer;

/// Segment registers in the order of a task state segment.
const ORDER: [usize; 6] = [ES, CS, SS, DS, FS, GS];

fn is_wide(attributes: Attributes) -> bool {
    attributes.kind() & 8 != 0
}

/// The stack that the current task has for `level`: its segment, checked, and its pointer. `ext` is bit 0 of error codes.
///
/// # Errors
/// An invalid-TSS or stack fault.
pub fn inner_stack(env: &mut Env, level: u8, ext: u32) -> Result<(Segment, u64), Exception> {
    let tr = env.cpu.tr;
    let wide = is_wide(tr.attributes);
    let (at, bytes) = if wide { (4 + 8 * u64::from(level), 8) } else { (2 + 4 * u64::from(level), 4) };
    if at + bytes - 1 > tr.limit.into() {
        return Err(Exception::with_error(exception::TS, u32::from(tr.selector & !3) | ext));
    }
    let at = tr.base.wrapping_add(at);
    let (sp, selector) = if wide {
        (memory::load_system(env, at, 4)?, memory::load_system(env, at + 4, 2)? as u16)
    } else {
        (memory::load_system(env, at, 2)?, memory::load_system(env, at + 2, 2)? as u16)
    };
    if selector & !3 == 0 {
        return Err(Exception::with_error(exception::TS, ext));
    }
    let bad = |vector| Exception::with_error(vector, u32::from(selector & !3) | ext);
    let (found, _) = transfer::descriptor(env, selector)?.ok_or(bad(exception::TS))?;
    let a = found.attributes();
    if (selector & 3) as u8 != level || a.dpl() != level || !a.writable() {
        return Err(bad(exception::TS));
    }
    if !a.present() {
        return Err(bad(exception::SS));
    }
    transfer::mark_accessed(env, selector, found)?;
    let segment = found.segment(selector);
    Ok((Segment { attributes: Attributes(a.0 | Attributes::ACCESSED), ..segment }, sp))
}

/// A stack pointer at `offset` in a 64-bit task state segment.
///
/// # Errors
/// An invalid-TSS or stack fault.
pub fn long_stack(env: &mut Env, offset: u64, ext: u32) -> Result<u64, Exception> {
    let tr = env.cpu.tr;
    if offset + 7 > tr.limit.into() {
        return Err(Exception::with_error(exception::TS, u32::from(tr.selector & !3) | ext));
    }
    let sp = memory::load_system(env, tr.base.wrapping_add(offset), 8)?;
    if !mmu::is_canonical(&env.cpu, sp) {
        return Err(Exception::with_error(exception::SS, ext));
    }
    Ok(sp)
}

/// Why tasks are switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Jump,
    /// CALL, exception or interrupt: the new task is nested.
    Call,
    Iret,
}

/// A task switch by JMP.
///
/// # Errors
/// The fault, in the old task or the new one.
pub fn jump(env: &mut Env, selector: u16, next_rip: u64) -> Result<(), Exception> {
    switch(env, selector, Cause::Jump, next_rip, 0, exception::GP)
}

/// A task switch by CALL.
///
/// # Errors
/// The fault, in the old task or the new one.
pub fn call(env: &mut Env, selector: u16, next_rip: u64) -> Result<(), Exception> {
    switch(env, selector, Cause::Call, next_rip, 0, exception::GP)
}

/// A task switch by a task gate in the interrupt table; the error code is pushed on the new stack.
///
/// # Errors
/// The fault, in the old task or the new one.
pub fn interrupt(env: &mut Env, selector: u16, rip: u64, ext: u32, error: Option<u32>) -> Result<(), Exception> {
    switch(env, selector, Cause::Call, rip, ext, exception::GP)?;
    let Some(error) = error else { return Ok(()) };
    let width = if is_wide(env.cpu.tr.attributes) { 4 } else { 2 };
    let mut stack = Stack::current(env).with_error(ext);
    stack.push(env, width, error.into())?;
    stack.commit(env);
    Ok(())
}

/// A task switch by IRET with NT set: back to the task that is linked.
///
/// # Errors
/// The fault, in the old task or the new one.
pub fn iret(env: &mut Env, next_rip: u64) -> Result<(), Exception> {
    let tr = env.cpu.tr;
    let selector = memory::load_system(env, tr.base, 2)? as u16;
    // The old task goes on after the IRET.
    switch(env, selector, Cause::Iret, next_rip, 0, exception::TS)
}

/// What a task state segment holds.
#[derive(Clone, Copy, Debug, Default)]
struct Task {
    cr3: u64,
    rip: u64,
    flags: u64,
    gpr: [u64; 8],
    selectors: [u16; 6],
    ldt: u16,
    trap: bool,
}

/// Offsets of EIP (IP), the flags, the registers, the selectors and the LDT selector.
struct Layout {
    wide: bool,
    rip: u64,
    registers: u64,
    selectors: u64,
    ldt: u64,
    /// The least limit.
    limit: u32,
}

impl Layout {
    fn of(attributes: Attributes) -> Layout {
        if is_wide(attributes) {
            Layout { wide: true, rip: 32, registers: 40, selectors: 72, ldt: 96, limit: 103 }
        } else {
            Layout { wide: false, rip: 14, registers: 18, selectors: 34, ldt: 42, limit: 43 }
        }
    }
    fn width(&self) -> u8 {
        if self.wide { 4 } else { 2 }
    }
    /// Selectors that it has: without FS and GS in the 16-bit format.
    fn count(&self) -> usize {
        if self.wide { 6 } else { 4 }
    }
}

fn read_task(env: &mut Env, base: u64, layout: &Layout) -> Result<Task, Exception> {
    let width = layout.width();
    let step = u64::from(width);
    let mut task = Task {
        rip: memory::load_system(env, base + layout.rip, width)?,
        flags: memory::load_system(env, base + layout.rip + step, width)?,
        ldt: memory::load_system(env, base + layout.ldt, 2)? as u16,
        ..Task::default()
    };
    for n in 0..8 {
        task.gpr[n] = memory::load_system(env, base + layout.registers + n as u64 * step, width)?;
    }
    for n in 0..layout.count() {
        task.selectors[n] = memory::load_system(env, base + layout.selectors + n as u64 * step, 2)? as u16;
    }
    if layout.wide {
        task.cr3 = memory::load_system(env, base + 28, 4)?;
        task.trap = memory::load_system(env, base + 100, 2)? & 1 != 0;
    }
    Ok(task)
}

fn write_task(env: &mut Env, base: u64, layout: &Layout, task: &Task) -> Result<(), Exception> {
    let width = layout.width();
    let step = u64::from(width);
    memory::store_system(env, base + layout.rip, width, task.rip)?;
    memory::store_system(env, base + layout.rip + step, width, task.flags)?;
    for (n, value) in task.gpr.iter().enumerate() {
        memory::store_system(env, base + layout.registers + n as u64 * step, width, *value)?;
    }
    for n in 0..layout.count() {
        memory::store_system(env, base + layout.selectors + n as u64 * step, 2, task.selectors[n].into())?;
    }
    Ok(())
}

/// Sets or clears the busy bit of a task state segment's descriptor.
fn set_busy(env: &mut Env, at: u64, busy: bool) -> Result<(), Exception> {
    let kind = memory::load_system(env, at + 5, 1)?;
    memory::store_system(env, at + 5, 1, if busy { kind | 2 } else { kind & !2 })
}

/// 8.3 "Task Switching", in its steps.
fn switch(env: &mut Env, selector: u16, cause: Cause, rip: u64, ext: u32, vector: u8) -> Result<(), Exception> {
    let bad = |vector| Exception::with_error(vector, u32::from(selector & !3) | ext);
    if selector & TABLE_LDT != 0 || selector & !3 == 0 {
        return Err(bad(vector));
    }
    let (found, at) = transfer::descriptor(env, selector)?.ok_or(bad(vector))?;
    let a = found.attributes();
    let expected: [u8; 2] =
        if cause == Cause::Iret { [kind::TSS16_BUSY, kind::TSS32_BUSY] } else { [kind::TSS16, kind::TSS32] };
    if !expected.contains(&a.kind()) {
        return Err(bad(vector));
    }
    if !a.present() {
        return Err(bad(exception::NP));
    }
    let layout = Layout::of(a);
    if found.limit() < layout.limit {
        return Err(bad(exception::TS));
    }
    let old = env.cpu.tr;
    let new = read_task(env, found.base(), &layout)?;
    save_old(env, cause, rip)?;
    if cause == Cause::Call {
        memory::store_system(env, found.base(), 2, old.selector.into())?;
    }
    if cause != Cause::Iret {
        set_busy(env, at, true)?;
    }
    if cause != Cause::Call
        && let Some((_, old_at)) = transfer::descriptor(env, old.selector)?
    {
        set_busy(env, old_at, false)?;
    }
    // From here on faults belong to the new task.
    let tr = found.segment(selector);
    env.cpu.tr = Segment { attributes: Attributes(tr.attributes.0 | 2), ..tr };
    control_regs::set_task_switched(env);
    enter(env, &new, &layout, cause)
}

/// Stores the state of the old task.
fn save_old(env: &mut Env, cause: Cause, rip: u64) -> Result<(), Exception> {
    let cpu = &env.cpu;
    let layout = Layout::of(cpu.tr.attributes);
    let mut flags_now = cpu.rflags();
    if cause == Cause::Iret {
        flags_now &= !flags::NT;
    }
    let mut task = Task { rip, flags: flags_now, ..Task::default() };
    task.gpr.copy_from_slice(&cpu.gpr[..8]);
    for (to, n) in task.selectors.iter_mut().zip(ORDER) {
        *to = cpu.selectors[n] as u16;
    }
    let base = cpu.tr.base;
    write_task(env, base, &layout, &task)
}

/// Loads the state of the new task, then its segments, whose faults are those of its first instruction.
fn enter(env: &mut Env, task: &Task, layout: &Layout, cause: Cause) -> Result<(), Exception> {
    if layout.wide && env.cpu.is_paging() {
        control_regs::write_cr3(env, task.cr3)?;
    }
    let cpu = &mut env.cpu;
    for (n, value) in task.gpr.iter().enumerate() {
        // The 16-bit format leaves the upper halves undefined; processors set them.
        cpu.gpr[n] = if layout.wide { *value } else { *value | 0xffff_0000 };
    }
    let nested = if cause == Cause::Call { flags::NT } else { 0 };
    let known = flags::STATUS | flags::SYSTEM;
    let wide_mask = if layout.wide { known } else { known & 0xffff };
    cpu.set_rflags(task.flags | nested, wide_mask | flags::VM);
    let v86 = cpu.is_v86();
    // What is known of the segments before their descriptors are looked at: the selectors alone.
    for (n, selector) in ORDER.into_iter().zip(task.selectors) {
        let attributes = Attributes(if n == CS { Attributes::REAL_CODE.0 } else { 0 });
        cpu.set_segment(n, Segment { selector, attributes, base: 0, limit: if n == CS { u32::MAX } else { 0 } });
    }
    cpu.cpl = if v86 { 3 } else { (task.selectors[1] & 3) as u8 };
    cpu.set_rip(task.rip);
    cpu.ldtr = Segment { selector: task.ldt, ..Segment::default() };
    load_ldt(env, task.ldt)?;
    if v86 {
        for (n, selector) in ORDER.into_iter().zip(task.selectors) {
            env.cpu.load_real_segment(n, selector);
        }
    } else {
        load_segments(env, task, layout.count())?;
    }
    let cpu = &mut env.cpu;
    cpu.set_rip(task.rip);
    if !cpu.segment(CS).contains(task.rip, 1) {
        return Err(Exception::gp(0));
    }
    // 8.2.1: the T flag raises a debug exception after the switch.
    if task.trap {
        cpu.pending_debug |= dr6::BT;
    }
    cpu.dr[7] &= !0x155;
    cpu.update_mode();
    Ok(())
}

fn load_ldt(env: &mut Env, selector: u16) -> Result<(), Exception> {
    if selector & !3 == 0 {
        return Ok(());
    }
    let bad = Exception::selector(exception::TS, selector);
    if selector & TABLE_LDT != 0 {
        return Err(bad);
    }
    let (found, _) = transfer::descriptor(env, selector)?.ok_or(bad)?;
    if found.attributes().kind() != kind::LDT || !found.attributes().present() {
        return Err(bad);
    }
    env.cpu.ldtr = found.segment(selector);
    Ok(())
}

/// Loads the segments of a task that is not in virtual-8086 mode; their faults are invalid-TSS faults.
fn load_segments(env: &mut Env, task: &Task, count: usize) -> Result<(), Exception> {
    let cs = task.selectors[1];
    let bad = |vector, selector| Exception::selector(vector, selector);
    let cpl = (cs & 3) as u8;
    let found = |env: &mut Env, selector: u16| -> Result<Descriptor, Exception> {
        let outside = Exception::selector(exception::TS, selector);
        if selector & !3 == 0 {
            return Err(outside);
        }
        Ok(transfer::descriptor(env, selector)?.ok_or(outside)?.0)
    };
    let code = found(env, cs)?;
    let a = code.attributes();
    if !a.is_code() || if a.conforming() { a.dpl() > cpl } else { a.dpl() != cpl } {
        return Err(bad(exception::TS, cs));
    }
    if !a.present() {
        return Err(bad(exception::NP, cs));
    }
    transfer::mark_accessed(env, cs, code)?;
    env.cpu.set_segment(CS, code.segment(cs));
    let ss = task.selectors[2];
    let stack = found(env, ss)?;
    let a = stack.attributes();
    if !a.writable() || a.dpl() != cpl || (ss & 3) as u8 != cpl {
        return Err(bad(exception::TS, ss));
    }
    if !a.present() {
        return Err(bad(exception::SS, ss));
    }
    transfer::mark_accessed(env, ss, stack)?;
    env.cpu.set_segment(SS, stack.segment(ss));
    for (n, selector) in ORDER.into_iter().zip(task.selectors).take(count) {
        if n == CS || n == SS {
            continue;
        }
        transfer::load_segment(env, n, selector).map_err(|exception| match exception {
            Exception::Fault { vector: exception::GP, error: Some(error), .. } => {
                Exception::with_error(exception::TS, error)
            }
            other => other,
        })?;
    }
    Ok(())
}

/// Whether the current program may use `bytes` I/O ports from `port` on (SDM vol. 1, 19.5.2 "I/O Permission Bit Map").
///
/// # Errors
/// General protection if it may not.
pub fn check_ports(env: &mut Env, port: u16, bytes: u8) -> Result<(), Exception> {
    let cpu = &env.cpu;
    if !cpu.is_protected() || !cpu.is_v86() && cpu.cpl <= cpu.iopl() {
        return Ok(());
    }
    let tr = cpu.tr;
    let refused = Exception::gp(0);
    if !is_wide(tr.attributes) || tr.limit < 103 {
        return Err(refused);
    }
    let map = memory::load_system(env, tr.base.wrapping_add(102), 2)?;
    let at = map + u64::from(port) / 8;
    // Two bytes are always read.
    if at + 1 > tr.limit.into() {
        return Err(refused);
    }
    let bits = memory::load_system(env, tr.base.wrapping_add(at), 2)? >> (port % 8);
    if bits & ((1 << bytes) - 1) != 0 { Err(refused) } else { Ok(()) }
}
