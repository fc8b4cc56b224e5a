use super::icc::*;
use super::*;
use crate::intc::wiring::{ppi_pins, spi_pins};
use std::sync::Arc;
use vm::sysreg::{SysregBus, SysregId, SysregPort};
use vm::vcpu::Pins;
use vm::{DeviceCell, IrqSink, MmioPort, Part};

const IRQ: u32 = 1;
const FIQ: u32 = 2;
const RD: u64 = 0;
const SGI: u64 = FRAME;

struct Machine {
    gic: Arc<DeviceCell<Gicv3>>,
    pins: Vec<Arc<Pins>>,
    spis: Arc<dyn IrqSink>,
    icc: Arc<dyn SysregPort>,
}

impl Machine {
    fn new(spis: u32, affinities: &[u32]) -> Self {
        let pins: Vec<_> = affinities.iter().map(|_| Pins::new()).collect();
        let processor =
            |(affinity, pins): (&u32, &Arc<Pins>)| Processor { affinity: *affinity, lines: CpuLines::to(pins.clone()) };
        let processors = affinities.iter().zip(&pins).map(processor).collect();
        let gic = Arc::new(DeviceCell::new(Gicv3::new(spis, processors)));
        Self { spis: spi_pins(&gic), icc: port(&gic), gic, pins }
    }

    /// As `new`, with everything awake and enabled, and every interrupt in Group 1.
    fn running(spis: u32, affinities: &[u32]) -> Self {
        let m = Self::new(spis, affinities);
        m.write(GICD_CTLR, 3);
        for block in 1..=u64::from(spis / 32) {
            m.write(0x080 + 4 * block, !0);
            m.write(0x100 + 4 * block, !0);
        }
        for cpu in 0..affinities.len() {
            m.write_r(cpu, RD + GICR_WAKER, 0);
            m.write_r(cpu, SGI + 0x080, !0);
            m.write_r(cpu, SGI + 0x100, !0);
            [ICC_IGRPEN0_EL1, ICC_IGRPEN1_EL1].into_iter().for_each(|reg| m.msr(cpu, reg, 1));
            m.msr(cpu, ICC_PMR_EL1, 0xff);
        }
        m
    }

    fn read(&self, offset: u64) -> u32 {
        self.gic.read(Access { window: 0, offset, width: 4 }).unwrap() as u32
    }
    fn write(&self, offset: u64, value: u32) {
        self.gic.write(Access { window: 0, offset, width: 4 }, value.into()).unwrap();
    }
    fn write64(&self, offset: u64, value: u64) {
        self.gic.write(Access { window: 0, offset, width: 8 }, value).unwrap();
    }
    fn read_r(&self, cpu: usize, offset: u64) -> u32 {
        let offset = cpu as u64 * REDISTRIBUTOR + offset;
        self.gic.read(Access { window: 1, offset, width: 4 }).unwrap() as u32
    }
    fn write_r(&self, cpu: usize, offset: u64, value: u32) {
        let offset = cpu as u64 * REDISTRIBUTOR + offset;
        self.gic.write(Access { window: 1, offset, width: 4 }, value.into()).unwrap();
    }
    fn write_byte(&self, window: u8, offset: u64, value: u8) {
        self.gic.write(Access { window, offset, width: 1 }, value.into()).unwrap();
    }
    fn mrs(&self, cpu: usize, reg: SysregId) -> u64 {
        self.icc.read(cpu as u32, reg)
    }
    fn msr(&self, cpu: usize, reg: SysregId, value: u64) {
        self.icc.write(cpu as u32, reg, value);
    }
    fn levels(&self) -> Vec<u32> {
        self.pins.iter().map(|pins| pins.levels()).collect()
    }
    fn regs(&self) -> Gicv3Regs {
        self.gic.with(|gic| gic.regs.clone()).unwrap()
    }
}

