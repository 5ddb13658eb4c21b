//! A TCP endpoint among peers that send anything.
//!
//! Four hostile peers know the numbers of their own connections and use them, roughly. One more peer is an
//! endpoint as well; its connection, the witness, must transfer every byte whatever the others do and
//! whatever is put blindly into it.

#![expect(clippy::expect_used, reason = "a harness fails by panicking")]

use std::net::SocketAddr;
use std::time::Duration;

use netstack::tcp::{ConnectionId, Endpoint, EndpointConfig, StreamError};
use netstack::wire::{Address, Family, Headers, Tcp, TcpFlags, checksum, text};
use netstack::{Instant, Packet};

use crate::choices::{Choices, Spelled};
use crate::mutate::{mend, pause, spoil};

const STEPS: usize = 300;
/// Packets that may leave in one step, beyond which the endpoint would be an amplifier: what every
/// connection can have queued, in the smallest segments that it cuts.
const DEPARTURES: usize = 20_000;
/// Timers that may be due in a row without time passing, beyond which it would spin.
const TURNS: usize = 2_000;

const CONNECTIONS: usize = 6;
const HALF_OPEN: u64 = 3;
const TIME_WAITS: u64 = 3;
const BUFFER: u64 = 16_384;
/// No number this far from the right one is near a window.
const FAR: u64 = 1 << 20;

const OWN: [&str; 2] = ["10.0.0.1:80", "[fd00::1]:80"];
const HOSTILE: [&str; 4] = ["10.0.0.2:5000", "10.0.0.2:5001", "10.0.0.3:80", "[fd00::2]:5000"];
const WITNESS: &str = "10.0.0.4:6000";
/// What the witness transfers in each direction, for each step and once they are over.
const CHUNK: usize = 200;
const WHOLE: usize = 20_000;

/// An endpoint under segments of any kind, with an application that reads, writes and closes: nothing
/// panics or spins, limits hold, what leaves is well formed, the connection of a peer that behaves
/// transfers all its bytes, and left alone everything ends.
///
/// # Panics
/// If one of these does not hold.
pub fn tcp(data: &[u8]) {
    let mut choices = Spelled::new(data);
    let mut run = Run::new(&mut choices);
    for _ in 0..STEPS {
        if choices.is_used_up() {
            break;
        }
        run.goal += CHUNK;
        run.step(&mut choices);
        run.pass(pause(&mut choices));
        run.check();
    }
    run.finish();
}

/// The numbers that a peer would use next on a tuple, learned from what the endpoint sends.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    remote: SocketAddr,
    seq: u32,
    ack: u32,
}

/// One end of the witness.
#[derive(Debug, Default)]
struct End {
    id: Option<ConnectionId>,
    written: usize,
    read: usize,
}

struct Run {
    /// The one under test, and the witness's other end.
    ends: [Endpoint; 2],
    config: EndpointConfig,
    witness: [End; 2],
    /// Bytes that both ends of the witness shall have written by now.
    goal: usize,
    now: Instant,
    /// The hostile peers, then the witness.
    numbers: Vec<Numbers>,
    owned: Vec<ConnectionId>,
    /// A packet that the endpoint has sent, for errors to quote.
    quoted: Option<Packet>,
    scratch: Packet,
}

impl Run {
    fn new(choices: &mut Spelled<'_>) -> Self {
        let config = EndpointConfig {
            mtu: [1_500, 1_280, 9_000, 0][choices.below(4) as usize],
            receive_buffer: (BUFFER + choices.below(BUFFER)) as usize,
            send_buffer: (BUFFER + choices.below(BUFFER)) as usize,
            max_connections: CONNECTIONS,
            max_half_open: 1 + choices.below(HALF_OPEN) as usize,
            max_time_wait: choices.below(TIME_WAITS) as usize,
            ..EndpointConfig::new([5, choices.below(4)])
        };
        let friend = EndpointConfig { seed: [6, 7], ..config.clone() };
        let numbers = HOSTILE.iter().chain([&WITNESS]);
        let mut run = Self {
            ends: [Endpoint::new(config.clone()), Endpoint::new(friend)],
            config,
            witness: Default::default(),
            goal: 0,
            now: Instant::from_secs(1),
            numbers: numbers.map(|at| Numbers { remote: addr(at), seq: 1_000, ack: 0 }).collect(),
            owned: Vec::new(),
            quoted: None,
            scratch: Packet::max_sized(),
        };
        let id = run.ends[1].connect(run.now, addr(WITNESS), addr(OWN[0]));
        run.witness[1].id = Some(id.expect("the first connection"));
        run.settle();
        let accepted = run.ends[0].accept().expect("a handshake in peace");
        run.witness[0].id = Some(accepted.id);
        run
    }

