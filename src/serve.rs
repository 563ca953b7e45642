//! Composition root: settings → adapters → gateway → listeners, with reload and shutdown wired in.
//!
//! Never serves with a faulty configuration: it does not start, and a faulty reload keeps what was. Invariant: what
//! `check` accepts is what runs, because both go through `assemble`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::admin::operators::FourEyes;
use crate::admin::{self, Operations};
use crate::assemble;
use crate::audit::{self, Audit, Event, Record};
use crate::body::Body;
use crate::config::{self, Config, StoreConfig};
use crate::crypto::{Keyring, SigningKey};
use crate::fault::Fault;
use crate::fetch::Fetch;
use crate::forward::{Pool, Settings as PoolSettings, Trust};
use crate::gateway::{Gateway, Worker};
use crate::listen::certs::Certificates;
use crate::listen::{self, Connection, Handler, Listening};
use crate::locate::maxmind::Locator;
use crate::messenger::{self, Messenger};
use crate::metrics::Metrics;
use crate::notices;
use crate::operations::{self, Desk};
use crate::pages::Pages;
use crate::pipeline::{self, LastCaller};
use crate::reload::{Reloader, Trigger};
use crate::routes::Routes;
use crate::stepup::phone;
use crate::store::embedded::Embedded;
use crate::store::redis::{Redis, Settings as RedisSettings};
use crate::store::{Store, StoreError};
use crate::suspended::Suspended;
use crate::types::UnixMs;
use crate::watch::Seen;
use crate::world::{Clock, Entropy};

