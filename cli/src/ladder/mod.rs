//! The flow ladder: packets between lifelines, drawn as SVG.
//!
//! One picture shows both sides of the translation: what a client sent and, below it, what the backend
//! saw. A picture is a function of its [`Ladder`] alone; the same data gives the same bytes.

mod svg;

/// A picture, before it is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// What it shows; read out to who cannot see it.
    pub title: String,
    /// The names of the lifelines, from left to right.
    pub lifelines: Vec<String>,
    /// What happened, from top to bottom.
    pub events: Vec<Event>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, as it is shown.
    pub time: String,
    /// What.
    pub kind: Kind,
}

/// What happened. Lifelines are given by their number; an arrow to one that does not exist ends at the
/// last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packet that arrived.
    Packet {
        /// Who sent it.
        from: usize,
        /// Who got it.
        to: usize,
        /// Its line.
        line: String,
    },
    /// A packet that went no further.
    Drop {
        /// Who sent it.
        from: usize,
        /// Who dropped it.
        to: usize,
        /// Its line.
        line: String,
        /// Why.
        reason: String,
    },
    /// Something else.
    Note {
        /// What.
        text: String,
    },
}

impl Ladder {
    /// The picture as an SVG document, which can also stand inside an HTML page.
    pub fn to_svg(&self) -> String {
        svg::draw(self)
    }
}
