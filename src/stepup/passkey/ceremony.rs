//! The two ceremonies of WebAuthn: a passkey is made, and one signs.
//!
//! Never lets the library choose what is signed: its state is made anew for each asking and each answer, with the
//! challenge that was derived for it. Invariant: the owner was verified, on a page of ours, for our domain.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    Passkey, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnBuilder,
};

use super::posted::PostedKind;
use super::{
    Asserted, Changed, Listed, Nonce, PASSKEYS_MAX, PasskeyError, Posted, RelyingParty, is_within,
};
use crate::types::UnixMs;

/// Asks passkeys of one site and judges their answers.
#[derive(Debug)]
pub struct Verifier {
    id: String,
    webauthn: Webauthn,
}

/// An account's passkeys as they are kept, sealed: at most `PASSKEYS_MAX`.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// What authenticators know the account by; it says nothing of it.
    user: Uuid,
    /// How many were ever made: a number is not given twice.
    made: u32,
    passkeys: Vec<One>,
}

#[derive(Serialize, Deserialize)]
struct One {
    number: u32,
    /// The domain that it was made for.
    domain: String,
    since: UnixMs,
    /// It approves nothing before: that of a young one says nothing of the others.
    usable_from: UnixMs,
    passkey: Passkey,
}

impl Kept {
    fn read(kept: &[u8]) -> Result<Self, PasskeyError> {
        serde_json::from_slice(kept).map_err(|_| PasskeyError::Unreadable)
    }

    /// One that is made in this ceremony, or those that are there.
    fn of(kept: Option<&[u8]>, nonce: &Nonce) -> Result<Self, PasskeyError> {
        if let Some(kept) = kept {
            return Self::read(kept);
        }
        let mut user = [0; 16];
        user.iter_mut().zip(nonce.0).for_each(|(byte, drawn)| *byte = drawn);
        Ok(Self { user: Uuid::from_bytes(user), made: 0, passkeys: Vec::new() })
    }

    fn write(&self) -> Result<Vec<u8>, PasskeyError> {
        serde_json::to_vec(self).map_err(|_| PasskeyError::Unreadable)
    }

    /// Those that were made for this domain and may be used at this time.
    fn of_domain(&self, domain: &str, ripe_at: UnixMs) -> Vec<Passkey> {
        let fits = |one: &&One| one.domain == domain && one.usable_from <= ripe_at;
        self.passkeys.iter().filter(fits).map(|one| one.passkey.clone()).collect()
    }

    /// What is to be kept; `None` if none is left.
    fn changed(&self) -> Result<Option<Changed>, PasskeyError> {
        let since = self.passkeys.iter().map(|one| one.since).min();
        let usable_from = self.passkeys.iter().map(|one| one.usable_from).min();
        let (Some(since), Some(usable_from)) = (since, usable_from) else { return Ok(None) };
        let (kept, count) = (self.write()?, self.passkeys.len());
        Ok(Some(Changed { kept, count, since, usable_from }))
    }
}

impl Verifier {
    /// # Errors
    /// What of it no browser would take.
    pub fn new(party: &RelyingParty) -> Result<Self, String> {
        let mut origins = Vec::new();
        for origin in &party.origins {
            origins.push(Url::parse(origin).map_err(|error| format!("`{origin}`: {error}"))?);
        }
        let (first, others) = origins.split_first().ok_or("there is no origin")?;
        let unfit = |error| format!("passkeys for `{}` cannot be asked for: {error}", party.id);
        let mut builder = WebauthnBuilder::new(&party.id, first).map_err(unfit)?;
        for origin in others {
            builder = builder.append_allowed_origin(origin);
        }
        let webauthn = builder.build().map_err(unfit)?;
        Ok(Self { id: party.id.clone(), webauthn })
    }

    /// The domain that passkeys are made for.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether a page on this host can ask for one.
    pub fn serves(&self, host: &str) -> bool {
        is_within(host, &self.id)
    }

