//! The client's TLS stream as hyper sees it.
//!
//! Never writes to the socket before a flush, and says that it cannot write vectored: small frames
//! of one poll then share TLS records and one system call, which is what a proxied answer mostly
//! costs.

use std::io::{Error, ErrorKind, Result as IoResult, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::Slot;
use super::frames::Meter;
use super::head::Gate;
use super::tls::Stream;

/// One client socket. It holds the connection's permit, so that tunnels count as connections too.
pub(super) struct ClientStream {
    tls: Stream,
    watch: Watch,
    /// The session holds nothing more of what the client sent: only the socket can have it.
    drained: bool,
    /// What came behind the bytes that were given out last.
    failed: Option<Error>,
    /// Begun when our side is closed: until when the client's last bytes are awaited, and how many
    /// came.
    linger: Option<(Pin<Box<Sleep>>, usize)>,
    _slot: Slot,
}

/// Who looks at the client's bytes before the HTTP library.
pub(super) enum Watch {
    Http1(Gate),
    Http2(Meter),
}

impl ClientStream {
    pub(super) fn new(tls: Stream, watch: Watch, slot: Slot) -> Self {
        Self { tls, watch, drained: false, failed: None, linger: None, _slot: slot }
    }

    /// Reads what the client sent, as much as has come and fits. While a request is answered the library asks again and
    /// again whether the client is still there; to ask the socket costs a quarter of what it costs to ask the session.
    fn poll_session(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<IoResult<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            if self.drained && self.tls.get_ref().0.poll_read_ready(cx)?.is_pending() {
                break;
            }
            match Pin::new(&mut self.tls).poll_fill_buf(cx) {
                Poll::Ready(Ok(plain)) => {
                    let count = plain.len().min(buf.remaining());
                    buf.put_slice(&plain[..count]);
                    Pin::new(&mut self.tls).consume(count);
                    // False too once the client has said that no more will come.
                    self.drained = count > 0 && self.tls.get_ref().1.wants_read();
                    if count == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) if buf.filled().len() == before => {
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                Poll::Pending => {
                    self.drained = true;
                    break;
                }
            }
        }
        if buf.filled().len() == before { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<IoResult<()>> {
        let this = self.get_mut();
        loop {
            if let Watch::Http1(gate) = &mut this.watch
                && gate.take_released(buf)?
            {
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(this.poll_session(cx, buf))?;
            let fresh = &buf.filled()[before..];
            match &mut this.watch {
                Watch::Http2(meter) => return Poll::Ready(meter.read(fresh)),
                Watch::Http1(gate) => {
                    if fresh.is_empty() || gate.pass(buf, before) {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<IoResult<usize>> {
        let this = self.get_mut();
        let written = this.tls.get_mut().1.writer().write(bytes)?;
        if let Watch::Http2(meter) = &mut this.watch {
            meter.wrote(written);
        }
        if written > 0 || bytes.is_empty() {
            return Poll::Ready(Ok(written));
        }
        // The session holds as many unsent records as it may: now the socket has to take them.
        ready!(Pin::new(&mut this.tls).poll_flush(cx))?;
        match this.tls.get_mut().1.writer().write(bytes)? {
            0 => Poll::Ready(Err(ErrorKind::WriteZero.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        false
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.get_mut().tls).poll_flush(cx)
    }

    /// Closes our side, then takes in and forgets what the client is still sending: closing a
    /// socket with unread bytes resets the connection, and the client would lose an answer such as
    /// 413.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.tls).poll_shutdown(cx))?;
        }
        let (end, total) = this.linger.get_or_insert_with(|| (Box::pin(sleep(LINGER)), 0));
        let mut space = [0; 4096];
        while *total < LINGER_BYTES && end.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut *this.tls.get_mut().0).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            *total += buf.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}

const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;
