mod random;

use std::process::{Command, Stdio};

use super::*;
use pcap_file::pcapng::Block as Other;

/// A capture by hand, in either byte order.
struct ByHand {
    big_endian: bool,
    file: Vec<u8>,
}

impl ByHand {
    fn new(big_endian: bool) -> Self {
        let mut file = Self { big_endian, file: Vec::new() };
        file.section();
        file
    }

    fn section(&mut self) {
        let body = [self.word(BYTE_ORDER).to_vec(), self.half(1), self.half(0), vec![0xff; 8]];
        self.block(SECTION, &body.concat());
    }

    fn word(&self, v: u32) -> [u8; 4] {
        if self.big_endian { v.to_be_bytes() } else { v.to_le_bytes() }
    }

    fn half(&self, v: u16) -> Vec<u8> {
        if self.big_endian { v.to_be_bytes() } else { v.to_le_bytes() }.to_vec()
    }

    fn long(&self, v: u64) -> [u8; 8] {
        if self.big_endian { v.to_be_bytes() } else { v.to_le_bytes() }
    }

    fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut option = [self.half(code), self.half(value.len() as u16), value.to_vec()].concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let len = self.word(body.len() as u32 + BLOCK_FRAME);
        self.file.extend([&self.word(kind)[..], &len, body, &len].concat());
    }

    fn interface(&mut self, link: u16, snaplen: u32, options: &[Vec<u8>]) {
        let body = [self.half(link), self.half(0), self.word(snaplen).to_vec(), options.concat()];
        self.block(INTERFACE, &body.concat());
    }

    fn packet(&mut self, interface: u32, ticks: u64, data: &[u8], options: &[Vec<u8>]) {
        let len = data.len() as u32;
        let words = [interface, (ticks >> 32) as u32, ticks as u32, len, len + 3];
        let mut body = words.map(|w| self.word(w)).concat();
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options.concat());
        self.block(ENHANCED_PACKET, &body);
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Section(Section),
    Interface(Interface),
    Packet(PacketSeen),
    Secrets(u32, Vec<u8>),
    Statistics(Statistics),
    Skipped(u32),
}

#[derive(Clone, Debug, PartialEq)]
struct PacketSeen {
    interface: u32,
    time: Option<Duration>,
    data: Vec<u8>,
    original_len: u32,
    direction: Option<Direction>,
    packet_id: Option<u64>,
    dropped: Option<u64>,
    comments: Vec<String>,
}

fn read_until_error(file: &[u8]) -> (Vec<Seen>, Option<PcapngError>) {
    let mut reader = PcapngReader::new(file);
    let mut seen = Vec::new();
    loop {
        let interfaces = reader.interfaces().to_vec();
        let next = match reader.read() {
            Ok(None) => return (seen, None),
            Err(error) => return (seen, Some(error)),
            Ok(Some(Block::Interface(id))) => Seen::Interface({
                assert_eq!(id as usize, interfaces.len());
                reader.interfaces()[id as usize].clone()
            }),
            Ok(Some(Block::Section(section))) => Seen::Section(section),
            Ok(Some(Block::Secrets { kind, data })) => Seen::Secrets(kind, data.to_vec()),
            Ok(Some(Block::Statistics(statistics))) => Seen::Statistics(statistics),
            Ok(Some(Block::Skipped { kind })) => Seen::Skipped(kind),
            Ok(Some(Block::Packet(packet))) => Seen::Packet(PacketSeen {
                interface: packet.interface,
                time: packet.time,
                data: packet.data.to_vec(),
                original_len: packet.original_len,
                direction: packet.direction,
                packet_id: packet.packet_id,
                dropped: packet.dropped,
                comments: packet.comments.map(str::to_owned).collect(),
            }),
        };
        seen.push(next);
    }
}

fn read_all(file: &[u8]) -> Vec<Seen> {
    let (seen, error) = read_until_error(file);
    assert!(error.is_none(), "{error:?}");
    seen
}

