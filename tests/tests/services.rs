//! What services listen on and who may use them, packet by packet.

use std::time::Duration;

use nat::verdict::DivertTo;
use nat::{
    ClientLimits, Config, ConfigError, DropReason, Engine, Mode, Nat, Rate, Refuse, ServiceId,
    Verdict,
};
use tests::bed::{Bed, Seen, addr, canonical, config, leg, pool, prefix, service};

const FULL: Mode = Mode::Nat(Nat::Full);
const DNAT: Mode = Mode::Nat(Nat::Dnat);

fn forward(leg: u16, line: &str) -> Seen {
    Seen { verdict: Verdict::Forward, leg, line: canonical(line) }
}

/// Clients behind leg 0, backends that take every port behind leg 1.
fn every_port(listens: &[(&str, Mode, u16)]) -> Config {
    let legs = vec![
        leg(&["10.1.0.0/16", "fd01::/64", "192.0.2.0/24"]),
        leg(&["10.2.0.0/24", "fd02::/64"]),
    ];
    let pools = vec![pool("v4", &["10.2.0.11:0"]), pool("v6", &["[fd02::11]:0"])];
    let services = listens.iter().map(|(text, mode, pool)| service(text, *mode, *pool)).collect();
    let mut config = Config::new(42, legs, pools, services);
    config.snat.addresses = vec![addr("10.99.0.250"), addr("fd99::250")];
    config
}

#[test]
fn a_range_keeps_the_port_that_the_client_asked_for() {
    let mut config =
        every_port(&[("tcp 10.99.0.1:8000-8099", FULL, 0), ("udp [fd99::1]:*", FULL, 1)]);
    // One port of ours for each of two flows, though they go to two ports of the backend.
    config.snat.ports = (5_000, 5_001);
    let mut bed = Bed::new(config);
    for port in [8000, 8099] {
        let seen = bed.send(0, &format!("tcp 10.1.0.5:40000 > 10.99.0.1:{port} S"));
        assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
        let to = format!("> 10.2.0.11:{port} S");
        assert!(seen.line.contains(&to), "{}", seen.line);
        let (from, _) = seen.line.split_once(" >").unwrap_or_default();
        let from = from.trim_start_matches("tcp ");
        let seen = bed.send(1, &format!("tcp 10.2.0.11:{port} > {from} S. ack=1"));
        let line = format!("tcp 10.99.0.1:{port} > 10.1.0.5:40000 S. ack=1 ttl=63");
        assert_eq!(seen, forward(0, &line));
    }
    // All ports of a backend share ours, so that clients cannot make a table of ports for each.
    let seen = bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:8050 S");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
    let seen = bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:8100 S");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoService), "beyond the range");
    let seen = bed.send(0, "udp [fd01::5]:5000 > [fd99::1]:65535 len=4");
    assert!(seen.line.contains("> [fd02::11]:65535"), "{}", seen.line);
    bed.wait(Duration::from_hours(1));
    assert_eq!(bed.engine.flows().len(), 0);
}

#[test]
fn a_range_with_a_fixed_backend_port_goes_to_that_port() {
    let mut config = every_port(&[("tcp 10.99.0.1:8000-8099", DNAT, 0)]);
    config.pools[0] = pool("v4", &["10.2.0.11:80"]);
    let mut bed = Bed::new(config);
    let seen = bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.1:8042 S");
    assert_eq!(seen, forward(1, "tcp 10.1.0.5:40000 > 10.2.0.11:80 S ttl=63"));
    let seen = bed.send(1, "tcp 10.2.0.11:80 > 10.1.0.5:40000 S. ack=1");
    assert_eq!(seen, forward(0, "tcp 10.99.0.1:8042 > 10.1.0.5:40000 S. ack=1 ttl=63"));
}

