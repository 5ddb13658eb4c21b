//! Every drop reason is reached, and by what its name says.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use nat::fragment::lifetime;
use nat::{Config, DropReason, HealthConfig, Probe, Rate, Verdict};
use netstack::Packet;
use netstack::packet::{Checksum, Gso, GsoKind, Offload, VnetError};
use netstack::wire::{Family, text};
use tests::bed::{Bed, config, prefix};

const SYN: &str = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S";
const SYN_V6: &str = "tcp [fd01::5]:40000 > [fd99::1]:80 S";

fn packet(line: &str) -> Packet {
    text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
}

/// `line`'s packet with one byte changed.
fn with(line: &str, at: usize, value: u8) -> Packet {
    let mut packet = packet(line);
    packet.data_mut()[at] = value;
    packet
}

/// `line`'s packet cut short.
fn cut(line: &str, len: usize) -> Packet {
    let mut packet = packet(line);
    packet.set_len(len);
    packet
}

/// A packet for each reason that one packet alone can reach.
fn alone(reason: DropReason) -> Option<Packet> {
    let offloaded = |line, checksum, gso| {
        let mut packet = packet(line);
        packet.offload = Offload { checksum, gso };
        packet
    };
    Some(match reason {
        DropReason::IpVersion => with(SYN, 0, 0x55),
        DropReason::Truncated => cut(SYN, 19),
        DropReason::IpHeaderLength => with(SYN, 0, 0x44),
        DropReason::IpTotalLength => with(SYN, 3, 41),
        DropReason::IpChecksum => with(SYN, 8, 1),
        // Hop-by-hop options of 2,048 bytes in a packet of 60.
        DropReason::ExtensionHeader => {
            let mut packet = with(SYN_V6, 6, 0);
            packet.data_mut()[41] = 255;
            packet
        }
        DropReason::MappedAddress => {
            let mut packet = packet(SYN_V6);
            packet.data_mut()[8..20].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]);
            packet
        }
        DropReason::TcpHeader => with(SYN, 32, 0x40),
        DropReason::UdpLength => packet("udp 10.1.0.5:1 > 10.99.0.1:53 len=4 udplen=11"),
        DropReason::IcmpLength => packet("ip 10.1.0.5 > 10.99.0.1 proto=1 len=7"),
        DropReason::ChecksumOffload => {
            offloaded(SYN, Checksum::Partial { start: 20, offset: 6 }, None)
        }
        DropReason::GsoKind => {
            let gso = Gso { kind: GsoKind::TcpV6, size: 1400, header_len: 60, ecn: false };
            offloaded(SYN, Checksum::Partial { start: 20, offset: 16 }, Some(gso))
        }
        DropReason::Martian => packet("udp 127.0.0.1:1 > 10.99.0.1:53"),
        DropReason::Multicast => packet("udp 10.1.0.5:1 > 224.0.0.1:53"),
        DropReason::FragmentBounds => packet("udp 10.1.0.5 > 10.99.0.1 frag=1480+ ipid=7 len=20"),
        DropReason::FragmentTiny => packet("ip 10.1.0.5 > 10.99.0.1 proto=6 frag=0+ ipid=7 len=16"),
        DropReason::TtlExceeded => packet("udp 10.1.0.5:1 > 10.99.0.1:53 ttl=1"),
        DropReason::PacketTooBig => packet("udp 10.1.0.5:1 > 10.99.0.1:53 len=1473 df"),
        DropReason::NoService => packet("tcp 10.1.0.5:1 > 10.99.0.1:99 S"),
        DropReason::NoFlow => packet("tcp 10.1.0.5:1 > 10.99.0.1:80 . ack=1"),
        DropReason::NoRoute => packet("udp 10.1.0.5:1 > 192.0.2.1:53"),
        DropReason::ProtocolUnsupported => packet("ip 10.1.0.5 > 10.99.0.1 proto=47 len=8"),
        DropReason::IcmpChecksum => packet(
            "icmp 10.2.0.1 > 10.99.0.250 unreachable code=port \
             about=(udp 10.99.0.250:1 > 10.2.0.11:53) csum=bad",
        ),
        DropReason::IcmpNoFlow => packet(
            "icmp 10.2.0.1 > 10.99.0.250 unreachable code=port \
             about=(udp 10.99.0.250:1 > 10.2.0.11:53)",
        ),
        DropReason::NoBackend
        | DropReason::BackendsFull
        | DropReason::NoPort
        | DropReason::ClientLimit
        | DropReason::UnsolicitedSyn
        | DropReason::FlowTableFull
        | DropReason::IcmpMismatch
        | DropReason::IcmpKind
        | DropReason::IcmpUnused
        | DropReason::Denied
        | DropReason::ClientRate
        | DropReason::ClientFlows
        | DropReason::ServiceRate
        | DropReason::ServiceFlows
        | DropReason::FragmentOverlap
        | DropReason::FragmentDuplicate
        | DropReason::FragmentLimit
        | DropReason::FragmentTimeout
        | DropReason::ProbeMismatch
        | DropReason::RateLimited => return None,
    })
}

