//! What leaves, compared with what left when the capture was taken.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use nat::Engine;
use netstack::dev::CaptureReader;
use netstack::dev::pcapng::Direction;
use netstack::packet::Checksum;
use netstack::wire::checksum;
use netstack::wire::text::Line;
use netstack::{Instant, LegId, Packet};

use super::input::Fault;
use super::legs::Legs;
use super::lines::account_of;

/// Differences that are described; the others are counted.
pub(super) const MAX_SHOWN: u64 = 10;

/// How far ahead a packet is looked for that is not the next.
const WINDOW: usize = 64;

/// Buffers that are kept for use again.
const MAX_SPARE: usize = 64;

/// Packets of one leg that wait while another's are read.
const MAX_WAITING: usize = 65_536;

/// A packet that is to leave.
#[derive(Debug)]
struct Recorded {
    at: Instant,
    frame: u64,
    data: Vec<u8>,
    cut: u32,
}

/// A packet that was not recorded, or with other bytes: what comes after it tells.
#[derive(Debug)]
struct Odd {
    at: Instant,
    line: String,
    data: Vec<u8>,
    said: String,
}

/// Compares packets as they leave with those of a capture, leg by leg.
#[derive(Debug)]
pub(super) struct Expect {
    reader: CaptureReader<File>,
    epoch: Duration,
    only_outbound: Option<bool>,
    legs: Vec<String>,
    waiting: Vec<VecDeque<Recorded>>,
    /// Of each leg, the last packet that was sent and is none of those recorded.
    odd: Vec<Option<Odd>>,
    ended: bool,
    tolerance: Duration,
    fault: Option<Fault>,
    /// The packet that leaves with its checksum completed, if it was not.
    complete: Packet,
    read: Packet,
    /// Buffers of packets that were compared, for use again.
    spare: Vec<Vec<u8>>,
    shown: String,
    counts: Counts,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    same: u64,
    differ: u64,
    missing: u64,
    extra: u64,
    reordered: u64,
    other_time: u64,
}

impl Counts {
    const fn differing(&self) -> u64 {
        self.differ + self.missing + self.extra + self.reordered + self.other_time
    }
}

impl Expect {
    /// Opens a capture. Its times are from its own start, or else from `epoch`.
    pub(super) fn open(
        path: &Path,
        epoch: Duration,
        tolerance: Duration,
        legs: Vec<String>,
    ) -> Result<Self, Fault> {
        let reader = CaptureReader::open(path)
            .map_err(|e| Fault(format!("cannot compare with `{}`: {e}", path.display())))?;
        Ok(Self {
            reader,
            epoch,
            only_outbound: None,
            waiting: legs.iter().map(|_| VecDeque::new()).collect(),
            odd: legs.iter().map(|_| None).collect(),
            legs,
            ended: false,
            tolerance,
            fault: None,
            complete: Packet::with_capacity(0),
            read: Packet::max_sized(),
            spare: Vec::new(),
            shown: String::new(),
            counts: Counts::default(),
        })
    }

