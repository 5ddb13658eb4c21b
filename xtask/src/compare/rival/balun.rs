//! balun itself: a TUN in each namespace, and its process as the router between them.

use super::{Layer, Running};
use crate::compare::certificate::Certificate;
use crate::compare::children::{Child, Errors};
use crate::compare::topology::{
    CLIENT, Node, SECURE_PORT, STREAM_PORT, Target, Topology, VIP_L4, VIP_L7, WEB, WEB_PORT,
};
use crate::compare::{Failure, Site};

/// Every packet of both sides, with the comments that say in a line what became of it.
pub(super) const CAPTURE: &str = "
[capture]
path = \"balun.pcapng\"
comments = \"brief\"
";

/// Starts it with `more` at the end of its configuration.
pub(super) fn start(site: &Site<'_>, layer: Layer, more: &str) -> Result<Running, Failure> {
    let binary = site.balun.as_ref().map_err(Failure::because)?;
    let secure = site.certificate.map(secure).unwrap_or_default();
    let config = config(site.topology) + &secure + more;
    let config = site.scratch.write("balun.toml", &config)?;
    // In the balancer's namespace, which is empty: whatever else it opens is nobody's concern.
    let mut command = site.topology.command(Node::Balancer, binary);
    command.arg("run").arg("-c").arg(config);
    let child = Child::start(site.scratch, command, Errors::Kept)?;
    let address = match layer {
        Layer::Four => VIP_L4,
        Layer::Seven => VIP_L7,
    };
    Ok(Running { child: Some(child), target: Target { address } })
}

/// The same for both layers. The limits are the defaults: the one client has fewer ports for a
/// service than it may have flows.
fn config(topology: &Topology) -> String {
    let [web1, web2] = WEB;
    let leg = |name: &str, node: Node, address| {
        let namespace = topology.namespace(node);
        format!(
            "[[leg]]
name = \"{name}\"
netns = \"{namespace}\"
address = [\"{address}/24\"]
default-route = true

"
        )
    };
    let legs = [
        leg("client0", Node::Client, CLIENT),
        leg("web10", Node::Web1, web1),
        leg("web20", Node::Web2, web2),
    ];
    format!(
        "version = 1

{legs}[snat]
addresses = [\"10.99.0.250\"]
ports = \"1024-65535\"

[pool.web]
scheduler = \"round-robin\"
backend = [
  {{ name = \"web1\", address = \"{web1}:{WEB_PORT}\" }},
  {{ name = \"web2\", address = \"{web2}:{WEB_PORT}\" }},
]

[pool.stream]
backend = [{{ name = \"web1\", address = \"{web1}:{STREAM_PORT}\" }}]

[[service]]
name = \"web-l4\"
listen = \"tcp {VIP_L4}:{WEB_PORT}\"
mode = \"nat\"
nat = \"full\"
pool = \"web\"

[[service]]
name = \"stream\"
listen = \"tcp {VIP_L4}:{STREAM_PORT}\"
mode = \"nat\"
nat = \"full\"
pool = \"stream\"

[[service]]
name = \"web-l7\"
listen = \"tcp {VIP_L7}:{WEB_PORT}\"
mode = \"http\"
pool = \"web\"
",
        legs = legs.concat(),
    )
}

/// The service of layer 7 over TLS.
fn secure(certificate: &Certificate) -> String {
    format!(
        "
[[service]]
name = \"web-tls\"
listen = \"tcp {VIP_L7}:{SECURE_PORT}\"
mode = \"http\"
tls = {{ certificates = [{{ cert = \"{chain}\", key = \"{key}\" }}], alpn = [\"h2\", \"http/1.1\"] }}
pool = \"web\"
",
        chain = certificate.chain.display(),
        key = certificate.key.display(),
    )
}
