//! A plan from a checked configuration.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use l7::SocketOptions;
use l7::health::{GrpcProbe, HttpProbe};
use l7::proxy_protocol::{ProxyFrom, Version};
use l7::tls::pem::TlsError;
use netstack::dev::TunConfig;
use netstack::wire::Address;

use super::admission::{AdmissionPlan, Shared};
use super::{
    ApplicationPlan, Ask, CapturePlan, EthernetPlan, LegPlan, LogPlan, Plan, PoolingPlan,
    ProbePlan, Protocol, RoutesPlan, TcpPlan, tls,
};
use crate::access_log::STDOUT;
use crate::config::model::{
    AccessLog, Affinity, Burst, Config, Forwarded, Health, Initial, Leg, LegKind, Mode, Nat, Pool,
    Probe, ProxyProtocol, Refusal, Scheduler, Service, Snat, SnatMapping, Spanned, Tcp, Tunnel,
    Upstream,
};

/// Why a checked configuration could still not be followed.
#[derive(Debug)]
pub enum PlanError {
    /// A certificate or key file.
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// What is in them.
    Tls {
        /// The service that they are for.
        service: String,
        /// What is wrong with them.
        source: TlsError,
    },
    /// What is in those for a backend.
    BackendTls {
        /// The backend, as `POOL/NAME`.
        backend: String,
        /// What is wrong with them.
        source: TlsError,
    },
    /// A list of users, keys, networks or patterns.
    List {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that checking should have found: a fault of ours, not of the file.
    Unchecked(&'static str),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "cannot read `{}`: {source}", path.display()),
            Self::Tls { service, source } => {
                write!(f, "the certificates of service `{service}` cannot be used: {source}")
            }
            Self::BackendTls { backend, source } => {
                write!(f, "the `tls` of backend `{backend}` cannot be used: {source}")
            }
            Self::List { path, reason } => {
                write!(f, "`{}` cannot be used: {reason}", path.display())
            }
            Self::Unchecked(what) => write!(f, "the configuration passed its check without {what}"),
        }
    }
}

impl std::error::Error for PlanError {}

impl Plan {
    /// What `config` asks for. Files are read relative to `folder`; `seed` stands in for one that is
    /// not configured.
    ///
    /// # Errors
    /// [`PlanError`] if a file cannot be read or used.
    pub fn from_config(config: &Config, folder: &Path, seed: u64) -> Result<Self, PlanError> {
        let shared = Shared::from_config(config, folder, config.seed.unwrap_or(seed))?;
        let applications =
            config.services.iter().map(|service| application(config, service, &shared, folder));
        Ok(Self {
            applications: applications.collect::<Result<_, _>>()?,
            engine: engine_config(config, seed)?,
            legs: config.legs.iter().map(|leg| device(config, leg)).collect(),
            persistence: super::persistence::of_pools(config, folder, seed)?,
            backend_tls: tls::backends(config, folder)?,
            probes: config.pools.iter().map(|pool| probe(config, pool)).collect(),
            pooling: config
                .pools
                .iter()
                .map(|pool| PoolingPlan {
                    limits: pool.pooling.limits(),
                    queue: pool.pooling.queue.as_ref().map(|queue| queue.value),
                    max_connecting: pool.pooling.max_pending.as_ref().map(|most| most.value),
                })
                .collect(),
            stream_memory: config
                .stream_memory()
                .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX)),
            capture: config
                .capture
                .as_ref()
                .map(|capture| CapturePlan::from_config(capture, config, folder)),
            written: None,
        })
    }
}

