use std::collections::{HashMap, HashSet};

use super::super::fields::FieldNames;
use super::super::refusal::Refusal;
use super::super::sidecar::{Candidates, Desk, SidecarText, Sidecars};

/// Most bytes of names and texts that one sample's members may have: they are held together.
const MAX_BYTES: usize = 64 << 20;

/// Most texts of one name. Each photo of that name looks at all of them.
const MAX_SAME: usize = 64;

/// Most classes that are looked at for a photo: more than one that says something is refused.
const MAX_CLASSES: usize = 64;

/// Members whose names agree up to the first point behind their folder.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub key: String,
    pub photos: Vec<Photo>,
    pub texts: Vec<Text>,
    /// Places of the texts by their names.
    places: HashMap<String, usize>,
    /// How many texts came under a name.
    same: HashMap<String, usize>,
    /// Bytes of names and texts.
    held: usize,
    /// Made when it is first asked for, of what there is by then.
    index: Option<Index>,
    /// Names of texts that described a photo.
    used: HashSet<String>,
    /// Whether a photo asked what is said of it.
    is_told: bool,
}

/// What a group's photos are looked up in.
#[derive(Debug)]
struct Index {
    sidecars: Sidecars,
    photos: HashSet<String>,
    /// Names of texts by their kinds.
    texts: Vec<String>,
    jsons: Vec<String>,
    classes: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Photo {
    pub name: String,
    pub start: u64,
    pub len: u64,
}

#[derive(Debug)]
pub(super) struct Text {
    pub name: String,
    pub kind: Kind,
    pub text: Result<String, Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Json,
    /// A class's name or number.
    Class,
}

#[derive(Debug)]
pub(super) enum Said {
    Photo(Photo),
    Text(Text),
}

/// What groups the members of a sample: the folder, and the name up to its first point.
pub(super) fn key(member: &str) -> &str {
    let file = member.rfind('/').map_or(0, |at| at + 1);
    // A name that begins with a point is hidden, and no sample's.
    let point = member[file..].find('.').map_or(member.len(), |at| file + at);
    &member[..point]
}

impl Group {
    pub fn of(key: String) -> Self {
        Self { key, ..Self::default() }
    }

    /// # Errors
    /// The member that is too much, and why.
    pub fn add(&mut self, said: Said) -> Result<(), (String, Refusal)> {
        let refused =
            |name: String, reason: String| Err((name, Refusal::new("oversized_group", reason)));
        let (name, bytes) = match &said {
            Said::Photo(photo) => (&photo.name, 0),
            Said::Text(text) => (&text.name, text.text.as_ref().map_or(0, String::len)),
        };
        let bytes = bytes + name.len();
        if self.held + bytes > MAX_BYTES {
            let reason = format!(
                "the members of `{}` have more than {MAX_BYTES} bytes of names and texts, the \
                 limit for one sample",
                self.key.chars().take(80).collect::<String>()
            );
            return refused(name.clone(), reason);
        }
        match said {
            Said::Photo(photo) => self.photos.push(photo),
            Said::Text(mut text) => {
                let count = self.same.entry(text.name.clone()).or_default();
                if *count == MAX_SAME {
                    let reason = format!("{MAX_SAME} texts of this name stand before it");
                    return refused(text.name, reason);
                }
                *count += 1;
                if *count > 1 {
                    let mut name = format!("{}#{count}", text.name);
                    while self.places.contains_key(&name) {
                        name.push('#');
                    }
                    text.name = name;
                }
                self.places.insert(text.name.clone(), self.texts.len());
                self.texts.push(text);
            }
        }
        self.held += bytes;
        self.index = None;
        Ok(())
    }

    /// Adds what another group holds; gives what is too much.
    pub fn join(&mut self, other: Self) -> Vec<(String, Refusal)> {
        let photos = other.photos.into_iter().map(Said::Photo);
        let all = photos.chain(other.texts.into_iter().map(Said::Text));
        all.filter_map(|said| self.add(said).err()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.photos.is_empty() && self.texts.is_empty()
    }

    /// Whether there are photos, and something is said of each.
    pub fn is_complete(&mut self) -> bool {
        !self.photos.is_empty()
            && (0..self.photos.len()).all(|at| {
                let name = self.photos[at].name.clone();
                self.candidates(&name) != Candidates::default()
            })
    }

    /// Texts that described no photo. A class beside a text is metadata.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let is_used = move |text: &Text| {
            text.kind == Kind::Class && self.is_told || self.used.contains(&text.name)
        };
        self.texts.iter().filter(move |text| !is_used(text)).map(|text| &*text.name)
    }

