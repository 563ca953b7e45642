//! What the rows hold, and the typed way to each.
//!
//! Never judges a request. Invariant: an account's row lists every challenge of it that is open or
//! approved and not yet redeemed, so that a freeze or a changed factor finds them all.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rows::{Desk, FOR_EVER, Key, Kind, Rows, corrupt};
use crate::locate::travel::Sighting;
use crate::policy::facts::{Elevation, HoldRunning};
use crate::stepup::attempts::{DAY_MS, Tally};
use crate::stepup::challenge::{Challenge, Limits, State};
use crate::store::moved::{HOLD_KEPT_MS, SESSION_KEPT_MS};
use crate::store::{Arrivals, Enrolled, Freeze, Message, Orphan, Ripeness, Standing, StoreError};
use crate::types::{AccountId, AttemptId, ChallengeId, Credential, UnixMs};

/// What protects an account.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Account {
    /// As it was written: see `now` and `when`.
    pub(super) frozen: Option<Freeze>,
    /// When the last freeze ended.
    pub(super) thawed: Option<UnixMs>,
    pub(super) security_changed: Option<UnixMs>,
    pub(super) factors: Vec<Enrolled>,
    pub(super) tally: Tally,
    /// Challenges that may still be answered or redeemed, oldest first.
    pub(super) live: Vec<ChallengeId>,
    /// Elevations given in an earlier round are void.
    pub(super) round: u64,
    /// Holds begun before the last freeze are not served.
    pub(super) freezes: u64,
    /// When the account's number was last taken away, or another one put in its place.
    pub(super) number_gone: Option<UnixMs>,
}

/// Where an account has been.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Places {
    pub(super) countries: Vec<Arc<str>>,
    pub(super) asns: Vec<u32>,
    /// Rows of earlier versions have none.
    pub(super) arrived: Arrivals,
    pub(super) last: Option<Sighting>,
}

/// What is known of one credential.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    pub(super) last: Option<Sighting>,
    pub(super) elevations: Vec<Elevation>,
    pub(super) round: u64,
}

/// How far an attempt has come. Only `Sending` can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Sending,
    Done,
    Refused,
    Unknown,
    Abandoned,
}

/// One guarded request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) who: Orphan,
    pub(super) stage: Stage,
    /// What it added to the ledger, exact.
    pub(super) usd: Option<String>,
    pub(super) destination: Option<Arc<str>>,
    /// The owner proved a factor for exactly this intent.
    pub(super) proved: bool,
}

/// A destination in the address book.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) added: UnixMs,
    pub(super) verified: bool,
    /// Last added or paid to.
    pub(super) touched: UnixMs,
}

/// Holds that run for one destination (or one intent without a destination).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Holds {
    pub(super) freezes: u64,
    pub(super) running: Vec<HoldRunning>,
}

/// A message in the outbox.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outgoing {
    pub(super) message: Message,
    pub(super) due: UnixMs,
    /// The code it carries; once another was sent, it is not worth sending. Empty for a notice.
    pub(super) mac: String,
}

/// One thing that an account's contacts were told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) key: Arc<str>,
    pub(super) at: UnixMs,
    /// Until then the same is not said again.
    pub(super) quiet: UnixMs,
}

impl Account {
    pub(super) fn load(rows: &impl Rows, id: &AccountId) -> Result<Self, StoreError> {
        Ok(rows.find(&Key::new(Kind::Account).account(id))?.unwrap_or_default())
    }

    /// As it is now, for sentences that write: a thaw whose time has come has taken effect, and what was asked or given
    /// before is void.
    pub(super) fn now(
        desk: &mut Desk<'_>,
        limits: &Limits,
        id: &AccountId,
        now: UnixMs,
    ) -> Result<Self, StoreError> {
        let mut account = Self::load(desk, id)?;
        if account.has_opened(now) {
            account.thaw(desk, limits, now)?;
            account.save(desk, id)?;
        }
        Ok(account)
    }

    /// The same for sentences that only read.
    pub(super) fn when(mut self, now: UnixMs) -> Self {
        if self.has_opened(now) {
            self.thawed = self.frozen.take().and_then(|freeze| freeze.opens);
            self.live.clear();
            self.round += 1;
        }
        self
    }

    fn has_opened(&self, now: UnixMs) -> bool {
        self.frozen.as_ref().is_some_and(|freeze| !freeze.holds(now))
    }

    /// Ends the freeze, at the time that was set for it if that has come. What was asked or given while the account was
    /// frozen is void as well: its owner was not trusted then. The caller saves the account.
    pub(super) fn thaw(
        &mut self,
        desk: &mut Desk<'_>,
        limits: &Limits,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let opens = self.frozen.take().and_then(|freeze| freeze.opens);
        self.thawed = Some(opens.filter(|opens| *opens <= now).unwrap_or(now));
        self.void(desk, limits, now)
    }

