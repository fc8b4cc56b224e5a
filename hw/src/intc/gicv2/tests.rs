use super::*;
use crate::intc::wiring::{ppi_pins, spi_pins};
use std::sync::Arc;
use vm::vcpu::Pins;
use vm::{DeviceCell, IrqSink, MmioPort, Part};

const IRQ: u32 = 1;
const FIQ: u32 = 2;

struct Machine {
    gic: Arc<DeviceCell<Gicv2>>,
    pins: Vec<Arc<Pins>>,
    spis: Arc<dyn IrqSink>,
}

impl Machine {
    fn new(spis: u32, cpus: usize) -> Self {
        let pins: Vec<_> = (0..cpus).map(|_| Pins::new()).collect();
        let lines = pins.iter().map(|pins| CpuLines::to(pins.clone())).collect();
        let gic = Arc::new(DeviceCell::new(Gicv2::new(spis, lines)));
        vcpu::set_current(0);
        Self { spis: spi_pins(&gic), gic, pins }
    }

    /// As `new`, with both groups enabled everywhere, all priorities let through and every SPI to CPU 0 and enabled.
    fn running(spis: u32, cpus: usize) -> Self {
        let machine = Self::new(spis, cpus);
        machine.write(GICD_CTLR, 3);
        for block in 1..=u64::from(spis / 32) {
            machine.write(0x100 + 4 * block, !0);
            (0..8).for_each(|i| machine.write(GICD_ITARGETSR + 32 * block + 4 * i, 0x0101_0101));
        }
        for cpu in 0..cpus as u32 {
            machine.on(cpu, || {
                machine.write_c(GICC_CTLR, 3);
                machine.write_c(GICC_PMR, 0xff);
            });
        }
        machine
    }

    fn on<R>(&self, cpu: u32, f: impl FnOnce() -> R) -> R {
        let before = vcpu::current();
        vcpu::set_current(cpu);
        let result = f();
        vcpu::set_current(before);
        result
    }

    fn read(&self, offset: u64) -> u32 {
        self.gic.read(Access { window: 0, offset, width: 4 }).unwrap() as u32
    }
    fn write(&self, offset: u64, value: u32) {
        self.gic.write(Access { window: 0, offset, width: 4 }, value.into()).unwrap();
    }
    fn read_c(&self, offset: u64) -> u32 {
        self.gic.read(Access { window: 1, offset, width: 4 }).unwrap() as u32
    }
    fn write_c(&self, offset: u64, value: u32) {
        self.gic.write(Access { window: 1, offset, width: 4 }, value.into()).unwrap();
    }
    fn write_byte(&self, offset: u64, value: u8) {
        self.gic.write(Access { window: 0, offset, width: 1 }, value.into()).unwrap();
    }
    fn levels(&self) -> Vec<u32> {
        self.pins.iter().map(|pins| pins.levels()).collect()
    }
    fn regs(&self) -> Gicv2Regs {
        self.gic.with(|gic| gic.regs.clone()).unwrap()
    }
    fn pulse(&self, spi: u32) {
        self.spis.set_pin(spi, true);
        self.spis.set_pin(spi, false);
    }
    fn set_edge(&self, intid: u64) {
        let offset = GICD_ICFGR + intid / 16 * 4;
        self.write(offset, self.read(offset) | 2 << (intid % 16 * 2));
    }
}

