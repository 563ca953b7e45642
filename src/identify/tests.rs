//! Identification as its callers see it, with keys, tokens and endpoints made on the spot.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::jwt::sign::Issuer;
use super::*;
use crate::fault::Source;

const NOW: UnixMs = UnixMs(1_790_000_000_000);
const NOW_S: i64 = 1_790_000_000;

struct World {
    background: Runtime,
    fetch: Fetch,
}

fn world() -> World {
    let background =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fetch = Fetch::new(None, background.handle().clone()).unwrap();
    World { background, fetch }
}

impl World {
    fn identifier(&self, identities: Vec<IdentitySettings>) -> Identifier {
        self.after(identities, None)
    }

    fn after(
        &self,
        identities: Vec<IdentitySettings>,
        previous: Option<&Identifier>,
    ) -> Identifier {
        let (settings, mut faults) = (settings(identities), Vec::new());
        let identifier = Identifier::new(settings, &self.fetch, previous, &mut faults);
        assert_eq!(faults, []);
        identifier.unwrap()
    }

    fn identify(&self, site: &Identifier, headers: &HeaderMap, fresh: bool, now: UnixMs) -> Found {
        self.background.block_on(site.identify(headers, None, client(), fresh, now))
    }

    /// One bearer token against one identity made of these keys.
    fn check(&self, site: &Identifier, token: &str) -> Result<Option<String>, IdentifyError> {
        let found = self.identify(site, &bearer(token), false, NOW)?;
        Ok(found.map(|identity| identity.account.name.to_string()))
    }

    fn faults(&self, identities: Vec<IdentitySettings>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let made = Identifier::new(settings(identities), &self.fetch, None, &mut faults);
        assert!(made.is_none());
        faults
    }
}

fn settings(identities: Vec<IdentitySettings>) -> Settings {
    Settings { group: "main".into(), source: Source::new("stepgate.toml", CONFIG), identities }
}

/// What faults of the settings point at.
const CONFIG: &str = "from = [\"bearer\", \"cokie:sid\"]\nalgorithms = [\"ES256\", \"none\"]\n";

fn identity(from: &[&str], kind: Kind) -> IdentitySettings {
    let from = from.iter().map(|text| (*text).to_owned()).collect();
    IdentitySettings { from, from_span: 7..30, kind }
}

fn key_set(keys: &[&Issuer]) -> String {
    json!({ "keys": keys.iter().map(|issuer| &issuer.jwk).collect::<Vec<_>>() }).to_string()
}

fn jwt(from: &[&str], keys: &[&Issuer]) -> IdentitySettings {
    let keys = KeySource::File(Source::new("session.jwks", key_set(keys)));
    identity(from, Kind::Jwt { algorithms: vec![], keys, issuer: None, audience: None })
}

fn jwt_at(url: &str) -> IdentitySettings {
    let keys = KeySource::Url(url.to_owned());
    identity(&["bearer"], Kind::Jwt { algorithms: vec![], keys, issuer: None, audience: None })
}

fn api_keys(from: &[&str], text: &str) -> IdentitySettings {
    identity(from, Kind::ApiKeyFile { accounts: Source::new("api-keys.toml", text) })
}

fn opaque(from: &[&str], url: &str) -> IdentitySettings {
    let credentials = Some(Zeroizing::new("gate:way\n".to_owned()));
    identity(from, Kind::Introspect { url: url.to_owned(), credentials, api_key: false })
}

fn claims(account: &str) -> Value {
    json!({ "sub": account, "exp": NOW_S + 600, "sid": format!("{account}-1") })
}

fn client() -> IpAddr {
    "203.0.113.7".parse().unwrap()
}

fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name, value.parse().unwrap());
    }
    headers
}

fn bearer(token: &str) -> HeaderMap {
    headers(&[(AUTHORIZATION, &format!("Bearer {token}"))])
}

fn cookie(token: &str) -> HeaderMap {
    headers(&[(COOKIE, &format!("session={token}"))])
}

