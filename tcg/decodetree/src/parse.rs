//! From text to formats and rows.

use crate::{Error, Errors, Field, Format, Row, Table, expr};

pub(crate) fn parse(width: u32, files: &[(&str, &str)]) -> Result<Table, Errors> {
    let mut table = Table { width, formats: Vec::new(), rows: Vec::new() };
    let mut errors = Vec::new();
    for (file, text) in files {
        let mut current = None;
        for (n, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let result = match line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                Some(name) => open_format(&mut table, name).map(|format| current = Some(format)),
                None => match current {
                    Some(format) => row(&mut table, format, file, n + 1, line),
                    None => Err("a row before the first [Format]".to_owned()),
                },
            };
            if let Err(message) = result {
                errors.push(Error { file: (*file).to_owned(), line: n + 1, message });
            }
        }
    }
    if errors.is_empty() { Ok(table) } else { Err(Errors(errors)) }
}

/// A format may be continued further down, also in another file.
fn open_format(table: &mut Table, name: &str) -> Result<usize, String> {
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format!("`{name}` is no name for a format: use CamelCase"));
    }
    if let Some(known) = table.formats.iter().position(|f| f.name == name) {
        return Ok(known);
    }
    table.formats.push(Format { name: name.to_owned(), fields: Vec::new() });
    Ok(table.formats.len() - 1)
}

fn row(table: &mut Table, format: usize, file: &str, line: usize, text: &str) -> Result<(), String> {
    let (bits, condition, attributes) = split(text)?;
    let mut words = bits.split_whitespace();
    let name = words.next().ok_or("a row without a name")?;
    if !is_identifier(name) {
        return Err(format!("`{name}` is no name for a row: use lower_case"));
    }
    check_keyword(name)?;
    let (mut mask, mut value, mut fields) = (0u32, 0u32, Vec::<Field>::new());
    let mut left = table.width;
    for piece in words {
        if let Some((field, width)) = piece.split_once(':') {
            let (width, constant) = match width.split_once('=') {
                Some((width, value)) => {
                    (width, Some(value.parse().map_err(|_| format!("`{piece}`: the value is no number"))?))
                }
                None => (width, None),
            };
            let width: u32 = width.parse().map_err(|_| format!("`{piece}`: the width is no number"))?;
            if !is_identifier(field) {
                return Err(format!("`{field}` is no name for a field"));
            }
            check_keyword(field)?;
            if fields.iter().any(|f| f.name == field) {
                return Err(format!("field `{field}` occurs twice"));
            }
            if let Some(value) = constant {
                if width == 0 || width > 32 || value > u32::MAX >> (32 - width) {
                    return Err(format!("`{piece}`: the value does not fit"));
                }
            } else if width == 0 || width > left {
                return Err(format!("`{piece}` does not fit: {left} bits are left of {}", table.width));
            } else {
                left -= width;
            }
            fields.push(Field { name: field.to_owned(), pos: left, width, constant });
            continue;
        }
        let mut ignored = false;
        for c in piece.chars() {
            match c {
                '(' => ignored = true,
                ')' => ignored = false,
                '0' | '1' | 'x' => {
                    left = left.checked_sub(1).ok_or_else(|| format!("the row has more than {} bits", table.width))?;
                    if c != 'x' && !ignored {
                        mask |= 1 << left;
                        value |= u32::from(c == '1') << left;
                    }
                }
                _ => return Err(format!("`{piece}` is neither bits nor field:width")),
            }
        }
    }
    if left != 0 {
        return Err(format!("the row has {} bits, not {}", table.width - left, table.width));
    }
    let mut condition = condition.map(|text| expr::parse(text, &fields)).transpose()?;
    if let Some(whole) = condition.take() {
        let (m, v, rest) = whole.hoist(&fields)?;
        mask |= m;
        value |= v;
        condition = rest;
    }
    let (feats, priority) = attributes;
    check_format(table, format, &fields, name)?;
    table.rows.push(Row {
        name: name.to_owned(),
        file: file.to_owned(),
        line,
        format,
        mask,
        value,
        fields,
        condition,
        feats,
        priority,
    });
    Ok(())
}

type Attributes = (Vec<String>, i32);

/// Separates the bits, the condition and the attributes of a row.
fn split(text: &str) -> Result<(&str, Option<&str>, Attributes), String> {
    let mut text = text;
    let (mut feats, mut priority) = (Vec::new(), 0);
    while let Some((rest, last)) = text.rsplit_once(char::is_whitespace) {
        if let Some(list) = last.strip_prefix("feat=") {
            feats = list.split(',').map(str::to_owned).collect();
            if !feats.iter().all(|f| f.starts_with(|c: char| c.is_ascii_uppercase())) {
                return Err(format!("`{last}`: a feature starts with a capital letter"));
            }
        } else if let Some(n) = last.strip_prefix("priority=") {
            priority = n.parse().map_err(|_| format!("`{last}`: the priority is no number"))?;
        } else {
            break;
        }
        text = rest.trim_end();
    }
    Ok(match text.split_once(" if ") {
        Some((bits, condition)) => (bits, Some(condition), (feats, priority)),
        None => (text, None, (feats, priority)),
    })
}

const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Names become Rust methods and struct fields.
fn check_keyword(name: &str) -> Result<(), String> {
    if KEYWORDS.contains(&name) {
        return Err(format!("`{name}` is a Rust keyword: it cannot name a method or a field"));
    }
    Ok(())
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The first row of a format decides its fields; the others must have the same, wherever they stand in the word.
fn check_format(table: &mut Table, format: usize, fields: &[Field], name: &str) -> Result<(), String> {
    let first = !table.rows.iter().any(|r| r.format == format);
    let format_name = table.formats[format].name.clone();
    if let Some(other) = table.rows.iter().find(|r| r.name == name && r.format != format) {
        let (place, other) = (format!("{}:{}", other.file, other.line), &table.formats[other.format].name);
        return Err(format!("`{name}` has format {format_name} here and {other} in {place}"));
    }
    let known = &mut table.formats[format].fields;
    if first {
        *known = fields.iter().map(|f| (f.name.clone(), f.width)).collect();
        return Ok(());
    }
    for (name, width) in known.iter() {
        if !fields.iter().any(|f| f.name == *name && f.width == *width) {
            return Err(format!("format {format_name} has the field {name}:{width}, this row has not"));
        }
    }
    match fields.iter().find(|f| !known.iter().any(|(name, _)| *name == f.name)) {
        Some(extra) => Err(format!("format {format_name} has no field `{}`", extra.name)),
        None => Ok(()),
    }
}
