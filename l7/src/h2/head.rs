//! Heads between HTTP/2 and the text of HTTP/1.1, by rule R17.
//!
//! # Theory of operation
//! A head that came as HTTP/2 is judged for what only HTTP/2 asks of it, and written as the text of
//! HTTP/1.1, which is then read by the strict reader like any other: two judges, of which the second
//! sees exactly what a backend of HTTP/1 would. The `h2` crate refuses much of the same before; it is
//! not relied upon. No byte of a name or value may become a line end or a separator on the way, so
//! what is written has one reading.
//!
//! The other way, text that passed the rules becomes pseudo-fields and fields.

use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

use crate::http1::edits::Changes;
use crate::http1::encode::{self, Delivery};
use crate::http1::field::Known;
use crate::http1::head::ResponseHead;
use crate::http1::reject::{Reject, Rule};
use crate::http1::{chars, host, target, websocket};
use crate::limits::{HEAD_BYTES, TARGET_BYTES};

const fn malformed(detail: &'static str) -> Reject {
    Reject::bad(Rule::R17, detail)
}

/// Writes the request of `parts` as the text of HTTP/1.1; without a body if `ended`.
///
/// An extended CONNECT for a websocket (RFC 8441) becomes the request to upgrade that it stands for,
/// with `key`; without a key there are no websockets.
///
/// # Errors
/// R17 for what HTTP/2 forbids, R09 for CONNECT (405), R18 for what is too long.
pub(super) fn request_text(
    parts: &Parts,
    ended: bool,
    key: Option<&websocket::Key>,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let upgrade = is_websocket(parts, key.is_some())?;
    let method = if upgrade { &Method::GET } else { &parts.method };
    let path = path(&parts.uri, method)?;
    if let Some(scheme) = parts.uri.scheme_str()
        && !matches!(scheme, "http" | "https")
    {
        return Err(malformed("a scheme other than http and https"));
    }
    push(out, &[method.as_str().as_bytes(), b" ", path, b" HTTP/1.1\r\n"]);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    if let Some(authority) = authority {
        host::check(authority).map_err(|reject| malformed(reject.detail))?;
        push_field(out, b"host", authority);
    }
    let framed = fields(&parts.headers, authority, ended || upgrade, out)?;
    cookies(&parts.headers, out)?;
    match key.filter(|_| upgrade) {
        Some(key) => {
            push_field(out, b"sec-websocket-key", key);
            push(out, &[b"connection: upgrade\r\nupgrade: websocket\r\n"]);
        }
        None if !ended && !framed => push_field(out, b"transfer-encoding", b"chunked"),
        None => {}
    }
    push(out, &[b"\r\n"]);
    within_limit(out)
}

fn within_limit(head: &[u8]) -> Result<(), Reject> {
    if head.len() > HEAD_BYTES {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Reject::new(Rule::R18, status, "the head is too long"));
    }
    Ok(())
}

/// Whether the request is an extended CONNECT, which is good for websockets only.
fn is_websocket(parts: &Parts, able: bool) -> Result<bool, Reject> {
    if parts.method != Method::CONNECT {
        return Ok(false);
    }
    match parts.extensions.get::<h2::ext::Protocol>() {
        Some(protocol) if able && protocol.as_str() == "websocket" => Ok(true),
        Some(_) => {
            let status = StatusCode::NOT_IMPLEMENTED;
            Err(Reject::new(Rule::R17, status, "a protocol other than websocket"))
        }
        None => {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            Err(Reject::new(Rule::R09, status, "CONNECT is for forward proxies"))
        }
    }
}

/// `:path`, which is a path, or `*` for OPTIONS.
fn path<'b>(uri: &'b Uri, method: &Method) -> Result<&'b [u8], Reject> {
    let path = uri.path_and_query().map_or("", |path| path.as_str()).as_bytes();
    if path.len() > TARGET_BYTES {
        let status = StatusCode::URI_TOO_LONG;
        return Err(Reject::new(Rule::R18, status, "the target is too long"));
    }
    match path {
        b"*" if *method == Method::OPTIONS => Ok(path),
        [b'/', ..] if target::is_target(path) => Ok(path),
        _ => Err(malformed("the path is not one")),
    }
}

/// Writes all fields but cookies. Whether one of them is the content's length.
fn fields(
    fields: &HeaderMap,
    authority: Option<&[u8]>,
    ended: bool,
    out: &mut Vec<u8>,
) -> Result<bool, Reject> {
    let mut framed = false;
    for (name, value) in fields {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        check_field(name, value)?;
        match Known::of(name) {
            Known::Cookie | Known::SecWebSocketKey | Known::SecWebSocketAccept => continue,
            Known::Te if value != b"trailers" => {
                return Err(malformed("te is not trailers"));
            }
            Known::Host => match authority {
                Some(authority) if value == authority => continue,
                Some(_) => return Err(malformed("host is not :authority")),
                None => {}
            },
            Known::ContentLength => {
                if framed {
                    return Err(malformed("several content-length fields"));
                }
                if ended && value.iter().any(|&digit| digit != b'0') {
                    return Err(malformed("a content-length without content"));
                }
                framed = true;
            }
            _ => {}
        }
        push_field(out, name, value);
    }
    Ok(framed)
}