#[test]
fn reset_values() {
    let m = Machine::new(256, &[0, 1, 0x0203_0405]);
    for (offset, value) in [
        (GICD_CTLR, 0x50),
        (GICD_TYPER, 0x0378_0008),
        (GICD_IIDR, 0x43b),
        (0x000c, 0),
        (0x0080, 0),
        (0x0084, 0),
        (0x0104, 0),
        (0x0204, 0),
        (0x0304, 0),
        (0x0420, 0),
        (0x0820, 0),
        (0x0c00, 0),
        (0x0c08, 0),
        (0x0d00, 0),
        (0x6100, 0),
        (0xffd0, 0x44),
        (0xffe0, 0x92),
        (0xffe4, 0xb4),
        (0xffe8, 0x3b),
        (0xfffc, 0xb1),
    ] {
        assert_eq!(m.read(offset), value, "GICD {offset:#x}");
    }
    for (offset, value) in [
        (0x0000, 0),
        (0x0004, 0x43b),
        (0x0008, 2 << 8 | 1 << 4),
        (0x000c, 0x0203_0405),
        (0x0014, 6),
        (0x0070, 0),
        (0xffe0, 0x93),
        (0xffe8, 0x3b),
        (SGI + 0x0080, 0),
        (SGI + 0x0100, 0),
        (SGI + 0x0200, 0),
        (SGI + 0x0300, 0),
        (SGI + 0x041c, 0),
        (SGI + 0x0c00, 0xaaaa_aaaa),
        (SGI + 0x0c04, 0),
        (SGI + 0xffe8, 0x3b),
    ] {
        assert_eq!(m.read_r(2, offset), value, "GICR {offset:#x}");
    }
    assert_eq!(m.read_r(1, GICR_TYPER), 1 << 8);
    let typer = Access { window: 1, offset: 2 * REDISTRIBUTOR + GICR_TYPER, width: 8 };
    assert_eq!(m.gic.read(typer), Ok(0x0203_0405_0000_0210));
    for (reg, value) in [
        (ICC_PMR_EL1, 0),
        (ICC_IAR0_EL1, 1023),
        (ICC_IAR1_EL1, 1023),
        (ICC_HPPIR0_EL1, 1023),
        (ICC_HPPIR1_EL1, 1023),
        (ICC_BPR0_EL1, 2),
        (ICC_BPR1_EL1, 3),
        (ICC_AP0R0_EL1, 0),
        (ICC_AP1R0_EL1, 0),
        (ICC_RPR_EL1, 0xff),
        (ICC_CTLR_EL1, 0x8400),
        (ICC_SRE_EL1, 7),
        (ICC_IGRPEN0_EL1, 0),
        (ICC_IGRPEN1_EL1, 0),
    ] {
        assert_eq!(m.mrs(1, reg), value, "ICC {reg:#x}");
    }
    assert_eq!(
        m.gic.read(Access { window: 1, offset: 3 * REDISTRIBUTOR, width: 4 }),
        Err(BusError::BadOffset),
        "no fourth redistributor"
    );
    assert_eq!(m.gic.read(Access { window: 0, offset: 0x6104, width: 8 }), Err(BusError::BadWidth));
    assert_eq!(m.gic.read(Access { window: 0, offset: 0x6102, width: 4 }), Err(BusError::BadOffset));
}

/// With `awake` an interrupt comes although nobody has written GICR_WAKER, after a reset too.
#[test]
fn redistributors_that_are_awake() {
    for awake in [false, true] {
        let pins = Pins::new();
        let mut gic = Gicv3::new(32, vec![Processor { affinity: 0, lines: CpuLines::to(pins.clone()) }]);
        if awake {
            gic = gic.awake();
        }
        let gic = Arc::new(DeviceCell::new(gic));
        let (ppis, icc) = (ppi_pins(&gic, 0), port(&gic));
        for _ in 0..2 {
            gic.reset(vm::ResetKind::Warm);
            for (window, offset, value) in [(0, GICD_CTLR, 2), (1, SGI + 0x080, !0), (1, SGI + 0x100, !0)] {
                gic.write(Access { window, offset, width: 4 }, value & 0xffff_ffff).unwrap();
            }
            icc.write(0, ICC_PMR_EL1, 0xff);
            icc.write(0, ICC_IGRPEN1_EL1, 1);
            ppis.set_pin(11, true);
            assert_eq!(pins.levels() == IRQ, awake);
            let waker = gic.read(Access { window: 1, offset: GICR_WAKER, width: 4 });
            assert_eq!(waker, Ok(if awake { 0 } else { 6 }));
        }
    }
}

