//! The configured providers of text messages and mail, and the task that empties the outbox through them.
//!
//! Never exists without any: then `sms` is a factor that no account can use, and nobody is told anything.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::audit::{Event, Record};
use crate::body::BoxError;
use crate::config::{Config, Mail, SecretRef, SmsProvider};
use crate::fault::Fault;
use crate::fetch::Fetch;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::notices::Channels;
use crate::sms::log::Log;
use crate::sms::mail::Carrier;
use crate::sms::outbox::{self, Lost, Outbox};
use crate::sms::smtp::Smtp;
use crate::sms::twilio::Twilio;
use crate::sms::webhook::Webhook;
use crate::sms::{self, BoxFuture, Letter, Provider, SendError, Transport};
use crate::world::Clock;

/// What sends text messages and mails.
pub(crate) struct Messenger {
    sms: Option<Arc<dyn Provider>>,
    /// As the configuration calls it.
    sms_name: &'static str,
    mail: Option<Arc<dyn Carrier>>,
    /// The providers again, where they are those that show what they get.
    pub log: Option<Arc<Log>>,
    pub mail_log: Option<Arc<Log>>,
}

/// Makes the configured providers; faults point at the configuration. Mail is sent on `background`.
pub(crate) fn build(
    config: &Config,
    fetch: &Fetch,
    clock: &Arc<dyn Clock>,
    background: &Handle,
    faults: &mut Vec<Fault>,
) -> Option<Messenger> {
    let mail = config.mail.as_ref().and_then(|mail| mail_of(config, mail, background, faults));
    let sms = sms_of(config, fetch, clock, faults);
    if mail.is_none() && sms.is_none() {
        return None;
    }
    let (sms, log) = sms.unwrap_or_default();
    let (mail, mail_log) = mail.unwrap_or_default();
    let sms_name = match config.sms.as_ref().map(|sms| &sms.provider) {
        Some(SmsProvider::Twilio { .. }) => "twilio",
        Some(SmsProvider::Webhook { .. }) => "webhook",
        Some(SmsProvider::Log { .. }) | None => "log",
    };
    Some(Messenger { sms, sms_name, mail, log, mail_log })
}

/// A provider, and the same again if it is one that shows what it gets.
type Made<P> = (Option<Arc<P>>, Option<Arc<Log>>);

fn mail_of(
    config: &Config,
    mail: &Mail,
    background: &Handle,
    faults: &mut Vec<Fault>,
) -> Option<Made<dyn Carrier>> {
    match mail {
        Mail::Log { file } => {
            let log = Arc::new(Log::new(file.clone()));
            Some((Some(log.clone()), Some(log)))
        }
        Mail::Smtp { .. } => {
            let smtp = smtp(config, mail, background, faults)?;
            Some((Some(Arc::new(smtp)), None))
        }
    }
}

/// The mail server that the configuration names; `None` also where it names none.
pub(crate) fn smtp(
    config: &Config,
    mail: &Mail,
    background: &Handle,
    faults: &mut Vec<Fault>,
) -> Option<Smtp> {
    let Mail::Smtp { server, from, ca, credentials, span } = mail else { return None };
    let before = faults.len();
    let ca = ca.as_ref().and_then(|file| config.read(file, faults));
    let secret = credentials.as_ref().and_then(|secret| config.secret(secret, faults));
    if faults.len() > before {
        return None;
    }
    let ca = ca.as_ref().map(|source| &*source.text);
    let secret = secret.as_ref().map(|source| &*source.text);
    let made = Smtp::new(server.clone(), from, ca, secret, background.clone());
    let fault = |error| Fault::new(&config.source, span.clone(), format!("[mail] {error}"));
    made.map_err(|error| faults.push(fault(error))).ok()
}

fn sms_of(
    config: &Config,
    fetch: &Fetch,
    clock: &Arc<dyn Clock>,
    faults: &mut Vec<Fault>,
) -> Option<Made<dyn Provider>> {
    let sms = config.sms.as_ref()?;
    let transport: Arc<dyn Transport> = Arc::new(Outgoing(fetch.clone()));
    match &sms.provider {
        SmsProvider::Log { file } => {
            let log = Arc::new(Log::new(file.clone()));
            Some((Some(log.clone()), Some(log)))
        }
        SmsProvider::Twilio { url, from, credentials } => {
            let secret = config.secret(credentials, faults)?;
            let made = Twilio::new(transport, url, from, secret.text.trim());
            made_or_fault(config, credentials, made, faults)
        }
        SmsProvider::Webhook { url, credentials } => {
            let key = config.secret(credentials, faults)?;
            let made = Webhook::new(transport, clock.clone(), url, key.text.trim());
            made_or_fault(config, credentials, made, faults)
        }
    }
}

fn made_or_fault<P: Provider + 'static, E: std::fmt::Display>(
    config: &Config,
    credentials: &SecretRef,
    made: Result<P, E>,
    faults: &mut Vec<Fault>,
) -> Option<Made<dyn Provider>> {
    let span = match credentials {
        SecretRef::File(file) => file.span.clone(),
        SecretRef::Env { span, .. } => span.clone(),
    };
    match made {
        Ok(provider) => Some((Some(Arc::new(provider)), None)),
        Err(error) => {
            faults.push(Fault::new(&config.source, span, format!("[sms] {error}")));
            None
        }
    }
}

impl Messenger {
    /// Whether codes can be sent.
    pub fn sends_texts(&self) -> bool {
        self.sms.is_some()
    }

    /// By which ways owners can be told.
    pub fn channels(&self) -> Channels {
        Channels { sms: self.sms.is_some(), mail: self.mail.is_some() }
    }

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
            sms: self.sms.clone().map(|provider| -> Arc<dyn Provider> {
                Arc::new(Counted {
                    provider,
                    name: self.sms_name,
                    metrics: gateway.metrics.clone(),
                })
            }),
            mail: self.mail.clone(),
            clock: gateway.clock.clone(),
            lost: lost(gateway),
            wake: gateway.outbox.clone(),
        };
        outbox::run(outbox, stop)
    }
}

/// A message that nobody gets leaves a line and is counted.
fn lost(gateway: &Arc<Gateway>) -> Lost {
    let gateway = gateway.clone();
    Box::new(move |message, way, why| {
        gateway.metrics.message_lost(way.word(), why.word());
        let (way, why, tries) = (way.word(), why.word(), message.tries);
        let what = if message.challenge.is_some() { "code" } else { "notice" };
        let note = format!("a {what} by {way} was given up after {tries} tries: {why}");
        let mut line = Record::new(gateway.clock.now(), Event::MessageLost).with_note(note);
        line.challenge.clone_from(&message.challenge);
        gateway.audit.note(line);
    })
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
                Err(
                    SendError::Refused { .. } | SendError::Unwritable(_) | SendError::BadLetter,
                ) => "refused",
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
