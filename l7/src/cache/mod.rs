//! The shared cache of HTTP (RFC 9111).
//!
//! # Theory of operation
//! A request of a route with a cache is judged twice: before it is sent anywhere, by [`Cache::judge`], and
//! once the head of an answer is here, by [`Fetch::answered`].
//!
//! ```text
//!            ┌─ fresh ───────────────────────────────► Answer
//!            ├─ stale, may be used meanwhile ────────► Answer, and a Fetch in the background
//!  judge ────┼─ on its way for another ──────────────► Wait, then judge once more
//!            ├─ stale with a validator ─► Fetch: 304 ─► freshened, kept, given
//!            ├─ nothing ────────────────► Fetch: kept as it passes, if it may be
//!            └─ not for caches ─────────► Fetch: passes; unsafe methods remove what is kept
//! ```
//!
//! **Keys.** An answer is found by scheme, host and target as they are forwarded, by the way that its
//! request took (so that what one route rewrites is not what another gives), and by the fields that `Vary`
//! names. Some fields count even if it does not name them (`vary`). Where a backend and we may read the
//! path differently, or there is a body with GET, nothing is kept and nothing given.
//!
//! **Rules** are those of RFC 9111, in `freshness` and `directive`. The crate `http-cache-semantics` is
//! the second opinion in tests; it is not used here since it takes directives with their case, splits
//! quoted text, knows one form of dates, drops all but the last of several fields of one name, and copies
//! a head for every look.
//!
//! **Bounds.** Bytes that are kept ([`Policy::memory`]), bytes of one answer ([`Policy::greatest`]), answers
//! of one URI, requests that wait for one fetch and how long, validations in the background (the limits
//! `CACHE_*` of [`crate::limits`]), answers that are being taken in (a quarter of the memory).
//!
//! What was removed while an answer was on its way is not kept: a purge and a change by an unsafe method
//! hold for what was asked for before them.

mod caches;
mod date;
mod dictionary;
mod directive;
mod fetch;
mod flight;
mod freshness;
mod lines;
mod select;
mod stats;
mod store;
mod stored;
mod vary;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

pub use caches::{Caches, Purge};
pub use fetch::{Conditions, Fetch, Step};
pub use flight::Waiting;
pub use freshness::Unkept;
pub use stats::{CacheStats, Outcome};

use crate::http1::head::RequestHead;
use crate::limits::CACHE_REFRESHES;
use directive::RequestDirectives;
use fetch::{Asked, Plan};
use flight::Flights;
use freshness::Use;
use lines::Lines;
use store::{Found, Store};
use stored::Stored;

/// A time from the Unix epoch.
pub type Time = Duration;

/// How a cache behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What it is called in `Cache-Status`: a token.
    pub name: String,
    /// Bytes that are kept.
    pub memory: u64,
    /// Bytes of the body of the greatest answer that is kept.
    pub greatest: u64,
    /// For how long an answer may be used while it is validated, where it says nothing of that (RFC 5861
    /// section 3). Default zero.
    pub stale_while_revalidate: Duration,
    /// For how long it may be used if the backend fails (RFC 5861 section 4). Default zero.
    pub stale_if_error: Duration,
    /// For how long 404, 405, 410, 414 and 501 are fresh where they say nothing. Default zero: not at all.
    pub negative: Duration,
    /// The longest that an answer is taken for fresh since it had not changed for long. Default a day.
    pub heuristic: Duration,
    /// Answers that set cookies are kept if they say how long they are fresh, and every client gets the
    /// cookie. Default false.
    pub cookies: bool,
    /// Clients may have answers fetched anew, by `Cache-Control` in requests. Default true.
    pub obeys_clients: bool,
}

impl Policy {
    /// The default with so many bytes.
    pub fn new(memory: u64) -> Self {
        Self {
            name: "balun".to_owned(),
            memory,
            greatest: memory / 8,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            negative: Duration::ZERO,
            heuristic: Duration::from_hours(24),
            cookies: false,
            obeys_clients: true,
        }
    }
}

