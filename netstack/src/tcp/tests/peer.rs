//! A hand-driven peer: it sends what a test says and collects what the endpoint emits.

use etherparse::{PacketBuilder, TcpOptionElement};

use super::*;
use crate::packet::Packet;
use crate::segment;
use crate::wire::{Headers, Tcp, TcpFlags, checksum};

pub(super) const S: TcpFlags = TcpFlags::SYN;
pub(super) const A: TcpFlags = TcpFlags::ACK;
pub(super) const F: TcpFlags = TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0);
pub(super) const R: TcpFlags = TcpFlags::RST;
pub(super) const SA: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);

/// A segment that the endpoint sent, as it would appear on a wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) flags: TcpFlags,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) mss: Option<u16>,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Peer {
    pub(super) endpoint: Endpoint,
    pub(super) now: Instant,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) mss: Option<u16>,
    pub(super) window: u16,
}

/// The peer's initial sequence number, close to the wrap.
pub(super) const IRS: u32 = u32::MAX - 5;

impl Peer {
    pub(super) fn new(config: EndpointConfig) -> Self {
        Self {
            endpoint: Endpoint::new(config),
            now: at(1000),
            local: addr("10.0.0.1:80"),
            remote: addr("10.0.0.2:5000"),
            seq: IRS,
            ack: 0,
            mss: Some(1460),
            window: 60_000,
        }
    }

    /// One that has an established connection, accepted.
    pub(super) fn established(config: EndpointConfig) -> (Self, ConnectionId) {
        let mut peer = Self::new(config);
        peer.handshake();
        let id = peer.endpoint.accept().unwrap().id;
        (peer, id)
    }

    pub(super) fn handshake(&mut self) {
        assert_eq!(self.send(S, &[]), TcpVerdict::Opened);
        let syn_ack = self.one();
        assert_eq!((syn_ack.flags, syn_ack.ack), (SA, self.seq.wrapping_add(1)));
        self.seq = self.seq.wrapping_add(1);
        self.ack = syn_ack.seq.wrapping_add(1);
        assert_eq!(self.send(A, &[]), TcpVerdict::Taken);
        assert_eq!(self.seen(), []);
    }

    pub(super) fn send(&mut self, flags: TcpFlags, payload: &[u8]) -> TcpVerdict {
        self.send_at(flags, self.seq, payload)
    }

    pub(super) fn send_at(&mut self, flags: TcpFlags, seq: u32, payload: &[u8]) -> TcpVerdict {
        let packet = self.packet(flags, seq, payload);
        self.deliver(&packet)
    }

    pub(super) fn deliver(&mut self, packet: &Packet) -> TcpVerdict {
        let headers = Headers::parse(packet).unwrap();
        self.endpoint.handle_packet(self.now, packet, &headers, 7)
    }

    pub(super) fn packet(&self, flags: TcpFlags, seq: u32, payload: &[u8]) -> Packet {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (self.remote, self.local) else {
            panic!()
        };
        let mut builder = PacketBuilder::ipv4(from.ip().octets(), to.ip().octets(), 64).tcp(
            from.port(),
            to.port(),
            seq,
            self.window,
        );
        let has = |flag| flags.contains(flag);
        if has(S) {
            builder = builder.syn();
            let mss = self.mss.map(TcpOptionElement::MaximumSegmentSize);
            let options: Vec<_> = mss.into_iter().collect();
            builder = builder.options(&options).unwrap();
        }
        if has(A) {
            builder = builder.ack(self.ack);
        }
        if has(TcpFlags::FIN) {
            builder = builder.fin();
        }
        if has(R) {
            builder = builder.rst();
        }
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        Packet::from_ip(&bytes)
    }

    /// Sends single bytes until acknowledgments are delayed (Linux: `TCP_MAX_QUICKACKS`).
    pub(super) fn end_quick_acknowledgments(&mut self) {
        for _ in 0..20 {
            self.send(A, b"q");
            self.seq = self.seq.wrapping_add(1);
            self.seen();
        }
        // The last of them may wait.
        self.pass(ms(50));
    }

    /// Everything that the endpoint wants to send, which must be for this peer.
    pub(super) fn seen(&mut self) -> Vec<Seen> {
        let ours = self.remote.port();
        let only_ours = |(port, seen)| {
            assert_eq!(port, ours);
            seen
        };
        self.seen_by_port().into_iter().map(only_ours).collect()
    }

    /// Everything that the endpoint wants to send, cut and with checksums completed and verified, with
    /// the port that it is sent to.
    pub(super) fn seen_by_port(&mut self) -> Vec<(u16, Seen)> {
        let (mut packet, mut seen) = (Packet::with_capacity(0), Vec::new());
        while self.endpoint.poll_transmit(self.now, &mut packet) {
            for piece in segment::segment(&packet, 65_535).unwrap() {
                let headers = Headers::parse(&piece).unwrap();
                assert!(checksum::verify_transport(&piece, &headers));
                let tuple = headers.tuple().unwrap();
                assert_eq!(
                    (tuple.source(), tuple.destination().ip()),
                    (self.local, self.remote.ip())
                );
                let tcp = Tcp::new_checked(&piece.data()[headers.l4()..]).unwrap();
                seen.push((
                    tuple.dst_port,
                    Seen {
                        flags: TcpFlags(tcp.flags().0 & !TcpFlags::PSH.0),
                        seq: tcp.seq(),
                        ack: tcp.ack(),
                        window: tcp.window(),
                        mss: crate::tcp::syn::options::SynOptions::read(&tcp).mss,
                        payload: tcp.payload().to_vec(),
                    },
                ));
            }
        }
        seen
    }

    /// The one segment that the endpoint wants to send.
    pub(super) fn one(&mut self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// Lets `time` pass; gives what the endpoint sent meanwhile, with the time of each.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<(Instant, Seen)> {
        let end = self.now + time;
        let mut all = Vec::new();
        while let Some(next) = self.endpoint.poll_timeout().filter(|&next| next <= end) {
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
            let now = self.now;
            all.extend(self.seen().into_iter().map(|seen| (now, seen)));
        }
        self.now = end;
        self.endpoint.handle_timeout(end);
        all
    }

    /// The peer's half of a close that the endpoint's application begins: leaves it in TIME-WAIT.
    pub(super) fn close_to_time_wait(&mut self, id: ConnectionId) {
        self.endpoint.close(id);
        let fin = self.one();
        assert_eq!((fin.flags, fin.seq), (F, self.ack));
        self.ack = self.ack.wrapping_add(1);
        self.send(F, &[]);
        self.seq = self.seq.wrapping_add(1);
        let last = self.one();
        assert_eq!((last.flags, last.seq, last.ack), (A, self.ack, self.seq));
        let stats = self.endpoint.stats();
        assert_eq!((stats.connections, stats.time_wait), (0, 1));
    }
}
