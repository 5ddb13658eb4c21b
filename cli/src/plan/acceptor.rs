//! What takes the connections of a service that ends them.

use std::rc::Rc;
use std::sync::Arc;

use l7::admission::Admission;
use l7::buffering::Hoard;
use l7::divert::Acceptor;
use l7::log::AccessLog;
use l7::orderly::Orderly;
use l7::tls::client::Secured;
use l7::tls::names::Names;
use l7::transaction::ServiceWatch;
use l7::upstream::Connect;
use l7::{Destination, Service, SpliceService, Target, splice};
use nat::PoolId;
use netstack::tcp::TcpStream;

use super::target::Targets;
use super::upstreams::Idle;
use super::{ApplicationStats, Protocol, ReadStats, TcpPlan};

/// Who takes notes of a service's requests, and what memory they may take.
pub(super) struct Kept {
    pub(super) watch: ServiceWatch,
    pub(super) log: Option<Rc<AccessLog>>,
    pub(super) hoard: Rc<Hoard>,
    pub(super) admission: Option<Admission>,
}

/// What takes the connections of a service, and its counters; nothing if a pool is missing, which the
/// engine refuses.
pub(super) fn accept<C: Connect + Clone>(
    connect: &C,
    pool: PoolId,
    targets: &mut Targets<'_>,
    idle: &mut Idle<Secured<C>>,
    kept: Kept,
) -> Option<(Acceptor, ReadStats)> {
    let application = targets.application;
    match &application.protocol {
        Protocol::Http(config, tls) => {
            let tls = tls.as_ref().map(|tls| {
                tls.server.offer_keys(kept.watch.keys());
                Arc::clone(&tls.server)
            });
            let routes = &application.routes;
            let config = l7::Config { timeouts: application.timeouts, ..(**config).clone() };
            let mut to = |pool, http2| {
                let (connect, balance) = targets.of(pool, connect)?;
                let idle = targets.idle(pool, idle, &connect, &balance);
                let limits = targets.pooling(pool).limits;
                let to = Destination::new(connect, balance, limits).with_pool(idle);
                Some(to.with_http2(http2).with_persistence(targets.persistence(pool)))
            };
            // What was planned by hand has one pool.
            let mut pools = routes.pools.clone();
            if pools.is_empty() {
                pools.push((pool, config.http2_backends));
            }
            let mut pools = pools.into_iter();
            let first = pools.next().and_then(|(pool, http2)| to(pool, http2))?;
            let mut service = Service::over(first, config);
            for (pool, http2) in pools {
                service.add(to(pool, http2)?)?;
            }
            let table = routes.table(service.config(), targets.caches, targets.cached);
            let service = if routes.list.is_empty() { service } else { service.with_routes(table) };
            let Kept { watch, log, hoard, admission } = kept;
            let service = service.with_watch(watch).with_log(log).with_hoard(hoard);
            let service = Rc::new(service.with_admission(admission));
            let read = Rc::clone(&service);
            let acceptor = move |stream: TcpStream, peer, local| {
                let stream = Orderly::new(stream);
                let service = Rc::clone(&service);
                tokio::task::spawn_local(l7::accept(stream, peer, local, tls.clone(), service));
            };
            let pools: Vec<_> = match &routes.pools[..] {
                [] => vec![pool],
                pools => pools.iter().map(|(pool, _)| *pool).collect(),
            };
            let read = move || ApplicationStats {
                by_backend: (0..)
                    .zip(&pools)
                    .map(|(to, pool)| (*pool, read.destination(to).requests_by_backend()))
                    .collect(),
                upstream_connects: read.stats().upstream_connects.get(),
                rejected: read.stats().rejected_total(),
                unserved: read.stats().unserved.iter().collect(),
                ends: read.stats().ends.iter().collect(),
            };
            Some((Rc::new(acceptor), Rc::new(read)))
        }
        Protocol::Tcp(plan) => splicing(connect, pool, targets, idle, (plan, kept.log)),
    }
}

fn splicing<C: Connect + Clone>(
    connect: &C,
    pool: PoolId,
    targets: &mut Targets<'_>,
    idle: &mut Idle<Secured<C>>,
    (plan, log): (&TcpPlan, Option<Rc<AccessLog>>),
) -> Option<(Acceptor, ReadStats)> {
    let mut made: Vec<(PoolId, Rc<Target<Secured<C>>>)> = Vec::new();
    let mut target = |pool| {
        if let Some((_, target)) = made.iter().find(|(id, _)| *id == pool) {
            return Some(Rc::clone(target));
        }
        let (connect, balance) = targets.of(pool, connect)?;
        let kept = targets.idle(pool, idle, &connect, &balance);
        let target = Rc::new(Target::new(connect, balance).with_pool(kept));
        made.push((pool, Rc::clone(&target)));
        Some(target)
    };
    let default = if plan.sni_alone { None } else { Some(target(pool)?) };
    let mut names = Names::default();
    for (name, pool) in &plan.sni {
        names.add(name, target(*pool)?);
    }
    let service = SpliceService::by_name(default, names, targets.application.timeouts)
        .with_proxy_protocol(plan.proxy_protocol)
        .with_proxy_from(plan.proxy_from.clone())
        .with_log(log);
    let service = Rc::new(service);
    let read = Rc::clone(&service);
    let acceptor = move |stream: TcpStream, peer, local| {
        let (stream, service) = (Orderly::new(stream), Rc::clone(&service));
        tokio::task::spawn_local(splice(stream, peer, local, service));
    };
    let read = move || {
        let by_backend = made.iter().map(|(pool, target)| (*pool, target.connections_by_backend()));
        ApplicationStats {
            by_backend: by_backend.collect(),
            upstream_connects: read.stats().upstream_connects.get(),
            rejected: read.stats().refused.get(),
            unserved: read.stats().unserved.iter().collect(),
            ends: read.stats().ends.iter().collect(),
        }
    };
    Some((Rc::new(acceptor), Rc::new(read)))
}