/// What every field of HTTP/2 must be, in either direction.
fn check_field(name: &[u8], value: &[u8]) -> Result<(), Reject> {
    let lower = |&byte: &u8| chars::is_token(byte) && !byte.is_ascii_uppercase();
    if name.is_empty() || !name.iter().all(lower) {
        return Err(malformed("a field name is not a token in lower case"));
    }
    if !value.iter().all(|&byte| chars::is_field_value(byte)) {
        return Err(malformed("control character in a field value"));
    }
    if chars::trim(value) != value {
        return Err(malformed("white space around a field value"));
    }
    match Known::of(name) {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::TransferEncoding
        | Known::Upgrade
        | Known::Http2Settings => Err(malformed("a field of a connection of HTTP/1")),
        _ => Ok(()),
    }
}

/// RFC 9113 section 8.2.3: crumbs are joined before they leave HTTP/2.
fn cookies(fields: &HeaderMap, out: &mut Vec<u8>) -> Result<(), Reject> {
    let mut separator: &[u8] = b"cookie: ";
    for crumb in fields.get_all(header::COOKIE) {
        check_field(b"cookie", crumb.as_bytes())?;
        push(out, &[separator, crumb.as_bytes()]);
        separator = b"; ";
    }
    if separator == b"; " {
        push(out, &[b"\r\n"]);
    }
    Ok(())
}

/// Writes the head of a backend's answer as the text of HTTP/1.1.
///
/// # Errors
/// R17 for what HTTP/2 forbids, R18 for what is too long; all with 502.
pub(super) fn response_text(response: &Response<()>, out: &mut Vec<u8>) -> Result<(), Reject> {
    push(out, &[b"HTTP/1.1 ", response.status().as_str().as_bytes(), b" "]);
    let reason = response.status().canonical_reason().unwrap_or_default();
    push(out, &[reason.as_bytes(), b"\r\n"]);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(malformed("101 in HTTP/2").in_response());
    }
    let mut framed = false;
    for (name, value) in response.headers() {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        check_field(name, value).map_err(Reject::in_response)?;
        if Known::of(name) == Known::ContentLength && std::mem::replace(&mut framed, true) {
            return Err(malformed("several content-length fields").in_response());
        }
        push_field(out, name, value);
    }
    push(out, &[b"\r\n"]);
    within_limit(out).map_err(Reject::in_response)
}

/// The answer with this head and `changes`, for a client of HTTP/2.
///
/// The answer that begins a tunnel is 200 there (RFC 8441 section 5).
pub(super) fn response(
    head: &ResponseHead<'_, '_>,
    changes: Changes<'_>,
    delivery: Delivery,
) -> Response<()> {
    let tunnel = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let mut response = Response::new(());
    *response.status_mut() = if tunnel { StatusCode::OK } else { head.status };
    let fields = response.headers_mut();
    fields.reserve(16);
    for field in encode::response_fields(head, changes) {
        if tunnel && Known::of(field.name.as_bytes()) == Known::SecWebSocketAccept {
            continue;
        }
        append(fields, field.name.as_bytes(), field.value);
    }
    for (name, value) in changes.added() {
        append(fields, name.as_bytes(), value);
    }
    if let Some(length) = encode::told_length(head, delivery) {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}

/// The request whose head, as forwarded, is `text`, to a backend that is reached inside TLS or not;
/// none if it is not one of ours.
pub(super) fn request(text: &[u8], secure: bool) -> Option<Request<()>> {
    let mut lines = text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r"));
    let line = lines.next()??;
    let mut words = line.split(|&byte| byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let path = words.next()?;
    let mut fields = HeaderMap::with_capacity(16);
    let mut authority: &[u8] = b"";
    for line in lines.map_while(|line| line.filter(|line| !line.is_empty())) {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = chars::trim(value.get(1..)?);
        match Known::of(name) {
            Known::Host => authority = value,
            Known::Te => append(&mut fields, name, value),
            known if known.is_hop_by_hop() => {}
            _ => append(&mut fields, name, value),
        }
    }
    let scheme = if secure { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri.ok()?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = fields;
    Some(request)
}

/// Names and values were judged before; one that is none after all is left out.
fn append(fields: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        // It fails for more fields than a head can have.
        let _ = fields.try_append(name, value);
    }
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push(out, &[name, b": ", value, b"\r\n"]);
}

fn push(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
