//! How long a client may leave an answer lying that waits for it.
//!
//! Never costs an answer that is taken at once: there is a timer only while something is waiting.
//! Invariant: who takes nothing loses the answer (its stream over HTTP/2, the connection over
//! HTTP/1.1), and with it the upstream's connection that would have to wait too.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::task::{Poll, ready};
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::{Sleep, sleep};

tokio::task_local! {
    static PROGRESS: Arc<Progress>;
}

/// How the client takes the answer of one task.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// A part was handed out and the next one has not been asked for.
    waiting: AtomicBool,
    taken: AtomicU32,
}

impl Progress {
    /// That of the HTTP/2 stream whose task asks.
    pub(super) fn of_this_stream() -> Option<Arc<Self>> {
        PROGRESS.try_with(Arc::clone).ok()
    }

    pub(super) fn took(&self) {
        self.waiting.store(false, Relaxed);
        self.taken.fetch_add(1, Relaxed);
    }

    pub(super) fn handed(&self) {
        self.waiting.store(true, Relaxed);
    }
}

/// Does `work`, unless the client takes nothing of its answer for as long as `limit`; at the latest
/// after twice that time it is given up.
///
/// The work is boxed at once: a spawned future is moved several times, and this one is large.
pub(super) fn patiently<F: Future>(
    limit: Duration,
    progress: Arc<Progress>,
    work: F,
) -> impl Future<Output = Option<F::Output>> {
    let mut work = Box::pin(work);
    let mut timer: Option<(u32, Pin<Box<Sleep>>)> = None;
    poll_fn(move |cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        while progress.waiting.load(Relaxed) {
            let taken = progress.taken.load(Relaxed);
            let (before, sleep) = timer.get_or_insert_with(|| (taken, Box::pin(sleep(limit))));
            ready!(sleep.as_mut().poll(cx));
            if *before == taken {
                tracing::debug!("gave up on a client that takes nothing of its answer");
                return Poll::Ready(None);
            }
            timer = None;
        }
        timer = None;
        Poll::Pending
    })
}

/// Spawns each stream of an HTTP/2 connection so that it can be given up alone.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) stall_timeout: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let progress = Arc::<Progress>::default();
        let work = patiently(self.stall_timeout, progress.clone(), stream);
        tokio::spawn(PROGRESS.scope(progress, work));
    }
}