/// An endpoint that answers what `answer` says to each request's head and body, and counts them.
struct Endpoint {
    url: String,
    asked: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

fn endpoint(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let heads = Arc::new(Mutex::new(Vec::new()));
    let shared = (asked.clone(), heads.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while reader.read_line(&mut head).unwrap_or(0) > 2 {
                let line = head.lines().last().unwrap_or("").to_ascii_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            shared.0.fetch_add(1, Ordering::SeqCst);
            shared.1.lock().unwrap().push(head);
            let (status, text) = answer(std::str::from_utf8(&body).unwrap());
            let _ = write!(
                reader.get_mut(),
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            );
        }
    });
    Endpoint { url, asked, heads }
}

impl Endpoint {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

// --- tokens

#[test]
fn a_signed_token_proves_its_account_by_cookie_and_by_bearer() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["cookie:session", "bearer"], &[&issuer])]);
    let token = issuer.token(&claims("alice"));
    let by_cookie = world.identify(&site, &cookie(&token), true, NOW).unwrap().unwrap();
    assert_eq!(by_cookie.account, AccountId::new("main", "alice"));
    assert_eq!(by_cookie.credential.kind, CredentialKind::Session);
    assert_eq!(by_cookie.credential.id.as_str(), "sid:alice-1");
    assert_eq!(by_cookie.expires, Some(UnixMs((NOW_S + 600) * 1000)));
    assert!(!by_cookie.bearer);
    let by_bearer = world.identify(&site, &bearer(&token), true, NOW).unwrap().unwrap();
    assert_eq!(by_bearer.credential.kind, CredentialKind::Bearer);
    assert!(by_bearer.bearer);
}

#[test]
fn a_verified_token_is_recalled_until_it_ends() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    let head = bearer(&issuer.token(&claims("alice")));
    let recall = |now_s: i64| site.recall(&head, None, client(), UnixMs(now_s * 1000));
    assert_eq!(recall(NOW_S), None);
    world.identify(&site, &head, false, NOW).unwrap().unwrap();
    assert!(recall(NOW_S).unwrap().unwrap().is_some());
    // A minute of clock leeway, in which it is still known whose request it is.
    assert!(recall(NOW_S + 659).unwrap().unwrap().is_some());
    assert_eq!(recall(NOW_S + 660), Some(Ok(None)));
}

#[test]
fn a_connection_that_remembers_its_last_credentials_says_what_any_other_says() {
    let (world, keys) = (world(), Issuer::es256("k1"));
    let from = &["cookie:session", "bearer"];
    let keyed = api_keys(&["header:X-Key"], "[[key]]\nid = \"k\"\naccount = \"bob\"\n");
    let site = world.identifier(vec![jwt(from, &[&keys]), keyed.clone()]);
    let reloaded = world.after(vec![jwt(from, &[&keys]), keyed], Some(&site));
    let other_keys = world.identifier(vec![jwt(from, &[&Issuer::es256("k2")])]);
    let (alice, bob) = (keys.token(&claims("alice")), keys.token(&claims("bob")));
    let key = |headers: HeaderMap| {
        let mut headers = headers;
        headers.insert("x-key", HeaderValue::from_static("k"));
        headers
    };
    let cookies = |text: &str| headers(&[(COOKIE, text)]);
    let heads = [
        cookie(&alice),
        cookie(&bob),
        bearer(&alice),
        bearer(&bob),
        key(HeaderMap::new()),
        key(cookie(&bob)),
        key(cookie(&alice)),
        cookies(&format!("session={alice}; session={alice}")),
        cookies(&format!("session={alice}; lang=de")),
        cookies("session=no-token"),
        HeaderMap::new(),
    ];
    for head in &heads {
        let _ = world.identify(&site, head, false, NOW);
    }
    let last = LastCredentials::default();
    let later = NOW.plus_ms(600_000 + 60_000);
    let mut remembered = 0;
    for (first, head) in heads.iter().flat_map(|first| heads.iter().map(move |head| (first, head)))
    {
        for (site, query, now) in [
            (&site, None, NOW),
            (&site, Some("access_token=x"), NOW),
            (&site, None, later),
            (&reloaded, None, NOW),
            (&other_keys, None, NOW),
        ] {
            for headers in [first, first, head] {
                let said = site.recall_on(&last, headers, query, client(), now);
                assert_eq!(said, site.recall(headers, query, client(), now), "{headers:?}");
                remembered += u32::from(last.recall(&site.names, headers, now).is_some());
            }
        }
    }
    assert!(remembered > 0, "nothing was ever remembered");
}

