//! Messages of 9P: little-endian numbers, and strings with a length of two bytes before them.

use rustix::io::Errno;

/// Bytes of a message's length, type and tag.
pub const HEADER_LEN: usize = 7;

/// What is left to be read of a message.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Errno::PROTO)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        self.bytes(N)?.try_into().map_err(|_| Errno::PROTO)
    }

    pub fn u8(&mut self) -> Result<u8, Errno> {
        self.array().map(u8::from_le_bytes)
    }
    pub fn u16(&mut self) -> Result<u16, Errno> {
        self.array().map(u16::from_le_bytes)
    }
    pub fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }
    pub fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }
    pub fn string(&mut self) -> Result<&'a [u8], Errno> {
        let len = self.u16()?;
        self.bytes(len.into())
    }
}

/// A message under construction: what follows the header.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    pub fn u16(&mut self, value: u16) {
        self.0.extend(value.to_le_bytes());
    }
    pub fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }
    pub fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }
    /// At most 65,535 bytes.
    pub fn string(&mut self, text: &[u8]) {
        let len = text.len().min(usize::from(u16::MAX));
        self.u16(len as u16);
        self.0.extend(text.get(..len).unwrap_or_default());
    }
    pub fn qid(&mut self, qid: Qid) {
        self.u8(qid.kind);
        self.u32(qid.version);
        self.u64(qid.path);
    }
    /// The message of type `kind`.
    pub fn finish(self, kind: u8, tag: u16) -> Vec<u8> {
        let len = (HEADER_LEN + self.0.len()) as u32;
        let mut message = len.to_le_bytes().to_vec();
        message.push(kind);
        message.extend(tag.to_le_bytes());
        message.extend(self.0);
        message
    }
}

/// The server's name of a file, which stays the same when the file is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Qid {
    /// 0x80 directory, 0x02 symbolic link, 0 other.
    pub kind: u8,
    /// Changes when the file does.
    pub version: u32,
    pub path: u64,
}
