//! Vectors that come and go: none that is there may get lost.

use super::*;

/// Ids that come and go; about half are there at a time.
const IDS: usize = 120;
const STEPS: usize = 4000;
const CHECK_EVERY: usize = 100;

struct Churn {
    index: Box<dyn LocalIndex>,
    /// The vector of each id that is there.
    truth: Vec<Option<Vec<f32>>>,
    rng: ChaCha8Rng,
}

impl Churn {
    fn new(seed: u64) -> Self {
        let index = build(&config(IndexKind::Usearch), 8, 0).expect("valid");
        Self { index, truth: vec![None; IDS], rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Removes an id that is there, or adds one that is not, with a vector never seen before.
    fn step(&mut self) {
        let at = self.rng.next_u32() as usize % IDS;
        if self.truth[at].take().is_some() {
            assert!(self.index.remove(&at.to_string()).expect("removed"));
        } else {
            let draw = |_| self.rng.next_u32() as f32 / u32::MAX as f32 - 0.5;
            let vector: Vec<f32> = (0..8).map(draw).collect();
            self.index.add(&at.to_string(), &vector).expect("added");
            self.truth[at] = Some(vector);
        }
    }

    /// The ids that are not nearest to their own vector.
    fn lost(&self) -> Vec<String> {
        let there = self.truth.iter().enumerate().filter_map(|(at, v)| Some((at, v.as_ref()?)));
        there
            .map(|(at, vector)| (at.to_string(), self.index.search(vector, 1).expect("found")))
            .filter(|(id, hits)| hits[0].id != *id)
            .map(|(id, _)| id)
            .collect()
    }
}

#[test]
fn each_vector_stays_its_own_nearest_while_others_come_and_go() {
    for seed in 0..8 {
        let mut churn = Churn::new(seed);
        for step in 1..=STEPS {
            churn.step();
            if step % CHECK_EVERY == 0 {
                assert_eq!(churn.lost(), [""; 0], "seed {seed}, step {step}");
            }
        }
    }
}
