//! A balancer on a bench.
//!
//! # Theory of operation
//!
//! A [`Bench`] holds the whole balancer that a configuration describes: the engine, and what ends
//! diverted flows. Each act ([`send`](Bench::send), [`reply`](Bench::reply),
//! [`advance`](Bench::advance), [`set_backend`](Bench::set_backend)) lets it run until it waits, and
//! puts what it sends on a queue. The queue is that of the last act: packets that nobody expected
//! are forgotten by the next one.
//!
//! Time is that of a paused tokio runtime, which the bench owns and moves from one deadline to the
//! next, so that tasks of the proxy may sleep too. Nothing reads the machine's clock, and no socket is
//! opened: services whose upstream is the kernel go out through the legs.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use l7::divert::Proxy;
use nat::health::{Cause, Change};
use nat::pool::Backend;
use nat::stats::Stats;
use nat::{BackendId, BackendState, Balancer, DropReason, PoolId, Prefix, Verdict};
use netstack::wire::text::{self, Line};
use netstack::wire::{Address, Headers};
use netstack::{Instant, LegId, Packet};
use tokio::runtime::Runtime;

use super::error::BenchError;
use super::history::{History, Side};
use super::pattern::Pattern;
use super::reply::reply;
use super::setup::{Setup, leg_toward, plan, state_name};
use super::variables::Variables;
use crate::config::{Environment, examine, model};
use crate::plan::Plan;
use crate::runtime::Clock;

/// Packets that one act may bring about; a balancer that sends more is stuck in a loop.
pub const MAX_SENT: usize = 10_000;
/// Deadlines that one [`Bench::advance`] may pass.
pub const MAX_DEADLINES: usize = 1_000_000;

/// A balancer on a virtual clock, into which packets go as lines (see the module's theory of
/// operation).
pub struct Bench {
    balancer: Balancer<Proxy>,
    clock: Clock,
    legs: Vec<Leg>,
    queue: VecDeque<Sent>,
    verdict: Option<Verdict>,
    /// What was last expected and came: what a reply answers.
    answered: Option<Sent>,
    variables: Variables,
    history: History,
    /// Dropped last: tasks of the balancer have timers in it.
    runtime: Runtime,
}

#[derive(Debug)]
struct Leg {
    name: String,
    prefixes: Vec<Prefix>,
}

/// A packet that the balancer sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// The number of the leg that it left by.
    pub leg: usize,
    /// The packet.
    pub packet: Packet,
}

impl Sent {
    /// Its line.
    pub fn line(&self) -> String {
        Line::of(&self.packet).to_string()
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("now", &self.now()).finish_non_exhaustive()
    }
}

impl Bench {
    /// A bench of the configuration that `text` is.
    ///
    /// # Errors
    /// [`BenchError::Config`] with the first thing that is wrong.
    ///
    /// # Panics
    /// Inside an asynchronous runtime: the bench has its own. So do the other constructors.
    pub fn from_text(text: &str, setup: Setup) -> Result<Self, BenchError> {
        let (config, diagnostics) = examine(text, Environment::Ignore);
        let first = diagnostics.iter().find(|d| d.code.as_str().starts_with('E'));
        let config = config.ok_or_else(|| {
            BenchError::Config(
                first.map_or_else(String::new, |d| format!("{}: {}", d.code, d.title)),
            )
        })?;
        Self::from_model(&config, Path::new(""), setup)
    }

    /// A bench of the configuration in a file.
    ///
    /// # Errors
    /// [`BenchError::Config`] if it cannot be read, or is wrong.
    pub fn from_file(path: &Path, setup: Setup) -> Result<Self, BenchError> {
        let loaded = crate::config::load(path, true);
        let loaded = loaded
            .map_err(|e| BenchError::Config(format!("cannot read {}: {e}", path.display())))?;
        let config = loaded.config.ok_or_else(|| {
            let shown = crate::config::render::Source { file: &loaded.file, text: &loaded.text };
            BenchError::Config(crate::config::render::text(&shown, &loaded.diagnostics, false))
        })?;
        Self::from_model(&config, path.parent().unwrap_or(Path::new("")), setup)
    }

    /// A bench of a checked configuration whose files lie in `folder`.
    ///
    /// # Errors
    /// [`BenchError::Config`] if a file that it names cannot be used.
    pub fn from_model(
        config: &model::Config,
        folder: &Path,
        setup: Setup,
    ) -> Result<Self, BenchError> {
        let plan = plan(config, folder, setup)?;
        let names = config.legs.iter().map(|leg| leg.name.value.clone()).collect();
        Self::of_plan(plan, names)
    }

