//! Which requests an answer fits: `Vary` (RFC 9111 section 4.1), and what is taken to be in it always.
//!
//! A backend may look at fields that it does not name in `Vary`. Those that are known to change answers
//! are looked at here as if it had named them: so nobody can have an answer kept that was made for a host,
//! a scheme or a method that only such a field said (cache poisoning by unkeyed fields).

use super::directive::member_end;
use super::lines::Lines;
use crate::http1::chars::{self, trim};

/// Fields that some backends take for part of what is asked for.
const ALWAYS: [&str; 14] = [
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "x-host",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "forwarded",
];

/// The fields that an answer was chosen by, as its request had them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selecting(Box<[Chosen]>);

/// A field's name, and its value if it was there.
type Chosen = (Box<str>, Option<Box<[u8]>>);

impl Selecting {
    /// Those of an answer with the fields `answer` to a request with `request`.
    pub(super) fn new(answer: &impl Lines, request: &impl Lines) -> Self {
        let mut names: Vec<Box<str>> = Vec::new();
        let mut add = |name: &[u8]| {
            if let Ok(name) = str::from_utf8(name) {
                let name = name.to_ascii_lowercase();
                if !names.iter().any(|known| **known == *name) {
                    names.push(name.into());
                }
            }
        };
        answer.lines("vary").flat_map(chars::members).for_each(&mut add);
        // An encoded answer fits only who can decode it, even if the backend forgot to say so.
        let coding = |value: &[u8]| !trim(value).eq_ignore_ascii_case(b"identity");
        if answer.lines("content-encoding").any(coding) {
            add(b"accept-encoding");
        }
        for name in ALWAYS {
            if request.lines(name).next().is_some() {
                add(name.as_bytes());
            }
        }
        let with_value = |name: Box<str>| {
            let mut value = Vec::new();
            let value = normalise(&name, request, &mut value).then(|| value.into());
            (name, value)
        };
        Self(names.into_iter().map(with_value).collect())
    }

    /// Whether a request with these fields would have got the answer. `scratch` is room to work in.
    pub(super) fn fits(&self, request: &impl Lines, scratch: &mut Vec<u8>) -> bool {
        let same = |(name, value): &Chosen| {
            scratch.clear();
            let present = normalise(name, request, scratch);
            present.then_some(&scratch[..]) == value.as_deref()
        };
        self.0.iter().all(same) && !request.all().any(|(name, _)| self.misses(name))
    }

    /// Whether the field is one that always counts and the answer's request did not have.
    fn misses(&self, name: &str) -> bool {
        // Most names begin otherwise.
        matches!(name.as_bytes().first(), Some(b'x' | b'X' | b'f' | b'F'))
            && ALWAYS.iter().any(|always| always.eq_ignore_ascii_case(name))
            && !self.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        let len = |(name, value): &Chosen| {
            name.len() + value.as_ref().map_or(0, |value| value.len()) + 48
        };
        self.0.iter().map(len).sum()
    }
}

/// Writes the value of a field so that values that mean the same are the same: one line, no white space
/// around members. Whether there is such a field.
fn normalise(name: &str, fields: &impl Lines, out: &mut Vec<u8>) -> bool {
    let mut present = false;
    for mut value in fields.lines(name) {
        present = true;
        while !value.is_empty() {
            let end = member_end(value);
            let member = trim(value.get(..end).unwrap_or_default());
            value = value.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                if !out.is_empty() {
                    out.push(b',');
                }
                out.extend_from_slice(member);
            }
        }
    }
    // Their members have neither case nor order; what is preferred is said by weights.
    if matches!(name, "accept-language" | "accept-encoding") {
        out.retain(|byte| !matches!(byte, b' ' | b'\t'));
        out.make_ascii_lowercase();
        let mut members: Vec<&[u8]> = out.split(|&byte| byte == b',').collect();
        members.sort_unstable();
        members.dedup();
        *out = members.join(&b',');
    }
    present
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::lines::Text;

    fn fits(answer: &str, kept: &str, asked: &str) -> bool {
        let lines = |text: &str| text.replace('\n', "\r\n").into_bytes();
        let (answer, kept, asked) = (lines(answer), lines(kept), lines(asked));
        let selecting = Selecting::new(&Text::new(&answer), &Text::new(&kept));
        selecting.fits(&Text::new(&asked), &mut Vec::new())
    }

    /// RFC 9111 section 4.1: all named fields match, or are absent from both requests.
    #[test]
    fn named_fields_must_match() {
        let vary = "Vary: Foo, bar\n";
        for (kept, asked, expected) in [
            ("Foo: 1\n", "foo: 1\nOther: 2\n", true),
            ("Foo: 1\n", "Foo: 2\n", false),
            ("Foo: 1\n", "", false),
            ("", "Foo: 1\n", false),
            ("", "", true),
            ("Foo: 1\nBar: a\n", "Bar: a\nFoo: 1\n", true),
            ("Foo: 1\nBar: a\n", "Foo: 1\n", false),
            // White space and lines mean nothing.
            ("Foo: 1, 2\n", "Foo: 1\nFoo: 2\n", true),
            ("Foo: 1,2\n", "Foo:  1, 2 \n", true),
            ("Foo: 1,2\n", "Foo: 2,1\n", false),
            ("Foo: \"a, b\"\n", "Foo: \"a,b\"\n", false),
            ("Foo: \n", "", false),
        ] {
            assert_eq!(fits(vary, kept, asked), expected, "{kept:?} {asked:?}");
        }
    }

    #[test]
    fn languages_and_codings_have_neither_order_nor_case() {
        let vary = "Vary: Accept-Language\n";
        assert!(fits(vary, "Accept-Language: en, de\n", "Accept-Language: De,  eN\n"));
        assert!(!fits(vary, "Accept-Language: en, de\n", "Accept-Language: en, de;q=0.5\n"));
        let vary = "Vary: Accept-Encoding\n";
        assert!(fits(vary, "Accept-Encoding: gzip, br\n", "Accept-Encoding: br,gzip\n"));
    }

    /// An encoded answer whose backend forgot `Vary` is not for who cannot decode it.
    #[test]
    fn encoded_answers_vary() {
        assert!(!fits("Content-Encoding: gzip\n", "Accept-Encoding: gzip\n", ""));
        assert!(fits("Content-Encoding: identity\n", "Accept-Encoding: gzip\n", ""));
    }

    /// Fields that say another host, scheme, path or method belong to the key, named or not.
    #[test]
    fn fields_that_poison_caches_always_count() {
        for name in ALWAYS {
            let field = format!("{name}: evil\n");
            assert!(!fits("", &field, ""), "what {name} made is for nobody else");
            assert!(!fits("", "", &field), "nor does who says {name} get another's");
            assert!(fits("", &field, &field));
        }
    }
}
