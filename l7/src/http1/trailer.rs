//! Trailer fields: which may follow a body on its way through us (R4, RFC 9110 section 6.5).
//!
//! They arrive after the head was judged, routed and perhaps answered. So a field passes only if
//! nobody is bound to act on it before the body: none that frames, routes, asks, authenticates,
//! caches or describes the content, and none that speaks on behalf of a hop.

use super::chars;
use super::field::Known;

/// Names that may not be trailers, besides those of [`Known`] (RFC 9110 section 6.5.1).
const REFUSED: &[&str] = &[
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "age",
    "allow",
    "alt-svc",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "expires",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "user-agent",
    "vary",
    "warning",
    "www-authenticate",
];

/// Whether the field `name` may be sent on in a trailer section.
pub fn is_allowed(name: &[u8]) -> bool {
    chars::token(name)
        && Known::of(name) == Known::Other
        && Known::of_alias(name) == Known::Other
        && !REFUSED.iter().any(|refused| refused.as_bytes().eq_ignore_ascii_case(name))
}

/// The fields in `lines`, each of which ends with CRLF: name and trimmed value.
pub fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let (name, value) = line.split_at(colon);
        let value = value.strip_suffix(b"\r").unwrap_or(value);
        Some((name, chars::trim(value.get(1..).unwrap_or_default())))
    })
}

/// Leaves of `lines` the fields that may be sent on.
pub fn retain_allowed(lines: &mut Vec<u8>) {
    if lines.is_empty() {
        return;
    }
    let mut kept = Vec::with_capacity(lines.len() + 16);
    for (name, value) in fields(lines).filter(|(name, _)| is_allowed(name)) {
        push(&mut kept, name, value);
    }
    *lines = kept;
}

/// Appends one field line.
pub fn push(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        lines.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r04_nothing_passes_that_frames_routes_asks_authenticates_or_describes() {
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Host",
            "Connection",
            "TE",
            "Trailer",
            "Upgrade",
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "X-Forwarded-For",
            "Via",
            "Content-Type",
            "Content-Encoding",
            "Cache-Control",
            "Expect",
            "Range",
            "Transfer_Encoding",
            "X_Forwarded_For",
            ":path",
            "",
            "a b",
        ] {
            assert!(!is_allowed(name.as_bytes()), "{name}");
        }
        for name in ["grpc-status", "Grpc-Message", "ETag", "Digest", "Server-Timing", "x-checksum"]
        {
            assert!(is_allowed(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn r04_what_passes_is_written_anew() {
        let mut lines = b"Digest:  abc \r\nHost: evil\r\nx-a:\r\n".to_vec();
        retain_allowed(&mut lines);
        assert_eq!(lines, b"Digest: abc\r\nx-a: \r\n");
        assert_eq!(
            fields(&lines).collect::<Vec<_>>(),
            [(b"Digest".as_slice(), b"abc".as_slice()), (b"x-a".as_slice(), b"".as_slice()),]
        );
        let mut none = Vec::new();
        retain_allowed(&mut none);
        assert_eq!(none.capacity(), 0, "no trailers cost nothing");
    }
}
