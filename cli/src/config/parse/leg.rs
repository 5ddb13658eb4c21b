//! `[[leg]]`.

use std::ops::RangeInclusive;

use super::super::model::{Leg, LegKind, Spanned};
use super::super::reader::{Item, Reader};
use super::super::value;
use super::impair::impair;

/// From what every IPv4 link must carry (RFC 791) to what the length field can say.
pub(super) const MTU: RangeInclusive<u16> = 68..=65_535;
pub(super) const DEFAULT_MTU: u16 = 1500;
const GATEWAY: &str = "gateway = \"10.2.0.1\"";
const ADDRESSES: &str = "[\"10.99.0.254/24\"]";

const KINDS: [(&str, LegKind); 3] =
    [("tun", LegKind::Tun), ("veth", LegKind::Veth), ("pcap", LegKind::Pcap)];

pub(super) fn leg(r: &mut Reader, item: &Item<'_>) -> Option<Leg> {
    let mut table = item.table(r)?.named_by_its_name();
    let name = table.require(r, "name", "\"balun0\"");
    let name = name.and_then(|item| item.parse(r, value::device));
    let addresses = table.require(r, "address", ADDRESSES).map(|item| {
        let why = "the kernel's end of a leg needs an address";
        item.filled_list(r, why, ADDRESSES, |r, item| item.parse(r, value::host_prefix))
    });
    let mtu = table.take(r, "mtu").and_then(|item| item.integer(r, MTU));
    let netns = table.take(r, "netns").and_then(|item| item.words(r));
    let routes = table.take(r, "routes");
    let routes = routes.map(|item| item.list(r, |r, item| item.parse(r, value::network)));
    let gateways = table.take(r, "gateway").map(|item| {
        let why = "what is not on the link needs a next hop";
        item.one_or_more(r, why, GATEWAY, |r, item| item.parse(r, value::ip))
    });
    let default_route = table.take(r, "default-route").and_then(|item| item.boolean(r));
    let icmp_errors = table.take(r, "icmp-errors").and_then(|item| item.boolean(r));
    let kind = table.take(r, "kind").and_then(|item| item.choice(r, "a kind of leg", &KINDS));
    let impair = table.take(r, "impair").and_then(|item| impair(r, &item));
    let span = table.span.clone();
    table.finish(r);
    Some(Leg {
        span,
        name: name?,
        addresses: addresses?,
        mtu: mtu.unwrap_or(Spanned::default_of(DEFAULT_MTU)),
        netns,
        routes: routes.unwrap_or_default(),
        default_route: default_route.unwrap_or(Spanned::default_of(false)),
        icmp_errors: icmp_errors.is_none_or(|errors| errors.value),
        gateways: gateways.unwrap_or_default(),
        kind: kind.unwrap_or(Spanned::default_of(LegKind::default())),
        impair,
        node: None,
    })
}
