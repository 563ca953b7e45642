//! The web pages of the toy exchange: login, balances, transfer, address book, withdrawal. They work without JavaScript.
//!
//! Never asks for a second factor: that is the whole point of the gateway in front. A client that accepts JSON and
//! not HTML is answered in JSON, so that the tour can be read in a terminal.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, SET_COOKIE};
use http::{Method, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::books::{ASSETS, Address, Books, Receipt, Wallet};
use super::customers::{self, PASSWORD};
use super::{Answer, Call, Shared, form, lock, plain};

pub(super) fn answer(shared: &Shared, call: &Call) -> Answer {
    if call.path == "/login" {
        return login(shared, call);
    }
    let Some((token, name)) = signed_in(shared, call) else {
        return if call.method == Method::GET { see("/login") } else { plain(401) };
    };
    if call.method == Method::POST && call.path == "/logout" {
        lock(&shared.sessions).end(&token);
        return with_cookie(see("/login"), "session=; Path=/; Max-Age=0");
    }
    let mut books = lock(&shared.books);
    let books = books.entry(name.clone()).or_insert_with(Books::opening);
    let visit = Visit { shared, call, name: &name };
    match call.method {
        Method::GET => visit.show(books),
        Method::POST => visit.change(books),
        _ => plain(405),
    }
}

fn login(shared: &Shared, call: &Call) -> Answer {
    if call.method == Method::GET {
        return html(StatusCode::OK, &layout(shared, call, None, "Log in", LOGIN_FORM));
    }
    let sent = form(&call.body);
    let customer = sent.get("name").and_then(|name| customers::find(name));
    let Some(customer) = customer.filter(|_| sent.get("password").is_some_and(|it| it == PASSWORD))
    else {
        let body = format!("<p class=bad>Wrong name or password.</p>{LOGIN_FORM}");
        return html(StatusCode::UNAUTHORIZED, &layout(shared, call, None, "Log in", &body));
    };
    let token = lock(&shared.sessions).issue(&customer, call.now);
    let done = if wants_json(call) {
        super::json(StatusCode::OK, &json!({ "logged_in": customer.name }))
    } else {
        see("/")
    };
    with_cookie(done, &format!("session={token}; Path=/"))
}

fn signed_in(shared: &Shared, call: &Call) -> Option<(String, String)> {
    let cookies = call.header("cookie")?;
    let pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    let token = pairs.into_iter().find(|(name, _)| *name == "session")?.1;
    let name = lock(&shared.sessions).owner(token)?.clone();
    Some((token.to_owned(), name))
}

/// One request of somebody who is logged in.
struct Visit<'a> {
    shared: &'a Shared,
    call: &'a Call,
    name: &'a str,
}

impl Visit<'_> {
    fn show(&self, books: &Books) -> Answer {
        if wants_json(self.call) && self.call.path == "/" {
            return super::json(StatusCode::OK, &balances_json(books));
        }
        match self.call.path.as_str() {
            "/" => self.page(StatusCode::OK, "Balances", &balances(books)),
            "/app" => app("text/html; charset=utf-8", APP),
            "/app.js" => app("text/javascript; charset=utf-8", APP_SCRIPT),
            "/transfer" => self.page(StatusCode::OK, "Transfer", &transfer_form()),
            "/address-book" => self.page(StatusCode::OK, "Address book", &address_book(books)),
            "/withdraw" => self.page(StatusCode::OK, "Withdraw", &withdraw_form(books)),
            path => {
                let number = path.strip_prefix("/receipt/").and_then(|text| text.parse().ok());
                match books.receipts.iter().find(|receipt| Some(receipt.number) == number) {
                    Some(receipt) => self.page(StatusCode::OK, "Done", &receipt_lines(receipt)),
                    None => plain(404),
                }
            }
        }
    }

    fn change(&self, books: &mut Books) -> Answer {
        let sent = form(&self.call.body);
        let field = |name: &str| sent.get(name).cloned().unwrap_or_default();
        let done = match self.call.path.as_str() {
            "/transfer" => {
                books.transfer(&field("from"), &field("to"), &field("asset"), &field("amount"))
            }
            "/address-book" => books.add_address(Address {
                asset: field("asset"),
                network: field("network"),
                address: field("address"),
                label: field("label"),
            }),
            "/withdraw" => books.withdraw(
                &field("asset"),
                &field("amount"),
                &field("address"),
                &field("network"),
            ),
            _ => return plain(404),
        };
        match done {
            Ok(receipt) if wants_json(self.call) => {
                super::json(StatusCode::OK, &receipt_json(&receipt))
            }
            Ok(receipt) => see(&format!("/receipt/{}", receipt.number)),
            Err(why) if wants_json(self.call) => {
                super::json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": why }))
            }
            Err(why) => {
                let body = format!("<p class=bad>{why}</p>");
                self.page(StatusCode::UNPROCESSABLE_ENTITY, "Not done", &body)
            }
        }
    }

    fn page(&self, status: StatusCode, title: &str, body: &str) -> Answer {
        html(status, &layout(self.shared, self.call, Some(self.name), title, body))
    }
}

