use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::FilterName;
use crate::base::check::{Checks, Settings};
use crate::base::key::Key;

/// Which filters run, and their limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilterConfig {
    /// The filters in the order in which they run; each at most once.
    pub enabled: Vec<FilterName>,
    /// The fewest words of an answer. At least 1.
    pub min_words: usize,
    /// The most words of an answer. Not below `min_words`.
    pub max_words: usize,
    /// How many words in a row, taken from the description or the prompt, make an echo. 4 to 100.
    pub echo_words: usize,
    /// The limits of the repetition filter.
    pub repetition: RepetitionConfig,
}

impl Default for FilterConfig {
    fn default() -> Self {
        Self {
            enabled: FilterName::ALL.to_vec(),
            min_words: 3,
            max_words: 600,
            echo_words: 12,
            repetition: RepetitionConfig::default(),
        }
    }
}

/// Limits on repetition: shares are of the answer's words, in (0, 1]; 1 switches a rule off.
///
/// The rules are those of MassiveText (Rae et al. 2021, arXiv 2112.11446, table A1), counted in
/// words, with an n-gram counted only from its third occurrence on, since answers are short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepetitionConfig {
    /// The most times that one word may follow itself (`the the the` is 3). At least 2.
    pub max_word_run: usize,
    /// The most times that a phrase of 2 to 12 words may follow itself. At least 2.
    pub max_phrase_run: usize,
    /// The largest share of words in sentences or lines that stood before.
    pub max_repeated_sentences: f64,
    /// The largest share of words in the most frequent three-word sequence.
    pub max_top_3gram: f64,
    /// The largest share of words in the most frequent four-word sequence.
    pub max_top_4gram: f64,
    /// The largest share of words in five-word sequences that occur more than once.
    pub max_repeated_5grams: f64,
}

impl Default for RepetitionConfig {
    fn default() -> Self {
        Self {
            max_word_run: 4,
            max_phrase_run: 3,
            max_repeated_sentences: 0.20,
            max_top_3gram: 0.18,
            max_top_4gram: 0.16,
            max_repeated_5grams: 0.20,
        }
    }
}

impl FilterConfig {
    /// The key of what these filters say. Its version goes up with their rules, so that stored
    /// answers are judged again.
    pub fn key(&self) -> String {
        let Self { enabled, min_words, max_words, echo_words, repetition } = self;
        let RepetitionConfig { max_word_run, max_phrase_run, max_repeated_sentences, .. } =
            repetition;
        let RepetitionConfig { max_top_3gram, max_top_4gram, max_repeated_5grams, .. } = repetition;
        Key::new("filters", 3)
            .list("enabled", enabled.iter().map(|name| name.name()))
            .field("min_words", *min_words)
            .field("max_words", *max_words)
            .field("echo_words", *echo_words)
            .field("max_word_run", *max_word_run)
            .field("max_phrase_run", *max_phrase_run)
            .field("max_repeated_sentences", *max_repeated_sentences)
            .field("max_top_3gram", *max_top_3gram)
            .field("max_top_4gram", *max_top_4gram)
            .field("max_repeated_5grams", *max_repeated_5grams)
            .done()
    }
}

impl Settings for FilterConfig {
    fn check(&self, checks: &mut Checks) {
        let mut seen = HashSet::new();
        let twice = self.enabled.iter().find(|name| !seen.insert(**name));
        let names = twice.map(|name| format!("{} twice", name.name())).unwrap_or_default();
        checks.require(twice.is_none(), "enabled", names, "each filter once");
        checks.at_least("min_words", self.min_words, 1);
        let (least, most) = (self.min_words, self.max_words);
        checks.require(least <= most, "max_words", most, format!("min_words, {least}, or more"));
        checks.range("echo_words", self.echo_words, 4, 100);
        checks.section("repetition", &self.repetition);
    }
}

impl Settings for RepetitionConfig {
    fn check(&self, checks: &mut Checks) {
        checks.at_least("max_word_run", self.max_word_run, 2);
        checks.at_least("max_phrase_run", self.max_phrase_run, 2);
        checks.above("max_repeated_sentences", self.max_repeated_sentences, 0.0, 1.0);
        checks.above("max_top_3gram", self.max_top_3gram, 0.0, 1.0);
        checks.above("max_top_4gram", self.max_top_4gram, 0.0, 1.0);
        checks.above("max_repeated_5grams", self.max_repeated_5grams, 0.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        type Spoil = fn(&mut FilterConfig);
        let cases: [(Spoil, &str); 7] = [
            (
                |c| c.enabled.push(FilterName::Empty),
                "enabled is empty twice, must be each filter once",
            ),
            (|c| c.min_words = 0, "min_words is 0, must be 1 or more"),
            (|c| c.max_words = 2, "max_words is 2, must be min_words, 3, or more"),
            (|c| c.echo_words = 3, "echo_words is 3, must be 4 to 100"),
            (|c| c.repetition.max_word_run = 1, "repetition.max_word_run is 1, must be 2 or more"),
            (
                |c| c.repetition.max_top_3gram = 0.0,
                "repetition.max_top_3gram is 0, must be above 0, to 1",
            ),
            (
                |c| c.repetition.max_top_4gram = f64::NAN,
                "repetition.max_top_4gram is NaN, must be above 0, to 1",
            ),
        ];
        assert_eq!(FilterConfig::default().validate_as("filters"), Ok(()));
        for (spoil, message) in cases {
            let mut config = FilterConfig::default();
            spoil(&mut config);
            let error = config.validate_as("filters").expect_err(message);
            assert_eq!(error.to_string(), format!("filters.{message}"));
        }
    }

    #[test]
    fn configuration_is_read_from_toml_and_unknown_fields_are_refused() {
        let text =
            "enabled = [\"empty\", \"length\"]\nmax_words = 90\n[repetition]\nmax_word_run = 2";
        let config: FilterConfig = toml::from_str(text).expect("a good table");
        assert_eq!(config.enabled, [FilterName::Empty, FilterName::Length]);
        assert_eq!((config.max_words, config.min_words), (90, 3));
        assert_eq!(config.repetition.max_word_run, 2);
        let written = toml::to_string(&config).expect("any configuration can be written");
        assert_eq!(toml::from_str::<FilterConfig>(&written), Ok(config));
        for wrong in ["enabled = [\"emty\"]", "min_word = 3", "[repetition]\nmax_top_2gram = 0.2"] {
            assert!(toml::from_str::<FilterConfig>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_the_configuration() {
        for name in FilterName::ALL {
            let json = serde_json::to_string(&name).expect("a name");
            assert_eq!(json, format!("\"{}\"", name.name()));
        }
    }
}
