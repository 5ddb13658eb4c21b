//! What the RFCs ask of an endpoint, as scripts of packets ([`script`]), by RFC.

mod rfc1191;
mod rfc1337;
mod rfc2018;
mod rfc5681;
mod rfc5682;
mod rfc5961;
mod rfc6298;
mod rfc6582;
mod rfc6928;
mod rfc6937;
mod rfc7323;
mod rfc8985;
mod rfc9293;
mod script;

use script::Script;

use super::*;

/// Selective acknowledgments, no time stamps, windows of any size.
const SACK: &str = "mss=1000 sackok ws=7";
/// The same with time stamps, whose clock says 100.
const STAMPS: &str = "mss=1012 sackok ts=100/0 ws=7";

fn config() -> EndpointConfig {
    EndpointConfig::new(SEED)
}

/// Plays a script on a connection whose peer's SYN had these options.
fn play(options: &str, script: &str) {
    Script::open(options, config()).run(script);
}
