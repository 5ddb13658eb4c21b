//! A request that is sent, and what the cache makes of its answer.

use std::rc::Rc;

use http::{Method, StatusCode};

use super::directive::RequestDirectives;
use super::flight::Flight;
use super::freshness::is_error;
use super::lines::{self, Lines, Text};
use super::stats::Outcome;
use super::stored::{Came, Stored, To};
use super::{Cache, Facts, Given, Inner, Time, Way, select};
use crate::http1::edits::Changes;
use crate::http1::encode;
use crate::http1::head::ResponseHead;
use crate::limits::{CACHE_REFERENCES, CACHE_UNKEPT};

/// What is to be done with a request that is forwarded.
#[derive(Debug)]
pub(super) enum Plan {
    /// Its answer is kept, if it may be; what is stored is validated by it.
    Keep { stored: Option<Rc<Stored>>, flight: Option<Rc<Flight>>, others: bool },
    /// What is kept is removed if it succeeds.
    Remove,
    /// Nothing, for that reason.
    Pass(Outcome),
}

/// A request as the cache remembers it until it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    key: Box<[u8]>,
    fields: Box<[u8]>,
    facts: Facts,
    authorised: bool,
    space: u64,
}

impl Asked {
    pub(super) fn new(key: &[u8], fields: &impl Lines, facts: Facts, way: Way) -> Self {
        let mut text = Vec::with_capacity(256);
        for (name, value) in fields.all() {
            lines::push(name, value, &mut text);
        }
        let authorised = way.authorised || fields.lines("authorization").next().is_some();
        Self { key: key.into(), fields: text.into(), facts, authorised, space: way.space }
    }
}

/// What becomes of an answer whose head is here.
#[derive(Debug)]
pub enum Step {
    /// The client gets it. Its body is to be shown to [`Fetch::body`].
    Deliver,
    /// The client gets this in its place; the body is thrown away.
    Instead(Given),
}

