//! A browser's request, sealed until its owner approves: packed once, released byte for byte once.
//!
//! Never kept in the clear: it holds cookies. Invariant: what is unpacked is what came in, head and body.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use serde::{Deserialize, Serialize};

use crate::forward::headers::join_cookies;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::rejection::Rejection;
use crate::stepup::challenge::Challenge;
use crate::types::ChallengeId;

#[derive(Serialize, Deserialize)]
struct Packed {
    method: String,
    host: Arc<str>,
    authority: Arc<str>,
    target: Arc<str>,
    headers: Vec<(String, String)>,
    body: String,
}

/// Packs and seals a request for one challenge.
pub(crate) fn seal(
    gateway: &Gateway,
    challenge: &Challenge,
    head: &Inbound,
    body: &Bytes,
) -> Result<Vec<u8>, Rejection> {
    let mut headers = head.headers.clone();
    if head.version == Version::HTTP_2 {
        // It is released as HTTP/1.1 would have it.
        join_cookies(&mut headers);
    }
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), STANDARD.encode(value.as_bytes())))
        .collect();
    let packed = Packed {
        method: head.method.as_str().to_owned(),
        host: head.host.clone(),
        authority: head.authority.clone(),
        target: (&*head.target).into(),
        headers,
        body: STANDARD.encode(body),
    };
    let plain = serde_json::to_vec(&packed)
        .map_err(|_| Rejection::Unavailable("the request cannot be held"))?;
    Ok(gateway.keyring.seal("held", &[challenge.id.as_str().as_bytes()], &plain))
}

/// The request as it was held; address, time and request id are those of the release.
pub(super) fn open(
    gateway: &Gateway,
    id: &ChallengeId,
    sealed: &[u8],
    releasing: &Inbound,
) -> Option<(Inbound, Bytes)> {
    let plain = gateway.keyring.open("held", &[id.as_str().as_bytes()], sealed).ok()?;
    let packed: Packed = serde_json::from_slice(&plain).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in &packed.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(&STANDARD.decode(value).ok()?).ok()?;
        headers.append(name, value);
    }
    let head = Inbound {
        request: releasing.request.clone(),
        method: Method::from_bytes(packed.method.as_bytes()).ok()?,
        host: packed.host,
        authority: packed.authority,
        target: (&*packed.target).into(),
        version: Version::HTTP_11,
        headers,
        client: releasing.client,
        received: releasing.received,
    };
    Some((head, STANDARD.decode(&packed.body).ok()?.into()))
}
