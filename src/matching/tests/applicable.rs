//! What does not apply is not drawn, and says why.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::base::key::Key;
use crate::index::{IndexConfig, VectorSearch, build};
use crate::matching::check::{CheckKind, Checker};

/// Instructions in a row, each less like the photo than the one before it: `boats` that require a
/// boat, then one that suits any photo.
fn library(boats: usize) -> (Arc<dyn VectorSearch>, Wordings) {
    let mut index = build(&IndexConfig::default(), 2, 0).expect("an index");
    for at in 0..=boats {
        let angle = at as f32 * 0.01;
        index.add(&at.to_string(), &[angle.cos(), angle.sin()]).expect("added");
    }
    let wordings = move |id: &str| {
        let at: usize = id.parse().ok()?;
        let requires = if at < boats { vec!["boat".to_owned()] } else { Vec::new() };
        Some(Wording { text: "Tell of it.".into(), requires: Some(requires.into()) })
    };
    let index: Box<dyn VectorSearch> = index;
    (Arc::from(index), Arc::new(wordings))
}

fn matched(boats: usize, description: &str, config: MatchingConfig) -> Outcome {
    let (index, wordings) = library(boats);
    let checker = Checker::new(&[CheckKind::Text], None);
    let matcher = Matcher::new(rules(config), index, None).expect("sound");
    let matcher = matcher.with_check(CandidateCheck { checker, wordings });
    let descriptions: Vec<String> =
        Some(description.to_owned()).filter(|text| !text.is_empty()).into_iter().collect();
    let photo = Drawing {
        subject: &[2.0, 0.0],
        caption: None,
        descriptions: &descriptions,
        is_photo: true,
        seed: 1,
    };
    let outcomes = match_queries(&matcher, &mut QuotaBook::unlimited(), &[photo]).expect("matched");
    outcomes.into_iter().next().expect("one").expect("sound")
}

fn nearest(pool: usize) -> MatchingConfig {
    MatchingConfig {
        strategy: Strategy::Top1,
        pool,
        record_candidates: 2,
        ..MatchingConfig::default()
    }
}

#[test]
fn the_best_that_applies_is_drawn_though_it_lies_beyond_the_pool() {
    let outcome = matched(40, "A brown dog runs over a meadow.", nearest(4));
    assert_eq!(ids(&outcome), ["40"]);
    assert_eq!(outcome.refused.inapplicable, 40);
    assert_eq!(outcome.refused_by, Some(BTreeMap::from([(CheckKind::Text, 40)])));
    let refused: Vec<&str> = outcome.inapplicable.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(refused, ["0", "1"], "the best of them are recorded");
    let verdict = outcome.inapplicable[0].verdict.as_ref().expect("checked");
    assert_eq!(verdict.refusal().expect("refused").missing, ["boat"]);
}

#[test]
fn a_pool_is_not_widened_without_end() {
    let outcome = matched(40, "A brown dog runs over a meadow.", nearest(2));
    assert!(outcome.picks.is_empty());
    let no_match = outcome.no_match.expect("nothing was drawn");
    assert_eq!(no_match.code(), "no_applicable_instruction");
    assert!(no_match.to_string().contains("none of the 32"), "{no_match}");
    assert!(no_match.to_string().contains("text: no \"boat\""), "{no_match}");
}

/// A model's own floor gives way to what certainly applies, a floor that was set does not.
#[test]
fn a_check_leaves_no_photo_without_what_suits_any() {
    let floor = |min_similarity| {
        let (index, wordings) = library(40);
        let checker = Checker::new(&[CheckKind::Text], None);
        let config = MatchingConfig { min_similarity, ..nearest(64) };
        // The last, which suits any photo, lies at 0.9211.
        let defaults = ModelDefaults { min_similarity: 0.95, caption_weight: 0.0 };
        let rules = MatchRules::new(&config, defaults).expect("sound");
        let matcher = Matcher::new(rules, index, None).expect("sound");
        let matcher = matcher.with_check(CandidateCheck { checker, wordings });
        let draw = |description: &str| {
            let photo = Drawing {
                subject: &[2.0, 0.0],
                caption: None,
                descriptions: &[description.to_owned()],
                is_photo: true,
                seed: 1,
            };
            let drawn = match_queries(&matcher, &mut QuotaBook::unlimited(), &[photo]);
            drawn.expect("matched").remove(0).expect("sound")
        };
        (draw("A brown dog runs over a meadow."), draw("A boat lies at the pier."))
    };
    let (dog, boat) = floor(None);
    assert_eq!((ids(&dog), ids(&boat)), (vec!["40"], vec!["0"]));
    assert!(dog.picks[0].similarity < 0.95 && dog.refused.inapplicable > 0, "{:?}", dog.refused);
    let (dog, boat) = floor(Some(0.95));
    assert_eq!(dog.no_match.expect("none").code(), "no_applicable_instruction");
    assert_eq!(ids(&boat), ["0"]);
}

#[test]
fn what_applies_or_cannot_be_checked_is_drawn() {
    let boat = matched(3, "A boat lies at the pier.", nearest(4));
    assert_eq!((ids(&boat), boat.refused.inapplicable), (vec!["0"], 0));
    let silent = matched(3, "", nearest(4));
    assert_eq!((ids(&silent), silent.refused.inapplicable), (vec!["0"], 0));
    let considered = &silent.considered[0];
    let findings = &considered.verdict.as_ref().expect("checked").findings;
    assert_eq!((findings[0].score, findings[0].missing.len()), (None, 0), "it abstained");
}

#[test]
fn what_was_drawn_without_checks_keeps_its_key() {
    let key = |check: &[CheckKind]| {
        let config = MatchingConfig { check: Some(check.to_vec()), ..MatchingConfig::default() };
        rules(config).add_to(Key::new("a", 1)).done()
    };
    let keys = [key(&[]), key(&[CheckKind::Text]), key(&[CheckKind::Text, CheckKind::Encoder])];
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    assert_eq!(rules(MatchingConfig::default()).checks(), DEFAULT_CHECKS);
    assert_eq!(keys[2], rules(MatchingConfig::default()).add_to(Key::new("a", 1)).done());
}

#[test]
fn checks_are_read_by_name() {
    let read = |list: &str| toml::from_str::<MatchingConfig>(&format!("check = {list}"));
    let kinds = |list| read(list).expect("valid").check.expect("named");
    assert_eq!(kinds(r#"["encoder", " text "]"#), [CheckKind::Encoder, CheckKind::Text]);
    assert_eq!((kinds("[]"), kinds(r#"[""]"#)), (vec![], vec![]));
    let unknown = read(r#"["text", "ocr"]"#).expect_err("unknown").to_string();
    assert!(unknown.contains("\"ocr\"") && unknown.contains("text, encoder, llm"), "{unknown}");
    let twice = MatchingConfig {
        check: Some(vec![CheckKind::Text, CheckKind::Text]),
        ..MatchingConfig::default()
    };
    let refused = MatchRules::new(&twice, DEFAULTS).expect_err("twice").to_string();
    assert!(refused.contains("matching.check is text, must be named once"), "{refused}");
}
