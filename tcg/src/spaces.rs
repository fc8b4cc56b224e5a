//! What the jump cache and the table of code pages know address spaces by.
//!
//! Each space gets a number when code runs in it first, and another one when its translations are flushed; that is cheaper
//! than to search for them. Operating systems that unmap themselves from user programs have one copy of their mappings for
//! each address space, all alike, because they come from the same tables. Such spaces form a group with one number: a space
//! joins when it needs a number, after every page of code that the group knows has been walked for it with the same result.
//! What one of them finds later holds for all, for the tables are the same; a flush of one space gives it a new number and
//! takes nothing from the others.

use crate::cache::KeyHasher;
use crate::env::{Env, tag_of};
use crate::exec::Shared;
use crate::frontend::{Frontend, Key};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use vm::vcpu::Intent;
use vm::{Gpa, Gva};

/// Address spaces that keys may name are below this.
const SPACES: usize = 1 << 17;
/// Groups at a time.
const GROUPS: usize = 4;
/// Pages of code beyond which a group is given up, for to join it costs more than it saves; and spaces that join before it
/// is begun anew, with the pages that are needed then.
const GROUP_PAGES: usize = 1024;
const GROUP_MEMBERS: usize = 64;

/// Address spaces with one number.
struct Group {
    number: u32,
    /// Names the tables that they have in common.
    root: u64,
    /// The pages that code was fetched from: physical address and mode bits by virtual address.
    pages: HashMap<u64, (Gpa, u64), BuildHasherDefault<KeyHasher>>,
    members: Vec<u32>,
}

/// All numbers.
pub(crate) struct Spaces {
    /// By space; 0 means none yet.
    numbers: Box<[u32]>,
    last: u32,
    groups: Vec<Group>,
}

impl Spaces {
    pub fn new() -> Spaces {
        Spaces { numbers: vec![0; SPACES].into_boxed_slice(), last: 0, groups: Vec::new() }
    }

    fn group(&self, number: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.number == number)
    }

    /// Notes a page that code was fetched from.
    pub fn add_page(&mut self, number: u32, page: u64, gpa: Gpa, code_mode: u64) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.number == number) {
            group.pages.insert(page, (gpa, code_mode));
        }
    }

    /// The jump cache and the table of code pages know nothing of a page any more.
    pub fn forget_page(&mut self, va: u64) {
        for group in &mut self.groups {
            group.pages.remove(&(va & !0xfff));
        }
    }

    /// The same for all pages.
    pub fn forget_pages(&mut self) {
        for group in &mut self.groups {
            group.pages.clear();
        }
    }

    /// Ends a group: its members get numbers of their own.
    fn dissolve(&mut self, group: Group) {
        for space in group.members {
            let number = &mut self.numbers[space as usize];
            if *number == group.number {
                *number = 0;
            }
        }
    }
}

impl<F: Frontend> Env<F> {
    /// What the block at the program counter is found by, with the number of its space.
    pub(crate) fn key_now(&mut self, shared: &Shared<F>) -> Key {
        let key = shared.frontend.key(&self.cpu);
        Key { space: self.space_number(shared, key), ..key }
    }

    fn space_number(&mut self, shared: &Shared<F>, key: Key) -> u32 {
        if key.space == 0 {
            return 0;
        }
        let number = self.spaces.numbers.get(key.space as usize).copied().unwrap_or(0);
        let fits =
            || self.spaces.group(number).is_none_or(|g| shared.frontend.code_root(&self.cpu, key.pc) == Some(g.root));
        if number != 0 && fits() {
            return number;
        }
        let root = shared.frontend.code_root(&self.cpu, key.pc).filter(|_| number == 0);
        let joined = root.and_then(|root| self.join(shared, root));
        let number = joined.unwrap_or_else(|| self.new_space_number());
        if let Some(place) = self.spaces.numbers.get_mut(key.space as usize) {
            *place = number;
            if let Some(root) = root {
                self.enlist(number, root, key.space);
            }
        }
        number
    }

    /// The number of the group with these tables if all pages of code that it knows are the same now.
    fn join(&mut self, shared: &Shared<F>, root: u64) -> Option<u32> {
        let at = self.spaces.groups.iter().position(|group| group.root == root)?;
        let group = self.spaces.groups.swap_remove(at);
        let small = group.pages.len() <= GROUP_PAGES && group.members.len() <= GROUP_MEMBERS;
        let regime = shared.frontend.fetch_regime(&self.cpu);
        self.tlb.walks += if small { group.pages.len() as u64 } else { 0 };
        let same = small
            && group.pages.iter().all(|(page, known)| {
                let found = shared.frontend.walk(self, Gva(*page), Intent::Fetch, regime);
                found.is_ok_and(|found| (found.gpa, found.code_mode) == *known)
            });
        if !same {
            self.spaces.dissolve(group);
            return None;
        }
        let number = group.number;
        self.spaces.groups.push(group);
        Some(number)
    }

    /// Makes a space a member of the group with its number, which may be new.
    fn enlist(&mut self, number: u32, root: u64, space: u32) {
        if let Some(group) = self.spaces.groups.iter_mut().find(|group| group.number == number) {
            group.members.push(space);
            return;
        }
        if self.spaces.groups.len() >= GROUPS {
            let oldest = self.spaces.groups.remove(0);
            self.spaces.dissolve(oldest);
        }
        self.spaces.groups.push(Group { number, root, pages: HashMap::default(), members: vec![space] });
    }

    /// The number for code at `pc` when the running code has `number`: the same unless that belongs to a group and the code
    /// does not come from its tables. The space leaves the group then.
    pub(crate) fn number_at(&mut self, number: u32, pc: Gva) -> u32 {
        let Some(group) = self.spaces.group(number) else { return number };
        let frontend = &self.shared.frontend;
        if frontend.code_root(&self.cpu, pc) == Some(group.root) {
            return number;
        }
        let space = frontend.key(&self.cpu).space;
        let number = self.new_space_number();
        if let Some(place) = self.spaces.numbers.get_mut(space as usize) {
            *place = number;
        }
        self.tag = tag_of(self.tag & u64::from(u32::MAX), number);
        number
    }

    fn new_space_number(&mut self) -> u32 {
        // The highest number means no space.
        if self.spaces.last == u32::MAX - 1 {
            self.clear_jumps();
            self.tlb.forget_code();
            self.spaces = Spaces::new();
        }
        self.spaces.last += 1;
        self.spaces.last
    }

    /// Forgets the blocks and code pages of one address space, which gets another number when it is used again.
    pub(crate) fn renumber_space(&mut self, space: u32) {
        let Some(place) = self.spaces.numbers.get_mut(space as usize) else { return };
        let old = std::mem::take(place);
        if old != 0 && (self.tag >> 32) as u32 == old {
            self.tag = tag_of(self.tag & u64::from(u32::MAX), u32::MAX);
        }
    }
}
