//! What a capture can write.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::Config;
use crate::capture::MAX_SNAPLEN;

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    let Some(capture) = &config.capture else { return };
    let Some(segment) = capture.segment.as_ref().filter(|segment| segment.value) else { return };
    if capture.snaplen.value < MAX_SNAPLEN {
        let mut diagnostic = Diagnostic::new(
            Code::CutSegments,
            format!(
                "super-packets of which {} bytes are kept cannot be cut",
                capture.snaplen.value
            ),
            segment.span.clone(),
            "segments are made of whole packets",
            format!("write `snaplen = {MAX_SNAPLEN}`, or remove `segment`"),
        );
        if capture.snaplen.is_written() {
            diagnostic = diagnostic.with(capture.snaplen.span.clone(), "this cuts packets");
        }
        found.push(diagnostic);
    }
}
