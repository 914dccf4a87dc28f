//! An index measures itself, with queries that it does not hold where that can be had.

use std::ops::Range;

use super::ask::Modality;
use super::recall::{LEAST, MOST, Recall, SAMPLE};
use super::{IndexError, LocalIndex, UsearchIndex};

/// Results of each query that are compared.
const COMPARED: usize = 10;

/// Widths tried, each at most half as wide again as the one before.
const WIDTHS: [usize; 17] =
    [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, MOST];

/// Wider searches than one that finds this much are not tried.
const ENOUGH: f64 = 0.9995;

/// From here on a neighbour is the query itself, or a copy of it: finding it says nothing.
const SELF: f32 = 1.0 - 1e-6;

/// Copies of a query in the index beyond which it is left out. They stand before its neighbours, so
/// that a search has to go past them to be compared, and is wider for it than it is in use.
const COPIES: usize = 32;

/// Rows compared with all queries in one step.
const STEP_ROWS: usize = 16_384;

/// Queries searched in one step.
const STEP_QUERIES: usize = 16;

/// A measurement under way. It goes in steps of some ten milliseconds, so that an index in use can
/// be let go in between.
#[derive(Debug)]
pub struct Measurement {
    of: Modality,
    queries: Vec<Vec<f32>>,
    /// Vectors that are added right after.
    held_back: usize,
    /// The similarities of each query's nearest vectors, most similar first; none for one that is
    /// left out.
    truth: Vec<Vec<f32>>,
    /// How often each query itself or a copy of it is in the index.
    copies: Vec<usize>,
    next_row: usize,
    curve: Vec<(usize, f64)>,
    /// Queries searched with the width that is tried now, and what they found.
    searched: usize,
    found: usize,
}

impl Measurement {
    /// Measures with these queries, of length 1 and of the index's width, of which the first
    /// [`SAMPLE`] are taken. A query may be a vector of the index: it is not looked for
    /// itself, though its neighbours are found more often than those of others.
    pub fn new(of: Modality, mut queries: Vec<Vec<f32>>) -> Self {
        queries.truncate(SAMPLE);
        let (truth, copies) = (vec![Vec::new(); queries.len()], vec![0; queries.len()]);
        let (held_back, curve) = (0, Vec::new());
        Self { of, queries, held_back, truth, copies, next_row: 0, curve, searched: 0, found: 0 }
    }

    /// The whole measurement at once; the index keeps what it gives. An exact index has nothing to
    /// measure, and fewer queries than [`LEAST`] say nothing.
    ///
    /// # Errors
    /// A query is refused, or the engine failed.
    pub fn run(mut self, index: &dyn LocalIndex) -> Result<(), IndexError> {
        while !self.step(index)? {}
        Ok(())
    }

