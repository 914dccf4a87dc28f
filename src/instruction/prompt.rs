//! The prompts of both LLM stages: files with named placeholders, versioned by hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::GenerateError;
use crate::base::hash;
use crate::base::tokens::break_up;
use crate::llm::Message;
use crate::llm::template::{placeholders, render};

/// One template file: its name, the text compiled into the binary, its placeholders.
struct Template {
    name: &'static str,
    built_in: &'static str,
    placeholders: &'static [&'static str],
}

const AUGMENT: [Template; 3] = [
    Template {
        name: "augment.system.txt",
        built_in: include_str!("../../prompts/augment.system.txt"),
        placeholders: &[],
    },
    Template {
        name: "augment.seeds.txt",
        built_in: include_str!("../../prompts/augment.seeds.txt"),
        placeholders: &["seed_count"],
    },
    Template {
        name: "augment.user.txt",
        built_in: include_str!("../../prompts/augment.user.txt"),
        placeholders: &["description", "count"],
    },
];

const SUMMARIZE: [Template; 2] = [
    Template {
        name: "summarize.system.txt",
        built_in: include_str!("../../prompts/summarize.system.txt"),
        placeholders: &[],
    },
    Template {
        name: "summarize.user.txt",
        built_in: include_str!("../../prompts/summarize.user.txt"),
        placeholders: &["instructions"],
    },
];

/// The templates of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompts {
    /// File name and text, in the order of the turns.
    pub texts: Vec<(&'static str, String)>,
    /// Key over the texts.
    pub hash: String,
}

/// Built-in texts by file name, as a generation began with them.
pub type BuiltIn = BTreeMap<String, String>;

/// The texts of both stages that are compiled into the binary.
pub fn built_in() -> BuiltIn {
    let all = AUGMENT.iter().chain(&SUMMARIZE);
    all.map(|template| (template.name.to_owned(), template.built_in.to_owned())).collect()
}

impl Prompts {
    fn read(
        folder: Option<&Path>,
        templates: &[Template],
        built_in: &BuiltIn,
    ) -> Result<Self, GenerateError> {
        let texts = templates
            .iter()
            .map(|template| Ok((template.name, template.read(folder, built_in)?)))
            .collect::<Result<Vec<_>, GenerateError>>()?;
        let parts: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
        let hash = hash::key(&parts);
        Ok(Self { texts, hash })
    }

    fn turn(&self, place: usize, values: &[(&str, &str)]) -> String {
        self.texts.get(place).map(|(_, text)| render(text.trim(), values)).unwrap_or_default()
    }
}

impl Template {
    fn read(&self, folder: Option<&Path>, built_in: &BuiltIn) -> Result<String, GenerateError> {
        let built_in = || built_in.get(self.name).map_or(self.built_in, String::as_str).to_owned();
        let Some(folder) = folder else { return Ok(built_in()) };
        let path = folder.join(self.name);
        // A folder made for the answers alone has none of these.
        if !path.exists() {
            return Ok(built_in());
        }
        let text = fs_err::read_to_string(&path)
            .map_err(|source| GenerateError::Io { path: path.clone(), source })?;
        self.check(path, &text)?;
        Ok(text)
    }

    fn check(&self, path: PathBuf, text: &str) -> Result<(), GenerateError> {
        let found: Vec<&str> = placeholders(text).collect();
        if let Some(unknown) = found.iter().find(|name| !self.placeholders.contains(name)) {
            let known = self.placeholders.join(", ");
            let known = if known.is_empty() { "none".into() } else { known };
            return Err(GenerateError::UnknownPlaceholder {
                path,
                found: (*unknown).into(),
                known,
            });
        }
        match self.placeholders.iter().copied().find(|name| !found.contains(name)) {
            Some(placeholder) => Err(GenerateError::Placeholder { path, placeholder }),
            None => Ok(()),
        }
    }
}

/// The prompts that ask for new instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AugmentPrompts(pub Prompts);

impl AugmentPrompts {
    /// Reads `augment.*.txt` from `folder`; what is not there comes from the binary.
    ///
    /// # Errors
    /// A file cannot be read or its placeholders are wrong.
    pub fn read(folder: Option<&Path>) -> Result<Self, GenerateError> {
        Self::read_with(folder, &BuiltIn::new())
    }

    /// As [`AugmentPrompts::read`], with these texts in place of those of the binary.
    ///
    /// # Errors
    /// As [`AugmentPrompts::read`].
    pub fn read_with(folder: Option<&Path>, built_in: &BuiltIn) -> Result<Self, GenerateError> {
        Prompts::read(folder, &AUGMENT, built_in).map(Self)
    }

