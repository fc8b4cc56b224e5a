//! Values of the form `a,key=value,switch`: `,,` stands for a comma, a key without value is a switch that is on.

use super::{CliError, suggest, value};

/// The parts of one option's value, to be taken by name; [`finish`](Fields::finish) reports what nobody took.
pub struct Fields<'a> {
    option: &'a str,
    text: &'a str,
    items: Vec<Item>,
    /// Every name that was asked for: the known ones.
    asked: Vec<&'static str>,
}

struct Item {
    key: String,
    value: Option<String>,
    used: bool,
}

impl<'a> Fields<'a> {
    /// Splits `text`, the value of `option`. A first part without `=` is the value of `implied`, if that is not empty.
    pub fn new(option: &'a str, text: &'a str, implied: &str) -> Self {
        Self::rewritten(option, text, text, implied)
    }

    /// The same, where messages show `text` and the parts are those of `parts`.
    pub fn rewritten(option: &'a str, text: &'a str, parts: &str, implied: &str) -> Self {
        let mut items = Vec::new();
        for (at, part) in split(parts).into_iter().enumerate() {
            let item = match part.split_once('=') {
                Some((key, value)) => (key.to_string(), Some(value.to_string())),
                None if at == 0 && !implied.is_empty() => (implied.to_string(), Some(part)),
                None if part.is_empty() => continue,
                None => (part, None),
            };
            items.push(Item { key: item.0, value: item.1, used: false });
        }
        Self { option, text, items, asked: Vec::new() }
    }

    /// The same from keys and values that were read from JSON.
    pub fn from_pairs(option: &'a str, text: &'a str, pairs: Vec<(String, String)>) -> Self {
        let items = pairs.into_iter().map(|(key, value)| Item { key, value: Some(value), used: false }).collect();
        Self { option, text, items, asked: Vec::new() }
    }

    /// An error about this value.
    pub fn error(&self, reason: impl std::fmt::Display, advice: impl std::fmt::Display) -> CliError {
        CliError::new(&format!("-{} {}", self.option, self.text), reason, advice)
    }

    /// Whether `help` or `?` stands among the parts.
    pub fn asks_help(&self) -> bool {
        let is_help = |text: &str| text == "help" || text == "?";
        self.items.iter().any(|item| match &item.value {
            None => is_help(&item.key),
            Some(value) => is_help(value),
        })
    }

    /// Takes a value; the last one counts where a key is repeated.
    pub fn take(&mut self, key: &'static str) -> Option<String> {
        self.asked.push(key);
        let mut found = None;
        for item in &mut self.items {
            if item.key == key {
                item.used = true;
                found = Some(item.value.clone().unwrap_or_else(|| "on".to_string()));
            }
        }
        found
    }

    /// Takes every value of a key that may be repeated, in order.
    pub fn take_all(&mut self, key: &'static str) -> Vec<String> {
        self.asked.push(key);
        let items = self.items.iter_mut().filter(|item| item.key == key);
        items
            .map(|item| {
                item.used = true;
                item.value.clone().unwrap_or_else(|| "on".to_string())
            })
            .collect()
    }

    /// Takes a value that must be there.
    pub fn need(&mut self, key: &'static str, advice: &str) -> Result<String, CliError> {
        self.take(key).filter(|value| !value.is_empty()).ok_or_else(|| self.error(format!("{key}= is missing"), advice))
    }

    /// Takes a switch: `key=on`, `key`, `key=off`, `nokey`.
    pub fn switch(&mut self, key: &'static str) -> Result<Option<bool>, CliError> {
        for item in &mut self.items {
            if item.value.is_none() && item.key.strip_prefix("no") == Some(key) {
                *item = Item { key: key.to_string(), value: Some("off".to_string()), used: false };
            }
        }
        let Some(text) = self.take(key) else { return Ok(None) };
        match value::switch(&text) {
            Some(on) => Ok(Some(on)),
            None => Err(self.error(format!("{key}={text} is no switch"), format!("write {key}=on or {key}=off"))),
        }
    }

    /// Takes a number not above `max`.
    pub fn number(&mut self, key: &'static str, max: u64) -> Result<Option<u64>, CliError> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match value::number(&text).filter(|number| *number <= max) {
            Some(number) => Ok(Some(number)),
            None => Err(self.error(format!("{key}={text} is no number up to {max}"), format!("write {key}=N"))),
        }
    }

    /// Takes one of several words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)]) -> Result<Option<T>, CliError> {
        let Some(text) = self.take(key) else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == text) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(self.error(format!("unknown {key}={text}"), format!("use {key}={}", names.join("|"))))
            }
        }
    }

    /// Everything that was not taken, in order.
    pub fn rest(&mut self) -> Vec<(String, Option<String>)> {
        let left = self.items.iter_mut().filter(|item| !item.used);
        left.map(|item| {
            item.used = true;
            (item.key.clone(), item.value.clone())
        })
        .collect()
    }

    /// Reports the first part that was not taken.
    pub fn finish(self) -> Result<(), CliError> {
        let Some(left) = self.items.iter().find(|item| !item.used) else { return Ok(()) };
        let mut known: Vec<&str> = self.asked.clone();
        known.sort_unstable();
        known.dedup();
        let otherwise = format!("known are {}", known.join(", "));
        let advice = suggest::or(&left.key, known.iter().copied(), "", &otherwise);
        Err(self.error(format!("unknown property `{}`", left.key), advice))
    }
}

/// Splits at single commas and turns double ones into one.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let last = parts.len() - 1;
        match char {
            ',' if chars.peek() == Some(&',') => {
                chars.next();
                parts[last].push(',');
            }
            ',' => parts.push(String::new()),
            char => parts[last].push(char),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_are_doubled() {
        let rows: &[(&str, &[&str])] = &[
            ("a,b", &["a", "b"]),
            ("a,,b,c", &["a,b", "c"]),
            (",,,", &[",", ""]),
            ("", &[""]),
            ("file=x,,,,y", &["file=x,,y"]),
        ];
        for (text, want) in rows {
            assert_eq!(split(text), *want, "{text}");
        }
    }

    #[test]
    fn parts_are_taken_by_name() {
        let mut fields = Fields::new("chardev", "socket,id=a,server,nowait,port=5,port=6,host=", "backend");
        assert_eq!(fields.take("backend").as_deref(), Some("socket"));
        assert_eq!(fields.switch("server").unwrap(), Some(true));
        assert_eq!(fields.switch("wait").unwrap(), Some(false));
        assert_eq!(fields.number("port", 65535).unwrap(), Some(6));
        assert_eq!(fields.take("host").as_deref(), Some(""));
        assert_eq!(fields.take("absent"), None);
        let error = fields.finish().unwrap_err().to_string();
        assert!(
            error.ends_with("unknown property `id`; known are absent, backend, host, port, server, wait"),
            "{error}"
        );
    }
}