    fn step(&mut self, choices: &mut Spelled<'_>) {
        match choices.below(16) {
            0..8 => self.hostile_segment(choices),
            8 => self.blind_segment(choices),
            9 => self.error(choices),
            10 => {
                let remote = addr(HOSTILE[choices.below(4) as usize]);
                let local = addr(if remote.is_ipv4() { OWN[0] } else { OWN[1] });
                self.owned.extend(self.ends[0].connect(self.now, local, remote));
            }
            11 => self.owned.extend(self.ends[0].accept().map(|accepted| accepted.id)),
            12 => self.leave(choices),
            _ => self.use_one(choices),
        }
    }

    /// A segment of a hostile peer, near to what it could send.
    fn hostile_segment(&mut self, choices: &mut Spelled<'_>) {
        let numbers = self.numbers[choices.below(HOSTILE.len() as u64) as usize];
        let flags = match choices.below(8) {
            0..3 => TcpFlags::ACK.0,
            3 | 4 => TcpFlags::SYN.0,
            5 => TcpFlags::ACK.0 | TcpFlags::FIN.0,
            6 => [TcpFlags::RST.0, TcpFlags::SYN.0 | TcpFlags::ACK.0][choices.below(2) as usize],
            _ => choices.below(256) as u8,
        };
        let seq = numbers.seq.wrapping_add_signed(near(choices));
        let ack = numbers.ack.wrapping_add_signed(near(choices));
        let segment = Spec { flags, seq, ack, options: options(choices), fill: 1 };
        let mut packet = segment.packet(numbers.remote, choices);
        if choices.below(8) == 0 {
            spoil(choices, &mut packet);
        }
        self.deliver(&packet);
    }

    /// A segment on the witness's tuple by one who does not see it: one of its numbers is far off.
    fn blind_segment(&mut self, choices: &mut Spelled<'_>) {
        let numbers = self.numbers[HOSTILE.len()];
        let far = (FAR + choices.below((1 << 32) - 2 * FAR)) as u32;
        let off = near(choices).clamp(-60_000, 60_000);
        let (seq, ack) = (numbers.seq, numbers.ack);
        let (flags, seq, ack) = match choices.below(4) {
            0 => (TcpFlags::RST.0, seq.wrapping_add(far), ack),
            1 => (TcpFlags::SYN.0, seq.wrapping_add_signed(off), ack),
            2 => (TcpFlags::ACK.0, seq.wrapping_add(far), ack.wrapping_add_signed(off)),
            _ => {
                let fin = TcpFlags::FIN.0 * choices.below(2) as u8;
                (TcpFlags::ACK.0 | fin, seq.wrapping_add_signed(off), ack.wrapping_add(far))
            }
        };
        let segment = Spec { flags, seq, ack, options: options(choices), fill: 0xee };
        let packet = segment.packet(numbers.remote, choices);
        self.deliver(&packet);
    }

    /// An ICMP error about something that the endpoint has sent.
    fn error(&mut self, choices: &mut Spelled<'_>) {
        let Some(quoted) = &self.quoted else { return };
        let mtu = choices.below(2_000);
        let kind = match choices.below(3) {
            0 => "unreachable code=port".to_owned(),
            1 => "ttl-exceeded code=transit".to_owned(),
            _ => format!("too-big mtu={mtu}"),
        };
        let headers = Headers::parse(quoted).expect("what was sent");
        let (from, to) = match headers.family {
            Family::V4 => ("10.9.9.9", Address::from_v4([10, 0, 0, 1]).to_string()),
            Family::V6 => ("fd09::9", "fd00::1".to_owned()),
        };
        let line = format!("icmp {from} > {to} {kind} about=({})", text::Line::of(quoted));
        let Ok(mut packet) = text::packet(&line) else { return };
        if choices.below(2) == 0 {
            spoil(choices, &mut packet);
        }
        self.deliver(&packet);
    }

