//! Asking the LLM many questions at once: every reply is kept before it counts, and what was asked
//! before is read from the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream;
use serde_json::Value;

use crate::Error;
use crate::answer::generate::{finish_name, unfinished};
use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::base::key::Key;
use crate::base::{Stopped, hash};
use crate::instruction::GenerateError;
use crate::instruction::lineage::{GenerationStore, StoredFailure, StoredReply};
use crate::llm::{
    ChatModel, ChatReply, ChatRequest, LlmError, LlmFault, Message, SamplingSettings,
};
use crate::work::{Asking, Backend, Calls, Outcome, Phase, Progress, Stop, Whose};

use super::old_keys;

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

/// Whether a reply to a question, by its place, will do. Must depend on its arguments alone.
pub type Good = Arc<dyn Fn(usize, &str) -> bool + Send + Sync>;

/// What all questions of one stage share.
#[derive(Debug)]
pub struct Questioning {
    /// `augment` or `summarize`.
    pub role: &'static str,
    /// The model's name.
    pub model: String,
    pub settings: SamplingSettings,
    /// The schema replies must follow, where one is wanted.
    pub schema: Option<Value>,
    /// At least 1.
    pub attempts: u32,
}

/// How questions of one stage are asked.
pub struct Asker<'a> {
    pub questioning: Arc<Questioning>,
    pub model: Arc<dyn ChatModel>,
    pub backend: Backend,
    pub phase: Phase,
    pub stop: &'a Stop,
    pub progress: &'a dyn Progress,
    /// Set once the server has refused the schema.
    pub no_schema: Arc<AtomicBool>,
}

impl Asker<'_> {
    /// Asks every question; the answer to each is in its place. What `store` holds already is not
    /// asked again.
    ///
    /// # Errors
    /// The store failed, the user stopped, or the backend is gone.
    pub async fn ask(
        &self,
        store: &GenerationStore,
        questions: Vec<Question>,
        good: Good,
    ) -> Result<Vec<Replies>, Error> {
        let (questioning, no_schema) = (Arc::clone(&self.questioning), Arc::clone(&self.no_schema));
        let asking = Arc::new(Sheet { questioning, questions, good, no_schema });
        asking.rekey(store)?;
        let open = asking.open(store)?;
        let ended = asking.questions.len() - open.len();
        self.progress.advance(self.phase, ended as u64);
        let keeper = store.reopen()?;
        let calls = Calls {
            asking: Arc::clone(&asking),
            model: Arc::clone(&self.model),
            backend: &self.backend,
            phase: self.phase,
            stop: self.stop,
            progress: self.progress,
        };
        let keep = move |rows: Vec<Row>| Ok(keep(&keeper, &rows)?);
        let worked = calls.work(stream::iter(open.into_iter().map(Ok)), keep).await?;
        match worked.gave_up {
            _ if worked.stopped => Err(Stopped.into()),
            Some(error) => Err(GenerateError::Llm(error).into()),
            None => Ok(asking.replies(store)?),
        }
    }
}

/// A question, by its place, and the attempt to make at it.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    question: usize,
    number: u32,
}

/// What a call leaves in the store.
enum Row {
    Reply(StoredReply),
    Failure(StoredFailure),
}

fn keep(store: &GenerationStore, rows: &[Row]) -> Result<(), DbError> {
    rows.iter().try_for_each(|row| match row {
        Row::Reply(reply) => store.put_reply(reply),
        Row::Failure(failure) => store.put_failure(failure),
    })
}

/// The questions of one asking.
struct Sheet {
    questioning: Arc<Questioning>,
    questions: Vec<Question>,
    good: Good,
    no_schema: Arc<AtomicBool>,
}

impl Sheet {
    /// The questions that the store has no end of, each with its next attempt.
    fn open(&self, store: &GenerationStore) -> Result<Vec<Attempt>, DbError> {
        let mut open = Vec::new();
        for question in 0..self.questions.len() {
            let given = self.given(store, question)?;
            let next = Attempt { question, number: given.len() as u32 + 1 };
            let ended = given.last().is_some_and(|last| !self.asks_again(question, last));
            if !ended && !store.is_refused(&self.key(next))? {
                open.push(next);
            }
        }
        Ok(open)
    }

