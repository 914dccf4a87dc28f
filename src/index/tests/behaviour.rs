use crate::base::failure::Failure;

use super::usearch::{COMPARED, STARTS};
use super::*;

#[test]
fn refuses_unusable_vectors_and_ids_and_stays_unchanged() {
    for mut index in both(3) {
        index.add("there", &[1.0, 2.0, 3.0]).expect("sound");
        let cases: [(&str, &[f32], &str); 8] = [
            ("a", &[1.0, 2.0], "vector_wrong_width"),
            ("a", &[1.0, 2.0, 3.0, 4.0], "vector_wrong_width"),
            ("a", &[1.0, f32::NAN, 3.0], "vector_not_finite"),
            ("a", &[1.0, f32::NEG_INFINITY, 3.0], "vector_not_finite"),
            ("a", &[0.0, -0.0, 0.0], "vector_zero"),
            ("there", &[1.0, 2.0, 3.0], "duplicate_vector_id"),
            ("", &[1.0, 2.0, 3.0], "bad_vector_id"),
            ("a\0b", &[1.0, 2.0, 3.0], "bad_vector_id"),
        ];
        for (id, vector, code) in cases {
            let error = index.add(id, vector).expect_err(code);
            assert_eq!((error.code(), error.kind()), (code, crate::ErrorKind::InvalidInput));
        }
        assert_eq!((index.len(), index.ids()), (1, vec!["there".to_owned()]));
    }
}

#[test]
fn refuses_unusable_queries_by_position() {
    for mut index in both(2) {
        index.add("a", &[1.0, 0.0]).expect("sound");
        assert_eq!(index.search(&[1.0, 0.0], 0).expect_err("k is 0").code(), "zero_k");
        assert_eq!(index.search(&[0.0, 0.0], 1).expect_err("zero").code(), "vector_zero");
        let queries: [&[f32]; 3] = [&[1.0, 0.0], &[1.0, f32::NAN], &[1.0]];
        let error = index.search_many(&queries, Ask::top(1)).expect_err("a NaN");
        assert_eq!(error.to_string(), "query 1 has NaN at position 1: not a finite number");
    }
}

#[test]
fn refuses_settings_out_of_range_by_name() {
    let wrong =
        IndexConfig { connectivity: 1, expansion_search: Some(5000), ..IndexConfig::default() };
    let error = build(&wrong, 4, 0).err().expect("refused");
    let text = error.to_string();
    assert!(text.contains("index.connectivity is 1, must be 2 to 512"), "{text}");
    assert!(text.contains("index.expansion_search is 5000, must be 1 to 4096"), "{text}");
    for kind in [IndexKind::Exact, IndexKind::Usearch] {
        assert_eq!(build(&config(kind), 0, 0).err().expect("width 0").code(), "bad_index_settings");
    }
}

#[test]
fn auto_goes_by_the_number_of_vectors() {
    let config = IndexConfig { exact_up_to: 10, ..IndexConfig::default() };
    assert_eq!(config.resolve(10), IndexKind::Exact);
    assert_eq!(config.resolve(11), IndexKind::Usearch);
    let forced = IndexConfig { kind: IndexKind::Usearch, ..config };
    assert_eq!(forced.resolve(1), IndexKind::Usearch);
}

#[test]
fn a_graph_stays_one_until_half_the_limit() {
    use IndexKind::{Exact, Usearch};
    let config = IndexConfig { exact_up_to: 100, ..IndexConfig::default() };
    let cases =
        [(Exact, 100, Exact), (Exact, 101, Usearch), (Usearch, 51, Usearch), (Usearch, 50, Exact)];
    for (current, len, wanted) in cases {
        assert_eq!(config.kind_for(current, len), wanted, "{current:?} of {len}");
    }
    let forced = IndexConfig { kind: Exact, ..config };
    assert_eq!(forced.kind_for(Usearch, 1000), Exact);
}

