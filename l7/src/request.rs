//! A request as it is forwarded, and the judgement of its head.

use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use crate::accepted::Accepted;
use crate::buffer::Buffer;
use crate::buffering::{self, Buffering};
use crate::http1::encode::Hop;
use crate::http1::framing::Framing;
use crate::http1::head;
use crate::http1::proof;
use crate::http1::reject::{Reject, Rule};
use crate::http1::websocket::Accept;
use crate::log::Record;
use crate::proxy_protocol::Ends;
use crate::service::{Config, Private, Service};
use crate::tls::session::Session;
use crate::transaction::Watched;
use crate::upstream::Connect;

/// Where a client's requests come from.
pub(crate) struct Origin<T> {
    /// The client and what it connected to.
    pub(crate) ends: Ends,
    /// The same as packets have it.
    pub(crate) wire: Ends,
    /// Within TLS.
    pub(crate) secure: bool,
    /// What was agreed on in the handshake, if we had it.
    pub(crate) session: Option<Rc<Session>>,
    /// Connections to backends that are the client's own.
    pub(crate) private: Option<Private<T>>,
    /// In streams of HTTP/2.
    pub(crate) multiplexed: bool,
    peer_text: String,
    local_text: String,
}

impl<T> Origin<T> {
    pub(crate) fn new(accepted: Accepted, private: Option<Private<T>>) -> Self {
        let Accepted { ends, wire, secure, session } = accepted;
        let peer_text = ends.client.ip().to_canonical().to_string();
        let local_text = ends.service.to_string();
        Self { ends, wire, secure, session, private, multiplexed: false, peer_text, local_text }
    }

    /// What its requests to `service` are taken down in.
    pub(crate) fn record<C: Connect>(&self, service: &Service<C>) -> Record {
        let Ends { client, service: local } = self.wire;
        let watched = Watched::new(service.watch.clone(), client, local, self.secure);
        let scheme = if self.secure { "https" } else { "http" };
        Record::new(watched, service.log.as_ref(), (self.ends.client, self.wire), scheme)
    }
}

/// Judges a request's head and writes what to forward of it into `out`.
pub(crate) fn prepare<C: Connect>(
    bytes: &[u8],
    service: &Service<C>,
    origin: &Origin<C::Stream>,
    record: &mut Record,
    out: &mut Vec<u8>,
) -> Result<Request, Reject> {
    let config = &service.config;
    let mut slots = head::slots();
    let mut head = head::parse_request(bytes, &mut slots, config.strictness)?;
    let identity = record.describe(&head, config.naming, &service.ids);
    if let (Some(session), Some(host)) = (&origin.session, head.host)
        && !session.is_for(host)
    {
        return Err(MISDIRECTED);
    }
    if let (Framing::Length(length), Some(limit)) = (head.framing, config.max_body)
        && length > limit
    {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Reject::new(Rule::R05, status, "the body is too long"));
    }
    let Buffering { request: whole, limit, .. } = config.buffering;
    if whole && matches!(head.framing, Framing::Length(length) if length > limit as u64) {
        return Err(buffering::TOO_LONG);
    }
    // The body is asked for here: the backend gets it as a whole.
    let invited = whole && std::mem::take(&mut head.expects_continue);
    if !config.takes_websockets() {
        head.websocket = None;
    }
    let hop = Hop {
        forwarded: config.forwarded,
        client: &origin.peer_text,
        local: &origin.local_text,
        secure: origin.secure,
        name: &config.name,
        received: if origin.multiplexed { "2.0" } else { "1.1" },
        identity: &identity,
    };
    out.clear();
    proof::encode(&head, &hop, config.smuggling_proof, out)?;
    Ok(Request {
        method: head.method,
        version: head.version,
        framing: head.framing,
        outgoing: head.framing,
        persistent: head.persistent,
        expects_continue: head.expects_continue,
        invited,
        trailers: head.trailers,
        websocket: head.websocket,
    })
}

/// What is left of a request once its head has been re-encoded.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) version: Version,
    /// How the body arrives.
    pub(crate) framing: Framing,
    /// How the head as forwarded says that it is sent on.
    pub(crate) outgoing: Framing,
    pub(crate) persistent: bool,
    pub(crate) expects_continue: bool,
    /// The client waits for us, and for no backend, to ask for the body.
    pub(crate) invited: bool,
    /// The client understands trailer fields (`TE: trailers`).
    pub(crate) trailers: bool,
    pub(crate) websocket: Option<Accept>,
}

impl Request {
    /// Doing it twice is as doing it once (RFC 9110 section 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent() && self.method != Method::CONNECT
    }

    /// After which it goes to a second backend too, if it may: it asks for nothing to be done, is nothing
    /// but its head, and the connection to a backend is its alone.
    pub(crate) fn hedge_after(&self, config: &Config) -> Option<Duration> {
        let safe = self.method.is_safe() && self.framing.is_empty() && self.websocket.is_none();
        config.hedge_after.filter(|_| safe && !config.http2_backends)
    }

    /// Doing it twice is as doing it once, and all of its body that was sent is still in `input`, or there
    /// is none.
    pub(crate) fn may_be_sent_again(&self, input: &Buffer) -> bool {
        self.is_idempotent() && (self.framing.is_empty() || input.is_kept())
    }
}

const MISDIRECTED: Reject = Reject::new(
    Rule::R09,
    StatusCode::MISDIRECTED_REQUEST,
    "the certificate that was asked for is not for this host",
);