    /// Does some more. True when there is no more to do, and the index has what was measured.
    ///
    /// # Errors
    /// A query is refused, or the engine failed.
    pub fn step(&mut self, index: &dyn LocalIndex) -> Result<bool, IndexError> {
        let Some(graph) = index.graph() else { return Ok(true) };
        if self.queries.len() < LEAST || graph.is_empty() {
            return Ok(true);
        }
        if self.next_row < graph.rows_end() {
            let rows = self.next_row..graph.rows_end().min(self.next_row + STEP_ROWS);
            self.next_row = rows.end;
            self.compare(graph, rows);
            return Ok(false);
        }
        let widths = || WIDTHS.into_iter().filter(|width| graph.set_width() != Some(*width));
        let mut widths: Vec<usize> = widths().chain(graph.set_width()).collect();
        widths.sort_unstable();
        let enough = self.curve.last().is_some_and(|(_, recall)| *recall >= ENOUGH);
        let next = widths.get(self.curve.len()).copied();
        match next.filter(|width| !enough || graph.set_width().is_some_and(|set| *width <= set)) {
            Some(width) => self.search(graph, width)?,
            None => {
                graph.keep(self.result(graph.len() + self.held_back));
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes the rows into the truth.
    fn compare(&mut self, graph: &UsearchIndex, rows: Range<usize>) {
        let mut open: Vec<usize> = (0..self.queries.len()).collect();
        // One more, because the query itself may be among them, and once again with more for those
        // few whose copies take the places of their neighbours.
        for more in [1, COPIES] {
            let queries: Vec<&[f32]> = open.iter().map(|at| self.queries[*at].as_slice()).collect();
            let near = graph.near_rows(&queries, rows.clone(), COMPARED + more);
            for (at, near) in std::mem::take(&mut open).into_iter().zip(near) {
                let near: Vec<f32> = near.into_iter().map(|(_, similarity)| similarity).collect();
                let copies = near.iter().filter(|similarity| **similarity >= SELF).count();
                if copies > more && more < COPIES {
                    open.push(at);
                    continue;
                }
                self.copies[at] += copies;
                let truth = &mut self.truth[at];
                truth.extend(near.into_iter().filter(|similarity| *similarity < SELF));
                truth.sort_unstable_by(|a, b| b.total_cmp(a));
                truth.truncate(if self.copies[at] > COPIES { 0 } else { COMPARED });
            }
        }
    }

    fn search(&mut self, graph: &UsearchIndex, width: usize) -> Result<(), IndexError> {
        let part = self.searched..self.queries.len().min(self.searched + STEP_QUERIES);
        self.searched = part.end;
        for at in part {
            let Some(last) = self.truth[at].last() else { continue };
            let k = COMPARED + 1 + self.copies[at];
            let hits = graph.search_width(&self.queries[at], k, width)?;
            let near = hits.iter().filter(|hit| (*last..SELF).contains(&hit.similarity));
            self.found += near.count().min(self.truth[at].len());
        }
        if self.searched == self.queries.len() {
            let all: usize = self.truth.iter().map(Vec::len).sum();
            self.curve.push((width, self.found as f64 / all.max(1) as f64));
            (self.searched, self.found) = (0, 0);
        }
        Ok(())
    }

    fn result(&mut self, vectors: usize) -> Recall {
        let curve = std::mem::take(&mut self.curve);
        Recall { of: self.of, queries: self.queries.len(), vectors, curve }
    }
}

/// Vectors held back while an index is filled, to measure it with queries that it does not hold;
/// they are added last.
#[derive(Debug)]
pub struct HeldBack {
    every: usize,
    seen: usize,
    items: Vec<(String, Vec<f32>)>,
}

impl HeldBack {
    /// Holds back some of `more` vectors that are to come, where `index` is a graph that will not
    /// have been measured as large as it will be.
    pub fn new(index: &dyn LocalIndex, more: usize) -> Self {
        let stale = |graph: &UsearchIndex| {
            let recall = graph.recall(Modality::Text);
            recall.is_none_or(|recall| recall.is_stale(graph.len() + more))
        };
        let measures = Self::can_measure(more) && index.graph().is_some_and(stale);
        let every = if measures { (more / SAMPLE).max(4) } else { 0 };
        Self { every, seen: 0, items: Vec::new() }
    }

    /// Whether a quarter of so many vectors is enough to measure with.
    pub fn can_measure(vectors: usize) -> bool {
        vectors / 4 >= LEAST
    }

    /// Gives the items back that are to be added now.
    pub fn sift(&mut self, items: Vec<(String, Vec<f32>)>) -> Vec<(String, Vec<f32>)> {
        if self.every == 0 {
            return items;
        }
        let (held, now): (Vec<_>, Vec<_>) = items.into_iter().partition(|_| {
            self.seen += 1;
            self.seen.is_multiple_of(self.every)
        });
        self.items.extend(held);
        now
    }

    /// Measures the index with what was held back, as queries embedded from texts or photos, and
    /// adds it.
    ///
    /// # Errors
    /// The engine failed, or refused a vector.
    pub fn finish(self, index: &mut dyn LocalIndex, of: Modality) -> Result<(), IndexError> {
        let unit = |vector: &Vec<f32>| super::unit(vector, index.dim(), || "a vector".to_owned());
        let queries = self.items.iter().map(|(_, vector)| Ok(unit(vector)?.0));
        let queries = queries.collect::<Result<_, IndexError>>()?;
        let held_back = self.items.len();
        Measurement { held_back, ..Measurement::new(of, queries) }.run(index)?;
        self.items.iter().try_for_each(|(id, vector)| index.add(id, vector))
    }
}
