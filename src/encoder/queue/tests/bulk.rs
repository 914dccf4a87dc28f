//! Jobs: whole batches of their own, in the bulk lane.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::support::{
    behind_door, dot, is_idle, lane, narrow, photos, real, snapshot, start, until, waiting,
};
use crate::encoder::queue::{CallContext, Lane, QueueConfig, TowerKind};
use crate::encoder::{Encoder, EncoderError};
use crate::image::Pixels;

fn prepared(encoder: &dyn Encoder, shades: std::ops::Range<u8>) -> Vec<Pixels> {
    shades.map(|shade| encoder.preprocessor().prepare(&dot(shade)).expect("decodes").0).collect()
}

#[tokio::test]
async fn a_job_gets_the_very_vectors_of_the_encoder() {
    let service = start(real(), &QueueConfig { bulk_batch_size: 0, ..QueueConfig::default() });
    let work = tokio::task::spawn_blocking(move || {
        let bulk = service.bulk_encoder();
        let prepare = |photo| bulk.preprocessor().prepare(photo).expect("decodes").0;
        let batch: Vec<Pixels> = photos().iter().take(5).map(|photo| prepare(photo)).collect();
        let direct = real().embed_images(&batch).expect("embeds");
        assert_eq!(bulk.embed_images(&batch).expect("embeds"), direct);
        let texts: Vec<String> = (1..70).map(|words| "a moose ".repeat(words % 9 + 1)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let direct = real().embed_texts(&texts).expect("embeds");
        assert_eq!(bulk.embed_texts(&texts).expect("embeds"), direct);
        assert_eq!(bulk.hash(), real().hash());
    });
    work.await.expect("no panic");
}

#[tokio::test]
async fn a_batch_of_a_job_is_never_mixed_with_calls() {
    let (encoder, door) = behind_door();
    let config = QueueConfig { bulk_batch_size: 3, max_queue_items: 9, ..narrow() };
    let service = start(encoder.clone(), &config);
    let first = service.clone();
    let first = tokio::spawn(async move {
        first
            .embed_images(vec![dot(1)], &CallContext::default())
            .await
            .expect("admitted")
            .items
            .len()
    });
    until("the first runs", || door.came() == 1).await;
    let bulk = service.bulk_encoder();
    let job = tokio::task::spawn_blocking(move || {
        let batch = prepared(&*bulk, 100..105);
        bulk.embed_images(&batch).expect("never refused")
    });
    let calls: Vec<_> = [Lane::Interactive, Lane::Bulk]
        .into_iter()
        .map(|of| {
            let service = service.clone();
            tokio::spawn(async move {
                let photos = (10..18).map(dot).collect();
                service.embed_images(photos, &lane(of)).await.map(|embedded| embedded.items.len())
            })
        })
        .collect();
    until("all wait", || {
        waiting(&service, Lane::Bulk) == 8 + 3 && waiting(&service, Lane::Interactive) == 8
    })
    .await;
    door.open();
    assert_eq!(first.await.expect("no panic"), 1);
    let vectors = job.await.expect("no panic");
    assert_eq!(
        vectors.iter().map(|vector| vector[0]).collect::<Vec<_>>(),
        [100., 101., 102., 103., 104.]
    );
    for call in calls {
        assert_eq!(call.await.expect("no panic"), Ok(8));
    }
    let of_job: Vec<Vec<u8>> = encoder
        .batches()
        .into_iter()
        .filter(|batch| batch.iter().any(|shade| *shade >= 100))
        .collect();
    assert_eq!(of_job, [vec![100, 101, 102], vec![103, 104]]);
    until("nothing is held", || is_idle(&service)).await;
}

#[tokio::test]
async fn a_job_that_waits_ends_when_the_service_closes() {
    let (encoder, door) = behind_door();
    let service = start(encoder, &narrow());
    let calling = service.clone();
    let call = tokio::spawn(async move {
        calling.embed_images(vec![dot(1)], &CallContext::default()).await.map(drop)
    });
    until("the call runs", || door.came() == 1).await;
    let bulk = service.bulk_encoder();
    let late = bulk.clone();
    let job = tokio::task::spawn_blocking(move || bulk.embed_images(&prepared(&*bulk, 0..2)));
    until("the job waits", || snapshot(&service, TowerKind::Vision, Lane::Bulk).ready == 2).await;
    let closing = tokio::task::spawn_blocking(move || service.close());
    assert!(matches!(job.await.expect("no panic"), Err(EncoderError::Closed)));
    door.open();
    closing.await.expect("closes");
    assert!(call.await.expect("no panic").is_ok());
    assert!(matches!(late.embed_texts(&["a"]), Err(EncoderError::Closed)));
}

#[tokio::test]
async fn a_job_waits_where_a_call_would_be_refused() {
    let (encoder, door) = behind_door();
    let service = start(encoder, &QueueConfig { max_queue_items: 1, ..narrow() });
    let jobs: Vec<_> = (0..5)
        .map(|_| {
            let bulk = service.bulk_encoder();
            tokio::task::spawn_blocking(move || {
                bulk.embed_images(&prepared(&*bulk, 0..4)).map(|vectors| vectors.len())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(jobs.iter().all(|job| !job.is_finished()));
    door.open();
    for job in jobs {
        assert_eq!(job.await.expect("no panic").expect("never refused"), 4);
    }
}

#[tokio::test]
async fn a_job_decodes_one_photo_at_a_time_while_a_caller_waits() {
    let (encoder, door) = behind_door();
    let service = start(encoder, &narrow());
    let calling = service.clone();
    let call = tokio::spawn(async move {
        calling.embed_images(vec![dot(1)], &CallContext::default()).await.map(drop)
    });
    until("the call runs", || door.came() == 1).await;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..4)
        .map(|shade| {
            let (bulk, throttle) = (service.bulk_encoder(), service.bulk_throttle());
            let (inside, most) = (inside.clone(), most.clone());
            tokio::task::spawn_blocking(move || {
                for _ in 0..20 {
                    let _pass = throttle.enter();
                    most.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                    bulk.preprocessor().prepare(&dot(shade)).expect("decodes");
                    inside.fetch_sub(1, SeqCst);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.await.expect("no panic");
    }
    assert_eq!(most.load(SeqCst), 1);
    door.open();
    assert!(call.await.expect("no panic").is_ok());
    // Nobody waits now: two are let in together.
    let throttle = service.bulk_throttle();
    let _both = (throttle.enter(), throttle.enter());
}
