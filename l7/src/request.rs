//! A request as it is forwarded, and the judgement of its head.

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use crate::accepted::Accepted;
use crate::admission::Passed;
use crate::answer::Answer;
use crate::buffer::Buffer;
use crate::buffering::{self, Buffering};
use crate::cached::{self, InCache};
use crate::destination::{Destination, Private};
use crate::http1::edits::{Changes, Edits};
use crate::http1::encode::{Forwarded, Hop};
use crate::http1::framing::Framing;
use crate::http1::head;
use crate::http1::proof;
use crate::http1::reject::{Reject, Rule};
use crate::http1::target::Target;
use crate::http1::websocket::Accept;
use crate::identity::{self, Identity};
use crate::limit::at_once::Place;
use crate::log::{End, Record};
use crate::persistence::Belongs;
use crate::proxy_protocol::Ends;
use crate::route::RouteId;
use crate::service::{Config, Service};
use crate::tls::session::Session;
use crate::transaction::Watched;
use crate::upstream::Connect;

/// Where a client's requests come from.
pub(crate) struct Origin<T> {
    /// The client and what it connected to.
    pub(crate) ends: Ends,
    /// The same as packets have it, if that is not the same.
    wire: Option<Box<Ends>>,
    /// Within TLS.
    pub(crate) secure: bool,
    /// What was agreed on in the handshake, if we had it.
    pub(crate) session: Option<Rc<Session>>,
    /// Connections to backends that are the client's own.
    pub(crate) private: Option<Private<T>>,
    /// In streams of HTTP/2.
    pub(crate) multiplexed: bool,
    peer_text: Box<str>,
    local_text: Box<str>,
}

impl<T> Origin<T> {
    pub(crate) fn new(accepted: Accepted, private: Option<Private<T>>) -> Self {
        let Accepted { ends, wire, secure, session } = accepted;
        let wire = (wire != ends).then(|| Box::new(wire));
        let peer_text = ends.client.ip().to_canonical().to_string().into_boxed_str();
        let local_text = ends.service.to_string().into_boxed_str();
        Self { ends, wire, secure, session, private, multiplexed: false, peer_text, local_text }
    }

    /// Whether the peer is believed about its clients.
    fn is_trusted(&self, config: &Config) -> bool {
        config.trusted.is_empty() || identity::is_within(&config.trusted, self.ends.client.ip())
    }

    /// What backends are told of its requests' clients.
    fn forwarded(&self, config: &Config) -> Forwarded {
        match config.forwarded {
            Forwarded::Append if !self.is_trusted(config) => Forwarded::Replace,
            forwarded => forwarded,
        }
    }

    /// Whose request that is: the peer's, or that of whom a trusted peer speaks for.
    pub(crate) fn client(&self, head: &head::RequestHead<'_, '_>, config: &Config) -> IpAddr {
        let peer = self.ends.client.ip();
        if config.trusted.is_empty() {
            peer
        } else {
            identity::client(peer, &config.trusted, &head.fields)
        }
    }

    /// What its requests to `service` are taken down in.
    pub(crate) fn record<C: Connect>(&self, service: &Service<C>) -> Record {
        let wire = self.wire.as_deref().copied().unwrap_or(self.ends);
        let Ends { client, service: local } = wire;
        let watched = Watched::new(service.watch.clone(), client, local, self.secure);
        let scheme = if self.secure { "https" } else { "http" };
        Record::new(watched, service.log.as_ref(), (self.ends.client, wire), scheme)
    }
}

/// What a head comes to.
pub(crate) enum Verdict {
    /// The request is served, by a backend or by ourselves.
    Serve(Request),
    /// Something must be known first; then it is judged again.
    Ask(Question),
}

/// Something that must be known of a request before it is served.
///
/// Its answer is put into the grant that it was made with.
pub(crate) type Question = Pin<Box<dyn Future<Output = Box<Grant>>>>;

