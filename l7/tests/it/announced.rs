//! PROXY headers that balancers in front of us send.

use std::net::SocketAddr;
use std::rc::Rc;

use l7::proxy_protocol::{ProxyFrom, Version};
use l7::unserved::Unserved;
use l7::{Config, Forwarded, SpliceService, Timeouts, splice};
use nat::Prefix;
use netstack::wire::Address;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::spawn_local;
use tokio::time::Instant;

use crate::harness::*;

fn client_address() -> SocketAddr {
    ([192, 0, 2, 7], 1234).into()
}

fn asked_for() -> SocketAddr {
    ([203, 0, 113, 9], 443).into()
}

/// Those who are believed: the network of [`peer`].
fn trusted() -> ProxyFrom {
    ProxyFrom::new(vec![Prefix::new(Address::from_v4([10, 1, 0, 0]), 16).unwrap()])
}

/// A service of mode `tcp` that tells its backends what it was told.
fn passed_on(network: &Rc<Network>) -> Rc<SpliceService<Connector>> {
    let service = SpliceService::new(network.connector(), network.balance(), Timeouts::default());
    Rc::new(service.with_proxy_from(trusted()).with_proxy_protocol(Some(Version::V1)))
}

fn dial(service: &Rc<SpliceService<Connector>>, peer: SocketAddr) -> DuplexStream {
    let (near, far) = duplex(PIPE);
    spawn_local(splice(far, peer, local_address(), Rc::clone(service)));
    near
}

/// Sends back the first line that comes.
fn first_line() -> Backend {
    serves(|mut stream, _| async move {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(&line).await.unwrap();
    })
}

