//! What a capture says of the packets that a balancer handles.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use balun::capture::{Comments, Options, Origin, Report, Ring, Side, Tap, Taps, Target, Trigger};
use nat::{DropReason, Engine, Verdict};
use netstack::dev::CaptureReader;
use netstack::dev::pcapng::{Block, Direction, PcapngReader, Run, Statistics};
use netstack::wire::text::{self, Line, filter::Filter};
use netstack::{Instant, LegId, Packet};
use tests::bed::config;

const SYN: &str = "tcp 10.1.0.5:40000 > 10.99.0.1:80 S mss=1460";
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// An engine with a tap, and a clock.
struct Bench {
    engine: Engine,
    taps: Taps,
    now: Instant,
}

impl Bench {
    fn new(target: Target, options: Options) -> Self {
        let mut engine = Engine::new(config()).unwrap();
        engine.set_accounting(true);
        let origin = Origin {
            run: Run { seed: 42, config: "sha256:00ff".into() },
            legs: vec!["client".into(), "web".into()],
            epoch: EPOCH,
        };
        let mut taps = Taps::default();
        taps.add(Tap::start(target, options, origin).unwrap()).unwrap();
        Self { engine, taps, now: Instant::from_millis(1_500) }
    }

    /// What the loop does with one packet that came by `leg`; gives what left for it.
    fn send(&mut self, leg: u16, line: &str) -> Option<Packet> {
        let mut packet = text::packet(line).unwrap();
        packet.leg = LegId(leg);
        self.taps.arrives(&mut packet);
        let verdict = self.engine.handle_packet(self.now, &mut packet);
        self.taps.decided(self.now, &self.engine, &packet);
        let mut other = Packet::max_sized();
        while self.engine.poll_transmit(&mut other) {
            self.taps.leaves(self.now, &self.engine, &mut other);
        }
        matches!(verdict, Verdict::Forward).then_some(packet)
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.taps.idle();
        assert!(!self.taps.is_empty());
    }

    fn finish(mut self) -> Report {
        let report = self.taps.end().remove(0);
        assert_eq!(report.error, None);
        report
    }
}

/// A packet of a capture.
#[derive(Debug, PartialEq)]
struct Seen {
    leg: String,
    inbound: bool,
    id: u64,
    line: String,
    comments: Vec<String>,
}

fn read(path: &Path) -> Vec<Seen> {
    let mut reader = CaptureReader::open(path).unwrap();
    let mut packet = Packet::max_sized();
    let mut all = Vec::new();
    while let Some(captured) = reader.read(&mut packet).unwrap() {
        all.push(Seen {
            leg: reader.interface_name(captured.interface).to_owned(),
            inbound: captured.direction == Some(Direction::Inbound),
            id: captured.packet_id.unwrap(),
            line: Line::of(&packet).to_string(),
            comments: reader.comments().map(str::to_owned).collect(),
        });
    }
    all
}

/// Captures what `traffic` does.
fn capture(options: Options, traffic: impl FnOnce(&mut Bench)) -> Vec<Seen> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pcapng");
    let mut bench = Bench::new(Target::File(path.clone()), options);
    traffic(&mut bench);
    assert_eq!(bench.finish().files, std::slice::from_ref(&path));
    read(&path)
}

fn filter(text: &str) -> Filter {
    Filter::parse(text).unwrap()
}

#[test]
fn a_packet_is_written_as_it_came_and_as_it_left_under_one_name() {
    let seen = capture(Options::default(), |bench| {
        bench.send(0, SYN);
        bench.send(0, "udp 10.1.0.5:5353 > 10.99.0.1:53 len=9");
    });
    let shape: Vec<_> = seen.iter().map(|s| (s.leg.as_str(), s.inbound, s.id)).collect();
    let expected = [("client", true, 1), ("web", false, 1), ("client", true, 2), ("web", false, 2)];
    assert_eq!(shape, expected);
    assert!(seen[0].line.starts_with("tcp 10.1.0.5:40000 > 10.99.0.1:80 S "), "{seen:#?}");
    assert!(seen[1].line.starts_with("tcp 10.99.0.250:"), "{seen:#?}");
    assert!(seen[1].line.contains(" > 10.2.0.1"), "{seen:#?}");
}

#[test]
fn the_brief_comment_names_service_flow_backend_and_state() {
    let seen = capture(Options::default(), |bench| drop(bench.send(0, SYN)));
    let [comment] = seen[0].comments.as_slice() else { panic!("{seen:#?}") };
    assert!(comment.starts_with("tcp 10.99.0.1:80 flow 1 > v4/b"), "{comment}");
    assert!(comment.ends_with("round-robin, new, syn-sent"), "{comment}");
    assert_eq!(seen[1].comments, seen[0].comments);
}

