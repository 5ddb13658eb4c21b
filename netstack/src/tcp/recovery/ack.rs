//! What an acknowledgment tells.

use std::ops::Range;
use std::time::Duration;

use super::rack::Rack;
use super::scoreboard::{Run, Scoreboard};
use super::sender::{Sender, State};
use super::undo::Undo;
use super::{Ack, Acked};
use crate::tcp::buffer::Pool;
use crate::tcp::congestion::AckSample;
use crate::tcp::congestion::rate::RateEstimator;
use crate::time::Instant;

/// Blocks that are looked at; more do not fit the option.
const MAX_BLOCKS: usize = 4;

/// What is new in an acknowledgment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// Bytes acknowledged cumulatively.
    pub(super) acked: u64,
    /// Bytes that arrived, as far as they were not known to have.
    pub(super) delivered: u64,
    /// When the newest of them was sent, if it was sent once.
    newest: Option<Instant>,
    /// When the first was sent of those acknowledged cumulatively, if it was sent once.
    oldest: Option<Instant>,
    /// Something that was sent again was acknowledged cumulatively.
    repeat_acked: bool,
    /// Data sent once, which was taken for lost, arrived.
    pub(super) original: bool,
    /// It reports what arrived, be it known.
    pub(super) has_blocks: bool,
    /// Something was selectively acknowledged for the first time.
    pub(super) sacked: bool,
    /// The peer got something twice: the end of it.
    pub(super) duplicate: Option<u64>,
    /// It is a duplicate acknowledgment (RFC 5681 section 2), selective or not.
    pub(super) repeated: bool,
    /// Bytes marked lost because of it.
    pub(super) lost: u64,
}

impl Sender {
    /// Takes what a segment of the peer acknowledges.
    pub(crate) fn on_ack(&mut self, now: Instant, pool: &mut Pool, ack: &Ack<'_>) -> Acked {
        if ack.offset > self.board.next() {
            return Acked { unsent: true, ..Acked::default() };
        }
        self.note_application_limit();
        let una = self.board.una();
        let prior_in_flight = self.in_flight();
        let window_moved = self.peer.update(una, ack.offset, ack.sequence, ack.window);
        let mut news = self.take_in(now, ack);
        news.repeated = news.acked == 0
            && ack.offset == una
            && !ack.carries_data
            && !window_moved
            && self.board.outstanding() > 0;
        let acked = self.release(pool, news.acked);
        self.note_progress(now, &news);
        self.measure(now, ack, &news);
        if self.sack {
            news.lost = self.detect_lost(now);
        } else {
            self.count_duplicates(now, &mut news);
        }
        self.reopen();
        self.advance(now, ack, &news, prior_in_flight);
        self.tell_congestion(now, &news, prior_in_flight);
        self.set_timers(now, &news);
        acked
    }

    /// Brings the scoreboard up to date.
    fn take_in(&mut self, now: Instant, ack: &Ack<'_>) -> News {
        let una = self.board.una();
        let Self { board, rate, rack, undo, known_blocks, .. } = self;
        rack.begin_ack();
        let min_rtt = self.rtt.smallest();
        let mut arrivals = Arrivals { now, min_rtt, rate, rack, undo, news: News::default() };
        if ack.offset > una {
            arrivals.news.acked = ack.offset - una;
            board.acknowledge(ack.offset, |run, part| {
                arrivals.news.repeat_acked |= run.sent_again();
                arrivals.news.oldest = arrivals.news.oldest.or(Some(run.sent()));
                arrivals.part(run, part);
            });
        }
        if self.sack {
            arrivals.take_blocks(board, known_blocks, ack);
        }
        let news = arrivals.news;
        if let (Some(end), Some(block)) = (news.duplicate, ack.sack.first()) {
            let is_probe = self.loss_probe.is_some_and(|probe| probe.end == end);
            if self.undo.on_duplicate(block) && !is_probe {
                self.rack.duplicate_seen(self.board.una(), self.board.next());
            }
        }
        news
    }

