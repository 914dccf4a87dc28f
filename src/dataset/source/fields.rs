use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::check::{Checks, Settings};
use crate::dataset::ImageRef;
use crate::image::Format;

use super::bare::Bare;
use super::ids::id_text;
use super::refusal::Refusal;
use super::text::Texts;

/// Names of the field that holds the description. The first three go before all others, written
/// just so: which of them holds is what a run's keys rest on.
const CAPTIONS: [&str; 23] = [
    "description",
    "caption",
    "captions",
    "descriptions",
    "text",
    "texts",
    "detailed_caption",
    "long_caption",
    "caption_text",
    "image_caption",
    "image_description",
    "recaption",
    "generated_caption",
    "blip_caption",
    "alt_text",
    "alttext",
    "alt",
    "sentence",
    "sentences",
    "comment",
    "raw",
    "txt",
    "title",
];

/// Names of the field that holds the photo's file name; as above, of the first two. An address is
/// asked for last, so that a refusal can say what it is.
const IMAGES: [&str; 18] = [
    "image",
    "file_name",
    "filename",
    "image_path",
    "img_path",
    "image_file",
    "image_name",
    "imagename",
    "img",
    "images",
    "filepath",
    "file_path",
    "path",
    "file",
    "photo",
    "image_url",
    "img_url",
    "url",
];

/// Names of the field that holds the photo's licence. Numbers of a list elsewhere say nothing.
const LICENSES: [&str; 9] = [
    "license",
    "licence",
    "license_name",
    "licensename",
    "license_short_name",
    "licenseshortname",
    "license_url",
    "licenseurl",
    "rights",
];

/// The longest licence that is kept, in bytes: a name or an address.
const LONGEST_LICENSE: usize = 200;

/// Names of a conversation.
const TURNS: [&str; 2] = ["conversations", "messages"];

/// Most names of fields that a refusal lists.
const LISTED: usize = 12;

/// Which fields of a row or sidecar say what; by default the usual names are tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldNames {
    /// The row's id; where a row has none it is made from the photo's name.
    pub id: Option<String>,
    /// The photo's file name.
    pub image: Option<String>,
    /// The description: a text, or a list of texts.
    pub caption: Option<String>,
    /// The photo's licence: a name or an address.
    pub license: Option<String>,
}

impl Settings for FieldNames {
    fn check(&self, checks: &mut Checks) {
        let Self { id, image, caption, license } = self;
        for (key, name) in
            [("id", id), ("image", image), ("caption", caption), ("license", license)]
        {
            let full = name.as_ref().is_none_or(|name| !name.trim().is_empty());
            checks.require(full, key, "\"\"", "a field's name");
        }
    }
}

/// What a row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Id,
    Image,
    Caption,
    Turns,
    License,
}

impl FieldNames {
    /// What the field called `name` holds, and its rank among the fields of its kind.
    fn wanted(&self, name: &str) -> Option<(Wanted, usize)> {
        let set = [
            (Wanted::Id, &self.id),
            (Wanted::Image, &self.image),
            (Wanted::Caption, &self.caption),
            (Wanted::License, &self.license),
        ];
        if let Some((wanted, _)) = set.iter().find(|(_, set)| set.as_deref() == Some(name)) {
            return Some((*wanted, 0));
        }
        let plain = name.trim().to_ascii_lowercase().replace(['-', ' '], "_");
        let place = |names: &[&str]| {
            // As written goes before the same name in other letters.
            let exact = names.iter().position(|known| *known == name);
            exact.or_else(|| Some(names.len() + names.iter().position(|known| *known == plain)?))
        };
        let usual: [(Wanted, &Option<String>, &[&str]); 5] = [
            (Wanted::Id, &self.id, &["id", "__key__"]),
            (Wanted::Image, &self.image, &IMAGES),
            (Wanted::Caption, &self.caption, &CAPTIONS),
            (Wanted::Turns, &self.caption, &TURNS),
            (Wanted::License, &self.license, &LICENSES),
        ];
        let mut unset = usual.into_iter().filter(|(_, set, _)| set.is_none());
        unset.find_map(|(wanted, _, names)| Some((wanted, place(names)?)))
    }

