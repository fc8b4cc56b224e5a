//! From the checked table to Rust text.

use crate::{Field, Row, Table, tree, tree::Node};
use std::fmt::Write;

/// Generated text is not held to the style of written text.
const ALLOW: &str = "#[allow(clippy::all, clippy::pedantic, unused_parens, unused_variables)]\n";

pub(crate) fn formats(table: &Table) -> String {
    let mut out = String::new();
    for (i, format) in table.formats.iter().enumerate().filter(|(_, f)| !f.fields.is_empty()) {
        let mut names: Vec<String> =
            table.rows.iter().filter(|r| r.format == i).map(|r| format!("`{}`", r.name)).collect();
        names.sort();
        names.dedup();
        let _ = writeln!(out, "/// Operands of {}.", names.join(", "));
        let _ = writeln!(out, "#[allow(missing_docs)]");
        let _ = writeln!(out, "#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub struct {} {{", format.name);
        for (name, width) in &format.fields {
            let _ = writeln!(out, "    pub {name}: {},", field_type(*width));
        }
        out.push_str("}\n");
    }
    out
}

pub(crate) fn decoder(table: &Table) -> String {
    let word = word_type(table);
    let mut out = String::new();
    for (i, row) in table.rows.iter().enumerate() {
        let format = &table.formats[row.format];
        let argument = if format.fields.is_empty() {
            String::new()
        } else {
            let fields: Vec<String> = format
                .fields
                .iter()
                .filter_map(|(name, _)| row.fields.iter().find(|f| f.name == *name))
                .map(|f| format!("{}: {}", f.name, field_value(f)))
                .collect();
            format!("{} {{ {} }}", format.name, fields.join(", "))
        };
        let _ = writeln!(
            out,
            "{ALLOW}fn row{i}(t: &mut Translator<'_>, word: {word}) -> Next {{ t.{}({argument}) }}",
            row.name
        );
    }
    let _ = writeln!(out, "/// Calls the translator's method for `word`, or `unallocated`.");
    let _ = writeln!(out, "{ALLOW}pub fn decode(t: &mut Translator<'_>, word: {word}) -> Next {{");
    write_node(&mut out, table, &tree::build(&table.rows, table.width), 1, &|i, row: &Row| {
        let feats: Vec<String> = row.feats.iter().map(|f| format!("t.has(Feature::{f})")).collect();
        (feats, format!("return row{i}(t, word);"))
    });
    out.push_str("    t.unallocated(word)\n}\n");
    out
}

pub(crate) fn methods(table: &Table) -> String {
    let mut methods: Vec<String> = table
        .rows
        .iter()
        .map(|row| {
            let format = &table.formats[row.format];
            format!("{}({})", row.name, if format.fields.is_empty() { "" } else { &format.name })
        })
        .collect();
    methods.sort();
    methods.dedup();
    let mut feats: Vec<&str> = table.rows.iter().flat_map(|r| &r.feats).map(String::as_str).collect();
    feats.sort_unstable();
    feats.dedup();
    format!(
        "/// Calls `$then!` with all methods, then all features.\n\
         macro_rules! with_methods {{\n    ($then:ident) => {{ $then! {{ {}; {} }} }};\n}}\n",
        methods.join(" "),
        feats.join(" ")
    )
}

pub(crate) fn rows(table: &Table) -> String {
    let word = word_type(table);
    let mut out = String::new();
    let _ = writeln!(out, "/// All rows, in the order in which they are tried.");
    let _ = writeln!(out, "{ALLOW}pub static ROWS: &[decodetree::runtime::Row<{word}>] = &[");
    for row in &table.rows {
        let fields: Vec<String> = row
            .fields
            .iter()
            .map(|f| {
                format!(
                    "decodetree::runtime::Field {{ name: {:?}, pos: {}, width: {}, constant: {:?} }}",
                    f.name, f.pos, f.width, f.constant
                )
            })
            .collect();
        let allowed = row
            .condition
            .as_ref()
            .map_or_else(|| "|_| true".to_owned(), |c| format!("|word| {}", c.rust(&row.fields, "u32::from(word)")));
        let _ = writeln!(
            out,
            "    decodetree::runtime::Row {{ name: {:?}, format: {:?}, source: \"{}:{}\", mask: {:#x}, value: {:#x}, \
             feats: &{:?}, allowed: {allowed}, fields: &[{}] }},",
            row.name,
            table.formats[row.format].name,
            row.file,
            row.line,
            row.mask,
            row.value,
            row.feats,
            fields.join(", ")
        );
    }
    out.push_str("];\n");
    let _ = writeln!(out, "/// The row that `word` belongs to where all features are there.");
    let _ = writeln!(out, "{ALLOW}pub fn row_of(word: {word}) -> Option<&'static decodetree::runtime::Row<{word}>> {{");
    write_node(&mut out, table, &tree::build(&table.rows, table.width), 1, &|i, _: &Row| {
        (Vec::new(), format!("return Some(&ROWS[{i}]);"))
    });
    out.push_str("    None\n}\n");
    out
}

/// Gives further tests and the statement for a row, by index.
type Leaf = dyn Fn(usize, &Row) -> (Vec<String>, String);

/// Writes a step of the decision tree.
fn write_node(out: &mut String, table: &Table, node: &Node, depth: usize, leaf: &Leaf) {
    let indent = "    ".repeat(depth);
    match node {
        Node::Switch { pos, width, arms } => {
            let bits =
                Field { name: String::new(), pos: *pos, width: *width, constant: None }.rust_number("u32::from(word)");
            let _ = writeln!(out, "{indent}match {bits} {{");
            for (i, (values, next)) in arms.iter().enumerate() {
                if i + 1 == arms.len() {
                    let _ = writeln!(out, "{indent}    _ => {{");
                } else {
                    let values: Vec<String> = values.iter().map(|v| format!("{v:#b}")).collect();
                    let _ = writeln!(out, "{indent}    {} => {{", values.join(" | "));
                }
                write_node(out, table, next, depth + 2, leaf);
                let _ = writeln!(out, "{indent}    }}");
            }
            let _ = writeln!(out, "{indent}}}");
        }
        Node::Try(list) => {
            for &(i, compare) in list {
                let row = &table.rows[i];
                let (mut tests, statement) = leaf(i, row);
                if let Some(c) = &row.condition {
                    tests.insert(0, c.rust(&row.fields, "u32::from(word)"));
                }
                if compare != 0 {
                    tests.insert(0, format!("word & {compare:#x} == {:#x}", row.value & compare));
                }
                if tests.is_empty() {
                    let _ = writeln!(out, "{indent}{statement}");
                    break;
                }
                let _ = writeln!(out, "{indent}if {} {{ {statement} }}", tests.join(" && "));
            }
        }
    }
}

fn word_type(table: &Table) -> &'static str {
    if table.width == 16 { "u16" } else { "u32" }
}

fn field_type(width: u32) -> &'static str {
    match width {
        1 => "bool",
        2..=8 => "u8",
        9..=16 => "u16",
        _ => "u32",
    }
}

fn field_value(field: &Field) -> String {
    let number = field.rust_number("u32::from(word)");
    match field_type(field.width) {
        "bool" => format!("{number} != 0"),
        narrow => format!("{number} as {narrow}"),
    }
}
