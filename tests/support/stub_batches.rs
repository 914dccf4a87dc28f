//! The stub's batches, in OpenAI's form: files and batches over HTTP, each look at a batch moving it
//! one state on.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Stub, failure, lock, text};

/// Where the server stops answering, its work done and its reply never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Upload,
    Create,
    Poll,
    /// In the middle of the file of answers.
    Content,
}

/// How a batch ends.
#[derive(Clone, Debug, Default)]
pub enum BatchEnd {
    /// Every call is answered, in another order.
    #[default]
    Completed,
    /// The first so many are answered before the time is over.
    Expired(usize),
    /// Somebody cancels it after so many.
    Cancelled(usize),
    /// The whole file is refused.
    Failed(&'static str),
    /// Every so many-th call is refused with this status and message, the others are answered.
    PartlyRefused(usize, u16, &'static str),
    /// As completed, but no answer tells its usage.
    WithoutUsage,
    /// It stays in progress.
    Never,
}

const STATES: [&str; 3] = ["validating", "in_progress", "finalizing"];

#[derive(Default)]
pub struct Batches {
    files: HashMap<String, String>,
    /// In the order in which they were made.
    made: Vec<Batch>,
    ends: VecDeque<BatchEnd>,
    hang: Option<Step>,
    pub hanging: bool,
    /// Custom ids of the calls that were answered, which is what is paid for.
    pub paid: Vec<String>,
}

struct Batch {
    token: Value,
    input: String,
    looks: usize,
    end: BatchEnd,
    state: String,
    output: Option<String>,
    errors: Option<String>,
}

impl Batches {
    pub fn script(&mut self, ends: impl IntoIterator<Item = BatchEnd>) {
        self.ends.extend(ends);
    }

    pub fn hang_at(&mut self, step: Option<Step>) {
        (self.hang, self.hanging) = (step, false);
    }

    pub fn made(&self) -> usize {
        self.made.len()
    }

    fn hangs(&mut self, step: Step) -> bool {
        let hangs = self.hang == Some(step);
        self.hanging |= hangs;
        hangs
    }

    fn file(&mut self, content: String) -> String {
        let id = format!("file-{}", self.files.len());
        self.files.insert(id.clone(), content);
        id
    }

    fn look(&mut self, at: usize) {
        let batch = &mut self.made[at];
        batch.looks += 1;
        if let Some(state) = STATES.get(batch.looks) {
            batch.state = (*state).to_owned();
            return;
        }
        if matches!(batch.end, BatchEnd::Never)
            || batch.output.is_some()
            || !STATES.contains(&&*batch.state)
        {
            return;
        }
        let lines: Vec<Value> = self.files[&batch.input]
            .lines()
            .map(|line| serde_json::from_str(line).expect("a request is JSON"))
            .collect();
        let end = batch.end.clone();
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        for (number, line) in lines.iter().enumerate() {
            let id = &line["custom_id"];
            let answer = |status: u16, body: Value| {
                let response = json!({"status_code": status, "request_id": "r", "body": body});
                json!({"id": "x", "custom_id": id, "response": response, "error": null})
            };
            let late = json!({"custom_id": id, "response": null,
                "error": {"code": "batch_expired", "message": "This request could not be executed."}});
            match &end {
                BatchEnd::Failed(_) => {}
                BatchEnd::Expired(made) | BatchEnd::Cancelled(made) if number >= *made => {
                    errors.push(late);
                }
                BatchEnd::PartlyRefused(each, status, message) if number % each == each - 1 => {
                    errors.push(answer(*status, json!({"error": {"message": message}})));
                }
                end => {
                    let mut body = text::Reply::to(&line["body"]).json();
                    if matches!(end, BatchEnd::WithoutUsage) {
                        body.as_object_mut().expect("an object").remove("usage");
                    }
                    output.push(answer(200, body));
                    self.paid.push(id.as_str().expect("a text").to_owned());
                }
            }
        }
        output.reverse();
        let file = |lines: Vec<Value>| {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            (!lines.is_empty()).then_some(text)
        };
        let (output, errors) = (file(output), file(errors));
        let output = output.map(|text| self.file(text));
        let errors = errors.map(|text| self.file(text));
        let batch = &mut self.made[at];
        (batch.output, batch.errors) = (output, errors);
        batch.state = match end {
            BatchEnd::Expired(_) => "expired",
            BatchEnd::Cancelled(_) => "cancelled",
            BatchEnd::Failed(_) => "failed",
            _ => "completed",
        }
        .to_owned();
    }

    fn shown(&self, at: usize) -> Value {
        let batch = &self.made[at];
        let errors = match (&batch.end, &*batch.state) {
            (BatchEnd::Failed(message), "failed") => {
                json!({"object": "list", "data": [{"code": "invalid", "message": message}]})
            }
            _ => Value::Null,
        };
        json!({
            "id": format!("batch_{at}"), "object": "batch", "endpoint": "/v1/chat/completions",
            "input_file_id": batch.input, "completion_window": "24h", "status": batch.state,
            "output_file_id": batch.output, "error_file_id": batch.errors, "errors": errors,
            "metadata": batch.token,
        })
    }
}

pub async fn upload(State(stub): State<Arc<Stub>>, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.contains("name=\"purpose\"\r\n\r\nbatch\r\n"), "{body}");
    let content = body.split_once("application/jsonl\r\n\r\n").expect("a file").1;
    let content = content.split_once("\r\n--").expect("its end").0;
    let (id, hangs) = {
        let mut batches = lock(&stub.batches);
        (batches.file(content.to_owned()), batches.hangs(Step::Upload))
    };
    or_hang(hangs, json!({"id": id, "object": "file", "purpose": "batch"})).await
}

pub async fn create(State(stub): State<Arc<Stub>>, Json(body): Json<Value>) -> Response {
    let (shown, hangs) = {
        let mut batches = lock(&stub.batches);
        let input = body["input_file_id"].as_str().expect("a file").to_owned();
        if !batches.files.contains_key(&input) {
            return failure(400, "no such file");
        }
        assert_eq!(body["completion_window"], "24h");
        let end = batches.ends.pop_front().unwrap_or_default();
        batches.made.push(Batch {
            token: body["metadata"].clone(),
            input,
            looks: 0,
            end,
            state: STATES[0].to_owned(),
            output: None,
            errors: None,
        });
        let last = batches.made.len() - 1;
        (batches.shown(last), batches.hangs(Step::Create))
    };
    or_hang(hangs, shown).await
}

/// Newest first, two on a page, so that whoever looks for one must turn pages.
pub async fn list(
    State(stub): State<Arc<Stub>>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let batches = lock(&stub.batches);
    let after = query.get("after").and_then(|id| id.strip_prefix("batch_")?.parse().ok());
    let newest = after.unwrap_or(batches.made.len());
    let page: Vec<Value> = (0..newest).rev().take(2).map(|at| batches.shown(at)).collect();
    Json(json!({"object": "list", "has_more": newest > 2, "data": page}))
}

pub async fn look(State(stub): State<Arc<Stub>>, Path(id): Path<String>) -> Response {
    let at = id.strip_prefix("batch_").and_then(|at| at.parse::<usize>().ok());
    let (shown, hangs) = {
        let mut batches = lock(&stub.batches);
        let Some(at) = at.filter(|at| *at < batches.made.len()) else {
            return failure(404, "no such batch");
        };
        batches.look(at);
        (batches.shown(at), batches.hangs(Step::Poll))
    };
    or_hang(hangs, shown).await
}

pub async fn content(State(stub): State<Arc<Stub>>, Path(id): Path<String>) -> Response {
    let (content, hangs) = {
        let mut batches = lock(&stub.batches);
        let Some(content) = batches.files.get(&id).cloned() else {
            return failure(404, "no such file");
        };
        (content, batches.hangs(Step::Content))
    };
    if hangs {
        let half = content[..content.floor_char_boundary(content.len() / 2)].to_owned();
        return super::replies::hanging(half);
    }
    content.into_response()
}

async fn or_hang(hangs: bool, reply: Value) -> Response {
    if hangs {
        std::future::pending::<()>().await;
    }
    Json(reply).into_response()
}
