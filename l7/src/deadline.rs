//! One timer for the life of a connection.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that is moved far more often than it passes.
///
/// Moving it later only stores a number: the timer fires at its old time, sees that the deadline is
/// now later and is set again. So a connection touches the runtime's timer wheel once in a while
/// and not with every request.
pub(crate) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
    since: Instant,
    /// Beyond which nothing moves it.
    end: Option<Instant>,
}

impl Deadline {
    pub(crate) fn after(delay: Duration) -> Self {
        let since = Instant::now();
        let at = later(since, delay);
        Self { sleep: Box::pin(sleep_until(at)), at, since, end: None }
    }

    /// When it was last restarted.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// Sets an end `delay` from now, beyond which [`restart`](Self::restart) does not move the deadline;
    /// none lifts it.
    pub(crate) fn set_end(&mut self, delay: Option<Duration>) {
        self.end = delay.map(|delay| later(Instant::now(), delay));
    }

    /// When the end is, if there is one.
    pub(crate) const fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Moves the deadline to `delay` from now, or to the end if that is sooner.
    pub(crate) fn restart(&mut self, delay: Duration) {
        self.since = Instant::now();
        self.at = later(self.since, delay);
        if let Some(end) = self.end {
            self.at = self.at.min(end);
        }
        if self.at < self.sleep.deadline() {
            self.sleep.as_mut().reset(self.at);
        }
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.at {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

/// Longest delay: a year. Longer ones overflow the clock on some machines.
const LONGEST: Duration = Duration::from_hours(365 * 24);

fn later(now: Instant, delay: Duration) -> Instant {
    now + delay.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fires_at_the_last_set_time_whether_moved_later_or_earlier() {
        let began = Instant::now();
        let mut deadline = Deadline::after(Duration::from_secs(1));
        deadline.restart(Duration::from_secs(10));
        std::future::poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 10);
        deadline.restart(Duration::from_secs(50));
        deadline.restart(Duration::from_secs(2));
        std::future::poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 12);
        deadline.restart(Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_moves_it_beyond_the_end() {
        let began = Instant::now();
        let mut deadline = Deadline::after(Duration::from_secs(1));
        deadline.set_end(Some(Duration::from_secs(5)));
        deadline.restart(Duration::from_secs(10));
        std::future::poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 5);
        deadline.set_end(None);
        deadline.restart(Duration::from_secs(10));
        std::future::poll_fn(|cx| deadline.poll(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 15);
    }
}
