//! How wider accesses reach 8-bit devices in the space of I/O ports.

use std::sync::Arc;
use vm::{Access, BusError, MmioPort};

/// A device on an 8-bit bus: the bus controller splits a wider access into byte accesses at rising addresses (ISA
/// System Architecture, "Data bus steering"), as guests expect when they write index and data port at once.
pub struct ByteWide(pub Arc<dyn MmioPort>);

impl ByteWide {
    fn bytes(at: Access) -> impl Iterator<Item = (u32, Access)> {
        (0..at.width.min(8)).map(move |n| {
            (8 * u32::from(n), Access { offset: at.offset.wrapping_add(n.into()), width: 1, window: at.window })
        })
    }
}

impl MmioPort for ByteWide {
    /// Bytes that nothing answers read as ones; it is an error if none is answered, as with writes.
    fn read(&self, at: Access) -> Result<u64, BusError> {
        let (mut value, mut answered, mut error) = (0, at.width == 0, BusError::NoDevice);
        for (shift, byte) in Self::bytes(at) {
            let read = self.0.read(byte).inspect_err(|e| error = *e);
            answered |= read.is_ok();
            value |= (read.unwrap_or(0xff) & 0xff) << shift;
        }
        if answered { Ok(value) } else { Err(error) }
    }

    fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
        let (mut answered, mut error) = (at.width == 0, BusError::NoDevice);
        for (shift, byte) in Self::bytes(at) {
            let written = self.0.write(byte, value >> shift & 0xff).inspect_err(|e| error = *e);
            answered |= written.is_ok();
        }
        if answered { Ok(()) } else { Err(error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Four(Mutex<[u8; 4]>);

    impl MmioPort for Four {
        fn read(&self, at: Access) -> Result<u64, BusError> {
            assert_eq!(at.width, 1);
            self.0.lock().unwrap().get(at.offset as usize).map(|byte| (*byte).into()).ok_or(BusError::BadOffset)
        }
        fn write(&self, at: Access, value: u64) -> Result<(), BusError> {
            assert_eq!(at.width, 1);
            let mut bytes = self.0.lock().unwrap();
            bytes.get_mut(at.offset as usize).map(|byte| *byte = value as u8).ok_or(BusError::BadOffset)
        }
    }

    #[test]
    fn wide_accesses_become_bytes() {
        let wide = ByteWide(Arc::<Four>::default());
        let at = |offset, width| Access { window: 0, offset, width };
        wide.write(at(0, 4), 0x4433_2211).unwrap();
        assert_eq!(wide.read(at(0, 4)), Ok(0x4433_2211));
        assert_eq!(wide.read(at(1, 2)), Ok(0x3322));
        assert_eq!(wide.read(at(3, 2)), Ok(0xff44));
        assert_eq!(wide.read(at(4, 2)), Err(BusError::BadOffset));
        wide.write(at(3, 2), 0x9988).unwrap();
        assert_eq!(wide.write(at(4, 2), 0), Err(BusError::BadOffset));
        assert_eq!(wide.read(at(3, 1)), Ok(0x88));
        assert_eq!(wide.read(at(u64::MAX, 2)), Ok(0x11ff));
    }
}
