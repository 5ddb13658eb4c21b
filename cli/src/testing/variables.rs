//! What patterns capture.

use std::collections::BTreeMap;

/// What patterns have captured so far, by name without the `$`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, String>);

impl Variables {
    /// The value of `$name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `text` with each `$name` replaced by its value.
    ///
    /// # Errors
    /// The first name that has no value.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let name = name_at_start(after);
            out.push_str(self.get(name).ok_or_else(|| name.to_owned())?);
            rest = &after[name.len()..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// The value that `name` has, or gets now.
    pub(super) fn bind(&mut self, name: &str, value: &str) -> Result<(), String> {
        match self.0.get(name) {
            Some(known) if known != value => Err(format!("${name} is {known}, this is {value}")),
            Some(_) => Ok(()),
            None => {
                self.0.insert(name.to_owned(), value.to_owned());
                Ok(())
            }
        }
    }
}

/// The names of the variables that stand in `text`.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(name_at_start)
}

fn name_at_start(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

pub(super) fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    (!name.is_empty() && name_at_start(name) == name).then_some(name)
}
