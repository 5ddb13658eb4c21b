//! Whether a request is let in: the rules of its service, the limits of its route, and who its client is.
//!
//! # Theory of operation
//! A request is judged in this order, and the first that refuses it ends the judgement:
//!
//! 1. the rules of the service ([`access`](crate::access));
//! 2. the route is found, by whoever calls;
//! 3. limits of the route's rate that need no identity, so that a flood is turned away before anything
//!    costly is done for it;
//! 4. authentication;
//! 5. limits of the rate by identity;
//! 6. limits of requests at once: who may not come in holds no place.
//!
//! What takes time, a password's hash or a place that becomes free, is a question: its answer is noted in
//! what the request has passed, and the request is judged again. Nothing is counted twice.
//!
//! A service without any of this has no `Admission`, and pays one branch.

use std::cell::Cell;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::access::{Asked, Rules};
use crate::answer::Answer;
use crate::auth::basic::{Check, Checked};
use crate::auth::{Auth, Denial, Identity, Judgement};
use crate::http1::encode::notice_body;
use crate::http1::head::RequestHead;
use crate::http1::withheld::Withheld;
use crate::limit::at_once::{Entered, Place, Waiting};
use crate::limit::{Limit, Subject, admit};
use crate::limits::{CHECKS_AT_ONCE, CHECKS_WAITING};
use crate::log::End;
use crate::request::Judged;
use crate::route::RouteId;
use crate::tls::session::Session;

/// What time it is, by a clock that never goes back.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    start: Instant,
    /// From 1970 to the start.
    epoch: Duration,
}

impl WallClock {
    /// A clock that goes on from `epoch`, the time since 1970, by the time of the runtime that this is called
    /// in.
    pub fn starting(epoch: Duration) -> Self {
        Self { start: Instant::now(), epoch }
    }

    fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        Now { nanos, unix: (self.epoch + elapsed).as_secs() }
    }
}

/// A moment: nanoseconds from the start, and seconds from 1970.
#[derive(Clone, Copy)]
struct Now {
    nanos: u64,
    unix: u64,
}

/// Passwords that are hashed at the same time, by all services of a worker.
#[derive(Debug)]
pub struct Hashing {
    threads: Semaphore,
    waiting: Cell<usize>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { threads: Semaphore::new(CHECKS_AT_ONCE), waiting: Cell::new(0) }
    }
}

impl Hashing {
    /// Runs `check` on a thread of its own, once one of few is free. None if too many wait.
    async fn run(&self, check: Check) -> Option<Checked> {
        if self.waiting.get() >= CHECKS_WAITING {
            return None;
        }
        let _stands = Standing::new(&self.waiting);
        // It is never closed.
        let _thread = self.threads.acquire().await.ok()?;
        tokio::task::spawn_blocking(move || check.run()).await.ok()
    }
}

/// Counts as long as it lives.
struct Standing<'a>(&'a Cell<usize>);

impl<'a> Standing<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// What a route asks of its requests.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// How often they may come, and how many at once.
    pub limits: Vec<Rc<Limit>>,
    /// Who may.
    pub auth: Option<Rc<Auth>>,
}

/// Whom a service lets in.
#[derive(Debug)]
pub struct Admission {
    /// For all requests.
    pub rules: Rules,
    /// For those of each route, by its place in the list; none beyond the end.
    pub routes: Vec<Conditions>,
    /// Fields in which backends are told what we know of clients. No client's pass, by whichever route.
    pub withheld: Withheld,
    /// What time it is.
    pub clock: WallClock,
    /// Where passwords are hashed.
    pub hashing: Rc<Hashing>,
}

/// A request that asks to be let in.
#[derive(Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) head: &'a RequestHead<'a, 'a>,
    pub(crate) client: IpAddr,
    pub(crate) session: Option<&'a Session>,
    /// The route that it takes.
    pub(crate) route: Option<RouteId>,
    /// A browser asks whether it may ask, which its route answers: browsers show no credentials then.
    pub(crate) is_preflight: bool,
}

/// What a request has behind it.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// It was counted by the limits that need no identity.
    counted: bool,
    /// It was counted by all limits of a rate.
    counted_by_identity: bool,
    /// Who its client is, if it was asked and found out.
    identity: Option<Rc<Identity>>,
    /// Its places among those that are served at once, in the order of the limits.
    places: Vec<Place>,
    /// What its client is told of limits.
    limits: Vec<(&'static str, String)>,
    /// How a question ended that was not answered well.
    refused: Option<Refusal>,
}