fn packets(file: &[u8]) -> Vec<PacketSeen> {
    let packet = |seen| if let Seen::Packet(packet) = seen { Some(packet) } else { None };
    read_all(file).into_iter().filter_map(packet).collect()
}

/// A file of everything that is written.
fn everything() -> Vec<u8> {
    let run = Run { seed: 0x9f3c, config: "sha256:00ff".into() };
    let section = Section {
        hardware: Some("x86_64".into()),
        os: Some("Linux 6.12".into()),
        application: Some("balun 0.1.0".into()),
        comments: vec![run.comment(), "by hand".into()],
    };
    let mut writer = PcapngWriter::new(Vec::new(), &section).unwrap();
    let client = writer.interface("client", 0).unwrap();
    let backend = writer.interface("web1", 40).unwrap();
    writer.tls_key_log(b"CLIENT_RANDOM 00 11\n").unwrap();
    let packet = crate::wire::text::packet("tcp 10.1.0.5:40000 > 10.99.0.1:80 S len=9").unwrap();
    let time = Duration::new(1_700_000_000, 123_456_789);
    for (interface, direction) in [(client, Direction::Inbound), (backend, Direction::Outbound)] {
        let new = NewPacket {
            direction: Some(direction),
            packet_id: Some(u64::MAX - 1),
            dropped: Some(3),
            comments: &["forward web/web1", "flow 7f1a"],
            ..NewPacket::new(interface, time, packet.data())
        };
        writer.packet(&new).unwrap();
    }
    let statistics = Statistics {
        interface: backend,
        time,
        received: Some(9),
        accepted: Some(8),
        dropped: Some(3),
        written: Some(5),
    };
    writer.statistics(&statistics).unwrap();
    let written = writer.written() as usize;
    let file = writer.into_inner();
    assert_eq!(file.len(), written);
    file
}

#[test]
fn times_are_read_in_any_unit() {
    let clock = |resolution, offset| Clock { resolution, offset };
    for (clock, ticks, time) in [
        (Clock::MICROS, 1_500_000, Duration::from_millis(1500)),
        (Clock::NANOS, u64::MAX, Duration::from_nanos(u64::MAX)),
        (clock(0, 0), 7, Duration::from_secs(7)),
        (clock(0x80, 0), 7, Duration::from_secs(7)),
        (clock(0x8a, 0), 1536, Duration::from_millis(1500)),
        (clock(12, 0), 1_999_999_999_999, Duration::new(1, 999_999_999)),
        (clock(6, 1_000), 1, Duration::new(1000, 1000)),
        (clock(0, -3), 5, Duration::from_secs(2)),
        (clock(0, -3), 2, Duration::ZERO),
        (clock(0, i64::MAX), u64::MAX, Duration::MAX),
        (clock(38, 0), u64::MAX, Duration::ZERO),
        (clock(127, 4), u64::MAX, Duration::from_secs(4)),
        (clock(0xff, -1), u64::MAX, Duration::ZERO),
    ] {
        assert_eq!(clock.time(ticks), time, "{clock:?} {ticks}");
    }
}

#[test]
fn both_byte_orders_are_read_and_each_section_has_its_own() {
    let mut first = ByHand::new(true);
    first.interface(1, 0, &[]);
    first.interface(
        101,
        64,
        &[
            first.option(option::INTERFACE_NAME, b"web1\0"),
            first.option(option::INTERFACE_RESOLUTION, &[3]),
            first.option(option::INTERFACE_OFFSET, &first.long(10)),
        ],
    );
    let options = [
        first.option(option::COMMENT, b"drop no-service"),
        first.option(option::PACKET_FLAGS, &first.word(0xffff_fffd)),
        first.option(option::PACKET_ID, &first.long(77)),
        first.option(option::COMMENT, &[0xff]),
        first.option(option::COMMENT, b"twice"),
        first.option(option::END, &[]),
        first.option(option::COMMENT, b"behind the end"),
    ];
    first.packet(1, 2_500, &[0x45, 1, 2], &options);
    let mut second = ByHand::new(false);
    second.interface(101, 0, &[]);
    second.packet(0, 1, &[0x45], &[]);
    let file = [first.file, second.file].concat();
    let seen = packets(&file);
    assert_eq!(seen[0].time, Some(Duration::from_millis(12_500)));
    assert_eq!((seen[0].interface, seen[0].original_len), (1, 6));
    assert_eq!((seen[0].direction, seen[0].packet_id), (Some(Direction::Inbound), Some(77)));
    assert_eq!(seen[0].comments, ["drop no-service", "twice"]);
    assert_eq!(seen[1].time, Some(Duration::from_micros(1)));
    assert!(matches!(&read_all(&file)[2], Seen::Interface(i) if i.name == "web1"));
}

