//! The loop that joins devices and the balancer.
//!
//! # Theory of operation
//!
//! One thread, one loop, one round at a time:
//!
//! 1. **Receive.** From each leg that has something, up to [`BATCH`] packets: a few are read, get their
//!    verdicts together, and those that leave are written from the buffers that they were read into. How
//!    many that is, their length says: short ones are better [looked up](nat::Engine::handle_packets)
//!    together, and long ones would push each other out of the caches.
//! 2. **Run.** Timers fire and the applications of diverted flows run, with everything of the batch
//!    before them, so that an answer carries the acknowledgment of what it answers.
//! 3. **Transmit.** What they want sent goes through the engine and out.
//! 4. **Wait**, if the round found nothing to read, for a leg, a timer or an application's wake-up. An
//!    [`Attendant`] has its turn here, and has the balancer to itself.
//!
//! [`Taps`], if there are any, are shown each packet where it comes in, where it is decided on and where
//! it leaves; they copy what they need, and threads of their own write.
//!
//! A leg whose link is impaired has a [`Line`](crate::link::Line): what is read from it, and what is to
//! be written to it, waits there until it arrives. Others pay a branch for it.
//!
//! Sending never waits: a TUN whose queue is full drops, as a wire would, and the drop is counted.

mod clock;
mod leg;
mod unreachable;

pub use clock::Clock;
pub use leg::{Leg, LegStats};

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use l7::transaction::Watch;
use nat::{Balancer, Divert, Verdict};
use netstack::dev::Received;
use netstack::{Instant, Packet};
use tokio::time::Sleep;

use crate::capture::{Tapped, Taps};
use crate::link::Way;

/// Packets read from one leg before the others have their turn: large enough that the cost of a round
/// is shared, small enough that an answer does not wait long.
pub const BATCH: usize = 64;

/// Bytes read before what was read is decided on: no more than one super-packet, or it and its
/// predecessors are copied from slower caches.
const BATCH_BYTES: usize = 16 << 10;

/// Rounds in a row that find work before signals, kernel sockets and timers of the runtime are looked
/// at all the same.
const ROUNDS_BEFORE_YIELD: u32 = 8;

/// An application whose tasks wake the loop by themselves.
pub trait Application: Divert {
    /// Ready if a task waits to be run; otherwise the context's waker is woken when one does.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// What tells of requests, if it serves any.
    fn watch(&self) -> Option<&Rc<Watch>> {
        None
    }
}

/// Somebody who is served between rounds, and may look at the runtime and change it.
pub trait Attendant<A> {
    /// Ready if something was done after which the loop has to look around, or end; otherwise the
    /// context's waker is woken when there is something to do.
    fn poll(&mut self, runtime: &mut Runtime<A>, cx: &mut Context<'_>) -> Poll<Next>;
}

/// What an attendant wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A round, since something was changed.
    Round,
    /// The end.
    Stop,
}

/// Nobody to be served.
impl<A> Attendant<A> for () {
    fn poll(&mut self, _: &mut Runtime<A>, _: &mut Context<'_>) -> Poll<Next> {
        Poll::Pending
    }
}

/// Devices and the balancer between them.
#[derive(Debug)]
pub struct Runtime<A> {
    balancer: Balancer<A>,
    legs: Vec<Leg>,
    clock: Clock,
    packet: Packet,
    /// Packets that were read together.
    batch: Vec<Packet>,
    taps: Taps,
}

impl<A: Application> Runtime<A> {
    /// A runtime over `legs`, in the order of their numbers. Must be made inside a tokio runtime.
    pub fn new(balancer: Balancer<A>, legs: Vec<Leg>, clock: Clock) -> Self {
        let batch = (0..nat::BATCH).map(|_| Packet::max_sized()).collect();
        let (packet, taps) = (Packet::max_sized(), Taps::default());
        Self { balancer, legs, clock, packet, batch, taps }
    }

    /// The balancer, to look at or to change between rounds.
    pub const fn balancer_mut(&mut self) -> &mut Balancer<A> {
        &mut self.balancer
    }

