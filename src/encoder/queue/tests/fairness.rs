//! Callers share alike, whatever each has sent.

use std::sync::Arc;

use super::support::{
    behind_door, behind_door_for_long_texts, dot, is_idle, narrow, snapshot, start, until,
};
use crate::encoder::queue::{
    CallContext, DropReason, EncoderService, Lane, Origin, QueueConfig, QueueError, TowerKind,
};

fn of(caller: u64, connection: u64) -> CallContext {
    CallContext { origin: Origin { caller, connection }, ..CallContext::default() }
}

/// Sends photos of one shade as a task of their own.
fn send(
    service: &EncoderService,
    shade: u8,
    count: usize,
    call: CallContext,
) -> tokio::task::JoinHandle<Result<usize, QueueError>> {
    let service = service.clone();
    tokio::spawn(async move {
        Ok(service.embed_images(vec![dot(shade); count], &call).await?.items.len())
    })
}

/// Waits until so many photos are decoded.
async fn decoded(service: &EncoderService, count: usize) {
    until("all are decoded", || {
        let lane = snapshot(service, TowerKind::Vision, Lane::Interactive);
        lane.ready + lane.running == count
    })
    .await;
}

#[tokio::test]
async fn a_small_call_goes_with_the_next_batch_whatever_another_has_sent() {
    for (hog, small) in [(of(1, 1), of(2, 2)), (of(1, 1), of(1, 2)), (of(1, 1), of(1, 1))] {
        let (encoder, door) = behind_door();
        let config = QueueConfig { batch_size: 4, batches_ahead: 64, ..narrow() };
        let service = start(encoder.clone(), &config);
        let large = send(&service, 1, 100, hog);
        decoded(&service, 100).await;
        let running = snapshot(&service, TowerKind::Vision, Lane::Interactive).running;
        let small = send(&service, 2, 1, small);
        decoded(&service, 101).await;
        door.open();
        assert_eq!(small.await.expect("no panic"), Ok(1));
        assert_eq!(large.await.expect("no panic"), Ok(100));
        assert!(running > 0);
        let place = encoder.batches().iter().position(|batch| batch.contains(&2));
        assert_eq!(place, Some(1), "{:?}", encoder.batches());
    }
}

#[tokio::test]
async fn a_small_photo_is_decoded_between_those_of_another() {
    let (encoder, door) = behind_door();
    // Nothing is decoded ahead beyond one batch of one: the rest waits to be decoded.
    let config = QueueConfig { batch_size: 1, batches_ahead: 1, ..narrow() };
    let service = start(encoder.clone(), &config);
    let large = send(&service, 1, 50, of(1, 1));
    until("one runs and one is ready", || {
        let lane = snapshot(&service, TowerKind::Vision, Lane::Interactive);
        (lane.running, lane.ready) == (1, 1)
    })
    .await;
    let small = send(&service, 2, 1, of(2, 2));
    until("it waits", || snapshot(&service, TowerKind::Vision, Lane::Interactive).waiting == 49)
        .await;
    door.open();
    assert_eq!(small.await.expect("no panic"), Ok(1));
    assert_eq!(large.await.expect("no panic"), Ok(50));
    let place = encoder.batches().iter().position(|batch| batch.contains(&2));
    assert_eq!(place, Some(2), "{:?}", encoder.batches());
}

#[tokio::test]
async fn a_small_photo_does_not_wait_until_a_large_one_is_decoded() {
    let (encoder, door) = behind_door();
    // One place for what is decoded ahead, which the large one is not to take.
    let config = QueueConfig { batch_size: 1, batches_ahead: 1, ..narrow() };
    let service = start(encoder.clone(), &config);
    let mut large = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(8000, 8000, image::Luma([1]))
        .write_to(&mut large, image::ImageFormat::Png)
        .expect("encodes");
    let hog = {
        let (service, large) = (service.clone(), large.into_inner().into());
        tokio::spawn(async move { service.embed_images(vec![large], &of(1, 1)).await })
    };
    until("it is being decoded", || {
        snapshot(&service, TowerKind::Vision, Lane::Interactive).preparing == 1
    })
    .await;
    let small = send(&service, 2, 1, of(2, 2));
    door.open();
    assert_eq!(small.await.expect("no panic"), Ok(1));
    assert!(hog.await.expect("no panic").is_ok());
    assert_eq!(encoder.batches(), [[2], [1]]);
}

#[tokio::test]
async fn a_word_waits_for_no_batch_of_long_texts() {
    let (encoder, door) = behind_door_for_long_texts();
    let service = start(encoder, &narrow());
    let hog = {
        let service = service.clone();
        let long = "many words ".repeat(30);
        tokio::spawn(async move { service.embed_texts(vec![long; 3], &of(1, 1)).await })
    };
    until("one runs", || door.came() == 1).await;
    let word = service.embed_texts(vec!["word".to_owned()], &of(1, 1)).await;
    assert_eq!(word.map(|word| word.items.len()), Ok(1));
    assert!(!hog.is_finished());
    door.open();
    assert!(hog.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_full_queue_sheds_the_newest_call_of_who_holds_most() {
    let (encoder, door) = behind_door();
    let log = Arc::new(super::support::Log::default());
    let config = QueueConfig { max_queue_items: 8, batch_size: 1, ..narrow() };
    let service = EncoderService::start(encoder, &config, log.clone()).expect("starts");
    let held = |items: usize| {
        let service = service.clone();
        async move {
            until("held", || {
                snapshot(&service, TowerKind::Vision, Lane::Interactive).held_items == items
            })
            .await;
        }
    };
    let first = send(&service, 1, 4, of(1, 1));
    held(4).await;
    let second = send(&service, 2, 4, of(1, 2));
    held(8).await;
    // One who would hold more than the heaviest is refused, and nobody loses anything for it.
    let heavy = send(&service, 3, 8, of(2, 1)).await.expect("no panic");
    assert!(matches!(heavy, Err(QueueError::Overloaded { .. })), "{heavy:?}");
    let small = send(&service, 4, 2, of(2, 1));
    let (mut first, mut second) = (first, second);
    // At once, although the other's photos stand before the door.
    let (end, other) = tokio::select! {
        end = &mut first => (end, second),
        end = &mut second => (end, first),
    };
    let end = end.expect("no panic");
    assert!(matches!(end, Err(QueueError::Overloaded { .. })), "{end:?}");
    door.open();
    assert_eq!(small.await.expect("no panic"), Ok(2));
    assert_eq!(other.await.expect("no panic"), Ok(4));
    let dropped = log.dropped.lock().expect("no test panics inside").clone();
    assert!(dropped.iter().all(|(reason, _)| *reason == DropReason::Shed), "{dropped:?}");
    until("every place is free", || is_idle(&service)).await;
}
