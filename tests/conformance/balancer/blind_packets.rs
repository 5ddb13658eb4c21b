//! Packets of those who know a connection's addresses and not its numbers (RFC 5961).

use nat::flow::tcp::TcpState;
use tests::conversation::Conversation;

tests::conforms! {
    /// Challenge ACKs pass both ways, and the connection goes on as if nothing had been.
    L5 Always "RFC 5961 sections 3 and 4"
    fn challenge_acks_pass_both_ways() {
        let mut conversation = Conversation::established();
        conversation.run(
            "> R seq=9000                       => reset
             < . seq=501 ack=101                => established
             > S seq=7777                       => established
             < . seq=501 ack=101                => established
             < S seq=8888                       => established
             > . seq=101 ack=501                => established
             > P. seq=101 ack=501 len=100       => established
             < F. seq=501 ack=201               => backend-fin
             > F. seq=201 ack=502               => closing",
        );
    }

    /// A RST, SYN or FIN that its receiver cannot expect is passed on and changes nothing.
    L5 Always "RFC 5961 sections 3 and 4"
    fn what_is_out_of_the_window_changes_nothing() {
        for start in ["", "> F. seq=101 ack=501 win=64000", "< F. seq=501 ack=101 win=64000"]
        {
            let mut conversation = Conversation::established();
            conversation.run(start);
            let state = conversation.state();
            for blind in [
                "> R seq=0", "> R seq=100", "> R seq=64102", "> R seq=2147483749",
                "> R. seq=64102 ack=501", "< R seq=0", "< R seq=500", "< R seq=64502",
                "< R. seq=4000000000 ack=101", "> F. seq=64200 ack=501", "> F. seq=50 ack=501",
                "< F. seq=64600 ack=101", "> F. seq=101 ack=70000", "< F. seq=501 ack=3000000000",
                "> S seq=101", "> S seq=3000000000", "< S seq=501", "< S. seq=501 ack=101",
                "< S. seq=9 ack=102", "> SF seq=101", "> . seq=3000000000 ack=501 len=1000",
                "> P. seq=101 ack=502 len=1000", "< . seq=501 ack=90000",
            ] {
                conversation.run(blind);
                assert_eq!(conversation.state(), state, "{blind}");
            }
            conversation.run("> R seq=101 => reset");
        }
    }

    /// A handshake takes an acknowledgment of the true number: a RST or SYN+ACK of anything else is
    /// passed on and changes nothing.
    L5 Always "RFC 5961 section 4, RFC 9293 section 3.10.7.3"
    fn a_handshake_is_not_cut_short() {
        let mut conversation = Conversation::dnat();
        conversation.run(
            "> S seq=100                        => syn-sent
             < R seq=0                          => syn-sent
             < R. seq=0 ack=100                 => syn-sent
             < S. seq=9 ack=102                 => syn-sent
             < F. seq=9 ack=101                 => syn-sent
             < . seq=9 ack=101                  => syn-sent
             > R seq=100                        => syn-sent
             > . seq=101 ack=501                => syn-sent
             < S. seq=500 ack=101               => syn-received
             > . seq=101 ack=502                => syn-received
             > . seq=101 ack=500                => syn-received
             > F. seq=101 ack=502               => syn-received
             > R seq=90000                      => syn-received
             < R seq=90000                      => syn-received
             > . seq=101 ack=501                => established",
        );
    }

    /// A client that was restarted gets through on its old port: its SYN is challenged, its RST counts,
    /// and its next SYN makes a new flow.
    L5 Always "RFC 5961 section 4"
    fn a_restarted_client_gets_through() {
        let mut conversation = Conversation::established();
        conversation.run(
            "> P. seq=101 ack=501 len=100
             < . seq=501 ack=201
             > S seq=777000                     => established
             < . seq=501 ack=201                => established
             > R seq=201                        => reset
             > S seq=777000                     => syn-sent",
        );
        assert_eq!(conversation.bed.engine.stats().flows_opened, 2);
    }

    /// A SYN of a client that has not heard its last answer, on a half-open connection that its
    /// backend has kept, is challenged and then accepted, all in one flow.
    L5 Always "RFC 9293 section 3.5.1"
    fn a_half_open_connection_is_discovered() {
        let mut conversation = Conversation::dnat();
        conversation.run(
            "> S seq=100                        => syn-sent
             < . seq=300 ack=70000              => syn-sent
             > R seq=70000                      => syn-sent
             > S seq=100                        => syn-sent
             < S. seq=500 ack=101               => syn-received
             > . seq=101 ack=501                => established",
        );
        assert_eq!(conversation.state(), TcpState::Established);
    }

    /// A SYN on the tuple of a closed connection makes a new flow once both ends have heard each other
    /// out; a forged or a late one before that does not cut the rest off.
    L5 Always "RFC 9293 section 3.6.1, RFC 6191"
    fn a_tuple_is_reused_when_its_connection_is_over() {
        let close = "> F. seq=101 ack=501 len=1000
                     < F. seq=501 ack=101             => closing
                     > S seq=777000                   => closing
                     < . seq=502 ack=101              => closing
                     > F. seq=101 ack=502 len=1000    => closing";
        let mut conversation = Conversation::established();
        conversation.run(close);
        conversation.run("< . seq=502 ack=1102\n> S seq=777000 => syn-sent");
        assert_eq!(conversation.bed.engine.stats().flows_opened, 2);
        // The client was restarted, and its RST closed the backend's side.
        let mut conversation = Conversation::established();
        conversation.run(close);
        conversation.run(
            "> R seq=101                         => closing
             > S seq=888000                      => closing
             < S. seq=999000 ack=888001          => syn-received
             > . seq=888001 ack=999001           => established",
        );
        assert_eq!(conversation.bed.engine.stats().flows_opened, 1);
    }
}
