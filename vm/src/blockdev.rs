//! Disks as a device model sees them.

/// Why a disk request failed.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The request does not lie within the disk.
    #[error("request of {len} bytes at {offset} is outside the disk of {disk} bytes")]
    OutOfRange { offset: u64, len: u64, disk: u64 },
    /// The disk may only be read.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The host failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A disk: random access to a fixed number of bytes. Calls may come from several threads at once.
pub trait BlockDev: Send + Sync {
    /// Size in bytes, a multiple of 512.
    fn len_bytes(&self) -> u64;
    /// Whether writes are refused.
    fn read_only(&self) -> bool;
    /// Fills `buf` from byte `offset` on.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), BlockError>;
    /// Writes `buf` at byte `offset`; durable only after [`flush`](BlockDev::flush).
    fn write_at(&self, offset: u64, buf: &[u8]) -> Result<(), BlockError>;
    /// Makes every completed write durable.
    fn flush(&self) -> Result<(), BlockError>;
    /// The guest no longer needs these bytes; later reads give zeros or the old contents.
    fn discard(&self, offset: u64, len: u64) -> Result<(), BlockError>;
    /// Later reads of these bytes give zeros.
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), BlockError>;
    /// Checks that a request lies within the disk.
    fn check_range(&self, offset: u64, len: u64) -> Result<(), BlockError> {
        let disk = self.len_bytes();
        match offset.checked_add(len) {
            Some(end) if end <= disk => Ok(()),
            _ => Err(BlockError::OutOfRange { offset, len, disk }),
        }
    }
}
