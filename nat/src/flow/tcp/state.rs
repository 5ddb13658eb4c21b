//! The state machine, after RFC 7857 section 2 and RFC 6146 section 3.5.2.
//!
//! ```text
//!                 backend SYN           client ACK           FIN              other FIN
//!  ── SYN ─► SynSent ──► SynReceived ──► Established ──┬─► ClientFin  ──┬─► Closing
//!                             ▲                        └─► BackendFin ──┘
//!                             └── a new SYN, answered ── any but Reset
//!  any but Closing ── RST ─► Reset ──┬─ segment ─► Established
//!                                    └─ FIN ─► ClientFin, BackendFin
//!  ── segment of an older connection ─► PickedUp ── backend's answer ─► Established
//! ```
//!
//! One FIN leaves the other direction open for as long as it likes, so only the second one shortens
//! the flow's life. A RST may be forged, so traffic after it revives the flow (RFC 7857 section 2.2);
//! after two FINs there is nothing to revive. The RFCs' names: `SynSent` and `SynReceived` are INIT,
//! `Reset` is TRANS.

use std::time::Duration;

use netstack::wire::TcpFlags;

use crate::Timeouts;
use crate::flow::Direction;

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
    /// The client has sent a segment of a connection older than its flow, and the backend has not
    /// answered yet: anybody could have sent it.
    PickedUp,
}

/// What a segment that counts says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// Anything without SYN, FIN and RST.
    Segment,
    /// FIN.
    Fin,
    /// RST, whatever else.
    Rst,
    /// A SYN with ACK that answers a new SYN of the client: both ends have forgotten the connection.
    Restart,
}

/// What a state's idle time is reckoned by. Every packet of the flow, counting or not, winds it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// [`Timeouts::tcp_half_open`].
    HalfOpen,
    /// [`Timeouts::tcp_established`].
    Established,
    /// [`Timeouts::tcp_closing`].
    Closing,
}

/// A line of the table: a flow in `from` that sees `event` from `direction` is in `to` afterwards, and
/// its timer is [that of `to`](TcpState::timer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// State before.
    pub from: TcpState,
    /// Whose segment.
    pub direction: Direction,
    /// What it says.
    pub event: Event,
    /// State after.
    pub to: TcpState,
}

macro_rules! rows {
    ($($from:ident $direction:ident $event:ident => $to:ident)*) => {
        &[$(Row {
            from: TcpState::$from,
            direction: Direction::$direction,
            event: Event::$event,
            to: TcpState::$to,
        },)*]
    };
}

/// The table. What stands in no line changes nothing.
#[rustfmt::skip]
pub const ROWS: &[Row] = rows! {
    SynSent      Reverse  Syn      => SynReceived  // Both opened at once (RFC 9293 section 3.5).
    SynSent      Reverse  SynAck   => SynReceived
    SynSent      Reverse  Restart  => SynReceived
    SynSent      Forward  Rst      => Reset
    SynSent      Reverse  Rst      => Reset

    SynReceived  Forward  Segment  => Established
    SynReceived  Forward  SynAck   => Established  // Its half of a simultaneous open.
    SynReceived  Forward  Fin      => ClientFin
    SynReceived  Reverse  Fin      => BackendFin
    SynReceived  Forward  Rst      => Reset
    SynReceived  Reverse  Rst      => Reset

    Established  Forward  Fin      => ClientFin
    Established  Reverse  Fin      => BackendFin
    Established  Reverse  Restart  => SynReceived
    Established  Forward  Rst      => Reset
    Established  Reverse  Rst      => Reset

    ClientFin    Reverse  Fin      => Closing
    ClientFin    Reverse  Restart  => SynReceived
    ClientFin    Forward  Rst      => Reset
    ClientFin    Reverse  Rst      => Reset

    BackendFin   Forward  Fin      => Closing
    BackendFin   Reverse  Restart  => SynReceived
    BackendFin   Forward  Rst      => Reset
    BackendFin   Reverse  Rst      => Reset

    Closing      Reverse  Restart  => SynReceived

    Reset        Forward  Segment  => Established
    Reset        Reverse  Segment  => Established
    Reset        Forward  Fin      => ClientFin
    Reset        Reverse  Fin      => BackendFin

    PickedUp     Reverse  Segment  => Established
    PickedUp     Reverse  Fin      => BackendFin
    PickedUp     Forward  Rst      => Reset
    PickedUp     Reverse  Rst      => Reset
};

/// [`ROWS`] by their first three columns.
const NEXT: [[[TcpState; Event::ALL.len()]; 2]; TcpState::ALL.len()] = {
    let mut next = [[[TcpState::SynSent; Event::ALL.len()]; 2]; TcpState::ALL.len()];
    let mut state = 0;
    while state < TcpState::ALL.len() {
        next[state] = [[TcpState::ALL[state]; Event::ALL.len()]; 2];
        state += 1;
    }
    let mut row = 0;
    while row < ROWS.len() {
        let Row { from, direction, event, to } = ROWS[row];
        next[from as usize][direction as usize][event as usize] = to;
        row += 1;
    }
    next
};

