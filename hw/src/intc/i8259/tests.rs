use super::*;
use crate::testing::{Levels, Ports, check_reset, check_save_load, hammer};
use vm::Part;

const EOI: u8 = 0x20;

struct Bench {
    pic: Arc<DeviceCell<I8259>>,
    pins: Arc<dyn IrqSink>,
    int: Arc<Levels>,
}

/// As a PC's firmware leaves it, vectors 8 and 0x70, everything unmasked.
fn bench_with(icw1: u8, icw4: u8) -> Bench {
    let int = Levels::new();
    let pic = Arc::new(DeviceCell::new(I8259::new(IrqLine::to(int.clone(), 0))));
    for (window, base, icw3) in [(0, 0x08, 0x04), (1, 0x70, 0x02)] {
        pic.outb(window, 0, icw1);
        for word in [base, icw3, icw4] {
            pic.outb(window, 1, word);
        }
    }
    Bench { pins: pins(&pic), pic, int }
}

fn bench() -> Bench {
    bench_with(0x11, 0x01)
}

impl Bench {
    fn ack(&self) -> u8 {
        acknowledge(&self.pic)()
    }
    fn pulse(&self, irq: u32) {
        self.pins.set_pin(irq, true);
        self.pins.set_pin(irq, false);
    }
    fn int(&self) -> bool {
        self.int.get(0)
    }
}

#[test]
fn edges_are_served_by_priority_and_nest() {
    let b = bench();
    b.pulse(6);
    b.pulse(3);
    assert_eq!((b.int(), b.ack(), b.int()), (true, 0x0b, false), "6 waits for 3");
    b.pulse(0);
    assert_eq!((b.int(), b.ack()), (true, 0x08));
    b.pic.outb(0, 0, EOI);
    assert!(!b.int());
    b.pic.outb(0, 0, EOI);
    assert_eq!((b.int(), b.ack()), (true, 0x0e));
    b.pic.outb(0, 0, 0x60 | 6);
    b.pic.outb(0, 0, 0x0b);
    assert_eq!((b.pic.inb(0, 0), b.int()), (0, false));
}

#[test]
fn mask_irr_and_isr() {
    let b = bench();
    b.pic.outb(0, 1, 0x10);
    b.pins.set_pin(4, true);
    assert_eq!((b.int(), b.pic.inb(0, 0), b.pic.inb(0, 1)), (false, 0x10, 0x10));
    b.pic.outb(0, 1, 0);
    assert_eq!((b.int(), b.ack(), b.pic.inb(0, 0)), (true, 0x0c, 0));
    b.pic.outb(0, 0, 0x0b);
    assert_eq!(b.pic.inb(0, 0), 0x10);
    b.pic.outb(0, 0, EOI);
    assert!(!b.int(), "an edge asks once though the input stays high");
}

#[test]
fn the_slave_comes_through_input_2() {
    let b = bench();
    b.pulse(12);
    b.pulse(8);
    assert_eq!((b.ack(), b.int()), (0x70, false));
    b.pic.outb(1, 0, EOI);
    assert!(!b.int(), "input 2 of the master is still in service");
    b.pic.outb(0, 0, EOI);
    assert_eq!((b.int(), b.ack()), (true, 0x74));
    b.pulse(1);
    assert_eq!((b.int(), b.ack()), (true, 0x09));
    b.pins.set_pin(2, true);
    b.pins.set_pin(99, true);
    assert!(!b.int());
}

#[test]
fn level_inputs_ask_while_high() {
    let b = bench();
    b.pic.outb(2, 0, 0xff);
    b.pic.outb(2, 1, 0xff);
    assert_eq!((b.pic.inb(2, 0), b.pic.inb(2, 1)), (0xf8, 0xde));
    b.pins.set_pin(11, true);
    assert_eq!(b.ack(), 0x73);
    b.pic.outb(1, 0, EOI);
    b.pic.outb(0, 0, EOI);
    assert_eq!(b.ack(), 0x73, "still high");
    b.pins.set_pin(11, false);
    b.pic.outb(1, 0, EOI);
    b.pic.outb(0, 0, EOI);
    assert!(!b.int());
    let b = bench_with(0x19, 0x01);
    b.pins.set_pin(1, true);
    assert!(b.int());
    b.pins.set_pin(1, false);
    assert!(!b.int(), "LTIM makes all inputs level-triggered");
}

#[test]
fn spurious_requests_are_7_and_15_with_nothing_in_service() {
    let b = bench();
    assert_eq!(b.ack(), 0x0f);
    b.pic.outb(0, 0, 0x0b);
    assert_eq!(b.pic.inb(0, 0), 0);
    b.pulse(9);
    b.pic.outb(1, 1, 0x02);
    assert_eq!(b.ack(), 0x77);
    b.pic.outb(1, 0, 0x0b);
    assert_eq!((b.pic.inb(0, 0), b.pic.inb(1, 0)), (0x04, 0));
}

