//! One request of a client of HTTP/2, and its answer.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::body::{Incoming, Outgoing, into_io};
use super::server::{Live, Shared};
use super::{head, own};
use crate::buffer::Buffer;
use crate::cached;
use crate::deadline::Deadline;
use crate::exchange::Buffers;
use crate::forward::{Forward, Outcome};
use crate::http1::edits::Changes;
use crate::http1::encode::Delivery;
use crate::http1::framing::Framing;
use crate::http1::head::ResponseHead;
use crate::http1::reject::Reject;
use crate::http1::websocket;
use crate::limits::QUESTIONS;
use crate::log::{End, Record};
use crate::mirror;
use crate::proxy::TOO_MANY_QUESTIONS;
use crate::request::{self, Grant, Question, Verdict};
use crate::service::ErrorPage;
use crate::side::{Client, Presence, Sink, Source};
use crate::upstream::{self, Connect};

/// What a request needs while it lasts; kept for the next.
pub(crate) struct Seat {
    buffers: Buffers,
    deadline: Deadline,
    /// The head as the text of HTTP/1.1.
    text: Vec<u8>,
}

impl Seat {
    pub(super) fn new() -> Self {
        let deadline = Deadline::after(std::time::Duration::ZERO);
        Self { buffers: Buffers::default(), deadline, text: Vec::new() }
    }

    /// Forgets what it held, and gives up memory that only a large body needed.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.buffers.clear();
    }
}

/// Serves one request to its end.
pub(super) async fn serve<C: Connect>(
    shared: Live<C>,
    request: http::Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (parts, body) = request.into_parts();
    let call = own::is_grpc(&parts.headers);
    let limit = if call { own::deadline(&parts.headers) } else { None };
    let mut seat = shared.take_seat();
    let origin = &shared.origin;
    let (ends, mut record) = (&shared.service.stats.ends, origin.record(&shared.service));
    record.begin(None, Instant::now());
    let mut stream = Stream::new(body, respond);
    let mut verdict = prepare(&shared, &parts, &mut stream, &mut seat, &mut record, None);
    if let Ok(Verdict::Ask(question)) = verdict {
        let asked = ask(question, &shared, &parts, &mut stream, &mut seat, &mut record);
        let Some(answered) = Box::pin(asked).await else {
            record.ended(End::ClientGone);
            record.finish(0, ends);
            return shared.put_seat(seat);
        };
        verdict = answered;
    }
    match verdict {
        Ok(Verdict::Serve(request)) => {
            shared.service.stats.requests.bump();
            let forward_config = shared.service.config_of(request.way.route);
            mirror::send(&shared.service, &request, &seat.buffers.head, origin.ends.client);
            let mut forward = Forward {
                client: &mut stream,
                peer: &origin.ends.client,
                private: origin.private.as_ref(),
                service: &shared.service,
                stats: &shared.service.stats,
                to: shared.service.destination(request.way.to),
                config: forward_config,
                buffers: &mut seat.buffers,
                deadline: &mut seat.deadline,
                record: &mut record,
            };
            let outcome = match limit {
                None => Some(forward.run(&request).await),
                Some(limit) => tokio::time::timeout(limit, forward.run(&request)).await.ok(),
            };
            match outcome {
                Some(Outcome::Delivered { .. }) => {}
                Some(Outcome::Own { status, detail, .. }) => {
                    shared.service.stats.count_response(status);
                    record.answered(status);
                    let page = forward_config.page(status);
                    stream.notify_by(status, (detail, page), &request.method, call);
                }
                Some(Outcome::Refused(reject)) => {
                    refuse(&shared, reject, &mut stream, &request.method, call, &mut record);
                }
                Some(Outcome::Ended | Outcome::Instead(_)) => stream.abandon(),
                None => {
                    let status = stream.exceed(&request.method);
                    shared.service.stats.count_response(status);
                    record.answered(status);
                    record.ended(End::BackendTimeout);
                }
            }
        }
        Ok(Verdict::Ask(_)) => stream.abandon(),
        Err(reject) => {
            let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
            record.refused(format!("{} {target} HTTP/2", parts.method).as_bytes());
            refuse(&shared, reject, &mut stream, &parts.method, call, &mut record);
        }
    }
    record.finish(0, ends);
    shared.put_seat(seat);
}

/// Asks what must be known before the request is served, and judges it again. None if the client is gone.
async fn ask<C: Connect>(
    mut question: Question,
    shared: &Shared<C>,
    parts: &http::request::Parts,
    stream: &mut Stream,
    seat: &mut Seat,
    record: &mut Record,
) -> Option<Result<Verdict, Reject>> {
    for _ in 0..QUESTIONS {
        let grant = Some(stream.ask(question).await?);
        match prepare(shared, parts, stream, seat, record, grant) {
            Ok(Verdict::Ask(next)) => question = next,
            verdict => return Some(verdict),
        }
    }
    Some(Err(TOO_MANY_QUESTIONS))
}

