use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;

use super::encoding;
use super::endings::{stem, without_ending};
use super::fields::{FieldNames, Fields};
use super::refusal::Refusal;
use super::text::{Captions, Texts};
use crate::dataset::names::composed;
use crate::sandbox::{ConfineError, FileAccess};

/// The largest `.txt` or `.json` beside a photo that is read, in bytes.
pub const MAX_SIDECAR_BYTES: u64 = 1 << 20;

/// The texts of one folder by the name they describe: `photo` for `photo.txt`, `photo.jpg` for
/// `photo.jpg.txt`. Names are compared composed, since systems differ in how they write letters
/// with marks.
#[derive(Debug, Default)]
pub(super) struct Sidecars {
    by_name: BTreeMap<String, Named>,
}

/// The files that describe one name; several only where case or composition differs (`a.txt`,
/// `a.TXT`).
#[derive(Debug, Default)]
struct Named {
    texts: Vec<String>,
    jsons: Vec<String>,
    used: bool,
}

/// What may describe a photo.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Candidates {
    pub texts: Vec<String>,
    pub jsons: Vec<String>,
}

/// What a sidecar says.
pub(super) struct SidecarText {
    pub file: String,
    pub id: Option<String>,
    /// Kept apart from the reading of the file, so that its refusal can name the item's own id.
    pub captions: Result<Captions, Refusal>,
    /// The photo's, where the file tells it.
    pub license: Option<String>,
}

/// Where sidecars lie and how they are read.
pub(super) trait Desk {
    /// The text of a file of at most [`MAX_SIDECAR_BYTES`].
    fn read(&self, file: &str) -> Result<String, Refusal>;

    fn names(&self) -> &FieldNames;

    fn text(&self, file: &str) -> Result<SidecarText, Refusal> {
        let captions = Texts::one(self.read(file)?).captions();
        Ok(SidecarText { file: file.to_owned(), id: None, captions, license: None })
    }

    fn json(&self, file: &str) -> Result<SidecarText, Refusal> {
        let json = self.read(file)?;
        let fields = Fields::parse(&json, self.names()).map_err(|fault| {
            let place = format!("line {} column {}", fault.line, fault.column);
            let reason = format!("not valid JSON at {place}: {}", fault.detail);
            Refusal::new("invalid_json", reason)
        })?;
        let captions = fields.captions().and_then(Texts::captions);
        let (id, license) = (fields.id()?, fields.license());
        Ok(SidecarText { file: file.to_owned(), id, captions, license })
    }
}

/// Sidecars in a folder.
pub(super) struct FolderDesk<'a> {
    pub folder: &'a Path,
    pub access: &'a FileAccess,
    pub names: &'a FieldNames,
}

/// What is said of a sidecar over [`MAX_SIDECAR_BYTES`].
pub(super) fn oversized() -> Refusal {
    let reason = format!("more than {MAX_SIDECAR_BYTES} bytes, the limit for a description");
    Refusal::new("oversized_sidecar", reason)
}

impl Sidecars {
    pub fn add_text(&mut self, file: &str) {
        self.add_named(file, file, false);
    }

    pub fn add_json(&mut self, file: &str) {
        self.add_named(file, file, true);
    }

    /// Adds a file that is known as `file` and describes what `name` does.
    pub fn add_named(&mut self, name: &str, file: &str, json: bool) {
        let named = self.by_name.entry(composed(stem(name))).or_default();
        if json { named.jsons.push(file.to_owned()) } else { named.texts.push(file.to_owned()) }
    }

    /// The files that may describe the photo called `photo`. Of a photo with two endings, such as
    /// `a.jpeg.jpg`, also those of `a`, if `is_free` says that no other photo has that name.
    pub fn of(&mut self, photo: &str, is_free: impl FnOnce(&str) -> bool) -> Candidates {
        let mut found = Candidates::default();
        for name in [stem(photo), photo] {
            self.take(name, &mut found);
        }
        let inner = without_ending(stem(photo));
        if found == Candidates::default() && inner != stem(photo) && is_free(inner) {
            self.take(inner, &mut found);
        }
        found
    }

    fn take(&mut self, name: &str, found: &mut Candidates) {
        let Some(named) = self.by_name.get_mut(&composed(name)) else { return };
        named.used = true;
        // A name that is the same byte by byte goes before those that only look the same.
        let of = |files: &[String]| {
            let same = files.iter().filter(|file| stem(file) == name).cloned();
            let same: Vec<_> = same.collect();
            if same.is_empty() { files.to_vec() } else { same }
        };
        found.texts.extend(of(&named.texts));
        found.jsons.extend(of(&named.jsons));
    }

    /// Files by the names they describe in small letters, to hint at a name that differs in case.
    pub fn in_small_letters(&self) -> HashMap<String, String> {
        let named = self.by_name.iter();
        let file = |named: &Named| named.texts.iter().chain(&named.jsons).next().cloned();
        named.filter_map(|(name, named)| Some((name.to_lowercase(), file(named)?))).collect()
    }

    /// The files that described no photo, in the order of their names.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let unused = self.by_name.values().filter(|named| !named.used);
        unused.flat_map(|named| named.texts.iter().chain(&named.jsons)).map(String::as_str)
    }
}

impl Candidates {
    /// What describes the photo: the `.txt` that is not empty, else the `.json`. Two that are not
    /// empty are refused, since nothing says which one holds. `None` where there is no file.
    ///
    /// # Errors
    /// The file that refuses, if it is one, and why.
    pub fn read(&self, desk: &dyn Desk) -> Option<Result<SidecarText, (Option<String>, Refusal)>> {
        let mut empty = None;
        for (files, json) in [(&self.texts, false), (&self.jsons, true)] {
            let mut full = Vec::new();
            for file in files {
                match if json { desk.json(file) } else { desk.text(file) } {
                    Ok(SidecarText { id, captions: Err(refusal), file, license })
                        if files.len() > 1 || refusal.code == "empty_description" =>
                    {
                        let captions = Err(refusal);
                        empty.get_or_insert(Ok(SidecarText { file, id, captions, license }));
                    }
                    Ok(text) => full.push(Ok(text)),
                    Err(refusal) => full.push(Err((Some(file.clone()), refusal))),
                }
            }
            if full.len() > 1 {
                let reason = format!("several descriptions: {}", files.join(", "));
                return Some(Err((None, Refusal::new("ambiguous_description", reason))));
            }
            if let Some(only) = full.pop() {
                // What lies beside an empty text says no more than that one if it fails itself.
                let failed =
                    only.as_ref().map_or(true, |text: &SidecarText| text.captions.is_err());
                return if failed { empty.or(Some(only)) } else { Some(only) };
            }
        }
        empty
    }
}

impl Desk for FolderDesk<'_> {
    fn read(&self, file: &str) -> Result<String, Refusal> {
        let unreadable = |error: ConfineError| Refusal::unreadable("unreadable_sidecar", &error);
        let mut bytes = Vec::new();
        let file = self.access.open(&self.folder.join(file)).map_err(unreadable)?;
        let read = file.take(MAX_SIDECAR_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| unreadable(error.into()))?;
        if bytes.len() as u64 > MAX_SIDECAR_BYTES {
            return Err(oversized());
        }
        encoding::text(bytes)
    }

    fn names(&self) -> &FieldNames {
        self.names
    }
}
