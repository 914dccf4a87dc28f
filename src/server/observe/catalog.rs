//! Names, units and descriptions of every metric, and the buckets of the histograms.

use metrics::{Recorder, Unit};

/// One metric: its name, its unit, what it counts.
pub type Entry = (&'static str, Option<Unit>, &'static str);

pub const REQUEST_COUNT: &str = "pw_request_count";
pub const REQUEST_SUCCESS: &str = "pw_request_success";
pub const REQUEST_FAILURE: &str = "pw_request_failure";
pub const QUEUE_DROPPED: &str = "pw_queue_dropped";
pub const QUEUE_OVERLOADED: &str = "pw_queue_overloaded";
pub const LLM_CALLS: &str = "pw_llm_calls";
pub const LLM_RETRIES: &str = "pw_llm_retries";
pub const LLM_FAILURES: &str = "pw_llm_failures";
pub const LLM_PROMPT_TOKENS: &str = "pw_llm_prompt_tokens";
pub const LLM_COMPLETION_TOKENS: &str = "pw_llm_completion_tokens";
pub const LLM_ROLE_CALLS: &str = "pw_llm_role_calls";
pub const LLM_ROLE_TOKENS: &str = "pw_llm_role_tokens";
pub const CONNECTIONS_REFUSED: &str = "pw_connections_refused";
pub const QUOTA_REFUSED: &str = "pw_quota_refused";

pub const LLM_ROLE_COST: &str = "pw_llm_role_cost";
pub const QUEUE_SIZE: &str = "pw_queue_size";
pub const LIBRARY_SIZE: &str = "pw_library_size";
pub const INDEX_RECALL: &str = "pw_index_recall";
pub const INDEX_WIDTH: &str = "pw_index_width";
pub const JOBS: &str = "pw_jobs";
pub const ANSWER_BACKEND_UP: &str = "pw_answer_backend_up";
pub const STREAMS_OPEN: &str = "pw_streams_open";
pub const CONNECTIONS_OPEN: &str = "pw_connections_open";
pub const DATA_BYTES: &str = "pw_data_bytes";
pub const MEMORY: &str = "pw_process_resident_memory_bytes";
pub const BUILD_INFO: &str = "pw_build_info";

pub const REQUEST_DURATION: &str = "pw_request_duration";
pub const DECODE_DURATION: &str = "pw_request_decode_duration";
pub const TOKENIZATION_DURATION: &str = "pw_request_tokenization_duration";
pub const QUEUE_DURATION: &str = "pw_request_queue_duration";
pub const INFERENCE_DURATION: &str = "pw_request_inference_duration";
pub const BATCH_NEXT_SIZE: &str = "pw_batch_next_size";
pub const BATCH_WASTED_SHARE: &str = "pw_batch_wasted_share";
pub const LLM_CALL_DURATION: &str = "pw_llm_call_duration";

const COUNTERS: [Entry; 14] = [
    (REQUEST_COUNT, Some(Unit::Count), "Calls begun, by method"),
    (REQUEST_SUCCESS, Some(Unit::Count), "Calls that ended with OK, by method"),
    (REQUEST_FAILURE, Some(Unit::Count), "Calls that ended otherwise, by method and gRPC code"),
    (QUEUE_DROPPED, Some(Unit::Count), "Items dropped from a queue unworked, by reason"),
    (QUEUE_OVERLOADED, Some(Unit::Count), "Calls refused because a queue was full"),
    (LLM_CALLS, Some(Unit::Count), "LLM calls begun"),
    (LLM_RETRIES, Some(Unit::Count), "LLM attempts beyond the first of each call"),
    (LLM_FAILURES, Some(Unit::Count), "LLM attempts that failed, by reason code"),
    (LLM_PROMPT_TOKENS, Some(Unit::Count), "Prompt tokens of successful LLM calls"),
    (LLM_COMPLETION_TOKENS, Some(Unit::Count), "Reply tokens of successful LLM calls"),
    (LLM_ROLE_CALLS, Some(Unit::Count), "Answered LLM calls of jobs and requests, by role"),
    (LLM_ROLE_TOKENS, Some(Unit::Count), "Tokens of these calls, by role and kind"),
    (CONNECTIONS_REFUSED, Some(Unit::Count), "Connections closed because too many were open"),
    (QUOTA_REFUSED, Some(Unit::Count), "Calls refused because of their caller's quota, by quota"),
];

