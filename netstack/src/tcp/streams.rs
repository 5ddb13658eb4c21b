//! The two streams of an established connection, and the segments that carry them.
//!
//! Stream bytes are counted from zero, the first behind the SYN; here they meet the 32-bit numbers of
//! the wire. A FIN takes the number behind the last byte.
//!
//! An acknowledgment rides on every segment with data. What does not fit beside full-sized data, the
//! SACK blocks, goes into an acknowledgment of its own in front of it.

use std::ops::Range;
use std::time::Duration;

use super::acceptance::{AckBounds, AckPlace, touches_window};
use super::buffer::Pool;
use super::connection::{Handshake, Timeout};
use super::control::Initial;
use super::header::{self, Header};
use super::keepalive::{Due, Keepalive, KeepaliveConfig};
use super::limits::{EndpointConfig, USER_TIMEOUT};
use super::mss;
use super::receiver::{Receiver, SACK_BLOCKS};
use super::recovery::{Ack, RTO_MIN, Sender, SenderConfig};
use super::stream_offset::{unwrap, wrap};
use super::syn::options::SynOptions;
use super::timestamps::{Clock, Paws, Recent, Stamp, Timestamps};
use crate::packet::{MAX_PACKET_LEN, Packet};
use crate::time::Instant;
use crate::wire::{Tcp, TcpFlags, Tuple};

/// The most segments that a super-packet is made of, fewer than anything that cuts one up takes.
const MAX_PIECES: u32 = 1_024;

/// The smallest segments that are tried on a path that swallows larger ones without a word: those of a
/// path of 576 bytes, with which every router has to cope.
const BLACK_HOLE_MSS: u32 = 536;

const KIND_SACK: u8 = 5;
/// What the longest options leave: 40 bytes.
const MAX_OPTIONS: usize = 40;

/// The two streams of a connection.
pub(super) struct Streams {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    timestamps: Option<Timestamps>,
    keepalive: Option<Keepalive>,
    /// Where both streams begin in sequence space.
    initial: Initial,
    /// Shift of our window fields, and of the peer's.
    our_shift: u8,
    their_shift: u8,
    sack: bool,
    /// The largest window that the peer ever offered.
    max_window: u32,
    /// Something is to be sent that carries our numbers: an acknowledgment, or a probe.
    challenge_due: bool,
    probe_due: bool,
    /// No acknowledgment before this answers what has no data and is not acceptable.
    next_challenge: Instant,
}

/// What a segment from the peer has changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Heard {
    /// It was not a segment that the peer can have sent now; nothing else has been looked at.
    pub(super) unacceptable: bool,
    /// It acknowledged something new.
    pub(super) progress: bool,
    /// There is room to write again.
    pub(super) writable: bool,
    /// It acknowledged our FIN.
    pub(super) fin_acked: bool,
    /// There is more to read.
    pub(super) readable: bool,
    /// The peer's FIN has come, and everything before it.
    pub(super) fin: bool,
}

/// Time between two acknowledgments of ours that answer what is not acceptable and carries no data
/// (Linux: `tcp_invalid_ratelimit`): two peers that disagree must not answer each other for ever.
const CHALLENGE_INTERVAL: Duration = Duration::from_millis(500);

impl Streams {
    /// The streams behind a handshake in which the peer's SYN had the options `peer`.
    pub(super) fn new(
        config: &EndpointConfig,
        now: Instant,
        tuple: &Tuple,
        initial: Initial,
        handshake: &Handshake,
        peer: SynOptions,
        seed: u64,
    ) -> Self {
        let agreed = peer.answer(&handshake.ours);
        let sent_at = handshake.sent_at.unwrap_or(now);
        let timestamps = agreed.stamp.map(|stamp| {
            Timestamps::new(handshake.clock, sent_at, now, stamp.echo, initial.irs.wrapping_add(1))
        });
        let overhead = if timestamps.is_some() { Stamp::PADDED_LEN as u16 } else { 0 };
        let mss_told = mss::of_mtu(config.mtu, tuple.dst.family());
        let mss = mss::effective(peer.mss, config.mtu, tuple.dst.family()) - overhead;
        let rtt = handshake.rtt(now);
        let (our_shift, their_shift) = match (agreed.window_scale, peer.window_scale) {
            (Some(ours), Some(theirs)) => (ours, theirs),
            _ => (0, 0),
        };
        let sender = SenderConfig {
            mss: u32::from(mss),
            // RFC 7323 section 2.2: the window of a SYN is never scaled.
            window: u32::from(handshake.peer_window),
            sack: agreed.sack_permitted,
            handshake_rtt: rtt,
            max_buffer: config.send_buffer,
            rto_min: RTO_MIN,
            user_timeout: USER_TIMEOUT,
            nagle: false,
            congestion: handshake.congestion.start(now, u32::from(mss), seed),
        };
        Self {
            sender: Sender::new(sender, now),
            receiver: Receiver::new(config.receiver(mss_told, our_shift)),
            timestamps,
            keepalive: handshake.keepalive.map(|config| Keepalive::new(config, now)),
            initial,
            our_shift,
            their_shift,
            sack: agreed.sack_permitted,
            max_window: 0,
            challenge_due: false,
            probe_due: false,
            next_challenge: now,
        }
    }

