//! A month of an exchange's audit log, made from a seed: people with habits, bots, travellers, and a wave of thefts as in
//! 2017. Each request is decided by the real policy and written as the real record; what another rule would change is
//! known from how a request was made up, never from asking that rule.
#![allow(dead_code)] // The test and the bench use different parts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use stepgate::audit::chain::Head;
use stepgate::audit::{Event, PlaceNoted, Record, RequestState, RuleNoted, redact};
use stepgate::classify;
use stepgate::fault::Source;
use stepgate::policy::facts::{
    AddressFacts, CounterTotal, Counters, Elevation, Fact, Facts, Geo, HoldRunning, Window,
};
use stepgate::policy::verdict::{Decision, Valid, Verdict};
use stepgate::policy::{self, PolicySet, told};
use stepgate::types::{
    AccountId, ActionName, ChallengeId, Credential, CredentialId, CredentialKind, Factor,
    FactorSet, FieldValue, Fields, RequestId, Shown, SiteName, UnixMs,
};

pub const SHIPPED: &str = include_str!("../../policies/exchange.policy.toml");
pub const PACK: &str = include_str!("../../policies/okx.actions.toml");

/// 2026-11-01 00:00 UTC.
const BEGIN: i64 = 1_793_491_200_000;
const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
pub const DAYS: i64 = 30;
/// The day of the thefts.
const WAVE: i64 = 12;

/// One rule that is changed, and with it what has to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// `large-withdrawal` from 2,000 USD on.
    LowerLimit,
    /// `contract-to-spot` taken out.
    NoTransferRule,
    /// Sessions from data centres are asked for TOTP, which then holds for four hours.
    HostingAsked,
    /// A new address waits three days, not one.
    LongerWait,
}

impl Changed {
    pub const ALL: [Self; 4] =
        [Self::LowerLimit, Self::NoTransferRule, Self::HostingAsked, Self::LongerWait];

    /// The shipped policy with this change.
    pub fn policy(self) -> String {
        let swapped = |from: &str, to: &str| {
            assert_eq!(SHIPPED.matches(from).count(), 1, "{from}");
            SHIPPED.replace(from, to)
        };
        match self {
            Self::LowerLimit => swapped("usd_value > 10_000 or", "usd_value > 2_000 or"),
            Self::NoTransferRule => swapped(
                "[[rule]]\nid = \"contract-to-spot\"\non = \"transfer\"\nwhen = \"transfer.from is contract and transfer.to is spot\"\nrequire = \"totp or sms\"\n",
                "",
            ),
            Self::HostingAsked => format!("{SHIPPED}{HOSTING_RULE}"),
            Self::LongerWait => swapped(
                "when = \"address.age < 24h\"\nunless = \"usd_value < 200 and address.verified\"\nhold = \"24h\"",
                "when = \"address.age < 72h\"\nunless = \"usd_value < 200 and address.verified\"\nhold = \"72h\"",
            ),
        }
    }
}

const HOSTING_RULE: &str = r#"
[[rule]]
id = "data-centre"
on = ["mass_cancel", "transfer", "withdrawal", "address_book.add"]
when = "geo.network is hosting and credential.kind is session"
require = "totp"
valid = "4h"
"#;

/// What has to be found under one change.
#[derive(Debug, Default)]
pub struct Planted {
    /// Kind → request ids.
    pub ids: BTreeMap<&'static str, BTreeSet<String>>,
    pub usd: BTreeMap<&'static str, u64>,
    pub accounts: BTreeMap<&'static str, BTreeSet<String>>,
    pub covered: u64,
    pub held_again: u64,
    pub stranded: u64,
    pub never_answered: u64,
}

/// The log that was written, and what is known of it.
#[derive(Debug, Default)]
pub struct Month {
    pub requests: u64,
    pub follow_ups: u64,
    pub lines: u64,
    pub accounts: usize,
    pub prompts: u64,
    pub planted: BTreeMap<Changed, Planted>,
}

/// A policy as the site of a kit with OKX's pack loads it.
pub fn loaded(text: &str) -> PolicySet {
    let mut faults = Vec::new();
    let pack = Source::new("site.actions.toml", PACK);
    let actions = classify::load(std::slice::from_ref(&pack), &mut faults).unwrap();
    let source = Source::new("site.policy.toml", text);
    let salt = [PACK.as_bytes()];
    policy::load(&source, &actions.action_names(), &salt, &mut faults).unwrap()
}

