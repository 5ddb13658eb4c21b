//! TLS with backends: who is trusted, what it is shown, and what becomes of clients if it is not.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use l7::proxy_protocol::Version;
use l7::tls::client::{BackendTls, ClientSettings, Secured};
use l7::tls::pem::{PemPair, authorities};
use l7::upstream::Connect;
use l7::{Config, Service, SpliceService, Timeouts, splice};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;

use crate::harness::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

struct Pem {
    chain: String,
    key: String,
}

/// A certificate for `name`, an address or a host's, for which `authority` vouches.
fn certificate(authority: &Authority, name: &str) -> Pem {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let signed = params.signed_by(&key, authority).unwrap();
    Pem { chain: signed.pem(), key: key.serialize_pem() }
}

/// What backends saw of our handshakes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    name: Option<String>,
    alpn: Option<Vec<u8>>,
    resumed: bool,
    identified: bool,
}

type AllSeen = Rc<std::cell::RefCell<Vec<Seen>>>;

/// A backend that ends TLS with this certificate and answers requests; one that asks who we are, of those
/// for whom `clients` vouches.
fn secure(pem: &Pem, clients: Option<&Authority>, seen: &AllSeen) -> Backend {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let roots = Arc::new(authorities(clients.pem().as_bytes()).unwrap());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = CertificateDer::pem_slice_iter(pem.chain.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let seen = Rc::clone(seen);
    serves(move |stream, _| {
        let (config, seen) = (Arc::clone(&config), Rc::clone(&seen));
        async move {
            let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else { return };
            let session = stream.get_ref().1;
            seen.borrow_mut().push(Seen {
                name: session.server_name().map(str::to_owned),
                alpn: session.alpn_protocol().map(<[u8]>::to_vec),
                resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
                identified: session.peer_certificates().is_some(),
            });
            while let Some((head, _)) = read_request(&mut stream).await {
                let close = head.contains("/close");
                let close = if close { "Connection: close\r\n" } else { "" };
                let answer = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: 2\r\n\r\nok");
                stream.write_all(answer.as_bytes()).await.unwrap();
                if !close.is_empty() {
                    stream.shutdown().await.unwrap();
                    return;
                }
            }
        }
    })
}

/// The first backend of the harness, with a certificate for `name` from one of `trusted`.
fn tls_to(name: &str, trusted: &Authority, identity: Option<&Pem>) -> (SocketAddr, BackendTls) {
    let identity =
        identity.map(|pem| PemPair { chain: pem.chain.as_bytes(), key: pem.key.as_bytes() });
    let authorities = Arc::new(authorities(trusted.pem().as_bytes()).unwrap());
    let settings = ClientSettings { authorities, identity, alpn: &["http/1.1"] };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    (([10, 2, 0, 11], 0).into(), BackendTls::new(name, &settings).unwrap())
}

fn service(
    network: &Rc<Network>,
    tls: (SocketAddr, BackendTls),
) -> Rc<Service<Secured<Connector>>> {
    let connector = Secured::new(network.connector(), [tls]);
    Rc::new(Service::new(connector, network.balance(), Config::default()))
}

/// What a client of mode `http` gets, the connection closed after it.
async fn get(service: &Rc<Service<Secured<Connector>>>, path: &str) -> String {
    let (mut near, far) = duplex(PIPE);
    spawn_local(l7::serve(far, peer(), local_address(), false, Rc::clone(service)));
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.lab\r\nConnection: close\r\n\r\n");
    near.write_all(request.as_bytes()).await.unwrap();
    read_all(&mut near).await
}

#[tokio::test(start_paused = true)]
async fn requests_reach_a_backend_that_is_who_it_should_be() {
    local(async {
        let (authority, seen) = (authority(), AllSeen::default());
        let pem = certificate(&authority, "tls1.lab");
        let network = Network::new([secure(&pem, None, &seen)]);
        let service = service(&network, tls_to("tls1.lab", &authority, None));
        for path in ["/", "/", "/close", "/"] {
            assert!(get(&service, path).await.starts_with("HTTP/1.1 200 OK"), "{path}");
        }
        let of = |resumed| Seen {
            name: Some("tls1.lab".to_owned()),
            alpn: Some(b"http/1.1".to_vec()),
            resumed,
            identified: false,
        };
        // The connection is kept, and the one after it takes up its session.
        assert_eq!(*seen.borrow(), [of(false), of(true)]);
        assert_eq!(service.stats().upstream_reuses.get(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_certificate_may_be_for_an_address() {
    local(async {
        let (authority, seen) = (authority(), AllSeen::default());
        let network = Network::new([secure(&certificate(&authority, "10.2.0.11"), None, &seen)]);
        let service = service(&network, tls_to("10.2.0.11", &authority, None));
        assert!(get(&service, "/").await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(seen.borrow()[0].name, None, "an address is not told");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_backend_that_is_not() {
    local(async {
        let (ours, other, seen) = (authority(), authority(), AllSeen::default());
        for (why, certificate) in [
            ("another name", certificate(&ours, "tls2.lab")),
            ("another authority", certificate(&other, "tls1.lab")),
        ] {
            let network = Network::new([secure(&certificate, None, &seen)]);
            let service = service(&network, tls_to("tls1.lab", &ours, None));
            let answer = get(&service, "/").await;
            assert!(answer.starts_with("HTTP/1.1 502 "), "{why}: {answer}");
            assert!(answer.contains("TLS with the backend failed"), "{why}: {answer}");
            assert_eq!(*network.failed.borrow(), [0], "{why}");
        }
        let network = Network::new([answers("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
        let service = service(&network, tls_to("tls1.lab", &ours, None));
        let began = tokio::time::Instant::now();
        let answer = get(&service, "/").await;
        assert!(answer.starts_with("HTTP/1.1 504 "), "one that waits for a request: {answer}");
        assert_eq!(began.elapsed(), Timeouts::default().handshake);
        assert_eq!(*seen.borrow(), []);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_asks_is_shown_a_certificate() {
    local(async {
        let (authority, clients, seen) = (authority(), authority(), AllSeen::default());
        let backend = secure(&certificate(&authority, "tls1.lab"), Some(&clients), &seen);
        let ours = certificate(&clients, "balun.lab");
        for (identity, status) in [(Some(&ours), "200"), (None, "502")] {
            let network = Network::new([backend.clone()]);
            let service = service(&network, tls_to("tls1.lab", &authority, identity));
            let answer = get(&service, "/").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        assert!(seen.borrow().len() == 1 && seen.borrow()[0].identified);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn plain_bytes_of_mode_tcp_are_put_into_tls_behind_the_proxy_header() {
    local(async {
        let (authority, seen) = (authority(), AllSeen::default());
        let Backend::Serves(inner) = secure(&certificate(&authority, "tls1.lab"), None, &seen)
        else {
            panic!("it serves")
        };
        let backend = serves(move |mut stream, number| {
            let inner = Rc::clone(&inner);
            async move {
                let header = Version::V1.header(peer(), local_address());
                expect(&mut stream, std::str::from_utf8(&header).unwrap()).await;
                inner(stream, number).await;
            }
        });
        let network = Network::new([backend]);
        let connector = Secured::new(network.connector(), [tls_to("tls1.lab", &authority, None)]);
        let service = SpliceService::new(connector, network.balance(), Timeouts::default());
        let service = Rc::new(service.with_proxy_protocol(Some(Version::V1)));
        let (mut near, far) = duplex(PIPE);
        spawn_local(splice(far, peer(), local_address(), service));
        near.write_all(b"GET /close HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(read_all(&mut near).await.ends_with("\r\n\r\nok"));
        assert_eq!(seen.borrow().len(), 1);
    })
    .await;
}

/// Keeps lines as a key log has them.
#[derive(Debug, Default)]
struct Labels(Mutex<Vec<String>>);

impl rustls::KeyLog for Labels {
    fn log(&self, label: &str, _: &[u8], _: &[u8]) {
        self.0.lock().unwrap().push(label.to_owned());
    }
}

#[tokio::test(start_paused = true)]
async fn the_secrets_of_connections_to_backends_are_offered_too() {
    local(async {
        let (authority, seen) = (authority(), AllSeen::default());
        let network = Network::new([secure(&certificate(&authority, "tls1.lab"), None, &seen)]);
        let (address, tls) = tls_to("tls1.lab", &authority, None);
        let labels = Arc::new(Labels::default());
        let tls = tls.with_key_log(Arc::clone(&labels) as Arc<dyn rustls::KeyLog>);
        let service = service(&network, (address, tls));
        get(&service, "/").await;
        let labels = labels.0.lock().unwrap();
        assert!(labels.iter().any(|label| label == "CLIENT_TRAFFIC_SECRET_0"), "{labels:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn other_backends_are_spoken_to_as_they_are() -> io::Result<()> {
    local(async {
        let authority = authority();
        let network = Network::new([Backend::Refuses, answers("pong")]);
        let secured = Secured::new(network.connector(), [tls_to("tls1.lab", &authority, None)]);
        let plain: SocketAddr = ([10, 2, 0, 11], 1).into();
        let stream = secured.connect(plain).await?;
        let mut stream = secured.secure(plain, stream).await?;
        assert_eq!(stream.alpn_protocol(), None);
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        assert_eq!(&answer, b"pong");
        Ok(())
    })
    .await
}
