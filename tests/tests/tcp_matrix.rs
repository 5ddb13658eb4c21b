//! Goodput of one endpoint to another over links of every kind, in virtual time: one table, kept in
//! `tests/tests/tcp_matrix.txt`, so that a change of it is seen in a diff.
//!
//! After a change on purpose: `BALUN_BLESS=1 cargo test -p tests --test tcp_matrix`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use balun::link::{Impairment, Settings, Way};
use netstack::tcp::{ConnectionId, Endpoint, EndpointConfig, StreamError};
use netstack::wire::Headers;
use netstack::{Instant, Packet};
use tests::pattern::Pattern;
use tests::rig::wire::Wire;
use tests::watchdog::Watchdog;

/// Bits a second of the link.
const RATE: u64 = 100_000_000;
/// A transfer, if the time is enough for it.
const LENGTH: usize = 2_000_000;
const TIME: Duration = Duration::from_secs(20);
/// What a figure is the mean of.
const SEEDS: [u64; 2] = [7, 8];
/// Events of one transfer: far more than any needs.
const EVENTS: usize = 1_000_000;

const RTTS: [u64; 3] = [1, 20, 100];
/// In a million.
const LOSSES: [u32; 4] = [0, 1_000, 10_000, 30_000];
const REORDERS: [u32; 2] = [0, 50_000];
const DUPLICATES: [u32; 2] = [0, 10_000];
const MTUS: [u16; 3] = [1_280, 1_500, 9_000];
const BUFFERS: [usize; 2] = [64 << 10, 1 << 20];

/// One link and what stands at its ends.
#[derive(Clone, Copy, Debug)]
struct Cell {
    rtt: Duration,
    loss: u32,
    reorder: u32,
    duplicate: u32,
    mtu: u16,
    buffer: usize,
}

impl Cell {
    fn settings(&self) -> Settings {
        let bdp = RATE / 8 * self.rtt.as_micros() as u64 / 1_000_000;
        Settings::both(Impairment {
            delay: self.rtt / 2,
            loss: self.loss,
            reorder: self.reorder,
            duplicate: self.duplicate,
            rate: RATE,
            queue: (2 * bdp).max(256 << 10),
            mtu: self.mtu,
            ..Impairment::default()
        })
    }

    fn endpoint(&self, seed: u64) -> Endpoint {
        let (mtu, send_buffer, receive_buffer) = (self.mtu, self.buffer, self.buffer);
        let defaults = EndpointConfig::new([seed, 1]);
        Endpoint::new(EndpointConfig { mtu, send_buffer, receive_buffer, ..defaults })
    }
}

/// Two endpoints and the link between them.
struct Pair {
    now: Instant,
    ends: [Endpoint; 2],
    wire: Wire,
    packet: Packet,
}

impl Pair {
    fn new(cell: &Cell, seed: u64) -> Self {
        let ends = [cell.endpoint(1), cell.endpoint(2)];
        let (now, wire) = (Instant::from_secs(1), Wire::new(cell.settings(), seed));
        Self { now, ends, wire, packet: Packet::with_capacity(0) }
    }

    /// Sends what there is to send, then goes on to the next event and lets it happen.
    fn step(&mut self) {
        let [client, server] = &mut self.ends;
        for (end, way) in [(client, Way::To), (server, Way::From)] {
            while end.poll_transmit(self.now, &mut self.packet) {
                self.wire.put(way, self.now, &self.packet);
            }
        }
        let timeouts = self.ends.iter().filter_map(Endpoint::poll_timeout);
        let next = self.wire.poll_timeout().into_iter().chain(timeouts).min();
        self.now = self.now.max(next.unwrap());
        let [client, server] = &mut self.ends;
        for (end, way) in [(server, Way::To), (client, Way::From)] {
            while let Some((_, packet)) = self.wire.take(way, self.now) {
                let headers = Headers::parse(&packet).unwrap();
                end.handle_packet(self.now, &packet, &headers, 0);
            }
            end.handle_timeout(self.now);
        }
    }

    fn connect(&mut self) -> [ConnectionId; 2] {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (client, server) = (address("10.0.0.1:0"), address("10.0.0.2:443"));
        let id = self.ends[0].connect(self.now, client, server).unwrap();
        for _ in 0..EVENTS {
            if let Some(accepted) = self.ends[1].accept() {
                return [id, accepted.id];
            }
            self.step();
        }
        panic!("no connection");
    }
}

