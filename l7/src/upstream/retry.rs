//! Whether a request is sent again.
//!
//! # Theory of operation
//! A connect that fails costs a backend nothing, so the next is tried, at most
//! [`BACKEND_ATTEMPTS`](crate::limits::BACKEND_ATTEMPTS) times in all; and a kept connection that had
//! just ended is replaced, once. Everything else that is sent again puts load on backends that may be
//! failing because of load, and happens only if a service asks for it, and within a [`Budget`]:
//! a share of the requests of the last ten seconds, and a few a second so that it works where there is
//! little traffic. In an outage the backends get that much more than their requests, and no more.
//!
//! A request may be sent again if doing it twice is as doing it once (RFC 9110 section 9.2.2), all that
//! was sent of its body is still here, and no byte of an answer has gone to the client. It goes to a
//! backend that it has not tried; if there is none, the client gets the answer there is.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::{Balance, Tried, Turn, choose};

/// When a request that failed is sent to another backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    /// Times that it is sent again, at most; 0 is never, the default.
    pub times: u32,
    /// Statuses of an answer that count as a failure, besides no answer at all.
    pub statuses: Vec<StatusCode>,
    /// Time until the head of an answer, after which a try has failed; none is that of the service, which
    /// is also that of the last try.
    pub timeout: Option<Duration>,
    /// Bytes of a body that are kept to be sent again. Default 0: requests with a body are not.
    pub body: usize,
    /// How many retries there may be.
    pub budget: BudgetLimits,
}

/// The tries of one request.
pub(crate) struct Tries<'a> {
    pub(crate) tried: Tried,
    policy: &'a Retry,
    budget: Option<&'a Budget>,
    balance: &'a Rc<dyn Balance>,
    client: &'a SocketAddr,
    /// Times that it may yet be sent again.
    left: u32,
    /// The turn of the next try, and whether that needs a fresh connection.
    next: Option<(Turn, bool)>,
}

impl<'a> Tries<'a> {
    /// Those of a request of `client`; it `may` be sent again, as far as its method goes. Its whole time is
    /// over at `end`.
    pub(crate) fn new(
        (policy, budget): (&'a Retry, Option<&'a Budget>),
        balance: &'a Rc<dyn Balance>,
        client: &'a SocketAddr,
        may: bool,
        end: Option<Instant>,
    ) -> Self {
        if let Some(budget) = budget {
            budget.deposit(Instant::now());
        }
        let left = if may { policy.times } else { 0 };
        Self { tried: Tried::until(end), policy, budget, balance, client, left, next: None }
    }

    /// How long this try waits for the head of an answer, where the service waits for `patience`.
    pub(crate) fn patience(&self, patience: Duration) -> Duration {
        let own = self.policy.timeout.filter(|_| self.left > 0);
        own.map_or(patience, |own| own.min(patience))
    }

    /// Whether an answer of `status` is none, and the request goes to another backend: the turn there is
    /// taken, and waits in [`next`](Self::next).
    pub(crate) fn rejects(&mut self, status: StatusCode, turn: &Turn) -> bool {
        self.left > 0 && self.policy.statuses.contains(&status) && self.again(turn)
    }

    /// The same after a try, of `turn`, that brought no answer.
    pub(crate) fn again(&mut self, turn: &Turn) -> bool {
        if self.left == 0 {
            return false;
        }
        self.tried.retried(turn);
        self.next = self.spend().map(|turn| (turn, false));
        self.left = if self.next.is_some() { self.left - 1 } else { 0 };
        self.next.is_some()
    }

    /// A turn for a second attempt beside the first, which is at `backend`.
    pub(crate) fn hedge(&mut self, backend: usize) -> Option<Turn> {
        self.tried.backends.push(backend);
        let next = self.spend();
        self.tried.backends.pop();
        next
    }

    /// A turn at a backend that was not tried, if there is one and the budget allows a further attempt.
    fn spend(&self) -> Option<Turn> {
        let (budget, now) = (self.budget?, Instant::now());
        if !budget.allows(now) {
            return None;
        }
        let next = choose(self.balance, *self.client, &self.tried).ok()?;
        budget.withdraw(now);
        Some(next)
    }

    /// Has the next try be at the backend of `turn` again, on a fresh connection: the kept one had ended.
    pub(crate) fn replace(&mut self, turn: Turn) {
        self.next = Some((turn, true));
    }

    /// The turn that was taken for the next try, and whether that needs a fresh connection.
    pub(crate) const fn next(&mut self) -> Option<(Turn, bool)> {
        self.next.take()
    }
}

/// How many attempts there may be beyond the first of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetLimits {
    /// Percent of the requests of the last ten seconds. Default 20.
    pub percent: u32,
    /// As many a second may there be whatever the share is. Default 3.
    pub per_second: u32,
}

