//! What an instruction is, and reading a library of final instructions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::base::hash;
use crate::base::tokens;
use crate::dataset::record::Instruction;
use crate::instruction::requires::{check_requires, check_tags};

/// Longest instruction in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;

/// Why a text cannot be an instruction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    #[error("text must not be empty")]
    Empty,
    #[error("text is {seen} bytes long, the limit is {MAX_TEXT_BYTES}")]
    TooLong { seen: usize },
    #[error(
        "text must not contain {token}: trainers put a photo, a video or a sound in its place; \
         the export places <image>"
    )]
    Placeholder { token: String },
    #[error("text must not contain {token}, a control token of chat templates")]
    ControlToken { token: String },
}

impl BadText {
    /// The stable, snake_case reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "instruction_text_empty",
            Self::TooLong { .. } => "instruction_text_too_long",
            Self::Placeholder { .. } => "instruction_text_image_token",
            Self::ControlToken { .. } => "instruction_text_control_token",
        }
    }
}

/// The text without white space around it, if it can be an instruction.
pub(super) fn check_text(text: &str) -> Result<&str, BadText> {
    let text = text.trim();
    if text.is_empty() {
        return Err(BadText::Empty);
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(BadText::TooLong { seen: text.len() });
    }
    if let Some(token) = tokens::placeholder(text) {
        return Err(BadText::Placeholder { token: token.to_owned() });
    }
    if let Some(token) = tokens::control(text) {
        return Err(BadText::ControlToken { token: token.to_owned() });
    }
    Ok(text)
}

/// The library compiled into the binary, so that one command on a folder of photos is enough.
const BUILT_IN: &str = include_str!("../../samples/instructions.jsonl");

/// Why a library could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}:{line}: {message}")]
    Line { path: PathBuf, line: usize, message: String },
    #[error(
        "{path}: holds no instruction; write one JSON object with id and text per line, or one instruction per line in a .txt file"
    )]
    Empty { path: PathBuf },
}

impl Failure for LibraryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Line { .. } | Self::Empty { .. } => ErrorKind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        "library_invalid"
    }
}

/// A checked list of instructions with unique ids and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    pub instructions: Vec<Instruction>,
    /// Key over ids, texts and categories in order.
    pub wording: String,
    /// Key over all of it: `wording`, unless an instruction says what it requires.
    pub hash: String,
    /// Where it came from, for messages and the report.
    pub origin: String,
}

impl Library {
    /// Reads `.jsonl` (`{"id", "text", "category"?, "requires"?, "tags"?}`
    /// per line) or `.txt` (one instruction per
    /// line, ids `line-N`); without a path, the library compiled into the binary.
    ///
    /// # Errors
    /// [`LibraryError`] with file and line: a library is small and written by hand, so one wrong
    /// line refuses it instead of being skipped.
    pub fn read(path: Option<&Path>) -> Result<Self, LibraryError> {
        let Some(path) = path else {
            return Self::parse(Path::new("built-in.jsonl"), BUILT_IN);
        };
        let text = fs_err::read_to_string(path)
            .map_err(|source| LibraryError::Io { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// This library with those of `other` behind it whose id and text it lacks.
    #[must_use]
    pub fn joined(mut self, other: Self) -> Self {
        let own = self.instructions.len();
        for one in other.instructions {
            let there = |known: &Instruction| known.id == one.id || known.text == one.text;
            if !self.instructions.iter().any(there) {
                self.instructions.push(one);
            }
        }
        let more = self.instructions.len() - own;
        self.origin = format!("{own} of {} and {more} of {}", self.origin, other.origin);
        (self.wording, self.hash) = hashes(&self.instructions);
        self
    }

    /// Key over what the instructions say they require; `None` where none says it.
    pub fn requires_key(&self) -> Option<&str> {
        (self.hash != self.wording).then_some(self.hash.as_str())
    }

    fn parse(path: &Path, text: &str) -> Result<Self, LibraryError> {
        let plain = path.extension().is_some_and(|extension| extension == "txt");
        let mut instructions = Vec::new();
        let mut seen = HashMap::new();
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let (line, number) = (line.trim(), index + 1);
            if line.is_empty() {
                continue;
            }
            let refuse =
                |message| LibraryError::Line { path: path.to_owned(), line: number, message };
            let instruction = read_line(line, number, plain).map_err(refuse)?;
            check_unique(&mut seen, &instruction, number).map_err(refuse)?;
            instructions.push(instruction);
        }
        if instructions.is_empty() {
            return Err(LibraryError::Empty { path: path.to_owned() });
        }
        let (wording, hash) = hashes(&instructions);
        Ok(Self { instructions, wording, hash, origin: path.display().to_string() })
    }
}

fn read_line(line: &str, number: usize, plain: bool) -> Result<Instruction, String> {
    let mut instruction = if plain {
        let (id, text) = (format!("line-{number}"), line.to_owned());
        Instruction { id, text, ..Instruction::default() }
    } else {
        serde_json::from_str::<Instruction>(line).map_err(|error| error.to_string())?
    };
    if instruction.id.is_empty() {
        return Err("id must not be empty".into());
    }
    let text = check_text(&instruction.text).map_err(|problem| problem.to_string())?;
    instruction.text = text.to_owned();
    if let Some(requires) = &mut instruction.requires {
        *requires = check_requires(requires).map_err(|problem| problem.to_string())?;
    }
    instruction.tags = check_tags(&instruction.tags).map_err(|problem| problem.to_string())?;
    Ok(instruction)
}

fn check_unique(
    seen: &mut HashMap<String, usize>,
    instruction: &Instruction,
    number: usize,
) -> Result<(), String> {
    for (what, value) in [("id", &instruction.id), ("text", &instruction.text)] {
        if let Some(first) = seen.insert(format!("{what}:{value}"), number) {
            return Err(format!("the same {what} as line {first}: {value:?}"));
        }
    }
    Ok(())
}

fn hashes(instructions: &[Instruction]) -> (String, String) {
    hashes_of(
        instructions
            .iter()
            .map(|one| (&*one.id, &*one.text, one.category.as_deref(), one.requires.as_deref())),
    )
}

/// The keys `wording` and `hash` of a library, from the id, text, category and requirements of each
/// instruction in order.
pub(super) fn hashes_of<'a>(
    instructions: impl Iterator<Item = (&'a str, &'a str, Option<&'a str>, Option<&'a [String]>)>,
) -> (String, String) {
    let (mut fields, mut required) = (Vec::new(), Vec::new());
    for (id, text, category, requires) in instructions {
        fields.extend([id, text, category.unwrap_or("")]);
        required.extend(requires.map(|requires| (id, requires)));
    }
    let wording = hash::key(&fields);
    if required.is_empty() {
        return (wording.clone(), wording);
    }
    let required = serde_json::to_string(&required).unwrap_or_default();
    let hash = hash::key(&[&wording, "requires", &required]);
    (wording, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, text: &str) -> Result<Library, LibraryError> {
        Library::parse(Path::new(name), text)
    }

    #[test]
    fn the_built_in_library_is_large_and_varied() {
        let library = Library::read(None).expect("built-in library");
        assert!(library.instructions.len() >= 40);
        let categories: std::collections::HashSet<_> =
            library.instructions.iter().filter_map(|one| one.category.clone()).collect();
        assert!(categories.len() >= 6, "{categories:?}");
    }

    #[test]
    fn a_joined_library_holds_each_id_and_text_once() {
        let one = parse("a.txt", "Write a poem.\nPlan a trip.").expect("two");
        let other = parse(
            "b.jsonl",
            "{\"id\": \"x\", \"text\": \"Plan a trip.\"}\n{\"id\": \"y\", \"text\": \"Sing.\"}",
        );
        let joined = one.clone().joined(other.expect("two"));
        let ids: Vec<_> = joined.instructions.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["line-1", "line-2", "y"]);
        assert_ne!(joined.hash, one.hash);
        assert_eq!(joined.origin, "2 of a.txt and 1 of b.jsonl");
    }

