//! Batches, in OpenAI's form: a file of requests is sent, a batch is made of it, and hours later
//! its answers are fetched as a file. <https://platform.openai.com/docs/api-reference/batch>

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::Response;
use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};

use super::OpenAiChat;
use super::reply::Piece;
use super::request::WireRequest;
use super::transport::{Refused, within_bounds};
use crate::llm::chat::{BatchServer, BatchStatus, ChatReply, ChatRequest};
use crate::llm::error::{LlmFault, excerpt};
use crate::llm::spent::Usage;

/// What every request of a batch asks for.
const ENDPOINT: &str = "/v1/chat/completions";

/// The only time that servers offer.
const WINDOW: &str = "24h";

/// The name of our mark in a batch's metadata.
const TOKEN: &str = "pairwright";

/// Time to send or to fetch a file.
const FILE_LIMIT: Duration = Duration::from_secs(1800);

/// Batches on a page of the server's list, and pages that are read: what was made a moment ago
/// stands on the first.
const PAGE: usize = 100;
const PAGES: usize = 20;

impl OpenAiChat {
    /// An answer that is one JSON object, within `limit`.
    async fn object(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<Response, Refused>> + Send,
    ) -> Result<Value, LlmFault> {
        let answer = async {
            let response = asked.await.map_err(|refused| refused.fault)?;
            let body = self.peer.body(response).await?;
            let read: Result<Value, _> = serde_json::from_str(&body);
            read.map_err(|error| self.peer.garbage(&error.to_string(), &body))
        };
        tokio::time::timeout(limit, answer).await.map_err(|_| self.timed_out(limit))?
    }

    fn batch(&self, value: &Value) -> Result<BatchStatus, LlmFault> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let told = text("id").zip(text("status"));
        let Some((id, state)) = told else {
            return Err(self.peer.garbage("it is no batch", &value.to_string()));
        };
        // Messages tell both.
        let (id, state) = (excerpt(&id), excerpt(&state));
        let (output_file, error_file) = (text("output_file_id"), text("error_file_id"));
        let fault = (state == "failed").then(|| self.why_failed(&id, &value["errors"]));
        Ok(BatchStatus { id, state, output_file, error_file, fault })
    }

    /// What concerns the account is told as such; everything else is said of the batch, and never
    /// of one of its prompts.
    fn why_failed(&self, id: &str, errors: &Value) -> LlmFault {
        let first = errors.pointer("/data/0").unwrap_or(errors);
        let body = json!({ "error": first }).to_string();
        let fault = self.peer.refused(400, &HeaderMap::new(), &body).fault;
        match fault {
            LlmFault::QuotaExhausted { .. } | LlmFault::Auth { .. } => fault,
            other => LlmFault::Batch {
                id: id.to_owned(),
                state: "failed".to_owned(),
                excerpt: excerpt(&other.to_string()),
            },
        }
    }

    /// A name that the server gave, fit for a path.
    fn named<'a>(&self, id: &'a str) -> Result<&'a str, LlmFault> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !id.is_empty() && id.chars().all(plain) && !id.contains("..") {
            return Ok(id);
        }
        Err(self.peer.garbage("a name with other signs than letters, digits, - and _", id))
    }
}

#[async_trait]
impl BatchServer for OpenAiChat {
    fn base_url(&self) -> &str {
        &self.peer.base_url
    }

    fn bodies(&self, request: &ChatRequest) -> Result<[String; 2], LlmFault> {
        request.settings.validate()?;
        let written = |spelling| -> Result<String, LlmFault> {
            let wire = WireRequest::new(request, &self.peer.model, spelling, false)?;
            serde_json::to_string(&wire)
                .map_err(|error| LlmFault::config("messages", error.to_string()))
        };
        Ok([written(self.dialect.at_first())?, written(self.dialect.now())?])
    }

    async fn upload(&self, name: &str, lines: Vec<u8>) -> Result<String, LlmFault> {
        let file = Part::bytes(lines).file_name(name.to_owned());
        let file = file
            .mime_str("application/jsonl")
            .map_err(|error| LlmFault::config("batch", error.to_string()))?;
        let form = Form::new().text("purpose", "batch").part("file", file);
        let value = self.object(FILE_LIMIT, self.peer.post_form("files", form)).await?;
        match value["id"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => Err(self.peer.garbage("it names no file", &value.to_string())),
        }
    }

