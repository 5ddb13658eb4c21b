//! Connections to backends that speak HTTP/2, each shared by many requests.
//!
//! # Theory of operation
//! A service keeps the connections to each backend. A request takes a stream of the first that has
//! room: fewer streams open than the backend allows. If none has, one more connection is made, and
//! nothing is sent on it before the backend's settings are here: so a backend that speaks something
//! else gets no request. Who needs a connection meanwhile waits for that one. A connection takes no more requests once the backend said
//! GOAWAY, was found to be out, or let a request wait in vain; its streams go on. One that had no
//! stream for the idle time is closed.
//!
//! A stream that the backend refused, or that GOAWAY says was not looked at, was not processed: such
//! a request may be sent again whatever its method (RFC 9113 section 8.7).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::header::CONTENT_LENGTH;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use super::body::{Incoming, Outgoing};
use super::guard::{Alarm, Guard};
use super::head;
use crate::buffer::Buffer;
use crate::destination::Destination;
use crate::failure::Failure;
use crate::http1::framing::Framing;
use crate::http1::scan::{Extent, Scanner};
use crate::limits::{H2_LINK_WINDOW, H2_SEND_BUFFER, H2_STREAM_WINDOW, HEAD_BYTES};
use crate::side::{Backend, Sink, Source};
use crate::stats::Stats;
use crate::upstream::{Connect, Tried, Turn, Way};

/// The connections of a service to its backends, by the backend's index.
#[derive(Default)]
pub(crate) struct Links {
    backends: RefCell<Vec<Rc<Backends>>>,
}

/// The connections to one backend.
#[derive(Default)]
struct Backends {
    links: RefCell<Vec<Rc<Link>>>,
    /// Held by who makes a connection.
    connecting: Mutex<()>,
}

/// One connection.
struct Link {
    sender: RefCell<SendRequest<Bytes>>,
    /// Where it leads to: after a reload an index may mean another backend.
    address: SocketAddr,
    /// Inside TLS.
    secure: bool,
    /// How often the backend had been out when it was made.
    outages: u32,
    /// Streams that are open.
    live: Cell<usize>,
    /// When the last of them ended.
    idle_since: Cell<Instant>,
    used: Cell<bool>,
    /// It takes no more requests.
    left: Cell<bool>,
    /// Told when the backend's settings are here, or will not come.
    change: Notify,
}

impl Link {
    /// Whether the backend has said how many streams it takes. It must say something first.
    fn is_settled(&self) -> bool {
        self.sender.borrow().current_max_send_streams() > 0
    }

    /// Waits for the backend's settings; false if the connection ends before.
    async fn settle(&self) -> bool {
        while !self.is_settled() && !self.left.get() {
            self.change.notified().await;
        }
        !self.left.get()
    }

    /// Whether it takes one more request.
    fn has_room(&self) -> bool {
        let mut sender = self.sender.borrow_mut();
        let mut cx = Context::from_waker(Waker::noop());
        match sender.poll_ready(&mut cx) {
            Poll::Ready(Ok(())) => self.live.get() < sender.current_max_send_streams(),
            Poll::Ready(Err(_)) => {
                self.left.set(true);
                false
            }
            Poll::Pending => false,
        }
    }
}

impl Backends {
    /// A stream of the first connection that has room; forgets those that are no longer good.
    fn stream(&self, turn: &Turn) -> Option<Stream> {
        let mut links = self.links.borrow_mut();
        links.retain(|link| {
            !link.left.get() && link.address == turn.address && link.outages == turn.outages
        });
        let link = links.iter().find(|link| link.has_room())?;
        Some(Stream::new(Rc::clone(link)))
    }
}

