//! The demo's capture.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::DemoError;
use crate::capture::{MAX_SNAPLEN, Options, Report, Tap};
use crate::plan::{CapturePlan, Plan};

/// Begins the capture of `plan`, if there is to be one: of whole packets, for a demo is no more than
/// a disk can take.
pub(super) fn start(
    plan: &Plan,
    record: Option<&Path>,
    epoch: Duration,
) -> Result<Option<Tap>, DemoError> {
    let Some(path) = record else { return Ok(None) };
    let options = Options { snaplen: MAX_SNAPLEN, ..Options::default() };
    let capture = CapturePlan { path: path.to_owned(), options, config: String::new() };
    let legs = plan.legs.iter().map(|leg| leg.tun.name.clone()).collect();
    let tap = capture.start(legs, plan.engine.seed, epoch);
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