#[test]
fn a_token_in_its_leeway_may_not_act() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    let head = bearer(&issuer.token(&json!({ "sub": "alice", "exp": NOW_S })));
    assert!(world.identify(&site, &head, false, NOW).unwrap().is_some());
    assert_eq!(world.identify(&site, &head, true, NOW), Ok(None));
}

#[test]
fn an_expired_token_is_nobodys_but_a_forged_expired_one_is_invalid() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    let expired = json!({ "sub": "alice", "exp": NOW_S - 61 });
    assert_eq!(world.check(&site, &issuer.token(&expired)), Ok(None));
    let forged = Issuer::es256("k1").token(&expired);
    assert_eq!(world.check(&site, &forged), Err(IdentifyError::Invalid("bad signature")));
}

#[test]
fn a_token_cannot_choose_its_algorithm() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    // The public key used as an HMAC secret, under every name for it.
    let point = |name: &str| URL_SAFE_NO_PAD.decode(issuer.jwk[name].as_str().unwrap()).unwrap();
    let public = [vec![4], point("x"), point("y")].concat();
    let confused = Issuer::hs256("k1", &public);
    for alg in ["HS256", "ES256", "none", "None", "nOnE", "ES384", ""] {
        let forged = confused.token_with(&json!({ "alg": alg, "kid": "k1" }), &claims("alice"));
        assert!(matches!(world.check(&site, &forged), Err(IdentifyError::Invalid(_))), "{alg}");
    }
    let unsigned = issuer.token_with(&json!({ "alg": "none" }), &claims("alice"));
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    assert!(matches!(world.check(&site, &unsigned), Err(IdentifyError::Invalid(_))));
}

#[test]
fn every_changed_byte_spoils_the_signature() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    let token = issuer.token(&claims("alice"));
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(!matches!(world.check(&site, &changed), Ok(Some(_))), "{at}");
    }
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let mut settings = jwt(&["bearer"], &[&issuer]);
    if let Kind::Jwt { issuer, audience, .. } = &mut settings.kind {
        *issuer = Some("https://exchange.example".to_owned());
        *audience = Some("exchange".to_owned());
    }
    let site = world.identifier(vec![settings]);
    let good = json!({
        "sub": "alice", "exp": NOW_S + 600, "nbf": NOW_S + 60,
        "iss": "https://exchange.example", "aud": ["other", "exchange"],
    });
    assert_eq!(world.check(&site, &issuer.token(&good)), Ok(Some("alice".to_owned())));
    let spoilt = [
        ("iss", json!("https://exchange.example/")),
        ("iss", Value::Null),
        ("aud", json!("exchange2")),
        ("aud", Value::Null),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("nbf", json!(NOW_S + 61)),
        ("sub", json!("")),
        ("sub", json!(5)),
    ];
    for (name, value) in spoilt {
        let mut claims = good.clone();
        claims[name] = value.clone();
        let found = world.check(&site, &issuer.token(&claims));
        assert!(matches!(found, Err(IdentifyError::Invalid(_))), "{name} = {value}");
    }
}

#[test]
fn only_session_tokens_without_critical_extensions_are_taken() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    let check = |header: Value| world.check(&site, &issuer.token_with(&header, &claims("alice")));
    for typ in ["JWT", "jwt", "at+jwt", "application/at+JWT"] {
        assert!(check(json!({ "alg": "ES256", "typ": typ })).unwrap().is_some(), "{typ}");
    }
    assert!(check(json!({ "alg": "ES256", "typ": "logout+jwt" })).is_err());
    assert!(check(json!({ "alg": "ES256", "crit": ["b64"], "b64": false })).is_err());
}

#[test]
fn the_key_is_found_by_its_name_or_by_trying_those_that_fit() {
    let (world, first, second) = (world(), Issuer::es256("k1"), Issuer::es256("k2"));
    let site = world.identifier(vec![jwt(&["bearer"], &[&first, &second])]);
    let unnamed = second.token_with(&json!({ "alg": "ES256" }), &claims("alice"));
    assert!(world.check(&site, &unnamed).unwrap().is_some());
    let misnamed = second.token_with(&json!({ "alg": "ES256", "kid": "k1" }), &claims("alice"));
    assert_eq!(world.check(&site, &misnamed), Err(IdentifyError::Invalid("bad signature")));
    let unknown = second.token_with(&json!({ "alg": "ES256", "kid": "k3" }), &claims("alice"));
    assert_eq!(world.check(&site, &unknown), Err(IdentifyError::Invalid("unknown key")));
}

