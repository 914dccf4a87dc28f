//! The judge: every question in both orders, asked again where the verdict cannot be read.

use std::collections::HashSet;
use std::sync::Arc;

use futures::stream;

use crate::Error;
use crate::base::failure::Failure;
use crate::base::hash;
use crate::base::key::Key;
use crate::dataset::ShowError;
use crate::llm::{
    ChatModel, ChatReply, ChatRequest, LlmError, Message, Role, SamplingSettings, unfinished,
};
use crate::work::{Asking, Backend, Calls, Fate, Outcome, Phase, Progress, Stop, Worked};

use super::align::Entrant;
use super::image_view::ImageView;
use super::old_keys;
use super::prompt::{JudgePrompts, Turn};
use super::question::Question;
use super::store::{About, Entry, EvaluationStore, FailedCall, Record, Reply};
use super::verdict::{self, PARSER_VERSION};

/// What is judged: questions, the models' answers to them, and who meets whom.
#[derive(Debug, Clone)]
pub struct Board {
    pub questions: Vec<Question>,
    pub entrants: Vec<Entrant>,
    /// Pairs of entrants by their numbers, the first model of the pair first.
    pub pairs: Vec<(usize, usize)>,
    pub view: ImageView,
}

/// How it is judged. All of it is part of every reply's key.
#[derive(Debug, Clone)]
pub struct Judge {
    pub prompts: JudgePrompts,
    /// The judge's name as its server knows it.
    pub model: String,
    pub settings: SamplingSettings,
    pub seed: u64,
    /// Askings per question and order until a verdict can be read, at least 1. Not part of the key.
    pub attempts: u32,
}

/// One question in one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    pub question: usize,
    /// The entrant whose answer is shown as A.
    pub a: usize,
    pub b: usize,
    pub key: String,
    pub attempt: u32,
}

impl Board {
    /// Whether an answer of either entrant is empty, so that there is nothing to judge.
    pub(super) fn is_forfeit(&self, question: usize, (one, other): (usize, usize)) -> bool {
        self.is_blank(question, one) || self.is_blank(question, other)
    }

    pub(super) fn is_blank(&self, question: usize, entrant: usize) -> bool {
        self.entrants[entrant].answers[question].trim().is_empty()
    }

    /// Every question of every pair in both orders, forfeits left out.
    pub(super) fn tasks(&self, judge: &Judge) -> Vec<Task> {
        let conf = judge.conf();
        let mut tasks = Vec::new();
        for (one, other) in &self.pairs {
            for question in 0..self.questions.len() {
                if !self.is_forfeit(question, (*one, *other)) {
                    tasks.push(self.task(&conf, question, *one, *other));
                    tasks.push(self.task(&conf, question, *other, *one));
                }
            }
        }
        tasks
    }

    pub(super) fn task(&self, conf: &str, question: usize, a: usize, b: usize) -> Task {
        let id = self.questions[question].question_id.to_string();
        let key = verdict_key(conf, self.shown(&id, question, a, b));
        Task { question, a, b, key, attempt: 1 }
    }

    /// The key that release 0.1.0 gave to a task.
    fn old_key(&self, judge: &Judge, task: &Task) -> String {
        let Judge { prompts, model, settings, seed, attempts: _ } = judge;
        let conf = old_keys::judge(&prompts.hash, model, settings, *seed, PARSER_VERSION);
        let id = self.questions[task.question].question_id.to_string();
        old_keys::verdict(&conf, self.shown(&id, task.question, task.a, task.b))
    }

    /// All that a verdict depends on beside its judge; `id` is the question's.
    fn shown<'a>(&'a self, id: &'a str, question: usize, a: usize, b: usize) -> [&'a str; 8] {
        let (one, other) = (&self.entrants[a], &self.entrants[b]);
        [
            id,
            &self.questions[question].text,
            self.view.sight().name(),
            self.view.hash(question),
            &one.name,
            &one.answers[question],
            &other.name,
            &other.answers[question],
        ]
    }
}

/// The key of one question in one order.
fn verdict_key(judge: &str, shown: [&str; 8]) -> String {
    let [question, text, sight, seen, model_a, answer_a, model_b, answer_b] = shown;
    Key::new("verdict", 2)
        .field("judge", judge)
        .field("question", question)
        .field("text", text)
        .field("sight", sight)
        .field("shown", seen)
        .field("model_a", model_a)
        .field("answer_a", answer_a)
        .field("model_b", model_b)
        .field("answer_b", answer_b)
        .done()
}

impl Judge {
    /// The key of everything a reply depends on beside its question and answers.
    pub fn conf(&self) -> String {
        let Self { prompts, model, settings, seed, attempts: _ } = self;
        let key = Key::new("judge", 2).field("prompts", prompts.hash.as_str());
        settings
            .add_to(key.field("model", model.as_str()))
            .field("seed", *seed)
            .field("parser", PARSER_VERSION)
            .done()
    }

