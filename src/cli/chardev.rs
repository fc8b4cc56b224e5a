//! `-chardev`, and the short forms that `-serial` and `-monitor` take.

use super::config::{Chardev, LogFile};
use super::fields::Fields;
use super::{CliError, suggest};
use host::chardev::{Address, Role, Spec};
use std::time::Duration;

/// The backends with one line of help each.
pub const BACKENDS: &[(&str, &str)] = &[
    ("null", "output vanishes, no input"),
    ("stdio", "the terminal; signal=off gives Ctrl-C to the guest"),
    ("file", "output to the file path=; append=on keeps what it holds"),
    ("pty", "a new pseudo-terminal, whose name is printed"),
    ("socket", "path= or host=,port=; server=on,wait=off listens, otherwise reconnect=SECONDS"),
    ("pipe", "the named pipes path=.in and path=.out"),
];

/// Backends of QEMU that are known by name only.
const NOT_YET: &[&str] =
    &["vc", "ringbuf", "udp", "serial", "parallel", "spicevmc", "spiceport", "qemu-vdagent", "braille"];

/// Reads the value of `-chardev`.
pub fn parse(text: &str) -> Result<Chardev, CliError> {
    let mut fields = Fields::new("chardev", text, "backend");
    let backend = fields.take("backend").unwrap_or_default();
    if !BACKENDS.iter().any(|(name, _)| *name == backend) {
        return Err(unknown(&fields, &backend));
    }
    let id = fields.need("id", "give it a name for -serial chardev:NAME, such as id=c0")?;
    let mux = fields.switch("mux")?.unwrap_or(false);
    let mut signal = true;
    let spec = match backend.as_str() {
        "null" => Spec::Null,
        "stdio" => {
            signal = fields.switch("signal")?.unwrap_or(!mux);
            Spec::Stdio
        }
        "file" => Spec::File {
            path: fields.need("path", "name the file: path=FILE")?.into(),
            append: fields.switch("append")?.unwrap_or(false),
        },
        "pty" => Spec::Pty,
        "socket" => socket(&mut fields)?,
        "pipe" => {
            Spec::Pipe { path: fields.need("path", "name the pipes: path=NAME for NAME.in and NAME.out")?.into() }
        }
        _ => return Err(unknown(&fields, &backend)),
    };
    let append = fields.switch("logappend")?.unwrap_or(false);
    let log = fields.take("logfile").map(|path| LogFile { path: path.into(), append });
    fields.finish()?;
    Ok(Chardev { id, spec, mux, signal, log })
}

fn unknown(fields: &Fields<'_>, backend: &str) -> CliError {
    if NOT_YET.contains(&backend) {
        return fields.error(format!("the backend {backend} is not implemented yet"), "use stdio, pty or socket");
    }
    let names = BACKENDS.iter().map(|(name, _)| *name);
    let advice = suggest::or(backend, names, "", "`-chardev help` lists the backends");
    fields.error(format!("unknown backend `{backend}`"), advice)
}

fn socket(fields: &mut Fields<'_>) -> Result<Spec, CliError> {
    let address = match (fields.take("path"), fields.take("host"), fields.take("port")) {
        (Some(path), None, None) => Address::Unix(path.into()),
        (None, host, Some(port)) => Address::Tcp {
            host: host.unwrap_or_default(),
            port: self::port(&port).map_err(|why| fields.error(why.0, why.1))?,
        },
        _ => return Err(fields.error("a socket needs one address", "write path=FILE, or host=NAME,port=NUMBER")),
    };
    let role = role(fields)?;
    Ok(Spec::Socket { address, role })
}

