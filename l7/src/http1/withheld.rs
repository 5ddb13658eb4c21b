//! Names of fields that are ours to say.

/// Names that do not pass, in any spelling that a server may take for them.
///
/// Servers that hand fields on as variables take `_` and `-` for the same, and some take every mark for one:
/// as with the names of [`Known::of_alias`](super::field::Known::of_alias), letters and digits alone count
/// (R19).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    names: Vec<Box<[u8]>>,
    /// A bit for each letter with which one begins.
    first: u32,
}

/// Fields in which proxies and content networks tell an address of the client, besides those that we say
/// ourselves.
pub const CLIENT_CLAIMS: [&str; 14] = [
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "fly-client-ip",
    "client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-forwarded",
    "forwarded-for",
    "x-remote-ip",
    "x-remote-addr",
    "x-envoy-external-address",
];

/// Fields of answers that tell of the servers on the way.
pub const SERVER_CLAIMS: [&str; 2] = ["server", "via"];

impl Withheld {
    /// These.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let letters = |name: &str| name.bytes().filter_map(letter).collect();
        let mut withheld = Self::default();
        withheld.extend(names.into_iter().map(letters));
        withheld
    }

    /// These, and those of `other`.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.extend(other.names.iter().cloned());
        self
    }

    fn extend(&mut self, names: impl Iterator<Item = Box<[u8]>>) {
        self.names.extend(names);
        self.names.sort_unstable();
        self.names.dedup();
        let bits = self.names.iter().filter_map(|name| bit(name.first()));
        self.first = bits.fold(0, |all, bit| all | bit);
    }

    /// True if all names pass.
    pub const fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether `name` is one of them.
    pub fn holds(&self, name: &str) -> bool {
        let first = name.bytes().find_map(letter);
        // Most names begin with another letter, and cost no more than this.
        if bit(first.as_ref()).is_none_or(|bit| self.first & bit == 0) {
            return false;
        }
        let same = |one: &[u8]| {
            // A spelling has no fewer bytes.
            name.len() >= one.len() && name.bytes().filter_map(letter).eq(one.iter().copied())
        };
        self.names.iter().any(|one| same(one))
    }
}

/// The bit of a letter; digits share one.
fn bit(byte: Option<&u8>) -> Option<u32> {
    byte.map(|byte| if byte.is_ascii_digit() { 1 << 31 } else { 1 << (byte & 31) })
}

const fn letter(byte: u8) -> Option<u8> {
    if byte.is_ascii_alphanumeric() { Some(byte.to_ascii_lowercase()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_name_passes() {
        let withheld = Withheld::new(["x-auth-user", "x-roles", "X-Roles"]);
        for name in
            ["x-auth-user", "X-Auth-User", "X_AUTH_USER", "xauthuser", "-x.auth~user", "X_Roles"]
        {
            assert!(withheld.holds(name), "{name}");
        }
        for name in ["x-auth-users", "auth-user", "x-role", "", "x-auth-use", "accept"] {
            assert!(!withheld.holds(name), "{name}");
        }
        assert!(!Withheld::default().holds("") && Withheld::default().is_empty());
    }
}
