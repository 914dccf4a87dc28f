//! A scripted judge on a local server: it reads both answers from the prompt and follows one rule.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// What the judge says.
#[derive(Clone)]
pub enum Script {
    /// The same place each time.
    AlwaysA,
    /// The answer with more characters.
    Longer,
    /// The answer that is in this set.
    Favours(HashSet<String>),
    /// As `Longer`, but for three prompts of ten it only talks.
    Garbage,
    /// It talks at the first asking, and is `Longer` at the next ones.
    SecondThought,
    /// The same words each time.
    Says(&'static str),
    /// What this makes of a prompt.
    Writes(fn(&str) -> String),
}

/// What goes wrong on the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fine,
    /// One of seven calls gets 429, though no request twice, and three calls never get an answer.
    Foul,
    /// Each call takes this many milliseconds.
    Slow(u64),
    /// Every call gets 401.
    Locked,
    /// Every call after this many gets 500.
    Breaks(usize),
}

pub struct JudgeStub {
    pub base_url: String,
    state: Arc<Stub>,
    _runtime: tokio::runtime::Runtime,
}

struct Stub {
    script: Script,
    weather: Weather,
    calls: AtomicUsize,
    answered: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Prompts that came before, whatever their seeds.
    prompts: HashSet<String>,
    /// Prompts with their seeds.
    requests: HashSet<String>,
    /// Requests that got 429.
    limited: HashSet<String>,
    last: Option<Value>,
}

impl Seen {
    /// Whether this call gets 429: where one is due and its request has not had one.
    fn limits(&mut self, number: usize, request: &Value) -> bool {
        self.limited.len() < number / 7 && self.limited.insert(request.to_string())
    }
}

impl JudgeStub {
    pub fn start(script: Script, weather: Weather) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let zero = || AtomicUsize::new(0);
        let state = Arc::new(Stub {
            script,
            weather,
            calls: zero(),
            answered: zero(),
            at_once: zero(),
            most_at_once: zero(),
            seen: Mutex::default(),
        });
        let routes = Router::new()
            .route("/v1/models", get(|| async { Json(json!({"data": [{"id": "stub-judge"}]})) }))
            .route("/v1/chat/completions", post(chat))
            .layer(axum::extract::DefaultBodyLimit::max(256 << 20))
            .with_state(state.clone());
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        runtime.spawn(async move { axum::serve(listener, routes).await.expect("serves") });
        Self { base_url: format!("http://{address}/v1"), state, _runtime: runtime }
    }

    pub fn target(&self) -> String {
        format!("openai:{}", self.base_url)
    }

    /// Calls received.
    pub fn calls(&self) -> usize {
        self.state.calls.load(SeqCst)
    }

    /// Calls answered in full.
    pub fn answered(&self) -> usize {
        self.state.answered.load(SeqCst)
    }

    /// Different requests, seeds included.
    pub fn distinct(&self) -> usize {
        lock(&self.state.seen).requests.len()
    }

    pub fn most_at_once(&self) -> usize {
        self.state.most_at_once.load(SeqCst)
    }

    pub fn last_request(&self) -> Value {
        lock(&self.state.seen).last.clone().expect("a request came")
    }
}

async fn chat(State(stub): State<Arc<Stub>>, Json(request): Json<Value>) -> Response {
    let number = stub.calls.fetch_add(1, SeqCst) + 1;
    let _in_work = InWork::begin(&stub);
    reply(&stub, number, &request).await
}

/// Counts a call as in work until it is answered or its caller has left.
struct InWork(Arc<Stub>);

