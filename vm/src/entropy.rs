//! Randomness for devices and CPU instructions, injected so that a run can be repeated.

/// A source of random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `buf`.
    fn fill(&self, buf: &mut [u8]);
}
