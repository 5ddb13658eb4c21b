//! Trailer fields over HTTP/1 (R4): for who says `TE: trailers`, and only those that frame, route and
//! authenticate nothing.

use l7::{Config, Forwarded};
use tokio::io::AsyncWriteExt;

use crate::harness::*;

const CHUNKS: &str = "2\r\nhi\r\n0\r\nDigest:  sum\r\nHost: evil\r\nAuthorization: x\r\n\r\n";

/// A backend that answers with [`CHUNKS`], and sends its requests' raw bytes as it got them.
fn backend() -> Backend {
    serves(|mut stream, _| async move {
        while let Some(head) = read_head(&mut stream).await {
            let mut raw = String::new();
            while field(&head, "Transfer-Encoding").is_some() && !raw.ends_with("\r\n\r\n") {
                raw.push(char::from(tokio::io::AsyncReadExt::read_u8(&mut stream).await.unwrap()));
            }
            let te = field(&head, "TE").unwrap_or("none");
            let connection = field(&head, "Connection").unwrap_or("none");
            let raw = raw.replace("\r\n", "|");
            let answer = format!(
                "HTTP/1.1 200 OK\r\nX-TE: {te}, {connection}\r\nX-Raw: {raw}\r\n\
                 Transfer-Encoding: chunked\r\nTrailer: Digest\r\n\r\n{CHUNKS}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
}

async fn answer_to(request: &str) -> String {
    let config = Config { forwarded: Forwarded::Hide, ..Config::default() };
    ask(&Network::new([backend()]).service(config), request).await
}

#[tokio::test(start_paused = true)]
async fn r04_trailers_pass_both_ways_for_who_understands_them() {
    local(async {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTE: deflate;q=0.5, trailers\r\nConnection: TE\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        assert_eq!(
            answer_to(&format!("{head}{CHUNKS}")).await,
            "HTTP/1.1 200 OK\r\nX-TE: trailers, TE\r\nX-Raw: 2|hi|0|Digest: sum||\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nDigest: sum\r\n\r\n"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn r04_without_te_they_are_dropped() {
    local(async {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(
            answer_to(&format!("{head}{CHUNKS}")).await,
            "HTTP/1.1 200 OK\r\nX-TE: none, none\r\nX-Raw: 2|hi|0||\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http_1_0_gets_none() {
    local(async {
        assert_eq!(
            answer_to("GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n").await,
            "HTTP/1.1 200 OK\r\nX-TE: none, none\r\nX-Raw: \r\nConnection: close\r\n\r\nhi"
        );
    })
    .await;
}
