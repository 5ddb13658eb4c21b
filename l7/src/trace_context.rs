//! Trace context: which trace a request belongs to, and whose call it was.
//!
//! W3C Trace Context, <https://www.w3.org/TR/trace-context/> (sections named here are those of the
//! Recommendation of 2021; the flag of Level 2 is passed on).
//!
//! # Theory of operation
//! A balancer that takes part is a span of its own: it keeps the trace, and puts its own id where the
//! caller's was (section 3.4). What is not valid is as good as not there: a new trace begins, and with it goes
//! `tracestate`, which speaks of the old one. A `tracestate` that is not valid is dropped by itself.

use crate::http1::field::Known;
use crate::http1::head::Fields;
use crate::ids::Ids;

/// Members of a `tracestate` list at most (section 3.3.1.1).
const MEMBERS: usize = 32;

/// Bytes of a member's key, and of its value, at most (section 3.3.1.3).
const KEY: usize = 256;

/// Bytes of `traceparent` in version 00, and of what later versions begin with (section 3.2).
pub const PARENT: usize = 55;

/// Sampled (section 3.2.2.5.1), and since Level 2 random. Others must be sent as zero.
const FLAGS: u8 = 0b11;

/// The caller may have recorded: as we do, in the log.
const SAMPLED: u8 = 0b01;

/// A request's place in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub trace_id: [u8; 16],
    /// Our span in it.
    pub span_id: [u8; 8],
    /// The caller's span; none if the trace begins here.
    pub parent_id: Option<[u8; 8]>,
    flags: u8,
    /// The request's `tracestate` is to be sent on.
    keeps_state: bool,
}

/// A `traceparent` that is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The caller's span.
    pub parent_id: [u8; 8],
    /// Those that we know.
    pub flags: u8,
}

impl Trace {
    /// Goes on with the trace that `fields` tell of, or begins one.
    pub fn of(fields: &Fields<'_, '_>, ids: &Ids) -> Self {
        let mut parents = fields.values(Known::TraceParent);
        let parent = match (parents.next(), parents.next()) {
            (Some(value), None) => Parent::parse(value),
            // Section 3.2: there is one; of several nobody knows which is meant.
            _ => None,
        };
        let span_id = ids.next8();
        let Some(Parent { trace_id, parent_id, flags }) = parent else {
            let trace_id = ids.next16();
            return Self { trace_id, span_id, parent_id: None, flags: SAMPLED, keeps_state: false };
        };
        let keeps_state = is_state(fields.values(Known::TraceState));
        Self { trace_id, span_id, parent_id: Some(parent_id), flags, keeps_state }
    }

    /// Whether the request's `tracestate` is to be sent on.
    pub const fn keeps_state(&self) -> bool {
        self.keeps_state
    }

    /// The `traceparent` that is sent on.
    pub fn parent(&self) -> [u8; PARENT] {
        let mut out = [b'-'; PARENT];
        let mut places = out.iter_mut();
        for part in [&[0][..], &self.trace_id, &self.span_id, &[self.flags]] {
            let nibbles = part.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
            for (nibble, place) in nibbles.zip(&mut places) {
                *place = digit(nibble);
            }
            // Behind each part is a dash, which stands there already.
            places.next();
        }
        out
    }
}

impl Parent {
    /// Reads the value of a `traceparent` field (section 3.2.2); nothing if it is not valid.
    ///
    /// # Examples
    ///
    /// ```
    /// use l7::trace_context::Parent;
    ///
    /// let parent = Parent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
    /// assert_eq!(parent.parent_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    /// assert_eq!(parent.flags, 1);
    /// ```
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(PARENT)?;
        let [version] = hex(known.get(..2)?)?;
        let dashes = [2, 35, 52].iter().all(|&at| known.get(at) == Some(&b'-'));
        // Later versions may have more behind a dash; 00 has not, and ff is none.
        let ends = rest.is_empty() || (version != 0 && rest.starts_with(b"-"));
        if !dashes || !ends || version == 0xff {
            return None;
        }
        let trace_id: [u8; 16] = hex(known.get(3..35)?)?;
        let parent_id: [u8; 8] = hex(known.get(36..52)?)?;
        let [flags] = hex(known.get(53..)?)?;
        if trace_id == [0; 16] || parent_id == [0; 8] {
            return None;
        }
        Some(Self { trace_id, parent_id, flags: flags & FLAGS })
    }
}

/// Digits of `N` bytes; only small letters are (section 3.2.2).
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Whether the fields make one valid list (section 3.3.1). Several are one list in their order.
fn is_state<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut keys = [&[][..]; MEMBERS];
    let mut count = 0;
    for member in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        let member = member.trim_ascii();
        // Empty members are allowed, and stand for nothing.
        if member.is_empty() {
            continue;
        }
        let Some(at) = memchr::memchr(b'=', member) else { return false };
        let (key, value) = member.split_at(at);
        let known = keys.get(..count).unwrap_or_default();
        if !is_key(key) || !is_value(value.get(1..).unwrap_or_default()) || known.contains(&key) {
            return false;
        }
        let Some(place) = keys.get_mut(count) else { return false };
        *place = key;
        count += 1;
    }
    true
}

