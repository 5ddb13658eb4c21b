//! A capture that runs as long as the balancer does.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netstack::dev::pcapng::Run;

use crate::capture::{Options, Origin, Ring, Tap, Target};
use crate::config::model;

/// What is captured from the start to the end.
#[derive(Clone, Debug)]
pub struct CapturePlan {
    /// The file; with a ring, what its files are named after.
    pub path: PathBuf,
    /// What is written to it.
    pub options: Options,
    /// What tells this configuration from another, for a replay; empty if there is none.
    pub config: String,
}

impl CapturePlan {
    /// The plan of a checked configuration in `folder`.
    pub(super) fn from_config(config: &model::Capture, folder: &Path) -> Self {
        let ring = config.ring.as_ref().map(|ring| Ring {
            length: ring.length,
            memory: usize::try_from(ring.memory).unwrap_or(usize::MAX),
            triggers: ring.triggers.clone(),
            files: ring.files,
        });
        let options = Options {
            filter: config.filter.clone(),
            side: config.side,
            dropped: config.dropped,
            snaplen: config.snaplen.value,
            comments: config.comments,
            segment: config.segment.as_ref().is_some_and(|segment| segment.value),
            ring,
            count: None,
        };
        Self { path: folder.join(&config.path), options, config: String::new() }
    }

    /// Begins it: for legs of these names, a run of this seed, and a clock whose zero is `epoch` from
    /// the Unix epoch.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn start(self, legs: Vec<String>, seed: u64, epoch: Duration) -> io::Result<Tap> {
        let origin = Origin { run: Run { seed, config: self.config }, legs, epoch };
        Tap::start(Target::File(self.path), self.options, origin)
    }
}
