//! What counts as a difference.

use crate::generate;
use crate::wire::*;
use arm::a64::decode::row_of;

/// A difference that is not Mimic's fault, and why.
pub struct Known {
    /// Row of the first or second instruction, `*` for any.
    pub row: &'static str,
    /// Why the results differ.
    pub why: &'static str,
    /// Whether this case is one of them.
    pub applies: fn(&Case, word: u32, theirs: &Outcome, ours: &Outcome) -> bool,
}

/// Deviations of qemu-aarch64 7.2, and freedom that the architecture leaves.
pub const KNOWN: &[Known] = &[
    Known {
        row: "*",
        why: "a misaligned access to where nothing is mapped: QEMU looks at the mapping first",
        applies: |_, _, theirs, ours| theirs.signal == SIGSEGV && ours.signal == SIGBUS,
    },
    Known { row: "ldapr", why: NOT_CHECKED, applies: |_, _, theirs, ours| theirs.signal == 0 && ours.signal == SIGBUS },
    Known {
        row: "sys",
        why: "cache maintenance by address is not checked by qemu-aarch64",
        applies: |_, word, theirs, ours| word >> 8 & 15 != 4 && theirs.signal == 0 && ours.signal == SIGSEGV,
    },
    Known {
        row: "sys",
        why: "DC ZVA clears 512 bytes in qemu-aarch64 and 64 here; a fault is reported at the block's start",
        applies: zva_of_64_bytes,
    },
    Known { row: "bra", why: SIGNATURE, applies: only_the_signature },
    Known { row: "blra", why: SIGNATURE, applies: only_the_signature },
    Known { row: "braz", why: SIGNATURE, applies: only_the_signature },
    Known { row: "blraz", why: SIGNATURE, applies: only_the_signature },
    Known { row: "reta", why: SIGNATURE, applies: only_the_signature },
    Known { row: "ldra", why: SIGNATURE, applies: only_the_signature },
    Known { row: "stxr", why: MONITOR, applies: |_, _, theirs, ours| theirs.signal == 0 && ours.signal == SIGBUS },
    Known { row: "stxp", why: MONITOR, applies: |_, _, theirs, ours| theirs.signal == 0 && ours.signal == SIGBUS },
    Known {
        row: "fcvtzs_fixed_s",
        why: "QEMU leaves copies of the sign above a half-precision result",
        applies: |_, word, theirs, ours| {
            let rd = (word & 31) as usize;
            let (a, b) = (theirs.state.v[rd], ours.state.v[rd]);
            word >> 20 & 7 == 1 && a == b | 0xffff_0000 && with_v(ours, rd, a).state == theirs.state
        },
    },
    Known {
        row: "fjcvtzs",
        why: "QEMU sets Z for a denormal that was flushed to zero",
        applies: |case, _, theirs, ours| {
            let mut same = ours.clone();
            same.state.nzcv = theirs.state.nzcv;
            case.state.fpcr >> 24 & 1 != 0 && same.state == theirs.state
        },
    },
];

const NOT_CHECKED: &str = "QEMU does not check the alignment of LDAPR";
const MONITOR: &str = "QEMU does not check the alignment of an exclusive store when nothing is held";

const SIGNATURE: &str = "the signature of a pointer depends on the keys";

/// Whether the signed pointer is all that differs, and its signature all of that.
fn only_the_signature(case: &Case, word: u32, theirs: &Outcome, ours: &Outcome) -> bool {
    let mut same = theirs.clone();
    let Some(row) = row_of(word) else { return false };
    let register = generate::signed_register(row, word);
    if let (Some(a), Some(b)) = (same.state.x.get_mut(register), ours.state.x.get(register)) {
        // Addresses have 48 bits: bits 54 to 48, and in the upper half, where tags are not ignored, 63 to 56. QEMU
        // chooses the half of a signed pointer by its bit 63 if tags are not ignored in the half that bit 55 says; the
        // manual (AddPAC) by bit 55 if they are ignored in any half.
        let upper = case.state.x.get(register).is_some_and(|x| x >> 55 & 1 != 0);
        let signature = if upper { 0xffff << 48 } else { 0x7f << 48 };
        if (*a ^ b) & !signature == 0 {
            *a = *b;
        }
    }
    differences(case, &same, ours).is_empty()
}

/// The outcome with another value in V`n`.
fn with_v(outcome: &Outcome, n: usize, value: u128) -> Outcome {
    let mut outcome = outcome.clone();
    outcome.state.v[n] = value;
    outcome
}

/// Whether `ours` is right for a DC ZVA whose block has 64 bytes.
fn zva_of_64_bytes(case: &Case, word: u32, theirs: &Outcome, ours: &Outcome) -> bool {
    let mut expected = ours.clone();
    expected.state = case.state.clone();
    if word >> 8 & 15 != 4 || expected != *ours || theirs.signal != ours.signal {
        return false;
    }
    let address = case.state.x.get((word & 31) as usize).copied().unwrap_or(0) << 8 >> 8 & !63;
    let cleared = |n: usize| (MEMORY + u64::from(case.window_offset) + n as u64) & !63 == address;
    ours.signal == SIGSEGV || (0..WINDOW).all(|n| ours.window[n] == if cleared(n) { 0 } else { case.window[n] })
}

