//! Values that are written as strings: names, addresses, times, sizes, rates.
//!
//! Each function takes the whole text; spaces around it are an error like any other.

mod admission;
mod capture;
mod listen;
mod log;
mod route;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use netstack::tcp::KeepaliveConfig;

use super::codes::Code;
use super::model::{PortRange, Prefix, Rate};
use super::reader::Complaint;

pub(super) use admission::{field, key_set, limit_key, rule_method, told_field};
pub(super) use capture::{filter, request, status, trigger};
pub(super) use listen::listen;
pub(super) use log::log_format;
pub(super) use route::{
    condition_field, content_type, cookie_name, cookie_path, field_name, field_template,
    field_value, location, method, new_host, new_path, origin, route_host, route_path, route_regex,
    route_text, share, statuses, sticky, template,
};

type Parsed<T> = Result<T, Complaint>;

fn complain<T>(
    code: Code,
    what: impl Into<String>,
    label: impl Into<String>,
    help: impl Into<String>,
) -> Parsed<T> {
    Err(Complaint { code, what: what.into(), label: label.into(), help: help.into() })
}

/// The longest name, in bytes.
const MAX_NAME: usize = 64;
/// The longest device name: the kernel's `IFNAMSIZ` without its final zero byte.
const MAX_DEVICE_NAME: usize = 15;

pub(super) fn words(text: &str) -> Parsed<String> {
    if text.trim().is_empty() {
        return complain(Code::BadName, "is empty", "nothing stands here", "write some text");
    }
    Ok(text.to_owned())
}

/// The target of an HTTP probe.
pub(super) fn probe_path(text: &str) -> Parsed<String> {
    let target = text.starts_with('/') && l7::http1::target::is_target(text.as_bytes());
    if !target || l7::http1::target::check(&hyper::Method::GET, text.as_bytes()).is_err() {
        return complain(
            Code::BadProbe,
            "is not a path",
            "a path begins with `/` and has no spaces",
            "write a path such as `/healthz`",
        );
    }
    Ok(text.to_owned())
}

/// The `Host` of an HTTP probe.
pub(super) fn probe_host(text: &str) -> Parsed<String> {
    if let Err(reject) = l7::http1::host::check(text.as_bytes()) {
        let help = "write a host name such as `www.example.org`";
        return complain(Code::BadProbe, "is not a host", reject.detail, help);
    }
    Ok(text.to_owned())
}

/// The payload of a UDP probe.
pub(super) fn probe_payload(text: &str) -> Parsed<String> {
    if text.len() > nat::limits::PROBE_PAYLOAD {
        let most = format!("{} bytes, at most {} fit", text.len(), nat::limits::PROBE_PAYLOAD);
        let help = "write a shorter text";
        return complain(Code::BadProbe, "is too long for a probe", most, help);
    }
    Ok(text.to_owned())
}

pub(super) fn path(text: &str) -> Parsed<PathBuf> {
    if text.contains('\0') {
        let help = "remove the zero byte";
        return complain(Code::BadName, "is not a file name", "it holds a zero byte", help);
    }
    words(text).map(PathBuf::from)
}

/// A name that commands can take as `POOL/NAME`.
pub(super) fn name(text: &str) -> Parsed<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(plain) {
        return complain(
            Code::BadName,
            "is not a name",
            format!("1 to {MAX_NAME} of letters, digits, `-`, `_` and `.`"),
            "write a name such as `web-1`",
        );
    }
    Ok(text.to_owned())
}

pub(super) fn device(text: &str) -> Parsed<String> {
    let bad = |c: char| c == '/' || c == '%' || c == ':' || c.is_whitespace() || c.is_control();
    if text.is_empty()
        || text.len() > MAX_DEVICE_NAME
        || text.contains(bad)
        || text.starts_with('.')
    {
        return complain(
            Code::BadName,
            "is not a device name",
            format!("1 to {MAX_DEVICE_NAME} bytes, without `/`, `:`, `%` and spaces"),
            "write a name such as `balun0`",
        );
    }
    Ok(text.to_owned())
}

