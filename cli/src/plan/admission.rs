//! Whom services let in, out of files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::{Method as HttpMethod, StatusCode};
use l7::access::list::Networks;
use l7::access::pattern::{Case, Pattern, Patterns};
use l7::access::{Action, Listed, Rule, Rules};
use l7::admission::{Admission, Conditions, Hashing, WallClock};
use l7::auth::api_key::ApiKeys;
use l7::auth::basic::Users;
use l7::auth::jwt::{Claim, JwtConfig, KeySet};
use l7::auth::{Auth, Method};
use l7::http1::withheld::Withheld;
use l7::limit::{Limit, LimitConfig};
use l7::renewed::Renewed;
use l7::tls::pem::authorities;
use nat::rng::derive;

use super::PlanError;
use crate::config::model::{self, AuthMethod, Config, Service, Spanned};
use crate::config::read_list;

/// Whom a service lets in.
#[derive(Clone, Debug)]
pub struct AdmissionPlan {
    rules: Rules,
    /// For each route in its order: the places of its limits, and of how its clients are known.
    routes: Vec<(Vec<usize>, Option<usize>)>,
    shared: Arc<Shared>,
    files: Vec<Arc<ListFile>>,
}

/// What all services of a configuration share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    limits: Vec<LimitConfig>,
    auths: Vec<AuthPlan>,
    withheld: Withheld,
    files: Vec<Arc<ListFile>>,
}

#[derive(Debug)]
struct AuthPlan {
    name: String,
    user_field: String,
    method: Method,
}

/// Takes what is in a file, or says what is wrong with it.
type Take = dyn Fn(&[u8]) -> Result<(), String> + Send + Sync;

/// A file that is used anew when it changes.
pub struct ListFile {
    /// What it is for.
    pub what: String,
    /// Where it is.
    pub path: PathBuf,
    take: Box<Take>,
}

impl fmt::Debug for ListFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListFile").field("what", &self.what).finish_non_exhaustive()
    }
}

impl ListFile {
    /// Takes the file as it is now.
    ///
    /// # Errors
    /// [`PlanError`] if it cannot be read or used: then all stays as it is.
    pub fn run(&self) -> Result<(), PlanError> {
        (self.take)(&read(&self.path)?).map_err(|reason| self.unusable(reason))
    }

    fn unusable(&self, reason: String) -> PlanError {
        PlanError::List { path: self.path.clone(), reason }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PlanError> {
    read_list(path).map_err(|source| PlanError::File { path: path.to_owned(), source })
}

/// Reads files relative to a folder, and takes down which.
struct Reader<'a> {
    folder: &'a Path,
    files: Vec<Arc<ListFile>>,
}

impl Reader<'_> {
    /// What is in the file of `what`, as `parse` reads it now and later.
    fn renewed<T: Send + Sync + 'static, E: fmt::Display>(
        &mut self,
        what: &str,
        file: &Spanned<PathBuf>,
        parse: impl Fn(&[u8]) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Arc<Renewed<T>>, PlanError> {
        let path = self.folder.join(&file.value);
        let parse = move |bytes: &[u8]| parse(bytes).map_err(|error| error.to_string());
        let first = parse(&read(&path)?)
            .map_err(|reason| PlanError::List { path: path.clone(), reason })?;
        let value = Arc::new(Renewed::new(first));
        let renewed = Arc::clone(&value);
        let take = Box::new(move |bytes: &[u8]| parse(bytes).map(|value| renewed.set(value)));
        self.files.push(Arc::new(ListFile { what: what.to_owned(), path, take }));
        Ok(value)
    }

    fn listed<T: Clone + Default + Send + Sync + 'static, V, E: fmt::Display>(
        &mut self,
        what: &str,
        list: &model::Listed<V>,
        inline: impl Fn(&[Spanned<V>]) -> T,
        parse: impl Fn(&[u8]) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Option<Listed<T>>, PlanError> {
        if list.is_none() {
            return Ok(None);
        }
        let file = list.file.as_ref().map(|file| self.renewed(what, file, parse)).transpose()?;
        let inline = list.inline.as_deref().map(inline).unwrap_or_default();
        Ok(Some(Listed { inline, file }))
    }
}

