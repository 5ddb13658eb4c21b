//! Fields by their names, whoever holds them.

use crate::http1::head::Fields;

/// Fields of a head.
pub(super) trait Lines {
    /// The fields in their order: name and trimmed value.
    fn all(&self) -> impl Iterator<Item = (&str, &[u8])>;

    /// The values of the fields of that name, which is in lower case.
    fn lines<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the only field of that name; none if there are several.
    fn single<'a>(&'a self, name: &'a str) -> Option<&'a [u8]> {
        let mut values = self.lines(name);
        let first = values.next();
        if values.next().is_some() { None } else { first }
    }
}

impl Lines for Fields<'_, '_> {
    fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.iter().map(|(_, field)| (field.name, field.value))
    }
}

/// Fields as we wrote them: `name: value`, each with its CRLF.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }
}

impl Lines for Text<'_> {
    fn all(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // Values have no LF.
        self.0.split(|&byte| byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = memchr::memchr(b':', line)?;
            let (name, rest) = line.split_at_checked(colon)?;
            Some((str::from_utf8(name).ok()?, rest.get(2..).unwrap_or_default()))
        })
    }
}

/// Appends a field as [`Text`] has it.
pub(super) fn push(name: &str, value: &[u8], out: &mut Vec<u8>) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let mut text = Vec::new();
        push("A", b"1: 2", &mut text);
        push("b", b"", &mut text);
        push("a", b"3", &mut text);
        let fields = Text::new(&text);
        assert_eq!(fields.all().count(), 3);
        assert_eq!(fields.lines("a").collect::<Vec<_>>(), [b"1: 2".as_slice(), b"3"]);
        assert_eq!((fields.single("a"), fields.single("b")), (None, Some(b"".as_slice())));
    }
}
