//! What servers push: keys that others changed, and notices.
//!
//! Never waits and never asks back. Invariant: pushes are handed on in the order in which they came, before any answer
//! that came after them on the same connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use redis::aio::{AsyncPushSender, SendError};
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::Heard;
use super::counters::{Counters, count};

/// The families of keys that a local view is made of: what follows the tag, accounts and credentials.
pub(super) const WATCHED: [u8; 2] = [b'a', b's'];

/// What all connections hear with.
pub(super) struct Ears {
    pub(super) heard: Arc<dyn Heard>,
    pub(super) counters: Arc<Counters>,
    /// `<prefix>{`: what watched keys begin with.
    pub(super) beginning: Vec<u8>,
    pub(super) channel: String,
    seen: Mutex<VecDeque<Vec<u8>>>,
}

/// One connection's.
pub(super) struct Ear {
    pub(super) ears: Arc<Ears>,
    /// Rung when the connection has ended.
    pub(super) gone: Arc<Notify>,
}

impl Ears {
    pub(super) fn new(heard: Arc<dyn Heard>, counters: Arc<Counters>, prefix: &str) -> Self {
        Self {
            heard,
            counters,
            beginning: format!("{prefix}{{").into_bytes(),
            channel: format!("{prefix}:notices"),
            seen: Mutex::default(),
        }
    }

    pub(super) fn all_changed(&self) {
        count(&self.counters.all_changed);
        self.heard.all_changed();
    }

    fn is_watched(&self, key: &[u8]) -> bool {
        let Some(behind) = key.strip_prefix(self.beginning.as_slice()) else { return false };
        let end = behind.iter().position(|byte| *byte == b'}');
        let family = end.and_then(|end| behind.get(end + 1));
        family.is_some_and(|family| WATCHED.contains(family))
    }

    fn invalidated(&self, data: &[Value]) {
        match data.first() {
            Some(Value::Array(keys)) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) if self.is_watched(key) => {
                            count(&self.counters.pushes);
                            self.heard.changed(key);
                        }
                        Value::BulkString(_) => count(&self.counters.pushes_for_nothing),
                        _ => {}
                    }
                }
            }
            // FLUSHALL, or something unknown: the worst is assumed.
            _ => self.all_changed(),
        }
    }

    /// In a Cluster every server repeats what was published on one of them; the mark before the first space tells.
    fn message(&self, data: &[Value]) {
        let [Value::BulkString(channel), Value::BulkString(message)] = data else { return };
        if channel != self.channel.as_bytes() {
            return;
        }
        let space = message.iter().position(|byte| *byte == b' ').unwrap_or(message.len());
        let (mark, notice) = message.split_at(space);
        if self.is_new(mark) {
            count(&self.counters.notices);
            self.heard.notice(notice.get(1..).unwrap_or_default());
        }
    }

    fn is_new(&self, mark: &[u8]) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.iter().any(|known| known == mark) {
            return false;
        }
        if seen.len() == SEEN_MAX {
            seen.pop_front();
        }
        seen.push_back(mark.to_vec());
        true
    }
}

const SEEN_MAX: usize = 256;

impl AsyncPushSender for Ear {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        match info.kind {
            PushKind::Invalidate => self.ears.invalidated(&info.data),
            PushKind::Message => self.ears.message(&info.data),
            PushKind::Disconnection => self.gone.notify_one(),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Heard for Log {
        fn changed(&self, key: &[u8]) {
            self.0.lock().unwrap().push(String::from_utf8_lossy(key).into_owned());
        }
        fn all_changed(&self) {
            self.0.lock().unwrap().push("all".to_owned());
        }
        fn notice(&self, bytes: &[u8]) {
            self.0.lock().unwrap().push(format!("notice {}", String::from_utf8_lossy(bytes)));
        }
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn heard(pushes: Vec<(PushKind, Vec<Value>)>) -> Vec<String> {
        let log = Arc::new(Log::default());
        let ears = Arc::new(Ears::new(log.clone(), Arc::default(), "gate"));
        let ear = Ear { ears, gone: Arc::default() };
        for (kind, data) in pushes {
            ear.send(PushInfo { kind, data }).unwrap();
        }
        let said = log.0.lock().unwrap().clone();
        said
    }

    #[test]
    fn only_accounts_and_credentials_are_handed_on() {
        let keys = ["gate{1f3}a5:mainbob", "gate{1f3}c77", "gate{000}s4:main", "gate2{000}a", "a"];
        let keys = Value::Array(keys.map(bulk).to_vec());
        let said = heard(vec![(PushKind::Invalidate, vec![keys])]);
        assert_eq!(said, ["gate{1f3}a5:mainbob", "gate{000}s4:main"]);
    }

    #[test]
    fn a_store_that_was_emptied_changes_all() {
        assert_eq!(heard(vec![(PushKind::Invalidate, vec![Value::Nil])]), ["all"]);
    }

    #[test]
    fn a_notice_that_every_server_repeats_is_heard_once() {
        let message = |text: &str| (PushKind::Message, vec![bulk("gate:notices"), bulk(text)]);
        let other = (PushKind::Message, vec![bulk("other:notices"), bulk("3 reload")]);
        let said =
            heard(vec![message("1 reload"), message("1 reload"), message("2 reload"), other]);
        assert_eq!(said, ["notice reload", "notice reload"]);
    }
}
