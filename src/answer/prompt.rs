//! The answer prompt: system prompt, in-context examples as earlier turns, then the image's
//! description and the instruction (paper, section 3.2). Prompts are files; their hash is part of
//! every answer's key.

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::AnswerError;
use crate::base::hash;
use crate::base::tokens::break_up;
use crate::llm::Message;
use crate::llm::template::{placeholders, render};

const BUILT_IN_SYSTEM: &str = include_str!("../../prompts/answer.system.txt");
const BUILT_IN_USER: &str = include_str!("../../prompts/answer.user.txt");
const BUILT_IN_EXAMPLES: &str = include_str!("../../samples/examples.jsonl");

const DESCRIPTION: &str = "description";
const INSTRUCTION: &str = "instruction";

/// An in-context example: an instruction answered for another image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    pub id: String,
    pub instruction: String,
    pub description: String,
    pub answer: String,
}

/// The templates and examples of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSet {
    pub system: String,
    pub user: String,
    pub examples: Vec<Example>,
    /// Examples shown per prompt.
    pub per_prompt: usize,
    /// Key over templates, examples and `per_prompt`.
    pub hash: String,
}

/// The built-in texts: those compiled into the binary, or those that a run began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltIn {
    pub system: String,
    pub user: String,
    /// JSON lines.
    pub examples: String,
}

impl Default for BuiltIn {
    fn default() -> Self {
        Self {
            system: BUILT_IN_SYSTEM.to_owned(),
            user: BUILT_IN_USER.to_owned(),
            examples: BUILT_IN_EXAMPLES.to_owned(),
        }
    }
}

impl PromptSet {
    /// Reads `answer.system.txt` and `answer.user.txt` from `prompts` and the examples from
    /// `examples` (JSON lines); what is `None` comes from the files compiled into the binary.
    ///
    /// # Errors
    /// [`AnswerError`] naming the file, and the line or placeholder that is wrong.
    pub fn read(
        prompts: Option<&Path>,
        examples: Option<&Path>,
        per_prompt: usize,
    ) -> Result<Self, AnswerError> {
        Self::read_with(&BuiltIn::default(), prompts, examples, per_prompt)
    }

    /// As [`PromptSet::read`], with these texts in place of those compiled into the binary.
    ///
    /// # Errors
    /// As [`PromptSet::read`].
    pub fn read_with(
        built_in: &BuiltIn,
        prompts: Option<&Path>,
        examples: Option<&Path>,
        per_prompt: usize,
    ) -> Result<Self, AnswerError> {
        let (_, system) = template(prompts, "answer.system.txt", &built_in.system)?;
        let (user_path, user) = template(prompts, "answer.user.txt", &built_in.user)?;
        check_placeholders(&user_path, &user)?;
        let (path, text) = match examples {
            Some(path) => (path.to_owned(), read(path)?),
            None => (PathBuf::from("built-in examples.jsonl"), built_in.examples.clone()),
        };
        let examples = parse_examples(&path, &text)?;
        if examples.len() < per_prompt {
            let found = examples.len();
            return Err(AnswerError::TooFewExamples { path, wanted: per_prompt, found });
        }
        let hash = prompt_hash(&system, &user, &examples, per_prompt);
        Ok(Self { system, user, examples, per_prompt, hash })
    }

    /// Builds the prompt for one pair. `seed` decides which examples are shown.
    pub fn build(&self, description: &str, instruction: &str, seed: u64) -> Vec<Message> {
        let mut messages = vec![Message::system(self.system.trim())];
        for example in self.draw(seed) {
            messages.push(Message::user(self.turn(&example.description, &example.instruction)));
            messages.push(Message::assistant(break_up(&example.answer)));
        }
        messages.push(Message::user(self.turn(description, instruction)));
        messages
    }

    /// Ids of the examples that [`PromptSet::build`] shows for `seed`, in their order.
    pub fn shown(&self, seed: u64) -> Vec<String> {
        self.draw(seed).iter().map(|example| example.id.clone()).collect()
    }

    fn draw(&self, seed: u64) -> Vec<&Example> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        self.examples.sample(&mut random, self.per_prompt).collect()
    }

    /// What an answer must not repeat: the system prompt and, where any are shown, the examples'
    /// answers.
    pub fn texts(&self) -> Vec<&str> {
        let shown = if self.per_prompt > 0 { self.examples.as_slice() } else { &[] };
        let answers = shown.iter().map(|example| example.answer.as_str());
        std::iter::once(self.system.as_str()).chain(answers).collect()
    }

    fn turn(&self, description: &str, instruction: &str) -> String {
        render(self.user.trim(), &[(DESCRIPTION, description), (INSTRUCTION, instruction)])
    }
}

