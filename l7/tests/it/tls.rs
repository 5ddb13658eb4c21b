//! TLS by server name, with a rustls client.

use std::rc::Rc;
use std::sync::{Arc, Mutex};

use l7::tls::names::Names;
use l7::tls::pem::authorities;
use l7::tls::server::{
    ClientAuth, KeyLogScope, MinVersion, PemPair, Server, ServerSettings, TlsError,
};
use l7::unserved::Unserved;
use l7::{Config, Forwarded};
use netstack::wire::Address;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::*;

struct Pair {
    chain: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Pair {
    fn pem(&self) -> PemPair<'_> {
        PemPair { chain: self.chain.as_bytes(), key: self.key.as_bytes() }
    }
}

fn pair(name: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Pair {
        chain: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        der: made.cert.der().clone(),
    }
}

/// The settings of a service with these certificates.
fn settings(pairs: &[Pair]) -> ServerSettings<'_> {
    ServerSettings {
        pairs: pairs.iter().map(|pair| (pair.pem(), None)).collect(),
        alpn: &["http/1.1"],
        min_version: MinVersion::Tls12,
        clients: None,
    }
}

fn config(pairs: &[Pair]) -> Arc<Server> {
    Arc::new(Server::new(&settings(pairs), None).unwrap())
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
    server: &Arc<Server>,
    client: &Arc<ClientConfig>,
    name: &'static str,
) -> std::io::Result<TlsStream<DuplexStream>> {
    let (near, far) = duplex(PIPE);
    let server = Some(Arc::clone(server));
    spawn_local(l7::accept(far, peer(), local_address(), server, Rc::clone(service)));
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
            let suite = session.negotiated_cipher_suite().unwrap().suite();
            assert_eq!(
                suite,
                CipherSuite::TLS13_AES_128_GCM_SHA256,
                "the client has another first"
            );
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
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
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
        let server = Some(config(&pairs));
        let task = Box::pin(l7::accept(far, peer(), local_address(), server, service_of));
        let began = tokio::time::Instant::now();
        task.await;
        assert_eq!(began.elapsed(), service.config().timeouts.handshake);
        assert!(ended(&mut near).await);
        assert_eq!(service.stats().unserved.of(Unserved::SlowHandshake), 1);
    })
    .await;
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn site() -> Rc<l7::Service<Connector>> {
    Network::new([answers(OK)]).service(Config::default())
}

/// Asks once; how the handshake was made.
async fn asked(
    service: &Rc<l7::Service<Connector>>,
    server: &Arc<Server>,
    client: &Arc<ClientConfig>,
) -> std::io::Result<HandshakeKind> {
    let mut stream = connect(service, server, client, "a.lab").await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.lab\r\n\r\n").await?;
    let mut answer = vec![0; OK.len()];
    stream.read_exact(&mut answer).await?;
    assert_eq!(answer, OK.as_bytes());
    Ok(stream.get_ref().1.handshake_kind().unwrap())
}

