//! What fourteen kinds of server send under some twenty conditions each, and what that comes to:
//! the bodies in `shapes.jsonl` are written after the servers' documentation and after reports of
//! their users. A real HTTP server plays them, one path for each.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use pairwright::Failure;
use pairwright::llm::{
    ChatModel, ChatReply, ChatRequest, FinishReason, ImageAttachment, LlmConfig, LlmError, Message,
    SamplingSettings, connect,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const SHAPES: &str = include_str!("shapes.jsonl");

/// What a server is asked to play.
struct Stage {
    rows: Vec<Value>,
    /// Rows whose refusal was sent once; those that are to be learnt from are answered after that.
    refused: Mutex<HashSet<usize>>,
}

async fn play(
    State(stage): State<Arc<Stage>>,
    Path(number): Path<usize>,
    request: Bytes,
) -> Response {
    let row = &stage.rows[number];
    let learnt = row["expect"]["fault"] == "learnt";
    let again = !stage.refused.lock().expect("no panic").insert(number);
    if learnt && again {
        let without = row["without"].as_str().expect("what is not taken");
        let request: Value = serde_json::from_slice(&request).expect("JSON");
        let system = request["messages"][0]["role"] == "system";
        let says = if without == "system role" { system } else { !request[without].is_null() };
        assert!(!says, "{} {}: {request}", row["server"], row["condition"]);
        let good = r#"{"choices":[{"message":{"content":"learnt"},"finish_reason":"stop"}]}"#;
        return ([("content-type", "application/json")], good).into_response();
    }
    // Some refusals are met only by calls with a picture or with a schema.
    let wanted = row["headers"]["X-Only"].as_str().unwrap_or_default();
    let request = String::from_utf8_lossy(&request);
    let text = match (row["stream"].as_str(), row["raw"].as_str()) {
        (Some(stream), _) => stream.to_owned(),
        (None, Some(raw)) => raw.to_owned(),
        (None, None) => row["body"].to_string(),
    };
    match wanted {
        "images" => assert!(request.contains("image_url"), "the test sends a picture"),
        "json" => assert!(request.contains("json_schema"), "the test sends a schema"),
        _ => {}
    }
    let kind = row["kind"].as_str().unwrap_or(if row["stream"].is_string() {
        "text/event-stream"
    } else {
        "application/json"
    });
    let status = u16::try_from(row["status"].as_u64().expect("a status")).expect("a status");
    let mut response =
        (StatusCode::from_u16(status).expect("a status"), [("content-type", kind)], text)
            .into_response();
    for (name, value) in row["headers"].as_object().into_iter().flatten() {
        let name = axum::http::HeaderName::try_from(name.as_str()).expect("a name");
        let value = value.as_str().expect("text").parse().expect("a value");
        response.headers_mut().insert(name, value);
    }
    response
}

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

async fn ask(base: &str, number: usize, row: &Value) -> Result<ChatReply, LlmError> {
    let config = LlmConfig {
        target: format!("openai:{base}/{number}/v1").parse().expect("a target"),
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
                (None, Value::String(fault)) => fault == "learnt" && reply.text == "learnt",
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
    let rows: Vec<Value> =
        SHAPES.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    let stage = Arc::new(Stage { rows: rows.clone(), refused: Mutex::default() });
    let routes = Router::new().route("/{row}/v1/chat/completions", post(play)).with_state(stage);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        wrong.extend(differs(row, &ask(&base, number, row).await));
    }
    server.abort();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
