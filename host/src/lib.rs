//! Host ends: terminals, files, clocks.
