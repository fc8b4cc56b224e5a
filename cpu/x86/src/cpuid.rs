//! CPUID (SDM vol. 2A, "CPUID - CPU Identification"; APM vol. 3, appendix E).

use crate::control_regs::CR4_OSXSAVE;
use crate::model::{Feature, Vendor, Word};
use crate::msr::APIC_BASE_ENABLE;
use crate::state::Cpu;

/// EAX, EBX, ECX and EDX.
pub type Leaf = [u32; 4];

/// Size of the area that XSAVE needs for the components in `mask` (bits of XCR0).
fn xsave_size(mask: u64) -> u32 {
    if mask & 4 != 0 { 576 + 256 } else { 576 }
}

impl Cpu {
    /// What CPUID gives for a leaf and subleaf.
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        let model = &self.model;
        let leaf = match leaf {
            0x4000_0000..=0x4000_00ff | 0x8000_0000.. if leaf > model.extended_leaves && leaf >> 30 == 2 => {
                model.leaves
            }
            0..0x4000_0000 if leaf > model.leaves => model.leaves,
            other => other,
        };
        let word = |word: Word| model.features.word(word);
        let id = self.wires.id;
        match leaf {
            0 => {
                let text = model.vendor.text();
                let part = |n: usize| u32::from_le_bytes([text[n], text[n + 1], text[n + 2], text[n + 3]]);
                [model.leaves, part(0), part(8), part(4)]
            }
            1 => {
                let osxsave = if self.cr4 & CR4_OSXSAVE != 0 { 1 << 27 } else { 0 };
                let mut edx = word(Word::Leaf1Edx);
                if self.msr.apic_base & APIC_BASE_ENABLE == 0 {
                    edx &= !(1 << 9);
                }
                // CLFLUSH works on lines of 64 bytes: 8 in bits 15:8. One logical processor.
                [model.signature, id << 24 | 1 << 16 | 8 << 8, word(Word::Leaf1Ecx) | osxsave, edx]
            }
            // Descriptors of caches and TLBs: 64-byte lines, 32 KiB, as leaf 4 says.
            2 => [0x0000_0001, 0, 0, 0x002c_307d],
            4 if model.vendor == Vendor::Intel => match subleaf {
                // Data and instruction cache of 32 KiB in 8 ways, unified cache of 4 MiB in 16.
                0 => [0x0000_0121, 0x01c0_003f, 0x3f, 1],
                1 => [0x0000_0122, 0x01c0_003f, 0x3f, 1],
                2 => [0x0000_0143, 0x03c0_003f, 0xfff, 1],
                _ => [0; 4],
            },
            5 => [0, 0, 3, 0],
            6 => [word(Word::Leaf6Eax), 0, 0, 0],
            7 if subleaf == 0 => [0, word(Word::Leaf7Ebx), word(Word::Leaf7Ecx), word(Word::Leaf7Edx)],
            0xb => match subleaf {
                0 => [0, 1, 0x100, id],
                1 => [0, 1, 0x201, id],
                _ => [0, 0, subleaf & 0xff, id],
            },
            0xd => self.xsave_leaf(subleaf),
            0x8000_0000 => {
                let [_, ebx, ecx, edx] = self.cpuid(0, 0);
                [model.extended_leaves, ebx, ecx, edx]
            }
            0x8000_0001 => {
                let mut edx = word(Word::ExtendedEdx);
                if model.vendor == Vendor::Amd {
                    // These bits repeat those of leaf 1.
                    edx |= word(Word::Leaf1Edx) & 0x0183_f3ff;
                }
                // SYSCALL is reported in 64-bit code only on Intel's.
                if model.vendor == Vendor::Intel && !self.is_64bit() {
                    edx &= !(1 << 11);
                }
                [model.signature, 0, word(Word::ExtendedEcx), edx]
            }
            0x8000_0002..=0x8000_0004 => {
                let mut text = [0u8; 48];
                for (to, from) in text.iter_mut().zip(model.brand.bytes().take(47)) {
                    *to = from;
                }
                let at = (leaf - 0x8000_0002) as usize * 16;
                std::array::from_fn(|n| {
                    let n = at + 4 * n;
                    u32::from_le_bytes([text[n], text[n + 1], text[n + 2], text[n + 3]])
                })
            }
            // L1 and TLBs, L2 and L3: as leaf 4.
            0x8000_0005 if model.vendor == Vendor::Amd => [0x01ff_01ff, 0x01ff_01ff, 0x2002_0140, 0x2002_0140],
            0x8000_0006 => [0, 0x4200_4200, 0x0200_8140, 0],
            // The time-stamp counter runs at one rate.
            0x8000_0007 => [0, 0, 0, 1 << 8],
            0x8000_0008 => {
                let virtual_bits = if model.features.has(Feature::LA57) { 57 } else { 48 };
                [model.physical_bits | virtual_bits << 8, 0, 0, 0]
            }
            _ => [0; 4],
        }
    }

    fn xsave_leaf(&self, subleaf: u32) -> Leaf {
        let features = &self.model.features;
        if !features.has(Feature::XSAVE) {
            return [0; 4];
        }
        let components = self.model.xcr0_mask();
        match subleaf {
            0 => [components as u32, xsave_size(self.xcr0), xsave_size(components), 0],
            1 => [features.word(Word::XsaveEax), xsave_size(self.xcr0), 0, 0],
            // The upper halves of the YMM registers: 256 bytes at 576.
            2 if components & 4 != 0 => [256, 576, 0, 0],
            _ => [0; 4],
        }
    }
}

impl crate::model::Model {
    /// Bits that XCR0 can have: x87, SSE and with AVX its registers.
    pub fn xcr0_mask(&self) -> u64 {
        if self.features.has(Feature::AVX) { 7 } else { 3 }
    }
}
