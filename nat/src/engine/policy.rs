//! Who may have a flow: addresses that bypass translation, access lists, limits of services.

use netstack::wire::{Address, Headers};
use netstack::{Instant, Packet};

use super::Engine;
use crate::access::AccessList;
use crate::client_limit::Limiter;
use crate::icmp::IcmpError;
use crate::prefix_map::PrefixMap;
use crate::service::Refuse;
use crate::{Config, DropReason, ServiceId, Verdict};

/// What the configuration says of who may have a flow, and the limits' state.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    bypass: PrefixMap<()>,
    /// By service; nothing for one that is open to everyone.
    access: Vec<Option<AccessList>>,
    limiter: Limiter,
}

impl Policy {
    pub(super) fn new(config: &Config, seed: u64) -> Self {
        Self {
            bypass: config.bypass.iter().map(|&prefix| (prefix, ())).collect(),
            access: config.services.iter().map(AccessList::new).collect(),
            limiter: Limiter::new(&config.services, seed),
        }
    }

    /// True for a packet that no service may translate (RFC 6888 REQ-6).
    pub(super) fn bypasses(&self, headers: &Headers) -> bool {
        !self.bypass.is_empty()
            && (self.bypass.contains(headers.dst) || self.bypass.contains(headers.src))
    }

    /// True if the service's lists allow the client.
    pub(super) fn allows(&self, service: ServiceId, client: Address) -> bool {
        let list = self.access.get(usize::from(service.0)).and_then(Option::as_ref);
        list.is_none_or(|list| list.allows(client))
    }

    /// Takes what a new flow needs of the service's limits.
    pub(super) fn take(
        &mut self,
        now: Instant,
        service: ServiceId,
        client: Address,
    ) -> Result<(), DropReason> {
        self.limiter.admit(now, service, client)
    }

    /// Counts a flow that was made.
    pub(super) fn flow_opened(&mut self, service: Option<ServiceId>, client: Address) {
        self.limiter.flow_opened(service, client);
    }

    /// Undoes [`flow_opened`](Self::flow_opened).
    pub(super) fn flow_closed(&mut self, service: Option<ServiceId>, client: Address) {
        self.limiter.flow_closed(service, client);
    }
}

impl Engine {
    /// Refuses a packet that the policy of a service forbids. TCP hears it by ICMP too: a RST would say
    /// that nothing listens.
    pub(super) fn forbid(
        &mut self,
        now: Instant,
        packet: &mut Packet,
        headers: &Headers,
        service: ServiceId,
        reason: DropReason,
    ) -> Verdict {
        match self.services.get(service).map(|config| config.refuse) {
            Some(Refuse::Drop) => Verdict::Drop(reason),
            _ => self.reject(now, packet, headers, IcmpError::Prohibited, reason),
        }
    }

    /// Checks that the limits' counts are those of the flow table.
    pub(super) fn assert_policy_consistent(&self) {
        let limiter = &self.policy.limiter;
        let (mut by_client, services) = (0, 0..);
        for (id, service) in services.map(ServiceId).zip(self.services.iter()) {
            let Some(counted) = limiter.flows_of(id) else { continue };
            let flows = self.flows.iter().filter(|(_, f)| f.assignment.service == Some(id)).count();
            assert_eq!(counted as usize, flows, "flows of service `{}`", service.name);
            by_client += if service.client_limits.flows.is_some() { flows } else { 0 };
        }
        assert_eq!(limiter.flows_by_client(), by_client, "flows counted by client");
    }
}
