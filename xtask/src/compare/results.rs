//! Figures of all sessions, and what they come to.

use super::measure::Measure;
use super::rival::Rival;

/// Every session's figure or reason.
#[derive(Debug)]
pub(super) struct Results {
    rounds: usize,
    series: Vec<Series>,
}

/// A rival's sessions in one measure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    measure: Measure,
    rival: Rival,
    /// One a round; `None` if it failed or has not taken place.
    pub(super) figures: Vec<Option<f64>>,
    /// Why sessions failed, each reason once.
    pub(super) reasons: Vec<String>,
}

impl Results {
    /// None yet, of so many rounds.
    pub(super) const fn new(rounds: usize) -> Self {
        Self { rounds, series: Vec::new() }
    }

    /// True if no session has ended.
    pub(super) const fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Takes in a session; rounds count from zero.
    pub(super) fn record(
        &mut self,
        measure: Measure,
        rival: Rival,
        round: usize,
        outcome: Result<f64, String>,
    ) {
        let at = self.series.iter().position(|series| series.is_of(measure, rival));
        let at = at.unwrap_or_else(|| {
            let (figures, reasons) = (vec![None; self.rounds], Vec::new());
            self.series.push(Series { measure, rival, figures, reasons });
            self.series.len() - 1
        });
        let series = &mut self.series[at];
        match outcome {
            Ok(figure) => series.figures[round] = Some(figure),
            Err(reason) => {
                // Reasons often name a process or a port; such are the same reason.
                let known = series.reasons.iter().any(|known| wording(known) == wording(&reason));
                if !known {
                    series.reasons.push(reason);
                }
            }
        }
    }

    /// A rival's sessions in one measure, if there were any.
    pub(super) fn of(&self, measure: Measure, rival: Rival) -> Option<&Series> {
        self.series.iter().find(|series| series.is_of(measure, rival))
    }
}

impl Series {
    fn is_of(&self, measure: Measure, rival: Rival) -> bool {
        self.measure == measure && self.rival == rival
    }

    /// The figures that there are.
    pub(super) fn present(&self) -> Vec<f64> {
        self.figures.iter().copied().flatten().collect()
    }

    /// The median of this series' ratio to `other` within each round that has both.
    pub(super) fn ratio_to(&self, other: &Self) -> Option<f64> {
        let rounds = self.figures.iter().zip(&other.figures);
        let ratios = rounds.filter_map(|(own, others)| Some((*own)? / (*others)?)).collect();
        median(ratios)
    }
}

/// `reason` without its numbers.
fn wording(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// The middle of `figures`, or the mean of the two in the middle.
pub(super) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    if figures.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *figures.get(figures.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_none_odd_and_even() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![7.0]), Some(7.0));
        assert_eq!(median(vec![9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(vec![9.0, 1.0, 4.0, 2.0]), Some(3.0));
    }

    #[test]
    fn a_ratio_is_taken_within_rounds() {
        let mut results = Results::new(3);
        assert!(results.is_empty());
        // The machine halves its speed each round; the ratio of medians would be 1.
        for (round, (own, other)) in [(8.0, 4.0), (4.0, 4.0), (2.0, 1.0)].into_iter().enumerate() {
            results.record(Measure::Stream, Rival::BalunL4, round, Ok(own));
            results.record(Measure::Stream, Rival::Nft, round, Ok(other));
        }
        let own = results.of(Measure::Stream, Rival::BalunL4).unwrap();
        let other = results.of(Measure::Stream, Rival::Nft).unwrap();
        assert_eq!(own.ratio_to(other), Some(2.0));
        assert_eq!(results.of(Measure::Connect, Rival::Nft), None);
    }

    #[test]
    fn failed_rounds_drop_out_of_ratios_and_keep_their_reason_once() {
        let mut results = Results::new(3);
        results.record(Measure::Http, Rival::Nginx, 0, Err("17 is gone".to_owned()));
        results.record(Measure::Http, Rival::Nginx, 1, Err("4 is gone".to_owned()));
        results.record(Measure::Http, Rival::Nginx, 2, Ok(5.0));
        for (round, figure) in [9.0, 9.0, 10.0].into_iter().enumerate() {
            results.record(Measure::Http, Rival::BalunL7, round, Ok(figure));
        }
        let nginx = results.of(Measure::Http, Rival::Nginx).unwrap();
        assert_eq!(nginx.present(), [5.0]);
        assert_eq!(nginx.reasons, ["17 is gone"]);
        let balun = results.of(Measure::Http, Rival::BalunL7).unwrap();
        assert_eq!(balun.ratio_to(nginx), Some(2.0));
    }
}
