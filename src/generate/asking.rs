//! Asking the LLM many questions at once: every reply is kept before it counts, and what was asked
//! before is read from the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream;
use serde_json::Value;

use crate::Error;
use crate::base::db::DbError;
use crate::base::failure::Failure;
use crate::base::key::Key;
use crate::base::{Stopped, hash};
use crate::dataset::{ImageRef, PhotoViewer, ShowError};
use crate::instruction::GenerateError;
use crate::instruction::lineage::{GenerationStore, StoredFailure, StoredReply};
use crate::llm::{ChatModel, ChatReply, ChatRequest, LlmError, Message, SamplingSettings, refused};
use crate::work::{Asking, Backend, Calls, Fate, Outcome, Phase, Progress, SchemaUse, Stop};

use super::old_keys;

/// One question, asked anew with another seed until a reply is good or attempts run out.
#[derive(Debug, Clone)]
pub struct Question {
    /// What it concerns, for people.
    pub subject: String,
    pub messages: Vec<Message>,
    /// From which each attempt's seed follows.
    pub seed: u64,
    /// What is attached to the last message.
    pub photo: Option<ShownPhoto>,
}

/// A photo that a question shows.
#[derive(Debug, Clone)]
pub struct ShownPhoto {
    pub image: ImageRef,
    /// SHA-256 of its bytes; empty where it could not be read, so that it is not asked about.
    pub sha256: String,
}

/// The replies to one question, in the order of the attempts; none when the call failed.
pub type Replies = Vec<StoredReply>;

/// Whether a reply to a question, by its place, will do, or else why not. Must depend on its
/// arguments alone.
pub type Good = Arc<dyn Fn(usize, &str) -> Result<(), String> + Send + Sync>;

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
    /// What an attempt after a refused one is told, with `{reason}`; `None`: nothing.
    pub retry: Option<String>,
}

/// How questions of one stage are asked.
pub struct Asker<'a> {
    pub questioning: Arc<Questioning>,
    pub model: Arc<dyn ChatModel>,
    pub backend: Backend,
    pub phase: Phase,
    pub stop: &'a Stop,
    pub progress: &'a dyn Progress,
    /// What is known of the server and the schema.
    pub schema: Arc<SchemaUse>,
    /// Set once a question of this stage has a reply.
    pub answered: AtomicBool,
    /// Shows the photos of questions that have some.
    pub viewer: Option<Arc<PhotoViewer>>,
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
        let (questioning, schema) = (Arc::clone(&self.questioning), Arc::clone(&self.schema));
        let viewer = self.viewer.clone();
        let asking = Arc::new(Sheet { questioning, questions, good, schema, viewer });
        asking.rekey(store)?;
        let (open, answered) = asking.open(store)?;
        self.answered.fetch_or(answered, Ordering::Relaxed);
        let ended = asking.questions.len() - open.len();
        self.progress.advance(self.phase, ended as u64);
        let keeper = store.reopen()?;
        let calls = Calls {
            asking: Arc::clone(&asking),
            model: Arc::clone(&self.model),
            backend: &self.backend,
            answered: self.answered.load(Ordering::Relaxed),
            phase: self.phase,
            stop: self.stop,
            progress: self.progress,
        };
        let keep = move |rows: Vec<Row>| Ok(keep(&keeper, &rows)?);
        let worked = calls.work(stream::iter(open.into_iter().map(Ok)), keep).await?;
        self.answered.store(worked.answered, Ordering::Relaxed);
        match worked.gave_up {
            _ if worked.stopped => Err(Stopped.into()),
            Some(error) => Err(GenerateError::Llm(error).into()),
            None => Ok(asking.replies(store)?),
        }
    }
}

/// A question, by its place, and the attempt to make at it.
#[derive(Debug, Clone)]
struct Attempt {
    question: usize,
    number: u32,
    /// The reply before it, which was refused.
    last: Option<String>,
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
    schema: Arc<SchemaUse>,
    viewer: Option<Arc<PhotoViewer>>,
}

impl Sheet {
    /// The questions that the store has no end of, each with its next attempt, and whether any
    /// question has a reply.
    fn open(&self, store: &GenerationStore) -> Result<(Vec<Attempt>, bool), DbError> {
        let questions = 0..self.questions.len();
        let given: Vec<Replies> =
            questions.map(|question| self.given(store, question)).collect::<Result<_, _>>()?;
        let last_answered = given.iter().rposition(|given| !given.is_empty());
        let mut open = Vec::new();
        for (question, given) in given.into_iter().enumerate() {
            let number = given.len() as u32 + 1;
            let ended = given.last().is_some_and(|last| !self.asks_again(question, last));
            // Questions are asked in their order.
            let answered_after = last_answered.is_some_and(|last| last > question);
            if !ended && !store.is_refused(&self.key(question, number), answered_after)? {
                let last = given.into_iter().next_back().map(|last| last.text);
                open.push(Attempt { question, number, last });
            }
        }
        Ok((open, last_answered.is_some()))
    }

