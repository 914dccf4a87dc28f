//! Several sessions of one graph: as many batches may run at once.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use ort::session::Session;

use crate::model::{ModelError, runtime};

/// The sessions of one graph. A session's `run` wants exclusive use, so each is lent to one caller
/// at a time; a caller that finds none free waits.
pub(super) struct SessionPool {
    sessions: Vec<Mutex<Session>>,
    /// Places in `sessions`, longest idle first: so a warm-up of as many calls meets every session.
    idle: Mutex<VecDeque<usize>>,
    returned: Condvar,
}

impl SessionPool {
    /// Opens `count` sessions (at least one) of a graph, each with `intra_threads` threads.
    pub(super) fn open(
        graph: &Path,
        count: usize,
        intra_threads: usize,
    ) -> Result<Self, ModelError> {
        let sessions = (0..count.max(1))
            .map(|_| runtime::open_session(graph, intra_threads).map(Mutex::new))
            .collect::<Result<Vec<_>, _>>()?;
        let idle = Mutex::new((0..sessions.len()).collect());
        Ok(Self { sessions, idle, returned: Condvar::new() })
    }

    /// Lends a session to `work`; it comes back even when `work` panics.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Session) -> R) -> R {
        let loan = self.borrow();
        let mut session = self.sessions[loan.place].lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut session)
    }

    fn borrow(&self) -> Loan<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(place) = idle.pop_front() {
                return Loan { pool: self, place };
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Loan<'a> {
    pool: &'a SessionPool,
    place: usize,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back(self.place);
        self.pool.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;

    use super::*;

    fn pool(count: usize) -> SessionPool {
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini/text.onnx");
        SessionPool::open(&graph, count, 1).expect("opens; run `make setup` once")
    }

    #[test]
    fn two_sessions_are_lent_at_once() {
        let (pool, both) = (pool(2), Barrier::new(2));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                // Ends only when both are inside.
                scope.spawn(|| pool.with(|_| both.wait()));
            }
        });
    }

    #[test]
    fn a_panic_returns_the_session() {
        let pool = pool(1);
        let panicked = catch_unwind(AssertUnwindSafe(|| pool.with(|_| panic!("in the session"))));
        assert!(panicked.is_err());
        assert!(!pool.with(|session| session.inputs().is_empty()));
    }
}
