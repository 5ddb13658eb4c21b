//! The SNAT pool: limits, quarantine, exhaustion, and what each client may have.

use std::collections::VecDeque;
use std::time::Duration;

use nat::limits::{EXPIRE_BATCH, UNSOLICITED_SYNS};
use nat::rng::Rng;
use nat::{DropReason, Mapping, Mode, Nat, Refusal, Verdict};
use netstack::LegId;
use netstack::wire::{Headers, Protocol, text};
use tests::bed::{Bed, addr, config, leg, pool, service};

/// One backend, and so many ports toward it.
fn small(ports: u16) -> nat::Config {
    let mut config = config();
    config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
    config.snat.ports = (5_000, 4_999 + ports);
    config
}

/// Opens and closes a connection of `10.1.0.5:port`, and returns its pool port.
fn connect(bed: &mut Bed, port: u16) -> u16 {
    let mapped = open(bed, port);
    close(bed, port, mapped);
    mapped
}

fn open(bed: &mut Bed, port: u16) -> u16 {
    let seen = bed.send(0, &format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 S"));
    let mapped = seen.source_port();
    bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{mapped} S. ack=1"));
    bed.send(0, &format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 . seq=1 ack=1"));
    mapped
}

fn close(bed: &mut Bed, port: u16, mapped: u16) {
    bed.send(0, &format!("tcp 10.1.0.5:{port} > 10.99.0.1:80 F. seq=1 ack=1"));
    bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{mapped} F. seq=1 ack=2"));
}

#[test]
fn closed_connections_lend_their_ports_to_new_ones_oldest_first() {
    let mut bed = Bed::new(small(100));
    let mut rest = VecDeque::new();
    for n in 0..1_000 {
        // 20,000 connections a second.
        bed.now += Duration::from_micros(50);
        let port = connect(&mut bed, 10_000 + n);
        if rest.len() == 100 {
            assert_eq!(rest.pop_front(), Some(port), "the one that ended first");
        }
        assert!(!rest.contains(&port));
        rest.push_back(port);
    }
    assert_eq!(bed.engine.stats().snat_reused_early, 900);
    assert_eq!(bed.engine.flows().len(), 100);
}

#[test]
fn connections_come_faster_than_ports_can_rest() {
    // 40,000 connections at 25,000 a second, without the bed's checks of all state at each packet.
    let mut bed = Bed::new(small(30_000));
    let engine = &mut bed.engine;
    let mut send = |now, leg, line: &str| {
        let mut packet = text::packet(line).unwrap();
        packet.leg = LegId(leg);
        assert_eq!(engine.handle_packet(now, &mut packet), Verdict::Forward, "{line}");
        Headers::parse(&packet).unwrap().tuple().unwrap().src_port
    };
    let mut now = bed.now;
    for n in 0..40_000_u32 {
        now += Duration::from_micros(40);
        let client = format!("10.1.0.{}:{}", 1 + n / 20_000, 10_000 + n % 20_000);
        let port = send(now, 0, &format!("tcp {client} > 10.99.0.1:80 S"));
        send(now, 1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} S. ack=1"));
        send(now, 0, &format!("tcp {client} > 10.99.0.1:80 F. seq=1 ack=1"));
        send(now, 1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} F. seq=1 ack=2"));
    }
    bed.engine.assert_consistent();
    assert_eq!(bed.engine.stats().snat_reused_early, 10_000);
}

#[test]
fn a_connection_that_is_not_closed_keeps_its_port() {
    let mut bed = Bed::new(small(2));
    let kept = open(&mut bed, 1);
    // One side has closed, one is only being opened, one was reset and revived: none gives way.
    bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:80 F. seq=1 ack=1");
    let revived = open(&mut bed, 2);
    bed.send(0, "tcp 10.1.0.5:2 > 10.99.0.1:80 R seq=1");
    bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{revived} . seq=1 ack=1"));
    let seen = bed.send(0, "tcp 10.1.0.5:3 > 10.99.0.1:80 S");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
    assert_ne!(kept, revived);
    // Reset again, it does.
    bed.send(0, "tcp 10.1.0.5:2 > 10.99.0.1:80 R seq=1");
    assert_eq!(open(&mut bed, 3), revived);
}

#[test]
fn the_oldest_in_quarantine_serves_rather_than_none() {
    let mut bed = Bed::new(small(3));
    let query =
        |bed: &mut Bed, n: u16| bed.send(0, &format!("udp 10.1.0.{n}:7 > 10.99.0.1:53 len=4"));
    let ports: Vec<_> = (1..=3)
        .map(|n| {
            bed.wait(Duration::from_secs(1));
            query(&mut bed, n).source_port()
        })
        .collect();
    bed.wait(Duration::from_mins(5) + Duration::from_secs(1));
    assert_eq!(bed.engine.flows().len(), 0);
    assert_eq!(bed.engine.snat().held(), 3);
    assert_eq!(query(&mut bed, 4).source_port(), ports[0]);
    assert_eq!(query(&mut bed, 5).source_port(), ports[1]);
    assert_eq!(bed.engine.stats().snat_reused_early, 2);
    bed.wait(Duration::from_mins(2));
    assert_eq!(query(&mut bed, 6).source_port(), ports[2]);
    assert_eq!(bed.engine.stats().snat_reused_early, 2, "its time is over");
}

#[test]
fn quarantine_can_be_off_and_is_bounded() {
    for (quarantine, most, held) in [(0, 1_000, 0), (120, 2, 2)] {
        let mut config = small(10);
        config.snat.quarantine = Duration::from_secs(quarantine);
        config.snat.quarantine_ports = most;
        let mut bed = Bed::new(config);
        for n in 1..=5 {
            bed.send(0, &format!("udp 10.1.0.{n}:7 > 10.99.0.1:53 len=4"));
        }
        bed.wait(Duration::from_secs(301));
        assert_eq!(bed.engine.snat().held(), held);
    }
}

#[test]
fn a_queue_without_traffic_empties_all_the_same() {
    let mut bed = Bed::new(small(10));
    for n in 1..=8 {
        bed.send(0, &format!("udp 10.1.0.{n}:7 > 10.99.0.1:53 len=4"));
    }
    bed.wait(Duration::from_secs(301));
    assert_eq!(bed.engine.snat().held(), 8);
    bed.wait(Duration::from_mins(2));
    // Only another scope sees traffic: pings.
    for n in 1..=4 {
        bed.send(0, &format!("icmp 10.1.0.{n} > 10.99.0.4 echo id=7"));
    }
    bed.wait(Duration::from_secs(61));
    assert_eq!(bed.engine.snat().held(), 4, "the pings' own");
}

/// The times of quarantine and of closing are both waited out, but not one after the other.
#[test]
fn a_port_comes_back_when_its_flow_has_waited_its_closing_time_out() {
    let mut config = small(10);
    config.timeouts.tcp_closing = Duration::from_secs(150);
    let mut bed = Bed::new(config);
    connect(&mut bed, 1);
    bed.wait(Duration::from_secs(130));
    // The queue is looked through: the quarantine is over, the flow still there.
    connect(&mut bed, 2);
    assert_eq!(bed.engine.snat().held(), 2);
    bed.wait(Duration::from_secs(21));
    assert_eq!(bed.engine.flows().len(), 1);
    assert_eq!(bed.engine.snat().held(), 1, "that of the second");
}

#[test]
fn a_client_has_so_many_flows() {
    let mut config = config();
    config.limits.flows_per_client = 2;
    config.services.push(service("tcp 10.99.0.2:81", Mode::Divert, 0));
    let mut bed = Bed::new(config);
    let syn = |bed: &mut Bed, from: &str, to: &str| bed.send(0, &format!("tcp {from} > {to} S"));
    assert_eq!(syn(&mut bed, "10.1.0.5:1", "10.99.0.1:80").verdict, Verdict::Forward);
    let diverted = syn(&mut bed, "10.1.0.5:2", "10.99.0.2:80").verdict;
    assert!(matches!(diverted, Verdict::Divert(_)), "those that end here count too");
    for to in ["10.99.0.1:80", "10.99.0.1:81", "10.99.0.2:80"] {
        let seen = syn(&mut bed, "10.1.0.5:3", to);
        assert_eq!(seen.verdict, Verdict::Reject(DropReason::ClientLimit));
        assert!(seen.line.contains("unreachable code=prohibited"), "{}", seen.line);
    }
    let seen = bed.send(0, "udp 10.1.0.5:3 > 10.99.0.1:53 len=4");
    assert!(seen.line.contains("unreachable code=prohibited"), "{}", seen.line);
    assert_eq!(syn(&mut bed, "10.1.0.6:3", "10.99.0.1:80").verdict, Verdict::Forward);
    assert_eq!(bed.engine.flows().len(), 3, "the client's others stay");

    // An IPv6 client is a /64.
    for (from, verdict) in [
        ("[fd01::1]:1", Verdict::Forward),
        ("[fd01::2]:1", Verdict::Forward),
        ("[fd01::3]:1", Verdict::Reject(DropReason::ClientLimit)),
        ("[fd01:0:0:1::3]:1", Verdict::Forward),
    ] {
        assert_eq!(syn(&mut bed, from, "[fd99::1]:80").verdict, verdict, "{from}");
    }
}

#[test]
fn what_a_client_has_closed_does_not_count() {
    let mut config = small(100);
    config.limits.flows_per_client = 2;
    config.snat.ports_per_client = 2;
    let mut bed = Bed::new(config);
    for n in 1..=10 {
        connect(&mut bed, n);
    }
    assert!(bed.engine.clients().is_empty());
    open(&mut bed, 11);
    let account = bed.engine.clients().account(addr("10.1.0.5"));
    assert_eq!((account.flows, account.ports), (1, 1));
    assert_eq!(account.source, Some(addr("10.99.0.250")));
}

#[test]
fn a_failed_over_syn_needs_no_second_port() {
    let mut config = config();
    config.snat.ports_per_client = 1;
    let mut bed = Bed::new(config);
    let seen = bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:80 S seq=7");
    let port = seen.source_port();
    let seen = bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} R. ack=8"));
    assert!(seen.line.contains("> 10.2.0.12:8080 S"), "{}", seen.line);
}

#[test]
fn shortage_is_silent_if_so_configured() {
    let mut config = small(1);
    config.snat.exhausted = Refusal::Drop;
    config.limits.flows_per_client = 2;
    let mut bed = Bed::new(config);
    open(&mut bed, 1);
    let seen = bed.send(0, "tcp 10.1.0.6:2 > 10.99.0.1:80 S");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::NoPort));
    bed.send(0, "udp 10.1.0.5:1 > 10.99.0.1:53");
    let seen = bed.send(0, "udp 10.1.0.5:2 > 10.99.0.1:53");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::ClientLimit));
}