    /// Gives the replies that release 0.1.0 kept for these questions today's keys.
    fn rekey(&self, store: &GenerationStore) -> Result<(), Error> {
        let Questioning { role, model, schema, attempts, .. } = &*self.questioning;
        let schema = schema.as_ref().map(Value::to_string).unwrap_or_default();
        let keys = || {
            let attempts = (0..self.questions.len()).flat_map(|question| {
                (1..=*attempts).map(move |number| Attempt { question, number })
            });
            let both = attempts.map(|attempt| {
                let request = self.plain(attempt);
                let old = old_keys::call(role, model, &schema, &request);
                (old, self.questioning.key(&request))
            });
            both.collect()
        };
        let rekeyed = store.rekey(role, keys)?;
        // Where some fit, the others are those of later questions, or of inputs that changed.
        if rekeyed.moved == 0 {
            rekeyed.report("replies");
        }
        Ok(())
    }

    fn replies(&self, store: &GenerationStore) -> Result<Vec<Replies>, DbError> {
        (0..self.questions.len()).map(|question| self.given(store, question)).collect()
    }

    /// What the store holds of a question, up to the first reply that ends it.
    fn given(&self, store: &GenerationStore, question: usize) -> Result<Replies, DbError> {
        let mut given = Replies::new();
        loop {
            let number = given.len() as u32 + 1;
            let Some(reply) = store.reply(&self.key(Attempt { question, number }))? else {
                return Ok(given);
            };
            let again = self.asks_again(question, &reply);
            given.push(reply);
            if !again {
                return Ok(given);
            }
        }
    }

    fn asks_again(&self, question: usize, reply: &StoredReply) -> bool {
        let good = unfinished(&reply.finish).is_none() && (self.good)(question, &reply.text);
        reply.attempt < self.questioning.attempts && !good
    }

    fn key(&self, attempt: Attempt) -> String {
        self.questioning.key(&self.plain(attempt))
    }

    /// The call without a schema.
    fn plain(&self, Attempt { question, number }: Attempt) -> ChatRequest {
        let Question { messages, seed, .. } = &self.questions[question];
        // Servers take 32-bit seeds, and llama.cpp reads the largest as "random".
        let seed = hash::seed(*seed, &["attempt", &number.to_string()]) & 0x7fff_ffff;
        ChatRequest::new(messages.clone(), self.questioning.settings.clone(), seed)
    }
}

impl Questioning {
    /// Over everything a reply depends on. A server that takes no schema is another server.
    fn key(&self, request: &ChatRequest) -> String {
        call_key(self.role, &self.model, self.schema.as_ref(), request)
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

impl Asking for Sheet {
    type Task = Attempt;
    type Row = Row;

    fn request(&self, attempt: &Attempt) -> Result<ChatRequest, Error> {
        let mut request = self.plain(*attempt);
        if !self.no_schema.load(Ordering::Relaxed) {
            request.json_schema.clone_from(&self.questioning.schema);
        }
        Ok(request)
    }

    fn reply(
        &self,
        Attempt { question, number }: Attempt,
        request: &ChatRequest,
        reply: ChatReply,
    ) -> Outcome<Attempt, Row> {
        let reply = StoredReply {
            key: self.questioning.key(request),
            role: self.questioning.role.to_owned(),
            subject: self.questions[question].subject.clone(),
            attempt: number,
            model: reply.model,
            seed: request.seed,
            text: reply.text,
            finish: finish_name(reply.finish).to_owned(),
            prompt_tokens: reply.usage.prompt_tokens,
            completion_tokens: reply.usage.completion_tokens,
        };
        let again = self.asks_again(question, &reply);
        let again = again.then_some(Attempt { question, number: number + 1 });
        Outcome { row: Some(Row::Reply(reply)), again }
    }

    fn failure(
        &self,
        attempt: Attempt,
        request: &ChatRequest,
        error: &LlmError,
        whose: Whose,
    ) -> Outcome<Attempt, Row> {
        if request.json_schema.is_some() && matches!(error.fault, LlmFault::BadRequest { .. }) {
            tracing::warn!("the server takes no JSON schema; going on without one: {error}");
            self.no_schema.store(true, Ordering::Relaxed);
            return Outcome { row: None, again: Some(attempt) };
        }
        Outcome::done(Row::Failure(StoredFailure {
            key: self.questioning.key(request),
            role: self.questioning.role.to_owned(),
            subject: self.questions[attempt.question].subject.clone(),
            code: error.code().to_owned(),
            reason: error.to_string(),
            refused: whose == Whose::Prompt,
        }))
    }
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
