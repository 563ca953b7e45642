//! Bytes as they are, to the gateway over TLS or to an application directly, and what came back.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::Client;

/// After so much silence nothing more is expected of tricks: an answer has come, or the message has no end.
pub const QUIET: Duration = Duration::from_millis(700);
/// For messages that have an end, and will be answered however busy the machine is.
pub const LONG: Duration = Duration::from_secs(60);
/// More of an answer than anyone looks at.
const ANSWER_MAX: u64 = 1 << 20;

/// What was made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// The gateway asked for a code.
    Challenged,
    /// The gateway passed something on, and this came back with its `Via`.
    Forwarded,
    /// The gateway's own 4xx or 5xx.
    Refused(u16),
    /// Closed or silent without an answer.
    Nothing,
}

impl Word {
    /// Whether the framework may have got something.
    pub fn may_have_passed(self) -> bool {
        matches!(self, Self::Forwarded | Self::Nothing | Self::Refused(502 | 504))
    }
}

pub fn word(answer: &[u8]) -> Word {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    if text.contains("\r\nvia: ") {
        return Word::Forwarded;
    }
    if text.contains("\r\nstep-up-challenge: ") {
        return Word::Challenged;
    }
    // The last answer, for an interim one may stand before it.
    let status = text.rsplit("http/1.1 ").next().and_then(|rest| rest.get(..3)?.parse().ok());
    status.map_or(Word::Nothing, Word::Refused)
}

pub async fn through(
    client: &Client,
    bytes: &[u8],
    cut: Option<u8>,
    patience: Duration,
) -> Vec<u8> {
    talk(client.connect(&[]).await.unwrap(), bytes, cut, patience).await
}

pub async fn directly(address: SocketAddr, bytes: &[u8], cut: Option<u8>) -> Vec<u8> {
    talk(TcpStream::connect(address).await.unwrap(), bytes, cut, QUIET).await
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    bytes: &[u8],
    cut: Option<u8>,
    patience: Duration,
) -> Vec<u8> {
    let at = cut.map_or(bytes.len(), |share| bytes.len() * usize::from(share) / 256);
    let mut answer = Vec::new();
    // The other side may close before it has read everything; what it answered is read all the same.
    for piece in [&bytes[..at], &bytes[at..]] {
        let written = async {
            stream.write_all(piece).await?;
            stream.flush().await
        };
        let _ = tokio::time::timeout(patience, written).await;
        if at < bytes.len() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    listen(&mut stream, &mut answer, patience).await;
    // Whoever still waits for the rest of a message is told that there is none.
    let _ = tokio::time::timeout(QUIET, stream.shutdown()).await;
    listen(&mut stream, &mut answer, patience).await;
    answer
}

/// Reads to the end or into silence.
async fn listen(stream: &mut (impl AsyncRead + Unpin), answer: &mut Vec<u8>, patience: Duration) {
    let mut buffer = [0; 4096];
    while (answer.len() as u64) < ANSWER_MAX {
        match tokio::time::timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => answer.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
}