    /// The seeds as an earlier turn of the model, then the image and what is wanted: small models
    /// follow what they seem to have said better than what they are told.
    pub fn build(&self, seeds: &[&str], description: &str, count: usize) -> Vec<Message> {
        let seeds: Vec<_> = seeds.iter().map(|seed| break_up(seed)).collect();
        let shown = serde_json::json!({ "instructions": seeds }).to_string();
        let (seed_count, count) = (seeds.len().to_string(), count.to_string());
        vec![
            Message::system(self.0.turn(0, &[])),
            Message::user(self.0.turn(1, &[("seed_count", &seed_count)])),
            Message::assistant(shown),
            Message::user(self.0.turn(2, &[("description", description), ("count", &count)])),
        ]
    }
}

/// The prompts that ask for one instruction in place of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummarizePrompts(pub Prompts);

impl SummarizePrompts {
    /// Reads `summarize.*.txt` from `folder`; what is not there comes from the binary.
    ///
    /// # Errors
    /// As [`AugmentPrompts::read`].
    pub fn read(folder: Option<&Path>) -> Result<Self, GenerateError> {
        Self::read_with(folder, &BuiltIn::new())
    }

    /// As [`SummarizePrompts::read`], with these texts in place of those of the binary.
    ///
    /// # Errors
    /// As [`AugmentPrompts::read`].
    pub fn read_with(folder: Option<&Path>, built_in: &BuiltIn) -> Result<Self, GenerateError> {
        Prompts::read(folder, &SUMMARIZE, built_in).map(Self)
    }

    /// The members of a cluster as a list.
    pub fn build(&self, members: &[&str]) -> Vec<Message> {
        let list: Vec<String> = members.iter().map(|member| format!("- {member}")).collect();
        let user = self.0.turn(1, &[("instructions", &list.join("\n"))]);
        vec![Message::system(self.0.turn(0, &[])), Message::user(user)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(messages: &[Message]) -> String {
        let line = |one: &Message| format!("[{:?}]\n{}", one.role, one.text);
        messages.iter().map(line).collect::<Vec<_>>().join("\n\n")
    }

    /// A generation of release 0.1.0 keeps no texts of its own and goes on with these. Whoever
    /// changes them keeps that release's, and gives it to `Database::began_with` for such folders.
    #[test]
    fn the_built_in_texts_are_those_of_0_1_0() {
        let augment = AugmentPrompts::read(None).expect("built in");
        assert_eq!(augment.0.hash, "4859097aebaa5eadeffd76771f528e4a");
        let summarize = SummarizePrompts::read(None).expect("built in");
        assert_eq!(summarize.0.hash, "4f2eba5819f2f4ca07e16dd6773031e7");
    }

    #[test]
    fn the_augment_prompt_reads_as_before() {
        let prompts = AugmentPrompts::read(None).expect("built in");
        let seeds = ["Write a poem about the image.", "Invent a \"title\" for the image."];
        insta::assert_snapshot!(told(&prompts.build(&seeds, "A {count} of cats.", 3)));
    }

    #[test]
    fn the_summarize_prompt_reads_as_before() {
        let prompts = SummarizePrompts::read(None).expect("built in");
        let members = ["Write a haiku about the cat.", "Write a sonnet about the dog."];
        insta::assert_snapshot!(told(&prompts.build(&members)));
    }

    #[test]
    fn wrong_placeholders_are_named_and_missing_files_are_built_in() {
        let folder = tempfile::tempdir().expect("temp dir");
        let built_in = AugmentPrompts::read(None).expect("built in");
        assert_eq!(AugmentPrompts::read(Some(folder.path())).expect("empty folder"), built_in);
        let user = folder.path().join("augment.user.txt");
        for (text, wanted) in [
            ("{description}", "lacks the placeholder {count}"),
            ("{description} {count} {colour}", "unknown placeholder {colour}"),
        ] {
            fs_err::write(&user, text).expect("write");
            let error = AugmentPrompts::read(Some(folder.path())).expect_err(text);
            assert!(error.to_string().contains(wanted), "{error}");
        }
        fs_err::write(&user, "{count} {description}").expect("write");
        let own = AugmentPrompts::read(Some(folder.path())).expect("right placeholders");
        assert_ne!(own.0.hash, built_in.0.hash);
    }
}
