//! A plan put into action.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use balun::sim::{self, Impairment, Network, Place};
use l7::divert::Proxy;
use nat::health::Admin;
use nat::{BackendId, PoolId};
use netstack::wire::text;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::capture;
use super::client::{self, Book, PATIENCE};
use super::judge::Digest;
use super::plan::{Fault, Plan, Task, Work};
use super::world;
use crate::http::{Framing, Request};
use crate::topology::Mode;
use crate::transfer::{Job, Order};
use crate::watchdog::Watchdog;

/// What became of a plan in which nothing was wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// All that the balancer sent.
    pub digest: Digest,
    /// Pieces of work that were done to the end.
    pub done: usize,
    /// Those that ended early, by an error that the client heard of, and datagrams without an echo.
    pub failed: usize,
}

/// Runs `plan`.
///
/// # Errors
/// What did not hold.
pub fn run(plan: &Plan) -> Result<Report, String> {
    run_with(plan, false)
}

/// Runs `plan` and prints each packet as it arrives to standard error.
///
/// # Errors
/// As [`run`].
pub fn trace(plan: &Plan) -> Result<Report, String> {
    run_with(plan, true)
}

fn run_with(plan: &Plan, traced: bool) -> Result<Report, String> {
    let what = format!("seed {}", plan.seed);
    let _watchdog = Watchdog::new(what, Duration::from_mins(10));
    let _capture = capture::start();
    let run = || sim::run(live(plan, traced)).unwrap_or_else(|e| panic!("no runtime: {e}"));
    let outcome = catch_unwind(AssertUnwindSafe(run));
    // A task's panic is caught by its runtime.
    match (outcome, capture::first()) {
        (Ok(report), None) => Ok(report),
        (_, panic) => Err(panic.unwrap_or_else(|| "it panicked".into())),
    }
}

/// When all that was broken is mended.
const HEAL: Duration = Duration::from_secs(5);
/// Time in which backends that were found wanting are trusted again.
const QUIET: Duration = Duration::from_secs(75);
/// Time in which what is only idle is forgotten, in steps with life between them.
const FORGET: [Duration; 5] = [Duration::from_mins(20); 5];

struct Run<'a> {
    plan: &'a Plan,
    book: Book,
    network: Network<Proxy>,
}

async fn live(plan: &Plan, traced: bool) -> Report {
    let book = Book::default();
    let (mut network, judge) = world::network(plan, &book);
    if traced {
        network.observer = Some(Box::new(|now, place, packet| {
            let (at, leg) = (now.as_micros() as f64 / 1e6, packet.leg.0);
            let way = if place == Place::Host { "to" } else { "from" };
            eprintln!("{at:>12.6} {way:>4} leg {leg}: {}", text::Line::of(packet));
        }));
    }
    let digest = judge.digest();
    network.watcher = Some(Box::new(judge));
    let mut run = Run { plan, book, network };
    let mut report = run.act().await;
    run.pass(QUIET).await;
    if !plan.settings.is_tight() {
        run.serves_everyone(1).await;
    }
    run.leaves_nothing().await;
    run.serves_everyone(2).await;
    report.digest = *digest.borrow();
    report
}

/// What happens at a time.
enum Step {
    Fault(Fault),
    /// Datagram number `.1` of work number `.0`.
    Datagram(usize, u8),
}

