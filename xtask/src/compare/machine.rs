//! What the figures were got on.

use std::{fs, thread};

/// One line: processors, kernel, and how busy the machine was before we began.
pub(super) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "machine: {cores} cores ({model}), Linux {kernel}, load {load} at the start",
        model = model(&read("/proc/cpuinfo")),
        kernel = kernel.trim(),
        load = load.split(' ').next().unwrap_or("unknown"),
    )
}

/// The first processor's name, where the architecture gives one.
fn model(cpuinfo: &str) -> &str {
    cpuinfo
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "model name")
        .map_or(std::env::consts::ARCH, |(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_the_first_processors() {
        assert_eq!(model("processor\t: 0\nmodel name\t: A: 9\n\nmodel name\t: B\n"), "A: 9");
        assert_eq!(model("CPU implementer\t: 0x41\n"), std::env::consts::ARCH);
    }
}
