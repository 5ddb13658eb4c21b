//! Requests that no client waits for: copies, and what a cache asks for by itself.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Method, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffer::Buffer;
use crate::http1::edits::Changes;
use crate::http1::encode::Delivery;
use crate::http1::framing::Framing;
use crate::http1::head::ResponseHead;
use crate::persistence::Belongs;
use crate::request::{Request, Way};
use crate::side::{Client, Presence, Sink, Source};

impl Request {
    /// One of ours, without a body.
    pub(crate) fn of_nobody(method: Method, way: Way) -> Self {
        Self {
            method,
            version: Version::HTTP_11,
            framing: Framing::None,
            outgoing: Framing::None,
            persistent: true,
            expects_continue: false,
            invited: false,
            trailers: false,
            withholds: false,
            websocket: None,
            way,
            belongs: Belongs::default(),
            extra: None,
        }
    }
}

/// A client that has said all, and takes everything.
pub(crate) struct Nobody;

impl Source for Nobody {}
impl Sink for Nobody {}

impl Client for Nobody {
    fn answer(
        &mut self,
        _: &ResponseHead<'_, '_>,
        _: Changes<'_>,
        _: Delivery,
        _: Framing,
        _: &mut Vec<u8>,
        _: &mut Buffer,
    ) -> io::Result<()> {
        Ok(())
    }

    fn invite(&mut self, _: &mut Buffer) -> io::Result<()> {
        Ok(())
    }

    fn poll_presence(&mut self, _: &mut Context<'_>, _: &mut Buffer) -> Presence {
        Presence::Here
    }
}

impl AsyncRead for Nobody {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Nobody {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
