//! A whole network in memory, on a virtual clock: hosts, links that lose and reorder, and the real
//! balancer between them.
//!
//! # Theory of operation
//!
//! [`Network`] holds one [`Host`] a leg. A host is a user-space TCP endpoint with tasks on top: web
//! servers, clients. What a host sends crosses a [`Link`] to the balancer and what the balancer sends
//! crosses one to the host; a link is a seeded rule for when, and whether, a packet arrives.
//!
//! Time is that of a paused tokio runtime ([`run`]), so tasks may sleep and set timeouts as they like:
//! the clock jumps to the next packet, timer or deadline as soon as nothing else can happen. The same
//! seed gives the same run.
//!
//! **Faults** are the caller's to make, between two calls of [`Network::run_until`]: a direction of a
//! link is cut, a leg goes down, the balancer stands still, a host dies.

mod fault;
mod host;

pub use crate::link::{Impairment, Link};
pub use fault::QUEUE;
pub use host::{Host, Plain, SimDial};

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nat::{Balancer, Engine, Verdict};
use netstack::{Instant, LegId, Packet};

use crate::capture::{Tapped, Taps};
use crate::link::{Arrival, Way};
use crate::runtime::{Application, Clock};

use fault::Faults;

/// Runs `work` to its end on a paused clock.
///
/// # Errors
/// The runtime could not be made.
pub fn run<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(work))
}

/// Sees each packet that arrives: when, at whom, and the packet with the leg that it came over.
pub type Observer = Box<dyn FnMut(Instant, Place, &Packet)>;

/// Sees what the balancer does, step by step, to judge it.
pub trait Watcher {
    /// A packet `came` in and got this verdict, which made it `after`.
    fn decided(
        &mut self,
        now: Instant,
        engine: &Engine,
        came: &Packet,
        verdict: Verdict,
        after: &Packet,
    );

    /// The balancer sends a packet that is not the verdict on one which came.
    fn sent(&mut self, now: Instant, engine: &Engine, packet: &Packet);

    /// Everyone has run.
    fn stepped(&mut self, now: Instant, engine: &Engine);
}

/// Hosts, links, and the balancer between them.
pub struct Network<A> {
    /// The balancer.
    pub balancer: Balancer<A>,
    hosts: Vec<Host>,
    links: Vec<Link>,
    clock: Clock,
    in_flight: BinaryHeap<Reverse<Arrival<(Place, Packet)>>>,
    sequence: u64,
    scratch: Packet,
    faults: Faults,
    /// Checks the engine's invariants after each step: slow, and what tests want.
    pub check_invariants: bool,
    /// Told of each packet before it is delivered.
    pub observer: Option<Observer>,
    /// Told of all that the balancer does.
    pub watcher: Option<Box<dyn Watcher>>,
    taps: Taps,
}

impl<A> fmt::Debug for Network<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Where a packet arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the balancer.
    Balancer,
    /// At the host of the packet's leg.
    Host,
}

impl<A: Application> Network<A> {
    /// A network in which host number n is at leg n, behind link n. Must be made inside [`run`].
    pub fn new(balancer: Balancer<A>, hosts: Vec<Host>, links: Vec<Link>) -> Self {
        Self {
            balancer,
            faults: Faults::new(links.len()),
            hosts,
            links,
            clock: Clock::start(),
            in_flight: BinaryHeap::new(),
            sequence: 0,
            scratch: Packet::max_sized(),
            check_invariants: false,
            observer: None,
            watcher: None,
            taps: Taps::default(),
        }
    }

    /// A host, to kill or to bring back.
    pub fn host_mut(&mut self, leg: usize) -> Option<&mut Host> {
        self.hosts.get_mut(leg)
    }

    /// Sends a packet of the host at `packet.leg`, which it will not send again.
    pub fn send_from_host(&mut self, packet: &Packet) {
        self.send(self.now(), Place::Balancer, packet);
    }

    /// Puts another link in the place of the one behind a leg. What is under way arrives.
    pub fn set_link(&mut self, leg: usize, link: Link) {
        if let Some(old) = self.links.get_mut(leg) {
            *old = link;
        }
    }

    /// Cuts the way to the balancer or to the host of a leg, or mends it. What is under way arrives.
    pub fn set_cut(&mut self, leg: usize, to: Place, cut: bool) {
        self.faults.cut(leg, to, cut);
    }

    /// Takes a leg down, or up again: nothing goes in or out by it, and what is under way is lost.
    pub fn set_leg_down(&mut self, leg: usize, down: bool) {
        self.faults.set_down(leg, down);
    }

    /// Lets the balancer stand still for a while, as a stopped process does. Everyone else lives on;
    /// what arrives waits, up to [`QUEUE`] packets.
    pub fn stall(&mut self, time: Duration) {
        self.faults.stall(self.now() + time);
    }

