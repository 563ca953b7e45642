//! How one answer to a challenge ended, and the JSON that says so.
//!
//! Never says which element of a wrong answer was wrong. Invariant: only `Approved` and `More` are a 200.

use http::StatusCode;
use serde::Serialize;

use super::text::Table;
use crate::stepup::challenge::{Challenge, State};
use crate::types::Factor;

/// The result of `POST …/answer`, and of `send` and `reject` where they fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerResult {
    /// Nothing is missing: the same request now passes once.
    Approved,
    /// This factor counts, another is needed.
    More,
    /// `left` attempts remain; none means that the challenge is dead now.
    Wrong {
        left: u32,
    },
    /// The passkey's answer does not hold, or is not to what was asked last.
    WrongPasskey {
        left: u32,
    },
    /// The code was right and has been used: wait for the next one.
    Replayed,
    Used,
    Expired,
    Locked,
    Rejected,
    /// Step-up is blocked on the account, or too many codes were sent to the number.
    TooMany {
        retry_after_s: u64,
    },
    /// Not 6 or 8 digits.
    BadCode,
    /// No such challenge for this account and credential; foreign and missing ones look the same.
    Missing,
}

impl AnswerResult {
    pub fn wrong(factor: Factor, left: u32) -> Self {
        match factor {
            Factor::Webauthn => Self::WrongPasskey { left },
            _ => Self::Wrong { left },
        }
    }

    /// What it means that a challenge is not open; `None` if it is.
    pub fn of_state(state: State) -> Option<Self> {
        match state {
            State::Open => None,
            State::Approved => Some(Self::Approved),
            State::Used => Some(Self::Used),
            State::Rejected => Some(Self::Rejected),
            State::Expired => Some(Self::Expired),
            State::Locked => Some(Self::Locked),
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Approved | Self::More => StatusCode::OK,
            Self::Wrong { .. } | Self::WrongPasskey { .. } | Self::Replayed => {
                StatusCode::FORBIDDEN
            }
            Self::Used | Self::Rejected => StatusCode::CONFLICT,
            Self::Expired => StatusCode::GONE,
            Self::Locked => StatusCode::LOCKED,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::BadCode => StatusCode::BAD_REQUEST,
            Self::Missing => StatusCode::NOT_FOUND,
        }
    }

    /// The challenge's state after it.
    pub(super) fn state(self) -> State {
        match self {
            Self::Approved => State::Approved,
            Self::Wrong { left: 0 } | Self::WrongPasskey { left: 0 } | Self::Locked => {
                State::Locked
            }
            Self::Used => State::Used,
            Self::Expired => State::Expired,
            Self::Rejected => State::Rejected,
            Self::More
            | Self::Wrong { .. }
            | Self::WrongPasskey { .. }
            | Self::Replayed
            | Self::BadCode
            | Self::TooMany { .. }
            | Self::Missing => State::Open,
        }
    }

    /// The machine's word for a failure.
    pub fn error(self) -> Option<&'static str> {
        match self {
            Self::Approved | Self::More => None,
            Self::Wrong { .. } => Some("wrong_code"),
            Self::WrongPasskey { .. } => Some("wrong_passkey"),
            Self::Replayed => Some("replayed_code"),
            Self::Used => Some("used"),
            Self::Expired => Some("expired"),
            Self::Locked => Some("locked"),
            Self::Rejected => Some("rejected"),
            Self::TooMany { .. } => Some("too_many"),
            Self::BadCode => Some("bad_code"),
            Self::Missing => Some("not_found"),
        }
    }

    /// The sentence for the person who typed the code.
    pub(super) fn sentence(self, table: &Table) -> String {
        match self {
            Self::More => table.answer("more").to_owned(),
            Self::Wrong { left: 1.. } => table.answer("wrong_code").to_owned(),
            Self::WrongPasskey { left: 1.. } => table.answer("wrong_passkey").to_owned(),
            Self::Replayed => table.answer("replayed_code").to_owned(),
            Self::BadCode => table.answer("bad_code").to_owned(),
            Self::TooMany { .. } => table.refusal("too_many").1.to_owned(),
            Self::Missing => table.refusal("not_found").1.to_owned(),
            Self::Approved
            | Self::Wrong { .. }
            | Self::WrongPasskey { .. }
            | Self::Used
            | Self::Expired
            | Self::Locked
            | Self::Rejected => table.state(self.state().word()).1.to_owned(),
        }
    }

    /// The JSON body. `challenge` is the challenge after the answer, where there is one.
    pub(super) fn json(self, challenge: Option<&Challenge>, table: &Table) -> Vec<u8> {
        let state = self.state();
        let open = challenge.filter(|_| state == State::Open);
        let body = match self.error() {
            None => Answer {
                factors: open.map(|challenge| words(challenge.factors_open().iter())),
                attempts_left: open.map(|challenge| challenge.attempts_left),
                ..Answer::of(state)
            },
            Some(error) => Answer {
                kind: Some(format!("urn:stepgate:{}", error.replace('_', "-"))),
                title: Some(self.sentence(table)),
                status: Some(self.status().as_u16()),
                error: Some(error),
                attempts_left: match self {
                    Self::Wrong { left } | Self::WrongPasskey { left } => Some(left),
                    _ => open.map(|challenge| challenge.attempts_left),
                },
                ..Answer::of(state)
            },
        };
        super::respond::json_bytes(&body)
    }
}

#[derive(Serialize)]
struct Answer {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    factors: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts_left: Option<u32>,
}

impl Answer {
    fn of(state: State) -> Self {
        Self {
            kind: None,
            title: None,
            status: None,
            state: state.word(),
            error: None,
            factors: None,
            attempts_left: None,
        }
    }
}

/// The factors' words, in the order of `Factor::ALL`.
pub(super) fn words(factors: impl Iterator<Item = Factor>) -> Vec<&'static str> {
    factors.map(Factor::word).collect()
}
