//! What a table may say and what is refused, with place and reason.

use decodetree::Table;

/// The first error of a table, as it is printed.
fn error(text: &str) -> String {
    match Table::parse(16, &[("t.decode", text)]) {
        Ok(_) => "accepted".to_owned(),
        Err(errors) => errors.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let cases = [
        ("add 0000000000000000", "t.decode:1: a row before the first [Format]"),
        ("[a]", "t.decode:1: `a` is no name for a format: use CamelCase"),
        ("[A]\n\nadd 0000 # short", "t.decode:3: the row has 4 bits, not 16"),
        ("[A]\nadd 0000 rd:13", "t.decode:2: `rd:13` does not fit: 12 bits are left of 16"),
        ("[A]\nadd 0000000000000000 0", "t.decode:2: the row has more than 16 bits"),
        ("[A]\nadd 00000000 rd:4 rd:4", "t.decode:2: field `rd` occurs twice"),
        ("[A]\nAdd 0000000000000000", "t.decode:2: `Add` is no name for a row: use lower_case"),
        ("[A]\nadd 00000000 rd:x", "t.decode:2: `rd:x`: the width is no number"),
        ("[A]\nadd 00000000 2 rd:7", "t.decode:2: `2` is neither bits nor field:width"),
        ("[A]\nadd 00000000 rd:8\nsub 10000000 rn:8", "t.decode:3: format A has the field rd:8, this row has not"),
        ("[A]\nadd 00000000 rd:8\nsub 1000 rd:8 rn:4", "t.decode:3: format A has no field `rn`"),
        ("[A]\nadd 00000000 rd:8\n[B]\nadd 10000000 rd:8", "t.decode:4: `add` has format B here and A in t.decode:2"),
        ("[A]\nadd 00000000 rd:8 feat=lse", "t.decode:2: `feat=lse`: a feature starts with a capital letter"),
        ("[A]\nadd 00000000 rd:8 priority=a", "t.decode:2: `priority=a`: the priority is no number"),
        ("[A]\nadd 00000000 rd:8 a:1=2", "t.decode:2: `a:1=2`: the value does not fit"),
        ("[A]\nadd 00000000 rd:8 if rn == 1", "t.decode:2: the condition names `rn`, which is no field of the row"),
        ("[A]\nadd 00000000 rd:8 if rd", "t.decode:2: a number stands where the condition needs a comparison"),
        (
            "[A]\nadd 00000000 rd:8 if (rd == 1) == 1",
            "t.decode:2: a comparison stands where the condition needs a number",
        ),
        ("[A]\nadd 00000000 rd:8 if (rd == 1", "t.decode:2: missing `)` in the condition"),
        ("[A]\nadd 00000000 rd:8 if rd = 1", "t.decode:2: unexpected `=` in the condition"),
        ("[A]\nadd 00000000 rd:8 if rd == 256", "t.decode:2: 0x100 is no value of field `rd`"),
        ("[A]\nadd 00000000 rd:8 if rd == 1 && rd == 2", "t.decode:2: the condition can never be true"),
        ("[A]\nadd 00000000 rd:8 if rd > 255", "t.decode:2: the condition of `add` can never be true"),
        ("[A]\nmatch 00000000 rd:8", "t.decode:2: `match` is a Rust keyword: it cannot name a method or a field"),
        ("[A]\nadd 00000000 type:8", "t.decode:2: `type` is a Rust keyword: it cannot name a method or a field"),
    ];
    for (text, expect) in cases {
        assert_eq!(error(text), expect, "{text}");
    }
}

#[test]
fn overlaps_must_be_decided() {
    let undecided = "[A]\nadd 0000 rd:12\n[B]\nsub rn:12 0000";
    assert_eq!(
        error(undecided),
        "t.decode:4: `sub` and `add` (t.decode:2) overlap, for example 0x0000, and neither contains the other: \
         add a condition or priority="
    );
    assert_eq!(
        error("[A]\nadd 0000 rd:12\nsub 0000 rd:12"),
        "t.decode:3: `sub` is never reached: `add` (t.decode:2) takes all its words"
    );
    assert_eq!(
        error("[A]\nadd 0000 rd:12 priority=1\n[B]\nsub 00000000 rn:8"),
        "t.decode:4: `sub` is never reached: `add` (t.decode:2) takes all its words"
    );
    let decided = [
        "[A]\nadd 0000 rd:12\n[B]\nsub 0000 rn:8 0000",
        "[A]\nadd 0000 rd:12 if rd & 15 != 0\n[B]\nsub rn:12 0000",
        "[A]\nadd 0000 rd:12 priority=1\n[B]\nsub rn:12 0000",
        "[A]\nadd 0000 rd:12 feat=New\nsub 0000 rd:12 priority=-1",
    ];
    for text in decided {
        assert_eq!(error(text), "accepted", "{text}");
    }
}

#[test]
fn formats_choose_the_smallest_type() {
    let text = "[Wide]\nld a:1 b:2 c:9 0000\nst 0000 c:9 b:2 1 a:1=1\n[Bare]\nnop 1111111111111111\n";
    let table = Table::parse(16, &[("t.decode", text)]).unwrap();
    assert_eq!(
        table.formats(),
        "/// Operands of `ld`, `st`.\n#[allow(missing_docs)]\n#[derive(Clone, Copy, Debug, PartialEq, Eq)]\n\
         pub struct Wide {\n    pub a: bool,\n    pub b: u8,\n    pub c: u16,\n}\n"
    );
    assert_eq!(
        table.methods(),
        "/// Calls `$then!` with all methods, then all features.\nmacro_rules! with_methods {\n    \
         ($then:ident) => { $then! { ld(Wide) nop() st(Wide);  } };\n}\n"
    );
}

#[test]
fn output_depends_on_the_text_alone() {
    let text =
        "[A]\nadd 0000 rd:12 if rd != 3\nsub 1000 rd:12\nmul 0100 rd:12 feat=Mul\n[B]\nneg x1xx rn:4 rm:8 priority=-1";
    let write = || {
        let table = Table::parse(16, &[("t.decode", text)]).unwrap();
        [table.formats(), table.decoder(), table.rows(), table.methods()]
    };
    assert_eq!(write(), write());
}
