//! Plays what servers send: the rows of `shapes.jsonl`, which are written after the servers'
//! documentation and after reports of their users. A real HTTP server, one path for each role and
//! row; the role `fine` answers everything well.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

const SHAPES: &str = include_str!("shapes.jsonl");

/// The answer in the rows.
pub const TEXT: &str =
    "Two boats wait at the wooden pier while the morning fog lifts slowly from the lake.";

/// Where the rows cut it into the pieces of a stream.
const HALF: usize = 20;

/// What stands before a row's number in a prompt.
const ASKED: &str = "Sign number ";

/// A server, gone when dropped.
pub struct Stage {
    pub rows: Vec<Value>,
    base: String,
    played: Arc<Played>,
    server: tokio::task::JoinHandle<()>,
}

struct Played {
    rows: Vec<Value>,
    /// What is given in the place of [`TEXT`].
    good: &'static str,
    /// Role and row of what was sent as the row says.
    sent: Mutex<HashSet<(String, usize)>>,
}

impl Stage {
    pub async fn open(good: &'static str) -> Self {
        let rows: Vec<Value> =
            SHAPES.lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
        let played = Played { rows: rows.clone(), good, sent: Mutex::default() };
        let played = Arc::new(played);
        let routes = Router::new()
            .route("/{role}/{row}/v1/chat/completions", post(play))
            .with_state(Arc::clone(&played));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let server =
            tokio::spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        Self { rows, base, played, server }
    }

    /// The base URL at which `role` meets row number `row`.
    pub fn url(&self, role: &str, row: usize) -> String {
        format!("{}/{role}/{row}/v1", self.base)
    }

    /// The base URL at which `role` meets the row that its prompt asks for ([`Stage::asking`]).
    pub fn url_of_any(&self, role: &str) -> String {
        format!("{}/{role}/any/v1", self.base)
    }

    /// `text` with a word that asks for row number `row`.
    pub fn asking(text: &str, row: usize) -> String {
        format!("{text} {ASKED}{row}.")
    }

    /// Whether `role` met what the row says: some servers refuse only what not every role sends.
    pub fn was_played(&self, role: &str, row: usize) -> bool {
        self.played.sent.lock().expect("no panic").contains(&(role.to_owned(), row))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Whether the row speaks of something in the request; most do of any.
fn is_met(row: &Value, request: &Value, text: &str) -> bool {
    let only = match row["headers"]["X-Only"].as_str() {
        Some("images") => text.contains("image_url"),
        Some("json") => text.contains("json_schema"),
        _ => true,
    };
    only && match row["without"].as_str() {
        Some("system role") => request["messages"][0]["role"] == "system",
        Some(parameter) => !request[parameter].is_null(),
        None => true,
    }
}

fn asked_for(text: &str) -> Option<usize> {
    let (_, number) = text.split_once(ASKED)?;
    number[..number.find('.')?].parse().ok()
}

async fn play(
    State(played): State<Arc<Played>>,
    Path((role, number)): Path<(String, String)>,
    request: Bytes,
) -> Response {
    let text = String::from_utf8_lossy(&request);
    let request: Value = serde_json::from_str(&text).expect("JSON");
    let number = number.parse().ok().or_else(|| asked_for(&text)).expect("a row");
    let row = &played.rows[number];
    let good = played.good;
    if role == "fine" || !is_met(row, &request, &text) {
        return fine(good, request["stream"] == true);
    }
    played.sent.lock().expect("no panic").insert((role, number));
    let text = match (row["stream"].as_str(), row["raw"].as_str()) {
        (Some(stream), _) => stream.to_owned(),
        (None, Some(raw)) => raw.to_owned(),
        (None, None) => row["body"].to_string(),
    };
    let kind = if row["stream"].is_string() { "text/event-stream" } else { "application/json" };
    let kind = row["kind"].as_str().unwrap_or(kind);
    let status = u16::try_from(row["status"].as_u64().expect("a status")).expect("a status");
    let status = StatusCode::from_u16(status).expect("a status");
    let mut response = (status, [("content-type", kind)], with(&text, good)).into_response();
    for (name, value) in row["headers"].as_object().into_iter().flatten() {
        let name = axum::http::HeaderName::try_from(name.as_str()).expect("a name");
        let value = value.as_str().expect("text").parse().expect("a value");
        response.headers_mut().insert(name, value);
    }
    response
}

/// A row's text with another answer in it, whole or in its two pieces.
fn with(text: &str, good: &str) -> String {
    let (first, second) = good.split_at(HALF.min(good.len()));
    let inside = |text: &str| {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    text.replace(&TEXT[..HALF], &inside(first)).replace(&TEXT[HALF..], &inside(second))
}

fn fine(good: &str, streamed: bool) -> Response {
    if !streamed {
        let choice = json!({"message": {"content": good}, "finish_reason": "stop"});
        return axum::Json(json!({"choices": [choice]})).into_response();
    }
    let choice = json!({"delta": {"content": good}, "finish_reason": "stop"});
    let events = format!("data: {}\n\ndata: [DONE]\n\n", json!({"choices": [choice]}));
    ([("content-type", "text/event-stream")], events).into_response()
}
