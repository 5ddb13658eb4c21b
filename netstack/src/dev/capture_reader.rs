//! Captures of either format, packet by packet.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::time::Duration;

use super::link::LinkType;
use super::pcap::{PcapError, PcapReader, is_magic, read_full};
use super::pcapng::{
    Block, Comments, Direction, Interface, MAX_COMMENTS, PcapngError, PcapngReader, Section,
    TLS_KEY_LOG,
};
use crate::packet::{Offload, Packet};

const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Bytes of secrets that are kept for who asks; what comes beyond is left out.
pub const MAX_KEPT_SECRETS: usize = 16 << 20;

/// Bytes read from the input at once.
const BUFFER: usize = 64 << 10;

/// What a capture says of one packet, besides its comments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When it was captured, from the Unix epoch. A packet without a time has that of the packet
    /// before it.
    pub time: Duration,
    /// Bytes of the IP packet that are missing at its end, cut off by a short snapshot length.
    pub cut: u32,
    /// Its interface in the section: see [`CaptureReader::interface_name`].
    pub interface: u32,
    /// Which way it went.
    pub direction: Option<Direction>,
    /// The number that it shares with other sightings of the same packet.
    pub packet_id: Option<u64>,
    /// Packets lost on the interface since the one before it.
    pub dropped: Option<u64>,
}

/// Why a capture cannot be read on, and how far it was read.
#[derive(Debug)]
pub struct CaptureError {
    /// Packets read before.
    pub packets: u64,
    /// What is wrong.
    pub kind: CaptureErrorKind,
}

/// What is wrong with a capture.
#[derive(Debug)]
pub enum CaptureErrorKind {
    /// It could not be opened.
    Open(io::Error),
    /// A file that is neither pcap nor pcapng.
    NotCapture {
        /// Its first four bytes.
        magic: [u8; 4],
    },
    /// A packet of a link type that is not read.
    LinkType {
        /// Its number.
        link: u32,
        /// The interface that has it.
        interface: String,
    },
    /// A classic capture is broken.
    Pcap(PcapError),
    /// A capture of the newer format is broken.
    Pcapng(PcapngError),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            CaptureErrorKind::Open(e) => write!(f, "cannot open the capture: {e}")?,
            CaptureErrorKind::NotCapture { magic } => write!(
                f,
                "neither pcap nor pcapng: the file begins with {:08x}",
                u32::from_be_bytes(*magic)
            )?,
            CaptureErrorKind::LinkType { link, interface } => write!(
                f,
                "interface `{interface}` is of link type {link}; those read are {}",
                LinkType::KNOWN
            )?,
            CaptureErrorKind::Pcap(e) => e.fmt(f)?,
            CaptureErrorKind::Pcapng(e) => e.fmt(f)?,
        }
        match self.packets {
            0 => Ok(()),
            1 => f.write_str(", behind 1 packet"),
            packets => write!(f, ", behind {packets} packets"),
        }
    }
}

impl Error for CaptureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            CaptureErrorKind::Open(e) => Some(e),
            CaptureErrorKind::Pcap(e) => e.source(),
            CaptureErrorKind::Pcapng(e) => e.source(),
            CaptureErrorKind::NotCapture { .. } | CaptureErrorKind::LinkType { .. } => None,
        }
    }
}

impl From<CaptureError> for io::Error {
    fn from(error: CaptureError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

type Input<R> = io::Chain<Cursor<[u8; 4]>, BufReader<R>>;

/// Reads the IP packets of a capture, classic or pcapng, as its first bytes say.
///
/// ```
/// use netstack::Packet;
/// use netstack::dev::{CaptureReader, pcapng::{NewPacket, PcapngWriter, Section}};
///
/// let mut writer = PcapngWriter::new(Vec::new(), &Section::default())?;
/// let client = writer.interface("client", 0)?;
/// writer.packet(&NewPacket {
///     packet_id: Some(7),
///     comments: &["drop no-service"],
///     ..NewPacket::new(client, std::time::Duration::from_secs(1), &[0x45; 20])
/// })?;
/// let file = writer.into_inner();
///
/// let mut reader = CaptureReader::new(file.as_slice())?;
/// let mut packet = Packet::max_sized();
/// let first = reader.read(&mut packet)?.unwrap();
/// assert_eq!(packet.data(), [0x45; 20]);
/// assert_eq!((reader.interface_name(first.interface), first.packet_id), ("client", Some(7)));
/// assert_eq!(reader.comments().collect::<Vec<_>>(), ["drop no-service"]);
/// assert_eq!(reader.read(&mut packet)?, None);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct CaptureReader<R> {
    format: Format<R>,
    section: Section,
    comments: Vec<String>,
    comment_count: usize,
    secrets: Vec<u8>,
    time: Duration,
    packets: u64,
    skipped: u64,
}

#[derive(Debug)]
enum Format<R> {
    Pcap(Box<PcapReader<Input<R>>>),
    Pcapng(Box<PcapngReader<Input<R>>>),
}

impl CaptureReader<File> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`CaptureError`] if it cannot be opened or is no capture.
    #[expect(clippy::disallowed_methods, reason = "a device may read files")]
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        let file = File::open(path)
            .map_err(|e| CaptureError { packets: 0, kind: CaptureErrorKind::Open(e) })?;
        Self::new(file)
    }
}

