use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use netstack::tcp::{Algorithm, KeepaliveConfig};

use super::*;
use crate::config::model::{
    Affinity, AuthMethod, Burst, Forwarded, Initial, LegKind, Mode, Nat, Probe, Rate, RouteAction,
    Scheduler, Tcp,
};
use crate::config::render::{self, Source};
use crate::config::{Environment, Severity, check, examine, not_yet};

const REFERENCE: &str = include_str!("../../../../examples/reference.toml");
const SAMPLE: &str = include_str!("../../../../examples/balun.toml");

fn errors(text: &str) -> Vec<(Code, String, String)> {
    let (_, diagnostics) = parse(text);
    let each = diagnostics.into_iter();
    each.map(|d| (d.code, d.title, text[d.primary.span].to_owned())).collect()
}

/// The small deterministic generator that the random tests use (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

#[test]
fn opening_and_closing_follow_the_transitory_timeout_unless_written() {
    let (config, _) =
        parse("version = 1\n[timeouts]\ntcp-transitory = \"9m\"\ntcp-closing = \"5m\"");
    let timeouts = config.unwrap().timeouts;
    assert_eq!((timeouts.tcp_half_open.as_secs(), timeouts.tcp_closing.as_secs()), (540, 300));
    assert!(!timeouts.tcp_half_open.is_written());
}

#[test]
fn the_reference_loads_whole() {
    let (config, diagnostics) = parse(REFERENCE);
    let config = config.unwrap();
    assert!(diagnostics.iter().all(|d| d.code == Code::NotYet), "{diagnostics:#?}");
    assert!(config.complete);
    assert_eq!(config.seed, Some(42));
    let leg = &config.legs[0];
    assert_eq!((leg.name.as_str(), leg.mtu.value, *leg.kind), ("balun0", 1500, LegKind::Tun));
    assert_eq!(leg.addresses[1].to_string(), "fd99::fe/64");
    let snat = config.snat.as_ref().unwrap();
    assert_eq!((snat.ports.first, snat.ports.last, snat.addresses.len()), (1024, 65_535, 2));
    assert_eq!(config.timeouts.tcp_established.as_secs(), 7440);
    assert_eq!(config.limits.memory.as_ref().unwrap().value, 2 << 30);
    let pools: Vec<_> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(pools, ["web", "canary", "dns", "secure"], "in the order of the text");
    let web = &config.pools[0];
    assert_eq!(web.scheduler, Scheduler::Maglev);
    assert!(
        matches!(web.affinity, Some(Affinity::ClientIp { timeout, .. }) if timeout.as_secs() == 600)
    );
    let health = web.health.as_ref().unwrap();
    assert_eq!(*health.probe, Probe::Http { path: "/healthz".to_owned(), host: None });
    assert_eq!((health.fall, health.rise, health.initial), (3, 2, Initial::Down));
    assert_eq!((web.backends[0].weight.value, web.backends[1].weight.value), (1, 20));
    assert_eq!(web.backends[1].max_connections.as_ref().unwrap().value, 1000);
    let tls = config.pools[3].backends[0].tls.as_ref().unwrap();
    assert_eq!(tls.name.as_ref().unwrap().value, "tls1.lab");
    assert_eq!(tls.ca.as_ref().unwrap().value.as_os_str(), "lab-ca.pem");
    let [l4, dns, passthrough, site] = &config.services[..] else { panic!("four services") };
    assert_eq!(l4.listens[0].to_string(), "tcp 10.99.0.1:80");
    assert_eq!((l4.mode.value, l4.nat), (Mode::Nat, Nat::Full));
    assert_eq!(dns.listens[0].to_string(), "udp 10.99.0.1:53");
    assert_eq!(passthrough.sni[0].name.as_str(), "a.lab");
    assert_eq!(passthrough.proxy_protocol_from.len(), 1);
    assert_eq!(site.forwarded, Forwarded::Append);
    assert_eq!(site.tcp.congestion, Some(Algorithm::Cubic));
    assert_eq!(site.tcp.keepalive, Some(KeepaliveConfig::default()));
    assert_eq!(passthrough.tcp, Tcp::default());
    assert_eq!(site.tls.as_ref().unwrap().alpn.len(), 2);
    assert_eq!(site.routes.len(), 5);
    assert!(matches!(&site.routes[4].action, RouteAction::Split { parts, .. } if parts[0].1 == 95));
    assert!(matches!(
        &site.routes[3].action,
        RouteAction::Redirect { status: hyper::StatusCode::PERMANENT_REDIRECT, .. }
    ));
    assert!(
        matches!(&config.auths[0].method, AuthMethod::Basic { users, .. } if users.value.as_os_str() == "htpasswd")
    );
    assert_eq!(config.rate_limits[0].key.value, l7::limit::Key::default());
    assert_eq!(config.caches[0].memory.value, 256 << 20);
    assert!(config.control.unwrap().web.is_some());
}

