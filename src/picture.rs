//! Pictures of a screen as files: PPM (Netpbm, "ppm") and PNG (Portable Network Graphics Specification, third edition).

use flate2::Compression;
use flate2::write::ZlibEncoder;
use std::io::{self, Write};
use vm::display::Frame;

/// As PPM, with 8 bits a sample.
///
/// # Errors
/// Those of the file.
pub fn ppm(frame: &Frame, file: &mut impl Write) -> io::Result<()> {
    write!(file, "P6\n{} {}\n255\n", frame.width, frame.height)?;
    file.write_all(&frame.rgb)
}

/// As PNG, 8 bits a sample, without filters.
///
/// # Errors
/// Those of the file.
pub fn png(frame: &Frame, file: &mut impl Write) -> io::Result<()> {
    file.write_all(b"\x89PNG\r\n\x1a\n")?;
    let mut header = Vec::new();
    header.extend(frame.width.to_be_bytes());
    header.extend(frame.height.to_be_bytes());
    // Bit depth 8, colour type 2 (RGB), deflate, adaptive filters, not interlaced.
    header.extend([8, 2, 0, 0, 0]);
    chunk(file, b"IHDR", &header)?;
    let mut data = ZlibEncoder::new(Vec::new(), Compression::fast());
    let line = frame.width as usize * 3;
    for pixels in frame.rgb.chunks(line.max(1)) {
        data.write_all(&[0])?; // filter type none
        data.write_all(pixels)?;
    }
    chunk(file, b"IDAT", &data.finish()?)?;
    chunk(file, b"IEND", &[])
}

/// "Chunk layout": length, type, data, CRC of type and data.
fn chunk(file: &mut impl Write, kind: &[u8; 4], data: &[u8]) -> io::Result<()> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    file.write_all(&(data.len() as u32).to_be_bytes())?;
    file.write_all(kind)?;
    file.write_all(data)?;
    file.write_all(&crc.sum().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let frame = Frame { width: 2, height: 1, rgb: vec![1, 2, 3, 4, 5, 6] };
        let mut file = Vec::new();
        ppm(&frame, &mut file).unwrap();
        assert_eq!(file, b"P6\n2 1\n255\n\x01\x02\x03\x04\x05\x06");
        file.clear();
        png(&frame, &mut file).unwrap();
        assert_eq!(&file[..16], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
        assert_eq!(&file[16..33], [0, 0, 0, 2, 0, 0, 0, 1, 8, 2, 0, 0, 0, 0x7b, 0x40, 0xe8, 0xdd]);
        // An empty IEND, whose CRC every PNG file ends with.
        assert!(file.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
    }
}
