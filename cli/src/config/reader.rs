//! A typed way through a parsed file that notes what is wrong and goes on.
//!
//! A [`Table`] is read by taking its keys; the keys asked for are the keys known, so that what is left
//! when [`Table::finish`] is called is unknown. An [`Item`] is read as one type; if it is of another,
//! that is noted and the answer is `None`.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use toml::Spanned as Token;
use toml::de::{DeInteger, DeTable, DeValue};

use super::codes::Code;
use super::diagnostic::{Diagnostic, alternatives, quoted};
use super::model::{Span, Spanned};
use super::not_yet;
use super::suggest::nearest;

/// What was found to be wrong so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Why a text is not the value that it should be.
pub(super) struct Complaint {
    pub(super) code: Code,
    /// Goes on from the text in backticks: "is not a duration".
    pub(super) what: String,
    pub(super) label: String,
    pub(super) help: String,
}

/// Where a key stands: as people read it, and as [`not_yet`] lists it.
#[derive(Clone, Debug)]
struct Path {
    shown: String,
    pattern: String,
    /// This key or one around it was refused already.
    refused: bool,
}

/// A table whose keys are being read.
#[derive(Debug)]
pub(super) struct Table<'d> {
    path: Path,
    /// Its header, or its key if it has none.
    pub(super) span: Span,
    entries: Vec<(&'d Token<Cow<'d, str>>, &'d Token<DeValue<'d>>)>,
    known: Vec<&'static str>,
}

/// A key's value.
#[derive(Debug)]
pub(super) struct Item<'d> {
    path: Path,
    pub(super) key_span: Span,
    /// The value, or its first line.
    pub(super) span: Span,
    value: &'d DeValue<'d>,
}

impl Path {
    /// `shown` and `pattern` are what this path grows by.
    fn join(&self, shown: &str, pattern: &str) -> Self {
        let dot = if self.shown.is_empty() { "" } else { "." };
        Self {
            shown: format!("{}{dot}{shown}", self.shown),
            pattern: format!("{}{dot}{pattern}", self.pattern),
            refused: self.refused,
        }
    }
}

impl Reader {
    pub(super) fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Reports what is wrong with the text at `span`.
    pub(super) fn complain(&mut self, text: &str, span: Span, complaint: Complaint) {
        let title = format!("{} {}", quoted(text), complaint.what);
        self.report(Diagnostic::new(complaint.code, title, span, complaint.label, complaint.help));
    }

    /// Reports that one kind of thing stands where another should.
    fn wrong_type(&mut self, item: &Item<'_>, wanted: &str, help: String) {
        let found = type_name(item.value);
        self.report(Diagnostic::new(
            Code::WrongType,
            format!("{} must be {wanted}", quoted(&item.path.shown)),
            item.span.clone(),
            format!("this is {found}"),
            help,
        ));
    }

    /// Reports a key that is not supported yet, unless one around it was.
    fn refuse_unsupported(&mut self, path: &mut Path, key_span: &Span, remedy: String) {
        if path.refused || !not_yet::refuses(&path.pattern) {
            return;
        }
        path.refused = true;
        self.report(Diagnostic::new(
            Code::NotYet,
            format!("{} is not supported yet", quoted(&path.shown)),
            key_span.clone(),
            "a later version brings this",
            remedy,
        ));
    }
}

impl Spanned<String> {
    /// A name that the user chose, as `parse` understands it.
    pub(super) fn parse<T>(
        self,
        reader: &mut Reader,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        match parse(&self.value) {
            Ok(value) => Some(Spanned::new(value, self.span)),
            Err(complaint) => {
                reader.complain(&self.value, self.span, complaint);
                None
            }
        }
    }
}

impl<'d> Table<'d> {
    /// The table of a whole file.
    pub(super) fn root(table: &'d DeTable<'d>) -> Self {
        let path = Path { shown: String::new(), pattern: String::new(), refused: false };
        Self::new(path, 0..0, table)
    }

    fn new(path: Path, span: Span, table: &'d DeTable<'d>) -> Self {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        Self { path, span, entries, known: Vec::new() }
    }

    /// The table's path, in backticks.
    pub(super) fn path(&self) -> String {
        quoted(&self.path.shown)
    }