    /// Whether a field called `name` says something.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.wanted(name).is_some()
    }

    /// The rank of a column called `name` among those that may hold photos; photos stand under
    /// the ending of their format, too, where a WebDataset was made into a table.
    pub(super) fn photo_rank(&self, name: &str) -> Option<usize> {
        match self.wanted(name) {
            Some((Wanted::Image, rank)) => Some(rank),
            _ if self.image.is_none() => {
                let place = Format::ENDINGS.iter().position(|ending| *ending == name)?;
                Some(2 * IMAGES.len() + place)
            }
            _ => None,
        }
    }

    /// Whether a field called `name` may hold a description.
    pub(super) fn is_caption(&self, name: &str) -> bool {
        matches!(self.wanted(name), Some((Wanted::Caption | Wanted::Turns, _)))
    }

    /// Whether a field called `name` may hold a photo's name.
    pub(super) fn is_image(&self, name: &str) -> bool {
        matches!(self.wanted(name), Some((Wanted::Image, _)))
    }

    /// What a refusal says where no field holds the description.
    fn no_caption(&self) -> String {
        match &self.caption {
            Some(name) => format!("no field `{name}`, which source.fields.caption names"),
            None => {
                "no field `caption`, `description`, `captions` or `text` (source.fields.caption \
                     can name another)"
                    .into()
            }
        }
    }

    fn no_image(&self) -> String {
        match &self.image {
            Some(name) => format!("no field `{name}`, which source.fields.image names"),
            None => "no field `image` or `file_name` (source.fields.image can name another)".into(),
        }
    }
}

/// What one row says about one photo. Types are checked field by field, so that a refusal can name
/// the field. An absent field and one that holds `null` are the same.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    names: &'n FieldNames,
    /// Those that are known, in order of rank.
    known: Vec<(Wanted, usize, String, Value)>,
    /// Names of the first others, for refusals.
    others: Vec<String>,
    /// Names of columns beside, which are not read: for refusals, too.
    beside: &'n [String],
    /// Those that are known and hold nothing, for refusals.
    empty: Vec<(Wanted, String)>,
    /// The photo itself and its name, where the row holds it.
    held: Option<(String, ImageRef)>,
}

impl<'n> Fields<'n> {
    /// Reads one JSON object. The fault's line counts from the start of `json`.
    pub fn parse(json: &str, names: &'n FieldNames) -> Result<Self, JsonFault> {
        let fault = match Self::parse_strictly(json, names) {
            Ok(fields) => return Ok(fields),
            Err(fault) => fault,
        };
        // What Python writes for numbers that are none is no reason to lose a row.
        let mut bare = String::new();
        match Bare::new(json.as_bytes()).read_to_string(&mut bare) {
            Ok(_) if bare != json => {}
            _ => return Err(fault.explained(json)),
        }
        Self::parse_strictly(&bare, names).map_err(|mut fault| {
            let line = json.lines().nth(fault.line.saturating_sub(1)).unwrap_or_default();
            fault.column = fault.column.saturating_sub(Bare::grown(line, fault.column));
            fault.explained(json)
        })
    }

    fn parse_strictly(json: &str, names: &'n FieldNames) -> Result<Self, JsonFault> {
        if !json.trim_start().starts_with('{') {
            serde_json::from_str::<IgnoredAny>(json)?;
            let detail = "valid JSON, but not an object".to_owned();
            return Err(JsonFault { line: 1, column: 1, detail });
        }
        let mut reader = serde_json::Deserializer::from_str(json);
        let fields = Row(names).deserialize(&mut reader)?;
        reader.end()?;
        Ok(fields)
    }

