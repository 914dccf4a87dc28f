//! Asking the LLM many questions at once: every reply is kept before it counts, and what was asked
//! before is read from the store.

use crate::base::Stopped;
use crate::base::failure::Failure;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::answer::generate::finish_name;
use crate::base::hash;
use crate::base::key::Key;
use crate::instruction::GenerateError;
use crate::instruction::lineage::{GenerationStore, StoredFailure, StoredReply};
use crate::llm::{
    ChatModel, ChatReply, ChatRequest, LlmError, LlmFault, Message, SamplingSettings,
};
use crate::{Error, ErrorKind};

use super::old_keys;
use crate::work::{Phase, Progress, Stop};

/// One question, asked anew with another seed until a reply is good or attempts run out.
#[derive(Debug, Clone)]
pub struct Question {
    /// What it concerns, for people.
    pub subject: String,
    pub messages: Vec<Message>,
    /// From which each attempt's seed follows.
    pub seed: u64,
}

/// The replies to one question, in the order of the attempts; none when the call failed.
pub type Replies = Vec<StoredReply>;

/// How questions of one stage are asked.
pub struct Asker<'a> {
    pub store: &'a GenerationStore,
    pub model: Arc<dyn ChatModel>,
    /// `augment` or `summarize`.
    pub role: &'static str,
    pub phase: Phase,
    pub settings: SamplingSettings,
    /// The schema replies must follow, where one is wanted.
    pub schema: Option<Value>,
    /// At least 1.
    pub attempts: u32,
    /// Calls under way at once, at least 1.
    pub in_flight: usize,
    pub stop: &'a Stop,
    pub progress: &'a dyn Progress,
    /// Set once the server has refused the schema.
    pub no_schema: AtomicBool,
}

/// A call under way or done.
struct Call {
    question: usize,
    attempt: u32,
    key: String,
    request: ChatRequest,
}

type Called = (Call, Result<ChatReply, LlmError>);

impl Asker<'_> {
    /// Asks every question; the answer to each is in its place. `good(question, text)` tells
    /// whether a reply will do; it must depend on its arguments alone.
    ///
    /// # Errors
    /// The store failed, the user stopped, or the backend is gone: refused us, or failed twice in
    /// every place without one success.
    pub async fn ask(
        &self,
        questions: &[Question],
        good: &(dyn Fn(usize, &str) -> bool + Sync),
    ) -> Result<Vec<Replies>, Error> {
        self.rekey(questions)?;
        let mut asking = Asking {
            asker: self,
            questions,
            good,
            replies: vec![Vec::new(); questions.len()],
            waiting: (0..questions.len()).map(|question| (question, 1)).collect(),
            calls: JoinSet::new(),
            failed_in_a_row: 0,
        };
        loop {
            asking.fill()?;
            match asking.calls.join_next().await {
                Some(Ok((call, result))) => asking.settle(call, result)?,
                // Calls neither panic nor are aborted; a lost one is asked again at the next start.
                Some(Err(error)) => tracing::error!(%error, "an LLM task ended unexpectedly"),
                None if self.stop.is_asked() => return Err(Stopped.into()),
                None => return Ok(asking.replies),
            }
        }
    }

    fn call(&self, question: &Question, number: usize, attempt: u32) -> Call {
        // Servers take 32-bit seeds, and llama.cpp reads the largest as "random".
        let seed = hash::seed(question.seed, &["attempt", &attempt.to_string()]) & 0x7fff_ffff;
        let mut request = ChatRequest::new(question.messages.clone(), self.settings.clone(), seed);
        let key = self.key(&request);
        if !self.no_schema.load(Ordering::Relaxed) {
            request.json_schema.clone_from(&self.schema);
        }
        Call { question: number, attempt, key, request }
    }

    /// Over everything a reply depends on. A server that takes no schema is another server.
    fn key(&self, request: &ChatRequest) -> String {
        call_key(self.role, self.model.name(), self.schema.as_ref(), request)
    }

    /// Gives the replies that release 0.1.0 kept for these questions today's keys.
    fn rekey(&self, questions: &[Question]) -> Result<(), Error> {
        let schema = self.schema.as_ref().map(Value::to_string).unwrap_or_default();
        let keys = || {
            let attempts = (0..questions.len())
                .flat_map(|number| (1..=self.attempts).map(move |attempt| (number, attempt)));
            let both = attempts.map(|(number, attempt)| {
                let Call { key, request, .. } = self.call(&questions[number], number, attempt);
                (old_keys::call(self.role, self.model.name(), &schema, &request), key)
            });
            both.collect()
        };
        let rekeyed = self.store.rekey(self.role, keys)?;
        // Where some fit, the others are those of later questions, or of inputs that changed.
        if rekeyed.moved == 0 {
            rekeyed.report("replies");
        }
        Ok(())
    }
}

