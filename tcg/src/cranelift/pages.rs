//! Accesses of a block to one page: fields of a structure, elements of an array, the stack. The first looks into the TLB for
//! the whole range, the others use what it found.
//!
//! What it found is a variable: the distance from guest addresses to the host's, or 0 if each access has to look for
//! itself, because the range is not all in a page that the TLB knows. It becomes 0 when an access went by the slow path,
//! which may change what addresses mean (a device may put something else there); nothing else that a group spans can.

use super::lower::Lower;
use crate::frontend::Frontend;
use crate::ir::{Binary, Mem, Op, Ty, Val};
use crate::softmmu::Entry;
use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{Block, InstBuilder, Value};
use cranelift_frontend::Variable;
use std::collections::HashMap;
use std::mem::offset_of;
use vm::ram::PAGE_SIZE;

/// The mask of an address's page.
const PAGE: i64 = -(PAGE_SIZE as i64);
/// Bytes that the accesses of a group span at most: the more, the more often a range crosses the end of its page.
const SPAN: i64 = 256;

/// A value as another one and an offset from it.
type Place = (u32, i64);

/// The root of constants, which are offsets alone.
const CONSTANT: u32 = 0;
/// The root of the block's address.
const BLOCK: u32 = 1;

/// Accesses that share a look into the TLB.
struct Group {
    root: u32,
    mmu: u8,
    /// The range, as offsets from the root.
    low: i64,
    high: i64,
    /// One of them is a store: the page must be writable, which includes readable.
    writes: bool,
    /// Operations, in order, and their offsets.
    accesses: Vec<(usize, i64)>,
    /// The distance, once there is one, with the address of the first access and its offset.
    found: Option<(Variable, Value, i64)>,
}

/// The groups of a block.
#[derive(Default)]
pub(super) struct Pages {
    groups: Vec<Group>,
    /// The group and offset of an operation.
    of: HashMap<usize, (usize, i64)>,
    /// Where values are.
    places: Vec<Place>,
}

/// Values by what they are computed of, so that equal addresses are seen to be.
#[derive(Default)]
struct Places {
    of: Vec<Place>,
    roots: u32,
    known: HashMap<(u8, u8, Place, Place), u32>,
    registers: HashMap<u16, Place>,
    /// The block's offset in its page.
    offset: i64,
}

impl Places {
    fn fresh(&mut self) -> Place {
        self.roots += 1;
        (self.roots, 0)
    }

    fn same(&mut self, kind: u8, ty: Ty, a: Place, b: Place) -> Place {
        let next = self.roots + 1;
        let root = *self.known.entry((kind, ty.bits() as u8, a, b)).or_insert(next);
        self.roots = self.roots.max(root);
        (root, 0)
    }

    fn add(&mut self, op: &Op) {
        let of = |v: Val| self.of[v.0 as usize];
        let place = match *op {
            Op::Const(Ty::I64, value) => (CONSTANT, value as i64),
            Op::Const(ty, value) => self.same(0, ty, (CONSTANT, value as i64), (CONSTANT, 0)),
            Op::Get(slot) => {
                let whole = match self.registers.get(&slot.0) {
                    Some(place) => *place,
                    None => {
                        let fresh = self.fresh();
                        self.registers.insert(slot.0, fresh);
                        fresh
                    }
                };
                if slot.1 == Ty::I64 { whole } else { self.same(1, slot.1, whole, (CONSTANT, 0)) }
            }
            Op::Set(slot, v) => {
                let place = of(v);
                let place = if slot.1 == Ty::I64 { place } else { self.fresh() };
                self.registers.insert(slot.0, place);
                place
            }
            Op::Bin(op @ (Binary::Add | Binary::Sub), Ty::I64, a, b) => match (op, of(a), of(b)) {
                (Binary::Add, (root, x), (CONSTANT, y)) | (Binary::Add, (CONSTANT, x), (root, y)) => {
                    (root, x.wrapping_add(y))
                }
                (Binary::Sub, (root, x), (CONSTANT, y)) => (root, x.wrapping_sub(y)),
                (op, a, b) => self.same(2 + op as u8, Ty::I64, a, b),
            },
            Op::Bin(op, ty, a, b) => {
                let (a, b) = (of(a), of(b));
                if let (Binary::And, (BLOCK, distance), (CONSTANT, PAGE)) = (op, a, b) {
                    let page = self.offset.wrapping_add(distance) & PAGE;
                    self.of.push((BLOCK, page.wrapping_sub(self.offset)));
                    return;
                }
                self.same(2 + op as u8, ty, a, b)
            }
            Op::Zext(ty, a) | Op::Sext(ty, a) | Op::Trunc(ty, a) => {
                let kind = match op {
                    Op::Zext(..) => 100,
                    Op::Sext(..) => 101,
                    _ => 102,
                };
                let a = of(a);
                self.same(kind, ty, a, (CONSTANT, 0))
            }
            _ => self.fresh(),
        };
        self.of.push(place);
    }
}

