//! WebDatasets: tars of photos with their texts.

mod group;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use self::group::{Group, Kind, Photo, Said, Text};
use super::endings::{is_other_photo, stem, unread};
use super::error::could_pass;
use super::fields::FieldNames;
use super::ids::{IdBook, id_of_image};
use super::manifest::file_name;
use super::outlet::{Outlet, There};
use super::refusal::Refusal;
use super::sidecar::{MAX_SIDECAR_BYTES, oversized};
use super::{Emit, Opened, Reader, Source, SourceError, SourceKind, encoding, shards};
use crate::dataset::photos::tar::{Member, MemberKind, Members, TarFault};
use crate::dataset::{ImageRef, Place};
use crate::image::Format;
use crate::sandbox::{ConfineError, FileAccess};

fn expected() -> String {
    let photos = Format::ENDINGS.join(", ");
    format!("tars of photos ({photos}), each with a .txt, .json or .cls of the same name")
}

const ENDINGS: &[&str] = &["tar", "tar.gz", "tgz"];

/// Most bytes of texts that wait for their photos, in one tar.
const MAX_WAITING: usize = 64 << 20;

pub(super) const READER: Reader = Reader {
    kind: SourceKind::Webdataset,
    name: "webdataset",
    what: "a .tar of photos (WebDataset)",
    opened: Opened::Either,
    endings: ENDINGS,
    open: |path, options| match &options.images {
        Some(images) => Err(SourceError::ImagesNotUsed { images: images.clone() }),
        None => {
            let (access, fields) = (options.access.clone(), options.fields.clone());
            let files = shards::of(path, ENDINGS, &access)?;
            Ok(Box::new(WebDatasetSource { path: path.to_owned(), files, access, fields }))
        }
    },
};

/// Tars whose members are photos and their texts, as WebDataset has them: `0001.jpg` with
/// `0001.txt`, `0001.json` (an object with the fields of [`FieldNames`]) or `0001.cls` (a class's
/// name). They are read in place, one after the other, and compressed ones as a stream.
///
/// The parts of a sample stand side by side; such that do not are put together at the end of their
/// tar. The id is the member's name without ending, unless the `.json` has one; a name that an
/// earlier tar has, too, gets its own tar's name before it, and `#2` and so on behind it where an
/// earlier tar is called so, too.
///
/// Memory: the ids, and of each tar the names of photos that have no text yet.
#[derive(Debug)]
struct WebDatasetSource {
    path: PathBuf,
    files: Vec<PathBuf>,
    access: FileAccess,
    fields: FieldNames,
}

impl Source for WebDatasetSource {
    fn describe(&self) -> String {
        format!("WebDataset {} ({} files)", self.path.display(), self.files.len())
    }

    fn kind(&self) -> &'static str {
        "webdataset"
    }

    fn image_root(&self) -> Option<&Path> {
        self.files.first()?.parent()
    }

    fn read(&self, emit: &mut Emit<'_>) -> Result<(), SourceError> {
        let names: Vec<String> = self.files.iter().map(|path| file_name(path)).collect();
        let (mut out, mut ids, mut renamed) = (Outlet::new(emit), IdBook::new(), 0);
        for (number, path) in self.files.iter().enumerate() {
            let mut tar = Tar {
                source: self,
                path,
                names: &names,
                number: number as u32,
                out: &mut out,
                ids: &mut ids,
                renamed: 0,
                waiting: Vec::new(),
                place: HashMap::new(),
                held: 0,
                failed: None,
            };
            if tar.read().is_break() {
                return tar.failed.map_or(Ok(()), Err);
            }
            renamed += tar.renamed;
        }
        if renamed > 0 {
            tracing::warn!(
                photos = renamed,
                "names that stand in an earlier tar, too, got their own tar's name before them"
            );
        }
        out.conclude(&self.path, &expected())
    }
}

/// One tar as it is read.
struct Tar<'s, 'o, 'a, 'b> {
    source: &'s WebDatasetSource,
    path: &'s Path,
    /// Of all tars.
    names: &'s [String],
    number: u32,
    out: &'o mut Outlet<'a, 'b>,
    /// With the number of the tar of each.
    ids: &'o mut IdBook<u32>,
    /// Ids that got the tar's name.
    renamed: u64,
    /// Groups that lack a text or a photo.
    waiting: Vec<Group>,
    /// Their places by name.
    place: HashMap<String, usize>,
    /// Bytes of texts among them.
    held: usize,
    /// Why the source ends here, where the caller did not ask it to.
    failed: Option<SourceError>,
}

