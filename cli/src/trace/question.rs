//! Packets as a command line gives them.
//!
//! ```text
//! [@LEG] [+DURATION] PACKET           a packet line; it comes by LEG, DURATION after the one before
//! [+DURATION] reply [WORDS]           the answer to what left last, by the leg that it left by
//! ```

use std::time::Duration;

use netstack::wire::text::{self, ParseError};
use netstack::{LegId, Packet};

use crate::config;

/// One packet of a story.
#[derive(Clone, Debug)]
pub struct Question {
    /// Time since the packet before it.
    pub after: Duration,
    /// The packet.
    pub what: What,
}

/// A packet, or how to make it.
#[derive(Clone, Debug)]
pub enum What {
    /// A packet, and the leg that it comes by if that was said.
    Packet(Box<Packet>, Option<LegId>),
    /// The answer to what left last, with these words.
    Reply(String),
}

/// Reads one argument; `legs` are the names of the configured ones.
///
/// # Errors
/// The argument with its wrong part underlined, and what is wrong with it.
pub fn parse(argument: &str, legs: &[&str]) -> Result<Question, String> {
    read(argument, legs).map_err(|error| error.underline(argument))
}

fn read(argument: &str, legs: &[&str]) -> Result<Question, ParseError> {
    let (mut leg, mut after) = (None, Duration::ZERO);
    let mut rest = argument.trim_start();
    loop {
        let at = argument.len() - rest.len();
        let word = rest.split(' ').next().unwrap_or_default();
        let span = at..at + word.len();
        if let Some(name) = word.strip_prefix('@') {
            let Some(number) = legs.iter().position(|leg| *leg == name) else {
                return Err(wrong(
                    span,
                    format!("no leg has this name; there is {}", legs.join(", ")),
                ));
            };
            leg = Some(LegId(number as u16));
        } else if let Some(text) = word.strip_prefix('+') {
            after = config::duration(text).map_err(|message| wrong(span, message))?;
        } else {
            break;
        }
        rest = rest[word.len()..].trim_start();
    }
    let at = argument.len() - rest.len();
    let what = match rest.strip_prefix("reply") {
        Some(words) if words.is_empty() || words.starts_with(' ') => {
            if leg.is_some() {
                let message = "an answer comes by the leg that the packet left by".to_owned();
                return Err(wrong(0..at, message));
            }
            What::Reply(words.trim().to_owned())
        }
        _ => {
            let packet = text::packet(rest).map_err(|error| ParseError {
                span: at + error.span.start..at + error.span.end,
                message: error.message,
            })?;
            What::Packet(Box::new(packet), leg)
        }
    };
    Ok(Question { after, what })
}

const fn wrong(span: std::ops::Range<usize>, message: String) -> ParseError {
    ParseError { span, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGS: [&str; 2] = ["client", "backend"];

    #[test]
    fn a_leg_and_a_time_may_stand_in_front() {
        let question = parse("@backend +1m30s udp 10.2.0.11:53 > 10.99.0.250:4000", &LEGS);
        let Question { after, what: What::Packet(packet, leg) } = question.unwrap() else {
            panic!("a packet")
        };
        assert_eq!((after, leg), (Duration::from_secs(90), Some(LegId(1))));
        assert_eq!(
            text::Line::of(&packet).to_string(),
            "udp 10.2.0.11:53 > 10.99.0.250:4000 ttl=64"
        );
        let reply = parse("+3s reply S. seq=7", &LEGS).unwrap();
        assert!(matches!(reply.what, What::Reply(words) if words == "S. seq=7"));
        assert!(
            matches!(parse("reply", &LEGS).unwrap().what, What::Reply(words) if words.is_empty())
        );
    }

    #[test]
    fn the_wrong_word_is_underlined() {
        for (argument, underlined, says) in [
            ("@nowhere udp 1.1.1.1:1 > 2.2.2.2:2", "@nowhere", "client, backend"),
            ("+3 udp 1.1.1.1:1 > 2.2.2.2:2", "+3", "unit"),
            ("@client tcp 1.1.1.1:1 > 2.2.2.2:99999 S", "99999", ""),
            ("@client reply S.", "@client ", "left by"),
            ("replys", "replys", ""),
        ] {
            let said = parse(argument, &LEGS).unwrap_err();
            let lines: Vec<_> = said.lines().collect();
            assert_eq!(lines[0], argument);
            let start = lines[1].find('^').unwrap();
            let length = lines[1].matches('^').count();
            assert_eq!(&argument[start..start + length], underlined, "{said}");
            assert!(said.contains(says), "{said}");
        }
    }
}
