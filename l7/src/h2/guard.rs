//! What a peer may ask for without end: frames that cost us work and bring it nothing.
//!
//! # Theory of operation
//! A [`Guard`] stands between the bytes of a connection and the HTTP/2 implementation and looks at
//! frame headers only. Two budgets fill again with time:
//!
//! - *cancellations*, which are `RST_STREAM` either way. A client that opens streams and resets them at
//!   once has us work for nobody (Rapid Reset, CVE-2023-44487); one that makes us reset them does the
//!   same (`MadeYouReset`, CVE-2025-8671).
//! - *control*: SETTINGS, PING, PRIORITY, frames of unknown types, empty DATA, and `WINDOW_UPDATE`
//!   beyond one for each [`BYTES_A_WINDOW_UPDATE`] that we sent. Most of these must be answered.
//!
//! When a budget is used up, nothing more is read, and whoever drives the connection is told to end
//! it with `ENHANCE_YOUR_CALM`. What the implementation bounds by itself is not counted here again:
//! header lists, CONTINUATION (CVE-2024-27316) and tiny DATA.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::limits::{
    H2_CANCELLATIONS, H2_CANCELLATIONS_PER_SECOND, H2_CONTROL_FRAMES, H2_CONTROL_FRAMES_PER_SECOND,
};

/// The connection preface of a client (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
/// One `WINDOW_UPDATE` is free for so many bytes sent: the least that a sane reader waits for.
const BYTES_A_WINDOW_UPDATE: u64 = 1024;

/// Which budget was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    Cancellations,
    Control,
}

/// Tells whoever drives the connection.
pub(crate) type Alarm = Rc<Cell<Option<Flood>>>;

/// A stream whose frames are counted.
pub(crate) struct Guard<T> {
    stream: T,
    received: Frames,
    sent: Frames,
    cancellations: Budget,
    control: Budget,
    /// `WINDOW_UPDATE` frames that are free, in bytes sent.
    sent_bytes: u64,
    alarm: Alarm,
}

impl<T> Guard<T> {
    /// Guards a connection of a client, whose preface is still to come.
    pub(super) const fn of_client(stream: T, alarm: Alarm) -> Self {
        let cancellations = Budget::new(H2_CANCELLATIONS, H2_CANCELLATIONS_PER_SECOND);
        Self::new(stream, alarm, (PREFACE.len(), 0), cancellations)
    }

    /// Guards a connection to a backend. Many clients share it, and may cancel as much as each may.
    pub(super) const fn of_backend(stream: T, alarm: Alarm) -> Self {
        Self::new(stream, alarm, (0, PREFACE.len()), Budget::new(u32::MAX, u32::MAX))
    }

    const fn new(
        stream: T,
        alarm: Alarm,
        (received, sent): (usize, usize),
        cancellations: Budget,
    ) -> Self {
        Self {
            stream,
            received: Frames::after(received),
            sent: Frames::after(sent),
            cancellations,
            control: Budget::new(H2_CONTROL_FRAMES, H2_CONTROL_FRAMES_PER_SECOND),
            sent_bytes: 0,
            alarm,
        }
    }

    fn count_received(&mut self, data: &[u8]) {
        let Self { received, cancellations, control, sent_bytes, alarm, .. } = self;
        received.feed(data, |frame| {
            let flood = match frame.kind {
                Kind::Reset => cancellations.take().then_some(Flood::Cancellations),
                Kind::WindowUpdate if *sent_bytes >= BYTES_A_WINDOW_UPDATE => {
                    *sent_bytes -= BYTES_A_WINDOW_UPDATE;
                    None
                }
                Kind::Control | Kind::WindowUpdate => control.take().then_some(Flood::Control),
                Kind::Useful => None,
            };
            if flood.is_some() {
                alarm.set(flood);
            }
        });
    }

    fn count_sent(&mut self, data: &[u8]) {
        let Self { sent, cancellations, alarm, .. } = self;
        sent.feed(data, |frame| {
            if frame.kind == Kind::Reset && cancellations.take() {
                alarm.set(Some(Flood::Cancellations));
            }
        });
        self.sent_bytes = self.sent_bytes.saturating_add(data.len() as u64);
    }
}

/// Finds frame headers in a run of bytes that comes in pieces.
#[derive(Debug)]
struct Frames {
    /// Bytes to pass before the next frame header.
    skip: usize,
    header: [u8; FRAME_HEADER],
    have: usize,
}

