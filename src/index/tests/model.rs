//! Random sequences of calls, with the exact index as the model of the other one.

use crate::base::failure::Failure;
use proptest::prelude::*;

use super::*;

const DIM: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    Add(u8, [i8; DIM]),
    Remove(u8),
    Reload,
    Search([i8; DIM], usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let vector = || prop::array::uniform6(-100i8..100);
    let step = prop_oneof![
        10 => (any::<u8>(), vector()).prop_map(|(id, vector)| Step::Add(id, vector)),
        5 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Reload),
        4 => (vector(), 1..40usize).prop_map(|(vector, k)| Step::Search(vector, k)),
    ];
    prop::collection::vec(step, 1..400)
}

/// One folder and both indexes.
struct Pair {
    folder: tempfile::TempDir,
    indexes: [Box<dyn LocalIndex>; 2],
}

impl Pair {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Add(id, vector) => self.agree(|index| {
                index.add(&id.to_string(), &floats(vector)).map_err(|error| error.code())
            }),
            Step::Remove(id) => {
                self.agree(|index| index.remove(&id.to_string()).map_err(|error| error.code()))
            }
            Step::Reload => self.reload(),
            Step::Search(query, k) => self.search(&floats(query), *k),
        }
        self.agree(|index| (index.len(), index.ids()));
    }

    fn agree<R: PartialEq + std::fmt::Debug>(&mut self, call: impl Fn(&mut dyn LocalIndex) -> R) {
        let [exact, usearch] = &mut self.indexes;
        assert_eq!(call(&mut **exact), call(&mut **usearch));
    }

    fn reload(&mut self) {
        let path = self.folder.path().join("index");
        for (index, kind) in self.indexes.iter_mut().zip([IndexKind::Exact, IndexKind::Usearch]) {
            index.save(&path, "model").expect("saved");
            *index = load(&path, "model", &config(kind)).expect("loaded");
        }
    }

    /// The same ids come back, except that rounding may swap hits that are equally similar.
    fn search(&mut self, query: &[f32], k: usize) {
        let [exact, usearch] = &self.indexes;
        let (Ok(truth), Ok(found)) = (exact.search(query, k), usearch.search(query, k)) else {
            return self.agree(|index| index.search(query, k).map_err(|error| error.code()));
        };
        assert_eq!(truth.len(), found.len());
        for (a, b) in truth.iter().zip(&found) {
            assert!((a.similarity - b.similarity).abs() < 1e-5, "{truth:?}\n{found:?}");
        }
    }
}

fn floats(vector: &[i8; DIM]) -> Vec<f32> {
    vector.iter().map(|&value| f32::from(value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn usearch_does_what_the_exact_index_does(steps in steps()) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut pair = Pair { folder, indexes: both(DIM) };
        for step in &steps {
            pair.take(step);
        }
    }

    #[test]
    fn exact_search_is_a_sort_by_cosine(
        vectors in prop::collection::vec(prop::array::uniform6(1i8..100), 1..50),
        query in prop::array::uniform6(1i8..100),
        k in 1..60usize,
    ) {
        let [mut index, _] = both(DIM);
        let vectors: Vec<_> = vectors.iter().map(floats).collect();
        filled(&mut *index, &vectors);
        let cosine = |a: &[f32], b: &[f32]| {
            let sum = |x: &[f32], y: &[f32]| {
                x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>()
            };
            sum(a, b) / (sum(a, a) * sum(b, b)).sqrt()
        };
        let mut truth: Vec<_> = vectors.iter().map(|v| cosine(v, &floats(&query))).collect();
        truth.sort_by(|a, b| b.total_cmp(a));
        let hits = index.search(&floats(&query), k).expect("found");
        prop_assert_eq!(hits.len(), k.min(vectors.len()));
        for (hit, cosine) in hits.iter().zip(truth) {
            prop_assert!((f64::from(hit.similarity) - cosine).abs() < 1e-6);
        }
    }
}
