//! What an index measures of itself, and what follows from it.

use super::*;

const DIM: usize = 24;

/// A graph of 3,000 vectors so poorly linked that narrow searches miss much.
fn poor(config: IndexConfig) -> Box<dyn LocalIndex> {
    let config = IndexConfig { connectivity: 4, expansion_add: 8, ..config };
    let mut index = build(&config, DIM, 0).expect("valid");
    filled(&mut *index, &clustered(3000, DIM, 600, 41));
    index
}

fn queries(seed: u64) -> Vec<Vec<f32>> {
    let near = clustered(SAMPLE, DIM, 600, seed);
    near.iter().map(|vector| unit(vector, DIM, String::new).expect("sound").0).collect()
}

fn measured(config: IndexConfig) -> Box<dyn LocalIndex> {
    let index = poor(config);
    Measurement::new(Modality::Text, queries(42)).run(&*index).expect("measured");
    index
}

/// Recall@10 by comparing with exact search from outside.
fn found_of(index: &dyn LocalIndex, ask: Ask<'_>) -> f64 {
    let queries = queries(43);
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let mut exact = build(&config(IndexKind::Exact), DIM, 0).expect("valid");
    for id in index.ids() {
        exact.add(&id, &index.vector(&id).expect("there")).expect("added");
    }
    let truth = exact.search_many(&queries, Ask::top(10)).expect("found");
    let found = index.search_many(&queries, ask.first(10)).expect("found");
    recall(&truth, &found)
}

#[test]
fn the_width_follows_from_the_recall_that_is_wished_for() {
    let index = measured(config(IndexKind::Usearch));
    let [fact] = &index.facts().recall[..] else { panic!("one modality was measured") };
    assert_eq!((fact.of, fact.queries, fact.vectors), (Modality::Text, SAMPLE, 3000));
    assert!(fact.recall >= 0.98, "{fact:?}");
    let found = found_of(&*index, Ask::top(10));
    assert!((found - fact.recall).abs() < 0.015, "{found} was found, {fact:?}");
    let less = found_of(&*index, Ask { recall: Some(0.6), ..Ask::top(10) });
    let more = found_of(&*index, Ask { recall: Some(1.0), ..Ask::top(10) });
    assert!(less < found - 0.02 && found <= more && more > 0.99, "{less}, {found}, {more}");
}

#[test]
fn a_width_that_is_set_wins_but_for_a_wish() {
    let config = IndexConfig { expansion_search: Some(20), ..config(IndexKind::Usearch) };
    let index = measured(config);
    let fact = index.facts().recall[0].clone();
    assert_eq!(fact.width, 20);
    assert!(fact.recall < 0.95, "{fact:?}");
    let more = found_of(&*index, Ask { recall: Some(1.0), ..Ask::top(10) });
    assert!(more > 0.99, "{more}");
}

#[test]
fn all_are_compared_where_a_walk_would_take_longer() {
    let index = poor(config(IndexKind::Usearch));
    let graph = index.graph().expect("a graph");
    let curve = |width| Recall {
        of: Modality::Text,
        queries: SAMPLE,
        vectors: 3000,
        curve: vec![(16, 0.5), (width, 0.99)],
    };
    graph.keep(curve(200));
    assert_eq!((graph.facts().recall[0].width, graph.facts().recall[0].recall), (200, 0.99));
    assert!(found_of(&*index, Ask::top(10)) < 1.0);
    graph.keep(curve(300));
    assert_eq!((graph.facts().recall[0].width, graph.facts().recall[0].recall), (3000, 1.0));
    assert!((found_of(&*index, Ask::top(10)) - 1.0).abs() < f64::EPSILON);
    let less = found_of(&*index, Ask { recall: Some(0.5), ..Ask::top(10) });
    assert!(less < 0.9, "{less}");
}

