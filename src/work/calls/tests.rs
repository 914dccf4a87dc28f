//! The loop with a scripted model: what is under way, what is kept, and how it ends.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use proptest::prelude::*;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::llm::{
    FinishReason, LlmConfig, LlmFault, LlmTarget, Message, SamplingSettings, StatsSnapshot, Usage,
};
use crate::work::{ProbePolicy, Silent};

/// A hang shows as this, not as a test run that never ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the model does with a prompt, by the number of times that it was asked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Answer,
    /// An answer that [`Sheet`] asks for again.
    Poor,
    /// A refusal in which the server names the prompt.
    TooLong,
    /// A refusal that says nothing that is known.
    Refuse,
    Unreachable,
    KeyRefused,
    Panic,
}

/// A model whose replies a test lets go one by one.
struct Scripted {
    script: HashMap<String, Vec<Act>>,
    asked: Mutex<HashMap<String, usize>>,
    /// Calls under way, and a permit for each reply.
    under_way: watch::Sender<usize>,
    replies: Semaphore,
}

impl Scripted {
    fn new(script: &[(u32, &[Act])], replies: usize) -> Arc<Self> {
        let script = script.iter().map(|(task, acts)| (task.to_string(), acts.to_vec())).collect();
        Arc::new(Self {
            script,
            asked: Mutex::default(),
            under_way: watch::Sender::new(0),
            replies: Semaphore::new(replies),
        })
    }

    /// Waits until as many calls are under way.
    async fn reaches(&self, count: usize) {
        let mut seen = self.under_way.subscribe();
        let reached = seen.wait_for(|under_way| *under_way >= count);
        tokio::time::timeout(PATIENCE, reached).await.expect("so many calls").expect("it lives");
    }

    fn act(&self, prompt: &str) -> Act {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let number = asked.entry(prompt.to_owned()).or_default();
        *number += 1;
        let acts = self.script.get(prompt).map_or(&[][..], Vec::as_slice);
        acts.get(*number - 1).copied().unwrap_or(Act::Answer)
    }
}

#[async_trait]
impl ChatModel for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<ChatReply, LlmError> {
        self.under_way.send_modify(|count| *count += 1);
        let permit = cancel.run_until_cancelled(self.replies.acquire()).await;
        self.under_way.send_modify(|count| *count -= 1);
        if permit.is_none() {
            return Err(LlmFault::Cancelled.into());
        }
        permit.expect("seen above").expect("never closed").forget();
        let fault = match self.act(&request.messages[0].text) {
            act @ (Act::Answer | Act::Poor) => {
                return Ok(ChatReply {
                    text: format!("{act:?}"),
                    reasoned: false,
                    reasoning: None,
                    finish: FinishReason::Stop,
                    usage: Usage::default(),
                    model: "scripted".into(),
                    attempts: 1,
                    elapsed: Duration::ZERO,
                    prompt_logprobs: Vec::new(),
                });
            }
            Act::TooLong => LlmFault::ContextTooLong { excerpt: String::new() },
            Act::Refuse => LlmFault::BadRequest { status: 418, excerpt: "a teapot".into() },
            Act::Unreachable => LlmFault::Unreachable { url: String::new(), cause: "no".into() },
            Act::KeyRefused => LlmFault::Auth { status: 401, key_env: None, excerpt: "no".into() },
            Act::Panic => panic!("a call's task panics"),
        };
        Err(LlmError { fault, attempts: 1 })
    }

    async fn chat_stream(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
        _: mpsc::Sender<String>,
    ) -> Result<ChatReply, LlmError> {
        self.chat(request, cancel).await
    }

    async fn check(&self) -> Result<(), LlmError> {
        Err(LlmFault::Unreachable { url: String::new(), cause: "still no".into() }.into())
    }

    fn stats(&self) -> StatsSnapshot {
        StatsSnapshot::default()
    }
}

/// Tasks are numbers; what is kept is a line for each call that ended.
struct Sheet;

