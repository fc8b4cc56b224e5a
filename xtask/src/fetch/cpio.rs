//! Writer of cpio archives in the "newc" format that Linux unpacks as initial file system
//! (kernel documentation, "initramfs buffer format"). Device nodes are just header fields, so no privilege is needed.

/// An archive under construction; entries appear in the order they are added, so directories go first.
#[derive(Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    inodes: u32,
}

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Cpio {
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// A regular file; `mode` are its permission bits.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, FILE | mode, (0, 0), content);
    }

    pub fn symlink(&mut self, path: &str, to: &str) {
        self.entry(path, SYMLINK | 0o777, (0, 0), to.as_bytes());
    }

    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[]);
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.inodes = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.inodes += 1;
        // Magic, then 13 fields of 8 hexadecimal digits: ino mode uid gid nlink mtime filesize devmajor devminor
        // rdevmajor rdevminor namesize check. All owned by root, no time: the same input gives the same archive.
        let fields =
            [self.inodes, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, device.0, device.1, path.len() as u32 + 1, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_and_the_trailer() {
        let mut cpio = Cpio::default();
        cpio.file("init", 0o755, b"hello");
        let bytes = cpio.finish();
        let header = std::str::from_utf8(&bytes[..110]).unwrap();
        let fields: Vec<&str> = (0..13).map(|i| &header[6 + 8 * i..14 + 8 * i]).collect();
        assert_eq!(&header[..6], "070701");
        assert_eq!((fields[1], fields[6], fields[11]), ("000081ED", "00000005", "00000005"));
        assert_eq!(&bytes[110..115], b"init\0");
        // Name and content both end on a multiple of four.
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert!(bytes[124..].starts_with(b"070701") && bytes.len() % 4 == 0);
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }

    #[test]
    fn device_numbers_are_in_the_header() {
        let mut cpio = Cpio::default();
        cpio.character_device("dev/console", 5, 1);
        let bytes = cpio.finish();
        assert_eq!(&bytes[6 + 8 * 9..6 + 8 * 11], b"0000000500000001");
        assert_eq!(&bytes[14..22], b"00002180");
    }
}