/// Writes a month of about so many requests.
pub fn write(file: &Path, seed: u64, accounts: usize, requests: usize) -> Month {
    let out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(file).unwrap());
    let mut maker = Maker::new(seed, accounts, requests, out);
    for day in 0..DAYS {
        maker.plan(day);
        maker.run_until(BEGIN + (day + 1) * DAY);
    }
    maker.out.write_all(&maker.buffer).unwrap();
    maker.out.flush().unwrap();
    maker.month
}

/// A small generator of numbers (splitmix64): the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.roll() % u64::try_from(high - low).unwrap()).unwrap()
    }
    fn percent(&mut self, chance: u64) -> bool {
        self.roll() % 100 < chance
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Person,
    Bot,
    /// Is abroad for some days of the month.
    Traveller,
    /// Trades through a data centre's network; `usize` of them have no TOTP.
    Vpn,
    /// Withdraws 2,500 to 9,500 USD to one address, again and again.
    Collector,
    /// Adds addresses and uses them a day or two later.
    Adder,
    Victim {
        hijacked: bool,
    },
}

struct Place {
    country: &'static str,
    city: &'static str,
    asn: u32,
    network: &'static str,
    net: [u8; 2],
    /// East of Greenwich.
    hours: i64,
}

const fn place(
    country: &'static str,
    city: &'static str,
    asn: u32,
    network: &'static str,
    net: [u8; 2],
    hours: i64,
) -> Place {
    Place { country, city, asn, network, net, hours }
}

const HOMES: [Place; 6] = [
    place("JP", "Tokyo", 2516, "ordinary", [106, 72], 9),
    place("KR", "Seoul", 4766, "ordinary", [121, 130], 9),
    place("TW", "Taipei", 3462, "ordinary", [114, 24], 8),
    place("HK", "Hong Kong", 4760, "mobile", [112, 118], 8),
    place("SG", "Singapore", 9506, "ordinary", [116, 14], 8),
    place("DE", "Berlin", 3320, "ordinary", [91, 4], 1),
];
const ABROAD: [Place; 3] = [
    place("TH", "Bangkok", 45_629, "mobile", [49, 228], 7),
    place("FR", "Paris", 3215, "ordinary", [90, 2], 1),
    place("AU", "Sydney", 1221, "ordinary", [101, 160], 10),
];
const THIEVES: [Place; 3] = [
    place("DE", "Frankfurt am Main", 24_940, "hosting", [95, 90], 1),
    place("RU", "Moscow", 49_505, "hosting", [95, 213], 3),
    place("NL", "Amsterdam", 60_781, "hosting", [95, 168], 1),
];
/// Where VPN users come out, wherever they live: in their own country.
const VPN_ASN: u32 = 9009;

struct Address {
    text: String,
    added: i64,
    used: i64,
}

struct Account {
    name: String,
    habit: Habit,
    home: usize,
    factors: FactorSet,
    countries: Vec<&'static str>,
    addresses: Vec<Address>,
    elevations: Vec<(String, Elevation)>,
    holds: HashMap<String, Vec<HoldRunning>>,
    done: Vec<(i64, &'static str, u64)>,
    abroad: Option<(i64, i64, usize)>,
    /// By the session and place that answered: until when it holds, if sessions from data centres are asked.
    data_centre: HashMap<String, i64>,
    /// Destinations that would have been held before, if new addresses waited longer.
    held_longer: BTreeSet<String>,
}

/// Something that happens to an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Plan {
    at: i64,
    /// Keeps the order of what happens in the same millisecond.
    order: u64,
    who: usize,
    what: What,
    session: String,
    thief: Option<usize>,
    /// Uses the approval of this challenge.
    follows: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Look,
    MassCancel,
    ToContract,
    ToSpot,
    Add(String),
    /// To the address of this name, so many USD.
    Withdraw(String, u64),
}

struct Maker<W: Write> {
    dice: Dice,
    policy: PolicySet,
    accounts: Vec<Account>,
    bot_rate: i64,
    queue: BinaryHeap<Reverse<Plan>>,
    order: u64,
    ids: u64,
    head: Head,
    out: W,
    buffer: Vec<u8>,
    month: Month,
}

