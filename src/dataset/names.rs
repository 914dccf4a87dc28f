//! Photos whose names do not stand on the disk just so: found where only the spelling differs,
//! hinted at where more does.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;

use super::{ImageRef, Photos};

/// Names of files that are held at most, over all folders.
const MAX_HELD: usize = 1 << 20;

/// Hints given at most: each may list folders, and after so many the kind of the fault is plain.
const MAX_HINTS: usize = 1000;

/// Subfolders of the image folder that a hint looks into.
const MAX_SUBFOLDERS: usize = 32;

/// Finds photos by names that other systems wrote.
///
/// Found is what differs in nothing but the spelling: `\` for `/` (`.\a.jpg`), percent-encoding
/// (`my%20photo.jpg`), white space around the name, and how letters with marks are composed
/// (Unicode normalisation). Letters of another case, other endings and other folders are hinted at.
/// Nothing is looked for outside the folder that the name itself leads to: no other spelling may
/// add a `..` or make a relative name absolute, and whatever is looked at is looked at through
/// [`Photos`], which keeps to what may be read.
pub struct Names<'a> {
    photos: &'a dyn Photos,
    /// The folder that names are relative to.
    root: Option<PathBuf>,
    folders: Mutex<Folders>,
    hints: AtomicUsize,
}

#[derive(Default)]
struct Folders {
    known: HashMap<PathBuf, Arc<Folder>>,
    held: usize,
}

/// The names in one folder.
#[derive(Default)]
struct Folder {
    /// By their composed form; `None` where two have the same.
    composed: HashMap<String, Option<String>>,
    /// By their form in small letters and without ending.
    folded: HashMap<String, String>,
    /// The first ones without an ending: subfolders, most likely.
    plain: Vec<String>,
}

impl<'a> Names<'a> {
    /// Of the photos of a source whose image names are relative to `root`, where it has one.
    pub fn new(photos: &'a dyn Photos, root: Option<&Path>) -> Self {
        let root = root.map(Path::to_owned);
        Self { photos, root, folders: Mutex::default(), hints: AtomicUsize::new(0) }
    }

    /// The photo that is meant by a name at which no photo lies.
    pub fn find(&self, photo: &ImageRef) -> Option<ImageRef> {
        let (base, name) = self.split(photo)?;
        let spellings = spellings(&name);
        let other = spellings.iter().find(|spelling| self.is_there(&base.join(spelling)));
        if let Some(other) = other {
            return Some(ImageRef::file(base.join(other)));
        }
        let mut all = spellings.iter().chain([&name]);
        all.find_map(|name| self.composed(&base, name)).map(ImageRef::file)
    }

    /// What to say of a name at which no photo lies; `None` where nothing is near.
    pub fn hint(&self, photo: &ImageRef) -> Option<String> {
        if self.hints.fetch_add(1, Ordering::Relaxed) >= MAX_HINTS {
            return None;
        }
        let (base, name) = self.split(photo)?;
        let plain = spellings(&name).pop().unwrap_or_else(|| name.clone());
        let plain = plain.replace('\\', "/");
        let (folder, file) = match plain.rsplit_once('/') {
            Some((folder, file)) => (base.join(folder), file),
            None => (base.clone(), &*plain),
        };
        let near = |folder: &Path| self.folder(folder).folded.get(&folded(file)).cloned();
        if let Some(near) = near(&folder) {
            return Some(format!(
                "`{near}` lies there: a name must agree in capital letters and in its ending"
            ));
        }
        let root = self.root.as_deref()?;
        if let Some(near) = near(root) {
            let shown = root.display();
            return Some(format!(
                "`{near}` lies in {shown} itself: check --images and the names' folders"
            ));
        }
        let subfolders = &self.folder(root).plain;
        let sub = subfolders.iter().find(|sub| self.is_there(&root.join(sub).join(file)));
        let found = sub.map(|sub| {
            format!(
                "{} is there: check --images and the names' folders",
                root.join(sub).join(file).display()
            )
        });
        let windows = || {
            let said = "the name holds `\\`, which parts folders on Windows alone: write `/`";
            name.contains('\\').then(|| said.to_owned())
        };
        found.or_else(windows)
    }

    /// The folder that a photo's name is relative to, and the name; a name that leads elsewhere is
    /// relative to the root of the disk.
    fn split(&self, photo: &ImageRef) -> Option<(PathBuf, String)> {
        let path = photo.path()?;
        let below =
            self.root.as_deref().and_then(|root| Some((root, path.strip_prefix(root).ok()?)));
        let (base, name) = match below {
            Some((root, name)) => (root, name),
            None if path.is_absolute() => (Path::new("/"), path.strip_prefix("/").ok()?),
            None => (Path::new(""), path),
        };
        Some((base.to_owned(), name.to_str()?.to_owned()))
    }

    fn is_there(&self, path: &Path) -> bool {
        !self.photos.stamp(&ImageRef::file(path)).is_empty()
    }

    /// What lies at `name` below `base`, if its letters are composed otherwise.
    fn composed(&self, base: &Path, name: &str) -> Option<PathBuf> {
        // Letters without marks are composed in one way only.
        if name.is_ascii() {
            return None;
        }
        let mut path = base.to_owned();
        for part in name.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return None;
            }
            if part.is_ascii() || self.is_there(&path.join(part)) {
                path.push(part);
                continue;
            }
            let folder = self.folder(&path);
            path.push(folder.composed.get(&composed(part))?.as_ref()?);
        }
        self.is_there(&path).then_some(path)
    }

    fn folder(&self, path: &Path) -> Arc<Folder> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = folders.known.get(path) {
            return Arc::clone(folder);
        }
        let names = self.photos.names(path);
        folders.held += names.len();
        if folders.held > MAX_HELD {
            folders.held = names.len();
            folders.known.clear();
        }
        let folder = Arc::new(Folder::of(names));
        folders.known.insert(path.to_owned(), Arc::clone(&folder));
        folder
    }
}

