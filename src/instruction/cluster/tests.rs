use ndarray::{Array2, array};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::base::check::Settings;

fn never() -> bool {
    false
}

/// `per` points around each of `k` far apart places, cluster by cluster.
fn blobs(k: usize, per: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let places = Array2::from_shape_fn((k, dim), |_| random.random_range(-50.0f32..50.0));
    Array2::from_shape_fn((k * per, dim), |(row, column)| {
        places[(row / per, column)] + random.random_range(-0.5f32..0.5)
    })
}

fn settings(k: usize) -> KMeans {
    ClusterConfig::default().kmeans(k, 3)
}

#[test]
fn a_hand_worked_example() {
    let points = array![[0.0f32, 0.0], [0.0, 2.0], [10.0, 0.0], [10.0, 4.0]];
    let found = settings(2).fit(points.view(), &never).expect("two clusters");
    assert_eq!(found.labels[0], found.labels[1]);
    assert_eq!(found.labels[2], found.labels[3]);
    // 2 · 1² and 2 · 2².
    assert!((found.inertia - 10.0).abs() < 1e-6, "{}", found.inertia);
    let centre = found.centres.row(found.labels[2] as usize);
    assert_eq!(centre.to_vec(), [10.0, 2.0]);
}

#[test]
fn far_apart_blobs_are_found_again() {
    let (k, per) = (7, 90);
    let points = blobs(k, per, 16, 1);
    let found = settings(k).fit(points.view(), &never).expect("clusters");
    for blob in found.labels.chunks(per) {
        assert!(blob.iter().all(|label| *label == blob[0]), "{:?}", found.labels);
    }
    let distinct: std::collections::HashSet<_> = found.labels.iter().collect();
    assert_eq!(distinct.len(), k);
}

#[test]
fn k_out_of_range_is_refused() {
    let points = blobs(2, 3, 4, 1);
    for k in [0, 7, 1000] {
        let error = settings(k).fit(points.view(), &never).expect_err("out of range");
        assert_eq!(error, ClusterError::K { k, found: 6 });
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(&format!("k is {k}, must be 1 to 6")), "{error}");
    }
    assert_eq!(settings(6).fit(points.view(), &never).expect("as many as points").inertia, 0.0);
}

#[test]
fn a_stop_ends_it() {
    let points = blobs(2, 3, 4, 1);
    assert_eq!(settings(2).fit(points.view(), &|| true), Err(ClusterError::Stopped));
}

#[test]
fn threads_change_nothing_and_seeds_do() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let points = Array2::from_shape_fn((3000, 24), |_| random.random_range(-1.0f32..1.0));
    let fit = |threads, seed| {
        let one = KMeans { threads, seed, restarts: 2, ..settings(20) };
        one.fit(points.view(), &never).expect("clusters")
    };
    let one = fit(1, 3);
    for threads in [2, 3, 8] {
        assert_eq!(fit(threads, 3), one, "{threads} threads");
    }
    assert_ne!(fit(1, 4).labels, one.labels);
}

#[test]
fn equal_points_leave_no_cluster_without_a_label_out_of_range() {
    let points = Array2::from_elem((9, 3), 0.5f32);
    let found = settings(4).fit(points.view(), &never).expect("clusters");
    assert!(found.labels.iter().all(|label| *label < 4));
    assert_eq!(found.inertia, 0.0);
}

#[test]
fn the_best_silhouette_chooses_the_number_of_blobs() {
    let points = blobs(6, 30, 8, 2);
    let config = ClusterConfig { k_min: Some(2), k_max: Some(11), ..Default::default() };
    let (k, tried) = choose(points.view(), &config, 1, &never).expect("a choice");
    assert_eq!(k, 6, "{tried:?}");
    assert!(tried.len() >= 8);
    let two = array![[0.0f32], [1.0]];
    assert_eq!(choose(two.view(), &ClusterConfig::default(), 1, &never).expect("one").0, 1);
}

#[test]
fn settings_out_of_range_are_named() {
    let wrong = ClusterConfig {
        k: Some(0),
        k_min: Some(1),
        restarts: 0,
        tolerance: f64::NAN,
        ..Default::default()
    };
    let said = wrong.validate_as("cluster").expect_err("out of range").to_string();
    for name in ["cluster.k is 0, must be 1", "k_min is 1", "restarts is 0", "tolerance is NaN"] {
        assert!(said.contains(name), "{said}");
    }
    ClusterConfig::default().validate_as("cluster").expect("in range");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn laws_of_kmeans(rows in 1usize..60, dim in 1usize..6, k in 1usize..12, seed in any::<u64>()) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // A coarse grid, so that points coincide.
        let points = Array2::from_shape_fn((rows, dim), |_| random.random_range(0..4) as f32);
        let k = k.min(rows);
        let found = KMeans { seed, ..settings(k) }.fit(points.view(), &never).expect("in range");
        prop_assert_eq!((found.labels.len(), found.centres.nrows()), (rows, k));
        let mut sum = 0.0;
        for (row, label) in points.rows().into_iter().zip(&found.labels) {
            let to = |centre: usize| -> f64 {
                let pairs = row.iter().zip(found.centres.row(centre));
                pairs.map(|(x, c)| f64::from(x - c).powi(2)).sum()
            };
            let own = to(*label as usize);
            sum += own;
            // Each point is with its nearest centre, but for rounding.
            prop_assert!((0..k).all(|centre| own <= to(centre) + 1e-4));
        }
        prop_assert!((found.inertia - sum).abs() <= 1e-3 * (1.0 + sum));
    }

    #[test]
    fn ladders_rise_from_low_to_high(low in 1usize..50, more in 0usize..5000) {
        let rungs = ladder(low, low + more);
        prop_assert!(rungs.is_sorted_by(|a, b| a < b) && rungs.len() <= 11);
        prop_assert_eq!((rungs[0], rungs[rungs.len() - 1]), (low, low + more));
    }
}
