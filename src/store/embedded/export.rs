//! Everything that is kept, out of the file and back into one.
//!
//! Never gives out challenges, grants, elevations, attempts or messages. Invariant: a row that cannot be read is an
//! error, so that no backup is whole without it.

use redb::ReadableTable;

use super::board::{self, Note};
use super::docs::{Account, Address, Holds, Places, Session};
use super::guarded::{address_key, ledger_prefix, save_ledger};
use super::rows::{Desk, FOR_EVER, Key, Kind, Shelf, corrupt, read};
use crate::stepup::attempts::DAY_MS;
use crate::stepup::challenge::Limits;
use crate::store::board::{Board, Posted};
use crate::store::ledger::{Ledger, Unreadable};
use crate::store::moved::{ADDRESS_KEPT_MS, Export, HoldSubject, Kept};
use crate::store::{NumberKey, StoreError};
use crate::types::{AccountId, ActionName, Credential, CredentialId, CredentialKind, UnixMs};

/// A part of everything. `from` is the key of the last row that was read, or a bare kind.
pub(super) fn part<T: ReadableTable<&'static [u8], &'static [u8]>>(
    rows: &Shelf<'_, T>,
    from: Option<&str>,
) -> Result<Export, StoreError> {
    let unknown = || StoreError::Corrupt { what: "the place to go on from".to_owned() };
    let behind = match from {
        Some(text) => Key::from_hex(text).ok_or_else(unknown)?,
        None => Key::new(KINDS[0]),
    };
    let at = KINDS.iter().position(|kind| behind.is_of(*kind)).ok_or_else(unknown)?;
    let found = rows.behind(&behind, KINDS[at], ROWS_MAX)?;
    let next = match found.last() {
        Some((key, _)) if found.len() == ROWS_MAX => Some(key.clone()),
        _ => KINDS.get(at + 1).map(|kind| Key::new(*kind)),
    };
    let mut kept = Vec::with_capacity(found.len());
    for (key, value) in found {
        kept.extend(taken(&key, KINDS[at], &value)?);
    }
    Ok(Export { kept, next: next.map(|key| key.to_hex()) })
}

/// A row in the words of a backup; `None` if nothing of it is kept.
fn taken(key: &Key, kind: Kind, value: &[u8]) -> Result<Option<Kept>, StoreError> {
    let parts = key.parts().ok_or_else(|| corrupt(key))?;
    let account = |group: &str, name: &str| AccountId::new(group, name);
    Ok(Some(match (kind, parts.as_slice()) {
        (Kind::Account, [group, name]) => {
            let Account {
                frozen,
                thawed,
                security_changed,
                factors,
                tally,
                freezes,
                number_gone,
                ..
            } = read(key, value)?;
            let account = account(group, name);
            Kept::Account {
                account,
                frozen,
                thawed,
                security_changed,
                factors,
                tally,
                freezes,
                number_gone,
            }
        }
        (Kind::Places, [group, name]) => {
            let Places { countries, asns, arrived, last } = read(key, value)?;
            Kept::Places { account: account(group, name), countries, asns, last, arrived }
        }
        (Kind::Credential, [group, name, kind, id]) => {
            let session: Session = read(key, value)?;
            let Some(last) = session.last else { return Ok(None) };
            let kind = CredentialKind::from_word(kind).ok_or_else(|| corrupt(key))?;
            let credential = Credential { kind, id: CredentialId::new(*id) };
            Kept::Session { account: account(group, name), credential, last }
        }
        (Kind::Ledger, [group, name, action]) => {
            let ledger: Ledger = read(key, value)?;
            let action = ActionName::new(*action);
            Kept::Counters { account: account(group, name), action, buckets: ledger.moved() }
        }
        (Kind::Address, [group, name, destination]) => {
            let Address { added, verified, touched } = read(key, value)?;
            let (account, destination) = (account(group, name), (*destination).into());
            Kept::Address { account, destination, added, verified, touched }
        }
        (Kind::Holds, [group, name, kind, subject]) => {
            let Holds { freezes, running } = read(key, value)?;
            let subject = match *kind {
                "d" => HoldSubject::Destination((*subject).into()),
                "i" => HoldSubject::Intent((*subject).to_owned()),
                _ => return Err(corrupt(key)),
            };
            Kept::Holds { account: account(group, name), subject, freezes, running }
        }
        (Kind::Sends, [number]) => {
            Kept::Sends { number: NumberKey((*number).to_owned()), at: read(key, value)? }
        }
        (Kind::Posted, [board, id]) => {
            let Note { value, until } = read(key, value)?;
            let id = (*id).to_owned();
            // What waits for a second operator is asked for anew.
            let is_kept = *board == Board::Suspensions.word();
            return Ok(is_kept.then_some(Kept::Suspension { id, value, until }));
        }
        (Kind::Kept, [name]) => Kept::Key { name: (*name).to_owned(), value: value.to_vec() },
        _ => return Err(corrupt(key)),
    }))
}

