//! One e-mail, and whoever delivers it.
//!
//! Never logs an address or a text. Invariant: every try of one mail has the same id, so that a receiver can tell a
//! repetition.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{BoxFuture, SendError};

/// One e-mail: the same words as plain text and as HTML.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mail {
    /// What its `Message-ID` begins with; not the id of any link.
    pub id: String,
    pub to: Zeroizing<String>,
    pub subject: String,
    pub text: Zeroizing<String>,
    pub html: Zeroizing<String>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mail({})", self.id)
    }
}

/// Whoever delivers e-mail.
pub trait Carrier: Send + Sync {
    fn deliver<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), SendError>>;
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;

    pub fn mail() -> Mail {
        Mail {
            id: "one".to_owned(),
            to: Zeroizing::new("alice@mail.example".into()),
            subject: "Example: new sign-in".to_owned(),
            text: Zeroizing::new("Not you?".into()),
            html: Zeroizing::new("<p>Not you?</p>".into()),
        }
    }

    #[test]
    fn debug_of_a_mail_shows_neither_address_nor_text() {
        assert_eq!(format!("{:?}", mail()), "Mail(one)");
    }
}
