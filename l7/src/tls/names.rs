//! Tables of server names: exact ones, and wildcards of the leftmost label (RFC 9525 section 6.3).

/// What belongs to a server name: by that name, else by a wildcard for its leftmost label.
#[derive(Clone, Debug)]
pub struct Names<T> {
    /// In lower case, sorted; wildcards without their `*`.
    exact: Vec<(String, T)>,
    wildcard: Vec<(String, T)>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { exact: Vec::new(), wildcard: Vec::new() }
    }
}

impl<T> Names<T> {
    /// Adds `value` under `name`, unless something is there. Whether it was added.
    pub fn add(&mut self, name: &str, value: T) -> bool {
        let name = name.to_ascii_lowercase();
        let (table, key) = match name.strip_prefix('*') {
            Some(suffix) => (&mut self.wildcard, suffix.to_owned()),
            None => (&mut self.exact, name),
        };
        let place = table.binary_search_by(|(known, _)| known.as_str().cmp(&key));
        if let Err(place) = place {
            table.insert(place, (key, value));
        }
        place.is_err()
    }

    /// What is there for `name`, in any case. A wildcard stands for exactly one label.
    pub fn find(&self, name: &str) -> Option<&T> {
        let name = name.to_ascii_lowercase();
        let suffix = name.find('.').and_then(|dot| name.get(dot..));
        of(&self.exact, &name).or_else(|| of(&self.wildcard, suffix?))
    }

    /// True if there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty()
    }
}

fn of<'a, T>(table: &'a [(String, T)], name: &str) -> Option<&'a T> {
    let place = table.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
    table.get(place).map(|(_, value)| value)
}

/// True for the name of a host: labels of letters, digits, `-` and `_` with dots between, none at the end
/// (RFC 6066 section 3).
pub fn is_host_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_plain);
    name.len() <= 253 && name.split('.').all(is_label)
}

/// True for what [`Names`] takes: the name of a host, or `*.` and one.
pub fn is_pattern(name: &str) -> bool {
    is_host_name(name.strip_prefix("*.").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_name_comes_first_and_a_wildcard_stands_for_one_label() {
        let mut names = Names::default();
        assert!(names.is_empty());
        for (name, value) in [("*.B.lab", 1), ("x.b.lab", 2), ("a.lab", 3)] {
            assert!(names.add(name, value));
        }
        assert!(!names.add("A.LAB", 4), "the first stays");
        for (name, found) in [
            ("a.lab", Some(3)),
            ("A.Lab", Some(3)),
            ("x.b.lab", Some(2)),
            ("y.B.lab", Some(1)),
            ("b.lab", None),
            ("z.y.b.lab", None),
            (".b.lab", Some(1)),
            ("lab", None),
            ("", None),
        ] {
            assert_eq!(names.find(name).copied(), found, "{name:?}");
        }
    }

    #[test]
    fn names_of_hosts() {
        let label = "x".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "y".repeat(61));
        for good in ["a", "a.lab", "_x.A-1.lab", "10.0.0.1", &longest] {
            assert!(is_host_name(good), "{good}");
        }
        let long_label = "x".repeat(64);
        let too_long = format!("{longest}z");
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\0", "é", "*", &long_label, &too_long] {
            assert!(!is_host_name(bad), "{bad}");
        }
        assert!(is_pattern("*.b.lab") && is_pattern("b.lab"));
        for bad in ["*", "*.", "x*.lab", "a.*.lab", "**.lab"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
