//! Who is asking: credentials of a request → one account, or nobody.
//!
//! Never takes a credential for nobody's because it is odd: what another parser might read
//! otherwise is refused, and what does not verify is refused too. Invariant: all credentials of one
//! request name the same account.

mod api_key;
mod claims;
mod introspect;
mod jwks;
mod jwt;
mod last;
pub(crate) mod present;
mod settings;

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName};

use self::api_key::ApiKeys;
use self::introspect::Introspect;
use self::jwt::Jwt;
use self::present::{Carrier, has_access_token};
use crate::fault::Fault;
use crate::fetch::Fetch;
use crate::types::{AccountId, Credential, CredentialKind, UnixMs};

pub(crate) use self::last::LastCredentials;
/// The signatures that can be named, as the configuration spells them.
#[cfg(test)]
pub(crate) fn algorithm_names() -> Vec<&'static str> {
    jwt::ALGORITHMS.map(|(_, name)| name).to_vec()
}

pub use self::settings::{IdentitySettings, KeySource, Kind, Settings};

/// Who a request's credentials prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub account: AccountId,
    /// The first credential, in the order of the configuration.
    pub credential: Credential,
    /// When the owner signed in (`auth_time`, else `iat`).
    pub issued: Option<UnixMs>,
    pub expires: Option<UnixMs>,
    /// `phone_number`, in E.164 form.
    pub phone: Option<Arc<str>>,
    /// `email`: where its owner is told things, never a factor.
    pub mail: Option<Arc<str>>,
    /// It came as `Authorization: Bearer`, so that challenges can speak RFC 9470.
    pub bearer: bool,
}

