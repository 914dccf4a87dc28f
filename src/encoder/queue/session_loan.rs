//! A session lent to a job: the worker that owns it lends it to the job's own thread.

use std::convert::Infallible;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::encoder::EncoderError;

/// A loan that waits in the bulk lane. Dropped, it tells its job that there will be none.
#[derive(Debug)]
pub(super) struct SessionLoan {
    /// Rows of the batch that will be run.
    pub items: usize,
    /// Since when it waits.
    pub since: Instant,
    go: Sender<()>,
    over: Receiver<Infallible>,
}

/// The job's side of a loan.
pub(super) struct Borrower {
    go: Receiver<()>,
    finish: Sender<Infallible>,
}

impl SessionLoan {
    pub(super) fn new(items: usize) -> (Self, Borrower) {
        let (go, started) = bounded(1);
        let (finish, over) = bounded(0);
        let loan = Self { items, since: Instant::now(), go, over };
        (loan, Borrower { go: started, finish })
    }

    /// Lets the job run and waits for its end.
    pub(super) fn give(self) {
        if self.go.send(()).is_ok() {
            // Nothing is ever sent: the job's end, even by a panic, closes the channel.
            let _ = self.over.recv();
        }
    }
}

impl Borrower {
    /// Runs `work` when the session is lent.
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
