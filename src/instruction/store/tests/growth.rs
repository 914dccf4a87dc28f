use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::index::{Ask, Modality, SAMPLE};

fn small() -> Home {
    Home::with(IndexConfig { exact_up_to: 40, ..IndexConfig::default() })
}

fn maintained(store: &InstructionStore) -> IndexKind {
    store.maintain(&|| false).expect("maintained");
    assert_agree(store, MODEL);
    store.index_kind()
}

fn delete(store: &InstructionStore, numbers: std::ops::Range<usize>) {
    let ids: Vec<_> = numbers.map(|number| format!("n{number}")).collect();
    assert!(store.delete(&ids).expect("deleted").iter().all(Result::is_ok));
}

#[test]
fn the_index_follows_the_size_with_hysteresis() {
    let home = small();
    let store = home.open();
    create(&store, numbered(0..40));
    assert_eq!(maintained(&store), IndexKind::Exact);
    create(&store, numbered(40..41));
    assert_eq!(store.index_kind(), IndexKind::Exact, "only maintenance changes it");
    assert_eq!(maintained(&store), IndexKind::Usearch);
    delete(&store, 0..20);
    assert_eq!(maintained(&store), IndexKind::Usearch);
    drop(store);
    let store = home.open();
    assert_eq!(store.index_kind(), IndexKind::Usearch, "the snapshot's kind stays");
    delete(&store, 20..21);
    assert_eq!(maintained(&store), IndexKind::Exact);
}

#[test]
fn a_restart_takes_the_kind_that_the_size_wants() {
    let home = small();
    let store = home.open();
    create(&store, numbered(0..30));
    store.save_snapshot().expect("saved");
    create(&store, numbered(30..90));
    drop(store);
    let store = home.open();
    assert_eq!(store.index_kind(), IndexKind::Usearch);
    assert_agree(&store, MODEL);
}

#[test]
fn enough_changes_are_saved_and_few_are_not() {
    let home = Home::new();
    let store = home.open();
    create(&store, numbered(0..999));
    store.maintain(&|| false).expect("maintained");
    assert!(!home.file(SNAPSHOT_FILE).exists());
    create(&store, numbered(999..1000));
    store.maintain(&|| false).expect("maintained");
    assert!(home.file(SNAPSHOT_FILE).exists());
    assert!(!store.save_snapshot().expect("nothing left to save"));
}

#[test]
fn a_stopped_build_leaves_the_old_index() {
    let home = small();
    let store = home.open();
    create(&store, numbered(0..100));
    store.maintain(&|| true).expect("stopped");
    assert_eq!(store.index_kind(), IndexKind::Exact);
    assert_agree(&store, MODEL);
}

#[test]
fn what_changes_during_a_build_is_in_the_new_index() {
    let home = small();
    let store = home.open();
    create(&store, numbered(0..9000));
    let asked = AtomicUsize::new(0);
    // Asked between the chunks of the build: a writer in the middle of it.
    let meanwhile = || {
        match asked.fetch_add(1, Ordering::Relaxed) {
            1 => create(&store, numbered(9000..9500)),
            2 => delete(&store, 0..300),
            _ => {}
        }
        false
    };
    store.maintain(&meanwhile).expect("maintained");
    assert!(asked.load(Ordering::Relaxed) > 3);
    assert_eq!((store.index_kind(), store.len()), (IndexKind::Usearch, 9200));
    assert_agree(&store, MODEL);
}

/// Always a graph, searched so widely that it misses nothing of a thousand vectors.
fn forced() -> Home {
    let (kind, expansion_search) = (IndexKind::Usearch, Some(512));
    Home::with(IndexConfig { kind, expansion_search, ..IndexConfig::default() })
}

fn removed(store: &InstructionStore) -> usize {
    store.live.read().index.removed()
}

#[test]
fn a_worn_graph_is_built_anew_and_answers_as_before() {
    let home = forced();
    let store = home.open();
    create(&store, numbered(0..1100));
    // Built anew to be measured.
    maintained(&store);
    delete(&store, 0..275);
    assert_eq!(maintained(&store), IndexKind::Usearch);
    assert_eq!(removed(&store), 275, "a quarter is kept");
    delete(&store, 275..276);
    let answers = || -> Vec<Vec<String>> {
        let nearest = |number: usize| {
            let query = vector(&format!("Do n{number}."));
            let found = store.search(&query, 10, None).expect("found");
            ids(&found).into_iter().map(str::to_owned).collect()
        };
        (0..1100).map(nearest).collect()
    };
    let before = answers();
    assert_eq!(maintained(&store), IndexKind::Usearch);
    assert_eq!((removed(&store), store.len()), (0, 824));
    assert_eq!(answers(), before);
    drop(store);
    assert_eq!(removed(&home.open()), 0, "the new graph was saved");
}