/// Why a request's credentials prove nothing. An expired credential is not an error: it is
/// nobody's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// 400.
    #[error("two credentials name two accounts")]
    Conflict,
    /// 400: another parser might read another credential.
    #[error("ambiguous credentials: {0}")]
    Ambiguous(&'static str),
    /// 401, for any traffic: a bad credential must not pass as none.
    #[error("invalid credential: {0}")]
    Invalid(&'static str),
    /// 403.
    #[error("this API key may not be used from this network")]
    NetworkNotAllowed,
    /// 503 for a guarded action.
    #[error("credentials cannot be checked right now")]
    Unavailable,
}

/// Identifies the requests of one site.
pub struct Identifier {
    group: Arc<str>,
    /// Every carrier once, with the checks that may know what it carries, in the order of the
    /// configuration.
    carriers: Vec<(Carrier, Vec<Check>)>,
    /// The headers that the carriers stand in, each once.
    names: Arc<[HeaderName]>,
    /// What was made from what, so that an unchanged identity keeps its keys and caches over a
    /// reload.
    made: Vec<(Kind, Check)>,
}

/// One way to check a credential. Clones share keys and caches.
#[derive(Clone)]
enum Check {
    Jwt(Arc<Jwt>),
    ApiKeys(Arc<ApiKeys>),
    Introspect { endpoint: Arc<Introspect>, api_key: bool },
}

/// What a check says: an identity, nobody (expired, or no longer active), or an error.
pub type Found = Result<Option<Arc<Identity>>, IdentifyError>;

impl Identifier {
    /// The group of the accounts that it names.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Makes the checks of a site; every fault goes to `faults`. Identities that are the same in
    /// `previous` are taken over with their keys and caches.
    pub fn new(
        settings: Settings,
        fetch: &Fetch,
        previous: Option<&Self>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        let before = faults.len();
        let previous = previous.filter(|previous| previous.group == settings.group);
        let mut identifier = Self {
            group: settings.group.clone(),
            carriers: Vec::new(),
            names: [].into(),
            made: Vec::new(),
        };
        for identity in &settings.identities {
            let known = previous.and_then(|previous| previous.find_made(&identity.kind));
            let check = match known {
                Some(check) => Some(check),
                None => settings::make(&settings, identity, fetch, faults),
            };
            let carriers = settings::carriers(&settings.source, identity, faults);
            let Some(check) = check else { continue };
            for carrier in carriers {
                identifier.add(carrier, check.clone());
            }
            identifier.made.push((identity.kind.clone(), check));
        }
        let mut names: Vec<_> =
            identifier.carriers.iter().map(|(carrier, _)| carrier.header()).collect();
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        identifier.names = names.into();
        (faults.len() == before).then_some(identifier)
    }

    /// The answer from memory; None if somebody must be asked or a signature checked. Not for
    /// guarded actions.
    pub fn recall(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        client: IpAddr,
        now: UnixMs,
    ) -> Option<Found> {
        self.recall_on(&LastCredentials::default(), headers, query, client, now)
    }

    /// The same for a request on a connection that remembers its last credentials.
    pub(crate) fn recall_on(
        &self,
        last: &LastCredentials,
        headers: &HeaderMap,
        query: Option<&str>,
        client: IpAddr,
        now: UnixMs,
    ) -> Option<Found> {
        if !query.is_some_and(has_access_token)
            && let Some(identity) = last.recall(&self.names, headers, now)
        {
            return Some(Ok(Some(identity)));
        }
        let carried = match self.carried(headers, query) {
            Ok(carried) => carried,
            Err(error) => return Some(Err(error)),
        };
        let mut agreed = None;
        for Carried { carrier, checks, text } in &carried {
            let mut said = Said::default();
            for check in *checks {
                let presented = check.present(carrier, text);
                if said.done(check.recall(&presented, client, now)?) {
                    break;
                }
            }
            if let Err(error) = said.verdict().and_then(|found| agree(&mut agreed, found)) {
                return Some(Err(error));
            }
        }
        if let ([only], Some(identity)) = (&carried[..], &agreed) {
            self.keep(last, headers, only, identity);
        }
        Some(Ok(agreed))
    }

    /// The next request need not be read again if it brings the same token and nothing else. Other credentials can end at
    /// any time, and only their checks know of it.
    fn keep(
        &self,
        last: &LastCredentials,
        headers: &HeaderMap,
        only: &Carried<'_>,
        identity: &Arc<Identity>,
    ) {
        // A check before it that did not know the token might know it later.
        let Some(check @ Check::Jwt(jwt)) = only.checks.first() else { return };
        let verified = jwt.known(&check.present(only.carrier, only.text));
        if let Some(verified) = verified.filter(|it| Arc::ptr_eq(&it.identity, identity)) {
            last.keep(&self.names, headers, jwt, verified);
        }
    }

    /// The whole answer. `fresh`, for guarded actions: opaque credentials are asked about anew, and
    /// a token within its clock leeway counts as ended.
    ///
    /// # Errors
    /// See `IdentifyError`; `Ok(None)` is nobody.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        client: IpAddr,
        fresh: bool,
        now: UnixMs,
    ) -> Result<Option<Arc<Identity>>, IdentifyError> {
        let mut agreed = None;
        for Carried { carrier, checks, text } in self.carried(headers, query)? {
            let mut said = Said::default();
            for check in checks {
                let presented = check.present(carrier, text);
                if said.done(check.ask(&presented, client, fresh, now).await) {
                    break;
                }
            }
            agree(&mut agreed, said.verdict()?)?;
        }
        Ok(agreed)
    }

    /// The headers that hold credentials, and nothing else: whoever sends them again is who sent them now.
    pub fn voucher(&self, headers: &HeaderMap) -> HeaderMap {
        let mut voucher = HeaderMap::new();
        for name in &*self.names {
            for value in headers.get_all(name) {
                voucher.append(name.clone(), value.clone());
            }
        }
        voucher
    }

    /// Every place where a credential may stand, as the configuration spells it, and whether something stands there. Never
    /// what stands there.
    pub(crate) fn looked_at(&self, headers: &HeaderMap) -> Vec<(String, bool)> {
        let there = |carrier: &Carrier| !matches!(carrier.read(headers), Ok(None));
        let all = self.carriers.iter();
        all.map(|(carrier, _)| (carrier.to_string(), there(carrier))).collect()
    }

    /// Whether every key set at an address has been fetched once.
    pub fn has_keys(&self) -> bool {
        let waits =
            |check: &Check| matches!(check, Check::Jwt(jwt) if jwt.keys.current().is_none());
        !self.made.iter().any(|(_, check)| waits(check))
    }

    /// Keeps the key sets at https addresses fresh, beginning at once. Ends when none of them is in
    /// use any more, or at once if there is none that an earlier watch does not already keep. To be
    /// spawned after every `new`.
    pub fn watch(&self) -> impl Future<Output = ()> + Send + 'static {
        let watched: Vec<Weak<Jwt>> = self
            .made
            .iter()
            .filter_map(|(_, check)| match check {
                Check::Jwt(jwt) if jwt.keys.claim_watch() => Some(Arc::downgrade(jwt)),
                _ => None,
            })
            .collect();
        async move {
            loop {
                let alive: Vec<Arc<Jwt>> = watched.iter().filter_map(Weak::upgrade).collect();
                if alive.is_empty() {
                    return;
                }
                for jwt in alive {
                    jwt.keys.keep_fresh().await;
                }
                tokio::time::sleep(WATCH_EVERY).await;
            }
        }
    }

    fn find_made(&self, kind: &Kind) -> Option<Check> {
        self.made.iter().find(|(known, _)| known == kind).map(|(_, check)| check.clone())
    }

    fn add(&mut self, carrier: Carrier, check: Check) {
        match self.carriers.iter_mut().find(|(known, _)| *known == carrier) {
            Some((_, checks)) => checks.push(check),
            None => self.carriers.push((carrier, vec![check])),
        }
    }

    /// Everything the head carries.
    fn carried<'a>(
        &'a self,
        headers: &'a HeaderMap,
        query: Option<&str>,
    ) -> Result<Vec<Carried<'a>>, IdentifyError> {
        let mut carried = Vec::new();
        for (carrier, checks) in &self.carriers {
            if let Some(text) = carrier.read(headers)? {
                carried.push(Carried { carrier, checks, text });
            }
        }
        // RFC 6750 §2 allows one method only; the exchange might act for the token we did not look
        // at.
        if !carried.is_empty() && query.is_some_and(has_access_token) {
            return Err(IdentifyError::Ambiguous("a token in the query as well"));
        }
        Ok(carried)
    }
}

