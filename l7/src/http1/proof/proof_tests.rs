use super::*;
use crate::http1::edits::Changes;
use crate::http1::encode::{self, Forwarded};
use crate::http1::head::{Strictness, parse_request, slots};
use crate::identity::Identity;

const CHUNKED: &str =
    "POST /x HTTP/1.1\r\nHost: a.lab\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What [`check`] says of `sent` if `meant` is what was parsed.
fn verdict(meant: &str, sent: &str) -> Result<(), &'static str> {
    let mut slots = slots();
    let head = parse_request(meant.as_bytes(), &mut slots, Strictness::default()).unwrap();
    let hop = Hop {
        forwarded: Forwarded::Hide,
        client: "10.1.0.5",
        local: "10.99.0.2:80",
        secure: false,
        name: "balun",
        received: "1.1",
        spelling: crate::http1::encode::Spelling::default(),
        identity: &Identity::NONE,
        changes: Changes::NONE,
    };
    let mut own = Vec::new();
    encode::request(&head, &hop, &mut own);
    assert_eq!(check(&head, &hop, &own), Ok(()), "our own encoding");
    check(&head, &hop, sent.as_bytes()).map_err(|reject| {
        assert_eq!((reject.rule, reject.status.as_u16()), (Rule::R04, 502));
        reject.detail
    })
}

#[test]
fn r04_what_says_the_same_is_sent() {
    assert_eq!(verdict(CHUNKED, CHUNKED), Ok(()));
    assert_eq!(
        verdict("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: 10.99.0.2:80\r\n\r\n"),
        Ok(())
    );
}

#[test]
fn r04_what_says_anything_else_is_not() {
    let plain = "GET /x HTTP/1.1\r\nHost: a.lab\r\n\r\n";
    for (meant, sent, detail) in [
        (plain, "PUT /x HTTP/1.1\r\nHost: a.lab\r\n\r\n", "another request line than was meant"),
        (plain, "GET /y HTTP/1.1\r\nHost: a.lab\r\n\r\n", "another request line than was meant"),
        (plain, "GET /x HTTP/1.1\r\nHost: b.lab\r\n\r\n", "another host than was meant"),
        (
            plain,
            "GET /x HTTP/1.1\r\nHost: a.lab\r\nContent-Length: 0\r\n\r\n",
            "another end of the body than was meant",
        ),
        (
            CHUNKED,
            "POST /x HTTP/1.1\r\nHost: a.lab\r\n\r\n",
            "another end of the body than was meant",
        ),
        (
            plain,
            "GET /x HTTP/1.1\r\nHost: a.lab\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            "another upgrade than was meant",
        ),
        (plain, "GET /x HTTP/1.1\r\nHost: a.lab\r\n\r\nGET /", "bytes behind the head"),
        (plain, "GET /x HTTP/1.1\r\nHost: a.lab\r\n", "a line that is no field"),
    ] {
        assert_eq!(verdict(meant, sent), Err(detail), "{sent:?}");
    }
}