/// Puts one record in the place of what is there. What is over by `now` is left out.
pub(super) fn put_back(
    desk: &mut Desk<'_>,
    limits: &Limits,
    kept: Kept,
    now: UnixMs,
) -> Result<(), StoreError> {
    let Some(kept) = kept.as_of(now) else { return Ok(()) };
    match kept {
        Kept::Account {
            account,
            frozen,
            thawed,
            security_changed,
            factors,
            tally,
            freezes,
            number_gone,
        } => {
            let mut before = Account::load(desk, &account)?;
            // Whatever was asked of its owner or given was so in another state of the account.
            before.void(desk, limits, now)?;
            let (live, round) = (before.live, before.round);
            Account {
                frozen,
                thawed,
                security_changed,
                factors,
                tally,
                live,
                round,
                freezes,
                number_gone,
            }
            .save(desk, &account)
        }
        Kept::Places { account, countries, asns, last, arrived } => {
            Places { countries, asns, arrived, last }.save(desk, &account)
        }
        Kept::Session { account, credential, last } => {
            let at = last.at;
            Session { last: Some(last), ..Session::default() }.save(desk, &account, &credential, at)
        }
        Kept::Counters { account, action, buckets } => {
            let key = ledger_prefix(&account).part(action.as_str());
            let ledger = Ledger::from_moved(buckets).map_err(|Unreadable| corrupt(&key))?;
            save_ledger(desk, &key, &ledger, now)
        }
        Kept::Address { account, destination, added, verified, touched } => {
            let key = address_key(&account, &destination);
            desk.put(&key, touched.plus_ms(ADDRESS_KEPT_MS), &Address { added, verified, touched })
        }
        Kept::Holds { account, subject, freezes, running } => {
            let key = match &subject {
                HoldSubject::Destination(it) => Holds::key_of(&account, "d", it),
                HoldSubject::Intent(it) => Holds::key_of(&account, "i", it),
            };
            Holds { freezes, running }.save(desk, &key, now)
        }
        Kept::Sends { number, at } => {
            let last = at.iter().max().copied().unwrap_or(now);
            desk.put(&Key::new(Kind::Sends).part(&number.0), last.plus_ms(DAY_MS), &at)
        }
        Kept::Suspension { id, value, until } => {
            board::put(desk, Board::Suspensions, &Posted { id, value, until })
        }
        Kept::Key { name, value } => {
            desk.put_bytes(&Key::new(Kind::Kept).part(&name), FOR_EVER, &value);
            Ok(())
        }
    }
}

/// What is given out, in this order.
const KINDS: [Kind; 9] = [
    Kind::Account,
    Kind::Places,
    Kind::Credential,
    Kind::Ledger,
    Kind::Address,
    Kind::Holds,
    Kind::Sends,
    Kind::Kept,
    Kind::Posted,
];
const ROWS_MAX: usize = 256;
