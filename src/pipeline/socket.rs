//! A private WebSocket: every message of the client is a request of its own and has the same story.
//!
//! Never passes a message that is not `Cleared`, and never one whose sender is another account than the connection's.
//! Invariant: messages reach the exchange in the order in which they came, each after it was decided.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, SEC_WEBSOCKET_EXTENSIONS};
use http::{HeaderMap, HeaderName, Response};
use http_body_util::BodyExt;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ids::Ids;
use super::{Decided, End, LastCaller, Visit, decide, guarded, identify, identify_by, request_id};
use crate::body::Body;
use crate::classify::{ActionRule, Detected, Envelope, Names, Socket, Unclassified, frame_method};
use crate::clearance::Cleared;
use crate::forward::frames::{CLOSE, Messages, Passing, Sent, TEXT, close, frame};
use crate::forward::upgrade::Upgrade;
use crate::forward::wire::{Incoming, Wire};
use crate::forward::{Cause, ForwardError, Stamp};
use crate::gateway::{Gateway, Site, Worker};
use crate::identify::Identity;
use crate::inbound::Inbound;
use crate::rejection::Rejection;
use crate::suspended;

/// The client's end, taken from the request, and what tells that the gateway stops.
pub(super) struct Tunnel {
    pub client: OnUpgrade,
    pub stop: CancellationToken,
}

/// What a message is told by while it is a request.
pub(super) struct Frame {
    socket: Arc<Socket>,
    text: Bytes,
    wire: Arc<Wire>,
    pub id: Option<Arc<str>>,
}

impl Frame {
    /// A refusal in the exchange's words.
    pub fn refusal(&self, why: &str) -> String {
        self.socket.refusal(&self.text, why)
    }

    pub fn sending(&self) -> Sending {
        Sending { wire: self.wire.clone(), id: self.id.clone() }
    }
}

/// A guarded message on its way: how it is sent and its answer waited for.
pub(super) struct Sending {
    wire: Arc<Wire>,
    id: Option<Arc<str>>,
}

impl Sending {
    /// Sends, calls `sent`, then waits for the answer. A message without an id has none that could be told.
    pub async fn run(
        self,
        cleared: Cleared,
        sent: impl FnOnce(),
    ) -> Result<Response<Body>, ForwardError> {
        let answer = self.id.and_then(|id| self.wire.expect(id));
        self.wire.send(cleared).await?;
        sent();
        let text = match answer {
            Some(answer) => answer.text().await,
            None => None,
        };
        let text = text.ok_or(ForwardError::NoAnswer(Cause::AnswerTimeout))?;
        Ok(Response::new(Body::whole(text)))
    }
}

/// Switches protocols with the exchange and leaves the connection to a task of its own. `head` is the client's, as it
/// came, with whom it named.
pub(super) async fn open(
    worker: &Arc<Worker>,
    visit: &Visit,
    tunnel: Tunnel,
    (cleared, stamp): (Cleared, Stamp),
    (head, identity): (Inbound, Option<Arc<Identity>>),
) -> Result<Response<Body>, ForwardError> {
    let upgrade = worker.pool.upgrade(&visit.site.upstream, cleared, stamp).await?;
    let (response, server) = match upgrade {
        Upgrade::Answered(response) => return Ok(response),
        Upgrade::Switched(response, server) => (response, server),
    };
    // None was offered; with one its messages could not be read.
    if response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Err(ForwardError::NoAnswer(Cause::Switched));
    }
    let (incoming, wire) = Wire::new(server, worker.gateway.entropy.clone());
    let mut line = Line::new(worker.clone(), visit.tasks.clone(), head, Arc::new(wire));
    line.known = identity;
    // Among the connection's tasks: a drain waits until the farewell is said.
    visit.tasks.spawn(line.run(tunnel, incoming));
    Ok(response)
}

/// One private WebSocket at work.
struct Line {
    worker: Arc<Worker>,
    tasks: TaskTracker,
    head: Inbound,
    wire: Arc<Wire>,
    /// Whose connection it is: who asked for it, or the last one whose message has passed.
    known: Option<Arc<Identity>>,
    /// What the login said or, without one, the last message that named a credential.
    named: HeaderMap,
    logged_in: bool,
    token: Option<Arc<str>>,
    caller: LastCaller,
    ids: Ids,
}

/// What goes to the client beside the exchange's own frames.
enum Own {
    Message(Bytes),
    Close(u16),
}

