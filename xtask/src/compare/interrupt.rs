//! Signals that ask for the end, as a flag.
//!
//! The signals are blocked in every thread and taken by one that does nothing else. No handler runs,
//! so nothing needs to be async-signal-safe, and every guard's `Drop` is reached.

use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use nix::sys::signal::{SigSet, Signal};

use super::Failure;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Begins to watch. To be called while the process has a single thread: others inherit the mask.
///
/// Children inherit it too, so that only `SIGKILL` is sure to end them.
pub(super) fn watch() -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        signals.add(signal);
    }
    signals.thread_block()?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while signals.wait().is_ok() {
            ASKED.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(())
}

/// An error once the end has been asked for. Every wait calls it.
pub(super) fn check() -> Result<(), Failure> {
    if ASKED.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
}