    /// True if the key is there and has not been taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, _)| k.get_ref() == key)
    }

    /// The place of the key, if it is there and has not been taken.
    pub(super) fn span_of(&self, key: &str) -> Option<Span> {
        let entry = self.entries.iter().find(|(k, _)| k.get_ref() == key);
        entry.map(|(key, _)| key.span())
    }

    /// True if a key is there that has not been taken.
    pub(super) const fn is_left(&self) -> bool {
        !self.entries.is_empty()
    }

    /// The key's value, if the key is there.
    pub(super) fn take(&mut self, reader: &mut Reader, key: &'static str) -> Option<Item<'d>> {
        self.known.push(key);
        let at = self.entries.iter().position(|(k, _)| k.get_ref() == key)?;
        let (key_token, value) = self.entries.remove(at);
        let mut path = self.path.join(key, key);
        let key_span = key_token.span();
        let remedy = format!("remove the key `{key}`");
        reader.refuse_unsupported(&mut path, &key_span, remedy);
        Some(Item { path, key_span, span: value.span(), value: value.get_ref() })
    }

    /// The key's value; that the key is missing is an error.
    pub(super) fn require(
        &mut self,
        reader: &mut Reader,
        key: &'static str,
        example: &str,
    ) -> Option<Item<'d>> {
        let item = self.take(reader, key);
        if item.is_none() {
            let what = if self.path.shown.is_empty() { "the file" } else { &self.path.shown };
            let what = if self.path.shown.is_empty() { what.to_owned() } else { quoted(what) };
            reader.report(Diagnostic::new(
                Code::MissingKey,
                format!("{what} has no `{key}`"),
                self.span.clone(),
                format!("`{key}` is missing here"),
                format!("add `{key} = {example}`"),
            ));
        }
        item
    }

    /// Everything that is left, each a name that the user chose with its value.
    pub(super) fn take_named(&mut self, reader: &mut Reader) -> Vec<(Spanned<String>, Item<'d>)> {
        let mut named = Vec::new();
        for (key, value) in self.entries.drain(..) {
            let mut path = self.path.join(key.get_ref(), "*");
            let key_span = key.span();
            let remedy = format!("remove the table `[{}]`", path.shown);
            reader.refuse_unsupported(&mut path, &key_span, remedy);
            let name = Spanned::new(key.get_ref().to_string(), key_span.clone());
            named.push((name, Item { path, key_span, span: value.span(), value: value.get_ref() }));
        }
        named
    }

    /// Calls the table by its `name` key in messages, for one that has no name in its header.
    #[must_use]
    pub(super) fn named_by_its_name(mut self) -> Self {
        let name = self.entries.iter().find(|(key, _)| key.get_ref() == "name");
        match name.and_then(|(_, value)| value.get_ref().as_str()) {
            Some(name) => self.path = self.path.join(name, "*"),
            None => self.path.pattern.push_str(".*"),
        }
        self
    }

    /// The keys that were written and not yet taken, with what refuses them left out.
    pub(super) fn supported_keys(&self) -> impl Iterator<Item = (&'d str, Span)> {
        self.entries
            .iter()
            .filter(|(key, _)| !not_yet::refuses(&self.path.join("", key.get_ref()).pattern))
            .map(|(key, _)| (key.get_ref().as_ref(), key.span()))
    }

    /// Ends the reading: keys that nobody asked for are unknown.
    pub(super) fn finish(self, reader: &mut Reader) {
        for (key, _) in &self.entries {
            let name = key.get_ref();
            let path = self.path.join(name, name);
            let help = if let Some(known) = nearest(name, self.known.iter().copied()) {
                format!("did you mean `{known}`?")
            } else {
                let usable = |known: &&str| !not_yet::refuses(&self.path.join("", known).pattern);
                let usable: Vec<_> = self.known.iter().copied().filter(usable).collect();
                format!("remove it, or write one of {}", alternatives(&usable))
            };
            reader.report(Diagnostic::new(
                Code::UnknownKey,
                format!("{} is not a known key", quoted(&path.shown)),
                key.span(),
                "unknown key",
                help,
            ));
        }
    }
}

impl<'d> Item<'d> {
    /// The key's path, in backticks.
    pub(super) fn path(&self) -> String {
        quoted(&self.path.shown)
    }

    /// True for a string, where something else may stand too.
    pub(super) const fn is_text(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    pub(super) fn text(&self, reader: &mut Reader) -> Option<Spanned<&'d str>> {
        if let DeValue::String(text) = self.value {
            return Some(Spanned::new(text, self.span.clone()));
        }
        let help = match self.value {
            DeValue::Integer(number) => format!("put it in quotes: `\"{number}\"`"),
            DeValue::Float(number) => format!("put it in quotes: `\"{number}\"`"),
            DeValue::Boolean(value) => format!("put it in quotes: `\"{value}\"`"),
            DeValue::Array(_) => "write one string, without brackets".to_owned(),
            _ => "write a string, in double quotes".to_owned(),
        };
        reader.wrong_type(self, "a string", help);
        None
    }

    /// A string that is not empty.
    pub(super) fn words(&self, reader: &mut Reader) -> Option<Spanned<String>> {
        self.parse(reader, super::value::words)
    }

