//! A folder of the host as a guest sees it through the protocol 9P2000.L.

/// A server for one guest. Calls come from one thread at a time.
pub trait NinepServer: Send + Sync {
    /// The answer to `request`, both whole messages with their lengths. An answer of more than `room` bytes is an error
    /// instead. Any bytes may come, and every call ends soon: nothing waits for somebody else's doing.
    fn serve(&self, request: &[u8], room: usize) -> Vec<u8>;
    /// The guest has gone: whatever it had open is closed.
    fn reset(&self);
}
