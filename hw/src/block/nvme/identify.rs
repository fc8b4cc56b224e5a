//! What the controller tells of itself and its namespace: 5.15, "Identify command".

use super::VERSION;

/// Bytes of every such structure.
pub(super) const IDENTIFY_LEN: usize = 4096;
/// Bytes of a logical block.
pub(super) const BLOCK: u64 = 512;
/// Greatest transfer, in pages of 4096 bytes as a power of two (MDTS), and in bytes.
const MDTS: u8 = 7;
pub(super) const TRANSFER_MAX: u64 = 4096 << MDTS;
/// Outstanding event requests at most.
pub(super) const EVENT_REQUESTS: usize = 4;

/// A structure under construction.
struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    }
    /// ASCII, padded with spaces.
    fn text(&mut self, at: usize, len: usize, text: &str) {
        let printable = text.bytes().map(|byte| if byte.is_ascii_graphic() { byte } else { b' ' });
        let padded: Vec<u8> = printable.chain(std::iter::repeat(b' ')).take(len).collect();
        self.put(at, &padded);
    }
}

/// Sixteen bytes that differ where serial numbers do, as a UUID of version 8 (RFC 9562): FNV-1a with two starting values.
fn uuid(serial: &str) -> [u8; 16] {
    let hash =
        |start: u64| serial.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let mut uuid = [0; 16];
    let (high, low) = uuid.split_at_mut(8);
    high.copy_from_slice(&hash(0xcbf2_9ce4_8422_2325).to_be_bytes());
    low.copy_from_slice(&hash(0x6d69_6d69_6321_0001).to_be_bytes());
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// "Identify Controller Data Structure".
pub(super) fn controller(serial: &str) -> Vec<u8> {
    let mut f = Fields(vec![0; IDENTIFY_LEN]);
    f.put(0, &[0x36, 0x1b, 0xf4, 0x1a]); // VID, SSVID
    f.text(4, 20, serial);
    f.text(24, 40, "Mimic NVMe Controller");
    f.text(64, 8, "1.0");
    f.put(72, &[6]); // RAB
    f.put(77, &[MDTS]);
    f.put(80, &VERSION.to_le_bytes());
    f.put(111, &[1]); // CNTRLTYPE: I/O controller
    // ACL, AERL, FRMW (one slot, read-only), LPA (effects log, long and partial reads), ELPE.
    f.put(258, &[3, EVENT_REQUESTS as u8 - 1, 3, 0x06, 0]);
    f.put(266, &343u16.to_le_bytes()); // WCTEMP, in K
    f.put(268, &373u16.to_le_bytes()); // CCTEMP
    f.put(512, &[0x66, 0x44]); // SQES, CQES
    f.put(516, &1u32.to_le_bytes()); // NN
    f.put(520, &0x000c_u16.to_le_bytes()); // ONCS: dataset management, write zeroes
    f.put(525, &[0x07]); // VWC: there is one, and a flush may be of all namespaces
    let hex: Vec<String> = uuid(serial).iter().map(|byte| format!("{byte:02x}")).collect();
    let group = |range: std::ops::Range<usize>| hex.get(range).map(|bytes| bytes.concat()).unwrap_or_default();
    let groups = [group(0..4), group(4..6), group(6..8), group(8..10), group(10..16)];
    f.put(768, format!("nqn.2014-08.org.nvmexpress:uuid:{}", groups.join("-")).as_bytes()); // SUBNQN
    f.put(2048, &2500u16.to_le_bytes()); // PSD0: 25 W at most
    f.0
}

/// "Identify Namespace Data Structure" of one with `bytes` bytes.
pub(super) fn namespace(bytes: u64, read_only: bool) -> Vec<u8> {
    let mut f = Fields(vec![0; IDENTIFY_LEN]);
    let blocks = bytes / BLOCK;
    for at in [0, 8, 16] {
        f.put(at, &blocks.to_le_bytes()); // NSZE, NCAP, NUSE
    }
    f.put(99, &[read_only.into()]); // NSATTR: write protected
    f.put(130, &[BLOCK.trailing_zeros() as u8]); // LBAF0: no metadata, LBADS
    f.0
}

/// The namespaces after `after`, in order.
pub(super) fn active(after: u32) -> Vec<u8> {
    let mut f = Fields(vec![0; IDENTIFY_LEN]);
    if after == 0 {
        f.put(0, &1u32.to_le_bytes());
    }
    f.0
}

/// "Namespace Identification Descriptor": a UUID.
pub(super) fn descriptors(serial: &str) -> Vec<u8> {
    let mut f = Fields(vec![0; IDENTIFY_LEN]);
    f.put(0, &[3, 16]);
    f.put(4, &uuid(serial));
    f.0
}