/// The engine's part of what `config` asks for, for which no file is read.
///
/// # Errors
/// [`PlanError::Unchecked`] if the configuration was not checked.
pub fn engine_config(config: &Config, seed: u64) -> Result<nat::Config, PlanError> {
    let services = config.services.iter().map(|service| service_config(config, service));
    let mut engine = nat::Config::new(
        config.seed.unwrap_or(seed),
        config.legs.iter().map(engine_leg).collect(),
        config.pools.iter().map(|pool| pool_config(config, pool)).collect(),
        services.collect::<Result<_, _>>()?,
    );
    if config.services.iter().any(|service| service.pools().next().is_none()) {
        engine.pools.push(nat::PoolConfig::new("", Vec::new()));
    }
    engine.bypass = config.bypass.iter().map(|prefix| prefix.value).collect();
    if let Some(snat) = &config.snat {
        engine.snat = snat_config(snat);
    }
    engine.timeouts = nat::Timeouts {
        tcp_established: config.timeouts.tcp_established.value,
        tcp_half_open: config.timeouts.tcp_half_open.value,
        tcp_closing: config.timeouts.tcp_closing.value,
        udp: config.timeouts.udp.value,
        icmp: config.timeouts.icmp.value,
    };
    engine.hide_hop = config.hide_hop;
    engine.limits.flows = config.limits.flows.value as usize;
    engine.limits.half_open = config.limits.half_open.value as usize;
    engine.limits.flows_per_client = config.limits.flows_per_client.value;
    engine.limits.fragments = config.limits.fragments.value as usize;
    Ok(engine)
}

fn snat_config(snat: &Snat) -> nat::SnatConfig {
    let refusal = |refusal| match refusal {
        Refusal::Reject => nat::Refusal::Reject,
        Refusal::Drop => nat::Refusal::Drop,
    };
    nat::SnatConfig {
        addresses: snat.addresses.iter().map(|a| Address::from(a.value)).collect(),
        ports: (snat.ports.first, snat.ports.last),
        mapping: match snat.mapping {
            SnatMapping::EndpointDependent => nat::Mapping::EndpointDependent,
            SnatMapping::EndpointIndependent => nat::Mapping::EndpointIndependent,
        },
        parity: snat.parity,
        quarantine: snat.quarantine,
        quarantine_ports: snat.quarantine_ports as usize,
        ports_per_client: snat.ports_per_client.as_ref().map_or(u32::MAX, |count| count.value),
        exhausted: refusal(snat.exhausted),
        unsolicited: refusal(snat.unsolicited),
    }
}

fn device(config: &Config, leg: &Leg) -> LegPlan {
    let mut tun = TunConfig::new(&leg.name);
    tun.mtu = leg.mtu.value;
    tun.addresses = leg.addresses.iter().map(|a| (a.address, a.length)).collect();
    tun.default_route = leg.default_route.value;
    LegPlan {
        netns: leg.netns.as_ref().map(|name| name.value.clone()),
        tun,
        ethernet: (*leg.kind == LegKind::Veth).then(|| ethernet(config, leg)),
        impair: leg.impair.unwrap_or_default(),
    }
}

fn ethernet(config: &Config, leg: &Leg) -> EthernetPlan {
    let services = config.services.iter().flat_map(|service| &service.listens);
    let snat = config.snat.iter().flat_map(|snat| &snat.addresses);
    EthernetPlan {
        answers: services
            .filter_map(|listen| listen.host())
            .chain(snat.map(|address| Address::from(address.value)))
            .collect(),
        gateways: leg.gateways.iter().map(|gateway| gateway.value.into()).collect(),
    }
}

fn engine_leg(leg: &Leg) -> nat::LegConfig {
    let prefixes = leg
        .addresses
        .iter()
        .chain(&leg.routes)
        .filter_map(|p| nat::Prefix::new(Address::from(p.address), p.length))
        .collect();
    let own = leg.addresses.iter().filter(|_| *leg.kind == LegKind::Veth);
    let own = own.map(|prefix| Address::from(prefix.address)).collect();
    nat::LegConfig {
        icmp_errors: leg.icmp_errors,
        own,
        ..nat::LegConfig::new(prefixes, leg.mtu.value)
    }
}