/// What reaches a reason that needs more than one packet.
fn together(reason: DropReason) -> Verdict {
    let mut config = config();
    let udp = |n: u16| format!("udp 10.1.0.5:{n} > 10.99.0.1:53");
    match reason {
        DropReason::NoBackend => {
            config.pools[0].backends.clear();
            Bed::new(config).send(0, &udp(1)).verdict
        }
        DropReason::BackendsFull => {
            config.pools[0].backends.iter_mut().for_each(|b| b.max_connections = Some(1));
            let mut bed = Bed::new(config);
            (1..=3).map(|n| bed.send(0, &udp(n)).verdict).last().expect("three packets")
        }
        DropReason::NoPort => {
            config.snat.ports = (5_000, 5_000);
            let mut bed = Bed::new(config);
            (1..=3).map(|n| bed.send(0, &udp(n)).verdict).last().expect("three packets")
        }
        DropReason::ClientLimit => {
            config.limits.flows_per_client = 1;
            let mut bed = Bed::new(config);
            (1..=2).map(|n| bed.send(0, &udp(n)).verdict).last().expect("two packets")
        }
        // Again while the first one is held.
        DropReason::UnsolicitedSyn => {
            let mut bed = Bed::new(config);
            let syn = "tcp 10.2.0.11:1 > 10.99.0.250:5000 S";
            (0..2).map(|_| bed.send(1, syn).verdict).last().expect("two packets")
        }
        DropReason::FlowTableFull => {
            config.limits.flows = 0;
            Bed::new(config).send(0, &udp(1)).verdict
        }
        DropReason::IcmpMismatch | DropReason::IcmpKind | DropReason::IcmpUnused => {
            stray_error(reason)
        }
        DropReason::ProbeMismatch => forged_answer(config),
        DropReason::RateLimited => {
            let mut bed = Bed::new(config);
            let refused = "udp 10.1.0.5:1 > 10.99.0.1:99";
            (0..=nat::limits::ERRORS_BURST)
                .map(|_| bed.send(0, refused).verdict)
                .last()
                .expect("more than none")
        }
        DropReason::Denied
        | DropReason::ClientRate
        | DropReason::ClientFlows
        | DropReason::ServiceRate
        | DropReason::ServiceFlows => against_policy(reason),
        DropReason::FragmentOverlap
        | DropReason::FragmentDuplicate
        | DropReason::FragmentLimit
        | DropReason::FragmentTimeout => fragment(reason),
        other => panic!("{other}: one packet is enough"),
    }
}

/// ICMP errors about flows that are not to be believed, or of no use.
fn stray_error(reason: DropReason) -> Verdict {
    let config = config();
    let udp = |n: u16| format!("udp 10.1.0.5:{n} > 10.99.0.1:53");
    match reason {
        DropReason::IcmpMismatch | DropReason::IcmpKind => {
            let mut bed = Bed::new(config);
            let _ = bed.send(0, &udp(1));
            let about =
                format!("about=(udp 10.99.0.250:{} > 10.2.0.11:8080)", bed.flow().snat.port);
            let (to, what) = match reason {
                DropReason::IcmpKind => ("10.99.0.250", "source-quench"),
                _ => ("10.99.0.1", "unreachable"),
            };
            bed.send(1, &format!("icmp 10.2.0.1 > {to} {what} {about}")).verdict
        }
        DropReason::IcmpUnused => {
            let mut bed = Bed::new(config);
            let _ = bed.send(0, "tcp 10.1.0.5:1 > 10.99.0.2:80 S");
            let about = "about=(tcp 10.99.0.2:80 > 10.1.0.5:1 S.)";
            bed.send(0, &format!("icmp 10.1.0.1 > 10.99.0.2 unreachable code=host {about}")).verdict
        }
        other => panic!("{other}: elsewhere"),
    }
}

