//! Brings answers and questions together by id. The published script zips files by line: a
//! missing line then shifts every answer after it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::listed;
use super::question::{Answer, AnswerFile, Question, QuestionFile, QuestionId};
use super::{EvaluationError, question};

/// The mark of an image in prompts of LLaVA's format, which is not part of the instruction.
const IMAGE_MARK: &str = "<image>";

/// What to do where a model gave no answer at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmptyAnswers {
    /// Refuse the file, naming the questions.
    #[default]
    Refuse,
    /// The other model wins that question, without a call.
    Lose,
}

/// One model with its answers in the order of the questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrant {
    /// Unique among the entrants.
    pub name: String,
    pub path: PathBuf,
    pub sha256: String,
    /// One for each question.
    pub answers: Vec<String>,
}

/// Aligns every file with the questions.
///
/// # Errors
/// [`EvaluationError::Align`] with everything that does not fit, each with its ids: ids that come
/// twice, missing and unknown ids, answers to another instruction, empty answers where `empty`
/// refuses them.
pub fn align(
    questions: &QuestionFile,
    files: &[AnswerFile],
    empty: EmptyAnswers,
) -> Result<Vec<Entrant>, EvaluationError> {
    let mut problems = Vec::new();
    let twice = twice(questions.questions.iter().map(|question| &question.question_id));
    if !twice.is_empty() {
        problems.push(format!("{}: ids twice: {}", questions.path.display(), listed(&twice)));
    }
    for file in files {
        check_file(&questions.questions, file, empty, &mut problems);
    }
    if !problems.is_empty() {
        return Err(EvaluationError::Align { problems });
    }
    let entrants: Vec<Entrant> =
        files.iter().map(|file| entrant(&questions.questions, file)).collect();
    both_empty(&questions.questions, &entrants)?;
    distinct(entrants)
}

fn twice<'a>(ids: impl Iterator<Item = &'a QuestionId>) -> Vec<&'a QuestionId> {
    let mut seen = HashSet::new();
    ids.filter(|id| !seen.insert(*id)).collect()
}

fn check_file(
    questions: &[Question],
    file: &AnswerFile,
    empty: EmptyAnswers,
    problems: &mut Vec<String>,
) {
    let mut note = |what: &str, ids: Vec<&QuestionId>| {
        if !ids.is_empty() {
            problems.push(format!("{}: {what}: {}", file.path.display(), listed(&ids)));
        }
    };
    let known: HashSet<&QuestionId> = questions.iter().map(|one| &one.question_id).collect();
    let given = by_id(file);
    note("ids twice", twice(file.answers.iter().map(|answer| &answer.question_id)));
    let ids = || questions.iter().map(|question| &question.question_id);
    note("no answer to questions", ids().filter(|id| !given.contains_key(id)).collect());
    let unknown = file.answers.iter().map(|answer| &answer.question_id);
    note("answers to unknown questions", unknown.filter(|id| !known.contains(id)).collect());
    note("answers to another instruction under the same id", other_prompts(questions, &given));
    if empty == EmptyAnswers::Refuse {
        let blank = file.answers.iter().filter(|answer| answer.text.trim().is_empty());
        note("empty answers", blank.map(|answer| &answer.question_id).collect());
    }
}

fn by_id(file: &AnswerFile) -> HashMap<&QuestionId, &Answer> {
    file.answers.iter().map(|answer| (&answer.question_id, answer)).collect()
}

fn other_prompts<'a>(
    questions: &'a [Question],
    given: &HashMap<&QuestionId, &Answer>,
) -> Vec<&'a QuestionId> {
    let differs = |question: &&Question| {
        let prompt = given.get(&question.question_id).and_then(|answer| answer.prompt.as_deref());
        prompt.is_some_and(|prompt| plain(prompt) != plain(&question.text))
    };
    questions.iter().filter(differs).map(|question| &question.question_id).collect()
}

/// An instruction without the image's mark and with single spaces.
fn plain(text: &str) -> String {
    text.replace(IMAGE_MARK, " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn entrant(questions: &[Question], file: &AnswerFile) -> Entrant {
    let given = by_id(file);
    let text = |question: &Question| {
        given.get(&question.question_id).map(|answer| answer.text.clone()).unwrap_or_default()
    };
    Entrant {
        name: file.name.clone(),
        path: file.path.clone(),
        sha256: file.sha256.clone(),
        answers: questions.iter().map(text).collect(),
    }
}

/// Where nobody answered there is nothing to decide, not even a forfeit.
fn both_empty(questions: &[Question], entrants: &[Entrant]) -> Result<(), EvaluationError> {
    let blank = |index: &usize| {
        entrants.iter().filter(|one| one.answers[*index].trim().is_empty()).count() > 1
    };
    let ids: Vec<_> =
        (0..questions.len()).filter(blank).map(|index| &questions[index].question_id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let problems = vec![format!("more than one model gave an empty answer to: {}", listed(&ids))];
    Err(EvaluationError::Align { problems })
}

/// Gives entrants of one name their files' names; tables and rankings need them apart.
fn distinct(mut entrants: Vec<Entrant>) -> Result<Vec<Entrant>, EvaluationError> {
    let names: Vec<String> = entrants.iter().map(|one| one.name.clone()).collect();
    for entrant in &mut entrants {
        if names.iter().filter(|name| **name == entrant.name).count() > 1 {
            entrant.name = format!("{} ({})", entrant.name, question::stem(&entrant.path));
        }
    }
    let mut seen = HashSet::new();
    match entrants.iter().find(|one| !seen.insert(one.name.as_str())) {
        Some(again) => {
            let problem = format!("two answer files would both be called {:?}", again.name);
            Err(EvaluationError::Align { problems: vec![problem] })
        }
        None => Ok(entrants),
    }
}

#[cfg(test)]
#[path = "align_tests.rs"]
mod tests;
