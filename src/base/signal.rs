//! The signals that ask a process to end, or to read its files again.

/// How a process was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Ctrl-C: a person waits for it.
    Interrupt,
    /// SIGTERM: whoever runs the service.
    Terminate,
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn interrupted() -> Asked {
    let ctrl_c = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            return tokio::select! {
                _ = ctrl_c => Asked::Interrupt,
                _ = terminate.recv() => Asked::Terminate,
            };
        }
    }
    // Without a handler there is no signal to wait for; the default action ends the process.
    let _ = ctrl_c.await;
    Asked::Interrupt
}

/// The SIGHUPs of a process. While there is one of these, the signal does not end it.
#[derive(Debug)]
pub struct Hangups {
    #[cfg(unix)]
    signals: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    /// From now on, SIGHUP is a wish to read files again.
    pub fn listen() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let signals = signal(SignalKind::hangup());
            if let Err(error) = &signals {
                tracing::warn!(%error, "SIGHUP cannot be listened to");
            }
            Self { signals: signals.ok() }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// Waits for the next one; for ever where there are none.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals
            && signals.recv().await.is_some()
        {
            return;
        }
        std::future::pending().await
    }
}
