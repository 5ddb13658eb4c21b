//! Tests of a configuration: packets in, packets out, on a virtual clock.
//!
//! A [`Bench`] is the balancer of a configuration with nothing around it. Packets go in and come out
//! as lines of the packet grammar (`netstack::wire::text`), expected ones as patterns ([`pattern`]).
//! Nothing waits and nothing is random: time passes when [`Bench::advance`] says so, and the seed
//! decides the rest.
//!
//! ```
//! use std::time::Duration;
//!
//! use balun::testing::{Bench, Setup};
//! use nat::{BackendState, DropReason, Verdict};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut bench = Bench::from_text(
//!     r#"
//!     version = 1
//!     [[leg]]
//!     name    = "client"
//!     address = ["10.1.0.254/24"]
//!     [[leg]]
//!     name    = "backend"
//!     address = ["10.2.0.254/24"]
//!     [snat]
//!     addresses = ["10.99.0.250"]
//!     [pool.web]
//!     scheduler = "round-robin"
//!     backend = [
//!       { name = "web1", address = "10.2.0.11:8080" },
//!       { name = "web2", address = "10.2.0.12:8080" },
//!     ]
//!     [[service]]
//!     name   = "web"
//!     listen = "tcp 10.99.0.1:80"
//!     mode   = "nat"
//!     pool   = "web"
//!     "#,
//!     Setup { seed: Some(42), health: false },
//! )?;
//!
//! // A SYN is rewritten and leaves by the backend's leg. `$snat` takes its new source.
//! let verdict = bench.send("client", "tcp 10.1.0.5:40000 > 10.99.0.1:80 S seq=100 ttl=64")?;
//! assert_eq!(verdict, Verdict::Forward);
//! bench.expect("backend", "tcp $snat > 10.2.0.11:8080 S seq=100 ttl=63")?;
//!
//! // The backend answers what came; the client sees an answer of the service's.
//! bench.reply("S. seq=500")?;
//! bench.expect("client", "tcp 10.99.0.1:80 > 10.1.0.5:40000 S. seq=500 ack=101")?;
//!
//! // A backend in drain takes no new connection.
//! bench.set_backend("web/web2", BackendState::Drain)?;
//! bench.send("client", "tcp 10.1.0.5:40001 > 10.99.0.1:80 S")?;
//! bench.expect(None, "> 10.2.0.11:8080")?;
//! assert_eq!(bench.backend("web/web1").map(|backend| backend.flows), Some(2));
//!
//! // A segment of no connection is refused, with the reason, and answered by a RST.
//! bench.send(None, "tcp 10.1.0.5:40002 > 10.99.0.1:80 . seq=1 ack=1")?;
//! assert_eq!(bench.drop_reason(), Some(DropReason::NoFlow));
//!
//! // Hours pass in no time, and idle flows are forgotten.
//! bench.advance(Duration::from_secs(3 * 3600))?;
//! assert!(bench.engine().flows().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`mod@bench`] | the balancer on its bench |
//! | [`pattern`] | patterns of packets, variables |
//! | `reply` | answers, made from what is answered |
//! | `history` | what happened, for the picture of a failure |
//! | [`run`], `simulate` | the tests of a configuration, as `balun test` runs them |
//! | [`report`] | what became of them, in five forms |

pub mod bench;
mod error;
mod history;
pub mod pattern;
mod reply;
pub mod report;
pub mod run;
mod setup;
mod simulate;
mod variables;

pub use bench::{Bench, Sent};
pub use error::BenchError;
pub use history::History;
pub use pattern::{Pattern, PatternError};
pub use reply::reply;
pub use setup::{Setup, state_name};
pub use variables::{Variables, names};
