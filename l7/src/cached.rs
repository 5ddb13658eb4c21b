//! Requests that go through a cache: what [`cache`](crate::cache) decides, done.
//!
//! # Theory of operation
//! A request of a route with a cache is judged with its head. An answer from memory goes the way of all
//! answers of our own. What is forwarded carries a [`Fetch`] along, which sees the head of the answer
//! before the client does, and a copy of its body. A stale answer that may be used meanwhile is validated
//! by a task of its own: the same request, for a client that nobody is.

use std::cell::RefCell;
use std::rc::Rc;

use http::{Method, StatusCode};

use crate::answer::Answer;
use crate::cache::{Cached, Fetch, Given, Judgement, Outcome, Step, Waiting, Way as Asked};
use crate::deadline::Deadline;
use crate::exchange::Buffers;
use crate::forward::Forward;
use crate::http1::edits::Edits;
use crate::http1::head::{RequestHead, ResponseHead};
use crate::log::Record;
use crate::nobody::Nobody;
use crate::proxy_protocol::Ends;
use crate::request::{Extra, Grant, Question, Request, Way};
use crate::service::Service;
use crate::transaction::Watched;
use crate::upstream::Connect;

/// What a cache makes of a request.
#[derive(Debug, Default)]
pub(crate) struct InCache {
    /// Goes with the request to a backend.
    fetch: RefCell<Option<Box<Fetch>>>,
    /// What is to be sent in the background.
    refresh: RefCell<Option<Box<Fetch>>>,
    /// What came of it, if it was answered from memory.
    pub(crate) outcome: Option<Outcome>,
}

impl InCache {
    /// What goes with the request to a backend; once.
    pub(crate) fn take(&self) -> Option<Box<Fetch>> {
        self.fetch.take()
    }
}

/// What is known of a request beside its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// Its client's side is TLS.
    pub(crate) secure: bool,
    pub(crate) way: Way,
    /// It may be made to wait for what another fetches.
    pub(crate) may_wait: bool,
}

/// Judges a request. What it waits for, if it is to wait, with what is known then; else it is noted in
/// `extra` what is done.
pub(crate) fn judge<C: Connect>(
    service: &Service<C>,
    head: &RequestHead<'_, '_>,
    asking: Asking,
    extra: &mut Option<Box<Extra>>,
    waited: Grant,
) -> Option<Question> {
    let waiting = judge_by(service.cache_of(asking.way.route)?, head, asking, extra)?;
    Some(Box::pin(async move {
        waiting.wait().await;
        Box::new(waited)
    }))
}

fn judge_by(
    cached: &Cached,
    head: &RequestHead<'_, '_>,
    asking: Asking,
    extra: &mut Option<Box<Extra>>,
) -> Option<Waiting> {
    if extra.as_ref().is_some_and(|extra| extra.own.is_some()) {
        return None;
    }
    let Asking { secure, way, may_wait } = asking;
    let space = (u64::from(cached.route) << 16) | u64::from(way.to);
    let asking = Asked { secure, space, authorised: cached.authorised, waited: !may_wait };
    let mut done = InCache::default();
    let extra = match cached.cache.judge(head, asking) {
        Judgement::Wait(waiting) => return Some(waiting),
        Judgement::Answer(mut given) => {
            let extra = extra.get_or_insert_default();
            if let Some(refresh) = given.refresh.take() {
                condition(&refresh, &mut extra.rewritten.fields);
                done.refresh.replace(Some(refresh));
            }
            done.outcome = Some(given.outcome);
            extra.own = Some(given.into());
            extra
        }
        Judgement::Unavailable => {
            let extra = extra.get_or_insert_default();
            done.outcome = Some(Outcome::Unavailable);
            extra.own = Some(Answer::text(StatusCode::GATEWAY_TIMEOUT, "nothing is kept\n"));
            extra
        }
        Judgement::Fetch(fetch) => {
            let extra = extra.get_or_insert_default();
            condition(&fetch, &mut extra.rewritten.fields);
            done.fetch.replace(Some(fetch));
            extra
        }
    };
    extra.cached = Some(done);
    None
}

/// Puts the conditions into the request that make it a validation.
fn condition(fetch: &Fetch, edits: &mut Edits) {
    let (removed, added) = fetch.conditions();
    for name in removed {
        edits.remove(name);
    }
    for (name, value) in added {
        edits.add(name, value);
    }
}

/// Shows the head of an answer to the cache; what is given in its place, if anything.
pub(crate) fn shown(fetch: &mut Fetch, head: &ResponseHead<'_, '_>) -> Option<Box<Answer>> {
    match fetch.answered(head) {
        Step::Deliver => None,
        Step::Instead(given) => Some(Box::new(given.into())),
    }
}

/// Adds what the client is told of the cache.
pub(crate) fn status(fetch: &Fetch, mut edits: Edits) -> Edits {
    edits.add("Cache-Status", fetch.cache_status().into_bytes());
    edits
}

impl From<Given> for Answer {
    fn from(given: Given) -> Self {
        Self::from_parts(given.head, given.body)
    }
}

/// Sends what is to be sent in the background, if anything; the head is in `buffers`.
pub(crate) fn refresh<C: Connect>(
    service: &Rc<Service<C>>,
    request: &Request,
    head: &[u8],
    ends: Ends,
) {
    let Some(fetch) = request.in_cache().and_then(|cached| cached.refresh.take()) else { return };
    let cached = InCache { fetch: RefCell::new(Some(fetch)), ..InCache::default() };
    let extra = Extra { cached: Some(cached), ..Extra::default() };
    let mut request = Request::of_nobody(Method::GET, request.way);
    request.extra = Some(Box::new(extra));
    let mut buffers = Buffers::default();
    buffers.head.extend_from_slice(head);
    tokio::task::spawn_local(fetch_in_background(Rc::clone(service), request, buffers, ends));
}

async fn fetch_in_background<C: Connect>(
    service: Rc<Service<C>>,
    request: Request,
    mut buffers: Buffers,
    ends: Ends,
) {
    let config = service.config_of(request.way.route);
    let private = service.private(ends);
    let mut deadline = Deadline::after(config.timeouts.response);
    let watched = Watched::new(None, ends.client, ends.service, false);
    let mut record = Record::new(watched, None, (ends.client, ends), "http");
    let mut forward = Forward {
        client: &mut Nobody,
        peer: &ends.client,
        service: &service,
        stats: &service.stats,
        to: service.destination(request.way.to),
        config,
        buffers: &mut buffers,
        deadline: &mut deadline,
        record: &mut record,
        private: private.as_ref(),
    };
    forward.run(&request).await;
    if let Some(private) = &private {
        private.clear();
    }
}
