//! The log of requests, and of connections in mode `tcp`: one line each.
//!
//! # Theory of operation
//! Each connection keeps an entry; what happens to a request is noted there, and at its end the entry
//! is formatted into the batch of its service. The batch goes to a [`Sink`] when it is large enough, and
//! otherwise a moment after its first line:
//!
//! ```text
//!  request ─ entry ─► line ─► batch, at most 1 MiB ─► Sink: a queue ─► a thread ─► file
//!                       └ no room: counted, not waited for
//! ```
//!
//! Nothing waits: a sink that cannot take a batch now is asked again with the next line. Formatting asks
//! for no memory once entry and batch have grown. A service without a log pays for a look at an
//! option, and for the counter of [`End`], which every request has.
//!
//! Every request that has begun leaves a line: one that is still under way when the balancer stops
//! ends as [`End::Stopped`].

mod end;
mod entry;
mod escape;
mod field;
mod format;
mod number;
mod record;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

pub use end::End;
pub(crate) use entry::Entry;
pub use field::{Field, Names};
pub use format::{Format, FormatError, FormatErrorKind, MAX_FORMAT, MAX_HEADERS};
use netstack::tcp::Stack;
use number::Calendar;
pub(crate) use record::{Exchanged, Record};

use crate::limits::{LOG_BATCH, LOG_DELAY, LOG_WAITING};
use crate::stats::Counter;

/// Takes lines away. Shared by services that log to the same place.
pub trait Sink: fmt::Debug + Send + Sync {
    /// The time now, from the Unix epoch: by the clock on the wall, or one that a simulation has.
    fn now(&self) -> Duration;

    /// Takes whole lines and leaves `lines` empty, if that can be done without waiting; else leaves them.
    fn take(&self, lines: &mut Vec<u8>);

    /// Takes the last lines of a service, and may wait for that.
    fn take_last(&self, lines: Vec<u8>);

    /// Lines that found no room are missing from here on.
    fn lost(&self, lines: u64);
}

/// The log of one service.
pub struct AccessLog {
    format: Format,
    names: Names,
    sink: Arc<dyn Sink>,
    /// Knows what connections went through, if they are of this process's own TCP.
    stack: Option<Stack>,
    calendar: Calendar,
    batch: RefCell<Vec<u8>>,
    /// A task will hand the batch over.
    delivering: Cell<bool>,
    lines: Counter,
    lost: Counter,
}

impl AccessLog {
    /// A log of requests to the service of `names`, written to `sink`.
    pub fn new(format: Format, names: Names, sink: Arc<dyn Sink>) -> Self {
        Self {
            format,
            names,
            sink,
            stack: None,
            calendar: Calendar::default(),
            batch: RefCell::default(),
            delivering: Cell::new(false),
            lines: Counter::default(),
            lost: Counter::default(),
        }
    }

    /// The same, which asks `stack` what connections went through.
    #[must_use]
    pub fn with_stack(mut self, stack: Stack) -> Self {
        self.stack = Some(stack);
        self
    }

    /// Lines written so far.
    pub const fn lines(&self) -> &Counter {
        &self.lines
    }

    /// Lines that found no room.
    pub const fn lost(&self) -> &Counter {
        &self.lost
    }

    pub(crate) fn headers(&self) -> &[Box<str>] {
        self.format.headers()
    }

    const fn stack(&self) -> Option<&Stack> {
        self.stack.as_ref()
    }

    /// Writes the line of `entry`. Must be called within a `LocalSet`.
    pub(crate) fn write(self: &Rc<Self>, entry: &Entry) {
        self.put(entry);
        if !self.batch.borrow().is_empty() && !self.delivering.replace(true) {
            tokio::task::spawn_local(deliver(Rc::downgrade(self)));
        }
    }

    /// Puts the line of `entry` into the batch, which goes with later ones, or with the last.
    pub(crate) fn put(&self, entry: &Entry) {
        let mut batch = self.batch.borrow_mut();
        if batch.len() >= LOG_WAITING {
            self.sink.take(&mut batch);
            if !batch.is_empty() {
                self.lost.bump();
                self.sink.lost(1);
                return;
            }
        }
        let began = self.sink.now().saturating_sub(entry.total);
        self.format.write(entry, &self.names, began, &self.calendar, &mut batch);
        self.lines.bump();
        if batch.len() >= LOG_BATCH {
            self.sink.take(&mut batch);
        }
    }

    /// Hands the batch over if that can be done now. Whether it was.
    fn hand_over(&self) -> bool {
        let mut batch = self.batch.borrow_mut();
        self.sink.take(&mut batch);
        batch.is_empty()
    }
}

/// Hands over what has come together, as soon as that is possible.
async fn deliver(log: Weak<AccessLog>) {
    loop {
        tokio::time::sleep(LOG_DELAY).await;
        let Some(log) = log.upgrade() else { return };
        if log.hand_over() {
            log.delivering.set(false);
            return;
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.sink.take_last(self.batch.take());
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("format", &self.format).finish_non_exhaustive()
    }
}
