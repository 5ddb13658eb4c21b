//! One request and its response, between a client and one backend.
//!
//! # Theory of operation
//! Both directions move at once within one task: the request's body goes up while the response may
//! already come down. Before the response's head has come, a broken write upstream is no error yet:
//! a backend may answer early and close (R15), and its answer is what the client should get. Until
//! then the client is read too, so that one that resets frees its backend.
//!
//! ```text
//!            head and body up ─────────────────────────────►
//! await head ──1xx──► await head ──final──► deliver ──► Response { close, reusable }
//!     │                                        │
//!     ├─ 101 to a websocket ► Tunnel           └─ any failure ► ClientGone (drop both)
//!     └─ closed / timed out / not HTTP ► the caller answers, or sends the request again
//! ```

mod delivery;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{StatusCode, Version};
use tokio::time::Instant;

use crate::answer::Answer as Own;
use crate::buffer::Buffer;
use crate::buffering::{Hoard, Reserved};
use crate::cache::Fetch;
use crate::cached;
use crate::deadline::Deadline;
use crate::failure::Failure;
use crate::http1::edits::Changes;
use crate::http1::encode::Delivery;
use crate::http1::framing::Framing;
use crate::http1::head::{self, ResponseHead};
use crate::http1::reject::{Reject, Rule};
use crate::http1::scan::{Extent, Scanner};
use crate::limits::INTERIM_RESPONSES;
use crate::log::Exchanged;
use crate::relay::{Relay, RelayError};
use crate::request::Request;
use crate::service::Config;
use crate::side::{Backend, Client, Presence};
use crate::stats::Stats;
use crate::timeouts::Timeouts;
use crate::upstream::{Tries, Turn};

/// The buffers of a client connection, used by every exchange on it. A service lends them to connections
/// that have something to do ([`Service::lend`]).
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    pub(crate) client_in: Buffer,
    pub(crate) client_out: Buffer,
    pub(crate) upstream_in: Buffer,
    pub(crate) upstream_out: Buffer,
    /// The request's head as forwarded; kept until it is answered, to be sent again.
    pub(crate) head: Vec<u8>,
    /// A response's head as delivered.
    response: Vec<u8>,
}

impl Buffers {
    /// Whether nothing waits in any of them.
    pub(crate) fn are_empty(&self) -> bool {
        let Self { client_in, client_out, upstream_in, upstream_out, .. } = self;
        [client_in, client_out, upstream_in, upstream_out].iter().all(|buffer| buffer.is_empty())
    }

    /// Forgets what an earlier exchange left of its backend.
    pub(crate) fn begin(&mut self) {
        self.upstream_in.clear();
        self.upstream_out.clear();
    }

    /// Forgets all, and gives up memory that only a large body needed.
    pub(crate) fn clear(&mut self) {
        let Self { client_in, client_out, upstream_in, upstream_out, head, response } = self;
        client_in.forget();
        for buffer in [client_in, client_out, upstream_in, upstream_out] {
            buffer.clear();
            buffer.shrink();
        }
        head.clear();
        response.clear();
    }
}

/// How an exchange went well.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The response has been delivered to its end.
    Response {
        /// The client was told that its connection ends.
        close: bool,
        /// The backend's connection can serve another request.
        reusable: bool,
        /// It was not delivered: this is to be given in its place.
        instead: Option<Box<Own>>,
    },
    /// The backend agreed to a websocket; its answer waits in the buffer to the client.
    Tunnel,
}

/// How far the request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    Running,
    Sent,
    /// The backend takes no more; it may have answered.
    Broken,
}