    /// The application gives a connection up.
    fn leave(&mut self, choices: &mut Spelled<'_>) {
        if self.owned.is_empty() {
            return;
        }
        let id = self.owned.swap_remove(choices.below(self.owned.len() as u64) as usize);
        match choices.below(2) {
            0 => self.ends[0].close(id),
            _ => self.ends[0].abort(id),
        }
    }

    /// The application reads, writes, or is done writing.
    fn use_one(&mut self, choices: &mut Spelled<'_>) {
        if self.owned.is_empty() {
            return;
        }
        let id = self.owned[choices.below(self.owned.len() as u64) as usize];
        let mut buffer = vec![2; choices.below(40_000) as usize];
        let _ = match choices.below(5) {
            0 | 1 => self.ends[0].send(id, &buffer),
            2 | 3 => self.ends[0].recv(id, &mut buffer),
            _ => self.ends[0].shutdown(id).map(|()| 0),
        };
    }

    fn deliver(&mut self, packet: &Packet) {
        let Ok(headers) = Headers::parse(packet) else { return };
        self.ends[0].handle_packet(self.now, packet, &headers, 3);
    }

    /// Lets everything happen that is due now.
    fn settle(&mut self) {
        for turn in 0.. {
            assert!(turn < TURNS, "it spins");
            let moved = self.transfer();
            let sent = self.collect(0) + self.collect(1);
            let due = |end: &Endpoint| end.poll_timeout().is_some_and(|at| at <= self.now);
            if !moved && sent == 0 && !self.ends.iter().any(due) {
                break;
            }
            for end in &mut self.ends {
                end.handle_timeout(self.now);
            }
        }
    }

    /// Takes what an end sends; gives the count.
    fn collect(&mut self, from: usize) -> usize {
        for count in 0.. {
            assert!(count < DEPARTURES, "it amplifies");
            if !self.ends[from].poll_transmit(self.now, &mut self.scratch) {
                return count;
            }
            let headers = Headers::parse(&self.scratch).expect("what leaves is well formed");
            assert_eq!(headers.total_len(), self.scratch.len());
            let mut whole = self.scratch.clone();
            checksum::complete(&mut whole);
            assert!(checksum::verify_transport(&whole, &headers), "{}", text::Line::of(&whole));
            let tuple = headers.tuple().expect("a segment");
            if from == 0 {
                self.learn(&headers, tuple.destination());
                self.quoted = Some(whole);
            }
            if from == 1 || tuple.destination() == addr(WITNESS) {
                self.ends[1 - from].handle_packet(self.now, &self.scratch, &headers, 3);
            }
        }
        unreachable!("an endless range")
    }

    fn learn(&mut self, headers: &Headers, to: SocketAddr) {
        let Some(tcp) = Tcp::new_checked(&self.scratch.data()[headers.l4()..]) else { return };
        for numbers in self.numbers.iter_mut().filter(|numbers| numbers.remote == to) {
            if tcp.flags().contains(TcpFlags::ACK) {
                numbers.seq = tcp.ack();
            }
            numbers.ack = tcp.seq().wrapping_add(tcp.sequence_len());
        }
    }

    /// Writes and reads at both ends of the witness; true if anything moved.
    fn transfer(&mut self) -> bool {
        let mut moved = false;
        for (end, state) in self.ends.iter_mut().zip(&mut self.witness) {
            let Some(id) = state.id else { continue };
            if state.written < self.goal {
                let chunk: Vec<u8> = (state.written..self.goal).map(byte_at).collect();
                match end.send(id, &chunk) {
                    Ok(sent) => (state.written, moved) = (state.written + sent, moved || sent > 0),
                    Err(StreamError::WouldBlock) => {}
                    Err(error) => panic!("the witness cannot write: {error}"),
                }
            }
            let mut buffer = [0; 1_000];
            match end.recv(id, &mut buffer) {
                Ok(0) => panic!("the witness ends"),
                Ok(read) => {
                    let expected = (state.read..state.read + read).map(byte_at);
                    assert!(expected.eq(buffer[..read].iter().copied()), "not the bytes sent");
                    (state.read, moved) = (state.read + read, true);
                }
                Err(StreamError::WouldBlock) => {}
                Err(error) => panic!("the witness cannot read: {error}"),
            }
        }
        moved
    }

