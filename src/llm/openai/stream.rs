//! Replies that arrive piece by piece.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures::StreamExt;
use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::sync::mpsc;

use super::events::{Event, Events};
use super::reply::{self, Piece};
use super::transport::{Peer, Refused, within_bounds};
use super::{Answer, OpenAiChat};
use crate::llm::chat::{ChatRequest, FinishReason};
use crate::llm::error::LlmFault;
use crate::llm::reasoning::Splitter;
use crate::llm::spent::Usage;

/// Where pieces go, and whether one has gone there.
pub(super) struct Outlet {
    pieces: mpsc::Sender<String>,
    used: AtomicBool,
}

impl Outlet {
    pub(super) fn new(pieces: mpsc::Sender<String>) -> Self {
        Self { pieces, used: AtomicBool::new(false) }
    }

    pub(super) fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    async fn send(&self, piece: &str) -> Result<(), LlmFault> {
        if piece.is_empty() {
            return Ok(());
        }
        self.used.store(true, Relaxed);
        self.pieces.send(piece.to_owned()).await.map_err(|_| LlmFault::Cancelled)
    }
}

/// A reply under construction.
#[derive(Default)]
pub(super) struct Partial {
    splitter: Splitter,
    /// Reasoning that the server has told from the text.
    reasoning: String,
    pub(super) finish: Option<FinishReason>,
    pub(super) usage: Usage,
    model: Option<String>,
}

impl OpenAiChat {
    pub(super) async fn stream(
        &self,
        request: &ChatRequest,
        response: Response,
        outlet: &Outlet,
    ) -> Result<Answer, Refused> {
        let mut bytes = response.bytes_stream();
        let (mut events, mut partial) = (Events::default(), Partial::default());
        let (mut read, mut head) = (0, Some(Vec::new()));
        // Until it is known where reasoning ends, nothing can be shown.
        let hold = !self.dialect.is_marked();
        'reading: while let Some(next) = bytes.next().await {
            let next = match next {
                Ok(next) => next,
                // All that matters has come already.
                Err(_) if partial.finish.is_some() => break,
                Err(error) => return Err(self.peer.network_fault(&error).into()),
            };
            read += next.len();
            within_bounds(read)?;
            let arrived = match &mut head {
                None => events.push(&next),
                Some(start) => {
                    start.extend_from_slice(&next);
                    match is_stream(start) {
                        None => continue,
                        Some(true) => events.push(&head.take().unwrap_or_default()),
                        // The server does not stream: the rest is the rest of one body.
                        Some(false) => Vec::new(),
                    }
                }
            };
            for event in arrived {
                match partial.take(&self.peer, event)? {
                    Some(piece) if !hold || partial.splitter.is_lone() => {
                        outlet.send(&piece).await?;
                    }
                    Some(_) => {}
                    None => break 'reading,
                }
            }
        }
        if let Some(body) = head {
            let answer = self.read_body(request, &String::from_utf8_lossy(&body))?;
            outlet.send(&answer.text).await?;
            return Ok(answer);
        }
        for event in events.finish() {
            if let Some(piece) = partial.take(&self.peer, event)?
                && (!hold || partial.splitter.is_lone())
            {
                outlet.send(&piece).await?;
            }
        }
        let rest = partial.splitter.finish();
        let (answer, lone) = partial.end(&self.peer)?;
        let shown = if hold && !lone { &answer.text } else { &rest };
        outlet.send(shown).await?;
        self.dialect.saw_opening(lone);
        Ok(answer)
    }
}

/// Bytes of a body that are looked at to tell a stream from a page.
const HEAD: usize = 64;

/// Whether a body that begins so is a stream of events and no JSON or page; none when only white
/// space has come.
fn is_stream(start: &[u8]) -> Option<bool> {
    let text = String::from_utf8_lossy(&start[..start.len().min(HEAD)]);
    let first = text.trim_start_matches('\u{feff}').trim_start().chars().next()?;
    Some(!['{', '[', '<', '\u{fffd}'].contains(&first))
}

