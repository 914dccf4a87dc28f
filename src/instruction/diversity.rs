//! How varied a set of instructions is.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::grammar::verb_and_object;
use super::wording::words;
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

#[cfg(test)]
mod tests {
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
}
