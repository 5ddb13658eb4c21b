//! Where flows go that end in this process.

use netstack::wire::Headers;
use netstack::{Instant, Packet};

use crate::health::{Change, Order, Outcome, Ticket};
use crate::verdict::DivertTo;
use crate::{PanicChange, Pool};

/// The end of diverted flows: a TCP endpoint with whatever runs on top of it. The engine knows no
/// HTTP; who does implements this.
///
/// The four verbs of every pure machine. Packets handed in may make packets to send, timers to set
/// and application work to do; all of it happens in [`poll`](Self::poll), so that a batch of packets
/// is taken in before anything is answered.
pub trait Divert {
    /// Takes in one packet; its transport checksum has not been verified.
    fn handle_packet(&mut self, now: Instant, to: DivertTo, packet: &Packet, headers: &Headers);

    /// Fires the timers that are due, and lets the application run until it waits for more.
    fn poll(&mut self, now: Instant);

    /// Fills `packet` with the next one to send, if there is one. Its source or destination tells the
    /// engine which flow it is of: connections to backends use [`LOCAL_V4`] or [`LOCAL_V6`].
    fn poll_transmit(&mut self, now: Instant, packet: &mut Packet) -> bool;

    /// When [`poll`](Self::poll) is to be called next, if nothing comes in before.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Begins a probe of [`Probe::External`](crate::Probe::External). One that is not begun times out.
    fn probe(&mut self, order: Order) {
        let _ = order;
    }

    /// The next probe that is done.
    fn poll_probe(&mut self) -> Option<(Ticket, Outcome)> {
        None
    }

    /// The state of one of the backends of `pool`, the engine's, has changed: for whoever has a
    /// [`Pool`] of its own, and for the log.
    fn backend_changed(&mut self, change: &Change, pool: &Pool) {
        let _ = (change, pool);
    }

    /// One of the engine's pools begins or ceases to believe in the health of its backends: for the log.
    fn pool_panics(&mut self, change: &PanicChange, pool: &Pool) {
        let _ = (change, pool);
    }
}

/// The source of this process's own IPv4 connections, before the SNAT pool gives them theirs: the
/// dummy address of RFC 7600 section 4.8, which no other host has.
pub const LOCAL_V4: [u8; 4] = [192, 0, 0, 8];

/// The same for IPv6: the discard-only prefix of RFC 6666.
pub const LOCAL_V6: [u8; 16] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8];

/// A divert for engines that have no diverted service: it takes nothing and sends nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDivert;

impl Divert for NoDivert {
    fn handle_packet(&mut self, _: Instant, _: DivertTo, _: &Packet, _: &Headers) {}

    fn poll(&mut self, _: Instant) {}

    fn poll_transmit(&mut self, _: Instant, _: &mut Packet) -> bool {
        false
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