#[test]
fn reset_values() {
    let m = Machine::new(256, 2);
    for (offset, value) in [
        (GICD_CTLR, 0),
        (GICD_TYPER, 1 << 5 | 8),
        (GICD_IIDR, 0x0200_143b),
        (0x080, 0),
        (0x100, 0xffff),
        (0x104, 0),
        (0x180, 0xffff),
        (0x200, 0),
        (0x300, 0),
        (0x400, 0),
        (0x800, 0x0101_0101),
        (0x81c, 0x0101_0101),
        (0x820, 0),
        (0xc00, 0xaaaa_aaaa),
        (0xc04, 0),
        (0xc08, 0),
        (0xe00, 0),
        (GICD_SGIR, 0),
        (0xf10, 0),
        (0xfd0, 0x04),
        (0xfe0, 0x90),
        (0xfe4, 0xb4),
        (0xfe8, 0x2b),
        (0xff0, 0x0d),
        (0xff4, 0xf0),
        (0xff8, 0x05),
        (0xffc, 0xb1),
    ] {
        assert_eq!(m.read(offset), value, "GICD {offset:#x}");
    }
    for (offset, value) in [
        (GICC_CTLR, 0),
        (GICC_PMR, 0),
        (GICC_BPR, 2),
        (GICC_IAR, 1023),
        (GICC_RPR, 0xff),
        (GICC_HPPIR, 1023),
        (GICC_ABPR, 3),
        (GICC_AIAR, 1023),
        (GICC_AHPPIR, 1023),
        (GICC_APR0, 0),
        (GICC_NSAPR0, 0),
        (GICC_IIDR, 0x0202_143b),
    ] {
        assert_eq!(m.read_c(offset), value, "GICC {offset:#x}");
    }
    assert_eq!(m.on(1, || m.read(0x800)), 0x0202_0202);
    assert_eq!(m.gic.read(Access { window: 0, offset: 0x1000, width: 4 }), Err(BusError::BadOffset));
    assert_eq!(m.gic.read(Access { window: 1, offset: 0x2000, width: 4 }), Err(BusError::BadOffset));
    assert_eq!(m.gic.read(Access { window: 1, offset: GICC_IAR, width: 1 }), Err(BusError::BadWidth));
    assert_eq!(m.gic.read(Access { window: 0, offset: 0x402, width: 4 }), Err(BusError::BadOffset));
}

#[test]
fn a_level_interrupt_stays_pending_while_its_pin_is_high() {
    let m = Machine::running(256, 1);
    m.spis.set_pin(1, true);
    assert_eq!((m.levels(), m.read(0x204)), (vec![IRQ], 2));
    assert_eq!(m.read_c(GICC_HPPIR), 33);
    assert_eq!(m.read_c(GICC_IAR), 33);
    assert_eq!((m.levels(), m.read(0x204), m.read(0x304)), (vec![0], 2, 2));
    assert_eq!(m.read_c(GICC_IAR), 1023);
    m.write_c(GICC_EOIR, 33);
    assert_eq!((m.levels(), m.read(0x304)), (vec![IRQ], 0));
    assert_eq!(m.read_c(GICC_IAR), 33);
    m.spis.set_pin(1, false);
    m.write_c(GICC_EOIR, 33);
    assert_eq!((m.levels(), m.read(0x204), m.read_c(GICC_IAR)), (vec![0], 0, 1023));
}

#[test]
fn an_edge_is_latched_and_comes_once_more_if_it_rises_while_active() {
    let m = Machine::running(256, 1);
    m.set_edge(40);
    m.pulse(8);
    assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![IRQ], 40));
    m.pulse(8);
    m.pulse(8);
    assert_eq!((m.levels(), m.read(0x204), m.read(0x304)), (vec![0], 1 << 8, 1 << 8));
    m.write_c(GICC_EOIR, 40);
    assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![IRQ], 40));
    m.write_c(GICC_EOIR, 40);
    assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![0], 1023));
}

#[test]
fn every_mask_holds_an_interrupt_back() {
    let m = Machine::running(64, 2);
    m.spis.set_pin(33, true);
    assert_eq!(m.levels(), [IRQ, 0]);
    let masks: [(u8, u64, u32, u32); 5] = [
        (0, GICD_CTLR, 2, 3),
        (0, GICD_ITARGETSR + 65 / 4 * 4, 0, 0x0101_0101),
        (0, GICD_ITARGETSR + 65 / 4 * 4, 0xfc << 8, 0x0101_0101),
        (1, GICC_CTLR, 2, 3),
        (1, GICC_PMR, 0, 0xff),
    ];
    for (window, offset, off, on) in masks {
        let write = |value: u32| m.gic.write(Access { window, offset, width: 4 }, value.into()).unwrap();
        write(off);
        assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![0, 0], 1023), "{window} {offset:#x} {off:#x}");
        write(on);
        assert_eq!(m.levels(), [IRQ, 0], "{window} {offset:#x}");
    }
    m.write(0x188, 2);
    assert_eq!((m.levels(), m.read(0x208)), (vec![0, 0], 2));
    m.write(0x108, 2);
    assert_eq!(m.levels(), [IRQ, 0]);
    m.write_byte(GICD_ITARGETSR + 65, 2);
    assert_eq!((m.levels(), m.read(GICD_ITARGETSR + 64)), (vec![0, IRQ], 0x0101_0201));
    m.write_byte(GICD_ITARGETSR + 65, 3);
    assert_eq!(m.levels(), [IRQ, IRQ]);
    assert_eq!(m.on(1, || m.read_c(GICC_IAR)), 65); // the first to acknowledge gets it
    assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![0, 0], 1023));
}