    /// What a browser hands to `navigator.credentials.get`: any of those that may be used at this time will do.
    ///
    /// # Errors
    /// `NoneHere`, or `Unreadable`.
    pub fn ask(
        &self,
        kept: &[u8],
        signs: &[u8; 32],
        ripe_at: UnixMs,
        timeout_ms: u64,
    ) -> Result<Value, PasskeyError> {
        let passkeys = Kept::read(kept)?.of_domain(&self.id, ripe_at);
        if passkeys.is_empty() {
            return Err(PasskeyError::NoneHere);
        }
        let started = self.webauthn.start_passkey_authentication(&passkeys);
        let (options, _) = started.map_err(|_| PasskeyError::Unreadable)?;
        asked(&options, signs, timeout_ms)
    }

    /// Whether what was posted is one of these passkeys' signature over exactly this.
    ///
    /// # Errors
    /// Why not.
    pub fn check(
        &self,
        kept: &[u8],
        signs: &[u8; 32],
        ripe_at: UnixMs,
        posted: &str,
    ) -> Result<Asserted, PasskeyError> {
        let posted = Posted::parse(posted)?;
        let PostedKind::Assertion { authenticator_data, signature } = posted.kind else {
            return Err(PasskeyError::Malformed);
        };
        let mut kept = Kept::read(kept)?;
        let passkeys = kept.of_domain(&self.id, ripe_at);
        let started = self.webauthn.start_passkey_authentication(&passkeys);
        let (_, state) = started.map_err(|_| PasskeyError::NoneHere)?;
        let state: PasskeyAuthentication = over(&state, "ast", signs)?;
        let id = text(&posted.id);
        let answer: PublicKeyCredential = written(json!({
            "id": id, "rawId": id, "type": "public-key",
            "response": {
                "clientDataJSON": text(&posted.client_data),
                "authenticatorData": text(&authenticator_data),
                "signature": text(&signature),
                "userHandle": null,
            },
        }))?;
        let result = self.webauthn.finish_passkey_authentication(&answer, &state);
        let result = result.map_err(|_| PasskeyError::Refused)?;
        if !result.user_verified() {
            return Err(PasskeyError::Refused);
        }
        let changed = kept
            .passkeys
            .iter_mut()
            .any(|one| one.passkey.update_credential(&result) == Some(true));
        Ok(Asserted { renewed: changed.then(|| kept.write()).transpose()? })
    }

    /// What a browser hands to `navigator.credentials.create`.
    ///
    /// # Errors
    /// `TooMany`, or `Unreadable`.
    pub fn offer(
        &self,
        kept: Option<&[u8]>,
        account: &str,
        nonce: &Nonce,
        signs: &[u8; 32],
        timeout_ms: u64,
    ) -> Result<Value, PasskeyError> {
        let kept = Kept::of(kept, nonce)?;
        let (options, _) = self.start(&kept, account)?;
        let mut options = asked(&options, signs, timeout_ms)?;
        // One that the authenticator keeps itself can be found by its owner; a key without room for it serves as well.
        let selection = &mut options["publicKey"]["authenticatorSelection"];
        selection["residentKey"] = json!("preferred");
        selection["requireResidentKey"] = json!(false);
        selection["userVerification"] = json!("required");
        Ok(options)
    }

