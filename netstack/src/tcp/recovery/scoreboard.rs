//! What is in flight: the scoreboard of RFC 6675, in runs of segments.
//!
//! # Theory of operation
//!
//! A run is what was sent at one moment in one piece, up to a super-packet of 64 KiB. The runs lie in
//! the order of the stream and cover it from the oldest byte that is not acknowledged to the newest that
//! was sent. What happens to a part of a run splits it; an acknowledgment of its beginning, cumulative
//! or selective next to what was selectively acknowledged before, only moves a border.
//!
//! | flags | meaning | in flight |
//! |---|---|---|
//! | none | sent once | yes |
//! | again | sent more than once | yes |
//! | sacked | the peer holds it | no |
//! | lost, with or without again | to be sent again | no |
//!
//! `in_flight` is the pipe of RFC 6675: all that is outstanding without what is sacked or lost.
//!
//! **Order of sending** (RFC 8985 needs it). Runs that were sent once were sent in the order of the
//! stream, so that loss detection goes over them with a cursor that only moves forward. Runs that were
//! sent again are in a queue of their own in the order of sending; its entries are checked when they are
//! looked at, not when a run changes. So each run is passed over once, whatever the window.
//!
//! **Limits.** A run costs 48 bytes and there is at most one for each segment in flight, and one more for
//! each border of a block that the peer acknowledged selectively. A peer that acknowledges single bytes
//! could multiply them: at [`MAX_RUNS`] blocks that would split a run are not believed.

use std::collections::VecDeque;
use std::ops::Range;

use crate::tcp::congestion::rate::Stamp;
use crate::time::Instant;

/// Runs beyond which none is split for a selective acknowledgment: 3 MiB of memory. Enough for 64 MiB in
/// flight in segments of 1 KiB.
pub(crate) const MAX_RUNS: usize = 65_536;

/// Runs for which room is kept when nothing is in flight.
const KEPT_RUNS: usize = 8;

/// Bits of [`Run::flags`].
const SACKED: u8 = 1;
const LOST: u8 = 2;
const AGAIN: u8 = 4;

/// Segments sent at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    start: u64,
    len: u32,
    /// Bytes of each of its segments but the last.
    segment: u16,
    flags: u8,
    stamp: Stamp,
}

impl Run {
    const fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    const fn has(&self, flags: u8) -> bool {
        self.flags & flags != 0
    }

    /// When it was last sent.
    pub(crate) const fn sent(&self) -> Instant {
        self.stamp.sent()
    }

    /// For the estimator of the delivery rate.
    pub(crate) const fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// It was sent more than once.
    pub(crate) const fn sent_again(&self) -> bool {
        self.has(AGAIN)
    }

    /// The peer holds it.
    pub(crate) const fn sacked(&self) -> bool {
        self.has(SACKED)
    }

    /// It is to be sent again.
    pub(crate) const fn lost(&self) -> bool {
        self.has(LOST)
    }

    /// It begins at `offset`.
    pub(crate) const fn starts_at(&self, offset: u64) -> bool {
        self.start == offset
    }

    /// Its length.
    pub(crate) const fn bytes(&self) -> u64 {
        self.len as u64
    }

    /// Bytes of its largest segment.
    pub(crate) fn segment(&self) -> u32 {
        self.len.min(u32::from(self.segment))
    }
}

/// A run that was sent again.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    start: u64,
    len: u32,
    sent: Instant,
}

/// What is in flight.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    runs: VecDeque<Run>,
    repeats: VecDeque<Repeat>,
    una: u64,
    next: u64,
    sacked: u64,
    lost: u64,
    /// Nothing before it is lost.
    lost_from: u64,
    /// Nothing before it was sent once and is neither sacked nor lost.
    once_from: u64,
}

impl Scoreboard {
    pub(crate) const fn new() -> Self {
        Self {
            runs: VecDeque::new(),
            repeats: VecDeque::new(),
            una: 0,
            next: 0,
            sacked: 0,
            lost: 0,
            lost_from: 0,
            once_from: 0,
        }
    }

    /// The oldest offset that is not acknowledged (SND.UNA).
    pub(crate) const fn una(&self) -> u64 {
        self.una
    }

