//! Bodies on their way through: to the upstream, and back.
//!
//! Never collects and never changes a byte. Trailers are dropped in both directions: nothing has
//! looked at them, and some servers merge them into the headers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};

use super::pool::{Line, Pool};
use crate::body::{Body, BoxError};

/// A request body; keeps count of its frames if there can be any.
pub(super) struct Outgoing {
    body: Body,
    progress: Option<Progress>,
}

/// How far a request body has been taken.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<Taken>);

#[derive(Default)]
struct Taken {
    frames: AtomicU64,
    ended: AtomicBool,
    broken: AtomicBool,
}

impl Progress {
    pub(super) fn frames(&self) -> u64 {
        self.0.frames.load(Relaxed)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.ended.load(Relaxed)
    }

    /// The client gave an error instead of the rest.
    pub(super) fn is_broken(&self) -> bool {
        self.0.broken.load(Relaxed)
    }
}

impl Outgoing {
    pub(super) fn new(body: Body) -> Self {
        let streams = matches!(&body, Body::Stream(stream) if !stream.is_end_stream());
        Self { body, progress: streams.then(Progress::default) }
    }

    pub(super) fn progress(&self) -> Option<Progress> {
        self.progress.clone()
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(progress) = &this.progress {
            progress.0.frames.fetch_add(1, Relaxed);
            if frame.is_none() || this.body.is_end_stream() {
                progress.0.ended.store(true, Relaxed);
            }
            if matches!(frame, Some(Err(_))) {
                progress.0.broken.store(true, Relaxed);
            }
        }
        Poll::Ready(frame.filter(is_not_trailers))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A response body that holds its connection, and gives it back when the body has ended.
pub(super) struct Answer {
    incoming: Incoming,
    line: Option<Line>,
    home: Option<Arc<Pool>>,
}

impl Answer {
    /// `home` is where the connection goes afterwards; without one it is closed.
    pub(super) fn body(incoming: Incoming, line: Line, home: Option<Arc<Pool>>) -> Body {
        let ended = incoming.is_end_stream();
        let mut answer = Self { incoming, line: Some(line), home };
        if ended {
            answer.give_back();
            return Body::empty();
        }
        Body::stream(answer)
    }

    fn give_back(&mut self) {
        if let (Some(line), Some(pool)) = (self.line.take(), self.home.take()) {
            pool.keep(line);
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        let frame = frame.map(|frame| frame.map_err(BoxError::from)).filter(is_not_trailers);
        // With a known length nobody asks again after the last byte.
        if frame.is_none() || this.incoming.is_end_stream() {
            this.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

fn is_not_trailers(frame: &Result<Frame<Bytes>, BoxError>) -> bool {
    frame.as_ref().map_or(true, Frame::is_data)
}
