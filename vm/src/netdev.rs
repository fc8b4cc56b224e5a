//! Ethernet frames between a network card and the host end behind it.

/// What may be left to who takes a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// A checksum of TCP or UDP.
    pub checksum: bool,
    /// Cutting what is too large for the medium into segments of TCP over IPv4; needs `checksum`.
    pub segments_v4: bool,
    /// The same over IPv6.
    pub segments_v6: bool,
}

/// What is left to be done on a frame, by who takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The checksum of the bytes from the first number on is to be put at the second, both counted from the frame's
    /// beginning. There the sum of the pseudo header stands.
    pub checksum: Option<(u16, u16)>,
    /// The frame is one of TCP, to be cut into segments.
    pub segments: Option<Segments>,
}

/// How a frame is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Bytes of payload in each, 1 at least.
    pub size: u16,
    /// Bytes of all headers.
    pub header_len: u16,
    /// Over IPv6, not IPv4.
    pub v6: bool,
}

/// The host end of a network card.
pub trait NetDev: Send + Sync {
    /// Takes one Ethernet frame (without FCS) that the guest sent. A frame that cannot be delivered is dropped.
    fn send(&self, frame: &[u8]);
    /// Moves the next frame for the guest into `frame` (cleared first); `false` when there is none.
    fn receive(&self, frame: &mut Vec<u8>) -> bool;
    /// `wake` is called, from any thread, when a frame may have become available.
    fn on_receive(&self, wake: Box<dyn Fn() + Send + Sync>);

    /// What [`send_unfinished`](Self::send_unfinished) takes over.
    fn takes(&self) -> Offloads {
        Offloads::default()
    }
    /// Like [`send`](Self::send), for a frame on which something is left that this end [takes](Self::takes).
    fn send_unfinished(&self, frame: &[u8], _left: Unfinished) {
        self.send(frame);
    }
    /// The card takes these over from now on.
    fn offer(&self, _offloads: Offloads) {}
    /// Like [`receive`](Self::receive), for a card that takes over what it has [offered](Self::offer).
    fn receive_unfinished(&self, frame: &mut Vec<u8>) -> Option<Unfinished> {
        self.receive(frame).then(Unfinished::default)
    }
}
