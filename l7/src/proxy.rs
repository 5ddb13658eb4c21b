//! HTTP/1 service: one task a client connection, every request balanced on its own.
//!
//! # Theory of operation
//! A connection is a loop: wait for a head, judge and re-encode it, exchange it with a backend,
//! decide whether the connection lives on. Requests that arrive early (pipelining) wait in the
//! connection's buffer, so responses leave in order; after an error what waits is thrown away (R14).
//! Nothing is spawned, nothing boxed and, once there are buffers, nothing allocated for a request. A
//! connection that waits for a request has no buffers: those of the last to wait serve the next to wake.
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
use crate::cached;
use crate::deadline::Deadline;
use crate::exchange::Buffers;
use crate::forward::{Forward, Outcome};
use crate::h2::{self, PREFACE};
use crate::http1::encode::{self, Delivery};
use crate::http1::framing::Framing;
use crate::http1::reject::{Reject, Rule};
use crate::http1::scan::{Extent, Scanner};
use crate::limits::{LINGER_BYTES, LINGER_TIME, QUESTIONS};
use crate::log::{End, Record};
use crate::mirror;
use crate::request::{self, Grant, Origin, Question, Request, Verdict};
use crate::service::Service;
use crate::side::Plain;
use crate::upstream::{self, Connect};

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
///
/// The future holds little but the connection: there is one for each client that is idle.
pub(crate) fn serve_accepted<S, C>(
    client: S,
    accepted: Accepted,
    service: Rc<Service<C>>,
) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    C: Connect,
{
    service.stats.connections.bump();
    let private = service.private(accepted.ends);
    let origin = Origin::new(accepted, private);
    let record = origin.record(&service);
    let deadline = Deadline::after(service.config.timeouts.idle);
    let mut connection = Connection { client, origin, service, deadline, record };
    async move {
        match connection.version().await {
            Version::Http1(buffers) => connection.run(buffers).await,
            Version::Http2(input) => Box::pin(connection.continue_as_h2(input)).await,
        }
    }
}

struct Connection<S, C: Connect> {
    client: S,
    origin: Origin<C::Stream>,
    service: Rc<Service<C>>,
    deadline: Deadline,
    record: Record,
}

/// Which HTTP a client speaks, with what has been read of it.
enum Version {
    Http1(Lease),
    Http2(Buffer),
}

