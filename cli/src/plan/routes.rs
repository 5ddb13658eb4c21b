//! Routes of services, from a checked configuration.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hyper::StatusCode;
use hyper::body::Bytes;
use l7::Answer;
use l7::cache::{Cached, Caches, Policy};
use l7::route::{Action, Route, Routes, Split};
use nat::PoolId;

use super::PlanError;
use super::from_config::pool_id;
use crate::config::model::{Body, Config, ErrorPage, Pool, Respond, RouteAction, Service, Spanned};
use crate::config::parse::route::kind_of;

/// Bytes of a file that is an answer's body.
const MOST: u64 = 1 << 20;

/// Where the requests of a service go.
#[derive(Clone, Debug, Default)]
pub struct RoutesPlan {
    /// The pools that it sends to, and whether their backends speak HTTP/2; routes name them by their
    /// places here. The first is the engine's for this service.
    pub pools: Vec<(PoolId, bool)>,
    /// What is done with some requests, in order.
    pub list: Vec<Route>,
    /// Where answers are kept, in the order of the routes.
    pub caches: Vec<Option<CachePlan>>,
    /// Requests that no route is for go to the first pool; else they are answered with 404.
    pub has_default: bool,
}

/// Where answers to requests of a route are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePlan {
    /// The cache. One name is one cache, whoever uses it.
    pub name: String,
    /// How it behaves.
    pub policy: Policy,
    /// The route lets requests through by their credentials.
    pub authorised: bool,
}

impl RoutesPlan {
    /// The routes with their caches, of which `before` routes use some already; counts them.
    pub(super) fn table(
        &self,
        config: &l7::Config,
        caches: &mut Caches,
        before: &mut u32,
    ) -> Routes {
        let mut cached = |plan: &CachePlan| {
            *before += 1;
            let cache = caches.cache(&plan.name, &plan.policy);
            Cached { cache, route: *before, authorised: plan.authorised }
        };
        let kept = self.caches.iter().map(|plan| plan.as_ref().map(&mut cached)).collect();
        Routes::new(self.list.clone(), self.otherwise(config)).with_caches(kept)
    }

    /// The answer to requests that no route is for, if they go nowhere.
    fn otherwise(&self, config: &l7::Config) -> Option<Answer> {
        if self.has_default {
            return None;
        }
        let status = StatusCode::NOT_FOUND;
        let page = config.pages.iter().find(|page| page.statuses.contains(&status.as_u16()));
        Some(match page {
            Some(page) => {
                let kind = ("Content-Type", page.kind.as_bytes());
                Answer::new(status, [kind], page.body.clone())
            }
            None => Answer::text(status, "404 Not Found\nno route\n"),
        })
    }
}

/// What the routes of `service` come to. Files are read relative to `folder`; `base` is how it treats
/// requests that no route is for.
pub(super) fn routes(
    config: &Config,
    service: &Service,
    base: &l7::Config,
    folder: &Path,
) -> Result<RoutesPlan, PlanError> {
    let mut pools: Vec<(PoolId, bool)> = Vec::new();
    for name in service.pools() {
        let id = pool_id(config, name)?;
        if pools.iter().all(|(known, _)| *known != id) {
            pools.push((id, config.pool(&name.value).is_some_and(Pool::is_http2)));
        }
    }
    let place = |name: &Spanned<String>| {
        let id = pool_id(config, name)?;
        let place = pools.iter().position(|(known, _)| *known == id);
        Ok(place.unwrap_or_default() as u16)
    };
    let (mut list, mut caches) = (Vec::new(), Vec::new());
    if let Some(maintenance) = &service.maintenance {
        let mut down = Route::new(Action::Respond(answer(&maintenance.respond, folder)?));
        down.condition.except_clients.clone_from(&maintenance.allow);
        list.push(down);
        caches.push(None);
    }
    for written in &service.routes {
        let action = match &written.action {
            RouteAction::Pool(name) => Action::To(place(name)?),
            RouteAction::Split { parts, sticky } => {
                let parts = parts.iter().map(|(name, weight)| Ok((place(name)?, *weight)));
                let parts: Vec<_> = parts.collect::<Result<_, PlanError>>()?;
                let split = Split::new(&parts, sticky.clone());
                Action::Split(split.ok_or(PlanError::Unchecked("a weight in each split"))?)
            }
            RouteAction::Redirect { to, status } => {
                Action::Redirect { status: *status, to: to.clone() }
            }
            RouteAction::Respond(respond) => Action::Respond(answer(respond, folder)?),
        };
        let treatment = &written.treatment;
        let changed = *treatment != crate::config::model::Treatment::default();
        let pages = pages(&treatment.pages, folder)?;
        let own = changed.then(|| {
            Box::new(l7::Config {
                max_body: treatment.max_body.or(base.max_body),
                timeouts: treatment.timeouts.unwrap_or(base.timeouts),
                retry: treatment.retry.clone().unwrap_or_else(|| base.retry.clone()),
                hedge_after: treatment.hedge_after.or(base.hedge_after),
                buffering: treatment.buffering.unwrap_or(base.buffering),
                pages: pages.into_iter().chain(base.pages.clone()).collect(),
                ..base.clone()
            })
        });
        let cache = written.cache.as_ref().and_then(|name| config.cache(&name.value));
        caches.push(cache.map(|cache| CachePlan {
            name: cache.name.value.clone(),
            policy: cache.policy.clone(),
            authorised: written.auth.is_some(),
        }));
        list.push(Route {
            condition: written.condition.clone(),
            action,
            rewrite: written.rewrite.clone(),
            answer: written.answer.clone(),
            config: own,
            cors: written.cors.clone().map(Box::new),
            fault: written.fault.clone().map(Box::new),
            mirror: match &written.mirror {
                Some((name, share)) => Some((place(name)?, *share)),
                None => None,
            },
        });
    }
    Ok(RoutesPlan { pools, list, caches, has_default: service.pool.is_some() })
}

/// Pages with what is in their files.
pub(super) fn pages(written: &[ErrorPage], folder: &Path) -> Result<Vec<l7::ErrorPage>, PlanError> {
    let page = |page: &ErrorPage| {
        let path = folder.join(&page.file.value);
        let kind = kind_of(Some(&path)).to_owned();
        Ok(l7::ErrorPage { statuses: page.statuses.clone(), kind, body: read(&path)? })
    };
    written.iter().map(page).collect()
}

fn answer(respond: &Respond, folder: &Path) -> Result<Answer, PlanError> {
    let fields = respond.fields.iter().map(|(name, value)| (&**name, value.as_bytes()));
    let body = match &respond.body {
        Body::Text(text) => Bytes::from(text.clone()),
        Body::File(file) => read(&folder.join(&file.value))?,
    };
    Ok(Answer::new(respond.status, fields, body))
}

/// A file that is an answer's body.
fn read(path: &Path) -> Result<Bytes, PlanError> {
    let failed = |source| PlanError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() as u64 > MOST {
        let reason = format!("longer than {MOST} bytes");
        return Err(failed(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason)));
    }
    Ok(bytes.into())
}
