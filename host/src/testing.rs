//! What the tests of disks and images share.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of a test, removed at its end, with one file in it to begin with.
pub struct Temp {
    folder: PathBuf,
    path: PathBuf,
}

impl Temp {
    /// A file called `name` with `contents`.
    pub fn new(name: &str, contents: &[u8]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("mimic-host-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, contents).unwrap();
        Self { folder, path }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Another file in the folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Runs one of QEMU's tools in `folder`: whether it succeeded, and what it printed. `None`, with a line that says so, if it
/// is not installed.
pub fn qemu(folder: &Path, line: &[&str]) -> Option<(bool, String)> {
    match Command::new(line[0]).args(&line[1..]).current_dir(folder).output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            Some((output.status.success(), text.into_owned()))
        }
        Err(error) => {
            println!("skipped: {} cannot be run ({error}); it is in Debian's qemu-utils", line[0]);
            None
        }
    }
}

/// A generator of numbers that repeats (xorshift64*).
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}