/// Own messages that wait until the exchange's present one has ended.
const OWN_MAX: usize = 16;
/// How long a client may refuse to take what it is sent.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// From the one side's close to the other's.
const FAREWELL: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 8 * 1024;
/// Close codes (RFC 6455 §7.4.1 and its registry): the gateway stops; its configuration is another now.
const GOING_AWAY: u16 = 1001;
const SERVICE_RESTART: u16 = 1012;

type ClientReader = ReadHalf<TokioIo<Upgraded>>;

/// Why the client's side is done.
enum Done {
    /// It has closed, or is gone: its close frame went to the exchange.
    Closed,
    /// We end it.
    Farewell(u16),
}

impl Line {
    fn new(worker: Arc<Worker>, tasks: TaskTracker, mut head: Inbound, wire: Arc<Wire>) -> Self {
        // A code was for the upgrade itself; a message has no header that could carry one.
        let own = |name: &HeaderName| name.as_str().starts_with("step-up") || *name == ACCEPT;
        let names: Vec<HeaderName> =
            head.headers.keys().filter(|name| own(name)).cloned().collect();
        for name in names {
            head.headers.remove(name);
        }
        head.method = frame_method();
        let (known, named, logged_in, token) = (None, HeaderMap::new(), false, None);
        let (ids, caller) = (Ids::default(), LastCaller::default());
        Self { worker, tasks, head, wire, known, named, logged_in, token, caller, ids }
    }

    async fn run(mut self, tunnel: Tunnel, incoming: Incoming) {
        let Ok(client) = tunnel.client.await else { return };
        let (mut reader, writer) = tokio::io::split(TokioIo::new(client));
        let (own, queue) = mpsc::channel(OWN_MAX);
        let (ended, leaving) = (CancellationToken::new(), CancellationToken::new());
        let wire = self.wire.clone();
        let down = Down { worker: self.worker.clone(), head: self.head.clone(), wire, writer };
        let down = async {
            let wire = down.wire.clone();
            tokio::select! {
                () = down.run(incoming, queue) => {}
                () = async { leaving.cancelled().await; tokio::time::sleep(FAREWELL).await } => {}
            }
            wire.closed();
            ended.cancel();
        };
        let up = async {
            if let Done::Farewell(code) = self.up(&mut reader, &own, &tunnel.stop, &ended).await {
                // Either side may be gone already.
                let _ = own.send(Own::Close(code)).await;
                let _ = self.wire.control(CLOSE, &code.to_be_bytes()).await;
            }
            leaving.cancel();
            // Closing with bytes unread would take the farewell back from the client's buffers.
            let _ = tokio::time::timeout(
                FAREWELL,
                tokio::io::copy(&mut reader, &mut tokio::io::sink()),
            )
            .await;
        };
        tokio::join!(up, down);
    }

    /// Takes what the client sends until one side is done.
    async fn up(
        &mut self,
        reader: &mut ClientReader,
        own: &mpsc::Sender<Own>,
        stop: &CancellationToken,
        ended: &CancellationToken,
    ) -> Done {
        let (mut messages, mut buffer) = (Messages::default(), BytesMut::new());
        loop {
            let sent = match messages.next(&mut buffer) {
                Err(broken) => {
                    tracing::debug!(%broken, "a private WebSocket is closed");
                    return Done::Farewell(broken.code());
                }
                _ if stop.is_cancelled() => return Done::Farewell(GOING_AWAY),
                Ok(Some(sent)) => sent,
                Ok(None) => {
                    buffer.reserve(BUFFER_BYTES);
                    let read = tokio::select! {
                        () = stop.cancelled() => return Done::Farewell(GOING_AWAY),
                        () = ended.cancelled() => return Done::Closed,
                        read = reader.read_buf(&mut buffer) => read,
                    };
                    match read {
                        Ok(1..) => continue,
                        _ => return Done::Closed,
                    }
                }
            };
            let last = sent.is_close();
            let taken = match sent {
                Sent::Text(text) => self.message(text, own).await,
                Sent::Control(opcode, payload) => {
                    self.wire.control(opcode, &payload).await.map_err(|_| Done::Closed)
                }
            };
            match taken {
                Ok(()) if last => return Done::Closed,
                Ok(()) => {}
                Err(done) => return done,
            }
        }
    }

