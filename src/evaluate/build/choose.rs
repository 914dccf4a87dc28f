//! The seeded, stratified choice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::BuildRequest;
use crate::base::hash;
use crate::dataset::store::PairToHold;
use crate::evaluate::EvaluationError;

/// Instructions by category, each with its pairs.
type Strata<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a PairToHold>>>;

/// Chooses instructions in proportion to the categories' sizes, then photos for each: those first
/// that no earlier instruction took. The same pairs and seed give the same choice.
pub(super) fn choose(
    pairs: &[PairToHold],
    request: &BuildRequest,
    run: &Path,
) -> Result<Vec<PairToHold>, EvaluationError> {
    let mut strata = Strata::new();
    for pair in pairs {
        let stratum = strata.entry(&pair.category).or_default();
        stratum.entry(&pair.instruction_key).or_default().push(pair);
    }
    let sizes: Vec<usize> = strata.values().map(BTreeMap::len).collect();
    let (wanted, there) = (request.instructions as usize, sizes.iter().sum::<usize>());
    // The last one must stay: a run that holds out all it has trains nothing.
    if wanted >= there {
        let message = format!(
            "its pairs have {there} instructions, too few to hold out {wanted} and keep any"
        );
        return Err(EvaluationError::Benchmark { path: run.to_owned(), message });
    }
    let mut random = ChaCha8Rng::seed_from_u64(hash::seed(request.seed, &["evaluate build"]));
    let (mut chosen, mut taken) = (Vec::new(), BTreeSet::new());
    for (stratum, count) in strata.values().zip(shares(&sizes, wanted)) {
        let mut instructions: Vec<&Vec<&PairToHold>> = stratum.values().collect();
        instructions.shuffle(&mut random);
        for pairs in instructions.into_iter().take(count) {
            let mut pairs = pairs.clone();
            pairs.shuffle(&mut random);
            pairs.sort_by_key(|pair| taken.contains(pair.image_sha256.as_str()));
            for pair in pairs.into_iter().take(request.images as usize) {
                taken.insert(pair.image_sha256.as_str());
                chosen.push(pair.clone());
            }
        }
    }
    Ok(chosen)
}

/// `wanted` places in proportion to `sizes`: whole parts first, then the largest remainders. No
/// share passes its size, since `wanted` is at most their sum.
fn shares(sizes: &[usize], wanted: usize) -> Vec<usize> {
    let total: usize = sizes.iter().sum();
    let mut shares: Vec<usize> = sizes.iter().map(|size| size * wanted / total).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(sizes[*index] * wanted % total));
    let left = wanted - shares.iter().sum::<usize>();
    for index in order.into_iter().take(left) {
        shares[index] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(instruction: usize, image: usize) -> PairToHold {
        PairToHold {
            pair_key: format!("{instruction}-{image}"),
            instruction_key: format!("i{instruction}"),
            instruction: format!("Do {instruction}."),
            category: if instruction < 8 { "big" } else { "small" }.into(),
            image: crate::dataset::ImageRef::file(format!("{image}.jpg")),
            image_sha256: format!("{image}"),
            format: "jpeg".into(),
            description: String::new(),
        }
    }

    fn pairs() -> Vec<PairToHold> {
        (0..12).flat_map(|one| (0..5).map(move |image| pair(one, one * 3 + image))).collect()
    }

    fn request(instructions: u32, seed: u64) -> BuildRequest {
        BuildRequest { out: "out".into(), instructions, images: 2, near: 0.95, seed }
    }

    #[test]
    fn categories_get_their_share_and_seeds_matter() {
        let chosen = choose(&pairs(), &request(6, 1), Path::new("run")).expect("enough");
        assert_eq!(chosen.len(), 12, "two photos for each");
        let of = |name: &str| {
            let keys = chosen.iter().filter(|pair| pair.category == name);
            keys.map(|pair| &pair.instruction_key).collect::<BTreeSet<_>>().len()
        };
        assert_eq!((of("big"), of("small")), (4, 2), "8 to 4, halved");
        let again = choose(&pairs(), &request(6, 1), Path::new("run")).expect("enough");
        assert_eq!(chosen, again);
        assert_ne!(chosen, choose(&pairs(), &request(6, 2), Path::new("run")).expect("enough"));
    }

    #[test]
    fn a_run_must_keep_something() {
        let error = choose(&pairs(), &request(12, 1), Path::new("run")).expect_err("all of it");
        assert!(error.to_string().contains("12 instructions, too few to hold out 12"), "{error}");
    }

    proptest! {
        #[test]
        fn shares_fit(sizes in proptest::collection::vec(1usize..50, 1..12), part in 0.0f64..1.0) {
            let total: usize = sizes.iter().sum();
            let wanted = (total as f64 * part) as usize;
            let shares = shares(&sizes, wanted);
            prop_assert_eq!(shares.iter().sum::<usize>(), wanted);
            prop_assert!(shares.iter().zip(&sizes).all(|(share, size)| share <= size));
        }
    }
}
