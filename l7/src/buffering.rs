//! Whole messages in memory, so that a slow client does not hold a backend.
//!
//! # Theory of operation
//! A request is read to its end before a backend is chosen. It waits in the client's own input buffer,
//! which grows for it, and from there goes up as if it had just come: nothing else knows.
//!
//! An answer goes to the client as it comes, and what the client does not take yet waits in the buffer
//! to it, which grows. Once all of it is there the backend is done: its connection goes back to the
//! pool, its turn is over, and the client takes the rest at its own speed.
//!
//! ```text
//!  slow client ── request ──► memory │ choose, connect ── all at once ──► backend
//!  slow client ◄── its speed ── memory ◄── its speed ── backend │ free again
//! ```
//!
//! Both are bounded by [`Buffering::limit`]: a request that is longer is answered with 413, and of an
//! answer that is longer the rest is streamed, so that the backend is held no longer than without
//! buffering. All services share what [`Hoard`] has: a message that finds no room there is streamed.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;

use crate::buffer::Buffer;
use crate::deadline::Deadline;
use crate::exchange::{BODY_CUT_OFF, BODY_TIMEOUT};
use crate::failure::Failure;
use crate::http1::body::Decoder;
use crate::http1::framing::Framing;
use crate::http1::reject::{Reject, Rule};
use crate::limits::BUFFER_MAX;
use crate::log::End;
use crate::side::Client;
use crate::timeouts::Timeouts;

/// Which messages are buffered, and how much of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffering {
    /// Requests are read to their end before a backend is chosen. Default false.
    pub request: bool,
    /// Answers are taken from their backend as fast as it gives them. Default false.
    pub response: bool,
    /// Bytes of a message on the wire, chunk framing included. Default 1 MiB.
    pub limit: usize,
}

impl Default for Buffering {
    fn default() -> Self {
        Self { request: false, response: false, limit: 1 << 20 }
    }
}

/// Memory for messages, shared by services.
#[derive(Debug)]
pub struct Hoard {
    used: Cell<usize>,
    most: usize,
}

impl Hoard {
    /// At most `most` bytes.
    pub fn new(most: usize) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), most })
    }

    /// Bytes set aside now.
    pub const fn used(&self) -> usize {
        self.used.get()
    }

    /// Sets room aside for a message of `length` bytes, beyond what every connection's buffer has. None
    /// if there is not so much.
    pub(crate) fn reserve(self: &Rc<Self>, length: usize) -> Option<Reserved> {
        let bytes = length.saturating_sub(BUFFER_MAX);
        let used = self.used.get().checked_add(bytes).filter(|&used| used <= self.most)?;
        self.used.set(used);
        Some(Reserved { bytes, hoard: Rc::clone(self) })
    }
}

/// Room for one message, as long as this value lives.
#[derive(Debug)]
pub(crate) struct Reserved {
    bytes: usize,
    hoard: Rc<Hoard>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.hoard.used.set(self.hoard.used.get().saturating_sub(self.bytes));
    }
}

/// The most that a message with `framing` may take of `limit`.
pub(crate) fn expected(framing: Framing, limit: usize) -> usize {
    match framing {
        Framing::None => 0,
        Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX).min(limit),
        Framing::Chunked | Framing::UntilClose => limit,
    }
}

/// Reads a body with `framing` to its end, into `input`, which it stays in. `output` is written
/// meanwhile: it may ask the client for the body.
///
/// # Errors
/// [`Failure::Refused`] with 413 beyond `limit` (a length that is declared is the caller's to judge), with 408 if nothing comes for too long, and for what
/// breaks a rule; and if the
/// client ends before the body does; [`Failure::ClientGone`].
pub(crate) async fn collect<K: Client>(
    client: &mut K,
    (input, output): (&mut Buffer, &mut Buffer),
    deadline: &mut Deadline,
    framing: Framing,
    limit: usize,
    timeouts: &Timeouts,
) -> Result<(), Failure> {
    let mut body = Body { decoder: Decoder::new(framing), seen: 0 };
    deadline.restart(timeouts.body);
    poll_fn(|cx| {
        loop {
            drain(cx, client, output)?;
            if body.look(input, limit)? {
                return Poll::Ready(Ok(()));
            }
            let before = input.len();
            match input.poll_fill_to(cx, client, limit.saturating_add(BUFFER_MAX)) {
                Poll::Ready(Ok(0)) if body.decoder.close() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Failure::Refused(BODY_CUT_OFF))),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Failure::ClientGone)),
                Poll::Ready(Ok(_)) => {
                    client.taken((input.len() - before) as u64);
                    deadline.restart(timeouts.body);
                }
                Poll::Pending => {
                    return deadline.poll(cx).map(|()| Err(Failure::Refused(BODY_TIMEOUT)));
                }
            }
        }
    })
    .await
}

