//! What is written at random is read back, and what is broken does no harm.

use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::char::range('!', 'ſ'), 0..20)
        .prop_map(|chars| chars.into_iter().collect())
}

fn packet_seen() -> impl Strategy<Value = PacketSeen> {
    (
        (0_u32..3, any::<u64>(), proptest::collection::vec(any::<u8>(), 0..99), 0_u32..9),
        proptest::option::of(prop_oneof![Just(Direction::Inbound), Just(Direction::Outbound)]),
        (proptest::option::of(any::<u64>()), proptest::option::of(any::<u64>())),
        proptest::collection::vec(text(), 0..4),
    )
        .prop_map(
            |((interface, nanos, data, more), direction, (packet_id, dropped), comments)| {
                PacketSeen {
                    interface,
                    time: Some(Duration::from_nanos(nanos)),
                    original_len: data.len() as u32 + more,
                    data,
                    direction,
                    packet_id,
                    dropped,
                    comments,
                }
            },
        )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        names in proptest::array::uniform3(text()),
        words in proptest::array::uniform3(proptest::option::of(text())),
        comments in proptest::collection::vec(text(), 0..3),
        packets in proptest::collection::vec(packet_seen(), 0..9),
        secrets in proptest::collection::vec(any::<u8>(), 1..50),
        statistics in proptest::array::uniform5(any::<u64>()),
    ) {
        let [hardware, os, application] = words;
        let section = Section { hardware, os, application, comments };
        let mut writer = PcapngWriter::new(Vec::new(), &section).unwrap();
        let mut expected = vec![Seen::Section(section)];
        for name in names {
            writer.interface(&name, 0).unwrap();
            expected.push(Seen::Interface(Interface::raw(name, 0)));
        }
        writer.tls_key_log(&secrets).unwrap();
        expected.push(Seen::Secrets(TLS_KEY_LOG, secrets));
        for packet in packets {
            let comments: Vec<&str> = packet.comments.iter().map(String::as_str).collect();
            writer.packet(&NewPacket {
                interface: packet.interface,
                time: packet.time.unwrap(),
                data: &packet.data,
                original_len: packet.original_len,
                direction: packet.direction,
                packet_id: packet.packet_id,
                dropped: packet.dropped,
                comments: &comments,
            }).unwrap();
            expected.push(Seen::Packet(packet));
        }
        let [nanos, received, accepted, dropped, written] = statistics;
        let statistics = Statistics {
            interface: 2,
            time: Duration::from_nanos(nanos),
            received: Some(received),
            accepted: Some(accepted),
            dropped: Some(dropped),
            written: Some(written),
        };
        writer.statistics(&statistics).unwrap();
        expected.push(Seen::Statistics(statistics));
        prop_assert_eq!(read_all(&writer.into_inner()), expected);
    }

    #[test]
    fn a_broken_file_never_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..9),
        cut in any::<proptest::sample::Index>(),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut file = everything();
        file.truncate(cut.index(file.len()) + 1);
        file.extend(tail);
        for (at, value) in changes {
            let at = at.index(file.len());
            file[at] = value;
        }
        let _ = read_until_error(&file);
    }
}