#[test]
fn register_numbers_are_those_of_mrs() {
    // op0:op1:CRn:CRm:op2 as in bits [20:5] of the instruction word: `mrs x0, icc_iar1_el1` is d538cc00.
    assert_eq!(ICC_IAR1_EL1, 0xd538_cc00 >> 5 & 0xffff);
    assert_eq!(ICC_PMR_EL1, 0xd538_4600 >> 5 & 0xffff);
    let mut all = registers();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 20);
    let m = Machine::new(32, &[0]);
    let mut bus = SysregBus::default();
    bus.map(&registers(), m.icc.clone());
    bus.find(ICC_PMR_EL1).unwrap().write(0, ICC_PMR_EL1, 0xf0);
    assert_eq!(m.mrs(0, ICC_PMR_EL1), 0xf0);
    assert!(bus.find(ICC_AP1R0_EL1 + 1).is_none());
}

#[test]
fn fixed_and_narrow_fields_stay_so() {
    let m = Machine::new(256, &[0]);
    m.write(GICD_CTLR, !0);
    assert_eq!(m.read(GICD_CTLR), 0x53);
    for reg in registers().into_iter().filter(|reg| READ_WRITE.contains(reg)) {
        m.msr(0, reg, u64::MAX);
    }
    let value = |reg| m.mrs(0, reg);
    assert_eq!([ICC_PMR_EL1, ICC_CTLR_EL1, ICC_SRE_EL1].map(value), [0xf8, 0x8403, 7]);
    assert_eq!([ICC_BPR0_EL1, ICC_BPR1_EL1, ICC_IGRPEN1_EL1, ICC_AP1R0_EL1].map(value), [7, 7, 1, 0xffff_ffff]);
    m.msr(0, ICC_BPR0_EL1, 0);
    m.msr(0, ICC_BPR1_EL1, 5);
    assert_eq!([ICC_BPR0_EL1, ICC_BPR1_EL1].map(value), [2, 3]); // CBPR: the other's, counted from one bit lower
    m.msr(0, ICC_CTLR_EL1, 0);
    assert_eq!([ICC_BPR0_EL1, ICC_BPR1_EL1].map(value), [2, 7]);
    m.write_r(0, SGI + 0xc00, 0);
    m.write_r(0, SGI + 0xc04, !0);
    assert_eq!([m.read_r(0, SGI + 0xc00), m.read_r(0, SGI + 0xc04)], [0xaaaa_aaaa; 2]);
    m.write(0x0100, !0); // SGIs and PPIs are not the distributor's
    m.write(0x0400, !0);
    m.write(0x0820, !0);
    assert_eq!([m.read(0x100), m.read(0x400), m.read(0x820)], [0; 3]);
}

#[test]
fn spis_follow_their_route() {
    let m = Machine::running(256, &[0, 1, 0x0203_0405]);
    m.spis.set_pin(8, true);
    assert_eq!(m.levels(), [IRQ, 0, 0]);
    m.write64(0x6000 + 8 * 40, 1);
    assert_eq!(m.levels(), [0, IRQ, 0]);
    m.write64(0x6000 + 8 * 40, u64::MAX);
    assert_eq!(m.gic.read(Access { window: 0, offset: 0x6140, width: 8 }), Ok(0xff_00ff_ffff));
    assert_eq!(m.levels(), [0, 0, 0]); // nobody has this affinity
    m.write(0x6140, 0x8003_0405);
    m.write(0x6144, 2);
    assert_eq!((m.read(0x6140), m.read(0x6144), m.levels()), (0x0003_0405, 2, vec![0, 0, IRQ]));
    assert_eq!([m.mrs(1, ICC_IAR1_EL1), m.mrs(2, ICC_IAR1_EL1)], [1023, 40]);
    m.write(0x60f8, 1); // INTID 31 has no router
    assert_eq!(m.read(0x60f8), 0);
}

