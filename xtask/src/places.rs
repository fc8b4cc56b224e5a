//! Where things are: the repository, build output and fetched guests.

use std::path::{Path, PathBuf};

/// Root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies one level below the root")
}

/// Cargo's output directory; `CARGO_TARGET_DIR` moves it.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => repository().join(dir),
        None => repository().join("target"),
    }
}

/// Fetched guests; `MIMIC_GUESTS` moves them, so that several checkouts can share one copy.
pub fn guests() -> PathBuf {
    match std::env::var_os("MIMIC_GUESTS") {
        Some(dir) => std::env::current_dir().unwrap_or_default().join(dir),
        None => target().join("guests"),
    }
}

/// The released program.
pub fn mimic() -> PathBuf {
    target().join("release").join("mimic")
}

/// The bare-metal guest that stands in where nothing can be fetched.
pub fn demo_guest() -> PathBuf {
    repository().join("tests/guest-images/demo.bin")
}
