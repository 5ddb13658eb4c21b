//! Clients that stay with their backends, known by what their requests say.
//!
//! # Theory of operation
//! By a cookie: the answer names the backend that gave it, and later requests go there. A backend is named
//! by a code of authentication over its name: nobody without the key can make one up, it tells nothing,
//! and it is the same after a restart and whatever other backends come and go. If the backend can take
//! nothing, the request goes where any other would, and the client gets another cookie.
//!
//! By a field: its value takes the place of the client's address where a scheduler hashes that, so that
//! nothing need be remembered.

use std::collections::HashMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use aws_lc_rs::hmac;
use foldhash::fast::FixedState;

use crate::http1::edits::Edits;
use crate::http1::field::Known;
use crate::http1::head::Fields;

/// Digits of a backend's code: 128 bits.
const DIGITS: usize = 32;

/// How clients stay with their backends.
#[derive(Clone, Debug)]
pub enum Persistence {
    /// By a cookie.
    Cookie(Cookie),
    /// By the value of the field of that name, hashed with that key.
    Header(Box<str>, u64),
}

/// A cookie that names a backend.
#[derive(Clone)]
pub struct Cookie {
    name: Box<str>,
    /// What follows the value.
    attributes: Box<str>,
    /// It is sent with every answer, so that it does not run out while it is used.
    renews: bool,
    /// Of each backend, by its index.
    codes: Vec<Box<str>>,
    backends: HashMap<Box<[u8]>, u16, FixedState>,
}

/// What a request says of where it belongs. Small, for every request has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Belongs {
    /// Nothing.
    #[default]
    Nowhere,
    /// To that backend.
    Backend(u16),
    /// Where all go that say the same, which has this number.
    Like(u32),
}

impl Belongs {
    /// The backend.
    pub(crate) fn backend(self) -> Option<usize> {
        match self {
            Self::Backend(backend) => Some(backend.into()),
            _ => None,
        }
    }

    /// The client's address that stands for what it says.
    pub(crate) fn stand_in(self) -> Option<SocketAddr> {
        match self {
            Self::Like(number) => Some(SocketAddr::new(Ipv4Addr::from_bits(number).into(), 0)),
            _ => None,
        }
    }
}

impl Persistence {
    /// What the fields of a request say.
    pub(crate) fn read(&self, fields: &Fields<'_, '_>) -> Belongs {
        match self {
            Self::Cookie(cookie) => cookie.read(fields).map_or(Belongs::Nowhere, Belongs::Backend),
            Self::Header(name, key) => {
                let mut all = fields.iter().map(|(_, field)| field);
                let found = all.find(|field| field.name.eq_ignore_ascii_case(name));
                found.map_or(Belongs::Nowhere, |field| Belongs::Like(number(field.value, *key)))
            }
        }
    }

    /// What the answer of `backend` says to a client that `belongs` somewhere.
    pub(crate) fn tell(&self, backend: usize, belongs: Belongs) -> Option<Box<Edits>> {
        let Self::Cookie(cookie) = self else { return None };
        if belongs.backend() == Some(backend) && !cookie.renews {
            return None;
        }
        let mut edits = Box::<Edits>::default();
        let code = cookie.codes.get(backend)?;
        let text = format!("{}={code}{}", cookie.name, cookie.attributes);
        edits.add("Set-Cookie", text.into_bytes());
        Some(edits)
    }
}

/// A number that stands for a text.
fn number(text: &[u8], key: u64) -> u32 {
    use std::hash::BuildHasher as _;
    FixedState::with_seed(key).hash_one(text) as u32
}

