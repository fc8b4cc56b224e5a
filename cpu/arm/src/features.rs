//! The optional features that a CPU model may have.

/// A feature of the architecture (Arm ARM DDI 0487, A2 "Armv8-A Architecture Extensions"), without its `FEAT_` prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::upper_case_acronyms)]
#[repr(u8)]
pub enum Feature {
    AES,
    BTI,
    CRC32,
    DIT,
    DPB,
    DotProd,
    E0PD,
    FCMA,
    FHM,
    FP16,
    FRINTTS,
    FlagM,
    FlagM2,
    HAFDBS,
    HPDS,
    JSCVT,
    LOR,
    LRCPC,
    LRCPC2,
    LSE,
    PAN,
    PAN2,
    PAuth,
    PMULL,
    PMUv3,
    RAS,
    RDM,
    SB,
    SHA1,
    SHA256,
    SHA3,
    SHA512,
    SM3,
    SM4,
    SSBS,
    TTCNP,
    UAO,
    VMID16,
    ASID16,
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Features(u64);

impl Features {
    /// The set of these features.
    pub const fn of(features: &[Feature]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < features.len() {
            bits |= 1 << features[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// Whether the feature is there.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 >> feature as u8 & 1 != 0
    }

    /// This set with a feature added or taken away.
    pub const fn with(self, feature: Feature, on: bool) -> Self {
        let bit = 1 << feature as u8;
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}
