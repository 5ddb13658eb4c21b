use super::*;

fn why<T>(parsed: Parsed<T>) -> (Code, String) {
    match parsed {
        Ok(_) => panic!("should be refused"),
        Err(complaint) => (complaint.code, complaint.help),
    }
}

fn ok<T>(parsed: Parsed<T>) -> T {
    parsed.unwrap_or_else(|complaint| panic!("{}: {}", complaint.what, complaint.label))
}

#[test]
fn durations_add_up() {
    for (text, millis) in [
        ("2h4m", 7_440_000),
        ("500ms", 500),
        ("60s", 60_000),
        ("1d", 86_400_000),
        ("1m30s", 90_000),
        ("0s", 0),
        ("1s5ms", 1_005),
    ] {
        assert_eq!(ok(duration(text)), Duration::from_millis(millis), "{text}");
    }
    assert_eq!(ok(duration("7us")), Duration::from_micros(7));
}

#[test]
fn what_is_not_a_duration() {
    for text in [
        "",
        "5",
        "s",
        "5 s",
        " 5s",
        "5s ",
        "4m2h",
        "5s5s",
        "5sec",
        "-5s",
        "0.5s",
        "5S",
        "5m 2s",
        "99999999999999999999s",
        "18446744073709551615d",
        "5ü",
    ] {
        assert_eq!(why(duration(text)).0, Code::BadDuration, "{text}");
    }
    assert_eq!(why(some_duration("0ms")).0, Code::BadDuration);
}

#[test]
fn sizes_and_rates() {
    assert_eq!(ok(size("2GiB")), 2 << 30);
    assert_eq!(ok(size("1B")), 1);
    assert_eq!(ok(bit_rate("100mbit")), 100_000_000);
    for text in ["", "2", "2GB", "0B", "2 GiB", "2GiBx", "99999999TiB", "GiB", "-1B"] {
        assert_eq!(why(size(text)).0, Code::BadSize, "{text}");
    }
    assert_eq!(why(bit_rate("100Mbit")).0, Code::BadRate);
    assert_eq!(ok(rate("100/s")), Rate { count: 100, per: Duration::from_secs(1) });
    assert_eq!(ok(rate("5/h")).per, Duration::from_hours(1));
    for text in ["", "100", "0/s", "100/d", "-1/s", "100/ s", "1e3/s"] {
        assert_eq!(why(rate(text)).0, Code::BadRate, "{text}");
    }
}

#[test]
fn percentages_are_bounded() {
    assert!((ok(percentage("0.5%")) - 0.005).abs() < 1e-12);
    assert!((ok(percentage("100%")) - 1.0).abs() < 1e-12);
    for text in ["", "%", "0.5", "101%", "-1%", "NaN%", "inf%", "1e1%", "1.2.3%", "5 %"] {
        assert_eq!(why(percentage(text)).0, Code::BadPercentage, "{text}");
    }
}

#[test]
fn whole_percentages_have_no_fraction() {
    assert_eq!(ok(whole_percentage("0%")), 0);
    assert_eq!(ok(whole_percentage("100%")), 100);
    for text in ["", "%", "50", "0.5%", "101%", "256%", "-1%", "+1%", "5 %"] {
        assert_eq!(why(whole_percentage(text)).0, Code::BadPercentage, "{text}");
    }
}

#[test]
fn what_can_be_listened_on() {
    assert_eq!(ok(listen("tcp 10.99.0.1:80")).to_string(), "tcp 10.99.0.1:80");
    assert_eq!(ok(listen("udp [fd99::1]:53")).to_string(), "udp [fd99::1]:53");
    assert_eq!(ok(listen("icmp 10.99.0.4")).to_string(), "icmp 10.99.0.4");
    assert_eq!(ok(listen("icmp fd99::4")).to_string(), "icmp fd99::4");
    for (text, code, help) in [
        ("10.99.0.1:80", Code::BadListen, "write `tcp 10.99.0.1:80`"),
        ("tpc 10.99.0.1:80", Code::BadListen, "did you mean `tcp 10.99.0.1:80`?"),
        ("icmp 10.99.0.1:80", Code::BadListen, "write `icmp 10.99.0.1`"),
        ("tcp 10.99.0.1", Code::BadAddress, "write it as `tcp 10.99.0.1:80`"),
        ("tcp fd99::1", Code::BadAddress, "write it as `tcp [fd99::1]:80`"),
    ] {
        assert_eq!(why(listen(text)), (code, help.to_owned()), "{text}");
    }
    for text in ["tcp  10.99.0.1:80", "tcp :80", "tcp *:80", "tcp web.lab:80", "tcp 10.99.0.1:0"] {
        assert_eq!(why(listen(text)).0, Code::BadAddress, "{text}");
    }
    for text in ["tcp 0.0.0.0:80", "tcp 224.0.0.1:80", "udp [ff02::1]:53", "tcp 127.0.0.1:80"] {
        assert_eq!(why(listen(text)).0, Code::NotOneHost, "{text}");
    }
    assert_eq!(why(listen("tcp [::ffff:10.0.0.1]:80")).0, Code::NotOneHost);
    assert_eq!(why(listen("tcp 255.255.255.255:80")).0, Code::NotOneHost);
    assert_eq!(why(listen("sctp 10.99.0.1:80")).0, Code::BadListen);
}