    /// A row of a table, cell by cell with its column's name. A list may be written as JSON.
    pub fn of_cells<'a>(
        cells: impl Iterator<Item = (&'a str, &'a str)>,
        names: &'n FieldNames,
    ) -> Self {
        let mut fields = Self::new(names);
        for (name, cell) in cells {
            let Some((wanted, rank)) = names.wanted(name) else {
                fields.other(name);
                continue;
            };
            let bare = cell.trim();
            if bare.is_empty() || bare.eq_ignore_ascii_case("nan") {
                fields.empty.push((wanted, name.to_owned()));
                continue;
            }
            let list = bare.starts_with('[') && wanted != Wanted::Id;
            let value = list.then(|| serde_json::from_str(bare).ok()).flatten();
            let value = value.unwrap_or_else(|| Value::String(cell.to_owned()));
            fields.known.push((wanted, rank, name.to_owned(), value));
        }
        fields.known.sort_by_key(|(_, rank, ..)| *rank);
        fields
    }

    fn new(names: &'n FieldNames) -> Self {
        let (known, others, empty) = (Vec::new(), Vec::new(), Vec::new());
        Self { names, known, others, beside: &[], empty, held: None }
    }

    /// An object that was read already.
    pub fn of_object(object: serde_json::Map<String, Value>, names: &'n FieldNames) -> Self {
        let mut fields = Self::new(names);
        for (name, value) in object {
            match names.wanted(&name) {
                Some((wanted, rank)) => fields.known.push((wanted, rank, name, value)),
                None => fields.other(&name),
            }
        }
        fields.set_nulls_apart();
        fields.known.sort_by_key(|(_, rank, ..)| *rank);
        fields
    }

    /// The same row, which holds the photo itself, called `name`.
    pub fn with_photo(self, name: String, photo: ImageRef) -> Self {
        Self { held: Some((name, photo)), ..self }
    }

    /// The same row of a file that has columns of these names, too, which are not read.
    pub fn beside(self, names: &'n [String]) -> Self {
        Self { beside: names, ..self }
    }

    /// The photo, where the row holds it.
    pub fn photo(&self) -> Option<&ImageRef> {
        self.held.as_ref().map(|(_, photo)| photo)
    }

    /// Whether it has a field that may hold a description.
    pub fn describes(&self) -> bool {
        self.of(Wanted::Caption).chain(self.of(Wanted::Turns)).next().is_some()
    }

    fn set_nulls_apart(&mut self) {
        let nulls = self.known.extract_if(.., |(.., value)| value.is_null());
        self.empty.extend(nulls.map(|(wanted, _, name, _)| (wanted, name)));
    }

    fn other(&mut self, name: &str) {
        if self.others.len() < LISTED {
            self.others.push(shown(name));
        }
    }

    /// The first names that are not known: of a file of columns sorted, of other rows as they stand.
    fn unknown(&self) -> Vec<String> {
        let beside = self.beside.iter().map(|name| shown(name));
        let mut names: Vec<String> = self.others.iter().cloned().chain(beside).collect();
        if !self.beside.is_empty() {
            names.sort_unstable();
            names.dedup();
            names.truncate(LISTED);
        }
        names
    }

    fn of(&self, kind: Wanted) -> impl Iterator<Item = (&str, &Value)> {
        let of_kind = self.known.iter().filter(move |(wanted, ..)| *wanted == kind);
        of_kind.map(|(.., name, value)| (name.as_str(), value))
    }

    /// Which field of the kind holds nothing; without one `reason`, and which fields there are.
    fn lacking(&self, code: &'static str, wanted: Wanted, reason: &str) -> Refusal {
        if let Some((_, name)) = self.empty.iter().find(|(kind, _)| *kind == wanted) {
            return Refusal::new(code, format!("field `{name}` holds nothing"));
        }
        let known = self.known.iter().map(|(.., name, _)| name);
        let unknown = self.unknown();
        let names: Vec<_> = known.chain(&unknown).map(|name| format!("`{name}`")).collect();
        match names.as_slice() {
            [] => Refusal::new(code, reason),
            names => Refusal::new(code, format!("{reason}; it has {}", names.join(", "))),
        }
    }

    /// The id, when there is one.
    pub fn id(&self) -> Result<Option<String>, Refusal> {
        self.of(Wanted::Id).next().map(|(_, value)| id_text(value)).transpose()
    }

    /// The image's name.
    pub fn image(&self) -> Result<&str, Refusal> {
        if let Some((name, _)) = &self.held {
            return Ok(name);
        }
        let mut first = None;
        for (name, value) in self.of(Wanted::Image) {
            let found = one_image(value).ok_or_else(|| wrong_type(name, "a string", value));
            match found.and_then(|image| check_image(image).map(|()| image)) {
                Ok(image) => return Ok(image),
                Err(refusal) => _ = first.get_or_insert(refusal),
            }
        }
        Err(first.unwrap_or_else(|| {
            self.lacking("missing_image", Wanted::Image, &self.names.no_image())
        }))
    }

    /// The photo's licence, if a field tells one: a text on one line, no longer than names and
    /// addresses are.
    pub fn license(&self) -> Option<String> {
        let texts = self.of(Wanted::License).filter_map(|(_, value)| value.as_str());
        texts.map(str::trim).find(|text| is_license(text)).map(str::to_owned)
    }

    /// The description: of the fields that may hold it, the first that holds a text; each a string
    /// or a list of strings. Without one, the answer of a conversation of one question.
    pub fn captions(&self) -> Result<Texts, Refusal> {
        let mut first = None;
        for (name, value) in self.of(Wanted::Caption) {
            match texts(name, value) {
                Ok(texts) if !texts.is_empty() => return Ok(texts),
                Ok(_) => {
                    let reason = format!("the description is empty (field `{name}`)");
                    first.get_or_insert(Refusal::new("empty_description", reason));
                }
                Err(refusal) => _ = first.get_or_insert(refusal),
            }
        }
        for (name, value) in self.of(Wanted::Turns) {
            match answer(name, value) {
                Ok(texts) => return Ok(texts),
                Err(refusal) => _ = first.get_or_insert(refusal),
            }
        }
        Err(first.unwrap_or_else(|| {
            self.lacking("missing_description", Wanted::Caption, &self.names.no_caption())
        }))
    }
}

