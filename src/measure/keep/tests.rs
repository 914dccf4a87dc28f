use proptest::prelude::*;

use super::*;
use crate::base::failure::Failure;
use crate::dataset::record::{Lineage, MeasureValue};

fn sample(measures: &[(&str, MeasureValue)]) -> Sample {
    let measures = measures.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    Sample {
        id: "cat-1".into(),
        image: "cat.jpg".into(),
        instruction: "Write a poem.".into(),
        answer: "A cat.".into(),
        lineage: Lineage {
            category: Some("home and garden".into()),
            instruction_id: "poem".into(),
            similarity: 0.25,
            probability: None,
            rank: 1,
            width: 640,
            ..Lineage::default()
        },
        measures: measures.collect(),
        ..Sample::default()
    }
}

fn number(value: f64) -> MeasureValue {
    MeasureValue::Number(value)
}

/// Whether the sample passes this one expression.
fn passes(expression: &str, sample: &Sample) -> bool {
    Keep::parse(&[expression]).expect(expression).look(sample).keeps()
}

#[test]
fn values_are_compared_as_written() {
    let sample = sample(&[("sentence_similarity_min", number(0.2))]);
    for (expression, expected) in [
        ("sentence_similarity_min >= 0.2", true),
        ("sentence_similarity_min > 0.2", false),
        ("sentence_similarity_min<=2e-1", true),
        ("sentence_similarity_min < 0.2", false),
        ("sentence_similarity_min == .2", true),
        ("sentence_similarity_min != 0.2", false),
        ("similarity > -1", true),
        ("rank == 1", true),
        ("width >= 640", true),
        ("category == \"home and garden\"", true),
        ("category != food", true),
        ("instruction_id == poem", true),
        // There is no value: it passes, unless one is demanded.
        ("sentence_similarity_mean >= 0.2", true),
        ("sentence_similarity_mean >= 0.2 or missing", true),
        ("sentence_similarity_mean >= 0.2 and present", false),
        ("probability > 0.5", true),
        ("probability > 0.5 and  present ", false),
    ] {
        assert_eq!(passes(expression, &sample), expected, "{expression}");
    }
    // A value of the other type counts as none.
    let odd = self::sample(&[("sentence_similarity_min", MeasureValue::Text("high".into()))]);
    assert!(passes("sentence_similarity_min >= 0.2", &odd));
    assert!(!passes("sentence_similarity_min >= 0.2 and present", &odd));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (expression, code, said) in [
        ("", "", ""),
        ("similarity", "keep_syntax", "column 11: the end where one of <= < >= > == !="),
        ("similarity = 1", "keep_syntax", "column 12: `=`"),
        ("similarity >= ", "keep_syntax", "column 15: the end where a number"),
        ("> 3", "keep_syntax", "column 1: `>` where the name"),
        ("similarity > 0.2 or gone", "keep_syntax", "column 21: `g` where `missing`"),
        ("similarity > 0.2 0.3", "keep_syntax", "column 18: `0`"),
        ("rank == 1 and present too", "keep_syntax", "column 23: `t` where the end"),
        ("category == \"a", "keep_syntax", "a closing \""),
        ("category == \"a\\b\"", "keep_syntax", "column 16: `b`"),
        ("category == \"a\u{1b}[2J\"", "keep_syntax", "\\u{1b}"),
        ("sentence_similarity_mn > 1", "keep_unknown_name", "mean `sentence_similarity_min`?"),
        ("ärger > 1", "keep_unknown_name", "called `ärger`"),
        ("similarity > high", "keep_wrong_type", "similarity is a number; `high`"),
        ("similarity > nan", "keep_wrong_type", "`nan`"),
        ("similarity > \"0.2\"", "keep_wrong_type", "`\"0.2\"`"),
        ("category < b", "keep_wrong_type", "column 10: category is a word; `<`"),
    ] {
        let read = Keep::parse(&[expression]);
        if code.is_empty() {
            assert!(read.expect("nothing is asked").is_empty());
            continue;
        }
        let error = read.expect_err(expression);
        assert_eq!(error.code(), code, "{expression}");
        assert!(error.to_string().contains(said), "{expression}: {error}");
    }
    let many = vec!["rank == 1"; MAX_EXPRESSIONS + 1];
    assert_eq!(Keep::parse(&many).expect_err("too many").code(), "keep_too_many");
}

#[test]
fn a_measure_that_is_not_taken_is_refused_with_its_setting() {
    let keep = Keep::parse(&["rank == 1", "sentence_similarity_mean > 0"]).expect("sound");
    keep.require_enabled(&[MeasureName::SentenceSimilarityMean]).expect("taken");
    let error = keep.require_enabled(&[MeasureName::SentenceSimilarityMin]).expect_err("not taken");
    assert_eq!(error.code(), "measure_not_enabled");
    let said = error.to_string();
    assert!(said.contains("add \"sentence_similarity_mean\" to measure.enabled"), "{said}");
}

#[test]
fn each_expression_is_counted_alone_and_with_the_others() {
    let list = ["rank == 2", "sentence_similarity_min >= 0.2", "width > 1000"];
    let keep = Keep::parse(&list).expect("sound");
    let mut counts = keep.counts();
    let mut add = |rank, value: Option<f64>, width| {
        let mut one = sample(&[]);
        (one.lineage.rank, one.lineage.width) = (rank, width);
        if let Some(value) = value {
            one.measures.insert("sentence_similarity_min".into(), number(value));
        }
        counts.add(keep.look(&one));
    };
    add(2, Some(0.3), 2000);
    add(2, Some(0.1), 2000);
    add(1, Some(0.1), 2000);
    add(2, None, 2000);
    assert_eq!((counts.samples, counts.kept, counts.left_out()), (4, 2, 2));
    let found = |one: &ExpressionCounts| (one.left_out, one.alone, one.missing);
    let found: Vec<_> = counts.expressions.iter().map(found).collect();
    assert_eq!(found, [(1, 0, 0), (2, 1, 1), (0, 0, 0)]);
}

fn an_expression() -> impl Strategy<Value = Expression> {
    let subjects: Vec<Subject> = Subject::all().collect();
    let operators = prop::sample::select(vec![
        Operator::AtMost,
        Operator::Below,
        Operator::AtLeast,
        Operator::Above,
        Operator::Equal,
        Operator::NotEqual,
    ]);
    let numbers = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
    let parts =
        (prop::sample::select(subjects), operators, numbers, "[^\\pC]{0,12}", any::<bool>());
    parts.prop_map(|(subject, operator, number, word, demands_value)| {
        let operator = match (subject.is_word(), operator) {
            (true, Operator::Below | Operator::AtMost) => Operator::Equal,
            (true, Operator::Above | Operator::AtLeast) => Operator::NotEqual,
            (_, operator) => operator,
        };
        let literal = if subject.is_word() { Literal::Word(word) } else { Literal::Number(number) };
        Expression { subject, operator, literal, demands_value }
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same(expression in an_expression()) {
        let printed = expression.to_string();
        let read: Expression = printed.parse().map_err(|error| {
            TestCaseError::fail(format!("{printed}: {error}"))
        })?;
        prop_assert_eq!(read, expression);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,40}", tail in "[a-z_<>=!\"\\\\ 0-9.]{0,30}") {
        for text in [&text, &tail, &format!("category == {text}"), &format!("rank {tail}{text}")] {
            if let Err(error) = text.parse::<Expression>() {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
