//! The demo's capture.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use netstack::dev::pcapng::Run;

use super::DemoError;
use crate::capture::{MAX_SNAPLEN, Options, Origin, Report, Tap, Target};
use crate::plan::Plan;

/// Begins the capture of `plan`, if there is to be one: of whole packets, for a demo is no more than
/// a disk can take.
pub(super) fn start(
    plan: &Plan,
    record: Option<&Path>,
    epoch: Duration,
) -> Result<Option<Tap>, DemoError> {
    let Some(path) = record else { return Ok(None) };
    let options = Options { snaplen: MAX_SNAPLEN, ..Options::default() };
    let legs = plan.legs.iter().map(|leg| leg.tun.name.clone()).collect();
    let run = Run { seed: plan.engine.seed, config: String::new() };
    let tap = Tap::start(Target::File(path.to_owned()), options, Origin { run, legs, epoch });
    tap.map(Some).map_err(|e| {
        DemoError::Failed(format!("the capture `{}` cannot be written: {e}", path.display()))
    })
}

/// Says what the capture came to, if there was one.
pub(super) fn end(reports: Vec<Report>, out: &mut impl Write) -> Result<(), DemoError> {
    for report in reports {
        writeln!(out, "\ncapture  {report}").map_err(|e| DemoError::writing(&e))?;
    }
    Ok(())
}
