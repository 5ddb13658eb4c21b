//! The grammar: lines that stand for themselves, lines that are refused, and both directions at random.

mod random;

use super::*;
use crate::packet::{Checksum, Gso, GsoKind, Offload};
use crate::wire::{Headers, checksum};

fn packet(line: &str) -> Packet {
    super::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
}

/// Lines in their printed form.
const CANONICAL: [&str; 37] = [
    "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=1000 mss=1460 ttl=64",
    "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=0 win=64240 mss=1460 sackok ts=100/0 nop ws=7 ttl=64",
    "tcp [fd99::1]:40000 > [fd99::2]:443 S. seq=7 ack=1001 mss=1440 ttl=255",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 . seq=1 ack=1 nop nop sack=1000-2000,3000-4000 ttl=64",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 P. seq=1 ack=0 len=100 ttl=1 tos=0x2 ipid=54321 df",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 FRUEW seq=4294967295 urg=5 tcpres=9 opt=fe04abcd ttl=64 reserved",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 none seq=1 opt=02000000 ttl=64",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 . seq=1 ack=1 len=60000 ttl=64 gso=1448",
    "tcp [fd99::1]:1 > [fd99::2]:2 W. seq=1 ack=1 len=60000 ttl=64 gso=1428 ecn",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 . seq=1 ack=1 len=60000 ttl=64 gso=1448 csum=complete",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 . seq=1 ack=1 ttl=64 csum=partial",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 . seq=1 ack=1 ttl=64 csum=partial sum=0x1234",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 . seq=1 ack=1 ttl=64 csum=verified",
    "tcp 10.1.0.5:1 > 10.99.0.1:2 . seq=1 ack=1 ttl=64 csum=bad",
    "udp [fd99::1]:5000 > [fd99::2]:53 len=20 ttl=64",
    "udp 10.1.0.5:5000 > 10.99.0.1:53 len=20 ttl=64 ipopt=01010101",
    "udp 10.1.0.5:5000 > 10.99.0.1:53 ttl=64 csum=none",
    "udp 10.1.0.5:5000 > 10.99.0.1:53 len=4000 ttl=64 gso=1000",
    "udp 10.1.0.5:5000 > 10.99.0.1:53 udplen=1008 len=4000 ttl=64 gso=1000",
    "udp 10.1.0.5:5000 > 10.99.0.1:53 udplen=3008 len=1480 ttl=64 ipid=7 frag=0+",
    "udp 10.1.0.5 > 10.99.0.1 len=20 ttl=64 ipid=7 frag=1480",
    "tcp fd99::1 > fd99::2 len=16 ttl=64 ipid=70000 frag=1448+",
    "icmp fd99::1 > fd99::2 len=16 ttl=64 ipid=1 frag=1448",
    "udp [fd99::1]:1 > [fd99::2]:2 ttl=64 tos=0xff flow=0xfffff ext=0:010400000000 ext=60:010400000000",
    "icmp 10.1.0.5 > 10.99.0.1 echo id=7 seq=1 len=56 ttl=64",
    "icmp fd99::1 > fd99::2 reply id=7 seq=1 ttl=64",
    "icmp 10.0.0.9 > 10.99.0.250 unreachable code=port about=(udp 10.99.0.250:5000 > 10.2.0.11:53 ttl=64) ttl=64",
    "icmp 10.0.0.9 > 10.1.0.5 unreachable code=16 ttl=64",
    "icmp 10.0.0.9 > 10.1.0.5 too-big mtu=1400 about=(tcp 10.1.0.5:1 > 10.99.0.1:2 seq=9 len=1440 ttl=63 df) cut=28 ttl=64",
    "icmp fd99::9 > fd99::1 too-big mtu=1400 about=(tcp [fd99::1]:1 > [fd99::2]:2 P. seq=9 ack=1 len=1440 ttl=63) ttl=64",
    "icmp fd99::9 > fd99::1 unreachable code=no-route ttl=64",
    "icmp 10.0.0.9 > 10.1.0.5 ttl-exceeded about=(icmp 10.1.0.5 > 10.99.0.1 echo id=7 seq=1 ttl=1) ttl=64",
    "icmp fd99::9 > fd99::1 parameter-problem code=option pointer=42 ttl=64",
    "icmp 10.0.0.9 > 10.1.0.5 parameter-problem pointer=8 ttl=64",
    "icmp 10.0.0.9 > 10.1.0.5 redirect code=host gateway=10.0.0.7 ttl=64",
    "icmp 10.0.0.9 > 10.1.0.5 type=13 code=2 rest=0x70001 len=12 ttl=64",
    "ip 10.1.0.5 > 10.99.0.1 proto=47 len=64 ttl=64",
];

