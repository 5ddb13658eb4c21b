//! Changes of the fields of a head, made where it is encoded.

use super::field::Known;
use super::withheld::Withheld;
use super::{chars, host};

/// Changes of a head's fields: some are taken out, some put in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Names of fields that do not pass.
    removed: Vec<Box<str>>,
    /// Fields that are put in, at the end.
    added: Vec<(Box<str>, Box<[u8]>)>,
}

/// Why a field is not to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// The name is not a token.
    Name,
    /// The field frames messages, concerns one connection, or is what the service says of clients and
    /// requests: other settings decide it.
    Ours,
    /// The value has a character that it may not have.
    Value,
}

impl Edits {
    /// Takes the fields of that name out.
    pub fn remove(&mut self, name: &str) {
        self.removed.push(name.into());
    }

    /// Puts a field in, beside those of the same name.
    pub fn add(&mut self, name: &str, value: impl Into<Box<[u8]>>) {
        self.added.push((name.into(), value.into()));
    }

    /// Puts a field in, in the place of those of the same name.
    pub fn set(&mut self, name: &str, value: impl Into<Box<[u8]>>) {
        self.remove(name);
        self.add(name, value);
    }

    /// True if nothing is changed.
    pub const fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    /// Whether a field may be changed.
    ///
    /// # Errors
    /// Why not.
    pub fn check_name(name: &str) -> Result<(), Forbidden> {
        if !chars::token(name.as_bytes()) {
            return Err(Forbidden::Name);
        }
        let known = match Known::of(name.as_bytes()) {
            Known::Other => Known::of_alias(name.as_bytes()),
            known => known,
        };
        let said_by_us = known.is_forwarding() && known != Known::XRealIp || known.is_naming();
        if known.is_hop_by_hop() || known.is_framing() || said_by_us || known == Known::Expect {
            return Err(Forbidden::Ours);
        }
        Ok(())
    }

    /// Whether a field may have this value.
    ///
    /// # Errors
    /// Why not.
    pub fn check_value(value: &[u8]) -> Result<(), Forbidden> {
        let good = value.iter().all(|&byte| chars::is_field_value(byte));
        if good && chars::trim(value) == value { Ok(()) } else { Err(Forbidden::Value) }
    }
}

/// All changes of one head: those that a route makes of every one, and those of this one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    edits: [Option<&'a Edits>; 3],
    withheld: Option<&'a Withheld>,
}

impl<'a> Changes<'a> {
    /// Nothing is changed.
    pub const NONE: Self = Self { edits: [None; 3], withheld: None };

    /// Those of a route, and those of this head.
    pub const fn new(of_route: Option<&'a Edits>, own: Option<&'a Edits>) -> Self {
        Self { edits: [of_route, own, None], withheld: None }
    }

    /// The same with those that where it goes brings.
    #[must_use]
    pub const fn with(self, more: Option<&'a Edits>) -> Self {
        let [of_route, own, _] = self.edits;
        Self { edits: [of_route, own, more], ..self }
    }

    /// The same without the fields that are withheld, unless they are put in.
    #[must_use]
    pub const fn without(self, withheld: Option<&'a Withheld>) -> Self {
        Self { withheld, ..self }
    }

    /// Those of this head, to be changed.
    pub fn own(self) -> Edits {
        let [_, own, _] = self.edits;
        own.cloned().unwrap_or_default()
    }

    /// The same with others of this head.
    #[must_use]
    pub const fn with_own(self, own: &'a Edits) -> Self {
        let [of_route, _, more] = self.edits;
        Self { edits: [of_route, Some(own), more], ..self }
    }

    /// Whether a field that was received passes.
    pub fn keeps(self, name: &str) -> bool {
        if let ([None, None, None], None) = (self.edits, self.withheld) {
            return true;
        }
        let removed = self.edits.into_iter().flatten().flat_map(|edits| &edits.removed);
        !removed.into_iter().any(|removed| removed.eq_ignore_ascii_case(name))
            && !self.withheld.is_some_and(|withheld| withheld.holds(name))
    }

    /// The fields that are put in.
    pub fn added(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let added = self.edits.into_iter().flatten().flat_map(|edits| &edits.added);
        added.map(|(name, value)| (&**name, &**value))
    }
}

/// Whether `text` can take the place of the host that was asked for.
pub fn is_host(text: &str) -> bool {
    host::check(text.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_a_message_or_is_said_by_the_service_stays() {
        for name in ["X-Team", "x-real-ip", "authorization", "Cookie", "Server", "cache-control"] {
            assert_eq!(Edits::check_name(name), Ok(()), "{name}");
        }
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "te",
            "upgrade",
            "Expect",
            "X-Forwarded-For",
            "via",
            "forwarded",
            "traceparent",
            "X_Forwarded_For",
            "keep-alive",
        ] {
            assert_eq!(Edits::check_name(name), Err(Forbidden::Ours), "{name}");
        }
        for name in ["", "a b", "a:", "\u{e4}", "a\r\nb"] {
            assert_eq!(Edits::check_name(name), Err(Forbidden::Name), "{name}");
        }
        for (value, good) in [("", true), ("a b", true), (" a", false), ("a\r\nb: c", false)] {
            assert_eq!(Edits::check_value(value.as_bytes()).is_ok(), good, "{value}");
        }
    }

    #[test]
    fn setting_is_removing_and_adding() {
        let (mut route, mut own) = (Edits::default(), Edits::default());
        assert!(route.is_empty());
        route.set("Server", *b"balun");
        own.add("Set-Cookie", *b"a=b");
        let changes = Changes::new(Some(&route), Some(&own));
        assert!(!changes.keeps("server") && changes.keeps("set-cookie"));
        let added: Vec<_> = changes.added().collect();
        assert_eq!(added, [("Server", &b"balun"[..]), ("Set-Cookie", &b"a=b"[..])]);
        assert!(Changes::NONE.keeps("server") && Changes::NONE.added().next().is_none());
    }
}
