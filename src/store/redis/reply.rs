//! Answers of scripts, read with their types.
//!
//! Never guesses: what is not of the shape that the script promises is `Corrupt`, and nothing of it is used.

use std::collections::HashMap;

use redis::Value;

use super::keys::split;
use crate::store::StoreError;

/// One value of an answer.
#[derive(Debug)]
pub(super) struct Reply(pub(super) Value);

impl Reply {
    pub(super) fn list(self) -> Result<std::vec::IntoIter<Self>, StoreError> {
        match self.0 {
            Value::Array(items) => Ok(items.into_iter().map(Self).collect::<Vec<_>>().into_iter()),
            _ => Err(corrupt("an answer")),
        }
    }

    pub(super) fn present(self) -> Option<Self> {
        (self.0 != Value::Nil).then_some(self)
    }

    pub(super) fn bytes(self) -> Result<Vec<u8>, StoreError> {
        match self.0 {
            Value::BulkString(bytes) => Ok(bytes),
            Value::SimpleString(text) => Ok(text.into_bytes()),
            _ => Err(corrupt("an answer")),
        }
    }

    pub(super) fn text(self) -> Result<String, StoreError> {
        String::from_utf8(self.bytes()?).map_err(|_| corrupt("a text"))
    }

    pub(super) fn number(self) -> Result<i64, StoreError> {
        match self.0 {
            Value::Int(number) => Ok(number),
            _ => number(&self.bytes()?),
        }
    }

    /// Names and values by turns.
    pub(super) fn fields(self) -> Result<Fields, StoreError> {
        let mut items = self.list()?;
        let mut fields = HashMap::new();
        while let Some(name) = items.next() {
            fields.insert(name.text()?, items.next().ok_or_else(|| corrupt("a hash"))?.bytes()?);
        }
        Ok(Fields(fields))
    }
}

/// The next item of an answer.
pub(super) fn next(items: &mut std::vec::IntoIter<Reply>) -> Result<Reply, StoreError> {
    items.next().ok_or_else(|| corrupt("an answer"))
}

/// A hash.
#[derive(Debug)]
pub(super) struct Fields(HashMap<String, Vec<u8>>);

impl Fields {
    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }
    pub(super) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        self.0.remove(name)
    }
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, StoreError> {
        self.bytes(name).map(text).transpose()
    }
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, StoreError> {
        self.bytes(name).map(number).transpose()
    }
    pub(super) fn list(&self, name: &str) -> Result<Vec<&[u8]>, StoreError> {
        list(self.bytes(name).unwrap_or_default())
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

pub(super) fn list(bytes: &[u8]) -> Result<Vec<&[u8]>, StoreError> {
    split(bytes).ok_or_else(|| corrupt("a list"))
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| corrupt("a text"))
}

pub(super) fn number(bytes: &[u8]) -> Result<i64, StoreError> {
    text(bytes)?.parse().map_err(|_| corrupt("a number"))
}

pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt { what: format!("{what} in Redis") }
}
