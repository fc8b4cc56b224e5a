//! Host ends: the terminal, files, sockets, disks, time and randomness of the host, behind the traits of `vm`.
//!
//! It deliberately knows no chip, no board and no command line: the program turns options into the plain values that
//! these modules take. Start reading at [`chardev`] (guest output to a host object and back), then [`mux`] (one terminal
//! shared by consoles and a monitor), [`disk`] and [`image`] (formats of disk images). To add a character host end, add a variant to [`chardev::Spec`] and
//! its arm in `Backend::open`.

#![forbid(unsafe_code)]

pub mod chardev;
pub mod clock;
pub mod console;
pub mod disk;
pub mod entropy;
pub mod error;
pub mod image;
pub mod mux;
pub mod output;
mod overlay;
pub mod pidfile;
pub mod readline;
pub mod signals;
mod socket;
pub mod terminal;
#[cfg(test)]
mod testing;

pub use error::HostError;

/// Ends the host's side of the program: writes out what the guest sent (giving up on an end that accepts nothing for
/// `patience`; `None` waits for ever) and what disks hold in memory, restores the terminal and removes socket files. Whether everything was written.
pub fn finish(patience: Option<std::time::Duration>) -> bool {
    let written = output::drain_all(patience);
    disk::flush_all();
    terminal::restore();
    chardev::remove_sockets();
    written
}
