//! nginx with one worker and a pool of connections to the servers.

use super::{Running, own_address};
use crate::compare::backend::{nginx, nginx_head, nginx_paths};
use crate::compare::certificate::Certificate;
use crate::compare::topology::{Node, SECURE_PORT, Target, VIP_L7, WEB, WEB_PORT};
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
        {secure}
        client_max_body_size 0;
        proxy_request_buffering off;
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
",
        secure = secure(site),
        head = nginx_head(site),
        paths = nginx_paths(site),
    )
}

/// The same over TLS, if there is a certificate.
fn secure(site: &Site<'_>) -> String {
    let Some(Certificate { chain, key, .. }) = site.certificate else { return String::new() };
    format!(
        "listen {VIP_L7}:{SECURE_PORT} ssl http2 backlog=4096;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_session_cache shared:tls:8m;",
        chain = chain.display(),
        key = key.display(),
    )
}