#[test]
fn a_printed_line_reads_back_as_itself() {
    for line in CANONICAL {
        let description = parse(line).unwrap_or_else(|e| panic!("{}", e.underline(line)));
        assert_eq!(description.to_string(), line, "words to line");
        let packet = description.build().unwrap();
        assert_eq!(Line::of(&packet).to_string(), line, "bytes to line");
        let again = super::packet(&Line::exact(&packet).to_string()).unwrap();
        assert_eq!(again.data(), packet.data(), "{line}");
        assert_eq!(again.offload, packet.offload, "{line}");
    }
}

#[test]
fn a_printed_line_is_a_packet_that_passes_the_check() {
    for line in CANONICAL {
        assert_eq!(Headers::parse(&packet(line)).err(), None, "{line}");
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    for (short, full) in [
        ("tcp 10.1.0.5:1 > 10.99.0.1:2 S", "tcp 10.1.0.5:1 > 10.99.0.1:2 S seq=0 ttl=64"),
        ("  udp  10.1.0.5:1\t>  10.99.0.1:2  ", "udp 10.1.0.5:1 > 10.99.0.1:2 ttl=64"),
        ("icmp fd99::1 > [fd99::2] echo", "icmp fd99::1 > fd99::2 echo id=0 seq=0 ttl=64"),
        (
            "icmp 10.0.0.9 > 10.1.0.5 unreachable",
            "icmp 10.0.0.9 > 10.1.0.5 unreachable code=port ttl=64",
        ),
        (
            "icmp fd99::9 > fd99::1 unreachable code=3",
            "icmp fd99::9 > fd99::1 unreachable code=address ttl=64",
        ),
        (
            "icmp 10.0.0.9 > 10.1.0.5 type=3 code=4 rest=1400",
            "icmp 10.0.0.9 > 10.1.0.5 too-big mtu=1400 ttl=64",
        ),
        (
            "tcp 10.1.0.5:1 > 10.99.0.1:2 . ts=0x10 ttl=0x20",
            "tcp 10.1.0.5:1 > 10.99.0.1:2 . seq=0 ack=0 ts=16/0 ttl=32",
        ),
        ("ip 10.1.0.5 > 10.99.0.1 proto=17 frag=8", "udp 10.1.0.5 > 10.99.0.1 ttl=64 frag=8"),
    ] {
        assert_eq!(Line::of(&packet(short)).to_string(), full);
    }
}

#[test]
fn payloads() {
    let payload = |words: &str| {
        let packet = packet(&format!("udp 10.1.0.5:1 > 10.99.0.1:2 {words}"));
        packet.data()[28..].to_vec()
    };
    assert_eq!(payload("len=28"), b"abcdefghijklmnopqrstuvwxyzab");
    assert_eq!(payload("data=00ffAB"), [0, 0xff, 0xab]);
    assert_eq!(payload(r#"data="GET / \"x\"\r\n\\ \x7f (""#), b"GET / \"x\"\r\n\\ \x7f (");
    assert_eq!(payload("data=\"é\""), "é".as_bytes());
    assert_eq!(payload("data=\"\""), b"");
    assert_eq!(payload("data=00 len=4"), [0, b'b', b'c', b'd']);
    let exact = |words: &str| {
        Line::exact(&packet(&format!("udp 10.1.0.5:1 > 10.99.0.1:2 {words}"))).to_string()
    };
    assert_eq!(
        exact(r#"data="a\r\nb" ttl=9"#),
        r#"udp 10.1.0.5:1 > 10.99.0.1:2 data="a\r\nb" ttl=9"#
    );
    assert_eq!(exact("data=00ff"), "udp 10.1.0.5:1 > 10.99.0.1:2 data=00ff ttl=64");
    assert_eq!(exact("data=616263"), "udp 10.1.0.5:1 > 10.99.0.1:2 len=3 ttl=64");
}

#[test]
fn bytes_are_where_the_words_say() {
    let p = packet("tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=1000 mss=1460 ttl=9 df csum=partial");
    assert_eq!(p.data()[..12], [0x45, 0, 0, 44, 0, 0, 0x40, 0, 9, 6, 0x5d, 0x63]);
    assert_eq!(
        p.data()[20..36],
        [0x9c, 0x40, 0, 80, 0, 0, 3, 232, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff]
    );
    assert_eq!(p.data()[40..], [2, 4, 5, 0xb4]);
    assert_eq!(p.offload.checksum, Checksum::Partial { start: 20, offset: 16 });
    let p = packet("tcp [fd99::1]:1 > [fd99::2]:2 . len=3000 gso=1400 ecn");
    let gso = Gso { kind: GsoKind::TcpV6, size: 1400, header_len: 60, ecn: true };
    assert_eq!(
        p.offload,
        Offload { checksum: Checksum::Partial { start: 40, offset: 16 }, gso: Some(gso) }
    );
    let p = packet(
        "icmp 10.0.0.9 > 10.1.0.5 too-big mtu=1400 about=(udp 10.1.0.5:1 > 10.99.0.1:2 len=1472) cut=28",
    );
    assert_eq!(p.data()[20..28], [3, 4, p.data()[22], p.data()[23], 0, 0, 5, 0x78]);
    assert_eq!(p.len(), 56);
    assert_eq!(p.data()[28..32], [0x45, 0, 5, 0xdc]);
}

#[test]
fn a_quote_is_whole_up_to_the_limit_of_its_family() {
    let len = |line: &str| packet(line).len();
    assert_eq!(
        len("icmp 10.0.0.9 > 10.1.0.5 unreachable about=(udp 10.1.0.5:1 > 10.99.0.1:2 len=9)"),
        65
    );
    assert_eq!(
        len("icmp 10.0.0.9 > 10.1.0.5 unreachable about=(udp 10.1.0.5:1 > 10.99.0.1:2 len=1472)"),
        576
    );
    assert_eq!(
        len("icmp fd99::9 > fd99::1 unreachable about=(udp [fd99::1]:1 > [fd99::2]:2 len=1400)"),
        1280
    );
}

#[test]
fn what_a_quote_hides_is_not_made_up() {
    // Both checksums of a quote are shown when they are wrong; a router may quote a stale one.
    for line in [
        "icmp 10.0.0.9 > 10.1.0.5 unreachable code=port about=(udp 10.1.0.5:1 > 10.99.0.1:2 len=4 ttl=64 csum=bad) ttl=64",
        "icmp 10.0.0.9 > 10.1.0.5 unreachable code=port about=(udp 10.1.0.5:1 > 10.99.0.1:2 len=4 ttl=64 ipsum=0x1234) ttl=64",
    ] {
        assert_eq!(Line::of(&packet(line)).to_string(), line);
    }
    // A quote that is no packet is a payload.
    let pattern = "icmp fd99::9 > fd99::1 unreachable code=port len=60 ttl=64";
    assert_eq!(Line::of(&packet(pattern)).to_string(), pattern);
    for data in ["", "45", "4500001c000000004011", "0000000000000000000000000000000000000000"] {
        let line = format!("icmp 10.0.0.9 > 10.1.0.5 unreachable data=\"\" data={data}")
            .replace(" data=\"\"", "");
        let p = packet(&line);
        let printed = Line::exact(&p).to_string();
        assert!(!printed.contains("about"), "{printed}");
        assert_eq!(packet(&printed).data(), p.data());
    }
}

#[test]
fn malformed_packets_are_shown_in_bytes_with_the_reason() {
    let mut p = packet("udp 10.1.0.5:1 > 10.99.0.1:2");
    p.data_mut()[2..4].copy_from_slice(&45u16.to_be_bytes());
    let line = "malformed ip-total-length len=28 \
                data=4500002d0000000040116569"
        .to_owned();
    let printed = Line::of(&p).to_string();
    assert!(printed.starts_with(&line[..50]), "{printed}");
    assert_eq!(packet(&printed).data(), p.data());

    let p = packet("tcp 10.1.0.5:1 > 10.99.0.1:2 S len=100 ipsum=1");
    let printed = Line::of(&p).to_string();
    assert!(
        printed.starts_with("malformed ip-checksum len=140 data=45") && printed.ends_with("...")
    );
    let message = super::packet(&printed).unwrap_err().message;
    assert_eq!(message, "these bytes were cut when they were printed");
    assert_eq!(packet(&Line::exact(&p).to_string()).data(), p.data());

    let mut p = packet("tcp 10.1.0.5:1 > 10.99.0.1:2 S gso=100 ecn");
    p.offload.checksum = Checksum::Partial { start: 24, offset: 16 };
    let printed = Line::of(&p).to_string();
    assert!(
        printed.starts_with("malformed checksum-offload len=40 csum=partial start=24 offset=16 gso=100 kind=tcp4 ecn data="),
        "{printed}"
    );
    let back = packet(&printed);
    assert_eq!(back.offload.checksum, p.offload.checksum);
    assert_eq!(Line::of(&Packet::from_ip(&[])).to_string(), "malformed truncated len=0");
}

#[test]
fn details_without_a_word_are_kept_by_the_exact_line() {
    // A byte behind the packet; a reserved bit of an IPv6 fragment header.
    let mut bytes = packet("udp 10.1.0.5:1 > 10.99.0.1:2").data().to_vec();
    bytes.push(0);
    let trailing = Packet::from_ip(&bytes);
    let mut reserved = packet("udp fd99::1 > fd99::2 frag=8 ipid=7 len=3");
    reserved.data_mut()[41] = 1;
    for p in [trailing, reserved] {
        let exact = Line::exact(&p).to_string();
        assert!(exact.starts_with("raw len="), "{exact}");
        assert_eq!(packet(&exact).data(), p.data());
        assert!(Line::of(&p).to_string().starts_with("udp "));
    }
}

/// Lines that are refused: the part that is wrong, and a part of the message.
const WRONG: &[(&str, &str, &str)] = &[
    ("", "", "empty line"),
    ("tcp", "tcp", "begins with protocol, source"),
    ("tpc 10.0.0.1:1 > 10.0.0.2:2", "tpc", "begins with tcp, udp"),
    ("tcp 10.0.0.1:1 10.0.0.2:2 S", "10.0.0.2:2", "lone >"),
    ("tcp 10.0.0.1:1 > fd99::1 S", "fd99::1", "two families"),
    ("tcp 10.0.0.1:1 > 10.0.0.2 S", "10.0.0.2", "no port"),
    ("tcp 10.0.0.1 > 10.0.0.2 S", "S", "ports"),
    ("udp 10.0.0.1 > 10.0.0.2", "udp", "ports are missing"),
    ("icmp 10.0.0.1:1 > 10.0.0.2:2 echo", "10.0.0.1:1", "no ports"),
    ("icmp 10.0.0.1 > 10.0.0.2", "icmp", "needs a kind"),
    ("icmp 10.0.0.1 > 10.0.0.2 ping", "ping", "echo, reply"),
    ("icmp fd99::1 > fd99::2 source-quench", "source-quench", "does not know"),
    ("ip 10.0.0.1 > 10.0.0.2", "ip", "proto=N"),
    ("tcp 10.0.0.1:65536 > 10.0.0.2:2 S", "65536", "0 to 65535"),
    ("tcp 10.0.0.1:+1 > 10.0.0.2:2 S", "+1", "0 to 65535"),
    ("tcp 10.0.0.256:1 > 10.0.0.2:2 S", "10.0.0.256", "an IPv4 or IPv6 address"),
    ("udp [fd99::1:5 > [fd99::2]:5", "[fd99::1:5", "]"),
    ("udp [fd99::1]5 > [fd99::2]:5", "[fd99::1]5", ":80"),
    ("udp [::ffff:10.0.0.1]:5 > [fd99::2]:5", "::ffff:10.0.0.1", "mapped"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2", "tcp", "needs flags"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S A", "A", "does not know A"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S F", "F", "second flags"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S seq=1 seq=2", "seq=2", "second time"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S ttl=256", "256", "0 to 255"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S seq=4294967296", "4294967296", "seq"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S sack=5", "5", "two numbers"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S sack=1-2,3-x", "x", "sack"),
    (
        "tcp 10.0.0.1:1 > 10.0.0.2:2 S sack=1-2,1-2,1-2,1-2,1-2",
        "1-2,1-2,1-2,1-2,1-2",
        "one to four",
    ),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S gso=0", "0", "no size"),
    ("tcp 10.0.0.1:1 > 10.0.0.2:2 S ecn", "ecn", "gso is missing"),
    ("icmp 10.0.0.1 > 10.0.0.2 echo gso=100", "gso=100", "does not know gso"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 data=123", "123", "even count"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 data=zz", "zz", "hexadecimal"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 data=\"abc", "\"", "not closed"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 data=\"a\\q\"", "\\q", "escapes"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 data=\"a\\x4é\"", "\\x", "two hexadecimal"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 data=0011 len=1", "1", "2 bytes"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 frag=9", "9", "multiple of 8"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 frag=65536", "65536", "0 to 65535"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 flow=1", "1", "IPv4"),
    ("udp [fd99::1]:1 > [fd99::2]:2 df", "df", "IPv6"),
    ("udp [fd99::1]:1 > [fd99::2]:2 ipid=5", "5", "only with frag"),
    ("udp [fd99::1]:1 > [fd99::2]:2 ext=60", "60", "PROTO:HEX"),
    ("udp 10.0.0.1:1 > 10.0.0.2:2 csum=wrong", "wrong", "complete, partial"),
    ("icmp 10.0.0.1 > 10.0.0.2 echo mtu=5", "mtu=5", "does not know mtu"),
    ("icmp 10.0.0.1 > 10.0.0.2 unreachable code=prt", "prt", "code"),
    ("icmp 10.0.0.1 > 10.0.0.2 unreachable cut=5", "5", "about is missing"),
    ("icmp 10.0.0.1 > 10.0.0.2 unreachable about=x", "x", "in parentheses"),
    ("icmp 10.0.0.1 > 10.0.0.2 unreachable about=()", "()", "in parentheses"),
    (
        "icmp 10.0.0.1 > 10.0.0.2 unreachable about=(udp 10.0.0.1:1 > 10.0.0.2:99999)",
        "99999",
        "a port",
    ),
    (
        "icmp 10.0.0.1 > 10.0.0.2 unreachable about=(udp [::1]:1 > [::2]:9)",
        "(udp [::1]:1 > [::2]:9)",
        "family",
    ),
    ("icmp 10.0.0.1 > 10.0.0.2 unreachable about=(", "(", "not closed"),
    ("icmp 10.0.0.1 > 10.0.0.2 unreachable )", ")", "closes nothing"),
    ("malformed", "malformed", "needs a reason"),
    ("malformed nonsense data=00", "nonsense", "no reason"),
    ("raw len=3 data=00", "raw", "as long as len"),
];

#[test]
fn errors_point_at_the_word() {
    for &(line, wrong, message) in WRONG {
        let error = parse(line).map(|d| d.to_string()).unwrap_err();
        assert_eq!(&line[error.span.clone()], wrong, "{}", error.underline(line));
        assert!(error.message.contains(message), "{}", error.underline(line));
    }
    let nested = "icmp 10.0.0.1 > 10.0.0.2 unreachable about=(icmp 10.0.0.1 > 10.0.0.2 unreachable about=(x))";
    assert!(parse(nested).unwrap_err().message.contains("without what it quotes"));
}

#[test]
fn limits_hold_at_the_exact_byte() {
    for (fits, fails, message) in [
        ("udp 10.0.0.1:1 > 10.0.0.2:2 len=65507", "udp 10.0.0.1:1 > 10.0.0.2:2 len=65508", "65535"),
        ("udp [::1]:1 > [::2]:2 len=65487", "udp [::1]:1 > [::2]:2 len=65488", "65535"),
        (
            "tcp 10.0.0.1:1 > 10.0.0.2:2 S sack=1-2,3-4,5-6,7-8 mss=1 nop nop",
            "tcp 10.0.0.1:1 > 10.0.0.2:2 S sack=1-2,3-4,5-6,7-8 mss=1 nop nop nop",
            "40 bytes of options",
        ),
        (
            "udp [::1]:1 > [::2]:2 ext=60:000000000000",
            "udp [::1]:1 > [::2]:2 ext=60:00000000000000",
            "extension header",
        ),
    ] {
        assert!(super::packet(fits).is_ok(), "{fits}");
        assert!(super::packet(fails).unwrap_err().message.contains(message), "{fails}");
    }
    let ip = "ip 10.0.0.1 > 10.0.0.2 proto=47 ipopt=";
    assert!(super::packet(&format!("{ip}{}", "01".repeat(40))).is_ok());
    assert!(super::packet(&format!("{ip}{}", "01".repeat(41))).is_err());
    let line = format!("udp 10.0.0.1:1 > 10.0.0.2:2{}", " ".repeat(MAX_LINE - 27));
    assert!(super::packet(&line).is_ok());
    assert!(super::packet(&format!("{line} ")).unwrap_err().message.contains("262144"));
    // The longest packet prints and reads back.
    let mut p = packet("udp 10.0.0.1:1 > 10.0.0.2:2 len=65507");
    p.data_mut()[28..].fill(0xff);
    assert_eq!(packet(&Line::exact(&p).to_string()).data(), p.data());
}

#[test]
fn an_error_is_underlined() {
    let line = "tcp 10.0.0.1:1 > 10.0.0.2:2 S ttl=300";
    let error = parse(line).unwrap_err();
    assert_eq!(
        error.underline(line),
        "tcp 10.0.0.1:1 > 10.0.0.2:2 S ttl=300\n                                  ^^^ ttl is a number from 0 to 255"
    );
    assert_eq!(error.to_string(), "ttl is a number from 0 to 255 (bytes 34 to 37)");
}
