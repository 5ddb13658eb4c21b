//! Captures of the newer format (`.pcapng`): read from any reader, written to any writer, one block at
//! a time.
//!
//! The format is that of draft-ietf-opsawg-pcapng. A file is a row of blocks; section headers start
//! byte order and interface numbers anew.
//!
//! ```text
//!  SHB  section: byte order, machine, program, comments
//!  IDB  interface 0: name, link type, unit of times, snapshot length
//!  IDB  interface 1
//!  DSB  secrets: a TLS key log
//!  EPB  packet: interface, time, lengths, bytes, direction, packet id, comments
//!  ...
//!  ISB  statistics of an interface: packets taken and lost
//! ```
//!
//! [`PcapngWriter`] writes raw IP with nanoseconds in little-endian order. [`PcapngReader`] reads both
//! byte orders, several sections, any unit of time, simple and obsolete packet blocks too; what it
//! does not know it passes over without loading it.
//!
//! A capture is a file from anywhere: lengths are checked before anything is read, and memory is
//! bounded by [`MAX_BLOCK_LEN`] and [`MAX_INTERFACES`].

mod offload;
mod option;
mod read;
mod section;
#[cfg(test)]
mod tests;
mod window;
mod write;

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::link::LinkType;

pub use offload::{offload_comment, restore_offload};
pub use option::Comments;
pub use read::PcapngReader;
pub use section::{Run, Section};
pub use write::{NewPacket, PcapngWriter};

/// The longest block that is loaded, in bytes. Unknown blocks may be longer: they are passed over.
pub const MAX_BLOCK_LEN: u32 = 1 << 20;

/// Interfaces of one section that are kept.
pub const MAX_INTERFACES: usize = 4096;

/// Bytes of a comment that are written, and of a name that are kept; the rest is cut off.
pub const MAX_TEXT: usize = 4096;

/// Comments on one packet or section that are written; the rest is left out.
pub const MAX_COMMENTS: usize = 32;

/// Bytes of secrets in one block.
pub const MAX_SECRETS: usize = 1 << 19;

/// Bytes of one packet that are written.
pub const MAX_CAPTURED: usize = super::pcap::MAX_RECORD_LEN as usize;

/// The type of a secrets block that holds lines of `SSLKEYLOGFILE`.
pub const TLS_KEY_LOG: u32 = 0x544c_534b;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const OBSOLETE_PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const SECRETS: u32 = 10;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;

/// Type and length in front of a block's body, and the length again behind it.
const BLOCK_FRAME: u32 = 12;

/// Which way a packet went, as the one who captured it saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It came in.
    Inbound,
    /// It left.
    Outbound,
}

impl Direction {
    /// The two lowest bits of `epb_flags`.
    const fn flags(self) -> u32 {
        match self {
            Self::Inbound => 1,
            Self::Outbound => 2,
        }
    }

    const fn of_flags(flags: u32) -> Option<Self> {
        match flags & 3 {
            1 => Some(Self::Inbound),
            2 => Some(Self::Outbound),
            _ => None,
        }
    }
}

/// An interface of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name; empty if the file does not say.
    pub name: String,
    /// The number of its link type, known or not (see [`LinkType::of`]).
    pub link: u16,
    /// Bytes of each packet that are kept; 0 for all.
    pub snaplen: u32,
    /// The unit of its times.
    pub clock: Clock,
}

impl Interface {
    /// An interface as [`PcapngWriter`] writes it: raw IP, in nanoseconds.
    pub fn raw(name: impl Into<String>, snaplen: u32) -> Self {
        Self { name: name.into(), link: LinkType::Raw.number(), snaplen, clock: Clock::NANOS }
    }
}

/// How an interface counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// `if_tsresol`: with the highest bit set a negative power of 2, otherwise one of 10.
    pub resolution: u8,
    /// `if_tsoffset`: seconds that are added to each time.
    pub offset: i64,
}

impl Clock {
    /// Nanoseconds of the Unix epoch.
    pub const NANOS: Self = Self { resolution: 9, offset: 0 };

    /// Microseconds, which count where a file says nothing.
    pub const MICROS: Self = Self { resolution: 6, offset: 0 };

    /// The time of a count, from the Unix epoch; times before that are zero.
    pub fn time(self, ticks: u64) -> Duration {
        let exponent = u32::from(self.resolution & 0x7f);
        let base: u128 = if self.resolution & 0x80 == 0 { 10 } else { 2 };
        // Where a second has more ticks than any number here, no count reaches one nanosecond.
        let Some(per_second) = base.checked_pow(exponent) else {
            return Duration::from_secs(self.offset.try_into().unwrap_or(0));
        };
        let ticks = u128::from(ticks);
        let seconds = (ticks / per_second).cast_signed() + i128::from(self.offset);
        let nanos = (ticks % per_second) * 1_000_000_000 / per_second;
        match u64::try_from(seconds) {
            Ok(seconds) => Duration::new(seconds, nanos as u32),
            Err(_) if seconds < 0 => Duration::ZERO,
            Err(_) => Duration::MAX,
        }
    }
}

