//! The command line of `compare`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::slice::Iter;

use super::measure::Measure;
use super::rival::{Layer, Rival};

const ROUNDS: RangeInclusive<usize> = 1..=50;
const SECONDS: RangeInclusive<usize> = 1..=60;

/// What is measured without `--http`.
const LAYER_4: [Measure; 2] = [Measure::Stream, Measure::Connect];

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) rounds: usize,
    /// Of each measurement.
    pub(super) seconds: u32,
    pub(super) measures: Vec<Measure>,
    pub(super) rivals: Vec<Rival>,
    /// A binary to measure instead of building one.
    pub(super) balun: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments after the command's name; the error is a sentence for the user.
    pub(super) fn parse(arguments: &[String]) -> Result<Self, String> {
        let (mut rounds, mut seconds, mut http, mut balun) = (5, 3, false, None);
        let (mut measures, mut rivals) = (Vec::new(), Vec::new());
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--rounds" => rounds = number(argument, &mut arguments, ROUNDS)?,
                "--seconds" => seconds = number(argument, &mut arguments, SECONDS)?,
                "--http" => http = true,
                "--only" => {
                    for name in value(argument, &mut arguments)?.split(',') {
                        select(name, &mut measures, &mut rivals)?;
                    }
                }
                "--balun" => {
                    let path = PathBuf::from(value(argument, &mut arguments)?);
                    let path = path.canonicalize();
                    balun = Some(path.map_err(|error| format!("`--balun`: {error}"))?);
                }
                _ => return Err(format!("unknown option `{argument}`")),
            }
        }
        if measures.is_empty() {
            measures = if http { Measure::ALL.to_vec() } else { LAYER_4.to_vec() };
        }
        if rivals.is_empty() {
            let layer_7 = http || measures.iter().any(|measure| !LAYER_4.contains(measure));
            rivals = Rival::ALL.to_vec();
            rivals.retain(|rival| layer_7 || rival.layer() == Layer::Four);
            rivals.retain(|rival| !rival.is_special());
        }
        let options = Self { rounds, seconds: seconds as u32, measures, rivals, balun };
        match options.measures.iter().find(|&&measure| options.rivals_of(measure).is_empty()) {
            Some(measure) => Err(format!("no rival chosen that does `{}`", measure.name())),
            None => Ok(options),
        }
    }

    /// Those chosen that can do `measure`.
    pub(super) fn rivals_of(&self, measure: Measure) -> Vec<Rival> {
        self.rivals.iter().copied().filter(|&rival| measure.is_for(rival)).collect()
    }

    /// A line for the report.
    pub(super) fn describe(&self) -> String {
        let s = if self.rounds == 1 { "" } else { "s" };
        format!("{} round{s} of {} s, rivals in turn", self.rounds, self.seconds)
    }
}

fn select(name: &str, measures: &mut Vec<Measure>, rivals: &mut Vec<Rival>) -> Result<(), String> {
    let named = |rival: &Rival| {
        rival.name() == name || (name == "balun" && rival.is_balun() && !rival.is_special())
    };
    let mut found = false;
    for measure in Measure::ALL.into_iter().filter(|measure| measure.name() == name) {
        found = true;
        if !measures.contains(&measure) {
            measures.push(measure);
        }
    }
    for rival in Rival::ALL.into_iter().filter(named) {
        found = true;
        if !rivals.contains(&rival) {
            rivals.push(rival);
        }
    }
    if found { Ok(()) } else { Err(format!("`--only`: `{name}` is no measure and no rival")) }
}

fn value<'a>(option: &str, arguments: &mut Iter<'a, String>) -> Result<&'a str, String> {
    arguments.next().map(String::as_str).ok_or_else(|| format!("`{option}` needs a value"))
}

fn number(
    option: &str,
    arguments: &mut Iter<'_, String>,
    range: RangeInclusive<usize>,
) -> Result<usize, String> {
    let value = value(option, arguments)?;
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        format!("`{option}` takes {} to {}, not `{value}`", range.start(), range.end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn without_options_layer_4_is_measured() {
        let options = parse("").unwrap();
        assert_eq!((options.rounds, options.seconds), (5, 3));
        assert_eq!(options.measures, [Measure::Stream, Measure::Connect]);
        let expected = [Rival::Direct, Rival::Nft, Rival::HaproxyTcp, Rival::BalunL4];
        assert_eq!(options.rivals, expected);
    }

    #[test]
    fn http_adds_layer_7() {
        let options = parse("--http").unwrap();
        assert_eq!(options.measures, Measure::ALL);
        assert_eq!(options.rivals, Rival::ALL[..7], "but what is no rival");
        assert_eq!(options.rivals_of(Measure::Stream).len(), 4, "layer 7 does no streams");
        assert_eq!(parse("--only http").unwrap().rivals, Rival::ALL[..7]);
        assert_eq!(parse("--only balun-capture").unwrap().rivals, [Rival::BalunCapture]);
    }

    #[test]
    fn only_takes_measures_and_rivals() {
        let options = parse("--only stream,nft,balun --rounds 1 --seconds 60").unwrap();
        assert_eq!((options.rounds, options.seconds), (1, 60));
        assert_eq!(options.measures, [Measure::Stream]);
        assert_eq!(options.rivals, [Rival::Nft, Rival::BalunL4, Rival::BalunL7]);
        assert_eq!(options.rivals_of(Measure::Stream), [Rival::Nft, Rival::BalunL4]);
        let repeated = parse("--only nft,nft --only connect").unwrap();
        assert_eq!((repeated.rivals.len(), repeated.measures.len()), (1, 1));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("--rounds", "`--rounds` needs a value"),
            ("--rounds 0", "`--rounds` takes 1 to 50, not `0`"),
            ("--rounds 51", "`--rounds` takes 1 to 50, not `51`"),
            ("--seconds 61", "`--seconds` takes 1 to 60, not `61`"),
            ("--seconds x", "`--seconds` takes 1 to 60, not `x`"),
            ("--only ipvs", "`--only`: `ipvs` is no measure and no rival"),
            ("--only stream,", "`--only`: `` is no measure and no rival"),
            ("--only stream,nginx", "no rival chosen that does `stream`"),
            ("--fast", "unknown option `--fast`"),
        ];
        for (line, complaint) in cases {
            assert_eq!(parse(line), Err(complaint.to_owned()), "{line}");
        }
    }
}
