//! Request targets: their four forms (RFC 9112 section 3.2) and the path that is routed (R20).

use std::borrow::Cow;

use http::{Method, StatusCode};

use super::reject::{Reject, Rule};
use super::{chars, host};

/// A request target, checked. Paths include the query and are in the form in which they are both
/// routed and forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'b> {
    /// `/path?query`.
    Origin(Cow<'b, [u8]>),
    /// `http://authority/path?query`.
    Absolute {
        /// Takes the place of `Host`.
        authority: &'b [u8],
        /// At least `/`.
        path: Cow<'b, [u8]>,
    },
    /// `*`, with OPTIONS.
    Asterisk,
}

impl Target<'_> {
    /// The bytes of the target as forwarded, always in origin or asterisk form.
    pub fn forwarded(&self) -> &[u8] {
        match self {
            Self::Origin(path) | Self::Absolute { path, .. } => path,
            Self::Asterisk => b"*",
        }
    }
}

/// Checks `target`, which has no byte outside [`chars::is_target`].
///
/// # Errors
/// R09 for CONNECT (405) and misplaced forms, R20 for a path that servers read differently.
pub fn check<'b>(method: &Method, target: &'b [u8]) -> Result<Target<'b>, Reject> {
    if *method == Method::CONNECT {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Reject::new(Rule::R09, status, "CONNECT is for forward proxies"));
    }
    if target.first() == Some(&b'/') {
        return Ok(Target::Origin(normal_path(target)?));
    }
    if target == b"*" {
        return match *method {
            Method::OPTIONS => Ok(Target::Asterisk),
            _ => Err(Reject::bad(Rule::R09, "the target * is for OPTIONS")),
        };
    }
    let Some(rest) = strip_scheme(target) else {
        return Err(Reject::bad(Rule::R09, "the target is neither a path nor an http URI"));
    };
    let end = rest.iter().position(|&byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    host::check(authority)?;
    let path = match tail {
        [b'/', ..] => normal_path(tail)?,
        // RFC 9112 section 3.2.4: OPTIONS on a URI without path means the server as a whole.
        [] if *method == Method::OPTIONS => Cow::Borrowed(b"*".as_slice()),
        [] => Cow::Borrowed(b"/".as_slice()),
        query => Cow::Owned([b"/", query].concat()),
    };
    Ok(Target::Absolute { authority, path })
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    [b"http://".as_slice(), b"https://"].into_iter().find_map(|scheme| {
        let (begin, rest) = target.split_at_checked(scheme.len())?;
        begin.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// The path and query as they are routed and forwarded: dot segments resolved, characters that need no
/// escape without one (RFC 3986 section 6.2.2.2), all else as received.
///
/// Encoded slashes, empty segments and parameters (`;`) are left alone, since origins give them
/// meaning and we route on the very bytes that we forward; but not where a dot segment would appear to
/// a server that decodes the slash or drops the parameter before it resolves dots.
///
/// # Errors
/// R20 for a path that servers read differently.
pub fn normal_path(path_and_query: &[u8]) -> Result<Cow<'_, [u8]>, Reject> {
    let query = path_and_query.iter().position(|&byte| byte == b'?');
    let (path, query) = path_and_query.split_at(query.unwrap_or(path_and_query.len()));
    let (mut dotted, mut hidden, mut escaped) = (false, false, false);
    for (index, &byte) in path.iter().enumerate() {
        match byte {
            b'\\' => return Err(Reject::bad(Rule::R20, "backslash in the path")),
            b'%' => match path.get(index + 1..index + 3) {
                Some(b"00") => return Err(Reject::bad(Rule::R20, "%00 in the path")),
                Some([b'2', b'f' | b'F'] | [b'5', b'c' | b'C']) => hidden = true,
                Some(&[a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                    escaped |= unescaped(a, b).is_some();
                }
                _ => return Err(Reject::bad(Rule::R20, "% without two digits in the path")),
            },
            b'/' => dotted |= starts_with_dot(path.get(index + 1..).unwrap_or_default()),
            _ => {}
        }
    }
    if (dotted || hidden) && hides_dots(path) {
        return Err(Reject::bad(Rule::R20, "a dot segment behind an encoded slash or a parameter"));
    }
    if !dotted && !escaped {
        return Ok(Cow::Borrowed(path_and_query));
    }
    let path = if escaped { Cow::Owned(unescape(path)) } else { Cow::Borrowed(path) };
    let mut resolved = resolve(&path)?;
    resolved.extend_from_slice(query);
    Ok(Cow::Owned(resolved))
}

/// The character that an escape of these digits stands for, if it needs none: a letter, a digit, or a mark
/// that is not reserved.
fn unescaped(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16);
    let byte = (digit(high)? << 4 | digit(low)?) as u8;
    (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)).then_some(byte)
}

/// `path` without escapes that it does not need.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => unescaped(*high, *low),
            _ => None,
        };
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { rest.get(3..).unwrap_or_default() } else { after };
    }
    plain
}