/// The single-page application, under a policy that allows no script but the site's own files.
fn app(media_type: &'static str, body: &'static str) -> Answer {
    let mut answer = Answer::new(Full::from(body));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
    answer
}

const APP: &str = include_str!("app.html");
const APP_SCRIPT: &str = include_str!("app.js");

fn balances(books: &Books) -> String {
    let mut out = String::new();
    for wallet in Wallet::ALL {
        let title = capital(wallet.word());
        let rows: String = (books.wallet(wallet))
            .map(|(asset, amount)| format!("<tr><td>{asset}<td class=n>{amount}"))
            .collect();
        out += &format!("<h2>{title}</h2><table id={}>{rows}</table>", wallet.word());
    }
    let rows: String = (books.withdrawals())
        .map(|receipt| {
            let cells = receipt.lines.iter().map(|(_, value)| format!("<td>{}", escape(value)));
            format!("<tr>{}", cells.collect::<String>())
        })
        .collect();
    out + &format!("<h2>Withdrawals</h2><table id=withdrawals>{rows}</table>")
}

fn balances_json(books: &Books) -> Value {
    let wallet = |wallet| -> Value {
        let lines = books.wallet(wallet);
        lines.map(|(asset, amount)| (asset.to_owned(), json!(amount.to_string()))).collect()
    };
    json!({
        "contract": wallet(Wallet::Contract), "spot": wallet(Wallet::Spot),
        "withdrawals": books.withdrawals().map(receipt_json).collect::<Vec<_>>(),
    })
}

fn transfer_form() -> String {
    let way = |name: &str, first: Wallet, second: Wallet| {
        let options = [first, second].map(|it| format!("<option>{}</option>", it.word()));
        format!(
            "<label>{} <select name={name}>{}</select></label>",
            capital(name),
            options.concat()
        )
    };
    format!(
        "<form method=post action=/transfer>{}{}{}{}<button>Transfer</button></form>",
        way("from", Wallet::Contract, Wallet::Spot),
        way("to", Wallet::Spot, Wallet::Contract),
        asset_choice(),
        field("amount", "50", "inputmode=decimal")
    )
}

fn address_book(books: &Books) -> String {
    let row = |entry: &Address| {
        let cells = [&entry.label, &entry.asset, &entry.network, &entry.address];
        format!("<tr>{}", cells.map(|cell| format!("<td>{}", escape(cell))).concat())
    };
    let rows: String = books.addresses.iter().map(row).collect();
    format!(
        "<table id=addresses>{rows}</table><h2>Add an address</h2>\
         <form method=post action=/address-book>{}{}{}{}<button>Add</button></form>",
        asset_choice(),
        field("network", "Bitcoin", ""),
        field("address", "", ""),
        field("label", "cold wallet", "")
    )
}

fn withdraw_form(books: &Books) -> String {
    let known: String = (books.addresses.iter())
        .map(|entry| format!("<option value=\"{}\">", escape(&entry.address)))
        .collect();
    format!(
        "<form method=post action=/withdraw>{}{}{}{}<datalist id=known>{known}</datalist>\
         <button>Withdraw</button></form>",
        asset_choice(),
        field("amount", "0.1", "inputmode=decimal"),
        field("network", "Bitcoin", ""),
        field("address", "", "list=known")
    )
}