    /// One message from its arrival to its end; a refusal is told to the client and the connection stays. It is decided
    /// by what is in force when it comes, and by nothing else, whatever was in force when the connection was opened.
    async fn message(&mut self, text: Bytes, own: &mpsc::Sender<Own>) -> Result<(), Done> {
        let gateway = &self.worker.clone().gateway;
        let site = gateway.live.load().site(&self.head.host).cloned();
        let site = site.ok_or(Done::Farewell(GOING_AWAY))?;
        // A reload may have changed which paths are private.
        let socket = site.actions.socket(self.head.path()).cloned();
        let socket = socket.ok_or(Done::Farewell(SERVICE_RESTART))?;
        let mut visit = self.visit(gateway, site, &socket, &text).map_err(|_| Done::Closed)?;
        let ended = self.story(&mut visit, &socket, text).await;
        let passed = ended.is_ok();
        let response = visit.close(gateway, ended);
        if passed {
            return Ok(());
        }
        let refusal = response.into_body().collect().await.map_err(|_| Done::Closed)?.to_bytes();
        own.send(Own::Message(frame(TEXT, &refusal, None))).await.map_err(|_| Done::Closed)
    }

    /// The message as a request of its own.
    fn visit(
        &self,
        gateway: &Gateway,
        site: Arc<Site>,
        socket: &Arc<Socket>,
        text: &Bytes,
    ) -> Result<Visit, Rejection> {
        let now = gateway.clock.now();
        let head =
            Inbound { request: request_id(gateway, now), received: now, ..self.head.clone() };
        let locator = &*gateway.locator;
        let caller = self.caller.or_new(locator, head.client, &head.authority, head.received)?;
        let (socket, text, wire) = (socket.clone(), text.clone(), self.wire.clone());
        let frame = Frame { socket, text, wire, id: None };
        Ok(Visit::of_frame(head, site, caller, self.tasks.clone(), frame))
    }

    /// open → classify → identify → (ordinary | guarded).
    async fn story(
        &mut self,
        visit: &mut Visit,
        socket: &Socket,
        text: Bytes,
    ) -> Result<Response<Body>, End> {
        let worker = self.worker.clone();
        let plain = socket.is_plain(&text);
        let Envelope { mut names, id } = match plain {
            true => Envelope::default(),
            false => socket.open(&text).map_err(Rejection::from)?,
        };
        if let Some(id) = &id {
            // A client could have what is refused taken for what was done, and its amount forgotten.
            self.wire.doubt(id);
        }
        visit.framed(id.clone().filter(|id| self.ids.is_fresh(id)));
        let site = visit.site.clone();
        let rule = match plain {
            true => None,
            false => Some(operation(&site, visit, &text)?),
        };
        if let Some(rule) = rule {
            names = rule.named(&text, names).map_err(Rejection::from)?;
            if rule.login && names.is_none() {
                let why = "the login names nobody that is known here";
                return Err(Rejection::Unauthenticated(why).into());
            }
        }
        let named = self.named(&worker.gateway, visit, names.as_ref()).await?;
        for (name, value) in &named {
            let headers = &mut visit.head.headers;
            if !headers.get_all(name).iter().any(|known| known == value) {
                headers.append(name.clone(), value.clone());
            }
        }
        let visit = &*visit;
        let guarded = rule.is_some_and(|rule| rule.guarded || visit.site.policy.names(&rule.name));
        let identity = self.sender(visit, names.is_some().then_some(&named), guarded).await?;
        if let Some(identity) = &identity {
            visit.identified(identity);
        }
        suspended::judge(&worker.gateway, visit, rule, guarded).await?;
        let response = match identity.clone() {
            Some(identity) if guarded => {
                guarded::run(&worker, visit, rule, text, identity, false).await?
            }
            identity => match decide(&worker, visit, rule, identity.as_ref(), false).await? {
                Decided::AboutThisOne(identity) | Decided::HoldThisOne(identity) => {
                    guarded::run(&worker, visit, rule, text, identity, false).await?
                }
                Decided::Cleared(permit) => {
                    let body = Body::whole(text);
                    let cleared = Cleared::by_permit(permit, visit.head.clone(), body);
                    let sent = self.wire.send(cleared).await;
                    sent.map_err(|error| End::from(visit.upstream_failed(&error, false)))?;
                    Response::new(Body::empty())
                }
            },
        };
        self.known = identity;
        if let Some(id) = id {
            self.ids.remember(&id);
        }
        let login = rule.is_some_and(|rule| rule.login);
        if let Some(names) = names.filter(|_| login || !self.logged_in) {
            self.logged_in |= login;
            self.named = named;
            self.token = match names {
                Names::Token(token) => Some(token),
                Names::Header(..) => None,
            };
        }
        Ok(response)
    }

