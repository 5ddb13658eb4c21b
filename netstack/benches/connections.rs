//! What an idle connection costs, and what a packet costs with many beside it.
//!
//! `cargo bench -p netstack --bench connections`

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up has nothing to say")]
#![expect(clippy::disallowed_methods, reason = "it measures time and memory")]
#![expect(clippy::print_stdout, reason = "what it is for")]

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant as Clock};

use netstack::tcp::{ConnectionId, Endpoint, EndpointConfig};
use netstack::wire::Headers;
use netstack::{Instant, Packet};

const MANY: usize = 10_000;
const FEW: usize = 10;
/// Requests of a burst, and bursts; the median of the bursts counts.
const BURST: usize = 10_000;
const BURSTS: usize = 15;
const REQUEST: &[u8] = &[b'q'; 200];
const ANSWER: &[u8] = &[b'a'; 300];

/// Two endpoints with a cable between them.
struct Pair {
    now: Instant,
    client: Endpoint,
    server: Endpoint,
    /// Connections as each names them.
    connections: Vec<(ConnectionId, ConnectionId)>,
    packet: Packet,
}

impl Pair {
    fn new() -> Self {
        let end = |seed| Endpoint::new(EndpointConfig::new([seed, 1]));
        Self {
            now: Instant::from_secs(1),
            client: end(1),
            server: end(2),
            connections: Vec::new(),
            packet: Packet::with_capacity(2_048),
        }
    }

    /// Opens connections until there are `count`, each with a request answered.
    fn open(&mut self, count: usize) {
        let server: SocketAddr = "10.0.0.2:80".parse().expect("an address");
        while self.connections.len() < count {
            let host = (self.connections.len() / 20_000) as u8 + 1;
            let local = SocketAddr::from(([10, 0, 1, host], 0));
            let id = self.client.connect(self.now, local, server).expect("room");
            self.settle();
            let accepted = self.server.accept().expect("a connection");
            self.connections.push((id, accepted.id));
            self.converse(self.connections.len() - 1);
        }
    }

    /// A request and its answer on one connection.
    fn converse(&mut self, index: usize) {
        let (client, server) = self.connections[index];
        let mut buffer = [0; 512];
        self.client.send(client, REQUEST).expect("room");
        self.settle();
        self.server.recv(server, &mut buffer).expect("the request");
        self.server.send(server, ANSWER).expect("room");
        self.settle();
        self.client.recv(client, &mut buffer).expect("the answer");
    }

    /// Carries packets until neither end has any.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for to_server in [true, false] {
                let (from, to) = if to_server {
                    (&mut self.client, &mut self.server)
                } else {
                    (&mut self.server, &mut self.client)
                };
                while from.poll_transmit(self.now, &mut self.packet) {
                    let headers = Headers::parse(&self.packet).expect("a packet of ours");
                    to.handle_packet(self.now, &self.packet, &headers, 0);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Lets `time` pass.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let deadlines = [self.client.poll_timeout(), self.server.poll_timeout()];
            let Some(next) = deadlines.into_iter().flatten().min().filter(|&at| at <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.client.handle_timeout(self.now);
            self.server.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
    }

    /// Time of a request and its answer, in nanoseconds, on the `busy` first connections in turn.
    fn burst(&mut self, busy: usize) -> u128 {
        let start = Clock::now();
        for request in 0..BURST {
            // A stride that visits all, in no order that a cache would like.
            self.converse(request * 7_919 % busy);
            self.now += Duration::from_micros(10);
        }
        start.elapsed().as_nanos() / BURST as u128
    }
}

/// Bytes of memory that this process has touched.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4096
}

fn main() {
    let (mut few, mut many) = (Pair::new(), Pair::new());
    few.open(FEW);
    let before = resident();
    many.open(MANY);
    many.pass(Duration::from_mins(1));
    // Both ends of each are here.
    let each = (resident() - before) / (2 * MANY as u64);
    let buffers = many.client.stats().buffer_memory + many.server.stats().buffer_memory;
    println!(
        "an idle connection among {MANY}: {each} bytes, at most 4,096; buffers hold {buffers}"
    );

    compare(&mut few, &mut many, FEW, "of ten that talk");
    compare(&mut few, &mut many, MANY, "of all, in turn, out of every cache");
}

/// Measures with few connections and with many, `busy` of which talk.
fn compare(few: &mut Pair, many: &mut Pair, busy: usize, what: &str) {
    let (mut costs, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..BURSTS {
        let (a, b) = (few.burst(FEW), many.burst(busy));
        costs.push((a, b));
        ratios.push(b as f64 / a as f64);
    }
    costs.sort_unstable();
    ratios.sort_by(f64::total_cmp);
    let ((a, b), ratio) = (costs[BURSTS / 2], ratios[BURSTS / 2]);
    println!("a request and its answer {what}: {a} ns among {FEW}, {b} ns among {MANY}");
    println!("    the ratio, median of {BURSTS}: {ratio:.2}, at most 1.20");
}
