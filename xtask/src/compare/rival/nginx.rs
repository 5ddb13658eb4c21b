//! nginx with one worker and a pool of connections to the servers.

use super::{Running, own_address};
use crate::compare::backend::{nginx, nginx_head, nginx_paths};
use crate::compare::topology::{Node, Target, VIP_L7, WEB, WEB_PORT};
use crate::compare::{Failure, Site};

pub(super) fn start(site: &Site<'_>) -> Result<Running, Failure> {
    own_address(site, VIP_L7)?;
    let child = nginx(site, Node::Balancer, &config(site))?;
    Ok(Running { child: Some(child), target: Target { address: VIP_L7 } })
}

fn config(site: &Site<'_>) -> String {
    let [web1, web2] = WEB;
    format!(
        "{head}
http {{
    {paths}
    access_log off;
    keepalive_requests 1000000000;
    upstream web {{
        server {web1}:{WEB_PORT};
        server {web2}:{WEB_PORT};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {VIP_L7}:{WEB_PORT} backlog=4096;
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
",
        head = nginx_head(site),
        paths = nginx_paths(site),
    )
}
