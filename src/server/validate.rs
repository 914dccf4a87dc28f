//! Checks of requests: every refusal names the field, the value seen and what is allowed.

use super::Limits;
use super::convert::{INSTRUCTIONS, JOBS};
use super::fault::Fault;
use super::pb;
use crate::encoder::queue::Lane;

/// The most bytes of an id that only comes back.
const MAX_ID_BYTES: usize = 256;

/// A list has at least one item and not more than the limit.
pub fn items(field: &str, count: usize, limits: &Limits) -> Result<(), Fault> {
    match count {
        0 => Err(Fault::required(field)),
        _ if count > limits.max_items => {
            let (allowed, actual) = (limits.max_items as u64, count as u64);
            let fault = Fault::limit("TOO_MANY_ITEMS", field, "max_items", allowed, actual);
            Err(fault.hint("; send less at once, or use the streaming method"))
        }
        _ => Ok(()),
    }
}

/// A text has something in it and is not over the limit.
pub fn text(field: &str, text: &str, limits: &Limits) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Fault::required(field));
    }
    let allowed = limits.max_text_bytes;
    if text.len() > allowed {
        let (allowed, actual) = (allowed as u64, text.len() as u64);
        return Err(Fault::limit("TEXT_TOO_LONG", field, "max_text_bytes", allowed, actual));
    }
    Ok(())
}

/// A [`text`] that is kept, shown or put into a prompt: [`plain`], too.
pub fn shown_text(field: &str, shown: &str, limits: &Limits) -> Result<(), Fault> {
    text(field, shown, limits)?;
    plain(field, shown)
}

/// No control characters but tabs and line ends, and none that turn the direction in which what
/// follows is shown: a reader would see another text than a model does.
pub fn plain(field: &str, text: &str) -> Result<(), Fault> {
    let hidden = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    match text.chars().enumerate().find(|(_, c)| hidden(*c)) {
        None => Ok(()),
        Some((at, c)) => {
            let code = u32::from(c);
            let why = format!("character {at} is U+{code:04X}, a control character");
            Err(Fault::invalid(field, why))
        }
    }
}

/// An id that only comes back with the answer is short.
pub fn echo_id(field: &str, id: &str) -> Result<(), Fault> {
    if id.len() > MAX_ID_BYTES {
        let why = format!("{} bytes, at most {MAX_ID_BYTES} are allowed", id.len());
        return Err(Fault::invalid(field, why));
    }
    Ok(())
}

/// A vector of the model's width, finite and with a direction.
pub fn embedding(field: &str, embedding: &pb::Embedding, dim: usize) -> Result<(), Fault> {
    let position = field.to_owned();
    crate::index::unit(&embedding.values, dim, || position)
        .map(|_| ())
        .map_err(|error| Fault::from(error).at(field))
}

/// A count from `low` to `high`.
pub fn count<T: TryFrom<i32>>(field: &str, value: i32, low: i32, high: i32) -> Result<T, Fault> {
    let within = (low..=high).contains(&value).then(|| T::try_from(value).ok()).flatten();
    within.ok_or_else(|| Fault::range(field, value, low, high))
}

/// `top_k`: 0 takes `default`, and the limit holds.
pub fn top_k(value: i32, default: usize, limits: &Limits) -> Result<usize, Fault> {
    bounded("top_k", value, default, limits.max_top_k)
}

/// `page_size`: 0 takes 50, and the limit holds.
pub fn page_size(value: i32, limits: &Limits) -> Result<usize, Fault> {
    bounded("page_size", value, 50.min(limits.max_page_size), limits.max_page_size)
}

fn bounded(field: &str, value: i32, default: usize, max: usize) -> Result<usize, Fault> {
    match usize::try_from(value) {
        Ok(0) => Ok(default.min(max)),
        Ok(value) if value <= max => Ok(value),
        _ => Err(Fault::range(field, i64::from(value), 0, max as i64)),
    }
}

/// A similarity floor in [-1, 1].
pub fn min_similarity(value: Option<f32>) -> Result<f32, Fault> {
    match value {
        None => Ok(-1.0),
        Some(floor) if (-1.0..=1.0).contains(&floor) => Ok(floor),
        Some(floor) => Err(Fault::range("min_similarity", floor, -1.0, 1.0)),
    }
}

/// The lane, `default` where the request leaves it open.
pub fn lane(value: i32, default: Lane) -> Result<Lane, Fault> {
    match pb::Lane::try_from(value) {
        Ok(pb::Lane::Unspecified) => Ok(default),
        Ok(pb::Lane::Interactive) => Ok(Lane::Interactive),
        Ok(pb::Lane::Bulk) => Ok(Lane::Bulk),
        Err(_) => Err(Fault::unknown_enum("lane", value)),
    }
}

/// A seed that SQLite and every client language can hold.
pub fn seed(field: &str, value: Option<u64>) -> Result<u64, Fault> {
    match value.unwrap_or(0) {
        seed if seed <= i64::MAX as u64 => Ok(seed),
        seed => Err(Fault::range(field, seed, 0, i64::MAX as u64)),
    }
}

/// The id in `instructions/{id}`.
pub fn instruction_id<'a>(field: &str, name: &'a str) -> Result<&'a str, Fault> {
    resource(field, name, INSTRUCTIONS)
}

/// The id in `jobs/{id}`.
pub fn job_id<'a>(field: &str, name: &'a str) -> Result<&'a str, Fault> {
    resource(field, name, JOBS)
}

fn resource<'a>(field: &str, name: &'a str, prefix: &str) -> Result<&'a str, Fault> {
    if name.is_empty() {
        return Err(Fault::required(field));
    }
    match name.strip_prefix(prefix) {
        Some(id) if !id.is_empty() && !id.contains('/') && id.len() <= MAX_ID_BYTES => Ok(id),
        _ => Err(Fault::invalid(field, format!("{} is not {prefix}{{id}}", quoted(name)))),
    }
}

/// A client's text, short enough for an error message.
fn quoted(text: &str) -> String {
    let start: String = text.chars().take(80).collect();
    let cut = if start.len() < text.len() { "..." } else { "" };
    format!("{start:?}{cut}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_named_and_writing_is_not_touched() {
        for sound in ["a\tb\r\nc", "שלום \u{200f}world", "é\u{200d}👩\u{200d}🚀", ""] {
            plain("text", sound).expect(sound);
        }
        for (text, name) in [
            ("a\0", "character 1 is U+0000"),
            ("\u{7}bell", "character 0 is U+0007"),
            ("é\u{202e}gpj.exe", "character 1 is U+202E"),
            ("\u{2066}a", "U+2066"),
            ("\u{9b}31m", "U+009B"),
        ] {
            let fault = plain("text", text).expect_err(name);
            assert_eq!(fault.reason(), "FIELD_INVALID");
            assert!(format!("{fault:?}").contains(name), "{fault:?}");
        }
    }
}
