//! The prompts of both LLM stages: files with named placeholders, versioned by hash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::GenerateError;
use super::descriptions::Description;
use crate::base::hash;
use crate::base::tokens::break_up;
use crate::llm::template::{placeholders, render};
use crate::llm::{BuiltInSet, Message, See, captions};

/// One file: its name, and its text in each built-in set. A file that the small set lacks may be
/// missing anywhere.
struct Template {
    name: &'static str,
    capable: &'static str,
    small: Option<&'static str>,
    /// Of each group the text must hold one; `None`: JSON lines instead.
    placeholders: Option<&'static [&'static [&'static str]]>,
}

impl Template {
    fn of(&self, set: BuiltInSet) -> Option<&'static str> {
        match set {
            BuiltInSet::Capable => Some(self.capable),
            BuiltInSet::Small => self.small,
        }
    }
}

macro_rules! template {
    ($name:literal, $placeholders:expr) => {
        Template {
            name: $name,
            capable: include_str!(concat!("../../prompts/", $name)),
            small: Some(include_str!(concat!("../../prompts/small/", $name))),
            placeholders: Some($placeholders),
        }
    };
    ($name:literal, $placeholders:expr, capable only) => {
        Template {
            name: $name,
            capable: include_str!(concat!("../../prompts/", $name)),
            small: None,
            placeholders: $placeholders,
        }
    };
}

const AUGMENT: [Template; 5] = [
    template!("augment.system.txt", &[]),
    template!("augment.seeds.txt", &[&["seed_count"]]),
    template!("augment.user.txt", &[&["description", "captions"], &["count"]]),
    template!("augment.examples.jsonl", None, capable only),
    template!("augment.retry.txt", Some(&[&["reason"]]), capable only),
];

/// For a model that is shown the photo alone. Examples stand in captions, so that none are shown.
const AUGMENT_IMAGE: [Template; 4] = [
    template!("augment.image.system.txt", Some(&[]), capable only),
    template!("augment.seeds.txt", &[&["seed_count"]]),
    template!("augment.image.user.txt", Some(&[&["count"]]), capable only),
    template!("augment.retry.txt", Some(&[&["reason"]]), capable only),
];

/// For a model that is shown the photo and its captions, where it has some.
const AUGMENT_BOTH: [Template; 6] = [
    template!("augment.both.system.txt", Some(&[]), capable only),
    template!("augment.seeds.txt", &[&["seed_count"]]),
    template!("augment.user.txt", &[&["description", "captions"], &["count"]]),
    template!("augment.image.user.txt", Some(&[&["count"]]), capable only),
    template!("augment.examples.jsonl", None, capable only),
    template!("augment.retry.txt", Some(&[&["reason"]]), capable only),
];

fn augment_templates(see: See) -> &'static [Template] {
    match see {
        See::Description => &AUGMENT,
        See::Image => &AUGMENT_IMAGE,
        See::Both => &AUGMENT_BOTH,
    }
}

const SUMMARIZE: [Template; 4] = [
    template!("summarize.system.txt", &[]),
    template!("summarize.user.txt", &[&["instructions"]]),
    template!("summarize.examples.jsonl", None, capable only),
    template!("summarize.retry.txt", Some(&[&["reason"]]), capable only),
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

/// The texts that are compiled into the binary: of the augment stage for a model that gets to know
/// so much of a photo from one set, of the summarise stage from another. There is one set for models
/// that see: a model that sees is no small one.
pub fn built_in((augment, see): (BuiltInSet, See), summarize: BuiltInSet) -> BuiltIn {
    let augment = if see.shows_photo() { BuiltInSet::Capable } else { augment };
    let texts = |templates: &'static [Template], set| {
        let text = move |one: &Template| Some((one.name.to_owned(), one.of(set)?.to_owned()));
        templates.iter().filter_map(text)
    };
    texts(augment_templates(see), augment).chain(texts(&SUMMARIZE, summarize)).collect()
}

impl Prompts {
    fn read(
        folder: Option<&Path>,
        templates: &[Template],
        built_in: &BuiltIn,
    ) -> Result<Self, GenerateError> {
        let mut texts = Vec::with_capacity(templates.len());
        for template in templates {
            texts.extend(template.read(folder, built_in)?.map(|text| (template.name, text)));
        }
        let parts: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
        let hash = hash::key(&parts);
        Ok(Self { texts, hash })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.texts.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
    }

    fn turn(&self, name: &str, values: &[(&str, &str)]) -> String {
        self.text(name).map(|text| render(text.trim(), values)).unwrap_or_default()
    }

