//! Why a packet went no further, and what in the configuration made it so.

use nat::account::Subject;
use nat::flow::Direction;
use nat::{BackendId, DropReason, Engine, PoolId, Prefix, Verdict};
use netstack::LegId;
use netstack::wire::Address;

use super::Passage;
use super::narrator::{Narrator, Row, aside};
use super::places::Place;
use crate::config::model::{Service, Spanned};

/// Backends that are named one by one.
const MAX_NAMED: usize = 8;

/// The rows of a refusal: the reason, and what of the configuration decided it.
pub(super) fn rows(narrator: &Narrator<'_>, passage: &Passage) -> Vec<Row> {
    let (verb, reason) = match passage.verdict {
        Verdict::Drop(reason) => ("drop", reason),
        Verdict::Reject(reason) => ("refuse", reason),
        _ => return Vec::new(),
    };
    let mut rows = vec![Row {
        verb,
        object: reason.name().to_owned(),
        detail: reason.description().to_owned(),
        aside: String::new(),
    }];
    let cause = Cause { narrator, passage };
    rows.extend(cause.of(reason).into_iter().map(|(object, detail, place)| Row {
        verb: "because",
        object,
        detail,
        aside: aside(place),
    }));
    rows
}

/// `pool/backend`.
pub(super) fn backend_name(engine: &Engine, pool: PoolId, backend: BackendId) -> String {
    let Some(pool) = engine.pools().get(usize::from(pool.0)) else { return "?".to_owned() };
    let backend = pool.backend(backend).map_or("?", |backend| backend.config.name.as_str());
    format!("{}/{backend}", pool.name())
}

/// What it was, what it says, where it stands.
type Why = (String, String, Option<Place>);

struct Cause<'a> {
    narrator: &'a Narrator<'a>,
    passage: &'a Passage,
}

