//! Settings of the queue, checked once.

use serde::{Deserialize, Serialize};

use super::lane::{Lane, PerLane};
use crate::base::check::{Checks, Settings};
use crate::encoder::{EncoderOptions, or_cores};
use crate::model::manifest::Padding;
use crate::model::{Device, ModelManifest};

/// Settings of the queue between callers and the encoder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// Vision batches that run at once, each on a session of its own, 0 to 64; 0 takes one per
    /// core. Each session holds the weights.
    pub sessions: usize,
    /// Whether an idle service runs a batch on one more session, over all cores. On the CPU only,
    /// and where a session has fewer threads than there are cores; it holds the weights once more.
    pub wide_session: bool,
    /// Whether short texts of callers, of up to 32 tokens, have one more session that takes nothing
    /// else: a word waits neither for a batch of long texts nor for a job's. Where a model pads all
    /// texts to its context, all are alike and any goes. On the CPU only; it holds the text graph's
    /// weights once more.
    pub short_text_session: bool,
    /// Threads inside one inference call, 0 to 1024; 0 shares the cores between the sessions.
    pub intra_threads: usize,
    /// Threads that decode and resize photos, 0 to 1024, and as many for large ones, which give way
    /// to all others; 0 takes one per core.
    pub decode_threads: usize,
    /// Photos per inference call at most, 1 to 256; 1 turns batching off, for texts as well.
    pub batch_size: usize,
    /// Bytes of f32 pixels per inference call at most, 1 MiB to 16 GiB; one photo always goes.
    pub batch_bytes: usize,
    /// Photos of a job per inference call, 0 to 256; 0 runs a job's batch as it was submitted. A
    /// running batch cannot be interrupted, so this is how long a caller may have to wait for one.
    pub bulk_batch_size: usize,
    /// Texts per inference call at most, 1 to 1024.
    pub text_batch_size: usize,
    /// Padded tokens per inference call at most, 0 to 1,048,576; one text always goes. A running
    /// batch cannot be interrupted: this is how long a text may have to wait for those of others.
    /// 0 takes 64 on a processor, where larger ones win nothing, and 256 on a GPU and with a model
    /// that pads all texts to its context.
    pub text_batch_tokens: usize,
    /// Batches that may be decoded ahead of inference, per lane, 1 to 64.
    pub batches_ahead: usize,
    /// Items that each lane of each tower may hold, 1 to 1,000,000; more are refused or wait.
    pub max_queue_items: usize,
    /// Bytes that each lane of each tower may hold, encoded and prepared, 1 MiB to 64 GiB.
    pub max_queue_bytes: usize,
    /// While both lanes wait: interactive items served for every `bulk_weight` items of a job, 1
    /// to 1000.
    pub interactive_weight: usize,
    /// See `interactive_weight`, 1 to 1000.
    pub bulk_weight: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            sessions: 0,
            wide_session: true,
            short_text_session: true,
            intra_threads: 0,
            decode_threads: 0,
            batch_size: 8,
            batch_bytes: 256 << 20,
            bulk_batch_size: 2,
            text_batch_size: 32,
            text_batch_tokens: 0,
            batches_ahead: 4,
            max_queue_items: 512,
            max_queue_bytes: 512 << 20,
            interactive_weight: 4,
            bulk_weight: 1,
        }
    }
}

impl Settings for QueueConfig {
    fn check(&self, checks: &mut Checks) {
        checks.range("sessions", self.sessions, 0, 64);
        checks.range("intra_threads", self.intra_threads, 0, 1024);
        checks.range("decode_threads", self.decode_threads, 0, 1024);
        checks.range("batch_size", self.batch_size, 1, 256);
        checks.range("batch_bytes", self.batch_bytes, 1 << 20, 16 << 30);
        checks.range("bulk_batch_size", self.bulk_batch_size, 0, 256);
        checks.range("text_batch_size", self.text_batch_size, 1, 1024);
        checks.range("text_batch_tokens", self.text_batch_tokens, 0, 1 << 20);
        checks.range("batches_ahead", self.batches_ahead, 1, 64);
        checks.range("max_queue_items", self.max_queue_items, 1, 1_000_000);
        checks.range("max_queue_bytes", self.max_queue_bytes, 1 << 20, 64 << 30);
        checks.range("interactive_weight", self.interactive_weight, 1, 1000);
        checks.range("bulk_weight", self.bulk_weight, 1, 1000);
    }
}

impl QueueConfig {
    /// The options to open the encoder with, so that it has the sessions this queue works with.
    pub fn encoder_options(&self, device: Device) -> EncoderOptions {
        EncoderOptions {
            sessions: self.resolved_sessions(),
            intra_threads: self.resolved_intra_threads(),
            batch_size: self.batch_size,
            decode_threads: self.resolved_decode_threads(),
            device,
            wide_session: self.wide_session && self.resolved_intra_threads() < or_cores(0),
            text_sessions: 1 + usize::from(self.short_text_session),
        }
    }

    /// These settings as they can be with a model: one whose rows depend on their batch runs each
    /// alone, and batches would only make the first wait for the last.
    pub fn with(&self, manifest: &ModelManifest) -> Self {
        if manifest.batch_independent {
            return self.clone();
        }
        Self { batch_size: 1, bulk_batch_size: 1, ..self.clone() }
    }

    /// Padded tokens per inference call, zero resolved.
    pub(super) fn resolved_text_batch_tokens(&self, padding: Padding, device: Device) -> usize {
        match self.text_batch_tokens {
            0 if device == Device::Cpu && padding != Padding::Context => 64,
            0 => 256,
            tokens => tokens,
        }
    }

    /// Sessions, zero resolved.
    pub fn resolved_sessions(&self) -> usize {
        or_cores(self.sessions)
    }

    /// Threads inside one inference call, zero resolved.
    pub fn resolved_intra_threads(&self) -> usize {
        match self.intra_threads {
            0 => (or_cores(0) / self.resolved_sessions()).max(1),
            threads => threads,
        }
    }

    /// Decoding threads, zero resolved.
    pub fn resolved_decode_threads(&self) -> usize {
        or_cores(self.decode_threads)
    }

    pub(super) fn weights(&self) -> PerLane<usize> {
        let mut weights = PerLane::default();
        weights[Lane::Interactive] = self.interactive_weight;
        weights[Lane::Bulk] = self.bulk_weight;
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        QueueConfig::default().validate_as("queue").expect("in range");
    }

    #[test]
    fn every_wrong_value_is_named_with_its_range() {
        let config = QueueConfig { sessions: 65, batch_size: 0, ..QueueConfig::default() };
        assert_eq!(
            config.validate_as("queue").expect_err("two").to_string(),
            "queue.sessions is 65, must be 0 to 64; queue.batch_size is 0, must be 1 to 256"
        );
    }

    #[test]
    fn sessions_share_the_cores() {
        let cores = or_cores(0);
        let one = QueueConfig { sessions: 1, ..QueueConfig::default() };
        assert_eq!(one.encoder_options(Device::Cpu).intra_threads, cores);
        let many = QueueConfig { sessions: 64, ..QueueConfig::default() };
        assert_eq!(many.encoder_options(Device::Cpu).intra_threads, (cores / 64).max(1));
    }
}
