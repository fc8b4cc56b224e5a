//! What can go wrong with an object of the host: each message names the object, the reason and the next step.

use std::io;

/// A host object could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {what} `{name}`: {reason}; {advice}")]
pub struct HostError {
    /// What was tried: `open`, `connect to`.
    pub action: &'static str,
    /// The kind of object: `disk`, `socket`.
    pub what: &'static str,
    /// Its name as the person gave it.
    pub name: String,
    /// Why it failed, in lower case and without an error number.
    pub reason: String,
    /// What to do next.
    pub advice: String,
}

impl HostError {
    /// An error about the object `what` called `name`.
    pub fn new(
        action: &'static str,
        what: &'static str,
        name: impl Into<String>,
        reason: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { action, what, name: name.into(), reason: reason.into(), advice: advice.into() }
    }
}

/// The reason in an I/O error as a sentence's part: lower case, without "(os error N)".
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match (chars.next(), text.chars().nth(1)) {
        // "I/O error" keeps its capital.
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_part_of_a_sentence() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(reason(&io::Error::from_raw_os_error(5)), "Input/output error".to_lowercase());
        assert_eq!(reason(&io::Error::other("I/O went away")), "I/O went away");
    }
}
