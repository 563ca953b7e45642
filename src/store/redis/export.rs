//! Everything that is kept, out of Redis and back into it.
//!
//! Never gives out challenges, grants, elevations, attempts or messages. Invariant: a key that cannot be read is an
//! error, so that no backup is whole without it.

use super::account::{
    Account, factor_text, sighting_in, write_arrivals, write_enrolled, write_sighting,
};
use super::guarded::{HOLD_KEPT_MS, address_of, each};
use super::keys::{COMMON, OUT, account_text, credential_text, join, parts_of, tag_of};
use super::ledger::{buckets_of, fields_of};
use super::reply::{Fields, Reply, corrupt, list, number, text};
use super::{Redis, scripts};
use crate::locate::travel::Sighting;
use crate::policy::facts::{HoldRunning, Window};
use crate::stepup::attempts::{DAY_MS, Tally};
use crate::store::board::Board;
use crate::store::moved::{ADDRESS_KEPT_MS, Export, HoldSubject, Kept, SESSION_KEPT_MS};
use crate::store::{Enrolled, Freeze, NumberKey, StoreError};
use crate::types::{
    AccountId, ActionName, Credential, CredentialId, CredentialKind, RuleId, UnixMs,
};

/// A key that a backup has something of.
struct Found {
    tag: u16,
    /// What follows the tag; its first letter says what it is.
    name: Vec<u8>,
}

impl Redis {
    pub(super) async fn do_export(&self, from: Option<String>) -> Result<Export, StoreError> {
        let pattern = format!("{}{{*", self.shared.prefix);
        let (keys, next) = self.shared.link.scan(from, &pattern).await?;
        let now = self.shared.clock.now();
        let found: Vec<Found> =
            keys.iter().filter_map(|key| found(&self.shared.prefix, key)).collect();
        let ask = |found: &Found| {
            let is_text = matches!(found.name.first(), Some(b'h' | b'n' | b'k'));
            let flag = if is_text { b"1".to_vec() } else { Vec::new() };
            self.shared.ask(&scripts::READ, found.tag, now, vec![found.name.clone(), flag])
        };
        let mut kept = Vec::with_capacity(found.len());
        for (at, reply) in each(&found, ask).await? {
            // One that ended on the way is no more.
            if let (Some((kind, rest)), Some(reply)) = (at.name.split_first(), reply.present()) {
                taken(*kind, rest, reply, &mut kept)?;
            }
        }
        Ok(Export { kept, next })
    }

    pub(super) async fn do_import(&self, kept: Vec<Kept>, now: UnixMs) -> Result<(), StoreError> {
        for kept in kept.into_iter().filter_map(|kept| kept.as_of(now)) {
            self.put_back(kept, now).await?;
        }
        Ok(())
    }

    async fn put_back(&self, kept: Kept, now: UnixMs) -> Result<(), StoreError> {
        let shared = &self.shared;
        let to = match kept {
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
                let times = (thawed, security_changed);
                let mut fields = protection(frozen, times, &factors, &tally, freezes);
                if let Some(at) = number_gone {
                    fields.extend([b"number_gone".to_vec(), at.0.to_string().into_bytes()]);
                }
                let args = vec![join(fields)];
                let put = shared.ask_of(&scripts::RESTORE_ACCOUNT, &account, args, now).await;
                shared.view.raise(&account);
                return put.map(drop);
            }
            Kept::Places { account, countries, asns, last, arrived } => {
                let asns: Vec<String> = asns.iter().map(u32::to_string).collect();
                let mut fields = vec![];
                fields.push(("countries", join(countries.iter().map(|name| name.as_bytes()))));
                fields.push(("asns", join(asns)));
                fields.push(("arrived", write_arrivals(&arrived)));
                fields.extend(last.iter().flat_map(write_sighting));
                fields.retain(|(_, value)| !value.is_empty());
                Restore {
                    clear: join(["countries", "asns", "arrived", "last", "place"]),
                    fields: pairs(fields),
                    ..Restore::of(&account, b'a', &[])
                }
            }
            Kept::Session { account, credential, last } => Restore {
                clear: join(["elevations", "round"]),
                fields: pairs(write_sighting(&last)),
                keep: Some(last.at.plus_ms(SESSION_KEPT_MS)),
                ..Restore::of(&account, b's', &credential_text(&credential))
            },
            Kept::Counters { account, action, buckets } => Restore {
                clear: format!("|{action}").into_bytes(),
                fields: pairs(fields_of(action.as_str(), &buckets)?),
                keep: Some(now.plus_ms(Window::Week.ms())),
                ..Restore::of(&account, b'l', &[])
            },
            Kept::Address { account, destination, added, verified, touched } => {
                let facts = format!("{} {} {}", added.0, u8::from(verified), touched.0);
                Restore {
                    fields: pairs([(&*destination, facts.into_bytes())]),
                    keep: Some(touched.plus_ms(ADDRESS_KEPT_MS)),
                    ..Restore::of(&account, b'd', &[])
                }
            }
            Kept::Holds { account, subject, freezes, running } => {
                let subject = match subject {
                    HoldSubject::Destination(destination) => format!("d{destination}"),
                    HoldSubject::Intent(intent) => format!("i{intent}"),
                };
                let mut items = vec![freezes.to_string()];
                for hold in running {
                    items.extend([hold.rule.to_string(), hold.since.0.to_string()]);
                }
                Restore {
                    text: Some(join(items)),
                    keep: Some(now.plus_ms(HOLD_KEPT_MS)),
                    ..Restore::of(&account, b'h', subject.as_bytes())
                }
            }
            Kept::Sends { number, at } => {
                let at: Vec<String> = at.iter().map(|at| at.0.to_string()).collect();
                Restore {
                    text: Some(at.join(" ").into_bytes()),
                    keep: Some(now.plus_ms(DAY_MS)),
                    ..Restore::at(OUT, format!("n{}", number.0).into_bytes())
                }
            }
            Kept::Suspension { id, value, until } => Restore {
                fields: pairs([(id, join([until.0.to_string().as_bytes(), &value]))]),
                ..Restore::at(COMMON, format!("p{}", Board::Suspensions.word()).into_bytes())
            },
            Kept::Key { name, value } => Restore {
                text: Some(value),
                ..Restore::at(COMMON, format!("k{name}").into_bytes())
            },
        };
        let keep = to.keep.map_or(String::new(), |keep| keep.since_ms(now).to_string());
        let text = to.text.map_or(Vec::new(), |text| [b"=", &text[..]].concat());
        let args = vec![to.name, text, to.clear, to.fields, keep.into_bytes()];
        let put = shared.ask(&scripts::RESTORE, to.tag, now, args).await;
        if let Some(account) = to.account {
            shared.view.raise(&account);
        }
        put.map(drop)
    }
}