/// What a request's way says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Its client's side is TLS.
    pub secure: bool,
    /// Which route it takes, among those that share the cache.
    pub space: u64,
    /// It was let through by its credentials, other than by `Authorization`.
    pub authorised: bool,
    /// It has waited for another's fetch, and will not wait again.
    pub waited: bool,
}

/// A cache, as one route uses it.
#[derive(Clone, Debug)]
pub struct Cached {
    /// The cache.
    pub cache: Rc<Cache>,
    /// Which route it is, among all that use the cache, of whatever service.
    pub route: u32,
    /// What the route lets through was let through by its credentials.
    pub authorised: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Judgement {
    /// It is answered from memory.
    Answer(Given),
    /// It is sent, and the answer shown to this.
    Fetch(Box<Fetch>),
    /// Another's fetch is waited for; then it is judged again.
    Wait(Waiting),
    /// The client wants nothing but what is kept, and nothing is: 504.
    Unavailable,
}

/// An answer from memory.
#[derive(Debug)]
pub struct Given {
    /// The head as text of HTTP/1.1, to the empty line.
    pub head: Vec<u8>,
    /// The body; empty for HEAD.
    pub body: Bytes,
    /// What is to be sent in the background to have the answer validated.
    pub refresh: Option<Box<Fetch>>,
    /// What came of the request.
    pub outcome: Outcome,
}

/// A cache.
pub struct Cache {
    policy: Policy,
    clock: Rc<dyn Fn() -> Time>,
    stats: CacheStats,
    inner: RefCell<Inner>,
}

struct Inner {
    store: Store,
    flights: Flights,
    key: Vec<u8>,
    scratch: Vec<u8>,
    /// Bytes of answers that are being taken in.
    arriving: u64,
    /// Validations in the background.
    refreshing: usize,
}

impl Cache {
    /// An empty one. `seed` is for its tables; `clock` tells the time from the Unix epoch.
    pub fn new(policy: Policy, seed: u64, clock: Rc<dyn Fn() -> Time>) -> Rc<Self> {
        let inner = Inner {
            store: Store::new(policy.memory, seed),
            flights: Flights::new(seed),
            key: Vec::new(),
            scratch: Vec::new(),
            arriving: 0,
            refreshing: 0,
        };
        let stats = CacheStats::default();
        Rc::new(Self { policy, clock, stats, inner: RefCell::new(inner) })
    }

    /// How it behaves.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What it did so far.
    pub const fn stats(&self) -> &CacheStats {
        &self.stats
    }

    /// Bytes that are taken.
    pub fn weight(&self) -> u64 {
        self.inner.borrow().store.weight()
    }

    /// Resources that are kept, or were found not to be.
    pub fn resources(&self) -> usize {
        self.inner.borrow().store.len()
    }

    fn now(&self) -> Time {
        (self.clock)()
    }

    /// What becomes of a request.
    pub fn judge(self: &Rc<Self>, head: &RequestHead<'_, '_>, way: Way) -> Judgement {
        let host = head.host.unwrap_or_default();
        let target = head.target.forwarded();
        let facts = Facts {
            is_get: head.method == Method::GET,
            is_head: head.method == Method::HEAD,
            may_change: !head.method.is_safe(),
            is_plain: head.framing.is_empty()
                && head.websocket.is_none()
                && !host.is_empty()
                && is_one_path(target),
            may_keep: !host.iter().any(u8::is_ascii_uppercase),
        };
        let mut inner = self.inner.borrow_mut();
        let Inner { key, .. } = &mut *inner;
        write_key(way.secure, host, target, key);
        drop(inner);
        self.judge_fields(&head.fields, facts, way)
    }

