//! What fourteen kinds of server send under some twenty conditions each, and what that comes to in
//! the client that all roles share.

use std::sync::Arc;

use pairwright::Failure;
use pairwright::llm::{
    ChatModel, ChatReply, ChatRequest, FinishReason, ImageAttachment, LlmConfig, LlmError, Message,
    SamplingSettings, connect,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::stage::{Stage, TEXT};

fn request(row: &Value) -> ChatRequest {
    let mut question = Message::user("What waits at the pier?");
    let only = row["headers"]["X-Only"].as_str().unwrap_or_default();
    if only == "images" {
        question.images = vec![ImageAttachment { mime: "image/png".into(), bytes: vec![1, 2, 3] }];
    }
    let messages = vec![Message::system("Be brief."), question];
    // Everything that a server may not know is sent, so that it has something to refuse.
    let settings = SamplingSettings {
        repeat_penalty: Some(1.1),
        frequency_penalty: Some(0.1),
        ..SamplingSettings::default()
    };
    let request = ChatRequest::new(messages, settings, 7);
    let schema = serde_json::json!({"type": "object"});
    let learnt = row["expect"]["fault"] == "learnt";
    if only == "json" || learnt { request.with_json_schema(schema) } else { request }
}

async fn ask(stage: &Stage, number: usize) -> Result<ChatReply, LlmError> {
    let row = &stage.rows[number];
    let config = LlmConfig {
        target: format!("openai:{}", stage.url("chat", number)).parse().expect("a target"),
        model: Some("m".into()),
        max_attempts: 1,
        deadline_s: 20.0,
        ..LlmConfig::default()
    };
    let model: Arc<dyn ChatModel> = connect(&config).await.expect("connected");
    let (request, cancel) = (request(row), CancellationToken::new());
    // Some servers speak of `stream_options`, which only a stream sends.
    let streamed = row["stream"].is_string() || row["body"].to_string().contains("stream_options");
    if !streamed {
        return model.chat(&request, &cancel).await;
    }
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<String>(64);
    let collect = async {
        let mut text = String::new();
        while let Some(piece) = pieces.recv().await {
            text.push_str(&piece);
        }
        text
    };
    let (reply, text) = tokio::join!(model.chat_stream(&request, &cancel, sender), collect);
    let reply = reply?;
    assert_eq!(text.trim(), reply.text.trim(), "{row}: pieces and reply differ");
    Ok(reply)
}

/// What came of it, in the words of the table, if it is not what was expected.
fn differs(row: &Value, result: &Result<ChatReply, LlmError>) -> Option<String> {
    let expect = &row["expect"];
    let fine = match result {
        Ok(reply) => {
            let whole = reply.finish == FinishReason::Stop;
            let cut = reply.finish == FinishReason::Length;
            match (expect["answer"].as_str().or(expect["text"].as_str()), &expect["fault"]) {
                (Some(text), _) => whole && reply.text.trim() == text,
                (None, Value::String(fault)) => fault == "learnt" && reply.text == TEXT,
                _ if expect["truncated"] == true => cut,
                _ => expect["unfinished"] == true && !whole && !cut,
            }
        }
        // A filter or an abort may be told as a fault too: what matters is that it is no answer.
        Err(error) => match expect["fault"].as_str() {
            Some("not_pair") => {
                !["llm_content_policy", "llm_context_too_long"].contains(&error.code())
            }
            Some(code) => error.code() == code,
            None => expect["unfinished"] == true,
        },
    };
    let came = match result {
        Ok(reply) => format!("{:?} {:?}", reply.finish, reply.text),
        Err(error) => format!("{}: {error}", error.code()),
    };
    (!fine).then(|| {
        let (server, condition) = (&row["server"], &row["condition"]);
        format!("{server} {condition}: expected {expect}, came {came}")
    })
}

#[tokio::test]
async fn every_server_is_understood_under_every_condition() {
    let stage = Stage::open(TEXT).await;
    let mut wrong = Vec::new();
    for (number, row) in stage.rows.iter().enumerate() {
        let result = ask(&stage, number).await;
        assert!(stage.was_played("chat", number), "{row}: the test sends what is refused");
        wrong.extend(differs(row, &result));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), stage.rows.len(), wrong.join("\n"));
}