    /// The time that the balancer is given now.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Counters of each leg.
    pub fn leg_stats(&self) -> impl Iterator<Item = &LegStats> {
        self.legs.iter().map(|leg| &leg.stats)
    }

    /// The legs, in the order of their numbers.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// A leg, to look at or to change between rounds.
    pub fn leg_mut(&mut self, index: usize) -> Option<&mut Leg> {
        self.legs.get_mut(index)
    }

    /// Runs until `stop` is done.
    ///
    /// # Errors
    /// A device is gone: its TUN was deleted.
    pub async fn run(&mut self, stop: impl Future<Output = ()>) -> io::Result<()> {
        self.run_attended(stop, &mut ()).await
    }

    /// Runs until `stop` is done or `attendant` says so, who is served between rounds.
    ///
    /// # Errors
    /// A device is gone: its TUN was deleted.
    pub async fn run_attended(
        &mut self,
        stop: impl Future<Output = ()>,
        attendant: &mut impl Attendant<A>,
    ) -> io::Result<()> {
        let mut stop = pin!(stop);
        let mut sleep = pin!(tokio::time::sleep(std::time::Duration::ZERO));
        let mut busy_rounds = 0;
        loop {
            let received = self.round()?;
            if received && busy_rounds < ROUNDS_BEFORE_YIELD {
                busy_rounds += 1;
                continue;
            }
            let pause = if received { Pause::Glance } else { Pause::UntilWork };
            busy_rounds = 0;
            if self.wait(pause, stop.as_mut(), sleep.as_mut(), attendant).await {
                return Ok(());
            }
        }
    }

    /// One round; true if it read anything.
    fn round(&mut self) -> io::Result<bool> {
        let now = self.clock.now();
        let mut received = false;
        for index in 0..self.legs.len() {
            self.legs[index].advance(now)?;
            received |= self.receive(now, index)?;
        }
        self.balancer.poll(now);
        if !self.taps.is_empty() {
            self.taps.attend(now);
        }
        loop {
            self.packet.id = 0;
            if !self.balancer.poll_transmit(now, &mut self.packet) {
                break;
            }
            self.leave(now)?;
        }
        for leg in self.legs.iter_mut().filter(|leg| leg.line.is_some()) {
            leg.send_arrived(now, &mut self.packet)?;
        }
        Ok(received)
    }

    fn receive(&mut self, now: Instant, index: usize) -> io::Result<bool> {
        if self.legs[index].line.is_none() && self.taps.is_empty() {
            return self.receive_together(now, index);
        }
        let mut received = true;
        for n in 0..BATCH {
            let leg = &mut self.legs[index];
            match leg.receive(&mut self.packet)? {
                Received::WouldBlock | Received::End => {
                    received = n > 0;
                    break;
                }
                Received::Consumed => {}
                Received::Malformed(error) => self.balancer.engine.count_drop(error.into()),
                Received::Packet => {
                    self.packet.leg = leg.id;
                    match &mut leg.line {
                        Some(line) => line.put(Way::From, now, &self.packet),
                        None => self.handle(now)?,
                    }
                }
            }
        }
        while let Some(line) = &mut self.legs[index].line
            && line.take(Way::From, now, &mut self.packet)
        {
            self.handle(now)?;
        }
        Ok(received)
    }

    /// [`receive`](Self::receive) for a leg whose link does nothing, while nobody captures.
    fn receive_together(&mut self, now: Instant, index: usize) -> io::Result<bool> {
        let (mut reads, mut more) = (0, true);
        while more && reads < BATCH {
            let (mut count, mut bytes) = (0, 0);
            while more && reads < BATCH && count < self.batch.len() && bytes < BATCH_BYTES {
                let leg = &mut self.legs[index];
                let packet = &mut self.batch[count];
                reads += 1;
                match leg.receive(packet)? {
                    Received::WouldBlock | Received::End => (reads, more) = (reads - 1, false),
                    Received::Consumed => {}
                    Received::Malformed(error) => self.balancer.engine.count_drop(error.into()),
                    Received::Packet => {
                        packet.leg = leg.id;
                        bytes += packet.len();
                        count += 1;
                    }
                }
            }
            let Self { balancer, legs, batch, .. } = self;
            let mut sent = Ok(());
            balancer.handle_packets(now, &mut batch[..count], |packet| {
                let outcome = transmit(now, legs, packet);
                if sent.is_ok() {
                    sent = outcome;
                }
            });
            sent?;
        }
        Ok(reads > 0)
    }

