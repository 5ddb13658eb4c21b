//! The command `balun`.

use std::process::ExitCode;

fn main() -> ExitCode {
    balun::cmd::main()
}
