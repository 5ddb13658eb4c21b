//! One direction of a body: read here, reframed, written there.
//!
//! # Theory of operation
//! Two bounded buffers: what was read and not yet decoded, and what is framed and not yet written.
//! Nothing is read while the second is full, so a slow reader slows its writer. A body that needs
//! no reframing is written straight from the first buffer. The second may hold a head when the relay
//! begins: then the first bytes of the body join it, and head and body leave in one write.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;

use crate::buffer::Buffer;
use crate::http1::body::Decoder;
use crate::http1::chunked::{CHUNK_OVERHEAD, LAST_CHUNK, size_line};
use crate::http1::framing::Framing;
use crate::http1::proof;
use crate::http1::reject::{Reject, Rule};
use crate::http1::trailer;
use crate::limits::RELAY_TURN;
use crate::side::{Sink, Source};

/// Why a body could not be moved to its end.
#[derive(Debug)]
pub(crate) enum RelayError {
    /// The stream that we read failed.
    Source,
    /// It ended before the body did.
    Truncated,
    /// The body breaks a rule, or its limit.
    Malformed(Reject),
    /// The stream that we write failed.
    Sink,
}

/// What few bodies have.
#[derive(Debug, Default)]
struct Aside {
    /// Trailer fields as lines; those that pass once the body has ended.
    trailers: Vec<u8>,
    /// The body as it passes, since somebody looked.
    copied: Vec<u8>,
}

/// Moves one body.
#[derive(Debug)]
pub(crate) struct Relay {
    decoder: Decoder,
    /// Whether the body is sent in chunks.
    chunked: bool,
    /// Nothing is read until this is cleared (R12).
    pub(crate) held: bool,
    /// The body is decoded to its end, and the last chunk is in the buffer.
    ended: bool,
    /// Something was written since the last flush.
    dirty: bool,
    /// The last poll stopped for want of input.
    pub(crate) starved: bool,
    /// Body bytes written or ready to be.
    pub(crate) moved: u64,
    /// Bytes on the wire that the body may yet have, its framing included.
    allowance: u64,
    /// Reads again what is sent in chunks.
    proof: Option<proof::Chunks>,
    /// Trailer fields are passed on.
    keeps_trailers: bool,
    /// Bytes that may wait in the output while the sink takes nothing; then what is left there when
    /// the body has ended is the caller's. Zero to hold the source back instead.
    hoard: usize,
    /// Somebody else wants the body too.
    copies: bool,
    aside: Option<Box<Aside>>,
}

impl Relay {
    /// A relay of a body with `framing`, sent as `outgoing`.
    pub(crate) fn new(framing: Framing, outgoing: Framing) -> Self {
        Self {
            decoder: Decoder::new(framing),
            chunked: outgoing == Framing::Chunked,
            held: false,
            ended: false,
            dirty: false,
            starved: false,
            moved: 0,
            allowance: u64::MAX,
            proof: None,
            keeps_trailers: false,
            hoard: 0,
            copies: false,
            aside: None,
        }
    }

    /// The same with a limit on the body's bytes on the wire; beyond it is 413.
    pub(crate) fn with_limit(mut self, limit: Option<u64>) -> Self {
        self.allowance = limit.unwrap_or(u64::MAX);
        self
    }

    /// The same, with chunks read once more before they leave; what then makes no sense is R04 with 502.
    pub(crate) fn with_proof(mut self, twice: bool) -> Self {
        self.proof = (twice && self.chunked).then(proof::Chunks::default);
        self
    }

    /// The same, with trailer fields passed on or not.
    pub(crate) fn with_trailers(mut self, keep: bool) -> Self {
        self.keeps_trailers = keep;
        self
    }

    /// The same, which reads on while up to `most` bytes wait to be written.
    pub(crate) fn hoarding(mut self, most: usize) -> Self {
        self.hoard = most;
        self
    }

    /// The same, which copies what it moves.
    pub(crate) fn copying(mut self, copy: bool) -> Self {
        self.copies = copy;
        self
    }