    async fn create(&self, file: &str, token: &str) -> Result<BatchStatus, LlmFault> {
        let body = json!({
            "input_file_id": file,
            "endpoint": ENDPOINT,
            "completion_window": WINDOW,
            "metadata": { TOKEN: token },
        });
        let value = self.object(self.deadline, self.peer.post("batches", &body)).await?;
        self.batch(&value)
    }

    async fn status(&self, id: &str) -> Result<BatchStatus, LlmFault> {
        let path = format!("batches/{}", self.named(id)?);
        let value = self.object(self.deadline, self.peer.get(&path)).await?;
        self.batch(&value)
    }

    async fn find(&self, token: &str) -> Result<Option<BatchStatus>, LlmFault> {
        let mut path = format!("batches?limit={PAGE}");
        for _ in 0..PAGES {
            let list = self.object(self.deadline, self.peer.get(&path)).await?;
            let Some(batches) = list["data"].as_array() else {
                return Err(self.peer.garbage("it is no list of batches", &list.to_string()));
            };
            if let Some(ours) = batches.iter().find(|one| one["metadata"][TOKEN] == token) {
                return self.batch(ours).map(Some);
            }
            let last = batches.last().and_then(|last| last["id"].as_str());
            match last.filter(|_| list["has_more"] == true) {
                Some(last) => path = format!("batches?limit={PAGE}&after={}", self.named(last)?),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn lines(&self, file: &str) -> Result<BoxStream<'_, Result<String, LlmFault>>, LlmFault> {
        let path = format!("files/{}/content", self.named(file)?);
        let got = tokio::time::timeout(self.deadline, self.peer.get(&path)).await;
        let got = got.map_err(|_| self.timed_out(self.deadline))?;
        let response = got.map_err(|refused| refused.fault)?;
        let reading = (response.bytes_stream(), Vec::<u8>::new(), false);
        let lines =
            stream::try_unfold(reading, move |(mut bytes, mut held, mut ended)| async move {
                loop {
                    let end = held.iter().position(|byte| *byte == b'\n');
                    let line: Vec<u8> = match end {
                        Some(end) => held.drain(..=end).collect(),
                        None if ended && held.is_empty() => return Ok(None),
                        None if ended => std::mem::take(&mut held),
                        None => {
                            let next = tokio::time::timeout(self.deadline, bytes.next()).await;
                            match next.map_err(|_| self.timed_out(self.deadline))? {
                                Some(Ok(more)) => held.extend_from_slice(&more),
                                Some(Err(error)) => return Err(self.peer.network_fault(&error)),
                                None => ended = true,
                            }
                            within_bounds(held.len())?;
                            continue;
                        }
                    };
                    let line = String::from_utf8_lossy(&line).trim().to_owned();
                    if !line.is_empty() {
                        return Ok(Some((line, (bytes, held, ended))));
                    }
                }
            });
        Ok(lines.boxed())
    }

    fn usage(&self, body: &str) -> Option<Usage> {
        let value: Value = serde_json::from_str(body).ok()?;
        Piece::read(&value).usage.filter(|usage| *usage != Usage::default())
    }

    fn read(
        &self,
        request: &ChatRequest,
        status: u16,
        body: &str,
    ) -> Result<ChatReply, (LlmFault, bool)> {
        let start = Instant::now();
        self.stats.begin_call();
        self.stats.begin_attempt(1);
        let answer = match status {
            200..=299 => self.read_body(request, body),
            _ => Err(self.peer.refused(status, &HeaderMap::new(), body)),
        };
        let Refused { fault, parameter, photo } = match answer {
            Ok(answer) => return Ok(self.reply(answer, 1, start)),
            Err(refused) => refused,
        };
        let photo = photo.filter(|_| request.shows_photo());
        let (fault, parameter) = match photo {
            Some(of_photo) => (*of_photo, None),
            None => (fault, parameter),
        };
        self.stats.fault(&fault);
        self.stats.fail_call();
        // Other requests of the same batch were refused for the same parameter.
        let Some(parameter) = parameter else { return Err((fault, false)) };
        let first = self.dialect.at_first();
        match self.dialect.learn(parameter, first, fault.excerpt().to_owned()) {
            Ok(()) => Err((fault, true)),
            Err(unsupported) => Err((unsupported, false)),
        }
    }
}
