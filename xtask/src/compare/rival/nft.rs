//! nftables: DNAT to the servers in turn, and masquerade, as full NAT is.

use std::time::Duration;

use super::Running;
use crate::compare::children::{Child, Errors};
use crate::compare::tools::Tool;
use crate::compare::topology::{Node, STREAM_PORT, Target, VIP_L4, WEB, WEB_PORT};
use crate::compare::{Failure, Site};

const LIMIT: Duration = Duration::from_secs(10);

pub(super) fn start(site: &Site<'_>) -> Result<Running, Failure> {
    let rules = site.scratch.write("rules.nft", &rules())?;
    let mut command = site.topology.tool(Node::Balancer, Tool::Nft);
    command.arg("--file").arg(rules);
    Child::start(site.scratch, command, Errors::Kept)?.succeed(LIMIT)?;
    Ok(Running { child: None, target: Target { address: VIP_L4 } })
}

fn rules() -> String {
    let [web1, web2] = WEB;
    format!(
        "table ip compare {{
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    ip daddr {VIP_L4} tcp dport {WEB_PORT} dnat to numgen inc mod 2 map {{ 0 : {web1}, 1 : {web2} }}
    ip daddr {VIP_L4} tcp dport {STREAM_PORT} dnat to {web1}
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    masquerade
  }}
}}
"
    )
}