#[test]
fn a_level_stays_pending_and_an_edge_is_latched() {
    let m = Machine::running(256, &[0]);
    m.write(0xc08, 2 << 2); // INTID 33: edge
    m.spis.set_pin(0, true);
    assert_eq!((m.levels(), m.mrs(0, ICC_HPPIR1_EL1), m.mrs(0, ICC_IAR1_EL1)), (vec![IRQ], 32, 32));
    assert_eq!((m.levels(), m.read(0x204), m.read(0x304)), (vec![0], 1, 1));
    m.msr(0, ICC_EOIR1_EL1, 32);
    assert_eq!((m.levels(), m.read(0x304)), (vec![IRQ], 0));
    m.spis.set_pin(0, false);
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1)), (vec![0], 1023));
    m.spis.set_pin(1, true);
    m.spis.set_pin(1, false);
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1)), (vec![IRQ], 33));
    m.spis.set_pin(1, true);
    m.msr(0, ICC_EOIR1_EL1, 33);
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1)), (vec![IRQ], 33));
    m.msr(0, ICC_EOIR1_EL1, 33); // still high: no edge
    assert_eq!((m.levels(), m.read(0x204)), (vec![0], 0));
}

#[test]
fn every_mask_holds_an_interrupt_back() {
    let m = Machine::running(64, &[0]);
    m.spis.set_pin(33, true);
    let off_and_on: [(&str, &dyn Fn(bool)); 6] = [
        ("GICD_CTLR", &|on| m.write(GICD_CTLR, if on { 3 } else { 1 })),
        ("enable", &|on| m.write(if on { 0x108 } else { 0x188 }, 2)),
        ("IGRPEN1", &|on| m.msr(0, ICC_IGRPEN1_EL1, on.into())),
        ("PMR", &|on| m.msr(0, ICC_PMR_EL1, if on { 0xff } else { 0 })),
        ("active", &|on| m.write(if on { 0x388 } else { 0x308 }, 2)),
        ("WAKER", &|on| m.write_r(0, GICR_WAKER, if on { 0 } else { 2 })),
    ];
    for (name, set) in off_and_on {
        assert_eq!(m.levels(), [IRQ], "{name}");
        set(false);
        assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1)), (vec![0], 1023), "{name}");
        assert_eq!(m.read(0x208), 2, "{name}");
        set(true);
    }
    assert_eq!(m.mrs(0, ICC_IAR1_EL1), 65);
    m.write_r(0, GICR_WAKER, 2);
    assert_eq!(m.read_r(0, GICR_WAKER), 6);
}

#[test]
fn priorities_choose_and_preempt() {
    let m = Machine::running(256, &[0]);
    m.write(0x420, 0x6080_a0c0);
    m.spis.set_pin(1, true); // a0
    assert_eq!(m.mrs(0, ICC_IAR1_EL1), 33);
    assert_eq!([m.mrs(0, ICC_RPR_EL1), m.mrs(0, ICC_AP1R0_EL1)], [0xa0, 1 << 20]);
    m.spis.set_pin(0, true); // c0
    assert_eq!((m.levels(), m.mrs(0, ICC_HPPIR1_EL1), m.mrs(0, ICC_IAR1_EL1)), (vec![0], 32, 1023));
    m.spis.set_pin(2, true); // 80
    m.spis.set_pin(3, true); // 60
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1), m.mrs(0, ICC_RPR_EL1)), (vec![IRQ], 35, 0x60));
    m.msr(0, ICC_EOIR1_EL1, 1023); // special: ignored
    m.msr(0, ICC_EOIR0_EL1, 35); // of the other group: ignored
    assert_eq!(m.mrs(0, ICC_RPR_EL1), 0x60);
    m.spis.set_pin(3, false);
    m.msr(0, ICC_EOIR1_EL1, 35);
    m.msr(0, ICC_BPR1_EL1, 7); // 0x80 and 0xa0 are one group
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1)), (vec![0], 1023));
    m.msr(0, ICC_BPR1_EL1, 6); // [7:6]
    assert_eq!(m.levels(), [0]);
    m.msr(0, ICC_BPR1_EL1, 5); // [7:5]
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1), m.mrs(0, ICC_RPR_EL1)), (vec![IRQ], 34, 0x80));
}

