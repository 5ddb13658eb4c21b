//! Names of fields that are ours to say.

/// Names that do not pass, in any spelling that a server may take for them.
///
/// Servers that hand fields on as variables take `_` and `-` for the same, and some take every mark for one:
/// as with the names of [`Known::of_alias`](super::field::Known::of_alias), letters and digits alone count
/// (R19).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withheld(Vec<Box<[u8]>>);

impl Withheld {
    /// These.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let letters = |name: &str| name.bytes().filter_map(letter).collect();
        let mut list: Vec<Box<[u8]>> = names.into_iter().map(letters).collect();
        list.sort_unstable();
        list.dedup();
        Self(list)
    }

    /// True if all names pass.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` is one of them.
    pub fn holds(&self, name: &str) -> bool {
        let same = |one: &[u8]| {
            // A spelling has no fewer bytes.
            name.len() >= one.len() && name.bytes().filter_map(letter).eq(one.iter().copied())
        };
        self.0.iter().any(|one| same(one))
    }
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
