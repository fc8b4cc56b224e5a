//! Where `unsafe` may stand and how it explains itself (see the list in ARCHITECTURE.md).

use std::collections::BTreeSet;

use super::File;
use super::source::{code_only, is_word};

/// Crate roots that forbid unsafe code, where the crate exists.
const FORBIDDEN: &[&str] = &[
    "hw/src/lib.rs",
    "machines/src/lib.rs",
    "host/src/lib.rs",
    "ui/src/lib.rs",
    "monitor/src/lib.rs",
    "gdbstub/src/lib.rs",
    "tcg/softfloat/src/lib.rs",
    "tcg/decodetree/src/lib.rs",
    "xtask/src/main.rs",
];

/// A justification may stand this many lines above what it justifies.
const NEAR: usize = 8;

pub fn check(files: &[File]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| FORBIDDEN.contains(&file.path.as_str())) {
        if !code_only(&file.text).contains("#![forbid(unsafe_code)]") {
            complaints.push(format!("{}: lacks #![forbid(unsafe_code)]", file.path));
        }
    }
    let mut with_unsafe = BTreeSet::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        let uses = uses(&file.text);
        if uses.is_empty() {
            continue;
        }
        with_unsafe.insert(file.path.as_str());
        if !opens_with_reason(&file.text) {
            complaints.push(format!("{}: has unsafe code but does not open with `// UNSAFETY:`", file.path));
        }
        let lines: Vec<&str> = file.text.lines().collect();
        for line in uses.into_iter().filter(|line| !justified(&lines, *line)) {
            complaints.push(format!("{}:{}: unsafe without `// SAFETY:`", file.path, line + 1));
        }
    }
    let architecture = files.iter().find(|file| file.path == "ARCHITECTURE.md").map_or("", |file| &file.text);
    let listed: BTreeSet<&str> = listed(architecture).collect();
    for path in with_unsafe.difference(&listed) {
        complaints.push(format!("{path}: has unsafe code but is not in ARCHITECTURE.md's list of unsafe modules"));
    }
    for path in listed.difference(&with_unsafe) {
        complaints.push(format!("ARCHITECTURE.md lists {path} as unsafe; it has no unsafe code"));
    }
    complaints
}

/// Lines (from 0) on which the keyword stands, but for types of unsafe function pointers, which promise nothing.
fn uses(text: &str) -> Vec<usize> {
    let code = code_only(text);
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let keyword = line.match_indices("unsafe").any(|(at, word)| {
            let before = line[..at].chars().next_back().is_some_and(is_word);
            let rest = &line[at + word.len()..];
            !before && !rest.starts_with(is_word) && !is_pointer_type(rest)
        });
        if keyword {
            found.push(number);
        }
    }
    found
}

/// What follows `unsafe` in a type: `fn(`, perhaps with an ABI whose name the lexer has blanked.
fn is_pointer_type(rest: &str) -> bool {
    let rest = rest.trim_start();
    let rest = rest.strip_prefix("extern").map_or(rest, str::trim_start);
    rest.strip_prefix("fn").is_some_and(|rest| rest.trim_start().starts_with('('))
}

fn justified(lines: &[&str], at: usize) -> bool {
    let explains = |line: &&str| line.contains("// SAFETY:") || line.contains("/// # Safety");
    let block_opened_here = lines.get(at + 1).filter(|line| line.trim_start().starts_with("// SAFETY:"));
    // The doc comment of an unsafe function may be longer than the distance allowed to a block.
    let mut first = at.saturating_sub(NEAR);
    let mut above = at;
    while above > 0 && is_annotation(lines[above - 1]) {
        above -= 1;
    }
    first = first.min(above);
    block_opened_here.is_some() || lines[first..=at].iter().any(explains)
}

fn is_annotation(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") || line.starts_with("#[")
}

/// Only comments and inner attributes may come before the reason.
fn opens_with_reason(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with("//") || line.starts_with("#!["))
        .any(|line| line.starts_with("// UNSAFETY:"))
}

/// Paths in the list under the heading that speaks of unsafe code: `- \`path\`: why`.
fn listed(architecture: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    architecture.lines().filter_map(move |line| {
        if line.starts_with('#') {
            inside = line.to_lowercase().contains("unsafe");
        }
        let item = line.trim_start().strip_prefix("- `").filter(|_| inside)?;
        item.split('`').next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# Mimic\n## Unsafe code\n- `vm/src/ram.rs`: maps guest RAM.\n## Other\n- `vm/src/x.rs`\n";

    fn complaints(path: &str, text: &str, architecture: &str) -> Vec<String> {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        check(&[file(path, text), file("ARCHITECTURE.md", architecture)])
    }

    #[test]
    fn explained_and_listed_is_fine() {
        let text = "//! RAM.\n// UNSAFETY: maps memory.\n\n// SAFETY: fits.\nlet x = unsafe { f() };\n";
        assert_eq!(complaints("vm/src/ram.rs", text, LIST), Vec::<String>::new());
    }

    #[test]
    fn each_rule_has_its_complaint() {
        let check = |path: &str, text: &str, architecture: &str, expect: &[&str]| {
            let found = complaints(path, text, architecture);
            assert_eq!(found.len(), expect.len(), "{found:?}");
            assert!(found.iter().zip(expect).all(|(found, expect)| found.contains(expect)), "{found:?}");
        };
        let ram = "vm/src/ram.rs";
        check(ram, "// UNSAFETY: x\nunsafe { f() }", LIST, &["ram.rs:2: unsafe without"]);
        check(ram, "// SAFETY: x\nunsafe { f() }", LIST, &["does not open with"]);
        check(ram, "use x;\n// UNSAFETY: late\n// SAFETY: x\nunsafe { f() }", LIST, &["does not open with"]);
        check(ram, "// UNSAFETY: x\n// SAFETY: x\nunsafe impl Send for X {}", "# none", &["is not in ARCHITECTURE.md"]);
        check(ram, "fn safe() {}", LIST, &["lists vm/src/ram.rs"]);
        check("hw/src/lib.rs", "//! #![forbid(unsafe_code)]", "", &["lacks #![forbid(unsafe_code)]"]);
        check("hw/src/lib.rs", "#![forbid(unsafe_code)]", "", &[]);
    }

    #[test]
    fn only_the_keyword_counts() {
        let check = |text, expect: &[usize]| assert_eq!(uses(text), expect, "{text}");
        check("#![deny(unsafe_code)]\n// unsafe { }\nlet s = \"unsafe {\";", &[]);
        check("type F = unsafe extern \"C\" fn(u8);\ntype G = unsafe fn(u8);", &[]);
        check(
            "unsafe extern \"C\" fn f(x: u8) {}\nunsafe fn g() {}\n#[unsafe(no_mangle)]\nunsafe { h() }",
            &[0, 1, 2, 3],
        );
    }

    #[test]
    fn a_justification_must_be_near() {
        let far = format!("// SAFETY: long ago\n{}unsafe {{ f() }}\n", "let x = 1;\n".repeat(NEAR));
        let doc = format!("/// # Safety\n{}unsafe fn f() {{}}\n", "/// text\n".repeat(2 * NEAR));
        let lines = |text: &'static str| text.lines().collect::<Vec<_>>();
        assert!(!justified(&far.lines().collect::<Vec<_>>(), NEAR + 1));
        assert!(justified(&doc.lines().collect::<Vec<_>>(), 2 * NEAR + 1));
        assert!(justified(&lines("unsafe {\n    // SAFETY: inside\n    f()\n}"), 0));
    }
}
