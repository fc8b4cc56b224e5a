//! `mimic img`: commands and options as qemu-img's.

use super::config::Command;
use super::fields::Fields;
use super::{CliError, suggest, value};
use host::image::check::Repair;
use host::image::convert::{Conversion, SizeChange};
use host::image::create::{Backing, NewImage, Preallocation};
use host::image::format::Format;
use std::path::PathBuf;

/// What shall be done with an image.
#[derive(Clone, Debug, PartialEq)]
pub enum Img {
    /// Make one.
    Create { path: PathBuf, new: NewImage, quiet: bool },
    /// Describe one, or its whole chain.
    Info { path: PathBuf, format: Option<Format>, json: bool, chain: bool, force_share: bool },
    /// Copy a disk into another image.
    Convert { source: PathBuf, target: PathBuf, conversion: Conversion, progress: bool },
    /// Change a disk's size.
    Resize {
        path: PathBuf,
        format: Option<Format>,
        change: SizeChange,
        shrink: bool,
        preallocation: Preallocation,
        quiet: bool,
    },
    /// Compare refcounts with references.
    Check { path: PathBuf, format: Option<Format>, repair: Repair, json: bool, quiet: bool, force_share: bool },
}

/// A command of `mimic img`.
pub struct ImgCommand {
    /// Its name.
    pub name: &'static str,
    /// What stands behind it.
    pub usage: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// The options that it takes, by their first name.
    options: &'static [&'static str],
    make: fn(Words) -> Result<Img, CliError>,
}

/// The commands.
pub const COMMANDS: &[ImgCommand] = &[
    ImgCommand {
        name: "create",
        usage: "[-f FORMAT] [-o OPTIONS] [-b FILE -F FORMAT [-u]] [-q] FILE [SIZE]",
        help: "make an image; with a backing file its size may be left out",
        options: &["-f", "-o", "-b", "-F", "-u", "-q"],
        make: create,
    },
    ImgCommand {
        name: "info",
        usage: "[-f FORMAT] [--output=human|json] [--backing-chain] [-U] FILE",
        help: "describe an image",
        options: &["-f", "--output", "--backing-chain", "-U"],
        make: info,
    },
    ImgCommand {
        name: "convert",
        usage: "[-f FORMAT] [-O FORMAT] [-o OPTIONS] [-B FILE -F FORMAT] [-n] [-p] [-q] [-U] SOURCE TARGET",
        help: "copy an image's disk into another image; holes stay holes",
        options: &["-f", "-O", "-o", "-B", "-F", "-n", "-p", "-q", "-U"],
        make: convert,
    },
    ImgCommand {
        name: "resize",
        usage: "[-f FORMAT] [--preallocation=MODE] [--shrink] [-q] FILE [+|-]SIZE",
        help: "change the size of an image's disk",
        options: &["-f", "--preallocation", "--shrink", "-q"],
        make: resize,
    },
    ImgCommand {
        name: "check",
        usage: "[-f FORMAT] [--output=human|json] [-r leaks|all] [-q] [-U] FILE",
        help: "compare a qcow2 image's refcounts with its references, and repair them",
        options: &["-f", "--output", "-r", "-q", "-U"],
        make: check,
    },
];

/// An option of these commands.
pub struct ImgOption {
    /// Its names, the short one first.
    pub names: &'static [&'static str],
    /// What its value is called, if it has one.
    pub value: Option<&'static str>,
    /// One line of help.
    pub help: &'static str,
}

const fn option(names: &'static [&'static str], value: Option<&'static str>, help: &'static str) -> ImgOption {
    ImgOption { names, value, help }
}

