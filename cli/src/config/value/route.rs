//! Parts of routes: hosts, paths, values, and texts that requests fill in.

use hyper::Method;
use l7::http1::chars;
use l7::http1::edits::{Edits, Forbidden, is_host};
use l7::route::{
    BadPath, BadTemplate, MILLION, PathPattern, Sticky, Template, TextPattern, is_own,
};
use l7::tls::names;

use super::super::codes::Code;
use super::{Parsed, complain, percentage};

/// A host, or `*.` and one.
pub(in super::super) fn route_host(text: &str) -> Parsed<String> {
    let is_v6 = text.starts_with('[') && text.ends_with(']') && is_host(text);
    if names::is_pattern(text) || is_v6 {
        return Ok(text.to_owned());
    }
    complain(
        Code::BadCondition,
        "is not a host",
        "a name, or `*.` and a name for one label more; no port",
        "write `api.lab` or `*.lab`",
    )
}

/// A path, whose segments may be `{name}`, and which may end with `*`.
pub(in super::super) fn route_path(text: &str) -> Parsed<PathPattern> {
    checked(PathPattern::parse(text))
}

/// A regular expression for paths.
pub(in super::super) fn route_regex(text: &str) -> Parsed<PathPattern> {
    checked(PathPattern::regex(text))
}

fn checked(parsed: Result<PathPattern, BadPath>) -> Parsed<PathPattern> {
    let path = match parsed {
        Ok(path) => path,
        Err(why) => {
            let help = match &why {
                BadPath::NotNormal(Some(normal)) => format!("write `{normal}`"),
                BadPath::Regex(_) => "write one such as `^/v[0-9]+/`".to_owned(),
                _ => "write a path such as `/users/{id}/*`".to_owned(),
            };
            let what = "is not a path of a route";
            return complain(Code::BadRoutePath, what, why.to_string(), help);
        }
    };
    if let Some(taken) = path.names().into_iter().find(|name| is_own(name)) {
        let label = format!("`{{{taken}}}` stands for that of the request");
        let help = "call what is captured differently";
        return complain(Code::BadRoutePath, "captures a name that is taken", label, help);
    }
    Ok(path)
}

/// A method.
pub(in super::super) fn method(text: &str) -> Parsed<Method> {
    let upper = text.bytes().all(|byte| !byte.is_ascii_lowercase());
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if upper && method != Method::CONNECT => Ok(method),
        _ => complain(
            Code::BadCondition,
            "is not a method",
            "methods are words in capital letters, such as GET",
            format!("write `{}`", text.to_ascii_uppercase()),
        ),
    }
}

/// The name of a field that a condition looks at, in small letters.
pub(in super::super) fn condition_field(text: &str) -> Parsed<String> {
    if chars::token(text.as_bytes()) {
        return Ok(text.to_ascii_lowercase());
    }
    let label = "letters, digits, `-` and few other marks";
    complain(Code::BadCondition, "is not a name of a field", label, "write a name such as `x-team`")
}

/// The name of a cookie.
pub(in super::super) fn cookie_name(text: &str) -> Parsed<String> {
    if chars::token(text.as_bytes()) {
        return Ok(text.to_owned());
    }
    let label = "letters, digits, `-` and few other marks";
    complain(Code::BadCondition, "is not a name of a cookie", label, "write a name such as `arm`")
}

/// A value: `*`, `x*`, `~REGEX`, or itself.
pub(in super::super) fn route_text(text: &str) -> Parsed<TextPattern> {
    TextPattern::parse(text).or_else(|why| {
        let help = "write one such as `~^v[0-9]+$`";
        complain(Code::BadCondition, "is not a regular expression", why, help)
    })
}

/// A type of a body, without parameters.
pub(in super::super) fn content_type(text: &str) -> Parsed<TextPattern> {
    let lower = text.to_ascii_lowercase();
    let plain = !text.contains([';', ' ', ',']) && text.contains('/');
    match TextPattern::parse(&lower) {
        Ok(pattern) if plain => Ok(pattern),
        _ => complain(
            Code::BadCondition,
            "is not a type of a body",
            "two words with `/` between, without parameters",
            "write `application/json` or `image/*`",
        ),
    }
}

/// A percentage, of a million.
pub(in super::super) fn share(text: &str) -> Parsed<u32> {
    let share = (percentage(text)? * f64::from(MILLION)).round();
    // It is from 0 to a million.
    #[expect(clippy::cast_sign_loss, reason = "a percentage has no sign")]
    let share = share as u32;
    Ok(share)
}