impl Shared {
    /// What `config` says of limits and of who clients are.
    pub(super) fn from_config(
        config: &Config,
        folder: &Path,
        seed: u64,
    ) -> Result<Arc<Self>, PlanError> {
        let mut reader = Reader { folder, files: Vec::new() };
        let limits = config.rate_limits.iter().map(|limit| LimitConfig {
            name: limit.name.value.clone(),
            key: limit.key.value.clone(),
            rate: limit.rate.map(|(rate, burst)| nat::Rate {
                count: rate.count,
                per: rate.per,
                burst,
            }),
            at_once: limit.at_once,
            keys: limit.keys as usize,
            tell: limit.tell,
        });
        let auths = config.auths.iter().map(|auth| auth_plan(&mut reader, auth, seed));
        let auths = auths.collect::<Result<_, _>>()?;
        let told = config.auths.iter().flat_map(model::Auth::fields);
        let withheld = Withheld::new(told.map(|field| field.value.as_str()));
        let limits = limits.collect();
        Ok(Arc::new(Self { limits, auths, withheld, files: reader.files }))
    }
}

fn auth_plan(
    reader: &mut Reader<'_>,
    auth: &model::Auth,
    seed: u64,
) -> Result<AuthPlan, PlanError> {
    let what = format!("`auth.{}`", auth.name.value);
    let method = match &auth.method {
        AuthMethod::Basic { users, remember } => {
            let users = reader.renewed(&what, users, Users::parse)?;
            Method::Basic { users, remember: remember.as_secs() }
        }
        AuthMethod::ApiKeys { keys, header } => {
            let parse = move |bytes: &[u8]| ApiKeys::parse(bytes, derive(seed, 9));
            let keys = reader.renewed(&what, keys, parse)?;
            Method::ApiKeys { keys, header: header.clone() }
        }
        AuthMethod::Jwt(jwt) => {
            let keys = reader.renewed(&what, &jwt.jwks, KeySet::parse)?;
            let claims = jwt.claims.iter();
            let claims = claims.map(|(field, claim)| (field.value.clone(), Claim::new(claim)));
            let config = JwtConfig {
                issuer: jwt.issuer.clone(),
                audience: jwt.audience.clone(),
                leeway: jwt.leeway,
                claims: claims.collect(),
            };
            Method::Jwt { keys, config }
        }
        AuthMethod::Mtls { ca, claims } => {
            let authorities = reader.renewed(&what, ca, authorities)?;
            let claims = claims.iter().map(|(field, told)| (field.value.clone(), *told));
            Method::Mtls { authorities, claims: claims.collect() }
        }
        AuthMethod::Forward(_) => {
            return Err(PlanError::Unchecked("a way to know clients that exists"));
        }
    };
    let (name, user_field) = (auth.name.value.clone(), auth.user_header.value.clone());
    Ok(AuthPlan { name, user_field, method })
}

impl AdmissionPlan {
    /// Whom `service` lets in; nothing if that is everybody, and nobody's fields are taken away.
    pub(super) fn from_config(
        config: &Config,
        service: &Service,
        shared: &Arc<Shared>,
        folder: &Path,
    ) -> Result<Option<Self>, PlanError> {
        let asks = |route: &model::Route| route.auth.is_some() || !route.limits.is_empty();
        let any = !service.rules.is_empty() || service.routes.iter().any(asks);
        if !any && shared.withheld.is_empty() {
            return Ok(None);
        }
        let what = format!("service `{}`", service.name.value);
        let mut reader = Reader { folder, files: Vec::new() };
        let rules = service.rules.iter().map(|one| rule(&mut reader, &what, one));
        let rules = Rules::new(rules.collect::<Result<_, _>>()?);
        let limit = |name: &Spanned<String>| {
            let place = config.rate_limits.iter().position(|limit| limit.name.value == name.value);
            place.ok_or(PlanError::Unchecked("a limit that is defined"))
        };
        let auth = |name: &Spanned<String>| {
            let place = config.auths.iter().position(|auth| auth.name.value == name.value);
            place.ok_or(PlanError::Unchecked("an auth that is defined"))
        };
        let routes = service.routes.iter().map(|route| {
            let limits = route.limits.iter().map(limit).collect::<Result<_, _>>()?;
            Ok((limits, route.auth.as_ref().map(auth).transpose()?))
        });
        let routes = routes.collect::<Result<_, PlanError>>()?;
        Ok(Some(Self { rules, routes, shared: Arc::clone(shared), files: reader.files }))
    }

