//! By which leg a packet of a capture came.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;

use nat::Prefix;
use nat::route::Routes;
use netstack::wire::{Address, Headers};
use netstack::{LegId, Packet};

use crate::plan::Plan;

/// `PREFIX=LEG`: packets from there came by that leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegOf {
    /// Their sources.
    pub prefix: Prefix,
    /// The name of the leg.
    pub leg: String,
}

impl FromStr for LegOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it as PREFIX=LEG, such as 10.1.0.0/16=client";
        let (prefix, leg) = text.split_once('=').ok_or(FORM)?;
        let (address, len) = match prefix.split_once('/') {
            Some((address, len)) => (address, Some(len.parse::<u8>().map_err(|_| FORM)?)),
            None => (prefix, None),
        };
        let address = Address::from(address.parse::<IpAddr>().map_err(|_| FORM)?);
        let prefix = match len {
            Some(len) => {
                Prefix::new(address, len).ok_or("the prefix is longer than the address")?
            }
            None => Prefix::host(address),
        };
        if leg.is_empty() {
            return Err(FORM.to_owned());
        }
        Ok(Self { prefix, leg: leg.to_owned() })
    }
}

/// The legs of a plan, as a capture sees them.
#[derive(Debug)]
pub struct Legs {
    by_name: HashMap<String, LegId>,
    given: Vec<(Prefix, LegId)>,
    routes: Routes,
}

impl Legs {
    /// The legs of `plan`, and what the command line says of sources.
    ///
    /// # Errors
    /// The name that is no leg's.
    pub fn new(plan: &Plan, given: &[LegOf]) -> Result<Self, String> {
        let names = plan.legs.iter().map(|leg| leg.tun.name.clone());
        let by_name: HashMap<_, _> = names.zip((0..).map(LegId)).collect();
        let given = given.iter().map(|LegOf { prefix, leg }| {
            let id = by_name.get(leg).ok_or_else(|| leg.clone())?;
            Ok((*prefix, *id))
        });
        let given = given.collect::<Result<_, String>>()?;
        let prefixes: Vec<_> = plan.engine.legs.iter().map(|leg| leg.prefixes.clone()).collect();
        Ok(Self { by_name, given, routes: Routes::new(&prefixes) })
    }

    /// The leg of this name.
    pub fn named(&self, name: &str) -> Option<LegId> {
        self.by_name.get(name).copied()
    }

    /// The leg that `packet` came by: that of the interface's name; else as the command line says; else
    /// the one that leads to its source. A packet that cannot be read came by the first.
    pub fn of(&self, interface: &str, packet: &Packet) -> Option<LegId> {
        if let Some(leg) = self.named(interface) {
            return Some(leg);
        }
        let Ok(headers) = Headers::parse(packet) else { return Some(LegId(0)) };
        let given = self.given.iter().filter(|(prefix, _)| prefix.contains(headers.src));
        let longest = given.max_by_key(|(prefix, _)| prefix.len());
        longest.map(|(_, leg)| *leg).or_else(|| self.routes.lookup(headers.src))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_is_given_by_a_prefix_or_an_address() {
        let given: LegOf = "10.1.0.0/16=client".parse().unwrap();
        assert_eq!(
            (given.prefix.to_string(), given.leg.as_str()),
            ("10.1.0.0/16".into(), "client")
        );
        assert_eq!("fd99::1=web".parse::<LegOf>().unwrap().prefix.to_string(), "fd99::1/128");
        for wrong in ["client", "10.1.0.0/16=", "10.1.0.0/33=a", "10.1/16=a", "/16=a", "=a"] {
            assert!(wrong.parse::<LegOf>().is_err(), "{wrong}");
        }
    }
}
