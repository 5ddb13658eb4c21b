//! Who lives where in the demo: one client, some backends, a leg to each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nat::{
    BackendConfig, Config, LegConfig, Listen, Mode, Nat, PoolConfig, PoolId, Prefix, ServiceConfig,
    SnatConfig,
};
use netstack::dev::TunConfig;
use netstack::wire::{Address, Protocol};

use crate::plan::{ApplicationPlan, LegPlan, Plan, Protocol as Application, Upstream};

/// The client's address.
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 5);
/// The L4 service: one connection, rewritten packet by packet.
pub(super) const VIP_L4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 99, 0, 1)), 80);
/// The L7 service: each request balanced.
pub(super) const VIP_L7: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 99, 0, 2)), 80);
/// The port of the backends.
pub(super) const BACKEND_PORT: u16 = 8080;
const SNAT: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 250);

/// Where backend number `index` (from 0) lives.
pub(super) fn backend_address(index: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, index + 1, 11)
}

/// What backend number `index` is called.
pub(super) fn backend_name(index: u8) -> String {
    format!("web{}", index + 1)
}

/// The plan of the demo. `netns` names the namespace of each leg: the client's, then the backends'.
pub(super) fn plan(backends: u8, seed: u64, netns: &[Option<String>]) -> Plan {
    let addresses =
        std::iter::once(CLIENT).chain((0..backends).map(backend_address)).map(IpAddr::V4);
    let names = std::iter::once("client".to_owned()).chain((0..backends).map(backend_name));
    let legs: Vec<_> = addresses
        .zip(names)
        .enumerate()
        .map(|(i, (address, name))| {
            let mut tun = TunConfig::new(&name);
            tun.addresses = vec![(address, 24)];
            tun.default_route = true;
            LegPlan::new(netns.get(i).cloned().flatten(), tun)
        })
        .collect();
    let engine_legs = legs
        .iter()
        .map(|leg| {
            let prefixes = leg.tun.addresses.iter();
            let prefixes =
                prefixes.filter_map(|&(address, len)| Prefix::new(address.into(), len)).collect();
            LegConfig::new(prefixes, leg.tun.mtu)
        })
        .collect();
    let backend = |i| {
        let address = SocketAddr::new(backend_address(i).into(), BACKEND_PORT);
        BackendConfig::new(backend_name(i), address)
    };
    let pool = PoolConfig::new("web", (0..backends).map(backend).collect());
    let service = |name: &str, vip: SocketAddr, mode| {
        let listen = Listen::new(Protocol::Tcp, vip.ip().into(), vip.port());
        ServiceConfig { name: name.into(), ..ServiceConfig::new(listen, mode, PoolId(0)) }
    };
    let services =
        vec![service("l4", VIP_L4, Mode::Nat(Nat::Full)), service("l7", VIP_L7, Mode::Divert)];
    let mut engine = Config::new(seed, engine_legs, vec![pool], services);
    engine.snat = SnatConfig { addresses: vec![Address::from(SNAT)], ..SnatConfig::default() };
    let http = ApplicationPlan::new(Application::Http(Box::default(), None), Upstream::Userspace);
    Plan {
        engine,
        legs,
        applications: vec![None, Some(http)],
        probes: Vec::new(),
        backend_tls: Vec::new(),
        pooling: Vec::new(),
        persistence: Vec::new(),
        stream_memory: None,
        capture: None,
        written: None,
    }
}