impl Tar<'_, '_, '_, '_> {
    fn name(&self) -> &str {
        &self.names[self.number as usize]
    }

    /// A member as messages and records name it.
    fn below(&self, member: &str) -> String {
        format!("{}/{member}", self.name())
    }

    fn read(&mut self) -> ControlFlow<()> {
        let opened = self.source.access.open(self.path);
        let opened = opened.and_then(|file| Members::new(file).map_err(ConfineError::from));
        let mut members = match opened {
            Ok(members) => members,
            Err(ConfineError::Io(error)) if could_pass(&error) => return self.fail(error),
            Err(error) => {
                let name = self.name().to_owned();
                let refusal = Refusal::unreadable("unreadable_file", &error);
                return self.out.refuse(&name, refusal.at(&name));
            }
        };
        let mut group = Group::default();
        loop {
            let part = match members.next_member() {
                Ok(None) => break,
                Ok(Some(member)) => part(&mut members, member),
                Err(fault) => Err(fault),
            };
            match part {
                Ok(Some(Part { key, part })) => {
                    if key != group.key {
                        self.close(std::mem::replace(&mut group, Group::of(key)))?;
                    }
                    match part {
                        Ok(part) => {
                            if let Err(refused) = group.add(part) {
                                self.refuse(refused)?;
                            }
                        }
                        Err(refused) => self.refuse(refused)?,
                    }
                }
                Ok(None) => {}
                Err(fault) => self.fault(fault)?,
            }
        }
        self.close(group)?;
        for group in std::mem::take(&mut self.waiting) {
            self.send(group)?;
        }
        ControlFlow::Continue(())
    }

    /// Refuses a member.
    fn refuse(&mut self, (member, refusal): (String, Refusal)) -> ControlFlow<()> {
        let place = self.below(&member);
        self.out.refuse(&place, refusal.at(&place))
    }

    /// Ends the source: a tar that may be whole the next time is not one without photos, which
    /// would be taken for gone.
    fn fail(&mut self, error: std::io::Error) -> ControlFlow<()> {
        self.failed = Some(SourceError::Io(error));
        ControlFlow::Break(())
    }

    fn fault(&mut self, fault: TarFault) -> ControlFlow<()> {
        let code = match &fault {
            TarFault::CutShort(_) => "tar_cut_short",
            TarFault::Damaged { .. } => "tar_damaged",
            TarFault::LongName { .. } => "invalid_file_name",
            TarFault::Io(_) => "unreadable_file",
        };
        match fault {
            TarFault::Io(error) if could_pass(&error) => self.fail(error),
            fault => {
                let name = self.name().to_owned();
                self.out.refuse(&name, Refusal::new(code, fault.to_string()).at(&name))
            }
        }
    }

    /// Sends a group of which every photo has its text; another one waits.
    fn close(&mut self, mut group: Group) -> ControlFlow<()> {
        if group.is_empty() {
            return ControlFlow::Continue(());
        }
        if group.is_complete() {
            return self.send(group);
        }
        for text in &mut group.texts {
            let bytes = text.text.as_ref().map_or(0, String::len);
            if self.held + bytes > MAX_WAITING {
                let reason = format!(
                    "its photo does not stand beside it, and texts of more than {MAX_WAITING} bytes \
                     wait for theirs: sort the tar's members by name"
                );
                text.text = Err(Refusal::new("oversized_sidecar", reason));
            } else {
                self.held += bytes;
            }
        }
        match self.place.get(&group.key).copied() {
            Some(at) => {
                for refused in self.waiting[at].join(group) {
                    self.refuse(refused)?;
                }
            }
            None => {
                self.place.insert(group.key.clone(), self.waiting.len());
                self.waiting.push(group);
            }
        }
        ControlFlow::Continue(())
    }

