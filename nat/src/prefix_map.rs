//! Longest-prefix match.
//!
//! # Theory of operation
//!
//! Two prefixes are nested or disjoint, so a set of them cuts the addresses into ranges, in each of
//! which one prefix is the innermost. The ranges' first addresses are sorted once; a lookup is one
//! binary search, 18 steps among 100,000 prefixes, and the prefixes around the innermost are found by
//! following its parents. The map is built whole and never changes. Both families share one table, in
//! which IPv4 has its mapped form; a prefix never holds an address of the other family.

use std::iter;

use netstack::wire::Address;

use crate::Prefix;

/// Values by prefix.
#[derive(Clone, Debug)]
pub struct PrefixMap<T> {
    /// By first address, an outer prefix before an inner one.
    entries: Vec<Entry<T>>,
    /// First addresses of the ranges, in order.
    starts: Vec<u128>,
    /// The innermost prefix of each range, by its place in `entries`.
    innermost: Vec<Option<u32>>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    prefix: Prefix,
    value: T,
    /// The next prefix around this one, of the same family.
    parent: Option<u32>,
}

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), starts: Vec::new(), innermost: Vec::new() }
    }
}

impl<T> FromIterator<(Prefix, T)> for PrefixMap<T> {
    /// The first of two equal prefixes wins.
    fn from_iter<I: IntoIterator<Item = (Prefix, T)>>(items: I) -> Self {
        let mut entries: Vec<_> = items
            .into_iter()
            .map(|(prefix, value)| Entry { prefix, value, parent: None })
            .collect();
        entries.sort_by_key(|entry| entry.prefix);
        entries.dedup_by_key(|entry| entry.prefix);
        let mut map = Self { entries, ..Self::default() };
        map.cut();
        map
    }
}

impl<T> PrefixMap<T> {
    /// The value of the longest prefix that holds `address`.
    pub fn lookup(&self, address: Address) -> Option<&T> {
        self.entry(self.find(address)?).map(|entry| &entry.value)
    }

    /// The values of all prefixes that hold `address`, the longest first.
    pub fn matches(&self, address: Address) -> impl Iterator<Item = &T> {
        let parent = |at: &u32| self.entry(*at)?.parent;
        iter::successors(self.find(address), parent)
            .filter_map(|at| self.entry(at))
            .map(|entry| &entry.value)
    }

    /// True if a prefix holds `address`.
    pub fn contains(&self, address: Address) -> bool {
        self.find(address).is_some()
    }