#[tokio::test(start_paused = true)]
async fn certificates_change_for_new_connections_and_bad_ones_change_nothing() {
    local(async {
        let (old, new) = ([pair("a.lab")], [pair("a.lab")]);
        let server = config(&old);
        let [trusts_old, trusts_new] = [&old, &new].map(|pairs| Arc::new(trusting(pairs)));
        let service = site();
        let mut early = connect(&service, &server, &trusts_old, "a.lab").await.unwrap();
        let torn = PemPair { chain: new[0].chain.as_bytes(), key: old[0].key.as_bytes() };
        let torn = ServerSettings { pairs: vec![(torn, None)], ..settings(&new) };
        assert!(matches!(server.reload(&torn), Err(TlsError::KeyMismatch { pair: 0 })));
        assert_eq!(asked(&service, &server, &trusts_old).await.unwrap(), HandshakeKind::Full);
        server.reload(&settings(&new)).unwrap();
        assert_eq!(asked(&service, &server, &trusts_new).await.unwrap(), HandshakeKind::Full);
        // What was agreed on before goes on, and is taken up again.
        assert_eq!(asked(&service, &server, &trusts_old).await.unwrap(), HandshakeKind::Resumed);
        early.write_all(b"GET / HTTP/1.1\r\nHost: a.lab\r\n\r\n").await.unwrap();
        expect(&mut early, OK).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn clients_of_an_older_version_are_refused_if_so_configured() {
    local(async {
        let pairs = [pair("a.lab")];
        let mut old = trusting(&pairs);
        old = ClientConfig::builder_with_provider(Arc::clone(old.crypto_provider()))
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates({
                let mut roots = RootCertStore::empty();
                roots.add(pairs[0].der.clone()).unwrap();
                roots
            })
            .with_no_client_auth();
        let old = Arc::new(old);
        let (service, server) = (site(), config(&pairs));
        let stream = connect(&service, &server, &old, "a.lab").await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
        let strict = ServerSettings { min_version: MinVersion::Tls13, ..settings(&pairs) };
        let server = Arc::new(Server::new(&strict, None).unwrap());
        assert!(connect(&service, &server, &old, "a.lab").await.is_err());
        assert_eq!(service.stats().unserved.of(Unserved::HandshakeFailed), 1);
        assert!(asked(&service, &server, &Arc::new(trusting(&pairs))).await.is_ok());
    })
    .await;
}

/// A client that shows `identity`, if it is asked and has one.
fn identified(pairs: &[Pair], identity: Option<&Pair>) -> Arc<ClientConfig> {
    let mut config = trusting(pairs);
    if let Some(identity) = identity {
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        for pair in pairs {
            roots.add(pair.der.clone()).unwrap();
        }
        config = ClientConfig::builder_with_provider(Arc::clone(config.crypto_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![identity.der.clone()], key)
            .unwrap();
    }
    Arc::new(config)
}

fn asks_for(client: &Pair, required: bool) -> ClientAuth {
    let authorities = Arc::new(authorities(client.chain.as_bytes()).unwrap());
    ClientAuth { authorities, required }
}

#[tokio::test(start_paused = true)]
async fn clients_are_asked_who_they_are() {
    local(async {
        let (pairs, alice, eve) = ([pair("a.lab")], pair("alice.lab"), pair("eve.lab"));
        let service = site();
        for (required, identity, served) in [
            (true, Some(&alice), true),
            (true, None, false),
            (true, Some(&eve), false),
            (false, Some(&alice), true),
            (false, None, true),
            // One that lies is not better off for not being asked in earnest.
            (false, Some(&eve), false),
        ] {
            let asks =
                ServerSettings { clients: Some(asks_for(&alice, required)), ..settings(&pairs) };
            let server = Arc::new(Server::new(&asks, None).unwrap());
            let asked = asked(&service, &server, &identified(&pairs, identity)).await;
            assert_eq!(asked.is_ok(), served, "required: {required}, {asked:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn sessions_of_clients_end_when_others_vouch_for_them() {
    local(async {
        let (pairs, alice, bob) = ([pair("a.lab")], pair("alice.lab"), pair("bob.lab"));
        let asks =
            |client| ServerSettings { clients: Some(asks_for(client, true)), ..settings(&pairs) };
        let server = Arc::new(Server::new(&asks(&alice), None).unwrap());
        let (service, client) = (site(), identified(&pairs, Some(&alice)));
        assert_eq!(asked(&service, &server, &client).await.unwrap(), HandshakeKind::Full);
        server.reload(&asks(&alice)).unwrap();
        assert_eq!(asked(&service, &server, &client).await.unwrap(), HandshakeKind::Resumed);
        server.reload(&asks(&bob)).unwrap();
        assert!(asked(&service, &server, &client).await.is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_ocsp_response_is_stapled_if_it_is_one() {
    /// Keeps what is stapled; the certificate itself is not looked at.
    #[derive(Debug)]
    struct Stapled(Mutex<Vec<u8>>, Arc<rustls::crypto::CryptoProvider>);

    impl rustls::client::danger::ServerCertVerifier for Stapled {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            ocsp: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            ocsp.clone_into(&mut self.0.lock().unwrap());
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.1.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.1.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.1.signature_verification_algorithms.supported_schemes()
        }
    }

    local(async {
        let pairs = [pair("a.lab")];
        let with = |ocsp| {
            let mut settings = settings(&pairs);
            settings.pairs[0].1 = Some(ocsp);
            Server::new(&settings, None)
        };
        // Their contents are the client's affair.
        let long = [&[0x30, 0x82, 1, 3, 0x0a, 1, 0][..], &[7; 256]].concat();
        for response in [&[0x30, 0x81, 4, 0x0a, 1, 0, 7][..], &long] {
            let server = Arc::new(with(response).unwrap());
            let mut client = trusting(&pairs);
            let stapled = Stapled(Mutex::default(), Arc::clone(client.crypto_provider()));
            let stapled = Arc::new(stapled);
            client.dangerous().set_certificate_verifier(Arc::clone(&stapled) as _);
            connect(&site(), &server, &Arc::new(client), "a.lab").await.unwrap();
            assert_eq!(*stapled.0.lock().unwrap(), response);
        }
        // Not successful; cut; more behind it; a page that says that there is none.
        for bad in [&[0x30, 3, 0x0a, 1, 6][..], &long[..99], &[&long[..], b"x"].concat(), b"<html>"]
        {
            assert!(matches!(with(bad), Err(TlsError::BadOcsp { pair: 0 })), "{bad:?}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_for_the_host_of_another_certificate_is_misdirected() {
    local(async {
        let pairs = [pair("a.lab"), pair("b.lab")];
        let (server, trusting) = (config(&pairs), Arc::new(trusting(&pairs)));
        let service = site();
        for (target, host, status) in [
            ("/", "a.lab", "200"),
            ("/", "A.LAB:443", "200"),
            ("/", "b.lab", "421"),
            ("https://b.lab/", "b.lab", "421"),
            // What none is for gets the first, as it would have.
            ("/", "other.lab", "200"),
        ] {
            let mut stream = connect(&service, &server, &trusting, "a.lab").await.unwrap();
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = read_head(&mut stream).await.unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {host}: {head}");
        }
    })
    .await;
}

/// Counts secrets.
#[derive(Debug, Default)]
struct Count(Mutex<usize>);

impl rustls::KeyLog for Count {
    fn log(&self, _: &str, _: &[u8], _: &[u8]) {
        *self.0.lock().unwrap() += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_logged_of_those_names_and_clients_alone() {
    local(async {
        let pairs = [pair("a.lab")];
        let network = |first| nat::Prefix::new(Address::from_v4([10, first, 0, 0]), 16).unwrap();
        for (name, clients, logged) in [
            (None, vec![], true),
            (Some("a.lab"), vec![], true),
            (Some("*.a.lab"), vec![], false),
            (None, vec![network(1)], true),
            (None, vec![network(2)], false),
            (Some("a.lab"), vec![network(2), network(1)], true),
            (Some("b.lab"), vec![network(1)], false),
        ] {
            let count = Arc::new(Count::default());
            let mut names = Names::default();
            name.map(|name| names.add(name, ()));
            let log = Arc::clone(&count) as Arc<dyn rustls::KeyLog>;
            let shown = format!("{name:?} {clients:?}");
            let scope = KeyLogScope { names, clients, log };
            let server = Arc::new(Server::new(&settings(&pairs), Some(scope)).unwrap());
            asked(&site(), &server, &Arc::new(trusting(&pairs))).await.unwrap();
            assert_eq!(*count.0.lock().unwrap() > 0, logged, "{shown}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_hello_is_answered_by_an_alert_with_a_scope_and_without() {
    local(async {
        let pairs = [pair("a.lab")];
        let scope = || KeyLogScope {
            names: Names::default(),
            clients: Vec::new(),
            log: Arc::new(Count::default()),
        };
        for scope in [None, Some(scope())] {
            let server = Arc::new(Server::new(&settings(&pairs), scope).unwrap());
            let service = site();
            let (mut near, far) = duplex(PIPE);
            spawn_local(l7::accept(
                far,
                peer(),
                local_address(),
                Some(server),
                Rc::clone(&service),
            ));
            near.write_all(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await.unwrap();
            let mut alert = Vec::new();
            near.read_to_end(&mut alert).await.unwrap();
            assert_eq!((alert[0], alert[5..].to_vec()), (21, vec![2, 50]));
            assert_eq!(service.stats().unserved.of(Unserved::HandshakeFailed), 1);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn alpn_decides_the_version_of_http() {
    local(Box::pin(async {
        let pairs = [pair("a.lab")];
        let both = ServerSettings { alpn: &["h2", "http/1.1"], ..settings(&pairs) };
        let server = Arc::new(Server::new(&both, None).unwrap());
        let backend = serves(|mut stream, _| async move {
            while let Some((head, _)) = read_request(&mut stream).await {
                assert_eq!(field(&head, "X-Forwarded-Proto"), Some("https"));
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        });
        let service = Network::new([backend]).service(Config::default());
        let trusting = trusting(&pairs);
        let stream =
            connect(&service, &server, &Arc::new(trusting.clone()), "a.lab").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        spawn_local(connection);
        let request = http::Request::get("https://a.lab/").body(()).unwrap();
        let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(answer.into_body().data().await.unwrap().unwrap(), "ok");
        let mut old = trusting;
        old.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut stream = connect(&service, &server, &Arc::new(old), "a.lab").await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.lab\r\n\r\n").await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }))
    .await;
}
