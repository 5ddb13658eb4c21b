//! Whether `limits.memory` suffices for the other limits.

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::Config;

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    let Some(written) = config.limits.memory.as_ref().filter(|_| config.complete) else { return };
    let needed = config.memory();
    if written.value >= needed.least() {
        return;
    }
    let flows = &config.limits.flows;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let least = mib(needed.least());
    let mut diagnostic = Diagnostic::new(
        Code::SmallMemory,
        format!("`limits.memory` is less than what the other limits come to, {least} MiB"),
        written.span.clone(),
        format!("{} flows alone may take {} MiB", flows.value, mib(needed.flows)),
        format!("write `memory = \"{least}MiB\"` or more, or lower `flows`"),
    );
    if flows.is_written() {
        diagnostic = diagnostic.with(flows.span.clone(), "the flows");
    }
    found.push(diagnostic);
}
