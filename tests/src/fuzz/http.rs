//! Messages of HTTP/1, held against a second reader.
//!
//! What the codec accepts it writes anew; the reader of `l7::http1::proof`, which shares no code with it,
//! must then find the same meaning. What the codec refuses is not written at all. The same input in other
//! pieces has the same fate.

#![expect(clippy::expect_used, reason = "a harness fails by panicking")]

use http::{Method, Version};
use l7::Forwarded;
use l7::http1::body::Decoder;
use l7::http1::chunked::{self, CHUNK_OVERHEAD, LAST_CHUNK, size_line};
use l7::http1::edits::Changes;
use l7::http1::encode::{self, Delivery, Hop, Spelling};
use l7::http1::framing::Framing;
use l7::http1::head::{self, Strictness};
use l7::http1::proof::{self, Body, Chunks};
use l7::http1::reject::{Reject, Rule};
use l7::http1::scan::{Extent, Scanner};
use l7::identity::Identity;
use l7::limits::{BODY_BYTES, TRAILER_BYTES};

/// Requests one behind another, as a client sends them. The first byte chooses how they are judged.
///
/// # Panics
/// If what is forwarded means anything but what was understood, or depends on how it was cut.
pub fn request(data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else { return };
    let strictness = Strictness { strict_host: choice & 1 == 0 };
    let hop = Hop {
        forwarded: [Forwarded::Hide, Forwarded::Append, Forwarded::Replace]
            [usize::from(choice / 2 % 3)],
        client: if choice & 8 == 0 { "10.1.0.5" } else { "fd01::5" },
        local: "10.99.0.2:80",
        secure: choice & 16 != 0,
        name: "balun",
        received: "1.1",
        spelling: Spelling::default(),
        identity: &Identity::NONE,
        changes: Changes::NONE,
    };
    while let Ok(Some(extent)) = scan(rest, choice) {
        let bytes = &rest[extent.start..extent.end];
        rest = &rest[extent.end..];
        let mut slots = head::slots();
        let head = match head::parse_request(bytes, &mut slots, strictness) {
            Ok(head) => head,
            Err(reject) => return refused(&reject, 400..=505),
        };
        let mut sent = Vec::new();
        encode::request(&head, &hop, &mut sent);
        proof::check(&head, &hop, &sent).expect("both readers agree");
        let mut again = head::slots();
        let again = head::parse_request(&sent, &mut again, Strictness { strict_host: true });
        let again = match again {
            Ok(again) => again,
            // Our own fields may be more than are allowed.
            Err(reject) if reject.rule == Rule::R18 => return,
            Err(reject) => panic!("what is forwarded would be accepted: {reject}"),
        };
        assert_eq!((again.framing, again.method), (head.framing, head.method), "a fixed point");
        assert_eq!(again.target.forwarded(), head.target.forwarded(), "a fixed point");
        match body(head.framing, rest) {
            Some(len) => rest = &rest[len..],
            None => return,
        }
    }
}

/// Responses, as a backend sends them. The first byte chooses what they answer.
///
/// # Panics
/// If what is delivered means anything but what was understood, or depends on how it was cut.
pub fn response(data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else { return };
    let method = if choice & 1 == 0 { Method::GET } else { Method::HEAD };
    let version = if choice & 2 == 0 { Version::HTTP_11 } else { Version::HTTP_10 };
    while let Ok(Some(extent)) = scan(rest, choice) {
        if extent.start > 0 {
            return;
        }
        let bytes = &rest[..extent.end];
        rest = &rest[extent.end..];
        let mut slots = head::slots();
        let head = match head::parse_response(bytes, &mut slots, &method) {
            Ok(head) => head,
            Err(reject) => return refused(&reject, 502..=502),
        };
        // One that upgrades is told by the exchange, which knows whether that was asked for.
        if head.status == 101 && head.accept.is_none() {
            return;
        }
        let delivery = Delivery::new(head.framing, version, choice & 4 == 0);
        let mut sent = Vec::new();
        encode::response(&head, Changes::NONE, delivery, &mut sent);
        let read = proof::reader::response(&sent, method == Method::HEAD);
        let read = read.expect("the second reader understands");
        let expected = match delivery.framing {
            Framing::None => Body::None,
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::Chunked,
            Framing::UntilClose => Body::Close,
        };
        assert_eq!((read.status, read.body), (head.status.as_u16(), expected));
        let interim = head.status.is_informational();
        assert_eq!(read.closes, delivery.close && !interim, "a client is told of the end");
        match body(head.framing, rest) {
            Some(len) if interim => rest = &rest[len..],
            _ => return,
        }
    }
}

/// The chunks of a body, and what follows them. The first byte chooses where they are cut.
///
/// # Panics
/// If data or end depend on how they were cut, or the second reader finds others.
pub fn chunks(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1));
    for step in [1, 2, usize::from(choice) + 3] {
        let cut = decode(bytes, step);
        assert_eq!(cut, whole, "in pieces of {step}");
    }
    // The second reader takes what we write, which is less than clients may.
    let mut second = Chunks::default();
    if let Ok(read) = second.read(bytes) {
        let small = read <= TRAILER_BYTES;
        if second.is_end() && small {
            let first = whole.as_ref().expect("the first takes all that the second takes");
            assert!(first.end && first.consumed == read, "both see the same end");
        }
    }
    if let Ok(found) = whole {
        let mut sent = Vec::new();
        let pieces = found.data.chunks(usize::from(choice) + 1);
        for piece in pieces {
            sent.extend_from_slice(size_line(piece.len(), &mut [0; CHUNK_OVERHEAD]));
            sent.extend_from_slice(piece);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(LAST_CHUNK);
        let mut second = Chunks::default();
        assert_eq!(second.read(&sent), Ok(sent.len()));
        assert!(second.is_end());
        assert_eq!(decode(&sent, sent.len()).map(|again| again.data), Ok(found.data));
    }
}