#[test]
fn two_flows_that_could_not_be_told_apart_get_different_backends() {
    for mapping in [Mapping::EndpointIndependent, Mapping::EndpointDependent] {
        let mut config = config();
        config.snat.mapping = mapping;
        let nat = if mapping == Mapping::EndpointDependent { Nat::Dnat } else { Nat::Full };
        config.pools[0].scheduler = nat::Scheduler::SourceHash;
        for port in 1..=3 {
            config.services.push(service(&format!("udp 10.99.0.9:{port}"), Mode::Nat(nat), 0));
        }
        let mut bed = Bed::new(config);
        let mut backends: Vec<_> = (1..=2)
            .map(|port| bed.send(0, &format!("udp 10.1.0.5:7 > 10.99.0.9:{port}")))
            .map(|seen| seen.ends().1.to_owned())
            .collect();
        backends.sort();
        assert_eq!(backends, ["10.2.0.11:8080", "10.2.0.12:8080"]);
        let seen = bed.send(0, "udp 10.1.0.5:7 > 10.99.0.9:3");
        assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
        assert!(seen.line.starts_with("icmp 10.99.0.9 > 10.1.0.5"), "{}", seen.line);
    }
}

/// One mapping for all that a client's port sends, one pool port, and two services at two backends.
fn independent() -> nat::Config {
    let mut config = config();
    config.snat.mapping = Mapping::EndpointIndependent;
    config.snat.ports = (5_000, 5_000);
    config.services.push(service("tcp 10.99.0.9:80", Mode::Nat(Nat::Full), 0));
    config
}