/// Judges the head, and writes what to forward of it.
fn prepare<C: Connect>(
    shared: &Shared<C>,
    parts: &http::request::Parts,
    stream: &mut Stream,
    seat: &mut Seat,
    record: &mut Record,
    grant: Option<Box<Grant>>,
) -> Result<Verdict, Reject> {
    let ended = stream.incoming.is_empty();
    // Only a request for a tunnel pays for the key.
    let asks = parts.method == Method::CONNECT && shared.service.takes_websockets();
    let key = if asks { websocket::new_key().ok() } else { None };
    seat.text.clear();
    head::request_text(parts, ended, key.as_ref(), &mut seat.text)?;
    let (service, head) = (&shared.service, &mut seat.buffers.head);
    let origin = &shared.origin;
    let mut verdict = request::prepare(&seat.text, service, origin, record, grant, head)?;
    let Verdict::Serve(request) = &mut verdict else { return Ok(verdict) };
    cached::refresh(&shared.service, request, head, origin.ends);
    stream.tunnel = request.websocket.is_some();
    if let Framing::Length(length) = request.framing {
        stream.incoming.declare(length);
    }
    // A tunnel's bytes are no body.
    request.framing = if ended || stream.tunnel { Framing::None } else { Framing::UntilClose };
    request.version = Version::HTTP_2;
    Ok(verdict)
}

/// Answers a request that broke a rule.
fn refuse<C: Connect>(
    shared: &Shared<C>,
    reject: Reject,
    stream: &mut Stream,
    method: &Method,
    call: bool,
    record: &mut Record,
) {
    tracing::debug!(peer = %shared.origin.ends.client, %reject, "request refused");
    let stats = &shared.service.stats;
    stats.count_rejected(reject.rule);
    stats.count_response(reject.status);
    record.rejected(&reject);
    let detail = format!("{}: {}", reject.rule, reject.detail);
    stream.notify(reject.status, &detail, method, call);
}

/// The client's side of one request.
pub(super) struct Stream {
    incoming: Incoming,
    respond: SendResponse<Bytes>,
    /// Once the answer has begun.
    outgoing: Option<Outgoing>,
    /// It asks for a websocket.
    tunnel: bool,
}

impl Stream {
    fn new(body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self { incoming: Incoming::new(body), respond, outgoing: None, tunnel: false }
    }

    /// Waits for what must be known of the request. None if the client does not wait.
    async fn ask(&mut self, mut question: Question) -> Option<Box<Grant>> {
        let mut unused = Buffer::new();
        poll_fn(|cx| match question.as_mut().poll(cx) {
            Poll::Ready(grant) => Poll::Ready(Some(grant)),
            Poll::Pending => upstream::poll_gone(cx, self, &mut unused).map(|()| None),
        })
        .await
    }

    /// Answers by ourselves, unless an answer has begun.
    fn notify(&mut self, status: StatusCode, detail: &str, method: &Method, call: bool) {
        self.notify_by(status, (detail, None), method, call);
    }

    /// The same, by a page if there is one for it.
    fn notify_by(
        &mut self,
        status: StatusCode,
        (detail, page): (&str, Option<&ErrorPage>),
        method: &Method,
        call: bool,
    ) {
        if self.outgoing.is_some() {
            return self.abandon();
        }
        let (head, body) = own::answer(status, (detail, page), method, call);
        // Neither fails but for a client that is gone.
        if let Ok(mut stream) = self.respond.send_response(head, body.is_empty())
            && !body.is_empty()
        {
            let _ = stream.send_data(body, true);
        }
    }

    /// The caller's own deadline has passed.
    fn exceed(&mut self, method: &Method) -> StatusCode {
        let detail = "the deadline has passed";
        match &mut self.outgoing {
            Some(outgoing) => {
                // It fails only for a client that is gone.
                let _ = outgoing.end_with(own::call_status(own::DEADLINE_EXCEEDED, detail));
            }
            None => self.notify(StatusCode::GATEWAY_TIMEOUT, detail, method, true),
        }
        StatusCode::GATEWAY_TIMEOUT
    }

    /// Cuts off an answer that will not be completed.
    fn abandon(&mut self) {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.abandon(),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

impl Source for Stream {
    fn taken(&mut self, count: u64) {
        self.incoming.taken(count);
    }

    fn trailers(&mut self, lines: &mut Vec<u8>) {
        self.incoming.trailers(lines);
    }
}

impl Sink for Stream {
    fn finish(&mut self, trailers: &[u8]) -> io::Result<()> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.finish(trailers),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Client for Stream {
    fn answer(
        &mut self,
        head: &ResponseHead<'_, '_>,
        changes: Changes<'_>,
        delivery: Delivery,
        framing: Framing,
        _: &mut Vec<u8>,
        _: &mut Buffer,
    ) -> io::Result<()> {
        let response = head::response(head, changes, delivery);
        if response.status().is_informational() {
            return self.respond.send_informational(response).map_err(into_io);
        }
        let stream = self.respond.send_response(response, framing.is_empty()).map_err(into_io)?;
        self.outgoing = Some(Outgoing::new(stream, framing));
        Ok(())
    }

    fn invite(&mut self, _: &mut Buffer) -> io::Result<()> {
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        self.respond.send_informational(response).map_err(into_io)
    }

    fn poll_presence(&mut self, cx: &mut Context<'_>, _: &mut Buffer) -> Presence {
        match self.respond.poll_reset(cx) {
            Poll::Ready(_) => Presence::Gone,
            Poll::Pending => Presence::Here,
        }
    }

    fn has_cancelled(&mut self, cx: &mut Context<'_>) -> bool {
        self.outgoing.as_mut().is_some_and(|outgoing| outgoing.is_reset(cx))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.incoming.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_write(cx, data),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// What is written is the connection's to send.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish(&[]))
    }
}