/// `cookie:NAME` or `header:NAME`.
pub(in super::super) fn sticky(text: &str) -> Parsed<Sticky> {
    let name = |name: &str| chars::token(name.as_bytes());
    match text.split_once(':') {
        Some(("cookie", cookie)) if name(cookie) => Ok(Sticky::Cookie(cookie.into())),
        Some(("header", field)) if name(field) => Ok(Sticky::Header(field.into())),
        _ => complain(
            Code::UnknownChoice,
            "is not something to know clients by",
            "expected `cookie:` or `header:`, and a name",
            "write `cookie:arm` or `header:x-user`",
        ),
    }
}

/// The name of a field that may be changed.
pub(in super::super) fn field_name(text: &str) -> Parsed<String> {
    match Edits::check_name(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(Forbidden::Ours) => complain(
            Code::BadField,
            "is not a field that a route may change",
            "it frames the message, or other keys decide it",
            "leave it out; `rewrite.host` changes the host, `forwarded` what is told of clients",
        ),
        Err(_) => {
            let label = "letters, digits, `-` and few other marks";
            let help = "write a name such as `x-team`";
            complain(Code::BadField, "is not a name of a field", label, help)
        }
    }
}

/// The value of a field, always the same.
pub(in super::super) fn field_value(text: &str) -> Parsed<String> {
    if Edits::check_value(text.as_bytes()).is_ok() {
        return Ok(text.to_owned());
    }
    let label = "no control characters, no spaces around";
    complain(Code::BadField, "is not a value of a field", label, "write plain text")
}

/// A text that each request fills in.
pub(in super::super) fn template(text: &str, path: Option<&PathPattern>) -> Parsed<Template> {
    Template::parse(text, path).or_else(|why| {
        let help = match &why {
            BadTemplate::Braces => "write `{{` for a brace".to_owned(),
            BadTemplate::Unknown(name, known) => {
                match super::super::suggest::nearest(name, known.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{{{near}}}`?"),
                    None => "name it in `path`, as in `/users/{id}`".to_owned(),
                }
            }
        };
        complain(Code::BadTemplate, "cannot be filled in", why.to_string(), help)
    })
}

/// The same as the value of a field.
pub(in super::super) fn field_template(text: &str, path: Option<&PathPattern>) -> Parsed<Template> {
    field_value(text)?;
    template(text, path)
}

/// The same as a path, or a URL.
pub(in super::super) fn location(text: &str, path: Option<&PathPattern>) -> Parsed<Template> {
    let begins = ["/", "http://", "https://", "{scheme}://"];
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || !begins.iter().any(|begin| text.starts_with(begin)) {
        return complain(
            Code::BadTemplate,
            "is not a location",
            "a path, or a URL with `http://` or `https://`",
            "write `/new/{rest}` or `https://{host}{target}`",
        );
    }
    template(text, path)
}

/// The same as a path.
pub(in super::super) fn new_path(text: &str, path: Option<&PathPattern>) -> Parsed<Template> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible || !text.starts_with('/') || text.contains(['?', '#']) {
        let label = "begins with `/`; the query has a key of its own";
        return complain(Code::BadTemplate, "is not a path", label, "write `/new/{rest}`");
    }
    template(text, path)
}

/// The same as a host.
pub(in super::super) fn new_host(text: &str, path: Option<&PathPattern>) -> Parsed<Template> {
    let made = template(text, path)?;
    match made.fixed() {
        Some(_) if !is_host(text) => complain(
            Code::BadTemplate,
            "is not a host",
            "a name, and perhaps a port",
            "write `b.lab`",
        ),
        _ => Ok(made),
    }
}

/// Where a script may come from: `https://a.lab`, or `*`.
pub(in super::super) fn origin(text: &str) -> Parsed<String> {
    let lower = text.to_ascii_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    if text == "*" || host.is_some_and(is_host) {
        return Ok(lower);
    }
    complain(
        Code::BadCondition,
        "is not an origin",
        "a scheme, a host and perhaps a port, without a path",
        "write `https://www.lab`, or `*` for any",
    )
}

/// A status of an error, or a class of them: `503`, `5xx`.
pub(in super::super) fn statuses(text: &str) -> Parsed<std::ops::RangeInclusive<u16>> {
    match (text, text.parse::<u16>()) {
        ("4xx", _) => Ok(400..=499),
        ("5xx", _) => Ok(500..=599),
        (_, Ok(status @ 400..=599)) => Ok(status..=status),
        _ => complain(
            Code::UnknownChoice,
            "is not a status of an error",
            "expected a number from 400 to 599, `4xx` or `5xx`",
            "write `503` or `5xx`",
        ),
    }
}

/// The path of a cookie.
pub(in super::super) fn cookie_path(text: &str) -> Parsed<String> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
        return Ok(text.to_owned());
    }
    let label = "begins with `/`, and has no `;` and no spaces";
    complain(Code::BadCondition, "is not a path of a cookie", label, "write `/`")
}
