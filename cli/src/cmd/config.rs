//! `balun config`.

use crate::args::ConfigCommand;
use crate::console::Console;
use crate::exit::ExitCode;

/// The configuration to begin with. A test checks that it is valid without a warning.
const SAMPLE: &str = include_str!("../../../examples/balun.toml");

/// Prints a configuration.
pub(super) fn run(command: ConfigCommand, console: &Console) -> ExitCode {
    match command {
        ConfigCommand::Default => console.finish_with(SAMPLE),
    }
}
