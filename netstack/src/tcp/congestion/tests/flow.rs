//! A sender that is just good enough to drive an algorithm: it detects loss by order, since the simulated
//! path keeps it, and repairs at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::path::MSS;
use crate::tcp::congestion::rate::{RateEstimator, RateSample, Stamp};
use crate::tcp::congestion::{AckSample, Congestion, Sent};
use crate::time::Instant;

#[derive(Clone, Copy, Debug)]
struct Segment {
    stamp: Stamp,
    transmission: u64,
    lost: bool,
}

pub(super) struct Flow {
    pub(super) congestion: Box<dyn Congestion>,
    pub(super) estimator: RateEstimator,
    /// Segments sent more than once.
    pub(super) retransmissions: u64,
    pub(super) timeouts: u64,
    pub(super) last_sample: Option<RateSample>,
    pub(super) last_rtt: Duration,
    /// Bytes a second that the application writes; `None`: more than the path takes.
    pub(super) supply: Option<u64>,
    supplied: u64,
    supplied_at: Instant,
    outstanding: BTreeMap<u64, Segment>,
    /// In the order of transmission: (transmission, offset).
    order: VecDeque<(u64, u64)>,
    to_repeat: BTreeSet<u64>,
    next_offset: u64,
    transmissions: u64,
    in_flight: u64,
    recovery_point: Option<u64>,
    after_timeout: bool,
    limited_until: u64,
    next_send: Instant,
    /// Bytes of the quantum that is leaving.
    unpaced: u64,
    /// Nanoseconds of pacing that are less than the clock shows.
    pacing_rest: u64,
    wakes_at: Option<Instant>,
    timer: Instant,
    min_rtt: Duration,
    smoothed_rtt: Duration,
    acknowledged: u64,
}

impl Flow {
    pub(super) fn new(now: Instant, congestion: Box<dyn Congestion>) -> Self {
        Self {
            congestion,
            estimator: RateEstimator::new(now),
            retransmissions: 0,
            timeouts: 0,
            last_sample: None,
            last_rtt: Duration::ZERO,
            supply: None,
            supplied: 0,
            supplied_at: now,
            outstanding: BTreeMap::new(),
            order: VecDeque::new(),
            to_repeat: BTreeSet::new(),
            next_offset: 0,
            transmissions: 0,
            in_flight: 0,
            recovery_point: None,
            after_timeout: false,
            limited_until: 0,
            next_send: now,
            unpaced: 0,
            pacing_rest: 0,
            wakes_at: None,
            timer: Instant::FAR_FUTURE,
            min_rtt: Duration::MAX,
            smoothed_rtt: Duration::ZERO,
            acknowledged: 0,
        }
    }

    /// Bytes delivered.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn on_wake(&mut self, now: Instant) {
        if self.wakes_at.is_some_and(|at| at <= now) {
            self.wakes_at = None;
        }
        if now >= self.timer {
            self.on_timeout(now);
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        self.timeouts += 1;
        for (offset, segment) in &mut self.outstanding {
            if !segment.lost {
                segment.lost = true;
                self.in_flight -= MSS;
                self.to_repeat.insert(*offset);
                let lost = self.estimator.on_lost(&segment.stamp, MSS);
                self.congestion.on_lost(now, &lost);
            }
        }
        self.order.clear();
        self.recovery_point = Some(self.next_offset);
        self.after_timeout = true;
        self.congestion.on_timeout(now, self.in_flight);
        self.timer = now + self.rto() * 2;
    }

    pub(super) fn on_acknowledgment(&mut self, now: Instant, segments: &[(u64, u64)]) {
        let prior_in_flight = self.in_flight;
        if self.has_nothing_to_send(now) && self.in_flight + MSS <= self.congestion.window() {
            self.estimator.mark_app_limited(self.in_flight);
        }
        let mut delivered = 0;
        let mut rtt = None;
        let mut newest = 0;
        for (transmission, offset) in segments {
            let Some(segment) = self.outstanding.get(offset).copied() else { continue };
            if segment.transmission != *transmission {
                continue;
            }
            self.outstanding.remove(offset);
            self.to_repeat.remove(offset);
            if !segment.lost {
                self.in_flight -= MSS;
            }
            newest = newest.max(*transmission);
            self.estimator.on_delivered(now, &segment.stamp, MSS);
            delivered += MSS;
            rtt = Some(now - segment.stamp.sent());
        }
        self.note_rtt(rtt);
        self.acknowledged += delivered;
        self.detect_loss(now, newest);
        let una = self.outstanding.keys().next().copied().unwrap_or(self.next_offset);
        if self.recovery_point.is_some_and(|point| una >= point) {
            self.recovery_point = None;
            self.after_timeout = false;
            self.congestion.on_recovered(now);
        }
        self.last_sample = self.estimator.sample(now, self.min_rtt);
        let ack = AckSample {
            delivered,
            in_flight: self.in_flight,
            prior_in_flight,
            rtt,
            min_rtt: self.min_rtt,
            smoothed_rtt: self.smoothed_rtt,
            rate: self.last_sample,
            in_recovery: self.recovery_point.is_some() && !self.after_timeout,
            window_limited: una <= self.limited_until,
            next_offset: self.next_offset,
            una,
        };
        self.congestion.on_ack(now, &ack);
        if self.congestion.holds_back() {
            self.estimator.mark_app_limited(self.in_flight);
        }
        self.timer = now + self.rto();
    }

