//! Processor models, and the identification registers that follow from what a model implements (Arm ARM DDI 0487,
//! D17.2, and the technical reference manuals of the processors).

use crate::features::{Feature, Features};
use Feature::*;
use vm::vcpu::AccelError;

/// A processor model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its `-cpu` name.
    pub name: &'static str,
    /// MIDR_EL1.
    pub midr: u64,
    /// Bits of a physical address: 40, 44 or 48.
    pub pa_bits: u32,
    /// Whether the 16 KiB granule is there; 4 and 64 KiB always are.
    pub granule_16k: bool,
    /// CTR_EL0.L1Ip: 2 virtually indexed, 3 physically indexed.
    pub l1ip: u64,
    /// Caches that CCSIDR_EL1 describes: level 1 data, level 1 instruction, level 2, as (KiB, ways).
    pub caches: [(u64, u64); 3],
    /// ID_AA64PFR0_EL1.CSV2 and CSV3: speculation cannot leak across contexts.
    pub no_speculation_leaks: bool,
    /// Optional features.
    pub features: Features,
}

const V8_0: &[Feature] = &[AES, CRC32, PMULL, PMUv3, SHA1, SHA256, ASID16];

/// All models.
pub static MODELS: &[Model] = &[
    Model {
        name: "cortex-a53",
        midr: 0x410f_d034,
        pa_bits: 40,
        granule_16k: false,
        l1ip: 2,
        caches: [(32, 4), (32, 2), (512, 16)],
        no_speculation_leaks: false,
        features: Features::of(V8_0),
    },
    Model {
        name: "cortex-a57",
        midr: 0x411f_d070,
        pa_bits: 44,
        granule_16k: false,
        l1ip: 3,
        caches: [(32, 2), (48, 3), (2048, 16)],
        no_speculation_leaks: false,
        features: Features::of(V8_0),
    },
    Model {
        name: "cortex-a72",
        midr: 0x410f_d083,
        pa_bits: 44,
        granule_16k: false,
        l1ip: 3,
        caches: [(32, 2), (48, 3), (1024, 16)],
        no_speculation_leaks: false,
        features: Features::of(V8_0),
    },
    Model {
        name: "max",
        // Implementer 0 is reserved for software; the part number is our own.
        midr: 0x000f_4d10,
        pa_bits: 48,
        granule_16k: true,
        l1ip: 3,
        caches: [(32, 4), (32, 4), (1024, 16)],
        no_speculation_leaks: true,
        features: Features::of(&[
            AES, BTI, CRC32, DIT, DPB, DotProd, E0PD, FCMA, FHM, FP16, FRINTTS, FlagM, FlagM2, HPDS, JSCVT, LOR, LRCPC,
            LRCPC2, LSE, PAN, PAN2, PAuth, PMULL, PMUv3, RAS, RDM, SB, SHA1, SHA256, SHA3, SHA512, SM3, SM4, SSBS,
            TTCNP, UAO, ASID16,
        ]),
    },
];

/// Flags that `-cpu` accepts, each with the features that it stands for.
static FLAGS: &[(&str, &[Feature])] = &[
    ("aes", &[AES, PMULL]),
    ("bti", &[BTI]),
    ("crc32", &[CRC32]),
    ("dit", &[DIT]),
    ("dotprod", &[DotProd]),
    ("fcma", &[FCMA]),
    ("fhm", &[FHM]),
    ("flagm", &[FlagM, FlagM2]),
    ("fp16", &[FP16]),
    ("jscvt", &[JSCVT]),
    ("lrcpc", &[LRCPC, LRCPC2]),
    ("lse", &[LSE]),
    ("pan", &[PAN, PAN2]),
    ("pauth", &[PAuth]),
    ("pmu", &[PMUv3]),
    ("ras", &[RAS]),
    ("rdm", &[RDM]),
    ("sb", &[SB]),
    ("sha1", &[SHA1]),
    ("sha2", &[SHA256, SHA512]),
    ("sha3", &[SHA3]),
    ("sm3", &[SM3]),
    ("sm4", &[SM4]),
    ("ssbs", &[SSBS]),
    ("uao", &[UAO]),
];

