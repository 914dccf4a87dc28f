//! Keeps a job's own threads from taking the cores that callers wait for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::lane::Precedence;

/// A gate for the work that a job does in threads of its own: decoding, above all. While a caller
/// waits for an answer one thread at a time is let through; else all are.
///
/// Enter for one photo at a time and leave before anything that waits for other threads: a thread
/// that enters twice would wait for itself.
#[derive(Debug, Clone, Default)]
pub struct BulkThrottle(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    callers: usize,
    inside: usize,
    open: bool,
}

impl State {
    fn lets_in(&self) -> bool {
        self.open || self.callers == 0 || self.inside == 0
    }
}

impl BulkThrottle {
    /// Waits to be let through; the guard is the stay inside. Blocks the thread, which from then on
    /// goes no earlier than those that decode for callers: not for async code, nor for a thread that
    /// serves others.
    pub fn enter(&self) -> BulkPass {
        Precedence::Photos.take();
        let mut state = self.lock();
        while !state.lets_in() {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.inside += 1;
        BulkPass(self.clone())
    }

    /// Notes a caller, until the guard is dropped.
    pub(super) fn caller(&self) -> Caller {
        self.lock().callers += 1;
        Caller(self.clone())
    }

    /// Lets everyone through from now on: the service is closing and must not hold a job.
    pub(super) fn open(&self) {
        self.lock().open = true;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stay inside the gate.
#[derive(Debug)]
pub struct BulkPass(BulkThrottle);

impl Drop for BulkPass {
    fn drop(&mut self) {
        self.0.lock().inside -= 1;
        self.0.0.changed.notify_one();
    }
}

/// A caller that waits for an answer.
#[derive(Debug)]
pub(super) struct Caller(BulkThrottle);

impl Drop for Caller {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.callers -= 1;
        if state.callers == 0 {
            self.0.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_at_a_time_while_a_caller_waits() {
        let throttle = BulkThrottle::default();
        let caller = throttle.caller();
        let first = throttle.enter();
        let (entered, entries) = channel();
        std::thread::scope(|scope| {
            let throttle = &throttle;
            scope.spawn(move || {
                let _second = throttle.enter();
                entered.send(()).expect("the test listens");
            });
            assert!(entries.recv_timeout(Duration::from_millis(50)).is_err());
            // The caller has its answer: the second is let in beside the first.
            drop(caller);
            entries.recv_timeout(Duration::from_secs(10)).expect("let in");
        });
        drop(first);
        let _again = (throttle.caller(), throttle.enter());
    }

    #[test]
    fn a_pass_given_back_lets_the_next_in() {
        let throttle = BulkThrottle::default();
        let _caller = throttle.caller();
        let first = throttle.enter();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(throttle.enter()));
            drop(first);
            second.join().expect("ended");
        });
        assert_eq!(throttle.lock().inside, 0);
    }

    #[test]
    fn an_open_gate_holds_nobody() {
        let throttle = BulkThrottle::default();
        let _caller = throttle.caller();
        throttle.open();
        let _both = (throttle.enter(), throttle.enter());
    }
}
