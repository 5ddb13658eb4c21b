//! Results as Markdown.

use std::fmt::Write;

use super::measure::Measure;
use super::results::{Results, Series, median};
use super::rival::Rival;

/// What balun wants to reach: its own rival name, another's, and the least ratio between them.
const TARGETS: [(Measure, Rival, Rival, f64); 20] = [
    (Measure::Stream, Rival::BalunL4, Rival::Nft, 0.8),
    (Measure::Stream, Rival::BalunL4, Rival::HaproxyTcp, 1.4),
    (Measure::Stream, Rival::BalunCapture, Rival::BalunL4, 0.85),
    (Measure::Connect, Rival::BalunCapture, Rival::BalunL4, 0.85),
    (Measure::Connect, Rival::BalunL7, Rival::Nginx, 1.5),
    (Measure::Connect, Rival::BalunL7, Rival::HaproxyHttp, 1.5),
    (Measure::Http, Rival::BalunL7, Rival::Nginx, 1.4),
    (Measure::Http, Rival::BalunL7, Rival::HaproxyHttp, 1.4),
    (Measure::Tls, Rival::BalunL7, Rival::Nginx, 1.2),
    (Measure::Tls, Rival::BalunL7, Rival::HaproxyHttp, 1.2),
    (Measure::TlsConnect, Rival::BalunL7, Rival::Nginx, 1.0),
    (Measure::TlsConnect, Rival::BalunL7, Rival::HaproxyHttp, 1.0),
    (Measure::Http2, Rival::BalunL7, Rival::Nginx, 1.2),
    (Measure::Http2, Rival::BalunL7, Rival::HaproxyHttp, 1.2),
    (Measure::Download, Rival::BalunL7, Rival::Nginx, 1.0),
    (Measure::Download, Rival::BalunL7, Rival::HaproxyHttp, 1.0),
    (Measure::Upload, Rival::BalunL7, Rival::Nginx, 1.0),
    (Measure::Upload, Rival::BalunL7, Rival::HaproxyHttp, 1.0),
    (Measure::Latency, Rival::BalunL7, Rival::Nginx, 1.0),
    (Measure::Latency, Rival::BalunL7, Rival::HaproxyHttp, 1.0),
];

/// What a figure of balun itself may be at most.
const LIMITS: [(Measure, Rival, f64); 4] = [
    (Measure::Idle, Rival::BalunL7, 6.0 * 1024.0),
    (Measure::IdleTls, Rival::BalunL7, 24.0 * 1024.0),
    (Measure::Syscalls, Rival::BalunL7, 4.1),
    (Measure::Acks, Rival::BalunL7, 0.05),
];

/// The table of one measure, with a line for each of `rivals`, the best first.
pub(super) fn render(measure: Measure, rivals: &[Rival], results: &Results) -> String {
    let own: Vec<Rival> = rivals.iter().copied().filter(|rival| rival.is_balun()).collect();
    let mut lines: Vec<Line> =
        rivals.iter().map(|&rival| Line::new(measure, rival, &own, results)).collect();
    // Those without a figure last.
    let rank = |line: &Line| match (measure.is_cost(), line.median) {
        (true, median) => median.unwrap_or(f64::INFINITY),
        (false, median) => -median.unwrap_or(0.0),
    };
    lines.sort_by(|a, b| rank(a).total_cmp(&rank(b)));

    let mut header = vec!["rival".to_owned(), measure.unit().to_owned(), "min to max".to_owned()];
    header.extend(own.iter().map(|rival| format!("{} is", rival.name())));
    header.push("target".to_owned());
    let cells: Vec<Vec<String>> = lines.iter().map(|line| line.cells.clone()).collect();

    let mut text =
        format!("## {}: {}\n\n{}", measure.name(), measure.title(), grid(&header, &cells));
    let notes: Vec<&str> = lines.iter().filter_map(|line| line.note.as_deref()).collect();
    if !notes.is_empty() {
        let _ = write!(text, "\n- {}\n", notes.join("\n- "));
    }
    text
}

/// A number with its thousands apart.
pub(super) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

struct Line {
    median: Option<f64>,
    cells: Vec<String>,
    note: Option<String>,
}

impl Line {
    fn new(measure: Measure, rival: Rival, own: &[Rival], results: &Results) -> Self {
        let name = rival.name();
        let Some(series) = results.of(measure, rival) else {
            let cells = row(rival, None, own.len(), String::new());
            return Self { median: None, cells, note: Some(format!("{name}: not run")) };
        };
        let present = series.present();
        let lowest = present.iter().copied().reduce(f64::min);
        let highest = present.iter().copied().reduce(f64::max);
        let median = median(present.clone());
        let figures = median.zip(lowest.zip(highest)).map(|(median, (lowest, highest))| {
            let spread = format!("{} to {}", measure.format(lowest), measure.format(highest));
            (measure.format(median), spread)
        });
        let mut cells = row(rival, figures, own.len(), verdict(measure, rival, results));
        for (index, &own) in own.iter().enumerate() {
            let ratio = results.of(measure, own).filter(|_| own != rival);
            if let Some(ratio) = ratio.and_then(|own| advantage(measure, own, series)) {
                cells[3 + index] = format!("{ratio:.2}×");
            }
        }
        Self { median, cells, note: note(name, series) }
    }
}

fn row(
    rival: Rival,
    figures: Option<(String, String)>,
    ratios: usize,
    target: String,
) -> Vec<String> {
    let (median, spread) = figures.unwrap_or_else(|| ("-".to_owned(), "-".to_owned()));
    // It has half the servers, which shows where these are what limits.
    let servers = if rival == Rival::Direct { " (one server)" } else { "" };
    let mut cells = vec![format!("{}{servers}", rival.name()), median, spread];
    cells.extend(std::iter::repeat_n("-".to_owned(), ratios));
    cells.push(target);
    cells
}

