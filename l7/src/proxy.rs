//! HTTP/1 service: one task a client connection, every request balanced on its own.
//!
//! # Theory of operation
//! A connection is a loop: wait for a head, judge and re-encode it, exchange it with a backend,
//! decide whether the connection lives on. Requests that arrive early (pipelining) wait in the
//! connection's buffer, so responses leave in order; after an error what waits is thrown away (R14).
//! Nothing is spawned, nothing boxed and, once its buffers exist, nothing allocated for a request.
//!
//! A connection ends in one of three ways. Orderly: our side is shut down. Lingering: the same, and
//! what the client still sends is read and thrown away for a moment, so that the answer is not lost
//! to a reset. Aborted: dropped without shutdown, which the stream should turn into a reset, as
//! [`Orderly`](crate::orderly::Orderly) does; this is how a truncated response is told from a
//! complete one.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::accepted::Accepted;
use crate::buffer::{Begun, Buffer};
use crate::deadline::Deadline;
use crate::exchange::Buffers;
use crate::forward::{Forward, Outcome};
use crate::h2::{self, PREFACE};
use crate::http1::encode::{self, Delivery};
use crate::http1::framing::Framing;
use crate::http1::reject::{Reject, Rule};
use crate::http1::scan::{Extent, Scanner};
use crate::limits::{LINGER_BYTES, LINGER_TIME};
use crate::log::{End, Record};
use crate::request::{self, Origin, Request};
use crate::service::Service;
use crate::side::Plain;
use crate::upstream::Connect;

/// Serves one client connection to its end.
///
/// `peer` and `local` are its addresses, `secure` says that `client` is the inside of TLS. Must run
/// within a `LocalSet`.
pub async fn serve<S, C>(
    client: S,
    peer: SocketAddr,
    local: SocketAddr,
    secure: bool,
    service: Rc<Service<C>>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    let accepted = Accepted { secure, ..Accepted::plain(peer, local) };
    serve_accepted(client, accepted, service).await;
}

/// Serves one client connection of which that is known to its end.
pub(crate) async fn serve_accepted<S, C>(client: S, accepted: Accepted, service: Rc<Service<C>>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    service.stats.connections.bump();
    let private = service.private(accepted.ends);
    let origin = Origin::new(accepted, private);
    if origin.session.as_ref().is_some_and(|session| session.is_http2()) {
        return h2::server::serve(client, origin, service).await;
    }
    let plain = !origin.secure;
    let record = origin.record(&service);
    let deadline = Deadline::after(service.config.timeouts.idle);
    let mut connection =
        Connection { client, origin, service, deadline, buffers: Buffers::default(), record };
    if plain && connection.service.config.http2.prior_knowledge && connection.has_preface().await {
        return connection.continue_as_h2().await;
    }
    connection.run().await;
    if let Some(private) = &connection.origin.private {
        private.pool.clear();
    }
}

struct Connection<S, C: Connect> {
    client: S,
    origin: Origin<C::Stream>,
    service: Rc<Service<C>>,
    deadline: Deadline,
    buffers: Buffers,
    record: Record,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Keep,
    Close,
    Linger,
    Abort,
}

/// What waiting for a head came to.
enum Next {
    Head(Extent),
    Refused(Reject),
    Ended,
}

