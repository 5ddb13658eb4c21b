//! A link in virtual time with a sender at one end and a plain receiver at the other.
//!
//! The receiver is the reference: a map of the ranges that it holds, acknowledgments as RFC 5681 section
//! 4.2 wants them, four SACK blocks with the newest first, DSACK. It checks every byte.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::time::Duration;

use crate::tcp::buffer::Pool;
use crate::tcp::congestion::Algorithm;
use crate::tcp::recovery::{Ack, RTO_MIN, Sender, SenderConfig, SenderInfo, Transmit};
use crate::time::Instant;

/// The byte of a stream at an offset.
pub(super) fn byte_at(offset: u64) -> u8 {
    (offset ^ (offset >> 8) ^ (offset >> 16)) as u8
}

/// A generator of reproducible randomness (`SplitMix64`).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True in `per_million` of a million cases.
    fn hits(&mut self, per_million: u32) -> bool {
        per_million > 0 && self.next() % 1_000_000 < u64::from(per_million)
    }
}

/// What is simulated.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) algorithm: Algorithm,
    /// Bytes a second of the bottleneck.
    pub(super) rate: u64,
    pub(super) rtt: Duration,
    /// Bytes that the bottleneck queues; 2 * rate * rtt, at least 64 KiB, if zero.
    pub(super) queue: u64,
    /// Of a million segments, or acknowledgments.
    pub(super) loss: u32,
    pub(super) ack_loss: u32,
    pub(super) duplicate: u32,
    pub(super) reorder: u32,
    /// What a reordered segment is late by, at most.
    pub(super) late: Duration,
    pub(super) mss: u32,
    pub(super) bytes: u64,
    /// The stream is messages of this size, each sent when the one before has arrived; zero for no pause.
    pub(super) message: u64,
    pub(super) max_time: Duration,
    pub(super) buffer: usize,
    pub(super) sack: bool,
    pub(super) dsack: bool,
    pub(super) time_stamps: bool,
    /// Room of the receiver.
    pub(super) receive_buffer: u64,
    /// The receiver's application reads this much each `read_every`; all at once if zero.
    pub(super) read_each: u64,
    pub(super) read_every: Duration,
    /// Timers fire at multiples of this.
    pub(super) tick: Duration,
    /// The receiver drops its out-of-order data once, at this time.
    pub(super) renege_at: Option<Instant>,
    /// Segments above this size are lost from this time on.
    pub(super) shrinks: Option<(Instant, u32)>,
    pub(super) user_timeout: Duration,
    pub(super) seed: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::NewReno,
            rate: 12_500_000,
            rtt: Duration::from_millis(20),
            queue: 0,
            loss: 0,
            ack_loss: 0,
            duplicate: 0,
            reorder: 0,
            late: Duration::ZERO,
            mss: 1_448,
            bytes: 5_000_000,
            message: 0,
            max_time: Duration::from_mins(10),
            buffer: 4 << 20,
            sack: true,
            dsack: true,
            time_stamps: false,
            receive_buffer: 4 << 20,
            read_each: 0,
            read_every: Duration::from_millis(1),
            tick: Duration::ZERO,
            renege_at: None,
            shrinks: None,
            user_timeout: Duration::from_mins(2),
            seed: 1,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) elapsed: Duration,
    /// Bytes that arrived in order.
    pub(super) delivered: u64,
    /// Segments that left, that the link dropped at random, that the queue dropped, that came twice.
    pub(super) segments: u64,
    pub(super) lost: u64,
    pub(super) overflowed: u64,
    pub(super) received_twice: u64,
    pub(super) finished: bool,
    pub(super) info: SenderInfo,
    pub(super) polls: u64,
    /// How long each message took to arrive.
    pub(super) latencies: Vec<Duration>,
}

impl Outcome {
    pub(super) fn mbit_per_second(&self) -> f64 {
        self.delivered as f64 * 8.0 / self.elapsed.as_micros().max(1) as f64
    }
}

/// The reference receiver.
#[derive(Debug, Default)]
struct Peer {
    next: u64,
    /// Start to end, disjoint and not adjacent.
    held: BTreeMap<u64, u64>,
    /// Newest first, by a byte in it.
    recent: Vec<u64>,
    duplicate: Option<Range<u64>>,
    fin_at: Option<u64>,
    unread: u64,
    unacked_segments: u32,
    echo: u64,
    edge: u64,
}

