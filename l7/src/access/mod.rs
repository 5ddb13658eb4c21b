//! Which requests a service takes at all: by client, method, path, fields and user agent.
//!
//! # Theory of operation
//! A service has a list of rules. The first that fits a request allows or denies it; one that none fits is
//! allowed. A rule fits if each of its conditions does, and a condition that is a list if one of the list
//! does.
//!
//! **Paths** can be spelt in many ways that a backend takes for one: `/admin`, `/%61dmin`, `//admin`,
//! `/admin;x`. A path is looked at as it was received and as a lenient server would read it ([`paths`]). A
//! rule that denies fits if either does; one that allows only if both do. So a spelling never gets around
//! a rule.
//!
//! **Lists** can be files ([`list`]): they are read again when they change, by whoever holds the
//! [`Renewed`] list, and a file that cannot be used changes nothing.

pub mod list;
pub mod paths;
pub mod pattern;

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, StatusCode};
use netstack::wire::Address;

use crate::http1::head::Fields;
use crate::renewed::Renewed;
use list::Networks;
use pattern::{Pattern, Patterns};

/// What a rule does with a request that it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Allow,
    /// It is answered with that status.
    Deny(StatusCode),
}

/// Things that are written down, and things in a file: a condition fits if one of either does.
#[derive(Clone, Debug, Default)]
pub struct Listed<T> {
    /// Written down.
    pub inline: T,
    /// In a file.
    pub file: Option<Arc<Renewed<T>>>,
}

impl<T> Listed<T> {
    fn fits(&self, fits: impl Fn(&T) -> bool) -> bool {
        fits(&self.inline) || self.file.as_ref().is_some_and(|file| fits(&file.get()))
    }
}

/// A rule; what is none is no condition.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What follows.
    pub action: Action,
    /// Networks of clients.
    pub clients: Option<Listed<Networks>>,
    /// Methods.
    pub methods: Vec<Method>,
    /// Paths without the query.
    pub paths: Option<Listed<Patterns>>,
    /// Fields that there must be, by their name in small letters, with a value that fits. All of them.
    pub headers: Vec<(String, Pattern)>,
    /// Values of `User-Agent`, in any case; a request without one has an empty one.
    pub agents: Option<Listed<Patterns>>,
}

impl Rule {
    /// One that fits every request.
    pub const fn all(action: Action) -> Self {
        Self {
            action,
            clients: None,
            methods: Vec::new(),
            paths: None,
            headers: Vec::new(),
            agents: None,
        }
    }

    fn fits(&self, asked: &Asked<'_>, lenient: &[u8]) -> bool {
        let clients = |list: &Listed<Networks>| list.fits(|nets| nets.contains(asked.client));
        let path = |path: &[u8]| {
            self.paths.as_ref().is_none_or(|list| list.fits(|paths| paths.fits(path)))
        };
        let paths = match self.action {
            Action::Allow => path(asked.path) && path(lenient),
            Action::Deny(_) => path(asked.path) || path(lenient),
        };
        let header = |(name, pattern): &(String, Pattern)| {
            asked.fields.named(name).any(|value| pattern.fits(value, pattern::Case::Counts))
        };
        let agents = |list: &Listed<Patterns>| {
            let mut values = asked.fields.named("user-agent").peekable();
            if values.peek().is_none() {
                return list.fits(|agents| agents.fits(b""));
            }
            values.any(|value| list.fits(|agents| agents.fits(value)))
        };
        paths
            && self.clients.as_ref().is_none_or(clients)
            && (self.methods.is_empty() || self.methods.contains(asked.method))
            && self.headers.iter().all(header)
            && self.agents.as_ref().is_none_or(agents)
    }
}

/// A request, as far as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The client.
    pub client: IpAddr,
    /// The method.
    pub method: &'a Method,
    /// The path as it is routed and forwarded, without its query.
    pub path: &'a [u8],
    /// Names and values.
    pub fields: &'a Fields<'a, 'a>,
}

/// The rules of a service, in their order.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// These.
    pub const fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// What the request is answered with at once, if it is denied.
    pub fn denies(&self, asked: &Asked<'_>) -> Option<StatusCode> {
        let lenient = paths::lenient(asked.path);
        let first = self.0.iter().find(|rule| rule.fits(asked, &lenient))?;
        match first.action {
            Action::Allow => None,
            Action::Deny(status) => Some(status),
        }
    }
}

/// The address of a list of networks.
fn address(ip: IpAddr) -> Address {
    ip.to_canonical().into()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