#[test]
fn group_0_is_fiq_and_group_1_irq() {
    let m = Machine::running(256, &[0]);
    m.write(0x084, !1); // INTID 32: Group 0
    m.write(0x420, 0x0000_4080);
    m.spis.set_pin(0, true);
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1), m.mrs(0, ICC_HPPIR0_EL1)), (vec![FIQ], 1023, 32));
    m.spis.set_pin(1, true);
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR0_EL1), m.mrs(0, ICC_HPPIR0_EL1)), (vec![IRQ], 1023, 1023));
    assert_eq!(m.mrs(0, ICC_IAR1_EL1), 33);
    m.spis.set_pin(1, false);
    m.msr(0, ICC_EOIR1_EL1, 33);
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR0_EL1)), (vec![FIQ], 32));
    assert_eq!([m.mrs(0, ICC_AP0R0_EL1), m.mrs(0, ICC_AP1R0_EL1)], [1 << 16, 0]);
    m.spis.set_pin(0, false);
    m.msr(0, ICC_EOIR0_EL1, 32);
    assert_eq!((m.levels(), m.mrs(0, ICC_RPR_EL1), m.read(0x304)), (vec![0], 0xff, 0));
}

#[test]
fn a_group_that_is_disabled_at_the_processor_does_not_hide_the_other() {
    let m = Machine::running(256, &[0]);
    m.write(0x084, !1); // INTID 32: Group 0, of higher priority
    m.write(0x420, 0x0000_8040);
    (0..2).for_each(|spi| m.spis.set_pin(spi, true));
    assert_eq!(m.levels(), [FIQ]);
    m.msr(0, ICC_IGRPEN0_EL1, 0);
    assert_eq!((m.levels(), m.mrs(0, ICC_HPPIR1_EL1)), (vec![IRQ], 33));
}

#[test]
fn a_sleeping_processor_gets_no_private_interrupts() {
    let m = Machine::running(32, &[0]);
    ppi_pins(&m.gic, 0).set_pin(11, true);
    assert_eq!(m.levels(), [IRQ]);
    m.write_r(0, GICR_WAKER, 2);
    assert_eq!((m.levels(), m.mrs(0, ICC_HPPIR1_EL1)), (vec![0], 1023));
}

#[test]
fn eoi_mode_splits_priority_drop_from_deactivation() {
    let m = Machine::running(256, &[0]);
    m.msr(0, ICC_CTLR_EL1, 2);
    m.spis.set_pin(4, true);
    assert_eq!(m.mrs(0, ICC_IAR1_EL1), 36);
    m.msr(0, ICC_EOIR1_EL1, 36);
    assert_eq!((m.mrs(0, ICC_RPR_EL1), m.read(0x304), m.levels()), (0xff, 1 << 4, vec![0]));
    m.msr(0, ICC_DIR_EL1, 36);
    assert_eq!((m.read(0x304), m.levels()), (0, vec![IRQ]));
    m.msr(0, ICC_CTLR_EL1, 0);
    assert_eq!(m.mrs(0, ICC_IAR1_EL1), 36);
    m.msr(0, ICC_DIR_EL1, 36); // no effect in this mode
    assert_eq!(m.read(0x304), 1 << 4);
}

#[test]
fn sgis_reach_the_processors_named_by_affinity() {
    let m = Machine::running(32, &[0, 1, 0x0203_0401, 0x0203_040f]);
    m.msr(0, ICC_SGI1R_EL1, 7 << 24 | 0b10);
    assert_eq!((m.levels(), m.mrs(1, ICC_IAR1_EL1)), (vec![0, IRQ, 0, 0], 7));
    m.msr(1, ICC_SGI1R_EL1, 7 << 24 | 0b10); // to itself, while active
    assert_eq!(m.levels(), [0; 4]);
    m.msr(1, ICC_EOIR1_EL1, 7);
    assert_eq!((m.levels(), m.mrs(1, ICC_IAR1_EL1)), (vec![0, IRQ, 0, 0], 7));
    m.msr(1, ICC_EOIR1_EL1, 7);
    m.msr(0, ICC_SGI1R_EL1, 2 << 48 | 3 << 32 | 4 << 16 | 0x8002);
    assert_eq!(m.levels(), [0, 0, IRQ, IRQ]);
    assert_eq!([m.mrs(2, ICC_IAR1_EL1), m.mrs(3, ICC_IAR1_EL1)], [0, 0]);
    m.msr(3, ICC_ASGI1R_EL1, 1 << 40 | 9 << 24); // all but the sender
    assert_eq!(m.levels(), [IRQ, IRQ, 0, 0]); // CPU 2 still runs SGI 0 of the same priority
    assert_eq!([0, 1, 2, 3].map(|cpu| m.read_r(cpu, SGI + 0x200)), [1 << 9, 1 << 9, 1 << 9, 0]);
    m.msr(0, ICC_SGI0R_EL1, 4 << 24 | 0b10); // SGI 4 is of Group 1 there
    assert_eq!(m.read_r(1, SGI + 0x200), 1 << 9);
    m.write_r(1, SGI + 0x080, !(1 << 4));
    m.write_byte(1, REDISTRIBUTOR + SGI + 0x409, 0x80);
    m.msr(0, ICC_SGI0R_EL1, 4 << 24 | 0b10);
    assert_eq!((m.levels()[1], m.mrs(1, ICC_IAR0_EL1)), (FIQ, 4));
    m.write_r(0, SGI + 0x280, 1 << 9);
    m.write_r(0, SGI + 0x200, 1 << 3); // unlike GICv2, SGIs are set pending here
    assert_eq!(m.mrs(0, ICC_IAR1_EL1), 3);
}

