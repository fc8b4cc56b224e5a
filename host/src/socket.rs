//! Stream sockets: where they are, listening and calling.

use crate::error::{HostError, reason};
use rustix::fd::OwnedFd;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// Where a stream socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Unix(PathBuf),
    /// A host name or IP address; a listener without a host takes connections on every interface.
    Tcp {
        host: String,
        port: u16,
    },
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes one connection at a time, again and again; with `wait`, opening waits for the first.
    Server { wait: bool },
    /// Connects when opened. When the peer goes away: connects again after `reconnect` each time, or never.
    Client { reconnect: Option<Duration> },
}

/// A socket that takes connections.
pub(crate) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Socket files to remove at the end.
static SOCKETS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the socket files of this process's listeners. For the end of the program.
pub fn remove_sockets() {
    for path in SOCKETS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).drain(..) {
        let _ = std::fs::remove_file(path);
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

impl Listener {
    /// Listens at `address`; with `wait`, also waits for the first connection. `label` names the user in messages.
    pub(crate) fn open(label: &str, address: &Address, wait: bool) -> Result<(Self, Option<OwnedFd>), HostError> {
        let failed = |error: io::Error| {
            let advice = match address {
                Address::Unix(_) => "choose a new path in a directory that you may write to",
                Address::Tcp { .. } => "choose a free port above 1023 and an address of this host",
            };
            HostError::new("listen on", "socket", address.to_string(), reason(&error), advice)
        };
        let listener = match address {
            Address::Unix(path) => {
                remove_stale(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                SOCKETS.lock().unwrap().push(path.clone());
                Listener::Unix(listener)
            }
            Address::Tcp { host, port } => {
                let host = if host.is_empty() { "::" } else { host };
                let listener = TcpListener::bind((host, *port));
                // A host without IPv6 has no `::`.
                let any = |error| if host == "::" { TcpListener::bind(("0.0.0.0", *port)) } else { Err(error) };
                Listener::Tcp(listener.or_else(any).map_err(failed)?)
            }
        };
        let mut first = None;
        if wait {
            eprintln!("mimic: waiting for a connection on {address} ({label}); wait=off starts at once");
            first = Some(listener.accept().map_err(failed)?);
        }
        Ok((listener, first))
    }

    /// The next connection.
    pub(crate) fn accept(&self) -> io::Result<OwnedFd> {
        loop {
            let stream: io::Result<OwnedFd> = match self {
                Listener::Unix(listener) => listener.accept().map(|(stream, _)| stream.into()),
                Listener::Tcp(listener) => listener.accept().map(|(stream, _)| prompt(stream).into()),
            };
            match stream {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                stream => return stream,
            }
        }
    }
}

/// Keys must not wait for a full packet.
fn prompt(stream: TcpStream) -> TcpStream {
    let _ = stream.set_nodelay(true);
    stream
}

/// Calls a listener.
pub(crate) fn connect(address: &Address) -> io::Result<OwnedFd> {
    Ok(match address {
        Address::Unix(path) => UnixStream::connect(path)?.into(),
        Address::Tcp { host, port } => {
            let host = if host.is_empty() { "localhost" } else { host };
            prompt(TcpStream::connect((host, *port))?).into()
        }
    })
}

/// Removes a socket file that a listener left behind when it ended; one that is still in use stays.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => match UnixStream::connect(path) {
            Ok(_) => Err(io::Error::other("another program listens there")),
            Err(_) => std::fs::remove_file(path),
        },
        Ok(_) => Err(io::Error::other("a file of that name exists and is no socket")),
        Err(_) => Ok(()),
    }
}
