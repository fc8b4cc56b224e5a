//! One file per chip.