impl Run<'_> {
    /// Work and faults.
    async fn act(&mut self) -> Report {
        let start = Instant::now();
        let running: Vec<_> = self.plan.work.iter().map(|work| self.start(*work)).collect();
        for (at, step) in timeline(self.plan) {
            self.network.run_until(sleep_until(start + at)).await;
            match step {
                Step::Fault(fault) => self.break_it(fault).await,
                Step::Datagram(work, number) => self.send_datagram(work, number),
            }
        }
        self.network.run_until(sleep_until(start + HEAL)).await;
        self.heal();
        let mut report = Report::default();
        for (index, running) in running.into_iter().enumerate() {
            let result = self.network.run_until(timeout(2 * PATIENCE + HEAL, running)).await;
            let Ok(Ok(result)) = result else { panic!("work {index} does not end: {result:?}") };
            report.count(result.is_ok());
            assert!(!self.plan.is_calm() || result.is_ok(), "work {index} failed: {result:?}");
            self.book.judge(&format!("work {index}"), result);
        }
        self.pass(Duration::from_secs(1)).await;
        for (work, number) in timeline(self.plan).into_iter().filter_map(|(_, step)| match step {
            Step::Datagram(work, number) => Some((work, number)),
            Step::Fault(_) => None,
        }) {
            let answered = self.book.is_answered(datagram_id(work, number));
            assert!(!self.plan.is_calm() || answered, "datagram {number} of work {work} was lost");
            report.count(answered);
        }
        self.nothing_is_wrong();
        report
    }

    fn start(&mut self, work: Work) -> oneshot::Receiver<std::io::Result<()>> {
        let (done, result) = oneshot::channel();
        let Some(host) = self.network.host_mut(work.client.into()) else { return result };
        let dial = host.dial();
        host.spawn(async move {
            sleep(work.at).await;
            // Who does not wait for the result does not want it.
            let _ = done.send(client::work(dial, work.family, work.task).await);
        });
        result
    }

    fn send_datagram(&mut self, work: usize, number: u8) {
        let Work { client, family, task, .. } = self.plan.work[work];
        if let Task::Echo { dnat, len, .. } = task {
            let id = datagram_id(work, number);
            let packet = self.book.datagram(id, client, family, dnat, len);
            self.network.send_from_host(&packet);
        }
    }

    async fn break_it(&mut self, fault: Fault) {
        let backend_leg = |backend: u8| usize::from(self.plan.clients + backend);
        let network = &mut self.network;
        match fault {
            Fault::Cut(leg, to) => network.set_cut(leg.into(), to, true),
            Fault::Mend(leg, to) => network.set_cut(leg.into(), to, false),
            Fault::LegDown(leg) => network.set_leg_down(leg.into(), true),
            Fault::LegUp(leg) => network.set_leg_down(leg.into(), false),
            Fault::Kill(backend) | Fault::PowerOff(backend) | Fault::Revive(backend) => {
                let Some(host) = network.host_mut(backend_leg(backend)) else { return };
                match fault {
                    Fault::Kill(_) => host.kill(),
                    Fault::PowerOff(_) => host.power_off(),
                    _ => host.revive(),
                }
            }
            Fault::Leap(time) => network.leap(time).await,
            Fault::Stall(time) => network.stall(time),
            Fault::Admin(backend, admin) => self.set_admin(backend, admin),
            Fault::Snat(which) => {
                let addresses = world::snat(self.plan, which);
                let set = network.balancer.engine.set_snat_addresses(&addresses);
                assert_eq!(set, Ok(()));
            }
        }
    }

    fn set_admin(&mut self, backend: u8, admin: Admin) {
        let now = self.network.now();
        let engine = &mut self.network.balancer.engine;
        for pool in 0..engine.pools().len() as u16 {
            engine.set_admin(now, PoolId(pool), BackendId(backend.into()), admin);
        }
    }

    fn heal(&mut self) {
        for (leg, wire) in (0..).zip(&self.plan.links) {
            let Impairment { delay, mtu, .. } = wire.impairment;
            let clean = Impairment { delay, mtu, ..Impairment::default() };
            self.network.set_link(leg.into(), world::link(self.plan, leg, clean));
            self.network.set_leg_down(leg.into(), false);
            for to in [Place::Balancer, Place::Host] {
                self.network.set_cut(leg.into(), to, false);
            }
        }
        self.network.stall(Duration::ZERO);
        for backend in 0..self.plan.backends {
            if let Some(host) = self.network.host_mut((self.plan.clients + backend).into()) {
                host.revive();
            }
            self.set_admin(backend, Admin::Ready);
        }
    }

    /// After all is mended, every service takes new clients.
    async fn serves_everyone(&mut self, round: u64) {
        for (index, &family) in (0..).zip(&self.plan.families) {
            let salt = round << 8 | index;
            for mode in Mode::OPAQUE {
                let job = Job { upload: 300, download: 3_000, salt, order: Order::Duplex };
                self.serves(Work { family, ..anew(Task::Transfer(mode, job)) }).await;
            }
            for mode in [Mode::Full, Mode::Dnat, Mode::Http] {
                let request =
                    Request { upload: 0, framing: Framing::Length, download: 3_000, salt };
                let task = Task::Ask { mode, count: 2, request, pause: Duration::ZERO };
                self.serves(Work { family, ..anew(task) }).await;
            }
            for dnat in [false, true] {
                let id = (self.plan.work.len() as u64 + salt) << 32 | u64::from(dnat);
                let packet = self.book.datagram(id, 0, family, dnat, 100);
                self.network.send_from_host(&packet);
                self.pass(Duration::from_secs(1)).await;
                assert!(self.book.is_answered(id), "round {round}: no echo, {family:?} {dnat}");
            }
        }
        self.nothing_is_wrong();
    }

    /// At a tight limit a handshake may have to give way to another flow, such as a probe.
    async fn serves(&mut self, work: Work) {
        let attempts = if self.plan.settings.is_tight() { 5 } else { 1 };
        let mut result = Ok(());
        for _ in 0..attempts {
            let running = self.start(work);
            let ended = self.network.run_until(timeout(2 * PATIENCE, running)).await;
            let Ok(Ok(ended)) = ended else { panic!("{work} does not end: {ended:?}") };
            if ended.is_ok() {
                return;
            }
            self.book.judge("anew", std::mem::replace(&mut result, ended));
        }
        panic!("not served again: {work}: {result:?}");
    }

    /// Left alone, the balancer forgets everybody.
    async fn leaves_nothing(&mut self) {
        // Nobody is asked any more: probes hold ports.
        for backend in 0..self.plan.backends {
            self.set_admin(backend, Admin::Maint);
        }
        for time in FORGET {
            self.network.leap(time).await;
            self.pass(Duration::from_secs(20)).await;
        }
        let engine = &self.network.balancer.engine;
        let left: Vec<_> = engine.flows().iter().map(|(_, flow)| flow.clone()).collect();
        assert!(left.is_empty(), "left: {left:?}");
        assert!(engine.clients().is_empty(), "clients are left: {:?}", engine.clients());
        assert!(engine.snat().is_empty(), "ports are left: {}", engine.snat().len());
        assert!(engine.fragments().is_empty(), "fragments are left");
        assert_eq!(engine.poll_timeout(), None, "timers are left");
        let stats = self.network.balancer.divert.stack().with(|endpoint| endpoint.stats());
        let left = (stats.connections, stats.time_wait, stats.half_open);
        assert_eq!(left, (0, 0, 0), "connections, TIME-WAITs and half-open ones are left");
        for backend in 0..self.plan.backends {
            self.set_admin(backend, Admin::Ready);
        }
        self.pass(Duration::from_secs(20)).await;
    }

    fn nothing_is_wrong(&self) {
        if let Some(what) = self.book.wrong() {
            panic!("{what}");
        }
    }

    async fn pass(&mut self, time: Duration) {
        self.network.run_until(sleep(time)).await;
    }
}

impl Report {
    fn count(&mut self, well: bool) {
        if well {
            self.done += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// Work of the first client, at once.
const fn anew(task: Task) -> Work {
    Work { at: Duration::ZERO, client: 0, family: netstack::wire::Family::V4, task }
}

fn datagram_id(work: usize, number: u8) -> u64 {
    (work as u64) << 32 | u64::from(number)
}

/// Faults and datagrams, in the order of time.
fn timeline(plan: &Plan) -> Vec<(Duration, Step)> {
    let faults = plan.faults.iter().map(|event| (event.at, Step::Fault(event.fault)));
    let mut steps: Vec<_> = faults.collect();
    for (index, work) in plan.work.iter().enumerate() {
        if let Task::Echo { count, pause, .. } = work.task {
            let at = |n: u8| work.at + pause * u32::from(n);
            steps.extend((0..count).map(|n| (at(n), Step::Datagram(index, n))));
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    steps
}
