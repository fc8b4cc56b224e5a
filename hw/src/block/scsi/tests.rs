use super::*;
use crate::virtio::testing::MemoryDisk;

fn disk(sectors: usize) -> (Unit, UnitRegs) {
    let regs = UnitRegs { attention: None, ..UnitRegs::default() };
    (Unit::disk(MemoryDisk::new(sectors), "S 1"), regs)
}

fn none(_: usize) -> Option<Vec<u8>> {
    None
}

fn run(unit: &(Unit, UnitRegs), cdb: &[u8]) -> Result<Action, Sense> {
    unit.0.command(&mut unit.1.clone(), cdb, &none)
}

#[track_caller]
fn data(unit: &(Unit, UnitRegs), cdb: &[u8]) -> Vec<u8> {
    match run(unit, cdb) {
        Ok(Action::Data(data)) => data,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_units_say_of_themselves() {
    let unit = disk(64);
    let inquiry = data(&unit, &[0x12, 0, 0, 0, 96, 0]);
    assert_eq!(
        (inquiry.len(), &inquiry[..8], &inquiry[8..36]),
        (36, &[0, 0, 5, 0x12, 31, 0, 0, 2][..], &b"MIMIC   HARDDISK        1.0 "[..])
    );
    assert_eq!(data(&unit, &[0x12, 0, 0, 0, 5, 0]).len(), 5);
    let page = |page| data(&unit, &[0x12, 1, page, 1, 0, 0]);
    assert_eq!(page(0), [0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    assert_eq!(page(0x80), b"\x00\x80\x00\x03S 1");
    assert_eq!(page(0x83), b"\x00\x83\x00\x0f\x02\x01\x00\x0bMIMIC   S 1");
    let limits = page(0xb0);
    assert_eq!(
        (limits.len(), be32(&limits, 8), be32(&limits, 20), be32(&limits, 24), be64(&limits, 36)),
        (64, 0xffff, 1 << 23, 255, 1 << 16)
    );
    assert_eq!((page(0xb1)[..6].to_vec(), page(0xb1).len()), (vec![0, 0xb1, 0, 60, 0, 1], 64));
    assert_eq!(page(0xb2), [0, 0xb2, 0, 4, 0, 0xe0, 2, 0]);
    for cdb in [[0x12, 1, 0xb7, 0, 96, 0], [0x12, 0, 1, 0, 96, 0]] {
        assert_eq!(run(&unit, &cdb), Err(INVALID_FIELD));
    }
    assert_eq!(data(&unit, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]), [0, 0, 0, 63, 0, 0, 2, 0]);
    let mut long = vec![0x9e, 0x10];
    long.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0]);
    assert_eq!(data(&unit, &long), [0, 0, 0, 0, 0, 0, 0, 63, 0, 0, 2, 0, 0]);
}

#[test]
fn blocks_of_commands_of_every_length() {
    let unit = disk(0x1000);
    type Row = (&'static [u8], Result<(u64, u64), Sense>);
    let rows: [Row; 12] = [
        (&[0x08, 0x00, 0x01, 0x02, 3, 0], Ok((0x102 * 512, 3 * 512))),
        (&[0x08, 0xe0, 0, 0, 0, 0], Ok((0, 256 * 512))),
        (&[0x28, 0, 0, 0, 0x0f, 0xff, 0, 0, 1, 0], Ok((0xfff * 512, 512))),
        (&[0x28, 0, 0, 0, 0x0f, 0xff, 0, 0, 2, 0], Err(OUT_OF_RANGE)),
        (&[0x28, 0, 0, 0, 0x10, 0, 0, 0, 0, 0], Ok((0x1000 * 512, 0))),
        (&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0], Err(INVALID_FIELD)),
        (&[0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0], Ok((9 * 512, 1024))),
        (&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0], Ok((7 * 512, 512))),
        (&[0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0], Err(OUT_OF_RANGE)),
        (&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], Err(OUT_OF_RANGE)),
        (&[0x28], Ok((0, 0))),
        (&[0xc1], Err(INVALID_COMMAND)),
    ];
    for (cdb, expect) in rows {
        let expect = expect.map(|(offset, len)| Action::Read { offset, len });
        assert_eq!(run(&unit, cdb), expect, "{cdb:x?}");
    }
    let write = |flags| run(&unit, &[0x2a, flags, 0, 0, 0, 1, 0, 0, 1, 0]);
    assert_eq!(write(0), Ok(Action::Write { offset: 512, len: 512, durable: false }));
    assert_eq!(write(8), Ok(Action::Write { offset: 512, len: 512, durable: true }));
    for code in [0x35, 0x91] {
        assert_eq!(run(&unit, &[code, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(Action::Flush));
    }
    assert_eq!(run(&unit, &[0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Ok(Action::done()));
    assert_eq!(run(&unit, &[0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0]), Err(INVALID_FIELD));
}

#[test]
fn read_only_disks_are_not_written() {
    let dev =
        Arc::new(MemoryDisk { read_only: true, bytes: std::sync::Mutex::new(vec![0; 4096]), ..Default::default() });
    let unit = (Unit::disk(dev, ""), disk(1).1);
    for cdb in
        [[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], [0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0], [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0]]
    {
        assert_eq!(run(&unit, &cdb), Err(WRITE_PROTECTED));
    }
    assert_eq!(data(&unit, &[0x1a, 8, 8, 0, 255, 0])[2], 0x90);
}

#[test]
fn unmap_and_write_same() {
    let (unit, mut regs) = disk(0x1000);
    let unmap = |regs: &mut UnitRegs, len: u16, ranges: &[(u64, u32)]| {
        let mut list = ((6 + ranges.len() * 16) as u16).to_be_bytes().to_vec();
        list.extend(((ranges.len() * 16) as u16).to_be_bytes());
        list.extend([0; 4]);
        for (first, n) in ranges {
            list.extend([&first.to_be_bytes()[..], &n.to_be_bytes(), &[0; 4]].concat());
        }
        let [high, low] = len.to_be_bytes();
        unit.command(regs, &[0x42, 0, 0, 0, 0, 0, 0, high, low, 0], &|n| list.get(..n).map(<[u8]>::to_vec))
    };
    assert_eq!(unmap(&mut regs, 40, &[(1, 2), (9, 0)]), Ok(Action::Discard(vec![(512, 1024)])));
    assert_eq!(unmap(&mut regs, 24, &[(1, 2), (9, 1)]), Ok(Action::Discard(vec![(512, 1024)])), "what is there");
    assert_eq!(unmap(&mut regs, 0, &[]), Ok(Action::done()));
    for (len, ranges, sense) in [
        (7, vec![], PARAMETER_LENGTH),
        (40, vec![(1, 1)], PARAMETER_LENGTH),
        (0xffff, vec![(1, 1)], INVALID_PARAMETER),
        (24, vec![(0x1000, 1)], OUT_OF_RANGE),
        (24, vec![(u64::MAX, u32::MAX)], OUT_OF_RANGE),
        (8 + 16 * 4, vec![(0, 0x1000); 4], (0, 0, 0)),
    ] {
        let result = unmap(&mut regs, len, &ranges);
        assert_eq!(result.err().unwrap_or_default(), sense, "{len} {ranges:?}");
    }
    let same = |regs: &mut UnitRegs, flags: u8, n: u32, byte: u8| {
        let mut cdb = vec![0x93, flags, 0, 0, 0, 0, 0, 0, 0, 1];
        cdb.extend(n.to_be_bytes());
        cdb.extend([0, 0]);
        unit.command(regs, &cdb, &|n| Some(vec![byte; n]))
    };
    let zero = Ok(Action::Zero { offset: 512, len: 1024, durable: false });
    assert_eq!(
        (same(&mut regs, 0, 2, 0), same(&mut regs, 1, 2, 9), same(&mut regs, 8, 2, 0)),
        (zero.clone(), zero.clone(), zero)
    );
    let pattern = vec![9; 512];
    assert_eq!(same(&mut regs, 0, 1, 9), Ok(Action::Same { offset: 512, len: 512, pattern, durable: false }));
    for (flags, n, sense) in [(0, 0, INVALID_FIELD), (0x10, 1, INVALID_FIELD), (0, u32::MAX, OUT_OF_RANGE)] {
        assert_eq!(same(&mut regs, flags, n, 0), Err(sense));
    }
}

#[test]
fn mode_pages_and_the_write_cache() {
    let unit = disk(64);
    assert_eq!(data(&unit, &[0x1a, 8, 8, 0, 255, 0])[..7], [23, 0, 0x10, 0, 8, 18, 4]);
    assert_eq!(data(&unit, &[0x1a, 0, 0x3f, 0, 255, 0]).len(), 4 + 8 + 12 + 20 + 12);
    assert_eq!(
        data(&unit, &[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255, 0])[..16],
        [0, 58, 0, 0x10, 0, 0, 0, 8, 0, 0, 0, 64, 0, 0, 2, 0]
    );
    assert_eq!(data(&unit, &[0x1a, 8, 0x48, 0, 255, 0])[4..8], [8, 18, 4, 0], "changeable");
    for (cdb, sense) in [
        ([0x1a, 8, 0xc8, 0, 255, 0], SAVING_NOT_SUPPORTED),
        ([0x1a, 8, 0x1c, 0, 255, 0], INVALID_FIELD),
        ([0x1a, 8, 8, 3, 255, 0], INVALID_FIELD),
    ] {
        assert_eq!(run(&unit, &cdb), Err(sense));
    }
    let (unit, mut regs) = unit;
    let select = |regs: &mut UnitRegs, flags, list: Vec<u8>| {
        let cdb = [0x15, flags, 0, 0, list.len() as u8, 0];
        unit.command(regs, &cdb, &|n| list.get(..n).map(<[u8]>::to_vec))
    };
    let cache = |wce: u8, other: u8| [&[0, 0, 0, 0, 8, 18, wce, other][..], &[0; 16]].concat();
    assert_eq!(select(&mut regs, 0x10, cache(0, 0)), Ok(Action::Flush));
    assert_eq!(
        unit.command(&mut regs, &[0x0a, 0, 0, 0, 1, 0], &none),
        Ok(Action::Write { offset: 0, len: 512, durable: true })
    );
    assert_eq!(select(&mut regs, 0x10, cache(4, 0)), Ok(Action::done()));
    assert!(regs.write_cache);
    for (flags, list, sense) in [
        (0x10, cache(0, 1), INVALID_PARAMETER),
        (0x11, cache(0, 0), INVALID_FIELD),
        (0x10, vec![0, 0, 0], PARAMETER_LENGTH),
        (0x10, vec![0, 0, 0, 255], PARAMETER_LENGTH),
        (0x10, vec![0, 0, 0, 0, 8, 200, 0], PARAMETER_LENGTH),
        (0x10, vec![0, 0, 0, 0, 0x1c, 0], INVALID_PARAMETER),
    ] {
        assert_eq!(select(&mut regs, flags, list.clone()), Err(sense), "{list:?}");
        assert!(regs.write_cache, "nothing changed");
    }
}

#[test]
fn attentions_are_told_once() {
    let (unit, mut regs) = (disk(1).0, UnitRegs::default());
    assert!(matches!(unit.command(&mut regs, &[0x12, 0, 0, 0, 36, 0], &none), Ok(Action::Data(_))));
    assert_eq!(unit.command(&mut regs, &[0; 6], &none), Err(POWER_ON));
    assert_eq!(unit.command(&mut regs, &[0; 6], &none), Ok(Action::done()));
    let mut regs = regs.after_reset();
    assert_eq!(unit.command(&mut regs, &[3, 0, 0, 0, 3, 0], &none), Ok(Action::Data(vec![0x70, 0, 6])));
    assert_eq!(unit.command(&mut regs, &[0; 6], &none), Ok(Action::done()));
}

#[test]
fn a_cdrom_drive() {
    let mut regs = disk(1).1;
    let mut unit = Unit::cdrom(Some(MemoryDisk::new(16)), "");
    let mut run = |unit: &Unit, cdb: &[u8]| unit.command(&mut regs, cdb, &none);
    let Ok(Action::Data(inquiry)) = run(&unit, &[0x12, 0, 0, 0, 36, 0]) else { panic!() };
    assert_eq!(inquiry[..4], [5, 0x80, 5, 0x12]);
    assert_eq!(run(&unit, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Ok(Action::Data(vec![0, 0, 0, 3, 0, 0, 8, 0])));
    assert_eq!(run(&unit, &[0x28, 0, 0, 0, 0, 2, 0, 0, 2, 0]), Ok(Action::Read { offset: 4096, len: 4096 }));
    assert_eq!(run(&unit, &[0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0]), Err(OUT_OF_RANGE));
    let Ok(Action::Data(mode)) = run(&unit, &[0x1a, 0, 0x2a, 0, 255, 0]) else { panic!() };
    assert_eq!((mode.len(), mode[0], mode[4]), (24, 23, 0x2a));
    unit.medium = None;
    assert_eq!(run(&unit, &[0; 6]), Err(NOT_READY));
    assert_eq!(run(&unit, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Err(INVALID_COMMAND));
}

#[test]
fn targets_without_that_unit() {
    let report = |select, room: u32| {
        report_luns(&[&[0xa0, 0, select, 0, 0, 0][..], &room.to_be_bytes(), &[0, 0]].concat(), [0, 3].into_iter())
    };
    let list = vec![0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0];
    assert_eq!(report(0, 64), Some(Ok(Action::Data(list.clone()))));
    assert_eq!(report(2, 16), Some(Ok(Action::Data(list[..16].to_vec()))));
    assert_eq!(
        (report(1, 16), report(0, 15), report(9, 16)),
        (Some(Ok(Action::Data(vec![0; 8]))), Some(Err(INVALID_FIELD)), Some(Err(INVALID_FIELD)))
    );
    assert_eq!(report_luns(&[0], [0].into_iter()), None);
    assert_eq!((without_unit(&[0; 6]), without_unit(&[])), (Err(NO_UNIT), Err(NO_UNIT)));
    let Ok(Action::Data(inquiry)) = without_unit(&[0x12, 0, 0, 0, 255, 0]) else { panic!() };
    assert_eq!((inquiry[0], inquiry.len()), (0x7f, 36));
}