/// The options.
pub const OPTIONS: &[ImgOption] = &[
    option(&["-f", "--format"], Some("FORMAT"), "format of the image; found out if it is not said, raw for a new one"),
    option(&["-O", "--target-format"], Some("FORMAT"), "format of the target, raw if it is not said"),
    option(
        &["-o", "--options"],
        Some("NAME=VALUE,…"),
        "size=, backing_file=, backing_fmt=, cluster_size=, refcount_bits=, preallocation=off|metadata|falloc|full",
    ),
    option(&["-b", "--backing"], Some("FILE"), "backing file, relative to the new image"),
    option(&["-B", "--target-backing"], Some("FILE"), "backing file of the target, which holds only what differs"),
    option(&["-F", "--backing-format"], Some("FORMAT"), "format of the backing file"),
    option(&["-u", "--backing-unsafe"], None, "the backing file need not be there"),
    option(&["-n", "--no-create"], None, "the target exists and is written into"),
    option(&["-r", "--repair"], Some("leaks|all"), "repair what is found"),
    option(&["-p", "--progress"], None, "show how much is done"),
    option(&["-q", "--quiet"], None, "print errors alone"),
    option(&["-U", "--force-share"], None, "look at an image that another program writes to"),
    option(&["--output"], Some("human|json"), "how to print"),
    option(&["--backing-chain"], None, "describe the backing files too"),
    option(&["--preallocation"], Some("off|metadata|falloc|full"), "space that the new part gets at once"),
    option(&["--shrink"], None, "the disk may lose what lies behind its new end"),
];

/// Options of qemu-img that are not implemented.
const UNKNOWN_HERE: &[&str] = &[
    "-c",
    "-C",
    "-l",
    "-m",
    "-S",
    "-t",
    "-T",
    "-W",
    "--bitmaps",
    "--image-opts",
    "--object",
    "--salvage",
    "--target-image-opts",
    "--target-is-zero",
];

/// A command's words: options by their first name, and the rest.
struct Words {
    command: &'static ImgCommand,
    options: Vec<(&'static str, String)>,
    rest: Vec<String>,
}

/// Reads what stands behind `mimic img`.
pub fn parse(words: &[String]) -> Result<Command, CliError> {
    let Some((name, rest)) = words.split_first() else { return Ok(Command::HelpImg) };
    if matches!(name.as_str(), "help" | "-h" | "-help" | "--help") {
        return Ok(Command::HelpImg);
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        let known = ["amend", "bench", "bitmap", "commit", "compare", "dd", "map", "measure", "rebase", "snapshot"];
        if known.contains(&name.as_str()) {
            let advice = format!("use `qemu-img {name}`");
            return Err(CliError::new(&format!("img {name}"), "this command is not implemented", advice));
        }
        let names = COMMANDS.iter().map(|command| command.name);
        let advice = suggest::or(name, names, "mimic img ", "`mimic help img` lists the commands");
        return Err(CliError::new(&format!("img {name}"), "unknown command", advice));
    };
    if rest.iter().any(|word| matches!(word.as_str(), "-h" | "--help")) {
        return Ok(Command::HelpImg);
    }
    Ok(Command::Img((command.make)(split(command, rest)?)?))
}

fn split(command: &'static ImgCommand, words: &[String]) -> Result<Words, CliError> {
    let mut found = Words { command, options: Vec::new(), rest: Vec::new() };
    let mut words = words.iter();
    let mut only_files = false;
    while let Some(word) = words.next() {
        // `resize FILE -1G` takes a size away.
        let is_size = word.starts_with('-') && word[1..].starts_with(|char: char| char.is_ascii_digit());
        if only_files || !word.starts_with('-') || word == "-" || is_size {
            found.rest.push(word.clone());
            continue;
        }
        if word == "--" {
            only_files = true;
            continue;
        }
        let (name, attached) = match word.strip_prefix("--") {
            Some(long) => match long.split_once('=') {
                Some((name, value)) => (format!("--{name}"), Some(value.to_owned())),
                None => (word.clone(), None),
            },
            // `-fqcow2` means `-f qcow2`, as getopt reads it.
            None => {
                let end = word.char_indices().nth(2).map_or(word.len(), |(at, _)| at);
                (word[..end].to_owned(), (end < word.len()).then(|| word[end..].to_owned()))
            }
        };
        let object = format!("img {} {word}", command.name);
        let known = OPTIONS.iter().find(|option| option.names.contains(&name.as_str()));
        let Some(option) = known.filter(|option| command.options.contains(&option.names[0])) else {
            if UNKNOWN_HERE.contains(&name.as_str()) {
                let advice = format!("leave it out, or use `qemu-img {}`", command.name);
                return Err(CliError::new(&object, "this option is not implemented", advice));
            }
            let reason = if known.is_some() { "this command does not take it" } else { "unknown option" };
            return Err(CliError::new(&object, reason, format!("write mimic img {} {}", command.name, command.usage)));
        };
        let value = match (option.value, attached) {
            (None, None) => String::new(),
            (None, Some(_)) => return Err(CliError::new(&object, "it takes no value", format!("write {name}"))),
            (Some(_), Some(value)) => value,
            (Some(kind), None) => words
                .next()
                .cloned()
                .ok_or_else(|| CliError::new(&object, "its value is missing", format!("write {name} {kind}")))?,
        };
        found.options.push((option.names[0], value));
    }
    Ok(found)
}

impl Words {
    fn error(&self, what: &str, reason: impl std::fmt::Display, advice: impl std::fmt::Display) -> CliError {
        CliError::new(format!("img {} {what}", self.command.name).trim_end(), reason, advice)
    }

