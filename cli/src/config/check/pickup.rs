//! Where connections can be picked up.

use netstack::wire::Protocol;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Config, Mode, Nat, Scheduler, Service};

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    // In another mode the key itself is reported.
    let nat = config.services.iter().filter(|service| service.mode.value == Mode::Nat);
    for service in nat.filter(|service| service.picks_up()) {
        if let Some((label, help)) = obstacle(config, service) {
            let span = service.pickup.as_ref().map_or(service.span.clone(), |key| key.span.clone());
            let name = &service.name.value;
            let title = format!("service `{name}` cannot pick connections up");
            found.push(Diagnostic::new(Code::PickupFit, title, span, label, help));
        }
    }
}

/// Why this service cannot, and what to write instead.
fn obstacle(config: &Config, service: &Service) -> Option<(String, String)> {
    if let Some(other) =
        service.listens.iter().find(|listen| listen.protocol.is_some_and(|p| p != Protocol::Tcp))
    {
        let protocol = other.protocol.map_or("any", Protocol::name);
        let label = format!("{protocol} has no connections");
        return Some((label, "remove `pickup`".to_owned()));
    }
    if service.nat == Nat::Full {
        let label = "the ports that full NAT chose are lost with the process".to_owned();
        return Some((label, "write `nat = \"dnat\"`, or remove `pickup`".to_owned()));
    }
    let pool = service.pool.as_ref()?;
    let pool = config.pools.iter().find(|other| other.name.value == pool.value)?;
    if matches!(pool.scheduler, Scheduler::SourceHash | Scheduler::Maglev) {
        return None;
    }
    let name = &pool.name.value;
    let label = format!("the scheduler of pool `{name}` would not find the same backend again");
    Some((label, format!("write `scheduler = \"maglev\"` in `[pool.{name}]`, or remove `pickup`")))
}