    /// Gives the replies that release 0.1.0 kept for these tasks today's keys.
    pub(super) fn rekey(&self, board: &Board, store: &EvaluationStore) -> Result<(), Error> {
        let keys = || {
            let tasks = board.tasks(self).into_iter();
            tasks.map(|task| (board.old_key(self, &task), task.key)).collect()
        };
        store.rekey(keys, false)?.report("verdicts");
        Ok(())
    }

    /// Tasks without a verdict, with askings left and not refused, each with its next attempt.
    pub(super) fn open(&self, mut tasks: Vec<Task>, record: &Record) -> Vec<Task> {
        // Two pairs may share an order only if they share both entrants, so keys are distinct.
        tasks.retain_mut(|task| {
            let given = record.replies(&task.key);
            task.attempt = given.last().map_or(1, |last| last.attempt + 1);
            !self.is_settled(given) && !record.is_refused(&task.key)
        });
        tasks
    }

    /// Whether nothing more is to be asked: a verdict is there, or the askings are used up.
    pub(super) fn is_settled(&self, given: &[Reply]) -> bool {
        given.last().is_some_and(|last| !last.verdict.is_empty() || last.attempt >= self.attempts)
    }

    fn request(&self, board: &Board, task: &Task) -> Result<ChatRequest, Error> {
        let question = &board.questions[task.question];
        let turn = Turn {
            image: board.view.words(question),
            instruction: &question.text,
            answer_a: &board.entrants[task.a].answers[task.question],
            answer_b: &board.entrants[task.b].answers[task.question],
        };
        let user = Message {
            images: board.view.attachments(question, task.question)?,
            ..Message::user(self.prompts.turn(turn))
        };
        let messages = vec![Message::system(self.prompts.system.trim()), user];
        let seed = hash::call_seed(self.seed, &["judge", &task.key, &task.attempt.to_string()]);
        Ok(ChatRequest::new(messages, self.settings.clone(), seed))
    }

    /// Judges all that is not judged yet. Each reply is kept when it comes.
    ///
    /// # Errors
    /// The store failed, or an image cannot be read any more. A backend that is gone is not an
    /// error here: see [`Worked::gave_up`].
    pub async fn run(
        self: &Arc<Self>,
        board: &Arc<Board>,
        backend: &Backend,
        model: Arc<dyn ChatModel>,
        session: Session<'_>,
    ) -> Result<Worked, Error> {
        self.rekey(board, session.store)?;
        let tasks = board.tasks(self);
        let total = tasks.len();
        session.store.clear_failures()?;
        let record = Record::read(session.store)?;
        let answered = tasks.iter().any(|task| !record.replies(&task.key).is_empty());
        let open = self.open(tasks, &record);
        let asking = Bench { board: Arc::clone(board), judge: Arc::clone(self) };
        session
            .work(asking, backend, model, Sheet { phase: Phase::Judge, open, total, answered })
            .await
    }
}

/// What a session of work needs beside what it works on.
pub struct Session<'a> {
    pub store: &'a mut EvaluationStore,
    pub stop: &'a Stop,
    pub progress: &'a dyn Progress,
}

/// What a session works on.
pub(super) struct Sheet<T> {
    pub phase: Phase,
    /// Tasks to ask for.
    pub open: Vec<T>,
    /// All tasks, with those that are done.
    pub total: usize,
    /// Whether any of them has a reply.
    pub answered: bool,
}

impl Session<'_> {
    /// Makes the calls for the open tasks, and keeps what comes back.
    pub(super) async fn work<A: Asking<Row = Entry>>(
        self,
        asking: A,
        backend: &Backend,
        model: Arc<dyn ChatModel>,
        Sheet { phase, open, total, answered }: Sheet<A::Task>,
    ) -> Result<Worked, Error> {
        let Self { store, stop, progress } = self;
        progress.expect(phase, total as u64);
        progress.advance(phase, (total - open.len()) as u64);
        let keeper = store.reopen()?;
        let keep = move |rows: Vec<Entry>| Ok(keeper.put(&rows)?);
        let asking = Arc::new(asking);
        let calls = Calls { asking, model, backend, answered, phase, stop, progress };
        let worked = calls.work(stream::iter(open.into_iter().map(Ok)), keep).await?;
        if !worked.stopped && worked.gave_up.is_none() {
            progress.finish(phase);
        }
        Ok(worked)
    }
}

struct Bench {
    board: Arc<Board>,
    judge: Arc<Judge>,
}

impl Bench {
    fn about(&self, task: &Task) -> About {
        About {
            task_key: task.key.clone(),
            question_id: self.board.questions[task.question].question_id.to_string(),
            shown_a: self.board.entrants[task.a].name.clone(),
            shown_b: self.board.entrants[task.b].name.clone(),
        }
    }
}

impl Asking for Bench {
    type Task = Task;
    type Row = Entry;

    const READS_FILES: bool = true;

    fn request(&self, task: &Task) -> Result<ChatRequest, Error> {
        self.judge.request(&self.board, task)
    }

