//! A PS/2 mouse with wheel and five buttons. IBM Personal System/2 Hardware Interface Technical Reference, "Mouse";
//! section titles are its. Wheel and more buttons: Microsoft, "IntelliMouse", by the rate sequences 200, 100, 80 and 200,
//! 200, 80.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Bytes that wait for the system: answers and packets.
const QUEUE: usize = 16;

const ACK: u8 = 0xfa;
const ERROR: u8 = 0xfc;
const RESEND: u8 = 0xfe;
const BAT_OK: u8 = 0xaa;

/// A command whose parameter comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Parameter {
    Resolution,
    Rate,
}

/// The mouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mouse {
    /// Packets are sent in stream mode.
    enabled: bool,
    remote: bool,
    wrap: bool,
    /// Scaling 2:1.
    doubled: bool,
    resolution: u8,
    rate: u8,
    /// The last three sample rates.
    rates: [u8; 3],
    /// 0: three buttons; 3: and a wheel; 4: and five buttons.
    id: u8,
    parameter: Option<Parameter>,
    queue: VecDeque<u8>,
    /// Movement not yet reported: right, down, wheel towards the user.
    dx: i32,
    dy: i32,
    dz: i32,
    buttons: u8,
    /// Something changed since the last packet.
    changed: bool,
    last: u8,
}

impl Default for Mouse {
    fn default() -> Self {
        Self {
            enabled: false,
            remote: false,
            wrap: false,
            doubled: false,
            resolution: 2,
            rate: 100,
            rates: [0; 3],
            id: 0,
            parameter: None,
            queue: VecDeque::new(),
            dx: 0,
            dy: 0,
            dz: 0,
            buttons: 0,
            changed: false,
            last: 0,
        }
    }
}

impl Mouse {
    /// Whether a restored mouse could be.
    pub(super) fn is_possible(&self) -> bool {
        self.queue.len() <= QUEUE && matches!(self.id, 0 | 3 | 4)
    }

    fn streams(&self) -> bool {
        self.enabled && !self.remote && !self.wrap
    }

    /// The next byte for the system.
    pub(super) fn take(&mut self) -> Option<u8> {
        if self.queue.is_empty() && self.changed && self.streams() {
            self.packet();
        }
        let byte = self.queue.pop_front()?;
        self.last = byte;
        Some(byte)
    }

    /// The mouse moved by `dx` to the right and `dy` down, its wheel by `dz` towards the user, and its buttons
    /// ([`vm::input::button`]) are now `buttons`. What is not fetched gathers.
    pub(super) fn moved(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        if buttons != self.buttons && self.changed && self.streams() && self.queue.len() + 4 <= QUEUE {
            // So that a short click is not lost.
            self.packet();
        }
        self.dx = self.dx.saturating_add(dx);
        self.dy = self.dy.saturating_add(dy);
        self.dz = self.dz.saturating_add(dz);
        self.changed |= dx != 0 || dy != 0 || dz != 0 || buttons != self.buttons;
        self.buttons = buttons & 0x1f;
    }

    /// "Data report": one packet with as much of the movement as it holds.
    fn packet(&mut self) {
        let take = |left: &mut i32, most: i32| {
            let part = (*left).clamp(-most, most);
            *left -= part;
            part
        };
        let (dx, dy) = (take(&mut self.dx, 255), -take(&mut self.dy, 255));
        let (dx, dy) = if self.doubled && self.streams() { (scaled(dx), scaled(dy)) } else { (dx, dy) };
        let signs = u8::from(dx < 0) << 4 | u8::from(dy < 0) << 5;
        self.queue.extend([1 << 3 | signs | self.buttons & 7, dx as u8, dy as u8]);
        match self.id {
            3 => self.queue.push_back(take(&mut self.dz, 127) as u8),
            4 => self.queue.push_back(take(&mut self.dz, 7) as u8 & 0xf | (self.buttons & 0x18) << 1),
            _ => self.dz = 0,
        }
        self.changed = self.dx != 0 || self.dy != 0 || self.dz != 0;
    }

