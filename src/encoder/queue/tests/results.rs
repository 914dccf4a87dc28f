//! What callers get: the right vectors, each item its own fate.

use crate::base::failure::Failure;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::support::{
    Faulty, Log, Panicking, behind_door, dot, is_idle, narrow, photos, ready, real, shade, start,
    until,
};
use crate::encoder::queue::{
    CallContext, EncoderService, ItemError, Lane, QueueConfig, QueueError, TowerKind,
};
use crate::encoder::{Embedding, Encoder, EncoderError, StagedEncoder};

fn farthest(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

async fn images(service: &EncoderService, photos: Vec<Bytes>) -> Vec<Result<Embedding, ItemError>> {
    let embedded = service.embed_images(photos, &CallContext::default()).await.expect("admitted");
    embedded.items.into_iter().map(|item| Ok(item?.vector)).collect()
}

#[tokio::test]
async fn a_photo_alone_gets_the_vector_it_gets_in_a_batch() {
    let photos: Vec<Bytes> = photos().into_iter().take(8).collect();
    let service = start(real(), &QueueConfig::default());
    let together = images(&service, photos.clone()).await;
    for (photo, together) in photos.iter().zip(together) {
        let (pixels, info) = real().preprocessor().prepare(photo).expect("decodes");
        let alone = real().embed_images(&[pixels]).expect("embeds").remove(0);
        assert!(farthest(&alone, &together.expect("embedded")) < 1e-4);
        let call = CallContext::default();
        let queued = service.embed_images(vec![photo.clone()], &call).await.expect("admitted");
        let queued = queued.items.into_iter().next().expect("one item").expect("embedded");
        assert!(farthest(&alone, &queued.vector) < 1e-4);
        assert_eq!(queued.info, info);
        assert!(queued.timings.decode > Duration::ZERO);
        assert!(queued.timings.inference > Duration::ZERO);
    }
}

#[tokio::test]
async fn a_text_alone_gets_the_vector_it_gets_in_a_batch() {
    let texts: Vec<String> =
        (1..40).map(|words| ["a photo of a moose"].repeat(words).join(", ")).collect();
    let service = start(real(), &QueueConfig::default());
    let call = CallContext::default();
    let together = service.embed_texts(texts.clone(), &call).await.expect("admitted");
    for (text, together) in texts.iter().zip(together.items) {
        let alone = real().embed_texts(&[text]).expect("embeds").remove(0);
        let together = together.expect("embedded");
        assert!(farthest(&alone.vector, &together.vector) < 1e-4);
        let seen = (together.tokens, together.truncated);
        assert_eq!(seen, (alone.tokens, alone.truncated));
    }
}

#[tokio::test]
async fn one_bad_image_in_32_costs_one_result() {
    let mut photos: Vec<Bytes> = (0..32).map(dot).collect();
    photos[13] = Bytes::from_static(b"no image");
    let service = start(Faulty::new(|_| Ok(())), &QueueConfig::default());
    for (place, item) in images(&service, photos).await.into_iter().enumerate() {
        match item {
            Ok(vector) => assert_eq!(vector, [place as f32]),
            Err(error) => assert_eq!((place, error.code()), (13, "image_unknown_format")),
        }
    }
}

#[tokio::test]
async fn a_photo_that_fails_the_session_fails_alone() {
    let encoder = Faulty::new(|batch| {
        let row = batch.iter().position(|pixels| shade(pixels) == 13);
        row.map_or(Ok(()), |row| Err(EncoderError::Degenerate { tower: "vision", row }))
    });
    let service = start(encoder, &narrow());
    let failed: Vec<usize> = failures(&images(&service, (0..32).map(dot).collect()).await);
    assert_eq!(failed, [13]);
}

#[tokio::test]
async fn a_panicking_session_costs_an_item_and_the_worker_lives_on() {
    let encoder = Faulty::new(|batch| {
        assert!(batch.iter().all(|pixels| shade(pixels) != 13), "a session that panics");
        Ok(())
    });
    let service = start(encoder, &narrow());
    for _ in 0..3 {
        let items = images(&service, (0..32).map(dot).collect()).await;
        assert_eq!(failures(&items), [13]);
        let error = items[13].as_ref().expect_err("panicked");
        assert!(matches!(error, ItemError::Encoder(EncoderError::Panicked { tower: "vision" })));
    }
}

fn failures(items: &[Result<Embedding, ItemError>]) -> Vec<usize> {
    (0..items.len()).filter(|place| items[*place].is_err()).collect()
}

#[tokio::test]
async fn a_text_that_panics_the_tokenizer_costs_one_result() {
    let service = start(Faulty::new(|_| Ok(())), &narrow());
    let texts = ["a moose", "panic", "a panda"].map(str::to_owned).to_vec();
    for _ in 0..3 {
        let call = CallContext::default();
        let embedded = service.embed_texts(texts.clone(), &call).await.expect("admitted");
        let codes: Vec<_> =
            embedded.items.iter().map(|item| item.as_ref().err().map(ItemError::code)).collect();
        assert_eq!(codes, [None, Some("decoder_panicked"), None]);
    }
}

#[tokio::test]
async fn batches_fill_while_the_session_is_busy_and_the_observer_hears_of_them() {
    let (encoder, door) = behind_door();
    let log = Arc::new(Log::default());
    let config = QueueConfig { batch_size: 4, ..narrow() };
    let service = EncoderService::start(encoder.clone(), &config, log.clone()).expect("starts");
    let (first, rest) = tokio::join!(images(&service, vec![dot(1)]), async {
        until("the first runs", || door.came() == 1).await;
        let calls = images(&service, (2..8).map(dot).collect());
        let open = async {
            until("six are ready", || ready(&service, Lane::Interactive) == 6).await;
            door.open();
        };
        tokio::join!(calls, open).0
    });
    assert!(first.iter().chain(&rest).all(Result::is_ok));
    assert_eq!(encoder.batches(), [vec![1], vec![2, 3, 4, 5], vec![6, 7]]);
    until("the reports are in", || log.batches.lock().expect("no panic").len() == 3).await;
    let sizes: Vec<usize> =
        log.batches.lock().expect("no panic").iter().map(|batch| batch.items).collect();
    assert_eq!(sizes, [1, 4, 2]);
    assert_eq!(log.items.load(std::sync::atomic::Ordering::SeqCst), 7);
}

#[tokio::test]
async fn a_panicking_observer_costs_nothing() {
    let service = EncoderService::start(Faulty::new(|_| Ok(())), &narrow(), Arc::new(Panicking));
    let service = service.expect("starts");
    for _ in 0..3 {
        let items = images(&service, (0..9).map(dot).collect()).await;
        assert!(items.iter().all(Result::is_ok));
        let gone = CallContext { deadline: Some(std::time::Instant::now()), ..Default::default() };
        let late = service.embed_images(vec![dot(1)], &gone).await;
        assert_eq!(late.err(), Some(QueueError::DeadlineExceeded));
    }
    until("nothing is held", || is_idle(&service)).await;
}

#[tokio::test]
async fn a_batch_of_one_turns_batching_off_for_both_towers() {
    let log = Arc::new(Log::default());
    let config = QueueConfig { batch_size: 1, ..narrow() };
    let encoder = Faulty::new(|_| Ok(()));
    let service = EncoderService::start(encoder, &config, log.clone()).expect("starts");
    images(&service, (0..9).map(dot).collect()).await;
    let texts = vec!["a moose".to_owned(); 5];
    service.embed_texts(texts, &CallContext::default()).await.expect("admitted");
    until("the reports are in", || log.batches.lock().expect("no panic").len() == 14).await;
    let batches = log.batches.lock().expect("no panic").clone();
    assert!(batches.iter().all(|batch| batch.items == 1));
    assert_eq!(batches.iter().filter(|batch| batch.tower == TowerKind::Text).count(), 5);
}

#[tokio::test]
async fn the_real_encoder_warms_up_and_is_healthy() {
    let service = start(real(), &QueueConfig { sessions: 2, ..QueueConfig::default() });
    let warm = service.warm_up(2).await.expect("warms up");
    assert!(warm.vision_seconds > 0.0 && warm.text_seconds > 0.0);
    assert_eq!(service.warm_up(0).await.expect("skips"), Default::default());
    service.probe().await.expect("healthy");
    assert_eq!(service.encoder().hash(), real().hash());
}

#[test]
fn tokens_count_what_the_graph_gets() {
    let tokens = real().tokenize(&"moose ".repeat(1000)).expect("tokenises");
    let context = real().manifest().text.context_length;
    assert!(tokens.truncated() && tokens.count() == context);
}
