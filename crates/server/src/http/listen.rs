//! The listener: TLS, a bound on connections, a time limit on headers, and a stop with a deadline.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::RustlsConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::Tls;

/// A request's head, and the pause between two requests of a connection, may take this long.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Connections at once, when the system allows so many open files.
const MOST_CONNECTIONS: usize = 4_096;
/// Files that the rest of the process needs.
const OTHER_FILES: usize = 256;

/// A bound address that nobody is served at yet.
pub struct Listener {
    socket: TcpListener,
    tls: Option<RustlsConfig>,
    address: SocketAddr,
}

/// Why the address cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The name has no address, or the address is taken or not ours.
    #[error("cannot listen on {host}:{port}: {source}")]
    Address {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate or key cannot be read or do not fit.
    #[error("cannot use the TLS certificate and key: {0}")]
    Tls(#[source] io::Error),
}

impl Listener {
    /// Binds the address; port 0 lets the system choose.
    pub async fn bind(host: &str, port: u16, tls: Option<&Tls>) -> Result<Listener, BindError> {
        let tls = match tls {
            None => None,
            Some(files) => Some(tls_config(files).await.map_err(BindError::Tls)?),
        };
        let failed = |source| BindError::Address { host: host.to_owned(), port, source };
        let (socket, address) = bind(host, port).map_err(failed)?;
        Ok(Listener { socket, tls, address })
    }

    /// `http://HOST:PORT` (or `https`) with the real port.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until `stop`, then takes no more connections and waits for the open ones, at most `grace`.
    ///
    /// HTTP/1.1 alone: while a server waits to see which version a client speaks, and on an idle connection of HTTP/2, no
    /// limit on heads holds, so that whoever connects and says nothing would keep a place for ever; and one connection of
    /// HTTP/2 carries hundreds of requests, which a bound on connections does not bound.
    pub async fn serve(self, router: Router, stop: CancellationToken, grace: Duration) -> io::Result<()> {
        let handle = Handle::new();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let gate = Gate { places: Arc::new(Semaphore::new(most_connections())) };
        let stopping = async {
            stop.cancelled().await;
            handle.graceful_shutdown(Some(grace));
            std::future::pending::<io::Result<()>>().await
        };
        match self.tls {
            None => {
                let mut server = axum_server::from_tcp(self.socket)?.http1_only().handle(handle.clone()).acceptor(gate);
                server.http_builder().http1().header_read_timeout(HEAD_WITHIN);
                tokio::select! { biased; done = server.serve(service) => done, never = stopping => never }
            }
            Some(tls) => {
                let mut server = axum_server::from_tcp_rustls(self.socket, tls)?
                    .http1_only()
                    .handle(handle.clone())
                    .map(|acceptor| acceptor.acceptor(gate));
                server.http_builder().http1().header_read_timeout(HEAD_WITHIN);
                tokio::select! { biased; done = server.serve(service) => done, never = stopping => never }
            }
        }
    }
}

/// Offers HTTP/1.1 alone, as it is all that is served.
async fn tls_config(files: &Tls) -> io::Result<RustlsConfig> {
    let config = RustlsConfig::from_pem_file(&files.cert, &files.key).await?;
    let mut inner = (*config.get_inner()).clone();
    inner.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(inner)))
}

fn bind(host: &str, port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let socket = TcpListener::bind(addresses.as_slice())?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// What the limit on open files leaves for connections.
fn most_connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    files.map_or(MOST_CONNECTIONS, |files| files.saturating_sub(OTHER_FILES).clamp(64, MOST_CONNECTIONS))
}

/// Lets in as many connections as there are places; the next one is closed at once, which its
/// client sees as a refused connection, instead of waiting inside without a bound.
#[derive(Clone)]
struct Gate {
    places: Arc<Semaphore>,
}

impl<I: Send + 'static, S: Send + 'static> Accept<I, S> for Gate {
    type Stream = Placed<I>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Placed<I>, S)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        std::future::ready(match self.places.clone().try_acquire_owned() {
            Ok(place) => Ok((Placed { stream, _place: place }, service)),
            Err(_) => Err(io::Error::other("too many connections")),
        })
    }
}

/// A connection and its place, which is free again when the connection is dropped.
struct Placed<I> {
    stream: I,
    _place: OwnedSemaphorePermit,
}

impl<I: AsyncRead + Unpin> AsyncRead for Placed<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Placed<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
