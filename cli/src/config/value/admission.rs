//! Values of `[auth.NAME]`, `[limit.NAME]` and rules.

use std::path::PathBuf;

use l7::http1::chars;
use l7::http1::edits::Edits;
use l7::limit::Key;

use super::{Parsed, complain, path};
use crate::config::codes::Code;

/// The name of a field, in small letters.
pub(crate) fn field(text: &str) -> Parsed<String> {
    if !chars::token(text.as_bytes()) {
        return complain(
            Code::ToldField,
            "is not the name of a field",
            "letters, digits and `-`",
            "write a name such as `x-api-key`",
        );
    }
    Ok(text.to_ascii_lowercase())
}

/// The name of a field in which backends are told something of clients, in small letters.
pub(crate) fn told_field(text: &str) -> Parsed<String> {
    let name = field(text)?;
    let is_taken = ["authorization", "cookie", "set-cookie", "date", "accept"].contains(&&*name);
    if is_taken || Edits::check_name(&name).is_err() {
        return complain(
            Code::ToldField,
            "cannot tell who a client is",
            "this field has another meaning",
            "write a name of your own such as `x-auth-user`",
        );
    }
    Ok(name)
}

/// A file of keys; not where to fetch one.
pub(crate) fn key_set(text: &str) -> Parsed<PathBuf> {
    if text.contains("://") {
        return complain(
            Code::NotYet,
            "is not supported yet as a key set",
            "a later version fetches key sets",
            "write the name of a file, and have it renewed: it is read again when it changes",
        );
    }
    path(text)
}

/// A method of HTTP.
pub(crate) fn rule_method(text: &str) -> Parsed<String> {
    let is_method = chars::token(text.as_bytes()) && !text.bytes().any(|b| b.is_ascii_lowercase());
    if !is_method {
        return complain(
            Code::UnknownChoice,
            "is not a method",
            "methods are written in capital letters",
            "write a method such as `GET` or `DELETE`",
        );
    }
    Ok(text.to_owned())
}

/// What requests are counted by.
pub(crate) fn limit_key(text: &str) -> Parsed<Key> {
    match (text, text.strip_prefix("header:")) {
        ("client-ip", _) => Ok(Key::default()),
        ("identity", _) => Ok(Key::Identity),
        ("route", _) => Ok(Key::Route),
        (_, Some(name)) if chars::token(name.as_bytes()) => {
            Ok(Key::Header(name.to_ascii_lowercase()))
        }
        _ => complain(
            Code::UnknownChoice,
            "is not something to count by",
            "expected `client-ip`, `identity`, `route`, or `header:` and a field",
            "write `client-ip` or `header:x-api-key`",
        ),
    }
}