#[test]
fn simple_and_obsolete_packets_are_read() {
    let mut file = ByHand::new(false);
    file.interface(101, 4, &[]);
    let (len, data) = (file.word(9), [0x45, 1, 2, 3]);
    file.block(SIMPLE_PACKET, &[&len[..], &data].concat());
    let head = [file.half(0), file.half(5), file.word(0).to_vec(), file.word(7).to_vec()].concat();
    let lens = [file.word(3), file.word(3)].concat();
    file.block(OBSOLETE_PACKET, &[&head[..], &lens, &[0x45, 8, 9, 0]].concat());
    let seen = packets(&file.file);
    assert_eq!((seen[0].time, seen[0].original_len), (None, 9));
    assert_eq!(seen[0].data, data);
    assert_eq!((seen[1].time, seen[1].dropped), (Some(Duration::from_micros(7)), Some(5)));
    assert_eq!(seen[1].data, [0x45, 8, 9]);
}

#[test]
fn unknown_blocks_are_passed_over_at_any_length() {
    let mut file = ByHand::new(true);
    file.block(0x0bad, &vec![7; MAX_BLOCK_LEN as usize]);
    file.block(4, &[0; 8]);
    file.interface(101, 0, &[]);
    let seen = read_all(&file.file);
    assert_eq!(seen[1..3], [Seen::Skipped(0x0bad), Seen::Skipped(4)]);
    assert!(matches!(seen[3], Seen::Interface(_)));
}

#[test]
fn a_lying_length_is_refused_before_it_is_read() {
    let with = |kind: u32, len: u32| {
        let mut file = ByHand::new(false).file;
        file.extend([kind.to_le_bytes(), len.to_le_bytes()].concat());
        read_until_error(&file).1.unwrap()
    };
    assert!(matches!(with(ENHANCED_PACKET, MAX_BLOCK_LEN), PcapngError::Truncated));
    let over = with(ENHANCED_PACKET, MAX_BLOCK_LEN + 4);
    assert!(matches!(over, PcapngError::BlockTooLong { kind: ENHANCED_PACKET, .. }));
    assert!(matches!(with(SECRETS, u32::MAX - 3), PcapngError::BlockTooLong { .. }));
    assert!(matches!(with(0x0bad, u32::MAX - 3), PcapngError::Truncated));
    for len in [0, 8, 11, 13, u32::MAX] {
        let error = with(0x0bad, len);
        assert!(matches!(error, PcapngError::BlockLength { .. }), "{len} {error}");
    }
}

#[test]
fn a_block_that_contradicts_itself_is_refused() {
    let error = |body: &dyn Fn(&mut ByHand)| {
        let mut file = ByHand::new(false);
        body(&mut file);
        read_until_error(&file.file).1.unwrap()
    };
    let different = error(&|file| {
        file.interface(101, 0, &[]);
        let last = file.file.len() - 4;
        file.file[last] += 4;
    });
    assert!(matches!(different, PcapngError::BlockLength { kind: INTERFACE, .. }));
    let beyond = error(&|file| {
        file.interface(101, 0, &[]);
        let body = [0, 0, 0, 5, 5].map(|w: u32| w.to_le_bytes()).concat();
        file.block(ENHANCED_PACKET, &[&body[..], &[0x45, 0, 0, 0]].concat());
    });
    assert!(matches!(beyond, PcapngError::BlockLength { kind: ENHANCED_PACKET, .. }));
    let unnamed = error(&|file| file.packet(0, 0, &[0x45], &[]));
    assert!(matches!(unnamed, PcapngError::NoInterface { interface: 0 }));
    let forgotten = error(&|file| {
        file.interface(101, 0, &[]);
        file.section();
        file.packet(0, 0, &[0x45], &[]);
    });
    assert!(matches!(forgotten, PcapngError::NoInterface { interface: 0 }));
    let version = error(&|file| file.file[12] = 2);
    assert!(matches!(version, PcapngError::Version { major: 2 }));
    let order = error(&|file| file.file[8] = 0);
    assert!(matches!(order, PcapngError::ByteOrder { .. }));
    let other = read_until_error(b"[service.web]\n").1.unwrap();
    assert!(matches!(other, PcapngError::NotPcapng { .. }));
}

