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
