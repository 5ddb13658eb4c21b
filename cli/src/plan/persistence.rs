//! Clients that stay with their backends, from a checked configuration.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use l7::persistence::{Cookie, Persistence};
use nat::rng::derive;

use super::PlanError;
use crate::config::model::{Affinity, Config, Pool};

/// Bytes of a file that is a key.
const KEY: std::ops::RangeInclusive<u64> = 16..=4096;

/// Of each pool, how its clients stay with its backends, if by what their requests say. Files are read
/// relative to `folder`; `seed` stands in for one that is not configured.
pub(super) fn of_pools(
    config: &Config,
    folder: &Path,
    seed: u64,
) -> Result<Vec<Option<Persistence>>, PlanError> {
    let seed = config.seed.unwrap_or(seed);
    config.pools.iter().map(|pool| of(pool, folder, seed)).collect()
}

fn of(pool: &Pool, folder: &Path, seed: u64) -> Result<Option<Persistence>, PlanError> {
    let numbers = [derive(seed, 400), derive(seed, 401)];
    let cookie = match &pool.affinity {
        None | Some(Affinity::ClientIp { .. }) => return Ok(None),
        Some(Affinity::Header { name }) => {
            return Ok(Some(Persistence::Header(name.value.clone().into(), numbers[0])));
        }
        Some(Affinity::Cookie(cookie)) => cookie,
    };
    let key = match &cookie.key {
        Some(file) => read(&folder.join(&file.value))?,
        None => numbers.map(u64::to_be_bytes).concat(),
    };
    let names = pool.backends.iter().map(|backend| backend.name.as_str());
    let of_pool = (pool.name.as_str(), names);
    let cookie = Cookie::new(&cookie.name, &key, of_pool, &cookie.attributes, cookie.renews);
    Ok(Some(Persistence::Cookie(cookie)))
}

/// A key that is long enough to be one.
fn read(path: &Path) -> Result<Vec<u8>, PlanError> {
    let failed = |source| PlanError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(KEY.end() + 1).read_to_end(&mut bytes).map_err(failed)?;
    if KEY.contains(&(bytes.len() as u64)) {
        return Ok(bytes);
    }
    let reason = format!("a key has {} to {} bytes", KEY.start(), KEY.end());
    Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, reason)))
}
