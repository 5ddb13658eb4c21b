//! Errors and answers that balun makes.

use nat::{DropReason, Verdict};
use tests::bed::{Bed, Seen, canonical, config};

/// What is answered with each kind of error.
const REFUSED: [&str; 4] = [
    "udp 10.1.0.5:1 > 10.99.0.1:99",
    "udp 10.1.0.5:1 > 10.99.0.1:53 ttl=1",
    "udp [fd01::5]:1 > [fd99::1]:99",
    "udp [fd01::5]:1 > [fd99::1]:53 ttl=1",
];

fn send(line: &str) -> Seen {
    Bed::new(config()).send(0, line)
}

tests::conforms! {
    /// Whether errors are made can be set for each leg; what others made is translated all the same.
    I20 Optional "RFC 5508 REQ-9"
    fn a_leg_can_be_spared_our_errors() {
        let mut config = config();
        config.legs[0].icmp_errors = false;
        for line in REFUSED {
            let verdict = Bed::new(config.clone()).send(0, line).verdict;
            assert!(matches!(verdict, Verdict::Drop(_)), "{line}: {verdict:?}");
            // The other leg has its own way.
            let there = line.replace("10.1.0.5", "10.2.0.5").replace("fd01", "fd02");
            let verdict = Bed::new(config.clone()).send(1, &there).verdict;
            assert!(matches!(verdict, Verdict::Reject(_)), "{there}: {verdict:?}");
        }
        let mut bed = Bed::new(config);
        assert_eq!(bed.send(0, "icmp 10.1.0.5 > 10.99.0.1 echo").verdict, Verdict::Reply);
        bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53");
        let about = format!("udp 10.99.0.250:{} > 10.2.0.11:8080", bed.flow().snat.port);
        let error = format!("icmp 10.2.0.11 > 10.99.0.250 unreachable about=({about})");
        assert_eq!(bed.send(1, &error).verdict, Verdict::Forward);
    }

    /// Destination unreachable, time exceeded, echo and echo reply are supported.
    I21 Always "RFC 5508 REQ-10a"
    fn unreachable_time_exceeded_and_echo_are_made() {
        for (line, says) in REFUSED.iter().zip(["unreachable", "ttl-exceeded"].iter().cycle()) {
            let seen = send(line);
            assert!(matches!(seen.verdict, Verdict::Reject(_)), "{line}");
            let code = if *says == "unreachable" { " code=port" } else { "" };
            assert!(seen.line.contains(&format!(" {says}{code} about=(")), "{}", seen.line);
        }
        for (client, vip) in [("10.1.0.5", "10.99.0.1"), ("fd01::5", "fd99::1")] {
            let seen = send(&format!("icmp {client} > {vip} echo id=3 seq=4 len=56"));
            assert_eq!(seen.verdict, Verdict::Reply);
            let reply = format!("icmp {vip} > {client} reply id=3 seq=4 len=56");
            assert_eq!(seen.line, canonical(&reply));
        }
    }

    /// Of what else may be supported, parameter problems are translated; redirects and source quenches
    /// (RFC 6633) are not passed on.
    I22 Optional "RFC 5508 REQ-10b"
    fn redirects_and_source_quenches_go_no_further() {
        let mut bed = Bed::new(config());
        bed.send(0, "udp 10.1.0.5:5000 > 10.99.0.1:53");
        let about = format!("about=(udp 10.99.0.250:{} > 10.2.0.11:8080)", bed.flow().snat.port);
        for (what, verdict) in [
            ("parameter-problem pointer=9", Verdict::Forward),
            ("redirect gateway=10.2.0.2", Verdict::Drop(DropReason::IcmpKind)),
            ("source-quench", Verdict::Drop(DropReason::IcmpKind)),
        ] {
            let seen = bed.send(1, &format!("icmp 10.2.0.1 > 10.99.0.250 {what} {about}"));
            assert_eq!(seen.verdict, verdict, "{what}");
        }
    }

    /// Timestamps, address masks and router solicitations are not answered.
    I22 Optional "RFC 5508 REQ-10b"
    fn other_queries_are_not_answered() {
        for line in [
            "icmp 10.1.0.5 > 10.99.0.1 type=13 code=0 rest=0x10001 data=000000000000000000000000",
            "icmp 10.1.0.5 > 10.99.0.1 type=15 code=0 rest=0x10001 data=00000000",
            "icmp 10.1.0.5 > 10.99.0.1 type=17 code=0 rest=0x10001 data=00000000",
            "icmp 10.1.0.5 > 10.99.0.1 type=10 code=0 rest=0",
            "icmp fd01::5 > fd99::1 router-solicitation",
            "icmp fd01::5 > fd99::1 neighbor-solicitation data=fd990000000000000000000000000001",
        ] {
            let verdict = send(line).verdict;
            assert_eq!(verdict, Verdict::Drop(DropReason::ProtocolUnsupported), "{line}");
        }
    }
}
