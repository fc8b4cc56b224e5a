//! The file that tells other programs this program's process id.

use crate::error::{HostError, reason};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A process id file, locked as long as the program lives; dropping it removes the file.
pub struct PidFile {
    path: PathBuf,
    _locked: File,
}

impl PidFile {
    /// Writes this process's id. A file that another living program holds is refused.
    pub fn write(path: &Path) -> Result<Self, HostError> {
        let failed = |error: io::Error| {
            let advice = "choose a file in an existing directory that you may write to";
            HostError::new("write", "pidfile", path.display().to_string(), reason(&error), advice)
        };
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let advice = "end that program or choose another file";
            HostError::new("write", "pidfile", path.display().to_string(), "another program holds it", advice)
        })?;
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), _locked: file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_holds_it() {
        let path = std::env::temp_dir().join(format!("mimic-pidfile-{}", std::process::id()));
        std::fs::write(&path, "123456789 and more").unwrap();
        let held = PidFile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let error = PidFile::write(&path).err().unwrap().to_string();
        assert!(error.ends_with("another program holds it; end that program or choose another file"), "{error}");
        drop(held);
        assert!(!path.exists());
    }
}