    /// A bench of an engine's configuration, with legs called `leg0`, `leg1`, …. Diverted services
    /// have nothing behind them: their connections are reset.
    ///
    /// # Errors
    /// [`BenchError::Config`] if it contradicts itself.
    pub fn from_engine(config: nat::Config) -> Result<Self, BenchError> {
        let names = (0..config.legs.len()).map(|n| format!("leg{n}")).collect();
        let (applications, probes) = (Vec::new(), Vec::new());
        Self::of_plan(
            Plan {
                engine: config,
                legs: Vec::new(),
                applications,
                probes,
                backend_tls: Vec::new(),
                pooling: Vec::new(),
                persistence: Vec::new(),
                stream_memory: None,
                capture: None,
                written: None,
            },
            names,
        )
    }

    fn of_plan(plan: Plan, names: Vec<String>) -> Result<Self, BenchError> {
        let prefixes = plan.engine.legs.iter().map(|leg| leg.prefixes.clone());
        let legs = names.into_iter().zip(prefixes);
        let legs = legs.map(|(name, prefixes)| Leg { name, prefixes }).collect();
        let backends = plan.engine.pools.iter().flat_map(|pool| &pool.backends);
        let history = History::new(backends.map(|b| Address::from(b.address.ip())).collect());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|e| BenchError::Config(format!("no runtime: {e}")))?;
        let entered = runtime.enter();
        let (balancer, _) = plan.assemble().map_err(|e| BenchError::Config(e.to_string()))?;
        let clock = Clock::start();
        drop(entered);
        let mut bench = Self {
            balancer,
            clock,
            legs,
            queue: VecDeque::new(),
            verdict: None,
            answered: None,
            variables: Variables::default(),
            history,
            runtime,
        };
        bench.run()?;
        Ok(bench)
    }

    /// Sends the packet that `line` describes into a leg; without one, into the leg that leads to its
    /// source. Variables in the line are filled in.
    ///
    /// # Errors
    /// The line cannot be read, a variable has no value, or there is no such leg.
    pub fn send<'a>(
        &mut self,
        leg: impl Into<Option<&'a str>>,
        line: &str,
    ) -> Result<Verdict, BenchError> {
        let line = self.variables.fill(line).map_err(BenchError::Unbound)?;
        let packet = text::packet(&line).map_err(|e| BenchError::Line(e.underline(&line)))?;
        let leg = match leg.into() {
            Some(name) => self.leg(name)?,
            None => self.leg_toward_source(&packet)?,
        };
        self.send_packet(leg, packet)
    }

    /// Sends a packet into leg number `leg`.
    ///
    /// # Errors
    /// [`BenchError::Endless`].
    pub fn send_packet(&mut self, leg: usize, mut packet: Packet) -> Result<Verdict, BenchError> {
        self.queue.clear();
        packet.leg = LegId(leg as u16);
        let now = self.now();
        let came = packet.clone();
        let entered = self.runtime.enter();
        let verdict = self.balancer.handle_packet(now, &mut packet);
        drop(entered);
        let reason = match verdict {
            Verdict::Drop(reason) | Verdict::Reject(reason) => Some(reason),
            _ => None,
        };
        self.history.note(now, Side::In, &came, reason);
        self.verdict = Some(verdict);
        if matches!(verdict, Verdict::Forward | Verdict::Reply | Verdict::Reject(_)) {
            self.put(now, packet)?;
        }
        self.run()?;
        Ok(verdict)
    }

    /// Takes the next packet that the last act brought out, of a leg or of any, and compares it.
    ///
    /// # Errors
    /// [`BenchError::Differs`] or [`BenchError::Nothing`]; the pattern cannot be read.
    pub fn expect<'a>(
        &mut self,
        leg: impl Into<Option<&'a str>>,
        pattern: &str,
    ) -> Result<Sent, BenchError> {
        let pattern = Pattern::parse(pattern).map_err(|e| BenchError::Line(e.to_string()))?;
        let nothing = || BenchError::Line("use expect_nothing".to_owned());
        self.expect_pattern(leg.into(), &pattern)?.ok_or_else(nothing)
    }

    /// Asserts that the last act brought out no packet that was not asked for.
    ///
    /// # Errors
    /// [`BenchError::Differs`] with the packet.
    pub fn expect_nothing(&mut self) -> Result<(), BenchError> {
        let pattern = Pattern::parse("nothing").map_err(|e| BenchError::Line(e.to_string()))?;
        self.expect_pattern(None, &pattern).map(drop)
    }

    /// [`expect`](Self::expect) with a pattern that has been read; nothing if that is what it wants.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    pub fn expect_pattern(
        &mut self,
        leg: Option<&str>,
        pattern: &Pattern,
    ) -> Result<Option<Sent>, BenchError> {
        let leg = leg.map(|name| self.leg(name)).transpose()?;
        let expected = || pattern.to_string();
        let at = self.queue.iter().position(|sent| leg.is_none_or(|leg| leg == sent.leg));
        let Some(sent) = at.and_then(|at| self.queue.remove(at)) else {
            // One that came elsewhere says more than that none came.
            return match (pattern.is_nothing(), self.queue.front()) {
                (true, _) => Ok(None),
                (false, None) => Err(BenchError::Nothing { expected: expected() }),
                (false, Some(other)) => {
                    Err(self.differs(expected(), other, "another leg".to_owned()))
                }
            };
        };
        match pattern.matches(&sent.packet, &mut self.variables) {
            Ok(()) => {
                self.answered = Some(sent.clone());
                Ok(Some(sent))
            }
            Err(difference) => Err(self.differs(expected(), &sent, difference)),
        }
    }

    /// Waits until the balancer sends something, at most for `time`.
    ///
    /// # Errors
    /// [`BenchError::Endless`].
    pub fn wait_for_packet(&mut self, time: Duration) -> Result<(), BenchError> {
        let until = self.now() + time;
        self.pass_time(until, true)
    }

    /// Answers the packet that was expected last, by the leg that it left by: `words` are the line's
    /// behind the two ends. See [`reply`].
    ///
    /// # Errors
    /// There is no such packet, or the words cannot be read.
    pub fn reply(&mut self, words: &str) -> Result<Verdict, BenchError> {
        let words = self.variables.fill(words).map_err(BenchError::Unbound)?;
        let answered = self.answered.as_ref().ok_or(BenchError::NothingToAnswer)?;
        let packet = reply(&answered.packet, &words).map_err(BenchError::Line)?;
        self.send_packet(answered.leg, packet)
    }

    /// Lets time pass, one deadline after the other.
    ///
    /// # Errors
    /// [`BenchError::Endless`].
    pub fn advance(&mut self, time: Duration) -> Result<(), BenchError> {
        self.queue.clear();
        let until = self.now() + time;
        self.pass_time(until, false)
    }

    /// The time since the start.
    pub fn now(&self) -> Instant {
        let _entered = self.runtime.enter();
        self.clock.now()
    }

    /// The verdict on the last packet sent.
    pub const fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// Why the last packet sent was dropped or refused, if it was.
    pub const fn drop_reason(&self) -> Option<DropReason> {
        match self.verdict {
            Some(Verdict::Drop(reason) | Verdict::Reject(reason)) => Some(reason),
            _ => None,
        }
    }

    /// The engine's counters.
    pub const fn counters(&self) -> &Stats {
        self.balancer.engine.stats()
    }

    /// The engine, to look at.
    pub const fn engine(&self) -> &nat::Engine {
        &self.balancer.engine
    }

    /// The backend `POOL/NAME`.
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        let (pool, backend) = self.find(name)?;
        self.balancer.engine.pools().get(usize::from(pool.0))?.backend(backend)
    }

    /// Sets the state of the backend `POOL/NAME`, as an operator would.
    ///
    /// # Errors
    /// [`BenchError::NoBackend`]; [`BenchError::Endless`].
    pub fn set_backend(&mut self, name: &str, to: BackendState) -> Result<(), BenchError> {
        let unknown = || BenchError::NoBackend(name.to_owned());
        let (pool, backend) = self.find(name).ok_or_else(unknown)?;
        let from = self.backend(name).ok_or_else(unknown)?.state;
        let at = self.now();
        self.queue.clear();
        self.balancer.engine.set_backend_state(at, pool, backend, to);
        let change = Change { at, pool, backend, from, to, cause: Cause::Operator };
        if let Some(pool) = self.balancer.engine.pools().get(usize::from(pool.0)) {
            nat::Divert::backend_changed(&mut self.balancer.divert, &change, pool);
        }
        self.history.say(at, format!("{name} is set to {}", state_name(to)));
        self.run()
    }

    /// What patterns have captured.
    pub const fn variables(&self) -> &Variables {
        &self.variables
    }

    /// What happened so far.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The name of leg number `leg`.
    pub fn leg_name(&self, leg: usize) -> &str {
        self.legs.get(leg).map_or("?", |leg| &leg.name)
    }

    fn leg(&self, name: &str) -> Result<usize, BenchError> {
        let found = self.legs.iter().position(|leg| leg.name == name);
        found.ok_or_else(|| BenchError::NoLeg(format!("no leg is called {name}")))
    }

    fn leg_toward_source(&self, packet: &Packet) -> Result<usize, BenchError> {
        if self.legs.len() == 1 {
            return Ok(0);
        }
        let headers = Headers::parse(packet);
        let src = headers.map_err(|_| {
            BenchError::NoLeg("a malformed packet has no source: name the leg".to_owned())
        })?;
        leg_toward(self.legs.iter().map(|leg| leg.prefixes.as_slice()), src.src).ok_or_else(|| {
            let source = IpAddr::from(src.src);
            BenchError::NoLeg(format!("no leg leads to {source}: name the leg"))
        })
    }

    fn find(&self, name: &str) -> Option<(PoolId, BackendId)> {
        let (pool, backend) = name.split_once('/')?;
        let mut pools = (0..).zip(self.balancer.engine.pools());
        let (id, pool) = pools.find(|(_, p)| p.name() == pool)?;
        let mut backends = (0..).zip(pool.backends());
        let (backend, _) = backends.find(|(_, b)| b.config.name == backend)?;
        Some((PoolId(id), BackendId(backend)))
    }

    fn differs(&self, expected: String, sent: &Sent, difference: String) -> BenchError {
        let leg = self.leg_name(sent.leg).to_owned();
        BenchError::Differs { expected, got: sent.line(), leg, difference }
    }

    fn put(&mut self, at: Instant, packet: Packet) -> Result<(), BenchError> {
        if self.queue.len() == MAX_SENT {
            return Err(BenchError::Endless);
        }
        self.history.note(at, Side::Out, &packet, None);
        self.queue.push_back(Sent { at, leg: usize::from(packet.leg.0), packet });
        Ok(())
    }

    /// Lets the balancer run, and takes what it sends.
    fn run(&mut self) -> Result<(), BenchError> {
        let now = self.now();
        let mut packet = Packet::max_sized();
        loop {
            let entered = self.runtime.enter();
            self.balancer.poll(now);
            let some = self.balancer.poll_transmit(now, &mut packet);
            drop(entered);
            if !some {
                return Ok(());
            }
            let mut copy = Packet::with_capacity(packet.len());
            copy.copy_from(&packet);
            self.put(now, copy)?;
        }
    }

    fn pass_time(&mut self, until: Instant, stop_at_packet: bool) -> Result<(), BenchError> {
        for _ in 0..MAX_DEADLINES {
            let now = self.now();
            let due = self.balancer.poll_timeout();
            if (stop_at_packet && !self.queue.is_empty())
                || (now >= until && due.is_none_or(|due| due > now))
            {
                return Ok(());
            }
            self.sleep(now, due.map_or(until, |due| due.min(until)));
            self.run()?;
        }
        Err(BenchError::Endless)
    }

    /// Moves the clock to `to`, or to when a task wants to run before.
    fn sleep(&self, now: Instant, to: Instant) {
        let (balancer, clock) = (&self.balancer, &self.clock);
        self.runtime.block_on(async {
            // Tokio's timers keep to whole milliseconds; between two of them the clock is moved by hand.
            let next = Instant::from_millis(now.as_micros() / 1_000 + 1);
            let whole = Instant::from_millis(to.as_micros() / 1_000);
            let between = !now.as_micros().is_multiple_of(1_000);
            if between || whole <= now {
                tokio::time::advance(to.min(next) - now).await;
                return;
            }
            let mut sleep = pin!(tokio::time::sleep_until(clock.tokio(whole)));
            poll_fn(|cx| {
                let woken = balancer.divert.poll_wake(cx).is_ready();
                let slept = sleep.as_mut().poll(cx).is_ready();
                if woken || slept { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }
}

#[cfg(test)]
#[path = "bench_tests.rs"]
mod tests;
