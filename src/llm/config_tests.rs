use super::*;

fn parse(text: &str) -> Result<LlmTarget, LlmFault> {
    text.parse()
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("not a target").to_string()
}

#[test]
fn targets_are_read_and_written_alike() {
    for text in ["local", "local:/models/a:b.gguf", "openai:http://host:8000/v1"] {
        assert_eq!(parse(text).expect("a target").to_string(), text);
    }
    let slashed = parse("openai:https://host/v1/").expect("a target");
    assert_eq!(slashed, LlmTarget::OpenAi { base_url: "https://host/v1".into() });
}

#[test]
fn wrong_targets_say_why() {
    assert!(refusal("vllm").contains("is none of"));
    assert!(refusal("local:").contains("is none of"));
    assert!(refusal("openai:host:8000/v1").contains("http://"));
    assert!(refusal("openai:").contains("no URL"));
    assert!(refusal("openai:http://host/v1?key=1").contains("path"));
    let secret = refusal("openai:http://me:hunter2@host/v1");
    assert!(secret.contains("api_key_env") && !secret.contains("hunter2"), "{secret}");
}

#[test]
fn ranges_name_the_field_and_the_value_seen() {
    let said = |change: fn(&mut LlmConfig)| {
        let mut config = LlmConfig::default();
        change(&mut config);
        config.validate().expect_err("out of range").to_string()
    };
    assert_eq!(said(|c| c.max_in_flight = 0), "max_in_flight: must be 1 to 4096, not 0");
    assert_eq!(said(|c| c.deadline_s = -1.0), "deadline_s: must be 0.001 to 86400, not -1");
    assert!(said(|c| c.backoff_cap_s = f64::NAN).contains("NaN"));
    assert!(said(|c| c.max_attempts = 0).starts_with("max_attempts"));
    assert!(said(|c| c.local.slots = 65).starts_with("local.slots"));
    assert!(said(|c| c.api_key_env = Some(" ".into())).starts_with("api_key_env"));
}

#[test]
fn a_file_sets_what_it_names_and_typos_are_refused() {
    let config: LlmConfig =
        toml::from_str("target = 'openai:http://gpu:8000/v1'\nmodel = 'm'\n[local]\nslots = 2\n")
            .expect("valid");
    config.validate().expect("in range");
    assert_eq!(config.local.slots, 2);
    assert_eq!(config.max_attempts, LlmConfig::default().max_attempts);
    let typo = toml::from_str::<LlmConfig>("max_inflight = 3").expect_err("a typo");
    assert!(typo.to_string().contains("max_inflight"), "{typo}");
    let wrong = toml::from_str::<LlmConfig>("target = 'vllm'").expect_err("no such target");
    assert!(wrong.to_string().contains("is none of"), "{wrong}");
}

#[test]
fn the_resolved_configuration_can_be_stored_and_read_back() {
    let config = LlmConfig::default();
    let stored = toml::to_string(&config).expect("serialisable");
    assert_eq!(toml::from_str::<LlmConfig>(&stored).expect("readable"), config);
}
