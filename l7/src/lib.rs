//! HTTP proxying and TCP splicing over user-space TCP streams.
//!
//! | module | idea |
//! |---|---|
//! | [`http1`] | the HTTP/1 codec: strict reading, forwarding in our own framing; no I/O |
//! | [`accepted`] | a client connection of mode `http` before that: PROXY header, TLS |
//! | `h2` | HTTP/2: connections of clients and to backends |
//! | [`proxy`] | a client connection of mode `http`, from its first request to its end |
//! | `forward` | one request from its backend's choice to its answer's end, in any version |
//! | `exchange` | one request and its response between a client and one backend |
//! | `side` | what differs between versions on either side of an exchange |
//! | `relay` | one direction of a body |
//! | [`admission`] | whether a request is let in: [`access`] rules, [`limit`]s, [`auth`]entication |
//! | [`renewed`], [`keyed`] | values that are replaced while used; hashes that nobody foresees |
//! | [`orderly`] | streams that tell an end from a failure |
//! | [`mod@splice`] | mode `tcp`: two connections, the bytes untouched |
//! | [`answer`] | answers of our own, as backends in memory |
//! | `destination` | a pool, as one service sends to it |
//! | [`persistence`] | clients that stay with their backends |
//! | `mirror` | copies of requests, for another pool |
//! | [`route`] | which requests are treated apart, and how |
//! | [`proxy_protocol`] | the header that tells who the client is: to backends, and to us |
//! | [`upstream`] | choosing and reaching backends, keeping connections, waiting, trying again |
//! | [`tls`] | TLS with clients and with backends, server names |
//! | [`divert`] | the end of diverted flows: packets in, tasks, packets out |
//! | [`balance`] | backends chosen from the engine's pools and reached through it |
//! | [`health`] | probes of backends that take a connection |
//! | [`buffering`] | whole messages in memory, for slow clients |
//! | [`cache`] | answers that are kept, and used again |
//! | `cached` | requests that go through a cache |
//! | [`mod@log`] | one line for each request, and how it ended |
//! | [`identity`], [`trace_context`], [`ids`] | what requests are called |
//! | [`transaction`] | which bytes of which connections a request was |
//! | [`service`] | what the connections of a service share, and its configuration |
//! | [`unserved`] | why a connection was closed before anything was served |
//! | [`socket_options`] | what a service sets of its TCP connections |
//! | [`stats`], [`timeouts`], [`limits`] | counters, waiting times, bounds |
//!
//! Everything is generic over byte streams that need not be `Send`, and takes its time from
//! `tokio::time` alone: it runs on a current-thread runtime within a `LocalSet`, and a paused runtime
//! gives it virtual time.

pub mod accepted;
pub mod access;
pub mod admission;
pub mod answer;
pub mod auth;
pub mod balance;
mod buffer;
pub mod buffering;
pub mod cache;
mod cached;
mod deadline;
mod destination;
pub mod divert;
mod exchange;
mod failure;
mod forward;
pub mod h2;
pub mod health;
pub mod http1;
pub mod identity;
pub mod ids;
pub mod keyed;
pub mod limit;
pub mod limits;
pub mod log;
mod mirror;
mod nobody;
pub mod orderly;
pub mod persistence;
pub mod proxy;
pub mod proxy_protocol;
mod relay;
pub mod renewed;
mod request;
pub mod route;
pub mod service;
mod side;
pub mod socket_options;
pub mod splice;
pub mod stats;
pub mod timeouts;
pub mod tls;
pub mod trace_context;
pub mod transaction;
pub mod unserved;
pub mod upstream;

pub use accepted::{Accepted, accept};
pub use answer::Answer;
pub use destination::Destination;
pub use http1::encode::Forwarded;
pub use proxy::serve;
pub use service::{Config, ErrorPage, Http2, Service};
pub use socket_options::SocketOptions;
pub use splice::{SpliceService, Target, splice};
pub use timeouts::Timeouts;
