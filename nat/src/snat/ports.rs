//! The ports of one scope: which are free, which are held, and in what order the latter come back.

use std::time::Duration;

use netstack::Instant;

use super::queue::Queue;
use crate::flow::FlowId;

const WORDS: usize = 1024;
/// Entries of the queue that one call looks at: more than one call adds, so that it keeps up.
const SETTLE: usize = 4;
/// When a port is looked at again whose flow has outlived its closing time.
const AGAIN: Duration = Duration::from_secs(1);

/// A part of the configured ports from which one client port is served: a range, and of it all, the
/// even or the odd ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    first: u16,
    last: u16,
    step: u16,
}

impl Span {
    /// All of a range.
    pub(super) const fn all(first: u16, last: u16) -> Self {
        Self { first, last, step: 1 }
    }

    /// Those of a range that are odd, or even; nothing if there are none.
    pub(super) fn of_parity(self, odd: bool) -> Option<Self> {
        let is_first = (self.first % 2 == 1) == odd;
        let first = if is_first { self.first } else { self.first.checked_add(1)? };
        (first <= self.last).then_some(Self { first, last: self.last, step: 2 })
    }

    /// How many ports.
    pub(super) const fn len(self) -> u32 {
        (self.last - self.first) as u32 / self.step as u32 + 1
    }

    /// The bits of a word of the bitmap that are in it, as far as parity goes.
    const fn mask(self) -> u64 {
        match (self.step, self.first % 2) {
            (1, _) => u64::MAX,
            (_, 0) => 0x5555_5555_5555_5555,
            _ => 0xaaaa_aaaa_aaaa_aaaa,
        }
    }
}

/// A port that is held and when it comes back.
#[derive(Clone, Copy, Debug)]
struct Retired {
    port: u16,
    until: Instant,
    /// The flow that is closing on it, or was.
    flow: Option<FlowId>,
}

/// The port whose flow ended first of all that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Oldest {
    pub(super) port: u16,
    /// A flow or mapping still has it.
    pub(super) is_used: bool,
    /// The flow that was closing on it.
    pub(super) flow: Option<FlowId>,
}

/// The ports of one scope.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    /// A flow or mapping has the port.
    used: Bits,
    /// The port stands in the queue.
    queued: Bits,
    /// Ports that are used or queued.
    busy: u32,
    /// In the order in which they ended.
    retired: Queue<Retired>,
    /// Those that were still used at the end of their quarantine, in the order in which that ended.
    late: Queue<Retired>,
}

impl Ports {
    pub(super) fn new() -> Self {
        let (used, queued) = (Bits::new(), Bits::new());
        Self { used, queued, busy: 0, retired: Queue::new(), late: Queue::new() }
    }

    /// Takes a port that is neither used nor held: the first one from a place that `draw` points at
    /// (RFC 6056 section 3.3.1).
    pub(super) fn take(&mut self, span: Span, draw: u64) -> Option<u16> {
        if self.busy >= span.len() {
            return None;
        }
        let nth = ((u128::from(draw) * u128::from(span.len())) >> 64) as u16;
        let start = span.first + nth * span.step;
        let port = self
            .next_free(span, start, span.last)
            .or_else(|| self.next_free(span, span.first, start))?;
        self.used.set(port);
        self.busy += 1;
        Some(port)
    }

    /// What the head of the queue has to offer when nothing is free.
    pub(super) fn oldest(&self) -> Option<Oldest> {
        let &Retired { port, flow, .. } = self.late.front().or_else(|| self.retired.front())?;
        Some(Oldest { port, is_used: self.used.contains(port), flow })
    }

    /// Takes that port out of the queue. It is used from here on, if it was not.
    pub(super) fn take_oldest(&mut self) {
        if let Some(oldest) = self.late.pop_front().or_else(|| self.retired.pop_front()) {
            self.queued.clear(oldest.port);
            self.used.set(oldest.port);
        }
    }

    /// Puts a port in the queue; false if it stands there already.
    pub(super) fn retire(&mut self, port: u16, until: Instant, flow: Option<FlowId>) -> bool {
        let new = !self.queued.contains(port);
        if new {
            self.busy += u32::from(!self.used.contains(port));
            self.queued.set(port);
            self.retired.push_back(Retired { port, until, flow });
        }
        new
    }

    /// Gives a port back. One in the queue stays held until its time is over.
    pub(super) fn give_back(&mut self, port: u16) {
        if self.used.contains(port) {
            self.used.clear(port);
            self.busy -= u32::from(!self.queued.contains(port));
        }
    }

    /// Frees what has been held long enough.
    ///
    /// A port whose flow is still there, closing or revived, goes to another queue: what stands behind it
    /// must not wait for it. There it is looked at when it is held `longer`, at which time a closing
    /// flow is forgotten that nothing more came for, and then again and again.
    pub(super) fn settle(&mut self, now: Instant, longer: Duration) {
        for _ in 0..SETTLE {
            let Some(head) = self.retired.pop_front_if(|head| head.until <= now) else { break };
            self.free_or_hold(head, head.until + longer);
        }
        for _ in 0..SETTLE {
            let Some(head) = self.late.pop_front_if(|head| head.until <= now) else { break };
            self.free_or_hold(head, now + AGAIN);
        }
    }

    fn free_or_hold(&mut self, head: Retired, until: Instant) {
        if self.used.contains(head.port) {
            self.late.push_back(Retired { until, ..head });
        } else {
            self.queued.clear(head.port);
            self.busy -= 1;
        }
    }

