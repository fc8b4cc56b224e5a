//! The command line: arguments in, [`Command`] out. It opens no file and knows no machine.
//!
//! Start reading at [`parse`], then [`options::OPTIONS`]: one row an option. To add one, add a row (its name, its value's
//! name, one line of help, the function that applies it) and a field in [`config::Config`].

pub mod builder;
pub mod chardev;
pub mod config;
pub mod device;
pub mod drive;
pub mod fields;
pub mod help;
pub mod img;
pub mod netdev;
pub mod options;
pub mod suggest;
pub mod value;

use config::{Command, Config, System};
use std::ffi::OsString;
use std::path::Path;

/// Why the command line cannot be followed: one line that names the object, the reason and the next step. The program
/// prints it behind `mimic: ` and ends with status 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError(String);

impl CliError {
    /// `object` is what was typed (`-m 64Q`).
    pub fn new(object: &str, reason: impl std::fmt::Display, advice: impl std::fmt::Display) -> Self {
        Self(format!("{object}: {reason}; {advice}"))
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What was typed may hold anything; the message stays one line.
        let line = self.0.replace('\n', "\\n");
        f.write_str(&line.chars().filter(|char| !char.is_control()).collect::<String>())
    }
}

impl std::error::Error for CliError {}

/// The commands of `mimic`, each with one line of help.
pub const COMMANDS: &[(&str, &str)] = &[
    ("system-aarch64", "run a 64-bit ARM machine; takes the options of qemu-system-aarch64"),
    ("system-x86_64", "run a PC; takes the options of qemu-system-x86_64"),
    ("system-i386", "run a PC with a 32-bit processor; takes the options of qemu-system-i386"),
    ("img", "make, describe, convert, resize and check disk images; takes the options of qemu-img"),
    ("explain", "show what an instruction is translated to: mimic explain a64 91000420"),
    ("help", "show this help, or with a command its help"),
];

/// Reads a whole command line, the program's own name first. Under the names `qemu-system-aarch64` and
/// `mimic-system-aarch64` the program is the command `system-aarch64`, and so on.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, CliError> {
    let mut words = Vec::new();
    for arg in args {
        words.push(arg.into_string().map_err(|arg| {
            CliError::new(&format!("`{}`", arg.to_string_lossy()), "it is not valid UTF-8", "rename the file")
        })?);
    }
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let system = name.strip_prefix("qemu-").or_else(|| name.strip_prefix("mimic-"));
    let words: Vec<String> = words.collect();
    match (system, words.split_first()) {
        (Some(command), _) if command.starts_with("system-") => run_command(command, &words),
        (_, None) => Ok(Command::Help),
        (_, Some((command, rest))) => run_command(command, rest),
    }
}

fn run_command(command: &str, rest: &[String]) -> Result<Command, CliError> {
    match command {
        "system-aarch64" => system(System::Aarch64, rest),
        "system-x86_64" => system(System::X86_64, rest),
        "system-i386" => system(System::I386, rest),
        "img" => img::parse(rest),
        "explain" => explain(rest),
        "help" | "--help" | "-help" | "-h" => match rest.first().map(String::as_str) {
            Some("system-aarch64" | "system-x86_64" | "system-i386") => Ok(Command::HelpSystem),
            Some("img") => Ok(Command::HelpImg),
            _ => Ok(Command::Help),
        },
        "--version" | "-version" | "version" | "-V" => Ok(Command::Version),
        _ if command.starts_with("system-") => Err(CliError::new(
            command,
            "this kind of machine is not implemented yet",
            "use system-aarch64 or system-x86_64",
        )),
        _ if command.starts_with('-') => {
            let reason = "a command is missing before the options";
            Err(CliError::new(command, reason, format!("write `mimic system-aarch64 {command} …`")))
        }
        _ => {
            let advice =
                suggest::or(command, COMMANDS.iter().map(|(name, _)| *name), "", "`mimic help` lists the commands");
            Err(CliError::new(&format!("`{command}`"), "unknown command", advice))
        }
    }
}

fn system(system: System, words: &[String]) -> Result<Command, CliError> {
    let mut builder = builder::Builder { system, ..builder::Builder::default() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|name| !name.is_empty())
        else {
            let reason = "options begin with `-`";
            let advice = format!("quote values that contain spaces, or name a disk with -drive file={word},format=raw");
            return Err(CliError::new(&format!("`{word}`"), reason, advice));
        };
        let option = options::find(name)?;
        let value = match option.value {
            None => "",
            Some(kind) => words.next().ok_or_else(|| {
                CliError::new(&format!("-{name}"), "its value is missing", format!("write -{name} {kind}"))
            })?,
        };
        builder.typed = name.to_string();
        (option.apply)(&mut builder, value)?;
        if let Some(answer) = builder.answer.take() {
            return Ok(answer);
        }
    }
    if let Some(list) = builder.take_list() {
        return Ok(Command::List(list));
    }
    let config: Config = builder.finish()?;
    Ok(Command::System(Box::new(config)))
}

/// `explain a64 HEX…`: instruction words as the manual and disassemblers print them, or runs of several.
fn explain(words: &[String]) -> Result<Command, CliError> {
    let usage = "write for example `mimic explain a64 91000420`";
    match words.split_first() {
        Some((set, rest)) if set == "a64" && !rest.is_empty() => {
            let mut code = Vec::new();
            for word in rest {
                let digits: String = word.trim_start_matches("0x").chars().filter(|char| *char != '_').collect();
                let object = format!("explain a64 {word}");
                if digits.is_empty() || !digits.len().is_multiple_of(8) {
                    let reason = "an instruction has eight hexadecimal digits";
                    return Err(CliError::new(&object, reason, usage));
                }
                for at in (0..digits.len()).step_by(8) {
                    let word = digits.get(at..at + 8).filter(|word| word.bytes().all(|byte| byte.is_ascii_hexdigit()));
                    let word = word.and_then(|word| u32::from_str_radix(word, 16).ok());
                    code.push(word.ok_or_else(|| CliError::new(&object, "it is not hexadecimal", usage))?);
                }
            }
            Ok(Command::ExplainA64(code))
        }
        Some((set, _)) if set != "a64" => Err(CliError::new(
            &format!("explain {set}"),
            "unknown instruction set",
            format!("only a64 is known; {usage}"),
        )),
        _ => Err(CliError::new("explain", "the instructions are missing", usage)),
    }
}
