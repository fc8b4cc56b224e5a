//! The host's floating-point control and status register.
// UNSAFETY: MXCSR is reached by inline assembly only.

#![allow(unsafe_code)]

/// Round to nearest, every exception masked, no flag: what Rust and compiled code expect.
pub const DEFAULT: u32 = 0x1f80;
/// Where the exception flags are.
pub const FLAGS: u32 = 0x3f;

/// The register's contents; [`DEFAULT`] on hosts without it.
#[inline]
pub fn read() -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        let mut value = 0u32;
        // SAFETY: stores four bytes where the pointer says.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags));
        }
        value
    }
    #[cfg(not(target_arch = "x86_64"))]
    DEFAULT
}

/// Sets the register: `DEFAULT` and any of `FLAGS`, or what [`read`] gave. Other values are undefined behaviour in Rust
/// code and therefore cut to the former.
#[inline]
pub fn write(value: u32) {
    #[cfg(target_arch = "x86_64")]
    {
        let value = DEFAULT | value & FLAGS;
        // SAFETY: loads four bytes from where the pointer says; round to nearest with masked exceptions is the
        // environment that Rust assumes, and flags do not matter to it.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags, readonly));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn flags_come_and_go() {
        let before = read();
        write(DEFAULT);
        assert_eq!(read(), DEFAULT);
        std::hint::black_box(std::hint::black_box(1.0f64) / std::hint::black_box(3.0));
        assert_eq!(read(), DEFAULT | 1 << 5);
        write(0);
        assert_eq!(read(), DEFAULT);
        write(before);
    }
}
