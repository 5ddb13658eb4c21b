//! Answers of our own to a client of HTTP/2.
//!
//! A gRPC client reads the status of its call in the field `grpc-status` and takes any other answer
//! for a broken server. So it gets a response that consists of trailers only, with the code that
//! means the same (gRPC over HTTP/2, "Responses", and its mapping of HTTP statuses).

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::http1::encode::{NOTICE_TYPE, notice_body};
use crate::service::ErrorPage;

/// An answer: its head, and its body if it has one.
pub(super) fn answer(
    status: StatusCode,
    (detail, page): (&str, Option<&ErrorPage>),
    method: &Method,
    grpc: bool,
) -> (Response<()>, Bytes) {
    let mut response = Response::new(());
    let fields = response.headers_mut();
    if grpc {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.extend(call_status(code(status), detail));
        return (response, Bytes::new());
    }
    let (kind, body) = match page {
        Some(page) => (&*page.kind, page.body.clone()),
        None => (NOTICE_TYPE, Bytes::from(notice_body(status, detail))),
    };
    // Its text was checked where it was configured.
    if let Ok(kind) = HeaderValue::from_str(kind) {
        fields.insert(CONTENT_TYPE, kind);
    }
    fields.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        fields.insert(http::header::ALLOW, allow);
    }
    *response.status_mut() = status;
    let body = if *method == Method::HEAD { Bytes::new() } else { body };
    (response, body)
}

/// The fields that end a call.
pub(super) fn call_status(code: u8, detail: &str) -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", HeaderValue::from(u16::from(code)));
    if let Ok(message) = HeaderValue::from_str(detail) {
        fields.insert("grpc-message", message);
    }
    fields
}

pub(super) const DEADLINE_EXCEEDED: u8 = 4;

/// The code that means the same as `status`.
fn code(status: StatusCode) -> u8 {
    const RESOURCE_EXHAUSTED: u8 = 8;
    const UNIMPLEMENTED: u8 = 12;
    const INTERNAL: u8 = 13;
    const UNAVAILABLE: u8 = 14;
    match status {
        StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => DEADLINE_EXCEEDED,
        StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::TOO_MANY_REQUESTS => UNAVAILABLE,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            RESOURCE_EXHAUSTED
        }
        StatusCode::NOT_IMPLEMENTED | StatusCode::METHOD_NOT_ALLOWED => UNIMPLEMENTED,
        _ => INTERNAL,
    }
}

/// Whether the request with these fields is a call of gRPC.
pub(super) fn is_grpc(fields: &HeaderMap) -> bool {
    fields.get(CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';' | b' ', ..]))
    })
}

/// How long the caller waits: `grpc-timeout`, at most eight digits and a unit.
///
/// Nothing if there is no such field, or it is not one: then its backend may say so.
pub(super) fn deadline(fields: &HeaderMap) -> Option<Duration> {
    let (unit, digits) = fields.get("grpc-timeout")?.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_hours(count),
        b'M' => Duration::from_mins(count),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))])
    }

    #[test]
    fn calls_are_known_by_their_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc; x=y", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&fields("content-type", value)), expected, "{value}");
        }
    }

    #[test]
    fn timeouts_are_eight_digits_and_a_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("10S", Some(Duration::from_secs(10))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("7n", Some(Duration::from_nanos(7))),
            ("0S", Some(Duration::ZERO)),
            ("999999999m", None),
            ("S", None),
            ("5", None),
            ("-5S", None),
            ("5s", None),
        ] {
            assert_eq!(deadline(&fields("grpc-timeout", value)), expected, "{value}");
        }
    }

    #[test]
    fn an_error_is_a_status_of_the_call_or_a_page() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let (head, body) = answer(status, ("no backend is ready", None), &Method::POST, true);
        assert_eq!((head.status(), body.len()), (StatusCode::OK, 0));
        assert_eq!(head.headers()["grpc-status"], "14");
        assert_eq!(head.headers()["grpc-message"], "no backend is ready");
        let (head, body) = answer(status, ("no backend is ready", None), &Method::GET, false);
        assert_eq!(head.status(), status);
        assert_eq!(body, "503 Service Unavailable\nno backend is ready\n");
        assert!(answer(status, ("x", None), &Method::HEAD, false).1.is_empty());
    }
}