    fn reply(&mut self, bytes: &[u8]) {
        self.queue.extend(bytes);
    }

    /// A byte from the system. It ends whatever the mouse was sending.
    pub(super) fn write(&mut self, byte: u8) {
        if byte != 0xfe {
            self.queue.clear();
        }
        // "Set wrap mode": all is echoed but what ends it.
        if self.wrap && !matches!(byte, 0xec | 0xff) {
            return self.reply(&[byte]);
        }
        match self.parameter.take() {
            Some(Parameter::Resolution) if byte <= 3 => self.resolution = byte,
            Some(Parameter::Rate) if matches!(byte, 10 | 20 | 40 | 60 | 80 | 100 | 200) => self.set_rate(byte),
            Some(_) => return self.reply(&[ERROR]),
            None => return self.command(byte),
        }
        self.reply(&[ACK]);
    }

    fn set_rate(&mut self, rate: u8) {
        self.rate = rate;
        self.rates = [self.rates[1], self.rates[2], rate];
        match self.rates {
            [200, 100, 80] if self.id == 0 => self.id = 3,
            [200, 200, 80] if self.id == 3 => self.id = 4,
            _ => {}
        }
    }

    fn forget_movement(&mut self) {
        (self.dx, self.dy, self.dz, self.changed) = (0, 0, 0, false);
    }

    /// "Mouse commands".
    fn command(&mut self, byte: u8) {
        match byte {
            0xe6 => self.doubled = false,
            0xe7 => self.doubled = true,
            0xe8 => self.parameter = Some(Parameter::Resolution),
            0xe9 => {
                let modes = u8::from(self.remote) << 6 | u8::from(self.enabled) << 5 | u8::from(self.doubled) << 4;
                // "Status request": the order of the buttons is left, middle, right.
                let buttons = (self.buttons & 1) << 2 | self.buttons >> 1 & 2 | self.buttons >> 1 & 1;
                return self.reply(&[ACK, modes | buttons, self.resolution, self.rate]);
            }
            0xea => self.remote = false,
            0xeb => {
                self.reply(&[ACK]);
                return self.packet();
            }
            0xec => self.wrap = false,
            0xee => self.wrap = true,
            0xf0 => self.remote = true,
            0xf2 => return self.reply(&[ACK, self.id]),
            0xf3 => self.parameter = Some(Parameter::Rate),
            0xf4 => {
                self.forget_movement();
                self.enabled = true;
            }
            0xf5 => self.enabled = false,
            0xf6 => {
                *self = Self { id: self.id, buttons: self.buttons, last: self.last, ..Self::default() };
            }
            0xfe => {
                let last = self.last;
                return self.queue.push_front(last);
            }
            0xff => {
                *self = Self { buttons: self.buttons, ..Self::default() };
                return self.reply(&[ACK, BAT_OK, 0]);
            }
            _ => return self.reply(&[RESEND]),
        }
        self.reply(&[ACK]);
    }
}