#[test]
fn priorities_choose_and_preempt() {
    let m = Machine::running(256, 1);
    m.write(0x420, 0x6080_a0c0); // INTIDs 32 to 35
    m.spis.set_pin(1, true); // a0
    assert_eq!(m.read_c(GICC_IAR), 33);
    assert_eq!((m.read_c(GICC_RPR), m.read_c(GICC_APR0)), (0xa0, 1 << 20));
    m.spis.set_pin(0, true); // c0: waits
    assert_eq!((m.levels(), m.read_c(GICC_HPPIR), m.read_c(GICC_IAR)), (vec![0], 32, 1023));
    m.spis.set_pin(2, true); // 80
    m.spis.set_pin(3, true); // 60: before the 80
    assert_eq!((m.levels(), m.read_c(GICC_IAR), m.read_c(GICC_RPR)), (vec![IRQ], 35, 0x60));
    assert_eq!(m.levels(), [0]);
    m.spis.set_pin(3, false);
    m.write_c(GICC_EOIR, 35);
    assert_eq!((m.levels(), m.read_c(GICC_RPR)), (vec![IRQ], 0xa0));
    m.write_c(GICC_BPR, 6); // only bit 7 preempts: 0x80 and 0xa0 are one group
    assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![0], 1023));
    m.write_c(GICC_BPR, 4);
    assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![IRQ], 34));
    assert_eq!(m.read_c(GICC_RPR), 0x80);
    for intid in [34, 33] {
        m.spis.set_pin(intid - 32, false);
        m.write_c(GICC_EOIR, intid);
    }
    assert_eq!((m.read_c(GICC_RPR), m.read_c(GICC_APR0), m.levels()), (0xff, 0, vec![IRQ]));
    m.write_c(GICC_PMR, 0xc0); // not higher than c0
    assert_eq!((m.levels(), m.read_c(GICC_HPPIR), m.read_c(GICC_IAR)), (vec![0], 32, 1023));
}

#[test]
fn five_priority_bits_exist() {
    let m = Machine::new(256, 1);
    m.write(0x424, !0);
    assert_eq!(m.read(0x424), 0xf8f8_f8f8);
    m.write_byte(0x426, 0x17);
    assert_eq!(m.read(0x424), 0xf810_f8f8);
    assert_eq!(m.gic.read(Access { window: 0, offset: 0x426, width: 2 }), Ok(0xf810));
    m.write_c(GICC_PMR, 0xff);
    m.write_c(GICC_BPR, 0);
    m.write_c(GICC_ABPR, 0);
    assert_eq!([m.read_c(GICC_PMR), m.read_c(GICC_BPR), m.read_c(GICC_ABPR)], [0xf8, 2, 3]);
}