fn template(
    folder: Option<&Path>,
    name: &str,
    built_in: &str,
) -> Result<(PathBuf, String), AnswerError> {
    match folder {
        Some(folder) => {
            let path = folder.join(name);
            let text = read(&path)?;
            Ok((path, text))
        }
        None => Ok((PathBuf::from(format!("built-in {name}")), built_in.to_owned())),
    }
}

fn read(path: &Path) -> Result<String, AnswerError> {
    fs_err::read_to_string(path).map_err(|source| AnswerError::Io { path: path.to_owned(), source })
}

fn check_placeholders(path: &Path, template: &str) -> Result<(), AnswerError> {
    let found: Vec<&str> = placeholders(template).collect();
    if let Some(unknown) = found.iter().find(|name| ![DESCRIPTION, INSTRUCTION].contains(name)) {
        let found = (*unknown).to_owned();
        return Err(AnswerError::UnknownPlaceholder { path: path.to_owned(), found });
    }
    for placeholder in [DESCRIPTION, INSTRUCTION] {
        if !found.contains(&placeholder) {
            return Err(AnswerError::Placeholder { path: path.to_owned(), placeholder });
        }
    }
    Ok(())
}

fn parse_examples(path: &Path, text: &str) -> Result<Vec<Example>, AnswerError> {
    let mut examples: Vec<Example> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refuse = |message: String| AnswerError::Example {
            path: path.to_owned(),
            line: index + 1,
            message,
        };
        let example: Example =
            serde_json::from_str(line).map_err(|error| refuse(error.to_string()))?;
        if examples.iter().any(|earlier| earlier.id == example.id) {
            return Err(refuse(format!("the id {:?} is there already", example.id)));
        }
        examples.push(example);
    }
    Ok(examples)
}

fn prompt_hash(system: &str, user: &str, examples: &[Example], per_prompt: usize) -> String {
    let count = per_prompt.to_string();
    let mut parts = vec![system, user, count.as_str()];
    for Example { id, instruction, description, answer } in examples {
        parts.extend([id.as_str(), instruction, description, answer]);
    }
    hash::key(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in(per_prompt: usize) -> PromptSet {
        PromptSet::read(None, None, per_prompt).expect("built-in prompts")
    }

    #[test]
    fn examples_are_drawn_by_seed_and_come_as_turns() {
        let set = built_in(2);
        let messages = set.build("A cat on a mat.", "Write a poem.", 7);
        assert_eq!(messages, set.build("A cat on a mat.", "Write a poem.", 7));
        assert_eq!(messages.len(), 1 + 2 * 2 + 1);
        let shown = set.shown(7);
        assert_eq!(shown.len(), 2);
        assert_ne!(shown[0], shown[1]);
        let draws: std::collections::HashSet<_> = (0..20).map(|seed| set.shown(seed)).collect();
        assert!(draws.len() > 5, "seeds must matter: {draws:?}");
    }

    /// A run of release 0.1.0 keeps no examples of its own and goes on with these. Whoever changes
    /// a built-in text keeps that release's, and gives it to `Database::began_with` for such runs.
    #[test]
    fn the_built_in_texts_are_those_of_0_1_0() {
        assert_eq!(built_in(2).hash, "84ef911ceefce5bdc979c4117639b201");
    }

    #[test]
    fn wrong_templates_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("temp dir");
        fs_err::write(folder.path().join("answer.system.txt"), "s").expect("write");
        let user = folder.path().join("answer.user.txt");
        for (text, wanted) in [
            ("{description}", "lacks the placeholder {instruction}"),
            ("{description} {instruction} {captoin}", "unknown placeholder {captoin}"),
        ] {
            fs_err::write(&user, text).expect("write");
            let error = PromptSet::read(Some(folder.path()), None, 1).expect_err(text);
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[test]
    fn the_hash_covers_templates_examples_and_count() {
        let (one, two) = (built_in(1), built_in(2));
        assert_ne!(one.hash, two.hash);
        assert_eq!(one.hash, built_in(1).hash);
    }

    #[test]
    fn more_examples_than_there_are_is_refused() {
        let error = PromptSet::read(None, None, 1000).expect_err("too many");
        assert!(matches!(error, AnswerError::TooFewExamples { wanted: 1000, .. }));
    }
}
