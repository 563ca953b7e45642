//! Asks a sentinel where the master is.
//!
//! Never believes it alone: who is named must say itself that it is the master.

use std::time::Duration;

use tokio::time::timeout;

use super::dial::{Dialer, Whom};
use super::trouble::Trouble;
use crate::store::redis::Server;

const LIMIT: Duration = Duration::from_millis(200);

pub(super) async fn ask(dialer: &Dialer, sentinel: &Server, name: &str) -> Result<Server, Trouble> {
    let named =
        |trouble: Trouble| Trouble { text: format!("sentinel {}", trouble.text), ..trouble };
    let dialed = dialer.dial(sentinel, Whom::Sentinel, None, LIMIT).await.map_err(named)?;
    let mut connection = dialed.connection.clone();
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let answer = timeout(LIMIT, command.query_async::<Option<(String, u16)>>(&mut connection));
    match answer.await {
        Ok(Ok(Some((host, port)))) => Ok(Server { host, port }),
        Ok(Ok(None)) => Err(Trouble::lasting(format!(
            "sentinel {sentinel} knows no master `{name}`: see `sentinel monitor` in its configuration, and `url` in [store]"
        ))),
        Ok(Err(error)) => Err(named(Trouble::of(sentinel, &error))),
        Err(_) => Err(Trouble::passing(format!("sentinel {sentinel} does not answer"))),
    }
}
