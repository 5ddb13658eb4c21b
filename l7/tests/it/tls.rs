//! TLS by server name, with a rustls client.

use std::rc::Rc;
use std::sync::Arc;

use l7::tls::serve_tls;
use l7::tls::server::{PemPair, server_config};
use l7::{Config, Forwarded};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::*;

struct Pair {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
}

fn pair(name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair {
        chain: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        der: made.cert.der().clone(),
    }
}

fn config(pairs: &[Pair]) -> Arc<ServerConfig> {
    let pems: Vec<_> = pairs
        .iter()
        .map(|pair| PemPair { chain: pair.chain.as_bytes(), key: pair.key.as_bytes() })
        .collect();
    Arc::new(server_config(&pems, &["http/1.1"]).unwrap())
}

fn trusting(pairs: &[Pair]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for pair in pairs {
        roots.add(pair.der.clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn connect(
    service: &Rc<l7::Service<Connector>>,
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<TlsStream<DuplexStream>> {
    let (near, far) = duplex(PIPE);
    let task = serve_tls(far, peer(), local_address(), Arc::clone(server), Rc::clone(service));
    spawn_local(task);
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::clone(client)).connect(name, near).await
}

#[tokio::test(start_paused = true)]
async fn the_certificate_follows_the_server_name_and_requests_pass() {
    local(async {
        let pairs = [pair("a.lab"), pair("*.b.lab"), pair("x.b.lab")];
        let server = config(&pairs);
        let trusting = Arc::new(trusting(&pairs));
        let backend = serves(|mut stream, _| async move {
            while let Some((head, _)) = read_request(&mut stream).await {
                assert_eq!(field(&head, "X-Forwarded-Proto"), Some("https"));
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        });
        let service = Network::new([backend])
            .service(Config { forwarded: Forwarded::Replace, ..Config::default() });
        for (name, expected) in [("a.lab", 0), ("y.b.lab", 1), ("x.b.lab", 2)] {
            let mut stream = connect(&service, &server, &trusting, name).await.unwrap();
            let (_, session) = stream.get_ref();
            assert_eq!(session.peer_certificates().unwrap()[0], pairs[expected].der, "{name}");
            assert_eq!(session.alpn_protocol(), Some(b"http/1.1".as_slice()));
            let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n");
            for _ in 0..2 {
                stream.write_all(request.as_bytes()).await.unwrap();
                expect(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
        // An unknown name gets the first certificate, which this client does not take for it.
        assert!(connect(&service, &server, &trusting, "other.lab").await.is_err());
        assert_eq!(service.stats().requests.get(), 6);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn sessions_resume() {
    local(async {
        let pairs = [pair("a.lab")];
        let server = config(&pairs);
        let trusting = Arc::new(trusting(&pairs));
        let service = Network::new([answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")])
            .service(Config::default());
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = connect(&service, &server, &trusting, "a.lab").await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a.lab\r\n\r\n").await.unwrap();
            expect(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn large_bodies_pass_and_the_end_is_announced() {
    local(async {
        let pairs = [pair("a.lab")];
        let server = config(&pairs);
        let trusting = Arc::new(trusting(&pairs));
        let body = pattern(300_000, 7);
        let copy = body.clone();
        let backend = serves(move |mut stream, _| {
            let body = copy.clone();
            async move {
                read_request(&mut stream).await;
                stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
                stream.write_all(&body).await.unwrap();
            }
        });
        let service = Network::new([backend]).service(Config::default());
        let mut stream = connect(&service, &server, &trusting, "a.lab").await.unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\nHost: a.lab\r\n\r\n").await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        // `read_to_end` within fails without close_notify.
        assert!(read_body(&mut stream, &head).await == body);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stalls_ends() {
    local(async {
        let pairs = [pair("a.lab")];
        let service = Network::new([]).service(Config::default());
        let (mut near, far) = duplex(PIPE);
        let service_of = Rc::clone(&service);
        let task = Box::pin(serve_tls(far, peer(), local_address(), config(&pairs), service_of));
        let began = tokio::time::Instant::now();
        task.await;
        assert_eq!(began.elapsed(), service.config().timeouts.handshake);
        assert!(ended(&mut near).await);
    })
    .await;
}