/// Opens a connection to `vip` from a client's port, closes it from both sides, and returns its backend.
fn open_and_close(bed: &mut Bed, client: &str, vip: &str) -> String {
    let seen = bed.send(0, &format!("tcp {client} > {vip} S"));
    assert_eq!(seen.verdict, Verdict::Forward, "{}", seen.line);
    let (source, backend) = seen.ends();
    bed.send(1, &format!("tcp {backend} > {source} S. ack=1"));
    bed.send(0, &format!("tcp {client} > {vip} . seq=1 ack=1"));
    bed.send(0, &format!("tcp {client} > {vip} F. seq=1 ack=1"));
    bed.send(1, &format!("tcp {backend} > {source} F. seq=1 ack=2"));
    backend.to_owned()
}

#[test]
fn a_mapping_whose_flows_are_all_closing_is_given_up_as_a_whole() {
    let mut bed = Bed::new(independent());
    let first = open_and_close(&mut bed, "10.1.0.5:7", "10.99.0.1:80");
    let second = open_and_close(&mut bed, "10.1.0.5:7", "10.99.0.9:80");
    assert_ne!(first, second, "two flows of one mapping");
    assert_eq!(bed.engine.flows().len(), 2);
    // The only port is theirs, and both are done with it.
    let seen = bed.send(0, "tcp 10.1.0.6:8 > 10.99.0.1:80 S");
    assert_eq!(seen.verdict, Verdict::Forward, "{}", seen.line);
    assert_eq!(bed.flow().client.address, addr("10.1.0.6"));
    assert_eq!(bed.engine.stats().flows_evicted, 2);
    assert_eq!(bed.engine.stats().snat_reused_early, 1, "ports are counted, not flows");
}

