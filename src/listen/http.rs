//! One client connection as HTTP/1.1 or HTTP/2, with every limit set.
//!
//! Never lets one request end another: a panic while answering costs that request only. Invariant:
//! a request that reaches the handler is well-formed by our rules, which are stricter than the
//! library's.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::coop::has_budget_remaining;

use super::frames::Meter;
use super::head::{Gate, HEAD_BYTES_MAX};
use super::io::{ClientStream, Watch};
use super::patience::{Progress, Streams, patiently};
use super::pulse::{Busy, Pulse};
use super::{Connection, Handler, Slot, Worker, tls};
use crate::body::{Body, BoxError};
use crate::octets;

/// Serves until the client leaves, is idle or overdue, or the worker stops and the last request is
/// answered.
pub(super) async fn serve<H: Handler>(
    worker: &Worker<H>,
    tls: tls::Stream,
    peer: SocketAddr,
    slot: Slot,
) {
    let session = tls.get_ref().1;
    let h2 = session.alpn_protocol() == Some(b"h2");
    let connection = Arc::new(Connection {
        peer,
        sni: session.server_name().map(|name| name.to_ascii_lowercase().into()),
        h2,
        place: H::Place::default(),
        tasks: worker.tasks.clone(),
        stop: worker.stop.clone(),
    });
    let pulse = Arc::new(Pulse::new(&worker.settings));
    let progress = Arc::<Progress>::default();
    let answering = Arc::new(Answering {
        handler: worker.handler.clone(),
        connection,
        pulse: pulse.clone(),
        progress: (!h2).then(|| progress.clone()),
    });
    // Boxed at once: the library moves it several times, it is large, and a connection that lies idle need not keep
    // room for it.
    let service =
        service_fn(|request: Request<Incoming>| Box::pin(answering.clone().answer(request)));
    let watch = match h2 {
        true => Watch::Http2(Meter::new()),
        false => Watch::Http1(Gate::new(pulse.clone())),
    };
    let io = TokioIo::new(ClientStream::new(tls, watch, slot));
    let stall_timeout = Duration::from_millis(worker.settings.stall_timeout_ms);
    let result = if h2 {
        let connection = h2_builder(stall_timeout).serve_connection(io, service);
        drive(worker, &pulse, pin!(connection)).await
    } else {
        let connection = pin!(h1_builder().serve_connection(io, service).with_upgrades());
        let work = drive(worker, &pulse, connection);
        patiently(stall_timeout, progress, work).await.unwrap_or(Ok(()))
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// The library's own header timer is off: it would also end idle connections and costs a timer per
/// request; `Pulse` and `Gate` keep the same promise. Its limit of 100 headers is the default.
fn h1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    builder
}

/// What the library bounds by itself: CONTINUATION frames by the size of a header list, small and empty DATA frames by
/// the connection's window. The rest of the frames is counted by `Meter`.
fn h2_builder(stall_timeout: Duration) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams { stall_timeout });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(H2_HEADER_BYTES)
        .header_table_size(H2_TABLE_BYTES)
        .max_frame_size(H2_FRAME_BYTES)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .max_pending_accept_reset_streams(H2_RESETS_MAX)
        .max_local_error_reset_streams(H2_ERROR_RESETS_MAX)
        .keep_alive_interval(H2_PING_EVERY)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

/// A connection that can be asked to end after what is under way.
trait Serving: Future<Output = hyper::Result<()>> {
    fn finish(self: Pin<&mut Self>);
}

type Io = TokioIo<ClientStream>;

impl<S> Serving for http1::UpgradeableConnection<Io, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Tracked>,
    S::Error: Into<BoxError>,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Serving for http2::Connection<Io, S, Streams>
where
    S: hyper::service::HttpService<Incoming, ResBody = Tracked>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive<H>(
    worker: &Worker<H>,
    pulse: &Pulse,
    mut serving: Pin<&mut impl Serving>,
) -> hyper::Result<()> {
    let mut stopped = pin!(worker.stop.cancelled());
    let mut look = pin!(tokio::time::sleep(pulse.left().unwrap_or_default()));
    let mut ending = false;
    loop {
        // Both wake this task by themselves: once they know it, they are asked again only when their time has come.
        let mut asked = false;
        let happened = poll_fn(|cx| {
            if let Poll::Ready(result) = serving.as_mut().poll(cx) {
                return Poll::Ready(Happened::Served(result));
            }
            let is_due = !ending && (!asked || worker.stop.is_cancelled());
            if is_due && stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Stopped);
            }
            if (!asked || look.is_elapsed()) && look.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Looked);
            }
            // Without a budget they have not even listened.
            asked = has_budget_remaining();
            Poll::Pending
        });
        match happened.await {
            Happened::Served(result) => return result,
            Happened::Stopped => {
                ending = true;
                serving.as_mut().finish();
            }
            Happened::Looked => match pulse.left() {
                Some(left) => look.as_mut().reset(tokio::time::Instant::now() + left),
                // Told to end already and still here: it has not read the farewell.
                None if ending => return Ok(()),
                None => {
                    ending = true;
                    serving.as_mut().finish();
                    look.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
                }
            },
        }
    }
}

