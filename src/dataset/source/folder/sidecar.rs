use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::super::fields::Fields;
use super::super::refusal::Refusal;
use super::super::text;
use super::listing::stem;
use crate::sandbox::{ConfineError, FileAccess};

/// The largest `.txt` or `.json` beside a photo that is read, in bytes.
pub const MAX_SIDECAR_BYTES: u64 = 1 << 20;

/// The texts of one folder by the name they describe: `photo` for `photo.txt`, `photo.jpg` for
/// `photo.jpg.txt`.
#[derive(Default)]
pub(super) struct Sidecars {
    by_name: BTreeMap<String, Named>,
}

/// The files that describe one name; several only where case differs (`a.txt`, `a.TXT`).
#[derive(Default)]
struct Named {
    texts: Vec<String>,
    jsons: Vec<String>,
    used: bool,
}

/// The one file that describes a photo.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Text(String),
    Json(String),
}

/// What a sidecar says.
pub(super) struct SidecarText {
    pub id: Option<String>,
    /// Kept apart from the reading of the file, so that its refusal can name the item's own id.
    pub description: Result<String, Refusal>,
}

impl Sidecars {
    pub fn add_text(&mut self, file: &str) {
        self.by_name.entry(stem(file).to_owned()).or_default().texts.push(file.to_owned());
    }

    pub fn add_json(&mut self, file: &str) {
        self.by_name.entry(stem(file).to_owned()).or_default().jsons.push(file.to_owned());
    }

    /// The file that describes the photo called `photo`: a `.txt`, else a `.json`; two of one sort
    /// are refused, since nothing says which one holds.
    pub fn choose(&mut self, photo: &str) -> Result<Choice, Refusal> {
        let (mut texts, mut jsons) = (Vec::new(), Vec::new());
        for name in [stem(photo), photo] {
            if let Some(named) = self.by_name.get_mut(name) {
                named.used = true;
                texts.extend(named.texts.iter().cloned());
                jsons.extend(named.jsons.iter().cloned());
            }
        }
        match (texts.as_slice(), jsons.as_slice()) {
            ([], []) => {
                let (stem, reason) = (stem(photo), "no description: neither");
                let reason = format!("{reason} {stem}.txt nor {stem}.json is beside it");
                Err(Refusal::new("missing_description", reason))
            }
            ([text], _) => Ok(Choice::Text(text.clone())),
            ([], [json]) => Ok(Choice::Json(json.clone())),
            ([], several) | (several, _) => {
                let reason = format!("several descriptions: {}", several.join(", "));
                Err(Refusal::new("ambiguous_description", reason))
            }
        }
    }

    /// The files that described no photo, in the order of their names.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let unused = self.by_name.values().filter(|named| !named.used);
        unused.flat_map(|named| named.texts.iter().chain(&named.jsons)).map(String::as_str)
    }
}

impl Choice {
    pub fn file(&self) -> &str {
        match self {
            Self::Text(file) | Self::Json(file) => file,
        }
    }

    /// Reads the file, which lies in `folder`.
    pub fn read(&self, folder: &Path, access: &FileAccess) -> Result<SidecarText, Refusal> {
        let raw = read_limited(&folder.join(self.file()), access)?;
        match self {
            Self::Text(_) => Ok(SidecarText { id: None, description: text::description(&raw) }),
            Self::Json(_) => {
                let json = raw.strip_prefix('\u{feff}').unwrap_or(&raw);
                let fields = Fields::parse(json).map_err(|fault| {
                    let place = format!("line {} column {}", fault.line, fault.column);
                    let reason = format!("not valid JSON at {place}: {}", fault.detail);
                    Refusal::new("invalid_json", reason)
                })?;
                Ok(SidecarText { id: fields.id()?, description: fields.description() })
            }
        }
    }
}

/// The text of a file of at most [`MAX_SIDECAR_BYTES`]; a larger one is not read to its end.
fn read_limited(path: &Path, access: &FileAccess) -> Result<String, Refusal> {
    let unreadable = |error: ConfineError| Refusal::unreadable("unreadable_sidecar", &error);
    let mut bytes = Vec::new();
    let file = access.open(path).map_err(unreadable)?;
    let read = file.take(MAX_SIDECAR_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(error.into()))?;
    if bytes.len() as u64 > MAX_SIDECAR_BYTES {
        let reason = format!("more than {MAX_SIDECAR_BYTES} bytes, the limit for a description");
        return Err(Refusal::new("oversized_sidecar", reason));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        Refusal::new("invalid_utf8", format!("not UTF-8 from byte {at} on"))
    })
}