#[test]
fn a_mapping_of_which_one_flow_lives_is_not_given_up() {
    let mut bed = Bed::new(independent());
    open_and_close(&mut bed, "10.1.0.5:7", "10.99.0.1:80");
    bed.send(0, "tcp 10.1.0.5:7 > 10.99.0.9:80 S");
    let seen = bed.send(0, "tcp 10.1.0.6:8 > 10.99.0.1:80 S");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
    assert_eq!(bed.engine.flows().len(), 2, "nor is a flow of it");
}

#[test]
fn a_mapping_gives_up_so_many_flows_for_one_packet() {
    let mut config = config();
    config.snat.mapping = Mapping::EndpointIndependent;
    config.snat.ports = (5_000, 5_000);
    config.services = vec![service("tcp 10.99.0.1:*", Mode::Nat(Nat::Full), 0)];
    // A flow each at a backend each, as many as one call forgets and some more.
    let most = EXPIRE_BATCH as u16;
    let backend = |n: u16| format!("10.2.{}.{}:0", n / 200, 1 + n % 200);
    let backends: Vec<_> = (0..most + 10).map(backend).collect();
    config.pools[0] = pool("many", &backends.iter().map(String::as_str).collect::<Vec<_>>());
    config.legs[1] = leg(&["10.2.0.0/16"]);
    let mut bed = Bed::new(config);
    for port in 1..=most + 10 {
        open_and_close(&mut bed, "10.1.0.5:7", &format!("10.99.0.1:{port}"));
    }
    let seen = bed.send(0, "tcp 10.1.0.6:8 > 10.99.0.1:80 S");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
    assert_eq!(bed.engine.flows().len(), 10);
    let seen = bed.send(0, "tcp 10.1.0.6:8 > 10.99.0.1:80 S");
    assert_eq!(seen.verdict, Verdict::Forward, "the client's next try finds it done");
}

#[test]
fn a_closing_mapping_is_no_way_around_a_clients_share_of_ports() {
    let mut config = independent();
    config.snat.ports = (5_000, 5_100);
    config.snat.ports_per_client = 1;
    let mut bed = Bed::new(config);
    open_and_close(&mut bed, "10.1.0.5:7", "10.99.0.1:80");
    bed.send(0, "tcp 10.1.0.5:8 > 10.99.0.1:80 S");
    // Port 7 would count again.
    let seen = bed.send(0, "tcp 10.1.0.5:7 > 10.99.0.9:80 S");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::ClientLimit), "{}", seen.line);
    // What port 8 has is counted already.
    let seen = bed.send(0, "tcp 10.1.0.5:8 > 10.99.0.9:80 S");
    assert_eq!(seen.verdict, Verdict::Forward, "{}", seen.line);
}

#[test]
fn unsolicited_syns_are_kept_up_to_a_limit() {
    let mut bed = Bed::new(config());
    let syn =
        |bed: &mut Bed, n: usize| bed.send(1, &format!("tcp 10.2.0.11:{n} > 10.99.0.250:5000 S"));
    for n in 1..=UNSOLICITED_SYNS {
        assert_eq!(syn(&mut bed, n).verdict, Verdict::Hold);
    }
    let beyond = syn(&mut bed, UNSOLICITED_SYNS + 1).verdict;
    assert_eq!(beyond, Verdict::Drop(DropReason::UnsolicitedSyn));
    bed.wait(Duration::from_secs(6));
    assert_eq!(syn(&mut bed, 1).verdict, Verdict::Hold, "there is room again");
    let refused = std::iter::from_fn(|| bed.transmit()).count();
    let ration = nat::limits::ERRORS_PER_PEER_BURST as usize;
    assert_eq!(refused, ration, "rationed as every error");
}

