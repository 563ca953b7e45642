//! The pack for Binance: requests as ccxt and Binance's own connector send them, and what they are taken for.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, Method, Version, header};
use stepgate::classify::{Action, ActionSet, Detected, Unclassified, load};
use stepgate::fault::{Fault, Source};
use stepgate::inbound::Inbound;
use stepgate::types::{
    AccountId, Credential, CredentialId, CredentialKind, FieldValue, IntentDigest, RequestId,
    UnixMs,
};

fn set() -> &'static ActionSet {
    static SET: LazyLock<ActionSet> = LazyLock::new(|| {
        let text = include_str!("../../policies/binance.actions.toml");
        let mut faults = Vec::new();
        let set = load(&[Source::new("binance.actions.toml", text)], &mut faults);
        let faults: Vec<String> = faults.iter().map(Fault::render).collect();
        set.unwrap_or_else(|| panic!("{}", faults.join("\n")))
    });
    &SET
}

fn head(method: &str, target: &str, media_type: Option<&'static str>, length: usize) -> Inbound {
    let mut headers = HeaderMap::new();
    if let Some(media_type) = media_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    if length > 0 {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Inbound {
        request: RequestId::new("r"),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        host: "api.example".into(),
        authority: "api.example".into(),
        target: target.into(),
        version: Version::HTTP_11,
        headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: UnixMs(0),
    }
}

fn read(head: &Inbound, body: &str) -> Result<Action, String> {
    match set().detect(&head.method, &head.target, &head.headers) {
        Detected::Action(rule) if rule.guarded => {
            rule.read(head, body.as_bytes()).map_err(|why| why.to_string())
        }
        other => Err(format!("{other:?}")),
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

/// As ccxt sends it: a form, signed last.
fn ccxt(path: &str, form: &str) -> Result<Action, String> {
    let body = format!("timestamp=1795176000000&recvWindow=10000&{form}&signature=5f");
    read(&head("POST", path, Some(FORM), body.len()), &body)
}

/// As binance-connector sends it: everything in the query, no body, and a media type all the same.
fn connector(method: &str, path: &str, query: &str) -> Result<Action, String> {
    let target = format!("{path}?{query}&timestamp=1795176000001&signature=6f");
    read(&head(method, &target, Some("application/json"), 0), "")
}

fn shown(action: &Action) -> Vec<String> {
    action.shown.iter().map(|line| format!("{}={}", line.name, line.value)).collect()
}

fn digest(action: &Action) -> IntentDigest {
    let credential = Credential { kind: CredentialKind::ApiKey, id: CredentialId::new("k") };
    action.intent.digest(&AccountId::new("main", "alice"), &credential)
}

const WITHDRAW: &str = "/sapi/v1/capital/withdraw/apply";

#[test]
fn a_withdrawal_is_read_from_a_form_and_from_a_query() {
    let parameters = "coin=USDT&address=TX&addressTag=7&network=TRX&amount=5&withdrawOrderId=a";
    let form = ccxt(WITHDRAW, parameters).unwrap();
    let query = connector("POST", WITHDRAW, parameters).unwrap();
    for action in [&form, &query] {
        assert_eq!(action.name.as_str(), "withdrawal");
        let lines = shown(action);
        assert_eq!(lines, ["amount=5", "asset=USDT", "address=TX", "tag=7", "network=TRX"]);
    }
    assert_ne!(digest(&form), digest(&query), "another place is another request");
}

#[test]
fn signing_anew_changes_nothing_and_any_other_parameter_does() {
    let base = "coin=USDT&address=TX&network=TRX&amount=5";
    let send = |form: &str| digest(&ccxt(WITHDRAW, form).unwrap());
    assert_eq!(send(base), send(&format!("{base}&withdrawOrderId=other")));
    let signed = |time: &str| {
        let body = format!("{base}&timestamp={time}&signature={time}");
        digest(&read(&head("POST", WITHDRAW, Some(FORM), body.len()), &body).unwrap())
    };
    assert_eq!(signed("1"), signed("2"));
    for other in ["&walletType=1", "&transactionFeeFlag=true", "&name=x", "&addressTag=1", "&x=1"] {
        assert_ne!(send(base), send(&format!("{base}{other}")), "{other}");
    }
}

#[test]
fn a_name_in_a_withdrawal_is_an_entry_for_the_address_book() {
    let action = ccxt(WITHDRAW, "coin=USDT&address=TX&amount=5&name=cold").unwrap();
    assert!(shown(&action).contains(&"address_book.name=cold".to_owned()));
    // Binance picks a network of its own where none is given: nothing can be said of it.
    assert_eq!(action.elements[0].find("network"), Some(&FieldValue::Unreadable));
}

#[test]
fn a_value_in_two_places_is_refused_because_the_query_would_win() {
    let body = "coin=USDT&address=TX&amount=1";
    for query in ["?amount=1000", "?amount=1", "?Amount=1", "?address=TY"] {
        let head = head("POST", &format!("{WITHDRAW}{query}"), Some(FORM), body.len());
        assert!(read(&head, body).is_err(), "{query}");
    }
    let split = head("POST", &format!("{WITHDRAW}?amount=1"), Some(FORM), 23);
    assert!(read(&split, "coin=USDT&address=TX").is_ok(), "once each, in one place each");
}

#[test]
fn every_way_out_is_a_withdrawal() {
    for (path, form) in [
        ("/sapi/v1/localentity/withdraw/apply", "coin=BTC&address=x&amount=1&questionnaire=%7B%7D"),
        (
            "/sapi/v1/localentity/broker/withdraw/apply",
            "subAccountId=1&coin=BTC&address=x&amount=1",
        ),
        ("/sapi/v1/giftcard/createCode", "token=BTC&amount=1"),
        ("/sapi/v1/giftcard/buyCode", "baseToken=USDT&faceToken=BTC&baseTokenAmount=1"),
        ("/sapi/v1/fiat/withdraw", "currency=EUR&amount=1&apiPaymentMethod=sepa"),
        ("/sapi/v1/managed-subaccount/withdraw", "fromEmail=a&asset=BTC&amount=1"),
        ("/sapi/v1/mining/hash-transfer/config", "userName=a&algo=sha256&toPoolUser=b&hashRate=1"),
    ] {
        let action = ccxt(path, form).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(action.name.as_str(), "withdrawal", "{path}");
    }
    // A gift card's price is an amount wherever the pack says so.
    assert!(ccxt("/sapi/v1/giftcard/createCode", "token=BTC&amount=many").is_err());
    let switch = connector("POST", "/sapi/v1/account/enableFastWithdrawSwitch", "recvWindow=1");
    assert_eq!(switch.unwrap().name.as_str(), "withdrawal.fast_switch");
}

#[test]
fn transfers_out_of_contracts_are_told_apart() {
    let wallets = |kind: &str| {
        let form = format!("type={kind}&asset=USDT&amount=1");
        let action = ccxt("/sapi/v1/asset/transfer", &form).unwrap();
        let word = |name| action.elements[0].text(name).map_or("?".to_owned(), |it| it.to_string());
        format!("{} {}", word("transfer.from"), word("transfer.to"))
    };
    for kind in ["UMFUTURE_MAIN", "CMFUTURE_MAIN", "UMFUTURE_FUNDING", "CMFUTURE_FUNDING"] {
        assert_eq!(wallets(kind), "contract spot", "{kind}");
    }
    assert_eq!(wallets("MAIN_UMFUTURE"), "spot contract");
    // Around the corner, ccxt's alias, and what nobody has listed: as if it were what rules look for.
    for kind in ["UMFUTURE_MARGIN", "ISOLATED_MARGIN_MAIN", "umfuture_main", "NEW_MAIN"] {
        assert_eq!(wallets(kind), "? ?", "{kind}");
    }
    let legacy = ccxt("/sapi/v1/futures/transfer", "asset=USDT&amount=1&type=2").unwrap();
    assert_eq!(legacy.elements[0].text("transfer.from").map(|it| &**it), Some("contract"));
    let sub = "fromEmail=a&fromAccountType=COIN_FUTURE&toAccountType=SPOT&asset=BTC&amount=1";
    let sub = ccxt("/sapi/v1/sub-account/universalTransfer", sub).unwrap();
    assert_eq!(sub.elements[0].text("transfer.to").map(|it| &**it), Some("spot"));
}

#[test]
fn keys_and_lists_of_orders_are_guarded_under_every_method() {
    for (method, path, query, name) in [
        (
            "POST",
            "/sapi/v2/sub-account/subAccountApi",
            "email=a&apiName=b&status=1",
            "api_key.create",
        ),
        (
            "DELETE",
            "/sapi/v1/broker/subAccountApi",
            "subAccountId=1&subAccountApiKey=k",
            "api_key.delete",
        ),
        (
            "DELETE",
            "/sapi/v1/sub-account/subAccountApi/ipRestriction/ipList",
            "email=a&subAccountApiKey=k&ipAddress=203.0.113.7",
            "api_key.change",
        ),
        ("DELETE", "/api/v3/openOrders", "symbol=BTCUSDT", "mass_cancel"),
        ("DELETE", "/fapi/v1/allOpenOrders", "symbol=BTCUSDT", "mass_cancel"),
        ("DELETE", "/papi/v1/um/allOpenOrders", "symbol=BTCUSDT", "mass_cancel"),
        ("DELETE", "/fapi/v1/batchOrders", "symbol=BTCUSDT&orderIdList=%5B1%5D", "batch_cancel"),
        ("POST", "/fapi/v1/batchOrders", "batchOrders=%5B%5D", "batch_order"),
        ("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=125", "risk_setting"),
    ] {
        let action = connector(method, path, query).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(action.name.as_str(), name, "{method} {path}");
    }
}

#[test]
fn reads_pass_on_the_paths_of_guarded_actions_and_bodies_on_them_do_not() {
    let none = HeaderMap::new();
    for target in [
        "/api/v3/openOrders?symbol=BTCUSDT&timestamp=1&signature=2",
        "/sapi/v1/asset/transfer?type=UMFUTURE_MAIN&timestamp=1",
        "/sapi/v1/margin/transfer?asset=BTC",
        "/sapi/v1/sub-account/universalTransfer?fromEmail=a",
    ] {
        let read = set().detect(&Method::GET, target, &none);
        assert!(matches!(read, Detected::Action(rule) if rule.name.as_str() == "read"), "{target}");
        let sneaky = head("GET", target, Some(FORM), 9);
        let read = set().detect(&sneaky.method, &sneaky.target, &sneaky.headers);
        assert!(matches!(read, Detected::NotCanonical(_)), "{target} with a body");
    }
    for target in [
        "/api/v3/account?timestamp=1",
        "/sapi/v1/capital/withdraw/history?coin=BTC",
        "/sapi/v1/capital/config/getall",
        "/fapi/v1/exchangeInfo",
    ] {
        let read = set().detect(&Method::GET, target, &none);
        assert!(matches!(read, Detected::Ordinary), "{target}: {read:?}");
    }
}

#[test]
fn orders_and_harmless_posts_stream_and_what_nobody_has_listed_is_refused() {
    let none = HeaderMap::new();
    for (method, path, name) in [
        ("POST", "/api/v3/order", "order"),
        ("DELETE", "/api/v3/order", "cancel"),
        ("POST", "/papi/v1/um/order", "order"),
        ("POST", "/sapi/v3/asset/getUserAsset", "setting"),
        ("POST", "/sapi/v1/asset/get-funding-asset", "setting"),
        ("PUT", "/fapi/v1/listenKey", "stream.listen"),
        ("POST", "/sapi/v1/account/disableFastWithdrawSwitch", "setting"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let found = set().detect(&method, path, &none);
        assert!(
            matches!(&found, Detected::Action(rule) if rule.name.as_str() == name && !rule.guarded),
            "{path}: {found:?}"
        );
    }
    for path in ["/sapi/v1/capital/new", "/sapi/v9/capital/withdraw/apply", "/fapi/v1/new"] {
        let found = set().detect(&Method::POST, path, &none);
        let denied = matches!(found, Detected::Unlisted { say: Unclassified::Deny, .. });
        assert!(denied, "{path}: {found:?}");
    }
}

#[test]
fn a_refusal_is_worded_as_binance_words_it() {
    let answer = set().answer_for(WITHDRAW).unwrap();
    assert_eq!(
        (answer.status, answer.render("code?")),
        (401, r#"{"code":-1002,"msg":"code?"}"#.into())
    );
}

#[test]
fn messages_of_the_web_socket_api_are_told_apart_by_their_method() {
    let say = |message: &str| {
        let frame = head("WS", "/ws-api/v3", None, 0);
        match set().detect_whole(&frame, message.as_bytes()) {
            Ok(Detected::Action(rule)) if rule.guarded => rule
                .read(&frame, message.as_bytes())
                .map_or("refused".into(), |it| it.name.to_string()),
            Ok(Detected::Action(rule)) => format!("{}, not guarded", rule.name),
            Ok(Detected::Unlisted { say, .. }) => format!("{say:?}"),
            Ok(_) | Err(_) => "refused".into(),
        }
    };
    let call =
        |method: &str| format!(r#"{{"id":1,"method":"{method}","params":{{"symbol":"BTCUSDT"}}}}"#);
    assert_eq!(say(&call("order.place")), "order, not guarded");
    assert_eq!(say(&call("account.status")), "read, not guarded");
    assert_eq!(say(&call("session.logon")), "login, not guarded");
    assert_eq!(say(&call("openOrders.cancelAll")), "mass_cancel");
    assert_eq!(say(&call("capital.withdraw")), "Deny");
    for other in ["OpenOrders.CancelAll", "openOrders.cancel_all", "openOrders.cancelAll "] {
        assert_ne!(say(&call(other)), "read, not guarded", "{other}");
    }
    let twice = r#"{"method":"time","method":"openOrders.cancelAll","params":{}}"#;
    assert_eq!(say(twice), "refused");
}