    fn judge_fields(self: &Rc<Self>, fields: &impl Lines, facts: Facts, way: Way) -> Judgement {
        let now = self.now();
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let asked = |plan: Plan, inner: &Inner| {
            Box::new(Fetch::new(self, Asked::new(&inner.key, fields, facts, way), plan, inner, now))
        };
        if !(facts.is_get || facts.is_head) {
            let plan = if facts.may_change { Plan::Remove } else { Plan::Pass(Outcome::Method) };
            return Judgement::Fetch(asked(plan, inner));
        }
        // Preconditions for what is to be changed are the backend's to judge.
        let conditional = fields.lines("if-match").chain(fields.lines("if-unmodified-since"));
        if !facts.is_plain || { conditional }.next().is_some() {
            return Judgement::Fetch(asked(Plan::Pass(Outcome::Bypass), inner));
        }
        let directives = self.directives(fields);
        let found = inner.store.find(&inner.key, way.space, fields, &mut inner.scratch);
        let authorised = way.authorised || fields.lines("authorization").next().is_some();
        let stored = found.stored.as_ref().filter(|stored| stored.for_authorised || !authorised);
        let usable = stored.map(|stored| (stored, stored.freshness.judge(&directives, now)));
        let fresh = matches!(usable, Some((_, Use::Fresh | Use::Stale | Use::WhileValidating)));
        if directives.only_if_cached && !fresh {
            self.stats.count(Outcome::Unavailable);
            return Judgement::Unavailable;
        }
        let (stored, verdict) = match usable {
            Some((stored, verdict)) => (Some(Rc::clone(stored)), verdict),
            None => (None, Use::Validate),
        };
        match (stored, verdict) {
            (Some(stored), Use::Fresh) => {
                Judgement::Answer(self.give(&stored, fields, facts, Outcome::Hit, now))
            }
            (Some(stored), Use::Stale) => {
                Judgement::Answer(self.give(&stored, fields, facts, Outcome::Stale, now))
            }
            (Some(stored), Use::WhileValidating) => {
                let mut given = self.give(&stored, fields, facts, Outcome::Stale, now);
                let may = inner.refreshing < CACHE_REFRESHES && !directives.only_if_cached;
                if facts.is_get && facts.may_keep && may {
                    let flight = inner.flights.begin(&inner.key);
                    inner.refreshing += usize::from(flight.is_some());
                    given.refresh = flight.map(|flight| {
                        let plan =
                            Plan::Keep { stored: Some(stored), flight: Some(flight), others: true };
                        let mut fetch = asked(plan, inner);
                        fetch.in_background();
                        fetch
                    });
                }
                Judgement::Answer(given)
            }
            (stored, Use::Validate) => {
                self.fetch(inner, fields, facts, way, (stored, &found, authorised), now)
            }
            (None, _) => Judgement::Fetch(asked(Plan::Pass(Outcome::Bypass), inner)),
        }
    }

    /// Sends a request on, or has it wait for one that was.
    fn fetch(
        self: &Rc<Self>,
        inner: &mut Inner,
        fields: &impl Lines,
        facts: Facts,
        way: Way,
        (stored, found, authorised): (Option<Rc<Stored>>, &Found, bool),
        now: Time,
    ) -> Judgement {
        let new = |plan: Plan, inner: &Inner| {
            let asked = Asked::new(&inner.key, fields, facts, way);
            Box::new(Fetch::new(self, asked, plan, inner, now))
        };
        if !facts.is_get || !facts.may_keep {
            return Judgement::Fetch(new(Plan::Pass(Outcome::Bypass), inner));
        }
        let lacks_validator = stored.as_ref().is_some_and(|stored| !stored.has_validator());
        // What may be answered by less than all is waited for by nobody.
        let partial = ["range", "if-none-match", "if-modified-since", "if-range"]
            .iter()
            .any(|name| fields.lines(name).next().is_some());
        let together = !authorised && (stored.is_some() && !lacks_validator || !partial);
        let mut flight = None;
        if together && found.unkept_until <= now {
            if inner.flights.is_under_way(&inner.key) {
                if !way.waited
                    && let Some(waiting) = inner.flights.join(&inner.key)
                {
                    self.stats.collapsed.bump();
                    return Judgement::Wait(waiting);
                }
            } else {
                flight = inner.flights.begin(&inner.key);
            }
        }
        let is_withheld = stored.is_none() && found.stored.is_some();
        let mut fetch = new(Plan::Keep { stored, flight, others: found.others }, inner);
        if is_withheld {
            fetch.withheld();
        }
        Judgement::Fetch(fetch)
    }

