//! Gathers calls, makes batches of them, follows these to their ends, and hands the answers out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::lines::{self, Line};
use super::rows::{self, Known, OpenBatch};
use crate::base::db::DbError;
use crate::base::hash;
use crate::llm::chat::{BatchServer, BatchStatus, ChatModel};
use crate::llm::error::LlmFault;
use crate::llm::spending::{Account, Place, text_estimate};
use crate::llm::spent::Spent;

/// The most answers kept in one transaction; fewer where the server is slow.
const CHUNK: usize = 200;

/// Beside the longest wait between two looks at a batch, the first one.
const FIRST_WAIT: f64 = 1.0 / 32.0;

/// How long servers keep the answers of a batch, in seconds: 30 days.
const KEPT_FOR: u64 = 30 * 86_400;

/// What somebody who waits for a call is told.
#[derive(Debug, Clone)]
pub(super) enum Told {
    /// The answer, which is kept.
    Answer { status: u16, body: String },
    /// The batch brings no answer.
    Failed(LlmFault),
    /// There was no such batch.
    Again,
}

/// What the calls and the driver share.
pub(super) struct Shared {
    pub account: Arc<Account>,
    pub model: Arc<dyn ChatModel>,
    server: String,
    waiting: Mutex<HashMap<String, Vec<oneshot::Sender<Told>>>>,
    gathered: Mutex<Gathered>,
    /// Told when a call was gathered.
    news: Notify,
}

#[derive(Default)]
struct Gathered {
    calls: Vec<Call>,
    keys: HashSet<String>,
    bytes: usize,
}

struct Call {
    key: String,
    line: String,
    expected: Spent,
}

/// A batch that is followed.
struct Batch {
    token: String,
    made_at: u64,
}

impl Shared {
    pub fn new(account: Arc<Account>, model: Arc<dyn ChatModel>) -> Result<Self, LlmFault> {
        let server = server_of(&*model)?.base_url().to_owned();
        let (waiting, gathered, news) = (Mutex::default(), Mutex::default(), Notify::new());
        Ok(Self { account, model, server, waiting, gathered, news })
    }

    /// The batches of earlier sessions that have not ended.
    pub fn open(&self) -> Result<Vec<OpenBatch>, DbError> {
        rows::open(&self.account, &self.server)
    }

    pub fn server(&self) -> Result<&dyn BatchServer, LlmFault> {
        server_of(&*self.model)
    }

    /// Where the answer to a call will be told.
    pub fn wait_for(&self, key: &str) -> oneshot::Receiver<Told> {
        let (tell, told) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        let all = waiting.entry(key.to_owned()).or_default();
        all.retain(|one| !one.is_closed());
        all.push(tell);
        told
    }

    fn is_awaited(&self, key: &str) -> bool {
        let waiting = lock(&self.waiting);
        waiting.get(key).is_some_and(|all| all.iter().any(|one| !one.is_closed()))
    }

    fn tell(&self, key: &str, told: &Told) {
        let all = lock(&self.waiting).remove(key).unwrap_or_default();
        // One who has left needs nothing.
        all.into_iter().for_each(|one| _ = one.send(told.clone()));
    }

    pub fn look_up(&self, key: &str) -> Result<Known, DbError> {
        rows::look_up(&self.account, &self.server, key)
    }

    /// A place for a call that a batch of an earlier session has.
    pub fn take_over(&self, key: &str, expected: Spent) -> Place {
        self.account.take_over((&self.server, key), expected)
    }

    pub fn forget(&self, key: &str) -> Result<(), DbError> {
        rows::forget(&self.account, &self.server, key)
    }

    /// Puts a call among those of the next batch.
    pub fn gather(&self, key: &str, body: String, expected: Spent) {
        let mut gathered = lock(&self.gathered);
        if gathered.keys.insert(key.to_owned()) {
            let line = lines::write(key, &body);
            gathered.bytes += line.len();
            gathered.calls.push(Call { key: key.to_owned(), line, expected });
        }
        drop(gathered);
        self.news.notify_one();
    }

    /// How many calls are gathered, and whether they fill a batch.
    fn gathered(&self) -> (usize, bool) {
        let (gathered, config) = (lock(&self.gathered), &self.account.config);
        let count = gathered.calls.len();
        let full = count >= config.batch_max_requests || gathered.bytes >= config.batch_max_bytes;
        (count, full)
    }

