//! The models that are known by name: `models/catalog.toml`, which is part of the program, the
//! sentence embedders of `fastembed`, and the user's own file beside them.

mod entry;
mod sentence;

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::base::paths;

pub use entry::{CatalogFile, CatalogModel, ModelKind};
pub(crate) use entry::{is_sha256, valid_repo};

/// The catalog that comes with the program.
const BUILT_IN: &str = include_str!("../../../models/catalog.toml");

/// The name that messages give the built-in catalog.
const BUILT_IN_NAME: &str = "models/catalog.toml";

/// Names closer than this (Jaro-Winkler, 0 to 1) are suggested for one that is not known.
const ALIKE: f64 = 0.75;

/// Every model known by name.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    models: Vec<CatalogModel>,
    /// The user's file, whether it exists or not; none where no home folder is known.
    user: Option<PathBuf>,
}

/// Why a catalog or a name in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path}: not a model catalog: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("{path}: model {name:?}: {problem}")]
    Entry { path: PathBuf, name: String, problem: String },
    #[error(
        "no model is called {name:?}, and no folder here is{}; `pairwright models list` shows all, `pairwright models \
         add` makes one known",
        suggestion(nearest)
    )]
    Unknown { name: String, nearest: Vec<String> },
    #[error(
        "{path} has a model called {name:?} already: take another name, or remove its entry there"
    )]
    Exists { path: PathBuf, name: String },
    #[error(
        "no place for your own catalog is known: set PAIRWRIGHT_CATALOG to a file, or HOME to your \
         home folder"
    )]
    NoPlace,
}

impl Failure for CatalogError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => ErrorKind::of_io(source),
            Self::Syntax { .. } | Self::Entry { .. } | Self::NoPlace => ErrorKind::InvalidInput,
            Self::Unknown { .. } => ErrorKind::NotFound,
            Self::Exists { .. } => ErrorKind::AlreadyExists,
        }
    }

    fn code(&self) -> &'static str {
        "catalog_invalid"
    }
}

/// The name that `--model` and `model.path` mean, unless they mean a folder: what has no folder
/// part, and is no folder here.
pub fn name_in(path: &Path) -> Option<&str> {
    let mut parts = path.components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) if !path.is_dir() => name.to_str(),
        _ => None,
    }
}