    /// Drops what is acknowledged from the buffer.
    fn release(&mut self, pool: &mut Pool, acked: u64) -> Acked {
        if acked == 0 {
            return Acked::default();
        }
        let bytes = acked.min(self.queue.len() as u64);
        self.queue.consume(pool, bytes as usize);
        let fin = acked > bytes;
        self.fin_acknowledged |= fin;
        if self.queue.is_empty() {
            self.queue.shrink();
        }
        let limit = self.buffer_limit();
        let freed_room = self.writer_waits && self.room() >= limit / 3;
        self.writer_waits &= !freed_room;
        Acked { unsent: false, bytes, fin, freed_room }
    }

    fn note_progress(&mut self, now: Instant, news: &News) {
        let shut = self.peer.edge() <= self.board.una();
        if news.acked > 0 {
            self.full_timeouts = 0;
            self.rtt.progress();
        }
        // Who answers probes of a closed window is there.
        if news.delivered > 0 || shut {
            self.progress = now;
        }
    }

    /// Takes round trip samples: never of what was sent again (Karn), unless time stamps tell.
    fn measure(&mut self, now: Instant, ack: &Ack<'_>, news: &News) {
        if let Some(newest) = news.newest {
            self.rtt.note_smallest(now, now - newest);
        }
        let of_acked = news.oldest.filter(|_| !news.repeat_acked).map(|sent| now - sent);
        let of_sacked = || news.newest.filter(|_| news.sacked).map(|sent| now - sent);
        let of_echo = || ack.echo_age.filter(|_| news.acked > 0);
        if let Some(rtt) = of_acked.or_else(of_sacked).or_else(of_echo) {
            self.rtt.sample(rtt, self.board.una(), self.board.next());
        }
    }

    /// Marks lost what RACK says; bytes.
    pub(super) fn detect_lost(&mut self, now: Instant) -> u64 {
        let min_rtt = self.rtt.smallest();
        let srtt = self.rtt.smoothed().unwrap_or(Duration::ZERO);
        let certain = matches!(self.state, State::Recovery | State::Loss)
            || self.board.sacked() > 2 * u64::from(self.mss);
        let patience = self.rack.patience(certain, min_rtt, srtt);
        let Self { board, rack, rate, congestion, .. } = self;
        let mut bytes = 0;
        let due = board.detect_lost(
            now,
            |sent, end| rack.is_before(sent, end),
            |sent| sent + patience,
            |run| {
                bytes += run.bytes();
                congestion.on_lost(now, &rate.on_lost(run.stamp(), run.bytes()));
            },
        );
        self.at.reordering = due.unwrap_or(Instant::FAR_FUTURE);
        bytes
    }

    /// Without selective acknowledgments: a duplicate stands for a segment that arrived, the third begins
    /// recovery, and in recovery each cumulative one uncovers the next hole (RFC 6582).
    fn count_duplicates(&mut self, now: Instant, news: &mut News) {
        let mss = self.mss;
        if news.acked > 0 {
            // One of the segments acknowledged filled the hole; the others are those counted before.
            let known = news.acked.saturating_sub(u64::from(mss)).min(u64::from(self.credit));
            self.credit -= known as u32;
            news.delivered -= known.min(news.delivered);
            if matches!(self.state, State::Open | State::Disorder) {
                self.credit = 0;
            }
        }
        if news.repeated {
            let most = self.board.in_flight().saturating_sub(u64::from(mss)).min(1 << 30) as u32;
            let more = mss.min(most.saturating_sub(self.credit));
            self.credit += more;
            news.delivered += u64::from(more);
        }
        let una = self.board.una();
        let begins = matches!(self.state, State::Open | State::Disorder)
            && self.credit >= 3 * mss
            && una >= self.careful_until;
        let goes_on = self.state == State::Recovery && news.acked > 0 && una < self.recovery_point;
        if begins || goes_on {
            let Self { board, rate, congestion, .. } = self;
            board.lose_first(mss, |run| {
                news.lost += run.bytes();
                congestion.on_lost(now, &rate.on_lost(run.stamp(), run.bytes()));
            });
        }
        let most = self.board.in_flight().min(u64::from(self.credit));
        self.credit = most as u32;
    }