#[test]
fn sgis_are_pending_per_source() {
    let m = Machine::running(32, 3);
    m.write(GICD_SGIR, 0b110 << 16 | 5);
    assert_eq!(m.levels(), [0, IRQ, IRQ]);
    m.on(2, || m.write(GICD_SGIR, 0b010 << 16 | 5));
    assert_eq!(m.on(1, || m.read(GICD_SPENDSGIR + 4)), 0b101 << 8);
    m.on(1, || {
        assert_eq!(m.read(0x200), 1 << 5);
        assert_eq!(m.read_c(GICC_HPPIR), 5); // from CPU 0
        assert_eq!(m.read_c(GICC_IAR), 5);
        assert_eq!(m.read_c(GICC_IAR), 1023); // active, the other source waits
        m.write_c(GICC_EOIR, 5);
        assert_eq!(m.levels(), [0, IRQ, IRQ]);
        assert_eq!(m.read_c(GICC_IAR), 2 << 10 | 5);
        m.write_c(GICC_EOIR, 2 << 10 | 5);
        assert_eq!(m.read_c(GICC_IAR), 1023);
    });
    m.on(2, || m.write(GICD_CPENDSGIR + 4, 1 << 8));
    assert_eq!(m.levels(), [0, 0, 0]);
    m.write(GICD_SGIR, 1 << 24 | 0xff << 16 | 1); // all but the sender
    assert_eq!(m.levels(), [0, IRQ, IRQ]);
    m.on(1, || m.write(GICD_SGIR, 2 << 24 | 2)); // the sender
    assert_eq!(m.on(1, || m.read(GICD_CPENDSGIR)), 2 << 16 | 1 << 8);
    m.write(GICD_SGIR, 3 << 24 | 0xff << 16 | 3); // reserved
    assert_eq!(m.levels(), [0, IRQ, IRQ]);
    m.write(0x200, 0xffff); // SGIs cannot be set pending so,
    m.write(0x180, 0xffff); // nor disabled,
    m.write(0xc00, 0); // nor made level-sensitive
    assert_eq!([m.read(0x200), m.read(0x100), m.read(0xc00)], [0, 0xffff, 0xaaaa_aaaa]);
    m.write(GICD_SPENDSGIR + 0xc, 0xff << 24); // sources that exist
    assert_eq!((m.read(GICD_SPENDSGIR + 0xc), m.levels()[0]), (7 << 24, IRQ));
}

#[test]
fn ppis_are_banked() {
    let m = Machine::running(32, 2);
    let ppi = ppi_pins(&m.gic, 1);
    m.on(1, || m.write(0x100, 1 << 27));
    ppi.set_pin(11, true);
    assert_eq!((m.levels(), m.read(0x200), m.read(0x100)), (vec![0, IRQ], 0, 0xffff));
    m.on(1, || {
        m.write_byte(0x400 + 27, 0x40);
        assert_eq!(m.read_c(GICC_IAR), 27);
        assert_eq!(m.read_c(GICC_RPR), 0x40);
    });
    assert_eq!((m.read(0x418), m.read(0x300)), (0, 0));
    ppi.set_pin(16, true); // no such pin
    ppi_pins(&m.gic, 2).set_pin(0, true); // no such processor
    assert_eq!(m.regs().cpus[1].private.pins, 1 << 27);
    assert_eq!(m.regs().cpus[2], CpuRegs::default());
}

#[test]
fn groups_have_their_own_registers_and_fiq() {
    let m = Machine::running(256, 1);
    m.write(0x084, 1 << 1); // INTID 33: Group 1
    m.write_byte(0x420, 0x80);
    m.write_byte(0x421, 0x40);
    m.write_c(GICC_CTLR, 3 | FIQ_EN);
    m.spis.set_pin(0, true);
    assert_eq!(m.levels(), [FIQ]);
    m.spis.set_pin(1, true); // Group 1, but of higher priority
    assert_eq!(m.levels(), [IRQ]);
    assert_eq!([m.read_c(GICC_HPPIR), m.read_c(GICC_AHPPIR)], [1022, 33]);
    assert_eq!(m.read_c(GICC_IAR), 1022);
    assert_eq!(m.read_c(GICC_AIAR), 33);
    assert_eq!([m.read_c(GICC_APR0), m.read_c(GICC_NSAPR0), m.read_c(GICC_RPR)], [0, 1 << 8, 0x40]);
    m.spis.set_pin(1, false);
    m.write_c(GICC_AEOIR, 33);
    assert_eq!([m.read_c(GICC_RPR), m.read_c(GICC_AIAR), m.read_c(GICC_AHPPIR)], [0xff, 1023, 1023]);
    assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![FIQ], 32));
    m.write_c(GICC_AEOIR, 32); // of the other group: ignored
    assert_eq!(m.read_c(GICC_RPR), 0x80);
    m.spis.set_pin(0, false);
    m.write_c(GICC_EOIR, 32);
    m.write_c(GICC_CTLR, 3 | ACK_CTL);
    m.spis.set_pin(1, true);
    assert_eq!([m.read_c(GICC_HPPIR), m.read_c(GICC_IAR)], [33, 33]);
}

