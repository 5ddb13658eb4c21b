//! All captures of one loop.

use std::fmt;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

use l7::transaction::Watch;
use nat::Engine;
use netstack::{Instant, Packet};

use super::transaction::Recorder;
use super::{Report, Tap};

/// Captures at a time.
pub const MAX_TAPS: usize = 8;

/// How long the end of a process waits for whoever reads a capture.
const PATIENCE: Duration = Duration::from_secs(2);

/// There are [`MAX_TAPS`] captures already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTaps;

impl fmt::Display for TooManyTaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MAX_TAPS} captures run already")
    }
}

impl std::error::Error for TooManyTaps {}

/// A capture that takes no more packets.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) thread: JoinHandle<Report>,
    /// It writes a file, which is worth waiting for.
    pub(super) is_file: bool,
}

/// Captures, and the names that packets have in all of them. The three calls stand where a packet comes
/// in, where its verdict is known, and where a packet leaves that had none.
///
/// The engine that decides must keep accounts ([`Engine::set_accounting`]) while there are any.
#[derive(Debug, Default)]
pub struct Taps {
    open: Vec<Tap>,
    recorders: Vec<Recorder>,
    /// What tells of requests, once anybody wanted to know.
    watch: Option<Rc<Watch>>,
    /// Packets named so far.
    named: u64,
    /// Captures that have ended, and may still write.
    ending: Vec<Ending>,
    /// What those to files came to that have ended by themselves.
    reports: Vec<Report>,
}

impl Taps {
    /// True if nobody captures, and none of the calls is needed.
    pub const fn is_empty(&self) -> bool {
        self.open.is_empty() && self.recorders.is_empty()
    }

    /// Adds a capture.
    ///
    /// # Errors
    /// There are [`MAX_TAPS`].
    pub fn add(&mut self, tap: Tap) -> Result<(), TooManyTaps> {
        self.has_room()?;
        self.open.push(tap);
        Ok(())
    }

    /// Has `watch` tell of requests, if they matter to a capture.
    pub fn watch(&mut self, watch: &Rc<Watch>) {
        self.watch.get_or_insert_with(|| Rc::clone(watch));
        self.settle_watch();
    }

    /// Adds a capture of requests, of which `watch` tells.
    ///
    /// # Errors
    /// There are [`MAX_TAPS`].
    pub fn add_recorder(
        &mut self,
        recorder: Recorder,
        watch: &Rc<Watch>,
    ) -> Result<(), TooManyTaps> {
        self.has_room()?;
        if recorder.wants_keys() {
            watch.keys().keep();
        }
        self.recorders.push(recorder);
        self.watch(watch);
        Ok(())
    }

    const fn has_room(&self) -> Result<(), TooManyTaps> {
        if self.open.len() + self.recorders.len() < MAX_TAPS { Ok(()) } else { Err(TooManyTaps) }
    }

    /// A packet has come by `packet.leg` and is about to be decided on: it gets its name.
    pub fn arrives(&mut self, packet: &mut Packet) {
        packet.id = self.name();
        for tap in &mut self.open {
            tap.arrives(packet);
        }
        for recorder in &mut self.recorders {
            recorder.arrives(packet);
        }
    }

    /// `engine` has decided on the packet that arrived last, and this is what became of it.
    pub fn decided(&mut self, now: Instant, engine: &Engine, packet: &Packet) {
        for tap in &mut self.open {
            tap.decided(now, engine, packet);
        }
        for recorder in &mut self.recorders {
            recorder.decided(now, engine);
        }
    }

    /// A packet is about to leave by `packet.leg` that was not decided on just now: one that was held,
    /// or that this process made. One without a name gets one.
    pub fn leaves(&mut self, now: Instant, engine: &Engine, packet: &mut Packet) {
        if packet.id == 0 {
            packet.id = self.name();
        }
        for tap in &mut self.open {
            tap.leaves(now, engine, packet);
        }
        for recorder in &mut self.recorders {
            recorder.leaves(now, engine, packet);
        }
    }

    /// The applications have run: requests that are over are taken down, and written when their last
    /// packets have come.
    pub fn attend(&mut self, now: Instant) {
        let Some(watch) = &self.watch else { return };
        while let Some(transaction) = watch.take() {
            for tap in &mut self.open {
                tap.finished(now, &transaction);
            }
            for recorder in &mut self.recorders {
                recorder.finished(now, &transaction);
            }
        }
        for recorder in &mut self.recorders {
            recorder.write_due(now, watch.keys());
        }
    }

    /// When [`attend`](Self::attend) is to be called next, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.recorders.iter().filter_map(Recorder::poll_timeout).min()
    }

    /// The loop is about to wait: what was captured goes on its way. Captures that have ended by
    /// themselves are forgotten.
    pub fn idle(&mut self) {
        let captures = self.open.len() + self.recorders.len();
        for mut tap in std::mem::take(&mut self.open) {
            if tap.idle() {
                self.open.push(tap);
            } else {
                // Its thread may still have something to write, for which the loop does not wait.
                self.ending.extend(tap.end());
            }
        }
        self.end_recorders(|recorder| !recorder.idle());
        if self.open.len() + self.recorders.len() < captures {
            self.settle_watch();
        }
        for ending in std::mem::take(&mut self.ending) {
            if !ending.thread.is_finished() {
                self.ending.push(ending);
            } else if ending.is_file {
                self.reports.extend(ending.thread.join());
            }
        }
    }

    /// Ends all captures, waits until they are written, and says what they came to. For one whose reader
    /// does not read, it does not wait long.
    pub fn end(&mut self) -> Vec<Report> {
        self.ending.extend(self.open.drain(..).filter_map(Tap::end));
        self.end_recorders(|_| true);
        self.settle_watch();
        let until = Clock::now() + PATIENCE;
        let mut reports = std::mem::take(&mut self.reports);
        for Ending { thread, is_file } in self.ending.drain(..) {
            while !is_file && !thread.is_finished() && Clock::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            if is_file || thread.is_finished() {
                // One that panicked has said so.
                reports.extend(thread.join());
            }
        }
        reports
    }

    fn end_recorders(&mut self, is_over: impl Fn(&Recorder) -> bool) {
        let Some(watch) = &self.watch else { return };
        let over = self.recorders.extract_if(.., |recorder| is_over(recorder));
        self.ending.extend(over.filter_map(|recorder| recorder.end(watch.keys())));
    }

    /// Has the watch tell of what somebody wants to know, and of nothing else.
    fn settle_watch(&self) {
        let Some(watch) = &self.watch else { return };
        watch.set(!self.recorders.is_empty() || self.open.iter().any(Tap::wants_requests));
        if !self.recorders.iter().any(Recorder::wants_keys) {
            watch.keys().forget();
        }
    }

    const fn name(&mut self) -> u64 {
        self.named += 1;
        self.named
    }
}
