//! What an owner would change about the account's factors, as every action is classified.
//!
//! Never carries anything out. Invariant: what is approved names the factor, its number if it has one, and the browser
//! that asked.

use super::browser::Browser;
use super::registration;
use crate::classify::{Action, Intent};
use crate::gateway::Gateway;
use crate::pipeline::Visit;
use crate::rejection::Rejection;
use crate::stepup::phone::Number;
use crate::types::{ActionName, Factor, FieldValue, Fields, Shown};

/// What somebody would change.
pub(super) enum Change {
    Totp,
    Sms(Number),
    Passkey,
    Recovery,
    Remove(Factor),
    /// One of several.
    RemovePasskey(u32),
}

impl Change {
    pub fn factor(&self) -> Factor {
        match self {
            Self::Totp => Factor::Totp,
            Self::Sms(_) => Factor::Sms,
            Self::Passkey | Self::RemovePasskey(_) => Factor::Webauthn,
            Self::Recovery => Factor::Recovery,
            Self::Remove(factor) => *factor,
        }
    }

    /// `totp`, `sms/remove`, …: what stands behind `/factors/`.
    pub fn read(
        visit: &Visit,
        gateway: &Gateway,
        path: &str,
        number: &str,
    ) -> Result<Self, Rejection> {
        if let Some(word) = path.strip_suffix("/remove") {
            if let Some(number) = word.strip_prefix("webauthn/") {
                return number.parse().map(Self::RemovePasskey).map_err(|_| Rejection::NotFound);
            }
            // Where notices go is for operators to say.
            let factor = Factor::from_word(word).filter(|factor| factor.approves());
            return factor.map(Self::Remove).ok_or(Rejection::NotFound);
        }
        match path {
            "totp" => Ok(Self::Totp),
            "recovery" => Ok(Self::Recovery),
            "webauthn" if registration::is_offered(visit) => Ok(Self::Passkey),
            "sms" if gateway.sms => {
                let pages = &visit.site.pages;
                let denied = |why: &str| Rejection::Denied { why: Some(why.into()) };
                let spaces = |c: char| c == ' ' || c == '-';
                let number = Number::parse(&number.replace(spaces, ""))
                    .map_err(|_| denied(pages.bad_number(visit.language())))?;
                match number.is_blocked(&gateway.phones) {
                    true => Err(denied(pages.no_number(visit.language()))),
                    false => Ok(Self::Sms(number)),
                }
            }
            _ => Err(Rejection::NotFound),
        }
    }

    /// As every action is classified: what it is, what the owner is shown, and what an approval is bound to.
    pub fn action(&self, visit: &Visit, browser: &Browser) -> Action {
        let (pages, language) = (&visit.site.pages, visit.language());
        let name = match self {
            Self::Remove(_) | Self::RemovePasskey(_) => "factor.remove",
            Self::Totp | Self::Sms(_) | Self::Passkey | Self::Recovery => "factor.add",
        };
        let mut fields = Fields::default();
        fields.set("factor", FieldValue::Text(self.factor().word().into()));
        let factor = pages.factor(language, self.factor());
        let mut shown = vec![Shown { name: "factor".into(), value: factor.into() }];
        // What is approved is what this browser asked for: another one with the same session finds no approval.
        let mut parameters = vec![("browser".to_owned(), browser.name().to_string())];
        if let Self::Sms(number) = self {
            shown.push(Shown { name: "number".into(), value: number.masked().into() });
            parameters.push(("number".to_owned(), number.as_str().to_owned()));
        }
        if let Self::RemovePasskey(number) = self {
            let value = pages.passkey_number(language, *number);
            shown.push(Shown { name: "label".into(), value: value.into() });
        }
        let intent = Intent {
            method: visit.head.method.as_str().into(),
            authority: visit.head.authority.to_lowercase().into(),
            path: visit.head.path().into(),
            parameters,
        };
        Action { name: ActionName::new(name), elements: vec![fields], shown, intent, answer: None }
    }
}
