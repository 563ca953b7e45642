//! # stepgate
//!
//! A TLS reverse proxy in front of an exchange. It knows the session, where it is, and what a request would do; before a
//! sensitive action passes it asks the account's owner for a code for exactly that action, and forwards nothing else.
//!
//! ## The life of a request
//!
//! accept → TLS → HTTP → site → identify → locate → classify → facts → decide → (challenge | redeem) → record the
//! intent → forward → observe the answer → settle. `pipeline` reads like this sentence; `answer` is the second story, of
//! a person who answers a challenge under `/.stepgate/`.
//!
//! ## The rooms, in the order a request meets them
//!
//! | room | question it answers |
//! | --- | --- |
//! | `listen` | who connected: TLS, HTTP, PROXY header, the true client address |
//! | `identify` | who is asking: JWT, API key, opaque session; exactly one account |
//! | `locate` | where from: GeoIP files, network lists; distance, speed, new or known |
//! | `classify` | what would be done: packs; loose detection, strict acceptance; the intent |
//! | `policy` | on what terms: facts, rules, verdict; its language, cases and explanations |
//! | `stepup` | is the owner's answer right: challenges, TOTP, codes, counting |
//! | `clearance` | the only key that `forward` takes |
//! | `pages` | what the person or program is answered |
//! | `forward` | how it reaches the exchange: pooled connections, headers, WebSockets and their frames |
//! | `tokens` | whose a token is that the exchange gave out |
//! | `suspended`, `suspension` | whether operators have closed it for a while |
//! | `observe` | what the exchange made of it |
//! | `routes` | which writes no action names |
//! | `audit` | what is remembered: hash-linked, signed, durable before the forward |
//! | `store` | state as atomic sentences; `embedded` keeps it in one file, `redis` shares it among gateways |
//! | `backup` | the file that a store is moved or kept in |
//! | `notices` | what owners are told, and what their links do |
//! | `sms` | how codes and notices are sent |
//! | `ticker`, `prices` | what an amount is worth |
//! | `serve`, `assemble`, `reload` | how it is put together, from one configuration, and replaced while it runs |
//! | `replay` | what another policy would have said of recorded traffic |
//! | `admin`, `operations`, `commands` | what operators can ask and order |
//!
//! ## Layers (arrows point down only; edges do not know one another)
//!
//! `tests/tidy.rs` reads this table and holds the sources to it.
//!
//! | layer | modules |
//! | --- | --- |
//! | root | config, assemble, reload, messenger, operations, serve, commands, fuzz, main |
//! | stories | pipeline, answer, notices, suspended, gateway |
//! | edges | listen, identify, locate::maxmind, pages, forward, audit (writer), store::embedded, store::redis, backup, sms, admin, metrics, telemetry, ticker, tokens, watch, replay |
//! | outgoing | fetch |
//! | ports | store (trait), locate (trait) |
//! | core, pure and sync | suspension, classify, policy, stepup, clearance, observe, routes, prices, rawhttp, locate::travel, audit::{record, chain, redact, keys} |
//! | ground | types, world, inbound, body, octets, fault, rejection, crypto, factors |
//!
//! ## Invariants
//!
//! - `forward` takes only `Cleared`; `Cleared` is made only from a `Permit`, or from a `Requirement` met by a `Proof` of
//!   this very intent. An unchecked request does not compile.
//! - Any error on the way to a decision on a guarded action is a refusal; on the rest, traffic goes on.
//! - What was classified is what is shown, hashed and forwarded, byte for byte.
//! - Time and randomness come in as arguments (`world`).

pub mod admin;
mod answer;
mod assemble;
pub mod audit;
pub mod backup;
pub mod body;
pub mod classify;
pub mod clearance;
pub mod commands;
pub mod config;
pub mod crypto;
mod factors;
pub mod fault;
pub mod fetch;
pub mod forward;
#[doc(hidden)]
pub mod fuzz;
mod gateway;
pub mod identify;
pub mod inbound;
pub mod listen;
pub mod locate;
mod messenger;
pub mod metrics;
mod notices;
pub mod observe;
mod octets;
mod operations;
pub mod pages;
mod pipeline;
pub mod policy;
pub mod prices;
pub mod rawhttp;
pub mod rejection;
mod reload;
pub mod replay;
pub mod routes;
pub mod serve;
pub mod sms;
pub mod stepup;
pub mod store;
mod suspended;
pub mod suspension;
pub mod telemetry;
mod ticker;
mod tokens;
pub mod types;
mod watch;
pub mod world;

/// Makes aws-lc the process's one provider, for TLS and for tokens. Called first by every entry point.
pub fn install_crypto() {
    // Both answer an error only if a provider was installed before, which is then this same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
