//! `[lab]`.

use std::net::IpAddr;
use std::time::Duration;

use super::super::codes::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{
    Builtin, Expect, Lab, Leg, LegKind, Node, NodeLink, Prefix, Run, Seen, Site, Spanned,
};
use super::super::reader::{Complaint, Item, Reader, Table};
use super::super::value;
use super::impair;
use super::leg::{DEFAULT_MTU, MTU};

/// Nodes that one entry may stand for; each is a namespace, a TUN and a process.
const MAX_COUNT: u32 = 256;
/// Nodes of a lab.
const MAX_NODES: usize = 1_024;
const MAX_REPEAT: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn lab(r: &mut Reader, item: &Item<'_>) -> Option<Lab> {
    let mut table = item.table(r)?;
    let name = table.require(r, "name", "\"two-tier\"");
    let name = name.and_then(|item| item.parse(r, value::name));
    let nodes = table.take(r, "node").map(|item| nodes(r, &item));
    let links = table.take(r, "link").map(|item| item.list(r, |r, item| link(r, &item)));
    let expects = table.take(r, "expect").map(|item| item.list(r, |r, item| expect(r, &item)));
    let span = table.span.clone();
    table.finish(r);
    Some(Lab {
        span,
        name: name?,
        nodes: nodes.unwrap_or_default(),
        links: links.unwrap_or_default(),
        expects: expects.unwrap_or_default(),
    })
}

/// The legs that lead to the nodes. A leg has its node's addresses alone, and no network around them:
/// its neighbours live behind legs of their own.
pub(super) fn legs(lab: &Lab) -> Vec<Leg> {
    let host = |prefix: &Spanned<Prefix>| {
        let length = if prefix.address.is_ipv4() { 32 } else { 128 };
        Spanned::new(Prefix { address: prefix.address, length }, prefix.span.clone())
    };
    let leg = |(index, node): (usize, &Node)| {
        let link = lab.link_to(node);
        let mtu = link.and_then(|link| link.mtu.clone());
        Leg {
            span: node.name.span.clone(),
            name: node.name.clone(),
            addresses: node.addresses.iter().map(host).collect(),
            mtu: mtu.unwrap_or(Spanned::default_of(DEFAULT_MTU)),
            netns: Some(Spanned::default_of(format!("node {}", *node.name))),
            routes: node.routes.clone(),
            default_route: Spanned::default_of(true),
            icmp_errors: true,
            gateways: Vec::new(),
            kind: Spanned::default_of(LegKind::Tun),
            impair: link.map(|link| link.settings),
            node: Some(index),
        }
    };
    lab.nodes.iter().enumerate().map(leg).collect()
}

fn nodes(r: &mut Reader, item: &Item<'_>) -> Vec<Node> {
    let mut nodes = Vec::new();
    item.list(r, |r, item| {
        // One too many is enough to say so.
        if nodes.len() <= MAX_NODES {
            nodes.extend(node(r, &item).unwrap_or_default());
            if nodes.len() > MAX_NODES {
                r.report(Diagnostic::new(
                    Code::OutOfRange,
                    "the lab has too many nodes",
                    item.span,
                    format!("at most {MAX_NODES} fit into a lab"),
                    "count fewer",
                ));
            }
        }
        Some(())
    });
    nodes
}

/// One node, or as many as its `count` says.
fn node(r: &mut Reader, item: &Item<'_>) -> Option<Vec<Node>> {
    const EXAMPLE: &str = "\"10.1.0.5/24\"";
    let mut table = item.table(r)?.named_by_its_name();
    let name = table.require(r, "name", "\"client\"");
    let name = name.and_then(|item| item.parse(r, value::name));
    let addresses = table.require(r, "address", EXAMPLE).map(|item| {
        let why = "a node needs an address";
        one_or_more(
            r,
            &item,
            |r, item| {
                item.filled_list(r, why, EXAMPLE, |r, item| item.parse(r, value::host_prefix))
            },
            |r, item| item.parse(r, value::host_prefix),
        )
    });
    let routes = table.take(r, "routes");
    let routes = routes.map(|item| item.list(r, |r, item| item.parse(r, value::network)));
    let count = table.take(r, "count").and_then(|item| item.integer(r, 1..=MAX_COUNT));
    let run = table.take(r, "run").and_then(|item| run(r, &item));
    table.finish(r);
    let (name, addresses) = (name?, addresses?);
    let one = Node {
        group: name.value.clone(),
        name,
        addresses,
        routes: routes.unwrap_or_default(),
        run,
    };
    match count {
        None => Some(vec![one]),
        Some(count) => counted(r, &one, &count),
    }
}

/// Nodes with their names and addresses counted up.
fn counted(r: &mut Reader, one: &Node, count: &Spanned<u32>) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    for n in 0..count.value {
        let mut node = one.clone();
        node.name.value = format!("{}{}", one.group, n + 1);
        for prefix in &mut node.addresses {
            let Some(next) = prefix.value.nth(n) else {
                r.report(
                    Diagnostic::new(
                        Code::BadCount,
                        format!(
                            "`{}` has no {} addresses from `{}`",
                            prefix.network(),
                            count.value,
                            prefix.address
                        ),
                        count.span.clone(),
                        "so many nodes",
                        "count fewer, or write a shorter prefix length",
                    )
                    .with(prefix.span.clone(), "the first of them"),
                );
                return None;
            };
            prefix.value = next;
        }
        nodes.push(node);
    }
    Some(nodes)
}

