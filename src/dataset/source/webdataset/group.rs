use super::super::fields::FieldNames;
use super::super::refusal::Refusal;
use super::super::sidecar::{Candidates, Desk, SidecarText, Sidecars};

/// Members whose names agree up to the first point behind their folder.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub key: String,
    pub photos: Vec<Photo>,
    pub texts: Vec<Text>,
    /// Names of texts that described a photo.
    used: Vec<String>,
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

    pub fn add(&mut self, said: Said) {
        match said {
            Said::Photo(photo) => self.photos.push(photo),
            Said::Text(mut text) => {
                let same = self.texts.iter().filter(|other| other.name == text.name).count();
                if same > 0 {
                    text.name = format!("{}#{}", text.name, same + 1);
                }
                self.texts.push(text);
            }
        }
    }

    pub fn join(&mut self, other: Self) {
        other.photos.into_iter().for_each(|photo| self.photos.push(photo));
        other.texts.into_iter().for_each(|text| self.add(Said::Text(text)));
    }

    pub fn is_empty(&self) -> bool {
        self.photos.is_empty() && self.texts.is_empty()
    }

    /// Whether there are photos, and something is said of each.
    pub fn is_complete(&self) -> bool {
        let has_text = |photo: &Photo| self.candidates(photo) != Candidates::default();
        !self.photos.is_empty() && self.photos.iter().all(has_text)
    }

    /// Texts that described no photo.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let names = self.texts.iter().map(|text| &*text.name);
        names.filter(|name| !self.used.iter().any(|used| used == name))
    }

    /// What may describe a photo: of its name, or, where it is the only one, whatever there is.
    fn candidates(&self, photo: &Photo) -> Candidates {
        let mut sidecars = Sidecars::default();
        for Text { name, kind, .. } in &self.texts {
            // `a.txt#2`, of that name, too.
            let plain = name.split_once('#').map_or(&**name, |(plain, _)| plain);
            match kind {
                Kind::Text => sidecars.add_named(plain, name, false),
                Kind::Json => sidecars.add_named(plain, name, true),
                Kind::Class => {}
            }
        }
        let others = |name: &str| !self.photos.iter().any(|other| other.name == name);
        let mut found = sidecars.of(&photo.name, others);
        if found == Candidates::default() && self.photos.len() <= 1 {
            for Text { name, kind, .. } in &self.texts {
                match kind {
                    Kind::Text => found.texts.push(name.clone()),
                    Kind::Json => found.jsons.push(name.clone()),
                    Kind::Class => {}
                }
            }
        }
        if found == Candidates::default() {
            let classes = self.texts.iter().filter(|text| text.kind == Kind::Class);
            found.texts = classes.map(|text| text.name.clone()).collect();
        }
        found
    }

    /// What is said of a photo.
    pub fn told(
        &mut self,
        photo: &Photo,
        names: &FieldNames,
    ) -> Result<SidecarText, (Option<String>, Refusal)> {
        let candidates = self.candidates(photo);
        self.used.extend(candidates.texts.iter().chain(&candidates.jsons).cloned());
        // A class beside a text is metadata.
        let classes = self.texts.iter().filter(|text| text.kind == Kind::Class);
        self.used.extend(classes.map(|text| text.name.clone()));
        candidates.read(&Members { texts: &self.texts, names }).unwrap_or_else(|| {
            let reason = "no description: neither .txt nor .json of its name is in the tar";
            Err((None, Refusal::new("missing_description", reason)))
        })
    }
}

/// The texts of a group.
struct Members<'a> {
    texts: &'a [Text],
    names: &'a FieldNames,
}

impl Desk for Members<'_> {
    fn read(&self, file: &str) -> Result<String, Refusal> {
        let Some(text) = self.texts.iter().find(|text| text.name == file) else {
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
