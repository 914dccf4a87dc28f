//! Removed vectors, which stay in a graph until it is built anew.

use super::container::{Container, Header, IndexSnapshot, StoredGraph, StoredKind};
use super::*;
use crate::base::failure::Failure;

const MODEL: &str = "model-a";

fn graph(scalar: Scalar, vectors: &[Vec<f32>]) -> Box<dyn LocalIndex> {
    let config = IndexConfig { scalar, ..config(IndexKind::Usearch) };
    let mut index = build(&config, vectors[0].len(), 0).expect("valid");
    filled(&mut *index, vectors);
    index
}

fn remove(index: &mut dyn LocalIndex, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert!(index.remove(&format!("id{number}")).expect("removed"));
    }
}

/// 300 vectors of which the first 100 were removed.
fn worn() -> (Box<dyn LocalIndex>, Vec<Vec<f32>>) {
    let vectors = clustered(300, 16, 10, 31);
    let mut index = graph(Scalar::F32, &vectors);
    remove(&mut *index, 0..100);
    (index, vectors)
}

#[test]
fn only_a_graph_keeps_what_was_removed() {
    for (mut index, kept) in both(4).into_iter().zip([0, 7]) {
        filled(&mut *index, &clustered(20, 4, 3, 32));
        remove(&mut *index, 0..7);
        assert_eq!((index.len(), index.removed()), (13, kept));
    }
}

#[test]
fn an_index_of_removed_vectors_finds_nothing_and_takes_new_ones() {
    let vectors = clustered(20, 4, 3, 33);
    let mut index = graph(Scalar::F32, &vectors);
    remove(&mut *index, 0..20);
    assert!(index.is_empty() && index.search(&vectors[0], 5).expect("no hits").is_empty());
    index.add("new", &vectors[0]).expect("added");
    assert_eq!(ids(&index.search(&vectors[9], 5).expect("found")), ["new"]);
}

/// Without taking up the removed node, hundreds of equal ones shut off what lies behind them.
#[test]
fn a_vector_that_comes_and_goes_stays_one_node() {
    let vectors = clustered(3000, 16, 40, 34);
    for scalar in [Scalar::F32, Scalar::F16, Scalar::Bf16, Scalar::I8] {
        let mut index = graph(scalar, &vectors);
        let mut last = "id5".to_owned();
        for time in 0..400 {
            index.remove(&last).expect("removed");
            last = format!("again{time}");
            // What an encoder's rounding may make of it.
            let rounded = 1.0 + 1e-7 * (time % 3) as f32;
            let vector: Vec<f32> = vectors[5].iter().map(|value| value * rounded).collect();
            index.add(&last, &vector).expect("added");
            assert_eq!((index.len(), index.removed()), (3000, 0), "{}", scalar.name());
        }
        let hits = index.search(&vectors[5], 1).expect("found");
        assert_eq!(ids(&hits), [last], "{}", scalar.name());
        assert_eq!(index.vector("id5"), None);
    }
}

#[test]
fn a_vector_that_is_only_alike_gets_a_node_of_its_own() {
    let mut index = graph(Scalar::F32, &[vec![1.0, 0.0], vec![0.0, 1.0]]);
    remove(&mut *index, 0..1);
    let alike = unit(&[1.0, 1e-4], 2, String::new).expect("sound").0;
    index.add("id0", &alike).expect("added");
    assert_eq!((index.removed(), index.vector("id0")), (1, Some(alike)));
}

#[test]
fn a_loaded_graph_goes_on_with_what_was_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let (mut index, vectors) = worn();
    for round in 1..=3 {
        index.save(&path, MODEL).expect("saved");
        let read = load(&path, MODEL, &config(IndexKind::Usearch)).expect("loaded");
        assert_eq!((read.len(), read.removed()), (index.len(), index.removed()));
        assert_eq!(read.ids(), index.ids());
        for query in &vectors {
            assert_eq!(read.search(query, 9).expect("a"), index.search(query, 9).expect("b"));
        }
        index = read;
        // The keys of removed vectors, the last one's too, are not given again.
        index.remove("id299").expect("removed");
        let new = clustered(1, 16, 1, 100 + round).remove(0);
        index.add("id299", &new).expect("added");
        assert_eq!((index.len(), index.removed() as u64), (200, 100 + round));
        assert_eq!(ids(&index.search(&new, 1).expect("found")), ["id299"]);
    }
}

type Change = fn(&mut StoredGraph);

#[test]
fn refuses_a_file_whose_graph_is_not_the_one_it_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let (index, _) = worn();
    let cases: [(&str, Change); 7] = [
        ("as saved", |_| ()),
        ("one removed less", |graph| graph.removed -= 1),
        ("far too many removed", |graph| graph.removed = usize::MAX),
        ("a key that the graph lacks", |graph| {
            graph.keys[0] = graph.next_key;
            graph.next_key += 1;
        }),
        ("a key twice", |graph| graph.keys[0] = graph.keys[1]),
        ("more keys than memory", |graph| graph.next_key = u64::MAX),
        ("a key not given yet", |graph| graph.next_key -= 1),
    ];
    for (case, change) in cases {
        index.save(&path, MODEL).expect("saved");
        let container = Container::read(&path, MODEL).expect("whole");
        let payload = container.payload().to_vec();
        let Header { model_hash, dim, ids, kind: StoredKind::Usearch(mut graph) } =
            container.header
        else {
            panic!("a graph was saved")
        };
        change(&mut graph);
        let header = Header { model_hash, dim, ids, kind: StoredKind::Usearch(graph) };
        IndexSnapshot::new(header, payload).write(&path).expect("written");
        let refused = load(&path, MODEL, &config(IndexKind::Usearch)).err().map(|e| e.code());
        let expected = (case != "as saved").then_some("index_inconsistent");
        assert_eq!(refused, expected, "{case}");
    }
}