/// An exchange in progress.
pub(crate) struct Exchange<'a, 'b, K, B> {
    client: &'a mut K,
    upstream: &'a mut B,
    buffers: &'a mut Buffers,
    deadline: &'a mut Deadline,
    request: &'a Request,
    /// None if the answer is our own.
    turn: Option<&'a Turn>,
    /// What is changed of the answer's head.
    changes: Changes<'a>,
    timeouts: &'a Timeouts,
    stats: &'a Stats,
    body: Relay,
    upload: Upload,
    /// The client has ended its side. It may still read.
    client_ended: bool,
    interim: u32,
    /// What follows if the answer is one for which the request is sent again.
    tries: Option<&'a mut Tries<'b>>,
    /// Bytes of the client's body that were here for an earlier try.
    replayed: u64,
    /// How long a head may take.
    patience: Duration,
    /// Of the head that is delivered, the body with it.
    told: Exchanged,
    /// When that head came is to be told.
    pub(crate) is_timed: bool,
    /// The client's body was read ahead; its sender knows.
    is_collected: bool,
    hoard: Option<(&'a Rc<Hoard>, usize)>,
    rest: Option<Rest>,
    /// What a cache makes of the answer.
    fetch: Option<&'a mut Fetch>,
}

/// What is left to do for an answer that was buffered: it waits in the buffer to the client.
#[derive(Debug)]
pub(crate) struct Rest {
    /// Trailer fields that go with its end.
    pub(crate) trailers: Vec<u8>,
    _room: Reserved,
}

impl<'a, 'b, K: Client, B: Backend> Exchange<'a, 'b, K, B> {
    /// An exchange of the request whose head is in `buffers` and whose body begins there; of a backend
    /// there is nothing in them, unless it has [`begun`](Self::begun).
    pub(crate) fn new(
        client: &'a mut K,
        upstream: &'a mut B,
        buffers: &'a mut Buffers,
        deadline: &'a mut Deadline,
        request: &'a Request,
        turn: Option<&'a Turn>,
        (config, stats, hoard): (&'a Config, &'a Stats, &'a Rc<Hoard>),
    ) -> Self {
        let outgoing = upstream.framing_up(request.outgoing);
        let mut body = Relay::new(request.framing, outgoing)
            .with_limit(config.max_body)
            .with_proof(config.smuggling_proof)
            .with_trailers(!request.withholds && (request.trailers || upstream.carries_trailers()));
        body.held = request.expects_continue;
        let buffering = &config.buffering;
        Self {
            client,
            upstream,
            buffers,
            deadline,
            request,
            turn,
            changes: Changes::NONE,
            timeouts: &config.timeouts,
            stats,
            body,
            upload: Upload::Running,
            client_ended: false,
            interim: 0,
            tries: None,
            replayed: 0,
            patience: config.timeouts.response,
            told: Exchanged::default(),
            is_timed: false,
            is_collected: false,
            hoard: buffering.response.then_some((hoard, buffering.limit)),
            rest: None,
            fetch: None,
        }
    }

    /// The same where the request, which has no body, `has_begun`: it was sent already, and what has come
    /// of the answer is in the buffers.
    pub(crate) fn begun(mut self, has_begun: bool) -> Self {
        if has_begun {
            self.upload = Upload::Sent;
        }
        self
    }

    /// The same as one of several `tries`, of which earlier ones had `replayed` bytes of the body.
    pub(crate) fn with_tries(mut self, tries: &'a mut Tries<'b>, replayed: usize) -> Self {
        self.patience = tries.patience(self.patience);
        self.tries = Some(tries);
        self.replayed = replayed as u64;
        self
    }

    /// The same, with `changes` made of the head of the answer.
    pub(crate) fn with_changes(mut self, changes: Changes<'a>) -> Self {
        self.changes = changes;
        self
    }

    /// The same, whose answer is shown to a cache; the request's body is here as a whole, or not.
    pub(crate) fn with_cache(mut self, fetch: Option<&'a mut Fetch>, is_collected: bool) -> Self {
        self.fetch = fetch;
        self.is_collected = is_collected;
        self
    }

    /// Whether the client's body has been read and sent to its end.
    pub(crate) fn body_sent(&self) -> bool {
        self.upload == Upload::Sent
    }

    /// Whether all that came of the client's body is still here, so that it can be sent again.
    pub(crate) fn body_untouched(&self) -> bool {
        let whole = self.body.moved == 0 && self.upload == Upload::Running;
        self.request.framing.is_empty() || (whole && self.request.framing != Framing::Chunked)
    }

    /// What is left to do for an answer that was delivered, if it was buffered.
    pub(crate) fn take_rest(&mut self) -> Option<Rest> {
        self.rest.take()
    }

    /// What it came to so far.
    pub(crate) const fn told(&self) -> Exchanged {
        Exchanged { up: self.body.moved, ..self.told }
    }

    /// Runs to the end of the response, or to a failure.
    pub(crate) async fn run(&mut self) -> Result<Delivered, Failure> {
        let wait = if self.body.held { self.timeouts.expect } else { self.patience };
        self.deadline.restart(wait);
        let Buffers { head, upstream_out, .. } = &mut *self.buffers;
        if self.upload == Upload::Running {
            self.upstream.send_head(head, self.request.framing, upstream_out)?;
        }
        loop {
            let mut scanner = Scanner::default();
            let extent = poll_fn(|cx| self.poll_head(cx, &mut scanner)).await?;
            if let Some(answer) = self.take_head(extent)? {
                // With a body it would be the client's time that is measured.
                if self.request.framing == Framing::None
                    && let Some(turn) = self.turn
                {
                    turn.answered();
                }
                return match answer {
                    Answer::Tunnel => Ok(Delivered::Tunnel),
                    Answer::Instead(own, reusable) => {
                        Ok(Delivered::Response { close: false, reusable, instead: Some(own) })
                    }
                    Answer::Response(response) => self.deliver(response).await,
                };
            }
        }
    }

    /// Waits for a response head while the body goes up and interim responses come down.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scanner: &mut Scanner,
    ) -> Poll<Result<Extent, Failure>> {
        loop {
            self.poll_upload(cx, self.patience)?;
            self.poll_interim(cx)?;
            self.watch_client(cx)?;
            match self.upstream.poll_head(cx, scanner, &mut self.buffers.upstream_in) {
                Poll::Ready(Err(Failure::Closed)) => return Poll::Ready(Err(self.closed())),
                Poll::Ready(result) => return Poll::Ready(result),
                Poll::Pending => {}
            }
            match self.deadline.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if self.body.held => {
                    self.body.held = false;
                    self.deadline.restart(self.patience);
                }
                Poll::Ready(()) => return Poll::Ready(Err(self.timed_out())),
            }
        }
    }

