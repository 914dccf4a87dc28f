//! One connection: plain or encrypted, closed when its place is needed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::places::Place;
use crate::server::observe::OpenConnection;
use crate::server::tls::LiveTls;

/// What every HTTP/2 client says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One open connection whose client speaks HTTP/2; it gives its place back when dropped.
pub struct Connection {
    transport: Transport,
    info: TcpConnectInfo,
    /// How much of [`PREFACE`], which was read already, is still to be handed on.
    preface: &'static [u8],
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    _open: OpenConnection,
    _place: Place,
}

/// Plain or encrypted.
type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Connection {
    /// Shakes hands and waits for the client's first words. There is no bound on the time it
    /// takes.
    ///
    /// # Errors
    /// The client hung up, TLS failed, or it does not speak HTTP/2.
    pub async fn greet(
        stream: TcpStream,
        tls: Option<&LiveTls>,
        place: Place,
        open: OpenConnection,
    ) -> io::Result<Self> {
        // Small messages must not wait for more to send; a socket that is gone already says so
        // at its first read.
        let _ = stream.set_nodelay(true);
        let info = stream.connect_info();
        let mut transport = match tls {
            None => Either::Left(stream),
            Some(tls) => {
                let accepted = TlsAcceptor::from(tls.current()).accept(stream).await?;
                Either::Right(Box::new(accepted))
            }
        };
        let mut said = [0; PREFACE.len()];
        let mut length = 0;
        while length < said.len() {
            let more = transport.read(&mut said[length..]).await?;
            length += more;
            if more == 0 || said[..length] != PREFACE[..length] {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no HTTP/2"));
            }
        }
        place.greeted();
        let ended = Box::pin(place.end().clone().cancelled_owned());
        Ok(Self { transport, info, preface: PREFACE, ended, _open: open, _place: place })
    }

    fn is_ended(&mut self, context: &mut Context<'_>) -> bool {
        self.ended.as_mut().poll(context).is_ready()
    }

    /// What to write to.
    ///
    /// # Errors
    /// The place is another connection's now.
    fn while_open(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut Transport>> {
        if self.is_ended(context) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(Pin::new(&mut self.transport))
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.preface.is_empty() {
            let (now, later) = this.preface.split_at(buffer.remaining().min(this.preface.len()));
            buffer.put_slice(now);
            this.preface = later;
            return Poll::Ready(Ok(()));
        }
        if this.is_ended(context) {
            // As if the client had hung up: the transport lets go of everything in order.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.transport).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.while_open(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.while_open(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.while_open(context)?.poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }
}