/// A key that is put back.
struct Restore {
    account: Option<AccountId>,
    tag: u16,
    name: Vec<u8>,
    text: Option<Vec<u8>>,
    clear: Vec<u8>,
    fields: Vec<u8>,
    keep: Option<UnixMs>,
}

impl Restore {
    fn at(tag: u16, name: Vec<u8>) -> Self {
        let (clear, fields) = (Vec::new(), Vec::new());
        Self { account: None, tag, name, text: None, clear, fields, keep: None }
    }
    fn of(account: &AccountId, kind: u8, behind: &[u8]) -> Self {
        let name = [&[kind][..], &account_text(account), behind].concat();
        Self { account: Some(account.clone()), ..Self::at(tag_of(account), name) }
    }
}

fn pairs<N: AsRef<[u8]>>(fields: impl IntoIterator<Item = (N, Vec<u8>)>) -> Vec<u8> {
    join(fields.into_iter().flat_map(|(name, value)| [name.as_ref().to_vec(), value]))
}

/// The fields of an account's hash that say what protects it.
fn protection(
    frozen: Option<Freeze>,
    (thawed, security_changed): (Option<UnixMs>, Option<UnixMs>),
    factors: &[Enrolled],
    tally: &Tally,
    freezes: u64,
) -> Vec<Vec<u8>> {
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    let mut set = |name: &str, value: Vec<u8>| fields.push((name.to_owned(), value));
    let time = |at: UnixMs| at.0.to_string().into_bytes();
    if let Some(Freeze { since, by, opens }) = frozen {
        set("frozen_since", time(since));
        set("frozen_by", by.as_bytes().to_vec());
        opens.into_iter().for_each(|at| set("frozen_opens", time(at)));
    }
    if let Some(at) = thawed {
        set("thawed", time(at));
    }
    if let Some(at) = security_changed {
        set("security_changed", time(at));
    }
    if let Some(until) = tally.blocked_until {
        set("blocked_until", time(until));
    }
    if !factors.is_empty() {
        set("factors", join(factors.iter().map(write_enrolled)));
    }
    let counts = [
        ("failures", u64::from(tally.failures)),
        ("blocks", u64::from(tally.blocks)),
        ("freezes", freezes),
    ];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        set(name, count.to_string().into_bytes());
    }
    for (factor, failures) in &tally.by_factor {
        let bit = String::from_utf8_lossy(&factor_text(*factor)).into_owned();
        set(&format!("failed{bit}"), failures.to_string().into_bytes());
    }
    fields.into_iter().flat_map(|(name, value)| [name.into_bytes(), value]).collect()
}

