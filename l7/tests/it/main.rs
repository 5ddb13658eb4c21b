//! The proxy end to end, over in-memory streams and a paused clock.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should fail"
)]

mod admission;
mod announced;
mod bad_input;
mod bodies;
mod buffering;
mod cache;
mod endings;
mod gateway;
mod h2_backends;
mod h2_floods;
mod h2_flow;
mod h2_harness;
mod h2_malformed;
mod h2_messages;
mod harness;
mod keepalive;
mod log;
mod messages;
mod passthrough;
mod proof;
mod reencrypt;
mod retries;
mod routes;
mod rules;
mod slow;
mod smuggling;
mod splice;
mod timeouts;
mod tls;
mod trailers;
mod upstreams;
