//! Configurations that choices make: every feature of the packet path, on or off, with limits so small
//! that a few packets reach them.

use std::time::Duration;

use nat::tunnel::GUE_PORT;
use nat::{
    AffinityConfig, BackendState, ClientLimits, Config, Encapsulation, HealthConfig, LegConfig,
    Listen, Mapping, Mode, Nat, PoolConfig, PoolId, Ports, Prefix, Probe, Rate, Refusal, Refuse,
    Scheduler, ServiceConfig,
};
use netstack::wire::Protocol;

use crate::bed::{addr, config, pool, prefix};
use crate::choices::Choices;

/// Packets for what [`configured`] adds to [`config`].
pub(super) const LINES: &[&str] = &[
    "tcp 10.1.0.5:{p} > 10.98.0.7:70 S seq=1 mss=1460",
    "tcp 10.2.0.11:{p} > 10.98.0.9:70 S seq=1 mss=1460",
    "udp 10.1.0.6:{p} > 10.98.0.7:70 len=30",
    "tcp 10.2.0.11:{p} > 10.99.0.1:81 S seq=1 mss=1460",
    "tcp 10.2.0.12:8080 > 10.2.0.11:{p} . seq=1 ack=1",
    "tcp 10.2.0.12:8080 > 10.1.0.5:{p} P. seq=9 ack=2 len=20",
    "tcp 10.1.0.6:{p} > 10.99.0.1:81 . seq=1 ack=1",
    "tcp 10.1.0.6:{p} > 10.99.0.1:81 S seq=1 mss=1460 ttl=1",
    "tcp 10.1.0.5:{p} > 10.99.0.1:81 S seq=1 mss=1460 ttl=1",
    "tcp 10.1.0.5:{p} > 10.99.0.1:80 S seq=70000 mss=1460",
    "tcp 10.2.0.11:8080 > 10.1.0.5:{p} R. ack=2",
    "tcp 10.2.0.11:4000 > 10.99.0.250:{p} S seq=1",
    "tcp 192.0.0.8:{p} > 10.2.0.11:8080 S seq=1 mss=1460",
    "tcp 192.0.0.8:{p} > 10.2.0.12:8080 R seq=2",
    "udp 10.2.0.11:8080 > 10.99.0.1:{p} len=4",
    "udp 10.1.0.5:{p} > 10.99.0.1:53 len=4000 gso=1000",
    "tcp 10.1.0.5:{p} > 10.99.0.1:81 P. seq=2 ack=1 len=3000 gso=1448 df",
    "icmp 10.1.0.6 > 10.99.0.4 echo id={p} seq=1 len=900",
    "tcp 10.1.0.5:{p} > 10.97.0.1:80 S seq=1 mss=1460",
    "tcp 10.1.0.5:{p} > 10.97.0.1:80 P. seq=2 ack=1 len=9000 gso=1440",
    "tcp [fd01::5]:{p} > [fd97::1]:80 F. seq=2 ack=1 len=1270",
    "udp 10.1.0.5:{p} > 10.97.0.1:53 len=3000",
    "udp 10.1.0.5:{p} > 10.97.0.1:53 len=1400 df",
    "udp 10.1.0.5:{p} > 10.97.0.1:53 frag=0+ ipid=3 len=800",
    "udp 10.1.0.5 > 10.97.0.1 frag=808 ipid=3 len=800",
    "udp [fd01::5]:{p} > [fd97::1]:53 len=1200",
    "icmp fd01::5 > fd97::1 echo id={p} seq=1 len=900",
    "tcp 10.97.0.1:80 > 10.1.0.5:{p} S. seq=1 ack=2",
    "icmp 10.1.0.1 > 10.97.0.1 too-big mtu=1400 about=(tcp 10.97.0.1:80 > 10.1.0.5:{p} . len=1460)",
    "icmp 10.2.0.1 > 10.99.0.250 too-big mtu=600 about=(ip 10.99.0.250 > 10.2.0.11 proto=4 len=20)",
    "icmp 10.2.0.1 > 10.99.0.250 too-big mtu=0 about=(ip 10.99.0.250 > 10.2.0.12 proto=41 len=900)",
    "icmp fd02::1 > fd99::250 too-big mtu=1300 about=(udp [fd99::250]:40000 > [fd02::11]:6080 len=99)",
];

