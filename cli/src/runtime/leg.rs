//! A leg: a device with its readiness and counters.

use std::io;
use std::task::{Context, Poll};

use netstack::dev::{Device, Interface, Received, Transmitted};
use netstack::ethernet::Edge;
use netstack::{Instant, LegId, Packet};
use tokio::io::Interest as Readiness;
use tokio::io::unix::AsyncFd;

use super::unreachable;
use crate::link::{Line, Settings, Way};

/// What went through a leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegStats {
    /// Packets read.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Packets written.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets that the device did not take.
    pub send_drops: u64,
}

/// A device that the runtime reads and writes.
#[derive(Debug)]
pub struct Leg {
    /// Its number.
    pub id: LegId,
    /// Its counters.
    pub stats: LegStats,
    /// The link that impairs it, if one does.
    pub line: Option<Box<Line>>,
    pub(super) device: AsyncFd<Interface>,
}

impl Leg {
    /// A leg over a device. Must be made inside a tokio runtime.
    ///
    /// # Errors
    /// The descriptor could not be registered for readiness.
    pub fn new(id: LegId, device: impl Into<Interface>) -> io::Result<Self> {
        let device = device.into().into_async()?;
        Ok(Self { id, stats: LegStats::default(), line: None, device })
    }

    /// The longest packet that its device carries.
    pub fn mtu(&self) -> u16 {
        self.device.get_ref().mtu()
    }

    /// Its Ethernet side, if it has one.
    pub fn edge(&self) -> Option<&Edge> {
        self.device.get_ref().edge()
    }

    /// Tells the device the time.
    pub(super) fn advance(&mut self, now: Instant) -> io::Result<()> {
        self.device.get_mut().advance(now)
    }

    /// When the device, or the link, has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let line = self.line.as_ref().and_then(|line| line.poll_timeout());
        [self.device.get_ref().poll_timeout(), line].into_iter().flatten().min()
    }

    /// Changes what its link does; `seed` is for one that did nothing so far.
    pub fn impair(&mut self, settings: Settings, seed: u64) {
        match &mut self.line {
            Some(line) => line.set(settings),
            None if settings.impairs() => {
                self.line = Some(Box::new(Line::new(settings, self.mtu(), seed)));
            }
            None => {}
        }
    }

    /// Sends a packet off, or puts it on its way.
    pub(super) fn send(&mut self, now: Instant, packet: &mut Packet) -> io::Result<()> {
        if let Some(line) = &mut self.line {
            line.put(Way::To, now, packet);
            return Ok(());
        }
        self.write(packet)
    }

    /// Sends what has come to the end of its way.
    pub(super) fn send_arrived(&mut self, now: Instant, packet: &mut Packet) -> io::Result<()> {
        while self.line.as_mut().is_some_and(|line| line.take(Way::To, now, packet)) {
            self.write(packet)?;
        }
        Ok(())
    }

    fn write(&mut self, packet: &mut Packet) -> io::Result<()> {
        let bytes = packet.len() as u64;
        match self.device.get_mut().transmit(packet)? {
            Transmitted::Sent => {
                self.stats.sent += 1;
                self.stats.sent_bytes += bytes;
            }
            Transmitted::WouldBlock | Transmitted::Dropped(_) => self.stats.send_drops += 1,
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, packet: &mut Packet) -> io::Result<Received> {
        if let Some(lost) = self.device.get_mut().poll_lost() {
            packet.copy_from(&lost);
            return Ok(if unreachable::report(packet) {
                Received::Packet
            } else {
                Received::Consumed
            });
        }
        // `try_io_mut` forgets the readiness that it started from, and not a newer one, when the read
        // finds nothing; without readiness it makes no system call.
        let outcome =
            self.device.try_io_mut(Readiness::READABLE, |device| match device.receive(packet)? {
                Received::WouldBlock => Err(io::ErrorKind::WouldBlock.into()),
                received => Ok(received),
            });
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Received::WouldBlock),
            Ok(Received::Packet) => {
                self.stats.received += 1;
                self.stats.received_bytes += packet.len() as u64;
                Ok(Received::Packet)
            }
            other => other,
        }
    }

    /// Ready if there may be something to read.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.device.poll_read_ready(cx).map(drop)
    }
}