#[test]
fn a_whole_address_takes_tcp_udp_and_echo() {
    for vip in ["10.99.0.1", "10.99.0.2"] {
        for (line, out) in [
            (format!("tcp 10.1.0.5:7 > {vip}:22 S"), "tcp 10.1.0.5:7 > 10.2.0.11:22 S ttl=63"),
            (format!("udp 10.1.0.5:7 > {vip}:53"), "udp 10.1.0.5:7 > 10.2.0.11:53 ttl=63"),
            (
                format!("icmp 10.1.0.5 > {vip} echo id=7 seq=1"),
                "icmp 10.1.0.5 > 10.2.0.11 echo id=7 seq=1 ttl=63",
            ),
        ] {
            let mut bed = Bed::new(every_port(&[("any 10.99.0.1, any 10.99.0.2", DNAT, 0)]));
            assert_eq!(bed.send(0, &line), forward(1, out));
        }
    }
    let mut bed = Bed::new(every_port(&[("any 10.99.0.1", DNAT, 0)]));
    let seen = bed.send(0, "ip 10.1.0.5 > 10.99.0.1 proto=47 len=8");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::ProtocolUnsupported));
}

#[test]
fn one_address_comes_before_a_prefix_and_a_port_before_all() {
    let mut bed = Bed::new(every_port(&[
        ("any 10.99.0.0/24", DNAT, 0),
        ("tcp 10.99.0.0/28:80", Mode::Divert, 0),
        ("tcp 10.99.0.1:80", Mode::Divert, 0),
        ("tcp 10.99.0.1:*", Mode::Divert, 0),
    ]));
    for (to, service) in [("10.99.0.2:80", 1), ("10.99.0.1:80", 2), ("10.99.0.1:81", 3)] {
        let seen = bed.send(0, &format!("tcp 10.1.0.5:40000 > {to} S"));
        assert_eq!(seen.verdict, Verdict::Divert(DivertTo::Service(ServiceId(service))), "{to}");
        assert!(seen.line.contains(to), "the divert is told where to");
    }
    let seen = bed.send(0, "tcp 10.1.0.5:40000 > 10.99.0.2:81 S");
    assert_eq!(seen.verdict, Verdict::Forward);
    let seen = bed.send(0, "udp 10.1.0.5:40000 > 10.99.0.1:80");
    assert_eq!(seen.verdict, Verdict::Forward, "what one address does not take, its prefix may");
}

#[test]
fn a_wildcard_claims_flows_and_makes_no_address_ours() {
    let config = every_port(&[("any 0.0.0.0/0", FULL, 0), ("tcp [::/0]:*", FULL, 1)]);
    let mut bed = Bed::new(config);
    let seen = bed.send(0, "tcp 192.0.2.9:40000 > 198.51.100.7:443 S");
    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
    let port = bed.flow().snat.port;
    assert_eq!(
        bed.send(1, &format!("tcp 10.2.0.11:443 > 10.99.0.250:{port} S. ack=1")),
        forward(0, "tcp 198.51.100.7:443 > 192.0.2.9:40000 S. ack=1 ttl=63"),
    );
    // Ours is the SNAT pool alone: it answers echo, and late packets to it make no flow.
    let seen = bed.send(1, "udp 10.2.0.11:9999 > 10.99.0.250:5000");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoService));
    let seen = bed.send(0, "icmp 192.0.2.9 > 10.99.0.250 echo id=1");
    assert_eq!(seen.verdict, Verdict::Reply);
    let seen = bed.send(0, "tcp 10.99.0.250:1 > 198.51.100.7:443 S");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::Martian));
    // In the middle of a connection that is not known: claimed, so refused aloud.
    let seen = bed.send(0, "tcp [fd01::5]:1 > [2001:db8::7]:443 . ack=1");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoFlow));
    // Another protocol is somebody else's.
    let seen = bed.send(0, "icmp fd01::5 > fd02::7 echo id=1");
    assert_eq!(seen, forward(1, "icmp fd01::5 > fd02::7 echo id=1 ttl=63"));
}

