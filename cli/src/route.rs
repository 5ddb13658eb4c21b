//! Which route a request would take, and why no earlier one.

use std::fmt::Write as _;
use std::net::IpAddr;

use hyper::{Method, Uri};
use l7::http1::head::{self, Strictness};
use l7::route::{Ask, RouteId, Routes};

use crate::config::model::{Config, Mode, Route, RouteAction, Service};

/// A request that is asked about.
#[derive(Debug)]
pub struct Question {
    /// The head, as text of HTTP/1.1.
    head: Vec<u8>,
    /// As it was asked.
    shown: String,
    /// Who asks.
    client: IpAddr,
}

impl Question {
    /// The request `line`: a method and a URL, or a URL alone; with `fields` as `NAME: VALUE`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(line: &str, fields: &[String], client: IpAddr) -> Result<Self, String> {
        let (method, url) = line.split_once(' ').unwrap_or(("GET", line));
        Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is not a method"))?;
        let uri: Uri = url.parse().map_err(|error| format!("`{url}` is not a URL: {error}"))?;
        let Some(authority) = uri.authority() else {
            return Err(format!("`{url}` has no host: write `http://api.lab/`"));
        };
        // The crate leaves the path as it was written, which the rules judge.
        let path = url.find("://").and_then(|at| url.get(at + 3..)).unwrap_or_default();
        let path = path.find(['/', '?']).and_then(|at| path.get(at..)).unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut head = format!("{method} {slash}{path} HTTP/1.1\r\nHost: {authority}\r\n");
        for field in fields {
            let (name, value) = field
                .split_once(':')
                .ok_or_else(|| format!("`{field}` is not a field: write `x-team: a`"))?;
            let _ = write!(head, "{}: {}\r\n", name.trim(), value.trim());
        }
        head.push_str("\r\n");
        Ok(Self { head: head.into_bytes(), shown: format!("{method} {url}"), client })
    }

    /// What becomes of it at each service of `config` that has routes, or at the one called `service`.
    ///
    /// # Errors
    /// The request breaks a rule, or there is no such service.
    pub fn answer(
        &self,
        config: &Config,
        service: Option<&str>,
        line: impl Fn(&Route) -> usize,
    ) -> Result<String, String> {
        let fits = |one: &&Service| match service {
            Some(name) => one.name.value == name,
            None => one.mode.value == Mode::Http,
        };
        let services: Vec<_> = config.services.iter().filter(fits).collect();
        if services.is_empty() {
            return Err(match service {
                Some(name) => format!("there is no service `{name}`"),
                None => "there is no service of mode `http`".to_owned(),
            });
        }
        let mut out = format!("{}\n", self.shown);
        for service in services {
            self.at(service, &line, &mut out)?;
        }
        Ok(out)
    }

    fn at(
        &self,
        service: &Service,
        line: &impl Fn(&Route) -> usize,
        out: &mut String,
    ) -> Result<(), String> {
        let mut slots = head::slots();
        let head = head::parse_request(&self.head, &mut slots, Strictness::default())
            .map_err(|reject| format!("the request is refused: {reject}"))?;
        let listens: Vec<_> = service.listens.iter().map(|listen| listen.to_string()).collect();
        let _ = writeln!(out, "service  {}  {}", *service.name, listens.join(", "));
        if let Some(down) = &service.maintenance {
            let client = netstack::wire::Address::from(self.client);
            if !down.allow.iter().any(|network| network.contains(client)) {
                let status = down.respond.status.as_u16();
                let _ = writeln!(out, "down     maintenance: answered with {status}");
                return Ok(());
            }
        }
        let routes = service.routes.iter().map(|route| {
            let mut own = l7::route::Route::new(l7::route::Action::To(0));
            own.condition = route.condition.clone();
            own
        });
        let routes = Routes::new(routes.collect(), None);
        let ask = Ask::new(&head, self.client, 0);
        let (passed, taken) = routes.explain(&ask);
        for (id, why) in &passed {
            row(service, *id, line, &format!("not taken: {why}"), out);
        }
        match (taken, &service.pool) {
            (Some(id), _) => {
                let route = service.routes.get(id.0 as usize);
                let action = route.map(action).unwrap_or_default();
                row(service, id, line, &format!("taken: {action}"), out);
            }
            (None, Some(pool)) => {
                let _ = writeln!(out, "default  pool {}", **pool);
            }
            (None, None) => out.push_str("default  404, no route\n"),
        }
        Ok(())
    }
}

fn row(
    service: &Service,
    id: RouteId,
    line: &impl Fn(&Route) -> usize,
    what: &str,
    out: &mut String,
) {
    let at = service.routes.get(id.0 as usize).map(line).unwrap_or_default();
    let _ = writeln!(out, "route    {} (line {at})  {what}", id.0 + 1);
}

/// What a route does with its requests, in a few words.
pub fn action(route: &Route) -> String {
    match &route.action {
        RouteAction::Pool(pool) => format!("pool {}", **pool),
        RouteAction::Split { parts, .. } => {
            let parts: Vec<_> =
                parts.iter().map(|(pool, weight)| format!("{} {weight}", **pool)).collect();
            format!("split: {}", parts.join(", "))
        }
        RouteAction::Redirect { to, status } => format!("{} to {to}", status.as_u16()),
        RouteAction::Respond(respond) => format!("answered with {}", respond.status.as_u16()),
    }
}