impl Event {
    /// Every event.
    pub const ALL: [Self; 6] =
        [Self::Syn, Self::SynAck, Self::Segment, Self::Fin, Self::Rst, Self::Restart];

    /// What these flags say. RST wins over all, and SYN over FIN: in a connection that exists a
    /// receiver looks no further than at a SYN.
    pub const fn of(flags: TcpFlags) -> Self {
        if flags.contains(TcpFlags::RST) {
            Self::Rst
        } else if flags.contains(TcpFlags::SYN) {
            if flags.contains(TcpFlags::ACK) { Self::SynAck } else { Self::Syn }
        } else if flags.contains(TcpFlags::FIN) {
            Self::Fin
        } else {
            Self::Segment
        }
    }

    /// The name in drawings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "SYN",
            Self::SynAck => "SYN+ACK",
            Self::Segment => "segment",
            Self::Fin => "FIN",
            Self::Rst => "RST",
            Self::Restart => "SYN+ACK to a new SYN",
        }
    }
}

impl TcpState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::SynSent,
        Self::SynReceived,
        Self::Established,
        Self::ClientFin,
        Self::BackendFin,
        Self::Closing,
        Self::Reset,
        Self::PickedUp,
    ];

    /// The state after a segment that counts.
    #[must_use]
    pub const fn next(self, direction: Direction, event: Event) -> Self {
        NEXT[self as usize][direction as usize][event as usize]
    }

    /// The state after a client's segment that counts, of a connection whose backend is never heard.
    ///
    /// The client's first acknowledgment establishes the connection. Its FIN closes it: what the backend
    /// still sends it acknowledges, which winds up the closing time, so a download that outlives the
    /// client's half goes on. Traffic after a RST revives it (RFC 7857 section 2.2).
    #[must_use]
    pub const fn next_alone(self, event: Event) -> Self {
        match (self, event) {
            (Self::Closing, _) | (_, Event::Fin) => Self::Closing,
            (_, Event::Segment) => Self::Established,
            (_, Event::Rst) => Self::Reset,
            (state, Event::Syn | Event::SynAck | Event::Restart) => state,
        }
    }

    /// What its idle time is reckoned by.
    pub const fn timer(self) -> Timer {
        match self {
            Self::SynSent | Self::SynReceived | Self::PickedUp => Timer::HalfOpen,
            Self::Established | Self::ClientFin | Self::BackendFin => Timer::Established,
            Self::Closing | Self::Reset => Timer::Closing,
        }
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
            Self::PickedUp => "picked-up",
        }
    }
}

impl Timer {
    /// The time after which an idle flow is forgotten.
    pub const fn duration(self, timeouts: &Timeouts) -> Duration {
        match self {
            Self::HalfOpen => timeouts.tcp_half_open,
            Self::Established => timeouts.tcp_established,
            Self::Closing => timeouts.tcp_closing,
        }
    }

    /// The key that configures it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HalfOpen => "tcp-half-open",
            Self::Established => "tcp-established",
            Self::Closing => "tcp-closing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::fmt::Write;

    /// Every transition, so that a change of one shows as a change of one line.
    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for state in TcpState::ALL {
            for direction in [Direction::Forward, Direction::Reverse] {
                let whose = if direction == Direction::Forward { "client" } else { "backend" };
                write!(table, "{:<12} {whose:<8}", state.name()).unwrap();
                for event in Event::ALL {
                    let next = state.next(direction, event);
                    write!(table, "{:<13}", if next == state { "." } else { next.name() }).unwrap();
                }
                table = table.trim_end().to_owned() + "\n";
            }
        }
        assert_eq!(table, TABLE, "{table}");
    }

    //                    SYN          SYN+ACK      segment      FIN          RST          restart
    const TABLE: &str = "\
syn-sent     client  .            .            .            .            reset        .
syn-sent     backend syn-received syn-received .            .            reset        syn-received
syn-received client  .            established  established  client-fin   reset        .
syn-received backend .            .            .            backend-fin  reset        .
established  client  .            .            .            client-fin   reset        .
established  backend .            .            .            backend-fin  reset        syn-received
client-fin   client  .            .            .            .            reset        .
client-fin   backend .            .            .            closing      reset        syn-received
backend-fin  client  .            .            .            closing      reset        .
backend-fin  backend .            .            .            .            reset        syn-received
closing      client  .            .            .            .            .            .
closing      backend .            .            .            .            .            syn-received
reset        client  .            .            established  client-fin   .            .
reset        backend .            .            established  backend-fin  .            .
picked-up    client  .            .            .            .            reset        .
picked-up    backend .            .            established  backend-fin  reset        .
";

    #[test]
    fn no_line_stands_twice_or_says_nothing() {
        let key = |row: &Row| (row.from as u8, row.direction, row.event as u8);
        let keys: HashSet<_> = ROWS.iter().map(key).collect();
        assert_eq!(keys.len(), ROWS.len());
        assert!(ROWS.iter().all(|row| row.from != row.to));
    }
}
