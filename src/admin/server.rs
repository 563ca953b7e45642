//! The admin listener: plain HTTP/1.1 on a loopback or management address.
//!
//! Never holds more than a few connections, and never waits for one without an end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::routes::{self, Desk};
use super::{Operations, Operators};

/// Serves until `stop`, then lets requests that are being served finish (5 s at most). Runs on
/// whatever runtime it is spawned on.
pub async fn serve(
    listener: TcpListener,
    operators: impl Into<Operators>,
    operations: Arc<dyn Operations>,
    stop: CancellationToken,
) {
    let desk = Arc::new(Desk { operators: operators.into(), operations });
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let (desk, stop) = (desk.clone(), stop.clone());
        tasks.spawn(async move {
            talk(stream, desk, stop).await;
            drop(place);
        });
    }
    drop(listener);
    tasks.close();
    let _ = tokio::time::timeout(DRAIN, tasks.wait()).await;
}

/// Waits for room first: a connection that cannot be served stays in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Out of file descriptors, usually: trying again at once would only burn the processor.
            tracing::warn!(%error, "admin listener cannot accept");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn talk(stream: TcpStream, desk: Arc<Desk>, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(routes::answer(&desk, request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let talked = tokio::select! {
        talked = connection.as_mut() => Some(talked),
        () = stop.cancelled() => None,
        () = tokio::time::sleep(CONNECTION_MAX) => None,
    };
    let talked = match talked {
        Some(talked) => talked,
        None => {
            connection.as_mut().graceful_shutdown();
            // A client that does not read its answer must not keep its place.
            tokio::time::timeout(LAST_ANSWER_MAX, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = talked {
        tracing::debug!(%error, "admin connection ended early");
    }
}

const CONNECTIONS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Between two heads, so idle connections go as well.
const HEAD_MAX: Duration = Duration::from_secs(10);
const CONNECTION_MAX: Duration = Duration::from_secs(300);
const LAST_ANSWER_MAX: Duration = Duration::from_secs(65);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const DRAIN: Duration = Duration::from_secs(5);
