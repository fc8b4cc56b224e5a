//! `-d` and `-D`: which lines are logged, and where.

use crate::cli::config::Log;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};

/// Sets the log up as the command line says.
///
/// # Errors
/// When the log file cannot be made.
pub fn configure(log: &Log) -> Result<(), String> {
    if log.items.is_empty() {
        return Ok(());
    }
    match &log.file {
        Some(path) => {
            let fail = |e: std::io::Error| {
                format!("cannot write log file `{}`: {e}; name a writable file with -D", path.display())
            };
            let mut file = BufWriter::new(File::create(path).map_err(fail)?);
            let sink = move |line: fmt::Arguments<'_>| {
                let _ = writeln!(file, "{line}");
                let _ = file.flush();
            };
            vm::log::configure(&log.items, Box::new(sink));
        }
        None => vm::log::configure(&log.items, Box::new(|line| eprintln!("{line}"))),
    }
    Ok(())
}
