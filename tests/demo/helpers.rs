//! Small commands that the tour's lines call: what an authenticator app, a phone and a bot would do.
//!
//! Never talks to the gateway: each reads files of the work directory and prints one thing.

use std::fs;

use anyhow::{Context, bail};
use stepgate::types::UnixMs;
use stepgate::world::{Clock, SystemClock};

use crate::exchange::customers::{self, Customer, TOTP_STEP_S};
use crate::exchange::okx;
use crate::sms;
use crate::workdir::Workdir;

/// What `demo help` prints.
pub const USAGE: &str = "\
demo                               start everything and print the tour
demo totp NAME [--again]           the next code of NAME's authenticator; --again: the one printed last
demo sms [--code]                  the SMS outbox; --code: wait for a new code and print it
demo mail                          the mail outbox
demo sign NAME METHOD PATH [BODY] [--code]
                                   a signed API request as curl settings, for `curl -K -`;
                                   --code: with the next code in a Step-Up-Code header
demo challenge                     id of the challenge that curl was answered with last";

/// Runs one of them.
pub fn run(workdir: &Workdir, words: &[&str]) -> anyhow::Result<()> {
    match *words {
        ["totp", name] => println!("{}", next_code(workdir, &customer(name)?)?),
        ["totp", name, "--again"] => println!("{}", fs::read_to_string(last_code(workdir, name))?),
        ["sms"] => {
            sms::since(workdir, sms::TEXTS, 0).0.iter().for_each(|message| print!("{message}"))
        }
        ["mail"] => {
            let (mails, _) = sms::since(workdir, sms::MAILS, 0);
            mails.iter().for_each(|mail| print!("{mail}"));
        }
        ["sms", "--code"] => println!("{}", sms::newest_code(workdir)?),
        ["sign", name, method, target, ref rest @ ..] => {
            let customer = customer(name)?;
            // The code comes first: waiting for it would age the signature.
            let code = match rest {
                [.., "--code"] => Some(next_code(workdir, &customer)?),
                _ => None,
            };
            let body = rest.first().filter(|word| **word != "--code").copied().unwrap_or_default();
            print!("{}", signed(&customer, method, target, body, code.as_deref()));
        }
        ["challenge"] => println!("{}", last_challenge(workdir)?),
        ["help" | "--help" | "-h"] => println!("{USAGE}"),
        _ => bail!("there is no such command\n{USAGE}"),
    }
    Ok(())
}

fn customer(name: &str) -> anyhow::Result<Customer> {
    customers::find(name).with_context(|| format!("there is no customer {name}"))
}

/// An authenticator's code whose time step was not printed before. The gateway accepts a step once per account, so
/// somebody with a second question waits for the next code, and so does this.
fn next_code(workdir: &Workdir, customer: &Customer) -> anyhow::Result<String> {
    let app = customer.authenticator();
    let app = app.with_context(|| format!("{} has a phone, no authenticator", customer.name))?;
    let step_path = workdir.path("totp").join(format!("{}.step", customer.name));
    let printed = fs::read_to_string(&step_path).ok().and_then(|text| text.parse::<u64>().ok());
    let now = seconds(SystemClock.now());
    let step = (now / TOTP_STEP_S).max(printed.map_or(0, |step| step + 1));
    let wait = (step * TOTP_STEP_S).saturating_sub(now);
    if wait > 0 {
        eprintln!("(waiting {wait} s for the authenticator's next code)");
        std::thread::sleep(std::time::Duration::from_secs(wait));
    }
    let code = app.generate(step * TOTP_STEP_S).to_string();
    fs::write(step_path, step.to_string())?;
    fs::write(last_code(workdir, &customer.name), &code)?;
    Ok(code)
}

fn last_code(workdir: &Workdir, name: &str) -> std::path::PathBuf {
    workdir.path("totp").join(format!("{name}.code"))
}

fn seconds(now: UnixMs) -> u64 {
    u64::try_from(now.seconds()).unwrap_or(0)
}

/// Headers and body of a signed request, written as a curl configuration.
fn signed(
    customer: &Customer,
    method: &str,
    target: &str,
    body: &str,
    code: Option<&str>,
) -> String {
    let millis = jiff::Timestamp::from_millisecond(SystemClock.now().0).unwrap_or_default();
    let timestamp = format!("{millis:.3}");
    let sign = okx::signature(&customer.key, &timestamp, method, target, body.as_bytes());
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut out = format!("request = \"{}\"\n", quoted(method));
    for (name, value) in [
        ("KEY", customer.key.id.as_str()),
        ("PASSPHRASE", &customer.key.passphrase),
        ("TIMESTAMP", &timestamp),
        ("SIGN", &sign),
    ] {
        out += &format!("header = \"OK-ACCESS-{name}: {}\"\n", quoted(value));
    }
    if let Some(code) = code {
        out += &format!("header = \"Step-Up-Code: {code}\"\n");
    }
    if !body.is_empty() {
        out += "header = \"Content-Type: application/json\"\n";
        out += &format!("data-raw = \"{}\"\n", quoted(body));
    }
    out
}

/// From the headers that curl left behind.
fn last_challenge(workdir: &Workdir) -> anyhow::Result<String> {
    let head = fs::read_to_string(workdir.path("head")).context("no answer was received yet")?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(name, _)| name.eq_ignore_ascii_case("step-up-challenge"));
    Ok(found.context("the last answer carried no challenge")?.1.trim().to_owned())
}
