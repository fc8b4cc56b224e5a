//! What a display shows, as windows, viewers and screen dumps take it.

use crate::device::{Device, DeviceCell};

/// One picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Pixels of a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Red, green and blue of each pixel, line by line from the top: `width * height * 3` bytes.
    pub rgb: Vec<u8>,
}

/// A display adapter as whoever shows its picture sees it.
pub trait Display: Send + Sync {
    /// What it shows now. Not larger than the adapter's modes allow, whatever the guest programs.
    fn frame(&self) -> Frame;
}

/// A device that makes a picture.
pub trait DisplayDevice: Device {
    /// See [`Display::frame`].
    fn render(&self) -> Frame;
}

impl<T: DisplayDevice> Display for DeviceCell<T> {
    fn frame(&self) -> Frame {
        self.with(|device| device.render()).unwrap_or_default()
    }
}