impl<W: Write> Maker<W> {
    fn new(seed: u64, accounts: usize, requests: usize, out: W) -> Self {
        let mut dice = Dice(seed);
        let all: Vec<Account> = (0..accounts).map(|at| account(at, accounts, &mut dice)).collect();
        let bots = all.iter().filter(|it| it.habit == Habit::Bot).count().max(1);
        // What the others do is about 1.1 requests a day.
        let others = (accounts - bots) as f64 * 1.1 * DAYS as f64;
        let rate = (requests as f64 - others).max(0.0) / (bots as f64 * DAYS as f64);
        let month = Month {
            accounts,
            planted: Changed::ALL.into_iter().map(|it| (it, Planted::default())).collect(),
            ..Month::default()
        };
        Self {
            dice,
            policy: loaded(SHIPPED),
            accounts: all,
            bot_rate: rate.round() as i64,
            queue: BinaryHeap::new(),
            order: 0,
            ids: 0,
            head: Head::GENESIS,
            out,
            buffer: Vec::new(),
            month,
        }
    }

    fn push(&mut self, at: i64, who: usize, what: What, session: &str, thief: Option<usize>) {
        self.order += 1;
        let (order, session) = (self.order, session.to_owned());
        self.queue.push(Reverse(Plan { at, order, who, what, session, thief, follows: None }));
    }

    /// A time in the working hours of whoever is at home there.
    fn waking(&mut self, day: i64, who: usize) -> i64 {
        let local = self.dice.between(8 * HOUR, 22 * HOUR);
        let east = HOMES[self.accounts[who].home].hours * HOUR;
        BEGIN + day * DAY + (local - east).rem_euclid(DAY)
    }

    fn plan(&mut self, day: i64) {
        for who in 0..self.accounts.len() {
            match self.accounts[who].habit {
                Habit::Bot => self.plan_bot(day, who),
                Habit::Vpn => self.plan_vpn(day, who),
                Habit::Collector => self.plan_collector(day, who),
                Habit::Adder => self.plan_adder(day, who),
                Habit::Person | Habit::Traveller => self.plan_person(day, who),
                Habit::Victim { hijacked } => {
                    self.plan_person(day, who);
                    if day == WAVE {
                        self.plan_theft(day, who, hijacked);
                    }
                }
            }
        }
    }

    fn plan_bot(&mut self, day: i64, who: usize) {
        let times = (self.bot_rate + self.dice.between(-2, 3)).max(0);
        for _ in 0..times {
            let at = BEGIN + day * DAY + self.dice.between(0, DAY);
            let what = match self.dice.roll() % 3 {
                0 => What::ToContract,
                _ => What::MassCancel,
            };
            self.push(at, who, what, "key", None);
        }
    }

    fn plan_person(&mut self, day: i64, who: usize) {
        let session = format!("s{day}");
        let is_abroad = self.accounts[who].abroad.is_some_and(|it| (it.0..it.1).contains(&day));
        if is_abroad {
            let at = self.waking(day, who);
            self.push(at, who, What::Look, &session, None);
            self.push(at + 5 * MINUTE, who, What::MassCancel, &session, None);
            return;
        }
        if self.dice.percent(30) {
            let at = self.waking(day, who);
            self.push(at, who, What::ToContract, &session, None);
        }
        if self.dice.percent(20) && !matches!(self.accounts[who].habit, Habit::Traveller) {
            let at = self.waking(day, who);
            self.push(at, who, What::ToSpot, &session, None);
        }
        if self.dice.percent(15) {
            let at = self.waking(day, who);
            self.push(at, who, What::MassCancel, &session, None);
        }
        if self.dice.percent(20) {
            let at = self.waking(day, who);
            // Below every limit, or above all of them.
            let usd = match self.dice.percent(5) {
                true => self.dice.between(11_000, 20_000),
                false => self.dice.between(50, 1_900),
            };
            let usd = u64::try_from(usd).unwrap();
            self.push(at, who, What::Withdraw("old".into(), usd), &session, None);
        }
    }

    fn plan_vpn(&mut self, day: i64, who: usize) {
        if !self.dice.percent(40) {
            return;
        }
        let (at, session) = (self.waking(day, who), format!("s{day}"));
        for n in 0..self.dice.between(1, 7) {
            let what = if n % 3 == 2 { What::ToContract } else { What::MassCancel };
            let at = at + n * self.dice.between(20 * MINUTE, 70 * MINUTE);
            self.push(at, who, what, &session, None);
        }
    }

