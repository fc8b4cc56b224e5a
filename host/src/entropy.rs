//! Random bytes: from the host, from a file, or from a seed so that a run can be repeated.

use crate::error::{HostError, reason};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use vm::entropy::Entropy;

/// The host kernel's generator.
pub struct HostEntropy;

impl Entropy for HostEntropy {
    fn fill(&self, mut buf: &mut [u8]) {
        while !buf.is_empty() {
            match getrandom(&mut *buf, GetRandomFlags::empty()) {
                Ok(filled) => buf = &mut buf[filled..],
                Err(rustix::io::Errno::INTR) => {}
                // getrandom(2) lists no other error for valid memory and no flags; Linux has it since 3.17.
                Err(error) => unreachable!("getrandom cannot fail: {error}"),
            }
        }
    }
}

/// Bytes of a file such as `/dev/urandom` or a hardware generator. When the file ends or fails, [`HostEntropy`] takes
/// over and one line on standard error says so.
pub struct FileEntropy {
    file: Mutex<File>,
    name: String,
    failed: AtomicBool,
}

impl FileEntropy {
    /// Opens the file.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| {
            HostError::new("open", "entropy source", &name, reason(&error), "use filename=/dev/urandom or leave it out")
        })?;
        Ok(Self { file: Mutex::new(file), name, failed: AtomicBool::new(false) })
    }
}

impl Entropy for FileEntropy {
    fn fill(&self, buf: &mut [u8]) {
        if !self.failed.load(Ordering::Relaxed) {
            match self.file.lock().unwrap().read_exact(buf) {
                Ok(()) => return,
                Err(error) => {
                    self.failed.store(true, Ordering::Relaxed);
                    let why = reason(&error);
                    eprintln!("mimic: entropy source `{}`: {why}; using the host's generator from now on", self.name);
                }
            }
        }
        HostEntropy.fill(buf);
    }
}

/// The same bytes for the same seed: SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
/// OOPSLA 2014). For repeatable runs; not for secrets.
pub struct SeededEntropy(Mutex<Stream>);

struct Stream {
    state: u64,
    word: [u8; 8],
    used: usize,
}

impl SeededEntropy {
    /// A stream that depends on `seed` only, and not on how it is cut into requests.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Stream { state: seed, word: [0; 8], used: 8 }))
    }
}

impl Stream {
    fn byte(&mut self) -> u8 {
        if self.used == self.word.len() {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            self.word = (z ^ (z >> 31)).to_le_bytes();
            self.used = 0;
        }
        self.used += 1;
        self.word[self.used - 1]
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buf: &mut [u8]) {
        let mut stream = self.0.lock().unwrap();
        buf.fill_with(|| stream.byte());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(source: &dyn Entropy, len: usize) -> Vec<u8> {
        let mut buf = vec![0; len];
        source.fill(&mut buf);
        buf
    }

    #[test]
    fn a_seed_fixes_the_stream_however_it_is_cut() {
        let whole = take(&SeededEntropy::new(1), 21);
        let cut = SeededEntropy::new(1);
        let parts: Vec<u8> = [3, 0, 8, 10].iter().flat_map(|len| take(&cut, *len)).collect();
        assert_eq!(parts, whole);
        assert_ne!(take(&SeededEntropy::new(2), 21), whole);
        // First output for seed 0 as published with the algorithm.
        assert_eq!(take(&SeededEntropy::new(0), 8), 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }

    #[test]
    fn the_host_gives_different_bytes_each_time() {
        assert_ne!(take(&HostEntropy, 32), take(&HostEntropy, 32));
        assert_eq!(take(&HostEntropy, 1000).len(), 1000);
    }

    #[test]
    fn a_file_that_ends_is_replaced() {
        let path = std::env::temp_dir().join(format!("mimic-entropy-{}", std::process::id()));
        std::fs::write(&path, b"abcd").unwrap();
        let source = FileEntropy::open(&path).unwrap();
        assert_eq!(take(&source, 3), b"abc");
        assert_ne!(take(&source, 16), take(&source, 16));
        std::fs::remove_file(&path).unwrap();
        let error = FileEntropy::open(&path).err().unwrap().to_string();
        assert!(error.contains("no such file or directory; use filename=/dev/urandom"), "{error}");
    }
}
