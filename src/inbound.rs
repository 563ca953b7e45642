//! A request as it came: method, host, target, headers, peer and TLS facts as plain data.
//!
//! Never rewritten: the path, query and body that were classified are the ones that are shown, hashed and
//! forwarded.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Version};

use crate::types::{RequestId, UnixMs};

/// The head of one request. `target` is path and query exactly as sent.
#[derive(Clone, Debug)]
pub struct Inbound {
    pub request: RequestId,
    pub method: Method,
    /// Authority in lower case, without the port; picks the site.
    pub host: Arc<str>,
    /// Authority exactly as sent (`Host` or `:authority`), with its port; forwarded as `Host`.
    pub authority: Arc<str>,
    pub target: Arc<str>,
    pub version: Version,
    pub headers: HeaderMap,
    /// The client's address after trusted proxies, IPv4-mapped addresses already turned into IPv4.
    pub client: IpAddr,
    pub received: UnixMs,
}

impl Inbound {
    pub fn path(&self) -> &str {
        split(&self.target).0
    }
    pub fn query(&self) -> Option<&str> {
        split(&self.target).1
    }
}

/// A target's path and query. Asked several times for each request, so the mark is looked for as a byte.
pub(crate) fn split(target: &str) -> (&str, Option<&str>) {
    let mark = memchr::memchr(b'?', target.as_bytes());
    match mark.and_then(|at| target.split_at_checked(at)) {
        Some((path, query)) => (path, query.strip_prefix('?')),
        None => (target, None),
    }
}
