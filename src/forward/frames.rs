//! Frames of a private WebSocket (RFC 6455 §5): the client's are put together to messages, the exchange's pass in pieces.
//!
//! Never holds more than one message of a client and 64 KiB of an answer, and never lets an extension's bits pass:
//! none was negotiated. Invariant: what is no text in UTF-8 never becomes a message.

use std::io::Cursor;

use bytes::{Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::classify::BODY_BYTES_MAX;

/// Why a connection cannot go on, as its close code says it (RFC 6455 §7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("{0}")]
    Protocol(&'static str),
    #[error("binary messages are not read here")]
    Binary,
    #[error("a text that is not UTF-8")]
    NotText,
    #[error("a message over 64 KiB")]
    TooLarge,
}

impl Broken {
    pub fn code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::Binary => 1003,
            Self::NotText => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// What a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A whole message.
    Text(Bytes),
    /// Ping, pong or close.
    Control(OpCode, Bytes),
}

impl Sent {
    pub fn is_close(&self) -> bool {
        matches!(self, Self::Control(OpCode::Control(Control::Close), _))
    }
}

/// One message in pieces is not worth more than this many.
const FRAGMENTS_MAX: usize = 1024;
/// A control frame's payload (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Puts the client's frames together.
#[derive(Default)]
pub struct Messages {
    text: BytesMut,
    /// Of the message that has begun and not ended.
    fragments: usize,
}

impl Messages {
    /// The next message or control frame in `buffer`, which keeps what is left; None if it holds no whole one.
    ///
    /// # Errors
    /// `Broken` if the connection must end.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Sent>, Broken> {
        while let Some((header, length, head)) = header(buffer)? {
            let Some(mask) = header.mask else {
                return Err(Broken::Protocol("a frame without a mask"));
            };
            let control = matches!(header.opcode, OpCode::Control(_));
            if !control {
                self.check(&header, length)?;
            }
            if buffer.len() < head + length {
                return Ok(None);
            }
            let _ = buffer.split_to(head);
            let mut payload = buffer.split_to(length);
            apply(mask, &mut payload);
            if control {
                return Ok(Some(Sent::Control(header.opcode, payload.freeze())));
            }
            self.text.extend_from_slice(&payload);
            self.fragments += 1;
            if header.is_final {
                self.fragments = 0;
                let text = self.text.split().freeze();
                return match std::str::from_utf8(&text) {
                    Ok(_) => Ok(Some(Sent::Text(text))),
                    Err(_) => Err(Broken::NotText),
                };
            }
        }
        Ok(None)
    }

    /// Before its payload has come: nothing is waited for that would be refused.
    fn check(&self, header: &FrameHeader, length: usize) -> Result<(), Broken> {
        match (header.opcode, self.fragments) {
            (OpCode::Data(Data::Text), 0) => {}
            (OpCode::Data(Data::Continue), 1..FRAGMENTS_MAX) => {}
            (OpCode::Data(Data::Binary), 0) => return Err(Broken::Binary),
            _ => return Err(Broken::Protocol("a fragment out of place")),
        }
        match self.text.len().checked_add(length) {
            Some(whole) if whole <= BODY_BYTES_MAX => Ok(()),
            _ => Err(Broken::TooLarge),
        }
    }
}

/// Passes the exchange's frames on as they come, and knows where a message ends.
#[derive(Default)]
pub struct Passing {
    /// Payload bytes of the present frame that are still to come.
    left: u64,
    /// The present frame's, while some of it is to come.
    last: bool,
    control: bool,
    close: bool,
    /// Within a message of several frames.
    inside: bool,
    /// The text of the present message, if somebody wants to know it.
    text: Option<BytesMut>,
}

/// Bytes for the client.
pub struct Piece {
    pub bytes: Bytes,
    /// A text message that has ended with it, if it was listened to.
    pub message: Option<Bytes>,
    /// It is the end of a close frame: nothing comes after it.
    pub ends_close: bool,
}

impl Passing {
    /// Whether a message of our own can stand here.
    pub fn at_boundary(&self) -> bool {
        self.left == 0 && !self.inside
    }

    /// What of `buffer` can go to the client now. `listen`: the text of a message that begins here is wanted.
    ///
    /// # Errors
    /// `Broken` if the exchange does not keep to the protocol.
    pub fn next(&mut self, buffer: &mut BytesMut, listen: bool) -> Result<Option<Piece>, Broken> {
        let mut bytes = BytesMut::new();
        if self.left == 0 {
            let Some((header, length, head)) = header(buffer)? else { return Ok(None) };
            if header.mask.is_some() {
                return Err(Broken::Protocol("a server's frame with a mask"));
            }
            self.control = matches!(header.opcode, OpCode::Control(_));
            self.close = header.opcode == OpCode::Control(Control::Close);
            if !self.control {
                let begins = header.opcode != OpCode::Data(Data::Continue);
                if begins == self.inside {
                    return Err(Broken::Protocol("a fragment out of place"));
                }
                if begins {
                    let text = header.opcode == OpCode::Data(Data::Text);
                    self.text = (listen && text).then(BytesMut::new);
                }
                self.inside = !header.is_final;
            }
            self.last = header.is_final;
            self.left = length as u64;
            bytes = buffer.split_to(head);
        }
        let ready = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let payload = buffer.split_to(ready);
        self.left -= ready as u64;
        if !self.control {
            self.hear(&payload);
        }
        bytes.extend_from_slice(&payload);
        let ended = self.left == 0 && self.last && !self.control;
        let message = if ended { self.text.take().map(BytesMut::freeze) } else { None };
        let ends_close = self.close && self.left == 0;
        Ok((!bytes.is_empty()).then(|| Piece { bytes: bytes.freeze(), message, ends_close }))
    }

