use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

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
