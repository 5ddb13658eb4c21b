//! A connection as a script: lines that say what the peer sends, what must leave, and when.
//!
//! | line | meaning |
//! |---|---|
//! | `< . seq=1 ack=1 len=9` | the peer sends a segment, in the words of a packet line |
//! | `< too-big mtu=900 seq=1` | a router complains of our segment with that number |
//! | `> . seq=1 len=9` | this leaves now; what it names must be so, without `len` it has no payload |
//! | `+20ms > …` | it is the next to leave, and does so then (give or take [`LATE`]) |
//! | `+20ms < …`, `+20ms` | so much time passes, in which nothing leaves |
//! | `~20ms` | so much time passes, whatever leaves |
//! | `send 9`, `recv 9`, `shutdown`, `close` | the application does that, in full |
//! | `drop all` | what is to leave now is not looked at |
//! | `is state=open window=10000` | what is known of the sender, or `buffer` of the receiver |
//!
//! Numbers are relative: sequence numbers to the two SYNs, time stamps to our SYN's and to zero for
//! the peer's. Absolutely they are chosen so that both streams wrap early. Every segment that leaves
//! must be named; `#` begins a comment.

use super::super::*;
use crate::packet::Packet;
use crate::tcp::timestamps::Stamp;
use crate::wire::text;
use crate::wire::{Headers, Protocol, Tcp, Tuple, checksum};
use std::collections::VecDeque;
use std::fmt::Write as _;

/// The peer's SYN.
const IRS: u32 = u32::MAX - 3_500;
/// Ours; the time at which the script begins makes it so.
const ISN: u32 = u32::MAX - 7_500;
/// What a timer may be late by.
const LATE: Duration = ms(3);

pub(super) struct Script {
    pub(super) endpoint: Endpoint,
    pub(super) now: Instant,
    pub(super) id: Option<ConnectionId>,
    ends: [&'static str; 2],
    /// Our clock when the script began.
    clock: Option<u32>,
    sent: VecDeque<Sent>,
}

/// A segment that has left, in relative numbers.
struct Sent {
    at: Instant,
    words: Vec<(String, String)>,
}

impl Script {
    /// One whose peer is at an IPv4 address.
    pub(super) fn new(config: EndpointConfig) -> Self {
        Self::between(["10.0.0.1:80", "10.0.0.2:5000"], config)
    }

    pub(super) fn v6(config: EndpointConfig) -> Self {
        Self::between(["[fd00::1]:80", "[fd00::2]:5000"], config)
    }

    /// An established connection, accepted: the peer's SYN had these options, and the round trip was
    /// 20 ms.
    pub(super) fn open(options: &str, config: EndpointConfig) -> Self {
        let mut script = Self::new(config);
        script.handshake(options);
        script
    }

    pub(super) fn handshake(&mut self, options: &str) {
        let (syn, ack) = if options.contains("ts=") {
            let ack = options.split(' ').find(|word| word.starts_with("ts=")).unwrap();
            (options.to_owned(), format!("{}/0", ack.split('/').next().unwrap()))
        } else {
            (options.to_owned(), String::new())
        };
        self.run(&format!(
            "< S seq=0 {syn}
             > S. seq=0 ack=1
             +20ms < . seq=1 ack=1 {ack}"
        ));
        self.id = self.endpoint.accept().map(|accepted| accepted.id);
        assert!(self.id.is_some());
    }

    fn between(ends: [&'static str; 2], config: EndpointConfig) -> Self {
        let (local, remote) = (addr(ends[0]), addr(ends[1]));
        let tuple = Tuple {
            protocol: Protocol::Tcp,
            src: remote.ip().into(),
            dst: local.ip().into(),
            src_port: remote.port(),
            dst_port: local.port(),
        };
        let begin = at(1_000);
        let ticks = ISN.wrapping_sub(isn::Secret::new(config.seed).isn(begin, &tuple));
        let now = begin + Duration::from_micros(4 * u64::from(ticks));
        let endpoint = Endpoint::new(config);
        Self { endpoint, now, id: None, ends, clock: None, sent: VecDeque::new() }
    }

    pub(super) fn run(&mut self, script: &str) {
        for line in script.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            self.line(line).unwrap_or_else(|why| {
                let left: String = self.sent.iter().fold(String::new(), |mut text, sent| {
                    let _ = writeln!(text, "  {} {}", sent.at, print(&sent.words));
                    text
                });
                panic!("`{line}`: {why}\nin\n{script}\nleft at {}:\n{left}", self.now);
            });
        }
        if let Some(sent) = self.sent.front() {
            panic!("not in the script: {}\n{script}", print(&sent.words));
        }
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(time) = first.strip_prefix('+') {
            let time = duration(time);
            if let Some(expected) = rest.strip_prefix("> ") {
                return self.expect_after(time, expected);
            }
            self.nothing_left()?;
            self.pass(time, true);
            self.nothing_left()?;
            return if rest.is_empty() { Ok(()) } else { self.line(rest) };
        }
        if let Some(time) = first.strip_prefix('~') {
            self.pass(duration(time), false);
            self.sent.clear();
            return Ok(());
        }
        if first == ">" {
            let sent = self.sent.pop_front().ok_or("nothing leaves")?;
            return compare(&sent.words, rest);
        }
        if first == "is" {
            return self.check(rest);
        }
        if line == "drop all" {
            self.sent.clear();
            return Ok(());
        }
        self.nothing_left()?;
        match first {
            "<" => self.put(rest),
            _ => self.act(first, rest.parse().unwrap_or(0))?,
        }
        self.collect();
        Ok(())
    }