/// Heads of HTTP/2: a line each for method, path, authority and fields. The first byte chooses the rest.
///
/// # Panics
/// If the text of HTTP/1.1 that one becomes is more or less than one head, or means anything else.
pub fn translation(data: &[u8]) {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let ended = choice & 1 == 0;
    let Some(parts) = parts(bytes, choice & 2 == 0) else { return };
    let text = match l7::h2::text_of(&parts, ended) {
        Ok(text) => text,
        Err(reject) => return refused(&reject, 400..=505),
    };
    let extent = Scanner::default().scan(&text).expect("its lines are lines").expect("it ends");
    assert_eq!(extent, Extent { start: 0, end: text.len() }, "one head and nothing more");
    let mut slots = head::slots();
    let head = match head::parse_request(&text, &mut slots, Strictness::default()) {
        Ok(head) => head,
        Err(reject) => return refused(&reject, 400..=505),
    };
    assert_eq!(head.method, parts.method);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    assert!(authority.is_none() || head.host == authority, "the authority is the host");
    assert!(ended == head.framing.is_empty() || head.framing == Framing::Length(0));
    let hop = Hop {
        forwarded: Forwarded::Hide,
        received: "2",
        client: "10.1.0.5",
        local: "10.99.0.2:80",
        secure: false,
        name: "balun",
        spelling: Spelling::default(),
        identity: &Identity::NONE,
        changes: Changes::NONE,
    };
    proof::encode(&head, &hop, true, &mut Vec::new()).expect("both readers agree");
}

/// A request of HTTP/2 as its library would give it to us.
fn parts(bytes: &[u8], has_authority: bool) -> Option<http::request::Parts> {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let method = Method::from_bytes(lines.next()?).ok()?;
    let path = lines.next()?;
    let authority = lines.next()?;
    let mut uri = http::Uri::builder().path_and_query(path);
    if has_authority {
        uri = uri.scheme("http").authority(authority);
    }
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri.build().ok()?;
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = http::HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = http::HeaderValue::from_bytes(&line[colon + 1..]).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request.into_parts().0)
}

/// The head at the front of `bytes`, in one piece and in two: they must agree.
fn scan(bytes: &[u8], choice: u8) -> Result<Option<Extent>, Reject> {
    let whole = Scanner::default().scan(bytes);
    let mut scanner = Scanner::default();
    let cut = bytes.len() * usize::from(choice) / 256;
    let mut last = scanner.scan(&bytes[..cut]);
    if last == Ok(None) {
        last = scanner.scan(bytes);
    }
    assert_eq!(last.map_err(|reject| reject.rule), whole.map_err(|reject| reject.rule));
    whole
}

fn refused(reject: &Reject, statuses: std::ops::RangeInclusive<u16>) {
    assert!(statuses.contains(&reject.status.as_u16()) && !reject.detail.is_empty(), "{reject}");
}

/// How long the body at the front of `bytes` is, if all of it is here and good.
fn body(framing: Framing, bytes: &[u8]) -> Option<usize> {
    let mut decoder = Decoder::new(framing);
    let mut at = 0;
    while !decoder.is_end() {
        let decoded = decoder.decode(&bytes[at..]).ok()?;
        assert!(decoded.data.end <= decoded.consumed && decoded.consumed <= bytes.len() - at);
        at += decoded.consumed;
        if decoded.consumed == 0 && !decoder.close() {
            return None;
        }
    }
    Some(at)
}

/// What a decoder made of its input.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    data: Vec<u8>,
    trailers: Vec<u8>,
    consumed: usize,
    end: bool,
}

/// Decodes `bytes`, `step` at a time; the rule that they break if they do.
fn decode(bytes: &[u8], step: usize) -> Result<Found, Rule> {
    let mut decoder = chunked::Decoder::default();
    let (mut data, mut trailers, mut at) = (Vec::new(), Vec::new(), 0);
    let mut available = 0;
    while available < bytes.len() && !decoder.is_end() {
        available = bytes.len().min(available + step);
        loop {
            let piece = &bytes[at..available];
            let decoded = decoder.decode(piece).map_err(|reject| reject.rule)?;
            data.extend_from_slice(&piece[decoded.data.clone()]);
            trailers.extend_from_slice(&piece[decoded.trailers.clone()]);
            assert_eq!(decoded.end, decoder.is_end());
            at += decoded.consumed;
            if decoded.consumed == 0 || decoder.is_end() {
                break;
            }
        }
    }
    assert!(data.len() as u64 <= BODY_BYTES && trailers.len() <= TRAILER_BYTES + bytes.len());
    Ok(Found { data, trailers, consumed: at, end: decoder.is_end() })
}