/// Section 3.3.1.3.1, in the wider form of Level 2: a tenant may stand before an `@`.
fn is_key(key: &[u8]) -> bool {
    let begins = matches!(key.first(), Some(b'a'..=b'z' | b'0'..=b'9'));
    let goes_on =
        |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    begins && key.len() <= KEY && key.iter().copied().all(goes_on)
}

/// Section 3.3.1.3.2; the spaces at its end went with the list's.
fn is_value(value: &[u8]) -> bool {
    let is_char = |byte| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    (1..=KEY).contains(&value.len()) && value.iter().copied().all(is_char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::{self, Strictness};

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn traced(fields: &str) -> Trace {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut slots = head::slots();
        let head = head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap();
        Trace::of(&head.fields, &Ids::new(7))
    }

    #[test]
    fn a_valid_parent_is_read() {
        for (flags, kept) in [("00", 0), ("01", 1), ("03", 3), ("ff", 3), ("08", 0)] {
            let parent = Parent::parse(format!("00-{TRACE}-{SPAN}-{flags}").as_bytes()).unwrap();
            assert_eq!(
                parent.trace_id,
                0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes()
            );
            assert_eq!(parent.parent_id, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
            assert_eq!(parent.flags, kept, "unknown flags are sent as zero");
        }
        for later in ["01", "fe"] {
            for rest in ["", "-", "-what-comes-then"] {
                let text = format!("{later}-{TRACE}-{SPAN}-01{rest}");
                assert!(Parent::parse(text.as_bytes()).is_some(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_not_a_valid_parent_is_none() {
        let (no_trace, no_span) = ("0".repeat(32), "0".repeat(16));
        for text in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("00-{no_trace}-{SPAN}-01"),
            format!("00-{TRACE}-{no_span}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0G"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01.what"),
            format!("00-{TRACE}-{SPAN}-010"),
            format!("01-{TRACE}-{SPAN}-01.what"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}0-01"),
            format!("00 {TRACE} {SPAN} 01"),
        ] {
            assert_eq!(Parent::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_valid_trace_goes_on_with_a_span_of_ours() {
        let trace = traced(&format!("traceparent: 00-{TRACE}-{SPAN}-00\r\ntracestate: a=1\r\n"));
        assert_eq!(trace.parent_id, Some(0xb7ad_6b71_6920_3331_u64.to_be_bytes()));
        assert!(trace.keeps_state);
        let sent = String::from_utf8(trace.parent().to_vec()).unwrap();
        assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"), "{sent}");
        let sent = Parent::parse(sent.as_bytes()).unwrap();
        assert_eq!((sent.trace_id, sent.parent_id), (trace.trace_id, trace.span_id));
    }

    #[test]
    fn another_begins_where_there_is_none_that_is_valid() {
        let valid = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n");
        for fields in [
            "tracestate: a=1\r\n".to_owned(),
            "traceparent: 00-what\r\ntracestate: a=1\r\n".to_owned(),
            format!("{valid}{valid}tracestate: a=1\r\n"),
        ] {
            let trace = traced(&fields);
            assert_eq!((trace.parent_id, trace.keeps_state), (None, false), "{fields}");
            let sent = Parent::parse(&trace.parent()).unwrap();
            assert_eq!((sent.parent_id, sent.flags), (trace.span_id, 1));
        }
    }

    #[test]
    fn a_state_is_kept_only_if_it_is_a_valid_list() {
        let key = "k".repeat(256);
        let members = |count| (0..count).map(|n| format!("k{n}=v,")).collect::<Vec<_>>().concat();
        for (state, kept) in [
            ("a=1".to_owned(), true),
            ("foo=1, \t bar=2".to_owned(), true),
            ("foo=1,,bar=2,".to_owned(), true),
            ("foo@vendor=a b!~,0tenant@sys=1,a-b*c/d_e=1".to_owned(), true),
            (format!("{key}={key}"), true),
            (members(32), true),
            (members(33), false),
            (format!("{key}k=1"), false),
            (format!("a={key}k"), false),
            ("a".to_owned(), false),
            ("a=".to_owned(), false),
            ("=1".to_owned(), false),
            ("A=1".to_owned(), false),
            ("_a=1".to_owned(), false),
            ("a =1".to_owned(), false),
            ("a=1=2".to_owned(), false),
            ("a=\u{e9}".to_owned(), false),
            ("a=1,b=2,a=3".to_owned(), false),
        ] {
            let fields = format!("traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: {state}\r\n");
            let trace = traced(&fields);
            assert_eq!(trace.keeps_state, kept, "{state}");
            assert!(trace.parent_id.is_some(), "the trace goes on without it");
        }
        let two = format!(
            "traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: {}\r\ntracestate: z=1\r\n",
            members(32)
        );
        assert!(!traced(&two).keeps_state, "several fields are one list");
    }
}
