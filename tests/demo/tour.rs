//! The tour: commands that work when pasted one after the other, and what must be seen after each.
//!
//! Never shows what it does not also write to `tour.sh`, where a test runs it. Invariant: a command needs the commands
//! before it and nothing else, no variable and no function of the shell it is pasted into.

use std::fmt::Write;

use crate::workdir::Workdir;

/// How long the demo's policy holds a withdrawal to a new address, and a second more.
const HOLD_S: u64 = 11;

const ADDRESS: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

const BOT_TRANSFER: &str = r#"{"ccy":"USDT","amt":"25","from":"18","to":"6"}"#;

/// Base addresses of the doors.
pub struct Doors {
    pub tokyo: String,
    pub frankfurt: String,
    pub moscow: String,
}

/// One line to paste.
struct Step {
    say: &'static str,
    /// HTTP status that the command's last line shows.
    expect: u16,
    command: String,
}

/// The tour as it is printed, and as `tour.sh` holds it.
pub fn write(workdir: &Workdir, doors: &Doors) -> (String, String) {
    let (mut screen, mut script) = (String::new(), String::from(SCRIPT_HEAD));
    for (number, step) in (1..).zip(steps(workdir, doors)) {
        let Step { say, expect, command } = step;
        // Writing to a String cannot fail.
        let _ = writeln!(screen, "# {number}. {say} Expect {expect}.\n{command}\n");
        let _ = writeln!(script, "# {number}. {say}\n# expect: {expect}\n{command}\n");
    }
    (screen + &browser(workdir, doors), script)
}

fn steps(workdir: &Workdir, doors: &Doors) -> Vec<Step> {
    let lines = Lines { workdir, doors };
    [lines.alice(), lines.frankfurt(), lines.bob(), lines.bot()].into_iter().flatten().collect()
}

/// Builds the command lines.
struct Lines<'a> {
    workdir: &'a Workdir,
    doors: &'a Doors,
}