impl Default for BudgetLimits {
    fn default() -> Self {
        Self { percent: 20, per_second: 3 }
    }
}

/// Seconds over which requests and retries are counted.
const WINDOW: u64 = 10;

/// Requests and further attempts of the last [`WINDOW`] seconds.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: BudgetLimits,
    window: RefCell<Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    /// The second that is counted now.
    second: u64,
    requests: [u32; WINDOW as usize],
    retries: [u32; WINDOW as usize],
}

impl Budget {
    /// Nothing is spent yet.
    pub(crate) fn new(limits: BudgetLimits) -> Self {
        let none = [0; WINDOW as usize];
        let window = Window { began: Instant::now(), second: 0, requests: none, retries: none };
        Self { limits, window: RefCell::new(window) }
    }

    /// Counts a request.
    pub(crate) fn deposit(&self, now: Instant) {
        let mut window = self.window.borrow_mut();
        let slot = window.advance(now);
        if let Some(count) = window.requests.get_mut(slot) {
            *count = count.saturating_add(1);
        }
    }

    /// True if there may be a further attempt.
    fn allows(&self, now: Instant) -> bool {
        let mut window = self.window.borrow_mut();
        let slot = window.advance(now);
        let sum = |counts: &[u32]| counts.iter().map(|&count| u64::from(count)).sum::<u64>();
        let share = sum(&window.requests) * u64::from(self.limits.percent) / 100;
        let this_second = window.retries.get(slot).copied().unwrap_or_default();
        sum(&window.retries) < share || this_second < self.limits.per_second
    }

    /// Counts a further attempt.
    fn withdraw(&self, now: Instant) {
        let mut window = self.window.borrow_mut();
        let slot = window.advance(now);
        if let Some(count) = window.retries.get_mut(slot) {
            *count = count.saturating_add(1);
        }
    }
}

impl Window {
    /// Moves on to `now`, and forgets what is too old; the place of its second.
    fn advance(&mut self, now: Instant) -> usize {
        let second = now.saturating_duration_since(self.began).as_secs();
        let oldest = (second + 1).saturating_sub(WINDOW);
        for passed in oldest.max(self.second + 1)..=second {
            let slot = Self::slot(passed);
            if let (Some(requests), Some(retries)) =
                (self.requests.get_mut(slot), self.retries.get_mut(slot))
            {
                (*requests, *retries) = (0, 0);
            }
        }
        self.second = self.second.max(second);
        Self::slot(self.second)
    }

    const fn slot(second: u64) -> usize {
        (second % WINDOW) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(percent: u32, per_second: u32) -> (Budget, Instant) {
        let budget = Budget::new(BudgetLimits { percent, per_second });
        let began = budget.window.borrow().began;
        (budget, began)
    }

    fn withdrawn(budget: &Budget, now: Instant) -> usize {
        (0..1_000).filter(|_| withdraw(budget, now)).count()
    }

    fn withdraw(budget: &Budget, now: Instant) -> bool {
        let allowed = budget.allows(now);
        if allowed {
            budget.withdraw(now);
        }
        allowed
    }

    #[tokio::test(start_paused = true)]
    async fn without_traffic_a_few_a_second_are_allowed() {
        let (budget, began) = budget(20, 3);
        for second in [0, 1, 2, 30, 31, 1_000] {
            let now = began + Duration::from_secs(second);
            assert_eq!(withdrawn(&budget, now), 3, "second {second}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn with_traffic_a_share_of_what_came_in_ten_seconds_is() {
        let (budget, began) = budget(20, 0);
        for second in 0..30 {
            let now = began + Duration::from_secs(second);
            (0..100).for_each(|_| budget.deposit(now));
            // At first that of all so far, later as much as leaves the window.
            assert_eq!(withdrawn(&budget, now), 20, "second {second}");
        }
        let after = began + Duration::from_secs(100);
        assert_eq!(withdrawn(&budget, after), 0, "nothing is saved up for later");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_not_amplified_by_more_than_the_share() {
        let (budget, began) = budget(20, 3);
        let (mut requests, mut retries) = (0, 0);
        for tenth in 0..600 {
            let now = began + Duration::from_millis(100 * tenth);
            for _ in 0..50 {
                requests += 1;
                budget.deposit(now);
                retries +=
                    usize::from(withdraw(&budget, now)) + usize::from(withdraw(&budget, now));
            }
        }
        // Every request asks for two retries.
        assert!(retries * 100 <= requests * 21, "{retries} of {requests}");
        assert!(retries * 100 >= requests * 19, "{retries} of {requests}");
    }
}
