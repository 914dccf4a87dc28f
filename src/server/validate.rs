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
