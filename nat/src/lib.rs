//! The packet path: which service a packet belongs to, which backend serves it, and how its headers
//! are rewritten. A pure function of packets, time and a seed: no I/O, no clock, no randomness of its
//! own.
//!
//! ```text
//!  packet ─► parse ─► flow known? ─yes─► rewrite, track ─────────────► Forward
//!                        │no                      └ flow ends here ──► Divert
//!                        ├─ a service listens ─► schedule, map, new flow
//!                        ├─ ours, no service ──► echo reply, RST, unreachable ─► Reply, Reject
//!                        ├─ someone else's ────► route ──────────────► Forward
//!                        └─ none of these ─────► counted ────────────► Drop
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`engine`] | [`Engine`]: the path drawn above |
//! | [`balancer`] | [`Balancer`]: the engine and what ends diverted flows, driven as one |
//! | [`flow`] | tracked connections: keys, states, expiry, eviction |
//! | [`fragment`] | fragments brought to the flow of their first; identifications |
//! | [`health`] | which backends are well: probes and what follows from them |
//! | [`pool`], [`schedule`] | backends and how one is chosen |
//! | [`snat`] | the addresses and ports that backends see |
//! | [`clients`] | what each client has, and may have |
//! | [`unsolicited`] | SYNs to the SNAT pool that nobody asked for |
//! | [`service`], [`listen`], [`route`] | what we listen on; where a packet leaves |
//! | [`access`], [`client_limit`] | who may use a service, and how much of it |
//! | [`prefix_map`] | longest-prefix match |
//! | [`tunnel`] | packets wrapped for backends that answer clients directly |
//! | [`rewrite`], [`icmp`] | header edits; echo replies, errors translated and made |
//! | [`mss`] | the MSS option of SYNs, lowered to the path |
//! | [`account`] | what became of one packet, and why |
//! | [`verdict`], [`stats`], [`limits`] | results, counters, and every limit in one place |

#![forbid(unsafe_code)]

pub mod access;
pub mod account;
pub mod balancer;
pub mod client_limit;
pub mod clients;
pub mod config;
pub mod divert;
pub mod engine;
pub mod flow;
pub mod fragment;
pub mod health;
pub mod icmp;
pub mod limits;
pub mod listen;
pub mod mss;
pub mod pool;
pub mod prefix_map;
pub mod rewrite;
pub mod rng;
pub mod route;
pub mod schedule;
pub mod service;
pub mod snat;
pub mod stats;
pub mod tunnel;
pub mod unsolicited;
pub mod verdict;

pub use account::Account;
pub use balancer::Balancer;
pub use client_limit::{ClientLimits, Rate};
pub use config::{Config, ConfigError, LegConfig, Mapping, Refusal, SnatConfig, Timeouts};
pub use divert::Divert;
pub use engine::{BATCH, Engine, MAX_COPIED_FLOWS, TooManyFlows};
pub use health::{HealthConfig, Probe};
pub use limits::Limits;
pub use listen::{Listen, Ports};
pub use pool::{
    AffinityConfig, BackendConfig, BackendId, BackendState, EjectionConfig, PanicChange, Pool,
    PoolConfig, PoolId,
};
pub use route::Prefix;
pub use schedule::Scheduler;
pub use service::{Mode, Nat, Refuse, ServiceConfig, ServiceId};
pub use tunnel::Encapsulation;
pub use verdict::{DropReason, Verdict};