impl<S, C> Connection<S, C>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    async fn run(&mut self) {
        while let Some(extent) = self.next_head().await {
            match self.serve_request(extent).await {
                After::Keep => {}
                After::Close => return self.shutdown().await,
                After::Linger => return self.linger().await,
                After::Abort => return,
            }
        }
    }

    /// Reads on until it is clear whether the client begins with the preface of HTTP/2.
    async fn has_preface(&mut self) -> bool {
        let Self { client, buffers, deadline, service, .. } = self;
        let mut begun = false;
        let input = &mut buffers.client_in;
        poll_fn(|cx| {
            loop {
                let filled = input.filled();
                let common = filled.len().min(PREFACE.len());
                if filled.get(..common) != PREFACE.get(..common) {
                    return Poll::Ready(false);
                }
                if common == PREFACE.len() {
                    return Poll::Ready(true);
                }
                match input.poll_fill(cx, client) {
                    Poll::Ready(Ok(1..)) if begun => {}
                    Poll::Ready(Ok(1..)) => {
                        begun = true;
                        deadline.restart(service.config.timeouts.head);
                    }
                    Poll::Ready(_) => return Poll::Ready(false),
                    Poll::Pending => return deadline.poll(cx).map(|()| false),
                }
            }
        })
        .await
    }

    async fn continue_as_h2(self) {
        let client = Begun { begin: self.buffers.client_in, stream: self.client };
        h2::server::serve(client, self.origin, self.service).await;
    }

    /// Waits for a whole request head. Ends the connection itself if there will be none.
    async fn next_head(&mut self) -> Option<Extent> {
        let mut scanner = Scanner::default();
        let mut begun = false;
        self.deadline.restart(self.service.config.timeouts.idle);
        match poll_fn(|cx| self.poll_head(cx, &mut scanner, &mut begun)).await {
            Next::Head(extent) => return Some(extent),
            Next::Refused(reject) => {
                self.record.begin(Some(self.buffers.client_in.len()), self.deadline.since());
                self.record.refused(self.buffers.client_in.filled());
                self.refuse(reject).await;
                self.record.finish(0, &self.service.stats.ends);
                self.linger().await;
            }
            Next::Ended if begun && self.buffers.client_in.filled() != b"\r\n" => {
                self.record.begin(Some(self.buffers.client_in.len()), self.deadline.since());
                self.record.refused(self.buffers.client_in.filled());
                self.record.ended(End::ClientGone);
                self.record.finish(0, &self.service.stats.ends);
                self.shutdown().await;
            }
            Next::Ended => self.shutdown().await,
        }
        None
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scanner: &mut Scanner,
        begun: &mut bool,
    ) -> Poll<Next> {
        let input = &mut self.buffers.client_in;
        loop {
            if !input.is_empty() {
                if !*begun && self.record.is_timed() {
                    // Time that the connection was idle is not the request's.
                    *begun = true;
                    self.deadline.restart(self.service.config.timeouts.head);
                }
                match scanner.scan(input.filled()) {
                    Ok(Some(extent)) => return Poll::Ready(Next::Head(extent)),
                    Ok(None) => {}
                    Err(reject) => return Poll::Ready(Next::Refused(reject)),
                }
                if !*begun {
                    *begun = true;
                    self.deadline.restart(self.service.config.timeouts.head);
                }
            }
            match input.poll_fill(cx, &mut self.client) {
                // Some clients end with an empty line more than they owe.
                Poll::Ready(Ok(0)) if *begun && input.filled() != b"\r\n" => {
                    return Poll::Ready(Next::Refused(HEAD_CUT_OFF));
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Ended),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if !*begun {
            input.shrink();
        }
        match self.deadline.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if *begun => Poll::Ready(Next::Refused(HEAD_TIMEOUT)),
            Poll::Ready(()) => Poll::Ready(Next::Ended),
        }
    }

    async fn serve_request(&mut self, extent: Extent) -> After {
        self.record.begin(Some(self.buffers.client_in.len()), self.deadline.since());
        let after = match self.prepare(extent) {
            Ok(request) => {
                self.service.stats.requests.bump();
                self.forward(&request).await
            }
            Err(reject) => {
                let head = self.buffers.client_in.filled();
                self.record.refused(head.get(extent.start..).unwrap_or_default());
                self.refuse(reject).await;
                After::Linger
            }
        };
        self.record.finish(self.buffers.client_in.len(), &self.service.stats.ends);
        after
    }

    /// Judges the head at the front of the client's buffer and writes what to forward.
    fn prepare(&mut self, extent: Extent) -> Result<Request, Reject> {
        let Buffers { client_in, head, .. } = &mut self.buffers;
        let bytes = client_in.filled().get(extent.start..extent.end).unwrap_or_default();
        let (service, record) = (&self.service, &mut self.record);
        let mut request = request::prepare(bytes, service, &self.origin, record, head)?;
        client_in.consume(extent.end);
        request.persistent &= !self.service.is_draining();
        Ok(request)
    }

    /// Has `request` answered by a backend, or answers it.
    async fn forward(&mut self, request: &Request) -> After {
        let forward = Forward {
            client: &mut Plain(&mut self.client),
            peer: self.origin.ends.client,
            service: &self.service,
            buffers: &mut self.buffers,
            deadline: &mut self.deadline,
            record: &mut self.record,
            private: self.origin.private.as_ref(),
        };
        match forward.run(request).await {
            Outcome::Delivered { close, body_sent } => self.after_response(close, body_sent),
            Outcome::Own { status, detail, body_read } => {
                self.notify(status, detail, request, body_read).await
            }
            Outcome::Refused(reject) => {
                self.refuse(reject).await;
                After::Linger
            }
            Outcome::Ended => After::Abort,
        }
    }

    fn after_response(&self, close: bool, body_sent: bool) -> After {
        match (close, body_sent && self.buffers.client_in.is_empty()) {
            (false, _) => After::Keep,
            (true, true) => After::Close,
            (true, false) => After::Linger,
        }
    }

    /// Sends a response of our own to a request whose body has been read to its end, or not.
    async fn notify(
        &mut self,
        status: StatusCode,
        detail: &str,
        request: &Request,
        body_read: bool,
    ) -> After {
        let keep = request.persistent && body_read;
        let delivery = Delivery::new(Framing::Length(0), request.version, keep);
        let mut text = Vec::new();
        encode::notice(status, detail, &request.method, delivery, &mut text);
        self.service.stats.count_response(status);
        self.record.answered(status);
        if !self.send(&text).await {
            return After::Abort;
        }
        self.after_response(delivery.close, body_read)
    }

    /// Answers a message that broke a rule.
    async fn refuse(&mut self, reject: Reject) {
        tracing::debug!(peer = %self.origin.ends.client, %reject, "request refused");
        self.service.stats.count_rejected(reject.rule);
        self.service.stats.count_response(reject.status);
        self.record.rejected(&reject);
        let mut text = Vec::new();
        reject.write_to(&mut text);
        if !self.send(&text).await {
            self.service.stats.aborted.bump();
        }
    }

    /// Writes `text` after what waits to be written. Whether that was possible.
    async fn send(&mut self, text: &[u8]) -> bool {
        self.buffers.client_out.push(text);
        self.deadline.restart(self.service.config.timeouts.body);
        poll_fn(|cx| {
            while !self.buffers.client_out.is_empty() {
                match self.buffers.client_out.poll_drain(cx, &mut self.client, usize::MAX) {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => return self.deadline.poll(cx).map(|()| false),
                }
            }
            match Pin::new(&mut self.client).poll_flush(cx) {
                Poll::Ready(result) => Poll::Ready(result.is_ok()),
                Poll::Pending => self.deadline.poll(cx).map(|()| false),
            }
        })
        .await
    }

    /// Ends our side of the connection in order.
    async fn shutdown(&mut self) {
        self.deadline.restart(LINGER_TIME);
        poll_fn(|cx| match Pin::new(&mut self.client).poll_shutdown(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.deadline.poll(cx),
        })
        .await;
    }

    /// Ends our side, then reads and forgets what the client still sends.
    async fn linger(&mut self) {
        self.shutdown().await;
        let mut left = LINGER_BYTES;
        let input: &mut Buffer = &mut self.buffers.client_in;
        poll_fn(|cx| {
            while left > 0 {
                input.clear();
                match input.poll_fill(cx, &mut self.client) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(count)) => left = left.saturating_sub(count),
                    Poll::Pending => return self.deadline.poll(cx),
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

pub(crate) const HEAD_CUT_OFF: Reject = Reject::bad(Rule::R06, "the head was cut off");
const HEAD_TIMEOUT: Reject =
    Reject::new(Rule::R18, StatusCode::REQUEST_TIMEOUT, "the request head came too slowly");
