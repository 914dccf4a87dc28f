use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;

use super::endings::without_ending;
use super::refusal::Refusal;

/// The longest id a source accepts, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 512;

/// Every id met so far and the place where it was first met.
///
/// The only memory of a source that grows with its length: with ids of 13 bytes and numbers as
/// places, a million records took 110 MB (while the map grows; 80 MB between).
pub(super) struct IdBook<P> {
    first: HashMap<Box<str>, P>,
    /// How often an id was made of a name that was taken.
    made: HashMap<Box<str>, u64>,
}

impl<P> IdBook<P> {
    pub fn new() -> Self {
        Self { first: HashMap::new(), made: HashMap::new() }
    }

    /// An id for an item without one, made of its photo's name: the path without its ending, or,
    /// where the path leads elsewhere, the file's name; `#2`, `#3` and so on behind one that is
    /// taken.
    pub fn make(&mut self, image: &str) -> String {
        self.free(id_of_image(image))
    }

    /// `name` itself, or, where it is taken, the first of `#2`, `#3` and so on behind it that is
    /// not.
    pub fn free(&mut self, name: String) -> String {
        if !self.first.contains_key(&*name) {
            return name;
        }
        let count = self.made.entry(name.as_str().into()).or_insert(1);
        loop {
            *count += 1;
            let id = format!("{name}#{count}");
            if !self.first.contains_key(&*id) {
                return id;
            }
        }
    }

    /// The place of the item that has this id.
    pub fn place(&self, id: &str) -> Option<&P> {
        self.first.get(id)
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

/// An id as JSON gives it: a string or a whole number, which may be written with a point (`7.0`),
/// as pandas does in a column with gaps.
pub(super) fn id_text(value: &Value) -> Result<String, Refusal> {
    /// From here on not every whole number is one that a float can hold.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            None => Ok(number.to_string()),
            Some(float) if float.fract() == 0.0 && float.abs() < EXACT => {
                Ok((float as i64).to_string())
            }
            Some(float) => {
                let reason = format!("the id is {float}, no whole number; write it as text");
                Err(Refusal::new("invalid_id", reason))
            }
        },
        _ => Err(Refusal::new("invalid_id", "the id is neither a string nor a whole number")),
    }
}

/// The id that a photo's name makes.
pub(super) fn id_of_image(image: &str) -> String {
    let path = image.trim().replace('\\', "/");
    let mut parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let elsewhere = path.starts_with('/')
        || parts.contains(&"..")
        || parts.first().is_some_and(|part| part.ends_with(':'));
    if elsewhere {
        parts.drain(..parts.len().saturating_sub(1));
    }
    if let Some(file) = parts.last_mut() {
        *file = without_ending(file);
    }
    parts.join("/")
}

/// The digits of an id without the zeros before them; `None` for what is no number.
pub(super) fn number(id: &str) -> Option<&str> {
    let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let rest = id.trim_start_matches('0');
    digits.then_some(if rest.is_empty() { "0" } else { rest })
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
        assert_eq!(text("0.0"), Ok("0".into()));
        assert_eq!(text("-7.0"), Ok("-7".into()));
        assert_eq!(text("1e3"), Ok("1000".into()));
        for json in ["1.5", "1e300", "true", "null", "[1]"] {
            assert_eq!(text(json), Err("invalid_id"), "{json}");
        }
    }

    #[test]
    fn an_id_is_made_of_the_photos_name() {
        let mut ids = IdBook::new();
        let mut made = |image: &str| {
            let id = ids.make(image);
            claim(&mut ids, &id, 1).expect("a made id is free");
            id
        };
        assert_eq!(made("a.jpg"), "a");
        assert_eq!(made("./sub//b.tar.JPEG"), "sub/b.tar");
        assert_eq!(made(".\\sub\\c.png"), "sub/c");
        assert_eq!(made("/data/photos/d.webp"), "d");
        assert_eq!(made("C:\\photos\\e.jpg"), "e");
        assert_eq!(made("file:///photos/f.jpg"), "f");
        assert_eq!(made("../g.jpg"), "g");
        assert_eq!(made("h.v2"), "h.v2");
        assert_eq!(
            (made("a.jpg"), made("a.png"), made("a")),
            ("a#2".into(), "a#3".into(), "a#4".into())
        );
        assert_eq!(number("007"), Some("7"));
        assert_eq!(number("000"), Some("0"));
        assert_eq!((number(""), number("7a"), number("-7")), (None, None, None));
    }
}
