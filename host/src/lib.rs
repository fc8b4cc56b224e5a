//! Host ends: the terminal, files, sockets, disks, time and randomness of the host, behind the traits of `vm`.
//!
//! It deliberately knows no chip, no board and no command line: the program turns options into the plain values that
//! these modules take. Start reading at [`chardev`] (guest output to a host object and back), then [`mux`] (one terminal
//! shared by consoles and a monitor) and [`disk`]. To add a character host end, add a variant to [`chardev::Spec`] and
//! its arm in `Backend::open`.

#![forbid(unsafe_code)]

pub mod chardev;
pub mod clock;
pub mod console;
pub mod disk;
pub mod entropy;
pub mod error;
pub mod mux;
pub mod output;
pub mod readline;
pub mod signals;
pub mod terminal;

pub use error::HostError;