/// A stream to the backend of `turn`, which is one of `to`, of one of `links` or a new one, and whether its connection has been used before.
///
/// None if there is none to be had, which `tried` notes.
pub(crate) async fn reach<C: Connect>(
    (to, stats): (&Destination<C>, &Stats),
    links: &Links,
    way: &Way<'_, C>,
    turn: &Turn,
    tried: &mut Tried,
) -> Option<(Stream, bool)> {
    let backends = links.backend(turn.backend);
    if let Some(stream) = backends.stream(turn) {
        stats.upstream_reuses.bump();
        let used = stream.link.used.replace(true);
        return Some((stream, used));
    }
    let limit = way.timeouts.connect;
    let Ok(_turn) = tokio::time::timeout(limit, backends.connecting.lock()).await else {
        turn.failed();
        tried.note(turn, true);
        return None;
    };
    if let Some(stream) = backends.stream(turn) {
        let used = stream.link.used.replace(true);
        return Some((stream, used));
    }
    let connected = way.connect(turn, tried).await?;
    let secure = C::is_secure(&connected);
    let alarm = Alarm::default();
    let guard = Guard::of_backend(connected, Rc::clone(&alarm));
    let handshake = Builder::new()
        .enable_push(false)
        // Until its settings are here.
        .initial_max_send_streams(0)
        .initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_LINK_WINDOW)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_send_buffer_size(H2_SEND_BUFFER)
        .handshake(guard)
        .await;
    let Ok((sender, connection)) = handshake else {
        turn.failed();
        tried.note(turn, false);
        return None;
    };
    stats.upstream_connects.bump();
    let link = Rc::new(Link {
        sender: RefCell::new(sender),
        address: turn.address,
        secure,
        outages: turn.outages,
        live: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        used: Cell::new(true),
        left: Cell::new(false),
        change: Notify::new(),
    });
    backends.links.borrow_mut().push(Rc::clone(&link));
    let lifetime = to.limits.idle_lifetime;
    let drive = drive(connection, alarm, Rc::downgrade(&link), Rc::downgrade(&backends), lifetime);
    tokio::task::spawn_local(drive);
    match tokio::time::timeout(limit, link.settle()).await {
        Ok(true) => Some((Stream::new(link), false)),
        settled => {
            link.left.set(true);
            turn.failed();
            tried.note(turn, settled.is_err());
            None
        }
    }
}

impl Links {
    fn backend(&self, index: usize) -> Rc<Backends> {
        let mut backends = self.backends.borrow_mut();
        if backends.len() <= index {
            backends.resize_with(index + 1, Rc::default);
        }
        backends.get(index).cloned().unwrap_or_default()
    }

    /// How many connections to `backend` take requests.
    pub(crate) fn count(&self, backend: usize) -> usize {
        let backends = self.backends.borrow();
        let links = backends.get(backend).map(|backend| backend.links.borrow());
        links.map_or(0, |links| links.iter().filter(|link| !link.left.get()).count())
    }
}

/// Moves the frames of a connection, until it has ended. Nobody who could send a request is left once
/// it is taken out of the list, and then it ends in order.
async fn drive<T: AsyncRead + AsyncWrite + Unpin>(
    connection: Connection<Guard<T>, Bytes>,
    alarm: Alarm,
    link: Weak<Link>,
    backends: Weak<Backends>,
    lifetime: Duration,
) {
    let leave = || {
        let (Some(link), Some(backends)) = (link.upgrade(), backends.upgrade()) else { return };
        link.left.set(true);
        link.change.notify_waiters();
        backends.links.borrow_mut().retain(|other| !Rc::ptr_eq(other, &link));
    };
    let mut connection = pin!(connection);
    let mut settled = false;
    let mut wait = pin!(tokio::time::sleep(lifetime));
    poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        if polled.is_ready() || alarm.get().is_some() {
            return Poll::Ready(());
        }
        if !settled && let Some(link) = link.upgrade() {
            settled = link.is_settled();
            if settled {
                link.change.notify_waiters();
            }
        }
        while wait.as_mut().poll(cx).is_ready() {
            let Some(link) = link.upgrade() else { return Poll::Pending };
            let idle =
                if link.live.get() > 0 { Duration::ZERO } else { link.idle_since.get().elapsed() };
            if idle >= lifetime {
                drop(link);
                leave();
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            wait.as_mut().reset(Instant::now() + lifetime - idle);
        }
        Poll::Pending
    })
    .await;
    leave();
}

/// A backend's side of one exchange: a stream, once the head is sent.
pub(crate) struct Stream {
    link: Rc<Link>,
    response: Option<ResponseFuture>,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
    text: Vec<u8>,
}