impl Folder {
    fn of(names: Vec<String>) -> Self {
        let mut folder = Self::default();
        for name in names {
            match folder.composed.entry(composed(&name)) {
                Entry::Vacant(entry) => _ = entry.insert(Some(name.clone())),
                Entry::Occupied(mut entry) => _ = entry.insert(None),
            }
            if !name.contains('.') && folder.plain.len() < MAX_SUBFOLDERS {
                folder.plain.push(name.clone());
            }
            folder.folded.entry(folded(&name)).or_insert(name);
        }
        folder
    }
}

/// Other ways to write a name, the one that is farthest from it last.
fn spellings(name: &str) -> Vec<String> {
    let slashes = name.replace('\\', "/");
    let decode =
        |name: &str| percent_decode_str(name).decode_utf8().ok().map(|name| name.into_owned());
    let mut found: Vec<String> = Vec::new();
    for other in
        [Some(name.trim().to_owned()), decode(name), Some(slashes.clone()), decode(slashes.trim())]
    {
        let Some(other) = other else { continue };
        let climbs = |name: &str| name.split('/').any(|part| part == "..");
        let allowed =
            !other.starts_with('/') && !climbs(&other) && !other.contains(char::is_control);
        let other = tidied(&other);
        if allowed && !other.is_empty() && other != name && !found.contains(&other) {
            found.push(other);
        }
    }
    found
}

/// A name with its accents composed, as most systems write it.
pub(super) fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// A name without empty parts and without those that say "here".
pub(super) fn tidied(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

/// A name by which near ones are found: composed, in small letters, without a short ending.
fn folded(name: &str) -> String {
    let composed = composed(name).to_lowercase();
    match composed.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= 5 => stem.to_owned(),
        _ => composed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{FileAccess, ImageRoots};

    fn world() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let decomposed: String = "Übung.jpg".nfd().collect();
        let files =
            ["photos/p0.jpg", "photos/my photo.jpg", "photos/50%.jpg", "photos/sub/IMG_1.JPG"];
        for name in files.into_iter().chain([&*format!("photos/{decomposed}"), "secret.jpg"]) {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs_err::write(path, "x").expect("written");
        }
        folder
    }

    /// The name below `photos` of what each name finds.
    fn finds(access: &FileAccess, world: &Path, names: &[&str]) -> Vec<Option<String>> {
        let root = world.join("photos");
        let all = Names::new(access, Some(&root));
        let find = |name: &&str| {
            let found = all.find(&ImageRef::file(root.join(name)))?;
            Some(found.export_name(Some(&root)).nfc().collect())
        };
        names.iter().map(find).collect()
    }

    #[test]
    fn another_spelling_is_found_and_leads_nowhere_else() {
        let world = world();
        let roots = ImageRoots::open(&[world.path().join("photos")]).expect("a root");
        for access in [FileAccess::Anywhere, FileAccess::Below(Arc::new(roots))] {
            let found = [
                ".\\p0.jpg",
                "my%20photo.jpg",
                " p0.jpg ",
                "sub\\IMG_1.JPG",
                "sub%2FIMG_1.JPG",
                "Übung.jpg",
                "%C3%9Cbung.jpg",
                "sub/./IMG%5F1.JPG",
            ];
            let expected = [
                "p0.jpg",
                "my photo.jpg",
                "p0.jpg",
                "sub/IMG_1.JPG",
                "sub/IMG_1.JPG",
                "Übung.jpg",
                "Übung.jpg",
                "sub/IMG_1.JPG",
            ];
            let seen = finds(&access, world.path(), &found);
            assert_eq!(seen, expected.map(|name| Some(name.to_owned())));
            let secret = world.path().join("secret.jpg");
            let absolute = secret.to_string_lossy().replace('/', "%2F");
            let nothing = [
                "P0.jpg",
                "none.jpg",
                "..\\secret.jpg",
                "%2e%2e/secret.jpg",
                "..%2fsecret.jpg",
                "sub/..\\..\\secret.jpg",
                "p0.jpg%00",
                "%FF.jpg",
                "",
                &absolute,
            ];
            assert_eq!(finds(&access, world.path(), &nothing), vec![None; nothing.len()]);
        }
    }

    #[test]
    fn what_is_near_is_hinted_at() {
        let world = world();
        let root = world.path().join("photos");
        let hint = |name: &str| {
            let names = Names::new(&FileAccess::Anywhere, Some(&root));
            names.hint(&ImageRef::file(root.join(name))).unwrap_or_default()
        };
        assert!(hint("P0.JPG").contains("`p0.jpg` lies there"), "{}", hint("P0.JPG"));
        assert!(hint("p0.jpeg").contains("`p0.jpg`"));
        assert!(hint("p0").contains("`p0.jpg`"));
        assert!(hint("train2017/p0.jpg").contains("--images"));
        assert!(hint("C:\\data\\p0.jpg").contains("`p0.jpg`"));
        assert!(hint("/home/other/photos/p0.jpg").contains("`p0.jpg`"));
        assert!(hint("IMG_1.JPG").contains("sub/IMG_1.JPG is there"), "{}", hint("IMG_1.JPG"));
        assert!(hint("x\\none.jpg").contains('/'));
        assert_eq!(hint("none.jpg"), "");
    }
}
