//! The byte buffer of one direction of a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::{BUFFER_MAX, BUFFER_START};

/// A bounded queue of bytes: filled at the back, consumed at the front.
///
/// It allocates at first use, doubles when a read fills it, stops at [`BUFFER_MAX`] unless a whole message
/// is to fit ([`crate::buffering`]), and keeps what it has, so that a request allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read left no room: more is likely waiting than fits.
    filled_up: bool,
    /// What was consumed, while that is kept.
    kept: Option<Kept>,
}

/// Bytes that were consumed and may be wanted again.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    limit: usize,
}

impl Buffer {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, end: 0, filled_up: false, kept: None }
    }

    /// The bytes not yet consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) const fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// How many more bytes may be pushed.
    pub(crate) const fn room(&self) -> usize {
        BUFFER_MAX.saturating_sub(self.len())
    }

    /// Keeps what is consumed from now on, until it is more than `limit` bytes.
    pub(crate) fn keep(&mut self, limit: usize) {
        self.kept = Some(Kept { bytes: Vec::new(), limit });
    }

    /// True if all that was consumed since is kept.
    pub(crate) const fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Puts what is kept back to the front, and goes on keeping. How many bytes that are.
    pub(crate) fn rewind(&mut self) -> usize {
        let Some(kept) = &mut self.kept else { return 0 };
        let mut bytes = std::mem::take(&mut kept.bytes);
        let count = bytes.len();
        bytes.extend_from_slice(self.filled());
        (self.start, self.end) = (0, 0);
        self.push(&bytes);
        count
    }

    /// Keeps nothing more.
    pub(crate) fn forget(&mut self) {
        self.kept = None;
    }

    /// Forgets the first `count` bytes, or all if there are fewer.
    pub(crate) fn consume(&mut self, count: usize) {
        if let Some(kept) = &mut self.kept {
            let end = self.end.min(self.start + count);
            let consumed = self.bytes.get(self.start..end).unwrap_or_default();
            if kept.bytes.len() + consumed.len() > kept.limit {
                self.kept = None;
            } else {
                kept.bytes.extend_from_slice(consumed);
            }
        }
        self.start = self.end.min(self.start + count);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Forgets all, what is kept too.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
        self.kept = None;
    }

    /// Appends `data`. The caller asks [`Self::room`] first; heads, which are bounded, need not.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.reserve(data.len());
        if let Some(free) = self.bytes.get_mut(self.end..self.end + data.len()) {
            free.copy_from_slice(data);
            self.end += data.len();
        }
    }

    /// Returns the memory of a buffer that grew to its maximum, once it is empty.
    pub(crate) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.len() >= BUFFER_MAX {
            *self = Self::new();
        }
    }

    /// Reads once from `source`. Zero is the end of the stream.
    ///
    /// # Errors
    /// Those of the stream, and `OutOfMemory` if the buffer is full: then the caller must consume.
    pub(crate) fn poll_fill<R: AsyncRead + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
    ) -> Poll<io::Result<usize>> {
        self.poll_fill_to(cx, source, BUFFER_MAX)
    }

    /// The same of a buffer that may grow to `most` bytes.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn poll_fill_to<R: AsyncRead + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        // A read wants a fair piece of room; after one that was filled, as much again as there was.
        let wanted = if self.filled_up { self.bytes.len() } else { BUFFER_START / 2 };
        self.reserve(wanted.min(most.saturating_sub(self.len())));
        let Some(free) = self.bytes.get_mut(self.end..).filter(|free| !free.is_empty()) else {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        };
        let mut target = ReadBuf::new(free);
        ready!(Pin::new(source).poll_read(cx, &mut target))?;
        let count = target.filled().len();
        self.filled_up = target.remaining() == 0;
        self.end += count;
        Poll::Ready(Ok(count))
    }

    /// Writes once to `sink` and consumes what it took, at most `limit` bytes.
    pub(crate) fn poll_drain<W: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let data = self.filled();
        let data = data.get(..limit).unwrap_or(data);
        match ready!(Pin::new(sink).poll_write(cx, data))? {
            0 if !data.is_empty() => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => {
                self.consume(count);
                Poll::Ready(Ok(count))
            }
        }
    }

    /// Makes at least `count` bytes free at the back, if the maximum allows.
    fn reserve(&mut self, count: usize) {
        if self.bytes.len() - self.end >= count {
            return;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let needed = self.end + count;
        if self.bytes.len() < needed {
            let size = needed.next_power_of_two().clamp(BUFFER_START, BUFFER_MAX.max(needed));
            self.bytes.resize(size, 0);
        }
    }
}

/// A stream of which the beginning has been read already.
pub(crate) struct Begun<T> {
    pub(crate) begin: Buffer,
    pub(crate) stream: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Begun<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.begin.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let begin = self.begin.filled();
        let part = begin.get(..buffer.remaining()).unwrap_or(begin);
        buffer.put_slice(part);
        let count = part.len();
        self.begin.consume(count);
        if self.begin.is_empty() {
            self.begin = Buffer::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Begun<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_again_as_often_as_asked_until_it_is_too_much() {
        let mut buffer = Buffer::new();
        buffer.push(b"before");
        buffer.consume(6);
        buffer.keep(8);
        buffer.push(b"abcdef");
        buffer.consume(4);
        assert_eq!((buffer.rewind(), buffer.filled()), (4, &b"abcdef"[..]));
        buffer.consume(6);
        buffer.push(b"ghij");
        buffer.consume(2);
        assert_eq!((buffer.rewind(), buffer.filled()), (8, &b"abcdefghij"[..]));
        buffer.consume(9);
        assert!(!buffer.is_kept());
        assert_eq!((buffer.rewind(), buffer.filled()), (0, &b"j"[..]));
    }
}
