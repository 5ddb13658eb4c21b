//! A name server that knows one answer: itself (RFC 1035). And the question for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const HEADER: usize = 12;
const A: u16 = 1;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const IN: u16 = 1;

/// What it answers with.
#[derive(Clone, Debug)]
pub(super) struct Zone {
    name: String,
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Zone {
    pub(super) fn new(name: &str, addresses: &[IpAddr]) -> Self {
        let v4 =
            addresses.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
        let v6 =
            addresses.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
        Self { name: name.chars().take(255).collect(), v4, v6 }
    }

    /// The answer to a query of one question: the first address for A and AAAA, the name for TXT, and
    /// nothing found for others. What is no query is not answered.
    pub(super) fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let flags = *query.get(2)?;
        let is_query = flags & 0b1111_1000 == 0;
        if !is_query || query.get(4..6)? != [0, 1] {
            return None;
        }
        let end = skip_name(query, HEADER)?;
        let question = query.get(HEADER..end + 4)?;
        let kind = u16::from_be_bytes([*query.get(end)?, *query.get(end + 1)?]);
        let data = match kind {
            A => self.v4.map(|ip| ip.octets().to_vec()),
            AAAA => self.v6.map(|ip| ip.octets().to_vec()),
            TXT => {
                let len = u8::try_from(self.name.len()).ok()?;
                Some([&[len], self.name.as_bytes()].concat())
            }
            _ => None,
        };
        let mut out = query.get(..2)?.to_vec();
        // An authoritative answer, with the asker's wish for recursion repeated.
        out.extend([0b1000_0100 | flags & 1, 0, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
        out.extend(question);
        if let Some(data) = data {
            // The name is that of the question; not to be kept.
            out.extend([0xc0, HEADER as u8]);
            out.extend(kind.to_be_bytes());
            out.extend(IN.to_be_bytes());
            out.extend(0_u32.to_be_bytes());
            out.extend((data.len() as u16).to_be_bytes());
            out.extend(data);
        }
        Some(out)
    }
}

/// A query for the TXT record of `name`: with [`Zone`], who answers.
pub(super) fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).ok().filter(|len| *len < 64)?);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out.extend(TXT.to_be_bytes());
    out.extend(IN.to_be_bytes());
    Some(out)
}

/// The text of the first answer to [`query`].
pub(super) fn text(id: u16, answer: &[u8]) -> Option<String> {
    if answer.get(..2)? != id.to_be_bytes() || answer.get(6..8)? == [0, 0] {
        return None;
    }
    let question = skip_name(answer, HEADER)? + 4;
    let data = skip_name(answer, question)? + 10;
    let len = usize::from(*answer.get(data)?);
    let text = answer.get(data + 1..data + 1 + len)?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// The byte after the name at `at`.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            len @ 1..=63 => at += 1 + usize::from(len),
            0xc0.. => return Some(at + 2),
            64..=0xbf => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_for_text_is_answered_with_the_name() {
        let zone = Zone::new("ns1", &["10.2.0.53".parse().unwrap()]);
        let query = query(7, "who.lab").unwrap();
        let answer = zone.answer(&query).unwrap();
        assert_eq!(text(7, &answer).as_deref(), Some("ns1"));
        assert_eq!(text(8, &answer), None, "the answer to another question");
        for cut in 0..query.len() {
            assert_eq!(zone.answer(&query[..cut]), None, "cut to {cut}");
        }
        assert_eq!(zone.answer(&answer), None, "an answer is no question");
    }

    #[test]
    fn a_question_for_an_address() {
        let zone = Zone::new("ns1", &["10.2.0.53".parse().unwrap()]);
        let mut query = query(7, "who.lab").unwrap();
        let kind = query.len() - 4;
        query[kind..kind + 2].copy_from_slice(&A.to_be_bytes());
        assert!(zone.answer(&query).unwrap().ends_with(&[0, 4, 10, 2, 0, 53]));
        query[kind..kind + 2].copy_from_slice(&AAAA.to_be_bytes());
        let none = zone.answer(&query).unwrap();
        assert_eq!((none.len(), none[7]), (query.len(), 0), "there is none");
    }
}
