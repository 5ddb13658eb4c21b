//! The authority of a request: `uri-host [ ":" port ]` (RFC 9110 section 7.2), R9.

use super::chars::is_reg_name;
use super::reject::{Reject, Rule};

/// Checks a `Host` value or the authority of an absolute target.
///
/// # Errors
/// R09 for an empty host, user information, a list, unbalanced brackets, or a port that is empty,
/// not a number or above 65535.
pub fn check(authority: &[u8]) -> Result<(), Reject> {
    let (host, port) = split(authority)?;
    if let Some(port) = port {
        let digits = port.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(port).ok().and_then(|text| text.parse::<u16>().ok());
        if !digits || number.is_none() {
            return Err(Reject::bad(Rule::R09, "the port of the host is not a port"));
        }
    }
    match host {
        [] => Err(Reject::bad(Rule::R09, "the host is empty")),
        [b'[', inner @ .., b']'] => {
            let text = std::str::from_utf8(inner).unwrap_or_default();
            match text.parse::<std::net::Ipv6Addr>() {
                Ok(_) => Ok(()),
                Err(_) => Err(Reject::bad(Rule::R09, "no IPv6 address within the brackets")),
            }
        }
        name if name.iter().all(|&byte| is_reg_name(byte)) && escapes_are_good(name) => Ok(()),
        _ => Err(Reject::bad(Rule::R09, "the host is not a host name")),
    }
}

/// Whether each `%` has its two digits and is not NUL.
fn escapes_are_good(name: &[u8]) -> bool {
    let mut pieces = name.split(|&byte| byte == b'%').skip(1);
    pieces.all(|piece| match piece {
        [b'0', b'0', ..] => false,
        [a, b, ..] => a.is_ascii_hexdigit() && b.is_ascii_hexdigit(),
        _ => false,
    })
}

/// Whether two authorities name the same host, `port` being the default of the scheme.
pub fn same(a: &[u8], b: &[u8], default_port: &str) -> bool {
    let (Ok((host_a, port_a)), Ok((host_b, port_b))) = (split(a), split(b)) else { return false };
    let default = default_port.as_bytes();
    host_a.eq_ignore_ascii_case(host_b) && port_a.unwrap_or(default) == port_b.unwrap_or(default)
}

/// The host of an authority, without port and without a dot at its end.
pub fn name(authority: &[u8]) -> &[u8] {
    let host = split(authority).map_or(&[][..], |(host, _)| host);
    host.strip_suffix(b".").unwrap_or(host)
}

/// The host, with its brackets, and the port.
fn split(authority: &[u8]) -> Result<(&[u8], Option<&[u8]>), Reject> {
    let colon = match authority {
        [b'[', ..] => {
            let close = authority.iter().position(|&byte| byte == b']');
            let after = close.map_or(authority.len(), |close| close + 1);
            match authority.get(after) {
                None => None,
                Some(b':') => Some(after),
                Some(_) => return Err(Reject::bad(Rule::R09, "text after the brackets")),
            }
        }
        _ => authority.iter().position(|&byte| byte == b':'),
    };
    Ok(match colon {
        None => (authority, None),
        Some(at) => {
            let (host, rest) = authority.split_at(at);
            (host, rest.get(1..))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r09_good_hosts() {
        for host in ["a", "a.lab:80", "10.0.0.1:65535", "[fd99::1]", "[::1]:8080", "a_b.lab", "x:0"]
        {
            assert_eq!(check(host.as_bytes()), Ok(()), "{host}");
        }
    }

    #[test]
    fn r09_bad_hosts() {
        for host in [
            "", ":80", "a:", "a:b", "a:65536", "a:99999", "a:123456", "a,b", "a b", "u@a", "a/b",
            "[::1", "::1", "[::1]x", "[]", "[zz]", "a]", "a?b", "a#b", "a\\b", "a:1:2", "\u{e4}",
            "a:+1", "a%", "a%4", "a%4g", "a%00",
        ] {
            let rule = check(host.as_bytes()).map_err(|reject| reject.rule);
            assert_eq!(rule, Err(Rule::R09), "{host:?}");
        }
    }

    #[test]
    fn r09_hosts_compare_without_case_and_with_the_default_port() {
        assert!(same(b"A.lab", b"a.LAB:80", "80"));
        assert!(!same(b"a.lab", b"a.lab:81", "80"));
        assert!(!same(b"a.lab", b"b.lab", "80"));
        assert!(same(b"[::1]:443", b"[::1]", "443"));
    }
}
