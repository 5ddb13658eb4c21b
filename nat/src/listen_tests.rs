use std::net::IpAddr;

use super::*;
use crate::rng::Rng;

fn addr(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn on(protocol: Option<Protocol>, prefix: &str, first: u16, last: u16) -> Listen {
    let (address, len) = prefix.split_once('/').unwrap();
    let prefix = Prefix::new(addr(address), len.parse().unwrap()).unwrap();
    Listen { protocol, prefix, ports: Ports { first, last } }
}

const TCP: Option<Protocol> = Some(Protocol::Tcp);
const UDP: Option<Protocol> = Some(Protocol::Udp);
const ICMP: Option<Protocol> = Some(Protocol::Icmp);

fn index(listens: &[Listen]) -> ListenIndex {
    let listens = (0..).map(ServiceId).zip(listens.iter().copied());
    ListenIndex::new(listens, &[addr("10.99.0.250")], 1)
}

#[test]
fn the_most_specific_wins() {
    let index = index(&[
        on(TCP, "10.99.0.1/32", 80, 80),
        on(TCP, "10.99.0.1/32", 8000, 8099),
        on(TCP, "10.99.0.1/32", 8050, 8059),
        on(TCP, "10.99.0.1/32", 1, 65_535),
        on(None, "10.99.0.1/32", 1, 65_535),
        on(TCP, "10.99.0.0/28", 80, 80),
        on(None, "10.99.0.0/24", 1, 65_535),
        on(UDP, "0.0.0.0/0", 53, 53),
        on(ICMP, "10.99.0.1/32", 0, 0),
        on(TCP, "10.99.0.2/32", 8000, 8009),
        // Of two ranges that meet the smaller has what both hold.
        on(TCP, "10.99.0.2/32", 8005, 8020),
    ]);
    for (protocol, address, port, service) in [
        (Protocol::Tcp, "10.99.0.1", 80, Some(0)),
        (Protocol::Tcp, "10.99.0.1", 8000, Some(1)),
        (Protocol::Tcp, "10.99.0.1", 8049, Some(1)),
        (Protocol::Tcp, "10.99.0.1", 8050, Some(2)),
        (Protocol::Tcp, "10.99.0.1", 8059, Some(2)),
        (Protocol::Tcp, "10.99.0.1", 8060, Some(1)),
        (Protocol::Tcp, "10.99.0.1", 8099, Some(1)),
        (Protocol::Tcp, "10.99.0.1", 8100, Some(3)),
        (Protocol::Tcp, "10.99.0.1", 65_535, Some(3)),
        (Protocol::Tcp, "10.99.0.1", 1, Some(3)),
        (Protocol::Udp, "10.99.0.1", 53, Some(4)),
        (Protocol::Icmp, "10.99.0.1", 7, Some(8)),
        (Protocol::Tcp, "10.99.0.15", 80, Some(5)),
        (Protocol::Tcp, "10.99.0.15", 81, Some(6)),
        (Protocol::Tcp, "10.99.0.16", 80, Some(6)),
        (Protocol::Icmp, "10.99.0.3", 7, Some(6)),
        (Protocol::Udp, "192.0.2.1", 53, Some(7)),
        (Protocol::Udp, "192.0.2.1", 54, None),
        (Protocol::Udp, "fd99::1", 53, None),
        (Protocol::Tcp, "10.99.0.2", 8004, Some(9)),
        (Protocol::Tcp, "10.99.0.2", 8009, Some(9)),
        (Protocol::Tcp, "10.99.0.2", 8010, Some(10)),
        (Protocol::Tcp, "10.99.0.2", 8020, Some(10)),
        (Protocol::Tcp, "10.99.0.2", 8021, Some(6)),
        // The address of the SNAT pool is closed.
        (Protocol::Tcp, "10.99.0.250", 80, None),
        (Protocol::Tcp, "10.99.0.249", 80, Some(6)),
    ] {
        let found = index.lookup(protocol, addr(address), port).map(|id| id.0);
        assert_eq!(found, service, "{protocol} {address}:{port}");
    }
}

/// Random listens against the rule itself, applied by a scan.
#[test]
fn the_index_agrees_with_a_scan() {
    let mut rng = Rng::new(3);
    for _ in 0..200 {
        let mut listens: Vec<Listen> = Vec::new();
        while listens.len() < 40 {
            let len = 22 + rng.below(11) as u8;
            let address = Address::from_v4([10, 99, rng.below(4) as u8, rng.below(256) as u8]);
            let first = 1 + rng.below(100) as u16;
            let ports = match rng.below(3) {
                0 => Ports::ALL,
                1 => Ports::one(first),
                _ => Ports { first, last: first + rng.below(40) as u16 },
            };
            let protocol = [None, TCP, UDP, ICMP][rng.below(4) as usize];
            let ports = if protocol.is_none() { Ports::ALL } else { ports };
            let prefix = Prefix::new(address, len).unwrap();
            listens.push(Listen { protocol, prefix, ports });
            let owned: Vec<_> = (0..).zip(listens.iter().copied()).collect();
            if !conflicts(&owned).is_empty() {
                listens.pop();
            }
        }
        let index = index(&listens);
        for _ in 0..500 {
            let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp][rng.below(3) as usize];
            let address = Address::from_v4([10, 99, rng.below(4) as u8, rng.below(249) as u8]);
            let port = 1 + rng.below(150) as u16;
            let holds = |listen: &Listen| {
                listen.prefix.contains(address)
                    && listen.protocol.is_none_or(|p| p == protocol)
                    && (protocol == Protocol::Icmp
                        || (listen.ports.first..=listen.ports.last).contains(&port))
            };
            let rank = |listen: &Listen| {
                let span = listen.effective_ports().span();
                (u8::MAX - listen.prefix.len(), span, listen.protocol.is_none())
            };
            let best = (0..)
                .map(ServiceId)
                .zip(&listens)
                .filter(|(_, listen)| holds(listen))
                .min_by_key(|(_, listen)| rank(listen))
                .map(|(id, _)| id);
            assert_eq!(index.lookup(protocol, address, port), best, "{protocol} {address}:{port}");
        }
    }
}

