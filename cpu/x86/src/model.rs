//! Processor models: a row for each, with the features that CPUID reports and instructions depend on.

use vm::vcpu::AccelError;

macro_rules! features {
    ($($word:ident: $($name:ident = $bit:literal $flag:literal),* $(,)?;)*) => {
        /// A feature, as a bit of one of the words that CPUID gives: the word's number times 32, plus the bit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub struct Feature(u16);

        impl Feature {
            $($(
                #[doc = concat!("`", $flag, "`")]
                pub const $name: Feature = Feature((Word::$word as u16) * 32 + $bit);
            )*)*
        }

        /// Every feature by the name that `-cpu` has for it.
        pub static FLAGS: &[(&str, Feature)] = &[$($(($flag, Feature::$name)),*),*];
    };
}

/// Words of features that CPUID gives: leaf, subleaf, register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Leaf1Edx,
    Leaf1Ecx,
    Leaf7Ebx,
    Leaf7Ecx,
    Leaf7Edx,
    ExtendedEdx,
    ExtendedEcx,
    XsaveEax,
    Leaf6Eax,
}
/// Number of words.
const WORDS: usize = 9;

features! {
    Leaf1Edx:
        FPU = 0 "fpu", VME = 1 "vme", DE = 2 "de", PSE = 3 "pse", TSC = 4 "tsc", MSR = 5 "msr", PAE = 6 "pae",
        MCE = 7 "mce", CX8 = 8 "cx8", APIC = 9 "apic", SEP = 11 "sep", MTRR = 12 "mtrr", PGE = 13 "pge", MCA = 14 "mca",
        CMOV = 15 "cmov", PAT = 16 "pat", PSE36 = 17 "pse36", CLFLUSH = 19 "clflush", MMX = 23 "mmx", FXSR = 24 "fxsr",
        SSE = 25 "sse", SSE2 = 26 "sse2";
    Leaf1Ecx:
        SSE3 = 0 "sse3", PCLMULQDQ = 1 "pclmulqdq", MONITOR = 3 "monitor", SSSE3 = 9 "ssse3", FMA = 12 "fma",
        CX16 = 13 "cx16", PCID = 17 "pcid", SSE4_1 = 19 "sse4.1", SSE4_2 = 20 "sse4.2", X2APIC = 21 "x2apic",
        MOVBE = 22 "movbe", POPCNT = 23 "popcnt", TSC_DEADLINE = 24 "tsc-deadline", AES = 25 "aes", XSAVE = 26 "xsave",
        AVX = 28 "avx", F16C = 29 "f16c", RDRAND = 30 "rdrand", HYPERVISOR = 31 "hypervisor";
    Leaf7Ebx:
        FSGSBASE = 0 "fsgsbase", BMI1 = 3 "bmi1", AVX2 = 5 "avx2", SMEP = 7 "smep", BMI2 = 8 "bmi2", ERMS = 9 "erms",
        INVPCID = 10 "invpcid", RDSEED = 18 "rdseed", ADX = 19 "adx", SMAP = 20 "smap", CLFLUSHOPT = 23 "clflushopt",
        CLWB = 24 "clwb", SHA_NI = 29 "sha-ni";
    Leaf7Ecx:
        UMIP = 2 "umip", LA57 = 16 "la57", RDPID = 22 "rdpid";
    Leaf7Edx:
        FSRM = 4 "fsrm", ARCH_CAPABILITIES = 29 "arch-capabilities";
    ExtendedEdx:
        SYSCALL = 11 "syscall", NX = 20 "nx", PDPE1GB = 26 "pdpe1gb", RDTSCP = 27 "rdtscp", LM = 29 "lm",
        MMXEXT = 22 "mmxext";
    ExtendedEcx:
        LAHF_LM = 0 "lahf-lm", CR8LEGACY = 4 "cr8legacy", ABM = 5 "abm", SSE4A = 6 "sse4a", PREFETCHW = 8 "3dnowprefetch";
    XsaveEax:
        XSAVEOPT = 0 "xsaveopt", XSAVEC = 1 "xsavec", XGETBV1 = 2 "xgetbv1";
    Leaf6Eax:
        ARAT = 2 "arat";
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features([u32; WORDS]);

impl Features {
    pub const fn has(&self, feature: Feature) -> bool {
        self.0[(feature.0 / 32) as usize] >> (feature.0 % 32) & 1 != 0
    }
    #[must_use]
    pub const fn with(mut self, feature: Feature, on: bool) -> Features {
        let bit = 1 << (feature.0 % 32);
        let word = &mut self.0[(feature.0 / 32) as usize];
        *word = if on { *word | bit } else { *word & !bit };
        self
    }
    const fn with_all(mut self, features: &[Feature]) -> Features {
        let mut n = 0;
        while n < features.len() {
            self = self.with(features[n], true);
            n += 1;
        }
        self
    }
    /// One of CPUID's words.
    pub const fn word(&self, word: Word) -> u32 {
        self.0[word as usize]
    }
}

/// Who made a processor, as leaf 0 says it in EBX, EDX and ECX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    Intel,
    Amd,
}