/// An answer to a request that is not let in.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    fields: Vec<(&'static str, String)>,
    detail: &'static str,
    end: End,
}

/// What is said of a request.
pub(crate) enum Step {
    /// It is let in.
    In(Passed),
    /// It is not.
    Out(Refusal),
    /// Something must be known first.
    Ask(Pin<Box<dyn Future<Output = Passed>>>),
}

impl Admission {
    /// Judges a request that has `passed` some of it before.
    pub(crate) fn judge(&self, applicant: Applicant<'_>, mut passed: Passed) -> Step {
        if let Some(refusal) = passed.refused.take() {
            return Step::Out(refusal);
        }
        if let Some(status) = self.denies(applicant) {
            return Step::Out(Refusal::new(status, "this request is not allowed", End::Denied));
        }
        let Some(Conditions { limits, auth }) = self.conditions(applicant.route) else {
            return Step::In(passed);
        };
        if limits.is_empty() && auth.is_none() {
            return Step::In(passed);
        }
        let now = self.clock.now();
        if !passed.counted {
            let some = limits.iter().filter(|limit| !limit.needs_identity());
            if let Err(refusal) = count(now, some, applicant, &mut passed) {
                return Step::Out(refusal);
            }
            passed.counted = true;
        }
        if let Some(auth) = auth
            && passed.identity.is_none()
            && !applicant.is_preflight
        {
            match auth.judge(now.unix, &applicant.head.fields, applicant.session) {
                Judgement::Granted(identity) => passed.identity = Some(identity),
                Judgement::Denied(denial) => return Step::Out(denial.into()),
                Judgement::Ask(check) => return Step::Ask(self.ask(auth, *check, passed)),
            }
        }
        if !passed.counted_by_identity {
            let some = limits.iter().filter(|limit| limit.needs_identity());
            if let Err(refusal) = count(now, some, applicant, &mut passed) {
                return Step::Out(refusal);
            }
            passed.counted_by_identity = true;
        }
        enter(limits, applicant, passed)
    }

    /// Judges a request to a service without routes.
    pub(crate) fn judge_unrouted(
        &self,
        head: &RequestHead<'_, '_>,
        client: IpAddr,
        session: Option<&Session>,
    ) -> Judged {
        let applicant = Applicant { head, client, session, route: None, is_preflight: false };
        match self.judge(applicant, Passed::default()) {
            Step::Out(refusal) => refusal.into_judged(None),
            Step::In(_) | Step::Ask(_) => Judged::default(),
        }
    }

    fn conditions(&self, route: Option<RouteId>) -> Option<&Conditions> {
        self.routes.get(route?.0 as usize)
    }

    fn denies(&self, applicant: Applicant<'_>) -> Option<StatusCode> {
        let Applicant { head, client, .. } = applicant;
        let target = head.target.forwarded();
        let end = memchr::memchr(b'?', target).unwrap_or(target.len());
        let path = target.get(..end).unwrap_or_default();
        let fields = &head.fields;
        self.rules.denies(&Asked { client, method: &head.method, path, fields })
    }

    /// Has a password checked elsewhere.
    fn ask(
        &self,
        auth: &Rc<Auth>,
        check: Check,
        mut passed: Passed,
    ) -> Pin<Box<dyn Future<Output = Passed>>> {
        let (auth, hashing, clock) = (Rc::clone(auth), Rc::clone(&self.hashing), self.clock);
        Box::pin(async move {
            match hashing.run(check).await {
                Some(checked) => match auth.learn(clock.now().unix, checked) {
                    Judgement::Granted(identity) => passed.identity = Some(identity),
                    Judgement::Denied(denial) => passed.refused = Some(denial.into()),
                    // It was asked.
                    Judgement::Ask(_) => passed.refused = Some(Refusal::busy()),
                },
                None => passed.refused = Some(Refusal::busy()),
            }
            passed
        })
    }
}

/// Counts a request by these limits.
fn count<'a>(
    now: Now,
    limits: impl Iterator<Item = &'a Rc<Limit>> + Clone,
    applicant: Applicant<'_>,
    passed: &mut Passed,
) -> Result<(), Refusal> {
    let identity = passed.identity.as_deref();
    let with_keys = limits.map(|limit| (&**limit, key(limit, applicant, identity)));
    admit(now.nanos, with_keys.clone()).map_err(|(limit, reading)| {
        let detail = "too many requests in a time";
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, detail, End::Limited);
        refusal.fields = limit.fields(reading);
        refusal
    })?;
    for (limit, key) in with_keys.filter(|(limit, _)| limit.tells()) {
        let fields = limit.read(now.nanos, key).map(|reading| limit.fields_of_taken(reading));
        passed.limits.extend(fields.into_iter().flatten());
    }
    Ok(())
}

