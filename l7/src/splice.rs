//! Mode `tcp`: two connections, the bytes between them untouched.
//!
//! # Theory of operation
//! If the client is one that begins with a PROXY header, that is read first. If there are server names, the
//! client's hello is read next, as far as a bound in bytes and time, and the pool is that of the name it
//! asks for; nothing is decrypted, and what was read is the first that the backend gets. A client without
//! a pool is told so in a TLS alert, if it speaks TLS, and counted by the [reason](Unserved). A client whose
//! TLS passes through has it with the backend itself: none is put around it.
//!
//! Then a backend is chosen and connected, the next one if that fails. If the service says so, a PROXY
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

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::buffer::Buffer;
use crate::deadline::Deadline;
use crate::http1::framing::Framing;
use crate::limits::LINGER_TIME;
use crate::log::{AccessLog, Record};
use crate::proxy_protocol::{Ends, ProxyFrom, Version};
use crate::relay::Relay;
use crate::side::{Plain, Sink, Source};
use crate::stats::{Counter, PerBackend, SpliceStats};
use crate::timeouts::Timeouts;
use crate::tls::hello::{self, NotHello, Progress};
use crate::tls::names::Names;
use crate::transaction::Watched;
use crate::unserved::Unserved;
use crate::upstream::{self, Balance, Connect, History, NoUpstream, Pool, Tried, Turn};

/// What all connections of a splice service share.
pub struct SpliceService<C: Connect> {
    default: Option<Rc<Target<C>>>,
    by_name: Names<Rc<Target<C>>>,
    timeouts: Timeouts,
    proxy_protocol: Option<Version>,
    proxy_from: ProxyFrom,
    stats: SpliceStats,
    log: Option<Rc<AccessLog>>,
}

/// Where connections go to: a pool, and how its backends are reached.
pub struct Target<C: Connect> {
    connector: C,
    balance: Rc<dyn Balance>,
    pool: Option<Rc<Pool<C::Stream>>>,
    by_backend: PerBackend,
}

impl<C: Connect> Target<C> {
    /// A target that nothing went to yet.
    pub fn new(connector: C, balance: Rc<dyn Balance>) -> Self {
        Self { connector, balance, pool: None, by_backend: PerBackend::default() }
    }

    /// The same with connections that were made ahead, which others may share whose connectors do the
    /// same as its own.
    #[must_use]
    pub fn with_pool(mut self, pool: Rc<Pool<C::Stream>>) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Connections made to each backend, by its index in the pool.
    pub fn connections_by_backend(&self) -> Vec<u64> {
        self.by_backend.counts()
    }
}

impl<C: Connect> SpliceService<C> {
    /// A service that has done nothing yet. Of `timeouts` it uses `connect`, `handshake` and `tunnel`.
    pub fn new(connector: C, balance: Rc<dyn Balance>, timeouts: Timeouts) -> Self {
        let target = Rc::new(Target::new(connector, balance));
        Self::by_name(Some(target), Names::default(), timeouts)
    }

    /// A service whose clients go where the server name says that they ask for by TLS; to `default` if
    /// there is no target for it, or if they name none. With no `names` at all nothing is looked at.
    pub fn by_name(
        default: Option<Rc<Target<C>>>,
        names: Names<Rc<Target<C>>>,
        timeouts: Timeouts,
    ) -> Self {
        Self {
            default,
            by_name: names,
            timeouts,
            proxy_protocol: None,
            proxy_from: ProxyFrom::default(),
            stats: SpliceStats::default(),
            log: None,
        }
    }

    /// The same, whose connections are written to `log`.
    #[must_use]
    pub fn with_log(mut self, log: Option<Rc<AccessLog>>) -> Self {
        self.log = log;
        self
    }

    /// Connections made to each backend of the default target, by its index in the pool.
    pub fn connections_by_backend(&self) -> Vec<u64> {
        self.default.as_deref().map(Target::connections_by_backend).unwrap_or_default()
    }

