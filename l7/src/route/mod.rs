//! Routes: which requests are treated apart, and how.
//!
//! # Theory of operation
//! A service has a list of routes. A request takes the first whose [condition](Condition) it fits, in the
//! order of the list, found by an index. What the route says is done: the request goes to a pool, or to
//! one of several, or is answered by ourselves; and heads are changed on their way. A request that fits no
//! route goes to the service's own pool, or is answered with 404 if it has none.
//!
//! A request may be judged more than once, when something must be asked before it is served: all that
//! chance decides follows from one number, which is drawn once and kept.
//!
//! | module | idea |
//! |---|---|
//! | `condition` | which requests |
//! | `path`, `text` | patterns of paths and of values |
//! | `table` | the index |
//! | `template` | texts with parts that each request decides |
//! | `action` | what is done |
//! | `cors` | whose scripts may read answers |
//! | `fault` | what goes wrong on purpose |

mod action;
mod condition;
mod cors;
mod fault;
mod path;
mod table;
mod template;
mod text;

use std::net::IpAddr;
use std::time::Duration;

pub use action::{Action, Fields, Operation, Rewrite, Split, Sticky};
pub use condition::{Ask, Condition, HostPattern, MILLION, Mismatch};
pub use cors::Cors;
pub use fault::{Abort, Fault};
pub use path::{BadPath, PathPattern, REST};
pub use template::{BadTemplate, Scene, Template, is_own};
pub use text::TextPattern;

use crate::admission::{Applicant, Step};
use crate::answer::Answer;
use crate::cache::Cached;
use crate::http1::edits::Edits;
use crate::http1::head::RequestHead;
use crate::http1::reject::Reject;
use crate::identity::Identity;
use crate::request::{Grant, Judged, Origin, Question};
use crate::service::{Config, Service};
use crate::upstream::Connect;
use table::Index;

/// A route, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

/// What is done with some requests.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which requests.
    pub condition: Condition,
    /// Who gives the answer.
    pub action: Action,
    /// What is changed of the request.
    pub rewrite: Rewrite,
    /// What is changed of the head of the answer.
    pub answer: Fields,
    /// How its requests are treated, if not as the service says.
    pub config: Option<Box<Config>>,
    /// Whose scripts may read answers; none leaves that to backends.
    pub cors: Option<Box<Cors>>,
    /// What goes wrong on purpose.
    pub fault: Option<Box<Fault>>,
    /// Where copies of requests without a body go: the index of a destination, and of how many of a
    /// million.
    pub mirror: Option<(u16, u32)>,
}

impl Route {
    /// All requests, which are treated as the service says.
    pub fn new(action: Action) -> Self {
        let (condition, rewrite) = (Condition::default(), Rewrite::default());
        let answer = Fields::default();
        Self {
            condition,
            action,
            rewrite,
            answer,
            config: None,
            cors: None,
            fault: None,
            mirror: None,
        }
    }
}

/// The routes of a service.
#[derive(Debug)]
pub struct Routes {
    list: Vec<Route>,
    index: Index,
    /// Something is left to chance.
    draws: bool,
    /// What becomes of a request that fits none; none if it goes to the service's own pool.
    otherwise: Option<Answer>,
    /// Where answers are kept, in the order of the list; beyond its end nowhere.
    caches: Vec<Option<Cached>>,
}

impl Routes {
    /// Routes in their order. A request that fits none gets the answer `otherwise`, or goes to the
    /// service's own pool.
    pub fn new(list: Vec<Route>, otherwise: Option<Answer>) -> Self {
        let mut index = Index::default();
        for (id, route) in (0..).zip(&list) {
            index.add(RouteId(id), &route.condition);
        }
        let draws = list.iter().any(Route::draws);
        Self { list, index, draws, otherwise, caches: Vec::new() }
    }

    /// The same with caches, one for each route of the list that has one.
    #[must_use]
    pub fn with_caches(mut self, caches: Vec<Option<Cached>>) -> Self {
        self.caches = caches;
        self
    }

    /// The route of that place.
    pub fn get(&self, id: RouteId) -> Option<&Route> {
        self.list.get(id.0 as usize)
    }

    /// All of them.
    pub fn list(&self) -> &[Route] {
        &self.list
    }

    /// The first route that `ask` fits.
    pub fn find(&self, ask: &Ask<'_>) -> Option<RouteId> {
        self.index.find(ask, |id| self.get(id).map(|route| &route.condition))
    }

    /// Each route before the first that `ask` fits, and why it does not fit; and that one.
    pub fn explain(&self, ask: &Ask<'_>) -> (Vec<(RouteId, Mismatch)>, Option<RouteId>) {
        let mut passed = Vec::new();
        for (id, route) in (0..).map(RouteId).zip(&self.list) {
            match route.condition.check(ask, id) {
                Ok(()) => return (passed, Some(id)),
                Err(mismatch) => passed.push((id, mismatch)),
            }
        }
        (passed, None)
    }

