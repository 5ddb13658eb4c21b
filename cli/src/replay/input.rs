//! What is replayed: packets in the order and at the times of a capture, or of a folder of files.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use netstack::dev::capture_reader::Captured;
use netstack::dev::pcapng::{Direction, Run, restore_offload};
use netstack::dev::{CaptureError, CaptureReader};
use netstack::packet::{Checksum, MAX_PACKET_LEN};
use netstack::wire::Headers;
use netstack::wire::fields::{tcp_field, udp_field};
use netstack::wire::headers::{TCP, UDP};
use netstack::{Instant, Packet};

use super::folder::Folder;
use super::legs::Legs;

/// The longest time from the first packet to any other. A capture with a longer one has a broken clock,
/// and the checks of years would be made in between.
pub const MAX_SPAN: Duration = Duration::from_hours(366 * 24);

/// Why no more can be read.
#[derive(Debug)]
pub struct Fault(pub String);

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packet that came in by its leg.
    Packet {
        /// Its number in the capture, as Wireshark counts, from 1.
        frame: u64,
    },
    /// The balancer that was captured sent something: it had a round at this time.
    Mark,
}

/// What was passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Packets of which the snapshot length cut something off.
    pub cut: u64,
    /// Those of them that were filled up with zeros, and replayed.
    pub padded: u64,
    /// Packets that came by no leg.
    pub no_leg: u64,
    /// Frames without an IP packet.
    pub not_ip: u64,
    /// Packets with a time before that of the one before them, which were replayed at that time.
    pub early: u64,
    /// Packets that the capture itself has lost.
    pub lost: u64,
}

#[derive(Debug)]
enum Source {
    Capture(Box<CaptureReader<File>>),
    Folder(Folder),
}

/// Packets to replay, one at a time.
#[derive(Debug)]
pub struct Input {
    source: Source,
    /// Of a capture that balun took.
    run: Option<Run>,
    start: Option<Duration>,
    filtered: bool,
    pad: bool,
    epoch: Duration,
    last: Instant,
    /// The next packet as it was read, before anybody asked.
    packet: Packet,
    next: Result<Option<Captured>, String>,
    skipped: Skipped,
}

/// Says of a packet that its checksum holds only the pseudo-header's sum.
fn restore_partial(packet: &mut Packet) {
    let Ok(headers) = Headers::parse_bytes(packet.data(), true) else { return };
    let offset = match headers.protocol {
        TCP => tcp_field::CHECKSUM,
        UDP => udp_field::CHECKSUM,
        _ => return,
    };
    let (start, offset) = (headers.l4() as u16, offset.start as u16);
    packet.offload.checksum = Checksum::Partial { start, offset };
}

impl Input {
    /// Opens a capture or a folder, and reads the first packet. With `pad`, what a snapshot length cut off
    /// is filled up with zeros.
    ///
    /// # Errors
    /// It cannot be opened, or is no capture. Later faults come when they are reached.
    pub fn open(path: &Path, pad: bool) -> Result<Self, Fault> {
        let fault = |error: &dyn std::fmt::Display| {
            Fault(format!("cannot replay `{}`: {error}", path.display()))
        };
        let source = if path.is_dir() {
            Source::Folder(Folder::open(path).map_err(|e| fault(&e))?)
        } else {
            Source::Capture(Box::new(CaptureReader::open(path).map_err(|e| fault(&e))?))
        };
        let mut input = Self {
            source,
            run: None,
            start: None,
            filtered: false,
            pad,
            epoch: Duration::ZERO,
            last: Instant::ZERO,
            packet: Packet::max_sized(),
            next: Ok(None),
            skipped: Skipped::default(),
        };
        input.read();
        if let Source::Capture(reader) = &input.source {
            let section = reader.section();
            input.run = section.run();
            input.start = section.start();
            input.filtered = section.comments.iter().any(|c| c.starts_with("filter: "));
        }
        let first = input.next.as_ref().ok().copied().flatten().map(|captured| captured.time);
        input.epoch = input.start.or(first).unwrap_or_default();
        Ok(input)
    }

