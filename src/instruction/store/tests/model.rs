//! Random sequences of calls against a model, and calls at the same time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Create(Vec<(u8, u8)>),
    Delete(Vec<u8>),
    Search(u8, usize, Option<u8>),
    Save,
    Maintain,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let numbers = || prop::collection::vec(0..60u8, 0..8);
    let pairs = prop::collection::vec((0..60u8, 0..3u8), 0..8);
    let category = prop::option::of(0..4u8);
    let step = prop_oneof![
        8 => pairs.prop_map(Step::Create),
        4 => numbers().prop_map(Step::Delete),
        6 => (any::<u8>(), 1..40usize, category).prop_map(|(q, k, c)| Step::Search(q, k, c)),
        1 => Just(Step::Save),
        1 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

/// The library, and what it should hold: the category of each id.
struct Pair {
    home: Home,
    store: Option<InstructionStore>,
    truth: BTreeMap<String, String>,
}

impl Pair {
    fn new() -> Self {
        let home = Home::with(IndexConfig { exact_up_to: 20, ..IndexConfig::default() });
        let store = Some(home.open());
        Self { home, store, truth: BTreeMap::new() }
    }

    fn store(&self) -> &InstructionStore {
        self.store.as_ref().expect("open between the steps")
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Create(items) => self.create(items),
            Step::Delete(numbers) => self.delete(numbers),
            Step::Search(query, k, category) => self.search(*query, *k, *category),
            Step::Save => drop(self.store().save_snapshot().expect("saved")),
            Step::Maintain => self.store().maintain(&|| false).expect("maintained"),
            Step::Reopen => {
                self.store = None;
                self.store = Some(self.home.open());
            }
        }
        let ids: Vec<_> = self.truth.keys().map(|id| self.store().get(id).is_some()).collect();
        assert!(ids.into_iter().all(|there| there) && self.store().len() == self.truth.len());
        assert_agree(self.store(), MODEL);
    }

    fn create(&mut self, items: &[(u8, u8)]) {
        let named = |&(id, category): &(u8, u8)| (format!("n{id}"), format!("c{category}"));
        let items: Vec<_> = items.iter().map(named).collect();
        let news = items.iter().map(|(id, category)| new(id, Some(category))).collect();
        let outcomes = self.store().create(news).expect("stored");
        for ((id, category), outcome) in items.into_iter().zip(outcomes) {
            assert_eq!(outcome.is_ok(), !self.truth.contains_key(&id), "{id}");
            self.truth.entry(id).or_insert(category);
        }
    }

    fn delete(&mut self, numbers: &[u8]) {
        let ids: Vec<_> = numbers.iter().map(|number| format!("n{number}")).collect();
        let outcomes = self.store().delete(&ids).expect("deleted");
        for (id, outcome) in ids.iter().zip(outcomes) {
            assert_eq!(outcome.is_ok(), self.truth.remove(id).is_some(), "{id}");
        }
    }

    fn search(&self, query: u8, k: usize, category: Option<u8>) {
        let query = unit(&vector(&format!("query {query}")));
        let category = category.map(|category| format!("c{category}"));
        let asked = self.truth.iter().filter(|(_, of)| category.as_ref().is_none_or(|c| c == *of));
        let similarity =
            |id: &String| crate::index::dot(&unit(&vector(&format!("Do {id}."))), &query);
        let mut truth: Vec<f32> = asked.map(|(id, _)| similarity(id)).collect();
        truth.sort_by(|a, b| b.total_cmp(a));
        truth.truncate(k);
        let found = self.store().search(&query, k, category.as_deref()).expect("found");
        assert_eq!(found.len(), truth.len());
        for ((one, given), truth) in found.iter().zip(truth) {
            assert!((given - truth).abs() < 1e-5, "{one:?}: {given}, not {truth}");
            assert_eq!(self.truth.get(&*one.id).map(String::as_str), one.category.as_deref());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_library_is_a_map_with_brute_force_search(steps in steps()) {
        let mut pair = Pair::new();
        steps.iter().for_each(|step| pair.take(step));
    }
}

#[test]
fn searches_see_whole_instructions_while_writers_and_builds_go_on() {
    let home = Home::with(IndexConfig { exact_up_to: 200, ..IndexConfig::default() });
    let store = home.open();
    create(&store, numbered(0..100));
    let (done, store) = (AtomicBool::new(false), &store);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut searches = 0;
                while !done.load(Ordering::Relaxed) || searches == 0 {
                    let found = store.search(&vector("Do n50."), 3, None).expect("found");
                    assert_eq!(ids(&found)[0], "n50");
                    assert_eq!(found.len(), 3);
                    searches += 1;
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.maintain(&|| false).expect("maintained");
                store.save_snapshot().expect("saved");
            }
        });
        let writers: Vec<_> = (1..3)
            .map(|writer| {
                scope.spawn(move || {
                    for step in 0..10 {
                        let from = writer * 10_000 + step * 50;
                        create(store, numbered(from..from + 50));
                        store.delete(&[format!("n{from}")]).expect("deleted");
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
        done.store(true, Ordering::Relaxed);
    });
    store.maintain(&|| false).expect("maintained");
    assert_eq!((store.len(), store.index_kind()), (100 + 2 * 10 * 49, IndexKind::Usearch));
    assert_agree(store, MODEL);
}