#[test]
fn ranges_networks_and_everything_can_be_listened_on() {
    for text in [
        "tcp 10.99.0.1:8000-8099",
        "tcp 10.99.0.1:*",
        "udp [fd99::1]:*",
        "udp [fd99::1]:53-54",
        "tcp 10.99.0.0/28:80",
        "tcp [fd99::/64]:1-9",
        "icmp 10.99.0.0/24",
        "any 10.99.0.1",
        "any fd99::/64",
        "any 0.0.0.0/0",
        "any ::/0",
    ] {
        assert_eq!(ok(listen(text)).to_string(), text);
    }
    assert_eq!(ok(listen("tcp 10.99.0.1:80-80")), ok(listen("tcp 10.99.0.1:80")));
    assert_eq!(ok(listen("tcp 10.99.0.1/32:80")), ok(listen("tcp 10.99.0.1:80")));
    for (text, code) in [
        ("tcp 10.99.0.1:8099-8000", Code::BadPorts),
        ("tcp 10.99.0.1:0-80", Code::BadPorts),
        ("tcp 10.99.0.1:80-", Code::BadPorts),
        ("tcp 10.99.0.0/28:**", Code::BadPorts),
        ("tcp 10.99.0.7/28:80", Code::BadAddress),
        ("tcp 10.99.0.0/33:80", Code::BadAddress),
        ("tcp fd99::/64:80", Code::BadAddress),
        ("tcp *:*", Code::BadAddress),
        ("any 10.99.0.1:80", Code::BadListen),
        ("any *", Code::BadAddress),
        ("any 224.0.0.0/4", Code::NotOneHost),
        ("tcp 127.0.0.1/32:80", Code::NotOneHost),
        ("tcp 127.0.0.1:*", Code::NotOneHost),
        ("tcp [::ffff:10.0.0.0/104]:80", Code::NotOneHost),
    ] {
        assert_eq!(why(listen(text)).0, code, "{text}");
    }
    assert_eq!(why(listen("any 10.99.0.1:80")).1, "write `any 10.99.0.1`");
    assert_eq!(why(listen("tcp 10.99.0.7/28:80")).1, "write `10.99.0.0/28`");
}

#[test]
fn rules_are_about_networks_and_addresses() {
    assert_eq!(ok(addresses("10.0.0.0/8")).to_string(), "10.0.0.0/8");
    assert_eq!(ok(addresses("10.0.0.7")).to_string(), "10.0.0.7/32");
    assert_eq!(ok(addresses("fd00::")).to_string(), "fd00::/128");
    assert_eq!(ok(addresses("::/0")).to_string(), "::/0");
    assert_eq!(why(addresses("10.0.0.7/8")).1, "write `10.0.0.0/8`");
    for text in ["::ffff:10.0.0.0/104", "::ffff:10.0.0.1"] {
        assert_eq!(why(addresses(text)).0, Code::NotOneHost, "{text}");
    }
}

#[test]
fn a_backend_may_have_every_port() {
    assert_eq!(ok(backend("10.2.0.11:*")), "10.2.0.11:0".parse().unwrap());
    assert_eq!(ok(backend("[fd02::11]:*")), "[fd02::11]:0".parse().unwrap());
    assert_eq!(ok(backend("10.2.0.11:80")), "10.2.0.11:80".parse().unwrap());
    for text in ["10.2.0.11:0", "web1:*", "*", ":*", "fd02::11:*"] {
        assert_eq!(why(backend(text)).0, Code::BadAddress, "{text}");
    }
}

