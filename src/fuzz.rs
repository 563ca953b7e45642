//! Doors for the fuzz targets of `tests/fuzz`: readers of hostile bytes that are nobody else's business.
//!
//! Never used by the gateway. Invariant: a door leads to the very code that traffic meets, and adds nothing to it.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;

use crate::backup::{Reader, Writer};
use crate::classify::json::Json;
use crate::classify::{canonical, json, pairs};
use crate::crypto::Keyring;
use crate::fault::Source;
use crate::identify::IdentifyError;
use crate::identify::present::Carrier;
use crate::listen::head;
use crate::listen::peer::{ProxyError, proxy_source};
use crate::stepup::passkey::{Posted, PostedKind};
use crate::types::UnixMs;
use crate::world::SeededEntropy;

/// What of one connection's reads reaches the HTTP library, and whether something was refused. The library is then told
/// by a last byte, a NUL, unless it is left to see for itself that a head is too large.
pub fn head(reads: &[&[u8]]) -> (Vec<u8>, bool) {
    head::through(reads)
}

/// Whether a guarded path may be spelt like this.
pub fn is_strict(path: &str) -> bool {
    canonical::is_strict(path)
}

/// Every loose key of a path; none if they cannot be told, which is a refusal.
pub fn keys(path: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    canonical::for_each_key(path, &mut |key| keys.push(key.to_owned())).then_some(keys)
}

/// One JSON text as the strict reader saw it: its tokens, without the white space between them.
///
/// # Errors
/// Why it is refused.
pub fn json(text: &str) -> Result<String, &'static str> {
    let mut tokens = String::with_capacity(text.len());
    spell(&json::parse(text)?, &mut tokens);
    Ok(tokens)
}

fn spell(json: &Json<'_>, out: &mut String) {
    match json {
        Json::Scalar(token) => out.push_str(token),
        Json::Object(members) => {
            out.push('{');
            for (at, member) in members.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(member.raw_name);
                out.push(':');
                spell(&member.value, out);
            }
            out.push('}');
        }
        Json::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                spell(element, out);
            }
            out.push(']');
        }
    }
}

/// Whether the beginning of a body is nested deeper than is read.
pub fn is_too_deep(beginning: &[u8]) -> bool {
    json::is_too_deep(beginning)
}

/// A pair as it stands and decoded.
pub struct Pair {
    /// `name=value`, or `name` alone.
    pub raw: String,
    pub name: String,
    pub value: Option<String>,
}

/// A query or a urlencoded body.
///
/// # Errors
/// Why it is refused.
pub fn pairs(text: &str) -> Result<Vec<Pair>, &'static str> {
    let read = |pair: pairs::Pair<'_>| {
        let equals = if pair.raw_value.is_some() { "=" } else { "" };
        let raw = format!("{}{equals}{}", pair.raw_name, pair.raw_value.unwrap_or_default());
        Pair { raw, name: pair.name, value: pair.value }
    };
    Ok(pairs::parse(text)?.into_iter().map(read).collect())
}

/// The credential that stands at `from`, as the configuration writes it.
///
/// # Errors
/// Why the request is refused.
pub fn credential(from: &str, headers: &HeaderMap) -> Result<Option<String>, IdentifyError> {
    let carrier = Carrier::parse(from).map_err(IdentifyError::Invalid)?;
    Ok(carrier.read(headers)?.map(str::to_owned))
}

/// The client that a PROXY header names.
///
/// # Errors
/// If it is malformed.
pub fn proxy_header(bytes: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    proxy_source(bytes)
}

/// What a browser posted for a passkey, its bytes as they are written in base64url.
pub struct Assertion {
    pub id: String,
    pub client_data: String,
    /// An attestation; or the authenticator's data and its signature.
    pub signed: Vec<String>,
}

/// Reads it, if a browser would have posted it.
pub fn assertion(text: &str) -> Option<Assertion> {
    let Posted { id, client_data, kind } = Posted::parse(text).ok()?;
    let signed = match kind {
        PostedKind::Attestation { attestation_object } => vec![attestation_object],
        PostedKind::Assertion { authenticator_data, signature } => {
            vec![authenticator_data, signature]
        }
    };
    let text = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    Some(Assertion {
        id: text(id),
        client_data: text(client_data),
        signed: signed.into_iter().map(text).collect(),
    })
}

/// What is made of a file by whoever has the key. What comes of it is said as text: the records, or why not.
///
/// # Errors
/// Why it is refused.
pub fn backup(file: &[u8]) -> Result<Vec<String>, String> {
    let mut reader = Reader::open(file, &keyring()?).map_err(|error| error.to_string())?;
    let mut records = Vec::new();
    while let Some(kept) = reader.record().map_err(|error| error.to_string())? {
        records.push(serde_json::to_string(&kept).map_err(|error| error.to_string())?);
    }
    Ok(records)
}

/// A file with this content, sealed as a backup is.
///
/// # Errors
/// If it cannot be made.
pub fn backup_of(content: &[u8]) -> Result<Vec<u8>, String> {
    let writer = Writer::new(Vec::new(), &keyring()?, &SeededEntropy::new(1), UnixMs(0));
    writer.and_then(|writer| writer.with_content(content)).map_err(|error| error.to_string())
}

/// A key that anybody may know.
fn keyring() -> Result<Keyring, String> {
    let source = Source::new("master.key", FUZZ_KEY);
    Keyring::parse(&source, &mut Vec::new()).ok_or_else(|| "not a key file".to_owned())
}

const FUZZ_KEY: &str = "fuzz BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";