#[test]
fn interfaces_have_a_limit() {
    let mut file = ByHand::new(false);
    for _ in 0..MAX_INTERFACES {
        file.interface(101, 0, &[]);
    }
    assert_eq!(read_all(&file.file).len(), MAX_INTERFACES + 1);
    file.interface(101, 0, &[]);
    let (seen, error) = read_until_error(&file.file);
    assert_eq!(seen.len(), MAX_INTERFACES + 1);
    assert!(matches!(error, Some(PcapngError::TooManyInterfaces)));
}

#[test]
fn a_file_cut_anywhere_gives_what_came_before() {
    let file = everything();
    let whole = read_all(&file);
    let mut ends = 0;
    for cut in 0..file.len() {
        match read_until_error(&file[..cut]) {
            (seen, None) => {
                ends += 1;
                assert_eq!(seen, whole[..ends]);
            }
            (seen, Some(error)) => {
                assert!(matches!(error, PcapngError::Truncated), "cut at {cut}: {error}");
                assert_eq!(seen, whole[..ends]);
            }
        }
    }
    assert_eq!(ends + 1, whole.len());
}

#[test]
fn what_exceeds_a_limit_of_the_writer_is_cut_off() {
    let mut writer = PcapngWriter::new(Vec::new(), &Section::default()).unwrap();
    let all = writer.interface(&"n".repeat(MAX_TEXT + 1), 0).unwrap();
    let some = writer.interface("some", 20).unwrap();
    let data = vec![0x45; MAX_CAPTURED + 1];
    // The last letter is of two bytes, of which one would fit.
    let long = format!("{}é", "x".repeat(MAX_TEXT - 1));
    let comments = vec![long.as_str(); MAX_COMMENTS + 1];
    for interface in [all, some] {
        let new =
            NewPacket { comments: &comments, ..NewPacket::new(interface, Duration::MAX, &data) };
        writer.packet(&new).unwrap();
    }
    let wrong = writer.packet(&NewPacket::new(2, Duration::ZERO, &[])).unwrap_err();
    assert_eq!(wrong.kind(), io::ErrorKind::InvalidInput);
    let seen = packets(&writer.into_inner());
    assert_eq!((seen[0].data.len(), seen[1].data.len()), (MAX_CAPTURED, 20));
    assert_eq!(seen[1].original_len as usize, MAX_CAPTURED + 1);
    assert_eq!(seen[0].comments, vec!["x".repeat(MAX_TEXT - 1); MAX_COMMENTS]);
    assert_eq!(seen[0].time, Some(Duration::from_nanos(u64::MAX)));
}

#[test]
fn a_long_key_log_becomes_blocks_cut_at_the_ends_of_lines() {
    let line = format!("CLIENT_RANDOM {}\n", "0".repeat(50));
    let log = line.repeat(MAX_SECRETS / line.len() + 2);
    let mut writer = PcapngWriter::new(Vec::new(), &Section::default()).unwrap();
    writer.tls_key_log(log.as_bytes()).unwrap();
    let endless = writer.tls_key_log(&vec![b'x'; MAX_SECRETS + 1]).unwrap_err();
    assert_eq!(endless.kind(), io::ErrorKind::InvalidInput);
    let mut read: Vec<u8> = Vec::new();
    for seen in &read_all(&writer.into_inner())[1..] {
        let Seen::Secrets(TLS_KEY_LOG, data) = seen else { panic!("{seen:?}") };
        assert_eq!(data.len() % line.len(), 0);
        read.extend(data);
    }
    assert_eq!(read, log.as_bytes());
}

