use proptest::prelude::*;

use super::super::Version;
use super::*;

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn told_of(client: &str, service: &str) -> Ends {
    Ends { client: at(client), service: at(service) }
}

/// A binary header with this command and family, and this behind its length.
fn binary_of(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

/// The header of a connection from 10.1.0.5:4000 to 10.99.0.1:443, with these TLVs.
fn with_tlvs(tlvs: &[u8]) -> Vec<u8> {
    let ends = [10, 1, 0, 5, 10, 99, 0, 1, 0x0f, 0xa0, 1, 0xbb];
    binary_of(PROXY, TCP4, &[&ends, tlvs].concat())
}

/// A TLV with the checksum of the header that has it at its end.
fn checksum(before: &[u8], flip: u32) -> Vec<u8> {
    let header = with_tlvs(&[before, &[CRC32C, 0, 4, 0, 0, 0, 0]].concat());
    let sum = crc32c([&header[..]]) ^ flip;
    with_tlvs(&[before, &[CRC32C, 0, 4], &sum.to_be_bytes()].concat())
}

#[test]
fn lines_are_read_as_they_are_written() {
    for (line, ends) in [
        (
            "PROXY TCP4 10.1.0.5 10.99.0.1 4000 443\r\n",
            Some(told_of("10.1.0.5:4000", "10.99.0.1:443")),
        ),
        ("PROXY TCP6 fd01::5 fd99::1 65535 0\r\n", Some(told_of("[fd01::5]:65535", "[fd99::1]:0"))),
        ("PROXY TCP6 ::ffff:10.1.0.5 fd99::1 1 2\r\n", Some(told_of("10.1.0.5:1", "[fd99::1]:2"))),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff::1 what ever 9\r\n", None),
    ] {
        let found = parse(format!("{line}GET / HTTP/1.1\r\n").as_bytes());
        assert_eq!(found, Ok(Parsed::Header { len: line.len(), ends }), "{line}");
    }
}

#[test]
fn lines_of_any_other_form_are_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(92));
    for bad in [
        "PROXY TCP4 10.1.0.5 10.99.0.1 4000 443\n\r\n",
        "PROXY TCP4 10.1.0.5 10.99.0.1 4000 443\rx",
        "PROXY TCP4 10.1.0.5 10.99.0.1 4000\r\n",
        "PROXY TCP4 10.1.0.5 10.99.0.1 4000 443 \r\n",
        "PROXY TCP4  10.1.0.5 10.99.0.1 4000 443\r\n",
        "PROXY TCP4 10.1.0.5 10.99.0.1 04000 443\r\n",
        "PROXY TCP4 10.1.0.5 10.99.0.1 +4000 443\r\n",
        "PROXY TCP4 10.1.0.5 10.99.0.1 4000 65536\r\n",
        "PROXY TCP4 10.1.0.05 10.99.0.1 4000 443\r\n",
        "PROXY TCP4 fd01::5 10.99.0.1 4000 443\r\n",
        "PROXY TCP6 fd01::5 10.99.0.1 4000 443\r\n",
        "PROXY TCP6 fd01::5%1 fd99::1 4000 443\r\n",
        "PROXY UDP4 10.1.0.5 10.99.0.1 4000 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY  UNKNOWN\r\n",
        &long,
    ] {
        let found = parse(bad.as_bytes());
        assert!(matches!(found, Err(BadHeader::Malformed(_))), "{bad:?}: {found:?}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
    assert_eq!(longest.len(), LONGEST_LINE);
    assert_eq!(parse(longest.as_bytes()), Ok(Parsed::Header { len: LONGEST_LINE, ends: None }));
    for other in ["GET / HTTP/1.1\r\n", "proxy TCP4", "PROXYTCP4", "\r\n\r\n\0\r\nQUIT\r"] {
        assert_eq!(parse(other.as_bytes()), Err(BadHeader::NotOne), "{other:?}");
    }
}

#[test]
fn binary_headers_are_read_with_their_tlvs() {
    let ends = Some(told_of("10.1.0.5:4000", "10.99.0.1:443"));
    let authority = [2, 0, 5, b'a', b'.', b'l', b'a', b'b', 4, 0, 0];
    for header in [with_tlvs(&[]), with_tlvs(&authority), checksum(&authority, 0)] {
        let found = parse(&[&header[..], b"data"].concat());
        assert_eq!(found, Ok(Parsed::Header { len: header.len(), ends }), "{header:?}");
    }
    let six = Version::V2.header(at("[fd01::5]:1"), at("10.99.0.1:2"));
    let ends = Some(told_of("[fd01::5]:1", "10.99.0.1:2"));
    assert_eq!(parse(&six), Ok(Parsed::Header { len: 52, ends }));
    // What the sender does not know or say is no reason to refuse it.
    for (command, family) in [(LOCAL, UNSPEC), (LOCAL, 0x31), (PROXY, UNSPEC)] {
        let header = binary_of(command, family, &[0xff; 7]);
        assert_eq!(parse(&header), Ok(Parsed::Header { len: header.len(), ends: None }));
    }
}

#[test]
fn binary_headers_that_do_not_fit_are_refused() {
    let ends = &with_tlvs(&[])[FIXED..];
    let twice = [&[CRC32C, 0, 4, 0, 0, 0, 0][..]; 2].concat();
    for (why, header) in [
        ("version 1", binary_of(0x11, TCP4, ends)),
        ("another command", binary_of(0x22, TCP4, ends)),
        ("datagrams", binary_of(PROXY, 0x12, ends)),
        ("Unix sockets", binary_of(PROXY, 0x31, &[0; 216])),
        ("too short", binary_of(PROXY, TCP4, &ends[1..])),
        ("too short for IPv6", binary_of(PROXY, TCP6, ends)),
        ("too long", binary_of(PROXY, TCP4, &vec![0; PROXY_HEADER_BYTES - FIXED + 1])),
        ("a TLV without a length", with_tlvs(&[1, 0])),
        ("a TLV that is cut", with_tlvs(&[1, 0, 3, 0, 0])),
        ("a checksum of three bytes", with_tlvs(&[CRC32C, 0, 3, 0, 0, 0])),
        ("two checksums", with_tlvs(&twice)),
        ("a wrong checksum", checksum(&[], 1)),
    ] {
        let found = parse(&header);
        assert!(matches!(found, Err(BadHeader::Malformed(_))), "{why}: {found:?}");
    }
    let filled = [&[1, 15, 225][..], &[0; 4065]].concat();
    let longest = with_tlvs(&filled);
    assert_eq!(longest.len(), PROXY_HEADER_BYTES);
    assert!(matches!(parse(&longest), Ok(Parsed::Header { len: PROXY_HEADER_BYTES, .. })));
}

#[test]
fn what_is_missing_is_never_more_than_the_header_has() {
    let (client, service) = (at("10.1.0.5:4000"), at("[fd99::1]:443"));
    for header in [
        Version::V1.header(client, service),
        Version::V2.header(client, service),
        checksum(&[4, 0, 1, 0], 0),
        b"PROXY UNKNOWN\r\n".to_vec(),
        binary_of(LOCAL, UNSPEC, &[]),
    ] {
        for end in 0..header.len() {
            let found = parse(&header[..end]);
            let Ok(Parsed::Missing(count)) = found else { panic!("{found:?} of {end}") };
            assert!((1..=header.len() - end).contains(&count), "{count} more than {end}");
        }
        assert!(matches!(parse(&header), Ok(Parsed::Header { .. })));
    }
}

#[test]
fn a_header_is_taken_from_those_who_are_trusted_alone() {
    let prefix =
        |text: &str, len| Prefix::new(text.parse::<std::net::IpAddr>().unwrap().into(), len);
    let from = ProxyFrom::new(vec![prefix("10.0.0.0", 8).unwrap(), prefix("fd00::", 16).unwrap()]);
    for (peer, trusted) in [
        ("10.1.0.5:1", true),
        ("[::ffff:10.1.0.5]:1", true),
        ("11.1.0.5:1", false),
        ("[fd00::1]:1", true),
        ("[fd01::1]:1", false),
    ] {
        assert_eq!(from.has(at(peer)), trusted, "{peer}");
    }
    assert!(!ProxyFrom::default().has(at("10.1.0.5:1")));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        client in any::<(std::net::IpAddr, u16)>(),
        service in any::<(std::net::IpAddr, u16)>(),
        text: bool,
    ) {
        let (client, service) = (SocketAddr::from(client), SocketAddr::from(service));
        let version = if text { Version::V1 } else { Version::V2 };
        let header = version.header(client, service);
        let ends = Some(Ends::canonical(client, service));
        prop_assert_eq!(parse(&header), Ok(Parsed::Header { len: header.len(), ends }));
    }

    #[test]
    fn whatever_comes_there_is_an_answer(
        text: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
    ) {
        let line = b"PROXY TCP4 10.1.0.5 10.99.0.1 4000 443\r\n".to_vec();
        let mut bytes = if text { line } else { checksum(&[4, 0, 1, 0], 0) };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let early = parse(&bytes[..end.index(bytes.len())]);
        if !matches!(early, Ok(Parsed::Missing(_))) {
            prop_assert_eq!(early, parse(&bytes));
        }
    }
}
