//! Neither lane starves the other.

use super::support::{Faulty, behind_door, dot, lane, narrow, ready, start, until};
use crate::encoder::queue::lane::{Claim, PerLane, Share};
use crate::encoder::queue::{CallContext, Lane, QueueConfig};

fn share() -> Share {
    Share::new(PerLane { interactive: 4, bulk: 1 })
}

#[test]
fn when_both_wait_items_go_by_weight() {
    let (mut share, mut taken) = (share(), PerLane::<usize>::default());
    for _ in 0..1000 {
        let lane = share.choose(Claim::Ready, Some(8)).expect("both wait");
        let items = if lane == Lane::Bulk { 8 } else { 2 };
        share.took(lane, items, true);
        taken[lane] += items;
    }
    let ratio = taken.interactive as f64 / taken.bulk as f64;
    assert!((3.8..=4.2).contains(&ratio), "{ratio}");
}

#[test]
fn a_lane_alone_takes_everything() {
    let mut share = share();
    for _ in 0..10 {
        assert_eq!(share.choose(Claim::None, Some(8)), Some(Lane::Bulk));
        share.took(Lane::Bulk, 8, false);
        assert_eq!(share.choose(Claim::Ready, None), Some(Lane::Interactive));
        share.took(Lane::Interactive, 8, false);
    }
    assert_eq!(share.choose(Claim::None, None), None);
    assert_eq!(share.choose(Claim::Coming, None), None);
    // Work done alone earned the bulk lane nothing.
    assert_eq!(share.choose(Claim::Ready, Some(1)), Some(Lane::Interactive));
}

#[tokio::test]
async fn calls_of_both_lanes_are_run_by_weight() {
    let (encoder, door) = behind_door();
    let config = QueueConfig { batch_size: 1, batches_ahead: 64, ..narrow() };
    let service = start(encoder.clone(), &config);
    let call = |of: Lane, shade: u8, count: usize| {
        let service = service.clone();
        tokio::spawn(async move {
            service.embed_images(vec![dot(shade); count], &lane(of)).await.map(drop)
        })
    };
    let first = call(Lane::Interactive, 0, 1);
    until("the first runs", || door.came() == 1).await;
    let interactive = call(Lane::Interactive, 1, 40);
    let bulk = call(Lane::Bulk, 2, 40);
    // Not before they are decoded: sessions share between what both lanes have ready.
    let all_ready = || Lane::ALL.into_iter().all(|lane| ready(&service, lane) == 40);
    until("all are ready", all_ready).await;
    door.open();
    for task in [first, interactive, bulk] {
        task.await.expect("no panic").expect("embedded");
    }
    let order: Vec<u8> = encoder.batches().concat();
    // While both wait one of five is of the bulk lane; what is left of it follows.
    let contested = order[1..].iter().rposition(|shade| *shade == 1).expect("interactive ones");
    let of_bulk = order[1..=contested].iter().filter(|shade| **shade == 2).count();
    assert!((8..=10).contains(&of_bulk), "{of_bulk} of {order:?}");
    assert_eq!(order.len(), 81);
    service.embed_images(vec![dot(3)], &CallContext::default()).await.expect("still serves");
}

/// The session for the others gives way to whatever else runs: a word there would wait for it.
#[tokio::test]
async fn few_short_texts_are_left_to_their_session() {
    let encoder = Faulty::new(|_| Ok(()));
    let service = start(encoder.clone(), &narrow());
    let embed = |text: &str| {
        let (service, text) = (service.clone(), text.to_owned());
        async move { service.embed_texts(vec![text], &CallContext::default()).await.map(drop) }
    };
    let long = "a long text ".repeat(20);
    for _ in 0..20 {
        let (word, words, long) = tokio::join!(embed("a"), embed("a few words"), embed(&long));
        word.and(words).and(long).expect("embedded");
    }
    let ran = encoder.text_batches.lock().expect("no test panics inside").clone();
    let on = |thread: &str| -> Vec<usize> {
        ran.iter().filter(|(name, _)| name == thread).map(|(_, longest)| *longest).collect()
    };
    let (short, long) = (on("short text"), on("text"));
    assert!(short.iter().all(|longest| *longest <= 32), "{short:?}");
    assert!(long.len() == 20 && long.iter().all(|longest| *longest > 32), "{long:?}");
}