#[test]
fn full_comments_have_every_step_and_none_has_nothing() {
    let with = |comments| Options { comments, ..Options::default() };
    let seen = capture(with(Comments::Full), |bench| drop(bench.send(0, SYN)));
    let verbs = seen[0].comments.iter().skip(1).map(|c| c.split(' ').next().unwrap());
    let verbs: Vec<_> = verbs.collect();
    assert_eq!(verbs, ["vip", "flow", "choose", "snat", "rewrite"]);
    assert_eq!(seen[1].comments, seen[0].comments[..1], "steps are not said twice");
    let seen = capture(with(Comments::None), |bench| drop(bench.send(0, SYN)));
    assert!(seen.iter().all(|s| s.comments.is_empty()), "{seen:#?}");
}

#[test]
fn a_drop_is_the_packet_that_came_with_the_reason() {
    let seen = capture(Options::default(), |bench| {
        bench.send(0, "udp 10.99.0.1:5 > 10.99.0.1:53");
    });
    let [seen] = seen.as_slice() else { panic!("{seen:#?}") };
    assert!(seen.inbound);
    assert_eq!(seen.comments, ["drop:martian"]);
}

#[test]
fn only_drops_and_refusals_are_taken_if_asked_for() {
    let options = Options { dropped: true, ..Options::default() };
    let seen = capture(options, |bench| {
        bench.send(0, SYN);
        bench.send(0, "tcp 10.1.0.6:40000 > 10.99.0.1:80 P. seq=7 ack=1 len=10");
        bench.send(0, "udp 10.99.0.1:5 > 10.99.0.1:53");
    });
    let said: Vec<_> = seen.iter().map(|s| (s.inbound, s.id, s.comments[0].as_str())).collect();
    // A refusal is answered with a RST, which has the name of what it answers.
    let refused = "tcp 10.99.0.1:80, refused:no-flow";
    assert_eq!(said, [(true, 2, refused), (false, 2, refused), (true, 3, "drop:martian")]);
}

#[test]
fn a_filter_takes_both_forms_if_either_matches() {
    for (text, packets) in [("host 10.1.0.5", 4), ("dst port 8080", 2), ("src port 8080", 2)] {
        let options = Options { filter: filter(text), ..Options::default() };
        let seen = capture(options, |bench| {
            let out = bench.send(0, SYN).unwrap();
            let out = Line::of(&out).to_string();
            let ends: Vec<_> = out.split(' ').collect();
            bench.send(1, &format!("tcp {} > {} S. ack=1", ends[3], ends[1]));
            bench.send(0, "tcp 10.1.0.6:1 > 10.99.0.9:80 S");
        });
        assert_eq!(seen.len(), packets, "{text}: {seen:#?}");
    }
}

#[test]
fn one_side_is_that_of_the_client_or_of_the_backend_whichever_way_a_packet_goes() {
    for (side, leg) in [(Side::Client, "client"), (Side::Backend, "web")] {
        let seen = capture(Options { side, ..Options::default() }, |bench| {
            let out = bench.send(0, SYN).unwrap();
            let out = Line::of(&out).to_string();
            let ends: Vec<_> = out.split(' ').collect();
            bench.send(1, &format!("tcp {} > {} S. ack=1", ends[3], ends[1]));
        });
        let shape: Vec<_> = seen.iter().map(|s| (s.leg.as_str(), s.id)).collect();
        assert_eq!(shape, [(leg, 1), (leg, 2)]);
    }
}

#[test]
fn a_held_fragment_keeps_its_name() {
    let seen = capture(Options::default(), |bench| {
        bench.send(0, "udp 10.1.0.5 > 10.99.0.1 frag=16 ipid=7 len=8");
        bench.send(0, "udp 10.1.0.5:9 > 10.99.0.1:53 frag=0+ ipid=7 len=8");
    });
    let shape: Vec<_> = seen.iter().map(|s| (s.inbound, s.id)).collect();
    assert_eq!(shape, [(true, 1), (true, 2), (false, 2), (false, 1)], "{seen:#?}");
    assert_eq!(seen[0].comments, ["held"]);
}

