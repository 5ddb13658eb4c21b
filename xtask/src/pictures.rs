//! The pictures of the documentation. What is drawn, and that it is current, is a test of balun's own
//! (`cli/tests/pictures.rs`): here it is told to write instead of to compare.

use std::process::Command;

use crate::Exit;

/// Draws them all.
pub(crate) fn main() -> Exit {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["test", "--quiet", "--package", "balun", "--test", "pictures"]);
    match command.env("BALUN_BLESS", "1").status() {
        Ok(status) if status.success() => Exit::Done,
        Ok(_) => Exit::CouldNot,
        Err(error) => {
            eprintln!("error: cannot run cargo: {error}");
            Exit::CouldNot
        }
    }
}