    /// What becomes of a request with that head.
    ///
    /// The inner error is what must be known before.
    ///
    /// # Errors
    /// The request cannot be rewritten as its route says.
    pub(crate) fn judge<C: Connect>(
        &self,
        head: &RequestHead<'_, '_>,
        service: &Service<C>,
        origin: &Origin<C::Stream>,
        identity: &Identity,
        mut grant: Option<Box<Grant>>,
    ) -> Result<Result<Judged, Question>, Reject> {
        let drawn = grant.as_ref().and_then(|grant| grant.chance);
        let draw = || if self.draws { u64::from_be_bytes(service.ids.next8()) } else { 0 };
        let chance = drawn.unwrap_or_else(draw);
        let client: IpAddr = origin.client(head, &service.config);
        let ask = Ask::new(head, client, chance);
        let found = self.find(&ask).and_then(|id| Some((id, self.get(id)?)));
        let question = |mut grant: Box<Grant>, delayed| {
            grant.identity = Some(*identity);
            grant.chance = Some(chance);
            grant.delayed |= delayed;
            grant
        };
        let mut told = None;
        if let Some(admission) = &service.admission {
            let session = origin.session.as_deref();
            let preflight = ask.preflight().is_some();
            let route = found.map(|(id, _)| id);
            let is_preflight = preflight && found.is_some_and(|(_, route)| route.cors.is_some());
            let applicant = Applicant { head, client, session, route, is_preflight };
            let passed = grant.as_mut().map(|grant| std::mem::take(&mut grant.passed));
            match admission.judge(applicant, passed.unwrap_or_default()) {
                Step::In(passed) => told = Some((admission, passed)),
                Step::Out(refusal) => return Ok(Ok(refusal.into_judged(route))),
                Step::Ask(asked) => {
                    let mut grant = question(grant.unwrap_or_default(), false);
                    return Ok(Err(Box::pin(async move {
                        grant.passed = asked.await;
                        grant
                    })));
                }
            }
        }
        let Some((id, route)) = found else {
            return Ok(Ok(self.unrouted()));
        };
        let is_delayed = grant.as_ref().is_some_and(|grant| grant.delayed);
        if let Some(delay) = route.delay(id, &ask).filter(|_| !is_delayed) {
            let mut grant = question(grant.unwrap_or_default(), true);
            grant.passed = told.map(|(_, passed)| passed).unwrap_or_default();
            return Ok(Err(Box::pin(async move {
                tokio::time::sleep(delay).await;
                grant
            })));
        }
        let mut judged = match route.abort(id, &ask) {
            Some(judged) => return Ok(Ok(judged)),
            None => route.judge(id, &ask, origin.secure)?,
        };
        if let Some((admission, passed)) = told {
            passed.tell(admission, Some(id), &mut judged);
        }
        Ok(Ok(judged))
    }

    fn unrouted(&self) -> Judged {
        match &self.otherwise {
            None => Judged::default(),
            Some(answer) => Judged::answered(None, answer.clone()),
        }
    }
}

impl Route {
    /// How long a request has to wait on purpose.
    fn delay(&self, id: RouteId, ask: &Ask<'_>) -> Option<Duration> {
        let fault = self.fault.as_ref()?;
        fault.delay.filter(|_| ask.happens(fault.share, id, 2))
    }

    /// How a request fails on purpose.
    fn abort(&self, id: RouteId, ask: &Ask<'_>) -> Option<Judged> {
        let fault = self.fault.as_ref().filter(|fault| ask.happens(fault.share, id, 2))?;
        match *fault.abort.as_ref()? {
            Abort::Status(status) => Some(Judged::answered(Some(id), Fault::answer(status))),
            Abort::Reset => {
                let mut judged = Judged::to(id, 0);
                judged.extra().is_reset = true;
                Some(judged)
            }
        }
    }
}

impl<C: Connect> Service<C> {
    fn route(&self, id: Option<RouteId>) -> Option<&Route> {
        self.routes.as_ref()?.get(id?)
    }

    /// How requests of a route are treated, or those of none.
    pub(crate) fn config_of(&self, route: Option<RouteId>) -> &Config {
        let own = self.route(route).and_then(|route| route.config.as_deref());
        own.unwrap_or(&self.config)
    }

    /// Where answers to requests of a route are kept.
    pub(crate) fn cache_of(&self, route: Option<RouteId>) -> Option<&Cached> {
        self.routes.as_ref()?.caches.get(route?.0 as usize)?.as_ref()
    }

    /// What is changed of the fields of every request of a route.
    pub(crate) fn request_edits(&self, route: Option<RouteId>) -> Option<&Edits> {
        self.route(route)?.rewrite.fields.fixed()
    }

    /// What is changed of the fields of every answer to a request of a route.
    pub(crate) fn answer_edits(&self, route: Option<RouteId>) -> Option<&Edits> {
        self.route(route)?.answer.fixed()
    }
}