#[test]
fn the_reference_is_refused_for_what_is_not_supported_alone() {
    let (config, diagnostics) = examine(REFERENCE, Environment::Ignore);
    assert!(config.is_none());
    assert!(diagnostics.iter().all(|d| d.code == Code::NotYet), "{diagnostics:#?}");
}

/// Keys that the reference mentions in comments, or values that it does not take.
#[test]
fn each_row_of_what_is_not_supported_is_reached() {
    let more = "version = 1\n[[leg]]\nname = \"a\"\naddress = [\"10.0.0.1/24\"]\nkind = \"veth\"\n\
        impair = { delay = \"10ms\", loss = \"0.5%\", rate = \"100mbit\" }\n\
        [[leg]]\nname = \"b\"\naddress = [\"10.1.0.1/24\"]\nkind = \"pcap\"\n\
        [pool.a]\nhealth = { grpc = true }\n\
        [cache.a]\nmemory = \"1MiB\"\ndisk = \"/var/cache/a\"\n[auth.a]\nforward = \"http://10.2.0.40/verify\"\n";
    let count = |text| parse(text).1.iter().filter(|d| d.code == Code::NotYet).count();
    assert_eq!(count(REFERENCE) + count(more), not_yet::ROWS.len(), "each row exactly once");
}

#[test]
fn the_sample_is_valid_without_a_warning() {
    let (config, diagnostics) = examine(SAMPLE, Environment::Ignore);
    assert_eq!(diagnostics, []);
    let config = config.unwrap();
    assert_eq!((config.legs.len(), config.pools.len(), config.services.len()), (1, 2, 5));
}