#[test]
fn queries_of_a_kind_that_was_not_measured_are_searched_widely() {
    let index = measured(IndexConfig { target_recall: 0.7, ..config(IndexKind::Usearch) });
    let photos = found_of(&*index, Ask::top(10).of(Modality::Image));
    let texts = found_of(&*index, Ask::top(10));
    assert!(photos > texts, "{photos}, {texts}");
    Measurement::new(Modality::Image, queries(44)).run(&*index).expect("measured");
    assert_eq!(index.facts().recall.len(), 2);
}

#[test]
fn what_was_measured_is_kept_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    let (connectivity, expansion_add, target_recall) = (4, 8, 0.8);
    let usearch = config(IndexKind::Usearch);
    let settings = IndexConfig { connectivity, expansion_add, target_recall, ..usearch };
    let index = measured(settings.clone());
    index.save(&path, "m").expect("saved");
    let read = load(&path, "m", &settings).expect("loaded");
    assert_eq!(read.facts(), index.facts());
    let wider = IndexConfig { target_recall: 0.999, ..settings };
    let read = load(&path, "m", &wider).expect("loaded");
    assert!(read.facts().recall[0].width > index.facts().recall[0].width);
}

#[test]
fn vectors_held_back_are_measured_with_and_added_last() {
    let vectors = clustered(2000, DIM, 300, 45);
    for kind in [IndexKind::Exact, IndexKind::Usearch] {
        let mut index = build(&config(kind), DIM, 0).expect("valid");
        let mut held_back = HeldBack::new(&*index, 2000);
        for part in items(&vectors).chunks(700) {
            for (id, vector) in held_back.sift(part.to_vec()) {
                index.add(&id, &vector).expect("added");
            }
        }
        let held = 2000 - index.len();
        held_back.finish(&mut *index, Modality::Text).expect("measured");
        assert_eq!(index.len(), 2000);
        let recall = index.facts().recall;
        match kind {
            IndexKind::Exact => assert_eq!((held, recall.len()), (0, 0)),
            _ => {
                assert!((200..=SAMPLE + 50).contains(&held), "{held} held back");
                assert_eq!((recall[0].queries, recall[0].vectors), (held.min(SAMPLE), 2000));
            }
        }
    }
}

/// Texts that embed alike stand before a query's neighbours, in the truth as in what is found.
#[test]
fn copies_of_a_query_do_not_hide_its_neighbours() {
    for copies in [6, 12] {
        let mut index = build(&config(IndexKind::Usearch), DIM, 0).expect("valid");
        let distinct = clustered(1800 / copies, DIM, 40, 48);
        let all: Vec<_> = distinct.iter().flat_map(|one| vec![one.clone(); copies]).collect();
        filled(&mut *index, &all);
        let queries = distinct.iter().map(|one| unit(one, DIM, String::new).expect("sound").0);
        Measurement::new(Modality::Text, queries.collect()).run(&*index).expect("measured");
        let fact = index.facts().recall[0].clone();
        assert!(fact.recall > 0.9, "{copies} copies: {fact:?}");
    }
}

/// Removed vectors, copies of a query and a handful of queries: none of them may count.
#[test]
fn only_what_can_be_found_is_counted() {
    let index = poor(config(IndexKind::Usearch));
    Measurement::new(Modality::Text, queries(46)[..LEAST - 1].to_vec()).run(&*index).expect("few");
    assert!(index.facts().recall.is_empty());
    let mut index = build(&config(IndexKind::Usearch), DIM, 0).expect("valid");
    filled(&mut *index, &clustered(400, DIM, 40, 47));
    for at in (0..400).step_by(2) {
        index.remove(&format!("id{at}")).expect("removed");
    }
    let own: Vec<Vec<f32>> = index.ids().iter().filter_map(|id| index.vector(id)).collect();
    Measurement::new(Modality::Text, own).run(&*index).expect("measured");
    let fact = index.facts().recall[0].clone();
    assert!((0.98..=1.0).contains(&fact.recall), "{fact:?}");
}
