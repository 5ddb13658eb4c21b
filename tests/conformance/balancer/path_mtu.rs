//! Path MTU discovery through the balancer, and the MSS that spares it.

use nat::{Config, DropReason, Verdict};
use tests::bed::{Bed, Seen, config};

/// The usual services, with a leg of 1,400 bytes toward backends.
fn narrow() -> Config {
    let mut config = config();
    config.legs[1].mtu = 1_400;
    config
}

struct Ends {
    client: &'static str,
    vip: &'static str,
    snat: &'static str,
    backend: &'static str,
    routers: [&'static str; 2],
}

const FAMILIES: [Ends; 2] = [
    Ends {
        client: "10.1.0.5",
        vip: "10.99.0.1",
        snat: "10.99.0.250",
        backend: "10.2.0.11",
        routers: ["10.1.0.1", "10.2.0.1"],
    },
    Ends {
        client: "[fd01::5]",
        vip: "[fd99::1]",
        snat: "[fd99::250]",
        backend: "[fd02::11]",
        routers: ["fd01::1", "fd02::1"],
    },
];

/// Full NAT, then DNAT, by the port of the service.
const PORTS: [u16; 2] = [80, 81];

fn bare(address: &str) -> &str {
    address.trim_matches(['[', ']'])
}

#[track_caller]
fn assert_error(seen: &Seen, leg: u16, start: &str) {
    assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, leg), "{}", seen.line);
    assert!(seen.line.starts_with(start), "{}\nis not\n{start}", seen.line);
}

/// A bed with twenty connections to this service, and how the client's port of each is mapped.
fn connections(ends: &Ends, service: u16) -> (Bed, Vec<(u16, u16, String)>) {
    let Ends { client, vip, .. } = ends;
    let mut bed = Bed::new(config());
    for port in 4_000..4_020 {
        bed.send(0, &format!("tcp {client}:{port} > {vip}:{service} S"));
    }
    let flows = bed.engine.flows().iter();
    let mapped = flows.map(|(_, f)| (f.client.port, f.snat.port, f.backend.address.to_string()));
    let mapped = mapped.collect();
    (bed, mapped)
}

tests::conforms! {
    /// A packet-too-big error from behind the backends' leg reaches the one client whose packet it quotes, with its MTU as it was.
    L1 Always "RFC 1191, RFC 7690, RFC 8201"
    fn too_big_from_the_backends_side_reaches_the_flows_client() {
        for ends @ Ends { client, vip, snat, routers, .. } in &FAMILIES {
            for service in PORTS {
                let (mut bed, mapped) = connections(ends, service);
                for (port, snat_port, backend) in mapped {
                    let backend = if backend.contains(':') { format!("[{backend}]") } else { backend };
                    let from = if service == 80 { snat } else { client };
                    for mtu in [0, 552, 1_280, 1_399, 65_535] {
                        let about = format!("tcp {from}:{snat_port} > {backend}:8080 . seq=8 len=1400");
                        let seen = bed.send(
                            1,
                            &format!("icmp {} > {} too-big mtu={mtu} about=({about})", routers[1], bare(from)),
                        );
                        let start = format!(
                            "icmp {} > {} too-big mtu={mtu} about=(tcp {client}:{port} > {vip}:{service} . seq=8",
                            bare(vip),
                            bare(client)
                        );
                        assert_error(&seen, 0, &start);
                    }
                }
            }
        }
    }

    /// A packet-too-big error sent to a VIP reaches the one backend whose packet it quotes, with its MTU as it was.
    L1 Always "RFC 1191, RFC 7690, RFC 8201"
    fn too_big_to_a_vip_reaches_the_flows_backend() {
        for ends @ Ends { client, vip, snat, routers, .. } in &FAMILIES {
            for service in PORTS {
                let (mut bed, mapped) = connections(ends, service);
                for (port, snat_port, owner) in mapped {
                    let backend = if owner.contains(':') { format!("[{owner}]") } else { owner.clone() };
                    let (to, from) = if service == 80 { (*snat, *snat) } else { (*client, routers[0]) };
                    for mtu in [0, 552, 1_280, 1_399, 65_535] {
                        let about = format!("tcp {vip}:{service} > {client}:{port} . seq=8 len=1400");
                        let seen = bed.send(
                            0,
                            &format!("icmp {} > {} too-big mtu={mtu} about=({about})", routers[0], bare(vip)),
                        );
                        let start = format!(
                            "icmp {} > {owner} too-big mtu={mtu} about=(tcp {backend}:8080 > {to}:{snat_port} . seq=8",
                            bare(from)
                        );
                        assert_error(&seen, 1, &start);
                    }
                }
            }
        }
    }

    /// The MSS in a SYN and in its answer is lowered to what the narrower of the flow's two legs carries, never raised, and not added where it is absent, which means 536 or 1,220 bytes.
    L9 Always "RFC 6691, RFC 879"
    fn the_mss_of_both_syns_is_that_of_the_narrower_leg() {
        for (Ends { client, vip, snat, backend, .. }, mss) in FAMILIES.iter().zip([1_360, 1_340]) {
            let mut bed = Bed::new(narrow());
            for (said, then) in [
                ("mss=9000".to_owned(), format!(" mss={mss} ")),
                (format!("mss={}", mss + 1), format!(" mss={mss} ")),
                (format!("mss={mss}"), format!(" mss={mss} ")),
                ("mss=500".to_owned(), " mss=500 ".to_owned()),
                ("ws=7".to_owned(), " ws=7 ".to_owned()),
            ] {
                let seen = bed.send(0, &format!("tcp {client}:4000 > {vip}:80 S {said} sackok"));
                assert!(seen.line.contains(&then), "{said}: {}", seen.line);
                assert_eq!(seen.line.contains("mss="), said.contains("mss="), "{}", seen.line);
                let port = bed.flow().snat.port;
                let answer = format!("tcp {backend}:8080 > {snat}:{port} S. ack=1 {said} sackok");
                let seen = bed.send(1, &answer);
                assert!(seen.line.contains(&then), "{said}: {}", seen.line);
                assert_eq!(seen.line.contains("mss="), said.contains("mss="), "{}", seen.line);
            }
        }
    }

    /// A datagram that forbids fragments, as those that probe a path do, is never fragmented: it arrives whole, or an error says how long it may be, or it is lost.
    L14 Always "RFC 8899 section 3"
    fn a_probe_arrives_whole_or_not_at_all() {
        for (Ends { client, vip, .. }, header) in FAMILIES.iter().zip([20, 40]) {
            let df = if header == 20 { " df" } else { "" };
            let mut bed = Bed::new(narrow());
            for len in 1_300..1_500 {
                let probe = format!("udp {client}:5000 > {vip}:53 len={len}{df}");
                let seen = bed.send(0, &probe);
                match seen.verdict {
                    Verdict::Forward => assert!(header + 8 + len <= 1_400),
                    Verdict::Reject(DropReason::PacketTooBig) => {
                        assert!(header + 8 + len > 1_400);
                        assert!(seen.line.contains(" too-big mtu=1400 "), "{}", seen.line);
                    }
                    verdict => assert_eq!(verdict, Verdict::Drop(DropReason::RateLimited)),
                }
                assert!(!seen.line.contains("frag="), "{}", seen.line);
                assert_eq!(bed.transmit(), None);
            }
        }
    }
}
