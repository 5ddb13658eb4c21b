//! Counters of a service. Cheap to bump, read at any time, never reset.

use std::cell::{Cell, RefCell};

use crate::http1::reject::Rule;
use crate::log::End;
use crate::unserved::UnservedCounts;

/// A counter of one thread.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }

    pub(crate) fn bump(&self) {
        self.add(1);
    }
}

/// How requests ended, or connections of mode `tcp`.
#[derive(Debug, Default)]
pub struct Ends([Counter; End::COUNT]);

impl Ends {
    /// Each kind by its name, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        End::NAMES.into_iter().zip(self.0.iter().map(Counter::get))
    }

    /// The count of one kind.
    pub fn get(&self, end: End) -> u64 {
        self.0.get(end.kind()).map_or(0, Counter::get)
    }

    pub(crate) fn count(&self, end: End) {
        if let Some(counter) = self.0.get(end.kind()) {
            counter.bump();
        }
    }
}

/// What an HTTP service did.
#[derive(Debug, Default)]
pub struct Stats {
    /// Client connections.
    pub connections: Counter,
    /// Requests whose head was accepted.
    pub requests: Counter,
    /// Responses to clients by class: index 0 is 1xx, index 4 is 5xx. Our own are counted too.
    pub responses: [Counter; 5],
    /// Connections made to backends.
    pub upstream_connects: Counter,
    /// Attempts to connect that failed.
    pub upstream_failures: Counter,
    /// Requests sent on a connection that had served another before.
    pub upstream_reuses: Counter,
    /// Requests sent again: because a reused connection had just ended, or as the service says.
    pub retries: Counter,
    /// Requests sent to a second backend while the first had not answered.
    pub hedges: Counter,
    /// Body and tunnel bytes from clients to backends.
    pub bytes_up: Counter,
    /// Body and tunnel bytes from backends to clients.
    pub bytes_down: Counter,
    /// Connections that became tunnels.
    pub tunnels: Counter,
    /// Exchanges that ended before their response did.
    pub aborted: Counter,
    /// Client connections that were closed before the first request was read.
    pub unserved: UnservedCounts,
    /// Connections of HTTP/2 that were ended for a flood of frames.
    pub floods: Counter,
    /// How requests ended.
    pub ends: Ends,
    rejected: [Counter; Rule::COUNT],
}

impl Stats {
    /// Messages refused by `rule`, requests and responses together.
    pub fn rejected(&self, rule: Rule) -> u64 {
        self.rejected.get(rule as usize).map_or(0, Counter::get)
    }

    /// All messages refused.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.iter().map(Counter::get).sum()
    }

    pub(crate) fn count_rejected(&self, rule: Rule) {
        if let Some(counter) = self.rejected.get(rule as usize) {
            counter.bump();
        }
    }

    pub(crate) fn count_response(&self, status: http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        if let Some(counter) = self.responses.get(class) {
            counter.bump();
        }
    }
}

/// What a splice service did.
#[derive(Debug, Default)]
pub struct SpliceStats {
    /// Client connections.
    pub connections: Counter,
    /// Connections made to backends.
    pub upstream_connects: Counter,
    /// Attempts to connect that failed.
    pub upstream_failures: Counter,
    /// Client connections for which no backend was found.
    pub refused: Counter,
    /// Client connections that were closed before a backend was looked for.
    pub unserved: UnservedCounts,
    /// Connections that ended by an error or a timeout rather than by both ends closing.
    pub aborted: Counter,
    /// Bytes from clients to backends.
    pub bytes_up: Counter,
    /// Bytes from backends to clients.
    pub bytes_down: Counter,
    /// How connections ended.
    pub ends: Ends,
}

/// One counter for each backend, made when it is first counted.
#[derive(Debug, Default)]
pub(crate) struct PerBackend(RefCell<Vec<u64>>);

impl PerBackend {
    pub(crate) fn counts(&self) -> Vec<u64> {
        self.0.borrow().clone()
    }

    pub(crate) fn bump(&self, backend: usize) {
        let mut counts = self.0.borrow_mut();
        if counts.len() <= backend {
            counts.resize(backend + 1, 0);
        }
        if let Some(count) = counts.get_mut(backend) {
            *count += 1;
        }
    }
}