/// A text where a credential stands, with the checks that may know it.
struct Carried<'a> {
    carrier: &'a Carrier,
    checks: &'a [Check],
    text: &'a str,
}

/// A credential as it came, on its way to a check.
struct Presented<'h> {
    kind: CredentialKind,
    bearer: bool,
    text: &'h str,
}

/// One text may be a cookie here and a bearer token there, and those are two credentials.
type CacheKey = (CredentialKind, [u8; 32]);

impl Presented<'_> {
    /// SHA-256 of the text.
    fn hash(&self) -> [u8; 32] {
        let digest = digest(&SHA256, self.text.as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        hash
    }

    fn cache_key(&self) -> CacheKey {
        (self.kind, self.hash())
    }
}

impl Check {
    fn present<'h>(&self, carrier: &Carrier, text: &'h str) -> Presented<'h> {
        let api_key = matches!(self, Self::ApiKeys(_) | Self::Introspect { api_key: true, .. });
        let kind = match carrier {
            _ if api_key => CredentialKind::ApiKey,
            Carrier::Cookie(_) => CredentialKind::Session,
            _ => CredentialKind::Bearer,
        };
        Presented { kind, bearer: *carrier == Carrier::Bearer, text }
    }

    fn recall(&self, presented: &Presented<'_>, client: IpAddr, now: UnixMs) -> Option<Found> {
        match self {
            Self::Jwt(jwt) => jwt.recall(presented, false, now),
            Self::ApiKeys(keys) => Some(keys.find(presented, client)),
            Self::Introspect { endpoint, .. } => endpoint.recall(presented, now),
        }
    }

    async fn ask(
        &self,
        presented: &Presented<'_>,
        client: IpAddr,
        fresh: bool,
        now: UnixMs,
    ) -> Found {
        match self {
            Self::Jwt(jwt) => jwt.check(presented, fresh, now).await,
            Self::ApiKeys(keys) => keys.find(presented, client),
            Self::Introspect { endpoint, .. } => endpoint.check(presented, fresh, now).await,
        }
    }
}

/// What the checks of one carrier said so far. A check that knows the credential ends it; otherwise
/// "cannot be checked" outweighs "nobody's any more", and that outweighs "not one of mine".
#[derive(Default)]
struct Said(Option<Found>);

impl Said {
    fn done(&mut self, found: Found) -> bool {
        let weight = |found: &Found| match found {
            Ok(Some(_)) | Err(IdentifyError::NetworkNotAllowed) => 4,
            Err(IdentifyError::Unavailable) => 3,
            Ok(None) => 2,
            Err(_) => 1,
        };
        let final_word = weight(&found) == 4;
        if self.0.as_ref().is_none_or(|said| weight(said) < weight(&found)) {
            self.0 = Some(found);
        }
        final_word
    }

    fn verdict(self) -> Found {
        self.0.unwrap_or(Ok(None))
    }
}

fn agree(
    agreed: &mut Option<Arc<Identity>>,
    found: Option<Arc<Identity>>,
) -> Result<(), IdentifyError> {
    match (&agreed, found) {
        (_, None) => Ok(()),
        (Some(first), Some(next)) if first.account == next.account => Ok(()),
        (Some(_), Some(_)) => Err(IdentifyError::Conflict),
        (None, first) => {
            *agreed = first;
            Ok(())
        }
    }
}

/// Credentials remembered per check.
const CACHED_MAX: u64 = 1_000_000;
/// When memory of one is given back, whatever it says of itself.
const CACHED_TTL: Duration = Duration::from_secs(3600);
const WATCH_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