    /// Examples out of JSON lines; none where there is no such file.
    fn examples<T: DeserializeOwned>(
        &self,
        folder: Option<&Path>,
        name: &'static str,
    ) -> Result<Vec<T>, GenerateError> {
        let path = || folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
        let lines = self.text(name).unwrap_or_default().lines().enumerate();
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let read = |(at, line)| {
            let refuse = |error: serde_json::Error| GenerateError::Line {
                path: path(),
                line: at + 1,
                message: error.to_string(),
            };
            serde_json::from_str(line).map_err(refuse)
        };
        lines.map(read).collect()
    }
}

impl Template {
    /// The folder's file, else the built-in text; `None` where neither is and none must be.
    fn read(
        &self,
        folder: Option<&Path>,
        built_in: &BuiltIn,
    ) -> Result<Option<String>, GenerateError> {
        let path = folder.map(|folder| folder.join(self.name)).filter(|path| path.exists());
        // A folder made for the answers alone has none of these.
        let Some(path) = path else {
            let text = built_in.get(self.name).map(String::as_str).or(self.small);
            return Ok(text.map(str::to_owned));
        };
        let text = fs_err::read_to_string(&path)
            .map_err(|source| GenerateError::Io { path: path.clone(), source })?;
        self.check(path, &text)?;
        Ok(Some(text))
    }

    fn check(&self, path: PathBuf, text: &str) -> Result<(), GenerateError> {
        let Some(wanted) = self.placeholders else { return Ok(()) };
        let found: Vec<&str> = placeholders(text).collect();
        let known = wanted.concat();
        if let Some(unknown) = found.iter().find(|name| !known.contains(name)) {
            let known = known.join(", ");
            let known = if known.is_empty() { "none".into() } else { known };
            return Err(GenerateError::UnknownPlaceholder {
                path,
                found: (*unknown).into(),
                known,
            });
        }
        match wanted.iter().find(|choice| !choice.iter().any(|name| found.contains(name))) {
            Some(missing) => Err(GenerateError::Placeholder { path, placeholder: missing[0] }),
            None => Ok(()),
        }
    }
}

/// An image with instructions that follow from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AugmentExample {
    /// Captions, one a line.
    description: String,
    instructions: Vec<String>,
}

/// The prompts that ask for new instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AugmentPrompts {
    pub prompts: Prompts,
    examples: Vec<AugmentExample>,
    see: See,
}

impl AugmentPrompts {
    /// Reads the files for what is seen from `folder` (`augment.*`); what is not there comes from
    /// `built_in`.
    ///
    /// # Errors
    /// A file cannot be read, its placeholders are wrong, or an example is none.
    pub fn read(
        folder: Option<&Path>,
        built_in: &BuiltIn,
        see: See,
    ) -> Result<Self, GenerateError> {
        let prompts = Prompts::read(folder, augment_templates(see), built_in)?;
        let examples = prompts.examples(folder, "augment.examples.jsonl")?;
        Ok(Self { prompts, examples, see })
    }

    /// The seeds as an earlier turn of the model, then (where the prompts have some) an example of
    /// an image, drawn by `seed`, with instructions that follow from it, then the image and what is
    /// wanted: models follow what they seem to have said better than what they are told. A photo
    /// that is shown is to be attached to the last message.
    pub fn build(
        &self,
        seeds: &[&str],
        shown: &Description,
        count: usize,
        seed: u64,
    ) -> Vec<Message> {
        let seed_count = seeds.len().to_string();
        let system = match self.see {
            See::Description => "augment.system.txt",
            See::Image => "augment.image.system.txt",
            See::Both => "augment.both.system.txt",
        };
        let mut messages = vec![
            Message::system(self.prompts.turn(system, &[])),
            Message::user(self.prompts.turn("augment.seeds.txt", &[("seed_count", &seed_count)])),
            Message::assistant(json!({ "instructions": broken_up(seeds) }).to_string()),
        ];
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let example = self.examples.choose(&mut random);
        if let Some(AugmentExample { description, instructions }) = example {
            let first = &instructions[..count.min(instructions.len())];
            messages.push(self.asked(description, &[], first.len()));
            let turn = json!({ "instructions": broken_up(first) });
            messages.push(Message::assistant(turn.to_string()));
        }
        messages.push(self.asked(&shown.text, &shown.captions, count));
        messages
    }

    fn asked(&self, description: &str, captions: &[String], count: usize) -> Message {
        let (list, count) = (captions::of(captions, description), count.to_string());
        let values = [("description", description), ("captions", &list), ("count", &count)];
        // Nobody says anything of a photo that is shown without captions.
        let alone = self.see == See::Image || (self.see == See::Both && description.is_empty());
        let user = if alone { "augment.image.user.txt" } else { "augment.user.txt" };
        Message::user(self.prompts.turn(user, &values))
    }