#[test]
fn a_search_among_ids_gives_no_others() {
    let vectors = clustered(300, 8, 7, 12);
    for mut index in both(8) {
        filled(&mut *index, &vectors);
        index.remove("id6").expect("removed");
        let queries: Vec<&[f32]> = vectors.iter().take(9).map(Vec::as_slice).collect();
        let all = index.search_many(&queries, Ask::top(299)).expect("found");
        let some = ["id3", "id250", "id6", "id3", "unknown", "id17"];
        let found = index.search_many(&queries, Ask::top(9).among(&some)).expect("found");
        for (all, found) in all.iter().zip(&found) {
            let expected = ids(all).into_iter().filter(|id| some.contains(id));
            assert_eq!(ids(found), expected.collect::<Vec<_>>());
        }
        assert_eq!(
            index.search_many(&queries, Ask::top(2).among(&some)).expect("found")[0].len(),
            2
        );
        assert!(index.search_many(&queries, Ask::top(2).among(&[])).expect("found")[0].is_empty());
        let vectors = index.vectors(&["id5", "id6"]).expect("given");
        assert_eq!(vectors, [index.vector("id5"), None]);
    }
}

#[test]
fn settings_refuse_unknown_fields() {
    let refused = serde_json::from_str::<IndexConfig>(r#"{"kind": "exact", "thread": 1}"#);
    assert!(refused.is_err());
    let read: IndexConfig = serde_json::from_str(r#"{"scalar": "bf16"}"#).expect("known fields");
    assert_eq!(read.scalar, Scalar::Bf16);
}

#[test]
fn gives_cosines_best_first_and_ties_by_id() {
    for mut index in both(2) {
        for (id, vector) in [("c", [2.0, 0.0]), ("a", [5.0, 0.0]), ("up", [0.0, 3.0])] {
            index.add(id, &vector).expect("sound");
        }
        index.add("back", &[-1.0, 0.0]).expect("sound");
        let hits = index.search(&[0.5, 0.0], 9).expect("found");
        assert_eq!(ids(&hits), ["a", "c", "up", "back"]);
        for (hit, cosine) in hits.iter().zip([1.0, 1.0, 0.0, -1.0]) {
            assert!((hit.similarity - cosine).abs() < 1e-6, "{hit:?}");
            assert!((-1.0..=1.0).contains(&hit.similarity));
        }
        assert_eq!(index.search(&[0.5, 0.0], 1).expect("found").len(), 1);
    }
}

#[test]
fn an_empty_index_finds_nothing() {
    for index in both(2) {
        assert!(index.is_empty());
        assert!(index.search(&[1.0, 0.0], 3).expect("no hits").is_empty());
    }
}

#[test]
fn huge_and_tiny_vectors_keep_their_direction() {
    for mut index in both(2) {
        index.add("huge", &[f32::MAX, f32::MAX]).expect("finite");
        index.add("tiny", &[1e-10, -1e-10]).expect("not zero");
        let hits = index.search(&[1e30, 1e30], 2).expect("found");
        assert_eq!(ids(&hits), ["huge", "tiny"]);
        assert!((hits[0].similarity - 1.0).abs() < 1e-6 && hits[1].similarity.abs() < 1e-6);
    }
}

#[test]
fn keeps_unit_vectors() {
    for mut index in both(2) {
        index.add("a", &[3.0, 4.0]).expect("sound");
        let vector = index.vector("a").expect("added");
        assert!((vector[0] - 0.6).abs() < 1e-6 && (vector[1] - 0.8).abs() < 1e-6);
        assert_eq!(index.vector("b"), None);
    }
}

#[test]
fn never_gives_a_removed_id_and_still_fills_k() {
    let vectors = clustered(600, 16, 5, 1);
    for mut index in both(16) {
        filled(&mut *index, &vectors);
        for at in (0..600).filter(|at| at % 10 != 0) {
            assert!(index.remove(&format!("id{at}")).expect("removed"));
            assert!(!index.remove(&format!("id{at}")).expect("already gone"));
        }
        let left: HashSet<_> = index.ids().into_iter().collect();
        assert_eq!((index.len(), left.len()), (60, 60));
        for query in vectors.iter().take(100) {
            let hits = index.search(query, 50).expect("found");
            assert_eq!(hits.len(), 50);
            assert!(hits.iter().all(|hit| left.contains(&hit.id)));
        }
    }
}

/// Recall@10 against exact search over 5,000 vectors, for each way to store values. Whatever the
/// graph holds, similarities are those of exact search, bit for bit.
#[test]
fn usearch_recall_is_high_for_every_scalar() {
    let vectors = clustered(5000, 64, 50, 2);
    let queries = clustered(200, 64, 50, 3);
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let [mut exact, _] = both(64);
    filled(&mut *exact, &vectors);
    let truth = exact.search_many(&queries, Ask::top(10)).expect("found");
    for (scalar, least) in
        [(Scalar::F32, 0.98), (Scalar::F16, 0.98), (Scalar::Bf16, 0.98), (Scalar::I8, 0.95)]
    {
        let config = IndexConfig { scalar, ..config(IndexKind::Usearch) };
        let mut index = build(&config, 64, 0).expect("valid");
        filled(&mut *index, &vectors);
        let found = index.search_many(&queries, Ask::top(10)).expect("found");
        let recall = recall(&truth, &found);
        eprintln!("{}: recall@10 {recall:.4}", scalar.name());
        assert!(recall >= least, "{}: recall {recall}", scalar.name());
        for (query, hits) in queries.iter().zip(&found) {
            let ids = ids(hits);
            let exactly = exact.search_many(&[query], Ask::top(10).among(&ids)).expect("found");
            assert_eq!(exactly[0], *hits, "{}", scalar.name());
        }
    }
}

#[test]
fn many_at_once_equal_one_by_one() {
    let vectors = clustered(400, 8, 7, 4);
    for mut index in both(8) {
        filled(&mut *index, &vectors);
        for count in [0, 1, 4, 5, 9, 37] {
            let queries: Vec<&[f32]> = vectors.iter().take(count).map(Vec::as_slice).collect();
            let many = index.search_many(&queries, Ask::top(6)).expect("found");
            let single: Vec<_> =
                queries.iter().map(|query| index.search(query, 6).expect("found")).collect();
            assert_eq!(many, single);
        }
    }
}

#[test]
fn more_callers_than_places_all_get_answers() {
    let vectors = clustered(300, 8, 7, 5);
    for mut index in both(8) {
        filled(&mut *index, &vectors);
        let expected = index.search(&vectors[0], 5).expect("found");
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        assert_eq!(index.search(&vectors[0], 5).expect("a place"), expected);
                    }
                });
            }
        });
    }
}

