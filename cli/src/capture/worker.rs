//! The thread that writes.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::batch::Batch;
use super::output::{Output, Target};
use super::queue::{Next, Queue};
use super::ring::{AFTER, Kept, numbered};
use super::{Options, Origin, Report};

/// What it does with batches.
enum Sink {
    Write(Box<Output>),
    Keep { kept: Kept, path: PathBuf },
}

struct Worker {
    queue: Arc<Queue>,
    sink: Sink,
    options: Options,
    origin: Origin,
    report: Report,
}

/// Opens what can be opened now, and starts the thread.
pub(super) fn start(
    target: Target,
    options: Options,
    origin: Origin,
    queue: Arc<Queue>,
) -> io::Result<JoinHandle<Report>> {
    let sink = match (options.ring.clone(), target) {
        (Some(ring), Target::File(path)) => Sink::Keep { kept: Kept::new(ring), path },
        (_, target) => Sink::Write(Box::new(Output::open(target, &origin, &options)?)),
    };
    let worker = Worker { queue, sink, options, origin, report: Report::default() };
    std::thread::Builder::new().name("capture".into()).spawn(move || worker.run())
}

impl Worker {
    fn run(mut self) -> Report {
        if let Err(error) = self.write_all() {
            self.queue.abandon();
            let place = match &self.sink {
                Sink::Write(output) => output.path().map(|path| path.display().to_string()),
                Sink::Keep { path, .. } => Some(path.display().to_string()),
            };
            let place = place.map_or(String::new(), |path| format!(" in {path}"));
            let text = format!("the capture{place} ended early: {error}");
            // Who reads a pipe may go when it has seen enough.
            if error.kind() != io::ErrorKind::BrokenPipe {
                tracing::error!("{text}; the balancer goes on without it");
            }
            self.report.error = Some(text);
        }
        if let Sink::Write(output) = &self.sink {
            self.report.written = output.written();
            self.report.files.extend(output.path().map(PathBuf::from));
        }
        self.report
    }

    fn write_all(&mut self) -> io::Result<()> {
        if let Sink::Write(output) = &mut self.sink {
            output.flush()?;
        }
        loop {
            let waiting = matches!(&self.sink, Sink::Keep { kept, .. } if kept.is_waiting());
            match self.queue.take(waiting.then_some(AFTER)) {
                Next::Batches(batches) => self.batches(batches)?,
                Next::Nothing => self.write_ring(true)?,
                Next::End(totals) => {
                    self.report.lost = totals.lost.iter().sum();
                    self.write_ring(true)?;
                    if let Sink::Write(output) = &mut self.sink {
                        output.finish(&totals)?;
                    }
                    return Ok(());
                }
            }
        }
    }

    fn batches(&mut self, batches: VecDeque<Batch>) -> io::Result<()> {
        for batch in batches {
            match &mut self.sink {
                Sink::Write(output) => {
                    output.batch(&batch)?;
                    self.queue.recycle(batch);
                }
                Sink::Keep { kept, .. } => {
                    for old in kept.push(batch) {
                        self.queue.recycle(old);
                    }
                    self.write_ring(false)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the ring to a file of its own, if it is time to.
    fn write_ring(&mut self, quiet: bool) -> io::Result<()> {
        let Sink::Keep { kept, path } = &mut self.sink else { return Ok(()) };
        let Some((number, batches)) = kept.due(quiet) else { return Ok(()) };
        let path = numbered(path, number);
        let mut output = Output::open(Target::File(path.clone()), &self.origin, &self.options)?;
        for batch in batches {
            output.batch(&batch)?;
            self.queue.recycle(batch);
        }
        let written = output.written();
        tracing::info!("capture: {written} packets around a trigger in {}", path.display());
        self.report.written += written;
        self.report.files.push(path);
        Ok(())
    }
}