    /// Who sends a message. `named`: what it names, which must prove an account by itself.
    async fn sender(
        &self,
        visit: &Visit,
        named: Option<&HeaderMap>,
        guarded: bool,
    ) -> Result<Option<Arc<Identity>>, End> {
        const NOBODY: Rejection =
            Rejection::Unauthenticated("this needs a valid session or API key");
        if let Some(named) = named
            && identify_by(visit, named, guarded).await?.is_none()
        {
            return Err(NOBODY.into());
        }
        match (identify(visit, guarded).await?, &self.known) {
            (None, _) if guarded || named.is_some() => Err(NOBODY.into()),
            // Its session may have ended or cannot be checked: to the exchange it is still the same one's.
            (None, known) => Ok(known.clone()),
            (Some(sender), Some(known)) if sender.account != known.account => {
                Err(Rejection::BadRequest("this connection is for another account").into())
            }
            (sender, _) => Ok(sender),
        }
    }

    /// The headers in which what the message names would stand in a request; without a name, the last one's.
    async fn named(
        &self,
        gateway: &Gateway,
        visit: &Visit,
        names: Option<&Names>,
    ) -> Result<HeaderMap, Rejection> {
        match names {
            None => Ok(self.named.clone()),
            Some(Names::Token(token)) if self.token.as_ref() == Some(token) => {
                Ok(self.named.clone())
            }
            Some(Names::Header(name, value)) => {
                Ok(HeaderMap::from_iter([(name.clone(), value.clone())]))
            }
            Some(Names::Token(token)) => {
                let (tokens, head) = (gateway.tokens(&visit.site.name), &visit.head);
                let found = tokens.find(token, head.client, head.received).await;
                let found = found.map_err(|error| visit.store_failed(&error))?;
                found.ok_or(Rejection::Unauthenticated("the token was not given out through here"))
            }
        }
    }
}

/// The action that a message names. Whatever the pack says of unlisted writes: on a private path they are refused.
fn operation<'a>(site: &'a Site, visit: &Visit, text: &[u8]) -> Result<&'a ActionRule, Rejection> {
    match site.actions.select(&visit.head, text)? {
        Detected::Action(rule) => Ok(rule),
        Detected::NotCanonical(why) => Err(Rejection::NotCanonical(why)),
        Detected::Unlisted { route, sensitive, .. } => {
            visit.unlisted(route, Unclassified::Deny, sensitive);
            Err(Rejection::Unclassified(route.into()))
        }
        Detected::Ordinary | Detected::Selected => {
            Err(Rejection::NotCanonical("no operation is named"))
        }
    }
}

/// The way from the exchange to the client.
struct Down {
    worker: Arc<Worker>,
    head: Inbound,
    wire: Arc<Wire>,
    writer: WriteHalf<TokioIo<Upgraded>>,
}

impl Down {
    /// Until one of them is gone or the last close frame has passed.
    async fn run(mut self, mut incoming: Incoming, mut queue: mpsc::Receiver<Own>) {
        let (mut passing, mut buffer) = (Passing::default(), BytesMut::new());
        loop {
            buffer.reserve(BUFFER_BYTES);
            let goes_on = tokio::select! {
                own = queue.recv(), if passing.at_boundary() => match own {
                    Some(Own::Message(bytes)) => self.write(&bytes).await,
                    Some(Own::Close(code)) => {
                        self.write(&close(code, None)).await;
                        false
                    }
                    None => false,
                },
                read = incoming.read_buf(&mut buffer) => match read {
                    Ok(1..) => self.pass(&mut passing, &mut buffer).await,
                    _ => false,
                },
            };
            if !goes_on {
                let _ = tokio::time::timeout(FAREWELL, self.writer.shutdown()).await;
                return;
            }
        }
    }

    /// False once nothing more is to pass.
    async fn pass(&mut self, passing: &mut Passing, buffer: &mut BytesMut) -> bool {
        loop {
            let piece = match passing.next(buffer, self.wire.listens()) {
                Ok(Some(piece)) => piece,
                Ok(None) => return true,
                Err(broken) => {
                    tracing::warn!(%broken, "the exchange's end of a private WebSocket is closed");
                    return false;
                }
            };
            if let Some(message) = piece.message {
                self.hear(message);
            }
            if !self.write(&piece.bytes).await || piece.ends_close {
                return false;
            }
        }
    }

    /// A message came while an answer is waited for.
    fn hear(&self, message: Bytes) {
        let live = self.worker.gateway.live.load();
        let socket =
            live.site(&self.head.host).and_then(|site| site.actions.socket(self.head.path()));
        if let Some(id) = socket.and_then(|socket| socket.answers(&message)) {
            self.wire.answered(&id, message);
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        let written = tokio::time::timeout(CLIENT_TIMEOUT, async {
            self.writer.write_all(bytes).await?;
            self.writer.flush().await
        });
        matches!(written.await, Ok(Ok(())))
    }
}