impl<F: Frontend> Lower<'_, '_, F> {
    /// Finds the accesses of the present block that share a page.
    pub(super) fn find_pages(&mut self) {
        let offset = (self.member.block.key.gpa.0 % PAGE_SIZE) as i64;
        let registers = HashMap::from([(F::PC.0, (BLOCK, 0))]);
        let mut places = Places { roots: BLOCK, registers, offset, ..Places::default() };
        let mut groups: Vec<Group> = Vec::new();
        // Those before a barrier do not grow any more.
        let mut open = 0;
        let mut seconds: Vec<usize> = Vec::new();
        for (at, op) in self.ops.iter().enumerate() {
            match *op {
                Op::Load(ty, va, mem) | Op::Store(ty, va, _, mem) => {
                    if let Some(second) = self.partner(at).filter(|_| !seconds.contains(&at)) {
                        seconds.push(second);
                    }
                    let (root, offset) = places.of[va.0 as usize];
                    let writes = mem.modify || matches!(op, Op::Store(..));
                    if mem.align_log2 == 0 && !mem.swap && root != CONSTANT {
                        let end = offset.wrapping_add(i64::from(ty.bytes()));
                        let fits = |g: &&mut Group| {
                            let span = g.high.max(end).checked_sub(g.low.min(offset));
                            g.root == root && g.mmu == mem.mmu && span.is_some_and(|span| span <= SPAN) && offset < end
                        };
                        match groups[open..].iter_mut().find(fits) {
                            Some(group) => {
                                group.accesses.push((at, offset));
                                group.writes |= writes;
                                (group.low, group.high) = (group.low.min(offset), group.high.max(end));
                            }
                            None => groups.push(Group {
                                root,
                                mmu: mem.mmu,
                                low: offset,
                                high: end,
                                writes,
                                accesses: vec![(at, offset)],
                                found: None,
                            }),
                        }
                    }
                }
                Op::Call(id, ..) | Op::CallV(id, ..) => {
                    let helper = &self.shared.helpers[usize::from(id.0)];
                    // Arithmetic changes no translation.
                    if helper.host.is_none() && helper.function.is_none() {
                        open = groups.len();
                    }
                    if helper.writes_slots {
                        places.registers.clear();
                    }
                }
                Op::Atomic(..) | Op::CmpXchg(..) | Op::Fence => open = groups.len(),
                _ => {}
            }
            places.add(op);
        }
        groups.retain(|group| group.accesses.iter().filter(|(at, _)| !seconds.contains(at)).count() > 1);
        let of = groups.iter().enumerate().flat_map(|(n, g)| g.accesses.iter().map(move |(at, off)| (*at, (n, *off))));
        self.pages.of = of.collect();
        self.pages.groups = groups;
        self.pages.places = places.of;
    }

    /// Operation `at` if it gives the page of an address near the block, which lies at a fixed distance from the block.
    pub(super) fn page_of_block(&mut self, at: usize) -> Option<Value> {
        // A recipe has values of its own.
        let own = std::ptr::eq(self.ops, self.member.ir.ops.as_slice());
        if !own || !matches!(self.ops[at], Op::Bin(Binary::And, ..)) {
            return None;
        }
        match self.pages.places.get(at) {
            Some((BLOCK, distance)) => {
                let distance = distance.wrapping_add(self.member.distance);
                let base = self.b.use_var(self.base_pc);
                Some(self.b.ins().iadd_imm_s(base, distance))
            }
            _ => None,
        }
    }

    /// A host address and the offset from it for the access that is operation `at`, if it is in a group; and a cold block,
    /// not entered yet, for the case that it has to look for itself.
    pub(super) fn shared_page(&mut self, at: usize, va: Value, mem: Mem) -> Option<(Value, i32, Block)> {
        let &(group, offset) = self.pages.of.get(&at)?;
        let Group { low, high, writes, found, .. } = self.pages.groups[group];
        if let Some((variable, first, from)) = found {
            let distance = self.b.use_var(variable);
            let (hit, miss) = (self.b.create_block(), self.cold_block());
            self.b.ins().brif(distance, hit, &[], miss, &[]);
            self.enter(hit);
            let host = self.b.ins().iadd(first, distance);
            return Some((host, offset.wrapping_sub(from) as i32, miss));
        }
        let variable = self.b.declare_var(I64);
        self.pages.groups[group].found = Some((variable, va, offset));
        let zero = self.imm(0);
        self.b.def_var(variable, zero);
        let start = if low == offset { va } else { self.b.ins().iadd_imm_s(va, low.wrapping_sub(offset)) };
        let tag = if writes { offset_of!(Entry, write) } else { offset_of!(Entry, read) };
        let (found, miss) = self.look_up(start, (high - low) as u64, mem, tag);
        self.b.def_var(variable, found);
        Some((self.b.ins().iadd(va, found), 0, miss))
    }

    /// After the slow path of operation `at`: the groups around it look anew.
    pub(super) fn forget_pages(&mut self, at: usize) {
        let later = |group: &Group| group.accesses.last().is_some_and(|(last, _)| *last > at);
        let alive: Vec<Variable> =
            self.pages.groups.iter().filter(|g| later(g)).filter_map(|g| Some(g.found?.0)).collect();
        for variable in alive {
            let zero = self.imm(0);
            self.b.def_var(variable, zero);
        }
    }
}