    fn tell_congestion(&mut self, now: Instant, news: &News, prior_in_flight: u64) {
        let min_rtt = self.rtt.smallest();
        let known_min = if min_rtt == Duration::MAX { Duration::ZERO } else { min_rtt };
        let rate = self.rate.sample(now, known_min);
        let una = self.board.una();
        let sample = AckSample {
            delivered: news.delivered,
            in_flight: self.in_flight(),
            prior_in_flight,
            rtt: news.newest.map(|sent| now - sent),
            min_rtt,
            smoothed_rtt: self.rtt.smoothed().unwrap_or(Duration::ZERO),
            rate,
            in_recovery: self.state == State::Recovery,
            window_limited: una - news.acked < self.limited_until,
            next_offset: self.board.next(),
            una,
        };
        if news.delivered > 0 || prior_in_flight > 0 {
            self.congestion.on_ack(now, &sample);
        }
        if let Some(reduction) = &mut self.reduction {
            let safe = news.acked > 0 && news.lost == 0;
            reduction.on_ack(news.delivered, sample.in_flight, safe, self.mss);
        }
        if self.congestion.holds_back() {
            self.rate.mark_app_limited(sample.in_flight);
        }
        self.set_pacing_rate(now);
    }
}

/// Who is told of each part that arrived.
struct Arrivals<'a> {
    now: Instant,
    min_rtt: Duration,
    rate: &'a mut RateEstimator,
    rack: &'a mut Rack,
    undo: &'a mut Undo,
    news: News,
}

impl Arrivals<'_> {
    /// A part of a run has arrived, which was not known.
    fn part(&mut self, run: &Run, part: Range<u64>) {
        let bytes = part.end - part.start;
        self.news.delivered += bytes;
        if run.sent_again() && self.now - run.sent() < self.min_rtt {
            self.rate.on_delivered_early(self.now, bytes);
        } else {
            self.rate.on_delivered(self.now, run.stamp(), bytes);
        }
        self.rack.delivered(self.now, run, part.end, self.min_rtt);
        if run.sent_again() {
            self.undo.on_repeat_acknowledged(bytes, self.now - run.sent(), self.min_rtt);
        } else {
            self.news.newest = self.news.newest.max(Some(run.sent()));
            self.news.original |= run.lost();
        }
    }

    /// Takes the selective acknowledgments. `known` are the blocks of the last acknowledgment that had
    /// new ones: what they cover is not walked over again.
    fn take_blocks(&mut self, board: &mut Scoreboard, known: &mut Vec<Range<u64>>, ack: &Ack<'_>) {
        let before = self.news.delivered;
        for (i, block) in ack.sack.iter().take(MAX_BLOCKS).enumerate() {
            if block.start >= block.end || block.end > board.next() {
                continue;
            }
            self.news.has_blocks = true;
            if i == 0 && is_duplicate(ack) {
                self.news.duplicate = Some(block.end);
                continue;
            }
            if block.start < ack.offset {
                continue;
            }
            let within = known.iter().find(|known| {
                block.start <= known.start && known.end <= block.end && known.start < known.end
            });
            let (left, right) = match within {
                Some(known) => (block.start..known.start, known.end..block.end),
                None => (block.clone(), 0..0),
            };
            for part in [left, right] {
                board.sack(part, |run, part| self.part(run, part));
            }
        }
        self.news.sacked = self.news.delivered > before;
        if self.news.sacked {
            let next = board.next();
            let good = |block: &&Range<u64>| {
                block.start >= ack.offset && block.start < block.end && block.end <= next
            };
            known.clear();
            known.extend(ack.sack.iter().take(MAX_BLOCKS).filter(good).cloned());
        } else if board.sacked() == 0 && known.capacity() > 0 {
            *known = Vec::new();
        }
    }
}

/// The first block reports something that arrived twice (RFC 2883 section 4): it is acknowledged, or
/// lies within the second block.
fn is_duplicate(ack: &Ack<'_>) -> bool {
    match ack.sack {
        [first, ..] if first.end <= ack.offset => true,
        [first, second, ..] => second.start <= first.start && first.end <= second.end,
        _ => false,
    }
}