/// Gives the client what waits for it, as much as it takes now.
fn drain<K: Client>(
    cx: &mut Context<'_>,
    client: &mut K,
    output: &mut Buffer,
) -> Result<(), Failure> {
    while !output.is_empty() {
        match output.poll_drain(cx, client, usize::MAX) {
            Poll::Ready(result) => result.map(drop).map_err(|_| Failure::ClientGone)?,
            Poll::Pending => break,
        }
    }
    // What cannot be flushed now is flushed with the answer.
    let _ = std::pin::Pin::new(client).poll_flush(cx);
    Ok(())
}

/// A body that is followed to its end where it lies.
struct Body {
    decoder: Decoder,
    /// Bytes of it that were looked at.
    seen: usize,
}

impl Body {
    /// Looks at what has come. Whether the body ends there.
    fn look(&mut self, input: &Buffer, limit: usize) -> Result<bool, Failure> {
        while !self.decoder.is_end() {
            let rest = input.filled().get(self.seen..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(false);
            }
            let decoded = self.decoder.decode(rest).map_err(Failure::Refused)?;
            self.seen += decoded.consumed;
            if self.seen > limit {
                return Err(Failure::Refused(TOO_LONG));
            }
            if decoded.consumed == 0 && !decoded.end {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Says that a request is longer than what is buffered.
pub(crate) const TOO_LONG: Reject = Reject::new(
    Rule::R05,
    StatusCode::PAYLOAD_TOO_LARGE,
    "the body is longer than what is buffered",
);

/// Gives the client the rest of an answer, whose backend is done, and the trailer fields that end it.
///
/// # Errors
/// [`Failure::Cut`] if the client is gone, or takes nothing for too long.
pub(crate) async fn deliver_rest<K: Client>(
    client: &mut K,
    output: &mut Buffer,
    deadline: &mut Deadline,
    trailers: &[u8],
    timeouts: &Timeouts,
) -> Result<(), Failure> {
    let gone = || Failure::Cut(End::ClientGone);
    let mut finished = false;
    deadline.restart(timeouts.body);
    poll_fn(|cx| {
        loop {
            if !output.is_empty() {
                match output.poll_drain(cx, client, usize::MAX) {
                    Poll::Ready(Ok(_)) => deadline.restart(timeouts.body),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(gone())),
                    Poll::Pending => break,
                }
                continue;
            }
            if !std::mem::replace(&mut finished, true) && client.finish(trailers).is_err() {
                return Poll::Ready(Err(gone()));
            }
            match std::pin::Pin::new(&mut *client).poll_flush(cx) {
                Poll::Ready(result) => return Poll::Ready(result.map_err(|_| gone())),
                Poll::Pending => break,
            }
        }
        if client.has_cancelled(cx) {
            return Poll::Ready(Err(gone()));
        }
        deadline.poll(cx).map(|()| Err(Failure::Cut(End::ClientTimeout)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_shared_and_comes_back() {
        let hoard = Hoard::new(1000);
        assert!(hoard.reserve(BUFFER_MAX).is_some(), "every connection has so much");
        let most = hoard.reserve(BUFFER_MAX + 900).unwrap();
        assert_eq!(hoard.used(), 900);
        assert!(hoard.reserve(BUFFER_MAX + 101).is_none());
        let rest = hoard.reserve(BUFFER_MAX + 100).unwrap();
        drop((most, rest));
        assert_eq!(hoard.used(), 0);
        assert!(hoard.reserve(usize::MAX).is_none());
    }

    #[test]
    fn what_is_known_to_be_short_takes_little() {
        for (framing, bytes) in [
            (Framing::None, 0),
            (Framing::Length(70), 70),
            (Framing::Length(u64::MAX), 100),
            (Framing::Chunked, 100),
            (Framing::UntilClose, 100),
        ] {
            assert_eq!(expected(framing, 100), bytes);
        }
    }
}