#[test]
fn all_errors_come_in_one_pass() {
    let text = "version = \"1\"\nsede = 4\n[[leg]]\nmtu = 10\naddress = [\"x\", 3]\n\
                [pool.web]\nscheduler = \"magleb\"\nbackend = [{ name = \"a\" }, 7]\n";
    let found = errors(text);
    let codes: BTreeSet<_> = found.iter().map(|(code, ..)| code.as_str()).collect();
    let all = ["E0101", "E0102", "E0103", "E0105", "E0201", "E0208"];
    assert_eq!(codes, BTreeSet::from(all), "{found:#?}");
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn who_may_use_a_service_and_how_much() {
    let text = "version = 1\nbypass = [\"10.9.0.0/16\", \"fd09::1\"]\n[pool.web]\n[[service]]\n\
                name = \"s\"\nlisten = [\"tcp 10.0.0.1:80\", \"tcp 10.1.0.0/24:8000-8099\"]\n\
                mode = \"nat\"\npool = \"web\"\nallow = [\"10.0.0.0/8\"]\n\
                deny = [\"10.0.0.7\", \"fd00::/8\"]\nrefuse = \"drop\"\n\
                client-rate = \"100/s\"\nclient-burst = 200\nclient-flows = 1000\n\
                client-prefix = 24\nclient-prefix6 = 56\nrate = \"9/m\"\nmax-flows = 7\n";
    let (config, diagnostics) = parse(text);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let config = config.unwrap();
    let list = |prefixes: &[Spanned<nat::Prefix>]| -> Vec<String> {
        prefixes.iter().map(|prefix| prefix.to_string()).collect()
    };
    assert_eq!(list(&config.bypass), ["10.9.0.0/16", "fd09::1/128"]);
    let service = &config.services[0];
    let listens: Vec<_> = service.listens.iter().map(|listen| listen.to_string()).collect();
    assert_eq!(listens, ["tcp 10.0.0.1:80", "tcp 10.1.0.0/24:8000-8099"]);
    let access = &service.access;
    assert_eq!(
        (list(&access.allow), list(&access.deny)),
        (vec!["10.0.0.0/8".to_owned()], vec!["10.0.0.7/32".to_owned(), "fd00::/8".to_owned()],)
    );
    let rate = |count, per, burst| {
        Some(Burst { rate: Rate { count, per: Duration::from_secs(per) }, burst })
    };
    assert_eq!(access.client_rate, rate(100, 1, 200));
    assert_eq!(access.rate, rate(9, 60, 9), "the burst is the count");
    assert_eq!((access.client_flows, access.max_flows), (Some(1000), Some(7)));
    assert_eq!(access.client_prefixes, (Some(24), Some(56)));
    assert_eq!(access.refuse, nat::Refuse::Drop);
}

#[test]
fn the_span_is_the_value_or_the_unknown_key() {
    assert_eq!(errors("version = 1\nsede = 4\n")[0].2, "sede");
    assert_eq!(errors("version = 1\nseed = true\n")[0].2, "true");
    assert_eq!(errors("version = 1\nseed = -1\n")[0].2, "-1");
    assert_eq!(errors("version = 1\n[pool.\"a b\"]\n")[0].2, "\"a b\"");
    let pcap = "version = 1\n[[leg]]\nname = 'a'\nkind = 'pcap'\n";
    assert!(errors(pcap).iter().any(|error| error.2 == "'pcap'"));
}

#[test]
fn what_is_not_supported_is_reported_once_at_its_outermost_key() {
    let text = "version = 1\n[[service]]\nname = \"s\"\nlisten = \"tcp 10.0.0.1:80\"\n\
                mode = \"http\"\nroute = [{ pool = \"web\" }]\n[pool.web]\n\
                [control]\nmetrics = \"127.0.0.1:9091\"\n";
    let found = errors(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].1, "`control.metrics` is not supported yet");
    let (config, _) = parse(text);
    let later: Vec<_> = check(&config.unwrap(), Environment::Ignore);
    assert!(later.iter().all(|d| d.code != Code::NoPool), "its pool is in `route`");
}

#[test]
fn what_follows_from_an_error_is_not_reported() {
    // The backend is wrong: that the pool has none is no news. So with the pool of the service.
    let text = "version = 1\n[[leg]]\nname = \"balun0\"\naddress = [\"10.0.0.256/24\"]\n\
                [pool.web]\nbackend = [{ name = \"a\", address = \"b\" }]\n[[service]]\n\
                name = \"s\"\nlisten = \"tcp 10.0.0.1:80\"\nmode = \"nat\"\npol = \"web\"\n";
    let (_, diagnostics) = examine(text, Environment::Ignore);
    let codes: Vec<_> = diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, [Code::BadAddress, Code::BadAddress, Code::UnknownKey]);
}

#[test]
fn undefined_names_are_found_beside_other_errors() {
    let text = "version = 2\n[pool.web]\n[[service]]\nname = \"s\"\n\
                listen = \"tcp 10.0.0.1:80\"\nmode = \"nat\"\npool = \"wbe\"\n";
    let (_, diagnostics) = examine(text, Environment::Ignore);
    let codes: Vec<_> = diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, [Code::BadVersion, Code::Undefined]);
    assert_eq!(diagnostics[1].help, "did you mean `web`?");
}