    /// Takes a segment that is neither a SYN nor a RST.
    pub(super) fn on_segment(&mut self, now: Instant, pool: &mut Pool, tcp: &Tcp<&[u8]>) -> Heard {
        let stamp = self.timestamps.and_then(|_| Stamp::read(tcp));
        let old = self.timestamps.is_some_and(|own| own.check(now, stamp, false) == Paws::Old);
        let (nxt, window) = (self.rcv_nxt(), self.receive_window());
        let touches = touches_window(tcp.seq(), tcp.sequence_len(), nxt, window);
        // RFC 9293 section 3.10.7.4: "special allowance should be made to accept valid ACKs" of
        // segments beyond a closed window. Two peers that have both run over the other's window
        // would never hear each other again.
        let near =
            tcp.seq().wrapping_sub(nxt).cast_signed().unsigned_abs() <= self.receiver.capacity();
        if near && (old || !touches) {
            self.note_duplicate(now, pool, tcp);
        }
        if old || !(touches || near) {
            self.challenge(now, tcp);
            return Heard { unacceptable: true, ..Heard::default() };
        }
        if !tcp.flags().contains(TcpFlags::ACK) {
            // RFC 9293 section 3.10.7.4: "If the ACK bit is off, drop the segment and return."
            return Heard::default();
        }
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.on_segment(now);
        }
        let mut heard = Heard::default();
        if matches!(self.ack_bounds().place(tcp.ack()), AckPlace::New | AckPlace::Same) {
            self.on_ack(now, pool, tcp, stamp, &mut heard);
        }
        if !touches {
            self.challenge(now, tcp);
            return heard;
        }
        if let Some(timestamps) = &mut self.timestamps {
            timestamps.on_segment(now, stamp, tcp.seq());
        }
        self.on_data(now, pool, tcp, &mut heard);
        heard
    }

    fn on_ack(
        &mut self,
        now: Instant,
        pool: &mut Pool,
        tcp: &Tcp<&[u8]>,
        stamp: Option<Stamp>,
        heard: &mut Heard,
    ) {
        let Some(offset) = self.sent_offset(tcp.ack()) else { return };
        let window = u32::from(tcp.window()) << self.their_shift;
        self.max_window = self.max_window.max(window);
        let (blocks, count) = self.sack_blocks(tcp);
        let echo_age = self
            .timestamps
            .zip(stamp)
            .filter(|_| offset > self.sender.una())
            .and_then(|(own, stamp)| own.rtt(now, stamp.echo));
        let ack = Ack {
            offset,
            window,
            sequence: self.received_offset(tcp.seq()).unwrap_or(0),
            sack: &blocks[..count],
            echo_age,
            carries_data: tcp.sequence_len() > 0,
        };
        let acked = self.sender.on_ack(now, pool, &ack);
        if let Some(sample) = echo_age {
            self.receiver.on_rtt(sample);
        }
        heard.progress = acked.bytes > 0 || acked.fin;
        heard.writable = acked.freed_room;
        heard.fin_acked = acked.fin;
    }

    fn on_data(&mut self, now: Instant, pool: &mut Pool, tcp: &Tcp<&[u8]>, heard: &mut Heard) {
        let fin = tcp.flags().contains(TcpFlags::FIN);
        let Some(offset) = self.received_offset(tcp.seq()) else {
            return self.receiver.on_unacceptable(now);
        };
        let received = self.receiver.on_segment(now, pool, offset, tcp.payload(), fin);
        heard.readable = received.in_order > 0;
        heard.fin = received.fin_reached;
    }

    /// Has data that came before reported as a duplicate (RFC 2883), be it from before the window or
    /// older than a segment that has overtaken it: who sent it twice for nothing should learn of it.
    fn note_duplicate(&mut self, now: Instant, pool: &mut Pool, tcp: &Tcp<&[u8]>) {
        let Some(offset) = self.received_offset(tcp.seq()) else { return };
        let before = self.receiver.rcv_nxt().saturating_sub(offset);
        let known = tcp.payload().len().min(usize::try_from(before).unwrap_or(usize::MAX));
        if known > 0 {
            let known = tcp.payload().get(..known).unwrap_or_default();
            self.receiver.on_segment(now, pool, offset, known, false);
        }
    }

    /// The offset in our stream that an acknowledgment number means.
    fn sent_offset(&self, ack: u32) -> Option<u64> {
        unwrap(ack, self.initial.isn, self.sender.una())
    }

    /// The offset in the peer's stream that a sequence number means.
    fn received_offset(&self, seq: u32) -> Option<u64> {
        unwrap(seq, self.initial.irs, self.receiver.rcv_nxt())
    }

    /// What acknowledgments may say (RFC 5961 section 5.2).
    pub(super) fn ack_bounds(&self) -> AckBounds {
        let (una, nxt) = self.outstanding();
        let said = u32::try_from(self.sender.una() + 1).unwrap_or(u32::MAX);
        AckBounds { una, nxt, max_window: self.max_window.min(said) }
    }

    /// The SACK blocks of a segment, as offsets.
    fn sack_blocks(&self, tcp: &Tcp<&[u8]>) -> ([Range<u64>; SACK_BLOCKS], usize) {
        let mut blocks = [const { 0..0 }; SACK_BLOCKS];
        let mut count = 0;
        if !self.sack {
            return (blocks, count);
        }
        for option in tcp.options().filter(|option| option.kind == KIND_SACK) {
            for block in option.data.chunks_exact(8) {
                let (start, end) = block.split_at(4);
                let edge = |bytes: &[u8]| {
                    bytes.try_into().ok().and_then(|seq| self.sent_offset(u32::from_be_bytes(seq)))
                };
                if let (Some(place), Some(start), Some(end)) =
                    (blocks.get_mut(count), edge(start), edge(end))
                {
                    *place = start..end;
                    count += 1;
                }
            }
        }
        (blocks, count)
    }

    /// Has our numbers sent.
    pub(super) const fn acknowledge(&mut self) {
        self.challenge_due = true;
    }

    /// Has an unacceptable segment answered, unless that has just been done.
    fn challenge(&mut self, now: Instant, tcp: &Tcp<&[u8]>) {
        if tcp.sequence_len() > 0 || self.next_challenge <= now {
            self.challenge_due = true;
            self.next_challenge = now + CHALLENGE_INTERVAL;
        }
    }

    /// Writes the next segment that is to leave; false if there is none.
    pub(super) fn transmit(&mut self, now: Instant, tuple: &Tuple, packet: &mut Packet) -> bool {
        if std::mem::take(&mut self.probe_due) {
            let seq = self.outstanding().0.wrapping_sub(1);
            self.write_bare(now, tuple, seq, packet);
            return true;
        }
        if self.sack && self.receiver.has_sack_blocks() && self.receiver.ack_now(now) {
            self.write_bare(now, tuple, self.outstanding().1, packet);
            return true;
        }
        let stamp = self.timestamps.map(|own| own.stamp(now).padded());
        let options = stamp.as_ref().map_or(&[][..], |stamp| stamp);
        let room = ((MAX_PACKET_LEN - header::MAX_LEN) as u32).min(MAX_PIECES * self.sender.mss());
        if let Some(segment) = self.sender.poll_transmit(now, room) {
            let mut flags = TcpFlags::ACK;
            if segment.fin {
                flags = flags | TcpFlags::FIN;
            }
            if segment.push && segment.len > 0 {
                flags = flags | TcpFlags::PSH;
            }
            let seq = wrap(segment.offset, self.initial.isn);
            let header = Header { seq, ack: self.rcv_nxt(), flags, window: self.advertise() };
            let len = segment.len as usize;
            let start = header::begin(packet, tuple, &header, options, len, segment.mss as u16);
            self.sender.copy_payload(segment.offset, &mut packet.data_mut()[start..]);
            self.sent(now, true);
            return true;
        }
        if self.challenge_due || self.receiver.ack_now(now) {
            self.write_bare(now, tuple, self.outstanding().1, packet);
            return true;
        }
        false
    }

    /// Writes a segment without data.
    fn write_bare(&mut self, now: Instant, tuple: &Tuple, seq: u32, packet: &mut Packet) {
        let mut options = [0; MAX_OPTIONS];
        let len = self.write_options(now, &mut options);
        let header =
            Header { seq, ack: self.rcv_nxt(), flags: TcpFlags::ACK, window: self.advertise() };
        header::begin(packet, tuple, &header, &options[..len], 0, u16::MAX);
        self.sent(now, false);
    }

    /// Timestamps, and all the SACK blocks that fit beside them.
    fn write_options(&self, now: Instant, options: &mut [u8; MAX_OPTIONS]) -> usize {
        let mut len = 0;
        if let Some(own) = &self.timestamps {
            options[..Stamp::PADDED_LEN].copy_from_slice(&own.stamp(now).padded());
            len = Stamp::PADDED_LEN;
        }
        if !self.sack {
            return len;
        }
        let most = if len == 0 { SACK_BLOCKS } else { SACK_BLOCKS - 1 };
        let blocks = self.receiver.sack_blocks(most);
        if blocks.is_empty() {
            return len;
        }
        options[len..len + 4].copy_from_slice(&[1, 1, KIND_SACK, 2 + 8 * blocks.len() as u8]);
        len += 4;
        for block in &*blocks {
            for edge in [block.start, block.end] {
                options[len..len + 4].copy_from_slice(&wrap(edge, self.initial.irs).to_be_bytes());
                len += 4;
            }
        }
        len
    }

    /// The window field to send now.
    fn advertise(&self) -> u16 {
        u16::try_from(self.receiver.window() >> self.our_shift).unwrap_or(u16::MAX)
    }

    /// Takes note that our numbers have been sent.
    fn sent(&mut self, now: Instant, on_data: bool) {
        self.challenge_due = false;
        self.receiver.on_ack_sent(now, on_data);
        let ack = self.rcv_nxt();
        if let Some(timestamps) = &mut self.timestamps {
            timestamps.on_sent(ack);
        }
    }

    /// The first instant at which something must be done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let in_flight = self.is_waiting();
        let keepalive = self.keepalive.as_ref().and_then(|own| own.deadline(in_flight));
        [self.sender.poll_timeout(), self.receiver.ack_deadline(), keepalive]
            .into_iter()
            .flatten()
            .min()
    }

    /// Data or a FIN waits to be acknowledged.
    fn is_waiting(&self) -> bool {
        self.sender.queued() > 0 || self.sender.una() < self.sender.next_offset()
    }

    /// Lets time pass.
    pub(super) fn on_timeout(&mut self, now: Instant) -> Timeout {
        // A timer that was set for what has been settled since changes nothing, not even who sends first.
        if self.deadline().is_none_or(|at| at > now) {
            return Timeout::Nothing;
        }
        if self.sender.gone(now) {
            return Timeout::Expired;
        }
        let in_flight = self.is_waiting();
        match self.keepalive.as_mut().map_or(Due::Nothing, |own| own.on_timeout(now, in_flight)) {
            Due::Nothing => {}
            Due::Probe => self.probe_due = true,
            Due::GiveUp => return Timeout::Expired,
        }
        self.sender.on_timeout(now);
        let mss = self.sender.mss();
        if self.sender.blackhole_suspected() && mss > BLACK_HOLE_MSS {
            self.sender.set_mss(now, (mss / 2).max(BLACK_HOLE_MSS));
        }
        Timeout::Egress
    }

    /// A router has said that only segments of this size, options included, pass; true if that is less
    /// than before.
    pub(super) fn lower_mss(&mut self, now: Instant, mss: u16) -> bool {
        let overhead = if self.timestamps.is_some() { Stamp::PADDED_LEN } else { 0 };
        let mss = u32::from(mss) - overhead as u32;
        let lowered = mss < self.sender.mss();
        if lowered {
            self.sender.set_mss(now, mss);
        }
        lowered
    }

    /// Probes an idle connection like this from now on, or not at all.
    pub(super) fn set_keepalive(&mut self, now: Instant, config: Option<KeepaliveConfig>) {
        self.keepalive = config.map(|config| Keepalive::new(config, now));
    }

    pub(super) const fn readable(&self) -> usize {
        self.receiver.available()
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.sender.queued()
    }

    pub(super) fn rcv_nxt(&self) -> u32 {
        wrap(self.receiver.rcv_nxt(), self.initial.irs)
    }

    pub(super) fn receive_window(&self) -> u32 {
        let left = self.receiver.edge().saturating_sub(self.receiver.rcv_nxt());
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    pub(super) fn outstanding(&self) -> (u32, u32) {
        let isn = self.initial.isn;
        (wrap(self.sender.una(), isn), wrap(self.sender.next_offset(), isn))
    }

    /// Our clock and the peer's, for the record of TIME-WAIT.
    pub(super) fn clocks(&self) -> Option<(Clock, Recent)> {
        self.timestamps.as_ref().map(|own| (own.clock(), own.recent()))
    }

    /// The window that the peer was last told of, as a field.
    pub(super) fn window_field(&self) -> u16 {
        u16::try_from(self.receive_window() >> self.our_shift).unwrap_or(u16::MAX)
    }

    pub(super) fn window_update_due(&self) -> bool {
        self.receiver.window_update_due()
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.sender.clear(pool);
        self.receiver.clear(pool);
    }
}