/// Refuses addresses that cannot name one host on a wire.
fn one_host(ip: IpAddr) -> Parsed<IpAddr> {
    let kind = match ip {
        _ if ip.is_unspecified() => "the unspecified address",
        _ if ip.is_multicast() => "a multicast address",
        _ if ip.is_loopback() => "a loopback address, which never leaves a host",
        IpAddr::V4(a) if a.is_broadcast() => "the broadcast address",
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => "an IPv4 address in IPv6 form",
        _ => return Ok(ip),
    };
    complain(
        Code::NotOneHost,
        "cannot be used here",
        format!("this is {kind}"),
        "write the unicast address of one host, such as `10.99.0.1` or `fd99::1`",
    )
}

/// A server name that clients of TLS ask for, or `*.` and a name for one label more; in lower case.
pub(super) fn sni_pattern(text: &str) -> Parsed<String> {
    if !l7::tls::names::is_pattern(text) {
        return complain(
            Code::BadServerName,
            "is not a server name",
            "a host name, or `*.` and a host name, for exactly one label more",
            "write a name such as `a.lab` or `*.b.lab`; others go to `pool`",
        );
    }
    Ok(text.to_ascii_lowercase())
}

/// The name in a backend's certificate: of a host, or an address.
pub(super) fn tls_name(text: &str) -> Parsed<String> {
    if !l7::tls::names::is_host_name(text) && text.parse::<IpAddr>().is_err() {
        return complain(
            Code::BadServerName,
            "is not a server name",
            "a host name or an IP address, as it stands in the certificate",
            "write a name such as `tls1.lab`",
        );
    }
    Ok(text.to_ascii_lowercase())
}

pub(super) fn ip(text: &str) -> Parsed<IpAddr> {
    match text.parse() {
        Ok(ip) => one_host(ip),
        Err(_) => complain(
            Code::BadAddress,
            "is not an IP address",
            "expected an IPv4 or IPv6 address",
            "write an address such as `10.99.0.1` or `fd99::1`",
        ),
    }
}

/// An address and port of something that is reached over the network.
pub(super) fn socket(text: &str) -> Parsed<SocketAddr> {
    let address = any_socket(text)?;
    one_host(address.ip())?;
    Ok(address)
}

/// An address and port of this host; it may be a loopback address.
pub(super) fn any_socket(text: &str) -> Parsed<SocketAddr> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        let what = "is not an address and port";
        let code = Code::BadAddress;
        if let Ok(ip) = text.parse::<IpAddr>() {
            let with_port = SocketAddr::new(ip, 8080);
            return complain(code, what, "the port is missing", format!("write `{with_port}`"));
        }
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains("::") {
            let help = "write the address itself, such as `10.2.0.11:8080`";
            return complain(code, what, "host names are not looked up", help);
        }
        let help = "write it as `10.2.0.11:8080` or `[fd99::11]:8080`";
        return complain(code, what, "expected an IP address, a colon and a port", help);
    };
    if address.port() == 0 {
        let help = "write a port from 1 to 65535";
        return complain(Code::BadAddress, "has no usable port", "port 0 is not a port", help);
    }
    Ok(address)
}