    /// Lets time pass in which nobody lives, as on a suspended machine: all timers are late.
    pub async fn leap(&mut self, time: Duration) {
        tokio::time::advance(time).await;
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Lets the network live until `until` is done, and gives what that gave.
    pub async fn run_until<T>(&mut self, until: impl Future<Output = T>) -> T {
        let mut until = pin!(until);
        loop {
            self.step();
            let next = self.next_event();
            let ahead = next.map(|next| next.saturating_since(self.now()));
            match ahead {
                // Finer than tokio's timers: the clock is moved by hand.
                Some(ahead) if ahead < Duration::from_millis(1) => {
                    if let Poll::Ready(done) = poll_once(until.as_mut()).await {
                        return done;
                    }
                    tokio::time::advance(ahead).await;
                }
                _ => {
                    let wake = next.map_or(self.now() + Duration::from_mins(1), |next| next);
                    let mut sleep = pin!(tokio::time::sleep_until(self.clock.tokio(wake)));
                    let done = poll_fn(|cx| {
                        if let Poll::Ready(done) = until.as_mut().poll(cx) {
                            return Poll::Ready(Some(done));
                        }
                        let timer = sleep.as_mut().poll(cx).is_ready();
                        if self.poll_wake(cx) || timer { Poll::Ready(None) } else { Poll::Pending }
                    })
                    .await;
                    if let Some(done) = done {
                        return done;
                    }
                }
            }
        }
    }

    /// Delivers what has arrived, and lets everyone run and send.
    fn step(&mut self) {
        let now = self.now();
        while self.in_flight.peek().is_some_and(|Reverse(arrival)| arrival.at <= now) {
            let Some(Reverse(Arrival { what: (to, packet), .. })) = self.in_flight.pop() else {
                break;
            };
            self.deliver(now, to, packet);
        }
        let mut packet = std::mem::replace(&mut self.scratch, Packet::with_capacity(0));
        if self.faults.stalled(now).is_none() {
            self.run_balancer(now, &mut packet);
        }
        for index in 0..self.hosts.len() {
            while self.hosts[index].poll_transmit(now, &mut packet) {
                packet.leg = LegId(index as u16);
                self.send(now, Place::Balancer, &packet);
            }
        }
        self.scratch = packet;
        if self.check_invariants {
            self.balancer.engine.assert_consistent();
        }
        if let Some(watcher) = &mut self.watcher {
            watcher.stepped(now, &self.balancer.engine);
        }
    }

    fn run_balancer(&mut self, now: Instant, packet: &mut Packet) {
        while let Some(mut waiting) = self.faults.next_waiting() {
            self.handle_packet(now, &mut waiting);
        }
        self.balancer.poll(now);
        if !self.taps.is_empty() {
            self.taps.attend(now);
        }
        loop {
            // What the buffer held before is not what it gets.
            packet.id = 0;
            if !self.balancer.poll_transmit(now, packet) {
                return;
            }
            if !self.taps.is_empty() {
                self.taps.leaves(now, &self.balancer.engine, packet);
            }
            if let Some(watcher) = &mut self.watcher {
                watcher.sent(now, &self.balancer.engine, packet);
            }
            self.send(now, Place::Host, packet);
        }
    }

    fn deliver(&mut self, now: Instant, to: Place, mut packet: Packet) {
        if self.faults.loses_arriving(packet.leg.0.into()) {
            return;
        }
        if let Some(observer) = &mut self.observer {
            observer(now, to, &packet);
        }
        match to {
            Place::Host => {
                if let Some(host) = self.hosts.get_mut(usize::from(packet.leg.0))
                    && host.handle_packet(now, &mut packet)
                {
                    // It answered on the spot, as a kernel does for a closed port.
                    self.send(now, Place::Balancer, &packet);
                }
            }
            Place::Balancer if self.faults.stalled(now).is_some() => self.faults.wait(packet),
            Place::Balancer => self.handle_packet(now, &mut packet),
        }
    }

    fn handle_packet(&mut self, now: Instant, packet: &mut Packet) {
        if !self.taps.is_empty() {
            self.taps.arrives(packet);
        }
        let came = self.watcher.is_some().then(|| packet.clone());
        let verdict = self.balancer.handle_packet(now, packet);
        if !self.taps.is_empty() {
            self.taps.decided(now, &self.balancer.engine, packet);
        }
        if let (Some(watcher), Some(came)) = (&mut self.watcher, &came) {
            watcher.decided(now, &self.balancer.engine, came, verdict, packet);
        }
        match verdict {
            Verdict::Forward | Verdict::Reply | Verdict::Reject(_) => {
                self.send(now, Place::Host, packet);
            }
            Verdict::Divert(_) | Verdict::Hold | Verdict::Consumed | Verdict::Drop(_) => {}
        }
    }

    fn send(&mut self, now: Instant, to: Place, packet: &Packet) {
        if self.faults.loses_departing(packet.leg.0.into(), to) {
            return;
        }
        let Some(link) = self.links.get_mut(usize::from(packet.leg.0)) else { return };
        let (in_flight, sequence) = (&mut self.in_flight, &mut self.sequence);
        let way = match to {
            Place::Host => Way::To,
            Place::Balancer => Way::From,
        };
        link.carry(way, now, packet, |at, packet| {
            *sequence += 1;
            in_flight.push(Reverse(Arrival { at, sequence: *sequence, what: (to, packet) }));
        });
    }

    fn next_event(&self) -> Option<Instant> {
        let arrival = self.in_flight.peek().map(|Reverse(arrival)| arrival.at);
        let hosts = self.hosts.iter().filter_map(Host::poll_timeout);
        let balancer = match self.faults.stalled_until() {
            None => self.balancer.poll_timeout(),
            stalled => stalled,
        };
        hosts.chain(arrival).chain(balancer).chain(self.taps.poll_timeout()).min()
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> bool {
        let stalled = self.faults.stalled_until().is_some();
        let mut woken = !stalled && self.balancer.divert.poll_wake(cx).is_ready();
        for host in &self.hosts {
            woken |= host.poll_wake(cx);
        }
        woken
    }
}

impl<A: Application> Tapped for Network<A> {
    type Application = A;

    fn balancer_and_taps(&mut self) -> (&mut Balancer<A>, &mut Taps) {
        (&mut self.balancer, &mut self.taps)
    }
}

async fn poll_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}
