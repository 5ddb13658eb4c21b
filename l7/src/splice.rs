//! Mode `tcp`: two connections, the bytes between them untouched.
//!
//! # Theory of operation
//! A backend is chosen and connected, the next one if that fails. If the service says so, a PROXY
//! header is the first that the backend is sent. Then both directions are copied
//! at once through bounded buffers. When one side ends, the other is shut down for writing and the
//! opposite direction goes on (half-close). When one side fails, or nothing moves for too long, both
//! are dropped without shutdown, which the streams should turn into resets.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::buffer::Buffer;
use crate::deadline::Deadline;
use crate::http1::framing::Framing;
use crate::proxy_protocol::Version;
use crate::relay::Relay;
use crate::side::{Plain, Sink, Source};
use crate::stats::{Counter, SpliceStats};
use crate::timeouts::Timeouts;
use crate::upstream::{self, Balance, Connect, Tried};

/// What all connections of a splice service share.
pub struct SpliceService<C: Connect> {
    connector: C,
    balance: Rc<dyn Balance>,
    timeouts: Timeouts,
    proxy_protocol: Option<Version>,
    stats: SpliceStats,
}

impl<C: Connect> SpliceService<C> {
    /// A service that has done nothing yet. Of `timeouts` it uses `connect` and `tunnel`.
    pub fn new(connector: C, balance: Rc<dyn Balance>, timeouts: Timeouts) -> Self {
        let stats = SpliceStats::default();
        Self { connector, balance, timeouts, proxy_protocol: None, stats }
    }

    /// The same, whose backends are told of each client by a PROXY header.
    #[must_use]
    pub const fn with_proxy_protocol(mut self, version: Option<Version>) -> Self {
        self.proxy_protocol = version;
        self
    }

    /// What it did so far.
    pub const fn stats(&self) -> &SpliceStats {
        &self.stats
    }
}

impl<C: Connect> fmt::Debug for SpliceService<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpliceService").field("stats", &self.stats).finish_non_exhaustive()
    }
}

/// Serves one client connection to its end: from `peer`, made to `local`.
pub async fn splice<S, C>(
    client: S,
    peer: SocketAddr,
    local: SocketAddr,
    service: Rc<SpliceService<C>>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    let stats = &service.stats;
    stats.connections.bump();
    let mut tried = Tried::default();
    let (turn, upstream) = loop {
        let Ok(turn) = upstream::choose(&service.balance, peer, &tried) else {
            stats.refused.bump();
            return;
        };
        let limit = service.timeouts.connect;
        match upstream::connect(&service.connector, &turn, limit, &mut tried).await {
            Some(stream) => break (turn, stream),
            None => stats.upstream_failures.bump(),
        }
    };
    turn.succeeded();
    turn.answered();
    stats.count_connected_to(turn.backend);
    let [mut client_in, mut client_out, mut upstream_in, mut upstream_out] =
        [const { Buffer::new() }; 4];
    if let Some(version) = service.proxy_protocol {
        // What is already in a tunnel's buffer leaves before anything that it reads.
        upstream_out.push(&version.header(peer, local));
    }
    let tunnel = Tunnel {
        client: &mut Plain(client),
        upstream: &mut Plain(upstream),
        client_in: &mut client_in,
        client_out: &mut client_out,
        upstream_in: &mut upstream_in,
        upstream_out: &mut upstream_out,
        deadline: &mut Deadline::after(service.timeouts.tunnel),
        idle: service.timeouts.tunnel,
        bytes_up: &stats.bytes_up,
        bytes_down: &stats.bytes_down,
    };
    if !tunnel.run().await {
        stats.aborted.bump();
    }
}

/// Two streams to be joined, and what their buffers already hold.
pub(crate) struct Tunnel<'a, S, U> {
    pub(crate) client: &'a mut S,
    pub(crate) upstream: &'a mut U,
    pub(crate) client_in: &'a mut Buffer,
    pub(crate) client_out: &'a mut Buffer,
    pub(crate) upstream_in: &'a mut Buffer,
    pub(crate) upstream_out: &'a mut Buffer,
    pub(crate) deadline: &'a mut Deadline,
    pub(crate) idle: Duration,
    pub(crate) bytes_up: &'a Counter,
    pub(crate) bytes_down: &'a Counter,
}

impl<S, U> Tunnel<'_, S, U>
where
    S: Source + Sink,
    U: Source + Sink,
{
    /// Copies until both sides have ended. False if it had to be cut off.
    pub(crate) async fn run(self) -> bool {
        let (mut up, mut down) = (Direction::new(), Direction::new());
        self.deadline.restart(self.idle);
        poll_fn(|cx| {
            let moved_up =
                up.poll(cx, self.client, self.client_in, self.upstream, self.upstream_out);
            let moved_down =
                down.poll(cx, self.upstream, self.upstream_in, self.client, self.client_out);
            let (Ok(moved_up), Ok(moved_down)) = (moved_up, moved_down) else {
                return Poll::Ready(false);
            };
            self.client.taken(moved_up);
            self.upstream.taken(moved_down);
            self.bytes_up.add(moved_up);
            self.bytes_down.add(moved_down);
            if up.stage == Stage::Ended && down.stage == Stage::Ended {
                return Poll::Ready(true);
            }
            if moved_up + moved_down > 0 {
                self.deadline.restart(self.idle);
            }
            self.deadline.poll(cx).map(|()| false)
        })
        .await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Copying,
    ShuttingDown,
    Ended,
}

struct Direction {
    relay: Relay,
    stage: Stage,
}

impl Direction {
    fn new() -> Self {
        let relay = Relay::new(Framing::UntilClose, Framing::UntilClose);
        Self { relay, stage: Stage::Copying }
    }

    /// Moves what can be moved; how many bytes that was.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        input: &mut Buffer,
        sink: &mut W,
        output: &mut Buffer,
    ) -> Result<u64, ()>
    where
        R: Source,
        W: Sink,
    {
        let before = self.relay.moved;
        if self.stage == Stage::Copying {
            match self.relay.poll(cx, source, input, sink, output) {
                Poll::Ready(Ok(())) => self.stage = Stage::ShuttingDown,
                Poll::Ready(Err(_)) => return Err(()),
                Poll::Pending => {}
            }
        }
        if self.stage == Stage::ShuttingDown {
            match Pin::new(sink).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.stage = Stage::Ended,
                Poll::Ready(Err(_)) => return Err(()),
                Poll::Pending => {}
            }
        }
        Ok(self.relay.moved - before)
    }
}
