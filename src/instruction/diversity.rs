//! How alike instructions are: ROUGE-L between two, diversity over many.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::wording::{verb_and_object, words};
use crate::encoder::Embedding;

/// Figures of a set of instructions; all of them exact but the verbs and objects.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Diversity {
    pub count: usize,
    /// Different n-grams over all n-grams, n = 1, 2, 3 (Li et al. 2016), in [0, 1]; it falls with
    /// the size of the set, so only sets of like size compare.
    pub distinct: [f64; 3],
    /// Mean cosine over all pairs; `None` with fewer than two.
    pub mean_similarity: Option<f64>,
    /// Share that does not end with a question mark.
    pub not_questions: f64,
    /// Mean length in words.
    pub mean_words: f64,
    /// Root verbs with how often each comes, most frequent first.
    pub verbs: Vec<VerbUse>,
}

/// A root verb with its objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbUse {
    pub verb: String,
    pub count: usize,
    /// Most frequent first.
    pub objects: Vec<(String, usize)>,
}

impl Diversity {
    /// Of `texts` and their unit vectors (none where they were not embedded).
    pub fn new(texts: &[&str], vectors: &[Embedding]) -> Self {
        let count = texts.len();
        let share = |part: usize| if count == 0 { 0.0 } else { part as f64 / count as f64 };
        let asked = texts.iter().filter(|text| text.trim_end().ends_with('?')).count();
        let worded: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        Self {
            count,
            distinct: [1, 2, 3].map(|n| distinct(&worded, n)),
            mean_similarity: mean_similarity(vectors),
            not_questions: if count == 0 { 0.0 } else { 1.0 - share(asked) },
            mean_words: share(worded.iter().map(Vec::len).sum()),
            verbs: verb_uses(texts),
        }
    }
}

/// Different n-grams over all n-grams.
fn distinct(texts: &[Vec<String>], n: usize) -> f64 {
    let grams = || texts.iter().flat_map(|words| words.windows(n));
    let all = grams().count();
    let different = grams().collect::<HashSet<_>>().len();
    if all == 0 { 0.0 } else { different as f64 / all as f64 }
}

/// For unit vectors the sum over all pairs is (|Σ v|² - n) / 2.
fn mean_similarity(vectors: &[Embedding]) -> Option<f64> {
    let n = vectors.len() as f64;
    let mut sum = vec![0.0; vectors.first()?.len()];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let squared: f64 = sum.iter().map(|value| value * value).sum();
    (n > 1.0).then(|| (squared - n) / (n * (n - 1.0)))
}

fn verb_uses(texts: &[&str]) -> Vec<VerbUse> {
    let mut uses: BTreeMap<String, (usize, BTreeMap<String, usize>)> = BTreeMap::new();
    for (verb, object) in texts.iter().filter_map(|text| verb_and_object(text)) {
        let (count, objects) = uses.entry(verb).or_default();
        *count += 1;
        if let Some(object) = object {
            *objects.entry(object).or_default() += 1;
        }
    }
    let frequent_first = |objects: BTreeMap<String, usize>| {
        let mut objects: Vec<_> = objects.into_iter().collect();
        objects.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        objects
    };
    let mut uses: Vec<VerbUse> = uses
        .into_iter()
        .map(|(verb, (count, objects))| VerbUse { verb, count, objects: frequent_first(objects) })
        .collect();
    uses.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.verb.cmp(&b.verb)));
    uses
}

/// ROUGE-L F of two word sequences, in [0, 1]: the longest common subsequence over the mean length.
pub fn rouge_l<T: PartialEq>(a: &[T], b: &[T]) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    2.0 * common(a, b) as f64 / (a.len() + b.len()) as f64
}

