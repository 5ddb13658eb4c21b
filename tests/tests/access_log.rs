//! What the access log tells of requests over simulated links: what only their own TCP knows.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as it does")]

use std::path::Path;
use std::time::Duration;

use balun::access_log::AccessLogs;
use balun::lab::client::Dial;
use balun::plan::{LogPlan, Plan};
use balun::sim::SimDial;
use l7::log::Format;
use netstack::wire::Family;
use tests::bench::{Bench, Scenario, simulate_with};
use tests::topology::{Mode, vip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_mins(1);

/// What the client asks for: `/1/2/LEN` is answered with `LEN` bytes.
fn get(len: u32) -> String {
    format!("GET /1/2/{len} HTTP/1.1\r\nHost: site.test\r\n\r\n")
}

/// Has every service of `plan` log to `path`.
fn log_all(plan: &mut Plan, format: &str, path: &Path) -> AccessLogs {
    for application in plan.applications.iter_mut().flatten() {
        let format = Format::parse(format).unwrap();
        application.log = Some(LogPlan { format, path: path.to_owned(), sink: None });
    }
    AccessLogs::open(plan).unwrap()
}

/// The lines of the log after `client` has done its work in `scenario`.
fn lines<F: Future<Output = ()> + 'static>(
    scenario: Scenario,
    format: &str,
    client: impl FnOnce(SimDial) -> F,
) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut logs = None;
    simulate_with(
        scenario,
        "a logged request",
        |plan| logs = Some(log_all(plan, format, &path)),
        async |bench: &mut Bench| {
            let dial = bench.dial();
            let done = bench.spawn(client(dial));
            bench.finish(LIMIT, vec![done]).await;
            bench.pass(LIMIT).await;
        },
    );
    let mut said = Vec::new();
    logs.unwrap().finish_after((), &mut said);
    let text = std::fs::read_to_string(&path).unwrap();
    let expected = format!("log      {}  {} lines\n", path.display(), text.lines().count());
    assert_eq!(String::from_utf8(said).unwrap(), expected);
    text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

/// Reads an answer with so many bytes of body; how long it is.
async fn read_answer(stream: &mut (impl AsyncReadExt + Unpin), body: usize) -> usize {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    stream.read_exact(&mut vec![0; body]).await.unwrap();
    text.len() + body
}

fn millis(text: &str) -> f64 {
    text.parse().unwrap()
}

#[test]
fn round_trips_bytes_and_segments_are_those_of_the_wire() {
    let scenario = Scenario { backends: 1, ..Scenario::new(1, Family::V4) };
    let format = "{received} {sent} {response_body} {client_handshake_ms} {client_rtt_ms} \
                  {client_segments_in} {client_segments_out} {client_retransmits} {connect_ms} \
                  {backend_handshake_ms} {first_byte_ms} {total_ms} {backend_reused} {client} {end}";
    let told = lines(scenario, format, async |dial| {
        let mut stream = dial.dial(vip(Family::V4, Mode::Http.web_port())).await.unwrap();
        for len in [5_u32, 9] {
            stream.write_all(get(len).as_bytes()).await.unwrap();
            read_answer(&mut stream, len as usize).await;
        }
    });
    assert_eq!(told.len(), 2);
    for (line, (len, reused)) in told.iter().zip([(5, "false"), (9, "true")]) {
        assert_eq!(line[0], get(len).len().to_string(), "the request's own bytes");
        assert!(line[1].parse::<usize>().unwrap() > len as usize, "head and body");
        assert_eq!((line[2].as_str(), line[12].as_str()), (&*len.to_string(), reused));
        assert!(line[13].starts_with("10.1.0.5:"), "{line:?}");
        assert_eq!(line[14], "ok");
        // Links of 1 ms: there and back is 2 ms on either side.
        for (name, at) in
            [("client handshake", 3), ("client", 4), ("backend handshake", 9), ("first byte", 10)]
        {
            assert!((2.0..3.0).contains(&millis(&line[at])), "{name}: {line:?}");
        }
        assert_eq!(line[7], "0");
    }
    assert!((2.0..3.0).contains(&millis(&told[0][8])) && told[1][8] == "-", "connect");
    assert!((4.0..6.0).contains(&millis(&told[0][11])), "it connected first: {told:?}");
    assert!((2.0..3.0).contains(&millis(&told[1][11])), "it did not: {told:?}");
    let segments = |line: &[String], at: usize| line[at].parse::<u32>().unwrap();
    // ACK of the handshake, request; SYN-ACK, answer.
    assert_eq!((segments(&told[0], 5), segments(&told[0], 6)), (2, 2));
    assert!(segments(&told[1], 5) > 2 && segments(&told[1], 6) > 2, "they grow");
}

#[test]
fn what_was_sent_again_is_told() {
    let mut scenario = Scenario::new(5, Family::V6);
    scenario.impairment.loss = 30_000;
    scenario.impairment.mtu = 1500;
    let format = "{client_retransmits} {backend_retransmits} {response_body} {end}";
    let told = lines(scenario, format, async |dial| {
        let mut stream = dial.dial(vip(Family::V6, Mode::Http.web_port())).await.unwrap();
        stream.write_all(get(300_000).as_bytes()).await.unwrap();
        read_answer(&mut stream, 300_000).await;
    });
    assert!(told[0][0].parse::<u32>().unwrap() > 0, "3 % of some 200 segments: {told:?}");
    assert_eq!(told[0][2..], ["300000", "ok"]);
}

#[test]
fn a_client_that_resets_is_told_with_what_its_connection_went_through() {
    let mut scenario = Scenario::new(3, Family::V4);
    scenario.impairment.rate = 1_000_000;
    let format = "{end} {client_reset} {client_handshake_ms} {backend_reset}";
    let told = lines(scenario, format, async |dial| {
        let mut stream = dial.dial(vip(Family::V4, Mode::Http.web_port())).await.unwrap();
        stream.write_all(get(3_000_000).as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 1000]).await.unwrap();
        // With data that was not read, this is a RST.
        drop(stream);
    });
    assert_eq!(told.len(), 1);
    assert_eq!((told[0][0].as_str(), told[0][1].as_str()), ("client-gone", "true"));
    assert!(millis(&told[0][2]) > 2.0, "{told:?}");
    assert_eq!(told[0][3], "false");
}

#[test]
fn a_connection_of_mode_tcp_has_its_line() {
    let scenario = Scenario::new(1, Family::V4);
    let format = "{scheme} {received} {sent} {request_body} {end} {client_rtt_ms}";
    let told = lines(scenario, format, async |dial| {
        let mut stream = dial.dial(vip(Family::V4, Mode::Tcp.web_port())).await.unwrap();
        stream.write_all(get(7).as_bytes()).await.unwrap();
        let answered = read_answer(&mut stream, 7).await;
        assert!(answered > 7);
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
    });
    assert_eq!(told.len(), 1);
    let asked = get(7).len().to_string();
    assert_eq!((told[0][0].as_str(), &told[0][1], &told[0][3]), ("tcp", &asked, &asked));
    assert_eq!(told[0][4], "tunnel");
    assert!((2.0..3.0).contains(&millis(&told[0][5])), "{told:?}");
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let log = || {
        lines(Scenario::new(9, Family::V4), "{request_id} {received} {total_ms}", async |dial| {
            let mut stream = dial.dial(vip(Family::V4, Mode::Http.web_port())).await.unwrap();
            stream.write_all(get(5).as_bytes()).await.unwrap();
            read_answer(&mut stream, 5).await;
        })
    };
    let once = log();
    assert_eq!(once, log());
    assert_eq!(once[0][0].len(), 32);
}
