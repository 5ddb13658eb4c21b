//! What is done with a request that takes a route.

use http::StatusCode;
use nat::rng::derive;

use super::condition::Ask;
use super::template::{Scene, Template};
use super::{Route, RouteId};
use crate::answer::Answer;
use crate::http1::edits::Edits;
use crate::http1::reject::{Reject, Rule};
use crate::http1::{host, target};
use crate::request::{Extra, Judged, Rewritten, Way};

/// Who gives the answer.
#[derive(Clone, Debug)]
pub enum Action {
    /// A pool: the index of a destination of the service.
    To(u16),
    /// One of several pools.
    Split(Split),
    /// We do, and it is that the answer is elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// Where.
        to: Template,
    },
    /// We do, always the same.
    Respond(Answer),
}

/// Pools by weight.
#[derive(Clone, Debug)]
pub struct Split {
    /// Indices of destinations of the service, with the sum of their weights and of those before.
    parts: Vec<(u16, u32)>,
    sticky: Option<Sticky>,
}

/// By what a request is known to be of the same client as an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    /// A cookie of that name. A client that has none is given one, which says where it went.
    Cookie(Box<str>),
    /// The value of the field of that name.
    Header(Box<str>),
}

/// What is done to fields of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Takes the place of those that are there.
    Set,
    /// Stands beside those that are there.
    Add,
    /// Takes those that are there away.
    Remove,
}

/// Changes of the fields of a head.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// Those that no request changes.
    fixed: Edits,
    /// Those that each request decides.
    templates: Vec<(Operation, Box<str>, Template)>,
}

/// Changes of a request.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// The path.
    pub target: Option<Template>,
    /// The query, without its `?`; if it comes to nothing there is none.
    pub query: Option<Template>,
    /// The host.
    pub host: Option<Template>,
    /// Its fields.
    pub fields: Fields,
}

impl Fields {
    /// Takes the fields of that name away, which must be [allowed](Edits::check_name).
    pub fn remove(&mut self, name: &str) {
        self.fixed.remove(name);
    }

    /// Has something done to the fields of that name, which must be
    /// [allowed](Edits::check_name). The template of one that is removed is not looked at.
    pub fn change(&mut self, operation: Operation, name: &str, value: Template) {
        match (operation, value.fixed()) {
            (Operation::Remove, _) => self.remove(name),
            (Operation::Set, Some(value)) => self.fixed.set(name, value),
            (Operation::Add, Some(value)) => self.fixed.add(name, value),
            _ => self.templates.push((operation, name.into(), value)),
        }
    }

    /// The changes that no request decides; none if there are none.
    pub(super) fn fixed(&self) -> Option<&Edits> {
        (!self.fixed.is_empty()).then_some(&self.fixed)
    }

    /// Makes the changes that a request decides.
    fn render(&self, scene: &Scene<'_>, edits: &mut Edits) {
        for (operation, name, template) in &self.templates {
            let value = template.render(scene);
            // Nothing that a client sends can have one, but the check costs little.
            let value = if Edits::check_value(&value).is_ok() { value } else { Vec::new() };
            match operation {
                Operation::Set => edits.set(name, value),
                Operation::Add => edits.add(name, value),
                Operation::Remove => edits.remove(name),
            }
        }
    }

    const fn renders(&self) -> bool {
        !self.templates.is_empty()
    }
}

impl Rewrite {
    const fn renders(&self) -> bool {
        self.target.is_some()
            || self.query.is_some()
            || self.host.is_some()
            || self.fields.renders()
    }

    fn render(&self, scene: &Scene<'_>) -> Result<Rewritten, Reject> {
        let mut rewritten = Rewritten::default();
        if self.target.is_some() || self.query.is_some() {
            let ask = scene.ask;
            let path = self.target.as_ref().map(|template| template.render(scene));
            let mut target = path.unwrap_or_else(|| ask.path.to_vec());
            let query = self.query.as_ref().map(|template| template.render(scene));
            let query = query.or_else(|| ask.query.map(<[u8]>::to_vec));
            if let Some(query) = query.filter(|query| !query.is_empty()) {
                target.push(b'?');
                target.extend_from_slice(&query);
            }
            rewritten.target = Some(checked(&target)?);
        }
        if let Some(template) = &self.host {
            let name = template.render(scene);
            host::check(&name)?;
            rewritten.host = Some(name);
        }
        self.fields.render(scene, &mut rewritten.fields);
        Ok(rewritten)
    }
}

/// A path with its query, judged as that of a client is.
fn checked(path: &[u8]) -> Result<Vec<u8>, Reject> {
    let bad = Reject::bad(Rule::R20, "the path cannot be rewritten");
    if path.first() != Some(&b'/') || !target::is_target(path) {
        return Err(bad);
    }
    let normal = target::normal_path(path).map_err(|_| bad)?;
    Ok(normal.into_owned())
}

