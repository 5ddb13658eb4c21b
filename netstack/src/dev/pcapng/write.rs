//! The writer.

use std::io::{self, Write};
use std::time::Duration;

use super::option::{self, shortened};
use super::{
    BYTE_ORDER, Direction, ENHANCED_PACKET, INTERFACE, Interface, MAX_CAPTURED, MAX_COMMENTS,
    MAX_SECRETS, SECRETS, SECTION, STATISTICS, Section, Statistics, TLS_KEY_LOG,
};

/// A packet to write.
#[derive(Clone, Copy, Debug)]
pub struct NewPacket<'a> {
    /// What [`PcapngWriter::interface`] gave for where it was seen.
    pub interface: u32,
    /// When, from the Unix epoch.
    pub time: Duration,
    /// The IP packet. More than the interface's snapshot length, or [`MAX_CAPTURED`], is cut off.
    pub data: &'a [u8],
    /// Its length where it was captured; no less than that of `data`.
    pub original_len: u32,
    /// Which way it went.
    pub direction: Option<Direction>,
    /// The number that it shares with other sightings of the same packet.
    pub packet_id: Option<u64>,
    /// Packets lost between the one before it on the same interface and this one.
    pub dropped: Option<u64>,
    /// What is to be said of it: [`MAX_COMMENTS`] at most, each up to [`MAX_TEXT`](super::MAX_TEXT)
    /// bytes.
    pub comments: &'a [&'a str],
}

impl<'a> NewPacket<'a> {
    /// A whole packet of which nothing is said.
    pub const fn new(interface: u32, time: Duration, data: &'a [u8]) -> Self {
        Self {
            interface,
            time,
            data,
            original_len: data.len() as u32,
            direction: None,
            packet_id: None,
            dropped: None,
            comments: &[],
        }
    }
}

/// Writes a capture of one section: raw IP, nanoseconds, little-endian. Each block is one `write_all`.
#[derive(Debug)]
pub struct PcapngWriter<W> {
    output: W,
    block: Vec<u8>,
    snaplens: Vec<u32>,
    written: u64,
}

impl<W: Write> PcapngWriter<W> {
    /// Writes the section header.
    ///
    /// # Errors
    /// That of the writer.
    pub fn new(output: W, section: &Section) -> io::Result<Self> {
        let mut writer = Self { output, block: Vec::new(), snaplens: Vec::new(), written: 0 };
        writer.begin(SECTION);
        writer.u32(BYTE_ORDER);
        writer.u16(1);
        writer.u16(0);
        // The section's length, which is not known while it is written.
        writer.block.extend(u64::MAX.to_le_bytes());
        writer.comments(section.comments.iter().map(String::as_str));
        for (code, value) in [
            (option::SECTION_HARDWARE, &section.hardware),
            (option::SECTION_OS, &section.os),
            (option::SECTION_APPLICATION, &section.application),
        ] {
            if let Some(value) = value {
                writer.option(code, shortened(value).as_bytes());
            }
        }
        writer.end_options();
        writer.end()?;
        Ok(writer)
    }

    /// Describes an interface and gives the number that packets name it by. Link type and clock are
    /// always those of [`Interface::raw`].
    ///
    /// # Errors
    /// That of the writer.
    pub fn interface(&mut self, name: &str, snaplen: u32) -> io::Result<u32> {
        let interface = Interface::raw(name, snaplen);
        self.begin(INTERFACE);
        self.u16(interface.link);
        self.u16(0);
        self.u32(snaplen);
        self.option(option::INTERFACE_NAME, shortened(name).as_bytes());
        self.option(option::INTERFACE_RESOLUTION, &[interface.clock.resolution]);
        self.end_options();
        self.end()?;
        self.snaplens.push(snaplen);
        Ok(self.snaplens.len() as u32 - 1)
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// That of the writer, or [`io::ErrorKind::InvalidInput`] for an interface that was not described.
    pub fn packet(&mut self, packet: &NewPacket<'_>) -> io::Result<()> {
        self.packet_with(packet, packet.comments.iter().copied())
    }

    /// Writes a packet of which this is to be said, whatever `packet.comments` are.
    ///
    /// # Errors
    /// As [`packet`](Self::packet).
    pub fn packet_with<'a>(
        &mut self,
        packet: &NewPacket<'_>,
        comments: impl Iterator<Item = &'a str>,
    ) -> io::Result<()> {
        let limit = match self.snaplen(packet.interface)? {
            0 => MAX_CAPTURED,
            snaplen => MAX_CAPTURED.min(snaplen as usize),
        };
        let data = packet.data.get(..limit).unwrap_or(packet.data);
        self.begin(ENHANCED_PACKET);
        self.u32(packet.interface);
        self.time(packet.time);
        self.u32(data.len() as u32);
        self.u32(packet.original_len.max(u32::try_from(packet.data.len()).unwrap_or(u32::MAX)));
        self.padded(data);
        self.comments(comments);
        if let Some(direction) = packet.direction {
            self.option(option::PACKET_FLAGS, &direction.flags().to_le_bytes());
        }
        self.number(option::PACKET_DROPPED, packet.dropped);
        self.number(option::PACKET_ID, packet.packet_id);
        self.end_options();
        self.end()
    }

