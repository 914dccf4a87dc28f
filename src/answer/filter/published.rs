//! The filters over answers that people published or wrote with care: few may fall.

use std::path::Path;

use serde_json::Value;

use super::*;

/// The objects of a file of JSON lines, or `None`, loudly, where it is not on this machine.
fn rows(path: &Path) -> Option<Vec<Value>> {
    let Ok(text) = fs_err::read_to_string(path) else {
        eprintln!("SKIPPED: {} is not on this machine", path.display());
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).expect("JSON lines")).collect())
}

fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().expect("a string field")
}

/// Every filter but those of length and truncation.
fn filters() -> Filters {
    let mut config = FilterConfig::default();
    config.enabled.retain(|name| !matches!(name, FilterName::Length | FilterName::Truncated));
    Filters::new(&config).expect("a good configuration")
}

/// What the filters refuse of a published answer file, and how many answers it has.
fn refused(answers: &str) -> Option<(Vec<Refused>, usize)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mm-instruct-eval");
    let questions = rows(&folder.join("MM-Instruct-Eval-question.json"))?;
    let answers = rows(&folder.join(answers))?;
    let filters = filters();
    let check = |(question, answer): (&Value, &Value)| {
        let verdict = filters.check(&SampleView {
            text: field(answer, "text"),
            truncated: false,
            instruction: field(question, "text"),
            description: field(question, "caption"),
            prompt_texts: &[],
            ..SampleView::default()
        });
        match verdict {
            Verdict::Pass => None,
            Verdict::Reject(refused) => {
                eprintln!("{} {}: {}", answer["question_id"], refused.code, refused.reason);
                Some(refused)
            }
        }
    };
    let refused = questions.iter().zip(&answers).filter_map(check).collect();
    Some((refused, answers.len()))
}

#[test]
fn published_gpt4v_answers_pass() {
    let Some((refused, answers)) = refused("gpt4v.json") else {
        return;
    };
    assert_eq!(answers, 99);
    assert!(refused.len() * 20 <= answers, "{} of {answers}: {refused:#?}", refused.len());
}

#[test]
fn weaker_models_fall_more_often_and_for_what_they_do() {
    let Some((refused, answers)) = refused("llava-v1.5-7b.json") else {
        return;
    };
    assert!(refused.len() * 4 <= answers, "{} of {answers}: {refused:#?}", refused.len());
    assert!(refused.iter().any(|refused| refused.code.starts_with("repeated_")));
}

#[test]
fn our_own_examples_pass() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/examples.jsonl");
    let Some(examples) = rows(&path) else { return };
    let filters = Filters::new(&FilterConfig::default()).expect("the default");
    for example in examples {
        let verdict = filters.check(&SampleView {
            text: field(&example, "answer"),
            truncated: false,
            instruction: field(&example, "instruction"),
            description: field(&example, "description"),
            prompt_texts: &[],
            ..SampleView::default()
        });
        assert_eq!(verdict, Verdict::Pass, "{}", field(&example, "id"));
    }
}
