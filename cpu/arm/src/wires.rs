//! Connections of a processing element to the machine.

/// The wires.
pub struct Wires;