fn suggestion(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

impl Catalog {
    /// Reads the built-in catalog and the user's, whose entries win over built-in ones of the same
    /// name.
    ///
    /// # Errors
    /// The user's file cannot be read, or an entry is wrong; the message names both.
    pub fn load() -> Result<Self, CatalogError> {
        Self::with_user(user_file())
    }

    /// As [`Catalog::load`], with the user's file given.
    ///
    /// # Errors
    /// As [`Catalog::load`].
    pub fn with_user(user: Option<PathBuf>) -> Result<Self, CatalogError> {
        let mut models = match &user {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        let built_in = entry::parse(BUILT_IN, Path::new(BUILT_IN_NAME))?;
        for built_in in built_in.into_iter().chain(sentence::models()) {
            if !models.iter().any(|own| own.name == built_in.name) {
                models.push(built_in);
            }
        }
        Ok(Self { models, user })
    }

    /// All models, the user's own first.
    pub fn models(&self) -> &[CatalogModel] {
        &self.models
    }

    /// The model of this name.
    ///
    /// # Errors
    /// [`CatalogError::Unknown`] with the names nearest to it.
    pub fn find(&self, name: &str) -> Result<&CatalogModel, CatalogError> {
        let found = self.models.iter().find(|model| model.name == name);
        found
            .ok_or_else(|| CatalogError::Unknown { name: name.into(), nearest: self.nearest(name) })
    }

    /// Adds a model to the user's file. Returns the file.
    ///
    /// # Errors
    /// The name is taken there, or the file cannot be written.
    pub fn add(&self, model: &CatalogModel) -> Result<PathBuf, CatalogError> {
        let path = self.user.clone().ok_or(CatalogError::NoPlace)?;
        append(&path, model)?;
        Ok(path)
    }

    fn nearest(&self, name: &str) -> Vec<String> {
        let wanted = name.to_lowercase();
        let mut scored: Vec<(f64, &str)> = self
            .models
            .iter()
            .map(|model| (strsim::jaro_winkler(&wanted, &model.name), model.name.as_str()))
            .filter(|(score, _)| *score >= ALIKE)
            .collect();
        scored.sort_by(|left, right| right.0.total_cmp(&left.0));
        scored.into_iter().take(2).map(|(_, name)| name.to_owned()).collect()
    }
}

/// Names the user's catalog; an empty value is as good as none.
const VARIABLE: &str = "PAIRWRIGHT_CATALOG";

/// Where the user's catalog is, whether it exists or not: `PAIRWRIGHT_CATALOG`, or
/// `pairwright/models.toml` in the user's configuration folder.
pub fn user_file() -> Option<PathBuf> {
    paths::from_variable(VARIABLE)
        .or_else(|| Some(paths::user_config()?.join("pairwright/models.toml")))
}

/// Reads the user's catalog; one that is not there has no models.
fn read(path: &Path) -> Result<Vec<CatalogModel>, CatalogError> {
    match fs_err::read_to_string(path) {
        Ok(text) => entry::parse(&text, path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(CatalogError::Io { path: path.to_owned(), source }),
    }
}

#[derive(Serialize)]
struct Appended<'a> {
    model: [&'a CatalogModel; 1],
}

/// Appends a model, so that what the user wrote there, comments too, stays as it is.
fn append(path: &Path, model: &CatalogModel) -> Result<(), CatalogError> {
    if read(path)?.iter().any(|known| known.name == model.name) {
        return Err(CatalogError::Exists { path: path.to_owned(), name: model.name.clone() });
    }
    let problem =
        |problem| CatalogError::Entry { path: path.to_owned(), name: model.name.clone(), problem };
    model.validate().map_err(problem)?;
    let text = toml::to_string(&Appended { model: [model] })
        .map_err(|error| problem(error.to_string()))?;
    write(path, &text).map_err(|source| CatalogError::Io { path: path.to_owned(), source })
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs_err::create_dir_all(folder)?;
    }
    let mut file = fs_err::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("\n{text}").as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Precision;

    fn built_in() -> Catalog {
        Catalog::with_user(None).expect("the built-in catalog is sound")
    }

    #[test]
    fn the_models_of_the_design_are_there() {
        let catalog = built_in();
        for name in [
            "clip-vit-b-32",
            "clip-vit-b-16",
            "clip-vit-l-14",
            "clip-vit-l-14-336",
            "openclip-vit-b-32-laion2b",
            "tinyclip-vit-8m-16",
            "mobileclip-s2",
            "siglip-base-patch16-224",
            "siglip2-base-patch16-224",
            "mini",
        ] {
            catalog.find(name).expect(name);
        }
    }

    #[test]
    fn the_bundled_model_is_as_its_manifest_says() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = crate::model::ModelFolder::open(&root.join("models/mini")).expect("opens");
        let catalog = built_in();
        let mini = catalog.find("mini").expect("known");
        mini.check(&folder.manifest).expect("agrees");
        assert_eq!(mini.license, folder.manifest.license);
    }

    #[test]
    fn an_unknown_name_brings_the_nearest() {
        let text = built_in().find("clip-vit-b32").expect_err("unknown").to_string();
        assert!(text.contains("did you mean clip-vit-b-32"), "{text}");
        let text = built_in().find("zzz").expect_err("unknown").to_string();
        assert!(!text.contains("did you mean") && text.contains("models list"), "{text}");
    }

    #[test]
    fn a_user_entry_wins_over_the_built_in_one() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("models.toml");
        let mut own = built_in().find("mini").expect("known").clone();
        own.note = "mine".into();
        let catalog = Catalog::with_user(Some(path.clone())).expect("no file yet");
        catalog.add(&own).expect("added");
        let again = Catalog::with_user(Some(path)).expect("reads");
        assert_eq!(again.find("mini").expect("known"), &own);
        assert!(matches!(again.add(&own), Err(CatalogError::Exists { .. })));
    }

    #[test]
    fn wrong_entries_are_blamed_with_their_file() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("models.toml");
        let own = "[[model]]\nname = 'm'\nrepo = 'a/b'\nlicense = 'MIT'\n";
        let file = |file: &str| format!("{own}common = [{{ {file} }}]\n");
        for (text, wanted) in [
            (file("path = '../x'"), "inside the model's folder"),
            (file("path = 'x', sha256 = 'abc'"), "64 lower-case hexadecimal digits"),
            (own.to_owned(), "no files"),
            (own.replace("a/b", "ab"), "OWNER/NAME"),
            (own.replace("'m'", "'a/m'"), "name"),
            (own.replace("repo", "repos"), "unknown field"),
        ] {
            fs_err::write(&path, text).expect("write");
            let text = Catalog::with_user(Some(path.clone())).expect_err("refused").to_string();
            assert!(text.contains("models.toml") && text.contains(wanted), "{wanted}: {text}");
        }
    }

    #[test]
    fn sentence_embedders_can_be_fetched_by_name() {
        let catalog = built_in();
        let model = catalog.find("BGESmallENV15").expect("known");
        assert_eq!((model.kind, model.width), (ModelKind::Sentence, Some(384)));
        let files = model.files(Precision::Fp32).expect("files");
        let paths: Vec<&str> = files.iter().map(|file| file.local()).collect();
        assert!(paths.contains(&"tokenizer.json") && paths.contains(&"onnx/model.onnx"));
        for model in catalog.models().iter().filter(|one| one.kind == ModelKind::Sentence) {
            model.validate().expect(&model.name);
        }
    }

    #[test]
    fn precisions_say_which_exist() {
        let catalog = built_in();
        let model = catalog.find("mobileclip-s2").expect("known");
        assert_eq!(model.precisions().collect::<Vec<_>>(), [Precision::Fp32, Precision::Fp16]);
        assert!(model.files(Precision::Int8).is_none());
        let files = model.files(Precision::Fp32).expect("files");
        assert_eq!(files.len(), 6);
        assert_eq!(files[0].local(), "config.json");
    }
}
