//! Directions of the GIC's CPU interface registers (GIC architecture specification IHI 0069, 12.2 "AArch64 System
//! register descriptions"). The registers themselves belong to the interrupt controller.

use super::id;

/// Whether reads and writes of an ICC register exist; `None` when the encoding is none of them.
pub fn icc_direction(reg: u16) -> Option<(bool, bool)> {
    const RO: (bool, bool) = (true, false);
    const WO: (bool, bool) = (false, true);
    const RW: (bool, bool) = (true, true);
    let (crm, op2) = (reg >> 3 & 15, reg & 7);
    if reg == id(3, 0, 4, 6, 0) {
        return Some(RW);
    }
    if reg >> 7 != id(3, 0, 12, 0, 0) >> 7 {
        return None;
    }
    Some(match (crm, op2) {
        // IAR0, HPPIR0, RPR, IAR1, HPPIR1.
        (8, 0 | 2) | (11, 3) | (12, 0 | 2) => RO,
        // EOIR0, DIR, SGI1R, ASGI1R, SGI0R, EOIR1.
        (8, 1) | (11, 1 | 5 | 6 | 7) | (12, 1) => WO,
        // BPR0, AP0Rn, AP1Rn, BPR1, CTLR, SRE, IGRPEN0, IGRPEN1.
        (8, 3..=7) | (9, 0..=3) | (12, 3..=7) => RW,
        _ => return None,
    })
}
