//! The other end: one who asks.

use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netstack::dev::pass;
use serde_json::Value;

use super::request::{Line, Refusal, Request};

/// The longest answer, in bytes.
const MAX_ANSWER: usize = 64 << 20;
/// An instance answers between two rounds of packets; one that does not in this time is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer, or not the one that was wished for.
#[derive(Debug)]
pub enum CallError {
    /// Nobody listens.
    NotRunning {
        /// Where somebody should.
        path: PathBuf,
    },
    /// The connection failed, or what came over it makes no sense.
    Io {
        /// The socket.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The instance says no.
    Refused(Refusal),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning { path } => {
                write!(f, "no instance listens at `{}`", path.display())
            }
            Self::Io { path, source } => {
                write!(f, "the instance at `{}` cannot be asked: {source}", path.display())
            }
            Self::Refused(refusal) => f.write_str(&refusal.message),
        }
    }
}

impl std::error::Error for CallError {}

/// Asks one thing.
///
/// # Errors
/// [`CallError`].
pub fn call(path: &Path, request: &Request) -> Result<Value, CallError> {
    Ok(Connection::open(path)?.call(request)?.0)
}

/// A connection to an instance.
#[derive(Debug)]
pub struct Connection {
    path: PathBuf,
    stream: UnixStream,
}

impl Connection {
    /// Connects to the instance at `path`.
    ///
    /// # Errors
    /// [`CallError::NotRunning`] if nobody listens there.
    pub fn open(path: &Path) -> Result<Self, CallError> {
        let stream = UnixStream::connect(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                CallError::NotRunning { path: path.into() }
            }
            _ => CallError::Io { path: path.into(), source },
        })?;
        Ok(Self { path: path.into(), stream })
    }

    /// Asks one thing; the answer, and the descriptors that came with it.
    ///
    /// # Errors
    /// [`CallError`].
    pub fn call(&mut self, request: &Request) -> Result<(Value, Vec<OwnedFd>), CallError> {
        let (line, descriptors) = self
            .exchange(request)
            .map_err(|source| CallError::Io { path: self.path.clone(), source })?;
        match line {
            Line::Ok(value) => Ok((value, descriptors)),
            Line::Error(refusal) => Err(CallError::Refused(refusal)),
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<(Line, Vec<OwnedFd>)> {
        self.stream.set_read_timeout(Some(PATIENCE))?;
        self.stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line)?;
        let mut answer = Vec::new();
        let mut descriptors = Vec::new();
        let mut room = vec![0; 64 << 10];
        while answer.last() != Some(&b'\n') {
            let (len, passed) = pass::receive(self.stream.as_fd(), &mut room)?;
            if len == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"));
            }
            if answer.len() + len > MAX_ANSWER {
                return Err(io::Error::other("its answer is too long"));
            }
            answer.extend_from_slice(&room[..len]);
            descriptors.extend(passed);
        }
        Ok((serde_json::from_slice(&answer)?, descriptors))
    }
}
