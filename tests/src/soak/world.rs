//! The network that a plan describes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use balun::plan::{
    ApplicationPlan, Ask, LegPlan, Plan as Balancing, ProbePlan, Protocol, TcpPlan, Upstream,
};
use balun::sim::{Host, Impairment, Link, Network};
use l7::divert::{Acceptor, Proxy};
use l7::health::HttpProbe;
use l7::orderly::Orderly;
use nat::rng::derive;
use nat::{
    BackendConfig, BackendState, Config, HealthConfig, LegConfig, Listen, Mode as EngineMode, Nat,
    PoolConfig, PoolId, Prefix, Probe, ServiceConfig, Timeouts,
};
use netstack::Packet;
use netstack::dev::TunConfig;
use netstack::tcp::TcpStream;
use netstack::wire::{Address, Family, Headers, Protocol as Transport, Transport as Body};

use super::client::Book;
use super::judge::Judge;
use super::plan::{Check, Plan, Settings};
use crate::bed::is_good;
use crate::topology::{BYTES, DATAGRAMS, ECHO, Mode, WEB, backend, vip};
use crate::{http, mutate, transfer};

/// Established flows whose ends have forgotten them are gone after this, rather than two hours.
pub const ESTABLISHED: std::time::Duration = std::time::Duration::from_mins(10);

/// The address of client number `index`, from 0.
pub fn client(family: Family, index: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 1, index, 5).into(),
        Family::V6 => Ipv6Addr::new(0xfd01, 0, 0, index.into(), 0, 0, 0, 5).into(),
    }
}

/// The addresses of the SNAT pool: the first of each family, the second, or both.
pub fn snat(plan: &Plan, which: u8) -> Vec<Address> {
    let numbers: &[u8] = match which {
        0 => &[250],
        1 => &[251],
        _ => &[250, 251],
    };
    let address = |family, n: u8| -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(10, 99, 0, n).into(),
            Family::V6 => Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, n.into()).into(),
        }
    };
    let all = plan.families.iter().flat_map(|&f| numbers.iter().map(move |&n| address(f, n)));
    all.map(Address::from).collect()
}

/// Hosts, links and the balancer of `plan`, watched over by a judge. What servers see wrong is written
/// into `book`.
///
/// # Panics
/// If the plan contradicts itself.
pub fn network(plan: &Plan, book: &Book) -> (Network<Proxy>, Judge) {
    let (balancer, _) = balancing(plan).assemble().unwrap_or_else(|e| panic!("{e}"));
    let mut hosts = Vec::new();
    let mut places = HashMap::new();
    for leg in 0..plan.clients + plan.backends {
        let (seed, mtu) = (derive(plan.seed, 1_000 + u64::from(leg)), plan.links[leg as usize].mtu);
        let at = addresses(plan, leg);
        places.extend(at.iter().map(|&at| (Address::from(at), u16::from(leg))));
        let host = match leg.checked_sub(plan.clients) {
            None => Host::client(at[0], seed).with_plain(book.listener(leg)),
            Some(n) => Host::serving(at[0], server(n.into(), book), seed)
                .with_plain(Box::new(answer_plain)),
        };
        let host = at.iter().skip(1).fold(host, |host, &at| host.with_address(at));
        hosts.push(host.with_mtu(mtu));
    }
    let links = (0..).zip(&plan.links).map(|(leg, wire)| link(plan, leg, wire.impairment));
    let network = Network::new(balancer, hosts, links.collect());
    (network, Judge::new(plan.settings.limits, places, plan.corrupts()))
}

/// The link of a leg that does this.
pub fn link(plan: &Plan, leg: u8, impairment: Impairment) -> Link {
    Link::new(impairment, derive(plan.seed, 2_000 + u64::from(leg)))
}

fn addresses(plan: &Plan, leg: u8) -> Vec<IpAddr> {
    let address = |&family: &Family| match leg.checked_sub(plan.clients) {
        None => client(family, leg),
        Some(n) => backend(family, n),
    };
    plan.families.iter().map(address).collect()
}

