//! [`Sender`]: its parts, and what the application does with it.

use std::ops::Range;
use std::time::Duration;

use super::pacing::Pacer;
use super::prr::Reduction;
use super::rack::Rack;
use super::rtt::RoundTrip;
use super::scoreboard::Scoreboard;
use super::undo::Undo;
use super::window::PeerWindow;
use super::{MIN_BUFFER, SenderConfig};
use crate::tcp::buffer::{ByteQueue, Pool};
use crate::tcp::congestion::rate::RateEstimator;
use crate::tcp::congestion::{Algorithm, Congestion};
use crate::tcp::limits::MIN_PEER_MSS;
use crate::time::Instant;

/// See [the table](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No sign of a loss.
    Open,
    /// Something is missing at the peer, perhaps only late.
    Disorder,
    /// Something was lost.
    Recovery,
    /// All that was in flight may be lost.
    Loss,
}

/// What F-RTO (RFC 5682) does in loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frto {
    Off,
    /// The first segment was sent again; the next acknowledgments tell.
    Waiting,
    /// New data is sent before more is sent again.
    NewData,
}

/// A loss probe whose outcome is not known (RFC 8985 section 7.4).
#[derive(Clone, Copy, Debug)]
pub(super) struct LossProbe {
    /// SND.NXT when it was sent.
    pub(super) end: u64,
    /// It carried what had been sent before.
    pub(super) sent_again: bool,
}

/// Deadlines; [`Instant::FAR_FUTURE`] if not set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    pub(super) rto: Instant,
    pub(super) loss_probe: Instant,
    pub(super) reordering: Instant,
    pub(super) pacing: Instant,
}

impl Deadlines {
    const NONE: Self = Self {
        rto: Instant::FAR_FUTURE,
        loss_probe: Instant::FAR_FUTURE,
        reordering: Instant::FAR_FUTURE,
        pacing: Instant::FAR_FUTURE,
    };
}

/// What is to be sent before all else.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pending {
    pub(super) window_probe: bool,
    pub(super) loss_probe: bool,
    /// What fits the peer's window, be it small.
    pub(super) runt: bool,
}

/// Counters of [`SenderInfo`](super::SenderInfo).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) segments_sent_again: u32,
    pub(super) timeouts: u32,
    pub(super) undone: u32,
}

/// One direction of a connection: see [the module](super).
#[derive(Debug)]
pub(crate) struct Sender {
    pub(super) queue: ByteQueue,
    pub(super) board: Scoreboard,
    pub(super) rtt: RoundTrip,
    pub(super) rack: Rack,
    pub(super) rate: RateEstimator,
    pub(super) undo: Undo,
    pub(super) pacer: Pacer,
    pub(super) peer: PeerWindow,
    pub(super) congestion: Box<dyn Congestion>,
    /// Runs in recovery unless the congestion control governs it.
    pub(super) reduction: Option<Box<Reduction>>,
    /// Blocks of the last acknowledgment with any; empty for an idle connection.
    pub(super) known_blocks: Vec<Range<u64>>,
    pub(super) at: Deadlines,
    pub(super) counters: Counters,
    /// SND.NXT when the episode began.
    pub(super) recovery_point: u64,
    /// Duplicate acknowledgments below it begin no recovery (RFC 6582 section 3.2).
    pub(super) careful_until: u64,
    /// The window was in the way of sending until this is acknowledged.
    pub(super) limited_until: u64,
    pub(super) loss_probe: Option<LossProbe>,
    pub(super) last_sent: Instant,
    /// When the peer last took something.
    pub(super) progress: Instant,
    /// In microseconds; zero for none.
    user_timeout: u64,
    pub(super) max_buffer: usize,
    pub(super) mss: u32,
    /// Bytes that duplicate acknowledgments stand for, without selective ones.
    pub(super) credit: u32,
    /// Timeouts without progress, of full segments.
    pub(super) full_timeouts: u8,
    pub(super) state: State,
    pub(super) frto: Frto,
    pub(super) pending: Pending,
    pub(super) sack: bool,
    nagle: bool,
    closed: bool,
    pub(super) fin_acknowledged: bool,
    /// The episode reduced the window.
    pub(super) reduced: bool,
    /// A timeout found the peer's window closed: what is in flight was dropped.
    pub(super) shut_out: bool,
    /// A writer found no room.
    pub(super) writer_waits: bool,
}

impl Sender {
    /// A sender that has sent its SYN and nothing else.
    pub(crate) fn new(config: SenderConfig, now: Instant) -> Self {
        let mss = believable(config.mss);
        let mut rtt = RoundTrip::new(now, config.rto_min);
        if let Some(sample) = config.handshake_rtt {
            rtt.sample(sample, 0, 0);
            rtt.note_smallest(now, sample);
        }
        let mut sender = Self {
            queue: ByteQueue::new(),
            board: Scoreboard::new(),
            rtt,
            rack: Rack::new(),
            rate: RateEstimator::new(now),
            undo: Undo::new(),
            pacer: Pacer::new(now, config.congestion.window()),
            peer: PeerWindow::new(config.window),
            congestion: config.congestion,
            reduction: None,
            known_blocks: Vec::new(),
            at: Deadlines::NONE,
            counters: Counters::default(),
            recovery_point: 0,
            careful_until: 0,
            limited_until: 0,
            loss_probe: None,
            last_sent: now,
            progress: now,
            user_timeout: u64::try_from(config.user_timeout.as_micros()).unwrap_or(u64::MAX),
            max_buffer: config.max_buffer,
            mss,
            credit: 0,
            full_timeouts: 0,
            state: State::Open,
            frto: Frto::Off,
            pending: Pending::default(),
            sack: config.sack,
            nagle: config.nagle,
            closed: false,
            fin_acknowledged: false,
            reduced: false,
            shut_out: false,
            writer_waits: false,
        };
        sender.set_pacing_rate(now);
        sender
    }

