//! `mimic run`: options of its own, and those of `mimic system-…`, which are handed on.

use super::config::{Command, System};
use super::{CliError, options, suggest};

/// What shall be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// A disk, a disc or a kernel.
    pub image: String,
    /// Print the whole command and end.
    pub show_command: bool,
    /// The processors, if they are not to be found out.
    pub system: Option<System>,
    /// What starts it, if that is not to be found out.
    pub firmware: Option<Firmware>,
    /// Ports of the host that lead to ports of the guest.
    pub ports: Vec<(u16, u16)>,
    /// More disks.
    pub disks: Vec<String>,
    /// There is no network card.
    pub no_network: bool,
    /// Options of `mimic system-…` with their values, as they were typed.
    pub options: Vec<String>,
    /// Their names, the first of each option's.
    pub given: Vec<&'static str>,
}

/// What starts a system from a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// EDK II.
    Uefi,
}

/// Why a value cannot be followed, and the next step.
type Refusal = (String, String);

/// An option of `mimic run`.
pub struct RunOption {
    /// Its names.
    pub names: &'static [&'static str],
    /// What its value is called, if it has one.
    pub value: Option<&'static str>,
    /// One line of help.
    pub help: &'static str,
    apply: fn(&mut Run, &str) -> Result<(), Refusal>,
}

/// The options.
pub const OPTIONS: &[RunOption] = &[
    RunOption {
        names: &["--show-command"],
        value: None,
        help: "print the whole `mimic system-…` command and end",
        apply: |run, _| {
            run.show_command = true;
            Ok(())
        },
    },
    RunOption {
        names: &["--arch"],
        value: Some("aarch64|x86_64|i386"),
        help: "the processors; found out from the image if nothing is said",
        apply: |run, value| {
            let all = [("aarch64", System::Aarch64), ("x86_64", System::X86_64), ("i386", System::I386)];
            run.system = Some(one_of(value, &all)?);
            Ok(())
        },
    },
    RunOption {
        names: &["--firmware"],
        value: Some("bios|uefi"),
        help: "what starts the image",
        apply: |run, value| {
            run.firmware = Some(one_of(value, &[("bios", Firmware::Bios), ("uefi", Firmware::Uefi)])?);
            Ok(())
        },
    },
    RunOption {
        names: &["-p", "--port"],
        value: Some("HOSTPORT:GUESTPORT"),
        help: "lead a port of this host, from this host alone, to a port of the guest: -p 2222:22 for ssh -p 2222 localhost",
        apply: |run, value| {
            let ports = value.split_once(':').and_then(|(host, guest)| Some((host.parse().ok()?, guest.parse().ok()?)));
            match ports {
                Some((host, guest)) if host != 0 && guest != 0 => run.ports.push((host, guest)),
                _ => return Err((format!("{value} is no pair of ports"), "write for example 2222:22".into())),
            }
            Ok(())
        },
    },
    RunOption {
        names: &["--disk"],
        value: Some("FILE"),
        help: "another disk, such as one to install to",
        apply: |run, value| {
            run.disks.push(value.into());
            Ok(())
        },
    },
    RunOption {
        names: &["--no-network"],
        value: None,
        help: "no network card",
        apply: |run, _| {
            run.no_network = true;
            Ok(())
        },
    },
];

fn one_of<T: Copy>(value: &str, all: &[(&str, T)]) -> Result<T, Refusal> {
    let found = all.iter().find(|(name, _)| *name == value);
    found.map(|(_, what)| *what).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        (format!("unknown value `{value}`"), format!("use {}", names.join(" or ")))
    })
}

/// Reads the words behind `mimic run`.
pub fn parse(words: &[String]) -> Result<Command, CliError> {
    let mut run = Run::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "-h" | "--help" | "-help") {
            return Ok(Command::HelpRun);
        }
        if !word.starts_with('-') {
            if !run.image.is_empty() {
                let reason = format!("there is an image already, `{}`", run.image);
                return Err(CliError::new(&format!("run {word}"), reason, "write --disk FILE for another disk"));
            }
            run.image = word.clone();
            continue;
        }
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let missing =
            |kind: &str| CliError::new(&format!("run {word}"), "its value is missing", format!("write {name} {kind}"));
        if let Some(option) = OPTIONS.iter().find(|option| option.names.contains(&name)) {
            let value = match (option.value, attached) {
                (None, Some(_)) => {
                    return Err(CliError::new(&format!("run {word}"), "it takes no value", format!("write {name}")));
                }
                (None, None) => String::new(),
                (Some(_), Some(value)) => value,
                (Some(kind), None) => words.next().cloned().ok_or_else(|| missing(kind))?,
            };
            let failed = |(reason, advice)| CliError::new(&format!("run {name} {value}"), reason, advice);
            (option.apply)(&mut run, &value).map_err(failed)?;
            continue;
        }
        let bare = word.strip_prefix("--").unwrap_or(&word[1..]);
        let option = options::find(bare).map_err(|error| {
            let names = OPTIONS.iter().flat_map(|option| option.names).copied();
            match suggest::nearest(word, names) {
                Some(near) => {
                    CliError::new(&format!("run {word}"), "unknown option", format!("did you mean `{near}`?"))
                }
                None => error,
            }
        })?;
        run.options.push(word.clone());
        if let Some(kind) = option.value {
            run.options.push(words.next().cloned().ok_or_else(|| missing(kind))?);
        }
        run.given.push(option.names[0]);
    }
    if run.image.is_empty() {
        let advice = "name a disk image, an ISO image or a kernel: mimic run disk.qcow2";
        return Err(CliError::new("run", "there is no image", advice));
    }
    Ok(Command::Run(run))
}
