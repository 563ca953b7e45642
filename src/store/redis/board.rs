//! Notes of operators: posted, read, taken down.
//!
//! Never more of them than a board may hold: the script counts. Invariant: one script reads and removes a note, so that
//! of any number of gateways one has it.

use super::keys::COMMON;
use super::reply::{Reply, next};
use super::{Redis, scripts};
use crate::store::StoreError;
use crate::store::board::{Board, NOTES_MAX, Posted};
use crate::types::UnixMs;

impl Redis {
    pub(super) async fn do_post(
        &self,
        board: Board,
        posted: Posted,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let args = vec![
            board.word().as_bytes().to_vec(),
            posted.id.into_bytes(),
            posted.value,
            posted.until.0.to_string().into_bytes(),
            NOTES_MAX.to_string().into_bytes(),
        ];
        let reply = self.shared.ask(&scripts::POST, COMMON, now, args).await?;
        Ok(reply.number()? == 1)
    }

    pub(super) async fn do_posted(
        &self,
        board: Board,
        now: UnixMs,
    ) -> Result<Vec<Posted>, StoreError> {
        let args = vec![board.word().as_bytes().to_vec()];
        let reply = self.shared.ask(&scripts::POSTED, COMMON, now, args).await?;
        let (mut items, mut all) = (reply.list()?, Vec::new());
        while let Some(id) = items.next() {
            let id = id.text()?;
            let until = UnixMs(next(&mut items)?.number()?);
            all.push(Posted { id, until, value: next(&mut items)?.bytes()? });
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    pub(super) async fn do_take_down(
        &self,
        board: Board,
        id: Vec<u8>,
        now: UnixMs,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let args = vec![board.word().as_bytes().to_vec(), id];
        let reply = self.shared.ask(&scripts::TAKE_DOWN, COMMON, now, args).await?;
        reply.present().map(Reply::bytes).transpose()
    }
}
