//! A small web server on the host's loopback, for guests whose network leads there: files of one directory, nothing else.
//! HTTP/1.1 (RFC 9112) with GET, HEAD and connections that stay open; apt sends several requests before it reads.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

/// A request's head may be as long as this, in bytes.
const HEAD: u64 = 16 << 10;
const METHODS: &[&str] = &["GET", "HEAD"];
/// A silent connection is closed after this.
const PATIENCE: Duration = Duration::from_secs(120);

/// Serves until it is dropped.
pub struct Server {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    root: PathBuf,
    stop: AtomicBool,
    served: Mutex<Vec<String>>,
}

impl Server {
    /// Serves the files below `root` on a port that is free.
    pub fn start(root: &Path) -> Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen on the loopback")?;
        let port = listener.local_addr()?.port();
        let shared = Shared { root: root.to_owned(), stop: AtomicBool::new(false), served: Mutex::default() };
        let shared = Arc::new(shared);
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                for connection in listener.incoming() {
                    if shared.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = shared.clone();
                    // What goes wrong on a connection its client sees.
                    connection.ok().map(|stream| std::thread::spawn(move || shared.talk(stream).ok()));
                }
            }
        });
        Ok(Server { port, shared, thread: Some(thread) })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Paths of the files that were sent whole, in order.
    pub fn served(&self) -> Vec<String> {
        self.shared.served.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // The listener looks at the flag when somebody comes. A connection that is open ends with its client.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
            self.thread.take().map(JoinHandle::join);
        }
    }
}

/// What of a request's head counts.
#[derive(Debug, PartialEq)]
struct Request {
    method: String,
    target: String,
    /// Whether the client wants to go on after this.
    keep: bool,
}

impl Shared {
    fn talk(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader)? {
            self.answer(&request, &mut writer)?;
            if !request.keep {
                break;
            }
        }
        Ok(())
    }

    fn answer(&self, request: &Request, to: &mut impl Write) -> io::Result<()> {
        if !METHODS.contains(&request.method.as_str()) {
            return head(to, "501 Not Implemented", 0);
        }
        let file =
            local(&self.root, &request.target).filter(|path| path.is_file()).and_then(|path| File::open(path).ok());
        let Some(mut file) = file else { return head(to, "404 Not Found", 0) };
        let length = file.metadata()?.len();
        head(to, "200 OK", length)?;
        if request.method == "GET" {
            // What somebody appends meanwhile would be taken for the next answer.
            io::copy(&mut (&mut file).take(length), to)?;
            self.served.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(request.target.clone());
        }
        to.flush()
    }
}

fn head(to: &mut impl Write, status: &str, length: u64) -> io::Result<()> {
    write!(to, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: application/octet-stream\r\n\r\n")
}

/// The next request; `None` at the end of the connection.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut reader = reader.take(HEAD);
    let mut line = || -> io::Result<String> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    // The body of another method would look like a request.
    let mut keep = version == "HTTP/1.1" && METHODS.contains(&method);
    loop {
        let field = line()?.to_ascii_lowercase();
        match field.split_once(':') {
            Some(("connection", value)) => keep = keep && value.trim() != "close",
            Some(_) => {}
            None => break,
        }
    }
    Ok(Some(Request { method: method.to_owned(), target: target.to_owned(), keep }))
}

/// The file that a request's target names, if it lies below `root`: RFC 3986, section 2.1 "Percent-Encoding".
fn local(root: &Path, target: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut rest = target.strip_prefix('/')?.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    let path = PathBuf::from(String::from_utf8(bytes).ok()?);
    let below = path.components().all(|component| matches!(component, Component::Normal(_)));
    let path = root.join(path);
    // Nor by a symbolic link.
    let real = |path: &Path| fs::canonicalize(path).ok();
    (below && real(&path)?.starts_with(real(root)?)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of one test, with a file `a+b` that holds `content` and a link that leads out.
    fn root(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("mimic-http-{name}-{}", std::process::id()));
        fs::create_dir_all(dir.join("pool")).unwrap();
        fs::write(dir.join("pool/a+b"), "content").unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("out")).unwrap();
        dir
    }

    /// All that the server answers to these bytes, until it or we close.
    fn exchange(server: &Server, requests: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        stream.write_all(requests.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn several_requests_on_one_connection() {
        let root = root("several");
        let server = Server::start(&root).unwrap();
        let text = exchange(
            &server,
            "GET /pool/a%2bb HTTP/1.1\r\nHost: x\r\n\r\nHEAD /pool/a+b HTTP/1.1\r\n\r\nGET /none HTTP/1.1\r\n\r\n\
             POST / HTTP/1.1\r\n\r\nGET /pool/a+b HTTP/1.1\r\n\r\n",
        );
        let served = server.served();
        drop(server);
        fs::remove_dir_all(&root).unwrap();
        let statuses: Vec<&str> = text.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "200", "404", "501"], "{text}");
        assert_eq!(text.matches("Content-Length: 7\r\n").count(), 2, "{text}");
        assert_eq!(text.matches("\r\n\r\ncontent").count(), 1, "{text}");
        assert_eq!(served, ["/pool/a%2bb"]);
    }

    #[test]
    fn an_old_client_and_an_endless_head() {
        let root = root("old");
        let server = Server::start(&root).unwrap();
        let twice = "GET /pool/a+b HTTP/1.0\r\n\r\n".repeat(2);
        assert_eq!(exchange(&server, &twice).matches("content").count(), 1);
        // Whether the end of the head or the closed connection comes first, there is no file.
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        stream.write_all(&vec![b'x'; 2 * HEAD as usize]).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        assert!(answer.is_empty());
        assert_eq!(server.served().len(), 1);
        drop(server);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn nothing_outside_is_named() {
        let root = root("outside");
        let check = |target: &str, expect: bool| assert_eq!(local(&root, target).is_some(), expect, "{target}");
        check("/pool/a+b", true);
        check("/pool/%61+b", true);
        for target in
            ["/../etc/passwd", "/pool/%2e%2e/%2e%2e/x", "//etc/passwd", "/out/passwd", "pool/a+b", "/%zz", "/%6"]
        {
            check(target, false);
        }
        fs::remove_dir_all(&root).unwrap();
    }
}
