//! Bytes that may be used and never shown.
//!
//! Never prints, serialises or compares them in variable time; they are wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// A secret as read from a file or the environment.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves; the name is meant to be noticed in review.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text, if it is UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Whether `guess` is the secret; the time depends on the lengths only.
    pub fn matches(&self, guess: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, guess).is_ok()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", Secret::new(*b"hunter2")), "Secret(…)");
    }

    #[test]
    fn only_the_same_bytes_match() {
        let secret = Secret::from("hunter2".to_owned());
        assert!(secret.matches(b"hunter2"));
        assert!(!secret.matches(b"hunter3"));
        assert!(!secret.matches(b"hunter"));
        assert_eq!(secret.expose_text(), Some("hunter2"));
    }
}
