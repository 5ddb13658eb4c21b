use proptest::prelude::*;

use super::*;
use crate::Packet;
use crate::wire::text;

fn matches(filter: &str, line: &str) -> bool {
    let filter = Filter::parse(filter).unwrap_or_else(|e| panic!("{}", e.underline(filter)));
    let packet: Packet = text::packet(line).unwrap();
    filter.matches(packet.data(), Headers::parse(&packet).ok().as_ref())
}

fn underlined(filter: &str) -> String {
    Filter::parse(filter).unwrap_err().underline(filter)
}

const SYN: &str = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=1000 ttl=64";
const DATA: &str = "tcp [fd99::1]:5000 > [fd99::2]:443 P. seq=7 ack=9 win=500 len=100 tos=184";
const QUERY: &str = "udp 10.1.0.5:5353 > 10.99.0.1:53 len=30";
const ECHO: &str = "icmp 10.1.0.5 > 10.99.0.1 echo id=7 seq=1";
const ERROR: &str =
    "icmp 10.0.0.9 > 10.1.0.5 unreachable code=port about=(udp 10.1.0.5:5 > 10.2.0.11:53)";
const GRE: &str = "ip 10.1.0.5 > 10.99.0.1 proto=47 len=64";
const FIRST: &str = "udp 10.1.0.5:5353 > 10.99.0.1:53 frag=0+ ipid=7 len=16";
const LATER: &str = "udp 10.1.0.5 > 10.99.0.1 frag=24 ipid=7 len=20";
const BROKEN: &str = "malformed ip-version data=15";
const PACKETS: [&str; 9] = [SYN, DATA, QUERY, ECHO, ERROR, GRE, FIRST, LATER, BROKEN];

#[test]
fn each_word_matches_the_packets_that_it_means() {
    for (filter, expected) in [
        ("", &PACKETS[..]),
        ("tcp", &[SYN, DATA]),
        ("udp", &[QUERY, FIRST, LATER]),
        ("icmp", &[ECHO, ERROR]),
        ("ip", &PACKETS[..8]),
        ("ip6", &[DATA]),
        ("not ip4", &[DATA, BROKEN]),
        ("malformed", &[BROKEN]),
        ("tcp dst 10.99.0.1:80 S", &[SYN]),
        ("src 10.1.0.5", &[SYN, QUERY, ECHO, GRE, FIRST, LATER]),
        ("dst 10.1.0.5", &[ERROR]),
        ("host 10.1.0.5 icmp", &[ECHO, ERROR]),
        ("host fd99::/16", &[DATA]),
        ("host 0.0.0.0/0 tcp", &[SYN]),
        ("net 10.0.0.0/24", &[ERROR]),
        ("port 53", &[QUERY, FIRST]),
        ("port 53 not frag", &[QUERY]),
        ("frag", &[FIRST, LATER]),
        ("port 0-65535", &[SYN, DATA, QUERY, FIRST]),
        ("dst port 80", &[SYN]),
        ("src port 80", &[]),
        ("src host 10.1.0.5 dst port 1-79", &[QUERY, FIRST]),
        ("tcp * > *:80-443", &[SYN, DATA]),
        ("tcp 10.1.0.0/16 > *", &[SYN]),
        ("[fd99::1]:5000 > [fd99::/64]:443", &[DATA]),
        ("fd99::1 > fd99::2", &[DATA]),
        ("* > 10.99.0.1:53", &[QUERY, FIRST]),
        ("S", &[SYN]),
        ("P", &[]),
        ("P.", &[DATA]),
        ("P+", &[DATA]),
        (".+", &[DATA]),
        ("echo", &[ECHO]),
        ("reply", &[]),
        ("error", &[ERROR]),
        ("type=3 code=3", &[ERROR]),
        ("id=7", &[ECHO]),
        ("proto=47", &[GRE]),
        ("ttl=65-255", &[]),
        ("ttl=64 S", &[SYN]),
        ("tos=184", &[DATA]),
        ("len=100", &[DATA]),
        ("len=30 udp", &[QUERY]),
        ("size=160-160", &[DATA]),
        ("seq=1000", &[SYN]),
        ("ack=9 win=500", &[DATA]),
    ] {
        let matched: Vec<_> = PACKETS.into_iter().filter(|line| matches(filter, line)).collect();
        assert_eq!(matched, expected, "{filter}");
    }
    assert!(matches("df", "udp 10.1.0.5:5353 > 10.99.0.1:53 df"));
}

