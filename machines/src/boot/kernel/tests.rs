use super::*;
use std::io::Write;

const RAM: u64 = 64 << 20;

fn put(bytes: &mut Vec<u8>, at: usize, value: &[u8]) {
    if bytes.len() < at + value.len() {
        bytes.resize(at + value.len(), 0);
    }
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A PE header at 0x40 for `machine` with one section that ends at `end`.
fn put_pe(bytes: &mut Vec<u8>, machine: u16, end: u32) {
    put(bytes, 0, b"MZ");
    put(bytes, 60, &0x40u32.to_le_bytes());
    put(bytes, 0x40, b"PE\0\0");
    put(bytes, 0x44, &machine.to_le_bytes());
    put(bytes, 0x46, &1u16.to_le_bytes());
    put(bytes, 0x54, &0u16.to_le_bytes());
    put(bytes, 0x58 + 16, &(end - 0x80).to_le_bytes());
    put(bytes, 0x58 + 20, &0x80u32.to_le_bytes());
}

/// An `Image` with an EFI stub, 4 KiB in the file and 64 KiB in memory.
fn image() -> Vec<u8> {
    let mut bytes = vec![0; 0x1000];
    put_pe(&mut bytes, PE_ARM64, 0x1000);
    put(&mut bytes, 16, &0x1_0000u64.to_le_bytes());
    put(&mut bytes, 24, &0b1010u64.to_le_bytes());
    put(&mut bytes, 56, IMAGE_MAGIC);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zboot(method: &str, machine: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 0x100];
    put_pe(&mut bytes, machine, 0x100 + payload.len() as u32);
    put(&mut bytes, 4, b"zimg");
    put(&mut bytes, 8, &0x100u32.to_le_bytes());
    put(&mut bytes, 12, &(payload.len() as u32).to_le_bytes());
    put(&mut bytes, 24, method.as_bytes());
    put(&mut bytes, 0x100, payload);
    bytes
}

/// A little-endian ELF64 program for `machine` with segments of (vaddr, paddr, contents, memsz).
fn elf(machine: u16, entry: u64, segments: &[(u64, u64, &[u8], u64)]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    put(&mut bytes, 16, &2u16.to_le_bytes());
    put(&mut bytes, 18, &machine.to_le_bytes());
    put(&mut bytes, 20, &1u32.to_le_bytes());
    put(&mut bytes, 24, &entry.to_le_bytes());
    put(&mut bytes, 32, &64u64.to_le_bytes());
    put(&mut bytes, 52, &64u16.to_le_bytes());
    put(&mut bytes, 54, &56u16.to_le_bytes());
    put(&mut bytes, 56, &(segments.len() as u16).to_le_bytes());
    put(&mut bytes, 62, &[0, 0]);
    let mut at = 64 + 56 * segments.len();
    for (n, (vaddr, paddr, contents, memsz)) in segments.iter().enumerate() {
        let header = [at as u64, *vaddr, *paddr, contents.len() as u64, *memsz, 8];
        put(&mut bytes, 64 + 56 * n, &1u32.to_le_bytes());
        for (field, value) in header.iter().enumerate() {
            put(&mut bytes, 64 + 56 * n + 8 + 8 * field, &value.to_le_bytes());
        }
        put(&mut bytes, at, contents);
        at += contents.len();
    }
    bytes
}

fn recognise(bytes: Vec<u8>) -> Result<Kernel, Error> {
    Kernel::recognise(File { role: Role::Kernel, name: "k".into(), bytes }, RAM)
}

#[track_caller]
fn fails(bytes: Vec<u8>, expect: &str) {
    let boots = "this machine boots AArch64 kernels: Image, Image.gz, EFI zboot or ELF";
    assert_eq!(recognise(bytes).unwrap_err().to_string().replace(boots, "(boots)"), expect);
}

#[test]
fn every_kind_that_boots() {
    let expect = Kernel::Image { bytes: image(), text_offset: 0, image_size: 0x1_0000 };
    assert_eq!(recognise(image()).unwrap(), expect);
    assert_eq!(recognise(gzip(&image())).unwrap(), expect);
    assert_eq!(recognise(zboot("gzip", PE_ARM64, &gzip(&image()))).unwrap(), expect);
    assert_eq!(recognise(gzip(&zboot("gzip", PE_ARM64, &gzip(&image())))).unwrap(), expect);

    let mut old = image();
    put(&mut old, 16, &[0; 8]);
    let expect = Kernel::Image { bytes: old.clone(), text_offset: 0x8_0000, image_size: 0x1000 };
    assert_eq!(recognise(old).unwrap(), expect);

    let code = [0x1f, 0x20, 0x03, 0xd5, 0xff, 0xff, 0xff, 0x17]; // nop; b .-4
    assert_eq!(recognise(code.to_vec()).unwrap(), Kernel::Raw { bytes: code.to_vec(), text_offset: 0x8_0000 });

    let program =
        elf(183, 0x4010_0004, &[(0x4010_0000, 0x4010_0000, &code, 0x100), (0x5000_0000, 0x4020_0000, b"data", 4)]);
    let segments = vec![
        Segment { paddr: 0x4010_0000, bytes: code.to_vec(), zeros: 0xf8 },
        Segment { paddr: 0x4020_0000, bytes: b"data".to_vec(), zeros: 0 },
    ];
    assert_eq!(recognise(program).unwrap(), Kernel::Elf { segments, entry: 0x4010_0004 });

    // Virtual and physical addresses differ: the entry follows its segment.
    let high = elf(183, 0xffff_0000_0000_0004, &[(0xffff_0000_0000_0000, 0x4000_0000, &code, 8)]);
    assert!(matches!(recognise(high).unwrap(), Kernel::Elf { entry: 0x4000_0004, .. }));

    let base = 0xffff_8000_0800_0000;
    let vmlinux = elf(183, base, &[(base, base, &image(), 0x1000), (base + 0x3000, base + 0x3000, b"data", 0x1_0000)]);
    let Kernel::Image { bytes, text_offset: 0, image_size: 0x1_0000 } = recognise(vmlinux).unwrap() else { panic!() };
    assert_eq!((&bytes[..0x1000], &bytes[0x3000..]), (&image()[..], &b"data"[..]));
}

#[test]
fn other_things_are_named() {
    let mut bzimage = vec![0xea; 0x400];
    put(&mut bzimage, 510, &[0x55, 0xaa]);
    put(&mut bzimage, 0x202, b"HdrS");
    fails(bzimage.clone(), "kernel `k` is a Linux kernel for x86 (bzImage); (boots)");
    fails(
        gzip(&bzimage),
        "kernel `k` is compressed with gzip and, unpacked, a Linux kernel for x86 (bzImage); (boots)",
    );
    let mut efi = vec![0; 0x1000];
    put_pe(&mut efi, 0x8664, 0x1000);
    put(&mut efi, 0x300, &[1]);
    fails(efi, "kernel `k` is an EFI program for x86-64; (boots)");
    fails(zboot("gzip", 0x5064, &gzip(b"x")), "kernel `k` is an EFI zboot kernel for RISC-V; (boots)");
    fails(elf(62, 0, &[]), "kernel `k` is an ELF program for x86-64; (boots)");
    fails(elf(183, 0, &[]), "kernel `k` is an ELF file without a program (an object file?); (boots)");
    let mut elf32 = elf(40, 0, &[]);
    elf32[4] = 1;
    fails(elf32, "kernel `k` is an ELF program for Arm (32-bit); (boots)");
    let mut zimage = vec![1; 0x100];
    put(&mut zimage, 0x24, &0x016f_2818u32.to_le_bytes());
    fails(zimage, "kernel `k` is a Linux kernel for 32-bit Arm (zImage); (boots)");
    fails(b"root:x:0:0\n".to_vec(), "kernel `k` is a text file; (boots)");
    fails(b"070701000\0".to_vec(), "kernel `k` is a cpio archive (an initial RAM disk?); (boots)");
    fails(
        gzip(b"070701000\0"),
        "kernel `k` is compressed with gzip and, unpacked, a cpio archive (an initial RAM disk?); (boots)",
    );
    fails(b"QFI\xfb\0\0\0\x03".to_vec(), "kernel `k` is a qcow2 disk image; (boots)");
    fails(vec![0; 4096], "kernel `k` is filled with zeros where code should be; (boots)");
    fails(vec![0, 0, 0, 0x60, 1], "kernel `k` is of no known kind and does not begin with an instruction; (boots)");
    fails(gzip(b""), "kernel `k` is compressed with gzip and, unpacked, empty; (boots)");
    fails(
        b"\xfd7zXZ\0\0\x04".to_vec(),
        "kernel `k` is compressed with xz, which is not supported; unpack it with `xz -dk`",
    );
    fails(
        zboot("xzkern", PE_ARM64, b"payload"),
        "kernel `k` is compressed with xzkern, which is not supported; use a kernel with CONFIG_KERNEL_GZIP or \
         CONFIG_KERNEL_ZSTD, or its plain Image",
    );
    let mut big = image();
    big[24] |= 1;
    fails(big, "kernel `k` is big-endian, which no CPU here runs; use a little-endian kernel");
    let mut big = elf(183u16.swap_bytes(), 0, &[]);
    big[5] = 2;
    fails(big, "kernel `k` is big-endian, which no CPU here runs; use a little-endian kernel");
}

#[test]
fn truncated_and_damaged_kernels() {
    let again = "copy or download it again";
    let cut = |bytes: Vec<u8>, len: usize| bytes[..len].to_vec();
    fails(cut(image(), 0x800), &format!("kernel `k` is truncated: it has 2048 of 4096 bytes; {again}"));
    fails(cut(image(), 60), &format!("kernel `k` is truncated: it has 60 of 64 bytes; {again}"));
    fails(cut(image(), 66), &format!("kernel `k` is truncated: it has 66 of 88 bytes; {again}"));
    let packed = zboot("gzip", PE_ARM64, &gzip(&image()));
    let len = packed.len();
    fails(cut(packed, len - 5), &format!("kernel `k` is truncated: it has {} of {len} bytes; {again}", len - 5));
    let program = elf(183, 0, &[(0, 0x4000_0000, &[0x1f; 100], 100)]);
    let len = program.len();
    fails(
        cut(program.clone(), len - 1),
        &format!("kernel `k` is truncated: it has {} of {len} bytes; {again}", len - 1),
    );
    fails(cut(program.clone(), 80), &format!("kernel `k` is truncated: it has 80 of 120 bytes; {again}"));
    // A program that begins with a jump over a header that is not there.
    fails(vec![0x10, 0, 0, 0x14, 0, 0], &format!("kernel `k` is truncated: it has 6 of 68 bytes; {again}"));
    fails(cut(program, 5), &format!("kernel `k` is truncated: it has 5 of 64 bytes; {again}"));
    let payload = zboot("gzip", PE_ARM64, &gzip(b"no image"));
    fails(payload, &format!("kernel `k` is damaged: there is no Image in its zboot payload; {again}"));
    let mut odd = image();
    put(&mut odd, 8, &u64::MAX.to_le_bytes());
    let what = "its header asks for the impossible text offset 0xffffffffffffffff";
    fails(odd, &format!("kernel `k` is damaged: {what}; {again}"));
    fails(
        elf(183, 0, &[(0, 0, &[1; 8], 4)]),
        &format!("kernel `k` is damaged: an ELF segment is larger in the file than in memory; {again}"),
    );
    let far = 0xffff_8000_0000_0000u64;
    fails(
        elf(183, far, &[(far, far, &image(), 0x1000), (far + (1 << 40), 0, b"far", 3)]),
        "kernel `k` unpacks to more than the 64 MiB of RAM; use a larger -m",
    );
}

#[test]
fn no_change_or_cut_of_a_kernel_panics() {
    let code = [0x1f, 0x20, 0x03, 0xd5];
    for bytes in
        [image(), zboot("gzip", PE_ARM64, &gzip(&image())), elf(183, 0x4000_0000, &[(0, 0x4000_0000, &code, 8)])]
    {
        for at in 0..bytes.len().min(0x200) {
            for value in [0x00, 0x01, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = value;
                let _ = recognise(bytes);
            }
            let _ = recognise(bytes[..at].to_vec());
        }
    }
}
