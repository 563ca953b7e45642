//! Walks over all keys of all servers.
//!
//! Never holds a server up: each step is one `SCAN`. Invariant: a walk that ended without an error met every key that
//! was there all the time.

use std::time::Duration;

use redis::Value;

use super::Link;
use super::node::Live;
use crate::store::StoreError;

/// Keys that a server looks at per step.
const STEP: u32 = 1_000;
const LIMIT: Duration = Duration::from_secs(5);

impl Link {
    /// The next keys of this pattern, beginning at `cursor` (`None`: at the beginning), and where to go on.
    ///
    /// # Errors
    /// If a server does not answer, or another one has taken its place: then begin anew.
    pub async fn scan(
        &self,
        cursor: Option<String>,
        pattern: &str,
    ) -> Result<(Vec<Vec<u8>>, Option<String>), StoreError> {
        let lives = self.lives()?;
        let (name, at) = match &cursor {
            None => (lives.first().map(|live| live.server.to_string()), "0"),
            Some(cursor) => {
                let (name, at) = cursor.rsplit_once('/').unwrap_or((cursor, "0"));
                (Some(name.to_owned()), at)
            }
        };
        let index = lives.iter().position(|live| Some(live.server.to_string()) == name);
        let Some((index, live)) = index.and_then(|index| Some((index, lives.get(index)?))) else {
            return Err(StoreError::Unavailable(format!(
                "the walk was at {}, which is no master any more: begin anew",
                name.unwrap_or_default()
            )));
        };
        let (next, keys) = step(live, at, pattern).await?;
        let next = match next.as_str() {
            "0" => lives.get(index + 1).map(|live| format!("{}/0", live.server)),
            next => Some(format!("{}/{next}", live.server)),
        };
        Ok((keys, next))
    }

    /// All servers in a fixed order.
    fn lives(&self) -> Result<Vec<Live>, StoreError> {
        let mut lives = Vec::new();
        for node in &self.ground.map().nodes {
            lives.push(node.live_now().ok_or_else(|| {
                let why = node.trouble().map_or_else(|| "no connection".to_owned(), |why| why.text);
                StoreError::Unavailable(why)
            })?);
        }
        lives.sort_by_key(|live| live.server.to_string());
        Ok(lives)
    }
}

async fn step(live: &Live, at: &str, pattern: &str) -> Result<(String, Vec<Vec<u8>>), StoreError> {
    let mut command = redis::cmd("SCAN");
    command.arg(at).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
    let mut connection = live.connection.clone();
    let asked = command.query_async::<(String, Vec<Value>)>(&mut connection);
    let (next, keys) = tokio::time::timeout(LIMIT, asked)
        .await
        .map_err(|_| StoreError::Deadline(LIMIT.as_millis() as u64))?
        .map_err(|error| super::trouble::Trouble::of(&live.server, &error))?;
    let keys = keys.into_iter().filter_map(|key| match key {
        Value::BulkString(key) => Some(key),
        _ => None,
    });
    Ok((next, keys.collect()))
}
