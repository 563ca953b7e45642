//! The packs for Kraken, Kraken Futures and Coinbase Exchange: requests as their client libraries send them, read by the
//! packs and answered by a gateway that has several.

use http::{HeaderMap, Method};
use stepgate::classify::{Action, ActionSet, Detected, Unclassified, load};
use stepgate::fault::Source;
use stepgate::types::FieldValue;

use crate::client::Client;
use crate::kit::{Kit, POLICY};
use crate::packs::{FORM, JSON, digest, head, text};
use crate::world::World;

const KRAKEN: &str = include_str!("../../policies/kraken.actions.toml");
const FUTURES: &str = include_str!("../../policies/kraken-futures.actions.toml");
const COINBASE: &str = include_str!("../../policies/coinbase-exchange.actions.toml");
const EXCHANGE_POLICY: &str = include_str!("../../policies/exchange.policy.toml");

fn set(packs: &[&str]) -> ActionSet {
    let sources: Vec<_> = packs
        .iter()
        .enumerate()
        .map(|(at, text)| Source::new(format!("{at}.toml"), *text))
        .collect();
    let mut faults = Vec::new();
    let set = load(&sources, &mut faults);
    let faults: Vec<String> = faults.iter().map(stepgate::fault::Fault::render).collect();
    set.unwrap_or_else(|| panic!("{}", faults.join("\n")))
}

/// A site of Kraken has both of its packs.
fn kraken() -> ActionSet {
    set(&[KRAKEN, FUTURES])
}

fn send(
    set: &ActionSet,
    method: &str,
    target: &str,
    media: (&str, &str),
    body: &str,
) -> Result<Action, String> {
    let headers = [media];
    let head = head(method, target, if body.is_empty() { &[] } else { &headers });
    match set.detect(&head.method, &head.target, &head.headers) {
        Detected::Action(rule) => {
            rule.read(&head, body.as_bytes()).map_err(|refused| refused.to_string())
        }
        other => Err(format!("{other:?}")),
    }
}

fn spot(call: &str, body: &str) -> Result<Action, String> {
    let media = if body.starts_with('{') { JSON } else { FORM };
    send(&kraken(), "POST", &format!("/0/private/{call}"), media, body)
}

fn funding(method: &str, path: &str, body: &str) -> Result<Action, String> {
    send(&kraken(), method, &format!("/funding/v1/{path}"), JSON, body)
}

fn futures(call: &str, body: &str) -> Result<Action, String> {
    send(&kraken(), "POST", &format!("/derivatives/api/v3/{call}"), FORM, body)
}

fn coinbase(method: &str, target: &str, body: &str) -> Result<Action, String> {
    send(&set(&[COINBASE]), method, target, JSON, body)
}

fn shown(action: &Action) -> Vec<String> {
    action.shown.iter().map(|line| format!("{}={}", line.name, line.value)).collect()
}

fn wallets(action: &Action) -> [&str; 2] {
    ["transfer.from", "transfer.to"].map(|name| match action.elements[0].find(name) {
        Some(FieldValue::Text(text)) => text,
        Some(FieldValue::Unreadable) => "?",
        None => "",
    })
}

/// What the request line alone says: an action's name, with a star if it is guarded.
fn told(set: &ActionSet, method: &Method, target: &str) -> String {
    match set.detect(method, target, &HeaderMap::new()) {
        Detected::Ordinary => "ordinary".into(),
        Detected::Action(rule) => {
            format!("{}{}", rule.name, if rule.guarded { "*" } else { "" })
        }
        Detected::Unlisted { say: Unclassified::Deny, .. } => "denied".into(),
        other => format!("{other:?}"),
    }
}

// --- Kraken, spot

const WITHDRAW: &str = "nonce=1&asset=XBT&amount=0.5&key=Cold+wallet&address=bc1q";