#[test]
fn a_token_over_eight_kib_is_not_looked_at() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    let mut long = claims("alice");
    long["padding"] = json!("a".repeat(8 * 1024));
    assert!(matches!(world.check(&site, &issuer.token(&long)), Err(IdentifyError::Invalid(_))));
}

// --- several credentials

#[test]
fn without_credentials_a_request_is_nobodys() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["cookie:session", "bearer"], &[&issuer])]);
    assert_eq!(site.recall(&HeaderMap::new(), Some("a=1"), client(), NOW), Some(Ok(None)));
    assert_eq!(world.identify(&site, &HeaderMap::new(), true, NOW), Ok(None));
    let nobodys = world.identifier(vec![]);
    assert_eq!(nobodys.recall(&bearer("x"), None, client(), NOW), Some(Ok(None)));
}

#[test]
fn two_accounts_in_one_request_are_refused_and_one_account_twice_is_fine() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let file = "[[key]]\nid = \"k\"\naccount = \"alice\"\n";
    let keys = api_keys(&["header:api-key"], file);
    let site = world.identifier(vec![jwt(&["cookie:session"], &[&issuer]), keys]);
    let both = |account: &str| {
        let mut head = cookie(&issuer.token(&claims(account)));
        head.insert("api-key", HeaderValue::from_static("k"));
        world.identify(&site, &head, true, NOW)
    };
    assert_eq!(both("bob"), Err(IdentifyError::Conflict));
    assert_eq!(both("alice").unwrap().unwrap().credential.id.as_str(), "sid:alice-1");
}

#[test]
fn an_expired_cookie_beside_a_good_key_counts_for_nothing() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let keys = api_keys(&["header:api-key"], "[[key]]\nid = \"k\"\naccount = \"alice\"\n");
    let site = world.identifier(vec![jwt(&["cookie:session"], &[&issuer]), keys]);
    let mut head = cookie(&issuer.token(&json!({ "sub": "bob", "exp": NOW_S - 100 })));
    head.insert("api-key", HeaderValue::from_static("k"));
    let identity = world.identify(&site, &head, true, NOW).unwrap().unwrap();
    assert_eq!(identity.credential.id.as_str(), "key:k");
    assert!(site.recall(&head, None, client(), NOW).unwrap().unwrap().is_some());
}

#[test]
fn a_bad_key_beside_a_good_cookie_is_still_refused() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world
        .identifier(vec![jwt(&["cookie:session"], &[&issuer]), api_keys(&["header:api-key"], "")]);
    let mut head = cookie(&issuer.token(&claims("alice")));
    head.insert("api-key", HeaderValue::from_static("k"));
    assert!(matches!(world.identify(&site, &head, true, NOW), Err(IdentifyError::Invalid(_))));
}

#[test]
fn a_token_in_the_query_beside_another_credential_is_ambiguous() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let site = world.identifier(vec![jwt(&["cookie:session"], &[&issuer])]);
    let head = cookie(&issuer.token(&claims("alice")));
    let query = Some("access_token=x");
    let recalled = site.recall(&head, query, client(), NOW);
    assert!(matches!(recalled, Some(Err(IdentifyError::Ambiguous(_)))));
    let asked = world.background.block_on(site.identify(&head, query, client(), true, NOW));
    assert!(matches!(asked, Err(IdentifyError::Ambiguous(_))));
    assert_eq!(site.recall(&HeaderMap::new(), query, client(), NOW), Some(Ok(None)));
}

// --- reload

#[test]
fn an_unchanged_identity_keeps_its_memory_over_a_reload_and_a_changed_one_does_not() {
    let (world, issuer, other) = (world(), Issuer::es256("k1"), Issuer::es256("k2"));
    let before = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    let head = bearer(&issuer.token(&claims("alice")));
    world.identify(&before, &head, false, NOW).unwrap().unwrap();
    let same = world.after(vec![jwt(&["cookie:session", "bearer"], &[&issuer])], Some(&before));
    assert!(same.recall(&head, None, client(), NOW).is_some());
    let changed = world.after(vec![jwt(&["bearer"], &[&other])], Some(&before));
    assert_eq!(changed.recall(&head, None, client(), NOW), None);
    let found = world.identify(&changed, &head, false, NOW);
    assert_eq!(found, Err(IdentifyError::Invalid("unknown key")));
}

