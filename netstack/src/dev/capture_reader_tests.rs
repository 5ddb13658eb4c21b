use super::*;
use crate::dev::pcap::PcapWriter;
use crate::dev::pcapng::{NewPacket, PcapngWriter, Run};

type Read = Vec<(Captured, Vec<u8>, Vec<String>)>;

fn read_until_error(file: &[u8]) -> (Read, Option<CaptureError>) {
    let mut reader = match CaptureReader::new(file) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut packet = Packet::max_sized();
    let mut all = Vec::new();
    loop {
        match reader.read(&mut packet) {
            Ok(None) => return (all, None),
            Err(error) => return (all, Some(error)),
            Ok(Some(captured)) => {
                let comments = reader.comments().map(str::to_owned).collect();
                all.push((captured, packet.data().to_vec(), comments));
            }
        }
    }
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

fn interface(link: u8) -> Vec<u8> {
    // With the name `eth`.
    block(1, &[link, 0, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, b'e', b't', b'h', 0])
}

/// A packet of four or eight bytes.
fn packet(interface: u8, data: &[u8]) -> Vec<u8> {
    let len = [data.len() as u8, 0, 0, 0];
    block(6, &[&[interface, 0, 0, 0][..], &[0; 8], &len, &len, data].concat())
}

fn section() -> Vec<u8> {
    PcapngWriter::new(Vec::new(), &Section::default()).unwrap().into_inner()
}

#[test]
fn either_format_is_told_by_its_first_bytes() {
    let mut classic = PcapWriter::new(Vec::new()).unwrap();
    classic.write(Duration::from_secs(3), &[0x45, 1]).unwrap();
    let (all, error) = read_until_error(&classic.into_inner());
    assert!(error.is_none());
    assert_eq!((all[0].0.time, all[0].1.as_slice()), (Duration::from_secs(3), &[0x45, 1][..]));

    let run = Run { seed: 5, config: String::new() };
    let section = Section { comments: vec![run.comment()], ..Section::default() };
    let mut newer = PcapngWriter::new(Vec::new(), &section).unwrap();
    newer.interface("client", 0).unwrap();
    newer.interface("web1", 1).unwrap();
    newer.tls_key_log(b"CLIENT_RANDOM 0 1\n").unwrap();
    let data = [0x45, 1, 2];
    let with = NewPacket {
        packet_id: Some(9),
        direction: Some(Direction::Outbound),
        dropped: Some(2),
        comments: &["one", "two"],
        ..NewPacket::new(1, Duration::from_secs(4), &data)
    };
    newer.packet(&with).unwrap();
    newer.packet(&NewPacket::new(0, Duration::from_secs(5), &data)).unwrap();
    let file = newer.into_inner();
    let mut reader = CaptureReader::new(file.as_slice()).unwrap();
    let mut packet = Packet::with_capacity(0);
    let first = reader.read(&mut packet).unwrap().unwrap();
    let expected = Captured {
        time: Duration::from_secs(4),
        cut: 2,
        interface: 1,
        direction: Some(Direction::Outbound),
        packet_id: Some(9),
        dropped: Some(2),
    };
    assert_eq!((first, packet.data()), (expected, &[0x45][..]));
    assert_eq!(reader.interface_name(1), "web1");
    assert_eq!(reader.section().run(), Some(run));
    assert_eq!(reader.take_secrets(), b"CLIENT_RANDOM 0 1\n");
    assert_eq!(reader.comments().collect::<Vec<_>>(), ["one", "two"]);
    let second = reader.read(&mut packet).unwrap().unwrap();
    assert_eq!((second.cut, second.packet_id, packet.data()), (0, None, &data[..]));
    assert_eq!(reader.comments().count(), 0);
    assert_eq!(reader.read(&mut packet).unwrap(), None);
    assert_eq!(reader.packets(), 2);
}

#[test]
fn interfaces_of_several_link_types_stand_in_one_file() {
    let file = [
        section(),
        interface(101),
        interface(0),
        packet(0, &[0x45, 1, 2, 3]),
        packet(1, &[2, 0, 0, 0, 0x45, 4, 5, 6]),
        packet(1, &[7, 0, 0, 0, 0x45, 4, 5, 6]),
    ];
    let file = file.concat();
    let (all, error) = read_until_error(&file);
    assert!(error.is_none());
    assert_eq!(all[0].1, [0x45, 1, 2, 3]);
    assert_eq!(all[1].1, [0x45, 4, 5, 6]);
    assert_eq!(all.len(), 2);
}

#[test]
fn an_unknown_link_type_is_refused_when_a_packet_has_it() {
    let mut file = [section(), interface(147), interface(101)].concat();
    file.extend(packet(1, &[0x45, 1, 2, 3]));
    assert!(read_until_error(&file).1.is_none());
    file.extend(packet(0, &[0x45, 1, 2, 3]));
    let (all, error) = read_until_error(&file);
    assert_eq!(all.len(), 1);
    assert_eq!(
        error.unwrap().to_string(),
        "interface `eth` is of link type 147; those read are raw IP (101, 228, 229), Ethernet (1), \
         Linux cooked (113, 276) and loopback (0, 108), behind 1 packet"
    );
}

#[test]
fn a_broken_file_gives_what_came_before_and_says_how_far_it_was_read() {
    let mut file = [section(), interface(101), packet(0, &[0x45, 1, 2, 3])].concat();
    file.extend(packet(0, &[0x45, 1, 2, 3]));
    file.pop();
    let (all, error) = read_until_error(&file);
    assert_eq!(all.len(), 1);
    let error = error.unwrap();
    assert_eq!(error.to_string(), "the capture ends within a block, behind 1 packet");
    assert!(matches!(error.kind, CaptureErrorKind::Pcapng(PcapngError::Truncated)));
}

#[test]
fn what_is_no_capture_is_named() {
    let text = read_until_error(b"[service.web]\n").1.unwrap().to_string();
    assert_eq!(text, "neither pcap nor pcapng: the file begins with 5b736572");
    for short in [&b""[..], b"abc"] {
        let error = read_until_error(short).1.unwrap();
        assert!(matches!(error.kind, CaptureErrorKind::Pcap(PcapError::Truncated)));
    }
    let missing = CaptureReader::open(Path::new("/nonexistent/x.pcap")).unwrap_err();
    assert!(matches!(missing.kind, CaptureErrorKind::Open(_)));
}