#[test]
fn what_is_bypassed_is_routed_as_it_is_in_both_directions() {
    let mut config = every_port(&[("any 0.0.0.0/0", FULL, 0)]);
    config.bypass = vec![prefix("10.2.0.128/25"), prefix("10.1.7.0/24")];
    let mut bed = Bed::new(config);
    for (line, out) in [
        ("udp 10.1.0.5:5 > 10.2.0.200:6", "udp 10.1.0.5:5 > 10.2.0.200:6 ttl=63"),
        ("icmp 10.1.0.5 > 10.2.0.200 echo id=1", "icmp 10.1.0.5 > 10.2.0.200 echo id=1 ttl=63"),
        ("udp 10.1.7.1:5 > 10.2.0.1:6", "udp 10.1.7.1:5 > 10.2.0.1:6 ttl=63"),
    ] {
        assert_eq!(bed.send(0, line), forward(1, out));
    }
    let back = bed.send(1, "tcp 10.2.0.200:6 > 10.1.0.5:5 . ack=1");
    assert_eq!(back, forward(0, "tcp 10.2.0.200:6 > 10.1.0.5:5 . ack=1 ttl=63"));
    let fragment = bed.send(0, "udp 10.1.0.5 > 10.2.0.200 frag=1480 ipid=7 len=20");
    assert_eq!((fragment.verdict, fragment.leg), (Verdict::Forward, 1));
    assert_eq!(bed.engine.flows().len(), 0);
    assert_eq!(bed.send(0, "udp 10.1.0.5:5 > 10.2.0.1:6").verdict, Verdict::Forward);
    assert_eq!(bed.engine.flows().len(), 1, "next to it the service has it");
}

/// The usual services, the first with a policy.
fn with_policy(change: impl FnOnce(&mut nat::ServiceConfig)) -> Bed {
    let mut config = config();
    for service in &mut config.services[1..] {
        service.deny = vec![prefix("10.1.0.66/32"), prefix("fd01::66/128")];
    }
    change(&mut config.services[0]);
    Bed::new(config)
}

#[test]
fn who_is_denied_hears_that_it_is_prohibited() {
    let mut bed = with_policy(|_| {});
    for line in [
        "tcp 10.1.0.66:1 > 10.99.0.1:81 S",
        "tcp 10.1.0.66:1 > 10.99.0.1:81 . ack=1",
        "tcp 10.1.0.66:1 > 10.99.0.2:80 S",
        "udp 10.1.0.66:1 > 10.99.0.1:53",
        "icmp 10.1.0.66 > 10.99.0.4 echo id=1",
        "udp [fd01::66]:1 > [fd99::1]:53",
    ] {
        let seen = bed.send(0, line);
        assert_eq!(seen.verdict, Verdict::Reject(DropReason::Denied), "{line}");
        assert!(seen.line.contains("unreachable code=prohibited"), "{}", seen.line);
    }
    assert_eq!(bed.engine.flows().len(), 0);
    assert_eq!(bed.send(0, "udp 10.1.0.67:1 > 10.99.0.1:53").verdict, Verdict::Forward);
}

#[test]
fn a_service_may_refuse_in_silence() {
    let mut bed = with_policy(|service| {
        service.allow = vec![prefix("10.1.0.128/25")];
        service.refuse = Refuse::Drop;
    });
    for line in ["tcp 10.1.0.5:1 > 10.99.0.1:80 S", "tcp 10.1.0.5:1 > 10.99.0.1:80 . ack=1"] {
        assert_eq!(bed.send(0, line).verdict, Verdict::Drop(DropReason::Denied));
    }
    assert_eq!(bed.send(0, "tcp 10.1.0.128:1 > 10.99.0.1:80 S").verdict, Verdict::Forward);
}

#[test]
fn a_hundred_thousand_prefixes_are_a_list() {
    let mut bed = with_policy(|service| {
        let v4 =
            (0..50_000_u32).map(|n| format!("{}/32", std::net::Ipv4Addr::from(n * 7 + (10 << 24))));
        let v6 = (0..50_000_u32).map(|n| format!("fd01:{:x}:{:x}::/48", n >> 8, n & 255));
        service.deny = v4.chain(v6).map(|text| prefix(&text)).collect();
    });
    // 10.1.0.0 is number 65,536: of seven neighbours one is denied.
    let verdicts =
        (0..7).map(|n| bed.send(0, &format!("tcp 10.1.0.{n}:1 > 10.99.0.1:80 S")).verdict);
    let denied = verdicts.filter(|v| *v == Verdict::Reject(DropReason::Denied)).count();
    assert_eq!(denied, 1);
}