#[test]
fn the_second_reader_reads_requests_by_the_letter() {
    let good = |fields: &str| {
        let text = format!("GET / HTTP/1.1\r\n{fields}\r\n");
        reader::request(text.as_bytes()).map(|request| request.body)
    };
    assert_eq!(good("Host: a\r\n"), Ok(Body::None));
    assert_eq!(good("host:\ta \r\nContent-Length: 0012\r\n"), Ok(Body::Length(12)));
    assert_eq!(
        good("Host: a\r\nContent-Length: 9223372036854775807\r\n"),
        Ok(Body::Length(u64::MAX >> 1))
    );
    assert_eq!(good("Host: a\r\ntransfer-encoding: CHUNKED\r\n"), Ok(Body::Chunked));
    for fields in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host:\r\n",
        "Host: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "Host: a\r\nContent-Length: 1, 1\r\n",
        "Host: a\r\nContent-Length: +1\r\n",
        "Host: a\r\nContent-Length:\r\n",
        "Host: a\r\nContent-Length: 9223372036854775808\r\n",
        "Host: a\r\nContent-Length: 99999999999999999999\r\n",
        "Host: a\r\nTransfer-Encoding: gzip\r\n",
        "Host: a\r\nTransfer-Encoding: chunked, chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Host: a\r\nTransfer_Encoding: chunked\r\n",
        "Host: a\r\nContent.Length: 1\r\n",
        "Host: a\r\nConnection: x-mine\r\n",
        "Host: a\r\nConnection: upgrade\r\n",
        "Host: a\r\nUpgrade: websocket\r\n",
        "Host: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n",
        "Host: a\r\nKeep-Alive: 5\r\n",
        "Host: a\r\nTE: gzip\r\n",
        "Host: a\r\nExpect: x\r\n",
        "Host: a\r\nX : y\r\n",
        "Host: a\r\n X: y\r\n",
        "Host: a\r\nX: y\r\n folded\r\n",
        "Host: a\r\nX: \0\r\n",
        "Host: a\r\nX\r\n",
        "Host: a\nX: y\r\n",
        "Host: a\rX: y\r\n",
    ] {
        assert!(good(fields).is_err(), "{fields:?}");
    }
    for line in
        ["GET  / HTTP/1.1", "GET / HTTP/1.0", " / HTTP/1.1", "GET x HTTP/1.1", "GET /# HTTP/1.1"]
    {
        assert!(
            reader::request(format!("{line}\r\nHost: a\r\n\r\n").as_bytes()).is_err(),
            "{line}"
        );
    }
}

#[test]
fn the_second_reader_reads_responses_by_the_letter() {
    let read = |rest: &str, to_head| {
        let text = format!("HTTP/1.1 {rest}\r\n\r\n");
        reader::response(text.as_bytes(), to_head).map(|response| response.body)
    };
    for (rest, body) in [
        ("200 OK\r\nContent-Length: 5", Body::Length(5)),
        ("200 \r\nTransfer-Encoding: chunked", Body::Chunked),
        ("200 OK", Body::Close),
        ("204 No Content", Body::None),
        ("304 Not Modified\r\nContent-Length: 5", Body::None),
        ("101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket", Body::None),
    ] {
        assert_eq!(read(rest, false), Ok(body), "{rest}");
    }
    assert_eq!(read("200 OK\r\nContent-Length: 5", true), Ok(Body::None));
    for rest in [
        "200",
        "600 X",
        "20 X",
        "2000 X",
        "204 X\r\nContent-Length: 0",
        "103 X\r\nTransfer-Encoding: chunked",
        "101 Go",
        "200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket",
        "200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        "200 O\0K",
    ] {
        assert!(read(rest, false).is_err(), "{rest}");
    }
}

#[test]
fn the_second_reader_reads_chunks_as_we_write_them() {
    let read = |text: &str| {
        let mut chunks = Chunks::default();
        let whole = chunks.read(text.as_bytes()).map(|read| (read, chunks.is_end()));
        let mut bytewise = Chunks::default();
        let mut count = 0;
        let each =
            text.bytes().try_for_each(|byte| bytewise.read(&[byte]).map(|read| count += read));
        assert_eq!(whole, each.map(|()| (count, bytewise.is_end())), "{text:?}");
        whole
    };
    for (text, expected) in [
        ("0\r\n\r\n", (5, true)),
        ("5\r\nhello\r\n0\r\n\r\n", (15, true)),
        ("5\r\nhello\r\n0\r\n\r\nGET /", (15, true)),
        ("A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", (20, true)),
        ("0\r\nA: b\r\nC:\r\n\r\n", (15, true)),
        ("5\r\nhel", (6, false)),
    ] {
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }
    for text in [
        "\r\n",
        "x\r\n",
        "5;a\r\n",
        "5 \r\n",
        " 5\r\n",
        "+5\r\n",
        "5\nhello",
        "5\rx",
        "5\r\nhello\n",
        "5\r\nhello0\r\n",
        "8000000000000000\r\n",
        "00000000000000005\r\n",
        "0\r\n\n",
        "0\r\n A: b\r\n",
        "0\r\nA : b\r\n",
        "0\r\nA: b\n",
        "0\r\nA\r\n",
        "0\r\n: b\r\n",
    ] {
        assert!(read(text).is_err(), "{text:?}");
    }
}
