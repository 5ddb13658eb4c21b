//! Bodies byte for byte, both ways at once, over streams that split and stall at random.

use l7::{Config, Forwarded};
use tokio::io::{AsyncWriteExt, duplex, split};
use tokio::task::spawn_local;

use crate::harness::*;

/// A backend that sends each request's body back, in the framing that the path names.
fn echo() -> Backend {
    serves(|mut stream, number| async move {
        while let Some((head, body)) = read_request(&mut stream).await {
            let path = head.split(' ').nth(1).unwrap();
            let mut answer = Vec::new();
            match path {
                "/length" => {
                    let fields =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    answer.extend_from_slice(fields.as_bytes());
                    answer.extend_from_slice(&body);
                }
                "/chunked" => {
                    answer.extend_from_slice(
                        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                    );
                    encode_chunks(&body, number as u64 + 1, &mut answer);
                }
                _ => {
                    answer.extend_from_slice(b"HTTP/1.1 200 OK\r\n\r\n");
                    answer.extend_from_slice(&body);
                }
            }
            stream.write_all(&answer).await.unwrap();
            if path == "/close" {
                return stream.shutdown().await.unwrap();
            }
        }
    })
}

fn encode_chunks(mut body: &[u8], mut seed: u64, out: &mut Vec<u8>) {
    while !body.is_empty() {
        seed = split_mix(seed);
        let (chunk, rest) = body.split_at(body.len().min(1 + seed as usize % 3000));
        out.extend_from_slice(format!("{:X};n={}\r\n", chunk.len(), seed % 10).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        body = rest;
    }
    out.extend_from_slice(b"0\r\nTrailer: x\r\n\r\n");
}

/// One client that sends requests of all framings and sizes without waiting for their answers.
async fn run(seed: u64) {
    let network = Network::new([echo(), echo()]);
    network.seed.set(seed);
    let service = network.service(Config { forwarded: Forwarded::Hide, ..Config::default() });
    let (near, far) = duplex(PIPE);
    let far = network.ragged(far);
    let server = spawn_local(l7::serve(far, peer(), local_address(), false, service.clone()));
    let sizes = [0, 1, 5, 4095, 4096, 70_000, 200_001];
    let mut cases = Vec::new();
    let mut state = seed;
    for number in 0..12 {
        state = split_mix(state);
        let size = sizes[state as usize % sizes.len()];
        let path = ["/length", "/chunked", "/close"][(state >> 8) as usize % 3];
        cases.push((path, (state >> 16) & 1 == 0, pattern(size, number)));
    }
    let (mut reader, mut writer) = split(Ragged::new(near, split_mix(seed ^ 1).max(1)));
    let sent = cases.clone();
    let sender = spawn_local(async move {
        for (path, chunked, body) in sent {
            let mut request = format!("POST {path} HTTP/1.1\r\nHost: a\r\n").into_bytes();
            if chunked {
                request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                encode_chunks(&body, body.len() as u64, &mut request);
            } else {
                let length = format!("Content-Length: {}\r\n\r\n", body.len());
                request.extend_from_slice(length.as_bytes());
                request.extend_from_slice(&body);
            }
            writer.write_all(&request).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    for (number, (path, chunked, body)) in cases.iter().enumerate() {
        let head = read_head(&mut reader).await.expect("a response");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "seed {seed}: {head}");
        let found = read_body(&mut reader, &head).await;
        assert!(found == *body, "seed {seed}, request {number} {path} chunked {chunked}");
    }
    assert!(ended(&mut reader).await, "seed {seed}");
    sender.await.unwrap();
    server.await.unwrap();
    let total: u64 = cases.iter().map(|(_, _, body)| body.len() as u64).sum();
    let stats = service.stats();
    assert_eq!((stats.bytes_up.get(), stats.bytes_down.get()), (total, total), "seed {seed}");
    assert_eq!(service.requests_by_backend(), [6, 6], "seed {seed}");
    assert_eq!(network.released.get(), 12, "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn bodies_survive_every_split() {
    for seed in 1..=20 {
        local(run(seed)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_flows_while_its_request_does() {
    local(async {
        // Answers each byte as it comes: nothing may wait for the end of the request.
        let backend = serves(|mut stream, _| async move {
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await.unwrap();
            for byte in ["a", "b", "c"] {
                expect(&mut stream, byte).await;
                stream.write_all(byte.to_uppercase().as_bytes()).await.unwrap();
            }
        });
        let service = Network::new([backend]).service(Config::default());
        let mut stream = client(&service);
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n").await.unwrap();
        read_head(&mut stream).await.unwrap();
        for byte in ["a", "b", "c"] {
            stream.write_all(byte.as_bytes()).await.unwrap();
            expect(&mut stream, &byte.to_uppercase()).await;
        }
        assert!(ended(&mut stream).await);
    })
    .await;
}