impl Stream {
    fn new(link: Rc<Link>) -> Self {
        link.live.set(link.live.get() + 1);
        Self { link, response: None, outgoing: None, incoming: None, text: Vec::new() }
    }

    /// Lets the connection take no more requests: one waited on it in vain.
    pub(crate) fn suspect(&self) {
        self.link.left.set(true);
    }

    /// Writes a head as text in front of `input`.
    fn put_head(
        &mut self,
        head: &http::Response<()>,
        input: &mut Buffer,
    ) -> Result<Extent, Failure> {
        self.text.clear();
        head::response_text(head, &mut self.text).map_err(Failure::BadResponse)?;
        input.push(&self.text);
        Ok(Extent { start: 0, end: self.text.len() })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.link.live.set(self.link.live.get().saturating_sub(1));
        self.link.idle_since.set(Instant::now());
    }
}

/// What an error before the answer means for the request.
fn failure(error: &h2::Error) -> Failure {
    let refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    // Only streams that the backend did not look at end by its GOAWAY.
    let passed_over = error.is_go_away();
    if error.is_remote() && (refused || passed_over) {
        Failure::Unprocessed
    } else {
        Failure::Closed
    }
}

impl Backend for Stream {
    fn carries_trailers(&self) -> bool {
        true
    }

    fn framing_up(&self, framing: Framing) -> Framing {
        match framing {
            Framing::Chunked => Framing::UntilClose,
            same => same,
        }
    }

    fn send_head(&mut self, text: &[u8], framing: Framing, _: &mut Buffer) -> Result<(), Failure> {
        let request = head::request(text, self.link.secure).ok_or(Failure::Closed)?;
        let sent = self.link.sender.borrow_mut().send_request(request, framing.is_empty());
        let (response, stream) = sent.map_err(|error| failure(&error))?;
        self.response = Some(response);
        self.outgoing = Some(Outgoing::new(stream, framing));
        Ok(())
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        _: &mut Scanner,
        input: &mut Buffer,
    ) -> Poll<Result<Extent, Failure>> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(Failure::Closed));
        };
        match response.poll_informational(cx) {
            Poll::Ready(Some(Ok(head))) => return Poll::Ready(self.put_head(&head, input)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(failure(&error))),
            Poll::Ready(None) => {}
            Poll::Pending => return Poll::Pending,
        }
        let answer = ready!(Pin::new(response).poll(cx)).map_err(|error| failure(&error))?;
        let (parts, body) = answer.into_parts();
        let mut incoming = Incoming::new(body);
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        if let Some(length) = length.and_then(|length| length.parse().ok()) {
            incoming.declare(length);
        }
        self.incoming = Some(incoming);
        Poll::Ready(self.put_head(&http::Response::from_parts(parts, ()), input))
    }

    fn framing_down(&self, framing: Framing) -> Framing {
        let ended = self.incoming.as_ref().is_none_or(Incoming::is_empty);
        match framing {
            Framing::None => Framing::None,
            Framing::UntilClose if ended => Framing::None,
            // END_STREAM came with a head that promises a body, which then is cut off.
            promised if ended => promised,
            _ => Framing::UntilClose,
        }
    }
}

impl Source for Stream {
    fn taken(&mut self, count: u64) {
        if let Some(incoming) = &mut self.incoming {
            incoming.taken(count);
        }
    }

    fn trailers(&mut self, lines: &mut Vec<u8>) {
        if let Some(incoming) = &mut self.incoming {
            incoming.trailers(lines);
        }
    }
}

impl Sink for Stream {
    fn finish(&mut self, trailers: &[u8]) -> io::Result<()> {
        self.outgoing.as_mut().map_or_else(gone, |outgoing| outgoing.finish(trailers))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let incoming = self.incoming.as_mut();
        incoming.map_or_else(|| Poll::Ready(gone()), |incoming| incoming.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outgoing = self.outgoing.as_mut();
        outgoing.map_or_else(|| Poll::Ready(gone()), |outgoing| outgoing.poll_write(cx, data))
    }

    /// What is written is the connection's to send.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish(&[]))
    }
}

fn gone<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotConnected.into())
}
