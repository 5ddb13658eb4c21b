//! Clients of HTTP/2 that want work done for nothing: each flood ends the connection within a bound,
//! and what a sane client does in the same way does not.

use std::rc::Rc;

use l7::Service;
use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;

use crate::h2_harness::*;
use crate::harness::*;

/// More than any budget.
const MANY: u32 = 5000;

fn service(backend: Backend) -> (Rc<Network>, Rc<Service<Connector>>) {
    let network = Network::new([backend]);
    let service = network.service(config());
    (network, service)
}

fn ok() -> Backend {
    answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

/// Sends frames until the connection ends: how many, and the reason that it gives.
async fn flood(
    service: &Rc<Service<Connector>>,
    mut frames: impl FnMut(u32) -> Vec<(u8, u8, u32, Vec<u8>)>,
) -> (u32, Option<u8>) {
    let raw = Raw::open(client(service)).await;
    let (mut reader, mut writer) = raw.split();
    let reason = tokio::task::spawn_local(async move { reader.reason().await });
    for round in 0..MANY {
        for (kind, flags, stream, payload) in frames(round) {
            let sent = tokio::time::timeout(
                std::time::Duration::from_mins(1),
                writer.send(kind, flags, stream, &payload),
            );
            if !matches!(sent.await, Ok(true)) {
                drop(writer);
                return (round, reason.await.unwrap());
            }
        }
    }
    (MANY, None)
}

/// Whether a GET on a connection of its own is answered after `frames`.
async fn survives(frames: Vec<(u8, u8, u32, Vec<u8>)>) -> bool {
    let (_, service) = service(ok());
    let mut raw = Raw::open(client(&service)).await;
    for (kind, flags, stream, payload) in frames {
        if !raw.send(kind, flags, stream, &payload).await {
            return false;
        }
    }
    raw.send(HEADERS, END_HEADERS | END_STREAM, 2_000_001, &get_block("/")).await;
    while let Some(frame) = raw.receive().await {
        if (frame.kind, frame.stream) == (HEADERS, 2_000_001) {
            return frame.flags & END_STREAM != 0;
        }
    }
    false
}

#[tokio::test(start_paused = true)]
async fn a_ping_flood_ends_the_connection() {
    local(async {
        let (_, service) = service(ok());
        let (round, reason) = flood(&service, |_| vec![(PING, 0, 0, vec![7; 8])]).await;
        assert!(round < 2000, "{round}");
        assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
        assert_eq!(service.stats().floods.get(), 1);
        assert!(survives(vec![(PING, 0, 0, vec![7; 8]); 30]).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_settings_flood_ends_the_connection() {
    local(async {
        let (_, service) = service(ok());
        let (round, reason) = flood(&service, |_| vec![(SETTINGS, 0, 0, vec![])]).await;
        assert!(round < 2000, "{round}");
        assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
        assert!(survives(vec![(SETTINGS, 0, 0, vec![]); 10]).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn floods_of_frames_that_bring_nothing_end_the_connection() {
    local(async {
        let priority = vec![0, 0, 0, 0, 16];
        for (kind, stream, payload) in
            [(PRIORITY, 1, priority), (WINDOW_UPDATE, 0, vec![0, 0, 0, 1]), (0xf0, 0, vec![])]
        {
            let (_, service) = service(ok());
            let (round, reason) =
                flood(&service, |_| vec![(kind, 0, stream, payload.clone())]).await;
            assert!(round < 2000, "{kind}: {round}");
            assert_eq!(reason, Some(ENHANCE_YOUR_CALM), "{kind}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rapid_reset_ends_the_connection_and_leaves_no_backend_busy() {
    local(async {
        let (network, service) = service(serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            assert!(ended(&mut stream).await, "nobody waits for the answer");
        }));
        let (round, reason) = flood(&service, |round| {
            let id = 2 * round + 1;
            vec![
                (HEADERS, END_HEADERS | END_STREAM, id, get_block("/")),
                (RST_STREAM, 0, id, vec![0, 0, 0, 8]),
            ]
        })
        .await;
        assert!(round < 1000, "{round}");
        assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(network.released.get(), network.chosen.get());
        assert!(network.chosen.get() <= 1000);
        let few = (0..15).flat_map(|round| {
            let id = 2 * round + 1;
            let head = get_block("/");
            [(HEADERS, END_HEADERS | END_STREAM, id, head), (RST_STREAM, 0, id, vec![0, 0, 0, 8])]
        });
        assert!(survives(few.collect()).await, "who cancels a page full of images is served");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn made_you_reset_ends_the_connection() {
    local(async {
        let (network, service) = service(serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            ended(&mut stream).await;
        }));
        // A WINDOW_UPDATE of zero is an error of its stream, which we must reset.
        let (round, reason) = flood(&service, |round| {
            let id = 2 * round + 1;
            vec![
                (HEADERS, END_HEADERS | END_STREAM, id, get_block("/")),
                (WINDOW_UPDATE, 0, id, vec![0; 4]),
            ]
        })
        .await;
        assert!(round < 1000, "{round}");
        assert!(reason.is_some());
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(network.released.get(), network.chosen.get());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_continuation_flood_ends_the_connection() {
    local(async {
        let (network, service) = service(ok());
        let (round, reason) = flood(&service, |round| match round {
            0 => vec![(HEADERS, 0, 1, get_block("/"))],
            _ => vec![(CONTINUATION, 0, 1, block(&[("x", "y")]))],
        })
        .await;
        assert!(round < 1000, "{round}");
        assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
        assert!(network.connects.borrow().is_empty());
        let few = [
            (HEADERS, END_STREAM, 1, get_block("/")),
            (CONTINUATION, 0, 1, block(&[("x", "y")])),
            (CONTINUATION, END_HEADERS, 1, block(&[("x", "y")])),
        ];
        assert!(survives(few.into()).await);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_empty_data_ends_the_connection() {
    local(async {
        let (_, service) = service(ok());
        let head = block(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a.lab"),
            (":path", "/"),
        ]);
        let (round, reason) = flood(&service, |round| match round {
            0 => vec![(HEADERS, END_HEADERS, 1, head.clone())],
            _ => vec![(DATA, 0, 1, vec![])],
        })
        .await;
        assert!(round < 2000, "{round}");
        assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r18_a_header_list_that_is_too_long_is_refused_without_growing() {
    local(async {
        let (network, service) = service(ok());
        let mut raw = Raw::open(client(&service)).await;
        let mut fields = get_block("/");
        for _ in 0..400 {
            fields.extend(block(&[("x", &"y".repeat(100))]));
        }
        let (first, rest) = fields.split_at(16_000);
        raw.send(HEADERS, END_STREAM, 1, first).await;
        for (index, part) in rest.chunks(16_000).enumerate() {
            let last = index == rest.chunks(16_000).len() - 1;
            raw.send(CONTINUATION, if last { END_HEADERS } else { 0 }, 1, part).await;
        }
        let answered = loop {
            match raw.receive().await {
                Some(frame) if matches!(frame.kind, SETTINGS | WINDOW_UPDATE) => {}
                other => break other,
            }
        };
        assert!(matches!(answered.unwrap().kind, HEADERS | RST_STREAM));
        assert!(network.connects.borrow().is_empty());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_limit_are_refused_and_may_be_sent_again() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            read_request(&mut stream).await;
            ended(&mut stream).await;
        });
        let network = Network::new([backend]);
        let http2 = l7::Http2 { prior_knowledge: true, streams: 3 };
        let service = network.service(l7::Config { http2, ..config() });
        let mut raw = Raw::open(client(&service)).await;
        for round in 0..4 {
            raw.send(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, &get_block("/")).await;
        }
        let reset = loop {
            match raw.receive().await.unwrap() {
                frame if frame.kind == RST_STREAM => break frame,
                _ => {}
            }
        };
        assert_eq!((reset.stream, reset.payload[3]), (7, 7), "REFUSED_STREAM");
        assert_eq!(network.chosen.get(), 3);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_preface_that_does_not_come_ends_the_connection_in_time() {
    local(async {
        let (_, service) = service(ok());
        let mut stream = client(&service);
        stream.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
        let begin = tokio::time::Instant::now();
        assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 408 "));
        assert!(begin.elapsed() <= service.config().timeouts.head * 2);
    })
    .await;
}
