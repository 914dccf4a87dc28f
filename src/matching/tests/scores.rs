//! Settings, queries of image and caption, corrections for hubs, and the way through an index.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::Strategy as Draws;

use super::{Strategy, *};
use crate::base::check::Settings;
use crate::base::failure::Failure;
use crate::index::{IndexConfig, LocalIndex, VectorSearch, build};

#[test]
fn shares_become_caps() {
    let cap = |share, planned| QuotaBook::with_share(share, planned).cap();
    assert_eq!((cap(0.0, 100), cap(1.0, 100)), (None, None));
    assert_eq!((cap(0.29, 100), cap(0.7, 10), cap(0.1, 39)), (Some(29), Some(7), Some(3)));
    assert_eq!(cap(0.01, 20), Some(1));
}

fn said(wrong: &MatchingConfig) -> String {
    wrong.validate_as("matching").expect_err("out of range").to_string().replace("; ", "\n")
}

#[test]
fn settings_are_refused_by_name_value_and_range() {
    let wrong = MatchingConfig {
        strategy: Strategy::Top1,
        per_image: 3,
        pool: 4,
        top_p: 0.0,
        temperature: f64::NAN,
        max_share: 1.5,
        caption_weight: Some(-0.1),
        ..MatchingConfig::default()
    };
    insta::assert_snapshot!(said(&wrong), @"
    matching.caption_weight is -0.1, must be 0 to 1
    matching.max_share is 1.5, must be 0 to 1
    matching.top_p is 0, must be 0.000001 to 1
    matching.temperature is NaN, must be 0 to 1000
    matching.per_image is 3, must be 1 to 1 with strategy top1
    ");
    let wrong = MatchingConfig { pool: 4, per_image: 9, ..MatchingConfig::default() };
    insta::assert_snapshot!(said(&wrong), @"
    matching.top_k is 8, must be 1 to 4, the last being pool
    matching.per_image is 9, must be 1 to 8, the last being top_k
    ");
    MatchingConfig::default().validate_as("matching").expect("in range");
    let defaults = ModelDefaults { min_similarity: 2.0, caption_weight: 0.0 };
    let error = MatchRules::new(&MatchingConfig::default(), defaults).expect_err("a bad catalog");
    assert_eq!(error.code(), "bad_matching_settings");
}

#[test]
fn settings_round_trip_and_refuse_unknown_fields() {
    let config = MatchingConfig { max_share: 0.07, ..MatchingConfig::default() };
    let text = toml::to_string(&config).expect("written");
    assert_eq!(toml::from_str::<MatchingConfig>(&text).expect("read"), config);
    assert!(toml::from_str::<MatchingConfig>("temprature = 0.1").is_err());
    let short: MatchingConfig = toml::from_str("strategy = \"mmr\"").expect("read");
    assert_eq!(short.strategy, Strategy::Mmr);
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let sum = |x: &[f32], y: &[f32]| {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
    };
    sum(a, b) / (sum(a, a) * sum(b, b)).sqrt()
}

fn index(vectors: &[(&str, [f32; 3])]) -> Arc<dyn VectorSearch> {
    let mut index = build(&IndexConfig::default(), 3, 0).expect("sound settings");
    for (id, vector) in vectors {
        index.add(id, vector).expect("a sound vector");
    }
    Arc::<dyn LocalIndex>::from(index)
}

fn direction() -> impl Draws<Value = [f32; 3]> {
    prop::array::uniform3(-1.0..1.0f32)
        .prop_filter("not too short", |v| v.iter().map(|x| x * x).sum::<f32>() > 0.01)
}

proptest! {
    /// One search with the combined query stands for two weighted ones.
    #[test]
    fn a_combined_query_scores_linearly(
        image in direction(), caption in direction(), text in direction(), weight in 0.0..=1.0f64,
    ) {
        let wanted = (1.0 - weight) * cosine(&image, &text) + weight * cosine(&caption, &text);
        if let Ok(query) = combined_query(&image, Some(&caption), weight) {
            let found = query.norm() * cosine(query.vector(), &text);
            prop_assert!((found - wanted).abs() < 1e-5, "{} instead of {}", found, wanted);
            prop_assert!((cosine(query.vector(), query.vector()) - 1.0).abs() < 1e-6);
            prop_assert!(query.norm() > 0.0 && query.norm() <= 1.0);
        }
    }

    /// Streaming means and deviations equal those taken over all at once.
    #[test]
    fn statistics_equal_two_passes(
        photos in prop::collection::vec(direction(), 2..40), text in direction(),
    ) {
        let index = index(&[("text", text)]);
        let mut fit = HubnessFit::new(&*index, &["text"]).expect("given");
        for photo in &photos {
            fit.add(&combined_query(photo, None, 0.0).expect("sound")).expect("right width");
        }
        let stats = fit.finish().expect("enough").instructions["text"];
        let mut all: Vec<_> = photos.iter().map(|photo| cosine(photo, &text)).collect();
        let count = all.len() as f64;
        let mean = all.iter().sum::<f64>() / count;
        let squares = all.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        prop_assert!((stats.mean - mean).abs() < 1e-6);
        prop_assert!((stats.deviation - (squares / (count - 1.0)).sqrt()).abs() < 1e-5);
        all.sort_by(|a, b| b.total_cmp(a));
        all.truncate(10);
        prop_assert!((stats.nearest - all.iter().sum::<f64>() / all.len() as f64).abs() < 1e-6);
    }
}

#[test]
fn queries_are_refused_with_a_reason() {
    let code = |image: &[f32], caption: Option<&[f32]>, weight| {
        combined_query(image, caption, weight).expect_err("refused").code()
    };
    assert_eq!(code(&[0.0, 0.0], None, 0.5), "vector_zero");
    assert_eq!(code(&[f32::NAN, 0.0], None, 0.5), "vector_not_finite");
    assert_eq!(code(&[1.0, 0.0], Some(&[1.0]), 0.5), "vector_wrong_width");
    assert_eq!(code(&[3.0, 4.0], Some(&[-0.3, -0.4]), 0.5), "caption_opposite_to_image");
    assert!(combined_query(&[3.0, 4.0], Some(&[-0.3, -0.4]), 0.4).is_ok());
}

#[test]
fn corrections_follow_their_formulas() {
    let one = |mean, deviation, nearest| InstructionStats { mean, deviation, nearest };
    let stats = HubnessStats {
        queries: 9,
        instructions: [
            ("a".to_owned(), one(0.2, 0.1, 0.5)),
            ("flat".to_owned(), one(0.2, 0.0, 0.1)),
        ]
        .into(),
    };
    let scores = |hubness| {
        let mut all = vec![candidate("a", 0.4), candidate("flat", 0.3)];
        let config = MatchingConfig { hubness, hubness_weight: 0.5, ..MatchingConfig::default() };
        stats.correct(&config, &mut all).expect("known");
        all.iter().map(|candidate| (candidate.score * 1e6).round() / 1e6).collect::<Vec<_>>()
    };
    assert_eq!(scores(Hubness::None), [0.4, 0.3]);
    // (0.4 - 0.2) / 0.1, and (0.3 - 0.2) / the least deviation 0.01.
    assert_eq!(scores(Hubness::Zscore), [2.0, 10.0]);
    // 2 sim - nearest - mean of 0.4 and 0.3.
    assert_eq!(scores(Hubness::Csls), [-0.05, 0.15]);
    // sim - 0.5 nearest.
    assert_eq!(scores(Hubness::Nnn), [0.15, 0.25]);
    let csls = MatchingConfig { hubness: Hubness::Csls, ..MatchingConfig::default() };
    let error = stats.correct(&csls, &mut [candidate("new", 0.1)]).expect_err("unknown");
    assert_eq!(error.code(), "hubness_statistics_outdated");
}

/// `hub` lies in the middle of all photos, the others each at one of them.
fn with_hub() -> Arc<dyn VectorSearch> {
    index(&[
        ("hub", [1.0, 1.0, 1.0]),
        ("x", [1.0, 0.0, -0.6]),
        ("y", [-0.6, 1.0, 0.0]),
        ("z", [0.0, -0.6, 1.0]),
    ])
}

const IDS: [&str; 4] = ["hub", "x", "y", "z"];

const PHOTOS: [[f32; 3]; 3] = [[1.0, 0.4, 0.2], [0.2, 1.0, 0.4], [0.4, 0.2, 1.0]];

fn best(hubness: Hubness) -> Vec<String> {
    let index = with_hub();
    let config = MatchingConfig { strategy: Strategy::Top1, hubness, ..MatchingConfig::default() };
    let config = MatchingConfig { hubness_neighbours: 3, hubness_weight: 1.0, ..config };
    let mut fit = HubnessFit::new(&*index, &IDS).expect("given").by(&config);
    for photo in &PHOTOS {
        fit.add(&combined_query(photo, None, 0.0).expect("sound")).expect("right width");
    }
    let stats = fit.finish().expect("enough");
    let matcher = Matcher::new(rules(config), index, Some(stats)).expect("statistics fit");
    let queries: Vec<_> =
        PHOTOS.iter().map(|photo| matcher.query(photo, None).expect("sound")).collect();
    let mut quota = QuotaBook::unlimited();
    let draw = |all| matcher.draw(all, &mut quota, 0).expect("drawn").picks[0].id.clone();
    matcher.candidates(&queries).expect("found").into_iter().map(draw).collect()
}

#[test]
fn corrections_take_hubs_off_the_top() {
    assert_eq!(best(Hubness::None), ["hub", "hub", "hub"]);
    assert_eq!(best(Hubness::Zscore), ["x", "y", "z"]);
    assert_eq!(best(Hubness::Csls), ["x", "y", "z"]);
    assert_eq!(best(Hubness::Nnn), ["x", "y", "z"]);
}

#[test]
fn a_matcher_needs_statistics_that_cover_its_index() {
    let config = MatchingConfig { hubness: Hubness::Csls, ..MatchingConfig::default() };
    let matcher = |stats| Matcher::new(rules(config.clone()), with_hub(), stats);
    assert_eq!(matcher(None).err().expect("refused").code(), "no_hubness_statistics");
    let empty = HubnessStats { queries: 5, instructions: Default::default() };
    let matcher = matcher(Some(empty)).expect("statistics");
    let query = matcher.query(&PHOTOS[0], None).expect("sound");
    let refused = matcher.candidates(&[query]).expect_err("unknown to the statistics");
    assert_eq!(refused.code(), "hubness_statistics_outdated");
    let fit = HubnessFit::new(&*with_hub(), &IDS).expect("given");
    assert_eq!(fit.finish().expect_err("none taken").code(), "too_few_calibration_photos");
    let mut fit = HubnessFit::new(&*with_hub(), &IDS).expect("given");
    let narrow = combined_query(&[1.0, 0.0], None, 0.0).expect("sound");
    assert_eq!(fit.add(&narrow).expect_err("narrow").code(), "vector_wrong_width");
}

#[test]
fn the_floor_is_held_against_the_similarity_of_image_and_caption() {
    let config = MatchingConfig {
        strategy: Strategy::Top1,
        min_similarity: Some(0.45),
        caption_weight: Some(0.5),
        ..MatchingConfig::default()
    };
    let matcher = Matcher::new(rules(config), index(&[("a", [1.0, 0.0, 0.0])]), None);
    let matcher = matcher.expect("no correction");
    let drawn = |caption: [f32; 3]| {
        let query = matcher.query(&[1.0, 0.0, 0.0], Some(&caption)).expect("sound");
        let mut found = matcher.candidates(&[query]).expect("found");
        matcher.draw(found.remove(0), &mut QuotaBook::unlimited(), 0).expect("an outcome")
    };
    let half = drawn([0.0, 1.0, 0.0]);
    assert!((half.picks[0].similarity - 0.5).abs() < 1e-6);
    assert_eq!(drawn([-0.3, 0.9, 0.0]).picks.len(), 0);
}
