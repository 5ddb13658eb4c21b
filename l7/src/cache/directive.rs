//! `Cache-Control`, and its form for caches such as this one, `CDN-Cache-Control`.
//!
//! Names of directives have no case, arguments may be tokens or quoted (RFC 9111 section 5.2). What
//! cannot be understood errs towards not keeping an answer.

use std::time::Duration;

use super::dictionary;
use super::lines::Lines;
use crate::http1::chars::{self, trim};

/// The greatest number of seconds that is told apart (RFC 9111 section 1.2.2).
const GREATEST: u32 = 1 << 31;

/// What a directive that may name fields is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// It is not there.
    #[default]
    None,
    /// Only these fields.
    Fields(Vec<Box<[u8]>>),
    /// The answer.
    Whole,
}

/// What an answer says about being kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ResponseDirectives {
    pub(super) no_store: bool,
    pub(super) no_cache: Scope,
    pub(super) private: Scope,
    pub(super) public: bool,
    /// `must-revalidate`, `proxy-revalidate` or `s-maxage`: not to be used stale, whatever happens.
    pub(super) never_stale: bool,
    /// `public`, `must-revalidate` or `s-maxage` (RFC 9111 section 3.5).
    pub(super) allows_authorised: bool,
    pub(super) must_understand: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) s_maxage: Option<Duration>,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    /// They are a targeted field's: `Expires` says nothing beside it (RFC 9213 section 2.2).
    pub(super) targeted: bool,
}

impl ResponseDirectives {
    /// Those of an answer with `fields`.
    pub(super) fn of(fields: &impl Lines) -> Self {
        Self::targeted(fields).unwrap_or_else(|| Self::general(fields))
    }

    /// Those of `CDN-Cache-Control`, if it is there and a dictionary (RFC 9213).
    fn targeted(fields: &impl Lines) -> Option<Self> {
        let mut text = Vec::new();
        for value in fields.lines("cdn-cache-control") {
            if !text.is_empty() {
                text.extend_from_slice(b", ");
            }
            text.extend_from_slice(value);
        }
        let members = dictionary::parse(&text)?;
        if members.is_empty() {
            return None;
        }
        let mut directives = Self { targeted: true, ..Self::default() };
        for (name, item) in members {
            match item {
                dictionary::Item::Flag(true) => directives.take(name, None),
                dictionary::Item::Integer(count) => {
                    let seconds = u32::try_from(count.max(0)).unwrap_or(GREATEST).min(GREATEST);
                    directives.take_seconds(name, Duration::from_secs(seconds.into()));
                }
                dictionary::Item::Text(text) if matches!(name, b"no-cache" | b"private") => {
                    directives.take(name, Some(&text));
                }
                // A type that a directive does not have (RFC 9213 section 2.1).
                _ => {}
            }
        }
        Some(directives)
    }

    fn general(fields: &impl Lines) -> Self {
        let mut directives = Self::default();
        let mut any = false;
        for value in fields.lines("cache-control") {
            any = true;
            each(value, |name, argument| directives.take(name, argument));
        }
        // RFC 9111 section 5.4: only where nothing newer is said. Servers send it, and mean it.
        let pragma = || fields.lines("pragma").flat_map(chars::members);
        if !any && pragma().any(|member| member.eq_ignore_ascii_case(b"no-cache")) {
            directives.no_cache = Scope::Whole;
        }
        directives
    }

    fn take(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache.extend(argument);
        } else if is("private") {
            self.private.extend(argument);
        } else if is("public") {
            self.public = true;
            self.allows_authorised = true;
        } else if is("must-revalidate") {
            self.never_stale = true;
            self.allows_authorised = true;
        } else if is("proxy-revalidate") {
            self.never_stale = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else {
            self.take_seconds(name, argument.and_then(seconds).unwrap_or_default());
        }
    }

    /// Of several times the shortest counts (RFC 9111 section 4.2.1: the answer may be taken for stale).
    fn take_seconds(&mut self, name: &[u8], time: Duration) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let place = if is("max-age") {
            &mut self.max_age
        } else if is("s-maxage") {
            self.never_stale = true;
            self.allows_authorised = true;
            &mut self.s_maxage
        } else if is("stale-while-revalidate") {
            &mut self.stale_while_revalidate
        } else if is("stale-if-error") {
            &mut self.stale_if_error
        } else {
            return;
        };
        *place = Some(place.map_or(time, |before| before.min(time)));
    }

    /// How long the answer says that it is fresh, `Expires` aside.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.s_maxage.or(self.max_age)
    }

    /// Whether the field may not be kept (RFC 9111 sections 5.2.2.4 and 5.2.2.7).
    pub(super) fn withholds(&self, field: &str) -> bool {
        let named = |scope: &Scope| match scope {
            Scope::Fields(names) => {
                names.iter().any(|name| name.eq_ignore_ascii_case(field.as_bytes()))
            }
            _ => false,
        };
        named(&self.no_cache) || named(&self.private)
    }
}