    fn check(&self) {
        let stats = self.ends[0].stats();
        assert!(stats.connections <= self.config.max_connections, "{stats:?}");
        assert!(stats.half_open <= self.config.max_half_open, "{stats:?}");
        assert!(stats.time_wait <= self.config.max_time_wait, "{stats:?}");
        for &id in &self.owned {
            assert!(self.ends[0].recv_queue(id) <= self.config.receive_buffer);
            assert!(self.ends[0].send_queue(id) <= self.config.send_buffer);
        }
    }

    /// Lets the witness finish and everything else end.
    fn finish(mut self) {
        self.goal += WHOLE;
        self.pass(Duration::from_mins(1));
        for state in &self.witness {
            assert_eq!((state.written, state.read), (self.goal, self.goal), "the witness hangs");
        }
        self.owned.extend(std::iter::from_fn(|| self.ends[0].accept()).map(|accepted| accepted.id));
        for id in self.owned.drain(..) {
            self.ends[0].close(id);
        }
        for (end, state) in self.ends.iter_mut().zip(&mut self.witness) {
            end.close(state.id.take().expect("a witness"));
        }
        self.pass(Duration::from_mins(10));
        for end in &self.ends {
            let stats = end.stats();
            assert_eq!((stats.connections, stats.half_open, stats.time_wait), (0, 0, 0));
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for turn in 0.. {
            assert!(turn < 100 * TURNS, "it never comes to rest");
            self.settle();
            let next = self.ends.iter().filter_map(Endpoint::poll_timeout).min();
            match next.filter(|&next| next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
        }
        self.now = end;
    }
}

/// A segment for the endpoint.
struct Spec {
    flags: u8,
    seq: u32,
    ack: u32,
    options: Vec<u8>,
    /// The payload's bytes.
    fill: u8,
}

impl Spec {
    fn packet(&self, from: SocketAddr, choices: &mut Spelled<'_>) -> Packet {
        let payload = match choices.below(4) {
            0 | 1 => 0,
            2 => choices.below(2_000),
            _ => choices.below(40_000),
        };
        let window = choices.below(1 << 16) as u16;
        let header = 20 + self.options.len();
        let len = header + payload as usize;
        let mut bytes = match from {
            SocketAddr::V4(from) => {
                let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0];
                ip[2..4].copy_from_slice(&(20 + len as u16).to_be_bytes());
                ip.extend(from.ip().octets());
                ip.extend([10, 0, 0, 1]);
                ip
            }
            SocketAddr::V6(from) => {
                let mut ip = vec![0x60, 0, 0, 0, 0, 0, 6, 64];
                ip[4..6].copy_from_slice(&(len as u16).to_be_bytes());
                ip.extend(from.ip().octets());
                ip.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
                ip
            }
        };
        bytes.extend(from.port().to_be_bytes());
        bytes.extend(80_u16.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([((header / 4) << 4) as u8, self.flags]);
        bytes.extend(window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.options);
        bytes.resize(bytes.len() + payload as usize, self.fill);
        let mut packet = Packet::from_ip(&bytes);
        mend(&mut packet);
        packet
    }
}

/// Options, of whole words: usual ones with unusual values, or anything.
fn options(choices: &mut Spelled<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..choices.below(4) {
        match choices.below(6) {
            0 => bytes.extend([2, 4, choices.below(256) as u8, choices.below(256) as u8]),
            1 => bytes.extend([1, 3, 3, choices.below(256) as u8]),
            2 => bytes.extend([1, 1, 4, 2]),
            3 => {
                bytes.extend([1, 1, 8, 10]);
                bytes.extend(choices.next_u64().to_be_bytes());
            }
            4 => {
                bytes.extend([1, 1, 5, 10]);
                bytes.extend(choices.next_u64().to_be_bytes());
            }
            _ => bytes.extend((choices.next_u64() as u32).to_be_bytes()),
        }
    }
    bytes.truncate(40);
    bytes
}

/// An offset: mostly none, else small, else about a window, else any.
fn near(choices: &mut Spelled<'_>) -> i32 {
    match choices.below(8) {
        0..4 => 0,
        4 | 5 => choices.below(9) as i32 - 4,
        6 => choices.below(140_000) as i32 - 70_000,
        _ => (choices.next_u64() as u32).cast_signed(),
    }
}

/// The byte at a place of the witness's streams.
const fn byte_at(place: usize) -> u8 {
    (place ^ (place >> 8)) as u8 & 0x7f
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
