//! One bound on the bytes of messages under way, over all calls and connections, both ways.
//!
//! A call is charged for what has come of its request until its answer is there, and for a reply
//! until the client has read it; the first [`FREE_BYTES`] of each call are free, so that small
//! calls pass whatever large ones do. A message that finds no room is refused at once. To make
//! room, the message that has been coming, or has been left unread, for longest is given up, if
//! that is longer than [`PATIENCE`]: half a message that never ends keeps nobody out. Nor does one
//! caller with many calls: together they hold at most one of [`SHARES`] equal parts of the bound.

mod ledger;
mod reply;
mod request;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

pub use ledger::{CallBytes, MessageBudget};

use crate::encoder::queue::Origin;
use crate::server::Methods;
use crate::server::fault::Fault;
use crate::server::methods::{Watched, is_health, watched};
use reply::Reply;
use request::{Counted, Done};

/// What each call may hold without being charged.
pub const FREE_BYTES: u64 = 64 << 10;

/// The calls of one caller may together hold this part of all bytes: one of so many. One call alone
/// may hold more, so that each message and each stream is taken whose size is allowed.
const SHARES: u64 = 2;

/// The time a client has to send a question to health or for a job's progress: no deadline of the
/// server's bounds them, and byte by byte they could take for ever.
const QUESTION_TIME: Duration = Duration::from_secs(10);

/// How long a message may be on its way when there is no room for another.
const PATIENCE: Duration = Duration::from_secs(5);

/// Charges a [`MessageBudget`] for every call; one that finds no room is answered
/// RESOURCE_EXHAUSTED, reason `MESSAGES_FULL`.
#[derive(Debug, Clone)]
pub struct BudgetLayer {
    budget: MessageBudget,
    max_message: u64,
    methods: Methods,
    idle: Duration,
}

impl BudgetLayer {
    /// Messages over `max_message` are refused elsewhere; `methods` tells which calls are streams.
    /// A stream is read on while its messages in work are fewer bytes than that. A client that says
    /// nothing for `idle` while its message is to come is not waited for.
    pub fn new(budget: MessageBudget, max_message: u64, methods: Methods, idle: Duration) -> Self {
        Self { budget, max_message, methods, idle }
    }
}

impl<S> Layer<S> for BudgetLayer {
    type Service = Budgeted<S>;

    fn layer(&self, inner: S) -> Budgeted<S> {
        Budgeted { inner, layer: self.clone() }
    }
}

/// The service of [`BudgetLayer`].
#[derive(Debug, Clone)]
pub struct Budgeted<S> {
    inner: S,
    layer: BudgetLayer,
}

impl<S> Service<Request<Body>> for Budgeted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Charged<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let streaming = self.layer.methods.is_streaming(path);
        let done = match streaming {
            false => Done::WithAnswer,
            // Nothing of the question is needed while the answer lasts, which may be days.
            true if watched(path).is_some() => Done::AtOnce,
            true => Done::Told,
        };
        let question = is_health(path) || watched(path) == Some(Watched::Jobs);
        let time = question.then_some(QUESTION_TIME);
        let origin = request.extensions().get::<Origin>().copied();
        let bytes = self.layer.budget.open(origin, !is_health(path) && watched(path).is_none());
        let one = self.layer.methods.asks_once(path);
        request.extensions_mut().insert(bytes.clone());
        let (max_message, idle) = (self.layer.max_message, self.layer.idle);
        let request = request.map(|body| {
            let counted = Counted::new(body, bytes.clone(), (max_message, one), done, idle);
            Body::new(counted.within(time))
        });
        Charged { answer: Box::pin(self.inner.call(request)), bytes, streaming }
    }
}

/// The head of a charged call.
pub struct Charged<F> {
    answer: Pin<Box<F>>,
    bytes: CallBytes,
    streaming: bool,
}

impl<F, E> Future for Charged<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.answer.as_mut().poll(context));
        if !self.streaming {
            self.bytes.request_done();
        }
        let bytes = self.bytes.clone();
        Poll::Ready(answer.map(|response| response.map(|body| Body::new(Reply::new(body, bytes)))))
    }
}

/// There is no room, or no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// How much of `of` there may be.
    limit: u64,
    of: Of,
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Bytes of all callers.
    All,
    /// Bytes of one caller.
    OneCaller,
    /// Calls under way.
    Places,
}