/// Whether a text may be the name of a licence or its address.
pub(super) fn is_license(text: &str) -> bool {
    let says = text.chars().any(char::is_alphabetic) && !text.chars().any(char::is_control);
    says && text.len() <= LONGEST_LICENSE
}

/// The name of a field that is not known, as a refusal shows it.
fn shown(name: &str) -> String {
    name.chars().take(40).filter(|c| !c.is_control()).collect()
}

/// Reads the fields of an object that are wanted, and passes over the rest.
struct Row<'n>(&'n FieldNames);

impl<'de, 'n> DeserializeSeed<'de> for Row<'n> {
    type Value = Fields<'n>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields<'n>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, 'n> Visitor<'de> for Row<'n> {
    type Value = Fields<'n>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields<'n>, M::Error> {
        let mut fields = Fields::new(self.0);
        while let Some(name) = map.next_key::<String>()? {
            let Some((wanted, rank)) = self.0.wanted(&name) else {
                map.next_value::<IgnoredAny>()?;
                fields.other(&name);
                continue;
            };
            let value = map.next_value::<Value>()?;
            if fields.known.iter().any(|(.., known, _)| *known == name) {
                return Err(M::Error::custom(format!("duplicate field `{name}`")));
            }
            fields.known.push((wanted, rank, name, value));
        }
        fields.set_nulls_apart();
        fields.known.sort_by_key(|(_, rank, ..)| *rank);
        Ok(fields)
    }
}

/// Where JSON stops being valid and why, kept apart so that messages can say `file:line:column`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JsonFault {
    pub line: usize,
    pub column: usize,
    pub detail: String,
}

impl JsonFault {
    /// With what `json` seems to be instead.
    fn explained(mut self, json: &str) -> Self {
        let start = json.trim_start();
        let python = start.starts_with("{'")
            || ["None", "True", "False"].iter().any(|word| self.stands_at(json, word))
            || self.stands_at(json, "'");
        if python {
            self.detail += "; this is Python's own notation, write it with json.dumps";
        } else if start.starts_with('{') && self.detail.starts_with("EOF") {
            self.detail += "; the object or a text in it is not closed";
        } else if self.detail.contains("control character") {
            self.detail += "; a line end or tab in a text is written \\n or \\t";
        }
        self
    }

    /// Whether `word` is what the reader stopped at, which is its first letter or the one before.
    fn stands_at(&self, json: &str, word: &str) -> bool {
        let line = json.lines().nth(self.line.saturating_sub(1)).unwrap_or_default();
        (self.column.saturating_sub(2)..=self.column)
            .any(|at| line.get(at..).is_some_and(|rest| rest.starts_with(word)))
    }
}

impl From<serde_json::Error> for JsonFault {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let detail = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Self { line: error.line(), column: error.column(), detail }
    }
}

