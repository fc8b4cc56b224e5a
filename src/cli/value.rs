//! Values of options: sizes, switches, dates.

/// A size in bytes: digits with an optional fraction and suffix `B K M G T P E` (powers of 1024); a number without suffix
/// counts `unit` bytes. The error is a reason.
pub fn size(text: &str, unit: u64) -> Result<u64, String> {
    let digits_end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let unit = match suffix.to_ascii_uppercase().as_str() {
        "" => unit,
        "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        "P" => 1 << 50,
        "E" => 1 << 60,
        _ if number.is_empty() => return Err("it is no size".to_string()),
        _ => return Err(format!("unknown suffix `{suffix}`")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it is no size".to_string());
    }
    let too_large = || "it is too large".to_string();
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    // 18 digits after the point are more than any suffix can tell apart.
    let fraction: String = fraction.chars().take(18).collect();
    let part = match fraction.len() {
        0 => 0,
        len => u128::from(fraction.parse::<u64>().unwrap_or(0)) * u128::from(unit) / 10u128.pow(len as u32),
    };
    whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(part as u64)).ok_or_else(too_large)
}

/// On or off.
pub fn switch(text: &str) -> Option<bool> {
    match text {
        "on" | "yes" | "true" | "y" => Some(true),
        "off" | "no" | "false" | "n" => Some(false),
        _ => None,
    }
}

/// Decimal, or hexadecimal behind `0x`, or octal behind `0`.
pub fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    // `from_str_radix` takes a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, radix).ok())?
}

/// Seconds from 1970-01-01 00:00 to `YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS` of the Gregorian calendar, from 1970 on.
pub fn date(text: &str) -> Option<u64> {
    let (day, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let parts = |text: &str, separator: char, lens: [usize; 3]| -> Option<[u64; 3]> {
        let parts: Vec<&str> = text.split(separator).collect();
        let valid = |(part, len): (&&str, &usize)| part.len() == *len && part.bytes().all(|byte| byte.is_ascii_digit());
        if parts.len() != 3 || !parts.iter().zip(&lens).all(valid) {
            return None;
        }
        Some([parts[0].parse().ok()?, parts[1].parse().ok()?, parts[2].parse().ok()?])
    };
    let [year, month, day] = parts(day, '-', [4, 2, 2])?;
    let [hour, minute, second] = parts(time, ':', [2, 2, 2])?;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let in_range = year >= 1970 && (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    if !in_range || day == 0 || day > lengths[month as usize - 1] {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let days = years + lengths[..month as usize - 1].iter().sum::<u64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let rows: &[(&str, Result<u64, &str>)] = &[
            ("512", Ok(512 << 20)),
            ("512M", Ok(512 << 20)),
            ("64k", Ok(64 << 10)),
            ("1.5G", Ok(3 << 29)),
            ("2T", Ok(2 << 40)),
            ("7B", Ok(7)),
            ("0", Ok(0)),
            ("16E", Err("it is too large")),
            ("99999999999999999999", Err("it is too large")),
            ("1X", Err("unknown suffix `X`")),
            ("", Err("it is no size")),
            (".5G", Err("it is no size")),
            ("1.2.3", Err("it is no size")),
            ("-1", Err("it is no size")),
            ("lots", Err("it is no size")),
        ];
        for (text, want) in rows {
            assert_eq!(size(text, 1 << 20), want.map_err(str::to_string), "{text}");
        }
    }

    #[test]
    fn numbers_and_switches() {
        let rows = [
            ("1", Some(1)),
            ("0x14", Some(20)),
            ("024", Some(20)),
            ("0", Some(0)),
            ("-1", None),
            ("+1", None),
            ("", None),
        ];
        for (text, want) in rows {
            assert_eq!(number(text), want, "{text}");
        }
        assert_eq!((switch("on"), switch("no"), switch("maybe")), (Some(true), Some(false), None));
    }

    #[test]
    fn dates() {
        let rows = [
            ("1970-01-01", Some(0)),
            ("2000-03-01", Some(951_868_800)),
            ("2006-06-17T16:01:21", Some(1_150_560_081)),
            ("2100-02-29", None),
            ("2024-13-01", None),
            ("1969-12-31", None),
            ("2024-1-1", None),
            ("2024-01-01T24:00:00", None),
            ("now", None),
        ];
        for (text, want) in rows {
            assert_eq!(date(text), want, "{text}");
        }
    }
}