/// Packets that the policy of their service forbids.
fn against_policy(reason: DropReason) -> Verdict {
    let mut config = config();
    let udp = |n: u16| format!("udp 10.1.0.5:{n} > 10.99.0.1:53");
    match reason {
        DropReason::Denied => {
            config.services[4].allow = vec![prefix("10.1.0.6/32")];
            Bed::new(config).send(0, &udp(1)).verdict
        }
        DropReason::ClientRate
        | DropReason::ClientFlows
        | DropReason::ServiceRate
        | DropReason::ServiceFlows => {
            let one = Rate { count: 1, per: Duration::from_secs(1), burst: 1 };
            let service = &mut config.services[4];
            match reason {
                DropReason::ClientRate => service.client_limits.rate = Some(one),
                DropReason::ClientFlows => service.client_limits.flows = Some(1),
                DropReason::ServiceRate => service.rate = Some(one),
                _ => service.max_flows = Some(1),
            }
            let mut bed = Bed::new(config);
            let _ = bed.send(0, &udp(1));
            bed.send(0, &udp(2)).verdict
        }
        other => panic!("{other}: elsewhere"),
    }
}

/// Fragments that do not belong together, or come to nothing.
fn fragment(reason: DropReason) -> Verdict {
    let mut config = config();
    match reason {
        DropReason::FragmentOverlap | DropReason::FragmentDuplicate => {
            let mut bed = Bed::new(config);
            let len = if reason == DropReason::FragmentOverlap { 24 } else { 16 };
            let _ = bed.send(0, "udp 10.1.0.5 > 10.99.0.1 frag=1480+ ipid=7 len=16");
            let again = format!("udp 10.1.0.5 > 10.99.0.1 frag=1480+ ipid=7 len={len}");
            bed.send(0, &again).verdict
        }
        DropReason::FragmentLimit => {
            config.limits.fragments = 0;
            Bed::new(config).send(0, "udp 10.1.0.5 > 10.99.0.1 frag=1480 ipid=7 len=20").verdict
        }
        DropReason::FragmentTimeout => {
            let mut bed = Bed::new(config);
            let held = bed.send(0, "udp 10.1.0.5 > 10.99.0.1 frag=1480 ipid=7 len=20").verdict;
            assert_eq!(held, Verdict::Hold);
            bed.wait(lifetime(Family::V4));
            // No packet has this verdict: it is what becomes of one that was kept.
            assert_eq!(bed.engine.stats().dropped(reason), 1);
            Verdict::Drop(reason)
        }
        other => panic!("{other}: elsewhere"),
    }
}

/// A SYN, ACK to a health probe from who has not seen its SYN.
fn forged_answer(mut config: Config) -> Verdict {
    config.pools[0].health = Some(HealthConfig::new(Probe::Tcp));
    let mut bed = Bed::new(config);
    bed.wait(Duration::ZERO);
    bed.wait(Duration::from_secs(1));
    let (_, syn) = bed.transmit().expect("a probe");
    let mut words = syn.split(' ').skip(1);
    let (us, backend) = (words.next().expect("source"), words.nth(1).expect("backend"));
    bed.send(1, &format!("tcp {backend} > {us} S. seq=9 ack=9")).verdict
}

#[test]
fn every_reason_is_reached() {
    for &reason in DropReason::ALL {
        let verdict = match alone(reason) {
            Some(packet) => Bed::new(config()).send_packet(0, packet).verdict,
            None => together(reason),
        };
        let reached = [Verdict::Drop(reason), Verdict::Reject(reason)].contains(&verdict);
        assert!(reached, "{reason}: {verdict:?}");
    }
}

#[test]
fn what_a_device_cannot_hand_over_whole_has_a_reason_too() {
    for (error, reason) in [
        (VnetError::Truncated, DropReason::Truncated),
        (VnetError::ChecksumBeyondEnd, DropReason::ChecksumOffload),
        (VnetError::UnknownGso, DropReason::GsoKind),
        (VnetError::ZeroGsoSize, DropReason::GsoKind),
    ] {
        let mut bed = Bed::new(config());
        bed.engine.count_drop(error.into());
        assert_eq!(bed.engine.stats().dropped(reason), 1);
    }
}
