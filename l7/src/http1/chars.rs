//! Byte classes of RFC 9110 section 5.6 and RFC 9112 section 3.

const TOKEN: u8 = 1 << 0;
const FIELD_VALUE: u8 = 1 << 1;
const TARGET: u8 = 1 << 2;
const REG_NAME: u8 = 1 << 3;
const CHUNK_EXTENSION: u8 = 1 << 4;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        let mut class = 0;
        if b.is_ascii_alphanumeric() || within(b, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            class |= FIELD_VALUE;
        }
        if b.is_ascii_graphic() && b != b'#' {
            class |= TARGET;
        }
        // RFC 3986 unreserved, sub-delims without the comma, and the sign of an escape.
        if b.is_ascii_alphanumeric() || within(b, b"-._~!$&'()*+;=%") {
            class |= REG_NAME;
        }
        if b == b' ' || b.is_ascii_graphic() || b >= 0x80 {
            class |= CHUNK_EXTENSION;
        }
        table[byte] = class;
        byte += 1;
    }
    table
}

const fn within(byte: u8, set: &[u8]) -> bool {
    let mut index = 0;
    while index < set.len() {
        if set[index] == byte {
            return true;
        }
        index += 1;
    }
    false
}

const fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// `tchar`: what methods and field names are made of.
pub const fn is_token(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// HTAB, SP, VCHAR or obs-text: what field values are made of.
pub const fn is_field_value(byte: u8) -> bool {
    is(byte, FIELD_VALUE)
}

/// What request targets are made of: visible ASCII without `#`, which begins a fragment.
pub const fn is_target(byte: u8) -> bool {
    is(byte, TARGET)
}

/// What a host name is made of (`reg-name` of RFC 3986 without the comma, which would make a list).
pub const fn is_reg_name(byte: u8) -> bool {
    is(byte, REG_NAME)
}

/// What chunk extensions are made of: no control character.
pub const fn is_chunk_extension(byte: u8) -> bool {
    is(byte, CHUNK_EXTENSION)
}

/// Whether `bytes` is a token: one or more `tchar`.
pub fn token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token(byte))
}

/// `bytes` without optional white space (SP, HTAB) at either end.
pub fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, trimmed; empty ones are skipped (RFC 9110 section 5.6.1).
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_agree_with_the_grammar() {
        for byte in 0..=255u8 {
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(byte), token, "{byte:#x}");
            let value = matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
            assert_eq!(is_field_value(byte), value, "{byte:#x}");
            assert_eq!(is_target(byte), (0x21..0x7f).contains(&byte) && byte != b'#', "{byte:#x}");
        }
        assert!(!is_reg_name(b',') && !is_reg_name(b'@') && !is_reg_name(b'/'));
        assert!(!is_chunk_extension(b'\t') && !is_chunk_extension(b'\r'));
    }

    #[test]
    fn lists_are_trimmed_and_empty_members_skipped() {
        let found: Vec<_> = members(b" close ,, \tTE\t,").collect();
        assert_eq!(found, [b"close".as_slice(), b"TE"]);
        assert_eq!(trim(b" \t "), b"");
    }
}
