//! The balancer on a clock of its own.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use l7::divert::Proxy;
use nat::health::{Admin, Cause, Change};
use nat::{BackendState, Balancer, Divert as _, Engine, Probe, Verdict};
use netstack::{Instant, Packet};

use super::input::{Fault, Input, Kind};
use super::legs::Legs;
use super::pace::Pace;
use crate::config::events::{Event, Events, Switch, What};
use crate::plan::{AllStats, Plan};
use crate::runtime::Clock;

/// Rounds without a packet and without time passing, after which the clock is moved: two tasks that wake
/// each other forever would never let it.
const MAX_ROUNDS: u32 = 1_000;

/// How late a timer of a live balancer may fire: tokio's timers keep to whole milliseconds, and the
/// kernel wakes a process when it can. Within that time a recorded round is when a timer fired.
const LATE: Duration = Duration::from_millis(10);

/// Sees what a balancer does.
pub trait Observe {
    /// A packet came by its leg, and is about to be decided on. `frame` is its number in the input.
    fn arrives(&mut self, now: Instant, frame: u64, packet: &mut Packet);

    /// It was decided on, and is now this.
    fn decided(&mut self, now: Instant, engine: &Engine, verdict: Verdict, packet: &Packet);

    /// A packet leaves that was not decided on just now.
    fn leaves(&mut self, now: Instant, engine: &Engine, packet: &mut Packet);
}

