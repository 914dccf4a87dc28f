//! Streams of answers: in order, with bounded read-ahead, ended when the client is gone or idle.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::fault::Fault;
use super::layers::CallBytes;

/// What a streaming method answers.
pub type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers each message of `incoming` by `work`, `ahead` of them at once, in their order. `work`
/// gets the message's position; `bytes` are told when it is done. A message that breaks the stream's rules ends it by an error.
pub fn answer_in_order<Q, A, W, F>(
    incoming: Streaming<Q>,
    ahead: usize,
    idle: Duration,
    bytes: Option<CallBytes>,
    work: W,
) -> Replies<A>
where
    Q: Send + 'static,
    A: Send + 'static,
    W: FnMut(u64, Q) -> F + Send + 'static,
    F: Future<Output = Result<Option<A>, Fault>> + Send + 'static,
{
    let answers = started(incoming, idle, bytes, work).buffered(ahead);
    forward(answers.filter_map(async |answer| answer.transpose()), idle)
}

/// As [`answer_in_order`], but each answer goes out as soon as it is there.
pub fn answer_as_ready<Q, A, W, F>(
    incoming: Streaming<Q>,
    ahead: usize,
    idle: Duration,
    bytes: Option<CallBytes>,
    work: W,
) -> Replies<A>
where
    Q: Send + 'static,
    A: Send + 'static,
    W: FnMut(u64, Q) -> F + Send + 'static,
    F: Future<Output = Result<Option<A>, Fault>> + Send + 'static,
{
    let answers = started(incoming, idle, bytes, work).buffer_unordered(ahead);
    forward(answers.filter_map(async |answer| answer.transpose()), idle)
}

type Started<A> = Pin<Box<dyn Future<Output = Result<Option<A>, Status>> + Send>>;

/// The work on each message, not yet polled.
fn started<Q, A, W, F>(
    incoming: Streaming<Q>,
    idle: Duration,
    bytes: Option<CallBytes>,
    mut work: W,
) -> impl Stream<Item = Started<A>> + Send
where
    Q: Send + 'static,
    A: Send + 'static,
    W: FnMut(u64, Q) -> F + Send + 'static,
    F: Future<Output = Result<Option<A>, Fault>> + Send + 'static,
{
    let mut position = 0;
    messages(incoming, idle).map(move |message| -> Started<A> {
        let held = bytes.as_ref().map(|bytes| bytes.of_message(position));
        let answer = message.map(|message| work(position, message));
        position += 1;
        Box::pin(async move {
            let answer = answer?.await.map_err(Status::from);
            drop(held);
            answer
        })
    })
}

/// The client's messages; one that does not come within `idle` ends them by an error.
fn messages<Q: Send + 'static>(
    incoming: Streaming<Q>,
    idle: Duration,
) -> impl Stream<Item = Result<Q, Status>> + Send {
    futures::stream::unfold(Some(incoming), move |incoming| async move {
        let mut incoming = incoming?;
        match timeout(idle, incoming.next()).await {
            Ok(Some(Ok(message))) => Some((Ok(message), Some(incoming))),
            Ok(Some(Err(status))) => Some((Err(status), None)),
            Ok(None) => None,
            Err(_) => Some((Err(Fault::idle(idle).into()), None)),
        }
    })
}

/// Sends `answers` on from a task of their own, until an error, their end, or a client that is
/// gone or has not read for `idle`. Such a client finds STREAM_IDLE at the end if it reads on.
pub fn forward<A: Send + 'static>(
    answers: impl Stream<Item = Result<A, Status>> + Send + 'static,
    idle: Duration,
) -> Replies<A> {
    // One waits here and one in the connection: the client's reading sets the pace.
    let (replies, receiver) = mpsc::channel(1);
    let unread = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&unread);
    let sending = async move {
        let mut answers = pin!(answers);
        loop {
            let answer = tokio::select! {
                () = replies.closed() => return,
                answer = answers.next() => answer,
            };
            let Some(answer) = answer else { return };
            let last = answer.is_err();
            match timeout(idle, replies.send(answer)).await {
                Ok(Ok(())) if !last => {}
                Ok(_) => return,
                Err(_) => return noted.store(true, Ordering::Release),
            }
        }
    };
    tokio::spawn(sending.in_current_span());
    let end = futures::stream::once(async move {
        unread.load(Ordering::Acquire).then(|| Err(Status::from(Fault::unread(idle))))
    });
    Box::pin(ReceiverStream::new(receiver).chain(end.filter_map(std::future::ready)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[tokio::test]
    async fn a_client_that_reads_on_after_too_long_is_told_that_answers_are_missing() {
        let idle = Duration::from_millis(20);
        let mut replies = forward(futures::stream::iter([1, 2, 3, 4].map(Ok)), idle);
        assert_eq!(replies.next().await.expect("an answer").expect("no error"), 1);
        tokio::time::sleep(idle * 20).await;
        let rest: Vec<_> = replies.collect().await;
        let end = rest.last().expect("an end").as_ref().expect_err("an error");
        assert_eq!(end.code(), Code::DeadlineExceeded);
        assert!(rest.len() < 4, "all were sent all the same");
    }

    #[tokio::test]
    async fn a_stream_that_is_read_ends_without_an_error() {
        let replies = forward(futures::stream::iter([1, 2, 3].map(Ok)), Duration::from_secs(60));
        let all: Vec<_> = replies.map(|answer| answer.expect("no error")).collect().await;
        assert_eq!(all, [1, 2, 3]);
    }
}