/// An address with the length of its network.
pub(super) fn prefix(text: &str) -> Parsed<Prefix> {
    let what = "is not an address with a prefix length";
    let Some((address, length)) = text.split_once('/') else {
        return match text.parse::<IpAddr>() {
            Ok(ip) => {
                let length = if ip.is_ipv4() { 24 } else { 64 };
                let label = "the prefix length is missing";
                complain(Code::BadAddress, what, label, format!("write `{ip}/{length}`"))
            }
            Err(_) => complain(
                Code::BadAddress,
                what,
                "expected an IP address, a slash and a length",
                "write it as `10.99.0.254/24` or `fd99::fe/64`",
            ),
        };
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let label = "what stands before the slash is not an IP address";
        return complain(Code::BadAddress, what, label, "write it as `10.99.0.254/24`");
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length.parse::<u8>() {
        Ok(length) if length <= most => Ok(Prefix { address, length }),
        _ => complain(
            Code::BadAddress,
            what,
            format!("the length is a number from 0 to {most}"),
            format!("write a length such as `{address}/{}`", if most == 32 { 24 } else { 64 }),
        ),
    }
}

/// An address of a host and the length of its network.
pub(super) fn host_prefix(text: &str) -> Parsed<Prefix> {
    let prefix = prefix(text)?;
    one_host(prefix.address)?;
    Ok(prefix)
}

/// A network: all bits beyond its prefix are zero.
pub(super) fn network(text: &str) -> Parsed<Prefix> {
    let prefix = prefix(text)?;
    let network = prefix.network();
    if network != prefix {
        let label = format!("bits beyond /{} are set", prefix.length);
        return complain(Code::BadAddress, "is not a network", label, format!("write `{network}`"));
    }
    if network.address.is_multicast() {
        one_host(network.address)?;
    }
    Ok(network)
}

/// A backend's address and port; `*` stands for the port that the client asked for.
pub(super) fn backend(text: &str) -> Parsed<SocketAddr> {
    match text.strip_suffix(":*") {
        Some(host) => socket(&format!("{host}:1")).map(|address| SocketAddr::new(address.ip(), 0)),
        None => socket(text),
    }
}

/// The addresses that a rule is about: a network, or a single one.
pub(super) fn addresses(text: &str) -> Parsed<nat::Prefix> {
    let (address, length) = match text.parse::<IpAddr>() {
        Ok(address) => (address, if address.is_ipv4() { 32 } else { 128 }),
        Err(_) => network(text).map(|network| (network.address, network.length))?,
    };
    let label = "this is an IPv4 address in IPv6 form";
    let help = "write it in IPv4 form, such as `10.0.0.0/8`";
    nat::Prefix::new(address.into(), length)
        .map_or_else(|| complain(Code::NotOneHost, "cannot be used here", label, help), Ok)
}

pub(super) fn ports(text: &str) -> Parsed<PortRange> {
    let what = "is not a range of ports";
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
        let label = "expected two ports with a hyphen between";
        return complain(Code::BadPorts, what, label, "write it as `1024-65535`");
    };
    if first == 0 {
        let help = format!("write `1-{}`", last.max(1));
        return complain(Code::BadPorts, what, "port 0 is not a port", help);
    }
    if first > last {
        let label = "the first port is greater than the last";
        return complain(Code::BadPorts, what, label, format!("write `{last}-{first}`"));
    }
    Ok(PortRange { first, last })
}

/// A number and the unit right after it; the number has digits alone.
fn number_and_unit(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    let unit_end = text[digits..].bytes().take_while(u8::is_ascii_alphabetic).count() + digits;
    Some((number, &text[digits..unit_end], &text[unit_end..]))
}

/// A sum such as `2h4m`; units fall in size.
pub(super) fn duration(text: &str) -> Parsed<Duration> {
    const UNITS: [(&str, u64); 6] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ];
    let bad = |label: &str| {
        let help = "write a number with a unit, such as `500ms`, `60s`, `5m` or `2h4m`";
        complain(Code::BadDuration, "is not a length of time", label, help)
    };
    let (mut rest, mut micros, mut last_unit) = (text, 0_u64, u64::MAX);
    loop {
        let Some((number, unit, after)) = number_and_unit(rest) else {
            return bad("expected a number and a unit");
        };
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return bad("the unit is one of `d`, `h`, `m`, `s`, `ms` and `us`");
        };
        if *factor >= last_unit {
            return bad("units must fall in size");
        }
        let Some(sum) = number.checked_mul(*factor).and_then(|n| micros.checked_add(n)) else {
            return bad("too long");
        };
        (rest, micros, last_unit) = (after, sum, *factor);
        if rest.is_empty() {
            return Ok(Duration::from_micros(micros));
        }
    }
}

/// A length of time greater than zero.
pub(super) fn some_duration(text: &str) -> Parsed<Duration> {
    let duration = duration(text)?;
    if duration.is_zero() {
        let help = "write a length of time greater than zero, such as `60s`";
        return complain(Code::BadDuration, "is too short", "must be more than zero", help);
    }
    Ok(duration)
}

