//! Who is asking, as far as the request or whoever asks us says.
//!
//! Never shows a credential: only where one stands, and its name for logs.

use std::sync::Arc;

use http::HeaderMap;
use serde::Serialize;

use super::request::Reading;
use crate::classify::Names;
use crate::gateway::Site;
use crate::identify::{IdentifyError, Identity};
use crate::inbound::Inbound;
use crate::rejection::Rejection;
use crate::types::{AccountId, Credential, CredentialId, CredentialKind};

/// Somebody, or nobody.
pub(super) struct Person {
    pub identity: Option<Arc<Identity>>,
    pub told: Told,
    /// Why nobody can be told from it, if something is wrong with what it carries.
    pub trouble: Option<Rejection>,
}

/// What is said of them.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub account: Option<Arc<str>>,
    /// Its name for logs.
    pub credential: Option<String>,
    /// How that is known.
    pub how: String,
    /// Where the request has something that is looked at.
    pub carries: Vec<String>,
    /// Where else it would be looked for.
    pub could_carry: Vec<String>,
}

/// Asks the site's identities; `account` takes the place of whoever they find.
pub(super) async fn identify(
    site: &Site,
    group: &str,
    head: &Inbound,
    reading: &Reading<'_>,
    account: Option<&str>,
) -> Person {
    let headers = headers_of(head, reading);
    let looked_at = site.identifier.looked_at(&headers);
    let (carries, could_carry): (Vec<_>, Vec<_>) = looked_at.into_iter().partition(|(_, is)| *is);
    let [carries, could_carry] =
        [carries, could_carry].map(|all| all.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    let learnt = matches!(reading.names, Some(Names::Token(_)));
    let found =
        site.identifier.identify(&headers, head.query(), head.client, true, head.received).await;
    let (found, trouble, how) = match found {
        Ok(Some(identity)) => (Some(identity), None, "its credential says so".to_owned()),
        Ok(None) if learnt => (
            None,
            None,
            "it names a token of the exchange's: only the running gateway knows whose".to_owned(),
        ),
        Ok(None) if carries.is_empty() => {
            (None, None, "nobody: it carries no credential".to_owned())
        }
        Ok(None) => (None, None, "nobody: its credential has expired or is not known".to_owned()),
        Err(error) => (None, Some(rejection(&error)), format!("nobody: {error}")),
    };
    let carried = found.is_some();
    let (identity, how, trouble) = match account {
        Some(name) => (Some(assumed(group, name, found)), "as told".to_owned(), None),
        None => (found, how, trouble),
    };
    let told = Told {
        account: identity.as_ref().map(|identity| identity.account.name.clone()),
        credential: identity.as_ref().filter(|_| carried).map(|identity| {
            let Credential { kind, id } = &identity.credential;
            format!("{} {id}", kind.word())
        }),
        how,
        carries,
        could_carry,
    };
    Person { identity, told, trouble }
}

/// The request's own, and what a message names.
fn headers_of(head: &Inbound, reading: &Reading<'_>) -> HeaderMap {
    let mut headers = head.headers.clone();
    if let Some(Names::Header(name, value)) = &reading.names {
        headers.insert(name.clone(), value.clone());
    }
    headers
}

/// An account that we are told; by a session, if the request does not carry another credential of its own.
fn assumed(group: &str, name: &str, found: Option<Arc<Identity>>) -> Arc<Identity> {
    let (group, name) = name.split_once('/').unwrap_or((group, name));
    let account = AccountId::new(group, name);
    match found {
        Some(found) => Arc::new(Identity { account, ..(*found).clone() }),
        None => Arc::new(Identity {
            account,
            credential: Credential {
                kind: CredentialKind::Session,
                id: CredentialId::new("explain"),
            },
            issued: None,
            expires: None,
            phone: None,
            mail: None,
            bearer: false,
        }),
    }
}

fn rejection(error: &IdentifyError) -> Rejection {
    match error {
        IdentifyError::Conflict => Rejection::BadRequest("two credentials name two accounts"),
        IdentifyError::Ambiguous(why) => Rejection::BadRequest(why),
        IdentifyError::Invalid(why) => Rejection::Unauthenticated(why),
        IdentifyError::NetworkNotAllowed => Rejection::NetworkNotAllowed,
        IdentifyError::Unavailable => {
            Rejection::Unavailable("credentials cannot be checked right now")
        }
    }
}