impl Lines<'_> {
    fn alice(&self) -> Vec<Step> {
        let base = &self.doors.tokyo;
        let transfer = |way: &str, amount: &str| {
            let more = format!("-d '{way}&asset=USDT&amount={amount}'");
            self.curl("alice", &more, &format!("{base}/transfer"))
        };
        let out = "from=contract&to=spot";
        let (fresh, again) = (self.totp("alice", ""), self.totp("alice", " --again"));
        vec![
            step("Alice logs in from Tokyo.", 200, self.login("alice", "alice", base)),
            step("She reads her balances.", 200, self.curl("alice", "", &format!("{base}/"))),
            step("Spot to contract needs no code.", 200, transfer("from=spot&to=contract", "20")),
            step("Contract to spot does: she is asked, nothing moves.", 401, transfer(out, "50")),
            step(
                "She gives her authenticator's code.",
                200,
                self.answer("alice", base, "totp", &fresh),
            ),
            step("The same transfer again: now it passes.", 200, transfer(out, "50")),
            step("A third time: that approval is used up.", 401, transfer(out, "50")),
            step("The same code again fails.", 403, self.answer("alice", base, "totp", &again)),
            step("Another amount is asked for anew.", 401, transfer(out, "51")),
        ]
    }

    fn frankfurt(&self) -> Vec<Step> {
        let base = &self.doors.frankfurt;
        let balances = self.curl("alice-de", "", &format!("{base}/"));
        let code = self.totp("alice", "");
        vec![
            step(
                "Somebody logs in as Alice from Frankfurt, with the right password.",
                200,
                self.login("alice-de", "alice", base),
            ),
            step("Even looking is stopped: Alice was never there.", 401, balances.clone()),
            step(
                "It is Alice: she gives a code (up to 30 s until the next one).",
                200,
                self.answer("alice-de", base, "totp", &code),
            ),
            step("This session may now be in Germany.", 200, balances),
        ]
    }

    fn bob(&self) -> Vec<Step> {
        let base = &self.doors.tokyo;
        let destination = format!("asset=BTC&network=Bitcoin&address={ADDRESS}");
        let add = self.curl(
            "bob",
            &format!("-d '{destination}&label=cold'"),
            &format!("{base}/address-book"),
        );
        let withdraw = self.curl(
            "bob",
            &format!("-d '{destination}&amount=0.1'"),
            &format!("{base}/withdraw"),
        );
        let code = format!("$({} sms --code)", self.workdir.spell("do"));
        let answer = self.answer("bob", base, "sms", &code);
        vec![
            step(
                "Bob logs in from Tokyo; he has no app, but a phone.",
                200,
                self.login("bob", "bob", base),
            ),
            step("He adds a withdrawal address: an SMS goes out.", 401, add.clone()),
            step("He gives the code of the SMS.", 200, answer.clone()),
            step("The address is added.", 200, add),
            step("A withdrawal to an address this new is held.", 403, withdraw.clone()),
            step(
                "Ten seconds later (a day in production) it is asked for.",
                401,
                format!("sleep {HOLD_S}; {withdraw}"),
            ),
            step("He gives the code of the second SMS.", 200, answer),
            step("The withdrawal passes, once.", 200, withdraw),
        ]
    }

    fn bot(&self) -> Vec<Step> {
        let (base, path) = (&self.doors.tokyo, "/api/v5/asset/transfer");
        let balance = "/api/v5/account/balance";
        vec![
            step(
                "Alice's bot reads its balance with an API key.",
                200,
                self.signed(base, "GET", balance, "", ""),
            ),
            step(
                "The same key from Frankfurt: not one of its networks.",
                403,
                self.signed(&self.doors.frankfurt, "GET", balance, "", ""),
            ),
            step(
                "The bot moves funds out: refused in the exchange's own error format.",
                401,
                self.signed(base, "POST", path, BOT_TRANSFER, ""),
            ),
            step(
                "The same with a Step-Up-Code header (up to 30 s until the next code).",
                200,
                self.signed(base, "POST", path, BOT_TRANSFER, " --code"),
            ),
        ]
    }

    fn login(&self, jar: &str, name: &str, base: &str) -> String {
        let more = format!("-c {} -d 'name={name}&password=demo'", self.jar(jar));
        format!("curl -K {} {more} {base}/login", self.workdir.spell("curl"))
    }

    fn curl(&self, jar: &str, more: &str, address: &str) -> String {
        let space = if more.is_empty() { "" } else { " " };
        let settings = self.workdir.spell("curl");
        format!("curl -K {settings} -b {}{space}{more} {address}", self.jar(jar))
    }

    fn answer(&self, jar: &str, base: &str, factor: &str, code: &str) -> String {
        let more = format!(
            "-H 'Content-Type: application/json' \
             -d '{{\"factor\":\"{factor}\",\"code\":\"'\"{code}\"'\"}}'"
        );
        let helper = self.workdir.spell("do");
        let address = format!("{base}/.stepgate/challenge/$({helper} challenge)/answer");
        self.curl(jar, &more, &address)
    }

    fn signed(&self, base: &str, method: &str, path: &str, body: &str, more: &str) -> String {
        let (helper, settings) = (self.workdir.spell("do"), self.workdir.spell("curl"));
        let body = if body.is_empty() { String::new() } else { format!(" '{body}'") };
        format!(
            "{helper} sign alice {method} {path}{body}{more} | curl -K {settings} -K - {base}{path}"
        )
    }

    fn totp(&self, name: &str, more: &str) -> String {
        format!("$({} totp {name}{more})", self.workdir.spell("do"))
    }

    fn jar(&self, name: &str) -> String {
        self.workdir.spell(&format!("{name}.jar"))
    }
}

fn step(say: &'static str, expect: u16, command: String) -> Step {
    Step { say, expect, command }
}

fn browser(workdir: &Workdir, doors: &Doors) -> String {
    let Doors { tokyo, frankfurt, moscow } = doors;
    format!(
        "In a browser (import {ca} as an authority, or accept the warning):\n\
         \x20 {tokyo}/      you are in Tokyo; log in as alice, password demo\n\
         \x20 Transfer 10 USDT from contract to spot: instead of a receipt you see a page that names the\n\
         \x20 amount, the coin and the way, and asks for a code. A wrong one says how many attempts are left.\n\
         \x20 `{helper} totp alice` prints the right one; then the receipt comes, and nothing was typed twice.\n\
         \x20 {frankfurt}/  the same session in Frankfurt: nothing but the question\n\
         \x20 {moscow}/  and in Moscow\n\
         \x20 As bob the code comes by SMS, which is printed below.\n",
        ca = workdir.spell("ca.pem"),
        helper = workdir.spell("do"),
    )
}

const SCRIPT_HEAD: &str =
    "# The tour, one command per line, each after the HTTP status that it must show.\n\n";
