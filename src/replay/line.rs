//! One line of an audit log, as far as it matters here, borrowed from the bytes that were read.
//!
//! Never proves the chain: `stepgate audit verify` does. Invariant: members that are not looked at cost no allocation.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::policy::facts::{Elevation, HoldRunning};

/// What a line says.
#[derive(Debug, Deserialize)]
pub struct Line<'l> {
    #[serde(borrow)]
    pub time: Text<'l>,
    #[serde(borrow)]
    pub event: Text<'l>,
    #[serde(borrow, default)]
    pub request: Option<Text<'l>>,
    #[serde(borrow, default)]
    pub site: Option<Text<'l>>,
    #[serde(borrow, default)]
    pub group: Option<Text<'l>>,
    #[serde(borrow, default)]
    pub account: Option<Text<'l>>,
    #[serde(borrow, default)]
    pub credential: Option<Text<'l>>,
    #[serde(default)]
    pub client: Option<IpAddr>,
    #[serde(borrow, default)]
    pub place: Option<Place<'l>>,
    #[serde(borrow, default)]
    pub facts: Pairs<'l>,
    #[serde(default)]
    pub elements: Option<usize>,
    #[serde(default)]
    pub elevations: Vec<Elevation>,
    #[serde(default)]
    pub holds: Vec<HoldRunning>,
    #[serde(borrow, default)]
    pub rules: Vec<Spoke<'l>>,
    #[serde(borrow, default)]
    pub policy: Option<Text<'l>>,
    #[serde(borrow, default)]
    pub verdict: Option<Text<'l>>,
    #[serde(borrow, default)]
    pub challenge: Option<Text<'l>>,
}

#[derive(Debug, Deserialize)]
pub struct Place<'l> {
    #[serde(borrow, default)]
    pub country: Option<Text<'l>>,
}

/// A rule that spoke.
#[derive(Debug, Deserialize)]
pub struct Spoke<'l> {
    #[serde(borrow)]
    pub rule: Text<'l>,
    #[serde(borrow)]
    pub outcome: Text<'l>,
    #[serde(default)]
    pub shadow: bool,
    #[serde(default)]
    pub satisfied: bool,
}

/// Text that is copied only if it has escapes.
#[derive(Clone, Debug, Default)]
pub struct Text<'l>(Cow<'l, str>);

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'l, 'l> Deserialize<'de> for Text<'l> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// An object of texts, in the order of the line.
#[derive(Debug, Default)]
pub struct Pairs<'l>(pub Vec<(Text<'l>, Text<'l>)>);

impl<'de: 'l, 'l> Deserialize<'de> for Pairs<'l> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::with_capacity(USUAL);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// Facts of one request that is no batch.
const USUAL: usize = 64;