impl Peer {
    /// True if an acknowledgment is due at once.
    fn receive(&mut self, range: Range<u64>, limit: u64) -> bool {
        if range.end > self.next - self.unread + limit {
            return true;
        }
        let before = self.next;
        let had_hole = !self.held.is_empty();
        let holds = |peer: &Self, at: u64| {
            at < peer.next || peer.held.range(..=at).next_back().is_some_and(|(_, end)| at < *end)
        };
        if holds(self, range.start) {
            let end = if range.start < self.next {
                self.next
            } else {
                *self.held.range(..=range.start).next_back().unwrap().1
            };
            self.duplicate = Some(range.start..end.min(range.end));
        }
        let (mut start, mut end) = (range.start, range.end);
        let joined: Vec<_> = self
            .held
            .iter()
            .filter(|(s, e)| **s <= end && **e >= start)
            .map(|(s, e)| (*s, *e))
            .collect();
        for (s, e) in joined {
            self.held.remove(&s);
            start = start.min(s);
            end = end.max(e);
        }
        if start <= self.next {
            self.next = self.next.max(end);
        } else {
            self.held.insert(start, end);
            self.recent.retain(|at| !(start..end).contains(at));
            self.recent.insert(0, range.start);
            self.recent.truncate(8);
        }
        self.unread += self.next - before;
        self.next == before || had_hole || self.duplicate.is_some()
    }

    fn blocks(&mut self, scenario: &Scenario) -> Vec<Range<u64>> {
        let mut blocks: Vec<_> =
            self.duplicate.take().filter(|_| scenario.dsack).into_iter().collect();
        for at in &self.recent {
            let held = self.held.range(..=*at).next_back().filter(|(_, end)| at < *end);
            if let Some((start, end)) = held
                && !blocks.contains(&(*start..*end))
            {
                blocks.push(*start..*end);
            }
        }
        blocks.truncate(if scenario.time_stamps { 3 } else { 4 });
        blocks
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Segment { start: u64, end: u64, stamp: u64, probe: bool },
    Acknowledgment { offset: u64, window: u32, blocks: Vec<(u64, u64)>, echo: u64, sequence: u64 },
    DelayedAck(u64),
    Read,
    Renege,
}

/// Both ends and what is between.
pub(super) struct Link {
    pub(super) scenario: Scenario,
    pub(super) now: Instant,
    pub(super) sender: Sender,
    pub(super) pool: Pool,
    peer: Peer,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    order: u64,
    dice: Dice,
    /// When the bottleneck is free.
    free_at: u64,
    written: u64,
    message_began: Instant,
    acks_sent: u64,
    pub(super) outcome: Outcome,
    pub(super) transmits: Vec<(Instant, Transmit)>,
    pub(super) record: bool,
}

impl Link {
    pub(super) fn new(scenario: Scenario) -> Self {
        let now = Instant::from_secs(1);
        let sender = Sender::new(
            SenderConfig {
                mss: scenario.mss,
                window: scenario.receive_buffer.min(u64::from(u32::MAX)) as u32,
                sack: scenario.sack,
                handshake_rtt: Some(scenario.rtt),
                max_buffer: scenario.buffer,
                rto_min: RTO_MIN,
                user_timeout: scenario.user_timeout,
                nagle: false,
                congestion: scenario.algorithm.start(now, scenario.mss, scenario.seed),
            },
            now,
        );
        let outcome = Outcome {
            elapsed: Duration::ZERO,
            delivered: 0,
            segments: 0,
            lost: 0,
            overflowed: 0,
            received_twice: 0,
            finished: false,
            info: sender.info(),
            polls: 0,
            latencies: Vec::new(),
        };
        let mut link = Self {
            now,
            sender,
            pool: Pool::new(256 << 20),
            peer: Peer { edge: scenario.receive_buffer, ..Peer::default() },
            events: BinaryHeap::new(),
            order: 0,
            dice: Dice(scenario.seed),
            free_at: 0,
            written: 0,
            message_began: now,
            acks_sent: 0,
            outcome,
            transmits: Vec::new(),
            record: false,
            scenario,
        };
        if let Some(at) = link.scenario.renege_at {
            link.schedule(at, Event::Renege);
        }
        if link.scenario.read_each > 0 {
            link.schedule(now + link.scenario.read_every, Event::Read);
        }
        link
    }