    fn directives(&self, fields: &impl Lines) -> RequestDirectives {
        let directives = RequestDirectives::of(fields);
        if self.policy.obeys_clients {
            return directives;
        }
        RequestDirectives { no_store: directives.no_store, ..RequestDirectives::default() }
    }

    fn give(
        &self,
        stored: &Stored,
        fields: &impl Lines,
        facts: Facts,
        outcome: Outcome,
        now: Time,
    ) -> Given {
        self.stats.count(outcome);
        let status = self.status_of_hit(stored, now);
        let (head, body) = select::answer(stored, fields, facts.is_head, &status, now);
        Given { head, body, refresh: None, outcome }
    }

    /// What `Cache-Status` says of an answer from memory (RFC 9211).
    fn status_of_hit(&self, stored: &Stored, now: Time) -> Vec<u8> {
        format!("{}; hit; ttl={}", self.policy.name, stored.freshness.ttl(now)).into_bytes()
    }

    /// Forgets the answers of `url`, which is a whole one. How many there were.
    pub fn purge(&self, url: &[u8]) -> usize {
        let key = purge_key(url);
        self.count_purged(self.inner.borrow_mut().store.remove(&key))
    }

    /// Forgets the answers of all URLs that begin so. How many there were. Looks at all that is kept.
    pub fn purge_prefix(&self, prefix: &[u8]) -> usize {
        let prefix = purge_key(prefix);
        let meant = |key: &[u8], _: &Stored| key.starts_with(&prefix);
        self.count_purged(self.inner.borrow_mut().store.remove_all(meant))
    }

    /// Forgets the answers that have that word in `Surrogate-Key` or `Cache-Tag`. How many there were. Looks
    /// at all that is kept.
    pub fn purge_tag(&self, tag: &[u8]) -> usize {
        let meant = |_: &[u8], stored: &Stored| stored.is_tagged(tag);
        self.count_purged(self.inner.borrow_mut().store.remove_all(meant))
    }

    /// Forgets all. How many answers there were.
    pub fn purge_all(&self) -> usize {
        self.count_purged(self.inner.borrow_mut().store.remove_all(|_, _| true))
    }

    fn count_purged(&self, count: usize) -> usize {
        self.stats.purged.add(count as u64);
        count
    }
}

/// What a request's line and framing say.
#[derive(Clone, Copy, Debug)]
struct Facts {
    is_get: bool,
    is_head: bool,
    may_change: bool,
    /// Nothing about it makes a kept answer doubtful.
    is_plain: bool,
    /// An answer to it may be kept.
    may_keep: bool,
}

fn write_key(secure: bool, host: &[u8], target: &[u8], key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(if secure { b"https://" } else { b"http://" });
    key.extend(host.iter().map(u8::to_ascii_lowercase));
    key.extend_from_slice(target);
}

/// A URL as keys have it: scheme and host in lower case, at least a slash behind them.
fn purge_key(url: &[u8]) -> Vec<u8> {
    let host = url.windows(3).position(|three| three == b"://").map_or(0, |at| at + 3);
    let rest = url.get(host..).unwrap_or_default();
    let end = rest.iter().position(|&b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let mut key = url.to_vec();
    if let Some(start) = key.get_mut(..host + end) {
        start.make_ascii_lowercase();
    }
    if end == rest.len() || rest.get(end) == Some(&b'?') {
        key.insert(host + end, b'/');
    }
    key
}

/// Whether all who read the path read the same: an encoded slash or a parameter is one thing to some
/// backends and nothing to others, and a route for `/static/` is not to keep what they take for `/account`.
fn is_one_path(target: &[u8]) -> bool {
    let end = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let path = target.get(..end).unwrap_or_default();
    memchr::memchr3(b'%', b';', b'*', path).is_none()
        || !path
            .windows(3)
            .any(|three| matches!(three, [b'%', b'2', b'f' | b'F'] | [b'%', b'5', b'c' | b'C']))
            && !path.contains(&b';')
            && path != b"*"
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
