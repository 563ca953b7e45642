//! Operator commands, asked of a running gateway's admin interface.
//!
//! Never touches the store's file itself. Invariant: what was refused is printed with the reason, and exits with 1.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use crate::admin::Token;
use crate::admin::client::{Client, ClientError, Reply, account_path};
use crate::admin::operators::ADMIN;
use crate::config;
use crate::serve::render;
use crate::types::AccountId;

/// A way to the gateway that this configuration describes.
pub struct Operator {
    client: Client,
    /// The groups of all sites, each once.
    groups: Vec<String>,
    runtime: tokio::runtime::Runtime,
}

impl Operator {
    /// # Errors
    /// If the configuration is faulty, or has no `[admin]`.
    pub fn at(path: &Path) -> anyhow::Result<Self> {
        Self::named(path, None)
    }

    /// The same with the token of this operator; else of the one that the environment names, else with the first.
    ///
    /// # Errors
    /// As `at`, or if there is no such operator.
    pub fn named(path: &Path, name: Option<&str>) -> anyhow::Result<Self> {
        let name = name.map(str::to_owned).or_else(|| std::env::var(OPERATOR).ok());
        let name = name.unwrap_or_else(|| ADMIN.to_owned());
        let config = config::load(path).map_err(|faults| anyhow::anyhow!("{}", render(&faults)))?;
        let Some(admin) = &config.admin else {
            bail!("{} has no [admin] interface to ask", path.display());
        };
        let mut faults = Vec::new();
        let of_name = admin.operators.iter().find(|operator| operator.name == name);
        let token = match of_name.map(|operator| &operator.token) {
            Some(token) => token,
            None if name == ADMIN => &admin.token,
            None => bail!("{} names no operator `{name}` with [[admin.operator]]", path.display()),
        };
        let token = config.secret(token, &mut faults);
        let token = token.with_context(|| render(&faults))?;
        let mut groups: Vec<_> =
            config.sites.iter().map(|site| site.accounts.to_string()).collect();
        groups.sort();
        groups.dedup();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = Client::new(admin.address.to_string(), Token::new(&token.text)?);
        Ok(Self { client, groups, runtime })
    }