/// Names of fields that do not pass, and fields that are put in.
pub type Conditions = (&'static [&'static str], Vec<(&'static str, Box<[u8]>)>);

/// A request that was forwarded through a cache.
///
/// Calls come in the order [`conditions`](Self::conditions), [`answered`](Self::answered),
/// [`body`](Self::body), [`finish`](Self::finish); where the backend fails, [`failed`](Self::failed).
/// Dropped before its end, nothing is kept, and who waited is let go.
pub struct Fetch {
    cache: Rc<Cache>,
    asked: Asked,
    directives: RequestDirectives,
    stored: Option<Rc<Stored>>,
    flight: Option<Rc<Flight>>,
    keeps: bool,
    removes: bool,
    is_background: bool,
    sent: Time,
    mark: u64,
    outcome: Outcome,
    /// The status that the backend answered with.
    status: Option<StatusCode>,
    arriving: Option<Arriving>,
    /// It was counted.
    counted: bool,
}

/// An answer that is being taken in.
struct Arriving {
    stored: Stored,
    body: Vec<u8>,
    /// Bytes that it was given of those that may be taken in at once.
    room: u64,
}

impl Fetch {
    pub(super) fn new(
        cache: &Rc<Cache>,
        asked: Asked,
        plan: Plan,
        inner: &Inner,
        now: Time,
    ) -> Self {
        let directives = cache.directives(&Text::new(&asked.fields));
        let (stored, flight, keeps, removes, outcome) = match plan {
            Plan::Keep { stored, flight, others } => {
                let outcome = match (&stored, others) {
                    (Some(_), _) => Outcome::Changed,
                    (None, true) => Outcome::VaryMiss,
                    (None, false) => Outcome::Miss,
                };
                (stored, flight, true, false, outcome)
            }
            Plan::Remove => (None, None, false, true, Outcome::Method),
            Plan::Pass(outcome) => (None, None, false, false, outcome),
        };
        Self {
            cache: Rc::clone(cache),
            asked,
            directives,
            stored,
            flight,
            keeps,
            removes,
            is_background: false,
            sent: now,
            mark: inner.store.mark(),
            outcome,
            status: None,
            arriving: None,
            counted: false,
        }
    }

    /// There is an answer, and it is not for this client.
    pub(super) const fn withheld(&mut self) {
        self.outcome = Outcome::Bypass;
    }

    /// Its client has been answered, and is not counted again.
    pub(super) fn in_background(&mut self) {
        self.is_background = true;
        self.counted = true;
    }

    /// Whether its client has been answered: what it fetches is for the cache alone.
    pub const fn is_background(&self) -> bool {
        self.is_background
    }

    /// What the request is to ask in the place of the client's own conditions: names of fields that do not
    /// pass, and those that are put in (RFC 9111 section 4.3.1).
    pub fn conditions(&self) -> Conditions {
        const OWN: &[&str] = &["If-None-Match", "If-Modified-Since"];
        // A client's own conditions are not for what it will never see.
        let of_client: &[&str] =
            if self.is_background { &["Range", "If-Range"] } else { Default::default() };
        let Some(stored) = self.stored.as_ref().filter(|stored| stored.has_validator()) else {
            return (of_client, Vec::new());
        };
        let etag = stored.etag.clone().map(|etag| ("If-None-Match", etag));
        let modified = stored.modified.clone().map(|time| ("If-Modified-Since", time));
        let removed = if self.is_background {
            &["If-None-Match", "If-Modified-Since", "Range", "If-Range"]
        } else {
            OWN
        };
        (removed, etag.into_iter().chain(modified).collect())
    }

    /// The head of the answer is here. It is not interim.
    pub fn answered(&mut self, head: &ResponseHead<'_, '_>) -> Step {
        let mut fields = Vec::with_capacity(512);
        for field in encode::response_fields(head, Changes::NONE) {
            lines::push(field.name, field.value, &mut fields);
        }
        self.answered_by(head.status, &Text::new(&fields), head.length)
    }

    pub(super) fn answered_by(
        &mut self,
        status: StatusCode,
        fields: &impl Lines,
        length: Option<u64>,
    ) -> Step {
        self.status = Some(status);
        if self.removes {
            self.remove(status, fields);
        }
        if !self.keeps {
            self.count();
            return Step::Deliver;
        }
        let now = self.cache.now();
        let came = Came { status, fields, times: (self.sent, now) };
        if let Some(stored) = self.stored.clone() {
            if status == StatusCode::NOT_MODIFIED && stored.has_validator() {
                return Step::Instead(self.validated(&stored, &came, now));
            }
            if is_error(status) && stored.freshness.covers_errors(&self.directives, now) {
                return Step::Instead(self.give(&stored, Outcome::StaleOnError, now));
            }
        }
        self.count();
        let asked = Text::new(&self.asked.fields);
        let Ok(stored) = Stored::new(&came, &self.to(&asked), &self.cache.policy) else {
            self.is_not_kept(status, now);
            return Step::Deliver;
        };
        self.take_in(stored, length);
        Step::Deliver
    }

    /// The value of `Cache-Status` for an answer that is delivered as it came.
    pub fn cache_status(&self) -> String {
        let name = &self.cache.policy.name;
        let why = self.outcome.forwarded().unwrap_or("bypass");
        let stored = if self.arriving.is_some() { "; stored" } else { "" };
        format!("{name}; fwd={why}{stored}")
    }

    /// What came of the request.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the body is wanted.
    pub const fn keeps(&self) -> bool {
        self.arriving.is_some()
    }

    /// Bytes of the body, as they pass.
    pub fn body(&mut self, bytes: &[u8]) {
        let Some(arriving) = &mut self.arriving else { return };
        let need = (arriving.body.len() + bytes.len()) as u64;
        if need > arriving.room {
            let more = need.next_multiple_of(64 * 1024) - arriving.room;
            if need > self.cache.policy.greatest
                || !self.cache.inner.borrow_mut().has_room(more, &self.cache)
            {
                return self.abandon();
            }
            arriving.room += more;
        }
        arriving.body.extend_from_slice(bytes);
    }

    /// The answer has been here to its end.
    pub fn finish(&mut self) {
        let Some(arriving) = self.arriving.take() else { return };
        let Arriving { mut stored, body, room } = arriving;
        self.cache.inner.borrow_mut().arriving -= room;
        stored.body = body.into_boxed_slice().into();
        self.keep(Rc::new(stored));
        self.land();
    }

    /// The backend did not answer, or what it said is no answer. What is given in the place of the failure.
    pub fn failed(&mut self) -> Option<Given> {
        let now = self.cache.now();
        let stored = self.stored.clone()?;
        if self.status.is_some() || !stored.freshness.covers_errors(&self.directives, now) {
            return None;
        }
        Some(self.give(&stored, Outcome::StaleOnError, now))
    }

    fn to<'a>(&'a self, fields: &'a Text<'a>) -> To<'a, Text<'a>> {
        let Asked { authorised, space, .. } = self.asked;
        To { fields, directives: &self.directives, authorised, space }
    }

    /// RFC 9111 section 4.3.4.
    fn validated(&mut self, stored: &Rc<Stored>, came: &Came<'_, impl Lines>, now: Time) -> Given {
        let asked = Text::new(&self.asked.fields);
        let fresh = stored.freshened(came, &self.to(&asked), &self.cache.policy);
        let Some(fresh) = fresh else {
            // It is what was asked about, and is not to be kept as the answer now is: once more, and no more.
            self.cache.inner.borrow_mut().store.forget(&self.asked.key, stored);
            self.land();
            return self.give(stored, Outcome::Validated, now);
        };
        let fresh = Rc::new(fresh);
        self.keep(Rc::clone(&fresh));
        let given = self.give(&fresh, Outcome::Validated, now);
        self.land();
        given
    }

    fn give(&mut self, stored: &Stored, outcome: Outcome, now: Time) -> Given {
        self.outcome = outcome;
        self.count();
        let name = &self.cache.policy.name;
        let code = self.status.map(|status| format!("; fwd-status={}", status.as_u16()));
        let (hit, code) =
            (if outcome == Outcome::StaleOnError { "; hit" } else { "" }, code.unwrap_or_default());
        // RFC 9211 section 2.1: a hit is what was answered without waiting for another.
        let status = format!("{name}{hit}; fwd=stale{code}; ttl={}", stored.freshness.ttl(now));
        let fields = Text::new(&self.asked.fields);
        let is_head = self.asked.facts.is_head;
        let (head, body) = select::answer(stored, &fields, is_head, status.as_bytes(), now);
        Given { head, body, refresh: None, outcome }
    }

    fn take_in(&mut self, stored: Stored, length: Option<u64>) {
        let policy = &self.cache.policy;
        let room = length.unwrap_or(0);
        if room > policy.greatest || !self.cache.inner.borrow_mut().has_room(room, &self.cache) {
            self.cache.stats.unstored.bump();
            return self.land();
        }
        let body = Vec::with_capacity(usize::try_from(room).unwrap_or_default());
        self.arriving = Some(Arriving { stored, body, room });
    }

    fn keep(&mut self, stored: Rc<Stored>) {
        let mut inner = self.cache.inner.borrow_mut();
        if inner.store.was_removed(&self.asked.key, self.mark) {
            return;
        }
        let counter = if inner.store.keep(&self.asked.key, stored) {
            &self.cache.stats.stored
        } else {
            &self.cache.stats.unstored
        };
        counter.bump();
    }

    /// Others need not wait for what is theirs alone.
    fn is_not_kept(&mut self, status: StatusCode, now: Time) {
        if self.flight.is_some() && !is_error(status) {
            let mut inner = self.cache.inner.borrow_mut();
            inner.store.mark_unkept(&self.asked.key, now + CACHE_UNKEPT);
        }
        self.land();
    }

    /// RFC 9111 section 4.4.
    fn remove(&mut self, status: StatusCode, fields: &impl Lines) {
        if !(status.is_success() || status.is_redirection()) {
            return;
        }
        let mut inner = self.cache.inner.borrow_mut();
        let mut count = inner.store.remove(&self.asked.key);
        let others = fields.lines("location").chain(fields.lines("content-location"));
        for reference in others.take(CACHE_REFERENCES) {
            if let Some(key) = resolve(&self.asked.key, reference) {
                count += inner.store.remove(&key);
            }
        }
        self.cache.stats.invalidated.add(count as u64);
    }

    fn count(&mut self) {
        if !std::mem::replace(&mut self.counted, true) {
            self.cache.stats.count(self.outcome);
        }
    }

    /// Gives up taking in.
    fn abandon(&mut self) {
        if let Some(arriving) = self.arriving.take() {
            self.cache.inner.borrow_mut().arriving -= arriving.room;
            self.cache.stats.unstored.bump();
        }
        self.land();
    }

    fn land(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.cache.inner.borrow_mut().flights.end(&self.asked.key, &flight);
        }
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.abandon();
        self.count();
        if self.is_background {
            self.cache.inner.borrow_mut().refreshing -= 1;
        }
    }
}

