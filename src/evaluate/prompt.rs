//! The judge's prompt: files with named placeholders, known by their hash.

use std::path::{Path, PathBuf};

use super::error::EvaluationError;
use crate::base::hash;
use crate::llm::template::{placeholders, render};

const BUILT_IN_SYSTEM: &str = include_str!("../../prompts/judge.system.txt");
const BUILT_IN_USER: &str = include_str!("../../prompts/judge.user.txt");

/// What the user template must hold, each once or more.
const PLACEHOLDERS: [&str; 4] = ["image", "instruction", "answer_a", "answer_b"];

/// The two templates of a judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgePrompts {
    pub system: String,
    pub user: String,
    /// Key over both.
    pub hash: String,
}

/// What one user turn is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn<'a> {
    /// The caption, or words that say where the image is.
    pub image: &'a str,
    pub instruction: &'a str,
    pub answer_a: &'a str,
    pub answer_b: &'a str,
}

impl JudgePrompts {
    /// Reads `judge.system.txt` and `judge.user.txt` from `folder`; the built-in ones without one.
    ///
    /// # Errors
    /// A file is missing, or the user template lacks a placeholder or has an unknown one.
    pub fn read(folder: Option<&Path>) -> Result<Self, EvaluationError> {
        let (_, system) = template(folder, "judge.system.txt", BUILT_IN_SYSTEM)?;
        let (path, user) = template(folder, "judge.user.txt", BUILT_IN_USER)?;
        check(&path, &user)?;
        Ok(Self::of(system, user))
    }

    /// Prompts of these two templates.
    pub(super) fn of(system: String, user: String) -> Self {
        let hash = hash::key(&["judge prompts", &system, &user]);
        Self { system, user, hash }
    }

    pub(super) fn turn(&self, turn: Turn<'_>) -> String {
        let Turn { image, instruction, answer_a, answer_b } = turn;
        let values = [
            ("image", image),
            ("instruction", instruction),
            ("answer_a", answer_a),
            ("answer_b", answer_b),
        ];
        render(self.user.trim(), &values)
    }
}

fn template(
    folder: Option<&Path>,
    name: &str,
    built_in: &str,
) -> Result<(PathBuf, String), EvaluationError> {
    let Some(folder) = folder else {
        return Ok((PathBuf::from(format!("built-in {name}")), built_in.to_owned()));
    };
    let path = folder.join(name);
    let text = fs_err::read_to_string(&path).map_err(EvaluationError::io(&path))?;
    Ok((path, text))
}

fn check(path: &Path, template: &str) -> Result<(), EvaluationError> {
    let refuse = |message: String| EvaluationError::Prompt { path: path.to_owned(), message };
    let found: Vec<&str> = placeholders(template).collect();
    if let Some(unknown) = found.iter().find(|name| !PLACEHOLDERS.contains(name)) {
        let known = PLACEHOLDERS.join("}, {");
        return Err(refuse(format!("unknown placeholder {{{unknown}}}; known are {{{known}}}")));
    }
    match PLACEHOLDERS.iter().find(|name| !found.contains(name)) {
        Some(missing) => Err(refuse(format!("the prompt lacks the placeholder {{{missing}}}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failure::Failure;

    #[test]
    fn a_turn_holds_both_answers_and_the_paper_s_options() {
        let prompts = JudgePrompts::read(None).expect("built-in");
        let turn = Turn {
            image: "A red {bus}.",
            instruction: "Describe it.",
            answer_a: "first one",
            answer_b: "{answer_a}",
        };
        let text = prompts.turn(turn);
        for wanted in [
            "A red {bus}.",
            "Describe it.",
            "[Answer A]\nfirst one\n",
            "[Answer B]\n{answer_a}\n",
            "A. Answer A is significantly better.",
            "B. Answer B is significantly better.",
            "C. Neither is significantly better.",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in {text}");
        }
    }

    /// An evaluation of release 0.1.0 keeps no texts of its own and goes on with these. Whoever
    /// changes them keeps that release's, and gives it to `Database::began_with` for such folders.
    #[test]
    fn the_built_in_texts_are_those_of_0_1_0() {
        let prompts = JudgePrompts::read(None).expect("built-in");
        assert_eq!(prompts.hash, "174700a1d072d7850a43c68bbcb11c97");
    }

    #[test]
    fn wrong_templates_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("temp dir");
        let write = |name: &str, text: &str| {
            fs_err::write(folder.path().join(name), text).expect("write");
        };
        write("judge.system.txt", "s");
        for (text, wanted) in [
            ("{image} {instruction} {answer_a}", "lacks the placeholder {answer_b}"),
            ("{image} {instruction} {answer_a} {answer_b} {model}", "unknown placeholder {model}"),
        ] {
            write("judge.user.txt", text);
            let error = JudgePrompts::read(Some(folder.path())).expect_err(text).to_string();
            assert!(error.contains(wanted) && error.contains("judge.user.txt"), "{error}");
        }
        let error = JudgePrompts::read(Some(&folder.path().join("none"))).expect_err("missing");
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
    }
}
