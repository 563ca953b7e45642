//! Whom an account's notices go to: the phone and the mail address that are enrolled, else those of the verified token.
//!
//! Never a number that nothing is sent to. Invariant: a disabled factor is still a contact; it approves nothing, but its
//! owner is to know.

use std::sync::Arc;

use super::Occurrence;
use crate::factors;
use crate::gateway::Gateway;
use crate::pages::Language;
use crate::stepup::mailbox::Mailbox;
use crate::stepup::phone::Number;
use crate::store::{Enrolled, StoreError};
use crate::types::{AccountId, Factor};

/// One of them, with the language it was enrolled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Contact {
    /// `enrolled`: its owner showed, or an operator said, that it is the account's; else only a token claims it.
    Sms {
        number: Number,
        language: Option<Language>,
        enrolled: bool,
    },
    Mail {
        address: Mailbox,
        language: Option<Language>,
    },
}

/// What a verified token says of its account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claimed {
    pub phone: Option<Arc<str>>,
    pub mail: Option<Arc<str>>,
}

impl Contact {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sms { .. } => "sms",
            Self::Mail { .. } => "mail",
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sms { number, .. }, Self::Sms { number: other, .. }) => number == other,
            (Self::Mail { address, .. }, Self::Mail { address: other, .. }) => address == other,
            _ => false,
        }
    }
}

/// Each contact once: those that are enrolled, what the token claims in place of those that are not, and those of before.
pub(super) async fn all(
    gateway: &Gateway,
    occurrence: &Occurrence,
) -> Result<Vec<Contact>, StoreError> {
    let enrolled = gateway.store.factors(&occurrence.account).await?;
    let mut contacts = contacts_among(gateway, &occurrence.account, &enrolled);
    claim(&mut contacts, &occurrence.claimed);
    for before in &occurrence.before {
        if !contacts.iter().any(|contact| contact.is_same(before)) {
            contacts.push(before.clone());
        }
    }
    contacts.retain(|contact| match contact {
        Contact::Sms { number, .. } => !number.is_blocked(&gateway.phones),
        Contact::Mail { .. } => true,
    });
    Ok(contacts)
}

/// Adds what a token claims in place of what is not enrolled.
pub(crate) fn claim(contacts: &mut Vec<Contact>, claimed: &Claimed) {
    if !contacts.iter().any(|contact| matches!(contact, Contact::Sms { .. })) {
        let number = claimed.phone.as_deref().and_then(|text| Number::parse(text).ok());
        let claim = |number| Contact::Sms { number, language: None, enrolled: false };
        contacts.extend(number.map(claim));
    }
    if !contacts.iter().any(|contact| matches!(contact, Contact::Mail { .. })) {
        let address = claimed.mail.as_deref().and_then(|text| Mailbox::parse(text).ok());
        contacts.extend(address.map(|address| Contact::Mail { address, language: None }));
    }
}

/// Those that are enrolled.
pub(crate) fn contacts_among(
    gateway: &Gateway,
    account: &AccountId,
    enrolled: &[Enrolled],
) -> Vec<Contact> {
    enrolled.iter().filter_map(|enrolled| contact(gateway, account, enrolled)).collect()
}

/// The contact that a factor is, if it is one.
fn contact(gateway: &Gateway, account: &AccountId, enrolled: &Enrolled) -> Option<Contact> {
    if !matches!(enrolled.factor, Factor::Sms | Factor::Mail) {
        return None;
    }
    let opened = factors::open(&gateway.keyring, account, &enrolled.secret).ok()?;
    let text = std::str::from_utf8(&opened).ok()?;
    let language = enrolled.language.as_deref().and_then(Language::exactly);
    match enrolled.factor {
        Factor::Sms => {
            Some(Contact::Sms { number: Number::parse(text).ok()?, language, enrolled: true })
        }
        _ => Some(Contact::Mail { address: Mailbox::parse(text).ok()?, language }),
    }
}
