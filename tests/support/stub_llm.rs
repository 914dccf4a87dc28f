//! A deterministic OpenAI-compatible server for tests: equal requests get equal answers, faults are
//! played from a script. A real HTTP server on a real port; only the language model is missing.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

#[path = "stub_batches.rs"]
mod batches;
#[path = "stub_eyes.rs"]
pub mod eyes;
#[path = "stub_replies.rs"]
mod replies;
#[path = "stub_text.rs"]
mod text;

use batches::Batches;
pub use batches::{BatchEnd, Step};
use replies::{cut, events, failure, hanging, limited, refused};

/// Requests kept for [`StubLlm::requests`].
const KEPT: usize = 64;

/// What Retry-After says.
#[derive(Clone, Copy, Debug)]
pub enum After {
    Nothing,
    Seconds(u64),
    /// An HTTP date this far from now, rounded up to whole seconds.
    Date(Duration),
}

/// What goes wrong with one call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing: the call is answered.
    None,
    RateLimit(After),
    Status(u16, &'static str),
    /// Status 200 with this body.
    Body(&'static str),
    /// The answer comes late.
    Slow(Duration),
    /// The answer never comes.
    Hang,
    /// The connection breaks in the middle of the answer.
    Cut,
    /// A stream sends two words and then breaks.
    CutStream,
    /// A stream sends two words and then hangs.
    HangStream,
    /// A stream sends two words and then ends in good order.
    ShortStream,
    /// A stream sends two words and then an error event.
    ErrorEvent,
}

/// How the stub behaves throughout.
#[derive(Clone, Debug)]
pub struct StubOptions {
    /// 0 takes a free one.
    pub port: u16,
    pub models: Vec<String>,
    /// When set, calls without it get 401.
    pub key: Option<String>,
    /// Time each answer takes.
    pub delay: Duration,
    pub eyes: Eyes,
}

impl Default for StubOptions {
    fn default() -> Self {
        let models = vec!["stub-model".to_owned()];
        Self { port: 0, models, key: None, delay: Duration::ZERO, eyes: Eyes::Good }
    }
}

/// What the stub does with a photo that it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eyes {
    /// It knows what is on the picture of the question that is asked first, and takes photos.
    Good,
    /// It takes photos and does not look.
    Blind,
    /// It refuses calls with photos.
    None,
    /// Good, for photos of at most so many pixels on their longer side; it refuses others with 413.
    UpTo(u32),
}

/// A running stub; it ends when dropped.
pub struct StubLlm {
    /// Ends in `/v1`.
    pub base_url: String,
    state: Arc<Stub>,
    server: tokio::task::JoinHandle<()>,
}

struct Stub {
    options: StubOptions,
    script: Mutex<VecDeque<Fault>>,
    always: Mutex<Fault>,
    calls: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    seen: Mutex<Seen>,
    batches: Mutex<Batches>,
}

#[derive(Default)]
struct Seen {
    distinct: HashSet<String>,
    last: VecDeque<Value>,
}

impl StubLlm {
    pub async fn start(options: StubOptions) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", options.port))
            .await
            .expect("the stub's port is free");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Stub {
            options,
            script: Mutex::default(),
            always: Mutex::new(Fault::None),
            calls: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            seen: Mutex::default(),
            batches: Mutex::default(),
        });
        let routes = Router::new()
            .route("/health", get(|| async { "ok" }))
            .route("/stub/stats", get(stats))
            .route("/v1/models", get(models))
            .route("/v1/chat/completions", post(chat))
            .route("/v1/files", post(batches::upload))
            .route("/v1/files/{id}/content", get(batches::content))
            .route("/v1/batches", post(batches::create).get(batches::list))
            .route("/v1/batches/{id}", get(batches::look))
            .layer(axum::extract::DefaultBodyLimit::max(256 << 20))
            .with_state(state.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("serves until dropped");
        });
        Self { base_url: format!("http://{address}/v1"), state, server }
    }

    /// Faults for the next calls, one each; calls after them go well (or by [`Self::always`]).
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.state.script).extend(faults);
    }

    /// The fault of every call that the script does not cover.
    pub fn always(&self, fault: Fault) {
        *lock(&self.state.always) = fault;
    }

    /// Chat calls received.
    pub fn calls(&self) -> usize {
        self.state.calls.load(SeqCst)
    }

    /// The most chat calls that were in work at the same time.
    pub fn most_at_once(&self) -> usize {
        self.state.most_at_once.load(SeqCst)
    }

    /// How the next batches end; those after them are completed.
    pub fn script_batches(&self, ends: impl IntoIterator<Item = BatchEnd>) {
        lock(&self.state.batches).script(ends);
    }

    /// The server does its work at this step and never answers.
    pub fn hang_at(&self, step: Option<Step>) {
        lock(&self.state.batches).hang_at(step);
    }

    /// Whether somebody waits at that step.
    pub fn is_hanging(&self) -> bool {
        lock(&self.state.batches).hanging
    }

    /// Batches made.
    pub fn batches_made(&self) -> usize {
        lock(&self.state.batches).made()
    }

    /// The custom ids of all calls that batches answered.
    pub fn paid(&self) -> Vec<String> {
        lock(&self.state.batches).paid.clone()
    }

    /// The last requests, oldest first.
    pub fn requests(&self) -> Vec<Value> {
        lock(&self.state.seen).last.iter().cloned().collect()
    }
}

