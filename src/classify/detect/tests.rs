//! What a request line alone tells, and what it must not hide.

use http::HeaderValue;

use super::*;
use crate::classify::load;
use crate::fault::Source;

const PACK: &str = r#"
        version = 1
        exchange = "one"
        unclassified = { read = "allow", write = "require" }
        sensitive = ["/api/asset/"]
        [challenge]
        body = '{"one":"{message}"}'
        [[action]]
        name = "withdrawal"
        match = "POST /api/asset/withdrawal"
        body = ["form", "query"]
        fields = { amount = "form.amt" }
        sample = "amt=1"
        [[action]]
        name = "key.delete"
        match = "DELETE /api/keys/{id}"
        [[action]]
        name = "order"
        match = "POST /api/Orders"
        guarded = false
    "#;
const OTHER: &str = r#"
        version = 1
        exchange = "two"
        unclassified = { read = "deny", write = "allow" }
        [challenge]
        body = '{"two":"{message}"}'
        [[action]]
        name = "withdrawal"
        match = "GET /other/withdraw"
        body = "query"
        sample = "amt=1"
    "#;

fn set(packs: &[&str]) -> ActionSet {
    let sources: Vec<_> = packs.iter().map(|text| Source::new("t.toml", *text)).collect();
    load(&sources, &mut Vec::new()).unwrap()
}