/// What is known of a request that was judged before, and must stay as it was.
#[derive(Debug, Default)]
pub(crate) struct Grant {
    /// What it is called.
    pub(crate) identity: Option<Identity>,
    /// What its chances come from.
    pub(crate) chance: Option<u64>,
    /// How far it was let in.
    pub(crate) passed: Passed,
    /// It has waited as a fault on purpose wants it.
    pub(crate) delayed: bool,
    /// It has waited for what another fetched into a cache.
    pub(crate) waited: bool,
}

/// Judges a request's head and writes what to forward of it into `out`.
///
/// The `grant` is what an earlier verdict on the same head asked for.
pub(crate) fn prepare<C: Connect>(
    bytes: &[u8],
    service: &Service<C>,
    origin: &Origin<C::Stream>,
    record: &mut Record,
    grant: Option<Box<Grant>>,
    out: &mut Vec<u8>,
) -> Result<Verdict, Reject> {
    let config = &service.config;
    let mut slots = head::slots();
    let mut head = head::parse_request(bytes, &mut slots, config.strictness)?;
    let known = grant.as_ref().and_then(|grant| grant.identity);
    // What waited for a cache, or was counted on its way here, waits for none.
    let may_wait = service.admission.is_none() && !grant.as_ref().is_some_and(|it| it.waited);
    let (chance, delayed) = grant.as_ref().map_or((None, false), |it| (it.chance, it.delayed));
    let identity = match known {
        Some(identity) => identity,
        None => record.describe(&head, config.naming, &service.ids),
    };
    let judged = match judge(service, &head, origin, &identity, grant)? {
        Ok(judged) => judged,
        Err(question) => return Ok(Verdict::Ask(question)),
    };
    if let Some(end) = judged.extra.as_ref().and_then(|extra| extra.end) {
        record.ended(end);
    }
    let Judged { way, mut extra } = judged;
    let (to, config) = (service.destination(way.to), service.config_of(way.route));
    check_length(head.framing, config)?;
    // A body that is kept whole is asked for here: the backend gets it so.
    let invited = config.buffering.request && std::mem::take(&mut head.expects_continue);
    // Nobody asked for one to backends of HTTP/2 yet, where the handshake of HTTP/1 means nothing.
    if !config.websocket || to.http2 {
        head.websocket = None;
    }
    let waited =
        Grant { identity: Some(identity), chance, delayed, waited: true, ..Grant::default() };
    let asking = cached::Asking { secure: origin.secure, way, may_wait };
    if let Some(question) = cached::judge(service, &head, asking, &mut extra, waited) {
        return Ok(Verdict::Ask(question));
    }
    let rewritten = extra.as_ref().map(|extra| &extra.rewritten);
    if let Some(rewritten) = rewritten {
        if let Some(target) = &rewritten.target {
            head.target = Target::Origin(Cow::Borrowed(target));
        }
        if let Some(host) = &rewritten.host {
            head.host = Some(host);
        }
    }
    let of_route = service.request_edits(way.route);
    let hop = Hop {
        forwarded: origin.forwarded(config),
        spelling: config.spelling,
        client: &origin.peer_text,
        local: &origin.local_text,
        secure: origin.secure,
        name: &config.name,
        received: if origin.multiplexed { "2.0" } else { "1.1" },
        identity: &identity,
        changes: Changes::new(of_route, rewritten.map(|rewritten| &rewritten.fields))
            .without(service.withheld.as_deref()),
    };
    out.clear();
    proof::encode(&head, &hop, config.smuggling_proof, out)?;
    Ok(Verdict::Serve(Request {
        method: head.method,
        version: head.version,
        framing: head.framing,
        outgoing: head.framing,
        persistent: head.persistent,
        expects_continue: head.expects_continue,
        invited,
        trailers: head.trailers,
        withholds: service.withholds_names(),
        websocket: head.websocket,
        way,
        belongs: to.persistence.as_ref().map(|one| one.read(&head.fields)).unwrap_or_default(),
        extra,
    }))
}