#[test]
fn a_vip_in_the_pool_is_a_service_first() {
    let mut config = config();
    config.snat.addresses.clear();
    let mut bed = Bed::new(config);
    bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.1:80 S");
    let port = bed.flow().snat;
    assert_eq!(port.address, addr("10.99.0.1"), "the VIP stands in");
    let seen = bed.send(1, "tcp 10.2.0.11:1 > 10.99.0.1:5000 S");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoService));
}

/// A late packet for a mapping that is gone must not become a flow of a service around the pool.
#[test]
fn an_address_that_joins_the_pool_is_closed_to_services_around_it() {
    let mut config = config();
    config.services.push(service("udp 10.98.0.0/24:*", Mode::Nat(Nat::Full), 0));
    let mut bed = Bed::new(config);
    let asked = |bed: &mut Bed| bed.send(0, "udp 10.1.0.5:7 > 10.98.0.7:5000 len=4").verdict;
    let now_pool = |bed: &mut Bed, address| {
        bed.engine.set_snat_addresses(&[addr(address)]).unwrap();
    };
    now_pool(&mut bed, "10.98.0.7");
    assert_eq!(asked(&mut bed), Verdict::Reject(DropReason::NoService));
    assert!(bed.engine.flows().is_empty());
    // The service has it back when it leaves.
    now_pool(&mut bed, "10.98.0.8");
    assert_eq!(asked(&mut bed), Verdict::Forward);
    assert_eq!(bed.flow().snat.address, addr("10.98.0.8"));
}

/// Whatever happens, pool, accounts and flows agree: the bed checks at each packet.
#[test]
fn a_thousand_random_steps_keep_the_books_straight() {
    for seed in 0..6 {
        let mut config = small(40);
        config.snat.addresses = vec![addr("10.99.0.250"), addr("10.99.0.251")];
        config.snat.parity = seed % 3 == 0;
        if seed % 2 == 1 {
            config.snat.mapping = Mapping::EndpointIndependent;
        }
        config.snat.ports_per_client = 20;
        config.limits.flows_per_client = 25;
        config.limits.flows = 60;
        let udp_too = service("udp 10.99.0.1:54", Mode::Nat(Nat::Full), 0);
        config.services.push(udp_too);
        let mut bed = Bed::new(config);
        let mut rng = Rng::new(seed);
        for _ in 0..1_500 {
            let flows: Vec<_> = bed.engine.flows().iter().map(|(_, f)| f.clone()).collect();
            let client = format!("10.1.0.{}:{}", 1 + rng.below(4), 1 + rng.below(40));
            let seen = match rng.below(8) {
                0..=2 => bed.send(0, &format!("tcp {client} > 10.99.0.1:80 S")),
                3 => bed.send(0, &format!("udp {client} > 10.99.0.1:{} len=4", 53 + rng.below(2))),
                4 if rng.below(4) == 0 => {
                    bed.wait(Duration::from_secs(rng.below(200)));
                    continue;
                }
                n if flows.is_empty() || n == 4 => continue,
                _ => {
                    let flow = &flows[rng.below(flows.len() as u64) as usize];
                    let what = ["S. ack=1", "F. seq=1 ack=1", "R seq=1", ". seq=1 ack=1"]
                        [rng.below(4) as usize];
                    let forward = rng.below(2) == 0;
                    let key = if forward { flow.forward_key() } else { flow.reverse_key() };
                    if flow.protocol != Protocol::Tcp {
                        continue;
                    }
                    bed.send(
                        u16::from(!forward),
                        &format!("tcp {} > {} {what}", key.source(), key.destination()),
                    )
                }
            };
            assert!(!matches!(seen.verdict, Verdict::Drop(DropReason::NoPort)), "never silence");
        }
        bed.wait(Duration::from_hours(3));
        assert!(bed.engine.flows().is_empty() && bed.engine.clients().is_empty());
        assert!(bed.engine.snat().is_empty());
    }
}
