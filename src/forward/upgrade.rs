//! WebSockets: one upstream connection each, bytes copied both ways.
//!
//! Never switches before the upstream has said 101 to this very key, and to nothing but
//! `websocket`: any other upgrade would open a tunnel that nobody looks into. Other `Upgrade`
//! values are dropped and the request is an ordinary one.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, StatusCode, Version};
use hyper::Response;
use hyper::body::Body as _;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::masked::{Masked, NOT_A_FRAME};
use super::{ForwardError, Pool, Stamp, Upstream, answered, headers, prepare};
use crate::body::Body;
use crate::clearance::Cleared;
use crate::inbound::Inbound;

/// What came of asking the upstream for a WebSocket.
pub enum Upgrade {
    /// The 101 for the client, and the upstream's end of the tunnel.
    Switched(Response<Body>, Upgraded),
    /// The upstream answered something else.
    Answered(Response<Body>),
}

/// Whether the request asks for a WebSocket (RFC 6455 §4.1).
pub fn asks_for_websocket(head: &Inbound) -> bool {
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && says_websocket(&head.headers)
        && headers::lists_upgrade(&head.headers)
}

impl Pool {
    /// Asks the upstream for a WebSocket, on a connection of its own. Never repeated.
    ///
    /// # Errors
    /// As `forward`; `Refused` also if the request does not ask for a WebSocket.
    pub async fn upgrade(
        self: &Arc<Self>,
        upstream: &Upstream,
        cleared: Cleared,
        stamp: Stamp,
    ) -> Result<Upgrade, ForwardError> {
        if !asks_for_websocket(cleared.head()) {
            return Err(ForwardError::Refused("not a WebSocket request"));
        }
        let accept = accept_for(&cleared.head().headers)?;
        let mut request = prepare(cleared, &stamp, false)?;
        // A server that knows no body of a GET would take it for frames, or for another request.
        if !request.body().is_end_stream() {
            return Err(ForwardError::Refused("a WebSocket request has no body"));
        }
        headers::say_websocket(request.headers_mut());
        let line = self.fresh_for_upgrade(upstream).await;
        let mut line = line.map_err(ForwardError::NotSent)?;
        let mut response = match self.exchange(&mut line, request, stamp.guarded).await {
            Ok(response) => response,
            Err(failure) if failure.unsent.is_some() => {
                return Err(ForwardError::NotSent(failure.cause));
            }
            Err(failure) => return Err(ForwardError::NoAnswer(failure.cause)),
        };
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !switched || !agrees(response.headers(), &accept) {
            return answered(response, line, None).map(Upgrade::Answered);
        }
        let tunnel = hyper::upgrade::on(&mut response).await;
        let tunnel = tunnel.map_err(|error| ForwardError::NoAnswer(error.into()))?;
        let mut fields = std::mem::take(response.headers_mut());
        headers::clean_response(&mut fields, response.version());
        headers::say_websocket(&mut fields);
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = fields;
        Ok(Upgrade::Switched(answer, tunnel))
    }
}

/// Copies both ways until both ends have closed or one fails; gives the bytes sent up and down. What
/// comes from the client must be frames.
/// `client` is taken from the request (`hyper::upgrade::on`) before the request is answered.
///
/// # Errors
/// When the client's end never became a tunnel, or either end fails.
pub async fn tunnel(client: OnUpgrade, upstream: Upgraded) -> std::io::Result<(u64, u64)> {
    let client = client.await.map_err(std::io::Error::other)?;
    let (mut client, mut upstream) = (Masked::new(TokioIo::new(client)), TokioIo::new(upstream));
    let copied = tokio::io::copy_bidirectional_with_sizes(
        &mut client,
        &mut upstream,
        TUNNEL_BUFFER_BYTES,
        TUNNEL_BUFFER_BYTES,
    )
    .await;
    if copied.as_ref().is_err_and(|error| error.kind() == ErrorKind::InvalidData) {
        // Both ends are closed by being dropped; one that cannot be told why is closed all the same.
        let _ = tokio::time::timeout(GOODBYE, client.write_all(NOT_A_FRAME)).await;
        let _ = tokio::time::timeout(GOODBYE, client.shutdown()).await;
    }
    copied
}

/// What a server that has understood the request says of its key (RFC 6455 §4.2.2).
fn accept_for(headers: &HeaderMap) -> Result<String, ForwardError> {
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(ForwardError::Refused("a WebSocket request has one key"));
    };
    let text = [key.as_bytes(), KEY_SUFFIX].concat();
    Ok(STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text)))
}

/// A 101 that does not answer this very key comes from a server that did not switch, and would run
/// what the tunnel carries as requests.
fn agrees(headers: &HeaderMap, accept: &str) -> bool {
    says_websocket(headers)
        && headers
            .get(SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|said| said.as_bytes() == accept.as_bytes())
}

fn says_websocket(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(UPGRADE).iter();
    let one = values.next().filter(|_| values.next().is_none());
    one.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const GOODBYE: Duration = Duration::from_secs(1);
const TUNNEL_BUFFER_BYTES: usize = 8 * 1024;
