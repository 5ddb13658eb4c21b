//! Streams that tell an end from a failure.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use netstack::tcp::TcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose connection can be reset.
pub trait Abort {
    /// Resets the connection.
    fn abort(self);
}

impl Abort for TcpStream {
    fn abort(self) {
        Self::abort(self);
    }
}

/// A stream that is reset when it is dropped before it was shut down.
///
/// A user-space TCP stream, like a kernel's, closes in order when it is dropped. To the peer a
/// response that was cut off would look complete if only the connection's end completes it. The
/// proxy shuts a stream down where all is well, so that the rest can be told apart.
#[derive(Debug)]
pub struct Orderly<T: Abort> {
    /// Taken only by the drop.
    stream: Option<T>,
    shut_down: bool,
}

impl<T: Abort> Orderly<T> {
    /// Wraps `stream`.
    pub const fn new(stream: T) -> Self {
        Self { stream: Some(stream), shut_down: false }
    }

    /// The stream itself.
    pub const fn get_ref(&self) -> Option<&T> {
        self.stream.as_ref()
    }
}

impl<T: Abort> Drop for Orderly<T> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take().filter(|_| !self.shut_down) {
            stream.abort();
        }
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl<T: Abort + AsyncRead + Unpin> AsyncRead for Orderly<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().map_or_else(gone, |stream| Pin::new(stream).poll_read(cx, buffer))
    }
}

impl<T: Abort + AsyncWrite + Unpin> AsyncWrite for Orderly<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().map_or_else(gone, |stream| Pin::new(stream).poll_write(cx, data))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.stream.as_mut();
        stream.map_or_else(gone, |stream| Pin::new(stream).poll_write_vectored(cx, data))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(T::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().map_or_else(gone, |stream| Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = self.stream.as_mut() else { return gone() };
        let result = ready!(Pin::new(stream).poll_shutdown(cx));
        self.shut_down |= result.is_ok();
        Poll::Ready(result)
    }
}