impl Cookie {
    /// A cookie called `name`, signed with `key`, for backends with these `names` in `pool`, in their
    /// order; `attributes` follow its value, each with a semicolon before it. One that is to be renewed is
    /// sent with every answer.
    pub fn new<'a>(
        name: &str,
        key: &[u8],
        (pool, names): (&str, impl IntoIterator<Item = &'a str>),
        attributes: &str,
        renews: bool,
    ) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let code = |backend: &str| {
            let tag = hmac::sign(&key, format!("{pool}\0{backend}").as_bytes());
            let digits = tag.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
            let digits = digits.filter_map(|digit| char::from_digit(digit.into(), 16));
            digits.take(DIGITS).collect::<String>().into_boxed_str()
        };
        let codes: Vec<_> = names.into_iter().map(code).collect();
        let backends = (0..).zip(&codes).map(|(index, code)| (code.as_bytes().into(), index));
        let backends = backends.collect();
        Self { name: name.into(), attributes: attributes.into(), renews, codes, backends }
    }

    fn read(&self, fields: &Fields<'_, '_>) -> Option<u16> {
        let crumbs = fields.values(Known::Cookie).flat_map(|line| line.split(|b| *b == b';'));
        let mut values = crumbs.filter_map(|crumb| {
            let rest = crumb.trim_ascii().strip_prefix(self.name.as_bytes())?;
            rest.strip_prefix(b"=")
        });
        values.find_map(|value| self.backends.get(value).copied())
    }
}

impl fmt::Debug for Cookie {
    /// Without what would let others make one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookie").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::{self, Strictness};

    fn cookie(key: &[u8], names: &[&'static str]) -> Persistence {
        let names = names.iter().copied();
        Persistence::Cookie(Cookie::new("BALUN", key, ("web", names), "; Path=/", false))
    }

    fn read(persistence: &Persistence, fields: &str) -> Belongs {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut slots = head::slots();
        let head = head::parse_request(text.as_bytes(), &mut slots, Strictness::default()).unwrap();
        persistence.read(&head.fields)
    }

    fn told(persistence: &Persistence, backend: usize) -> String {
        let edits = persistence.tell(backend, Belongs::default()).unwrap();
        let changes = crate::http1::edits::Changes::new(Some(&edits), None);
        let (_, value) = changes.added().next().unwrap();
        String::from_utf8(value.to_vec()).unwrap()
    }

    #[test]
    fn a_cookie_names_its_backend_wherever_that_stands_in_the_list() {
        let (old, new) = (cookie(b"secret", &["a", "b"]), cookie(b"secret", &["c", "b", "a"]));
        let set = told(&old, 1);
        let value = set.strip_suffix("; Path=/").unwrap();
        assert_eq!(value.len(), "BALUN=".len() + DIGITS);
        let field = format!("Cookie: x=y; {value}\r\n");
        assert_eq!(read(&old, &field).backend(), Some(1));
        assert_eq!(read(&new, &field).backend(), Some(1));
        let a = told(&old, 0);
        let field = format!("Cookie: {}\r\n", a.strip_suffix("; Path=/").unwrap());
        assert_eq!(read(&new, &field).backend(), Some(2), "after a change of backends");
        assert_eq!(new.tell(2, Belongs::Backend(2)), None, "it has it");
        assert_eq!(read(&cookie(b"other", &["a", "b"]), &field).backend(), None, "another key");
    }

    #[test]
    fn a_forged_cookie_is_none() {
        let persistence = cookie(b"secret", &["a", "b"]);
        for value in ["", "a", "0", "1", &"0".repeat(DIGITS), &"x".repeat(8000)] {
            assert_eq!(read(&persistence, &format!("Cookie: BALUN={value}\r\n")).backend(), None);
        }
        let good = told(&persistence, 0).replace("; Path=/", "");
        assert_eq!(read(&persistence, &format!("Cookie: {good}0\r\n")).backend(), None);
        assert_eq!(read(&persistence, &format!("Cookie: X{good}\r\n")).backend(), None);
        assert_eq!(read(&persistence, &format!("Cookie: BALUN=no; {good}\r\n")).backend(), Some(0));
    }

    #[test]
    fn a_field_stands_for_a_client() {
        let by_user = Persistence::Header("x-user".into(), 1);
        let one = read(&by_user, "X-User: one\r\n").stand_in().unwrap();
        assert_eq!(read(&by_user, "x-user: one\r\n").stand_in(), Some(one));
        assert_ne!(read(&by_user, "x-user: two\r\n").stand_in(), Some(one));
        assert_eq!(read(&by_user, ""), Belongs::default());
        assert_eq!(by_user.tell(0, Belongs::default()), None);
    }
}
