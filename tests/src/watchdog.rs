//! An end for tests that hang.

use std::process::abort;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// Ends the process, saying what hung, unless it is dropped in time. Time is real.
///
/// A test on virtual time has no other end: where time stands still no timeout passes.
#[derive(Debug)]
pub struct Watchdog {
    _alive: Sender<()>,
}

impl Watchdog {
    /// Watches over `what` for `limit`.
    pub fn new(what: impl Into<String>, limit: Duration) -> Self {
        let (alive, dead) = channel::<()>();
        let what = what.into();
        thread::spawn(move || {
            if dead.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("still running after {limit:?}: {what}");
                abort();
            }
        });
        Self { _alive: alive }
    }
}
