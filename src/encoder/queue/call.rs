//! A call, its items and their answers, and what callers get.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use super::admission::Reservation;
use super::error::{ItemError, ProbeError};
use super::fair::{Origin, Path};
use super::lane::Lane;
use super::observe::{DropReason, Timings};
use super::tower::TextFacts;
use crate::encoder::Embedding;
use crate::image::ImageInfo;

/// What to do when the places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// Refuse at once: a unary call.
    #[default]
    Reject,
    /// Wait, first come first served: a stream, whose reader is thereby slowed down.
    Wait,
}

/// How a call wants to be treated.
#[derive(Debug, Clone, Copy, Default)]
pub struct CallContext {
    pub lane: Lane,
    /// When the answer is no longer wanted; `None` waits as long as it takes.
    pub deadline: Option<Instant>,
    pub admission: Admission,
    pub origin: Origin,
}

/// An item's vector, what is known of the item, and where its time went.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Embedded<F> {
    pub vector: Embedding,
    pub facts: F,
}

/// An item's end: its place in the call, the result, where its time went.
pub(super) struct Answer<F> {
    pub index: usize,
    pub result: Result<Embedded<F>, ItemError>,
    pub timings: Timings,
}

/// What all items of a call share.
#[derive(Debug)]
pub(super) struct Ticket {
    pub id: u64,
    pub lane: Lane,
    pub deadline: Option<Instant>,
    pub origin: Origin,
    /// Goes before all others: a health probe.
    pub urgent: bool,
    over: AtomicBool,
    shed: CancellationToken,
}

impl Ticket {
    pub(super) fn new(id: u64, call: &CallContext, urgent: bool) -> Self {
        let CallContext { lane, deadline, origin, .. } = *call;
        Self {
            id,
            lane,
            deadline,
            origin,
            urgent,
            over: AtomicBool::new(false),
            shed: CancellationToken::new(),
        }
    }

    /// Where its items wait.
    pub(super) fn path(&self) -> Path {
        [self.origin.caller, self.origin.connection, self.id]
    }

    /// Nobody waits for the answer any more.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Its places are wanted by callers who hold less.
    pub(super) fn shed(&self) {
        self.shed.cancel();
        self.end();
    }

    /// Waits until its places are taken for others.
    pub(super) async fn until_shed(&self) {
        self.shed.cancelled().await;
    }

    pub(super) fn is_shed(&self) -> bool {
        self.shed.is_cancelled()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Why items of this call are dropped now: a caller whose time ran out is not one that left.
    pub(super) fn drop_reason(&self) -> DropReason {
        match self.is_late(Instant::now()) {
            true => DropReason::Deadline,
            false if self.is_shed() => DropReason::Shed,
            false => DropReason::Cancelled,
        }
    }
}

/// One item on its way: `B` is what it is at this stage. Dropped unanswered, its place is free and
/// its call learns of it from the closed channel.
pub(super) struct Item<B, F> {
    pub ticket: Arc<Ticket>,
    pub index: usize,
    pub place: Reservation,
    pub replies: UnboundedSender<Answer<F>>,
    pub timings: Timings,
    /// Since when it waits.
    pub since: Instant,
    pub body: B,
}

impl<B, F> Item<B, F> {
    /// Ends a wait: counts it as queue time.
    pub(super) fn stop_waiting(&mut self, now: Instant) {
        self.timings.queue += now.saturating_duration_since(self.since);
    }

    /// Takes the body out; what is left can be answered or given another body.
    pub(super) fn open(self) -> (B, Item<(), F>) {
        let Self { ticket, index, place, replies, timings, since, body } = self;
        (body, Item { ticket, index, place, replies, timings, since, body: () })
    }
}

impl<F> Item<(), F> {
    /// The same item at its next stage, waiting from now on.
    pub(super) fn with<B>(self, body: B) -> Item<B, F> {
        let Self { ticket, index, place, replies, timings, body: (), .. } = self;
        Item { ticket, index, place, replies, timings, since: Instant::now(), body }
    }

    /// Frees the place, then answers: a caller that has all its answers finds its places free.
    pub(super) fn answer(self, result: Result<Embedded<F>, ItemError>) {
        let Self { index, place, replies, timings, .. } = self;
        drop(place);
        // The caller is gone: the result is not wanted.
        let _ = replies.send(Answer { index, result, timings });
    }
}

/// A photo's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageEmbedded {
    pub vector: Embedding,
    pub info: ImageInfo,
    pub timings: Timings,
}

/// A text's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct TextEmbedded {
    pub vector: Embedding,
    /// Tokens that went in, specials included.
    pub tokens: usize,
    /// True when the text was longer than the model's context and lost its end.
    pub truncated: bool,
    pub timings: Timings,
}

/// A call's results, one per item in order, and the longest of its items' times.
#[derive(Debug)]
pub struct Embeddings<T> {
    pub items: Vec<Result<T, ItemError>>,
    pub timings: Timings,
}

/// A call's photos.
pub type ImagesEmbedded = Embeddings<ImageEmbedded>;

/// A call's texts.
pub type TextsEmbedded = Embeddings<TextEmbedded>;

pub(super) fn images(answers: Vec<Answer<ImageInfo>>) -> ImagesEmbedded {
    Embeddings::of(answers, |embedded, timings| {
        let Embedded { vector, facts: info } = embedded;
        ImageEmbedded { vector, info, timings }
    })
}

pub(super) fn texts(answers: Vec<Answer<TextFacts>>) -> TextsEmbedded {
    Embeddings::of(answers, |embedded, timings| {
        let Embedded { vector, facts: TextFacts { tokens, truncated } } = embedded;
        TextEmbedded { vector, tokens, truncated, timings }
    })
}

impl<T> Embeddings<T> {
    fn of<F>(answers: Vec<Answer<F>>, one: impl Fn(Embedded<F>, Timings) -> T) -> Self {
        let longest = |longest: Timings, answer: &Answer<F>| longest.longest(answer.timings);
        let timings = answers.iter().fold(Timings::default(), longest);
        let item = |Answer { result, timings, .. }: Answer<F>| {
            result.map(|embedded| one(embedded, timings))
        };
        Self { items: answers.into_iter().map(item).collect(), timings }
    }
}

pub(super) fn first_error<F>(answers: Vec<Answer<F>>) -> Result<(), ProbeError> {
    answers.into_iter().try_for_each(|answer| Ok(answer.result.map(drop)?))
}