impl Asking for Sheet {
    type Task = u32;
    type Row = (u32, &'static str);

    fn request(&self, task: &u32) -> Result<ChatRequest, Error> {
        let messages = vec![Message::user(task.to_string())];
        Ok(ChatRequest::new(messages, SamplingSettings::default(), 0))
    }

    fn reply(&self, task: u32, _: &ChatRequest, reply: ChatReply) -> Outcome<u32, Self::Row> {
        match reply.text.as_str() {
            "Poor" => Outcome { row: Some((task, "poor")), again: Some(task) },
            _ => Outcome::done((task, "good")),
        }
    }

    fn failure(&self, task: &u32, _: &LlmError, fate: Fate) -> Self::Row {
        (*task, if fate == Fate::Refused { "refused" } else { "failed" })
    }
}

type Rows = Arc<Mutex<Vec<(u32, &'static str)>>>;

/// A session of calls in the background.
struct Session {
    model: Arc<Scripted>,
    backend: Backend,
    stop: Stop,
    /// Whether an earlier one brought an answer.
    answered: bool,
    rows: Rows,
}

impl Session {
    fn new(places: usize, model: &Arc<Scripted>) -> Self {
        let target = LlmTarget::OpenAi { base_url: "http://127.0.0.1:9/v1".into() };
        let config = LlmConfig { target, max_in_flight: places, ..LlmConfig::default() };
        let policy = ProbePolicy { first: PATIENCE * 100, cap: PATIENCE * 100 };
        Self {
            model: Arc::clone(model),
            backend: Backend::over(model.clone(), config, policy),
            stop: Stop::default(),
            answered: false,
            rows: Rows::default(),
        }
    }

    async fn work(&self, tasks: impl Stream<Item = Result<u32, Error>>) -> Result<Worked, Error> {
        let rows = Arc::clone(&self.rows);
        let calls = Calls {
            asking: Arc::new(Sheet),
            model: self.model.clone(),
            backend: &self.backend,
            answered: self.answered,
            phase: Phase::Answer,
            stop: &self.stop,
            progress: &Silent,
        };
        let keep = move |new: Vec<_>| {
            rows.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
            Ok(())
        };
        tokio::time::timeout(PATIENCE, calls.work(tasks, keep)).await.expect("it ends")
    }

    /// How often each outcome was kept.
    fn kept(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.iter().for_each(|(_, what)| *counts.entry(*what).or_default() += 1);
        counts
    }
}

fn numbers(range: std::ops::Range<u32>) -> impl Stream<Item = Result<u32, Error>> {
    stream::iter(range.map(Ok))
}

/// Tasks that come while calls are under way.
fn growing() -> (mpsc::UnboundedSender<u32>, impl Stream<Item = Result<u32, Error>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let tasks = stream::unfold(receiver, async |mut receiver: mpsc::UnboundedReceiver<u32>| {
        receiver.recv().await.map(|task| (Ok(task), receiver))
    });
    (sender, tasks)
}

#[tokio::test]
async fn places_are_taken_as_tasks_come_though_no_call_has_come_back() {
    let model = Scripted::new(&[], 0);
    let session = Session::new(8, &model);
    let (tasks, coming) = growing();
    let grow = async {
        tasks.send(0).expect("taken");
        model.reaches(1).await;
        (1..20).for_each(|task| tasks.send(task).expect("taken"));
        model.reaches(8).await;
        model.replies.add_permits(20);
        drop(tasks);
    };
    let (worked, ()) = tokio::join!(session.work(coming), grow);
    assert_eq!(worked.expect("worked").done, 20);
    assert_eq!(session.kept(), [("good", 20)].into());
}

#[tokio::test]
async fn a_poor_reply_is_asked_again_and_both_are_kept() {
    let model = Scripted::new(&[(1, &[Act::Poor, Act::Poor])], 100);
    let session = Session::new(2, &model);
    let worked = session.work(numbers(0..3)).await.expect("worked");
    assert_eq!((worked.done, worked.failed), (3, 0));
    assert_eq!(session.kept(), [("good", 3), ("poor", 2)].into());
}

#[tokio::test]
async fn a_stop_lets_calls_under_way_finish_and_begins_no_other() {
    let model = Scripted::new(&[], 0);
    let session = Session::new(3, &model);
    let stop = async {
        model.reaches(3).await;
        session.stop.ask();
        model.replies.add_permits(100);
    };
    let (worked, ()) = tokio::join!(session.work(numbers(0..50)), stop);
    let worked = worked.expect("worked");
    assert_eq!((worked.done, worked.stopped), (3, true));
    assert_eq!(session.kept(), [("good", 3)].into());
}

#[tokio::test]
async fn a_stop_ends_the_waiting_for_tasks() {
    let model = Scripted::new(&[], 1);
    let session = Session::new(3, &model);
    let (tasks, coming) = growing();
    tasks.send(0).expect("taken");
    let stop = async {
        while session.kept().is_empty() {
            tokio::task::yield_now().await;
        }
        session.stop.ask();
    };
    let (worked, ()) = tokio::join!(session.work(coming), stop);
    assert!(worked.expect("worked").stopped);
}

#[tokio::test]
async fn an_abort_gives_up_calls_under_way() {
    let model = Scripted::new(&[], 0);
    let session = Session::new(3, &model);
    let abort = async {
        model.reaches(3).await;
        session.stop.abort();
    };
    let (worked, ()) = tokio::join!(session.work(numbers(0..50)), abort);
    let worked = worked.expect("worked");
    assert_eq!((worked.done, worked.failed, worked.stopped), (0, 0, true));
    assert!(session.kept().is_empty());
}

/// What a session of one call at a time does with tasks that meet these acts, in their order: how
/// many it worked to an end, how many failed, and what it kept.
async fn one_by_one(acts: &[Act], answered: bool) -> (Worked, BTreeMap<&'static str, usize>) {
    let script: Vec<(u32, &[Act])> = (0..).zip(acts.iter().map(std::slice::from_ref)).collect();
    let model = Scripted::new(&script, 1000);
    let session = Session { answered, ..Session::new(1, &model) };
    let worked = session.work(numbers(0..acts.len() as u32)).await.expect("worked");
    (worked, session.kept())
}

#[tokio::test]
async fn a_refusal_is_final_once_a_later_call_is_answered() {
    let acts = [Act::Answer, Act::Refuse, Act::Refuse, Act::Answer, Act::Refuse];
    let (worked, kept) = one_by_one(&acts, true).await;
    assert_eq!((worked.done, worked.failed, worked.gave_up), (4, 3, None));
    assert_eq!(kept, [("failed", 3), ("good", 2), ("refused", 2)].into());
}

#[tokio::test]
async fn a_refusal_that_names_the_prompt_is_final_once_any_call_was_answered() {
    let (worked, kept) = one_by_one(&[Act::TooLong, Act::Answer, Act::TooLong], false).await;
    assert_eq!((worked.done, worked.failed, worked.answered), (3, 2, true));
    assert_eq!(kept, [("failed", 1), ("good", 1), ("refused", 2)].into());
    let (worked, kept) = one_by_one(&[Act::TooLong; 3], false).await;
    assert_eq!((worked.done, worked.failed, worked.answered), (0, 3, false));
    assert_eq!(kept, [("failed", 3)].into());
    let (worked, kept) = one_by_one(&[Act::TooLong; 3], true).await;
    assert_eq!((worked.done, kept), (3, [("refused", 3)].into()), "as an earlier session shows");
}

#[tokio::test]
async fn nothing_but_refusals_ends_the_work_and_leaves_the_backend_to_others() {
    for (act, code) in [(Act::Refuse, "llm_bad_request"), (Act::TooLong, "llm_context_too_long")] {
        let script: Vec<(u32, &[Act])> =
            (0..50).map(|task| (task, std::slice::from_ref(&act))).collect();
        let model = Scripted::new(&script, 1000);
        let session = Session::new(1, &model);
        let worked = session.work(numbers(0..50)).await.expect("worked");
        assert_eq!((worked.done, worked.failed), (0, 9), "one place and eight");
        assert_eq!(worked.gave_up.expect("gave up").code(), code);
        assert_eq!(session.kept(), [("failed", 9)].into());
        assert!(session.backend.down().is_none());
    }
}

#[tokio::test]
async fn a_backend_that_is_gone_ends_the_work_and_others_hear_of_it() {
    let script: Vec<(u32, &[Act])> = (0..50).map(|task| (task, &[Act::Unreachable][..])).collect();
    let model = Scripted::new(&script, 100);
    let session = Session::new(1, &model);
    let worked = session.work(numbers(0..50)).await.expect("worked");
    assert_eq!((worked.done, worked.failed), (0, 4), "four in a row are enough");
    assert_eq!(worked.gave_up.expect("gave up").code(), "llm_unreachable");
    assert!(session.backend.down().is_some());
    let next = session.work(numbers(50..60)).await.expect("worked");
    assert!(next.gave_up.is_some() && session.kept() == [("failed", 4)].into(), "{next:?}");
}

#[tokio::test]
async fn a_refused_key_ends_the_work_at_once() {
    let model = Scripted::new(&[(0, &[Act::KeyRefused])], 100);
    let session = Session::new(1, &model);
    let worked = session.work(numbers(0..50)).await.expect("worked");
    assert_eq!(worked.failed, 1);
    assert_eq!(worked.gave_up.expect("gave up").code(), "llm_unauthorized");
}

#[tokio::test]
async fn a_backend_that_others_find_down_ends_the_waiting_for_tasks() {
    let model = Scripted::new(&[], 0);
    let session = Session::new(4, &model);
    let (_tasks, coming) = growing();
    let refused = LlmFault::Auth { status: 401, key_env: None, excerpt: String::new() };
    let other = async { session.backend.report_failure(&refused.into()) };
    let (worked, gone) = tokio::join!(session.work(coming), other);
    assert!(gone && worked.expect("worked").gave_up.is_some());
}

#[tokio::test]
async fn a_lost_task_counts_as_failed_and_the_others_go_on() {
    let model = Scripted::new(&[(1, &[Act::Panic])], 100);
    let session = Session::new(2, &model);
    let worked = session.work(numbers(0..5)).await.expect("worked");
    assert_eq!((worked.done, worked.failed), (4, 1));
}

#[tokio::test]
async fn an_error_of_the_tasks_ends_the_work_and_what_is_under_way_is_kept() {
    let model = Scripted::new(&[], 100);
    let session = Session::new(8, &model);
    let broken = crate::base::Stopped;
    let tasks = numbers(0..3).chain(stream::iter([Err(broken.into())])).chain(numbers(3..9));
    let error = session.work(tasks).await.expect_err("the tasks' error");
    assert!(error.is_stop());
    assert_eq!(session.kept(), [("good", 3)].into());
}

#[tokio::test]
async fn rows_that_cannot_be_kept_end_the_work() {
    let model = Scripted::new(&[], 100);
    let session = Session::new(2, &model);
    let calls = Calls {
        asking: Arc::new(Sheet),
        model: session.model.clone(),
        backend: &session.backend,
        answered: false,
        phase: Phase::Answer,
        stop: &session.stop,
        progress: &Silent,
    };
    let keep = |_: Vec<_>| Err(Died { what: "the disk is full".into() }.into());
    let ended = tokio::time::timeout(PATIENCE, calls.work(numbers(0..9), keep)).await;
    let error = ended.expect("it ends").expect_err("the keeper's error");
    assert!(error.to_string().contains("the disk is full"), "{error}");
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Answer),
        2 => Just(Act::Poor),
        1 => Just(Act::TooLong),
        1 => Just(Act::Refuse),
        1 => Just(Act::Unreachable),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes back in whatever order, each task that was begun ends exactly once; a
    /// refusal may be shown to be final after it.
    #[test]
    fn each_task_ends_once(
        acts in prop::collection::vec(prop::collection::vec(any_act(), 1..4), 1..40),
        places in 1usize..9,
        threads in 1usize..4,
    ) {
        let script: Vec<(u32, &[Act])> =
            (0..).zip(&acts).map(|(task, acts)| (task, acts.as_slice())).collect();
        let model = Scripted::new(&script, 10_000);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("a runtime");
        let (worked, rows) = runtime.block_on(async {
            let session = Session::new(places, &model);
            let worked = session.work(numbers(0..acts.len() as u32)).await.expect("worked");
            (worked, session.rows.lock().expect("nobody panicked").clone())
        });
        let mut ends: HashMap<u32, Vec<&str>> = HashMap::new();
        for (task, what) in &rows {
            let ends = ends.entry(*task).or_default();
            let open = match ends.last() {
                Some(&"failed") => *what == "refused",
                last => last.is_none_or(|last| *last == "poor"),
            };
            prop_assert!(open, "{task} after its end");
            ends.push(what);
        }
        let ended = |what: &str| ends.values().filter(|ends| ends.last() == Some(&what)).count();
        prop_assert_eq!(worked.done as usize, ended("good") + ended("refused"));
        prop_assert_eq!(worked.failed as usize, ended("failed") + ended("refused"));
        prop_assert!(worked.answered || ended("refused") == 0);
        if worked.gave_up.is_none() {
            prop_assert_eq!(ends.len(), acts.len());
            prop_assert_eq!(ended("poor"), 0);
        }
    }
}