    /// Gives the replies that release 0.1.0 kept for these questions today's keys.
    fn rekey(&self, store: &GenerationStore) -> Result<(), Error> {
        let Questioning { role, model, schema, attempts, .. } = &*self.questioning;
        let schema = schema.as_ref().map(Value::to_string).unwrap_or_default();
        let keys = || {
            let attempts = (0..self.questions.len())
                .flat_map(|question| (1..=*attempts).map(move |number| (question, number)));
            let both = attempts.map(|(question, number)| {
                let request = self.plain(question, number);
                let old = old_keys::call(role, model, &schema, &request);
                (old, self.key(question, number))
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
            let Some(reply) = store.reply(&self.key(question, number))? else {
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
        let good = reply.whole().is_ok_and(|text| (self.good)(question, text).is_ok());
        reply.attempt < self.questioning.attempts && !good
    }

    /// Over everything a reply depends on. A server that takes no schema is another server. What an
    /// attempt is told of the one before it follows from that one's reply and from the filters: a
    /// filter that changes asks for no reply anew.
    fn key(&self, question: usize, number: u32) -> String {
        let Questioning { role, model, schema, retry, .. } = &*self.questioning;
        let retry = retry.as_deref().filter(|_| number > 1);
        let photo = self.questions[question].photo.as_ref();
        let beside = Beside {
            schema: schema.as_ref(),
            retry,
            photo: photo.map(|photo| photo.sha256.as_str()),
        };
        call_key(role, model, beside, &self.plain(question, number))
    }

    /// The call without its photo, a schema and what is told of an attempt before it.
    fn plain(&self, question: usize, number: u32) -> ChatRequest {
        let Question { messages, seed, .. } = &self.questions[question];
        let seed = hash::call_seed(*seed, &["attempt", &number.to_string()]);
        ChatRequest::new(messages.clone(), self.questioning.settings.clone(), seed)
    }

    fn failed(&self, attempt: &Attempt, code: &str, reason: String, refused: bool) -> Row {
        Row::Failure(StoredFailure {
            key: self.key(attempt.question, attempt.number),
            role: self.questioning.role.to_owned(),
            subject: self.questions[attempt.question].subject.clone(),
            code: code.to_owned(),
            reason,
            refused,
        })
    }

    /// The turns that say why `last` was refused.
    fn told(&self, question: usize, last: &str) -> Vec<Message> {
        let refused = (self.good)(question, last).err();
        let told = self.questioning.retry.as_deref().zip(refused);
        told.map(|(retry, why)| refused::turns(retry, last, &why)).unwrap_or_default()
    }
}

/// What a call has beside its texts.
#[derive(Default)]
struct Beside<'a> {
    schema: Option<&'a Value>,
    retry: Option<&'a str>,
    /// SHA-256 of the photo that is shown.
    photo: Option<&'a str>,
}

fn call_key(role: &str, model: &str, beside: Beside<'_>, request: &ChatRequest) -> String {
    let Beside { schema, retry, photo } = beside;
    let ChatRequest { messages, settings, seed, .. } = request;
    let key = Key::new("call", 2).field("role", role).field("model", model);
    settings
        .add_to(key)
        .optional("schema", schema.map(Value::to_string))
        .optional("retry", retry)
        .optional("photo", photo)
        .field("seed", *seed)
        .list("messages", messages.iter().map(|message| message.text.as_str()))
        .done()
}

impl Asking for Sheet {
    type Task = Attempt;
    type Row = Row;

    const READS_FILES: bool = true;

    fn request(&self, attempt: &Attempt) -> Result<ChatRequest, Error> {
        let Attempt { question, number, last } = attempt;
        let mut request = self.plain(*question, *number);
        let shown = self.questions[*question].photo.as_ref().zip(self.viewer.as_ref());
        if let Some((ShownPhoto { image, sha256 }, viewer)) = shown {
            let photo = viewer.show(image, Some(sha256))?;
            // What is told of an attempt before this one comes after it.
            request.messages.last_mut().into_iter().for_each(|one| one.images.push(photo.clone()));
        }
        if let Some(last) = last {
            request.messages.extend(self.told(*question, last));
        }
        if !self.schema.is_refused() {
            request.json_schema.clone_from(&self.questioning.schema);
        }
        Ok(request)
    }

    fn reply(
        &self,
        Attempt { question, number, .. }: Attempt,
        request: &ChatRequest,
        reply: ChatReply,
    ) -> Outcome<Attempt, Row> {
        self.schema.answered(request);
        let reply = StoredReply {
            key: self.key(question, number),
            role: self.questioning.role.to_owned(),
            subject: self.questions[question].subject.clone(),
            attempt: number,
            model: reply.model,
            seed: request.seed,
            text: reply.text,
            reasoning: reply.reasoning,
            finish: reply.finish.name().to_owned(),
            prompt_tokens: reply.usage.prompt_tokens,
            completion_tokens: reply.usage.completion_tokens,
        };
        let again = self.asks_again(question, &reply);
        let last = Some(reply.text.clone());
        let again = again.then_some(Attempt { question, number: number + 1, last });
        Outcome { row: Some(Row::Reply(reply)), again }
    }

    fn otherwise(
        &self,
        attempt: &Attempt,
        request: &ChatRequest,
        error: &LlmError,
    ) -> Option<Attempt> {
        let shrinks =
            self.viewer.as_ref().is_some_and(|viewer| viewer.shrinks_after(request, error));
        (shrinks || self.schema.goes_without(request, error)).then(|| attempt.clone())
    }

    fn unaskable(&self, attempt: &Attempt, error: &Error) -> Option<Row> {
        error.get::<ShowError>()?;
        Some(self.failed(attempt, error.code(), error.to_string(), false))
    }

    fn failure(&self, attempt: &Attempt, error: &LlmError, fate: Fate) -> Row {
        self.failed(attempt, error.code(), error.to_string(), fate == Fate::Refused)
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
        let key = |photo| {
            let beside = Beside { schema: Some(&schema), retry: None, photo };
            call_key("augment", "m", beside, &request)
        };
        assert_eq!(key(None), "call2-ff037d387313bdfdb200926d734ff703");
        assert_ne!(key(Some("0a")), key(Some("0b")), "another photo is another question");
    }
}
