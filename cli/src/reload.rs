//! Certificates that change while the process runs.
//!
//! # Theory of operation
//! The files of each service's TLS are looked at every few seconds, by their time, length and number, and
//! at SIGHUP they are read whatever these say. If they changed they are read together; if they can be used,
//! connections that begin from then on are made with them, else the old ones stay, and it is said why.
//! Tools write a certificate and its key one after the other: what does not fit yet is tried again with the
//! next change. Files are read by a thread of their own, so that a slow disk holds no packets up.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::plan::Reload;

/// From one look at the files to the next.
const EVERY: Duration = Duration::from_secs(5);

/// What tells a file from the one that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// The services whose files are looked at.
#[derive(Debug)]
pub(crate) struct Watcher {
    watched: Vec<(Reload, Vec<Option<Stamp>>)>,
    hangup: Signal,
}

impl Watcher {
    /// Looks at the files of these services from now on; nothing if there are none.
    ///
    /// # Errors
    /// The signal cannot be listened to.
    pub(crate) fn new(reloads: Vec<Reload>) -> io::Result<Option<Self>> {
        if reloads.is_empty() {
            return Ok(None);
        }
        let hangup = signal(SignalKind::hangup())?;
        let watched = reloads.into_iter().map(|reload| {
            let stamps = stamps(&reload);
            (reload, stamps)
        });
        Ok(Some(Self { watched: watched.collect(), hangup }))
    }

    /// Watches without end.
    pub(crate) async fn run(mut self) {
        let mut interval = interval(EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                _ = interval.tick() => false,
                _ = self.hangup.recv() => true,
            };
            let mut watched = std::mem::take(&mut self.watched);
            let looked = tokio::task::spawn_blocking(move || {
                for (reload, stamps) in &mut watched {
                    look(reload, stamps, asked);
                }
                watched
            });
            match looked.await {
                Ok(watched) => self.watched = watched,
                Err(error) => {
                    return tracing::error!("certificates are not watched any more: {error}");
                }
            }
        }
    }
}

/// Takes the files if they changed, or it was `asked` for.
fn look(reload: &Reload, known: &mut Vec<Option<Stamp>>, asked: bool) {
    // Before they are read, so that what changes meanwhile is seen the next time.
    let now = stamps(reload);
    if now == *known && !asked {
        return;
    }
    *known = now;
    let service = &reload.service;
    match reload.run() {
        Ok(()) => tracing::info!("service `{service}` uses its certificates as they are now"),
        Err(error) => {
            tracing::warn!("service `{service}` keeps its certificates as they were: {error}");
        }
    }
}

fn stamps(reload: &Reload) -> Vec<Option<Stamp>> {
    reload.files.paths().map(stamp).collect()
}

/// Nothing for a file that is not there.
fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp { modified: found.modified().ok(), length: found.len(), inode: found.ino() })
}