impl Cause<'_> {
    fn of(&self, reason: DropReason) -> Vec<Why> {
        use DropReason as R;
        let why = match reason {
            R::NoService => return self.no_service(),
            R::NoBackend | R::BackendsFull => return self.backends(),
            R::NoRoute => return self.no_route(),
            R::Denied => self.denied(),
            R::NoFlow => self.no_flow(),
            R::ClientRate | R::ClientFlows | R::ServiceRate | R::ServiceFlows => {
                self.service_limit(reason)
            }
            R::ClientLimit => self.client_limit(),
            R::NoPort | R::UnsolicitedSyn => {
                let ports = self.config().snat.as_ref().map(|snat| snat.ports.value);
                let ports = ports.unwrap_or_default();
                let detail = format!("ports {} to {}", ports.first, ports.last);
                Some(("snat".to_owned(), detail, self.place(Subject::Snat)))
            }
            R::FlowTableFull => Some(self.limit("flows", &self.config().limits.flows)),
            R::FragmentLimit => Some(self.limit("fragments", &self.config().limits.fragments)),
            R::PacketTooBig => self.too_big(),
            R::Martian => self.own(self.passage.account.before.map(|view| view.src)),
            _ => None,
        };
        why.into_iter().collect()
    }

    fn config(&self) -> &crate::config::model::Config {
        self.narrator.places.config()
    }

    fn place(&self, subject: Subject) -> Option<Place> {
        self.narrator.places.of(subject)
    }

    fn service(&self) -> Option<&Service> {
        self.narrator.places.service(self.passage.account.service()?)
    }

    /// What does listen at that address.
    fn no_service(&self) -> Vec<Why> {
        let Some(dst) = self.passage.account.before.map(|view| view.dst) else { return Vec::new() };
        let here = |service: &&Service| {
            service.listens.iter().any(|listen| listen.value.prefix.contains(dst))
        };
        let services: Vec<_> = self.config().services.iter().filter(here).take(MAX_NAMED).collect();
        if services.is_empty() {
            return self.own(Some(dst)).into_iter().collect();
        }
        let why = |service: &Service| {
            let listens = service.listens.iter().filter(|l| l.value.prefix.contains(dst));
            let listens: Vec<_> = listens.map(|listen| listen.value.to_string()).collect();
            let first = service.listens.first().and_then(|l| self.narrator.places.at(&l.span));
            (service.name.value.clone(), format!("listens on {}", listens.join(", ")), first)
        };
        services.into_iter().map(why).collect()
    }

    /// What kept each backend of the service's pool out.
    fn backends(&self) -> Vec<Why> {
        let service = self.passage.account.service();
        let Some(service) = service.and_then(|id| self.narrator.tracer.engine().services().get(id))
        else {
            return Vec::new();
        };
        let Some(pool) = self.narrator.tracer.engine().pools().get(usize::from(service.pool.0))
        else {
            return Vec::new();
        };
        let now = self.passage.at;
        let why = |(id, backend): (u16, &nat::pool::Backend)| {
            let config = &backend.config;
            let mut said = vec![backend.state.name().to_owned()];
            if config.weight == 0 {
                said.push("weight 0".to_owned());
            }
            if backend.is_ejected(now) {
                said.push("ejected for its failures".to_owned());
            }
            if let Some(most) = config.max_connections {
                said.push(format!("{} of {most} connections", backend.active));
            }
            let place = self.place(Subject::Backend(service.pool, BackendId(id)));
            (format!("{}/{}", pool.name(), config.name), said.join(", "), place)
        };
        (0..).zip(pool.backends()).take(MAX_NAMED).map(why).collect()
    }

    /// The list entry that refuses the client.
    fn denied(&self) -> Option<Why> {
        let service = self.service()?;
        let client = self.passage.account.before?.src;
        let holds = |prefix: &&Spanned<Prefix>| prefix.value.contains(client);
        let denied = service.access.deny.iter().filter(holds).max_by_key(|p| p.value.len());
        let at = |entry: &Spanned<Prefix>| self.narrator.places.at(&entry.span);
        if let Some(entry) = denied {
            return Some(("deny".to_owned(), format!("{} holds {client}", entry.value), at(entry)));
        }
        let detail = format!("no network of the list holds {client}");
        let first = service.access.allow.first().and_then(at);
        Some(("allow".to_owned(), detail, first))
    }

    fn no_flow(&self) -> Option<Why> {
        let service = self.service()?;
        let detail = if service.picks_up() {
            "picks connections up, but from its backends or clients alone"
        } else {
            "a connection begins with a SYN; this service picks none up (`pickup`)"
        };
        let place = self.narrator.places.at(&service.name.span);
        Some((service.name.value.clone(), detail.to_owned(), place))
    }

    fn service_limit(&self, reason: DropReason) -> Option<Why> {
        let service = self.service()?;
        let access = &service.access;
        let burst = |burst: &Option<crate::config::model::Burst>| {
            burst.map_or(String::new(), |b| format!("{} at once", b.burst))
        };
        let count = |most: Option<u32>| most.map_or(String::new(), |most| most.to_string());
        let (key, value) = match reason {
            DropReason::ClientRate => ("client-rate", burst(&access.client_rate)),
            DropReason::ClientFlows => ("client-flows", count(access.client_flows)),
            DropReason::ServiceRate => ("rate", burst(&access.rate)),
            _ => ("max-flows", count(access.max_flows)),
        };
        let place = self.narrator.places.at(&service.name.span);
        Some((key.to_owned(), format!("{value}, of service {}", service.name.value), place))
    }

    fn client_limit(&self) -> Option<Why> {
        let client = self.passage.account.before?.src;
        let ports = self.config().snat.as_ref().and_then(|snat| snat.ports_per_client.as_ref());
        let flows = &self.config().limits.flows_per_client;
        let has = self.narrator.tracer.engine().clients().account(client).flows;
        match ports {
            Some(ports) if has < flows.value => Some(self.limit("ports-per-client", ports)),
            _ => Some(self.limit("flows-per-client", flows)),
        }
    }

    fn limit(&self, key: &str, value: &Spanned<u32>) -> Why {
        let default = if value.is_written() { "" } else { ", the default" };
        let place = self.narrator.places.at(&value.span);
        (key.to_owned(), format!("{}{default}", value.value), place)
    }

    fn too_big(&self) -> Option<Why> {
        let flow = self.passage.account.flow.as_ref();
        let leg = flow.and_then(|flow| {
            let kept = flow.after.as_ref()?;
            Some(match flow.direction {
                Direction::Forward => kept.backend_leg,
                Direction::Reverse => kept.client_leg,
            })
        });
        let leg =
            leg.or_else(|| self.narrator.tracer.leg_toward(self.passage.account.before?.dst))?;
        let config = self.config().legs.get(usize::from(leg.0))?;
        let len = self.passage.came.len();
        let detail = format!("{len} bytes do not fit its MTU of {}", config.mtu.value);
        let place = self.narrator.places.at(&config.mtu.span);
        Some((config.name.value.clone(), detail, place.or_else(|| self.place(Subject::Leg(leg)))))
    }

    /// What lies behind each leg.
    fn no_route(&self) -> Vec<Why> {
        let why = |(id, leg): (u16, &crate::config::model::Leg)| {
            let networks = leg.addresses.iter().chain(&leg.routes);
            let networks: Vec<_> = networks
                .filter_map(|p| Some(Prefix::new(Address::from(p.address), p.length)?.to_string()))
                .collect();
            let came = if LegId(id) == self.passage.came.leg { ", where it came from" } else { "" };
            let detail = format!("leads to {}{came}", networks.join(", "));
            (leg.name.value.clone(), detail, self.place(Subject::Leg(LegId(id))))
        };
        (0..).zip(&self.config().legs).take(MAX_NAMED).map(why).collect()
    }

    /// Whose an address of ours is.
    fn own(&self, address: Option<Address>) -> Option<Why> {
        let address = address?;
        let config = self.config();
        let snat = config.snat.iter().flat_map(|snat| &snat.addresses);
        if let Some(entry) = snat.into_iter().find(|entry| Address::from(entry.value) == address) {
            let place = self.narrator.places.at(&entry.span);
            return Some((
                "snat".to_owned(),
                format!("{address} is an address of `[snat]`"),
                place,
            ));
        }
        let listens = config
            .services
            .iter()
            .flat_map(|service| service.listens.iter().map(move |listen| (service, listen)));
        let mut listens = listens.filter(|(_, listen)| listen.value.host() == Some(address));
        let (service, listen) = listens.next()?;
        let detail = format!("{address} is an address of this service");
        Some((service.name.value.clone(), detail, self.narrator.places.at(&listen.span)))
    }
}
