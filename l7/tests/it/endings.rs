//! How connections end: what is complete is shut down, what is not is reset.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use l7::orderly::{Abort, Orderly};
use l7::{Config, SpliceService, Timeouts, splice};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::spawn_local;

use crate::harness::*;

/// A pipe that notes when it is reset.
struct Noted {
    pipe: DuplexStream,
    resets: Rc<Cell<u32>>,
}

impl Abort for Noted {
    fn abort(self) {
        self.resets.set(self.resets.get() + 1);
    }
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

fn noted() -> (DuplexStream, Orderly<Noted>, Rc<Cell<u32>>) {
    let (near, far) = duplex(PIPE);
    let resets = Rc::new(Cell::new(0));
    (near, Orderly::new(Noted { pipe: far, resets: Rc::clone(&resets) }), resets)
}

#[tokio::test(start_paused = true)]
async fn the_client_of_a_truncated_response_is_reset_and_of_a_whole_one_is_not() {
    for (request, response, expected) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nok", 0),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", 1),
        (
            // Nothing but the connection's end tells this client where the body ends.
            "GET / HTTP/1.0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            1,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", 0),
        ("GET /\r\n\r\n", "", 0),
    ] {
        local(async {
            let backend = serves(move |mut stream, _| async move {
                read_request(&mut stream).await;
                let _ = stream.write_all(response.as_bytes()).await;
            });
            let service = Network::new([backend]).service(Config::default());
            let (mut near, far, resets) = noted();
            near.write_all(request.as_bytes()).await.unwrap();
            near.shutdown().await.unwrap();
            let serving = l7::serve(far, peer(), local_address(), false, service);
            spawn_local(serving).await.unwrap();
            assert_eq!(resets.get(), expected, "{request:?} {response:?}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_splice_passes_an_end_as_an_end_and_a_failure_as_a_reset() {
    for (backend, expected) in [
        (serves(|mut stream, _| async move { assert!(ended(&mut stream).await) }), 0),
        (Backend::Refuses, 1),
    ] {
        local(async {
            let network = Network::new([backend]);
            let service = Rc::new(SpliceService::new(
                network.connector(),
                network.balance(),
                Timeouts::default(),
            ));
            let (mut near, far, resets) = noted();
            near.shutdown().await.unwrap();
            splice(far, peer(), peer(), service).await;
            assert_eq!(resets.get(), expected);
        })
        .await;
    }
}