    /// Writes lines of a TLS key log (`CLIENT_RANDOM …`). They serve the packets that follow, so they
    /// are to be written before these; more than [`MAX_SECRETS`] bytes become several blocks, cut at
    /// the ends of lines.
    ///
    /// # Errors
    /// That of the writer, or [`io::ErrorKind::InvalidInput`] for a line longer than [`MAX_SECRETS`].
    pub fn tls_key_log(&mut self, mut lines: &[u8]) -> io::Result<()> {
        while !lines.is_empty() {
            let piece = if lines.len() <= MAX_SECRETS {
                lines
            } else {
                let most = lines.get(..MAX_SECRETS).unwrap_or(lines);
                let end = most.iter().rposition(|b| *b == b'\n').ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidInput, "a line of the key log is too long")
                })?;
                most.get(..=end).unwrap_or(most)
            };
            self.begin(SECRETS);
            self.u32(TLS_KEY_LOG);
            self.u32(piece.len() as u32);
            self.padded(piece);
            self.end()?;
            lines = lines.get(piece.len()..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes an interface's numbers: at the end, or whenever they are worth a block.
    ///
    /// # Errors
    /// As [`packet`](Self::packet).
    pub fn statistics(&mut self, statistics: &Statistics) -> io::Result<()> {
        self.snaplen(statistics.interface)?;
        self.begin(STATISTICS);
        self.u32(statistics.interface);
        self.time(statistics.time);
        let mut end = [0; 8];
        let ticks = ticks(statistics.time);
        end[..4].copy_from_slice(&((ticks >> 32) as u32).to_le_bytes());
        end[4..].copy_from_slice(&(ticks as u32).to_le_bytes());
        self.option(option::STATISTICS_END, &end);
        for (code, value) in [
            (option::STATISTICS_RECEIVED, statistics.received),
            (option::STATISTICS_ACCEPTED, statistics.accepted),
            (option::STATISTICS_DROPPED, statistics.dropped),
            (option::STATISTICS_WRITTEN, statistics.written),
        ] {
            self.number(code, value);
        }
        self.end_options();
        self.end()
    }

    /// Bytes written so far.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// The writer, to take out what is in it. Bytes must not be put in between.
    pub const fn output_mut(&mut self) -> &mut W {
        &mut self.output
    }

    /// Flushes the writer.
    ///
    /// # Errors
    /// That of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// The writer.
    pub fn into_inner(self) -> W {
        self.output
    }

    fn snaplen(&self, interface: u32) -> io::Result<u32> {
        self.snaplens.get(interface as usize).copied().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the interface was not described")
        })
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.u32(kind);
        // The length, filled in at the end.
        self.u32(0);
    }

    fn end(&mut self) -> io::Result<()> {
        let len = (self.block.len() as u32 + 4).to_le_bytes();
        self.block.extend_from_slice(&len);
        if let Some(field) = self.block.get_mut(4..8) {
            field.copy_from_slice(&len);
        }
        self.output.write_all(&self.block)?;
        self.written += self.block.len() as u64;
        Ok(())
    }

    fn u16(&mut self, value: u16) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.block.extend_from_slice(&value.to_le_bytes());
    }

    fn time(&mut self, time: Duration) {
        let ticks = ticks(time);
        self.u32((ticks >> 32) as u32);
        self.u32(ticks as u32);
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
        let padding = bytes.len().next_multiple_of(4) - bytes.len();
        self.block.extend_from_slice(&[0; 3][..padding]);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.u16(code);
        self.u16(value.len() as u16);
        self.padded(value);
    }

    fn number(&mut self, code: u16, value: Option<u64>) {
        if let Some(value) = value {
            self.option(code, &value.to_le_bytes());
        }
    }

    fn comments<'a>(&mut self, comments: impl Iterator<Item = &'a str>) {
        for comment in comments.take(MAX_COMMENTS) {
            self.option(option::COMMENT, shortened(comment).as_bytes());
        }
    }

    fn end_options(&mut self) {
        self.u32(option::END.into());
    }
}

/// Nanoseconds, saturating in the year 2554.
fn ticks(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
