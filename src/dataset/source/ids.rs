use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;

use super::refusal::Refusal;

/// The longest id a source accepts, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 512;

/// Every id met so far and the place where it was first met.
///
/// The only memory of a source that grows with its length: with ids of 13 bytes and numbers as
/// places, a million records took 110 MB (while the map grows; 80 MB between).
pub(super) struct IdBook<P> {
    first: HashMap<Box<str>, P>,
}

impl<P> IdBook<P> {
    pub fn new() -> Self {
        Self { first: HashMap::new() }
    }

    /// Takes `id` for the item at `place`, or says why it cannot be that item's id; `show` puts a
    /// place into words.
    pub fn claim(
        &mut self,
        id: &str,
        place: P,
        show: impl Fn(&P) -> String,
    ) -> Result<(), Refusal> {
        check_id(id)?;
        match self.first.entry(id.into()) {
            Entry::Vacant(entry) => {
                entry.insert(place);
                Ok(())
            }
            Entry::Occupied(entry) => {
                let (here, first) = (show(&place), show(entry.get()));
                let reason = format!("{here} has the id `{id}` that {first} already has");
                Err(Refusal::new("duplicate_id", reason))
            }
        }
    }
}

pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
    if id.trim().is_empty() {
        return Err(Refusal::new("empty_id", "the id is empty"));
    }
    if id.len() > MAX_ID_BYTES {
        let reason = format!("the id has {} bytes; the limit is {MAX_ID_BYTES}", id.len());
        return Err(Refusal::new("long_id", reason));
    }
    if let Some(control) = id.chars().find(|c| c.is_control()) {
        let reason = format!("the id holds the control character {}", control.escape_default());
        return Err(Refusal::new("invalid_id", reason));
    }
    Ok(())
}

/// An id as JSON gives it: a string or a whole number.
pub(super) fn id_text(value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        _ => Err(Refusal::new("invalid_id", "the id is neither a string nor a whole number")),
    }
}

/// An id that is safe to print as a rejection's subject, or `None`.
pub(super) fn printable(id: &str) -> Option<&str> {
    check_id(id).is_ok().then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(ids: &mut IdBook<u64>, id: &str, line: u64) -> Result<(), Refusal> {
        ids.claim(id, line, |line| format!("line {line}"))
    }

    #[test]
    fn the_second_of_an_id_names_the_first() {
        let mut ids = IdBook::new();
        assert_eq!(claim(&mut ids, "a", 3), Ok(()));
        let refusal = claim(&mut ids, "a", 9).expect_err("the id is taken");
        assert_eq!(refusal.code, "duplicate_id");
        assert_eq!(refusal.reason, "line 9 has the id `a` that line 3 already has");
    }

    #[test]
    fn ids_that_cannot_be_printed_or_kept_are_refused() {
        let mut ids = IdBook::new();
        let long = "é".repeat(MAX_ID_BYTES / 2);
        assert_eq!(claim(&mut ids, &long, 1), Ok(()));
        let cases = [("", "empty_id"), (" \t", "empty_id"), ("a\nb", "invalid_id")];
        for (id, code) in cases {
            assert_eq!(claim(&mut ids, id, 2).map_err(|r| r.code), Err(code), "{id:?}");
        }
        assert_eq!(claim(&mut ids, &(long + "x"), 2).map_err(|r| r.code), Err("long_id"));
    }

    #[test]
    fn ids_are_strings_or_whole_numbers() {
        let text = |json: &str| {
            let value = serde_json::from_str(json).expect("test JSON");
            id_text(&value).map_err(|r| r.code)
        };
        assert_eq!(text("790"), Ok("790".into()));
        assert_eq!(text("18446744073709551615"), Ok("18446744073709551615".into()));
        assert_eq!(text("\"007\""), Ok("007".into()));
        for json in ["1.5", "1e3", "true", "null", "[1]"] {
            assert_eq!(text(json), Err("invalid_id"), "{json}");
        }
    }
}
