//! What takes the connections of a service that ends them.

use std::rc::Rc;
use std::sync::Arc;

use l7::buffering::Hoard;
use l7::divert::Acceptor;
use l7::log::AccessLog;
use l7::orderly::Orderly;
use l7::tls::client::Secured;
use l7::tls::names::Names;
use l7::transaction::ServiceWatch;
use l7::upstream::Connect;
use l7::{Service, SpliceService, Target, splice};
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
            let (connect, balance) = targets.of(pool, connect)?;
            let idle = targets.idle(pool, idle, &connect, &balance);
            let (timeouts, limits) = (application.timeouts, targets.pooling(pool).limits);
            let config = l7::Config { timeouts, pool: limits, ..(**config).clone() };
            let service = Service::new(connect, balance, config).with_pool(idle);
            let Kept { watch, log, hoard } = kept;
            let service = Rc::new(service.with_watch(watch).with_log(log).with_hoard(hoard));
            let read = Rc::clone(&service);
            let acceptor = move |stream: TcpStream, peer, local| {
                let stream = Orderly::new(stream);
                let service = Rc::clone(&service);
                tokio::task::spawn_local(l7::accept(stream, peer, local, tls.clone(), service));
            };
            let read = move || ApplicationStats {
                by_backend: vec![(pool, read.requests_by_backend())],
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
