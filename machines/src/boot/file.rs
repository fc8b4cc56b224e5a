//! Host files that are loaded into a machine.

use crate::error::{Error, Role};
use std::io::Read;
use std::path::Path;

/// The contents of a file, with its name for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it is for.
    pub role: Role,
    /// As the user wrote it.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

impl File {
    /// Reads a whole file of at most `limit` bytes (what RAM or flash can hold).
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Empty`], or [`Error::RamTooSmall`] when it is longer than `limit`.
    pub fn read(role: Role, path: &Path, limit: u64) -> Result<File, Error> {
        let name = path.display().to_string();
        let fail = |why: String| Error::Read { role, name: name.clone(), why };
        let io = |e: std::io::Error| fail(reason(&e));
        let file = std::fs::File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(fail("it is a directory".into()));
        }
        let len = metadata.len();
        if len > limit {
            return Err(Error::too_small(role, &name, limit, len));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.is_empty() {
            return Err(Error::Empty { role, name });
        }
        if bytes.len() as u64 > limit {
            return Err(Error::too_small(role, &name, limit, bytes.len() as u64));
        }
        Ok(File { role, name, bytes })
    }
}

/// The system's words for an error, without its number and in the middle of a sentence.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(role: Role, path: &str, limit: u64, expect: &str) {
        assert_eq!(File::read(role, Path::new(path), limit).unwrap_err().to_string(), expect);
    }

    #[test]
    fn unreadable_files() {
        check(
            Role::Kernel,
            "/nonexistent/Image",
            1 << 20,
            "cannot read kernel `/nonexistent/Image`: no such file or directory; check the file given with -kernel",
        );
        check(
            Role::Initrd,
            "/",
            1 << 20,
            "cannot read initial RAM disk `/`: it is a directory; check the file given with -initrd",
        );
        check(Role::Dtb, "/dev/null", 1 << 20, "device tree `/dev/null` is empty; check the file given with -dtb");
        check(Role::Kernel, "/dev/zero", 1 << 20, "RAM of 1 MiB is too small for kernel `/dev/zero`; use -m 2 or more");
    }
}
