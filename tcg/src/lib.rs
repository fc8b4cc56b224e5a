//! The translator, for any instruction set.
