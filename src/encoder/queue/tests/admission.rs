//! Who is let in, who is refused and why, and that leaving frees what was held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::{
    Faulty, Log, behind_door, dot, is_idle, narrow, shade, snapshot, start, until, waiting,
};
use crate::encoder::queue::{
    Admission, CallContext, DropReason, EncoderService, Lane, QueueConfig, QueueError, Resource,
    TowerKind,
};

fn four_places() -> QueueConfig {
    QueueConfig { max_queue_items: 4, batch_size: 1, ..narrow() }
}

fn within(time: Duration) -> CallContext {
    CallContext { deadline: Some(Instant::now() + time), ..CallContext::default() }
}

/// Sends photos as a task of their own.
fn send(
    service: &EncoderService,
    shades: &[u8],
    call: CallContext,
) -> tokio::task::JoinHandle<Result<usize, QueueError>> {
    let photos = shades.iter().map(|shade| dot(*shade)).collect();
    let service = service.clone();
    tokio::spawn(async move { Ok(service.embed_images(photos, &call).await?.items.len()) })
}

#[tokio::test]
async fn a_full_queue_refuses_with_numbers_and_a_hint() {
    let (encoder, door) = behind_door();
    let log = Arc::new(Log::default());
    let service = EncoderService::start(encoder, &four_places(), log.clone()).expect("starts");
    let first = send(&service, &[1, 2, 3], CallContext::default());
    until("three places held", || {
        snapshot(&service, TowerKind::Vision, Lane::Interactive).held_items == 3
    })
    .await;
    let refused = service.embed_images(vec![dot(4), dot(5)], &CallContext::default()).await;
    match refused.expect_err("one place is free") {
        QueueError::Overloaded { what, wanted, free, limit, retry_after } => {
            assert_eq!((what, wanted, free, limit), (Resource::Items, 2, 1, 4));
            assert!((Duration::from_millis(100)..=Duration::from_secs(30)).contains(&retry_after));
        }
        other => panic!("{other}"),
    }
    let large = service.embed_images(vec![dot(0); 5], &CallContext::default()).await;
    assert!(matches!(large, Err(QueueError::TooLarge { wanted: 5, limit: 4, .. })));
    // The other lane has places of its own.
    let bulk = CallContext { lane: Lane::Bulk, ..CallContext::default() };
    let beside = send(&service, &[6, 7], bulk);
    door.open();
    assert_eq!(first.await.expect("no panic"), Ok(3));
    assert_eq!(beside.await.expect("no panic"), Ok(2));
    assert_eq!(log.overloaded.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stream_waits_for_places() {
    let (encoder, door) = behind_door();
    let service = start(encoder, &four_places());
    let first = send(&service, &[1, 2, 3], CallContext::default());
    until("three wait", || waiting(&service, Lane::Interactive) >= 2).await;
    let patient = CallContext { admission: Admission::Wait, ..CallContext::default() };
    let second = send(&service, &[4, 5, 6, 7], patient);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!second.is_finished());
    door.open();
    assert_eq!(first.await.expect("no panic"), Ok(3));
    assert_eq!(second.await.expect("no panic"), Ok(4));
    until("all places free", || is_idle(&service)).await;
}

#[tokio::test]
async fn a_passed_deadline_is_refused_before_anything_is_queued() {
    let encoder = Faulty::new(|_| Ok(()));
    let service = start(encoder.clone(), &narrow());
    let call = CallContext { deadline: Some(Instant::now()), ..CallContext::default() };
    let late = service.embed_images(vec![dot(1)], &call).await;
    assert_eq!(late.expect_err("late"), QueueError::DeadlineExceeded);
    assert!(is_idle(&service) && encoder.batches().is_empty());
}

#[tokio::test]
async fn who_leaves_or_is_late_is_dropped_before_inference() {
    let (encoder, door) = behind_door();
    let log = Arc::new(Log::default());
    let service =
        EncoderService::start(encoder.clone(), &four_places(), log.clone()).expect("starts");
    let running = send(&service, &[1], CallContext::default());
    until("the first is in the session", || door.came() == 1).await;
    let leaves = send(&service, &[2], CallContext::default());
    until("the second waits", || waiting(&service, Lane::Interactive) == 1).await;
    leaves.abort();
    assert!(leaves.await.expect_err("aborted").is_cancelled());
    let late = service.embed_images(vec![dot(3)], &within(Duration::from_millis(20))).await;
    assert_eq!(late.expect_err("late"), QueueError::DeadlineExceeded);
    // The session is still held: the places came back without it.
    until("one place held", || {
        snapshot(&service, TowerKind::Vision, Lane::Interactive).held_items == 1
    })
    .await;
    door.open();
    assert_eq!(running.await.expect("no panic"), Ok(1));
    assert_eq!(encoder.batches(), [[1]]);
    let dropped = log.dropped.lock().expect("no panic").clone();
    assert_eq!(dropped, [(DropReason::Cancelled, 1), (DropReason::Deadline, 1)]);
}

#[tokio::test]
async fn ten_times_more_callers_than_places_are_all_answered() {
    let encoder = Faulty::new(|_| {
        std::thread::sleep(Duration::from_millis(1));
        Ok(())
    });
    let service = start(encoder, &four_places());
    let calls: Vec<_> =
        (0..40).map(|shade| send(&service, &[shade], CallContext::default())).collect();
    let (mut embedded, mut refused) = (0, 0);
    for call in calls {
        match call.await.expect("no caller panics") {
            Ok(_) => embedded += 1,
            Err(QueueError::Overloaded { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(embedded >= 4 && embedded + refused == 40, "{embedded} + {refused}");
    until("all places free", || is_idle(&service)).await;
}

#[tokio::test]
async fn a_probe_goes_first_and_is_never_refused() {
    let (encoder, door) = behind_door();
    let service = start(encoder.clone(), &four_places());
    let calls = send(&service, &[1, 2, 3, 4], CallContext::default());
    until("all wait", || {
        door.came() == 1 && snapshot(&service, TowerKind::Vision, Lane::Interactive).ready == 3
    })
    .await;
    let probing = service.clone();
    let probe = tokio::spawn(async move { probing.probe().await });
    until("the probe waits", || {
        snapshot(&service, TowerKind::Vision, Lane::Interactive).ready == 4
    })
    .await;
    door.open();
    probe.await.expect("no panic").expect("healthy");
    assert_eq!(calls.await.expect("no panic"), Ok(4));
    // The dot of the probe is white.
    assert_eq!(encoder.batches()[..2], [[1], [255]]);
}

#[tokio::test]
async fn draining_finishes_what_is_queued_and_refuses_what_comes() {
    let (encoder, door) = behind_door();
    let service = start(encoder, &four_places());
    let queued = send(&service, &[1, 2], CallContext::default());
    until("the first runs", || door.came() == 1).await;
    let draining = service.clone();
    let drain = tokio::spawn(async move { draining.drain(Duration::from_secs(30)).await });
    until("closed for new calls", || !drain.is_finished()).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let refused = service.embed_images(vec![dot(3)], &CallContext::default()).await;
    assert_eq!(refused.expect_err("draining"), QueueError::Closed);
    door.open();
    assert!(drain.await.expect("no panic"));
    assert_eq!(queued.await.expect("no panic"), Ok(2));
}

#[tokio::test]
async fn closing_fails_what_waits_and_lets_the_running_batch_end() {
    let encoder = Faulty::new(|batch| {
        let slow = batch.iter().any(|pixels| shade(pixels) == 1);
        std::thread::sleep(Duration::from_millis(if slow { 100 } else { 0 }));
        Ok(())
    });
    let service = start(encoder.clone(), &four_places());
    let runs = send(&service, &[1], CallContext::default());
    until("it runs", || encoder.batches().len() == 1).await;
    let waits = send(&service, &[2], CallContext::default());
    until("it waits", || waiting(&service, Lane::Interactive) == 1).await;
    let closing = service.clone();
    tokio::task::spawn_blocking(move || closing.close()).await.expect("closes");
    assert_eq!(runs.await.expect("no panic"), Ok(1));
    assert_eq!(waits.await.expect("no panic"), Err(QueueError::Closed));
    let late = service.embed_images(vec![dot(3)], &CallContext::default()).await;
    assert_eq!(late.expect_err("closed"), QueueError::Closed);
    assert!(is_idle(&service));
}
