//! What privileged code uses, ports, and what asks for the processor's identity (SDM vol. 2).

use super::operand::{Place, segment_number, ty_of};
use super::translator::{Next, Translator};
use crate::exception::Exception;
use crate::flags;
use crate::helpers;
use crate::state::{EFLAGS, RAX, RCX, RDX, gpr};
use iced_x86::{OpKind, Register};
use tcg::ir::{Binary, HelperId, Ty, Val};

impl Translator<'_> {
    /// A helper without arguments at level 0, after which the engine looks around.
    pub(super) fn privileged_call(&mut self, helper: HelperId) -> Next {
        if let Some(end) = self.privileged() {
            return end;
        }
        self.ir.call(helper, &[]);
        self.resync_next()
    }

    /// MOV with a segment register.
    pub(super) fn mov_segment(&mut self) -> Next {
        let register = self.insn.op0_register();
        if self.insn.op0_kind() == OpKind::Register && register.is_segment_register() {
            let n = segment_number(register);
            if register == Register::CS {
                return self.undefined();
            }
            let v = match self.place(1) {
                Place::Memory(va) => {
                    let mem = self.mem();
                    self.ir.load(Ty::I16, va, mem)
                }
                other => self.load(other, Ty::I16),
            };
            let (number, selector) = (self.ir.imm64(n as u64), self.ir.zext(Ty::I64, v));
            let selector = self.ir.and_imm(Ty::I64, selector, 0xffff);
            self.ir.call(helpers::LOAD_SEGMENT, &[number, selector]);
            return self.after_segment_load(n);
        }
        let n = segment_number(self.insn.op1_register());
        let to = self.place(0);
        let ty = if self.is_memory(0) { Ty::I16 } else { self.ty(0) };
        let v = self.ir.get(tcg::Slot(crate::state::selector(n).0, ty));
        self.store(to, ty, v);
        Next::Continue
    }

    /// LDS, LES, LFS, LGS and LSS.
    pub(super) fn load_far_pointer(&mut self, n: usize) -> Next {
        let to = self.insn.op0_register();
        let (selector, offset) = self.far_pointer(to.size() as u8);
        let number = self.ir.imm64(n as u64);
        self.ir.call(helpers::LOAD_SEGMENT, &[number, selector]);
        let offset = self.ir.trunc(ty_of(to.size()), offset);
        self.set_gpr(to, offset);
        self.after_segment_load(n)
    }

    /// MOV with a control register.
    pub(super) fn mov_control(&mut self) -> Next {
        if let Some(end) = self.privileged() {
            return end;
        }
        let write = self.insn.op0_register().is_cr();
        let number = if write { self.insn.op0_register() } else { self.insn.op1_register() }.number();
        if !matches!(number, 0 | 2 | 3 | 4 | 8) {
            return self.undefined();
        }
        let number = self.ir.imm64(number as u64);
        if write {
            let v = self.gpr(self.insn.op1_register());
            self.ir.call(helpers::WRITE_CONTROL, &[number, v]);
            return self.resync_next();
        }
        let v = self.ir.call(helpers::READ_CONTROL, &[number]);
        let to = self.insn.op0_register();
        let v = self.ir.trunc(ty_of(to.size()), v);
        self.set_gpr(to, v);
        Next::Continue
    }

    /// MOV with a debug register.
    pub(super) fn mov_debug(&mut self) -> Next {
        if let Some(end) = self.privileged() {
            return end;
        }
        let write = self.insn.op0_register().is_dr();
        let number = if write { self.insn.op0_register() } else { self.insn.op1_register() }.number();
        let number = self.ir.imm64(number as u64);
        if write {
            let v = self.gpr(self.insn.op1_register());
            self.ir.call(helpers::WRITE_DEBUG, &[number, v]);
            return self.resync_next();
        }
        let v = self.ir.call(helpers::READ_DEBUG, &[number]);
        let to = self.insn.op0_register();
        let v = self.ir.trunc(ty_of(to.size()), v);
        self.set_gpr(to, v);
        Next::Continue
    }

    /// LGDT and LIDT: a limit of two bytes, a base of three, four or eight.
    pub(super) fn load_table(&mut self, interrupts: bool) -> Next {
        if let Some(end) = self.privileged() {
            return end;
        }
        let wide = self.is_64bit();
        let va = self.memory(if wide { 10 } else { 6 }, false);
        let mem = self.mem();
        let limit = self.ir.load(Ty::I16, va, mem);
        let at = self.ir.add_imm(Ty::I64, va, 2);
        let at = self.linear(at);
        let base = self.ir.load(if wide { Ty::I64 } else { Ty::I32 }, at, mem);
        let mut base = self.ir.zext(Ty::I64, base);
        if matches!(self.insn.code(), iced_x86::Code::Lgdt_m1632_16 | iced_x86::Code::Lidt_m1632_16) {
            base = self.ir.and_imm(Ty::I64, base, 0xff_ffff);
        }
        let which = self.ir.imm64(interrupts.into());
        self.ir.call(helpers::LOAD_TABLE, &[which, base, limit]);
        Next::Continue
    }

    /// SGDT and SIDT.
    pub(super) fn store_table(&mut self, interrupts: bool) -> Next {
        self.restricted();
        let wide = self.is_64bit();
        let va = self.memory(if wide { 10 } else { 6 }, true);
        let which = self.ir.imm64(interrupts.into());
        let limit_of = self.ir.imm64(1);
        let zero = self.ir.imm64(0);
        let base = self.ir.call(helpers::READ_TABLE, &[which, zero]);
        let limit = self.ir.call(helpers::READ_TABLE, &[which, limit_of]);
        let limit = self.ir.trunc(Ty::I16, limit);
        let mem = self.mem();
        self.ir.store(Ty::I16, va, limit, mem);
        let at = self.ir.add_imm(Ty::I64, va, 2);
        let at = self.linear(at);
        let ty = if wide { Ty::I64 } else { Ty::I32 };
        let base = self.ir.trunc(ty, base);
        self.ir.store(ty, at, base, mem);
        Next::Continue
    }

    /// Instructions that CR4.UMIP keeps from programs.
    fn restricted(&mut self) {
        if self.mode.user() != 0 {
            self.ir.call(helpers::CHECK_UMIP, &[]);
        }
    }

    /// SLDT, STR and SMSW.
    pub(super) fn store_system(&mut self, which: u64) -> Next {
        // SLDT and STR do not exist in real and virtual-8086 mode.
        if which < 2 && (self.mode.protected() == 0 || self.mode.v86() != 0) {
            return self.undefined();
        }
        self.restricted();
        let to = self.place(0);
        let ty = if self.is_memory(0) { Ty::I16 } else { self.ty(0) };
        let which = self.ir.imm64(which);
        let v = self.ir.call(helpers::READ_SYSTEM, &[which]);
        let v = self.ir.trunc(ty, v);
        self.store(to, ty, v);
        Next::Continue
    }

    /// LLDT and LTR (0, 1), LMSW (2).
    pub(super) fn load_system(&mut self, which: u64) -> Next {
        if which < 2 && (self.mode.protected() == 0 || self.mode.v86() != 0) {
            return self.undefined();
        }
        if let Some(end) = self.privileged() {
            return end;
        }
        let v = self.read_word();
        let which = self.ir.imm64(which);
        self.ir.call(helpers::WRITE_SYSTEM, &[which, v]);
        self.resync_next()
    }

    /// The first operand's 16 bits.
    fn read_word(&mut self) -> Val {
        let place = self.place(0);
        let v = match place {
            Place::Memory(va) => {
                let mem = self.mem();
                self.ir.load(Ty::I16, va, mem)
            }
            other => {
                let ty = self.ty(0);
                self.load(other, ty)
            }
        };
        let v = self.ir.trunc(Ty::I16, v);
        self.ir.zext(Ty::I64, v)
    }

    /// VERR and VERW: ZF.
    pub(super) fn verify(&mut self, write: bool) -> Next {
        if self.mode.protected() == 0 || self.mode.v86() != 0 {
            return self.undefined();
        }
        let selector = self.read_word();
        let write = self.ir.imm64(write.into());
        self.ir.call(helpers::VERIFY, &[selector, write]);
        self.flags_changed();
        Next::Continue
    }

    /// LAR and LSL: ZF, and the value if it is set.
    pub(super) fn segment_property(&mut self, limit: bool) -> Next {
        if self.mode.protected() == 0 || self.mode.v86() != 0 {
            return self.undefined();
        }
        let selector = match self.place(1) {
            Place::Memory(va) => {
                let mem = self.mem();
                self.ir.load(Ty::I16, va, mem)
            }
            other => {
                let ty = self.ty(0);
                self.load(other, ty)
            }
        };
        let selector = self.ir.trunc(Ty::I16, selector);
        let selector = self.ir.zext(Ty::I64, selector);
        let to = self.insn.op0_register();
        let ty = ty_of(to.size());
        let old = self.gpr(to);
        let limit = self.ir.imm64(limit.into());
        let v = self.ir.call(helpers::SEGMENT_PROPERTY, &[selector, limit, old]);
        self.flags_changed();
        let v = self.ir.trunc(ty, v);
        self.set_gpr(to, v);
        Next::Continue
    }

    /// ARPL.
    pub(super) fn arpl(&mut self) -> Next {
        if self.mode.protected() == 0 || self.mode.v86() != 0 {
            return self.undefined();
        }
        // The decoder names 32-bit registers where the operand size says so; 16 bits are used of them.
        let to = match self.place(0) {
            Place::Register(register) => Place::Register(iced_x86::Register::AX + register.number() as u32),
            place => place,
        };
        let from = self.read_as(1, Ty::I16);
        let from = self.ir.trunc(Ty::I16, from);
        let (old, new) = self.update(to, Ty::I16, |t, a| {
            let (own, other) = (t.ir.and_imm(Ty::I16, a, 3), t.ir.and_imm(Ty::I16, from, 3));
            let less = t.ir.cmp(tcg::ir::Cond::LtU, Ty::I16, own, other);
            let rest = t.ir.and_imm(Ty::I16, a, 0xfffc);
            let raised = t.ir.or(Ty::I16, rest, other);
            t.ir.select(Ty::I16, less, raised, a)
        });
        let changed = self.ir.cmp(tcg::ir::Cond::Ne, Ty::I16, old, new);
        self.ir.call(helpers::SET_ZF, &[changed]);
        self.flags_changed();
        self.finish(to, new);
        Next::Continue
    }

    /// CLI and STI, whose rights and shadow a helper sees to.
    pub(super) fn set_interrupts(&mut self, on: bool) -> Next {
        let argument = self.ir.imm64(on.into());
        self.ir.call(helpers::SET_INTERRUPTS, &[argument]);
        // What waits is only seen when it may come.
        if on { self.resync_next() } else { Next::Continue }
    }

    /// CLD and STD.
    pub(super) fn set_direction(&mut self, down: bool) -> Next {
        let flags = self.ir.get(EFLAGS);
        let rest = self.ir.and_imm(Ty::I64, flags, !flags::DF);
        let bit = self.ir.imm64(if down { flags::DF } else { 0 });
        let new = self.ir.or(Ty::I64, rest, bit);
        self.ir.set(EFLAGS, new);
        Next::Continue
    }

    /// STAC and CLAC.
    pub(super) fn set_access(&mut self, on: bool) -> Next {
        if self.mode.user() != 0 || self.mode.protected() == 0 {
            return self.undefined();
        }
        let on = self.ir.imm64(on.into());
        self.ir.call(helpers::SET_ACCESS, &[on]);
        self.resync_next()
    }

    /// RDMSR.
    pub(super) fn rdmsr(&mut self) -> Next {
        if let Some(end) = self.privileged() {
            return end;
        }
        let number = self.numbered(RCX, Ty::I32);
        let v = self.ir.call(helpers::READ_MSR, &[number]);
        self.set_pair(v);
        Next::Continue
    }

    /// WRMSR.
    pub(super) fn wrmsr(&mut self) -> Next {
        if let Some(end) = self.privileged() {
            return end;
        }
        let number = self.numbered(RCX, Ty::I32);
        let v = self.pair();
        self.ir.call(helpers::WRITE_MSR, &[number, v]);
        self.resync_next()
    }

    /// EDX:EAX from an `I64`.
    pub(super) fn set_pair(&mut self, v: Val) {
        let low = self.ir.trunc(Ty::I32, v);
        let high = self.ir.shift_imm(Binary::Shr, Ty::I64, v, 32);
        self.ir.set(gpr(RAX), low);
        self.ir.set(gpr(RDX), high);
    }

    /// EDX:EAX as an `I64`.
    pub(super) fn pair(&mut self) -> Val {
        let (low, high) = (self.numbered(RAX, Ty::I32), self.numbered(RDX, Ty::I32));
        let (low, high) = (self.ir.zext(Ty::I64, low), self.ir.zext(Ty::I64, high));
        let high = self.ir.shift_imm(Binary::Shl, Ty::I64, high, 32);
        self.ir.or(Ty::I64, low, high)
    }

    /// RDTSC and RDTSCP.
    pub(super) fn rdtsc(&mut self, with_aux: bool) -> Next {
        let v = self.ir.call(helpers::READ_TSC, &[]);
        if with_aux {
            let aux = self.ir.call(helpers::READ_TSC_AUX, &[]);
            self.ir.set(gpr(RCX), aux);
        }
        self.set_pair(v);
        Next::Continue
    }

    /// RDPMC: there are no counters that count.
    pub(super) fn rdpmc(&mut self) -> Next {
        self.ir.call(helpers::CHECK_RDPMC, &[]);
        let zero = self.ir.imm64(0);
        self.set_pair(zero);
        Next::Continue
    }

    /// RDPID.
    pub(super) fn rdpid(&mut self) -> Next {
        let aux = self.ir.call(helpers::READ_TSC_AUX, &[]);
        let to = self.insn.op0_register();
        let aux = self.ir.trunc(ty_of(to.size()), aux);
        self.set_gpr(to, aux);
        Next::Continue
    }

    /// CPUID.
    pub(super) fn cpuid(&mut self) -> Next {
        self.ir.call(helpers::CPUID, &[]);
        Next::Continue
    }

    /// RDRAND and RDSEED: CF says that there was randomness; there always is.
    pub(super) fn random(&mut self) -> Next {
        let v = self.ir.call(helpers::RANDOM, &[]);
        let zero = self.ir.imm(Ty::I8, 0);
        self.flags_of_logic(Ty::I8, zero);
        let zf = self.ir.imm(Ty::I8, 0);
        self.ir.call(helpers::SET_ZF_ONLY, &[zf]);
        let one = self.ir.imm(Ty::I8, 1);
        self.flags_changed();
        self.set_cf(one);
        let to = self.insn.op0_register();
        let v = self.ir.trunc(ty_of(to.size()), v);
        self.set_gpr(to, v);
        Next::Continue
    }

    /// IN.
    pub(super) fn in_port(&mut self) -> Next {
        let to = self.insn.op0_register();
        let (port, bytes) = (self.port(1), self.ir.imm64(to.size() as u64));
        let v = self.ir.call(helpers::IN, &[port, bytes]);
        let v = self.ir.trunc(ty_of(to.size()), v);
        self.set_gpr(to, v);
        Next::Continue
    }

    /// OUT. What it starts (a system-management interrupt, a reset) comes before the next instruction.
    pub(super) fn out_port(&mut self) -> Next {
        let from = self.insn.op1_register();
        let (port, v, bytes) = (self.port(0), self.gpr(from), self.ir.imm64(from.size() as u64));
        self.ir.call(helpers::OUT, &[port, bytes, v]);
        self.resync_next()
    }

    fn port(&mut self, n: u32) -> Val {
        let port = match self.insn.op_kind(n) {
            OpKind::Register => self.numbered(RDX, Ty::I16),
            _ => self.ir.imm(Ty::I16, self.insn.immediate8().into()),
        };
        self.ir.zext(Ty::I64, port)
    }

    /// HLT.
    pub(super) fn hlt(&mut self) -> Next {
        self.privileged_call(helpers::HALT)
    }

    /// INVLPG.
    pub(super) fn invlpg(&mut self) -> Next {
        if let Some(end) = self.privileged() {
            return end;
        }
        let offset = self.offset();
        let n = segment_number(self.insn.memory_segment());
        let va = if self.mode.class(n) == crate::mode::class::FLAT {
            offset
        } else {
            let base = self.ir.get(crate::state::base(n));
            let va = self.ir.add(Ty::I64, base, offset);
            self.linear(va)
        };
        self.ir.call(helpers::INVALIDATE_PAGE, &[va]);
        self.resync_next()
    }

    /// INVPCID.
    pub(super) fn invpcid(&mut self) -> Next {
        if let Some(end) = self.privileged() {
            return end;
        }
        let kind = self.gpr(self.insn.op0_register());
        let va = self.memory(16, false);
        let mem = self.mem();
        let pcid = self.ir.load(Ty::I64, va, mem);
        let at = self.ir.add_imm(Ty::I64, va, 8);
        let at = self.linear(at);
        let address = self.ir.load(Ty::I64, at, mem);
        self.ir.call(helpers::INVALIDATE_PCID, &[kind, pcid, address]);
        self.resync_next()
    }

    /// SWAPGS.
    pub(super) fn swapgs(&mut self) -> Next {
        if self.mode.user() != 0 {
            return self.raise(Exception::gp(0));
        }
        self.ir.call(helpers::CHECK_CPL0, &[]);
        self.ir.call(helpers::SWAPGS, &[]);
        Next::Continue
    }

    /// RDFSBASE, RDGSBASE, WRFSBASE and WRGSBASE.
    pub(super) fn segment_base(&mut self, n: usize, write: bool) -> Next {
        if !self.is_64bit() {
            return self.undefined();
        }
        self.ir.call(helpers::CHECK_FSGSBASE, &[]);
        let register = self.insn.op0_register();
        let ty = ty_of(register.size());
        if write {
            let v = self.gpr(register);
            let v = self.ir.zext(Ty::I64, v);
            self.ir.call(helpers::CHECK_CANONICAL, &[v]);
            self.ir.set(crate::state::base(n), v);
        } else {
            let v = self.ir.get(tcg::Slot(crate::state::base(n).0, ty));
            self.set_gpr(register, v);
        }
        Next::Continue
    }

    /// XGETBV and XSETBV.
    pub(super) fn extended_control(&mut self, write: bool) -> Next {
        let number = self.numbered(RCX, Ty::I32);
        if write {
            if let Some(end) = self.privileged() {
                return end;
            }
            let v = self.pair();
            self.ir.call(helpers::WRITE_XCR, &[number, v]);
            return self.resync_next();
        }
        let v = self.ir.call(helpers::READ_XCR, &[number]);
        self.set_pair(v);
        Next::Continue
    }

    /// Instructions about caches, and hints: they only check that memory is there, if at all.
    pub(super) fn cache_hint(&mut self, touches: bool) -> Next {
        if touches && self.insn.op_count() > 0 && self.is_memory(0) {
            let va = self.memory(1, false);
            let mem = self.mem();
            self.ir.load(Ty::I8, va, mem);
        }
        Next::Continue
    }

    /// MONITOR and MWAIT: #UD for programs; waiting is a halt that ends with the next interrupt, or at once.
    pub(super) fn monitor(&mut self, wait: bool) -> Next {
        if self.mode.user() != 0 {
            return self.undefined();
        }
        if wait { self.privileged_call(helpers::MWAIT) } else { Next::Continue }
    }

    /// PAUSE: the engine may look around.
    pub(super) fn pause(&mut self) -> Next {
        self.ir.call(helpers::GIVE_WAY, &[]);
        self.resync_next()
    }

    /// RSM.
    pub(super) fn rsm(&mut self) -> Next {
        self.ir.call(helpers::RSM, &[]);
        self.dispatch()
    }
}