    /// Ports that a flow or mapping has.
    pub(super) fn used(&self) -> usize {
        self.used.len()
    }

    /// Entries of the queues.
    pub(super) const fn held(&self) -> usize {
        self.retired.len() + self.late.len()
    }

    /// The lowest free port of `from..=to` in the span, a word at a time.
    fn next_free(&self, span: Span, from: u16, to: u16) -> Option<u16> {
        let (first_word, last_word) = (from / 64, to / 64);
        for word in first_word..=last_word {
            let at = usize::from(word);
            let mut free = !(self.used.0[at] | self.queued.0[at]) & span.mask();
            if word == first_word {
                free &= u64::MAX << (from % 64);
            }
            if free != 0 {
                let port = word * 64 + free.trailing_zeros() as u16;
                return (port <= to).then_some(port);
            }
        }
        None
    }

    /// # Panics
    /// If the counts are not those of the bits.
    pub(super) fn assert_consistent(&self) {
        assert_eq!(self.queued.len(), self.held(), "queued ports and the queues");
        let busy: u32 =
            self.used.0.iter().zip(&self.queued.0).map(|(u, q)| (u | q).count_ones()).sum();
        assert_eq!(self.busy, busy, "ports used or queued");
    }
}

/// One bit a port.
#[derive(Clone, Debug)]
struct Bits(Box<[u64]>);

impl Bits {
    fn new() -> Self {
        Self(vec![0; WORDS].into_boxed_slice())
    }

    fn contains(&self, port: u16) -> bool {
        self.0[usize::from(port / 64)] >> (port % 64) & 1 == 1
    }

    fn set(&mut self, port: u16) {
        self.0[usize::from(port / 64)] |= 1 << (port % 64);
    }

    fn clear(&mut self, port: u16) {
        self.0[usize::from(port / 64)] &= !(1 << (port % 64));
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const Q: Duration = Duration::from_mins(2);

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn spans_hold_the_ports_of_their_parity() {
        let all = Span::all(1000, 1005);
        assert_eq!(all.len(), 6);
        for (odd, expected) in [(false, [1000, 1002, 1004]), (true, [1001, 1003, 1005])] {
            let span = all.of_parity(odd).unwrap();
            assert_eq!(span.len(), 3);
            let mut ports = Ports::new();
            let mut got: Vec<_> = (0..3).map(|n| ports.take(span, n << 62).unwrap()).collect();
            got.sort_unstable();
            assert_eq!(got, expected);
            assert_eq!(ports.take(span, 0), None);
        }
        assert_eq!(Span::all(7, 7).of_parity(false), None);
        assert_eq!(Span::all(65_534, 65_535).of_parity(true).map(Span::len), Some(1));
        assert_eq!(Span::all(65_535, 65_535).of_parity(false), None);
    }

    #[test]
    fn every_port_is_given_once_from_any_start() {
        let span = Span::all(1000, 1200);
        let mut ports = Ports::new();
        let got: BTreeSet<_> = (0..201).map(|n| ports.take(span, n * (u64::MAX / 201))).collect();
        assert_eq!(got.len(), 201);
        assert!(!got.contains(&None));
        assert_eq!(ports.take(span, 5), None);
        ports.give_back(1100);
        assert_eq!(ports.take(span, 7), Some(1100));
        ports.assert_consistent();
    }

    #[test]
    fn a_held_port_comes_back_when_its_time_is_over() {
        let span = Span::all(5000, 5001);
        let mut ports = Ports::new();
        let a = ports.take(span, 0).unwrap();
        assert!(ports.retire(a, at(120), None));
        ports.give_back(a);
        assert_eq!(ports.take(span, 0), Some(5001));
        assert_eq!(ports.take(span, 0), None);
        ports.settle(at(119), Q);
        assert_eq!(ports.take(span, 0), None);
        ports.settle(at(120), Q);
        assert_eq!(ports.take(span, 0), Some(a));
        ports.assert_consistent();
    }

    #[test]
    fn a_port_still_used_holds_up_no_other() {
        let span = Span::all(5000, 5002);
        let mut ports = Ports::new();
        for _ in 0..3 {
            ports.take(span, 0);
        }
        ports.retire(5000, at(120), None);
        ports.retire(5001, at(121), None);
        ports.give_back(5001);
        ports.settle(at(121), Q);
        assert_eq!(ports.take(span, 0), Some(5001));
        assert_eq!(ports.held(), 1, "5000 waits for its flow");
        ports.give_back(5000);
        ports.settle(at(239), Q);
        assert_eq!(ports.held(), 1);
        ports.settle(at(240), Q);
        assert_eq!((ports.held(), ports.used()), (0, 2));
        ports.assert_consistent();
    }

    #[test]
    fn a_port_is_the_oldest_though_its_flow_outlives_its_time() {
        let span = Span::all(5000, 5001);
        let mut ports = Ports::new();
        for port in [5000, 5001] {
            ports.take(span, 0);
            ports.retire(port, at(120), None);
        }
        ports.settle(at(300), Q);
        ports.give_back(5001);
        assert_eq!(ports.oldest().map(|oldest| (oldest.port, oldest.is_used)), Some((5000, true)));
        for secs in 300..310 {
            ports.settle(at(secs), Q);
        }
        assert_eq!(ports.held(), 1, "5000 still waits for its flow");
        ports.take_oldest();
        assert_eq!((ports.held(), ports.used()), (0, 1));
        ports.assert_consistent();
    }
}
