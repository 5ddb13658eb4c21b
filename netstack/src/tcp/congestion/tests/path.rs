//! A simulated path in virtual time: one bottleneck with a queue, a delay, and loss at random.
//!
//! Nothing is reordered. Acknowledgments are not lost; they may come in bunches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::flow::Flow;
use crate::tcp::congestion::Algorithm;
use crate::time::Instant;

/// Data bytes of a segment. Headers are not simulated.
pub(super) const MSS: u64 = 1_448;

#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// Bits a second.
    pub(super) rate: u64,
    /// The round trip without a queue.
    pub(super) rtt: Duration,
    /// Bytes that the queue holds.
    pub(super) buffer: u64,
    /// Segments lost at random, in a million.
    pub(super) loss: u64,
    /// Acknowledgments wait for the next multiple of this time.
    pub(super) bunch: Duration,
}

impl Path {
    /// A path whose queue holds one product of rate and round trip.
    pub(super) fn new(mbit: u64, rtt_ms: u64) -> Self {
        let rate = mbit * 1_000_000;
        let rtt = Duration::from_millis(rtt_ms);
        Self { rate, rtt, buffer: rate / 8 * rtt_ms / 1_000, loss: 0, bunch: Duration::ZERO }
    }

    /// Bytes in flight that fill the path without a queue.
    pub(super) fn product(&self) -> u64 {
        (u128::from(self.rate) / 8 * self.rtt.as_micros() / 1_000_000) as u64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A segment's acknowledgment reaches its sender.
    Acknowledge { flow: usize, transmission: u64, offset: u64 },
    /// A sender may go on: pacing, new data, or its timer.
    Wake { flow: usize },
}

/// Flows that share a path.
pub(super) struct Network {
    pub(super) path: Path,
    pub(super) flows: Vec<Flow>,
    /// Nanoseconds.
    now: u64,
    busy_until: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    scheduled: u64,
    random: u64,
    /// Sum and number of the queueing delays met, in nanoseconds.
    queued: (u64, u64),
    /// Segments that found the queue full.
    pub(super) overflows: u64,
}

impl Network {
    pub(super) fn new(path: Path) -> Self {
        Self {
            path,
            flows: Vec::new(),
            now: 0,
            busy_until: 0,
            events: BinaryHeap::new(),
            scheduled: 0,
            random: 0x1234_5678_9abc_def1,
            queued: (0, 0),
            overflows: 0,
        }
    }

    pub(super) fn with(path: Path, algorithm: Algorithm) -> Self {
        let mut network = Self::new(path);
        network.add(algorithm);
        network
    }

    /// A bulk sender that starts now.
    pub(super) fn add(&mut self, algorithm: Algorithm) -> usize {
        let seed = 77 + self.flows.len() as u64;
        self.flows
            .push(Flow::new(self.instant(), algorithm.start(self.instant(), MSS as u32, seed)));
        let flow = self.flows.len() - 1;
        self.schedule(self.now, Event::Wake { flow });
        flow
    }

    pub(super) fn instant(&self) -> Instant {
        Instant::from_micros(self.now / 1_000)
    }

    pub(super) fn now(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// The application has written.
    pub(super) fn wake(&mut self, flow: usize) {
        self.schedule(self.now, Event::Wake { flow });
    }

    /// Runs until this time since the beginning.
    pub(super) fn run_until(&mut self, until: Duration) {
        self.run_while(until, |_| true);
    }

    /// Runs while `go_on` holds, but no further than `until`.
    pub(super) fn run_while(&mut self, until: Duration, go_on: impl Fn(&Self) -> bool) {
        let until = until.as_nanos() as u64;
        while go_on(self) {
            match self.events.peek() {
                Some(Reverse((at, ..))) if *at <= until => self.step(),
                _ => {
                    self.now = until;
                    return;
                }
            }
        }
    }

    /// Rates of all flows between now and `time` later, in Mbit/s.
    pub(super) fn rates_over(&mut self, time: Duration) -> Vec<u64> {
        let before: Vec<_> = self.flows.iter().map(Flow::acknowledged).collect();
        self.queued = (0, 0);
        self.run_until(self.now() + time);
        let rate = |(flow, before): (&Flow, u64)| {
            (flow.acknowledged() - before) * 8 / time.as_micros() as u64
        };
        self.flows.iter().zip(before).map(rate).collect()
    }

    /// The mean time in the queue since the last call of [`rates_over`](Self::rates_over).
    pub(super) fn mean_queue(&self) -> Duration {
        Duration::from_nanos(self.queued.0 / self.queued.1.max(1))
    }

    fn step(&mut self) {
        let Some(Reverse((at, _, event))) = self.events.pop() else { return };
        self.now = at;
        let flow = match event {
            Event::Wake { flow } => {
                let now = self.instant();
                self.flows[flow].on_wake(now);
                flow
            }
            Event::Acknowledge { flow, transmission, offset } => {
                let mut segments = vec![(transmission, offset)];
                // What arrives in one moment is one acknowledgment.
                while let Some(Reverse((
                    next,
                    _,
                    Event::Acknowledge { flow: other, transmission, offset },
                ))) = self.events.peek()
                {
                    if *next != at || *other != flow {
                        break;
                    }
                    segments.push((*transmission, *offset));
                    self.events.pop();
                }
                let now = self.instant();
                self.flows[flow].on_acknowledgment(now, &segments);
                flow
            }
        };
        self.transmit(flow);
    }

    fn transmit(&mut self, flow: usize) {
        let now = self.instant();
        while let Some((transmission, offset)) = self.flows[flow].transmit(now) {
            self.carry(flow, transmission, offset);
        }
        if let Some(at) = self.flows[flow].wake_at(now) {
            self.schedule((at.as_micros() * 1_000).max(self.now + 1_000), Event::Wake { flow });
        }
    }

    /// Puts a segment on the path, or loses it.
    fn carry(&mut self, flow: usize, transmission: u64, offset: u64) {
        let waits = self.busy_until.saturating_sub(self.now);
        let queue = (u128::from(waits) * u128::from(self.path.rate) / 8_000_000_000) as u64;
        if self.random() % 1_000_000 < self.path.loss {
            return;
        }
        if queue + MSS > self.path.buffer.max(MSS) {
            self.overflows += 1;
            return;
        }
        self.queued.0 += waits;
        self.queued.1 += 1;
        self.busy_until = self.now.max(self.busy_until) + MSS * 8_000_000_000 / self.path.rate;
        let mut at = self.busy_until + self.path.rtt.as_nanos() as u64;
        let bunch = self.path.bunch.as_nanos() as u64;
        if bunch > 0 {
            at = at.div_ceil(bunch) * bunch;
        }
        self.schedule(at, Event::Acknowledge { flow, transmission, offset });
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events.push(Reverse((at, self.scheduled, event)));
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 8
    }
}
