//! A capture of a running instance, for whoever asks at its control socket.

use std::io;
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use netstack::Instant;
use netstack::wire::text::filter::Filter;
use serde::{Deserialize, Serialize};

use super::{Comments, MAX_SNAPLEN, Options, Origin, Side, Tap, Target};
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
}

impl Wanted {
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
    let options = match wanted.options() {
        Ok(options) => options,
        Err(error) => return Answer::refused(ExitCode::Usage, error),
    };
    // What the core's zero was, by the clock on the wall as it is now.
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    origin.epoch = wall.saturating_sub(runtime.now().saturating_since(Instant::ZERO));
    let begun = (|| -> io::Result<(OwnedFd, Tap)> {
        let (reader, writer) = io::pipe()?;
        let tap = Tap::start(Target::Stream(Box::new(writer)), options, origin)?;
        Ok((reader.into(), tap))
    })();
    match begun {
        Ok((reader, tap)) => match runtime.add_tap(tap) {
            Ok(()) => Answer { descriptors: vec![reader], ..Answer::done() },
            Err(error) => Answer::refused(ExitCode::CouldNot, error.to_string()),
        },
        Err(error) => Answer::refused(ExitCode::CouldNot, format!("no capture: {error}")),
    }
}