#[test]
fn a_group_that_is_disabled_at_the_processor_does_not_hide_the_other() {
    let m = Machine::running(256, 1);
    m.write(0x084, 1 << 1);
    m.write(0x420, 0x0000_8040); // INTID 32, Group 0, comes first
    (0..2).for_each(|spi| m.spis.set_pin(spi, true));
    assert_eq!(m.read_c(GICC_HPPIR), 32);
    m.write_c(GICC_CTLR, 2);
    assert_eq!((m.levels(), m.read_c(GICC_AHPPIR)), (vec![IRQ], 33));
}

#[test]
fn group_1_uses_abpr_unless_cbpr() {
    let m = Machine::running(256, 1);
    m.write(0x084, !0);
    m.write(0x420, 0x0000_8090);
    m.write_c(GICC_ABPR, 4); // bits [7:4]
    m.write_c(GICC_BPR, 4); // bits [7:5]
    m.spis.set_pin(0, true);
    assert_eq!((m.read_c(GICC_AIAR), m.read_c(GICC_RPR)), (32, 0x90));
    m.spis.set_pin(1, true);
    assert_eq!(m.levels(), [IRQ]);
    m.write_c(GICC_EOIR, 32);
    m.spis.set_pin(1, false);
    m.write_c(GICC_CTLR, 3 | CBPR);
    assert_eq!((m.read_c(GICC_AIAR), m.read_c(GICC_RPR)), (32, 0x80));
    m.spis.set_pin(1, true);
    assert_eq!(m.levels(), [0]);
}

#[test]
fn eoi_mode_splits_priority_drop_from_deactivation() {
    let m = Machine::running(256, 1);
    m.write_c(GICC_CTLR, 3 | EOI_MODE);
    m.spis.set_pin(4, true);
    assert_eq!(m.read_c(GICC_IAR), 36);
    m.write_c(GICC_EOIR, 36);
    assert_eq!((m.read_c(GICC_RPR), m.read(0x304), m.levels()), (0xff, 1 << 4, vec![0]));
    m.write_c(GICC_DIR, 36);
    assert_eq!((m.read(0x304), m.levels()), (0, vec![IRQ]));
    m.write_c(GICC_CTLR, 3);
    assert_eq!(m.read_c(GICC_IAR), 36);
    m.write_c(GICC_DIR, 36); // no effect in this mode
    assert_eq!(m.read(0x304), 1 << 4);
}

#[test]
fn software_sets_and_clears_pending_and_active() {
    let m = Machine::running(256, 1);
    m.write(0x204, 0b11);
    assert_eq!((m.levels(), m.read_c(GICC_IAR)), (vec![IRQ], 32));
    m.write(0x284, 0b10);
    assert_eq!((m.levels(), m.read(0x204)), (vec![0], 0));
    m.write(0x384, 1);
    m.write(0x304, 0b100);
    assert_eq!(m.read(0x384), 0b100);
    m.spis.set_pin(2, true);
    assert_eq!(m.levels(), [0]); // active: not forwarded
    m.write(0x384, 0b100);
    m.write_c(GICC_APR0, 0); // the 32 was never ended
    assert_eq!(m.levels(), [IRQ]);
}

#[test]
fn a_uniprocessor_has_no_target_registers() {
    let m = Machine::new(32, 1);
    m.write(GICD_ITARGETSR + 32, !0);
    assert_eq!([m.read(GICD_ITARGETSR), m.read(GICD_ITARGETSR + 32)], [0, 0]);
}

#[test]
fn the_largest_controller_ends_at_1019() {
    let m = Machine::running(988, 1);
    m.gic.with(|gic| *gic = Gicv2::new(2000, vec![CpuLines::to(m.pins[0].clone())])).unwrap();
    m.write(GICD_CTLR, 1);
    m.write_c(GICC_CTLR, 1);
    m.write_c(GICC_PMR, 0xff);
    assert_eq!(m.read(GICD_TYPER) & 31, 31);
    m.write(0x17c, !0);
    assert_eq!(m.read(0x17c), 0x0fff_ffff);
    (987..1100).for_each(|spi| m.spis.set_pin(spi, true));
    assert_eq!((m.read(0x27c), m.read_c(GICC_IAR)), (1 << 27, 1019));
    let m = Machine::running(32, 1);
    m.spis.set_pin(32, true);
    m.write(0x108, !0);
    assert_eq!((m.read(0x108), m.read(0x208), m.levels()), (0, 0, vec![0]));
}

