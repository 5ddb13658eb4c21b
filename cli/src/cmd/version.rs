//! `balun version`.

use crate::args::VersionArgs;
use crate::config::render::json_string;
use crate::console::Console;
use crate::exit::ExitCode;

/// Prints the version.
pub(super) fn run(args: VersionArgs, console: &Console) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    console.finish_with(&if args.json {
        format!("{{\"name\":\"balun\",\"version\":{}}}\n", json_string(version))
    } else {
        format!("balun {version}\n")
    })
}
