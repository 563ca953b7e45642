//! An answer that is as long as the state: given out piece by piece, as fast as it is taken.
//!
//! Never ends in good order after an error: the connection breaks off then, and nobody takes a part for the whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// The pieces of a long answer; an error is the last one.
pub type Pieces = mpsc::Receiver<Result<Bytes, String>>;

pub(super) struct Pouring(pub(super) Pieces);

impl Body for Pouring {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        let piece = ready!(self.get_mut().0.poll_recv(context));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }
}
