//! Rust source with what is not code blanked out, enough of a lexer for the text checks.

/// Replaces comments and the contents of string and character literals by spaces. Lines and columns stay.
pub fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            // A whole word at once, so that the `r` of `for` is not taken for the start of a raw string.
            let start = at;
            while at < chars.len() && is_word(chars[at]) {
                at += 1;
            }
            at = at.max(start + 1);
            out.extend(&chars[start..at]);
        }
    }
    out
}

/// Whether a name can contain this character.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// End of the comment or literal that starts at `at`; `at` itself if none does.
fn literal_or_comment(chars: &[char], at: usize) -> usize {
    let peek = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    match (peek(0), peek(1)) {
        ('/', '/') => line_end(chars, at),
        ('/', '*') => block_comment_end(chars, at),
        ('"', _) => string_end(chars, at + 1),
        ('b' | 'c', '"') => string_end(chars, at + 2),
        ('b', '\'') => character_end(chars, at + 1).unwrap_or(at),
        ('\'', _) => character_end(chars, at).unwrap_or(at),
        ('r', '"' | '#') => raw_string_end(chars, at + 1).unwrap_or(at),
        ('b' | 'c', 'r') => raw_string_end(chars, at + 2).unwrap_or(at),
        _ => at,
    }
}

fn line_end(chars: &[char], from: usize) -> usize {
    chars[from..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| from + length)
}

/// Block comments nest.
fn block_comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut at = from;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) if depth == 1 => return at + 2,
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// `'x'` or `'\n'`; a lifetime is none.
fn character_end(chars: &[char], quote: usize) -> Option<usize> {
    if chars.get(quote + 1) == Some(&'\\') {
        let close = chars[(quote + 3).min(chars.len())..].iter().position(|c| *c == '\'')?;
        return Some(quote + 3 + close + 1);
    }
    (chars.get(quote + 2) == Some(&'\'')).then_some(quote + 3)
}

/// `from` is after the `r`: hashes, quote, anything, quote, as many hashes.
fn raw_string_end(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from.min(chars.len())..].iter().take_while(|c| **c == '#').count();
    let open = from + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(chars.len())
}

/// Whether each line of `code` (from [`code_only`]) belongs to an item marked `#[cfg(test)]`.
pub fn test_lines(code: &str) -> Vec<bool> {
    let mut lines = Vec::new();
    // Depth of braces at which the test item started, once seen; and whether its body has begun.
    let mut item: Option<(i32, bool)> = None;
    let mut depth = 0;
    for line in code.lines() {
        if item.is_none() && line.contains("#[cfg(test)]") {
            item = Some((depth, false));
        }
        lines.push(item.is_some());
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if let Some((start, begun)) = &mut item {
                *begun |= c == '{';
                if depth == *start && (c == '}' && *begun || c == ';' && !*begun) {
                    item = None;
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        let check = |text: &str, expect: &str| assert_eq!(code_only(text), expect, "{text}");
        check("a // unsafe\nb", "a          \nb");
        check("a /* x /* y */ z */ b", &format!("a{}b", " ".repeat(19)));
        check(r#"f("unsafe \" {", 1)"#, "f(             , 1)");
        check("f(r#\"a\"b\"#)", &format!("f({})", " ".repeat(8)));
        check("g('{', 'a, '\\'', b'x')", "g(   , 'a,     ,     )");
        check("for \"x\" bar\"y\"", "for     bar   ");
        check("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        check("'\\u{7b}' x", "         x");
    }

    #[test]
    fn test_items_end_where_they_end() {
        let check = |code: &str, expect: &[bool]| assert_eq!(test_lines(code), expect, "{code}");
        check("fn a() {}\n#[cfg(test)]\nmod tests {\n{ }\n}\nfn b() {}", &[false, true, true, true, true, false]);
        check("#[cfg(test)]\nuse x;\nfn b() {}", &[true, true, false]);
        check("mod m {\n#[cfg(test)]\nfn t() { }\nfn u() {}\n}", &[false, true, true, false, false]);
    }
}