impl Prefix {
    /// The `n`th address after this one; none beyond its network, nor its last of IPv4, which is the
    /// broadcast address.
    fn nth(self, n: u32) -> Option<Self> {
        let address = match self.address {
            IpAddr::V4(a) => IpAddr::V4(u32::from(a).checked_add(n)?.into()),
            IpAddr::V6(a) => IpAddr::V6(u128::from(a).checked_add(n.into())?.into()),
        };
        let last = match address {
            IpAddr::V4(a) if self.length < 31 => {
                u32::from(a) | u32::MAX >> self.length == u32::from(a)
            }
            _ => false,
        };
        (self.contains(address) && !last).then_some(Self { address, ..self })
    }
}

/// A list that `list` reads, or one value alone.
fn one_or_more<'d, T>(
    r: &mut Reader,
    item: &Item<'d>,
    list: impl FnOnce(&mut Reader, &Item<'d>) -> Vec<T>,
    one: impl FnOnce(&mut Reader, &Item<'d>) -> Option<T>,
) -> Vec<T> {
    if item.is_text() { one(r, item).into_iter().collect() } else { list(r, item) }
}

/// A command: a string for the shell or for `builtin:`, or a list of words.
fn words(r: &mut Reader, item: &Item<'_>) -> Option<Spanned<Vec<String>>> {
    let span = item.span.clone();
    let words = if item.is_text() {
        let text = item.words(r)?.value;
        if text.starts_with("builtin:") {
            text.split_ascii_whitespace().map(str::to_owned).collect()
        } else {
            vec!["/bin/sh".into(), "-c".into(), text]
        }
    } else {
        let why = "a command has at least a program";
        item.filled_list(r, why, "[\"sleep\", \"60\"]", |r, item| {
            Some(item.text(r)?.value.to_owned())
        })
    };
    (!words.is_empty()).then(|| Spanned::new(words, span))
}

fn run(r: &mut Reader, item: &Item<'_>) -> Option<Run> {
    let words = words(r, item)?;
    let Some(builtin) = words.first().and_then(|word| word.strip_prefix("builtin:")) else {
        return Some(Run::Command(words.value));
    };
    match server(builtin, &words[1..]) {
        Ok(builtin) => Some(Run::Builtin(builtin)),
        Err(complaint) => {
            r.complain(&words.join(" "), words.span.clone(), complaint);
            None
        }
    }
}

fn server(text: &str, files: &[String]) -> Result<Builtin, Complaint> {
    let complaint = |label: &str| Complaint {
        code: Code::BadRun,
        what: "is nothing that a node can run".into(),
        label: label.into(),
        help: "write `builtin:http`, `builtin:echo:7`, `builtin:dns` or a command".into(),
    };
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(complaint("the port is a number from 1 to 65535")),
    };
    let builtin = match (name, files) {
        ("http", []) => Builtin::Http(Site { port: port.unwrap_or(80), tls: None }),
        ("https", [cert, key]) => {
            let tls = Some((cert.clone(), key.clone()));
            Builtin::Http(Site { port: port.unwrap_or(443), tls })
        }
        ("https", _) => {
            return Err(complaint("it needs the files of a certificate and of its key"));
        }
        ("echo", []) => Builtin::Echo(port.unwrap_or(7)),
        ("dns", []) => Builtin::Dns(port.unwrap_or(53)),
        ("http" | "echo" | "dns", _) => return Err(complaint("it takes nothing but a port")),
        _ => return Err(complaint("there is no such server")),
    };
    Ok(builtin)
}

fn link(r: &mut Reader, item: &Item<'_>) -> Option<NodeLink> {
    let mut table = item.table(r)?;
    let node = table.require(r, "node", "\"client\"").and_then(|item| item.words(r));
    let mtu = table.take(r, "mtu").and_then(|item| item.integer(r, MTU));
    let settings = impair::keys(r, &mut table);
    table.finish(r);
    Some(NodeLink { node: node?, settings, mtu })
}