/// A time of keep-alive probes, as sockets take it.
pub(super) fn keepalive_time(text: &str) -> Parsed<Duration> {
    let time = duration(text)?;
    if !(Duration::from_secs(1)..=KeepaliveConfig::MAX_TIME).contains(&time) {
        let label = "from `1s` to `32767s`, a little over 9 hours";
        let help = "write a length of time such as `2h`";
        return complain(Code::BadDuration, "does not suit probes", label, help);
    }
    Ok(time)
}

/// A number of bytes.
pub(super) fn size(text: &str) -> Parsed<u64> {
    const UNITS: [(&str, u64); 5] =
        [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    let bytes = scaled(text, &UNITS);
    bytes.map_or_else(
        || {
            let label = "expected a number and `B`, `KiB`, `MiB`, `GiB` or `TiB`";
            let help = "write a number with a unit, such as `256MiB`";
            complain(Code::BadSize, "is not a size", label, help)
        },
        Ok,
    )
}

/// Bytes of a body that are kept in memory.
pub(super) fn kept_body(text: &str) -> Parsed<usize> {
    const MOST: u64 = 1 << 20;
    match usize::try_from(size(text)?) {
        Ok(bytes) if bytes as u64 <= MOST => Ok(bytes),
        _ => complain(
            Code::OutOfRange,
            "is too much to be kept of each request",
            "at most `1MiB`",
            "write a size such as `64KiB`",
        ),
    }
}

/// A number of bits per second.
pub(super) fn bit_rate(text: &str) -> Parsed<u64> {
    const UNITS: [(&str, u64); 4] =
        [("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];
    scaled(text, &UNITS).map_or_else(
        || {
            let label = "expected a number and `bit`, `kbit`, `mbit` or `gbit`";
            let help = "write a number with a unit, such as `100mbit`";
            complain(Code::BadRate, "is not a rate", label, help)
        },
        Ok,
    )
}

/// A number greater than zero with a unit.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, unit, rest) = number_and_unit(text)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit && rest.is_empty())?;
    number.checked_mul(*factor).filter(|&n| n > 0)
}

/// So many in a time.
pub(super) fn rate(text: &str) -> Parsed<Rate> {
    let parts = text.split_once('/').and_then(|(count, unit)| {
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return None,
        };
        let count = count.parse().ok().filter(|&count| count > 0)?;
        Some(Rate { count, per: Duration::from_secs(seconds) })
    });
    parts.map_or_else(
        || {
            let label = "expected a number, a slash and `s`, `m` or `h`";
            complain(Code::BadRate, "is not a rate", label, "write it as `100/s`")
        },
        Ok,
    )
}

/// A percentage, as a probability from 0 to 1.
pub(super) fn percentage(text: &str) -> Parsed<f64> {
    let digits = text.strip_suffix('%').filter(|number| {
        number.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !number.is_empty()
    });
    match digits.and_then(|number| number.parse::<f64>().ok()) {
        Some(percent) if percent <= 100.0 => Ok(percent / 100.0),
        _ => complain(
            Code::BadPercentage,
            "is not a percentage",
            "expected a number from 0 to 100 and `%`",
            "write it as `0.5%`",
        ),
    }
}

/// A percentage without a fraction, from 0 to 100.
pub(super) fn whole_percentage(text: &str) -> Parsed<u8> {
    let digits = text.strip_suffix('%').filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|number| number.parse::<u8>().ok()) {
        Some(percent) if percent <= 100 => Ok(percent),
        _ => complain(
            Code::BadPercentage,
            "is not a whole percentage",
            "expected a whole number from 0 to 100 and `%`",
            "write it as `50%`",
        ),
    }
}

/// A percentage without a fraction, from 1 to 100.
pub(super) fn some_percentage(text: &str) -> Parsed<u8> {
    let percent = whole_percentage(text)?;
    if percent == 0 {
        let label = "must be more than zero";
        return complain(Code::BadPercentage, "is too little", label, "write it as `20%`");
    }
    Ok(percent)
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