#[test]
fn a_client_that_is_too_fast_waits_and_keeps_its_flows() {
    let rate = Rate { count: 10, per: Duration::from_secs(1), burst: 3 };
    let mut bed = with_policy(|service| {
        service.client_limits = ClientLimits { rate: Some(rate), ..ClientLimits::default() };
    });
    let syn = |client: &str, port: u16| format!("tcp {client}:{port} > 10.99.0.1:80 S");
    for port in 1..=3 {
        assert_eq!(bed.send(0, &syn("10.1.0.5", port)).verdict, Verdict::Forward);
    }
    let seen = bed.send(0, &syn("10.1.0.5", 4));
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::ClientRate));
    assert!(seen.line.contains("code=prohibited"), "{}", seen.line);
    assert_eq!(bed.send(0, &syn("10.1.0.6", 4)).verdict, Verdict::Forward, "another client");
    assert_eq!(
        bed.send(0, &syn("10.1.0.5", 3)).verdict,
        Verdict::Forward,
        "sent again: no new flow"
    );
    // Other services of the same client are not counted.
    assert_eq!(bed.send(0, "udp 10.1.0.5:4 > 10.99.0.1:53").verdict, Verdict::Forward);
    bed.wait(Duration::from_millis(100));
    assert_eq!(bed.send(0, &syn("10.1.0.5", 4)).verdict, Verdict::Forward);
    assert_eq!(bed.send(0, &syn("10.1.0.5", 5)).verdict, Verdict::Reject(DropReason::ClientRate));
    assert_eq!(bed.engine.stats().flows_evicted, 0);
}

#[test]
fn a_client_with_too_many_flows_gets_one_when_one_ends() {
    let mut bed = with_policy(|service| service.client_limits.flows = Some(2));
    let syn = |port: u16| format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 S");
    assert_eq!(bed.send(0, &syn(1)).verdict, Verdict::Forward);
    bed.wait(Duration::from_mins(1));
    assert_eq!(bed.send(0, &syn(2)).verdict, Verdict::Forward);
    assert_eq!(bed.send(0, &syn(3)).verdict, Verdict::Reject(DropReason::ClientFlows));
    assert_eq!(bed.send(0, &syn(1)).verdict, Verdict::Forward, "existing ones go on");
    bed.wait(Duration::from_mins(4));
    assert_eq!(bed.engine.flows().len(), 1);
    assert_eq!(bed.send(0, &syn(3)).verdict, Verdict::Forward);
    assert_eq!(bed.send(0, &syn(4)).verdict, Verdict::Reject(DropReason::ClientFlows));
}

