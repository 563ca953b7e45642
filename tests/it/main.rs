//! The integration tests, one binary: claims about behaviour over real files and sockets.

mod admin;
mod audit;
#[cfg(feature = "webauthn")]
mod authenticator;
mod backup;
mod binary;
mod brand;
mod broken_input;
mod bypass;
mod check;
mod client;
mod connections;
mod crash;
mod doctor;
mod enrolment;
mod exchange;
mod explain;
#[path = "../faults/check/mod.rs"]
#[allow(dead_code)] // The fault run uses the rest.
mod fault_check;
#[path = "../faults/check/claims.rs"]
mod fault_claims;
mod fleet;
mod frames;
mod held;
mod hostile;
mod identity;
#[path = "../incidents/mod.rs"]
mod incidents;
mod journeys;
#[path = "../kit/mod.rs"]
mod kit;
mod language;
mod many_gateways;
mod messages;
mod notices;
mod operators;
mod packs;
mod packs_binance;
mod packs_bybit_deribit;
mod packs_cases;
mod packs_kraken_coinbase;
mod pages;
mod planted;
mod readme;
mod reload;
mod reload_load;
mod reload_sites;
mod replay;
mod routes;
mod shadow_policy;
mod sms_cost;
mod sms_provider;
mod store_contract;
mod store_link;
mod streaming;
mod suspension;
mod switch;
mod ticker;
#[path = "../tidy.rs"]
mod tidy;
mod vectors;
#[cfg(feature = "webauthn")]
mod webauthn;
mod websocket;
mod world;
