//! The command line of the rig.

use std::ops::RangeInclusive;
use std::slice::Iter;
use std::time::Duration;

use netstack::wire::Family;

use super::groups::Group;

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Rounds: both stacks take turns within one.
    pub rounds: u64,
    /// Of each session.
    pub time: Duration,
    /// Tables.
    pub groups: Vec<Group>,
    /// Round trips of the cells.
    pub rtts: Vec<Duration>,
    /// Losses of the cells, in a million.
    pub losses: Vec<u32>,
    /// Reorderings of the cells, in a million.
    pub reorders: Vec<u32>,
    /// Bits a second of the link.
    pub rate: u64,
    /// Of the addresses.
    pub family: Family,
    /// Of the first round; each adds one.
    pub seed: u64,
}

impl Options {
    /// Reads the arguments; the error is a sentence for the user.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let millis = |n: &[u64]| n.iter().map(|&n| Duration::from_millis(n)).collect();
        let mut options = Self {
            rounds: 3,
            time: Duration::from_secs(3),
            groups: Group::ALL.to_vec(),
            rtts: millis(&[1, 20, 100]),
            losses: vec![0, 1_000, 10_000, 30_000],
            reorders: vec![0, 50_000],
            rate: 1_000_000_000,
            family: Family::V4,
            seed: 1,
        };
        let mut rest = arguments.iter();
        while let Some(option) = rest.next() {
            match option.as_str() {
                "--rounds" => options.rounds = number(option, &mut rest, 1..=50)?,
                "--seconds" => {
                    options.time = Duration::from_secs(number(option, &mut rest, 1..=60)?);
                }
                "--rate" => options.rate = number(option, &mut rest, 1..=100_000)? * 1_000_000,
                "--seed" => options.seed = number(option, &mut rest, 0..=u64::MAX)?,
                "--v6" => options.family = Family::V6,
                "--only" => options.groups = list(option, &mut rest, Group::named)?,
                "--rtt" => {
                    let rtt = |text: &str| fixed(text, 3, 10_000_000);
                    let micros = list(option, &mut rest, rtt)?;
                    options.rtts = micros.into_iter().map(Duration::from_micros).collect();
                }
                "--loss" | "--reorder" => {
                    let percent = |text: &str| fixed(text, 4, 1_000_000).map(|n| n as u32);
                    let chances = list(option, &mut rest, percent)?;
                    if option == "--loss" {
                        options.losses = chances;
                    } else {
                        options.reorders = chances;
                    }
                }
                _ => return Err(format!("unknown option `{option}`")),
            }
        }
        Ok(options)
    }
}

fn value<'a>(option: &str, rest: &mut Iter<'a, String>) -> Result<&'a str, String> {
    rest.next().map(String::as_str).ok_or_else(|| format!("`{option}` needs a value"))
}

fn number(
    option: &str,
    rest: &mut Iter<'_, String>,
    range: RangeInclusive<u64>,
) -> Result<u64, String> {
    let text = value(option, rest)?;
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        format!("`{option}` takes {} to {}, not `{text}`", range.start(), range.end())
    })
}

fn list<T>(
    option: &str,
    rest: &mut Iter<'_, String>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, String> {
    let text = value(option, rest)?;
    let read = |item: &str| read(item).ok_or_else(|| format!("`{option}`: what is `{item}`?"));
    text.split(',').map(read).collect()
}

/// A decimal number without a sign, times 10 to the power of `places`, if it comes to no more than
/// `most`.
fn fixed(text: &str, places: usize, most: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{part:0<places$}");
    let plain = part.len() <= places && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn options_have_defaults_lists_and_ranges() {
        let options = parse("").unwrap();
        assert_eq!((options.rounds, options.groups.len()), (3, Group::ALL.len()));
        let options = parse("--only bbr,share --loss 0.1,3 --rtt 0.5 --v6 --rate 100").unwrap();
        assert_eq!(options.groups, [Group::Bbr, Group::Share]);
        assert_eq!(options.losses, [1_000, 30_000]);
        assert_eq!(options.rtts, [Duration::from_micros(500)]);
        assert_eq!((options.family, options.rate), (Family::V6, 100_000_000));
        for (line, complaint) in [
            ("--rounds 0", "`--rounds` takes 1 to 50, not `0`"),
            ("--only reno", "`--only`: what is `reno`?"),
            ("--loss 101", "`--loss`: what is `101`?"),
            ("--loss nan", "`--loss`: what is `nan`?"),
            ("--rtt", "`--rtt` needs a value"),
            ("fast", "unknown option `fast`"),
        ] {
            assert_eq!(parse(line), Err(complaint.to_owned()), "{line}");
        }
    }
}
