//! Notes that operators leave for all gateways: what is suspended, and what waits for a second operator.
//!
//! Never says what stands in them. Invariant: a board holds a bounded number, and a note is taken down once.

/// Which notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    Suspensions,
    /// What one operator asked for and another one has to approve.
    Requests,
}

impl Board {
    pub const ALL: [Self; 2] = [Self::Suspensions, Self::Requests];

    /// As keys spell it; never changed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Suspensions => "suspensions",
            Self::Requests => "requests",
        }
    }
}

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub id: String,
    pub value: Vec<u8>,
    pub until: crate::types::UnixMs,
}

/// So many hang on one board.
pub const NOTES_MAX: usize = crate::suspension::SUSPENSIONS_MAX;