fn pool_config(config: &Config, pool: &Pool) -> nat::PoolConfig {
    let scheduler = match pool.scheduler {
        Scheduler::RoundRobin => nat::Scheduler::RoundRobin,
        Scheduler::Random => nat::Scheduler::Random,
        Scheduler::LeastConnections => nat::Scheduler::LeastConnections,
        Scheduler::P2c => nat::Scheduler::P2c,
        Scheduler::SourceHash => nat::Scheduler::SourceHash,
        Scheduler::Maglev => nat::Scheduler::Maglev,
        Scheduler::Ewma => nat::Scheduler::Ewma,
    };
    let affinity = match pool.affinity {
        Some(Affinity::ClientIp { timeout, prefix, prefix6 }) => {
            Some(nat::AffinityConfig { timeout, prefix_v4: prefix, prefix_v6: prefix6 })
        }
        // Requests say more than packets.
        None | Some(Affinity::Cookie(_) | Affinity::Header { .. }) => None,
    };
    let backends = pool
        .backends
        .iter()
        .map(|backend| nat::BackendConfig {
            weight: backend.weight.value,
            max_connections: backend.max_connections.as_ref().map(|most| most.value),
            priority: backend.priority,
            backup: backend.backup,
            ..nat::BackendConfig::new(&backend.name.value, backend.address.value)
        })
        .collect();
    let mut plan = nat::PoolConfig {
        scheduler,
        affinity,
        slow_start: pool.slow_start.unwrap_or_default(),
        panic_threshold: pool.panic_threshold,
        ejection: pool.pooling.ejection.as_ref().map(|e| e.value).unwrap_or_default(),
        ..nat::PoolConfig::new(&pool.name.value, backends)
    };
    if let Some(health) = &pool.health {
        plan.initial = match health.initial {
            Initial::Up => nat::BackendState::Ready,
            Initial::Down => nat::BackendState::Starting,
        };
        plan.health = Some(health_config(config, pool, health));
    }
    plan
}

fn health_config(config: &Config, pool: &Pool, health: &Health) -> nat::HealthConfig {
    let by_kernel = config.is_reached_by_kernel(pool);
    let probe = match &*health.probe {
        Probe::Http { .. } | Probe::Grpc { .. } => nat::Probe::External,
        Probe::Tcp if by_kernel => nat::Probe::External,
        Probe::Tcp => nat::Probe::Tcp,
        Probe::Icmp => nat::Probe::Icmp,
        Probe::Udp(text) => nat::Probe::Udp(text.as_bytes().to_vec()),
    };
    nat::HealthConfig {
        every: health.every.value,
        timeout: health.timeout.value,
        fall: health.fall,
        rise: health.rise,
        ..nat::HealthConfig::new(probe)
    }
}

/// The part of a pool's probe that takes a connection.
fn probe(config: &Config, pool: &Pool) -> Option<ProbePlan> {
    let by_kernel = config.is_reached_by_kernel(pool);
    let upstream = if by_kernel { Upstream::Kernel } else { Upstream::Userspace };
    let ask = match &*pool.health.as_ref()?.probe {
        Probe::Http { path, host } => {
            Ask::Http(HttpProbe { path: path.clone(), host: host.clone() })
        }
        Probe::Grpc { service, host } => {
            Ask::Grpc(GrpcProbe { service: service.clone(), host: host.clone() })
        }
        _ => Ask::Connect,
    };
    Some(ProbePlan { ask, upstream })
}

fn service_config(config: &Config, service: &Service) -> Result<nat::ServiceConfig, PlanError> {
    let mode = match (service.mode.value, service.nat) {
        (Mode::Nat, Nat::Full) => nat::Mode::Nat(nat::Nat::Full),
        (Mode::Nat, Nat::Dnat) => nat::Mode::Nat(nat::Nat::Dnat),
        (Mode::Nat, Nat::Tunnel) => nat::Mode::Nat(nat::Nat::Tunnel(encapsulation(service))),
        (Mode::Tcp | Mode::Http, _) => nat::Mode::Divert,
    };
    let pool = match service.pools().next() {
        Some(name) => pool_id(config, name)?,
        // One that answers by itself sends to none.
        None if !service.routes.is_empty() => nat::PoolId(config.pools.len() as u16),
        None => return Err(PlanError::Unchecked("a pool for each service")),
    };
    let first = service.listens.first().ok_or(PlanError::Unchecked("something to listen on"))?;
    let access = &service.access;
    let rate = |burst: Burst| nat::Rate {
        count: burst.rate.count,
        per: burst.rate.per,
        burst: burst.burst,
    };
    let default = nat::ClientLimits::default();
    let (prefix_v4, prefix_v6) = access.client_prefixes;
    Ok(nat::ServiceConfig {
        name: service.name.value.clone(),
        listens: service.listens.iter().map(|listen| listen.value).collect(),
        allow: access.allow.iter().map(|prefix| prefix.value).collect(),
        deny: access.deny.iter().map(|prefix| prefix.value).collect(),
        client_limits: nat::ClientLimits {
            rate: access.client_rate.map(rate),
            flows: access.client_flows,
            prefix_v4: prefix_v4.unwrap_or(default.prefix_v4),
            prefix_v6: prefix_v6.unwrap_or(default.prefix_v6),
        },
        rate: access.rate.map(rate),
        max_flows: access.max_flows,
        refuse: access.refuse,
        pickup: service.picks_up(),
        ..nat::ServiceConfig::new(first.value, mode, pool)
    })
}