fn receipt_lines(receipt: &Receipt) -> String {
    let row =
        |(name, value): &(&str, String)| format!("<tr><td>{}<td>{}", capital(name), escape(value));
    let rows: String = receipt.lines.iter().map(row).collect();
    format!("<p id=done>{} done.</p><table>{rows}</table>", capital(receipt.kind))
}

fn receipt_json(receipt: &Receipt) -> Value {
    let lines = receipt.lines.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
    let mut value = json!({ "done": receipt.kind, "receipt": receipt.number });
    value.as_object_mut().expect("built as an object").extend(lines);
    value
}

fn asset_choice() -> String {
    let options = ASSETS.map(|asset| format!("<option>{asset}</option>")).concat();
    format!("<label>Asset <select name=asset>{options}</select></label>")
}

fn field(name: &str, value: &str, more: &str) -> String {
    let title = capital(name);
    format!("<label>{title} <input name={name} value=\"{value}\" required {more}></label>")
}

fn layout(shared: &Shared, call: &Call, name: Option<&str>, title: &str, body: &str) -> String {
    let nav = name.map_or_else(String::new, |name| {
        format!(
            "<nav><a href=/>Balances</a> <a href=/transfer>Transfer</a> \
             <a href=/address-book>Address book</a> <a href=/withdraw>Withdraw</a> <a href=/app>App</a>\
             <form method=post action=/logout><button>Log out {}</button></form></nav>",
            escape(name)
        )
    });
    let from = call.header("x-forwarded-for").unwrap_or("this machine");
    let doors: String = (shared.settings.doors.iter())
        .map(|(place, base)| format!(" <a href=\"{}{}\">{}</a>", base, escape(&call.path), place))
        .collect();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>{title} · Demo exchange</title>\
         <style>{STYLE}</style><header><b>Demo exchange</b>{nav}</header>\
         <main><h1>{title}</h1>{body}</main>\
         <footer>You come from {}. Come from somewhere else:{doors}</footer></html>",
        escape(from)
    )
}

/// SameSite=Lax is all the protection against forged forms that the toy has.
fn with_cookie(mut answer: Answer, cookie: &str) -> Answer {
    let cookie = format!("{cookie}; HttpOnly; Secure; SameSite=Lax");
    let value = HeaderValue::from_str(&cookie).expect("tokens are base64url and dots");
    answer.headers_mut().insert(SET_COOKIE, value);
    answer
}

fn see(path: &str) -> Answer {
    let mut answer = plain(303);
    let value = HeaderValue::from_str(path).expect("paths of this file are ASCII");
    answer.headers_mut().insert(LOCATION, value);
    answer
}

fn html(status: StatusCode, text: &str) -> Answer {
    let mut answer = Answer::new(text.to_owned().into());
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn wants_json(call: &Call) -> bool {
    let accept = call.header("accept").unwrap_or_default();
    accept.contains("application/json") && !accept.contains("text/html")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

const LOGIN_FORM: &str = "<form method=post action=/login>\
    <label>Name <input name=name autocomplete=username required autofocus></label>\
    <label>Password <input name=password type=password required></label>\
    <button>Log in</button></form>\
    <p>Customers: alice (authenticator) and bob (SMS). The password is “demo”.</p>";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:0 auto;padding:1rem;\
    color:#1b1f24;background:#fff}header,nav{display:flex;gap:1rem;align-items:baseline;flex-wrap:wrap}\
    nav form{display:inline}h1{font-size:1.4rem}h2{font-size:1.1rem;margin-bottom:.2rem}\
    table{border-collapse:collapse}td{padding:.2rem .8rem .2rem 0;border-bottom:1px solid #ddd;\
    overflow-wrap:anywhere}td:first-child{overflow-wrap:normal;white-space:nowrap}.n{text-align:right;font-variant-numeric:tabular-nums}\
    label{display:block;margin:.6rem 0}input,select{font:inherit;padding:.3rem;width:100%;\
    box-sizing:border-box}button{font:inherit;padding:.3rem 1rem}.bad{color:#a40000}\
    footer{margin-top:2rem;color:#555;font-size:.9rem}";