    /// What a try after a refused reply is told, with `{reason}`; `None`: nothing.
    pub fn retry(&self) -> Option<&str> {
        self.prompts.text("augment.retry.txt")
    }
}

/// Texts as a turn may hold them: what a server would take for a token is broken up.
fn broken_up(texts: &[impl AsRef<str>]) -> Vec<String> {
    texts.iter().map(|text| break_up(text.as_ref()).into_owned()).collect()
}

/// A group of instructions and what stands for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SummarizeExample {
    instructions: Vec<String>,
    coherent: bool,
    instruction: String,
    requires: Vec<String>,
}

/// The prompts that ask for one instruction in place of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummarizePrompts {
    pub prompts: Prompts,
    examples: Vec<SummarizeExample>,
}

impl SummarizePrompts {
    /// Reads `summarize.*` from `folder`; what is not there comes from `built_in`.
    ///
    /// # Errors
    /// As [`AugmentPrompts::read`].
    pub fn read(folder: Option<&Path>, built_in: &BuiltIn) -> Result<Self, GenerateError> {
        let prompts = Prompts::read(folder, &SUMMARIZE, built_in)?;
        let examples = prompts.examples(folder, "summarize.examples.jsonl")?;
        Ok(Self { prompts, examples })
    }

    /// The examples as earlier turns, then the members of a cluster as a list.
    pub fn build(&self, members: &[&str]) -> Vec<Message> {
        let mut messages = vec![Message::system(self.prompts.turn("summarize.system.txt", &[]))];
        for example in &self.examples {
            let SummarizeExample { instructions, coherent, instruction, requires } = example;
            messages.push(self.asked(instructions.iter().map(String::as_str)));
            let (instruction, requires) = (break_up(instruction), broken_up(requires));
            let reply =
                json!({"coherent": coherent, "instruction": instruction, "requires": requires});
            messages.push(Message::assistant(reply.to_string()));
        }
        messages.push(self.asked(members.iter().copied()));
        messages
    }