    /// Sends all of the scenario's bytes and a FIN, or stops when its time is over.
    pub(super) fn run(mut self) -> Outcome {
        let stop = self.now + self.scenario.max_time;
        let began = self.now;
        while self.now < stop && !self.sender.fin_acknowledged {
            self.write();
            self.drain();
            if self.sender.blackhole_suspected()
                && let Some((_, limit)) = self.scenario.shrinks
            {
                self.sender.set_mss(self.now, limit);
                self.drain();
            }
            if !self.step(stop) {
                break;
            }
        }
        self.outcome.elapsed = self.now - began;
        self.outcome.delivered = self.peer.next.min(self.scenario.bytes);
        self.outcome.finished = self.sender.fin_acknowledged;
        self.outcome.info = self.sender.info();
        if self.outcome.finished {
            assert_eq!(self.peer.next, self.scenario.bytes + 1, "all and the FIN arrived");
            assert_eq!(self.pool.used(), 0, "all memory went back");
        }
        self.outcome
    }

    pub(super) fn write(&mut self) {
        while self.written < self.scenario.bytes {
            let message = self.scenario.message;
            if message > 0 && self.written.is_multiple_of(message) {
                if self.peer.next < self.written {
                    return;
                }
                self.message_began = self.now;
            }
            let whole = if message > 0 { message - self.written % message } else { 65_536 };
            let left = self.scenario.bytes - self.written;
            let len = left.min(whole).min(self.sender.room() as u64);
            if len == 0 {
                return;
            }
            let bytes: Vec<_> = (self.written..self.written + len).map(byte_at).collect();
            let taken = self.sender.write(self.now, &mut self.pool, &bytes);
            self.written += taken as u64;
            if taken == 0 {
                return;
            }
        }
        self.sender.close(self.now);
    }

    pub(super) fn drain(&mut self) {
        for polls in 0.. {
            assert!(polls < 100_000, "a sender that never stops");
            self.outcome.polls += 1;
            let Some(transmit) = self.sender.poll_transmit(self.now, 65_000) else { break };
            self.sender.board.check();
            if self.record {
                self.transmits.push((self.now, transmit));
            }
            self.send(&transmit);
        }
    }

    /// Goes to the next event; false if there is none.
    pub(super) fn step(&mut self, stop: Instant) -> bool {
        let timer = self.sender.poll_timeout().map(|at| self.ticked(at));
        let event = self.events.peek().map(|Reverse((at, ..))| *at);
        let Some(at) = timer.into_iter().chain(event).min() else { return false };
        if at > stop {
            self.now = stop;
            return true;
        }
        self.now = self.now.max(at);
        assert!(!self.sender.gone(self.now), "given up at {}: {:#?}", self.now, self.sender);
        if timer.is_some_and(|timer| timer <= self.now) {
            self.sender.on_timeout(self.now);
            self.sender.board.check();
        }
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= self.now
            && let Some(Reverse((_, _, event))) = self.events.pop()
        {
            self.handle(event);
        }
        true
    }

    fn ticked(&self, at: Instant) -> Instant {
        let tick = self.scenario.tick.as_micros() as u64;
        if tick == 0 { at } else { Instant::from_micros(at.as_micros().div_ceil(tick) * tick) }
    }

