//! Labs: names that must be nodes, and addresses that only one may have.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::codes::Code;
use super::super::diagnostic::{Diagnostic, alternatives, quoted};
use super::super::model::{Lab, Spanned};
use super::super::suggest::nearest;
use super::duplicates;

pub(super) fn check(lab: &Lab, complete: bool, found: &mut Vec<Diagnostic>) {
    duplicates(lab.nodes.iter().map(|node| &node.name), "node", found);
    duplicates(lab.links.iter().map(|link| &link.node), "the link to", found);
    same_address(lab, found);
    if complete {
        let links = lab.links.iter().map(|link| &link.node);
        for name in links {
            if lab.named(&name.value).next().is_none() {
                found.push(no_node(lab, name));
            }
        }
        for name in lab.expects.iter().map(|expect| &expect.node) {
            if !lab.nodes.iter().any(|node| node.name.value == name.value) {
                found.push(no_node(lab, name));
            }
        }
    }
}

fn no_node(lab: &Lab, name: &Spanned<String>) -> Diagnostic {
    let names: Vec<_> = lab.nodes.iter().map(|node| node.name.value.as_str()).collect();
    let similar = nearest(&name.value, names.iter().copied());
    let help = match similar {
        Some(similar) => format!("did you mean `{similar}`?"),
        None if (1..=8).contains(&names.len()) => format!("use {}", alternatives(&names)),
        None => "define it with `[[lab.node]]`".to_owned(),
    };
    let diagnostic = Diagnostic::new(
        Code::Undefined,
        format!("node {} is not defined", quoted(&name.value)),
        name.span.clone(),
        "no node has this name",
        help,
    );
    match lab.nodes.iter().find(|node| similar == Some(node.name.value.as_str())) {
        Some(node) => {
            diagnostic.with(node.name.span.clone(), "a node with a similar name is defined here")
        }
        None => diagnostic,
    }
}

fn same_address(lab: &Lab, found: &mut Vec<Diagnostic>) {
    let mut first: HashMap<IpAddr, _> = HashMap::new();
    for node in &lab.nodes {
        for address in &node.addresses {
            let Some((owner, had)) = first.insert(address.address, (node, address)) else {
                continue;
            };
            first.insert(address.address, (owner, had));
            found.push(
                Diagnostic::new(
                    Code::NodeAddress,
                    format!("`{}` belongs to two nodes", address.address),
                    address.span.clone(),
                    format!("node `{}` has it", *node.name),
                    "give each node addresses of its own",
                )
                .with(had.span.clone(), format!("node `{}` has it already", *owner.name)),
            );
        }
    }
}
