//! A leg: a TUN with its readiness and counters.

use std::io;
use std::task::{Context, Poll};

use netstack::dev::{Device, Received, Tun};
use netstack::{LegId, Packet};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

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

/// A TUN that the runtime reads and writes.
#[derive(Debug)]
pub struct Leg {
    /// Its number.
    pub id: LegId,
    /// Its counters.
    pub stats: LegStats,
    pub(super) device: AsyncFd<Tun>,
}

impl Leg {
    /// A leg over `tun`. Must be made inside a tokio runtime.
    ///
    /// # Errors
    /// The descriptor could not be registered for readiness.
    pub fn new(id: LegId, tun: Tun) -> io::Result<Self> {
        let device = tun.into_async()?;
        Ok(Self { id, stats: LegStats::default(), device })
    }

    pub(super) fn receive(&mut self, packet: &mut Packet) -> io::Result<Received> {
        // `try_io_mut` forgets the readiness that it started from, and not a newer one, when the read
        // finds nothing; without readiness it makes no system call.
        let outcome =
            self.device.try_io_mut(Interest::READABLE, |tun| match tun.receive(packet)? {
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
