//! Names of ICMP types and codes of both families.

use crate::wire::Family::{self, V4, V6};

/// A type by name; `code` is part of the name for "too big" in IPv4 (RFC 1191).
struct Kind {
    family: Family,
    number: u8,
    code: Option<u8>,
    name: &'static str,
}

const fn kind(family: Family, number: u8, name: &'static str) -> Kind {
    Kind { family, number, code: None, name }
}

pub(super) const TOO_BIG: &str = "too-big";
pub(super) const UNREACHABLE: &str = "unreachable";
pub(super) const PARAMETER_PROBLEM: &str = "parameter-problem";
pub(super) const REDIRECT: &str = "redirect";

/// RFC 792, RFC 1191, RFC 4443, RFC 4861. The first that fits names a message.
const KINDS: [Kind; 18] = [
    kind(V4, 8, "echo"),
    kind(V4, 0, "reply"),
    Kind { family: V4, number: 3, code: Some(4), name: TOO_BIG },
    kind(V4, 3, UNREACHABLE),
    kind(V4, 4, "source-quench"),
    kind(V4, 5, REDIRECT),
    kind(V4, 11, "ttl-exceeded"),
    kind(V4, 12, PARAMETER_PROBLEM),
    kind(V6, 128, "echo"),
    kind(V6, 129, "reply"),
    kind(V6, 2, TOO_BIG),
    kind(V6, 1, UNREACHABLE),
    kind(V6, 3, "ttl-exceeded"),
    kind(V6, 4, PARAMETER_PROBLEM),
    kind(V6, 133, "router-solicitation"),
    kind(V6, 134, "router-advertisement"),
    kind(V6, 135, "neighbor-solicitation"),
    kind(V6, 136, "neighbor-advertisement"),
];

/// Codes by name: RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1, RFC 4443.
const CODES: [(Family, u8, u8, &str); 31] = [
    (V4, 3, 0, "net"),
    (V4, 3, 1, "host"),
    (V4, 3, 2, "protocol"),
    (V4, 3, 3, "port"),
    (V4, 3, 5, "source-route"),
    (V4, 3, 6, "net-unknown"),
    (V4, 3, 7, "host-unknown"),
    (V4, 3, 8, "isolated"),
    (V4, 3, 9, "net-prohibited"),
    (V4, 3, 10, "host-prohibited"),
    (V4, 3, 11, "net-tos"),
    (V4, 3, 12, "host-tos"),
    (V4, 3, 13, "prohibited"),
    (V4, 3, 14, "precedence"),
    (V4, 3, 15, "precedence-cutoff"),
    (V4, 5, 0, "net"),
    (V4, 5, 1, "host"),
    (V4, 11, 0, "transit"),
    (V4, 11, 1, "reassembly"),
    (V6, 1, 0, "no-route"),
    (V6, 1, 1, "prohibited"),
    (V6, 1, 2, "scope"),
    (V6, 1, 3, "address"),
    (V6, 1, 4, "port"),
    (V6, 1, 5, "policy"),
    (V6, 1, 6, "reject-route"),
    (V6, 3, 0, "transit"),
    (V6, 3, 1, "reassembly"),
    (V6, 4, 0, "field"),
    (V6, 4, 1, "next-header"),
    (V6, 4, 2, "option"),
];

/// The name of a message, and whether it says the code too.
pub(super) fn kind_name(family: Family, kind: u8, code: u8) -> Option<(&'static str, bool)> {
    KINDS
        .iter()
        .find(|k| k.family == family && k.number == kind && k.code.is_none_or(|c| c == code))
        .map(|k| (k.name, k.code.is_some()))
}

/// Type and code by name; the code is what the word alone means.
pub(super) fn kind_by_name(family: Family, name: &str) -> Option<(u8, u8)> {
    let found = KINDS.iter().find(|k| k.family == family && k.name == name)?;
    let code = match found.code {
        Some(code) => code,
        None if name == UNREACHABLE => code_by_name(family, found.number, "port")?,
        None => 0,
    };
    Some((found.number, code))
}

/// The words for messages of a family, for an error message.
pub(super) fn kind_names(family: Family) -> String {
    let names: Vec<_> = KINDS.iter().filter(|k| k.family == family).map(|k| k.name).collect();
    names.join(", ")
}

pub(super) fn code_name(family: Family, kind: u8, code: u8) -> Option<&'static str> {
    CODES.iter().find(|c| (c.0, c.1, c.2) == (family, kind, code)).map(|c| c.3)
}

pub(super) fn code_by_name(family: Family, kind: u8, name: &str) -> Option<u8> {
    CODES.iter().find(|c| (c.0, c.1, c.3) == (family, kind, name)).map(|c| c.2)
}

/// True for the messages that quote the packet they are about.
pub(super) const fn quotes(family: Family, kind: u8) -> bool {
    match family {
        V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        // RFC 4443 section 2.1.
        V6 => kind < 128,
    }
}

/// Bytes of a packet that an error quotes at most: RFC 1812 section 4.3.2.3 (the error is at most 576
/// bytes long), RFC 4443 section 3.1 (at most 1,280).
pub(super) const fn quote_limit(family: Family) -> usize {
    match family {
        V4 => 576 - 20 - 8,
        V6 => 1280 - 40 - 8,
    }
}

/// What the four bytes behind the checksum are, by the name of the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Echo,
    Mtu,
    Pointer,
    Gateway,
    Opaque,
}

pub(super) fn rest_of(family: Family, kind: u8, code: u8) -> Rest {
    match (kind_name(family, kind, code).map(|(name, _)| name), family) {
        (Some("echo" | "reply"), _) => Rest::Echo,
        (Some(TOO_BIG), _) => Rest::Mtu,
        (Some(PARAMETER_PROBLEM), _) => Rest::Pointer,
        (Some(REDIRECT), _) => Rest::Gateway,
        _ => Rest::Opaque,
    }
}