    fn send(&mut self, mut group: Group) -> ControlFlow<()> {
        for at in 0..group.photos.len() {
            let photo = group.photos[at].clone();
            self.photo(&mut group, &photo)?;
        }
        for orphan in group.unused() {
            let place = self.below(orphan);
            let reason = match self.ids.place(&id_of_image(stem(orphan))) {
                Some(number) if *number == self.number => {
                    "its photo has another text that stood beside it"
                }
                _ => "it describes no photo of this tar",
            };
            self.out.refuse(&place, Refusal::new("missing_image", reason).at(&place))?;
        }
        ControlFlow::Continue(())
    }

    fn photo(&mut self, group: &mut Group, photo: &Photo) -> ControlFlow<()> {
        let told = group.told(photo, &self.source.fields);
        let place = self.below(&photo.name);
        let (own, license) = match &told {
            Ok(told) => (told.id.clone(), told.license.clone()),
            Err(_) => (None, None),
        };
        let id = match own {
            Some(id) => id,
            None => self.made_id(&photo.name),
        };
        let bytes = Place::Tar { start: photo.start, len: photo.len };
        let image = ImageRef::member(self.path, &*photo.name).at(bytes);
        let names = self.names;
        let claimed = self.ids.claim(&id, self.number, |number| names[*number as usize].clone());
        if let Err(refusal) = claimed {
            let subject = super::ids::printable(&id).unwrap_or(&place);
            return self.out.refuse(subject, refusal.at(&place));
        }
        let (from, captions) = match told {
            Ok(told) => (self.below(&told.file), told.captions),
            Err((file, refusal)) => {
                (file.map_or_else(|| place.clone(), |file| self.below(&file)), Err(refusal))
            }
        };
        self.out.told(There { id: &id, image, origin: &place, license }, captions, &from)
    }

    /// The id that a member's name makes.
    fn made_id(&mut self, member: &str) -> String {
        let name = id_of_image(member);
        match self.ids.place(&name) {
            Some(other) if *other != self.number => {
                self.renamed += 1;
                let tar = self.name();
                let name = format!("{}/{name}", tar.split_once('.').map_or(tar, |(stem, _)| stem));
                // Another tar may be called so in another folder.
                match self.ids.place(&name) {
                    Some(other) if *other != self.number => self.ids.free(name),
                    _ => name,
                }
            }
            _ => name,
        }
    }
}

/// A member that belongs to a sample, or why it is refused.
struct Part {
    key: String,
    part: Result<Said, (String, Refusal)>,
}

/// What a member is to a sample; `None` where it is none of our business.
fn part(members: &mut Members, member: Member) -> Result<Option<Part>, TarFault> {
    let Member { name, sound, kind, start, len } = member;
    let aside = |part: &str| part == "__MACOSX" || part.starts_with('.') && part != "..";
    let hidden = name.split('/').any(aside);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let (Some(ending), false) = (ending, hidden || kind == MemberKind::Folder) else {
        return Ok(None);
    };
    let text = match &*ending {
        "txt" => Some(Kind::Text),
        "json" => Some(Kind::Json),
        "cls" => Some(Kind::Class),
        _ => None,
    };
    if text.is_none() && !Format::is_ending(&ending) && !is_other_photo(&ending) {
        return Ok(None);
    }
    let key = group::key(&name).to_owned();
    let refused = |code, reason: String| {
        Ok(Some(Part { key: key.clone(), part: Err((name.clone(), Refusal::new(code, reason))) }))
    };
    if !sound {
        let reason = "the name is not UTF-8, or leads to a folder above".to_owned();
        return refused("invalid_file_name", reason);
    }
    if let MemberKind::Other(what) = kind {
        return refused("not_a_file", format!("it is {what} in the tar"));
    }
    let Some(kind) = text else {
        members.pass_data()?;
        if is_other_photo(&ending) {
            return refused("unsupported_format", unread(&ending));
        }
        return Ok(Some(Part { key, part: Ok(Said::Photo(Photo { name, start, len })) }));
    };
    let text = match members.read_data(MAX_SIDECAR_BYTES)? {
        Some(bytes) => encoding::text(bytes),
        None => Err(oversized()),
    };
    Ok(Some(Part { key, part: Ok(Said::Text(Text { name, kind, text })) }))
}

#[cfg(test)]
mod tests;
