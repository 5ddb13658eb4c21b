//! The certificate of the balancers, the same for all.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::Failure;
use super::children::{Child, Errors, Scratch};
use super::tools::Tool;

/// Where it lies, in PEM.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    /// One after the other, as `HAProxy` wants them.
    pub(super) both: PathBuf,
}

impl Certificate {
    /// Has openssl make one, on the curve that most sites use.
    pub(super) fn make(scratch: &Scratch) -> Result<Self, Failure> {
        let (chain, key) = (scratch.path("site.pem"), scratch.path("site.key"));
        let program = Tool::Openssl.find().ok_or_else(|| Failure::because("no openssl"))?;
        let mut command = Command::new(program);
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        command.args(["-nodes", "-days", "2", "-subj", "/CN=compare"]);
        command.arg("-keyout").arg(&key).arg("-out").arg(&chain);
        Child::start(scratch, command, Errors::Kept)?.succeed(Duration::from_secs(20))?;
        let read = |path: &PathBuf| {
            fs::read_to_string(path)
                .map_err(|error| Failure::because(format!("{}: {error}", path.display())))
        };
        let both = scratch.write("both.pem", &(read(&chain)? + &read(&key)?))?;
        Ok(Self { chain, key, both })
    }
}
