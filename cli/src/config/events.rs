//! What happens to a balancer while a capture is replayed: a script of lines.
//!
//! ```text
//! # Time runs from the first packet, or from the start of the run that was captured.
//! at 5s   backend web/web1 down
//! at 7s   snat-addresses 10.99.0.250, 10.99.0.251
//! at 9s   backend web/web1 up
//! at 20s  end
//! ```

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use nat::health::Admin;
use nat::limits::MAX_SNAT_ADDRESSES;
use nat::{BackendId, PoolConfig, PoolId};
use netstack::Instant;
use netstack::wire::Address;

use super::codes::Code;
use super::diagnostic::{Diagnostic, alternatives, quoted};
use super::model::Span;
use super::suggest::nearest;
use super::value;

/// The longest script, in bytes.
pub const MAX_LEN: u64 = 1 << 20;

const VERBS: [&str; 4] = ["backend", "snat-addresses", "end", "config"];

const STATES: [(&str, Switch); 5] = [
    ("up", Switch::Up),
    ("down", Switch::Down),
    ("ready", Switch::Admin(Admin::Ready)),
    ("drain", Switch::Admin(Admin::Drain)),
    ("maint", Switch::Admin(Admin::Maint)),
];

/// Events in the order of their times; those of one time in the order of the script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events(VecDeque<Event>);

/// Something that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// What.
    pub what: What,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A backend changes.
    Backend {
        /// Its pool.
        pool: PoolId,
        /// It.
        backend: BackendId,
        /// How.
        to: Switch,
    },
    /// The SNAT pool has these addresses from now on.
    Snat(Vec<Address>),
    /// The replay ends.
    End,
}

/// How a backend changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It is well, as if its checks had passed.
    Up,
    /// It is not.
    Down,
    /// An operator says so.
    Admin(Admin),
}

/// A script with all that was found in it.
#[derive(Clone, Debug)]
pub struct LoadedEvents {
    /// The file's name, as it was given.
    pub file: String,
    /// Its text, which the spans of the diagnostics point into.
    pub text: String,
    /// Its events, without those of lines that are wrong.
    pub events: Events,
    /// What is wrong with it, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a script for a balancer with these pools.
///
/// # Errors
/// The file cannot be read, is longer than [`MAX_LEN`], or is not UTF-8. What is wrong *in* it is a
/// diagnostic.
pub fn load(path: &Path, pools: &[PoolConfig]) -> io::Result<LoadedEvents> {
    let bytes = super::read(path, MAX_LEN)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))?;
    let (events, diagnostics) = parse(&text, pools);
    Ok(LoadedEvents { file: path.display().to_string(), text, events, diagnostics })
}

/// Reads the text of a script.
pub fn parse(text: &str, pools: &[PoolConfig]) -> (Events, Vec<Diagnostic>) {
    let (mut events, mut diagnostics) = (Vec::new(), Vec::new());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        match event(&Line { text: line.trim_end(), start }, pools) {
            Ok(event) => events.extend(event),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
        start += line.len();
    }
    events.sort_by_key(|event| event.at);
    (Events(events.into()), diagnostics)
}

impl Events {
    /// When the next is due.
    pub fn peek(&self) -> Option<Instant> {
        self.0.front().map(|event| event.at)
    }

    /// The next, if it is due by `at`.
    pub fn next_at(&mut self, at: Instant) -> Option<Event> {
        if self.peek()? <= at { self.0.pop_front() } else { None }
    }
}

type Read<T> = Result<T, Diagnostic>;

struct Line<'a> {
    text: &'a str,
    /// Where it begins in the script.
    start: usize,
}

/// A word and its place in the script.
type Word<'a> = (&'a str, Span);

impl<'a> Line<'a> {
    /// The words, also parted by commas.
    fn words(&self) -> impl Iterator<Item = Word<'a>> {
        let (text, start) = (self.text, self.start);
        text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).map(
            move |word| {
                let at = start + (word.as_ptr() as usize - text.as_ptr() as usize);
                (word, at..at + word.len())
            },
        )
    }

    fn next(&self, words: &mut impl Iterator<Item = Word<'a>>, what: &str) -> Read<Word<'a>> {
        words.next().ok_or_else(|| {
            let end = self.start + self.text.len();
            wrong("the event ends too early", end..end, &format!("{what} is missing"))
        })
    }
}

const HELP: &str = "write it as `at 5s backend web/web1 down` or `at 20s end`";

fn wrong(title: &str, span: Span, label: &str) -> Diagnostic {
    Diagnostic::new(Code::BadEvent, title, span, label, HELP)
}

/// A word that is none of `known`.
fn unknown(what: &str, (word, span): Word<'_>, known: &[&str]) -> Diagnostic {
    let help = match nearest(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("write {}", alternatives(known)),
    };
    let title = format!("{} is not {what}", quoted(word));
    let label = format!("it is {}", alternatives(known));
    Diagnostic::new(Code::BadEvent, title, span, label, help)
}

