//! Words, lines and packets at random, in both directions.

use proptest::prelude::*;

use super::*;

fn addresses() -> impl Strategy<Value = (Address, Address)> {
    let v4 = any::<[u8; 4]>().prop_map(Address::from_v4);
    let v6 = any::<[u8; 15]>().prop_map(|tail| {
        let mut octets = [0xfd; 16];
        octets[1..].copy_from_slice(&tail);
        Address::from_v6(octets)
    });
    prop_oneof![(v4.clone(), v4), (v6.clone(), v6)]
}

fn options() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("02040514"),
        Just("030307"),
        Just("0402"),
        Just("01"),
        Just("00"),
        Just("050a0000000100000002"),
        Just("080a0000000100000000"),
        Just("fe03aa"),
        Just("0203"),
        Just("ff"),
    ];
    proptest::collection::vec(word, 0..5).prop_map(|words| {
        let hex = words.concat();
        let bytes: Vec<_> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();
        build::padded(&bytes[..bytes.len().min(40)])
    })
}

fn body() -> impl Strategy<Value = Body> {
    let tcp = (any::<(u16, u16, u8, u32, u32, u16, u16)>(), 0..16u8, options()).prop_map(
        |((src_port, dst_port, flags, seq, ack, window, urgent), reserved, options)| {
            let flags = TcpFlags(flags);
            Body::Tcp(TcpSpec {
                src_port,
                dst_port,
                flags,
                seq,
                ack,
                window,
                urgent,
                reserved,
                options,
            })
        },
    );
    let udp = any::<(u16, u16)>().prop_map(|(src_port, dst_port)| Body::Udp {
        src_port,
        dst_port,
        length: None,
    });
    let icmp = any::<(u8, u8, u32)>()
        .prop_map(|(kind, code, rest)| Body::Icmp(IcmpSpec { kind, code, rest, about: None }));
    let raw = proptest::sample::select(vec![2, 47, 50, 51, 132])
        .prop_map(|protocol| Body::Raw { protocol });
    prop_oneof![4 => tcp, 2 => udp, 3 => icmp, 1 => raw]
}

fn payload() -> impl Strategy<Value = Payload> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let text = "[ -~\n\t\"\\\\]{0,40}".prop_map(String::into_bytes);
    let pattern = (0..2000usize).prop_map(Payload::pattern);
    let data = (prop_oneof![bytes, text], 0..3usize)
        .prop_map(|(bytes, more)| Payload { len: bytes.len() + more, bytes });
    prop_oneof![pattern, data]
}

fn spec() -> impl Strategy<Value = PacketSpec> {
    let ip = (any::<(u8, u8, u16, bool, bool)>(), 0..0x10_0000u32, 0..3usize, 0..3usize);
    let checksum =
        (proptest::sample::select(ChecksumSpec::ALL.to_vec()), proptest::option::of(any::<u16>()));
    (
        addresses(),
        body(),
        payload(),
        ip,
        checksum,
        proptest::option::of((1..2000u16, any::<bool>())),
    )
        .prop_map(
            |(
                (src, dst),
                body,
                payload,
                (ip, flow_label, options, extensions),
                (checksum, sum),
                gso,
            )| {
                let (ttl, tos, id, df, reserved) = ip;
                let mut spec = PacketSpec {
                    src,
                    dst,
                    ip: IpSpec::default(),
                    body,
                    payload,
                    checksum,
                    sum,
                    gso: None,
                };
                spec.ip = IpSpec { ttl, tos, ..IpSpec::default() };
                if src.is_v4() {
                    spec.ip = IpSpec {
                        id: id.into(),
                        df,
                        reserved,
                        options: vec![1; options * 4],
                        ..spec.ip
                    };
                } else {
                    let extension = Extension { protocol: 60, body: vec![0; 6] };
                    spec.ip =
                        IpSpec { flow_label, extensions: vec![extension; extensions], ..spec.ip };
                }
                if matches!(spec.body, Body::Tcp(_) | Body::Udp { .. }) {
                    spec.gso = gso.map(|(size, ecn)| GsoSpec { size, ecn });
                }
                spec
            },
        )
}

