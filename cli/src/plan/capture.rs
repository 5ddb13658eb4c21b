//! A capture that runs as long as the balancer does.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netstack::dev::pcapng::Run;

use crate::capture::transaction::{Recorder, TransactionOptions, Wanted};
use crate::capture::{Options, Origin, Ring, Tap, Tapped as _, Target};
use crate::config::model;
use crate::runtime::{Application, Runtime};

/// What is captured from the start to the end.
#[derive(Clone, Debug)]
pub struct CapturePlan {
    /// The file; with a ring, what its files are named after. Nothing if only requests are captured.
    pub path: Option<PathBuf>,
    /// What is written to it.
    pub options: Options,
    /// What tells this configuration from another, for a replay; empty if there is none.
    pub config: String,
    /// Requests that get a file each.
    pub requests: Option<TransactionOptions>,
}

impl CapturePlan {
    /// The plan of a checked configuration in `folder`.
    pub(super) fn from_config(config: &model::Capture, all: &model::Config, folder: &Path) -> Self {
        let ring = config.ring.as_ref().map(|ring| Ring {
            length: ring.length,
            memory: usize::try_from(ring.memory).unwrap_or(usize::MAX),
            triggers: ring.triggers.iter().map(|trigger| trigger.value).collect(),
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
        Self {
            path: config.path.as_ref().map(|path| folder.join(path)),
            options,
            config: String::new(),
            requests: config.transaction.as_ref().map(|wanted| requests(wanted, all, folder)),
        }
    }

    /// Begins it in `runtime`: for legs of these names, a run of this seed, and a clock whose zero is
    /// `epoch` from the Unix epoch.
    ///
    /// # Errors
    /// The file or folder that cannot be made or written, and why.
    pub fn begin<A: Application>(
        self,
        legs: Vec<String>,
        seed: u64,
        epoch: Duration,
        runtime: &mut Runtime<A>,
    ) -> Result<(), (PathBuf, io::Error)> {
        let origin = Origin { run: Run { seed, config: self.config }, legs, epoch };
        if let Some(requests) = self.requests {
            let folder = requests.folder.clone();
            let recorder = Recorder::start(requests, origin.clone());
            // There is room for both.
            let _ = runtime.add_recorder(recorder.map_err(|error| (folder, error))?);
        }
        if let Some(path) = self.path {
            let tap = Tap::start(Target::File(path.clone()), self.options, origin);
            let _ = runtime.add_tap(tap.map_err(|error| (path, error))?);
        }
        Ok(())
    }
}

fn requests(
    wanted: &model::Transactions,
    config: &model::Config,
    folder: &Path,
) -> TransactionOptions {
    let service = wanted.service.as_ref().and_then(|name| {
        let mut services = config.services.iter();
        services.position(|service| service.name.value == name.value)
    });
    TransactionOptions {
        wanted: Wanted {
            service: service.map(|service| service as u16),
            request: wanted.request.clone(),
            status: wanted.status,
            slow: wanted.slow,
        },
        every: wanted.every,
        count: wanted.count,
        memory: usize::try_from(wanted.memory).unwrap_or(usize::MAX),
        keys: wanted.keys,
        folder: folder.join(&wanted.folder),
    }
}
