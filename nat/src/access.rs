//! Who may use a service.

use std::collections::BTreeSet;

use netstack::wire::Address;

use crate::prefix_map::PrefixMap;
use crate::{Prefix, ServiceConfig};

/// Prefixes that are allowed or denied: the longest that holds a client decides.
#[derive(Clone, Debug)]
pub struct AccessList {
    allowed: PrefixMap<bool>,
    /// What holds for a client in no prefix.
    otherwise: bool,
}

impl AccessList {
    /// The list of a service; nothing if it is open to everyone.
    pub fn new(service: &ServiceConfig) -> Option<Self> {
        let ServiceConfig { allow, deny, .. } = service;
        if allow.is_empty() && deny.is_empty() {
            return None;
        }
        let allowed = allow.iter().map(|&p| (p, true));
        let denied = deny.iter().map(|&p| (p, false));
        Some(Self { allowed: allowed.chain(denied).collect(), otherwise: allow.is_empty() })
    }

    /// True if `client` may use the service.
    pub fn allows(&self, client: Address) -> bool {
        self.allowed.lookup(client).copied().unwrap_or(self.otherwise)
    }
}

/// A prefix that stands in both lists.
pub fn contradiction(allow: &[Prefix], deny: &[Prefix]) -> Option<Prefix> {
    let denied: BTreeSet<_> = deny.iter().collect();
    allow.iter().copied().find(|prefix| denied.contains(prefix))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use netstack::wire::Protocol;

    use super::*;
    use crate::{Listen, Mode, PoolId};

    fn addr(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn prefixes(list: &[&str]) -> Vec<Prefix> {
        let parse = |text: &&str| {
            let (address, len) = text.split_once('/').unwrap();
            Prefix::new(addr(address), len.parse().unwrap()).unwrap()
        };
        list.iter().map(parse).collect()
    }

    fn list(allow: &[&str], deny: &[&str]) -> Option<AccessList> {
        let listen = Listen::new(Protocol::Tcp, addr("10.99.0.1"), 80);
        let mut service = ServiceConfig::new(listen, Mode::Divert, PoolId(0));
        (service.allow, service.deny) = (prefixes(allow), prefixes(deny));
        AccessList::new(&service)
    }

    #[test]
    fn the_longest_prefix_of_both_lists_decides() {
        let list = list(&["10.0.0.0/8", "10.1.2.3/32"], &["10.1.0.0/16", "fd00::/8"]).unwrap();
        for (client, allowed) in [
            ("10.9.0.1", true),
            ("10.1.0.1", false),
            ("10.1.2.3", true),
            ("fd00::1", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(list.allows(addr(client)), allowed, "{client}");
        }
    }

    #[test]
    fn who_is_in_no_list_is_allowed_if_only_some_are_denied() {
        assert!(list(&[], &[]).is_none());
        let denied = list(&[], &["10.1.0.0/16"]).unwrap();
        assert!(denied.allows(addr("10.2.0.1")) && !denied.allows(addr("10.1.0.1")));
        let allowed = list(&["10.1.0.0/16"], &[]).unwrap();
        assert!(!allowed.allows(addr("10.2.0.1")) && allowed.allows(addr("10.1.0.1")));
    }

    #[test]
    fn a_prefix_in_both_lists_is_a_contradiction() {
        let (allow, deny) = (["10.0.0.0/8", "fd00::/8"], ["10.0.0.0/9", "fd00::/8"]);
        let found = contradiction(&prefixes(&allow), &prefixes(&deny));
        assert_eq!(found, Some(prefixes(&["fd00::/8"])[0]));
        assert_eq!(contradiction(&prefixes(&allow), &prefixes(&deny[..1])), None);
    }
}