    pub(super) fn save(&self, desk: &mut Desk<'_>, id: &AccountId) -> Result<(), StoreError> {
        desk.touch(id);
        desk.put(&Key::new(Kind::Account).account(id), FOR_EVER, self)
    }

    /// The factors as they stand: one that failed too often is disabled.
    pub(super) fn enrolled(&self, limits: &Limits) -> Vec<Enrolled> {
        let mut factors = self.factors.clone();
        for enrolled in &mut factors {
            enrolled.disabled |= self.tally.disables(enrolled.factor, limits);
        }
        factors
    }

    /// The challenges that are open or approved at `now`, oldest first; forgets the others.
    pub(super) fn live(
        &mut self,
        rows: &impl Rows,
        now: UnixMs,
    ) -> Result<Vec<Challenge>, StoreError> {
        let mut live = Vec::with_capacity(self.live.len());
        for id in &self.live {
            live.extend(load_challenge(rows, id)?.filter(|challenge| {
                matches!(challenge.state_at(now), State::Open | State::Approved)
            }));
        }
        self.live = live.iter().map(|challenge| challenge.id.clone()).collect();
        Ok(live)
    }

    /// Voids every open challenge, unused grant and elevation. The caller saves the account.
    pub(super) fn void(
        &mut self,
        desk: &mut Desk<'_>,
        limits: &Limits,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        for challenge in self.live(desk, now)? {
            save_challenge(desk, end(challenge, State::Expired), limits)?;
        }
        self.live.clear();
        self.round += 1;
        Ok(())
    }
}

impl Places {
    pub(super) fn load(rows: &impl Rows, id: &AccountId) -> Result<Self, StoreError> {
        Ok(rows.find(&Key::new(Kind::Places).account(id))?.unwrap_or_default())
    }

    pub(super) fn save(&self, desk: &mut Desk<'_>, id: &AccountId) -> Result<(), StoreError> {
        desk.touch(id);
        desk.put(&Key::new(Kind::Places).account(id), FOR_EVER, self)
    }
}

impl Session {
    fn key(account: &AccountId, credential: &Credential) -> Key {
        Key::new(Kind::Credential).account(account).credential(credential)
    }

    pub(super) fn load(
        rows: &impl Rows,
        account: &AccountId,
        credential: &Credential,
    ) -> Result<Self, StoreError> {
        Ok(rows.find(&Self::key(account, credential))?.unwrap_or_default())
    }

    pub(super) fn save(
        &self,
        desk: &mut Desk<'_>,
        account: &AccountId,
        credential: &Credential,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        desk.touch(account);
        desk.put(&Self::key(account, credential), now.plus_ms(SESSION_KEPT_MS), self)
    }
}

impl Attempt {
    fn key(id: &AttemptId) -> Key {
        Key::new(Kind::Attempt).part(id.as_str())
    }

    pub(super) fn load(rows: &impl Rows, id: &AttemptId) -> Result<Option<Self>, StoreError> {
        rows.find(&Self::key(id))
    }

    /// Saves it, and keeps the list of those that are `sending`.
    pub(super) fn save(&self, desk: &mut Desk<'_>) -> Result<(), StoreError> {
        let id = &self.who.attempt;
        let keep = self.who.began.plus_ms(ATTEMPT_KEPT_MS);
        let sending = Key::new(Kind::Sending).part(id.as_str());
        match self.stage {
            Stage::Sending => desk.put_bytes(&sending, keep, b""),
            _ => desk.remove(&sending),
        }
        desk.put(&Self::key(id), keep, self)
    }
}

impl Holds {
    /// `subject`: the destination, or the intent of an action that has none.
    pub(super) fn key(attempt: &Orphan, destination: Option<&str>) -> Key {
        match destination {
            Some(destination) => Self::key_of(&attempt.account, "d", destination),
            None => Self::key_of(&attempt.account, "i", &attempt.intent.hex()),
        }
    }

    /// `d` and a destination, or `i` and an intent.
    pub(super) fn key_of(account: &AccountId, kind: &str, subject: &str) -> Key {
        Key::new(Kind::Holds).account(account).part(kind).part(subject)
    }

    /// Those that still run in this round of the account's freezes and are not forgotten.
    pub(super) fn load(
        rows: &impl Rows,
        key: &Key,
        freezes: u64,
        now: UnixMs,
    ) -> Result<Self, StoreError> {
        let stored: Self = rows.find(key)?.unwrap_or_default();
        let mut running = if stored.freezes == freezes { stored.running } else { Vec::new() };
        running.retain(|hold| now < hold.since.plus_ms(HOLD_KEPT_MS));
        Ok(Self { freezes, running })
    }