fn expect(r: &mut Reader, item: &Item<'_>) -> Option<Expect> {
    let mut table = item.table(r)?;
    let name = table.require(r, "name", "\"web answers\"").and_then(|item| item.words(r));
    let node = table.require(r, "node", "\"client\"").and_then(|item| item.words(r));
    let run = table.require(r, "run", "\"builtin:get http://10.99.0.1/\"");
    let run = run.and_then(|item| words(r, &item));
    let exit = table.take(r, "exit").and_then(|item| item.integer(r, 0..=255_u8));
    let stdout = table.take(r, "stdout").map(|item| {
        one_or_more(
            r,
            &item,
            |r, item| item.list(r, |r, item| item.words(r)),
            |r, item| item.words(r),
        )
    });
    let repeat = table.take(r, "repeat").and_then(|item| item.integer(r, 1..=MAX_REPEAT));
    let seen = table.take(r, "seen").and_then(|item| item.table(r)).map(|table| seen(r, table));
    let within = table.take(r, "within").and_then(|item| item.parse(r, value::some_duration));
    table.finish(r);
    let stdout = stdout.unwrap_or_default();
    Some(Expect {
        name: name?.value,
        node: node?,
        run: run?.value,
        exit: exit.map_or(0, |exit| exit.value.into()),
        stdout: stdout.into_iter().map(|text| text.value).collect(),
        repeat: repeat.map_or(1, |repeat| repeat.value),
        seen: seen.unwrap_or_default(),
        within: within.map_or(PATIENCE, |within| within.value),
    })
}

/// `{ web1 = 1, web2 = "5-15" }`: at least so often, or within bounds.
fn seen(r: &mut Reader, mut table: Table<'_>) -> Vec<Seen> {
    let mut found = Vec::new();
    for (text, item) in table.take_named(r) {
        let bounds = if item.is_text() {
            item.parse(r, bounds).map(|bounds| bounds.value)
        } else {
            item.integer(r, 0..=MAX_REPEAT).map(|least| (least.value, MAX_REPEAT))
        };
        found.extend(bounds.map(|(least, most)| Seen { text: text.value, least, most }));
    }
    found
}

fn bounds(text: &str) -> Result<(u32, u32), Complaint> {
    let ends = text.split_once('-').unwrap_or((text, text));
    match (ends.0.parse(), ends.1.parse()) {
        (Ok(least), Ok(most)) if least <= most => Ok((least, most)),
        _ => Err(Complaint {
            code: Code::OutOfRange,
            what: "is not a range".into(),
            label: "expected two numbers, the smaller first".into(),
            help: "write a range such as `\"5-15\"`, or a number for at least so many".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn lab(text: &str) -> Lab {
        let text = format!("version = 1\n[lab]\nname = \"l\"\n{text}");
        let (config, found) = parse(&text);
        assert!(found.is_empty(), "{found:?}");
        config.unwrap().lab.unwrap()
    }

    #[test]
    fn nodes_are_counted_up() {
        let lab = lab(r#"
            [[lab.node]]
            name = "web"
            address = ["10.2.0.9/24", "fd02::9/64"]
            count = 3
            run = "builtin:http:8080"
            [[lab.link]]
            node = "web"
            loss = "1%"
            to = { loss = "2%" }
            [[lab.link]]
            node = "web2"
            mtu = 1400
        "#);
        let names: Vec<_> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["web1", "web2", "web3"]);
        let last: Vec<_> = lab.nodes[2].addresses.iter().map(|a| a.value.to_string()).collect();
        assert_eq!(last, ["10.2.0.11/24", "fd02::b/64"]);
        assert_eq!(
            lab.nodes[1].run,
            Some(Run::Builtin(Builtin::Http(Site { port: 8080, tls: None })))
        );
        let legs = legs(&lab);
        assert_eq!(legs[0].addresses[0].to_string(), "10.2.0.9/32");
        let impair = legs[0].impair.unwrap();
        assert_eq!((impair.to.loss, impair.from.loss), (20_000, 10_000));
        assert_eq!((legs[1].mtu.value, legs[0].mtu.value), (1400, 1500));
    }

    #[test]
    fn a_lab_has_an_end() {
        let some = |n| {
            format!("[[lab.node]]\nname = \"n{n}x\"\naddress = \"10.{n}.0.1/16\"\ncount = 256\n")
        };
        let most: String = (0..4).map(some).collect();
        assert_eq!(lab(&most).nodes.len(), MAX_NODES);
        let more = format!("version = 1\n[lab]\nname = \"l\"\n{most}{}{}", some(4), some(5));
        let (_, found) = parse(&more);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].title, "the lab has too many nodes");
    }

    #[test]
    fn commands_are_for_the_shell_or_word_by_word() {
        let lab = lab(r#"
            [[lab.node]]
            name = "a"
            address = "10.1.0.1/24"
            run = "exec nc -l 80"
            [[lab.node]]
            name = "b"
            address = "10.1.0.2/24"
            run = ["nc", "-l", "80"]
            [[lab.expect]]
            name = "it answers"
            node = "b"
            run = "builtin:get http://10.1.0.1/"
            stdout = "hello"
            repeat = 20
            seen = { web1 = 1, web2 = "5-15" }
            within = "3s"
        "#);
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            lab.nodes[0].run,
            Some(Run::Command(words(&["/bin/sh", "-c", "exec nc -l 80"])))
        );
        assert_eq!(lab.nodes[1].run, Some(Run::Command(words(&["nc", "-l", "80"]))));
        let expect = &lab.expects[0];
        assert_eq!(expect.run, words(&["builtin:get", "http://10.1.0.1/"]));
        assert_eq!((expect.seen[0].least, expect.seen[1].least, expect.seen[1].most), (1, 5, 15));
    }
}