    fn reply(
        &self,
        mut task: Task,
        request: &ChatRequest,
        reply: ChatReply,
    ) -> Outcome<Task, Entry> {
        let reply = judged(task.attempt, request, reply);
        let settled = self.judge.is_settled(std::slice::from_ref(&reply));
        let row = Some(Entry::Reply(self.about(&task), reply));
        task.attempt += 1;
        Outcome { row, again: (!settled).then_some(task) }
    }

    fn otherwise(&self, task: &Task, request: &ChatRequest, error: &LlmError) -> Option<Task> {
        self.board.view.shrinks_after(request, error).then(|| task.clone())
    }

    fn unaskable(&self, task: &Task, error: &Error) -> Option<Entry> {
        Some(Entry::Failure(self.about(task), unshown(error)?))
    }

    fn failure(&self, task: &Task, error: &LlmError, fate: Fate) -> Entry {
        Entry::Failure(self.about(task), failure(error, fate))
    }
}

/// What is kept where the image of a question cannot be shown.
pub(super) fn unshown(error: &Error) -> Option<FailedCall> {
    error.get::<ShowError>()?;
    let (code, reason) = (error.code().to_owned(), error.to_string());
    Some(FailedCall { code, reason, attempts: 0, refused: false })
}

pub(super) fn failure(error: &LlmError, fate: Fate) -> FailedCall {
    let (code, reason) = (error.code().to_owned(), error.to_string());
    FailedCall { code, reason, attempts: error.attempts, refused: fate == Fate::Refused }
}

/// A reply with its verdict, as it is kept.
fn judged(attempt: u32, request: &ChatRequest, reply: ChatReply) -> Reply {
    let (verdict, reason) = match unfinished(reply.finish.name()) {
        Some(code) => ("", code),
        None => match verdict::parse(&reply.text) {
            Ok(letter) => (letter.name(), ""),
            Err(none) => ("", none.code()),
        },
    };
    Reply {
        verdict: verdict.to_owned(),
        reason: reason.to_owned(),
        ..raw_reply(attempt, request, reply)
    }
}

/// A reply as it is kept, without a verdict.
pub(super) fn raw_reply(attempt: u32, request: &ChatRequest, reply: ChatReply) -> Reply {
    Reply {
        attempt,
        prompt_sha256: prompt_hash(request),
        seed: request.seed,
        text: reply.text,
        reasoning: reply.reasoning,
        verdict: String::new(),
        reason: String::new(),
        finish: reply.finish.name().to_owned(),
        llm: reply.model,
        prompt_tokens: reply.usage.prompt_tokens,
        completion_tokens: reply.usage.completion_tokens,
        calls: reply.attempts,
        elapsed_ms: u64::try_from(reply.elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

/// SHA-256 over the messages' texts and images in their order.
fn prompt_hash(request: &ChatRequest) -> String {
    let mut bytes = Vec::new();
    let mut part = |content: &[u8]| {
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(content);
    };
    for message in &request.messages {
        let role = match message.role {
            Role::System => "System",
            Role::User => "User",
            Role::Assistant => "Assistant",
        };
        part(role.as_bytes());
        part(message.text.as_bytes());
        message.images.iter().for_each(|image| part(&image.bytes));
    }
    hash::sha256_hex(&bytes)
}

/// How many calls are still to be made.
pub(super) fn count_open(
    board: &Board,
    judge: &Judge,
    store: &EvaluationStore,
) -> Result<(usize, usize), Error> {
    let tasks = board.tasks(judge);
    let keys: HashSet<&str> = tasks.iter().map(|task| task.key.as_str()).collect();
    let total = keys.len();
    let open = judge.open(tasks, &Record::read(store)?).len();
    Ok((total, open))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a question in tests/golden/made-by-0.1.0/judged: that release's key and today's, both
    /// frozen.
    #[test]
    fn keys_are_frozen() {
        let judge = Judge {
            prompts: JudgePrompts::read(None).expect("built-in"),
            model: "stub-model".into(),
            settings: SamplingSettings {
                temperature: 0.2,
                top_p: 1.0,
                max_tokens: 64,
                ..SamplingSettings::default()
            },
            seed: 7,
            attempts: 3,
        };
        let shown = [
            "0",
            "Write a limerick.",
            "caption",
            "f266d282ee53a4a85e0234b93ab9447f",
            "model-a",
            "short and sweet answer number 0",
            "model-b",
            "a somewhat longer answer with more words number 0",
        ];
        assert_eq!(verdict_key(&judge.conf(), shown), "verdict2-4bae84391b12288a52e78d0f27a8608a");
        let Judge { prompts, model, settings, seed, .. } = &judge;
        let old = old_keys::judge(&prompts.hash, model, settings, *seed, PARSER_VERSION);
        assert_eq!(old_keys::verdict(&old, shown), "951133edbf5cf91d9589095d4b882b3b");
    }
}
