//! The engine and the end of its diverted flows, driven as one machine.

use netstack::wire::Headers;
use netstack::{Instant, Packet};

use crate::verdict::DivertTo;
use crate::{Divert, Engine, Verdict};

/// An [`Engine`] with its [`Divert`]: what a TUN, a simulator and a replay all drive.
///
/// A round is: [`handle_packet`](Self::handle_packet) for each packet of a batch, sending those that
/// come back with [`Verdict::Forward`], [`Verdict::Reply`] or [`Verdict::Reject`]; then
/// [`poll`](Self::poll); then [`poll_transmit`](Self::poll_transmit) until it has nothing more.
#[derive(Debug)]
pub struct Balancer<D> {
    /// The packet path.
    pub engine: Engine,
    /// Where diverted flows end.
    pub divert: D,
}

impl<D: Divert> Balancer<D> {
    /// Both together.
    pub const fn new(engine: Engine, divert: D) -> Self {
        Self { engine, divert }
    }

    /// Decides on a packet that came in by `packet.leg`; a diverted one is handed over at once.
    pub fn handle_packet(&mut self, now: Instant, packet: &mut Packet) -> Verdict {
        let verdict = self.engine.handle_packet(now, packet);
        if let Verdict::Divert(to) = verdict {
            self.hand_over(now, to, packet);
        }
        verdict
    }

    /// Decides on packets that came in, in order: see [`Engine::handle_packets`]. `sink` is given those
    /// that are to be sent.
    pub fn handle_packets(
        &mut self,
        now: Instant,
        packets: &mut [Packet],
        mut sink: impl FnMut(&mut Packet),
    ) {
        let Self { engine, divert } = self;
        engine.handle_packets(now, packets, |_, packet, verdict| match verdict {
            Verdict::Forward | Verdict::Reply | Verdict::Reject(_) => sink(packet),
            Verdict::Divert(to) => {
                if let Ok(headers) = Headers::parse(packet) {
                    divert.handle_packet(now, to, packet, &headers);
                }
            }
            Verdict::Hold | Verdict::Consumed | Verdict::Drop(_) => {}
        });
    }

    /// Fires timers and lets the application run.
    pub fn poll(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
        self.run_divert(now);
    }

    /// Fills `packet` with the next one to send by `packet.leg`, if there is one.
    pub fn poll_transmit(&mut self, now: Instant, packet: &mut Packet) -> bool {
        let mut handed_back = false;
        loop {
            if self.engine.poll_transmit(packet) {
                return true;
            }
            while self.divert.poll_transmit(now, packet) {
                match self.engine.handle_local(now, packet) {
                    Verdict::Forward => return true,
                    // The engine refused it, and the connection that sent it hears so.
                    Verdict::Reply | Verdict::Reject(_) => {
                        self.hand_over(now, DivertTo::Upstream, packet);
                        handed_back = true;
                    }
                    Verdict::Divert(to) => {
                        self.hand_over(now, to, packet);
                        handed_back = true;
                    }
                    Verdict::Hold | Verdict::Consumed | Verdict::Drop(_) => {}
                }
            }
            if !std::mem::take(&mut handed_back) {
                return false;
            }
            self.run_divert(now);
        }
    }

    /// When [`poll`](Self::poll) is to be called next, if no packet comes in before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.engine.poll_timeout(), self.divert.poll_timeout()].into_iter().flatten().min()
    }

    /// Lets the application run, with what the engine has for it and it for the engine: probes of
    /// backends, their outcomes, and what follows from these.
    fn run_divert(&mut self, now: Instant) {
        while let Some(order) = self.engine.poll_probe() {
            self.divert.probe(order);
        }
        self.divert.poll(now);
        while let Some((ticket, outcome)) = self.divert.poll_probe() {
            self.engine.finish_probe(now, ticket, &outcome);
        }
        while let Some(change) = self.engine.poll_change() {
            if let Some(pool) = self.engine.pools().get(usize::from(change.pool.0)) {
                self.divert.backend_changed(&change, pool);
            }
        }
        while let Some((id, change)) = self.engine.poll_panic() {
            if let Some(pool) = self.engine.pools().get(usize::from(id.0)) {
                self.divert.pool_panics(&change, pool);
            }
        }
    }

    fn hand_over(&mut self, now: Instant, to: DivertTo, packet: &Packet) {
        if let Ok(headers) = Headers::parse(packet) {
            self.divert.handle_packet(now, to, packet, &headers);
        }
    }
}
