//! The LLM as the service holds it: connected when first needed, shared by jobs and callers, known
//! to be up or down, and asked again by itself while it is down.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::ErrorKind;
use crate::base::failure::Failure;
use crate::llm::{self, ChatModel, LlmConfig, LlmError, LlmFault, StatsSnapshot};

use super::breaker::{Breaker, Whose};

/// Whether the LLM answers, as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub enum BackendState {
    /// Nobody has asked yet.
    Untried,
    /// The last that was heard of it was good.
    Up,
    /// It cannot be used. It is asked again and again until it answers.
    Down {
        /// What its last failure said.
        reason: LlmError,
        /// When it went down.
        since: SystemTime,
    },
}

/// A call that was not made because the LLM is known to be gone.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the LLM backend cannot be used now: {reason}")]
pub struct BackendDown {
    /// What its last failure said.
    pub reason: LlmError,
    /// When it went down.
    pub since: SystemTime,
    /// How long until it is asked again.
    pub retry_after: Duration,
}

impl Failure for BackendDown {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }

    fn code(&self) -> &'static str {
        self.reason.code()
    }
}

/// How patiently a backend that is down is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbePolicy {
    /// The first wait; doubles with each failure. Above 0.
    pub first: Duration,
    /// The longest wait, jitter aside.
    pub cap: Duration,
}

impl Default for ProbePolicy {
    /// One second up to thirty.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), cap: Duration::from_secs(30) }
    }
}

impl ProbePolicy {
    /// The wait after failure number `failures` (from 1) without a success between. `dice`, from
    /// [0, 1), adds up to a quarter, so that several processes do not ask at the same moment.
    pub(super) fn wait(&self, failures: u32, dice: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let wait = self.first.saturating_mul(1 << doublings).min(self.cap);
        wait + wait.mul_f64(dice / 4.0)
    }
}

/// One LLM backend. Clones share it. Its methods need a Tokio runtime.
///
/// Whoever calls the model says how it went ([`report_success`](Self::report_success),
/// [`report_failure`](Self::report_failure)), so that all learn from each call.
#[derive(Clone)]
pub struct Backend {
    shared: Arc<Shared>,
}

struct Shared {
    config: LlmConfig,
    policy: ProbePolicy,
    model: Mutex<Option<Arc<dyn ChatModel>>>,
    /// Held by the one that connects.
    connecting: tokio::sync::Mutex<()>,
    state: watch::Sender<BackendState>,
    health: Mutex<Health>,
}

struct Health {
    breaker: Breaker,
    /// Times it went or stayed down since the last call that went well. A good probe does not
    /// reset it: some servers list their models to everybody and refuse every call.
    setbacks: u32,
    next_probe: Option<Instant>,
    prober: Option<AbortOnDropHandle<()>>,
}