#[test]
fn a_kraken_withdrawal_goes_where_its_key_says() {
    let form = spot("Withdraw", WITHDRAW).unwrap();
    assert_eq!(form.name.as_str(), "withdrawal");
    assert_eq!(
        shown(&form),
        ["amount=0.5", "asset=XBT", "address=Cold wallet", "expected_address=bc1q"]
    );
    let json = r#"{"nonce":1,"asset":"XBT","key":"Cold wallet","amount":"0.5","address":"bc1q"}"#;
    assert_eq!(shown(&spot("Withdraw", json).unwrap()), shown(&form));
    // The address alone is no destination.
    assert!(spot("Withdraw", "nonce=1&asset=XBT&amount=0.5&address=bc1q").is_err());
    let answer = form.answer.unwrap();
    assert_eq!(answer.status, 401);
    assert_eq!(answer.render("m"), r#"{"error":["EGeneral:Permission denied"],"message":"m"}"#);
}

#[test]
fn a_name_with_single_spaces_can_be_told_and_one_with_more_cannot() {
    let key = |key: &str| spot("Withdraw", &format!("nonce=1&asset=XBT&amount=1&key={key}"));
    assert_eq!(text(&key("my%20old%20key").unwrap(), "address"), Some("my old key"));
    for odd in ["a++b", "+a", "a+", "+", "a%C2%A0b", "%D0%B0", "a%09b", "a%00"] {
        assert!(key(odd).is_err(), "{odd}");
    }
}

#[test]
fn the_approval_of_a_kraken_withdrawal_outlives_nonce_and_otp_and_nothing_else() {
    let base = digest(&spot("Withdraw", WITHDRAW).unwrap());
    for same in [
        WITHDRAW.replace("nonce=1", "nonce=2"),
        WITHDRAW.replace("amount=0.5", "amount=0.50"),
        format!("{WITHDRAW}&otp=123456"),
    ] {
        assert_eq!(base, digest(&spot("Withdraw", &same).unwrap()), "{same}");
    }
    for other in [
        WITHDRAW.replace("Cold+wallet", "Hot+wallet"),
        WITHDRAW.replace("bc1q", "bc1p"),
        WITHDRAW.replace("0.5", "5"),
        format!("{WITHDRAW}&max_fee=1"),
        format!("{WITHDRAW}&anything=1"),
    ] {
        assert_ne!(base, digest(&spot("Withdraw", &other).unwrap()), "{other}");
    }
    for refused in ["&key=x", "&Key=x", "&key[]=x"] {
        assert!(spot("Withdraw", &format!("{WITHDRAW}{refused}")).is_err(), "{refused}");
    }
}

const FUNDING: &str = r#"{"scope":{"method_id":"m1"},"address_id":"ADDR-1","amount":{"asset_amount":{"asset":{"class":"currency","name":"XBT"},"amount":"0.5"}},"fee":{"quoted_fee":{"token":"t1"},"fee_included":true}}"#;

#[test]
fn a_withdrawal_of_the_funding_api_is_read_from_its_depths() {
    let action = funding("POST", "withdrawals?account_id=AA11", FUNDING).unwrap();
    assert_eq!(action.name.as_str(), "withdrawal");
    assert_eq!(
        shown(&action),
        [
            "amount=0.5",
            "asset=XBT",
            "address=ADDR-1",
            "network=m1",
            "fee_included=true",
            "asset_class=currency",
            "account=AA11"
        ]
    );
    let base = digest(&funding("POST", "withdrawals", FUNDING).unwrap());
    let sent = |from: &str, to: &str| {
        digest(&funding("POST", "withdrawals", &FUNDING.replace(from, to)).unwrap())
    };
    assert_eq!(base, sent("\"t1\"", "\"t2\""));
    assert_eq!(base, sent("\"0.5\"", "0.50"));
    assert_ne!(base, sent("ADDR-1", "ADDR-2"));
    assert_ne!(base, sent("\"m1\"", "\"m2\""));
    let max_fee = r#"{"current_fee":{"max_fee":{"amount":"1"}}}"#;
    let fee = FUNDING.replace(r#"{"quoted_fee":{"token":"t1"},"fee_included":true}"#, max_fee);
    assert!(
        shown(&funding("POST", "withdrawals", &fee).unwrap())
            .contains(&r#"fee={"amount":"1"}"#.into())
    );
    for (from, to) in [
        (r#""method_id":"m1""#, r#""method_id":"m1","network_id":"n1""#),
        (r#""amount":"0.5""#, r#""amount":"0.5","Amount":"9""#),
        (r#""address_id":"ADDR-1""#, r#""address_id":["ADDR-1"]"#),
        (r#""address_id""#, r#""address""#),
    ] {
        assert!(funding("POST", "withdrawals", &FUNDING.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn krakens_address_book_is_written_by_the_funding_api() {
    let add = |crypto: &str| {
        let body = format!(
            r#"{{"scope":{{"network_id":"n1"}},"address_details":{{"crypto":{crypto}}},"name":"Mine"}}"#
        );
        funding("POST", "addresses", &body)
    };
    for (crypto, tag) in [
        (r#"{"address":"rEb8","tag":"007"}"#, Some("007")),
        (r#"{"address":"rEb8","memo":"m"}"#, Some("m")),
        (r#"{"address":"rEb8"}"#, None),
    ] {
        let action = add(crypto).unwrap();
        assert_eq!(action.name.as_str(), "address_book.add");
        assert_eq!(text(&action, "address"), Some("rEb8"));
        assert_eq!(text(&action, "tag"), tag, "{crypto}");
        assert_eq!(text(&action, "network"), Some("n1"));
        assert!(shown(&action).contains(&format!("details={{\"crypto\":{crypto}}}")));
    }
    assert!(add(r#"{"address":"rEb8","memo":"m","tag":"7"}"#).is_err());
    let change = funding("PUT", "addresses/A-1", r#"{"name":"Other"}"#).unwrap();
    assert_eq!(change.name.as_str(), "address_book.change");
    assert_eq!(shown(&change), ["entry=A-1", "label=Other"]);
    let remove = funding("DELETE", "addresses/A-1?account_id=AA11", "").unwrap();
    assert_eq!(remove.name.as_str(), "address_book.remove");
    assert_eq!(shown(&remove), ["entry=A-1", "account=AA11"]);
    assert!(funding("DELETE", "addresses/A-1", "{}").is_err());
}

#[test]
fn every_harmless_private_post_of_kraken_streams_and_unknown_ones_are_refused() {
    let set = kraken();
    let say = |path: &str| told(&set, &Method::POST, path);
    // All of ccxt's private calls that neither move value nor cancel everything.
    let harmless = "Level3 Balance BalanceEx CreditLines TradeBalance OpenOrders ClosedOrders QueryOrders OrderAmends \
        TradesHistory QueryTrades OpenPositions Ledgers QueryLedgers TradeVolume AddExport ExportStatus RetrieveExport \
        RemoveExport GetApiKeyInfo ListWalletAccounts AddOrder AmendOrder CancelOrder GetWebSocketsToken AddOrderBatch \
        EditOrder DepositMethods DepositAddresses DepositStatus WithdrawMethods WithdrawAddresses WithdrawInfo \
        WithdrawStatus WithdrawCancel Earn/AllocateStatus Earn/DeallocateStatus Earn/Strategies Earn/Allocations";
    for call in harmless.split_whitespace() {
        let told = say(&format!("/0/private/{call}"));
        assert!(
            !told.contains(['*', '{']) && told != "denied" && told != "ordinary",
            "{call}: {told}"
        );
    }
    let guarded = "Withdraw WalletTransfer AccountTransfer CreateSubaccount CancelAll CancelAllOrdersAfter \
        CancelOrderBatch Earn/Allocate Earn/Deallocate";
    for call in guarded.split_whitespace() {
        assert!(say(&format!("/0/private/{call}")).ends_with('*'), "{call}");
    }
    for unknown in
        ["/0/private/Stake", "/0/private/Earn/New", "/funding/v1/methods", "/0/new", "/x"]
    {
        assert_eq!(say(unknown), "denied", "{unknown}");
    }
    assert_eq!(say("/0/public/Ticker"), "read");
    for read in [
        "/0/public/Ticker?pair=XBTUSD",
        "/funding/v1/addresses?account_id=A",
        "/funding/v1/fees/m1",
    ] {
        let told = told(&set, &Method::GET, read);
        assert!(told == "ordinary" || read.contains("account_id"), "{read}: {told}");
    }
    for spelt in [
        "/0/private/withdraw",
        "/0/private//Withdraw",
        "/0/private/Withdraw/",
        "/0/private/%57ithdraw",
    ] {
        assert!(say(spelt).contains("NotCanonical"), "{spelt}");
    }
}

#[test]
fn kraken_cancels_of_many_are_read_with_what_they_cancel() {
    let all = spot("CancelAll", "nonce=1").unwrap();
    assert_eq!(all.name.as_str(), "mass_cancel");
    assert_eq!(digest(&all), digest(&spot("CancelAll", "nonce=2").unwrap()));
    let after = spot("CancelAllOrdersAfter", "nonce=1&timeout=60").unwrap();
    assert_eq!(
        (after.name.as_str(), shown(&after)),
        ("cancel_all_after", vec!["timeout=60".into()])
    );
    let batch = spot("CancelOrderBatch", r#"{"nonce":"1","orders":["OA", "OB"]}"#).unwrap();
    assert_eq!(
        (batch.name.as_str(), shown(&batch)),
        ("batch_cancel", vec![r#"orders=["OA","OB"]"#.into()])
    );
}

#[test]
fn a_batch_of_orders_is_bound_order_by_order_without_its_client_ids() {
    let batch = |orders: &str| {
        spot("AddOrderBatch", &format!(r#"{{"nonce":"1","pair":"XBTUSD","orders":{orders}}}"#))
    };
    let one = r#"[{"type":"buy","ordertype":"limit","volume":"1","price":"10","cl_ord_id":"a"},{"type":"sell","ordertype":"market","volume":"2"}]"#;
    let action = batch(one).unwrap();
    assert_eq!(action.elements.len(), 2);
    assert_eq!(
        shown(&action)[..5],
        [
            "side[1]=buy",
            "volume[1]=1",
            "instrument[1]=XBTUSD",
            "price[1]=10",
            "order_type[1]=limit"
        ]
    );
    let base = digest(&action);
    assert_eq!(base, digest(&batch(&one.replace(r#""a""#, r#""b","userref":7"#)).unwrap()));
    assert_ne!(base, digest(&batch(&one.replace(r#""10""#, r#""11""#)).unwrap()));
    assert_ne!(base, digest(&batch(&one.replace("},{", r#"},{"oflags":"post","#)).unwrap()));
    for refused in [
        "[]",
        "{}",
        "1",
        "[1]",
        "[[]]",
        r#"[{"type":"buy"},1]"#,
        r#"[{"type":"buy","Type":"sell"}]"#,
        r#"[{"type":"buy"},{"type":["sell"]}]"#,
    ] {
        assert!(batch(refused).is_err(), "{refused}");
    }
    assert!(spot("AddOrderBatch", r#"{"nonce":"1","pair":"XBTUSD"}"#).is_err());
    // What looks like the list's place and is none is not left out of the intent.
    assert!(batch(r#"{"[]":{"cl_ord_id":"a"}}"#).is_err());
}

#[test]
fn money_between_krakens_wallets_is_told_by_its_direction() {
    let move_to = |from: &str, to: &str| {
        let body = format!("nonce=1&asset=XBT&amount=1&from={from}&to={to}");
        let action = spot("WalletTransfer", &body).unwrap();
        wallets(&action).map(str::to_owned)
    };
    assert_eq!(move_to("Spot%20Wallet", "Futures%20Wallet"), ["spot", "contract"]);
    assert_eq!(move_to("Futures+Wallet", "Spot+Wallet"), ["contract", "spot"]);
    assert_eq!(move_to("spot+wallet", "Futures+Wallet"), ["?", "?"]);
    let account = spot("AccountTransfer", "nonce=1&asset=XBT&amount=1&from=A&to=B").unwrap();
    assert_eq!((account.name.as_str(), wallets(&account)), ("transfer", ["?", "?"]));
    assert!(shown(&account).contains(&"subaccount.to=B".into()));
}

// --- Kraken Futures

#[test]
fn a_futures_withdrawal_is_contract_to_spot_wherever_its_parameters_stand() {
    // As ccxt sends it: all in the query, no body, and a type for the body that is not there.
    let bare = head("POST", "/derivatives/api/v3/withdrawal?amount=1&currency=USD", &[FORM]);
    let set = kraken();
    let Detected::Action(rule) = set.detect(&bare.method, &bare.target, &bare.headers) else {
        panic!("no action")
    };
    let query = rule.read(&bare, b"").unwrap();
    let form = futures("withdrawal", "amount=1&currency=USD&sourceWallet=flex").unwrap();
    for action in [&query, &form] {
        assert_eq!((action.name.as_str(), wallets(action)), ("transfer", ["contract", "spot"]));
    }
    assert!(shown(&form).contains(&"wallet=flex".into()));
    let elsewhere = futures("withdrawal", "amount=1&currency=USD&targetAddress=bc1q").unwrap();
    assert!(shown(&elsewhere).contains(&"address=bc1q".into()));
    assert!(futures("withdrawal?amount=2", "amount=1&currency=USD").is_err());
    assert!(futures("withdrawal?amount=1", "").is_err());
    let answer = query.answer.unwrap();
    assert_eq!(
        answer.render("m"),
        r#"{"result":"error","error":"authenticationError","message":"m"}"#
    );
}

#[test]
fn the_cash_wallet_of_futures_is_the_way_out() {
    let direction = |from: &str, to: &str| {
        let target = format!("transfer?fromAccount={from}&toAccount={to}&unit=USD&amount=1");
        let action = futures(&target, "").unwrap();
        wallets(&action).map(str::to_owned)
    };
    assert_eq!(direction("flex", "cash"), ["contract", "spot"]);
    assert_eq!(direction("fi_xbtusd", "cash"), ["contract", "spot"]);
    assert_eq!(direction("cash", "flex"), ["spot", "contract"]);
    assert_eq!(direction("fi_xbtusd", "flex"), ["contract", "contract"]);
    assert_eq!(direction("flex", "fi_xbtusd"), ["?", "?"]);
    assert_eq!(direction("flex", "Cash"), ["?", "?"]);
    let sub =
        "transfer/subaccount?fromUser=a&toUser=b&fromAccount=flex&toAccount=flex&unit=USD&amount=1";
    assert_eq!(wallets(&futures(sub, "").unwrap()), ["?", "?"]);
}

#[test]
fn futures_orders_stream_and_what_cancels_or_risks_everything_is_guarded() {
    let set = kraken();
    let say =
        |method: &Method, call: &str| told(&set, method, &format!("/derivatives/api/v3/{call}"));
    for (call, name) in [
        ("sendorder?orderType=lmt", "order"),
        ("editorder", "order"),
        ("cancelorder", "cancel"),
        ("batchorder", "batch_order"),
        ("cancelallorders?symbol=PF_XBTUSD", "mass_cancel*"),
        ("cancelallordersafter?timeout=60", "cancel_all_after*"),
        ("assignmentprogram/add", "risk_setting*"),
        ("brand-new", "denied"),
        ("subaccount/new", "denied"),
    ] {
        assert_eq!(say(&Method::POST, call), name, "{call}");
    }
    assert_eq!(say(&Method::PUT, "leveragepreferences?symbol=PF_XBTUSD"), "risk_setting*");
    assert_eq!(say(&Method::GET, "leveragepreferences?symbol=PF_XBTUSD"), "read");
    assert_eq!(say(&Method::GET, "openpositions"), "ordinary");
    assert_eq!(futures("cancelallorders", "").unwrap().name.as_str(), "mass_cancel");
    let batch = futures("batchorder", r#"json={"batchOrder":[{"order":"cancel","order_id":"1"}]}"#);
    assert!(shown(&batch.unwrap())[0].starts_with("orders={\"batchOrder\""));
}

// --- Coinbase Exchange

#[test]
fn coinbase_withdrawals_of_all_kinds_are_read() {
    let crypto = |body: &str| coinbase("POST", "/withdrawals/crypto", body).unwrap();
    let number = crypto(
        r#"{"currency":"XRP","amount":5,"crypto_address":"rEb8","destination_tag":"007","nonce":1}"#,
    );
    assert_eq!(number.name.as_str(), "withdrawal");
    assert_eq!(shown(&number), ["amount=5", "asset=XRP", "address=rEb8", "tag=007"]);
    let string = r#"{"currency":"XRP","amount":"5.0","crypto_address":"rEb8","destination_tag":"007","nonce":2,"two_factor_code":"1"}"#;
    assert_eq!(digest(&number), digest(&crypto(string)));
    assert_ne!(digest(&number), digest(&crypto(&string.replace("007", "7"))));
    assert_ne!(
        digest(&number),
        digest(&crypto(&string.replace("\"nonce\"", "\"profile_id\":\"p\",\"nonce\"")))
    );
    for (path, id) in [
        ("coinbase-account", "coinbase_account_id"),
        ("payment-method", "payment_method_id"),
        ("counterparty", "counterparty_id"),
    ] {
        let body = format!(r#"{{"amount":"10","currency":"USD","{id}":"x1"}}"#);
        let action = coinbase("POST", &format!("/withdrawals/{path}"), &body).unwrap();
        assert_eq!(shown(&action), ["amount=10", "asset=USD", "address=x1"], "{path}");
    }
    let two =
        r#"{"amount":"10","currency":"USD","payment_method_id":"a","coinbase_account_id":"b"}"#;
    assert!(coinbase("POST", "/withdrawals/payment-method", two).is_err());
    let answer = number.answer.unwrap();
    assert_eq!((answer.status, &*answer.render("m")), (401, r#"{"message":"m"}"#));
}

#[test]
fn every_entry_of_coinbases_address_book_is_read() {
    let add = |list: &str| coinbase("POST", "/address-book", &format!(r#"{{"addresses":{list}}}"#));
    let two = r#"[{"currency":"BTC","to":{"address":"1J"},"label":"a"},{"currency":"XRP","to":{"address":"rE","destination_tag":"7"},"label":"b"}]"#;
    let action = add(two).unwrap();
    assert_eq!(action.name.as_str(), "address_book.add");
    assert_eq!(
        shown(&action),
        [
            "address[1]=1J",
            "asset[1]=BTC",
            "label[1]=a",
            "address[2]=rE",
            "tag[2]=7",
            "asset[2]=XRP",
            "label[2]=b"
        ]
    );
    for refused in [
        "[]",
        r#"{"currency":"BTC","to":{"address":"1J"}}"#,
        r#"[{"currency":"BTC","to":{"address":"1J"}},{"currency":"BTC"}]"#,
        r#"[{"currency":"BTC","to":{"address":"1J","Address":"1K"}}]"#,
        r#"[{"currency":"BTC","to":[{"address":"1J"}]}]"#,
        r#"[{"currency":"BTC","to":{"address":"1J"}},[]]"#,
    ] {
        assert!(add(refused).is_err(), "{refused}");
    }
    let other = add(&two.replace("1J", "1K")).unwrap();
    assert_ne!(digest(&action), digest(&other));
    let change = coinbase("PUT", "/address-book/e1", r#"{"id":"e2","label":"x"}"#).unwrap();
    assert_eq!(shown(&change), ["entry=e1", "entry.in_body=e2", "label=x"]);
    let remove = coinbase("DELETE", "/address-book/e1", "").unwrap();
    assert_eq!(
        (remove.name.as_str(), shown(&remove)),
        ("address_book.remove", vec!["entry=e1".into()])
    );
}

#[test]
fn deleting_all_orders_at_coinbase_is_guarded_and_deleting_one_is_not() {
    for (target, body) in [
        ("/orders", ""),
        ("/orders?product_id=BTC-USD", ""),
        ("/orders", r#"{"product_id":"BTC-USD"}"#),
    ] {
        let action = coinbase("DELETE", target, body).unwrap();
        assert_eq!(action.name.as_str(), "mass_cancel", "{target} {body}");
    }
    assert!(coinbase("DELETE", "/orders?product_id=A", r#"{"product_id":"B"}"#).is_err());
    let set = set(&[COINBASE]);
    for (method, target, name) in [
        (Method::DELETE, "/orders/68e6a28f", "cancel"),
        (Method::DELETE, "/orders/client:68e6a28f?product_id=BTC-USD", "cancel"),
        (Method::POST, "/orders", "order"),
        (Method::GET, "/orders?product_id=BTC-USD&status=open", "read"),
        (Method::GET, "/products/BTC-USD/ticker", "ordinary"),
        (Method::GET, "/withdrawals/fee-estimate?currency=BTC&crypto_address=1J", "ordinary"),
        (Method::POST, "/withdrawals/brand-new", "denied"),
        (Method::POST, "/brand-new", "denied"),
        (Method::PUT, "/profiles/p1/deactivate", "subaccount.change*"),
        (Method::POST, "/conversions", "convert*"),
        (Method::POST, "/position/close", "close_position*"),
    ] {
        assert_eq!(told(&set, &method, target), name, "{method} {target}");
    }
    let margin = coinbase(
        "POST",
        "/profiles/margin-transfer",
        r#"{"type":"withdraw","currency":"USD","amount":2}"#,
    );
    assert_eq!(wallets(&margin.unwrap()), ["margin", "spot"]);
    let profile = r#"{"from":"p1","to":"p2","currency":"BTC","amount":"1"}"#;
    assert_eq!(wallets(&coinbase("POST", "/profiles/transfer", profile).unwrap()), ["?", "?"]);
}

// --- through a gateway

/// A site with both packs of Kraken and the one of Coinbase Exchange, whose keys are told by their headers.
async fn world(policy: &str) -> World {
    let edit = |kit: &Kit| {
        let put = |name: &str, text: &str| std::fs::write(kit.dir.join(name), text).unwrap();
        put("policies/kraken-futures.actions.toml", FUTURES);
        put("policies/coinbase-exchange.actions.toml", COINBASE);
        let config = std::fs::read_to_string(kit.config()).unwrap();
        let one = r#"["policies/site.actions.toml"]"#;
        let three = r#"["policies/site.actions.toml", "policies/kraken-futures.actions.toml", "policies/coinbase-exchange.actions.toml"]"#;
        let keys = r#"["header:API-Key", "header:APIKey", "header:CB-ACCESS-KEY"]"#;
        assert!(config.contains(one));
        put(
            "stepgate.toml",
            &config.replace(one, three).replace(r#"["header:OK-ACCESS-KEY"]"#, keys),
        );
    };
    let world = World::edited(policy, KRAKEN, "", edit).await;
    world.enrol_totp("alice").await;
    world
}

fn key(world: &World, header: &str) -> Client {
    world.client().with(header, "key-alice")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_several_packs_on_one_site_answers_in_its_own_words() {
    let world = world(POLICY).await;
    let spot = key(&world, "api-key").post_form("/0/private/Withdraw", WITHDRAW).await;
    assert_eq!(spot.json()["error"], serde_json::json!(["EGeneral:Permission denied"]));
    let futures = "/derivatives/api/v3/withdrawal?amount=1&currency=USD";
    let futures = key(&world, "apikey").post_form(futures, "").await;
    assert_eq!(futures.json()["error"], "authenticationError");
    assert_eq!(futures.json()["result"], "error");
    let body = r#"{"amount":0.5,"currency":"BTC","crypto_address":"bc1q"}"#;
    let coinbase = key(&world, "cb-access-key").post_json("/withdrawals/crypto", body).await;
    assert_eq!(coinbase.json().as_object().unwrap().len(), 1);
    for answer in [&spot, &futures, &coinbase] {
        assert_eq!(answer.status, 401);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(&answer.challenge()), "{message}");
        assert!(answer.header("www-authenticate").contains("StepUp"));
        assert_eq!(answer.header("retry-after"), "");
    }
    // What no pack lists is refused in the words of the pack that is nearest.
    let denied = key(&world, "api-key").post_form("/0/private/Stake", "nonce=1").await;
    assert_eq!(denied.json()["error"], serde_json::json!(["EGeneral:Permission denied"]));
    let denied = key(&world, "apikey").post_form("/derivatives/api/v3/new", "a=1").await;
    assert_eq!(denied.json()["error"], "authenticationError");
    assert!(world.exchange.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kraken_withdrawal_signed_anew_passes_with_the_code_and_only_once() {
    let world = world(POLICY).await;
    let client = key(&world, "api-key");
    assert_eq!(client.post_form("/0/private/Withdraw", WITHDRAW).await.status, 401);
    let again = WITHDRAW.replace("nonce=1", "nonce=2");
    let coded = client.with("step-up-code", world.totp());
    assert_eq!(coded.post_form("/0/private/Withdraw", again.clone()).await.status, 200);
    let seen = world.exchange.seen_at("/0/private/Withdraw");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, again.as_bytes());
    assert!(!seen[0].headers.contains_key("step-up-code"));
    let third = WITHDRAW.replace("nonce=1", "nonce=3");
    assert_eq!(client.post_form("/0/private/Withdraw", third).await.status, 401);
    // Reading, trading and calling back go on all the while.
    for (call, body) in [
        ("BalanceEx", "nonce=4"),
        ("AddOrder", "nonce=5&pair=XBTUSD&type=buy&ordertype=market&volume=1"),
        ("WithdrawCancel", "nonce=6&asset=XBT&refid=A"),
    ] {
        assert_eq!(
            client.post_form(&format!("/0/private/{call}"), body).await.status,
            200,
            "{call}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_policy_speaks_for_these_packs() {
    let world = world(EXCHANGE_POLICY).await;
    let (spot, futures, coinbase) =
        (key(&world, "api-key"), key(&world, "apikey"), key(&world, "cb-access-key"));
    let address = r#"{"scope":{"network_id":"n1"},"address_details":{"crypto":{"address":"bc1q"}},"name":"x"}"#;
    let entry = r#"{"addresses":[{"currency":"BTC","to":{"address":"1J"},"label":"a"}]}"#;
    for answer in [
        spot.post_json("/funding/v1/addresses", address).await,
        spot.post_form("/0/private/AccountTransfer", "nonce=1&asset=XBT&amount=1&from=A&to=B")
            .await,
        futures.post_form("/derivatives/api/v3/withdrawal?amount=1&currency=USD", "").await,
        futures
            .post_form(
                "/derivatives/api/v3/transfer?fromAccount=flex&toAccount=cash&unit=USD&amount=1",
                "",
            )
            .await,
        coinbase.post_json("/address-book", entry).await,
    ] {
        assert_eq!(answer.status, 401, "{}", answer.text());
        answer.challenge();
    }
    let inward = "nonce=1&asset=XBT&amount=1&from=Spot+Wallet&to=Futures+Wallet";
    assert_eq!(spot.post_form("/0/private/WalletTransfer", inward).await.status, 200);
    assert_eq!(spot.post_form("/0/private/CancelAll", "nonce=2").await.status, 200);
    assert_eq!(coinbase.send("DELETE", "/orders", &[], "").await.status, 200);
}