impl Scope {
    fn extend(&mut self, argument: Option<&[u8]>) {
        let Some(list) = argument else {
            *self = Self::Whole;
            return;
        };
        let mut names: Vec<Box<[u8]>> = chars::members(list).map(Into::into).collect();
        match self {
            Self::None if names.is_empty() => *self = Self::Whole,
            Self::None => *self = Self::Fields(names),
            Self::Fields(before) => before.append(&mut names),
            Self::Whole => {}
        }
    }
}

/// How stale an answer the client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MaxStale {
    /// Any.
    Any,
    /// By that much.
    By(Duration),
}

/// What a request says about answers that were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestDirectives {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<Duration>,
    pub(super) min_fresh: Option<Duration>,
    pub(super) max_stale: Option<MaxStale>,
}

impl RequestDirectives {
    /// Those of a request with `fields`.
    pub(super) fn of(fields: &impl Lines) -> Self {
        let mut directives = Self::default();
        let mut any = false;
        for value in fields.lines("cache-control") {
            any = true;
            each(value, |name, argument| directives.take(name, argument));
        }
        if !any {
            // RFC 9111 section 5.4.
            let members = fields.lines("pragma").flat_map(chars::members);
            directives.no_cache = { members }.any(|it| it.eq_ignore_ascii_case(b"no-cache"));
        }
        directives
    }

    fn take(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let time = argument.and_then(seconds);
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            self.max_age = time.or(self.max_age);
        } else if is("min-fresh") {
            self.min_fresh = time.or(self.min_fresh);
        } else if is("max-stale") {
            self.max_stale = match (argument, time) {
                (None, _) => Some(MaxStale::Any),
                (_, Some(time)) => Some(MaxStale::By(time)),
                _ => self.max_stale,
            };
        }
    }
}

/// A number of seconds; those beyond what is told apart are as many (RFC 9111 section 1.2.2).
pub(super) fn seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |sum: u64, byte: &u8| sum.saturating_mul(10).saturating_add(u64::from(byte - b'0'));
    Some(Duration::from_secs(text.iter().fold(0, digit).min(GREATEST.into())))
}

/// Tells each directive of a list with its argument, which is without its quotes.
fn each<'v>(mut list: &'v [u8], mut tell: impl FnMut(&'v [u8], Option<&'v [u8]>)) {
    while !list.is_empty() {
        let end = member_end(list);
        let member = trim(list.get(..end).unwrap_or_default());
        list = list.get(end + 1..).unwrap_or_default();
        let (name, argument) = match member.iter().position(|&byte| byte == b'=') {
            None => (member, None),
            Some(at) => (
                member.get(..at).unwrap_or_default(),
                Some(unquoted(member.get(at + 1..).unwrap_or_default())),
            ),
        };
        if chars::token(name) {
            tell(name, argument);
        }
    }
}

/// Where the first member of a list ends: at a comma that is not within quotes. Quotes that are not
/// closed are none, so that nothing hides behind them.
pub(super) fn member_end(list: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = list.get(at) {
        match byte {
            b',' => return at,
            b'"' => at += quoted_len(list.get(at..).unwrap_or_default()).unwrap_or(1),
            _ => at += 1,
        }
    }
    list.len()
}

