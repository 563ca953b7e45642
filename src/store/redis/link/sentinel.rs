//! Asks the sentinels where the master is, and goes on asking.
//!
//! Never believes the first one: after a failover a sentinel that was cut off names the old master, and that one may
//! still believe it too. Invariant: the answer of the newest election counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::dial::Whom;
use super::ground::Ground;
use super::trouble::Trouble;
use crate::store::redis::Server;

const LIMIT: Duration = Duration::from_millis(200);
const EVERY: Duration = Duration::from_secs(1);

/// Asks all of them at once; who is named must say itself that it is the master.
pub(super) async fn master(
    ground: &Arc<Ground>,
    sentinels: &[Server],
    name: &str,
) -> Result<Server, Trouble> {
    let mut asked = JoinSet::new();
    for sentinel in sentinels {
        let (ground, sentinel, name) = (ground.clone(), sentinel.clone(), name.to_owned());
        asked.spawn(async move { ask(&ground, &sentinel, &name).await });
    }
    let (mut newest, mut trouble): (Option<(u64, Server)>, Option<Trouble>) = (None, None);
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(said)) if newest.as_ref().is_none_or(|(epoch, _)| *epoch < said.0) => {
                newest = Some(said);
            }
            // What will not go away by itself is what somebody must read.
            Ok(Err(new)) if trouble.as_ref().is_none_or(|old| !old.lasting) => trouble = Some(new),
            _ => {}
        }
    }
    match newest {
        Some((_, server)) => Ok(server),
        None => Err(trouble.unwrap_or_else(|| Trouble::lasting("no sentinel is named"))),
    }
}

/// An error if the sentinels name another master than this one, or nobody.
pub(super) async fn still(
    ground: &Arc<Ground>,
    sentinels: &[Server],
    name: &str,
    now: &Server,
) -> Result<(), Trouble> {
    let server = master(ground, sentinels, name).await?;
    if server == *now {
        return Ok(());
    }
    Err(successor(&server, now))
}

fn successor(server: &Server, now: &Server) -> Trouble {
    Trouble::passing(format!("the sentinels say that {server} is the master now, not {now}"))
}

/// Returns when the sentinels name another master than this one. An old master learns of its successor only seconds
/// later, and what it is told until then is lost.
pub(super) async fn other_master(
    ground: &Arc<Ground>,
    sentinels: &[Server],
    name: &str,
    now: &Server,
) -> Trouble {
    loop {
        sleep(EVERY).await;
        if let Ok(server) = master(ground, sentinels, name).await
            && server != *now
        {
            return successor(&server, now);
        }
    }
}

async fn ask(ground: &Ground, sentinel: &Server, name: &str) -> Result<(u64, Server), Trouble> {
    let named =
        |trouble: Trouble| Trouble { text: format!("sentinel {}", trouble.text), ..trouble };
    let dialed = ground.dialer.dial(sentinel, Whom::Sentinel, None, LIMIT).await.map_err(named)?;
    let mut connection = dialed.connection.clone();
    let mut command = redis::cmd("SENTINEL");
    command.arg("MASTER").arg(name);
    let answer = command.query_async::<HashMap<String, String>>(&mut connection);
    let facts = match timeout(LIMIT, answer).await {
        Ok(Ok(facts)) => facts,
        Ok(Err(error)) if error.to_string().contains("No such master") => {
            return Err(Trouble::lasting(format!(
                "sentinel {sentinel} knows no master `{name}`: see `sentinel monitor` in its configuration, and `url` in [store]"
            )));
        }
        Ok(Err(error)) => return Err(named(Trouble::of(sentinel, &error))),
        Err(_) => return Err(Trouble::passing(format!("sentinel {sentinel} does not answer"))),
    };
    let number = |name: &str| facts.get(name).and_then(|text| text.parse::<u64>().ok());
    let port = number("port").and_then(|port| u16::try_from(port).ok());
    match (facts.get("ip"), port) {
        (Some(host), Some(port)) => {
            let server = Server { host: host.clone(), port };
            Ok((number("config-epoch").unwrap_or(0), server))
        }
        _ => Err(Trouble::passing(format!("sentinel {sentinel} does not say where `{name}` is"))),
    }
}