/// A balancer and its clock.
pub struct Machine {
    /// The balancer.
    pub balancer: Balancer<Proxy>,
    /// Of its diverted services.
    pub stats: AllStats,
    /// Tokio's, if anything runs on it.
    clock: Option<Clock>,
    now: Instant,
    packet: Packet,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Machine {
    /// The balancer of a plan, at time zero. Must be made inside a paused tokio runtime.
    ///
    /// # Errors
    /// The plan contradicts itself.
    pub fn new(plan: Plan) -> Result<Self, nat::ConfigError> {
        let probes = plan.engine.pools.iter().filter_map(|pool| pool.health.as_ref());
        let has_tasks = plan.applications.iter().any(Option::is_some)
            || probes.into_iter().any(|health| health.probe == Probe::External);
        let (balancer, stats) = plan.assemble()?;
        let clock = has_tasks.then(Clock::start);
        Ok(Self { balancer, stats, clock, now: Instant::ZERO, packet: Packet::max_sized() })
    }

    /// The time now.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Replays all of `input` and `events`.
    ///
    /// # Errors
    /// [`Fault`] of the input, when everything in front of it has been replayed.
    pub async fn replay(
        &mut self,
        input: &mut Input,
        legs: &Legs,
        events: &mut Events,
        mut pace: Option<Pace>,
        observer: &mut impl Observe,
    ) -> Result<(), Fault> {
        let late = if input.knows_start() { LATE } else { Duration::ZERO };
        // What the checks of backends begin with.
        self.settle(observer);
        loop {
            let (packet_at, event_at) = (input.peek(), events.peek());
            let Some(at) = packet_at.into_iter().chain(event_at).min() else { break };
            self.pass_time(at, late, observer).await;
            if let Some(pace) = &mut pace {
                pace.wait_until(at);
            }
            while let Some(event) = events.next_at(at) {
                if self.apply(event) {
                    return Ok(());
                }
            }
            while input.peek() == Some(at) {
                self.take(input, legs, observer)?;
            }
            self.settle(observer);
        }
        // What cannot be read is a fault, and not the end.
        self.take(input, legs, observer).map(drop)
    }

    fn take(
        &mut self,
        input: &mut Input,
        legs: &Legs,
        observer: &mut impl Observe,
    ) -> Result<(), Fault> {
        let Self { balancer, now, packet, .. } = self;
        let now = *now;
        let Some(Kind::Packet { frame }) = input.next(legs, packet)? else { return Ok(()) };
        observer.arrives(now, frame, packet);
        let verdict = balancer.handle_packet(now, packet);
        observer.decided(now, &balancer.engine, verdict, packet);
        while balancer.engine.poll_transmit(packet) {
            observer.leaves(now, &balancer.engine, packet);
        }
        Ok(())
    }

    /// Lets timers fire and tasks run until all wait, without time passing.
    fn settle(&mut self, observer: &mut impl Observe) {
        let Self { balancer, now, packet, clock, .. } = self;
        let now = *now;
        if clock.is_none() {
            if balancer.engine.poll_timeout().is_some_and(|due| due <= now) {
                balancer.engine.handle_timeout(now);
            }
            // Nobody asks the proxy: nothing ends in it.
            while balancer.engine.poll_change().is_some() {}
            packet.id = 0;
            while balancer.engine.poll_transmit(packet) {
                observer.leaves(now, &balancer.engine, packet);
                packet.id = 0;
            }
            return;
        }
        balancer.poll(now);
        packet.id = 0;
        while balancer.poll_transmit(now, packet) {
            observer.leaves(now, &balancer.engine, packet);
            packet.id = 0;
        }
    }

    /// Moves the clock to `to`; timers fire on the way, at their times. One that would fire less than
    /// `late` before `to` waits until then.
    async fn pass_time(&mut self, to: Instant, late: Duration, observer: &mut impl Observe) {
        let mut rounds = 0;
        while self.now < to {
            let before = self.now;
            let due = self.balancer.poll_timeout().filter(|due| *due + late < to);
            let next = due.unwrap_or(to).max(self.now);
            if self.move_clock(next, to, late).await {
                return;
            }
            self.settle(observer);
            rounds = if self.now == before { rounds + 1 } else { 0 };
            if rounds == MAX_ROUNDS {
                let next = (self.now + Duration::from_millis(1)).min(to);
                self.set_clock(next).await;
            }
        }
    }

    /// Moves the clock to `next`, or to when a task wants to run before. True if it has come to `to`, and
    /// nothing is to run before what happens then.
    async fn move_clock(&mut self, next: Instant, to: Instant, late: Duration) -> bool {
        let Some(clock) = self.clock else {
            self.now = next;
            return next == to;
        };
        loop {
            let woken = self.is_woken().await;
            if woken && self.now + late < to {
                return false;
            }
            if self.now >= next {
                return next == to;
            }
            let soon = Instant::from_millis(self.now.as_micros() / 1_000 + 1);
            let whole = Instant::from_millis(next.as_micros() / 1_000);
            if woken || !self.now.as_micros().is_multiple_of(1_000) || whole <= self.now {
                // Tokio's timers keep to whole milliseconds; between two of them the clock is moved by
                // hand.
                self.set_clock(next.min(soon)).await;
                continue;
            }
            let divert = &mut self.balancer.divert;
            let mut sleep = pin!(tokio::time::sleep_until(clock.tokio(whole)));
            poll_fn(|cx| {
                let woken = divert.poll_wake(cx).is_ready();
                let slept = sleep.as_mut().poll(cx).is_ready();
                if woken || slept { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            self.now = clock.now();
        }
    }

    async fn is_woken(&self) -> bool {
        poll_fn(|cx| Poll::Ready(self.balancer.divert.poll_wake(cx).is_ready())).await
    }

    async fn set_clock(&mut self, to: Instant) {
        if let Some(clock) = self.clock {
            tokio::time::advance(to - clock.now()).await;
        }
        self.now = to;
    }

    /// Does what a script says; true if that is to end.
    fn apply(&mut self, event: Event) -> bool {
        let (now, engine) = (self.now, &mut self.balancer.engine);
        match event.what {
            What::End => return true,
            What::Snat(addresses) => {
                // The script was read with the same limit.
                let _ = engine.set_snat_addresses(&addresses);
            }
            What::Backend { pool, backend, to } => {
                let state = |engine: &Engine| {
                    let pool = engine.pools().get(usize::from(pool.0))?;
                    pool.backend(backend).map(|backend| backend.state)
                };
                let from = state(engine).unwrap_or_default();
                match to {
                    Switch::Admin(admin) => engine.set_admin(now, pool, backend, admin),
                    Switch::Up => engine.set_admin(now, pool, backend, Admin::Ready),
                    Switch::Down => {}
                }
                match to {
                    Switch::Up => engine.set_backend_state(now, pool, backend, BackendState::Ready),
                    Switch::Down => {
                        engine.set_backend_state(now, pool, backend, BackendState::Down);
                    }
                    Switch::Admin(_) => {}
                }
                let to = state(engine).unwrap_or_default();
                let change = Change { at: now, pool, backend, from, to, cause: Cause::Operator };
                if let Some(pool) = engine.pools().get(usize::from(pool.0)) {
                    self.balancer.divert.backend_changed(&change, pool);
                }
            }
        }
        false
    }
}