/// The buffers of a connection that has something to do; none while it is idle.
type Lease = Option<Box<Buffers>>;

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
    /// Serves requests to the end of the connection; `buffers` hold what has been read.
    async fn run(&mut self, mut buffers: Lease) {
        while let Some((mut lent, extent)) = self.next_head(buffers.take()).await {
            match self.serve_request(&mut lent, extent).await {
                After::Keep => {
                    buffers = Some(lent);
                    continue;
                }
                After::Close => self.shutdown().await,
                After::Linger => self.linger(&mut lent).await,
                After::Abort => {}
            }
            self.service.take_back(lent);
            break;
        }
        if let Some(private) = &self.origin.private {
            private.clear();
        }
    }

    /// Reads on, where both are possible, until it is clear whether the client begins with the preface of
    /// HTTP/2.
    async fn version(&mut self) -> Version {
        let Self { client, origin, deadline, service, .. } = self;
        if origin.session.as_ref().is_some_and(|session| session.is_http2()) {
            return Version::Http2(Buffer::new());
        }
        if origin.secure || !service.config.http2.prior_knowledge {
            return Version::Http1(None);
        }
        let mut lease = None;
        let mut begun = false;
        let is_http2 = poll_fn(|cx| {
            let input = &mut service.lend(&mut lease).client_in;
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
                    Poll::Pending => break,
                }
            }
            service.take_back_if_empty(&mut lease);
            deadline.poll(cx).map(|()| false)
        });
        if is_http2.await {
            Version::Http2(lease.map(|buffers| buffers.client_in).unwrap_or_default())
        } else {
            Version::Http1(lease)
        }
    }

    async fn continue_as_h2(self, input: Buffer) {
        let client = Begun { begin: input, stream: self.client };
        h2::server::serve(client, self.origin, self.service).await;
    }

    /// Waits for a whole request head: where it is, and what it is in. Ends the connection itself if there
    /// will be none.
    async fn next_head(&mut self, mut lease: Lease) -> Option<(Box<Buffers>, Extent)> {
        let mut scanner = Scanner::default();
        let mut begun = false;
        self.deadline.restart(self.service.config.timeouts.idle);
        let next = poll_fn(|cx| self.poll_head(cx, &mut lease, &mut scanner, &mut begun)).await;
        // Idle to the end: there is nothing to say, and nothing to give back.
        let Some(mut buffers) = lease else {
            self.shutdown().await;
            return None;
        };
        match next {
            Next::Head(extent) => return Some((buffers, extent)),
            Next::Refused(reject) => {
                self.record.begin(Some(buffers.client_in.len()), self.deadline.since());
                self.record.refused(buffers.client_in.filled());
                self.refuse(&mut buffers, reject).await;
                self.record.finish(0, &self.service.stats.ends);
                self.linger(&mut buffers).await;
            }
            Next::Ended if begun && buffers.client_in.filled() != b"\r\n" => {
                self.record.begin(Some(buffers.client_in.len()), self.deadline.since());
                self.record.refused(buffers.client_in.filled());
                self.record.ended(End::ClientGone);
                self.record.finish(0, &self.service.stats.ends);
                self.shutdown().await;
            }
            Next::Ended => self.shutdown().await,
        }
        self.service.take_back(buffers);
        None
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        lease: &mut Lease,
        scanner: &mut Scanner,
        begun: &mut bool,
    ) -> Poll<Next> {
        let input = &mut self.service.lend(lease).client_in;
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
        self.service.take_back_if_empty(lease);
        match self.deadline.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if *begun => Poll::Ready(Next::Refused(HEAD_TIMEOUT)),
            Poll::Ready(()) => Poll::Ready(Next::Ended),
        }
    }

    async fn serve_request(&mut self, buffers: &mut Buffers, extent: Extent) -> After {
        self.record.begin(Some(buffers.client_in.len()), self.deadline.since());
        let mut verdict = self.prepare(buffers, extent, None);
        let mut asked = 0;
        while let Ok(Verdict::Ask(question)) = verdict {
            asked += 1;
            // Few are asked, and most should not carry what waiting needs.
            verdict = match Box::pin(self.ask(buffers, question)).await {
                Some(grant) if asked <= QUESTIONS => self.prepare(buffers, extent, Some(grant)),
                Some(_) => Err(TOO_MANY_QUESTIONS),
                None => {
                    self.record.ended(End::ClientGone);
                    self.record.finish(0, &self.service.stats.ends);
                    return After::Abort;
                }
            };
        }
        // By reference, or the request would be here twice.
        let after = match &verdict {
            Ok(Verdict::Ask(_)) => After::Abort,
            Ok(Verdict::Serve(request)) => {
                self.service.stats.requests.bump();
                self.forward(buffers, request).await
            }
            Err(reject) => {
                let head = buffers.client_in.filled();
                self.record.refused(head.get(extent.start..).unwrap_or_default());
                self.refuse(buffers, *reject).await;
                After::Linger
            }
        };
        self.record.finish(buffers.client_in.len(), &self.service.stats.ends);
        after
    }

    /// Waits for what must be known of a request whose head is at the front of the client's buffer. None
    /// if the client does not wait.
    async fn ask(&mut self, buffers: &mut Buffers, mut question: Question) -> Option<Box<Grant>> {
        let (client, input) = (&mut Plain(&mut self.client), &mut buffers.client_in);
        poll_fn(|cx| match question.as_mut().poll(cx) {
            Poll::Ready(grant) => Poll::Ready(Some(grant)),
            Poll::Pending => upstream::poll_gone(cx, client, input).map(|()| None),
        })
        .await
    }

    /// Judges the head at the front of the client's buffer and writes what to forward.
    fn prepare(
        &mut self,
        buffers: &mut Buffers,
        extent: Extent,
        grant: Option<Box<Grant>>,
    ) -> Result<Verdict, Reject> {
        let Buffers { client_in, head, .. } = buffers;
        let bytes = client_in.filled().get(extent.start..extent.end).unwrap_or_default();
        let (service, record) = (&self.service, &mut self.record);
        let mut verdict = request::prepare(bytes, service, &self.origin, record, grant, head)?;
        if let Verdict::Serve(request) = &mut verdict {
            cached::refresh(&self.service, request, head, self.origin.ends);
            client_in.consume(extent.end);
            request.persistent &= !self.service.is_draining();
        }
        Ok(verdict)
    }

    /// Has `request` answered by a backend, or answers it.
    async fn forward(&mut self, buffers: &mut Buffers, request: &Request) -> After {
        mirror::send(&self.service, request, &buffers.head, self.origin.ends.client);
        let mut forward = Forward {
            client: &mut Plain(&mut self.client),
            peer: &self.origin.ends.client,
            service: &self.service,
            stats: &self.service.stats,
            to: self.service.destination(request.way.to),
            config: self.service.config_of(request.way.route),
            buffers,
            deadline: &mut self.deadline,
            record: &mut self.record,
            private: self.origin.private.as_ref(),
        };
        match forward.run(request).await {
            Outcome::Delivered { close, body_sent } => after_response(buffers, close, body_sent),
            Outcome::Own { status, detail, body_read } => {
                self.notify(buffers, (status, detail), request, body_read).await
            }
            Outcome::Refused(reject) => {
                self.refuse(buffers, reject).await;
                After::Linger
            }
            Outcome::Ended | Outcome::Instead(_) => After::Abort,
        }
    }

    /// Sends a response of our own to a request whose body has been read to its end, or not.
    async fn notify(
        &mut self,
        buffers: &mut Buffers,
        (status, detail): (StatusCode, &str),
        request: &Request,
        body_read: bool,
    ) -> After {
        let keep = request.persistent && body_read;
        let delivery = Delivery::new(Framing::Length(0), request.version, keep);
        let mut text = Vec::new();
        let said = encode::notice_body(status, detail);
        let page = self.service.config_of(request.way.route).page(status);
        let body = match page {
            Some(page) => (&*page.kind, &page.body[..]),
            None => (encode::NOTICE_TYPE, said.as_bytes()),
        };
        encode::notice(status, body, &request.method, delivery, &mut text);
        self.service.stats.count_response(status);
        self.record.answered(status);
        if !self.send(buffers, &text).await {
            return After::Abort;
        }
        after_response(buffers, delivery.close, body_read)
    }

    /// Answers a message that broke a rule.
    async fn refuse(&mut self, buffers: &mut Buffers, reject: Reject) {
        tracing::debug!(peer = %self.origin.ends.client, %reject, "request refused");
        self.service.stats.count_rejected(reject.rule);
        self.service.stats.count_response(reject.status);
        self.record.rejected(&reject);
        let mut text = Vec::new();
        reject.write_to(&mut text);
        if !self.send(buffers, &text).await {
            self.service.stats.aborted.bump();
        }
    }

    /// Writes `text` after what waits to be written. Whether that was possible.
    async fn send(&mut self, buffers: &mut Buffers, text: &[u8]) -> bool {
        let output = &mut buffers.client_out;
        output.push(text);
        self.deadline.restart(self.service.config.timeouts.body);
        poll_fn(|cx| {
            while !output.is_empty() {
                match output.poll_drain(cx, &mut self.client, usize::MAX) {
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
    async fn linger(&mut self, buffers: &mut Buffers) {
        self.shutdown().await;
        let mut left = LINGER_BYTES;
        let input = &mut buffers.client_in;
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

fn after_response(buffers: &Buffers, close: bool, body_sent: bool) -> After {
    match (close, body_sent && buffers.client_in.is_empty()) {
        (false, _) => After::Keep,
        (true, true) => After::Close,
        (true, false) => After::Linger,
    }
}

pub(crate) const TOO_MANY_QUESTIONS: Reject = Reject::new(
    Rule::R18,
    StatusCode::INTERNAL_SERVER_ERROR,
    "the request asks too many questions",
);
pub(crate) const HEAD_CUT_OFF: Reject = Reject::bad(Rule::R06, "the head was cut off");
const HEAD_TIMEOUT: Reject =
    Reject::new(Rule::R18, StatusCode::REQUEST_TIMEOUT, "the request head came too slowly");