fn balancing(plan: &Plan) -> Balancing {
    let legs: Vec<_> = (0..plan.clients + plan.backends).map(|leg| leg_plan(plan, leg)).collect();
    let engine_legs = legs.iter().map(|leg| {
        let prefixes = leg.tun.addresses.iter();
        let prefixes = prefixes.filter_map(|&(at, length)| Prefix::new(at.into(), length));
        LegConfig::new(prefixes.collect(), leg.tun.mtu)
    });
    let (mut pools, mut services) = (Vec::new(), Vec::new());
    let (mut applications, mut probes) = (Vec::new(), Vec::new());
    let divert =
        |protocol| (EngineMode::Divert, Some(ApplicationPlan::new(protocol, Upstream::Userspace)));
    for &family in &plan.families {
        let first = pools.len() as u16;
        for port in [WEB, BYTES, ECHO] {
            let (pool, probe) = pool(plan, family, port);
            pools.push(pool);
            probes.push(probe);
        }
        for mode in Mode::ALL {
            let (engine, application) = match mode {
                Mode::Full => (EngineMode::Nat(Nat::Full), None),
                Mode::Dnat => (EngineMode::Nat(Nat::Dnat), None),
                Mode::Tcp => divert(Protocol::Tcp(TcpPlan::default())),
                Mode::Http => divert(Protocol::Http(Box::default(), None)),
            };
            let mut add = |protocol, port, pool, application| {
                let listen = Listen::new(protocol, vip(family, port).ip().into(), port);
                services.push(ServiceConfig::new(listen, engine, PoolId(first + pool)));
                applications.push(application);
            };
            if mode != Mode::Tcp {
                add(Transport::Tcp, mode.web_port(), 0, application.clone());
            }
            if mode != Mode::Http {
                add(Transport::Tcp, mode.bytes_port(), 1, application);
            }
            if matches!(mode, Mode::Full | Mode::Dnat) {
                add(Transport::Udp, DATAGRAMS + u16::from(mode == Mode::Dnat), 2, None);
            }
        }
    }
    let mut engine = Config::new(plan.seed, engine_legs.collect(), pools, services);
    configure(&plan.settings, &mut engine);
    engine.snat.addresses = snat(plan, 0);
    Balancing {
        engine,
        legs,
        applications,
        probes,
        pooling: Vec::new(),
        persistence: Vec::new(),
        backend_tls: Vec::new(),
        stream_memory: None,
        capture: None,
        written: None,
    }
}

fn configure(settings: &Settings, engine: &mut Config) {
    engine.limits = settings.limits;
    engine.hide_hop = settings.hide_hop;
    engine.timeouts = Timeouts { tcp_established: ESTABLISHED, ..Timeouts::default() };
    engine.snat.ports = settings.ports;
    engine.snat.mapping = settings.mapping;
    engine.snat.ports_per_client = settings.ports_per_client;
}

fn leg_plan(plan: &Plan, leg: u8) -> LegPlan {
    let mut tun = TunConfig::new(&format!("leg{leg}"));
    tun.mtu = plan.links[usize::from(leg)].mtu;
    let with_length = |at: IpAddr| (at, if at.is_ipv4() { 24 } else { 64 });
    tun.addresses = addresses(plan, leg).into_iter().map(with_length).collect();
    LegPlan::new(None, tun)
}

fn pool(plan: &Plan, family: Family, port: u16) -> (PoolConfig, Option<ProbePlan>) {
    let settings = &plan.settings;
    let backends = (0..plan.backends).map(|i| {
        let address = SocketAddr::new(backend(family, i), port);
        let config = BackendConfig::new(format!("b{i}"), address);
        BackendConfig { max_connections: settings.max_connections, ..config }
    });
    let mut pool = PoolConfig::new(format!("{family:?}-{port}"), backends.collect());
    pool.scheduler = settings.scheduler;
    pool.affinity = settings.affinity;
    pool.slow_start = settings.slow_start;
    pool.panic_threshold = settings.panic_threshold;
    let Some((check, every, up)) = settings.check else { return (pool, None) };
    if !up {
        pool.initial = BackendState::Starting;
    }
    let (probe, ask) = match (check, port) {
        (_, ECHO) | (Check::Icmp, _) => (Probe::Icmp, Ask::Connect),
        (Check::Http, WEB) => {
            (Probe::External, Ask::Http(HttpProbe { path: "/0/0/0".into(), host: None }))
        }
        (Check::Http | Check::Tcp, _) => (Probe::Tcp, Ask::Connect),
    };
    pool.health = Some(HealthConfig { every, ..HealthConfig::new(probe) });
    (pool, Some(ProbePlan { ask, upstream: Upstream::Userspace }))
}

/// Serves HTTP and the protocol of [`transfer`].
fn server(backend: usize, book: &Book) -> Acceptor {
    let book = book.clone();
    Rc::new(move |stream: TcpStream, _, local: SocketAddr| {
        let book = book.clone();
        tokio::task::spawn_local(async move {
            if local.port() == WEB {
                http::serve(stream, backend, book.ledger.clone()).await;
            } else {
                let served = transfer::serve(Orderly::new(stream)).await;
                book.judge(&format!("backend {backend}"), served.map(drop));
            }
        });
    })
}

/// Answers echo requests, and datagrams to [`ECHO`] by themselves.
fn answer_plain(packet: &mut Packet) -> bool {
    let Some(headers) = Headers::parse(packet).ok().filter(|_| is_good(packet)) else {
        return false;
    };
    match headers.transport {
        Body::Udp { dst_port: ECHO, .. } => mutate::answer(packet),
        Body::Echo { request: true, .. } => nat::icmp::echo_reply(packet, &headers),
        _ => return false,
    }
    true
}
