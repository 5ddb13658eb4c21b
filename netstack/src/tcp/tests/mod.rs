//! Endpoints against hand-made segments (`edge`, `lifetime`, `path`), against each other over a simulated
//! wire (`transfer`), under a flood of SYNs (`syn`), under random segments (`hostile`), with what is set of single connections (`options`) and with
//! listeners (`listening`), and as streams of tasks (`tasks`).

mod edge;
mod hostile;
mod lifetime;
mod listening;
mod options;
mod pair;
mod path;
mod peer;
mod rfc;
mod syn;
#[cfg(feature = "stream")]
mod tasks;
mod transfer;

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::time::Instant;

const SEED: [u64; 2] = [0x5eed, 0xf00d];

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}
