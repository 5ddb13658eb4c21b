//! The network that simulated and real tests share: a client, some backends, every kind of service.
//!
//! Leg 0 leads to the client, leg n to backend n - 1. Each has an address of either family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use balun::plan::{
    ApplicationPlan, LegPlan, Plan, Protocol as Application, TcpPlan, TlsPlan, Upstream,
};
use l7::proxy_protocol::Version;
use l7::tls::server::{MinVersion, PemPair, Server, ServerSettings};
use nat::{
    BackendConfig, Config, LegConfig, Listen, Mode as EngineMode, Nat, PoolConfig, PoolId, Ports,
    Prefix, ServiceConfig, SnatConfig,
};
use netstack::dev::TunConfig;
use netstack::wire::{Family, Protocol};

/// What is done to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rewritten at both ends.
    Full,
    /// Rewritten at the backend's end.
    Dnat,
    /// Spliced to a second one.
    Tcp,
    /// Each request balanced.
    Http,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Full, Self::Dnat, Self::Tcp, Self::Http];
    /// Those to which bytes are bytes.
    pub const OPAQUE: [Self; 3] = [Self::Full, Self::Dnat, Self::Tcp];

    /// The port of the service of this mode in front of the [`WEB`] servers.
    pub const fn web_port(self) -> u16 {
        80 + self as u16
    }

    /// The port of the service of this mode in front of the [`BYTES`] servers.
    pub const fn bytes_port(self) -> u16 {
        90 + self as u16
    }
}

/// Where backends serve HTTP.
pub const WEB: u16 = 8080;
/// Where they serve the protocol of [`transfer`](crate::transfer).
pub const BYTES: u16 = 9000;
/// Where they serve it behind a PROXY header.
pub const PROXIED: u16 = 9001;
/// The VIP's port of the service in front of those.
pub const PROXYING: u16 = 94;
/// Where they echo datagrams.
pub const ECHO: u16 = 7000;
/// The VIP's port for TLS, if there is a certificate.
pub const TLS: u16 = 443;
/// The VIP's port for datagrams under full NAT; under DNAT it is the next.
pub const DATAGRAMS: u16 = 53;
/// A port of the VIP on which nothing listens.
pub const CLOSED: u16 = 99;

/// Both families.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub chain: String,
    /// Its key.
    pub key: String,
}

/// The client's address.
pub fn client(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 1, 0, 5).into(),
        Family::V6 => Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 5).into(),
    }
}

/// The address of backend number `index`, from 0.
pub fn backend(family: Family, index: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 2, index + 1, 11).into(),
        Family::V6 => Ipv6Addr::new(0xfd02, 0, 0, u16::from(index) + 1, 0, 0, 0, 0x11).into(),
    }
}

/// The services' address, with a port.
pub fn vip(family: Family, port: u16) -> SocketAddr {
    let ip: IpAddr = match family {
        Family::V4 => Ipv4Addr::new(10, 99, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1).into(),
    };
    SocketAddr::new(ip, port)
}

/// One of many addresses and ports of the service in mode `tcp` in front of the [`BYTES`] servers.
pub fn elsewhere(family: Family) -> SocketAddr {
    SocketAddr::new(network(family).first().into(), WIDE.first + 42)
}

/// The ports of that service on the addresses of [`network`].
const WIDE: Ports = Ports { first: 9_100, last: 9_199 };

fn network(family: Family) -> Prefix {
    let (address, length): (IpAddr, _) = match family {
        Family::V4 => (Ipv4Addr::new(10, 98, 7, 0).into(), 24),
        Family::V6 => (Ipv6Addr::new(0xfd98, 0, 0, 7, 0, 0, 0, 0).into(), 64),
    };
    Prefix::new(address.into(), length).unwrap_or(Prefix::host(address.into()))
}

/// The address at which backends answer echo requests.
pub fn echo_vip(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 99, 0, 4).into(),
        Family::V6 => Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 4).into(),
    }
}

/// The source that backends see under full NAT.
pub fn snat(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 99, 0, 250).into(),
        Family::V6 => Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 0x250).into(),
    }
}

