//! Near-duplicates among many texts: candidates by MinHash and bands (Broder 1997; Leskovec and
//! others, "Mining of Massive Datasets", 3.4), each then compared exactly.

use std::collections::HashSet;

use crate::base::hash;
use crate::base::words::words;

/// Words in a row that make a shingle; a shorter text is one shingle.
const SHINGLE: usize = 5;

/// Bands and rows: a pair whose sets of shingles share half is found in 47 of 100 cases, one that
/// shares 0.7 in 97, one that shares 0.8 always but once in three thousand.
const BANDS: usize = 20;
const ROWS: usize = 5;

/// Earlier texts of one band that a text is compared with: more tell nothing new of a phrase that
/// thousands repeat.
const COMPARED: usize = 4;

/// The version of what these values mean.
pub fn version(texts: &str) -> String {
    hash::key(&["near_duplicate_of", "1", texts])
}

/// The texts seen so far, by what their bands hash to: 80 bytes each.
#[derive(Default)]
pub struct Signatures {
    bands: [Vec<u32>; BANDS],
}

impl Signatures {
    /// Takes the next text in. A text without words resembles none.
    pub fn push(&mut self, text: &str) {
        let mut least = [u64::MAX; BANDS * ROWS];
        let shingles = shingles(text);
        for shingle in &shingles {
            let mut state = *shingle;
            for least in &mut least {
                // SplitMix64: each step is one more hash function.
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                *least = mix(state).min(*least);
            }
        }
        let empty = shingles.is_empty();
        for (band, rows) in self.bands.iter_mut().zip(least.chunks(ROWS)) {
            let key = rows.iter().fold(0, |key, row| mix(key ^ row));
            // Zero stands for a text without words.
            band.push(if empty { 0 } else { (key as u32).max(1) });
        }
    }

    /// For each text that has any, in rising order, the earlier texts that may resemble it, in
    /// rising order.
    pub fn candidates(&self) -> Vec<(usize, Vec<usize>)> {
        let count = self.bands[0].len();
        let mut found: Vec<(u32, u32)> = Vec::new();
        for band in &self.bands {
            let mut order: Vec<u32> = (0..count as u32).collect();
            order.sort_unstable_by_key(|&at| (band[at as usize], at));
            for bucket in order.chunk_by(|a, b| band[*a as usize] == band[*b as usize]) {
                if band[bucket[0] as usize] == 0 {
                    continue;
                }
                for (at, text) in bucket.iter().enumerate() {
                    let earlier = bucket[..at].iter().take(COMPARED);
                    found.extend(earlier.map(|earlier| (*text, *earlier)));
                }
            }
            found.sort_unstable();
            found.dedup();
        }
        let groups = found.chunk_by(|one, next| one.0 == next.0);
        let group = |pairs: &[(u32, u32)]| {
            (pairs[0].0 as usize, pairs.iter().map(|(_, earlier)| *earlier as usize).collect())
        };
        groups.map(group).collect()
    }
}

/// Share of their shingles that two texts have in common, in [0, 1]; 0 where neither has words.
pub fn jaccard(one: &str, other: &str) -> f64 {
    let (one, other) = (shingles(one), shingles(other));
    let shared = one.intersection(&other).count();
    let all = one.len() + other.len() - shared;
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

/// Hashes of the runs of five words, the same on every machine.
fn shingles(text: &str) -> HashSet<u64> {
    // FNV-1a over the bytes of each word.
    let fnv = |word: String| {
        word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let words: Vec<u64> = words(text).into_iter().map(fnv).collect();
    let windows = words.windows(SHINGLE.min(words.len()).max(1));
    windows.map(|run| run.iter().fold(0, |hash, word| mix(hash ^ word))).collect()
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(texts: &[&str]) -> Vec<(usize, Vec<usize>)> {
        let mut signatures = Signatures::default();
        texts.iter().for_each(|text| signatures.push(text));
        signatures.candidates()
    }

    #[test]
    fn a_copy_with_another_word_is_found_and_other_texts_are_not() {
        let text = |number: usize| -> String {
            (0..60).map(|at| format!("w{} ", (at * 7919 + number * 104_729) % 5003)).collect()
        };
        let first = text(1);
        let changed = first.replacen("w", "other", 1);
        let found = candidates(&[&text(2), &first, &text(3), "", "  ", &changed, &first]);
        assert_eq!(found, [(5, vec![1]), (6, vec![1, 5])]);
        assert!(jaccard(&first, &changed) > 0.9 && jaccard(&first, &changed) < 1.0);
        assert_eq!(jaccard(&first, &text(2)), 0.0);
        assert_eq!(jaccard(&first, &first.to_uppercase()), 1.0);
    }

    #[test]
    fn short_texts_are_one_shingle() {
        assert_eq!(candidates(&["A cat.", "a CAT", "A dog.", "一只猫", "一只猫。"]).len(), 2);
        assert_eq!((jaccard("a cat", "a dog"), jaccard("", "")), (0.0, 0.0));
    }

    #[test]
    fn what_thousands_repeat_is_compared_with_the_first_ones_only() {
        let found = candidates(&["the same answer again and again"; 3000]);
        assert_eq!(found.len(), 2999);
        assert_eq!(found[2998], (2999, (0..COMPARED).collect()));
    }
}
