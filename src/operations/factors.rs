//! Factors that operators enrol and remove.
//!
//! Never weakens an account on one operator's word where two are needed: what adds to an account's factors, replaces one
//! or takes one away waits for the second (INCIDENTS 15). Invariant: an import enrols all of its factors, waits with all of them, or does nothing.

use std::sync::Arc;

use super::requests::{Change, Wanted};
use super::{Desk, down};
use crate::admin::{Import, ImportSecret, OperationError, Order, Ordered, operators::FourEyes};
use crate::audit::Event;
use crate::factors;
use crate::notices;
use crate::pages::Language;
use crate::stepup::mailbox::Mailbox;
use crate::stepup::notice::{About as Happened, Change as Changed};
use crate::stepup::phone::Number;
use crate::stepup::totp::Totp;
use crate::store::Enrolled;
use crate::types::{AccountId, Credential, CredentialId, CredentialKind, Factor};

impl Desk {
    pub(super) async fn do_import(
        &self,
        factors: Vec<Import>,
        order: Order,
    ) -> Result<Ordered<usize>, OperationError> {
        let (mut ready, mut faults) = (Vec::new(), Vec::new());
        for import in &factors {
            match self.enrolment(import) {
                Ok(enrolled) => ready.push((import.account.clone(), enrolled)),
                Err(why) => faults.push(format!("line {}: {why}", import.line)),
            }
        }
        if !faults.is_empty() {
            return Err(OperationError::Refused(faults.join("\n")));
        }
        if self.1 != FourEyes::Off && self.weakens_any(&ready).await? {
            self.is_not_alone("an import for an account that has factors, or had some,")?;
            if ready.len() > WAITING_LINES_MAX {
                let why = "an import for accounts that have factors waits for a second operator, and so many lines cannot wait";
                let what = format!(
                    "{why}: import what is new by itself, and the rest in parts of {WAITING_LINES_MAX} lines"
                );
                return Err(OperationError::Refused(what));
            }
            let waiting = self.ask_for(Change::Import(ready), order).await?;
            return Ok(Ordered::Waits(waiting));
        }
        let signed = format!("operator:{}", order.by);
        self.enrol_all(ready, &signed).await.map(Ordered::Done)
    }

    pub(super) async fn do_reset(
        &self,
        account: AccountId,
        factor: Factor,
        order: Order,
    ) -> Result<Ordered<bool>, OperationError> {
        if self.1 != FourEyes::Off {
            self.is_not_alone("a reset")?;
            let known = self.gateway().store.factors(&account).await.map_err(down)?;
            if !known.iter().any(|known| known.factor == factor) {
                // Nothing that anybody would have to approve.
                return Ok(Ordered::Done(false));
            }
            let waiting = self.ask_for(Change::Reset(account, factor), order).await?;
            return Ok(Ordered::Waits(waiting));
        }
        let signed = format!("operator:{}", order.by);
        self.reset_one(&account, factor, &signed, &order.reason).await.map(Ordered::Done)
    }

    /// What two operators have agreed on.
    pub(super) async fn carry_out(
        &self,
        wanted: Wanted,
        second: &str,
    ) -> Result<(), OperationError> {
        let signed = format!("operator:{}, approved by operator:{second}", wanted.by);
        match wanted.change {
            Change::Import(ready) => self.enrol_all(ready, &signed).await.map(drop),
            Change::Reset(account, factor) => {
                self.reset_one(&account, factor, &signed, &wanted.reason).await.map(drop)
            }
        }
    }