/// "Set scaling 2:1".
fn scaled(counts: i32) -> i32 {
    let size = match counts.abs() {
        n @ (0 | 1) => n,
        2 => 1,
        n @ 3..=5 => 3 * n - 6,
        n => (2 * n).min(255),
    };
    size * counts.signum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(mouse: &mut Mouse) -> Vec<u8> {
        std::iter::from_fn(|| mouse.take()).collect()
    }

    fn command(mouse: &mut Mouse, bytes_in: &[u8]) -> Vec<u8> {
        bytes_in.iter().for_each(|byte| mouse.write(*byte));
        bytes(mouse)
    }

    fn streaming(rates: &[u8]) -> Mouse {
        let mut mouse = Mouse::default();
        rates.iter().for_each(|rate| assert_eq!(command(&mut mouse, &[0xf3, *rate]), [0xfa]));
        assert_eq!(command(&mut mouse, &[0xf4]), [0xfa]);
        mouse
    }

    #[test]
    fn commands() {
        let mut mouse = Mouse::default();
        for (bytes, reply) in [
            (&[0xff][..], &[0xfa, 0xaa, 0][..]),
            (&[0xf2], &[0xfa, 0]),
            (&[0xe9], &[0xfa, 0, 2, 100]),
            (&[0xe8, 3], &[0xfa]),
            (&[0xe7], &[0xfa]),
            (&[0xf3, 40], &[0xfa]),
            (&[0xf3, 41], &[0xfc]),
            (&[0xf4], &[0xfa]),
            (&[0xe9], &[0xfa, 0x30, 3, 40]),
            (&[0xee], &[0xfa]),
            (&[0xf2], &[0xf2]),
            (&[0xec], &[0xfa]),
            (&[0xf6], &[0xfa]),
            (&[0xe9], &[0xfa, 0, 2, 100]),
            (&[0x00], &[0xfe]),
        ] {
            assert_eq!(command(&mut mouse, bytes), reply, "{bytes:x?}");
        }
        mouse.moved(0, 0, 0, 0x06);
        assert_eq!(command(&mut mouse, &[0xe9]), [0xfa, 0x03, 2, 100]);
    }

    #[test]
    fn packets_with_wheel_and_buttons_as_the_guest_asks() {
        let mut mouse = streaming(&[]);
        mouse.moved(5, -3, 1, 1);
        assert_eq!(bytes(&mut mouse), [0x09, 5, 3]);
        mouse.moved(-1, 2, 0, 0);
        assert_eq!(bytes(&mut mouse), [0x38, 0xff, 0xfe]);
        assert!(bytes(&mut mouse).is_empty());
        let mut mouse = streaming(&[200, 100, 80]);
        assert_eq!(command(&mut mouse, &[0xf2]), [0xfa, 3]);
        mouse.moved(0, 0, -1, 0x1c);
        assert_eq!(bytes(&mut mouse), [0x0c, 0, 0, 0xff]);
        let mut mouse = streaming(&[200, 100, 80, 200, 200, 80]);
        assert_eq!(command(&mut mouse, &[0xf2]), [0xfa, 4]);
        mouse.moved(0, 0, 9, 0x18);
        assert_eq!(bytes(&mut mouse), [0x08, 0, 0, 0x37, 0x08, 0, 0, 0x32]);
    }

    #[test]
    fn large_movements_take_several_packets_and_clicks_are_kept() {
        let mut mouse = streaming(&[]);
        mouse.moved(600, 0, 0, 0);
        assert_eq!(bytes(&mut mouse), [0x08, 255, 0, 0x08, 255, 0, 0x08, 90, 0]);
        for buttons in [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0] {
            mouse.moved(0, 0, 0, buttons);
        }
        assert!(mouse.is_possible());
        let left: Vec<u8> = bytes(&mut mouse).chunks(3).map(|packet| packet[0]).collect();
        assert_eq!(left[..4], [9, 8, 9, 8]);
        assert_eq!(left.last(), Some(&8));
        mouse.moved(i32::MAX, i32::MIN, i32::MAX, 0);
        mouse.moved(i32::MAX, i32::MIN, i32::MAX, 0);
        assert_eq!(mouse.take(), Some(0x08));
    }

    #[test]
    fn remote_mode_and_scaling() {
        let mut mouse = streaming(&[]);
        assert_eq!(command(&mut mouse, &[0xf0]), [0xfa]);
        mouse.moved(7, 0, 0, 0);
        assert!(bytes(&mut mouse).is_empty());
        assert_eq!(command(&mut mouse, &[0xeb]), [0xfa, 0x08, 7, 0]);
        assert_eq!(command(&mut mouse, &[0xea]), [0xfa]);
        assert_eq!(command(&mut mouse, &[0xe7]), [0xfa]);
        mouse.moved(-7, 5, 0, 0);
        assert_eq!(bytes(&mut mouse), [0x38, 0xf2, 0xf7]);
        assert_eq!([0, 1, 2, 3, 4, 5, 6, -3, 200].map(scaled), [0, 1, 1, 3, 6, 9, 12, -3, 255]);
    }
}
