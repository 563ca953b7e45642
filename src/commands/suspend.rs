//! `stepgate suspend` and `resume`: an order to the running gateway, and what it came to.
//!
//! Never decides what an action is: the gateway knows its packs.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::Args;
use serde_json::json;

use super::operate::{Operator, by};
use super::replay::moment;
use crate::pages::Language;
use crate::policy::literal;

/// What is to be suspended.
#[derive(Args)]
pub struct Order {
    /// An action as policies name it (`withdrawal`), several (`address_book.*`), or all (`*`).
    action: String,
    /// Only on this site.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// From this time on: a day, or an RFC 3339 time; else from now on.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Until this time; else until somebody resumes it.
    #[arg(long, value_name = "TIME", conflicts_with = "during")]
    until: Option<String>,
    /// For so long: `45s`, `30m`, `2h`, `7d`.
    #[arg(long = "for", value_name = "TIME")]
    during: Option<String>,
    /// What customers are told: `TEXT` in every language, `de=TEXT` in one. May stand several times.
    #[arg(long, value_name = "TEXT")]
    reason: Vec<String>,
}

/// # Errors
/// If it cannot be read, or the gateway does not answer.
pub fn suspend(operator: &Operator, order: &Order) -> anyhow::Result<ExitCode> {
    let time = |text: &Option<String>| text.as_deref().map(moment).transpose();
    let during = order.during.as_deref().map(literal::duration).transpose();
    let wanted = json!({
        "action": order.action,
        "site": order.site,
        "from": time(&order.from)?,
        "until": time(&order.until)?,
        "for_ms": during.map_err(|wrong| anyhow!("--for: {}", wrong.message))?,
        "reasons": reasons(&order.reason)?,
        "by": by(),
    });
    operator.order("/suspend", &wanted)
}

/// # Errors
/// If the gateway does not answer.
pub fn resume(operator: &Operator, which: &str, site: Option<&str>) -> anyhow::Result<ExitCode> {
    operator.order("/resume", &json!({ "which": which, "site": site, "by": by() }))
}

/// `de=TEXT` is in German, anything else for everybody.
///
/// # Errors
/// If two are for the same people, or one is for a language that no page speaks.
fn reasons(given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut reasons = BTreeMap::new();
    for text in given {
        let (tag, told) = match text.split_once('=') {
            Some((tag, told)) if looks_like_a_language(tag) => (tag, told),
            _ => ("", text.as_str()),
        };
        let known = Language::ALL.iter().map(|known| known.tag());
        if !tag.is_empty() && !known.clone().any(|known| known == tag) {
            let known: Vec<&str> = known.collect();
            bail!(
                "--reason {text}: `{tag}` is no language of the pages; they speak {}",
                known.join(", ")
            );
        }
        if reasons.insert(tag.to_owned(), told.to_owned()).is_some() {
            bail!("--reason {text}: a reason for the same people was given before");
        }
    }
    Ok(reasons)
}

/// `de`, `zh-TW`: what nobody begins a sentence with before an equals sign.
fn looks_like_a_language(tag: &str) -> bool {
    let (language, region) = tag.split_once('-').unwrap_or((tag, "XX"));
    let letters =
        |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
    letters(language) && letters(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_for_everybody_or_for_one_language() {
        let given = |texts: &[&str]| {
            reasons(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let told = given(&["Maintenance = hard work", "de=Wartung"]).unwrap();
        assert_eq!(told.get("de").map(String::as_str), Some("Wartung"));
        assert_eq!(told.get("").map(String::as_str), Some("Maintenance = hard work"));
        let unknown = given(&["fr=Entretien"]).unwrap_err().to_string();
        assert!(unknown.contains("`fr` is no language") && unknown.contains("zh-TW"), "{unknown}");
        assert!(given(&["One", "Two"]).unwrap_err().to_string().contains("given before"));
    }
}