/// What a connection was waiting for.
enum Happened {
    Served(hyper::Result<()>),
    Stopped,
    Looked,
}

/// What all requests of a connection have in common.
struct Answering<H: Handler> {
    handler: Arc<H>,
    connection: Arc<Connection<H::Place>>,
    pulse: Arc<Pulse>,
    /// Over HTTP/2 each stream has its own.
    progress: Option<Arc<Progress>>,
}

impl<H: Handler> Answering<H> {
    /// Not an `async fn`: that would hold the request twice.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Tracked>, Infallible>> + Send {
        let busy = self.pulse.begin();
        async move {
            let response = match check(&request) {
                Ok(()) => {
                    let handled = pin!(self.handler.handle(request, &self.connection));
                    let answered = caught(handled).await;
                    answered.unwrap_or_else(|| self.refuse(StatusCode::INTERNAL_SERVER_ERROR))
                }
                Err((status, why)) => {
                    tracing::debug!(why, "refused a request");
                    self.refuse(status)
                }
            };
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                self.pulse.becomes_tunnel();
            }
            let progress = self.progress.clone().or_else(Progress::of_this_stream);
            Ok(response.map(|body| Tracked { body, progress, _busy: busy }))
        }
    }

    fn refuse(&self, status: StatusCode) -> Response<Body> {
        last(self.handler.refuse(status, &self.connection), self.connection.h2)
    }
}

/// None if it panicked. What a panic left behind is dropped with the future and looked at by nobody.
async fn caught<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Some),
        Err(_) => {
            tracing::error!("a request panicked");
            Poll::Ready(None)
        }
    })
    .await
}

/// After a refusal nobody can be sure where the next request begins, so an HTTP/1 connection ends.
fn last(mut response: Response<Body>, h2: bool) -> Response<Body> {
    if !h2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What the library lets through and we do not. HTTP/1 has been looked at byte by byte before.
fn check(request: &Request<Incoming>) -> Result<(), (StatusCode, &'static str)> {
    let (method, headers) = (request.method(), request.headers());
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => {}
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {}
        Method::CONNECT | Method::TRACE => {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "not a method for gateways"));
        }
        _ => return Err((StatusCode::NOT_IMPLEMENTED, "an unknown method")),
    }
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let sound = target.starts_with('/') || (target == "*" && *method == Method::OPTIONS);
    if !sound || !octets::all(target.as_bytes(), |byte| octets::between(byte, b'!', b'~')) {
        return Err((StatusCode::BAD_REQUEST, "the target is malformed"));
    }
    // Waiting is the only thing that can be expected of a server (RFC 9110 §10.1.1).
    let waits = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !headers.get_all(EXPECT).iter().all(waits) {
        return Err((StatusCode::EXPECTATION_FAILED, "an unknown expectation"));
    }
    if request.version() == Version::HTTP_2 {
        return check_h2(request.uri(), headers).map_err(|why| (StatusCode::BAD_REQUEST, why));
    }
    // Bytes after such a head would be the next request to us, and perhaps the body to who sent
    // them.
    let writes = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if writes && !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        return Err((StatusCode::LENGTH_REQUIRED, "a write without a length"));
    }
    Ok(())
}

/// What an intermediary must not pass on (RFC 9113 §8.1.1, §8.2.1, §8.3.1).
fn check_h2(uri: &http::Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    if uri.scheme_str().is_some_and(|scheme| scheme != "https") {
        return Err("the scheme is not https");
    }
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    if authority.is_empty() || authority.contains('@') {
        return Err("the authority is missing or has userinfo");
    }
    let mut hosts = headers.get_all(HOST).iter();
    if hosts
        .next()
        .is_some_and(|host| host.as_bytes() != authority.as_bytes() || hosts.next().is_some())
    {
        return Err("Host differs from the authority");
    }
    if headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return Err("Content-Length is given twice");
    }
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        blank(bytes.first()) || blank(bytes.last())
    };
    if headers.values().any(padded) {
        return Err("a header value begins or ends with a blank");
    }
    Ok(())
}

/// An answer that is nothing but its status.
pub(super) fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A response body that keeps its request counted as under way, and tells how it is taken.
struct Tracked {
    body: Body,
    progress: Option<Arc<Progress>>,
    _busy: Busy,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.took();
        }
    }
}

impl HttpBody for Tracked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(progress) = &this.progress else {
            return Pin::new(&mut this.body).poll_frame(cx);
        };
        progress.took();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        progress.handed();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

const H2_STREAMS_MAX: u32 = 128;
const H2_HEADER_BYTES: u32 = 32 * 1024;
const H2_STREAM_WINDOW: u32 = 256 * 1024;
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const H2_SEND_BUFFER: usize = 64 * 1024;
const H2_TABLE_BYTES: u32 = 4 * 1024;
const H2_FRAME_BYTES: u32 = 16 * 1024;
/// Streams that the client may have reset before they were looked at (CVE-2023-44487).
const H2_RESETS_MAX: usize = 20;
/// Streams that the client may have made us reset, over a connection's life (CVE-2025-8671).
const H2_ERROR_RESETS_MAX: usize = 100;
const H2_PING_EVERY: Duration = Duration::from_secs(30);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
const FAREWELL: Duration = Duration::from_secs(2);