impl Backend {
    /// A backend that connects when it is first needed.
    pub fn new(config: LlmConfig, policy: ProbePolicy) -> Self {
        let breaker = Breaker::new(config.in_flight());
        let shared = Shared {
            config,
            policy,
            model: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            state: watch::Sender::new(BackendState::Untried),
            health: Mutex::new(Health { breaker, setbacks: 0, next_probe: None, prober: None }),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A backend over a model that is connected already by `config`.
    pub fn over(model: Arc<dyn ChatModel>, config: LlmConfig, policy: ProbePolicy) -> Self {
        let backend = Self::new(config, policy);
        *lock(&backend.shared.model) = Some(model);
        backend
    }

    /// The settings it connects by.
    pub fn config(&self) -> &LlmConfig {
        &self.shared.config
    }

    /// Its state now.
    pub fn state(&self) -> BackendState {
        self.shared.state.borrow().clone()
    }

    /// Its state now and from now on.
    pub fn watch(&self) -> watch::Receiver<BackendState> {
        self.shared.state.subscribe()
    }

    /// The model's name, once it is connected.
    pub fn model_name(&self) -> Option<String> {
        lock(&self.shared.model).as_ref().map(|model| model.name().to_owned())
    }

    /// The model's counters, once it is connected.
    pub fn stats(&self) -> Option<StatsSnapshot> {
        lock(&self.shared.model).as_ref().map(|model| model.stats())
    }

    /// Why calls would be refused now, if they would be.
    pub fn down(&self) -> Option<BackendDown> {
        self.shared.down()
    }

    /// Calls worth having under way at once. A local server has no more places than its slots; one
    /// that was down is tried with a single call first.
    pub fn in_flight(&self) -> usize {
        if lock(&self.shared.health).setbacks > 0 { 1 } else { self.shared.config.under_way() }
    }

    /// The model to call. Connects, and asks whether it answers, the first time.
    ///
    /// # Errors
    /// It is down; when it was not connected yet, it is down from now on.
    pub async fn model(&self) -> Result<Arc<dyn ChatModel>, BackendDown> {
        if let Some(ready) = self.shared.ready() {
            return ready;
        }
        let backend = self.clone();
        // A task of its own: a caller that leaves must not end a local server that is starting.
        let connected = tokio::spawn(async move { backend.connect_once().await }).await;
        connected.unwrap_or_else(|_| Err(self.fall(LlmFault::Cancelled.into())))
    }

    /// Waits until there is a model to call.
    pub async fn wait(&self) -> Arc<dyn ChatModel> {
        self.wait_telling(|_| {}).await
    }

    /// As [`wait`](Self::wait); `tell` hears why, each time the reason may have changed.
    pub async fn wait_telling(&self, tell: impl Fn(&BackendDown)) -> Arc<dyn ChatModel> {
        let mut state = self.watch();
        loop {
            state.mark_unchanged();
            match self.model().await {
                Ok(model) => return model,
                Err(down) => tell(&down),
            }
            // The sender lives as long as `self`.
            _ = state.changed().await;
        }
    }

    /// Asks now whether it answers.
    ///
    /// # Errors
    /// It is down, from now on if it was not.
    pub async fn verify(&self) -> Result<(), BackendDown> {
        let model = self.model().await?;
        model.check().await.map_err(|error| self.fall(error))
    }

    /// A call was answered.
    pub fn report_success(&self) {
        let mut health = lock(&self.shared.health);
        health.breaker.reset();
        health.setbacks = 0;
        drop(health);
        self.shared.rise();
    }

    /// A call failed. Says whether the backend is down, see [`Breaker::fail`].
    pub fn report_failure(&self, error: &LlmError) -> bool {
        if Whose::fault(error) != Whose::Server {
            return false;
        }
        if self.down().is_some() {
            return true;
        }
        let gone = lock(&self.shared.health).breaker.fail(error);
        if gone {
            self.fall(error.clone());
        }
        gone
    }

    async fn connect_once(&self) -> Result<Arc<dyn ChatModel>, BackendDown> {
        let _turn = self.shared.connecting.lock().await;
        // Another caller may have done it meanwhile.
        if let Some(ready) = self.shared.ready() {
            return ready;
        }
        match self.shared.connect().await {
            Ok(model) => {
                self.shared.rise();
                Ok(model)
            }
            Err(error) => Err(self.fall(error)),
        }
    }

    /// Takes it down, and begins to ask whether it is back.
    fn fall(&self, reason: LlmError) -> BackendDown {
        let since = self.shared.set_down(&reason);
        let prober = tokio::spawn(probe(Arc::downgrade(&self.shared)));
        // An earlier prober ends by this.
        lock(&self.shared.health).prober = Some(AbortOnDropHandle::new(prober));
        tracing::error!(code = reason.code(), "the LLM backend is down: {reason}");
        BackendDown { reason, since, retry_after: self.shared.until_probe() }
    }
}

impl Shared {
    fn down(&self) -> Option<BackendDown> {
        match &*self.state.borrow() {
            BackendState::Down { reason, since } => Some(BackendDown {
                reason: reason.clone(),
                since: *since,
                retry_after: self.until_probe(),
            }),
            BackendState::Untried | BackendState::Up => None,
        }
    }

    /// What a caller gets without connecting; `None` where that is still to do.
    fn ready(&self) -> Option<Result<Arc<dyn ChatModel>, BackendDown>> {
        match self.down() {
            Some(down) => Some(Err(down)),
            None => lock(&self.model).clone().map(Ok),
        }
    }

    fn until_probe(&self) -> Duration {
        let next = lock(&self.health).next_probe;
        next.map(|next| next.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    async fn connect(&self) -> Result<Arc<dyn ChatModel>, LlmError> {
        let model = llm::connect(&self.config).await?;
        model.check().await?;
        *lock(&self.model) = Some(model.clone());
        Ok(model)
    }

    fn rise(&self) {
        let risen = self.state.send_if_modified(|state| {
            let news = !matches!(state, BackendState::Up);
            *state = BackendState::Up;
            news
        });
        if risen {
            tracing::info!("the LLM backend is up");
        }
    }

    /// Returns when it went down.
    fn set_down(&self, reason: &LlmError) -> SystemTime {
        let mut health = lock(&self.health);
        health.breaker.reset();
        health.setbacks = health.setbacks.saturating_add(1);
        let wait = self.policy.wait(health.setbacks, rand::random());
        health.next_probe = Some(Instant::now() + wait);
        drop(health);
        if self.must_connect_again(reason) {
            *lock(&self.model) = None;
        }
        let mut first = SystemTime::now();
        self.state.send_modify(|state| {
            if let BackendState::Down { since, .. } = state {
                first = *since;
            }
            *state = BackendState::Down { reason: reason.clone(), since: first };
        });
        first
    }

    /// Whether the model held is of no use any more: its local server is lost for good, or the
    /// server whose only model it was has another one now.
    fn must_connect_again(&self, reason: &LlmError) -> bool {
        match reason.fault {
            LlmFault::LocalServer { .. } => true,
            LlmFault::NotFound { .. } => self.config.model.is_none(),
            _ => false,
        }
    }

    async fn ask(&self) -> Result<(), LlmError> {
        let held = lock(&self.model).clone();
        match held {
            Some(model) => model.check().await,
            None => self.connect().await.map(|_| ()),
        }
    }
}

/// Asks again and again until the backend answers, or nobody holds it any more.
async fn probe(shared: Weak<Shared>) {
    loop {
        let Some(wait) = shared.upgrade().map(|shared| shared.until_probe()) else { return };
        tokio::time::sleep(wait).await;
        let Some(shared) = shared.upgrade() else { return };
        // A late success has brought it back.
        if shared.down().is_none() {
            return;
        }
        match shared.ask().await {
            Ok(()) => return shared.rise(),
            Err(error) => _ = shared.set_down(&error),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_are_never_shorter() {
        let policy = ProbePolicy::default();
        let seconds: Vec<_> = (1..=7).map(|n| policy.wait(n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(policy.wait(u32::MAX, 0.999).as_secs(), 37);
    }
}
