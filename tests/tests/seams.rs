//! Where parts of the packet path meet: what one leaves behind for another, and who may speak for whom.

use std::time::Duration;

use nat::limits::FAILURES_TO_EJECT;
use nat::{BackendState, DropReason, HealthConfig, Mapping, Mode, Nat, Prefix, Probe, Verdict};
use netstack::LegId;
use netstack::wire::text;
use tests::bed::{Bed, addr, config, pool, service};
use tests::builder::packet;

/// [`config`] with a DNAT service that picks connections up.
fn picking_up() -> nat::Config {
    let mut config = config();
    config.services[2].pickup = true;
    config
}

#[test]
fn a_syn_whose_hop_ends_here_is_offered_to_nobody() {
    let mut bed = Bed::new(config());
    let syn = "tcp 10.1.0.5:4000 > 10.99.0.1:81 S seq=100";
    let backend = bed.send(0, syn).ends().1.to_owned();
    let expired = bed.send(0, &format!("{syn} ttl=1")).verdict;
    assert_eq!(expired, Verdict::Reject(DropReason::TtlExceeded));
    // The error is longer than the SYN.
    let about = format!("tcp 10.1.0.5:4000 > {backend} S seq=100");
    let line = format!("icmp 10.2.0.1 > 10.1.0.5 unreachable code=host about=({about})");
    let seen = bed.send(1, &line);
    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1));
    assert!(seen.line.contains("> 10.2.0.1") && seen.line.contains("ttl=63"), "{}", seen.line);
    assert_ne!(seen.ends().1, backend);
}

#[test]
fn a_part_of_a_syn_is_offered_to_nobody_though_it_was_refused() {
    let mut config = config();
    config.legs[1].mtu = 68;
    let mut bed = Bed::new(config);
    let backend = bed.send(0, "tcp 10.1.0.5:4000 > 10.99.0.1:81 S seq=100").ends().1.to_owned();
    // Its header is that of the SYN: from port 4000 to 81, number 100, 20 bytes long.
    let header = "0fa00051000000640000000050020000";
    let line = "tcp 10.1.0.5 > 10.99.0.1 frag=0+ ipid=7 df data=";
    let part = format!("{line}{header}{}", "00".repeat(48));
    assert_eq!(bed.send(0, &part).verdict, Verdict::Reject(DropReason::PacketTooBig));
    let seen = bed.send(1, &format!("tcp {backend} > 10.1.0.5:4000 R. ack=101"));
    assert!(!seen.line.contains("frag="), "{}", seen.line);
}

#[test]
fn a_hairpinned_connection_is_not_picked_up_by_halves() {
    let mut bed = Bed::new(picking_up());
    let seen = bed.send(1, "tcp 10.2.0.12:8080 > 10.2.0.11:4000 . seq=1 ack=1");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::NoFlow));
    assert!(bed.engine.flows().is_empty());
}

#[test]
fn a_client_that_speaks_for_a_backend_makes_no_flow() {
    let mut bed = Bed::new(picking_up());
    let seen = bed.send(0, "tcp 10.2.0.11:8080 > 10.1.0.7:4000 . seq=1 ack=1");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::Martian));
    assert!(bed.engine.flows().is_empty());
}

#[test]
fn a_denied_clients_connection_is_not_picked_up_from_the_other_end() {
    let mut config = picking_up();
    config.services[2].deny = vec![Prefix::host(addr("10.1.0.5"))];
    let mut bed = Bed::new(config);
    let seen = bed.send(1, "tcp 10.2.0.11:8080 > 10.1.0.5:4000 . seq=1 ack=1");
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::Denied));
    let seen = bed.send(1, "tcp 10.2.0.11:8080 > 10.1.0.6:4000 . seq=1 ack=1");
    assert_eq!(seen.verdict, Verdict::Forward);
}

#[test]
fn clients_cannot_take_a_backend_out() {
    let mut bed = Bed::new(config());
    for n in 0..2 * FAILURES_TO_EJECT {
        let client = format!("10.1.0.5:{}", 4000 + n);
        let backend = bed.send(0, &format!("tcp {client} > 10.99.0.1:81 S")).ends().1.to_owned();
        // Under DNAT a client knows all that the refusal must say.
        bed.send(0, &format!("tcp {backend} > {client} R. ack=1"));
        let about = format!("about=(tcp {client} > {backend} S)");
        bed.send(0, &format!("icmp 10.1.0.1 > 10.1.0.5 unreachable code=host {about}"));
    }
    assert_eq!(bed.engine.stats().syn_failovers, 0);
    assert!(bed.engine.pools()[0].backends().iter().all(|b| b.refused == 0));
}

#[test]
fn clients_cannot_answer_for_a_backend_that_is_asked() {
    let mut config = config();
    config.pools[0] = pool("v4", &["10.2.0.11:8080"]);
    config.pools[0].initial = BackendState::Down;
    let probe = HealthConfig::new(Probe::Udp(b"well?".to_vec()));
    config.pools[0].health = Some(HealthConfig { rise: 1, ..probe });
    let mut bed = Bed::new(config);
    bed.wait(Duration::ZERO);
    bed.wait(Duration::from_secs(1));
    let (leg, line) = bed.transmit().unwrap();
    assert_eq!(leg, 1);
    let ends: Vec<_> = line.split(' ').collect();
    let (us, backend) = (ends[1], ends[3]);
    let answer = format!("udp {backend} > {us} len=2");
    let unreachable = format!(
        "icmp 10.2.0.1 > 10.99.0.250 unreachable code=port about=(udp {us} > {backend} len=5)"
    );
    for forged in [&answer, &unreachable] {
        let verdict = bed.send(0, forged).verdict;
        assert_eq!(verdict, Verdict::Drop(DropReason::ProbeMismatch), "{forged}");
    }
    assert_eq!(bed.engine.pools()[0].backends()[0].state, BackendState::Down);
    assert_eq!(bed.send(1, &answer).verdict, Verdict::Consumed);
    assert_eq!(bed.engine.pools()[0].backends()[0].state, BackendState::Ready);
}