    fn plan_collector(&mut self, day: i64, who: usize) {
        let (at, session) = (self.waking(day, who), format!("s{day}"));
        let usd = u64::try_from(self.dice.between(2_500, 9_500)).unwrap();
        self.push(at, who, What::Withdraw("old".into(), usd), &session, None);
    }

    /// A new address, and payments to it after some hours (held), after a day or two, after four days.
    fn plan_adder(&mut self, day: i64, who: usize) {
        if day % 6 != (who as i64) % 6 || day + 6 > DAYS {
            return;
        }
        let (at, session) = (self.waking(day, who), format!("s{day}"));
        let name = format!("new{day}");
        self.push(at, who, What::Add(name.clone()), &session, None);
        let mut waits = vec![self.dice.between(30 * HOUR, 60 * HOUR), 100 * HOUR];
        if self.dice.percent(30) {
            waits.push(self.dice.between(2 * HOUR, 20 * HOUR));
        }
        if self.dice.percent(30) {
            waits.push(self.dice.between(61 * HOUR, 71 * HOUR));
        }
        for wait in waits {
            let usd = u64::try_from(self.dice.between(300, 1_900)).unwrap();
            self.push(at + wait, who, What::Withdraw(name.clone(), usd), &session, None);
        }
    }

    /// Entered within hours of one night: everything cancelled, moved out of the contract account, sent away.
    fn plan_theft(&mut self, day: i64, who: usize, hijacked: bool) {
        let from = usize::try_from(self.dice.roll() % 3).unwrap();
        let mut at = BEGIN + day * DAY + self.dice.between(HOUR, 6 * HOUR);
        let (session, few) = (format!("x{day}"), self.dice.roll() % 3);
        let mule = format!("mule{few}");
        let mut steps = vec![What::Look, What::MassCancel, What::ToSpot];
        if hijacked {
            steps.push(What::Add(mule.clone()));
            for _ in 0..3 {
                let usd = u64::try_from(self.dice.between(3_000, 30_000)).unwrap();
                steps.push(What::Withdraw(mule.clone(), usd));
            }
        }
        for what in steps {
            at += self.dice.between(6 * MINUTE, 15 * MINUTE);
            self.push(at, who, what, &session, Some(from));
        }
    }

    fn run_until(&mut self, end: i64) {
        while self.queue.peek().is_some_and(|next| next.0.at < end) {
            if let Some(Reverse(plan)) = self.queue.pop() {
                self.happen(&plan);
            }
        }
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("{:08x}-0000-7000-8000-{:012x}", self.dice.0 >> 32, self.ids)
    }

    /// One request: decided, recorded, and lived with.
    fn happen(&mut self, plan: &Plan) {
        let request = self.id();
        let seen = Seen::of(&self.accounts[plan.who], plan);
        let facts = seen.facts();
        let decision = self.policy.decide(std::slice::from_ref(&facts));
        let told = told::tell(std::slice::from_ref(&facts));
        let mut record = seen.record(plan, &request, &decision);
        record.facts = told;
        record.elevations.clone_from(&seen.elevations);
        record.holds.clone_from(&seen.holds);
        let answers = match plan.thief {
            Some(_) => matches!(self.accounts[plan.who].habit, Habit::Victim { hijacked: true }),
            None => self.dice.percent(97),
        };
        let is_first = plan.follows.is_none();
        let recorded = match &decision.verdict {
            Verdict::Allow(_) => self.passes(plan, record, &seen),
            Verdict::Require(_) if !is_first => self.passes(plan, record, &seen),
            Verdict::Require(requirement) => {
                let challenge = format!("c{request}");
                let is_look = plan.what == What::Look;
                self.month.prompts += 1;
                record.event = Event::ChallengeOpened;
                record.challenge = Some(ChallengeId::new(challenge.clone()));
                if is_look {
                    record.action = Some(ActionName::new("login"));
                }
                self.plant(plan, &request, &seen, "require", answers);
                self.line(record.clone());
                self.month.requests += 1;
                if answers {
                    self.answered(plan, &record, requirement, &seen, &challenge);
                }
                return;
            }
            Verdict::Hold { starts, .. } => {
                record.event = Event::Refusal;
                let holds = self.accounts[plan.who].holds.entry(seen.destination()).or_default();
                let since = UnixMs(plan.at);
                // As a store does: the one before was served, and is over.
                holds.retain(|hold| !starts.contains(&hold.rule));
                holds.extend(starts.iter().map(|rule| HoldRunning { rule: rule.clone(), since }));
                self.line(record);
                true
            }
            Verdict::Deny { .. } | Verdict::Freeze { .. } => {
                unreachable!("no such rule is shipped")
            }
        };
        if !recorded {
            return;
        }
        self.month.requests += 1;
        match is_first {
            true => self.plant(plan, &request, &seen, decision.verdict.word(), answers),
            false => self.month.follow_ups += 1,
        }
    }

