//! Two endpoints over a simulated wire, on virtual time.

use std::collections::BTreeMap;

use super::*;
use crate::packet::{Checksum, GsoKind, Packet};
use crate::segment;
use crate::wire::{Family, Headers, Tcp, checksum};

/// A xorshift generator: enough to lose packets with.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.roll() % 100 < percent
    }
}

/// What a wire does to packets.
#[derive(Clone, Copy, Default)]
pub(super) struct Wire {
    /// One way.
    pub(super) delay: Duration,
    /// Cut super-packets, as a wire of this MTU does.
    pub(super) cut: Option<usize>,
    pub(super) loss_percent: u64,
    pub(super) duplicate_percent: u64,
    /// Delayed by up to five times the delay.
    pub(super) reorder_percent: u64,
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) ends: [Endpoint; 2],
    pub(super) wire: Wire,
    pub(super) dice: Dice,
    /// Packets under way: when, in which order, to whom.
    flying: BTreeMap<(Instant, u64), (usize, Packet)>,
    count: u64,
    /// Longest payload of a packet emitted by each end, and packets emitted.
    pub(super) longest: [usize; 2],
    pub(super) packets: [usize; 2],
}

impl Pair {
    pub(super) fn new(configs: [EndpointConfig; 2], wire: Wire, seed: u64) -> Self {
        Self {
            now: at(5),
            ends: configs.map(Endpoint::new),
            wire,
            dice: Dice::new(seed),
            flying: BTreeMap::new(),
            count: 0,
            longest: [0; 2],
            packets: [0; 2],
        }
    }

    /// Takes what both ends want to send, then goes on to the next event and lets it happen; false if
    /// there is none.
    pub(super) fn step(&mut self) -> bool {
        self.collect();
        let timeouts = self.ends.iter().filter_map(Endpoint::poll_timeout);
        let next = self.flying.keys().next().map(|key| key.0).into_iter().chain(timeouts).min();
        let Some(next) = next else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.flying.first_entry().filter(|e| e.key().0 <= self.now) {
            let (to, packet) = entry.remove();
            let headers = Headers::parse(&packet).unwrap();
            self.ends[to].handle_packet(self.now, &packet, &headers, 3);
        }
        self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
        true
    }

    pub(super) fn collect(&mut self) {
        let mut packet = Packet::with_capacity(0);
        for from in 0..2 {
            while self.ends[from].poll_transmit(self.now, &mut packet) {
                self.packets[from] += 1;
                let payload = check_offload(&packet);
                self.longest[from] = self.longest[from].max(payload);
                let Some(mtu) = self.wire.cut else {
                    self.launch(1 - from, packet.clone());
                    continue;
                };
                for piece in segment::segment(&packet, 65_535).unwrap() {
                    assert!(piece.len() <= mtu, "{} bytes for an MTU of {mtu}", piece.len());
                    self.launch(1 - from, piece);
                }
            }
        }
    }

    fn launch(&mut self, to: usize, packet: Packet) {
        if self.dice.percent(self.wire.loss_percent) {
            return;
        }
        let mut arrival = self.now + self.wire.delay;
        if self.dice.percent(self.wire.reorder_percent) {
            arrival += self.wire.delay * (1 + (self.dice.roll() % 4) as u32);
        }
        if self.dice.percent(self.wire.duplicate_percent) {
            self.count += 1;
            self.flying.insert((arrival + self.wire.delay, self.count), (to, packet.clone()));
        }
        self.count += 1;
        self.flying.insert((arrival, self.count), (to, packet));
    }

    /// Connects end 0 to end 1; gives the connection at each.
    pub(super) fn connect(&mut self, client: &str, server: &str) -> [ConnectionId; 2] {
        let id = self.ends[0].connect(self.now, addr(client), addr(server)).unwrap();
        loop {
            assert!(self.step(), "nothing happens");
            assert_eq!(self.ends[0].error(id), None);
            if let Some(accepted) = self.ends[1].accept() {
                assert_eq!((accepted.local, accepted.tag), (addr(server), 3));
                return [id, accepted.id];
            }
        }
    }
}

/// Checks that what a device is told of a packet is true; gives its payload's length.
fn check_offload(packet: &Packet) -> usize {
    let headers = Headers::parse(packet).expect("offload state agrees with the headers");
    assert_eq!(headers.total_len(), packet.len());
    let tcp = Tcp::new_checked(&packet.data()[headers.l4()..]).unwrap();
    let start = headers.l4() as u16;
    assert_eq!(packet.offload.checksum, Checksum::Partial { start, offset: 16 });
    let mut whole = packet.clone();
    checksum::complete(&mut whole);
    assert!(
        checksum::verify_transport(&whole, &headers),
        "the partial sum is not the pseudo-header's"
    );
    if let Some(gso) = packet.offload.gso {
        let kind = match headers.family {
            Family::V4 => GsoKind::TcpV4,
            Family::V6 => GsoKind::TcpV6,
        };
        assert_eq!(gso.kind, kind);
        assert_eq!(usize::from(gso.header_len), headers.l4() + tcp.header_len());
        assert!(usize::from(gso.size) < tcp.payload().len(), "no super-packet");
    }
    tcp.payload().len()
}

/// The byte at a place of a test's stream.
pub(super) fn byte_at(place: usize) -> u8 {
    (place ^ (place >> 8) ^ (place >> 16)) as u8
}

/// A stream of bytes in one direction, written and checked as room and data allow.
pub(super) struct Flow {
    pub(super) len: usize,
    pub(super) written: usize,
    pub(super) read: usize,
    pub(super) finished: bool,
    shut: bool,
}

impl Flow {
    pub(super) const fn new(len: usize) -> Self {
        Self { len, written: 0, read: 0, finished: false, shut: false }
    }

    /// Writes what there is room for, with a FIN behind the last byte.
    pub(super) fn write(&mut self, end: &mut Endpoint, id: ConnectionId) {
        while self.written < self.len {
            let stop = self.len.min(self.written + 10_007);
            let data: Vec<_> = (self.written..stop).map(byte_at).collect();
            match end.send(id, &data) {
                Ok(sent) => self.written += sent,
                Err(StreamError::WouldBlock) => return,
                Err(error) => panic!("after {} bytes: {error}", self.written),
            }
        }
        if !std::mem::replace(&mut self.shut, true) {
            end.shutdown(id).unwrap();
        }
    }

    /// Reads and checks up to `most` bytes.
    pub(super) fn read(&mut self, end: &mut Endpoint, id: ConnectionId, most: usize) {
        let mut buffer = [0; 9_001];
        let mut left = most;
        while left > 0 && !self.finished {
            let room = left.min(buffer.len());
            match end.recv(id, &mut buffer[..room]) {
                Ok(0) => {
                    assert_eq!(self.read, self.len, "an early end");
                    self.finished = true;
                }
                Ok(count) => {
                    for byte in &buffer[..count] {
                        assert_eq!(*byte, byte_at(self.read), "at byte {}", self.read);
                        self.read += 1;
                    }
                    left -= count;
                }
                Err(StreamError::WouldBlock) => return,
                Err(error) => panic!("after {} bytes: {error}", self.read),
            }
        }
    }
}
