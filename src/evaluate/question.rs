//! The published question and answer formats (MM-Instruct-Eval): JSON lines, or one JSON array,
//! whatever the file's ending.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::hash;
use crate::sandbox::{ConfineError, FileAccess};

use super::error::EvaluationError;

/// A question's id: a number in the published files, any text in others. `"7"` and `7` are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged, from = "Written")]
pub enum QuestionId {
    /// A whole number.
    Number(i64),
    /// Anything else.
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(i64),
    Text(String),
}

impl From<Written> for QuestionId {
    fn from(written: Written) -> Self {
        match written {
            Written::Number(number) => Self::Number(number),
            Written::Text(text) => match text.parse::<i64>() {
                Ok(number) if number.to_string() == text => Self::Number(number),
                _ => Self::Text(text),
            },
        }
    }
}

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// One question: an instruction about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Unique in its file.
    pub question_id: QuestionId,
    /// The image's path below the images' folder.
    pub image: String,
    /// The instruction.
    pub text: String,
    /// What the image shows, for judges that cannot see.
    #[serde(default)]
    pub caption: String,
    /// A group of questions, for the results.
    #[serde(default)]
    pub category: String,
}

/// One answer as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Answer {
    pub question_id: QuestionId,
    /// The instruction answered, where the file repeats it.
    #[serde(default)]
    pub prompt: Option<String>,
    pub text: String,
    /// The model that answered.
    #[serde(default)]
    pub model_id: Option<String>,
}

/// A file of questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuestionFile {
    pub path: PathBuf,
    pub questions: Vec<Question>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// One model's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerFile {
    pub path: PathBuf,
    /// The model's name: its `model_id`, or the file's name where there is none.
    pub name: String,
    pub answers: Vec<Answer>,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl QuestionFile {
    /// Reads a file of questions, where `access` allows.
    ///
    /// # Errors
    /// [`EvaluationError::Read`] with the line of the first row that is no question.
    pub fn read(path: &Path, access: &FileAccess) -> Result<Self, EvaluationError> {
        let mut questions = Vec::new();
        let Rows { rows, sha256 } = rows::<Question>(path, access, "questions")?;
        for (place, question) in rows {
            if question.text.trim().is_empty() {
                let message = format!("question {} has an empty text", question.question_id);
                return Err(EvaluationError::Read { path: path.to_owned(), place, message });
            }
            questions.push(question);
        }
        Ok(Self { path: path.to_owned(), questions, sha256 })
    }
}

impl AnswerFile {
    /// Reads one model's answers, where `access` allows.
    ///
    /// # Errors
    /// [`EvaluationError::Read`] with the line of the first row that is no answer;
    /// [`EvaluationError::SeveralModels`].
    pub fn read(path: &Path, access: &FileAccess) -> Result<Self, EvaluationError> {
        let Rows { rows, sha256 } = rows::<Answer>(path, access, "answers")?;
        let answers: Vec<Answer> = rows.into_iter().map(|(_, answer)| answer).collect();
        let names = answers.iter().filter_map(|answer| answer.model_id.as_deref());
        let names: BTreeSet<&str> = names.filter(|name| !name.trim().is_empty()).collect();
        if names.len() > 1 {
            let models = names.into_iter().map(str::to_owned).collect();
            return Err(EvaluationError::SeveralModels { path: path.to_owned(), models });
        }
        let name = names.first().map_or_else(|| stem(path), |name| name.trim().to_owned());
        Ok(Self { path: path.to_owned(), name, answers, sha256 })
    }
}

/// A file's name without its ending.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The largest file read: it is held in memory whole.
const MAX_BYTES: u64 = 1 << 30;

/// A row and where it stands, for messages.
type Row<T> = (String, T);

