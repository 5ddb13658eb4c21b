//! Whose a certificate is, in words.
//!
//! webpki has verified the certificate before, and says where its subject lies. Here that is written as
//! RFC 4514 writes names: the last part first, the types of common attributes by their short names and
//! others by numbers. What is not of the expected form ends the reading: the name is then empty.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// Object identifiers in DER, and what they are called (RFC 4514 section 3).
const TYPES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// The subject of `certificate`.
pub(super) fn of(certificate: &CertificateDer<'_>) -> String {
    let parsed = webpki::EndEntityCert::try_from(certificate);
    parsed.ok().and_then(|parsed| name(parsed.subject())).unwrap_or_default()
}

/// The name whose parts are in `parts`, a sequence without its own header.
fn name(mut parts: &[u8]) -> Option<String> {
    let mut written = Vec::new();
    while !parts.is_empty() {
        let mut set = element(&mut parts, SET)?;
        let mut text = String::new();
        while !set.is_empty() {
            let mut attribute = element(&mut set, SEQUENCE)?;
            let kind = element(&mut attribute, OBJECT_IDENTIFIER)?;
            let value = string(&mut attribute)?;
            let plus = if text.is_empty() { "" } else { "+" };
            text.push_str(plus);
            kind_name(kind, &mut text);
            text.push('=');
            escape(value, &mut text);
        }
        written.push(text);
    }
    written.reverse();
    Some(written.join(","))
}

/// The contents of the element at the front of `bytes`, if it has that tag.
fn element<'a>(bytes: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let length = if first < 0x80 {
        usize::from(first)
    } else {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f).min(4))?;
        rest = after;
        digits.iter().fold(0, |length, &byte| (length << 8) | usize::from(byte))
    };
    let (contents, after) = rest.split_at_checked(length)?;
    *bytes = after;
    (found == tag).then_some(contents)
}

fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let tag = *bytes.first()?;
    if ![UTF8_STRING, PRINTABLE_STRING, IA5_STRING].contains(&tag) {
        return None;
    }
    str::from_utf8(element(bytes, tag)?).ok()
}

fn kind_name(kind: &[u8], out: &mut String) {
    if let Some((_, name)) = TYPES.iter().find(|(known, _)| *known == kind) {
        out.push_str(name);
        return;
    }
    let mut number = 0_u64;
    let mut first = true;
    for byte in kind {
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        // Two numbers are in the first (X.690 section 8.19.4). Writing to a string cannot fail.
        let _ = if first {
            let top = (number / 40).min(2);
            write!(out, "{top}.{}", number - top * 40)
        } else {
            write!(out, ".{number}")
        };
        first = false;
        number = 0;
    }
}

/// RFC 4514 section 2.4; control characters by their bytes, so that a line stays one.
fn escape(value: &str, out: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (at, char) in value.chars().enumerate() {
        let at_an_end = (char == ' ' && (at == 0 || at == last)) || (char == '#' && at == 0);
        if char.is_control() {
            let mut bytes = [0; 4];
            for byte in char.encode_utf8(&mut bytes).bytes() {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\{byte:02x}");
            }
            continue;
        }
        if at_an_end || "\"+,;<>\\".contains(char) {
            out.push('\\');
        }
        out.push(char);
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn subject(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn names_are_written_as_in_directories() {
        let other = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        for (parts, expected) in [
            (&[(DnType::CommonName, "alice")][..], "CN=alice"),
            (
                &[
                    (DnType::CountryName, "NL"),
                    (DnType::OrganizationName, "Lab, \"Inc\""),
                    (DnType::CommonName, "# é "),
                ],
                "CN=\\# é\\ ,O=Lab\\, \\\"Inc\\\",C=NL",
            ),
            (&[(other, "a@b")], "1.2.840.113549.1.9.1=a@b"),
            (&[(DnType::CommonName, "a\r\nb")], "CN=a\\0d\\0ab"),
            (&[(DnType::CommonName, &"x".repeat(300))], &format!("CN={}", "x".repeat(300))),
            (&[], ""),
        ] {
            assert_eq!(subject(parts), expected);
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        for bad in [&[0x31][..], &[0x31, 1], &[0x30, 0], &[0x31, 2, 0x30, 0], &[0x31, 0x84, 1]] {
            assert_eq!(name(bad), None, "{bad:?}");
        }
        assert_eq!(of(&CertificateDer::from_slice(b"x")), "");
    }
}
