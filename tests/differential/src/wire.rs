//! What goes through the runner's pipes; `runner/README.md` is the definition.

/// Bytes of a [`Case`] on the wire.
pub const CASE_BYTES: usize = 1072;
/// Bytes of an [`Outcome`] on the wire.
pub const RESULT_BYTES: usize = 1088;
/// Bytes of the memory window.
pub const WINDOW: usize = 256;

/// Start of the memory area.
pub const MEMORY: u64 = 0x1_0000_0000;
/// Its size; nothing is mapped before and after it.
pub const MEMORY_SIZE: u64 = 0x2000;
/// Where instructions are placed that neither branch nor read near the PC.
pub const SLOTS: u64 = 0x2_0000_0000;
/// Start of the area of isolated cases, filled with BRK.
pub const ISOLATED: u64 = 0x3_0000_0000;
/// Its size.
pub const ISOLATED_SIZE: u64 = 0x40_0000;
/// Where isolated cases begin.
pub const ISOLATED_PC: u64 = 0x3_0020_0000;

/// Run at [`ISOLATED_PC`].
pub const FLAG_ISOLATED: u32 = 1;
/// Fill the memory area with zeros first.
pub const FLAG_CLEAN: u32 = 2;

/// Signals, as Linux numbers them.
pub const SIGILL: u32 = 4;
pub const SIGTRAP: u32 = 5;
pub const SIGBUS: u32 = 7;
pub const SIGSEGV: u32 = 11;

/// The registers that a case sets and a result reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// X0 to X30.
    pub x: [u64; 31],
    pub sp: u64,
    /// Bits 31 to 28.
    pub nzcv: u64,
    pub fpcr: u64,
    pub fpsr: u64,
    pub v: [u128; 32],
}

/// One execution of one or two instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The instruction.
    pub insn: u32,
    /// What is executed after it; 0 for nothing.
    pub insn2: u32,
    /// [`FLAG_ISOLATED`], [`FLAG_CLEAN`].
    pub flags: u32,
    /// Of the window in the memory area.
    pub window_offset: u32,
    /// Registers before.
    pub state: State,
    /// Memory before.
    pub window: [u8; WINDOW],
}

/// What an execution did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The signal that ended it, 0 for none.
    pub signal: u32,
    /// Address of the access or fetch that failed.
    pub fault_address: u64,
    /// Where it stopped, from the first instruction.
    pub pc_delta: u64,
    /// Registers after.
    pub state: State,
    /// Memory after.
    pub window: [u8; WINDOW],
}

impl State {
    fn put(&self, out: &mut Vec<u8>) {
        for value in self.x.iter().chain([&self.sp, &self.nzcv, &self.fpcr, &self.fpsr, &0]) {
            out.extend(value.to_le_bytes());
        }
        for value in &self.v {
            out.extend(value.to_le_bytes());
        }
    }

    fn take(bytes: &mut &[u8]) -> State {
        let mut state = State { x: std::array::from_fn(|_| u64_of(bytes)), ..State::default() };
        state.sp = u64_of(bytes);
        state.nzcv = u64_of(bytes);
        state.fpcr = u64_of(bytes);
        state.fpsr = u64_of(bytes);
        u64_of(bytes);
        state.v = std::array::from_fn(|_| u128::from_le_bytes(array_of(bytes)));
        state
    }
}

impl Case {
    /// Appends the wire format.
    pub fn put(&self, out: &mut Vec<u8>) {
        for value in [self.insn, self.insn2, self.flags, self.window_offset] {
            out.extend(value.to_le_bytes());
        }
        self.state.put(out);
        out.extend(self.window);
    }

    /// Whether it runs among BRK instructions, and so always ends with a signal.
    pub fn isolated(&self) -> bool {
        self.flags & FLAG_ISOLATED != 0
    }

    /// Number of instructions.
    pub fn instructions(&self) -> u64 {
        if self.insn2 == 0 { 1 } else { 2 }
    }
}

impl Outcome {
    /// From the wire format.
    pub fn take(mut bytes: &[u8]) -> Outcome {
        let bytes = &mut bytes;
        let signal = u32::from_le_bytes(array_of(bytes));
        let _si_code: [u8; 4] = array_of(bytes);
        let fault_address = u64_of(bytes);
        let (start, pc) = (u64_of(bytes), u64_of(bytes));
        let state = State::take(bytes);
        Outcome { signal, fault_address, pc_delta: pc.wrapping_sub(start), state, window: array_of(bytes) }
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
