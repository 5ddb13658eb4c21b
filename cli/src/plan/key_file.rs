//! The secrets of connections, in a file that Wireshark and others read.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;

/// A key log (`SSLKEYLOGFILE`), appended to and readable by its owner alone; made when the first secret
/// comes. If it cannot be written that is said once, and the connections go on.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed,
    Open(File),
    Failed,
}

impl KeyFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::new(State::Closed) }
    }

    fn write(&self, state: &mut State, line: &str) -> io::Result<()> {
        if let State::Closed = state {
            let mut options = OpenOptions::new();
            *state = State::Open(options.append(true).create(true).mode(0o600).open(&self.path)?);
        }
        match state {
            State::Open(file) => file.write_all(line.as_bytes()),
            State::Closed | State::Failed => Ok(()),
        }
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = label.to_owned();
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                // Writing to a string cannot fail.
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.write(&mut state, &line) {
            tracing::error!("the key log `{}` cannot be written: {error}", self.path.display());
            *state = State::Failed;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn lines_are_appended_to_a_file_of_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.log");
        for n in 1..=2 {
            let file = KeyFile::new(path.clone());
            file.log("CLIENT_RANDOM", &[n, 0xab], &[0xcd]);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "CLIENT_RANDOM 01ab cd\nCLIENT_RANDOM 02ab cd\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/keys.log");
        let file = KeyFile::new(path.clone());
        file.log("CLIENT_RANDOM", &[1], &[2]);
        std::fs::create_dir(folder.path().join("none")).unwrap();
        file.log("CLIENT_RANDOM", &[1], &[2]);
        assert!(!path.exists());
    }
}
