//! Vectors that come and go, one by one and many at once, and those that a graph keeps.

use super::container::{Container, Header, IndexSnapshot, StoredGraph, StoredKind};
use super::*;
use crate::base::failure::Failure;

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

#[test]
fn many_added_at_once_are_found_as_if_added_one_by_one() {
    let vectors = clustered(3000, 16, 30, 21);
    let queries: Vec<&[f32]> = vectors.iter().step_by(30).map(Vec::as_slice).collect();
    let [mut truth, _] = both(16);
    filled(&mut *truth, &vectors);
    let expected = truth.search_many(&queries, Ask::top(10)).expect("found");
    for mut index in both(16) {
        let items = items(&vectors);
        index.add_many(&items[..1000]).expect("sound");
        index.add_many(&items[1000..]).expect("sound");
        assert_eq!(index.ids(), truth.ids());
        let found = index.search_many(&queries, Ask::top(10)).expect("found");
        let recall = recall(&expected, &found);
        assert!(recall >= 0.99, "{recall}");
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
    let found = index.search_many(&queries, Ask::top(1)).expect("found");
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
    let mut index = graph(Scalar::default(), &vectors);
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