#[test]
fn ppis_belong_to_one_processor() {
    let m = Machine::running(32, &[0, 1]);
    ppi_pins(&m.gic, 1).set_pin(11, true);
    assert_eq!((m.levels(), m.mrs(0, ICC_IAR1_EL1), m.mrs(1, ICC_IAR1_EL1)), (vec![0, IRQ], 1023, 27));
    assert_eq!([m.read_r(0, SGI + 0x300), m.read_r(1, SGI + 0x300)], [0, 1 << 27]);
    m.msr(1, ICC_EOIR1_EL1, 27);
    assert_eq!(m.read_r(1, SGI + 0x300), 0);
    ppi_pins(&m.gic, 1).set_pin(16, true); // no such pin
    ppi_pins(&m.gic, 2).set_pin(0, true); // no such processor
    assert_eq!(m.regs().cpus[1].private.pins, 1 << 27);
    assert_eq!([m.mrs(2, ICC_IAR1_EL1), m.mrs(2, ICC_PMR_EL1)], [1023, 0]);
}

#[test]
fn the_largest_controller_ends_at_1019() {
    let m = Machine::running(960, &[0]);
    assert_eq!(m.read(GICD_TYPER) & 31, 30);
    let m = Machine::new(5000, &[0]);
    assert_eq!(m.read(GICD_TYPER) & 31, 31);
    [0x0fc, 0x17c].into_iter().for_each(|offset| m.write(offset, !0));
    (987..1100).for_each(|spi| m.spis.set_pin(spi, true));
    assert_eq!([m.read(0x0fc), m.read(0x17c), m.read(0x27c)], [0x0fff_ffff, 0x0fff_ffff, 1 << 27]);
    m.write64(0x6000 + 8 * 1019, 5);
    m.write64(0x6000 + 8 * 1020, 5);
    assert_eq!([m.read(0x7fd8), m.read(0x7fe0)], [5, 0]);
}

#[test]
fn save_change_load_and_reset_in_two_phases() {
    let m = Machine::running(256, &[0, 1]);
    m.spis.set_pin(3, true);
    m.msr(0, ICC_SGI1R_EL1, 7 << 24 | 0b10);
    assert_eq!(m.levels(), [IRQ, IRQ]);
    let (saved, regs) = (m.gic.save(), m.regs());
    assert_eq!([m.mrs(0, ICC_IAR1_EL1), m.mrs(1, ICC_IAR1_EL1)], [35, 7]);
    m.gic.load(&saved).unwrap();
    assert_eq!(m.levels(), [0, 0]); // outputs come in the second phase
    m.gic.settle();
    assert_eq!((m.levels(), m.regs()), (vec![IRQ, IRQ], regs));
    m.gic.reset(ResetKind::Warm);
    assert_eq!(m.levels(), [IRQ, IRQ]);
    m.gic.settle();
    assert_eq!(m.levels(), [0, 0]);
    let mut expect = Machine::new(256, &[0, 1]).regs();
    expect.spis[0].irqs.pins = 1 << 3;
    assert_eq!(m.regs(), expect);
    // A snapshot of a smaller controller fits: what it lacks is at reset.
    let small = Machine::new(32, &[0]);
    small.spis.set_pin(3, true);
    m.gic.load(&small.gic.save()).unwrap();
    m.gic.settle();
    assert_eq!(m.regs(), expect);
}

