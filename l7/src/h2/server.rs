//! Connections of clients that speak HTTP/2.
//!
//! # Theory of operation
//! One task moves the connection's frames and takes requests off it; each request is a task of its
//! own, which holds a seat with the buffers of an exchange. No more requests are taken than may be
//! open at once, even if their streams are already gone: a client that cancels at once gains nothing
//! by it.
//!
//! A connection ends in one of three ways. In order, after it had no stream for the idle time, or when
//! the service drains: GOAWAY, then the streams that are open are served to their end, then it closes.
//! With `ENHANCE_YOUR_CALM`, if the [guard](super::guard) raises its alarm. Or because the client is gone,
//! which all its streams notice.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};

use super::guard::{Alarm, Guard};
use super::stream::{self, Seat};
use crate::deadline::Deadline;
use crate::limits::{
    H2_CONNECTION_WINDOW, H2_ERROR_RESETS, H2_SEATS, H2_SEND_BUFFER, H2_STREAM_WINDOW, HEAD_BYTES,
    LINGER_TIME,
};
use crate::request::Origin;
use crate::service::Service;
use crate::upstream::Connect;

/// What the requests of one connection share.
pub(super) struct Shared<C: Connect> {
    pub(super) service: Rc<Service<C>>,
    pub(super) origin: Origin<C::Stream>,
    /// Requests in progress.
    live: Cell<usize>,
    /// Of the connection's task, which waits for one of them to end.
    waker: RefCell<Option<Waker>>,
}

impl<C: Connect> Shared<C> {
    pub(super) fn take_seat(&self) -> Seat {
        self.service.seats.borrow_mut().pop().unwrap_or_else(Seat::new)
    }

    pub(super) fn put_seat(&self, mut seat: Seat) {
        let mut seats = self.service.seats.borrow_mut();
        if seats.len() < H2_SEATS {
            seat.clear();
            seats.push(seat);
        }
    }

    fn is_full(&self) -> bool {
        self.live.get() >= self.service.config.http2.streams as usize
    }

    fn register(&self, waker: &Waker) {
        let mut registered = self.waker.borrow_mut();
        match registered.as_mut() {
            Some(registered) => registered.clone_from(waker),
            None => *registered = Some(waker.clone()),
        }
    }
}

/// A request in progress: counts as one as long as it lives.
pub(super) struct Live<C: Connect>(Rc<Shared<C>>);

impl<C: Connect> Live<C> {
    fn new(shared: &Rc<Shared<C>>) -> Self {
        shared.live.set(shared.live.get() + 1);
        Self(Rc::clone(shared))
    }
}

impl<C: Connect> Deref for Live<C> {
    type Target = Shared<C>;

    fn deref(&self) -> &Shared<C> {
        &self.0
    }
}

impl<C: Connect> Drop for Live<C> {
    fn drop(&mut self) {
        let was_full = self.is_full();
        self.live.set(self.live.get() - 1);
        if (was_full || self.live.get() == 0)
            && let Some(waker) = self.waker.borrow().as_ref()
        {
            waker.wake_by_ref();
        }
    }
}

/// Serves a client whose connection begins, or is about to begin, with the preface of HTTP/2.
pub(crate) async fn serve<S, C>(client: S, mut origin: Origin<C::Stream>, service: Rc<Service<C>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    origin.multiplexed = true;
    let alarm = Alarm::default();
    let guard = Guard::of_client(client, Rc::clone(&alarm));
    let config = &service.config;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(config.http2.streams)
        .max_header_list_size(HEAD_BYTES as u32)
        .initial_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buffer_size(H2_SEND_BUFFER)
        .max_local_error_reset_streams(Some(H2_ERROR_RESETS));
    if service.takes_websockets() {
        builder.enable_connect_protocol();
    }
    let handshake = tokio::time::timeout(config.timeouts.head, builder.handshake(guard));
    let Ok(Ok(connection)) = handshake.await else {
        tracing::debug!(peer = %origin.ends.client, "no preface of HTTP/2");
        return;
    };
    let deadline = Deadline::after(config.timeouts.idle);
    let (live, waker) = (Cell::new(0), RefCell::default());
    let shared = Rc::new(Shared { service, origin, live, waker });
    let private = Rc::clone(&shared);
    Driver { connection, shared, alarm, deadline, ending: false, busy: false }.run().await;
    if let Some(private) = &private.origin.private {
        private.clear();
    }
}

/// What comes next of a connection.
#[expect(clippy::large_enum_variant, reason = "the large one is the common one")]
enum Next {
    Request(http::Request<RecvStream>, SendResponse<Bytes>),
    /// It has been idle for too long, or the service drains.
    Leave,
    Flood,
    Ended,
}

/// A connection's own task.
struct Driver<S: AsyncRead + AsyncWrite + Unpin, C: Connect> {
    connection: Connection<Guard<S>, Bytes>,
    shared: Rc<Shared<C>>,
    alarm: Alarm,
    deadline: Deadline,
    /// GOAWAY was sent.
    ending: bool,
    /// There were requests in progress when it was last looked at.
    busy: bool,
}

impl<S, C> Driver<S, C>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    async fn run(mut self) {
        let service = Rc::clone(&self.shared.service);
        let mut drained = pin!(service.drained());
        loop {
            let next = poll_fn(|cx| {
                if !self.ending && drained.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Next::Leave);
                }
                self.poll_next(cx)
            });
            match next.await {
                Next::Request(request, respond) => {
                    // Counted before its task runs: the next request is taken before that.
                    let live = Live::new(&self.shared);
                    tokio::task::spawn_local(stream::serve(live, request, respond));
                }
                Next::Leave => {
                    self.ending = true;
                    self.deadline.restart(LINGER_TIME);
                    self.connection.graceful_shutdown();
                }
                Next::Flood => {
                    service.stats.floods.bump();
                    let peer = self.shared.origin.ends.client;
                    tracing::debug!(%peer, flood = ?self.alarm.get(), "connection ended");
                    self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                    let closed = poll_fn(|cx| self.connection.poll_closed(cx));
                    let _ = tokio::time::timeout(LINGER_TIME, closed).await;
                    return;
                }
                Next::Ended => return,
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let polled = if self.shared.is_full() {
            self.connection.poll_closed(cx).map(|_| None)
        } else {
            self.connection.poll_accept(cx)
        };
        if self.alarm.get().is_some() {
            return Poll::Ready(Next::Flood);
        }
        match polled {
            Poll::Ready(Some(Ok((request, respond)))) => {
                return Poll::Ready(Next::Request(request, respond));
            }
            Poll::Ready(None | Some(Err(_))) => return Poll::Ready(Next::Ended),
            Poll::Pending => {}
        }
        self.shared.register(cx.waker());
        if self.shared.live.get() > 0 {
            self.busy = true;
            return Poll::Pending;
        }
        if std::mem::take(&mut self.busy) {
            let timeouts = &self.shared.service.config.timeouts;
            self.deadline.restart(if self.ending { LINGER_TIME } else { timeouts.idle });
        }
        match self.deadline.poll(cx) {
            Poll::Ready(()) if self.ending => Poll::Ready(Next::Ended),
            Poll::Ready(()) => Poll::Ready(Next::Leave),
            Poll::Pending => Poll::Pending,
        }
    }
}
