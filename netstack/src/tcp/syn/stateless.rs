//! Handshakes of which the endpoint remembers nothing: SYNs answered by a cookie, and connections made
//! when it comes back.
//!
//! A connection is made as if the SYN had just come: one with what the cookie has kept is replayed to a
//! new socket, whose number is the cookie, and the SYN-ACK that the socket then sends is thrown away,
//! since the peer has it. The acknowledgment, with any data and FIN, goes the way of every segment.

use super::cookies::Handshake;
use super::options::{MAX_WINDOW_SCALE, SynOptions};
use crate::tcp::endpoint::Endpoint;
use crate::tcp::ingress::{Segment, TcpDrop, TcpVerdict};
use crate::tcp::mss;
use crate::tcp::reply::{Bare, Reply};
use crate::tcp::timestamps::Stamp;
use crate::tcp::wire;
use crate::wire::{Family, Tcp, TcpFlags};

impl Endpoint {
    /// Answers a SYN by a cookie; false if a cookie cannot keep what it says.
    pub(in crate::tcp) fn offer_cookie(&mut self, syn: &Segment<'_>) -> bool {
        let (tuple, tcp) = (&syn.tuple, &syn.tcp);
        let family = tuple.dst.family();
        let mut peer = SynOptions::read(tcp);
        peer.mss = Some(mss::effective(peer.mss, u16::MAX, family));
        let handshake = handshake(syn, tcp.seq());
        let ours = self.own_options(family);
        let Some(offer) = self.cookies.offer(self.now, &handshake, &peer, &ours) else {
            return false;
        };
        self.stats.cookies_sent += 1;
        let window = u16::try_from(self.config.receive_buffer).unwrap_or(u16::MAX);
        let ack = Some(tcp.seq().wrapping_add(1));
        let bare = Bare { seq: offer.isn, ack, window, reset: false };
        self.push_reply(Some(Reply::syn(tuple, bare, &offer.options)));
        true
    }

    /// Makes a connection of a segment that acknowledges a cookie; nothing if it does not.
    pub(in crate::tcp) fn redeem_cookie(
        &mut self,
        segment: &Segment<'_>,
        tag: u32,
    ) -> Option<TcpVerdict> {
        let (now, tcp, flags) = (self.now, &segment.tcp, segment.tcp.flags());
        let acknowledges = flags.contains(TcpFlags::ACK) && !flags.contains(TcpFlags::SYN);
        if !acknowledges || !self.cookies.are_about(now) {
            return None;
        }
        let (irs, isn) = (tcp.seq().wrapping_sub(1), tcp.ack().wrapping_sub(1));
        let handshake = handshake(segment, irs);
        let Some(peer) = self.cookies.redeem(now, &handshake, isn, Stamp::read(tcp)) else {
            self.stats.cookies_refused += 1;
            return None;
        };
        if self.syn_limit() == Some(TcpDrop::ConnectionLimit) {
            // The peer believes that it is connected; what it sends next may find room.
            return Some(TcpVerdict::Dropped(TcpDrop::ConnectionLimit));
        }
        let index = self.replay(segment, irs, isn, &peer, tag)?;
        let id = self.connections[index].id;
        let verdict = self.on_connection(index, segment);
        if self.get(id).is_some_and(|connection| connection.half_open) {
            // smoltcp would not take the segment. Nothing must stay half-open beyond the limit.
            self.remove(index);
            return Some(TcpVerdict::Dropped(TcpDrop::Options));
        }
        self.stats.cookies_accepted += 1;
        Some(verdict)
    }

    /// Makes the connection that a SYN with the options `peer` would have made before.
    fn replay(
        &mut self,
        segment: &Segment<'_>,
        irs: u32,
        isn: u32,
        peer: &SynOptions,
        tag: u32,
    ) -> Option<usize> {
        let tuple = segment.tuple;
        let bare = Bare { seq: irs, ack: None, window: segment.tcp.window(), reset: false };
        let replayed = Reply::syn(&tuple.reversed(), bare, peer);
        let data = replayed.data();
        let start = wire::tcp_offset(data)?;
        let tcp = Tcp::new_checked(data.get(start..)?)?;
        let index = self.begin(&Segment { data, start, tcp, tuple }, tag, isn).ok()?;
        self.connections[index].transmit(self.now, &mut self.scratch);
        Some(index)
    }

    /// What a socket of ours says in its SYN-ACK to a peer that offers everything.
    fn own_options(&self, family: Family) -> SynOptions {
        SynOptions {
            mss: Some(mss::of_mtu(self.config.mtu, family)),
            window_scale: Some(window_scale(self.config.receive_buffer)),
            sack_permitted: true,
            stamp: None,
        }
    }
}

/// Connections have no timestamps yet, so that there is no clock to keep options in.
const fn handshake(segment: &Segment<'_>, irs: u32) -> Handshake {
    Handshake { tuple: segment.tuple, irs, clock: None }
}

/// The least shift with which 16 bits can say the size of a receive buffer, and one more for a power of
/// two, as smoltcp has it.
fn window_scale(receive_buffer: usize) -> u8 {
    let bits = usize::BITS - receive_buffer.leading_zeros();
    (bits.saturating_sub(16) as u8).min(MAX_WINDOW_SCALE)
}
