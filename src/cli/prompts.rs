//! `prompts`: what the LLM is told, in every role.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::Error;
use crate::answer::PromptSet;
use crate::answer::describe::{self, DescribePrompts};
use crate::answer::prompt::{self as answer, BuiltIn};
use crate::evaluate::JudgePrompts;
use crate::instruction::prompt::{self, AugmentPrompts, Prompts, SummarizePrompts};
use crate::llm::{BuiltInSet, PromptSource, SIGHT_QUESTION, See};
use crate::matching::check::llm as check;
use crate::measure::{Question, judged};

use super::exit::Exit;

/// Options of `prompts`.
#[derive(Debug, Args)]
pub struct PromptsArgs {
    /// Built-in set, capable or small, or a folder with prompts.
    #[arg(long, value_name = "SET|DIR", default_value = "capable")]
    pub prompts: PromptSource,

    /// In-context examples, .jsonl; default: the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub examples: Option<PathBuf>,

    /// Examples per prompt.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub examples_per_prompt: usize,
}

/// What one role is told.
struct Role {
    /// With what it sees, where that decides the texts.
    name: String,
    /// Key over the texts; empty where nothing is kept under it.
    hash: String,
    /// By the names of their files.
    texts: Vec<(String, String)>,
}

impl Role {
    fn new(name: impl Into<String>, hash: impl Into<String>) -> Self {
        Self { name: name.into(), hash: hash.into(), texts: Vec::new() }
    }

    fn with(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.texts.push((name.into(), text.into()));
        self
    }
}

/// `pairwright prompts`.
pub fn prompts(args: &PromptsArgs) -> Result<Exit, Error> {
    let mut shown = BTreeSet::new();
    for Role { name, hash, texts } in roles(args)? {
        let hash = if hash.is_empty() { String::new() } else { format!(", hash {hash}") };
        println!("=== {name}{hash}\n");
        for (name, text) in texts {
            // Roles that see more have texts in common with those that see less.
            if !shown.insert((name.clone(), text.clone())) {
                println!("== {name}, as above\n");
                continue;
            }
            println!("== {name}\n{}\n", text.trim());
        }
    }
    Ok(Exit::Done)
}

/// Every role that a language model has.
fn roles(args: &PromptsArgs) -> Result<Vec<Role>, Error> {
    let (set, folder) = match &args.prompts {
        PromptSource::Set(set) => (*set, None),
        PromptSource::Folder(folder) => (BuiltInSet::Capable, Some(folder.as_path())),
    };
    let mut roles = vec![
        Role::new("whether a model sees", "")
            .with("the question beside the picture", SIGHT_QUESTION),
    ];
    for see in See::ALL {
        roles.push(generated("augment", see, &augment(set, folder, see)?));
    }
    let built_in = prompt::built_in((set, See::Description), set);
    let summarize = SummarizePrompts::read(folder, &built_in)?.prompts;
    roles.push(generated("summarize", See::Description, &summarize));
    for see in See::ALL {
        let user = describe::user_file(see);
        let prompts = DescribePrompts::of(set, see).with_folder(holding(folder, user))?;
        let role = Role::new(seeing("describe", see), prompts.hash());
        roles.push(role.with("describe.system.txt", prompts.system).with(user, prompts.user));
    }
    for see in See::ALL {
        let texts = check::texts(see).into_iter();
        let role = Role::new(seeing("check", see), check::prompt_hash(see));
        roles.push(texts.fold(role, |role, (name, text)| role.with(name, text)));
    }
    for see in See::ALL {
        roles.push(answering(args, set, folder, see)?);
    }
    let measures = judged::JudgePrompts::read(folder, &judged::JudgePrompts::built_in())?;
    for question in Question::ALL {
        let mut role = Role::new(format!("measure {}", question.name()), measures.hash(question));
        for part in ["system", "user"] {
            let name = format!("measure_{}.{part}.txt", question.name());
            role = role.with(name, measures.part(question, part));
        }
        roles.push(role.with("measure.retry.txt", &*measures.texts()["measure.retry.txt"]));
    }
    let judge = JudgePrompts::read(holding(folder, "judge.user.txt"))?;
    let role = Role::new("judge", judge.hash);
    roles.push(role.with("judge.system.txt", judge.system).with("judge.user.txt", judge.user));
    Ok(roles)
}

/// The role's name with what it sees, where that is not a description.
fn seeing(role: &str, see: See) -> String {
    match see {
        See::Description => role.to_owned(),
        See::Image | See::Both => format!("{role}, see = {}", see.name()),
    }
}

/// The folder, where it holds a file without which a role does not read it: a folder need not hold
/// the prompts of every role.
fn holding<'a>(folder: Option<&'a Path>, name: &str) -> Option<&'a Path> {
    folder.filter(|folder| folder.join(name).is_file())
}

