//! What routers say of a connection's path.
//!
//! Anybody can say it, so an error counts only if it quotes a segment that is on its way: its sequence
//! number lies among those that were sent and not acknowledged (RFC 5927 section 4.1). Then
//!
//! - "too big" lowers the size of segments, never below what any path is good for, and has what is on
//!   its way sent again in that size (RFC 1191, RFC 8201);
//! - "unreachable" ends a connection whose SYN nobody has answered. An established one waits for better
//!   times (RFC 5461, RFC 9293 section 3.9.2.2).

use smoltcp::socket::tcp::State;

use super::connection::Outcome;
use super::endpoint::{Endpoint, Entry};
use super::ingress::{TcpDrop, TcpVerdict};
use super::limits::MIN_MTU;
use super::mss;
use super::sequence::before;
use crate::packet::Packet;
use crate::wire::{Family, Headers, Icmp, Quote, checksum};

/// The MTU to assume of an IPv4 path of which is only known that it is less: what every host takes.
const UNKNOWN_MTU: u16 = 576;
/// The least MTU of an IPv6 path (RFC 8200 section 5).
const MIN_V6_MTU: u16 = 1_280;

impl Endpoint {
    /// Takes an ICMP error about a segment that this endpoint sent.
    pub(super) fn on_error(&mut self, packet: &Packet, headers: &Headers) -> TcpVerdict {
        if !checksum::verify_transport(packet, headers) {
            self.stats.checksum_errors += 1;
            return TcpVerdict::Dropped(TcpDrop::Checksum);
        }
        let message = &packet.data()[headers.l4()..headers.total_len()];
        match self.believe(headers.family, message) {
            Some(()) => TcpVerdict::Taken,
            None => TcpVerdict::Dropped(TcpDrop::Error),
        }
    }

    /// Does what the error asks for; nothing if it is not to be believed, or changes nothing.
    fn believe(&mut self, family: Family, message: &[u8]) -> Option<()> {
        let icmp = Icmp::new_checked(message)?;
        let quote = Quote::of_message(family, message).filter(|quote| quote.header_sum_ok)?;
        let seq = quote.tcp_seq(message)?;
        let &Entry::Connection(index) = self.table.get(&quote.tuple.reversed())? else {
            return None;
        };
        let index = index as usize;
        let connection = &mut self.connections[index];
        let (una, nxt) = connection.outstanding();
        if before(seq, una) || !before(seq, nxt) {
            return None;
        }
        if icmp.is_unreachable(family) && connection.state() == State::SynSent {
            self.finish(index, Outcome::Refused);
            return Some(());
        }
        let mss = mss::of_mtu(believable(family, icmp.too_big(family)?), family);
        let lowered = connection.streams.as_mut()?.lower_mss(self.now, mss);
        lowered.then(|| self.mark_dirty(index))
    }
}

/// The MTU that a router told, within what can be.
fn believable(family: Family, told: u32) -> u16 {
    let told = u16::try_from(told).unwrap_or(u16::MAX);
    match (family, told) {
        (Family::V4, 0) => UNKNOWN_MTU,
        (Family::V4, told) => told.max(MIN_MTU),
        (Family::V6, told) => told.max(MIN_V6_MTU),
    }
}