fn key(limit: &Limit, applicant: Applicant<'_>, identity: Option<&Identity>) -> u64 {
    let Applicant { head, client, route, .. } = applicant;
    let identity = identity.map(|identity| identity.name.as_str());
    let subject = Subject { client, identity, route: route.map_or(u32::MAX, |RouteId(id)| id) };
    limit.key(&subject, |name| head.fields.named(name).next())
}

/// Takes the places that the request has not.
fn enter(limits: &[Rc<Limit>], applicant: Applicant<'_>, mut passed: Passed) -> Step {
    let of_places = limits.iter().filter_map(|limit| Some((limit, limit.at_once()?)));
    for (limit, at_once) in of_places.skip(passed.places.len()) {
        let key = key(limit, applicant, passed.identity.as_deref());
        match at_once.enter(key) {
            Entered::Served(place) => passed.places.push(place),
            Entered::Waits(waiting, time) => return Step::Ask(wait(waiting, time, passed)),
            Entered::Refused => return Step::Out(Refusal::full("too many requests at once")),
        }
    }
    Step::In(passed)
}

/// Waits for a place.
fn wait(
    waiting: Waiting,
    time: Duration,
    mut passed: Passed,
) -> Pin<Box<dyn Future<Output = Passed>>> {
    Box::pin(async move {
        match tokio::time::timeout(time, waiting).await {
            Ok(place) => passed.places.push(place),
            Err(_) => passed.refused = Some(Refusal::full("no place became free in time")),
        }
        passed
    })
}

impl Passed {
    /// Has the backend told who the client is, and the client how much it may; and its places held until it
    /// is answered.
    pub(crate) fn tell(self, admission: &Admission, route: Option<RouteId>, judged: &mut Judged) {
        let auth = admission.conditions(route).and_then(|conditions| conditions.auth.as_ref());
        if let Some((auth, identity)) = auth.zip(self.identity.as_ref()) {
            let fields = &mut judged.extra().rewritten.fields;
            fields.add(auth.user_field(), identity.name.as_bytes());
            for (name, value) in &identity.fields {
                fields.add(name, value.as_bytes());
            }
        }
        for (name, value) in self.limits {
            judged.extra().edits.add(name, value.into_bytes());
        }
        if !self.places.is_empty() {
            judged.extra().places = self.places;
        }
    }
}

impl Refusal {
    const fn new(status: StatusCode, detail: &'static str, end: End) -> Self {
        Self { status, fields: Vec::new(), detail, end }
    }

    /// Too many passwords are being checked.
    fn busy() -> Self {
        let detail = "too many passwords are being checked";
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, detail, End::Limited);
        refusal.fields.push(("Retry-After", "1".to_owned()));
        refusal
    }

    /// No place was to be had.
    fn full(detail: &'static str) -> Self {
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, detail, End::Limited);
        refusal.fields.push(("Retry-After", "1".to_owned()));
        refusal
    }

    /// What becomes of the request.
    pub(crate) fn into_judged(self, route: Option<RouteId>) -> Judged {
        let mut judged = Judged::answered(route, self.answer());
        judged.extra().end = Some(self.end);
        judged
    }

    /// The answer that says so.
    fn answer(&self) -> Answer {
        let body = notice_body(self.status, self.detail);
        let kind = ("Content-Type", &b"text/plain; charset=utf-8"[..]);
        // What one client may not have, another may.
        let own = ("Cache-Control", &b"no-store"[..]);
        let fields = self.fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        Answer::new(self.status, [kind, own].into_iter().chain(fields), Bytes::from(body))
    }
}

impl From<Denial> for Refusal {
    /// The reason is for the log: whoever guesses learns nothing.
    fn from(denial: Denial) -> Self {
        let detail = match denial.status {
            StatusCode::UNAUTHORIZED => "who you are is not known",
            StatusCode::FORBIDDEN => "a certificate of yours is needed that is trusted here",
            StatusCode::BAD_REQUEST => "several credentials",
            _ => "the credentials are too long",
        };
        tracing::debug!(reason = denial.reason.text(), "a request is not let in");
        let mut refusal = Self::new(denial.status, detail, End::Unauthenticated);
        refusal.fields.extend(denial.challenge.map(|challenge| ("WWW-Authenticate", challenge)));
        refusal
    }
}