    fn hear(&mut self, payload: &[u8]) {
        if let Some(text) = &mut self.text {
            text.extend_from_slice(payload);
            if text.len() > BODY_BYTES_MAX {
                self.text = None;
            }
        }
    }
}

/// The header at the buffer's beginning with the length of payload and header; None if it is not all there.
fn header(buffer: &BytesMut) -> Result<Option<(FrameHeader, usize, usize)>, Broken> {
    let mut cursor = Cursor::new(&buffer[..]);
    let parsed =
        FrameHeader::parse(&mut cursor).map_err(|_| Broken::Protocol("an unknown opcode"))?;
    let Some((header, length)) = parsed else { return Ok(None) };
    if header.rsv1 || header.rsv2 || header.rsv3 {
        return Err(Broken::Protocol("an extension that was not agreed on"));
    }
    let control = matches!(header.opcode, OpCode::Control(_));
    if control && (!header.is_final || length > CONTROL_BYTES_MAX as u64) {
        return Err(Broken::Protocol("a control frame that is long or in pieces"));
    }
    let length = usize::try_from(length).map_err(|_| Broken::TooLarge)?;
    let head = usize::try_from(cursor.position()).map_err(|_| Broken::TooLarge)?;
    Ok(Some((header, length, head)))
}

/// One frame, whole; masked on its way to the exchange.
pub fn frame(opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) -> Bytes {
    let header = FrameHeader { opcode, mask, ..FrameHeader::default() };
    let length = payload.len() as u64;
    let mut bytes = Vec::with_capacity(header.len(length) + payload.len());
    // Writing into memory does not fail.
    let _ = header.format(length, &mut bytes);
    let begins = bytes.len();
    bytes.extend_from_slice(payload);
    if let (Some(mask), Some(payload)) = (mask, bytes.get_mut(begins..)) {
        apply(mask, payload);
    }
    bytes.into()
}

pub const TEXT: OpCode = OpCode::Data(Data::Text);
pub const CLOSE: OpCode = OpCode::Control(Control::Close);

