//! Numbers, sizes and durations in words.
use std::time::Duration;

/// A number of things.
pub(crate) fn counted<N: TryInto<u64>>(number: N, what: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A size in the units that PostgreSQL uses.
pub(crate) fn readable(bytes: u64) -> String {
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size < 10 * 1024 {
            return format!("{size} {unit}");
        }
        size /= 1024;
    }
    format!("{size} TB")
}

/// A size as PostgreSQL writes it, back to bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
    let power = ["bytes", "kB", "MB", "GB", "TB"].iter().position(|known| *known == unit.trim());
    let power = if unit.is_empty() { Some(0) } else { power }.and_then(|power| u32::try_from(power).ok());
    let factor = power.and_then(|power| 1024_u64.checked_pow(power));
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    bytes.ok_or_else(|| "a number of bytes was expected, or one with kB, MB, GB or TB".into())
}

/// A duration in its two largest units.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{:.1} s", duration.as_secs_f64()),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_in_their_two_largest_units() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (9.94, "9.9 s"),
            (10.9, "10 s"),
            (125.0, "2 min 5 s"),
            (7_199.0, "1 h 59 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn sizes_are_printed_in_units_of_1024() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (7_700_000, "7519 kB"),
            (u64::MAX, "16777215 TB"),
        ] {
            assert_eq!(readable(bytes), text);
        }
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, bytes) in [("0", 0), ("7", 7), ("2kB", 2048), ("3 MB", 3 << 20), ("1GB", 1 << 30), ("2TB", 2 << 40)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GB", "-1", "1.5GB", "1gb", "99999999TB", "1 ", "é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
