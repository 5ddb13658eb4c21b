//! Mode `tcp`.

use std::net::SocketAddr;
use std::rc::Rc;

use l7::proxy_protocol::Version;
use l7::{SpliceService, Timeouts, splice};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::task::spawn_local;
use tokio::time::{Duration, Instant};

use crate::harness::*;

fn service(network: &Rc<Network>) -> Rc<SpliceService<Connector>> {
    Rc::new(SpliceService::new(network.connector(), network.balance(), Timeouts::default()))
}

/// Sends back what comes until the client ends, then a word more.
fn echo() -> Backend {
    serves(|mut stream, _| async move {
        let mut bytes = [0; 777];
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) => break,
                Ok(count) => stream.write_all(&bytes[..count]).await.unwrap(),
                Err(_) => return,
            }
        }
        stream.write_all(b"bye").await.unwrap();
        stream.shutdown().await.unwrap();
    })
}

#[tokio::test(start_paused = true)]
async fn bytes_pass_both_ways_and_each_side_ends_on_its_own() {
    for seed in 1..=8 {
        local(async {
            let network = Network::new([Backend::Refuses, echo()]);
            network.seed.set(seed);
            let service = service(&network);
            let (near, far) = duplex(PIPE);
            let task =
                spawn_local(splice(network.ragged(far), peer(), peer(), Rc::clone(&service)));
            let (mut reader, mut writer) = split(near);
            let sent = pattern(300_000, seed);
            let copy = sent.clone();
            spawn_local(async move {
                writer.write_all(&copy).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            let mut found = Vec::new();
            reader.read_to_end(&mut found).await.unwrap();
            assert!(found[..sent.len()] == sent && found.ends_with(b"bye"), "seed {seed}");
            task.await.unwrap();
            let stats = service.stats();
            assert_eq!(service.connections_by_backend(), [0, 1]);
            assert_eq!((stats.bytes_up.get(), stats.bytes_down.get()), (300_000, 300_003));
            assert_eq!((stats.aborted.get(), stats.upstream_failures.get()), (0, 1));
            assert_eq!(network.released.get(), 2);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_side_that_fails_takes_the_other_with_it() {
    local(async {
        let network = Network::new([serves(|mut stream, _| async move {
            expect(&mut stream, "hello").await;
        })]);
        let service = service(&network);
        let (mut near, far) = duplex(PIPE);
        let task = spawn_local(splice(far, peer(), peer(), Rc::clone(&service)));
        near.write_all(b"hello").await.unwrap();
        // The backend is gone: its end reaches us, and writing to it fails.
        assert!(ended(&mut near).await);
        let _ = near.write_all(b"more").await;
        task.await.unwrap();
        assert_eq!(service.stats().aborted.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_backend_the_client_is_dropped() {
    local(async {
        let network = Network::new([Backend::Refuses]);
        let service = service(&network);
        let (mut near, far) = duplex(PIPE);
        splice(far, peer(), peer(), Rc::clone(&service)).await;
        assert!(ended(&mut near).await);
        assert_eq!(service.stats().refused.get(), 1);
        assert_eq!(*network.failed.borrow(), [0]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_pair_is_cut_off_after_its_time() {
    local(async {
        let network = Network::new([echo()]);
        let service = service(&network);
        let (mut near, far) = duplex(PIPE);
        let task = spawn_local(splice(far, peer(), peer(), Rc::clone(&service)));
        let began = Instant::now();
        let half = Timeouts::default().tunnel / 2;
        tokio::time::sleep(half).await;
        near.write_all(b"x").await.unwrap();
        expect(&mut near, "x").await;
        task.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), (half * 3).as_secs());
        assert_eq!(service.stats().aborted.get(), 1);
        drop(near);
        tokio::time::sleep(Duration::from_secs(1)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_proxy_header_comes_before_the_client_has_spoken() {
    local(async {
        let local: SocketAddr = "10.99.0.1:80".parse().unwrap();
        let network = Network::new([serves(move |mut stream, _| async move {
            let header = Version::V1.header(peer(), local);
            expect(&mut stream, std::str::from_utf8(&header).unwrap()).await;
            stream.write_all(b"welcome").await.unwrap();
            expect(&mut stream, "thanks").await;
        })]);
        let timeouts = Timeouts::default();
        let service = SpliceService::new(network.connector(), network.balance(), timeouts);
        let service = Rc::new(service.with_proxy_protocol(Some(Version::V1)));
        let (mut near, far) = duplex(PIPE);
        spawn_local(splice(far, peer(), local, Rc::clone(&service)));
        expect(&mut near, "welcome").await;
        near.write_all(b"thanks").await.unwrap();
        assert!(ended(&mut near).await);
        assert_eq!(service.stats().bytes_up.get(), 6);
    })
    .await;
}
