//! What a running balancer is made of, and how it is put together.

mod acceptor;
mod admission;
mod capture;
mod from_config;
mod health;
mod key_file;
mod persistence;
mod reload;
mod routes;
mod target;
mod tls;
mod upstreams;

pub use admission::{AdmissionPlan, ListFile};
pub use capture::CapturePlan;
pub use from_config::{PlanError, engine_config};
pub use reload::Reload;
pub use routes::{CachePlan, RoutesPlan};
pub use tls::{ServerFiles, TlsPlan, TlsReload};
pub use upstreams::PoolingPlan;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use l7::balance::Userspace;
use l7::buffering::Hoard;
use l7::cache::Caches;
use l7::divert::Proxy;
use l7::health::{Checks, GrpcProbe, HttpProbe};
use l7::limits::HOARD;
use l7::log::{self, AccessLog, Format, Sink};
use l7::persistence::Persistence;
use l7::proxy_protocol::{ProxyFrom, Version};
use l7::tls::client::{BackendTls, Secured};
use l7::transaction::Watch;
use l7::unserved::Unserved;
use l7::{SocketOptions, Timeouts};
use nat::rng::derive;
use nat::{Balancer, ConfigError, Engine, Mode, PoolId, ServiceId};
use netstack::LegId;
use netstack::dev::netns::NamespaceError;
use netstack::dev::{Interface, Namespace, Tun, TunConfig, TunError, Veth, VethConfig, VethError};
use netstack::tcp::{Endpoint, EndpointConfig, Stack};
use netstack::wire::Address;

use crate::config::Written;
pub use crate::config::model::Upstream;
use crate::kernel::KernelConnect;
use crate::link::Settings;
use crate::runtime::{Application, Leg};
use acceptor::{Kept, accept};
use admission::Admissions;
use target::Targets;
use upstreams::{Balances, Idle};

/// Everything that a balancer is made from, with nothing opened yet.
#[derive(Debug)]
pub struct Plan {
    /// The engine's part.
    pub engine: nat::Config,
    /// Devices, in the order of the engine's legs.
    pub legs: Vec<LegPlan>,
    /// What ends the flows of each diverted service, in the order of the engine's services.
    pub applications: Vec<Option<ApplicationPlan>>,
    /// How the backends of each pool are asked whether they are well, in the order of the engine's
    /// pools: for those whose probe is [`nat::Probe::External`].
    pub probes: Vec<Option<ProbePlan>>,
    /// The backends of each pool that are spoken to over TLS, in the order of the engine's pools; pools
    /// beyond its end have none.
    pub backend_tls: Vec<Vec<(SocketAddr, BackendTls)>>,
    /// How connections to the backends of each pool are kept, in the order of the engine's pools; by
    /// default for those that are missing.
    pub pooling: Vec<PoolingPlan>,
    /// How clients of each pool stay with its backends, if by what their requests say; in the order of the
    /// engine's pools, none for those that are missing.
    pub persistence: Vec<Option<Persistence>>,
    /// Bytes for the data of TCP connections that end here; the endpoint's default if not said.
    pub stream_memory: Option<usize>,
    /// What is captured from the start.
    pub capture: Option<CapturePlan>,
    /// The configuration that it was made from, for whoever asks the instance; the core needs none.
    pub written: Option<Arc<Written>>,
}

/// What a probe that takes a connection asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To accept the connection.
    Connect,
    /// A GET.
    Http(HttpProbe),
    /// A call of gRPC's health service.
    Grpc(GrpcProbe),
}

/// A probe that takes a connection.
#[derive(Clone, Debug)]
pub struct ProbePlan {
    /// What is asked.
    pub ask: Ask,
    /// Whose connection it is.
    pub upstream: Upstream,
}

