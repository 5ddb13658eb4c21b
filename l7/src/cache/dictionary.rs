//! Dictionaries of structured fields (RFC 9651 section 3.2), as far as directives need them.

/// The value of a member; its parameters are read and forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// True where there is a name alone.
    Flag(bool),
    Integer(i64),
    /// A string.
    Text(Vec<u8>),
    /// A decimal, a token, bytes, an inner list: no directive has one.
    Other,
}

/// The members of a dictionary in their order, each name with the last of its values. None if `text` is
/// not one.
pub(super) fn parse(text: &[u8]) -> Option<Vec<(&[u8], Item)>> {
    let mut input = Input(text);
    let mut members: Vec<(&[u8], Item)> = Vec::new();
    input.skip(b" ");
    while !input.0.is_empty() {
        let name = input.key()?;
        let item = if input.eat(b'=') { input.member()? } else { Item::Flag(true) };
        input.parameters()?;
        members.retain(|(known, _)| *known != name);
        members.push((name, item));
        input.skip(b" \t");
        if input.0.is_empty() {
            break;
        }
        if !input.eat(b',') {
            return None;
        }
        input.skip(b" \t");
        if input.0.is_empty() {
            return None;
        }
    }
    Some(members)
}

struct Input<'v>(&'v [u8]);

impl<'v> Input<'v> {
    fn skip(&mut self, set: &[u8]) {
        self.take_while(|byte| set.contains(&byte));
    }

    fn eat(&mut self, wanted: u8) -> bool {
        let found = self.0.first() == Some(&wanted);
        if found {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        found
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'v [u8] {
        let end = self.0.iter().position(|&byte| !accept(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<&'v [u8]> {
        self.0.first().filter(|first| first.is_ascii_lowercase() || **first == b'*')?;
        let is_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
        Some(self.take_while(is_key))
    }

    fn member(&mut self) -> Option<Item> {
        if !self.eat(b'(') {
            return self.bare();
        }
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return Some(Item::Other);
            }
            self.bare()?;
            self.parameters()?;
            if !matches!(self.0.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip(b" ");
            self.key()?;
            if self.eat(b'=') {
                self.bare()?;
            }
        }
        Some(())
    }

    fn bare(&mut self) -> Option<Item> {
        match self.0.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => {
                self.eat(b'?');
                let flag = self.eat(b'1');
                (flag || self.eat(b'0')).then_some(Item::Flag(flag))
            }
            b':' => {
                self.eat(b':');
                let is_base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
                self.take_while(is_base64);
                self.eat(b':').then_some(Item::Other)
            }
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.take_while(|b| crate::http1::chars::is_token(b) || b == b':' || b == b'/');
                Some(Item::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Item> {
        let negative = self.eat(b'-');
        let digits = self.take_while(|b| b.is_ascii_digit());
        if self.eat(b'.') {
            let fraction = self.take_while(|b| b.is_ascii_digit());
            let good = (1..=12).contains(&digits.len()) && (1..=3).contains(&fraction.len());
            return good.then_some(Item::Other);
        }
        if !(1..=15).contains(&digits.len()) {
            return None;
        }
        let value = digits.iter().fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0'));
        Some(Item::Integer(if negative { -value } else { value }))
    }

    fn string(&mut self) -> Option<Item> {
        self.eat(b'"');
        let mut text = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            match byte {
                b'"' => return Some(Item::Text(text)),
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first()?;
                    self.0 = rest;
                    text.push(Some(escaped).filter(|byte| b"\"\\".contains(byte))?);
                }
                b' '..=b'~' => text.push(byte),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionaries_of_every_type() {
        let members =
            parse(b" a, b=-5;x;y=\"q\", c=\"t\\\"\",\td=?0, e=1.5, f=tok/en, g=(1 2;z), h=:Zg==:")
                .unwrap();
        let found: Vec<_> = members.into_iter().map(|(_, item)| item).collect();
        let other = || Item::Other;
        assert_eq!(
            found,
            [
                Item::Flag(true),
                Item::Integer(-5),
                Item::Text(b"t\"".to_vec()),
                Item::Flag(false),
                other(),
                other(),
                other(),
                other(),
            ]
        );
        assert_eq!(parse(b"a=1, a=2"), Some(vec![(b"a".as_slice(), Item::Integer(2))]));
        assert_eq!(parse(b""), Some(Vec::new()));
    }

    #[test]
    fn what_is_not_a_dictionary() {
        for text in [
            "A",
            "a=",
            "a,",
            "a b",
            "a=\"x",
            "a=?2",
            "a=1.",
            "a=1.2345",
            "a=&",
            "&",
            "a=(1",
            "a=-",
            "a=1234567890123456",
            "a=\"\\x\"",
            "a;",
            "a;B",
            "a=:x",
            ",a",
            "a=\"\u{e4}\"",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
