//! `upstream = "kernel"`: backends reached by sockets of the host, here on loopback.

use std::net::SocketAddr;
use std::rc::Rc;

use balun::kernel::KernelConnect;
use balun::lab::web;
use l7::health::HttpProbe;
use l7::upstream::Balance;
use l7::{Config, Service, SpliceService, Timeouts};
use nat::health::{Failure, Outcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// In turn, without opinions.
struct Turns {
    backends: Vec<SocketAddr>,
    next: std::cell::Cell<usize>,
}

impl Balance for Turns {
    fn choose(&self, _: SocketAddr, skip: &[usize]) -> Option<(usize, SocketAddr)> {
        let count = self.backends.len();
        let start = self.next.replace(self.next.get() + 1);
        let index = (start..start + count).map(|i| i % count).find(|i| !skip.contains(i))?;
        Some((index, self.backends[index]))
    }

    fn failed(&self, _: usize) {}

    fn succeeded(&self, _: usize) {}
}

/// Web servers `a` and `b` on loopback, behind an address where nobody listens.
async fn backends() -> std::io::Result<Rc<Turns>> {
    let closed = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let mut backends = vec![closed];
    for name in ["a", "b"] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        backends.push(listener.local_addr()?);
        tokio::task::spawn_local(web::serve(listener, name.into()));
    }
    Ok(Rc::new(Turns { backends, next: 0.into() }))
}

async fn ask(client: &mut DuplexStream, last: bool) -> std::io::Result<String> {
    let close = if last { "Connection: close\r\n" } else { "" };
    client.write_all(format!("GET / HTTP/1.1\r\nHost: lab\r\n{close}\r\n").as_bytes()).await?;
    let mut answer = String::new();
    while !answer.contains("hello from") || !answer.ends_with('\n') {
        let mut bytes = [0; 1024];
        let n = client.read(&mut bytes).await?;
        assert!(n > 0, "cut off: {answer}");
        answer.push_str(&String::from_utf8_lossy(&bytes[..n]));
    }
    Ok(answer)
}

#[tokio::test]
async fn each_request_goes_to_a_backend_that_answers() -> std::io::Result<()> {
    LocalSet::new()
        .run_until(async {
            let balance = backends().await?;
            let service = Rc::new(Service::new(KernelConnect, balance, Config::default()));
            let (mut client, ours) = duplex(4096);
            let serving = l7::serve(ours, CLIENT, CLIENT, false, Rc::clone(&service));
            let serving = tokio::task::spawn_local(serving);
            let mut names = Vec::new();
            for last in [false, false, true] {
                let answer = ask(&mut client, last).await?;
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
                names.push(answer.trim_end().chars().last());
            }
            drop(client);
            serving.await?;
            assert!(names.contains(&Some('a')) && names.contains(&Some('b')), "{names:?}");
            let stats = service.stats();
            assert_eq!(stats.requests.get(), 3);
            assert!(stats.upstream_failures.get() >= 1, "nobody listens at the first");
            Ok(())
        })
        .await
}

#[tokio::test]
async fn backends_are_asked_by_sockets_of_the_host() -> std::io::Result<()> {
    LocalSet::new()
        .run_until(async {
            let [closed, open, _] = backends().await?.backends[..] else { panic!("three") };
            let probe = |path: &str| HttpProbe { path: path.to_owned(), host: None };
            let http = l7::health::http(KernelConnect, probe("/"));
            let missing = l7::health::http(KernelConnect, probe("/bytes/x"));
            let tcp = l7::health::tcp(KernelConnect);
            assert_eq!((http(open).await, tcp(open).await), (Outcome::Passed, Outcome::Passed));
            let refused = Outcome::Failed(Failure::Refused);
            assert_eq!((http(closed).await, tcp(closed).await), (refused.clone(), refused));
            let status = Outcome::Failed(Failure::Answer("HTTP status 404".to_owned()));
            assert_eq!(missing(open).await, status);
            Ok(())
        })
        .await
}

#[tokio::test]
async fn bytes_are_spliced() -> std::io::Result<()> {
    LocalSet::new()
        .run_until(async {
            let balance = backends().await?;
            let service = Rc::new(SpliceService::new(KernelConnect, balance, Timeouts::default()));
            let (mut client, ours) = duplex(4096);
            let splicing =
                tokio::task::spawn_local(l7::splice(ours, CLIENT, CLIENT, Rc::clone(&service)));
            assert!(ask(&mut client, true).await?.contains("hello from a"));
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await?;
            drop(client);
            splicing.await?;
            assert_eq!(rest, b"");
            assert_eq!(service.connections_by_backend(), [0, 1]);
            Ok(())
        })
        .await
}