const GAUGES: [Entry; 12] = [
    (
        LLM_ROLE_COST,
        None,
        "What these calls cost since the start by the configured prices, by role",
    ),
    (QUEUE_SIZE, Some(Unit::Count), "Items that wait for an encoder, by tower and lane"),
    (LIBRARY_SIZE, Some(Unit::Count), "Instructions in the library"),
    (INDEX_RECALL, None, "Measured recall@10 of the library's index, by modality of the queries"),
    (INDEX_WIDTH, Some(Unit::Count), "Candidates kept in a search of it, by modality"),
    (JOBS, Some(Unit::Count), "Jobs, by state"),
    (ANSWER_BACKEND_UP, None, "1 when the LLM backend can be used, else 0"),
    (STREAMS_OPEN, Some(Unit::Count), "Streaming calls under way"),
    (CONNECTIONS_OPEN, Some(Unit::Count), "Open connections"),
    (DATA_BYTES, Some(Unit::Bytes), "Bytes on the disk below the data folder, by part"),
    (MEMORY, Some(Unit::Bytes), "Resident memory of the process, on Linux; 0 elsewhere"),
    (BUILD_INFO, None, "Always 1; the labels tell what is running"),
];

const HISTOGRAMS: [Entry; 8] = [
    (REQUEST_DURATION, Some(Unit::Seconds), "A call from its head to its end, by method"),
    (DECODE_DURATION, Some(Unit::Seconds), "Decoding and resizing the photos of a call"),
    (TOKENIZATION_DURATION, Some(Unit::Seconds), "Tokenising the texts of a call"),
    (QUEUE_DURATION, Some(Unit::Seconds), "Waiting for the encoder, by tower"),
    (INFERENCE_DURATION, Some(Unit::Seconds), "One batch in the encoder, by tower"),
    (BATCH_NEXT_SIZE, Some(Unit::Count), "Items in a batch, by tower"),
    (BATCH_WASTED_SHARE, None, "Share of a text batch's tokens that were padding, 0 to 1"),
    (LLM_CALL_DURATION, Some(Unit::Seconds), "One LLM call with its retries"),
];

/// Tells `recorder` what every metric is.
pub fn describe(recorder: &dyn Recorder) {
    for (name, unit, text) in COUNTERS {
        recorder.describe_counter(name.into(), unit, text.into());
    }
    for (name, unit, text) in GAUGES {
        recorder.describe_gauge(name.into(), unit, text.into());
    }
    for (name, unit, text) in HISTOGRAMS {
        recorder.describe_histogram(name.into(), unit, text.into());
    }
}

/// The upper ends of each histogram's buckets.
pub fn buckets() -> [(&'static str, Vec<f64>); 8] {
    [
        // A call may wait for an LLM, so its buckets go on where the short ones end.
        (REQUEST_DURATION, [short_calls(), llm_calls_beyond_short()].concat()),
        (DECODE_DURATION, short_calls()),
        (TOKENIZATION_DURATION, short_calls()),
        (QUEUE_DURATION, short_calls()),
        (INFERENCE_DURATION, short_calls()),
        (BATCH_NEXT_SIZE, (0..9).map(|power| f64::from(1 << power)).collect()),
        (BATCH_WASTED_SHARE, (0..10).map(|tenth| f64::from(tenth) / 10.0).collect()),
        (LLM_CALL_DURATION, LLM_CALLS_S.to_vec()),
    ]
}

/// Seconds; as in text-embeddings-inference, from 15 microseconds to 15 seconds.
fn short_calls() -> Vec<f64> {
    let steps = std::iter::successors(Some(15e-6), |end| Some(end * 1.5));
    steps.take_while(|end| *end < LONGEST_SHORT).chain([LONGEST_SHORT]).collect()
}

const LONGEST_SHORT: f64 = 15.0;

/// Seconds; an LLM call is never quick and may take minutes.
const LLM_CALLS_S: [f64; 13] =
    [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0];

fn llm_calls_beyond_short() -> Vec<f64> {
    LLM_CALLS_S.into_iter().filter(|end| *end > LONGEST_SHORT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_rise_from_microseconds_to_minutes() {
        for (name, ends) in buckets() {
            assert!(ends.is_sorted_by(|low, high| low < high), "{name}: {ends:?}");
        }
        let short = short_calls();
        assert_eq!((short.first(), short.last()), (Some(&15e-6), Some(&15.0)));
        let calls = &buckets()[0].1;
        assert_eq!(calls.last(), Some(&600.0));
    }

    #[test]
    fn every_histogram_has_buckets() {
        let with_buckets = buckets().map(|(name, _)| name);
        assert_eq!(with_buckets, HISTOGRAMS.map(|(name, _, _)| name));
    }
}