impl InWork {
    fn begin(stub: &Arc<Stub>) -> Self {
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

async fn reply(stub: &Stub, number: usize, request: &Value) -> Response {
    match stub.weather {
        Weather::Locked => return failure(StatusCode::UNAUTHORIZED),
        Weather::Breaks(after) if number > after => {
            return failure(StatusCode::INTERNAL_SERVER_ERROR);
        }
        Weather::Foul if lock(&stub.seen).limits(number, request) => {
            let wait = [(header::RETRY_AFTER, "0")];
            return (wait, failure(StatusCode::TOO_MANY_REQUESTS)).into_response();
        }
        Weather::Foul if [20, 90, 150].contains(&number) => std::future::pending().await,
        Weather::Slow(milliseconds) => {
            tokio::time::sleep(std::time::Duration::from_millis(milliseconds)).await;
        }
        Weather::Fine | Weather::Foul | Weather::Breaks(_) => {}
    }
    let prompt = prompt(request);
    let first_time = {
        let mut seen = lock(&stub.seen);
        seen.requests.insert(format!("{} {prompt}", request["seed"]));
        seen.last = Some(request.clone());
        seen.prompts.insert(prompt.clone())
    };
    let text = verdict(&stub.script, &prompt, first_time);
    stub.answered.fetch_add(1, SeqCst);
    let message = json!({"role": "assistant", "content": text});
    let usage = json!({"prompt_tokens": prompt.len() / 4, "completion_tokens": 1});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let mut body = json!({"model": "stub-judge", "choices": [choice], "usage": usage});
    if request["prompt_logprobs"].is_number() {
        body["prompt_logprobs"] = likelihoods(request);
    }
    Json(body).into_response()
}

/// As vLLM tells how likely a conversation is: a word that came before is likely, another is not.
fn likelihoods(request: &Value) -> Value {
    let messages = request["messages"].as_array().expect("messages");
    let texts = messages.iter().filter_map(|message| message["content"].as_str());
    let text = texts.collect::<Vec<_>>().join(" ");
    let mut seen = HashSet::new();
    let mut tokens = vec![Value::Null];
    tokens.extend(text.split_inclusive(' ').map(|word| {
        let logprob = if seen.insert(word.trim().to_lowercase()) { -4.0 } else { -1.0 };
        json!({"17": {"logprob": logprob, "rank": 1, "decoded_token": word}})
    }));
    Value::Array(tokens)
}

fn failure(status: StatusCode) -> Response {
    (status, Json(json!({"error": {"message": "scripted", "type": "stub"}}))).into_response()
}

/// The text of the last user message, whatever its form.
fn prompt(request: &Value) -> String {
    let last = request["messages"].as_array().and_then(|all| all.last()).expect("a message");
    match &last["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = parts.iter().find_map(|part| part["text"].as_str());
            text.expect("a text part").to_owned()
        }
        other => panic!("content is {other}"),
    }
}

fn answer(prompt: &str, letter: char) -> &str {
    let open = format!("[Answer {letter}]\n");
    let close = format!("\n[End of Answer {letter}]");
    let (_, rest) = prompt.split_once(&open).expect("the answer opens");
    rest.split_once(&close).expect("the answer closes").0
}

fn verdict(script: &Script, prompt: &str, first_time: bool) -> String {
    match script {
        Script::Says(words) => return (*words).to_owned(),
        Script::Writes(write) => return write(prompt),
        _ => {}
    }
    let (a, b) = (answer(prompt, 'A'), answer(prompt, 'B'));
    let (first, second) = (a.chars().count(), b.chars().count());
    let longer = match first.cmp(&second) {
        std::cmp::Ordering::Greater => "A",
        std::cmp::Ordering::Less => "**B**",
        std::cmp::Ordering::Equal => "C. Neither is significantly better.",
    };
    let talk = "Both answers describe the picture in their own way.";
    match script {
        Script::AlwaysA | Script::Says(_) | Script::Writes(_) => "A",
        Script::Longer => longer,
        Script::Favours(set) if set.contains(a) => "Answer: A",
        Script::Favours(_) => "Option B is the better answer.",
        Script::Garbage if (first + 2 * second) % 10 < 3 => talk,
        Script::Garbage => longer,
        Script::SecondThought if first_time => talk,
        Script::SecondThought => longer,
    }
    .to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