#[test]
fn a_super_packet_is_one_packet_or_the_segments_of_a_wire() {
    let data = "tcp 10.1.0.5:40000 > 10.99.0.1:80 P. seq=1 ack=1 len=3000 gso=1448";
    let whole = Options { snaplen: 65_535, ..Options::default() };
    let traffic = |bench: &mut Bench| {
        bench.send(0, SYN);
        bench.send(0, data);
    };
    let seen = capture(whole.clone(), traffic);
    assert_eq!(seen.len(), 4);
    for seen in &seen[2..] {
        assert!(seen.line.contains(" len=3000"), "{}", seen.line);
        assert!(!seen.line.contains("csum="), "its sum is complete: {}", seen.line);
        assert_eq!(seen.comments[1], "offload gso=1448 csum=partial");
    }
    let seen = capture(Options { segment: true, ..whole }, traffic);
    let segments: Vec<_> = seen[2..].iter().map(|s| (s.inbound, s.id, s.comments.len())).collect();
    let of = |inbound| [(inbound, 2, 1), (inbound, 2, 0), (inbound, 2, 0)];
    assert_eq!(segments, [of(true), of(false)].concat());
    assert!(seen.iter().all(|s| !s.line.contains("csum=")), "{seen:#?}");
}

#[test]
fn what_exceeds_the_snapshot_length_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pcapng");
    let mut bench = Bench::new(Target::File(path.clone()), Options::default());
    bench.send(0, "udp 10.1.0.5:5353 > 10.99.0.1:53 len=1000");
    bench.finish();
    let mut reader = CaptureReader::open(&path).unwrap();
    let mut packet = Packet::max_sized();
    let captured = reader.read(&mut packet).unwrap().unwrap();
    assert_eq!((packet.len(), captured.cut), (256, 1028 - 256));
    assert_eq!(captured.time, EPOCH + Duration::from_millis(1_500));
    let run = reader.section().run().unwrap();
    assert_eq!((run.seed, run.config.as_str()), (42, "sha256:00ff"));
}

#[test]
fn the_same_packets_make_the_same_bytes() {
    let bytes = || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pcapng");
        let mut bench = Bench::new(Target::File(path.clone()), Options::default());
        bench.send(0, SYN);
        bench.wait(1);
        bench.send(0, "udp 10.1.0.5:5353 > 10.99.0.1:53 len=1000");
        bench.finish();
        std::fs::read(path).unwrap()
    };
    assert_eq!(bytes(), bytes());
}

fn ring(triggers: Vec<Trigger>) -> Options {
    let length = Duration::from_secs(10);
    let ring = Ring { length, memory: 1 << 20, triggers, files: 2 };
    Options { ring: Some(ring), ..Options::default() }
}

#[test]
fn a_ring_writes_the_last_seconds_once_a_trigger_comes_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drops.pcapng");
    let trigger = Trigger::Drop(Some(DropReason::Martian));
    let mut bench = Bench::new(Target::File(path.clone()), ring(vec![trigger]));
    bench.send(0, "udp 10.1.0.5:1 > 10.99.0.1:53");
    bench.wait(20);
    bench.send(0, "udp 10.1.0.5:2 > 10.99.0.1:53");
    bench.wait(5);
    bench.send(0, "udp 10.99.0.1:5 > 10.99.0.1:53");
    bench.wait(2);
    bench.send(0, "udp 10.1.0.5:3 > 10.99.0.1:53");
    let report = bench.finish();
    let file = folder.path().join("drops-1.pcapng");
    assert_eq!(report.files, std::slice::from_ref(&file));
    let seen = read(&file);
    // The packet of 25 seconds before is gone; what came after the trigger is there.
    let ids: Vec<_> = seen.iter().filter(|s| s.inbound).map(|s| s.id).collect();
    assert_eq!(ids, [2, 3, 4], "{seen:#?}");
    assert!(!path.exists());
}

#[test]
fn without_its_trigger_a_ring_writes_nothing_and_files_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pcapng");
    let mut bench = Bench::new(Target::File(path.clone()), ring(vec![Trigger::Reset]));
    bench.send(0, "udp 10.99.0.1:5 > 10.99.0.1:53");
    assert_eq!(bench.finish(), Report::default());

    let mut bench = Bench::new(Target::File(path), ring(vec![Trigger::Drop(None)]));
    for _ in 0..4 {
        bench.send(0, "udp 10.99.0.1:5 > 10.99.0.1:53");
        bench.wait(5);
        bench.send(0, SYN);
        bench.wait(5);
    }
    let report = bench.finish();
    let names: Vec<_> = report.files.iter().filter_map(|f| f.file_name()?.to_str()).collect();
    assert_eq!(names, ["x-1.pcapng", "x-2.pcapng"]);
}

