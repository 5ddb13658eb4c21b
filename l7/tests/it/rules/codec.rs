//! The tables against the codec: no stream, no clock.

use http::{Method, Version};
use l7::Forwarded;
use l7::http1::body::Decoder;
use l7::http1::chunked::{CHUNK_OVERHEAD, size_line};
use l7::http1::edits::Changes;
use l7::http1::encode::{self, Delivery, Hop, Spelling};
use l7::http1::framing::Framing;
use l7::http1::head::{self, Strictness};
use l7::http1::proof;
use l7::http1::reject::{Reject, Rule};
use l7::http1::scan::Scanner;
use l7::http1::trailer;
use l7::identity::Identity;

use super::text::{Kind, Probe, Verdict, probes};

/// Holds every row of a rule's table against the codec.
pub(super) fn run(rule: Rule) {
    let mut wrong = Vec::new();
    for probe in probes(rule) {
        // The limit on bodies is the relay's.
        if probe.option("max-body").is_some() {
            continue;
        }
        let found = match probe.kind {
            Kind::Request => requests(&probe),
            Kind::Response => response(&probe),
        };
        let shown = String::from_utf8_lossy(&probe.bytes);
        let shown = shown.get(..200).unwrap_or(&shown);
        match (&probe.verdict, found) {
            (Verdict::Refused(rule, status), Err(Fault::Refused(reject)))
                if (reject.rule, reject.status.as_u16()) == (*rule, *status) => {}
            (Verdict::Torn, Err(_)) | (Verdict::Refused(_, 502), Err(Fault::Unfinished)) => {}
            (
                Verdict::Sent(expected) | Verdict::Last(expected) | Verdict::Tunnel(expected),
                Ok(found),
            ) if *expected == found => {}
            (expected, found) => {
                let found = found.map(|bytes| bytes.escape_ascii().to_string());
                wrong.push(format!("{}: {shown:?}: {expected}, found {found:?}", probe.place));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[derive(Debug)]
enum Fault {
    Refused(Reject),
    /// More bytes are wanted, or the backend has nothing more to say.
    Unfinished,
}

impl From<Reject> for Fault {
    fn from(reject: Reject) -> Self {
        Self::Refused(reject)
    }
}

/// What a backend gets of the probe's requests.
fn requests(probe: &Probe) -> Result<Vec<u8>, Fault> {
    let hop = Hop {
        forwarded: match probe.option("forwarded") {
            Some("append") => Forwarded::Append,
            Some("replace") => Forwarded::Replace,
            _ => Forwarded::Hide,
        },
        client: "10.1.0.5",
        local: "10.99.0.2:80",
        secure: false,
        name: "balun",
        received: "1.1",
        spelling: Spelling::default(),
        identity: &Identity::NONE,
        changes: Changes::NONE,
    };
    let strictness = Strictness { strict_host: probe.option("strict-host") != Some("off") };
    let mut out = Vec::new();
    let mut rest = probe.bytes.as_slice();
    while !rest.is_empty() {
        let extent = Scanner::default().scan(rest)?.ok_or(Fault::Unfinished)?;
        let mut slots = head::slots();
        let mut head =
            head::parse_request(&rest[extent.start..extent.end], &mut slots, strictness)?;
        if probe.option("websocket") == Some("off") {
            head.websocket = None;
        }
        proof::encode(&head, &hop, true, &mut out)?;
        rest = &rest[extent.end..];
        if !probe.has("head") {
            rest = &rest[body(head.framing, head.framing, head.trailers, rest, &mut out)?..];
        }
    }
    Ok(out)
}

/// What a client gets of the probe's response.
fn response(probe: &Probe) -> Result<Vec<u8>, Fault> {
    let (method, version) = match probe.option("to") {
        Some("HEAD") => (Method::HEAD, Version::HTTP_11),
        Some("1.0") => (Method::GET, Version::HTTP_10),
        _ => (Method::GET, Version::HTTP_11),
    };
    let trailers = probe.option("to") == Some("trailers");
    let websocket = probe.option("to") == Some("websocket");
    let mut out = Vec::new();
    let mut rest = probe.bytes.as_slice();
    let mut interim = 0;
    loop {
        let extent = Scanner::default().scan(rest).map_err(Reject::in_response)?;
        let extent = extent.ok_or(Fault::Unfinished)?;
        if extent.start > 0 {
            return Err(Reject::bad(Rule::R16, "an empty line").in_response().into());
        }
        let mut slots = head::slots();
        let head = head::parse_response(&rest[..extent.end], &mut slots, &method)?;
        let upgrade = head.status == 101;
        if upgrade
            && !(websocket && head.accept == Some(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".as_slice()))
        {
            return Err(Reject::bad(Rule::R16, "101").in_response().into());
        }
        rest = &rest[extent.end..];
        let begin = out.len();
        let delivery = Delivery::new(head.framing, version, version == Version::HTTP_11);
        let passes = !head.status.is_informational() || version == Version::HTTP_11;
        if passes {
            encode::response(&head, Changes::NONE, delivery, &mut out);
            let read = proof::reader::response(&out[begin..], method == Method::HEAD);
            let read = read.unwrap_or_else(|fault| panic!("{}: {fault:?}", probe.place));
            assert_eq!(read.status, head.status.as_u16());
        }
        if head.status.is_informational() && !upgrade {
            interim += 1;
            if interim > l7::limits::INTERIM_RESPONSES {
                return Err(Reject::bad(Rule::R16, "too many").in_response().into());
            }
            continue;
        }
        body(head.framing, delivery.framing, trailers, rest, &mut out)?;
        return Ok(out);
    }
}

/// Reframes the body at the front of `input`; how long it was there.
fn body(
    framing: Framing,
    outgoing: Framing,
    keeps_trailers: bool,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, Fault> {
    let mut decoder = Decoder::new(framing);
    let chunked = outgoing == Framing::Chunked;
    let begin = out.len();
    let mut at = 0;
    let mut trailers = Vec::new();
    while !decoder.is_end() {
        let decoded = decoder.decode(&input[at..])?;
        let data = &input[at..][decoded.data.clone()];
        if chunked && !data.is_empty() {
            out.extend_from_slice(size_line(data.len(), &mut [0; CHUNK_OVERHEAD]));
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(data);
        }
        trailers.extend_from_slice(&input[at..][decoded.trailers.clone()]);
        at += decoded.consumed;
        if decoded.consumed == 0 && !decoder.close() {
            return Err(Fault::Unfinished);
        }
    }
    if chunked {
        trailer::retain_allowed(&mut trailers);
        let trailers = if keeps_trailers { trailers.as_slice() } else { b"" };
        out.extend_from_slice(&[b"0\r\n", trailers, b"\r\n"].concat());
        let mut chunks = proof::Chunks::default();
        assert_eq!(chunks.read(&out[begin..]), Ok(out.len() - begin), "our own chunks");
        assert!(chunks.is_end());
    }
    Ok(at)
}