/// Everything that ends a flow, or keeps one from being made, is counted: `Bed` compares the counts
/// with the flow table after each packet.
#[test]
fn flows_that_give_way_or_never_come_to_be_are_not_counted() {
    let mut config = config();
    config.limits.half_open = 2;
    config.snat.ports = (5_000, 5_002);
    for service in &mut config.services {
        service.client_limits.flows = Some(5);
        service.max_flows = Some(50);
    }
    let mut bed = Bed::new(config);
    for port in 1..=9 {
        let _ = bed.send(0, &format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 S"));
        let _ = bed.send(0, &format!("tcp 10.1.0.5:{port} > 10.99.0.1:81 S ttl=1"));
        let _ = bed.send(0, &format!("tcp 10.1.0.5:{port} > 10.99.0.2:80 S"));
        let _ = bed.send(0, &format!("udp 10.1.0.5:{port} > 10.99.0.1:53"));
    }
    let stats = bed.engine.stats();
    assert!(stats.flows_evicted > 0 && stats.dropped(DropReason::ClientFlows) > 0);
    bed.wait(Duration::from_hours(1));
    assert_eq!(bed.engine.flows().len(), 0);
    assert_eq!(bed.send(0, "udp 10.1.0.5:1 > 10.99.0.1:53").verdict, Verdict::Forward);
}

#[test]
fn a_service_has_limits_of_its_own() {
    let mut bed = with_policy(|service| {
        service.rate = Some(Rate { count: 1, per: Duration::from_secs(1), burst: 2 });
        service.max_flows = Some(3);
    });
    let syn =
        |bed: &mut Bed, n: u16| bed.send(0, &format!("tcp 10.1.0.{n}:1 > 10.99.0.1:80 S")).verdict;
    assert_eq!(syn(&mut bed, 1), Verdict::Forward);
    assert_eq!(syn(&mut bed, 2), Verdict::Forward);
    assert_eq!(syn(&mut bed, 3), Verdict::Reject(DropReason::ServiceRate));
    bed.wait(Duration::from_secs(5));
    assert_eq!(syn(&mut bed, 3), Verdict::Forward);
    assert_eq!(syn(&mut bed, 4), Verdict::Reject(DropReason::ServiceFlows));
}

/// A backend that is a client of its own service: with full NAT the answer comes back through balun,
/// even if the backend is given itself.
#[test]
fn a_backend_may_use_its_own_service() {
    for (backend, vip, snat, first) in [
        ("10.2.0.11", "10.99.0.1", "10.99.0.250", "10.2.0.11"),
        ("[fd02::11]", "[fd99::1]", "[fd99::250]", "[fd02::11]"),
    ] {
        let mut bed = Bed::new(config());
        let seen = bed.send(1, &format!("tcp {backend}:40000 > {vip}:80 S"));
        let port = bed.flow().snat.port;
        assert_eq!(seen, forward(1, &format!("tcp {snat}:{port} > {first}:8080 S ttl=63")));
        let seen = bed.send(1, &format!("tcp {first}:8080 > {snat}:{port} S. ack=1"));
        assert_eq!(seen, forward(1, &format!("tcp {vip}:80 > {backend}:40000 S. ack=1 ttl=63")));
        let seen = bed.send(1, &format!("tcp {backend}:40000 > {vip}:80 . seq=1 ack=1"));
        let line = format!("tcp {snat}:{port} > {first}:8080 . seq=1 ack=1 ttl=63");
        assert_eq!(seen, forward(1, &line));

        let mut bed = Bed::new(config());
        let seen = bed.send(1, &format!("udp {backend}:5353 > {vip}:53 len=4"));
        let port = bed.flow().snat.port;
        assert_eq!(seen, forward(1, &format!("udp {snat}:{port} > {first}:8080 len=4 ttl=63")));
        let seen = bed.send(1, &format!("udp {first}:8080 > {snat}:{port} len=8"));
        assert_eq!(seen, forward(1, &format!("udp {vip}:53 > {backend}:5353 len=8 ttl=63")));
    }
}

#[test]
fn what_contradicts_itself_makes_no_engine() {
    let error = |change: fn(&mut Config)| {
        let mut config =
            every_port(&[("tcp 10.99.0.1:80-89", FULL, 0), ("any fd99::/64", FULL, 1)]);
        change(&mut config);
        Engine::new(config).err()
    };
    assert_eq!(error(|_| {}), None);
    let same = error(|config| config.services.push(service("tcp 10.99.0.1:89-98", FULL, 0)));
    assert!(matches!(same, Some(ConfigError::SameListen(..))), "{same:?}");
    let none = error(|config| config.services[0].listens.clear());
    assert!(matches!(none, Some(ConfigError::NoListen(_))), "{none:?}");
    let bypassed = error(|config| config.bypass = vec![prefix("10.99.0.0/24")]);
    assert!(matches!(bypassed, Some(ConfigError::Bypassed(_))), "{bypassed:?}");
    let both = error(|config| {
        config.services[0].allow = vec![prefix("10.1.0.0/16")];
        config.services[0].deny = vec![prefix("10.0.0.0/8"), prefix("10.1.0.0/16")];
    });
    assert!(matches!(both, Some(ConfigError::AllowedAndDenied(..))), "{both:?}");
    let source = error(|config| config.snat.addresses.clear());
    assert!(matches!(source, Some(ConfigError::NoSource(_))), "{source:?}");
    let mixed =
        error(|config| config.services[0].listens.push(tests::bed::listen("tcp [fd99::1]:1")));
    assert!(matches!(mixed, Some(ConfigError::FamilyMismatch(_))), "{mixed:?}");
}