    /// The value of an option; the last one counts.
    fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(option, _)| *option == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn format(&self, name: &str) -> Result<Option<Format>, CliError> {
        let Some(text) = self.value(name) else { return Ok(None) };
        let found = Format::named(text);
        found.map(Some).map_err(|(reason, advice)| self.error(&format!("{name} {text}"), reason, advice))
    }

    fn json(&self) -> Result<bool, CliError> {
        match self.value("--output") {
            None | Some("human") => Ok(false),
            Some("json") => Ok(true),
            Some(other) => Err(self.error(&format!("--output={other}"), "unknown way to print", "use human or json")),
        }
    }

    /// The words that are no options: `names` says what each is; the last ones may be left out down to `least`.
    fn files(&self, names: &[&str], least: usize) -> Result<&[String], CliError> {
        if self.rest.len() < least {
            let missing = names[self.rest.len()];
            let usage = format!("write mimic img {} {}", self.command.name, self.command.usage);
            return Err(self.error("", format!("the {missing} is missing"), usage));
        }
        if let Some(extra) = self.rest.get(names.len()) {
            return Err(self.error(extra, "a word too many", "quote names that contain spaces"));
        }
        Ok(&self.rest)
    }

    fn size(&self, text: &str) -> Result<u64, CliError> {
        value::size(text, 1).map_err(|reason| self.error(text, reason, "write for example 8G"))
    }

    /// What `-o` and the options beside it say of a new image of `format`.
    fn new_image(&self, format: Option<Format>, backing: &str) -> Result<NewImage, CliError> {
        let text: Vec<&str> =
            self.options.iter().filter(|(option, _)| *option == "-o").map(|(_, value)| value.as_str()).collect();
        let text = text.join(",");
        let mut fields = Fields::new("o", &text, "");
        let mut size = |key: &'static str| match fields.take(key) {
            None => Ok(None),
            Some(value) => self.size(&value).map(Some),
        };
        let (whole, cluster_size) = (size("size")?, size("cluster_size")?);
        let refcount_bits = fields.number("refcount_bits", 64)?;
        let modes = [
            ("off", Preallocation::Off),
            ("metadata", Preallocation::Metadata),
            ("falloc", Preallocation::Falloc),
            ("full", Preallocation::Full),
        ];
        let preallocation = fields.choice("preallocation", &modes)?.unwrap_or_default();
        // What is so anyway.
        fields.choice("compat", &[("1.1", ()), ("v3", ())])?;
        fields.choice("lazy_refcounts", &[("off", ())])?;
        fields.choice("compression_type", &[("zlib", ())])?;
        fields.choice("extended_l2", &[("off", ())])?;
        let (file, file_format) = (fields.take("backing_file"), fields.take("backing_fmt"));
        fields.finish()?;
        let name = self.value(backing).map(str::to_owned).or(file);
        let behind = match (self.format("-F")?, file_format) {
            (Some(format), _) => Some(format),
            (None, Some(name)) => Some(
                Format::named(&name)
                    .map_err(|(reason, advice)| self.error(&format!("-o backing_fmt={name}"), reason, advice))?,
            ),
            (None, None) => None,
        };
        if name.is_none() && behind.is_some() {
            return Err(self.error("", "a format of a backing file without the file", "add -b FILE"));
        }
        let backing = name.map(|name| Backing { name, format: behind, unchecked: self.has("-u") });
        Ok(NewImage { format, size: whole, backing, cluster_size, refcount_bits, preallocation })
    }
}

