//! Whole networks that break in every way a seed can say, and a balancer that must not.
//!
//! # Theory of operation
//!
//! A [`Plan`] follows from one seed: hosts, links, the balancer's settings, what clients do, and what
//! goes wrong when. [`run`] builds it on a [`Network`](balun::sim::Network), which holds the real
//! engine, the real TCP and the real proxy, and lets it live on virtual time:
//!
//! 1. **Act.** Clients transfer bytes, make requests and send datagrams while links are cut, legs go
//!    down, backends crash and come back, clocks jump, the balancer stalls and an operator drains. Work
//!    may fail, but no byte may be wrong, and an end is told from a failure.
//! 2. **Heal** at a fixed time, and wait until backends are trusted again.
//! 3. **Serve**: every service takes a new client.
//! 4. **Forget**: after the timeouts no flow, port, client or connection is left.
//! 5. **Serve** once more.
//!
//! A [`Judge`](judge::Judge) looks at every packet that leaves and every step. Whatever does not hold is
//! a panic, and [`shrink`](fn@shrink) looks for a smaller plan with the same.

mod capture;
pub mod client;
pub mod judge;
pub mod plan;
mod print;
mod run;
mod shrink;
pub mod world;

pub use plan::Plan;
pub use run::{Report, run, trace};
pub use shrink::shrink;

/// A plan that failed, with all that a person wants to know of it.
#[derive(Clone, Debug)]
pub struct Failure {
    /// As the seed has it.
    pub plan: Plan,
    /// What did not hold.
    pub what: String,
    /// The smallest plan found that fails in the same place.
    pub shrunk: Plan,
    /// What did not hold there.
    pub shrunk_what: String,
}

/// Runs the plan of `seed`. If it fails and `BALUN_TRACE` is set, the packets of the smaller plan are
/// printed to standard error.
///
/// # Errors
/// [`Failure`] if something did not hold, with a smaller plan.
pub fn try_seed(seed: u64) -> Result<Report, Box<Failure>> {
    let plan = Plan::from_seed(seed);
    run(&plan).map_err(|what| {
        let (shrunk, shrunk_what) = shrink(&plan, &what, run);
        if std::env::var_os("BALUN_TRACE").is_some() {
            // It fails once more.
            let _ = trace(&shrunk);
        }
        Box::new(Failure { plan, what, shrunk, shrunk_what })
    })
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { plan, what, shrunk, shrunk_what } = self;
        write!(f, "failed: {what}\n{plan}")?;
        if shrunk != plan {
            write!(f, "\nfails in the same place with less: {shrunk_what}\n{shrunk}")?;
        }
        write!(f, "\nrepeat with: cargo xtask soak --from {} --seeds 1", plan.seed)
    }
}
