//! What the results of a backend's probes add up to.

/// What the checks say of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing was learnt yet.
    Starting,
    /// It is well.
    Up,
    /// It is not.
    Down,
}

/// Counts results that speak against the condition; one that agrees with it clears the count.
///
/// ```text
///            a success                  fall failures in a row
/// Starting ─────────────► Up ─────────────────────────────────────► Down
///     │                    ▲                                         │ ▲
///     │                    └─────────── rise successes in a row ─────┘ │
///     └──────────────────── fall failures in a row ────────────────────┘
/// ```
#[derive(Clone, Debug)]
pub struct Checker {
    fall: u32,
    rise: u32,
    condition: Condition,
    streak: u32,
}

impl Checker {
    /// A checker that has seen nothing.
    pub const fn new(fall: u32, rise: u32, condition: Condition) -> Self {
        Self { fall, rise, condition, streak: 0 }
    }

    /// Forgets what was learnt.
    pub const fn begin_anew(&mut self, condition: Condition) {
        self.condition = condition;
        self.streak = 0;
    }

    /// What the results add up to.
    pub const fn condition(&self) -> Condition {
        self.condition
    }

    /// Takes a result in. If it changes the condition, the number of results in a row that did.
    pub const fn note(&mut self, passed: bool) -> Option<u32> {
        let (needed, next) = match (self.condition, passed) {
            (Condition::Up, true) | (Condition::Down, false) => {
                self.streak = 0;
                return None;
            }
            (Condition::Starting, true) => {
                self.streak = 0;
                (1, Condition::Up)
            }
            (Condition::Down, true) => (self.rise, Condition::Up),
            (Condition::Up | Condition::Starting, false) => (self.fall, Condition::Down),
        };
        self.streak += 1;
        if self.streak < needed {
            return None;
        }
        let streak = self.streak;
        self.condition = next;
        self.streak = 0;
        Some(streak)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The conditions after each of `results`, `+` passed and `-` failed.
    fn conditions(from: Condition, results: &str) -> String {
        let mut checker = Checker::new(3, 2, from);
        results
            .chars()
            .map(|result| {
                checker.note(result == '+');
                match checker.condition() {
                    Condition::Starting => 's',
                    Condition::Up => 'u',
                    Condition::Down => 'd',
                }
            })
            .collect()
    }

    #[test]
    fn it_takes_results_in_a_row() {
        for (from, results, expected) in [
            (Condition::Starting, "+", "u"),
            (Condition::Starting, "--+", "ssu"),
            (Condition::Starting, "---+-++", "ssddddu"),
            (Condition::Up, "--+--+---", "uuuuuuuud"),
            (Condition::Down, "+-+-++", "dddddu"),
            (Condition::Down, "++---++", "duuuddu"),
        ] {
            assert_eq!(conditions(from, results), expected, "{from:?} {results}");
        }
    }

    #[test]
    fn a_change_says_how_many_results_it_took() {
        let mut checker = Checker::new(2, 1, Condition::Starting);
        assert_eq!(checker.note(false), None);
        assert_eq!(checker.note(true), Some(1));
        assert_eq!([checker.note(false), checker.note(false)], [None, Some(2)]);
        assert_eq!(checker.note(true), Some(1));
    }

    #[test]
    fn thresholds_of_zero_count_as_one() {
        let mut checker = Checker::new(0, 0, Condition::Up);
        assert_eq!(checker.note(false), Some(1));
        assert_eq!(checker.note(true), Some(1));
    }
}