/// What a request's head means to the service. The inner error is what must be known before.
fn judge<C: Connect>(
    service: &Service<C>,
    head: &head::RequestHead<'_, '_>,
    origin: &Origin<C::Stream>,
    identity: &Identity,
    grant: Option<Box<Grant>>,
) -> Result<Result<Judged, Question>, Reject> {
    if let (Some(session), Some(host)) = (&origin.session, head.host)
        && !session.is_for(host)
    {
        return Err(MISDIRECTED);
    }
    if let Some(routes) = &service.routes {
        return routes.judge(head, service, origin, identity, grant);
    }
    let Some(admission) = &service.admission else { return Ok(Ok(Judged::default())) };
    let (client, session) = (origin.client(head, &service.config), origin.session.as_deref());
    Ok(Ok(admission.judge_unrouted(head, client, session)))
}

/// Refuses a body that says of itself that it is too long.
fn check_length(framing: Framing, config: &Config) -> Result<(), Reject> {
    let Framing::Length(length) = framing else { return Ok(()) };
    if config.max_body.is_some_and(|limit| length > limit) {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return Err(Reject::new(Rule::R05, status, "the body is too long"));
    }
    let Buffering { request: whole, limit, .. } = config.buffering;
    if whole && length > limit as u64 { Err(buffering::TOO_LONG) } else { Ok(()) }
}

/// Where a request goes, and by which route.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// The route that it takes, if it takes one.
    pub(crate) route: Option<RouteId>,
    /// The index of a destination.
    pub(crate) to: u16,
}

/// What a route means for a request.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) way: Way,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What most requests do without.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    /// The answer, if no backend is to give it.
    pub(crate) own: Option<Answer>,
    /// Its connection is to be reset, on purpose.
    pub(crate) is_reset: bool,
    /// Where a copy of it goes: the index of a destination.
    pub(crate) mirror: Option<u16>,
    /// What is changed of the request.
    pub(crate) rewritten: Rewritten,
    /// What is changed of the head of the answer, besides what the route says of all.
    pub(crate) edits: Edits,
    /// How it ends, if it is not let in.
    pub(crate) end: Option<End>,
    /// Its places among those that are served at once.
    pub(crate) places: Vec<Place>,
    /// What a cache makes of it.
    pub(crate) cached: Option<InCache>,
}

/// What is changed of one request.
#[derive(Debug, Default)]
pub(crate) struct Rewritten {
    /// The path and query, checked as that of a client is.
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) host: Option<Vec<u8>>,
    pub(crate) fields: Edits,
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
    /// Its own trailer fields do not pass: a backend could take one for what we say of clients.
    pub(crate) withholds: bool,
    pub(crate) websocket: Option<Accept>,
    pub(crate) way: Way,
    /// Which backend it belongs to, if that is known.
    pub(crate) belongs: Belongs,
    pub(crate) extra: Option<Box<Extra>>,
}

impl Request {
    /// The answer, if no backend is to give it.
    pub(crate) fn own(&self) -> Option<&Answer> {
        self.extra.as_ref()?.own.as_ref()
    }

    /// Where a copy of it goes.
    pub(crate) fn mirror(&self) -> Option<u16> {
        self.extra.as_ref()?.mirror
    }

    /// Its connection is to be reset, on purpose.
    pub(crate) fn is_reset(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.is_reset)
    }

    /// What is changed of the head of its answer, besides what its route says.
    pub(crate) fn edits(&self) -> Option<&Edits> {
        self.extra.as_ref().map(|extra| &extra.edits)
    }

    /// What a cache makes of it, if it goes through one.
    pub(crate) fn in_cache(&self) -> Option<&InCache> {
        self.extra.as_ref()?.cached.as_ref()
    }

    /// Doing it twice is as doing it once (RFC 9110 section 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent() && self.method != Method::CONNECT
    }

    /// After which it goes to a second backend too, if it may: it asks for nothing to be done, is nothing
    /// but its head, and the connection to a backend is its alone.
    pub(crate) fn hedge_after<C: Connect>(
        &self,
        config: &Config,
        to: &Destination<C>,
    ) -> Option<Duration> {
        let safe = self.method.is_safe() && self.framing.is_empty() && self.websocket.is_none();
        config.hedge_after.filter(|_| safe && !to.http2)
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