    fn asked<'a>(&self, members: impl Iterator<Item = &'a str>) -> Message {
        let list: Vec<String> = members.map(|member| format!("- {member}")).collect();
        let list = list.join("\n");
        Message::user(self.prompts.turn("summarize.user.txt", &[("instructions", &list)]))
    }

    /// Whether these prompts ask what the instruction requires of an image, so that the reply has
    /// that form.
    pub fn ask_requires(&self) -> bool {
        let names = ["summarize.system.txt", "summarize.user.txt"];
        names.iter().filter_map(|name| self.prompts.text(name)).any(|one| one.contains("requires"))
    }

    /// As [`AugmentPrompts::retry`].
    pub fn retry(&self) -> Option<&str> {
        self.prompts.text("summarize.retry.txt")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::refused;

    fn augment_of(set: BuiltInSet, see: See) -> AugmentPrompts {
        AugmentPrompts::read(None, &built_in((set, see), set), see).expect("built in")
    }

    fn of(set: BuiltInSet) -> (AugmentPrompts, SummarizePrompts) {
        let built_in = built_in((set, See::Description), set);
        let summarize = SummarizePrompts::read(None, &built_in).expect("built in");
        (augment_of(set, See::Description), summarize)
    }

    fn told(prompts: &Prompts, messages: &[Message]) -> String {
        let line = |one: &Message| format!("[{:?}]\n{}", one.role, one.text);
        let messages = messages.iter().map(line).collect::<Vec<_>>().join("\n\n");
        format!("hash {}\n\n{messages}", prompts.hash)
    }

    /// A generation of release 0.1.0 keeps no texts of its own and goes on with the small set.
    /// Whoever changes that set keeps that release's texts, and gives them to
    /// `Database::began_with` for such folders.
    #[test]
    fn the_small_set_is_that_of_0_1_0() {
        let (augment, summarize) = of(BuiltInSet::Small);
        assert_eq!(augment.prompts.hash, "4859097aebaa5eadeffd76771f528e4a");
        assert_eq!(summarize.prompts.hash, "4f2eba5819f2f4ca07e16dd6773031e7");
        assert!(augment.retry().is_none() && summarize.retry().is_none());
        assert!(!summarize.ask_requires());
    }

    #[test]
    fn prompts_read_as_before() {
        let seeds = ["Write a poem about the image.", "Invent a \"title\" for the image."];
        let members = ["Write a haiku about the cat.", "Write a sonnet about the dog."];
        let reason = |retry: Option<&str>| {
            retry.map_or_else(Vec::new, |retry| refused::turns(retry, "{}", "no {reason} in it"))
        };
        for set in BuiltInSet::ALL {
            let (augment, summarize) = of(set);
            let shown = Description {
                id: "a".into(),
                text: "A {count} of cats. Two cats.".into(),
                captions: vec!["A {count} of cats.".into(), "Two cats.".into()],
                photo: None,
            };
            let mut messages = augment.build(&seeds, &shown, 3, 7);
            messages.extend(reason(augment.retry()));
            let text = told(&augment.prompts, &messages);
            insta::assert_snapshot!(format!("augment_{}", set.name()), text);
            let mut messages = summarize.build(&members);
            messages.extend(reason(summarize.retry()));
            let text = told(&summarize.prompts, &messages);
            insta::assert_snapshot!(format!("summarize_{}", set.name()), text);
        }
    }

    /// With what is seen beside the texts; whether captions are told is the same for both sets.
    #[test]
    fn prompts_of_models_that_see_tell_captions_where_there_are_some() {
        let seeds = ["Write a poem about the image."];
        let shown = |text: &str| Description {
            id: "a".into(),
            text: text.into(),
            captions: Vec::new(),
            photo: None,
        };
        for (see, name) in [(See::Image, "image"), (See::Both, "both")] {
            let augment = augment_of(BuiltInSet::Small, see);
            assert_eq!(augment, augment_of(BuiltInSet::Capable, see), "one set");
            let messages = augment.build(&seeds, &shown("Two cats."), 3, 7);
            let last = messages.last().expect("a turn").text.clone();
            assert_eq!(last.contains("Two cats."), see == See::Both);
            let text = told(&augment.prompts, &messages);
            insta::assert_snapshot!(format!("augment_{name}"), text);
            let messages = augment.build(&seeds, &shown(""), 3, 7);
            let last = &messages.last().expect("a turn").text;
            assert!(last.starts_with("The next image is attached."), "{last}");
        }
    }

    /// The examples are what the filters would accept, and replies in the form that is read.
    #[test]
    fn the_examples_of_the_capable_set_obey_its_prompts() {
        let (augment, summarize) = of(BuiltInSet::Capable);
        let filters = crate::instruction::filter::InstructionFilterConfig::default();
        let check = |text: &str, description: &str| {
            let checked = crate::instruction::filter::check(&filters, text, &[description]);
            assert_eq!(checked, Ok(()), "{text}");
        };
        for AugmentExample { description, instructions } in &augment.examples {
            instructions.iter().for_each(|text| check(text, description));
            let verbs = instructions.iter().filter_map(|text| text.split(' ').next());
            let verbs: std::collections::HashSet<&str> = verbs.collect();
            assert_eq!(verbs.len(), instructions.len(), "another verb each");
        }
        assert!(summarize.examples.iter().any(|one| !one.coherent));
        assert!(summarize.examples.iter().any(|one| one.requires.is_empty()));
        for one in &summarize.examples {
            check(&one.instruction, "");
            assert_eq!(crate::instruction::check_requires(&one.requires), Ok(one.requires.clone()));
        }
    }

    #[test]
    fn wrong_placeholders_are_named_and_missing_files_are_built_in() {
        let folder = tempfile::tempdir().expect("temp dir");
        let capable = BuiltInSet::Capable;
        let texts = built_in((capable, See::Description), capable);
        let read = || AugmentPrompts::read(Some(folder.path()), &texts, See::Description);
        let whole = augment_of(capable, See::Description);
        assert_eq!(read().expect("empty folder"), whole);
        let user = folder.path().join("augment.user.txt");
        for (text, wanted) in [
            ("{description}", "lacks the placeholder {count}"),
            ("{count}", "lacks the placeholder {description}"),
            ("{description} {count} {colour}", "unknown placeholder {colour}"),
        ] {
            fs_err::write(&user, text).expect("write");
            let error = read().expect_err(text);
            assert!(error.to_string().contains(wanted), "{error}");
        }
        fs_err::write(&user, "{count} {description}").expect("write");
        assert_ne!(read().expect("right placeholders").prompts.hash, whole.prompts.hash);
        let examples = folder.path().join("augment.examples.jsonl");
        fs_err::write(&examples, "\n{\"description\": \"a\"}").expect("write");
        let error = read().expect_err("no example").to_string();
        assert!(error.contains("augment.examples.jsonl:2: missing field"), "{error}");
        fs_err::write(&examples, "").expect("write");
        assert_eq!(read().expect("none").examples, []);
    }
}