    /// The run that the capture was taken of, if balun took it.
    pub const fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// True if the capture says when its run began, so that its timers can be made to fire as they did.
    pub const fn knows_start(&self) -> bool {
        self.start.is_some()
    }

    /// True if the capture holds only what a filter let pass.
    pub const fn is_filtered(&self) -> bool {
        self.filtered
    }

    /// What time zero of the replay is, from the Unix epoch.
    pub const fn epoch(&self) -> Duration {
        self.epoch
    }

    /// What was passed over so far.
    pub fn skipped(&self) -> Skipped {
        let not_ip = match &self.source {
            Source::Capture(reader) => reader.skipped(),
            Source::Folder(folder) => folder.skipped(),
        };
        Skipped { not_ip, ..self.skipped }
    }

    /// When the next is due; nothing at the end, or at a fault.
    pub fn peek(&self) -> Option<Instant> {
        let captured = self.next.as_ref().ok()?.as_ref()?;
        Some(self.instant(captured.time).max(self.last))
    }

    /// The next packet, and what it is; nothing at the end. A packet that cannot be replayed is counted
    /// and given as a mark.
    ///
    /// # Errors
    /// [`Fault`], once everything in front of it has been given.
    pub fn next(&mut self, legs: &Legs, packet: &mut Packet) -> Result<Option<Kind>, Fault> {
        let captured = match &self.next {
            Ok(Some(captured)) => *captured,
            Ok(None) => return Ok(None),
            Err(error) => return Err(Fault(error.clone())),
        };
        let at = self.instant(captured.time);
        if at.saturating_since(Instant::ZERO) > MAX_SPAN {
            let days = MAX_SPAN.as_secs() / 86_400;
            return Err(Fault(format!("a packet is {days} days or more behind the first")));
        }
        self.skipped.early += u64::from(at < self.last);
        self.last = at.max(self.last);
        self.skipped.lost += captured.dropped.unwrap_or(0);
        let kind = self.take(&captured, legs, packet);
        self.read();
        Ok(Some(kind))
    }

    fn take(&mut self, captured: &Captured, legs: &Legs, packet: &mut Packet) -> Kind {
        if self.run.is_some() && captured.direction == Some(Direction::Outbound) {
            return Kind::Mark;
        }
        std::mem::swap(&mut self.packet, packet);
        if captured.cut > 0 {
            self.skipped.cut += 1;
            let whole = packet.len() + captured.cut as usize;
            if !self.pad || whole > MAX_PACKET_LEN {
                return Kind::Mark;
            }
            self.skipped.padded += 1;
            let kept = packet.len();
            packet.set_len(whole);
            packet.data_mut()[kept..].fill(0);
        }
        let (interface, frame) = match &self.source {
            Source::Capture(reader) => {
                restore_offload(packet, reader.comments());
                // Of a packet that was cut the capture could not complete the sum.
                if captured.cut > 0 && reader.comments().any(|c| c.ends_with(" csum=partial")) {
                    restore_partial(packet);
                }
                (reader.interface_name(captured.interface), reader.packets() + reader.skipped())
            }
            Source::Folder(folder) => ("", folder.number()),
        };
        let Some(leg) = legs.of(interface, packet) else {
            self.skipped.no_leg += 1;
            return Kind::Mark;
        };
        packet.leg = leg;
        packet.id = 0;
        Kind::Packet { frame }
    }

    fn read(&mut self) {
        self.next = match &mut self.source {
            Source::Capture(reader) => {
                reader.read(&mut self.packet).map_err(|e: CaptureError| e.to_string())
            }
            Source::Folder(folder) => {
                folder.read(&mut self.packet).map_err(|e: io::Error| e.to_string())
            }
        };
    }

    fn instant(&self, time: Duration) -> Instant {
        Instant::ZERO + time.saturating_sub(self.epoch)
    }
}