fn found(prefix: &str, key: &[u8]) -> Option<Found> {
    let (tag, name) = parts_of(prefix, key)?;
    let kinds: &[u8] = match tag {
        OUT => b"n",
        COMMON => b"kp",
        _ if tag < super::keys::TAGS => b"asldh",
        _ => b"",
    };
    let is_kept = name.first().is_some_and(|kind| kinds.contains(kind));
    is_kept.then(|| Found { tag, name: name.to_vec() })
}

/// A key in the words of a backup.
fn taken(kind: u8, rest: &[u8], reply: Reply, kept: &mut Vec<Kept>) -> Result<(), StoreError> {
    match kind {
        b'n' => {
            let bytes = reply.bytes()?;
            let at = bytes.split(|byte| *byte == b' ').map(|at| number(at).map(UnixMs));
            let at = at.collect::<Result<_, _>>()?;
            kept.push(Kept::Sends { number: NumberKey(text(rest)?.to_owned()), at });
            return Ok(());
        }
        b'p' => {
            // What waits for a second operator is asked for anew.
            if rest != Board::Suspensions.word().as_bytes() {
                return Ok(());
            }
            for (id, note) in reply.fields()?.iter() {
                let note = list(note)?;
                let [until, value] = note.as_slice() else { return Err(corrupt("a note")) };
                let (id, until) = (id.to_owned(), UnixMs(number(until)?));
                kept.push(Kept::Suspension { id, value: value.to_vec(), until });
            }
            return Ok(());
        }
        b'k' => {
            kept.push(Kept::Key { name: text(rest)?.to_owned(), value: reply.bytes()? });
            return Ok(());
        }
        _ => {}
    }
    let (account, behind) =
        super::keys::account_and_rest(rest).ok_or_else(|| corrupt("a key's name"))?;
    match kind {
        b'a' => of_account(account, &reply.fields()?, kept),
        b's' => {
            let fields = reply.fields()?;
            let Some(last) = sighting_in(&fields)? else { return Ok(()) };
            let credential = credential_from(behind)?;
            kept.push(Kept::Session { account, credential, last });
            Ok(())
        }
        b'l' => {
            for (action, buckets) in buckets_of(&reply.fields()?)? {
                let (account, action) = (account.clone(), ActionName::new(action));
                kept.push(Kept::Counters { account, action, buckets });
            }
            Ok(())
        }
        b'd' => {
            for (destination, facts) in reply.fields()?.iter() {
                let (added, verified, touched) = address_of(facts)?;
                let (account, destination) = (account.clone(), destination.into());
                kept.push(Kept::Address { account, destination, added, verified, touched });
            }
            Ok(())
        }
        _ => of_holds(account, behind, &reply.bytes()?, kept),
    }
}

fn of_account(account: AccountId, fields: &Fields, kept: &mut Vec<Kept>) -> Result<(), StoreError> {
    let Account {
        frozen,
        thawed,
        security_changed,
        factors,
        tally,
        countries,
        asns,
        arrived,
        last,
        freezes,
        number_gone,
        ..
    } = Account::read(fields)?;
    let freezes = u64::try_from(freezes).unwrap_or(0);
    let places: Option<Sighting> = last;
    if !countries.is_empty() || !asns.is_empty() || places.is_some() {
        let account = account.clone();
        kept.push(Kept::Places { account, countries, asns, last: places, arrived });
    }
    kept.push(Kept::Account {
        account,
        frozen,
        thawed,
        security_changed,
        factors,
        tally,
        freezes,
        number_gone,
    });
    Ok(())
}

fn of_holds(
    account: AccountId,
    subject: &[u8],
    stored: &[u8],
    kept: &mut Vec<Kept>,
) -> Result<(), StoreError> {
    let subject = match subject.split_first() {
        Some((b'd', destination)) => HoldSubject::Destination(text(destination)?.into()),
        Some((b'i', intent)) => HoldSubject::Intent(text(intent)?.to_owned()),
        _ => return Err(corrupt("a key's name")),
    };
    let items = list(stored)?;
    let Some((round, holds)) = items.split_first() else { return Err(corrupt("a hold")) };
    let hold = |hold: &[&[u8]]| match hold {
        [rule, since] => {
            Ok(HoldRunning { rule: RuleId::new(text(rule)?), since: UnixMs(number(since)?) })
        }
        _ => Err(corrupt("a hold")),
    };
    let running = holds.chunks(2).map(hold).collect::<Result<_, _>>()?;
    let freezes = u64::try_from(number(round)?).unwrap_or(0);
    kept.push(Kept::Holds { account, subject, freezes, running });
    Ok(())
}

fn credential_from(behind: &[u8]) -> Result<Credential, StoreError> {
    let (kind, id) = text(behind)?.split_once(':').ok_or_else(|| corrupt("a key's name"))?;
    let kind = CredentialKind::from_word(kind).ok_or_else(|| corrupt("a key's name"))?;
    Ok(Credential { kind, id: CredentialId::new(id) })
}
