//! System-management mode (SDM vol. 3C, chapter 31): the state is saved at SMBASE + 0xfe00 and restored by RSM, in the
//! layout that AMD64 processors have (APM vol. 2, 10.2.3 "SMRAM State-Save Area"), which firmware knows by its revision.

use crate::control_regs::{CR0_EM, CR0_PE, CR0_PG, CR0_TS};
use crate::exception::Exception;
use crate::flags;
use crate::frontend::Env;
use crate::segment::{Attributes, CS, DS, ES, FS, GS, SS, Segment, Table};
use crate::state::Cpu;
use crate::wiring;
use vm::Gpa;

/// The revision: 64-bit state save area, SMBASE can be moved.
const REVISION: u64 = 0x2_0064;
/// Where the area begins, from SMBASE.
const AREA: u64 = 0xfe00;
/// Offsets of the segment registers ES to GS, of GDTR, LDTR, IDTR and TR.
const SEGMENTS: [(usize, u64); 6] = [(ES, 0x00), (CS, 0x10), (SS, 0x20), (DS, 0x30), (FS, 0x40), (GS, 0x50)];
const GDTR: u64 = 0x60;
const LDTR: u64 = 0x70;
const IDTR: u64 = 0x80;
const TR: u64 = 0x90;
const IO_RESTART: u64 = 0xc8;
const HALT_RESTART: u64 = 0xc9;
const EFER: u64 = 0xd0;
const REVISION_AT: u64 = 0xfc;
const SMBASE: u64 = 0x100;
const CR4: u64 = 0x148;
const CR3: u64 = 0x150;
const CR0: u64 = 0x158;
const DR7: u64 = 0x160;
const DR6: u64 = 0x168;
const RFLAGS: u64 = 0x170;
const RIP: u64 = 0x178;
/// RAX to R15 downwards from here.
const RAX: u64 = 0x1f8;

struct Area<'a> {
    env: &'a mut Env,
    base: u64,
}

impl Area<'_> {
    fn put(&mut self, offset: u64, bytes: u8, value: u64) {
        let at = Gpa(self.base + offset);
        let _ = self.env.view().store(at, bytes, value);
    }
    fn take(&self, offset: u64, bytes: u8) -> u64 {
        self.env.view().load(Gpa(self.base + offset), bytes).unwrap_or(0)
    }
    fn put_segment(&mut self, offset: u64, segment: Segment) {
        self.put(offset, 2, segment.selector.into());
        // Attributes are packed into 12 bits: without those of the limit.
        let a = u64::from(segment.attributes.0);
        self.put(offset + 2, 2, a & 0xff | a >> 4 & 0xf00);
        self.put(offset + 4, 4, segment.limit.into());
        self.put(offset + 8, 8, segment.base);
    }
    fn take_segment(&self, offset: u64) -> Segment {
        let a = self.take(offset + 2, 2);
        Segment {
            selector: self.take(offset, 2) as u16,
            attributes: Attributes((a & 0xff | (a & 0xf00) << 4) as u16),
            limit: self.take(offset + 4, 4) as u32,
            base: self.take(offset + 8, 8),
        }
    }
}

