use super::*;
use crate::base::check::Settings;
use crate::base::failure::Failure;

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
