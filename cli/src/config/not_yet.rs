//! What the format knows and this version does not do.
//!
//! A key, or one value of a key, that stands here is still read and its form checked, but is refused
//! with [`Code::NotYet`](super::Code::NotYet): a balancer that quietly ignored `affinity` would be worse
//! than one that does not start. Whoever builds one of these deletes its row.

/// Paths of keys, `*` for the name of a leg, pool, backend or service; with `=`, of one value.
const NOT_YET: &[&str] =
    &["leg.*.kind=pcap", "cache.*.disk", "auth.*.forward", "control.metrics", "control.web"];

/// True if the key of that path is refused, whatever its value.
pub(super) fn refuses(path: &str) -> bool {
    NOT_YET.contains(&path)
}

/// True if that value of the key is refused.
pub(super) fn refuses_value(path: &str, value: &str) -> bool {
    NOT_YET.iter().any(|row| row.split_once('=') == Some((path, value)))
}

#[cfg(test)]
pub(super) const ROWS: &[&str] = NOT_YET;