/// Whether a segment has dots that only some servers see: `..%2f`, `..;x`.
fn hides_dots(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'/').any(|segment| {
        let mut rest = segment;
        loop {
            let end = encoded_separator(rest);
            let piece = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let name = piece.split(|&byte| byte == b';').next().unwrap_or_default();
            // The segment itself, if it is nothing but dots, is resolved.
            if dots(name).is_some() && name.len() < segment.len() {
                return true;
            }
            let Some(end) = end else { return false };
            rest = rest.get(end + ENCODED_LEN..).unwrap_or_default();
        }
    })
}

/// Length of `%2f`.
const ENCODED_LEN: usize = 3;

/// Where the first encoded slash or backslash of `segment` is.
fn encoded_separator(segment: &[u8]) -> Option<usize> {
    segment
        .windows(ENCODED_LEN)
        .position(|three| matches!(three, [b'%', b'2', b'f' | b'F'] | [b'%', b'5', b'c' | b'C']))
}

fn starts_with_dot(segment: &[u8]) -> bool {
    matches!(segment, [b'.', ..] | [b'%', b'2', b'e' | b'E', ..])
}

/// Removes dot segments, plain or encoded (RFC 3986 section 5.2.4).
fn resolve(path: &[u8]) -> Result<Vec<u8>, Reject> {
    let mut resolved = Vec::with_capacity(path.len());
    let mut segments = path.split(|&byte| byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match dots(segment) {
            Some(1) => {}
            Some(_) => {
                let Some(parent) = resolved.iter().rposition(|&byte| byte == b'/') else {
                    return Err(Reject::bad(Rule::R20, "the path climbs above its root"));
                };
                resolved.truncate(parent);
            }
            None => {
                resolved.push(b'/');
                resolved.extend_from_slice(segment);
                continue;
            }
        }
        if last {
            resolved.push(b'/');
        }
    }
    Ok(resolved)
}

/// One or two if `segment` is `.` or `..` in any spelling.
fn dots(segment: &[u8]) -> Option<usize> {
    let mut rest = segment;
    let mut count = 0;
    loop {
        rest = match rest {
            [] if (1..=2).contains(&count) => return Some(count),
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return None,
        };
        count += 1;
    }
}

/// Whether every byte of a raw target is allowed there (R8).
pub fn is_target(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| chars::is_target(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(method: &Method, target: &str) -> Result<String, (Rule, u16)> {
        check(method, target.as_bytes())
            .map(|target| String::from_utf8(target.forwarded().to_vec()).unwrap())
            .map_err(|reject| (reject.rule, reject.status.as_u16()))
    }

    #[test]
    fn r20_paths_are_resolved_once_and_otherwise_untouched() {
        for (target, expected) in [
            ("/", "/"),
            ("/a/b?q=/../x", "/a/b?q=/../x"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b?x", "/b?x"),
            ("/a/.%2e", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a//b", "/a//b"),
            ("/a//../b", "/a/b"),
            ("/a;v=1/%2Fb%5c", "/a;v=1/%2Fb%5c"),
            ("/%61dmin/%7Ex%2d?%61", "/admin/~x-?%61"),
            ("/%2561", "/%2561"),
            ("/a/%2e%62", "/a/.b"),
            ("/a...", "/a..."),
            ("/...", "/..."),
            ("/?%zz", "/?%zz"),
        ] {
            assert_eq!(forwarded(&Method::GET, target).as_deref(), Ok(expected), "{target}");
            assert_eq!(forwarded(&Method::GET, expected).as_deref(), Ok(expected), "a fixed point");
        }
    }

    #[test]
    fn r20_paths_that_servers_read_differently_are_refused() {
        for target in ["/a\\b", "/a%00", "/a%", "/a%4", "/a%zz", "/..", "/a/../../b", "/%2e%2e"] {
            assert_eq!(forwarded(&Method::GET, target), Err((Rule::R20, 400)), "{target}");
        }
    }

    #[test]
    fn r09_forms_of_the_target() {
        let good = [
            (Method::OPTIONS, "*", "*"),
            (Method::GET, "http://a.lab", "/"),
            (Method::OPTIONS, "http://a.lab", "*"),
            (Method::GET, "HTTPS://a.lab:8443/x?y", "/x?y"),
            (Method::GET, "http://a.lab?y", "/?y"),
        ];
        for (method, target, expected) in good {
            assert_eq!(forwarded(&method, target).as_deref(), Ok(expected), "{target}");
        }
        let bad = [
            (Method::CONNECT, "a.lab:443", 405),
            (Method::CONNECT, "/", 405),
            (Method::GET, "*", 400),
            (Method::GET, "a.lab:80", 400),
            (Method::GET, "ftp://a.lab/", 400),
            (Method::GET, "http:///x", 400),
            (Method::GET, "http://u@a.lab/", 400),
            (Method::GET, "http:/x", 400),
        ];
        for (method, target, status) in bad {
            assert_eq!(forwarded(&method, target), Err((Rule::R09, status)), "{target}");
        }
    }
}
