//! Many vectors added at once.

use super::*;
use crate::base::failure::Failure;

fn items(vectors: &[Vec<f32>]) -> Vec<(String, Vec<f32>)> {
    vectors.iter().enumerate().map(|(at, vector)| (format!("id{at}"), vector.clone())).collect()
}

#[test]
fn many_added_at_once_are_found_as_if_added_one_by_one() {
    let vectors = clustered(3000, 16, 30, 21);
    let queries: Vec<&[f32]> = vectors.iter().step_by(30).map(Vec::as_slice).collect();
    let [mut truth, _] = both(16);
    filled(&mut *truth, &vectors);
    let expected = truth.search_many(&queries, 10, Among::All).expect("found");
    for mut index in both(16) {
        let items = items(&vectors);
        index.add_many(&items[..1000]).expect("sound");
        index.add_many(&items[1000..]).expect("sound");
        assert_eq!(index.ids(), truth.ids());
        let found = index.search_many(&queries, 10, Among::All).expect("found");
        let shared = |(a, b): (&Vec<Hit>, &Vec<Hit>)| {
            a.iter().filter(|hit| b.iter().any(|other| other.id == hit.id)).count()
        };
        let recall: usize = expected.iter().zip(&found).map(shared).sum();
        assert!(recall >= 990, "{recall} of 1000");
    }
}

/// Of these, eight threads would cut some twenty off.
#[test]
fn many_threads_lose_none() {
    let vectors = clustered(6000, 16, 6000, 24);
    let config = IndexConfig { threads: 8, ..config(IndexKind::Usearch) };
    let mut index = build(&config, 16, 0).expect("valid");
    for part in items(&vectors).chunks(2000) {
        index.add_many(part).expect("sound");
    }
    let queries: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
    let found = index.search_many(&queries, 1, Among::All).expect("found");
    let lost = found.iter().enumerate().filter(|(at, hits)| hits[0].id != format!("id{at}"));
    let lost: Vec<usize> = lost.map(|(at, _)| at).collect();
    assert_eq!(lost, [0; 0], "{} were added twice", index.removed());
}

#[test]
fn one_unsound_item_refuses_all() {
    let vectors = clustered(20, 4, 3, 22);
    let sound = || items(&vectors);
    for mut index in both(4) {
        index.add("there", &vectors[0]).expect("sound");
        let mut cases = [sound(), sound(), sound(), sound()];
        cases[0][15].0 = "there".to_owned();
        cases[1][15].0 = "id3".to_owned();
        cases[2][15].0 = String::new();
        cases[3][15].1 = vec![0.0; 4];
        let codes = ["duplicate_vector_id", "duplicate_vector_id", "bad_vector_id", "vector_zero"];
        for (items, code) in cases.iter().zip(codes) {
            assert_eq!(index.add_many(items).expect_err(code).code(), code);
            assert_eq!(index.ids(), ["there"]);
        }
        index.add_many(&sound()).expect("sound");
        assert_eq!(index.len(), 21);
    }
}

#[test]
fn many_removed_and_added_again_are_found_also_after_a_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let vectors = clustered(400, 8, 7, 23);
    for kind in [IndexKind::Exact, IndexKind::Usearch] {
        let mut index = build(&config(kind), 8, 0).expect("valid");
        index.add_many(&items(&vectors)).expect("sound");
        for round in 0..3 {
            // The last ones, so that ids and keys that are left have no gap.
            for at in 300..400 {
                assert!(index.remove(&format!("id{at}")).expect("removed"));
            }
            if round == 1 {
                index.save(&path, "model").expect("saved");
                index = load(&path, "model", &config(kind)).expect("loaded");
            }
            index.add_many(&items(&vectors)[300..]).expect("sound");
        }
        assert_eq!(index.len(), 400);
        for (at, vector) in vectors.iter().enumerate() {
            assert_eq!(index.search(vector, 1).expect("found")[0].id, format!("id{at}"));
        }
    }
}