struct Frame {
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Brings a request or a response on.
    Useful,
    Reset,
    WindowUpdate,
    Control,
}

impl Frames {
    const fn after(skip: usize) -> Self {
        Self { skip, header: [0; FRAME_HEADER], have: 0 }
    }

    fn feed(&mut self, mut data: &[u8], mut found: impl FnMut(Frame)) {
        loop {
            let (_, rest) = data.split_at(self.skip.min(data.len()));
            self.skip -= data.len() - rest.len();
            data = rest;
            if data.is_empty() {
                return;
            }
            let free = self.header.get_mut(self.have..).unwrap_or_default();
            let (part, rest) = data.split_at(free.len().min(data.len()));
            for (to, from) in free.iter_mut().zip(part) {
                *to = *from;
            }
            self.have += part.len();
            data = rest;
            if self.have < FRAME_HEADER {
                return;
            }
            self.have = 0;
            let [a, b, c, kind, flags, ..] = self.header;
            self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            found(Frame { kind: Kind::of(kind, flags, self.skip) });
        }
    }
}

impl Kind {
    const fn of(kind: u8, flags: u8, length: usize) -> Self {
        const END_STREAM: u8 = 1;
        match kind {
            // DATA that brings nothing and ends nothing.
            0 if length == 0 && flags & END_STREAM == 0 => Self::Control,
            // DATA, HEADERS, GOAWAY, CONTINUATION; PUSH_PROMISE ends the connection anyway.
            0 | 1 | 5 | 7 | 9 => Self::Useful,
            3 => Self::Reset,
            8 => Self::WindowUpdate,
            _ => Self::Control,
        }
    }
}

/// So many at once, and so many a second.
#[derive(Debug)]
struct Budget {
    left: u32,
    most: u32,
    per_second: u32,
    since: Option<Instant>,
}

impl Budget {
    const fn new(most: u32, per_second: u32) -> Self {
        Self { left: most, most, per_second, since: None }
    }

    /// Takes one; true if there was none left. The clock is read only when the budget looks empty.
    fn take(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        if self.left == 0 {
            let now = Instant::now();
            let earned = (now - since).as_millis() * u128::from(self.per_second) / 1000;
            self.left = u32::try_from(earned).unwrap_or(u32::MAX).min(self.most);
            if self.left > 0 {
                self.since = Some(now);
            }
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                false
            }
            None => true,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Guard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.alarm.get().is_some() {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.count_received(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, data))?;
        self.count_sent(data.get(..count).unwrap_or(data));
        Poll::Ready(Ok(count))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, data))?;
        let mut left = count;
        for slice in data {
            let part = slice.get(..left).unwrap_or(slice);
            self.count_sent(part);
            left -= part.len();
        }
        Poll::Ready(Ok(count))
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn frames_are_found_however_the_bytes_are_split() {
        use Kind::{Control, Reset, Useful, WindowUpdate};
        let frame = |kind: u8, flags: u8, payload: &[u8]| {
            let mut bytes = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 1];
            bytes.extend_from_slice(payload);
            bytes
        };
        let all = [
            PREFACE.to_vec(),
            frame(4, 0, &[3; 6]),
            frame(1, 5, b"head"),
            frame(0, 0, b""),
            frame(0, 1, b""),
            frame(0, 0, b"x"),
            frame(3, 0, &[3; 4]),
            frame(8, 0, &[3; 4]),
            frame(99, 0, &[3; 40]),
        ]
        .concat();
        for step in 1..all.len() {
            let mut frames = Frames::after(PREFACE.len());
            let mut kinds = Vec::new();
            for piece in all.chunks(step) {
                frames.feed(piece, |frame| kinds.push(frame.kind));
            }
            let expected = [Control, Useful, Control, Useful, Useful, Reset, WindowUpdate, Control];
            assert_eq!(kinds, expected, "in pieces of {step}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_is_what_is_left_and_fills_with_time() {
        let mut budget = Budget::new(3, 2);
        assert_eq!([(); 4].map(|()| budget.take()), [false, false, false, true]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!([(); 3].map(|()| budget.take()), [false, false, true]);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!([(); 4].map(|()| budget.take()), [false, false, false, true], "never above");
    }
}