/// The goodput over the link of `cell` in Mbit/s.
fn goodput(cell: &Cell, bytes: &[u8]) -> f64 {
    let runs = SEEDS.map(|seed| transfer(cell, seed, bytes));
    let total = |f: fn(&(usize, Duration)) -> f64| runs.iter().map(f).sum::<f64>();
    total(|run| run.0 as f64) * 8.0 / total(|run| run.1.as_secs_f64()) / 1e6
}

/// Sends `bytes`; how many arrived, and in what time from the first SYN on.
fn transfer(cell: &Cell, seed: u64, bytes: &[u8]) -> (usize, Duration) {
    let mut pair = Pair::new(cell, seed);
    let start = pair.now;
    let [client, server] = pair.connect();
    let (mut written, mut read) = (0, 0);
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..EVENTS {
        while written < bytes.len() {
            match pair.ends[0].send(client, &bytes[written..]) {
                Ok(sent) => written += sent,
                Err(StreamError::WouldBlock) => break,
                Err(error) => panic!("{cell:?}: after {written} bytes written: {error}"),
            }
        }
        match pair.ends[1].recv(server, &mut buffer) {
            Ok(count) => {
                assert!(bytes[read..].starts_with(&buffer[..count]), "{cell:?}: at {read}");
                read += count;
                continue;
            }
            Err(StreamError::WouldBlock) => {}
            Err(error) => panic!("{cell:?}: after {read} bytes read: {error}"),
        }
        let elapsed = pair.now.saturating_since(start);
        if read == bytes.len() || elapsed >= TIME {
            return (read, elapsed);
        }
        pair.step();
    }
    panic!("{cell:?}: no end after {EVENTS} events");
}

/// A line for each link, a column for each MTU and buffer.
fn table() -> String {
    let bytes = Pattern::bytes(5, LENGTH);
    let mut text = String::from(
        "Goodput in Mbit/s of 2 MB, or of 20 s, over 100 Mbit/s, queue of twice the\n\
         bandwidth-delay product and at least 256 KiB; loss, reordering and duplicates\n\
         both ways. Columns: MTU and, below it, buffers in KiB.\n\n",
    );
    let mut line = |front: [String; 4], cells: Vec<String>| {
        let [rtt, loss, reorder, duplicate] = front;
        let _ = write!(text, "{rtt:>6} {loss:>6} {reorder:>7} {duplicate:>9} |");
        for cell in cells {
            let _ = write!(text, " {cell:>6}");
        }
        text.push('\n');
    };
    let columns = || MTUS.iter().flat_map(|mtu| BUFFERS.iter().map(move |buffer| (*mtu, *buffer)));
    line([""; 4].map(str::to_owned), columns().map(|(mtu, _)| mtu.to_string()).collect());
    let header = ["RTT ms", "loss %", "reorder", "duplicate"].map(str::to_owned);
    line(header, columns().map(|(_, buffer)| (buffer >> 10).to_string()).collect());
    for (rtt, loss) in RTTS.iter().flat_map(|rtt| LOSSES.iter().map(move |loss| (*rtt, *loss))) {
        for (reorder, duplicate) in
            REORDERS.iter().flat_map(|reorder| DUPLICATES.iter().map(move |dup| (*reorder, *dup)))
        {
            let figures = columns().map(|(mtu, buffer)| {
                let rtt = Duration::from_millis(rtt);
                let cell = Cell { rtt, loss, reorder, duplicate, mtu, buffer };
                format!("{:.2}", goodput(&cell, &bytes))
            });
            let percent = |millionths: u32| (f64::from(millionths) / 1e4).to_string();
            let front = [rtt.to_string(), percent(loss), percent(reorder), percent(duplicate)];
            line(front, figures.collect());
        }
    }
    text
}

#[test]
fn goodput_over_every_kind_of_link_is_as_it_was() {
    let _watchdog = Watchdog::new("the matrix", Duration::from_mins(5));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tcp_matrix.txt");
    let table = table();
    if std::env::var_os("BALUN_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let changed: Vec<_> = table.lines().filter(|line| !kept.lines().any(|k| k == *line)).collect();
    assert!(
        kept == table,
        "goodput has changed; if on purpose: BALUN_BLESS=1 cargo test -p tests --test tcp_matrix\n{}",
        changed.join("\n")
    );
}
