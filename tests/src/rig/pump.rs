//! The thread that carries packets between the ends of a link.

use std::time::Duration;

use balun::link::Way;
use netstack::wire::Headers;
use netstack::{Instant, Packet};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::Failure;
use super::end::End;
use super::tally::Tally;
use super::wire::Wire;

/// Packets, super-packets among them, that a near end may send in a turn.
const BUDGET: usize = 64;
/// Packets that the far end may send in a turn: more than all near ends together have made it answer.
const ANSWERS: usize = 1_024;
/// Packets that may arrive in a turn.
const ARRIVALS: usize = 256;
/// Below this the pump spins: what a sleep may oversleep by on a machine with nothing else to do.
const SPIN: Duration = Duration::from_micros(200);
/// The longest sleep, so that who runs the pump gets to look.
const NAP: Duration = Duration::from_millis(5);
/// A packet that arrives later than this is late.
const LATE: Duration = Duration::from_micros(250);

/// An end on the near side, and whether its packets take the wire or go straight to the far end.
struct Near {
    end: Box<dyn End>,
    wired: bool,
}

/// Packets that arrived when they should, and those that were late for want of processor time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lateness {
    packets: u64,
    late: u64,
}

impl Lateness {
    fn note(&mut self, by: Duration) {
        self.packets += 1;
        self.late += u64::from(by > LATE);
    }

    /// Late packets in percent of all.
    pub fn percent(&self) -> f64 {
        100.0 * self.late as f64 / self.packets.max(1) as f64
    }
}

/// Carries packets between near ends and a far one (see the module above).
pub struct Pump {
    near: Vec<Near>,
    far: Box<dyn End>,
    wire: Wire,
    start: std::time::Instant,
    packet: Packet,
    /// Of near ends that use the wire.
    pub there: Tally,
    /// Of the far end.
    pub back: Tally,
    /// How late packets were.
    pub lateness: Lateness,
}

impl Pump {
    /// A pump without near ends yet. For the precision of its sleeps it sets the timer slack of the
    /// calling thread, which is to run it.
    pub fn new(far: Box<dyn End>, wire: Wire) -> Self {
        // Without it sleeps are 50 µs longer, which a measurement survives.
        let _ = nix::sys::prctl::set_timerslack(1);
        Self {
            near: Vec::new(),
            far,
            wire,
            start: std::time::Instant::now(),
            packet: Packet::max_sized(),
            there: Tally::default(),
            back: Tally::default(),
            lateness: Lateness::default(),
        }
    }

    /// Adds an end whose packets take the wire.
    pub fn wired(&mut self, end: Box<dyn End>) {
        self.near.push(Near { end, wired: true });
    }

    /// Adds an end that is joined to the far one without a wire between.
    pub fn direct(&mut self, end: Box<dyn End>) {
        self.near.push(Near { end, wired: false });
    }

    /// Time since the pump was made.
    pub fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    /// The link.
    pub const fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Carries packets until `done` says so, which is asked once a turn, or `limit` has passed; whether
    /// it was done.
    ///
    /// # Errors
    /// What an end says.
    pub fn run(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(Instant) -> bool,
    ) -> Result<bool, Failure> {
        let end = self.now() + limit;
        loop {
            let now = self.now();
            if done(now) {
                return Ok(true);
            }
            if now >= end {
                return Ok(false);
            }
            if !self.turn()? {
                self.rest(end);
            }
        }
    }

    /// One round of everything; whether anything moved.
    fn turn(&mut self) -> Result<bool, Failure> {
        let mut moved = self.leave_near()?;
        moved |= self.leave_far()?;
        moved |= self.arrive(Way::To)?;
        moved |= self.arrive(Way::From)?;
        Ok(moved)
    }

    fn leave_near(&mut self) -> Result<bool, Failure> {
        let mut moved = false;
        for near in &mut self.near {
            let now = Instant::ZERO + self.start.elapsed();
            near.end.turn(now)?;
            for _ in 0..BUDGET {
                if !near.end.transmit(now, &mut self.packet)? {
                    break;
                }
                moved = true;
                if near.wired {
                    self.there.note(&self.packet);
                    self.wire.put(Way::To, now, &self.packet);
                } else {
                    self.far.receive(now, &mut self.packet)?;
                }
            }
        }
        Ok(moved)
    }

    fn leave_far(&mut self) -> Result<bool, Failure> {
        let mut moved = false;
        let now = self.now();
        self.far.turn(now)?;
        for _ in 0..ANSWERS {
            if !self.far.transmit(now, &mut self.packet)? {
                break;
            }
            moved = true;
            let Some(near) = owner(&mut self.near, &self.packet) else { continue };
            if near.wired {
                self.back.note(&self.packet);
                self.wire.put(Way::From, now, &self.packet);
            } else {
                near.end.receive(now, &mut self.packet)?;
            }
        }
        Ok(moved)
    }

    fn arrive(&mut self, way: Way) -> Result<bool, Failure> {
        let mut moved = false;
        let mut now = self.now();
        for n in 1..=ARRIVALS {
            if n % 8 == 0 {
                now = self.now();
            }
            let Some((at, mut packet)) = self.wire.take(way, now) else { break };
            moved = true;
            self.lateness.note(now - at);
            match way {
                Way::To => self.far.receive(now, &mut packet)?,
                Way::From => {
                    if let Some(near) = owner(&mut self.near, &packet) {
                        near.end.receive(now, &mut packet)?;
                    }
                }
            }
        }
        Ok(moved)
    }

    /// Sleeps until something is to be done, if that is long enough from now.
    fn rest(&self, end: Instant) {
        let ends = || self.near.iter().map(|near| &near.end).chain([&self.far]);
        let timeouts = ends().filter_map(|end| end.poll_timeout());
        let now = self.now();
        let next = timeouts.chain(self.wire.poll_timeout()).chain([end, now + NAP]).min();
        let wait = next.map_or(NAP, |next| next - now);
        let Some(wait) = wait.checked_sub(SPIN).filter(|wait| !wait.is_zero()) else { return };
        let fds = ends().filter_map(|end| end.fd());
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // An interrupted sleep is a short one.
        let _ = ppoll(&mut fds, Some(TimeSpec::from_duration(wait)), None);
    }
}

fn owner<'a>(near: &'a mut [Near], packet: &Packet) -> Option<&'a mut Near> {
    if let [only] = near {
        return Some(only);
    }
    let to = Headers::parse(packet).ok()?.dst.into();
    near.iter_mut().find(|near| near.end.owns(to))
}
