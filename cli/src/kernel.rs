//! Connections to backends by the host's own sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use l7::orderly::{Abort, Orderly};
use l7::upstream::Connect;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Connects by sockets of the namespace that the process runs in.
#[derive(Clone, Copy, Debug)]
pub struct KernelConnect;

impl Connect for KernelConnect {
    type Stream = Orderly<KernelStream>;

    async fn connect(&self, backend: SocketAddr) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect(backend).await?;
        stream.set_nodelay(true)?;
        Ok(Orderly::new(KernelStream(stream)))
    }
}

/// A kernel socket that can be reset.
#[derive(Debug)]
pub struct KernelStream(TcpStream);

impl Abort for KernelStream {
    fn abort(self) {
        // With no time to linger the kernel sends a RST on close. A socket that refuses the option is
        // closed in order, which is all that is left to do.
        let _ = self.0.set_zero_linger();
    }
}

impl AsyncRead for KernelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for KernelStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