    /// # Errors
    /// If the file cannot be read or the gateway does not answer.
    pub fn import(&self, file: &Path) -> anyhow::Result<ExitCode> {
        let text = if file == Path::new("-") {
            std::io::read_to_string(std::io::stdin())?
        } else {
            std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?
        };
        let mut lines = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("{}:{}", file.display(), number + 1);
            let mut value: serde_json::Value = serde_json::from_str(line).with_context(place)?;
            if value.get("group").is_none()
                && let Some(text) = value["account"].as_str()
            {
                let account = self.account(text).with_context(place)?;
                value["group"] = json!(&*account.group);
                value["account"] = json!(&*account.name);
            }
            lines.push(value.to_string());
        }
        self.post("/factor/import", lines.join("\n"))
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn factors(&self, account: &str) -> anyhow::Result<ExitCode> {
        self.get(&account_path("factor", &self.account(account)?, ""))
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn reset(&self, account: &str, factor: &str) -> anyhow::Result<ExitCode> {
        let path = account_path("factor", &self.account(account)?, "/reset");
        self.post(&path, json!({ "factor": factor, "by": by() }).to_string())
    }

    /// What waits for a second operator.
    ///
    /// # Errors
    /// If the gateway does not answer.
    pub fn requests(&self) -> anyhow::Result<ExitCode> {
        self.get("/factor/pending")
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn approve(&self, id: &str) -> anyhow::Result<ExitCode> {
        self.order("/factor/approve", &json!({ "id": id, "by": by() }))
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn refuse(&self, id: &str) -> anyhow::Result<ExitCode> {
        self.order("/factor/refuse", &json!({ "id": id, "by": by() }))
    }

    /// # Errors
    /// If the gateway does not answer.
    pub(super) fn order(&self, path: &str, order: &serde_json::Value) -> anyhow::Result<ExitCode> {
        self.post(path, order.to_string())
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn show(&self, account: &str) -> anyhow::Result<ExitCode> {
        self.get(&account_path("account", &self.account(account)?, ""))
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn freeze(&self, account: &str) -> anyhow::Result<ExitCode> {
        let account = self.account(account)?;
        let path = account_path("account", &account, "/freeze");
        let reply =
            self.runtime.block_on(self.client.post(&path, json!({ "by": by() }).to_string()))?;
        let said: serde_json::Value = serde_json::from_str(&reply.body).unwrap_or_default();
        if reply.is_ok() && said["seen"] == false {
            eprintln!(
                "stepgate: warning: nothing was ever heard of the account `{}/{}`: is this how the exchange names it?",
                account.group, account.name
            );
        }
        Ok(print(&reply))
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn thaw(&self, account: &str) -> anyhow::Result<ExitCode> {
        let path = account_path("account", &self.account(account)?, "/thaw");
        self.post(&path, json!({ "by": by() }).to_string())
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn lift_sms_stop(&self, subject: &str) -> anyhow::Result<ExitCode> {
        self.post("/sms/lift", json!({ "subject": subject, "by": by() }).to_string())
    }

    /// # Errors
    /// If the gateway does not answer.
    pub fn status(&self, json: bool) -> anyhow::Result<ExitCode> {
        let reply = self.runtime.block_on(self.client.get("/status"))?;
        if json || !reply.is_ok() {
            return Ok(print(&reply));
        }
        let status =
            serde_json::from_str(&reply.body).context("the gateway is of another version")?;
        say!("{}", super::status::render(&status).trim_end());
        Ok(ExitCode::SUCCESS)
    }

    /// The writes that no action names, as JSON.
    ///
    /// # Errors
    /// If the gateway does not answer, or refuses to.
    pub fn routes(&self) -> anyhow::Result<String> {
        let reply = self.runtime.block_on(self.client.get("/routes"))?;
        if !reply.is_ok() {
            bail!("{}", reply.detail());
        }
        Ok(reply.body)
    }

    /// How a request of an account would be received, as JSON.
    ///
    /// # Errors
    /// If the gateway does not answer, or refuses to.
    pub(super) fn standing(&self, account: &AccountId, about: String) -> anyhow::Result<String> {
        let path = account_path("account", account, "/standing");
        let reply = self.runtime.block_on(self.client.post(&path, about))?;
        if !reply.is_ok() {
            bail!("the running gateway: {}", reply.detail());
        }
        Ok(reply.body)
    }

    /// Asks for an answer that is written to `out` as it comes.
    ///
    /// # Errors
    /// If the gateway does not answer, or breaks off.
    pub(super) fn pour(&self, path: &str, out: &mut impl Write) -> anyhow::Result<Reply> {
        let order = json!({ "by": by() }).to_string();
        Ok(self.runtime.block_on(self.client.pour(path, order, out))?)
    }

    /// Tells the gateway something, if one is running.
    pub(super) fn tell(&self, path: &str, body: String) {
        match self.runtime.block_on(self.client.post(path, body)) {
            Ok(reply) if reply.is_ok() => {}
            Ok(reply) => {
                eprintln!("stepgate: the running gateway was not told: {}", reply.detail())
            }
            Err(ClientError::Connect { .. }) => {}
            Err(error) => eprintln!("stepgate: the running gateway was not told: {error}"),
        }
    }

    /// `alice`, or `group/alice` where sites have several groups.
    fn account(&self, text: &str) -> anyhow::Result<AccountId> {
        let all = self.groups.join(", ");
        match (text.split_once('/'), self.groups.as_slice()) {
            (Some((group, name)), groups) if groups.iter().any(|known| known == group) => {
                Ok(AccountId::new(group, name))
            }
            (Some((group, _)), _) => {
                bail!("no site has the group `{group}` of accounts; there is: {all}")
            }
            (None, [only]) => Ok(AccountId::new(only.as_str(), text)),
            (None, _) => {
                bail!("sites have several groups of accounts: write `GROUP/{text}` ({all})")
            }
        }
    }

    fn get(&self, path: &str) -> anyhow::Result<ExitCode> {
        Ok(print(&self.runtime.block_on(self.client.get(path))?))
    }

    fn post(&self, path: &str, body: String) -> anyhow::Result<ExitCode> {
        Ok(print(&self.runtime.block_on(self.client.post(path, body))?))
    }
}

fn print(reply: &Reply) -> ExitCode {
    if reply.is_ok() {
        say!("{}", reply.body.trim_end());
        return ExitCode::SUCCESS;
    }
    eprintln!("stepgate: {}", reply.detail());
    ExitCode::FAILURE
}

/// Who the audit log says it was: the operating system's user name.
pub(super) fn by() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "cli".into())
}

/// Names the operator whose token is used.
const OPERATOR: &str = "STEPGATE_OPERATOR";
