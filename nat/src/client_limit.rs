//! How many flows a service takes, and how fast: of each client, and of all together.
//!
//! # Theory of operation
//!
//! A client is a prefix: one IPv4 address and one IPv6 network of 64 bits if nothing else is
//! configured, since a host of IPv6 has as many addresses as it likes. Only new flows are refused; no
//! limit here ends a flow that exists.
//!
//! **Flows at once** are counted exactly. A count exists while the client has a tracked flow, so there
//! are never more counts than flows, whose number the flow table limits; a flood of invented clients
//! leaves with its half-open flows.
//!
//! **New flows in a time** are a token bucket, kept as the one time at which the bucket would be full
//! (the *theoretical arrival time* of ITU-T I.371's generic cell rate algorithm). A flow moves that time
//! on by one token's worth; it is refused if the time would be more than the burst's worth ahead. An
//! idle client's bucket is full and differs in nothing from one that was never used.
//!
//! Clients cannot all have a bucket of their own: a flood invents as many as it sends packets. So a
//! service has [`CLIENT_ROWS`] rows of [`CLIENT_CELLS`] buckets and each client, by a seeded hash, one
//! bucket in each row, which it shares with others (a count-min sketch with conservative update, Estan
//! and Varghese 2002). A flow is refused only if all of its client's buckets are short of a token; one
//! that is taken moves those that are behind the fullest. The errors are on one side:
//!
//! - no client ever gets more than its rate and burst;
//! - a client can get less if each of its buckets is shared with a client that uses up its own. With `n`
//!   such clients at a time the chance of that is `(1 - (1 - 1/8192)^n)^4`: 1 in 5,700 for a thousand, 1
//!   in 4 for ten thousand. An invented client that sends one SYN is not one of these: it takes one
//!   token's worth, 10 ms at `100/s`, and a flood does harm when its packets come faster than 8,192
//!   buckets refill.
//!
//! Memory is fixed when the service is made: 256 KiB if it limits clients' rate, nothing if it does not.

use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use netstack::Instant;
use netstack::wire::{Address, Family};

use crate::limits::{CLIENT_CELLS, CLIENT_ROWS};
use crate::rng::{derive, mix};
use crate::{DropReason, Prefix, ServiceConfig, ServiceId};

/// New flows in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many, at least 1,
    pub count: u32,
    /// in so long.
    pub per: Duration,
    /// How many may come at once after a pause; at least 1.
    pub burst: u32,
}

/// How much one client may have of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// New flows. One that is refused for another reason, such as no backend, has used its token.
    pub rate: Option<Rate>,
    /// Tracked flows at once.
    pub flows: Option<u32>,
    /// Bits of an IPv4 address that make one client, at most 32.
    pub prefix_v4: u8,
    /// Bits of an IPv6 address that make one client, at most 128.
    pub prefix_v6: u8,
}

impl Default for ClientLimits {
    /// No limits, for clients of one IPv4 address or one IPv6 link.
    fn default() -> Self {
        Self { rate: None, flows: None, prefix_v4: 32, prefix_v6: 64 }
    }
}

impl ClientLimits {
    /// The client that `address` belongs to.
    fn client(&self, address: Address) -> Prefix {
        let len = match address.family() {
            Family::V4 => self.prefix_v4,
            Family::V6 => self.prefix_v6,
        };
        Prefix::new(address, len).unwrap_or(Prefix::host(address))
    }
}

/// The state of all services' limits.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    /// By service; nothing for one without limits.
    services: Vec<Option<ServiceState>>,
    /// Tracked flows of services that limit them by client; no count is zero.
    flows: HashMap<(ServiceId, Prefix), u32, FixedState>,
}

/// The state of one service's limits.
#[derive(Clone, Debug)]
struct ServiceState {
    limits: ClientLimits,
    sketch: Option<Sketch>,
    bucket: Option<(Bucket, u64)>,
    max_flows: Option<u32>,
    flows: u32,
}

impl Limiter {
    pub(crate) fn new(services: &[ServiceConfig], seed: u64) -> Self {
        let state = |(n, service): (u64, &ServiceConfig)| {
            let limits = service.client_limits;
            let limited = limits.rate.is_some()
                || limits.flows.is_some()
                || service.rate.is_some()
                || service.max_flows.is_some();
            limited.then(|| ServiceState {
                limits,
                sketch: limits.rate.map(|rate| Sketch::new(rate, derive(seed, n))),
                bucket: service.rate.map(|rate| (Bucket::new(rate), 0)),
                max_flows: service.max_flows,
                flows: 0,
            })
        };
        let services = (0..).zip(services).map(state).collect();
        Self { services, flows: HashMap::with_hasher(FixedState::with_seed(seed)) }
    }

