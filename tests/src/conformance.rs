//! Requirements of RFCs, each with the tests that show it, and the table that both make.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// When a requirement binds balun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// Always.
    Always,
    /// With full NAT, where backends see an address of the SNAT pool.
    FullNat,
    /// It is left to us: the sentence says what we do.
    Optional,
}

impl Applies {
    const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::FullNat => "full NAT",
            Self::Optional => "our choice",
        }
    }
}

/// One requirement and the test that shows it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name in the table: a letter for the document and a number.
    pub line: &'static str,
    /// When it binds.
    pub applies: Applies,
    /// Where it is written.
    pub source: &'static str,
    /// What must hold.
    pub requirement: &'static str,
    /// The test's path.
    pub test: &'static str,
    /// The test.
    pub run: fn(),
}

/// What a document leaves open and balun does not have, so that no test can show it.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Its name in the table.
    pub line: &'static str,
    /// Where it is written.
    pub source: &'static str,
    /// What balun does instead.
    pub instead: &'static str,
}

/// Declares tests, each under the requirement that it shows, and `CASES`, the list of them.
///
/// ```text
/// tests::conforms! {
///     /// An idle mapping lives for two minutes at least.
///     U6 Always "RFC 4787 REQ-5"
///     fn an_idle_mapping_lives_for_two_minutes() { … }
/// }
/// ```
#[macro_export]
macro_rules! conforms {
    ($(
        $(#[doc = $says:literal])+
        $line:ident $applies:ident $source:literal
        fn $name:ident() $body:block
    )+) => {
        /// The requirements that this module shows.
        pub(crate) const CASES: &[$crate::conformance::Case] = &[$(
            $crate::conformance::Case {
                line: stringify!($line),
                applies: $crate::conformance::Applies::$applies,
                source: $source,
                requirement: concat!($($says),+),
                test: concat!(module_path!(), "::", stringify!($name)),
                run: $name,
            },
        )+];
        $(
            $(#[doc = $says])+
            #[test]
            fn $name() $body
        )+
    };
}

/// The table of these, each case run for its result.
pub fn table(cases: &[Case], choices: &[Choice]) -> String {
    let cases = cases.iter().map(|case| {
        let passed = catch_unwind(AssertUnwindSafe(case.run)).is_ok();
        let result = if passed { "pass" } else { "**fail**" };
        let test = case.test.split_once("::").map_or(case.test, |(_, rest)| rest);
        let (line, source, applies) = (case.line, case.source, case.applies.name());
        let says = case.requirement.trim();
        (line, format!("| {line} | {source} | {applies} | {says} | {result} | `{test}` |"))
    });
    let choices = choices.iter().map(|Choice { line, source, instead }| {
        (*line, format!("| {line} | {source} | our choice | {instead} | not built | |"))
    });
    let mut rows: Vec<_> = cases.chain(choices).collect();
    rows.sort_by_key(|(line, _)| place(line));
    let mut table = String::from(
        "| line | where | when | what must hold | result | test |\n|---|---|---|---|---|---|\n",
    );
    for (_, row) in rows {
        table.push_str(&row);
        table.push('\n');
    }
    table
}

/// Documents in the order in which a reader wants them, and the lines of each by number.
fn place(line: &str) -> (usize, u16) {
    let (letter, number) = line.split_at(1);
    ("UTIVCL".find(letter).unwrap_or(usize::MAX), number.parse().unwrap_or(u16::MAX))
}
