//! A request's body, counted as it comes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tonic::body::Body;

use super::{CallBytes, FREE_BYTES};
use crate::server::convert::size;
use crate::server::fault::Fault;

/// A flag and the length as four bytes stand before every message of gRPC.
const HEAD: usize = 5;

/// When a message of the request needs its memory no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// With the head of the answer.
    WithAnswer,
    /// When the handler says so, or at the end of the call.
    Told,
    /// Once it is complete: it is answered at once.
    AtOnce,
}

/// Charges for the body's bytes.
pub(super) struct Counted {
    body: Body,
    bytes: CallBytes,
    given_up: Pin<Box<WaitForCancellationFutureOwned>>,
    max_message: u64,
    /// The request is one message: its end is part of it.
    one: bool,
    done: Done,
    /// Until when all of it has to be there.
    time: Option<(Pin<Box<Sleep>>, Duration)>,
    /// The longest silence in the middle of a message, or before the first.
    idle: Duration,
    silence: Option<Pin<Box<Sleep>>>,
    /// A message has come whole.
    begun: bool,
    frames: Frames,
    ended: bool,
}

impl Counted {
    /// The body of a request of messages of `max_message` bytes at most, or of one such message. A
    /// client that says nothing for `idle` while a message is to come is not waited for.
    pub fn new(
        body: Body,
        bytes: CallBytes,
        (max_message, one): (u64, bool),
        done: Done,
        idle: Duration,
    ) -> Self {
        let given_up = Box::pin(bytes.give_up().clone().cancelled_owned());
        let (time, silence, frames) = (None, None, Frames::default());
        let (begun, ended) = (false, false);
        Self {
            body,
            bytes,
            given_up,
            max_message,
            one,
            done,
            time,
            idle,
            silence,
            begun,
            frames,
            ended,
        }
    }

    /// The client has `time` for all of it, where it is set.
    pub fn within(mut self, time: Option<Duration>) -> Self {
        self.time = time.map(|time| (Box::pin(tokio::time::sleep(time)), time));
        self
    }

    fn count(&mut self, data: &[u8]) -> Result<(), Status> {
        let (mut declared, mut complete) = (Vec::new(), Vec::new());
        self.frames.read(data, &mut declared, &mut complete);
        // One over the limit is refused for its size.
        let sensible =
            declared.iter().filter(|size| (FREE_BYTES..=self.max_message).contains(*size));
        if let Some(size) = sensible.max() {
            self.bytes.make_room_for(*size)?;
        }
        self.begun |= !complete.is_empty();
        let open = self.one && !http_body::Body::is_end_stream(&self.body);
        let whole = !complete.is_empty() && !open;
        self.bytes.received(data.len() as u64, whole, open || self.frames.is_half())?;
        for size in complete {
            match self.done {
                Done::WithAnswer => {}
                Done::Told => self.bytes.complete(size),
                Done::AtOnce => self.bytes.drop_complete(size),
            }
        }
        Ok(())
    }