    /// Whether any of it is more than a first enrolment. Where either of two factors is asked for, to add one is as good
    /// as to replace the other.
    async fn weakens_any(&self, ready: &[(AccountId, Enrolled)]) -> Result<bool, OperationError> {
        let (now, nobody) = (self.gateway().clock.now(), nobody());
        for (at, (account, enrolled)) in ready.iter().enumerate() {
            let twice = ready
                .iter()
                .take(at)
                .any(|(other, before)| other == account && before.factor == enrolled.factor);
            let known = self.gateway().store.factors(account).await.map_err(down)?;
            if twice || known.iter().any(|known| known.factor == enrolled.factor) {
                return Ok(true);
            }
            // An address for notices approves nothing.
            if enrolled.factor == Factor::Mail {
                continue;
            }
            let standing = self.gateway().store.look(account, &nobody, now).await.map_err(down)?;
            if !standing.enrolled.is_empty() || standing.security_changed.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn enrol_all(
        &self,
        ready: Vec<(AccountId, Enrolled)>,
        signed: &str,
    ) -> Result<usize, OperationError> {
        let count = ready.len();
        let now = self.gateway().clock.now();
        for (account, mut enrolled) in ready {
            (enrolled.since, enrolled.usable_from) = (now, now);
            let factor = enrolled.factor;
            let note = format!("{signed}: {} imported: {}", factor.word(), enrolled.label);
            let known = self.gateway().store.factors(&account).await.map_err(down)?;
            let before = notices::contacts_among(self.gateway(), &account, &known);
            self.gateway().store.enrol(&account, enrolled, now).await.map_err(down)?;
            self.note(Event::Operator, &account, note);
            // A first enrolment changes nothing that its owner relied on, and comes by the thousand.
            if !known.is_empty() {
                let replaced = known.iter().any(|known| known.factor == factor);
                let change = if replaced { Changed::Replaced } else { Changed::Added };
                self.tell(&account, Happened::FactorChange { factor, change }, before);
            }
        }
        Ok(count)
    }

    async fn reset_one(
        &self,
        account: &AccountId,
        factor: Factor,
        signed: &str,
        reason: &str,
    ) -> Result<bool, OperationError> {
        let now = self.gateway().clock.now();
        let known = self.gateway().store.factors(account).await.map_err(down)?;
        let before = notices::contacts_among(self.gateway(), account, &known);
        let gone = self.gateway().store.disenrol(account, factor, now).await.map_err(down)?;
        self.note(Event::Operator, account, format!("{signed}: {} reset: {reason}", factor.word()));
        if gone {
            let about = Happened::FactorChange { factor, change: Changed::Removed };
            self.tell(account, about, before);
        }
        Ok(gone)
    }

    fn is_not_alone(&self, what: &str) -> Result<(), OperationError> {
        if self.1 == FourEyes::Needed {
            return Ok(());
        }
        let why = format!(
            "{what} takes two operators and there is one: give a second one a name and a token of its own with \
             [[admin.operator]] (or take `four_eyes = true` out of [admin])"
        );
        Err(OperationError::Refused(why))
    }

    /// Checks what is to be enrolled and seals it for its account.
    fn enrolment(&self, import: &Import) -> Result<Enrolled, String> {
        let spoken = |tag: &Arc<str>| Language::ALL.iter().any(|known| *known.tag() == **tag);
        if import.language.as_ref().is_some_and(|tag| !spoken(tag)) {
            return Err("`language` is one of en, zh-TW, zh-CN, ja and de".to_owned());
        }
        let (factor, secret, label) = match &import.secret {
            ImportSecret::Otpauth(uri) => {
                let totp = Totp::parse(uri).map_err(|error| error.to_string())?;
                (Factor::Totp, totp.to_bytes().to_vec(), totp.label())
            }
            ImportSecret::Phone(number) => {
                let number = Number::parse(number).map_err(|error| error.to_string())?;
                (Factor::Sms, number.as_str().as_bytes().to_vec(), number.masked())
            }
            ImportSecret::Mail(address) => {
                let address = Mailbox::parse(address).map_err(|error| error.to_string())?;
                (Factor::Mail, address.as_str().as_bytes().to_vec(), address.masked())
            }
        };
        let now = self.gateway().clock.now();
        Ok(Enrolled {
            factor,
            secret: factors::seal(&self.gateway().keyring, &import.account, &secret),
            label,
            since: now,
            disabled: false,
            last_step: None,
            usable_from: now,
            codes: Vec::new(),
            language: import.language.clone(),
        })
    }
}

/// Operators look at accounts without a session of theirs.
fn nobody() -> Credential {
    Credential { kind: CredentialKind::Session, id: CredentialId::new("operator") }
}

/// More would not fit where it waits.
const WAITING_LINES_MAX: usize = 100;
