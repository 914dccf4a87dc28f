//! Several sessions of one graph: as many batches may run at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use super::bound::BoundSession;
use crate::model::runtime::{GraphFile, SessionOptions};
use crate::model::{Device, ModelError};

/// The sessions of one graph. A session's `run` wants exclusive use, so each is lent to one caller
/// at a time; a caller that finds none free waits.
pub(super) struct SessionPool {
    sessions: Vec<Mutex<BoundSession>>,
    /// Places in `sessions`, longest idle first: so a warm-up of as many calls meets every session.
    idle: Mutex<VecDeque<usize>>,
    returned: Condvar,
    device: Device,
}

impl SessionPool {
    /// Opens `count` sessions (at least one) of a graph, all on the device of the first.
    pub(super) fn open(
        graph: &GraphFile,
        count: usize,
        options: SessionOptions,
    ) -> Result<Self, ModelError> {
        let (first, device) = BoundSession::open(graph, options)?;
        let mut sessions = vec![Mutex::new(first)];
        for _ in 1..count {
            let options = SessionOptions { device, ..options };
            sessions.push(Mutex::new(BoundSession::open(graph, options)?.0));
        }
        let idle = Mutex::new((0..sessions.len()).collect());
        Ok(Self { sessions, idle, returned: Condvar::new(), device })
    }

    /// What the sessions run on.
    pub(super) fn device(&self) -> Device {
        self.device
    }

    /// Lends a session to `work`; it comes back even when `work` panics.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut BoundSession) -> R) -> R {
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
    use std::path::Path;
    use std::sync::Barrier;

    use super::*;

    fn pool(count: usize) -> SessionPool {
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mini/text.onnx");
        let options = SessionOptions { intra_threads: 1, device: Device::Cpu };
        SessionPool::open(&GraphFile::whole(graph), count, options)
            .expect("opens; run `make setup` once")
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
        assert!(!pool.with(|session| session.session().inputs().is_empty()));
    }
}