/// Why a difference is expected, if it is.
pub fn known(case: &Case, theirs: &Outcome, ours: &Outcome) -> Option<&'static str> {
    [case.insn, case.insn2].into_iter().filter(|word| *word != 0).find_map(|word| {
        let row = row_of(word)?;
        KNOWN
            .iter()
            .find(|k| (k.row == row.name || k.row == "*") && (k.applies)(case, word, theirs, ours))
            .map(|k| k.why)
    })
}

/// The differing fields, one line each.
pub fn differences(case: &Case, theirs: &Outcome, ours: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |name: &str, theirs: u128, ours: u128| {
        if theirs != ours {
            lines.push(format!("{name}: QEMU {theirs:#x}, Mimic {ours:#x}"));
        }
    };
    compare("signal", theirs.signal.into(), ours.signal.into());
    compare("pc - start", theirs.pc_delta.into(), ours.pc_delta.into());
    // An address that the host does not have makes a fault without an address there.
    let canonical = ours.fault_address << 8 >> 8 < 1 << 47;
    if theirs.signal == SIGSEGV && canonical {
        compare("fault address", theirs.fault_address.into(), ours.fault_address.into());
    }
    let (a, b) = (&theirs.state, &ours.state);
    for n in 0..31 {
        compare(&format!("x{n}"), a.x[n].into(), b.x[n].into());
    }
    compare("sp", a.sp.into(), b.sp.into());
    compare("nzcv", a.nzcv.into(), b.nzcv.into());
    compare("fpcr", a.fpcr.into(), b.fpcr.into());
    compare("fpsr", a.fpsr.into(), b.fpsr.into());
    // Where an access fails, the architecture says nothing of the registers that are loaded and of other bytes that
    // are stored (D1.3.4 "Precise exceptions": such stores and loads happen again).
    let aborted = theirs.signal == SIGSEGV && ours.signal == SIGSEGV && !case.isolated();
    if !aborted {
        for n in 0..32 {
            compare(&format!("v{n}"), a.v[n], b.v[n]);
        }
        for (n, (a, b)) in theirs.window.chunks_exact(8).zip(ours.window.chunks_exact(8)).enumerate() {
            let word = |bytes: &[u8]| bytes.iter().rev().fold(0u128, |word, byte| word << 8 | u128::from(*byte));
            compare(&format!("window[{}]", 8 * n), word(a), word(b));
        }
    }
    lines
}

/// A case as one line that [`parse`] reads; what is zero is left out.
pub fn line(case: &Case) -> String {
    let mut line = format!("{:08x}", case.insn);
    let mut put = |name: &str, value: u128| {
        if value != 0 {
            line.push_str(&format!(" {name}={value:x}"));
        }
    };
    put("insn2", case.insn2.into());
    put("flags", case.flags.into());
    put("at", case.window_offset.into());
    for (n, value) in case.state.x.iter().enumerate() {
        put(&format!("x{n}"), (*value).into());
    }
    put("sp", case.state.sp.into());
    put("nzcv", case.state.nzcv.into());
    put("fpcr", case.state.fpcr.into());
    put("fpsr", case.state.fpsr.into());
    for (n, value) in case.state.v.iter().enumerate() {
        put(&format!("v{n}"), *value);
    }
    for (n, bytes) in case.window.chunks_exact(16).enumerate() {
        put(&format!("m{n}"), bytes.iter().rev().fold(0, |word, byte| word << 8 | u128::from(*byte)));
    }
    line
}

/// The case of a line.
///
/// # Errors
/// Names the part that makes no sense.
pub fn parse(line: &str) -> Result<Case, String> {
    let mut parts = line.split_whitespace();
    let hex = |text: &str| u128::from_str_radix(text, 16).map_err(|e| format!("`{text}`: {e}"));
    let insn = hex(parts.next().ok_or("an empty line")?)? as u32;
    let mut case = Case { insn, insn2: 0, flags: 0, window_offset: 0, state: State::default(), window: [0; WINDOW] };
    for part in parts {
        let (name, value) = part.split_once('=').ok_or(format!("`{part}` is not name=value"))?;
        let value = hex(value)?;
        let index = || name.get(1..).and_then(|n| n.parse::<usize>().ok());
        let unknown = || format!("`{name}` is no part of a case");
        match name {
            "insn2" => case.insn2 = value as u32,
            "flags" => case.flags = value as u32,
            "at" => case.window_offset = value as u32,
            "sp" => case.state.sp = value as u64,
            "nzcv" => case.state.nzcv = value as u64,
            "fpcr" => case.state.fpcr = value as u64,
            "fpsr" => case.state.fpsr = value as u64,
            _ if name.starts_with('x') => {
                *index().and_then(|n| case.state.x.get_mut(n)).ok_or_else(unknown)? = value as u64;
            }
            _ if name.starts_with('v') => {
                *index().and_then(|n| case.state.v.get_mut(n)).ok_or_else(unknown)? = value;
            }
            _ if name.starts_with('m') => {
                let bytes = index().and_then(|n| case.window.chunks_exact_mut(16).nth(n)).ok_or_else(unknown)?;
                bytes.copy_from_slice(&value.to_le_bytes());
            }
            _ => return Err(unknown()),
        }
    }
    Ok(case)
}
