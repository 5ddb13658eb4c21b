//! The reader.

use std::io::Read;
use std::ops::Range;
use std::time::Duration;

use super::option::{self, Comments, Options, Order, text};
use super::window::Window;
use super::{
    BLOCK_FRAME, BYTE_ORDER, Block, CapturedPacket, Clock, Direction, ENHANCED_PACKET, INTERFACE,
    Interface, MAX_BLOCK_LEN, MAX_COMMENTS, MAX_INTERFACES, OBSOLETE_PACKET, PcapngError, SECRETS,
    SECTION, SIMPLE_PACKET, STATISTICS, Section, Statistics,
};

/// Reads a capture block by block. It asks its input for much at once, and takes what there is.
#[derive(Debug)]
pub struct PcapngReader<R> {
    input: Window<R>,
    order: Order,
    interfaces: Vec<Interface>,
    /// Where in the window the body of the block is that was read last.
    body: Range<usize>,
    begun: bool,
}

impl<R: Read> PcapngReader<R> {
    /// A reader of `input`; nothing is read yet.
    pub const fn new(input: R) -> Self {
        Self {
            input: Window::new(input),
            order: Order { big_endian: false },
            interfaces: Vec::new(),
            body: 0..0,
            begun: false,
        }
    }

    /// The interfaces described so far in this section, by their numbers.
    pub fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    /// Reads the next block, or returns nothing at the end.
    ///
    /// # Errors
    /// [`PcapngError`]; there is no reading on after that.
    pub fn read(&mut self) -> Result<Option<Block<'_>>, PcapngError> {
        if self.begun && self.input.is_at_end().map_err(PcapngError::Io)? {
            return Ok(None);
        }
        let header = self.fill::<8>()?;
        let little = Order { big_endian: false };
        let kind = self.order.u32(&header, 0).unwrap_or(0);
        // The type of a section header reads the same in both orders.
        if kind == SECTION {
            return self.section(header).map(Some);
        }
        if !self.begun {
            let magic = little.u32(&header, 0).unwrap_or(0);
            return Err(PcapngError::NotPcapng { magic });
        }
        let len = self.order.u32(&header, 4).unwrap_or(0);
        self.load(kind, len)?;
        self.block(kind, len).map(Some)
    }

    fn section(&mut self, header: [u8; 8]) -> Result<Block<'_>, PcapngError> {
        let mark = u32::from_le_bytes(self.fill()?);
        self.order.big_endian = match mark {
            BYTE_ORDER => false,
            _ if mark.swap_bytes() == BYTE_ORDER => true,
            _ => return Err(PcapngError::ByteOrder { mark }),
        };
        self.begun = true;
        self.interfaces.clear();
        let len = self.order.u32(&header, 4).unwrap_or(0);
        let broken = PcapngError::BlockLength { kind: SECTION, len };
        // The mark is read already; behind it are the version and the section's length.
        let Some(rest) = len.checked_sub(4).filter(|rest| *rest >= BLOCK_FRAME + 12) else {
            return Err(broken);
        };
        self.load_rest(SECTION, len, rest)?;
        let major = self.order.u16(self.body(), 0).ok_or(broken)?;
        if major != 1 {
            return Err(PcapngError::Version { major });
        }
        let mut section = Section::default();
        for (code, value) in self.options(12) {
            let field = match code {
                option::COMMENT if section.comments.len() < MAX_COMMENTS => {
                    section.comments.push(text(value));
                    continue;
                }
                option::SECTION_HARDWARE => &mut section.hardware,
                option::SECTION_OS => &mut section.os,
                option::SECTION_APPLICATION => &mut section.application,
                _ => continue,
            };
            *field = Some(text(value));
        }
        Ok(Block::Section(section))
    }

    /// Loads the body of a block whose type is known, and passes over any other.
    fn load(&mut self, kind: u32, len: u32) -> Result<(), PcapngError> {
        self.load_rest(kind, len, len)
    }

    /// Loads what is left of a block: `rest` of its `len` bytes, the frame among them.
    fn load_rest(&mut self, kind: u32, len: u32, rest: u32) -> Result<(), PcapngError> {
        if !len.is_multiple_of(4) || rest < BLOCK_FRAME {
            return Err(PcapngError::BlockLength { kind, len });
        }
        let mut body = (rest - BLOCK_FRAME) as usize;
        if !is_known(kind) {
            self.pass_over(body as u64)?;
            body = 0;
        } else if len > MAX_BLOCK_LEN {
            return Err(PcapngError::BlockTooLong { kind, len });
        }
        // The length stands behind it once more.
        let taken = self.input.take(body + 4).map_err(PcapngError::Io)?;
        let Range { start, end } = taken.ok_or(PcapngError::Truncated)?;
        self.body = start..end - 4;
        if self.order.u32(self.input.bytes(end - 4..end), 0) == Some(len) {
            Ok(())
        } else {
            Err(PcapngError::BlockLength { kind, len })
        }
    }

    fn pass_over(&mut self, len: u64) -> Result<(), PcapngError> {
        let passed = self.input.pass_over(len).map_err(PcapngError::Io)?;
        if passed { Ok(()) } else { Err(PcapngError::Truncated) }
    }

    fn fill<const N: usize>(&mut self) -> Result<[u8; N], PcapngError> {
        let taken = self.input.take(N).map_err(PcapngError::Io)?;
        let taken = taken.ok_or(PcapngError::Truncated)?;
        self.input.bytes(taken).try_into().map_err(|_| PcapngError::Truncated)
    }

    fn body(&self) -> &[u8] {
        self.input.bytes(self.body.clone())
    }

    fn block(&mut self, kind: u32, len: u32) -> Result<Block<'_>, PcapngError> {
        let broken = PcapngError::BlockLength { kind, len };
        match kind {
            INTERFACE => {
                if self.interfaces.len() >= MAX_INTERFACES {
                    return Err(PcapngError::TooManyInterfaces);
                }
                let interface = self.described().ok_or(broken)?;
                self.interfaces.push(interface);
                Ok(Block::Interface(self.interfaces.len() as u32 - 1))
            }
            ENHANCED_PACKET => {
                let interface = self.order.u32(self.body(), 0).ok_or(broken)?;
                self.timed_packet(interface, 4).map(Block::Packet)
            }
            OBSOLETE_PACKET => {
                let interface = self.order.u16(self.body(), 0).ok_or(broken)?;
                let mut packet = self.timed_packet(interface.into(), 4)?;
                // All bits set is a count that is not known.
                let dropped = self.order.u16(self.body(), 2).filter(|count| *count != u16::MAX);
                packet.dropped = dropped.map(u64::from);
                Ok(Block::Packet(packet))
            }
            SIMPLE_PACKET => self.simple_packet(len).map(Block::Packet),
            SECRETS => {
                let kind = self.order.u32(self.body(), 0);
                let len = self.order.u32(self.body(), 4);
                let (Some(kind), Some(len)) = (kind, len) else { return Err(broken) };
                let data = self.body().get(8..).and_then(|data| data.get(..len as usize));
                Ok(Block::Secrets { kind, data: data.ok_or(broken)? })
            }
            STATISTICS => self.statistics(len).map(Block::Statistics),
            _ => Ok(Block::Skipped { kind }),
        }
    }

    fn described(&self) -> Option<Interface> {
        let mut interface = Interface {
            name: String::new(),
            link: self.order.u16(self.body(), 0)?,
            snaplen: self.order.u32(self.body(), 4)?,
            clock: Clock::MICROS,
        };
        for (code, value) in self.options(8) {
            match code {
                option::INTERFACE_NAME => interface.name = text(value),
                option::INTERFACE_RESOLUTION => {
                    interface.clock.resolution = value.first().copied().unwrap_or(6);
                }
                option::INTERFACE_OFFSET => {
                    interface.clock.offset = self.order.u64(value, 0).map_or(0, u64::cast_signed);
                }
                _ => {}
            }
        }
        Some(interface)
    }

    /// A packet with time, lengths, bytes and options from offset `at` on.
    fn timed_packet(&self, interface: u32, at: usize) -> Result<CapturedPacket<'_>, PcapngError> {
        let Interface { clock, link, .. } = *self.interface(interface)?;
        let body = self.body();
        let broken = || PcapngError::BlockLength {
            kind: ENHANCED_PACKET,
            len: body.len() as u32 + BLOCK_FRAME,
        };
        let ticks = self.order.ticks(body, at).ok_or_else(broken)?;
        let captured = self.order.u32(body, at + 8).ok_or_else(broken)? as usize;
        let original_len = self.order.u32(body, at + 12).ok_or_else(broken)?;
        let data = body.get(at + 16..).and_then(|rest| rest.get(..captured));
        let data = data.ok_or_else(broken)?;
        let options = self.options(at + 16 + captured.next_multiple_of(4));
        let mut packet = CapturedPacket {
            interface,
            link,
            time: Some(clock.time(ticks)),
            data,
            original_len,
            direction: None,
            packet_id: None,
            dropped: None,
            comments: Comments { options: options.clone() },
        };
        for (code, value) in options {
            match code {
                option::PACKET_FLAGS => {
                    packet.direction = self.order.u32(value, 0).and_then(Direction::of_flags);
                }
                option::PACKET_DROPPED => packet.dropped = self.order.u64(value, 0),
                option::PACKET_ID => packet.packet_id = self.order.u64(value, 0),
                _ => {}
            }
        }
        Ok(packet)
    }

    /// A packet without time, of the first interface, whose snapshot length says what was kept.
    fn simple_packet(&self, len: u32) -> Result<CapturedPacket<'_>, PcapngError> {
        let interface = self.interface(0)?;
        let broken = || PcapngError::BlockLength { kind: SIMPLE_PACKET, len };
        let original_len = self.order.u32(self.body(), 0).ok_or_else(broken)?;
        let kept = match interface.snaplen {
            0 => original_len,
            snaplen => original_len.min(snaplen),
        };
        let data = self.body().get(4..).and_then(|rest| rest.get(..kept as usize));
        Ok(CapturedPacket {
            interface: 0,
            link: interface.link,
            time: None,
            data: data.ok_or_else(broken)?,
            original_len,
            direction: None,
            packet_id: None,
            dropped: None,
            comments: Comments::NONE,
        })
    }

    fn statistics(&self, len: u32) -> Result<Statistics, PcapngError> {
        let broken = || PcapngError::BlockLength { kind: STATISTICS, len };
        let interface = self.order.u32(self.body(), 0).ok_or_else(broken)?;
        let time: Duration = {
            let ticks = self.order.ticks(self.body(), 4).ok_or_else(broken)?;
            self.interface(interface)?.clock.time(ticks)
        };
        let mut statistics = Statistics { interface, time, ..Statistics::default() };
        for (code, value) in self.options(12) {
            let field = match code {
                option::STATISTICS_RECEIVED => &mut statistics.received,
                option::STATISTICS_ACCEPTED => &mut statistics.accepted,
                option::STATISTICS_DROPPED => &mut statistics.dropped,
                option::STATISTICS_WRITTEN => &mut statistics.written,
                _ => continue,
            };
            *field = self.order.u64(value, 0);
        }
        Ok(statistics)
    }

    fn interface(&self, interface: u32) -> Result<&Interface, PcapngError> {
        let found = self.interfaces.get(interface as usize);
        found.ok_or(PcapngError::NoInterface { interface })
    }

    fn options(&self, at: usize) -> Options<'_> {
        Options { bytes: self.body().get(at..).unwrap_or_default(), order: self.order }
    }
}

const fn is_known(kind: u32) -> bool {
    matches!(
        kind,
        SECTION
            | INTERFACE
            | OBSOLETE_PACKET
            | SIMPLE_PACKET
            | STATISTICS
            | ENHANCED_PACKET
            | SECRETS
    )
}
