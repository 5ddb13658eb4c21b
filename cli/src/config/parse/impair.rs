//! What a link does: `delay`, `loss` and the like, in a file and on the command line.

use super::super::reader::{Complaint, Item, Reader, Table};
use super::super::value;
use crate::link::{Impairment, Settings};

const KEYS: [&str; 8] =
    ["delay", "jitter", "loss", "duplicate", "reorder", "corrupt", "rate", "queue"];

pub(super) fn impair(r: &mut Reader, item: &Item<'_>) -> Option<Settings> {
    let mut table = item.table(r)?;
    let settings = keys(r, &mut table);
    table.finish(r);
    Some(settings)
}

/// The keys of a table that say what a link does: for both ways, and in `to` and `from` for one.
pub(super) fn keys(r: &mut Reader, table: &mut Table<'_>) -> Settings {
    let both = one_way(r, table, Impairment::default());
    let mut way = |r: &mut Reader, key| {
        let inner = table.take(r, key).and_then(|item| item.table(r));
        inner.map_or(both, |mut inner| {
            let way = one_way(r, &mut inner, both);
            inner.finish(r);
            way
        })
    };
    Settings { to: way(r, "to"), from: way(r, "from") }
}

fn one_way(r: &mut Reader, table: &mut Table<'_>, mut impairment: Impairment) -> Impairment {
    for key in KEYS {
        if let Some(item) = table.take(r, key) {
            item.parse(r, |text| set(&mut impairment, key, text));
        }
    }
    impairment
}

#[expect(clippy::cast_sign_loss, reason = "a share is not negative")]
fn per_million(share: f64) -> u32 {
    (share * 1e6).round() as u32
}

fn set(impairment: &mut Impairment, key: &str, text: &str) -> Result<(), Complaint> {
    let chance = |text| value::percentage(text).map(per_million);
    match key {
        "delay" => impairment.delay = value::duration(text)?,
        "jitter" => impairment.jitter = value::duration(text)?,
        "loss" => impairment.loss = chance(text)?,
        "duplicate" => impairment.duplicate = chance(text)?,
        "reorder" => impairment.reorder = chance(text)?,
        "corrupt" => impairment.corrupt = chance(text)?,
        "rate" => impairment.rate = value::bit_rate(text)?,
        _ => impairment.queue = value::size(text)?,
    }
    Ok(())
}

/// Changes one thing that a link does, as `loss=1%` says.
///
/// # Errors
/// What is wrong with the text, and what would be right.
pub fn change(impairment: &mut Impairment, text: &str) -> Result<(), String> {
    let known = || format!("write KEY=VALUE with one of {}", KEYS.join(", "));
    let (key, text) = text.split_once('=').ok_or_else(known)?;
    if !KEYS.contains(&key) {
        return Err(known());
    }
    if text == "0" {
        match key {
            "rate" => impairment.rate = 0,
            "queue" => impairment.queue = 0,
            "delay" | "jitter" => set(impairment, key, "0s").map_err(|c| c.help)?,
            _ => set(impairment, key, "0%").map_err(|c| c.help)?,
        }
        return Ok(());
    }
    set(impairment, key, text).map_err(|c| format!("`{text}` {}: {}", c.what, c.help))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn words_of_the_command_line() {
        let mut link = Impairment::default();
        for word in ["delay=10ms", "loss=0.5%", "rate=100mbit"] {
            change(&mut link, word).unwrap();
        }
        assert_eq!(link.delay, Duration::from_millis(10));
        assert_eq!((link.loss, link.rate), (5_000, 100_000_000));
        for word in ["delay=0", "loss=0", "rate=0"] {
            change(&mut link, word).unwrap();
        }
        assert_eq!(link, Impairment::default());
        assert!(change(&mut link, "speed=1").unwrap_err().contains("delay, jitter"));
        assert!(change(&mut link, "loss=1").unwrap_err().contains("is not a percentage"));
    }
}