    /// The files of its rules, and those that all services share.
    pub(super) fn files(&self) -> (&[Arc<ListFile>], &[Arc<ListFile>]) {
        (&self.files, &self.shared.files)
    }
}

fn rule(reader: &mut Reader<'_>, what: &str, rule: &model::Rule) -> Result<Rule, PlanError> {
    let action = match rule.deny {
        None => Action::Allow,
        Some(status) => Action::Deny(StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN)),
    };
    let method = |name: &Spanned<String>| HttpMethod::from_bytes(name.value.as_bytes()).ok();
    // They were checked.
    let pattern = |text: &Spanned<String>| Pattern::parse(&text.value).ok();
    let patterns = |case| {
        move |list: &[Spanned<String>]| {
            Patterns::new(list.iter().filter_map(pattern).collect(), case)
        }
    };
    let parse = |case| move |bytes: &[u8]| Patterns::parse(bytes, case);
    let networks = |list: &[Spanned<nat::Prefix>]| Networks::new(list.iter().map(|net| net.value));
    let headers = rule.headers.iter();
    let headers = headers.filter_map(|(name, text)| Some((name.clone(), pattern(text)?)));
    Ok(Rule {
        action,
        clients: reader.listed(what, &rule.clients, networks, Networks::parse)?,
        methods: rule.methods.iter().filter_map(method).collect(),
        paths: reader.listed(what, &rule.paths, patterns(Case::Counts), parse(Case::Counts))?,
        headers: headers.collect(),
        agents: reader.listed(what, &rule.agents, patterns(Case::Ignored), parse(Case::Ignored))?,
    })
}

/// What lets requests in, for all services of a worker.
pub(super) struct Admissions {
    clock: WallClock,
    hashing: Rc<Hashing>,
    seed: u64,
    limits: Vec<Rc<Limit>>,
    auths: Vec<Rc<Auth>>,
    made: bool,
}

impl Admissions {
    /// None so far, whose secrets follow from `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let clock = WallClock::starting(epoch.unwrap_or(Duration::ZERO));
        let hashing = Rc::new(Hashing::default());
        Self { clock, hashing, seed, limits: Vec::new(), auths: Vec::new(), made: false }
    }

    /// That of a service.
    pub(super) fn of(&mut self, plan: &AdmissionPlan) -> Admission {
        let seed = |n: usize| derive(self.seed, n as u64);
        if !self.made {
            let limits = plan.shared.limits.iter().enumerate();
            self.limits =
                limits.map(|(n, limit)| Rc::new(Limit::new(limit, seed(2 * n)))).collect();
            let auths = plan.shared.auths.iter().enumerate();
            let auths = auths.map(|(n, AuthPlan { name, user_field, method })| {
                let (name, field) = (name.clone(), user_field.clone());
                Rc::new(Auth::new(name, field, method.clone(), seed(2 * n + 1)))
            });
            self.auths = auths.collect();
            self.made = true;
        }
        let conditions = |(limits, auth): &(Vec<usize>, Option<usize>)| Conditions {
            limits: limits.iter().filter_map(|&n| self.limits.get(n).cloned()).collect(),
            auth: auth.and_then(|n| self.auths.get(n).cloned()),
        };
        Admission {
            rules: plan.rules.clone(),
            routes: plan.routes.iter().map(conditions).collect(),
            withheld: plan.shared.withheld.clone(),
            clock: self.clock,
            hashing: Rc::clone(&self.hashing),
        }
    }
}
