use tokio_util::sync::CancellationToken;

/// How a user stops a job: first gently, then at once.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    ask: CancellationToken,
    abort: CancellationToken,
}

impl Stop {
    /// Lets what is in flight finish.
    pub fn ask(&self) {
        self.ask.cancel();
    }

    /// Also gives up calls under way.
    pub fn abort(&self) {
        self.ask.cancel();
        self.abort.cancel();
    }

    /// Whether a stop was asked for.
    pub fn is_asked(&self) -> bool {
        self.ask.is_cancelled()
    }

    /// Waits until a stop is asked for.
    pub async fn asked(&self) {
        self.ask.cancelled().await;
    }

    /// Cancelled when a stop is asked for.
    pub fn token(&self) -> CancellationToken {
        self.ask.clone()
    }

    /// Cancelled when calls under way are to be given up.
    pub fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }
}