    pub(super) fn save(
        &self,
        desk: &mut Desk<'_>,
        key: &Key,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        desk.put(key, now.plus_ms(HOLD_KEPT_MS), self)
    }
}

/// What ordinary traffic needs to know.
pub(super) fn standing(
    rows: &impl Rows,
    account: &AccountId,
    credential: &Credential,
    limits: &Limits,
    now: UnixMs,
) -> Result<Standing, StoreError> {
    let protection = Account::load(rows, account)?.when(now);
    let places = Places::load(rows, account)?;
    let mut session = Session::load(rows, account, credential)?;
    session
        .elevations
        .retain(|elevation| session.round == protection.round && now < elevation.until);
    let known = protection.enrolled(limits);
    let Ripeness { ripe, young, ripens, enrolled } = Ripeness::of(&known, now);
    let since = protection.frozen.as_ref().map_or(now, |freeze| freeze.since);
    Ok(Standing {
        factors: ripe,
        ripe_when_frozen: Ripeness::of(&known, since).ripe,
        young,
        ripens,
        enrolled,
        frozen: protection.frozen,
        countries: places.countries,
        asns: places.asns,
        arrived: places.arrived,
        last: session.last.or(places.last),
        elevations: session.elevations,
        security_changed: protection.security_changed,
        claims_count_from: protection.number_gone.map(|at| at.plus_ms(limits.factor_hold_ms)),
    })
}

fn challenge_key(id: &ChallengeId) -> Key {
    Key::new(Kind::Challenge).part(id.as_str())
}

/// A challenge as stored: its state is not yet judged by the time.
pub(super) fn load_challenge(
    rows: &impl Rows,
    id: &ChallengeId,
) -> Result<Option<Challenge>, StoreError> {
    let key = challenge_key(id);
    let Some(bytes) = rows.bytes(&key)? else { return Ok(None) };
    let apart = || {
        let (&has_held, rest) = bytes.split_first()?;
        let (json_bytes, rest) = rest.split_first_chunk()?;
        let json_bytes = usize::try_from(u32::from_be_bytes(*json_bytes)).ok()?;
        let (json, held) = rest.split_at_checked(json_bytes)?;
        let mut challenge: Challenge = serde_json::from_slice(json).ok()?;
        challenge.held = (has_held == 1).then(|| held.to_vec());
        Some(challenge)
    };
    apart().map(Some).ok_or_else(|| corrupt(&key))
}

/// A challenge, if it is of this account.
pub(super) fn challenge_of(
    rows: &impl Rows,
    id: &ChallengeId,
    account: &AccountId,
) -> Result<Option<Challenge>, StoreError> {
    Ok(load_challenge(rows, id)?.filter(|known| known.account == *account))
}

/// Stores it until a day after its end, so that a late answer still hears what became of it. The
/// held request stands beside the JSON, because 64 KiB of numbers in JSON would cost more than all
/// the rest.
pub(super) fn save_challenge(
    desk: &mut Desk<'_>,
    mut challenge: Challenge,
    limits: &Limits,
) -> Result<(), StoreError> {
    let key = challenge_key(&challenge.id);
    let held = challenge.held.take();
    let json = serde_json::to_vec(&challenge).map_err(|_| corrupt(&key))?;
    let json_bytes = u32::try_from(json.len()).map_err(|_| corrupt(&key))?;
    let mut bytes = vec![u8::from(held.is_some())];
    bytes.extend_from_slice(&json_bytes.to_be_bytes());
    bytes.extend_from_slice(&json);
    bytes.extend_from_slice(&held.unwrap_or_default());
    let keep = challenge.expires.plus_ms(limits.grant_ms).plus_ms(DAY_MS);
    desk.put_bytes(&key, keep, &bytes);
    Ok(())
}

/// The challenge in a state it does not leave, without what only a live one needs.
pub(super) fn end(challenge: Challenge, state: State) -> Challenge {
    Challenge { state, held: None, sent: None, ceremony: None, pending: None, ..challenge }
}

/// The challenge as its readers see it: with the state that it has at `now`.
pub(super) fn as_of(challenge: Challenge, now: UnixMs) -> Challenge {
    Challenge { state: challenge.state_at(now), ..challenge }
}

const ATTEMPT_KEPT_MS: u64 = 7 * DAY_MS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_without_days_of_arrival_is_read() {
        let places: Places =
            serde_json::from_str(r#"{"countries":["DE"],"asns":[1],"last":null}"#).unwrap();
        assert_eq!((places.countries.len(), places.arrived.len()), (1, 0));
    }
}