impl Vendor {
    /// The twelve characters.
    pub const fn text(self) -> &'static [u8; 12] {
        match self {
            Vendor::Intel => b"GenuineIntel",
            Vendor::Amd => b"AuthenticAMD",
        }
    }
}

/// A processor model.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub name: &'static str,
    pub vendor: Vendor,
    /// Family, model and stepping, as EAX of leaf 1 and EDX after reset have them.
    pub signature: u32,
    /// What the leaves 0x80000002 to 4 say, up to 47 characters.
    pub brand: &'static str,
    /// The greatest basic leaf of CPUID; 0 if there is no CPUID.
    pub leaves: u32,
    /// The greatest extended leaf, 0 for none.
    pub extended_leaves: u32,
    /// Bits of a physical address.
    pub physical_bits: u32,
    pub features: Features,
}

/// EAX of leaf 1.
const fn signature(family: u32, model: u32, stepping: u32) -> u32 {
    let (base, extended) = if family > 15 { (15, family - 15) } else { (family, 0) };
    extended << 20 | (model >> 4) << 16 | base << 8 | (model & 15) << 4 | stepping
}

use Feature as F;
const PENTIUM3: Features = Features([0; WORDS]).with_all(&[
    F::FPU,
    F::VME,
    F::DE,
    F::PSE,
    F::TSC,
    F::MSR,
    F::PAE,
    F::MCE,
    F::CX8,
    F::APIC,
    F::SEP,
    F::MTRR,
    F::PGE,
    F::MCA,
    F::CMOV,
    F::PAT,
    F::PSE36,
    F::MMX,
    F::FXSR,
    F::SSE,
]);
const X86_64: Features = PENTIUM3.with_all(&[
    F::CLFLUSH,
    F::SSE2,
    F::SSE3,
    F::CX16,
    F::SYSCALL,
    F::NX,
    F::LM,
    F::LAHF_LM,
    F::HYPERVISOR,
    F::ARAT,
]);
const NEHALEM: Features =
    X86_64.with_all(&[F::SSSE3, F::SSE4_1, F::SSE4_2, F::POPCNT, F::RDTSCP, F::X2APIC, F::TSC_DEADLINE]);
const HASWELL: Features = NEHALEM.with_all(&[
    F::PCLMULQDQ,
    F::FMA,
    F::PCID,
    F::MOVBE,
    F::AES,
    F::XSAVE,
    F::AVX,
    F::F16C,
    F::RDRAND,
    F::FSGSBASE,
    F::BMI1,
    F::AVX2,
    F::SMEP,
    F::BMI2,
    F::ERMS,
    F::INVPCID,
    F::ABM,
    F::XSAVEOPT,
]);
const MAX: Features = HASWELL.with_all(&[
    F::RDSEED,
    F::ADX,
    F::SMAP,
    F::CLFLUSHOPT,
    F::CLWB,
    F::SHA_NI,
    F::UMIP,
    F::LA57,
    F::RDPID,
    F::PDPE1GB,
    F::PREFETCHW,
    F::XSAVEC,
    F::XGETBV1,
    F::FSRM,
    F::ARCH_CAPABILITIES,
    F::CR8LEGACY,
]);