    /// Takes what a new flow of `client` needs.
    ///
    /// # Errors
    /// The limit that is reached; then nothing was taken.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        id: ServiceId,
        client: Address,
    ) -> Result<(), DropReason> {
        let Some(service) = state_of(&mut self.services, id) else { return Ok(()) };
        if service.max_flows.is_some_and(|most| service.flows >= most) {
            return Err(DropReason::ServiceFlows);
        }
        let client = service.limits.client(client);
        if let Some(most) = service.limits.flows
            && self.flows.get(&(id, client)).is_some_and(|&flows| flows >= most)
        {
            return Err(DropReason::ClientFlows);
        }
        let now = now.as_micros().saturating_mul(1_000);
        let of_client = match &service.sketch {
            Some(sketch) => Some(sketch.next(now, client).ok_or(DropReason::ClientRate)?),
            None => None,
        };
        if let Some((bucket, full_at)) = &mut service.bucket {
            *full_at = bucket.next(now, *full_at).ok_or(DropReason::ServiceRate)?;
        }
        if let (Some(sketch), Some(full_at)) = (&mut service.sketch, of_client) {
            sketch.raise(client, full_at);
        }
        Ok(())
    }

    /// Counts a flow that was made.
    pub(crate) fn flow_opened(&mut self, id: Option<ServiceId>, client: Address) {
        let Some((id, service)) = id.and_then(|id| Some((id, state_of(&mut self.services, id)?)))
        else {
            return;
        };
        service.flows += 1;
        if service.limits.flows.is_some() {
            *self.flows.entry((id, service.limits.client(client))).or_insert(0) += 1;
        }
    }

    /// Undoes [`flow_opened`](Self::flow_opened).
    pub(crate) fn flow_closed(&mut self, id: Option<ServiceId>, client: Address) {
        let Some((id, service)) = id.and_then(|id| Some((id, state_of(&mut self.services, id)?)))
        else {
            return;
        };
        service.flows -= 1;
        if service.limits.flows.is_none() {
            return;
        }
        let key = (id, service.limits.client(client));
        if let Some(flows) = self.flows.get_mut(&key) {
            *flows -= 1;
            if *flows == 0 {
                self.flows.remove(&key);
            }
        }
    }

    /// The flows counted of a service that has limits.
    pub(crate) fn flows_of(&self, id: ServiceId) -> Option<u32> {
        self.services.get(usize::from(id.0))?.as_ref().map(|service| service.flows)
    }

    /// The flows counted by client, over all services that limit them so.
    pub(crate) fn flows_by_client(&self) -> usize {
        self.flows.values().map(|&flows| flows as usize).sum()
    }
}

fn state_of(services: &mut [Option<ServiceState>], id: ServiceId) -> Option<&mut ServiceState> {
    services.get_mut(usize::from(id.0))?.as_mut()
}

/// The arithmetic of a token bucket; times are in nanoseconds. Its state is when it would be full.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// One token's worth of time.
    pub token: u64,
    /// How far ahead of now the state may be.
    pub ahead: u64,
}

impl Bucket {
    /// That of `rate`.
    pub fn new(rate: Rate) -> Self {
        let per = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        // Rounded up: never more than the rate.
        let token = per.div_ceil(rate.count.max(1).into()).max(1);
        Self { token, ahead: token.saturating_mul(rate.burst.max(1).into()) }
    }

    /// The state once a token is taken; nothing if there is none.
    pub fn next(&self, now: u64, full_at: u64) -> Option<u64> {
        let next = full_at.max(now).saturating_add(self.token);
        (next - now <= self.ahead).then_some(next)
    }
}

/// Buckets that clients share (see the module's theory of operation).
#[derive(Clone, Debug)]
struct Sketch {
    bucket: Bucket,
    seed: u64,
    /// The rows, one after the other.
    cells: Box<[u64]>,
}

impl Sketch {
    fn new(rate: Rate, seed: u64) -> Self {
        let cells = vec![0; CLIENT_ROWS * CLIENT_CELLS].into_boxed_slice();
        Self { bucket: Bucket::new(rate), seed, cells }
    }

    /// The places of a client's buckets.
    fn places(&self, client: Prefix) -> [usize; CLIENT_ROWS] {
        let number = u128::from_be_bytes(*client.first().mapped_octets());
        let hash = mix(mix(number as u64 ^ self.seed) ^ (number >> 64) as u64 ^ self.seed);
        // Each row takes bits of its own.
        std::array::from_fn(|row| {
            let bits = hash >> (row * CLIENT_CELLS.ilog2() as usize);
            row * CLIENT_CELLS + bits as usize % CLIENT_CELLS
        })
    }

    /// The state of the client's fullest bucket once a token is taken; nothing if none has one.
    fn next(&self, now: u64, client: Prefix) -> Option<u64> {
        let fullest = self.places(client).map(|at| self.cells[at]).into_iter().min()?;
        self.bucket.next(now, fullest)
    }

    /// Lets none of the client's buckets be fuller than that.
    fn raise(&mut self, client: Prefix, full_at: u64) {
        for at in self.places(client) {
            self.cells[at] = self.cells[at].max(full_at);
        }
    }
}

#[cfg(test)]
#[path = "client_limit_tests.rs"]
mod tests;