    /// Three segments sent later have arrived.
    fn detect_loss(&mut self, now: Instant, newest: u64) {
        let mut found = false;
        while self.order.front().is_some_and(|(transmission, _)| transmission + 3 <= newest) {
            let Some((transmission, offset)) = self.order.pop_front() else { break };
            let Some(segment) = self.outstanding.get_mut(&offset) else { continue };
            if segment.transmission != transmission || segment.lost {
                continue;
            }
            segment.lost = true;
            self.in_flight -= MSS;
            self.to_repeat.insert(offset);
            found = true;
            let lost = self.estimator.on_lost(&segment.stamp, MSS);
            self.congestion.on_lost(now, &lost);
        }
        if found && self.recovery_point.is_none() {
            self.recovery_point = Some(self.next_offset);
            self.congestion.on_congestion(now);
        }
    }

    fn note_rtt(&mut self, rtt: Option<Duration>) {
        if let Some(rtt) = rtt {
            self.last_rtt = rtt;
            self.min_rtt = self.min_rtt.min(rtt);
            self.smoothed_rtt =
                if self.smoothed_rtt.is_zero() { rtt } else { (self.smoothed_rtt * 7 + rtt) / 8 };
        }
    }

    fn rto(&self) -> Duration {
        (self.smoothed_rtt * 2).max(Duration::from_millis(200))
    }

    /// The segment to send now: (transmission, offset).
    pub(super) fn transmit(&mut self, now: Instant) -> Option<(u64, u64)> {
        if self.has_nothing_to_send(now) {
            if self.in_flight + MSS <= self.congestion.window() {
                self.estimator.mark_app_limited(self.in_flight);
            }
            return None;
        }
        if self.in_flight + MSS > self.congestion.window() {
            self.limited_until = self.next_offset;
            return None;
        }
        if now < self.next_send {
            return None;
        }
        let repeated = self.to_repeat.pop_first();
        let offset = repeated.unwrap_or(self.next_offset);
        if repeated.is_some() {
            self.retransmissions += 1;
        } else {
            self.next_offset += MSS;
        }
        self.transmissions += 1;
        let transmission = self.transmissions;
        let app_limited = self.estimator.app_limited();
        let sent = Sent { in_flight: self.in_flight, app_limited };
        self.congestion.on_sent(now, &sent);
        let stamp = self.estimator.on_sent(now, MSS, self.in_flight);
        let segment = Segment { stamp, transmission, lost: false };
        self.outstanding.insert(offset, segment);
        self.order.push_back((transmission, offset));
        self.in_flight += MSS;
        if self.timer == Instant::FAR_FUTURE || self.in_flight == MSS {
            self.timer = now + self.rto();
        }
        self.pace(now);
        Some((transmission, offset))
    }

    /// A quantum leaves back to back, and the time that it takes passes before the next.
    fn pace(&mut self, now: Instant) {
        let rate = self.congestion.pacing_rate().or_else(|| {
            let rtt = self.smoothed_rtt.as_micros() as u64;
            let percent = self.congestion.pacing_gain_percent();
            (rtt > 0).then(|| self.congestion.window() * 10_000 * percent / rtt)
        });
        let Some(rate) = rate.filter(|rate| *rate > 0) else { return };
        let quantum = self.congestion.send_quantum().unwrap_or((rate / 1_000).min(65_536));
        self.unpaced += MSS;
        if self.unpaced + MSS > quantum {
            let nanos = self.unpaced * 1_000_000_000 / rate + self.pacing_rest;
            self.unpaced = 0;
            self.pacing_rest = nanos % 1_000;
            self.next_send = now.max(self.next_send) + Duration::from_micros(nanos / 1_000);
        }
    }

    fn has_nothing_to_send(&mut self, now: Instant) -> bool {
        let Some(rate) = self.supply else { return false };
        let written = rate * (now - self.supplied_at).as_micros() as u64 / 1_000_000;
        self.to_repeat.is_empty() && self.supplied + written < self.next_offset + MSS
    }

    /// From now on the application writes `supply` bytes a second.
    pub(super) fn set_supply(&mut self, now: Instant, supply: Option<u64>) {
        self.supply = supply;
        self.supplied = self.next_offset;
        self.supplied_at = now;
    }

    /// When to be woken if nothing is acknowledged before.
    pub(super) fn wake_at(&mut self, now: Instant) -> Option<Instant> {
        let mut at = self.timer;
        if self.has_nothing_to_send(now) {
            at = at.min(now + Duration::from_millis(1));
        } else if now < self.next_send && self.in_flight + MSS <= self.congestion.window() {
            at = at.min(self.next_send);
        }
        if self.outstanding.is_empty() && self.supply == Some(0) {
            return None;
        }
        let earlier = self.wakes_at.is_none_or(|wakes| at < wakes);
        if earlier {
            self.wakes_at = Some(at);
        }
        earlier.then_some(at)
    }
}