    /// The same, whose backends are told of each client by a PROXY header.
    #[must_use]
    pub fn with_proxy_protocol(self, version: Option<Version>) -> Self {
        Self { proxy_protocol: version, ..self }
    }

    /// The same, that is told of clients by PROXY headers of these peers.
    #[must_use]
    pub fn with_proxy_from(self, peers: ProxyFrom) -> Self {
        Self { proxy_from: peers, ..self }
    }

    /// What it did so far.
    pub const fn stats(&self) -> &SpliceStats {
        &self.stats
    }

    /// Where clients go by `hello`.
    fn target(&self, hello: Result<Option<String>, Unserved>) -> Result<&Target<C>, Unserved> {
        let otherwise = |reason| self.default.as_deref().ok_or(reason);
        match hello {
            Ok(Some(name)) => {
                let found = self.by_name.find(&name);
                found.map_or_else(
                    || otherwise(Unserved::UnknownServerName),
                    |found| Ok(found.as_ref()),
                )
            }
            Ok(None) => otherwise(Unserved::NoServerName),
            Err(reason @ Unserved::NotTls) => otherwise(reason),
            Err(reason) => Err(reason),
        }
    }
}

impl<C: Connect> fmt::Debug for SpliceService<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpliceService").field("stats", &self.stats).finish_non_exhaustive()
    }
}

impl<C: Connect> fmt::Debug for Target<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("by_backend", &self.by_backend).finish_non_exhaustive()
    }
}

/// Serves one client connection to its end: from `peer`, made to `local`.
pub async fn splice<S, C>(
    mut client: S,
    peer: SocketAddr,
    local: SocketAddr,
    service: Rc<SpliceService<C>>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    let stats = &service.stats;
    stats.connections.bump();
    let began = Instant::now();
    let mut client_in = Buffer::new();
    let opened = match open(&mut client, peer, local, &service, &mut client_in).await {
        Ok(opened) => opened,
        Err(reason) => {
            tracing::debug!(%peer, reason = reason.name(), "client closed: {reason}");
            stats.unserved.bump(reason);
            return turn_away(client, reason).await;
        }
    };
    let watched = Watched::new(None, peer, local, false);
    let wire = Ends { client: peer, service: local };
    let ends = (opened.ends.client, wire);
    let mut record = Record::new(watched, service.log.as_ref(), ends, "tcp");
    record.begin(Some(0), began);
    let mut client = Plain(client);
    let reached = reach(&service, &opened, (&mut client, &mut client_in), &mut record).await;
    let (turn, upstream, early) = match reached {
        Ok(reached) => reached,
        Err(none) => {
            stats.refused.bump();
            record.ended(none.end());
            return record.finish(0, &stats.ends);
        }
    };
    turn.succeeded();
    stats.upstream_connects.bump();
    opened.target.by_backend.bump(turn.backend);
    let near = C::local_addr(&upstream);
    let [mut client_out, mut upstream_in, mut upstream_out] = [const { Buffer::new() }; 3];
    upstream_in.push(early.as_slice());
    let tunnel = Tunnel {
        client: &mut client,
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
    let moved = tunnel.run().await;
    if !moved.is_whole {
        stats.aborted.bump();
    }
    record.tunnelled(near, &moved);
    record.finish(0, &stats.ends);
}

/// A client that is known well enough to be connected.
struct Opened<'a, C: Connect> {
    ends: Ends,
    target: &'a Target<C>,
    /// It speaks TLS with the backend itself.
    through: bool,
}

/// Reads what tells who the client is and where it wants to go, as far as that is of use.
async fn open<'a, S, C>(
    client: &mut S,
    peer: SocketAddr,
    local: SocketAddr,
    service: &'a SpliceService<C>,
    input: &mut Buffer,
) -> Result<Opened<'a, C>, Unserved>
where
    S: AsyncRead + Unpin,
    C: Connect,
{
    let limit = service.timeouts.handshake;
    let ends = service.proxy_from.receive(client, peer, local, limit).await?;
    if let (Some(target), true) = (&service.default, service.by_name.is_empty()) {
        return Ok(Opened { ends, target, through: false });
    }
    let hello = tokio::time::timeout(limit, read_hello(client, input)).await;
    let hello = hello.unwrap_or(Err(Unserved::SlowHello));
    let through = hello.is_ok();
    Ok(Opened { ends, target: service.target(hello)?, through })
}

