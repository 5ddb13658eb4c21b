//! `balun cache`.

use serde_json::Value;

use super::capture::only_instance;
use crate::args::{CacheArgs, CacheCommand, PurgeArgs, TableFormat};
use crate::console::Console;
use crate::control::{Purged, Request, call, directory};
use crate::exit::ExitCode;

/// Shows or purges the caches of a running instance.
pub(super) fn run(args: &CacheArgs, console: &Console) -> ExitCode {
    let request = match &args.command {
        CacheCommand::Show { .. } => Request::Caches,
        CacheCommand::Purge(purge) => match purged(purge) {
            Ok(what) => Request::Purge { cache: purge.cache.clone(), what },
            Err(error) => {
                console.error(&error);
                return ExitCode::Usage;
            }
        },
    };
    let socket = match &args.control {
        Some(path) => Ok(path.clone()),
        None => only_instance(&directory::path()),
    };
    let answer = socket.and_then(|path| call(&path, &request).map_err(|error| error.to_string()));
    match (answer, &args.command) {
        (Err(error), _) => {
            console.error(&error);
            ExitCode::CouldNot
        }
        (Ok(caches), CacheCommand::Show { format: TableFormat::Json }) => {
            console.finish_with(&format!("{caches:#}\n"))
        }
        (Ok(caches), CacheCommand::Show { .. }) => console.finish_with(&table(&caches)),
        (Ok(answer), CacheCommand::Purge(_)) => {
            let count = answer["purged"].as_u64().unwrap_or_default();
            let code = console.finish_with(&format!("{count} purged\n"));
            // Nothing was there: the answer is no.
            if count == 0 && code == ExitCode::Done { ExitCode::No } else { code }
        }
    }
}

fn purged(args: &PurgeArgs) -> Result<Purged, String> {
    let whole = |url: &str| {
        let begins =
            |scheme: &str| url.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        if begins("http://") || begins("https://") {
            return Ok(url.to_owned());
        }
        Err(format!(
            "`{url}` is not a whole URL\nfix: write it as clients ask for it: `http://site.lab/a`"
        ))
    };
    Ok(match args {
        PurgeArgs { url: Some(url), .. } => Purged::Url(whole(url)?),
        PurgeArgs { prefix: Some(prefix), .. } => Purged::Prefix(whole(prefix)?),
        PurgeArgs { tag: Some(tag), .. } => Purged::Tag(tag.clone()),
        _ => Purged::All,
    })
}

fn table(caches: &Value) -> String {
    let mut out = format!(
        "{:<16} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "CACHE", "TAKEN", "OF", "RESOURCES", "HIT", "STALE", "VALIDATED", "MISS", "BYPASS"
    );
    for cache in caches.as_array().into_iter().flatten() {
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let requests = |names: &[&str]| -> u64 {
            names.iter().map(|name| number(&cache["requests"][*name])).sum()
        };
        let row = format!(
            "{:<16} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
            cache["name"].as_str().unwrap_or_default(),
            size(number(&cache["taken"])),
            size(number(&cache["memory"])),
            number(&cache["resources"]),
            requests(&["hit"]),
            requests(&["stale", "stale-on-error"]),
            requests(&["validated"]),
            requests(&["miss", "vary-miss", "changed"]),
            requests(&["bypass", "method", "unavailable"]),
        );
        out.push_str(&row);
    }
    out
}

/// A size in the greatest unit of which there is one.
fn size(bytes: u64) -> String {
    match bytes {
        0..0x400 => format!("{bytes}B"),
        0x400..0x10_0000 => format!("{}KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{}MiB", bytes >> 20),
        _ => format!("{}GiB", bytes >> 30),
    }
}