    /// Adds the passkey that was made; it has to wait for so long, and the others no longer than before.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn register(
        &self,
        kept: Option<&[u8]>,
        nonce: &Nonce,
        signs: &[u8; 32],
        posted: &str,
        now: UnixMs,
        hold_ms: u64,
    ) -> Result<Changed, PasskeyError> {
        let posted = Posted::parse(posted)?;
        let PostedKind::Attestation { attestation_object } = posted.kind else {
            return Err(PasskeyError::Malformed);
        };
        let mut kept = Kept::of(kept, nonce)?;
        // Whose it is was said when it was offered, and is no part of the state.
        let (_, state) = self.start(&kept, "account")?;
        let state: PasskeyRegistration = over(&state, "rs", signs)?;
        let id = text(&posted.id);
        let answer: RegisterPublicKeyCredential = written(json!({
            "id": id, "rawId": id, "type": "public-key",
            "response": {
                "clientDataJSON": text(&posted.client_data),
                "attestationObject": text(&attestation_object),
            },
        }))?;
        let made = self.webauthn.finish_passkey_registration(&answer, &state);
        let passkey = made.map_err(|_| PasskeyError::Refused)?;
        if kept.passkeys.iter().any(|one| one.passkey.cred_id() == passkey.cred_id()) {
            return Err(PasskeyError::Known);
        }
        kept.made = kept.made.saturating_add(1);
        kept.passkeys.push(One {
            number: kept.made,
            domain: self.id.clone(),
            since: now,
            usable_from: now.plus_ms(hold_ms),
            passkey,
        });
        kept.changed()?.ok_or(PasskeyError::Unreadable)
    }

    fn start(
        &self,
        kept: &Kept,
        account: &str,
    ) -> Result<(Value, PasskeyRegistration), PasskeyError> {
        if kept.passkeys.len() >= PASSKEYS_MAX {
            return Err(PasskeyError::TooMany);
        }
        let known = kept.passkeys.iter().map(|one| one.passkey.cred_id().clone()).collect();
        let started =
            self.webauthn.start_passkey_registration(kept.user, account, account, Some(known));
        let (options, state) = started.map_err(|_| PasskeyError::Unreadable)?;
        let options = serde_json::to_value(options).map_err(|_| PasskeyError::Unreadable)?;
        Ok((options, state))
    }
}

/// The account's passkeys, oldest first, whichever site they were made on.
///
/// # Errors
/// `Unreadable`.
pub fn listed(kept: &[u8]) -> Result<Vec<Listed>, PasskeyError> {
    let list =
        |one: &One| Listed { number: one.number, since: one.since, usable_from: one.usable_from };
    Ok(Kept::read(kept)?.passkeys.iter().map(list).collect())
}

/// Takes one away; `None` if it was the last.
///
/// # Errors
/// `NoneHere` if there is none of this number, or `Unreadable`.
pub fn without(kept: &[u8], number: u32) -> Result<Option<Changed>, PasskeyError> {
    let mut kept = Kept::read(kept)?;
    let before = kept.passkeys.len();
    kept.passkeys.retain(|one| one.number != number);
    if kept.passkeys.len() == before {
        return Err(PasskeyError::NoneHere);
    }
    kept.changed()
}

/// The library's options, about our challenge.
fn asked(
    options: &impl Serialize,
    signs: &[u8; 32],
    timeout_ms: u64,
) -> Result<Value, PasskeyError> {
    let mut options = serde_json::to_value(options).map_err(|_| PasskeyError::Unreadable)?;
    let public = options.get_mut("publicKey").and_then(Value::as_object_mut);
    let public = public.ok_or(PasskeyError::Unreadable)?;
    public.insert("challenge".to_owned(), json!(text(signs)));
    public.insert("timeout".to_owned(), json!(timeout_ms));
    Ok(options)
}

/// The library's state, about our challenge.
fn over<T: Serialize + DeserializeOwned>(
    state: &T,
    within: &str,
    signs: &[u8; 32],
) -> Result<T, PasskeyError> {
    let mut state = serde_json::to_value(state).map_err(|_| PasskeyError::Unreadable)?;
    let challenge = state.get_mut(within).and_then(|it| it.get_mut("challenge"));
    let challenge = challenge.filter(|it| it.is_string()).ok_or(PasskeyError::Unreadable)?;
    *challenge = json!(text(signs));
    serde_json::from_value(state).map_err(|_| PasskeyError::Unreadable)
}

fn written<T: DeserializeOwned>(value: Value) -> Result<T, PasskeyError> {
    serde_json::from_value(value).map_err(|_| PasskeyError::Malformed)
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