    /// Tells all whose calls are in no batch yet.
    fn tell_gathered(&self, told: &Told) {
        let calls = std::mem::take(&mut *lock(&self.gathered)).calls;
        calls.iter().for_each(|call| self.tell(&call.key, told));
    }

    /// As many calls as one batch takes, of those that somebody still waits for.
    fn take(&self) -> Vec<Call> {
        let (mut gathered, config) = (lock(&self.gathered), &self.account.config);
        let (mut bytes, mut count, mut room) = (0, 0, 0);
        for call in &gathered.calls {
            room += call.line.len();
            if count == config.batch_max_requests || (count > 0 && room > config.batch_max_bytes) {
                break;
            }
            (bytes, count) = (room, count + 1);
        }
        let calls: Vec<Call> = gathered.calls.drain(..count).collect();
        gathered.bytes -= bytes;
        calls.iter().for_each(|call| _ = gathered.keys.remove(&call.key));
        drop(gathered);
        calls.into_iter().filter(|call| self.is_awaited(&call.key)).collect()
    }
}

/// Works until it is dropped; first of all on the batches that are `open` since earlier sessions.
/// These take no place of a new one: nobody may need them any more, and one may stay open for a day.
pub(super) async fn drive(shared: Arc<Shared>, open: Vec<OpenBatch>) {
    let (mut earlier, mut batches) = (JoinSet::new(), JoinSet::new());
    for batch in open {
        earlier.spawn(take_up(Arc::clone(&shared), batch));
    }
    let config = &shared.account.config;
    let patience = Duration::from_secs_f64(config.batch_gather_s);
    let mut quiet_since = Instant::now();
    loop {
        let (count, full) = shared.gathered();
        let may = count > 0 && batches.len() < config.batch_max_open;
        if may && (full || quiet_since.elapsed() >= patience) {
            let calls = shared.take();
            if !calls.is_empty() {
                batches.spawn(send(Arc::clone(&shared), calls));
            }
            continue;
        }
        tokio::select! {
            () = shared.news.notified() => quiet_since = Instant::now(),
            () = tokio::time::sleep_until(quiet_since + patience), if may => {}
            Some(_) = batches.join_next() => {}
            Some(_) = earlier.join_next() => {}
        }
    }
}

/// Makes a batch of calls and follows it.
async fn send(shared: Arc<Shared>, calls: Vec<Call>) {
    let token = hash::key(&[&rand::random::<u128>().to_string()]);
    let batch = Batch { token, made_at: rows::now() };
    let sent = batch.send(&shared, calls).await;
    batch.conclude(&shared, sent).await;
}

/// Follows a batch of an earlier session.
async fn take_up(shared: Arc<Shared>, OpenBatch { token, id, made_at }: OpenBatch) {
    let batch = Batch { token, made_at };
    let followed = match id {
        Some(id) => batch.follow_named(&shared, id).await,
        None => batch.find_and_follow(&shared).await,
    };
    batch.conclude(&shared, followed).await;
}

/// How a batch ended: the fault that its calls without an answer have; none where it was never made.
type Ended = Result<LlmFault, Unmade>;

/// A batch that is not at the server, and why.
enum Unmade {
    /// It was refused, or its file was.
    Refused(LlmFault),
    /// The process ended before it was made.
    Never,
}

impl Batch {
    async fn send(&self, shared: &Arc<Shared>, calls: Vec<Call>) -> Ended {
        let (of, token) = (Arc::clone(shared), self.token.clone());
        let expected: Vec<_> = calls.iter().map(|call| (call.key.clone(), call.expected)).collect();
        let keys: Vec<String> = calls.iter().map(|call| call.key.clone()).collect();
        let noted = blocking(move || {
            let new = rows::begin(&of.account, &of.server, &token, &expected)?;
            let new = calls.into_iter().zip(new).filter(|(_, new)| *new);
            Ok(new.map(|(call, _)| call.line).collect::<Vec<_>>())
        });
        let lines = noted.await.map_err(|fault| {
            // The ledger does not know them.
            keys.iter().for_each(|key| shared.tell(key, &Told::Failed(fault.clone())));
            Unmade::Refused(fault)
        })?;
        if lines.is_empty() {
            return Err(Unmade::Never);
        }
        let server = shared.server().map_err(Unmade::Refused)?;
        let count = lines.len();
        let name = format!("pairwright-{}.jsonl", self.token);
        let file = server.upload(&name, lines.concat().into_bytes()).await;
        let file = file.map_err(Unmade::Refused)?;
        match server.create(&file, &self.token).await {
            Ok(status) => {
                tracing::info!(batch = status.id, calls = count, "a batch was made");
                self.follow(shared, status).await
            }
            // The server may have made it all the same.
            Err(fault) if fault.is_retryable() => {
                tracing::warn!("whether a batch was made is not known: {fault}");
                match self.find_and_follow(shared).await {
                    Err(Unmade::Never) => Err(Unmade::Refused(fault)),
                    ended => ended,
                }
            }
            Err(fault) => Err(Unmade::Refused(fault)),
        }
    }

