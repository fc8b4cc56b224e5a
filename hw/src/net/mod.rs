//! Network cards that are not virtio.

pub mod e1000;