/// A disk that takes nothing until it is let go, and keeps what it gets.
#[derive(Clone, Default)]
struct Disk(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    may_go: bool,
    bytes: Vec<u8>,
}

impl Disk {
    fn let_go(&self) {
        self.0.0.lock().unwrap().may_go = true;
        self.0.1.notify_all();
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap();
        // The header is written before the balancer starts.
        while !state.may_go && !state.bytes.is_empty() {
            state = self.0.1.wait(state).unwrap();
        }
        state.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_slow_disk_costs_packets_of_the_capture_which_are_counted() {
    let disk = Disk::default();
    let options = Options { snaplen: 65_535, ..Options::default() };
    let mut bench = Bench::new(Target::Stream(Box::new(disk.clone())), options);
    bench.send(0, SYN);
    let data = "tcp 10.1.0.5:40000 > 10.99.0.1:80 P. seq=1 ack=1 len=60000 gso=1448";
    for _ in 0..400 {
        assert!(bench.send(0, data).is_some(), "the balancer goes on");
    }
    disk.let_go();
    let report = bench.finish();
    assert!(report.lost > 0, "{report:?}");
    assert_eq!(report.lost + report.written, 2 * 401, "{report:?}");
    assert!(report.to_string().contains("lost, the disk was too slow"), "{report}");

    let file = disk.0.0.lock().unwrap().bytes.clone();
    let mut reader = PcapngReader::new(file.as_slice());
    let (mut counted, mut statistics) = (0, Statistics::default());
    while let Some(block) = reader.read().unwrap() {
        match block {
            Block::Packet(packet) => counted += packet.dropped.unwrap_or(0),
            Block::Statistics(s) => {
                statistics.dropped = Some(s.dropped.unwrap() + statistics.dropped.unwrap_or(0));
                statistics.written = Some(s.written.unwrap() + statistics.written.unwrap_or(0));
            }
            _ => {}
        }
    }
    assert_eq!((statistics.dropped, statistics.written), (Some(report.lost), Some(report.written)));
    assert!(counted <= report.lost);
}

/// A disk with room for so many writes.
struct Full(u32);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        self.0 = left;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_capture_and_not_the_balancer() {
    let mut bench = Bench::new(Target::Stream(Box::new(Full(1))), Options::default());
    for _ in 0..2_000 {
        assert!(bench.send(0, "udp 10.1.0.5:5353 > 10.99.0.1:53 len=9").is_some());
    }
    let report = bench.taps.end().remove(0);
    let error = report.error.unwrap();
    assert!(error.starts_with("the capture ended early: "), "{error}");
    assert_eq!(report.written, 0);
}

#[test]
fn a_capture_of_a_count_ends_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pcapng");
    let options = Options { count: Some(3), ..Options::default() };
    let mut bench = Bench::new(Target::File(path.clone()), options);
    for _ in 0..4 {
        bench.send(0, SYN);
    }
    bench.taps.idle();
    assert!(bench.taps.is_empty());
    assert_eq!(bench.finish().written, 3);
    assert_eq!(read(&path).len(), 3);
}

#[test]
fn several_captures_at_a_time_give_a_packet_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.pcapng", "b.pcapng"].map(|name| folder.path().join(name));
    let mut bench = Bench::new(Target::File(paths[0].clone()), Options::default());
    bench.send(0, SYN);
    let origin = Origin {
        run: Run { seed: 42, config: String::new() },
        legs: vec!["client".into(), "web".into()],
        epoch: EPOCH,
    };
    let udp = Options { filter: filter("udp"), ..Options::default() };
    bench.taps.add(Tap::start(Target::File(paths[1].clone()), udp, origin).unwrap()).unwrap();
    bench.send(0, SYN);
    bench.send(0, "udp 10.1.0.5:5353 > 10.99.0.1:53 len=9");
    assert_eq!(bench.taps.end().len(), 2);
    let [first, second] = paths.map(|path| read(&path));
    assert_eq!(first[first.len() - 2..], second);
    assert_eq!(second[0].id, 3);
}

#[test]
fn a_file_that_cannot_be_made_is_an_error_at_once() {
    let origin = Origin { run: Run { seed: 0, config: String::new() }, legs: vec![], epoch: EPOCH };
    let path = Path::new("/nonexistent/x.pcapng").into();
    let error = Tap::start(Target::File(path), Options::default(), origin).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
