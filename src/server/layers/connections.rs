//! Accepting connections, a bounded number of them, each for a bounded time until it speaks.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::stream::BoxStream;
use http::Request;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;

use super::admit::Admit;
use super::connection::Connection;
use super::places::{Busy, Places, QUESTIONS};
use crate::server::ServerError;
use crate::server::fault::Fault;
use crate::server::methods::{is_health, watched};
use crate::server::observe::{Metrics, peer};
use crate::server::tls::LiveTls;

/// The wait after the system refused to hand over a connection, such as for want of file handles:
/// asking again at once would only burn a core.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds the gRPC port.
///
/// # Errors
/// [`ServerError::Bind`] with the address and the reason.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Bind {
        setting: "serve.listen",
        address,
        source,
    })
}

/// The connections of a listener whose clients speak HTTP/2, for tonic's
/// `serve_with_incoming_shutdown`; dropping it closes the listener.
///
/// Who gets a place is for [`Places`] to say. One without is accepted and closed at once, not left
/// in the kernel's queue: a client in the queue waits for its whole deadline without knowing why,
/// one that is closed backs off or tries another replica.
pub struct Incoming(BoxStream<'static, io::Result<Connection>>);

impl Incoming {
    /// Accepts from `listener`, encrypted where there is `tls`.
    pub fn new(
        listener: TcpListener,
        places: Places,
        tls: Option<LiveTls>,
        metrics: Metrics,
    ) -> Self {
        let gate = Gate { listener, places, tls, metrics, greetings: JoinSet::new() };
        Self(Box::pin(futures::stream::unfold(gate, |mut gate| async {
            let connection = gate.next().await;
            Some((Ok(connection), gate))
        })))
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

struct Gate {
    listener: TcpListener,
    places: Places,
    tls: Option<LiveTls>,
    metrics: Metrics,
    /// Those who have not spoken yet; none when they took too long.
    greetings: JoinSet<Option<Connection>>,
}

impl Gate {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(greeted) = self.greetings.join_next(), if !self.greetings.is_empty() => {
                    if let Ok(Some(connection)) = greeted {
                        return connection;
                    }
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some(place) = self.places.admit(peer) else {
            self.metrics.connection_refused();
            tracing::debug!(%peer, "too many connections; closed");
            return;
        };
        let (open, within) = (self.metrics.connection_opened(), self.places.bounds().greeting);
        let tls = self.tls.clone();
        self.greetings.spawn(async move {
            let end = place.end().clone();
            let greeting = Connection::greet(stream, tls.as_ref(), place, open);
            tokio::select! {
                greeted = greeting => greeted
                    .inspect_err(|error| tracing::debug!(%peer, %error, "no greeting; closed"))
                    .ok(),
                () = end.cancelled() => None,
                () = tokio::time::sleep(within) => {
                    tracing::debug!(%peer, ?within, "no greeting in time; closed");
                    None
                }
            }
        });
    }
}

/// Tells [`Places`] which connections are at work, and refuses calls but health on those that are
/// kept for probes, with RESOURCE_EXHAUSTED, reason `TOO_MANY_CONNECTIONS`, while no other place is
/// to be had. Of questions to health it lets a few be under way on each connection, and refuses
/// more with the reason `TOO_MANY_REQUESTS`. It belongs inside the layer that asks for keys: calls
/// that are refused there must not keep a connection at work.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    places: Places,
}

impl ConnectionLimit {
    /// Counts calls on the connections of `places`.
    pub fn new(places: Places) -> Self {
        Self { places }
    }

    fn full(&self) -> Status {
        let limit = self.places.bounds().total;
        let message = format!(
            "the connections of this server, or of your address, are all at work ({limit} at \
             most); this one may ask for health only"
        );
        Fault::full("TOO_MANY_CONNECTIONS", message, "max_connections", limit).into()
    }
}

impl Admit for ConnectionLimit {
    type Held = Option<Busy>;

    fn admit(&self, request: &mut Request<Body>) -> Result<Option<Busy>, Status> {
        let Some(peer) = peer(request.extensions()) else { return Ok(None) };
        let path = request.uri().path();
        // Whoever only asks for health is not at work: its connection may have to make room.
        match is_health(path) {
            false => self.places.begin(peer).map_err(|_| self.full()),
            // A watch has a place of its own.
            true if watched(path).is_some() => Ok(None),
            true => self.places.ask(peer).map_err(|_| too_many_questions()),
        }
    }
}

fn too_many_questions() -> Status {
    let message = format!("{QUESTIONS} questions to health are under way on this connection");
    Fault::full("TOO_MANY_REQUESTS", message, "questions to health", QUESTIONS).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::layers::AdmitLayer;
    use crate::server::layers::places::ConnectionBounds;
    use futures::StreamExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tonic::Code;
    use tonic::transport::server::TcpConnectInfo;
    use tower::Layer;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    async fn listening(total: usize, greeting: Duration) -> (SocketAddr, Places, Incoming) {
        let listener = bind(([127, 0, 0, 1], 0).into()).await.expect("bound");
        let address = listener.local_addr().expect("address");
        let bounds = ConnectionBounds { total, per_address: None, probes: 0, greeting };
        let places = Places::new(bounds);
        (address, places.clone(), Incoming::new(listener, places, None, Metrics::off()))
    }

    async fn connect(address: SocketAddr, words: &[u8]) -> TcpStream {
        let mut client = TcpStream::connect(address).await.expect("connected");
        client.write_all(words).await.expect("said");
        client
    }

    /// End of stream or a reset: closed either way.
    async fn is_closed(client: &mut TcpStream) -> bool {
        let read = tokio::time::timeout(Duration::from_secs(60), client.read(&mut [0])).await;
        matches!(read.expect("closed in time"), Ok(0) | Err(_))
    }

    #[tokio::test]
    async fn those_who_say_nothing_or_half_or_something_else_are_closed() {
        let (address, places, mut incoming) = listening(10, Duration::from_millis(200)).await;
        let accepting = tokio::spawn(async move { incoming.next().await });
        for words in [&b""[..], b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
            assert!(is_closed(&mut connect(address, words).await).await, "{words:?}");
        }
        let _client = connect(address, PREFACE).await;
        let mut connection =
            accepting.await.expect("no panic").expect("a stream").expect("a connection");
        let mut said = [0; 24];
        connection.read_exact(&mut said).await.expect("handed on");
        assert_eq!(said, PREFACE);
        assert_eq!(places.open(), 1);
        drop(connection);
        assert_eq!(places.open(), 0);
    }

    #[tokio::test]
    async fn silent_connections_make_room_for_one_that_speaks() {
        let (address, _, mut incoming) = listening(2, Duration::from_secs(600)).await;
        let accepting = tokio::spawn(async move { (incoming.next().await, incoming) });
        let mut silent = Vec::new();
        for _ in 0..2 {
            silent.push(connect(address, b"").await);
        }
        let _client = connect(address, PREFACE).await;
        let (connection, incoming) = tokio::time::timeout(Duration::from_secs(60), accepting)
            .await
            .expect("let in")
            .expect("ok");
        assert!(connection.expect("a stream").is_ok());
        assert!(is_closed(&mut silent[0]).await);
        drop(incoming);
        assert!(TcpStream::connect(address).await.is_err(), "still listening");
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = bind(([127, 0, 0, 1], 0).into()).await.expect("bound");
        let address = taken.local_addr().expect("address");
        let text = bind(address).await.expect_err("taken").to_string();
        assert!(text.contains("serve.listen") && text.contains(&address.to_string()), "{text}");
    }

    #[tokio::test]
    async fn a_probe_on_a_kept_place_gets_health_and_nothing_else() {
        use crate::server::layers::testing::{HEALTH, endless, request, send, status_of};
        use tonic_types::StatusExt;
        let bounds = ConnectionBounds {
            total: 0,
            per_address: None,
            probes: 1,
            greeting: Duration::from_secs(1),
        };
        let places = Places::new(bounds);
        let peer = SocketAddr::from(([192, 0, 2, 1], 7));
        let _place = places.admit(peer).expect("kept for probes");
        let limit = ConnectionLimit::new(places);
        let service = AdmitLayer::new(limit, Duration::from_secs(60)).layer(endless());
        let from = |path: &str| {
            let mut request = request(path);
            let info = TcpConnectInfo { local_addr: None, remote_addr: Some(peer) };
            request.extensions_mut().insert(info);
            request
        };
        let refused = status_of(send(service.clone(), from("/a/B")).await);
        let info = refused.get_details_error_info().expect("a reason");
        assert_eq!(
            (refused.code(), &*info.reason),
            (Code::ResourceExhausted, "TOO_MANY_CONNECTIONS")
        );
        let health = send(service, from(HEALTH)).await;
        assert!(health.headers().get("grpc-status").is_none());
    }

    #[tokio::test]
    async fn questions_that_never_end_are_few_on_a_connection() {
        use crate::server::layers::testing::{HEALTH, endless, request, send, status_of};
        use tonic_types::StatusExt;
        let greeting = Duration::from_secs(1);
        let bounds = ConnectionBounds { total: 1, per_address: None, probes: 0, greeting };
        let places = Places::new(bounds);
        let peer = SocketAddr::from(([192, 0, 2, 1], 7));
        let _place = places.admit(peer).expect("room");
        let limit = ConnectionLimit::new(places);
        let service = AdmitLayer::new(limit, Duration::from_secs(60)).layer(endless());
        let ask = |path: &str| {
            let mut request = request(path);
            let info = TcpConnectInfo { local_addr: None, remote_addr: Some(peer) };
            request.extensions_mut().insert(info);
            send(service.clone(), request)
        };
        let mut open = Vec::new();
        for _ in 0..QUESTIONS {
            open.push(ask(HEALTH).await);
        }
        assert!(open.iter().all(|answer| answer.headers().get("grpc-status").is_none()));
        let refused = status_of(ask(HEALTH).await);
        let info = refused.get_details_error_info().expect("a reason");
        assert_eq!((refused.code(), &*info.reason), (Code::ResourceExhausted, "TOO_MANY_REQUESTS"));
        for other in ["/grpc.health.v1.Health/Watch", "/a/B"] {
            assert!(ask(other).await.headers().get("grpc-status").is_none(), "{other}");
        }
        open.pop();
        assert!(ask(HEALTH).await.headers().get("grpc-status").is_none());
    }
}