    /// What has come of the body and was not read goes with it.
    fn end(&mut self, status: Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        (self.ended, self.body) = (true, Body::empty());
        Poll::Ready(Some(Err(status)))
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if this.given_up.as_mut().poll(context).is_ready() {
            return this.end(this.bytes.refusal().into());
        }
        if let Some((over, time)) = &mut this.time
            && over.as_mut().poll(context).is_ready()
        {
            let late = Fault::late("the request did not come whole", *time);
            return this.end(late.into());
        }
        // One message may always be there whole, and what follows it be seen.
        let most = this.max_message + HEAD as u64;
        if this.done == Done::Told && this.bytes.is_busy(most, context) {
            // The silence is the server's own.
            this.silence = None;
            return Poll::Pending;
        }
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if polled.is_ready() {
            this.silence = None;
        } else if this.one || !this.begun || this.frames.is_half() {
            let idle = this.idle;
            let silence = this.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
            if silence.as_mut().poll(context).is_ready() {
                return this.end(Fault::idle(idle).into());
            }
        }
        if let Poll::Ready(None) = &polled
            && let Err(full) = this.bytes.received(0, true, false)
        {
            return this.end(full.into());
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
            && let Err(full) = this.count(data)
        {
            return this.end(full);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where one message ends and the next begins.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD],
    /// Bytes of the head that have come.
    headed: usize,
    /// Bytes of the message that are still to come.
    left: u64,
}

impl Frames {
    /// Whether some of a message is there and some is missing.
    fn is_half(&self) -> bool {
        self.headed > 0
    }

    /// Reads on: sizes of messages that begin in `data`, without their heads, and of those that
    /// end in it, with them.
    fn read(&mut self, mut data: &[u8], declared: &mut Vec<u64>, complete: &mut Vec<u64>) {
        while !data.is_empty() {
            if self.headed < HEAD {
                let (now, rest) = data.split_at(data.len().min(HEAD - self.headed));
                self.head[self.headed..self.headed + now.len()].copy_from_slice(now);
                self.headed += now.len();
                data = rest;
                if self.headed < HEAD {
                    return;
                }
                self.left = self.size();
                declared.push(self.left);
            } else {
                let now = size(self.left).min(data.len());
                self.left -= now as u64;
                data = &data[now..];
            }
            if self.left == 0 {
                complete.push(HEAD as u64 + self.size());
                self.headed = 0;
            }
        }
    }

    fn size(&self) -> u64 {
        let [_, length @ ..] = self.head;
        u64::from(u32::from_be_bytes(length))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::StreamExt;
    use http_body::Body as _;
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;
    use crate::server::layers::MessageBudget;
    use crate::server::layers::testing::Endless;

    #[tokio::test]
    async fn a_question_that_never_ends_is_ended_in_time() {
        let bytes = MessageBudget::new(1 << 20).open(None, true);
        let idle = Duration::from_secs(60);
        let counted = Counted::new(Body::new(Endless), bytes, (1 << 10, true), Done::AtOnce, idle);
        let mut body = counted.within(Some(Duration::from_millis(20)));
        let mut next = async || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let status = next().await.expect("an end").expect_err("too slow");
        assert_eq!(status.code(), Code::DeadlineExceeded);
        let info = status.get_details_error_info().expect("a reason");
        assert_eq!((&*info.reason, &*info.metadata["allowed_ms"]), ("DEADLINE_EXCEEDED", "20"));
        assert!(next().await.is_none());
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_lets_go_of_its_body() {
        let bytes = MessageBudget::new(1 << 20).open(None, true);
        let (sender, frames) = futures::channel::mpsc::unbounded::<Result<Frame<Bytes>, Status>>();
        let body = Body::new(http_body_util::StreamBody::new(frames));
        let mut body = Counted::new(
            body,
            bytes.clone(),
            (1 << 10, false),
            Done::Told,
            Duration::from_secs(60),
        );
        bytes.give_up().cancel();
        let mut next = async || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let status = next().await.expect("an end").expect_err("given up");
        assert_eq!(status.get_details_error_info().expect("a reason").reason, "MESSAGES_FULL");
        assert!(next().await.is_none());
        assert!(sender.is_closed(), "the body is still there");
    }

    #[tokio::test]
    async fn silence_in_the_middle_of_a_message_ends_the_call_and_after_one_does_not() {
        let idle = Duration::from_millis(20);
        let bytes = || MessageBudget::new(1 << 20).open(None, true);
        let saying = |words: &'static [u8], one: bool| {
            let frame = Ok::<_, Status>(Frame::data(Bytes::from_static(words)));
            let said = futures::stream::iter([frame]).chain(futures::stream::pending());
            let body = Body::new(http_body_util::StreamBody::new(said));
            Counted::new(body, bytes(), (1 << 10, one), Done::Told, idle)
        };
        let whole = b"\0\0\0\0\x02ab";
        for (words, one) in [(&b"\0\0"[..], false), (b"\0\0\0\0\x02a", false), (whole, true)] {
            let mut body = saying(words, one);
            let mut next =
                async || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            assert!(next().await.is_some_and(|frame| frame.is_ok()));
            let status = next().await.expect("an end").expect_err("silent");
            assert_eq!(status.get_details_error_info().expect("a reason").reason, "STREAM_IDLE");
            assert!(next().await.is_none());
        }
        let mut body = saying(whole, false);
        let mut next = async || poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        assert!(next().await.is_some_and(|frame| frame.is_ok()));
        tokio::time::timeout(idle * 5, next()).await.expect_err("it has said something");
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let mut bytes = Vec::new();
        for size in [3u32, 0, 300] {
            bytes.push(0);
            bytes.extend(size.to_be_bytes());
            bytes.resize(bytes.len() + size as usize, 9);
        }
        for cut in [1, 2, 7, bytes.len()] {
            let (mut frames, mut declared, mut complete) =
                (Frames::default(), Vec::new(), Vec::new());
            for part in bytes.chunks(cut) {
                frames.read(part, &mut declared, &mut complete);
            }
            assert_eq!(
                (&declared[..], &complete[..]),
                (&[3, 0, 300][..], &[8, 5, 305][..]),
                "{cut}"
            );
            assert!(!frames.is_half());
        }
    }
}
