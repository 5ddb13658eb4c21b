//! Classic captures (`.pcap`): read from any reader, written to any writer, one record at a time.
//!
//! Reads both byte orders, both resolutions and the link types of [`LinkType`], whose headers it takes
//! off. Writes raw IP with nanoseconds in little-endian order.
//!
//! A capture is a file from anywhere: lengths are checked before anything is read, and memory is
//! bounded by [`MAX_RECORD_LEN`].

use std::error::Error;
use std::fmt;
use std::io::{self, Read, Write};
use std::time::Duration;

use super::link::LinkType;
use crate::packet::{Offload, Packet};

/// The longest record: the longest snapshot that libpcap takes.
pub const MAX_RECORD_LEN: u32 = 262_144;

const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const MAGIC_PCAPNG: u32 = 0x0a0d_0d0a;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// Why a capture cannot be read on.
#[derive(Debug)]
pub enum PcapError {
    /// The file does not begin as a capture does.
    NotPcap {
        /// Its first four bytes, read in little-endian order.
        magic: u32,
    },
    /// A capture of the newer format.
    Pcapng,
    /// Packets of a link type that is not read (see [`LinkType`]).
    LinkType(u32),
    /// A record that claims more bytes than any capture has.
    RecordTooLong {
        /// The length claimed.
        len: u32,
    },
    /// The file ends within a header or a record.
    Truncated,
    /// It could not be read.
    Io(io::Error),
}

impl fmt::Display for PcapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPcap { magic } => write!(f, "not a capture: it begins with {magic:#010x}"),
            Self::Pcapng => f.write_str(
                "the capture is pcapng, not classic pcap\nfix: editcap -F pcap IN.pcapng OUT.pcap",
            ),
            Self::LinkType(link) => {
                write!(f, "the capture's link type is {link}; those read are {}", LinkType::KNOWN)
            }
            Self::RecordTooLong { len } => {
                write!(f, "a record claims {len} bytes; {MAX_RECORD_LEN} is the most")
            }
            Self::Truncated => f.write_str("the capture ends within a record"),
            Self::Io(e) => write!(f, "cannot read the capture: {e}"),
        }
    }
}

impl Error for PcapError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(e) => Some(e),
            _ => None,
        }
    }
}

