//! Messages and help texts as a person sees them. `MIMIC_BLESS=1` rewrites the golden files; review the difference.

use crate::cli::config::Command;
use crate::cli::{help, parse};

fn check(file: &str, text: &str) {
    let path = format!("{}/tests/cli/{file}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("MIMIC_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let different = golden.lines().zip(text.lines()).find(|(golden, text)| golden != text);
    assert!(golden == text, "{file} differs, first in {different:#?}; MIMIC_BLESS=1 accepts the new text");
}

/// The words of a shell line: separated by spaces, '…' keeps them together.
fn words(line: &str) -> Vec<std::ffi::OsString> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(Into::into)),
            _ => words.push(part.into()),
        }
    }
    words
}

#[test]
fn errors_name_the_object_the_reason_and_the_next_step() {
    let mut text = String::new();
    for line in include_str!("errors.in").lines().filter(|line| !line.is_empty()) {
        let error = match parse(words(line)) {
            Err(error) => error.to_string(),
            Ok(command) => panic!("{line}: no error but {command:?}"),
        };
        assert!(!error.contains('\n') && error.contains(": ") && error.contains("; "), "{error}");
        text += &format!("$ {line}\nmimic: {error}\n");
    }
    check("errors.txt", &text);
}

#[test]
fn help_texts() {
    let mut text = String::new();
    let lines = [
        "mimic help",
        "mimic system-aarch64 -help",
        "mimic help img",
        "qemu-system-aarch64 -device help",
        "mimic system-aarch64 -device virtio-blk,help",
        "mimic system-aarch64 -d help",
        "mimic system-aarch64 -accel help",
        "mimic system-aarch64 -chardev help",
        "mimic system-aarch64 -object help",
        "mimic system-aarch64 -netdev help",
    ];
    for line in lines {
        let answer = match parse(words(line)).unwrap() {
            Command::Help => help::general(),
            Command::HelpSystem => help::system(),
            Command::HelpImg => help::img(),
            Command::List(list) => help::list(&list).unwrap(),
            other => panic!("{line}: {other:?}"),
        };
        text += &format!("$ {line}\n{answer}\n");
    }
    check("help.txt", &text);
}

#[test]
fn a_message_is_one_line_whatever_was_typed() {
    let error = parse(["mimic", "system-aarch64", "-m", "1\n2\x1b[31m"].map(Into::into)).unwrap_err().to_string();
    assert!(!error.chars().any(char::is_control), "{error:?}");
}
