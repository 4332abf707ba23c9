//! A line between a client and a server that can be cut, made half-open, slowed and healed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// What is read at once.
const CHUNK: usize = 16 * 1024;
/// How many chunks are under way in one direction.
const UNDER_WAY: usize = 256;

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Whole,
    Cut,
    HalfOpen,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    state: State,
    /// From client to server.
    there: Duration,
    /// From server to client.
    back: Duration,
    /// How often it has been cut; a connection lives until the next one.
    cuts: u64,
    /// How often all connections have been forgotten.
    forgotten: u64,
}

#[derive(Clone, Copy)]
enum Direction {
    There,
    Back,
}

impl Line {
    /// Whether what a connection carries is swallowed that was made after so many times of forgetting.
    fn swallows(&self, known: u64) -> bool {
        self.state == State::HalfOpen || self.forgotten > known
    }

    fn latency(&self, direction: Direction) -> Duration {
        match direction {
            Direction::There => self.there,
            Direction::Back => self.back,
        }
    }
}

/// A proxy in front of one server, for any number of clients. It ends with all its connections when dropped.
pub struct Proxy {
    address: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    open: Arc<watch::Sender<usize>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A healthy line to a server, on a free port of 127.0.0.1.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let whole = Line { state: State::Whole, there: Duration::ZERO, back: Duration::ZERO, cuts: 0, forgotten: 0 };
        let line = Arc::new(watch::Sender::new(whole));
        let open = Arc::new(watch::Sender::new(0));
        let accepting = tokio::spawn(accept(listener, server, line.clone(), open.clone()));
        Ok(Self { address, line, open, accepting })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there are at this moment.
    pub fn connections(&self) -> usize {
        *self.open.borrow()
    }

    /// Resets all connections, on both sides, and every new one until [`heal`](Self::heal); answers when they are gone.
    pub async fn cut(&self) {
        self.line.send_modify(|line| {
            line.state = State::Cut;
            line.cuts += 1;
        });
        // Fails only when the sender is gone, which is this one's.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// From now on bytes are swallowed and nothing closes: connections look alive to both sides, new ones are accepted.
    pub fn half_open(&self) {
        self.line.send_modify(|line| line.state = State::HalfOpen);
    }

    /// From now on all connections of this moment swallow bytes, for good, and new ones are healthy: a firewall has forgotten
    /// them.
    pub fn forget(&self) {
        self.line.send_modify(|line| line.forgotten += 1);
    }

    /// From now on bytes arrive late, in order, by so much from client to server and from server to client.
    pub fn slow(&self, there: Duration, back: Duration) {
        self.line.send_modify(|line| {
            line.there = there;
            line.back = back;
        });
    }

    /// A healthy line again, without latency. Connections that lost bytes are reset, the others go on.
    pub fn heal(&self) {
        self.line.send_modify(|line| {
            line.state = State::Whole;
            line.there = Duration::ZERO;
            line.back = Duration::ZERO;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One open connection, counted.
struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    fn new(open: &Arc<watch::Sender<usize>>) -> Self {
        open.send_modify(|open| *open += 1);
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    line: Arc<watch::Sender<Line>>,
    open: Arc<watch::Sender<usize>>,
) {
    // They end with this set.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        // Counted last: dropped first are the sockets.
        let (counted, line) = (Counted::new(&open), line.subscribe());
        connections.spawn(async move {
            carry(client, server, line).await;
            drop(counted);
        });
    }
}

/// One connection from its first byte to its end.
async fn carry(mut client: TcpStream, server: SocketAddr, mut line: watch::Receiver<Line>) {
    let Line { state, cuts, forgotten, .. } = *line.borrow_and_update();
    if state == State::HalfOpen {
        // The kernel holds what the client sends; nobody else ever hears of it.
        let _ = line.wait_for(|line| line.state != State::HalfOpen).await;
        return reset(client);
    }
    let connected = if state == State::Cut { None } else { TcpStream::connect(server).await.ok() };
    let Some(mut upstream) = connected else { return reset(client) };
    // Small messages go at once; without it they only go later.
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));

    let lost = AtomicBool::new(false);
    let was_forgotten = |line: &Line| line.forgotten > forgotten;
    let done = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = upstream.split();
        let there = pump(from_client, to_server, line.clone(), Direction::There, (&lost, forgotten));
        let back = pump(from_server, to_client, line.clone(), Direction::Back, (&lost, forgotten));
        let broken = line.wait_for(|line| {
            line.cuts != cuts || (line.state == State::Whole && !was_forgotten(line) && lost.load(Ordering::Relaxed))
        });
        tokio::select! {
            biased;
            _ = broken => false,
            done = async { tokio::try_join!(there, back) } => done.is_ok(),
        }
    };
    if !done {
        reset(client);
        reset(upstream);
    }
}

/// Closes a connection so that the other side sees a reset.
fn reset(connection: TcpStream) {
    // A connection that cannot be told so is closed already.
    let _ = connection.set_zero_linger();
}

/// One direction of a connection until its sender has ended it and all has arrived; notes whether bytes were lost.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    line: watch::Receiver<Line>,
    direction: Direction,
    (lost, known): (&AtomicBool, u64),
) -> io::Result<()> {
    let (under_way, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let swallows = || line.borrow().swallows(known);
    let leave = async {
        // Ended by leaving the block, which ends the other one when all has arrived.
        let under_way = under_way;
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).await;
            if swallows() {
                lost.store(true, Ordering::Relaxed);
                if !matches!(read, Ok(length) if length > 0) {
                    // An end is swallowed, too.
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let length = read?;
            if length == 0 {
                return Ok(());
            }
            let due = Instant::now() + line.borrow().latency(direction);
            if under_way.send((due, chunk[..length].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let arrive = async {
        while let Some((due, bytes)) = arriving.recv().await {
            if due > Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            if swallows() {
                lost.store(true, Ordering::Relaxed);
                continue;
            }
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(leave, arrive).map(|_: ((), ())| ())
}

#[cfg(test)]
mod tests;