    /// The owner gave the code: an approval or an elevation, and the request is made again.
    fn answered(
        &mut self,
        plan: &Plan,
        opened: &Record,
        requirement: &stepgate::policy::verdict::Requirement,
        seen: &Seen,
        challenge: &str,
    ) {
        let at = plan.at + self.dice.between(10 * SECOND, 50 * SECOND);
        let mut approved = Record::new(UnixMs(at), Event::ChallengeApproved);
        approved.request = Some(RequestId::new(self.id()));
        approved.site.clone_from(&opened.site);
        approved.group.clone_from(&opened.group);
        approved.account.clone_from(&opened.account);
        approved.challenge.clone_from(&opened.challenge);
        approved.factor = Some(Factor::Totp);
        // It happens when it happens: written with the next request of this account, before it.
        let account = &mut self.accounts[plan.who];
        for term in requirement.terms.iter() {
            let Some(valid) = term.valid else { continue };
            let ms = match valid {
                Valid::Session => 86_400_000,
                Valid::ForMs(ms) => ms,
            };
            let elevation = Elevation {
                rule: term.rule.clone(),
                factors: account.factors,
                place: seen.place_key.as_str().into(),
                until: UnixMs(at).plus_ms(ms),
            };
            account.elevations.push((plan.session.clone(), elevation));
        }
        if plan.what == What::Look {
            account.countries.push(seen.place.country);
            self.line(approved);
            return;
        }
        self.line(approved);
        self.order += 1;
        let follows = Some(challenge.to_owned());
        let again = Plan { at: at + SECOND, order: self.order, follows, ..plan.clone() };
        self.queue.push(Reverse(again));
    }

    /// Answers whether there is a record of it.
    fn passes(&mut self, plan: &Plan, mut record: Record, seen: &Seen) -> bool {
        let account = &mut self.accounts[plan.who];
        if !account.countries.contains(&seen.place.country) {
            account.countries.push(seen.place.country);
        }
        if plan.what == What::Look {
            // Ordinary traffic that passes leaves no line unless a shadow rule spoke.
            let recorded = record.rules.iter().any(|rule| rule.shadow);
            if recorded {
                record.event = Event::Decision;
                self.line(record);
            }
            return recorded;
        }
        let (now, usd) = (plan.at, seen.usd.unwrap_or(0));
        account.done.push((now, seen.action, usd));
        account.done.retain(|(at, ..)| *at > now - 7 * DAY);
        match &plan.what {
            What::Add(name) => {
                let text = address(name, &account.name);
                account.addresses.retain(|known| known.text != text);
                account.addresses.push(Address { text, added: now, used: now });
            }
            What::Withdraw(name, _) => {
                let text = address(name, &account.name);
                account
                    .addresses
                    .iter_mut()
                    .filter(|it| it.text == text)
                    .for_each(|it| it.used = now);
            }
            _ => {}
        }
        record.event = Event::Intent;
        record.state = Some(RequestState::Sending);
        let mut outcome = record.clone();
        outcome.event = Event::Outcome;
        outcome.time = UnixMs(now + 40);
        outcome.state = Some(RequestState::Done);
        outcome.upstream_status = Some(200);
        outcome.facts.clear();
        (outcome.elevations, outcome.holds) = (Vec::new(), Vec::new());
        self.line(record);
        self.line(outcome);
        true
    }

    fn line(&mut self, record: Record) {
        self.head.append(&redact::clean(record), &mut self.buffer).unwrap();
        self.month.lines += 1;
        if self.buffer.len() > 1 << 16 {
            self.out.write_all(&self.buffer).unwrap();
            self.buffer.clear();
        }
    }

