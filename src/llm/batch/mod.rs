//! Calls by the file: each waits until a batch brings its answer. What is at a server is known by
//! the content of its request, so that a process that was killed finds its batches again and pays
//! for nothing twice.

mod driver;
mod lines;
mod rows;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::driver::{Shared, Told, blocking};
use self::rows::Known;
use super::chat::{ChatModel, ChatReply, ChatRequest};
use super::error::{LlmError, LlmFault};
use super::parameter::Adaptation;
use super::retry::RetryPolicy;
use super::spending::{self, Account, Place};
use super::spent::{Spending, Spent};
use super::stats::StatsSnapshot;
use crate::base::hash;

/// A model whose calls go by the file.
pub(super) struct Batched {
    shared: Arc<Shared>,
    policy: RetryPolicy,
    /// Bytes of the requests that are held in memory.
    held: Arc<AtomicUsize>,
    /// Batches of earlier sessions that were open at the start.
    earlier: usize,
    _driver: AbortOnDropHandle<()>,
}

/// The bytes of a request, for as long as it is held.
struct Held {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Batched {
    /// Calls of `account` to `model`, by the file. Batches of earlier sessions are followed from
    /// now on.
    ///
    /// # Errors
    /// `Config` when the server takes no batches; `Ledger` when the earlier ones cannot be read.
    pub(super) fn new(account: Arc<Account>, model: Arc<dyn ChatModel>) -> Result<Self, LlmFault> {
        let policy = account.config.retry_policy();
        let shared = Arc::new(Shared::new(account, model)?);
        let open = shared.open()?;
        let earlier = open.len();
        let driver = tokio::spawn(driver::drive(Arc::clone(&shared), open));
        let driver = AbortOnDropHandle::new(driver);
        Ok(Self { shared, policy, held: Arc::default(), earlier, _driver: driver })
    }

    fn hold(&self, bytes: usize) -> Held {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held { held: Arc::clone(&self.held), bytes }
    }

    /// Waits for the answer of a batch; gathers the request for the next one where none has it.
    async fn ask(
        &self,
        key: &str,
        body: String,
        expected: Spent,
        place: &mut Option<Place>,
        cancel: &CancellationToken,
    ) -> Result<Told, LlmFault> {
        let told = self.shared.wait_for(key);
        let (shared, key_of) = (Arc::clone(&self.shared), key.to_owned());
        match blocking(move || Ok(shared.look_up(&key_of)?)).await? {
            Known::Answer { status, body } => return Ok(Told::Answer { status, body }),
            Known::Open if place.is_none() => {
                *place = Some(self.shared.take_over(key, expected));
            }
            Known::Open => {}
            Known::Nothing => {
                if place.is_none() {
                    *place = Some(self.shared.account.reserve(expected, cancel).await?);
                }
                self.shared.gather(key, body, expected);
            }
        }
        Self::told(told).await
    }

    async fn told(told: oneshot::Receiver<Told>) -> Result<Told, LlmFault> {
        told.await.map_err(|_| LlmFault::Cancelled)
    }

    /// An answer that is of no use: the same request is a new one from now on.
    async fn forget(&self, key: &str) -> Result<(), LlmFault> {
        let (shared, key) = (Arc::clone(&self.shared), key.to_owned());
        blocking(move || Ok(shared.forget(&key)?)).await
    }
}

#[async_trait]
impl ChatModel for Batched {
    fn name(&self) -> &str {
        self.shared.model.name()
    }

    async fn chat(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
    ) -> Result<ChatReply, LlmError> {
        let (start, expected) = (Instant::now(), spending::expected(request, true));
        let mut number = 0;
        let asking = async {
            let mut place = None;
            loop {
                number += 1;
                let server = self.shared.server()?;
                let [first, body] = server.bodies(request)?;
                let _held = self.hold(body.len());
                let key = hash::key(&[&first]);
                let fault = match self.ask(&key, body, expected, &mut place, cancel).await? {
                    Told::Again => {
                        number -= 1;
                        continue;
                    }
                    Told::Failed(fault) => fault,
                    Told::Answer { status, body } => match server.read(request, status, &body) {
                        Ok(reply) => return Ok(reply),
                        Err((fault, learnt)) => {
                            self.forget(&key).await?;
                            if learnt && number < self.policy.max_attempts {
                                continue;
                            }
                            fault
                        }
                    },
                };
                match self.policy.next_wait(number, &fault, rand::random()) {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(fault),
                }
            }
        };
        let outcome = cancel.run_until_cancelled(asking).await.unwrap_or(Err(LlmFault::Cancelled));
        match outcome {
            Ok(reply) => Ok(ChatReply { attempts: number, elapsed: start.elapsed(), ..reply }),
            Err(fault) => Err(LlmError { fault, attempts: number }),
        }
    }

    /// The whole text in one piece: a batch does not stream.
    async fn chat_stream(
        &self,
        request: &ChatRequest,
        cancel: &CancellationToken,
        pieces: mpsc::Sender<String>,
    ) -> Result<ChatReply, LlmError> {
        let reply = self.chat(request, cancel).await?;
        pieces.send(reply.text.clone()).await.map_err(|_| LlmFault::Cancelled)?;
        Ok(reply)
    }

    async fn check(&self) -> Result<(), LlmError> {
        self.shared.model.check().await
    }

    fn stats(&self) -> StatsSnapshot {
        self.shared.model.stats()
    }

    fn adaptations(&self) -> Vec<Adaptation> {
        self.shared.model.adaptations()
    }

    fn spending(&self) -> Option<Spending> {
        Some(self.shared.account.spending())
    }

    fn resumes(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        let config = &self.shared.account.config;
        let batches = config.batch_max_open + self.earlier;
        let bound = config.batch_max_bytes.saturating_mul(batches);
        self.held.load(Ordering::Relaxed) < bound
    }
}