/// A leg's device.
#[derive(Clone, Debug)]
pub struct LegPlan {
    /// The namespace that it is made in; that of the process if there is none.
    pub netns: Option<String>,
    /// The device.
    pub tun: TunConfig,
    /// Present if it is not to be made: the Ethernet interface of that name is taken.
    pub ethernet: Option<EthernetPlan>,
    /// How its link misbehaves.
    pub impair: Settings,
}

/// What a leg says and asks on an Ethernet interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EthernetPlan {
    /// Addresses that it answers for besides the leg's own: those of services, and of the SNAT pool.
    pub answers: Vec<Address>,
    /// Who takes what is not on the link, one of each IP version.
    pub gateways: Vec<Address>,
}

/// What runs on top of a diverted service's connections.
#[derive(Clone, Debug)]
pub struct ApplicationPlan {
    /// The protocol.
    pub protocol: Protocol,
    /// How backends are reached.
    pub upstream: Upstream,
    /// What is set of its connections: clients', and those to backends that are not the host's.
    pub options: SocketOptions,
    /// Where its requests go, in mode `http`.
    pub routes: RoutesPlan,
    /// How long it waits.
    pub timeouts: Timeouts,
    /// Where its requests or connections are written down.
    pub log: Option<LogPlan>,
    /// Whom it lets in; everybody without one.
    pub admission: Option<AdmissionPlan>,
}

/// An access log.
#[derive(Clone, Debug)]
pub struct LogPlan {
    /// How lines look.
    pub format: Format,
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// Who takes the lines; without one nothing is written.
    pub sink: Option<Arc<dyn Sink>>,
}

impl LogPlan {
    /// The log of `service`, which may use backends of any of `pools`.
    fn assemble(
        &self,
        service: &nat::ServiceConfig,
        pools: &[nat::PoolConfig],
        stack: &Stack,
    ) -> Option<Rc<AccessLog>> {
        // What two pools call differently is called as the service's own does.
        let own = pools.get(usize::from(service.pool.0));
        let backends = own.into_iter().chain(pools).flat_map(|pool| &pool.backends);
        let backends = backends.map(|backend| (backend.address, backend.name.clone()));
        let names = log::Names::new(service.name.clone(), backends.collect());
        let log = AccessLog::new(self.format.clone(), names, Arc::clone(self.sink.as_ref()?));
        Some(Rc::new(log.with_stack(stack.clone())))
    }
}

/// The protocol that a diverted service speaks.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// HTTP, each request balanced by itself; inside TLS if there are settings for it.
    Http(Box<l7::Config>, Option<TlsPlan>),
    /// Bytes.
    Tcp(TcpPlan),
}

/// How a service passes bytes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpPlan {
    /// Pools by the server name that clients of TLS ask for; empty looks for none.
    pub sni: Vec<(String, PoolId)>,
    /// The service's own pool is not for clients that no name is for.
    pub sni_alone: bool,
    /// How backends are told of clients.
    pub proxy_protocol: Option<Version>,
    /// Who tells us of clients.
    pub proxy_from: ProxyFrom,
}

/// Why a leg could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Its namespace.
    Namespace(NamespaceError),
    /// Its device.
    Tun(TunError),
    /// Its Ethernet interface.
    Veth(VethError),
}