    /// True if there is no prefix.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many prefixes there are.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    fn find(&self, address: Address) -> Option<u32> {
        let key = u128::from_be_bytes(*address.mapped_octets());
        let range = self.starts.partition_point(|&start| start <= key).checked_sub(1)?;
        let at = (*self.innermost.get(range)?)?;
        // `::/0` is around every mapped address and holds none of them.
        (self.entry(at)?.prefix.family() == address.family()).then_some(at)
    }

    fn entry(&self, at: u32) -> Option<&Entry<T>> {
        self.entries.get(at as usize)
    }

    /// Cuts the addresses into ranges, and finds each prefix's parent.
    fn cut(&mut self) {
        // The prefixes around the current address: their places and last addresses.
        let mut around: Vec<(u32, u128)> = Vec::new();
        for at in 0..self.entries.len() {
            let prefix = self.entries[at].prefix;
            let (first, last) = prefix.bounds();
            self.leave(&mut around, Some(first));
            let parent = around.last().map(|&(parent, _)| parent);
            self.entries[at].parent =
                parent.filter(|&p| self.entries[p as usize].prefix.family() == prefix.family());
            self.begin(first, Some(at as u32));
            around.push((at as u32, last));
        }
        self.leave(&mut around, None);
    }

    /// Ends the prefixes that lie wholly before `next`; all of them if there is no next.
    fn leave(&mut self, around: &mut Vec<(u32, u128)>, next: Option<u128>) {
        while let Some((_, last)) = around.pop_if(|(_, last)| next.is_none_or(|next| *last < next))
        {
            let outer = around.last().map(|&(at, _)| at);
            if let Some(after) = last.checked_add(1) {
                self.begin(after, outer);
            }
        }
    }

    /// Begins a range, in place of one that would be empty.
    fn begin(&mut self, start: u128, innermost: Option<u32>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.innermost.pop();
        }
        self.starts.push(start);
        self.innermost.push(innermost);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::rng::Rng;

    fn addr(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn prefix(text: &str) -> Prefix {
        let (address, len) = text.split_once('/').unwrap();
        Prefix::new(addr(address), len.parse().unwrap()).unwrap()
    }

    fn map(prefixes: &[&'static str]) -> PrefixMap<&'static str> {
        prefixes.iter().map(|&text| (prefix(text), text)).collect()
    }

    #[test]
    fn all_prefixes_around_an_address_come_longest_first() {
        let map = map(&["10.0.0.0/8", "0.0.0.0/0", "10.2.0.0/16", "10.2.3.4/32", "10.2.3.0/24"]);
        let matches = |text| map.matches(addr(text)).copied().collect::<Vec<_>>();
        assert_eq!(
            matches("10.2.3.4"),
            ["10.2.3.4/32", "10.2.3.0/24", "10.2.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]
        );
        assert_eq!(matches("10.2.3.5"), ["10.2.3.0/24", "10.2.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(matches("10.255.255.255"), ["10.0.0.0/8", "0.0.0.0/0"]);
        assert_eq!(matches("11.0.0.0"), ["0.0.0.0/0"]);
        assert_eq!(matches("255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(matches("fd99::1"), [""; 0]);
    }

    #[test]
    fn a_prefix_of_everything_holds_nothing_of_the_other_family() {
        let map = map(&["::/0", "10.0.0.0/8", "::/64", "ffff::/16"]);
        assert_eq!(map.lookup(addr("10.1.1.1")), Some(&"10.0.0.0/8"));
        assert_eq!(map.matches(addr("10.1.1.1")).count(), 1);
        assert_eq!(map.lookup(addr("11.1.1.1")), None);
        assert_eq!(map.lookup(addr("::1")), Some(&"::/64"));
        assert_eq!(map.lookup(addr("fd99::1")), Some(&"::/0"));
        assert_eq!(map.lookup(addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")), Some(&"ffff::/16"));
    }

    #[test]
    fn the_first_of_two_equal_prefixes_wins() {
        let map: PrefixMap<_> =
            [(prefix("10.0.0.0/8"), 1), (prefix("10.0.0.0/8"), 2)].into_iter().collect();
        assert_eq!((map.lookup(addr("10.0.0.1")), map.len()), (Some(&1), 1));
    }

    #[test]
    fn nothing_is_found_in_nothing() {
        let map = map(&[]);
        assert!(map.is_empty() && !map.contains(addr("10.0.0.1")) && !map.contains(addr("::")));
    }

    /// A hundred thousand random prefixes of both families, against a scan.
    #[test]
    fn a_hundred_thousand_prefixes_agree_with_a_scan() {
        let mut rng = Rng::new(11);
        let mut random = |v6: bool| {
            let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
            // Few leading bits vary, so that prefixes nest.
            let address = if v6 {
                Address::from_v6((bits >> 104 | 0xfd << 120).to_be_bytes())
            } else {
                Address::from_v4((bits as u32 & 0x0f0f_ffff).to_be_bytes())
            };
            let len = rng.below(if v6 { 129 } else { 33 }) as u8;
            (address, Prefix::new(address, len).unwrap())
        };
        let prefixes: Vec<_> = (0..100_000).map(|n| random(n % 2 == 0).1).collect();
        let map: PrefixMap<_> = prefixes.iter().map(|&p| (p, p)).collect();
        for n in 0..200 {
            let address = random(n % 2 == 0).0;
            let mut scan: Vec<_> = prefixes.iter().filter(|p| p.contains(address)).collect();
            scan.sort_by_key(|p| std::cmp::Reverse(p.len()));
            scan.dedup();
            assert_eq!(map.matches(address).collect::<Vec<_>>(), scan, "{address}");
        }
    }
}