pub(super) fn pool_id(config: &Config, name: &Spanned<String>) -> Result<nat::PoolId, PlanError> {
    let at = config.pools.iter().position(|pool| pool.name.value == name.value);
    at.map(|at| nat::PoolId(at as u16)).ok_or(PlanError::Unchecked("a pool that is defined"))
}

fn encapsulation(service: &Service) -> nat::Encapsulation {
    match service.tunnel.as_ref().map(|tunnel| tunnel.value).unwrap_or_default() {
        Tunnel::Ipip => nat::Encapsulation::Ipip,
        Tunnel::Gue => {
            let port =
                service.tunnel_port.as_ref().map_or(nat::tunnel::GUE_PORT, |port| port.value);
            nat::Encapsulation::Gue { port }
        }
    }
}

fn application(
    config: &Config,
    service: &Service,
    shared: &Arc<Shared>,
    folder: &Path,
) -> Result<Option<ApplicationPlan>, PlanError> {
    let proxy_protocol = service.proxy_protocol.map(|version| match version {
        ProxyProtocol::V1 => Version::V1,
        ProxyProtocol::V2 => Version::V2,
    });
    let networks = service.proxy_protocol_from.iter().map(|network| network.value);
    let proxy_from = ProxyFrom::new(networks.collect());
    let mut routes = RoutesPlan::default();
    let protocol = match service.mode.value {
        Mode::Nat => return Ok(None),
        Mode::Tcp => {
            let names = service.sni.iter();
            let names =
                names.map(|route| Ok((route.name.value.clone(), pool_id(config, &route.pool)?)));
            let sni = names.collect::<Result<_, PlanError>>()?;
            let sni_alone = service.pool.is_none();
            Protocol::Tcp(TcpPlan { sni, sni_alone, proxy_protocol, proxy_from })
        }
        Mode::Http => {
            let forwarded = match service.forwarded {
                Forwarded::Append => l7::Forwarded::Append,
                Forwarded::Replace => l7::Forwarded::Replace,
                Forwarded::Hide => l7::Forwarded::Hide,
            };
            let pool = service.pool.as_ref().and_then(|name| config.pool(name));
            let prior_knowledge = service.http2.as_ref().is_some_and(|http2| http2.value);
            let treated = l7::Config {
                forwarded,
                spelling: service.spelling,
                trusted: service.trusted.iter().map(|network| network.value).collect(),
                smuggling_proof: service.smuggling_proof,
                proxy_protocol,
                proxy_from,
                retry: service.retry.clone(),
                hedge_after: service.hedge_after,
                http2: l7::Http2 { prior_knowledge, ..l7::Http2::default() },
                http2_backends: pool.is_some_and(Pool::is_http2),
                naming: service.naming,
                buffering: service.buffering,
                max_body: service.max_body,
                pages: super::routes::pages(&service.pages, folder)?,
                timeouts: service.timeouts,
                ..l7::Config::default()
            };
            let tls = service.tls.as_ref().map(|tls| tls::server(service, tls, folder));
            let tls = tls.transpose()?;
            routes = super::routes::routes(config, service, &treated, folder)?;
            Protocol::Http(Box::new(treated), tls)
        }
    };
    let Tcp { congestion, keepalive } = service.tcp;
    let options = SocketOptions { congestion, keepalive };
    let (upstream, timeouts) = (service.upstream, service.timeouts);
    let log = service.access_log.as_ref().map(|log| access_log(log, folder));
    let admission = AdmissionPlan::from_config(config, service, shared, folder)?;
    let admission = admission.filter(|_| matches!(protocol, Protocol::Http(..)));
    Ok(Some(ApplicationPlan { protocol, upstream, options, routes, timeouts, log, admission }))
}

