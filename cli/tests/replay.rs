//! `balun replay`: a capture, through the whole balancer, on a virtual clock. See `docs/replay.md`.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use balun::demo::{Options, run_simulated};
use netstack::Packet;
use netstack::dev::CaptureReader;
use netstack::dev::pcap::PcapWriter;
use netstack::dev::pcapng::{Direction, NewPacket, PcapngWriter, Section};
use netstack::wire::text;

/// The demo's network, as a configuration.
const DEMO: &str = r#"version = 1

[[leg]]
name    = "client"
address = ["10.1.0.5/24"]

[[leg]]
name    = "web1"
address = ["10.2.1.11/24"]

[[leg]]
name    = "web2"
address = ["10.2.2.11/24"]

[snat]
addresses = ["10.99.0.250"]

[pool.web]
backend = [
  { name = "web1", address = "10.2.1.11:8080" },
  { name = "web2", address = "10.2.2.11:8080" },
]

[[service]]
name   = "l4"
listen = "tcp 10.99.0.1:80"
mode   = "nat"
pool   = "web"

[[service]]
name   = "l7"
listen = "tcp 10.99.0.2:80"
mode   = "http"
pool   = "web"
"#;

/// A folder with the demo's configuration.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.file("balun.toml", DEMO);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Runs `balun replay` with these words, in the folder.
    fn replay(&self, words: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_balun"));
        command.current_dir(self.0.path()).arg("replay").args(words.split_whitespace());
        command.output().unwrap()
    }

    /// What it prints, if it ends with `code`.
    fn prints(&self, words: &str, code: i32) -> String {
        let output = self.replay(words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says beside that.
    fn says(&self, words: &str, code: i32) -> String {
        let output = self.replay(words);
        assert_eq!(output.status.code(), Some(code), "{words}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Writes a classic capture: packets as lines, a millisecond apart.
    fn pcap(&self, name: &str, lines: &[&str]) {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        for (n, line) in (0..).zip(lines) {
            let packet = text::packet(line).unwrap();
            writer.write(Duration::from_millis(n), packet.data()).unwrap();
        }
        std::fs::write(self.path(name), writer.into_inner()).unwrap();
    }
}

/// Records two seconds of the simulated demo, in which a backend dies.
fn record(path: &Path) {
    let options = Options {
        length: Duration::from_secs(2),
        backends: 2,
        break_after: Some(Duration::from_secs(1)),
        seed: 7,
        hold: false,
    };
    run_simulated(options, Some(path), &mut Vec::new()).unwrap();
}

/// How many packets a capture has each way.
fn count(path: &Path) -> BTreeMap<&'static str, u64> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut packet = Packet::max_sized();
    let mut counts = BTreeMap::new();
    while let Some(captured) = reader.read(&mut packet).unwrap() {
        let way = if captured.direction == Some(Direction::Inbound) { "in" } else { "out" };
        *counts.entry(way).or_default() += 1;
    }
    counts
}

const SYN: &str = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=1000 mss=1460";
const OTHER_SYN: &str = "tcp 10.1.0.5:40001 > 10.99.0.1:80 S seq=1000 mss=1460";
const STRAY: &str = "tcp 10.1.0.5:40002 > 10.99.0.1:80 . seq=5 ack=5";

#[test]
fn a_capture_that_balun_took_replays_to_itself_nat_and_http_alike() {
    let place = Place::new();
    record(&place.path("a.pcapng"));
    let said = place.prints("a.pcapng --expect a.pcapng", 0);
    let out = count(&place.path("a.pcapng"))["out"];
    let line = format!(
        "expected  {out} the same, 0 differ, 0 missing, 0 extra, 0 in another order, 0 at another time\n"
    );
    assert!(out > 10_000 && said.ends_with(&line), "{said}");
    // Of which some were made by the proxy, in mode http, and not rewritten.
    assert!(said.contains("packets of the balancer's own") && said.contains("service   l7"));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let place = Place::new();
    record(&place.path("a.pcapng"));
    for name in ["b.pcapng", "c.pcapng"] {
        place.prints(&format!("a.pcapng -o {name} --comments full"), 0);
    }
    let [b, c] = ["b.pcapng", "c.pcapng"].map(|name| std::fs::read(place.path(name)).unwrap());
    assert!(b == c, "two replays differ");
    assert_eq!(count(&place.path("a.pcapng")), count(&place.path("b.pcapng")));
    // What it writes is a capture like the one it read, and can be replayed in its place.
    place.prints("b.pcapng --expect a.pcapng", 0);
}

/// What left of the flows of service `l4`: when, by which interface, and all bytes.
fn sent_by_nat(path: &Path) -> Vec<(Duration, u32, Vec<u8>)> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut packet = Packet::max_sized();
    let mut sent = Vec::new();
    while let Some(captured) = reader.read(&mut packet).unwrap() {
        let of_l4 = reader.comments().any(|comment| comment.starts_with("l4 flow "));
        if captured.direction == Some(Direction::Outbound) && of_l4 {
            sent.push((captured.time, captured.interface, packet.data().to_vec()));
        }
    }
    sent
}

#[test]
fn nat_flows_of_a_live_capture_replay_to_the_same_packets_at_the_same_times() {
    let place = Place::new();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_balun"));
    demo.args("demo --seconds 1 --backends 2 --break 9 --seed 7 --record".split(' '));
    let demo = demo.arg(place.path("live.pcapng")).output().unwrap();
    let said = [demo.stdout, demo.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.contains("demo: simulated") {
        assert!(std::env::var_os("BALUN_REQUIRE_TUN").is_none(), "{said}");
        eprintln!("skipped: {said}");
        return;
    }
    place.prints("live.pcapng -o again.pcapng", 0);
    let live = sent_by_nat(&place.path("live.pcapng"));
    assert!(live.len() > 100, "{said}");
    assert!(live == sent_by_nat(&place.path("again.pcapng")));
}

#[test]
fn another_configuration_is_noticed_and_its_first_differences_are_shown() {
    let place = Place::new();
    record(&place.path("a.pcapng"));
    place.file("other.toml", &DEMO.replace("10.99.0.250", "10.99.0.251"));
    let said = place.prints("a.pcapng -c other.toml --expect a.pcapng", 1);
    assert!(said.contains("\n  expected  tcp 10.99.0.250:"), "{said}");
    assert!(said.contains("\n  got       tcp 10.99.0.251:"), "{said}");
    assert!(said.contains("\n  l4 flow 1 > web/web1, round-robin, new, syn-sent\n"), "{said}");
    assert!(said.contains("… and "), "of many differences the first are shown: {said}");
}

#[test]
fn two_configurations_are_compared_packet_by_packet() {
    let place = Place::new();
    place.pcap("a.pcap", &[SYN, OTHER_SYN, STRAY]);
    assert!(place.prints("a.pcap --diff balun.toml", 0).ends_with(
        "3 packets: 0 with another verdict, 0 to another backend, 0 otherwise rewritten, 0 after \
         which another packet was sent\n"
    ));
    let denied =
        DEMO.replacen("pool   = \"web\"", "pool   = \"web\"\ndeny   = [\"10.1.0.0/24\"]", 1);
    place.file("denied.toml", &denied);
    let said = place.prints("a.pcap --diff denied.toml", 1);
    assert!(said.contains("verdict   frame 1, 0.000000s, leg client  tcp 10.1.0.5:40000 > "));
    assert!(said.contains("  balun.toml  forward web/web1\n    web1  tcp 10.99.0.250:"), "{said}");
    assert!(said.contains("  denied.toml  reject denied\n    client  icmp 10.99.0.1"), "{said}");
    assert!(said.contains("3 packets: 3 with another verdict, 0 to another backend"), "{said}");
}

#[test]
fn each_packet_is_a_line_of_json() {
    let place = Place::new();
    place.pcap("a.pcap", &[SYN, STRAY]);
    let lines = place.prints("a.pcap --format json", 0);
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    let word = |n: usize, key: &str| lines[n][key].as_str().unwrap_or_default();
    assert_eq!((&lines[0]["n"], &lines[1]["t"]), (&1.into(), &0.001.into()));
    assert_eq!((word(0, "leg"), word(0, "in")), ("client", &*format!("{SYN} ttl=64")));
    assert!(word(0, "out").starts_with("tcp 10.99.0.250:"), "{}", lines[0]);
    let words = ["verdict", "service", "backend", "out_leg", "flow"].map(|key| word(0, key));
    assert_eq!(words, ["forward", "l4", "web/web1", "web1", "1"]);
    assert_eq!((word(1, "verdict"), word(1, "reason")), ("reject", "no-flow"));
    assert!(lines[1]["flow"].is_null());
}

#[test]
fn a_script_takes_backends_out_while_the_packets_come() {
    let place = Place::new();
    let syns: Vec<_> = (0..8).map(|n| SYN.replace("40000", &(40_000 + n).to_string())).collect();
    place.pcap("a.pcap", &syns.iter().map(String::as_str).collect::<Vec<_>>());
    let turns = "backend   web/web1  4 flows, ready\nbackend   web/web2  4 flows, ready\n";
    assert!(place.prints("a.pcap", 0).contains(turns));
    // Packets come at 0, 1, … 7 ms.
    place.file(
        "events",
        "# web1 is out for four of them\nat 3ms backend web/web1 drain\nat 7ms end\n",
    );
    let said = place.prints("a.pcap --events events", 0);
    assert!(said.contains("packets   7 replayed, 7 forwarded\n"), "{said}");
    assert!(
        said.contains("web/web1  2 flows, drain\nbackend   web/web2  5 flows, ready"),
        "{said}"
    );
}

#[test]
fn a_wrong_word_in_a_script_is_underlined() {
    let place = Place::new();
    place.pcap("a.pcap", &[SYN]);
    place.file("events", "at 3ms backend web/web1 drained\n");
    let said = place.says("a.pcap --events events", 78);
    assert!(said.contains("error[E0402]: `drained` is not a state\n --> events:1:25\n"), "{said}");
    assert!(said.contains("help: did you mean `drain`?"), "{said}");
    place.file("events", "at 3ms config new.toml\n");
    assert!(
        place.says("a.pcap --events events", 78).starts_with("error[E0901]: `config` as an event")
    );
}

#[test]
fn packets_of_another_capture_come_by_the_leg_that_leads_to_their_source() {
    let place = Place::new();
    place.pcap("a.pcap", &[SYN, "tcp 192.0.2.1:40000 > 10.99.0.1:80 S"]);
    let said = place.prints("a.pcap", 0);
    assert!(said.contains("packets   1 replayed, 1 forwarded\n"), "{said}");
    assert!(said.contains("left out  1 by no leg (--leg-of says by which)\n"), "{said}");
    let said = place.prints("a.pcap --leg-of 192.0.2.0/24=client", 0);
    assert!(said.contains("packets   2 replayed"), "{said}");
    assert!(place.says("a.pcap --leg-of 192.0.2.0/24=moon", 2).contains("is called `moon`"));
}

#[test]
fn a_folder_of_packets_is_replayed_in_the_order_of_names() {
    let place = Place::new();
    let folder = place.path("packets");
    std::fs::create_dir(&folder).unwrap();
    let ethernet = [&[0; 12][..], &[8, 0], text::packet(SYN).unwrap().data()].concat();
    std::fs::write(folder.join("2.bin"), text::packet(STRAY).unwrap().data()).unwrap();
    std::fs::write(folder.join("1.bin"), ethernet).unwrap();
    std::fs::write(folder.join("notes.txt"), "0 packets").unwrap();
    let said = place.prints("packets --format json", 0);
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].starts_with(r#"{"n":1,"t":0.0,"leg":"client","in":"tcp 10.1.0.5:40000 >"#));
    assert!(lines[1].starts_with(r#"{"n":2,"t":0.001,"leg":"client","in":"tcp 10.1.0.5:40002 >"#));
    assert!(place.prints("packets", 0).contains("left out  1 not IP\n"));
}

#[test]
fn interfaces_of_several_link_types_may_be_mixed() {
    // One raw interface and one of Ethernet, which only others write.
    let place = Place::new();
    let mut writer = PcapngWriter::new(Vec::new(), &Section::default()).unwrap();
    let raw = writer.interface("any", 0).unwrap();
    let ethernet = writer.interface("eth0", 0).unwrap();
    let frame = [&[0; 12][..], &[8, 0], text::packet(OTHER_SYN).unwrap().data()].concat();
    writer.packet(&NewPacket::new(raw, Duration::ZERO, text::packet(SYN).unwrap().data())).unwrap();
    writer.packet(&NewPacket::new(ethernet, Duration::ZERO, &frame)).unwrap();
    let mut file = writer.into_inner();
    let at = file.windows(4).rposition(|bytes| bytes == b"eth0").unwrap();
    // The link type stands in front of two bytes reserved, the snapshot length and the name's head.
    file[at - 12] = 1;
    std::fs::write(place.path("a.pcapng"), file).unwrap();
    assert!(place.prints("a.pcapng", 0).contains("packets   2 replayed, 2 forwarded\n"));
}

#[test]
fn a_packet_that_was_cut_short_is_left_out_or_filled_up() {
    let place = Place::new();
    let packet = text::packet("udp 10.1.0.5:5000 > 10.2.1.11:53 len=100").unwrap();
    let mut writer = PcapngWriter::new(Vec::new(), &Section::default()).unwrap();
    let client = writer.interface("client", 60).unwrap();
    writer.packet(&NewPacket::new(client, Duration::ZERO, packet.data())).unwrap();
    std::fs::write(place.path("a.pcapng"), writer.into_inner()).unwrap();
    let said = place.prints("a.pcapng", 0);
    assert!(said.contains("packets   0 replayed\nleft out  1 cut short (--pad fills them up)\n"));
    let said = place.prints("a.pcapng --pad", 0);
    assert!(said.contains("packets   1 replayed"), "{said}");
    assert!(said.contains("doubtful  1 filled up with zeros\n"), "{said}");
}

#[test]
fn of_a_broken_capture_what_stands_in_front_of_the_fault_is_replayed() {
    let place = Place::new();
    place.pcap("a.pcap", &[SYN, OTHER_SYN, STRAY]);
    let whole = std::fs::read(place.path("a.pcap")).unwrap();
    std::fs::write(place.path("cut.pcap"), &whole[..whole.len() - 7]).unwrap();
    let output = place.replay("cut.pcap -o out.pcapng");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("error: the capture ends within a record, behind 2 packets\n"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("packets   2 replayed"));
    assert_eq!(count(&place.path("out.pcapng"))["in"], 2);

    place.file("text.pcap", "this is no capture");
    assert!(
        place.says("text.pcap", 3).contains("cannot replay `text.pcap`: neither pcap nor pcapng")
    );
    assert!(place.says("nowhere.pcap", 3).contains("cannot replay `nowhere.pcap`: cannot open"));
}

#[test]
fn a_clock_that_jumps_by_years_is_a_fault() {
    let place = Place::new();
    let packet = text::packet(SYN).unwrap();
    let mut writer = PcapWriter::new(Vec::new()).unwrap();
    for day in [0, 10, 5, 400] {
        writer.write(Duration::from_secs(86_400 * day), packet.data()).unwrap();
    }
    std::fs::write(place.path("a.pcap"), writer.into_inner()).unwrap();
    let output = place.replay("a.pcap");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("packets   3 replayed"), "{said}");
    assert!(said.contains("doubtful  1 earlier than the one before\n"), "{said}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("366 days or more behind the first"));
}

#[test]
fn what_a_replay_cannot_reproduce_is_refused() {
    let place = Place::new();
    place.pcap("a.pcap", &[SYN]);
    let kernel = DEMO.replace("mode   = \"http\"", "mode   = \"http\"\nupstream = \"kernel\"");
    place.file("kernel.toml", &kernel);
    let said = place.says("a.pcap -c kernel.toml", 78);
    assert!(said.contains("service `l7` reaches its backends by sockets of the host"), "{said}");
}

#[test]
fn speed_1x_takes_as_long_as_the_capture_did() {
    let place = Place::new();
    place.pcap("a.pcap", &[SYN; 40]);
    let started = std::time::Instant::now();
    place.prints("a.pcap --speed 1x", 0);
    assert!(started.elapsed() >= Duration::from_millis(39));
}

#[test]
fn the_page_about_replays_names_every_flag() {
    let page = include_str!("../../docs/replay.md");
    let mut help = Command::new(env!("CARGO_BIN_EXE_balun"));
    let help = help.args(["replay", "--help"]).output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let words = help.split_whitespace().map(|word| word.trim_matches([',', '.', '`']));
    let mut missing: Vec<_> =
        words.filter(|word| word.starts_with("--") && word.len() > 2).collect();
    missing
        .retain(|word| !page.contains(word) && !["--quiet", "--verbose", "--help"].contains(word));
    assert!(missing.is_empty(), "{missing:?}");
}