impl OpenError {
    /// True if the machine does not allow it, whatever the configuration says.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Namespace(_) => false,
            Self::Tun(error) => error.is_environment(),
            Self::Veth(error) => error.is_environment(),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(error) => error.fmt(f),
            Self::Tun(error) => error.fmt(f),
            Self::Veth(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OpenError {}

/// Requests or connections that a diverted service gave each backend of its pool, and how many of its
/// clients it had to refuse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationStats {
    /// Requests (mode `http`) or connections (mode `tcp`) by pool and backend.
    pub by_backend: Vec<(PoolId, Vec<u64>)>,
    /// Connections made to backends.
    pub upstream_connects: u64,
    /// Messages refused by the HTTP rules, or connections for which there was no backend.
    pub rejected: u64,
    /// Connections that were closed before anything was served on them.
    pub unserved: Vec<(Unserved, u64)>,
    /// How requests or connections ended, by the words of the access log.
    pub ends: Vec<(&'static str, u64)>,
}

impl ApplicationStats {
    /// What all backends were given.
    pub fn served(&self) -> u64 {
        self.by_backend.iter().flat_map(|(_, counts)| counts).sum()
    }
}

/// Reads an application's counters.
pub type ReadStats = Rc<dyn Fn() -> ApplicationStats>;

/// The counters of each diverted service.
pub type AllStats = Vec<(ServiceId, ReadStats)>;

impl ApplicationPlan {
    /// One that speaks `protocol`, with the defaults of everything else.
    pub fn new(protocol: Protocol, upstream: Upstream) -> Self {
        let (options, timeouts) = (SocketOptions::default(), Timeouts::default());
        let routes = RoutesPlan::default();
        Self { protocol, upstream, options, routes, timeouts, log: None, admission: None }
    }
}

impl LegPlan {
    /// A device in that namespace, behind a link that does nothing to packets.
    pub fn new(netns: Option<String>, tun: TunConfig) -> Self {
        Self { netns, tun, ethernet: None, impair: Settings::default() }
    }

    /// Makes the device, or takes the interface.
    ///
    /// # Errors
    /// [`OpenError`] says what could not be done, and why.
    pub fn open(&self) -> Result<Interface, OpenError> {
        let namespace = self.netns.as_deref().map(Namespace::open).transpose();
        let namespace = namespace.map_err(OpenError::Namespace)?;
        if let Some(ethernet) = &self.ethernet {
            let config = self.veth(ethernet);
            let veth = match &namespace {
                Some(namespace) => Veth::open_in(namespace, &config),
                None => Veth::open(&config),
            };
            return veth.map(Interface::from).map_err(OpenError::Veth);
        }
        let queues = match &namespace {
            Some(namespace) => Tun::open_in(namespace, &self.tun),
            None => Tun::open(&self.tun),
        };
        Ok(queues.map_err(OpenError::Tun)?.remove(0).into())
    }

    fn veth(&self, ethernet: &EthernetPlan) -> VethConfig {
        let addresses = self.tun.addresses.iter();
        VethConfig {
            name: self.tun.name.clone(),
            mtu: self.tun.mtu,
            addresses: addresses.map(|(address, len)| (Address::from(*address), *len)).collect(),
            answers: ethernet.answers.clone(),
            gateways: ethernet.gateways.clone(),
        }
    }
}

impl Plan {
    /// Legs over opened devices, each behind the link that the plan gives it. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// A descriptor could not be registered for readiness.
    pub fn open_legs(&self, devices: Vec<Interface>) -> std::io::Result<Vec<Leg>> {
        let legs = (0..).zip(devices).zip(&self.legs);
        legs.map(|((id, device), plan)| {
            let mut leg = Leg::new(LegId(id), device)?;
            leg.impair(plan.impair, derive(self.engine.seed, 300 + u64::from(id)));
            Ok(leg)
        })
        .collect()
    }

    /// Bytes for messages that are kept whole: a quarter of what connections have for their data, if
    /// that is limited and any service keeps some.
    fn hoard(&self) -> usize {
        let keeps = |plan: &ApplicationPlan| match &plan.protocol {
            Protocol::Http(config, _) => config.buffering.request || config.buffering.response,
            Protocol::Tcp(_) => false,
        };
        let any = self.applications.iter().flatten().any(keeps);
        let bytes = self.stream_memory.map_or(HOARD, |bytes| bytes / 4);
        if any { bytes } else { 0 }
    }

    /// What ends TCP connections.
    fn endpoint(&self) -> EndpointConfig {
        let seed = self.engine.seed;
        let default = EndpointConfig::new([derive(seed, 6), derive(seed, 7)]);
        EndpointConfig {
            mtu: self.legs.iter().map(|leg| leg.tun.mtu).min().unwrap_or(default.mtu),
            max_half_open: self.engine.limits.half_open,
            buffer_memory: self
                .stream_memory
                .map_or(default.buffer_memory, |bytes| bytes.saturating_sub(self.hoard())),
            ..default
        }
    }

    /// Puts engine and applications together.
    ///
    /// # Errors
    /// [`ConfigError`] if the engine's part contradicts itself.
    pub fn assemble(self) -> Result<(Balancer<Proxy>, AllStats), ConfigError> {
        let seed = self.engine.seed;
        let stack = Stack::new(Endpoint::new(self.endpoint()));
        let watch = Watch::new(stack.clone(), derive(seed, 8));
        let hoard = Hoard::new(self.hoard());
        let (mut caches, mut cached) = (Caches::new(derive(seed, 9)), 0);

        let mut checks = self.checks(&stack);
        let (mut acceptors, mut tasks) = (Vec::new(), Vec::new());
        let mut stats = AllStats::new();
        let mut balances = Balances::new(stack.clone());
        let mut admissions = Admissions::new(derive(seed, 10));
        let (mut userspace, mut kernel) = (Idle::new(), Idle::new());
        for (id, (service, application)) in
            (0..).zip(self.engine.services.iter().zip(&self.applications))
        {
            let application = application.as_ref().filter(|_| service.mode == Mode::Divert);
            let Some(application) = application else {
                acceptors.push(None);
                continue;
            };
            let log = application.log.as_ref();
            let log = log.and_then(|log| log.assemble(service, &self.engine.pools, &stack));
            let admission = application.admission.as_ref().map(|plan| admissions.of(plan));
            let hoard = Rc::clone(&hoard);
            let kept = Kept { watch: watch.service(id), log, hoard, admission };
            let mut targets = Targets {
                plan: &self,
                application,
                seed: derive(seed, 200 + u64::from(id)),
                keys: kept.watch.keys(),
                balances: &mut balances,
                tasks: &mut tasks,
                caches: &mut caches,
                cached: &mut cached,
            };
            let accepted = match application.upstream {
                Upstream::Userspace => {
                    let connect = Userspace::new(stack.clone()).with_options(application.options);
                    accept(&connect, service.pool, &mut targets, &mut userspace, kept)
                }
                Upstream::Kernel => {
                    accept(&KernelConnect, service.pool, &mut targets, &mut kernel, kept)
                }
            };
            let (acceptor, read) = accepted.unzip();
            acceptors.push(acceptor.map(|acceptor| application.options.set_before(acceptor)));
            stats.extend(read.map(|read| (ServiceId(id), read)));
        }
        let engine = Engine::new(self.engine)?;
        checks.balances = balances.into_all();
        let proxy = Proxy::new(stack, acceptors)
            .with_checks(checks)
            .with_watch(watch)
            .with_caches(Rc::new(caches));
        for task in tasks {
            proxy.spawn(task);
        }
        Ok((Balancer::new(engine, proxy), stats))
    }

    /// Who looks after backends, and who is told; the balances come later.
    fn checks(&self, stack: &Stack) -> Checks {
        let tls = |pool: usize| self.backend_tls.get(pool).cloned().unwrap_or_default();
        let prober = |(pool, plan): (usize, &Option<ProbePlan>)| {
            let plan = plan.as_ref()?;
            Some(match plan.upstream {
                Upstream::Userspace => {
                    health::prober(Secured::new(Userspace::new(stack.clone()), tls(pool)), plan)
                }
                Upstream::Kernel => health::prober(Secured::new(KernelConnect, tls(pool)), plan),
            })
        };
        Checks {
            observer: Some(Rc::new(health::log)),
            panic_observer: Some(Rc::new(health::log_panic)),
            probers: self.probes.iter().enumerate().map(prober).collect(),
            ..Checks::default()
        }
    }
}

impl Application for Proxy {
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll_wake(self, cx)
    }

    fn watch(&self) -> Option<&Rc<Watch>> {
        Self::watch(self)
    }
}
