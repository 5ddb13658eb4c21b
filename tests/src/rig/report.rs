//! Tables of medians.

use std::fmt::Write as _;

use super::Failure;
use super::scenario::Who;

/// Which stack's figure a column shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Ours.
    Ours,
    /// The kernel's.
    Linux,
    /// Ours by the kernel's, each pair of one round.
    Ratio,
    /// The larger of both.
    Larger,
}

/// A column: its header, whose figure of a session it shows, and with how many decimals.
pub type Column = (&'static str, Of, usize, usize);

/// What the rows of a table have in common.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What is measured, in a sentence.
    pub title: String,
    /// Headers of the columns that name a row.
    pub names: Vec<&'static str>,
    /// The columns of figures.
    pub columns: Vec<Column>,
}

/// The sessions of one row.
#[derive(Clone, Debug, Default)]
pub struct Row {
    names: Vec<String>,
    /// Of each round, by [`Of::Ours`] and [`Of::Linux`].
    rounds: Vec<[Option<Vec<f64>>; 2]>,
    reasons: Vec<String>,
}

impl Row {
    /// A row that is named so in the columns of [`Layout::names`].
    pub fn new(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Its name in one line.
    pub fn name(&self) -> String {
        self.names.join(" ")
    }

    /// Begins a round.
    pub fn begin(&mut self) {
        self.rounds.push([None, None]);
    }

    /// Takes in a session of the round.
    pub fn record(&mut self, who: Who, outcome: Result<Vec<f64>, Failure>) {
        let side = usize::from(who == Who::Linux);
        match (outcome, self.rounds.last_mut()) {
            (Ok(figures), Some(round)) => round[side] = Some(figures),
            (Err(failure), _) => {
                let reason = format!("{} {who:?}: {failure}", self.name());
                if !self.reasons.contains(&reason) {
                    self.reasons.push(reason);
                }
            }
            (Ok(_), None) => {}
        }
    }

    fn figure(&self, of: Of, metric: usize) -> Option<f64> {
        let value = |side: &Option<Vec<f64>>| side.as_ref()?.get(metric).copied();
        let figures = self.rounds.iter().filter_map(|[ours, linux]| match of {
            Of::Ours => value(ours),
            Of::Linux => value(linux),
            Of::Ratio => Some(value(ours)? / value(linux)?).filter(|ratio| ratio.is_finite()),
            Of::Larger => value(ours).into_iter().chain(value(linux)).reduce(f64::max),
        });
        median(figures.collect())
    }
}

/// The middle of `figures`, or the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (lower, upper) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some(f64::midpoint(*figures.get(lower)?, *figures.get(upper)?))
}

/// A table in Markdown that lines up as text too, and below it why figures are missing.
pub fn render(layout: &Layout, rows: &[Row]) -> String {
    let headers = layout.columns.iter().map(|column| column.0);
    let header = layout.names.iter().copied().chain(headers).map(str::to_owned).collect();
    let mut grid: Vec<Vec<String>> = vec![header];
    for row in rows {
        let figures = layout.columns.iter().map(|&(_, of, metric, decimals)| {
            row.figure(of, metric).map_or("-".to_owned(), |figure| format!("{figure:.decimals$}"))
        });
        grid.push(row.names.iter().cloned().chain(figures).collect());
    }
    let width = |column: usize| grid.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..grid[0].len()).map(|c| width(c).unwrap_or(0).max(2)).collect();
    let mut text = format!("## {}\n\n", layout.title);
    for (at, line) in grid.iter().enumerate() {
        for (cell, &width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:>width$} ");
        }
        text.push_str("|\n");
        if at == 0 {
            for &width in &widths {
                let _ = write!(text, "| {}: ", "-".repeat(width - 1));
            }
            text.push_str("|\n");
        }
    }
    let reasons: Vec<&str> = rows.iter().flat_map(|r| &r.reasons).map(String::as_str).collect();
    if !reasons.is_empty() {
        let _ = write!(text, "\n- {}\n", reasons.join("\n- "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_medians_a_ratio_within_rounds_and_reasons() {
        let columns = vec![
            ("ours", Of::Ours, 0, 1),
            ("Linux", Of::Linux, 0, 1),
            ("ratio", Of::Ratio, 0, 2),
            ("late", Of::Larger, 1, 0),
        ];
        let layout = Layout { title: "cubic".to_owned(), names: vec!["RTT"], columns };
        let mut row = Row::new(vec!["20".to_owned()]);
        for (ours, linux) in [(8.0, 4.0), (4.0, 4.0), (3.0, 1.0)] {
            row.begin();
            row.record(Who::Ours, Ok(vec![ours, 1.0]));
            row.record(Who::Linux, Ok(vec![linux, 2.0]));
        }
        let mut lacking = Row::new(vec!["100".to_owned()]);
        for _ in 0..2 {
            lacking.begin();
            lacking.record(Who::Linux, Err(Failure::because("no")));
        }
        let expected = "\
## cubic

| RTT | ours | Linux | ratio | late |
| --: | ---: | ----: | ----: | ---: |
|  20 |  4.0 |   4.0 |  2.00 |    2 |
| 100 |    - |     - |     - |    - |

- 100 Linux: no
";
        assert_eq!(render(&layout, &[row, lacking]), expected);
    }
}