fn say(method: &str, target: &str, header: Option<(&'static str, &str)>) -> String {
    said_by(&set(&[PACK]), method, target, header)
}

fn said_by(
    set: &ActionSet,
    method: &str,
    target: &str,
    header: Option<(&'static str, &str)>,
) -> String {
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header {
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    match set.detect(&method, target, &headers) {
        Detected::Ordinary => "ordinary".into(),
        Detected::Action(rule) => rule.name.to_string(),
        Detected::Unlisted { say, sensitive, route, .. } => {
            format!("{say:?} {sensitive} {route}")
        }
        Detected::Selected => "selected".into(),
        Detected::NotCanonical(_) => "refused".into(),
    }
}

#[test]
fn what_a_request_line_is_does_not_depend_on_what_was_asked_before() {
    let set = set(&[PACK]);
    let long = format!("/api/asset/{}", "x".repeat(300));
    let targets = [
        "/api/asset/withdrawal",
        "/api/asset/withdrawal?_method=PUT",
        "/api/asset/withdrawal/more",
        "/api/asset/Withdrawal",
        "/api/asset/%77ithdrawal",
        "/api/asset",
        "/api/keys/k1",
        "/api/Orders",
        "/api/Orders?x=1",
        "/api/orders",
        "/elsewhere",
        "/",
        "*",
        long.as_str(),
    ];
    let length = |text| Some(("content-length", text));
    for header in [None, length("0"), length("5"), Some(("x-http-method-override", "DELETE"))] {
        for target in targets {
            for method in ["GET", "POST", "HEAD", "DELETE", "OPTIONS", "WS"] {
                let alone = say(method, target, header);
                for time in ["first", "second"] {
                    let told = said_by(&set, method, target, header);
                    assert_eq!(told, alone, "{method} {target} {header:?}, the {time} time");
                }
            }
        }
    }
}

#[test]
fn what_is_guarded_from_now_on_was_not_told_before() {
    let mut set = set(&[PACK]);
    assert_eq!(said_by(&set, "POST", "/api/orders", None), "Require false /api");
    set.guard(|name| name.as_str() == "order");
    assert_eq!(said_by(&set, "POST", "/api/orders", None), "refused");
    assert_eq!(said_by(&set, "POST", "/api/Orders", None), "order");
}

#[test]
fn no_more_request_lines_are_remembered_than_there_is_room_for() {
    let set = set(&[PACK]);
    for number in 0..3 * KNOWN_MAX {
        assert_eq!(said_by(&set, "GET", &format!("/{number}"), None), "ordinary");
    }
    assert!(set.known.len() <= usize::try_from(KNOWN_MAX).unwrap());
    let before = set.known.len();
    said_by(&set, "GET", &format!("/{}", "x".repeat(KNOWN_PATH_BYTES_MAX)), None);
    assert_eq!(set.known.len(), before);
}

#[test]
fn dots_and_spaces_are_a_parameter_too() {
    let set = set(&[PACK]);
    let detect = |path| set.detect(&Method::DELETE, path, &HeaderMap::new());
    assert!(matches!(detect("/api/keys/..."), Detected::Action(_)));
    for path in ["/api/keys/%20", "/api/keys/%2e%2e%2e", "/API/keys/..."] {
        assert!(matches!(detect(path), Detected::NotCanonical(_)), "{path}");
    }
}

#[test]
fn an_action_is_found_in_its_one_spelling() {
    assert_eq!(say("POST", "/api/asset/withdrawal", None), "withdrawal");
    assert_eq!(say("POST", "/api/asset/withdrawal?a=/b#", None), "refused");
    assert_eq!(say("DELETE", "/api/keys/k1", None), "key.delete");
    assert_eq!(say("POST", "/api/Orders?x=1", None), "order");
    for target in [
        "/api/asset/Withdrawal",
        "/api/asset/withdrawal/",
        "/api//asset/withdrawal",
        "/api/asset/x/../withdrawal",
        "/api/asset/%77ithdrawal",
        "/API/asset/other",
        "/api/asset/o%20ther",
        "/api/Keys/k1",
        "/api/keys/k%31",
        "/api/keys/k1/",
        "api/asset/withdrawal",
        "http://x/api/asset/withdrawal",
        "",
    ] {
        assert_eq!(say("POST", target, None), "refused", "{target}");
        assert_eq!(say("GET", target, None), "refused", "{target}");
    }
}

const RPC: &str = r#"
        version = 1
        exchange = "rpc"
        [websocket]
        private = ["/ws"]
        error = '{"m":"{message}"}'
        [[action]]
        name = "withdrawal"
        match = ["POST /rpc method=private/withdraw", "WS /ws method=private/withdraw"]
        select = "json.method"
        body = "json"
        fields = { amount = "json.params.amount" }
        sample = '{"method":"private/withdraw","params":{"amount":"1"}}'
        [[action]]
        name = "read"
        match = ["POST /rpc method=private/get_*", "POST /rpc method=private/with_*"]
        select = "json.method"
        body = "json"
        guarded = false
    "#;

fn select(method: &str, target: &str, body: &str) -> String {
    let set = set(&[RPC]);
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let head = Inbound {
        request: crate::types::RequestId::new("r"),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        host: "h".into(),
        authority: "h".into(),
        target: target.into(),
        version: http::Version::HTTP_11,
        headers,
        client: std::net::IpAddr::from([127, 0, 0, 1]),
        received: crate::types::UnixMs(0),
    };
    match set.detect_whole(&head, body.as_bytes()) {
        Ok(Detected::Action(rule)) => match rule.read(&head, body.as_bytes()) {
            Ok(action) => format!("{} {}", action.name, action.intent.parameters.len()),
            Err(refused) => refused.to_string(),
        },
        Ok(Detected::Unlisted { say, route, .. }) => format!("{say:?} {route}"),
        Ok(Detected::Ordinary) => "ordinary".into(),
        Ok(_) => "refused".into(),
        Err(_) => "unreadable".into(),
    }
}

#[test]
fn a_member_of_the_body_says_which_action_of_the_path_it_is() {
    let call = |method: &str| format!(r#"{{"method":"{method}","params":{{"amount":"1"}}}}"#);
    assert_eq!(select("POST", "/rpc", &call("private/withdraw")), "withdrawal 4");
    assert_eq!(select("WS", "/ws", &call("private/withdraw")), "withdrawal 4");
    assert_eq!(select("POST", "/rpc", &call("private/get_x")), "read 4");
    assert_eq!(select("POST", "/rpc", &call("private/with_all")), "read 4");
    assert_eq!(select("POST", "/rpc?x=1", &call("private/get_x")), "read 5");
    assert_eq!(select("POST", "/rpc", &call("private/buy")), "Deny /rpc");
    assert_eq!(select("WS", "/ws", &call("private/get_x")), "Deny /ws");
    // `private/with_*` does not let another spelling of the guarded one pass.
    for method in
        ["private/With_draw", "private/with.draw", "Private/withdraw", "private//withdraw"]
    {
        assert_eq!(select("POST", "/rpc", &call(method)), "refused", "{method}");
    }
    for body in ["", "{}", r#"{"Method":"private/withdraw"}"#, r#"{"method":1}"#] {
        assert_eq!(select("POST", "/rpc", body), "unreadable", "{body}");
    }
    // Neither another path, nor another method, nor the query is a way around.
    assert_eq!(select("POST", "/RPC", &call("private/withdraw")), "refused");
    assert_eq!(select("PUT", "/rpc", &call("private/withdraw")), "refused");
    assert_eq!(select("GET", "/rpc?method=private/withdraw", ""), "refused");
    assert_eq!(select("GET", "/rpc", ""), "ordinary");
    for target in ["/rpc?method=x", "/rpc?METHOD=x"] {
        assert_eq!(select("POST", target, &call("private/get_x")), "refused", "{target}");
    }
    assert_eq!(select("POST", "/rpc?x=%zz", &call("private/get_x")), "unreadable");
}

#[test]
fn what_a_policy_names_is_guarded_in_every_spelling() {
    let mut set = set(&[PACK]);
    let refused = |set: &ActionSet, path: &str| {
        let found = set.detect(&Method::POST, path, &HeaderMap::new());
        matches!(found, Detected::NotCanonical(_))
    };
    assert!(!refused(&set, "/api/orders"));
    set.guard(|name| name.as_str() == "order");
    for path in ["/api/orders", "/api/Orders/", "/api/%4Frders"] {
        assert!(refused(&set, path), "{path}");
    }
    let found = set.detect(&Method::POST, "/api/Orders", &HeaderMap::new());
    assert!(matches!(found, Detected::Action(rule) if rule.guarded));
}

#[test]
fn what_a_guarded_action_shares_its_path_with_comes_as_it_is_declared() {
    let shared = r#"
            version = 1
            exchange = "shared"
            [[action]]
            name = "order.cancel_all"
            match = "DELETE /orders"
            body = "query"
            fields = { symbol = "query.symbol" }
            sample = "symbol=BTC"
            [[action]]
            name = "order"
            match = ["POST /orders", "GET /orders"]
            body = "json"
            guarded = false
        "#;
    let set = set(&[shared]);
    let passes = |method: Method, target: &str, headers: &[(&'static str, &'static str)]| {
        let pairs = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        let found = set.detect(&method, target, &pairs.collect());
        matches!(found, Detected::Action(rule) if rule.name.as_str() == "order")
    };
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    assert!(passes(Method::POST, "/orders", &[("content-type", json), ("content-length", "9")]));
    assert!(passes(Method::POST, "/orders", &[]));
    assert!(passes(Method::GET, "/orders?symbol=BTC", &[]));
    assert!(!passes(Method::POST, "/orders", &[("content-type", form), ("content-length", "9")]));
    assert!(!passes(Method::POST, "/orders", &[("transfer-encoding", "chunked")]));
    assert!(!passes(Method::GET, "/orders", &[("content-length", "9")]));
    assert!(!passes(Method::POST, "/orders?_method=DELETE", &[]));
    let preflight = |target| set.detect(&Method::OPTIONS, target, &HeaderMap::new());
    assert!(matches!(preflight("/orders"), Detected::Ordinary));
    assert!(matches!(preflight("/orders?symbol=BTC"), Detected::NotCanonical(_)));
}

#[test]
fn below_a_guarded_path_nothing_passes_that_no_action_names() {
    let below = |write: &str, method: Method, path: &str| {
        let pack = PACK.replace("\"require\"", &format!("\"{write}\""));
        let set = set(&[&pack]);
        match set.detect(&method, path, &HeaderMap::new()) {
            Detected::NotCanonical(_) => "refused",
            Detected::Unlisted { say: Unclassified::Require, .. } => "asked",
            Detected::Unlisted { say: Unclassified::Deny, .. } => "denied",
            _ => "passes",
        }
    };
    assert_eq!(below("allow", Method::POST, "/api/keys/k1/extra"), "refused");
    assert_eq!(below("allow", Method::POST, "/api/keys/k1;x/extra/more"), "refused");
    assert_eq!(below("require", Method::POST, "/api/keys/k1/extra"), "asked");
    assert_eq!(below("deny", Method::POST, "/api/keys/k1/extra"), "denied");
    assert_eq!(below("allow", Method::GET, "/api/keys/k1/extra"), "passes");
    assert_eq!(below("allow", Method::POST, "/api/keys"), "passes");
}

#[test]
fn writes_that_no_action_names_are_unlisted() {
    assert_eq!(say("POST", "/api/asset/other", None), "Deny true /api/asset");
    assert_eq!(say("POST", "/api/asset", None), "Deny true /api/asset");
    assert_eq!(say("POST", "/api/assets/other", None), "Require false /api");
    assert_eq!(say("POST", "/api/orders", None), "Require false /api");
    assert_eq!(say("QUERY", "/api/other", None), "Require false /api");
    assert_eq!(say("QUERY", "/api/asset/other", None), "refused");
    assert_eq!(say("POST", "/x/y", None), "Require false /");
    assert_eq!(say("POST", "/api/asset/withdrawal/x", None), "refused");
}

#[test]
fn a_guarded_path_takes_only_its_own_methods_and_plain_reads() {
    let path = "/api/asset/withdrawal";
    assert_eq!(say("GET", path, None), "ordinary");
    assert_eq!(say("GET", "/api/asset/withdrawal?lang=de", None), "ordinary");
    assert_eq!(say("GET", path, Some(("content-length", "0"))), "ordinary");
    assert_eq!(say("OPTIONS", path, None), "ordinary");
    for method in ["PUT", "PATCH", "DELETE", "HEAD", "QUERY", "post", "TRACE"] {
        assert_eq!(say(method, path, None), "refused", "{method}");
    }
    for target in ["?amt=1", "?AMT=1", "?amt%00=1", "?_method=POST", "?x=%zz"] {
        assert_eq!(say("GET", &format!("{path}{target}"), None), "refused", "{target}");
    }
    for (name, value) in [("content-length", "42"), ("transfer-encoding", "chunked")] {
        assert_eq!(say("GET", path, Some((name, value))), "refused", "{name}");
    }
}

#[test]
fn a_method_override_on_a_guarded_or_sensitive_path_is_refused() {
    for name in
        ["x-http-method-override", "x-http-method", "x-method-override", "x_http_method_override"]
    {
        for (method, path) in [
            ("POST", "/api/asset/withdrawal"),
            ("GET", "/api/asset/other"),
            ("OPTIONS", "/api/keys/k1"),
        ] {
            assert_eq!(say(method, path, Some((name, "DELETE"))), "refused", "{name} {path}");
        }
    }
    assert_eq!(say("GET", "/api/asset/other?%5Fmethod=PUT", None), "refused");
}

#[test]
fn below_a_prefix_of_sensitive_reads_only_listed_reads_pass() {
    let pack = r#"
            version = 1
            exchange = "acting"
            sensitive = ["/api/"]
            sensitive_reads = ["/api/private/"]
            [[action]]
            name = "withdrawal"
            match = "GET /api/private/withdraw"
            body = "query"
            fields = { amount = "query.amount" }
            sample = "amount=1"
            [[action]]
            name = "read"
            match = "GET /api/private/get_x"
            guarded = false
        "#;
    let set = set(&[pack]);
    let say = |method: &str, target: &str, headers: &HeaderMap| match set.detect(
        &method.parse().unwrap(),
        target,
        headers,
    ) {
        Detected::Ordinary => "ordinary".to_owned(),
        Detected::Action(rule) => rule.name.to_string(),
        Detected::Unlisted { say, sensitive, .. } => format!("{say:?} {sensitive}"),
        Detected::NotCanonical(_) | Detected::Selected => "refused".to_owned(),
    };
    let none = HeaderMap::new();
    for (method, target, says) in [
        ("GET", "/api/private/withdraw?amount=1", "withdrawal"),
        ("GET", "/api/private/withdraw", "withdrawal"),
        ("HEAD", "/api/private/withdraw?amount=1", "refused"),
        ("POST", "/api/private/withdraw", "refused"),
        ("OPTIONS", "/api/private/withdraw", "ordinary"),
        ("GET", "/api/private/get_x", "read"),
        ("HEAD", "/api/private/get_x", "read"),
        ("GET", "/api/private/other", "Deny true"),
        ("HEAD", "/api/private/other", "Deny true"),
        ("GET", "/api/private", "Deny true"),
        ("OPTIONS", "/api/private/other", "ordinary"),
        ("GET", "/api/Private/other", "refused"),
        ("GET", "/api/public/../private/other", "refused"),
        ("GET", "/api/private.json", "refused"),
        ("GET", "/api/public/other", "ordinary"),
        ("POST", "/api/public/other", "Deny true"),
        ("GET", "/elsewhere", "ordinary"),
    ] {
        assert_eq!(say(method, target, &none), says, "{method} {target}");
    }
    for (name, value) in [("content-length", "2"), ("transfer-encoding", "chunked")] {
        let mut headers = HeaderMap::new();
        headers.append(name, HeaderValue::from_static(value));
        for target in ["/api/private/withdraw?amount=1", "/api/private/get_x", "/api/public/x"] {
            assert_eq!(say("GET", target, &headers), "refused", "{name} {target}");
        }
        assert_eq!(say("GET", "/elsewhere", &headers), "ordinary");
    }
}

#[test]
fn the_nearest_pack_words_the_refusal() {
    let both = set(&[PACK, OTHER]);
    let word = |target: &str| both.answer_for(target).map(|answer| answer.render("m"));
    assert_eq!(word("/api/asset/x?y").as_deref(), Some(r#"{"one":"m"}"#));
    assert_eq!(word("/other/x/y").as_deref(), Some(r#"{"two":"m"}"#));
    assert_eq!(word("/elsewhere"), None);
    assert!(set(&[PACK]).answer_for("/elsewhere").is_some());
    assert_eq!(both.action_names().len(), 3);
    // Where no pack is nearer than another, the stricter word of each counts.
    let unlisted = both.detect(&Method::GET, "/elsewhere", &HeaderMap::new());
    assert!(matches!(unlisted, Detected::Unlisted { say: Unclassified::Deny, .. }));
    let unlisted = both.detect(&Method::POST, "/elsewhere", &HeaderMap::new());
    assert!(matches!(unlisted, Detected::Unlisted { say: Unclassified::Require, .. }));
    let preflight = both.detect(&Method::OPTIONS, "/elsewhere", &HeaderMap::new());
    assert!(matches!(preflight, Detected::Ordinary));
}
