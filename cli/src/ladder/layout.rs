//! Where things stand in a ladder. Distances are in the picture's own unit.

use super::{Event, Kind, Ladder};

/// Around everything.
pub(super) const MARGIN: usize = 28;
/// The column of times, if there is one.
const TIMES: usize = 64;
/// Half of a head, and of a wide lifeline.
pub(super) const HALF_HEAD: usize = 72;
pub(super) const HALF_WIDE: usize = 102;
/// From one edge to the next, where labels stand.
const GAP: usize = 310;
/// Between lifelines that no wide one is between: arrows to the farther pass the nearer.
const NEAR: usize = 164;
/// From the top to the heads, and to the first row.
pub(super) const HEAD_TOP: usize = 62;
pub(super) const HEAD_HEIGHT: usize = 48;
const FIRST_ROW: usize = 138;
/// Height of a row with one arrow, what a second adds, and the height of a note.
const ROW: usize = 66;
const SECOND: usize = 54;
const NOTE: usize = 40;
/// Below the last row.
const FOOT: usize = 58;

/// Where things stand.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) width: usize,
    pub(super) height: usize,
    /// The middle of each lifeline.
    pub(super) lifelines: Vec<usize>,
    wide: Vec<bool>,
    /// The first line of each event.
    pub(super) rows: Vec<usize>,
    /// Where lifelines end.
    pub(super) bottom: usize,
}

impl Layout {
    pub(super) fn of(ladder: &Ladder) -> Self {
        let timed = ladder.events.iter().any(|event| !event.time.is_empty());
        let mut x = MARGIN + HALF_HEAD + if timed { TIMES } else { 0 };
        let mut lifelines = Vec::new();
        for (n, lifeline) in ladder.lifelines.iter().enumerate() {
            if let Some(before) = n.checked_sub(1).and_then(|n| ladder.lifelines.get(n)) {
                let half = |wide: bool| if wide { HALF_WIDE } else { 0 };
                let is_near = !before.wide && !lifeline.wide && ladder.lifelines.len() > 2;
                let gap = if is_near { NEAR } else { GAP };
                x += half(before.wide) + gap + half(lifeline.wide);
            }
            lifelines.push(x);
        }
        let last_wide = ladder.lifelines.last().is_some_and(|lifeline| lifeline.wide);
        let width = x + if last_wide { HALF_WIDE } else { HALF_HEAD } + MARGIN;
        let mut rows = Vec::new();
        let mut y = FIRST_ROW;
        let wide = ladder.lifelines.iter().map(|lifeline| lifeline.wide).collect();
        let mut layout = Self { width, height: 0, lifelines, wide, rows: Vec::new(), bottom: 0 };
        for event in &ladder.events {
            rows.push(y + 22);
            y += layout.height_of(event);
        }
        layout.rows = rows;
        layout.bottom = y + 4;
        layout.height = y + FOOT;
        layout
    }

    /// The middle of a lifeline; of the last, if there is none of this number.
    pub(super) fn middle(&self, number: usize) -> usize {
        self.lifelines.get(number).or(self.lifelines.last()).copied().unwrap_or(MARGIN)
    }

    /// Where an arrow between a lifeline and one at `toward` touches it.
    pub(super) fn edge(&self, number: usize, toward: usize) -> usize {
        let middle = self.middle(number);
        let number = number.min(self.wide.len().saturating_sub(1));
        let half = if self.wide.get(number) == Some(&true) { HALF_WIDE } else { 0 };
        if self.middle(toward) < middle { middle - half } else { middle + half }
    }

    /// How far below the first the second arrow of a packet is that turns back to the side that it came
    /// from; nothing if it goes on.
    pub(super) fn turn(&self, from: usize, via: usize, to: usize) -> Option<usize> {
        let (from, via, to) = (self.middle(from), self.middle(via), self.middle(to));
        ((from < via) == (to < via)).then_some(SECOND)
    }

    fn height_of(&self, event: &Event) -> usize {
        match &event.kind {
            Kind::Note { .. } => NOTE,
            Kind::Pass { from, via, to, .. } => ROW + self.turn(*from, *via, *to).unwrap_or(0),
            Kind::Packet { .. } | Kind::Drop { .. } => ROW,
        }
    }
}