/// A close frame with a code and no words.
pub fn close(code: u16, mask: Option<[u8; 4]>) -> Bytes {
    frame(CLOSE, &code.to_be_bytes(), mask)
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MASK: Option<[u8; 4]> = Some([1, 2, 3, 250]);

    fn piece(opcode: OpCode, last: bool, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let mut bytes = frame(opcode, payload, mask).to_vec();
        if !last {
            bytes[0] &= 0x7f;
        }
        bytes
    }

    fn text(payload: &[u8]) -> Vec<u8> {
        piece(TEXT, true, payload, MASK)
    }

    fn read(bytes: &[u8]) -> (Vec<Sent>, Option<Broken>) {
        let (mut messages, mut buffer) = (Messages::default(), BytesMut::from(bytes));
        let mut read = Vec::new();
        loop {
            match messages.next(&mut buffer) {
                Ok(Some(sent)) => read.push(sent),
                Ok(None) => return (read, None),
                Err(broken) => return (read, Some(broken)),
            }
        }
    }

    const CONTINUE: OpCode = OpCode::Data(Data::Continue);
    const PING: OpCode = OpCode::Control(Control::Ping);

    #[test]
    fn fragments_become_one_message_and_control_frames_pass_between_them() {
        let bytes = [
            piece(TEXT, false, "é".as_bytes().get(..1).unwrap(), MASK),
            piece(PING, true, b"now", MASK),
            piece(CONTINUE, false, b"", MASK),
            piece(CONTINUE, true, "é!".as_bytes().get(1..).unwrap(), MASK),
            text(b"next"),
        ]
        .concat();
        let (read, broken) = read(&bytes);
        assert_eq!(broken, None);
        let (control, one, two) = (
            Sent::Control(PING, Bytes::from_static(b"now")),
            Sent::Text("é!".into()),
            Sent::Text("next".into()),
        );
        assert_eq!(read, [control, one, two]);
    }

    #[test]
    fn what_is_no_plain_text_message_ends_the_connection_with_its_code() {
        let mut compressed = text(b"x");
        compressed[0] |= 0x40;
        let long = vec![b'a'; BODY_BYTES_MAX];
        for (bytes, code) in [
            (piece(TEXT, true, b"x", None), 1002),
            (compressed, 1002),
            (piece(CONTINUE, true, b"x", MASK), 1002),
            ([piece(TEXT, false, b"x", MASK), text(b"y")].concat(), 1002),
            (piece(PING, false, b"x", MASK), 1002),
            (piece(PING, true, &[0; 126], MASK), 1002),
            (vec![0x83, 0x80, 0, 0, 0, 0], 1002),
            (piece(OpCode::Data(Data::Binary), true, b"x", MASK), 1003),
            (text(b"\xff"), 1007),
            (text(b"\xed\xa0\x80"), 1007),
            (piece(TEXT, true, &vec![b'a'; BODY_BYTES_MAX + 1], MASK), 1009),
            ([piece(TEXT, false, &long, MASK), piece(CONTINUE, true, b"b", MASK)].concat(), 1009),
            // Refused before any of it is waited for.
            (vec![0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4], 1009),
            (vec![0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4], 1009),
        ] {
            let (read, broken) = read(&bytes);
            assert_eq!(broken.map(Broken::code), Some(code), "{:?}", bytes.get(..16));
            assert!(read.is_empty());
        }
        let (whole, broken) = read(&text(&long));
        assert!(whole.len() == 1 && broken.is_none());
        let many = [
            piece(TEXT, false, b"", MASK),
            piece(CONTINUE, false, b"", MASK).repeat(FRAGMENTS_MAX),
        ];
        assert!(matches!(read(&many.concat()).1, Some(Broken::Protocol(_))));
    }

    fn pass(bytes: &[u8], step: usize, listen: bool) -> (Vec<u8>, Vec<Bytes>, bool) {
        let (mut passing, mut buffer) = (Passing::default(), BytesMut::new());
        let (mut out, mut heard) = (Vec::new(), Vec::new());
        for chunk in bytes.chunks(step) {
            buffer.extend_from_slice(chunk);
            while let Some(piece) = passing.next(&mut buffer, listen).unwrap() {
                out.extend_from_slice(&piece.bytes);
                heard.extend(piece.message);
            }
        }
        (out, heard, passing.at_boundary())
    }

    #[test]
    fn an_exchanges_frames_pass_byte_for_byte_in_pieces_of_any_size() {
        let bytes = [
            piece(TEXT, true, b"one", None),
            piece(TEXT, false, b"tw", None),
            piece(PING, true, b"p", None),
            piece(CONTINUE, true, b"o", None),
            piece(OpCode::Data(Data::Binary), true, &vec![7; 70_000], None),
            piece(TEXT, true, &vec![b'x'; BODY_BYTES_MAX + 1], None),
            piece(TEXT, true, b"", None),
        ]
        .concat();
        for step in [1, 2, 3, 7, 1000, 1 << 20] {
            let (out, heard, ended) = pass(&bytes, step, true);
            assert!(out == bytes && ended, "{step}");
            assert_eq!(heard, ["one", "two", ""].map(Bytes::from), "{step}");
            assert_eq!(pass(&bytes, step, false).1.len(), 0);
        }
        assert!(!pass(&piece(TEXT, false, b"x", None), 9, false).2, "inside a message");
        assert!(!pass(&bytes[..4], 9, false).2, "inside a frame");
    }

    #[test]
    fn an_exchange_that_breaks_the_protocol_is_not_passed_on() {
        let mut compressed = piece(TEXT, true, b"x", None);
        compressed[0] |= 0x40;
        let twice = [piece(TEXT, false, b"x", None), piece(TEXT, true, b"x", None)].concat();
        for bytes in [text(b"x"), compressed, twice, piece(CONTINUE, true, b"x", None)] {
            let (mut passing, mut buffer) = (Passing::default(), BytesMut::from(&bytes[..]));
            let ended = std::iter::from_fn(|| passing.next(&mut buffer, false).transpose());
            assert!(ended.take(9).any(|piece| piece.is_err()), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_message_comes_back_however_it_is_cut(
            payload in "\\PC{0,200}", cuts in proptest::collection::vec(0usize..200, 0..6), mask in any::<[u8; 4]>(), step in 1usize..50,
        ) {
            let mut at: Vec<usize> = cuts.into_iter().map(|cut| cut.min(payload.len())).collect();
            at.sort_unstable();
            at.push(payload.len());
            let (mut bytes, mut from) = (Vec::new(), 0);
            for (index, to) in at.iter().enumerate() {
                let opcode = if index == 0 { TEXT } else { CONTINUE };
                let last = index + 1 == at.len();
                bytes.extend(piece(opcode, last, &payload.as_bytes()[from..*to], Some(mask)));
                from = *to;
            }
            let (mut messages, mut buffer, mut read) = (Messages::default(), BytesMut::new(), Vec::new());
            for chunk in bytes.chunks(step) {
                buffer.extend_from_slice(chunk);
                while let Some(sent) = messages.next(&mut buffer).unwrap() {
                    read.push(sent);
                }
            }
            prop_assert_eq!(read, [Sent::Text(payload.into())]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes);
            let (mut passing, mut buffer) = (Passing::default(), BytesMut::from(&bytes[..]));
            while let Ok(Some(_)) = passing.next(&mut buffer, true) {}
        }
    }
}