impl Inner {
    /// Takes so many bytes for an answer that arrives, if there are so many.
    fn has_room(&mut self, more: u64, cache: &Cache) -> bool {
        let arriving = self.arriving + more;
        let fits = arriving <= cache.policy.memory / 4;
        if fits {
            self.arriving = arriving;
        }
        fits
    }
}

/// The key that `reference` means, relative to `base`, if it is of the same origin (RFC 9111 section 4.4).
fn resolve(base: &[u8], reference: &[u8]) -> Option<Vec<u8>> {
    let reference = reference.split(|&byte| byte == b'#').next().unwrap_or_default();
    let authority = base.windows(3).position(|three| three == b"://")? + 3;
    let path = authority + base.get(authority..)?.iter().position(|&byte| byte == b'/')?;
    let (origin, rest) = base.split_at_checked(path)?;
    if reference.windows(3).any(|three| three == b"://") {
        let key = super::purge_key(reference);
        return (key.starts_with(origin) && key.get(path) == Some(&b'/')).then_some(key);
    }
    if reference.starts_with(b"//") {
        let scheme = origin.get(..authority - 2)?;
        return resolve(base, &[scheme, reference].concat());
    }
    let full = match reference {
        [] => rest.to_vec(),
        [b'/', ..] => reference.to_vec(),
        [b'?', ..] => {
            let end = rest.iter().position(|&byte| byte == b'?').unwrap_or(rest.len());
            [rest.get(..end)?, reference].concat()
        }
        _ => {
            let end = rest.iter().position(|&byte| byte == b'?').unwrap_or(rest.len());
            let slash = rest.get(..end)?.iter().rposition(|&byte| byte == b'/')?;
            [rest.get(..=slash)?, reference].concat()
        }
    };
    let target = crate::http1::target::check(&Method::GET, &full).ok()?;
    Some([origin, target.forwarded()].concat())
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch")
            .field("asked", &self.asked)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}
