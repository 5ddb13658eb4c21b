//! The two sides of an exchange: what differs between versions of HTTP.
//!
//! # Theory of operation
//! A body moves between byte streams whatever the version: a stream of HTTP/2 reads as bytes whose
//! end is `END_STREAM`, and writes as DATA for which there is room. What differs are heads, trailers
//! and ends, and those go through the traits here. Between both sides heads and trailers are the
//! text of HTTP/1.1, whatever they were and become, so that the rules have one form to judge.
//!
//! [`Plain`] is HTTP/1, where all this is a matter of bytes in buffers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::answer::Memory;
use crate::buffer::Buffer;
use crate::failure::Failure;
use crate::h2;
use crate::http1::edits::Changes;
use crate::http1::encode::{self, Delivery};
use crate::http1::framing::Framing;
use crate::http1::head::ResponseHead;
use crate::http1::scan::{Extent, Scanner};
use crate::limits::EARLY_BYTES;

/// Where a body comes from.
pub(crate) trait Source: AsyncRead + Unpin {
    /// So many bytes of the body have been passed on: the sender may send as many again.
    fn taken(&mut self, count: u64) {
        let _ = count;
    }

    /// Appends the trailer fields that came with the end of the stream, as lines of HTTP/1.
    fn trailers(&mut self, lines: &mut Vec<u8>) {
        let _ = lines;
    }
}

/// Where a body goes to.
pub(crate) trait Sink: AsyncWrite + Unpin {
    /// All of the body has been written, and these are the trailer fields that go with its end.
    ///
    /// # Errors
    /// When the other end takes no more.
    fn finish(&mut self, trailers: &[u8]) -> io::Result<()> {
        let _ = trailers;
        Ok(())
    }
}

/// How much of a client is left while it waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Here,
    /// It has ended its side and may still read.
    Ended,
    Gone,
}

/// The client's side of one request.
pub(crate) trait Client: Source + Sink {
    /// Takes the head of an answer, interim or not, with `changes`, whose body arrives with `framing`. As
    /// text it is made in `text` and put into `out`.
    ///
    /// # Errors
    /// When the client takes no answer any more.
    fn answer(
        &mut self,
        head: &ResponseHead<'_, '_>,
        changes: Changes<'_>,
        delivery: Delivery,
        framing: Framing,
        text: &mut Vec<u8>,
        out: &mut Buffer,
    ) -> io::Result<()>;

    /// Asks for the body of a request, as 100 does. As text it is put into `out`.
    ///
    /// # Errors
    /// When the client takes no answer any more.
    fn invite(&mut self, out: &mut Buffer) -> io::Result<()>;

    /// Looks whether the client still waits, after all of its request has been read. What it sends
    /// early is kept in `input`, up to a bound.
    fn poll_presence(&mut self, cx: &mut Context<'_>, input: &mut Buffer) -> Presence;

    /// Whether a client that takes its answer has given up: told only where the version can tell.
    fn has_cancelled(&mut self, cx: &mut Context<'_>) -> bool {
        let _ = cx;
        false
    }
}

/// A backend's side of one exchange.
pub(crate) trait Backend: Source + Sink {
    /// Whether trailer fields are sent to it even if nothing says that it understands them.
    fn carries_trailers(&self) -> bool {
        false
    }

    /// How a body is sent whose head says `framing`.
    fn framing_up(&self, framing: Framing) -> Framing {
        framing
    }

    /// Sends the request's head, the text of HTTP/1.1, whose body arrives with `framing`.
    ///
    /// # Errors
    /// When the backend takes no request.
    fn send_head(&mut self, head: &[u8], framing: Framing, out: &mut Buffer)
    -> Result<(), Failure>;

    /// Waits for the head of an answer: at the front of `input` as far as the extent says.
    ///
    /// [`Failure::Closed`] if the backend ends before that.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scanner: &mut Scanner,
        input: &mut Buffer,
    ) -> Poll<Result<Extent, Failure>>;

    /// How the body of an answer that declares `framing` arrives.
    fn framing_down(&self, framing: Framing) -> Framing {
        framing
    }
}

/// A byte stream that is all there is to its side: HTTP/1, or no HTTP at all.
#[derive(Debug)]
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: AsyncRead + Unpin> Source for Plain<T> {}
impl<T: AsyncWrite + Unpin> Sink for Plain<T> {}