#[test]
fn networks_have_no_host_bits() {
    assert_eq!(ok(network("10.2.0.0/24")).to_string(), "10.2.0.0/24");
    assert_eq!(ok(network("0.0.0.0/0")).to_string(), "0.0.0.0/0");
    assert_eq!(why(network("10.2.0.7/24")), (Code::BadAddress, "write `10.2.0.0/24`".to_owned()));
    assert_eq!(why(prefix("10.2.0.7")), (Code::BadAddress, "write `10.2.0.7/24`".to_owned()));
    assert_eq!(ok(host_prefix("10.99.0.254/24")).length, 24);
    for text in ["10.2.0.0/33", "fd99::/129", "10.2.0.0/", "/24", "10.2.0.0/-1", "a/b/c"] {
        assert_eq!(why(prefix(text)).0, Code::BadAddress, "{text}");
    }
    assert_eq!(why(network("224.0.0.0/4")).0, Code::NotOneHost);
}

#[test]
fn port_ranges_rise() {
    assert_eq!(ok(ports("1024-65535")), PortRange { first: 1024, last: 65_535 });
    assert_eq!(ok(ports("5000")), PortRange { first: 5000, last: 5000 });
    assert_eq!(why(ports("9-5")), (Code::BadPorts, "write `5-9`".to_owned()));
    for text in ["", "-", "0-5", "1-65536", "a-b", "1-2-3", "1 - 2"] {
        assert_eq!(why(ports(text)).0, Code::BadPorts, "{text}");
    }
}

#[test]
fn names_fit_their_use() {
    assert_eq!(ok(name("web-1")), "web-1");
    assert_eq!(ok(name(&"x".repeat(MAX_NAME))).len(), MAX_NAME);
    for text in ["", "a b", "a/b", "ü", "a\n", &"x".repeat(MAX_NAME + 1)] {
        assert_eq!(why(name(text)).0, Code::BadName, "{text}");
    }
    assert_eq!(ok(device(&"x".repeat(MAX_DEVICE_NAME))).len(), MAX_DEVICE_NAME);
    for text in ["", ".", "..", "a/b", "a b", "a%d", &"x".repeat(MAX_DEVICE_NAME + 1)] {
        assert_eq!(why(device(text)).0, Code::BadName, "{text}");
    }
    assert_eq!(why(path("a\0b")).0, Code::BadName);
    assert_eq!(why(words(" ")).0, Code::BadName);
}

#[test]
fn counting_keys() {
    assert_eq!(ok(limit_key("client-ip")), l7::limit::Key::default());
    assert_eq!(ok(limit_key("header:X-Api-Key")), l7::limit::Key::Header("x-api-key".to_owned()));
    assert_eq!(ok(limit_key("identity")), l7::limit::Key::Identity);
    assert_eq!(why(limit_key("header:")).0, Code::UnknownChoice);
    assert_eq!(ok(told_field("X-Roles")), "x-roles");
    for bad in ["", "a b", "Authorization", "X-Forwarded-For", "Host"] {
        assert_eq!(why(told_field(bad)).0, Code::ToldField, "{bad}");
    }
    assert_eq!(why(key_set("https://id.lab/keys")).0, Code::NotYet);
    assert_eq!(why(rule_method("get")).0, Code::UnknownChoice);
}

#[test]
fn formats_of_logs_are_names_or_fields_in_braces() {
    use l7::log::{End, Field, Format};
    assert_eq!(log_format("json").ok(), Some(Format::json()));
    assert_eq!(log_format("combined").ok(), Some(Format::combined()));
    assert_eq!(log_format("common").ok(), Some(Format::common()));
    assert_eq!(log_format("{client} {end}").ok(), Format::parse("{client} {end}").ok());
    for bad in ["", "Json", "$status", "{stauts}", "{client", "{{client}}", "{header:}"] {
        assert_eq!(why(log_format(bad)).0, Code::BadLogFormat, "{bad}");
    }
    assert_eq!(why(log_format("{stauts}")).1, "did you mean `{status}`?");
    let (page, docs) = (Code::BadLogFormat.page(), include_str!("../../../docs/access-log.md"));
    for field in Field::ALL {
        assert!(page.contains(&format!(" {}", field.name())), "{}", field.name());
        let row = format!("| `{}` | {} |\n", field.name(), field.about());
        assert!(docs.contains(&row), "{row}");
    }
    for end in End::NAMES {
        assert!(docs.contains(&format!("| `{end}` | ")), "{end}");
    }
}