fn augment(set: BuiltInSet, folder: Option<&Path>, see: See) -> Result<Prompts, Error> {
    let built_in = prompt::built_in((set, see), set);
    Ok(AugmentPrompts::read(folder, &built_in, see)?.prompts)
}

fn generated(role: &str, see: See, prompts: &Prompts) -> Role {
    let texts = prompts.texts.iter();
    texts.fold(Role::new(seeing(role, see), &*prompts.hash), |role, (name, text)| {
        role.with(*name, text)
    })
}

fn answering(
    args: &PromptsArgs,
    set: BuiltInSet,
    folder: Option<&Path>,
    see: See,
) -> Result<Role, Error> {
    let [system, user] = answer::files(see);
    // The prompts for a description are those that a folder is for.
    let folder = if see == See::Description { folder } else { holding(folder, system) };
    let (examples, count) = (args.examples.as_deref(), args.examples_per_prompt);
    let set = PromptSet::read(&BuiltIn::seeing(set, see), folder, examples, count)?;
    let mut role = Role::new(seeing("answer", see), set.hash);
    role = role.with(system, set.system).with(user, set.user);
    if let Some(retry) = set.retry {
        role = role.with("answer.retry.txt", retry);
    }
    if set.per_prompt == 0 {
        return Ok(role);
    }
    let examples = set.examples.iter();
    let texts = examples.map(|one| format!("[{}] {}\n{}", one.id, one.instruction, one.answer));
    let texts: Vec<String> = texts.collect();
    let name = format!("answer.examples.jsonl, {} drawn per prompt", set.per_prompt);
    Ok(role.with(name, texts.join("\n\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prompts: PromptSource) -> Vec<Role> {
        let args = PromptsArgs { prompts, examples: None, examples_per_prompt: 2 };
        roles(&args).expect("built in")
    }

    /// The files of a folder of prompts.
    fn files(folder: &Path) -> BTreeSet<String> {
        let entries = fs_err::read_dir(folder).expect("a folder");
        let entries = entries.map(|entry| entry.expect("an entry"));
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_file_is_shown_and_every_text_is_that_of_a_file() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
        for (set, own) in
            [(BuiltInSet::Capable, folder.clone()), (BuiltInSet::Small, folder.join("small"))]
        {
            let roles = of(PromptSource::Set(set));
            let texts = roles.iter().flat_map(|role| &role.texts);
            let texts: Vec<(&str, &str)> = texts
                .map(|(name, text)| (name.split(',').next().unwrap_or(name), text.trim()))
                .collect();
            for file in files(&own) {
                let content = fs_err::read_to_string(own.join(&file)).expect("a text");
                let named: Vec<_> = texts.iter().filter(|(name, _)| *name == file).collect();
                assert!(!named.is_empty(), "{file} of {} is not shown", set.name());
                let same = named.iter().any(|(_, text)| *text == content.trim());
                assert!(same || file == "answer.examples.jsonl", "{file} reads otherwise");
            }
            let known = files(&folder);
            for (name, _) in &texts[1..] {
                assert!(known.contains(*name), "{name} is no file");
            }
        }
    }

    #[test]
    fn every_role_is_there_once_for_each_sight() {
        let roles = of(PromptSource::Set(BuiltInSet::Capable));
        let names: BTreeSet<&str> = roles.iter().map(|role| &*role.name).collect();
        assert_eq!(names.len(), roles.len());
        for role in crate::llm::ROLES {
            let known = names.iter().any(|name| name.split([',', ' ']).next() == Some(role));
            assert!(known, "{role} is missing of {names:?}");
        }
        for role in ["augment", "describe", "check", "answer"] {
            for see in [See::Image, See::Both] {
                assert!(names.contains(&*seeing(role, see)), "{role} {}", see.name());
            }
        }
    }

    #[test]
    fn a_folder_s_own_texts_stand_where_it_has_some() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["answer.system.txt", "answer.user.txt"] {
            let text = "Mine: {captions} {instruction}";
            let text = if name.contains("system") { "My system." } else { text };
            fs_err::write(folder.path().join(name), text).expect("written");
        }
        let roles = of(PromptSource::Folder(folder.path().to_owned()));
        let text = |role: &str, file: &str| {
            let role = roles.iter().find(|one| one.name == role).expect("a role");
            role.texts.iter().find(|(name, _)| name == file).expect("a text").1.clone()
        };
        assert_eq!(text("answer", "answer.system.txt"), "My system.");
        assert!(text("answer, see = image", "answer.image.system.txt").contains("NOT_APPLICABLE"));
        assert!(!text("describe", "describe.text.user.txt").is_empty());
    }
}
