//! Keys of work that must not be done twice: what it depends on, field by field, by name.

use super::hash;

/// A key in the making. Its text is the kind of work, the version of the list of fields, and each
/// field's name and value with their lengths, so that no two lists read alike. What a struct
/// derives, such as its `Debug` text, never goes in: a key must outlive a refactoring.
///
/// A setting that comes later is added by [`Key::unless`] with the value that stands for what was
/// done before, so that earlier keys hold. Whoever changes what a field means raises the version
/// and gives stored rows their new keys.
#[derive(Debug, Clone)]
pub struct Key {
    name: String,
    text: String,
}

impl Key {
    /// A key of one `kind` of work: lower-case letters.
    pub fn new(kind: &str, version: u32) -> Self {
        let name = format!("{kind}{version}");
        let mut key = Self { name: name.clone(), text: String::new() };
        key.put(&name);
        key
    }

    /// A field that every key of this kind has.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl KeyValue) -> Self {
        self.put(name);
        self.put(&value.text());
        self
    }

    /// A field that is left out where it has the value `usual`.
    #[must_use]
    pub fn unless<T: KeyValue + PartialEq>(self, name: &str, value: T, usual: T) -> Self {
        if value == usual { self } else { self.field(name, value) }
    }

    /// A field that is left out where it is unset.
    #[must_use]
    pub fn optional(self, name: &str, value: Option<impl KeyValue>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// A list, in its order.
    #[must_use]
    pub fn list<T: KeyValue>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        let mut list = Self { name: String::new(), text: String::new() };
        values.into_iter().for_each(|value| list.put(&value.text()));
        self.field(name, list.text.as_str())
    }

    /// `KINDVERSION-` and 32 hexadecimal digits.
    pub fn done(self) -> String {
        format!("{}-{}", self.name, hash::key(&[&self.text]))
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(&text.len().to_string());
        self.text.push(':');
        self.text.push_str(text);
    }
}

/// What a field can hold. Numbers are written exactly.
pub trait KeyValue {
    fn text(&self) -> String;
}

impl KeyValue for &str {
    fn text(&self) -> String {
        (*self).to_owned()
    }
}

impl KeyValue for f64 {
    /// The bits: no digit is rounded away.
    fn text(&self) -> String {
        format!("{:016x}", self.to_bits())
    }
}

impl KeyValue for f32 {
    fn text(&self) -> String {
        f64::from(*self).text()
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl KeyValue for $type {
            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

plain!(bool, u32, u64, usize, String);

/// What giving stored rows today's keys came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Rows that got their new key.
    pub moved: usize,
    /// Rows that still have a key of release 0.1.0, which none of today's settings and inputs gives.
    pub left: usize,
}

impl Rekeyed {
    /// Warns where rows are left: `what` says what they are, as in "answers". They are kept, and
    /// the work that they stand for is about to be done anew.
    pub fn report(self, what: &str) {
        if self.left > 0 {
            tracing::warn!(
                moved = self.moved,
                left = self.left,
                "{} {what} of release 0.1.0 belong to other settings or inputs than those of \
                 today; they are kept but not used. If you changed nothing, stop now and go on \
                 with release 0.1.0, or give the settings that they were made under",
                self.left
            );
        }
    }
}

/// SQL that is true of a key of release 0.1.0 in the column `column`: plain hexadecimal digits.
pub fn is_old(column: &str) -> String {
    format!("instr({column}, '-') = 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Key {
        Key::new("answer", 2)
            .field("model", "m")
            .field("temperature", 0.7_f32)
            .field("seed", 7_u64)
            .field("exact", true)
            .list("stop", ["\n", "###"])
    }

    /// Stored runs hold such keys: this value never changes.
    #[test]
    fn keys_are_frozen() {
        assert_eq!(example().done(), "answer2-a4286671c5d663c387a76c6c4e4d2505");
    }

    #[test]
    fn a_new_setting_at_its_default_changes_no_key() {
        let key = example().unless("new", 3_u64, 3).optional("other", None::<&str>);
        assert_eq!(key.done(), example().done());
        assert_ne!(example().unless("new", 4_u64, 3).done(), example().done());
        assert_ne!(example().optional("other", Some("")).done(), example().done());
    }

    #[test]
    fn no_two_lists_of_fields_read_alike() {
        let keys = [
            Key::new("a", 1).field("b", "cd"),
            Key::new("a", 1).field("bc", "d"),
            Key::new("a", 2).field("b", "cd"),
            Key::new("a", 1).field("b", "c").field("d", ""),
            Key::new("a", 1).list("b", ["c", "d"]),
            Key::new("a", 1).list("b", ["cd"]),
            Key::new("a", 1).list("b", ["1:c1:d"]),
            Key::new("a", 1).list("b", Vec::<&str>::new()),
            Key::new("a", 1),
        ];
        let distinct: std::collections::HashSet<String> =
            keys.iter().map(|key| key.clone().done()).collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn floats_are_written_exactly() {
        let key = |value: f64| Key::new("a", 1).field("b", value).done();
        assert_ne!(key(0.1 + 0.2), key(0.3));
        assert_ne!(key(0.0), key(-0.0));
    }
}