    /// What each change makes of a first request, by how it was made up.
    fn plant(&mut self, plan: &Plan, request: &str, seen: &Seen, old: &str, answers: bool) {
        let account = &mut self.accounts[plan.who];
        let habit = account.habit;
        let all = &mut self.month.planted;
        if habit == Habit::Collector {
            under(all, Changed::LowerLimit).put("asked_for_more", request, seen);
        }
        let locked_out = plan.thief.is_some() && habit == (Habit::Victim { hijacked: false });
        if plan.what == What::ToSpot && !locked_out {
            let planted = under(all, Changed::NoTransferRule);
            planted.put("no_longer_asked", request, seen);
            planted.never_answered += u64::from(!answers);
        }
        if matches!(plan.what, What::Withdraw(..)) && seen.is_young_under_longer_wait(old) {
            let again = !account.held_longer.insert(seen.to.clone()) && seen.holds.is_empty();
            let planted = under(all, Changed::LongerWait);
            planted.put("newly_held", request, seen);
            planted.held_again += u64::from(again);
        }
        if matches!(plan.what, What::Withdraw(..)) && seen.is_served_under_longer_wait(old) {
            under(all, Changed::LongerWait).put("no_longer_held", request, seen);
        }
        let listed = plan.what != What::Look && old != "hold";
        if listed && seen.network == "hosting" && seen.kind == CredentialKind::Session {
            let key = format!("{} {}", plan.session, seen.place.country);
            let holds = account.data_centre.get(&key).is_some_and(|until| *until > plan.at);
            let can = account.factors.contains(Factor::Totp);
            let hosting = under(all, Changed::HostingAsked);
            if holds {
                hosting.covered += u64::from(old == "allow");
                return;
            }
            hosting.stranded += u64::from(!can);
            if can {
                account.data_centre.insert(key, plan.at + 4 * HOUR);
            }
            let kind = if old == "allow" { "newly_asked" } else { "asked_for_more" };
            hosting.put(kind, request, seen);
        }
    }
}

fn under(all: &mut BTreeMap<Changed, Planted>, changed: Changed) -> &mut Planted {
    all.get_mut(&changed).unwrap()
}

impl Planted {
    fn put(&mut self, kind: &'static str, request: &str, seen: &Seen) {
        self.ids.entry(kind).or_default().insert(request.to_owned());
        self.accounts.entry(kind).or_default().insert(seen.account.clone());
        *self.usd.entry(kind).or_default() += seen.usd.unwrap_or(0);
    }
}

fn address(name: &str, account: &str) -> String {
    match name.starts_with("mule") {
        // Few addresses for many accounts.
        true => format!("bc1q{name}{}", "0".repeat(30)),
        false => format!("bc1q{name}{account}{}", "0".repeat(20)),
    }
}

fn account(at: usize, of: usize, dice: &mut Dice) -> Account {
    let both: FactorSet = [Factor::Totp, Factor::Sms].into_iter().collect();
    let only_sms: FactorSet = [Factor::Sms].into_iter().collect();
    let share = at * 1000 / of;
    let habit = match share {
        0..200 => Habit::Bot,
        200..250 => Habit::Traveller,
        250..280 => Habit::Vpn,
        280..300 => Habit::Collector,
        300..320 => Habit::Adder,
        320..332 => Habit::Victim { hijacked: at.is_multiple_of(2) },
        _ => Habit::Person,
    };
    // The wave hits accounts of East Asia; nobody lives where the thieves come from.
    let homes = if matches!(habit, Habit::Victim { .. }) { 4 } else { 6 };
    let home = usize::try_from(dice.roll() % homes).unwrap();
    let factors = match habit {
        Habit::Vpn if at.is_multiple_of(5) => only_sms,
        Habit::Person if at.is_multiple_of(7) => only_sms,
        _ => both,
    };
    let abroad = (habit == Habit::Traveller).then(|| {
        let from = dice.between(2, 22);
        (from, from + dice.between(2, 7), usize::try_from(dice.roll() % 3).unwrap())
    });
    let name = format!("{}-{at:05}", HOMES[home].country.to_lowercase());
    let old = Address { text: address("old", &name), added: BEGIN - 200 * DAY, used: BEGIN - DAY };
    Account {
        habit,
        home,
        factors,
        countries: vec![HOMES[home].country],
        addresses: vec![old],
        elevations: Vec::new(),
        holds: HashMap::new(),
        done: Vec::new(),
        abroad,
        data_centre: HashMap::new(),
        held_longer: BTreeSet::new(),
        name,
    }
}