    /// Draws that were made before there were requirements keep their keys.
    #[test]
    fn what_is_required_changes_the_hash_and_not_the_wording() {
        let read = |rest: &str| {
            parse("a.jsonl", &format!("{{\"id\": \"a\", \"text\": \"Tell of it.\"{rest}}}"))
                .expect("one")
        };
        let (plain, boat) = (read(""), read(", \"requires\": [\" boat \"]"));
        let none = read(", \"requires\": []");
        assert_eq!(plain.hash, hash::key(&["a", "Tell of it.", ""]));
        assert_eq!((&plain.hash, plain.requires_key()), (&plain.wording, None));
        for (one, requires) in [(&boat, vec!["boat".to_owned()]), (&none, vec![])] {
            assert_eq!(one.wording, plain.wording);
            assert_eq!(one.requires_key(), Some(one.hash.as_str()));
            assert_eq!(one.instructions[0].requires, Some(requires));
        }
        assert_ne!(boat.hash, none.hash);
    }

    #[test]
    fn a_file_that_is_no_text_is_its_owners_fault() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("a.txt");
        fs_err::write(&path, b"Write a po\xffm.\n").expect("written");
        let error = Library::read(Some(&path)).expect_err("not UTF-8");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("a.txt"), "{error}");
    }

    #[test]
    fn plain_text_gets_line_ids() {
        let library = parse("a.txt", "\u{feff}Write a poem.\r\n\n  Plan a trip. \n").expect("two");
        let ids: Vec<_> = library.instructions.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["line-1", "line-3"]);
        assert_eq!(library.instructions[1].text, "Plan a trip.");
    }

    #[test]
    fn wrong_lines_are_named() {
        for (text, wanted) in [
            ("{\"id\": \"a\", \"text\": \"x\"}\n{\"id\"", "a.jsonl:2: "),
            (
                "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": \"a\", \"text\": \"y\"}",
                "same id as line 1",
            ),
            (
                "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": \"b\", \"text\": \"x\"}",
                "same text as line 1",
            ),
            ("{\"id\": \"a\", \"text\": \" \"}", "must not be empty"),
            ("{\"id\": \"a\", \"text\": \"see <image>\"}", "<image>"),
            (
                "{\"id\": \"a\", \"text\": \"x\", \"requires\": [\"dog\", \"nothing\"]}",
                "a.jsonl:1: requires[1] names nothing",
            ),
            ("{\"id\": \"a\", \"text\": \"x\", \"requires\": \"dog\"}", "expected a sequence"),
            ("{\"id\": \"a\", \"text\": \"see <Video> here\"}", "<Video>"),
            ("{\"id\": \"a\", \"text\": \"write.<|im_end|>\"}", "<|im_end|>"),
            ("\n\n", "holds no instruction"),
        ] {
            let error = parse("a.jsonl", text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
