//! The ways out of a block: terminals, and the code that was put out of the way.

use super::asm::{Alu, Cc, Gpr, Hole, Mem, R14, R15, RAX, RCX, Shift};
use super::emit::{Alone, Cold, ColdPath, Data, Emit, LinkExit, Way, env};
use super::registers::TooComplex;
use super::stubs::{BUDGET, HOT, jump_by_cache, look_in_cache};
use crate::bits::ones;
use crate::env::Env;
use crate::frontend::Frontend;
use crate::interp::Exit;
use crate::ir::{Op, Terminal};
use crate::targets::REMEMBERED;
use std::mem::offset_of;
use vm::ram::PAGE_SIZE;

impl<F: Frontend> Emit<'_, F> {
    pub fn terminal(&mut self) -> Result<(), TooComplex> {
        match self.ir.end.ok_or(TooComplex)? {
            Terminal::Jump(to) => self.goto(0, to),
            Terminal::Branch(c, to, other) => {
                let cc = self.condition(c)?;
                let second = self.asm.jcc(cc.not());
                self.goto(0, to);
                self.asm.bind(second);
                self.goto(1, other);
            }
            Terminal::Indirect(to) => {
                self.gpr_into(R14, to)?;
                self.record_target();
                self.jump_by_cache();
            }
            Terminal::Resync(to) => {
                self.move_pc(to);
                self.leave(Exit::Resync as u64);
            }
            Terminal::Dispatch => {
                if self.ir.ops.iter().any(|op| matches!(op, Op::Set(slot, _) if slot.0 == F::PC.0)) {
                    self.leave(Exit::Resync as u64);
                } else {
                    self.set_left();
                    self.asm.mov_imm(RAX, Exit::Resync as u64);
                    let hole = self.asm.jmp();
                    self.far.push((hole, self.stubs.leave_keeping_pc));
                }
            }
        }
        Ok(())
    }

    /// Notes where an indirect branch leads, for traces and the optimizing compiler. Traces do not: what is known by then
    /// is enough.
    fn record_target(&mut self) {
        if let (Some(targets), Some(_), [only]) = (&self.block.targets, self.hot_after, self.parts) {
            self.asm.mov_imm(RAX, std::ptr::from_ref(only.block.runs.cell()) as u64);
            self.asm.load(4, RCX, Mem::at(RAX, 0));
            self.asm.alu_imm(Alu::And, false, RCX, REMEMBERED as i32 - 1);
            self.asm.mov_imm(RAX, std::ptr::from_ref(&**targets) as u64);
            self.asm.shift_imm(Shift::Shl, false, RCX, size_of::<u32>().trailing_zeros() as u8);
            self.asm.store(4, Mem::indexed(RAX, RCX, 0), R14);
        }
    }

    /// The way from a part to the next one.
    pub fn go_on(&mut self) -> Result<(), TooComplex> {
        let way = self.parts[self.part].way;
        match (self.ir.end.ok_or(TooComplex)?, way) {
            (Terminal::Jump(to), Way::Exit { exit: 0, .. }) => self.move_pc(to),
            (Terminal::Branch(c, to, other), Way::Exit { exit, .. }) => {
                let cc = self.condition(c)?;
                let aside = self.asm.jcc(if exit == 0 { cc.not() } else { cc });
                let distances = [to, other];
                self.put_aside(aside.into(), 0, ColdPath::SideExit { exit: 1 - exit, distance: distances[1 - exit] });
                self.move_pc(distances[exit]);
            }
            (Terminal::Indirect(_), Way::Known { distance }) => self.move_pc(distance),
            (Terminal::Indirect(to), Way::Guessed { distance, .. }) => {
                let to = self.gpr(to)?;
                if let Some(distance) = distance {
                    self.add_to_pc(RCX, distance);
                    self.asm.mov(true, R14, to);
                    self.asm.alu(Alu::Cmp, true, R14, RCX);
                    let elsewhere = self.asm.jcc(Cc::Ne);
                    self.put_aside(elsewhere.into(), 0, ColdPath::Elsewhere);
                } else {
                    self.asm.mov(true, R14, to);
                }
            }
            _ => return Err(TooComplex),
        }
        if let Way::Exit { looks: true, .. } | Way::Guessed { looks: true, .. } = way {
            let next = std::ptr::from_ref(self.parts[self.part + 1].block) as u64;
            let elsewhere = look_in_cache::<F>(&mut self.asm, next);
            self.put_aside(elsewhere, 0, ColdPath::Elsewhere);
        }
        if self.ir.may_store() {
            self.asm.alu_mem_imm(Alu::Cmp, false, env!(F, look), 0);
            let stale = self.asm.jcc(Cc::Ne);
            self.put_aside(stale.into(), 0, ColdPath::Stale);
        }
        Ok(())
    }

    fn move_pc(&mut self, distance: i64) {
        self.add_to_pc(R14, distance);
    }

    /// Sets a register to the program counter plus `distance`. Narrow addresses wrap.
    fn add_to_pc(&mut self, to: Gpr, distance: i64) {
        let wide = !self.ir.narrow;
        match i32::try_from(distance) {
            Ok(0) if to == R14 => {}
            Ok(near) => self.asm.lea(wide, to, Mem::at(R14, near)),
            Err(_) => {
                self.asm.mov_imm(RAX, distance as u64);
                self.asm.lea(wide, to, Mem::indexed(R14, RAX, 0));
            }
        }
    }

    /// Notes the block that control leaves from.
    fn set_left(&mut self) {
        self.asm.mov_imm(RAX, std::ptr::from_ref(self.block) as u64);
        self.asm.store(8, env!(F, left), RAX);
    }

    fn leave(&mut self, exit: u64) {
        self.set_left();
        self.asm.mov_imm(RAX, exit);
        let hole = self.asm.jmp();
        self.far.push((hole, self.stubs.leave));
    }

    /// A fixed exit: by the link if it stays in the page, else by way of the jump cache.
    fn goto(&mut self, exit: usize, distance: i64) {
        self.move_pc(distance);
        let offset = (self.block.key.gpa.0 % PAGE_SIZE) as i64;
        if (0..PAGE_SIZE as i64).contains(&(offset + distance)) {
            let jump = self.asm.jmp_aligned();
            self.exits.push(LinkExit { part: self.part, exit: exit as u8, jump, open: 0 });
        } else {
            self.jump_by_cache();
        }
    }

    /// Emits where the exits lead that are not linked yet.
    pub fn open_exits(&mut self) {
        for LinkExit { part, exit, jump, open } in &mut self.exits {
            self.asm.bind(*jump);
            *open = self.asm.code.len();
            self.asm.mov_imm(RAX, std::ptr::from_ref(self.parts[*part].block) as u64);
            let hole = self.asm.jmp();
            self.far.push((hole, self.stubs.unlinked[usize::from(*exit)]));
        }
    }

    /// Goes to the block at the program counter by way of the jump cache. Each exit has a jump of its own, so that the host
    /// can foresee where it leads.
    fn jump_by_cache(&mut self) {
        for hole in jump_by_cache::<F>(&mut self.asm) {
            self.far.push((hole, self.stubs.no_code));
        }
    }

    /// Emits what was put out of the way.
    pub fn cold_paths(&mut self) {
        let mut fault_exit = None;
        let mut cold = std::mem::take(&mut self.cold);
        self.turn_to(0);
        for Cold { part, from, back, what } in cold.drain(..) {
            if part != self.part {
                self.fault_exit(fault_exit.take());
                self.turn_to(part);
            }
            for hole in from {
                self.asm.bind(hole);
            }
            match what {
                ColdPath::VectorHelper { function, imm, args, d, xmms } => {
                    let kept = self.save_xmms(xmms, Some(d));
                    for (n, x) in args.into_iter().enumerate() {
                        self.asm.store_xmm(Self::vectors(n as i32), x);
                    }
                    self.asm.mov_imm(RAX, function);
                    self.asm.mov_imm(RCX, imm.into());
                    self.asm.push_imm(0);
                    let hole = self.asm.call();
                    self.far.push((hole, self.stubs.call));
                    self.restore_xmms(kept);
                    self.asm.load_xmm(d, Self::vectors(0));
                    let hole = self.asm.jmp();
                    self.asm.bind_to(hole, back);
                }
                ColdPath::Helper { function, operand, how, d, xmms } => {
                    let kept = self.save_xmms(xmms, None);
                    self.asm.mov(true, RCX, operand);
                    self.asm.mov_imm(RAX, function);
                    self.asm.push_imm(how);
                    let hole = self.asm.call();
                    self.far.push((hole, self.stubs.call));
                    self.restore_xmms(kept);
                    self.asm.mov(true, d, RAX);
                    let hole = self.asm.jmp();
                    self.asm.bind_to(hole, back);
                }
                ColdPath::Access { va, info, data, xmms, looks, alone } => {
                    if let Some(Alone { bytes, mem, forget }) = alone {
                        let misses = self.look_alone(va, bytes, mem, data);
                        self.direct(RCX, va, bytes, data);
                        if let Some(forget) = forget {
                            self.asm.mov_imm(forget, 0);
                        }
                        let hole = self.asm.jmp();
                        self.asm.bind_to(hole, back);
                        misses.into_iter().for_each(|hole| self.asm.bind(hole));
                    }
                    let loaded = match data {
                        Data::LoadVector(d) => Some(d),
                        _ => None,
                    };
                    let kept = self.save_xmms(xmms, loaded);
                    // The one access, or the two of a pair, with what is loaded or stored.
                    let pieces = match data {
                        Data::LoadPair(d, e, distance) => [Some((Data::Load(d), 0)), Some((Data::Load(e), distance))],
                        Data::StorePair(s, t, distance) => {
                            [Some((Data::Store(s), 0)), Some((Data::Store(t), distance))]
                        }
                        data => [Some((data, 0)), None],
                    };
                    let paired = pieces[1].is_some();
                    for (piece, distance) in pieces.into_iter().flatten() {
                        self.slow_access(va, distance, info, piece, paired, &mut fault_exit);
                    }
                    if let Data::LoadPair(d, e, _) = data {
                        // A register of the pair may be the address: both are set at the end.
                        self.asm.load(8, d, Self::vectors(0));
                        self.asm.mov(true, e, RAX);
                    }
                    self.restore_xmms(kept);
                    if let Data::LoadVector(d) = data {
                        self.asm.load_xmm(d, Self::vectors(0));
                    }
                    for r in ones(looks.into()) {
                        self.asm.mov_imm(r, 0);
                    }
                    let hole = self.asm.jmp();
                    self.asm.bind_to(hole, back);
                }
                ColdPath::Raise { function, imm, pc } => {
                    self.asm.store_imm(false, env!(F, fault_pc), pc as i32);
                    self.asm.mov_imm(RCX, imm);
                    self.asm.mov_imm(RAX, function);
                    self.asm.push_imm(0);
                    let hole = self.asm.call();
                    self.far.push((hole, self.stubs.call));
                    let hole = self.asm.jmp();
                    self.bind_to_fault(hole, &mut fault_exit);
                }
                ColdPath::Fault { pc } => {
                    self.asm.store_imm(false, env!(F, fault_pc), pc as i32);
                    let hole = self.asm.jmp();
                    self.bind_to_fault(hole, &mut fault_exit);
                }
                ColdPath::Budget | ColdPath::Hot => {
                    self.give_back(self.block.insns + self.insns_after);
                    self.leave(if matches!(what, ColdPath::Budget) { BUDGET } else { HOT });
                }
                ColdPath::SideExit { exit, distance } => {
                    self.give_back(self.insns_after);
                    self.goto(exit, distance);
                }
                ColdPath::Elsewhere => {
                    self.give_back(self.insns_after);
                    self.jump_by_cache();
                }
                ColdPath::Stale => {
                    self.give_back(self.insns_after);
                    self.leave(BUDGET);
                }
            }
        }
        self.fault_exit(fault_exit);
        self.cold = cold;
    }

    /// Where the faults of the part at hand leave. The run loop gives back what of its block was not executed.
    fn fault_exit(&mut self, from: Option<Vec<Hole>>) {
        if let Some(holes) = from {
            for hole in holes {
                self.asm.bind(hole);
            }
            self.give_back(self.insns_after);
            self.leave(Exit::Raised as u64);
        }
    }

    /// Adds instructions that are not executed to the budget again.
    fn give_back(&mut self, insns: u32) {
        if insns != 0 {
            self.asm.alu_imm(Alu::Add, true, R15, insns as i32);
        }
    }

    /// Asks for one slow access. What the first half of a pair loads waits in the first vector cell.
    fn slow_access(
        &mut self,
        va: Gpr,
        distance: i32,
        info: i32,
        data: Data,
        paired: bool,
        fault_exit: &mut Option<Vec<Hole>>,
    ) {
        if let Data::Store(s) = data {
            self.asm.mov(true, RCX, s);
        }
        if let Data::StoreVector(s) = data {
            self.asm.store_xmm(Self::vectors(0), s);
        }
        self.asm.lea(true, RAX, Mem::at(va, distance));
        self.asm.push_imm(info);
        let stub = match data {
            Data::Load(_) | Data::LoadPair(..) => self.stubs.load,
            Data::Store(_) | Data::StorePair(..) => self.stubs.store,
            Data::LoadVector(_) => self.stubs.load_vector,
            Data::StoreVector(_) => self.stubs.store_vector,
        };
        let hole = self.asm.call();
        self.far.push((hole, stub));
        let raised = self.asm.jcc(super::asm::Cc::B);
        self.bind_to_fault(raised, fault_exit);
        match data {
            Data::Load(_) if paired && distance == 0 => self.asm.store(8, Self::vectors(0), RAX),
            Data::Load(d) if !paired => self.asm.mov(true, d, RAX),
            _ => {}
        }
    }

    /// Where a vector register is kept during slow accesses.
    fn saved(x: u8) -> Mem {
        Mem::env((offset_of!(Env<F>, saved_vectors) + 16 * usize::from(x)) as i32)
    }

    /// Keeps the vector registers in use, except the one for the result; those that are copies of slots need not be stored.
    fn save_xmms(&mut self, mut xmms: Vec<(u8, Option<u16>)>, result: Option<u8>) -> Vec<(u8, Option<u16>)> {
        xmms.retain(|(x, _)| Some(*x) != result);
        for (x, _) in xmms.iter().filter(|(_, slot)| slot.is_none()) {
            self.asm.store_xmm(Self::saved(*x), *x);
        }
        xmms
    }

    fn restore_xmms(&mut self, kept: Vec<(u8, Option<u16>)>) {
        for (x, slot) in kept {
            let from = slot.map_or_else(|| Self::saved(x), |slot| Mem::env(slot.into()));
            self.asm.load_xmm(x, from);
        }
    }

    fn bind_to_fault(&mut self, hole: Hole, exits: &mut Option<Vec<Hole>>) {
        exits.get_or_insert_default().push(hole);
    }
}