fn access_log(log: &AccessLog, folder: &Path) -> LogPlan {
    let path = &log.path.value;
    let path = if path.as_os_str() == STDOUT { path.clone() } else { folder.join(path) };
    LogPlan { format: log.format.clone(), path, sink: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::StatusCode;
    use l7::Timeouts;
    use l7::buffering::Buffering;
    use l7::log::Format;
    use l7::upstream::{BudgetLimits, PoolLimits, QueueLimits, Retry};
    use netstack::tcp::{Algorithm, KeepaliveConfig};

    use super::*;
    use crate::config::model::{Naming, RequestId};
    use crate::config::{Environment, examine};

    const POOL: &str = r#"
        version = 1
        [[leg]]
        name = "balun0"
        address = ["10.99.0.254/24"]
        [pool.web]
        scheduler = "ewma"
        affinity = { by = "client-ip", timeout = "10m", prefix = 24 }
        warm = 4
        reuse = { idle = 8, idle-timeout = "7s", lifetime = "1h", requests = 9 }
        queue = { size = 5, timeout = "2s" }
        max-pending = 6
        ejection = { failures = 2, errors = 6, worse-by = "30%", answers = 9, time = "3s", longest = "4s", most = "40%" }
        slow-start = "30s"
        panic-threshold = "50%"
        [[pool.web.backend]]
        name = "web1"
        address = "10.2.0.11:8080"
        [[pool.web.backend]]
        name = "web2"
        address = "10.2.0.12:8080"
        weight = 3
        max-connections = 7
        priority = 2
        backup = true
        [[service]]
        name = "site"
        listen = "tcp 10.99.0.1:80"
        mode = "http"
        pool = "web"
    "#;

    #[test]
    fn every_key_of_a_pool_reaches_the_engine() {
        let (config, diagnostics) = examine(POOL, Environment::Ignore);
        let plan = Plan::from_config(&config.expect("no error"), Path::new(""), 1).expect("a plan");
        assert_eq!(diagnostics, []);
        let mut web2 = nat::BackendConfig::new("web2", ([10, 2, 0, 12], 8080).into());
        web2.weight = 3;
        web2.max_connections = Some(7);
        web2.priority = 2;
        web2.backup = true;
        let web1 = nat::BackendConfig::new("web1", ([10, 2, 0, 11], 8080).into());
        let mut pool = nat::PoolConfig::new("web", vec![web1, web2]);
        pool.scheduler = nat::Scheduler::Ewma;
        pool.affinity = Some(nat::AffinityConfig {
            prefix_v4: 24,
            ..nat::AffinityConfig::new(Duration::from_mins(10))
        });
        pool.slow_start = Duration::from_secs(30);
        pool.panic_threshold = 50;
        pool.ejection = nat::EjectionConfig {
            failures: 2,
            errors: Some(6),
            worse_by: Some(30),
            answers: 9,
            time: Duration::from_secs(3),
            longest: Duration::from_secs(4),
            most: 40,
        };
        assert_eq!(plan.engine.pools, [pool]);
        let limits = PoolLimits {
            idle_per_backend: 8,
            idle_lifetime: Duration::from_secs(7),
            lifetime: Some(Duration::from_hours(1)),
            requests: Some(9),
            warm: 4,
        };
        let queue = Some(QueueLimits { size: 5, timeout: Duration::from_secs(2) });
        assert_eq!(plan.pooling, [PoolingPlan { limits, queue, max_connecting: Some(6) }]);
    }

    fn engine(top: &str, leg: &str) -> nat::Config {
        let text = format!(
            "version = 1\n{top}\n[[leg]]\nname = \"balun0\"\naddress = [\"10.9.0.1/24\"]\n{leg}\n"
        );
        let (config, found) = crate::config::parse(&text);
        assert!(found.is_empty(), "{found:?}");
        Plan::from_config(&config.unwrap(), Path::new("."), 1).unwrap().engine
    }

    #[test]
    fn what_is_said_of_icmp_reaches_the_engine() {
        let default = engine("", "");
        assert!(default.legs[0].icmp_errors && !default.hide_hop);
        let set = engine("hide-hop = true", "icmp-errors = false");
        assert!(!set.legs[0].icmp_errors && set.hide_hop);
    }

    fn plan(top: &str, service: &str) -> Plan {
        let text = format!(
            "version = 1\n{top}\n[[leg]]\nname = \"balun0\"\naddress = [\"10.9.0.1/24\"]\n\
             [pool.web]\nbackend = [{{ name = \"web1\", address = \"10.2.0.11:80\" }}]\n\
             [[service]]\nname = \"site\"\nlisten = \"tcp 10.9.0.2:80\"\npool = \"web\"\n{service}\n"
        );
        let (config, found) = examine(&text, Environment::Ignore);
        Plan::from_config(&config.unwrap_or_else(|| panic!("{found:?}")), Path::new("."), 1)
            .unwrap()
    }

    #[test]
    fn what_is_said_of_tcp_reaches_the_connections_of_the_service() {
        let options = |service| plan("", service).applications[0].as_ref().unwrap().options;
        assert_eq!(options("mode = \"http\""), SocketOptions::default());
        let service = "mode = \"tcp\"\ncongestion = \"bbr\"\nkeepalive = { idle = \"10m\" }";
        let idle = Duration::from_mins(10);
        let keepalive = Some(KeepaliveConfig { idle, ..KeepaliveConfig::default() });
        let congestion = Some(Algorithm::Bbr);
        assert_eq!(options(service), SocketOptions { congestion, keepalive });
    }

    #[test]
    fn a_service_reads_twice_if_it_is_told_to() {
        let proof = |service| match plan("", service).applications.remove(0).map(|a| a.protocol) {
            Some(Protocol::Http(config, _)) => config.smuggling_proof,
            other => panic!("{other:?}"),
        };
        assert!(!proof("mode = \"http\""));
        assert!(proof("mode = \"http\"\nsmuggling-proof = true"));
    }

    fn tcp(service: &str) -> TcpPlan {
        let plan = plan("[snat]\naddresses = [\"10.9.0.9\"]", service);
        match plan.applications.into_iter().next().flatten().map(|a| a.protocol) {
            Some(Protocol::Tcp(tcp)) => tcp,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_said_of_clients_and_names_reaches_the_service() {
        assert_eq!(tcp("mode = \"tcp\""), TcpPlan::default());
        let names = "mode = \"tcp\"\nsni = { \"A.lab\" = \"web\" }\nproxy-protocol = \"v1\"\n\
                     proxy-protocol-from = [\"10.8.0.0/16\"]";
        let network = nat::Prefix::new(Address::from_v4([10, 8, 0, 0]), 16).unwrap();
        let expected = TcpPlan {
            sni: vec![("a.lab".to_owned(), nat::PoolId(0))],
            sni_alone: false,
            proxy_protocol: Some(Version::V1),
            proxy_from: ProxyFrom::new(vec![network]),
        };
        assert_eq!(tcp(names), expected);
        let http =
            "mode = \"http\"\nproxy-protocol = \"v2\"\nproxy-protocol-from = [\"10.8.0.0/16\"]";
        let Some(Protocol::Http(config, None)) =
            plan("", http).applications.remove(0).map(|a| a.protocol)
        else {
            panic!("a service in plain text")
        };
        assert_eq!(config.proxy_protocol, Some(Version::V2));
        assert_eq!(config.proxy_from, expected.proxy_from);
    }

    #[test]
    fn what_is_said_of_sending_again_reaches_the_service() {
        let http = |service| {
            let plan = plan("", service);
            let Some(ApplicationPlan { protocol: Protocol::Http(config, _), .. }) =
                &plan.applications[0]
            else {
                panic!("a service of mode http");
            };
            (config.retry.clone(), config.hedge_after)
        };
        assert_eq!(http("mode = \"http\""), (Retry::default(), None));
        let retry = Retry { times: 1, ..Retry::default() };
        assert_eq!(http("mode = \"http\"\nretry = {}"), (retry, None));
        let all = "mode = \"http\"\nhedge-after = \"50ms\"\n\
                   retry = { times = 3, statuses = [502, 429], timeout = \"1s\", \
                   body = \"64KiB\", budget = \"30%\", per-second = 9 }";
        let retry = Retry {
            times: 3,
            statuses: vec![StatusCode::BAD_GATEWAY, StatusCode::TOO_MANY_REQUESTS],
            timeout: Some(Duration::from_secs(1)),
            body: 65_536,
            budget: BudgetLimits { percent: 30, per_second: 9 },
        };
        assert_eq!(http(all), (retry, Some(Duration::from_millis(50))));
    }

    #[test]
    fn a_probe_of_grpc_reaches_the_pool() {
        let text = POOL.replace("warm = 4", "health = { grpc = true, service = \"a.B\" }");
        let (config, found) = examine(&text, Environment::Ignore);
        assert_eq!(found, []);
        let plan = Plan::from_config(&config.unwrap(), Path::new(""), 1).unwrap();
        let probe = GrpcProbe { service: Some("a.B".to_owned()), host: None };
        assert_eq!(plan.probes[0].as_ref().unwrap().ask, Ask::Grpc(probe));
        let health = plan.engine.pools[0].health.as_ref().unwrap();
        assert_eq!(health.probe, nat::Probe::External);
    }

    #[test]
    fn every_timeout_of_a_service_reaches_it() {
        let timeouts = |service| plan("", service).applications[0].as_ref().unwrap().timeouts;
        assert_eq!(timeouts("mode = \"http\""), Timeouts::default());
        let all = "mode = \"http\"\ntimeouts = { tls = \"1s\", idle = \"2s\", head = \"3s\", \
                   body = \"4s\", connect = \"5s\", response = \"6s\", continue = \"7s\", \
                   tunnel = \"8s\", total = \"9s\" }";
        let seconds = Duration::from_secs;
        let expected = Timeouts {
            handshake: seconds(1),
            idle: seconds(2),
            head: seconds(3),
            body: seconds(4),
            connect: seconds(5),
            response: seconds(6),
            expect: seconds(7),
            tunnel: seconds(8),
            total: Some(seconds(9)),
        };
        assert_eq!(timeouts(all), expected);
    }

    #[test]
    fn what_is_said_of_requests_reaches_the_service() {
        let config = |service: &str| {
            let plan = plan("", &format!("mode = \"http\"\n{service}"));
            match plan.applications[0].as_ref().unwrap().protocol.clone() {
                Protocol::Http(config, _) => *config,
                Protocol::Tcp(_) => panic!("mode http"),
            }
        };
        assert_eq!(config(""), l7::Config::default());
        let all = config(
            "request-id = \"create\"\ntrace-context = true\nbuffer = \"request\"\n\
             buffer-limit = \"64KiB\"",
        );
        let naming = Naming { request_id: RequestId::Create, trace: true };
        let buffering = Buffering { request: true, response: false, limit: 64 << 10 };
        assert_eq!((all.naming, all.buffering), (naming, buffering));
        let both = config("buffer = \"both\"").buffering;
        assert_eq!(both, Buffering { request: true, response: true, limit: 1 << 20 });
    }

    #[test]
    fn a_log_is_beside_the_configuration_or_standard_output() {
        let log = |log: &str| {
            let text = format!("mode = \"tcp\"\naccess-log = {log}");
            let log = plan("", &text).applications[0].clone().unwrap().log.unwrap();
            (log.format, log.path)
        };
        let beside = log("{ path = \"a.log\" }");
        assert_eq!(beside, (Format::combined(), PathBuf::from("./a.log")));
        let out = log("{ path = \"-\", format = \"json\" }");
        assert_eq!(out, (Format::json(), PathBuf::from("-")));
        let own = log("{ path = \"/var/log/a.log\", format = \"{client} {end}\" }");
        assert_eq!(own.0, Format::parse("{client} {end}").unwrap());
        assert_eq!(own.1, PathBuf::from("/var/log/a.log"));
    }

    #[test]
    fn memory_that_flows_do_not_take_is_for_the_data_of_connections_that_end_here() {
        assert_eq!(plan("", "mode = \"tcp\"").stream_memory, None);
        let limits = "[limits]\nflows = 1000\nmemory = \"1GiB\"";
        let nat = plan(limits, "mode = \"nat\"\nnat = \"dnat\"").stream_memory.unwrap();
        assert_eq!(nat, (1 << 30) - (4 << 20) - 1000 * 512);
        let tcp = plan(limits, "mode = \"tcp\"");
        assert_eq!(tcp.stream_memory, Some(nat - 10_000 * 4096 - 65_536 * 320));
        assert_eq!(tcp.endpoint().buffer_memory, tcp.stream_memory.unwrap());
        let kept = plan(limits, "mode = \"http\"\nbuffer = \"both\"");
        let memory = kept.stream_memory.unwrap();
        assert_eq!(
            (kept.hoard(), kept.endpoint().buffer_memory),
            (memory / 4, memory - memory / 4)
        );
    }
}
