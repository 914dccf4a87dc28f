//! Numbers and texts as the page prints them; all are filters of the template.

use minijinja::{Environment, Value};

/// Longest alternative text of a photo, in characters.
const MAX_ALT: usize = 160;

/// Adds the filters to `environment`.
pub(super) fn register(environment: &mut Environment<'_>) {
    environment.add_filter("count", count);
    environment.add_filter("fixed", fixed);
    environment.add_filter("value", value);
    environment.add_filter("percent_of", percent_of);
    environment.add_filter("between", between);
    environment.add_filter("duration", duration);
    environment.add_filter("rate", rate);
    environment.add_filter("bytes", bytes);
    environment.add_filter("short_hash", short_hash);
    environment.add_filter("sentence", sentence);
    // Thumbnails are made from image bytes only, so their URIs hold nothing to escape; escaped
    // slashes would add a tenth to the page.
    environment.add_filter("uri", |uri: String| Value::from_safe_string(uri));
}

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with a fixed count of decimals; `n/a` for what is no number.
pub(super) fn fixed(number: f64, digits: usize) -> String {
    if number.is_finite() { format!("{number:.digits$}") } else { "n/a".to_owned() }
}

/// A measured value: whole numbers as they are, others with four decimals.
pub(super) fn value(number: f64) -> String {
    fixed(number, if number.fract() == 0.0 { 0 } else { 4 })
}

/// `part` as a percentage of `whole`, in [0, 100], for widths and shares; 0 of nothing is 0.
pub(super) fn percent_of(part: f64, whole: f64, digits: Option<usize>) -> String {
    between(part, 0.0, whole, digits)
}

/// How far `value` lies on the way from `low` to `high`, in percent and kept in [0, 100].
pub(super) fn between(value: f64, low: f64, high: f64, digits: Option<usize>) -> String {
    let share = 100.0 * (value - low) / (high - low);
    let share = if share.is_finite() { share.clamp(0.0, 100.0) } else { 0.0 };
    fixed(share, digits.unwrap_or(2))
}

/// Seconds as a person says them: `840 ms`, `12.4 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        _ if !seconds.is_finite() || seconds < 0.0 => "n/a".to_owned(),
        s if s < 0.9995 => format!("{:.0} ms", s * 1000.0),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Items per second with about three digits that mean something.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        r if r.is_finite() && r >= 99.95 => count(r.round() as u64),
        r if r >= 9.995 => fixed(r, 1),
        r => fixed(r, 2),
    }
}

/// A file's size in binary units.
pub(super) fn bytes(size: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let mut scaled = size as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// The first twelve characters of a hash; the whole of it belongs in a title beside.
fn short_hash(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// The first sentence of a text, cut at [`MAX_ALT`] characters.
fn sentence(text: &str) -> String {
    let text = text.trim();
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    let first = &text[..end];
    if first.chars().count() <= MAX_ALT {
        return first.to_owned();
    }
    let cut: String = first.chars().take(MAX_ALT).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped_by_thousands() {
        let texts = [0, 7, 999, 1000, 100_000, 12_345_678].map(count);
        assert_eq!(texts, ["0", "7", "999", "1,000", "100,000", "12,345,678"]);
    }

    #[test]
    fn shares_stay_between_0_and_100() {
        assert_eq!(percent_of(1.0, 3.0, Some(1)), "33.3");
        assert_eq!(percent_of(5.0, 0.0, None), "0.00");
        assert_eq!(percent_of(0.0, 0.0, None), "0.00");
        assert_eq!(between(0.3, 0.2, 0.4, Some(0)), "50");
        assert_eq!(between(9.0, 0.2, 0.4, Some(0)), "100");
        assert_eq!(between(f64::NAN, 0.2, 0.4, Some(0)), "0");
    }

    #[test]
    fn durations_read_well_at_every_size() {
        let texts = [0.0, 0.84, 0.9999, 12.44, 59.96, 200.0, 3599.7, 7500.0].map(duration);
        let expected = [
            "0 ms",
            "840 ms",
            "1.0 s",
            "12.4 s",
            "1 min 0 s",
            "3 min 20 s",
            "1 h 0 min",
            "2 h 5 min",
        ];
        assert_eq!(texts, expected);
        assert_eq!(duration(f64::NAN), "n/a");
    }

    #[test]
    fn rates_keep_three_digits() {
        let texts = [0.444, 9.99, 9.999, 67.74, 99.96, 5500.4, f64::INFINITY].map(rate);
        assert_eq!(texts, ["0.44", "9.99", "10.0", "67.7", "100", "5,500", "n/a"]);
    }

    #[test]
    fn sizes_use_binary_units() {
        let texts = [0, 1023, 1024, 5 << 20, 3 << 40, u64::MAX].map(bytes);
        let expected = ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB", "16777216.0 TiB"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn alternative_texts_are_one_sentence() {
        assert_eq!(sentence(" A cat sits. It sleeps."), "A cat sits.");
        assert_eq!(sentence("v1.5 of a cat"), "v1.5 of a cat");
        let long = sentence(&"ß".repeat(400));
        assert_eq!(long.chars().count(), MAX_ALT + 1);
    }
}
