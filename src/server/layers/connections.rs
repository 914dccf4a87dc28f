//! Accepting connections, a bounded number of them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::server::ServerError;
use crate::server::observe::{Metrics, OpenConnection};

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

/// The connections of a listener, for tonic's `serve_with_incoming_shutdown`; dropping it closes
/// the listener.
///
/// At most `limit` are open at once. One more is accepted and closed at once, not left in the
/// kernel's queue: a client in the queue waits for its whole deadline without knowing why, one
/// that is closed backs off or tries another replica.
pub struct Incoming(BoxStream<'static, io::Result<Connection>>);

impl Incoming {
    /// Accepts from `listener`.
    pub fn new(listener: TcpListener, limit: usize, metrics: Metrics) -> Self {
        let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        let gate = Gate { listener, places, metrics };
        Self(Box::pin(futures::stream::unfold(gate, |gate| async {
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
    places: Arc<Semaphore>,
    metrics: Metrics,
}

impl Gate {
    async fn next(&self) -> Connection {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if let Some(connection) = self.admit(stream, peer) {
                        return connection;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.metrics.connection_refused();
            tracing::debug!(%peer, "too many connections; closed");
            return None;
        };
        // Small messages must not wait for more to send; a socket that is gone already says so
        // at its first read.
        let _ = stream.set_nodelay(true);
        Some(Connection { stream, _open: self.metrics.connection_opened(), _place: place })
    }
}

/// One open connection; it gives its place back when dropped.
pub struct Connection {
    stream: TcpStream,
    _open: OpenConnection,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_a_free_place_is_used_again() {
        let listener = bind(([127, 0, 0, 1], 0).into()).await.expect("bound");
        let address = listener.local_addr().expect("address");
        let mut incoming = Incoming::new(listener, 1, Metrics::off());
        let connect = || TcpStream::connect(address);
        let mut first_client = connect().await.expect("connected");
        let first = incoming.next().await.expect("a stream").expect("a connection");
        assert!(first.stream.nodelay().expect("an option"));

        let mut second_client = connect().await.expect("connected");
        let accepting = tokio::spawn(async move { incoming.next().await });
        // End of stream or a reset: closed either way.
        let read = second_client.read(&mut [0]).await;
        assert!(matches!(read, Ok(0) | Err(_)), "the second was to be closed");

        drop(first);
        assert_eq!(first_client.read(&mut [0]).await.expect("closed in order"), 0);
        let _third_client = connect().await.expect("connected");
        let third = accepting.await.expect("no panic").expect("a stream");
        assert!(third.is_ok());
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let taken = bind(([127, 0, 0, 1], 0).into()).await.expect("bound");
        let address = taken.local_addr().expect("address");
        let text = bind(address).await.expect_err("taken").to_string();
        assert!(text.contains("serve.listen") && text.contains(&address.to_string()), "{text}");
    }
}
