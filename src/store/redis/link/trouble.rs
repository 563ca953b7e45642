//! What can go wrong on the way, in words that say where and what to do.
//!
//! Never names a secret. Invariant: a failure says whether the server answered; only silence counts for the breaker.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::StoreError;
use crate::store::redis::Server;

/// Why a server cannot be used.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) text: String,
    /// Trying again will not help before somebody changes something.
    pub(super) lasting: bool,
}

impl Trouble {
    pub(super) fn passing(text: impl Into<String>) -> Self {
        Self { text: text.into(), lasting: false }
    }
    pub(super) fn lasting(text: impl Into<String>) -> Self {
        Self { text: text.into(), lasting: true }
    }

    fn wrong_password(server: &Server) -> Self {
        Self::lasting(format!(
            "{server} does not accept the user or the password: see `user@` in `url` and `password` in [store] (for sentinels `sentinel_user` and `sentinel_password`)"
        ))
    }

    /// What a server said, or did not say, while the connection was set up.
    pub(super) fn of(server: &Server, error: &RedisError) -> Self {
        let error = &first(error);
        let detail = error.detail().unwrap_or_default();
        match error.code() {
            Some("WRONGPASS") => Self::wrong_password(server),
            Some("NOAUTH") => Self::lasting(format!(
                "{server} wants a password: add `password = \"file:…\"` to [store] (for sentinels `sentinel_password`)"
            )),
            Some("NOPERM") => Self::lasting(format!(
                "{server} does not permit what the store needs: {detail}; see the ACL line in the documentation"
            )),
            Some("LOADING") => Self::passing(format!("{server} is still reading its data")),
            _ if error.kind() == ErrorKind::AuthenticationFailed => Self::wrong_password(server),
            _ if error.kind() == ErrorKind::RESP3NotSupported => {
                Self::lasting(format!("{server} is too old: Redis 6.2 or newer is needed"))
            }
            Some(code) => Self::passing(format!("{server} answered {code} {detail}")),
            None if error.is_connection_dropped() && !error.to_string().contains("alert") => {
                Self::passing(format!(
                    "{server} hung up at once: does this port want TLS, `rediss://`?"
                ))
            }
            None => {
                let text = error.to_string();
                let lasting = text.contains("alert"); // TLS: it did not like our certificate
                Self { text: format!("{server}: {text}"), lasting }
            }
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        Self::Unavailable(trouble.text)
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Silence.
    Deadline,
    /// No connection, or it broke.
    Broken(String),
    /// The server answered that it did not, or what it did went wrong.
    Refused(String),
    /// The script found that part of the state is gone.
    Lost,
}

impl Failure {
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Deadline | Self::Broken(_))
    }

    pub(super) fn store_error(self, deadline_ms: u64) -> StoreError {
        match self {
            Self::Deadline => StoreError::Deadline(deadline_ms),
            Self::Broken(text) | Self::Refused(text) => StoreError::Unavailable(text),
            Self::Lost => StoreError::Unavailable(
                "part of the store's state was lost: restore a backup or start anew".to_owned(),
            ),
        }
    }
}

/// What is to be done about an answer that is an error.
#[derive(Debug)]
pub(super) enum Verdict {
    Fail(Failure),
    /// Not carried out: the script is to be loaded first.
    Load,
    /// Not carried out: another server has the slot.
    Moved(Server),
    /// Not carried out: this one is no master (any more).
    NotMaster(Failure),
}

pub(super) fn judge(script: &str, server: &Server, error: &RedisError) -> Verdict {
    let error = &first(error);
    let refused = |text: String| Verdict::Fail(Failure::Refused(format!("{server} {text}")));
    let detail = error.detail().unwrap_or_default();
    if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) {
        return match redirected(error, server) {
            Some(other) => Verdict::Moved(other),
            None => refused("names no server for the key".to_owned()),
        };
    }
    if says(error, "LATE") {
        return Verdict::Fail(Failure::Deadline);
    }
    if says(error, "LOST") {
        return Verdict::Fail(Failure::Lost);
    }
    match error.code() {
        Some("NOSCRIPT") => Verdict::Load,
        Some("READONLY") => Verdict::NotMaster(Failure::Refused(format!(
            "{server} is a replica and takes no changes"
        ))),
        Some("OOM") => refused("is full and takes no changes: give it more `maxmemory`".to_owned()),
        Some("LOADING") => refused("is still reading its data".to_owned()),
        Some("BUSY") => refused("is busy with a script of somebody's".to_owned()),
        Some("MASTERDOWN") => refused("has lost its master".to_owned()),
        Some("CLUSTERDOWN") => refused(format!("says that the cluster is down: {detail}")),
        // The other server has some keys of the part and not the others, and would take these for empty.
        Some("TRYAGAIN" | "ASK") => refused("is moving the keys to another server".to_owned()),
        Some("NOREPLICAS") => {
            refused("takes no changes, because too few replicas are attached".to_owned())
        }
        Some("MISCONF") => refused("takes no changes, because it cannot save its data".to_owned()),
        Some("NOPERM") => refused(format!("does not permit `{script}`: {detail}")),
        Some(code) => refused(format!("answered to `{script}`: {code} {detail}")),
        None => Verdict::Fail(Failure::Broken(format!("{server}: {error}"))),
    }
}

/// The first error of several commands that were sent together.
fn first(error: &RedisError) -> RedisError {
    let of_many = error.clone().into_server_errors();
    let first = of_many.and_then(|errors| errors.first().map(|(_, error)| error.clone()));
    first.map_or_else(|| error.clone(), RedisError::from)
}

/// Whether it is this error of a script of ours: Redis 7 puts a code of its own before it.
fn says(error: &RedisError, word: &str) -> bool {
    let said = match error.code() {
        Some("ERR") => error.detail().and_then(|detail| detail.split(' ').next()),
        code => code,
    };
    said == Some(word)
}

/// An empty host is the one that was asked.
fn redirected(error: &RedisError, asked: &Server) -> Option<Server> {
    let (address, _slot) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { &asked.host } else { host };
    Some(Server { host: host.to_owned(), port: port.parse().ok()? })
}
