//! A capture of a running instance, for whoever asks at its control socket.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::SystemTime;

use netstack::Instant;
use netstack::wire::text::filter::Filter;
use serde::{Deserialize, Serialize};

use super::transaction::{self, Recorder, RequestPattern, StatusPattern, TransactionOptions};
use super::{Comments, MAX_SNAPLEN, Options, Origin, Side, Tap, Tapped as _, Target};
use crate::config;
use crate::control::Answer;
use crate::exit::ExitCode;
use crate::runtime::{Application, Runtime};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wanted {
    /// A filter in the words of the packet line.
    #[serde(default)]
    pub filter: String,
    /// On which side.
    #[serde(default)]
    pub side: Side,
    /// Only packets that were dropped or refused.
    #[serde(default)]
    pub dropped: bool,
    /// Bytes of each packet.
    pub snaplen: u32,
    /// How much is said of each.
    #[serde(default)]
    pub comments: Comments,
    /// Super-packets are cut into segments.
    #[serde(default)]
    pub segment: bool,
    /// End after so many packets.
    #[serde(default)]
    pub count: Option<u64>,
    /// Requests instead of packets; then only `count` has a meaning beside it.
    #[serde(default)]
    pub requests: Option<Requests>,
}

/// Which requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Requests {
    /// What they ask for: `GET /path*`.
    pub request: String,
    /// How they are answered: `503` or `5xx`.
    #[serde(default)]
    pub status: Option<String>,
    /// How long they take at least: `500ms`.
    #[serde(default)]
    pub slow: Option<String>,
}

impl Requests {
    /// The options. Secrets of TLS are for the configuration alone to allow.
    fn options(&self, count: Option<u64>) -> Result<TransactionOptions, String> {
        let parsed = RequestPattern::parse(&self.request);
        let request = parsed.map_err(|error| format!("`{}` is {error}", self.request))?;
        let status = self.status.as_ref().map(|text| {
            let parsed = StatusPattern::parse(text);
            parsed.ok_or_else(|| format!("`{text}` is no status: write it as `503` or `5xx`"))
        });
        let slow = self.slow.as_ref().map(|text| config::some_duration(text));
        let count = count.map_or(u32::MAX, |count| u32::try_from(count).unwrap_or(u32::MAX));
        let wanted = transaction::Wanted {
            service: None,
            request,
            status: status.transpose()?,
            slow: slow.transpose()?,
        };
        let (memory, keys) = (transaction::DEFAULT_MEMORY, false);
        Ok(TransactionOptions { wanted, every: 1, count, memory, keys, folder: PathBuf::new() })
    }
}

impl Wanted {
    /// Whether it can be followed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        match &self.requests {
            Some(requests) => requests.options(self.count).map(drop),
            None => self.options().map(drop),
        }
    }

    /// The options.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn options(&self) -> Result<Options, String> {
        let filter = Filter::parse(&self.filter).map_err(|e| e.underline(&self.filter))?;
        if self.segment && self.snaplen < MAX_SNAPLEN {
            return Err(format!("segments are cut from whole packets: snaplen {MAX_SNAPLEN}"));
        }
        Ok(Options {
            filter,
            side: self.side,
            dropped: self.dropped,
            snaplen: self.snaplen.clamp(1, MAX_SNAPLEN),
            comments: self.comments,
            segment: self.segment,
            ring: None,
            count: self.count,
        })
    }
}

/// Begins a capture of what goes through `runtime`. The answer brings a pipe from which it can be read,
/// and who closes that ends it.
pub fn begin<A: Application>(
    wanted: &Wanted,
    mut origin: Origin,
    runtime: &mut Runtime<A>,
) -> Answer {
    // What the core's zero was, by the clock on the wall as it is now.
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    origin.epoch = wall.saturating_sub(runtime.now().saturating_since(Instant::ZERO));
    match start(wanted, origin, runtime) {
        Ok(reader) => Answer { descriptors: vec![reader], ..Answer::done() },
        Err((code, error)) => Answer::refused(code, error),
    }
}

fn start<A: Application>(
    wanted: &Wanted,
    origin: Origin,
    runtime: &mut Runtime<A>,
) -> Result<OwnedFd, (ExitCode, String)> {
    let usage = |error| (ExitCode::Usage, error);
    let failed = |error: io::Error| (ExitCode::CouldNot, format!("no capture: {error}"));
    let (reader, writer) = io::pipe().map_err(failed)?;
    let target = Target::Stream(Box::new(writer));
    let added = if let Some(requests) = &wanted.requests {
        let options = requests.options(wanted.count).map_err(usage)?;
        let recorder = Recorder::start_stream(target, options, origin).map_err(failed)?;
        runtime.add_recorder(recorder)
    } else {
        let options = wanted.options().map_err(usage)?;
        runtime.add_tap(Tap::start(target, options, origin).map_err(failed)?)
    };
    added.map_err(|error| (ExitCode::CouldNot, error.to_string()))?;
    Ok(reader.into())
}