/// What an interface took and lost (the Interface Statistics Block).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The interface.
    pub interface: u32,
    /// When these were the numbers.
    pub time: Duration,
    /// Packets that came by it (`isb_ifrecv`).
    pub received: Option<u64>,
    /// Packets that the filter let pass (`isb_filteraccept`).
    pub accepted: Option<u64>,
    /// Packets lost for want of room on their way to the file (`isb_osdrop`).
    pub dropped: Option<u64>,
    /// Packets written (`isb_usrdeliv`).
    pub written: Option<u64>,
}

/// A packet of a file.
#[derive(Clone, Debug)]
pub struct CapturedPacket<'a> {
    /// The interface, in its section.
    pub interface: u32,
    /// The number of that interface's link type.
    pub link: u16,
    /// When, from the Unix epoch; simple packet blocks do not say.
    pub time: Option<Duration>,
    /// The frame as the link type has it, as far as it was kept.
    pub data: &'a [u8],
    /// Its length where it was captured.
    pub original_len: u32,
    /// Which way it went.
    pub direction: Option<Direction>,
    /// The number that it shares with other sightings of the same packet.
    pub packet_id: Option<u64>,
    /// Packets lost between the one before it on the same interface and this one.
    pub dropped: Option<u64>,
    /// What was said of it.
    pub comments: Comments<'a>,
}

/// A block of a file.
#[derive(Clone, Debug)]
pub enum Block<'a> {
    /// A section begins, and the interfaces of the one before are forgotten.
    Section(Section),
    /// An interface: the last of [`PcapngReader::interfaces`].
    Interface(u32),
    /// A packet.
    Packet(CapturedPacket<'a>),
    /// Secrets.
    Secrets {
        /// Of what: [`TLS_KEY_LOG`], or any other.
        kind: u32,
        /// They themselves.
        data: &'a [u8],
    },
    /// Numbers of an interface.
    Statistics(Statistics),
    /// A block of another type, passed over.
    Skipped {
        /// Its type.
        kind: u32,
    },
}

/// Why a capture cannot be read on.
#[derive(Debug)]
pub enum PcapngError {
    /// The file does not begin as a capture does.
    NotPcapng {
        /// Its first four bytes, read in little-endian order.
        magic: u32,
    },
    /// A section header without the mark of a byte order.
    ByteOrder {
        /// What is in its place.
        mark: u32,
    },
    /// A section of a version that is not known.
    Version {
        /// The major version.
        major: u16,
    },
    /// A block whose length is no multiple of four, too short for its type, or not the same behind it
    /// as in front.
    BlockLength {
        /// The block's type.
        kind: u32,
        /// The length claimed.
        len: u32,
    },
    /// A block of a type that is loaded, longer than [`MAX_BLOCK_LEN`].
    BlockTooLong {
        /// The block's type.
        kind: u32,
        /// The length claimed.
        len: u32,
    },
    /// More than [`MAX_INTERFACES`] in one section.
    TooManyInterfaces,
    /// A packet or statistics of an interface that was not described.
    NoInterface {
        /// Its number.
        interface: u32,
    },
    /// The file ends within a block.
    Truncated,
    /// It could not be read.
    Io(io::Error),
}

impl fmt::Display for PcapngError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPcapng { magic } => {
                write!(f, "not a pcapng capture: it begins with {magic:#010x}")
            }
            Self::ByteOrder { mark } => {
                write!(f, "a section has no byte order: {mark:#010x} stands in its place")
            }
            Self::Version { major } => {
                write!(f, "a section is of version {major}; version 1 is read")
            }
            Self::BlockLength { kind, len } => {
                write!(f, "a block of type {kind:#x} claims the impossible length {len}")
            }
            Self::BlockTooLong { kind, len } => {
                write!(
                    f,
                    "a block of type {kind:#x} claims {len} bytes; {MAX_BLOCK_LEN} is the most"
                )
            }
            Self::TooManyInterfaces => {
                write!(f, "a section has more than {MAX_INTERFACES} interfaces")
            }
            Self::NoInterface { interface } => {
                write!(
                    f,
                    "a block is of interface {interface}, which the section does not describe"
                )
            }
            Self::Truncated => f.write_str("the capture ends within a block"),
            Self::Io(e) => write!(f, "cannot read the capture: {e}"),
        }
    }
}

impl Error for PcapngError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl From<PcapngError> for io::Error {
    fn from(error: PcapngError) -> Self {
        match error {
            PcapngError::Io(e) => e,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
