//! A response's body, charged until the client has read it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::{CallBytes, FREE_BYTES, Full};
use crate::server::convert::size;
use crate::server::layers::trailers;

/// Hands large messages on in pieces: the transport keeps each piece until the client reads it, and
/// asks for the next one only then.
pub(super) struct Reply {
    body: Body,
    bytes: CallBytes,
    /// Size of the message that is being read.
    charged: u64,
    ended: bool,
}

impl Reply {
    pub fn new(body: Body, bytes: CallBytes) -> Self {
        Self { body, bytes, charged: 0, ended: false }
    }

    /// Holds a message that is to be read.
    fn hold(&mut self, message: Bytes) -> Result<(), Full> {
        let size = message.len() as u64;
        self.bytes.grow(size)?;
        self.charged = size;
        self.bytes.reply(|rest| *rest = Some(message))
    }

    /// The next piece of the message that is being read, until there is none.
    ///
    /// Each is a copy: a part of the message would keep all of it in memory for as long as the
    /// transport has that part, whatever was given up or counted as read meanwhile.
    fn piece(&mut self) -> Result<Option<Bytes>, Full> {
        self.bytes.reply(|rest| {
            let left = rest.as_mut()?;
            let now = left.len().min(size(FREE_BYTES));
            let piece = Bytes::copy_from_slice(&left[..now]);
            left.advance(now);
            if left.is_empty() {
                *rest = None;
            }
            Some(piece)
        })
    }

    fn end(&mut self, full: Full) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        (self.ended, self.body) = (true, Body::empty());
        Poll::Ready(Some(trailers(full.into())))
    }
}

impl http_body::Body for Reply {
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
        loop {
            if this.charged > 0 {
                match this.piece() {
                    Ok(Some(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                    Ok(None) => this.bytes.shrink(std::mem::take(&mut this.charged)),
                    Err(full) => return this.end(full),
                }
            }
            let polled = std::task::ready!(Pin::new(&mut this.body).poll_frame(context));
            let large = |frame: &Frame<Bytes>| {
                frame.data_ref().is_some_and(|data| data.len() as u64 > FREE_BYTES)
            };
            match polled {
                Some(Ok(frame)) if large(&frame) => {
                    if let Err(full) = this.hold(frame.into_data().unwrap_or_default()) {
                        return this.end(full);
                    }
                }
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.charged == 0 && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        if self.charged == 0 && !self.ended { self.body.size_hint() } else { SizeHint::default() }
    }
}
