//! What a site's `[[site.identity]]` tables say, and the checks made of them.
//!
//! Never reads a file: the texts come with the settings. Every fault is collected, none stops the
//! rest.

use std::ops::Range;
use std::sync::Arc;

use http::Uri;
use zeroize::Zeroizing;

use super::Check;
use super::api_key::ApiKeys;
use super::introspect::Introspect;
use super::jwks::Keys;
use super::jwt::{ALGORITHMS, Allowed, Jwt};
use super::present::Carrier;
use crate::fault::{Fault, Source, nearest, suggest};
use crate::fetch::Fetch;

/// Where a site's credentials stand and who knows them.
#[derive(Clone)]
pub struct Settings {
    /// The account group (`accounts`).
    pub group: Arc<str>,
    /// The file that says all this, for faults.
    pub source: Source,
    pub identities: Vec<IdentitySettings>,
}

/// One `[[site.identity]]`.
#[derive(Clone)]
pub struct IdentitySettings {
    pub from: Vec<String>,
    /// Where `from` stands in the file.
    pub from_span: Range<usize>,
    pub kind: Kind,
}

/// How one kind of credential is checked. Holds secrets, hence no `Debug`.
#[derive(Clone, PartialEq)]
pub enum Kind {
    Jwt {
        /// Empty: whatever the keys are for.
        algorithms: Vec<String>,
        keys: KeySource,
        issuer: Option<String>,
        audience: Option<String>,
    },
    /// The text of `api-keys.toml`.
    ApiKeyFile { accounts: Source },
    /// RFC 7662. `credentials` are `id:secret`, else a bearer token.
    Introspect { url: String, credentials: Option<Zeroizing<String>>, api_key: bool },
}

/// A key set's text, or the https address it is at.
#[derive(Clone, PartialEq)]
pub enum KeySource {
    File(Source),
    Url(String),
}

/// Makes one check.
pub(super) fn make(
    settings: &Settings,
    identity: &IdentitySettings,
    fetch: &Fetch,
    faults: &mut Vec<Fault>,
) -> Option<Check> {
    let group = settings.group.clone();
    let fault = |word: &str, message: String| {
        Fault::new(&settings.source, near(&settings.source, &identity.from_span, word), message)
    };
    match &identity.kind {
        Kind::ApiKeyFile { accounts } => {
            ApiKeys::read(accounts, &group, faults).map(Arc::new).map(Check::ApiKeys)
        }
        Kind::Introspect { url, credentials, api_key } => {
            let Some(uri) = address(url, false) else {
                faults.push(fault(url, "not an http:// or https:// address".to_owned()));
                return None;
            };
            let credentials = credentials.as_ref().map(|text| text.trim());
            let endpoint = Introspect::new(group, uri, credentials, fetch.clone());
            Some(Check::Introspect { endpoint: Arc::new(endpoint), api_key: *api_key })
        }
        Kind::Jwt { algorithms, keys, issuer, audience } => {
            let allowed = match Allowed::parse(algorithms) {
                Ok(allowed) => allowed,
                Err(name) => {
                    let names = ALGORITHMS.map(|(_, name)| name);
                    let help = suggest(name, names)
                        .unwrap_or_else(|| format!("one of: {}", names.join(", ")));
                    faults.push(fault(name, format!("no algorithm `{name}`")).help(help));
                    return None;
                }
            };
            let keys = match keys {
                KeySource::File(source) => Keys::from_file(source, &allowed, faults)?,
                KeySource::Url(url) => match address(url, true) {
                    Some(uri) => Keys::at(uri, allowed, fetch.clone()),
                    None => {
                        faults.push(fault(url, "not an https:// address".to_owned()));
                        return None;
                    }
                },
            };
            let jwt = Jwt::new(group, issuer.clone(), audience.clone(), Arc::new(keys));
            Some(Check::Jwt(Arc::new(jwt)))
        }
    }
}

/// A usable address. Keys decide who is believed, so they come over TLS, or from this machine.
fn address(url: &str, keys: bool) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let host = uri.host().filter(|host| !host.is_empty())?;
    let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match uri.scheme_str() {
        Some("https") => Some(uri),
        Some("http") if local || !keys => Some(uri),
        _ => None,
    }
}

const PLACES: &str = "`cookie:NAME`, `bearer`, `header:NAME` or `authorization:SCHEME:NAME`";

/// The places that `from` names.
pub(super) fn carriers(
    source: &Source,
    identity: &IdentitySettings,
    faults: &mut Vec<Fault>,
) -> Vec<Carrier> {
    let mut carriers = Vec::new();
    for text in &identity.from {
        let span = || near(source, &identity.from_span, text);
        match Carrier::parse(text) {
            Ok(carrier) if carriers.contains(&carrier) => {
                faults.push(Fault::new(source, span(), format!("`{text}` is there twice")));
            }
            Ok(carrier) => carriers.push(carrier),
            Err(why) => {
                let (kind, name) = text.split_once(':').unwrap_or((text, ""));
                let near = nearest(kind, ["cookie", "bearer", "header", "authorization"]);
                let help = match near.filter(|near| *near != kind) {
                    Some("bearer") => "did you mean `bearer`?".to_owned(),
                    Some(near) => format!("did you mean `{near}:{name}`?"),
                    None => PLACES.to_owned(),
                };
                faults.push(Fault::new(source, span(), format!("`{text}`: {why}")).help(help));
            }
        }
    }
    if identity.from.is_empty() {
        let message = "this identity says nowhere where its credential stands";
        faults.push(Fault::new(source, identity.from_span.clone(), message));
    }
    carriers
}

/// Where `"word"` stands, at `from` or behind it; else `from` itself.
fn near(source: &Source, from: &Range<usize>, word: &str) -> Range<usize> {
    let quoted = format!("\"{word}\"");
    let found = source.text.get(from.start..).and_then(|rest| rest.find(&quoted));
    found.map_or(from.clone(), |at| from.start + at..from.start + at + quoted.len())
}