    /// Queues bytes and tells how many: fewer than all if the buffer or the pool is full, none after
    /// [`close`](Self::close).
    pub(crate) fn write(&mut self, now: Instant, pool: &mut Pool, bytes: &[u8]) -> usize {
        if self.closed || bytes.is_empty() {
            return 0;
        }
        self.note_application_limit();
        if self.queue.is_empty() {
            self.progress = now;
        }
        let room = if pool.pressure() {
            MIN_BUFFER.saturating_sub(self.queue.len()).min(self.room())
        } else {
            self.room()
        };
        let fits = bytes.get(..room).unwrap_or(bytes);
        let fits = if pool.spare() > 0 { fits } else { &[] };
        let taken = self.queue.push(pool, fits);
        self.writer_waits = taken < bytes.len();
        taken
    }

    /// A writer waits for memory, and no acknowledgment will tell that there is some.
    pub(crate) const fn starves(&self) -> bool {
        self.writer_waits && self.queue.is_empty()
    }

    /// Bytes that [`write`](Self::write) would take now, if the pool has them. Grows with the congestion
    /// window: a window in flight and one to follow.
    pub(crate) fn room(&self) -> usize {
        if self.closed { 0 } else { self.buffer_limit().saturating_sub(self.queue.len()) }
    }

    /// Queues the FIN.
    pub(crate) fn close(&mut self, now: Instant) {
        if !self.closed {
            self.note_application_limit();
            self.closed = true;
            if self.queue.is_empty() {
                self.progress = now;
            }
        }
    }

    /// Data bytes of a full segment.
    pub(crate) const fn mss(&self) -> u32 {
        self.mss
    }

    /// Bytes that are not acknowledged, sent or not.
    pub(crate) const fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Bytes that were never sent.
    pub(crate) const fn unsent(&self) -> u64 {
        self.written().saturating_sub(self.board.next())
    }

    /// The oldest offset that is not acknowledged (SND.UNA).
    pub(crate) const fn una(&self) -> u64 {
        self.board.una()
    }

    /// The next offset to be sent for the first time (SND.NXT).
    pub(crate) const fn next_offset(&self) -> u64 {
        self.board.next()
    }

    /// Copies payload of a [`Transmit`](super::Transmit) and tells how much; it must be done before the next
    /// [`on_ack`](Self::on_ack).
    pub(crate) fn copy_payload(&self, offset: u64, to: &mut [u8]) -> usize {
        let from = offset.saturating_sub(self.queue_offset());
        self.queue.copy_to(usize::try_from(from).unwrap_or(usize::MAX), to)
    }

    /// Gives all memory back to the pool; nothing can be sent any more.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        let end = self.board.next();
        self.fin_acknowledged |= end > self.written();
        self.board.acknowledge(end, |_, _| {});
        self.queue.clear(pool);
        self.closed = true;
        self.at = Deadlines::NONE;
    }

    /// The path takes segments of `mss` data bytes. What is in flight in larger ones is sent again, which
    /// is no sign of congestion. Whether to believe a message that says so is the caller's to decide.
    pub(crate) fn set_mss(&mut self, now: Instant, mss: u32) {
        let mss = believable(mss);
        if mss == self.mss {
            return;
        }
        let smaller = mss < self.mss;
        self.mss = mss;
        self.full_timeouts = 0;
        self.congestion.set_mss(mss);
        self.set_pacing_rate(now);
        if smaller {
            self.send_again_unreduced(|run| run.segment() > mss);
        }
    }

    /// Another algorithm takes over, from the window as it is.
    pub(crate) fn set_congestion(&mut self, now: Instant, algorithm: Algorithm, seed: u64) {
        let old = &self.congestion;
        if old.algorithm() == algorithm {
            return;
        }
        let mut new = algorithm.start(now, self.mss, seed);
        new.inherit(old.window(), old.slow_start_threshold());
        if new.governs_recovery() {
            self.reduction = None;
        }
        self.congestion = new;
        self.set_pacing_rate(now);
    }

    /// Timeouts of full segments follow each other: perhaps the path drops them for their size and does
    /// not say so (RFC 8899). The caller may try a smaller [`set_mss`](Self::set_mss).
    pub(crate) const fn blackhole_suspected(&self) -> bool {
        self.full_timeouts >= super::timers::BLACK_HOLE_TIMEOUTS
    }

    /// The peer has not taken anything for longer than the user timeout (RFC 5482): the connection should
    /// be aborted.
    pub(crate) fn gone(&self, now: Instant) -> bool {
        now >= self.gone_at()
    }

    pub(super) fn gone_at(&self) -> Instant {
        let waits = self.board.una() < self.end();
        if waits && self.user_timeout > 0 {
            self.progress + Duration::from_micros(self.user_timeout)
        } else {
            Instant::FAR_FUTURE
        }
    }

    /// The offset of the first byte in the queue.
    const fn queue_offset(&self) -> u64 {
        self.written() - self.queue.len() as u64
    }

    /// The end of what the application wrote.
    pub(super) const fn written(&self) -> u64 {
        let una = self.board.una();
        // Behind the FIN the queue is empty.
        una + self.queue.len() as u64 - self.fin_acknowledged as u64
    }

    /// The end of what there is to send, the FIN included.
    pub(super) const fn end(&self) -> u64 {
        self.written() + self.closed as u64
    }

    pub(super) const fn nagle(&self) -> bool {
        self.nagle && !self.closed
    }
}

/// A segment size that is not absurd.
fn believable(mss: u32) -> u32 {
    mss.clamp(u32::from(MIN_PEER_MSS), u32::from(u16::MAX))
}
