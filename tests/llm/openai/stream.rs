//! Replies that arrive piece by piece, and calls that are given up.

use pairwright::Failure;
use std::time::Duration;

use pairwright::llm::{ChatRequest, LlmFault};
use tokio_util::sync::CancellationToken;

use super::{client, question, stub};
use crate::support::stub_llm::{After, Fault};

#[tokio::test]
async fn cancelling_ends_a_call_wherever_it_is() {
    for fault in [Fault::Hang, Fault::RateLimit(After::Seconds(60)), Fault::HangStream] {
        let stub = stub().await;
        stub.always(fault.clone());
        let model = client(&stub).await;
        let cancel = CancellationToken::new();
        let call = tokio::spawn({
            let (model, cancel) = (model.clone(), cancel.clone());
            async move {
                let (sender, _pieces) = tokio::sync::mpsc::channel(9);
                model.chat_stream(&question("a bus"), &cancel, sender).await
            }
        });
        while stub.calls() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
        // Each fault would otherwise keep the call for longer than the test may run.
        let error = call.await.expect("no panic").expect_err("cancelled");
        assert_eq!(error.fault, LlmFault::Cancelled, "{fault:?}");
    }
}

#[tokio::test]
async fn a_stream_brings_the_same_text_in_pieces() {
    let stub = stub().await;
    let model = client(&stub).await;
    let cancel = CancellationToken::new();
    let whole = model.chat(&question("a bus"), &cancel).await.expect("answered");
    let (sender, mut pieces) = tokio::sync::mpsc::channel(1);
    let collect = async {
        let mut text = Vec::new();
        while let Some(piece) = pieces.recv().await {
            text.push(piece);
        }
        text
    };
    let request = question("a bus");
    let (reply, pieces) = tokio::join!(model.chat_stream(&request, &cancel, sender), collect);
    let reply = reply.expect("answered");
    assert!(pieces.len() > 10, "piece by piece");
    assert_eq!((pieces.concat(), &reply.text), (whole.text.clone(), &whole.text));
    assert_eq!((reply.usage, reply.finish), (whole.usage, whole.finish));
}

#[tokio::test]
async fn a_stream_is_retried_only_before_its_first_piece() {
    let cases = [
        (Fault::CutStream, "llm_disconnected"),
        (Fault::HangStream, "llm_timeout"),
        (Fault::ShortStream, "llm_disconnected"),
        (Fault::ErrorEvent, "llm_server_error"),
    ];
    for (fault, code) in cases {
        let stub = stub().await;
        let model = client(&stub).await;
        let cancel = CancellationToken::new();
        // Once a reply has shown that the server marks where reasoning begins, text is not held.
        model.chat(&question("a bus"), &cancel).await.expect("answered");
        stub.script([Fault::Status(500, "boom"), fault.clone()]);
        let deadline = Some(Duration::from_millis(500));
        let request = ChatRequest { deadline, ..question("a bus") };
        let (sender, mut pieces) = tokio::sync::mpsc::channel(9);
        let error = model.chat_stream(&request, &cancel, sender).await.expect_err("broken");
        assert_eq!((error.code(), error.attempts, stub.calls()), (code, 2, 3), "{fault:?}");
        assert_eq!(pieces.recv().await.as_deref(), Some("Morning "));
    }
}

/// Before a reply has shown where reasoning begins, text is held to the end, so that nothing has
/// gone out when a stream breaks.
#[tokio::test]
async fn the_first_stream_of_a_client_comes_in_one_piece_and_may_be_retried() {
    let stub = stub().await;
    stub.script([Fault::CutStream]);
    let model = client(&stub).await;
    let (sender, mut pieces) = tokio::sync::mpsc::channel(9);
    let cancel = CancellationToken::new();
    let reply = model.chat_stream(&question("a bus"), &cancel, sender).await.expect("answered");
    assert_eq!((reply.attempts, stub.calls()), (2, 2));
    assert_eq!(pieces.recv().await.as_ref(), Some(&reply.text));
    assert_eq!(pieces.recv().await, None);
}

#[tokio::test]
async fn a_dropped_receiver_ends_the_stream() {
    let stub = stub().await;
    let model = client(&stub).await;
    let (sender, pieces) = tokio::sync::mpsc::channel(1);
    drop(pieces);
    let cancel = CancellationToken::new();
    let error = model.chat_stream(&question("x"), &cancel, sender).await.expect_err("nobody");
    assert_eq!(error.fault, LlmFault::Cancelled);
}
