//! Bodies in HTTP/2 as byte streams: DATA whose end is `END_STREAM`, and trailers.
//!
//! # Theory of operation
//! What was received gives its room in the sender's windows back only when it has been passed on
//! ([`Source::taken`](crate::side::Source::taken)), and nothing is written for which the receiver has
//! given no room. So each end of an exchange moves at the pace of the other, and between them lie at
//! most a window and the exchange's buffers.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::ReadBuf;

use crate::http1::framing::Framing;
use crate::http1::trailer;
use crate::limits::{H2_DATA, TRAILER_BYTES};

/// A body that arrives.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: RecvStream,
    /// Received, and not yet read.
    chunk: Bytes,
    /// Bytes that must yet come, if their number was declared.
    left: Option<u64>,
    stage: Stage,
    trailers: Option<HeaderMap>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Data,
    Trailers,
    Ended,
}

impl Incoming {
    /// The body that `stream` brings.
    pub(super) const fn new(stream: RecvStream) -> Self {
        Self { stream, chunk: Bytes::new(), left: None, stage: Stage::Data, trailers: None }
    }

    /// The head says of how many bytes it is.
    pub(super) const fn declare(&mut self, length: u64) {
        self.left = Some(length);
    }

    /// Whether `END_STREAM` came with the head.
    pub(super) fn is_empty(&self) -> bool {
        self.stream.is_end_stream()
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.chunk.is_empty() {
                let part = self.chunk.split_to(self.chunk.len().min(buffer.remaining()));
                buffer.put_slice(&part);
                return Poll::Ready(Ok(()));
            }
            match self.stage {
                Stage::Data => match ready!(self.stream.poll_data(cx)) {
                    Some(Ok(data)) => self.receive(data)?,
                    Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                    None if self.left.is_some_and(|left| left > 0) => {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    None => self.stage = Stage::Trailers,
                },
                Stage::Trailers => {
                    self.trailers = ready!(self.stream.poll_trailers(cx)).map_err(into_io)?;
                    self.stage = Stage::Ended;
                    if self.trailers.as_ref().is_some_and(|map| !fits(map)) {
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// R17: as many bytes as were declared, and no more.
    fn receive(&mut self, data: Bytes) -> io::Result<()> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(data.len() as u64).ok_or(io::ErrorKind::InvalidData)?;
        }
        self.chunk = data;
        Ok(())
    }

    /// See [`Source::taken`](crate::side::Source::taken).
    pub(super) fn taken(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // It fails only for more than was received.
        let _ = self.stream.flow_control().release_capacity(count);
    }

    /// See [`Source::trailers`](crate::side::Source::trailers).
    pub(super) fn trailers(&mut self, lines: &mut Vec<u8>) {
        for (name, value) in self.trailers.take().iter().flatten() {
            trailer::push(lines, name.as_str().as_bytes(), value.as_bytes());
        }
    }
}

/// The same bound that trailers in HTTP/1 have.
fn fits(trailers: &HeaderMap) -> bool {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    trailers.iter().map(size).sum::<usize>() <= TRAILER_BYTES
}

/// A body that is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream<Bytes>,
    /// Bytes that follow and have no trailers behind them, if that is known.
    left: Option<u64>,
    ended: bool,
}

impl Outgoing {
    /// The body that follows a head on `stream` and arrives here with `framing`. If that is none, the
    /// head had `END_STREAM`.
    pub(super) fn new(stream: SendStream<Bytes>, framing: Framing) -> Self {
        let left = match framing {
            Framing::Length(length) => Some(length),
            _ => None,
        };
        Self { stream, left, ended: framing.is_empty() }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wanted = data.len().min(H2_DATA);
        if wanted == 0 || self.ended {
            let result = if wanted == 0 { Ok(0) } else { Err(io::ErrorKind::BrokenPipe.into()) };
            return Poll::Ready(result);
        }
        self.stream.reserve_capacity(wanted);
        let room = loop {
            match self.stream.capacity() {
                0 => match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                },
                room => break room,
            }
        };
        let part = data.get(..room).unwrap_or(data);
        let part = part.get(..wanted).unwrap_or(part);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(part.len() as u64);
            self.ended = *left == 0;
        }
        self.stream.send_data(Bytes::copy_from_slice(part), self.ended).map_err(into_io)?;
        Poll::Ready(Ok(part.len()))
    }

    /// Sends `END_STREAM`, with `trailers` as lines of HTTP/1 if there are any.
    pub(super) fn finish(&mut self, trailers: &[u8]) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        let mut map = HeaderMap::new();
        for (name, value) in trailer::fields(trailers) {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                map.append(name, value);
            }
        }
        self.end_with(map)
    }

    /// The same with trailers as they are sent.
    pub(super) fn end_with(&mut self, trailers: HeaderMap) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        let sent = if trailers.is_empty() {
            self.stream.send_data(Bytes::new(), true)
        } else {
            self.stream.send_trailers(trailers)
        };
        sent.map_err(into_io)
    }

    /// Whether the receiver has reset the stream.
    pub(super) fn is_reset(&mut self, cx: &mut Context<'_>) -> bool {
        self.stream.poll_reset(cx).is_ready()
    }

    /// Lets the receiver know that the end will not come.
    pub(super) fn abandon(&mut self) {
        if !self.ended {
            self.stream.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

pub(super) fn into_io(error: h2::Error) -> io::Error {
    error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
}
