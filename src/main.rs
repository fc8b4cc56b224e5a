//! Mimic: a machine emulator. This file only decides which command was meant; [`assemble`] turns a command line into a
//! machine and [`run`] runs it.

#![forbid(unsafe_code)]

mod assemble;
mod cli;
mod img;
mod keys;
mod logging;
mod pci;
mod picture;
mod run;

use cli::config::{Command, List, System};
use std::io::Write as _;
use std::process::ExitCode;

/// The version line; tools that drive QEMU read the number behind `version`.
fn version() -> String {
    format!("Mimic machine emulator version {}\n", env!("CARGO_PKG_VERSION"))
}

fn list(what: &List) -> String {
    match what {
        List::Machines { system } => {
            let rows: &[(&str, &str)] = match system {
                System::Aarch64 => &[("virt", "Arm virtual machine, as QEMU's (default)")],
                System::X86_64 | System::I386 => &[
                    ("pc", "PC with 440FX and PIIX3, as QEMU's (default)"),
                    ("isapc", "PC without PCI"),
                    ("microvm", "PC without PCI and firmware, for kernels that are started directly"),
                ],
            };
            let rows: String = rows.iter().map(|(name, help)| format!("{name:<20} {help}\n")).collect();
            format!("Supported machines are:\n{rows}")
        }
        List::Cpus { system } => {
            let names: Vec<&str> = match system {
                System::X86_64 | System::I386 => x86::model::MODELS.iter().map(|model| model.name).collect(),
                System::Aarch64 => arm::model::MODELS.iter().map(|model| model.name).collect(),
            };
            let models = names.iter().map(|name| format!("  {name}\n")).collect::<String>();
            format!("Available CPUs:\n{models}")
        }
        other => cli::help::list(other).unwrap_or_default(),
    }
}

/// Prints what was asked for. A reader that went away is no error.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn main() -> ExitCode {
    let result = match cli::parse(std::env::args_os()) {
        Ok(Command::Help) => return print(&cli::help::general()),
        Ok(Command::HelpSystem) => return print(&cli::help::system()),
        Ok(Command::HelpImg) => return print(&cli::help::img()),
        Ok(Command::Version) => return print(&version()),
        Ok(Command::List(what)) => return print(&list(&what)),
        Ok(Command::ExplainA64(words)) => return print(&explain(&words)),
        Ok(Command::Img(command)) => img::run(&command),
        Ok(Command::System(config)) => run::system(&config).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            host::terminal::restore();
            eprintln!("mimic: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What A64 instructions are translated to, as for EL1 code of the processor with all features.
fn explain(words: &[u32]) -> String {
    let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    match arm::Arm::new("max") {
        Ok(arm) => tcg::explain::explain(arm, arm::mode::Mode::default().with_el(1).0, vm::Gva(0), &code),
        Err(error) => format!("{error}\n"),
    }
}