    async fn find_and_follow(&self, shared: &Arc<Shared>) -> Ended {
        let found = self.until_told(shared, || async {
            let server = shared.server()?;
            server.find(&self.token).await
        });
        match found.await {
            Ok(Some(status)) => self.follow(shared, status).await,
            Ok(None) => Err(Unmade::Never),
            // A server without a list of batches: what was not told to be made counts as not made.
            Err(fault) => {
                tracing::warn!("the server does not list its batches: {fault}");
                Err(Unmade::Never)
            }
        }
    }

    /// Follows a batch to its end and keeps what it brings.
    async fn follow(&self, shared: &Arc<Shared>, status: BatchStatus) -> Ended {
        let (of, token, id) = (Arc::clone(shared), self.token.clone(), status.id.clone());
        if let Err(fault) = blocking(move || Ok(rows::name(&of.account, &token, &id)?)).await {
            tracing::error!("the name of a batch cannot be kept: {fault}");
        }
        self.watch(shared, status.id.clone(), Some(status)).await
    }

    async fn follow_named(&self, shared: &Arc<Shared>, id: String) -> Ended {
        self.watch(shared, id, None).await
    }

    async fn watch(
        &self,
        shared: &Arc<Shared>,
        id: String,
        mut known: Option<BatchStatus>,
    ) -> Ended {
        let longest = Duration::from_secs_f64(shared.account.config.batch_poll_s);
        let mut wait = longest.mul_f64(FIRST_WAIT);
        let status = loop {
            if let Some(status) = known.take() {
                if is_over(&status.state) {
                    break status;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(longest);
            }
            let asked = self.until_told(shared, || async {
                let server = shared.server()?;
                server.status(&id).await
            });
            match asked.await {
                Ok(status) => known = Some(status),
                Err(fault) => match self.unknown(&id, &fault) {
                    Some(fault) => return Ok(fault),
                    // Asked for again after the longest wait: another key may be set meanwhile.
                    None => {
                        let excerpt = "it does not know the batch; with the key that made it, its \
                            answers can be fetched for 30 days";
                        let state = "cannot be followed".to_owned();
                        let excerpt = excerpt.to_owned();
                        let fault = LlmFault::Batch { id: id.clone(), state, excerpt };
                        self.tell_all(shared, &Told::Failed(fault)).await;
                        tokio::time::sleep(longest).await;
                    }
                },
            }
        };
        for file in [&status.output_file, &status.error_file].into_iter().flatten() {
            let fetched = self.until_told(shared, || self.fetch(shared, file)).await;
            if let Err(fault) = fetched {
                tracing::error!(batch = status.id, "a file of the batch is lost: {fault}");
            }
        }
        let BatchStatus { id, state, fault, .. } = status;
        Ok(fault.unwrap_or_else(|| LlmFault::Batch {
            id,
            excerpt: "it brought no answer to this call".to_owned(),
            state,
        }))
    }

    /// The fault of a batch that the server has let go long ago.
    fn unknown(&self, id: &str, fault: &LlmFault) -> Option<LlmFault> {
        let old = rows::now().saturating_sub(self.made_at) > KEPT_FOR;
        old.then(|| {
            let (id, excerpt) = (id.to_owned(), fault.to_string());
            LlmFault::Batch { id, state: "is forgotten".to_owned(), excerpt }
        })
    }

    /// Keeps the answers of a file, and tells them.
    async fn fetch(&self, shared: &Arc<Shared>, file: &str) -> Result<(), LlmFault> {
        let mut chunks = shared.server()?.lines(file).await?.ready_chunks(CHUNK);
        while let Some(chunk) = chunks.next().await {
            let chunk: Vec<String> = chunk.into_iter().collect::<Result<_, _>>()?;
            let lines: Vec<Line> = chunk.iter().filter_map(|line| lines::read(line)).collect();
            let (of, token) = (Arc::clone(shared), self.token.clone());
            let keep = move || {
                let spent = |line: &Line, prompt| of.spent(line, prompt);
                Ok(rows::keep(&of.account, (&of.server, &token), lines, spent)?)
            };
            for Line { key, status, body } in blocking(keep).await? {
                shared.tell(&key, &Told::Answer { status, body });
            }
        }
        Ok(())
    }

    /// Asks until the server answers. Those who wait are told after as many failures as any call may
    /// have, and may wait on.
    ///
    /// # Errors
    /// `NotFound`: what is asked for is not there.
    async fn until_told<T, Asked>(
        &self,
        shared: &Arc<Shared>,
        ask: impl Fn() -> Asked,
    ) -> Result<T, LlmFault>
    where
        Asked: Future<Output = Result<T, LlmFault>>,
    {
        let (policy, mut failures) = (shared.account.config.retry_policy(), 0);
        loop {
            let fault = match ask().await {
                Ok(value) => return Ok(value),
                Err(fault @ LlmFault::NotFound { .. }) => return Err(fault),
                Err(fault) => fault,
            };
            failures += 1;
            let wait = policy.next_wait(failures, &fault, rand::random());
            if wait.is_none() {
                tracing::warn!("a batch cannot be followed now: {fault}");
                if !fault.is_retryable() {
                    // Calls that wait for this batch's place would wait as long.
                    shared.tell_gathered(&Told::Failed(fault.clone()));
                }
                self.tell_all(shared, &Told::Failed(fault)).await;
                failures = 0;
            }
            tokio::time::sleep(wait.unwrap_or(policy.cap)).await;
        }
    }

    /// Tells all who wait for a call of this batch that has no answer.
    async fn tell_all(&self, shared: &Arc<Shared>, told: &Told) {
        let (of, token) = (Arc::clone(shared), self.token.clone());
        match blocking(move || Ok(rows::unanswered(&of.account, &token)?)).await {
            Ok(keys) => keys.iter().for_each(|key| shared.tell(key, told)),
            Err(fault) => tracing::error!("the calls of a batch are not known: {fault}"),
        }
    }

    /// The end of a batch: who still waits is told.
    async fn conclude(&self, shared: &Arc<Shared>, ended: Ended) {
        let told = match ended {
            Ok(fault) | Err(Unmade::Refused(fault)) => Told::Failed(fault),
            Err(Unmade::Never) => Told::Again,
        };
        let (of, token) = (Arc::clone(shared), self.token.clone());
        match blocking(move || Ok(rows::end(&of.account, (&of.server, &token))?)).await {
            Ok(missing) => missing.iter().for_each(|key| shared.tell(key, &told)),
            Err(fault) => self.tell_all(shared, &Told::Failed(fault)).await,
        }
    }
}

impl Shared {
    /// What an answer has spent: as the server tells, else estimated; nothing for a refusal.
    fn spent(&self, line: &Line, prompt: u64) -> Spent {
        if !(200..300).contains(&line.status) {
            return Spent::default();
        }
        match self.server().ok().and_then(|server| server.usage(&line.body)) {
            Some(usage) => Spent::call(usage.prompt_tokens, usage.completion_tokens, true),
            None => {
                let written = text_estimate(line.body.chars().count());
                Spent { estimated_calls: 1, ..Spent::call(prompt, written, true) }
            }
        }
    }
}

/// Whether a batch in this state stays as it is.
fn is_over(state: &str) -> bool {
    matches!(state, "completed" | "failed" | "expired" | "cancelled")
}

fn server_of(model: &dyn ChatModel) -> Result<&dyn BatchServer, LlmFault> {
    let missing = || LlmFault::config("batch", "this LLM takes no batches; set llm.batch = false");
    model.batches().ok_or_else(missing)
}

/// Runs `work` in a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LlmFault> + Send + 'static,
) -> Result<T, LlmFault> {
    let panicked = |error: tokio::task::JoinError| LlmFault::Ledger { reason: error.to_string() };
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
