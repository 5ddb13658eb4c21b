//! Mapping refresh.

use std::time::Duration;

use nat::Verdict;
use tests::bed::{Bed, config};

const QUERY: &str = "udp 10.1.0.5:5000 > 10.99.0.1:53 len=4";

/// Sends the backend's answer to the bed's only flow.
fn answer(bed: &mut Bed) -> Verdict {
    let port = bed.flow().snat.port;
    bed.send(1, &format!("udp 10.2.0.11:8080 > 10.99.0.250:{port} len=4")).verdict
}

/// A flow that was used in both directions, `idle` ago.
fn used_both_ways(idle: Duration) -> Bed {
    let mut bed = Bed::new(config());
    bed.send(0, QUERY);
    assert_eq!(answer(&mut bed), Verdict::Forward);
    bed.wait(idle);
    bed
}

tests::conforms! {
    /// An idle UDP mapping must not expire in less than two minutes.
    U6 Always "RFC 4787 REQ-5"
    fn an_idle_flow_still_translates_at_119_seconds() {
        let mut bed = Bed::new(config());
        bed.send(0, QUERY);
        bed.wait(Duration::from_secs(119));
        assert_eq!(answer(&mut bed), Verdict::Forward);
    }

    /// A shorter timer for some well-known ports is allowed; there is none: one timer serves all.
    U7 Optional "RFC 4787 REQ-5a"
    fn dns_has_no_shorter_timer() {
        let mut bed = used_both_ways(Duration::from_secs(299));
        assert_eq!(answer(&mut bed), Verdict::Forward);
    }

    /// The timer may be configured.
    U8 Always "RFC 4787 REQ-5b"
    fn the_timer_is_configurable() {
        let mut config = config();
        config.timeouts.udp = Duration::from_secs(200);
        let mut bed = Bed::new(config);
        bed.send(0, QUERY);
        bed.wait(Duration::from_secs(199));
        assert_eq!(bed.engine.flows().len(), 1);
        bed.wait(Duration::from_secs(2));
        assert_eq!(bed.engine.flows().len(), 0);
    }

    /// Five minutes or more are recommended as the default.
    U9 Always "RFC 4787 REQ-5c"
    fn the_default_is_five_minutes() {
        let mut bed = used_both_ways(Duration::from_secs(299));
        assert_eq!(answer(&mut bed), Verdict::Forward);
        assert_eq!(used_both_ways(Duration::from_secs(301)).engine.flows().len(), 0);
    }

    /// A packet from the inside refreshes the mapping.
    U10 Always "RFC 4787 REQ-6"
    fn the_backends_packets_refresh() {
        let mut bed = used_both_ways(Duration::from_mins(4));
        for _ in 0..3 {
            assert_eq!(answer(&mut bed), Verdict::Forward);
            bed.wait(Duration::from_mins(4));
        }
        assert_eq!(bed.engine.flows().len(), 1);
    }

    /// Whether a packet from the outside refreshes is open; it does: a service's clients are who keep
    /// its flows alive.
    U11 Optional "RFC 4787 REQ-6a"
    fn the_clients_packets_refresh() {
        let mut bed = used_both_ways(Duration::from_mins(4));
        for _ in 0..3 {
            assert_eq!(bed.send(0, QUERY).verdict, Verdict::Forward);
            bed.wait(Duration::from_mins(4));
        }
        assert_eq!(bed.engine.flows().len(), 1);
    }
}