impl<T: AsyncRead + AsyncWrite + Unpin> Client for Plain<T> {
    fn answer(
        &mut self,
        head: &ResponseHead<'_, '_>,
        changes: Changes<'_>,
        delivery: Delivery,
        _: Framing,
        text: &mut Vec<u8>,
        out: &mut Buffer,
    ) -> io::Result<()> {
        text.clear();
        encode::response(head, changes, delivery, text);
        out.push(text);
        Ok(())
    }

    fn invite(&mut self, out: &mut Buffer) -> io::Result<()> {
        out.push(b"HTTP/1.1 100 Continue\r\n\r\n");
        Ok(())
    }

    fn poll_presence(&mut self, cx: &mut Context<'_>, input: &mut Buffer) -> Presence {
        if input.len() >= EARLY_BYTES {
            return Presence::Here;
        }
        match input.poll_fill(cx, &mut self.0) {
            Poll::Ready(Ok(0)) => Presence::Ended,
            Poll::Ready(Err(_)) => Presence::Gone,
            Poll::Ready(Ok(_)) | Poll::Pending => Presence::Here,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Backend for Plain<T> {
    fn send_head(&mut self, head: &[u8], _: Framing, out: &mut Buffer) -> Result<(), Failure> {
        out.push(head);
        Ok(())
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scanner: &mut Scanner,
        input: &mut Buffer,
    ) -> Poll<Result<Extent, Failure>> {
        poll_text_head(&mut self.0, cx, scanner, input)
    }
}

/// Reads the head of an answer that is text, from `source` into `input`.
pub(crate) fn poll_text_head<T: AsyncRead + Unpin>(
    source: &mut T,
    cx: &mut Context<'_>,
    scanner: &mut Scanner,
    input: &mut Buffer,
) -> Poll<Result<Extent, Failure>> {
    loop {
        match scanner.scan(input.filled()) {
            Ok(Some(extent)) => return Poll::Ready(Ok(extent)),
            Ok(None) => {}
            Err(reject) => {
                return Poll::Ready(Err(Failure::BadResponse(reject.in_response())));
            }
        }
        match input.poll_fill(cx, source) {
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Failure::Closed)),
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => return Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Plain<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Plain<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A way to a backend, as one exchange uses it.
pub(crate) enum Upstream<T> {
    /// A connection of HTTP/1.
    Http1(Plain<T>),
    /// A stream of HTTP/2; boxed, for it is large and this is moved about.
    Http2(Box<h2::upstream::Stream>),
    /// No backend: an answer of our own.
    Own(Box<Memory>),
}

impl<T> Upstream<T> {
    /// The connection, if it is of this exchange alone.
    pub(crate) const fn plain(&self) -> Option<&T> {
        match self {
            Self::Http1(Plain(stream)) => Some(stream),
            Self::Http2(_) | Self::Own(_) => None,
        }
    }
}

macro_rules! either {
    ($upstream:expr, $side:ident => $result:expr) => {
        match $upstream {
            Upstream::Http1($side) => $result,
            Upstream::Http2($side) => $result,
            Upstream::Own($side) => $result,
        }
    };
}

impl<T: AsyncRead + AsyncWrite + Unpin> Backend for Upstream<T> {
    fn carries_trailers(&self) -> bool {
        either!(self, side => side.carries_trailers())
    }

    fn framing_up(&self, framing: Framing) -> Framing {
        either!(self, side => side.framing_up(framing))
    }

    fn send_head(
        &mut self,
        head: &[u8],
        framing: Framing,
        out: &mut Buffer,
    ) -> Result<(), Failure> {
        either!(self, side => side.send_head(head, framing, out))
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scanner: &mut Scanner,
        input: &mut Buffer,
    ) -> Poll<Result<Extent, Failure>> {
        either!(self, side => side.poll_head(cx, scanner, input))
    }

    fn framing_down(&self, framing: Framing) -> Framing {
        either!(self, side => side.framing_down(framing))
    }
}

impl<T: AsyncRead + Unpin> Source for Upstream<T> {
    fn taken(&mut self, count: u64) {
        either!(self, side => side.taken(count));
    }

    fn trailers(&mut self, lines: &mut Vec<u8>) {
        either!(self, side => side.trailers(lines));
    }
}

impl<T: AsyncWrite + Unpin> Sink for Upstream<T> {
    fn finish(&mut self, trailers: &[u8]) -> io::Result<()> {
        either!(self, side => side.finish(trailers))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Upstream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), side => Pin::new(side).poll_read(cx, buffer))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Upstream<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), side => Pin::new(side).poll_write(cx, data))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), side => Pin::new(side).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), side => Pin::new(side).poll_shutdown(cx))
    }
}
