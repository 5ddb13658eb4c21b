//! Services.

use l7::buffering::Buffering;

use super::{
    Access, AccessLog, ErrorPage, Maintenance, Naming, Route, RouteAction, Rule, Span, Spanned,
    Tcp, Tls,
};

/// Something that balun listens on.
#[derive(Clone, Debug)]
pub struct Service {
    /// The `[[service]]` header.
    pub span: Span,
    /// Unique.
    pub name: Spanned<String>,
    /// Virtual addresses and ports; at least one.
    pub listens: Vec<Spanned<nat::Listen>>,
    /// What happens to a client's flow.
    pub mode: Spanned<Mode>,
    /// In mode `nat`, what is rewritten; default full.
    pub nat: Nat,
    /// With `nat = "tunnel"`, how packets are wrapped; default IP in IP.
    pub tunnel: Option<Spanned<Tunnel>>,
    /// With `tunnel = "gue"`, the UDP port that backends take them at; default 6080.
    pub tunnel_port: Option<Spanned<u16>>,
    /// In mode `nat`, whether connections older than the process are picked up; default not.
    pub pickup: Option<Spanned<bool>>,
    /// Where flows and requests go that nothing else claims.
    pub pool: Option<Spanned<String>>,
    /// In mode `tcp`, pools by the server name that a client asks for.
    pub sni: Vec<SniRoute>,
    /// In modes `tcp` and `http`, which PROXY protocol header goes to backends.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// In modes `tcp` and `http`, networks whose connections begin with a PROXY protocol header.
    pub proxy_protocol_from: Vec<Spanned<nat::Prefix>>,
    /// In mode `http`, how clients speak to it over TLS; none is plain text.
    pub tls: Option<Tls>,
    /// In mode `http` without TLS, whether clients may speak HTTP/2 by prior knowledge; default not.
    pub http2: Option<Spanned<bool>>,
    /// In mode `http`, what backends are told about clients; default append.
    pub forwarded: Forwarded,
    /// In mode `http`, in which fields; default those that begin with `X-Forwarded-`.
    pub spelling: l7::http1::encode::Spelling,
    /// In mode `http`, networks of proxies that are believed about their clients; default all.
    pub trusted: Vec<Spanned<nat::Prefix>>,
    /// In mode `http`, read what goes to a backend once more by another reader; default not.
    pub smuggling_proof: bool,
    /// In modes `tcp` and `http`, how backends are reached; default userspace.
    pub upstream: Upstream,
    /// In modes `tcp` and `http`, where connections or requests are written down.
    pub access_log: Option<AccessLog>,
    /// In mode `http`, what requests are called.
    pub naming: Naming,
    /// In mode `http`, bytes of a request's body; beyond is 413. Default no limit.
    pub max_body: Option<u64>,
    /// In mode `http`, which messages are kept whole.
    pub buffering: Buffering,
    /// In mode `http`, what errors of ours look like.
    pub pages: Vec<ErrorPage>,
    /// In mode `http`, present while it is down on purpose.
    pub maintenance: Option<Maintenance>,
    /// In mode `http`, what happens to a request; the first that fits.
    pub routes: Vec<Route>,
    /// In modes `tcp` and `http`, what is set of its TCP connections.
    pub tcp: Tcp,
    /// In modes `tcp` and `http`, how long what is waited for.
    pub timeouts: l7::Timeouts,
    /// In mode `http`, when a request is sent again; default never.
    pub retry: l7::upstream::Retry,
    /// In mode `http`, time without an answer after which a request is sent to a second backend too.
    pub hedge_after: Option<std::time::Duration>,
    /// Who may use it, and how much of it.
    pub access: Access,
    /// In mode `http`, which requests it takes; the first that fits decides.
    pub rules: Vec<Rule>,
}

impl Service {
    /// Every pool that it may send to, the one that nothing else claims first; by whichever key.
    pub fn pools(&self) -> impl Iterator<Item = &Spanned<String>> {
        let by_sni = self.sni.iter().map(|route| &route.pool);
        let by_route = self.routes.iter().flat_map(|route| {
            let mut pools: Vec<_> = match &route.action {
                RouteAction::Pool(pool) => vec![pool],
                RouteAction::Split { parts, .. } => parts.iter().map(|(pool, _)| pool).collect(),
                RouteAction::Redirect { .. } | RouteAction::Respond(_) => Vec::new(),
            };
            pools.extend(route.mirror.as_ref().map(|(pool, _)| pool));
            pools
        });
        self.pool.iter().chain(by_sni).chain(by_route)
    }

    /// True if connections older than the process are picked up.
    pub fn picks_up(&self) -> bool {
        self.pickup.as_ref().is_some_and(|pickup| pickup.value)
    }

    /// True if packets are wrapped for its backends.
    pub fn is_tunnel(&self) -> bool {
        self.mode.value == Mode::Nat && self.nat == Nat::Tunnel
    }

    /// True if sockets of the host reach its backends.
    pub fn is_by_kernel(&self) -> bool {
        self.mode.value != Mode::Nat && self.upstream == Upstream::Kernel
    }
}

/// What happens to a client's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its packets are rewritten.
    Nat,
    /// It is ended here and spliced to a second connection.
    Tcp,
    /// It is ended here and each request goes its own way.
    Http,
}

impl Mode {
    /// The word that a file uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

/// What mode `nat` rewrites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nat {
    /// Source and destination.
    #[default]
    Full,
    /// The destination alone; answers must come back through balun.
    Dnat,
    /// Nothing: packets are wrapped, and backends answer clients directly.
    Tunnel,
}

/// How packets are wrapped with `nat = "tunnel"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// IP in Generic UDP Encapsulation.
    Gue,
}

/// How connections to backends are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstream {
    /// By user-space TCP, out through the legs.
    #[default]
    Userspace,
    /// By sockets of the host, in the namespace of the process; no leg and no SNAT address is needed.
    Kernel,
}

/// A server name and the pool of its connections.
#[derive(Clone, Debug)]
pub struct SniRoute {
    /// A host name, or `*.` and a name for one label more, in lower case.
    pub name: Spanned<String>,
    /// A pool.
    pub pool: Spanned<String>,
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Text.
    V1,
    /// Binary.
    V2,
}

/// What backends are told about clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// What the client said, and one entry more.
    #[default]
    Append,
    /// Our own words alone.
    Replace,
    /// Nothing.
    Hide,
}
