//! "Did you mean": the known name that a typing error most likely came from.

/// The candidate nearest to `typed`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(
    typed: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A third of the letters may be wrong, and one always may.
    let allowed = (typed.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .take(MAX_CANDIDATES)
        .map(|candidate| (distance(typed, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names that are compared with a mistyped one, so that a huge file costs little.
const MAX_CANDIDATES: usize = 1000;
/// Names longer than this are compared by their beginning alone.
const MAX_COMPARED: usize = 64;

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, regardless of
/// case (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let fold = |s: &str| -> Vec<char> {
        s.chars().take(MAX_COMPARED).map(|c| c.to_ascii_lowercase()).collect()
    };
    let (a, b) = (fold(a), fold(b));
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before_last[j - 2] + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_one_edit() {
        assert_eq!(distance("wbe", "web"), 1);
        assert_eq!(distance("", "web"), 3);
        assert_eq!(distance("default_route", "default-route"), 1);
        assert_eq!(distance("Web", "web"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        assert_eq!(nearest("wbe", ["dns", "web"]), Some("web"));
        assert_eq!(nearest("schedular", ["scheduler", "backend"]), Some("scheduler"));
        assert_eq!(nearest("frontend", ["scheduler", "backend"]), None);
        assert_eq!(nearest("x", ["a", "b"]), None, "one letter is not a likeness");
        assert_eq!(nearest("web", []), None);
    }
}
