//! How a stage wakes the next one: what it finished lies in the store, and the next stage looks
//! there again as soon as there is more.

use futures::future::select;
use tokio::sync::watch;

use super::Stop;

/// The giving end. Dropped when nothing more comes, also by a stage that panics.
#[derive(Debug)]
pub struct Feeder(watch::Sender<()>);

/// The receiving end; each clone is woken by itself.
#[derive(Debug, Clone)]
pub struct Feed(watch::Receiver<()>);

/// Both ends.
pub fn feed() -> (Feeder, Feed) {
    let (sender, receiver) = watch::channel(());
    (Feeder(sender), Feed(receiver))
}

impl Feeder {
    /// There is more to be found.
    pub fn more(&self) {
        self.0.send_replace(());
    }
}

impl Feed {
    /// Of a stage that has ended.
    pub fn over() -> Self {
        feed().1
    }

    /// To be called before each look: whether what is found now is all that will ever be there. If
    /// it is not, [`Feed::more`] returns when there is more than this look can have found.
    pub fn begin_look(&mut self) -> bool {
        self.0.mark_unchanged();
        self.0.has_changed().is_err()
    }

    /// Waits until there is more than at the last look, or nothing more comes.
    pub async fn more(&mut self) {
        // An error says that the feeder is gone, which the next look is told.
        _ = self.0.changed().await;
    }

    /// Waits until nothing more comes.
    pub async fn ended(&mut self) {
        while self.0.changed().await.is_ok() {}
    }

    /// As [`Feed::more`] for a thread of its own; a stop wakes it, too.
    pub fn more_blocking(&mut self, stop: &Stop) {
        let (more, stop) = (std::pin::pin!(self.more()), std::pin::pin!(stop.asked()));
        futures::executor::block_on(select(more, stop));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_came_before_the_look_wakes_nobody_and_what_comes_after_it_does() {
        let (feeder, mut feed) = feed();
        feeder.more();
        assert!(!feed.begin_look(), "more may come");
        assert!(futures::poll!(std::pin::pin!(feed.more())).is_pending(), "it was there before");
        feeder.more();
        feed.more().await;
        drop(feeder);
        feed.more().await;
        assert!(feed.begin_look(), "nothing more comes");
        feed.ended().await;
    }

    #[test]
    fn a_stop_wakes_a_thread_that_waits() {
        let (feeder, mut feed) = feed();
        let stop = Stop::default();
        let waiting = std::thread::spawn({
            let stop = stop.clone();
            move || {
                feed.begin_look();
                feed.more_blocking(&stop);
            }
        });
        stop.ask();
        waiting.join().expect("it was woken");
        drop(feeder);
    }
}