impl Split {
    /// Pools, as indices of destinations of the service, with their weights. None if all weights are
    /// zero.
    pub fn new(parts: &[(u16, u32)], sticky: Option<Sticky>) -> Option<Self> {
        let mut sum = 0_u32;
        let mut summed = Vec::new();
        for &(to, weight) in parts.iter().filter(|(_, weight)| *weight > 0) {
            sum = sum.saturating_add(weight);
            summed.push((to, sum));
        }
        (sum > 0).then_some(Self { parts: summed, sticky })
    }

    /// A pool by the number `chance`.
    fn choose(&self, chance: u64) -> u16 {
        let sum = self.parts.last().map_or(1, |(_, sum)| *sum);
        let drawn = (((chance >> 32) * u64::from(sum)) >> 32) as u32;
        let chosen = self.parts.iter().find(|(_, sum)| drawn < *sum);
        chosen.map_or(0, |(to, _)| *to)
    }

    /// A pool for a request, and the cookie that its client is given.
    fn decide(&self, ask: &Ask<'_>, id: RouteId) -> (u16, Option<String>) {
        let chance = derive(ask.chance, u64::from(id.0) << 8 | 1);
        match &self.sticky {
            None => (self.choose(chance), None),
            Some(Sticky::Header(name)) => {
                let known = ask.values(name).next().map(stable);
                (self.choose(known.unwrap_or(chance)), None)
            }
            Some(Sticky::Cookie(name)) => {
                let known = ask.cookies(name.as_bytes()).find_map(|value| self.told(value));
                if let Some(to) = known {
                    return (to, None);
                }
                let to = self.choose(chance);
                (to, Some(format!("{name}={}; Path=/; HttpOnly; SameSite=Lax", self.name(to))))
            }
        }
    }

    /// What a cookie calls a pool: its place in the list.
    fn name(&self, to: u16) -> usize {
        self.parts.iter().position(|(one, _)| *one == to).unwrap_or_default()
    }

    fn told(&self, value: &[u8]) -> Option<u16> {
        let place: usize = str::from_utf8(value).ok()?.parse().ok()?;
        self.parts.get(place).map(|(to, _)| *to)
    }
}

/// A number that a text stands for, today and after a restart.
fn stable(text: &[u8]) -> u64 {
    let step = |sum: u64, chunk: &[u8]| {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(chunk).for_each(|(place, byte)| *place = *byte);
        derive(sum, u64::from_le_bytes(bytes))
    };
    text.chunks(8).fold(text.len() as u64, step)
}

impl Route {
    /// Something of it is left to chance.
    pub(super) fn draws(&self) -> bool {
        self.condition.share.is_some()
            || self.fault.is_some()
            || self.mirror.is_some()
            || matches!(self.action, Action::Split(_))
    }

    /// What it means for a request, whose place it has.
    pub(super) fn judge(&self, id: RouteId, ask: &Ask<'_>, secure: bool) -> Result<Judged, Reject> {
        let scene = Scene { ask, secure, path: self.condition.path.as_ref() };
        if let Some(answer) = self.cors.as_ref().and_then(|cors| cors.preflight(ask)) {
            return Ok(Judged::answered(Some(id), answer));
        }
        let mut judged = match &self.action {
            Action::To(to) => Judged::to(id, *to),
            Action::Split(split) => {
                let (to, cookie) = split.decide(ask, id);
                let mut judged = Judged::to(id, to);
                if let Some(cookie) = cookie {
                    judged.extra().edits.add("Set-Cookie", cookie.into_bytes());
                }
                judged
            }
            Action::Redirect { status, to } => {
                let location = to.render(&scene);
                let field = ("Location", &location[..]);
                Judged::answered(Some(id), Answer::new(*status, [field], bytes::Bytes::new()))
            }
            Action::Respond(answer) => Judged::answered(Some(id), answer.clone()),
        };
        if self.rewrite.renders() {
            judged.extra().rewritten = self.rewrite.render(&scene)?;
        }
        if self.answer.renders() {
            self.answer.render(&scene, &mut judged.extra().edits);
        }
        if let Some((to, share)) = self.mirror
            && ask.happens(share, id, 3)
        {
            judged.extra().mirror = Some(to);
        }
        if let Some(cors) = &self.cors {
            cors.say(ask, &mut judged.extra().edits);
        }
        Ok(judged)
    }
}

impl Judged {
    /// A request that takes a route to a destination.
    pub(super) const fn to(route: RouteId, to: u16) -> Self {
        Self { way: Way { route: Some(route), to }, extra: None }
    }

    /// A request that is answered by ourselves.
    pub(crate) fn answered(route: Option<RouteId>, answer: Answer) -> Self {
        let mut judged = Self { way: Way { route, to: 0 }, extra: None };
        judged.extra().own = Some(answer);
        judged
    }

    /// What it has that most have not.
    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }
}
