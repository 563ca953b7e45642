//! A backup of a store that is in use, given out through the admin interface.
//!
//! Never complete without a record: it is written before the last piece leaves. Invariant: no more than a part of the
//! store and a few pieces are held at a time.

use std::sync::Arc;

use tokio::sync::mpsc::{Sender, channel};

use crate::admin::{OperationError, Order, Pieces};
use crate::audit::{Event, Record};
use crate::backup::{BackupError, Writer};
use crate::gateway::Gateway;
use crate::store::StoreError;
use crate::store::moved::Export;

/// Begins one. A store that cannot be read at all is an error here, and not half an answer.
pub(super) async fn begin(gateway: &Arc<Gateway>, order: Order) -> Result<Pieces, OperationError> {
    let unavailable = |why: String| OperationError::Unavailable(why);
    let first = gateway.store.export(None).await.map_err(|error| unavailable(error.to_string()))?;
    let (keyring, entropy) = (&gateway.keyring, &*gateway.entropy);
    let writer = Writer::new(Vec::new(), keyring, entropy, gateway.clock.now())
        .map_err(|error| unavailable(error.to_string()))?;
    let (give, pieces) = channel(PIECES_MAX);
    let gateway = gateway.clone();
    tokio::spawn(async move {
        if let Err(stopped) = pour(&gateway, writer, first, &order, &give).await {
            tracing::error!(%stopped, "a backup broke off");
            note(&gateway, format!("operator:{}: broke off: {stopped}", order.by));
            let _ = give.send(Err(stopped.to_string())).await;
        }
    });
    Ok(pieces)
}

/// Why one was not finished.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("whoever asked for it has left")]
    Left,
}

async fn pour(
    gateway: &Gateway,
    mut writer: Writer<Vec<u8>>,
    mut part: Export,
    order: &Order,
    give: &Sender<Result<bytes::Bytes, String>>,
) -> Result<(), Stopped> {
    loop {
        part.kept.iter().try_for_each(|kept| writer.put(kept))?;
        let written = std::mem::take(writer.out());
        if !written.is_empty() {
            give.send(Ok(written.into())).await.map_err(|_| Stopped::Left)?;
        }
        let Some(next) = part.next else { break };
        part = gateway.store.export(Some(next)).await?;
    }
    let (rest, counts) = writer.finish()?;
    note(gateway, format!("operator:{}: {counts}; {}", order.by, order.reason));
    give.send(Ok(rest.into())).await.map_err(|_| Stopped::Left)
}

fn note(gateway: &Gateway, note: String) {
    gateway.audit.note(Record::new(gateway.clock.now(), Event::Backup).with_note(note));
}

const PIECES_MAX: usize = 4;
