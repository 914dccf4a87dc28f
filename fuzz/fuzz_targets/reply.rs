//! What language models' servers send, whole bodies and streams: no panic, and no stream counts as
//! a whole answer without the event that ends it.
#![no_main]

mod driver;

use libfuzzer_sys::fuzz_target;
use pairwright::llm::{FinishReason, read_reply};
use pairwright_fuzz::seeds;

/// The name under which servers say why they ended.
const END: &str = "finish_reason";

fn is_whole(body: &str) -> bool {
    read_reply(body).is_ok_and(|(_, finish)| finish == FinishReason::Stop)
}

fuzz_target!(
    init: seeds::write_if_asked(seeds::Kind::Replies),
    |input: &[u8]| {
        let body = String::from_utf8_lossy(input);
        let whole = is_whole(&body);
        // Escapes may spell the name otherwise; a body of JSON ends with its last brace.
        let is_stream = body.trim_start().starts_with("data:");
        if !whole || !is_stream || body.contains("\\u") {
            return;
        }
        let end = body.find(END).expect("a whole answer says that it ended");
        assert!(!is_whole(&body[..end]), "whole without its end");
    }
);