    /// A string that `parse` understands.
    pub(super) fn parse<T>(
        &self,
        reader: &mut Reader,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Spanned<T>> {
        let text = self.text(reader)?;
        match parse(text.value) {
            Ok(value) => Some(Spanned::new(value, text.span)),
            Err(complaint) => {
                reader.complain(text.value, text.span, complaint);
                None
            }
        }
    }

    /// One of a few words. `what` is what they are called: "a scheduler".
    pub(super) fn choice<T: Copy>(
        &self,
        reader: &mut Reader,
        what: &str,
        choices: &[(&str, T)],
    ) -> Option<Spanned<T>> {
        let text = self.text(reader)?;
        let supported = |name: &&str| !not_yet::refuses_value(&self.path.pattern, name);
        let Some((name, value)) = choices.iter().find(|(name, _)| *name == text.value) else {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let usable: Vec<_> = names.iter().copied().filter(supported).collect();
            let help = match nearest(text.value, names) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("write {}", alternatives(&usable)),
            };
            reader.report(Diagnostic::new(
                Code::UnknownChoice,
                format!("{} is not {what}", quoted(text.value)),
                text.span,
                format!("not {what}"),
                help,
            ));
            return None;
        };
        if !self.path.refused && !supported(name) {
            let usable: Vec<_> = choices.iter().map(|(name, _)| *name).filter(supported).collect();
            reader.report(Diagnostic::new(
                Code::NotYet,
                format!("`{} = \"{name}\"` is not supported yet", self.path.shown),
                text.span.clone(),
                "a later version brings this",
                format!("use {}", alternatives(&usable)),
            ));
        }
        Some(Spanned::new(*value, text.span))
    }

    /// A whole number within `range`.
    pub(super) fn integer<T>(
        &self,
        reader: &mut Reader,
        range: RangeInclusive<T>,
    ) -> Option<Spanned<T>>
    where
        T: TryFrom<u64> + PartialOrd + std::fmt::Display,
    {
        let DeValue::Integer(number) = self.value else {
            let unquoted = match self.value {
                DeValue::String(text) => text.parse::<u64>().ok(),
                _ => None,
            };
            let help = match unquoted {
                Some(number) => format!("remove the quotes: `{number}`"),
                None => format!("write a number from {} to {}", range.start(), range.end()),
            };
            reader.wrong_type(self, "a whole number", help);
            return None;
        };
        let value = unsigned(number).and_then(|n| T::try_from(n).ok());
        if let Some(value) = value.filter(|value| range.contains(value)) {
            return Some(Spanned::new(value, self.span.clone()));
        }
        let (least, most) = (range.start(), range.end());
        reader.report(Diagnostic::new(
            Code::OutOfRange,
            format!("{} is out of range", quoted(&number.to_string())),
            self.span.clone(),
            format!("must be from {least} to {most}"),
            format!("write a number from {least} to {most}"),
        ));
        None
    }

    pub(super) fn boolean(&self, reader: &mut Reader) -> Option<Spanned<bool>> {
        if let DeValue::Boolean(value) = self.value {
            return Some(Spanned::new(*value, self.span.clone()));
        }
        reader.wrong_type(self, "true or false", "write `true` or `false`, without quotes".into());
        None
    }

    pub(super) fn array(&self, reader: &mut Reader) -> Option<Vec<Item<'d>>> {
        let DeValue::Array(array) = self.value else {
            let help = match self.value {
                DeValue::String(text) => format!("put it in brackets: `[\"{text}\"]`"),
                DeValue::Table(_) => {
                    format!("write `[[{}]]`, with two brackets", self.path.shown)
                }
                _ => "write a list, in brackets".to_owned(),
            };
            reader.wrong_type(self, "a list", help);
            return None;
        };
        let item = |value: &'d Token<DeValue<'d>>| Item {
            path: self.path.clone(),
            key_span: self.key_span.clone(),
            span: value.span(),
            value: value.get_ref(),
        };
        Some(array.iter().map(item).collect())
    }

    pub(super) fn table(&self, reader: &mut Reader) -> Option<Table<'d>> {
        let DeValue::Table(table) = self.value else {
            let help = match self.value {
                DeValue::Array(_) => format!("write `[{}]`, with single brackets", self.path.shown),
                _ => "write a table, in braces".to_owned(),
            };
            reader.wrong_type(self, "a table", help);
            return None;
        };
        Some(Table::new(self.path.clone(), self.span.clone(), table))
    }

    /// A list whose items `each` reads. What it cannot read it has reported.
    pub(super) fn list<T>(
        &self,
        reader: &mut Reader,
        mut each: impl FnMut(&mut Reader, Item<'d>) -> Option<T>,
    ) -> Vec<T> {
        let items = self.array(reader).unwrap_or_default();
        items.into_iter().filter_map(|item| each(reader, item)).collect()
    }

    /// A list that must not be empty. `why` says what it is needed for, `example` is one.
    pub(super) fn filled_list<T>(
        &self,
        reader: &mut Reader,
        why: &str,
        example: &str,
        each: impl FnMut(&mut Reader, Item<'d>) -> Option<T>,
    ) -> Vec<T> {
        if matches!(self.value, DeValue::Array(list) if list.is_empty()) {
            reader.report(Diagnostic::new(
                Code::MissingKey,
                format!("{} is empty", self.path()),
                self.span.clone(),
                why,
                format!("write `{example}`"),
            ));
        }
        self.list(reader, each)
    }

    /// A list that must not be empty, or one item that stands for it.
    pub(super) fn one_or_more<T>(
        self,
        reader: &mut Reader,
        why: &str,
        example: &str,
        mut each: impl FnMut(&mut Reader, Item<'d>) -> Option<T>,
    ) -> Vec<T> {
        match self.value {
            DeValue::Array(_) => self.filled_list(reader, why, example, each),
            _ => each(reader, self).into_iter().collect(),
        }
    }
}

fn unsigned(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

const fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
