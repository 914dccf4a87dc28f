//! Whatever callers and sessions do, every call is answered and every place comes back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::support::{Faulty, dot, is_idle, shade, start, until};
use crate::encoder::EncoderError;
use crate::encoder::queue::{
    Admission, CallContext, EncoderService, Lane, Origin, QueueConfig, QueueError,
};

/// The session answers photos of this shade with an error, the next with a panic.
const FAILS: u8 = 7;
const PANICS: u8 = 8;

#[derive(Debug, Clone)]
struct Call {
    shades: Vec<u8>,
    broken: bool,
    texts: bool,
    bulk: bool,
    waits: bool,
    deadline_us: Option<u64>,
    leaves_us: Option<u64>,
}

fn call() -> impl Strategy<Value = Call> {
    let time = || prop::option::weighted(0.3, 0u64..8000);
    (
        prop::collection::vec(0u8..12, 0..7),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (time(), time()),
    )
        .prop_map(|(shades, (broken, texts, bulk, waits), (deadline_us, leaves_us))| Call {
            shades,
            broken,
            texts,
            bulk,
            waits,
            deadline_us,
            leaves_us,
        })
}

fn service() -> EncoderService {
    let encoder = Faulty::new(|batch| {
        std::thread::sleep(Duration::from_micros(300));
        assert!(batch.iter().all(|pixels| shade(pixels) != PANICS), "a session that panics");
        match batch.iter().position(|pixels| shade(pixels) == FAILS) {
            Some(row) => Err(EncoderError::Degenerate { tower: "vision", row }),
            None => Ok(()),
        }
    });
    let config = QueueConfig {
        sessions: 2,
        decode_threads: 2,
        batch_size: 3,
        max_queue_items: 6,
        batches_ahead: 1,
        ..QueueConfig::default()
    };
    start(encoder, &config)
}

/// Sends the call; returns how many items were answered, unless it left before.
async fn send(service: EncoderService, call: Call) -> Option<Result<usize, QueueError>> {
    let context = CallContext {
        lane: if call.bulk { Lane::Bulk } else { Lane::Interactive },
        deadline: call.deadline_us.map(|us| Instant::now() + Duration::from_micros(us)),
        admission: if call.waits { Admission::Wait } else { Admission::Reject },
        origin: Origin {
            caller: u64::from(call.shades.len() as u8 % 3),
            connection: u64::from(call.texts),
        },
    };
    let answered = async {
        if call.texts {
            let texts = call.shades.iter().map(|shade| text(*shade)).collect();
            return Ok(service.embed_texts(texts, &context).await?.items.len());
        }
        let mut photos: Vec<Bytes> = call.shades.iter().map(|shade| dot(*shade)).collect();
        if call.broken {
            photos.pop();
            photos.push(Bytes::from_static(b"no image"));
        }
        Ok(service.embed_images(photos, &context).await?.items.len())
    };
    match call.leaves_us {
        Some(us) => tokio::time::timeout(Duration::from_micros(us), answered).await.ok(),
        None => Some(answered.await),
    }
}

fn text(shade: u8) -> String {
    if shade == PANICS { "panic".to_owned() } else { "moose ".repeat(usize::from(shade)) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_call_is_answered_and_every_place_comes_back(
        calls in prop::collection::vec(call(), 1..40),
    ) {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        let outcome: Result<(), TestCaseError> = runtime.block_on(async {
            let service = service();
            let tasks: Vec<_> = calls
                .iter()
                .map(|call| (call.clone(), tokio::spawn(send(service.clone(), call.clone()))))
                .collect();
            for (call, task) in tasks {
                let items = call.shades.len() + usize::from(call.broken && call.shades.is_empty());
                let items = if call.texts { call.shades.len() } else { items };
                match task.await.expect("no caller panics") {
                    Some(Ok(answered)) => prop_assert_eq!(answered, items),
                    Some(Err(QueueError::Closed)) => prop_assert!(false, "not closed"),
                    Some(Err(QueueError::TooLarge { .. })) => prop_assert!(items > 6),
                    Some(Err(QueueError::DeadlineExceeded)) => {
                        prop_assert!(call.deadline_us.is_some());
                    }
                    Some(Err(QueueError::Overloaded { .. })) => prop_assert!(!call.waits),
                    None => prop_assert!(call.leaves_us.is_some()),
                }
            }
            until("every place is free", || is_idle(&service)).await;
            service.probe().await.expect("every thread lives");
            Ok(())
        });
        outcome?;
    }
}
