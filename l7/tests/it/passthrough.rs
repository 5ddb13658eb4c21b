//! Mode `tcp`, where a client goes by the server name of its TLS.

use std::rc::Rc;
use std::sync::Arc;

use l7::tls::names::Names;
use l7::unserved::Unserved;
use l7::{SpliceService, Target, Timeouts, splice};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::spawn_local;
use tokio::time::{Duration, Instant};

use crate::harness::*;

type Passthrough = Rc<SpliceService<Connector>>;

/// `a.lab` leads to `a`, one label before `.b.lab` to `b`, and all else to `rest`, if there is such.
fn service(rest: bool) -> Passthrough {
    let target = |word: &'static str| {
        let network = Network::new([repeats(word)]);
        Rc::new(Target::new(network.connector(), network.balance()))
    };
    let mut names = Names::default();
    names.add("a.lab", target("a"));
    names.add("*.b.lab", target("b"));
    Rc::new(SpliceService::by_name(rest.then(|| target("rest")), names, Timeouts::default()))
}

/// Says its name, then sends back what comes.
fn repeats(word: &'static str) -> Backend {
    serves(move |mut stream, _| async move {
        let _ = stream.write_all(format!("{word}:").as_bytes()).await;
        let mut bytes = [0; 512];
        while let Ok(count @ 1..) = stream.read(&mut bytes).await {
            if stream.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    })
}

/// What a client sends first that asks for `name`; an address is no name.
fn hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn dial(service: &Passthrough) -> DuplexStream {
    let (near, far) = duplex(PIPE);
    spawn_local(splice(far, peer(), local_address(), Rc::clone(service)));
    near
}

/// Sends `pieces` one by one, each after the one before has been read; then ends. All that comes back.
async fn answer(service: &Passthrough, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = dial(service);
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// The answer of the pool that says `word`, to a client that sent `bytes`.
fn of(word: &str, bytes: &[u8]) -> Vec<u8> {
    [word.as_bytes(), b":", bytes].concat()
}

#[tokio::test(start_paused = true)]
async fn the_pool_follows_the_name_and_the_backend_gets_every_byte() {
    local(async {
        let service = service(true);
        for (name, word) in [
            ("a.lab", "a"),
            ("A.LAB", "a"),
            ("x.b.lab", "b"),
            ("b.lab", "rest"),
            ("10.0.0.1", "rest"),
        ] {
            let bytes = hello(name);
            assert_eq!(answer(&service, &[&bytes]).await, of(word, &bytes), "{name}");
            assert_eq!(
                answer(&service, &[&bytes, b"more"]).await.len(),
                word.len() + 1 + bytes.len() + 4
            );
        }
        for other in ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n"] {
            assert_eq!(answer(&service, &[other.as_bytes()]).await, of("rest", other.as_bytes()));
        }
        assert_eq!(service.stats().unserved.iter().count(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hello_may_come_in_any_two_pieces_or_byte_by_byte() {
    local(async {
        let service = service(false);
        let bytes = hello("x.b.lab");
        let expected = of("b", &bytes);
        for cut in 1..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert!(answer(&service, &[head, tail]).await == expected, "cut at {cut}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert!(answer(&service, &single).await == expected);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_pool_for_them_clients_are_told_why_and_counted() {
    local(async {
        let service = service(false);
        let mut torn = hello("a.lab");
        // The length of the session id.
        torn[5 + 4 + 2 + 32] = 33;
        let alert = |description| vec![21, 3, 3, 0, 2, 2, description];
        for (sent, told, reason) in [
            (hello("c.lab"), alert(112), Unserved::UnknownServerName),
            (hello("10.0.0.1"), alert(109), Unserved::NoServerName),
            (torn, alert(50), Unserved::BadHello),
            (vec![22, 3, 1, 64, 0, 1, 0, 64, 1], alert(50), Unserved::LongHello),
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Vec::new(), Unserved::NotTls),
            (hello("a.lab")[..100].to_vec(), Vec::new(), Unserved::HelloEnded),
            (Vec::new(), Vec::new(), Unserved::HelloEnded),
        ] {
            let before = service.stats().unserved.of(reason);
            assert_eq!(answer(&service, &[&sent]).await, told, "{reason:?}");
            assert_eq!(service.stats().unserved.of(reason), before + 1, "{reason:?}");
        }
        assert_eq!(service.stats().upstream_connects.get(), 0);
        assert_eq!(service.stats().refused.get(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_does_not_come_is_not_waited_for_without_end() {
    local(async {
        let service = service(true);
        let bytes = hello("a.lab");
        let began = Instant::now();
        let mut slow = dial(&service);
        let mut silent = dial(&service);
        // A byte now and then does not buy time.
        let trickle = spawn_local(async move {
            for byte in bytes {
                if slow.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            panic!("a slow hello was waited for");
        });
        assert!(ended(&mut silent).await);
        assert_eq!(began.elapsed(), Timeouts::default().handshake);
        trickle.await.unwrap();
        assert_eq!(service.stats().unserved.of(Unserved::SlowHello), 2);
    })
    .await;
}