    /// A packet leaves.
    pub(super) fn leaves(
        &mut self,
        now: Instant,
        engine: &Engine,
        decided: bool,
        packet: &Packet,
        legs: &Legs,
    ) {
        let leg = packet.leg;
        self.fill(leg, 1, legs);
        if is_partial(packet) {
            self.complete.copy_from(packet);
            checksum::complete(&mut self.complete);
        }
        let found = if self.front_is_same(leg, 0, packet) {
            Some(0)
        } else {
            self.fill(leg, WINDOW, legs);
            (0..WINDOW).find(|n| self.front_is_same(leg, *n, packet))
        };
        let said = || {
            let account = if decided { engine.account() } else { account_of(engine, packet) };
            account.map(|account| account.brief(engine)).unwrap_or_default()
        };
        let Some(ahead) = found else {
            let line = line(packet);
            let odd = Odd { at: now, line, data: self.held(packet).to_vec(), said: said() };
            self.settle(leg, true);
            if let Some(place) = self.odd.get_mut(usize::from(leg.0)) {
                *place = Some(odd);
            }
            return;
        };
        if self.is_only_early(leg, ahead) {
            if let Some(waiting) = self.waiting.get_mut(usize::from(leg.0)) {
                waiting.remove(ahead);
            }
            self.counts.reordered += 1;
            let text = format!("sent at {now}, before {ahead} others recorded at that time");
            self.show("order", leg, 0, &[&text, &line(packet), &said()]);
            return;
        }
        self.settle(leg, ahead > 0);
        while !self.front_is_same(leg, 0, packet) && self.pop_missing(leg) {}
        let Some(expected) = self.pop(leg) else { return };
        self.counts.same += 1;
        let off = (now - expected.at).max(expected.at - now);
        if off > self.tolerance {
            self.counts.other_time += 1;
            let text = format!("sent at {now}, recorded at {}", expected.at);
            self.show("time", leg, expected.frame, &[&text, &line(packet), &said()]);
        }
        if self.spare.len() < MAX_SPARE {
            self.spare.push(expected.data);
        }
    }

    /// Says of the odd packet of a leg that it stands in the place of the next one recorded, if that did
    /// not come, or else that it is one too many.
    fn settle(&mut self, leg: LegId, replaces: bool) {
        let Some(odd) = self.odd.get_mut(usize::from(leg.0)).and_then(Option::take) else { return };
        let got = format!("got       {}", odd.line);
        if let Some(expected) = if replaces { self.pop(leg) } else { None } {
            self.counts.differ += 1;
            let at = difference(&expected, &odd.data);
            let wanted = format!("expected  {}", line(&Packet::from_ip(&expected.data)));
            self.show("differs", leg, expected.frame, &[&wanted, &got, &at, &odd.said]);
        } else {
            self.counts.extra += 1;
            let time = format!("sent at {}, not recorded", odd.at);
            self.show("extra", leg, 0, &[&got, &time, &odd.said]);
        }
    }

    /// Everything was replayed: what was not sent is missing. Gives what is to be said, and whether all
    /// is the same.
    pub(super) fn finish(mut self, legs: &Legs) -> Result<(String, bool), Fault> {
        for leg in (0..self.waiting.len() as u16).map(LegId) {
            self.fill(leg, 1, legs);
            self.settle(leg, true);
            loop {
                self.fill(leg, 1, legs);
                if !self.pop_missing(leg) {
                    break;
                }
            }
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let Counts { same, differ, missing, extra, reordered, other_time } = self.counts;
        let differences = self.counts.differing();
        let mut said = self.shown;
        if let Some(more) = differences.checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(said, "… and {more} more");
        }
        let _ = writeln!(
            said,
            "expected  {same} the same, {differ} differ, {missing} missing, {extra} extra, \
             {reordered} in another order, {other_time} at another time"
        );
        Ok((said, differences == 0))
    }

    fn front_is_same(&self, leg: LegId, n: usize, packet: &Packet) -> bool {
        let expected = self.waiting.get(usize::from(leg.0)).and_then(|waiting| waiting.get(n));
        expected.is_some_and(|expected| is_same(expected, packet, self.held(packet)))
    }

    /// What a capture holds of the packet that leaves: with its checksum complete.
    fn held<'a>(&'a self, packet: &'a Packet) -> &'a [u8] {
        if is_partial(packet) { self.complete.data() } else { packet.data() }
    }

    /// True if the packet that waits so far ahead was recorded at the same time as all in front of it.
    fn is_only_early(&self, leg: LegId, ahead: usize) -> bool {
        let Some(waiting) = self.waiting.get(usize::from(leg.0)) else { return false };
        let at = |n: usize| waiting.get(n).map(|expected| expected.at);
        ahead > 0 && at(0) == at(ahead)
    }