impl Drop for StubLlm {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Counts a call as in work until it is answered or its caller has left.
struct InWork(Arc<Stub>);

impl InWork {
    fn begin(stub: &Arc<Stub>) -> Self {
        stub.calls.fetch_add(1, SeqCst);
        let now = stub.at_once.fetch_add(1, SeqCst) + 1;
        stub.most_at_once.fetch_max(now, SeqCst);
        Self(stub.clone())
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, SeqCst);
    }
}

impl Stub {
    fn next_fault(&self) -> Fault {
        let scripted = lock(&self.script).pop_front();
        scripted.unwrap_or_else(|| lock(&self.always).clone())
    }

    fn remember(&self, request: &Value) {
        let mut seen = lock(&self.seen);
        seen.distinct.insert(text::digest(request));
        if seen.last.len() == KEPT {
            seen.last.pop_front();
        }
        seen.last.push_back(request.clone());
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        self.options.key.as_ref().is_none_or(|key| sent == Some(&format!("Bearer {key}")))
    }
}

async fn stats(State(stub): State<Arc<Stub>>) -> Json<Value> {
    let distinct = lock(&stub.seen).distinct.len();
    Json(json!({"calls": stub.calls.load(SeqCst), "distinct": distinct}))
}

async fn models(State(stub): State<Arc<Stub>>, headers: HeaderMap) -> Response {
    if !stub.admits(&headers) {
        return refused();
    }
    let data: Vec<_> = stub.options.models.iter().map(|id| json!({"id": id})).collect();
    Json(json!({"object": "list", "data": data})).into_response()
}

async fn chat(State(stub): State<Arc<Stub>>, headers: HeaderMap, body: Bytes) -> Response {
    let _in_work = InWork::begin(&stub);
    if !stub.admits(&headers) {
        return refused();
    }
    let Ok(request) = serde_json::from_slice::<Value>(&body) else {
        return failure(400, "the request is not JSON");
    };
    stub.remember(&request);
    tokio::time::sleep(stub.options.delay).await;
    if let Some(shown) = eyes::shown(&request)
        && let Some(response) = eyes::look(stub.options.eyes, &request, &shown)
    {
        return response;
    }
    play(stub.next_fault(), &request).await
}

async fn play(fault: Fault, request: &Value) -> Response {
    match fault {
        Fault::None => answer(request),
        Fault::RateLimit(after) => limited(after),
        Fault::Status(status, message) => failure(status, message),
        Fault::Body(body) => body.into_response(),
        Fault::Slow(time) => {
            tokio::time::sleep(time).await;
            answer(request)
        }
        Fault::Hang => std::future::pending().await,
        Fault::Cut => cut(r#"{"id":"x","choices":[{"message":{"#.to_owned(), "application/json"),
        Fault::CutStream => cut(text::two_words(), "text/event-stream"),
        Fault::HangStream => hanging(text::two_words()),
        Fault::ShortStream => events(text::two_words()),
        Fault::ErrorEvent => {
            let error = json!({"error": {"code": 500, "message": "slot failed"}});
            events(text::two_words() + &format!("data: {error}\n\n"))
        }
    }
}

fn answer(request: &Value) -> Response {
    let reply = text::Reply::to(request);
    if request["stream"] == true {
        events(reply.events())
    } else {
        Json(reply.json()).into_response()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