    /// Gives the packet its verdict.
    fn handle(&mut self, now: Instant) -> io::Result<()> {
        if !self.taps.is_empty() {
            self.taps.arrives(&mut self.packet);
        }
        let verdict = self.balancer.handle_packet(now, &mut self.packet);
        if !self.taps.is_empty() {
            self.taps.decided(now, &self.balancer.engine, &self.packet);
        }
        match verdict {
            Verdict::Forward | Verdict::Reply | Verdict::Reject(_) => {
                transmit(now, &mut self.legs, &mut self.packet)?;
            }
            Verdict::Divert(_) | Verdict::Hold | Verdict::Consumed | Verdict::Drop(_) => {}
        }
        while self.balancer.engine.poll_transmit(&mut self.packet) {
            self.leave(now)?;
        }
        Ok(())
    }

    /// Sends a packet that is nobody's verdict.
    fn leave(&mut self, now: Instant) -> io::Result<()> {
        if !self.taps.is_empty() {
            self.taps.leaves(now, &self.balancer.engine, &mut self.packet);
        }
        transmit(now, &mut self.legs, &mut self.packet)
    }

    /// Lets captures go on their way, and forgets those that have ended.
    fn rest_taps(&mut self) {
        if !self.taps.is_empty() {
            self.taps.idle();
            if self.taps.is_empty() {
                self.balancer.engine.set_accounting(false);
            }
        }
    }

    /// Waits for work; true if the end was asked for.
    async fn wait(
        &mut self,
        pause: Pause,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        mut sleep: Pin<&mut Sleep>,
        attendant: &mut impl Attendant<A>,
    ) -> bool {
        let due = self.legs.iter().filter_map(Leg::poll_timeout);
        match due.chain(self.balancer.poll_timeout()).chain(self.taps.poll_timeout()).min() {
            Some(deadline) => sleep.as_mut().reset(self.clock.tokio(deadline)),
            None => sleep.as_mut().reset(self.clock.tokio(self.clock.now() + IDLE)),
        }
        self.rest_taps();
        if pause == Pause::Glance {
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| {
            if stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            let mut ready = pause == Pause::Glance;
            match attendant.poll(self, cx) {
                Poll::Ready(Next::Stop) => return Poll::Ready(true),
                Poll::Ready(Next::Round) => ready = true,
                Poll::Pending => {}
            }
            ready |= sleep.as_mut().poll(cx).is_ready();
            ready |= self.balancer.divert.poll_wake(cx).is_ready();
            for leg in &mut self.legs {
                ready |= leg.poll_readable(cx).is_ready();
            }
            if ready { Poll::Ready(false) } else { Poll::Pending }
        })
        .await
    }
}

impl<A: Application> Tapped for Runtime<A> {
    type Application = A;

    fn balancer_and_taps(&mut self) -> (&mut Balancer<A>, &mut Taps) {
        (&mut self.balancer, &mut self.taps)
    }
}

/// The longest the loop sleeps with nothing to wait for.
const IDLE: std::time::Duration = std::time::Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    /// There is more to read: let the runtime look around once.
    Glance,
    UntilWork,
}

fn transmit(now: Instant, legs: &mut [Leg], packet: &mut Packet) -> io::Result<()> {
    let Some(leg) = legs.get_mut(usize::from(packet.leg.0)) else { return Ok(()) };
    leg.send(now, packet)
}
