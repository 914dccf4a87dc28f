use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::fields::Fields;
use super::ids::{IdBook, printable};
use super::lines::{BoundedLines, Line};
use super::refusal::{Outlet, Refusal};
use super::{Emit, Reader, Source, SourceError, SourceKind, image_folder};
use crate::dataset::ImageRef;
use crate::dataset::record::SourceRecord;
use crate::sandbox::FileAccess;

/// The longest manifest line, in bytes. A longer one is refused without being held in memory.
pub const MAX_LINE_BYTES: usize = 8 << 20;

const EXPECTED: &str =
    r#"one JSON object per line: {"id": "a1", "image": "a.jpg", "caption": "..."}"#;

/// A manifest of one JSON object per line, with
/// - `id`: a string or a whole number, unique in the file;
/// - `image` (or `file_name`): a path, relative to the image folder or absolute;
/// - the description: the first present of `description`, `caption`, `captions`, each a string or
///   a list of strings (joined as sentences).
///
/// Other fields are left alone. A byte order mark, `\r\n` and blank lines are accepted. Holds one
/// line at a time and the ids.
#[derive(Debug)]
pub struct JsonlSource {
    path: PathBuf,
    images: PathBuf,
    access: FileAccess,
    /// The file's name, for messages: `manifest.jsonl`.
    name: String,
}

impl JsonlSource {
    /// A manifest at `path` whose image names are relative to the folder `images`.
    pub fn new(path: &Path, images: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let access = FileAccess::Anywhere;
        Self { path: path.to_owned(), images: images.to_owned(), access, name }
    }

    /// The same, its file read only where `access` allows.
    #[must_use]
    pub fn reading(self, access: FileAccess) -> Self {
        Self { access, ..self }
    }

    /// Sends what line number `number` (from 1) says.
    fn line(
        &self,
        number: u64,
        line: &Line,
        ids: &mut IdBook<u64>,
        out: &mut Outlet<'_, '_>,
    ) -> ControlFlow<()> {
        let place = format!("{}:{number}", self.name);
        let bytes = match line {
            Line::Whole(bytes) => strip_mark(number, bytes),
            Line::TooLong { bytes } => {
                let reason = format!("{place}: {bytes} bytes; the limit is {MAX_LINE_BYTES}");
                return out.refuse(&place, Refusal::new("line_too_long", reason));
            }
        };
        let fields = match parse(bytes, &place) {
            Ok(Some(fields)) => fields,
            Ok(None) => return ControlFlow::Continue(()),
            Err(refusal) => return out.refuse(&place, refusal),
        };
        let (subject, record) = self.record(&fields, number, &place, ids);
        match record {
            Ok(record) => out.record(record),
            Err(refusal) => out.refuse(&subject, refusal),
        }
    }

    /// The record of one row, beside the subject for a refusal of it.
    fn record(
        &self,
        fields: &Fields,
        number: u64,
        place: &str,
        ids: &mut IdBook<u64>,
    ) -> (String, Result<SourceRecord, Refusal>) {
        let missing = || Refusal::new("missing_id", "no field `id`");
        let id = match fields.id().and_then(|id| id.ok_or_else(missing)) {
            Ok(id) => id,
            Err(refusal) => return (place.to_owned(), Err(refusal.at(place))),
        };
        let subject = printable(&id).unwrap_or(place).to_owned();
        let show = |line: &u64| format!("line {line}");
        if let Err(refusal) = ids.claim(&id, number, show) {
            return (subject, Err(refusal.at(place)));
        }
        let read = || -> Result<SourceRecord, Refusal> {
            let image = ImageRef::file(self.images.join(fields.image()?));
            let description = fields.description()?;
            Ok(SourceRecord { id, image, description, origin: place.to_owned() })
        };
        (subject, read().map_err(|refusal| refusal.at(place)))
    }
}

fn strip_mark(number: u64, bytes: &[u8]) -> &[u8] {
    match bytes.strip_prefix("\u{feff}".as_bytes()) {
        Some(rest) if number == 1 => rest,
        _ => bytes,
    }
}

/// The fields of a line; `None` when it is blank.
fn parse(bytes: &[u8], place: &str) -> Result<Option<Fields>, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let reason = format!("{place}: not UTF-8 from byte {} on", error.valid_up_to() + 1);
        Refusal::new("invalid_utf8", reason)
    })?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    Fields::parse(text).map(Some).map_err(|fault| {
        let reason = format!("{place}:{}: not valid JSON: {}", fault.column, fault.detail);
        Refusal::new("invalid_json", reason)
    })
}

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Jsonl,
    name: "jsonl",
    what: "a .jsonl manifest",
    folder: false,
    endings: &["jsonl", "ndjson"],
    open: |path, options| {
        let images = image_folder(path, options)?;
        Ok(Box::new(JsonlSource::new(path, &images).reading(options.access.clone())))
    },
};

impl Source for JsonlSource {
    fn describe(&self) -> String {
        format!("JSONL manifest {}", self.path.display())
    }

    fn kind(&self) -> &'static str {
        "jsonl"
    }

    fn image_root(&self) -> Option<&Path> {
        Some(&self.images)
    }

    fn read(&self, emit: &mut Emit<'_>) -> Result<(), SourceError> {
        let file = self.access.open(&self.path)?;
        let mut lines = BoundedLines::new(BufReader::with_capacity(1 << 16, file), MAX_LINE_BYTES);
        let mut ids = IdBook::new();
        let mut out = Outlet::new(emit);
        let mut number = 0;
        while let Some(line) = lines.next_line()? {
            number += 1;
            if self.line(number, &line, &mut ids, &mut out).is_break() {
                return Ok(());
            }
        }
        out.conclude(&self.path, EXPECTED)
    }
}

#[cfg(test)]
mod tests;
