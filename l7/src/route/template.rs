//! Texts with parts that each request decides: `/new/{rest}`.

use std::fmt;

use super::condition::Ask;
use super::path::PathPattern;

/// A text with parts that each request decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<[u8]>),
    /// What the route's path captured by that name.
    Capture(Box<str>),
    Own(Own),
}

/// What every request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    Host,
    Path,
    Query,
    /// With its `?`; nothing if there is none.
    AskedQuery,
    Target,
    Scheme,
    Client,
    Method,
}

const OWN: [(&str, Own); 8] = [
    ("host", Own::Host),
    ("path", Own::Path),
    ("query", Own::Query),
    ("?query", Own::AskedQuery),
    ("target", Own::Target),
    ("scheme", Own::Scheme),
    ("client", Own::Client),
    ("method", Own::Method),
];

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTemplate {
    /// A `{` has no `}`, or the other way round.
    Braces,
    /// Nothing of that name is there: the names that are.
    Unknown(String, Vec<String>),
}

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Braces => f.write_str("`{` and `}` are around a name; `{{` is a brace"),
            Self::Unknown(name, known) => {
                write!(f, "`{{{name}}}` is none of `{{{}}}`", known.join("}`, `{"))
            }
        }
    }
}

/// Whether every request has something of that name, so that no capture can be called so.
pub fn is_own(name: &str) -> bool {
    OWN.iter().any(|(own, _)| *own == name)
}

/// What a request is, as its connection has it.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The request.
    pub ask: &'a Ask<'a>,
    /// Over TLS.
    pub secure: bool,
    /// The path's pattern of its route.
    pub path: Option<&'a PathPattern>,
}

impl Template {
    /// The template that is written as `text`; of captures those of `path` are known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, path: Option<&PathPattern>) -> Result<Self, BadTemplate> {
        let captures = path.map(PathPattern::names).unwrap_or_default();
        let mut parts = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.extend_from_slice(before.as_bytes());
            if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
                plain.extend_from_slice(&from.as_bytes()[..1]);
                rest = after;
                continue;
            }
            let named = from.strip_prefix('{').and_then(|from| from.split_once('}'));
            let Some((name, after)) = named else { return Err(BadTemplate::Braces) };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain).into()));
            }
            let own = OWN.iter().find(|(own, _)| *own == name);
            parts.push(match own {
                Some((_, own)) => Part::Own(*own),
                None if captures.contains(&name) => Part::Capture(name.into()),
                None => {
                    let own = OWN.iter().map(|(own, _)| *own);
                    let known = captures.into_iter().chain(own).map(str::to_owned);
                    return Err(BadTemplate::Unknown(name.to_owned(), known.collect()));
                }
            });
            rest = after;
        }
        plain.extend_from_slice(rest.as_bytes());
        if !plain.is_empty() {
            parts.push(Part::Text(plain.into()));
        }
        Ok(Self { text: text.into(), parts })
    }

    /// The text, if no request changes it.
    pub fn fixed(&self) -> Option<&[u8]> {
        match &self.parts[..] {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text for a request.
    pub fn render(&self, scene: &Scene<'_>) -> Vec<u8> {
        let ask = scene.ask;
        let mut out = Vec::with_capacity(self.text.len() + 64);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Own(own) => own.render(scene, &mut out),
                Part::Capture(wanted) => {
                    let Some(path) = scene.path else { continue };
                    path.capture(ask.path, |name, range| {
                        if name == &**wanted {
                            out.extend_from_slice(ask.path.get(range).unwrap_or_default());
                        }
                    });
                }
            }
        }
        // What a client says after the first slash must not become another host.
        if self.text.starts_with('/') && !self.text.starts_with("//") {
            let slashes = out.iter().take_while(|&&byte| byte == b'/').count();
            out.drain(..slashes.saturating_sub(1));
        }
        out
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Own {
    fn render(self, scene: &Scene<'_>, out: &mut Vec<u8>) {
        let ask = scene.ask;
        let query = |mark: &[u8], out: &mut Vec<u8>| {
            if let Some(query) = ask.query {
                out.extend_from_slice(mark);
                out.extend_from_slice(query);
            }
        };
        match self {
            Self::Host => out.extend_from_slice(ask.host),
            Self::Path => out.extend_from_slice(ask.path),
            Self::Query => query(b"", out),
            Self::AskedQuery => query(b"?", out),
            Self::Target => {
                out.extend_from_slice(ask.path);
                query(b"?", out);
            }
            Self::Scheme => {
                out.extend_from_slice(if scene.secure { b"https" } else { b"http" });
            }
            Self::Client => out.extend_from_slice(ask.client.to_string().as_bytes()),
            Self::Method => out.extend_from_slice(ask.method.as_str().as_bytes()),
        }
    }
}
