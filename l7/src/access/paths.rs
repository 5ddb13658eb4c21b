//! Paths as a lenient server reads them.

use std::borrow::Cow;

/// The path with what servers may remove or decode removed and decoded: escapes of printable ASCII,
/// parameters (`;x`), empty segments, and dots that only then come to light. In small letters it is not: most
/// servers tell case.
pub fn lenient(path: &[u8]) -> Cow<'_, [u8]> {
    let plain = |pair: &[u8]| pair != b"//";
    if !path.iter().any(|byte| matches!(byte, b'%' | b';' | b'\\')) && path.windows(2).all(plain) {
        return Cow::Borrowed(path);
    }
    let mut decoded = path.to_vec();
    // Twice: some servers stand behind others.
    for _ in 0..2 {
        decoded = decode(&decoded);
    }
    let mut read: Vec<u8> = Vec::with_capacity(decoded.len());
    let folder = decoded.ends_with(b"/");
    for segment in decoded.split(|&byte| matches!(byte, b'/' | b'\\')) {
        let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        match name {
            b"" | b"." => {}
            b".." => {
                let parent = read.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
                read.truncate(parent);
            }
            name => {
                read.push(b'/');
                read.extend_from_slice(name);
            }
        }
    }
    if folder || read.is_empty() {
        read.push(b'/');
    }
    Cow::Owned(read)
}

fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        let escaped = escaped.map(|(high, low)| high << 4 | low);
        let plain = escaped.filter(|byte| byte.is_ascii_graphic() || *byte == b' ');
        decoded.push(plain.unwrap_or(byte));
        rest = if plain.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_read_as_one() {
        for path in [
            "/admin/x",
            "/%61dmin/x",
            "/%2561dmin/x",
            "//admin//x",
            "/admin;v=1/x",
            "/admin%2fx",
            "/a/..%2fadmin/x",
            "/a/%2e%2e;/admin/x",
            "/admin\\x",
            "/./admin/x;",
        ] {
            let read = lenient(path.as_bytes());
            assert_eq!(String::from_utf8_lossy(&read), "/admin/x", "{path}");
        }
    }

    #[test]
    fn what_has_one_spelling_is_left_alone() {
        for path in ["/", "/a/b", "/a/b/", "*", "/a.b/c-d_~", ""] {
            assert!(matches!(lenient(path.as_bytes()), Cow::Borrowed(_)), "{path}");
        }
        for (path, read) in [
            ("/a//", "/a/"),
            ("//", "/"),
            ("/%", "/%"),
            ("/%e9", "/%e9"),
            ("/%00", "/%00"),
            ("/../..%2f..", "/"),
            ("/a%20b", "/a b"),
        ] {
            assert_eq!(lenient(path.as_bytes()), read.as_bytes(), "{path}");
        }
    }
}