#[test]
fn save_change_load_and_reset_in_two_phases() {
    let m = Machine::running(256, 2);
    m.spis.set_pin(3, true);
    m.write(GICD_SGIR, 2 << 16 | 7);
    assert_eq!(m.levels(), [IRQ, IRQ]);
    let (saved, regs) = (m.gic.save(), m.regs());
    assert_eq!(m.read_c(GICC_IAR), 35);
    m.on(1, || m.read_c(GICC_IAR));
    assert_eq!(m.levels(), [0, 0]);
    m.gic.load(&saved).unwrap();
    assert_eq!(m.levels(), [0, 0]); // outputs come in the second phase
    m.gic.settle();
    assert_eq!((m.levels(), m.regs()), (vec![IRQ, IRQ], regs));
    m.gic.reset(ResetKind::Warm);
    assert_eq!(m.levels(), [IRQ, IRQ]);
    m.gic.settle();
    assert_eq!(m.levels(), [0, 0]);
    let mut expect = Gicv2Regs::default();
    expect.spis[0].irqs.pins = 1 << 3;
    assert_eq!(m.regs(), expect);
}

#[test]
fn impossible_states_are_refused() {
    let damages: [fn(&mut Gicv2Regs); 7] = [
        |regs| regs.cpus[0].private.latch = 1,
        |regs| regs.cpus[1].private.edge = 0,
        |regs| regs.cpus[2].sgi_sources[3] = 1,
        |regs| regs.cpus[3].interface.bpr[1] = 200,
        |regs| regs.cpus[4].interface.pmr = 1,
        |regs| regs.spis[0].irqs.priority[31] = 7,
        |regs| regs.spis[30].irqs.enabled = !0,
    ];
    assert_eq!(Gicv2Regs::default().validate(), Ok(()));
    for (n, damage) in damages.into_iter().enumerate() {
        let mut regs = Gicv2Regs::default();
        damage(&mut regs);
        assert!(regs.validate().is_err(), "{n}");
    }
}

#[test]
fn no_sequence_of_accesses_panics_or_reaches_an_impossible_state() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 16) % below
    };
    for (spis, cpus) in [(256, 1), (988, 8), (32, 3), (0, 2)] {
        let m = Machine::running(spis, cpus);
        let mut acknowledged = 0;
        for step in 0..60_000 {
            vcpu::set_current(random(10) as u32);
            let window = random(2) as u8;
            let end = [[0x1000, 0x1010, 0x1_0000], [0x30, 0x100, 0x1_0000]][usize::from(window)][random(3) as usize];
            let at = Access { window, offset: random(end), width: 1 << random(4) };
            let at = if random(4) != 0 { Access { offset: at.offset & !3, width: 4, ..at } } else { at };
            match random(6) {
                0 | 1 => {
                    let _ = m.gic.write(at, random(u64::MAX) & random(u64::MAX));
                }
                2 => m.spis.set_pin(random(1100) as u32, random(2) == 1),
                3 => ppi_pins(&m.gic, random(9) as u32).set_pin(random(20) as u32, random(2) == 1),
                4 => {
                    let intid = m.read_c(GICC_IAR) & 0x3ff;
                    acknowledged += u32::from(intid < 1020);
                    if random(4) != 0 {
                        m.write_c(GICC_EOIR, intid);
                    }
                }
                _ => {
                    let _ = m.gic.read(at);
                }
            }
            if step % 256 == 0 {
                // Out of the dead ends that random values lead to.
                m.write(GICD_CTLR, 3);
                for (offset, value) in [(GICC_CTLR, 7), (GICC_PMR, 0xff), (GICC_APR0, 0), (GICC_NSAPR0, 0)] {
                    m.write_c(offset, value);
                }
            }
            if step % 1024 == 0 {
                let regs = m.regs();
                assert_eq!(regs.validate(), Ok(()));
                let (saved, levels) = (m.gic.save(), m.levels());
                m.gic.reset(ResetKind::Cold);
                m.gic.settle();
                assert_eq!(m.levels(), vec![0; cpus]);
                m.gic.load(&saved).unwrap();
                m.gic.settle();
                assert_eq!((m.regs(), m.levels()), (regs, levels));
            }
        }
        assert!(acknowledged > 100, "the walk must reach acknowledgements: {acknowledged}");
    }
    vcpu::set_current(0);
}
