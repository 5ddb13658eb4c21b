//! TCP session tracking.

use nat::flow::tcp::{ROWS, TcpState};
use tests::conversation::Conversation;

/// A script that leads from nothing to each state; the client is at 101 then, the backend at 501.
fn to(state: TcpState) -> &'static str {
    match state {
        TcpState::SynSent => "> S seq=100",
        TcpState::SynReceived => "> S seq=100\n< S. seq=500 ack=101",
        TcpState::Established => "> S seq=100\n< S. seq=500 ack=101\n> . seq=101 ack=501",
        TcpState::ClientFin => "> S seq=100\n< S. seq=500 ack=101\n> F. seq=101 ack=501",
        TcpState::BackendFin => {
            "> S seq=100\n< S. seq=500 ack=101\n> . seq=101 ack=501\n< F. seq=501 ack=101"
        }
        TcpState::Closing => {
            "> S seq=100\n< S. seq=500 ack=101\n> F. seq=101 ack=501\n< F. seq=501 ack=102"
        }
        TcpState::Reset => "> S seq=100\n< S. seq=500 ack=101\n> R seq=101",
        TcpState::PickedUp => "> . seq=101 ack=501",
    }
}

tests::conforms! {
    /// Connections are followed from closed over opening, established, closed by one side and by both,
    /// or reset, as RFC 6146 has it.
    V1 Always "RFC 7857 section 2"
    fn every_state_is_reached_and_left_as_the_table_says() {
        let reached = |state| {
            let mut conversation = match state {
                TcpState::PickedUp => Conversation::picked_up(),
                _ => Conversation::dnat(),
            };
            conversation.run(to(state));
            assert_eq!(conversation.state(), state);
            conversation
        };
        for state in TcpState::ALL {
            for line in [
                "> S. seq=101 ack=501", "> . seq=101 ack=501", "> F. seq=101 ack=501", "> R seq=101",
                "< S seq=500", "< S. seq=500 ack=101", "< . seq=501 ack=101", "< F. seq=501 ack=101",
                "< R. seq=501 ack=101",
            ] {
                let mut conversation = reached(state);
                conversation.run(line);
                let after = conversation.state();
                let known = ROWS.iter().any(|row| (row.from, row.to) == (state, after));
                assert!(after == state || known, "{line}: from {state:?} to {after:?}");
            }
        }
    }

    /// Closing takes a FIN of both sides: one leaves the connection open.
    V1 Always "RFC 7857 section 2"
    fn one_fin_closes_one_side() {
        for (first, state, second) in [
            ("> F. seq=101 ack=501", "client-fin", "< F. seq=501 ack=102"),
            ("< F. seq=501 ack=101", "backend-fin", "> F. seq=101 ack=502"),
        ] {
            let mut conversation = Conversation::established();
            conversation.run(&format!("{first} => {state}\nwait 1h\n{second} => closing\nwait 5m"));
            assert!(!conversation.lives());
        }
    }
}
