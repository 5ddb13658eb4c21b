//! Internally initiated connections: every sequence of segments that TCP allows.

use tests::conversation::Conversation;

/// Plays a script through DNAT and through full NAT.
fn both(script: &str) {
    Conversation::dnat().run(script);
    Conversation::full_nat().run(script);
}

tests::conforms! {
    /// Every sequence of segments that TCP allows must pass: a handshake, data, and a close by either side.
    T2 Always "RFC 5382 REQ-2"
    fn a_connection_from_syn_to_close() {
        both(
            "> S seq=100 mss=1460 ws=7          => syn-sent
             < S. seq=500 ack=101 mss=1460 ws=7 => syn-received
             > . seq=101 ack=501                => established
             > P. seq=101 ack=501 len=1000
             < . seq=501 ack=1101
             < P. seq=501 ack=1101 len=1448
             > F. seq=1101 ack=1949             => client-fin
             < F. seq=1949 ack=1102             => closing
             > . seq=1102 ack=1950              => closing",
        );
        both(
            "> S seq=100
             < S. seq=500 ack=101
             > P. seq=101 ack=501 len=10        => established
             < F. seq=501 ack=111 len=90        => backend-fin
             > F. seq=111 ack=592               => closing
             < . seq=592 ack=112                => closing",
        );
    }

    /// After one side's FIN the other may go on sending for hours.
    T2 Always "RFC 5382 REQ-2"
    fn half_closed_either_way_with_hours_of_data() {
        for (opener, closer) in [(">", "<"), ("<", ">")] {
            let mut conversation = Conversation::established();
            let (mine, theirs) = if opener == ">" { (101, 501) } else { (501, 101) };
            conversation.run(&format!("{opener} F. seq={mine} ack={theirs}"));
            let half_closed = conversation.state();
            for n in 0..100 {
                let seq = theirs + 1000 * n;
                conversation.run(&format!(
                    "wait 1h
                     {closer} P. seq={seq} ack={} len=1000
                     {opener} . seq={} ack={}",
                    mine + 1, mine + 1, seq + 1000
                ));
                assert_eq!(conversation.state(), half_closed);
            }
            conversation.run(&format!("{closer} F. seq={} ack={} => closing", theirs + 100_000, mine + 1));
        }
    }

    /// A SYN may carry data (TCP Fast Open), acknowledged or not.
    T2 Always "RFC 5382 REQ-2"
    fn data_in_the_syn() {
        both(
            "> S seq=100 len=500                => syn-sent
             < S. seq=500 ack=601               => syn-received
             < P. seq=501 ack=601 len=1000      => syn-received
             > . seq=601 ack=1501               => established",
        );
        both(
            "> S seq=100 len=500
             < S. seq=500 ack=101               => syn-received
             > P. seq=101 ack=501 len=500       => established",
        );
    }

    /// SYN and SYN+ACK may be sent again, and again late.
    T2 Always "RFC 5382 REQ-2"
    fn handshakes_with_repetitions() {
        both(
            "> S seq=100
             wait 1s
             > S seq=100                        => syn-sent
             < S. seq=500 ack=101               => syn-received
             wait 1s
             < S. seq=500 ack=101               => syn-received
             > S seq=100                        => syn-received
             > . seq=101 ack=501                => established
             < S. seq=500 ack=101               => established
             > . seq=101 ack=501
             > P. seq=101 ack=501 len=1000
             > S seq=100                        => established
             < S. seq=500 ack=101               => established
             < . seq=501 ack=1101
             > F. seq=1101 ack=501              => client-fin
             < F. seq=501 ack=1102              => closing",
        );
    }

    /// Keepalives, closed windows and their probes pass, and the connection lives on.
    T2 Always "RFC 5382 REQ-2"
    fn keepalives_and_closed_windows() {
        let mut conversation = Conversation::established();
        for _ in 0..10 {
            conversation.run(
                "wait 2h
                 > . seq=100 ack=501            => established
                 < . seq=501 ack=101",
            );
        }
        conversation.run(
            "< . seq=501 ack=101 win=0
             > . seq=100 ack=501 len=1
             < . seq=501 ack=101 win=0
             > P. seq=101 ack=501 len=1
             < . seq=501 ack=101 win=0
             < . seq=501 ack=101 win=64000
             > F. seq=101 ack=501 len=1         => client-fin",
        );
    }

    /// FINs may be sent again, cross, and come late, and a RST may follow them.
    T2 Always "RFC 5382 REQ-2"
    fn late_fins_and_a_reset_behind_them() {
        let mut conversation = Conversation::established();
        conversation.run(
            "> F. seq=101 ack=501               => client-fin
             > F. seq=101 ack=501               => client-fin
             < F. seq=501 ack=101               => closing
             wait 3m
             > F. seq=101 ack=501               => closing
             wait 3m
             < . seq=502 ack=102                => closing
             > R seq=102                        => closing",
        );
        let mut conversation = Conversation::established();
        conversation.run(
            "> F. seq=101 ack=501               => client-fin
             < P. seq=501 ack=102 len=100       => client-fin
             > R seq=102                        => reset",
        );
    }

    /// A RST passes in whatever state the connection is.
    T2 Always "RFC 5382 REQ-2"
    fn resets_in_every_state() {
        let open = "> S seq=100
                    < S. seq=500 ack=101";
        let established = "> . seq=101 ack=501";
        for (before, reset, after) in [
            ("> S seq=100", "> R seq=101", "reset"),
            (open, "> R seq=101", "reset"),
            (open, "< R. seq=501 ack=101", "reset"),
            (&format!("{open}\n{established}"), "> R. seq=101 ack=501", "reset"),
            (&format!("{open}\n{established}"), "< R. seq=501 ack=101", "reset"),
            (&format!("{open}\n{established}\n> F. seq=101 ack=501"), "< R seq=501", "reset"),
            (&format!("{open}\n{established}\n< F. seq=501 ack=101"), "> R seq=101", "reset"),
            (&format!("{open}\n{established}\n< F. seq=501 ack=101"), "< R seq=502", "reset"),
        ] {
            both(&format!("{before}\n{reset} => {after}"));
        }
    }

    /// Both ends may open at once: their SYNs cross, and each acknowledges the other's.
    T3 FullNat "RFC 5382 REQ-2a"
    fn simultaneous_open() {
        both(
            "> S seq=100 ws=7                   => syn-sent
             < S seq=500 ws=7                   => syn-received
             > S. seq=100 ack=501               => established
             < S. seq=500 ack=101               => established
             > P. seq=101 ack=501 len=1000
             < . seq=501 ack=1101
             < F. seq=501 ack=1101              => backend-fin
             > F. seq=1101 ack=502              => closing",
        );
        both(
            "> S seq=100
             < S seq=500                        => syn-received
             < S. seq=500 ack=101               => syn-received
             > . seq=101 ack=501                => established",
        );
    }
}