    fn schedule(&mut self, at: Instant, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    /// Cuts and puts on the wire.
    fn send(&mut self, transmit: &Transmit) {
        let mut payload = vec![0; transmit.len as usize];
        assert_eq!(self.sender.copy_payload(transmit.offset, &mut payload), payload.len());
        for (at, byte) in (transmit.offset..).zip(&payload) {
            assert_eq!(*byte, byte_at(at), "at {at}");
        }
        if transmit.len == 0 && !transmit.fin {
            self.put_on_wire(transmit.offset..transmit.offset, true);
            return;
        }
        let end = transmit.offset + u64::from(transmit.len);
        let mut start = transmit.offset;
        loop {
            let stop = (start + u64::from(transmit.mss)).min(end);
            let fin = transmit.fin && stop == end;
            if fin {
                self.peer.fin_at = Some(end);
            }
            self.put_on_wire(start..stop + u64::from(fin), false);
            start = stop;
            if start >= end {
                break;
            }
        }
    }

    fn put_on_wire(&mut self, range: Range<u64>, probe: bool) {
        let scenario = self.scenario.clone();
        self.outcome.segments += 1;
        let size = range.end.wrapping_sub(range.start);
        if self.dice.hits(scenario.loss) {
            self.outcome.lost += 1;
            return;
        }
        if scenario.shrinks.is_some_and(|(at, limit)| self.now >= at && size > u64::from(limit) + 1)
        {
            self.outcome.lost += 1;
            return;
        }
        let now = self.now.as_micros() * 1_000;
        let queue = if scenario.queue > 0 {
            scenario.queue
        } else {
            (2 * scenario.rate * scenario.rtt.as_micros() as u64 / 1_000_000).max(65_536)
        };
        let wire = (size + 66) * 1_000_000_000 / scenario.rate;
        if self.free_at.saturating_sub(now) > queue * 1_000_000_000 / scenario.rate {
            self.outcome.overflowed += 1;
            return;
        }
        self.free_at = self.free_at.max(now) + wire;
        let mut at = Instant::from_micros(self.free_at.div_ceil(1_000)) + scenario.rtt / 2;
        if self.dice.hits(scenario.reorder) {
            let late = scenario.late.as_micros() as u64;
            at += Duration::from_micros(self.dice.next() % late.max(1));
        }
        let copies = if self.dice.hits(scenario.duplicate) { 2 } else { 1 };
        let stamp = self.now.as_micros() / 1_000;
        for _ in 0..copies {
            let event = Event::Segment { start: range.start, end: range.end, stamp, probe };
            self.schedule(at, event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Segment { start, end, stamp, probe } => self.arrive(start..end, stamp, probe),
            Event::Acknowledgment { offset, window, blocks, echo, sequence } => {
                let blocks: Vec<_> = blocks.into_iter().map(|(start, end)| start..end).collect();
                let now_ms = self.now.as_micros() / 1_000;
                let age = Duration::from_micros(
                    self.now.as_micros() - (echo * 1_000).min(self.now.as_micros()),
                );
                let _ = now_ms;
                self.sender.on_ack(
                    self.now,
                    &mut self.pool,
                    &Ack {
                        offset,
                        window,
                        sequence,
                        sack: &blocks,
                        echo_age: self.scenario.time_stamps.then_some(age),
                        carries_data: false,
                    },
                );
                self.sender.board.check();
            }
            Event::DelayedAck(count) => {
                if self.acks_sent == count && self.peer.unacked_segments > 0 {
                    self.acknowledge();
                }
            }
            Event::Read => {
                let before = self.peer.unread;
                self.peer.unread = before.saturating_sub(self.scenario.read_each);
                let window = self.window();
                let shown = self.peer.edge.saturating_sub(self.peer.next);
                if window
                    >= shown + u64::from(self.scenario.mss).min(self.scenario.receive_buffer / 2)
                {
                    self.acknowledge();
                }
                self.schedule(self.now + self.scenario.read_every, Event::Read);
            }
            Event::Renege => {
                self.peer.held.clear();
                self.peer.recent.clear();
            }
        }
    }

    fn arrive(&mut self, range: Range<u64>, stamp: u64, probe: bool) {
        if probe {
            self.acknowledge();
            return;
        }
        let expected = range.start <= self.peer.next;
        let now = self.peer.receive(range, self.scenario.receive_buffer);
        if self.scenario.read_each == 0 {
            self.peer.unread = 0;
        }
        let message = self.scenario.message;
        let complete =
            message > 0 && self.peer.next == self.written && self.written.is_multiple_of(message);
        if complete && (self.outcome.latencies.len() as u64) * message < self.written {
            self.outcome.latencies.push(self.now - self.message_began);
        }
        self.outcome.received_twice += u64::from(self.peer.duplicate.is_some());
        if expected && self.peer.unacked_segments == 0 {
            self.peer.echo = stamp;
        }
        self.peer.unacked_segments += 1;
        if now || self.peer.unacked_segments >= 2 {
            self.acknowledge();
        } else {
            self.schedule(self.now + Duration::from_millis(40), Event::DelayedAck(self.acks_sent));
        }
    }

    fn window(&self) -> u64 {
        let free = self.scenario.receive_buffer.saturating_sub(self.peer.unread);
        let unit = self.scenario.mss as u64;
        let free = if free < unit.min(self.scenario.receive_buffer / 2) { 0 } else { free };
        free.max(self.peer.edge.saturating_sub(self.peer.next))
    }

    fn acknowledge(&mut self) {
        self.peer.unacked_segments = 0;
        self.acks_sent += 1;
        let window = self.window();
        self.peer.edge = self.peer.next + window;
        let blocks = if self.scenario.sack {
            let scenario = self.scenario.clone();
            self.peer.blocks(&scenario)
        } else {
            self.peer.duplicate = None;
            Vec::new()
        };
        if self.dice.hits(self.scenario.ack_loss) {
            return;
        }
        let event = Event::Acknowledgment {
            offset: self.peer.next,
            window: window as u32,
            blocks: blocks.into_iter().map(|block| (block.start, block.end)).collect(),
            echo: self.peer.echo,
            sequence: 0,
        };
        let at = self.now + self.scenario.rtt / 2;
        self.schedule(at, event);
    }
}
