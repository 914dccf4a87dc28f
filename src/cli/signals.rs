//! Ctrl-C: the first lets what is in flight finish, the second gives it up.

use crate::work::Stop;

/// Watches for Ctrl-C and SIGTERM for as long as the process lives.
pub fn watch(stop: Stop) {
    tokio::spawn(async move {
        interrupted().await;
        eprintln!("stopping: letting what is in flight finish (again to give it up)");
        stop.ask();
        interrupted().await;
        stop.abort();
    });
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn interrupted() {
    let ctrl_c = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = ctrl_c => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler there is no signal to wait for; the default action ends the process.
    let _ = ctrl_c.await;
}
