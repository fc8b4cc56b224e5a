//! Names of keys as `sendkey` takes them: those of QEMU's monitor.

use vm::input::KeyCode;

/// Keys beside letters and digits: names and usage (USB HID Usage Tables, section 10, "Keyboard/Keypad Page").
const KEYS: &[(&[&str], u16)] = &[
    (&["ret", "enter"], 0x28),
    (&["esc"], 0x29),
    (&["backspace"], 0x2a),
    (&["tab"], 0x2b),
    (&["spc", "space"], 0x2c),
    (&["minus"], 0x2d),
    (&["equal"], 0x2e),
    (&["bracket_left"], 0x2f),
    (&["bracket_right"], 0x30),
    (&["backslash"], 0x31),
    (&["semicolon"], 0x33),
    (&["apostrophe"], 0x34),
    (&["grave_accent"], 0x35),
    (&["comma"], 0x36),
    (&["dot"], 0x37),
    (&["slash"], 0x38),
    (&["caps_lock"], 0x39),
    (&["print", "sysrq"], 0x46),
    (&["scroll_lock"], 0x47),
    (&["pause"], 0x48),
    (&["insert"], 0x49),
    (&["home"], 0x4a),
    (&["pgup"], 0x4b),
    (&["delete"], 0x4c),
    (&["end"], 0x4d),
    (&["pgdn"], 0x4e),
    (&["right"], 0x4f),
    (&["left"], 0x50),
    (&["down"], 0x51),
    (&["up"], 0x52),
    (&["num_lock"], 0x53),
    (&["kp_divide"], 0x54),
    (&["kp_multiply", "asterisk"], 0x55),
    (&["kp_subtract"], 0x56),
    (&["kp_add"], 0x57),
    (&["kp_enter"], 0x58),
    (&["kp_1"], 0x59),
    (&["kp_2"], 0x5a),
    (&["kp_3"], 0x5b),
    (&["kp_4"], 0x5c),
    (&["kp_5"], 0x5d),
    (&["kp_6"], 0x5e),
    (&["kp_7"], 0x5f),
    (&["kp_8"], 0x60),
    (&["kp_9"], 0x61),
    (&["kp_0"], 0x62),
    (&["kp_decimal"], 0x63),
    (&["less"], 0x64),
    (&["menu", "compose"], 0x65),
    (&["ctrl"], 0xe0),
    (&["shift"], 0xe1),
    (&["alt"], 0xe2),
    (&["meta_l"], 0xe3),
    (&["ctrl_r"], 0xe4),
    (&["shift_r"], 0xe5),
    (&["alt_r", "altgr"], 0xe6),
    (&["meta_r"], 0xe7),
];

/// The key called `name`.
pub fn key(name: &str) -> Option<KeyCode> {
    let mut chars = name.chars();
    let code = match (chars.next()?, chars.next()) {
        (letter @ 'a'..='z', None) => 0x04 + (letter as u16 - 'a' as u16),
        ('0', None) => 0x27,
        (digit @ '1'..='9', None) => 0x1e + (digit as u16 - '1' as u16),
        _ => match name.strip_prefix('f').and_then(|number| number.parse::<u16>().ok()) {
            Some(number @ 1..=12) => 0x3a + number - 1,
            _ => KEYS.iter().find(|(names, _)| names.contains(&name))?.1,
        },
    };
    Some(KeyCode(code))
}

/// The keys of a combination: `ctrl-alt-delete`.
///
/// # Errors
/// The name that is none.
pub fn combination(text: &str) -> Result<Vec<KeyCode>, &str> {
    text.split('-').map(|name| key(name).ok_or(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_names() {
        for (name, code) in
            [("a", 0x04), ("z", 0x1d), ("1", 0x1e), ("9", 0x26), ("0", 0x27), ("f1", 0x3a), ("f12", 0x45)]
        {
            assert_eq!(key(name), Some(KeyCode(code)), "{name}");
        }
        assert_eq!(combination("ctrl-alt-delete"), Ok(vec![KeyCode(0xe0), KeyCode(0xe2), KeyCode(0x4c)]));
        assert_eq!(combination("ctrl-alt-del"), Err("del"));
        assert_eq!(combination(""), Err(""));
        assert_eq!((key("f13"), key("f"), key("A")), (None, Some(KeyCode(0x09)), None));
    }
}
