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
mod tests {
    use super::*;

    fn question(id: i64) -> Question {
        Question {
            question_id: QuestionId::Number(id),
            image: format!("{id}.jpg"),
            text: format!("Do  task {id}."),
            caption: "A cat.".into(),
            category: String::new(),
        }
    }

    fn questions(ids: &[i64]) -> QuestionFile {
        let questions = ids.iter().map(|id| question(*id)).collect();
        QuestionFile { path: "q.json".into(), questions, sha256: String::new() }
    }

    fn answer(id: i64, text: &str) -> Answer {
        let question_id = QuestionId::Number(id);
        Answer { question_id, prompt: None, text: text.into(), model_id: None }
    }

    fn file(name: &str, answers: Vec<Answer>) -> AnswerFile {
        let path = format!("{name}.json").into();
        AnswerFile { path, name: name.into(), answers, sha256: String::new() }
    }

    fn refusal(ids: &[i64], answers: Vec<Answer>) -> String {
        let aligned = align(&questions(ids), &[file("m", answers)], EmptyAnswers::Refuse);
        aligned.expect_err("refused").to_string()
    }

    #[test]
    fn answers_follow_the_questions_whatever_their_order() {
        let file = file("m", vec![answer(2, "two"), answer(1, "one")]);
        let aligned = align(&questions(&[1, 2]), &[file], EmptyAnswers::Refuse).expect("fits");
        assert_eq!(aligned[0].answers, ["one", "two"]);
    }

    #[test]
    fn a_shorter_file_and_strange_ids_are_named() {
        let said = refusal(&[1, 2, 3], vec![answer(1, "x"), answer(9, "x")]);
        assert!(said.contains("m.json: no answer to questions: 2, 3"), "{said}");
        assert!(said.contains("m.json: answers to unknown questions: 9"), "{said}");
    }

    #[test]
    fn ids_that_come_twice_are_named_in_both_kinds_of_file() {
        let said = refusal(&[1, 1], vec![answer(1, "x"), answer(1, "y")]);
        assert!(said.contains("q.json: ids twice: 1"), "{said}");
        assert!(said.contains("m.json: ids twice: 1"), "{said}");
    }

    #[test]
    fn an_answer_to_another_instruction_is_found() {
        let mut fits = answer(1, "x");
        fits.prompt = Some("<image>\nDo task 1.".into());
        let mut shifted = answer(2, "x");
        shifted.prompt = Some("Do task 1.".into());
        let said = refusal(&[1, 2], vec![fits, shifted]);
        assert!(said.ends_with("another instruction under the same id: 2"), "{said}");
    }

    #[test]
    fn empty_answers_are_refused_or_lose() {
        let said = refusal(&[1, 2], vec![answer(1, " \n"), answer(2, "x")]);
        assert!(said.ends_with("m.json: empty answers: 1"), "{said}");
        let files = [
            file("m", vec![answer(1, " "), answer(2, "x")]),
            file("n", vec![answer(1, "y"), answer(2, "z")]),
        ];
        let aligned = align(&questions(&[1, 2]), &files, EmptyAnswers::Lose).expect("allowed");
        assert_eq!(aligned[0].answers, [" ", "x"]);
    }

    #[test]
    fn where_nobody_answered_nothing_can_be_decided() {
        let files = [file("m", vec![answer(1, "")]), file("n", vec![answer(1, "")])];
        let said = align(&questions(&[1]), &files, EmptyAnswers::Lose).expect_err("no").to_string();
        assert!(said.contains("more than one model gave an empty answer to: 1"), "{said}");
    }

    #[test]
    fn entrants_of_one_name_are_told_apart_or_refused() {
        let mut twins = [file("m", vec![answer(1, "x")]), file("m", vec![answer(1, "y")])];
        twins[1].path = "later.json".into();
        let aligned = align(&questions(&[1]), &twins, EmptyAnswers::Refuse).expect("apart");
        assert_eq!(aligned[1].name, "m (later)");
        twins[1].path = "elsewhere/m.json".into();
        let said = align(&questions(&[1]), &twins, EmptyAnswers::Refuse).expect_err("alike");
        assert!(said.to_string().contains("both be called"), "{said}");
    }
}