#[test]
fn a_hairpin_speaks_from_an_address_of_ours_whatever_its_client_asked_for() {
    let mut config = config();
    config.snat.addresses.clear();
    config.services.push(service("tcp 10.98.0.0/16:*", Mode::Nat(Nat::Dnat), 0));
    let mut bed = Bed::new(config.clone());
    let syn = "tcp 10.2.0.77:4000 > 10.98.0.7:70 S";
    let seen = bed.send(1, syn);
    assert!(seen.ends().0.starts_with("10.99.0.1:"), "{}", seen.line);
    // And from none at all if there is none.
    config.services = vec![config.services.pop().unwrap()];
    let mut bed = Bed::new(config);
    assert_eq!(bed.send(1, syn).verdict, Verdict::Drop(DropReason::NoPort));
}

#[test]
fn an_echo_of_a_backend_to_itself_does_not_become_its_own_answer() {
    let mut config = config();
    config.snat.addresses.clear();
    config.snat.ports = (5_000, 5_000);
    config.pools[0] = pool("v4", &["10.2.0.12:8080"]);
    let mut bed = Bed::new(config);
    let seen = bed.send(1, "icmp 10.2.0.12 > 10.99.0.4 echo id=5000 seq=1");
    assert_eq!(seen.verdict, Verdict::Reject(DropReason::NoPort));
    assert!(bed.engine.flows().is_empty());
}

#[test]
fn a_connection_of_this_process_and_a_probe_do_not_share_a_tuple() {
    let mut config = config();
    config.snat.mapping = Mapping::EndpointIndependent;
    config.snat.quarantine = Duration::ZERO;
    config.limits.half_open = 16;
    config.pools[0].backends.truncate(1);
    config.pools[0].health = Some(HealthConfig::new(Probe::Tcp));
    let mut bed = Bed::new(config);
    bed.wait(Duration::ZERO);
    bed.wait(Duration::from_secs(1));
    let (_, probe) = bed.transmit().unwrap();
    // The probe has one of these ports, and so one mapping with the connection from there.
    let mut refused = 0;
    for port in 1..=u16::MAX {
        let mut syn = packet(&format!("tcp 192.0.0.8:{port} > 10.2.0.11:8080 S"));
        let verdict = bed.engine.handle_local(bed.now, &mut syn);
        refused += usize::from(verdict == Verdict::Reject(DropReason::NoPort));
        let line = text::Line::of(&syn).to_string();
        assert_ne!(line.split(' ').nth(1), probe.split(' ').nth(1), "{line}");
    }
    assert_eq!(refused, 1);
}

#[test]
fn what_this_process_sends_comes_from_its_own_address() {
    let mut bed = Bed::new(config());
    let mut syn = packet("tcp 10.99.0.250:4000 > 10.2.0.11:8080 S");
    syn.leg = LegId(0);
    let verdict = bed.engine.handle_local(bed.now, &mut syn);
    assert_eq!(verdict, Verdict::Drop(DropReason::Martian), "{}", text::Line::of(&syn));
    bed.engine.assert_consistent();
}

/// It could end, for whoever waits for the rest of it, a connection that this process had opened.
#[test]
fn a_syn_with_an_impossible_source_makes_no_flow_anew() {
    let mut bed = Bed::new(config());
    let line = "tcp 192.0.0.8:50000 > 10.2.0.11:8080 S seq=5";
    assert_eq!(bed.engine.handle_local(bed.now, &mut packet(line)), Verdict::Forward);
    let port = bed.flow().snat.port;
    bed.send(1, &format!("tcp 10.2.0.11:8080 > 10.99.0.250:{port} R. ack=6"));
    assert!(bed.flow().is_over());
    let seen = bed.send(0, line);
    assert_eq!(seen.verdict, Verdict::Drop(DropReason::Martian));
    assert_eq!(bed.flow().snat.port, port, "it is still there");
}

/// Or three packets of one host would make a flow that no flood can push out.
#[test]
fn a_client_cannot_answer_itself_as_a_backend() {
    for (lines, answer) in [
        (
            [
                "tcp 10.1.0.77:4000 > 10.99.0.1:81 S",
                "tcp 10.1.0.77:4000 > 10.99.0.1:81 . seq=1 ack=1",
            ],
            "tcp 10.2.0.11:8080 > 10.1.0.77:4000 S. ack=1",
        ),
        (
            ["udp 10.1.0.77:4000 > 10.99.0.1:53", "udp 10.1.0.77:4000 > 10.99.0.1:53"],
            "udp 10.2.0.11:8080 > 10.99.0.250:{snat}",
        ),
    ] {
        let mut bed = Bed::new(config());
        let _ = bed.send(0, lines[0]);
        let answer = answer.replace("{snat}", &bed.flow().snat.port.to_string());
        for leg in [0, 1] {
            let _ = bed.send(leg, &answer);
            let _ = bed.send(0, lines[1]);
            assert_eq!(bed.flow().class().is_some(), leg == 0, "{answer} by leg {leg}");
        }
    }
}
