//! Where a role's prompts come from: a built-in set, or a folder.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::IntoStaticStr;

use super::LlmTarget;
use crate::base::db::{Database, DbError};

/// The built-in prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BuiltInSet {
    /// For models that follow several rules at once: `prompts/`.
    Capable,
    /// For a model of some hundred million parameters, such as the demo's: `prompts/small/`.
    Small,
}

impl BuiltInSet {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Capable, Self::Small];

    /// The name in configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The set for a backend where none is named: `small` with a local server.
    pub fn for_target(target: &LlmTarget) -> Self {
        match target {
            LlmTarget::Local { .. } => Self::Small,
            LlmTarget::OpenAi { .. } => Self::Capable,
        }
    }
}

/// What `prompts` says in a configuration: `capable`, `small`, or a folder (`./small` for one that
/// has such a name).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum PromptSource {
    Set(BuiltInSet),
    Folder(PathBuf),
}

impl PromptSource {
    /// The built-in set and the folder whose files come before it; unset is the backend's set.
    pub fn resolve<'a>(
        chosen: Option<&'a Self>,
        target: &LlmTarget,
    ) -> (BuiltInSet, Option<&'a Path>) {
        match chosen {
            Some(Self::Set(set)) => (*set, None),
            Some(Self::Folder(folder)) => (BuiltInSet::for_target(target), Some(folder)),
            None => (BuiltInSet::for_target(target), None),
        }
    }

    /// `name`, made another one where a set is chosen by its name: what a run keeps of the texts it
    /// began with belongs to that set.
    pub fn kept_as(chosen: Option<&Self>, name: &str) -> String {
        match chosen {
            Some(Self::Set(set)) => format!("{name}, {}", set.name()),
            Some(Self::Folder(_)) | None => name.to_owned(),
        }
    }

    /// Whether what has begun with `chosen` may have begun in release 0.1.0, which kept no texts
    /// and knew no set by its name: nothing is kept in `store` under the name of a set either.
    ///
    /// # Errors
    /// SQLite's.
    pub fn may_be_unnamed(
        chosen: Option<&Self>,
        name: &str,
        store: &Database,
    ) -> Result<bool, DbError> {
        if matches!(chosen, Some(Self::Set(_))) {
            return Ok(false);
        }
        for set in BuiltInSet::ALL {
            if store.has_begun_with(&Self::kept_as(Some(&Self::Set(set)), name))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The folder, to be made absolute.
    pub fn folder_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Set(_) => None,
        }
    }
}

impl From<String> for PromptSource {
    fn from(text: String) -> Self {
        let named = BuiltInSet::ALL.into_iter().find(|set| set.name() == text);
        named.map_or_else(|| Self::Folder(text.into()), Self::Set)
    }
}

impl FromStr for PromptSource {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl From<PromptSource> for String {
    fn from(source: PromptSource) -> Self {
        match source {
            PromptSource::Set(set) => set.name().to_owned(),
            PromptSource::Folder(folder) => folder.to_string_lossy().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sets_and_everything_else_is_a_folder() {
        let read = |text: &str| PromptSource::from(text.to_owned());
        assert_eq!(read("capable"), PromptSource::Set(BuiltInSet::Capable));
        assert_eq!(read("small"), PromptSource::Set(BuiltInSet::Small));
        for folder in ["./small", "my-prompts", "Small", "/p/capable"] {
            assert_eq!(read(folder), PromptSource::Folder(folder.into()));
            assert_eq!(String::from(read(folder)), folder);
        }
    }

    #[test]
    fn unset_follows_the_backend() {
        let server = LlmTarget::OpenAi { base_url: "http://localhost/v1".into() };
        let local = LlmTarget::Local { gguf: None };
        let small = PromptSource::Set(BuiltInSet::Small);
        let folder = PromptSource::Folder("own".into());
        let own = Some(Path::new("own"));
        assert_eq!(PromptSource::resolve(None, &server), (BuiltInSet::Capable, None));
        assert_eq!(PromptSource::resolve(None, &local), (BuiltInSet::Small, None));
        assert_eq!(PromptSource::resolve(Some(&small), &server), (BuiltInSet::Small, None));
        assert_eq!(PromptSource::resolve(Some(&folder), &server), (BuiltInSet::Capable, own));
    }
}