#[test]
fn a_run_is_found_again_among_the_comments() {
    let Seen::Section(section) = read_all(&everything()).remove(0) else { panic!() };
    let run = section.run().unwrap();
    assert_eq!((run.seed, run.config.as_str()), (0x9f3c, "sha256:00ff"));
    let start = Duration::new(1_700_000_000, 5);
    let comments = vec![run.comment_from(start)];
    let section = Section { comments, ..Section::default() };
    assert_eq!((section.run(), section.start()), (Some(run), Some(start)));
    let comments = vec!["balun run seed=0x1 start=1.9999999999".to_owned()];
    assert_eq!(Section { comments, ..Section::default() }.start(), None);
    assert_eq!(Run::of_comment("balun run seed=0x1").unwrap().config, "");
    for other in ["by hand", "balun run", "balun run seed=7 config=x", "balun run config=x"] {
        assert_eq!(Run::of_comment(other), None, "{other}");
    }
}

/// The library pcap-file reads what is written, every option of it.
#[test]
fn others_read_what_we_write() {
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption as Said;
    let file = everything();
    let mut reader = pcap_file::pcapng::PcapNgReader::new(file.as_slice()).unwrap();
    let header = reader.section();
    assert_eq!(header.options.len(), 5);
    let mut packets = 0;
    let mut names = Vec::new();
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Other::InterfaceDescription(interface) => {
                assert_eq!(interface.linktype, pcap_file::DataLink::RAW);
                names.push(format!("{:?}", interface.options));
            }
            Other::EnhancedPacket(packet) => {
                packets += 1;
                assert_eq!(packet.original_len, 49);
                let said = |option| packet.options.contains(&option);
                assert!(said(Said::Comment("forward web/web1".into())));
                assert!(said(Said::Comment("flow 7f1a".into())));
                assert!(
                    packet
                        .options
                        .iter()
                        .any(|o| matches!(o, Said::Unknown(o) if o.code == 5 && o.length == 8))
                );
                assert!(said(Said::DropCount(3)));
                assert!(said(Said::Flags(packets)));
            }
            Other::InterfaceStatistics(statistics) => assert_eq!(statistics.interface_id, 1),
            _ => {}
        }
    }
    assert_eq!(packets, 2);
    assert!(names[0].contains("client") && names[1].contains("web1"), "{names:?}");
}

/// Wireshark reads what is written.
#[test]
fn wireshark_reads_what_we_write() {
    let fields = "frame.time_epoch frame.interface_name frame.packet_id frame.packet_flags_direction \
                  frame.comment tcp.dstport frame.len frame.cap_len";
    let Some(lines) = tshark(&everything(), fields) else { return };
    let common = "18446744073709551614";
    let said = "forward web/web1,flow 7f1a";
    assert_eq!(
        lines,
        [
            format!("1700000000.123456789|client|{common}|0x00000001|{said}|80|49|49"),
            format!("1700000000.123456789|web1|{common}|0x00000002|{said}|80|49|40"),
        ]
    );
}

/// The fields of each packet as tshark prints them; nothing if it is not installed.
#[expect(clippy::disallowed_methods, reason = "where a test runs decides whether it may skip")]
fn tshark(file: &[u8], fields: &str) -> Option<Vec<String>> {
    use std::io::Write;
    let mut command = Command::new("tshark");
    command.args(["-r", "-", "-n", "-T", "fields", "-E", "separator=|"]);
    command.args(fields.split_whitespace().flat_map(|field| ["-e", field]));
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        assert!(std::env::var_os("BALUN_REQUIRE_TUN").is_none(), "tshark is not installed");
        eprintln!("skipped: tshark is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(file).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
