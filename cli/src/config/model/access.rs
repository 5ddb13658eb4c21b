//! Who may use a service, and how much of it.

use super::{Rate, Span, Spanned};

/// The access lists and limits of a service.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Clients that may use it.
    pub allow: Vec<Spanned<nat::Prefix>>,
    /// Clients that may not.
    pub deny: Vec<Spanned<nat::Prefix>>,
    /// New flows of one client.
    pub client_rate: Option<Burst>,
    /// Tracked flows of one client.
    pub client_flows: Option<u32>,
    /// Bits of an IPv4 and of an IPv6 address that make one client; default 32 and 64.
    pub client_prefixes: (Option<u8>, Option<u8>),
    /// New flows of all clients.
    pub rate: Option<Burst>,
    /// Tracked flows of all clients.
    pub max_flows: Option<u32>,
    /// What a refused client hears; default an ICMP error.
    pub refuse: nat::Refuse,
}

/// A rate, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// In the long run.
    pub rate: Rate,
    /// At once; default the rate's own count.
    pub burst: u32,
}

impl Access {
    /// The places of a prefix that stands in both lists: where it is denied, and where allowed.
    pub fn contradictions(&self) -> Vec<(nat::Prefix, Span, Span)> {
        let allowed: std::collections::HashMap<_, _> =
            self.allow.iter().map(|prefix| (prefix.value, &prefix.span)).collect();
        self.deny
            .iter()
            .filter_map(|denied| {
                let allowed = *allowed.get(&denied.value)?;
                Some((denied.value, denied.span.clone(), allowed.clone()))
            })
            .collect()
    }
}
