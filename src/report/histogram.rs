//! Histograms that grow one value at a time, so that a run of any size needs the same memory.

use serde::Serialize;

use super::scale::nice_step;

/// Bins of equal width: bin `i` holds values in `[edge(i), edge(i + 1))`, the last one its upper
/// edge as well.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Layout {
    low: f64,
    width: f64,
    bins: usize,
}

impl Layout {
    /// Bins with round edges that cover `[min, max]`, at most `wanted + 1` of them. Without a
    /// usable range (empty data gives an infinite one) it is one bin from 0 to 1.
    pub fn nice(min: f64, max: f64, wanted: usize) -> Self {
        // The limit keeps steps and edges finite as well.
        if !(0.0..1e300).contains(&(max - min)) {
            return Self { low: 0.0, width: 1.0, bins: 1 };
        }
        Self::with_step(min, max, nice_step((max - min) / wanted.max(1) as f64))
    }

    /// As [`Layout::nice`] for whole numbers: no edge falls between two of them.
    pub fn nice_counts(min: u64, max: u64, wanted: usize) -> Self {
        let (min, max) = (min as f64, max.max(min) as f64 + 1.0);
        let step = nice_step(((max - min) / wanted.max(1) as f64).max(1.0)).ceil();
        Self::with_step(min, max, step)
    }

    fn with_step(min: f64, max: f64, width: f64) -> Self {
        let first = (min / width + 1e-9).floor();
        let last = (max / width - 1e-9).ceil();
        Self { low: first * width, width, bins: ((last - first) as usize).max(1) }
    }

    /// Number of bins, at least one.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Width of a bin, above zero.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// The lower edge of bin `index`, or the histogram's upper end for `index == bins()`.
    pub fn edge(&self, index: usize) -> f64 {
        self.low + self.width * index as f64
    }

    /// Where a finite value belongs.
    fn place(&self, value: f64) -> Place {
        let position = ((value - self.low) / self.width + 1e-9).floor();
        match position {
            _ if position < 0.0 => Place::Below,
            _ if position < self.bins as f64 => Place::Bin(position as usize),
            _ if value <= self.edge(self.bins) => Place::Bin(self.bins - 1),
            _ => Place::Above,
        }
    }
}

enum Place {
    Below,
    Bin(usize),
    Above,
}

/// Counts of values by bin. Nothing is lost: what falls outside is counted apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    layout: Layout,
    counts: Vec<u64>,
    below: u64,
    above: u64,
    not_finite: u64,
    sum: f64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new(layout: Layout) -> Self {
        let counts = vec![0; layout.bins];
        Self { layout, counts, below: 0, above: 0, not_finite: 0, sum: 0.0 }
    }

    /// A histogram of known values.
    pub fn of(layout: Layout, values: impl IntoIterator<Item = f64>) -> Self {
        let mut histogram = Self::new(layout);
        values.into_iter().for_each(|value| histogram.add(value));
        histogram
    }

    /// Counts one value.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.not_finite += 1;
            return;
        }
        self.sum += value;
        match self.layout.place(value) {
            Place::Below => self.below += 1,
            Place::Bin(index) => self.counts[index] += 1,
            Place::Above => self.above += 1,
        }
    }

    /// The bins.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The count of each bin.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many finite values fell outside the bins.
    pub fn outside(&self) -> u64 {
        self.below + self.above
    }

    /// How many values were no numbers (NaN or infinite).
    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }

    /// How many finite values were added.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.outside()
    }

    /// The mean of all finite values, `None` without any.
    pub fn mean(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.sum / total as f64)
    }

    /// The value below which a share `q` in [0, 1] of all values lies, read off the bins as if each
    /// were evenly filled: right to within a bin's width. `None` without values, or where the
    /// answer lies outside the bins.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let wanted = q.clamp(0.0, 1.0) * self.total() as f64;
        let mut passed = self.below as f64;
        for (index, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let inside = wanted - passed;
            if inside < 0.0 {
                return None;
            }
            if inside <= count as f64 {
                return Some(self.layout.edge(index) + self.layout.width * inside / count as f64);
            }
            passed += count as f64;
        }
        None
    }
}

/// Two histograms over the same bins: every candidate, and those that were chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    candidates: Histogram,
    chosen: Histogram,
}

impl Comparison {
    /// An empty pair of histograms.
    pub fn new(layout: Layout) -> Self {
        Self { candidates: Histogram::new(layout), chosen: Histogram::new(layout) }
    }

    /// Counts one candidate's value, and once more among the chosen if it was.
    pub fn add(&mut self, value: f64, chosen: bool) {
        self.candidates.add(value);
        if chosen {
            self.chosen.add(value);
        }
    }

    /// All candidates, the chosen ones among them.
    pub fn candidates(&self) -> &Histogram {
        &self.candidates
    }

    /// The chosen candidates only.
    pub fn chosen(&self) -> &Histogram {
        &self.chosen
    }
}

#[cfg(test)]
mod tests;
