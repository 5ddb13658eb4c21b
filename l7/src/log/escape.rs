//! Bytes of strangers, written so that they stay within their field.
//!
//! What a client sends must not end a line, a string or a column of the log, nor do anything to the
//! terminal that shows it.

/// Appends `bytes` as the inside of a JSON string.
///
/// Control characters, those of C1 and the line separators of Unicode too, become `\u` escapes; what
/// is not UTF-8 becomes U+FFFD, since JSON has no bytes.
pub(super) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.iter().all(|&byte| is_plain(byte)) {
        return out.extend_from_slice(bytes);
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    let code = u32::from(c);
                    out.extend_from_slice(b"\\u");
                    out.extend([12, 8, 4, 0].map(|shift| HEX[(code >> shift) as usize & 0xf]));
                }
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends `bytes` for a line of text: `"`, `\` and all that is not printable ASCII become `\xHH`.
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        if is_plain(byte) {
            out.push(byte);
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        }
    }
}

/// Means nothing in any format.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// The digits of escapes.
pub(super) const HEX: [u8; 16] = *b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: [(&[u8], &str, &str); 10] = [
        (b"plain /a?b=c~", "plain /a?b=c~", "plain /a?b=c~"),
        (b"a\r\nb", "a\\u000d\\u000ab", "a\\x0d\\x0ab"),
        (b"\x1b[2J", "\\u001b[2J", "\\x1b[2J"),
        (b"say \"hi\"", "say \\\"hi\\\"", "say \\x22hi\\x22"),
        (b"c:\\n", "c:\\\\n", "c:\\x5cn"),
        (b"\0\x7f\t", "\\u0000\\u007f\\u0009", "\\x00\\x7f\\x09"),
        ("grün".as_bytes(), "grün", "gr\\xc3\\xbcn"),
        (b"a\xffb\xc3", "a\u{fffd}b\u{fffd}", "a\\xffb\\xc3"),
        // A terminal takes CSI as one character too, and a reader of lines these as their ends.
        ("\u{9b}2J".as_bytes(), "\\u009b2J", "\\xc2\\x9b2J"),
        ("\u{2028}".as_bytes(), "\\u2028", "\\xe2\\x80\\xa8"),
    ];

    #[test]
    fn nothing_leaves_its_field() {
        for (bytes, in_json, in_text) in NASTY {
            let mut out = Vec::new();
            json(bytes, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), in_json);
            let mut out = Vec::new();
            text(bytes, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), in_text);
        }
    }

    #[test]
    fn every_byte_is_printable_afterwards() {
        let all: Vec<u8> = (0..=255).collect();
        for write in [json, text] {
            let mut out = Vec::new();
            write(&all, &mut out);
            let out = String::from_utf8(out).unwrap();
            assert!(out.chars().all(|c| !c.is_control()), "{out}");
        }
    }
}
