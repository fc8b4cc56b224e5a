//! The ways out of a block: terminals, and the code that was put out of the way.

use super::asm::{Alu, Mem, R14, R15, RAX, RBP, RCX};
use super::emit::{Cold, ColdPath, Data, Emit, env};
use super::registers::TooComplex;
use super::stubs::{BUDGET, HOT, jump_by_cache};
use crate::env::Env;
use crate::frontend::Frontend;
use crate::interp::Exit;
use crate::ir::{Op, Terminal};
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
                for hole in jump_by_cache::<F>(&mut self.asm) {
                    self.far.push((hole, self.stubs.no_code));
                }
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

    fn move_pc(&mut self, distance: i64) {
        match i32::try_from(distance) {
            Ok(0) => {}
            Ok(near) => self.asm.lea(true, R14, Mem::at(R14, near)),
            Err(_) => {
                self.asm.mov_imm(RAX, distance as u64);
                self.asm.lea(true, R14, Mem::indexed(R14, RAX, 0));
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
            self.asm.mov_imm(RAX, std::ptr::from_ref(&self.block.fast_links[exit]) as u64);
            self.asm.jmp_mem(Mem::at(RAX, 0));
        } else {
            self.asm.mov_imm(RAX, std::ptr::from_ref(self.block) as u64);
            let hole = self.asm.jmp();
            self.far.push((hole, self.stubs.by_cache[exit]));
        }
    }

    /// Emits what was put out of the way.
    pub fn cold_paths(&mut self) {
        let mut fault_exit = None;
        let mut cold = std::mem::take(&mut self.cold);
        for Cold { from, back, what } in cold.drain(..) {
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
                ColdPath::Access { va, info, data, xmms } => {
                    let loaded = match data {
                        Data::LoadVector(d) => Some(d),
                        _ => None,
                    };
                    let kept = self.save_xmms(xmms, loaded);
                    if let Data::Store(s) = data {
                        self.asm.mov(true, RCX, s);
                    }
                    if let Data::StoreVector(s) = data {
                        self.asm.store_xmm(Self::vectors(0), s);
                    }
                    self.asm.mov(true, RAX, va);
                    self.asm.push_imm(info);
                    let stub = match data {
                        Data::Load(_) => self.stubs.load,
                        Data::Store(_) => self.stubs.store,
                        Data::LoadVector(_) => self.stubs.load_vector,
                        Data::StoreVector(_) => self.stubs.store_vector,
                    };
                    let hole = self.asm.call();
                    self.far.push((hole, stub));
                    let raised = self.asm.jcc(super::asm::Cc::B);
                    self.bind_to_fault(raised, &mut fault_exit);
                    self.restore_xmms(kept);
                    match data {
                        Data::Load(d) => self.asm.mov(true, d, RAX),
                        Data::LoadVector(d) => self.asm.load_xmm(d, Self::vectors(0)),
                        Data::Store(_) | Data::StoreVector(_) => {}
                    }
                    let hole = self.asm.jmp();
                    self.asm.bind_to(hole, back);
                }
                ColdPath::Fault { pc } => {
                    self.asm.store_imm(false, env!(F, fault_pc), pc as i32);
                    let hole = self.asm.jmp();
                    self.bind_to_fault(hole, &mut fault_exit);
                }
                ColdPath::Budget | ColdPath::Hot => {
                    self.asm.alu_imm(Alu::Add, true, R15, self.block.insns as i32);
                    self.leave(if matches!(what, ColdPath::Budget) { BUDGET } else { HOT });
                }
            }
        }
        if let Some(holes) = fault_exit {
            for hole in holes {
                self.asm.bind(hole);
            }
            self.leave(Exit::Raised as u64);
        }
        self.cold = cold;
    }

    /// Where a vector register is kept during slow accesses.
    fn saved(x: u8) -> Mem {
        Mem::at(RBP, (offset_of!(Env<F>, saved_vectors) + 16 * usize::from(x)) as i32)
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
            let from = slot.map_or_else(|| Self::saved(x), |slot| Mem::at(RBP, slot.into()));
            self.asm.load_xmm(x, from);
        }
    }

    fn bind_to_fault(&mut self, hole: super::asm::Hole, exits: &mut Option<Vec<super::asm::Hole>>) {
        exits.get_or_insert_default().push(hole);
    }
}
