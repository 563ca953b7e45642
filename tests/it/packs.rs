//! Whole requests against packs: the values that are read, what an approval is bound to, and the
//! pack for OKX.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use proptest::prelude::*;
use stepgate::classify::{Action, ActionSet, Detected, Refused, load};
use stepgate::fault::Source;
use stepgate::inbound::Inbound;
use stepgate::types::{
    AccountId, Credential, CredentialId, CredentialKind, FieldValue, IntentDigest, RequestId,
    UnixMs,
};

const PACK: &str = r#"
version = 1
exchange = "test"
unclassified = { read = "allow", write = "allow" }

[[action]]
name = "json"
match = "POST /json"
body = "json"
fields = { amount = "json.amt", address = "json.to.address", tag = "json.to.tag", fee = "json.fee", label = "json.label" }
need = ["amount", "address"]
amounts = ["fee"]
volatile = ["json.clientId", "json.meta.nonce"]
show = ["amount", "address", "kind"]
sample = '{"amt":"1","to":{"address":"a"},"kind":"1"}'
choose = [
    { when = { "json.kind" = ["1", "2"] }, fields = { kind = "chain" } },
    { when = { "json.kind" = "3", "json.sub" = "x" }, fields = { kind = "inside" } },
]

[[action]]
name = "either"
match = "POST /either"
body = ["form", "query"]
fields = { amount = "form.amount", address = "form.address", agent = "header.X-Agent" }
need = ["amount", "address"]
volatile = ["form.timestamp", "query.signature"]
sample = "amount=1&address=a"

[[action]]
name = "any"
match = "POST /any"
body = ["form", "json"]
fields = { amount = "form.amount" }
need = ["amount"]
sample = "amount=1"

[[action]]
name = "batch"
match = "POST /batch"
body = "json"
fields = { amount = "json[].amt", address = "json[].to" }
need = ["amount"]
volatile = ["json[].id"]
show = ["amount", "address"]
sample = '[{"amt":"1","to":"a"},{"amt":"2"}]'

[[action]]
name = "key.delete"
match = "DELETE /keys/{id}"
body = "none"
fields = { key = "path.id" }
need = ["key"]
show = ["key"]
"#;

/// Compiled once: each load tries the whole pack against its mutants.
fn set() -> &'static ActionSet {
    static SET: LazyLock<ActionSet> = LazyLock::new(|| compile(PACK));
    &SET
}

fn compile(text: &str) -> ActionSet {
    let mut faults = Vec::new();
    let set = load(&[Source::new("test.actions.toml", text)], &mut faults);
    let faults: Vec<String> = faults.iter().map(stepgate::fault::Fault::render).collect();
    set.unwrap_or_else(|| panic!("{}", faults.join("\n")))
}

pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

pub fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Inbound {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Inbound {
        request: RequestId::new("r"),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        host: "api.example".into(),
        authority: "API.example:8443".into(),
        target: target.into(),
        version: Version::HTTP_11,
        headers: map,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: UnixMs(0),
    }
}

fn classify(set: &ActionSet, head: &Inbound, body: &[u8]) -> Result<Action, String> {
    match set.detect(&head.method, &head.target, &head.headers) {
        Detected::Action(rule) => rule.read(head, body).map_err(|refused| refused.to_string()),
        other => Err(format!("{other:?}")),
    }
}

fn json(body: &str) -> Result<Action, String> {
    classify(set(), &head("POST", "/json", &[JSON]), body.as_bytes())
}

fn either(query: &str, body: &str) -> Result<Action, String> {
    classify(set(), &head("POST", &format!("/either{query}"), &[FORM]), body.as_bytes())
}

pub fn digest(action: &Action) -> IntentDigest {
    let credential = Credential { kind: CredentialKind::ApiKey, id: CredentialId::new("k") };
    action.intent.digest(&AccountId::new("main", "alice"), &credential)
}

fn digest_of(body: &str) -> IntentDigest {
    digest(&json(body).unwrap_or_else(|why| panic!("{body}: {why}")))
}

