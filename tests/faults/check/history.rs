//! What happened in a run, as its witnesses saw it: the customers, the exchange, the gateways' logs, whoever broke things.
//!
//! Times are the machine's, in milliseconds; all witnesses stand on one machine.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Default)]
pub struct History {
    pub executed: Vec<Executed>,
    pub asked: Vec<Asked>,
    pub answered: Vec<Answered>,
    pub plain: Vec<Plain>,
    pub frozen: Vec<Frozen>,
    pub noted: Vec<Noted>,
    pub faults: Vec<Fault>,
    pub recoveries: Vec<Recovery>,
    pub chains: Vec<Chain>,
}

/// A guarded request that reached the exchange.
#[derive(Clone, Debug)]
pub struct Executed {
    pub at: i64,
    pub account: String,
    /// The request id that the gateway signed.
    pub request: String,
    /// Its body: no two orders of a run have the same.
    pub order: String,
}

/// How a call ended, as its caller saw it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub gateway: usize,
    pub account: String,
    pub sent: i64,
    pub done: i64,
    /// None: the connection failed.
    pub status: Option<u16>,
    pub retry_after: bool,
    /// The gateway's own word for what was wrong.
    pub error: String,
    /// The request id, if there was an answer.
    pub request: String,
}

/// A customer's order: the guarded action itself.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub call: Call,
    pub order: String,
    /// The challenge that was shown.
    pub challenge: Option<String>,
}

/// A customer's code.
#[derive(Clone, Debug, Default)]
pub struct Answered {
    pub call: Call,
    pub challenge: String,
    /// The TOTP step that the code is of; none: it was made up.
    pub step: Option<u64>,
}

/// A request that owes nothing.
#[derive(Clone, Debug, Default)]
pub struct Plain {
    pub call: Call,
    pub write: bool,
}

/// From the answer that said "frozen" until a thaw was asked for.
#[derive(Clone, Debug)]
pub struct Frozen {
    pub account: String,
    pub from: i64,
    pub until: i64,
}

/// A line of a gateway's audit log.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    pub gateway: usize,
    pub at: i64,
    pub event: String,
    pub account: String,
    pub request: String,
    pub challenge: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL of the one server, and its restart from its append-only file.
    StoreKilled,
    /// SIGSTOP, later SIGCONT.
    StorePaused,
    /// No memory left to write to.
    StoreFull,
    /// SIGKILL of the master; a replica takes over.
    MasterKilled,
    /// SIGKILL of the master when its replicas have not heard its last writes: what was answered meanwhile is lost.
    MasterLost,
    /// SIGSTOP of the master; a replica takes over, and then the old master goes on where it was stopped.
    MasterPaused,
    GatewayKilled(usize),
}

impl Kind {
    pub fn is_stores(self) -> bool {
        !matches!(self, Self::GatewayKilled(_))
    }

    /// Whether nobody can be asked from its beginning to its end.
    pub fn is_total(self) -> bool {
        matches!(self, Self::StoreKilled | Self::StorePaused | Self::StoreFull)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StoreKilled => f.write_str("Redis killed and restarted"),
            Self::StorePaused => f.write_str("Redis paused"),
            Self::StoreFull => f.write_str("Redis full"),
            Self::MasterKilled => f.write_str("master killed, failover"),
            Self::MasterLost => f.write_str("master lost with its last writes"),
            Self::MasterPaused => f.write_str("master paused, failover"),
            Self::GatewayKilled(_) => f.write_str("gateway killed and restarted"),
        }
    }
}

/// Something was broken from the moment it surely was until the moment before it was mended.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub from: i64,
    pub until: i64,
}

impl Fault {
    fn overlaps(&self, call: &Call) -> bool {
        call.sent <= self.until && self.from <= call.done
    }

    /// The call began and ended within it.
    fn holds(&self, call: &Call) -> bool {
        self.from <= call.sent && call.done <= self.until
    }
}

/// How long after a fault a gateway answered guarded requests again; none: it never did.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    pub kind: Kind,
    pub gateway: usize,
    pub took_ms: Option<i64>,
}

/// What `audit verify` said of a gateway's log.
#[derive(Clone, Debug)]
pub struct Chain {
    pub gateway: usize,
    pub whole: bool,
    pub said: String,
}

impl History {
    /// Whether this call's gateway was being killed or not back yet.
    pub fn was_away(&self, call: &Call) -> bool {
        let mut faults = self.faults.iter();
        faults.any(|it| it.kind == Kind::GatewayKilled(call.gateway) && it.overlaps(call))
    }

    pub fn store_fault(&self, call: &Call) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.kind.is_stores() && fault.overlaps(call))
    }

    /// The fault during all of which, and of this call, nobody could be asked.
    pub fn without_store(&self, call: &Call) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.kind.is_total() && fault.holds(call))
    }

    /// How often a replica took over.
    pub fn failovers(&self) -> usize {
        let took_over = [Kind::MasterKilled, Kind::MasterLost, Kind::MasterPaused];
        self.faults.iter().filter(|fault| took_over.contains(&fault.kind)).count()
    }

    /// Everything about one account in its order, and what was broken meanwhile.
    pub fn story(&self, account: &str) -> String {
        let mut lines: BTreeMap<(i64, usize), String> = BTreeMap::new();
        let mut tell = |at: i64, text: String| {
            let number = lines.len();
            lines.insert((at, number), text);
        };
        for fault in &self.faults {
            tell(fault.from, format!("---- {:?} until {}", fault.kind, fault.until));
        }
        for it in self.asked.iter().filter(|it| it.call.account == account) {
            tell(it.call.sent, format!("asks {} {} → {:?}", it.order, it.call, it.challenge));
        }
        for it in self.answered.iter().filter(|it| it.call.account == account) {
            let step = it.step.map_or("a made-up code".to_owned(), |it| format!("step {it}"));
            tell(it.call.sent, format!("answers {} with {step} {}", it.challenge, it.call));
        }
        for it in self.plain.iter().filter(|it| it.call.account == account) {
            if it.call.status != Some(200) {
                tell(it.call.sent, format!("ordinary, write: {} {}", it.write, it.call));
            }
        }
        for it in self.frozen.iter().filter(|it| it.account == account) {
            tell(it.from, format!("frozen until {}", it.until));
        }
        for it in self.executed.iter().filter(|it| it.account == account) {
            tell(it.at, format!("EXECUTED {} of request {}", it.order, it.request));
        }
        for it in self.noted.iter().filter(|it| it.account == account) {
            let (event, request, challenge) = (&it.event, &it.request, &it.challenge);
            tell(it.at, format!("  log {}: {event} {request} {challenge}", it.gateway));
        }
        let lines = lines.iter().map(|((at, _), text)| format!("{at} {text}\n"));
        lines.collect()
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gateway, sent, done, status, error, request, .. } = self;
        let status = status.map_or("no answer".to_owned(), |status| status.to_string());
        write!(f, "at {gateway}: {status} {error} after {} ms, request {request}", done - sent)
    }
}