/// Enters system-management mode.
pub fn enter(env: &mut Env) {
    env.cpu.smm = true;
    // The board opens its memory.
    env.cpu.wires.drive(wiring::OUT_SMIACT, true);
    env.refresh_view();
    let base = env.cpu.msr.smbase + AREA;
    let halted = env.is_halted();
    let cpu = &env.cpu;
    let segments = SEGMENTS.map(|(n, offset)| (offset, cpu.segment(n)));
    let (gdtr, idtr, ldtr, tr) = (cpu.gdtr, cpu.idtr, cpu.ldtr, cpu.tr);
    let words = [
        (EFER, cpu.msr.efer),
        (CR4, cpu.cr4),
        (CR3, cpu.cr3),
        (CR0, cpu.cr0),
        (DR7, cpu.dr[7]),
        (DR6, cpu.dr[6]),
        (RFLAGS, cpu.rflags()),
        (RIP, cpu.rip()),
    ];
    let (gpr, smbase) = (cpu.gpr, cpu.msr.smbase);
    let mut area = Area { env, base };
    for (offset, segment) in segments {
        area.put_segment(offset, segment);
    }
    for (offset, table) in [(GDTR, gdtr), (IDTR, idtr)] {
        area.put(offset + 4, 4, table.limit.into());
        area.put(offset + 8, 8, table.base);
    }
    area.put_segment(LDTR, ldtr);
    area.put_segment(TR, tr);
    for (offset, value) in words {
        area.put(offset, 8, value);
    }
    for (n, value) in gpr.into_iter().enumerate() {
        area.put(RAX - 8 * n as u64, 8, value);
    }
    area.put(REVISION_AT, 4, REVISION);
    area.put(SMBASE, 4, smbase);
    area.put(IO_RESTART, 1, 0);
    area.put(HALT_RESTART, 1, halted.into());
    set_up(&mut env.cpu);
    env.flush_tlb();
}

/// The state in which the handler starts (31.4.1).
fn set_up(cpu: &mut Cpu) {
    cpu.cr0 &= !(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu.cr4 = 0;
    cpu.msr.efer = 0;
    cpu.dr[7] = 0x400;
    cpu.set_status_flags(0);
    cpu.eflags = 0;
    cpu.cpl = 0;
    for n in [ES, SS, DS, FS, GS] {
        cpu.set_segment(n, Segment { limit: u32::MAX, ..Segment::real(0, Attributes::REAL_DATA) });
    }
    let selector = (cpu.msr.smbase >> 4) as u16;
    let code = Segment { limit: u32::MAX, base: cpu.msr.smbase, ..Segment::real(selector, Attributes::REAL_CODE) };
    cpu.set_segment(CS, code);
    cpu.set_rip(0x8000);
}

/// RSM.
///
/// # Errors
/// None yet: a state that cannot be shuts the processor down.
pub fn resume(env: &mut Env) -> Result<(), Exception> {
    let base = env.cpu.msr.smbase + AREA;
    let area = Area { env, base };
    let segments = SEGMENTS.map(|(n, offset)| (n, area.take_segment(offset)));
    let table = |offset: u64| Table { limit: area.take(offset + 4, 4) as u16, base: area.take(offset + 8, 8) };
    let (gdtr, idtr) = (table(GDTR), table(IDTR));
    let (ldtr, tr) = (area.take_segment(LDTR), area.take_segment(TR));
    let word = |offset: u64| area.take(offset, 8);
    let (efer, cr4, cr3, cr0) = (word(EFER), word(CR4), word(CR3), word(CR0));
    let (dr7, dr6, rflags, rip) = (word(DR7), word(DR6), word(RFLAGS), word(RIP));
    let gpr: [u64; 16] = std::array::from_fn(|n| word(RAX - 8 * n as u64));
    let (smbase, halted) = (area.take(SMBASE, 4), area.take(HALT_RESTART, 1) & 1 != 0);
    let cpu = &mut env.cpu;
    (cpu.cr0, cpu.cr3, cpu.cr4) = (cr0, cr3, cr4);
    cpu.msr.efer = efer;
    (cpu.dr[7], cpu.dr[6]) = (dr7, dr6);
    (cpu.gdtr, cpu.idtr, cpu.ldtr, cpu.tr) = (gdtr, idtr, ldtr, tr);
    cpu.gpr = gpr;
    cpu.msr.smbase = smbase;
    cpu.set_rflags(rflags, flags::STATUS | flags::SYSTEM);
    for (n, segment) in segments {
        cpu.set_segment(n, segment);
    }
    cpu.cpl = match cpu.is_protected() {
        _ if cpu.is_v86() => 3,
        true => cpu.attributes[SS].dpl(),
        false => 0,
    };
    cpu.update_mode();
    cpu.set_rip(rip);
    cpu.smm = false;
    cpu.wires.drive(wiring::OUT_SMIACT, false);
    env.refresh_view();
    env.flush_tlb();
    if halted {
        env.halt();
    }
    Ok(())
}
