//! E-mail addresses: a plain form that every server takes, and how they are shown.
//!
//! Never guesses: quoted names, comments, addresses in other scripts and white space are refused. Invariant: what was
//! parsed cannot end a header or begin another; `Debug` and the masked form show the first letter and the domain.

use std::fmt;

use zeroize::Zeroizing;

/// `name@domain`, in ASCII.
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox(Zeroizing<String>);

/// Not an address that mail is sent to. Never quotes what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an e-mail address is written name@domain.example, in plain letters, without spaces or a display name"
)]
pub struct BadMailbox;

impl Mailbox {
    /// RFC 5321's dot-string and domain, without its quoted forms and address literals.
    ///
    /// # Errors
    /// `BadMailbox` for anything else.
    pub fn parse(text: &str) -> Result<Self, BadMailbox> {
        let (name, domain) = text.split_once('@').ok_or(BadMailbox)?;
        let atom = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b))
        };
        let label = |part: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            (1..=63).contains(&part.len())
                && part.bytes().all(plain)
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        let sound = text.len() <= 254
            && name.len() <= 64
            && name.split('.').all(atom)
            && domain.contains('.')
            && domain.split('.').all(label);
        if sound { Ok(Self(Zeroizing::new(text.to_owned()))) } else { Err(BadMailbox) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `a•••@b.example`, whatever the length.
    pub fn masked(&self) -> String {
        let (name, domain) = self.0.split_once('@').unwrap_or((&self.0, ""));
        format!("{}•••@{domain}", name.get(..1).unwrap_or(""))
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({})", self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_taken_and_shown_masked() {
        for good in ["a@b.example", "alice.b+tag@mail.exchange.example", "o'neil_1@x-y.example"] {
            assert_eq!(Mailbox::parse(good).unwrap().as_str(), good);
        }
        let alice = Mailbox::parse("alice@mail.example").unwrap();
        assert_eq!(alice.masked(), "a•••@mail.example");
        assert_eq!(format!("{alice:?}"), "Mailbox(a•••@mail.example)");
    }

    #[test]
    fn what_could_be_read_as_something_else_is_refused() {
        for bad in [
            "",
            "alice",
            "@b.example",
            "a@",
            "a@b",
            "a@b..example",
            "a@-b.example",
            "a b@c.example",
            "a@b.example\r\nBcc: c@d.example",
            "a@b.example,c@d.example",
            "<a@b.example>",
            "Alice <a@b.example>",
            "\"a\"@b.example",
            "a@[127.0.0.1]",
            "a..b@c.example",
            "ä@b.example",
            "a@b@c.example",
        ] {
            assert_eq!(Mailbox::parse(bad).err(), Some(BadMailbox), "{bad:?}");
        }
        assert!(Mailbox::parse(&format!("{}@b.example", "a".repeat(65))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_address_ends_its_line(text in ".{0,40}|[ -~]{0,20}@[ -~]{0,20}") {
            if let Ok(mailbox) = Mailbox::parse(&text) {
                let plain = |b: u8| b.is_ascii_graphic() && !b"<>,;:\"\\()[]".contains(&b);
                proptest::prop_assert!(mailbox.as_str().bytes().all(plain));
            }
        }
    }
}
