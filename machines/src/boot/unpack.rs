//! Decompression, never to more than RAM can hold.

use crate::error::{Error, Role};
use std::io::{ErrorKind, Read};

/// Largest zstd window that a kernel is packed with: `zstd --ultra -22` uses 128 MiB.
const ZSTD_WINDOW: u64 = 128 << 20;

/// How something is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// The packing that `bytes` begin with.
    pub fn of(bytes: &[u8]) -> Option<Packing> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }
}

/// Unpacks the first member or frame of `bytes`; what follows it is ignored.
///
/// # Errors
/// [`Error::Truncated`], [`Error::Damaged`], or [`Error::Unpacks`] when the result is larger than `limit` bytes.
pub fn unpack(packing: Packing, bytes: &[u8], limit: u64, name: &str) -> Result<Vec<u8>, Error> {
    let damaged = |why: String| Error::Damaged { role: Role::Kernel, name: name.into(), why };
    let reader: Box<dyn Read + '_> = match packing {
        Packing::Gzip => Box::new(flate2::read::GzDecoder::new(bytes)),
        Packing::Zstd => {
            let decoder =
                ruzstd::decoding::StreamingDecoder::new_with_max_window_size(bytes, ZSTD_WINDOW.min(limit.max(1)));
            Box::new(decoder.map_err(|_| damaged("its zstd header makes no sense".into()))?)
        }
    };
    let mut unpacked = Vec::new();
    let result = reader.take(limit.saturating_add(1)).read_to_end(&mut unpacked);
    if unpacked.len() as u64 > limit {
        return Err(Error::Unpacks { name: name.into(), have_mib: limit >> 20 });
    }
    match result {
        Ok(_) => Ok(unpacked),
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(Error::Truncated {
            role: Role::Kernel,
            name: name.into(),
            why: format!("its {} data ends too early", packing.name()),
        }),
        Err(_) => Err(damaged(format!("its {} data does not unpack", packing.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A zstd frame (RFC 8878, 3.1.1) of one RLE block: `len` times `byte`.
    fn zstd_rle(byte: u8, len: u32) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xa0]; // single segment, four bytes of content size
        frame.extend(len.to_le_bytes());
        frame.extend(&(len << 3 | 1 << 1 | 1).to_le_bytes()[..3]);
        frame.push(byte);
        frame
    }

    #[test]
    fn unpacks_what_fits_and_says_what_is_wrong() {
        let text = b"kernel".repeat(1000);
        let packed = gzip(&text);
        assert_eq!(Packing::of(&packed), Some(Packing::Gzip));
        assert_eq!(unpack(Packing::Gzip, &packed, 6000, "k").unwrap(), text);
        let mut trailing = packed.clone();
        trailing.extend([0; 100]);
        assert_eq!(unpack(Packing::Gzip, &trailing, 6000, "k").unwrap(), text);
        let zstd = zstd_rle(7, 4096);
        assert_eq!(Packing::of(&zstd), Some(Packing::Zstd));
        assert_eq!(unpack(Packing::Zstd, &zstd, 1 << 20, "k").unwrap(), [7; 4096]);

        let text = |r: Result<Vec<u8>, Error>| r.unwrap_err().to_string();
        assert_eq!(
            text(unpack(Packing::Gzip, &packed[..packed.len() - 9], 6000, "k")),
            "kernel `k` is truncated: its gzip data ends too early; copy or download it again"
        );
        let mut damaged = packed.clone();
        let at = damaged.len() - 6;
        damaged[at] ^= 0xff;
        assert_eq!(
            text(unpack(Packing::Gzip, &damaged, 6000, "k")),
            "kernel `k` is damaged: its gzip data does not unpack; copy or download it again"
        );
        let bomb = gzip(&vec![0; 3 << 20]);
        assert_eq!(
            text(unpack(Packing::Gzip, &bomb, 2 << 20, "k")),
            "kernel `k` unpacks to more than the 2 MiB of RAM; use a larger -m"
        );
    }
}