#[tokio::test(start_paused = true)]
async fn the_client_is_the_one_that_the_header_names() {
    local(async {
        let service = passed_on(&Network::new([first_line()]));
        let named = Version::V1.header(client_address(), asked_for());
        let connection = Version::V1.header(peer(), local_address());
        for (header, told) in [
            (named.clone(), &named),
            (Version::V2.header(client_address(), asked_for()), &named),
            // The sender's own connection, as its health checks are.
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), &connection),
            (b"PROXY UNKNOWN\r\n".to_vec(), &connection),
        ] {
            let mut stream = dial(&service, peer());
            stream.write_all(&header).await.unwrap();
            assert_eq!(read_all(&mut stream).await.as_bytes(), told, "{header:?}");
        }
        assert_eq!(service.stats().unserved.iter().count(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_follows_the_header_is_not_touched() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
        });
        let network = Network::new([backend]);
        let service =
            SpliceService::new(network.connector(), network.balance(), Timeouts::default());
        let service = Rc::new(service.with_proxy_from(trusted()));
        for version in [Version::V1, Version::V2] {
            let sent =
                [&version.header(client_address(), asked_for())[..], b"PROXY once more"].concat();
            for cut in 0..sent.len() {
                let mut stream = dial(&service, peer());
                stream.write_all(&sent[..cut]).await.unwrap();
                tokio::task::yield_now().await;
                stream.write_all(&sent[cut..]).await.unwrap();
                stream.shutdown().await.unwrap();
                assert_eq!(read_all(&mut stream).await, "PROXY once more", "cut at {cut}");
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn from_anybody_else_a_header_is_data_like_any() {
    local(async {
        let backend = serves(|mut stream, _| async move {
            let stranger = Version::V1.header(([10, 2, 0, 5], 1).into(), local_address());
            expect(&mut stream, std::str::from_utf8(&stranger).unwrap()).await;
            stream.write_all(b"and: ").await.unwrap();
            let mut rest = [0; 16];
            let count = stream.read(&mut rest).await.unwrap();
            stream.write_all(&rest[..count]).await.unwrap();
        });
        let service = passed_on(&Network::new([backend]));
        let mut stream = dial(&service, ([10, 2, 0, 5], 1).into());
        stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        assert_eq!(read_all(&mut stream).await, "and: PROXY UNKNOWN\r\n");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_header_that_is_bad_missing_or_slow_ends_the_connection() {
    local(async {
        let network = Network::new([first_line()]);
        let service = passed_on(&network);
        for (sent, reason) in [
            (&b"PROXY TCP4 10.1.0.5\r\n"[..], Unserved::BadProxyHeader),
            (b"GET / HTTP/1.1\r\n", Unserved::NoProxyHeader),
            (b"PROXY TCP4 ", Unserved::ProxyHeaderEnded),
        ] {
            let mut stream = dial(&service, peer());
            stream.write_all(sent).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(read_all(&mut stream).await, "");
            assert_eq!(service.stats().unserved.of(reason), 1, "{reason:?}");
        }
        let began = Instant::now();
        let mut stream = dial(&service, peer());
        stream.write_all(b"PROXY ").await.unwrap();
        assert!(ended(&mut stream).await);
        assert_eq!(began.elapsed(), Timeouts::default().handshake);
        assert_eq!(service.stats().unserved.of(Unserved::SlowProxyHeader), 1);
        assert_eq!(network.connects.borrow().len(), 0);
    })
    .await;
}

/// A service of mode `http` whose clients and backends are told of clients.
fn site(network: &Rc<Network>) -> Rc<l7::Service<Connector>> {
    network.service(Config {
        forwarded: Forwarded::Replace,
        proxy_from: trusted(),
        proxy_protocol: Some(Version::V1),
        ..Config::default()
    })
}

/// Takes a header as the first of each connection, then answers with it and what it is told in each request.
fn says_who() -> Backend {
    serves(|mut stream, number| async move {
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            match stream.read_u8().await {
                Ok(byte) => header.push(byte),
                Err(_) => return,
            }
        }
        let header = String::from_utf8(header).unwrap();
        while let Some((head, _)) = read_request(&mut stream).await {
            let client = field(&head, "X-Forwarded-For").unwrap();
            let body = format!("{number} {} {client}", header.trim_end());
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
}

async fn ask_on(stream: &mut DuplexStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = read_head(stream).await.unwrap();
    String::from_utf8(read_body(stream, &head).await).unwrap()
}

#[tokio::test(start_paused = true)]
async fn in_mode_http_a_connection_to_a_backend_is_of_one_client() {
    local(async {
        let network = Network::new([says_who()]);
        let service = site(&network);
        let dial = |peer: SocketAddr| {
            let (near, far) = duplex(PIPE);
            spawn_local(l7::accept(far, peer, local_address(), None, Rc::clone(&service)));
            near
        };
        let mut announced = dial(peer());
        let header = Version::V2.header(client_address(), asked_for());
        announced.write_all(&header).await.unwrap();
        let mut stranger = dial(([10, 2, 0, 5], 1).into());
        let expected =
            |number, client: &str, ends: &str| format!("{number} PROXY TCP4 {ends} {client}");
        for _ in 0..2 {
            let told = ask_on(&mut announced).await;
            let ends = "192.0.2.7 203.0.113.9 1234 443";
            assert_eq!(told, expected(0, "192.0.2.7", ends), "its own connection, kept");
            let told = ask_on(&mut stranger).await;
            assert_eq!(told, expected(1, "10.2.0.5", "10.2.0.5 10.99.0.2 1 80"));
        }
        assert_eq!(service.idle_connections(0), 0, "nobody else may have one");
        assert_eq!(service.stats().upstream_reuses.get(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn in_mode_http_a_bad_header_ends_the_connection_too() {
    local(async {
        let service = site(&Network::new([says_who()]));
        let (mut near, far) = duplex(PIPE);
        spawn_local(l7::accept(far, peer(), local_address(), None, Rc::clone(&service)));
        near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(ended(&mut near).await);
        assert_eq!(service.stats().unserved.of(Unserved::NoProxyHeader), 1);
        assert_eq!((service.stats().connections.get(), service.stats().requests.get()), (1, 0));
    })
    .await;
}