    /// What may describe a photo: of its name, or, where it is the only one, whatever there is.
    fn candidates(&mut self, photo: &str) -> Candidates {
        let index = self.index.get_or_insert_with(|| Index::of(&self.photos, &self.texts));
        let photos = &index.photos;
        let mut found = index.sidecars.of(photo, |name| !photos.contains(name));
        if found == Candidates::default() && self.photos.len() <= 1 {
            found.texts.clone_from(&index.texts);
            found.jsons.clone_from(&index.jsons);
        }
        if found == Candidates::default() {
            found.texts = index.classes.iter().take(MAX_CLASSES).cloned().collect();
        }
        found
    }

    /// What is said of a photo.
    pub fn told(
        &mut self,
        photo: &Photo,
        names: &FieldNames,
    ) -> Result<SidecarText, (Option<String>, Refusal)> {
        let candidates = self.candidates(&photo.name);
        self.used.extend(candidates.texts.iter().chain(&candidates.jsons).cloned());
        self.is_told = true;
        let desk = Members { texts: &self.texts, places: &self.places, names };
        candidates.read(&desk).unwrap_or_else(|| {
            let reason = "no description: neither .txt nor .json of its name is in the tar";
            Err((None, Refusal::new("missing_description", reason)))
        })
    }
}

impl Index {
    fn of(photos: &[Photo], texts: &[Text]) -> Self {
        let mut index = Self {
            sidecars: Sidecars::default(),
            photos: photos.iter().map(|photo| photo.name.clone()).collect(),
            texts: Vec::new(),
            jsons: Vec::new(),
            classes: Vec::new(),
        };
        for Text { name, kind, .. } in texts {
            // `a.txt#2`, of that name, too.
            let plain = name.split_once('#').map_or(&**name, |(plain, _)| plain);
            match kind {
                Kind::Text => index.sidecars.add_named(plain, name, false),
                Kind::Json => index.sidecars.add_named(plain, name, true),
                Kind::Class => {}
            }
            let names = match kind {
                Kind::Text => &mut index.texts,
                Kind::Json => &mut index.jsons,
                Kind::Class => &mut index.classes,
            };
            names.push(name.clone());
        }
        index
    }
}

/// The texts of a group.
struct Members<'a> {
    texts: &'a [Text],
    places: &'a HashMap<String, usize>,
    names: &'a FieldNames,
}

impl Desk for Members<'_> {
    fn read(&self, file: &str) -> Result<String, Refusal> {
        let Some(text) = self.places.get(file).and_then(|at| self.texts.get(*at)) else {
            return Err(Refusal::new("missing_description", "no description"));
        };
        let said = text.text.clone()?;
        if text.kind == Kind::Class && said.trim().parse::<f64>().is_ok() {
            let reason = format!("nothing but the number of a class ({})", said.trim());
            return Err(Refusal::new("missing_description", reason));
        }
        Ok(said)
    }

    fn names(&self) -> &FieldNames {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, text: String) -> Said {
        Said::Text(Text { name: name.into(), kind: Kind::Text, text: Ok(text) })
    }

    #[test]
    fn a_group_is_bounded() {
        let mut group = Group::of("a".into());
        group.add(text("a.txt", "x".repeat(MAX_BYTES / 2))).expect("room");
        let (name, refusal) =
            group.add(text("a.b.txt", "x".repeat(MAX_BYTES / 2))).expect_err("too much");
        assert_eq!((&*name, refusal.code), ("a.b.txt", "oversized_group"));
        let mut group = Group::of("a".into());
        let added = (0..MAX_SAME + 2).filter(|_| group.add(text("a.txt", "x".into())).is_ok());
        assert_eq!(added.count(), MAX_SAME);
        let names: HashSet<&str> = group.texts.iter().map(|text| &*text.name).collect();
        assert_eq!(names.len(), MAX_SAME);
    }
}
