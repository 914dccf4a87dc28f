//! The map of the report: instructions on two principal components.

use std::collections::HashMap;

use ndarray::Axis;

use crate::Error;
use crate::encoder::Embedding;
use crate::instruction::embed::two_components;
use crate::instruction::lineage::{GenerationStore, RawRow};
use crate::report::{ClusterMap, MAX_POINTS, MapPoint};

use super::clustering::matrix;

/// The map's width and height.
const SIZE: [f64; 2] = [1000.0, 600.0];

/// The colour of a cluster, in degrees on the colour wheel: neighbours by number lie far apart.
pub fn hue(cluster: usize) -> u32 {
    (cluster as f64 * 137.508) as u32 % 360
}

/// The accepted instructions, evenly thinned where there are too many to be seen.
pub fn cluster_map(
    store: &GenerationStore,
    accepted: &[&RawRow],
    embedded: &[Embedding],
) -> Result<ClusterMap, Error> {
    let clusters: HashMap<usize, usize> =
        store.members()?.into_iter().map(|row| (row.raw, row.cluster)).collect();
    if clusters.is_empty() || accepted.len() < 2 {
        return Ok(ClusterMap::default());
    }
    let step = accepted.len().div_ceil(MAX_POINTS);
    let shown: Vec<usize> = (0..accepted.len()).step_by(step).collect();
    let points = matrix(embedded).select(Axis(0), &shown);
    let (places, carried) = two_components(points.view());
    let scale = Scale::new(&places);
    let point = |(place, at): (&[f64; 2], &usize)| {
        let cluster = *clusters.get(&accepted[*at].place)?;
        let [x, y] = scale.place(*place);
        let tip = format!("cluster {cluster}: {}", accepted[*at].text);
        Some(MapPoint { x, y, hue: hue(cluster), tip })
    };
    let points = places.iter().zip(&shown).filter_map(point).collect();
    Ok(ClusterMap { points, total: accepted.len() as u64, carried: 100.0 * carried })
}

/// Fits places into the map, each axis by itself.
struct Scale {
    low: [f64; 2],
    high: [f64; 2],
}

impl Scale {
    fn new(places: &[[f64; 2]]) -> Self {
        let ends = |pick: fn(f64, f64) -> f64, start: f64| {
            [0, 1].map(|axis| places.iter().map(|place| place[axis]).fold(start, pick))
        };
        Self { low: ends(f64::min, f64::INFINITY), high: ends(f64::max, f64::NEG_INFINITY) }
    }

    fn place(&self, place: [f64; 2]) -> [f64; 2] {
        [0, 1].map(|axis| {
            let width = self.high[axis] - self.low[axis];
            // All on one line lies in the middle.
            let share = if width > 1e-12 { (place[axis] - self.low[axis]) / width } else { 0.5 };
            // One decimal: the last bits of a projection are not worth a difference.
            (share * SIZE[axis] * 10.0).round() / 10.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_fill_the_map() {
        let scale = Scale::new(&[[-1.0, 5.0], [3.0, 5.0]]);
        assert_eq!(scale.place([-1.0, 5.0]), [0.0, 300.0]);
        assert_eq!(scale.place([3.0, 5.0]), [1000.0, 300.0]);
        assert_eq!(scale.place([1.0, 5.0]), [500.0, 300.0]);
    }

    #[test]
    fn colours_of_neighbours_differ() {
        let hues: std::collections::HashSet<u32> = (0..20).map(hue).collect();
        assert_eq!(hues.len(), 20);
        assert!(hues.iter().all(|hue| *hue < 360));
    }
}