    fn pop(&mut self, leg: LegId) -> Option<Recorded> {
        self.waiting.get_mut(usize::from(leg.0))?.pop_front()
    }

    fn pop_missing(&mut self, leg: LegId) -> bool {
        let Some(expected) = self.pop(leg) else { return false };
        self.counts.missing += 1;
        let wanted = format!("expected  {}", line(&Packet::from_ip(&expected.data)));
        let at = format!("recorded at {}", expected.at);
        self.show("missing", leg, expected.frame, &[&wanted, &at]);
        true
    }

    fn show(&mut self, what: &str, leg: LegId, frame: u64, lines: &[&str]) {
        if self.counts.differing() > MAX_SHOWN {
            return;
        }
        let leg = self.legs.get(usize::from(leg.0)).map_or("?", String::as_str);
        let _ = write!(self.shown, "{what:<8}  leg {leg}");
        if frame > 0 {
            let _ = write!(self.shown, ", frame {frame}");
        }
        self.shown.push('\n');
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(self.shown, "  {line}");
        }
    }

    /// Reads on until `count` packets of a leg wait, or there are no more.
    fn fill(&mut self, leg: LegId, count: usize, legs: &Legs) {
        while !self.ended
            && self.waiting.get(usize::from(leg.0)).is_some_and(|waiting| waiting.len() < count)
        {
            if let Err(fault) = self.read_one(legs) {
                self.ended = true;
                self.fault.get_or_insert(fault);
            }
        }
    }

    fn read_one(&mut self, legs: &Legs) -> Result<(), Fault> {
        let read = self.reader.read(&mut self.read);
        let Some(captured) = read.map_err(|e| Fault(format!("cannot compare further: {e}")))?
        else {
            self.ended = true;
            return Ok(());
        };
        let section = self.reader.section();
        if self.only_outbound.is_none() {
            self.only_outbound = Some(section.run().is_some());
            self.epoch = section.start().unwrap_or(self.epoch);
        }
        if self.only_outbound == Some(true) && captured.direction != Some(Direction::Outbound) {
            return Ok(());
        }
        let name = self.reader.interface_name(captured.interface);
        let Some(leg) = legs.named(name) else {
            return Err(Fault(format!(
                "cannot compare with interface `{name}`: no leg has its name"
            )));
        };
        let mut data = self.spare.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(self.read.data());
        let recorded = Recorded {
            at: Instant::ZERO + captured.time.saturating_sub(self.epoch),
            frame: self.reader.packets() + self.reader.skipped(),
            data,
            cut: captured.cut,
        };
        let Some(waiting) = self.waiting.get_mut(usize::from(leg.0)) else { return Ok(()) };
        if waiting.len() == MAX_WAITING {
            return Err(Fault(format!(
                "leg `{name}` is {MAX_WAITING} packets behind the others: nothing can be compared"
            )));
        }
        waiting.push_back(recorded);
        Ok(())
    }
}

fn line(packet: &Packet) -> String {
    Line::of(packet).to_string()
}

const fn is_partial(packet: &Packet) -> bool {
    matches!(packet.offload.checksum, Checksum::Partial { .. })
}

fn is_same(expected: &Recorded, packet: &Packet, held: &[u8]) -> bool {
    let whole = expected.data.len() + expected.cut as usize;
    // Of a packet that was cut the checksum could not be completed.
    let sent = if expected.cut > 0 { packet.data() } else { held };
    whole == sent.len() && sent.starts_with(&expected.data)
}

fn difference(expected: &Recorded, sent: &[u8]) -> String {
    let whole = expected.data.len() + expected.cut as usize;
    if whole != sent.len() {
        return format!("{} bytes instead of {whole}", sent.len());
    }
    let at = expected.data.iter().zip(sent).position(|(a, b)| a != b).unwrap_or(0);
    format!("the first byte that differs is number {at}")
}
