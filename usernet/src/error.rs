//! What can go wrong with objects of the host: each message names the object, the reason and the next step.

use std::io;
use std::net::SocketAddr;

/// A network could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port of the host cannot be listened on.
    #[error("cannot listen on port {address} ({protocol}): {reason}; {advice}")]
    Listen { protocol: &'static str, address: SocketAddr, reason: String, advice: String },
    /// The folder of TFTP cannot be used.
    #[error("cannot serve the folder `{path}` by TFTP: {reason}; name a folder that you can read: tftp=DIR")]
    Tftp { path: String, reason: String },
    /// The host has no room for another thread or pipe.
    #[error("cannot start the network: {reason}; end other programs or raise `ulimit -n` and `ulimit -u`")]
    Start { reason: String },
}

impl Error {
    /// Why `address` cannot be listened on, with a port that can.
    pub(crate) fn listen(protocol: &'static str, address: SocketAddr, error: &io::Error) -> Self {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!("choose a port from 1024 on, such as {}", u32::from(address.port()) % 1000 + 8000)
            }
            io::ErrorKind::AddrInUse => format!(
                "end the program that has it (`ss -lp 'sport = {}'` shows it) or choose another port",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => "leave the host's address out to listen on all of them".to_owned(),
            _ => "choose another port".to_owned(),
        };
        Self::Listen { protocol, address, reason: reason(error), advice }
    }
}

/// The reason in an I/O error as part of a sentence.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
