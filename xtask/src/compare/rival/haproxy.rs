//! `HAProxy` with one thread: connections (`mode tcp`) or requests (`mode http`).
//!
//! `option splice-auto` is left out: between veths, which take super-packets, it came out no faster.

use super::{Layer, Running, own_address};
use crate::compare::certificate::Certificate;
use crate::compare::children::{Child, Errors};
use crate::compare::tools::Tool;
use crate::compare::topology::{
    Node, SECURE_PORT, STREAM_PORT, Target, VIP_L4, VIP_L7, WEB, WEB_PORT,
};
use crate::compare::{Failure, Site};

pub(super) fn start(site: &Site<'_>, layer: Layer) -> Result<Running, Failure> {
    let address = match layer {
        Layer::Four => VIP_L4,
        Layer::Seven => VIP_L7,
    };
    own_address(site, address)?;
    let config = site.scratch.write("haproxy.cfg", &config(site, layer))?;
    let mut command = site.topology.tool(Node::Balancer, Tool::Haproxy);
    command.arg("-db").arg("-f").arg(config);
    let child = Child::start(site.scratch, command, Errors::Kept)?;
    Ok(Running { child: Some(child), target: Target { address } })
}

fn config(site: &Site<'_>, layer: Layer) -> String {
    let [web1, web2] = WEB;
    let head = "\
global
    nbthread 1
    maxconn 4096
defaults
    timeout connect 2s
    timeout client 30s
    timeout server 30s
";
    match layer {
        Layer::Four => format!(
            "{head}    mode tcp
listen web
    bind {VIP_L4}:{WEB_PORT}
    balance roundrobin
    server web1 {web1}:{WEB_PORT}
    server web2 {web2}:{WEB_PORT}
listen stream
    bind {VIP_L4}:{STREAM_PORT}
    server web1 {web1}:{STREAM_PORT}
"
        ),
        Layer::Seven => format!(
            "{head}    mode http
    timeout http-request 10s
    timeout http-keep-alive 30s
    http-reuse always
listen web
    bind {VIP_L7}:{WEB_PORT}
{secure}    balance roundrobin
    server web1 {web1}:{WEB_PORT}
    server web2 {web2}:{WEB_PORT}
",
            secure = site.certificate.map(secure).unwrap_or_default(),
        ),
    }
}

/// The same over TLS.
fn secure(certificate: &Certificate) -> String {
    let both = certificate.both.display();
    format!("    bind {VIP_L7}:{SECURE_PORT} ssl crt {both} alpn h2,http/1.1\n")
}
