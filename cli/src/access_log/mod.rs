//! The files of access logs.
//!
//! # Theory of operation
//!
//! Each file has a thread, which gets lines by a bounded queue and waits for the disk; services that name
//! the same file share it. The loop never waits: lines for which the queue has no room are lost, and
//! counted ([`l7::log`]).
//!
//! ```text
//!  service ─ batch ─┐
//!  service ─ batch ─┴► queue, at most 32 MiB ─► thread ─► file, or stdout
//! ```
//!
//! The file is appended to. It is opened again at SIGHUP, and when another or none has its name: so
//! `logrotate` may move it, with or without a signal. A disk that is full loses lines, not service: a
//! line is written whole or not at all, the first loss is said once, and so is its end.

mod file;
mod sink;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use l7::log::Sink;
use tokio::signal::unix::{SignalKind, signal};

use crate::plan::Plan;
pub use file::Report;
use file::Target;
use sink::Writer;

/// The path that stands for standard output.
pub const STDOUT: &str = "-";

/// The files of a running balancer.
#[derive(Debug, Default)]
pub struct AccessLogs(Vec<(PathBuf, Arc<Writer>)>);

impl AccessLogs {
    /// Opens every file that `plan` names, and has its services log there.
    ///
    /// # Errors
    /// The file that cannot be opened, and why.
    pub fn open(plan: &mut Plan) -> Result<Self, (PathBuf, io::Error)> {
        let mut logs = Self::default();
        let applications = plan.applications.iter_mut().flatten();
        for log in applications.filter_map(|application| application.log.as_mut()) {
            let writer = logs.writer(&log.path).map_err(|error| (log.path.clone(), error))?;
            log.sink = Some(writer as Arc<dyn Sink>);
        }
        Ok(logs)
    }

    fn writer(&mut self, path: &Path) -> io::Result<Arc<Writer>> {
        if let Some((_, writer)) = self.0.iter().find(|(known, _)| known == path) {
            return Ok(Arc::clone(writer));
        }
        let target = if path.as_os_str() == STDOUT {
            Target::Stream(Box::new(io::stdout()))
        } else {
            Target::file(path)?
        };
        let writer = Arc::new(Writer::start(target)?);
        self.0.push((path.to_owned(), Arc::clone(&writer)));
        Ok(writer)
    }

    /// True if nothing is logged.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has every file opened again.
    pub fn reopen(&self) {
        for (_, writer) in &self.0 {
            writer.reopen();
        }
    }

    /// Opens files again at each SIGHUP, until `stop` is over. Without logs that signal is left alone.
    ///
    /// # Errors
    /// No handler for the signal.
    pub fn until<S: Future<Output = ()>>(
        &self,
        stop: S,
    ) -> io::Result<impl Future<Output = ()> + use<'_, S>> {
        let hangup = if self.0.is_empty() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(async move {
            let mut stop = pin!(stop);
            let Some(mut hangup) = hangup else { return stop.await };
            loop {
                tokio::select! {
                    biased;
                    () = &mut stop => return,
                    _ = hangup.recv() => self.reopen(),
                }
            }
        })
    }

    /// Drops what the services belong to, so that they hand over their last lines, waits until
    /// everything is written, and says on `talk` what that was.
    pub fn finish_after<T>(self, services: T, talk: &mut impl Write) {
        drop(services);
        for (path, writer) in self.0 {
            // Nobody listening is no reason to stop.
            let _ = writeln!(talk, "log      {}  {}", path.display(), writer.finish());
        }
    }
}
