//! Who asks at the admin interface: each operator has a token of its own.
//!
//! Never takes anybody's word for who it is where there are several: the token says it. Invariant: every token is
//! compared with every request, so that how long it takes tells nobody which one was nearly right.

use std::sync::Arc;

use super::Token;

/// Those who may ask.
#[derive(Clone, Debug)]
pub struct Operators {
    all: Vec<Operator>,
}

#[derive(Clone, Debug)]
pub struct Operator {
    pub name: Arc<str>,
    pub token: Token,
}

/// Whether what weakens an account takes two operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FourEyes {
    Needed,
    /// It would, and there is nobody who could be the second.
    Alone,
    /// One is enough.
    Off,
}

/// The one with the token that stands in `[admin]` itself.
pub const ADMIN: &str = "admin";

impl From<Token> for Operators {
    fn from(token: Token) -> Self {
        Self { all: vec![Operator { name: ADMIN.into(), token }] }
    }
}

impl Operators {
    pub fn and(mut self, operator: Operator) -> Self {
        self.all.push(operator);
        self
    }

    pub fn several(&self) -> bool {
        self.all.len() > 1
    }

    /// Whose token this is.
    pub(super) fn of(&self, given: &[u8]) -> Option<Arc<str>> {
        let right = self.all.iter().map(|it| (it, it.token.matches(given)));
        let right: Vec<_> = right.filter(|(_, matches)| *matches).collect();
        right.first().map(|(operator, _)| operator.name.clone())
    }

    /// How the record names whoever ordered something. Alone, the operating system's user says who it was; of several,
    /// the token does.
    pub(super) fn signature(&self, operator: &str, claimed: &str) -> String {
        match (self.several(), operator) {
            (false, _) => claimed.to_owned(),
            (true, ADMIN) if claimed != ADMIN => format!("{ADMIN} ({claimed})"),
            (true, name) => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_operators_the_token_says_who_it_is() {
        let token = |text: &str| Token::new(text).unwrap();
        let alone = Operators::from(token("the-first-token-of-all"));
        let carol = Operator { name: "carol".into(), token: token("carols-own-long-token") };
        let both = alone.clone().and(carol);
        assert_eq!(both.of(b"carols-own-long-token").as_deref(), Some("carol"));
        assert_eq!(both.of(b"the-first-token-of-all").as_deref(), Some(ADMIN));
        assert_eq!(both.of(b"nobodys-long-token-is"), None);
        assert_eq!(alone.of(b"carols-own-long-token"), None);
        assert_eq!(alone.signature(ADMIN, "root"), "root");
        assert_eq!(both.signature("carol", "dave"), "carol");
        assert_eq!(both.signature(ADMIN, "carol"), "admin (carol)");
    }
}