impl Model {
    /// The model that `-cpu` names: `model[,flag=on|off]…`.
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
            let (flag, on) = match part.split_once('=') {
                Some((flag, "on")) => (flag, true),
                Some((flag, "off")) => (flag, false),
                _ => return Err(bad_flag(part)),
            };
            let (_, features) = FLAGS.iter().find(|(name, _)| *name == flag).ok_or_else(|| bad_flag(part))?;
            for feature in *features {
                model.features = model.features.with(*feature, on);
            }
        }
        Ok(model)
    }

    /// Bits of a physical address.
    pub fn pa_bits(&self) -> u32 {
        self.pa_bits
    }

    /// Whether there are performance monitors.
    pub fn has_pmu(&self) -> bool {
        self.features.has(PMUv3)
    }

    fn bit(&self, feature: Feature) -> u64 {
        self.features.has(feature).into()
    }

    /// 2 with the second feature, 1 with the first, else 0.
    fn level(&self, first: Feature, second: Feature) -> u64 {
        if self.features.has(second) { 2 } else { self.bit(first) }
    }

    /// ID_AA64PFR0_EL1; `gic` says whether the GIC's system registers are there. EL2, EL3 and AArch32 are not.
    pub fn id_aa64pfr0(&self, gic: bool) -> u64 {
        let csv = u64::from(self.no_speculation_leaks);
        0x11 | self.bit(FP16) << 16
            | self.bit(FP16) << 20
            | u64::from(gic) << 24
            | self.bit(RAS) << 28
            | self.bit(DIT) << 48
            | csv << 56
            | csv << 60
    }
    pub fn id_aa64pfr1(&self) -> u64 {
        self.bit(BTI) | self.bit(SSBS) << 5
    }
    /// Armv8.0 debug with the fewest breakpoints and watchpoints allowed: two of each.
    pub fn id_aa64dfr0(&self) -> u64 {
        6 | self.bit(PMUv3) << 8 | 1 << 12 | 1 << 20
    }
    pub fn id_aa64isar0(&self) -> u64 {
        self.level(AES, PMULL) << 4
            | self.bit(SHA1) << 8
            | self.level(SHA256, SHA512) << 12
            | self.bit(CRC32) << 16
            | self.bit(LSE) << 21
            | self.bit(RDM) << 28
            | self.bit(SHA3) << 32
            | self.bit(SM3) << 36
            | self.bit(SM4) << 40
            | self.bit(DotProd) << 44
            | self.bit(FHM) << 48
            | self.level(FlagM, FlagM2) << 52
    }
    /// Pointer authentication is by the architected algorithm: APA and GPA.
    pub fn id_aa64isar1(&self) -> u64 {
        self.bit(DPB)
            | self.bit(PAuth) << 4
            | self.bit(JSCVT) << 12
            | self.bit(FCMA) << 16
            | self.level(LRCPC, LRCPC2) << 20
            | self.bit(PAuth) << 24
            | self.bit(FRINTTS) << 32
            | self.bit(SB) << 36
    }
    pub fn id_aa64mmfr0(&self) -> u64 {
        let pa_range = match self.pa_bits {
            40 => 2,
            44 => 4,
            _ => 5,
        };
        pa_range | self.bit(ASID16) << 5 | 1 << 8 | 1 << 12 | u64::from(self.granule_16k) << 20
    }
    pub fn id_aa64mmfr1(&self) -> u64 {
        let hafdbs = if self.features.has(HAFDBS) { 2 } else { 0 };
        hafdbs | self.bit(HPDS) << 12 | self.bit(LOR) << 16 | self.level(PAN, PAN2) << 20
    }
    pub fn id_aa64mmfr2(&self) -> u64 {
        self.bit(TTCNP) | self.bit(UAO) << 4 | self.bit(E0PD) << 60
    }
    /// CTR_EL0: lines, exclusives and write-back granules of 64 bytes; DIC and IDC clear.
    pub fn ctr_el0(&self) -> u64 {
        1 << 31 | 4 << 24 | 4 << 20 | 4 << 16 | self.l1ip << 14 | 4
    }
    /// CLIDR_EL1: separate caches at level 1, one at level 2, coherent from there on.
    pub fn clidr(&self) -> u64 {
        1 << 27 | 2 << 24 | 1 << 21 | 4 << 3 | 3
    }
    /// CCSIDR_EL1 for a value of CSSELR_EL1; zero for a cache that is not there.
    pub fn ccsidr(&self, csselr: u64) -> u64 {
        let (kib, ways) = match csselr & 0xf {
            0 => self.caches[0],
            1 => self.caches[1],
            2 => self.caches[2],
            _ => return 0,
        };
        let sets = kib * 1024 / 64 / ways;
        (sets - 1) << 13 | (ways - 1) << 3 | 2
    }
}

fn bad_flag(part: &str) -> AccelError {
    let known = FLAGS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    AccelError::Unsupported(format!("unknown CPU flag `{part}`; write `flag=on` or `flag=off` with one of: {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_flags() {
        assert_eq!(Model::parse("").unwrap().name, "max");
        assert!(Model::parse("max").unwrap().features.has(PAuth));
        let model = Model::parse("max,pauth=off,lse=off").unwrap();
        assert!(!model.features.has(PAuth) && !model.features.has(LSE) && model.features.has(BTI));
        assert_eq!((model.id_aa64isar1() >> 4 & 0xff, model.id_aa64isar0() >> 20 & 0xf), (0, 0));
        for (text, why) in [("z80", "unknown CPU model `z80`"), ("max,sve=on", "unknown CPU flag `sve=on`")] {
            assert!(Model::parse(text).unwrap_err().to_string().starts_with(why), "{text}");
        }
    }

    /// Cortex-A53 TRM (DDI 0500), Cortex-A57 TRM (DDI 0488), Cortex-A72 TRM (100095), "System register summary": where
    /// these differ from ours they say AArch32, EL2 and EL3, which we do not have.
    #[test]
    fn identification_of_the_cortex_models() {
        let rows = [
            ("cortex-a53", 0x1122, 0x0001_1120, 0x8444_8004, 0x700f_e01a),
            ("cortex-a57", 0x1124, 0x0001_1120, 0x8444_c004, 0x701f_e00a),
            ("cortex-a72", 0x1124, 0x0001_1120, 0x8444_c004, 0x701f_e00a),
        ];
        for (name, mmfr0, isar0, ctr, ccsidr) in rows {
            let m = Model::parse(name).unwrap();
            assert_eq!(
                (m.id_aa64mmfr0(), m.id_aa64isar0(), m.ctr_el0(), m.ccsidr(0)),
                (mmfr0, isar0, ctr, ccsidr & 0x0fff_ffff)
            );
            assert_eq!((m.id_aa64pfr0(false), m.id_aa64pfr0(true)), (0x11, 0x0100_0011));
        }
    }
}
