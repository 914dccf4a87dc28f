use std::collections::{HashMap, HashSet};

use super::config::RepetitionConfig;
use super::prepared::Prepared;
use super::{AnswerFilter, Fault};
use crate::base::words::words;

/// The shortest sentence, in words, whose return counts: `Yes.` may come back.
const SENTENCE_WORDS: usize = 3;
/// How often a sequence must occur before its share counts.
const FREQUENT: usize = 3;
/// The longest phrase, in words, that is looked for in loops.
const PHRASE_WORDS: usize = 12;

/// Refuses loops and near-loops: the commonest fault of small models.
pub(super) struct Repetition {
    limits: RepetitionConfig,
}

impl Repetition {
    pub fn new(limits: RepetitionConfig) -> Self {
        Self { limits }
    }

    fn runs(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let words = &answer.words;
        let (count, at) = longest_run(words, 1);
        if count > answer.entries(self.limits.max_word_run) {
            let reason = format!("the word \"{}\" stands {count} times in a row", words[at]);
            return Err(("repeated_word", reason));
        }
        for length in 2..=answer.entries(PHRASE_WORDS) {
            let (count, at) = longest_run(words, length);
            if count > self.limits.max_phrase_run {
                let phrase = words[at..at + length].join(" ");
                let reason = format!("the phrase \"{phrase}\" stands {count} times in a row");
                return Err(("repeated_phrase", reason));
            }
        }
        Ok(())
    }

    fn shares(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        let (limits, words) = (&self.limits, &answer.words);
        let [three, four, five] = [3, 4, 5].map(|count| answer.entries(count));
        let repeated = repeated_sentences(answer.answer.text, answer.entries(SENTENCE_WORDS));
        let rules = [
            (
                "repeated_sentences",
                "sentences that stood before",
                repeated,
                limits.max_repeated_sentences,
            ),
            ("top_3gram", "one three-word sequence", top_share(words, three), limits.max_top_3gram),
            ("top_4gram", "one four-word sequence", top_share(words, four), limits.max_top_4gram),
            (
                "repeated_5grams",
                "five-word sequences that occur again",
                repeated_share(words, five),
                limits.max_repeated_5grams,
            ),
        ];
        for (code, what, covered, limit) in rules {
            let share = covered as f64 / words.len().max(1) as f64;
            if share > limit {
                let (share, limit) = (share * 100.0, limit * 100.0);
                let reason =
                    format!("{share:.0}% of the words are in {what}; the limit is {limit:.0}%");
                return Err((code, reason));
            }
        }
        Ok(())
    }
}

impl AnswerFilter for Repetition {
    fn check(&self, answer: &Prepared<'_>) -> Result<(), Fault> {
        self.runs(answer)?;
        self.shares(answer)
    }
}

/// How many times a phrase of `length` words follows itself at most, and where that starts.
fn longest_run(words: &[String], length: usize) -> (usize, usize) {
    let (mut best, mut best_end, mut run) = (0, 0, 0);
    for at in length..words.len() {
        run = if words[at] == words[at - length] { run + 1 } else { 0 };
        if run > best {
            (best, best_end) = (run, at);
        }
    }
    (best / length + 1, (best_end + 1).saturating_sub(best + length))
}

/// Words in sentences or lines, of `shortest` words or more, that stood before.
fn repeated_sentences(text: &str, shortest: usize) -> usize {
    let mut seen = HashSet::new();
    let sentences = text.split(['.', '!', '?', '\n', '。', '！', '？', '؟', '।']).map(words);
    let long = sentences.filter(|sentence| sentence.len() >= shortest);
    long.map(|sentence| {
        let count = sentence.len();
        if seen.insert(sentence) { 0 } else { count }
    })
    .sum()
}

/// Words in the most frequent sequence of `length` words, when it is frequent at all.
fn top_share(words: &[String], length: usize) -> usize {
    let mut counts: HashMap<&[String], usize> = HashMap::new();
    for sequence in words.windows(length) {
        *counts.entry(sequence).or_default() += 1;
    }
    let top = counts.into_values().max().unwrap_or_default();
    if top < FREQUENT { 0 } else { (top * length).min(words.len()) }
}