    /// The next offset to be sent for the first time (SND.NXT).
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Bytes sent and not acknowledged.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.next - self.una
    }

    /// Bytes of them that the peer holds.
    pub(crate) const fn sacked(&self) -> u64 {
        self.sacked
    }

    /// Bytes of them that are to be sent again.
    pub(crate) const fn lost(&self) -> u64 {
        self.lost
    }

    /// The rest.
    pub(crate) const fn in_flight(&self) -> u64 {
        self.outstanding() - self.sacked - self.lost
    }

    /// The oldest run.
    pub(crate) fn first(&self) -> Option<&Run> {
        self.runs.front()
    }

    /// When the oldest was sent of what is in flight and was sent again; perhaps earlier.
    pub(crate) fn oldest_repeat(&self) -> Option<Instant> {
        self.repeats.front().map(|repeat| repeat.sent)
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        self.runs.capacity() * size_of::<Run>() + self.repeats.capacity() * size_of::<Repeat>()
    }

    /// Takes note that the next `len` bytes are sent for the first time, in segments of `segment`.
    pub(crate) fn sent(&mut self, len: u32, segment: u16, stamp: Stamp) {
        self.runs.push_back(Run { start: self.next, len, segment, flags: 0, stamp });
        self.next += u64::from(len);
    }

    /// Takes note that `len` bytes from `start` on, which lie in one run, are sent again.
    pub(crate) fn sent_again(&mut self, start: u64, len: u32, segment: u16, stamp: Stamp) {
        let Some(at) = self.index(start) else { return };
        let at = self.split(at, start);
        self.split(at, start + u64::from(len));
        let Some(run) = self.runs.get_mut(at) else { return };
        if run.has(LOST) {
            self.lost -= u64::from(run.len);
        }
        run.flags = AGAIN;
        run.segment = segment;
        run.stamp = stamp;
        self.repeats.push_back(Repeat { start, len: run.len, sent: stamp.sent() });
    }

    /// Takes note that all before `to` is acknowledged. `delivered` gets each part that the peer was not
    /// known to hold, with its run.
    pub(crate) fn acknowledge(&mut self, to: u64, mut delivered: impl FnMut(&Run, Range<u64>)) {
        let to = to.min(self.next);
        while let Some(run) = self.runs.front_mut() {
            if run.start >= to {
                break;
            }
            let end = run.end().min(to);
            let len = end - run.start;
            if run.has(SACKED) {
                self.sacked -= len;
            } else {
                delivered(run, run.start..end);
                self.lost -= if run.has(LOST) { len } else { 0 };
            }
            if end < run.end() {
                run.len -= len as u32;
                run.start = end;
                break;
            }
            self.runs.pop_front();
        }
        self.una = self.una.max(to);
        if self.runs.is_empty() {
            self.repeats.clear();
            if self.runs.capacity() > KEPT_RUNS {
                self.runs = VecDeque::new();
                self.repeats = VecDeque::new();
            }
        }
    }

    /// Takes note that the peer holds `range`. `delivered` gets each part that was not known, with its
    /// run as it was.
    pub(crate) fn sack(&mut self, range: Range<u64>, mut delivered: impl FnMut(&Run, Range<u64>)) {
        let mut start = range.start.max(self.una);
        let end = range.end.min(self.next);
        let Some(mut at) = self.index(start).filter(|_| start < end) else { return };
        while let Some(run) = self.runs.get(at).copied().filter(|_| start < end) {
            let stop = run.end().min(end);
            if run.has(SACKED) {
                (start, at) = (stop, at + 1);
                continue;
            }
            let whole = start == run.start && stop == run.end();
            if !whole && self.runs.len() >= MAX_RUNS {
                return;
            }
            delivered(&run, start..stop);
            let len = stop - start;
            self.sacked += len;
            self.lost -= if run.has(LOST) { len } else { 0 };
            at = self.turn_sacked(at, start..stop);
            start = stop;
        }
    }

    /// Marks a part of a run as held by the peer; the index of what follows it.
    fn turn_sacked(&mut self, at: usize, part: Range<u64>) -> usize {
        let len = (part.end - part.start) as u32;
        if at > 0
            && let [Some(before), Some(run)] = [at - 1, at].map(|i| self.runs.get(i).copied())
            && before.has(SACKED)
            && run.start == part.start
            && run.end() > part.end
        {
            // The border moves.
            if let Some(before) = self.runs.get_mut(at - 1) {
                before.len += len;
            }
            if let Some(run) = self.runs.get_mut(at) {
                run.start += u64::from(len);
                run.len -= len;
            }
            return at;
        }
        let at = self.split(at, part.start);
        self.split(at, part.end);
        if let Some(run) = self.runs.get_mut(at) {
            run.flags = (run.flags & AGAIN) | SACKED;
        }
        at + 1
    }

    /// Marks lost what was sent before `is_before(sent, end)` says no, and long enough ago that
    /// `due(sent)` has passed. Tells when the next will be due.
    pub(crate) fn detect_lost(
        &mut self,
        now: Instant,
        is_before: impl Fn(Instant, u64) -> bool,
        due: impl Fn(Instant) -> Instant,
        mut lost: impl FnMut(&Run),
    ) -> Option<Instant> {
        if self.sacked == 0 && self.repeats.is_empty() {
            // Nothing has arrived out of order.
            return None;
        }
        let mut next_due = None;
        let mut at = self.index(self.once_from.max(self.una)).unwrap_or(self.runs.len());
        while let Some(run) = self.runs.get_mut(at) {
            self.once_from = run.start;
            if !run.has(SACKED | LOST | AGAIN) {
                if !is_before(run.sent(), run.end()) {
                    break;
                }
                if due(run.sent()) > now {
                    next_due = Some(due(run.sent()));
                    break;
                }
                run.flags |= LOST;
                self.lost += u64::from(run.len);
                self.lost_from = self.lost_from.min(run.start);
                lost(run);
            }
            self.once_from = run.end();
            at += 1;
        }
        while let Some(repeat) = self.repeats.front().copied() {
            if self.repeat_is_live(&repeat) {
                let end = repeat.start + u64::from(repeat.len);
                if !is_before(repeat.sent, end) {
                    break;
                }
                if due(repeat.sent) > now {
                    next_due =
                        Some(next_due.map_or(due(repeat.sent), |at| at.min(due(repeat.sent))));
                    break;
                }
                self.lose_repeat(&repeat, &mut lost);
            }
            self.repeats.pop_front();
        }
        next_due
    }

    /// Marks lost the first `len` bytes, if they are in flight (a sender without selective
    /// acknowledgments knows of no others).
    pub(crate) fn lose_first(&mut self, len: u32, mut lost: impl FnMut(&Run)) {
        let end = (self.una + u64::from(len)).min(self.next);
        if self.runs.front().is_none_or(|run| run.has(SACKED | LOST)) {
            return;
        }
        self.split(0, end);
        self.lose(0, &mut lost);
    }

    /// Marks lost all that is in flight and that `which` accepts.
    pub(crate) fn lose_where(&mut self, which: impl Fn(&Run) -> bool, mut lost: impl FnMut(&Run)) {
        for at in 0..self.runs.len() {
            if self.runs.get(at).is_some_and(|run| !run.has(SACKED | LOST) && which(run)) {
                self.lose(at, &mut lost);
            }
        }
    }

    /// What is marked lost is not.
    pub(crate) fn forget_losses(&mut self) {
        for run in &mut self.runs {
            if run.has(LOST) {
                run.flags &= !LOST;
                if run.has(AGAIN) {
                    let (start, len) = (run.start, run.len);
                    self.repeats.push_back(Repeat { start, len, sent: run.sent() });
                }
            }
        }
        self.lost = 0;
        self.once_from = self.una;
        self.repeats.make_contiguous().sort_by_key(|repeat| repeat.sent);
    }

    /// The peer is not believed to hold anything (RFC 2018 section 8).
    pub(crate) fn forget_sacks(&mut self) {
        for run in &mut self.runs {
            run.flags &= !SACKED;
        }
        self.sacked = 0;
        self.once_from = self.una;
    }

    /// The first bytes that are lost: where, and how many lie together.
    pub(crate) fn next_lost(&mut self) -> Option<(u64, u32)> {
        if self.lost == 0 {
            self.lost_from = u64::MAX;
            return None;
        }
        let mut at = self.index(self.lost_from.max(self.una)).unwrap_or(0);
        while let Some(run) = self.runs.get(at) {
            if run.has(LOST) {
                self.lost_from = run.start;
                return Some((run.start, run.len));
            }
            at += 1;
        }
        None
    }

    /// The last segment that is outstanding, at most `mss` bytes: what a loss probe sends again.
    pub(crate) fn last_segment(&self, mss: u32) -> Option<(u64, u32)> {
        let run = self.runs.iter().rev().find(|run| !run.has(SACKED))?;
        let segment = u32::from(run.segment).clamp(1, mss.max(1));
        let tail = match run.len % segment {
            0 => segment,
            rest => rest,
        };
        Some((run.end() - u64::from(tail), tail))
    }

    fn lose(&mut self, at: usize, lost: &mut impl FnMut(&Run)) {
        if let Some(run) = self.runs.get_mut(at) {
            run.flags |= LOST;
            self.lost += u64::from(run.len);
            self.lost_from = self.lost_from.min(run.start);
            lost(run);
        }
    }

    /// Where in the runs those of `repeat` that are still in flight may lie.
    fn live(&self, repeat: &Repeat, at: usize) -> Option<bool> {
        let run = self.runs.get(at)?;
        let is_part = run.start < repeat.start + u64::from(repeat.len);
        is_part.then(|| run.has(AGAIN) && !run.has(LOST | SACKED) && run.sent() == repeat.sent)
    }

    fn repeat_is_live(&self, repeat: &Repeat) -> bool {
        let Some(mut at) = self.index(repeat.start.max(self.una)) else { return false };
        while let Some(live) = self.live(repeat, at) {
            if live {
                return true;
            }
            at += 1;
        }
        false
    }

    fn lose_repeat(&mut self, repeat: &Repeat, lost: &mut impl FnMut(&Run)) {
        let Some(mut at) = self.index(repeat.start.max(self.una)) else { return };
        while let Some(live) = self.live(repeat, at) {
            if live {
                self.lose(at, lost);
            }
            at += 1;
        }
    }

    /// The run that holds `offset`.
    fn index(&self, offset: u64) -> Option<usize> {
        if offset < self.una || offset >= self.next {
            return None;
        }
        self.runs.partition_point(|run| run.start <= offset).checked_sub(1)
    }

    /// Makes a run begin at `offset`, which lies in run `at` or at its end; the index of the run that
    /// begins there.
    fn split(&mut self, at: usize, offset: u64) -> usize {
        let Some(run) = self.runs.get_mut(at) else { return at };
        if offset <= run.start {
            return at;
        }
        if offset >= run.end() {
            return at + 1;
        }
        let mut rest = *run;
        let len = (offset - run.start) as u32;
        run.len = len;
        rest.start = offset;
        rest.len -= len;
        self.runs.insert(at + 1, rest);
        at + 1
    }
}

#[cfg(test)]
impl Scoreboard {
    /// Checks what must always hold.
    pub(crate) fn check(&self) {
        let mut at = self.una;
        let (mut sacked, mut lost) = (0, 0);
        for run in &self.runs {
            assert_eq!(run.start, at, "the runs cover what is outstanding");
            assert!(run.len > 0 && !(run.has(SACKED) && run.has(LOST)), "{run:?}");
            sacked += if run.has(SACKED) { u64::from(run.len) } else { 0 };
            lost += if run.has(LOST) { u64::from(run.len) } else { 0 };
            assert!(!run.has(LOST) || run.start >= self.lost_from, "{run:?}");
            assert!(
                run.has(SACKED | LOST | AGAIN) || run.end() > self.once_from,
                "passed over: {run:?}"
            );
            at = run.end();
        }
        assert_eq!((at, sacked, lost), (self.next, self.sacked, self.lost));
        assert!(self.sacked + self.lost <= self.outstanding());
    }
}