impl From<Full> for Status {
    fn from(Full { limit, of }: Full) -> Self {
        let (whose, most) = match of {
            Of::Places => {
                let message = format!(
                    "your request was not there whole after {} s, and others wait for its place, \
                     one of {limit}",
                    PATIENCE.as_secs()
                );
                return Fault::full("TOO_MANY_REQUESTS", message, "max_requests", limit).into();
            }
            Of::All => ("", "the most this server holds at once"),
            Of::OneCaller => (" of your calls", "the most it holds at once for one caller"),
        };
        let message =
            format!("the messages under way{whose} would be more than {limit} bytes, {most}");
        Fault::full("MESSAGES_FULL", message, "max_messages_bytes", limit).into()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use bytes::Bytes;
    use futures::StreamExt;
    use futures::future::BoxFuture;
    use http_body::Body as _;
    use http_body_util::{BodyExt, StreamBody};
    use tonic::Code;
    use tonic_types::StatusExt;
    use tower::service_fn;

    use super::*;
    use crate::server::layers::testing::{Handler, request, send, status_of};

    const MIB: usize = 1 << 20;
    const IDLE: Duration = Duration::from_secs(60);
    const METHODS: Methods = Methods { unary: &["/a/Unary"], streaming: &["/a/Stream"] };

    fn layer(mib: usize) -> (MessageBudget, BudgetLayer) {
        let budget = MessageBudget::new((mib * MIB) as u64);
        (budget.clone(), BudgetLayer::new(budget, (32 * MIB) as u64, METHODS, IDLE))
    }

    /// A message of `declared` bytes of which `sent` come; then nothing more, ever.
    fn half(declared: usize, sent: usize) -> Body {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&u32::try_from(declared).expect("small").to_be_bytes());
        bytes.resize(5 + sent, 7);
        let pieces: Vec<_> = bytes
            .chunks(16 << 10)
            .map(|piece| Ok::<_, Status>(http_body::Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let open = declared > sent;
        let rest = futures::stream::pending().take(usize::from(open));
        Body::new(StreamBody::new(futures::stream::iter(pieces).chain(rest)))
    }

    fn call_of(path: &str, body: Body) -> Request<Body> {
        request(path).map(|_| body)
    }

    type Answered = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    /// Reads the whole request as tonic does, and answers with `reply` bytes.
    fn reader(reply: usize) -> impl Handler<Future = Answered> {
        service_fn(move |request: Request<Body>| -> Answered {
            Box::pin(async move {
                Ok(match request.into_body().collect().await {
                    Ok(_) => {
                        let bytes = Bytes::from(vec![1; reply]);
                        Response::new(Body::new(http_body_util::Full::new(bytes)))
                    }
                    Err(status) => status.into_http(),
                })
            })
        })
    }

    fn reason(status: &Status) -> String {
        status.get_details_error_info().expect("a reason").reason
    }

    #[tokio::test]
    async fn half_messages_fill_the_budget_small_ones_pass_and_the_oldest_gives_way() {
        let (budget, layer) = layer(64);
        let service = layer.layer(reader(3));
        let halves: Vec<_> = (0..2)
            .map(|_| {
                let body = half(31 * MIB, 30 * MIB);
                tokio::spawn(send(service.clone(), call_of("/a/Unary", body)))
            })
            .collect();
        while budget.used() < (59 * MIB) as u64 {
            tokio::task::yield_now().await;
        }
        // Refused by what it says it will be, before it has come.
        let early = send(service.clone(), call_of("/a/Unary", half(31 * MIB, 10))).await;
        let status = status_of(early);
        assert_eq!((status.code(), &*reason(&status)), (Code::ResourceExhausted, "MESSAGES_FULL"));
        assert_eq!(status.metadata().get("retry-after").expect("a hint"), "1");
        let small = send(service.clone(), call_of("/a/Unary", half(60_000, 60_000))).await;
        assert!(small.headers().get("grpc-status").is_none());
        drop(small);
        let whole = half(31 * MIB, 31 * MIB);
        budget.age(PATIENCE * 2);
        let passed = send(service, call_of("/a/Unary", whole)).await;
        assert!(passed.headers().get("grpc-status").is_none(), "room was made");
        drop(passed);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let mut given_up = 0;
        for half in halves {
            if half.is_finished() {
                given_up += 1;
                assert_eq!(reason(&status_of(half.await.expect("no panic"))), "MESSAGES_FULL");
            } else {
                half.abort();
                let _ = half.await;
            }
        }
        assert_eq!(given_up, 1);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn one_caller_holds_no_more_than_its_share_and_others_find_room() {
        let (budget, layer) = layer(64);
        let service = layer.layer(reader(3));
        let of = |caller: u64, body: Body| {
            let mut request = call_of("/a/Unary", body);
            request.extensions_mut().insert(Origin { caller, connection: caller });
            request
        };
        let first = tokio::spawn(send(service.clone(), of(1, half(31 * MIB, 20 * MIB))));
        while budget.used() < (19 * MIB) as u64 {
            tokio::task::yield_now().await;
        }
        let refused = status_of(send(service.clone(), of(1, half(20 * MIB, 20 * MIB))).await);
        assert_eq!(reason(&refused), "MESSAGES_FULL");
        let told = refused.get_details_error_info().expect("a reason").metadata;
        assert_eq!(told["allowed"], (32 * MIB).to_string());
        let other = send(service.clone(), of(2, half(20 * MIB, 20 * MIB))).await;
        assert!(other.headers().get("grpc-status").is_none(), "another caller's message");
        drop(other);
        // Its own message that has been coming for too long makes room for its next one.
        budget.age(PATIENCE * 2);
        let next = send(service, of(1, half(20 * MIB, 20 * MIB))).await;
        assert!(next.headers().get("grpc-status").is_none(), "room was made");
        drop(next);
        assert_eq!(reason(&status_of(first.await.expect("no panic"))), "MESSAGES_FULL");
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_watch_is_not_charged_for_its_question() {
        const METHODS: Methods =
            Methods { unary: &[], streaming: &["/pairwright.v1.JobService/WatchJob"] };
        let budget = MessageBudget::new((64 * MIB) as u64);
        let layer = BudgetLayer::new(budget.clone(), (32 * MIB) as u64, METHODS, IDLE);
        let call = call_of("/pairwright.v1.JobService/WatchJob", half(MIB, MIB));
        let watching = send(layer.layer(reader(3)), call).await;
        assert_eq!(budget.used(), 0);
        drop(watching);
    }

    #[tokio::test]
    async fn an_unread_reply_is_charged_and_given_up_when_its_room_is_needed() {
        let (budget, layer) = layer(40);
        let service = layer.layer(reader(30 * MIB));
        let ask = || call_of("/a/Unary", half(1, 1));
        let mut first = send(service.clone(), ask()).await.into_body();
        let frame = async |body: &mut Body| {
            poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
        };
        let piece = frame(&mut first).await.expect("a frame").expect("sound");
        let piece = piece.into_data().expect("data");
        assert!(piece.len() as u64 <= FREE_BYTES);
        assert!(piece.is_unique(), "a piece that is kept keeps the whole message");
        assert!(budget.used() > (29 * MIB) as u64);
        let mut second = send(service.clone(), ask()).await.into_body();
        let told = frame(&mut second).await.expect("a frame").expect("sound");
        let told = Status::from_header_map(told.trailers_ref().expect("the end")).expect("status");
        assert_eq!(reason(&told), "MESSAGES_FULL");
        budget.age(PATIENCE * 2);
        let third = send(service, ask()).await.into_body().collect().await.expect("read");
        assert_eq!(third.to_bytes().len(), 30 * MIB);
        let end = frame(&mut first).await.expect("a frame").expect("sound");
        assert!(end.is_trailers());
        drop((first, second));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_stream_is_read_on_when_its_messages_are_done() {
        let (budget, layer) = layer(512);
        let (told, mut guards) = tokio::sync::mpsc::unbounded_channel();
        let service = service_fn(move |request: Request<Body>| {
            let told = told.clone();
            async move {
                let bytes = request.extensions().get::<CallBytes>().expect("there").clone();
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    for position in 0..3 {
                        let _ = told.send(bytes.of_message(position));
                    }
                    while let Some(Ok(_)) = body.frame().await {}
                });
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let whole = || half(20 * MIB, 20 * MIB).into_data_stream();
        let messages = whole().chain(whole()).chain(whole());
        let messages = messages.map(|data| data.map(http_body::Frame::data));
        let body = Body::new(StreamBody::new(messages));
        let answer = send(layer.layer(service), call_of("/a/Stream", body)).await;
        let mut guard = async || guards.recv().await.expect("a guard");
        let (first, second, third) = (guard().await, guard().await, guard().await);
        let two = (40 * MIB) as u64 + 10 - FREE_BYTES;
        let reaches = async |bytes: u64| {
            while budget.used() != bytes {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        reaches(two).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(budget.used(), two, "read ahead of its work");
        drop(first);
        assert!(budget.used() < two);
        reaches(two).await;
        drop((second, third, answer));
        reaches(0).await;
    }
}