fn event(line: &Line<'_>, pools: &[PoolConfig]) -> Read<Option<Event>> {
    let mut words = line.words();
    let Some((first, span)) = words.next().filter(|(word, _)| !word.starts_with('#')) else {
        return Ok(None);
    };
    if first != "at" {
        return Err(wrong(&format!("{} begins no event", quoted(first)), span, "expected `at`"));
    }
    let (time, span) = line.next(&mut words, "the time")?;
    let at = value::duration(time).map_err(|complaint| {
        let title = format!("{} {}", quoted(time), complaint.what);
        Diagnostic::new(Code::BadEvent, title, span, complaint.label, complaint.help)
    })?;
    let verb = line.next(&mut words, "what happens")?;
    let what = match verb.0 {
        "end" => What::End,
        "backend" => backend(line, &mut words, pools)?,
        "snat-addresses" => What::Snat(addresses(line, &mut words)?),
        "config" => {
            let title = "`config` as an event is not supported yet";
            let label = "a balancer cannot change its whole configuration while it runs";
            let help = "compare two runs by `balun replay --diff FILE`";
            return Err(Diagnostic::new(Code::NotYet, title, verb.1, label, help));
        }
        _ => return Err(unknown("an event", verb, &VERBS[..3])),
    };
    match words.next() {
        Some((word, span)) => {
            Err(wrong(&format!("{} is too much", quoted(word)), span, "nothing follows here"))
        }
        None => Ok(Some(Event { at: Instant::ZERO + at, what })),
    }
}

fn backend<'a>(
    line: &Line<'a>,
    words: &mut impl Iterator<Item = Word<'a>>,
    pools: &[PoolConfig],
) -> Read<What> {
    let (name, span) = line.next(words, "a backend")?;
    let (pool, backend) = name.split_once('/').unwrap_or((name, ""));
    let found =
        (0..).zip(pools).find(|(_, config)| config.name == pool).and_then(|(id, config)| {
            let mut backends = (0..).zip(&config.backends);
            let (backend, _) = backends.find(|(_, config)| config.name == backend)?;
            Some((PoolId(id), BackendId(backend)))
        });
    let Some((pool, backend)) = found else {
        let names = pools.iter().flat_map(|pool| {
            pool.backends.iter().map(move |backend| format!("{}/{}", pool.name, backend.name))
        });
        let names: Vec<_> = names.collect();
        let help = match nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "write it as POOL/BACKEND, as the configuration names them".to_owned(),
        };
        let title = format!("backend {} is not defined", quoted(name));
        let label = "no backend has this name";
        return Err(Diagnostic::new(Code::Undefined, title, span, label, help));
    };
    let state = line.next(words, "a state")?;
    match STATES.iter().find(|(name, _)| *name == state.0) {
        Some((_, to)) => Ok(What::Backend { pool, backend, to: *to }),
        None => Err(unknown("a state", state, &STATES.map(|(name, _)| name))),
    }
}

fn addresses<'a>(
    line: &Line<'a>,
    words: &mut impl Iterator<Item = Word<'a>>,
) -> Read<Vec<Address>> {
    let mut addresses = Vec::new();
    let mut next = Some(line.next(words, "an address")?);
    while let Some((word, span)) = next {
        let Ok(address) = word.parse::<IpAddr>() else {
            let title = format!("{} is not an address", quoted(word));
            return Err(wrong(&title, span, "expected an IPv4 or IPv6 address"));
        };
        if addresses.len() == MAX_SNAT_ADDRESSES {
            let label = format!("{MAX_SNAT_ADDRESSES} is the most");
            return Err(wrong("there are too many addresses", span, &label));
        }
        addresses.push(address.into());
        next = words.next();
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use nat::BackendConfig;

    use super::*;

    fn pools() -> Vec<PoolConfig> {
        let address: SocketAddr = "10.2.0.11:80".parse().unwrap();
        let backends = ["web1", "web2"].map(|name| BackendConfig::new(name, address));
        vec![PoolConfig::new("web", backends.to_vec())]
    }

    #[test]
    fn events_come_in_the_order_of_their_times() {
        let text = "# a script\n\nat 20s end\nat 5s backend web/web2 down\n\
                    at 5s snat-addresses 10.99.0.250, fd99::250\n";
        let (mut events, wrong) = parse(text, &pools());
        assert_eq!(wrong, []);
        assert_eq!(events.peek(), Some(Instant::from_secs(5)));
        assert_eq!(events.next_at(Instant::from_secs(4)), None);
        let (pool, backend) = (PoolId(0), BackendId(1));
        let first = events.next_at(Instant::from_secs(5)).unwrap();
        assert_eq!(first.what, What::Backend { pool, backend, to: Switch::Down });
        let second = events.next_at(Instant::from_secs(5)).unwrap();
        assert!(matches!(second.what, What::Snat(addresses) if addresses.len() == 2));
        assert_eq!(events.next_at(Instant::FAR_FUTURE).unwrap().what, What::End);
    }

    #[test]
    fn what_is_wrong_is_underlined() {
        for (line, word, help) in [
            ("in 5s end", "in", HELP),
            (
                "at soon end",
                "soon",
                "write a number with a unit, such as `500ms`, `60s`, `5m` or `2h4m`",
            ),
            ("at 5s", "", HELP),
            ("at 5s ende", "ende", "did you mean `end`?"),
            ("at 5s backend web/wbe1 down", "web/wbe1", "did you mean `web/web1`?"),
            ("at 5s backend web/web1 drained", "drained", "did you mean `drain`?"),
            ("at 5s backend web/web1 down now", "now", HELP),
            ("at 5s snat-addresses 10.99.0.300", "10.99.0.300", HELP),
            ("at 5s config new.toml", "config", "compare two runs by `balun replay --diff FILE`"),
        ] {
            let text = format!("at 1s end\n{line}\n");
            let (_, wrong) = parse(&text, &pools());
            let [only] = &wrong[..] else { panic!("{line}: {wrong:?}") };
            assert_eq!((&text[only.primary.span.clone()], only.help.as_str()), (word, help));
        }
    }
}
