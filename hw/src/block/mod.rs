//! Storage chips that are not virtio.

pub mod ahci;
pub mod cfi_flash;
pub mod fdc;
pub mod ide;
pub mod nvme;
pub mod scsi;