#[test]
fn impossible_states_are_refused() {
    let damages: [fn(&mut Gicv3Regs); 6] = [
        |regs| regs.cpus[0].private.edge = 0,
        |regs| regs.cpus[1].private.pins = 1,
        |regs| regs.cpus[1].interface.bpr[0] = 1,
        |regs| regs.cpus[1].interface.pmr = 1,
        |regs| regs.spis[7].irqs.priority[31] = 7,
        |regs| regs.spis[0].routes[0] = 1 << 31,
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let mut regs = Machine::new(256, &[0, 1]).regs();
        assert_eq!(regs.validate(), Ok(()));
        damage(&mut regs);
        assert!(regs.validate().is_err(), "{n}");
    }
}

#[test]
fn no_sequence_of_accesses_panics_or_reaches_an_impossible_state() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 16) % below
    };
    let ids = registers();
    for (spis, affinities) in
        [(256, vec![0]), (988, (0..20).map(|n| ((n / 16) << 8) | (n % 16)).collect()), (0, vec![0, 1])]
    {
        let m = Machine::running(spis, &affinities);
        let mut acknowledged = 0;
        for step in 0..40_000 {
            let cpu = random(affinities.len() as u64 + 1) as usize;
            let at = match random(4) {
                0 => Access { window: 0, offset: random(0x1000), width: 1 << random(4) },
                1 => Access { window: 0, offset: 0x6000 + random(0x2000), width: 1 << random(4) },
                2 => Access { window: 0, offset: random(FRAME), width: 4 },
                _ => {
                    let register = if random(2) == 1 { random(0x20) } else { SGI + random(0xd80) };
                    Access { window: 1, offset: cpu as u64 * REDISTRIBUTOR + register, width: 1 << random(4) }
                }
            };
            let at = if random(4) != 0 { Access { offset: at.offset & !7, ..at } } else { at };
            let reg = ids[random(ids.len() as u64) as usize] + u32::from(random(50) == 0);
            match random(8) {
                0 | 1 => {
                    let _ = m.gic.write(at, random(u64::MAX) & random(u64::MAX));
                }
                2 => m.spis.set_pin(random(1100) as u32, random(2) == 1),
                3 => ppi_pins(&m.gic, cpu as u32).set_pin(random(20) as u32, random(2) == 1),
                4 => m.msr(cpu, reg, random(u64::MAX)),
                5 => {
                    m.mrs(cpu, reg);
                }
                6 => {
                    let intid = m.mrs(cpu, ICC_IAR1_EL1);
                    acknowledged += u32::from(intid < 1020);
                    if random(4) != 0 {
                        m.msr(cpu, ICC_EOIR1_EL1, intid);
                    }
                }
                _ => {
                    let _ = m.gic.read(at);
                }
            }
            if step % 64 == 0 {
                // Out of the dead ends that random values lead to.
                m.write(GICD_CTLR, 3);
                if cpu < affinities.len() {
                    m.write_r(cpu, GICR_WAKER, 0);
                }
                for (reg, value) in [(ICC_PMR_EL1, 0xff), (ICC_IGRPEN1_EL1, 1), (ICC_AP0R0_EL1, 0), (ICC_AP1R0_EL1, 0)]
                {
                    m.msr(cpu, reg, value);
                }
            }
            if step % 1024 == 0 {
                let regs = m.regs();
                assert_eq!(regs.validate(), Ok(()));
                let (saved, levels) = (m.gic.save(), m.levels());
                m.gic.reset(ResetKind::Cold);
                m.gic.settle();
                assert_eq!(m.levels(), vec![0; affinities.len()]);
                m.gic.load(&saved).unwrap();
                m.gic.settle();
                assert_eq!((m.regs(), m.levels()), (regs, levels));
            }
        }
        assert!(acknowledged > 50, "the walk must reach acknowledgements: {acknowledged}");
    }
}