/// Refuses image names that cannot be a file's: empty, with control characters, or the address of
/// another machine.
pub(super) fn check_image(image: &str) -> Result<(), Refusal> {
    if image.trim().is_empty() {
        return Err(Refusal::new("missing_image", "the image's name is empty"));
    }
    if image.chars().any(char::is_control) {
        let reason = format!("the image's name holds a control character: {image:?}");
        return Err(Refusal::new("invalid_image_name", reason));
    }
    if image.starts_with("data:") || looks_inlined(image) {
        let start: String = image.chars().take(40).collect();
        let reason = format!("`{start}…` is a photo itself, not its name; write it to a file");
        return Err(Refusal::new("invalid_image_name", reason));
    }
    let scheme = image.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case("file")) {
        let reason = format!("`{image}` is a URL; photos are read from files, download it first");
        return Err(Refusal::new("image_is_url", reason));
    }
    Ok(())
}

/// Whether a text is a photo in base64: longer than any path, without an ending.
fn looks_inlined(image: &str) -> bool {
    image.len() > 4096
        && image.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

/// A name, a list of one name, or the object that Hugging Face's `datasets` write for a photo.
fn one_image(value: &Value) -> Option<&str> {
    match value {
        Value::String(name) => Some(name),
        Value::Array(list) => match list.as_slice() {
            [one] => one_image(one),
            _ => None,
        },
        Value::Object(object) => object.get("path")?.as_str(),
        _ => None,
    }
}

fn texts(name: &str, value: &Value) -> Result<Texts, Refusal> {
    let wrong = |expected, value| Err(wrong_type(name, expected, value));
    match value {
        Value::String(text) if is_python_list(text) => {
            let reason = format!(
                "field `{name}` holds a list in Python's own notation; write it with json.dumps"
            );
            Err(Refusal::new("invalid_field", reason))
        }
        Value::String(text) => Ok(Texts::one(text.clone())),
        Value::Array(list) => {
            let mut found = Vec::new();
            for item in list {
                match item {
                    Value::String(text) => found.push(text.clone()),
                    Value::Null => {}
                    Value::Object(object) => {
                        let text =
                            ["raw", "caption", "text", "sentence"].map(|key| object.get(key));
                        match text.into_iter().flatten().find_map(Value::as_str) {
                            Some(text) => found.push(text.to_owned()),
                            None => return wrong("a list of strings", item),
                        }
                    }
                    item => return wrong("a list of strings", item),
                }
            }
            Ok(Texts::several(found))
        }
        other => wrong("a string or a list of strings", other),
    }
}

fn is_python_list(text: &str) -> bool {
    let text = text.trim();
    text.starts_with("['") && text.ends_with("']")
}

/// The model's turn of a conversation, if it has one question and one answer; more of them talk
/// about the photo, and none alone describes it.
fn answer(name: &str, value: &Value) -> Result<Texts, Refusal> {
    let turns = value.as_array().ok_or_else(|| wrong_type(name, "a list of turns", value))?;
    let text = |turn: &Value, keys: [&str; 2]| {
        let found = keys.into_iter().find_map(|key| turn.get(key)?.as_str());
        found.map(str::to_owned)
    };
    let role = |turn: &Value| text(turn, ["from", "role"]).unwrap_or_default();
    let spoken: Vec<_> = turns.iter().filter(|turn| role(turn) != "system").collect();
    let is_answer =
        |turn: &Value| matches!(&*role(turn), "gpt" | "assistant" | "model" | "bot" | "chatgpt");
    match spoken.as_slice() {
        [question, answer] if !is_answer(question) && is_answer(answer) => {
            let answer = text(answer, ["value", "content"]).map(Texts::one);
            let empty = || {
                let reason = format!("the answer in `{name}` is empty");
                Refusal::new("empty_description", reason)
            };
            answer.filter(|texts| !texts.is_empty()).ok_or_else(empty)
        }
        turns => {
            let reason = format!(
                "`{name}` has {} turns: only the answer of one question and one answer is taken \
                 for a description; add a field `caption`",
                turns.len()
            );
            Err(Refusal::new("ambiguous_description", reason))
        }
    }
}

fn wrong_type(name: &str, expected: &str, value: &Value) -> Refusal {
    let seen = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::new("invalid_field", format!("field `{name}` holds {seen}; expected {expected}"))
}

#[cfg(test)]
mod tests;