/// An error of some kind about the packet.
fn error_about(packet: PacketSpec, kind: usize, cut: usize) -> PacketSpec {
    let v4 = packet.src.is_v4();
    let kind = if v4 { [3, 4, 5, 11, 12][kind % 5] } else { [1, 2, 3, 4, 77][kind % 5] };
    let len = packet.ip_bytes().unwrap().len();
    let (src, dst) = (packet.dst, packet.src);
    let quote = Quote { packet: PacketSpec { gso: None, ..packet }, len: len.saturating_sub(cut) };
    let icmp = IcmpSpec { kind, code: 0, rest: 0, about: Some(Box::new(quote)) };
    PacketSpec {
        src,
        dst,
        ip: IpSpec::default(),
        body: Body::Icmp(icmp),
        payload: Payload::default(),
        checksum: ChecksumSpec::Complete,
        sum: None,
        gso: None,
    }
}

proptest! {
    #[test]
    fn words_survive_line_and_packet(spec in spec(), about in proptest::option::of((0..5usize, 0..200usize))) {
        let spec = match about {
            Some((kind, cut)) => error_about(spec, kind, cut),
            None => spec,
        };
        // Words, line, words.
        let line = spec.to_string();
        let read = match parse(&line) {
            Ok(Description::Packet(read)) => *read,
            other => panic!("{line}: {other:?}"),
        };
        prop_assert_eq!(read.to_string(), line);
        let packet = spec.build().unwrap();
        let again = read.build().unwrap();
        prop_assert_eq!(again.data(), packet.data());
        prop_assert_eq!(again.offload, packet.offload);
        // Packet, exact line, packet.
        let exact = Line::exact(&packet).to_string();
        let back = super::super::packet(&exact).unwrap();
        prop_assert_eq!(back.data(), packet.data(), "{}", exact);
        prop_assert_eq!(back.offload.checksum, packet.offload.checksum, "{}", exact);
        // Packet, short line, packet of the same shape.
        let short = Line::of(&packet).to_string();
        if Headers::parse(&packet).is_ok() {
            let like = super::super::packet(&short).unwrap();
            prop_assert_eq!(like.len(), packet.len(), "{}", short);
            prop_assert_eq!(Line::of(&like).to_string(), short);
        }
    }

    #[test]
    fn checksums_are_right_unless_asked_otherwise(mut spec in spec()) {
        (spec.checksum, spec.sum, spec.gso) = (ChecksumSpec::Complete, None, None);
        let packet = spec.build().unwrap();
        let headers = Headers::parse(&packet).unwrap();
        let sums = !matches!(spec.body, Body::Raw { .. });
        prop_assert!(!sums || checksum::verify_transport(&packet, &headers));
        spec.checksum = ChecksumSpec::Bad;
        prop_assert!(!sums || !checksum::verify_transport(&spec.build().unwrap(), &headers));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}") {
        let _ = super::super::packet(&text);
    }

    #[test]
    fn no_mutated_line_panics(
        line in proptest::sample::select(CANONICAL.to_vec()),
        at in any::<prop::sample::Index>(),
        len in 0..4usize,
        new in "[ -~é]{0,3}",
    ) {
        let mut chars: Vec<char> = line.chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..(at + len).min(chars.len()), new.chars());
        let text: String = chars.into_iter().collect();
        match parse(&text) {
            Err(error) => prop_assert!(text.get(error.span.clone()).is_some(), "{}", error.underline(&text)),
            Ok(description) => {
                let packet = description.build().unwrap();
                let again = super::super::packet(&Line::exact(&packet).to_string()).unwrap();
                prop_assert_eq!(again.data(), packet.data());
            }
        }
    }
}
