//! The control socket against clients of every kind.

use std::future::poll_fn;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::bind(&folder.path().join("s")).unwrap();
        Self { folder, server }
    }

    async fn connect(&self) -> BufReader<UnixStream> {
        BufReader::new(UnixStream::connect(self.folder.path().join("s")).await.unwrap())
    }

    /// Serves until `client` is done; what was asked.
    async fn serve(&mut self, client: impl Future<Output = ()>) -> Vec<Request> {
        let mut client = std::pin::pin!(client);
        let mut asked = Vec::new();
        poll_fn(|cx| {
            while self
                .server
                .poll(cx, &mut |request| {
                    asked.push(request);
                    Answer::ok(json!({ "n": asked.len() }))
                })
                .is_ready()
            {}
            client.as_mut().poll(cx)
        })
        .await;
        asked
    }
}

async fn line(client: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    client.read_line(&mut line).await.unwrap();
    line
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_order() {
    let mut bench = Bench::new();
    let mut client = bench.connect().await;
    let asked = bench
        .serve(async {
            let both = b"{\"request\":\"status\"}\n{\"request\":\"stop\"}\n";
            client.write_all(both).await.unwrap();
            assert_eq!(line(&mut client).await, "{\"ok\":{\"n\":1}}\n");
            assert_eq!(line(&mut client).await, "{\"ok\":{\"n\":2}}\n");
        })
        .await;
    assert_eq!(asked, [Request::Status, Request::Stop]);
}

#[tokio::test]
async fn nonsense_is_refused_and_the_connection_goes_on() {
    let mut bench = Bench::new();
    let mut client = bench.connect().await;
    let asked = bench
        .serve(async {
            client.write_all(b"\xff{[\n{\"request\":\"status\"}\n").await.unwrap();
            let said = line(&mut client).await;
            assert!(said.contains("not a request") && said.contains("\"exit\":2"), "{said}");
            assert_eq!(line(&mut client).await, "{\"ok\":{\"n\":1}}\n");
        })
        .await;
    assert_eq!(asked, [Request::Status]);
}

#[tokio::test]
async fn a_line_without_end_is_cut_off() {
    let mut bench = Bench::new();
    let mut client = bench.connect().await;
    bench
        .serve(async {
            client.write_all(&vec![b'x'; MAX_LINE]).await.unwrap();
            assert!(line(&mut client).await.contains("longer than 65536 bytes"));
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it was closed");
        })
        .await;
    assert!(bench.server.clients.is_empty());
}

#[tokio::test]
async fn one_client_too_many_is_sent_away() {
    let mut bench = Bench::new();
    let mut clients = Vec::new();
    for _ in 0..MAX_CLIENTS {
        clients.push(bench.connect().await);
    }
    let mut late = bench.connect().await;
    bench
        .serve(async {
            assert!(line(&mut late).await.contains("16 clients are connected already"));
        })
        .await;
    drop(clients.pop());
    let mut next = bench.connect().await;
    bench
        .serve(async {
            next.write_all(b"{\"request\":\"status\"}\n").await.unwrap();
            assert_eq!(line(&mut next).await, "{\"ok\":{\"n\":1}}\n");
        })
        .await;
}

#[tokio::test]
async fn a_socket_is_taken_over_from_the_dead_only() {
    let mut bench = Bench::new();
    let path = bench.folder.path().join("s");
    let error = Server::bind(&path).unwrap_err();
    assert!(error.to_string().contains("another instance listens there"), "{error}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    // Dead: the file is there, and nobody behind it.
    let dead = bench.folder.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    bench.server = Server::bind(&dead).unwrap();
    assert!(!path.exists(), "the first took its file along");

    let plain = bench.folder.path().join("plain");
    fs::write(&plain, "precious").unwrap();
    Server::bind(&plain).unwrap_err();
    assert_eq!(fs::read_to_string(&plain).unwrap(), "precious");
}
