//! What goes through the runner's pipes; `runner-x86/README.md` is the definition.

/// Bytes of a [`Case`] on the wire.
pub const CASE_BYTES: usize = 128 + STATE_BYTES + WINDOW;
/// Bytes of an [`Outcome`] on the wire.
pub const RESULT_BYTES: usize = 32 + STATE_BYTES + WINDOW;
const STATE_BYTES: usize = 816;
/// Bytes of the memory window.
pub const WINDOW: usize = 512;
/// Bytes of code at most.
pub const CODE_MAX: usize = 96;

/// Where code is placed in turn.
pub const CODE: u64 = 0x1360_0000;
/// Its size.
pub const CODE_SIZE: u64 = 0x100_0000;
/// Distance of one placement from the next.
pub const SLOT: u64 = 128;
/// Start of the area of isolated cases, filled with INT3.
pub const ISOLATED: u64 = 0x1a40_0000;
/// Its size.
pub const ISOLATED_SIZE: u64 = 0x40_0000;
/// Where isolated cases begin.
pub const ISOLATED_PC: u64 = 0x1a60_0000;
/// Start of the data: nothing is mapped before and after it.
pub const DATA: u64 = 0x2ab3_0000;
/// Its size.
pub const DATA_SIZE: u64 = 0x2000;

/// Run among INT3 instructions, at [`ISOLATED_PC`]: it may branch.
pub const FLAG_ISOLATED: u32 = 1;
/// With the x87, SSE and AVX state.
pub const FLAG_VECTORS: u32 = 2;

/// 32-bit code, in compatibility mode.
pub const FLAG_32: u32 = 4;

/// [`Outcome::vector`] of a case that ran to its end.
pub const NO_VECTOR: u32 = 256;

/// The registers that a case sets and a result reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// As instructions encode them.
    pub gpr: [u64; 16],
    pub rflags: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub mxcsr: u32,
    /// Control, status and abridged tag word of the x87 unit, as FXSAVE stores them.
    pub fcw: u16,
    pub fsw: u16,
    pub ftw: u8,
    /// ST0 to ST7, 80 bits each.
    pub st: [u128; 8],
    pub xmm: [u128; 16],
    pub ymm_high: [u128; 16],
}

impl Default for State {
    fn default() -> Self {
        State {
            gpr: [0; 16],
            rflags: 0x202,
            fs_base: 0,
            gs_base: 0,
            mxcsr: 0x1f80,
            fcw: 0x37f,
            fsw: 0,
            ftw: 0,
            st: [0; 8],
            xmm: [0; 16],
            ymm_high: [0; 16],
        }
    }
}

/// One execution of one or more instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The instructions.
    pub code: Vec<u8>,
    /// How many they are.
    pub instructions: u64,
    /// Where they are placed.
    pub pc: u64,
    /// [`FLAG_ISOLATED`], [`FLAG_VECTORS`], [`FLAG_32`].
    pub flags: u32,
    /// Of the window in the data.
    pub window_offset: u32,
    /// Registers before.
    pub state: State,
    /// Memory before.
    pub window: [u8; WINDOW],
}

/// What an execution did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Vector of the exception that ended it, or [`NO_VECTOR`].
    pub vector: u32,
    /// The exception's error code, 0 if it has none.
    pub error: u32,
    /// CR2 of a page fault.
    pub address: u64,
    /// Where it stopped.
    pub pc: u64,
    /// Checksum of the data without the window, 0 if that is zero as before.
    pub outside: u64,
    /// Registers after.
    pub state: State,
    /// Memory after.
    pub window: [u8; WINDOW],
}

impl State {
    fn put(&self, out: &mut Vec<u8>) {
        for value in self.gpr.iter().chain([&self.rflags, &self.fs_base, &self.gs_base]) {
            out.extend(value.to_le_bytes());
        }
        out.extend(self.mxcsr.to_le_bytes());
        out.extend(self.fcw.to_le_bytes());
        out.extend(self.fsw.to_le_bytes());
        out.extend([self.ftw, 0, 0, 0, 0, 0, 0, 0]);
        // 16-byte alignment: 16 + 3 quadwords, then two more.
        out.extend([0; 8]);
        for value in self.st.iter().chain(&self.xmm).chain(&self.ymm_high) {
            out.extend(value.to_le_bytes());
        }
    }

    fn take(bytes: &mut &[u8]) -> State {
        let gpr = std::array::from_fn(|_| u64_of(bytes));
        let (rflags, fs_base, gs_base) = (u64_of(bytes), u64_of(bytes), u64_of(bytes));
        let mxcsr = u32::from_le_bytes(array_of(bytes));
        let (fcw, fsw) = (u16::from_le_bytes(array_of(bytes)), u16::from_le_bytes(array_of(bytes)));
        let [ftw, ..] = array_of::<16>(bytes);
        let mut wide = |_| u128::from_le_bytes(array_of(bytes));
        let (st, xmm, ymm_high) =
            (std::array::from_fn(&mut wide), std::array::from_fn(&mut wide), std::array::from_fn(&mut wide));
        State { gpr, rflags, fs_base, gs_base, mxcsr, fcw, fsw, ftw, st, xmm, ymm_high }
    }
}

impl Case {
    /// Appends the wire format.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.flags.to_le_bytes());
        out.extend(self.window_offset.to_le_bytes());
        out.extend(self.pc.to_le_bytes());
        out.extend((self.code.len() as u64).to_le_bytes());
        let mut code = [0; CODE_MAX + 8];
        code[..self.code.len()].copy_from_slice(&self.code);
        out.extend(code);
        self.state.put(out);
        out.extend(self.window);
    }

    pub fn isolated(&self) -> bool {
        self.flags & FLAG_ISOLATED != 0
    }

    pub fn with_vectors(&self) -> bool {
        self.flags & FLAG_VECTORS != 0
    }

    /// Bits of its code: 32 or 64.
    pub fn bits(&self) -> u32 {
        if self.flags & FLAG_32 != 0 { 32 } else { 64 }
    }

    /// The address after the instructions.
    pub fn end(&self) -> u64 {
        self.pc + self.code.len() as u64
    }
}

impl Outcome {
    /// From the wire format.
    pub fn take(mut bytes: &[u8]) -> Outcome {
        let bytes = &mut bytes;
        let (vector, error) = (u32::from_le_bytes(array_of(bytes)), u32::from_le_bytes(array_of(bytes)));
        let (address, pc, outside) = (u64_of(bytes), u64_of(bytes), u64_of(bytes));
        let state = State::take(bytes);
        Outcome { vector, error, address, pc, outside, state, window: array_of(bytes) }
    }
}

fn array_of<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (first, rest) = bytes.split_first_chunk().expect("a result has its full length");
    *bytes = rest;
    *first
}

fn u64_of(bytes: &mut &[u8]) -> u64 {
    u64::from_le_bytes(array_of(bytes))
}

/// Checksum (FNV-1a of 64-bit words) of the data, in which the window is zero, as the runner computes it.
pub fn checksum(data: &[u8]) -> u64 {
    let words = data.chunks_exact(8).map(|word| word.iter().rev().fold(0, |v, byte| v << 8 | u64::from(*byte)));
    words.fold(0xcbf2_9ce4_8422_2325, |sum: u64, word| (sum ^ word).wrapping_mul(0x100_0000_01b3)).max(1)
}
