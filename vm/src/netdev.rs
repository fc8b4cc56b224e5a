//! Ethernet frames between a network card and the host end behind it.

/// The host end of a network card.
pub trait NetDev: Send + Sync {
    /// Takes one Ethernet frame (without FCS) that the guest sent. A frame that cannot be delivered is dropped.
    fn send(&self, frame: &[u8]);
    /// Moves the next frame for the guest into `frame` (cleared first); `false` when there is none.
    fn receive(&self, frame: &mut Vec<u8>) -> bool;
    /// `wake` is called, from any thread, when a frame may have become available.
    fn on_receive(&self, wake: Box<dyn Fn() + Send + Sync>);
}