#[test]
fn automatic_end_and_rotation() {
    let b = bench_with(0x11, 0x03);
    b.pins.set_pin(5, true);
    assert_eq!(b.ack(), 0x0d);
    b.pic.outb(0, 0, 0x0b);
    assert_eq!(b.pic.inb(0, 0), 0);
    b.pulse(9);
    b.pulse(10);
    assert_eq!((b.ack(), b.int(), b.ack(), b.int()), (0x71, true, 0x72, false));
    b.pic.outb(0, 0, 0x80); // rotate in automatic EOI mode
    b.pulse(3);
    b.pulse(4);
    assert_eq!(b.ack(), 0x0b);
    b.pulse(3);
    assert_eq!((b.ack(), b.ack()), (0x0c, 0x0b), "3 is lowest now");
    b.pic.outb(0, 0, 0x00);

    let b = bench();
    b.pic.outb(0, 0, 0xc0 | 4); // set priority: 4 lowest, 5 highest
    b.pulse(0);
    b.pulse(5);
    assert_eq!(b.ack(), 0x0d);
    b.pic.outb(0, 0, 0xa0); // rotate on non-specific EOI
    b.pulse(5);
    assert_eq!(b.ack(), 0x08);
    b.pic.outb(0, 0, 0xe0); // rotate on specific EOI
    assert_eq!(b.ack(), 0x0d);
}

#[test]
fn special_mask_mode_lets_lower_inputs_through() {
    let b = bench();
    b.pulse(1);
    b.ack();
    b.pulse(6);
    assert!(!b.int());
    b.pic.outb(0, 1, 0x02);
    b.pic.outb(0, 0, 0x68);
    assert_eq!((b.int(), b.ack()), (true, 0x0e));
    b.pic.outb(0, 0, EOI);
    b.pic.outb(0, 0, 0x0b);
    assert_eq!(b.pic.inb(0, 0), 0x02, "a non-specific EOI spares masked inputs");
    b.pic.outb(0, 0, 0x48);
    b.pulse(6);
    assert!(!b.int());
}

#[test]
fn special_fully_nested_mode_lets_the_slave_ask_again() {
    for (icw4, again) in [(0x01, false), (0x11, true)] {
        let b = bench_with(0x11, icw4);
        b.pulse(12);
        b.ack();
        b.pulse(8);
        assert_eq!(b.int(), again);
        b.pic.outb(1, 0, EOI);
        b.pulse(3);
        if again {
            assert_eq!(b.ack(), 0x70);
            assert!(!b.int(), "3 stays below input 2");
        }
    }
}

#[test]
fn poll_mode() {
    let b = bench();
    b.pic.outb(0, 0, 0x0c);
    assert_eq!((b.pic.inb(0, 0), b.pic.inb(0, 1)), (0, 0));
    b.pulse(4);
    b.pic.outb(0, 0, 0x0c);
    assert_eq!((b.pic.inb(0, 0), b.int()), (0x84, false));
    b.pic.outb(0, 0, 0x0b);
    assert_eq!(b.pic.inb(0, 0), 0x10);
}

#[test]
fn initialization_forgets_edges_and_optional_words() {
    let b = bench_with(0x11, 0x03);
    b.pins.set_pin(4, true);
    b.pic.outb(0, 0, 0x12); // single, no ICW4
    b.pic.outb(0, 1, 0x47);
    b.pic.outb(0, 1, 0xa5);
    assert_eq!((b.int(), b.pic.inb(0, 1)), (false, 0xa5));
    b.pic.outb(0, 1, 0);
    b.pulse(0);
    assert_eq!(b.ack(), 0x40, "bits 2:0 of ICW2 are the input's");
    b.pic.outb(0, 0, 0x0b);
    assert_eq!(b.pic.inb(0, 0), 1, "no automatic EOI without ICW4");
}

#[test]
fn saved_loaded_and_reset() {
    let b = bench();
    b.pulse(4);
    check_save_load(&b.pic, || assert_eq!(b.ack(), 0x0c));
    let saved = b.pic.save();
    b.pulse(1);
    b.pic.load(&saved).unwrap();
    b.pic.settle();
    assert!(!b.int(), "the line follows the loaded registers");
    let int = Levels::new();
    let pic = Arc::new(DeviceCell::new(I8259::new(IrqLine::to(int, 0))));
    check_reset(&pic, || pic.outb(0, 1, 0x55));
    pins(&pic).set_pin(9, true);
    pic.reset(ResetKind::Warm);
    assert_eq!(pic.with(|pic| pic.regs.chips[SLAVE].pins), Ok(2));
}

#[test]
fn any_access_is_answered() {
    let b = bench();
    hammer(&b.pic, 50_000, |random| {
        b.pins.set_pin(random.below(18) as u32, random.below(2) == 0);
        if random.below(4) == 0 {
            b.ack();
        }
    });
}