    fn nothing_left(&self) -> Result<(), String> {
        self.sent
            .front()
            .map_or(Ok(()), |sent| Err(format!("leaves first: {}", print(&sent.words))))
    }

    /// The next segment to leave is `expected`, `time` from now.
    fn expect_after(&mut self, time: Duration, expected: &str) -> Result<(), String> {
        self.nothing_left()?;
        let start = self.now;
        self.pass(time + LATE, true);
        let sent = self.sent.pop_front().ok_or("nothing leaves")?;
        let took = sent.at - start;
        if took < time {
            return Err(format!("too early, after {took:?}: {}", print(&sent.words)));
        }
        compare(&sent.words, expected)
    }

    fn act(&mut self, what: &str, count: usize) -> Result<(), String> {
        let id = self.id.ok_or("no connection")?;
        let done = match what {
            "send" => {
                let bytes: Vec<_> = (0..count).map(|at| (at % 251) as u8).collect();
                self.endpoint.send(id, &bytes)
            }
            "recv" => self.endpoint.recv(id, &mut vec![0; count]),
            "shutdown" => self.endpoint.shutdown(id).map(|()| 0),
            "close" => {
                self.endpoint.close(id);
                Ok(0)
            }
            _ => return Err("no such line".to_owned()),
        };
        match done {
            Ok(done) if done == count => Ok(()),
            done => Err(format!("{done:?}")),
        }
    }

    /// Delivers a line from the peer, or a router.
    fn put(&mut self, words: &str) {
        let [local, remote] = self.ends;
        let line = if words.starts_with("too-big") {
            let (what, seq) = words.split_once(" seq=").expect("the segment");
            let seq = ISN.wrapping_add(offset(seq));
            let (us, router) = (addr(local).ip(), addr(remote).ip());
            format!("icmp {router} > {us} {what} about=(tcp {local} > {remote} . seq={seq} len=99)")
        } else {
            let words: Vec<_> = words.split(' ').map(|word| self.absolute(word)).collect();
            format!("tcp {remote} > {local} {}", words.join(" "))
        };
        let packet = text::packet(&line).unwrap_or_else(|e| panic!("{}", e.underline(&line)));
        let headers = Headers::parse(&packet).expect("a packet");
        self.endpoint.handle_packet(self.now, &packet, &headers, 0);
    }

    fn absolute(&self, word: &str) -> String {
        let plus = |base: u32, text: &str| base.wrapping_add(offset(text));
        match word.split_once('=') {
            Some(("seq", value)) => format!("seq={}", plus(IRS, value)),
            Some(("ack", value)) => format!("ack={}", plus(ISN, value)),
            Some(("sack", value)) => {
                let edge = |text| plus(ISN, text).to_string();
                let block = |(from, to)| format!("{}-{}", edge(from), edge(to));
                let blocks = value.split(',').filter_map(|block| block.split_once('-'));
                format!("sack={}", blocks.map(block).collect::<Vec<_>>().join(","))
            }
            Some(("ts", value)) => {
                let (value, echo) = value.split_once('/').expect("two values");
                let echo = self.clock.map_or(0, |clock| plus(clock, echo));
                format!("ts={value}/{echo}")
            }
            _ => word.to_owned(),
        }
    }

    /// Lets time pass; with `stop`, what leaves ends it unless it is over.
    fn pass(&mut self, time: Duration, stop: bool) {
        let end = self.now + time;
        while let Some(next) = self.endpoint.poll_timeout().filter(|next| *next <= end) {
            assert!(next > self.endpoint.now() || self.endpoint.wants_transmit(), "a busy loop");
            self.now = self.now.max(next);
            self.endpoint.handle_timeout(self.now);
            self.collect();
            if stop && !self.sent.is_empty() {
                return;
            }
        }
        self.now = end;
    }

    fn collect(&mut self) {
        let mut packet = Packet::with_capacity(0);
        while self.endpoint.poll_transmit(self.now, &mut packet) {
            let gso = packet.offload.gso.map(|gso| gso.size);
            checksum::complete(&mut packet);
            let headers = Headers::parse(&packet).expect("a packet");
            let tcp = Tcp::new_checked(&packet.data()[headers.l4()..]).expect("a segment");
            let words = self.words(&tcp, gso);
            self.sent.push_back(Sent { at: self.now, words });
        }
    }