/// The plan of the network with this many backends. `netns` names the namespace of each leg.
///
/// # Panics
/// If the certificate cannot be used.
pub fn plan(backends: u8, seed: u64, netns: &[String], certificate: Option<&Certificate>) -> Plan {
    let legs: Vec<_> = (0..=backends).map(|n| leg(n, netns.get(usize::from(n)))).collect();
    let engine_legs = legs.iter().map(engine_leg).collect();
    let ports = [WEB, BYTES, ECHO, PROXIED];
    let pools = FAMILIES
        .iter()
        .flat_map(|&family| ports.map(|port| pool(family, port, backends)))
        .collect();
    let application = |protocol| Some(ApplicationPlan::new(protocol, Upstream::Userspace));
    let (full, dnat) = (EngineMode::Nat(Nat::Full), EngineMode::Nat(Nat::Dnat));
    let mut services = Vec::new();
    let mut applications = Vec::new();
    for (family, first) in FAMILIES.into_iter().zip([0, ports.len() as u16]) {
        let wide = Listen { protocol: Some(Protocol::Tcp), prefix: network(family), ports: WIDE };
        services.push(ServiceConfig::new(wide, EngineMode::Divert, PoolId(first + 1)));
        applications.push(application(Application::Tcp(TcpPlan::default())));
        let mut add = |protocol, at: SocketAddr, mode, pool, application| {
            services.push(service(protocol, at, mode, first + pool));
            applications.push(application);
        };
        for mode in Mode::ALL {
            let (engine, app) = match mode {
                Mode::Full => (full, None),
                Mode::Dnat => (dnat, None),
                Mode::Tcp => {
                    (EngineMode::Divert, application(Application::Tcp(TcpPlan::default())))
                }
                Mode::Http => (EngineMode::Divert, application(http(None))),
            };
            add(Protocol::Tcp, vip(family, mode.web_port()), engine, 0, app.clone());
            if mode != Mode::Http {
                add(Protocol::Tcp, vip(family, mode.bytes_port()), engine, 1, app);
            }
        }
        if certificate.is_some() {
            let app = application(http(certificate));
            add(Protocol::Tcp, vip(family, TLS), EngineMode::Divert, 0, app);
        }
        let proxying = application(Application::Tcp(TcpPlan {
            proxy_protocol: Some(Version::V2),
            ..TcpPlan::default()
        }));
        add(Protocol::Tcp, vip(family, PROXYING), EngineMode::Divert, 3, proxying);
        add(Protocol::Udp, vip(family, DATAGRAMS), full, 2, None);
        add(Protocol::Udp, vip(family, DATAGRAMS + 1), dnat, 2, None);
        add(Protocol::Icmp, SocketAddr::new(echo_vip(family), 0), full, 2, None);
    }
    let mut engine = Config::new(seed, engine_legs, pools, services);
    engine.snat.addresses = FAMILIES.map(|family| snat(family).into()).to_vec();
    engine.snat.ports = SnatConfig::default().ports;
    let probes = Vec::new();
    Plan {
        engine,
        legs,
        applications,
        probes,
        backend_tls: Vec::new(),
        pooling: Vec::new(),
        persistence: Vec::new(),
        stream_memory: None,
        capture: None,
        written: None,
    }
}

/// Mode `http`, with both versions: over TLS if there is a certificate.
fn http(certificate: Option<&Certificate>) -> Application {
    let tls = certificate.map(|Certificate { chain, key }| {
        let pair = PemPair { chain: chain.as_bytes(), key: key.as_bytes() };
        let settings = ServerSettings {
            pairs: vec![(pair, None)],
            alpn: &["h2", "http/1.1"],
            min_version: MinVersion::default(),
            clients: None,
        };
        TlsPlan::fixed(Server::new(&settings, None).unwrap_or_else(|e| panic!("{e}")))
    });
    let http2 = l7::Http2 { prior_knowledge: tls.is_none(), ..l7::Http2::default() };
    Application::Http(Box::new(l7::Config { http2, ..l7::Config::default() }), tls)
}

fn leg(number: u8, netns: Option<&String>) -> LegPlan {
    let (name, address): (_, fn(Family, u8) -> IpAddr) = match number {
        0 => ("client".to_owned(), |family, _| client(family)),
        n => (format!("web{n}"), |family, n| backend(family, n - 1)),
    };
    let mut tun = TunConfig::new(&name);
    tun.addresses = [(Family::V4, 24), (Family::V6, 64)]
        .map(|(family, length)| (address(family, number), length))
        .to_vec();
    tun.default_route = true;
    LegPlan::new(netns.cloned(), tun)
}

fn engine_leg(leg: &LegPlan) -> LegConfig {
    let prefixes = leg.tun.addresses.iter();
    let prefixes = prefixes.filter_map(|&(address, length)| Prefix::new(address.into(), length));
    LegConfig::new(prefixes.collect(), leg.tun.mtu)
}

fn pool(family: Family, port: u16, backends: u8) -> PoolConfig {
    let backends = (0..backends)
        .map(|i| {
            let address = SocketAddr::new(backend(family, i), port);
            BackendConfig::new(format!("web{}", i + 1), address)
        })
        .collect();
    PoolConfig::new(format!("{family:?}-{port}"), backends)
}

fn service(protocol: Protocol, at: SocketAddr, mode: EngineMode, pool: u16) -> ServiceConfig {
    let listen = Listen::new(protocol, at.ip().into(), at.port());
    ServiceConfig::new(listen, mode, PoolId(pool))
}