/// Reads the client's hello into `input`, where it stays; the name that it asks for.
async fn read_hello<S: AsyncRead + Unpin>(
    client: &mut S,
    input: &mut Buffer,
) -> Result<Option<String>, Unserved> {
    loop {
        let missing = match hello::server_name(input.filled()) {
            Ok(Progress::Whole(name)) => return Ok(name),
            Ok(Progress::Missing(count)) => count,
            Err(NotHello::OtherProtocol) => return Err(Unserved::NotTls),
            Err(NotHello::TooLong) => return Err(Unserved::LongHello),
            Err(NotHello::Malformed(why)) => {
                tracing::debug!(why, "hello refused");
                return Err(Unserved::BadHello);
            }
        };
        let wanted = input.len() + missing;
        while input.len() < wanted {
            match poll_fn(|cx| input.poll_fill(cx, client)).await {
                Ok(0) | Err(_) => return Err(Unserved::HelloEnded),
                Ok(_) => {}
            }
        }
    }
}

/// Ends the connection of a client that is not served; in order if it is told why, else by a reset.
async fn turn_away<S: AsyncWrite + Unpin>(mut client: S, reason: Unserved) {
    let Some(alert) = reason.alert() else { return };
    let tell = async {
        client.write_all(&alert).await?;
        client.shutdown().await
    };
    // One that does not take even this is reset.
    let _ = tokio::time::timeout(LINGER_TIME, tell).await;
}

/// A connection to a backend that can be reached, and the first byte that has come of it, if one has.
async fn reach<S, C>(
    service: &SpliceService<C>,
    opened: &Opened<'_, C>,
    (client, input): (&mut Plain<S>, &mut Buffer),
    record: &mut Record,
) -> Result<(Turn, C::Stream, Option<u8>), NoUpstream>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Connect,
{
    let Opened { ends, target, through } = opened;
    let header = service.proxy_protocol.map(|version| version.header(ends.client, ends.service));
    let mut tried = Tried::default();
    loop {
        let watch = |cx: &mut Context<'_>| upstream::poll_gone(cx, client, input);
        let turn = upstream::take_turn(&target.balance, ends.client, &tried, watch).await?;
        record.tries(turn.address);
        let way = upstream::Way {
            connector: &target.connector,
            timeouts: &service.timeouts,
            header: header.as_deref().unwrap_or_default(),
            secure: !through,
        };
        let ready = target.pool.as_ref().and_then(|pool| pool.take(turn.backend, turn.address));
        if let Some((stream, History { early, .. })) = ready {
            if let Some(stream) = way.go_on(stream, &turn, &mut tried).await {
                record.reached(C::local_addr(&stream), turn.address, true);
                return Ok((turn, stream, early));
            }
        } else if let Some(stream) = way.connect(&turn, &mut tried).await {
            turn.answered();
            record.reached(C::local_addr(&stream), turn.address, false);
            return Ok((turn, stream, None));
        }
        service.stats.upstream_failures.bump();
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
    /// Copies until both sides have ended, or one failed.
    pub(crate) async fn run(self) -> Moved {
        let (mut up, mut down) = (Direction::new(), Direction::new());
        self.deadline.restart(self.idle);
        let is_whole = poll_fn(|cx| {
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
        .await;
        Moved { up: up.relay.moved, down: down.relay.moved, is_whole }
    }
}

/// What a tunnel came to.
pub(crate) struct Moved {
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// Both sides ended; else it had to be cut off.
    pub(crate) is_whole: bool,
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
