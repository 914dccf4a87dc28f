use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Compiling the patterns takes long; the property tests share one chain.
static ALL: LazyLock<Filters> =
    LazyLock::new(|| Filters::new(&FilterConfig::default()).expect("the default"));
static REPETITION: LazyLock<Filters> = LazyLock::new(|| only(FilterName::Repetition));
static ECHO: LazyLock<Filters> = LazyLock::new(|| only(FilterName::PromptEcho));

fn only(name: FilterName) -> Filters {
    let config = FilterConfig { enabled: vec![name], ..FilterConfig::default() };
    Filters::new(&config).expect("a good configuration")
}

/// The code with which a filter refuses an answer; empty when it passes.
pub(super) fn codes_of(name: FilterName, answer: &SampleView<'_>) -> Vec<String> {
    match only(name).check(answer) {
        Verdict::Pass => vec![],
        Verdict::Reject(refused) => vec![refused.code],
    }
}

/// As [`codes_of`], for a text alone.
pub(super) fn codes(name: FilterName, text: &str) -> Vec<String> {
    codes_of(name, &SampleView { text, ..SampleView::default() })
}

/// Fails when the filter refuses one of the texts.
pub(super) fn passes(name: FilterName, texts: &[&str]) {
    for text in texts {
        let verdict = only(name).check(&SampleView { text, ..SampleView::default() });
        assert_eq!(verdict, Verdict::Pass, "{text}");
    }
}

#[test]
fn empty_answers_have_no_letter_and_no_digit() {
    for text in ["", " \n\t", "...", "**\n---", "🙂"] {
        assert_eq!(codes(FilterName::Empty, text), ["empty"], "{text:?}");
    }
    passes(FilterName::Empty, &["7", "é", "茶", "- a"]);
}

#[test]
fn lost_and_control_characters_are_garbage() {
    for text in ["caf\u{fffd}", "a\0b", "bell \u{7}", "\u{1b}[31mred"] {
        assert_eq!(codes(FilterName::Garbage, text), ["garbage"], "{text:?}");
    }
    for text in ["<think>Hm.</think> A cat.", "Hm, a cat.</think>\nA cat."] {
        assert_eq!(codes(FilterName::Garbage, text), ["reasoning"], "{text:?}");
    }
    passes(FilterName::Garbage, &["a\tb\r\nc", "naïve 漢字 👩‍🚀", "soft\u{ad}hyphen"]);
}

#[test]
fn the_token_limit_and_the_image_word_are_seen() {
    let answer = SampleView { text: "A fine day at", truncated: true, ..SampleView::default() };
    assert_eq!(codes_of(FilterName::Truncated, &answer), ["truncated"]);
    passes(FilterName::Truncated, &["A fine day at"]);
    for text in ["See <image> here", "Tags such as <video> and <audio>", "A [IMG] <|image_pad|>"] {
        assert_eq!(codes(FilterName::ImageToken, text), ["image_token"], "{text}");
    }
    let asked = SampleView { text: "Fine.", instruction: "Use <video>.", ..SampleView::default() };
    assert_eq!(codes_of(FilterName::ImageToken, &asked), ["image_token"]);
    passes(FilterName::ImageToken, &["An image of <b>tea</b>"]);
}

#[test]
fn length_is_counted_in_words() {
    let config = FilterConfig {
        enabled: vec![FilterName::Length],
        min_words: 2,
        max_words: 4,
        ..FilterConfig::default()
    };
    let filters = Filters::new(&config).expect("a good configuration");
    let check = |text: &str| match filters.check(&SampleView { text, ..SampleView::default() }) {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Reject(refused) => format!("{}: {}", refused.code, refused.reason),
    };
    assert_eq!(check("One"), "too_short: 1 words; the fewest allowed are 2");
    assert_eq!(check("Don't stop"), "pass");
    assert_eq!(check("a b-c d"), "pass");
    assert_eq!(check("a b c d e"), "too_long: 5 words; the most allowed are 4");
    assert_eq!(check("緑の家"), "pass");
    assert_eq!(check("一只猫在窗边看"), "too_long: 5 words; the most allowed are 4");
    assert_eq!(check("一只猫在窗边"), "pass");
    assert_eq!(check("猫"), "too_short: 1 words; the fewest allowed are 2");
}

#[test]
fn the_first_refusal_counts_and_a_dry_run_shows_all() {
    let filters = Filters::new(&FilterConfig::default()).expect("the default");
    let text = "Based on the description, <image> shows a kettle.";
    let answer = SampleView { text, truncated: true, ..SampleView::default() };
    let Verdict::Reject(refused) = filters.check(&answer) else { panic!("it is cut off") };
    assert_eq!(refused.code, "truncated");
    let each = filters.check_each(&answer);
    let refusing: Vec<_> = each
        .iter()
        .filter(|(_, verdict)| *verdict != Verdict::Pass)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(refusing, [FilterName::Truncated, FilterName::ImageToken, FilterName::MetaTalk]);
    assert_eq!(each.len(), FilterName::ALL.len());
    assert_eq!(filters.names()[..2], ["empty", "garbage"]);
}

#[test]
fn lineage_names_only_the_filters_that_know_the_language() {
    let filters = Filters::new(&FilterConfig::default()).expect("the default");
    assert_eq!(filters.judging("A kettle stands on the hob in the morning."), filters.names());
    let finnish = "Kissa istuu ikkunalla ja katselee sadetta, joka valuu ikkunaa pitkin alas.";
    let judging = filters.judging(finnish);
    assert_eq!(judging.len(), filters.names().len() - 2);
    assert!(!judging.iter().any(|name| name == "refusal" || name == "meta_talk"));
}

#[test]
fn a_wrong_configuration_builds_no_filters() {
    let config = FilterConfig { max_words: 0, ..FilterConfig::default() };
    let problems = Filters::new(&config).err().expect("refused");
    assert_eq!(problems.0[0].field, "filters.max_words");
}

proptest! {
    /// Filters are total: any text gets a verdict, the same one twice.
    #[test]
    fn any_unicode_gets_a_verdict(text in "\\PC*|(?s).{0,200}", other in ".{0,80}") {
        let prompts = [other.as_str(), text.as_str()];
        let answer = SampleView {
            text: &text,
            instruction: &other,
            description: &other,
            prompt_texts: &prompts,
            ..SampleView::default()
        };
        prop_assert_eq!(ALL.check(&answer), ALL.check(&answer));
        prop_assert_eq!(ALL.check_each(&answer).len(), FilterName::ALL.len());
    }

    /// An answer said many times over never passes, however it reads.
    #[test]
    fn loops_never_pass(words in prop::collection::vec("[a-z]{1,8}", 1..12), times in 5_usize..9) {
        let text = vec![words.join(" "); times].join(" ");
        let answer = SampleView { text: &text, ..SampleView::default() };
        prop_assert_ne!(REPETITION.check(&answer), Verdict::Pass);
    }

    /// A run of the description's words is an echo wherever it stands.
    #[test]
    fn copied_runs_never_pass(words in prop::collection::vec("[a-z]{2,8}", 12..40), at in 0_usize..28) {
        let start = at.min(words.len() - 12);
        let text = format!("Well, {}; so it is.", words[start..start + 12].join(" "));
        let description = words.join(" ");
        let answer = SampleView { text: &text, description: &description, ..SampleView::default() };
        prop_assert_ne!(ECHO.check(&answer), Verdict::Pass);
    }
}