/// Words covered by sequences of `length` words that occurred before.
fn repeated_share(words: &[String], length: usize) -> usize {
    let mut seen = HashSet::new();
    let (mut covered, mut end) = (0, 0);
    for (at, sequence) in words.windows(length).enumerate() {
        if !seen.insert(sequence) {
            covered += at + length - end.max(at);
            end = at + length;
        }
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::super::FilterName;
    use super::super::tests::{codes, passes};
    use super::*;

    #[test]
    fn loops_are_found() {
        let cases = [
            ("The man is the the the the the man.", "repeated_word"),
            (
                "It is red and blue and blue and blue and blue and that is all there is.",
                "repeated_phrase",
            ),
            (
                "The dog is happy. The dog is happy. The dog is happy. The dog is happy.",
                "repeated_phrase",
            ),
            (
                "A kettle stands on the hob. It is a fine morning in May. Steam rises. \
                 A kettle stands on the hob. It is a fine morning in May. Tea is near.",
                "repeated_sentences",
            ),
            (
                "He is wearing a hat, while she is wearing a scarf, and the dog is wearing a coat.",
                "top_3gram",
            ),
            (
                "The image shows a woman who is standing in front of a red car near the old mill, \
                 the image shows a woman who is standing in front of a blue door near the sea.",
                "repeated_5grams",
            ),
        ];
        for (text, code) in cases {
            assert_eq!(codes(FilterName::Repetition, text), [code], "{text}");
        }
    }

    #[test]
    fn emphasis_refrains_and_lists_are_no_loops() {
        passes(
            FilterName::Repetition,
            &[
                "It was a very, very, very long pier.",
                "Ha ha ha! The seal won again, and the crowd in the front row is soaked.",
                "Row, row, row your boat, gently down the stream, for the lake is calm this morning and \
             the mist still hangs between the pines like a held breath.",
                "1. Fill the kettle. 2. Light the hob. 3. Wait for the steam. 4. Pour, and wait.",
                "Green kettle, grey dawn;\nsteam climbs where the wind would go.\nTwo mugs, one window.",
                "One.",
                "",
            ],
        );
    }

    #[test]
    fn limits_mean_the_same_in_scripts_without_spaces() {
        passes(
            FilterName::Repetition,
            &[
                "哈哈哈哈哈！水族馆里的企鹅又赢了。孩子们在水族馆门口排队，水族馆今天免费开放，大家都很高兴。",
                "「わあ、すごい！」子どもたちは水族館のペンギンを見て笑っている。ペンギンは氷の上で滑っている。",
                "慢慢地，慢慢地，老人走过石桥，河水在他脚下静静地流。",
            ],
        );
        for (text, code) in [
            ("哈哈哈哈哈哈哈哈哈哈哈哈。", "repeated_word"),
            ("猫坐在窗边，猫坐在窗边，猫坐在窗边，猫坐在窗边。", "repeated_phrase"),
            (
                "一只猫坐在窗边看着外面下雨。天色渐渐暗了。一只猫坐在窗边看着外面下雨。灯亮了。",
                "repeated_sentences",
            ),
        ] {
            assert_eq!(codes(FilterName::Repetition, text), [code], "{text}");
        }
    }

    fn split(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn runs_are_counted_where_they_start() {
        assert_eq!(longest_run(&split("a b b b c"), 1), (3, 1));
        assert_eq!(longest_run(&split("x a b a b a b y"), 2), (3, 1));
        assert_eq!(longest_run(&split("a b c"), 1).0, 1);
        assert_eq!(longest_run(&split("a"), 3).0, 1);
        assert_eq!(longest_run(&[], 1).0, 1);
    }

    #[test]
    fn covered_words_are_counted_once() {
        assert_eq!(repeated_share(&split("a b c a b c"), 3), 3);
        assert_eq!(repeated_share(&split("a a a a"), 2), 3);
        assert_eq!(repeated_share(&split("a b c d"), 2), 0);
        assert_eq!(top_share(&split("a b a b a b"), 2), 6);
        assert_eq!(top_share(&split("a b a b"), 2), 0);
    }
}
