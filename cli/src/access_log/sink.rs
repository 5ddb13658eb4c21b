//! The way of lines to the thread of their file.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use l7::log::Sink;

use super::file::{Output, Report, Target};
use crate::queue::{Next, Queue};
use crate::run::wall_clock;

/// What the loop and the thread share.
#[derive(Debug, Default)]
struct Shared {
    queue: Queue<Vec<u8>, ()>,
    reopen: AtomicBool,
    /// Lines that found no room.
    lost: AtomicU64,
}

/// One file and its thread.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<Report>>>,
}

impl Writer {
    /// Starts a thread that writes to `target`.
    pub(super) fn start(target: Target) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (output, of_thread) = (Output::new(target), Arc::clone(&shared));
        let builder = std::thread::Builder::new().name("access-log".into());
        let thread = builder.spawn(move || write_all(output, &of_thread))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.shared.queue.poke();
    }

    /// Waits for the thread to write what it has.
    pub(super) fn finish(&self) -> Report {
        self.shared.queue.close(Vec::new(), ());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let report = thread.and_then(|thread| thread.join().ok()).unwrap_or_default();
        let lost = report.lost + self.shared.lost.load(Ordering::Relaxed);
        Report { lost, ..report }
    }
}

impl Sink for Writer {
    fn now(&self) -> Duration {
        wall_clock()
    }

    fn take(&self, lines: &mut Vec<u8>) {
        // Whether it was taken, the caller sees by what is left.
        self.shared.queue.hand_over(lines);
    }

    fn take_last(&self, lines: Vec<u8>) {
        self.shared.queue.push(lines);
    }

    fn lost(&self, lines: u64) {
        if self.shared.lost.fetch_add(lines, Ordering::Relaxed) == 0 {
            tracing::error!("the disk is too slow for the access log: lines are lost");
        }
    }
}

fn write_all(mut output: Output, shared: &Shared) -> Report {
    loop {
        let next = shared.queue.take(None);
        if shared.reopen.swap(false, Ordering::AcqRel) {
            output.reopen();
        }
        match next {
            Next::Batches(batches) => {
                for batch in batches {
                    output.write(&batch);
                    shared.queue.recycle(batch);
                }
            }
            Next::Nothing => {}
            Next::End(()) => return output.finish(),
        }
    }
}