impl From<PcapError> for io::Error {
    fn from(error: PcapError) -> Self {
        match error {
            PcapError::Io(e) => e,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// What a capture says of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was captured, from the Unix epoch.
    pub time: Duration,
    /// Bytes of the IP packet that are missing at its end, cut off by a short snapshot length.
    pub cut: u32,
}

/// Reads a capture.
#[derive(Debug)]
pub struct PcapReader<R> {
    input: R,
    big_endian: bool,
    nanos: bool,
    link: LinkType,
    frame: Vec<u8>,
    skipped: u64,
}

impl<R: Read> PcapReader<R> {
    /// Reads the file header.
    ///
    /// # Errors
    /// [`PcapError`] if this is no capture that can be read.
    pub fn new(mut input: R) -> Result<Self, PcapError> {
        let mut header = [0; FILE_HEADER];
        match read_full(&mut input, &mut header).map_err(PcapError::Io)? {
            FILE_HEADER => {}
            0..4 => return Err(PcapError::Truncated),
            // A file too short for the header may not be a capture at all: the magic decides.
            _ if is_magic([header[0], header[1], header[2], header[3]]) => {
                return Err(PcapError::Truncated);
            }
            _ => {}
        }
        let magic = word(&header, 0, false);
        let (big_endian, nanos) = match (magic, magic.swap_bytes()) {
            (MAGIC_MICROS, _) => (false, false),
            (MAGIC_NANOS, _) => (false, true),
            (_, MAGIC_MICROS) => (true, false),
            (_, MAGIC_NANOS) => (true, true),
            (MAGIC_PCAPNG, _) => return Err(PcapError::Pcapng),
            _ => return Err(PcapError::NotPcap { magic }),
        };
        // The upper half holds the length of a frame check sequence, which is behind the packet.
        let link = word(&header, 20, big_endian) & 0xffff;
        let link = LinkType::of(link).ok_or(PcapError::LinkType(link))?;
        Ok(Self { input, big_endian, nanos, link, frame: Vec::new(), skipped: 0 })
    }

    /// Reads the next IP packet into `packet`, or returns nothing at the end. Frames of other
    /// protocols are passed over and counted in [`skipped`](Self::skipped).
    ///
    /// # Errors
    /// [`PcapError`]; there is no reading on after that.
    pub fn read(&mut self, packet: &mut Packet) -> Result<Option<Record>, PcapError> {
        loop {
            let Some((time, original)) = self.read_frame()? else { return Ok(None) };
            let Some(ip) = self.link.ip(&self.frame) else {
                self.skipped += 1;
                continue;
            };
            packet.offload = Offload::default();
            packet.set_len(ip.len());
            packet.data_mut().copy_from_slice(ip);
            return Ok(Some(Record {
                time,
                cut: original.saturating_sub(self.frame.len() as u32),
            }));
        }
    }

    /// Frames passed over so far: not IP, or longer than an IP packet can be.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Reads one record into `frame`; gives its time and its original length.
    fn read_frame(&mut self) -> Result<Option<(Duration, u32)>, PcapError> {
        let mut header = [0; RECORD_HEADER];
        match read_full(&mut self.input, &mut header).map_err(PcapError::Io)? {
            0 => return Ok(None),
            RECORD_HEADER => {}
            _ => return Err(PcapError::Truncated),
        }
        let field = |at| word(&header, at, self.big_endian);
        let (secs, fraction, len, original) = (field(0), field(4), field(8), field(12));
        if len > MAX_RECORD_LEN {
            return Err(PcapError::RecordTooLong { len });
        }
        self.frame.resize(len as usize, 0);
        if read_full(&mut self.input, &mut self.frame).map_err(PcapError::Io)? < self.frame.len() {
            return Err(PcapError::Truncated);
        }
        let nanos = u64::from(fraction) * if self.nanos { 1 } else { 1_000 };
        let time = Duration::from_secs(secs.into()) + Duration::from_nanos(nanos);
        Ok(Some((time, original)))
    }
}

/// Writes a capture of raw IP packets.
#[derive(Debug)]
pub struct PcapWriter<W> {
    output: W,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// That of the writer.
    pub fn new(mut output: W) -> io::Result<Self> {
        let mut header = [0; FILE_HEADER];
        header[0..4].copy_from_slice(&MAGIC_NANOS.to_le_bytes());
        header[4..6].copy_from_slice(&2_u16.to_le_bytes());
        header[6..8].copy_from_slice(&4_u16.to_le_bytes());
        header[16..20].copy_from_slice(&MAX_RECORD_LEN.to_le_bytes());
        header[20..24].copy_from_slice(&u32::from(LinkType::Raw.number()).to_le_bytes());
        output.write_all(&header)?;
        Ok(Self { output })
    }

    /// Writes one packet, captured at `time` from the Unix epoch (saturating in 2106, when the
    /// format's seconds end). What exceeds [`MAX_RECORD_LEN`] is cut off.
    ///
    /// # Errors
    /// That of the writer.
    pub fn write(&mut self, time: Duration, ip: &[u8]) -> io::Result<()> {
        let secs = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let original = u32::try_from(ip.len()).unwrap_or(u32::MAX);
        let len = original.min(MAX_RECORD_LEN);
        let mut header = [0; RECORD_HEADER];
        for (at, value) in [(0, secs), (4, time.subsec_nanos()), (8, len), (12, original)] {
            header[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        self.output.write_all(&header)?;
        self.output.write_all(&ip[..len as usize])
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
}

fn word(header: &[u8], at: usize, big_endian: bool) -> u32 {
    let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// True for the first four bytes of a classic capture.
pub(super) fn is_magic(bytes: [u8; 4]) -> bool {
    [u32::from_le_bytes(bytes), u32::from_be_bytes(bytes)]
        .iter()
        .any(|magic| matches!(*magic, MAGIC_MICROS | MAGIC_NANOS))
}

/// Reads until `buf` is full or the input ends; returns how much was read.
pub(super) fn read_full(input: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match input.read(&mut buf[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::MAX_PACKET_LEN;
    use proptest::prelude::*;

    const LINK_ETHERNET: u32 = 1;
    const LINK_RAW: u32 = 101;
    const LINK_IPV6: u32 = 229;

    /// A capture by hand, in any variant.
    fn capture(big_endian: bool, nanos: bool, link: u32, records: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let word = |v: u32| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let half = |v: u16| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() };
        let mut file = word(if nanos { MAGIC_NANOS } else { MAGIC_MICROS }).to_vec();
        file.extend([half(2), half(4)].concat());
        file.extend([word(0), word(0), word(65_535), word(link)].concat());
        for (secs, fraction, data) in records {
            let len = data.len() as u32;
            file.extend([word(*secs), word(*fraction), word(len), word(len + 3)].concat());
            file.extend(*data);
        }
        file
    }

    type Read = (Vec<(Record, Vec<u8>)>, u64);

    fn read_all(file: &[u8]) -> Result<Read, PcapError> {
        let mut reader = PcapReader::new(file)?;
        let mut packet = Packet::with_capacity(0);
        let mut all = Vec::new();
        while let Some(record) = reader.read(&mut packet)? {
            all.push((record, packet.data().to_vec()));
        }
        Ok((all, reader.skipped()))
    }

    #[test]
    fn every_byte_order_and_resolution_is_read() {
        for big_endian in [false, true] {
            for (nanos, unit) in [(false, 1_000), (true, 1)] {
                let file =
                    capture(big_endian, nanos, LINK_RAW, &[(7, 5, &[0x45, 1]), (8, 0, &[0x60])]);
                let (all, skipped) = read_all(&file).unwrap();
                assert_eq!((all.len(), skipped), (2, 0));
                assert_eq!(all[0].0, Record { time: Duration::new(7, 5 * unit), cut: 3 });
                assert_eq!(all[0].1, [0x45, 1]);
                assert_eq!(all[1].0.time, Duration::from_secs(8));
            }
        }
    }

    #[test]
    fn ethernet_headers_and_vlan_tags_are_stripped_and_other_protocols_skipped() {
        let frame = |types: &[u8], ip: &[u8]| [&[0xaa; 12][..], types, ip].concat();
        let plain = frame(&[8, 0], &[0x45, 1]);
        let v6 = frame(&[0x86, 0xdd], &[0x60, 2]);
        let tagged = frame(&[0x81, 0, 0, 5, 8, 0], &[0x45, 3]);
        let twice = frame(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0], &[0x45, 4]);
        let thrice = frame(&[0x81, 0, 0, 1, 0x81, 0, 0, 1, 0x81, 0, 0, 1, 8, 0], &[0x45, 5]);
        let arp = frame(&[8, 6], &[0, 1]);
        let lie = frame(&[8, 0], &[0x15, 1]);
        let frames = [&plain, &v6, &tagged, &twice, &thrice, &arp, &lie, &vec![1, 2, 3]];
        let records: Vec<_> = frames.iter().map(|f| (1, 1, f.as_slice())).collect();
        let (all, skipped) = read_all(&capture(false, false, LINK_ETHERNET, &records)).unwrap();
        let packets: Vec<_> = all.iter().map(|(_, ip)| ip[1]).collect();
        assert_eq!((packets, skipped), (vec![1, 2, 3, 4], 4));
    }

    #[test]
    fn a_lying_length_is_refused_before_it_is_read() {
        let record = |len: u32| {
            let mut file = capture(false, false, LINK_RAW, &[]);
            file.extend([[0; 4], [0; 4], len.to_le_bytes(), len.to_le_bytes()].concat());
            file
        };
        let at = read_all(&record(MAX_RECORD_LEN));
        assert!(matches!(at, Err(PcapError::Truncated)));
        let over = read_all(&record(MAX_RECORD_LEN + 1));
        assert!(matches!(over, Err(PcapError::RecordTooLong { len }) if len == MAX_RECORD_LEN + 1));
        assert!(matches!(read_all(&record(u32::MAX)), Err(PcapError::RecordTooLong { .. })));
    }

    #[test]
    fn a_file_cut_anywhere_is_truncated_or_ends_between_records() {
        let file = capture(true, true, LINK_RAW, &[(1, 2, &[0x45; 20]), (3, 4, &[0x60; 40])]);
        let whole = [FILE_HEADER, FILE_HEADER + 36, file.len()];
        for cut in 0..=file.len() {
            let result = read_all(&file[..cut]);
            match whole.iter().position(|end| *end == cut) {
                Some(records) => assert_eq!(result.unwrap().0.len(), records),
                None => assert!(matches!(result, Err(PcapError::Truncated)), "cut at {cut}"),
            }
        }
    }

    #[test]
    fn other_files_are_named() {
        let pcapng = [&[0x0a, 0x0d, 0x0d, 0x0a][..], &[0; 24]].concat();
        assert!(matches!(read_all(&pcapng), Err(PcapError::Pcapng)));
        assert!(matches!(read_all(b"[service.web]\n"), Err(PcapError::NotPcap { .. })));
        let user0 = capture(false, false, 147, &[]);
        assert!(matches!(read_all(&user0), Err(PcapError::LinkType(147))));
        let with_fcs = capture(false, false, 0x4400_0000 | LINK_ETHERNET, &[]);
        assert!(read_all(&with_fcs).is_ok());
    }

    #[test]
    fn packets_longer_than_ip_are_skipped_at_the_limit() {
        let mut long = vec![0x45; MAX_PACKET_LEN];
        let (all, skipped) = read_all(&capture(false, false, LINK_RAW, &[(0, 0, &long)])).unwrap();
        assert_eq!((all.len(), skipped), (1, 0));
        long.push(0);
        let (all, skipped) = read_all(&capture(false, false, LINK_RAW, &[(0, 0, &long)])).unwrap();
        assert_eq!((all.len(), skipped), (0, 1));
    }

    #[test]
    fn others_read_what_we_write() {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        let time = Duration::new(1_700_000_000, 123_456_789);
        writer.write(time, &[0x45, 1, 2]).unwrap();
        writer.write(Duration::MAX, &[0x60]).unwrap();
        let file = writer.into_inner();
        let mut other = pcap_file::pcap::PcapReader::new(file.as_slice()).unwrap();
        assert_eq!(other.header().datalink, pcap_file::DataLink::RAW);
        let first = other.next_packet().unwrap().unwrap();
        assert_eq!((first.timestamp, first.orig_len), (time, 3));
        assert_eq!(first.data.as_ref(), [0x45, 1, 2]);
        let second = other.next_packet().unwrap().unwrap();
        assert_eq!(second.timestamp.as_secs(), u64::from(u32::MAX));
        assert!(other.next_packet().is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(packets in proptest::collection::vec(
            (any::<u32>(), 0_u32..1_000_000_000, proptest::collection::vec(any::<u8>(), 0..99)), 0..9,
        )) {
            let mut writer = PcapWriter::new(Vec::new()).unwrap();
            let mut expected = Vec::new();
            for (secs, nanos, mut data) in packets {
                data.insert(0, 0x45);
                let time = Duration::new(secs.into(), nanos);
                writer.write(time, &data).unwrap();
                expected.push((Record { time, cut: 0 }, data));
            }
            prop_assert_eq!(read_all(&writer.into_inner()).unwrap(), (expected, 0));
        }

        #[test]
        fn hostile_bytes_never_panic(
            data in proptest::collection::vec(any::<u8>(), 0..300), link in 0_u32..3, swap: bool,
        ) {
            let mut file = capture(swap, false, [LINK_RAW, LINK_ETHERNET, LINK_IPV6][link as usize], &[]);
            file.extend(data);
            let _ = read_all(&file);
        }
    }
}
