//! TCP windows, which are followed and never enforced.

use nat::{BackendConfig, DropReason, Verdict};
use tests::bed::config;
use tests::conversation::{CLIENT, Conversation};

tests::conforms! {
    /// If acknowledgments are lost behind us, the sender repeats old data far below what was
    /// acknowledged; it passes, and the connection goes on.
    L6 Always "RFC 9293 section 3.4"
    fn a_stall_for_lost_acknowledgments_stays_alive() {
        let mut conversation = Conversation::established();
        for n in 0..40 {
            conversation.run(&format!("> . seq={} ack=501 len=1600", 101 + 1600 * n));
        }
        // All of it is acknowledged; the client hears none of that.
        conversation.run("< . seq=501 ack=64101 win=64000");
        for _ in 0..8 {
            conversation.run(
                "wait 1m
                 > . seq=101 ack=501 len=1600   => established
                 < . seq=501 ack=64101 win=64000",
            );
        }
        conversation.run(
            "> . seq=64101 ack=501 len=1600
             < P. seq=501 ack=65701 len=10
             > F. seq=65701 ack=511             => client-fin
             < F. seq=511 ack=65702             => closing",
        );
    }

    /// If both ends have forgotten a connection, a SYN+ACK to the client's new SYN begins it anew.
    L6 Always "RFC 9293 section 3.5"
    fn a_reused_tuple_is_followed_anew_after_the_backends_syn() {
        for before in ["", "> F. seq=101 ack=501", "< F. seq=501 ack=101"] {
            let mut conversation = Conversation::established();
            conversation.run(before);
            conversation.run(
                "wait 1h
                 > S seq=3000000000 ws=7
                 < S. seq=2000000000 ack=3000000001 ws=9 => syn-received
                 > . seq=3000000001 ack=2000000001       => established
                 > P. seq=3000000001 ack=2000000001 len=9
                 < R seq=501                             => established
                 > F. seq=101 ack=501                    => established
                 > F. seq=3000000010 ack=2000000001      => client-fin
                 < F. seq=2000000001 ack=3000000011      => closing",
            );
            assert_eq!(conversation.bed.engine.stats().flows_opened, 1);
        }
        let mut conversation = Conversation::established();
        conversation.run(
            "> S seq=3000000000                 => established
             < R. seq=0 ack=3000000001          => reset",
        );
    }

    /// Windows are scaled if both SYNs say so, and only then.
    L6 Always "RFC 7323 section 2.3"
    fn windows_are_scaled_if_both_sides_say_so() {
        for (client, backend, edge) in [
            ("", "", 1_000_u32),
            ("", "ws=7", 1_000),
            ("ws=7", "", 1_000),
            ("ws=7", "ws=7", 128_000),
            ("ws=0", "ws=2", 4_000),
            ("ws=15", "ws=20", 16_384_000),
        ] {
            let mut conversation = Conversation::dnat();
            conversation.run(&format!(
                "> S seq=100 {client}
                 < S. seq=500 ack=101 win=1000 {backend}
                 > . seq=101 ack=501
                 < . seq=501 ack=101 win=1000
                 > R seq={}                     => established
                 > R seq={}                     => reset",
                101 + edge + 1, 101 + edge
            ));
        }
    }

    /// Sequence numbers wrap around.
    L6 Always "RFC 9293 section 3.4"
    fn numbers_wrap_around() {
        let mut conversation = Conversation::dnat();
        conversation.run(
            "> S seq=4294967290
             < S. seq=4294967295 ack=4294967291
             > . seq=4294967291 ack=0           => established
             > . seq=4294967291 ack=0 len=1000
             < . seq=0 ack=995 len=1000
             > R seq=4294967295                 => established
             > F. seq=995 ack=1000              => client-fin
             < F. seq=1000 ack=996              => closing",
        );
    }

    /// A connection that is older than its flow has an unknown scale; the largest is assumed.
    L6 Always "RFC 7323 section 2.3"
    fn a_connection_met_in_the_middle_is_followed_with_any_scale() {
        let mut conversation = Conversation::picked_up();
        conversation.run(
            "> P. seq=1000000 ack=2000000 len=100           => picked-up
             < . seq=2000000 ack=1000100 len=60000 win=501  => established
             > . seq=1000100 ack=9000000 win=501            => established
             > . seq=1000100 ack=2060000 win=501            => established
             < . seq=2500000 ack=1000100 len=60000 win=501  => established
             > R seq=999                                    => established
             < F. seq=2560000 ack=1000100                   => backend-fin
             > F. seq=1000100 ack=2560001                   => closing",
        );
    }

    /// A client's segment of an unknown connection that any backend could have is half-open until the
    /// backend answers; one that nobody knows is reset by the backend.
    L6 Always "our own rule"
    fn a_flow_that_is_picked_up_has_to_be_confirmed() {
        let mut conversation = Conversation::picked_up();
        conversation.run("> . seq=1000 ack=2000 => picked-up\nwait 4m1s");
        assert!(!conversation.lives());
        conversation.run("> . seq=1000 ack=2000 => picked-up\n< R seq=2000 => reset");
    }

    /// With DNAT and a scheduler that goes by the client, connections may outlive the balancer.
    L6 Always "our own rule"
    fn connections_outlive_the_balancer() {
        for n in 1..40 {
            let client = format!("10.1.0.{n}:4000");
            let backend = |line: &str| line.split(" > ").nth(1).map(|s| s[..14].to_owned());
            let mut before = Conversation::picked_up().bed;
            let syn = before.send(0, &format!("tcp {client} > 10.99.0.1:81 S seq=100"));
            let segment = format!("tcp {client} > 10.99.0.1:81 P. seq=101 ack=501 len=10");

            let mut after = Conversation::picked_up().bed;
            let seen = after.send(0, &segment);
            assert_eq!(seen.verdict, Verdict::Forward);
            assert_eq!(backend(&seen.line), backend(&syn.line));

            // The backend speaks first.
            let mut after = Conversation::picked_up().bed;
            let answer = format!("tcp 10.2.0.12:8080 > {client} . seq=501 ack=101 len=1448");
            let seen = after.send(1, &answer);
            assert_eq!((seen.verdict, seen.leg), (Verdict::Forward, 0));
            assert!(seen.line.starts_with(&format!("tcp 10.99.0.1:81 > {client} ")), "{}", seen.line);
            let seen = after.send(0, &segment);
            assert_eq!(backend(&seen.line).as_deref(), Some("10.2.0.12:8080"));
        }
    }

    /// Only segments that show a living connection are picked up, only where that is configured, and
    /// a backend's only if it is known for whom it speaks.
    L6 Always "our own rule"
    fn not_everything_is_picked_up() {
        let refused = Verdict::Reject(DropReason::NoFlow);
        let segment = format!("tcp {CLIENT} > 10.99.0.1:81 . seq=101 ack=501");
        assert_eq!(Conversation::dnat().bed.send(0, &segment).verdict, refused);
        let mut bed = Conversation::picked_up().bed;
        for flags in ["S. seq=1 ack=1", "P seq=1 len=1", "F seq=1"] {
            let line = format!("tcp {CLIENT} > 10.99.0.1:81 {flags}");
            assert_eq!(bed.send(0, &line).verdict, refused, "{flags}");
        }
        let line = format!("tcp {CLIENT} > 10.99.0.1:81 R. seq=1 ack=1");
        assert_eq!(bed.send(0, &line).verdict, Verdict::Drop(DropReason::NoFlow));
        // Someone else's connection is routed as it is.
        let line = format!("tcp 10.2.0.12:22 > {CLIENT} . seq=1 ack=1");
        assert!(bed.send(1, &line).line.starts_with("tcp 10.2.0.12:22 > "));
        assert!(bed.engine.flows().is_empty());

        let mut config = config();
        let at = config.pools[0].backends[0].address;
        config.pools[0].backends.push(BackendConfig::new("twin", at));
        config.services[2].pickup = true;
        let mut bed = Conversation::with(config, "10.99.0.1:81").bed;
        let answer = format!("tcp 10.2.0.11:8080 > {CLIENT} . seq=501 ack=101");
        assert_eq!(bed.send(1, &answer).verdict, Verdict::Drop(DropReason::NoFlow));
    }
}