    /// A segment of ours in words with relative numbers.
    fn words(&mut self, tcp: &Tcp<&[u8]>, gso: Option<u16>) -> Vec<(String, String)> {
        let mut words = vec![
            (String::new(), tcp.flags().to_string().replace('P', "")),
            ("seq".to_owned(), tcp.seq().wrapping_sub(ISN).cast_signed().to_string()),
            ("ack".to_owned(), tcp.ack().wrapping_sub(IRS).cast_signed().to_string()),
            ("len".to_owned(), tcp.payload().len().to_string()),
            ("win".to_owned(), tcp.window().to_string()),
        ];
        let mut word = |name: &str, value: String| words.push((name.to_owned(), value));
        if let Some(gso) = gso {
            word("gso", gso.to_string());
        }
        if let Some(stamp) = Stamp::read(tcp) {
            let clock = *self.clock.get_or_insert(stamp.value);
            word("ts", format!("{}/{}", stamp.value.wrapping_sub(clock), stamp.echo));
        }
        for option in tcp.options() {
            match (option.kind, option.data) {
                (2, &[high, low]) => word("mss", u16::from_be_bytes([high, low]).to_string()),
                (3, &[shift]) => word("ws", shift.to_string()),
                (4, _) => word("sackok", String::new()),
                (5, data) => {
                    let edges = data.chunks(4).map(|edge| {
                        let edge = u32::from_be_bytes(edge.try_into().expect("four bytes"));
                        edge.wrapping_sub(IRS).to_string()
                    });
                    let edges: Vec<_> = edges.collect();
                    let blocks: Vec<_> = edges.chunks(2).map(|edges| edges.join("-")).collect();
                    word("sack", blocks.join(","));
                }
                _ => {}
            }
        }
        words
    }

    fn check(&self, expected: &str) -> Result<(), String> {
        let id = self.id.ok_or("no connection")?;
        let info = self.endpoint.info(id).ok_or("it is over")?;
        let (sender, receiver) = (info.sender.ok_or("no sender")?, info.receiver);
        let buffer = receiver.map_or(0, |receiver| receiver.buffer);
        for (name, value) in expected.split(' ').filter_map(|word| word.split_once('=')) {
            let is = match name {
                "state" => sender.state.to_owned(),
                "window" => sender.window.to_string(),
                "threshold" => sender.slow_start_threshold.unwrap_or(u64::MAX).to_string(),
                "flight" => sender.in_flight.to_string(),
                "lost" => sender.lost.to_string(),
                "undone" => sender.undone.to_string(),
                "timeouts" => sender.timeouts.to_string(),
                "again" => sender.retransmitted.to_string(),
                "mss" => sender.mss.to_string(),
                "queued" => sender.queued.to_string(),
                "rto" => format!("{}ms", sender.rto.as_millis()),
                "srtt" => format!("{}ms", sender.smoothed_rtt.unwrap_or_default().as_millis()),
                "reordering" => sender.reordering_seen.to_string(),
                "buffer" => buffer.to_string(),
                _ => return Err(format!("{name} is not known")),
            };
            if is != value {
                return Err(format!("{name} is {is}"));
            }
        }
        Ok(())
    }
}

/// Everything that `expected` names is so.
fn compare(sent: &[(String, String)], expected: &str) -> Result<(), String> {
    let mut has_len = false;
    for word in expected.split(' ') {
        let (name, value) = match word.split_once('=') {
            Some(pair) => pair,
            None if word.starts_with("no-") => {
                if sent.iter().any(|(name, _)| *name == word[3..]) {
                    return Err(format!("has {}: {}", &word[3..], print(sent)));
                }
                continue;
            }
            None if word == "sackok" => (word, ""),
            None => ("", word),
        };
        has_len |= name == "len";
        if !sent.iter().any(|(n, v)| n == name && v == value) {
            return Err(format!("`{word}` is not so: {}", print(sent)));
        }
    }
    if !has_len && !sent.iter().any(|(name, value)| name == "len" && value == "0") {
        return Err(format!("has a payload: {}", print(sent)));
    }
    Ok(())
}

fn print(words: &[(String, String)]) -> String {
    let word = |(name, value): &(String, String)| match &name[..] {
        "" => value.clone(),
        name => format!("{name}={value}"),
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A number, be it less than zero, modulo 2^32.
fn offset(text: &str) -> u32 {
    let number: i64 = text.parse().expect("a number");
    number.rem_euclid(1 << 32) as u32
}

/// `20ms`, `3s` or `500us`.
fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let number: u64 = digits.parse().expect("a number");
    match &text[digits.len()..] {
        "us" => Duration::from_micros(number),
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        unit => panic!("{unit}: no unit of time"),
    }
}