pub fn text<'a>(action: &'a Action, name: &str) -> Option<&'a str> {
    action.elements[0].text(name).map(|text| &**text)
}

#[test]
fn fields_are_read_in_their_lexical_form() {
    let action = json(r#"{"amt":"0.50","to":{"address":"\u0061bc"},"kind":2,"fee":1.0}"#).unwrap();
    assert_eq!(text(&action, "amount"), Some("0.50"));
    assert_eq!(text(&action, "address"), Some("abc"));
    assert_eq!(text(&action, "fee"), Some("1.0"));
    assert_eq!(text(&action, "kind"), Some("chain"));
    assert_eq!(action.elements[0].find("tag"), None);
    let shown: Vec<_> = action.shown.iter().map(|line| (&*line.name, &*line.value)).collect();
    assert_eq!(shown, [("amount", "0.50"), ("address", "abc"), ("kind", "chain")]);
    assert_eq!(&*action.intent.authority, "api.example:8443");
}

#[test]
fn a_value_that_choose_does_not_list_is_unreadable() {
    for body in [
        r#"{"amt":"1","to":{"address":"a"}}"#,
        r#"{"amt":"1","to":{"address":"a"},"kind":"9"}"#,
        r#"{"amt":"1","to":{"address":"a"},"kind":"3"}"#,
        r#"{"amt":"1","to":{"address":"a"},"kind":null}"#,
    ] {
        let action = json(body).unwrap();
        assert_eq!(action.elements[0].find("kind"), Some(&FieldValue::Unreadable), "{body}");
    }
    let second = json(r#"{"amt":"1","to":{"address":"a"},"kind":"3","sub":"x"}"#).unwrap();
    assert_eq!(text(&second, "kind"), Some("inside"));
    let null = json(r#"{"amt":"1","to":{"address":"a"},"label":null}"#).unwrap();
    assert_eq!(null.elements[0].find("label"), Some(&FieldValue::Unreadable));
}

#[test]
fn what_could_be_read_otherwise_is_refused() {
    for body in [
        r#"{"amt":"1"}"#,
        r#"{"amt":"1","to":{"address":""}}"#,
        r#"{"amt":"1","to":{"address":null}}"#,
        r#"{"amt":"1","to":"a"}"#,
        r#"{"amt":"1","to":[{"address":"a"}]}"#,
        r#"{"amt":"1","to":{"address":{"x":1}}}"#,
        r#"{"amt":["1"],"to":{"address":"a"}}"#,
        r#"{"amt":true,"to":{"address":"a"}}"#,
        r#"{"amt":"1e3","to":{"address":"a"}}"#,
        r#"{"amt":1e3,"to":{"address":"a"}}"#,
        r#"{"amt":9007199254740993,"to":{"address":"a"}}"#,
        r#"{"amt":"1","fee":".5","to":{"address":"a"}}"#,
        r#"{"amt":"1","to":{"address":"a"},"To":{"address":"b"}}"#,
        r#"{"amt":"1","to":{"address":"a","ADDRESS":"b"}}"#,
        r#"{"amt":"1","to":{"address":"a"},"to.address":"b"}"#,
        r#"{"amt":"1","to":{"address":"a"},"kind\u0000":"1"}"#,
        r#"{"amt":"1","to":{"address":"а"}}"#,
        r#"{"amt":"1","to":{"address":"a b"}}"#,
        r#"{"amt":"1","to":{"address":"a","tag":"7\u202e"}}"#,
        r#"{"amt":"1","to":{"address":"a"},"label":"a\nb"}"#,
        r#"[{"amt":"1","to":{"address":"a"}}]"#,
        "",
    ] {
        assert!(json(body).is_err(), "{body}");
    }
}

#[test]
fn media_type_coding_and_length_are_those_of_the_pack() {
    let body = r#"{"amt":"1","to":{"address":"a"}}"#;
    let read = |headers: &[(&str, &str)], body: &[u8]| {
        let set = set();
        let head = head("POST", "/json", headers);
        match set.detect(&head.method, &head.target, &head.headers) {
            Detected::Action(rule) => rule.read(&head, body).map(|_| ()),
            other => panic!("{other:?}"),
        }
    };
    for fine in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
    ] {
        assert_eq!(read(&[("content-type", fine)], body.as_bytes()), Ok(()), "{fine}");
    }
    for other in [
        "text/json",
        "application/json;",
        "application/json; charset=utf-7",
        "application/json, text/plain",
    ] {
        let refused = read(&[("content-type", other)], body.as_bytes());
        assert!(matches!(refused, Err(Refused::MediaType(_))), "{other}");
    }
    assert!(matches!(read(&[], body.as_bytes()), Err(Refused::MediaType(_))));
    assert!(matches!(read(&[JSON, JSON], body.as_bytes()), Err(Refused::NotCanonical(_))));
    assert!(matches!(
        read(&[JSON, ("content-encoding", "gzip")], body.as_bytes()),
        Err(Refused::MediaType(_))
    ));
    let long = format!("{{\"pad\":\"{}\",{}", "a".repeat(65536), &body[1..]);
    assert_eq!(read(&[JSON], long.as_bytes()), Err(Refused::TooLarge));
}

#[test]
fn a_pair_stands_once_and_in_one_place() {
    let form = either("", "amount=1&address=a").unwrap();
    let query = either("?amount=1&address=a", "").unwrap();
    assert_eq!(text(&form, "amount"), text(&query, "amount"));
    assert_ne!(digest(&form), digest(&query));
    assert!(either("?amount=1", "address=a").is_ok());
    for (query, body) in [
        ("?amount=1", "amount=1&address=a"),
        ("", "amount=1&amount=1&address=a"),
        ("", "amount=1&address=a&Address=b"),
        ("?address[]=b", "amount=1&address=a"),
        ("", "amount=1&address=a&_method=PUT"),
        ("", "amount=1&address"),
        ("", "amount=1"),
    ] {
        assert!(either(query, body).is_err(), "{query} {body}");
    }
    // No body: nothing to have a type.
    let bare = head("POST", "/either?amount=1&address=a", &[]);
    assert!(classify(set(), &bare, b"").is_ok());
    assert!(classify(set(), &bare, b"x=1").is_err());
}

#[test]
fn a_pack_that_takes_form_or_json_reads_the_same_field_from_both() {
    let set = set();
    let form = classify(set, &head("POST", "/any", &[FORM]), b"amount=7").unwrap();
    let json = classify(set, &head("POST", "/any", &[JSON]), br#"{"amount":"7"}"#).unwrap();
    assert_eq!(text(&form, "amount"), text(&json, "amount"));
    assert!(classify(set, &head("POST", "/any?amount=8", &[JSON]), br#"{"amount":"7"}"#).is_err());
}

#[test]
fn every_element_of_a_batch_is_read_and_shown() {
    let set = set();
    let batch = |body: &str| classify(set, &head("POST", "/batch", &[JSON]), body.as_bytes());
    let action = batch(r#"[{"amt":"1","to":"a","id":1},{"amt":2}]"#).unwrap();
    assert_eq!(action.elements.len(), 2);
    let shown: Vec<_> = action.shown.iter().map(|line| (&*line.name, &*line.value)).collect();
    // An address that is left out is the exchange's to fill in.
    let lines = [("amount[1]", "1"), ("address[1]", "a"), ("amount[2]", "2"), ("address[2]", "?")];
    assert_eq!(shown, lines);
    for body in [
        "[]",
        "{}",
        r#"{"amt":"1"}"#,
        r#"[[{"amt":"1"}]]"#,
        r#"[{"amt":"1"},{}]"#,
        r#"[{"amt":"1","AMT":"2"}]"#,
    ] {
        assert!(batch(body).is_err(), "{body}");
    }
    let one = digest(&batch(r#"[{"amt":"1"},{"amt":"2"}]"#).unwrap());
    assert_eq!(one, digest(&batch(r#"[{"id":7,"amt":"1.0"},{"amt":2}]"#).unwrap()));
    assert_ne!(one, digest(&batch(r#"[{"amt":"2"},{"amt":"1"}]"#).unwrap()));
}

#[test]
fn a_path_parameter_is_a_field() {
    let set = set();
    let action = classify(set, &head("DELETE", "/keys/k-1", &[]), b"").unwrap();
    assert_eq!(text(&action, "key"), Some("k-1"));
    assert!(classify(set, &head("DELETE", "/keys/k-1", &[JSON]), b"{}").is_err());
}

#[test]
fn only_order_space_volatile_parameters_and_spelling_of_amounts_do_not_count() {
    let base = r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1,"q":2}}"#;
    for same in [
        r#"{ "label":"x", "o":{"q":2,"p":1}, "to" : {"address":"a"}, "list":[1, 2],"amt":"5" }"#,
        r#"{"amt":"5.0","to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1,"q":2}}"#,
        r#"{"amt":5.00,"to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1,"q":2},"clientId":"c1"}"#,
    ] {
        assert_eq!(digest_of(base), digest_of(same), "{same}");
    }
    for other in [
        r#"{"amt":"6","to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"b"},"label":"x","list":[1,2],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"\u0061"},"label":"x","list":[1,2],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"a","tag":""},"label":"x","list":[1,2],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"","list":[1,2],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[2,1],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,"2"],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,2.0],"o":{"p":1,"q":2}}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1},"q":2}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1,"q":2},"e":{}}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1,"q":2},"e":[]}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,2],"o":{"p":1,"q":2,"clientId":"c"}}"#,
        r#"{"amt":"5","to":{"address":"a"},"label":"x","list":[1,2,{"clientId":1}],"o":{"p":1,"q":2}}"#,
    ] {
        assert_ne!(digest_of(base), digest_of(other), "{other}");
    }
}

#[test]
fn a_volatile_member_is_not_volatile_inside_an_array() {
    let with =
        |meta: &str| digest_of(&format!(r#"{{"amt":"5","to":{{"address":"a"}},"meta":{meta}}}"#));
    assert_eq!(with(r#"{"nonce":1}"#), with(r#"{"nonce":2}"#));
    assert_ne!(with(r#"[{"nonce":1}]"#), with(r#"[{"nonce":2}]"#));
}

#[test]
fn a_volatile_pair_is_volatile_only_at_its_place() {
    let base = digest(&either("", "amount=1&address=a").unwrap());
    assert_eq!(base, digest(&either("?signature=s", "address=a&amount=1.0&timestamp=9").unwrap()));
    assert_ne!(base, digest(&either("?timestamp=9", "amount=1&address=a").unwrap()));
    assert_ne!(base, digest(&either("", "amount=1&address=a&x").unwrap()));
    let empty = digest(&either("", "amount=1&address=a&x=").unwrap());
    assert_ne!(empty, digest(&either("", "amount=1&address=a&x").unwrap()));
    let agent = head("POST", "/either", &[FORM, ("x-agent", "bot")]);
    assert_ne!(base, digest(&classify(set(), &agent, b"amount=1&address=a").unwrap()));
}

#[test]
fn a_header_that_an_action_reads_comes_once_and_in_one_spelling() {
    let read = |headers: &[(&str, &str)]| {
        let headers = [&[FORM], headers].concat();
        classify(set(), &head("POST", "/either", &headers), b"amount=1&address=a")
    };
    assert!(read(&[("x-agent", "a")]).is_ok());
    for headers in [
        [("x-agent", "a"), ("x-agent", "b")],
        [("x-agent", "a"), ("x_agent", "b")],
        [("x_agent", "b"), ("x-other", "c")],
    ] {
        assert!(read(&headers).is_err(), "{headers:?}");
    }
}

// --- OKX

fn okx() -> &'static ActionSet {
    static SET: LazyLock<ActionSet> =
        LazyLock::new(|| compile(include_str!("../../policies/okx.actions.toml")));
    &SET
}

fn okx_post(path: &str, body: &str) -> Result<Action, String> {
    let head = head("POST", &format!("/api/v5/{path}"), &[JSON]);
    classify(okx(), &head, body.as_bytes())
}

#[test]
fn okx_withdrawals_of_all_kinds_are_read() {
    let chain = okx_post(
        "asset/withdrawal",
        r#"{"ccy":"USDT","toAddr":"TX:777","dest":"4","amt":"5","chain":"USDT-TRC20","fee":"0.8"}"#,
    )
    .unwrap();
    assert_eq!(chain.name.as_str(), "withdrawal");
    let shown: Vec<_> =
        chain.shown.iter().map(|line| format!("{}={}", line.name, line.value)).collect();
    assert_eq!(
        shown,
        [
            "amount=5",
            "asset=USDT",
            "address=TX:777",
            "network=USDT-TRC20",
            "destination=on_chain",
            "fee=0.8"
        ]
    );
    let lightning =
        okx_post("asset/withdrawal-lightning", r#"{"ccy":"BTC","invoice":"lnbc1"}"#).unwrap();
    assert_eq!(lightning.elements[0].find("amount"), Some(&FieldValue::Unreadable));
    assert_eq!(lightning.shown[0].value.as_ref(), "?");
    assert!(lightning.answer.unwrap().render("x").contains("50114"));
}

#[test]
fn an_okx_transfer_from_contract_to_spot_is_told_apart() {
    let transfer = |from: &str, to: &str| {
        let body = format!(r#"{{"ccy":"USDT","amt":"1","type":"0","from":"{from}","to":"{to}"}}"#);
        let action = okx_post("asset/transfer", &body).unwrap();
        let side = |name| text(&action, name).unwrap_or("?").to_owned();
        (side("transfer.from"), side("transfer.to"))
    };
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(transfer("18", "6"), pair("contract", "spot"));
    assert_eq!(transfer("9", "1"), pair("contract", "spot"));
    assert_eq!(transfer("6", "18"), pair("spot", "contract"));
    assert_eq!(transfer("18", "18"), pair("?", "?"));
    assert_eq!(transfer("20", "6"), pair("?", "?"));
}

#[test]
fn which_orders_a_dead_mans_switch_cancels_is_bound_and_shown() {
    let after = |tag: &str| {
        okx_post("trade/cancel-all-after", &format!(r#"{{"timeOut":"10","tag":"{tag}"}}"#)).unwrap()
    };
    assert_ne!(after("a").intent, after("b").intent);
    assert!(after("a").shown.iter().any(|line| *line.value == *"a"));
}

#[test]
fn an_empty_value_is_the_exchanges_own_and_cannot_be_told() {
    let empty = r#"{"ccy":"USDT","toAddr":"TX","dest":"4","amt":"5","chain":""}"#;
    let action = okx_post("asset/withdrawal", empty).unwrap();
    assert_eq!(action.elements[0].find("network"), Some(&FieldValue::Unreadable));
}

#[test]
fn who_lets_unlisted_writes_pass_still_has_those_refused_beside_the_known_ways_out() {
    for (pack, paths) in [
        (
            include_str!("../../policies/binance.actions.toml"),
            &[
                "/wapi/v3/withdraw.html",
                "/sapi/v2/capital/withdraw/apply",
                "/sapi/v2/localentity/withdraw/apply",
                "/sapi/v2/broker/subAccountApi",
                "/sapi/v3/asset/transfer",
                "/sapi/v2/futures/transfer",
                "/sapi/v1/portfolio/transfer",
                "/sapi/v1/mining/hash-transfer/edit",
                "/sapi/v1/pay/transfer",
            ][..],
        ),
        (
            include_str!("../../policies/bybit.actions.toml"),
            &[
                "/contract/v3/private/copytrading/wallet/transfer",
                "/contract/v3/private/order/cancel-all",
                "/unified/v3/private/order/cancel-all",
                "/spot/v3/private/cancel-orders",
                "/asset/v3/private/withdraw/create",
                "/v5/bybitpay/payout",
                "/v5/earn/redeem",
            ],
        ),
        (
            include_str!("../../policies/okx.actions.toml"),
            &["/api/v5/finance/okusd/subscribe", "/api/v5/fiat/buy-sell/trade"],
        ),
        (include_str!("../../policies/deribit.actions.toml"), &["/api/v1/private/withdraw"]),
        (
            include_str!("../../policies/kraken-futures.actions.toml"),
            &["/derivatives/api/v4/withdrawal"],
        ),
    ] {
        let lax = pack.replace(r#"write = "deny" }"#, r#"write = "allow" }"#);
        assert_ne!(lax, pack);
        let set = compile(&lax);
        for path in paths {
            let found = set.detect(&Method::POST, path, &HeaderMap::new());
            let refused = matches!(found, Detected::Unlisted { sensitive: true, .. });
            assert!(refused, "{path}: {found:?}");
        }
    }
}

/// Guarded actions that the shipped policy asks nobody about, knowingly: they move nothing out of the account's owner's
/// reach, or bots repeat them all the time.
const LEFT_FREE: [&str; 15] = [
    "account.upgrade",
    "address_book.remove",
    "api_key.delete",
    "batch_order",
    "cancel_all_after",
    "convert",
    "copy_trading",
    "deposit_address.change",
    "earn",
    "position.move",
    "risk_setting",
    "subaccount.change",
    "subaccount.create",
    "subaccount.transfer_out",
    "withdrawal.fast_switch",
];

#[test]
fn the_shipped_policy_speaks_of_every_guarded_action_that_is_not_left_free() {
    let policy: toml::Table = include_str!("../../policies/exchange.policy.toml").parse().unwrap();
    let rules = policy["rule"].as_array().unwrap();
    let named: Vec<&str> = rules
        .iter()
        .flat_map(|rule| match &rule["on"] {
            toml::Value::Array(names) => names.iter().filter_map(toml::Value::as_str).collect(),
            name => Vec::from_iter(name.as_str()),
        })
        .collect();
    let packs = [
        include_str!("../../policies/binance.actions.toml"),
        include_str!("../../policies/bybit.actions.toml"),
        include_str!("../../policies/coinbase-exchange.actions.toml"),
        include_str!("../../policies/deribit.actions.toml"),
        include_str!("../../policies/kraken.actions.toml"),
        include_str!("../../policies/kraken-futures.actions.toml"),
        include_str!("../../policies/okx.actions.toml"),
    ];
    let mut silent: Vec<String> = packs
        .iter()
        .flat_map(|pack| {
            let set = compile(pack);
            let guarded = set.rules().iter().filter(|rule| rule.guarded);
            guarded.map(|rule| rule.name.to_string()).collect::<Vec<_>>()
        })
        .filter(|name| !named.contains(&&**name) && !LEFT_FREE.contains(&&**name))
        .collect();
    silent.sort();
    silent.dedup();
    assert!(silent.is_empty(), "no rule speaks of {silent:?}");
}

#[test]
fn okx_orders_are_named_and_not_guarded_and_cancels_by_the_list_are_read_one_by_one() {
    let set = okx();
    let orders = set.detect(&Method::POST, "/api/v5/trade/batch-orders", &HeaderMap::new());
    assert!(
        matches!(orders, Detected::Action(rule) if rule.name.as_str() == "order" && !rule.guarded)
    );
    let cancel = okx_post(
        "trade/cancel-batch-orders",
        r#"[{"instId":"BTC-USDT","ordId":"1"},{"instId":"BTC-USDT","clOrdId":"c"}]"#,
    );
    assert_eq!(cancel.unwrap().elements.len(), 2);
    let empty = head("POST", "/api/v5/rfq/cancel-all-rfqs", &[]);
    assert_eq!(classify(set, &empty, b"").unwrap().name.as_str(), "mass_cancel");
}

#[test]
fn okx_reads_pass_and_what_nobody_has_listed_does_not() {
    let set = okx();
    let none = HeaderMap::new();
    for path in [
        "/api/v5/asset/currencies",
        "/api/v5/account/balance?ccy=BTC",
        "/api/v5/users/subaccount/apikey",
    ] {
        assert!(matches!(set.detect(&Method::GET, path, &none), Detected::Ordinary), "{path}");
    }
    let denied = |path| {
        matches!(
            set.detect(&Method::POST, path, &none),
            Detected::Unlisted { say: stepgate::classify::Unclassified::Deny, .. }
        )
    };
    assert!(denied("/api/v5/asset/brand-new"));
    assert!(denied("/api/v5/trade/brand-new"));
}

// --- properties

/// Spellings of a path that mean the same to some server.
fn respell(path: &str, way: u8, at: usize) -> String {
    let at = 1 + at % (path.len() - 1);
    let (before, after) = path.split_at(at);
    let byte = after.as_bytes()[0];
    match way {
        0 => format!("{before}%{byte:02x}{}", &after[1..]),
        1 => format!("{before}%25{byte:02X}{}", &after[1..]),
        2 => path.to_ascii_uppercase(),
        3 => path.replacen('/', "//", 1 + at % 3),
        4 => format!("/x/..{path}"),
        5 => format!("{path};v={at}"),
        6 => format!("{path}%00.css"),
        7 => path.replace('/', "\\"),
        8 => format!("{path}/."),
        9 => format!("{path}.json"),
        10 => format!("{before}%u00{byte:02x}{}", &after[1..]),
        _ => format!("{path}%20"),
    }
}

proptest! {
    #[test]
    fn another_spelling_of_a_guarded_path_is_the_action_or_refused(ways in proptest::collection::vec((0u8..12, any::<usize>()), 0..4)) {
        let path = ways.iter().fold("/keys/k1".to_owned(), |path, (way, at)| {
            if path.is_ascii() { respell(&path, *way, *at) } else { path }
        });
        let set = set();
        match set.detect(&Method::DELETE, &path, &HeaderMap::new()) {
            Detected::Action(rule) => prop_assert!(rule.name.as_str() == "key.delete" && rule.guarded, "{}", path),
            Detected::NotCanonical(_) => {}
            other => prop_assert!(false, "{path} is {other:?}"),
        }
    }

    #[test]
    fn nothing_makes_it_panic(target in "/?\\PC{0,60}", body in proptest::collection::vec(any::<u8>(), 0..120), form in any::<bool>()) {
        let set = set();
        for path in ["/json", "/either", "/batch", "/any"] {
            let target = format!("{path}?{}", target.replace('?', ""));
            let head = head("POST", &target, &[if form { FORM } else { JSON }]);
            let _ = classify(set, &head, &body);
        }
        let _ = set.detect(&Method::POST, &target, &HeaderMap::new());
    }

    #[test]
    fn the_order_of_members_does_not_count_and_any_value_does(
        members in proptest::collection::btree_map("x[b-j]{3,6}", "[a-z0-9 ]{0,6}", 1..6),
        rotate in any::<usize>(),
        change in any::<usize>(),
    ) {
        let write = |members: &[(String, String)]| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
            format!(r#"{{"amt":"1","to":{{"address":"a"}},{}}}"#, members.join(","))
        };
        let mut list: Vec<_> = members.into_iter().collect();
        let base = digest_of(&write(&list));
        let by = rotate % list.len();
        list.rotate_left(by);
        prop_assert_eq!(base, digest_of(&write(&list)));
        let at = change % list.len();
        list[at].1.push('!');
        prop_assert_ne!(base, digest_of(&write(&list)));
    }
}
