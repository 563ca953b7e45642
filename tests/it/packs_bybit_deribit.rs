//! The packs for Bybit and Deribit: what is read of their requests, what is refused, and how both answer through a running
//! gateway. Deribit acts on GETs, and takes JSON-RPC as well.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use stepgate::classify::{Action, ActionSet, Detected, Unclassified, load};
use stepgate::fault::Source;
use stepgate::inbound::Inbound;
use stepgate::types::{
    AccountId, Credential, CredentialId, CredentialKind, FieldValue, IntentDigest, RequestId,
    UnixMs,
};

use crate::client::{Answer, Client};
use crate::exchange::Reply;
use crate::kit::{Kit, POLICY};
use crate::world::World;

const BYBIT: &str = include_str!("../../policies/bybit.actions.toml");
const DERIBIT: &str = include_str!("../../policies/deribit.actions.toml");

const JSON: (&str, &str) = ("content-type", "application/json");

fn compile(text: &str) -> ActionSet {
    let mut faults = Vec::new();
    let set = load(&[Source::new("test.actions.toml", text)], &mut faults);
    let faults: Vec<String> = faults.iter().map(stepgate::fault::Fault::render).collect();
    set.unwrap_or_else(|| panic!("{}", faults.join("\n")))
}

fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Inbound {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    Inbound {
        request: RequestId::new("r"),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        host: "api.example".into(),
        authority: "api.example".into(),
        target: target.into(),
        version: Version::HTTP_11,
        headers: map,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: UnixMs(0),
    }
}

/// The action, or why there is none.
fn read(set: &ActionSet, head: &Inbound, body: &str) -> Result<Action, String> {
    match set.detect_whole(head, body.as_bytes()) {
        Ok(Detected::Action(rule)) if rule.guarded => {
            rule.read(head, body.as_bytes()).map_err(|refused| refused.to_string())
        }
        Ok(Detected::Action(rule)) => Err(format!("passes: {}", rule.name)),
        Ok(Detected::Ordinary) => Err("passes".into()),
        Ok(Detected::Unlisted { say: Unclassified::Deny, .. }) => Err("unlisted".into()),
        Ok(other) => Err(format!("{other:?}")),
        Err(refused) => Err(refused.to_string()),
    }
}

fn get(set: &ActionSet, target: &str) -> Result<Action, String> {
    read(set, &head("GET", target, &[]), "")
}

fn post(set: &ActionSet, target: &str, body: &str) -> Result<Action, String> {
    read(set, &head("POST", target, &[JSON]), body)
}

fn why(outcome: Result<Action, String>) -> String {
    outcome.map_or_else(|why| why, |action| format!("is {}", action.name))
}

fn digest(action: &Action) -> IntentDigest {
    let credential = Credential { kind: CredentialKind::ApiKey, id: CredentialId::new("k") };
    action.intent.digest(&AccountId::new("main", "alice"), &credential)
}

fn shown(action: &Action) -> Vec<String> {
    action.shown.iter().map(|line| format!("{}={}", line.name, line.value)).collect()
}

fn side<'a>(action: &'a Action, name: &str) -> &'a str {
    action.elements[0].text(name).map_or("?", |text| text)
}

// --- the language

