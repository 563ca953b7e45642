//! An upstream that keeps the very bytes it was sent, and a client that sends the very bytes it was told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{PACK, RULES};
use crate::world::World;

/// A request as it stood on the wire, its chunks joined.
#[derive(Clone, Debug, Default)]
pub struct Message {
    pub line: Vec<u8>,
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn line(&self) -> &str {
        std::str::from_utf8(&self.line).unwrap()
    }

    /// All values of a field, in their order.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        let same = |(known, _): &&(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
        self.fields.iter().filter(same).map(|(_, value)| &value[..]).collect()
    }

    /// The one value of a field that must be there once.
    pub fn one(&self, name: &str) -> &str {
        match &self.all(name)[..] {
            [only] => std::str::from_utf8(only).unwrap(),
            other => panic!("{name}: {} times", other.len()),
        }
    }
}

/// The recording upstream.
pub struct Wire {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
}

impl Wire {
    /// Answers every request with these bytes.
    pub async fn answering(answer: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::<[u8]>::from(answer));
        let wire = Self { address, seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = (seen.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(message) = read(&mut stream).await {
                        seen.lock().unwrap().push(message);
                        stream.write_all(&answer).await.unwrap();
                    }
                });
            }
        });
        wire
    }

    /// With a gateway in front.
    pub async fn behind_a_gateway() -> (Self, World) {
        let wire = Self::answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let world = World::in_front_of(wire.address, RULES, PACK).await;
        (wire, world)
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub fn last(&self) -> Message {
        self.seen.lock().unwrap().last().expect("something arrived").clone()
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Message> {
    let mut message = Message { line: line(stream).await?, ..Message::default() };
    loop {
        let field = line(stream).await?;
        if field.is_empty() {
            break;
        }
        let colon = field.iter().position(|byte| *byte == b':').expect("a field");
        let name = String::from_utf8(field[..colon].to_vec()).unwrap();
        message.fields.push((name, field[colon + 1..].trim_ascii().to_vec()));
    }
    if message.all("transfer-encoding") == [b"chunked"] {
        loop {
            let size = String::from_utf8(line(stream).await?).unwrap();
            let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
            exactly(stream, size, &mut message.body).await?;
            assert!(line(stream).await?.is_empty(), "a chunk ends in a line's end");
            if size == 0 {
                return Some(message);
            }
        }
    }
    if !message.all("content-length").is_empty() {
        let length = message.one("content-length").parse().unwrap();
        exactly(stream, length, &mut message.body).await?;
    }
    Some(message)
}

async fn line(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok()?;
    Some(line.strip_suffix(b"\r\n")?.to_vec())
}

async fn exactly(
    stream: &mut BufReader<TcpStream>,
    length: usize,
    body: &mut Vec<u8>,
) -> Option<()> {
    let start = body.len();
    body.resize(start + length, 0);
    stream.read_exact(&mut body[start..]).await.ok().map(drop)
}

/// Sends these bytes over TLS and reads until the gateway closes: they should say `Connection: close`.
pub async fn raw(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = world.client().connect(&[]).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A close without TLS's goodbye is an error with everything read so far in `answer`.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// Status of a raw answer.
pub fn status(answer: &[u8]) -> &str {
    let text = answer.get(9..12).unwrap_or_default();
    std::str::from_utf8(text).unwrap()
}