#[test]
fn every_fault_of_the_settings_is_found() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let mut odd = jwt(&["bearer", "cokie:sid"], &[&issuer]);
    if let Kind::Jwt { algorithms, .. } = &mut odd.kind {
        *algorithms = vec!["ES256".to_owned(), "none".to_owned()];
    }
    let plain = jwt_at("http://keys.example/jwks");
    let nowhere = opaque(&[], "ftp://x/");
    let faults = world.faults(vec![odd, plain, nowhere]);
    let places: Vec<_> = faults.iter().map(Fault::position).collect();
    assert_eq!(places, [(2, 24), (1, 19), (1, 8), (1, 8), (1, 8)], "{faults:?}");
}

#[test]
fn a_fault_of_a_key_set_shows_no_key() {
    let (world, secret) = (world(), b"a secret that must never be shown");
    let good = Issuer::hs256("k1", secret);
    let short = Issuer::hs256("k2", b"too short");
    let twice = Issuer::hs256("k1", secret);
    let with_keys = |text: String| {
        let mut settings = jwt(&["bearer"], &[]);
        if let Kind::Jwt { keys, .. } = &mut settings.kind {
            *keys = KeySource::File(Source::new("session.jwks", text));
        }
        settings
    };
    let check = |text: String, expected: &[&str]| {
        let faults = world.faults(vec![with_keys(text)]);
        let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(messages, expected);
        let shown: String = faults.iter().map(Fault::render).collect();
        assert!(!shown.contains(good.jwk["k"].as_str().unwrap()), "{shown}");
    };
    check(
        key_set(&[&good, &short, &twice]),
        &["key 2 has a part of a wrong length", "key 3 has the `kid` of another key"],
    );
    let cut = key_set(&[&good]).replace("]}", "");
    check(cut.clone(), &[&format!("not a JSON key set (line 1, column {})", cut.len())]);
    check(r#"{"keys":[]}"#.to_owned(), &["no key in this set is for signatures"]);
    check(
        r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#.to_owned(),
        &["key 1 does not say which algorithm it is for (`alg`)"],
    );
    check(r#"{"keys":[{"k":"x"}]}"#.to_owned(), &["key 1 is not a JSON web key"]);
}

#[test]
fn the_configured_algorithms_fix_a_key_that_does_not_say_its_own() {
    let (world, issuer) = (world(), Issuer::hs256("k1", &[7; 32]));
    let mut settings = jwt(&["bearer"], &[&issuer]);
    if let Kind::Jwt { algorithms, keys, .. } = &mut settings.kind {
        *algorithms = vec!["ES256".to_owned(), "HS256".to_owned()];
        let text = key_set(&[&issuer]).replace(r#""alg":"HS256","#, "");
        *keys = KeySource::File(Source::new("session.jwks", text));
    }
    let site = world.identifier(vec![settings]);
    assert!(world.check(&site, &issuer.token(&claims("alice"))).unwrap().is_some());
}

// --- key sets at an address

#[test]
fn keys_at_an_address_are_fetched_and_an_unknown_key_asks_only_now_and_then() {
    let (world, old, new) = (world(), Issuer::es256("k1"), Issuer::es256("k2"));
    let set = key_set(&[&old]);
    let endpoint = endpoint(move |_| (200, set.clone()));
    let site = world.identifier(vec![jwt_at(&endpoint.url)]);
    assert!(world.check(&site, &old.token(&claims("alice"))).unwrap().is_some());
    for _ in 0..3 {
        let unknown = world.check(&site, &new.token(&claims("alice")));
        assert_eq!(unknown, Err(IdentifyError::Invalid("unknown key")));
    }
    assert_eq!(endpoint.asked(), 1);
}

#[test]
fn the_watch_fetches_at_once_and_ends_with_the_identifier() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let set = key_set(&[&issuer]);
    let endpoint = endpoint(move |_| (200, set.clone()));
    let site = world.identifier(vec![jwt_at(&endpoint.url)]);
    let watch = site.watch();
    // Nothing is left for a second watch of the same keys.
    world.background.block_on(world.after(vec![jwt_at(&endpoint.url)], Some(&site)).watch());
    let watch = world.background.spawn(watch);
    while endpoint.asked() == 0 {
        std::thread::yield_now();
    }
    assert!(world.check(&site, &issuer.token(&claims("alice"))).unwrap().is_some());
    assert!(!watch.is_finished());
    drop(site);
    world.background.block_on(async {
        tokio::time::timeout(2 * WATCH_EVERY, watch).await.unwrap().unwrap();
    });
}

#[test]
fn without_its_keys_a_token_cannot_be_checked() {
    let (world, issuer) = (world(), Issuer::es256("k1"));
    let endpoint = endpoint(|_| (500, String::new()));
    let site = world.identifier(vec![jwt_at(&endpoint.url)]);
    for _ in 0..3 {
        let found = world.check(&site, &issuer.token(&claims("alice")));
        assert_eq!(found, Err(IdentifyError::Unavailable));
    }
    assert_eq!(endpoint.asked(), 1);
}

#[test]
fn a_shared_secret_that_is_published_is_not_taken() {
    let (world, issuer) = (world(), Issuer::hs256("k1", &[7; 32]));
    let set = key_set(&[&issuer]);
    let endpoint = endpoint(move |_| (200, set.clone()));
    let site = world.identifier(vec![jwt_at(&endpoint.url)]);
    let found = world.check(&site, &issuer.token(&claims("alice")));
    assert_eq!(found, Err(IdentifyError::Unavailable));
}

// --- introspection

/// Knows `good` (without end), `short` (ends in 10 s) and nothing else.
fn exchange() -> Endpoint {
    endpoint(|body| {
        let answer = match body {
            "token=good" => json!({ "active": true, "sub": "alice" }),
            "token=short" => json!({ "active": true, "sub": "alice", "exp": NOW_S + 10 }),
            "token=ended" => json!({ "active": true, "sub": "alice", "exp": NOW_S }),
            "token=mute" => json!({ "sub": "alice" }),
            "token=broken" => return (200, "<html>".to_owned()),
            _ => json!({ "active": false, "sub": "alice" }),
        };
        (200, answer.to_string())
    })
}

fn account(found: Found) -> Option<String> {
    found.unwrap().map(|identity| identity.account.name.to_string())
}

#[test]
fn an_opaque_token_is_asked_about_once_a_minute_and_anew_for_guarded_actions() {
    let (world, exchange) = (world(), exchange());
    let site = world.identifier(vec![opaque(&["cookie:session"], &exchange.url)]);
    let head = cookie("good");
    assert_eq!(site.recall(&head, None, client(), NOW), None);
    assert_eq!(account(world.identify(&site, &head, false, NOW)).as_deref(), Some("alice"));
    assert!(site.recall(&head, None, client(), NOW.plus_ms(59_999)).unwrap().unwrap().is_some());
    assert_eq!(site.recall(&head, None, client(), NOW.plus_ms(60_000)), None);
    world.identify(&site, &head, false, NOW).unwrap();
    assert_eq!(exchange.asked(), 1);
    world.identify(&site, &head, true, NOW).unwrap();
    assert_eq!(exchange.asked(), 2);
    let heads = exchange.heads.lock().unwrap();
    assert!(heads[0].to_lowercase().contains("authorization: basic z2f0ztp3yxk="), "{}", heads[0]);
}

#[test]
fn an_answer_is_not_kept_beyond_its_end_and_a_no_only_for_five_seconds() {
    let (world, exchange) = (world(), exchange());
    let site = world.identifier(vec![opaque(&["cookie:session"], &exchange.url)]);
    let check = |token: &str, known: Option<&str>, until_ms: u64| {
        let head = cookie(token);
        assert_eq!(account(world.identify(&site, &head, false, NOW)).as_deref(), known);
        assert!(site.recall(&head, None, client(), NOW.plus_ms(until_ms - 1)).is_some());
        assert_eq!(site.recall(&head, None, client(), NOW.plus_ms(until_ms)), None, "{token}");
    };
    check("short", Some("alice"), 10_000);
    check("ended", None, 5_000);
    check("mute", None, 5_000);
    check("other", None, 5_000);
}

#[test]
fn an_endpoint_that_fails_is_unavailable_and_left_alone_by_ordinary_traffic() {
    let (world, exchange) = (world(), exchange());
    let site = world.identifier(vec![opaque(&["cookie:session"], &exchange.url)]);
    let ask = |token, fresh, now| world.identify(&site, &cookie(token), fresh, now);
    assert_eq!(ask("broken", false, NOW), Err(IdentifyError::Unavailable));
    assert_eq!(ask("good", false, NOW.plus_ms(1_999)), Err(IdentifyError::Unavailable));
    assert_eq!(exchange.asked(), 1);
    assert!(ask("good", true, NOW).unwrap().is_some());
    assert!(ask("good", false, NOW.plus_ms(2_000)).unwrap().is_some());
}

#[test]
fn a_guarded_action_does_not_pass_on_a_remembered_answer() {
    let world = world();
    let revoked = Arc::new(AtomicUsize::new(0));
    let revoked_there = revoked.clone();
    let exchange = endpoint(move |_| {
        let active = revoked_there.load(Ordering::SeqCst) == 0;
        (200, json!({ "active": active, "sub": "alice" }).to_string())
    });
    let site = world.identifier(vec![opaque(&["cookie:session"], &exchange.url)]);
    assert!(world.identify(&site, &cookie("t"), false, NOW).unwrap().is_some());
    revoked.store(1, Ordering::SeqCst);
    assert_eq!(world.identify(&site, &cookie("t"), true, NOW), Ok(None));
    // And what the guarded action learnt holds for ordinary traffic too.
    assert_eq!(site.recall(&cookie("t"), None, client(), NOW), Some(Ok(None)));
}

#[test]
fn many_requests_with_one_token_ask_once() {
    let world = world();
    let exchange = endpoint(|_| {
        std::thread::sleep(Duration::from_millis(100));
        (200, json!({ "active": true, "sub": "alice" }).to_string())
    });
    let site = Arc::new(world.identifier(vec![opaque(&["cookie:session"], &exchange.url)]));
    world.background.block_on(async {
        let asks: Vec<_> = (0..20)
            .map(|_| {
                let site = site.clone();
                let head = cookie("t");
                tokio::spawn(async move { site.identify(&head, None, client(), false, NOW).await })
            })
            .collect();
        for ask in asks {
            assert!(ask.await.unwrap().unwrap().is_some());
        }
    });
    assert_eq!(exchange.asked(), 1);
}

#[test]
fn one_carrier_may_hold_signed_and_opaque_tokens() {
    let (world, exchange, issuer) = (world(), exchange(), Issuer::es256("k1"));
    let site =
        world.identifier(vec![jwt(&["bearer"], &[&issuer]), opaque(&["bearer"], &exchange.url)]);
    assert_eq!(world.check(&site, "good"), Ok(Some("alice".to_owned())));
    let signed = issuer.token(&claims("bob"));
    assert_eq!(world.check(&site, &signed), Ok(Some("bob".to_owned())));
    assert_eq!(exchange.asked(), 1);
    assert_eq!(world.check(&site, "broken"), Err(IdentifyError::Unavailable));
}

#[test]
fn an_introspected_api_key_is_named_by_its_hash() {
    let (world, exchange) = (world(), exchange());
    let url = exchange.url.clone();
    let kind = Kind::Introspect { url, credentials: None, api_key: true };
    let site = world.identifier(vec![identity(&["header:api-key"], kind)]);
    let head = headers(&[(HeaderName::from_static("api-key"), "good")]);
    let identity = world.identify(&site, &head, true, NOW).unwrap().unwrap();
    assert_eq!(identity.credential.kind, CredentialKind::ApiKey);
    assert!(identity.credential.id.as_str().starts_with("sha256:"));
}

#[test]
fn no_text_breaks_the_token_reader() {
    let (world, issuer) = (world(), Issuer::hs256("k1", &[7; 32]));
    let site = world.identifier(vec![jwt(&["bearer"], &[&issuer])]);
    proptest!(|(text in "[a-zA-Z0-9._=-]{0,200}", dots in 0_usize..4)| {
        let text = format!("{text}{}", ".e30".repeat(dots));
        prop_assert!(!matches!(world.check(&site, &text), Ok(Some(_))));
    });
}
