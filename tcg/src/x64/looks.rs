//! Accesses of a trace to one page: fields of a structure, elements of an array, the stack. The first looks into the TLB for
//! the whole range, the others use what it found, as in regions (`cranelift/pages.rs`).
//!
//! What it found is in a host register: the distance from guest addresses to the host's, or 0 if each access has to look
//! for itself, because the range is not all in a page that the TLB knows. It becomes 0 when any access went by the slow path,
//! which may change what addresses mean. A trace may need the register for something else; the next access then looks anew.

use super::asm::Gpr;
use super::emit::{Part, find_pairs};
use super::registers::Bank;
use crate::frontend::Helper;
use crate::ir::{Binary, Op, Ty, Val};

/// Bytes that the accesses of a group span at most: the more, the more often a range crosses the end of its page.
const SPAN: i64 = 256;
/// Groups of a trace at most.
const MAX_GROUPS: usize = 1 << 10;

/// A value as another one and an offset from it.
type Place = (u32, i64);

/// The root of constants, which are offsets alone.
const CONSTANT: u32 = 0;

/// Accesses that share a look into the TLB.
#[derive(Clone, Copy)]
pub struct Group {
    root: u32,
    mmu: u8,
    /// The range, as offsets from the root.
    pub low: i64,
    pub high: i64,
    /// One of them is a store: the page must be writable, which includes readable.
    pub writes: bool,
    accesses: u32,
    /// Part and operation of the last one.
    pub last: (usize, usize),
}

/// The groups of a trace.
#[derive(Default)]
pub struct Looks {
    pub groups: Vec<Group>,
    /// Operations with their groups and offsets in these: part, operation, group, offset. In order.
    accesses: Vec<(usize, usize, usize, i64)>,
}

/// What a host register is said to hold that knows the distance for a group. Slots have even numbers.
pub fn name(group: usize) -> u16 {
    2 * group as u16 + 1
}

/// The registers that know such a distance, as bits.
pub fn in_use(gprs: &Bank) -> u16 {
    let knows = |r: &Gpr| gprs.slot(*r).is_some_and(|slot| slot % 2 == 1);
    gprs.named().filter(knows).fold(0, |all, r| all | 1 << r)
}

/// Values as places. What registers hold goes over from part to part.
#[derive(Default)]
struct Places {
    of: Vec<Place>,
    roots: u32,
    slots: Vec<(u16, Place)>,
}

impl Places {
    fn fresh(&mut self) -> Place {
        self.roots += 1;
        (self.roots, 0)
    }

    fn add(&mut self, op: &Op) {
        let of = |v: Val| self.of[v.0 as usize];
        let place = match *op {
            Op::Const(Ty::I64, value) => (CONSTANT, value as i64),
            Op::Get(slot) if slot.1 == Ty::I64 => match self.slots.iter().find(|(s, _)| *s == slot.0) {
                Some((_, place)) => *place,
                None => {
                    let fresh = self.fresh();
                    self.slots.push((slot.0, fresh));
                    fresh
                }
            },
            Op::Set(slot, v) => {
                let place = of(v);
                self.slots.retain(|(s, _)| *s != slot.0);
                if slot.1 == Ty::I64 {
                    self.slots.push((slot.0, place));
                }
                place
            }
            Op::Bin(Binary::Add, Ty::I64, a, b) => match (of(a), of(b)) {
                ((root, x), (CONSTANT, y)) | ((CONSTANT, y), (root, x)) => (root, x.wrapping_add(y)),
                _ => self.fresh(),
            },
            Op::Bin(Binary::Sub, Ty::I64, a, b) => match (of(a), of(b)) {
                ((root, x), (CONSTANT, y)) => (root, x.wrapping_sub(y)),
                _ => self.fresh(),
            },
            _ => self.fresh(),
        };
        self.of.push(place);
    }
}

impl Looks {
    /// Finds the accesses that share a page.
    pub fn find<F: crate::Frontend>(parts: &[Part<'_>], helpers: &[Helper<F>]) -> Looks {
        let mut looks = Looks::default();
        let mut places = Places::default();
        // Those before a barrier do not grow any more.
        let mut open = 0;
        let mut pairs: Vec<bool> = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let ir = part.ir;
            pairs.clear();
            pairs.resize(ir.ops.len(), false);
            find_pairs(ir, &mut pairs);
            places.of.clear();
            // The program counter is another one.
            places.slots.retain(|(slot, _)| *slot != F::PC.0);
            let mut second = usize::MAX;
            for (at, op) in ir.ops.iter().enumerate() {
                match *op {
                    Op::Load(ty, va, mem) | Op::Store(ty, va, _, mem) if at != second => {
                        let mut bytes = i64::from(ty.bytes());
                        if pairs[at] {
                            second = at + super::emit::PAIR;
                            bytes *= 2;
                        }
                        let (root, offset) = places.of[va.0 as usize];
                        let end = offset.wrapping_add(bytes);
                        if mem.align_log2 != 0 || mem.swap || root == CONSTANT || end < offset {
                            places.add(op);
                            continue;
                        }
                        let fits = |g: &Group| {
                            let span = g.high.max(end).checked_sub(g.low.min(offset));
                            g.root == root && g.mmu == mem.mmu && span.is_some_and(|span| span <= SPAN)
                        };
                        let found = (open..looks.groups.len()).find(|g| fits(&looks.groups[*g]));
                        let group = found.unwrap_or(looks.groups.len());
                        if found.is_none() {
                            if group == MAX_GROUPS {
                                return looks;
                            }
                            let new = Group {
                                root,
                                mmu: mem.mmu,
                                low: offset,
                                high: end,
                                writes: false,
                                accesses: 0,
                                last: (number, at),
                            };
                            looks.groups.push(new);
                        }
                        let g = &mut looks.groups[group];
                        (g.low, g.high) = (g.low.min(offset), g.high.max(end));
                        g.writes |= mem.modify || matches!(op, Op::Store(..));
                        g.accesses += 1;
                        g.last = (number, at);
                        looks.accesses.push((number, at, group, offset));
                    }
                    Op::Call(id, ..) | Op::CallV(id, ..) => {
                        let helper = &helpers[usize::from(id.0)];
                        // Arithmetic changes no translation.
                        if helper.host.is_none() && helper.function.is_none() {
                            open = looks.groups.len();
                        }
                        if helper.writes_slots {
                            places.slots.clear();
                        }
                    }
                    Op::Atomic(..) | Op::CmpXchg(..) | Op::Fence => open = looks.groups.len(),
                    _ => {}
                }
                places.add(op);
            }
        }
        looks
    }

    /// The group of an operation of a part, and its offset in that. Accesses that share their look with no other have none.
    pub fn of(&self, part: usize, at: usize) -> Option<(usize, i64)> {
        let found = self.accesses.binary_search_by_key(&(part, at), |access| (access.0, access.1)).ok()?;
        let (.., group, offset) = self.accesses[found];
        (self.groups[group].accesses > 1).then_some((group, offset))
    }
}
