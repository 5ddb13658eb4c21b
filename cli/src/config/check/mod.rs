//! What no single value can tell: names that must be defined, addresses that get in each other's way,
//! files that must be there.

mod address;
mod admission;
mod cache;
mod capture;
mod ethernet;
mod file;
mod health;
mod http2;
mod lab;
mod leg;
mod memory;
mod name;
mod nat;
mod pickup;
mod route;
mod test;
mod tls;
mod tunnel;
mod upstream;

use std::path::Path;

pub(super) use test::check as check_tests;
pub(crate) use test::target;

use super::codes::Code;
use super::diagnostic::Diagnostic;
use super::model::{Config, Span, Spanned, Timeouts};

/// What a check may look at besides the file itself.
#[derive(Clone, Copy, Debug)]
pub enum Environment<'a> {
    /// Nothing: the machine that checks is not the one that runs.
    Ignore,
    /// The files that it names, relative to this folder.
    Check {
        /// The folder of the configuration file; empty for the current one.
        folder: &'a Path,
    },
}

/// Everything that is wrong with a configuration as a whole.
pub fn check(config: &Config, environment: Environment<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    leg::check(config, &mut found);
    if let Some(lab) = &config.lab {
        lab::check(lab, config.complete, &mut found);
    }
    name::check(config, &mut found);
    address::check(config, &mut found);
    nat::check(config, &mut found);
    pickup::check(config, &mut found);
    tunnel::check(config, &mut found);
    tls::check(config, &mut found);
    admission::check(config, &mut found);
    health::check(config, &mut found);
    upstream::check(config, &mut found);
    http2::check(config, &mut found);
    route::check(config, &mut found);
    cache::check(config, &mut found);
    capture::check(config, &mut found);
    memory::check(config, &mut found);
    timeouts(&config.timeouts, &mut found);
    test::check(config, &config.tests, &mut found);
    if let Environment::Check { folder } = environment {
        file::check(config, folder, &mut found);
        admission::check_files(config, folder, &mut found);
        ethernet::check_kernel(config, &mut found);
    }
    found
}

/// Warns of timeouts that break connections which the RFCs want kept.
fn timeouts(timeouts: &Timeouts, found: &mut Vec<Diagnostic>) {
    for (timeout, least, text, rfc) in [
        (&timeouts.tcp_established, 7_440, "2h4m", "RFC 5382 REQ-5"),
        (&timeouts.tcp_transitory, 240, "4m", "RFC 5382 REQ-5"),
        (&timeouts.tcp_half_open, 240, "4m", "RFC 7857 section 2.1"),
        (&timeouts.tcp_closing, 240, "4m", "RFC 7857 section 2.1"),
        (&timeouts.udp, 120, "2m", "RFC 4787 REQ-5"),
        (&timeouts.icmp, 60, "60s", "RFC 5508 REQ-2"),
    ] {
        if timeout.is_written() && timeout.as_secs() < least {
            found.push(Diagnostic::new(
                Code::ShortTimeout,
                format!("the timeout is shorter than `{text}`"),
                timeout.span.clone(),
                format!("{rfc} asks for at least {text}"),
                format!("write `\"{text}\"` or more"),
            ));
        }
    }
}

/// One diagnostic for each name that was used before.
fn duplicates<'a>(
    names: impl IntoIterator<Item = &'a Spanned<String>>,
    what: &str,
    found: &mut Vec<Diagnostic>,
) {
    let mut first = std::collections::HashMap::<&str, &Span>::new();
    for name in names {
        match first.get(name.value.as_str()) {
            None => {
                first.insert(&name.value, &name.span);
            }
            Some(&span) => found.push(
                Diagnostic::new(
                    Code::DuplicateName,
                    format!("{what} `{}` is defined twice", name.value),
                    name.span.clone(),
                    "the same name again",
                    "give one of them another name",
                )
                .with(span.clone(), "first used here"),
            ),
        }
    }
}
