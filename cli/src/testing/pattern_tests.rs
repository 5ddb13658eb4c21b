use super::*;

const SYN: &str = "tcp 10.99.0.250:5000 > 10.2.0.11:8080 S seq=7 mss=1460 ttl=63 df";

fn packet(line: &str) -> Packet {
    text::packet(line).unwrap_or_else(|e| panic!("{}", e.underline(line)))
}

fn compare(pattern: &str, line: &str) -> Result<Variables, String> {
    let pattern =
        Pattern::parse(pattern).map_err(|e| format!("{}: {}", e.span.start, e.message))?;
    let mut variables = Variables::default();
    pattern.matches(&packet(line), &mut variables).map(|()| variables)
}

#[test]
fn what_is_left_out_is_free() {
    for pattern in [
        "> 10.2.0.11:8080",
        "> *",
        "tcp",
        "S",
        "tcp S ttl=63",
        "* > 10.2.0.11",
        "* * > 10.2.0.11:*",
        "10.99.0.250:5000 > *:8080",
        "tcp * > 10.2.0.0/24:8080 S ttl=63",
        "tcp 10.99.0.250 > * seq=0x7 mss=1460 df",
        "> * ack=0 win=65535 len=0 tos=0",
    ] {
        assert!(compare(pattern, SYN).is_ok(), "{pattern}: {:?}", compare(pattern, SYN));
    }
}

#[test]
fn what_is_named_is_compared() {
    for (pattern, difference) in [
        ("udp", "this is tcp, not udp"),
        ("> 10.2.0.12:8080", "to another address: 10.2.0.11:8080"),
        ("> 10.2.0.11:80", "to another port: 10.2.0.11:8080"),
        ("10.99.0.251 > *", "from another address: 10.99.0.250:5000"),
        ("S.", "flags S, not S."),
        ("> * ttl=64", "ttl is 63, not 64"),
        ("> * ws=7", "it has no ws"),
        ("> * ack=1", "ack is 0, not 1"),
        ("> * len=1", "len is 0, not 1"),
        ("> * data=\"x\"", "another payload"),
        ("> * echo", "it has no echo"),
        ("nothing", "a packet came"),
    ] {
        assert_eq!(compare(pattern, SYN), Err(difference.to_owned()), "{pattern}");
    }
}

#[test]
fn variables_take_ends_hosts_ports_and_values() {
    let taken = compare("tcp $from > $host:$port seq=$seq", SYN).unwrap_or_default();
    let get = |name| taken.get(name);
    assert_eq!(get("from"), Some("10.99.0.250:5000"));
    assert_eq!((get("host"), get("port")), (Some("10.2.0.11"), Some("8080")));
    let line = taken.fill("tcp $host:$port > $from S. ack=$seq");
    assert_eq!(line.as_deref(), Ok("tcp 10.2.0.11:8080 > 10.99.0.250:5000 S. ack=7"));
    assert_eq!(taken.fill("$nobody"), Err("nobody".to_owned()));
    let six = compare("> $host:$port", "udp [fd01::5]:1 > [fd99::1]:53").unwrap_or_default();
    assert_eq!(six.fill("$host:$port").as_deref(), Ok("[fd99::1]:53"));
}

#[test]
fn a_variable_that_has_a_value_is_compared() {
    let pattern = Pattern::parse("$snat > *").unwrap_or_else(|e| panic!("{e}"));
    let mut variables = Variables::default();
    assert_eq!(pattern.matches(&packet(SYN), &mut variables), Ok(()));
    assert_eq!(pattern.matches(&packet(SYN), &mut variables), Ok(()));
    let other = packet(&SYN.replace(":5000", ":5001"));
    let difference = "from $snat is 10.99.0.250:5000, this is 10.99.0.250:5001";
    assert_eq!(pattern.matches(&other, &mut variables), Err(difference.to_owned()));
}

#[test]
fn nothing_is_captured_by_a_packet_that_differs() {
    let pattern = Pattern::parse("$a > * ttl=1").unwrap_or_else(|e| panic!("{e}"));
    let mut variables = Variables::default();
    assert!(pattern.matches(&packet(SYN), &mut variables).is_err());
    assert_eq!(variables, Variables::default());
}

#[test]
fn payloads_and_quoted_packets() {
    let get = "tcp 10.1.0.5:1 > 10.99.0.1:80 P. data=\"GET / \\\"x\\\" (\"";
    assert!(compare("> * data=\"GET / \\\"x\\\" (\" len=11", get).is_ok());
    assert!(compare("> * data=\"GET\"", get).is_err());
    let error = "icmp 10.2.0.1 > 10.99.0.250 unreachable code=port \
                 about=(udp 10.99.0.250:5000 > 10.2.0.11:53)";
    let pattern = "icmp unreachable code=port about=(udp $snat > 10.2.0.11:53)";
    let taken = compare(pattern, error).unwrap_or_default();
    assert_eq!(taken.get("snat"), Some("10.99.0.250:5000"));
    assert_eq!(compare("about=(tcp)", error), Err("about: this is udp, not tcp".to_owned()));
    assert_eq!(compare("about=(tcp)", SYN), Err("it quotes no packet".to_owned()));
}

#[test]
fn mistakes_are_pointed_at() {
    for (pattern, wrong, message) in [
        ("> * tll=63", "tll=63", "no word of packets; did you mean ttl?"),
        ("> * ttl=x", "ttl=x", "ttl is a number"),
        ("> 10.2.0.300", "10.2.0.300", "not an address"),
        ("> 10.2.0.1:http", "10.2.0.1:http", "the port is no number"),
        ("tcp a b > *", "b", "in front of >"),
        ("tcp >", ">", "behind >"),
        ("> * about=(udp tll=1)", "tll=1", "no word"),
        ("> * data=x", "data=x", "data is a text"),
        ("", "", "an empty pattern"),
    ] {
        let Err(error) = Pattern::parse(pattern) else { panic!("{pattern} is no pattern") };
        assert_eq!(&pattern[error.span.clone()], wrong, "{pattern}: {error}");
        assert!(error.message.starts_with(message), "{pattern}: {error}");
    }
}