/// The rows of a file.
#[derive(Debug)]
struct Rows<T> {
    pub rows: Vec<Row<T>>,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Reads every row of `path`, where `access` allows.
///
/// # Errors
/// The file cannot be read, holds nothing, or a row is not what is wanted: with its line or number.
fn rows<T: DeserializeOwned>(
    path: &Path,
    access: &FileAccess,
    what: &'static str,
) -> Result<Rows<T>, EvaluationError> {
    let bytes = bytes(path, access)?;
    let sha256 = hash::sha256_hex(&bytes);
    let refuse = |place: String, message: String| EvaluationError::Read {
        path: path.to_owned(),
        place,
        message,
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        refuse(format!("byte {}", error.valid_up_to()), "this is not UTF-8 text".into())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rows = if text.trim_start().starts_with('[') { array(text) } else { lines(text) };
    let rows = rows.map_err(|(place, message)| refuse(place, message))?;
    if rows.is_empty() {
        return Err(EvaluationError::Empty { path: path.to_owned(), what });
    }
    Ok(Rows { rows, sha256 })
}

fn bytes(path: &Path, access: &FileAccess) -> Result<Vec<u8>, EvaluationError> {
    let file = access.open(path).map_err(|error| match error {
        ConfineError::Io(source) => EvaluationError::io(path)(source),
        other => EvaluationError::Confined(other),
    })?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(EvaluationError::io(path))?;
    if bytes.len() as u64 > MAX_BYTES {
        let (path, place) = (path.to_owned(), format!("byte {MAX_BYTES}"));
        let message = format!("the file is longer than the {MAX_BYTES} bytes that are read");
        return Err(EvaluationError::Read { path, place, message });
    }
    Ok(bytes)
}

type Refusal = (String, String);

fn array<T: DeserializeOwned>(text: &str) -> Result<Vec<Row<T>>, Refusal> {
    let values: Vec<serde_json::Value> = serde_json::from_str(text)
        .map_err(|error| (format!("line {}", error.line()), error.to_string()))?;
    let row = |(index, value)| {
        let place = format!("row {}", index + 1);
        match serde_json::from_value(value) {
            Ok(row) => Ok((place, row)),
            Err(error) => Err((place, error.to_string())),
        }
    };
    values.into_iter().enumerate().map(row).collect()
}

fn lines<T: DeserializeOwned>(text: &str) -> Result<Vec<Row<T>>, Refusal> {
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(index, line)| {
        let place = format!("line {}", index + 1);
        match serde_json::from_str(line) {
            Ok(row) => Ok((place, row)),
            Err(error) => Err((place, error.to_string())),
        }
    };
    filled.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("mine.json");
        fs_err::write(&path, content).expect("write");
        (folder, path)
    }

    #[test]
    fn ids_are_equal_however_they_are_written() {
        let id = |json: &str| serde_json::from_str::<QuestionId>(json).expect("an id");
        assert_eq!(id("7"), id("\"7\""));
        assert_ne!(id("7"), id("\"07\""));
        assert_eq!(serde_json::to_string(&id("7")).expect("writes"), "7");
        assert_eq!(id("\"cat-1\"").to_string(), "cat-1");
        assert!(serde_json::from_str::<QuestionId>("1.5").is_err());
    }

    #[test]
    fn a_file_without_model_id_takes_its_own_name() {
        let (_folder, path) = file("{\"question_id\": 1, \"text\": \"x\"}");
        assert_eq!(AnswerFile::read(&path, &FileAccess::Anywhere).expect("answers").name, "mine");
    }

    #[test]
    fn two_models_in_one_file_are_refused() {
        let row = |id, model| {
            format!("{{\"question_id\": {id}, \"text\": \"x\", \"model_id\": \"{model}\"}}\n")
        };
        let (_folder, path) = file(&(row(1, "one") + &row(2, "two")));
        let error = AnswerFile::read(&path, &FileAccess::Anywhere).expect_err("refused");
        assert_eq!(error.code(), "evaluation_several_models");
        assert!(error.to_string().ends_with("one, two"), "{error}");
    }

    #[test]
    fn a_question_without_text_is_refused() {
        let (_folder, path) = file("{\"question_id\": 5, \"image\": \"a.jpg\", \"text\": \" \"}");
        let error =
            QuestionFile::read(&path, &FileAccess::Anywhere).expect_err("refused").to_string();
        assert!(error.contains("line 1: question 5 has an empty text"), "{error}");
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct One {
        n: u32,
    }

    fn read(content: &[u8]) -> Result<Vec<Row<One>>, String> {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("rows.anything");
        fs_err::write(&path, content).expect("write");
        let read = rows(&path, &FileAccess::Anywhere, "rows");
        read.map(|read| read.rows).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_and_arrays_give_the_same_rows() {
        let lines = read(b"\xef\xbb\xbf{\"n\": 1}\r\n\n{\"n\": 2, \"more\": 0}").expect("lines");
        assert_eq!(lines, [("line 1".into(), One { n: 1 }), ("line 3".into(), One { n: 2 })]);
        let array = read(b" \n[{\"n\": 1},\n {\"n\": 2}]\n").expect("an array");
        assert_eq!(array, [("row 1".into(), One { n: 1 }), ("row 2".into(), One { n: 2 })]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (content, wanted) in [
            (&b"{\"n\": 1}\n{\"n\": }"[..], "rows.anything, line 2: expected value"),
            (b"{\"m\": 1}", "line 1: missing field `n`"),
            (b"[{\"n\": 1}, {\"n\": \"x\"}]", "row 2: invalid type: string"),
            (b"[{\"n\": 1},\n", "line 2: EOF while parsing"),
            (b"{\"n\": 1}\n\xff", "byte 9: this is not UTF-8"),
            (b"  \n", "holds no rows"),
            (b"[]", "holds no rows"),
        ] {
            let error = read(content).expect_err(wanted);
            assert!(error.contains(wanted), "{error}");
        }
    }
}