/// What the gateway sees of one request.
struct Seen {
    account: String,
    now: UnixMs,
    action: &'static str,
    fields: Fields,
    usd: Option<u64>,
    place: &'static Place,
    network: &'static str,
    asn: u32,
    client: IpAddr,
    kind: CredentialKind,
    new_country: bool,
    abroad: bool,
    counters: Counters,
    address: Fact<AddressFacts>,
    address_age: Option<i64>,
    factors: FactorSet,
    elevations: Vec<Elevation>,
    holds: Vec<HoldRunning>,
    place_key: String,
    to: String,
}

impl Seen {
    fn of(account: &Account, plan: &Plan) -> Self {
        let day = (plan.at - BEGIN) / DAY;
        let abroad = account.abroad.filter(|it| (it.0..it.1).contains(&day));
        let place = match (plan.thief, abroad) {
            (Some(from), _) => &THIEVES[from],
            (None, Some((.., to))) => &ABROAD[to],
            (None, None) => &HOMES[account.home],
        };
        let vpn = account.habit == Habit::Vpn;
        let host = u8::try_from(plan.who % 250).unwrap();
        let client = IpAddr::from([place.net[0], place.net[1], u8::from(vpn), host]);
        let (action, fields, usd, to) = described(account, &plan.what);
        let known = account.addresses.iter().find(|known| known.text == to);
        let age = known.map(|known| plan.at - known.added);
        let ms = |ms: i64| u64::try_from(ms).unwrap();
        let address = match (known, &plan.what) {
            (Some(known), What::Withdraw(..) | What::Add(_)) => Fact::Known(AddressFacts {
                known: true,
                verified: false,
                age_ms: ms(plan.at - known.added),
                idle_ms: ms(plan.at - known.used),
            }),
            (None, What::Withdraw(..) | What::Add(_)) => {
                Fact::Known(AddressFacts { known: false, verified: false, age_ms: 0, idle_ms: 0 })
            }
            _ => Fact::Absent,
        };
        let elevations = account.elevations.iter();
        let holding = |(session, elevation): &&(String, Elevation)| {
            *session == plan.session && elevation.until.0 > plan.at
        };
        let kind = match account.habit {
            Habit::Bot => CredentialKind::ApiKey,
            _ => CredentialKind::Session,
        };
        let mut seen = Self {
            account: account.name.clone(),
            now: UnixMs(plan.at),
            action,
            fields,
            usd,
            place,
            network: if vpn { "hosting" } else { place.network },
            asn: if vpn { VPN_ASN } else { place.asn },
            client,
            kind,
            new_country: !account.countries.contains(&place.country),
            abroad: abroad.is_some() || plan.thief.is_some(),
            counters: counters(account, plan.at),
            address,
            address_age: age,
            factors: account.factors,
            elevations: elevations.filter(holding).map(|(_, it)| it.clone()).collect(),
            holds: Vec::new(),
            place_key: place.country.to_owned(),
            to,
        };
        seen.holds = account.holds.get(&seen.destination()).cloned().unwrap_or_default();
        seen
    }

    /// Added one to three days ago; or never added, and its hold of a day is over while one of three days is not.
    fn is_young_under_longer_wait(&self, old: &str) -> bool {
        match self.address_age {
            Some(age) => (24 * HOUR..72 * HOUR).contains(&age),
            None => {
                let since = self.holds.iter().map(|hold| hold.since.0).min();
                old == "require" && since.is_some_and(|since| self.now.0 - since < 72 * HOUR)
            }
        }
    }

    /// Never added; the hold of a day was served, and that is over by now, while one of three days serves for longer.
    fn is_served_under_longer_wait(&self, old: &str) -> bool {
        let since = self.holds.iter().map(|hold| hold.since.0).max();
        let age = since.map(|since| self.now.0 - since);
        let served = age.is_some_and(|age| (72 * HOUR..144 * HOUR).contains(&age));
        self.address_age.is_none() && old == "hold" && served
    }

    fn destination(&self) -> String {
        self.to.clone()
    }

