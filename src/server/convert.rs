//! Between the contract's messages and the engine's types.

use std::time::{Duration, Instant, SystemTime};

use super::pb;
use crate::encoder::Encoder;
use crate::encoder::queue::Timings;
use crate::image::ImageInfo;
use crate::instruction::store::StoredInstruction;

/// The prefix of an instruction's resource name.
pub const INSTRUCTIONS: &str = "instructions/";

/// The prefix of a job's resource name.
pub const JOBS: &str = "jobs/";

/// A vector as it travels.
pub fn embedding(values: Vec<f32>) -> pb::Embedding {
    pb::Embedding { values }
}

/// A span of time as it travels; longer than any call can be is cut.
pub fn duration(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).unwrap_or_default()
}

/// Where a call's time went.
pub fn timings(spent: Timings, began: Instant) -> pb::Timings {
    pb::Timings {
        decode: Some(duration(spent.decode)),
        queue: Some(duration(spent.queue)),
        inference: Some(duration(spent.inference)),
        total: Some(duration(began.elapsed())),
    }
}

/// The model an embedding came from.
pub fn model_ref(encoder: &dyn Encoder) -> pb::ModelRef {
    pb::ModelRef { name: encoder.manifest().name.clone(), hash: encoder.hash().to_owned() }
}

/// A moment as it travels.
pub fn timestamp(moment: SystemTime) -> prost_types::Timestamp {
    prost_types::Timestamp::from(moment)
}

/// Microseconds since 1970 as they travel.
fn micros(since: i64) -> prost_types::Timestamp {
    let nanos = since.rem_euclid(1_000_000) * 1000;
    prost_types::Timestamp {
        seconds: since.div_euclid(1_000_000),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// A count as it travels, `int64`.
pub fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count as it travels; `int32` holds every count a limit allows.
pub fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A setting as this machine counts; one that is larger sets no bound.
pub fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// What an image was found to be.
pub fn image_info(info: &ImageInfo) -> pb::ImageInfo {
    pb::ImageInfo {
        width: i32::try_from(info.width).unwrap_or(i32::MAX),
        height: i32::try_from(info.height).unwrap_or(i32::MAX),
        format: info.format.to_string().to_ascii_lowercase(),
    }
}

/// An instruction's resource name.
pub fn instruction_name(id: &str) -> String {
    format!("{INSTRUCTIONS}{id}")
}

/// A stored instruction as it travels, without its embedding.
pub fn instruction(stored: &StoredInstruction) -> pb::Instruction {
    pb::Instruction {
        name: instruction_name(&stored.id),
        text: stored.text.to_string(),
        category: stored.category.as_deref().unwrap_or_default().to_owned(),
        create_time: Some(micros(stored.create_time)),
        embedding: None,
        requires: stored.requires.as_deref().map(requirements),
        tags: stored.tags.to_vec(),
    }
}

/// What an instruction requires as it travels.
pub fn requirements(phrases: &[String]) -> pb::Requirements {
    pb::Requirements { phrases: phrases.to_vec() }
}
