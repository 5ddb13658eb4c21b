//! The keys of `[[service]]` about TCP that ends here.

use netstack::tcp::{Algorithm, KeepaliveConfig};

use super::super::model::Tcp;
use super::super::reader::{Item, Reader, Table};
use super::super::value;

const ALGORITHMS: [(&str, Algorithm); 3] = [
    (Algorithm::Cubic.name(), Algorithm::Cubic),
    (Algorithm::Bbr.name(), Algorithm::Bbr),
    (Algorithm::NewReno.name(), Algorithm::NewReno),
];

pub(super) fn tcp(r: &mut Reader, table: &mut Table<'_>) -> Tcp {
    let congestion = table.take(r, "congestion");
    let congestion =
        congestion.and_then(|item| item.choice(r, "a congestion control", &ALGORITHMS));
    let keepalive = table.take(r, "keepalive").and_then(|item| keepalive(r, &item));
    Tcp { congestion: congestion.map(|algorithm| algorithm.value), keepalive }
}

fn keepalive(r: &mut Reader, item: &Item<'_>) -> Option<KeepaliveConfig> {
    let mut table = item.table(r)?;
    let idle = table.take(r, "idle").and_then(|item| item.parse(r, value::keepalive_time));
    let interval = table.take(r, "interval").and_then(|item| item.parse(r, value::keepalive_time));
    let probes = table.take(r, "probes");
    let probes = probes.and_then(|item| item.integer(r, 1..=KeepaliveConfig::MAX_PROBES));
    table.finish(r);
    let default = KeepaliveConfig::default();
    Some(KeepaliveConfig {
        idle: idle.map_or(default.idle, |time| time.value),
        interval: interval.map_or(default.interval, |time| time.value),
        probes: probes.map_or(default.probes, |count| count.value),
    })
}