fn create(words: Words) -> Result<Img, CliError> {
    let files = words.files(&["file", "size"], 1)?;
    let mut new = words.new_image(words.format("-f")?, "-b")?;
    if let Some(size) = files.get(1) {
        new.size = Some(words.size(size)?);
    }
    Ok(Img::Create { path: files[0].clone().into(), new, quiet: words.has("-q") })
}

fn info(words: Words) -> Result<Img, CliError> {
    let path = words.files(&["file"], 1)?[0].clone().into();
    let (chain, force_share) = (words.has("--backing-chain"), words.has("-U"));
    Ok(Img::Info { path, format: words.format("-f")?, json: words.json()?, chain, force_share })
}

fn convert(words: Words) -> Result<Img, CliError> {
    let files = words.files(&["source", "target"], 2)?;
    let new = words.new_image(words.format("-O")?, "-B")?;
    if new.size.is_some() {
        return Err(words.error(
            "-o size=",
            "the target has the size of the source",
            "use `mimic img resize` behind it",
        ));
    }
    let (from, existing, force_share) = (words.format("-f")?, words.has("-n"), words.has("-U"));
    let conversion = Conversion { from, force_share, new, existing };
    let progress = words.has("-p") && !words.has("-q");
    Ok(Img::Convert { source: files[0].clone().into(), target: files[1].clone().into(), conversion, progress })
}

fn resize(words: Words) -> Result<Img, CliError> {
    let files = words.files(&["file", "size"], 2)?;
    let text = &files[1];
    let change = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(more), _) => SizeChange::By(words.size(more)?),
        (_, Some(less)) => SizeChange::Less(words.size(less)?),
        _ => SizeChange::To(words.size(text)?),
    };
    let preallocation = match words.value("--preallocation") {
        None | Some("off") => Preallocation::Off,
        Some("metadata") => Preallocation::Metadata,
        Some("falloc") => Preallocation::Falloc,
        Some("full") => Preallocation::Full,
        Some(other) => {
            let what = format!("--preallocation={other}");
            return Err(words.error(&what, "unknown mode", "use off, metadata, falloc or full"));
        }
    };
    let (shrink, quiet) = (words.has("--shrink"), words.has("-q"));
    let path = files[0].clone().into();
    Ok(Img::Resize { path, format: words.format("-f")?, change, shrink, preallocation, quiet })
}

fn check(words: Words) -> Result<Img, CliError> {
    let path = words.files(&["file"], 1)?[0].clone().into();
    let repair = match words.value("-r") {
        None => Repair::None,
        Some("leaks") => Repair::Leaks,
        Some("all") => Repair::All,
        Some(other) => return Err(words.error(&format!("-r {other}"), "unknown repair", "use leaks or all")),
    };
    let (quiet, force_share) = (words.has("-q"), words.has("-U"));
    Ok(Img::Check { path, format: words.format("-f")?, repair, json: words.json()?, quiet, force_share })
}