    /// Moves the request up; restarts the deadline with `patience` if it moved.
    fn poll_upload(&mut self, cx: &mut Context<'_>, patience: Duration) -> Result<(), Failure> {
        if self.upload != Upload::Running {
            return Ok(());
        }
        let before = self.body.moved;
        let polled = self.body.poll(
            cx,
            self.client,
            &mut self.buffers.client_in,
            self.upstream,
            &mut self.buffers.upstream_out,
        );
        let moved = self.body.moved - before;
        if moved > 0 {
            self.stats.bytes_up.add(moved);
            let again = self.replayed.min(moved);
            self.replayed -= again;
            if !self.is_collected {
                self.client.taken(moved - again);
            }
            self.deadline.restart(patience);
        }
        match polled {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.upload = Upload::Sent,
            Poll::Ready(Err(RelayError::Sink)) => self.upload = Upload::Broken,
            Poll::Ready(Err(RelayError::Malformed(reject))) => {
                return Err(Failure::Refused(reject));
            }
            Poll::Ready(Err(RelayError::Truncated)) => return Err(Failure::Refused(BODY_CUT_OFF)),
            Poll::Ready(Err(RelayError::Source)) => {
                return Err(Failure::ClientGone);
            }
        }
        Ok(())
    }

    /// Writes interim responses that wait for the client.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while !self.buffers.client_out.is_empty() {
            match self.buffers.client_out.poll_drain(cx, self.client, usize::MAX) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Err(Failure::ClientGone),
                Poll::Pending => return Ok(()),
            }
            if self.buffers.client_out.is_empty() {
                // A flush that cannot finish now is finished by that of the final response.
                let _ = std::pin::Pin::new(&mut *self.client).poll_flush(cx);
            }
        }
        Ok(())
    }

    /// Notices a client that resets while it waits. What it sends early is kept, up to a bound.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if self.upload == Upload::Running || self.client_ended {
            return Ok(());
        }
        match self.client.poll_presence(cx, &mut self.buffers.client_in) {
            Presence::Here => {}
            Presence::Ended => self.client_ended = true,
            Presence::Gone => return Err(Failure::ClientGone),
        }
        Ok(())
    }

    fn closed(&self) -> Failure {
        if self.interim == 0 && self.buffers.upstream_in.is_empty() {
            return Failure::Closed;
        }
        Failure::BadResponse(Reject::bad(Rule::R16, "the head was cut off").in_response())
    }

    fn timed_out(&self) -> Failure {
        if self.upload == Upload::Running && self.body.starved {
            return Failure::Refused(BODY_TIMEOUT);
        }
        Failure::TimedOut
    }

    /// Judges the head at the front of the upstream buffer and writes what to deliver.
    ///
    /// None after an interim response.
    fn take_head(&mut self, extent: Extent) -> Result<Option<Answer>, Failure> {
        let bad = |detail| Failure::BadResponse(Reject::bad(Rule::R16, detail).in_response());
        if extent.start > 0 {
            return Err(bad("an empty line before the head"));
        }
        let Buffers { client_in, upstream_in, client_out, response: text, .. } = &mut *self.buffers;
        let bytes = upstream_in.filled().get(..extent.end).unwrap_or_default();
        let mut slots = head::slots();
        let head = head::parse_response(bytes, &mut slots, &self.request.method)
            .map_err(Failure::BadResponse)?;
        let interim = Delivery::new(Framing::None, self.request.version, true);
        let mut told = Ok(());
        let answer = if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if !accepts_websocket(self.request, &head) {
                return Err(bad("101 that was not asked for, or is not valid"));
            }
            let (changes, framing) = (Changes::NONE, Framing::UntilClose);
            told = self.client.answer(&head, changes, interim, framing, text, client_out);
            Some(Answer::Tunnel)
        } else if head.status.is_informational() {
            self.interim += 1;
            if self.interim > INTERIM_RESPONSES {
                return Err(bad("too many interim responses"));
            }
            if head.status == StatusCode::CONTINUE {
                self.body.held = false;
                self.deadline.restart(self.patience);
            }
            // RFC 9110 section 15.2: none to a client of HTTP/1.0.
            if self.request.version != Version::HTTP_10 {
                let (changes, framing) = (Changes::NONE, Framing::UntilClose);
                told = self.client.answer(&head, changes, interim, framing, text, client_out);
            }
            None
        } else if let (Some(tries), Some(turn)) = (&mut self.tries, self.turn)
            && self.request.may_be_sent_again(client_in)
            && tries.rejects(head.status, turn)
        {
            return Err(Failure::Retry(head.status));
        } else if let Some(own) = self.fetch.as_mut().and_then(|fetch| cached::shown(fetch, &head))
        {
            let empty = head.framing == Framing::None && self.upload == Upload::Sent;
            Some(Answer::Instead(own, empty && head.persistent))
        } else {
            // R15: if the body is still on its way, no one knows where the next request begins.
            let keep = self.request.persistent && self.upload == Upload::Sent;
            let delivery = Delivery::new(head.framing, self.request.version, keep);
            let framing = self.upstream.framing_down(head.framing);
            let own = self.fetch.as_ref().map(|fetch| cached::status(fetch, self.changes.own()));
            let changes = own.as_ref().map_or(self.changes, |own| self.changes.with_own(own));
            told = self.client.answer(&head, changes, delivery, framing, text, client_out);
            Some(Answer::Response(Response { framing, persistent: head.persistent, delivery }))
        };
        if !matches!(answer, Some(Answer::Instead(..))) {
            self.stats.count_response(head.status);
        }
        self.told.status = Some(head.status);
        self.told.heard = self.is_timed.then(Instant::now);
        upstream_in.consume(extent.end);
        told.map(|()| answer).map_err(|_| Failure::ClientGone)
    }
}

/// A head that is not interim.
enum Answer {
    Response(Response),
    /// Another is given in its place; whether the connection can be used again.
    Instead(Box<Own>, bool),
    Tunnel,
}

/// What delivery must know of a response.
struct Response {
    /// How its body arrives.
    framing: Framing,
    persistent: bool,
    delivery: Delivery,
}

/// R11: a tunnel begins only after the very answer that RFC 6455 asks for.
fn accepts_websocket(request: &Request, head: &ResponseHead<'_, '_>) -> bool {
    request.websocket.as_ref().is_some_and(|accept| head.accept == Some(accept.as_slice()))
}

pub(crate) const BODY_CUT_OFF: Reject = Reject::bad(Rule::R05, "the request body was cut off");
pub(crate) const BODY_TIMEOUT: Reject =
    Reject::new(Rule::R18, StatusCode::REQUEST_TIMEOUT, "the request body came too slowly");