#[test]
fn deletes_do_not_pile_up() {
    let home = forced();
    let store = home.open();
    create(&store, numbered(0..100));
    let mut most = 0;
    for round in 1..30 {
        create(&store, numbered(round * 100..(round + 1) * 100));
        delete(&store, (round - 1) * 100..round * 100);
        most = most.max(removed(&store));
        maintained(&store);
        assert!(removed(&store) <= 256, "round {round}");
    }
    assert_eq!((store.len(), most), (100, 300));
}

#[test]
fn an_index_that_fell_behind_is_mended() {
    let home = Home::new();
    let store = home.open();
    create(&store, numbered(0..10));
    // A row that the index refuses: it holds the next one's key already.
    let taken = store.get("n9").expect("there").row + 1;
    store.live.write().index.add(&taken.to_string(), &vector("wrong")).expect("added");
    create(&store, numbered(10..11));
    assert_eq!(store.len(), 11);
    assert_eq!(maintained(&store), IndexKind::Exact);
    assert_eq!(ids(&store.search(&vector("Do n10."), 1, None).expect("found")), ["n10"]);
}

#[test]
fn large_and_small_categories_give_their_nearest() {
    let home = Home::with(IndexConfig { kind: IndexKind::Usearch, ..IndexConfig::default() });
    let store = home.open();
    let category = |number: usize| if number.is_multiple_of(100) { "small" } else { "large" };
    create(&store, (0..6000).map(|n| new(&format!("n{n}"), Some(category(n)))).collect());
    let all = store.list(usize::MAX, None, None).expect("a page").instructions;
    for (name, k) in [("large", 7), ("large", 5900), ("small", 7), ("small", 100)] {
        let query = unit(&vector("the query"));
        let of_category = all.iter().filter(|one| one.category.as_deref() == Some(name));
        let mut truth: Vec<f32> =
            of_category.map(|one| crate::index::dot(&unit(&vector(&one.text)), &query)).collect();
        truth.sort_by(|a, b| b.total_cmp(a));
        truth.truncate(k);
        let found = store.search(&query, k, Some(name)).expect("found");
        assert_eq!(found.len(), truth.len(), "{name} {k}");
        assert!(found.iter().all(|(one, _)| one.category.as_deref() == Some(name)));
        for ((_, similarity), truth) in found.iter().zip(truth) {
            assert!((similarity - truth).abs() < 1e-5, "{name} {k}: {similarity} {truth}");
        }
    }
}

fn measured(store: &InstructionStore) -> Vec<(Modality, usize, usize)> {
    let recall = store.search_facts().recall;
    recall.iter().map(|one| (one.of, one.queries, one.vectors)).collect()
}

/// Texts are held back at a build, photos are those asked about. A graph that has doubled is built
/// anew for that, and a restart finds what was measured.
#[test]
fn a_graph_is_measured_with_texts_and_with_the_photos_asked_about() {
    let home = small();
    let store = home.open();
    create(&store, numbered(0..600));
    assert_eq!(maintained(&store), IndexKind::Usearch);
    assert_eq!(measured(&store), [(Modality::Text, 150, 600)]);
    let photos: Vec<Vec<f32>> = (0..100).map(|at| vector(&format!("photo {at}"))).collect();
    let ask = |some: &[Vec<f32>]| {
        let some: Vec<&[f32]> = some.iter().map(Vec::as_slice).collect();
        let ask = Ask::top(10).of(Modality::Image);
        store.live_index().search_many(&some, ask).expect("found");
    };
    ask(&photos[..60]);
    ask(&photos[..60]);
    maintained(&store);
    assert_eq!(measured(&store).len(), 1, "60 photos are too few, however often they come");
    ask(&photos[60..]);
    maintained(&store);
    assert_eq!(measured(&store)[0], (Modality::Image, 100, 600));
    create(&store, numbered(600..900));
    ask(&photos);
    maintained(&store);
    let expected = [(Modality::Image, 100, 900), (Modality::Text, 150, 600)];
    assert_eq!(measured(&store), expected, "half as large again");
    create(&store, numbered(900..1300));
    maintained(&store);
    let expected = [(Modality::Image, 100, 900), (Modality::Text, SAMPLE, 1300)];
    assert_eq!(measured(&store), expected, "more than twice as large");
    store.save_snapshot().expect("saved");
    let facts = store.search_facts();
    drop(store);
    assert_eq!(home.open().search_facts(), facts);
}
