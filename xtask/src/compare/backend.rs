//! The servers: nginx with a body of 15 bytes and one of 256 MiB in both namespaces, iperf3 in the first.

use super::children::{Child, Errors};
use super::measure::{Measure, large_file};
use super::tools::Tool;
use super::topology::{Node, STREAM_PORT, WEB_PORT};
use super::{Failure, Site, sink};

/// What the web servers answer.
pub(super) const BODY: &str = "hello, backend!";

/// Starts the servers that `measure` needs and waits until they listen.
///
/// The web servers are always there: that the balancer is ready is asked over HTTP.
pub(super) fn start(site: &Site<'_>, measure: Measure) -> Result<Vec<Child>, Failure> {
    let mut children = Vec::new();
    if measure == Measure::Upload {
        for node in [Node::Web1, Node::Web2] {
            sink::start(site.topology, node)?;
        }
        return Ok(children);
    }
    if measure == Measure::Download {
        large_file(site)?;
    }
    for node in [Node::Web1, Node::Web2] {
        let mut web = web(site, node)?;
        site.topology.wait_for_listener(node, WEB_PORT, || web.check())?;
        children.push(web);
    }
    if measure == Measure::Stream {
        let mut command = site.topology.tool(Node::Web1, Tool::Iperf3);
        command.args(["--server", "--port", &STREAM_PORT.to_string()]);
        let mut stream = Child::start(site.scratch, command, Errors::Kept)?;
        site.topology.wait_for_listener(Node::Web1, STREAM_PORT, || stream.check())?;
        children.push(stream);
    }
    Ok(children)
}

fn web(site: &Site<'_>, node: Node) -> Result<Child, Failure> {
    let config = format!(
        "{head}
http {{
    {paths}
    access_log off;
    keepalive_requests 1000000000;
    server {{
        listen {WEB_PORT} backlog=4096;
        default_type text/plain;
        location / {{ return 200 \"{BODY}\"; }}
        location = /large {{ root {folder}; sendfile on; }}
    }}
}}
",
        folder = site.scratch.directory().display(),
        head = nginx_head(site),
        paths = nginx_paths(site),
    );
    nginx(site, node, &config)
}

/// Starts nginx in the foreground with `config`.
pub(super) fn nginx(site: &Site<'_>, node: Node, config: &str) -> Result<Child, Failure> {
    let config = site.scratch.write("nginx.conf", config)?;
    let mut command = site.topology.tool(node, Tool::Nginx);
    command.arg("-e").arg("stderr").arg("-p").arg(site.scratch.directory()).arg("-c").arg(config);
    Child::start(site.scratch, command, Errors::Kept)
}

/// What every nginx here has in its main context: one worker, in the foreground. It keeps its user,
/// since the directory of the run is open to no other.
pub(super) fn nginx_head(site: &Site<'_>) -> String {
    let pid = site.scratch.path("nginx.pid");
    format!(
        "daemon off;
user root;
worker_processes 1;
error_log stderr error;
pid {pid};
events {{ worker_connections 4096; }}",
        pid = pid.display(),
    )
}

/// The places that nginx writes to, within the directory of the run.
pub(super) fn nginx_paths(site: &Site<'_>) -> String {
    ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};", site.scratch.path(kind).display()))
        .join("\n    ")
}
