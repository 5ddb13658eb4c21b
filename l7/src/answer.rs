//! Answers of our own: backends in memory.
//!
//! # Theory of operation
//! A redirection, a page, an answer out of a cache: each is the text of a response of HTTP/1.1, and goes
//! through the same exchange as that of a backend. So all that is done with answers is done with these
//! too, by the same code: HEAD, clients of HTTP/2, the log, limits of time. What the client sends is read
//! as fast as it comes, and forgotten; what has not come by then ends the connection after the answer
//! (R15).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffer::Buffer;
use crate::failure::Failure;
use crate::http1::encode::push_decimal;
use crate::http1::framing::Framing;
use crate::http1::scan::{Extent, Scanner};
use crate::side::{Backend, Sink, Source, poll_text_head};

/// An answer that is here as a whole. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The head, as text of HTTP/1.1 with the length of the body.
    head: Bytes,
    body: Bytes,
}

impl Answer {
    /// An answer with `status`, those fields, and that body; its length is added, where the status may
    /// have one.
    ///
    /// Names and values must have been checked: [`Edits`](crate::http1::edits::Edits).
    pub fn new<'a>(
        status: StatusCode,
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        body: Bytes,
    ) -> Self {
        let mut head = Vec::with_capacity(256);
        head.extend_from_slice(b"HTTP/1.1 ");
        head.extend_from_slice(status.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        head.extend_from_slice(b"\r\n");
        for (name, value) in fields {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        // RFC 9110 section 8.6: none with 204, and with 304 it would be that of another answer.
        let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if empty { Bytes::new() } else { body };
        if !empty {
            head.extend_from_slice(b"Content-Length: ");
            push_decimal(body.len() as u64, &mut head);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        Self { head: head.into(), body }
    }

    /// An answer with `status` and a line of text.
    pub fn text(status: StatusCode, text: &str) -> Self {
        let kind: (&str, &[u8]) = ("Content-Type", b"text/plain; charset=utf-8");
        Self::new(status, [kind], Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The bytes of a whole response of HTTP/1.1: `head` to its empty line, and `body` framed as that
    /// says.
    pub fn from_parts(head: impl Into<Bytes>, body: impl Into<Bytes>) -> Self {
        Self { head: head.into(), body: body.into() }
    }

    /// Bytes of its body.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }
}

/// An answer that is being given.
#[derive(Debug)]
pub(crate) struct Memory {
    /// What is left of the head, then of the body.
    parts: [Bytes; 2],
}

impl Memory {
    pub(crate) fn new(answer: &Answer) -> Self {
        Self { parts: [answer.head.clone(), answer.body.clone()] }
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        for part in &mut self.parts {
            let next = part.split_to(part.len().min(buffer.remaining()));
            buffer.put_slice(&next);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
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

impl Source for Memory {}
impl Sink for Memory {}

impl Backend for Memory {
    fn send_head(&mut self, _: &[u8], _: Framing, _: &mut Buffer) -> Result<(), Failure> {
        Ok(())
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scanner: &mut Scanner,
        input: &mut Buffer,
    ) -> Poll<Result<Extent, Failure>> {
        poll_text_head(self, cx, scanner, input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_text_of_a_response() {
        let answer = Answer::new(StatusCode::FOUND, [("Location", &b"/new"[..])], Bytes::new());
        let text = "HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(answer.head, text);
        let answer = Answer::text(StatusCode::OK, "well\n");
        assert!(answer.head.ends_with(b"Content-Length: 5\r\n\r\n") && answer.body_len() == 5);
        let answer = Answer::text(StatusCode::NO_CONTENT, "never sent");
        assert!(answer.head.ends_with(b"utf-8\r\n\r\n") && answer.body_len() == 0);
    }
}
