//! Records as blocks of a file.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use netstack::Packet;
use netstack::dev::pcapng::{NewPacket, PcapngWriter, Section, Statistics, offload_comment};
use netstack::packet::{Checksum, MAX_PACKET_LEN};
use netstack::segment::segment;
use netstack::wire::checksum;

use super::batch::{Batch, Record};
use super::queue::Totals;
use super::{Options, Origin};

/// Where a capture is written.
pub enum Target {
    /// A file that is made, or written over.
    File(PathBuf),
    /// Something open: a pipe, a socket.
    Stream(Box<dyn Write + Send>),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What is open.
enum Open {
    File { file: File, path: PathBuf },
    Stream(Box<dyn Write + Send>),
}

/// One capture in the making.
pub(super) struct Output {
    open: Open,
    blocks: PcapngWriter<Vec<u8>>,
    segments: bool,
    /// A packet while it is completed or cut.
    packet: Packet,
    piece: Packet,
    written: Vec<u64>,
}

impl Output {
    /// Opens `target` and writes what stands in front of packets.
    ///
    /// # Errors
    /// It cannot be opened or written.
    pub(super) fn open(target: Target, origin: &Origin, options: &Options) -> io::Result<Self> {
        Self::open_for(target, origin, options, None)
    }

    /// Opens it as [`open`](Self::open) does, with this said of the whole.
    ///
    /// # Errors
    /// As there.
    pub(super) fn open_for(
        target: Target,
        origin: &Origin,
        options: &Options,
        said: Option<&str>,
    ) -> io::Result<Self> {
        let open = match target {
            Target::File(path) => Open::File { file: File::create(&path)?, path },
            Target::Stream(stream) => Open::Stream(stream),
        };
        let filter = options.filter.text();
        let section = Section {
            hardware: Some(std::env::consts::ARCH.to_owned()),
            os: Some(std::env::consts::OS.to_owned()),
            application: Some(concat!("balun ", env!("CARGO_PKG_VERSION")).to_owned()),
            comments: [origin.run.comment_from(origin.epoch)]
                .into_iter()
                .chain((!filter.is_empty()).then(|| format!("filter: {filter}")))
                .chain(said.map(str::to_owned))
                .collect(),
        };
        let mut blocks = PcapngWriter::new(Vec::new(), &section)?;
        for leg in &origin.legs {
            blocks.interface(leg, options.snaplen)?;
        }
        let mut output = Self {
            open,
            blocks,
            segments: options.segment,
            packet: Packet::with_capacity(0),
            piece: Packet::with_capacity(0),
            written: vec![0; origin.legs.len()],
        };
        // A pipe may have no room for it yet, and whoever opens one is not to wait.
        if output.path().is_some() {
            output.flush()?;
        }
        Ok(output)
    }

    /// Where it is, if it is a file.
    pub(super) fn path(&self) -> Option<&Path> {
        match &self.open {
            Open::File { path, .. } => Some(path),
            Open::Stream(_) => None,
        }
    }

    /// Packets written.
    pub(super) fn written(&self) -> u64 {
        self.written.iter().sum()
    }

    /// Writes a batch.
    ///
    /// # Errors
    /// That of the file, which then ends with the batch before.
    pub(super) fn batch(&mut self, batch: &Batch) -> io::Result<()> {
        let before = self.written.clone();
        for (record, data, comments) in batch.iter() {
            self.record(record, data, comments)?;
        }
        let result = self.flush();
        if result.is_err() {
            self.written = before;
        }
        result
    }

    /// Makes lines of a TLS key log that serve the packets behind them; written with the next batch.
    ///
    /// # Errors
    /// A line is too long.
    pub(super) fn secrets(&mut self, lines: &str) -> io::Result<()> {
        self.blocks.tls_key_log(lines.as_bytes())
    }

    /// Writes the numbers at the end.
    ///
    /// # Errors
    /// That of the file.
    pub(super) fn finish(&mut self, totals: &Totals) -> io::Result<()> {
        let of = |counts: &[u64], leg: usize| counts.get(leg).copied();
        for (leg, written) in self.written.iter().enumerate() {
            self.blocks.statistics(&Statistics {
                interface: leg as u32,
                time: totals.time,
                received: of(&totals.received, leg),
                accepted: of(&totals.accepted, leg),
                dropped: of(&totals.lost, leg),
                written: Some(*written),
            })?;
        }
        self.flush()
    }

    fn record(&mut self, record: &Record, data: &[u8], comments: &str) -> io::Result<()> {
        let Self { blocks, packet, piece, written, segments, .. } = self;
        let Some(written) = written.get_mut(record.interface as usize) else { return Ok(()) };
        let whole = data.len() == record.original_len as usize;
        // Of a sum that is complete in the file there is nothing to say.
        let unlike = record.offload.gso.is_some() || !whole;
        let offload = if unlike { offload_comment(&record.offload) } else { None };
        let said = comments.lines().chain(offload.as_deref());
        let partial = matches!(record.offload.checksum, Checksum::Partial { .. });
        if !whole || !partial && record.offload.gso.is_none() {
            // A sum over bytes that are not kept cannot be completed.
            *written += 1;
            return blocks.packet_with(&block(record, data, record.original_len), said);
        }
        packet.set_len(data.len());
        packet.data_mut().copy_from_slice(data);
        packet.offload = record.offload;
        if *segments && let Ok(mut pieces) = segment(packet, MAX_PACKET_LEN) {
            // What was done was done to all of them at once.
            let mut said = comments;
            while pieces.next_into(piece) {
                let block = block(record, piece.data(), piece.len() as u32);
                blocks.packet_with(&block, said.lines())?;
                *written += 1;
                said = "";
            }
            return Ok(());
        }
        checksum::complete(packet);
        *written += 1;
        blocks.packet_with(&block(record, packet.data(), record.original_len), said)
    }

    /// Moves the blocks that are made to where they belong.
    ///
    /// # Errors
    /// That of the file.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let bytes = self.blocks.output_mut();
        let result = match &mut self.open {
            Open::File { file, .. } => {
                let good = file.stream_position()?;
                let result = file.write_all(bytes);
                if result.is_err() {
                    // Half a block would make the file a broken one. Where this fails too, a reader
                    // still gets what stands in front.
                    let _ = file.set_len(good);
                }
                result
            }
            Open::Stream(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        };
        bytes.clear();
        result
    }
}

fn block<'a>(record: &Record, data: &'a [u8], original_len: u32) -> NewPacket<'a> {
    NewPacket {
        interface: record.interface,
        time: record.time,
        data,
        original_len,
        direction: Some(record.direction),
        packet_id: Some(record.packet_id),
        dropped: (record.lost > 0).then_some(record.lost),
        comments: &[],
    }
}
