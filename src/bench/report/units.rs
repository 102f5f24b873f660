//! Formats numbers with units: three significant digits, short enough for a table and exact enough for a comparison.

/// Formats microseconds as a duration in a suitable unit: `850 ns`, `12.3 µs`, `1.20 ms`, `3.00 s`.
pub fn micros(micros: f64) -> String {
    match micros {
        m if !m.is_finite() => "–".into(),
        0.0 => "0 µs".into(),
        m if m < 1.0 => format!("{:.0} ns", m * 1e3),
        m if m < 999.5 => format!("{} µs", significant(m)),
        m if m < 999_500.0 => format!("{} ms", significant(m / 1e3)),
        m => format!("{} s", significant(m / 1e6)),
    }
}

/// Formats a number of requests per second: `44,100/s`, `1.18 M/s`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if !r.is_finite() => "–".into(),
        0.0 => "0/s".into(),
        r if r < 100.0 => format!("{}/s", significant(r)),
        r if r < 999_500.0 => format!("{}/s", count(r.round() as u64)),
        r => format!("{} M/s", significant(r / 1e6)),
    }
}

/// Formats a whole number with commas between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats bytes in binary units: `512 B`, `1.50 KiB`, `23.4 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while size >= 1024.0
        && let Some(larger) = units.next()
    {
        size /= 1024.0;
        unit = Some(larger);
    }
    format!("{} {}", significant(size), unit.unwrap_or(&"KiB"))
}

/// Formats seconds: `0.25 s`, `30 s`, `2.5 min`.
pub fn seconds(seconds: f64) -> String {
    if seconds < 120.0 { format!("{} s", trimmed(seconds)) } else { format!("{} min", trimmed(seconds / 60.0)) }
}

/// Formats a ratio: `0.88`, `12.3`.
pub fn ratio(ratio: f64) -> String {
    match ratio {
        r if !r.is_finite() => "–".into(),
        r if r < 10.0 => format!("{r:.2}"),
        r => significant(r),
    }
}

/// Formats three significant digits, and every digit before the point.
pub fn significant(number: f64) -> String {
    match number.abs() {
        n if n < 9.995 => format!("{number:.2}"),
        n if n < 99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// Formats at most two decimals without trailing zeros, for numbers that were chosen rather than measured.
pub fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Formats a time in milliseconds since the Unix epoch as `2026-01-31 23:59:59 UTC`.
pub fn date(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
const fn civil(days: u64) -> (u64, u64, u64) {
    // Years are taken to begin in March, so that the leap day is the last of its year; an era is the 400 years after
    // which the calendar repeats.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_change_their_unit_where_it_suits() {
        let shown = [0.0, 0.85, 1.0, 12.34, 999.4, 999.9, 1200.0, 999_999.0, 3e6].map(micros);
        assert_eq!(shown, ["0 µs", "850 ns", "1.00 µs", "12.3 µs", "999 µs", "1.00 ms", "1.20 ms", "1.00 s", "3.00 s"]);
        assert_eq!(micros(f64::NAN), "–");
    }

    #[test]
    fn rates_counts_and_bytes() {
        assert_eq!([0.5, 44_100.4, 1_180_000.0].map(rate), ["0.50/s", "44,100/s", "1.18 M/s"]);
        assert_eq!([0, 999, 1000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([0, 1023, 1536, 25 << 30].map(bytes), ["0 B", "1023 B", "1.50 KiB", "25.0 GiB"]);
        assert_eq!([0.25, 30.0, 150.0].map(seconds), ["0.25 s", "30 s", "2.5 min"]);
        assert_eq!([0.876, 12.34].map(ratio), ["0.88", "12.3"]);
    }

    #[test]
    fn dates_know_leap_years() {
        let dates = [0, 951_782_400_000, 1_709_210_096_789, 4_102_444_799_000].map(date);
        let expected = [
            "1970-01-01 00:00:00 UTC",
            "2000-02-29 00:00:00 UTC",
            "2024-02-29 12:34:56 UTC",
            "2099-12-31 23:59:59 UTC",
        ];
        assert_eq!(dates, expected);
    }
}
