//! Claims of a token as the values of fields.

use serde_json::{Map, Value};

use crate::auth::is_value;
use crate::limits::CLAIM_BYTES;

/// Which claim: names from the outside in, `realm_access.roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    path: Vec<String>,
    whole: String,
}

/// A claim that is no field's value, since it has a control character or is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit;

impl Claim {
    /// The claim of that name; dots lead into objects, unless there is one of the whole name.
    pub fn new(name: &str) -> Self {
        Self { path: name.split('.').map(str::to_owned).collect(), whole: name.to_owned() }
    }

    /// Its value as text: of a list, its members with commas between. Nothing if there is none, or it is an
    /// object.
    pub(super) fn value(&self, claims: &Map<String, Value>) -> Result<Option<String>, Unfit> {
        let Some(value) = self.find(claims) else { return Ok(None) };
        let text = match value {
            Value::Array(list) => {
                let members: Vec<_> = list.iter().filter_map(scalar).collect();
                // A member with a comma would read as two.
                if members.iter().any(|member| member.contains(',')) {
                    return Err(Unfit);
                }
                Some(members.join(","))
            }
            value => scalar(value),
        };
        let Some(text) = text else { return Ok(None) };
        if text.len() > CLAIM_BYTES || !is_value(text.as_bytes()) || text.trim() != text {
            return Err(Unfit);
        }
        Ok(Some(text))
    }

    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        if let Some(value) = claims.get(&self.whole) {
            return Some(value);
        }
        let (first, rest) = self.path.split_first()?;
        let inner = |value: &'a Value, name: &String| value.as_object()?.get(name);
        rest.iter().try_fold(claims.get(first)?, inner)
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_told_as_text() {
        let claims = r#"{"sub":"alice","n":7,"ok":true,"roles":["a","b",3],"empty":[],
            "realm":{"roles":["x"],"deep":{"y":"z"}},"https://e.org/id":"u1","obj":{},"nil":null}"#;
        let Value::Object(claims) = serde_json::from_str(claims).unwrap() else { panic!() };
        for (name, value) in [
            ("sub", Some("alice")),
            ("n", Some("7")),
            ("ok", Some("true")),
            ("roles", Some("a,b,3")),
            ("empty", Some("")),
            ("realm.roles", Some("x")),
            ("realm.deep.y", Some("z")),
            ("https://e.org/id", Some("u1")),
            ("obj", None),
            ("nil", None),
            ("missing", None),
            ("sub.x", None),
            ("realm.deep.no", None),
        ] {
            assert_eq!(Claim::new(name).value(&claims).unwrap().as_deref(), value, "{name}");
        }
    }

    #[test]
    fn a_claim_cannot_write_a_second_field() {
        for value in [
            serde_json::json!("a\r\nX-Role: admin"),
            serde_json::json!(["a", "b\n"]),
            serde_json::json!(["user,admin"]),
            serde_json::json!("\u{0}"),
            serde_json::json!(" a"),
            serde_json::json!("x".repeat(CLAIM_BYTES + 1)),
        ] {
            let claims = Map::from_iter([("c".to_owned(), value.clone())]);
            assert_eq!(Claim::new("c").value(&claims), Err(Unfit), "{value}");
        }
    }
}