    /// What was moved since the last look, if it is copied.
    pub(crate) fn copied(&mut self) -> Option<&mut Vec<u8>> {
        let aside = self.aside.as_mut().filter(|_| self.copies);
        aside.map(|aside| &mut aside.copied)
    }

    /// The trailer fields that go with the body's end, for who delivers what was hoarded.
    pub(crate) fn take_trailers(&mut self) -> Vec<u8> {
        self.aside.as_mut().map(|aside| std::mem::take(&mut aside.trailers)).unwrap_or_default()
    }

    /// Moves as much as can be moved. Ready when all has been written and flushed.
    pub(crate) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        input: &mut Buffer,
        sink: &mut W,
        output: &mut Buffer,
    ) -> Poll<Result<(), RelayError>>
    where
        R: Source,
        W: Sink,
    {
        let turn_end = self.moved.saturating_add(RELAY_TURN as u64);
        self.starved = false;
        loop {
            self.decode(source, input, output)?;
            if self.ended && self.hoard > 0 {
                return Poll::Ready(Ok(()));
            } else if !output.is_empty() {
                match output.poll_drain(cx, sink, usize::MAX) {
                    Poll::Ready(result) => drop(result.map_err(|_| RelayError::Sink)?),
                    Poll::Pending if input.is_empty() && output.len() < self.hoard => {
                        ready!(self.read(cx, source, input, sink))?;
                    }
                    Poll::Pending => return Poll::Pending,
                }
                self.dirty = true;
            } else if self.ended {
                sink.finish(self.trailers()).map_err(|_| RelayError::Sink)?;
                return self.flush(cx, sink);
            } else if let Some(plain) = self.plain(input) {
                let before = self.copy_plain(input, plain);
                let written = match input.poll_drain(cx, sink, plain) {
                    Poll::Ready(result) => result.map_err(|_| RelayError::Sink)?,
                    Poll::Pending if self.hoard > 0 => {
                        output.push(input.filled().get(..plain).unwrap_or_default());
                        input.consume(plain);
                        plain
                    }
                    Poll::Pending => {
                        self.uncopy(before, 0);
                        return Poll::Pending;
                    }
                };
                self.uncopy(before, written);
                self.dirty = true;
                self.account(written, written)?;
                self.decoder.advance(written);
            } else if self.held {
                return self.flush(cx, sink).and_pending();
            } else {
                ready!(self.read(cx, source, input, sink))?;
            }
            if self.moved >= turn_end {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// The trailer fields that have come so far.
    fn trailers(&self) -> &[u8] {
        self.aside.as_ref().map_or(&[], |aside| &aside.trailers)
    }

    /// Copies what is about to be written as it stands; where the copy ended before.
    fn copy_plain(&mut self, input: &Buffer, count: usize) -> usize {
        if !self.copies {
            return 0;
        }
        let copied = &mut self.aside.get_or_insert_default().copied;
        let before = copied.len();
        copied.extend_from_slice(input.filled().get(..count).unwrap_or_default());
        before
    }

    /// Takes back of a copy what was not written.
    fn uncopy(&mut self, before: usize, written: usize) {
        if let Some(copied) = self.copied() {
            copied.truncate(before + written);
        }
    }

    /// Reads once. Pending if there is nothing, and all that could be written is flushed.
    fn read<R: Source, W: Sink>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        input: &mut Buffer,
        sink: &mut W,
    ) -> Poll<Result<(), RelayError>> {
        match input.poll_fill(cx, source) {
            Poll::Ready(Ok(0)) if self.decoder.close() => Poll::Ready(Ok(())),
            Poll::Ready(Ok(0)) => Poll::Ready(Err(RelayError::Truncated)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(_)) => Poll::Ready(Err(RelayError::Source)),
            Poll::Pending => {
                self.starved = true;
                self.flush(cx, sink).and_pending()
            }
        }
    }

    /// How many bytes of `input` may be written as they stand.
    fn plain(&self, input: &Buffer) -> Option<usize> {
        if self.held || self.chunked {
            return None;
        }
        self.decoder.plain(input.len()).filter(|&count| count > 0)
    }

    /// Decodes from `input` into `output` what must be reframed or can join what waits there.
    fn decode<R: Source>(
        &mut self,
        source: &mut R,
        input: &mut Buffer,
        output: &mut Buffer,
    ) -> Result<(), RelayError> {
        while !self.held && !self.ended {
            let before = output.len();
            if self.decoder.is_end() {
                self.end(source, output);
                self.prove(output, before)?;
                break;
            }
            let most = output.room().max(self.hoard.saturating_sub(output.len()));
            let room = most.saturating_sub(CHUNK_OVERHEAD + LAST_CHUNK.len());
            let reframed = self.chunked || self.decoder.plain(0).is_none();
            if input.is_empty() || room == 0 || (!reframed && output.is_empty()) {
                break;
            }
            let bytes = input.filled();
            let bytes = bytes.get(..room).unwrap_or(bytes);
            let decoded = self.decoder.decode(bytes).map_err(RelayError::Malformed)?;
            let data = bytes.get(decoded.data).unwrap_or_default();
            let count = data.len();
            if self.copies {
                self.aside.get_or_insert_default().copied.extend_from_slice(data);
            }
            if self.keeps_trailers && !decoded.trailers.is_empty() {
                let lines = bytes.get(decoded.trailers).unwrap_or_default();
                self.aside.get_or_insert_default().trailers.extend_from_slice(lines);
            }
            if self.chunked && !data.is_empty() {
                output.push(size_line(data.len(), &mut [0; CHUNK_OVERHEAD]));
                output.push(data);
                output.push(b"\r\n");
            } else {
                output.push(data);
            }
            self.prove(output, before)?;
            input.consume(decoded.consumed);
            self.account(count, decoded.consumed)?;
        }
        Ok(())
    }

    /// The body is here to its end.
    fn end<R: Source>(&mut self, source: &mut R, output: &mut Buffer) {
        self.ended = true;
        if self.keeps_trailers {
            let mut trailers = self.take_trailers();
            source.trailers(&mut trailers);
            trailer::retain_allowed(&mut trailers);
            if !trailers.is_empty() {
                self.aside.get_or_insert_default().trailers = trailers;
            }
        }
        if !self.chunked {
            return;
        }
        if self.trailers().is_empty() {
            output.push(LAST_CHUNK);
        } else {
            output.push(b"0\r\n");
            output.push(self.trailers());
            output.push(b"\r\n");
        }
    }

    /// Reads again what `output` holds beyond its first `before` bytes.
    fn prove(&mut self, output: &Buffer, before: usize) -> Result<(), RelayError> {
        let Some(chunks) = &mut self.proof else { return Ok(()) };
        let new = output.filled().get(before..).unwrap_or_default();
        let whole = chunks.read(new) == Ok(new.len()) && chunks.is_end() == self.ended;
        let fault = proof::disagreement("chunks that say anything but what was meant");
        if whole { Ok(()) } else { Err(RelayError::Malformed(fault)) }
    }

    fn account(&mut self, moved: usize, wire: usize) -> Result<(), RelayError> {
        self.moved += moved as u64;
        self.allowance = self.allowance.checked_sub(wire as u64).ok_or_else(|| {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            RelayError::Malformed(Reject::new(Rule::R05, status, "the body is too long"))
        })?;
        Ok(())
    }

    fn flush<W: Sink>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<Result<(), RelayError>> {
        if self.dirty {
            ready!(Pin::new(sink).poll_flush(cx)).map_err(|_: io::Error| RelayError::Sink)?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }
}

/// A flush on the way: its success leaves the relay waiting, its failure does not.
trait AndPending {
    fn and_pending(self) -> Self;
}

impl AndPending for Poll<Result<(), RelayError>> {
    fn and_pending(self) -> Self {
        match self {
            Self::Ready(Err(error)) => Self::Ready(Err(error)),
            _ => Self::Pending,
        }
    }
}