#[test]
fn or_binds_weaker_than_and_and_not_stronger() {
    assert!(matches("udp or tcp S", SYN));
    assert!(matches("tcp S or udp port 9", SYN));
    assert!(!matches("(udp or tcp) port 9", SYN));
    assert!(matches("not udp and port 80", SYN));
    assert!(!matches("not (udp or port 80)", SYN));
    assert!(matches("not not tcp and not(port 9)", SYN));
}

#[test]
fn an_error_shows_the_word() {
    let missing = |at: &str, carets: &str, message: &str| format!("{at}\n{carets} {message}");
    assert_eq!(
        underlined("tcp dst 10.99.0.300:80"),
        missing(
            "tcp dst 10.99.0.300:80",
            "        ^^^^^^^^^^^",
            "an IPv4 or IPv6 address is needed here, such as 10.1.0.5 or fd99::1"
        )
    );
    for (filter, line, message) in [
        ("tcp dst", "    ^^^", "an address is missing here"),
        ("tcp and", "    ^^^", "something to match is missing here"),
        ("or tcp", "^^", "something to match is missing in front of this"),
        ("tcp or or udp", "       ^^", "something to match is missing in front of this"),
        ("tcp and or udp", "        ^^", "something to match is missing in front of this"),
        ("not", "^^^", "something to match is missing here"),
        ("(tcp", "^", "this is not closed"),
        ("tcp)", "   ^", "this parenthesis closes nothing"),
        ("()", " ^", "something to match is missing in front of this"),
        ("10.1.0.5", "^^^^^^^^", "which side is this?"),
        ("* > (tcp)", "  ^", "a destination is missing here"),
        ("> 10.1.0.5", "^", "the source in front of this is missing"),
        ("port 70000", "     ^^^^^", "a port is a number from 0 to 65535"),
        ("port 9-", "       ^", "a port is a number from 0 to 65535"),
        ("port 9-3", "     ^^^", "the end of a range"),
        ("host 10.0.0.0/33", "              ^^", "the length of a prefix is a number from 0 to 32"),
        ("host [fd99::1", "     ^^^^^^^^", "the ] behind the address is missing"),
        ("tcp syn", "    ^^^", "no filter has this word; there are tcp,"),
        ("ttl=300", "    ^^^", "ttl is a number from 0 to 255"),
        ("mark=3", "^^^^^^", "no filter has this word"),
    ] {
        let shown = underlined(filter);
        assert!(shown.starts_with(&format!("{filter}\n{line} {message}")), "{shown}");
    }
}

#[test]
fn a_filter_has_limits() {
    let tests = |count| vec!["tcp"; count].join(" ");
    assert!(Filter::parse(&tests(MAX_TESTS)).is_ok());
    assert!(underlined(&tests(MAX_TESTS + 1)).ends_with("a filter has at most 64 tests"));
    let deep = |depth| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&deep(MAX_DEPTH)).is_ok());
    assert!(Filter::parse(&deep(MAX_DEPTH + 1)).is_err());
    assert!(Filter::parse(&format!("{}tcp", "not ".repeat(MAX_DEPTH + 1))).is_err());
    assert!(Filter::parse(&" ".repeat(MAX_FILTER)).unwrap().matches_all());
    assert!(Filter::parse(&" ".repeat(MAX_FILTER + 1)).is_err());
}

proptest! {
    #[test]
    fn no_text_and_no_packet_panics(
        text in "(tcp|udp|not|and|or|\\(|\\)|port|host|[*]|>|S[+]|ttl=|[0-9:./-]{1,9}|\\PC| ){0,12}",
        packet in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let parsed = Filter::parse(&text);
        if let Err(error) = &parsed {
            error.underline(&text);
        }
        let headers = Headers::parse_bytes(&packet, false).ok();
        let fields = Filter::parse("port 9 or len=3 or type=3 or df or seq=3 or tos=1");
        for filter in [parsed, fields].into_iter().flatten() {
            filter.matches(&packet, headers.as_ref());
        }
    }
}