#[test]
fn what_is_ambiguous_is_found() {
    let conflict = |a: Listen, b: Listen| !conflicts(&[(1, a), (2, b)]).is_empty();
    let range = |first, last| on(TCP, "10.99.0.1/32", first, last);
    assert!(conflict(range(80, 80), range(80, 80)));
    assert!(conflict(range(8000, 8009), range(8009, 8018)));
    assert!(!conflict(range(8000, 8009), range(8010, 8019)), "side by side");
    assert!(!conflict(range(8000, 8009), range(8005, 8020)), "the smaller wins");
    assert!(!conflict(range(80, 80), on(UDP, "10.99.0.1/32", 80, 80)));
    assert!(!conflict(range(80, 80), on(TCP, "10.99.0.0/31", 80, 80)));
    assert!(conflict(on(ICMP, "10.99.0.1/32", 0, 0), on(ICMP, "10.99.0.1/32", 7, 9)));
    assert!(conflict(on(None, "::/0", 1, 2), on(None, "::/0", 1, 65_535)));
    assert!(!conflict(on(None, "::/0", 1, 65_535), on(None, "0.0.0.0/0", 1, 65_535)));
    assert_eq!(conflicts(&[(1, range(80, 80)), (1, range(80, 80))]), []);
    // Each later one is reported against an earlier one.
    let three = [(1, range(1, 10)), (2, range(6, 15)), (3, range(10, 19))];
    assert_eq!(conflicts(&three), [(0, 1), (1, 2)]);
    let hidden = [(1, range(1, 10)), (2, range(5, 14)), (1, range(3, 12))];
    assert_eq!(conflicts(&hidden), [(1, 2)]);
}

/// Thousands of services are found as fast as one: this takes minutes if each lookup scans them.
#[test]
fn sixty_thousand_services_on_ranges_are_indexed_and_found() {
    let listens: Vec<_> = (0..60_000_u32)
        .map(|n| {
            let [_, _, a, b] = (n / 10).to_be_bytes();
            let first = 1_000 * (1 + n as u16 % 10);
            on(TCP, &format!("10.50.{a}.{b}/32"), first, first + 99)
        })
        .collect();
    let owned: Vec<_> = (0..).zip(listens.iter().copied()).collect();
    assert_eq!(conflicts(&owned), []);
    let index = index(&listens);
    for (n, listen) in (0..).zip(&listens) {
        let port = listen.ports.first + 50;
        assert_eq!(index.lookup(Protocol::Tcp, listen.prefix.first(), port), Some(ServiceId(n)));
    }
}

#[test]
fn a_listen_is_printed_as_it_is_written() {
    for (listen, text) in [
        (Listen::new(Protocol::Tcp, addr("10.99.0.1"), 80), "tcp 10.99.0.1:80"),
        (Listen::new(Protocol::Icmp, addr("fd99::4"), 0), "icmp fd99::4"),
        (on(TCP, "10.99.0.1/32", 8000, 8099), "tcp 10.99.0.1:8000-8099"),
        (on(UDP, "fd99::1/128", 1, 65_535), "udp [fd99::1]:*"),
        (on(TCP, "10.99.0.0/28", 80, 80), "tcp 10.99.0.0/28:80"),
        (on(UDP, "fd99::/64", 53, 53), "udp [fd99::/64]:53"),
        (on(None, "0.0.0.0/0", 1, 65_535), "any 0.0.0.0/0"),
    ] {
        assert_eq!(listen.to_string(), text);
    }
}
