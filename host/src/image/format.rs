//! Formats of disk images, and what a file's first bytes say about its own.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that [`announced`] looks at.
pub const PROBE: usize = 512;

/// A format of disk images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The disk's bytes and nothing else.
    Raw,
    /// QEMU's format.
    Qcow2,
    /// VMware's, of which descriptors with flat extents are known, to be read.
    Vmdk,
}

/// Formats that exist and are not implemented.
const OTHERS: &[&str] =
    &["qcow", "vdi", "vhdx", "vpc", "qed", "dmg", "luks", "bochs", "cloop", "parallels", "blkdebug", "nbd"];

impl Format {
    /// Every format that can be opened.
    pub const ALL: [Format; 3] = [Format::Raw, Format::Qcow2, Format::Vmdk];

    /// Its name, as `format=` and `-f` take it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Raw => "raw",
            Format::Qcow2 => "qcow2",
            Format::Vmdk => "vmdk",
        }
    }

    /// The format called `name`. The error is a reason and a next step.
    pub fn named(name: &str) -> Result<Self, (String, String)> {
        match Self::ALL.into_iter().find(|format| format.name() == name) {
            Some(format) => Ok(format),
            None if OTHERS.contains(&name) => {
                let advice = "use qcow2; `qemu-img convert -O qcow2 FILE NEW` makes one of it";
                Err((format!("the format {name} is not implemented"), advice.into()))
            }
            None => Err((format!("unknown format `{name}`"), "use raw, qcow2 or vmdk".into())),
        }
    }
}

/// The format that an image's first bytes announce: its name, and which it is if that can be opened. `None`: they announce
/// none, so the image is raw.
pub fn announced(start: &[u8]) -> Option<(&'static str, Option<Format>)> {
    let known: &[(&[u8], &str, Option<Format>)] = &[
        (b"QFI\xfb\0\0\0\x01", "qcow", None),
        (b"QFI\xfb", "qcow2", Some(Format::Qcow2)),
        (b"KDMV", "VMDK", Some(Format::Vmdk)),
        (b"COWD", "VMDK", None),
        (b"# Disk DescriptorFile", "VMDK", Some(Format::Vmdk)),
        (b"vhdxfile", "VHDX", None),
        (b"conectix", "VHD", None),
        (b"QED\0", "QED", None),
        (b"<<< ", "VDI", None),
    ];
    let found = known.iter().find(|(magic, ..)| start.starts_with(magic));
    // VDI's preamble is free text, its signature stands behind it.
    let vdi = (start.get(0x40..0x44) == Some(&[0x7f, 0x10, 0xda, 0xbe])).then_some(("VDI", None));
    found.map(|(_, name, format)| (*name, *format)).or(vdi)
}

/// What the first bytes of `file` announce.
pub fn probe(file: &File) -> io::Result<Option<(&'static str, Option<Format>)>> {
    let mut start = [0; PROBE];
    let mut filled = 0;
    while filled < PROBE {
        match file.read_at(&mut start[filled..], filled as u64) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(announced(&start[..filled]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_name_and_by_content() {
        assert_eq!(Format::named("qcow2"), Ok(Format::Qcow2));
        assert!(Format::named("vdi").unwrap_err().0.contains("not implemented"));
        assert!(Format::named("qcwo2").unwrap_err().0.contains("unknown"));
        let mut vdi = [b' '; PROBE];
        vdi[0x40..0x44].copy_from_slice(&0xbeda_107f_u32.to_le_bytes());
        let rows: [(&[u8], Option<Option<Format>>); 6] = [
            (b"", None),
            (b"\xeb\x63\x90", None),
            (b"QFI\xfb\0\0\0\x03", Some(Some(Format::Qcow2))),
            (b"QFI\xfb\0\0\0\x01", Some(None)),
            (b"# Disk DescriptorFile\n", Some(Some(Format::Vmdk))),
            (&vdi, Some(None)),
        ];
        for (start, want) in rows {
            assert_eq!(announced(start).map(|(_, format)| format), want, "{start:?}");
        }
    }
}
