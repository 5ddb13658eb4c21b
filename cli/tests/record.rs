//! `balun demo --record`: a capture that explains itself.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use balun::demo::{Options, run_simulated};
use netstack::Packet;
use netstack::dev::CaptureReader;
use netstack::dev::pcapng::Direction;

fn record(path: &Path) {
    let options = Options {
        length: Duration::from_secs(2),
        backends: 2,
        break_after: Some(Duration::from_secs(1)),
        seed: 7,
        hold: false,
    };
    let mut out = Vec::new();
    run_simulated(options, Some(path), &mut out).unwrap();
    let said = String::from_utf8(out).unwrap();
    assert!(said.contains(&format!(" packets in {}", path.display())), "{said}");
}

#[test]
fn every_packet_of_a_simulated_demo_is_recorded_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.pcapng", "b.pcapng"].map(|name| folder.path().join(name));
    for path in &paths {
        record(path);
    }
    let [first, second] = paths.each_ref().map(|path| std::fs::read(path).unwrap());
    assert!(first == second, "the same seed makes the same file");

    let mut reader = CaptureReader::open(&paths[0]).unwrap();
    let mut packet = Packet::max_sized();
    let mut sides: HashMap<u64, Vec<Direction>> = HashMap::new();
    let (mut chosen, mut failed_over) = (0, 0);
    while let Some(captured) = reader.read(&mut packet).unwrap() {
        sides.entry(captured.packet_id.unwrap()).or_default().push(captured.direction.unwrap());
        if captured.direction == Some(Direction::Outbound) {
            continue;
        }
        chosen += u32::from(reader.comments().any(|c| c.contains(", round-robin, new, ")));
        failed_over +=
            usize::from(reader.comments().any(|c| c.contains("SYN moved from web/web1")));
    }
    let names: Vec<_> = reader.interfaces().iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["client", "web1", "web2"]);
    assert_eq!(reader.section().run().unwrap().seed, 7);
    // What passes is there twice; what ends here, or begins here, once; a SYN that the killed backend
    // refused leaves again, to another.
    let twice = sides.values().filter(|s| **s == [Direction::Inbound, Direction::Outbound]).count();
    let moved = sides.values().filter(|sides| sides.len() > 2).count();
    assert!(twice > 100, "{twice}");
    assert_eq!(moved, failed_over);
    assert!(chosen > 10, "{chosen}");
    assert!(failed_over > 0, "the killed backend refuses SYNs, which move");
}

#[test]
fn wireshark_follows_a_packet_through_the_balancer() {
    if Command::new("tshark").arg("--version").output().is_err() {
        assert!(std::env::var_os("BALUN_REQUIRE_TUN").is_none(), "tshark is not installed");
        eprintln!("skipped: tshark is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.pcapng");
    record(&path);
    let filter = "frame.packet_id == 1";
    let fields = "frame.interface_name frame.packet_flags_direction ip.src ip.dst tcp.dstport";
    let mut tshark = Command::new("tshark");
    tshark.arg("-r").arg(&path).args(["-n", "-Y", filter, "-T", "fields", "-E", "separator= "]);
    let output = tshark.args(fields.split(' ').flat_map(|f| ["-e", f])).output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "client 0x00000001 10.1.0.5 10.99.0.1 80");
    assert!(lines[1].starts_with("web") && lines[1].contains(" 0x00000002 10.99.0.250 10.2."));
}