/// How many times as good as `other` it is.
fn advantage(measure: Measure, own: &Series, other: &Series) -> Option<f64> {
    if measure.is_cost() { other.ratio_to(own) } else { own.ratio_to(other) }
}

/// What of [`TARGETS`] and [`LIMITS`] concerns `rival`, and whether it is reached.
fn verdict(measure: Measure, rival: Rival, results: &Results) -> String {
    if let Some(&(_, _, most)) = LIMITS.iter().find(|limit| (limit.0, limit.1) == (measure, rival))
    {
        let outcome = match results.of(measure, rival).and_then(|own| median(own.present())) {
            None => "unknown",
            Some(figure) if figure <= most => "met",
            Some(_) => "missed",
        };
        return format!("≤ {}: {outcome}", measure.format(most));
    }
    let target = TARGETS.iter().find(|target| {
        (target.0, target.2) == (measure, rival) && results.of(measure, target.1).is_some()
    });
    let Some(&(_, own, _, least)) = target else { return String::new() };
    let ratio = results
        .of(measure, own)
        .zip(results.of(measure, rival))
        .and_then(|(own, other)| advantage(measure, own, other));
    let outcome = match ratio {
        None => "unknown",
        Some(ratio) if ratio >= least => "met",
        Some(_) => "missed",
    };
    format!("≥ {least:.2}×: {outcome}")
}

/// What the figures do not say.
fn note(name: &str, series: &Series) -> Option<String> {
    if series.reasons.is_empty() {
        return None;
    }
    let reasons = series.reasons.join("; ");
    let (rounds, good) = (series.figures.len(), series.present().len());
    let counted = if good == 0 { String::new() } else { format!(" ({good} of {rounds} rounds)") };
    Some(format!("{name}{counted}: {reasons}"))
}

/// A Markdown table whose columns line up as plain text too: the first and last to the left, figures
/// to the right.
fn grid(header: &[String], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells =
                rows.iter().chain([header.to_vec()].iter()).map(|row| width(&row[column])).max();
            cells.unwrap_or(0).max(3)
        })
        .collect();
    let is_figure = |column: usize| column > 0 && column + 1 < header.len();
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        for (column, cell) in cells.iter().enumerate() {
            let padding = " ".repeat(widths[column] - width(cell));
            let (before, after) =
                if is_figure(column) { (padding.as_str(), "") } else { ("", padding.as_str()) };
            let _ = write!(text, "| {before}{cell}{after} ");
        }
        text.push_str("|\n");
    };
    line(header);
    let rule = widths.iter().enumerate().map(|(column, &width)| {
        let colon = if is_figure(column) { ":" } else { "-" };
        format!("{}{colon}", "-".repeat(width - 1))
    });
    line(&rule.collect::<Vec<_>>());
    for row in rows {
        line(row);
    }
    text
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        let cases = [(0.4, "0"), (999.6, "1,000"), (12_345.0, "12,345"), (1e6, "1,000,000")];
        for (value, text) in cases {
            assert_eq!(grouped(value), text);
        }
    }

    #[test]
    fn a_table_has_medians_spread_ratios_targets_and_reasons() {
        let mut results = Results::new(3);
        let mut record = |rival, figures: [f64; 3]| {
            for (round, figure) in figures.into_iter().enumerate() {
                results.record(Measure::Stream, rival, round, Ok(figure));
            }
        };
        record(Rival::Direct, [17.0, 16.0, 18.5]);
        record(Rival::Nft, [16.0, 15.0, 17.0]);
        record(Rival::BalunL4, [14.4, 15.0, 13.6]);
        results.record(Measure::Stream, Rival::HaproxyTcp, 0, Err("not installed".to_owned()));
        let rivals = [Rival::Direct, Rival::Nft, Rival::HaproxyTcp, Rival::BalunL4];
        let expected = "\
## stream: one TCP flow from client to server (iperf3)

| rival               | Gbit/s |     min to max | balun-l4 is | target           |
| ------------------- | -----: | -------------: | ----------: | ---------------- |
| direct (one server) |  17.00 | 16.00 to 18.50 |       0.85× |                  |
| nft                 |  16.00 | 15.00 to 17.00 |       0.90× | ≥ 0.80×: met     |
| balun-l4            |  14.40 | 13.60 to 15.00 |           - |                  |
| haproxy-tcp         |      - |              - |           - | ≥ 1.40×: unknown |

- haproxy-tcp: not installed
";
        assert_eq!(render(Measure::Stream, &rivals, &results), expected);
    }

    #[test]
    fn a_target_is_missed_just_below_it() {
        let mut results = Results::new(1);
        results.record(Measure::Stream, Rival::HaproxyTcp, 0, Ok(10.0));
        results.record(Measure::Stream, Rival::BalunL4, 0, Ok(13.99));
        let verdict = |results: &_| verdict(Measure::Stream, Rival::HaproxyTcp, results);
        assert_eq!(verdict(&results), "≥ 1.40×: missed");
        results.record(Measure::Stream, Rival::BalunL4, 0, Ok(14.0));
        assert_eq!(verdict(&results), "≥ 1.40×: met");
    }

    #[test]
    fn some_failed_rounds_are_counted() {
        let mut results = Results::new(2);
        results.record(Measure::Connect, Rival::Nft, 0, Ok(20_000.0));
        results.record(Measure::Connect, Rival::Nft, 1, Err("wrk: no answer".to_owned()));
        let table = render(Measure::Connect, &[Rival::Nft], &results);
        assert!(table.contains("| 20,000 "), "{table}");
        assert!(table.ends_with("\n- nft (1 of 2 rounds): wrk: no answer\n"), "{table}");
    }
}