/// What a gateway is started from.
pub struct Start {
    pub config: PathBuf,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Why it did not start. What lies behind it is its source, not in its own words.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{}", render(.0))]
    Faults(Vec<Fault>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] audit::OpenError),
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the gateway cannot be set up")]
    Io(#[from] std::io::Error),
    #[error("the gateways' common signing key cannot be used: {0}")]
    Key(&'static str),
    #[error("outgoing connections cannot be set up: {0}")]
    Outgoing(String),
}

/// All faults, one after the other, as people read them.
pub fn render(faults: &[Fault]) -> String {
    faults.iter().map(Fault::render).collect::<Vec<_>>().join("\n\n")
}

/// What reload and the operators' desk need to reach.
pub(crate) struct Parts {
    pub gateway: Arc<Gateway>,
    pub locator: Arc<Locator>,
    pub messenger: Option<Messenger>,
    pub reloader: Reloader,
    pub started: UnixMs,
}

/// A gateway at work.
pub struct Running {
    listening: Option<Listening>,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    stop: CancellationToken,
    background: Option<Runtime>,
    parts: Option<Arc<Parts>>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its admin interface listens.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Reads every file again. Blocks.
    ///
    /// # Errors
    /// All faults as text, with everything as it was.
    pub fn reload(&self) -> Result<String, String> {
        let parts = self.parts.as_ref().ok_or("the gateway has stopped")?;
        parts.reloader.reload(&parts.gateway, &parts.locator, Trigger::Operator)
    }

    /// Drains: no new connections, running requests end, the log is signed and closed. Blocks.
    pub fn stop(&mut self) {
        self.stop.cancel();
        if let Some(listening) = self.listening.take() {
            listening.join();
        }
        if let Some(parts) = self.parts.take() {
            operations::note_routes(&parts.gateway);
            if let Some(background) = &self.background {
                background.block_on(parts.gateway.notices.settled());
            }
            parts.gateway.audit.close(); // which writes that the gateway stopped, and signs
        }
        if let Some(background) = self.background.take() {
            background.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(background) = self.background.take() {
            background.shutdown_background();
        }
    }
}

/// Starts a gateway: everything is read and opened before the first connection is accepted.
///
/// # Errors
/// All faults of all files, or what could not be opened.
pub fn start(start: Start) -> Result<Running, StartError> {
    start_on(start, |store| store)
}

/// The same with something around the store, such as one that fails when a test wants it to.
///
/// # Errors
/// As `start`.
pub fn start_on(
    start: Start,
    around: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
) -> Result<Running, StartError> {
    let config = config::load(&start.config).map_err(StartError::Faults)?;
    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()?;
    let stop = CancellationToken::new();
    let parts = Arc::new(build(&config, &start, &background, &stop, around)?);
    let open = || {
        // Before anybody is let in: what is `sending` now is of an earlier run.
        background.block_on(operations::settle_orphans(&parts.gateway))?;
        background.block_on(patiently(|| parts.gateway.suspended.refresh(&parts.gateway)))?;
        let admin = open_admin(&config, &parts, &background, &stop)?;
        Ok((admin, open_listener(&config, &parts, &stop)?))
    };
    let (admin, listening) = open().inspect_err(|_: &StartError| {
        stop.cancel();
        // The process is about to end, and its last record is not to be cut off by that.
        parts.gateway.audit.close();
    })?;
    let gateway = &parts.gateway;
    gateway.audit.note(Record::new(gateway.clock.now(), Event::Started));
    background.spawn(crate::reload::watch(parts.clone(), stop.clone()));
    background.spawn(operations::watch_routes(parts.clone(), stop.clone()));
    background.spawn(operations::watch_orphans(parts.clone(), stop.clone()));
    background.spawn(operations::heed(parts.clone(), stop.clone()));
    background.spawn(operations::watch_suspensions(parts.clone(), stop.clone()));
    tracing::info!(address = %listening.address(), "listening");
    Ok(Running {
        address: listening.address(),
        listening: Some(listening),
        admin,
        stop,
        background: Some(background),
        parts: Some(parts),
    })
}

/// Files first, with all their faults; then the store, the log and the rest.
fn build(
    config: &Config,
    start: &Start,
    background: &Runtime,
    stop: &CancellationToken,
    around: impl FnOnce(Arc<dyn Store>) -> Arc<dyn Store>,
) -> Result<Parts, StartError> {
    let (clock, mut faults, mut seen) = (&start.clock, Vec::new(), Seen::default());
    assemble::note(config, &mut seen);
    let fetch = Fetch::new(None, background.handle().clone())
        .map_err(|error| StartError::Outgoing(error.to_string()))?;
    let metrics = Arc::new(Metrics::default());
    let keyring = assemble::master_key(config, &mut faults);
    let locator = assemble::locator(config, clock.clone(), &mut faults);
    assemble::operators(config, &mut faults);
    let redis = config.redis_settings(&mut faults);
    let handle = background.handle();
    let messenger = messenger::build(config, &fetch, clock, handle, &mut faults);
    let certificates = collect(Certificates::load(&assemble::pairs(config)), &mut faults);
    let assembled = collect(assemble::assemble(config, &fetch, &metrics, None), &mut faults);
    let (Some(keyring), Some(locator), Some(certificates), Some(assembled), true) =
        (keyring, locator, certificates, assembled, faults.is_empty())
    else {
        return Err(StartError::Faults(faults));
    };
    certificates.warn_of_endings(&assemble::pairs(config), clock.now());
    let keyring = Arc::new(keyring);
    let (store, clock) = open_store(config, redis, clock, None)?;
    let store = around(store);
    let signer = Arc::new(background.block_on(common_key(&*store, &keyring))?);
    make_folder_of(&config.audit)?;
    let audit = Audit::open(
        &audit::Settings::new(&config.audit),
        Arc::new(Checkpoints(signer.clone())),
        clock.clone(),
    )?;
    let locator = Arc::new(locator);
    let channels = messenger.as_ref().map(Messenger::channels).unwrap_or_default();
    let (notices, told) = notices::Teller::new(channels, metrics.clone());
    let gateway = Arc::new(Gateway {
        live: ArcSwap::from_pointee(assembled.live),
        store,
        audit,
        metrics,
        routes: Routes::default(),
        locator: locator.clone(),
        clock: clock.clone(),
        entropy: start.entropy.clone(),
        keyring,
        signer,
        limits: config.limits.clone(),
        body_timeout: Duration::from_millis(config.listen.body_timeout_ms),
        trusted_proxies: config.listen.trusted_proxies.clone(),
        phones: phones(config),
        budget: config.sms.as_ref().map(|sms| sms.budget.clone()).unwrap_or_default(),
        pages: Pages::plain(),
        outbox: Arc::new(Notify::new()),
        sms: messenger.as_ref().is_some_and(Messenger::sends_texts),
        suspended: Suspended::default(),
        notices,
    });
    background.spawn(notices::run(gateway.clone(), told));
    if let Some(messenger) = &messenger {
        background.spawn(messenger.run(&gateway, stop.clone()));
    }
    let reloader = Reloader::new(
        config.clone(),
        Arc::new(certificates),
        fetch,
        background.handle(),
        seen,
        clock.now(),
    );
    reloader.took(&gateway);
    Ok(Parts { gateway, locator, messenger, reloader, started: clock.now() })
}

/// The common key as the audit log signs with it.
struct Checkpoints(Arc<SigningKey>);

impl audit::Signer for Checkpoints {
    fn kid(&self) -> &str {
        self.0.kid()
    }
    fn jwk(&self) -> serde_json::Value {
        self.0.jwk()
    }
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        // An empty signature does not verify: the log is then visibly unsigned, which is what happened.
        self.0.sign(message).unwrap_or_default()
    }
}

fn collect<T>(result: Result<T, Vec<Fault>>, faults: &mut Vec<Fault>) -> Option<T> {
    result.map_err(|found| faults.extend(found)).ok()
}

/// A store, and the time that all of its gateways have in common.
pub(crate) type Opened = (Arc<dyn Store>, Arc<dyn Clock>);

/// The store that the configuration names. `redis` is what `[store]`
/// says of Redis, with its secrets. Sentences wait for `deadline_ms`, or as long as requests can.
pub(crate) fn open_store(
    config: &Config,
    redis: Option<RedisSettings>,
    clock: &Arc<dyn Clock>,
    deadline_ms: Option<u64>,
) -> Result<Opened, StartError> {
    let limits = config.limits.clone();
    match (&config.store, redis) {
        (StoreConfig::Redis(_), Some(mut settings)) => {
            settings.deadline = deadline_ms.map_or(settings.deadline, Duration::from_millis);
            let store = Redis::open(settings, limits, clock.clone())?;
            let common = store.clock();
            Ok((Arc::new(store), common))
        }
        (StoreConfig::Redis(_), None) => Err(StartError::Faults(Vec::new())),
        (StoreConfig::File(file), _) => {
            make_folder_of(file)?;
            let store = Embedded::open(file, limits)?;
            let store = match deadline_ms {
                Some(ms) => store.with_deadline_ms(ms),
                None => store,
            };
            Ok((Arc::new(store), clock.clone()))
        }
    }
}

fn make_folder_of(file: &std::path::Path) -> Result<(), std::io::Error> {
    file.parent().map_or(Ok(()), std::fs::create_dir_all)
}

fn phones(config: &Config) -> phone::Settings {
    let mut settings = phone::Settings::default();
    if let Some(sms) = &config.sms {
        settings.blocked_prefixes.extend(sms.blocked_prefixes.iter().cloned());
    }
    settings
}

/// Nobody waits for a gateway that only starts: a sentence that may be said twice is said again to a slow store, as one
/// is that makes its file on a busy disk.
async fn patiently<T, F>(say: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..START_TRIES {
        match say().await {
            Err(StoreError::Deadline(_)) => {}
            answer => return answer,
        }
    }
    say().await
}

const START_TRIES: u32 = 20;

/// The key that all gateways of one store sign with: the first one's, kept sealed in the store.
async fn common_key(store: &dyn Store, keyring: &Keyring) -> Result<SigningKey, StartError> {
    let fresh = SigningKey::generate().map_err(|_| StartError::Key("no key could be made"))?;
    let sealed = keyring.seal(SIGNING_KEY, &[], fresh.expose());
    let kept = patiently(|| store.adopt(SIGNING_KEY, sealed.clone())).await?;
    let opened = keyring.open(SIGNING_KEY, &[], &kept).map_err(|_| {
        StartError::Key("it is sealed with a master key that is not in `store.master_key`")
    })?;
    SigningKey::from_pkcs8(&opened).map_err(|_| StartError::Key("what the store keeps is no key"))
}

fn open_admin(
    config: &Config,
    parts: &Arc<Parts>,
    background: &Runtime,
    stop: &CancellationToken,
) -> Result<Option<SocketAddr>, StartError> {
    let (Some(admin), mut faults) = (&config.admin, Vec::new()) else { return Ok(None) };
    let Some(operators) = assemble::operators(config, &mut faults) else {
        return Err(StartError::Faults(faults));
    };
    let listener = background.block_on(TcpListener::bind(admin.address));
    let listener =
        listener.map_err(|source| StartError::Listen { address: admin.address, source })?;
    let address = listener.local_addr()?;
    let four_eyes = assemble::four_eyes(config);
    if four_eyes == FourEyes::Off {
        tracing::warn!(
            "one operator alone can reset and replace factors: name a second one with [[admin.operator]]"
        );
    }
    let desk: Arc<dyn Operations> = Arc::new(Desk(parts.clone(), four_eyes));
    background.spawn(admin::serve(listener, operators, desk, stop.clone()));
    Ok(Some(address))
}

/// One worker's way from a connection to the pipeline.
struct Door(Arc<Worker>);

impl Handler for Door {
    type Place = LastCaller;

    fn handle(
        &self,
        request: Request<Incoming>,
        connection: &Arc<Connection<LastCaller>>,
    ) -> impl Future<Output = Response<Body>> + Send {
        pipeline::run(&self.0, request, connection)
    }

    fn refuse(
        &self,
        status: StatusCode,
        _connection: &Arc<Connection<LastCaller>>,
    ) -> Response<Body> {
        let gateway = &self.0.gateway;
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            gateway.metrics.panicked();
        }
        let request = pipeline::request_id(gateway, gateway.clock.now());
        gateway.pages.bare(status, &request)
    }

    fn opened(&self) -> listen::Open {
        Box::new(self.0.gateway.metrics.connection())
    }

    fn handshake_failed(&self) {
        self.0.gateway.metrics.tls_handshake_failed();
    }
}