/// Over everything a reply depends on.
fn call_key(role: &str, model: &str, schema: Option<&Value>, request: &ChatRequest) -> String {
    let ChatRequest { messages, settings, seed, .. } = request;
    let key = Key::new("call", 2).field("role", role).field("model", model);
    settings
        .add_to(key)
        .optional("schema", schema.map(Value::to_string))
        .field("seed", *seed)
        .list("messages", messages.iter().map(|message| message.text.as_str()))
        .done()
}

struct Asking<'a> {
    asker: &'a Asker<'a>,
    questions: &'a [Question],
    good: &'a (dyn Fn(usize, &str) -> bool + Sync),
    replies: Vec<Replies>,
    /// (question, attempt) to be asked.
    waiting: VecDeque<(usize, u32)>,
    calls: JoinSet<Called>,
    failed_in_a_row: usize,
}

impl Asking<'_> {
    /// Starts calls until as many are under way as may be.
    fn fill(&mut self) -> Result<(), Error> {
        let asker = self.asker;
        while self.calls.len() < asker.in_flight && !asker.stop.is_asked() {
            let Some((number, attempt)) = self.waiting.pop_front() else { return Ok(()) };
            let call = asker.call(&self.questions[number], number, attempt);
            if let Some(reply) = asker.store.reply(&call.key)? {
                self.take(number, reply);
            } else if asker.store.is_refused(&call.key)? {
                self.done();
            } else {
                self.start(call);
            }
        }
        Ok(())
    }

    fn start(&mut self, call: Call) {
        let (model, abort): (_, CancellationToken) =
            (Arc::clone(&self.asker.model), self.asker.stop.abort_token());
        self.calls.spawn(async move {
            let result = model.chat(&call.request, &abort).await;
            (call, result)
        });
    }

    fn settle(&mut self, call: Call, result: Result<ChatReply, LlmError>) -> Result<(), Error> {
        match result {
            Ok(reply) => {
                self.failed_in_a_row = 0;
                let reply = self.stored(&call, reply);
                self.asker.store.put_reply(&reply)?;
                self.take(call.question, reply);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(()),
            Err(error) if refuses_schema(&call, &error) => {
                tracing::warn!("the server takes no JSON schema; going on without one: {error}");
                self.asker.no_schema.store(true, Ordering::Relaxed);
                self.waiting.push_front((call.question, call.attempt));
                Ok(())
            }
            Err(error) => self.fail(&call, error),
        }
    }

    fn stored(&self, call: &Call, reply: ChatReply) -> StoredReply {
        StoredReply {
            key: call.key.clone(),
            role: self.asker.role.to_owned(),
            subject: self.questions[call.question].subject.clone(),
            attempt: call.attempt,
            model: reply.model,
            seed: call.request.seed,
            text: reply.text,
            finish: finish_name(reply.finish).to_owned(),
            prompt_tokens: reply.usage.prompt_tokens,
            completion_tokens: reply.usage.completion_tokens,
        }
    }

    fn take(&mut self, question: usize, reply: StoredReply) {
        let attempt = reply.attempt;
        let again = !(self.good)(question, &reply.text) && attempt < self.asker.attempts;
        self.replies[question].push(reply);
        if again {
            self.waiting.push_front((question, attempt + 1));
        } else {
            self.done();
        }
    }

    fn done(&self) {
        self.asker.progress.advance(self.asker.phase, 1);
    }

    fn fail(&mut self, call: &Call, error: LlmError) -> Result<(), Error> {
        let refused = concerns_one_prompt(&error);
        let subject = self.questions[call.question].subject.clone();
        tracing::warn!(subject, code = error.code(), "{error}");
        self.asker.store.put_failure(&StoredFailure {
            key: call.key.clone(),
            role: self.asker.role.to_owned(),
            subject,
            code: error.code().to_owned(),
            reason: error.to_string(),
            refused,
        })?;
        self.done();
        if refused {
            return Ok(());
        }
        self.failed_in_a_row += 1;
        // Every place failed twice without one success: the backend is gone, not one call unlucky.
        if !error.is_retryable() || self.failed_in_a_row >= 2 * self.asker.in_flight.max(2) {
            return Err(GenerateError::Llm(error).into());
        }
        Ok(())
    }
}

fn refuses_schema(call: &Call, error: &LlmError) -> bool {
    call.request.json_schema.is_some() && matches!(error.fault, LlmFault::BadRequest { .. })
}

/// Whether the server refused this one prompt: asking again is no use, and others may pass.
fn concerns_one_prompt(error: &LlmError) -> bool {
    matches!(error.fault, LlmFault::ContextTooLong { .. } | LlmFault::BadRequest { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored generations hold such keys: this value never changes.
    #[test]
    fn a_call_s_key_is_frozen() {
        let messages = vec![Message::system("a"), Message::user("b")];
        let request = ChatRequest::new(messages, SamplingSettings::default(), 5);
        let schema = serde_json::json!({});
        let key = call_key("augment", "m", Some(&schema), &request);
        assert_eq!(key, "call2-ff037d387313bdfdb200926d734ff703");
    }
}