    fn facts(&self) -> Facts<'_> {
        let distance = if self.abroad { 4_500.125 } else { 0.0 };
        Facts {
            now: self.now,
            site: "main",
            action: self.action,
            fields: &self.fields,
            usd_value: self.usd.map_or(Fact::Absent, |usd| Fact::Known(usd.into())),
            client: self.client,
            credential: Some(self.kind),
            session_age_ms: match self.kind {
                CredentialKind::ApiKey => Fact::Absent,
                _ => Fact::Known(1_234_567),
            },
            geo: Geo {
                country: Fact::Known(self.place.country),
                city: Fact::Known(self.place.city),
                asn: Fact::Known(self.asn),
                network: self.network,
                new_country: Fact::Known(self.new_country),
                country_age: Fact::Known(if self.new_country { 0 } else { 400 * 86_400_000 }),
                new_asn: Fact::Known(self.new_country),
                first_place: false,
                distance_km: Fact::Known(distance),
                speed_kmh: Fact::Known(distance / 4.0),
            },
            counters: match self.action {
                "ordinary" => Fact::Absent,
                _ => Fact::Known(&self.counters),
            },
            address: self.address,
            factors: self.factors,
            security_change_age_ms: Fact::Absent,
            elevations: &self.elevations,
            place_key: &self.place_key,
            holds: &self.holds,
        }
    }

    fn record(&self, plan: &Plan, request: &str, decision: &Decision) -> Record {
        let account = &self.account;
        let credential = match self.kind {
            CredentialKind::ApiKey => format!("{account}-key"),
            _ => format!("{account}-{}", plan.session),
        };
        // A line is written a moment after the decision.
        let mut record = Record::new(UnixMs(plan.at + 3), Event::Intent)
            .of_account(&AccountId::new("main", account.as_str()))
            .with_credential(&Credential { kind: self.kind, id: CredentialId::new(credential) });
        record.request = Some(RequestId::new(request));
        record.site = Some(SiteName::new("main"));
        record.client = Some(self.client);
        record.place = Some(PlaceNoted {
            country: Some(self.place.country.into()),
            city: Some(self.place.city.into()),
            asn: Some(self.asn),
            network: self.network.into(),
        });
        record.method = Some("POST".into());
        record.path = Some("/api/v5/asset/example".into());
        record.action = (plan.what != What::Look).then(|| ActionName::new(self.action));
        let shown = self.fields.iter().filter_map(|(name, value)| match value {
            FieldValue::Text(value) => Some(Shown { name: name.clone(), value: value.clone() }),
            FieldValue::Unreadable => None,
        });
        record.shown = shown.collect();
        record.rules = decision
            .said
            .iter()
            .map(|said| RuleNoted {
                rule: said.rule.clone(),
                outcome: said.outcome.into(),
                shadow: said.shadow,
                satisfied: said.satisfied,
            })
            .collect();
        record.policy = Some(decision.version.clone());
        record.verdict = (!decision.said.is_empty()).then(|| decision.verdict.word().into());
        record.challenge = plan.follows.clone().map(ChallengeId::new);
        record
    }
}

fn described(account: &Account, what: &What) -> (&'static str, Fields, Option<u64>, String) {
    let mut fields = Fields::default();
    let mut set = |name: &str, value: &str| fields.set(name, FieldValue::Text(value.into()));
    let (action, usd, to) = match what {
        What::Look => ("ordinary", None, String::new()),
        What::MassCancel => ("mass_cancel", None, String::new()),
        What::ToContract | What::ToSpot => {
            let (from, to) =
                if *what == What::ToSpot { ("contract", "spot") } else { ("spot", "contract") };
            set("asset", "USDT");
            set("amount", "250");
            set("transfer.from", from);
            set("transfer.to", to);
            ("transfer", Some(250), String::new())
        }
        What::Add(name) => {
            let to = address(name, &account.name);
            set("address", &to);
            ("address_book.add", None, to)
        }
        What::Withdraw(name, usd) => {
            let to = address(name, &account.name);
            set("asset", "USDT");
            set("amount", &usd.to_string());
            set("address", &to);
            set("network", "USDT-TRC20");
            ("withdrawal", Some(*usd), to)
        }
    };
    (action, fields, usd, to)
}

fn counters(account: &Account, now: i64) -> Counters {
    let mut rows: Vec<(Arc<str>, Window, CounterTotal)> = Vec::new();
    for action in ["withdrawal", "transfer", "mass_cancel"] {
        for window in Window::ALL {
            let begin = now - i64::try_from(window.ms()).unwrap();
            let done = account.done.iter().filter(|(at, name, _)| *at > begin && *name == action);
            let (count, usd) = done.fold((0, 0), |(count, sum), (.., usd)| (count + 1, sum + usd));
            if count > 0 {
                rows.push((action.into(), window, CounterTotal { count, usd: Some(usd.into()) }));
            }
        }
    }
    Counters(rows)
}
