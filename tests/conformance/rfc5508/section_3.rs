//! Queries.

use std::time::Duration;

use nat::{Mapping, Mode, Nat, Verdict};
use netstack::wire::Family;
use tests::bed::{Bed, canonical, config, pool, service};
use tests::talk::{Kind, Talk};

tests::conforms! {
    /// An echo request passes, and its reply returns.
    I1 Always "RFC 5508 REQ-1"
    fn an_echo_to_a_service_passes_and_its_reply_returns() {
        for mut talk in Talk::all_of(Kind::Echo) {
            let (there, back) = (talk.request_at_backend(), talk.answer_at_client());
            talk.passes(0, &talk.request(), 1, &format!("{there} ttl=63"));
            talk.passes(1, &talk.answer(), 0, &format!("{back} ttl=63"));
        }
    }

    /// A query identifier is mapped to the same one toward every remote host, if mapping is to be
    /// independent of endpoints.
    I2 FullNat "RFC 5508 REQ-1a"
    fn one_identifier_serves_all_hosts() {
        let mut config = config();
        config.snat.mapping = Mapping::EndpointIndependent;
        config.pools.push(pool("other", &["10.2.0.21:1"]));
        config.services.push(service("icmp 10.99.0.5", Mode::Nat(Nat::Full), 2));
        let mut bed = Bed::new(config);
        let first = bed.send(0, "icmp 10.1.0.5 > 10.99.0.4 echo id=7").line;
        let second = bed.send(0, "icmp 10.1.0.5 > 10.99.0.5 echo id=7").line;
        let id = bed.engine.flows().iter().map(|(_, flow)| flow.snat.port).next().unwrap_or(0);
        assert!(first.starts_with(&format!("icmp 10.99.0.250 > 10.2.0.11 echo id={id} ")), "{first}");
        assert!(second.starts_with(&format!("icmp 10.99.0.250 > 10.2.0.21 echo id={id} ")), "{second}");
        let other = bed.send(0, "icmp 10.1.0.6 > 10.99.0.4 echo id=7").line;
        assert!(!other.contains(&format!(" echo id={id} ")), "another client has another: {other}");
    }

    /// So does one that a backend sends, and one past the services.
    I1 Always "RFC 5508 REQ-1"
    fn an_echo_from_either_side_passes_and_its_reply_returns() {
        for (leg, src, dst) in [
            (0, "10.1.0.5", "10.2.0.11"),
            (1, "10.2.0.11", "10.1.0.5"),
            (0, "fd01::5", "fd02::11"),
            (1, "fd02::11", "fd01::5"),
        ] {
            let mut bed = Bed::new(config());
            let there = format!("icmp {src} > {dst} echo id=9 seq=1 len=8");
            let seen = bed.send(leg, &there);
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 1 - leg));
            assert_eq!(seen.line, canonical(&format!("{there} ttl=63")));
            let back = format!("icmp {dst} > {src} reply id=9 seq=1 len=8");
            let seen = bed.send(1 - leg, &back);
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, leg));
            assert_eq!(seen.line, canonical(&format!("{back} ttl=63")));
        }
    }

    /// A query session lives for a minute at least.
    I3 Always "RFC 5508 REQ-2"
    fn a_query_session_lives_for_a_minute() {
        for mut talk in Talk::all_of(Kind::Echo) {
            talk.bed.wait(Duration::from_secs(59));
            let back = talk.answer_at_client();
            talk.passes(1, &talk.answer(), 0, &format!("{back} ttl=63"));
        }
    }

    /// Its timer is configurable.
    I4 Always "RFC 5508 REQ-2a"
    fn the_timer_of_query_sessions_is_configurable() {
        let mut config = config();
        config.timeouts.icmp = Duration::from_secs(90);
        let mut talk = Talk::new(config, Kind::Echo, Family::V4, Nat::Full, false);
        talk.bed.wait(Duration::from_secs(89));
        assert_eq!(talk.bed.engine.flows().len(), 1);
        talk.bed.wait(Duration::from_secs(2));
        assert_eq!(talk.bed.engine.flows().len(), 0);
    }
}