/// [`config`], with more services, and everything that can be configured as `choices` say.
pub(super) fn configured(choices: &mut impl Choices) -> Config {
    let mut config = config();
    config.seed = choices.below(4);
    let all = |protocol, at: &str| Listen { protocol, prefix: prefix(at), ports: Ports::ALL };
    let nat = if choices.below(2) == 0 { Nat::Dnat } else { Nat::Full };
    let wide = all([None, Some(Protocol::Tcp)][choices.below(2) as usize], "10.98.0.0/16");
    config.services.push(ServiceConfig::new(wide, Mode::Nat(nat), PoolId(0)));
    let encapsulation = one(choices, &[Encapsulation::Ipip, Encapsulation::Gue { port: GUE_PORT }]);
    let backends = [["10.2.0.11:0", "10.2.0.12:0"], ["[fd02::11]:0", "10.2.0.12:0"]];
    config.pools.push(pool("carried", &one(choices, &backends)));
    let mut carried = ServiceConfig::new(
        all(None, "10.97.0.1/32"),
        Mode::Nat(Nat::Tunnel(encapsulation)),
        PoolId(config.pools.len() as u16 - 1),
    );
    carried.listens.push(all(None, "fd97::1/128"));
    config.hide_hop = choices.below(4) == 0;
    if choices.below(8) == 0 {
        config.bypass.push(prefix(["10.1.0.6/32", "10.2.0.12/32"][choices.below(2) as usize]));
    }
    limits(choices, &mut config);
    snat(choices, &mut config);
    if nat == Nat::Full && config.snat.addresses.is_empty() {
        config.services.pop();
    }
    if ["10.99.0.250", "fd99::250"].into_iter().all(|at| config.snat.addresses.contains(&addr(at)))
    {
        config.services.push(carried);
    }
    for leg in &mut config.legs {
        configure_leg(choices, leg);
    }
    for pool in &mut config.pools {
        configure_pool(choices, pool);
    }
    for service in &mut config.services {
        configure_service(choices, service);
    }
    config
}

fn one<T: Copy>(choices: &mut impl Choices, of: &[T]) -> T {
    of[choices.below(of.len() as u64) as usize]
}

fn limits(choices: &mut impl Choices, config: &mut Config) {
    config.limits.flows = super::FLOWS;
    config.limits.half_open = super::HALF_OPEN;
    config.limits.fragments = one(choices, &[super::DATAGRAMS, 0, 1]);
    config.limits.flows_per_client = one(choices, &[u32::MAX, 4]);
}

fn snat(choices: &mut impl Choices, config: &mut Config) {
    let snat = &mut config.snat;
    let four = ["10.99.0.250", "10.99.0.251"].map(addr);
    match choices.below(4) {
        0 => snat.addresses.clear(),
        1 => snat.addresses.extend(four),
        _ => {}
    }
    snat.addresses.dedup();
    snat.mapping = one(choices, &[Mapping::EndpointDependent, Mapping::EndpointIndependent]);
    snat.ports =
        one(choices, &[(1024, 65_535), (5_000, 5_000), (5_000, 5_005), (1_022, 1_026), (1, 80)]);
    snat.parity = choices.below(2) == 0;
    snat.quarantine = Duration::from_secs(one(choices, &[120, 0, 1]));
    snat.quarantine_ports = one(choices, &[1_048_576, 0, 2]);
    snat.ports_per_client = one(choices, &[u32::MAX, 1, 3]);
    snat.exhausted = one(choices, &[Refusal::Reject, Refusal::Drop]);
    snat.unsolicited = one(choices, &[Refusal::Reject, Refusal::Drop]);
}

fn configure_leg(choices: &mut impl Choices, leg: &mut LegConfig) {
    leg.mtu = one(choices, &[1500, 0, 1280, 576, 68]);
    leg.icmp_errors = choices.below(4) > 0;
}

fn configure_pool(choices: &mut impl Choices, pool: &mut PoolConfig) {
    use Scheduler::{Ewma, LeastConnections, Maglev, P2c, Random, RoundRobin, SourceHash};
    // A table of Maglev's takes a while to make.
    let rarely = if choices.below(16) == 0 { Maglev } else { RoundRobin };
    pool.scheduler =
        one(choices, &[RoundRobin, Random, LeastConnections, P2c, Ewma, SourceHash, rarely]);
    pool.affinity = (choices.below(3) == 0).then(|| AffinityConfig::new(Duration::from_secs(30)));
    pool.slow_start = Duration::from_secs(one(choices, &[0, 10]));
    pool.panic_threshold = one(choices, &[0, 50, 100]);
    for backend in &mut pool.backends {
        backend.max_connections = one(choices, &[None, None, Some(1), Some(3)]);
        backend.priority = choices.below(2) as u16;
        backend.backup = choices.below(4) == 0;
        backend.weight = one(choices, &[1, 1, 3, 0]);
        if choices.below(8) == 0 {
            backend.address.set_port(0);
        }
    }
    let probe = match choices.below(8) {
        0 => Probe::Icmp,
        1 => Probe::Tcp,
        2 => Probe::Udp(b"well?".to_vec()),
        3 => Probe::External,
        _ => return,
    };
    pool.initial = one(choices, &[BackendState::Starting, BackendState::Ready, BackendState::Down]);
    pool.health = Some(HealthConfig::new(probe));
}

fn configure_service(choices: &mut impl Choices, service: &mut ServiceConfig) {
    service.pickup =
        matches!(service.mode, Mode::Nat(Nat::Dnat | Nat::Tunnel(_))) && choices.below(2) == 0;
    service.refuse = one(choices, &[Refuse::Reject, Refuse::Drop]);
    let few = Rate { count: 5, per: Duration::from_secs(1), burst: 2 };
    let limit = choices.below(16);
    service.max_flows = (limit == 1).then_some(3);
    service.rate = (limit == 2).then_some(few);
    service.client_limits = ClientLimits {
        rate: (limit == 3).then_some(few),
        flows: (limit == 4 || limit == 1).then_some(2),
        prefix_v4: one(choices, &[32, 24]),
        ..ClientLimits::default()
    };
    if limit == 5 {
        service.deny = vec![Prefix::host(addr("10.1.0.6"))];
    }
}