/// The properties of a socket that do not say where it is.
fn role(fields: &mut Fields<'_>) -> Result<Role, CliError> {
    // Small writes are always sent at once.
    fields.switch("nodelay")?;
    fields.switch("delay")?;
    for key in ["telnet", "tn3270", "websocket"] {
        if fields.switch(key)? == Some(true) {
            return Err(fields.error(format!("{key}=on is not implemented yet"), "leave it out and connect with socat"));
        }
    }
    let wait = fields.switch("wait")?;
    let seconds = fields.number("reconnect", 1 << 30)?.map(Duration::from_secs);
    let milliseconds = fields.number("reconnect-ms", 1 << 40)?.map(Duration::from_millis);
    let reconnect = milliseconds.or(seconds).filter(|pause| !pause.is_zero());
    if fields.switch("server")?.unwrap_or(false) {
        if reconnect.is_some() {
            return Err(fields.error("a server waits for its peer and cannot call it", "leave out server or reconnect"));
        }
        return Ok(Role::Server { wait: wait.unwrap_or(true) });
    }
    if wait == Some(true) {
        return Err(fields.error("wait=on is for servers", "add server=on or leave it out"));
    }
    Ok(Role::Client { reconnect })
}

fn port(text: &str) -> Result<u16, (String, &'static str)> {
    text.parse().map_err(|_| (format!("`{text}` is no port"), "use a number from 1 to 65535"))
}

/// What `-serial` or `-monitor` asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Short {
    /// Nothing there.
    None,
    /// An existing chardev, by id.
    Id(String),
    /// A new one; `with_monitor` for `mon:`.
    New { chardev: Chardev, with_monitor: bool },
}

/// Reads the value of `-serial` or `-monitor` (`option`); a new chardev is called `id`.
pub fn short(option: &str, text: &str, id: &str) -> Result<Short, CliError> {
    let object = format!("-{option} {text}");
    let (with_monitor, device) = text.strip_prefix("mon:").map_or((false, text), |device| (true, device));
    let (kind, rest) = device.split_once(':').unwrap_or((device, ""));
    let without = |needed: &str| {
        if rest.is_empty() {
            Err(CliError::new(&object, "the name is missing", format!("write {needed}")))
        } else {
            Ok(())
        }
    };
    let spec = match kind {
        "none" if !with_monitor => return Ok(Short::None),
        "chardev" => {
            without("chardev:ID with the id of a -chardev")?;
            return Ok(Short::Id(rest.to_string()));
        }
        "null" => Spec::Null,
        "stdio" => Spec::Stdio,
        "pty" => Spec::Pty,
        "file" => {
            without("file:FILE")?;
            Spec::File { path: rest.into(), append: false }
        }
        "pipe" => {
            without("pipe:NAME for the pipes NAME.in and NAME.out")?;
            Spec::Pipe { path: rest.into() }
        }
        "unix" => {
            without("unix:FILE,server=on,wait=off")?;
            let mut fields = Fields::rewritten(option, text, &format!("path={rest}"), "");
            let path = fields.take("path").unwrap_or_default();
            let role = role(&mut fields)?;
            fields.finish()?;
            Spec::Socket { address: Address::Unix(path.into()), role }
        }
        "tcp" => {
            without("tcp:HOST:PORT,server=on,wait=off")?;
            let mut fields = Fields::rewritten(option, text, &format!("address={rest}"), "");
            let address = fields.take("address").unwrap_or_default();
            let advice = "write tcp:HOST:PORT,server=on,wait=off";
            let (name, number) = address.rsplit_once(':').ok_or_else(|| fields.error("the port is missing", advice))?;
            let port = port(number).map_err(|why| fields.error(why.0, why.1))?;
            let host = name.trim_start_matches('[').trim_end_matches(']').to_string();
            let role = role(&mut fields)?;
            fields.finish()?;
            Spec::Socket { address: Address::Tcp { host, port }, role }
        }
        "vc" | "telnet" | "udp" | "msmouse" | "braille" | "ringbuf" | "spicevmc" => {
            let advice = "use stdio, mon:stdio, pty or unix:FILE,server=on,wait=off";
            return Err(CliError::new(&object, format!("{kind} is not implemented yet"), advice));
        }
        _ => {
            let known = ["stdio", "mon:stdio", "null", "none", "file:", "pty", "unix:", "tcp:", "pipe:", "chardev:"];
            let otherwise = format!("known are {}", known.join(" "));
            return Err(CliError::new(&object, "unknown kind of host end", suggest::or(text, known, "", &otherwise)));
        }
    };
    Ok(Short::New {
        chardev: Chardev { id: id.to_string(), spec, mux: with_monitor, signal: !with_monitor, log: None },
        with_monitor,
    })
}