impl Partial {
    /// Reads a whole stream that came in answer to a call for one reply.
    pub(super) fn read(peer: &Peer, body: &str) -> Result<(Answer, bool), Refused> {
        let mut partial = Self::default();
        let mut events = Events::default();
        let mut all = events.push(body.as_bytes());
        all.extend(events.finish());
        for event in all {
            if partial.take(peer, event)?.is_none() {
                break;
            }
        }
        Ok(partial.end(peer)?)
    }

    /// Adds an event; returns the text of the answer that it brought, none at the end.
    fn take(&mut self, peer: &Peer, event: Event) -> Result<Option<String>, Refused> {
        let data = match event {
            Event::Done => return Ok(None),
            Event::Error(body) => return Err(peer.refused(200, &HeaderMap::new(), &body)),
            Event::Data(data) => data,
        };
        let mut shown = String::new();
        let values = match reply::values(&data) {
            Ok(values) => values,
            // Some gateways keep the connection alive by words.
            Err(_) if !data.contains(['{', '[', '<']) => return Ok(Some(shown)),
            Err(error) => return Err(peer.garbage(&error.to_string(), &data).into()),
        };
        for value in &values {
            shown.push_str(&self.add(peer, value)?.unwrap_or_default());
        }
        Ok(Some(shown))
    }

    /// Adds what a body or an event says; returns the text of the answer that is decided by it,
    /// none where it has no choice.
    pub(super) fn add(&mut self, peer: &Peer, value: &Value) -> Result<Option<String>, Refused> {
        let value = reply::unlisted(value);
        if reply::is_error(value) {
            return Err(peer.refused(200, &HeaderMap::new(), &value.to_string()));
        }
        let Piece { text, reasoning, finish, usage, model, has_choice } = Piece::read(value);
        self.model = self.model.take().or(model);
        self.usage = usage.unwrap_or(self.usage);
        self.finish = finish.or(self.finish);
        self.reasoning.push_str(&reasoning);
        let shown = self.splitter.push(&text);
        Ok(has_choice.then_some(shown))
    }

    /// The answer, and whether its reasoning has an end without a beginning. A stream that just
    /// stops is a broken one: its last event says why the model ended.
    pub(super) fn end(mut self, peer: &Peer) -> Result<(Answer, bool), LlmFault> {
        self.splitter.finish();
        let Self { splitter, mut reasoning, finish, usage, model } = self;
        let lone = splitter.is_lone();
        let (thought, text) = splitter.into_parts();
        let Some(finish) = finish else {
            let cause = format!("the stream ended without a finish reason after {text:?}");
            return Err(peer.broken(&cause));
        };
        reasoning.push_str(&thought.unwrap_or_default());
        let prompt_logprobs = Vec::new();
        Ok((Answer { text, reasoning, finish, usage, model, prompt_logprobs }, lone))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer() -> Peer {
        let (base_url, model) = ("http://server/v1".to_owned(), "m".to_owned());
        Peer { http: reqwest::Client::new(), base_url, model, key: None }
    }

    fn event(text: &str, finish: &str) -> String {
        let choice = serde_json::json!({"delta": {"content": text}, "finish_reason": finish});
        format!("data: {}\n\n", serde_json::json!({"choices": [choice]}))
    }

    proptest! {
        #[test]
        fn a_stream_that_breaks_off_is_never_an_answer(
            texts in proptest::collection::vec("\\PC{0,9}", 1..6),
            share in 0.0f64..1.0,
        ) {
            let start: String = texts.iter().map(|text| event(text, "")).collect();
            let end = event("", "stop");
            let whole = format!("{start}{end}data: [DONE]\n\n");
            let read = Partial::read(&peer(), &whole);
            prop_assert!(read.is_ok_and(|(answer, _)| answer.finish == FinishReason::Stop));
            // Up to the last brace but one of the event that ends the reply.
            let last = start.len() + end.trim_end().len() - 1;
            let cut = whole.floor_char_boundary((last as f64 * share) as usize);
            prop_assert!(Partial::read(&peer(), &whole[..cut]).is_err(), "{}", &whole[..cut]);
        }

        #[test]
        fn any_stream_is_read_without_panic(body in "(data: ?[\\{\\[]?\\PC{0,20}\n{0,2}){0,6}") {
            let _ = Partial::read(&peer(), &body);
        }
    }
}