fn open_listener(
    config: &Config,
    parts: &Arc<Parts>,
    stop: &CancellationToken,
) -> Result<Listening, StartError> {
    let listen = &config.listen;
    let settings = listen::Settings {
        workers: listen.workers,
        proxy_protocol: listen.proxy_protocol,
        trusted_proxies: listen.trusted_proxies.clone(),
        connections_max: listen.connections_max,
        handshake_timeout_ms: listen.handshake_timeout_ms,
        header_timeout_ms: listen.header_timeout_ms,
        stall_timeout_ms: listen.stall_timeout_ms,
        drain_timeout_ms: listen.drain_timeout_ms,
        ..listen::Settings::new(listen.address)
    };
    let trust = Trust::system().map_err(|error| StartError::Outgoing(error.to_string()))?;
    let gateway = &parts.gateway;
    let door = |_| {
        let pool = Pool::new(PoolSettings::default(), trust.clone());
        Arc::new(Door(Arc::new(Worker { gateway: gateway.clone(), pool })))
    };
    listen::run(&settings, parts.reloader.certificates(), door, stop.clone())
        .map_err(|source| StartError::Listen { address: listen.address, source })
}

/// The signals that `until_told` waits for.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself: one that comes during the start is heeded after it. Called
    /// inside a runtime.
    ///
    /// # Errors
    /// If signals cannot be waited for.
    pub fn listen() -> Result<Self, std::io::Error> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// Serves until SIGTERM or SIGINT; SIGHUP reloads.
///
/// # Errors
/// If the drain breaks off.
pub async fn until_told(mut running: Running, signals: Signals) -> Result<(), std::io::Error> {
    let Signals { mut terminate, mut interrupt, mut hangup } = signals;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if let Some(parts) = running.parts.clone() {
                    parts.gateway.audit.reopen();
                    // The reloader has said in the log what came of it.
                    let _ = operations::reload_everywhere(&parts, Trigger::Signal).await;
                }
            }
        }
    }
    tracing::info!("draining");
    let stopped = tokio::task::spawn_blocking(move || running.stop()).await;
    stopped.map_err(std::io::Error::other)
}

/// What the common key is kept under, and sealed with.
pub(crate) const SIGNING_KEY: &str = "signing-key";