/// Length of the longest common subsequence.
fn common<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (place, y) in b.iter().enumerate() {
            let above = row[place + 1];
            row[place + 1] = if x == y { diagonal + 1 } else { above.max(row[place]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Texts that new ones are compared with.
#[derive(Debug, Default)]
pub struct RougeIndex {
    numbers: HashMap<String, u32>,
    texts: Vec<Vec<u32>>,
    /// For each word, the texts that hold it, once for each occurrence.
    holders: Vec<Vec<u32>>,
}

impl RougeIndex {
    /// Adds a text and returns its place, counted from 0.
    pub fn add(&mut self, words: &[String]) -> usize {
        let place = self.texts.len();
        let mut text = Vec::with_capacity(words.len());
        for word in words {
            let next = self.numbers.len() as u32;
            let number = *self.numbers.entry(word.clone()).or_insert(next);
            if number as usize == self.holders.len() {
                self.holders.push(Vec::new());
            }
            self.holders[number as usize].push(place as u32);
            text.push(number);
        }
        self.texts.push(text);
        place
    }

    /// The text nearest to `words` with an F of at least `least` (above 0), the earliest among
    /// equals. Texts that share too few words to reach it are passed over.
    pub fn nearest(&self, words: &[String], least: f64) -> Option<(usize, f64)> {
        // A word never seen gets a number that no text holds.
        let number = |word| self.numbers.get(word).copied().unwrap_or(u32::MAX);
        let text: Vec<u32> = words.iter().map(number).collect();
        let mut best: Option<(usize, f64)> = None;
        for (place, shared) in self.shared(&text).into_iter().enumerate() {
            let other = &self.texts[place];
            let most = 2.0 * f64::from(shared) / (text.len() + other.len()).max(1) as f64;
            let bar = best.map_or(least, |(_, score)| score);
            if most < bar {
                continue;
            }
            let score = rouge_l(&text, other);
            if score >= least && best.is_none_or(|(_, best)| score > best) {
                best = Some((place, score));
            }
        }
        best
    }

    /// For each text an upper bound of the words it has in common with `text`.
    fn shared(&self, text: &[u32]) -> Vec<u32> {
        let mut distinct = text.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let mut counts = vec![0u32; self.texts.len()];
        for word in distinct {
            let times = text.iter().filter(|other| **other == word).count() as u32;
            for holder in self.holders.get(word as usize).into_iter().flatten() {
                counts[*holder as usize] += times;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hand_worked_example() {
        let texts = ["Write a poem.", "Write a play.", "What is it?"];
        let vectors = vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![0.6, 0.8]];
        let seen = Diversity::new(&texts, &vectors);
        // 9 words, 7 of them different; 6 bigrams, "write a" twice; 3 trigrams.
        assert_eq!(seen.distinct, [7.0 / 9.0, 5.0 / 6.0, 1.0]);
        // Cosines 0, 0.6 and 0.8.
        assert!((seen.mean_similarity.expect("three") - 1.4 / 3.0).abs() < 1e-6);
        assert!((seen.not_questions - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(seen.mean_words, 3.0);
        let objects = vec![("play".to_owned(), 1), ("poem".to_owned(), 1)];
        assert_eq!(seen.verbs, [VerbUse { verb: "write".into(), count: 2, objects }]);
    }

    #[test]
    fn nothing_has_no_figures() {
        let none = Diversity::new(&[], &[]);
        assert_eq!(none, Diversity::default());
        assert_eq!(Diversity::new(&["Write."], &[vec![1.0]]).mean_similarity, None);
    }

    fn split(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn another_hand_worked_example() {
        // Common: write, a, about, the, image (5); lengths 6 and 7: 2 · 5 / 13.
        let (a, b) =
            (split("write a poem about the image"), split("write a short story about the image"));
        assert!((rouge_l(&a, &b) - 10.0 / 13.0).abs() < 1e-12);
        assert_eq!(rouge_l(&a, &[]), 0.0);
    }

    proptest! {
        #[test]
        fn the_index_finds_what_comparing_with_each_finds(
            texts in prop::collection::vec(prop::collection::vec("[a-d]", 0..7), 0..12),
            asked in prop::collection::vec("[a-e]", 0..7),
            least in 0.1..1.0f64,
        ) {
            let mut index = RougeIndex::default();
            texts.iter().for_each(|text| { index.add(text); });
            let mut expected: Option<(usize, f64)> = None;
            for (place, text) in texts.iter().enumerate() {
                let score = rouge_l(&asked, text);
                if score >= least && expected.is_none_or(|(_, best)| score > best) {
                    expected = Some((place, score));
                }
            }
            prop_assert_eq!(index.nearest(&asked, least), expected);
        }

        #[test]
        fn rouge_is_symmetric_and_bounded(
            a in prop::collection::vec("[a-d]", 1..9), b in prop::collection::vec("[a-d]", 1..9),
        ) {
            let score = rouge_l(&a, &b);
            prop_assert!((0.0..=1.0).contains(&score));
            prop_assert_eq!(score, rouge_l(&b, &a));
            prop_assert_eq!(rouge_l(&a, &a), 1.0);
        }
    }
}