#[test]
fn only_the_first_syntax_error_is_reported() {
    let found = errors("version = 1\na = 1 2\nb = ]\n[x\n");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].0, Code::Syntax);
}

/// Parses, checks and renders; the text may be anything.
fn survive(text: &str) {
    let (_, diagnostics) = examine(text, Environment::Ignore);
    let source = Source { file: "random.toml", text };
    for diagnostic in &diagnostics {
        assert!(diagnostic.primary.span.end <= text.len());
        assert!(!diagnostic.help.is_empty() && !diagnostic.title.is_empty());
    }
    render::text(&source, &diagnostics, false);
    render::json(&source, &diagnostics);
    render::github(&source, &diagnostics);
}

fn mutate(random: &mut Random, text: &str) -> String {
    const PIECES: [&str; 20] = [
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        "=",
        "\n",
        ",",
        ".",
        "-1",
        "0",
        "ü",
        "\t",
        "true",
        "1e400",
        "99999999999999999999",
        "\"\"\"",
        "[[pool]]\n",
        "\u{0}",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + random.below(12)).min(bytes.len());
        match random.below(5) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes[at] = random.next() as u8,
            2 => drop(bytes.splice(at..end, PIECES[random.below(PIECES.len())].bytes())),
            3 => {
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                drop(bytes.splice(to..to, copy));
            }
            _ => {
                // Swap two lines, which keeps the syntax mostly whole.
                let mut lines: Vec<_> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
                let (a, b) = (random.below(lines.len()), random.below(lines.len()));
                lines.swap(a, b);
                bytes = lines.join(&b'\n');
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_text_makes_it_panic() {
    for seed in 0..2000 {
        let random = &mut Random(seed);
        let text = mutate(random, if seed % 2 == 0 { REFERENCE } else { SAMPLE });
        if let Err(panic) = std::panic::catch_unwind(|| survive(&text)) {
            eprintln!("seed {seed}:\n{text}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Values of every type in place of every value: syntax stays whole, so all readers are reached.
#[test]
fn no_value_makes_it_panic() {
    const VALUES: [&str; 12] = [
        "1",
        "-1",
        "1.5",
        "true",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "[[]]",
        "1979-05-27",
        "{ a = 1 }",
        "0xffffffffffffffff",
    ];
    let lines: Vec<_> = REFERENCE.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" =") else { continue };
        for value in VALUES {
            let replaced = format!("{key} = {value}");
            let mut changed = lines.clone();
            changed[at] = &replaced;
            survive(&changed.join("\n"));
        }
    }
}

#[test]
fn deep_nesting_is_an_error_and_not_a_crash() {
    for (open, close) in [("[", "]"), ("{ a = ", " }")] {
        let text = format!("version = {}1{}\n", open.repeat(10_000), close.repeat(10_000));
        survive(&text);
    }
    survive(&format!("a{} = 1\n", ".a".repeat(10_000)));
}

#[test]
fn a_file_that_is_not_utf8_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("balun.toml");
    fs::write(&path, b"version = 1\n# \xff\n").unwrap();
    let loaded = crate::config::load(&path, true).unwrap();
    assert!(loaded.config.is_none());
    assert_eq!(loaded.count(Severity::Error), 1);
    assert_eq!(loaded.diagnostics[0].primary.span, 14..14);
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("balun.toml");
    let file = fs::File::create(&path).unwrap();
    file.set_len(crate::config::MAX_FILE_LEN + 1).unwrap();
    let error = crate::config::load(&path, true).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::FileTooLarge);
    file.set_len(crate::config::MAX_FILE_LEN).unwrap();
    assert!(crate::config::load(&path, true).is_ok());
}
