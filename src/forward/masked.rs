//! The client's half of a WebSocket that is passed on unread: nothing but frames goes through.
//!
//! Never looks into a frame and never holds one back. An upstream that said 101 and went on reading HTTP would take a
//! request inside the tunnel for one that was checked. Invariant: every frame that passes is masked, as every client's is
//! (RFC 6455 §5.1), and of a known kind; no HTTP text can be.

use std::io::{Error, ErrorKind, Result as IoResult};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The client's end of the tunnel.
pub(super) struct Masked<T> {
    client: T,
    place: Place,
}

/// Where in the client's bytes the next one belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The byte with the kind.
    Kind,
    /// The byte with the mask bit and the length, or how to read it.
    Length { control: bool },
    /// So many bytes of a long length are to come.
    LongLength { left: u8, length: u64 },
    /// Mask and payload.
    Rest { left: u64 },
}

impl<T> Masked<T> {
    pub(super) fn new(client: T) -> Self {
        Self { client, place: Place::Kind }
    }
}

/// Walks over bytes of frames; None if they are none.
fn walk(mut place: Place, mut bytes: &[u8]) -> Option<Place> {
    while let [first, rest @ ..] = bytes {
        place = match place {
            Place::Kind => match first & 0x0f {
                0..=2 => Place::Length { control: false },
                8..=10 if first & 0x80 != 0 => Place::Length { control: true },
                _ => return None,
            },
            Place::Length { control } => match (first & 0x80, u64::from(first & 0x7f)) {
                (0, _) => return None,
                (_, 126..) if control => return None,
                (_, 126) => Place::LongLength { left: 2, length: 0 },
                (_, 127) => Place::LongLength { left: 8, length: 0 },
                (_, length) => Place::Rest { left: length + MASK_BYTES },
            },
            Place::LongLength { left, length } => {
                let length = length << 8 | u64::from(*first);
                match left - 1 {
                    0 if length >> 63 != 0 => return None,
                    0 => Place::Rest { left: length + MASK_BYTES },
                    left => Place::LongLength { left, length },
                }
            }
            Place::Rest { left } => {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[count..];
                place = match left - count as u64 {
                    0 => Place::Kind,
                    left => Place::Rest { left },
                };
                continue;
            }
        };
        bytes = rest;
    }
    Some(place)
}

impl<T: AsyncRead + Unpin> AsyncRead for Masked<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<IoResult<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.client).poll_read(cx, buf))?;
        match walk(this.place, &buf.filled()[before..]) {
            Some(place) => {
                this.place = place;
                Poll::Ready(Ok(()))
            }
            None => {
                buf.set_filled(before);
                Poll::Ready(Err(Error::new(
                    ErrorKind::InvalidData,
                    "not a client's WebSocket frame",
                )))
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Masked<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<IoResult<usize>> {
        Pin::new(&mut self.get_mut().client).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.get_mut().client).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        Pin::new(&mut self.get_mut().client).poll_shutdown(cx)
    }
}

/// What a client is told that sent no frame: a close frame with 1002, protocol error.
pub(super) const NOT_A_FRAME: &[u8] = &[0x88, 0x02, 0x03, 0xea];
const MASK_BYTES: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(bytes: &[u8]) -> bool {
        let whole = walk(Place::Kind, bytes);
        let by_byte = bytes.chunks(1).try_fold(Place::Kind, walk);
        assert_eq!(whole, by_byte, "it depends on how it is cut");
        whole.is_some()
    }

    #[test]
    fn masked_frames_of_every_length_pass() {
        let mut all = vec![0x81, 0x80, 1, 2, 3, 4, 0x89, 0x81, 1, 2, 3, 4, 5, 0xc2, 0xfe, 1, 0];
        all.extend([0; 260]);
        all.extend([0x01, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
        all.extend([0; 65_540]);
        all.extend([0x80, 0x81, 1, 2, 3, 4, 5, 0x88, 0x82, 1, 2, 3, 4, 5, 6]);
        assert!(passes(&all));
        assert_eq!(walk(Place::Kind, &all), Some(Place::Kind), "it ends where a frame ends");
        assert!(!passes(&[&all[..], b"GET / HTTP/1.1\r\n\r\n"].concat()));
    }

    #[test]
    fn what_is_no_clients_frame_does_not() {
        for bytes in [
            b"POST /".as_slice(),
            b"GET /",
            b"PRI * HTTP/2.0",
            &[0x16, 0x03, 0x01],
            &[0x81, 0x01, b'a'],
            &[0x83, 0x80],
            &[0x8b, 0x80],
            &[0x09, 0x80],
            &[0x89, 0xfe, 0, 126],
            &[0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(!passes(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn no_request_line_begins_like_a_frame() {
        for first in b'!'..=b'~' {
            for second in b' '..=b'~' {
                assert!(!passes(&[first, second]), "{first} {second}");
            }
        }
    }
}
