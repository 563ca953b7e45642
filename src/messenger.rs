//! The configured SMS provider, and the task that empties the outbox through it.
//!
//! Never exists without a provider: then `sms` is a factor that no account can use.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;

use crate::body::BoxError;
use crate::config::{Config, SecretRef, SmsProvider};
use crate::fault::Fault;
use crate::fetch::Fetch;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::sms::log::Log;
use crate::sms::outbox::{self, Outbox};
use crate::sms::twilio::Twilio;
use crate::sms::webhook::Webhook;
use crate::sms::{self, BoxFuture, Letter, Provider, SendError, Transport};
use crate::world::Clock;

/// What sends text messages.
pub(crate) struct Messenger {
    provider: Arc<dyn Provider>,
    /// As the configuration calls it.
    name: &'static str,
    /// The provider again, if it is the one that shows texts.
    pub log: Option<Arc<Log>>,
}

/// Makes the configured provider; faults point at the configuration.
pub(crate) fn build(
    config: &Config,
    fetch: &Fetch,
    clock: &Arc<dyn Clock>,
    faults: &mut Vec<Fault>,
) -> Option<Messenger> {
    let sms = config.sms.as_ref()?;
    let transport: Arc<dyn Transport> = Arc::new(Outgoing(fetch.clone()));
    match &sms.provider {
        SmsProvider::Log { file } => {
            let log = Arc::new(Log::new(file.clone()));
            Some(Messenger { provider: log.clone(), name: "log", log: Some(log) })
        }
        SmsProvider::Twilio { url, from, credentials } => {
            let secret = config.secret(credentials, faults)?;
            let made = Twilio::new(transport, url, from, secret.text.trim());
            made_or_fault(config, credentials, "twilio", made, faults)
        }
        SmsProvider::Webhook { url, credentials } => {
            let key = config.secret(credentials, faults)?;
            let made = Webhook::new(transport, clock.clone(), url, key.text.trim());
            made_or_fault(config, credentials, "webhook", made, faults)
        }
    }
}

fn made_or_fault<P: Provider + 'static, E: std::fmt::Display>(
    config: &Config,
    credentials: &SecretRef,
    name: &'static str,
    made: Result<P, E>,
    faults: &mut Vec<Fault>,
) -> Option<Messenger> {
    let span = match credentials {
        SecretRef::File(file) => file.span.clone(),
        SecretRef::Env { span, .. } => span.clone(),
    };
    match made {
        Ok(provider) => Some(Messenger { provider: Arc::new(provider), name, log: None }),
        Err(error) => {
            faults.push(Fault::new(&config.source, span, format!("[sms] {error}")));
            None
        }
    }
}

impl Messenger {
    /// Empties the outbox until `stop`.
    pub fn run(
        &self,
        gateway: &Arc<Gateway>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let keyring = gateway.keyring.clone();
        let outbox = Outbox {
            store: gateway.store.clone(),
            open: Box::new(move |message| sms::open(&keyring, message)),
            provider: Arc::new(Counted {
                provider: self.provider.clone(),
                name: self.name,
                metrics: gateway.metrics.clone(),
            }),
            clock: gateway.clock.clone(),
            wake: gateway.outbox.clone(),
        };
        outbox::run(outbox, stop)
    }
}

/// A provider, and how often it took a message.
struct Counted {
    provider: Arc<dyn Provider>,
    name: &'static str,
    metrics: Arc<Metrics>,
}

impl Provider for Counted {
    fn send<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(async move {
            let sent = self.provider.send(letter).await;
            let result = match &sent {
                Ok(()) => "taken",
                Err(SendError::Refused { .. } | SendError::Unwritable(_)) => "refused",
                Err(SendError::Busy { .. } | SendError::Unreachable(_)) => "failed",
            };
            self.metrics.sms_sent(self.name, result);
            sent
        })
    }
}

/// `Fetch` as providers see it.
struct Outgoing(Fetch);

impl Transport for Outgoing {
    fn send(
        &self,
        request: Request<Bytes>,
        timeout_ms: u64,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Response<Bytes>, BoxError>> {
        Box::pin(async move {
            self.0.send(request, timeout_ms, bytes_max).await.map_err(BoxError::from)
        })
    }
}