/// Length of the quoted string that `text` begins with.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn unquoted(argument: &[u8]) -> &[u8] {
    match argument {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::lines::Text;

    fn answer(fields: &str) -> ResponseDirectives {
        ResponseDirectives::of(&Text::new(fields.replace('\n', "\r\n").as_bytes()))
    }

    fn request(fields: &str) -> RequestDirectives {
        RequestDirectives::of(&Text::new(fields.replace('\n', "\r\n").as_bytes()))
    }

    /// RFC 9111 section 5.2: names have no case, arguments may be quoted, unknown ones are ignored.
    #[test]
    fn directives_are_read_as_the_rfc_has_them() {
        let secs = |count| Some(Duration::from_secs(count));
        for (value, expected) in [
            ("max-age=60", secs(60)),
            ("MaX-aGe=60", secs(60)),
            ("max-age=\"60\"", secs(60)),
            ("max-age=0060", secs(60)),
            ("foobar, max-age=60", secs(60)),
            ("extension=\"max-age=9\", max-age=60", secs(60)),
            ("max-age=60, extension=\"max-age=9\"", secs(60)),
            // Section 1.2.2: too great is as great as can be.
            ("max-age=99999999999999999999999", secs(1 << 31)),
            // Section 4.2.1: what is not a number of seconds makes the answer stale.
            ("max-age=60a", secs(0)),
            ("max-age=-60", secs(0)),
            ("max-age=6.5", secs(0)),
            ("max-age='60'", secs(0)),
            ("max-age= 60", secs(0)),
            ("max-age", secs(0)),
            // So do several that disagree: the shortest counts.
            ("max-age=60, max-age=1", secs(1)),
            ("max-age=1, max-age=60", secs(1)),
            ("max-age =60", None),
            ("", None),
        ] {
            assert_eq!(answer(&format!("Cache-Control: {value}\n")).max_age, expected, "{value}");
        }
        let two = answer("Cache-Control: max-age=60\nCache-Control: s-maxage=5\n");
        assert_eq!((two.lifetime(), two.never_stale), (secs(5), true));
    }

    /// Nothing can hide a directive that forbids.
    #[test]
    fn quotes_that_are_not_closed_hide_nothing() {
        for value in
            ["no-store", "No-StOrE", "a=\"b, no-store", "a=\"b\\\", no-store", ",, no-store"]
        {
            assert!(answer(&format!("Cache-Control: {value}\n")).no_store, "{value}");
        }
        assert!(!answer("Cache-Control: a=\"no-store, no-store\"\n").no_store);
        assert!(!answer("Cache-Control: a=\"b\\\", no-store\"\n").no_store);
    }

    /// Sections 5.2.2.4 and 5.2.2.7: with names of fields, only those are meant.
    #[test]
    fn directives_about_fields_name_them() {
        let some = answer("Cache-Control: no-cache=\"a, Set-Cookie\", private=x\n");
        assert!(some.withholds("A") && some.withholds("set-cookie") && some.withholds("X"));
        assert!(!some.withholds("b") && some.no_cache != Scope::Whole);
        assert_eq!(answer("Cache-Control: no-cache=\"a\", no-cache\n").no_cache, Scope::Whole);
        assert_eq!(answer("Cache-Control: private=\"\"\n").private, Scope::Whole);
        assert_eq!(answer("Pragma: no-cache\n").no_cache, Scope::Whole);
        assert_eq!(answer("Pragma: no-cache\nCache-Control: max-age=1\n").no_cache, Scope::None);
    }

    /// RFC 9213: the targeted field, if it can be read, is the only one that counts.
    #[test]
    fn the_targeted_field_takes_the_place_of_the_other() {
        let secs = |count| Some(Duration::from_secs(count));
        let targeted =
            |value: &str| answer(&format!("Cache-Control: no-store\nCDN-Cache-Control: {value}\n"));
        let read = targeted("max-age=60, foobar, stale-if-error=9;x=1");
        assert_eq!((read.max_age, read.stale_if_error, read.no_store), (secs(60), secs(9), false));
        assert_eq!(targeted("max-age=99999999999").max_age, secs(1 << 31));
        assert_eq!(targeted("max-age=-1").max_age, secs(0));
        assert!(targeted("no-store").no_store && targeted("private").private == Scope::Whole);
        // Not a dictionary: as if it were not there (section 2.1).
        for value in ["max-age=60, &&&", "MaX-aGe=60", "max-age =60", "max-age= 60", ""] {
            assert!(targeted(value).no_store, "{value}");
        }
        // Of a type that the directive does not have: that directive is not there.
        assert_eq!(targeted("max-age=\"60\"").max_age, None);
    }

    #[test]
    fn requests_say_what_they_would_take() {
        let secs = Duration::from_secs;
        let all = request("Cache-Control: no-cache, max-age=5, min-fresh=6, max-stale=7\n");
        assert!(all.no_cache && !all.no_store);
        assert_eq!((all.max_age, all.min_fresh), (Some(secs(5)), Some(secs(6))));
        assert_eq!(all.max_stale, Some(MaxStale::By(secs(7))));
        assert_eq!(request("Cache-Control: max-stale\n").max_stale, Some(MaxStale::Any));
        assert_eq!(request("Cache-Control: max-stale=x\n").max_stale, None);
        assert!(request("Cache-Control: Only-If-Cached, no-store\n").only_if_cached);
        assert!(request("Pragma: no-cache\n").no_cache);
        assert!(!request("Pragma: no-cache\nCache-Control: x\n").no_cache);
    }
}
