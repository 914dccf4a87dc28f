//! Ctrl-C: the first lets what is in flight finish, the second gives it up.

use crate::base::signal::interrupted;
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
