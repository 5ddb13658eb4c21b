//! The flow ladder: packets between lifelines, drawn as SVG.
//!
//! One picture shows both sides of the translation: what a client sent and, beside it, what the backend
//! saw, with the ends that were rewritten in color. A picture is a function of its [`Ladder`] alone; the
//! same data gives the same bytes.

mod layout;
mod svg;

/// A picture, before it is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// What it shows; read out to who cannot see it.
    pub title: String,
    /// From left to right.
    pub lifelines: Vec<Lifeline>,
    /// What happened, from top to bottom.
    pub events: Vec<Event>,
}

/// Somebody who sends and receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lifeline {
    /// Its name.
    pub name: String,
    /// Its address; may be empty.
    pub detail: String,
    /// It is drawn wide, with room for what it does: a balancer.
    pub wide: bool,
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
    /// A packet that went through a third, who may have rewritten it.
    Pass {
        /// Who sent it.
        from: usize,
        /// Who passed it on.
        via: usize,
        /// Who got it.
        to: usize,
        /// Its line before.
        before: String,
        /// Its line after.
        after: String,
        /// What the one in the middle did, in few words: one or two lines.
        said: Vec<String>,
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

impl Lifeline {
    /// One with room for what it does.
    pub fn balancer(name: &str) -> Self {
        Self { name: name.to_owned(), detail: String::new(), wide: true }
    }
}

impl From<&str> for Lifeline {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

impl Ladder {
    /// The picture as an SVG document, which can also stand inside an HTML page.
    pub fn to_svg(&self) -> String {
        svg::draw(self)
    }
}
