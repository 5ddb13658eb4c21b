//! Legs, and how they get along.

use std::collections::HashMap;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Config, Leg, Prefix, Spanned};
use super::{duplicates, ethernet};

/// The least MTU of a link that carries IPv6 (RFC 8200 section 5).
const IPV6_MIN_MTU: u16 = 1280;

pub(super) fn check(config: &Config, found: &mut Vec<Diagnostic>) {
    if config.legs.is_empty() && config.complete {
        found.push(Diagnostic::new(
            Code::NoLeg,
            "the file has no `[[leg]]`",
            0..0,
            "packets can neither enter nor leave",
            "add `[[leg]]` with a `name` and an `address`",
        ));
    }
    let of_file = config.legs.iter().filter(|leg| leg.node.is_none());
    duplicates(of_file.map(|leg| &leg.name), "leg", found);
    for leg in &config.legs {
        small_mtu(leg, found);
        ethernet::check(leg, found);
    }
    default_routes(&config.legs, found);
    for (i, leg) in config.legs.iter().enumerate() {
        for earlier in &config.legs[..i] {
            // Nodes that have the same address are told so as nodes.
            if earlier.node.is_none() || leg.node.is_none() {
                overlap(earlier, leg, found);
            }
        }
    }
}

fn small_mtu(leg: &Leg, found: &mut Vec<Diagnostic>) {
    let ipv6 = leg.addresses.iter().find(|prefix| prefix.address.is_ipv6());
    let Some(ipv6) = ipv6.filter(|_| leg.mtu.value < IPV6_MIN_MTU) else { return };
    found.push(
        Diagnostic::new(
            Code::SmallMtu,
            format!("mtu `{}` is too small for IPv6", leg.mtu.value),
            leg.mtu.span.clone(),
            format!("IPv6 needs {IPV6_MIN_MTU} or more"),
            format!("write `mtu = {IPV6_MIN_MTU}` or more, or remove the IPv6 address"),
        )
        .with(ipv6.span.clone(), "the leg has an IPv6 address"),
    );
}

/// A namespace has one default route.
fn default_routes(legs: &[Leg], found: &mut Vec<Diagnostic>) {
    let mut first = HashMap::new();
    // A node's namespace has no other leg.
    for leg in legs.iter().filter(|leg| leg.default_route.value && leg.node.is_none()) {
        let netns = leg.netns.as_deref();
        let Some(earlier) = first.insert(netns, leg) else { continue };
        first.insert(netns, earlier);
        let whose = netns.map_or("its namespace".to_owned(), |name| format!("namespace `{name}`"));
        found.push(
            Diagnostic::new(
                Code::TwoDefaults,
                format!("leg `{}` is the second default route of {whose}", *leg.name),
                leg.default_route.span.clone(),
                "a namespace has one default route",
                "remove `default-route` from one of the two legs",
            )
            .with(earlier.default_route.span.clone(), format!("leg `{}` has it", *earlier.name)),
        );
    }
}

/// Reports the first conflict between two legs. A network within another's is none: the longer prefix
/// wins, as in every routing table. Two legs whose own links overlap are in conflict all the same, since
/// hosts of one would take hosts of the other for neighbours.
fn overlap(earlier: &Leg, later: &Leg, found: &mut Vec<Diagnostic>) {
    let networks = |leg: &Leg| -> Vec<(Spanned<Prefix>, bool)> {
        let own = leg.addresses.iter().map(|prefix| (prefix.clone(), true));
        own.chain(leg.routes.iter().map(|prefix| (prefix.clone(), false))).collect()
    };
    for (new, new_is_link) in networks(later) {
        for (old, old_is_link) in networks(earlier) {
            let same = new.network() == old.network();
            if same || (new_is_link && old_is_link && new.overlaps(old.value)) {
                found.push(
                    Diagnostic::new(
                        Code::LegsOverlap,
                        format!("`{}` lies behind two legs", new.network()),
                        new.span.clone(),
                        format!("leg `{}` claims it", *later.name),
                        "give each leg networks of its own",
                    )
                    .with(old.span.clone(), format!("leg `{}` has it already", *earlier.name)),
                );
                return;
            }
        }
    }
}
