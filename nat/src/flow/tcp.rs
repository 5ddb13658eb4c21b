//! The state of a TCP connection as a middlebox sees it, after RFC 7857 section 2 and RFC 6146
//! section 3.5.2.
//!
//! ```text
//!                 SYN+ACK              ACK                FIN              other FIN
//!  ── SYN ─► SynSent ──► SynReceived ──► Established ──┬─► ClientFin  ──┬─► Closing
//!                                                      └─► BackendFin ──┘
//!  any ── RST ─► Reset ── anything but RST ─► Established
//! ```
//!
//! One FIN leaves the other direction open for as long as it likes, so only the second one shortens
//! the flow's life. A RST may be forged, so traffic after it revives the flow (RFC 7857 section 2.2).

use netstack::wire::TcpFlags;

use super::Direction;

/// What both sides have sent so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpState {
    /// The client's SYN was seen.
    SynSent,
    /// The backend's SYN was seen too.
    SynReceived,
    /// Both SYNs were acknowledged.
    Established,
    /// The client has sent its FIN.
    ClientFin,
    /// The backend has sent its FIN.
    BackendFin,
    /// Both have.
    Closing,
    /// One side has sent a RST.
    Reset,
}

/// What a segment says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SYN, with or without ACK.
    Syn,
    /// FIN, whatever else.
    Fin,
    /// RST, whatever else.
    Rst,
    /// Anything else.
    Segment,
}

impl Event {
    /// What these flags say. RST wins over all, FIN over SYN.
    pub const fn of(flags: TcpFlags) -> Self {
        if flags.contains(TcpFlags::RST) {
            Self::Rst
        } else if flags.contains(TcpFlags::FIN) {
            Self::Fin
        } else if flags.contains(TcpFlags::SYN) {
            Self::Syn
        } else {
            Self::Segment
        }
    }
}

impl TcpState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::ClientFin,
        Self::BackendFin,
        Self::Closing,
        Self::Reset,
    ];

    /// The state after a segment.
    #[must_use]
    #[expect(clippy::match_same_arms, reason = "a table: one row for each line of the diagram")]
    pub const fn next(self, direction: Direction, event: Event) -> Self {
        use Direction::{Forward, Reverse};
        match (self, direction, event) {
            (_, _, Event::Rst) => Self::Reset,

            (Self::SynSent, Reverse, Event::Syn) => Self::SynReceived,
            (Self::SynReceived, Forward, Event::Segment) => Self::Established,
            (Self::SynReceived | Self::Established, Forward, Event::Fin) => Self::ClientFin,
            (Self::SynReceived | Self::Established, Reverse, Event::Fin) => Self::BackendFin,

            (Self::ClientFin, Reverse, Event::Fin) | (Self::BackendFin, Forward, Event::Fin) => {
                Self::Closing
            }

            (Self::Reset, _, Event::Segment | Event::Fin) => Self::Established,
            (state, _, _) => state,
        }
    }

    /// True for states that live for the transitory timeout: half-open and closing.
    pub const fn is_transitory(self) -> bool {
        matches!(self, Self::SynSent | Self::SynReceived | Self::Closing | Self::Reset)
    }

    /// True if a SYN of the client opens a new connection on the same tuple: both sides are done.
    pub const fn is_reusable(self) -> bool {
        matches!(self, Self::Closing | Self::Reset)
    }

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::Established => "established",
            Self::ClientFin => "client-fin",
            Self::BackendFin => "backend-fin",
            Self::Closing => "closing",
            Self::Reset => "reset",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    /// Every transition, so that a change of one shows as a change of one line.
    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for state in TcpState::ALL {
            write!(table, "{:<12}", state.name()).unwrap();
            for direction in [Direction::Forward, Direction::Reverse] {
                for event in [Event::Syn, Event::Segment, Event::Fin, Event::Rst] {
                    write!(table, " {:<12}", state.next(direction, event).name()).unwrap();
                }
            }
            table = table.trim_end().to_owned() + "\n";
        }
        assert_eq!(table, TABLE);
    }

    //           client: SYN  segment      FIN          RST        backend: SYN segment      FIN          RST
    const TABLE: &str = "\
syn-sent     syn-sent     syn-sent     syn-sent     reset        syn-received syn-sent     syn-sent     reset
syn-received syn-received established  client-fin   reset        syn-received syn-received backend-fin  reset
established  established  established  client-fin   reset        established  established  backend-fin  reset
client-fin   client-fin   client-fin   client-fin   reset        client-fin   client-fin   closing      reset
backend-fin  backend-fin  backend-fin  closing      reset        backend-fin  backend-fin  backend-fin  reset
closing      closing      closing      closing      reset        closing      closing      closing      reset
reset        reset        established  established  reset        reset        established  established  reset
";
}