/// Comparing with every vector would grow with the index, and any caller could ask for it again
/// and again.
#[test]
fn a_search_that_comes_back_short_does_a_bounded_amount_of_work() {
    let config = IndexConfig {
        connectivity: 2,
        expansion_add: 4,
        expansion_search: Some(4),
        ..config(IndexKind::Usearch)
    };
    let mut index = UsearchIndex::new(8, &config).expect("valid");
    let vectors = clustered(1000, 8, 400, 13);
    for at in 0..2 * COMPARED {
        index.add(&at.to_string(), &vectors[at % 1000]).expect("sound");
    }
    let mut short = 0;
    for query in vectors.iter().step_by(20) {
        let before = index.compared_beside();
        assert_eq!(index.search(query, 200).expect("found").len(), 200);
        let compared = (index.compared_beside() - before) as usize;
        assert!(compared <= COMPARED + (STARTS + 1) * 200, "{compared} compared");
        short += usize::from(compared > 0);
    }
    assert!(short > 0, "no walk came back short");
}

/// Poor graphs with many equal and many removed vectors fall apart: `usearch` alone then gives
/// fewer hits than there are.
#[test]
fn usearch_fills_k_where_the_graph_falls_apart() {
    let config = IndexConfig {
        connectivity: 2,
        expansion_add: 4,
        expansion_search: Some(4),
        ..config(IndexKind::Usearch)
    };
    let mut index = build(&config, 8, 0).expect("valid");
    let vectors = clustered(100, 8, 40, 11);
    for at in 0..2000 {
        index.add(&at.to_string(), &vectors[at / 20]).expect("sound");
        if at % 20 > 1 {
            index.remove(&at.to_string()).expect("removed");
        }
    }
    for query in &vectors {
        assert_eq!(index.search(query, 50).expect("found").len(), 50);
        assert_eq!(index.search(query, 1000).expect("found").len(), 200);
    }
}
