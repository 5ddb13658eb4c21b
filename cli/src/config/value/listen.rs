//! What a service listens on: a protocol, an address or a network, a port or several.

use std::net::{IpAddr, SocketAddr};

use nat::Listen;
use netstack::wire::Protocol;

use super::super::codes::Code;
use super::super::diagnostic::alternatives;
use super::super::reader::Complaint;
use super::super::suggest::nearest;
use super::{Parsed, addresses, complain, ip, one_host, ports, socket};

pub(in super::super) fn listen(text: &str) -> Parsed<Listen> {
    const PROTOCOLS: [&str; 4] = ["tcp", "udp", "icmp", "any"];
    let code = Code::BadListen;
    let what = "is not something to listen on";
    let Some((protocol, address)) = text.split_once(' ') else {
        let label = "expected a protocol, a space and an address";
        let help = match text.parse::<SocketAddr>() {
            Ok(address) => format!("write `tcp {address}`"),
            Err(_) => "write it as `tcp 10.99.0.1:80` or `icmp 10.99.0.4`".to_owned(),
        };
        return complain(code, what, label, help);
    };
    let transport = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "icmp" | "any" => {
            let transport = (protocol == "icmp").then_some(Protocol::Icmp);
            return listen_without_port(protocol, transport, address);
        }
        _ => {
            let help = match nearest(protocol, PROTOCOLS) {
                Some(known) => format!("did you mean `{known} {address}`?"),
                None => format!("begin with {}", alternatives(&PROTOCOLS)),
            };
            return complain(code, what, "the first word is not a protocol", help);
        }
    };
    if let Some((host, range)) = split_wide(address) {
        let ports = match range {
            "*" => nat::Ports::ALL,
            range => ports(range).map(|p| nat::Ports { first: p.first, last: p.last })?,
        };
        return Ok(Listen { protocol: Some(transport), prefix: listened_on(host)?, ports });
    }
    let help = format!("write it as `{protocol} {}`", likely(address));
    let at = socket(address).map_err(|complaint| Complaint { help, ..complaint })?;
    Ok(Listen::new(transport, at.ip().into(), at.port()))
}

fn listen_without_port(word: &str, protocol: Option<Protocol>, address: &str) -> Parsed<Listen> {
    if let Ok(with_port) = address.parse::<SocketAddr>() {
        let label = match protocol {
            Some(_) => "ICMP has no ports",
            None => "`any` is every port of every protocol",
        };
        let help = format!("write `{word} {}`", with_port.ip());
        return complain(Code::BadListen, "is not something to listen on", label, help);
    }
    let prefix = listened_on(address).map_err(|complaint| {
        let help = format!("write it as `{word} 10.99.0.4`");
        if address.contains('/') { complaint } else { Complaint { help, ..complaint } }
    })?;
    Ok(Listen { protocol, prefix, ports: nat::Ports::ALL })
}

/// The addresses and the ports of text that names more than one of either.
fn split_wide(text: &str) -> Option<(&str, &str)> {
    let (host, ports) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:")?,
        None => text.rsplit_once(':').filter(|(host, _)| !host.contains(':'))?,
    };
    let wide = host.contains('/') || ports == "*" || ports.contains('-');
    wide.then_some((host, ports))
}

/// One address or a network that a service listens on.
fn listened_on(text: &str) -> Parsed<nat::Prefix> {
    if !text.contains('/') {
        return ip(text).map(|ip| nat::Prefix::host(ip.into()));
    }
    let prefix = addresses(text)?;
    if prefix.is_host() {
        one_host(prefix.first().into())?;
    }
    Ok(prefix)
}

/// The address and port that was most likely meant.
fn likely(text: &str) -> SocketAddr {
    let example = IpAddr::from([10, 99, 0, 1]);
    let (ip, port) = match text.parse::<SocketAddr>() {
        Ok(address) => (address.ip().to_canonical(), address.port().max(1)),
        Err(_) => (text.trim_matches(['[', ']']).parse().unwrap_or(example), 80),
    };
    let usable = one_host(ip).is_ok();
    SocketAddr::new(if usable { ip } else { example }, port)
}