impl<R: Read> CaptureReader<R> {
    /// Looks at the first bytes of `input`, and at no packet yet.
    ///
    /// # Errors
    /// [`CaptureError`] if this is no capture that can be read.
    pub fn new(input: R) -> Result<Self, CaptureError> {
        let at_start = |kind| CaptureError { packets: 0, kind };
        let mut input = BufReader::with_capacity(BUFFER, input);
        let mut magic = [0; 4];
        let read = read_full(&mut input, &mut magic)
            .map_err(|e| at_start(CaptureErrorKind::Pcap(PcapError::Io(e))))?;
        if read < magic.len() {
            return Err(at_start(CaptureErrorKind::Pcap(PcapError::Truncated)));
        }
        let input = Cursor::new(magic).chain(input);
        let format = if magic == PCAPNG {
            Format::Pcapng(Box::new(PcapngReader::new(input)))
        } else if is_magic(magic) {
            let reader = PcapReader::new(input);
            Format::Pcap(Box::new(reader.map_err(|e| at_start(CaptureErrorKind::Pcap(e)))?))
        } else {
            return Err(at_start(CaptureErrorKind::NotCapture { magic }));
        };
        Ok(Self {
            format,
            section: Section::default(),
            comments: Vec::new(),
            comment_count: 0,
            secrets: Vec::new(),
            time: Duration::ZERO,
            packets: 0,
            skipped: 0,
        })
    }

    /// Reads the next IP packet into `packet`, or returns nothing at the end. Frames of other
    /// protocols are passed over and counted in [`skipped`](Self::skipped).
    ///
    /// # Errors
    /// [`CaptureError`]; there is no reading on after that.
    pub fn read(&mut self, packet: &mut Packet) -> Result<Option<Captured>, CaptureError> {
        let read = match &mut self.format {
            Format::Pcap(reader) => reader
                .read(packet)
                .map(|record| {
                    record.map(|record| Captured {
                        time: record.time,
                        cut: record.cut,
                        interface: 0,
                        direction: None,
                        packet_id: None,
                        dropped: None,
                    })
                })
                .map_err(CaptureErrorKind::Pcap),
            Format::Pcapng(_) => self.read_pcapng(packet),
        };
        let packets = self.packets;
        let read = read.map_err(|kind| CaptureError { packets, kind })?;
        if let Some(captured) = &read {
            self.packets += 1;
            self.time = captured.time;
        }
        Ok(read)
    }

    /// The comments on the packet that was read last.
    pub fn comments(&self) -> impl Iterator<Item = &str> {
        self.comments.iter().take(self.comment_count).map(String::as_str)
    }

    /// What the section says of itself, as far as the file was read; nothing for classic captures.
    pub const fn section(&self) -> &Section {
        &self.section
    }

    /// The name of an interface of the section; empty if it has none.
    pub fn interface_name(&self, interface: u32) -> &str {
        self.interfaces().get(interface as usize).map_or("", |interface| &interface.name)
    }

    /// The interfaces described so far in the section; none for classic captures.
    pub fn interfaces(&self) -> &[Interface] {
        match &self.format {
            Format::Pcap(_) => &[],
            Format::Pcapng(reader) => reader.interfaces(),
        }
    }

    /// TLS secrets that came since this was asked last: lines of a key log.
    pub fn take_secrets(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.secrets)
    }

    /// Packets read so far.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Frames passed over so far: not IP, or longer than an IP packet can be.
    pub fn skipped(&self) -> u64 {
        match &self.format {
            Format::Pcap(reader) => reader.skipped(),
            Format::Pcapng(_) => self.skipped,
        }
    }

    fn read_pcapng(&mut self, packet: &mut Packet) -> Result<Option<Captured>, CaptureErrorKind> {
        let Format::Pcapng(reader) = &mut self.format else { return Ok(None) };
        loop {
            let Some(block) = reader.read().map_err(CaptureErrorKind::Pcapng)? else {
                return Ok(None);
            };
            let frame = match block {
                Block::Packet(frame) => frame,
                Block::Section(section) => {
                    self.section = section;
                    continue;
                }
                Block::Secrets { kind: TLS_KEY_LOG, data } => {
                    // Whoever does not ask for them does not pay for a file full of them.
                    if self.secrets.len() + data.len() <= MAX_KEPT_SECRETS {
                        self.secrets.extend_from_slice(data);
                    }
                    continue;
                }
                _ => continue,
            };
            keep(&mut self.comments, &mut self.comment_count, frame.comments);
            let captured = Captured {
                time: frame.time.unwrap_or(self.time),
                cut: frame.original_len.saturating_sub(frame.data.len() as u32),
                interface: frame.interface,
                direction: frame.direction,
                packet_id: frame.packet_id,
                dropped: frame.dropped,
            };
            let number = u32::from(frame.link);
            let Some(link) = LinkType::of(number) else {
                let interface = reader.interfaces().get(captured.interface as usize);
                let interface = interface.map(|found| found.name.clone()).unwrap_or_default();
                return Err(CaptureErrorKind::LinkType { link: number, interface });
            };
            let Some(ip) = link.ip(frame.data) else {
                self.skipped += 1;
                continue;
            };
            packet.offload = Offload::default();
            packet.set_len(ip.len());
            packet.data_mut().copy_from_slice(ip);
            return Ok(Some(captured));
        }
    }
}

/// Copies comments into strings that are there already.
fn keep(kept: &mut Vec<String>, count: &mut usize, comments: Comments<'_>) {
    *count = 0;
    for comment in comments.take(MAX_COMMENTS) {
        match kept.get_mut(*count) {
            Some(text) => comment.clone_into(text),
            None => kept.push(comment.to_owned()),
        }
        *count += 1;
    }
}

#[cfg(test)]
#[path = "capture_reader_tests.rs"]
mod tests;
