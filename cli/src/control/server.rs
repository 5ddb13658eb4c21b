//! The socket of an instance, and those who are connected to it.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use netstack::dev::pass;
use nix::sys::stat::{Mode, umask};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};

use super::request::{Answer, Request};
use crate::exit::ExitCode;

/// The longest request, in bytes, with the end of its line.
pub const MAX_LINE: usize = 64 << 10;
/// Clients at a time. One more is told so and sent away.
pub const MAX_CLIENTS: usize = 16;
/// Requests of one client that are answered before packets have their turn again.
const REQUESTS_PER_TURN: u32 = 8;

/// A listening control socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file, to remove no other's.
    file: (u64, u64),
    clients: Vec<Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    /// What was read and not yet answered.
    input: Vec<u8>,
    /// The answer that is being sent.
    output: Output,
    /// Nothing more is read: it ends when the answer is out.
    last: bool,
}

#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl Server {
    /// Listens at `path`. The file of an instance that has died is replaced. Must be called inside a
    /// tokio runtime.
    ///
    /// # Errors
    /// `AddrInUse` if an instance listens there, or if there is a file that is no socket; others if
    /// the file cannot be made.
    pub fn bind(path: &Path) -> io::Result<Self> {
        remove_dead(path)?;
        // A mode set afterwards would leave a moment in which anybody may connect.
        let before = umask(Mode::from_bits_truncate(0o177));
        let listener = std::os::unix::net::UnixListener::bind(path);
        umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
            clients: Vec::new(),
        })
    }

    /// Serves whoever waits; ready if it answered anything. The context's waker is woken when there is
    /// more to do.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut dyn FnMut(Request) -> Answer,
    ) -> Poll<()> {
        let mut answered = false;
        // First those who are here: whoever has gone makes room.
        self.clients.retain_mut(|client| client.poll(cx, answer, &mut answered).is_pending());
        while let Poll::Ready(accepted) = self.listener.poll_accept(cx) {
            match accepted {
                Ok((stream, _)) if self.clients.len() < MAX_CLIENTS => {
                    let mut client = Client::new(stream);
                    if client.poll(cx, answer, &mut answered).is_pending() {
                        self.clients.push(client);
                    }
                }
                Ok((stream, _)) => send_away(&stream),
                // No descriptor left, say. Its client sees the connection closed, or waits.
                Err(error) => {
                    tracing::warn!("control socket: cannot accept: {error}");
                    break;
                }
            }
        }
        if answered { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if ours {
            // One that cannot be removed refuses connections, and the next instance replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens at.
fn remove_dead(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let taken = |why| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    if !metadata.file_type().is_socket() {
        return taken("there is a file of this name that is no socket");
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => taken("another instance listens there"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

fn send_away(stream: &UnixStream) {
    let busy = format!("{MAX_CLIENTS} clients are connected already; try again");
    let (line, _) = Answer::refused(ExitCode::CouldNot, busy).into_line();
    // The socket is new and empty: a line fits, or the client is gone.
    let _ = stream.try_write(&line);
}

impl Client {
    const fn new(stream: UnixStream) -> Self {
        let output = Output { bytes: Vec::new(), sent: 0, descriptors: Vec::new() };
        Self { stream, input: Vec::new(), output, last: false }
    }

    /// Ready when the connection is over.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut dyn FnMut(Request) -> Answer,
        answered: &mut bool,
    ) -> Poll<()> {
        let mut requests = 0;
        loop {
            match self.poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if self.last => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                if requests == REQUESTS_PER_TURN {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                requests += 1;
                let line: Vec<_> = self.input.drain(..=end).collect();
                *answered = true;
                self.say(parse(&line).map_or_else(|refused| refused, &mut *answer));
            } else if self.input.len() >= MAX_LINE {
                let text = format!("the request is longer than {MAX_LINE} bytes");
                self.say(Answer::refused(ExitCode::Usage, text));
                self.last = true;
            } else {
                match self.poll_read(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                }
            }
        }
    }

    fn say(&mut self, answer: Answer) {
        let (bytes, descriptors) = answer.into_line();
        self.output = Output { bytes, sent: 0, descriptors };
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut room = [0; 4096];
        let most = room.len().min(MAX_LINE - self.input.len());
        loop {
            std::task::ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(&mut room[..most]) {
                Ok(len) => {
                    self.input.extend_from_slice(&room[..len]);
                    return Poll::Ready(Ok(len));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Output { bytes, sent, descriptors } = &mut self.output;
        while *sent < bytes.len() {
            std::task::ready!(self.stream.poll_write_ready(cx))?;
            let passed: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
            let send = || pass::send(self.stream.as_fd(), &bytes[*sent..], &passed);
            match self.stream.try_io(Interest::WRITABLE, send) {
                Ok(len) => {
                    *sent += len;
                    descriptors.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn parse(line: &[u8]) -> Result<Request, Answer> {
    serde_json::from_slice(line)
        .map_err(|e| Answer::refused(ExitCode::Usage, format!("not a request: {e}")))
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
