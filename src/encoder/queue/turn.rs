//! A job's turn at a session: the worker that owns the session lends it to the job's own thread.

use std::convert::Infallible;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::encoder::EncoderError;

/// A turn that waits in the bulk lane. Dropped, it tells its job that there will be none.
#[derive(Debug)]
pub(super) struct Turn {
    /// Rows of the batch that will be run.
    pub items: usize,
    /// Since when it waits.
    pub since: Instant,
    go: Sender<()>,
    over: Receiver<Infallible>,
}

/// The job's side of a turn.
pub(super) struct TurnTaker {
    go: Receiver<()>,
    finish: Sender<Infallible>,
}

impl Turn {
    pub(super) fn new(items: usize) -> (Self, TurnTaker) {
        let (go, started) = bounded(1);
        let (finish, over) = bounded(0);
        let turn = Self { items, since: Instant::now(), go, over };
        (turn, TurnTaker { go: started, finish })
    }

    /// Lets the job run and waits for its end.
    pub(super) fn give(self) {
        if self.go.send(()).is_ok() {
            // Nothing is ever sent: the job's end, even by a panic, closes the channel.
            let _ = self.over.recv();
        }
    }
}

impl TurnTaker {
    /// Runs `work` when the turn comes.
    ///
    /// # Errors
    /// The service closed.
    pub(super) fn run<R>(self, work: impl FnOnce() -> R) -> Result<R, EncoderError> {
        let Self { go, finish } = self;
        go.recv().map_err(|_| EncoderError::Closed)?;
        let result = work();
        drop(finish);
        Ok(result)
    }
}
