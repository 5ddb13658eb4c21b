//! Two backends asked for the same, and the first that begins to answer taken.
//!
//! # Theory of operation
//! The first attempt has some time for itself. If no byte of an answer has come by then, and the budget
//! allows it, a second one begins beside it, at another backend. The first byte decides: whoever sends
//! it has the request, and the other is dropped, which resets its connection. An attempt that fails
//! leaves the request to the other; if that has not begun, there is none, and what follows is a matter of
//! retries.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::sleep;

use super::{History, Turn};
use crate::buffer::Buffer;

/// A request at a backend.
pub(crate) struct Attempt<S> {
    pub(crate) turn: Turn,
    pub(crate) stream: S,
    pub(crate) history: History,
    /// What has come of an answer.
    pub(crate) input: Buffer,
    /// The connection ended before that.
    pub(crate) closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Attempt<S> {
    pub(crate) fn new(turn: Turn, (stream, history): (S, History)) -> Self {
        Self { turn, stream, history, input: Buffer::new(), closed: false }
    }

    /// Sends `head`, and waits for the first byte of an answer.
    pub(crate) async fn begin(&mut self, head: &[u8]) -> Result<(), Lost> {
        let Self { stream, input, .. } = self;
        // If it takes no more, it may have answered all the same.
        if stream.write_all(head).await.is_ok() {
            let _ = stream.flush().await;
        }
        self.closed = !matches!(poll_fn(|cx| input.poll_fill(cx, stream)).await, Ok(1..));
        if self.closed { Err(Lost) } else { Ok(()) }
    }
}

/// An attempt has failed.
#[derive(Debug)]
pub(crate) struct Lost;

/// What a race came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Raced<S> {
    First,
    Second,
    /// All that had begun failed.
    Neither,
    /// It was called off.
    Stopped(S),
}

/// Runs `first`, and after a time beside it what `second` makes, if it does; until one of them is
/// successful, all have failed, or `stop` is ready.
pub(crate) async fn race<S, G: Future<Output = Result<(), Lost>>>(
    first: impl Future<Output = Result<(), Lost>>,
    after: Duration,
    second: impl FnOnce() -> Option<G>,
    mut stop: impl FnMut(&mut Context<'_>) -> Poll<S>,
) -> Raced<S> {
    let (mut first, mut timer) = (pin!(first), pin!(sleep(after)));
    let alone = poll_fn(|cx| {
        if let Poll::Ready(stopped) = stop(cx) {
            return Poll::Ready(Some(Raced::Stopped(stopped)));
        }
        match first.as_mut().poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Some(Raced::First)),
            Poll::Ready(Err(Lost)) => Poll::Ready(Some(Raced::Neither)),
            Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
        }
    });
    if let Some(raced) = alone.await {
        return raced;
    }
    let mut second = pin!(second());
    let (mut first_runs, mut second_runs) = (true, second.is_some());
    poll_fn(|cx| {
        if let Poll::Ready(stopped) = stop(cx) {
            return Poll::Ready(Raced::Stopped(stopped));
        }
        if first_runs && let Poll::Ready(result) = first.as_mut().poll(cx) {
            first_runs = false;
            if result.is_ok() {
                return Poll::Ready(Raced::First);
            }
        }
        if second_runs
            && let Some(second) = second.as_mut().as_pin_mut()
            && let Poll::Ready(result) = second.poll(cx)
        {
            second_runs = false;
            if result.is_ok() {
                return Poll::Ready(Raced::Second);
            }
        }
        if first_runs || second_runs { Poll::Pending } else { Poll::Ready(Raced::Neither) }
    })
    .await
}