/// Every model, the default last.
pub static MODELS: &[Model] = &[
    Model {
        name: "486",
        vendor: Vendor::Intel,
        signature: signature(4, 8, 0),
        brand: "",
        leaves: 1,
        extended_leaves: 0,
        physical_bits: 32,
        features: Features([0; WORDS]).with_all(&[F::FPU, F::VME, F::PSE]),
    },
    Model {
        name: "pentium3",
        vendor: Vendor::Intel,
        signature: signature(6, 8, 3),
        brand: "",
        leaves: 3,
        extended_leaves: 0,
        physical_bits: 36,
        features: PENTIUM3,
    },
    Model {
        name: "qemu64",
        vendor: Vendor::Amd,
        signature: signature(15, 107, 1),
        brand: "Mimic Virtual CPU",
        leaves: 0xd,
        extended_leaves: 0x8000_000a,
        physical_bits: 40,
        features: X86_64,
    },
    Model {
        name: "Nehalem",
        vendor: Vendor::Intel,
        signature: signature(6, 26, 3),
        brand: "Intel Core i7 9xx (Nehalem Class Core i7)",
        leaves: 11,
        extended_leaves: 0x8000_0008,
        physical_bits: 40,
        features: NEHALEM,
    },
    Model {
        name: "Haswell",
        vendor: Vendor::Intel,
        signature: signature(6, 60, 4),
        brand: "Intel Core Processor (Haswell)",
        leaves: 13,
        extended_leaves: 0x8000_0008,
        physical_bits: 40,
        features: HASWELL,
    },
    Model {
        name: "max",
        vendor: Vendor::Amd,
        signature: signature(15, 107, 1),
        brand: "Mimic Virtual CPU",
        leaves: 0xd,
        extended_leaves: 0x8000_000a,
        physical_bits: 40,
        features: MAX,
    },
];

fn bad_flag(part: &str) -> AccelError {
    let known: Vec<&str> = FLAGS.iter().map(|(name, _)| *name).collect();
    AccelError::Unsupported(format!(
        "`{part}` is no flag of the CPU; write `+flag`, `-flag`, `flag=on` or `flag=off`, with one of: {}",
        known.join(", ")
    ))
}

impl Model {
    /// The model that `-cpu` names: `model[,+flag|,-flag|,flag=on|off]…`.
    ///
    /// # Errors
    /// [`AccelError::UnknownModel`], or [`AccelError::Unsupported`] for a flag that does not exist.
    pub fn parse(text: &str) -> Result<Model, AccelError> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let found = MODELS.iter().find(|m| m.name == name || name.is_empty() && m.name == "max");
        let mut model = *found.ok_or_else(|| AccelError::UnknownModel {
            name: name.into(),
            known: MODELS.iter().map(|m| m.name).collect::<Vec<_>>().join(", "),
        })?;
        for part in parts {
            let (flag, on) = match (part.split_at_checked(1), part.split_once('=')) {
                (Some(("+", flag)), _) => (flag, true),
                (Some(("-", flag)), _) => (flag, false),
                (_, Some((flag, "on"))) => (flag, true),
                (_, Some((flag, "off"))) => (flag, false),
                _ => return Err(bad_flag(part)),
            };
            let wanted = flag.replace('_', "-");
            let (_, feature) = FLAGS.iter().find(|(name, _)| *name == wanted).ok_or_else(|| bad_flag(part))?;
            model.features = model.features.with(*feature, on);
        }
        Ok(model)
    }

    /// The bits that a physical address can have, as a mask.
    pub fn address_mask(&self) -> u64 {
        (1 << self.physical_bits) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_flags_are_found_by_name() {
        let max = Model::parse("").unwrap();
        assert_eq!(max.name, "max");
        assert!(max.features.has(F::AVX2) && !Model::parse("Nehalem").unwrap().features.has(F::AVX));
        let model = Model::parse("qemu64,+ssse3,-sse3,tsc_deadline=on").unwrap();
        assert!(model.features.has(F::SSSE3) && !model.features.has(F::SSE3) && model.features.has(F::TSC_DEADLINE));
        assert!(matches!(Model::parse("z80"), Err(AccelError::UnknownModel { .. })));
        assert!(Model::parse("max,+nothing").unwrap_err().to_string().contains("sse4.1"));
        assert!(Model::parse("max,").is_err());
        assert_eq!(signature(6, 60, 4), 0x306c4);
    }
}
