//! Which line of the configuration decided.

use std::fmt;

use nat::account::Subject;
use nat::{PoolId, ServiceId};

use crate::config::model::{Config, Pool, Service, Span};
use crate::config::render::Source;

/// The places of what an engine was made from: it and the configuration number things alike.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    config: &'a Config,
    source: Source<'a>,
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name, as it was given.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl<'a> Places<'a> {
    /// The places of `config` in the text that it was read from.
    pub const fn new(config: &'a Config, source: Source<'a>) -> Self {
        Self { config, source }
    }

    /// Where `subject` is configured; nothing if it stands at its default.
    pub fn of(&self, subject: Subject) -> Option<Place> {
        let config = self.config;
        self.at(match subject {
            Subject::Service(id) => &self.service(id)?.name.span,
            Subject::Pool(id) => &self.pool(id)?.name.span,
            Subject::Backend(pool, id) => {
                &self.pool(pool)?.backends.get(usize::from(id.0))?.name.span
            }
            Subject::Snat => &config.snat.as_ref()?.span,
            Subject::Limits => &config.limits.flows.span,
            Subject::Bypass => &config.bypass.first()?.span,
            Subject::Leg(id) => &config.legs.get(usize::from(id.0))?.name.span,
        })
    }

    /// The line of a span; nothing for that of a default.
    pub fn at(&self, span: &Span) -> Option<Place> {
        let line = self.source.position(span.start).line;
        (!span.is_empty()).then(|| Place { file: self.source.file.to_owned(), line })
    }

    /// The configuration.
    pub const fn config(&self) -> &'a Config {
        self.config
    }

    /// The service of this number.
    pub fn service(&self, id: ServiceId) -> Option<&'a Service> {
        self.config.services.get(usize::from(id.0))
    }

    /// The pool of this number.
    pub fn pool(&self, id: PoolId) -> Option<&'a Pool> {
        self.config.pools.get(usize::from(id.0))
    }
}