#[test]
fn a_field_with_several_sources_stands_in_one_of_them() {
    let set = compile(
        r#"
        version = 1
        exchange = "t"
        [[action]]
        name = "a"
        match = "POST /a"
        body = ["json", "query"]
        fields = { address = ["json.address", "json.to.id"] }
        need = ["address"]
        sample = '{"address":"x"}'
        "#,
    );
    let address = |target: &str, body: &str| {
        post(&set, target, body).map(|action| side(&action, "address").to_owned())
    };
    assert_eq!(address("/a", r#"{"address":"x"}"#).unwrap(), "x");
    assert_eq!(address("/a", r#"{"to":{"id":7}}"#).unwrap(), "7");
    assert_eq!(address("/a?address=q", "{}").unwrap(), "q");
    assert!(address("/a", r#"{"address":"x","to":{"id":7}}"#).unwrap_err().contains("two places"));
    assert!(address("/a?address=q", r#"{"to":{"id":7}}"#).unwrap_err().contains("two places"));
    assert!(address("/a", "{}").unwrap_err().contains("missing"));
    assert!(address("/a", r#"{"to":{"ID":7}}"#).unwrap_err().contains("variant"));
}

#[test]
fn a_whole_field_is_shown_as_its_json_text_and_a_long_one_is_not() {
    let set = compile(
        r#"
        version = 1
        exchange = "t"
        [[action]]
        name = "a"
        match = "POST /a"
        body = "json"
        fields = { rights = "json.rights", plain = "json.plain" }
        whole = ["rights"]
        show = ["rights"]
        sample = '{"rights":[]}'
        "#,
    );
    let told = |body: &str| shown(&post(&set, "/a", body).unwrap());
    assert_eq!(
        told("{\"rights\": {\"b\":\n[1.50, \"\\u0061 b\", null], \"a\":{}} }"),
        [r#"rights={"b":[1.50,"\u0061 b",null],"a":{}}"#]
    );
    assert_eq!(told(r#"{"rights":"all"}"#), ["rights=all"]);
    let long = format!(r#"{{"rights":["{}"]}}"#, "x".repeat(1000));
    let long = post(&set, "/a", &long).unwrap();
    assert_eq!(long.elements[0].find("rights"), Some(&FieldValue::Unreadable));
    assert!(post(&set, "/a", r#"{"plain":[1]}"#).is_err());
    let bound =
        |rights: &str| digest(&post(&set, "/a", &format!(r#"{{"rights":{rights}}}"#)).unwrap());
    assert_ne!(bound(r#"{"Wallet":["Read"]}"#), bound(r#"{"Wallet":["Withdraw"]}"#));
}

#[test]
fn a_token_among_the_parameters_of_a_guarded_action_is_refused() {
    let set = compile(DERIBIT);
    let call = |more: &str| {
        let params = format!(r#"{{"currency":"BTC","address":"a","amount":1{more}}}"#);
        let body = format!(r#"{{"id":1,"method":"private/withdraw","params":{params}}}"#);
        post(&set, "/api/v2", &body).map(|_| ())
    };
    assert_eq!(call(""), Ok(()));
    for more in [
        r#","access_token":"t""#,
        r#","Access_Token":"t""#,
        r#","x":{"accessToken":"t"}"#,
        r#","x":[{"access_token":null}]"#,
    ] {
        assert!(call(more).unwrap_err().contains("a token"), "{more}");
    }
    let outer = r#"{"access_token":"t","method":"private/withdraw","params":{"currency":"BTC","address":"a","amount":1}}"#;
    assert!(post(&set, "/api/v2", outer).is_err());
    let query = "/api/v2/private/withdraw?currency=BTC&amount=1&address=a&access_token=t";
    assert!(get(&set, query).is_err());
}

// --- Bybit

fn bybit(path: &str, body: &str) -> Result<Action, String> {
    post(&compile(BYBIT), &format!("/v5/{path}"), body)
}

const WITHDRAW: &str = r#"{"coin":"USDT","amount":"5","address":"TX","timestamp":1795176000000,"accountType":"UTA","chain":"TRX"}"#;

#[test]
fn a_bybit_withdrawal_is_shown_and_bound_without_its_own_timestamp() {
    let action = bybit("asset/withdraw/create", WITHDRAW).unwrap();
    assert_eq!(action.name.as_str(), "withdrawal");
    assert_eq!(
        shown(&action),
        ["amount=5", "asset=USDT", "address=TX", "network=TRX", "destination=?", "account=UTA"]
    );
    let again = WITHDRAW.replace("1795176000000,", "1795176009999,\"requestId\":\"r-2\",");
    let again = digest(&bybit("asset/withdraw/create", &again).unwrap());
    assert_eq!(digest(&action), again);
    for (from, to) in [
        ("\"TX\"", "\"TY\""),
        ("\"5\"", "\"6\""),
        ("TRX", "ETH"),
        ("\"UTA\"", "\"FUND\""),
        ("\"coin\"", "\"tag\":\"7\",\"coin\""),
        ("\"coin\"", "\"forceChain\":2,\"coin\""),
        ("\"coin\"", "\"feeType\":1,\"coin\""),
        ("\"coin\"", "\"beneficiary\":{\"beneficiaryName\":\"Eve\"},\"coin\""),
    ] {
        let other = bybit("asset/withdraw/create", &WITHDRAW.replacen(from, to, 1)).unwrap();
        assert_ne!(digest(&other), again, "{to}");
    }
    let inside = WITHDRAW.replace("\"coin\"", "\"forceChain\":2,\"coin\"");
    let inside = bybit("asset/withdraw/create", &inside).unwrap();
    assert_eq!(side(&inside, "destination"), "internal");
}

#[test]
fn a_bybit_transfer_out_of_the_trading_account_is_told_apart() {
    let set = compile(BYBIT);
    let transfer = |path: &str, from: &str, to: &str| {
        let body = format!(
            r#"{{"transferId":"u","coin":"USDT","amount":"1","fromAccountType":"{from}","toAccountType":"{to}","fromMemberId":1,"toMemberId":"2"}}"#
        );
        let action = post(&set, &format!("/v5/asset/transfer/{path}"), &body).unwrap();
        assert_eq!(action.name.as_str(), "transfer");
        (side(&action, "transfer.from").to_owned(), side(&action, "transfer.to").to_owned())
    };
    for path in ["inter-transfer", "universal-transfer"] {
        for (from, to, is) in [
            ("UNIFIED", "FUND", ("contract", "spot")),
            ("CONTRACT", "SPOT", ("contract", "spot")),
            ("OPTION", "FUND", ("contract", "spot")),
            ("FUND", "UNIFIED", ("spot", "contract")),
            ("FUND", "SPOT", ("?", "?")),
            ("INVESTMENT", "FUND", ("?", "?")),
            ("unified", "FUND", ("?", "?")),
        ] {
            let (from_is, to_is) = transfer(path, from, to);
            assert_eq!((from_is.as_str(), to_is.as_str()), is, "{path} {from} {to}");
        }
    }
    let one = |id: &str| {
        let body = format!(
            r#"{{"transferId":"{id}","coin":"USDT","amount":"1","fromAccountType":"UNIFIED","toAccountType":"FUND"}}"#
        );
        digest(&post(&set, "/v5/asset/transfer/inter-transfer", &body).unwrap())
    };
    assert_eq!(one("a"), one("b"));
    let nowhere = r#"{"coin":"USDT","amount":"1","fromAccountType":"UNIFIED","toAccountType":"FUND","fromMemberId":1}"#;
    assert!(post(&set, "/v5/asset/transfer/universal-transfer", nowhere).is_err());
}

#[test]
fn earning_is_no_way_from_the_trading_account_to_funding_at_bybit() {
    let order = |order: &str, account: &str| {
        let body = format!(
            r#"{{"category":"FlexibleSaving","orderType":"{order}","amount":"1","coin":"BTC","productId":"430","orderLinkId":"e-1"{account}}}"#
        );
        let action = bybit("earn/place-order", &body).unwrap();
        assert_eq!(action.name.as_str(), "transfer");
        format!("{} {}", side(&action, "transfer.from"), side(&action, "transfer.to"))
    };
    let from = |account: &str| format!(r#","accountType":"{account}""#);
    // What is staked from UNIFIED can be redeemed to FUND.
    assert_eq!(order("Stake", &from("UNIFIED")), "contract spot");
    assert_eq!(order("Stake", &from("FUND")), "spot spot");
    assert_eq!(order("Redeem", &from("FUND")), "spot spot");
    assert_eq!(order("Redeem", &from("UNIFIED")), "spot contract");
    assert_eq!(order("Stake", &from("unified")), "? ?");
    assert_eq!(order("Stake", ""), "? ?");
}

#[test]
fn what_bybit_pays_to_others_without_an_address_is_a_withdrawal() {
    for (path, body, line) in [
        ("p2p/order/finish", r#"{"orderId":"19"}"#, "order=19"),
        (
            "broker/award/distribute-award",
            r#"{"accountId":"7","awardId":"a","specCode":"s","amount":"1","brokerId":"b"}"#,
            "account=7",
        ),
    ] {
        let action = bybit(path, body).unwrap();
        assert_eq!(action.name.as_str(), "withdrawal", "{path}");
        assert!(shown(&action).contains(&line.to_owned()), "{path}");
    }
}

#[test]
fn what_a_bybit_key_may_do_is_shown() {
    let body = r#"{"subuid":53888000,"readOnly":0,"ips":"*","permissions":{"Wallet":["AccountTransfer","Withdraw"]}}"#;
    let action = bybit("user/create-sub-api", body).unwrap();
    assert_eq!(action.name.as_str(), "api_key.create");
    assert_eq!(
        shown(&action),
        [
            "subaccount=53888000",
            "read_only=0",
            r#"permissions={"Wallet":["AccountTransfer","Withdraw"]}"#,
            "networks=*"
        ]
    );
    assert_eq!(why(bybit("user/update-api", r#"{"ips":"*"}"#)), "is api_key.change");
    let set = compile(BYBIT);
    assert_eq!(why(read(&set, &head("POST", "/v5/user/delete-api", &[]), "")), "is api_key.delete");
    let list =
        r#"{"category":"spot","request":[{"symbol":"BTCUSDT","orderId":"1"},{"orderLinkId":"c"}]}"#;
    let cancel = bybit("order/cancel-batch", list).unwrap();
    assert_eq!(
        shown(&cancel)[1],
        r#"order=[{"symbol":"BTCUSDT","orderId":"1"},{"orderLinkId":"c"}]"#
    );
}

#[test]
fn bybit_reads_and_orders_pass_and_what_nobody_has_listed_does_not() {
    let set = compile(BYBIT);
    for path in [
        "/v5/asset/withdraw/query-record",
        "/v5/user/query-api",
        "/v5/market/tickers?category=spot",
    ] {
        assert_eq!(why(get(&set, path)), "passes", "{path}");
    }
    for path in ["order/create", "order/create-batch", "order/amend-batch", "position/trading-stop"]
    {
        assert_eq!(why(post(&set, &format!("/v5/{path}"), "{}")), "passes: order", "{path}");
    }
    assert_eq!(why(post(&set, "/v5/asset/withdraw/cancel", "{}")), "passes: withdrawal.cancel");
    for path in [
        "/v5/asset/brand-new",
        "/v5/order/brand-new",
        "/asset/v3/private/withdraw/create",
        "/user/v3/private/create-sub-api",
        "/unified/v3/private/order/create",
    ] {
        assert_eq!(why(post(&set, path, "{}")), "unlisted", "{path}");
    }
    let body = head("GET", "/v5/asset/withdraw/query-record", &[JSON, ("content-length", "2")]);
    assert_eq!(why(read(&set, &body, "{}")), "NotCanonical(\"a read with a body\")");
    let deletes = get(&set, "/v5/user/del-submember?subMemberId=7");
    assert!(why(deletes).contains("only its own methods"));
}

#[test]
fn bybit_is_answered_in_its_own_words_with_the_time() {
    let set = compile(BYBIT);
    let answer = set.answer_for("/v5/asset/withdraw/create").unwrap();
    assert_eq!(answer.status, 401);
    let body = answer.render_to("do \"it\"", &answer.echo("/x?id=1", b"{\"id\":2}"), UnixMs(17));
    assert_eq!(
        body,
        r#"{"retCode":10010,"retMsg":"do \"it\"","result":{},"retExtInfo":{},"time":17}"#
    );
}

// --- Deribit

const GET_WITHDRAW: &str = "/api/v2/private/withdraw?currency=BTC&address=bc1q&amount=0.40";

fn rpc(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

fn withdraw(id: &str, amount: &str) -> String {
    let params = format!(r#"{{"currency":"BTC","address":"bc1q","amount":{amount}}}"#);
    rpc(id, "private/withdraw", &params)
}

#[test]
fn a_deribit_withdrawal_is_guarded_as_a_get_and_as_json_rpc() {
    let set = compile(DERIBIT);
    // Deribit chooses the network that is not named.
    let lines = ["amount=0.40", "asset=BTC", "address=bc1q"];
    let by_get = get(&set, GET_WITHDRAW).unwrap();
    assert_eq!(
        (by_get.name.as_str(), shown(&by_get)),
        ("withdrawal", lines.map(str::to_owned).to_vec())
    );
    for target in ["/api/v2", "/api/v2/private/withdraw"] {
        let action = post(&set, target, &withdraw("7", "0.40")).unwrap();
        assert_eq!(shown(&action), lines, "{target}");
        assert_eq!(digest(&action), digest(&post(&set, target, &withdraw("8", "0.4")).unwrap()));
        assert_ne!(digest(&action), digest(&post(&set, target, &withdraw("7", "0.5")).unwrap()));
    }
    let repeated =
        format!("{GET_WITHDRAW}&tfa=123456&nonce=abcdefgh&challenge=c&authorization_data=d");
    assert_eq!(digest(&by_get), digest(&get(&set, &repeated).unwrap()));
    for other in ["&priority=high", "&tag=7", "&network=networks%2Fethereum-mainnet"] {
        assert_ne!(digest(&by_get), digest(&get(&set, &format!("{GET_WITHDRAW}{other}")).unwrap()));
    }
    let entry = get(&set, "/api/v2/private/withdraw?currency=BTC&amount=1&id=e-1").unwrap();
    assert_eq!(side(&entry, "address"), "e-1");
    for refused in ["&id=e-1", "&Address=x", "&address=x", "&amount[]=9"] {
        assert!(get(&set, &format!("{GET_WITHDRAW}{refused}")).is_err(), "{refused}");
    }
    assert!(get(&set, "/api/v2/private/withdraw?currency=BTC&amount=1").is_err());
}

#[test]
fn deribit_actions_have_the_names_that_policies_know() {
    let set = compile(DERIBIT);
    for (target, is) in [
        ("submit_transfer_to_user?currency=ETH&amount=1&destination=0xa", "withdrawal"),
        ("submit_transfer_to_subaccount?currency=ETH&amount=1&destination=20", "transfer"),
        (
            "submit_transfer_between_subaccounts?currency=ETH&amount=1&destination=20&source=3",
            "transfer",
        ),
        (
            "add_to_address_book?currency=BTC&type=withdrawal&address=bc1q&label=x",
            "address_book.add",
        ),
        ("update_in_address_book?currency=BTC&type=withdrawal&address=bc1q", "address_book.change"),
        ("set_address_requires_security_key?currency=BTC&id=e&value=false", "address_book.change"),
        (
            "remove_from_address_book?currency=BTC&type=withdrawal&address=bc1q",
            "address_book.remove",
        ),
        ("create_api_key?max_scope=wallet%3Aread_write", "api_key.create"),
        ("edit_api_key?id=1&max_scope=wallet%3Aread_write", "api_key.change"),
        ("change_scope_in_api_key?id=1&max_scope=wallet%3Aread_write", "api_key.change"),
        ("enable_api_key?id=1", "api_key.change"),
        ("reset_api_key?id=1", "api_key.change"),
        ("remove_api_key?id=1", "api_key.delete"),
        ("disable_tfa_for_subaccount?sid=1", "subaccount.access"),
        ("create_subaccount", "subaccount.create"),
        ("cancel_all", "mass_cancel"),
        ("cancel_all_by_instrument?instrument_name=BTC-PERPETUAL", "mass_cancel"),
        ("close_position?instrument_name=BTC-PERPETUAL&type=market", "close_position"),
        ("disable_cancel_on_disconnect?scope=account", "risk_setting"),
    ] {
        assert_eq!(
            why(get(&set, &format!("/api/v2/private/{target}"))),
            format!("is {is}"),
            "{target}"
        );
    }
    for (target, is) in [
        ("private/buy?instrument_name=x&amount=1", "passes: order"),
        ("private/cancel_withdrawal?currency=BTC&id=1", "passes: withdrawal.cancel"),
        ("private/get_positions?currency=BTC", "passes: read"),
        ("private/mass_quote?quote_id=1", "passes: mass_quote"),
        ("public/auth?grant_type=client_credentials", "passes: session.open"),
        ("public/brand_new", "passes"),
    ] {
        assert_eq!(why(get(&set, &format!("/api/v2/{target}"))), is, "{target}");
    }
}

#[test]
fn what_a_call_says_in_its_params_cannot_stand_in_the_query_too() {
    let set = compile(DERIBIT);
    let body = withdraw("1", "1");
    for query in ["address=2Thief", "amount=9", "Address=2Thief", "tag=7", "id=e"] {
        for path in ["/api/v2", "/api/v2/private/withdraw"] {
            let found = why(post(&set, &format!("{path}?{query}"), &body));
            assert!(found.starts_with("not canonical"), "{path} {query}: {found}");
        }
    }
}

#[test]
fn the_query_names_no_method_beside_the_path() {
    let set = compile(DERIBIT);
    let test = r#"{"method":"public/test","params":{}}"#;
    for path in ["/api/v2/public/test", "/api/v2/private/get_positions", "/api/v2"] {
        for query in ["method=private/withdraw", "a=1&Method=private%2Fwithdraw", "m%65thod=x"] {
            let target = format!("{path}?{query}");
            assert!(why(get(&set, &target)).starts_with("NotCanonical"), "GET {target}");
            assert!(!why(post(&set, &target, test)).starts_with("passes"), "POST {target}");
        }
        assert_eq!(why(get(&set, "/api/v2/public/test?expected_result=method")), "passes");
    }
}

#[test]
fn what_leaves_a_deribit_account_for_another_may_come_from_contracts() {
    let set = compile(DERIBIT);
    let method = "private/submit_transfer_to_subaccount";
    let params = r#"{"currency":"ETH","amount":1,"destination":20}"#;
    for action in [
        get(&set, &format!("/api/v2/{method}?currency=ETH&amount=1&destination=20")),
        post(&set, "/api/v2", &rpc("1", method, params)),
    ] {
        for wallet in ["transfer.from", "transfer.to"] {
            let found = action.as_ref().unwrap().elements[0].find(wallet).cloned();
            assert_eq!(found, Some(FieldValue::Unreadable), "{wallet}");
        }
    }
}

#[test]
fn what_deribit_has_and_nobody_has_listed_is_refused_as_a_read_too() {
    let set = compile(DERIBIT);
    for (method, target) in [
        ("GET", "/api/v2/private/brand_new"),
        ("HEAD", "/api/v2/private/brand_new"),
        ("GET", "/api/v2/private/brand/new"),
        ("DELETE", "/api/v2/private/brand_new"),
    ] {
        assert_eq!(
            why(read(&set, &head(method, target, &[]), "")),
            "unlisted",
            "{method} {target}"
        );
    }
    for target in ["/api/v2", "/api/v2/private/brand_new", "/api/v2/public/brand_new"] {
        let call = rpc("1", "private/brand_new", "{}");
        assert_eq!(why(post(&set, target, &call)), "unlisted", "{target}");
    }
    for target in [
        "/api/v2/Private/withdraw?currency=BTC&amount=1&address=a",
        "/api/v2/private/withdraw/?currency=BTC&amount=1&address=a",
        "/api/v2//private/withdraw?currency=BTC&amount=1&address=a",
        "/api/v2/public/../private/withdraw?currency=BTC&amount=1&address=a",
        "/api/v2/private%2Fwithdraw?currency=BTC&amount=1&address=a",
        "/api/v2/private/withdraw.json?currency=BTC&amount=1&address=a",
        "/api/v2?method=private/withdraw&currency=BTC",
        "/ws/API/v2",
    ] {
        let outcome = why(get(&set, target));
        assert!(
            outcome.starts_with("NotCanonical") || outcome == "unlisted",
            "{target}: {outcome}"
        );
    }
}

#[test]
fn a_deribit_body_cannot_say_another_method_than_its_path() {
    let set = compile(DERIBIT);
    let sound = withdraw("1", "1");
    for target in [
        "/api/v2/private/get_positions",
        "/api/v2/private/add_to_address_book",
        "/api/v2/private/buy",
        "/api/v2/public/test",
        "/api/v2/public/auth",
    ] {
        let outcome = why(post(&set, target, &sound));
        assert_eq!(outcome, "unlisted", "{target}");
    }
    let read_call =
        rpc("1", "private/get_positions", r#"{"currency":"BTC","address":"a","amount":1}"#);
    assert_eq!(why(post(&set, "/api/v2", &read_call)), "passes: read");
    assert_eq!(why(post(&set, "/api/v2/private/get_positions", &read_call)), "passes: read");
    assert_eq!(why(post(&set, "/api/v2/private/withdraw", &read_call)), "unlisted");
    assert!(
        post(&set, "/api/v2/private/withdraw", r#"{"currency":"BTC","address":"a","amount":1}"#)
            .is_err()
    );
    assert!(post(&set, "/api/v2", &format!("[{sound}]")).is_err());
    let positions = rpc("1", "private/withdraw", r#"["BTC","a",1]"#);
    assert!(post(&set, "/api/v2", &positions).is_err());
    // A GET is what its path says and has no body that could say otherwise.
    for target in [GET_WITHDRAW, "/api/v2/private/get_positions", "/api/v2/public/test"] {
        let length = sound.len().to_string();
        let with_body = head("GET", target, &[JSON, ("content-length", &length)]);
        assert!(why(read(&set, &with_body, &sound)).contains("a read with a body"), "{target}");
    }
    let unannounced = head("GET", GET_WITHDRAW, &[JSON]);
    assert!(why(read(&set, &unannounced, &sound)).contains("a read with a body"));
}

#[test]
fn every_deribit_method_is_listed_in_all_its_forms_under_one_name() {
    let pack: toml::Table = DERIBIT.parse().unwrap();
    let mut forms = BTreeSet::new();
    for action in pack["action"].as_array().unwrap() {
        let name = action["name"].as_str().unwrap();
        let guarded = action.get("guarded").is_none_or(|word| word.as_bool().unwrap());
        let texts = match &action["match"] {
            toml::Value::Array(texts) => texts.iter().map(|text| text.as_str().unwrap()).collect(),
            text => vec![text.as_str().unwrap()],
        };
        forms.extend(texts.into_iter().map(|text| (text.to_owned(), name, guarded)));
    }
    let mut methods = 0;
    for (text, name, guarded) in &forms {
        let Some(method) = text.strip_prefix("GET /api/v2/") else { continue };
        let mut others = vec![format!("POST /api/v2/{method} method={method}")];
        if !["private/get_", "private/list_"].iter().any(|open| method.starts_with(open)) {
            others.push(format!("POST /api/v2 method={method}"));
        }
        for other in others {
            assert!(forms.contains(&(other.clone(), *name, *guarded)), "{other} of {name}");
        }
        methods += 1;
    }
    assert!(methods > 130, "{methods}");
}

// --- through the gateway

async fn home(pack: &str) -> (World, Client) {
    let world = World::with(POLICY, pack, "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    (world, alice)
}

/// Approves with the authenticator's next unused code.
async fn approve(world: &World, client: &Client, challenge: &str) {
    world.wait_s(30);
    let target = format!("/.stepgate/challenge/{challenge}/answer");
    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    let answer = client.post_json(&target, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn asked(answer: &Answer) -> (String, serde_json::Value) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    (answer.challenge(), answer.json())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bybit_withdrawal_is_asked_about_natively_and_its_repeat_with_a_new_timestamp_passes_once()
 {
    let (world, alice) = home(BYBIT).await;
    let path = "/v5/asset/withdraw/create";
    let at = |time: &str, amount: &str| {
        WITHDRAW.replace("1795176000000", time).replace("\"5\"", &format!("\"{amount}\""))
    };
    let (challenge, body) = asked(&alice.post_json(path, at("1", "5")).await);
    assert_eq!((&body["retCode"], &body["time"]), (&10010.into(), &world.now().0.into()));
    assert_eq!(
        (&body["result"], &body["retExtInfo"]),
        (&serde_json::json!({}), &serde_json::json!({}))
    );
    assert!(body["retMsg"].as_str().unwrap().contains(&challenge), "{body}");
    approve(&world, &alice, &challenge).await;
    asked(&alice.post_json(path, at("2", "6")).await);
    assert!(world.exchange.seen_at(path).is_empty());
    world
        .exchange
        .will(Reply::Answer(200, r#"{"retCode":0,"retMsg":"success","result":{"id":"1"}}"#));
    let passed = alice.post_json(path, at("3", "5")).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(world.exchange.seen_at(path)[0].body, at("3", "5"));
    asked(&alice.post_json(path, at("4", "5")).await);
    let refused = alice.post_json("/v5/asset/brand-new", "{}").await;
    assert_eq!((refused.status.as_u16(), &refused.json()["retCode"]), (403, &10010.into()));
    assert_eq!(alice.post_json("/v5/order/create-batch", "{}").await.status, 200);
    assert_eq!(world.exchange.seen_at(path).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deribit_get_that_withdraws_is_asked_about_and_passes_once() {
    let (world, alice) = home(DERIBIT).await;
    let path = "/api/v2/private/withdraw";
    let (challenge, body) = asked(&alice.get(GET_WITHDRAW).await);
    assert_eq!((&body["jsonrpc"], &body["error"]["code"]), (&"2.0".into(), &13021.into()));
    assert_eq!(body["id"], serde_json::Value::Null);
    assert!(body["error"]["message"].as_str().unwrap().contains(&challenge), "{body}");
    approve(&world, &alice, &challenge).await;
    asked(&alice.get(&GET_WITHDRAW.replace("0.40", "0.41")).await);
    asked(&alice.get(&GET_WITHDRAW.replace("bc1q", "bc1p")).await);
    assert!(world.exchange.seen_at(path).is_empty());
    let again = format!("{GET_WITHDRAW}&tfa=123456");
    assert_eq!(alice.get(&again).await.status, 200);
    assert_eq!(world.exchange.seen_at(path)[0].target, again);
    asked(&alice.get(GET_WITHDRAW).await);
    assert_eq!(world.exchange.seen_at(path).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_rpc_call_is_answered_with_its_own_id() {
    let (world, alice) = home(DERIBIT).await;
    let strange = r#""\",\"result\":{\"x\":\"""#;
    for (id, answered) in [
        ("42", serde_json::json!(42)),
        ("\"a-1\"", serde_json::json!("a-1")),
        (strange, serde_json::from_str(strange).unwrap()),
        ("1.5", serde_json::Value::Null),
        ("{\"x\":1}", serde_json::Value::Null),
    ] {
        let (_, body) = asked(&alice.post_json("/api/v2", withdraw(id, "1")).await);
        assert_eq!((&body["id"], body.as_object().unwrap().len()), (&answered, 3), "{id}");
    }
    let unlisted = alice.post_json("/api/v2", rpc("43", "private/brand_new", "{}")).await;
    assert_eq!((unlisted.status.as_u16(), &unlisted.json()["id"]), (403, &43.into()));
    let read = alice.get("/api/v2/private/brand_new?id=44").await;
    assert_eq!((read.status.as_u16(), &read.json()["id"]), (403, &44.into()));
    let (challenge, _) =
        asked(&alice.post_json("/api/v2/private/withdraw", withdraw("1", "2")).await);
    approve(&world, &alice, &challenge).await;
    let passed = alice.post_json("/api/v2/private/withdraw", withdraw("2", "2")).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(world.exchange.seen_at("/api/v2/private/withdraw").len(), 1);
    assert!(world.exchange.seen_at("/api/v2").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deribit_key_is_known_by_its_id_however_it_signs() {
    let keys = |kit: &Kit| {
        let config = std::fs::read_to_string(kit.config()).unwrap();
        let scheme = "authorization:deri-hmac-sha256:id";
        std::fs::write(kit.config(), config.replace("header:OK-ACCESS-KEY", scheme)).unwrap();
    };
    let world = World::edited(POLICY, DERIBIT, "", keys).await;
    world.enrol_totp("alice").await;
    let signed = |sig: &str| {
        let value = format!("deri-hmac-sha256 id=key-alice,ts=1795264636765,sig={sig},nonce={sig}");
        world.client().with("authorization", value)
    };
    let (challenge, _) = asked(&signed("d9cf").get(GET_WITHDRAW).await);
    approve(&world, &signed("e0a1"), &challenge).await;
    assert_eq!(signed("77b2").get(GET_WITHDRAW).await.status, 200);
    let seen = world.exchange.seen_at("/api/v2/private/withdraw");
    let header = seen[0].headers["authorization"].to_str().unwrap();
    assert!(header.contains("sig=77b2"), "{header}");
    asked(&signed("99c3").get(GET_WITHDRAW).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_reaches_deribit_beside_its_listed_methods() {
    let (world, alice) = home(DERIBIT).await;
    let before = world.exchange.seen().len();
    let call = withdraw("1", "1");
    for target in ["/api/v2/private/get_positions", "/api/v2/public/test", "/api/v2"] {
        let answer = alice.send("GET", target, &[JSON], call.as_str()).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
    }
    let upgrade =
        [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")];
    assert_eq!(alice.send("GET", "/ws/api/v2/x", &upgrade, "").await.status, 400);
    assert_eq!(alice.send("GET", "/ws/other", &upgrade, "").await.status, 403);
    let token = format!("{GET_WITHDRAW}&access_token=t");
    assert_eq!(alice.get(&token).await.status, 400);
    let inside = call.replace("\"currency\"", "\"access_token\":\"t\",\"currency\"");
    assert_eq!(alice.post_json("/api/v2", inside).await.status, 400);
    assert_eq!(world.client().get(GET_WITHDRAW).await.status, 401);
    for target in ["/api/v2/private/get_positions", "/api/v2/public/test"] {
        let answer = unannounced_body(&world, &alice, target, &call).await;
        assert_eq!(answer, 400, "{target}");
    }
    assert_eq!(world.exchange.seen().len(), before, "{:#?}", world.exchange.seen());
    assert_eq!(alice.get("/api/v2/private/get_positions?currency=BTC").await.status, 200);
    assert_eq!(alice.post_json("/api/v2", rpc("1", "public/test", "{}")).await.status, 200);
}

/// A body of which the head says nothing, as HTTP/2 allows.
struct Unannounced(Option<Bytes>);

impl hyper::body::Body for Unannounced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

async fn unannounced_body(world: &World, client: &Client, target: &str, body: &str) -> u16 {
    let stream = TokioIo::new(client.connect(&[b"h2"]).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let token = world.kit.token("alice", "s1", world.now().seconds());
    let request = http::Request::get(format!("https://{}{target}", client.host))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Unannounced(Some(Bytes::from(body.to_owned()))))
        .unwrap();
    sender.send_request(request).await.unwrap().status().as_u16()
}
