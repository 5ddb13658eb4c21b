//! Handshakes of which the endpoint remembers nothing: SYNs answered by a cookie, and connections made
//! when it comes back.
//!
//! A connection is made as if the SYN had just come: one with what the cookie has kept is replayed to a
//! new state machine, whose number is the cookie, and the SYN-ACK that it then wants to send is thrown
//! away, since the peer has it. The acknowledgment, with any data and FIN, goes the way of every segment.

use super::cookies::Handshake;
use super::options::SynOptions;
use crate::tcp::connection::own_options;
use crate::tcp::endpoint::Endpoint;
use crate::tcp::handshake::Syn;
use crate::tcp::header::Header;
use crate::tcp::ingress::{Segment, TcpDrop, TcpVerdict};
use crate::tcp::mss;
use crate::tcp::reply::Reply;
use crate::tcp::timestamps::{Clock, Stamp};
use crate::wire::TcpFlags;

impl Endpoint {
    /// Answers a SYN by a cookie; false if a cookie cannot keep what it says.
    pub(in crate::tcp) fn offer_cookie(&mut self, syn: &Segment<'_>) -> bool {
        let (tuple, tcp) = (&syn.tuple, &syn.tcp);
        let family = tuple.dst.family();
        let mut peer = SynOptions::read(tcp);
        peer.mss = Some(mss::effective(peer.mss, u16::MAX, family));
        let handshake = self.handshake(syn, tcp.seq());
        let ours = own_options(&self.config, family);
        let Some(offer) = self.cookies.offer(self.now, &handshake, &peer, &ours) else {
            return false;
        };
        self.stats.cookies_sent += 1;
        let header = Header {
            seq: offer.isn,
            ack: tcp.seq().wrapping_add(1),
            flags: TcpFlags::SYN | TcpFlags::ACK,
            window: self.config.syn_window(),
        };
        self.push_reply(Reply { tuple: *tuple, header, options: offer.options.write() });
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
        let handshake = self.handshake(segment, irs);
        let Some(peer) = self.cookies.redeem(now, &handshake, isn, Stamp::read(tcp)) else {
            self.stats.cookies_refused += 1;
            return None;
        };
        if self.syn_limit() == Some(TcpDrop::ConnectionLimit) {
            // The peer believes that it is connected; what it sends next may find room.
            return Some(TcpVerdict::Dropped(TcpDrop::ConnectionLimit));
        }
        let syn = Syn { seq: irs, options: peer, window: tcp.window() };
        let index = self.begin(segment.tuple, tag, isn, syn)?;
        // The SYN-ACK, which the peer has.
        self.connections[index].control.settle(now);
        self.stats.cookies_accepted += 1;
        // It carries the number behind the SYN and acknowledges ours, so that it ends the handshake.
        Some(self.on_connection(index, segment))
    }

    fn handshake(&self, segment: &Segment<'_>, irs: u32) -> Handshake {
        let clock = Clock::of(self.secret, &segment.tuple);
        let clock = self.config.timestamps.then_some(clock);
        Handshake { tuple: segment.tuple, irs, clock }
    }
}
