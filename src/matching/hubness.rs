//! Statistics that show which instructions are near to every photo (hubs; Radovanović et al.
//! 2010), and the scores corrected by them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Candidate, Hubness, MatchError, MatchingConfig, Query};
use crate::index::{IndexError, VectorSearch, dot};

/// Neighbours over which CSLS takes its means; 10 as in Conneau et al. 2018.
const NEIGHBOURS: usize = 10;

/// Deviations below this are taken as this: with cosines spread over tenths, a smaller one means
/// that the calibration photos were all alike.
const MIN_DEVIATION: f64 = 0.01;

/// Fewer queries have no deviation.
const MIN_QUERIES: u64 = 2;

/// How similar one instruction is to the calibration photos.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InstructionStats {
    /// Mean similarity.
    pub mean: f64,
    /// Standard deviation of the similarity (of a sample: n − 1).
    pub deviation: f64,
    /// Mean similarity to the nearest photos: ten, or as many as the rules say for `nnn`.
    pub nearest: f64,
}

/// The statistics of every instruction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HubnessStats {
    /// Calibration photos seen.
    pub queries: u64,
    /// By instruction id.
    pub instructions: BTreeMap<String, InstructionStats>,
}

impl HubnessStats {
    /// Sets the candidates' scores; they are one photo's, all that the index gave.
    ///
    /// # Errors
    /// A candidate has no statistics.
    pub fn correct(
        &self,
        config: &MatchingConfig,
        candidates: &mut [Candidate],
    ) -> Result<(), MatchError> {
        let photo = mean_of_nearest(candidates);
        for candidate in candidates {
            let stats = self.instructions.get(&candidate.id);
            let stats =
                stats.ok_or_else(|| MatchError::UnknownInstruction { id: candidate.id.clone() })?;
            candidate.score = match config.hubness {
                Hubness::None => candidate.similarity,
                Hubness::Zscore => {
                    (candidate.similarity - stats.mean) / stats.deviation.max(MIN_DEVIATION)
                }
                Hubness::Csls => 2.0 * candidate.similarity - stats.nearest - photo,
                Hubness::Nnn => candidate.similarity - config.hubness_weight * stats.nearest,
            };
        }
        Ok(())
    }
}

fn mean_of_nearest(candidates: &[Candidate]) -> f64 {
    let mut nearest = Nearest::default();
    candidates.iter().for_each(|candidate| nearest.add(candidate.similarity, NEIGHBOURS));
    nearest.mean()
}

/// Takes calibration photos one by one and keeps only sums.
pub struct HubnessFit {
    dim: usize,
    neighbours: usize,
    instructions: Vec<Instruction>,
    queries: u64,
}

struct Instruction {
    id: String,
    vector: Vec<f32>,
    mean: f64,
    /// Sum of squared differences from the mean (Welford 1962).
    squares: f64,
    nearest: Nearest,
}

impl HubnessFit {
    /// Statistics over the instructions of `ids` that are in `index`; holds a copy of their
    /// vectors.
    ///
    /// # Errors
    /// The index failed.
    pub fn new(index: &dyn VectorSearch, ids: &[&str]) -> Result<Self, MatchError> {
        let instruction = |(id, vector): (&&str, Option<Vec<f32>>)| {
            let (id, mean, squares, nearest) = ((*id).to_owned(), 0.0, 0.0, Nearest::default());
            vector.map(|vector| Instruction { id, vector, mean, squares, nearest })
        };
        let vectors = index.vectors(ids)?;
        let instructions = ids.iter().zip(vectors).filter_map(instruction).collect();
        Ok(Self { dim: index.dim(), neighbours: NEIGHBOURS, instructions, queries: 0 })
    }

    /// Takes the means over as many nearest photos as these rules say.
    #[must_use]
    pub fn by(mut self, config: &MatchingConfig) -> Self {
        if config.hubness == Hubness::Nnn {
            self.neighbours = config.hubness_neighbours;
        }
        self
    }

    /// Takes one photo.
    ///
    /// # Errors
    /// The query has not the width of the index.
    pub fn add(&mut self, query: &Query) -> Result<(), MatchError> {
        let (expected, actual) = (self.dim, query.vector().len());
        if expected != actual {
            let subject = "the calibration query".to_owned();
            return Err(IndexError::WrongWidth { subject, expected, actual }.into());
        }
        self.queries += 1;
        for instruction in &mut self.instructions {
            let similarity = query.similarity(dot(&instruction.vector, query.vector()));
            let off = similarity - instruction.mean;
            instruction.mean += off / self.queries as f64;
            instruction.squares += off * (similarity - instruction.mean);
            instruction.nearest.add(similarity, self.neighbours);
        }
        Ok(())
    }

    /// The statistics of all photos taken.
    ///
    /// # Errors
    /// There were fewer than two.
    pub fn finish(self) -> Result<HubnessStats, MatchError> {
        let queries = self.queries;
        if queries < MIN_QUERIES {
            return Err(MatchError::TooFewCalibration { least: MIN_QUERIES, found: queries });
        }
        let stats = |instruction: Instruction| {
            let deviation = (instruction.squares / (queries - 1) as f64).sqrt();
            let (mean, nearest) = (instruction.mean, instruction.nearest.mean());
            (instruction.id, InstructionStats { mean, deviation, nearest })
        };
        Ok(HubnessStats {
            queries,
            instructions: self.instructions.into_iter().map(stats).collect(),
        })
    }
}

/// The largest values seen, in falling order.
#[derive(Default)]
struct Nearest(Vec<f64>);

impl Nearest {
    /// Keeps the `most` largest.
    fn add(&mut self, value: f64, most: usize) {
        let at = self.0.partition_point(|&kept| kept >= value);
        if at < most {
            self.0.insert(at, value);
            self.0.truncate(most);
        }
    }

    /// 0 when nothing was seen.
    fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len().max(1) as f64
    }
}
